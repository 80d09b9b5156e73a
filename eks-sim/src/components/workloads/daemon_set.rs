//! DaemonSets: one pod on every eligible node, and rolling updates of them.

use super::{Workloads, available, wake};
use crate::engine::Cx;
use crate::k8s::DaemonSetSpec;
use crate::policy::fit;
use crate::policy::workloads::{DaemonNode, DaemonUpdate, daemon_update};
use crate::units::{Id, SimTime};
use crate::world::model::{Template, WorkloadKind};
use crate::world::{Client, Node, Phase, Pod, PodId, Reason, Set};

/// `BurstReplicas` of `pkg/controller/daemon/daemon_controller.go` (v1.34).
const BURST_REPLICAS: u32 = 250;

impl Workloads {
    pub(super) fn sync_daemon_sets(&mut self, cx: &mut Cx<'_>) {
        for at in 0..cx.api().workloads.len() as u32 {
            let row = &cx.api().workloads[Id::new(at)];
            if row.deleted.is_some() {
                continue;
            }
            if let WorkloadKind::DaemonSet(spec) = row.kind(cx.model()) {
                for set in row.sets.clone() {
                    self.meet_expectations(set, cx);
                    self.sync_daemon_set(set, spec, cx);
                }
            }
        }
    }

    pub(super) fn sync_daemon_set(&mut self, set: Id<Set>, spec: &DaemonSetSpec, cx: &mut Cx<'_>) {
        if !self.state_of(set).is_met() {
            return;
        }
        let mut again = None;
        let (eligible, mut surplus) = look(set, &mut again, cx);
        let missing = |n: &&(Id<Node>, DaemonPods)| {
            n.1.view.old.is_none() && n.1.view.new.is_none() && !n.1.going
        };
        let mut create: Vec<u32> = eligible.iter().filter(missing).map(|n| n.0.raw()).collect();
        create.truncate(BURST_REPLICAS as usize);
        if create.is_empty() && surplus.is_empty() {
            let views: Vec<DaemonNode> = eligible.iter().map(|n| n.1.view).collect();
            let step = daemon_update(&DaemonUpdate::lower(spec), &views);
            create = step.create.iter().map(|&i| eligible[i].0.raw()).collect();
            let old = step.delete.iter().filter_map(|&i| eligible[i].1.old);
            surplus.extend(old.map(|p| (p, Reason::RolledOut)));
        }
        for (pod, reason) in surplus {
            self.delete(pod, reason, Client::DaemonSet, cx);
        }
        if !create.is_empty() {
            self.create(set, create, Client::DaemonSet, cx);
        }
        if let Some(at) = again {
            cx.at(at, wake(super::Event::SyncSet(set)));
        }
    }
}

/// The set's pods on a node.
#[derive(Clone, Copy, Default)]
struct DaemonPods {
    view: DaemonNode,
    old: Option<PodId>,
    /// One of them is being deleted: its successor waits until it is gone.
    going: bool,
}

/// Eligible nodes with the set's pods, and pods that must go.
fn look(
    set: Id<Set>,
    again: &mut Option<SimTime>,
    cx: &Cx<'_>,
) -> (Vec<(Id<Node>, DaemonPods)>, Vec<(PodId, Reason)>) {
    let row = &cx.api().sets[set];
    let min_ready = cx.api().workloads[row.workload].min_ready(cx.model());
    let mut slot = vec![u32::MAX; cx.api().nodes.len()];
    let mut nodes: Vec<(Id<Node>, DaemonPods)> = Vec::with_capacity(cx.api().live_nodes.len());
    for &node in &cx.api().live_nodes {
        if may_run(row.template, node, cx) {
            slot[node.index()] = nodes.len() as u32;
            nodes.push((node, DaemonPods::default()));
        }
    }
    let mut surplus = Vec::new();
    for &id in &row.pods {
        let Some(pod) = cx.api().pods.get(id) else { continue };
        let node: Id<Node> = Id::new(pod.ordinal);
        if pod.is_terminating() {
            if let Some((_, pods)) = nodes.get_mut(slot[node.index()] as usize) {
                pods.going = true;
            }
            continue;
        }
        if pod.phase == Phase::Failed {
            // A failed daemon pod is deleted and made again.
            surplus.push((id, Reason::ScaledDown));
            continue;
        }
        match nodes.get_mut(slot[node.index()] as usize) {
            Some((_, pods)) => {
                let serves = available(pod, min_ready, cx.now(), again);
                let updated = pod.template == row.template;
                let place = if updated { &mut pods.view.new } else { &mut pods.view.old };
                if place.replace(serves).is_some() {
                    surplus.push((id, Reason::ScaledDown));
                }
                if !updated {
                    pods.old = Some(id);
                }
            }
            None => {
                if !cx.api().nodes[node].exists() || !may_stay(pod, node, cx) {
                    surplus.push((id, Reason::ScaledDown));
                }
            }
        }
    }
    (nodes, surplus)
}

/// Node name, selector, affinity and all taints that repel; free resources do not matter.
fn may_run(template: Id<Template>, node: Id<Node>, cx: &Cx<'_>) -> bool {
    let spec = &cx.model().templates[template].object.spec;
    let row = &cx.api().nodes[node];
    fit::matches_node(spec, &row.object)
        && row.object.spec.taints.iter().all(|t| {
            !matches!(t.effect.as_str(), "NoSchedule" | "NoExecute") || fit::tolerates(spec, t)
        })
        && row
            .component_taints()
            .all(|taint| taint.effect == "PreferNoSchedule" || fit::tolerates(spec, &taint))
}

/// A pod that runs leaves only for NoExecute taints or when the node no longer matches.
fn may_stay(pod: &Pod, node: Id<Node>, cx: &Cx<'_>) -> bool {
    let spec = &cx.model().templates[pod.template].object.spec;
    fit::matches_node(spec, &cx.api().nodes[node].object)
}

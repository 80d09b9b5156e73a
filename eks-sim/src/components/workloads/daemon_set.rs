//! DaemonSets: one pod on every eligible node.

use super::Workloads;
use crate::engine::Cx;
use crate::policy::fit;
use crate::units::Id;
use crate::world::model::{Template, WorkloadKind};
use crate::world::{Client, Node, Pod, PodId, Reason, Set};

impl Workloads {
    pub(super) fn sync_daemon_sets(&mut self, cx: &mut Cx<'_>) {
        let sets: Vec<Id<Set>> = cx
            .api()
            .workloads
            .iter()
            .filter(|(_, w)| {
                matches!(cx.model().workloads[w.model].kind, WorkloadKind::DaemonSet(_))
            })
            .flat_map(|(_, w)| w.sets.iter().copied())
            .collect();
        for set in sets {
            self.meet_expectations(set, cx);
            self.sync_daemon_set(set, cx);
        }
    }

    pub(super) fn sync_daemon_set(&mut self, set: Id<Set>, cx: &mut Cx<'_>) {
        let template = cx.api().sets[set].template;
        let eligible: Vec<Id<Node>> =
            cx.api().live_nodes.iter().copied().filter(|&n| may_run(template, n, cx)).collect();
        let e = self.expectations_of(set);
        let mut have: Vec<u32> = e.ordinals.clone();
        let mut surplus: Vec<PodId> = Vec::new();
        for &id in &cx.api().sets[set].pods {
            let Some(pod) = cx.api().pods.get(id) else { continue };
            if pod.is_terminating() && !have.contains(&pod.ordinal) {
                // Its successor waits until it is gone.
                have.push(pod.ordinal);
            }
            if !pod.is_active() {
                continue;
            }
            let node = Id::new(pod.ordinal);
            let gone = !cx.api().nodes[node].exists();
            if eligible.contains(&node) && !have.contains(&pod.ordinal) {
                have.push(pod.ordinal);
            } else if gone || !may_stay(pod, node, cx) {
                surplus.push(id);
            }
        }
        for node in eligible {
            if !have.contains(&node.raw()) {
                self.create(set, Some(node.raw()), Client::DaemonSet, cx);
            }
        }
        for pod in surplus {
            self.delete(pod, Reason::ScaledDown, Client::DaemonSet, cx);
        }
    }
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

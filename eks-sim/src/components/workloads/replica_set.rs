//! Deployments and ReplicaSets.

use super::{Workloads, available, wake};
use crate::engine::Cx;
use crate::k8s::DeploymentSpec;
use crate::policy::workloads::{
    PodPhase, ReplicaSetView, RolloutRules, ScaleDownPod, rollout_sync, scale_down_order, sync_diff,
};
use crate::units::{Id, SimTime};
use crate::world::{Client, Phase, Pod, PodId, Reason, Request, Set, Workload};

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

impl Workloads {
    pub(super) fn sync_deployment(
        &mut self,
        workload: Id<Workload>,
        spec: &DeploymentSpec,
        cx: &mut Cx<'_>,
    ) {
        let row = &cx.api().workloads[workload];
        let replicas = row.replicas;
        match row.sets.as_slice() {
            [] => {
                if !self.creating.contains(&workload) {
                    self.creating.push(workload);
                    let request = Request::CreateSet { workload, desired: replicas };
                    cx.submit(Client::Deployment, request);
                }
            }
            &[set] => {
                if cx.api().sets[set].desired != replicas && !spec.paused {
                    cx.submit(Client::Deployment, Request::ScaleSet { set, desired: replicas });
                }
            }
            sets => {
                let sets = sets.to_vec();
                roll_out(workload, spec, &sets, cx);
            }
        }
    }

    pub(super) fn sync_replica_set(&mut self, set: Id<Set>, cx: &mut Cx<'_>) {
        let row = &cx.api().sets[set];
        let e = self.expectations_of(set);
        let going = |p: &PodId| e.deletes.contains(p);
        let active = row
            .pods
            .iter()
            .filter(|p| !going(p) && cx.api().pods.get(**p).is_some_and(Pod::is_active))
            .count() as u32;
        let expected = (active + e.creates) as i32;
        let diff = sync_diff(row.desired as i32, expected);
        if diff > 0 {
            for _ in 0..diff {
                self.create(set, None, Client::ReplicaSet, cx);
            }
        } else if diff < 0 && e.creates == 0 {
            for pod in victims(set, -diff, &e.deletes, cx) {
                self.delete(pod, Reason::ScaledDown, Client::ReplicaSet, cx);
            }
        }
    }
}

/// One step of a rollout from the older sets to the newest.
fn roll_out(workload: Id<Workload>, spec: &DeploymentSpec, sets: &[Id<Set>], cx: &mut Cx<'_>) {
    if spec.paused {
        return;
    }
    let Some((&new, old)) = sets.split_last() else { return };
    let now = cx.now();
    let min_ready = cx.model().workloads[cx.api().workloads[workload].model].min_ready;
    let mut again: Option<SimTime> = None;
    let mut view = |set: &Id<Set>| {
        let row = &cx.api().sets[*set];
        let pods = row.pods.iter().filter_map(|p| cx.api().pods.get(*p));
        let ready = pods
            .filter(|p| !p.is_terminating() && available(p, min_ready, now, &mut again))
            .count();
        ReplicaSetView {
            replicas: row.desired as i32,
            available: ready as i32,
            pods: row.pods.len() as i32,
        }
    };
    let new_view = view(&new);
    let old_views: Vec<ReplicaSetView> = old.iter().map(&mut view).collect();
    let mut rules = RolloutRules::lower(spec);
    rules.replicas = cx.api().workloads[workload].replicas as i32;
    let step = rollout_sync(&rules, new_view, &old_views);
    let targets = old.iter().zip(&step.old).chain([(&new, &step.new)]);
    for (&set, &size) in targets {
        let desired = size.max(0) as u32;
        if cx.api().sets[set].desired != desired {
            cx.submit(Client::Deployment, Request::ScaleSet { set, desired });
        }
    }
    if let Some(at) = again {
        cx.at(at, wake(super::Event::SyncWorkload(workload)));
    }
}

/// The pods to delete first when a set shrinks by `count`.
fn victims(set: Id<Set>, count: i32, going: &[PodId], cx: &Cx<'_>) -> Vec<PodId> {
    let api = cx.api();
    let candidates: Vec<(PodId, &Pod, String)> = api.sets[set]
        .pods
        .iter()
        .filter(|p| !going.contains(p))
        .filter_map(|&id| api.pods.get(id).filter(|p| p.is_active()).map(|p| (id, p)))
        .map(|(id, p)| (id, p, format!("{:016x}", p.key)))
        .collect();
    let workload = api.sets[set].workload;
    let views: Vec<ScaleDownPod<'_>> = candidates
        .iter()
        .map(|(_, p, uid)| ScaleDownPod {
            uid,
            assigned: p.node.is_some(),
            phase: if p.phase == Phase::Pending { PodPhase::Pending } else { PodPhase::Running },
            ready_since: p.is_ready().then_some(p.ready_since),
            deletion_cost: deletion_cost(p, cx),
            siblings_on_node: siblings(p, workload, cx),
            restarts: p.restarts as i32,
            created: p.created,
        })
        .collect();
    let order = scale_down_order(&views, cx.now());
    order.into_iter().take(count.max(0) as usize).map(|i| candidates[i].0).collect()
}

fn deletion_cost(pod: &Pod, cx: &Cx<'_>) -> i32 {
    let annotations = &cx.model().templates[pod.template].object.metadata.annotations;
    annotations.get(DELETION_COST).and_then(|v| v.parse().ok()).unwrap_or(0)
}

/// Active pods of the same workload on the pod's node, itself included.
fn siblings(pod: &Pod, workload: Id<Workload>, cx: &Cx<'_>) -> i32 {
    let Some(node) = pod.node else { return 0 };
    let api = cx.api();
    api.nodes[node]
        .pods
        .iter()
        .filter_map(|&p| api.pods.get(p))
        .filter(|p| p.is_active() && api.sets[p.set].workload == workload)
        .count() as i32
}

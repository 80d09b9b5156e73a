//! ReplicaSets.

use super::Workloads;
use crate::engine::Cx;
use crate::policy::workloads::{PodPhase, ScaleDownPod, scale_down_order, sync_diff};
use crate::units::Id;
use crate::world::{Client, Phase, Pod, PodId, Reason, Set, Workload};
use std::collections::BTreeMap;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

impl Workloads {
    pub(super) fn sync_replica_set(&mut self, set: Id<Set>, cx: &mut Cx<'_>) {
        if !self.state_of(set).is_met() {
            return;
        }
        let row = &cx.api().sets[set];
        let diff = sync_diff(row.desired as i32, row.active as i32);
        if diff > 0 {
            self.create_next(set, diff.unsigned_abs(), Client::ReplicaSet, cx);
        } else if diff < 0 {
            for pod in victims(set, diff.unsigned_abs() as usize, cx) {
                self.delete(pod, Reason::ScaledDown, Client::ReplicaSet, cx);
            }
        }
    }
}

/// The pods to delete first when a set shrinks by `count`.
fn victims(set: Id<Set>, count: usize, cx: &Cx<'_>) -> Vec<PodId> {
    let api = cx.api();
    let candidates: Vec<(PodId, &Pod, String)> = api.sets[set]
        .pods
        .iter()
        .filter_map(|&id| api.pods.get(id).filter(|p| p.is_active()).map(|p| (id, p)))
        .map(|(id, p)| (id, p, format!("{:016x}", p.key)))
        .collect();
    if candidates.len() <= count {
        return candidates.into_iter().map(|c| c.0).collect();
    }
    let siblings = siblings(api.sets[set].workload, cx);
    let views: Vec<ScaleDownPod<'_>> = candidates
        .iter()
        .map(|(_, p, uid)| ScaleDownPod {
            uid,
            assigned: p.node.is_some(),
            phase: if p.phase == Phase::Pending { PodPhase::Pending } else { PodPhase::Running },
            ready_since: p.is_ready().then_some(p.ready_since),
            deletion_cost: deletion_cost(p, cx),
            siblings_on_node: p.node.and_then(|n| siblings.get(&n.raw())).copied().unwrap_or(0),
            restarts: p.restarts as i32,
            created: p.created,
        })
        .collect();
    let order = scale_down_order(&views, cx.now());
    order.into_iter().take(count).map(|i| candidates[i].0).collect()
}

fn deletion_cost(pod: &Pod, cx: &Cx<'_>) -> i32 {
    let annotations = &cx.model().templates[pod.template].object.metadata.annotations;
    annotations.get(DELETION_COST).and_then(|v| v.parse().ok()).unwrap_or(0)
}

/// Active pods of all the workload's sets by node.
fn siblings(workload: Id<Workload>, cx: &Cx<'_>) -> BTreeMap<u32, i32> {
    let api = cx.api();
    let mut count = BTreeMap::new();
    for &set in &api.workloads[workload].sets {
        for pod in api.sets[set].pods.iter().filter_map(|&p| api.pods.get(p)) {
            if let Some(node) = pod.node.filter(|_| pod.is_active()) {
                *count.entry(node.raw()).or_insert(0) += 1;
            }
        }
    }
    count
}

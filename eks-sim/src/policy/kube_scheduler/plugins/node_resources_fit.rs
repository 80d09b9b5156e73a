//! NodeResourcesFit: enough resources, and the three resource strategies.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/framework/plugins/noderesources/{fit,least_allocated,most_allocated,requested_to_capacity_ratio,resource_allocation}.go`.
//! Differences: no resource claims.

use crate::policy::kube_scheduler::framework::{Cx, each};
use crate::policy::kube_scheduler::resources::{CPU, MEMORY, ResourceId, Resources};
use crate::policy::kube_scheduler::{
    Code, NodeInfo, NodeKey, NodeStatic, Plugin, Reason, Rejection, Strategy,
};
use smallvec::SmallVec;

pub(crate) fn filter(cx: &Cx<'_>, info: &NodeInfo, node: &NodeStatic) -> Option<Rejection> {
    let mut reasons: SmallVec<[Reason; 1]> = SmallVec::new();
    if info.pod_count().saturating_add(1) > node.allowed_pods {
        reasons.push(Reason::Fixed("Too many pods"));
    }
    let mut unresolvable = false;
    for (id, request) in cx.class.request.requested() {
        if id >= 3 && cx.args.ignores(cx.cache.resource_name(id)) {
            continue;
        }
        let allocatable = node.allocatable.get(id);
        if request > allocatable.saturating_sub(info.requested.get(id)) {
            reasons.push(Reason::Insufficient(id));
            unresolvable |= request > allocatable;
        }
    }
    let code = if unresolvable { Code::UnschedulableAndUnresolvable } else { Code::Unschedulable };
    let rejection = Rejection { code, plugin: Plugin::NodeResourcesFit, reasons };
    (!rejection.reasons.is_empty()).then_some(rejection)
}

/// Whether [`filter`] passes, without saying why not.
pub(crate) fn passes(cx: &Cx<'_>, info: &NodeInfo, node: &NodeStatic) -> bool {
    would_pass(cx, &info.requested, info.pod_count(), node)
}

/// Whether [`filter`] would pass on a node with so many pods that hold so much.
pub(crate) fn would_pass(cx: &Cx<'_>, held: &Resources, pods: i64, node: &NodeStatic) -> bool {
    pods < node.allowed_pods
        && cx.class.request.requested().all(|(id, request)| {
            request <= node.allocatable.get(id).saturating_sub(held.get(id))
                || (id >= 3 && cx.args.ignores(cx.cache.resource_name(id)))
        })
}

/// Allocatable amount and use (the pod included) of a scored resource; `None` leaves it out.
fn use_of(cx: &Cx<'_>, id: ResourceId, info: &NodeInfo, node: &NodeStatic) -> Option<(i64, i64)> {
    let request = cx.class.score_request.get(id);
    if id >= 3 && request == 0 {
        return None;
    }
    let allocatable = node.allocatable.get(id);
    if allocatable == 0 {
        return None;
    }
    let held = match id {
        CPU => info.non_zero[0],
        MEMORY => info.non_zero[1],
        _ => info.requested.get(id),
    };
    Some((allocatable, held.saturating_add(request)))
}

/// The strategy's score of one node.
pub(crate) fn raw_score(cx: &Cx<'_>, info: &NodeInfo, node: &NodeStatic) -> i64 {
    let (mut sum, mut weights) = (0i64, 0i64);
    let shape = match &cx.args.profile.strategy {
        Strategy::RequestedToCapacityRatio(shape) => Some(shape.as_slice()),
        _ => None,
    };
    let least = cx.args.profile.strategy == Strategy::LeastAllocated;
    for &(id, weight) in &cx.args.fit_resources {
        let Some((capacity, used)) = use_of(cx, id, info, node) else { continue };
        let score = match shape {
            Some(shape) => match requested_to_capacity_ratio(shape, capacity, used) {
                s if s > 0 => s,
                _ => continue,
            },
            None if least => least_requested(capacity, used),
            None => most_requested(capacity, used),
        };
        sum = sum.saturating_add(score.saturating_mul(weight));
        weights = weights.saturating_add(weight);
    }
    match (weights, shape) {
        (0, _) => 0,
        (_, Some(_)) => (sum as f64 / weights as f64).round() as i64,
        (_, None) => sum / weights,
    }
}

fn least_requested(capacity: i64, used: i64) -> i64 {
    if used > capacity { 0 } else { hundred_times(capacity - used) / capacity }
}

fn most_requested(capacity: i64, used: i64) -> i64 {
    hundred_times(used.min(capacity)) / capacity
}

fn hundred_times(x: i64) -> i64 {
    x.saturating_mul(100)
}

fn requested_to_capacity_ratio(shape: &[(i64, i64)], capacity: i64, used: i64) -> i64 {
    let p = if used > capacity { 100 } else { hundred_times(used) / capacity };
    let Some(&first) = shape.first() else { return 0 };
    let mut before = first;
    for &(x, y) in shape {
        if p <= x {
            let run = x - before.0;
            return if run == 0 { y } else { before.1 + (y - before.1) * (p - before.0) / run };
        }
        before = (x, y);
    }
    before.1
}

pub(crate) fn score(cx: &Cx<'_>, nodes: &[NodeKey]) -> Vec<i64> {
    each(cx, nodes, |info, node| raw_score(cx, info, node))
}

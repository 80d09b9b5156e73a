//! NodeResourcesBalancedAllocation: resources used in equal parts.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/framework/plugins/noderesources/balanced_allocation.go`.
//! Differences: none.

use crate::policy::kube_scheduler::framework::{Cx, each};
use crate::policy::kube_scheduler::{NodeInfo, NodeKey, NodeStatic};
use crate::units::math;
use smallvec::SmallVec;

/// Whether the pod requests none of the scored resources.
pub(crate) fn skips_score(cx: &Cx<'_>) -> bool {
    cx.args.balanced_resources.iter().all(|id| cx.class.request.get(*id) == 0)
}

/// The score of one node.
pub(crate) fn raw_score(cx: &Cx<'_>, info: &NodeInfo, node: &NodeStatic) -> i64 {
    let mut fractions: SmallVec<[f64; 4]> = SmallVec::new();
    for &id in &cx.args.balanced_resources {
        let request = cx.class.request.get(id);
        let allocatable = node.allocatable.get(id);
        if allocatable == 0 || (id >= 3 && request == 0) {
            continue;
        }
        let used = info.requested.get(id).saturating_add(request);
        fractions.push((used as f64 / allocatable as f64).min(1.0));
    }
    let std = match fractions.as_slice() {
        [a, b] => ((a - b) / 2.0).abs(),
        many if many.len() > 2 => standard_deviation(many),
        _ => 0.0,
    };
    ((1.0 - std) * 100.0) as i64
}

fn standard_deviation(fractions: &[f64]) -> f64 {
    let count = fractions.len() as f64;
    let mean = fractions.iter().fold(0.0, |sum, f| sum + f) / count;
    let squares = fractions.iter().fold(0.0, |sum, f| sum + (f - mean) * (f - mean));
    math::sqrt(squares / count)
}

pub(crate) fn score(cx: &Cx<'_>, nodes: &[NodeKey]) -> Option<Vec<i64>> {
    if skips_score(cx) {
        return None;
    }
    Some(each(cx, nodes, |info, node| raw_score(cx, info, node)))
}

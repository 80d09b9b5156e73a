//! ImageLocality: nodes that have the pod's images already.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/framework/plugins/imagelocality/image_locality.go`.
//! Differences: an image's size is what the scored node reports, as in upstream's snapshots
//! (its cache keeps the size that was reported first).

use crate::policy::kube_scheduler::framework::{Cx, each};
use crate::policy::kube_scheduler::{NodeKey, NodeStatic};

const MIB: i64 = 1024 * 1024;
/// Sums below score nothing (upstream's `minThreshold`).
const MIN_THRESHOLD: i64 = 23 * MIB;
/// Per container; sums above score fully (upstream's `maxContainerThreshold`).
const MAX_CONTAINER_THRESHOLD: i64 = 1000 * MIB;

/// The score of one node out of `all` in the cluster.
pub(crate) fn raw_score(cx: &Cx<'_>, node: &NodeStatic, all: usize) -> i64 {
    if node.images.is_empty() {
        return 0;
    }
    let scaled = |image: &crate::units::Symbol| {
        let (_, size) = node.images.iter().find(|i| i.0 == *image)?;
        let nodes = cx.cache.images.get(image)?;
        let spread = f64::from(*nodes) / all as f64;
        Some((*size as f64 * spread) as i64)
    };
    let sum: i64 = cx.class.images.iter().filter_map(scaled).sum();
    let containers = i64::try_from(cx.class.images.len()).unwrap_or(i64::MAX);
    let max = MAX_CONTAINER_THRESHOLD.saturating_mul(containers);
    let sum = if sum < MIN_THRESHOLD { MIN_THRESHOLD } else { sum.min(max) };
    let range = max - MIN_THRESHOLD;
    if range <= 0 { 0 } else { 100 * (sum - MIN_THRESHOLD) / range }
}

pub(crate) fn score(cx: &Cx<'_>, nodes: &[NodeKey]) -> Option<Vec<i64>> {
    let all = cx.cache.node_count();
    Some(each(cx, nodes, |_, node| raw_score(cx, node, all)))
}

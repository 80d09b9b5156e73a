//! ReplicaSet: how many pods to create or delete in one sync, in which batches, which ones first.
//!
//! Upstream: kubernetes/kubernetes v1.34 `pkg/controller/replicaset/replica_set.go`,
//! `pkg/controller/controller_utils.go` (LogarithmicScaleDown on). Differences: pods that compare
//! equal keep the order given, where upstream's sort is not stable.

use super::PodPhase;
use crate::units::SimTime;
use core::cmp::Ordering;

/// Most pods created or deleted in one sync (`BurstReplicas`).
pub const BURST_REPLICAS: i32 = 500;

/// Pods to create (positive) or delete (negative) in this sync.
#[must_use]
pub fn sync_diff(wanted: i32, active: i32) -> i32 {
    wanted.saturating_sub(active).clamp(-BURST_REPLICAS, BURST_REPLICAS)
}

/// Sizes of the batches in which `count` pods are created: 1, 2, 4, … The first batch with a
/// failure is the last.
pub fn slow_start_batches(count: i32) -> impl Iterator<Item = i32> {
    let (mut left, mut size) = (count.max(0), 1_i32);
    core::iter::from_fn(move || {
        let batch = size.min(left);
        left -= batch;
        size = size.saturating_mul(2);
        (batch > 0).then_some(batch)
    })
}

/// What the ranking reads of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleDownPod<'a> {
    /// Unique id.
    pub uid: &'a str,
    /// Whether it is bound to a node.
    pub assigned: bool,
    /// Phase.
    pub phase: PodPhase,
    /// Since when it is ready, if it is.
    pub ready_since: Option<SimTime>,
    /// Annotation `controller.kubernetes.io/pod-deletion-cost`.
    pub deletion_cost: i32,
    /// Active pods of all ReplicaSets with the same controller on its node, itself included.
    pub siblings_on_node: i32,
    /// Largest restart count of its containers.
    pub restarts: i32,
    /// When it was created.
    pub created: SimTime,
}

/// Indexes of `pods` in the order of deletion.
#[must_use]
pub fn scale_down_order(pods: &[ScaleDownPod<'_>], now: SimTime) -> Vec<usize> {
    let mut order: Vec<usize> = (0..pods.len()).collect();
    merge_sort(&mut order, &|a, b| compare(&pods[a], &pods[b], now));
    order
}

/// Upstream's order is not transitive (equal ready times skip the comparison by id), which
/// `slice::sort_by` may answer with a panic; a plain merge sort always ends.
fn merge_sort(order: &mut [usize], compare: &impl Fn(usize, usize) -> Ordering) {
    let half = order.len() / 2;
    if half == 0 {
        return;
    }
    let (left, right) = order.split_at_mut(half);
    merge_sort(left, compare);
    merge_sort(right, compare);
    let (a, b) = (left.to_vec(), right.to_vec());
    let (mut a, mut b) = (a.into_iter().peekable(), b.into_iter().peekable());
    for slot in order {
        let take_b = match (a.peek(), b.peek()) {
            (Some(x), Some(y)) => compare(*y, *x) == Ordering::Less,
            (None, _) => true,
            (_, None) => false,
        };
        if let Some(next) = if take_b { b.next() } else { a.next() } {
            *slot = next;
        }
    }
}

fn phase_rank(phase: PodPhase) -> u8 {
    match phase {
        PodPhase::Unknown => 1,
        PodPhase::Running => 2,
        _ => 0,
    }
}

/// Whole powers of two in the age in nanoseconds; −1 for none.
fn age_bucket(time: SimTime, now: SimTime) -> i32 {
    let age = now.since(time).nanos() as f64;
    if age == 0.0 {
        return -1;
    }
    // The exponent of the float is the truncated logarithm.
    ((age.to_bits() >> 52) as i32) - 1023
}

fn by_age(a: (SimTime, &str), b: (SimTime, &str), now: SimTime) -> Ordering {
    age_bucket(a.0, now).cmp(&age_bucket(b.0, now)).then_with(|| a.1.cmp(b.1))
}

fn compare(a: &ScaleDownPod<'_>, b: &ScaleDownPod<'_>, now: SimTime) -> Ordering {
    let order = a
        .assigned
        .cmp(&b.assigned)
        .then_with(|| phase_rank(a.phase).cmp(&phase_rank(b.phase)))
        .then_with(|| a.ready_since.is_some().cmp(&b.ready_since.is_some()))
        .then_with(|| a.deletion_cost.cmp(&b.deletion_cost))
        .then_with(|| b.siblings_on_node.cmp(&a.siblings_on_node));
    if order != Ordering::Equal {
        return order;
    }
    if let (Some(x), Some(y)) = (a.ready_since, b.ready_since)
        && x != y
    {
        return by_age((x, a.uid), (y, b.uid), now);
    }
    let order = b.restarts.cmp(&a.restarts);
    if order != Ordering::Equal || a.created == b.created {
        return order;
    }
    by_age((a.created, a.uid), (b.created, b.uid), now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn batches_double() {
        assert_eq!(slow_start_batches(10).collect::<Vec<_>>(), [1, 2, 4, 3]);
        assert_eq!(slow_start_batches(0).count(), 0);
        assert_eq!(slow_start_batches(i32::MAX).map(i64::from).sum::<i64>(), i64::from(i32::MAX));
    }

    #[test]
    fn syncs_are_bounded() {
        assert_eq!((sync_diff(2000, 0), sync_diff(0, 2000), sync_diff(3, 5)), (500, -500, -2));
        assert_eq!(sync_diff(i32::MAX, i32::MIN), 500);
    }

    proptest! {
        #[test]
        fn the_order_is_a_permutation(
            raw in prop::collection::vec((any::<bool>(), 0..3_u64, 0..3, 0..3_u64), 0..40),
        ) {
            let ids: Vec<String> = (0..raw.len()).map(|i| format!("{:02}", i * 7 % 40)).collect();
            let pods: Vec<ScaleDownPod<'_>> = raw.iter().zip(&ids).map(|(r, id)| ScaleDownPod {
                uid: id,
                assigned: r.0,
                phase: PodPhase::Running,
                ready_since: (r.1 > 0).then(|| SimTime::from_secs(90 + r.1)),
                deletion_cost: 0,
                siblings_on_node: 1,
                restarts: r.2,
                created: SimTime::from_secs(80 + r.3),
            }).collect();
            let mut order = scale_down_order(&pods, SimTime::from_secs(100));
            let first_assigned = order.iter().position(|i| pods[*i].assigned);
            if let Some(at) = first_assigned {
                prop_assert!(order[at..].iter().all(|i| pods[*i].assigned));
            }
            order.sort_unstable();
            prop_assert_eq!(order, (0..raw.len()).collect::<Vec<_>>());
        }
    }
}

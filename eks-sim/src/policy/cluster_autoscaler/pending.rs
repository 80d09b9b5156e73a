//! Which pending pods call for new nodes.
//!
//! Upstream: core/podlistprocessor, core/static_autoscaler.go, core/scaleup/equivalence of
//! release 1.37. Differences: pods of one class (same specification, labels and owner) are
//! known to fail alike, as upstream's similar-pods cache has it.

use super::cluster::{Cursor, SimCluster};
use super::estimator::{GroupShape, PodGroup};
use super::flags::Flags;
use crate::units::{SimTime, Span};
use std::collections::BTreeMap;

/// Annotation that delays the scale-up for one pod.
pub const POD_DELAY: &str = "cluster-autoscaler.kubernetes.io/pod-scale-up-delay";
/// Age below which the oldest pod makes the loop wait.
pub const UNSCHEDULABLE_POD_TIME_BUFFER: Span = Span::from_secs(2);
/// The same for the oldest pod that requests a GPU.
pub const UNSCHEDULABLE_GPU_POD_TIME_BUFFER: Span = Span::from_secs(30);
/// Differing specifications of one controller that form groups; further ones stand alone.
pub const MAX_GROUPS_OF_CONTROLLER: usize = 10;

/// A pending pod.
#[derive(Clone, Copy, Debug)]
pub struct PendingPod<P> {
    /// Handle in the simulated cluster.
    pub pod: P,
    /// Pods of equal specification, labels and namespace share a class.
    pub class: u32,
    /// Number of the controller, if any.
    pub controller: Option<u32>,
    /// Priority.
    pub priority: i32,
    /// Creation.
    pub created: SimTime,
    /// Value of the delay annotation.
    pub delay: Option<Span>,
    /// Nominated to a node by preemption.
    pub nominated: bool,
    /// Requests a GPU.
    pub gpu: bool,
    /// Requests and constraints.
    pub shape: GroupShape,
}

/// Pods that may cause a scale-up: neither expendable, nor nominated, nor too young.
#[must_use]
pub fn triggering<P: Copy>(
    pods: &[PendingPod<P>],
    flags: &Flags,
    now: SimTime,
) -> Vec<PendingPod<P>> {
    pods.iter()
        .filter(|p| p.priority >= flags.expendable_pods_priority_cutoff && !p.nominated)
        .filter(|p| {
            let delay = flags.new_pod_scale_up_delay.max(p.delay.unwrap_or(Span::ZERO));
            delay.is_zero() || now.since(p.created) >= delay
        })
        .copied()
        .collect()
}

/// Places pods on existing and upcoming nodes, highest priority first; returns those that fit
/// nowhere, in input order. The placements stay in `cluster`.
pub fn filter_out_schedulable<C: SimCluster>(
    pods: &[PendingPod<C::Pod>],
    cluster: &mut C,
    cursor: &mut Cursor,
) -> Vec<PendingPod<C::Pod>> {
    let mut order: Vec<usize> = (0..pods.len()).collect();
    order.sort_by_key(|&i| core::cmp::Reverse(pods[i].priority));
    let mut failed_classes = BTreeMap::new();
    let mut unplaced: Vec<usize> = Vec::new();
    for i in order {
        let pod = &pods[i];
        let hopeless = failed_classes.contains_key(&(pod.controller, pod.class));
        if hopeless || cursor.place_on_any(cluster, pod.pod, |_| true).is_none() {
            // Only pods of a controller share a verdict upstream.
            if pod.controller.is_some() {
                failed_classes.insert((pod.controller, pod.class), ());
            }
            unplaced.push(i);
        }
    }
    unplaced.sort_unstable();
    unplaced.into_iter().map(|i| pods[i]).collect()
}

/// Whether the pods left are too new to act on: then the loop neither adds nor removes nodes.
#[must_use]
pub fn must_wait<P>(pods: &[PendingPod<P>], now: SimTime) -> bool {
    let oldest = pods.iter().map(|p| p.created).min();
    let oldest_gpu = pods.iter().filter(|p| p.gpu).map(|p| p.created).min();
    oldest.is_some_and(|at| at + UNSCHEDULABLE_POD_TIME_BUFFER > now)
        || oldest_gpu.is_some_and(|at| at + UNSCHEDULABLE_GPU_POD_TIME_BUFFER > now)
}

/// Groups pods of one controller with the same class; others stand alone.
#[must_use]
pub fn equivalence_groups<P: Copy>(pods: &[PendingPod<P>]) -> Vec<PodGroup<P>> {
    let mut groups: Vec<PodGroup<P>> = Vec::new();
    let mut known: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    let mut of_controller: BTreeMap<u32, usize> = BTreeMap::new();
    for pod in pods {
        if let Some(controller) = pod.controller {
            if let Some(&group) = known.get(&(controller, pod.class)) {
                groups[group].pods.push(pod.pod);
                continue;
            }
            let count = of_controller.entry(controller).or_insert(0);
            if *count < MAX_GROUPS_OF_CONTROLLER {
                *count += 1;
                known.insert((controller, pod.class), groups.len());
            }
        }
        groups.push(PodGroup { pods: vec![pod.pod], shape: pod.shape });
    }
    groups
}

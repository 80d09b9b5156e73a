//! How full a node is.
//!
//! Upstream: simulator/utilization/info.go of release 1.37. Differences: no DRA.

use super::drain::{PodFacts, is_daemon_set_pod, is_long_terminating, is_mirror_pod};
use super::requests::milli;
use crate::k8s::ResourceList;
use crate::units::SimTime;

/// The resource that judges GPU nodes.
pub const GPU: &str = "nvidia.com/gpu";

/// Fullness of a node and the resource that decides it.
#[derive(Clone, Debug, PartialEq)]
pub struct Utilization {
    /// Share of allocatable.
    pub value: f64,
    /// Resource name.
    pub resource: &'static str,
}

/// A resource is missing or zero in the node's allocatable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("allocatable has no `{0}`; give the node an amount above zero")]
pub struct UtilizationError(pub &'static str);

/// What is left out of the calculation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// `--ignore-daemonsets-utilization`.
    pub daemon_sets: bool,
    /// `--ignore-mirror-pods-utilization`.
    pub mirror_pods: bool,
}

/// Utilisation of a node with `pods`, each with its effective requests.
///
/// # Errors
/// When CPU or memory is missing in `allocatable`.
pub fn utilization(
    allocatable: &ResourceList,
    has_gpu: bool,
    pods: &[(PodFacts<'_>, &ResourceList)],
    ignored: Ignored,
    now: SimTime,
) -> Result<Utilization, UtilizationError> {
    if has_gpu {
        // A node whose device plugin is not up yet has none of its GPUs in use.
        let value = of_resource(allocatable, GPU, pods, ignored, now).unwrap_or(0.0);
        return Ok(Utilization { value, resource: GPU });
    }
    let cpu = of_resource(allocatable, "cpu", pods, ignored, now)?;
    let memory = of_resource(allocatable, "memory", pods, ignored, now)?;
    Ok(if cpu > memory {
        Utilization { value: cpu, resource: "cpu" }
    } else {
        Utilization { value: memory, resource: "memory" }
    })
}

fn of_resource(
    allocatable: &ResourceList,
    name: &'static str,
    pods: &[(PodFacts<'_>, &ResourceList)],
    ignored: Ignored,
    now: SimTime,
) -> Result<f64, UtilizationError> {
    let total = milli(allocatable, name);
    if total == 0 {
        return Err(UtilizationError(name));
    }
    let (mut used, mut left_out) = (0i64, 0i64);
    for (pod, requests) in pods {
        let amount = milli(requests, name);
        let leave_out = (ignored.daemon_sets && is_daemon_set_pod(pod))
            || (ignored.mirror_pods && is_mirror_pod(pod));
        if leave_out {
            left_out = left_out.saturating_add(amount);
        } else if !is_long_terminating(pod, now) {
            used = used.saturating_add(amount);
        }
    }
    Ok(used as f64 / total.saturating_sub(left_out) as f64)
}

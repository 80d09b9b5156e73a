//! Runs decisions of the real components, recorded as JSON vectors, through the same policy code
//! that the simulation uses.
//!
//! A family module turns one case into the values that the code computes; this module walks
//! files, dispatches on `topic`, compares and counts.

mod cluster_autoscaler;
mod hpa;
mod karpenter;
mod scheduler;
mod vpa;
mod vpc_cni;
mod workloads;

use serde_json::Value;

/// Why a case has no computed value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Unknown topic or kind, or an input key that is not read.
    Unsupported(String),
    /// The policy refuses the input (passes when `expect` holds an `error`).
    Error(String),
}

/// Computes what `case` of `file` asks for: an object that holds every key `expect` may test.
///
/// # Errors
/// See [`Refusal`].
pub(crate) fn evaluate(file: &Value, case: &Value) -> Result<Value, Refusal> {
    let topic = file["topic"].as_str().unwrap_or_default();
    match topic {
        "scheduler/deployment"
        | "scheduler/pod_disruption_budget"
        | "scheduler/replicaset_scale_down" => workloads::evaluate(topic, file, case),
        _ if topic.starts_with("scheduler/") => scheduler::evaluate(topic, file, case),
        _ if topic.starts_with("vpc-cni/") => vpc_cni::evaluate(topic, file, case),
        _ if topic.starts_with("autoscaling/hpa-") => hpa::evaluate(topic, file, case),
        _ if topic.starts_with("autoscaling/vpa-") => vpa::evaluate(topic, file, case),
        _ if topic.starts_with("autoscaling/ca-") => {
            cluster_autoscaler::evaluate(topic, file, case)
        }
        _ if topic.starts_with("autoscaling/karpenter-") => karpenter::evaluate(topic, file, case),
        _ => Err(Refusal::Unsupported(format!("unknown topic `{topic}`"))),
    }
}

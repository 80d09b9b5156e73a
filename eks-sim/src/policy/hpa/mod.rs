//! HorizontalPodAutoscaler: from pods and metrics to a replica count.
//!
//! Upstream: kubernetes/kubernetes, `pkg/controller/podautoscaler/{horizontal,replica_calculator}.go`
//! (1.34; tolerances per direction and scale-to-zero conditions as in 1.37 development).
//! Differences: quantities that would overflow 64 bits saturate instead of wrapping.
//!
//! One sync is [`reconcile`]: it groups the pods of each metric, proposes a count per metric, takes
//! the largest, stabilises and rate-limits it, and says which conditions and events result. The
//! caller writes [`Decision::desired`] when [`Decision::rescale`] is set and then tells
//! [`History::record_rescale`]. Nothing allocates once the history has reached its steady size.

mod behavior;
mod keda;
mod reconcile;
mod replicas;
mod spec;
#[cfg(test)]
mod tests;

pub use behavior::{
    History, Limited, Normalized, Recommendation, ScaleEvent, Stabilized, legacy_limit,
    legacy_stabilize, normalize, rate_limit, stabilize, store_scale_event,
};
pub use keda::{ScaledObjectRules, ScaledObjectView, keda_poll};
pub use reconcile::{
    AbleToScale, Decision, HpaEvent, RescaleReason, ScalingActive, SelectorState, View, reconcile,
};
pub use replicas::{
    Counts, Group, MetricError, PodMetric, PodPhase, PodView, Proposal, Reading, Requests, Uniform,
    Usage, group, propose, propose_uniform,
};
pub use spec::{
    Behavior, Config, HpaError, HpaSpec, Metric, Policy, PolicyKind, Rules, SelectPolicy, Source,
    Target, Tolerance, pod_request,
};

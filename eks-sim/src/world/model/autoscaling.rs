//! HPAs, VPAs and the metrics they read, lowered.

use super::{ServiceModel, WorkloadModel};
use crate::k8s;
use crate::units::{Id, SimTime, Span};

/// A HorizontalPodAutoscaler.
#[derive(Clone, Debug)]
pub struct HpaModel {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Stable identity for draws.
    pub key: u64,
    /// The object.
    pub object: k8s::HorizontalPodAutoscaler,
    /// What it scales.
    pub target: Id<WorkloadModel>,
}

/// A custom or external metric.
#[derive(Clone, Debug)]
pub struct MetricModel {
    /// Name.
    pub name: String,
    /// Where its values come from.
    pub source: MetricSource,
}

/// Where the values of a metric come from.
#[derive(Clone, Debug)]
pub enum MetricSource {
    /// Thousandths from each time on, and their age when they are read.
    Values(Vec<(SimTime, i64)>, Span),
    /// A Service.
    Service(Id<ServiceModel>, Measure),
}

/// What a metric tells of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Requests that reach it, per second.
    RequestsPerSecond,
    /// Requests that wait.
    Waiting,
    /// Mean time in the system.
    LatencySeconds,
}

/// A VerticalPodAutoscaler.
#[derive(Clone, Debug)]
pub struct VpaModel {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The object.
    pub object: k8s::VerticalPodAutoscaler,
    /// What it sizes.
    pub target: Id<WorkloadModel>,
}

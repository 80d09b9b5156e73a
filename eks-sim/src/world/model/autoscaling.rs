//! HPAs, VPAs and the metrics they read, lowered.

use super::{ServiceModel, WorkloadModel};
use crate::k8s;
use crate::policy::hpa::ScaledObjectRules;
use crate::policy::vpa::{Boundaries, ContainerPolicy, UpdateMode};
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
    /// `minReplicas` and `maxReplicas` at the start.
    pub bounds: (i32, i32),
    /// Another HPA selects the same pods, so that neither acts.
    pub ambiguous: bool,
}

/// New bounds of an HPA at a set time: a schedule, a forecast, or somebody's change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HpaPatch {
    /// When.
    pub at: SimTime,
    /// Which HPA.
    pub hpa: Id<HpaModel>,
    /// `minReplicas`.
    pub min: i32,
    /// `maxReplicas`.
    pub max: i32,
}

/// A ScaledObject of KEDA: its HPA is among the others.
#[derive(Clone, Debug)]
pub struct ScaledObjectModel {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Stable identity for draws.
    pub key: u64,
    /// What it scales.
    pub target: Id<WorkloadModel>,
    /// When it goes to zero and back.
    pub rules: ScaledObjectRules,
    /// What wakes it.
    pub triggers: Vec<TriggerModel>,
}

/// A trigger of a ScaledObject.
#[derive(Clone, Copy, Debug)]
pub struct TriggerModel {
    /// What it reads.
    pub kind: TriggerKind,
    /// Thousandths above which it is active.
    pub activation: i64,
}

/// What a trigger reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerKind {
    /// A metric, by its position in the model.
    Metric(usize),
    /// CPU or memory of the pods.
    Resource,
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
    /// A Service, and the age of its values when they are read.
    Service(Id<ServiceModel>, Measure, Span),
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
    /// How it acts.
    pub mode: UpdateMode,
    /// Containers of the target, over all its revisions.
    pub containers: Vec<VpaContainer>,
    /// LimitRange of the namespace's containers.
    pub container_range: Option<Boundaries>,
    /// LimitRange of the namespace's pods.
    pub pod_range: Option<Boundaries>,
}

/// A container that a VPA sizes.
#[derive(Clone, Debug)]
pub struct VpaContainer {
    /// Name.
    pub name: String,
    /// Its policy.
    pub policy: ContainerPolicy,
}

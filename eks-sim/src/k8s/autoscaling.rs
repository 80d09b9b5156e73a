//! HorizontalPodAutoscaler (v1, v2) and VerticalPodAutoscaler.

use super::{Condition, LabelSelector, ObjectMeta, ObjectReference, ResourceList};
use crate::units::Quantity;
use serde::{Deserialize, Serialize};

/// A HorizontalPodAutoscaler; `autoscaling/v1` fields are read too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HorizontalPodAutoscaler {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: HorizontalPodAutoscalerSpec,
    /// Observed state.
    pub status: HorizontalPodAutoscalerStatus,
}

/// `spec` of an HPA.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HorizontalPodAutoscalerSpec {
    /// What it scales.
    pub scale_target_ref: ObjectReference,
    /// Lower bound (1).
    pub min_replicas: Option<i32>,
    /// Upper bound.
    pub max_replicas: i32,
    /// v1: average CPU utilisation in percent of requests.
    #[serde(rename = "targetCPUUtilizationPercentage")]
    pub target_cpu_utilization_percentage: Option<i32>,
    /// Metrics.
    pub metrics: Vec<MetricSpec>,
    /// Scaling behaviour.
    pub behavior: Option<HpaBehavior>,
}

/// A metric of an HPA; the field named by `type` is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricSpec {
    /// `Resource`, `ContainerResource`, `Pods`, `Object` or `External`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Pod resource.
    pub resource: Option<ResourceMetric>,
    /// Resource of one container.
    pub container_resource: Option<ResourceMetric>,
    /// Custom pod metric.
    pub pods: Option<NamedMetric>,
    /// Metric of one object.
    pub object: Option<NamedMetric>,
    /// Metric from outside.
    pub external: Option<NamedMetric>,
}

/// A resource metric.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceMetric {
    /// `cpu` or `memory`.
    pub name: String,
    /// Container, for ContainerResource.
    pub container: Option<String>,
    /// Target.
    pub target: MetricTarget,
}

/// A custom or external metric.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NamedMetric {
    /// Name and labels.
    pub metric: MetricIdentifier,
    /// Target.
    pub target: MetricTarget,
    /// Object, for Object metrics.
    pub described_object: Option<ObjectReference>,
}

/// Name and labels of a metric.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricIdentifier {
    /// Name.
    pub name: String,
    /// Labels.
    pub selector: Option<LabelSelector>,
}

/// Target of a metric; the field named by `type` is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricTarget {
    /// `Utilization`, `Value` or `AverageValue`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Percent of requests.
    pub average_utilization: Option<i32>,
    /// Per pod.
    pub average_value: Option<Quantity>,
    /// In all.
    pub value: Option<Quantity>,
}

/// Scaling behaviour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HpaBehavior {
    /// Upwards.
    pub scale_up: Option<HpaScalingRules>,
    /// Downwards.
    pub scale_down: Option<HpaScalingRules>,
}

/// Rules of one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HpaScalingRules {
    /// Seconds to look back.
    pub stabilization_window_seconds: Option<i32>,
    /// `Max` (default), `Min` or `Disabled`.
    pub select_policy: Option<String>,
    /// Rate limits.
    pub policies: Option<Vec<HpaScalingPolicy>>,
    /// Tolerance of this direction.
    pub tolerance: Option<Quantity>,
}

/// A rate limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HpaScalingPolicy {
    /// `Pods` or `Percent`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Amount.
    pub value: i32,
    /// Seconds.
    pub period_seconds: i32,
}

/// `status` of an HPA.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HorizontalPodAutoscalerStatus {
    /// Replicas seen.
    pub current_replicas: i32,
    /// Replicas wanted.
    pub desired_replicas: i32,
    /// Conditions.
    pub conditions: Vec<Condition>,
}

/// A VerticalPodAutoscaler (autoscaling.k8s.io/v1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VerticalPodAutoscaler {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: VerticalPodAutoscalerSpec,
}

/// `spec` of a VPA.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VerticalPodAutoscalerSpec {
    /// What it sizes.
    pub target_ref: Option<ObjectReference>,
    /// How it acts.
    pub update_policy: Option<VpaUpdatePolicy>,
    /// Bounds.
    pub resource_policy: Option<VpaResourcePolicy>,
}

/// How a VPA acts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VpaUpdatePolicy {
    /// `Off`, `Initial`, `Recreate`, `Auto`, `InPlaceOrRecreate`, `InPlace`.
    pub update_mode: Option<String>,
    /// Pods that must be there for an eviction.
    pub min_replicas: Option<i32>,
    /// Directions of change that an eviction needs.
    pub eviction_requirements: Vec<VpaEvictionRequirement>,
}

/// A direction of change that an eviction needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VpaEvictionRequirement {
    /// Resources, one of which must change this way.
    pub resources: Vec<String>,
    /// `TargetHigherThanRequests` or `TargetLowerThanRequests`.
    pub change_requirement: String,
}

/// Bounds of a VPA.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VpaResourcePolicy {
    /// Per container; `*` is the rest.
    pub container_policies: Vec<VpaContainerPolicy>,
}

/// Bounds for one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VpaContainerPolicy {
    /// Container or `*`.
    pub container_name: String,
    /// `Auto` (default) or `Off`.
    pub mode: Option<String>,
    /// Smallest.
    pub min_allowed: ResourceList,
    /// Largest.
    pub max_allowed: ResourceList,
    /// Resources it touches (cpu and memory).
    pub controlled_resources: Option<Vec<String>>,
    /// `RequestsAndLimits` (default) or `RequestsOnly`.
    pub controlled_values: Option<String>,
}

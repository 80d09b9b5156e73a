//! Disruption budgets, priorities, quotas and limits.

use super::{IntOrPercent, LabelSelector, ObjectMeta, ResourceList};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A PodDisruptionBudget (policy/v1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodDisruptionBudget {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: PodDisruptionBudgetSpec,
    /// Observed state.
    pub status: PodDisruptionBudgetStatus,
}

/// `spec` of a budget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodDisruptionBudgetSpec {
    /// Pods that must stay.
    pub min_available: Option<IntOrPercent>,
    /// Pods that may be missing.
    pub max_unavailable: Option<IntOrPercent>,
    /// Pods it protects.
    pub selector: Option<LabelSelector>,
    /// `IfHealthyBudget` (default) or `AlwaysAllow`.
    pub unhealthy_pod_eviction_policy: Option<String>,
}

/// `status` of a budget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodDisruptionBudgetStatus {
    /// Evictions allowed now.
    pub disruptions_allowed: i32,
    /// Pods whose eviction was granted.
    pub disrupted_pods: BTreeMap<String, String>,
}

/// A PriorityClass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PriorityClass {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Value.
    pub value: i32,
    /// Used by pods that name no class.
    pub global_default: bool,
    /// `PreemptLowerPriority` (default) or `Never`.
    pub preemption_policy: Option<String>,
}

/// A ResourceQuota.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceQuota {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: ResourceQuotaSpec,
}

/// `spec` of a quota.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceQuotaSpec {
    /// Limits by name.
    pub hard: ResourceList,
    /// Scopes.
    pub scopes: Vec<String>,
}

/// A LimitRange.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LimitRange {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Limits.
    pub spec: LimitRangeSpec,
}

/// `spec` of a LimitRange.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LimitRangeSpec {
    /// Items.
    pub limits: Vec<LimitRangeItem>,
}

/// An item of a LimitRange.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LimitRangeItem {
    /// `Container`, `Pod` or `PersistentVolumeClaim`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Largest.
    pub max: ResourceList,
    /// Smallest.
    pub min: ResourceList,
    /// Default limits.
    pub default: ResourceList,
    /// Default requests.
    pub default_request: ResourceList,
    /// Largest limit/request.
    pub max_limit_request_ratio: ResourceList,
}

//! Deployments, ReplicaSets, StatefulSets, DaemonSets and Services.

use super::{IntOrPercent, LabelSelector, ObjectMeta, PersistentVolumeClaim, PodTemplateSpec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A Deployment (apps/v1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Deployment {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: DeploymentSpec,
}

/// `spec` of a Deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentSpec {
    /// Wanted pods (1 by default).
    pub replicas: Option<i32>,
    /// Pods it owns.
    pub selector: Option<LabelSelector>,
    /// Template.
    pub template: PodTemplateSpec,
    /// How to roll out.
    pub strategy: DeploymentStrategy,
    /// Seconds a pod must be ready to be available.
    pub min_ready_seconds: i32,
    /// Seconds without progress before the rollout counts as failed (600).
    pub progress_deadline_seconds: Option<i32>,
    /// Old ReplicaSets kept (10).
    pub revision_history_limit: Option<i32>,
    /// No rollout while set.
    pub paused: bool,
}

/// Rollout strategy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentStrategy {
    /// `RollingUpdate` (default) or `Recreate`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Numbers of a rolling update.
    pub rolling_update: Option<RollingUpdate>,
}

/// Numbers of a rolling update.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RollingUpdate {
    /// Extra pods (25 %; DaemonSets 0).
    pub max_surge: Option<IntOrPercent>,
    /// Missing pods (25 %; DaemonSets and StatefulSets 1).
    pub max_unavailable: Option<IntOrPercent>,
    /// StatefulSets: ordinals below stay old.
    pub partition: Option<i32>,
}

/// A ReplicaSet (apps/v1) or ReplicationController.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaSet {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: ReplicaSetSpec,
}

/// `spec` of a ReplicaSet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaSetSpec {
    /// Wanted pods (1 by default).
    pub replicas: Option<i32>,
    /// Pods it owns.
    pub selector: Option<LabelSelector>,
    /// Template.
    pub template: PodTemplateSpec,
    /// Seconds a pod must be ready to be available.
    pub min_ready_seconds: i32,
}

/// A StatefulSet (apps/v1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatefulSet {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: StatefulSetSpec,
}

/// `spec` of a StatefulSet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatefulSetSpec {
    /// Wanted pods (1 by default).
    pub replicas: Option<i32>,
    /// Pods it owns.
    pub selector: Option<LabelSelector>,
    /// Template.
    pub template: PodTemplateSpec,
    /// Governing service.
    pub service_name: String,
    /// `OrderedReady` (default) or `Parallel`.
    pub pod_management_policy: Option<String>,
    /// How to update.
    pub update_strategy: DeploymentStrategy,
    /// Claims per pod.
    pub volume_claim_templates: Vec<PersistentVolumeClaim>,
    /// Seconds a pod must be ready to be available.
    pub min_ready_seconds: i32,
}

/// A DaemonSet (apps/v1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DaemonSet {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: DaemonSetSpec,
}

/// `spec` of a DaemonSet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DaemonSetSpec {
    /// Pods it owns.
    pub selector: Option<LabelSelector>,
    /// Template.
    pub template: PodTemplateSpec,
    /// How to update.
    pub update_strategy: DeploymentStrategy,
    /// Seconds a pod must be ready to be available.
    pub min_ready_seconds: i32,
}

/// A Service (core/v1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Service {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: ServiceSpec,
}

/// `spec` of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// Labels of the pods it sends to; empty sends nowhere by itself.
    pub selector: BTreeMap<String, String>,
    /// `ClusterIP` (default), `NodePort`, `LoadBalancer`, `ExternalName`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `None` for a headless Service.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Option<String>,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// Load balancer implementation.
    pub load_balancer_class: Option<String>,
}

/// A port of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// Name.
    pub name: Option<String>,
    /// Port.
    pub port: i32,
    /// Protocol.
    pub protocol: Option<String>,
    /// Port of the pods, by number or name; absent: the same as `port`.
    pub target_port: Option<serde_json::Value>,
}

/// A Namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Namespace {
    /// Metadata (its labels matter to selectors and Pod Security).
    pub metadata: ObjectMeta,
}

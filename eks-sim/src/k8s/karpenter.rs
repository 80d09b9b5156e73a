//! Karpenter's NodePool (karpenter.sh/v1) and EC2NodeClass (karpenter.k8s.aws/v1).

use super::{ObjectMeta, ResourceList, StringMap, Taint};
use serde::{Deserialize, Serialize};

/// A NodePool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodePool {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: NodePoolSpec,
}

/// `spec` of a NodePool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodePoolSpec {
    /// What its nodes look like.
    pub template: NodeClaimTemplate,
    /// When nodes may be disrupted.
    pub disruption: Option<Disruption>,
    /// Largest total.
    pub limits: ResourceList,
    /// Pools with a higher weight are tried first.
    pub weight: Option<i32>,
    /// Static capacity.
    pub replicas: Option<i64>,
}

/// What a NodePool's nodes look like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeClaimTemplate {
    /// Labels and annotations.
    pub metadata: ObjectMeta,
    /// Specification.
    pub spec: NodeClaimSpec,
}

/// Specification of a NodeClaim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeClaimSpec {
    /// Requirements on instance types, zones and so on.
    pub requirements: Vec<NodeRequirement>,
    /// The cloud's part.
    pub node_class_ref: NodeClassRef,
    /// Taints.
    pub taints: Vec<Taint>,
    /// Taints that something removes before pods may come.
    pub startup_taints: Vec<Taint>,
    /// Longest life (`720h`), or `Never`.
    pub expire_after: Option<String>,
    /// Longest drain.
    pub termination_grace_period: Option<String>,
}

/// A requirement of a NodePool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeRequirement {
    /// Label key.
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`, `Gt`, `Lt`.
    pub operator: String,
    /// Values.
    pub values: Vec<String>,
    /// Different values that must stay possible.
    pub min_values: Option<i32>,
}

/// Reference to a node class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeClassRef {
    /// API group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
}

/// When nodes may be disrupted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Disruption {
    /// `WhenEmptyOrUnderutilized` (default) or `WhenEmpty` (and `Balanced` behind a gate).
    pub consolidation_policy: Option<String>,
    /// Quiet time before consolidation, or `Never`.
    pub consolidate_after: Option<String>,
    /// Budgets (10 % by default).
    pub budgets: Vec<Budget>,
}

/// A disruption budget of a NodePool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Budget {
    /// Nodes, or percent of the pool's nodes.
    pub nodes: String,
    /// Reasons it applies to; absent is all.
    pub reasons: Vec<String>,
    /// Cron expression of its start.
    pub schedule: Option<String>,
    /// How long it lasts.
    pub duration: Option<String>,
}

/// An EC2NodeClass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ec2NodeClass {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: Ec2NodeClassSpec,
}

/// `spec` of an EC2NodeClass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ec2NodeClassSpec {
    /// Image family.
    pub ami_family: Option<String>,
    /// Subnets.
    pub subnet_selector_terms: Vec<SelectorTerm>,
    /// Images.
    pub ami_selector_terms: Vec<SelectorTerm>,
    /// Kubelet settings.
    pub kubelet: Option<KubeletConfiguration>,
    /// Disks.
    pub block_device_mappings: Vec<BlockDeviceMapping>,
    /// Instance store policy.
    pub instance_store_policy: Option<String>,
    /// Tags on instances.
    pub tags: StringMap,
    /// Start script or settings.
    pub user_data: Option<String>,
}

/// A NodeClass of EKS Auto Mode (eks.amazonaws.com/v1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeClass {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: NodeClassSpec,
}

/// `spec` of a NodeClass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeClassSpec {
    /// Subnets.
    pub subnet_selector_terms: Vec<SelectorTerm>,
    /// The data volume.
    pub ephemeral_storage: Option<EphemeralStorage>,
    /// Tags on instances.
    pub tags: StringMap,
}

/// The data volume of Auto Mode's nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EphemeralStorage {
    /// Size (80Gi).
    pub size: Option<crate::units::Quantity>,
    /// Provisioned IOPS.
    pub iops: Option<i64>,
    /// Provisioned throughput (MiB/s).
    pub throughput: Option<i64>,
}

/// A selector of AWS things.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SelectorTerm {
    /// By tags.
    pub tags: StringMap,
    /// By id.
    pub id: Option<String>,
    /// By alias (images).
    pub alias: Option<String>,
    /// By name.
    pub name: Option<String>,
}

/// Kubelet settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeletConfiguration {
    /// Pods per node.
    pub max_pods: Option<i32>,
    /// Pods per core.
    pub pods_per_core: Option<i32>,
    /// Reserved for Kubernetes.
    pub kube_reserved: ResourceList,
    /// Reserved for the system.
    pub system_reserved: ResourceList,
    /// Hard eviction thresholds.
    pub eviction_hard: StringMap,
    /// Soft eviction thresholds.
    pub eviction_soft: StringMap,
}

/// A disk of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockDeviceMapping {
    /// Device.
    pub device_name: String,
    /// Root volume for allocatable storage.
    pub root_volume: bool,
    /// EBS settings.
    pub ebs: Option<EbsBlockDevice>,
}

/// EBS settings of a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EbsBlockDevice {
    /// Size.
    pub volume_size: Option<crate::units::Quantity>,
    /// Type.
    pub volume_type: Option<String>,
    /// Provisioned IOPS.
    pub iops: Option<i64>,
    /// Provisioned throughput (MiB/s).
    pub throughput: Option<i64>,
}

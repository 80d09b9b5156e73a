//! Claims, volumes, classes, CSI nodes.

use super::{LabelSelector, NodeSelector, ObjectMeta, ObjectReference, ResourceList, StringMap};
use serde::{Deserialize, Serialize};

/// A PersistentVolumeClaim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeClaim {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: PersistentVolumeClaimSpec,
    /// Observed state.
    pub status: PersistentVolumeClaimStatus,
}

/// `spec` of a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeClaimSpec {
    /// Class; absent is the default class, empty is none.
    pub storage_class_name: Option<String>,
    /// `ReadWriteOnce`, `ReadOnlyMany`, `ReadWriteMany`, `ReadWriteOncePod`.
    pub access_modes: Vec<String>,
    /// `requests.storage`.
    pub resources: super::ResourceRequirements,
    /// Bound volume.
    pub volume_name: Option<String>,
    /// Static volumes it accepts.
    pub selector: Option<LabelSelector>,
    /// `Filesystem` (default) or `Block`.
    pub volume_mode: Option<String>,
}

/// `status` of a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeClaimStatus {
    /// `Pending`, `Bound` or `Lost`.
    pub phase: String,
}

/// A PersistentVolume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolume {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: PersistentVolumeSpec,
    /// Observed state.
    pub status: PersistentVolumeStatus,
}

/// `spec` of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeSpec {
    /// `storage`.
    pub capacity: ResourceList,
    /// Access modes.
    pub access_modes: Vec<String>,
    /// Class.
    pub storage_class_name: Option<String>,
    /// Where it can be used.
    pub node_affinity: Option<VolumeNodeAffinity>,
    /// Claim it is bound or reserved to.
    pub claim_ref: Option<ClaimReference>,
    /// CSI source.
    pub csi: Option<CsiPersistentVolumeSource>,
    /// In-tree EBS source.
    pub aws_elastic_block_store: Option<super::AwsElasticBlockStoreSource>,
    /// `Filesystem` (default) or `Block`.
    pub volume_mode: Option<String>,
}

/// Claim a volume belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimReference {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Unique id.
    pub uid: Option<String>,
}

/// Where a volume can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeNodeAffinity {
    /// Nodes.
    pub required: Option<NodeSelector>,
}

/// CSI source of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CsiPersistentVolumeSource {
    /// Driver.
    pub driver: String,
    /// Handle, unique per driver.
    pub volume_handle: String,
}

/// `status` of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeStatus {
    /// `Available`, `Bound`, `Released`, `Failed`.
    pub phase: String,
}

/// A StorageClass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageClass {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Driver.
    pub provisioner: String,
    /// `Immediate` (default) or `WaitForFirstConsumer`.
    pub volume_binding_mode: Option<String>,
    /// Driver parameters.
    pub parameters: StringMap,
    /// Where volumes may be made.
    pub allowed_topologies: Vec<TopologySelectorTerm>,
    /// `Delete` (default) or `Retain`.
    pub reclaim_policy: Option<String>,
}

/// Where volumes may be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopologySelectorTerm {
    /// All must hold.
    pub match_label_expressions: Vec<TopologySelectorRequirement>,
}

/// One requirement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopologySelectorRequirement {
    /// Label key.
    pub key: String,
    /// Values.
    pub values: Vec<String>,
}

/// A CSINode: which drivers a node has and how many volumes each may attach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CsiNode {
    /// Metadata; the name is the node's.
    pub metadata: ObjectMeta,
    /// Drivers.
    pub spec: CsiNodeSpec,
}

/// `spec` of a CSINode.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CsiNodeSpec {
    /// Drivers.
    pub drivers: Vec<CsiNodeDriver>,
}

/// A driver on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CsiNodeDriver {
    /// Name.
    pub name: String,
    /// Node id for the driver.
    #[serde(rename = "nodeID")]
    pub node_id: String,
    /// Limit.
    pub allocatable: Option<CsiVolumeNodeResources>,
}

/// Limit of attachments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CsiVolumeNodeResources {
    /// Number; absent is unlimited.
    pub count: Option<i32>,
}

/// A reference used by other kinds.
pub type Reference = ObjectReference;

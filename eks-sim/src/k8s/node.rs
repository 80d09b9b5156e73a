//! Nodes (core/v1).

use super::{Condition, ObjectMeta, ResourceList};
use serde::{Deserialize, Serialize};

/// A Node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: NodeSpec,
    /// Observed state.
    pub status: NodeStatus,
}

/// `spec` of a Node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSpec {
    /// Cordoned.
    pub unschedulable: bool,
    /// Taints in order.
    pub taints: Vec<Taint>,
    /// Cloud instance.
    #[serde(rename = "providerID")]
    pub provider_id: Option<String>,
}

/// A taint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Value.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
    /// RFC 3339 time it was added.
    pub time_added: Option<String>,
}

/// `status` of a Node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    /// Whole machine.
    pub capacity: ResourceList,
    /// Available to pods.
    pub allocatable: ResourceList,
    /// Conditions.
    pub conditions: Vec<Condition>,
    /// Images on the node.
    pub images: Vec<NodeImage>,
}

/// An image on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeImage {
    /// Names.
    pub names: Vec<String>,
    /// Size.
    pub size_bytes: i64,
}

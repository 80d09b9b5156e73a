//! What the user does during the run: rollouts, rollbacks, drains.

use crate::units::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A change at a set time: `target` with `set` or `undo`, `drain`, or `nodeGroupUpdate`.
///
/// ```yaml
/// changes:
/// - {at: 2h, target: Deployment/shop/cart, set: {image: shop/cart:v2, "env[LOG]": debug}}
/// - {at: 3h, target: Deployment/shop/cart, undo: true}
/// - {at: 4h, drain: {nodeGroup: base, count: 1}}
/// - {at: 5h, nodeGroupUpdate: {nodeGroup: base}}
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ChangeSpec {
    /// Time since the start.
    pub at: Span,
    /// Workload to change: `Kind/NAME` or `Kind/NAMESPACE/NAME`, a Deployment, StatefulSet,
    /// DaemonSet or ReplicaSet.
    pub target: Option<String>,
    /// Path → value in the object, with the grammar of `--set`
    /// (`spec.template.spec.containers[web].image`). Short forms: `image`, `resources…`, `env[NAME]`
    /// of the only container; `containers[NAME]…`; `replicas`, `paused`, `strategy…`,
    /// `updateStrategy…`, `minReadySeconds`, `progressDeadlineSeconds`. `null` removes a field.
    pub set: BTreeMap<String, serde_json::Value>,
    /// Back to the revision before, as `kubectl rollout undo` does.
    pub undo: bool,
    /// Cordon nodes and evict their pods, as `kubectl drain --ignore-daemonsets` does.
    pub drain: Option<DrainSpec>,
    /// Update a managed node group to a new version of its launch template (a new image, say).
    pub node_group_update: Option<NodeGroupUpdateSpec>,
}

/// The update of a managed node group; how many nodes go at a time is the group's `updateConfig`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeGroupUpdateSpec {
    /// Which group.
    pub node_group: String,
    /// Delete pods that have not left a node in time, instead of giving up (default false).
    #[serde(default)]
    pub force: bool,
}

/// Nodes to drain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct DrainSpec {
    /// Of this node group only.
    pub node_group: Option<String>,
    /// How many (default 1), those that registered first.
    pub count: Option<u32>,
}

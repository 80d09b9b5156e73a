//! What the user does during the run: rollouts, rollbacks, drains.

use crate::units::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A change at a set time: `target` with `set` or `undo`, `drain`, or `imageRelease`.
///
/// ```yaml
/// changes:
/// - {at: 2h, target: Deployment/shop/cart, set: {image: shop/cart:v2, "env[LOG]": debug}}
/// - {at: 3h, target: Deployment/shop/cart, undo: true}
/// - {at: 4h, drain: {nodeGroup: base, count: 1}}
/// - {at: 5h, target: NodePool/apps, set: {disruption.consolidateAfter: 1h}}
/// - {at: 6h, imageRelease: al2023}
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ChangeSpec {
    /// Time since the start.
    pub at: Span,
    /// Object to change: `Kind/NAME` or `Kind/NAMESPACE/NAME`, a Deployment, StatefulSet,
    /// DaemonSet, ReplicaSet, NodePool or EC2NodeClass.
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
    /// A new image of this family is published (`al2023`, `al2` or `bottlerocket`): Karpenter's
    /// nodes whose class takes `FAMILY@latest` drift.
    pub image_release: Option<String>,
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

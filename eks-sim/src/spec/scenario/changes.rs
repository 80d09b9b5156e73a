//! What the user does during the run: rollouts, rollbacks, drains.

use super::Fraction;
use crate::units::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A change at a set time: `target` with `set`, `undo`, `ungate`, `delete`, `weights` or `shift`; `drain`;
/// `nodeGroupUpdate`; or `imageRelease`.
///
/// ```yaml
/// changes:
/// - {at: 2h, target: Deployment/shop/cart, set: {image: shop/cart:v2, "env[LOG]": debug}}
/// - {at: 3h, target: Deployment/shop/cart, undo: true}
/// - {at: 4h, drain: {nodeGroup: base, count: 1}}
/// - {at: 5h, target: NodePool/apps, set: {disruption.consolidateAfter: 1h}}
/// - {at: 6h, imageRelease: al2023}
/// - {at: 7h, target: Service/shop/web, weights: {Deployment/web-blue: 0, Deployment/web-green: 1}}
/// - {at: 8h, target: Deployment/shop/web-blue, delete: background}
/// - {at: 5h, nodeGroupUpdate: {nodeGroup: base}}
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ChangeSpec {
    /// Time since the start.
    pub at: Span,
    /// What to change: `Kind/NAME` or `Kind/NAMESPACE/NAME` of a Deployment, StatefulSet,
    /// DaemonSet, ReplicaSet, NodePool or EC2NodeClass (to delete also a Job), or of a Service for
    /// `weights` and `shift`.
    pub target: Option<String>,
    /// Path → value in the object, with the grammar of `--set`
    /// (`spec.template.spec.containers[web].image`). Short forms: `image`, `resources…`, `env[NAME]`
    /// of the only container; `containers[NAME]…`; `replicas`, `paused`, `strategy…`,
    /// `updateStrategy…`, `minReadySeconds`, `progressDeadlineSeconds`. `null` removes a field.
    pub set: BTreeMap<String, serde_json::Value>,
    /// Back to the revision before, as `kubectl rollout undo` does.
    pub undo: bool,
    /// Removes the scheduling gates of the target's present pods, as the controller that set them
    /// does; pods made later have them again.
    pub ungate: bool,
    /// Deletes the target: `background` (its pods go after it), `foreground` (it goes after its
    /// pods) or `orphan` (what it made stays: a Deployment's ReplicaSets, otherwise its pods).
    pub delete: Option<String>,
    /// Workload → weight: how the requests to the Service are split from then on. Backends that
    /// are not named get 0; all are listed in `traffic[].weights`.
    pub weights: BTreeMap<String, f64>,
    /// A canary: requests to the Service move from one workload to another step by step.
    pub shift: Option<ShiftSpec>,
    /// Cordon nodes and evict their pods, as `kubectl drain --ignore-daemonsets` does.
    pub drain: Option<DrainSpec>,
    /// Update a managed node group to a new version of its launch template (a new image, say).
    pub node_group_update: Option<NodeGroupUpdateSpec>,
    /// A new image of this family is published (`al2023`, `al2` or `bottlerocket`): Karpenter's
    /// nodes whose class takes `FAMILY@latest` drift.
    pub image_release: Option<String>,
}

impl ChangeSpec {
    /// Whether it is about a Service's traffic.
    #[must_use]
    pub fn moves_traffic(&self) -> bool {
        !self.weights.is_empty() || self.shift.is_some()
    }
}

/// A step-by-step move of traffic from one workload to another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShiftSpec {
    /// Workload that has the traffic.
    pub from: String,
    /// Workload that gets it.
    pub to: String,
    /// Percent of the requests that `to` gets, one step after the other.
    pub steps: Vec<f64>,
    /// Time between the steps (default 10 m).
    #[serde(default)]
    pub every: Option<Span>,
    /// At the end of each step: if a larger share of the requests to `to` fails, everything goes
    /// back to `from` and the shift ends (default: never).
    #[serde(default)]
    pub abort_above: Option<Fraction>,
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

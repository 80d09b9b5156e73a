//! The cluster: control plane, node groups, autoscaler, add-ons.

use super::{
    ClusterAutoscalerSpec, FargateProfileSpec, HybridNodesSpec, NetworkSpec, NodeGroupSpec,
};
use crate::units::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ClusterSpec {
    /// AWS Region: `us-east-1` (default), `us-west-2` or `eu-west-1`.
    pub region: String,
    /// Kubernetes version (default `"1.34"`).
    pub version: String,
    /// The control plane.
    pub control_plane: ControlPlaneSpec,
    /// VPC, subnets and CNI.
    pub network: NetworkSpec,
    /// Node groups (default: one managed group `default` of 3 to 20 `m6i.large`).
    pub node_groups: Vec<NodeGroupSpec>,
    /// Fargate profiles.
    pub fargate_profiles: Vec<FargateProfileSpec>,
    /// Machines outside AWS.
    pub hybrid_nodes: Vec<HybridNodesSpec>,
    /// vCPUs that the account may run, by quota: `standard` (types A, C, D, H, I, M, R, T, Z), `f`,
    /// `g`, `p`, `x`, `inf`, `trn`, `dl`, `hpc`, `high-memory`, and the same with `spot-` before
    /// them; `fargate` too (default: no limit).
    pub vcpu_quotas: BTreeMap<String, u32>,
    /// What adds and removes nodes (default: nothing).
    pub autoscaler: AutoscalerSpec,
    /// EKS add-ons: `vpc-cni`, `coredns`, `kube-proxy`, `metrics-server`, `aws-ebs-csi-driver`,
    /// `eks-pod-identity-agent` (default: the first four); `karpenter` adds its controller's pods.
    pub addons: Vec<String>,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            region: "us-east-1".to_owned(),
            version: "1.34".to_owned(),
            control_plane: ControlPlaneSpec::default(),
            network: NetworkSpec::default(),
            node_groups: vec![NodeGroupSpec::default()],
            fargate_profiles: Vec::new(),
            hybrid_nodes: Vec::new(),
            vcpu_quotas: BTreeMap::new(),
            autoscaler: AutoscalerSpec::default(),
            addons: ["vpc-cni", "coredns", "kube-proxy", "metrics-server"]
                .map(str::to_owned)
                .to_vec(),
        }
    }
}

/// The control plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ControlPlaneSpec {
    /// `standard` (default), `xl`, `2xl`, `4xl` or `8xl`.
    pub tier: String,
    /// API servers (default 2).
    pub api_servers: u32,
    /// etcd members (default 3).
    pub etcd_members: u32,
    /// Whether lost members are replaced (default true).
    pub replace_members: bool,
    /// Whether the version is in extended support (dearer); default by version and start time.
    pub extended_support: Option<bool>,
}

impl Default for ControlPlaneSpec {
    fn default() -> Self {
        Self {
            tier: "standard".to_owned(),
            api_servers: 2,
            etcd_members: 3,
            replace_members: true,
            extended_support: None,
        }
    }
}

/// What adds and removes nodes: at most one of the fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AutoscalerSpec {
    /// Cluster Autoscaler over the node groups.
    pub cluster_autoscaler: Option<ClusterAutoscalerSpec>,
    /// Karpenter over the NodePools of the manifests.
    pub karpenter: Option<KarpenterSpec>,
    /// EKS Auto Mode.
    pub auto_mode: Option<AutoModeSpec>,
}

/// Settings of Karpenter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct KarpenterSpec {
    /// Version, which selects rules that changed (default the newest known).
    pub version: Option<String>,
    /// Quiet time that closes a batch of pending pods (1 s).
    pub batch_idle_duration: Option<Span>,
    /// Longest batch (10 s).
    pub batch_max_duration: Option<Span>,
    /// `Respect` (default) or `Ignore` preferences of pods.
    pub preference_policy: Option<String>,
    /// `Strict` (default) or `BestEffort`.
    pub min_values_policy: Option<String>,
    /// Share of memory that the hypervisor is assumed to keep (0.075).
    pub vm_memory_overhead_percent: Option<f64>,
    /// Whether an interruption queue is read: spot notices lead to replacement (false).
    pub interruption_queue: bool,
    /// Feature gates by name, for example `SpotToSpotConsolidation: true`.
    pub feature_gates: BTreeMap<String, bool>,
}

/// Settings of EKS Auto Mode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AutoModeSpec {
    /// Built-in NodePools that are switched on (default `general-purpose` and `system`).
    pub node_pools: Vec<String>,
}

impl Default for AutoModeSpec {
    fn default() -> Self {
        Self { node_pools: ["general-purpose", "system"].map(str::to_owned).to_vec() }
    }
}

//! The cluster: control plane, network, node groups, autoscaler, add-ons.

use super::{ClusterAutoscalerSpec, FargateProfileSpec, HybridNodesSpec, NodeGroupSpec};
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

/// VPC, subnets and CNI.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NetworkSpec {
    /// Address block of the VPC (default `10.0.0.0/16`).
    pub vpc_cidr: String,
    /// Further blocks.
    pub secondary_cidrs: Vec<String>,
    /// Subnets of nodes (default: a /20 in each of three zones).
    pub subnets: Vec<SubnetSpec>,
    /// VPC CNI settings by their environment variable.
    pub cni: CniSpec,
}

impl Default for NetworkSpec {
    fn default() -> Self {
        Self {
            vpc_cidr: "10.0.0.0/16".to_owned(),
            secondary_cidrs: Vec::new(),
            subnets: Vec::new(),
            cni: CniSpec::default(),
        }
    }
}

/// A subnet: `cidr`, or `prefix` and it gets the next free aligned block of the VPC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubnetSpec {
    /// Name.
    pub name: String,
    /// Availability zone, for example `us-east-1a`.
    pub zone: String,
    /// Address block.
    #[serde(default)]
    pub cidr: Option<String>,
    /// Prefix length 16 to 28.
    #[serde(default)]
    pub prefix: Option<u8>,
    /// Addresses that something outside the cluster holds (default 0).
    #[serde(default)]
    pub used_addresses: u32,
}

/// VPC CNI settings (names and defaults are the add-on's).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", default, deny_unknown_fields)]
pub struct CniSpec {
    /// Spare interfaces (1).
    pub warm_eni_target: u32,
    /// Spare addresses; overrides the interface target.
    pub warm_ip_target: u32,
    /// Addresses held at least.
    pub minimum_ip_target: u32,
    /// Spare prefixes (1).
    pub warm_prefix_target: u32,
    /// Interfaces at most; 0 is the type's limit.
    pub max_eni: u32,
    /// /28 prefixes instead of single addresses.
    pub enable_prefix_delegation: bool,
    /// Seconds before a freed address is used again (30).
    pub ip_cooldown_period: u32,
}

impl Default for CniSpec {
    fn default() -> Self {
        Self {
            warm_eni_target: 1,
            warm_ip_target: 0,
            minimum_ip_target: 0,
            warm_prefix_target: 1,
            max_eni: 0,
            enable_prefix_delegation: false,
            ip_cooldown_period: 30,
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

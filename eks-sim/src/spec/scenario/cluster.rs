//! The cluster: control plane, node groups, autoscaler, add-ons.

use super::NetworkSpec;
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
    /// Managed node groups (default: one group `default` of 3 to 20 `m6i.large`).
    pub node_groups: Vec<NodeGroupSpec>,
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

/// A managed node group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NodeGroupSpec {
    /// Name.
    pub name: String,
    /// Instance types, preferred first (default `[m6i.large]`).
    pub instance_types: Vec<String>,
    /// Nodes at least (default 1).
    pub min_size: u32,
    /// Nodes at most (default 20).
    pub max_size: u32,
    /// Nodes at the start (default 3).
    pub desired_size: u32,
    /// `ON_DEMAND` (default) or `SPOT`.
    pub capacity_type: String,
    /// Names of subnets (default: all).
    pub subnets: Vec<String>,
    /// Node labels.
    pub labels: BTreeMap<String, String>,
    /// Node taints.
    pub taints: Vec<TaintSpec>,
    /// `AL2023` (default) or `BOTTLEROCKET`.
    pub ami_family: String,
    /// Pods per node instead of the formula's.
    pub max_pods: Option<u32>,
    /// Root volume in GiB (default 20).
    pub disk_size: u32,
}

impl Default for NodeGroupSpec {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            instance_types: vec!["m6i.large".to_owned()],
            min_size: 1,
            max_size: 20,
            desired_size: 3,
            capacity_type: "ON_DEMAND".to_owned(),
            subnets: Vec::new(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            ami_family: "AL2023".to_owned(),
            max_pods: None,
            disk_size: 20,
        }
    }
}

/// A taint of a node group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaintSpec {
    /// Key.
    pub key: String,
    /// Value.
    #[serde(default)]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
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

/// Flags of Cluster Autoscaler; names are its flags' in camelCase, defaults are its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ClusterAutoscalerSpec {
    /// Time between loops (10 s).
    pub scan_interval: Span,
    /// Chain of `random`, `most-pods`, `least-waste`, `least-nodes`, `priority` (`least-waste`).
    pub expander: String,
    /// Whether similar groups are kept level (false).
    pub balance_similar_node_groups: bool,
    /// Age a pod must reach before it causes a scale-up (0 s).
    pub new_pod_scale_up_delay: Span,
    /// How long a node may take to come (15 m).
    pub max_node_provision_time: Span,
    /// Whether nodes are removed (true).
    pub scale_down_enabled: bool,
    /// Quiet time after a scale-up (10 m).
    pub scale_down_delay_after_add: Span,
    /// Quiet time after a removal (the scan interval).
    pub scale_down_delay_after_delete: Span,
    /// Quiet time after a failed removal (3 m).
    pub scale_down_delay_after_failure: Span,
    /// How long a node must be unneeded (10 m).
    pub scale_down_unneeded_time: Span,
    /// How long an unready node must be unneeded (20 m).
    pub scale_down_unready_time: Span,
    /// Share of requests below which a node may go (0.5).
    pub scale_down_utilization_threshold: f64,
    /// Longest graceful termination in seconds (600).
    pub max_graceful_termination_sec: u32,
    /// Nodes of the whole cluster, 0 is no limit.
    pub max_nodes_total: u32,
    /// Pods below this priority cause no scale-up and hold no node (-10).
    pub expendable_pods_priority_cutoff: i32,
    /// Pods with local storage hold their node (true).
    pub skip_nodes_with_local_storage: bool,
    /// kube-system pods without a budget hold their node (true).
    pub skip_nodes_with_system_pods: bool,
    /// Ignore DaemonSet pods when judging utilisation (false).
    pub ignore_daemonsets_utilization: bool,
    /// Nodes removed in parallel (10).
    pub max_scale_down_parallelism: u32,
    /// Nodes drained in parallel (1).
    pub max_drain_parallelism: u32,
    /// Whether a new unschedulable pod or a productive loop starts the next loop at once (true).
    pub frequent_loops_enabled: bool,
    /// Priorities of the `priority` expander: number → patterns of group names.
    pub priorities: BTreeMap<String, Vec<String>>,
}

impl Default for ClusterAutoscalerSpec {
    fn default() -> Self {
        Self {
            scan_interval: Span::from_secs(10),
            expander: "least-waste".to_owned(),
            balance_similar_node_groups: false,
            new_pod_scale_up_delay: Span::ZERO,
            max_node_provision_time: Span::from_secs(900),
            scale_down_enabled: true,
            scale_down_delay_after_add: Span::from_secs(600),
            scale_down_delay_after_delete: Span::ZERO,
            scale_down_delay_after_failure: Span::from_secs(180),
            scale_down_unneeded_time: Span::from_secs(600),
            scale_down_unready_time: Span::from_secs(1200),
            scale_down_utilization_threshold: 0.5,
            max_graceful_termination_sec: 600,
            max_nodes_total: 0,
            expendable_pods_priority_cutoff: -10,
            skip_nodes_with_local_storage: true,
            skip_nodes_with_system_pods: true,
            ignore_daemonsets_utilization: false,
            max_scale_down_parallelism: 10,
            max_drain_parallelism: 1,
            frequent_loops_enabled: true,
            priorities: BTreeMap::new(),
        }
    }
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

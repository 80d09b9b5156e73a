//! Flags of Cluster Autoscaler.

use crate::units::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Flags of Cluster Autoscaler; names are its flags' in camelCase, defaults are those of its
/// release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ClusterAutoscalerSpec {
    /// Release whose defaults hold, such as `1.35` (default: that of the cluster's version).
    pub version: Option<String>,
    /// Sizes that hold instead of a group's own, as `--nodes` takes them: `MIN:MAX:NAME`.
    pub nodes: Vec<String>,
    /// Time between loops (10 s).
    pub scan_interval: Span,
    /// Chain of `random`, `most-pods`, `least-waste`, `least-nodes`, `price`, `priority`, separated
    /// by commas (`least-waste`, before 1.33 `random`). Upstream has no price model of AWS and does
    /// not start with `price`; here it takes the catalogue's prices.
    pub expander: Option<String>,
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
    /// Whether a new unschedulable pod or a productive loop starts the next loop at once (true,
    /// before 1.35 false).
    pub frequent_loops_enabled: Option<bool>,
    /// How long a registered node may take to become Ready before it counts as unready (15 m).
    pub max_node_startup_time: Span,
    /// Labels that do not matter when groups are compared.
    pub balancing_ignore_labels: Vec<String>,
    /// Cores of the whole cluster, `MIN:MAX` (`0:320000`).
    pub cores_total: String,
    /// Memory of the whole cluster in GiB, `MIN:MAX` (`0:6400000`).
    pub memory_total: String,
    /// Share of unready nodes in percent beyond which nothing is scaled (45).
    pub max_total_unready_percentage: f64,
    /// Unready nodes that never stop the scaling (3).
    pub ok_total_unready_count: u32,
    /// Most nodes of one scale-up (1000).
    pub max_nodes_per_scaleup: u32,
    /// Pack one node and extrapolate (false).
    pub fastpath_binpacking_enabled: bool,
    /// First back-off of a group after a failure (5 m).
    pub initial_node_group_backoff_duration: Span,
    /// Longest back-off (30 m).
    pub max_node_group_backoff_duration: Span,
    /// After which a failure is forgotten (3 h).
    pub node_group_backoff_reset_timeout: Span,
    /// Whether unready nodes are removed (true).
    pub scale_down_unready_enabled: bool,
    /// Share of requested GPUs below which a GPU node may go (0.5).
    pub scale_down_gpu_utilization_threshold: f64,
    /// Nodes with pods looked at in one loop (30).
    pub scale_down_non_empty_candidates_count: u32,
    /// Share of the nodes that further candidates come from (0.1).
    pub scale_down_candidates_pool_ratio: f64,
    /// Smallest size of that pool (50).
    pub scale_down_candidates_pool_min_count: u32,
    /// How long a node that could not go is left alone (5 m).
    pub unremovable_node_recheck_timeout: Span,
    /// From the taint to the drain (5 s).
    pub node_delete_delay_after_taint: Span,
    /// How long an eviction is tried (2 m).
    pub max_pod_eviction_time: Span,
    /// Pods of unknown controllers hold their node (true).
    pub skip_nodes_with_custom_controller_pods: bool,
    /// Replicas below which a workload's pods are not moved (0).
    pub min_replica_count: u32,
    /// Age from which a kube-system pod without a budget may go (1 h).
    pub blocking_system_pod_disruption_timeout: Span,
    /// Ignore mirror pods when judging utilisation (false).
    pub ignore_mirror_pods_utilization: bool,
    /// Evict DaemonSet pods of empty nodes (false).
    pub daemonset_eviction_for_empty_nodes: bool,
    /// Evict DaemonSet pods of other nodes (true).
    pub daemonset_eviction_for_occupied_nodes: bool,
    /// Cordon a node that goes (true, before 1.34 false).
    pub cordon_node_before_terminating: Option<bool>,
    /// Raise groups to their smallest size (false).
    pub enforce_node_group_min_size: bool,
    /// Soft taints changed in one loop (10).
    pub max_bulk_soft_taint_count: u32,
    /// Memory by which similar groups may differ (0.015).
    pub memory_difference_ratio: f64,
    /// Free resources by which they may differ (0.05).
    pub max_free_difference_ratio: f64,
    /// Allocatable by which they may differ (0.05).
    pub max_allocatable_difference_ratio: f64,
    /// Priorities of the `priority` expander: number → patterns of group names.
    pub priorities: BTreeMap<String, Vec<String>>,
}

impl Default for ClusterAutoscalerSpec {
    fn default() -> Self {
        Self {
            version: None,
            nodes: Vec::new(),
            scan_interval: Span::from_secs(10),
            expander: None,
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
            frequent_loops_enabled: None,
            max_node_startup_time: Span::from_secs(900),
            balancing_ignore_labels: Vec::new(),
            cores_total: "0:320000".to_owned(),
            memory_total: "0:6400000".to_owned(),
            max_total_unready_percentage: 45.0,
            ok_total_unready_count: 3,
            max_nodes_per_scaleup: 1000,
            fastpath_binpacking_enabled: false,
            initial_node_group_backoff_duration: Span::from_secs(300),
            max_node_group_backoff_duration: Span::from_secs(1800),
            node_group_backoff_reset_timeout: Span::from_secs(10_800),
            scale_down_unready_enabled: true,
            scale_down_gpu_utilization_threshold: 0.5,
            scale_down_non_empty_candidates_count: 30,
            scale_down_candidates_pool_ratio: 0.1,
            scale_down_candidates_pool_min_count: 50,
            unremovable_node_recheck_timeout: Span::from_secs(300),
            node_delete_delay_after_taint: Span::from_secs(5),
            max_pod_eviction_time: Span::from_secs(120),
            skip_nodes_with_custom_controller_pods: true,
            min_replica_count: 0,
            blocking_system_pod_disruption_timeout: Span::from_secs(3600),
            ignore_mirror_pods_utilization: false,
            daemonset_eviction_for_empty_nodes: false,
            daemonset_eviction_for_occupied_nodes: true,
            cordon_node_before_terminating: None,
            enforce_node_group_min_size: false,
            max_bulk_soft_taint_count: 10,
            memory_difference_ratio: 0.015,
            max_free_difference_ratio: 0.05,
            max_allocatable_difference_ratio: 0.05,
            priorities: BTreeMap::new(),
        }
    }
}

impl ClusterAutoscalerSpec {
    /// Minor version of the release it names; `None` if it names none, or none that is one.
    #[must_use]
    pub fn minor(&self) -> Option<u32> {
        let mut parts = self.version.as_deref()?.strip_prefix("1.")?.splitn(2, '.');
        let minor = parts.next()?.parse().ok()?;
        let patch = parts.next().is_none_or(|p| p.parse::<u32>().is_ok());
        patch.then_some(minor)
    }
}

/// An entry of `nodes`: smallest size, largest size, name of the group.
#[must_use]
pub fn node_limits(text: &str) -> Option<(u32, u32, &str)> {
    let mut parts = text.splitn(3, ':');
    let (min, max) = (parts.next()?.trim().parse().ok()?, parts.next()?.trim().parse().ok()?);
    let name = parts.next()?.trim();
    (!name.is_empty()).then_some((min, max, name))
}

//! Command-line flags with their real names and defaults.
//!
//! Upstream: cluster-autoscaler release 1.37, config/flags/flags.go and config/const.go.
//! Differences: only flags that steer a simulated decision.

use super::expander::ExpanderKind;
use crate::units::Span;
use serde::{Deserialize, Serialize};

/// Flags of the Cluster Autoscaler; each field is the flag of the same name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Flags {
    /// Time between the starts of two loops.
    pub scan_interval: Span,
    /// Age below which a pending pod does not cause a scale-up.
    pub new_pod_scale_up_delay: Span,
    /// Time a requested node may take to register.
    pub max_node_provision_time: Span,
    /// Time a registered node may take to become ready.
    pub max_node_startup_time: Span,
    /// Expanders in order; each filters what the one before kept.
    pub expander: Vec<ExpanderKind>,
    /// Spread a scale-up over similar groups.
    pub balance_similar_node_groups: bool,
    /// Labels ignored when groups are compared.
    pub balancing_ignore_label: Vec<String>,
    /// Largest number of nodes; 0 is no limit.
    pub max_nodes_total: i64,
    /// Smallest and largest number of cores.
    pub cores_total: Range,
    /// Smallest and largest memory in GiB.
    pub memory_total: Range,
    /// Share of unready nodes (percent) beyond which nothing is scaled.
    pub max_total_unready_percentage: f64,
    /// Unready nodes that never make a cluster or group unhealthy.
    pub ok_total_unready_count: usize,
    /// Pods below this priority neither cause a scale-up nor block a removal.
    pub expendable_pods_priority_cutoff: i32,
    /// Most nodes one simulated scale-up may add.
    pub max_nodes_per_scaleup: i64,
    /// Longest bin packing of one group.
    pub max_nodegroup_binpacking_duration: Span,
    /// Longest bin packing of all groups.
    pub max_binpacking_time: Span,
    /// Pack the best group on one node and extrapolate.
    pub fastpath_binpacking_enabled: bool,
    /// First backoff of a group.
    pub initial_node_group_backoff_duration: Span,
    /// Longest backoff of a group.
    pub max_node_group_backoff_duration: Span,
    /// Time after which a failure is forgotten.
    pub node_group_backoff_reset_timeout: Span,
    /// Whether nodes are removed at all.
    pub scale_down_enabled: bool,
    /// Pause of scale-down after a scale-up.
    pub scale_down_delay_after_add: Span,
    /// Pause after a deletion; zero means the scan interval.
    pub scale_down_delay_after_delete: Span,
    /// Pause after a failed deletion.
    pub scale_down_delay_after_failure: Span,
    /// Time a node must be unneeded.
    pub scale_down_unneeded_time: Span,
    /// Time an unready node must be unneeded.
    pub scale_down_unready_time: Span,
    /// Whether unready nodes are removed.
    pub scale_down_unready_enabled: bool,
    /// Largest utilisation of a removable node.
    pub scale_down_utilization_threshold: f64,
    /// The same for nodes with GPUs.
    pub scale_down_gpu_utilization_threshold: f64,
    /// Non-empty nodes considered in one loop.
    pub scale_down_non_empty_candidates_count: usize,
    /// Share of nodes that additional candidates come from.
    pub scale_down_candidates_pool_ratio: f64,
    /// Smallest size of that pool.
    pub scale_down_candidates_pool_min_count: usize,
    /// Longest simulation of removals in one loop.
    pub scale_down_simulation_timeout: Span,
    /// Time an unremovable node is not looked at again.
    pub unremovable_node_recheck_timeout: Span,
    /// Deletions at a time.
    pub max_scale_down_parallelism: i64,
    /// Drains at a time.
    pub max_drain_parallelism: i64,
    /// Wait between taint and deletion.
    pub node_delete_delay_after_taint: Span,
    /// Time in which deletions of a group are gathered.
    pub node_deletion_batcher_interval: Span,
    /// Longest grace a drained pod gets, in seconds.
    pub max_graceful_termination_sec: i64,
    /// Time an eviction is retried.
    pub max_pod_eviction_time: Span,
    /// Keep nodes with kube-system pods.
    pub skip_nodes_with_system_pods: bool,
    /// Keep nodes with pods that use local storage.
    pub skip_nodes_with_local_storage: bool,
    /// Keep nodes with pods of unknown controllers.
    pub skip_nodes_with_custom_controller_pods: bool,
    /// Replicas below which a ReplicaSet's pods are not moved.
    pub min_replica_count: i64,
    /// Age from which a kube-system pod without a budget may be evicted.
    #[serde(rename = "blocking-system-pod-distruption-timeout")]
    pub blocking_system_pod_disruption_timeout: Span,
    /// Leave DaemonSet pods out of the utilisation.
    pub ignore_daemonsets_utilization: bool,
    /// Leave mirror pods out of the utilisation.
    pub ignore_mirror_pods_utilization: bool,
    /// Evict DaemonSet pods of empty nodes.
    pub daemonset_eviction_for_empty_nodes: bool,
    /// Evict DaemonSet pods of other nodes.
    pub daemonset_eviction_for_occupied_nodes: bool,
    /// Cordon a node that is being removed.
    pub cordon_node_before_terminating: bool,
    /// Raise groups to their minimum.
    pub enforce_node_group_min_size: bool,
    /// Start the next loop at once after a scaling decision.
    pub frequent_loops_enabled: bool,
    /// Soft taints changed in one loop.
    pub max_bulk_soft_taint_count: usize,
    /// Time for changing soft taints in one loop.
    pub max_bulk_soft_taint_time: Span,
    /// Tolerated difference of memory capacity between similar groups.
    pub memory_difference_ratio: f64,
    /// Tolerated difference of free resources.
    pub max_free_difference_ratio: f64,
    /// Tolerated difference of allocatable resources.
    pub max_allocatable_difference_ratio: f64,
}

/// A smallest and a largest amount, written `min:max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// Smallest.
    pub min: i64,
    /// Largest.
    pub max: i64,
}

impl Default for Flags {
    fn default() -> Self {
        let minutes = |m: u64| Span::from_secs(m * 60);
        Self {
            scan_interval: Span::from_secs(10),
            new_pod_scale_up_delay: Span::ZERO,
            max_node_provision_time: minutes(15),
            max_node_startup_time: minutes(15),
            expander: vec![ExpanderKind::LeastWaste],
            balance_similar_node_groups: false,
            balancing_ignore_label: Vec::new(),
            max_nodes_total: 0,
            cores_total: Range { min: 0, max: 320_000 },
            memory_total: Range { min: 0, max: 6_400_000 },
            max_total_unready_percentage: 45.0,
            ok_total_unready_count: 3,
            expendable_pods_priority_cutoff: -10,
            max_nodes_per_scaleup: 1000,
            max_nodegroup_binpacking_duration: Span::from_secs(10),
            max_binpacking_time: minutes(5),
            fastpath_binpacking_enabled: false,
            initial_node_group_backoff_duration: minutes(5),
            max_node_group_backoff_duration: minutes(30),
            node_group_backoff_reset_timeout: minutes(180),
            scale_down_enabled: true,
            scale_down_delay_after_add: minutes(10),
            scale_down_delay_after_delete: Span::ZERO,
            scale_down_delay_after_failure: minutes(3),
            scale_down_unneeded_time: minutes(10),
            scale_down_unready_time: minutes(20),
            scale_down_unready_enabled: true,
            scale_down_utilization_threshold: 0.5,
            scale_down_gpu_utilization_threshold: 0.5,
            scale_down_non_empty_candidates_count: 30,
            scale_down_candidates_pool_ratio: 0.1,
            scale_down_candidates_pool_min_count: 50,
            scale_down_simulation_timeout: Span::from_secs(30),
            unremovable_node_recheck_timeout: minutes(5),
            max_scale_down_parallelism: 10,
            max_drain_parallelism: 1,
            node_delete_delay_after_taint: Span::from_secs(5),
            node_deletion_batcher_interval: Span::ZERO,
            max_graceful_termination_sec: 600,
            max_pod_eviction_time: minutes(2),
            skip_nodes_with_system_pods: true,
            skip_nodes_with_local_storage: true,
            skip_nodes_with_custom_controller_pods: true,
            min_replica_count: 0,
            blocking_system_pod_disruption_timeout: minutes(60),
            ignore_daemonsets_utilization: false,
            ignore_mirror_pods_utilization: false,
            daemonset_eviction_for_empty_nodes: false,
            daemonset_eviction_for_occupied_nodes: true,
            cordon_node_before_terminating: true,
            enforce_node_group_min_size: false,
            frequent_loops_enabled: true,
            max_bulk_soft_taint_count: 10,
            max_bulk_soft_taint_time: Span::from_secs(3),
            memory_difference_ratio: 0.015,
            max_free_difference_ratio: 0.05,
            max_allocatable_difference_ratio: 0.05,
        }
    }
}

impl Flags {
    /// The pause after a deletion, which defaults to the scan interval.
    #[must_use]
    pub fn delay_after_delete(&self) -> Span {
        if self.scale_down_delay_after_delete.is_zero() {
            self.scan_interval
        } else {
            self.scale_down_delay_after_delete
        }
    }
}

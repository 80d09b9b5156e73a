//! kube-scheduler's decisions: which nodes are feasible, how they score, who is preempted, when a
//! waiting pod is tried again.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler`. Each file names the part it mirrors.
//! Differences: nodes are examined strictly in list order (upstream's workers race), ties are
//! broken by a draw that the caller supplies, dynamic resource allocation is not modelled.
//!
//! [`Cache`] holds what the scheduler knows; [`schedule`] makes one decision and changes nothing
//! but the scan position; the caller then assumes the pod with [`Cache::add_pod`]. The Cluster
//! Autoscaler and Karpenter ask [`Cycle::fits`] between [`Cache::checkpoint`] and
//! [`Cache::rollback`].

mod cache;
pub mod class;
mod fast;
pub mod framework;
mod hints;
mod labels;
mod node_info;
mod node_selector;
mod node_tree;
mod objects;
mod plugin;
pub mod plugins;
mod preemption;
mod profile;
mod profile_args;
mod queue;
mod reason;
pub mod resources;
mod schedule;
mod volumes;

pub use cache::{Cache, Mark, PodInfo};
pub use framework::{Cx, Cycle, PreState};
pub use hints::{ClusterEvent, is_worth_requeueing};
pub use labels::{Labels, Requirement, Selector};
pub use node_info::{ClassCount, NodeInfo, NodeStatic};
pub use plugin::{Filter, NodeView, Plugins, PodView, QueueSort, Score};
pub use preemption::{
    Budget, Candidate, NoPreemption, Preemption, best_candidates, candidate_count, dry_run,
    dry_run_plain, eligible, no_victims_message, potential_nodes, preempt,
};
pub use profile::{
    ConfigError, Plugin, PluginSet, Profile, ResourceSpec, ShapePoint, SpreadDefaults, Strategy,
};
pub use queue::{Place, QueueConfig, QueuedPod, SchedulingQueue, backoff_duration, queue_order};
pub use reason::{Code, Reason, Rejection, count_text};
pub use schedule::{
    Placement, PodToSchedule, Statuses, Unschedulable, num_feasible_nodes_to_find, schedule,
    schedule_plain, score_all,
};

/// Number of a pod class of one [`Cache`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(pub(crate) u32);

impl ClassId {
    /// Position in the cache's table of classes.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The caller's number of a node (dense; may be used again after removal).
pub type NodeKey = u32;
/// The caller's number of a pod (dense; may be used again after removal).
pub type PodKey = u32;

#[cfg(test)]
mod tests;

//! Cluster Autoscaler: scale-up by simulated bin packing, scale-down by simulated removal.
//!
//! Upstream: kubernetes/autoscaler `cluster-autoscaler`, branch cluster-autoscaler-release-1.37.
//!
//! How a component drives one loop:
//! 1. [`registry::Registry::update`] with what the provider reports; its [`registry::Expired`]
//!    tells which scale-ups timed out.
//! 2. Build a [`cluster::SimCluster`] of all nodes and the upcoming ones of
//!    [`registry::Registry::upcoming`]; stop if [`registry::Registry::cluster_healthy`] is false.
//! 3. [`pending::triggering`], [`pending::filter_out_schedulable`], [`pending::must_wait`].
//! 4. [`pending::equivalence_groups`] and [`scale_up::scale_up`]; register its increases with
//!    [`registry::Registry::register_scale_up`].
//! 5. Otherwise [`scale_down::Planner::update`] and, unless
//!    [`scale_down::Cooldown::active`], [`scale_down::Planner::nodes_to_delete`].
//!
//! Differences: no DRA, no ProvisioningRequests, no asynchronous group creation; wall-clock
//! limits of a simulation (binpacking duration, scale-down simulation timeout) are counted
//! only where the caller gives a clock.

pub mod backoff;
pub mod balancing;
pub mod budgets;
pub mod cluster;
pub mod drain;
pub mod eligibility;
pub mod estimator;
pub mod expander;
pub mod flags;
pub mod limiter;
pub mod pending;
pub mod registry;
pub mod requests;
pub mod scale_down;
pub mod scale_up;
pub mod simple;
#[cfg(test)]
mod tests;
pub mod unneeded;
pub mod utilization;

pub use cluster::{PlaceError, SimCluster};
pub use flags::Flags;

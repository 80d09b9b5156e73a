//! Karpenter: provisioning and disruption decisions.
//!
//! Upstream: kubernetes-sigs/karpenter 2266468 (after v1.14.1) and
//! aws/karpenter-provider-aws 1d92708 (after v1.14.1).
//!
//! How a component drives it: [`batcher::Batcher`] closes a window of pending pods;
//! [`solve::solve`] places them on existing nodes and new NodeClaims; [`offerings::launch`]
//! picks type, zone and capacity type of each. [`disruption::candidate`] and [`budgets`] say which
//! nodes may go; [`solve::solve`] without them, read by [`disruption::simulated`], goes into
//! [`consolidation::decide`]. [`lifecycle`] ends NodeClaims without a simulation.

pub mod batcher;
pub mod budgets;
pub mod consolidation;
pub mod cron;
pub mod disruption;
pub mod lifecycle;
pub mod node_size;
pub mod offerings;
pub mod options;
pub mod pass;
pub mod requirements;
pub mod solve;

//! Karpenter: provisioning and disruption decisions.
//!
//! Upstream: kubernetes-sigs/karpenter 2266468 (after v1.14.1) and
//! aws/karpenter-provider-aws 1d92708 (after v1.14.1).
//!
//! How a component drives it: [`batcher::Batcher`] closes a window of pending pods;
//! [`solve::Solver`] places them on existing nodes and new NodeClaims; [`offerings::launch`]
//! picks type, zone and capacity type of each; [`budgets`], [`consolidation`] and
//! [`lifecycle`] decide what is disrupted, with a [`solve::Solver`] run as the simulation.

pub mod batcher;
pub mod budgets;
pub mod consolidation;
pub mod cron;
pub mod lifecycle;
pub mod node_size;
pub mod offerings;
pub mod options;
pub mod requirements;
pub mod solve;

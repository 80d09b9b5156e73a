//! The Amazon VPC CNI: warm pools of pod addresses on every node, the subnets they come from, and
//! the limits on pods that follow.
//!
//! Upstream: aws/amazon-vpc-cni-k8s b5218838 (v1.23.1), pkg/ipamd and pkg/ipamd/datastore.
//! Differences: interfaces and ranges are visited in the order in which they were attached where
//! upstream visits them in map order; metadata reconciliation is left out because the pool and
//! EC2 cannot disagree here.
//!
//! A node owns a [`Pool`]. Each pass of its loop asks [`Pool::next_action`], carries the action out
//! against a subnet's [`AddressSpace`] after some latency, and tells the pool what came of it.

pub mod address_space;
pub mod branch;
pub mod calculate;
pub mod cidr;
pub mod config;
pub mod consumers;
pub mod decide;
pub mod ec2_api;
pub mod launch;
pub mod max_pods;
pub mod max_pods_expression;
pub mod pool;
mod step;
pub mod subnet_choice;

pub use address_space::{AddressSpace, Holding, Placement, Shortage};
pub use cidr::Cidr;
pub use config::{CniConfig, EniLimits};
pub use decide::Stats;
pub use ec2_api::{ApiBuckets, ApiCall, ApiLimits};
pub use pool::{Eni, EniId, NewEni, NoAddress, Pool, Range};
pub use step::{Action, Failure, Node};

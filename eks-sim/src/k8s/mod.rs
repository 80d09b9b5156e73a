//! Kubernetes objects as this project reads them: the fields that are simulated or checked.
//!
//! Own structs, since a library cannot choose one API version for its users and Karpenter's and
//! VPA's objects have no crate. Field names and defaults are upstream's; unknown fields are
//! ignored here and reported by [`crate::spec`]. Everything is plain data.

mod admission;
mod autoscaling;
mod batch;
mod karpenter;
mod keda;
mod meta;
mod network;
mod node;
mod pod;
mod policy;
mod storage;
mod workload;

pub use admission::*;
pub use autoscaling::*;
pub use batch::*;
pub use karpenter::*;
pub use keda::*;
pub use meta::*;
pub use network::*;
pub use node::*;
pub use pod::*;
pub use policy::*;
pub use storage::*;
pub use workload::*;

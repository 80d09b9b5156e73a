//! Actors: each gives policies their clock, queue and retries. Components never import each
//! other; who wakes whom is in `engine::watch`.

pub mod cluster_autoscaler;
pub mod control_plane;
pub mod ec2;
pub mod fargate;
pub mod faults;
pub mod hpa;
pub mod karpenter;
pub mod kubelet;
pub mod load_balancers;
pub mod node_groups;
pub mod node_lifecycle;
pub mod scheduler;
pub mod traffic;
pub mod user;
pub mod volumes;
pub mod vpa;
pub mod vpc_cni;
pub mod workloads;

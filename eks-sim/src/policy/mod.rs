//! Pure decision code that mirrors upstream algorithms: values in, decisions out. No clock,
//! agenda, draws or logging; nothing here may import `world`, `engine` or above.

#[cfg(feature = "admission")]
pub mod admission;
pub mod cluster_autoscaler;
pub mod fargate;
pub mod fit;
pub mod hpa;
pub mod karpenter;
pub mod kube_scheduler;
pub mod traffic;
pub mod vpa;
pub mod vpc_cni;
pub mod workloads;

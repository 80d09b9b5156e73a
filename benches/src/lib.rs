//! Shared workload generators of the benchmarks.

pub mod cni_churn;
pub mod cpu;

//! Shared workload generators of the benchmarks.

pub mod cni_churn;
pub mod cpu;
pub mod hpa_vpa_day;

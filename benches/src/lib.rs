//! Shared workload generators of the benchmarks.

pub mod hpa_vpa_day;

//! Shared workload generators of the benchmarks.
pub mod ca_scaleup;

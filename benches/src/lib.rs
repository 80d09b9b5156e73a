//! Shared workload generators of the benchmarks.

pub mod cpu;

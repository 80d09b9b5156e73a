//! Workloads, harnesses and rows of the benchmarks.
//!
//! `cargo run --release -p benches --bin peers [FILTER]` prints the table of `docs/performance.md`;
//! criterion's benches are in `benches/`.

pub mod ca_scaleup;
pub mod cni_churn;
pub mod core;
pub mod cpu;
pub mod hpa_vpa_day;
pub mod measure;
pub mod peers;
pub mod perf;
pub mod queues;
pub mod rows;
pub mod twister;
pub mod whole;
pub mod workload;

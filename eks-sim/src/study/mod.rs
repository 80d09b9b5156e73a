//! Many runs: replications, comparison, statistics, conformance.

pub mod conformance;
pub mod stats;

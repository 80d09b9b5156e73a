//! Many runs: replications, comparison, statistics, conformance.

pub mod compare;
pub mod conformance;
pub mod exercise;
#[cfg(test)]
pub(crate) mod fake;
pub mod objectives;
pub mod replicate;
pub mod run;
mod samples;
pub mod stats;
pub mod subnets;
pub mod summary;

pub use samples::round_significant;
pub use stats::Estimate;

use crate::observe::outcome::Outcome;
use crate::units::Span;

/// Runs replications of one model.
pub trait Replicate: Sync {
    /// Runs one replication; `detail` asks for the full record too.
    fn run(&self, replication: u32, detail: bool) -> Outcome;
    /// Distance of the points of time series, and virtual time of a replication.
    fn grid(&self) -> (Span, Span);
}

/// What a study is about, as far as its reports need it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StudyInfo {
    /// Name of the scenario, with the variant after a `+`.
    pub name: String,
    /// What the scenario asks.
    pub description: String,
    /// Root seed.
    pub seed: u64,
    /// Hash of the scenario with its manifests.
    pub scenario_hash: u64,
    /// Virtual time of a replication.
    pub duration: Span,
    /// Warm-up that no metric counts.
    pub warmup: Span,
    /// What must hold.
    pub objectives: Vec<crate::spec::scenario::ObjectiveSpec>,
}

impl StudyInfo {
    /// Factor from the measured time to 730 hours.
    #[must_use]
    pub fn monthly_factor(&self) -> f64 {
        let hours = self.duration.saturating_sub(self.warmup).secs_f64() / 3600.0;
        if hours > 0.0 { 730.0 / hours } else { 0.0 }
    }
}

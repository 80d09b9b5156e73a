//! From a checked scenario to a model that runs replications.

use eks_sim::spec::Manifests;
use eks_sim::spec::scenario::Scenario;
use eks_sim::study::Replicate;
use eks_sim::study::run::ModelStudy;
use eks_sim::world::lower::{self, LowerError};
use std::path::Path;
use std::sync::Arc;

/// What only shows when scenario, manifests and catalogue come together.
#[derive(Debug, Default)]
pub struct Remarks {
    /// Mistakes; with one there is no model.
    pub errors: Vec<String>,
    /// Warnings.
    pub warnings: Vec<String>,
}

/// The model of a scenario, unless there are errors. Paths in it start at `folder`.
pub fn model(
    scenario: &Scenario,
    manifests: &Manifests,
    folder: &Path,
) -> (Option<Box<dyn Replicate>>, Remarks) {
    let (model, found) = lower::build(scenario, manifests, folder);
    let words = |e: &LowerError| {
        let path = if e.path.is_empty() { String::new() } else { format!("spec.{}: ", e.path) };
        let help =
            if e.help.is_empty() { String::new() } else { format!("\n  = help: {}", e.help) };
        format!("{path}{}{help}", e.message)
    };
    let of = |warning| found.iter().filter(|e| e.warning == warning).map(words).collect();
    let remarks = Remarks { errors: of(false), warnings: of(true) };
    let model = model.map(|model| Box::new(ModelStudy::new(Arc::new(model))) as Box<dyn Replicate>);
    (model, remarks)
}

//! From a checked scenario to a model that runs replications.

use eks_sim::spec::scenario::Scenario;
use eks_sim::spec::{Diagnostics, Loaded, Manifests};
use eks_sim::study::Replicate;
use eks_sim::study::run::ModelStudy;

/// The model of a scenario and what it ignores. `loaded` knows where files beside the scenario
/// are and where its fields stand.
pub fn model(
    scenario: &Scenario,
    manifests: &Manifests,
    loaded: &Loaded,
) -> Result<(Box<dyn Replicate>, Diagnostics), Diagnostics> {
    let (study, ignored) = study(scenario, manifests, loaded)?;
    Ok((Box::new(study), ignored))
}

/// The same with the model open to be looked at.
pub fn study(
    scenario: &Scenario,
    manifests: &Manifests,
    loaded: &Loaded,
) -> Result<(ModelStudy, Diagnostics), Diagnostics> {
    ModelStudy::build(loaded, scenario, manifests)
}

//! Replications of a model.

use super::Replicate;
use crate::engine::Sim;
use crate::observe::collector::Collector;
use crate::observe::outcome::Outcome;
use crate::units::Span;
use crate::world::Model;
use std::sync::Arc;

/// Runs replications of one model.
#[derive(Clone, Debug)]
pub struct ModelStudy {
    model: Arc<Model>,
}

impl ModelStudy {
    /// A study of `model`.
    #[must_use]
    pub const fn new(model: Arc<Model>) -> Self {
        Self { model }
    }
    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }
}

impl Replicate for ModelStudy {
    fn run(&self, replication: u32, detail: bool) -> Outcome {
        let mut sim = Sim::new(Arc::clone(&self.model), replication);
        let mut collector = Collector::new(&self.model, detail);
        let diagnosis = sim.run(&mut collector);
        let totals = (sim.digest(), sim.events());
        collector.finish(replication, sim.world(), &self.model, totals, diagnosis)
    }

    fn grid(&self) -> (Span, Span) {
        (self.model.step, self.model.duration)
    }
}

//! Replications of a model.

use super::Replicate;
use super::objectives::column_of;
use crate::engine::Sim;
use crate::observe::collector::Collector;
use crate::observe::outcome::Outcome;
use crate::policy::kube_scheduler::Plugins;
use crate::spec::scenario::Scenario;
use crate::spec::{Diagnostic, Diagnostics, Loaded, Manifests, Severity, codes};
use crate::units::Span;
use crate::world::{Model, lower};
use std::sync::Arc;

/// Runs replications of one model.
#[derive(Clone, Debug)]
pub struct ModelStudy {
    model: Arc<Model>,
    plugins: Plugins,
}

impl ModelStudy {
    /// Builds the model of a scenario (of `loaded`, or of one of its variants) and says what is
    /// ignored.
    ///
    /// # Errors
    /// Mistakes that show only when scenario, manifests and catalogue come together.
    pub fn build(
        loaded: &Loaded,
        scenario: &Scenario,
        manifests: &Manifests,
    ) -> Result<(Self, Diagnostics), Diagnostics> {
        let (model, findings) = lower::build(scenario, manifests, &loaded.base);
        let mut out = Diagnostics::new();
        for f in findings {
            let (severity, code) = if f.warning {
                (Severity::Warning, codes::IGNORED_IN_MODEL)
            } else {
                (Severity::Error, codes::DOES_NOT_FIT)
            };
            out.push(match f.span {
                Some(span) => {
                    Diagnostic::new(&loaded.sources, severity, code, span, f.message, f.help)
                }
                None => loaded.finding(severity, code, &f.path, f.message, f.help),
            });
        }
        for (i, objective) in scenario.spec.objectives.iter().enumerate() {
            if let Err(why) = column_of(&objective.metric, objective.stat.as_deref()) {
                let path = format!("objectives[{i}]");
                let help = "the metrics are listed in the documentation of `observe::metrics`";
                let severity = Severity::Error;
                out.push(loaded.finding(severity, codes::DOES_NOT_FIT, &path, why, help));
            }
        }
        out.sort();
        match model {
            Some(model) if !out.has_errors() => Ok((Self::new(Arc::new(model)), out)),
            _ => Err(out),
        }
    }

    /// A study of `model`.
    #[must_use]
    pub fn new(model: Arc<Model>) -> Self {
        Self { model, plugins: Plugins::default() }
    }
    /// The same study with plugins of yours in kube-scheduler. The autoscalers do not know them,
    /// as they do not know out-of-tree plugins of a real scheduler.
    ///
    /// ```
    /// use eks_sim::policy::kube_scheduler::{Filter, NodeView, Plugins, PodView};
    ///
    /// struct Licensed;
    /// impl Filter for Licensed {
    ///     fn name(&self) -> &str {
    ///         "Licensed"
    ///     }
    ///     fn filter(&self, pod: &PodView<'_>, node: &NodeView<'_>) -> Result<(), String> {
    ///         match pod.label("license").is_none() || node.label("licensed").is_some() {
    ///             true => Ok(()),
    ///             false => Err("node(s) had no license".to_owned()),
    ///         }
    ///     }
    /// }
    /// let plugins = Plugins::new().filter(Licensed);
    /// assert!(!plugins.is_empty());
    /// ```
    #[must_use]
    pub fn with_plugins(mut self, plugins: Plugins) -> Self {
        self.plugins = plugins;
        self
    }
    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }
}

impl Replicate for ModelStudy {
    fn run(&self, replication: u32, detail: bool) -> Outcome {
        let mut sim = Sim::with_plugins(Arc::clone(&self.model), replication, self.plugins.clone());
        let mut collector = Collector::new(&self.model, detail);
        let diagnosis = sim.run(&mut collector);
        collector.look_at_end(&sim.view());
        let totals = (sim.digest(), sim.events());
        collector.finish(replication, sim.world(), &self.model, totals, diagnosis)
    }

    fn grid(&self) -> (Span, Span) {
        (self.model.step, self.model.duration)
    }
}

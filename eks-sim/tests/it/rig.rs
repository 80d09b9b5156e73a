//! From YAML text to a model, for the tests of the engine.

use eks_sim::world::Model;
use std::fmt::Write as _;
use std::sync::Arc;

/// A scenario's body (indented by two spaces under `spec`) and its manifests.
#[derive(Clone, Debug, Default)]
pub struct Text {
    pub spec: String,
    pub manifests: String,
}

impl Text {
    /// The whole scenario file.
    pub fn scenario(&self) -> String {
        let mut out =
            String::from("apiVersion: eks-sim/v1\nkind: Scenario\nmetadata: {name: test}\nspec:\n");
        out.push_str(&self.spec);
        if !self.manifests.is_empty() {
            out.push_str("  manifests: [manifests.yaml]\n");
        }
        out
    }

    /// Loads, validates and lowers it.
    pub fn try_model(&self) -> Result<Model, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        std::fs::write(folder.path().join("manifests.yaml"), &self.manifests)
            .map_err(|e| e.to_string())?;
        let text = self.scenario();
        let loaded = eks_sim::spec::load_scenario_text("scenario.yaml", &text, folder.path(), &[])
            .map_err(|d| d.render())?;
        let (model, errors) =
            eks_sim::world::lower::build(&loaded.scenario, &loaded.manifests, &loaded.base);
        model.ok_or_else(|| {
            errors.iter().fold(String::new(), |mut all, e| {
                let _ = writeln!(all, "{e:?}");
                all
            })
        })
    }

    /// The model of a text that must be right.
    pub fn model(&self) -> Arc<Model> {
        match self.try_model() {
            Ok(model) => Arc::new(model),
            Err(why) => panic!("{why}\n{}\n---\n{}", self.scenario(), self.manifests),
        }
    }
}

/// A text from parts.
pub fn text(spec: &str, manifests: &str) -> Text {
    Text { spec: spec.to_owned(), manifests: manifests.to_owned() }
}

/// A Deployment of `replicas` pods with these requests and further fields of the pod's spec.
pub fn deployment(name: &str, replicas: u32, requests: &str, more: &str) -> String {
    format!(
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  \
         replicas: {replicas}\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    \
         metadata: {{labels: {{app: {name}}}}}\n    spec:\n      containers:\n      \
         - {{name: main, image: {name}, resources: {{requests: {requests}}}}}\n{more}"
    )
}

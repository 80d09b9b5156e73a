//! A scheduler with plugins of its own: a filter that keeps each team on its own nodes, a score
//! that packs nodes, and a queue that serves small pods first.
//!
//! Run it with `cargo run --example scheduler_plugin -p eks-sim`.

use eks_sim::observe::outcome::Outcome;
use eks_sim::policy::kube_scheduler::{Filter, NodeView, Plugins, PodView, QueueSort, Score};
use eks_sim::spec::load_scenario_text;
use eks_sim::study::Replicate;
use eks_sim::study::run::ModelStudy;
use std::path::Path;

/// Pods with a label `team` run on nodes of the group of that name only.
struct TeamNodes;

impl Filter for TeamNodes {
    fn name(&self) -> &str {
        "TeamNodes"
    }
    fn filter(&self, pod: &PodView<'_>, node: &NodeView<'_>) -> Result<(), String> {
        match pod.label("team") {
            Some(team) if node.label("eks.amazonaws.com/nodegroup") != Some(team) => {
                Err("node(s) belonged to another team".to_owned())
            }
            _ => Ok(()),
        }
    }
    fn is_resolvable(&self) -> bool {
        false // No preemption makes a node another team's.
    }
}

/// Prefers the node with the most pods, whatever the built-in scores say.
struct Crowded;

impl Score for Crowded {
    fn name(&self) -> &str {
        "Crowded"
    }
    fn score(&self, _: &PodView<'_>, node: &NodeView<'_>) -> i64 {
        node.pod_count() as i64
    }
    fn weight(&self) -> i64 {
        100
    }
}

/// Small pods first.
struct SmallFirst;

impl QueueSort for SmallFirst {
    fn name(&self) -> &str {
        "SmallFirst"
    }
    fn rank(&self, pod: &PodView<'_>) -> i32 {
        -i32::try_from(pod.request("cpu").milli_value()).unwrap_or(i32::MAX)
    }
}

const SCENARIO: &str = "
apiVersion: eks-sim/v1
kind: Scenario
metadata: {name: plugins}
spec:
  duration: 10m
  cluster:
    addons: []
    nodeGroups:
    - {name: red, instanceTypes: [m5.large], minSize: 2, maxSize: 2, desiredSize: 2}
    - {name: blue, instanceTypes: [m5.large], minSize: 2, maxSize: 2, desiredSize: 2}
  manifests: [manifests.yaml]
";

const MANIFESTS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: red-api}
spec:
  replicas: 4
  selector: {matchLabels: {app: red-api}}
  template:
    metadata: {labels: {app: red-api, team: red}}
    spec:
      containers:
      - {name: main, image: api, resources: {requests: {cpu: 100m}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: green-api}
spec:
  replicas: 1
  selector: {matchLabels: {app: green-api}}
  template:
    metadata: {labels: {app: green-api, team: green}}
    spec:
      containers:
      - {name: main, image: api, resources: {requests: {cpu: 50m}}}
";

/// Runs the scenario in `folder` with the plugins.
pub fn simulate(folder: &Path) -> Result<Outcome, Box<dyn std::error::Error>> {
    std::fs::write(folder.join("manifests.yaml"), MANIFESTS)?;
    let loaded =
        load_scenario_text("scenario.yaml", SCENARIO, folder, &[]).map_err(|d| d.render())?;
    let (study, _) =
        ModelStudy::build(&loaded, &loaded.scenario, &loaded.manifests).map_err(|d| d.render())?;
    let plugins = Plugins::new().filter(TeamNodes).score(Crowded).queue_sort(SmallFirst);
    Ok(study.with_plugins(plugins).run(0, true))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("eks-sim-plugins-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let outcome = simulate(&folder)?;
    std::fs::remove_dir_all(&folder)?;
    for pod in outcome.detail.unwrap_or_default().pods {
        println!("{} {} {} {}", pod.name, pod.state, pod.node, pod.reason);
    }
    Ok(())
}

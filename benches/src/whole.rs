//! The whole simulator on a trace: a scenario read from files, every component, metrics on; no
//! detailed record.

use crate::workload::{self, Workload};
use eks_sim::observe::outcome::Outcome;
use eks_sim::spec::load_scenario_text;
use eks_sim::study::Replicate;
use eks_sim::study::run::ModelStudy;
use std::path::Path;

/// A `KubeSchedulerConfiguration` with NodeResourcesFit and NodeResourcesBalancedAllocation only.
pub const FIT_AND_BALANCE: &str = "apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
  - schedulerName: default-scheduler
    plugins:
      multiPoint:
        disabled: [{name: '*'}]
        enabled: [{name: NodeResourcesFit}, {name: NodeResourcesBalancedAllocation}]
";

/// Writes the workload into `folder` and builds the model of a scenario that replays it.
///
/// # Panics
/// The folder cannot be written, or the scenario does not load: mistakes of the bench.
#[must_use]
pub fn study(workload: Workload, folder: &Path, scheduler: Option<&str>, hours: u32) -> ModelStudy {
    workload::write_csv(&workload, folder).expect("the workload is written");
    drop(workload);
    let manifests = match scheduler {
        Some(text) => {
            std::fs::write(folder.join("scheduler.yaml"), text).expect("a file is written");
            "\n  manifests: [scheduler.yaml]"
        }
        None => "",
    };
    let scenario = format!(
        "apiVersion: eks-sim/v1\nkind: Scenario\nmetadata: {{name: peer}}\nspec:\n  \
         duration: {hours}h\n  trace: {{nodes: nodes.csv, pods: pods.csv}}{manifests}\n"
    );
    load(&scenario, folder)
}

/// Builds the model of a scenario.
///
/// # Panics
/// The scenario does not load.
#[must_use]
pub fn load(scenario: &str, folder: &Path) -> ModelStudy {
    let loaded = load_scenario_text("peer.yaml", scenario, folder, &[])
        .unwrap_or_else(|found| panic!("{}", found.render()));
    let built = ModelStudy::build(&loaded, &loaded.scenario, &loaded.manifests);
    built.unwrap_or_else(|found| panic!("{}", found.render())).0
}

/// One replication.
///
/// # Panics
/// A bound ended the run early.
#[must_use]
pub fn run(study: &ModelStudy) -> Outcome {
    let outcome = study.run(0, false);
    assert!(outcome.diagnosis.is_none(), "{:?}", outcome.diagnosis);
    outcome
}

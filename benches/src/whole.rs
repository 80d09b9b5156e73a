//! The whole simulator on a trace: a scenario read from files, every component, metrics on; no
//! detailed record.

use crate::workload::{self, Workload};
use eks_sim::engine::draws::key;
use eks_sim::engine::{Observer, Sim, View};
use eks_sim::observe::collector::Collector;
use eks_sim::spec::load_scenario_text;
use eks_sim::units::SimTime;
use eks_sim::world::{Change, Model, lower};
use std::path::Path;
use std::sync::Arc;

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
pub fn study(workload: Workload, folder: &Path, scheduler: Option<&str>, hours: u32) -> Arc<Model> {
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
pub fn load(scenario: &str, folder: &Path) -> Arc<Model> {
    let loaded = load_scenario_text("peer.yaml", scenario, folder, &[])
        .unwrap_or_else(|found| panic!("{}", found.render()));
    let (model, found) = lower::build(&loaded.scenario, &loaded.manifests, &loaded.base);
    Arc::new(model.unwrap_or_else(|| panic!("{found:?}")))
}

/// What a run did.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Pods bound, add-ons left out.
    pub bound: u64,
    /// Events handled.
    pub events: u64,
    /// Digest of all changes, of every placement and of all metrics, costs among them.
    pub digest: u64,
}

/// The simulator's metrics, and a digest of placements.
struct Watch {
    collector: Collector,
    placements: u64,
}

impl Observer for Watch {
    fn observe(&mut self, now: SimTime, change: &Change, view: &View<'_>) {
        if let Change::PodBound(pod) = *change {
            let node = view.world.api.pods.get(pod).and_then(|p| p.node);
            let node = node.map_or(u64::MAX, |n| n.raw().into());
            self.placements = key(&[self.placements, pod.slot().into(), node, now.nanos()]);
        }
        self.collector.observe(now, change, view);
    }
}

/// One replication with metrics and without a detailed record.
///
/// # Panics
/// A bound ended the run early.
#[must_use]
pub fn run(model: &Arc<Model>) -> Run {
    let mut sim = Sim::new(Arc::clone(model), 0);
    let mut watch = Watch { collector: Collector::new(model, false), placements: 0 };
    let diagnosis = sim.run(&mut watch);
    assert!(diagnosis.is_none(), "{diagnosis:?}");
    let totals = (sim.digest(), sim.events());
    let outcome = watch.collector.finish(0, sim.world(), model, totals, None);
    let values = outcome.values.iter().map(|v| v.to_bits());
    let metrics: Vec<u64> = values.chain([watch.placements, outcome.digest]).collect();
    Run { bound: outcome.pods_bound, events: outcome.events, digest: key(&metrics) }
}

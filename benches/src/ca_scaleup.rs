//! One loop of Cluster Autoscaler over many pending pods and node groups, in a running cluster.

use eks_sim::engine::{Observer, Sim, View};
use eks_sim::spec::manifest;
use eks_sim::spec::{self, Diagnostics, Sources};
use eks_sim::units::{SimTime, Span};
use eks_sim::world::{Change, lower};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

/// What one loop did and took.
#[derive(Clone, Copy, Debug)]
pub struct Loop {
    /// Pods that were pending before it.
    pub pending: usize,
    /// Nodes that it asked for.
    pub nodes: u32,
    /// CPU time of the process meanwhile.
    pub cpu: f64,
    /// Events of the simulation meanwhile, the loop's own among them.
    pub events: u64,
    /// Digest of the run so far.
    pub digest: u64,
}

const TYPES: [&str; 10] = [
    "m6i.large",
    "m6i.xlarge",
    "m6i.2xlarge",
    "c6i.large",
    "c6i.xlarge",
    "c6i.2xlarge",
    "r6i.large",
    "r6i.xlarge",
    "m5.large",
    "m5.2xlarge",
];

/// CPU time of this process in seconds.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().next().and_then(|n| n.parse::<f64>().ok());
    nanos.unwrap_or(f64::NAN) / 1e9
}

fn scenario(groups: usize) -> String {
    let mut text = "apiVersion: eks-sim/v1\nkind: Scenario\nmetadata: {name: ca-scaleup}\nspec:\n  duration: 5m\n  \
                    constants: {controller_manager.client_qps: 10000, controller_manager.client_burst: 10000}\n  \
                    cluster:\n    controlPlane: {tier: 8xl}\n    addons: []\n    network: {vpcCidr: 10.0.0.0/16}\n    \
                    autoscaler:\n      clusterAutoscaler: {frequentLoopsEnabled: false, newPodScaleUpDelay: 120s}\n    \
                    nodeGroups:\n"
        .to_owned();
    for g in 0..groups {
        let _ = writeln!(
            text,
            "    - {{name: g{g}, instanceTypes: [{}], minSize: 0, maxSize: 1000, desiredSize: 0, \
             labels: {{shard: s{}}}}}",
            TYPES[g % TYPES.len()],
            g / TYPES.len()
        );
    }
    text
}

/// Fifty Deployments of different sizes.
fn manifests(pods: usize) -> String {
    let mut text = String::new();
    for d in 0..50 {
        let replicas = pods / 50 + usize::from(d < pods % 50);
        let (cpu, memory) = (100 + 50 * (d % 17), 128 + 96 * (d % 13));
        let _ = write!(
            text,
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: d{d}}}\nspec:\n  replicas: {replicas}\n  \
             selector: {{matchLabels: {{app: d{d}}}}}\n  template:\n    metadata: {{labels: {{app: d{d}}}}}\n    \
             spec:\n      containers:\n      - {{name: main, image: d{d}, resources: {{requests: {{cpu: {cpu}m, \
             memory: {memory}Mi}}}}}}\n"
        );
    }
    text
}

#[derive(Default)]
struct Increase(u32);
impl Observer for Increase {
    fn observe(&mut self, _: SimTime, change: &Change, _: &View<'_>) {
        if let Change::ScaleUpDecided(_, nodes) = *change {
            self.0 += nodes;
        }
    }
}

/// Runs until all pods are pending and old enough, then measures the loop that adds nodes.
///
/// # Panics
/// When the scenario cannot be read or no loop adds nodes.
#[must_use]
pub fn run(pods: usize, groups: usize) -> Loop {
    let loaded = spec::load_scenario_text("bench.yaml", &scenario(groups), Path::new("."), &[])
        .unwrap_or_else(|d| panic!("{}", d.render()));
    let (mut sources, mut found) = (Sources::default(), Diagnostics::default());
    let objects =
        manifest::load_text("bench-pods.yaml", &manifests(pods), &mut sources, &mut found);
    let (model, errors) = lower::build(&loaded.scenario, &objects, Path::new("."));
    let model = Arc::new(model.unwrap_or_else(|| panic!("{errors:?}")));
    let mut sim = Sim::new(model, 0);
    let mut at = SimTime::from_secs(100);
    assert!(sim.run_until(at, &mut ()).is_none(), "no bound is reached");
    loop {
        let before = (cpu_seconds(), sim.events());
        let pending = sim.world().api.pods.iter().filter(|(_, p)| p.node.is_none()).count();
        at += Span::from_millis(20);
        assert!(at < SimTime::from_secs(290), "no loop added nodes");
        let mut seen = Increase::default();
        assert!(sim.run_until(at, &mut seen).is_none(), "no bound is reached");
        if seen.0 > 0 {
            return Loop {
                pending,
                nodes: seen.0,
                cpu: cpu_seconds() - before.0,
                events: sim.events() - before.1,
                digest: sim.digest(),
            };
        }
    }
}

//! What the CNI model costs: a run of 5,000 nodes and 1,000,000 pods that come and go, with the
//! pools of addresses and without.

use eks_sim::engine::{Observer, Sim, View};
use eks_sim::spec::load_scenario_text;
use eks_sim::units::SimTime;
use eks_sim::world::{Change, Model, lower};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

/// Size of the run.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Nodes.
    pub nodes: u32,
    /// Jobs; each runs a thousand pods, 25 at a time.
    pub jobs: u32,
}

impl Default for Size {
    fn default() -> Self {
        Self { nodes: 5_000, jobs: 1_000 }
    }
}

/// What one run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Churn {
    /// CPU time of the thread in seconds; not a number where the system does not tell.
    pub cpu_seconds: f64,
    /// Digest over all changes.
    pub digest: u64,
    /// Events.
    pub events: u64,
    /// Pods that got an address.
    pub added: u64,
    /// Pods that ended.
    pub ended: u64,
    /// Requests for an address that were refused.
    pub refused: u64,
}

/// Counts what comes and goes.
#[derive(Default)]
struct Counter {
    added: u64,
    ended: u64,
    refused: u64,
}

impl Observer for Counter {
    fn observe(&mut self, _: SimTime, change: &Change, _: &View<'_>) {
        match change {
            Change::PodAddressed(_) => self.added += 1,
            Change::PodStopped(_) => self.ended += 1,
            Change::PodAddressRefused(_) => self.refused += 1,
            _ => {}
        }
    }
}

/// The model, with the CNI or without.
///
/// # Panics
/// When the text below is no scenario any more.
#[must_use]
pub fn model(size: Size, cni: bool) -> Arc<Model> {
    let nodes = size.nodes;
    let mut spec = format!(
        "apiVersion: eks-sim/v1\nkind: Scenario\nmetadata: {{name: cni-churn}}\nspec:\n  \
         duration: 15h\n  cluster:\n    controlPlane: {{tier: 4xl}}\n    \
         addons: [vpc-cni, kube-proxy]\n    network:\n      \
         secondaryCidrs: [10.1.0.0/16, 10.2.0.0/16]\n      cni: {{enabled: {cni}}}\n      \
         subnets:\n        - {{name: a, zone: us-east-1a, cidr: 10.0.0.0/16}}\n        \
         - {{name: b, zone: us-east-1b, cidr: 10.1.0.0/16}}\n        \
         - {{name: c, zone: us-east-1c, cidr: 10.2.0.0/16}}\n    nodeGroups:\n      \
         - {{name: base, instanceTypes: [m5.xlarge], minSize: 0, desiredSize: {nodes}, \
         maxSize: {nodes}}}\n  jobs:\n"
    );
    let mut manifests = String::new();
    for job in 0..size.jobs {
        let _ = writeln!(spec, "    - {{template: Job/job-{job}, duration: 8m}}");
        let _ = write!(
            manifests,
            "---\napiVersion: batch/v1\nkind: Job\nmetadata: {{name: job-{job}}}\nspec:\n  \
             parallelism: 25\n  completions: 1000\n  template:\n    spec:\n      \
             restartPolicy: Never\n      containers:\n      - name: main\n        image: job\n        \
             resources: {{requests: {{cpu: 300m, memory: 256Mi}}}}\n"
        );
    }
    spec.push_str("  manifests: [jobs.yaml]\n");
    let folder = std::env::temp_dir().join(format!("cni-churn-{}-{cni}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the folder for temporary files is writable");
    std::fs::write(folder.join("jobs.yaml"), manifests).expect("it is writable");
    let loaded = load_scenario_text("scenario.yaml", &spec, Path::new(&folder), &[]);
    let loaded = loaded.unwrap_or_else(|found| panic!("{}", found.render()));
    let built = lower::build(&loaded.scenario, &loaded.manifests, &loaded.base);
    // What cannot be removed stays in the folder for temporary files.
    let _ = std::fs::remove_dir_all(&folder);
    match built {
        (Some(model), _) => Arc::new(model),
        (None, errors) => panic!("{errors:?}"),
    }
}

/// One run.
#[must_use]
pub fn run(model: &Arc<Model>) -> Churn {
    let before = cpu_seconds();
    let mut sim = Sim::new(Arc::clone(model), 0);
    let mut counter = Counter::default();
    let ended_early = sim.run(&mut counter);
    assert!(ended_early.is_none(), "no bound is reached: {ended_early:?}");
    Churn {
        cpu_seconds: cpu_seconds() - before,
        digest: sim.digest(),
        events: sim.events(),
        added: counter.added,
        ended: counter.ended,
        refused: counter.refused,
    }
}

/// CPU time of this thread, as Linux tells it.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split_whitespace().next().and_then(|n| n.parse::<f64>().ok());
    nanoseconds.unwrap_or(f64::NAN) / 1e9
}

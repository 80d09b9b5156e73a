//! 2,000 HPAs synced every 15 s and 500 VPAs every minute for a day, in the whole engine.
//!
//! Each HPA scales a Deployment of its own under a day's wave of requests, each VPA sizes another
//! one. The same cluster without autoscalers is run too: the difference is what they cost, with all
//! the pods that they start.

use eks_sim::engine::{Observer, Sim, View};
use eks_sim::units::SimTime;
use eks_sim::world::{Change, Model};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

/// CPU seconds that the day of autoscalers may take.
const MOST: f64 = 2.0;

/// User and system time of this process so far, in seconds.
#[must_use]
pub fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 14 and 15, counted from the end of the name, which may hold blanks.
    let rest = stat.rsplit_once(')').map_or("", |p| p.1);
    let ticks = rest.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// What autoscalers did.
#[derive(Default)]
struct Done {
    decided: u64,
    scaled: u64,
    recommended: u64,
    resized: u64,
    pods: u64,
}

impl Observer for Done {
    fn observe(&mut self, _: SimTime, change: &Change, _: &View<'_>) {
        let count = match change {
            Change::HpaDecided(_) => &mut self.decided,
            Change::WorkloadScaled(..) => &mut self.scaled,
            Change::VpaRecommended(_) => &mut self.recommended,
            Change::PodResized(_) => &mut self.resized,
            Change::PodCreated(_) => &mut self.pods,
            _ => return,
        };
        *count += 1;
    }
}

fn workload(name: &str, replicas: u32) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
      - {{name: main, image: 'registry.example/app:1', resources: {{requests: {{cpu: 200m, memory: 256Mi}}}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: {name}}}, ports: [{{port: 80}}]}}
---
"
    )
}

fn model(hpas: u32, vpas: u32, hours: u32, autoscalers: bool) -> Arc<Model> {
    let mut manifests = String::new();
    let mut traffic = String::new();
    for i in 0..hpas + vpas {
        let name = format!("w{i}");
        manifests += &workload(&name, 3);
        let (high, peak) = (30 + i % 40, i % 24);
        let _ = writeln!(
            traffic,
            "  - to: Service/{name}
    rate: {{diurnal: {{low: 10/s, high: {high}/s, peak: '{peak:02}:00'}}}}
    perRequest: {{cpu: 10ms}}"
        );
        if !autoscalers {
            continue;
        }
        if i < hpas {
            let _ = writeln!(
                manifests,
                "apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: {name}}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: {name}}}
  minReplicas: 2
  maxReplicas: 10
  metrics: [{{type: Resource, resource: {{name: cpu, target: {{type: Utilization, averageUtilization: 60}}}}}}]
---"
            );
        } else {
            let _ = writeln!(
                manifests,
                "apiVersion: autoscaling.k8s.io/v1
kind: VerticalPodAutoscaler
metadata: {{name: {name}}}
spec:
  targetRef: {{apiVersion: apps/v1, kind: Deployment, name: {name}}}
  updatePolicy: {{updateMode: InPlaceOrRecreate}}
---"
            );
        }
    }
    let nodes = (hpas + vpas).div_ceil(12).max(3);
    let text = format!(
        "apiVersion: eks-sim/v1
kind: Scenario
metadata: {{name: hpa-vpa-day}}
spec:
  duration: {hours}h
  manifests: [manifests.yaml]
  cluster:
    network: {{vpcCidr: 10.0.0.0/16, subnets: [{{name: a, zone: us-east-1a, prefix: 17}}, {{name: b, zone: us-east-1b, prefix: 17}}]}}
    nodeGroups: [{{name: main, instanceTypes: [m6i.4xlarge], minSize: {nodes}, maxSize: {nodes}, desiredSize: {nodes}}}]
  traffic:
{traffic}"
    );
    let folder = std::env::temp_dir().join(format!("eks-sim-hpa-vpa-day-{}", std::process::id()));
    let built = load(&folder, &text, &manifests);
    let _ = std::fs::remove_dir_all(&folder);
    Arc::new(built.unwrap_or_else(|why| panic!("{why}")))
}

fn load(folder: &Path, text: &str, manifests: &str) -> Result<Model, String> {
    std::fs::create_dir_all(folder).map_err(|e| e.to_string())?;
    std::fs::write(folder.join("manifests.yaml"), manifests).map_err(|e| e.to_string())?;
    let loaded = eks_sim::spec::load_scenario_text("scenario.yaml", text, folder, &[])
        .map_err(|d| d.render())?;
    let (model, errors) =
        eks_sim::world::lower::build(&loaded.scenario, &loaded.manifests, &loaded.base);
    model.ok_or_else(|| format!("{errors:?}"))
}

/// Least CPU seconds of a few runs, what was done, and the digest.
fn measure(model: &Arc<Model>) -> (f64, Done, u64) {
    let mut least = f64::INFINITY;
    let mut last = (Done::default(), 0);
    for _ in 0..3 {
        let begin = cpu_seconds();
        let (mut sim, mut done) = (Sim::new(Arc::clone(model), 0), Done::default());
        let diagnosis = sim.run(&mut done);
        assert!(diagnosis.is_none(), "{diagnosis:?}");
        least = least.min(cpu_seconds() - begin);
        last = (done, sim.digest());
    }
    (least, last.0, last.1)
}

/// Runs and prints it.
pub fn run(hpas: u32, vpas: u32, hours: u32) {
    let (without, _, _) = measure(&model(hpas, vpas, hours, false));
    let (with, done, digest) = measure(&model(hpas, vpas, hours, true));
    let cost = with - without;
    println!("{hpas} HPAs at 15 s and {vpas} VPAs at 1 min for {hours} h");
    println!("cluster and load alone  {without:7.2} s CPU");
    println!("with autoscalers        {with:7.2} s CPU");
    println!("autoscalers             {cost:7.2} s CPU of {MOST} s allowed");
    println!(
        "{} decisions told, {} scalings, {} recommendations, {} resizes, {} pods; digest {digest:016x}",
        done.decided, done.scaled, done.recommended, done.resized, done.pods
    );
}

//! A day of load: what a thousand times the requests cost.
//!
//! `cargo run --release -p benches --bin load` prints events and CPU time of a day of 10⁶ requests
//! and of one of 10⁹ with the same shape: a wave, bursts, noise, calls among twelve Services, an
//! HPA on each. Requests are cheaper in the larger day, so that both need the same pods. It fails
//! when the larger day costs more than the smaller (and a fifth, for the clock's sake).

use eks_sim::engine::Sim;
use eks_sim::world::Model;
use std::fmt::Write as _;
use std::sync::Arc;

const SERVICES: usize = 12;
const RUNS: usize = 5;

/// Manifests of a Service, its Deployment and its HPA.
fn app(name: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: 3
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
      - name: {name}
        image: registry.example/{name}:1
        resources: {{requests: {{cpu: 500m, memory: 128Mi}}, limits: {{cpu: 1}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: {name}}}, ports: [{{port: 80}}]}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: {name}}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: {name}}}
  minReplicas: 2
  maxReplicas: 20
  metrics:
  - {{type: Resource, resource: {{name: cpu, target: {{type: Utilization, averageUtilization: 60}}}}}}
---
"
    )
}

/// A day whose entry Services get `requests` in all, calls not counted.
fn day(requests: f64) -> Arc<Model> {
    let entries = SERVICES / 4;
    let mean = requests / 86_400.0 / entries as f64;
    let cpu = 2.0 / mean;
    let (mut manifests, mut traffic) = (String::new(), String::new());
    for s in 0..SERVICES {
        manifests += &app(&format!("s{s}"));
        write!(
            traffic,
            "  - to: Service/s{s}
    perRequest: {{cpu: {}ns, latencyFloor: 5ms}}
    retries: 1
",
            (cpu * 1e9).round()
        )
        .expect("text");
        if s < entries {
            writeln!(
                traffic,
                "    rate: {{diurnal: {{low: {}/s, high: {}/s}}, burst: {{cv: 0.2}}, \
                 noise: {{cv: 0.2}}}}",
                0.2 * mean,
                1.8 * mean
            )
            .expect("text");
        }
        if s + entries < SERVICES {
            writeln!(
                traffic,
                "    calls: [{{to: Service/s{}, perRequest: 0.8, retries: 1}}]",
                s + entries
            )
            .expect("text");
        }
    }
    let folder = std::env::temp_dir().join(format!("eks-sim-load-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("app.yaml"), manifests).expect("a file");
    let text = format!(
        "apiVersion: eks-sim/v1
kind: Scenario
metadata: {{name: load}}
spec:
  duration: 24h
  manifests: [app.yaml]
  cluster:
    nodeGroups: [{{name: main, instanceTypes: [m6i.4xlarge], minSize: 8, maxSize: 8, desiredSize: 8}}]
  traffic:
{traffic}"
    );
    let loaded = eks_sim::spec::load_scenario_text("load", &text, &folder, &[])
        .unwrap_or_else(|d| panic!("{}", d.render()));
    let built = eks_sim::world::lower::build(&loaded.scenario, &loaded.manifests, &loaded.base);
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
    Arc::new(built.0.unwrap_or_else(|| panic!("{:?}", built.1)))
}

/// CPU seconds of this process so far.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    stat.split_whitespace().next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

fn main() {
    println!(
        "{:>14} {:>10} {:>12} {:>14} {:>16}",
        "requests", "events", "CPU ms", "with calls", "digest"
    );
    let mut least = Vec::new();
    for requests in [1e6, 1e9] {
        let model = day(requests);
        let mut best = f64::INFINITY;
        let mut last = None;
        for _ in 0..RUNS {
            let mut sim = Sim::new(Arc::clone(&model), 0);
            let begin = cpu_seconds();
            assert!(sim.run(&mut ()).is_none(), "no limit is reached");
            best = best.min(cpu_seconds() - begin);
            last = Some(sim);
        }
        let sim = last.expect("there are runs");
        let arrived: f64 = sim.world().machines.load.iter().map(|(_, l)| l.totals.arrived).sum();
        println!(
            "{requests:>14.0} {:>10} {:>12.1} {arrived:>14.0} {:>16x}",
            sim.events(),
            best * 1e3,
            sim.digest()
        );
        least.push(best);
    }
    let ratio = least[1] / least[0];
    println!("a thousand times the requests: {ratio:.2} times the CPU time");
    if ratio > 1.2 {
        eprintln!("error: the larger day costs more");
        std::process::exit(1);
    }
}

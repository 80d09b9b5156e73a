//! VerticalPodAutoscaler through the whole engine.

use crate::load::model;
use eks_sim::engine::{Observer, Sim, View};
use eks_sim::units::SimTime;
use eks_sim::world::{Change, Reason};

fn app(mode: &str, resources: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 4
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
      - {{name: web, image: 'registry.example/web:1', resources: {resources}}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}
---
apiVersion: autoscaling.k8s.io/v1
kind: VerticalPodAutoscaler
metadata: {{name: web}}
spec:
  targetRef: {{apiVersion: apps/v1, kind: Deployment, name: web}}
  updatePolicy: {{updateMode: '{mode}'}}
"
    )
}

#[derive(Default)]
struct Counts {
    evicted: u32,
    resized: u32,
    killed: u32,
}

impl Observer for Counts {
    fn observe(&mut self, _: SimTime, change: &Change, _: &View<'_>) {
        match change {
            Change::PodDeleting(_, Reason::VpaEviction) => self.evicted += 1,
            Change::PodResized(_) => self.resized += 1,
            Change::PodOomKilled(_) => self.killed += 1,
            _ => {}
        }
    }
}

/// Runs it; gives the counts, and CPU and memory requests and memory limits of the web pods.
fn run(name: &str, manifests: &str, spec: &str) -> (Counts, Vec<(i64, i64, Option<i64>)>) {
    let model = model(name, manifests, spec);
    let (mut sim, mut counts) = (Sim::new(model, 0), Counts::default());
    let diagnosis = sim.run(&mut counts);
    assert!(diagnosis.is_none(), "{diagnosis:?}");
    let (world, model) = (sim.world(), sim.model());
    let web = model.workloads.iter().find(|(_, w)| w.name == "web").expect("a workload").0;
    let mut sizes = Vec::new();
    for (_, set) in world.api.sets.iter() {
        if world.api.workloads[set.workload].model != web {
            continue;
        }
        for &pod in &set.pods {
            let size = world.api.size_of(world.api.pods.get(pod).expect("a pod"), model);
            let limit = size.limit_memory.map(|l| l.raw());
            sizes.push((size.request_cpu.raw(), size.request_memory.raw(), limit));
        }
    }
    (counts, sizes)
}

const LOAD: &str = "  duration: 4h
  traffic:
  - to: Service/web
    rate: {steps: [{at: 5m, rate: 240/s}]}
    perRequest: {cpu: 10ms}
";

/// The load begins when all pods are there: the first samples weigh most.
#[test]
fn modes_act_as_documented() {
    let resources = "{requests: {cpu: 100m, memory: 100Mi}}";
    // 600 m of load and 2 m idle: the end of the bucket of 5 % above, and 15 % on top.
    let wanted = 602.0 * 1.15..602.0 * 1.15 * 1.06;
    for (mode, evicted, resized) in
        [("Off", 0, 0), ("Initial", 0, 0), ("Recreate", 4, 0), ("InPlaceOrRecreate", 0, 4)]
    {
        let (counts, sizes) =
            run(&format!("vpa-{}", mode.to_lowercase()), &app(mode, resources), LOAD);
        // The survivors of the first round carry more and may be evicted once more.
        assert!(
            (evicted..=2 * evicted).contains(&counts.evicted),
            "{mode}: {} evicted",
            counts.evicted
        );
        assert!(counts.resized >= resized, "{mode}: {} resized", counts.resized);
        assert_eq!(counts.resized == 0, resized == 0, "{mode}: resized");
        assert_eq!(sizes.len(), 4, "{mode}");
        for (cpu, memory, _) in sizes {
            if evicted + resized == 0 {
                assert_eq!(cpu, 100, "{mode}");
            } else {
                // While pods come and go the rest carries more, which the first samples show.
                let high = 3.0;
                assert!(
                    (wanted.start..wanted.end * high).contains(&(cpu as f64)),
                    "{mode}: {cpu} m"
                );
                // The least a pod gets.
                assert_eq!(memory, 250 << 20, "{mode}");
            }
        }
    }
}

#[test]
fn kills_for_memory_raise_the_recommendation() {
    let resources = "{requests: {cpu: 500m, memory: 100Mi}, limits: {memory: 150Mi}}";
    let spec = "  duration: 6h
  workloads: [{for: Deployment/web, idleMemory: 50Mi, memory: {growthPerHour: 100Mi}}]
";
    let (counts, sizes) = run("vpa-oom", &app("Off", resources), spec);
    // An hour to the limit, 10 s of back-off: five kills of each of four pods.
    assert_eq!(counts.killed, 20);
    assert!(sizes.iter().all(|s| s.2 == Some(150 << 20)), "{sizes:?}");
    // Memory that grows to the limit before the first recommendation.
    let fast = spec.replace("100Mi}", "3000Mi}").replace("6h", "15m");
    let (counts, sizes) = run("vpa-oom", &app("Recreate", resources), &fast);
    assert!(counts.killed >= 4 && counts.killed < 40, "{} killed", counts.killed);
    for (_, request, limit) in sizes {
        // At least 150 MiB of use and 100 MiB on top, and the limit in proportion.
        assert!(request as f64 > 250.0 * 1048576.0 * 1.15 * 0.95, "{request}");
        let limit = limit.expect("a limit");
        assert!((limit as f64 / request as f64 - 1.5).abs() < 1e-6, "{limit} {request}");
    }
}

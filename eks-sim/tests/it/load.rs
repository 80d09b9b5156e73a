//! Load through the whole engine, against closed forms.

use eks_sim::engine::{Observer, Sim, View};
use eks_sim::observe::metrics::columns;
use eks_sim::observe::outcome::Outcome;
use eks_sim::spec::{Diagnostics, Loaded};
use eks_sim::study::{Replicate, run::ModelStudy};
use eks_sim::units::SimTime;
use eks_sim::world::lower::LowerError;
use eks_sim::world::{Change, Model};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

/// A Deployment with its Service; each pod has one core.
pub(crate) fn app(name: &str, replicas: u32, cpu_request: &str, service: &str) -> String {
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
      topologySpreadConstraints:
      - {{maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: DoNotSchedule,
          labelSelector: {{matchLabels: {{app: {name}}}}}}}
      containers:
      - name: {name}
        image: registry.example/{name}:1
        resources: {{requests: {{cpu: {cpu_request}, memory: 64Mi}}, limits: {{cpu: 1}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: {name}}}, ports: [{{port: 80}}]{service}}}
---
"
    )
}

/// The model of manifests and the body of a scenario.
pub(crate) fn model(name: &str, manifests: &str, spec: &str) -> Arc<Model> {
    let loaded = load(name, manifests, spec).unwrap_or_else(|d| panic!("{}", d.render()));
    let built = build(&loaded);
    Arc::new(built.0.unwrap_or_else(|| panic!("{:?}", built.1)))
}

/// Why a scenario is refused: path, message and mend of each mistake.
pub(crate) fn refused(name: &str, manifests: &str, spec: &str) -> String {
    let (model, errors) = match load(name, manifests, spec) {
        Ok(loaded) => build(&loaded),
        Err(diagnostics) => return diagnostics.render(),
    };
    assert!(model.is_none(), "accepted: {spec}");
    errors.iter().map(|e| format!("{}: {}; {}\n", e.path, e.message, e.help)).collect()
}

fn build(loaded: &Loaded) -> (Option<Model>, Vec<LowerError>) {
    eks_sim::world::lower::build(&loaded.scenario, &loaded.manifests, &loaded.base)
}

fn load(name: &str, manifests: &str, spec: &str) -> Result<Loaded, Diagnostics> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    std::fs::write(folder.join("app.yaml"), manifests).expect("a file for the test");
    let text = format!(
        "apiVersion: eks-sim/v1
kind: Scenario
metadata: {{name: {name}}}
spec:
  manifests: [app.yaml]
  cluster:
    nodeGroups: [{{name: main, instanceTypes: [m6i.4xlarge], minSize: 3, maxSize: 3, desiredSize: 3}}]
{spec}"
    );
    eks_sim::spec::load_scenario_text("test", &text, &folder, &[])
}

fn value(outcome: &Outcome, name: &str) -> f64 {
    let at = columns().iter().position(|c| c.name() == name).expect("a column of this name");
    outcome.values[at]
}

fn run(model: &Arc<Model>) -> Outcome {
    ModelStudy::new(Arc::clone(model)).run(0, false)
}

fn near(got: f64, want: f64, share: f64, what: &str) {
    assert!((got - want).abs() <= share * want.abs(), "{what}: got {got}, want {want}");
}

/// One service at a constant rate, after it has settled.
fn steady(name: &str, pods: u32, rate: f64, cpu_ms: f64, more: &str) -> Outcome {
    let spec = format!(
        "  duration: 1h
  warmup: 20m
  traffic:
  - to: Service/web
    rate: {{constant: {rate}/s}}
    perRequest: {{cpu: {cpu_ms}ms, latencyFloor: 0s}}
    timeout: 1h
{more}"
    );
    run(&model(name, &app("web", pods, "1", ""), &spec))
}

#[test]
fn steady_latencies_are_those_of_the_closed_forms() {
    for (id, rate, cpu, pods, want) in [
        ("a1", 90.0, 100.0, 10, 0.166_873_2),
        ("a2", 90.0, 100.0, 12, 0.108_867_8),
        ("a3", 90.0, 100.0, 15, 0.100_803_9),
        ("a4", 8.0, 100.0, 1, 0.5),
        ("a5", 450.0, 20.0, 10, 0.033_374_6),
    ] {
        let shared = steady(id, pods, rate, cpu, "");
        near(value(&shared, "latency_seconds_mean"), want, 0.001, id);
        near(value(&shared, "served_ratio"), 1.0, 1e-9, id);
        let fifo = steady(id, pods, rate, cpu, "    discipline: fifo\n");
        near(value(&fifo, "latency_seconds_mean"), want, 0.001, id);
    }
    // The time in system of M/M/1, first come, first served, is exponential.
    let one = steady("a4", 1, 8.0, 100.0, "    discipline: fifo\n");
    near(value(&one, "latency_seconds_p99"), 0.5 * core::f64::consts::LN_10 * 2.0, 0.05, "p99");
    near(value(&one, "latency_seconds_p50"), 0.346_6, 0.05, "p50");
    // A9: ten queues instead of one.
    let own = steady("a9", 10, 90.0, 100.0, "    balancing: random\n");
    near(value(&own, "latency_seconds_mean"), 1.0, 0.001, "A9");
    // A6: service times that do not vary, and that vary twice as much.
    for (cv, want) in [(0.0, 0.3), (2.0, 1.1)] {
        let spec = format!(
            "  duration: 1h
  warmup: 20m
  traffic:
  - to: Service/web
    rate: {{constant: 8/s}}
    perRequest: {{cpu: 100ms, latencyFloor: 0s, cv: {cv}}}
    timeout: 1h
    discipline: DISCIPLINE
"
        );
        let manifests = app("web", 1, "1", "");
        let fifo = run(&model("a6", &manifests, &spec.replace("DISCIPLINE", "fifo")));
        near(value(&fifo, "latency_seconds_mean"), want, 0.001, "A6");
        let shared = spec.replace("DISCIPLINE", "processorSharing");
        let shared = run(&model("a6", &manifests, &shared));
        near(value(&shared, "latency_seconds_mean"), 0.5, 0.001, "A6, shared");
    }
}

#[test]
fn overload_serves_its_capacity() {
    for more in ["    timeout: 2s\n", "    timeout: 1h\n    queueBound: 20\n"] {
        let spec = format!(
            "  duration: 1h
  warmup: 20m
  traffic:
  - to: Service/web
    rate: {{constant: 150/s}}
    perRequest: {{cpu: 100ms, latencyFloor: 0s}}
{more}"
        );
        let out = run(&model("overload", &app("web", 10, "1", ""), &spec));
        near(value(&out, "served_ratio"), 100.0 / 150.0, 1e-3, more);
        // 200 requests wait for 100 places a second.
        near(value(&out, "latency_seconds_mean"), 2.1, 0.02, more);
    }
}

#[test]
fn a_dead_node_loses_its_share_until_endpoints_follow() {
    let spec = "  duration: 1h
  warmup: 20m
  faults: [{at: 30m, nodeCrash: {count: 1, nodeGroup: main}}]
  traffic:
  - to: Service/web
    rate: {constant: 60/s}
    perRequest: {cpu: 50ms, latencyFloor: 0s}
";
    let out = run(&model("outage", &app("web", 12, "1", ""), spec));
    let seconds = value(&out, "recovery_seconds_max");
    // The lease runs out after 50 s of grace; the monitor looks every 5 s.
    assert!((35.0..70.0).contains(&seconds), "recovered after {seconds} s");
    near(value(&out, "requests_lost"), 60.0 / 3.0 * seconds, 1e-3, "lost");
}

/// Notes the size of workloads when an HPA changes it.
#[derive(Default)]
struct Scalings(Vec<u32>);

impl Observer for Scalings {
    fn observe(&mut self, _: SimTime, change: &Change, view: &View<'_>) {
        if let Change::WorkloadScaled(w, Some(_)) = change {
            self.0.push(view.world.api.workloads[*w].replicas);
        }
    }
}

#[test]
fn hpa_scales_up_at_successive_syncs_as_upstream() {
    for (behavior, want) in [
        ("", [4, 8, 16, 32, 64, 100].as_slice()),
        ("  behavior: {scaleUp: {selectPolicy: Max}}\n", &[5, 10, 20, 40, 80, 100]),
    ] {
        let hpa = format!(
            "apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: web}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: web}}
  minReplicas: 1
  maxReplicas: 100
  metrics:
  - {{type: Resource, resource: {{name: cpu, target: {{type: Utilization, averageUtilization: 50}}}}}}
{behavior}"
        );
        let spec = "  duration: 15m
  traffic:
  - to: Service/web
    rate: {constant: 5000/s}
    perRequest: {cpu: 100ms}
";
        let model = model("d1", &(app("web", 1, "10m", "") + &hpa), spec);
        let (mut sim, mut seen) = (Sim::new(model, 0), Scalings::default());
        sim.run(&mut seen);
        assert_eq!(seen.0, want, "{behavior}");
    }
}

#[test]
fn repeated_calls_multiply_in_overload_and_stop_after_it() {
    let spec = "  duration: 30m
  traffic:
  - to: Service/front
    rate: {constant: 90/s, spikes: [{at: 10m, duration: 10m, add: 60/s}]}
    perRequest: {cpu: 1ms}
    calls: [{to: Service/back, perRequest: 1, retries: 3}]
  - to: Service/back
    perRequest: {cpu: 100ms}
";
    let manifests = app("front", 3, "1", "") + &app("back", 10, "1", "");
    let model = model("storm", &manifests, spec);
    let back = model.services.iter().find(|(_, s)| s.name == "back").expect("a Service").0;
    struct Most(f64, eks_sim::units::Id<eks_sim::world::model::ServiceModel>);
    impl Observer for Most {
        fn observe(&mut self, now: SimTime, change: &Change, view: &View<'_>) {
            if matches!(change, Change::LoadChanged(_)) && (605.0..1199.0).contains(&now.secs_f64())
            {
                self.0 = self.0.max(view.world.machines.load[self.1].offered);
            }
        }
    }
    let (mut sim, mut most) = (Sim::new(model, 0), Most(0.0, back));
    sim.run(&mut most);
    // 1 − (1 − s)⁴ = 100/150 at a share s of served calls: 100/s calls.
    near(most.0, 416.2, 0.01, "calls in the storm");
    let load = &sim.world().machines.load[back];
    near(load.offered, 90.0, 1e-6, "calls after it");
    // Conservation: nothing is lost but what is booked.
    let t = load.totals;
    near(t.served + t.dropped + t.timed_out + load.backlog, t.arrived, 1e-6, "conservation");
}

#[test]
fn zone_aware_calls_stay_in_their_zone() {
    for (aware, cross, balance) in [(false, 60.0, 1e-3), (true, 0.0, 1e-3)] {
        let spec = format!(
            "  duration: 30m
  traffic:
  - to: Service/front
    rate: {{constant: 90/s}}
    calls: [{{to: Service/back, perRequest: 1}}]
  - to: Service/back
    zoneAware: {aware}
"
        );
        let manifests = app("front", 3, "1", "") + &app("back", 6, "1", "");
        let model = model("zones", &manifests, &spec);
        let back = model.services.iter().find(|(_, s)| s.name == "back").expect("a Service").0;
        let mut sim = Sim::new(model, 0);
        sim.run(&mut ());
        let load = &sim.world().machines.load[back];
        assert!((load.cross_zone - cross).abs() < 1e-6, "{aware}: {}", load.cross_zone);
        near(load.offered, 90.0, balance, "offered");
        near(load.served, 90.0, 1e-3, "served");
    }
}

#[test]
fn a_load_balancer_registers_its_targets_first() {
    let served = |service: &str| {
        let spec = "  duration: 10m
  traffic:
  - to: Service/web
    rate: {constant: 20/s}
";
        let out = run(&model("lb", &app("web", 2, "1", service), spec));
        value(&out, "requests_lost") / 20.0
    };
    let later = served(", type: LoadBalancer") - served("");
    // The first of two targets registers after about 10 s.
    assert!((2.0..40.0).contains(&later), "{later} s later");
}

#[test]
fn a_day_costs_few_events_whatever_the_number_of_requests() {
    let mut events = Vec::new();
    for rate in [10.0_f64, 10_000.0] {
        let (mut manifests, mut spec) = (String::new(), "  duration: 24h\n  traffic:\n".to_owned());
        for i in 0..12 {
            manifests += &app(&format!("s{i}"), 3, "100m", "");
            let cpu: f64 = 30.0 / rate;
            writeln!(
                spec,
                "  - to: Service/s{i}
    rate: {{constant: {rate}/s, burst: {{cv: 0.3, every: 1m}}}}
    perRequest: {{cpu: {}us}}",
                (cpu * 1e5).round()
            )
            .expect("text");
        }
        let model = model("day", &manifests, &spec);
        let mut sim = Sim::new(model, 0);
        #[expect(clippy::disallowed_methods, reason = "measures the simulator itself")]
        let begin = std::time::Instant::now();
        sim.run(&mut ());
        let took = begin.elapsed();
        println!("{rate}/s: {} events in {took:?}", sim.events());
        events.push(sim.events());
    }
    assert!(events[0] < 30_000, "{events:?}");
    assert!(events[1] < events[0] + events[0] / 4, "{events:?}");
}

#[test]
fn hpas_read_custom_and_external_metrics() {
    let metric = |kind: &str, name: &str, value: u32| {
        format!(
            "{{type: {kind}, {}: {{metric: {{name: {name}}}, \
             target: {{type: AverageValue, averageValue: {value}}}}}}}",
            kind.to_lowercase()
        )
    };
    for (metric, want) in
        [(metric("External", "queue", 50), vec![2, 10]), (metric("Pods", "requests", 40), vec![6])]
    {
        let hpa = format!(
            "apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: web}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: web}}
  minReplicas: 1
  maxReplicas: 20
  behavior: {{scaleUp: {{policies: [{{type: Pods, value: 20, periodSeconds: 15}}]}}}}
  metrics: [{metric}]
"
        );
        let spec = "  duration: 20m
  metrics:
  - {name: queue, values: [{at: 0s, value: 60}, {at: 10m, value: 500}], delay: 30s}
  - {name: requests, of: Service/web}
  traffic:
  - to: Service/web
    rate: {constant: 240/s}
";
        let model = model("custom", &(app("web", 1, "100m", "") + &hpa), spec);
        let (mut sim, mut seen) = (Sim::new(model, 0), Scalings::default());
        sim.run(&mut seen);
        assert_eq!(seen.0, want, "{metric}");
    }
}

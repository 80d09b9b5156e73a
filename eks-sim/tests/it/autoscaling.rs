//! HPA, KEDA and moving bounds through the whole engine.

use crate::load::model;
use eks_sim::engine::{Observer, Sim, View};
use eks_sim::observe::outcome::EventRow;
use eks_sim::policy::hpa::Usage;
use eks_sim::study::{Replicate, run::ModelStudy};
use eks_sim::units::SimTime;
use eks_sim::world::Change;
use std::sync::Arc;

/// A Deployment with its Service; `containers` are further containers before the one that serves.
fn app(replicas: u32, resources: &str, containers: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
{containers}      - name: web
        image: registry.example/web:1
        ports: [{{name: http, containerPort: 8080}}]
        resources: {resources}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: http}}]}}
---
"
    )
}

fn hpa(name: &str, min: u32, max: u32, metrics: &str, more: &str) -> String {
    format!(
        "apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: {name}}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: web}}
  minReplicas: {min}
  maxReplicas: {max}
  metrics: [{metrics}]
{more}---
"
    )
}

fn utilization(percent: u32) -> String {
    format!(
        "{{type: Resource, resource: {{name: cpu, target: {{type: Utilization, \
         averageUtilization: {percent}}}}}}}"
    )
}

/// Sizes of the Deployment with their times, and what the HPA read at each decision.
#[derive(Default)]
struct Seen {
    sizes: Vec<(f64, u32)>,
    readings: Vec<(i32, i32)>,
}

impl Seen {
    fn counts(&self) -> Vec<u32> {
        self.sizes.iter().map(|s| s.1).collect()
    }
}

impl Observer for Seen {
    fn observe(&mut self, now: SimTime, change: &Change, view: &View<'_>) {
        match change {
            Change::WorkloadScaled(w, _) => {
                self.sizes.push((now.secs_f64(), view.world.api.workloads[*w].replicas));
            }
            Change::HpaDecided(h) => {
                let Some((_, decision)) = view.hpa.last(*h) else { return };
                if let Some(Some(Usage::Utilization { percent, .. })) = decision.usage.first() {
                    self.readings.push((*percent, decision.desired));
                }
            }
            _ => {}
        }
    }
}

fn run(name: &str, manifests: &str, spec: &str) -> Seen {
    let (mut sim, mut seen) = (Sim::new(model(name, manifests, spec), 0), Seen::default());
    assert!(sim.run(&mut seen).is_none());
    seen
}

fn events(name: &str, manifests: &str, spec: &str, kind: &str) -> Vec<EventRow> {
    let study = ModelStudy::new(Arc::clone(&model(name, manifests, spec)));
    let detail = study.run(0, true).detail.expect("the detailed record");
    detail.events.into_iter().filter(|e| e.kind == kind).collect()
}

/// G5: readings of 99 %, 89 % and 84 % at a target of 80 %: one, two, three pods, and three it stays,
/// since 84/80 = 1.05 is within the tolerance.
#[test]
fn g5_readings_of_the_workshop() {
    // An idle pod uses 2 %; each step sets what all pods together serve.
    let spec = "  duration: 19m
  traffic:
  - to: Service/web
    rate: {steps: [{at: 8m, rate: 97/s}, {at: 11m, rate: 174/s}, {at: 14m, rate: 246/s}]}
    perRequest: {cpu: 10ms}
";
    let manifests = app(1, "{requests: {cpu: 1}}", "") + &hpa("web", 1, 4, &utilization(80), "");
    let seen = run("g5", &manifests, spec);
    assert_eq!(seen.counts(), [2, 3]);
    for wanted in [(99, 2), (89, 3)] {
        assert!(seen.readings.contains(&wanted), "{:?}", seen.readings);
    }
    let at_the_end = events("g5", &manifests, spec, "hpa").pop().expect("an event").message;
    assert!(at_the_end.starts_with("3 current / 3 desired"), "{at_the_end}");
    // The reading of 84 % is the last one, and changes nothing.
    let longer = spec.replace("19m", "25m");
    assert_eq!(run("g5", &manifests, &longer).counts(), [2, 3]);
}

/// A step of the load is seen after a point of the kubelet, a scrape and a sync.
#[test]
fn the_age_of_metrics_delays_the_reaction() {
    let spec = "  duration: 20m
  traffic:
  - to: Service/web
    rate: {steps: [{at: 10m, rate: 400/s}]}
    perRequest: {cpu: 10ms}
";
    let manifests = app(1, "{requests: {cpu: 1}}", "") + &hpa("web", 1, 4, &utilization(80), "");
    let delay = |more: &str| {
        let seen = run("age", &manifests, &format!("{spec}{more}"));
        assert_eq!(seen.counts().last(), Some(&4));
        seen.sizes[0].0 - 600.0
    };
    let normal = delay("");
    assert!((1.0..=46.0).contains(&normal), "{normal}");
    let slow = delay("  constants: {metrics_server.resolution: 120s}\n");
    assert!(slow > normal && slow <= 151.0, "{slow} instead of {normal}");
}

#[test]
fn events_are_worded_as_upstream() {
    let spec = "  duration: 15m
  traffic:
  - to: Service/web
    rate: {steps: [{at: 8m, rate: 97/s}]}
    perRequest: {cpu: 10ms}
";
    let metrics = utilization(80)
        + ", {type: External, external: {metric: {name: queue}, target: {type: Value, value: 5}}}";
    let manifests = app(1, "{requests: {cpu: 1}}", "") + &hpa("web", 1, 4, &metrics, "");
    let rows = events("words", &manifests, spec, "hpa");
    let has = |reason: &str, message: &str| {
        assert!(
            rows.iter().any(|r| r.reason == reason && r.message == message),
            "{reason}: {:?}",
            rows.iter().map(|r| (&r.reason, &r.message)).collect::<Vec<_>>()
        );
    };
    has(
        "SuccessfulRescale",
        "New size: 2; reason: cpu resource utilization (percentage of request) above target",
    );
    has(
        "FailedGetExternalMetric",
        "unable to get external metric queue: no metrics returned from external metrics API",
    );
    has(
        "FailedComputeMetricsReplicas",
        "invalid metrics (2 invalid out of 2), first error is: failed to get cpu resource metric \
         value: failed to get cpu utilization: unable to get metrics for resource cpu: no metrics \
         returned from resource metrics API",
    );
    assert!(rows.iter().any(|r| r.message.contains("ScalingActive False FailedGetResourceMetric")));
}

#[test]
fn two_hpas_of_the_same_pods_both_stop() {
    let spec = "  duration: 15m
  traffic:
  - to: Service/web
    rate: {constant: 400/s}
    perRequest: {cpu: 10ms}
";
    let one = app(1, "{requests: {cpu: 1}}", "") + &hpa("a", 1, 4, &utilization(80), "");
    assert_eq!(run("two", &one, spec).counts(), [4]);
    let both = one + &hpa("b", 1, 9, &utilization(50), "");
    assert_eq!(run("two", &both, spec).counts(), [0; 0]);
    let rows = events("two", &both, spec, "hpa");
    assert!(rows.iter().any(|r| r.object == "default/b" && r.reason == "AmbiguousSelector"));
}

/// The gate HPAConfigurableTolerance is on from 1.35; before, the field is dropped.
#[test]
fn tolerances_of_one_direction_need_their_version() {
    let more = "  behavior: {scaleUp: {tolerance: 0.04}, scaleDown: {tolerance: 0.9}}\n";
    let manifests = app(1, "{requests: {cpu: 1}}", "") + &hpa("web", 1, 4, &utilization(80), more);
    for (version, want) in [("1.34", vec![]), ("1.35", vec![2])] {
        let spec = format!(
            "    version: \"{version}\"
  duration: 20m
  traffic:
  - to: Service/web
    rate: {{steps: [{{at: 8m, rate: 82/s}}]}}
    perRequest: {{cpu: 10ms}}
"
        );
        assert_eq!(run("tolerance", &manifests, &spec).counts(), want, "{version}");
    }
}

#[test]
fn container_metrics_are_those_of_the_container() {
    let log =
        "      - {name: log, image: 'registry.example/log:1', resources: {requests: {cpu: 1}}}\n";
    let spec = "  duration: 20m
  traffic:
  - to: Service/web
    rate: {steps: [{at: 8m, rate: 150/s}]}
    perRequest: {cpu: 10ms}
";
    for (container, want) in [("log", vec![]), ("web", vec![2])] {
        let metric = format!(
            "{{type: ContainerResource, containerResource: {{name: cpu, container: {container}, \
             target: {{type: Utilization, averageUtilization: 80}}}}}}"
        );
        let manifests = app(1, "{requests: {cpu: 1}}", log) + &hpa("web", 1, 4, &metric, "");
        assert_eq!(run("container", &manifests, spec).counts(), want, "{container}");
    }
    // Of the whole pod: 150 % of two cores, less than the target.
    let manifests = app(1, "{requests: {cpu: 1}}", log) + &hpa("web", 1, 4, &utilization(80), "");
    assert_eq!(run("container", &manifests, spec).counts(), [0; 0]);
}

/// Syncs that are only noted change nothing: the same run with every sync in full.
#[test]
fn noted_syncs_decide_as_full_ones() {
    let behavior = "  behavior: {scaleDown: {stabilizationWindowSeconds: 120, policies: \
                    [{type: Pods, value: 2, periodSeconds: 60}]}}\n";
    for (i, (rate, more)) in [
        ("{diurnal: {low: 20/s, high: 600/s, peak: '03:00'}}", ""),
        (
            "{steps: [{at: 0s, rate: 100/s}, {at: 40m, rate: 300/s}, {at: 80m, rate: 50/s}]}",
            behavior,
        ),
        ("{constant: 150/s, burst: {cv: 0.5, every: 10m}}", behavior),
    ]
    .into_iter()
    .enumerate()
    {
        let spec = format!(
            "  duration: 6h
  faults: [{{at: 2h, nodeCrash: {{count: 1, nodeGroup: main}}}}]
  traffic:
  - to: Service/web
    rate: {rate}
    perRequest: {{cpu: 10ms}}
"
        );
        let manifests =
            app(2, "{requests: {cpu: 500m}}", "") + &hpa("web", 2, 20, &utilization(60), more);
        let model = model(&format!("noted-{i}"), &manifests, &spec);
        let (mut short, mut full) = (Sim::new(Arc::clone(&model), 0), Sim::new(model, 0));
        full = full.with_full_syncs();
        let (mut a, mut b) = (Seen::default(), Seen::default());
        short.run(&mut a);
        full.run(&mut b);
        assert_eq!((a.counts(), short.digest()), (b.counts(), full.digest()), "{rate}");
        assert!(a.sizes.len() > 2, "{rate}: {:?}", a.sizes);
    }
}

fn scaled_object(rules: &str, triggers: &str) -> String {
    format!(
        "apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {{name: web}}
spec:
  scaleTargetRef: {{name: web}}
{rules}  triggers: [{triggers}]
"
    )
}

/// A queue wakes the target from zero at the next poll, the HPA follows its length, and after the
/// cooldown it sleeps again.
#[test]
fn keda_scales_on_a_queue_to_zero_and_back() {
    let queue = "{type: aws-sqs-queue, metadata: {queueURL: 'https://sqs.example/1/orders', \
                 queueLength: '10', activationQueueLength: '5'}}";
    let spec = "  duration: 40m
  metrics:
  - {name: orders, values: [{at: 0s, value: 0}, {at: 10m, value: 4}, {at: 15m, value: 60}, {at: 20m, value: 0}]}
";
    let manifests = app(1, "{requests: {cpu: 100m}}", "") + &scaled_object("", queue);
    let seen = run("keda-queue", &manifests, spec);
    // The HPA's window of five minutes ends before the cooldown does.
    assert_eq!(seen.counts(), [0, 1, 4, 6, 1, 0], "{:?}", seen.sizes);
    // Four wait from the tenth minute on, which is below the activation.
    assert!((900.0..931.0).contains(&seen.sizes[1].0), "{:?}", seen.sizes);
    // Last active at a poll before 20 min; zero at the first poll more than 300 s later.
    assert!((1470.0..1531.0).contains(&seen.sizes[5].0), "{:?}", seen.sizes);
    let rows = events("keda-queue", &manifests, spec, "scaledobject");
    let reasons: Vec<&str> = rows.iter().map(|r| r.reason.as_str()).collect();
    assert_eq!(reasons, ["ScalerActive", "ScalerNotActive"]);
}

/// A cron trigger holds its replicas between its times; outside of them the target sleeps.
#[test]
fn keda_scales_by_the_clock() {
    let cron = "{type: cron, metadata: {timezone: Europe/Berlin, start: '0 2 * * *', \
                end: '0 3 * * *', desiredReplicas: '5'}}";
    // The run starts at 00:00 UTC, 01:00 in Berlin.
    let rules = "  idleReplicaCount: 0\n  minReplicaCount: 2\n  cooldownPeriod: 60\n";
    let manifests = app(3, "{requests: {cpu: 100m}}", "") + &scaled_object(rules, cron);
    let seen = run("keda-cron", &manifests, "  duration: 3h\n");
    assert_eq!(seen.counts(), [0, 2, 4, 5, 0], "{:?}", seen.sizes);
    assert!((3600.0..3631.0).contains(&seen.sizes[1].0), "{:?}", seen.sizes);
    assert!((7260.0..7295.0).contains(&seen.sizes[4].0), "{:?}", seen.sizes);
}

/// A schedule moves both bounds, the larger minimum counts.
#[test]
fn bounds_move_by_schedule() {
    let manifests =
        app(2, "{requests: {cpu: 100m}}", "") + &hpa("web", 2, 20, &utilization(50), "");
    let spec = "  duration: 3h
  scaling:
  - hpa: HorizontalPodAutoscaler/web
    schedule:
    - {cron: '0 1 * * *', minReplicas: 8}
    - {at: 2h, minReplicas: 1, maxReplicas: 5}
";
    let seen = run("schedule", &manifests, spec);
    // At 2 h the maximum cuts at once; idle pods then leave after the window.
    assert_eq!(seen.counts(), [1, 8, 5, 1][1..], "{:?}", seen.sizes);
    assert!((3600.0..3616.0).contains(&seen.sizes[0].0), "{:?}", seen.sizes);
    assert!((7200.0..7216.0).contains(&seen.sizes[1].0), "{:?}", seen.sizes);
}

/// A forecast starts pods ahead of a ramp: fewer requests wait or are lost, more pods are paid.
#[test]
fn a_forecast_trades_cost_for_lost_requests() {
    use eks_sim::observe::metrics::columns;
    let manifests = app(2, "{requests: {cpu: 1}, limits: {cpu: 1}}", "")
        + &hpa("web", 2, 40, &utilization(70), "");
    let value = |forecast: &str, name: &str| {
        let spec = format!(
            "  duration: 2h
  warmup: 10m
  workloads: [{{for: Deployment/web, startup: 60s}}]
  traffic:
  - to: Service/web
    rate: {{ramp: [{{at: 30m, rate: 100/s}}, {{at: 34m, rate: 2000/s}}, {{at: 90m, rate: 2000/s}}]}}
    perRequest: {{cpu: 10ms}}
    timeout: 2s
  scaling: [{{hpa: HorizontalPodAutoscaler/web{forecast}}}]
"
        );
        let spec = if forecast.is_empty() {
            spec.lines().filter(|l| !l.contains("scaling:")).map(|l| format!("{l}\n")).collect()
        } else {
            spec
        };
        let manifests = manifests.replace(
            "        resources",
            "        readinessProbe: {periodSeconds: 5}\n        resources",
        );
        let out = ModelStudy::new(model("forecast", &manifests, &spec)).run(0, false);
        let at = columns().iter().position(|c| c.name() == name).expect("a column");
        out.values[at]
    };
    let forecast =
        |more: &str| format!(", forecast: {{perReplica: 70/s, every: 1m, ahead: 5m{more}}}");
    let lost = |f: &str| value(f, "requests_lost");
    let none = lost("");
    let perfect = lost(&forecast(""));
    let lagged = lost(&forecast(", lag: 30m"));
    let low = lost(&forecast(", error: -0.5"));
    assert!(none > 10_000.0, "{none}");
    assert!(perfect < none / 100.0, "{perfect} of {none}");
    assert!(lagged > none * 0.9, "{lagged} of {none}");
    assert!(low > perfect && low < none, "{low} between {perfect} and {none}");
}

#[test]
fn moving_bounds_that_are_wrong_say_what_to_write() {
    let manifests =
        app(2, "{requests: {cpu: 100m}}", "") + &hpa("web", 2, 20, &utilization(50), "");
    let cluster = "  cluster:\n    nodeGroups: [{name: a, instanceTypes: [m6i.large]}]\n";
    for (entry, message) in [
        (
            "{hpa: HorizontalPodAutoscaler/wep, schedule: [{at: 1h, minReplicas: 3}]}",
            "did you mean",
        ),
        ("{hpa: HorizontalPodAutoscaler/web}", "give `schedule` or `forecast`"),
        (
            "{hpa: HorizontalPodAutoscaler/web, schedule: [{minReplicas: 3}]}",
            "either `cron` or `at`",
        ),
        ("{hpa: HorizontalPodAutoscaler/web, schedule: [{at: 1h}]}", "sets no bound"),
        (
            "{hpa: HorizontalPodAutoscaler/web, schedule: [{at: 1h, minReplicas: 3, maxReplicas: 2}]}",
            "below `minReplicas`",
        ),
        (
            "{hpa: HorizontalPodAutoscaler/web, schedule: [{cron: '0 25 * * *', minReplicas: 3}]}",
            "hour 25 does not exist",
        ),
        (
            "{hpa: HorizontalPodAutoscaler/web, forecast: {perReplica: 50/s}}",
            "no rate from outside",
        ),
    ] {
        let text = crate::rig::text(&format!("{cluster}  scaling: [{entry}]\n"), &manifests);
        let why = text.try_model().expect_err(entry);
        assert!(why.contains(message), "{entry}: {why}");
        assert!(why.contains("scaling[0]"), "{why}");
    }
}

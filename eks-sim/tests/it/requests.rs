//! The exact mode: single requests through the whole engine, and the fluid mode against it.

use crate::load::{app, model};
use eks_sim::engine::Sim;
use eks_sim::engine::draws::{Rng, key};
use eks_sim::observe::metrics::columns;
use eks_sim::observe::outcome::Outcome;
use eks_sim::study::{Replicate, run::ModelStudy};
use eks_sim::units::special::student_t_quantile;
use eks_sim::world::Model;
use eks_sim::world::machines::ServiceLoad;
use std::fmt::Write as _;
use std::sync::Arc;

fn value(outcome: &Outcome, name: &str) -> f64 {
    let at = columns().iter().position(|c| c.name() == name).expect("a column of this name");
    outcome.values[at]
}

/// Means of a metric over replications, and half of their 99 % interval.
fn over(model: &Arc<Model>, replications: u32, name: &str) -> (f64, f64) {
    let study = ModelStudy::new(Arc::clone(model));
    let all: Vec<f64> = (0..replications).map(|r| value(&study.run(r, false), name)).collect();
    let n = f64::from(replications);
    let mean = all.iter().sum::<f64>() / n;
    let square: f64 = all.iter().map(|x| (x - mean) * (x - mean)).sum();
    (mean, student_t_quantile(n - 1.0, 0.995) * (square / (n * (n - 1.0))).sqrt())
}

fn load<'a>(sim: &'a Sim, name: &str) -> &'a ServiceLoad {
    let id = sim.model().services.iter().find(|(_, s)| s.name == name).expect("a Service").0;
    &sim.world().machines.load[id]
}

#[test]
fn single_requests_through_a_run_keep_the_closed_forms() {
    for (what, rate, pods, more, want) in [
        ("A1", 90.0, 10, "    discipline: fifo", 0.166_873_2),
        ("A1, shared", 90.0, 10, "", 0.166_873_2),
        ("A4", 8.0, 1, "    discipline: fifo", 0.5),
        ("A4, shared", 8.0, 1, "", 0.5),
        ("A9", 90.0, 10, "    balancing: random", 1.0),
    ] {
        let minutes = if pods == 1 { 300 } else { 40 };
        let spec = format!(
            "  duration: {minutes}m
  warmup: 15m
  load: {{mode: exact}}
  traffic:
  - to: Service/web
    rate: {{constant: {rate}/s}}
    perRequest: {{cpu: 100ms, latencyFloor: 0s}}
    timeout: 1h
{more}
"
        );
        let (mean, half) =
            over(&model("exact", &app("web", pods, "1", ""), &spec), 6, "latency_seconds_mean");
        assert!((mean - want).abs() <= half, "{what}: {mean} ± {half}, want {want}");
        assert!(half < 0.1 * want, "{what}: {mean} ± {half}");
    }
}

/// One of some values, by the number of the scenario and what it is for.
fn pick<T: Copy>(scenario: u64, what: u64, from: &[T]) -> T {
    from[(Rng::new(key(&[scenario, what])).word() % from.len() as u64) as usize]
}

/// Requests a second from outside.
const RATE: f64 = 40.0;

/// Manifests and traffic of a random scenario: a chain of up to three Services.
fn random_scenario(n: u64) -> (String, String) {
    let services = pick(n, 0, &[1_u64, 2, 3]);
    let (mut manifests, mut spec) = (String::new(), String::new());
    let mut arriving = RATE;
    for s in 0..services {
        let at = |what: u64| 10 * s + what;
        let replicas = pick(n, at(1), &[1_u32, 2, 3, 4, 6]);
        let balancing = pick(n, at(6), &["shared", "shared", "random"]);
        // Where each worker has a queue of its own, more takes millions of requests to tell: that
        // is done with the queue alone.
        let alone = replicas == 1 || balancing == "random";
        let utilisation = pick(n, at(2), &[0.3, 0.5, 0.6, 0.7, 0.8, 0.85]);
        let utilisation = if alone { f64::min(utilisation, 0.7) } else { utilisation };
        let cv = pick(n, at(3), &[0.0, 0.5, 1.0, 1.5]);
        let discipline = pick(n, at(4), &["fifo", "processorSharing"]);
        let calls = pick(n, at(5), &[0.5, 1.0, 2.0]);
        let cpu = f64::from(replicas) * utilisation / arriving;
        manifests += &app(&format!("s{s}"), replicas, "1", "");
        write!(
            spec,
            "  - to: Service/s{s}
    perRequest: {{cpu: {}us, latencyFloor: 5ms, cv: {cv}}}
    discipline: {discipline}
    balancing: {balancing}
",
            (cpu * 1e6).round()
        )
        .expect("text");
        if s == 0 {
            writeln!(spec, "    rate: {{constant: {RATE}/s}}").expect("text");
        }
        if s + 1 < services {
            writeln!(spec, "    calls: [{{to: Service/s{}, perRequest: {calls}}}]", s + 1)
                .expect("text");
        }
        arriving *= calls;
    }
    (manifests, spec)
}

#[test]
fn the_fluid_mode_is_within_three_percent_of_single_requests() {
    for n in 0..10 {
        let (manifests, traffic) = random_scenario(n);
        let run = |mode: &str, duration: &str| {
            let spec = format!(
                "  duration: {duration}
  warmup: 10m
  load: {{mode: {mode}}}
  traffic:
{traffic}"
            );
            ModelStudy::new(model("random", &manifests, &spec)).run(0, false)
        };
        let (fluid, single) = (run("fluid", "30m"), run("exact", "70m"));
        let mut line = format!("{n}:");
        for name in [
            "served_ratio",
            "latency_seconds_mean",
            "latency_seconds_p50",
            "latency_seconds_p95",
            "latency_seconds_p99",
        ] {
            let (f, e) = (value(&fluid, name), value(&single, name));
            write!(line, " {name} {f:.5}/{e:.5} {:+.2}%;", 100.0 * (f / e - 1.0)).expect("text");
            // Percentiles are those of a distribution that only has the right mean and spread.
            let most = if name.contains("_p") { 0.16 } else { 0.03 };
            assert!((f / e - 1.0).abs() < most, "{line}\n{traffic}");
        }
        // Throughput: requests answered a second.
        let answered = |o: &Outcome, seconds: f64| {
            (value(o, "requests_offered") - value(o, "requests_lost")) / seconds
        };
        let (f, e) = (answered(&fluid, 20.0 * 60.0), answered(&single, 60.0 * 60.0));
        assert!((f / e - 1.0).abs() < 0.03, "{n}: {f} {e} answered a second");
        println!("{line}");
    }
}

#[test]
fn littles_law_holds_in_every_queue_to_the_nanosecond() {
    for more in ["", "    discipline: fifo", "    balancing: random", "    queueBound: 3"] {
        let spec = format!(
            "  duration: 20m
  load: {{mode: exact}}
  faults: [{{at: 8m, nodeCrash: {{count: 1, nodeGroup: main}}}}]
  traffic:
  - to: Service/front
    rate: {{constant: 60/s, burst: {{cv: 0.3, every: 1m}}}}
    retries: 2
    retry: {{backoff: 25ms, budget: {{}}}}
    calls: [{{to: Service/back, perRequest: 1.5, retries: 1}}]
    perRequest: {{cpu: 20ms}}
{more}
  - to: Service/back
    perRequest: {{cpu: 50ms, cv: 0.7}}
    timeout: 300ms
{more}
"
        );
        let manifests = app("front", 3, "1", "") + &app("back", 6, "1", "");
        let model = model("little", &manifests, &spec);
        let mut sim = Sim::new(Arc::clone(&model), 1);
        assert_eq!(sim.run(&mut ()), None);
        for name in ["front", "back"] {
            let load = load(&sim, name);
            let window = load.requests.as_ref().expect("single requests");
            assert_eq!(window.present_nanos, window.stayed_nanos, "A8 at {name} {more}");
            assert!(window.present_nanos > 0);
            let t = load.totals;
            let waiting = t.arrived - t.served - t.dropped - t.timed_out;
            assert!((0.0..2000.0).contains(&waiting), "{name} {more}: {waiting} in the queue");
            assert!(t.dropped > 0.0, "{name} {more}: the crash costs some");
        }
        let digest = sim.digest();
        let mut again = Sim::new(model, 1);
        again.run(&mut ());
        assert_eq!(digest, again.digest(), "the same requests again");
    }
}

#[test]
fn a_retry_storm_keeps_a_service_down_and_a_budget_ends_it() {
    let offered = |retry: &str| {
        let spec = format!(
            "  duration: 30m
  load: {{mode: exact}}
  traffic:
  - to: Service/back
    rate: {{constant: 80/s, spikes: [{{at: 10m, duration: 2m, add: 60/s}}]}}
    perRequest: {{cpu: 100ms, cv: 0.3}}
    timeout: 1s
    retries: 4
    {retry}
"
        );
        let model = model("storm-exact", &app("back", 10, "1", ""), &spec);
        let mut sim = Sim::new(model, 0);
        sim.run(&mut ());
        let load = load(&sim, "back");
        (load.totals.arrived, load.offered)
    };
    let (storm, after) = offered("retry: {}");
    let (calm, later) = offered("retry: {backoff: 100ms, budget: {ratio: 10%, minPerSecond: 1/s}}");
    // Under sharing, work on requests that give up is lost: with four repetitions the overload
    // outlives its cause by eighteen minutes; with a budget it ends.
    assert!(after > 300.0, "{after} attempts a second at the end");
    assert!(later < 100.0, "{later} attempts a second at the end");
    assert!(storm > 2.0 * calm, "{storm} {calm}");
}

#[test]
fn too_many_requests_end_with_a_diagnosis_or_are_refused() {
    let spec = |rate: &str, limits: &str| {
        format!(
            "  duration: 10m
  load: {{mode: exact}}
  limits: {{{limits}}}
  traffic:
  - {{to: Service/back, rate: {{constant: {rate}}}, retries: 10, timeout: 1ms,
     perRequest: {{cpu: 100ms}}}}
"
        )
    };
    let manifests = app("back", 1, "1", "");
    let model = model("bounded", &manifests, &spec("50/s", "requests: 40000"));
    let diagnosis = Sim::new(model, 0).run(&mut ()).expect("repetitions exceed the limit");
    assert_eq!(diagnosis.bound, "requests per run");
    let refused = crate::load::refused("bounded", &manifests, &spec("50/s", "requests: 20000"));
    assert!(refused.contains("load.mode") && refused.contains("about 30000 requests"), "{refused}");
}

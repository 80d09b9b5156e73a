//! Rates from files and with memory, retries, cold starts, a mesh: through the whole engine.

use crate::load::{app, model, refused};
use eks_sim::engine::Sim;
use eks_sim::observe::metrics::columns;
use eks_sim::observe::outcome::Outcome;
use eks_sim::study::{Replicate, run::ModelStudy};
use eks_sim::units::SimTime;
use eks_sim::world::machines::ServiceLoad;
use std::path::PathBuf;
use std::process::Command;

fn value(outcome: &Outcome, name: &str) -> f64 {
    let at = columns().iter().position(|c| c.name() == name).expect("a column of this name");
    outcome.values[at]
}

fn load<'a>(sim: &'a Sim, name: &str) -> &'a ServiceLoad {
    let id = sim.model().services.iter().find(|(_, s)| s.name == name).expect("a Service").0;
    &sim.world().machines.load[id]
}

/// A file beside the scenario of this name.
fn file(scenario: &str, name: &str, text: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(scenario);
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a file for the test");
    path
}

/// The rates from outside at some times of a run.
fn rates(name: &str, duration: &str, rate: &str, at: &[u64]) -> Vec<f64> {
    let spec = format!(
        "  duration: {duration}
  traffic:
  - to: Service/web
    rate: {{{rate}}}
    perRequest: {{cpu: 10us}}
"
    );
    let mut sim = Sim::new(model(name, &app("web", 3, "1", ""), &spec), 0);
    at.iter()
        .map(|&at| {
            sim.run_until(SimTime::from_secs(at), &mut ());
            load(&sim, "web").external
        })
        .collect()
}

#[test]
fn prometheus_answers_are_rates() {
    let answer = r#"{"status": "success", "data": {"resultType": "matrix", "result": [
        {"metric": {"job": "shop", "pod": "a"}, "values": [[1700000000, "10"], [1700000060, "20.5"]]},
        {"metric": {"job": "shop", "pod": "b"}, "values": [[1700000000, "1"], [1700000060, "2"]]},
        {"metric": {"job": "other"}, "values": [[1699999000, "900"]]}]}}"#;
    file("prometheus", "rps.json", answer);
    let shop = "prometheus: {file: rps.json, labels: {job: shop}, scale: 2}";
    // A piece of a minute has the mean of its ends.
    assert_eq!(rates("prometheus", "5m", shop, &[30, 90]), [33.5, 45.0]);
    let spec = |rate: &str| {
        format!("  duration: 5m\n  traffic: [{{to: Service/web, rate: {{{rate}}}}}]\n")
    };
    let no = |rate: &str| refused("prometheus", &app("web", 1, "1", ""), &spec(rate));
    let got = no("prometheus: {file: rps.json, labels: {job: cart}}");
    assert!(got.contains("none of the 3 series"), "{got}");
    let got = no("prometheus: {file: none.json}");
    assert!(got.contains("rate.prometheus: cannot read") && got.contains("query_range"), "{got}");
    file(
        "prometheus",
        "vector.json",
        r#"{"status": "success", "data": {"resultType": "vector", "result": []}}"#,
    );
    assert!(no("prometheus: {file: vector.json}").contains("not `matrix`"));
    file("prometheus", "error.json", r#"{"status": "error", "error": "query timed out"}"#);
    assert!(no("prometheus: {file: error.json}").contains("query timed out"));
    file(
        "prometheus",
        "nan.json",
        r#"{"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "NaN"]]}]}}"#,
    );
    assert!(no("prometheus: {file: nan.json}").contains("`NaN` at 1 is no rate"));
    file("prometheus", "torn.json", r#"{"status": "success", "data": {"#);
    assert!(no("prometheus: {file: torn.json}").contains("EOF"));
}

#[test]
fn counts_of_a_trace_are_rates() {
    file("counts", "counts.csv", "minute,requests\n0,60\n1,120\n2,30\n");
    let csv = "counts: {file: counts.csv, every: 1m, from: 1m, scale: 3}";
    assert_eq!(rates("counts", "5m", csv, &[30, 90, 150]), [6.0, 1.5, 0.0]);
    file("counts", "counts.txt", "5 0 7\n9\n");
    let text = "counts: {file: counts.txt, every: 10s}";
    assert_eq!(rates("counts", "5m", text, &[5, 15, 25, 35, 45]), [0.5, 0.0, 0.7, 0.9, 0.0]);
    let no = |rate: &str| {
        let spec = format!("  duration: 5m\n  traffic: [{{to: Service/web, rate: {{{rate}}}}}]\n");
        refused("counts", &app("web", 1, "1", ""), &spec)
    };
    file("counts", "bad.csv", "minute,requests\n0,60\n1,many\n");
    let got = no("counts: {file: bad.csv, every: 1m}");
    assert!(got.contains("bad.csv:3: `many` is no number of requests"), "{got}");
    assert!(no("counts: {file: counts.csv, every: 0s}").contains("no length"));
    assert!(
        no("counts: {file: counts.csv, every: 1m, from: 1h}").contains("before the run begins")
    );
    assert!(no("counts: {file: counts.csv, every: 1m, scale: -1}").contains("cannot be -1"));
}

/// Two months of a web server: every request of the trace reaches the Service.
#[test]
fn a_recorded_trace_is_played_back_whole() {
    let Some(real) = std::env::var_os("EKS_SIM_REAL") else {
        println!("skipped: EKS_SIM_REAL names no folder with traces");
        return;
    };
    let folder = PathBuf::from(real).join("traces/nasa-http");
    let unpack = |name: &str| {
        let packed = folder.join(name);
        let out = Command::new("gzip").arg("-dc").arg(&packed).output().expect("gzip is there");
        assert!(out.status.success(), "{}", packed.display());
        String::from_utf8(out.stdout).expect("text")
    };
    let minutes = unpack("nasa_http_requests_per_minute.csv.gz");
    file("nasa", "minutes.csv", &minutes);
    let counted = |duration: &str, rate: &str| {
        let spec = format!(
            "  duration: {duration}
  traffic:
  - to: Service/web
    rate: {{{rate}}}
    perRequest: {{cpu: 1ms}}
"
        );
        let model = model("nasa", &app("web", 3, "1", ""), &spec);
        let mut sim = Sim::new(model, 0);
        assert_eq!(sim.run(&mut ()), None);
        (load(&sim, "web").totals.arrived, sim.events())
    };
    let (all, events) = counted("84333m", "counts: {file: minutes.csv, every: 1m}");
    assert!((all - 3_461_610.0).abs() < 1.0, "{all} requests");
    println!("58 days, 3,461,610 requests: {events} events");
    // The list of seconds is the same trace: its first hours hold the same requests.
    file("nasa", "seconds.txt", &unpack("nasa_http_requests_per_second.txt.gz"));
    let wanted: f64 = minutes
        .lines()
        .skip(1 + 600)
        .take(120)
        .filter_map(|row| row.split_once(',')?.1.parse::<f64>().ok())
        .sum();
    let seconds = "counts: {file: seconds.txt, every: 1s, from: 10h, scale: 10}";
    let (got, _) = counted("2h", seconds);
    assert!((got - 10.0 * wanted).abs() < 1.0, "{got} {wanted}");
}

#[test]
fn weekdays_and_noise_shape_a_rate() {
    let wave = "diurnal: {low: 100/s, high: 100/s, weekdays: [1, 1, 1, 1, 1.5, 0.5, 0.25]}";
    let noon = |day: u64| day * 86_400 + 43_200;
    assert_eq!(
        rates("weekdays", "7d", wave, &[noon(0), noon(4), noon(5), noon(6)]),
        [100.0, 150.0, 50.0, 25.0]
    );
    let at: Vec<u64> = (0..600).map(|k| 30 + 60 * k).collect();
    let noisy = "constant: 100/s, noise: {cv: 0.3, correlation: 20m}";
    let got = rates("noise", "600m", noisy, &at);
    let mean = got.iter().sum::<f64>() / 600.0;
    assert!((70.0..140.0).contains(&mean), "{mean}");
    // Neighbours differ little, and the whole a lot.
    let step = got.windows(2).map(|w| (w[1] / w[0] - 1.0).abs()).sum::<f64>() / 599.0;
    let spread = got.iter().map(|r| (r / mean - 1.0).abs()).sum::<f64>() / 600.0;
    assert!(step < 0.1 && spread > 0.12, "{step} {spread}");
    let no = |rate: &str| {
        let spec = format!("  duration: 5m\n  traffic: [{{to: Service/web, rate: {{{rate}}}}}]\n");
        refused("noise", &app("web", 1, "1", ""), &spec)
    };
    assert!(no("constant: 1/s, noise: {cv: 11}").contains("traffic[0].rate.noise.cv"));
    assert!(no("constant: 1/s, noise: {cv: 1, every: 0s}").contains("too short"));
    let both = "diurnal: {low: 1/s, high: 2/s, weekend: 1, weekdays: [1, 1, 1, 1, 1, 1, 1]}";
    assert!(no(both).contains("drop `weekend`"));
    let negative = "diurnal: {low: 1/s, high: 2/s, weekdays: [1, 1, 1, 1, 1, 1, -1]}";
    assert!(no(negative).contains("a weekday's factor is -1"));
}

#[test]
fn repetitions_of_clients_outside_count_once() {
    // Half of the endpoints are dead until the endpoints follow: two attempts serve three quarters.
    let lost = |retries: u32| {
        let spec = format!(
            "  duration: 1h
  warmup: 20m
  faults: [{{at: 30m, nodeCrash: {{count: 1, nodeGroup: main}}}}]
  traffic:
  - to: Service/web
    rate: {{constant: 60/s}}
    perRequest: {{cpu: 5ms}}
    retries: {retries}
"
        );
        let model = model("once", &app("web", 12, "1", ""), &spec);
        value(&ModelStudy::new(model).run(0, false), "requests_lost")
    };
    let (once, twice) = (lost(0), lost(1));
    assert!((twice / once * 3.0 - 1.0).abs() < 0.01, "{once} {twice}");
}

#[test]
fn a_retry_budget_bounds_the_storm() {
    let most = |retry: &str| {
        let spec = format!(
            "  duration: 20m
  traffic:
  - to: Service/front
    rate: {{constant: 150/s}}
    perRequest: {{cpu: 1ms}}
    calls: [{{to: Service/back, perRequest: 1, retries: 3, retry: {retry}}}]
  - to: Service/back
    perRequest: {{cpu: 100ms}}
"
        );
        let manifests = app("front", 3, "1", "") + &app("back", 10, "1", "");
        let mut sim = Sim::new(model("budget", &manifests, &spec), 0);
        sim.run(&mut ());
        load(&sim, "back").offered
    };
    assert!((most("{}") / 416.2 - 1.0).abs() < 0.01, "{}", most("{}"));
    let budget = most("{budget: {ratio: 20%, minPerSecond: 0/s}}");
    assert!((budget - 180.0).abs() < 0.1, "{budget}");
}

#[test]
fn cold_pods_answer_slowly_at_first() {
    let latencies = |mode: &str| {
        let spec = format!(
            "  duration: 20m
  load: {{mode: {mode}}}
  traffic:
  - to: Service/web
    rate: {{constant: 20/s}}
    perRequest: {{cpu: 20ms, latencyFloor: 0s}}
    coldStart: {{duration: 5m, slowdown: 4}}
"
        );
        let mut sim = Sim::new(model("cold", &app("web", 6, "1", ""), &spec), 0);
        [240, 900].map(|at| {
            sim.run_until(SimTime::from_secs(at), &mut ());
            let load = load(&sim, "web");
            (load.latency, load.cores())
        })
    };
    let [(cold, busy), (warm, idle)] = latencies("fluid");
    assert!((cold / 0.08 - 1.0).abs() < 0.01 && (warm / 0.02 - 1.0).abs() < 0.01, "{cold} {warm}");
    assert!((busy / 1.6 - 1.0).abs() < 0.01 && (idle / 0.4 - 1.0).abs() < 0.01, "{busy} {idle}");
    let [(cold, _), (warm, _)] = latencies("exact");
    assert!(cold > 0.04 && warm < 0.04, "{cold} {warm}");
    let no = refused(
        "cold",
        &app("web", 1, "1", ""),
        "  duration: 5m\n  traffic: [{to: Service/web, coldStart: {duration: 1m, slowdown: 0.5}}]\n",
    );
    assert!(no.contains("traffic[0].coldStart.slowdown") && no.contains("from 1 to 1000"), "{no}");
}

#[test]
fn a_mesh_costs_requests_time_and_start() {
    let seen = |mesh: &str| {
        let spec = format!(
            "  duration: 30m
  warmup: 10m
{mesh}
  traffic:
  - to: Service/front
    rate: {{constant: 20/s}}
    perRequest: {{cpu: 1ms, latencyFloor: 5ms}}
    calls: [{{to: Service/back, perRequest: 2}}]
  - to: Service/back
    perRequest: {{cpu: 1ms, latencyFloor: 5ms}}
"
        );
        let manifests = app("front", 3, "200m", "") + &app("back", 3, "200m", "");
        let model = model("mesh", &manifests, &spec);
        let of = |name: &str| {
            let w = model.workloads.iter().find(|(_, w)| w.name == name).expect("a workload").1;
            let t = &model.templates[w.template];
            (t.request_cpu.raw(), t.request_memory.raw() >> 20, t.sidecars, t.containers)
        };
        let shape = (of("front"), of("coredns").2);
        let out = ModelStudy::new(std::sync::Arc::clone(&model)).run(0, false);
        (shape, value(&out, "latency_seconds_mean"))
    };
    let (plain, fast) = seen("");
    assert_eq!(plain, ((200, 64, 0, 1), 0));
    let (before, slow) = seen("  mesh: {latencyPerHop: 2ms, cpuPerRequest: 0s}");
    assert_eq!(before, ((300, 192, 1, 1), 0), "no sidecar in kube-system");
    // A request passes the proxy before front, and two for each of its two calls.
    assert!((slow - fast - 0.010).abs() < 1e-4, "{fast} {slow}");
    let (together, _) = seen("  mesh: {start: together, cpu: 50m, memory: 2Gi}");
    assert_eq!(together, ((250, 64 + 2048, 0, 2), 0));
    let (elsewhere, _) = seen("  mesh: {namespaces: [shop]}");
    assert_eq!(elsewhere, plain);
    let no = |mesh: &str| {
        let spec = format!("  duration: 5m\n  mesh: {{{mesh}}}\n");
        refused("mesh", &app("web", 1, "1", ""), &spec)
    };
    assert!(no("start: first").contains("test:9:17: error[E0304]: `spec.mesh.start`"));
    assert!(no("cpu: 2, cpuLimit: 1").contains("mesh.cpuLimit"));
    assert!(no("namespaces: ['*']").contains("mesh.namespaces[0]"));
}

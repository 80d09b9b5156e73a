//! The exact mode: single requests through the whole engine, and the fluid mode against it.

use crate::load::model;
use eks_sim::engine::Sim;
use eks_sim::observe::metrics::columns;
use eks_sim::observe::outcome::Outcome;
use eks_sim::study::{Replicate, run::ModelStudy};
use eks_sim::world::Model;
use std::sync::Arc;

fn value(outcome: &Outcome, name: &str) -> f64 {
    let at = columns().iter().position(|c| c.name() == name).expect("a column of this name");
    outcome.values[at]
}

fn run(model: &Arc<Model>) -> Outcome {
    ModelStudy::new(Arc::clone(model)).run(0, false)
}

#[test]
fn smoke() {
    let spec = "  duration: 1h
  warmup: 10m
  load: {mode: exact}
  traffic:
  - to: Service/web
    rate: {constant: 90/s}
    perRequest: {cpu: 100ms, latencyFloor: 0s}
    timeout: 1h
    discipline: fifo
";
    let model = model("exact-smoke", &crate::load::app("web", 10, "1", ""), spec);
    let out = run(&model);
    for name in ["latency_seconds_mean", "latency_seconds_p99", "served_ratio", "requests_offered"] {
        println!("{name} {}", value(&out, name));
    }
    let mut sim = Sim::new(Arc::clone(&model), 0);
    let begin = std::time::Instant::now();
    sim.run(&mut ());
    println!("{} events in {:?}", sim.events(), begin.elapsed());
    let web = model.services.iter().find(|(_, s)| s.name == "web").expect("a Service").0;
    let load = &sim.world().machines.load[web];
    println!("{:?}", load.totals);
    let w = load.requests.as_ref().unwrap();
    assert_eq!(w.present_nanos, w.stayed_nanos);
}

//! Runs one replication and prints its values.
#![allow(clippy::disallowed_methods)]
use eks_sim::observe::metrics::columns;
use eks_sim::study::{Replicate, run::ModelStudy};
use std::path::Path;
use std::sync::Arc;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let loaded = if args[1].ends_with("scenario.yaml") {
        eks_sim::spec::load(Path::new(&args[1]), &[])
    } else {
        eks_sim::spec::load_manifests_only(
            Path::new("."),
            &args[1..2],
            &[("duration".into(), "2h".into())],
        )
    };
    let loaded = match loaded {
        Ok(l) => l,
        Err(d) => {
            println!("{}", d.render());
            return;
        }
    };
    println!("{}", loaded.warnings.render());
    let (model, errors) =
        eks_sim::world::lower::build(&loaded.scenario, &loaded.manifests, &loaded.base);
    println!("{errors:?}");
    let Some(model) = model else { return };
    let study = ModelStudy::new(Arc::new(model));
    let t = std::time::Instant::now();
    let out = study.run(0, true);
    println!("{:?} {} events digest {:x}", t.elapsed(), out.events, out.digest);
    println!("{:?}", out.diagnosis);
    for (c, v) in columns().iter().zip(&out.values) {
        println!("{:30} {v}", c.name());
    }
    println!("{:#?}", out.reasons.iter().take(5).collect::<Vec<_>>());
    for c in &out.cost {
        println!("{c:?}");
    }
    let d = out.detail.unwrap();
    for p in d.pods.iter().take(60) {
        println!(
            "{} {} {} created {} bound {:?} ready {:?} {} {}",
            p.namespace,
            p.name,
            p.node,
            p.created,
            p.bound.map(|t| t.secs_f64()),
            p.ready.map(|t| t.secs_f64()),
            p.state,
            p.reason
        );
    }
    for e in d.events.iter().take(60) {
        println!("{} {} {} {} {} {}", e.at, e.component, e.kind, e.object, e.reason, e.message);
    }
}

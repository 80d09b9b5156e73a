//! One run of a trace: `trace FOLDER [HOURS]`, where the folder holds `nodes.csv`
//! (id,cpu_millicores,mem_bytes) and `pods.csv` (id,arrival_s,cpu_millicores,mem_bytes,duration_s).
//! Prints processor time of reading and of running apart, and the largest resident memory.

use eks_sim::engine::Sim;
use std::path::Path;
use std::sync::Arc;

/// Processor time of this process so far, in seconds.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().next().and_then(|n| n.parse::<f64>().ok());
    nanos.map_or(f64::NAN, |n| n / 1e9)
}

/// Largest resident memory so far, in MB.
fn peak_mb() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|l| l.starts_with("VmHWM:"));
    let kib = line.and_then(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) * 1024.0 / 1e6
}

fn main() {
    let mut args = std::env::args().skip(1);
    let folder = args.next().unwrap_or_else(|| ".".to_owned());
    let hours = args.next().unwrap_or_else(|| "24".to_owned());
    let text = format!(
        "apiVersion: eks-sim/v1\nkind: Scenario\nmetadata: {{name: trace}}\nspec:\n  \
         duration: {hours}h\n  cluster: {{addons: [], nodeGroups: []}}\n  \
         trace: {{nodes: nodes.csv, pods: pods.csv}}\n  constants:\n    scheduler.client_qps: 0\n"
    );
    let base = Path::new(&folder);
    let loaded = match eks_sim::spec::load_scenario_text("scenario.yaml", &text, base, &[]) {
        Ok(loaded) => loaded,
        Err(problems) => {
            println!("{}", problems.render());
            std::process::exit(2);
        }
    };
    let begin = cpu_seconds();
    let (model, errors) =
        eks_sim::world::lower::build(&loaded.scenario, &loaded.manifests, &loaded.base);
    let Some(model) = model else {
        println!("{errors:?}");
        std::process::exit(2);
    };
    let model = Arc::new(model);
    let read = cpu_seconds();
    let pods = model.trace.as_ref().map_or(0, |t| t.pods.len());
    let mut sim = Sim::new(model.clone(), 0);
    let diagnosis = sim.run(&mut ());
    let done = cpu_seconds();
    println!(
        "{} nodes, {pods} pods: read {:.3} s, run {:.3} s, {:.0} pods/s, {:.1} events a pod, \
         peak {:.0} MB, {} pods left, digest {:x}",
        sim.world().api.nodes.len(),
        read - begin,
        done - read,
        pods as f64 / (done - read),
        sim.events() as f64 / pods.max(1) as f64,
        peak_mb(),
        sim.world().api.pods.len(),
        sim.digest(),
    );
    if let Some(diagnosis) = diagnosis {
        println!("{diagnosis:?}");
    }
}

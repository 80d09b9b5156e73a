//! Runs of a trace of nodes and pods.

use eks_sim::observe::metrics::columns;
use eks_sim::spec::load_scenario_text;
use eks_sim::study::{Replicate, run::ModelStudy};
use eks_sim::world::lower;
use std::fmt::Write as _;
use std::sync::Arc;

const SCENARIO: &str = "apiVersion: eks-sim/v1\nkind: Scenario\nmetadata: {name: traced}\nspec:
  duration: 2h
  trace: {nodes: nodes.csv, pods: pods.csv}
";

/// Pods created, ready and unscheduled of a run of 20 nodes and these pods.
fn run(pods: &str) -> [f64; 3] {
    let folder = tempfile::tempdir().unwrap();
    let mut nodes = "id,cpu_millicores,mem_bytes\n".to_owned();
    (0..20).for_each(|i| writeln!(nodes, "node-{i},8000,34359738368").unwrap());
    std::fs::write(folder.path().join("nodes.csv"), nodes).unwrap();
    std::fs::write(folder.path().join("pods.csv"), pods).unwrap();
    let loaded = load_scenario_text("scenario.yaml", SCENARIO, folder.path(), &[])
        .unwrap_or_else(|d| panic!("{}", d.render()));
    let (model, found) = lower::build(&loaded.scenario, &loaded.manifests, &loaded.base);
    assert!(found.is_empty(), "{found:?}");
    let study = ModelStudy::new(Arc::new(model.unwrap()));
    let outcome = study.run(0, false);
    let value = |name: &str| {
        let at = columns().iter().position(|c| c.name() == name);
        outcome.values[at.unwrap_or_else(|| panic!("no column {name}"))]
    };
    ["pods_created", "pods_ready", "pods_unscheduled"].map(value)
}

#[test]
fn add_ons_become_ready_on_nodes_of_a_trace() {
    let mut pods = "id,arrival_s,cpu_millicores,mem_bytes,duration_s\n".to_owned();
    (0..100).for_each(|i| writeln!(pods, "p{i},{}.5,500,1073741824,60.0", i * 30).unwrap());
    let [created, ready, unscheduled] = run(&pods);
    assert!(created > 140.0, "the trace's pods and two daemons on each of its nodes: {created}");
    assert_eq!([ready, unscheduled], [created, 0.0]);
}

#[test]
fn pods_that_fit_no_node_of_the_trace_stay_pending() {
    let pods = "id,arrival_s,cpu_millicores,mem_bytes,duration_s\nbig,1.0,9000,1073741824,60.0\n";
    let [created, ready, unscheduled] = run(pods);
    assert_eq!([created - ready, unscheduled], [1.0, 1.0]);
}

//! A small run end to end: loading and building the scenario, and one replication of two hours.
//!
//! `cargo bench -p benches --bench run_small`

use criterion::{Criterion, criterion_group, criterion_main};
use eks_sim::spec::load_scenario_text;
use eks_sim::study::Replicate;
use eks_sim::study::run::ModelStudy;
use std::hint::black_box;
use std::path::Path;

const DEPLOYMENTS: usize = 12;

/// A dozen Deployments with Services and traffic on the default cluster.
fn manifests() -> String {
    (0..DEPLOYMENTS)
        .map(|i| {
            format!(
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: s{i}}}\nspec:\n  replicas: 2\n  \
                 selector: {{matchLabels: {{app: s{i}}}}}\n  template:\n    metadata: {{labels: {{app: s{i}}}}}\n    \
                 spec:\n      containers:\n        - name: main\n          image: shop/s{i}:v1\n          \
                 resources: {{requests: {{cpu: 100m, memory: 128Mi}}}}\n          \
                 readinessProbe: {{periodSeconds: 5}}\n---\n\
                 apiVersion: v1\nkind: Service\nmetadata: {{name: s{i}}}\nspec: {{selector: {{app: s{i}}}}}\n---\n"
            )
        })
        .collect()
}

const SCENARIO: &str = "apiVersion: eks-sim/v1\nkind: Scenario\nmetadata: {name: small}\nspec:\n  duration: 2h\n  \
    manifests: [manifests.yaml]\n  traffic:\n    - to: Service/s0\n      rate: {constant: 50/s, burst: {cv: 0.2}}\n      \
    calls: [{to: Service/s1, perRequest: 1}, {to: Service/s2, perRequest: 0.5}]\n";

fn study(folder: &Path) -> ModelStudy {
    let loaded = load_scenario_text("small", SCENARIO, folder, &[]).expect("the scenario loads");
    let built = ModelStudy::build(&loaded, &loaded.scenario, &loaded.manifests);
    built.expect("the scenario builds").0
}

fn run_small(c: &mut Criterion) {
    let folder = std::env::temp_dir().join("eks-sim-run-small");
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    std::fs::write(folder.join("manifests.yaml"), manifests()).expect("manifests are written");
    c.bench_function("run_small/load_and_build", |b| b.iter(|| black_box(study(&folder))));
    let small = study(&folder);
    c.bench_function("run_small/replication_2h", |b| {
        let mut replication = 0;
        b.iter(|| {
            replication += 1;
            black_box(small.run(replication, false))
        });
    });
}

criterion_group!(benches, run_small);
criterion_main!(benches);

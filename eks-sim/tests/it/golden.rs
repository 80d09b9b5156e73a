//! Golden runs: every shipped scenario gives the results that are written beside it.
//!
//! `scenarios/NAME/golden.txt` holds digest and values of a few replications. A change of results is
//! accepted with `EKS_SIM_BLESS=1 cargo test -p eks-sim --test it golden`, and belongs into
//! CHANGELOG.md under "Results that changed".

use eks_sim::observe::metrics::columns;
use eks_sim::spec::{self, Loaded, Severity};
use eks_sim::study::{Replicate, round_significant, run::ModelStudy};
use eks_sim::world::lower;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A shipped scenario, with what keeps its golden run short.
struct Shipped {
    name: &'static str,
    sets: &'static [(&'static str, &'static str)],
}

const SHIPPED: &[Shipped] = &[
    Shipped { name: "webshop", sets: &[("duration", "3h")] },
    Shipped { name: "zone-outage", sets: &[("duration", "5h")] },
    Shipped { name: "etcd-quorum", sets: &[] },
    Shipped { name: "ip-exhaustion", sets: &[] },
    Shipped { name: "batch-night", sets: &[("duration", "12h")] },
    Shipped { name: "rollout", sets: &[] },
    Shipped { name: "flash-crowd", sets: &[("duration", "125m")] },
    Shipped { name: "vpa-rightsizing", sets: &[("duration", "30h")] },
    Shipped { name: "karpenter-consolidation", sets: &[] },
    Shipped { name: "spot-reclaim", sets: &[] },
    Shipped { name: "overprovisioning", sets: &[] },
    Shipped { name: "fargate-or-nodes", sets: &[] },
    Shipped { name: "node-group-update", sets: &[] },
    Shipped { name: "prefix-fragmentation", sets: &[("duration", "30m")] },
    Shipped { name: "textbook-vpc", sets: &[("duration", "2h")] },
    Shipped { name: "karpenter-vs-cluster-autoscaler", sets: &[("duration", "4h")] },
    Shipped { name: "consolidation-churn", sets: &[("duration", "4h")] },
    Shipped { name: "capacity-stockout", sets: &[("duration", "5h")] },
];
const REPLICATIONS: u32 = 2;
/// Warnings that shipped scenarios may have: scenario, code.
const WARNINGS: &[(&str, &str)] = &[
    // Its subject.
    ("ip-exhaustion", "W0504"),
    ("textbook-vpc", "W0504"),
];

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

fn load(name: &str, sets: &[(&str, &str)]) -> Loaded {
    let path = scenarios().join(name).join("scenario.yaml");
    let sets: Vec<_> = sets.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    spec::load(&path, &sets).unwrap_or_else(|out| panic!("{name}: {}", out.render()))
}

fn study(loaded: &Loaded) -> ModelStudy {
    let (model, found) = lower::build(&loaded.scenario, &loaded.manifests, &loaded.base);
    assert!(found.is_empty(), "{}: {found:?}", loaded.scenario.metadata.name);
    ModelStudy::new(Arc::new(model.expect("a model, since there are no errors")))
}

/// Digest and values of a scenario's first replications.
fn render(shipped: &Shipped) -> String {
    let study = study(&load(shipped.name, shipped.sets));
    let outcomes: Vec<_> = (0..REPLICATIONS).map(|r| study.run(r, false)).collect();
    let mut text = format!("# {} with", shipped.name);
    match shipped.sets {
        [] => text.push_str(" nothing changed"),
        sets => sets.iter().for_each(|(path, value)| write!(text, " {path}={value}").unwrap()),
    }
    text.push_str("; EKS_SIM_BLESS=1 cargo test -p eks-sim --test it golden\n");
    for o in &outcomes {
        assert_eq!(o.diagnosis, None, "{}", shipped.name);
        writeln!(
            text,
            "replication {} digest {:016x} events {}",
            o.replication, o.digest, o.events
        )
        .unwrap();
    }
    for (i, column) in columns().iter().enumerate() {
        write!(text, "{:28}", column.name()).unwrap();
        for o in &outcomes {
            write!(text, " {:>12}", round_significant(o.values[i], 6).to_string()).unwrap();
        }
        text.push('\n');
    }
    text
}

/// The lines that differ, the expected ones first.
fn difference(expected: &str, actual: &str) -> String {
    let (expected, actual): (Vec<&str>, Vec<&str>) =
        (expected.lines().collect(), actual.lines().collect());
    let mut out = String::new();
    for i in 0..expected.len().max(actual.len()) {
        let (e, a) = (expected.get(i), actual.get(i));
        if e != a {
            e.into_iter().for_each(|e| writeln!(out, "  - {e}").unwrap());
            a.into_iter().for_each(|a| writeln!(out, "  + {a}").unwrap());
        }
    }
    out
}

fn golden(name: &str) {
    let shipped = SHIPPED.iter().find(|s| s.name == name).unwrap();
    let path = scenarios().join(name).join("golden.txt");
    let actual = render(shipped);
    if std::env::var_os("EKS_SIM_BLESS").is_some() {
        std::fs::write(&path, &actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == actual,
        "the results of `{name}` changed (- expected, + now):\n{}\n\
         if that is intended, run `EKS_SIM_BLESS=1 cargo test -p eks-sim --test it golden` and \
         write a line under \"Results that changed\" in CHANGELOG.md",
        difference(&expected, &actual)
    );
}

macro_rules! goldens {
    ($($test:ident $name:literal),* $(,)?) => {
        $(#[test] fn $test() { golden($name); })*
        #[test]
        fn every_shipped_scenario_has_a_golden_test() {
            let tested = [$($name),*];
            let mut found: Vec<String> = std::fs::read_dir(scenarios())
                .unwrap()
                .map(|e| e.unwrap().path())
                .filter(|p| p.join("scenario.yaml").exists())
                .map(|p| p.file_name().unwrap().to_string_lossy().into_owned())
                .collect();
            found.sort();
            let mut named: Vec<&str> = SHIPPED.iter().map(|s| s.name).collect();
            named.sort_unstable();
            assert_eq!(found, named);
            assert!(named.iter().all(|n| tested.contains(n)));
        }
    };
}
goldens![
    webshop "webshop",
    zone_outage "zone-outage",
    etcd_quorum "etcd-quorum",
    ip_exhaustion "ip-exhaustion",
    batch_night "batch-night",
    rollout "rollout",
    flash_crowd "flash-crowd",
    vpa_rightsizing "vpa-rightsizing",
    karpenter_consolidation "karpenter-consolidation",
    spot_reclaim "spot-reclaim",
    overprovisioning "overprovisioning",
    fargate_or_nodes "fargate-or-nodes",
    node_group_update "node-group-update",
    prefix_fragmentation "prefix-fragmentation",
    textbook_vpc "textbook-vpc",
    karpenter_vs_cluster_autoscaler "karpenter-vs-cluster-autoscaler",
    consolidation_churn "consolidation-churn",
    capacity_stockout "capacity-stockout",
];

#[test]
fn shipped_scenarios_load_without_remarks_and_so_do_their_variants() {
    for shipped in SHIPPED {
        let loaded = load(shipped.name, &[]);
        for d in loaded.warnings.iter().filter(|d| d.severity != Severity::Note) {
            let listed = WARNINGS.contains(&(shipped.name, d.code));
            assert!(listed, "{}: not among the listed warnings: {}", shipped.name, d.render());
        }
        study(&loaded);
        for variant in &loaded.variants {
            let manifests = variant.manifests.as_ref().unwrap_or(&loaded.manifests);
            let (model, found) = lower::build(&variant.scenario, manifests, &loaded.base);
            assert!(found.is_empty() && model.is_some(), "{}: {found:?}", variant.name);
        }
    }
}

#[test]
fn differences_are_shown_line_by_line() {
    assert_eq!(difference("a\nb\nc\n", "a\nx\nc\nd\n"), "  - b\n  + x\n  + d\n");
}

//! The loader on public manifests, where the environment variable `EKS_SIM_REAL` names them.

use eks_sim::observe::metrics::columns;
use eks_sim::spec::{
    Diagnostics, Severity, SourceSpan, Sources, load_manifests, load_scenario_text,
};
use eks_sim::study::{Replicate, run::ModelStudy};
use eks_sim::world::lower;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) fn folder() -> Option<PathBuf> {
    let Some(root) = std::env::var_os("EKS_SIM_REAL") else {
        println!("skipped: EKS_SIM_REAL is not set");
        return None;
    };
    Some(Path::new(&root).join("manifests"))
}

fn load(path: &Path) -> (eks_sim::spec::Manifests, Diagnostics) {
    let (mut sources, mut out) = (Sources::new(), Diagnostics::new());
    let patterns = [(path.to_string_lossy().into_owned(), SourceSpan::default())];
    let manifests = load_manifests(Path::new(""), &patterns, &mut sources, &mut out);
    out.sort();
    if std::env::var_os("EKS_SIM_SHOW").is_some() {
        for d in out.iter() {
            eprintln!("{}", d.render());
        }
    }
    (manifests, out)
}

#[test]
fn every_public_folder_loads() {
    let Some(root) = folder() else { return };
    for (name, deployments, templates) in [
        ("online-boutique", 12, 0),
        ("eks-workshop-v2", 12, 0),
        ("karpenter-examples", 10, 0),
        ("kube-prometheus", 5, 0),
        ("kubernetes-examples", 10, 5),
    ] {
        let (manifests, out) = load(&root.join(name));
        let errors: Vec<String> =
            out.iter().filter(|d| d.severity == Severity::Error).map(|d| d.render()).collect();
        let files: std::collections::BTreeSet<_> = out
            .iter()
            .filter(|d| d.severity == Severity::Error)
            .map(|d| {
                assert!(d.location.line > 0 && !d.help.is_empty());
                d.location.file.clone()
            })
            .collect();
        assert_eq!(files.len(), templates, "{name}\n{}", errors.join("\n"));
        assert!(
            manifests.deployments.len() >= deployments,
            "{name}: {}",
            manifests.deployments.len()
        );
    }
}

#[test]
fn online_boutique_is_complete() {
    let Some(root) = folder() else { return };
    let (manifests, out) = load(&root.join("online-boutique/release/kubernetes-manifests.yaml"));
    assert!(!out.has_errors(), "{}", out.render());
    assert_eq!((manifests.deployments.len(), manifests.services.len()), (12, 12));
    let cpu: i64 = manifests
        .templates()
        .iter()
        .flat_map(|t| &t.spec.containers)
        .map(|c| c.resources.requests["cpu"].milli_value())
        .sum();
    assert_eq!(cpu, 1570);
}

/// Pods created and ready after 2 h of the default cluster with these manifests.
fn two_hours(pattern: &Path) -> Vec<[f64; 2]> {
    let text = format!(
        "apiVersion: eks-sim/v1\nkind: Scenario\nmetadata: {{name: real}}\nspec:\n  \
         duration: 2h\n  manifests: ['{}']\n",
        pattern.display()
    );
    let loaded = load_scenario_text("scenario.yaml", &text, Path::new("."), &[])
        .unwrap_or_else(|d| panic!("{}", d.render()));
    let (model, found) = lower::build(&loaded.scenario, &loaded.manifests, &loaded.base);
    assert!(found.is_empty(), "{found:?}");
    let study = ModelStudy::new(Arc::new(model.unwrap()));
    let at = |name: &str| columns().iter().position(|c| c.name() == name).unwrap();
    let (created, ready) = (at("pods_created"), at("pods_ready"));
    (0..5).map(|r| study.run(r, false).values).map(|v| [v[created], v[ready]]).collect()
}

#[test]
fn every_pod_of_real_applications_becomes_ready() {
    let Some(root) = folder() else { return };
    for (pattern, least) in [
        ("online-boutique/release/kubernetes-manifests.yaml", 12.0),
        ("eks-workshop-v2/manifests/base-application/**", 9.0),
    ] {
        for [created, ready] in two_hours(&root.join(pattern)) {
            assert!(created >= least, "{pattern}: {created} pods");
            assert_eq!(ready, created, "{pattern}");
        }
    }
}

//! Disruption budgets that block every drain or protect nothing.

use super::Input;
use crate::k8s::{IntOrPercent, PodDisruptionBudget};
use crate::spec::codes;
use crate::spec::diagnostic::Reporter;
use crate::spec::manifest::{Sourced, TemplateRef};

pub(super) fn check(input: &Input<'_>, reporter: &mut Reporter<'_>) {
    for pdb in &input.manifests.pdbs {
        let Some(selector) = &pdb.object.spec.selector else { continue };
        let namespace = pdb.object.metadata.namespace_or_default();
        let name = &pdb.object.metadata.name;
        let protected: Vec<_> = input
            .templates
            .iter()
            .filter(|t| {
                t.metadata.namespace_or_default() == namespace && selector.matches(t.labels)
            })
            .collect();
        if protected.is_empty() {
            let message = format!("the budget `{name}` matches no pod of namespace `{namespace}`");
            let help = "make its selector equal to the labels of the pods";
            let at = pdb.at("spec.selector");
            reporter.warning(codes::PDB_MATCHES_NOTHING, at, message, help);
            continue;
        }
        blocks(pdb, &protected, input, reporter);
    }
}

/// Fewest pods of a workload: the smallest that an HPA may choose, or its replicas.
fn fewest(template: &TemplateRef<'_>, input: &Input<'_>) -> i32 {
    let namespace = template.metadata.namespace_or_default();
    let hpa = input.manifests.hpas.iter().find(|h| {
        let target = &h.object.spec.scale_target_ref;
        h.object.metadata.namespace_or_default() == namespace
            && target.kind == template.kind
            && target.name == template.metadata.name
    });
    let replicas = template.replicas.unwrap_or(i32::MAX);
    hpa.and_then(|h| h.object.spec.min_replicas).unwrap_or(replicas)
}

fn blocks(
    pdb: &Sourced<PodDisruptionBudget>,
    protected: &[&TemplateRef<'_>],
    input: &Input<'_>,
    reporter: &mut Reporter<'_>,
) {
    let name = &pdb.object.metadata.name;
    let pods = protected.iter().fold(0_i32, |sum, t| sum.saturating_add(fewest(t, input)));
    let spec = &pdb.object.spec;
    let (allowed, at) = match (spec.max_unavailable, spec.min_available) {
        (Some(max), _) => (max.of_rounded_up(pods), "spec.maxUnavailable"),
        (None, Some(min)) => (pods.saturating_sub(min.of_rounded_up(pods)), "spec.minAvailable"),
        (None, None) => return,
    };
    if allowed > 0 || pods == i32::MAX {
        return;
    }
    let never =
        matches!(spec.max_unavailable, Some(IntOrPercent::Int(0) | IntOrPercent::Percent(0)));
    let one = match protected {
        [only] if pods == 1 && !never => Some(only),
        _ => None,
    };
    if let Some(only) = one {
        let message = format!(
            "{}/{} has one replica and the budget `{name}` keeps it: its node can never be drained",
            only.kind, only.metadata.name
        );
        let help = "run two replicas, or write `maxUnavailable: 1`";
        return reporter.warning(codes::SINGLE_REPLICA_BUDGET, pdb.at(at), message, help);
    }
    let message =
        format!("the budget `{name}` allows no eviction of its {pods} pods: it blocks every drain");
    reporter.warning(codes::PDB_BLOCKS_DRAINS, pdb.at(at), message, "write `maxUnavailable: 1`");
}

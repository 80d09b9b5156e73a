//! Known mistakes that are allowed but seldom meant; all are warnings.

mod budgets;
mod network;
mod placement;
mod scaling;
mod services;

use super::diagnostic::Reporter;
use super::manifest::{Manifests, TemplateRef};
use super::node::Node;
use super::scenario::{ClusterSpec, NodeGroupSpec, Scenario};
use super::selection;
use crate::catalog::{Defaults, InstanceType, Region};

/// What the lints look at.
struct Input<'a> {
    scenario: &'a Scenario,
    manifests: &'a Manifests,
    tree: &'a Node<'a>,
    templates: Vec<TemplateRef<'a>>,
}

/// The types that a node group may have.
fn types_of(group: &NodeGroupSpec, cluster: &ClusterSpec) -> Vec<&'static InstanceType> {
    let region = cluster.region.parse().unwrap_or(Region::US_EAST_1);
    let types = selection::types_of(group, region, &Defaults::standard());
    types.into_iter().map(|(t, _)| t).collect()
}

/// Runs every lint.
pub fn check(
    scenario: &Scenario,
    manifests: &Manifests,
    tree: &Node<'_>,
    reporter: &mut Reporter<'_>,
) {
    let input = Input { scenario, manifests, tree, templates: manifests.templates() };
    scaling::check(&input, reporter);
    budgets::check(&input, reporter);
    services::check(&input, reporter);
    placement::check(&input, reporter);
    network::check(&input, reporter);
}

impl<'a> Input<'a> {
    fn workload(&self, namespace: &str, kind: &str, name: &str) -> Option<&TemplateRef<'a>> {
        let kind = if kind == "ReplicationController" { "ReplicaSet" } else { kind };
        self.templates.iter().find(|t| {
            t.kind == kind
                && t.metadata.name == name
                && t.metadata.namespace_or_default() == namespace
        })
    }
}

#[cfg(test)]
mod tests;

//! What EKS Auto Mode brings along: its built-in NodePools.

use super::super::Errors;
use super::Place;
use crate::k8s::{self, NodePool};
use crate::policy::karpenter::requirements::CAPACITY_TYPE;
use crate::world::model::Model;

/// The two NodePools that Auto Mode comes with.
pub(super) fn built_in(
    name: &str,
    model: &Model,
    errors: &mut Errors,
) -> Option<(NodePool, Place)> {
    let (arch, taint) = match name {
        "general-purpose" => (vec!["amd64"], false),
        "system" => (vec!["amd64", "arm64"], true),
        _ => {
            errors.error(
                "cluster.autoscaler.autoMode.nodePools",
                format!("`{name}` is not a built-in NodePool"),
                "use general-purpose and system",
            );
            return None;
        }
    };
    let d = &model.defaults;
    let list = |key: &str, operator: &str, values: &[&str]| k8s::NodeRequirement {
        key: key.to_owned(),
        operator: operator.to_owned(),
        values: values.iter().map(|&v| v.to_owned()).collect(),
        min_values: None,
    };
    let least = (d.i64("auto_mode.min_generation") - 1).to_string();
    let mut pool = NodePool::default();
    pool.metadata.name = name.to_owned();
    let spec = &mut pool.spec.template.spec;
    spec.requirements = vec![
        list(CAPACITY_TYPE, "In", &["on-demand"]),
        list("eks.amazonaws.com/instance-category", "In", &["c", "m", "r"]),
        list("eks.amazonaws.com/instance-generation", "Gt", &[&least]),
        list("kubernetes.io/arch", "In", &arch),
    ];
    spec.node_class_ref.group = "eks.amazonaws.com".to_owned();
    spec.node_class_ref.kind = "NodeClass".to_owned();
    spec.node_class_ref.name = "default".to_owned();
    spec.expire_after = Some(d.span("auto_mode.expire_after").to_string());
    let grace = d.span("auto_mode.termination_grace_period");
    spec.termination_grace_period = Some(grace.to_string());
    if taint {
        spec.taints.push(k8s::Taint {
            key: "CriticalAddonsOnly".to_owned(),
            effect: "NoSchedule".to_owned(),
            ..k8s::Taint::default()
        });
    }
    pool.spec.disruption = Some(k8s::Disruption {
        consolidate_after: Some(d.span("auto_mode.consolidate_after").to_string()),
        budgets: vec![k8s::Budget { nodes: "10%".to_owned(), ..k8s::Budget::default() }],
        ..k8s::Disruption::default()
    });
    let path = format!("cluster.autoscaler.autoMode.nodePools: {name}");
    Some((pool, Place { path, ..Place::default() }))
}

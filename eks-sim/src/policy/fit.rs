//! Whether a pod's selector, affinity and tolerations suit a node, on plain objects. The
//! scheduler has its own interned form; this one serves the DaemonSet controller and checks.
//!
//! Upstream: kubernetes v1.34, `component-helpers/scheduling/corev1`.

use crate::k8s::{
    Node, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, StringMap, Taint, Toleration,
};

/// Whether one of the pod's tolerations covers the taint.
#[must_use]
pub fn tolerates(pod: &PodSpec, taint: &Taint) -> bool {
    pod.tolerations.iter().any(|t| toleration_covers(t, taint))
}

/// Whether the toleration covers the taint.
#[must_use]
pub fn toleration_covers(toleration: &Toleration, taint: &Taint) -> bool {
    (toleration.effect.is_empty() || toleration.effect == taint.effect)
        && (toleration.key.is_empty() || toleration.key == taint.key)
        && match toleration.operator.as_str() {
            "Exists" => true,
            "" | "Equal" => toleration.value == taint.value,
            _ => false,
        }
}

/// Whether `nodeName`, `nodeSelector` and required node affinity allow the node.
#[must_use]
pub fn matches_node(pod: &PodSpec, node: &Node) -> bool {
    let labels = &node.metadata.labels;
    if pod.node_name.as_ref().is_some_and(|n| !n.is_empty() && *n != node.metadata.name) {
        return false;
    }
    if !pod.node_selector.iter().all(|(k, v)| labels.get(k) == Some(v)) {
        return false;
    }
    let required = pod
        .affinity
        .as_ref()
        .and_then(|a| a.node_affinity.as_ref())
        .and_then(|n| n.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_none_or(|selector| {
        selector
            .node_selector_terms
            .iter()
            .any(|term| term_matches(term, labels, &node.metadata.name))
    })
}

/// Whether a term matches; one with neither expressions nor fields matches nothing.
#[must_use]
pub fn term_matches(term: &NodeSelectorTerm, labels: &StringMap, name: &str) -> bool {
    if term.match_expressions.is_empty() && term.match_fields.is_empty() {
        return false;
    }
    term.match_expressions.iter().all(|e| expression_matches(e, labels.get(&e.key)))
        && term.match_fields.iter().all(|f| {
            f.key == "metadata.name" && {
                let hit = f.values.iter().any(|v| v == name);
                match f.operator.as_str() {
                    "In" => hit,
                    "NotIn" => !hit,
                    _ => false,
                }
            }
        })
}

fn expression_matches(e: &NodeSelectorRequirement, value: Option<&String>) -> bool {
    let numbers = || {
        let have: i64 = value?.parse().ok()?;
        let [bound] = e.values.as_slice() else { return None };
        Some((have, bound.parse::<i64>().ok()?))
    };
    match e.operator.as_str() {
        "In" => value.is_some_and(|v| e.values.contains(v)),
        "NotIn" => value.is_none_or(|v| !e.values.contains(v)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(have, bound)| have > bound),
        "Lt" => numbers().is_some_and(|(have, bound)| have < bound),
        _ => false,
    }
}

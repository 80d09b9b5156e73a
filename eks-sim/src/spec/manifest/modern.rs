//! Old shapes of kinds into today's, on the tree.

use crate::spec::node::{Entry, Node, Value};
use std::borrow::Cow;

/// Turns old shapes of a kind into today's.
pub(super) fn modernise(node: &mut Node<'_>, kind: &str, version: &str) {
    if !matches!(kind, "Pod" | "Node" | "PersistentVolumeClaim" | "PersistentVolume")
        && let Value::Map(entries) = &mut node.value
    {
        entries.retain(|e| e.key != "status");
    }
    match (kind, version) {
        ("ReplicationController", _) => wrap_selector(node),
        ("HorizontalPodAutoscaler", "v2beta1") => old_hpa_metrics(node),
        ("NodePool", "v1beta1") => move_expiry(node),
        _ => {}
    }
}

fn child<'a, 's>(node: &'a mut Node<'s>, key: &str) -> Option<&'a mut Node<'s>> {
    match &mut node.value {
        Value::Map(entries) => entries.iter_mut().find(|e| e.key == key).map(|e| &mut e.value),
        _ => None,
    }
}

fn set<'s>(node: &mut Node<'s>, key: &'static str, value: Node<'s>) {
    if let Value::Map(entries) = &mut node.value {
        entries.push(Entry { key: Cow::Borrowed(key), key_span: value.span, value });
    }
}

/// A ReplicationController's selector is a plain mapping.
fn wrap_selector(node: &mut Node<'_>) {
    let Some(selector) = child(node, "spec").and_then(|s| child(s, "selector")) else { return };
    if selector.get("matchLabels").is_none() && matches!(selector.value, Value::Map(_)) {
        let span = selector.span;
        let inner = core::mem::replace(selector, Node { span, value: Value::Map(Vec::new()) });
        set(selector, "matchLabels", inner);
    }
}

/// autoscaling/v2beta1 has `targetAverageUtilization` beside the name.
fn old_hpa_metrics(node: &mut Node<'_>) {
    let Some(metrics) = child(node, "spec").and_then(|s| child(s, "metrics")) else { return };
    let Value::Seq(items) = &mut metrics.value else { return };
    for resource in items.iter_mut().filter_map(|m| child(m, "resource")) {
        let span = resource.span;
        for (old, field, word) in [
            ("targetAverageUtilization", "averageUtilization", "Utilization"),
            ("targetAverageValue", "averageValue", "AverageValue"),
        ] {
            let Some(value) = resource.get(old).cloned() else { continue };
            let mut target = Node { span, value: Value::Map(Vec::new()) };
            set(&mut target, "type", Node { span, value: Value::Str(Cow::Borrowed(word)) });
            set(&mut target, field, value);
            set(resource, "target", target);
        }
    }
}

/// karpenter.sh/v1beta1 has `expireAfter` below `disruption`.
fn move_expiry(node: &mut Node<'_>) {
    let Some(expiry) = node.at("spec.disruption.expireAfter").cloned() else { return };
    let spec =
        child(node, "spec").and_then(|s| child(s, "template")).and_then(|t| child(t, "spec"));
    if let Some(spec) = spec {
        set(spec, "expireAfter", expiry);
    }
}

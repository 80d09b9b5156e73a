//! Placeholders, Helm hooks, kustomizations and their patches: what is not a finished manifest.

use crate::spec::node::{Node, Value};
use crate::spec::source::SourceSpan;

/// Keys below which `${…}` is a shell's or program's business.
const PROGRAM_TEXT: &[&str] = &[
    "command",
    "args",
    "env",
    "exec",
    "data",
    "stringData",
    "annotations",
    "lifecycle",
    "userData",
];

/// The first `${NAME}` (or `{{ … }}`) that a render step should have replaced, and how many.
pub(super) fn placeholders(node: &Node<'_>) -> Option<(SourceSpan, String, usize)> {
    let mut found: Option<(SourceSpan, String, usize)> = None;
    look(node, &mut |text, span| {
        let Some(name) = placeholder_in(text) else { return };
        match &mut found {
            Some((_, _, count)) => *count += 1,
            None => found = Some((span, name, 1)),
        }
    });
    found
}

fn look(node: &Node<'_>, visit: &mut impl FnMut(&str, SourceSpan)) {
    match &node.value {
        Value::Str(text) => visit(text, node.span),
        Value::Seq(items) => items.iter().for_each(|i| look(i, visit)),
        Value::Map(entries) => {
            for entry in entries.iter().filter(|e| !PROGRAM_TEXT.contains(&&*e.key)) {
                visit(&entry.key, entry.key_span);
                look(&entry.value, visit);
            }
        }
        _ => {}
    }
}

fn placeholder_in(text: &str) -> Option<String> {
    if !text.as_bytes().contains(&b'{') {
        return None;
    }
    for (open, close) in [("${", "}"), ("{{", "}}")] {
        let Some(start) = text.find(open) else { continue };
        let rest = text.get(start..)?;
        let Some(end) = rest.find(close) else { continue };
        return rest.get(..end + close.len()).map(str::to_owned);
    }
    None
}

/// Whether a document is a patch of a kustomization: part of an object.
pub(super) fn is_patch(node: &Node<'_>, kind: &str, selector_optional: bool) -> bool {
    if node.entries().iter().any(|e| e.key.starts_with("$patch")) {
        return true;
    }
    let template = match kind {
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "ReplicationController" => {
            "spec.template.spec"
        }
        "Pod" => "spec",
        "Job" => "spec.template.spec",
        "CronJob" => "spec.jobTemplate.spec.template.spec",
        "HorizontalPodAutoscaler" => return node.at("spec.scaleTargetRef").is_none(),
        _ => return false,
    };
    let with_selector = matches!(kind, "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet");
    let containers = node.at(template).and_then(|s| s.get("containers"));
    if with_selector && containers.is_some_and(|c| !c.items().is_empty()) {
        // A whole object that merely lacks an image is a mistake, not a patch.
        let selected = selector_optional || node.at("spec.selector").is_some();
        if selected && node.at("spec.template.metadata.labels").is_some() {
            return false;
        }
    }
    containers.is_none_or(|c| c.items().iter().all(|i| i.get("image").is_none()))
}

/// Whether a document is a list of JSON patch operations.
pub(super) fn is_json_patch(node: &Node<'_>) -> bool {
    let items = node.items();
    !items.is_empty() && items.iter().all(|i| i.get("op").is_some() && i.get("path").is_some())
}

/// Whether the object is a Helm test.
pub(super) fn is_helm_test(node: &Node<'_>) -> bool {
    let hook = node.at("metadata.annotations").and_then(|a| a.get("helm.sh/hook"));
    hook.and_then(Node::text).is_some_and(|h| h.split(',').any(|h| h.trim().starts_with("test")))
}

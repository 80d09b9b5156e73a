//! References between objects that lead nowhere.

use super::{Manifests, TemplateRef};
use crate::k8s::ObjectReference;
use crate::spec::codes;
use crate::spec::diagnostic::Reporter;
use crate::spec::source::SourceSpan;
use crate::spec::suggest;
use std::collections::BTreeSet;

/// Classes that every cluster has.
const BUILT_IN_CLASSES: [&str; 2] = ["system-node-critical", "system-cluster-critical"];

/// Kinds whose scale an autoscaler changes.
const SCALABLE: [&str; 5] =
    ["Deployment", "ReplicaSet", "StatefulSet", "ReplicationController", "DaemonSet"];

pub(super) fn check(manifests: &Manifests, reporter: &mut Reporter<'_>) {
    let templates = manifests.templates();
    for hpa in &manifests.hpas {
        let namespace = hpa.object.metadata.namespace_or_default();
        let name = &hpa.object.metadata.name;
        let at = hpa.at("spec.scaleTargetRef");
        target(
            &templates,
            namespace,
            &hpa.object.spec.scale_target_ref,
            ("HPA", name),
            at,
            reporter,
        );
    }
    for vpa in &manifests.vpas {
        let namespace = vpa.object.metadata.namespace_or_default();
        let at = vpa.at("spec.targetRef");
        if let Some(reference) = &vpa.object.spec.target_ref {
            target(
                &templates,
                namespace,
                reference,
                ("VPA", &vpa.object.metadata.name),
                at,
                reporter,
            );
        }
    }
    let claims: BTreeSet<(&str, &str)> = manifests
        .pvcs
        .iter()
        .map(|p| (p.object.metadata.namespace_or_default(), &*p.object.metadata.name))
        .collect();
    let classes: BTreeSet<&str> =
        manifests.priority_classes.iter().map(|c| &*c.object.metadata.name).collect();
    for template in &templates {
        volumes(template, &claims, reporter);
        if let Some(class) = &template.spec.priority_class_name
            && !class.is_empty()
            && !classes.contains(&**class)
            && !BUILT_IN_CLASSES.contains(&&**class)
        {
            let message = format!("no PriorityClass `{class}` among the manifests");
            let help = match suggest::nearest(class, classes.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "add it to the manifests; until then the priority is 0".to_owned(),
            };
            let at = template.at("spec.template.spec.priorityClassName");
            reporter.warning(codes::DANGLING_REFERENCE, at, message, help);
        }
    }
}

fn target(
    templates: &[TemplateRef<'_>],
    namespace: &str,
    reference: &ObjectReference,
    scaler: (&str, &str),
    at: SourceSpan,
    reporter: &mut Reporter<'_>,
) {
    let (kind, name) = (&*reference.kind, &*reference.name);
    if !SCALABLE.contains(&kind) {
        return;
    }
    // ReplicationControllers are read as ReplicaSets.
    let kind = if kind == "ReplicationController" { "ReplicaSet" } else { kind };
    let same =
        |t: &&TemplateRef<'_>| t.kind == kind && t.metadata.namespace_or_default() == namespace;
    if templates.iter().filter(same).any(|t| t.metadata.name == name) {
        return;
    }
    let elsewhere =
        templates.iter().find(|t| t.kind == kind && t.metadata.name == name).map(|t| t.metadata);
    let names = templates.iter().filter(same).map(|t| &*t.metadata.name);
    let help = match (elsewhere, suggest::nearest(name, names)) {
        (Some(meta), _) => {
            format!("it is in the namespace `{}`; put both into one", meta.namespace_or_default())
        }
        (None, Some(near)) => format!("did you mean `{near}`?"),
        (None, None) => format!("add the {} to the manifests", reference.kind),
    };
    let message = format!(
        "the {} `{}` scales {} `{name}`, which is not in namespace `{namespace}`",
        scaler.0, scaler.1, reference.kind
    );
    reporter.warning(codes::DANGLING_REFERENCE, at, message, help);
}

fn volumes(
    template: &TemplateRef<'_>,
    claims: &BTreeSet<(&str, &str)>,
    reporter: &mut Reporter<'_>,
) {
    let namespace = template.metadata.namespace_or_default();
    for volume in &template.spec.volumes {
        let Some(source) = &volume.persistent_volume_claim else { continue };
        let name = &*source.claim_name;
        if claims.contains(&(namespace, name)) {
            continue;
        }
        let message = format!(
            "{}/{} mounts the claim `{name}`, which is not in namespace `{namespace}`",
            template.kind, template.metadata.name
        );
        let near = claims.iter().filter(|c| c.0 == namespace).map(|c| c.1);
        let help = match suggest::nearest(name, near) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "add the PersistentVolumeClaim to the manifests; until then the pods wait"
                .to_owned(),
        };
        let at = template.at("spec.template.spec.volumes");
        reporter.warning(codes::DANGLING_REFERENCE, at, message, help);
    }
}

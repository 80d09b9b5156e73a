//! What admission will say of a template's pods: LimitRange, PriorityClass and Pod Security do not
//! change during a run, so their answer is worked out once; quotas are listed by number.

use super::policies::Policies;
use crate::k8s::{LimitRangeItem, PodSpec};
use crate::policy::workloads::{PodSecurityLevel, pod_security_refusal, validate_limit_range};
use crate::spec::Manifests;
use crate::world::model::{Model, QuotaModel};

const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

/// ResourceQuotas of the manifests.
pub(super) fn quotas(manifests: &Manifests, model: &mut Model) {
    for quota in &manifests.resource_quotas {
        let meta = &quota.object.metadata;
        model.quotas.push(QuotaModel {
            namespace: meta.namespace_or_default().to_owned(),
            name: meta.name.clone(),
            hard: quota.object.spec.hard.clone(),
            scopes: quota.object.spec.scopes.clone(),
        });
    }
}

/// Numbers of the quotas of a namespace, in the order of their names, as upstream checks them.
pub(super) fn quotas_of(namespace: &str, model: &Model) -> Vec<u32> {
    let in_namespace = |q: &(usize, &QuotaModel)| q.1.namespace == namespace;
    let mut found: Vec<(usize, &QuotaModel)> =
        model.quotas.iter().enumerate().filter(in_namespace).collect();
    found.sort_by(|a, b| a.1.name.cmp(&b.1.name));
    found.into_iter().map(|(i, _)| i as u32).collect()
}

/// Items of the LimitRanges of a namespace.
pub(super) fn limit_items(namespace: &str, manifests: &Manifests) -> Vec<LimitRangeItem> {
    manifests
        .limit_ranges
        .iter()
        .filter(|l| l.object.metadata.namespace_or_default() == namespace)
        .flat_map(|l| l.object.spec.limits.iter().cloned())
        .collect()
}

/// Why pods with this spec are refused, in the words of the plug-in that comes first: Priority,
/// LimitRanger, PodSecurity (`pkg/kubeapiserver/options/plugins.go`).
pub(super) fn refusal(spec: &PodSpec, namespace: &str, manifests: &Manifests) -> Option<String> {
    if let Some(class) = spec.priority_class_name.as_deref().filter(|c| !c.is_empty()) {
        let system = matches!(class, "system-cluster-critical" | "system-node-critical");
        let known = manifests.priority_classes.iter().any(|c| c.object.metadata.name == class);
        if !system && !known {
            return Some(format!("no PriorityClass with name {class} was found"));
        }
    }
    let broken = validate_limit_range(spec, &limit_items(namespace, manifests));
    match broken.as_slice() {
        [] => {}
        [one] => return Some(one.to_string()),
        several => {
            let texts: Vec<String> = several.iter().map(ToString::to_string).collect();
            return Some(format!("[{}]", texts.join(", ")));
        }
    }
    let labels = &manifests
        .namespaces
        .iter()
        .find(|n| n.object.metadata.name == namespace)?
        .object
        .metadata
        .labels;
    let level = PodSecurityLevel::from_label(labels.get(ENFORCE)?);
    let version = labels.get(&format!("{ENFORCE}-version")).map_or("latest", String::as_str);
    pod_security_refusal(level, version, spec)
}

/// ValidatingAdmissionPolicies refuse pods whom nothing before them refused: they stand behind the
/// built-in plug-ins and before ResourceQuota.
pub(super) fn ask_policies(policies: &Policies, manifests: &Manifests, model: &mut Model) {
    for id in model.templates.ids() {
        let template = &model.templates[id];
        if template.refusal.is_none() {
            let why = policies.pod_refusal(&template.object, &template.namespace, manifests);
            model.templates[id].refusal = why;
        }
    }
}

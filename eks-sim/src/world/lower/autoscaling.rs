//! HorizontalPodAutoscalers and VerticalPodAutoscalers.

use super::Errors;
use crate::k8s::{LabelSelector, ObjectReference};
use crate::policy::hpa::HpaSpec;
use crate::policy::vpa::{Boundaries, UpdateMode, policy_for};
use crate::spec::Manifests;
use crate::units::Id;
use crate::units::key::key_str;
use crate::world::model::{HpaModel, Model, VpaContainer, VpaModel, WorkloadKind, WorkloadModel};

/// The workload that a reference names.
fn target(to: &ObjectReference, namespace: &str, model: &Model) -> Option<Id<WorkloadModel>> {
    let named = |w: &WorkloadModel| {
        w.namespace == namespace && w.name == to.name && w.kind.name() == to.kind
    };
    model.workloads.iter().find(|(_, w)| named(w)).map(|(id, _)| id)
}

/// The same, if its number of pods can be scaled.
pub(super) fn scalable(
    to: &ObjectReference,
    namespace: &str,
    model: &Model,
) -> Option<Id<WorkloadModel>> {
    let kinds = ["Deployment", "ReplicaSet", "StatefulSet"];
    target(to, namespace, model).filter(|&id| kinds.contains(&model.workloads[id].kind.name()))
}

pub(super) fn hpas(manifests: &Manifests, model: &mut Model, errors: &mut Errors) {
    for hpa in &manifests.hpas {
        let meta = &hpa.object.metadata;
        let namespace = meta.namespace_or_default();
        let to = &hpa.object.spec.scale_target_ref;
        let Some(id) = scalable(to, namespace, model) else {
            errors.warning(
                "manifests",
                format!(
                    "HorizontalPodAutoscaler/{} scales {}/{}, which is not among the manifests",
                    meta.name, to.kind, to.name
                ),
                "add the workload, or correct scaleTargetRef; the HPA is ignored",
            );
            continue;
        };
        let mut object = hpa.object.clone();
        drop_tolerances(&mut object, model, errors);
        let bounds = match HpaSpec::lower(&object) {
            Ok(spec) => (spec.min_replicas, spec.max_replicas),
            Err(problem) => {
                errors.error(
                    "manifests",
                    format!("HorizontalPodAutoscaler/{}: {problem}", meta.name),
                    "correct the manifest",
                );
                continue;
            }
        };
        model.hpas.push(HpaModel {
            namespace: namespace.to_owned(),
            name: meta.name.clone(),
            key: key_str(&format!("HorizontalPodAutoscaler/{namespace}/{}", meta.name)),
            object,
            target: id,
            bounds,
            ambiguous: false,
        });
    }
}

/// The minor version from which on the gate HPAConfigurableTolerance is on by default
/// (`pkg/features/kube_features.go`); EKS clusters do not change gates.
const TOLERANCE_FROM: u32 = 35;

/// Before that version the API server drops tolerances of single HPAs.
fn drop_tolerances(
    hpa: &mut crate::k8s::HorizontalPodAutoscaler,
    model: &Model,
    errors: &mut Errors,
) {
    let Some(behavior) =
        hpa.spec.behavior.as_mut().filter(|_| model.minor_version < TOLERANCE_FROM)
    else {
        return;
    };
    let rules = [&mut behavior.scale_up, &mut behavior.scale_down];
    let dropped = rules.into_iter().flatten().filter_map(|r| r.tolerance.take()).count();
    if dropped > 0 {
        errors.warning(
            "manifests",
            format!(
                "HorizontalPodAutoscaler/{}: `tolerance` has no effect before Kubernetes 1.35",
                hpa.metadata.name
            ),
            "set `cluster.version: \"1.35\"` or later, or remove it; 0.1 counts",
        );
    }
}

/// Two HPAs that select the same pods both stop (`AmbiguousSelector`).
pub(super) fn ambiguous(model: &mut Model) {
    let selected = |by: &HpaModel, of: &HpaModel| {
        let labels = &model.templates[model.workloads[of.target].template].object.metadata.labels;
        by.namespace == of.namespace
            && (by.target == of.target
                || selector(by.target, model).is_some_and(|s| s.matches(labels)))
    };
    let clash = |a: &HpaModel, b: &HpaModel| selected(a, b) || selected(b, a);
    let all: Vec<Id<HpaModel>> = model.hpas.ids().collect();
    let ambiguous: Vec<Id<HpaModel>> = all
        .iter()
        .copied()
        .filter(|&a| all.iter().any(|&b| a != b && clash(&model.hpas[a], &model.hpas[b])))
        .collect();
    for id in ambiguous {
        model.hpas[id].ambiguous = true;
    }
}

fn selector(workload: Id<WorkloadModel>, model: &Model) -> Option<&LabelSelector> {
    match &model.workloads[workload].kind {
        WorkloadKind::Deployment(spec) => spec.selector.as_ref(),
        WorkloadKind::ReplicaSet(spec) => spec.selector.as_ref(),
        WorkloadKind::StatefulSet(spec) => spec.selector.as_ref(),
        _ => None,
    }
}

pub(super) fn vpas(manifests: &Manifests, model: &mut Model, errors: &mut Errors) {
    for vpa in &manifests.vpas {
        let meta = &vpa.object.metadata;
        let namespace = meta.namespace_or_default();
        let spec = &vpa.object.spec;
        let Some(to) = &spec.target_ref else { continue };
        let Some(id) = target(to, namespace, model) else {
            errors.warning(
                "manifests",
                format!(
                    "VerticalPodAutoscaler/{} sizes {}/{}, which is not among the manifests",
                    meta.name, to.kind, to.name
                ),
                "add the workload, or correct targetRef; the VPA is ignored",
            );
            continue;
        };
        let mode = spec.update_policy.as_ref().and_then(|p| p.update_mode.as_deref());
        let mode = UpdateMode::lower(mode).filter(|_| model.workloads[id].vpa.is_none());
        let Some(mode) = mode else {
            errors.error(
                "manifests",
                format!(
                    "VerticalPodAutoscaler/{}: its updateMode is unknown, or another VPA has the \
                     same target",
                    meta.name
                ),
                "use Off, Initial, Recreate, InPlaceOrRecreate or InPlace, and one VPA a workload",
            );
            continue;
        };
        if mode == UpdateMode::InPlace && model.minor_version < 33 {
            errors.warning(
                "manifests",
                format!(
                    "VerticalPodAutoscaler/{}: clusters before 1.33 cannot resize pods in place",
                    meta.name
                ),
                "use a later version or the mode Recreate; running pods stay as they are",
            );
        }
        let names = containers(id, model);
        let policy = |name: &String| policy_for(spec.resource_policy.as_ref(), name);
        let number = model.vpas.push(VpaModel {
            namespace: namespace.to_owned(),
            name: meta.name.clone(),
            object: vpa.object.clone(),
            target: id,
            mode,
            containers: names
                .into_iter()
                .map(|name| VpaContainer { policy: policy(&name), name })
                .collect(),
            container_range: limit_range("Container", namespace, manifests),
            pod_range: limit_range("Pod", namespace, manifests),
        });
        model.workloads[id].vpa = Some(number);
    }
}

/// Names of the containers of a workload, over all its revisions.
fn containers(id: Id<WorkloadModel>, model: &Model) -> Vec<String> {
    let later = model.revisions.iter().filter(|(_, r)| r.workload == id).map(|(_, r)| r.template);
    let mut names: Vec<String> = Vec::new();
    for template in core::iter::once(model.workloads[id].template).chain(later) {
        for container in &model.templates[template].object.spec.containers {
            if !names.contains(&container.name) {
                names.push(container.name.clone());
            }
        }
    }
    names
}

/// The strictest bounds of a namespace's LimitRanges of a type.
fn limit_range(kind: &str, namespace: &str, manifests: &Manifests) -> Option<Boundaries> {
    let items = super::admission::limit_items(namespace, manifests);
    let of_kind = items.iter().filter(|i| i.kind == kind).map(Boundaries::lower);
    of_kind.reduce(|a, b| Boundaries {
        min: either(a.min, b.min, i64::max),
        max: either(a.max, b.max, i64::min),
        default: either(a.default, b.default, i64::min),
    })
}

fn either(
    a: crate::policy::vpa::Amounts,
    b: crate::policy::vpa::Amounts,
    pick: fn(i64, i64) -> i64,
) -> crate::policy::vpa::Amounts {
    let one = |a: Option<i64>, b: Option<i64>| match (a, b) {
        (Some(a), Some(b)) => Some(pick(a, b)),
        (a, b) => a.or(b),
    };
    crate::policy::vpa::Amounts { cpu: one(a.cpu, b.cpu), memory: one(a.memory, b.memory) }
}

//! Autoscalers of pods: metrics without requests, two masters for one number.

use super::Input;
use crate::k8s::{HorizontalPodAutoscaler, ScaledObject, VerticalPodAutoscaler};
use crate::spec::codes;
use crate::spec::diagnostic::Reporter;
use crate::spec::manifest::triggers::{self, ResourceTarget, Trigger};
use crate::spec::manifest::{Sourced, TemplateRef};
use std::collections::BTreeMap;

pub(super) fn check(input: &Input<'_>, reporter: &mut Reporter<'_>) {
    let mut scaled = BTreeMap::new();
    for hpa in &input.manifests.hpas {
        let target = &hpa.object.spec.scale_target_ref;
        let namespace = hpa.object.metadata.namespace_or_default();
        let key = (namespace, target.kind.as_str(), target.name.as_str());
        if let Some(first) = scaled.insert(key, hpa.span) {
            let message =
                format!("two HPAs scale {} `{}`; they will fight", target.kind, target.name);
            let texts = (message, "merge them into one HPA with several metrics");
            reporter.warning_with(codes::TWO_SCALERS, hpa.span, texts, ("the other one", first));
        }
        let Some(workload) = input.workload(namespace, &target.kind, &target.name) else {
            continue;
        };
        without_request(hpa, workload, reporter);
        if workload.marks.iter().any(|m| m.0 == "spec.replicas") {
            let message = format!(
                "{}/{} sets `replicas` beside the HPA `{}`; every apply resets the number",
                target.kind, target.name, hpa.object.metadata.name
            );
            let at = workload.at("spec.replicas");
            reporter.warning(
                codes::REPLICAS_WITH_HPA,
                at,
                message,
                "remove `replicas` from the manifest",
            );
        }
    }
    for object in &input.manifests.scaled_objects {
        let target = &object.object.spec.scale_target_ref;
        let namespace = object.object.metadata.namespace_or_default();
        let key = (namespace, target.kind.as_str(), target.name.as_str());
        if let Some(first) = scaled.insert(key, object.span) {
            let message = format!(
                "a ScaledObject and another autoscaler scale {} `{}`; they will fight",
                target.kind, target.name
            );
            let texts = (message, "put the other one's metrics into the ScaledObject's triggers");
            let other = ("the other one", first);
            reporter.warning_with(codes::TWO_SCALERS, object.span, texts, other);
        }
    }
    for vpa in &input.manifests.vpas {
        with_hpa(vpa, input, reporter);
    }
}

/// Resources whose utilisation a ScaledObject reads.
fn triggered(object: &ScaledObject) -> impl Iterator<Item = &'static str> + '_ {
    object.spec.triggers.iter().filter_map(|t| match triggers::read(t) {
        Ok(Trigger::Resource { resource, target: ResourceTarget::Utilization(_), .. }) => {
            Some(resource)
        }
        _ => None,
    })
}

const FIGHT_HELP: &str =
    "set the VPA's `updateMode: \"Off\"`, or its `controlledResources` to the other resource";

/// Resources whose utilisation an HPA reads.
fn utilised(hpa: &HorizontalPodAutoscaler) -> Vec<(&str, Option<&str>)> {
    let metrics = hpa.spec.metrics.iter();
    metrics
        .filter_map(|m| m.resource.as_ref().or(m.container_resource.as_ref()))
        .filter(|r| r.target.average_utilization.is_some())
        .map(|r| (r.name.as_str(), r.container.as_deref()))
        .collect()
}

fn without_request(
    hpa: &Sourced<HorizontalPodAutoscaler>,
    workload: &TemplateRef<'_>,
    reporter: &mut Reporter<'_>,
) {
    for (resource, only) in utilised(&hpa.object) {
        let lacking = workload.spec.containers.iter().find(|c| {
            only.is_none_or(|name| name == c.name) && !c.resources.requests.contains_key(resource)
        });
        let Some(container) = lacking else { continue };
        let message = format!(
            "the HPA `{}` scales on {resource} utilisation, but the container `{}` of {}/{} requests no {resource}; it will never scale",
            hpa.object.metadata.name, container.name, workload.kind, workload.metadata.name
        );
        let example = if resource == "cpu" { "250m" } else { "256Mi" };
        let help =
            format!("add `resources: {{requests: {{{resource}: {example}}}}}` to that container");
        let at = hpa.at("spec.metrics");
        reporter.warning(codes::HPA_WITHOUT_REQUEST, at, message, help);
    }
}

fn with_hpa(vpa: &Sourced<VerticalPodAutoscaler>, input: &Input<'_>, reporter: &mut Reporter<'_>) {
    let spec = &vpa.object.spec;
    let Some(target) = &spec.target_ref else { return };
    let mode = spec.update_policy.as_ref().and_then(|p| p.update_mode.as_deref());
    if mode == Some("Off") {
        return;
    }
    let policies = spec.resource_policy.as_ref().map(|p| p.container_policies.as_slice());
    let controls = |resource: &str| {
        policies.unwrap_or_default().iter().all(|p| {
            p.mode.as_deref() != Some("Off")
                && p.controlled_resources.as_ref().is_none_or(|c| c.iter().any(|r| r == resource))
        })
    };
    let namespace = vpa.object.metadata.namespace_or_default();
    for object in &input.manifests.scaled_objects {
        let other = &object.object.spec.scale_target_ref;
        let same = object.object.metadata.namespace_or_default() == namespace
            && (&*other.kind, &*other.name) == (&*target.kind, &*target.name);
        let Some(resource) = triggered(&object.object).find(|r| same && controls(r)) else {
            continue;
        };
        let message = format!(
            "the VPA `{}` and the ScaledObject `{}` both act on {resource} of {} `{}`",
            vpa.object.metadata.name, object.object.metadata.name, target.kind, target.name
        );
        let other = ("the ScaledObject", object.span);
        reporter.warning_with(codes::HPA_AND_VPA, vpa.span, (message, FIGHT_HELP), other);
    }
    for hpa in &input.manifests.hpas {
        let other = &hpa.object.spec.scale_target_ref;
        let same = hpa.object.metadata.namespace_or_default() == namespace
            && (&*other.kind, &*other.name) == (&*target.kind, &*target.name);
        let Some((resource, _)) =
            utilised(&hpa.object).into_iter().find(|(r, _)| same && controls(r))
        else {
            continue;
        };
        let message = format!(
            "the VPA `{}` and the HPA `{}` both act on {resource} of {} `{}`",
            vpa.object.metadata.name, hpa.object.metadata.name, target.kind, target.name
        );
        let other = ("the HPA", hpa.span);
        reporter.warning_with(codes::HPA_AND_VPA, vpa.span, (message, FIGHT_HELP), other);
    }
}

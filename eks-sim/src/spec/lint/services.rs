//! Services without pods, workloads without requests, images without versions.

use super::Input;
use crate::spec::codes;
use crate::spec::diagnostic::Reporter;
use crate::spec::validate::{service_of, span_of};

pub(super) fn check(input: &Input<'_>, reporter: &mut Reporter<'_>) {
    for service in &input.manifests.services {
        let selector = &service.object.spec.selector;
        let namespace = service.object.metadata.namespace_or_default();
        if selector.is_empty() || service.object.spec.kind.as_deref() == Some("ExternalName") {
            continue;
        }
        let matched = input.templates.iter().any(|t| {
            t.metadata.namespace_or_default() == namespace
                && selector.iter().all(|(k, v)| t.labels.get(k) == Some(v))
        });
        if !matched && !input.templates.is_empty() {
            let name = &service.object.metadata.name;
            let message = format!(
                "the selector of the Service `{name}` matches no pod of namespace `{namespace}`"
            );
            let help = "make it equal to the labels of the pods, or add their workload";
            let at = service.at("spec.selector");
            reporter.warning(codes::SERVICE_MATCHES_NOTHING, at, message, help);
        }
    }
    traffic(input, reporter);
    workloads(input, reporter);
}

fn traffic(input: &Input<'_>, reporter: &mut Reporter<'_>) {
    for (i, traffic) in input.scenario.spec.traffic.iter().enumerate() {
        let Some((namespace, name)) = service_of(&traffic.to) else { continue };
        let found = input.manifests.services.iter().find(|s| {
            s.object.metadata.name == name
                && namespace.is_none_or(|n| s.object.metadata.namespace_or_default() == n)
        });
        let Some(service) = found else { continue };
        let selector = &service.object.spec.selector;
        let at = span_of(input.tree, &format!("spec.traffic.{i}.to"));
        if selector.is_empty() {
            let message =
                format!("the Service `{name}` has no selector, so no pod gets this traffic");
            let help = "add a selector to the Service, or send the traffic elsewhere";
            reporter.warning(codes::SERVICE_WITHOUT_SELECTOR, at, message, help);
            continue;
        }
        let home = service.object.metadata.namespace_or_default();
        for template in &input.templates {
            let behind = template.metadata.namespace_or_default() == home
                && selector.iter().all(|(k, v)| template.labels.get(k) == Some(v));
            if behind && template.spec.containers.iter().all(|c| c.readiness_probe.is_none()) {
                let message = format!(
                    "{}/{} gets traffic but has no readiness probe: its pods count as ready at once",
                    template.kind, template.metadata.name
                );
                let help = "add `readinessProbe` to its container";
                let at = template.at("spec.template.spec.containers");
                reporter.warning(codes::NO_READINESS_PROBE, at, message, help);
            }
        }
    }
}

fn workloads(input: &Input<'_>, reporter: &mut Reporter<'_>) {
    for template in &input.templates {
        let at = template.at("spec.template.spec.containers");
        let what = format!("{}/{}", template.kind, template.metadata.name);
        let containers = &template.spec.containers;
        if containers.iter().all(|c| c.resources.requests.is_empty())
            && template.spec.resources.is_none()
        {
            let message = format!("{what} requests nothing, so nodes fill up without limit");
            let help = "add `resources: {requests: {cpu: 100m, memory: 128Mi}}` to its containers";
            reporter.warning(codes::NO_REQUESTS, at, message, help);
        }
        let floating = containers
            .iter()
            .find(|c| c.image.as_deref().is_some_and(crate::spec::manifest::floating_image));
        if let Some(container) = floating {
            let image = container.image.as_deref().unwrap_or("");
            let message = format!(
                "{what} runs `{image}`, which has no fixed version and is pulled at every start"
            );
            let help = format!("write a version: `{}:1.2.3`", image.trim_end_matches(":latest"));
            reporter.warning(codes::UNPINNED_IMAGE, at, message, help);
        }
    }
}

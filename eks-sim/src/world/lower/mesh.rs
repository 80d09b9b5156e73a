//! A service mesh: its sidecar is put into pod templates, its proxies into the way of requests.

use super::Errors;
use super::pods::Owner;
use crate::k8s::{Container, PodTemplateSpec};
use crate::spec::scenario::{MeshSpec, Scenario};
use crate::units::{Id, Quantity};
use crate::world::model::{Model, ServiceModel};

/// Name of the sidecar, by which pods of the mesh are known.
const SIDECAR: &str = "istio-proxy";
const IMAGE: &str = "docker.io/istio/proxyv2:1.28.0";
/// First version in which an init container may go on running without a feature gate.
const NATIVE_SIDECARS: u32 = 29;
/// Label or annotation that keeps a pod out.
const INJECT: &str = "sidecar.istio.io/inject";

/// Checks what the scenario says of the mesh.
pub(super) fn check(scenario: &Scenario, minor_version: u32, errors: &mut Errors) {
    let Some(mesh) = &scenario.spec.mesh else { return };
    match mesh.start.as_deref() {
        None | Some("before") if minor_version < NATIVE_SIDECARS => errors.error(
            "mesh.start",
            format!("Kubernetes 1.{minor_version} has no init containers that go on running"),
            "use `start: together`, or version 1.29 or later",
        ),
        None | Some("before" | "together") => {}
        Some(other) => errors.error(
            "mesh.start",
            format!("`{other}` is no way to start a sidecar"),
            "use before or together",
        ),
    }
    for (name, request, limit) in
        [("cpuLimit", mesh.cpu, mesh.cpu_limit), ("memoryLimit", mesh.memory, mesh.memory_limit)]
    {
        if let (Some(request), Some(limit)) = (request, limit)
            && request > limit
        {
            errors.error(
                format!("mesh.{name}"),
                "the sidecar requests more than its limit".to_owned(),
                "raise the limit or lower the request",
            );
        }
    }
    for (i, namespace) in mesh.namespaces.iter().flatten().enumerate() {
        if namespace.is_empty() || namespace.contains(['*', '/', ' ']) {
            errors.error(
                format!("mesh.namespaces[{i}]"),
                format!("`{namespace}` is no name of a namespace"),
                "write names; leave `namespaces` out for all but kube-system",
            );
        }
    }
}

/// Puts the sidecar into a template that the mesh covers.
pub(super) fn inject(
    object: &mut PodTemplateSpec,
    owner: &Owner<'_>,
    scenario: &Scenario,
    model: &Model,
) {
    let Some(mesh) = &scenario.spec.mesh else { return };
    if !covers(mesh, object, owner) {
        return;
    }
    let before = mesh.start.as_deref() != Some("together");
    let amount = |asked: Option<Quantity>, constant: &str, other: Option<Quantity>| {
        let usual = model.defaults.quantity(constant);
        // A limit below the request, or a request above the limit, follows the one that was set.
        asked
            .or_else(|| other.filter(|o| constant.ends_with("_limit") == (*o > usual)))
            .unwrap_or(usual)
    };
    let mut sidecar = Container {
        name: SIDECAR.to_owned(),
        image: Some(mesh.image.clone().unwrap_or_else(|| IMAGE.to_owned())),
        restart_policy: before.then(|| "Always".to_owned()),
        ..Container::default()
    };
    for (resource, request, limit, constant) in [
        ("cpu", mesh.cpu, mesh.cpu_limit, "mesh.sidecar_cpu"),
        ("memory", mesh.memory, mesh.memory_limit, "mesh.sidecar_memory"),
    ] {
        let at_most = format!("{constant}_limit");
        let resources = &mut sidecar.resources;
        resources.requests.insert(resource.to_owned(), amount(request, constant, limit));
        resources.limits.insert(resource.to_owned(), amount(limit, &at_most, request));
    }
    if before {
        object.spec.init_containers.insert(0, sidecar);
    } else {
        object.spec.containers.push(sidecar);
    }
}

fn covers(mesh: &MeshSpec, object: &PodTemplateSpec, owner: &Owner<'_>) -> bool {
    let namespace = match &mesh.namespaces {
        Some(listed) => listed.iter().any(|n| n == owner.namespace),
        None => owner.namespace != "kube-system",
    };
    let meta = &object.metadata;
    let refused = [meta.labels.get(INJECT), meta.annotations.get(INJECT)];
    namespace
        && matches!(owner.kind, "Deployment" | "StatefulSet" | "ReplicaSet")
        && !object.spec.host_network
        && !refused.contains(&Some(&"false".to_owned()))
}

/// Whether the pods of a Service have the sidecar.
fn in_mesh(service: Id<ServiceModel>, model: &Model) -> bool {
    model.templates.iter().any(|(_, t)| {
        let spec = &t.object.spec;
        t.services.contains(&service)
            && spec.init_containers.iter().chain(&spec.containers).any(|c| c.name == SIDECAR)
    })
}

/// Each request passes the proxy of the pod that serves it, and each call that of its caller too.
pub(super) fn slow_down(scenario: &Scenario, model: &mut Model) {
    let Some(mesh) = &scenario.spec.mesh else { return };
    let hop = mesh
        .latency_per_hop
        .unwrap_or_else(|| model.defaults.span("mesh.latency_per_hop"))
        .secs_f64();
    let cpu = mesh
        .cpu_per_request
        .unwrap_or_else(|| model.defaults.span("mesh.cpu_per_request"))
        .secs_f64();
    for id in model.services.ids().collect::<Vec<_>>() {
        if !in_mesh(id, model) {
            continue;
        }
        let Some(traffic) = &mut model.services[id].traffic else { continue };
        let passages = 1.0 + traffic.calls.iter().map(|c| c.per_request).sum::<f64>();
        traffic.latency_floor += hop * passages;
        traffic.cpu_seconds += cpu * passages;
    }
}

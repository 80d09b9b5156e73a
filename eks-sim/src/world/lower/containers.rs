//! Which container of a pod uses what.
//!
//! A pod's idle use is divided by the containers' requests; requests to Services and growing memory
//! are those of the container that listens on the Service's target port.

use super::pods::is_sidecar;
use crate::k8s::{Container, PodSpec, ServicePort};
use crate::policy::vpa::Amounts;
use crate::units::Id;
use crate::world::model::{ContainerUse, Model, ServiceModel};

/// Containers that go on running, in the order of `uses`.
fn running(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.containers.iter().chain(spec.init_containers.iter().filter(|c| is_sidecar(c)))
}

/// Divides the pod's idle millicores and bytes among its containers.
pub(super) fn uses(spec: &PodSpec, cpu: i64, memory: i64) -> Vec<ContainerUse> {
    let count = running(spec).count().max(1) as f64;
    let of = |c: &Container, resource: &str| {
        c.resources.requests.get(resource).map_or(0.0, |q| q.milli_value().max(0) as f64)
    };
    let share = |c: &Container, resource: &str| {
        let all: f64 = running(spec).map(|c| of(c, resource)).sum();
        if all > 0.0 { of(c, resource) / all } else { 1.0 / count }
    };
    let one = |c: &Container| ContainerUse {
        name: c.name.clone(),
        idle_cpu: cpu as f64 * share(c, "cpu"),
        idle_memory: memory as f64 * share(c, "memory"),
        requests: Amounts::lower(&c.resources.requests),
        memory_limit: c.resources.limits.get("memory").map(|q| q.value()).filter(|&l| l > 0),
    };
    running(spec).map(one).collect()
}

/// The container that serves requests: the one with the target port of a Service, else the first.
pub(super) fn main(spec: &PodSpec, services: &[Id<ServiceModel>], model: &Model) -> usize {
    let ports = services.iter().filter_map(|s| model.objects.services.get(s.index()));
    let ports = || ports.clone().flat_map(|s| &s.spec.ports);
    let listens = |c: &&Container| ports().any(|p| listens(c, p));
    spec.containers.iter().position(|c| listens(&c)).unwrap_or(0)
}

fn listens(container: &Container, port: &ServicePort) -> bool {
    let number = match &port.target_port {
        Some(serde_json::Value::String(name)) => match name.parse::<i64>() {
            Ok(number) => number,
            Err(_) => {
                return container.ports.iter().any(|p| p.name.as_deref() == Some(name.as_str()));
            }
        },
        Some(serde_json::Value::Number(n)) => n.as_i64().unwrap_or(0),
        _ => port.port.into(),
    };
    container.ports.iter().any(|p| i64::from(p.container_port) == number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn idle_use_follows_the_requests_and_the_port_names_the_server() {
        let spec: PodSpec = serde_json::from_value(json!({"containers": [
            {"name": "log", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}},
            {"name": "web", "resources": {"requests": {"cpu": "300m"}},
             "ports": [{"name": "http", "containerPort": 8080}]},
        ]}))
        .unwrap();
        let uses = uses(&spec, 40, 1000);
        assert_eq!((uses[0].idle_cpu, uses[1].idle_cpu), (10.0, 30.0));
        assert_eq!((uses[0].idle_memory, uses[1].idle_memory), (1000.0, 0.0));
        for (target, hit) in
            [(json!("http"), true), (json!(8080), true), (json!("8080"), true), (json!(80), false)]
        {
            let port = ServicePort { port: 80, target_port: Some(target), ..Default::default() };
            assert_eq!(listens(&spec.containers[1], &port), hit);
        }
    }
}

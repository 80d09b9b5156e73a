//! Effective requests of a pod.
//!
//! Upstream: k8s.io/component-helpers/resource PodRequests, as the autoscaler calls it.
//! Differences: amounts are i64 thousandths for CPU and whole units for the rest.

use crate::k8s::{Container, PodSpec, ResourceList};
use crate::units::Quantity;

fn add(total: &mut ResourceList, more: &ResourceList) {
    for (name, &amount) in more {
        let sum = total.entry(name.clone()).or_insert(Quantity::from_units(0));
        *sum += amount;
    }
}

fn raise(total: &mut ResourceList, other: &ResourceList) {
    for (name, &amount) in other {
        let largest = total.entry(name.clone()).or_insert(amount);
        *largest = (*largest).max(amount);
    }
}

fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Containers and sidecars together, or the largest step of the init phase, plus overhead.
/// Pod-level requests replace the sum of the containers.
#[must_use]
pub fn pod_requests(spec: &PodSpec) -> ResourceList {
    let mut running = ResourceList::new();
    for container in &spec.containers {
        add(&mut running, &container.resources.requests);
    }
    let mut sidecars = ResourceList::new();
    let mut init = ResourceList::new();
    for container in &spec.init_containers {
        if is_sidecar(container) {
            add(&mut sidecars, &container.resources.requests);
            raise(&mut init, &sidecars);
        } else {
            let mut step = sidecars.clone();
            add(&mut step, &container.resources.requests);
            raise(&mut init, &step);
        }
    }
    add(&mut running, &sidecars);
    raise(&mut running, &init);
    if let Some(pod_level) = &spec.resources {
        for (name, &amount) in &pod_level.requests {
            running.insert(name.clone(), amount);
        }
    }
    add(&mut running, &spec.overhead);
    running
}

/// The amount of one resource in thousandths, zero if absent.
#[must_use]
pub fn milli(list: &ResourceList, name: &str) -> i64 {
    list.get(name).map_or(0, |amount| amount.milli_value())
}

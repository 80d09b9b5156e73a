//! What pods use, as metrics-server reports it: CPU as the mean over the last scrape window,
//! memory as the value at the last scrape.
//!
//! A container has a CPU metric from its second scrape on, a memory metric from its first; a pod on
//! a machine that does not work has none.

use super::machines::Usage;
use super::model::{ServiceModel, Zone};
use super::{Model, Phase, Pod, PodId, World};
use crate::units::{Id, SimTime, Span};

/// The last scrape not after `now`.
#[must_use]
pub fn last_scrape(now: SimTime, phase: Span, period: Span) -> SimTime {
    let since = now.since(SimTime::ZERO + phase);
    let whole = since.nanos() / period.nanos().max(1);
    SimTime::ZERO + phase + period * whole
}

/// Thousandths of a core over the window that ends with `scrape`.
#[must_use]
pub fn cpu(world: &World, model: &Model, id: PodId, scrape: SimTime, window: Span) -> Option<i64> {
    let pod = running(world, id)?;
    let begin = scrape - window;
    let machine = world.machines.pod(id)?;
    if machine.container_started > begin || window.is_zero() {
        return None;
    }
    let template = &model.templates[pod.template];
    let zone = zone_of(world, pod)?;
    let mut cores = 0.0;
    if machine.serving_since < scrape {
        for &service in &template.services {
            let Some(usage) = usage(world, model, pod, service, zone) else { continue };
            cores += usage.integral(scrape) - usage.integral(begin.max(machine.serving_since));
        }
        cores /= window.secs_f64();
    }
    Some(template.idle_cpu.raw() + (cores * 1000.0).round() as i64)
}

/// Bytes at the scrape.
#[must_use]
pub fn memory(world: &World, model: &Model, id: PodId, scrape: SimTime) -> Option<i64> {
    let pod = running(world, id)?;
    let machine = world.machines.pod(id)?;
    if machine.container_started > scrape {
        return None;
    }
    let template = &model.templates[pod.template];
    let mut bytes = template.idle_memory.raw() as f64
        + template.memory_growth * scrape.since(machine.container_started).secs_f64();
    if machine.serving_since < scrape {
        let zone = zone_of(world, pod)?;
        let used = template.services.iter().filter_map(|&s| usage(world, model, pod, s, zone));
        bytes += used.map(|u| u.memory).sum::<f64>();
    }
    let limit = world.api.size_of(pod, model).limit_memory.map_or(i64::MAX, |l| l.raw());
    Some((bytes as i64).min(limit))
}

/// What the requests of a Service use in the pod.
fn usage<'w>(
    world: &'w World,
    model: &Model,
    pod: &Pod,
    service: Id<ServiceModel>,
    zone: Id<Zone>,
) -> Option<&'w Usage> {
    let load = &world.machines.load[service];
    match backend_of(world, model, pod, service) {
        Some(backend) => load.usage_of_backend(backend?),
        None => load.usage(zone),
    }
}

/// Position of the pod's workload among the backends of a Service that splits its requests;
/// `Some(None)` if it is none of them.
#[must_use]
pub fn backend_of(
    world: &World,
    model: &Model,
    pod: &Pod,
    service: Id<ServiceModel>,
) -> Option<Option<usize>> {
    let backends = &model.services[service].traffic.as_ref()?.backends;
    if backends.is_empty() {
        return None;
    }
    let workload = world.api.workloads[world.api.sets[pod.set].workload].model;
    Some(backends.iter().position(|&b| b == workload))
}

fn zone_of(world: &World, pod: &Pod) -> Option<Id<Zone>> {
    Some(world.cloud.instances[world.api.nodes[pod.node?].instance].zone)
}

/// The pod, if its containers run on a machine that works.
fn running(world: &World, id: PodId) -> Option<&Pod> {
    let pod = world.api.pods.get(id)?;
    let node = pod.node?;
    let alive = world.cloud.instances[world.api.nodes[node].instance].alive;
    (alive && pod.started != SimTime::NEVER && pod.phase == Phase::Running).then_some(pod)
}

//! What pods use, as metrics-server answers: CPU as the mean between two points of the kubelet,
//! memory as the value at the later one.
//!
//! Upstream: kubernetes-sigs/metrics-server `pkg/storage/pod.go`. The kubelet takes a point of each
//! container every housekeeping interval from its start on; metrics-server reads the newest point
//! at each scrape and answers with the last two. A pod without two points has no metrics at all,
//! except that a container between `fresh_container_min` and one scrape period old is measured
//! from its start. Pods of a machine that did not answer the last scrape have none either.

use super::machines::{MachinePod, Stage, Usage};
use super::model::{ServiceModel, Template, Zone};
use super::settings::MetricsSettings;
use super::{Model, Phase, Pod, PodId, World};
use crate::units::{Id, SimTime, Span};

/// Two points of a pod's containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Points {
    /// The earlier one.
    pub begin: SimTime,
    /// The later one: the timestamp of the metrics.
    pub end: SimTime,
}

impl Points {
    /// Time between the two.
    #[must_use]
    pub fn window(self) -> Span {
        self.end.since(self.begin)
    }
}

/// The last scrape whose result is stored at `now`.
#[must_use]
pub fn last_scrape(now: SimTime, phase: Span, settings: &MetricsSettings) -> Option<SimTime> {
    let first = SimTime::ZERO + phase;
    let stored = now.since(SimTime::ZERO).nanos().checked_sub(settings.store_delay.nanos())?;
    let since = stored.checked_sub(first.nanos())?;
    Some(first + settings.resolution * (since / settings.resolution.nanos().max(1)))
}

/// The points that metrics-server holds after `scrape` of containers started at `started`.
#[must_use]
pub fn points(started: SimTime, scrape: SimTime, settings: &MetricsSettings) -> Option<Points> {
    let interval = settings.housekeeping.nanos().max(1);
    let tick = |at: SimTime| {
        (at >= started).then(|| {
            let count = at.since(started).nanos() / interval;
            started + Span::from_nanos(count.saturating_mul(interval))
        })
    };
    let end = tick(scrape)?;
    let age = end.since(started);
    if age >= settings.fresh_container_min && age < settings.resolution {
        return Some(Points { begin: started, end });
    }
    // The point before: of the scrape before, or an older one if that read the same.
    let earlier = tick(
        (scrape.nanos() >= settings.resolution.nanos())
            .then(|| SimTime::from_nanos(scrape.nanos() - settings.resolution.nanos()))?,
    )?;
    let begin = if earlier < end {
        earlier
    } else {
        (end > started).then(|| end - settings.housekeeping)?
    };
    Some(Points { begin, end })
}

/// A pod whose metrics are there, and which they are.
#[derive(Clone, Copy)]
pub struct Metrics<'w> {
    world: &'w World,
    model: &'w Model,
    pod: &'w Pod,
    machine: &'w MachinePod,
    template: &'w Template,
    zone: Id<Zone>,
    /// Where they were measured.
    pub points: Points,
}

/// The metrics of a pod after a scrape, if metrics-server has them.
#[must_use]
pub fn metrics<'w>(
    world: &'w World,
    model: &'w Model,
    id: PodId,
    scrape: SimTime,
) -> Option<Metrics<'w>> {
    let pod = world.api.pods.get(id)?;
    if pod.started == SimTime::NEVER || pod.phase != Phase::Running {
        return None;
    }
    let instance = &world.cloud.instances[world.api.nodes[pod.node?].instance];
    let answered = instance.alive || instance.crashed.min(instance.terminated) > scrape;
    let machine = world.machines.pod(id)?;
    let runs = machine.stage == Stage::Running || pod.last_oom.is_some_and(|oom| oom.0 > scrape);
    if !answered || !runs {
        return None;
    }
    let points = points(machine.container_started, scrape, &model.settings.metrics)?;
    let (template, zone) = (&model.templates[pod.template], instance.zone);
    Some(Metrics { world, model, pod, machine, template, zone, points })
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

impl Metrics<'_> {
    /// What the requests of a Service use in the pod.
    fn usage(&self, service: Id<ServiceModel>) -> Option<&Usage> {
        let load = &self.world.machines.load[service];
        match backend_of(self.world, self.model, self.pod, service) {
            Some(backend) => load.usage_of_backend(backend?),
            None => load.usage(self.zone),
        }
    }

    /// Millicores of the requests it serves, over the window.
    fn served_cpu(&self) -> f64 {
        let Points { begin, end } = self.points;
        let from = begin.max(self.machine.serving_since);
        if from >= end {
            return 0.0;
        }
        let usages = self.template.services.iter().filter_map(|&s| self.usage(s));
        let cores: f64 = usages.map(|u| u.mean(from, end)).sum();
        if from == begin {
            return cores * 1000.0;
        }
        cores * 1000.0 * (end.since(from).secs_f64() / self.points.window().secs_f64())
    }

    /// Whether later points will give the same values unless the load or the pod changes.
    #[must_use]
    pub fn is_level(&self) -> bool {
        let serving = self.machine.serving_since;
        let steady = serving <= self.points.begin || serving == SimTime::NEVER;
        steady && self.template.memory_growth == 0.0
    }

    /// Bytes that its growth and the requests it serves add.
    fn served_memory(&self) -> f64 {
        let end = self.points.end;
        let grown =
            self.template.memory_growth * end.since(self.machine.container_started).secs_f64();
        if self.machine.serving_since >= end {
            return grown;
        }
        let used = self.template.services.iter().filter_map(|&s| self.usage(s));
        grown + used.map(|u| u.memory).sum::<f64>()
    }

    /// Millicores of the pod.
    #[must_use]
    pub fn cpu(&self) -> i64 {
        self.template.idle_cpu.raw() + self.served_cpu().round() as i64
    }

    /// Bytes of the pod; no container holds more than its limit.
    #[must_use]
    pub fn memory(&self) -> i64 {
        (0..self.template.uses.len()).map(|c| self.container_memory(c)).sum()
    }

    /// Cores of one container, by position in [`Template::uses`].
    #[must_use]
    pub fn container_cores(&self, container: usize) -> f64 {
        let Some(of) = self.template.uses.get(container) else { return 0.0 };
        let served = if container == self.template.main { self.served_cpu() } else { 0.0 };
        (of.idle_cpu + served) / 1000.0
    }

    /// Bytes of one container, by position in [`Template::uses`].
    #[must_use]
    pub fn container_memory(&self, container: usize) -> i64 {
        let Some(of) = self.template.uses.get(container) else { return 0 };
        let more = if container == self.template.main { self.served_memory() } else { 0.0 };
        let limit = self.world.api.memory_limit(self.pod, container, self.model);
        ((of.idle_memory + more) as i64).min(limit.unwrap_or(i64::MAX))
    }

    /// Position of a container in [`Template::uses`].
    #[must_use]
    pub fn container(&self, name: &str) -> Option<usize> {
        self.template.uses.iter().position(|u| u.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: MetricsSettings = MetricsSettings {
        resolution: Span::from_secs(15),
        store_delay: Span::from_millis(500),
        housekeeping: Span::from_secs(10),
        fresh_container_min: Span::from_secs(10),
        adapter_interval: Span::from_secs(30),
    };

    #[test]
    fn a_result_counts_once_it_is_stored() {
        let last = |secs: f64| {
            let now = SimTime::ZERO + Span::from_secs_f64(secs);
            last_scrape(now, Span::from_secs(7), &SETTINGS).map(|s| s.secs_f64())
        };
        assert_eq!(last(7.4), None);
        assert_eq!(last(7.6), Some(7.0));
        assert_eq!((last(22.4), last(22.5)), (Some(7.0), Some(22.0)));
    }

    #[test]
    fn new_containers_have_no_metrics_for_ten_seconds() {
        let at = |secs: u64| {
            let found = points(SimTime::from_secs(100), SimTime::from_secs(secs), &SETTINGS)?;
            Some((found.begin.secs_f64() as u64, found.end.secs_f64() as u64))
        };
        assert_eq!((at(99), at(105)), (None, None));
        // Fresh: measured from the start on. Later: 10 or 20 s between two points.
        assert_eq!((at(112), at(119)), (Some((100, 110)), Some((100, 110))));
        assert_eq!((at(120), at(127)), (Some((100, 120)), Some((110, 120))));
        assert_eq!((at(134), at(136)), (Some((110, 130)), Some((120, 130))));
    }
}

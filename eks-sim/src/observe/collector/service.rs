//! Requests: offered, served, latency, recovery after faults.

use super::super::integral::Integral;
use super::latency::LatencyMixture;
use crate::engine::View;
use crate::units::{Id, IdVec, SimTime};
use crate::world::machines::Passage;
use crate::world::model::ServiceModel;
use crate::world::{Change, Model, World};

/// Served share at which a Service counts as recovered.
const RECOVERED: f64 = 0.999;

#[derive(Debug)]
pub(super) struct Services {
    now: IdVec<ServiceModel, Load>,
    since: SimTime,
    offered: f64,
    served: f64,
    /// Seconds in the system of requests at entry Services.
    latencies: LatencyMixture,
    cpu: Integral,
    faults: Vec<Fault>,
    warm: SimTime,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    pub(super) external: f64,
    pub(super) success: f64,
    pub(super) cores: f64,
    pub(super) offered: f64,
    /// Since when these hold.
    since: SimTime,
}

#[derive(Clone, Copy, Debug)]
struct Fault {
    began: SimTime,
    /// End of the last time that service was bad after it.
    bad_until: Option<SimTime>,
}

impl Services {
    pub(super) fn new(model: &Model, warm: SimTime) -> Self {
        Self {
            now: model.services.iter().map(|_| Load::default()).collect(),
            since: SimTime::ZERO,
            offered: 0.0,
            served: 0.0,
            latencies: LatencyMixture::default(),
            cpu: Integral::new(warm),
            faults: Vec::new(),
            warm,
        }
    }

    pub(super) fn loads(&self) -> &IdVec<ServiceModel, Load> {
        &self.now
    }

    /// Cores used by requests now.
    pub(super) const fn cpu_now(&self) -> f64 {
        self.cpu.value()
    }

    pub(super) fn observe(&mut self, now: SimTime, change: &Change, view: &View<'_>) {
        match *change {
            Change::LoadChanged(s) => self.load_changed(now, s, view),
            Change::FaultBegan(_) => {
                self.advance(now);
                self.faults.push(Fault { began: now, bad_until: None });
            }
            _ => {}
        }
    }

    fn load_changed(&mut self, now: SimTime, service: Id<ServiceModel>, view: &View<'_>) {
        self.advance(now);
        let load = &view.world.machines.load[service];
        self.book_latency(now, service, load.past);
        let cores = load.cores();
        self.cpu.add(now, cores - self.now[service].cores);
        self.now[service] = Load {
            external: load.external,
            success: load.success,
            since: now,
            cores,
            offered: load.offered,
        };
    }

    /// Books the time in the system of the requests since the last change of this Service.
    fn book_latency(&mut self, now: SimTime, service: Id<ServiceModel>, past: Passage) {
        let load = &self.now[service];
        let seconds = now.since(load.since.max(self.warm)).secs_f64();
        self.latencies.record(past, load.external * load.success * seconds);
    }

    /// Books the time since the last change.
    fn advance(&mut self, now: SimTime) {
        let seconds = now.since(self.since.max(self.warm)).secs_f64();
        let (mut offered, mut served) = (0.0, 0.0);
        for (_, load) in self.now.iter().filter(|(_, l)| l.external > 0.0) {
            offered += load.external;
            served += load.external * load.success;
        }
        self.offered += offered * seconds;
        self.served += served * seconds;
        if now > self.since && offered > 0.0 && served < offered * RECOVERED {
            if let Some(fault) = self.faults.last_mut() {
                fault.bad_until = Some(now);
            }
        }
        self.since = now;
    }

    /// Integral of cores used by requests.
    pub(super) fn cpu_used(&self, end: SimTime) -> f64 {
        self.cpu.finish(end).0
    }

    pub(super) fn finish(&mut self, end: SimTime, world: &World, put: &mut impl FnMut(&str, f64)) {
        self.advance(end);
        put("requests_offered", self.offered);
        put("requests_lost", (self.offered - self.served).max(0.0));
        put("served_ratio", if self.offered > 0.0 { self.served / self.offered } else { 1.0 });
        self.book_open_ends(end, world);
        if let Some(mean) = self.latencies.mean() {
            put("latency_seconds_mean", mean);
            for (name, p) in [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)] {
                put(&format!("latency_seconds_{name}"), self.latencies.quantile(p));
            }
            put("latency_seconds_max", self.latencies.quantile(1.0));
        }
        let recovery: Vec<f64> = self
            .faults
            .iter()
            .map(|f| f.bad_until.map_or(0.0, |t| t.since(f.began).secs_f64()))
            .collect();
        if !recovery.is_empty() {
            put("recovery_seconds_mean", recovery.iter().sum::<f64>() / recovery.len() as f64);
            put("recovery_seconds_max", recovery.iter().copied().fold(0.0, f64::max));
        }
    }

    /// The time since the last change of each entry Service counts with its latency now.
    fn book_open_ends(&mut self, end: SimTime, world: &World) {
        for service in self.now.ids() {
            let load = &world.machines.load[service];
            let past = Passage { mean: load.latency, drift: 0.0, ..load.past };
            self.book_latency(end, service, past);
        }
    }
}

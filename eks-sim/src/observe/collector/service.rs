//! Requests: offered, served, latency, recovery after faults.

use super::super::integral::Integral;
use super::latency::LatencyMixture;
use crate::engine::View;
use crate::units::{Id, IdVec, SimTime, Span};
use crate::world::machines::{Passage, RequestWindow};
use crate::world::model::ServiceModel;
use crate::world::{Change, Model, World};

/// Served share at which a Service counts as recovered.
const RECOVERED: f64 = 0.999;
/// How long it must stay so. Whatever happens after that is not the fault's doing.
const HOLD: Span = Span::from_secs(300);
/// Shorter dips do not count: a single pod that goes while requests are on the way to it.
const DIP: Span = Span::from_secs(5);

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
    /// Since when the served share is too low.
    bad_since: Option<SimTime>,
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
    /// Requests are counted, not worked out from rates.
    counted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Fault {
    began: SimTime,
    /// End of the last time that service was bad after it.
    bad_until: Option<SimTime>,
}

impl Fault {
    /// Service was bad from `since` (or from the fault on) until `now`.
    fn extend(&mut self, since: SimTime, now: SimTime) {
        let recovered = self.bad_until.is_some_and(|until| since.since(until) >= HOLD);
        if now.since(since.max(self.began)) >= DIP && !recovered {
            self.bad_until = Some(now);
        }
    }
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
            bad_since: None,
            warm,
        }
    }

    pub(super) fn loads(&self) -> &IdVec<ServiceModel, Load> {
        &self.now
    }

    /// Cores used by requests now.
    pub(super) const fn cpu_now(&self) -> f64 {
        // Differences of floats may leave a trace below zero.
        self.cpu.value().max(0.0)
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
        match &load.requests {
            Some(window) => self.count(now, window),
            None => self.book_latency(now, service, load.past),
        }
        let cores = load.cores();
        self.cpu.add(now, cores - self.now[service].cores);
        self.now[service] = Load {
            external: load.external,
            success: load.success,
            since: now,
            cores,
            offered: load.offered,
            counted: load.requests.is_some(),
        };
    }

    /// Counts single requests that ended since the last change of this Service.
    fn count(&mut self, now: SimTime, window: &RequestWindow) {
        if now <= self.warm {
            return;
        }
        self.served += window.answers.len() as f64;
        self.offered += (window.answers.len() as u64 + window.failed) as f64;
        for &nanos in &window.answers {
            self.latencies.record_one(nanos);
        }
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
            if !load.counted {
                self.offered += load.external * seconds;
                self.served += load.external * load.success * seconds;
            }
        }
        if now > self.since {
            if offered > 0.0 && served < offered * RECOVERED {
                let since = *self.bad_since.get_or_insert(self.since);
                if let Some(fault) = self.faults.last_mut() {
                    fault.extend(since, now);
                }
            } else {
                self.bad_since = None;
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
            let all = self.latencies.histogram();
            let seconds = |p: f64| all.quantile(p).map_or(f64::NAN, |ns| ns as f64 / 1e9);
            for (name, p) in [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)] {
                put(&format!("latency_seconds_{name}"), seconds(p));
            }
            put("latency_seconds_max", seconds(1.0));
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
            if load.requests.is_some() {
                continue;
            }
            let past = Passage { mean: load.latency, drift: 0.0, ..load.past };
            self.book_latency(end, service, past);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_ends_when_service_has_held_for_five_minutes() {
        let at = |s: u64| SimTime::ZERO + Span::from_secs(s);
        let mut fault = Fault { began: at(100), bad_until: None };
        fault.extend(at(101), at(103));
        assert_eq!(fault.bad_until, None, "a dip");
        fault.extend(at(101), at(150));
        fault.extend(at(200), at(230));
        assert_eq!(fault.bad_until, Some(at(230)));
        fault.extend(at(230 + 300), at(900));
        assert_eq!(fault.bad_until, Some(at(230)), "five minutes later it is another story");
    }

    #[test]
    fn bad_service_before_the_fault_counts_from_the_fault_on() {
        let at = |s: u64| SimTime::ZERO + Span::from_secs(s);
        let mut fault = Fault { began: at(100), bad_until: None };
        fault.extend(at(10), at(102));
        assert_eq!(fault.bad_until, None);
        fault.extend(at(10), at(110));
        assert_eq!(fault.bad_until, Some(at(110)));
    }
}

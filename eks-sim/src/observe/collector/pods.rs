//! Pods: counts by state, waiting times, requested resources, reasons.

use super::super::integral::Integral;
use super::put_stats;
use crate::engine::View;
use crate::units::SimTime;
use crate::world::{Change, Model, Phase, PodId, World};

/// State of a pod, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not bound.
    Pending,
    /// Bound, not Ready.
    Starting,
    /// Ready.
    Ready,
    /// Being deleted.
    Terminating,
    /// Ended or gone.
    Ended,
}

/// Counts by state.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) pending: i64,
    pub(super) starting: i64,
    pub(super) ready: i64,
    pub(super) terminating: i64,
}

#[derive(Debug)]
pub(super) struct Pods {
    states: Vec<State>,
    /// Requests counted, so that they are taken back exactly once.
    holds: Vec<bool>,
    /// What each of them holds: CPU and memory.
    held: Vec<(f64, f64)>,
    pub(super) counts: Counts,
    requested_cpu: Integral,
    requested_memory: Integral,
    idle_cpu: Integral,
    running: Vec<bool>,
    unschedulable: Vec<bool>,
    created: u64,
    scheduled: u64,
    ready: u64,
    /// Bindings of pods that belong to no add-on.
    pub(super) bound_users: u64,
    refused: u64,
    restarts: u64,
    pub(super) evictions: u64,
    pub(super) preemptions: u64,
    pending_seconds: Vec<f64>,
    startup_seconds: Vec<f64>,
    warm: SimTime,
}

impl Pods {
    pub(super) fn new(_: &Model, warm: SimTime) -> Self {
        Self {
            states: Vec::new(),
            holds: Vec::new(),
            held: Vec::new(),
            counts: Counts::default(),
            requested_cpu: Integral::new(warm),
            requested_memory: Integral::new(warm),
            idle_cpu: Integral::new(warm),
            running: Vec::new(),
            unschedulable: Vec::new(),
            created: 0,
            scheduled: 0,
            ready: 0,
            bound_users: 0,
            refused: 0,
            restarts: 0,
            evictions: 0,
            preemptions: 0,
            pending_seconds: Vec::new(),
            startup_seconds: Vec::new(),
            warm,
        }
    }

    fn set(&mut self, pod: PodId, state: State) {
        let slot = pod.slot() as usize;
        if self.states.len() <= slot {
            self.states.resize(slot + 1, State::Ended);
            self.holds.resize(slot + 1, false);
            self.running.resize(slot + 1, false);
        }
        let old = core::mem::replace(&mut self.states[slot], state);
        for (s, sign) in [(old, -1), (state, 1)] {
            match s {
                State::Pending => self.counts.pending += sign,
                State::Starting => self.counts.starting += sign,
                State::Ready => self.counts.ready += sign,
                State::Terminating => self.counts.terminating += sign,
                State::Ended => {}
            }
        }
    }

    fn hold(&mut self, pod: PodId, on: bool, now: SimTime, view: &View<'_>) {
        let slot = pod.slot() as usize;
        if self.holds.get(slot).copied() != Some(!on) {
            return;
        }
        self.holds[slot] = on;
        let Some(p) = view.world.api.pods.get(pod) else { return };
        let size = view.world.api.size_of(p, view.model);
        let new = (size.request_cpu.raw() as f64, size.request_memory.raw() as f64);
        if self.held.len() <= slot {
            self.held.resize(slot + 1, (0.0, 0.0));
        }
        let old = core::mem::replace(&mut self.held[slot], if on { new } else { (0.0, 0.0) });
        let now_held = self.held[slot];
        self.requested_cpu.add(now, now_held.0 - old.0);
        self.requested_memory.add(now, now_held.1 - old.1);
    }

    /// A pod that holds a node's resources has a new size.
    fn resized(&mut self, pod: PodId, now: SimTime, view: &View<'_>) {
        if let Some(held) = self.holds.get_mut(pod.slot() as usize).filter(|h| **h) {
            *held = false;
            self.hold(pod, true, now, view);
        }
    }

    fn run(&mut self, pod: PodId, on: bool, now: SimTime, view: &View<'_>) {
        let slot = pod.slot() as usize;
        if self.running.get(slot).copied() != Some(!on) {
            return;
        }
        self.running[slot] = on;
        let Some(p) = view.world.api.pods.get(pod) else { return };
        let idle = view.model.templates[p.template].idle_cpu.raw() as f64;
        self.idle_cpu.add(now, if on { idle } else { -idle });
    }

    pub(super) fn observe(&mut self, now: SimTime, change: &Change, view: &View<'_>) {
        let counts = |p: PodId, warm: SimTime| {
            view.world.api.pods.get(p).is_some_and(|pod| pod.created >= warm)
        };
        match *change {
            Change::PodCreated(p) => {
                self.set(p, State::Pending);
                self.mark_unschedulable(p, false);
                self.created += u64::from(counts(p, self.warm));
            }
            Change::PodUnschedulable(p) => self.mark_unschedulable(p, true),
            Change::PodBound(p) => self.bound(p, now, view),
            Change::PodStarted(p) => self.run(p, true, now, view),
            Change::PodReady(p) => self.became_ready(p, view),
            Change::PodUnready(p) => {
                let open = view.world.api.pods.get(p).is_some_and(|pod| {
                    !pod.is_terminating() && matches!(pod.phase, Phase::Pending | Phase::Running)
                });
                if open {
                    self.set(p, State::Starting);
                }
            }
            Change::PodDeleting(p, _) => self.set(p, State::Terminating),
            Change::PodResized(p) => self.resized(p, now, view),
            Change::PodStopped(p) => self.run(p, false, now, view),
            Change::PodSucceeded(p) | Change::PodFailed(p) => {
                self.set(p, State::Ended);
                self.hold(p, false, now, view);
                self.run(p, false, now, view);
            }
            Change::PodDeleted(p) => {
                self.set(p, State::Ended);
                self.hold(p, false, now, view);
                self.run(p, false, now, view);
            }
            Change::PodRestarted(_) => self.restarts += u64::from(now >= self.warm),
            Change::PodAddressRefused(p) => {
                let first = view.world.machines.pod(p).is_some_and(|m| m.refusals == 1);
                self.refused += u64::from(first && counts(p, self.warm));
            }
            _ => {}
        }
    }

    /// Remembers whether the scheduler found a pod unschedulable: a slot's next pod starts afresh.
    fn mark_unschedulable(&mut self, pod: PodId, found: bool) {
        let slot = pod.slot() as usize;
        if self.unschedulable.len() <= slot {
            if !found {
                return;
            }
            self.unschedulable.resize(slot + 1, false);
        }
        self.unschedulable[slot] = found;
    }

    fn found_unschedulable(&self, pod: PodId) -> bool {
        self.unschedulable.get(pod.slot() as usize).copied().unwrap_or(false)
    }

    fn bound(&mut self, p: PodId, now: SimTime, view: &View<'_>) {
        self.set(p, State::Starting);
        self.hold(p, true, now, view);
        self.bound_users += u64::from(view.world.api.pods.get(p).is_some_and(|pod| {
            let workload = view.world.api.sets[pod.set].workload;
            !view.model.workloads[view.world.api.workloads[workload].model].addon
        }));
        if let Some(pod) = view.world.api.pods.get(p).filter(|pod| pod.created >= self.warm) {
            self.scheduled += 1;
            if !is_filler(pod, view.model) {
                self.pending_seconds.push(now.since(pod.created).secs_f64());
            }
        }
    }

    fn became_ready(&mut self, p: PodId, view: &View<'_>) {
        self.set(p, State::Ready);
        let Some(pod) = view.world.api.pods.get(p) else { return };
        if pod.first_ready == pod.ready_since && pod.created >= self.warm {
            self.ready += 1;
            if !is_filler(pod, view.model) {
                self.startup_seconds.push(pod.first_ready.since(pod.created).secs_f64());
            }
        }
    }

    /// Integrals of requested CPU (thousandths of a core) and memory (bytes), in unit·seconds.
    pub(super) fn requested(&self, end: SimTime) -> (f64, f64) {
        (self.requested_cpu.finish(end).0, self.requested_memory.finish(end).0)
    }

    /// Requested CPU and memory now.
    pub(super) const fn requested_now(&self) -> (f64, f64) {
        (self.requested_cpu.value(), self.requested_memory.value())
    }

    /// Integral of the CPU of idle pods.
    pub(super) fn idle(&self, end: SimTime) -> f64 {
        self.idle_cpu.finish(end).0
    }

    /// CPU of idle pods now.
    pub(super) const fn idle_now(&self) -> f64 {
        self.idle_cpu.value()
    }

    pub(super) fn finish(
        &mut self,
        end: SimTime,
        world: &World,
        model: &Model,
        put: &mut impl FnMut(&str, f64),
    ) {
        let mut unscheduled = 0_u64;
        for (id, pod) in world.api.pods.iter() {
            if pod.is_terminating() || !matches!(pod.phase, Phase::Pending | Phase::Running) {
                continue;
            }
            let age = end.since(pod.created).secs_f64();
            if pod.node.is_none() {
                unscheduled += u64::from(self.found_unschedulable(id));
                if pod.created >= self.warm && !is_filler(pod, model) {
                    self.pending_seconds.push(age);
                }
            }
            if pod.first_ready == SimTime::NEVER
                && pod.created >= self.warm
                && !is_filler(pod, model)
            {
                self.startup_seconds.push(age);
            }
        }
        put("pods_created", self.created as f64);
        put("pods_scheduled", self.scheduled as f64);
        put("pods_ready", self.ready as f64);
        put("pods_unscheduled", unscheduled as f64);
        put("pod_restarts", self.restarts as f64);
        put("pod_evictions", self.evictions as f64);
        put("pod_preemptions", self.preemptions as f64);
        put("pods_address_refused", self.refused as f64);
        put_stats(put, "pod_pending_seconds", &mut self.pending_seconds);
        put_stats(put, "pod_startup_seconds", &mut self.startup_seconds);
    }
}

/// Pods that only hold room for others: nobody waits for them.
fn is_filler(pod: &crate::world::Pod, model: &Model) -> bool {
    model.templates[pod.template].priority < 0
}

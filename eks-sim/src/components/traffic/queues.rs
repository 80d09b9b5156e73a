//! The flow of requests through a group: queues advanced, rates passed on from callers to the
//! called, success and time in the system passed back.

use super::{Event, State, Traffic, wake};
use crate::engine::Cx;
use crate::policy::traffic::{Capacity, Flow};
use crate::units::math::{pow, sqrt};
use crate::units::{Id, IdVec, SimTime, Span};
use crate::world::machines::{BackendLoad, Branch, Passage};
use crate::world::model::{ServiceModel, TrafficModel};
use crate::world::{Change, Model};

/// Rounds in which the feedback of repeated requests settles at one instant; what is left after
/// them is taken up at the next change.
const ROUNDS: usize = 64;
/// A change of the served share that does not move repetitions any more.
const SETTLED: f64 = 1e-7;
/// A queue that fills or empties is looked at no sooner than this after a change, so that the
/// feedback of repeated requests cannot stop the clock.
const SOONEST_NOTICE: Span = Span::from_millis(1);
/// Notices of a full or empty queue closer together than this are the same.
const SAME_NOTICE: Span = Span::from_nanos(1_000);

impl Traffic {
    /// Works out the touched groups.
    pub(super) fn work_out(&mut self, cx: &mut Cx<'_>) {
        while let Some(group) = self.touched.pop() {
            self.is_touched[group as usize] = false;
            let members = core::mem::take(&mut self.groups[group as usize]);
            if let Some(exact) = &mut self.exact {
                for &id in &members {
                    exact.sync(id, &self.states, cx);
                    exact.publish(id, &self.states, cx);
                }
            } else {
                self.work_out_group(&members, cx);
            }
            self.groups[group as usize] = members;
        }
    }

    fn work_out_group(&mut self, members: &[Id<ServiceModel>], cx: &mut Cx<'_>) {
        let (now, model) = (cx.now(), cx.model());
        let states = &mut self.states;
        for &id in members {
            if let Some(traffic) = &model.services[id].traffic {
                states[id].advance(now, traffic);
            }
        }
        for _ in 0..ROUNDS {
            for &id in members {
                if let Some(traffic) = &model.services[id].traffic {
                    arrive(id, traffic, states, model);
                    states[id].serve(traffic);
                }
            }
            let mut moved = false;
            for &id in members.iter().rev() {
                moved |= pass_back(id, states, model);
            }
            if !moved {
                break;
            }
        }
        for &id in members.iter().rev() {
            self.publish(id, cx);
        }
    }

    fn publish(&mut self, id: Id<ServiceModel>, cx: &mut Cx<'_>) {
        let (now, model) = (cx.now(), cx.model());
        let Some(traffic) = &model.services[id].traffic else { return };
        let keep = model.settings.metrics.resolution * 8;
        let state = &mut self.states[id];
        if let Some(at) = state.next_notice(now) {
            state.settle = state.settle.wrapping_add(1);
            state.settles_at = at;
            cx.at(at, wake(Event::Settle(id, state.settle)));
        }
        let load = &mut cx.machines_mut().load[id];
        for (usage, lane) in load.usage.iter_mut().zip(&state.lanes) {
            let pods = f64::from(lane.alive.max(1));
            usage.pods = lane.alive;
            let held = lane.served * state.latency / pods;
            usage.set_memory(held * traffic.memory.raw() as f64, now);
            usage.set_cores(lane.served * lane.cpu_seconds() / pods, now, keep);
        }
        let used = load.usage.iter().any(|u| u.changed == now);
        let mut shifted = false;
        for (backend, lane) in load.backends.iter_mut().zip(&state.lanes) {
            let failing = if lane.arriving > 0.0 { 1.0 - lane.success } else { 0.0 };
            let new = BackendLoad { offered: lane.arriving, failing };
            shifted |= core::mem::replace(backend, new) != new;
        }
        load.backlog = state.lanes.iter().map(|l| l.queue.waiting() * l.scale).sum();
        load.totals = state.totals;
        // Clients outside see what their repetitions make of it.
        let asked = traffic.retry.attempts(state.success, state.external);
        state.past.mean += asked.pause;
        let latency = state.latency + asked.pause;
        let new = (state.external, state.arriving, state.served, asked.success, latency);
        let old = (load.external, load.offered, load.served, load.success, load.latency);
        let moved = new != old || load.past != state.past || load.cross_zone != state.cross_zone;
        (load.external, load.offered, load.served, load.success, load.latency) = new;
        load.past = state.past;
        load.cross_zone = state.cross_zone;
        if used {
            cx.machines_mut().load_changed[id] = now;
        }
        if moved || shifted {
            cx.emit(Change::LoadChanged(id));
        }
    }
}

impl State {
    /// Lets the queues run up to `now` and sums up the interval.
    fn advance(&mut self, now: SimTime, traffic: &TrafficModel) {
        let seconds = now.since(self.since).secs_f64();
        self.since = now;
        let mut all = Flow::default();
        let (mut mean, mut variance, mut drift) = (0.0, 0.0, 0.0);
        for lane in &mut self.lanes {
            let before = lane.queue.backlog();
            let mut flow = lane.queue.advance(seconds);
            let latency = lane.queue.latency();
            let outside = lane.outside(traffic);
            if seconds > 0.0 && flow.served > 0.0 {
                let served = flow.served * lane.scale;
                let present = (flow.present_seconds - flow.impatient_seconds).max(0.0);
                mean += present * lane.scale + outside * served;
                variance += latency.sd * latency.sd * served;
                let rate = flow.served / seconds;
                drift += 0.5 * (lane.queue.backlog() - before) / rate * served;
            }
            scale(&mut flow, lane.scale);
            // An error costs as much as an answer.
            let failed = flow.served * lane.failing;
            flow.served -= failed;
            flow.dropped += failed;
            // What was sent to endpoints that do not work is lost.
            let lost = lane.refused * seconds;
            flow.arrived += lost;
            flow.dropped += lost;
            all.add(&flow);
        }
        all.seconds = seconds;
        if seconds > 0.0 {
            let served = all.served.max(f64::MIN_POSITIVE);
            self.own_past = Passage {
                mean: mean / served,
                sd: sqrt(variance / served),
                drift: drift / served,
                ..Passage::default()
            };
        }
        self.totals.add(&all);
    }

    /// Sets the queues for what arrives from now on.
    fn serve(&mut self, traffic: &TrafficModel) {
        let (mut served, mut success, mut latency) = (0.0, 0.0, 0.0);
        for lane in &mut self.lanes {
            let scale_now = if traffic.own_queues { f64::from(lane.alive.max(1)) } else { 1.0 };
            if scale_now != lane.scale {
                lane.queue.scale_waiting(lane.scale / scale_now);
                lane.scale = scale_now;
            }
            let capacity = Capacity {
                workers: lane.workers as f64 / 1e3 / lane.scale,
                rate: lane.rate as f64 / 1e6 / lane.scale,
            };
            if let Some(bound) = traffic.queue_bound {
                let places = f64::from(bound) * f64::from(lane.alive) / lane.scale;
                lane.queue.set_bound(places / capacity.workers.max(1e-9));
            }
            let share = lane.alive_share();
            let mut gave_up = lane.queue.change(lane.arriving * share / lane.scale, capacity);
            scale(&mut gave_up, lane.scale);
            self.totals.add(&gave_up);
            lane.failing = lane.errors as f64 / 1e6 / f64::from(lane.alive.max(1));
            lane.refused = lane.arriving * (1.0 - share);
            lane.success = share * (1.0 - lane.queue.loss()) * (1.0 - lane.failing);
            lane.served = lane.queue.served_rate() * lane.scale;
            served += lane.served;
            success += lane.success * lane.arriving;
            latency += (lane.queue.settled_latency().mean + lane.outside(traffic)) * lane.served;
        }
        self.served = served;
        self.own_success = match self.arriving {
            a if a > 0.0 => (success / a).clamp(0.0, 1.0),
            _ if self.lanes.iter().any(|l| l.alive > 0) => 1.0,
            _ => 0.0,
        };
        self.own_latency = if served > 0.0 { latency / served } else { 0.0 };
    }

    /// The time of a notice to send, unless the one on its way will do.
    fn next_notice(&self, now: SimTime) -> Option<SimTime> {
        let bends = self.lanes.iter().map(|l| l.queue.until_bend());
        let soonest = bends.fold(f64::INFINITY, f64::min);
        if !soonest.is_finite() {
            return None;
        }
        let at = now + Span::from_secs_f64(soonest).max(SOONEST_NOTICE) + Span::from_nanos(1);
        let known = at.max(self.settles_at).since(at.min(self.settles_at)) <= SAME_NOTICE;
        (!known).then_some(at)
    }

    /// Share of its served requests in a zone.
    fn zone_share(&self, zone: usize) -> f64 {
        if self.lanes.len() > 1 && self.shares.is_empty() {
            let lane = self.lanes.get(zone).map_or(0.0, |l| l.served);
            return if self.served > 0.0 { lane / self.served } else { 0.0 };
        }
        let all: u32 = self.alive_in.iter().sum();
        self.alive_in.get(zone).map_or(0.0, |&n| f64::from(n) / f64::from(all.max(1)))
    }
}

impl super::Lane {
    fn alive_share(&self) -> f64 {
        if self.endpoints == 0 { 0.0 } else { f64::from(self.alive) / f64::from(self.endpoints) }
    }

    /// CPU seconds of a request, on average over the endpoints that work.
    pub(super) fn cpu_seconds(&self) -> f64 {
        if self.rate > 0 { self.cores as f64 / self.rate as f64 } else { 0.0 }
    }

    /// Seconds of a request that its time on a worker does not hold.
    pub(super) fn outside(&self, traffic: &TrafficModel) -> f64 {
        if self.rate <= 0 {
            return traffic.latency_floor;
        }
        let alone = self.alone as f64 / 1e6 / f64::from(self.alive.max(1));
        let held = self.workers as f64 / 1e3 / (self.rate as f64 / 1e6);
        (traffic.latency_floor + alone - held).max(0.0)
    }
}

fn scale(flow: &mut Flow, factor: f64) {
    flow.arrived *= factor;
    flow.served *= factor;
    flow.dropped *= factor;
    flow.timed_out *= factor;
    flow.present_seconds *= factor;
    flow.busy_seconds *= factor;
    flow.impatient_seconds *= factor;
}

/// Sums up what reaches a Service, repetitions included, and spreads it over its queues.
fn arrive(
    id: Id<ServiceModel>,
    traffic: &TrafficModel,
    states: &mut IdVec<ServiceModel, State>,
    model: &Model,
) {
    let state = &states[id];
    let success = state.success;
    let external = state.external;
    let mut everywhere = external * traffic.retry.attempts(success, external).mean;
    let zones = state.alive_in.len();
    let several = state.lanes.len() > 1 && state.shares.is_empty();
    let listed: Vec<f64> = if several {
        state.lanes.iter().map(|l| f64::from(l.endpoints)).collect()
    } else {
        state.alive_in.iter().map(|&n| f64::from(n)).collect()
    };
    let all: f64 = listed.iter().sum::<f64>();
    let mut in_zone: smallvec::SmallVec<[f64; 8]> = smallvec::smallvec![0.0; zones];
    let mut cross = 0.0;
    for &(caller, position) in &state.callers {
        let calls = model.services[caller].traffic.as_ref().and_then(|t| t.calls.get(position));
        let Some(call) = calls else { continue };
        let first = states[caller].served * call.per_request;
        let rate = first * call.retry.attempts(success, first).mean;
        for (zone, here) in in_zone.iter_mut().enumerate() {
            let part = rate * states[caller].zone_share(zone);
            let local = listed.get(zone).copied().unwrap_or(0.0);
            if several && local > 0.0 {
                *here += part;
            } else {
                everywhere += part;
                cross += part * (1.0 - local / all.max(1.0));
            }
        }
    }
    let state = &mut states[id];
    state.cross_zone = cross;
    let own = in_zone.iter().sum::<f64>();
    state.arriving = everywhere + own;
    let count = state.lanes.len() as f64;
    if !state.shares.is_empty() {
        for (lane, share) in state.lanes.iter_mut().zip(&state.shares) {
            lane.arriving = state.arriving * share;
        }
        return;
    }
    for (i, lane) in state.lanes.iter_mut().enumerate() {
        let share = if all > 0.0 && count > 1.0 { listed[i] / all } else { 1.0 / count };
        lane.arriving = everywhere * share + if several { in_zone[i] } else { 0.0 };
    }
}

/// Success and time in the system with all calls. Returns whether repeated requests will change.
fn pass_back(id: Id<ServiceModel>, states: &mut IdVec<ServiceModel, State>, model: &Model) -> bool {
    let Some(traffic) = &model.services[id].traffic else { return false };
    let state = &states[id];
    let mut success = state.own_success;
    let mut latency = state.own_latency;
    let mut past = state.own_past;
    let mut variance = past.sd * past.sd;
    for call in &traffic.calls {
        let called = &states[call.to];
        let attempts = call.retry.attempts(called.success, state.served * call.per_request);
        success *= pow(attempts.success, call.per_request);
        latency += call.per_request * (called.latency + attempts.pause);
        past.mean += call.per_request * (called.past.mean + attempts.pause);
        past.drift += call.per_request * called.past.drift;
        // Of 1.3 calls, one is always made and the other for three requests in ten.
        let share = call.per_request - call.per_request.floor();
        let branch = Branch { share, mean: called.past.mean, sd: called.past.sd };
        variance += call.per_request * called.past.sd * called.past.sd + branch.between();
        if branch.between() > past.branch.between() {
            past.branch = branch;
        }
    }
    past.sd = sqrt(variance);
    let state = &mut states[id];
    let moved = state.retried && (success - state.success).abs() > SETTLED;
    state.success = success;
    state.latency = latency;
    state.past = past;
    moved
}

//! What the exact mode publishes: rates, use and latencies of the time since it last did.

use super::{Exact, Lane, States};
use crate::components::traffic::{Event, wake};
use crate::engine::Cx;
use crate::policy::traffic::Flow;
use crate::policy::traffic::request_queue::QueueTotals;
use crate::units::{Id, SimTime, Span};
use crate::world::Change;
use crate::world::machines::Passage;
use crate::world::model::ServiceModel;

/// Counts since the last window, and sums at its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Attempts that reached the Service.
    pub(super) attempts: u64,
    /// Of these, those that found no endpoint that works; since the start.
    pub(super) refused: u64,
    /// Calls from another zone.
    pub(super) cross_zone: u64,
    /// Attempts that went well, the sum of their seconds and of its squares.
    well: u64,
    seconds: f64,
    squares: f64,
    /// Requests from outside that ended badly.
    failed: u64,
    /// Nanoseconds of requests from outside that ended well.
    answers: Vec<u64>,
    /// Sums of the queues at the end of the last window, and of their work by lane.
    served: u64,
    work: Vec<f64>,
    since: SimTime,
}

impl Seen {
    /// An attempt went well.
    pub(super) fn done(&mut self, took: Span) {
        let seconds = took.secs_f64();
        self.well += 1;
        self.seconds += seconds;
        self.squares += seconds * seconds;
    }

    /// A request from outside ends.
    pub(super) fn answer(&mut self, well: bool, took: Span) {
        if well {
            self.answers.push(took.nanos());
        } else {
            self.failed += 1;
        }
    }
}

impl Exact {
    /// Publishes all Services, once a window.
    pub(in super::super) fn window(&mut self, states: &States, cx: &mut Cx<'_>) {
        for id in self.services.ids() {
            self.publish(id, states, cx);
        }
        cx.after(super::WINDOW, wake(Event::Window));
    }

    /// Sums over all queues of a Service, and over those that are gone.
    fn totals(&mut self, id: Id<ServiceModel>, now: SimTime) -> (QueueTotals, u128, f64) {
        let mut all = self.services[id].gone;
        let (mut stayed, mut waiting) = (all.stayed_nanos, 0.0);
        let of = |l: &Lane| l.service == id && (!l.leaving || l.pod.is_some());
        for lane in self.lanes.iter_mut().filter(|l| of(l)) {
            lane.queue.advance(now);
            all.add(lane.queue.totals());
            stayed += lane.queue.stayed_nanos();
            waiting += lane.queue.in_excess();
        }
        (all, stayed, waiting)
    }

    /// Publishes a Service.
    pub(in super::super) fn publish(
        &mut self,
        id: Id<ServiceModel>,
        states: &States,
        cx: &mut Cx<'_>,
    ) {
        let (now, model) = (cx.now(), cx.model());
        if model.services[id].traffic.is_none() {
            return;
        }
        let (totals, stayed, waiting) = self.totals(id, now);
        self.publish_use(id, states, totals.work, cx);
        let entry = &mut self.services[id];
        let (seen, present) = (&mut entry.seen, entry.present);
        let seconds = now.since(seen.since).secs_f64();
        let load = &mut cx.machines_mut().load[id];
        let window = load.requests.get_or_insert_default();
        core::mem::swap(&mut window.answers, &mut seen.answers);
        seen.answers.clear();
        window.failed = core::mem::take(&mut seen.failed);
        (window.present_nanos, window.stayed_nanos) = (totals.present_nanos, stayed);
        window.present = present;
        let ended = window.answers.len() as u64 + window.failed;
        if seconds > 0.0 {
            let rate = |n: u64| n as f64 / seconds;
            load.external = states[id].external;
            load.offered = rate(core::mem::take(&mut seen.attempts));
            load.served = rate(totals.served.saturating_sub(seen.served));
            load.cross_zone = rate(core::mem::take(&mut seen.cross_zone));
            load.success = if ended > 0 { window.answers.len() as f64 / ended as f64 } else { 1.0 };
            if seen.well > 0 {
                let mean = seen.seconds / seen.well as f64;
                let variance = (seen.squares / seen.well as f64 - mean * mean).max(0.0);
                load.latency = mean;
                load.past =
                    Passage { mean, sd: crate::units::math::sqrt(variance), ..Passage::default() };
            }
            (seen.well, seen.seconds, seen.squares) = (0, 0.0, 0.0);
            (seen.served, seen.since) = (totals.served, now);
        }
        load.backlog = waiting;
        load.totals = flow(&totals, seen.refused, now);
        cx.emit(Change::LoadChanged(id));
    }

    /// CPU and memory of each live endpoint.
    fn publish_use(&mut self, id: Id<ServiceModel>, states: &States, work: f64, cx: &mut Cx<'_>) {
        let (now, model) = (cx.now(), cx.model());
        let Some(traffic) = &model.services[id].traffic else { return };
        let keep = model.settings.metrics.resolution * 8;
        let entry = &mut self.services[id];
        let seconds = now.since(entry.seen.since).secs_f64();
        if seconds <= 0.0 {
            return;
        }
        let lanes = &states[id].lanes;
        entry.seen.work.resize(lanes.len(), 0.0);
        let all: u32 = lanes.iter().map(|l| l.alive).sum();
        let held = f64::from(entry.present) * traffic.memory.raw() as f64;
        for (place, lane) in lanes.iter().enumerate() {
            let done = match lanes.len() {
                1 => work,
                _ => self.lanes[entry.lanes[place] as usize].queue.totals().work,
            };
            let before = core::mem::replace(&mut entry.seen.work[place], done);
            let pods = f64::from(lane.alive.max(1));
            let cores = (done - before) / seconds * lane.cpu_seconds() / pods;
            let usage = &mut cx.machines_mut().load[id].usage[place];
            usage.pods = lane.alive;
            usage.set_memory(held / f64::from(all.max(1)), now);
            usage.set_cores(cores, now, keep);
        }
        if cx.machines().load[id].usage.iter().any(|u| u.changed == now) {
            cx.machines_mut().load_changed[id] = now;
        }
    }
}

fn flow(totals: &QueueTotals, refused: u64, now: SimTime) -> Flow {
    Flow {
        seconds: now.secs_f64(),
        arrived: (totals.arrived + refused) as f64,
        served: totals.served as f64,
        dropped: (totals.dropped + refused) as f64,
        timed_out: totals.timed_out as f64,
        present_seconds: totals.present_nanos as f64 / 1e9,
        busy_seconds: totals.busy_seconds,
        ..Flow::default()
    }
}

//! Requests one by one: the exact mode of a run.
//!
//! 1. Requests from outside arrive as a Poisson process whose rate is that of the fluid mode.
//! 2. A request picks an endpoint's queue; one that does not work, or is full, fails it at once.
//! 3. When a worker is done with it, it waits for what is no work, then makes its calls one after
//!    another, each of them a request of its own.
//! 4. It succeeds if it was served and all calls succeeded; a failed one may be tried again.
//!
//! Every draw is keyed by the identity of the request (its entry Service, its number there, the
//! way of calls to it), so that a changed variant sees the same requests.

mod requests;
mod window;

use super::{Event, State, wake};
use crate::engine::{Cx, Stream, draws};
use crate::policy::traffic::request_queue::QueueTotals;
use crate::policy::traffic::retry::Tokens;
use crate::policy::traffic::{Capacity, RequestQueue};
use crate::units::math::ln;
use crate::units::{Id, IdVec, SimTime, Span};
use crate::world::PodId;
use crate::world::model::{Model, ServiceModel, TrafficModel};
use requests::{Requests, Step};

/// Rates, use and latencies are published this often.
const WINDOW: Span = Span::from_secs(1);

/// All requests on their way, and the queues they are in.
#[derive(Clone, Debug)]
pub(super) struct Exact {
    services: IdVec<ServiceModel, Entry>,
    lanes: Vec<Lane>,
    free_lanes: Vec<u32>,
    requests: Requests,
    /// What is to be done at this instant.
    steps: Vec<Step>,
}

/// A Service, request by request.
#[derive(Clone, Debug, Default)]
struct Entry {
    /// Its queue, those of its zones, or those of its working pods.
    lanes: Vec<u32>,
    /// Rate of arrivals from outside, and since when.
    rate: f64,
    since: SimTime,
    /// Number of the next request from outside, and how much of its exponential wait is left.
    next: u64,
    wait: f64,
    /// When the next request from outside is expected.
    scheduled: SimTime,
    /// Tokens of the clients outside, and those of its own calls.
    tokens: Tokens,
    call_tokens: Vec<Tokens>,
    /// Seconds of a request that its time on a worker does not hold.
    outside: Span,
    /// Requests that are here, calls included.
    present: u32,
    /// Sums of queues that are gone.
    gone: QueueTotals,
    seen: window::Seen,
}

/// A queue.
#[derive(Clone, Debug)]
struct Lane {
    service: Id<ServiceModel>,
    zone: u32,
    /// The pod whose own queue this is.
    pod: Option<PodId>,
    /// The pod is no endpoint any more; what is in the queue is finished.
    leaving: bool,
    queue: RequestQueue<u32>,
    scheduled: SimTime,
}

impl Exact {
    pub(super) fn new(model: &Model) -> Self {
        let mut all = Self {
            services: IdVec::new(),
            lanes: Vec::new(),
            free_lanes: Vec::new(),
            requests: Requests::default(),
            steps: Vec::new(),
        };
        for (id, service) in model.services.iter() {
            let mut entry = Entry { scheduled: SimTime::NEVER, ..Entry::default() };
            if let Some(traffic) = &service.traffic {
                entry.call_tokens = vec![Tokens::default(); traffic.calls.len()];
                let zones = if traffic.zone_aware { model.zones.len().max(1) as u32 } else { 1 };
                if !traffic.own_queues {
                    entry.lanes = (0..zones).map(|z| all.new_lane(id, z, None, traffic)).collect();
                }
            }
            all.services.push(entry);
        }
        all
    }

    pub(super) fn start(&mut self, cx: &mut Cx<'_>) {
        for (id, service) in cx.model().services.iter() {
            if service.traffic.as_ref().is_some_and(|t| t.rate.is_some()) {
                self.services[id].wait = exponential(service.key, 0, cx);
            }
        }
        cx.after(WINDOW, wake(Event::Window));
    }

    fn new_lane(
        &mut self,
        service: Id<ServiceModel>,
        zone: u32,
        pod: Option<PodId>,
        traffic: &TrafficModel,
    ) -> u32 {
        let queue = RequestQueue::new(traffic.discipline).with_timeout(traffic.timeout);
        let scheduled = SimTime::NEVER;
        let lane = Lane { service, zone, pod, leaving: false, queue, scheduled };
        match self.free_lanes.pop() {
            Some(slot) => {
                self.lanes[slot as usize] = lane;
                slot
            }
            None => {
                self.lanes.push(lane);
                self.lanes.len() as u32 - 1
            }
        }
    }

    /// Takes over the rate and the endpoints of a Service.
    pub(super) fn sync(&mut self, id: Id<ServiceModel>, states: &States, cx: &mut Cx<'_>) {
        let Some(traffic) = &cx.model().services[id].traffic else { return };
        self.set_rate(id, states[id].external, cx);
        if traffic.own_queues {
            self.sync_pods(id, &states[id], traffic, cx);
        } else {
            self.sync_shared(id, &states[id], traffic, cx);
        }
        let state = &states[id];
        let (mut seconds, mut alive) = (0.0, 0.0);
        for lane in &state.lanes {
            seconds += lane.outside(traffic) * f64::from(lane.alive);
            alive += f64::from(lane.alive);
        }
        let floor = if alive > 0.0 { seconds / alive } else { traffic.latency_floor };
        self.services[id].outside = Span::from_secs_f64(floor);
        self.run(states, cx);
    }

    fn set_rate(&mut self, id: Id<ServiceModel>, rate: f64, cx: &mut Cx<'_>) {
        let now = cx.now();
        let entry = &mut self.services[id];
        if rate == entry.rate {
            return;
        }
        entry.wait -= entry.rate * now.since(entry.since).secs_f64();
        (entry.rate, entry.since) = (rate, now);
        self.expect(id, cx);
    }

    /// Puts the next request from outside on the agenda.
    fn expect(&mut self, id: Id<ServiceModel>, cx: &mut Cx<'_>) {
        let entry = &mut self.services[id];
        entry.scheduled = SimTime::NEVER;
        if entry.rate > 0.0 {
            entry.scheduled = cx.now() + Span::from_secs_f64(entry.wait.max(0.0) / entry.rate);
            cx.at(entry.scheduled, wake(Event::Arrival(id)));
        }
    }

    fn sync_shared(
        &mut self,
        id: Id<ServiceModel>,
        state: &State,
        traffic: &TrafficModel,
        cx: &mut Cx<'_>,
    ) {
        for (place, fluid) in state.lanes.iter().enumerate() {
            let Some(&lane) = self.services[id].lanes.get(place) else { continue };
            let (workers, rate) = (fluid.workers as f64 / 1e3, fluid.rate as f64 / 1e6);
            let bound = traffic.queue_bound.map(|b| f64::from(b) * f64::from(fluid.alive));
            self.set_capacity(lane, Capacity { workers, rate }, bound, cx);
        }
    }

    /// Each working pod has a queue; that of a pod which leaves is worked off, that of a pod which
    /// died is lost.
    fn sync_pods(
        &mut self,
        id: Id<ServiceModel>,
        state: &State,
        traffic: &TrafficModel,
        cx: &mut Cx<'_>,
    ) {
        let old = core::mem::take(&mut self.services[id].lanes);
        let mut kept = Vec::with_capacity(state.endpoints.len());
        for endpoint in state.endpoints.iter().filter(|e| e.alive) {
            let known =
                old.iter().copied().find(|&l| self.lanes[l as usize].pod == Some(endpoint.pod));
            let zone = endpoint.zone.raw();
            let lane =
                known.unwrap_or_else(|| self.new_lane(id, zone, Some(endpoint.pod), traffic));
            kept.push(lane);
            self.set_capacity(lane, endpoint.capacity(), traffic.queue_bound.map(f64::from), cx);
        }
        for lane in old.into_iter().filter(|l| !kept.contains(l)) {
            let pod = self.lanes[lane as usize].pod;
            self.lanes[lane as usize].leaving = true;
            if state.endpoints.iter().any(|e| Some(e.pod) == pod) {
                self.lose(lane, cx);
            }
            self.free_if_empty(lane);
        }
        self.services[id].lanes = kept;
    }

    fn set_capacity(&mut self, lane: u32, to: Capacity, bound: Option<f64>, cx: &mut Cx<'_>) {
        let queue = &mut self.lanes[lane as usize].queue;
        queue.set_bound(bound.unwrap_or(f64::INFINITY));
        queue.set_capacity(cx.now(), to);
        if to.rate <= 0.0 && queue.present() > 0 {
            self.lose(lane, cx);
        }
        self.schedule(lane, cx);
    }

    fn lose(&mut self, lane: u32, cx: &Cx<'_>) {
        let lost = self.lanes[lane as usize].queue.lose_all(cx.now());
        self.steps.extend(lost.into_iter().map(|slot| Step::Finish(slot, false)));
    }

    fn free_if_empty(&mut self, slot: u32) {
        let lane = &mut self.lanes[slot as usize];
        if lane.leaving && lane.queue.present() == 0 && lane.pod.is_some() {
            lane.pod = None;
            self.services[lane.service].gone.add(lane.queue.totals());
            self.free_lanes.push(slot);
        }
    }

    /// Wakes the queue when the next request leaves it. A notice that is too early does no harm.
    fn schedule(&mut self, lane: u32, cx: &mut Cx<'_>) {
        let row = &mut self.lanes[lane as usize];
        let next = row.queue.next_leaving();
        if next < row.scheduled {
            row.scheduled = next;
            cx.at(next, wake(Event::Leave(lane)));
        }
    }

    /// Requests leave a queue.
    pub(super) fn leave(&mut self, slot: u32, states: &States, cx: &mut Cx<'_>) {
        let now = cx.now();
        let lane = &mut self.lanes[slot as usize];
        if lane.scheduled != now {
            return;
        }
        lane.scheduled = SimTime::NEVER;
        while let Some(left) = self.lanes[slot as usize].queue.pop(now) {
            let token = left.token;
            if left.served {
                self.served(token, cx);
            } else {
                self.steps.push(Step::Finish(token, false));
            }
        }
        self.schedule(slot, cx);
        self.free_if_empty(slot);
        self.run(states, cx);
    }

    /// A request comes from outside.
    pub(super) fn arrival(&mut self, id: Id<ServiceModel>, states: &States, cx: &mut Cx<'_>) {
        if self.services[id].scheduled != cx.now() {
            return;
        }
        let (key, now) = (cx.model().services[id].key, cx.now());
        let entry = &mut self.services[id];
        let number = entry.next;
        entry.next += 1;
        entry.since = now;
        entry.wait = exponential(key, entry.next, cx);
        self.expect(id, cx);
        let slot = self.requests.enter(id, draws::key(&[key, number]), None, now);
        let policy = cx.model().services[id].traffic.as_ref().and_then(|t| t.retry.budget);
        if let Some(budget) = policy {
            self.services[id].tokens.deposit(&budget, now);
        }
        self.steps.push(Step::Attempt(slot));
        self.run(states, cx);
    }
}

/// All Services, as the fluid mode sees them.
type States = IdVec<ServiceModel, State>;

/// The exponential wait of mean 1 before the request of this number.
fn exponential(service: u64, number: u64, cx: &Cx<'_>) -> f64 {
    -ln(cx.draw(Stream::Arrival, draws::key(&[service, number])))
}

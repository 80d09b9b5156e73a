//! Requests to Services: rates over the call graph, endpoints, queues.
//!
//! Rates are piecewise constant; a queue is advanced only when a rate, an endpoint or a machine
//! changes, or when a queue fills or empties. There is no event per request, unless the scenario
//! asks for the exact mode. Services that call each other, directly or not, form a group; a
//! change touches one group and no other.

mod endpoints;
mod exact;
mod queues;

use crate::engine::{self, Cx, Stream};
use crate::policy::traffic::{Flow, SharingQueue, markov, noise};
use crate::units::{Id, IdVec, SimTime};
use crate::world::machines::Passage;
use crate::world::model::ServiceModel;
use crate::world::steps::{StepKind, StepModel};
use crate::world::{Model, Node, PodId};
use endpoints::Endpoint;

/// What can happen to traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Rates change.
    Tick,
    /// A pod's readiness or existence reached the Service's data plane.
    EndpointChanged(Id<ServiceModel>, PodId),
    /// A pod passed the health checks of the Service's load balancer.
    Registered(Id<ServiceModel>, PodId),
    /// A pod's containers stopped.
    PodStopped(PodId),
    /// A pod has a new size.
    PodResized(PodId),
    /// A machine died.
    MachineChanged(Id<Node>),
    /// A step of the scenario splits the requests to a Service anew.
    Weights(u32),
    /// A queue of this Service fills or empties.
    Settle(Id<ServiceModel>, u32),
    /// A pod is past its cold start.
    PodWarm(PodId),
    /// A request comes from outside (exact mode, as all that follow).
    Arrival(Id<ServiceModel>),
    /// A request leaves a queue.
    Leave(u32),
    /// A request has waited; it is tried again, or goes on.
    GoOn(u32, bool),
    /// What happened in the past second is published.
    Window,
}

/// Requests to Services.
#[derive(Clone, Debug)]
pub struct Traffic {
    states: IdVec<ServiceModel, State>,
    /// Services that call each other, callers before the called.
    groups: Vec<Vec<Id<ServiceModel>>>,
    /// The next end of a piece of any rate.
    next_tick: SimTime,
    /// Groups to work out anew, and by group whether it is among them.
    touched: Vec<u32>,
    is_touched: Vec<bool>,
    /// Single requests, if the scenario asks for them.
    exact: Option<Box<exact::Exact>>,
}

/// A Service.
#[derive(Clone, Debug)]
struct State {
    group: u32,
    /// Calls that reach it: the caller, and the position of the call in the caller's list.
    callers: Vec<(Id<ServiceModel>, usize)>,
    /// Somebody tries failed requests again.
    retried: bool,
    /// Rate from outside now, modulation included.
    external: f64,
    /// End of its present piece.
    piece_ends: SimTime,
    cursor: markov::Cursor,
    noise: noise::Cursor,
    endpoints: Vec<Endpoint>,
    /// Working endpoints by zone.
    alive_in: Vec<u32>,
    /// Its queue, or those of its zones or backends.
    lanes: Vec<Lane>,
    /// Shares of its backends, if requests are split by weight.
    shares: Vec<f64>,
    /// Up to when the queues were advanced.
    since: SimTime,
    /// Share of arriving requests it serves itself.
    own_success: f64,
    /// Share of arriving requests that are served, calls included.
    success: f64,
    arriving: f64,
    served: f64,
    cross_zone: f64,
    /// Its own part of the time in the system in the past interval, and that with all calls.
    own_past: Passage,
    past: Passage,
    /// Its own part of the mean time in the system now, and that with all calls.
    own_latency: f64,
    latency: f64,
    totals: Flow,
    /// When a queue fills or empties, and the number of that notice.
    settles_at: SimTime,
    settle: u32,
}

/// A queue, with the endpoints that serve it.
#[derive(Clone, Debug)]
struct Lane {
    queue: SharingQueue,
    endpoints: u32,
    alive: u32,
    /// Sums over working endpoints, in whole numbers so that leaving undoes joining: thousandths
    /// of workers, millionths of requests a second, microseconds of a request alone, millionths of
    /// cores.
    workers: i64,
    rate: i64,
    alone: i64,
    cores: i64,
    /// Sum over working endpoints of the millionths of requests they answer with an error.
    errors: i64,
    /// Share of served requests that failed since the queue was set last.
    failing: f64,
    /// Equal queues that this one stands for.
    scale: f64,
    arriving: f64,
    /// Of these, those a second that are sent to endpoints that do not work.
    refused: f64,
    served: f64,
    success: f64,
}

fn wake(event: Event) -> engine::Event {
    engine::Event::Traffic(event)
}

impl Traffic {
    /// Nothing flows yet.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        let mut states: IdVec<ServiceModel, State> =
            model.services.iter().map(|(_, s)| State::new(s, model)).collect();
        for (id, service) in model.services.iter() {
            for (i, call) in service.traffic.iter().flat_map(|t| &t.calls).enumerate() {
                states[call.to].callers.push((id, i));
                states[call.to].retried |= call.retry.most > 0;
            }
        }
        let groups = group(&mut states, model);
        let exact = model.exact_requests.then(|| Box::new(exact::Exact::new(model)));
        let is_touched = vec![false; groups.len()];
        let next_tick = SimTime::ZERO;
        Self { states, groups, next_tick, touched: Vec::new(), is_touched, exact }
    }

    /// Sets up the loads and the first rates.
    pub fn start(&mut self, cx: &mut Cx<'_>) {
        let loads = self.states.iter().map(|(_, s)| {
            let usage = s.lanes.iter().map(|_| Default::default()).collect();
            let backends = vec![Default::default(); s.shares.len()];
            crate::world::machines::ServiceLoad { usage, backends, ..Default::default() }
        });
        cx.machines_mut().load = loads.collect();
        cx.machines_mut().load_changed = self.states.iter().map(|_| SimTime::ZERO).collect();
        if cx.model().services.iter().any(|(_, s)| s.traffic.is_some()) {
            if let Some(exact) = &mut self.exact {
                exact.start(cx);
            }
            self.tick(cx);
        }
    }

    /// Handles one event.
    pub fn handle(&mut self, event: Event, cx: &mut Cx<'_>) {
        match event {
            Event::Tick => {
                if cx.now() >= self.next_tick {
                    self.tick(cx);
                }
            }
            Event::EndpointChanged(service, pod) => self.endpoint_changed(service, pod, false, cx),
            Event::Registered(service, pod) => self.endpoint_changed(service, pod, true, cx),
            Event::PodStopped(pod) => self.pod_stopped(pod, cx),
            Event::PodResized(pod) => self.pod_resized(pod, cx),
            Event::PodWarm(pod) => self.pod_warm(pod, cx),
            Event::MachineChanged(node) => self.machine_changed(node, cx),
            Event::Arrival(_) | Event::Leave(_) | Event::GoOn(..) | Event::Window => {
                return self.handle_request(event, cx);
            }
            Event::Weights(step) => self.weigh(step, cx),
            Event::Settle(service, number) => {
                if self.states[service].settle == number {
                    self.states[service].settles_at = SimTime::NEVER;
                    self.touch(service);
                }
            }
        }
        self.work_out(cx);
    }

    /// Handles an event of the exact mode.
    fn handle_request(&mut self, event: Event, cx: &mut Cx<'_>) {
        let Some(exact) = &mut self.exact else { return };
        match event {
            Event::Arrival(service) => exact.arrival(service, &self.states, cx),
            Event::Leave(lane) => exact.leave(lane, &self.states, cx),
            Event::GoOn(request, again) => exact.go_on(request, again, &self.states, cx),
            _ => exact.window(&self.states, cx),
        }
    }

    /// Reads the rates whose piece ended, and wakes again at the next such end.
    fn tick(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let mut next = SimTime::NEVER;
        for (id, service) in cx.model().services.iter() {
            let Some(traffic) = &service.traffic else { continue };
            let Some(rate) = &traffic.rate else { continue };
            let state = &mut self.states[id];
            if state.piece_ends <= now {
                let draw = |kind: u64, n: u64| {
                    cx.draw(Stream::TrafficNoise, engine::draws::key(&[service.key, kind, n]))
                };
                let (factor, turns) = traffic.markov.map_or((1.0, SimTime::NEVER), |m| {
                    m.at(&mut state.cursor, now, |n| draw(1, n))
                });
                let (noise, fresh) = traffic.noise.map_or((1.0, SimTime::NEVER), |noise| {
                    noise.at(&mut state.noise, now, |n| draw(2, n))
                });
                let (external, ends) = rate.piece(now, factor * noise, |n| draw(0, n));
                state.piece_ends = ends.min(turns).min(fresh);
                if external != state.external {
                    state.external = external;
                    self.touch(id);
                }
            }
            next = next.min(self.states[id].piece_ends);
        }
        // The end of the warm-up and of the run close an interval, so that what was measured until
        // then is complete.
        for end in [cx.model().warmup, cx.model().duration] {
            let end = SimTime::ZERO + end;
            if now < end {
                next = next.min(end);
            } else if now == end {
                self.states.ids().for_each(|id| self.touch(id));
            }
        }
        self.next_tick = next;
        if next != SimTime::NEVER {
            cx.at(next, wake(Event::Tick));
        }
        self.work_out(cx);
    }

    /// The load balancer got new weights.
    fn weigh(&mut self, step: u32, cx: &mut Cx<'_>) {
        let Some(StepModel { kind: StepKind::Weights { service, weights, .. }, .. }) =
            cx.model().steps.get(step as usize)
        else {
            return;
        };
        self.states[*service].shares = shares(weights);
        self.touch(*service);
    }

    fn touch(&mut self, service: Id<ServiceModel>) {
        let group = self.states[service].group;
        if !core::mem::replace(&mut self.is_touched[group as usize], true) {
            self.touched.push(group);
        }
    }
}

impl State {
    fn new(service: &ServiceModel, model: &Model) -> Self {
        let traffic = service.traffic.as_ref();
        let zones = model.zones.len().max(1);
        let backends = traffic.map_or(0, |t| t.backends.len());
        let lanes = match traffic {
            _ if backends > 0 => backends,
            Some(t) if t.zone_aware => zones,
            _ => 1,
        };
        let mut queue = SharingQueue::new(traffic.map(|t| t.discipline).unwrap_or_default());
        if let Some(t) = traffic {
            queue = queue.with_service_cv(t.service_cv).with_timeout(t.timeout.secs_f64());
        }
        Self {
            group: 0,
            callers: Vec::new(),
            retried: traffic.is_some_and(|t| t.retry.most > 0),
            external: 0.0,
            piece_ends: SimTime::ZERO,
            cursor: markov::Cursor::default(),
            noise: noise::Cursor::default(),
            endpoints: Vec::new(),
            alive_in: vec![0; zones],
            lanes: vec![Lane::new(queue); lanes],
            shares: traffic.map_or_else(Vec::new, |t| shares(&t.weights)),
            since: SimTime::ZERO,
            own_success: 1.0,
            success: 1.0,
            arriving: 0.0,
            served: 0.0,
            cross_zone: 0.0,
            own_past: Passage::default(),
            past: Passage::default(),
            own_latency: 0.0,
            latency: 0.0,
            totals: Flow::default(),
            settles_at: SimTime::NEVER,
            settle: 0,
        }
    }
}

/// Weights over their sum.
fn shares(weights: &[f64]) -> Vec<f64> {
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| if sum > 0.0 { w / sum } else { 0.0 }).collect()
}

impl Lane {
    fn new(queue: SharingQueue) -> Self {
        Self {
            queue,
            endpoints: 0,
            alive: 0,
            workers: 0,
            rate: 0,
            alone: 0,
            cores: 0,
            errors: 0,
            failing: 0.0,
            scale: 1.0,
            arriving: 0.0,
            refused: 0.0,
            served: 0.0,
            success: 1.0,
        }
    }
}

/// Numbers the groups of Services that are connected by calls, and lists their members.
fn group(states: &mut IdVec<ServiceModel, State>, model: &Model) -> Vec<Vec<Id<ServiceModel>>> {
    let mut root: Vec<usize> = (0..states.len()).collect();
    for (id, state) in states.iter() {
        for &(caller, _) in &state.callers {
            let (a, b) = (find(&mut root, id.index()), find(&mut root, caller.index()));
            root[a.max(b)] = a.min(b);
        }
    }
    let mut number: Vec<Option<u32>> = vec![None; states.len()];
    let mut groups: Vec<Vec<Id<ServiceModel>>> = Vec::new();
    for &id in &model.service_order {
        let top = find(&mut root, id.index());
        let group = *number[top].get_or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() as u32 - 1
        });
        groups[group as usize].push(id);
        states[id].group = group;
    }
    groups
}

fn find(root: &mut [usize], mut of: usize) -> usize {
    while root[of] != of {
        root[of] = root[root[of]];
        of = root[of];
    }
    of
}

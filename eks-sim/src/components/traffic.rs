//! Requests to Services: rates over the call graph, endpoints, queues.
//!
//! Rates are piecewise constant; everything is advanced only when a rate, an endpoint or a
//! machine changes, or when a queue fills or empties. There is no event per request.

use crate::engine::{self, Cx, Stream};
use crate::policy::traffic::flow::{Capacity, Flow, advance, flow};
use crate::units::math;
use crate::units::{Id, IdVec, SimTime, Span};
use crate::world::model::ServiceModel;
use crate::world::{Change, Model, Node, PodId};

/// What can happen to traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Rates change.
    Tick,
    /// A pod's readiness or existence reached the Service's data plane.
    EndpointChanged(Id<ServiceModel>, PodId),
    /// A machine died.
    MachineChanged(Id<Node>),
    /// The regime with this number of a Service's queue ends.
    Settle(Id<ServiceModel>, u32),
}

/// Requests to Services.
#[derive(Clone, Debug)]
pub struct Traffic {
    states: IdVec<ServiceModel, State>,
    /// A `Tick` at this time is on the agenda.
    next_tick: SimTime,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Position in the rate's pieces.
    piece: usize,
    /// External rate now, modulation included.
    external: f64,
    /// Waiting requests at `since`.
    backlog: f64,
    since: SimTime,
    flow: Flow,
    /// Number of the queue's regime.
    regime: u32,
}

fn wake(event: Event) -> engine::Event {
    engine::Event::Traffic(event)
}

impl Traffic {
    /// Nothing flows yet.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        let states = model.services.iter().map(|_| State::default()).collect();
        Self { states, next_tick: SimTime::NEVER }
    }

    /// Sets up the loads and the first rates.
    pub fn start(&mut self, cx: &mut Cx<'_>) {
        let model = cx.model();
        cx.machines_mut().load = model.services.iter().map(|_| Default::default()).collect();
        if model.services.iter().any(|(_, s)| s.traffic.is_some()) {
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
            Event::EndpointChanged(service, pod) => self.endpoint_changed(service, pod, cx),
            Event::MachineChanged(node) => self.machine_changed(node, cx),
            Event::Settle(service, regime) => {
                if self.states[service].regime == regime {
                    self.recompute(cx);
                }
            }
        }
    }

    /// Reads all external rates for now, and wakes again at the next change of one.
    fn tick(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let mut next = SimTime::NEVER;
        for (id, service) in cx.model().services.iter() {
            let Some(traffic) = &service.traffic else { continue };
            let state = &mut self.states[id];
            while traffic.rate.get(state.piece + 1).is_some_and(|&(at, _)| at <= now) {
                state.piece += 1;
            }
            let Some(&(_, rate)) = traffic.rate.get(state.piece) else { continue };
            if let Some(&(at, _)) = traffic.rate.get(state.piece + 1) {
                next = next.min(at);
            }
            state.external = rate;
            if let Some((cv, every)) = traffic.burst {
                let interval = now.nanos() / every.nanos().max(1);
                let key = engine::draws::key(&[service.key, interval]);
                state.external *= burst_factor(cv, cx.draw(Stream::TrafficNoise, key));
                next = next.min(SimTime::from_nanos((interval + 1).saturating_mul(every.nanos())));
            }
        }
        self.next_tick = next;
        if next != SimTime::NEVER {
            cx.at(next, wake(Event::Tick));
        }
        self.recompute(cx);
    }

    fn endpoint_changed(&mut self, service: Id<ServiceModel>, id: PodId, cx: &mut Cx<'_>) {
        let now = cx.now();
        let wanted = cx.api().pods.get(id).is_some_and(|p| p.is_ready() && !p.is_terminating());
        let cores = if wanted { cores_of(id, cx) } else { 0.0 };
        let machines = cx.machines_mut();
        let endpoints = &mut machines.load[service].endpoints;
        let at = endpoints.iter().position(|&p| p == id);
        match (at, wanted) {
            (None, true) => endpoints.push(id),
            (Some(at), false) => {
                endpoints.remove(at);
            }
            _ => return,
        }
        if let Some(m) = machines.pod_mut(id) {
            m.cores = cores;
            m.serving_since = if wanted { m.serving_since.min(now) } else { SimTime::NEVER };
        }
        self.recount(service, cx);
        cx.emit(Change::EndpointsChanged(service));
        self.recompute(cx);
    }

    fn machine_changed(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        let mut touched: Vec<Id<ServiceModel>> = Vec::new();
        for &pod in &cx.api().nodes[node].pods {
            let Some(p) = cx.api().pods.get(pod) else { continue };
            for &service in &cx.model().templates[p.template].services {
                if !touched.contains(&service) {
                    touched.push(service);
                }
            }
        }
        for &service in &touched {
            self.recount(service, cx);
        }
        if !touched.is_empty() {
            self.recompute(cx);
        }
    }

    /// Live endpoints and their cores.
    fn recount(&mut self, service: Id<ServiceModel>, cx: &mut Cx<'_>) {
        let (mut alive, mut cores) = (0, 0.0);
        for &id in &cx.machines().load[service].endpoints {
            let works = cx
                .api()
                .pods
                .get(id)
                .and_then(|p| p.node)
                .is_some_and(|n| cx.cloud().instances[cx.api().nodes[n].instance].alive);
            if let Some(m) = cx.machines().pod(id).filter(|_| works) {
                alive += 1;
                cores += m.cores;
            }
        }
        let load = &mut cx.machines_mut().load[service];
        load.alive = alive;
        load.cores = cores;
    }

    /// Advances all queues to now and computes the flows from here on: callers before the called,
    /// then success and latency in the other direction.
    fn recompute(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let model = cx.model();
        let mut arriving: IdVec<ServiceModel, f64> =
            self.states.iter().map(|(_, s)| s.external).collect();
        for &id in &model.service_order {
            let Some(traffic) = &model.services[id].traffic else { continue };
            let load = &cx.machines().load[id];
            let capacity = Capacity {
                endpoints: load.endpoints.len() as u32,
                alive: load.alive,
                cores: load.cores,
                cpu_seconds: traffic.cpu_seconds,
                timeout: traffic.timeout.secs_f64(),
                concurrency: traffic.concurrency,
            };
            let state = &mut self.states[id];
            state.backlog = advance(state.backlog, &state.flow, now.since(state.since).secs_f64());
            state.since = now;
            let before = state.flow;
            state.flow = flow(arriving[id], state.backlog, &capacity);
            for &(to, calls) in &traffic.calls {
                arriving[to] += state.flow.served * calls;
            }
            if state.flow != before || state.flow.settles_in.is_finite() {
                state.regime += 1;
                if state.flow.settles_in.is_finite() {
                    let wait = Span::from_secs_f64(state.flow.settles_in) + Span::from_nanos(1);
                    cx.after(wait, wake(Event::Settle(id, state.regime)));
                }
            }
        }
        self.publish(cx);
    }

    fn publish(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let model = cx.model();
        let keep = model.settings.scrape_period * 8;
        for &id in model.service_order.iter().rev() {
            let Some(traffic) = &model.services[id].traffic else { continue };
            let state = &self.states[id];
            let flow = state.flow;
            let mut success = flow.success;
            let mut latency = traffic.latency_floor + flow.latency;
            for &(to, calls) in &traffic.calls {
                let called = &cx.machines().load[to];
                success *= math::pow(called.success, calls);
                latency += calls * called.latency;
            }
            let load = &mut cx.machines_mut().load[id];
            let changed = (load.offered, load.served, load.success, load.latency, load.external)
                != (flow.offered, flow.served, success, latency, state.external);
            load.external = state.external;
            load.offered = flow.offered;
            load.served = flow.served;
            load.success = success;
            load.latency = latency;
            load.backlog = state.backlog;
            let pods = f64::from(load.alive.max(1));
            load.memory_per_pod = flow.served * latency / pods * traffic.memory.raw() as f64;
            load.set_cores_per_pod(flow.served * traffic.cpu_seconds / pods, now, keep);
            if changed {
                cx.emit(Change::LoadChanged(id));
            }
        }
    }
}

/// A log-normal factor of mean one.
fn burst_factor(cv: f64, u: f64) -> f64 {
    let variance = math::ln(1.0 + cv * cv);
    let z = crate::units::special::normal_quantile(u);
    math::exp(z * math::sqrt(variance) - variance / 2.0)
}

/// Cores that a pod can use for requests: its limit, or its share of the node by CPU weight when
/// all pods want more than there is.
fn cores_of(id: PodId, cx: &Cx<'_>) -> f64 {
    let Some(pod) = cx.api().pods.get(id) else { return 0.0 };
    let model = cx.model();
    let template = &model.templates[pod.template];
    let own = template.request_cpu.raw().max(1) as f64;
    let share = pod.node.map_or(0.0, |n| {
        let node = &cx.api().nodes[n];
        let all: i64 = node
            .pods
            .iter()
            .filter_map(|&p| cx.api().pods.get(p))
            .map(|p| model.templates[p.template].request_cpu.raw().max(1))
            .sum();
        node.allocatable_cpu.raw() as f64 * own / all.max(1) as f64
    });
    let limit = template.limit_cpu.map_or(f64::INFINITY, |l| l.raw() as f64);
    share.min(limit) / 1000.0
}

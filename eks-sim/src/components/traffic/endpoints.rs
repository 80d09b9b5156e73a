//! Which pods requests are sent to, and what each can serve.

use super::{Event, State, Traffic, wake};
use crate::engine::{self, Cx, Stream};
use crate::policy::traffic::Capacity;
use crate::units::{Id, MilliCpu};
use crate::world::machines::Stage;
use crate::world::model::{ServiceModel, TrafficModel, Zone};
use crate::world::{Change, Node, PodId, usage};

/// A pod that requests are sent to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Endpoint {
    pub(super) pod: PodId,
    pub(super) zone: Id<Zone>,
    /// Its queue; `None` if its workload is none of the backends.
    pub(super) lane: Option<usize>,
    pub(super) alive: bool,
    power: Power,
    /// Millionths of its requests that it answers with an error.
    errors: i64,
}

impl Endpoint {
    /// What it can do, if it works.
    pub(super) fn capacity(&self) -> Capacity {
        let Power { workers, rate, .. } = self.power;
        Capacity { workers: workers as f64 / 1e3, rate: rate as f64 / 1e6 }
    }
}

/// What a pod can do, in the units of [`super::Lane`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Power {
    workers: i64,
    rate: i64,
    alone: i64,
    /// Millionths of a core that all workers use together.
    cores: i64,
}

/// A request costs at least this much CPU, so that a pod has a finite rate.
const LEAST_CPU_SECONDS: f64 = 1e-6;

impl Power {
    /// Power of a pod with `cores` whose requests cost `slowdown` times their time. A request uses at most one core; a bound on the requests at
    /// once holds also while they wait for something else than the CPU.
    fn new(cores: f64, slowdown: f64, traffic: &TrafficModel) -> Self {
        if cores <= 0.0 {
            return Self::default();
        }
        let cpu = (traffic.cpu_seconds * slowdown).max(LEAST_CPU_SECONDS);
        let speed = cores.min(1.0);
        let alone = cpu / speed;
        let (mut workers, mut rate) = (cores / speed, cores / cpu);
        if let Some(places) = traffic.concurrency.map(f64::from) {
            let by_places = places / (traffic.latency_floor + alone);
            if by_places < rate {
                (workers, rate) = (places, by_places);
            }
        }
        let whole = |x: f64| x.round() as i64;
        Self {
            workers: whole(workers * 1e3),
            rate: whole(rate * 1e6),
            alone: whole(alone * 1e6),
            cores: whole(rate * cpu * 1e6),
        }
    }
}

impl State {
    fn count(&mut self, e: Endpoint, sign: i64) {
        let Some(lane) = e.lane.and_then(|l| self.lanes.get_mut(l)) else { return };
        let step = |n: &mut u32| *n = n.saturating_add_signed(sign as i32);
        step(&mut lane.endpoints);
        if e.alive {
            step(&mut lane.alive);
            lane.workers += sign * e.power.workers;
            lane.rate += sign * e.power.rate;
            lane.alone += sign * e.power.alone;
            lane.cores += sign * e.power.cores;
            lane.errors += sign * e.errors;
            if let Some(n) = self.alive_in.get_mut(e.zone.index()) {
                step(n);
            }
        }
    }

    /// Puts `new` in the place of an endpoint. Returns whether anything changed.
    fn replace(&mut self, at: usize, new: Endpoint) -> bool {
        let old = self.endpoints[at];
        if (old.alive, old.power) == (new.alive, new.power) {
            return false;
        }
        self.count(old, -1);
        self.count(new, 1);
        self.endpoints[at] = new;
        true
    }
}

impl Traffic {
    /// Adds or removes an endpoint. A load balancer sends to a new one only after it registered.
    pub(super) fn endpoint_changed(
        &mut self,
        service: Id<ServiceModel>,
        id: PodId,
        registered: bool,
        cx: &mut Cx<'_>,
    ) {
        let now = cx.now();
        let wanted = cx.api().pods.get(id).is_some_and(|p| p.is_ready() && !p.is_terminating());
        let at = self.states[service].endpoints.iter().position(|e| e.pod == id);
        match (at, wanted) {
            (None, true) => {
                if cx.model().services[service].load_balancer && !registered {
                    return register_later(service, id, cx);
                }
                let Some(endpoint) = endpoint(service, id, None, cx) else { return };
                self.states[service].count(endpoint, 1);
                self.states[service].endpoints.push(endpoint);
                warm_later(service, id, cx);
            }
            (Some(at), false) => {
                let gone = self.states[service].endpoints.remove(at);
                self.states[service].count(gone, -1);
            }
            _ => return,
        }
        if let Some(m) = cx.machines_mut().pod_mut(id) {
            m.serving_since =
                if wanted { m.serving_since.min(now) } else { crate::units::SimTime::NEVER };
        }
        self.touch(service);
        if let Some(node) = cx.api().pods.get(id).and_then(|p| p.node) {
            self.refresh(node, cx);
        }
        self.count_endpoints(service, cx);
        cx.emit(Change::EndpointsChanged(service));
    }

    /// The pods of a machine that died, or that got more or less to share, are looked at again.
    fn refresh(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        let model = cx.model();
        let weights = weights_on(node, cx);
        for i in 0..cx.api().nodes[node].pods.len() {
            let pod = cx.api().nodes[node].pods[i];
            let Some(template) = cx.api().pods.get(pod).map(|p| p.template) else { continue };
            for &service in &model.templates[template].services {
                self.refresh_pod(service, pod, Some(weights), cx);
            }
        }
    }

    /// `weights` is the sum over the pod's node, where it is known.
    fn refresh_pod(
        &mut self,
        service: Id<ServiceModel>,
        pod: PodId,
        weights: Option<i64>,
        cx: &mut Cx<'_>,
    ) {
        let listed = &self.states[service].endpoints;
        let Some(at) = listed.iter().position(|e| e.pod == pod) else { return };
        let Some(new) = endpoint(service, pod, weights, cx) else { return };
        if self.states[service].replace(at, new) {
            self.touch(service);
            self.count_endpoints(service, cx);
        }
    }

    /// A pod's new size changes what it and its neighbours can do.
    pub(super) fn pod_resized(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        if let Some(node) = cx.api().pods.get(pod).and_then(|p| p.node) {
            self.refresh(node, cx);
        }
    }

    /// A pod that was slow at first is so no more.
    pub(super) fn pod_warm(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        let Some(template) = cx.api().pods.get(pod).map(|p| p.template) else { return };
        for &service in &cx.model().templates[template].services {
            self.refresh_pod(service, pod, None, cx);
        }
    }

    pub(super) fn machine_changed(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        self.refresh(node, cx);
    }

    /// A pod that stopped while it is still listed loses the requests that are sent to it.
    pub(super) fn pod_stopped(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        let Some(template) = cx.api().pods.get(pod).map(|p| p.template) else { return };
        let model = cx.model();
        for &service in &model.templates[template].services {
            self.refresh_pod(service, pod, None, cx);
        }
    }

    fn count_endpoints(&self, service: Id<ServiceModel>, cx: &mut Cx<'_>) {
        let lanes = &self.states[service].lanes;
        let load = &mut cx.machines_mut().load[service];
        load.endpoints = lanes.iter().map(|l| l.endpoints).sum();
        load.alive = lanes.iter().map(|l| l.alive).sum();
    }
}

fn register_later(service: Id<ServiceModel>, pod: PodId, cx: &mut Cx<'_>) {
    let Some(p) = cx.api().pods.get(pod) else { return };
    let key = engine::draws::key(&[cx.model().services[service].key, p.key]);
    let wait = cx.sample(&cx.model().settings.target_registration, Stream::LoadBalancer, key);
    cx.after(wait, wake(Event::Registered(service, pod)));
}

/// Looks at a new endpoint again when it answers at full speed.
fn warm_later(service: Id<ServiceModel>, pod: PodId, cx: &mut Cx<'_>) {
    let traffic = cx.model().services[service].traffic.as_ref();
    let Some(cold) = traffic.and_then(|t| t.cold_start) else { return };
    let Some(m) = cx.machines().pod(pod) else { return };
    let warm = m.container_started + cold.duration;
    if warm > cx.now() {
        cx.at(warm, wake(Event::PodWarm(pod)));
    }
}

/// The pod as an endpoint of the Service.
fn endpoint(
    service: Id<ServiceModel>,
    id: PodId,
    weights: Option<i64>,
    cx: &mut Cx<'_>,
) -> Option<Endpoint> {
    let cores = cores_of(id, weights, cx);
    let node = cx.api().pods.get(id)?.node?;
    let instance = &cx.cloud().instances[cx.api().nodes[node].instance];
    let (zone, works) = (instance.zone, instance.alive);
    let m = cx.machines_mut().pod_mut(id)?;
    m.cores = cores;
    let alive = works && m.stage == Stage::Running;
    let started = m.container_started;
    let traffic = cx.model().services[service].traffic.as_ref();
    let power = traffic.map_or_else(Power::default, |t| {
        let cold = t.cold_start.filter(|c| cx.now() < started + c.duration);
        Power::new(cores, cold.map_or(1.0, |c| c.slowdown), t)
    });
    let pod = cx.api().pods.get(id)?;
    let backend = usage::backend_of(cx.world(), cx.model(), pod, service);
    let lane = backend.unwrap_or_else(|| {
        let by_zone = traffic.is_some_and(|t| t.zone_aware);
        Some(if by_zone { zone.index() } else { 0 })
    });
    let errors = (cx.model().templates[pod.template].errors * 1e6).round() as i64;
    Some(Endpoint { pod: id, zone, lane, alive, power, errors })
}

/// Cores that a pod can use for requests: its limit, or its share of the node by CPU weight when
/// all pods want more than there is.
fn cores_of(id: PodId, weights: Option<i64>, cx: &Cx<'_>) -> f64 {
    let Some(pod) = cx.api().pods.get(id) else { return 0.0 };
    let size = cx.api().size_of(pod, cx.model());
    let own = weight(size.request_cpu) as f64;
    let share = pod.node.map_or(0.0, |n| {
        let all = weights.unwrap_or_else(|| weights_on(n, cx));
        cx.api().nodes[n].allocatable_cpu.raw() as f64 * own / all.max(1) as f64
    });
    let limit = size.limit_cpu.map_or(f64::INFINITY, |l| l.raw() as f64);
    share.min(limit) / 1000.0
}

/// CPU weights of all pods of a node.
fn weights_on(node: Id<Node>, cx: &Cx<'_>) -> i64 {
    let pods = cx.api().nodes[node].pods.iter().filter_map(|&p| cx.api().pods.get(p));
    pods.map(|p| weight(cx.api().size_of(p, cx.model()).request_cpu)).sum()
}

/// CPU weight of a pod.
fn weight(request: MilliCpu) -> i64 {
    request.raw().max(1)
}

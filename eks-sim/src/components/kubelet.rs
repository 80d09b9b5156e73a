//! Kubelets: the life of a pod on its machine.
//!
//! Bound → seen by the kubelet → volumes attached → sandbox with an address → images pulled
//! (one at a time per node, cached) → init containers in order → containers started → readiness
//! probe succeeds → Ready. Deleted → preStop and shutdown within the grace period → address
//! released → object removed. A machine that does not work does nothing of this.

use crate::engine::{self, Cx, Stream};
use crate::policy::vpa::ResizeStatus;
use crate::units::{Id, SimTime, Span};
use crate::world::machines::{Machine, Stage};
use crate::world::model::{GroupKind, ServiceModel, Template};
use crate::world::{Change, Client, Node, NodeCondition, PodId, PodReport, Request};

/// What can happen to a kubelet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A pod was bound to its node.
    Observe(PodId),
    /// The pod's volumes are mounted.
    VolumesReady(PodId),
    /// The pod got an address.
    Addressed(PodId),
    /// The pod was refused an address.
    AddressRefused(PodId),
    /// Try again to make the sandbox.
    RetrySandbox(PodId),
    /// Its containers start.
    Started(PodId),
    /// Its readiness probe succeeds.
    Ready(PodId),
    /// Its containers end by themselves (`true` = well).
    Finished(PodId, bool),
    /// It reaches its memory limit, after so many kills before.
    OutOfMemory(PodId, u16),
    /// Its containers start again after such a kill.
    Restarted(PodId, u16),
    /// The memory of requests to a Service changed.
    LoadChanged(Id<ServiceModel>),
    /// It is to be resized.
    Resize(PodId),
    /// It was deleted.
    Terminate(PodId),
    /// Its containers have stopped.
    Stopped(PodId),
    /// Report again.
    Report(PodId, PodReport),
    /// Report its removal again.
    ReportGone(PodId),
    /// A node registered.
    Registered(Id<Node>),
    /// A node becomes Ready.
    NodeReady(Id<Node>),
    /// A node reports the images on its disk.
    ReportImages(Id<Node>),
}

/// All kubelets. Their state is in [`crate::world::Machines`].
#[derive(Clone, Debug, Default)]
pub struct Kubelets {}

impl Kubelets {
    /// Handles one event.
    pub fn handle(&mut self, event: Event, cx: &mut Cx<'_>) {
        match event {
            Event::Observe(p) => observe(p, cx),
            Event::VolumesReady(p) => sandbox(p, cx),
            Event::Addressed(p) => addressed(p, cx),
            Event::AddressRefused(p) => retry_later(p, cx),
            Event::RetrySandbox(p) => sandbox(p, cx),
            Event::Started(p) => started(p, cx),
            Event::Ready(p) => {
                if works(p, cx) && at_stage(p, Stage::Running, cx) {
                    report(p, PodReport::Ready, cx);
                }
            }
            Event::Finished(p, well) => finished(p, well, cx),
            Event::OutOfMemory(p, kills) => out_of_memory(p, kills, cx),
            Event::Restarted(p, kills) => restarted(p, kills, cx),
            Event::LoadChanged(s) => load_changed(s, cx),
            Event::Resize(p) => resize(p, cx),
            Event::Terminate(p) => terminate(p, cx),
            Event::Stopped(p) => stopped(p, cx),
            Event::Report(p, what) => {
                if works(p, cx) {
                    report(p, what, cx);
                }
            }
            Event::ReportGone(p) => {
                if works(p, cx) {
                    cx.submit(Client::Kubelet, Request::RemovePod { pod: p });
                }
            }
            Event::Registered(n) => registered(n, cx),
            Event::ReportImages(n) => {
                machine_mut(n, cx).reports_at = SimTime::ZERO;
                if cx.cloud().instances[cx.api().nodes[n].instance].alive {
                    cx.submit(Client::Kubelet, Request::ReportImages { node: n });
                }
            }
            Event::NodeReady(n) => {
                let instance = cx.api().nodes[n].instance;
                let now = cx.now();
                let machine = machine_mut(n, cx);
                let waits = machine.network_missing || machine.ready_from > now;
                if cx.cloud().instances[instance].alive && !waits {
                    let request =
                        Request::SetNodeCondition { node: n, condition: NodeCondition::Ready };
                    cx.submit(Client::Kubelet, request);
                }
            }
        }
    }
}

/// Whether the pod's machine works.
fn works(pod: PodId, cx: &Cx<'_>) -> bool {
    let Some(node) = cx.api().pods.get(pod).and_then(|p| p.node) else { return false };
    cx.cloud().instances[cx.api().nodes[node].instance].alive
}

fn at_stage(pod: PodId, stage: Stage, cx: &Cx<'_>) -> bool {
    cx.machines().pod(pod).is_some_and(|m| m.stage == stage)
}

fn report(pod: PodId, report: PodReport, cx: &mut Cx<'_>) {
    cx.submit(Client::Kubelet, Request::Report { pod, report });
}

fn observe(pod: PodId, cx: &mut Cx<'_>) {
    if !works(pod, cx) || cx.machines().pod(pod).is_some() {
        return;
    }
    let Some(p) = cx.api().pods.get(pod) else { return };
    if p.is_terminating() {
        cx.submit(Client::Kubelet, Request::RemovePod { pod });
        return;
    }
    let claims = !cx.model().templates[p.template].claims.is_empty();
    let machines = cx.machines_mut();
    machines.admit(pod);
    if claims {
        if let Some(m) = machines.pod_mut(pod) {
            m.stage = Stage::Volumes;
        }
        cx.emit(Change::VolumesWanted(pod));
    } else {
        sandbox(pod, cx);
    }
}

/// Makes the sandbox: with an address of its own, or on the node's network.
fn sandbox(pod: PodId, cx: &mut Cx<'_>) {
    if !works(pod, cx) {
        return;
    }
    let Some(p) = cx.api().pods.get(pod) else { return };
    if p.is_terminating() {
        return;
    }
    let host_network = cx.model().templates[p.template].host_network
        || !cx.model().network.cni_enabled
        || p.node.is_some_and(|node| outside_subnets(node, cx));
    let Some(m) = cx.machines_mut().pod_mut(pod).filter(|m| m.stage <= Stage::Address) else {
        return;
    };
    m.stage = Stage::Address;
    if host_network {
        addressed(pod, cx);
    } else {
        cx.emit(Change::SandboxWanted(pod));
    }
}

/// Nodes of a trace and hybrid nodes have no interfaces in the cluster's subnets.
fn outside_subnets(node: Id<Node>, cx: &Cx<'_>) -> bool {
    let group = cx.cloud().instances[cx.api().nodes[node].instance].group;
    // A pod on Fargate has the address of its micro-VM.
    let g = &cx.model().groups[group];
    g.is_outside_vpc() || g.kind == GroupKind::Fargate
}

fn retry_later(pod: PodId, cx: &mut Cx<'_>) {
    let Some(p) = cx.api().pods.get(pod) else { return };
    let key = engine::draws::key(&[p.key, cx.now().nanos()]);
    let wait = cx.sample(&cx.model().settings.sandbox_retry, Stream::KubeletSync, key);
    cx.after(wait, engine::Event::Kubelet(Event::RetrySandbox(pod)));
}

/// The sandbox stands: pull, init, start.
fn addressed(pod: PodId, cx: &mut Cx<'_>) {
    if !works(pod, cx) {
        return;
    }
    let Some(p) = cx.api().pods.get(pod) else { return };
    let (template, key, Some(node)) = (p.template, p.key, p.node) else { return };
    let now = cx.now();
    let Some(m) = cx.machines_mut().pod_mut(pod).filter(|m| m.stage == Stage::Address) else {
        return;
    };
    m.stage = Stage::Starting;
    let settings = &cx.model().settings;
    let sandbox = cx.sample(&settings.sandbox, Stream::KubeletSync, key);
    let pulled = pull(now + sandbox, template, key, node, cx);
    let t = &cx.model().templates[template];
    let mut at = pulled;
    for i in 0..t.init_containers {
        let draw = engine::draws::key(&[key, 1, u64::from(i)]);
        at += cx.sample(&settings.init_container, Stream::ContainerStart, draw);
    }
    for i in 0..t.sidecars {
        let draw = engine::draws::key(&[key, 3, u64::from(i)]);
        at += cx.sample(&settings.container_start, Stream::ContainerStart, draw);
    }
    at += cx.sample(&settings.container_start, Stream::ContainerStart, key);
    cx.at(at, engine::Event::Kubelet(Event::Started(pod)));
}

/// When all images are on the disk. Pulls of a node go one after another.
fn pull(
    from: SimTime,
    template: Id<Template>,
    key: u64,
    node: Id<Node>,
    cx: &mut Cx<'_>,
) -> SimTime {
    let model = cx.model();
    let settings = &model.settings;
    let rate =
        if is_fargate(node, cx) { settings.fargate.pull_rate } else { settings.image_pull_rate };
    let mut at = from;
    for &(image, always) in &model.templates[template].images {
        let there = cx.machines().machines.get(node).and_then(|m| m.images.get(&image)).copied();
        if let Some(there) = there {
            at = at.max(there);
            if always {
                at += settings.image_check;
            }
            continue;
        }
        let draw = engine::draws::key(&[u64::from(image.raw()), node_key(node, cx), 2]);
        let overhead = cx.sample(&settings.image_pull_overhead, Stream::ImagePull, key);
        let factor = settings.image_pull_factor.sample(cx.draw(Stream::ImagePull, draw));
        let seconds = model.images[image].size.raw() as f64 / rate * factor;
        let machine = machine_mut(node, cx);
        let begin = at.max(machine.pull_free);
        at = begin + overhead + Span::from_secs_f64(seconds);
        machine.pull_free = at;
        machine.images.insert(image, at);
        report_images(node, at, cx);
    }
    at
}

/// The node's status is posted when it has changed, looked at once a period.
fn report_images(node: Id<Node>, pulled: SimTime, cx: &mut Cx<'_>) {
    let period = cx.model().settings.node_status_period.nanos().max(1);
    let due = pulled.nanos().div_ceil(period).saturating_mul(period);
    let machine = machine_mut(node, cx);
    if machine.reports_at.nanos() < due {
        machine.reports_at = SimTime::from_nanos(due);
        cx.at(SimTime::from_nanos(due), engine::Event::Kubelet(Event::ReportImages(node)));
    }
}

fn is_fargate(node: Id<Node>, cx: &Cx<'_>) -> bool {
    let group = cx.cloud().instances[cx.api().nodes[node].instance].group;
    cx.model().groups[group].kind == GroupKind::Fargate
}

fn node_key(node: Id<Node>, cx: &Cx<'_>) -> u64 {
    cx.cloud().instances[cx.api().nodes[node].instance].key
}

fn machine_mut<'c>(node: Id<Node>, cx: &'c mut Cx<'_>) -> &'c mut Machine {
    let machines = &mut cx.machines_mut().machines;
    while machines.len() <= node.index() {
        machines.push(Machine::default());
    }
    &mut machines[node]
}

fn started(pod: PodId, cx: &mut Cx<'_>) {
    if !works(pod, cx) {
        return;
    }
    let Some(p) = cx.api().pods.get(pod) else { return };
    let (template, key) = (p.template, p.key);
    let (terminating, now) = (p.is_terminating(), cx.now());
    let Some(m) = cx.machines_mut().pod_mut(pod).filter(|m| m.stage == Stage::Starting) else {
        return;
    };
    if terminating {
        return;
    }
    m.stage = Stage::Running;
    m.container_started = now;
    report(pod, PodReport::Started, cx);
    watch_memory(pod, cx);
    let t = &cx.model().templates[template];
    if let Some(duration) = &t.duration {
        let span = cx.sample(duration, Stream::JobDuration, key);
        let well = cx.draw(Stream::JobFailure, key) >= t.failure_probability;
        cx.after(span, engine::Event::Kubelet(Event::Finished(pod, well)));
    }
    let wait = ready_after(template, key, cx);
    cx.after(wait, engine::Event::Kubelet(Event::Ready(pod)));
}

/// From the containers' start to the first success that counts of the readiness probe.
fn ready_after(template: Id<Template>, key: u64, cx: &Cx<'_>) -> Span {
    let t = &cx.model().templates[template];
    let Some(probe) = t.readiness else { return Span::ZERO };
    let startup = t.startup.as_ref().unwrap_or(&cx.model().settings.application_start);
    let up = cx.sample(startup, Stream::ProbePhase, key).max(probe.initial_delay);
    let period = probe.period.nanos().max(1);
    let calls = up.nanos().div_ceil(period) + u64::from(probe.successes.max(1)) - 1;
    Span::from_nanos(calls.saturating_mul(period))
}

fn finished(pod: PodId, well: bool, cx: &mut Cx<'_>) {
    if !works(pod, cx) {
        return;
    }
    let Some(p) = cx.api().pods.get(pod) else { return };
    if cx.model().templates[p.template].trace {
        cx.emit(Change::PodStopped(pod));
        report(pod, PodReport::Succeeded, cx);
        return;
    }
    if !at_stage(pod, Stage::Running, cx) {
        return;
    }
    let Some(p) = cx.api().pods.get(pod) else { return };
    let (template, key, restarts) = (p.template, p.key, p.restarts);
    let terminating = p.is_terminating();
    let t = &cx.model().templates[template];
    if !well && t.restarts_on_failure && !terminating {
        restart(pod, template, key, restarts, cx);
        return;
    }
    m_stop(pod, cx);
    report(pod, if well { PodReport::Succeeded } else { PodReport::Failed }, cx);
    if terminating {
        cx.submit(Client::Kubelet, Request::RemovePod { pod });
    }
}

/// Runs the container again after the crash back-off (10 s doubling to 300 s).
fn restart(pod: PodId, template: Id<Template>, key: u64, restarts: u32, cx: &mut Cx<'_>) {
    report(pod, PodReport::Restarted, cx);
    let settings = &cx.model().settings;
    let doubled = settings.restart_backoff * (1_u64 << restarts.min(20));
    let backoff = doubled.min(settings.restart_backoff_max);
    let Some(duration) = &cx.model().templates[template].duration else { return };
    let draw = engine::draws::key(&[key, u64::from(restarts) + 1]);
    let span = cx.sample(duration, Stream::JobDuration, draw);
    let share = cx.model().templates[template].failure_probability;
    let well = cx.draw(Stream::JobFailure, draw) >= share;
    cx.after(backoff + span, engine::Event::Kubelet(Event::Finished(pod, well)));
}

/// Idle memory of the container that grows.
fn idle_memory(template: &Template) -> f64 {
    template.uses.get(template.main).map_or(0.0, |u| u.idle_memory)
}

/// Memory of that container now: idle, grown, and of the requests it works on.
fn memory_now(pod: PodId, cx: &Cx<'_>) -> Option<f64> {
    let p = cx.api().pods.get(pod)?;
    let m = cx.machines().pod(pod)?;
    let template = &cx.model().templates[p.template];
    let ran = cx.now().since(m.container_started).secs_f64();
    let mut bytes = idle_memory(template) + template.memory_growth * ran;
    if m.serving_since <= cx.now() {
        let zone = cx.cloud().instances[cx.api().nodes[p.node?].instance].zone;
        let loads = &cx.machines().load;
        let used = template.services.iter().filter_map(|&s| loads[s].usage(zone));
        bytes += used.map(|u| u.memory).sum::<f64>();
    }
    Some(bytes)
}

/// Pods whose requests need more memory than they may have are killed.
fn load_changed(service: Id<ServiceModel>, cx: &mut Cx<'_>) {
    let (api, model) = (cx.api(), cx.model());
    let serves = |t: Id<Template>| model.templates[t].services.contains(&service);
    let sets = api.workloads.iter().flat_map(|(_, w)| &w.sets).map(|&s| &api.sets[s]);
    let over = |&pod: &PodId| {
        let p = api.pods.get(pod)?;
        let limit = api.memory_limit(p, model.templates[p.template].main, model)?;
        let kills = cx.machines().pod(pod)?.kills;
        (memory_now(pod, cx)? >= limit as f64).then_some((pod, kills))
    };
    let killed: Vec<(PodId, u16)> =
        sets.filter(|s| serves(s.template)).flat_map(|s| &s.pods).filter_map(over).collect();
    for (pod, kills) in killed {
        out_of_memory(pod, kills, cx);
    }
}

/// Puts the time on the agenda at which growing memory reaches the limit.
fn watch_memory(pod: PodId, cx: &mut Cx<'_>) {
    let (model, now) = (cx.model(), cx.now());
    let Some(p) = cx.api().pods.get(pod) else { return };
    let template = &model.templates[p.template];
    let Some(limit) = cx.api().memory_limit(p, template.main, model) else { return };
    let Some(m) = cx.machines().pod(pod) else { return };
    let room = limit as f64 - idle_memory(template);
    let lasts = match template.memory_growth {
        _ if template.duration.is_some() => return,
        _ if room <= 0.0 => Span::ZERO,
        growth if growth > 0.0 => Span::from_secs_f64(room / growth),
        _ => return,
    };
    let at = (m.container_started + lasts).max(now);
    let kills = m.kills;
    cx.at(at, engine::Event::Kubelet(Event::OutOfMemory(pod, kills)));
}

/// The kernel kills the container, which starts again after the crash back-off (10 s doubling to
/// 300 s, from the start after ten minutes without a crash).
fn out_of_memory(pod: PodId, kills: u16, cx: &mut Cx<'_>) {
    if !works(pod, cx) || !at_stage(pod, Stage::Running, cx) {
        return;
    }
    let (model, now) = (cx.model(), cx.now());
    let Some(p) = cx.api().pods.get(pod) else { return };
    let template = &model.templates[p.template];
    let limit = cx.api().memory_limit(p, template.main, model);
    let Some(used) = memory_now(pod, cx) else { return };
    let Some(m) = cx.machines_mut().pod_mut(pod).filter(|m| m.kills == kills) else { return };
    let ran = now.since(m.container_started);
    // A resize may have raised the limit in the meantime.
    if limit.is_none_or(|limit| used + 1.0 < limit as f64) {
        return watch_memory(pod, cx);
    }
    let settings = &model.settings;
    if ran >= settings.restart_backoff_max * 2 {
        m.kills = 0;
    }
    let doubled = settings.restart_backoff * (1_u64 << m.kills.min(20));
    m.kills = m.kills.saturating_add(1);
    m.stage = Stage::Starting;
    let (kills, backoff) = (m.kills, doubled.min(settings.restart_backoff_max));
    report(pod, PodReport::OomKilled, cx);
    cx.after(backoff, engine::Event::Kubelet(Event::Restarted(pod, kills)));
}

fn restarted(pod: PodId, kills: u16, cx: &mut Cx<'_>) {
    if !works(pod, cx) {
        return;
    }
    let Some(p) = cx.api().pods.get(pod) else { return };
    let (template, key, now) = (p.template, p.key, cx.now());
    if p.is_terminating() {
        return;
    }
    let Some(m) = cx.machines_mut().pod_mut(pod).filter(|m| m.kills == kills) else { return };
    if m.stage != Stage::Starting {
        return;
    }
    m.stage = Stage::Running;
    m.container_started = now;
    watch_memory(pod, cx);
    let wait = ready_after(template, key, cx);
    cx.after(wait, engine::Event::Kubelet(Event::Ready(pod)));
}

/// Resizes the pod in place, if its node has the room: else now and then again, or never.
fn resize(pod: PodId, cx: &mut Cx<'_>) {
    if !works(pod, cx) {
        return;
    }
    let model = cx.model();
    let Some(p) = cx.api().pods.get(pod) else { return };
    let (Some(shape), Some(node)) = (p.resizing, p.node) else { return };
    let (old, new) = (cx.api().size_of(p, model), cx.api().shapes.get(shape).size);
    let row = &cx.api().nodes[node];
    let (cpu, memory) = cx.api().requested_on(node, model);
    let never =
        new.request_cpu > row.allocatable_cpu || new.request_memory > row.allocatable_memory;
    let fits = cpu + new.request_cpu <= row.allocatable_cpu + old.request_cpu
        && memory + new.request_memory <= row.allocatable_memory + old.request_memory;
    let status = match (never, fits) {
        (true, _) => Some(ResizeStatus::Infeasible),
        (false, false) => Some(ResizeStatus::Deferred),
        (false, true) => None,
    };
    if let Some(m) = cx.machines_mut().pod_mut(pod) {
        m.resize = status;
    }
    match status {
        None => cx.submit(Client::Kubelet, Request::Resized { pod }),
        Some(ResizeStatus::Deferred) => {
            let again = cx.model().settings.resize_retry;
            cx.after(again, engine::Event::Kubelet(Event::Resize(pod)));
        }
        Some(_) => {}
    }
}

/// Marks the containers as stopped and gives the address back.
fn m_stop(pod: PodId, cx: &mut Cx<'_>) {
    if let Some(m) = cx.machines_mut().pod_mut(pod) {
        m.stage = Stage::Stopped;
        cx.emit(Change::PodStopped(pod));
    }
}

fn terminate(pod: PodId, cx: &mut Cx<'_>) {
    if !works(pod, cx) {
        return;
    }
    let Some(p) = cx.api().pods.get(pod) else { return };
    let (template, key) = (p.template, p.key);
    if cx.model().templates[template].trace {
        cx.submit(Client::Kubelet, Request::RemovePod { pod });
        return;
    }
    let Some(m) = cx.machines().pod(pod) else { return };
    let wait = match m.stage {
        Stage::Running => {
            let t = &cx.model().templates[template];
            let settings = &cx.model().settings;
            let stop = cx.sample(&settings.container_stop, Stream::ContainerStop, key);
            (t.pre_stop + stop).min(t.grace)
        }
        _ => Span::ZERO,
    };
    cx.after(wait, engine::Event::Kubelet(Event::Stopped(pod)));
}

fn stopped(pod: PodId, cx: &mut Cx<'_>) {
    if !works(pod, cx) {
        return;
    }
    if cx.machines().pod(pod).is_some_and(|m| m.stage != Stage::Stopped) {
        m_stop(pod, cx);
    }
    cx.submit(Client::Kubelet, Request::RemovePod { pod });
}

fn registered(node: Id<Node>, cx: &mut Cx<'_>) {
    machine_mut(node, cx);
    if cx.api().nodes[node].condition == NodeCondition::Ready {
        return;
    }
    if is_fargate(node, cx) {
        // The start of the micro-VM has been its whole start.
        cx.after(Span::ZERO, engine::Event::Kubelet(Event::NodeReady(node)));
        return;
    }
    let key = node_key(node, cx);
    let wait = cx.sample(&cx.model().settings.node_ready, Stream::KubeletSync, key);
    machine_mut(node, cx).ready_from = cx.now() + wait;
    cx.after(wait, engine::Event::Kubelet(Event::NodeReady(node)));
}

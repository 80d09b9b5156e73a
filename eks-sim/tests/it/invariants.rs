//! The invariants of every run, checked while it runs: at each change what the change touches,
//! and everything at fixed instants.

use crate::rig::{Text, deployment, text};
use eks_sim::engine::{Observer, Sim, View};
use eks_sim::observe::collector::Collector;
use eks_sim::observe::outcome::Outcome;
use eks_sim::policy::vpc_cni::Holding;
use eks_sim::units::{Bytes, Id, MilliCpu, SimTime, Span};
use eks_sim::world::cloud::{Instance, InstanceState};
use eks_sim::world::machines::Stage;
use eks_sim::world::model::WorkloadKind;
use eks_sim::world::{Change, Model, Node, NodeCondition, Phase, Pod, PodId, Set, World};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

/// Age from which a pending pod must have a reason.
const REASON_AFTER: Span = Span::from_secs(20);

/// How long things may take that nothing keeps from happening.
const PATIENCE: Span = Span::from_secs(300);

/// Watches a run and notes what must not be.
pub struct Watcher {
    collector: Collector,
    now: SimTime,
    /// What is wrong, the first few.
    pub wrong: Vec<String>,
    /// Fingerprint of the API objects since writes became impossible.
    frozen: Option<String>,
    api_changed: SimTime,
    born: BTreeSet<PodId>,
    gone: BTreeSet<PodId>,
    started: BTreeSet<PodId>,
    running: BTreeMap<Id<Instance>, SimTime>,
    /// Nano-dollars times hours in nanoseconds, per instance that ended.
    billed: f64,
    changes: u64,
    /// Last change of each set and its pods.
    touched: BTreeMap<Id<Set>, SimTime>,
}

impl Watcher {
    pub fn new(model: &Model) -> Self {
        Self {
            collector: Collector::new(model, true),
            now: SimTime::ZERO,
            wrong: Vec::new(),
            frozen: None,
            api_changed: SimTime::ZERO,
            born: BTreeSet::new(),
            gone: BTreeSet::new(),
            started: BTreeSet::new(),
            running: BTreeMap::new(),
            billed: 0.0,
            changes: 0,
            touched: BTreeMap::new(),
        }
    }

    fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.wrong.len() < 20 {
            let at = self.now;
            self.wrong.push(format!("{at}: {}", what()));
        }
    }

    /// Pods come once, go once, start before they are Ready.
    fn life(&mut self, change: &Change, view: &View<'_>) {
        let name = |p: PodId| format!("pod {p:?}");
        match *change {
            Change::PodCreated(p) => {
                let new = self.born.insert(p);
                self.check(new, || format!("{} was created twice", name(p)));
            }
            Change::PodDeleted(p) => {
                let first = self.gone.insert(p);
                self.check(first, || format!("{} was deleted twice", name(p)));
            }
            Change::PodStarted(p) => {
                self.started.insert(p);
            }
            Change::PodReady(p) => {
                let started = self.started.contains(&p);
                self.check(started, || format!("{} is Ready and has not started", name(p)));
            }
            _ => {}
        }
        if let Change::PodCreated(p) | Change::PodDeleting(p, _) | Change::PodDeleted(p) = *change
            && let Some(pod) = view.world.api.pods.get(p)
        {
            self.touched.insert(pod.set, self.now);
        }
        if let Change::SetScaled(set) = *change {
            self.touched.insert(set, self.now);
        }
        if let Change::PodBound(p)
        | Change::PodStarted(p)
        | Change::PodReady(p)
        | Change::PodDeleting(p, _)
        | Change::PodUnschedulable(p)
        | Change::PodAddressed(p) = *change
        {
            let alive = self.born.contains(&p) && view.world.api.pods.get(p).is_some();
            self.check(alive, || format!("{change:?} of a pod that is not there"));
        }
        if let Change::PodBound(p) = *change {
            let node = view.world.api.pods.get(p).and_then(|p| p.node);
            let exists = node.is_some_and(|n| view.world.api.nodes[n].exists());
            self.check(exists, || format!("{} was bound to a node that is not there", name(p)));
            if let Some(node) = node {
                self.capacity(node, view);
            }
        }
    }

    /// Requests and pods fit on the node.
    fn capacity(&mut self, node: Id<Node>, view: &View<'_>) {
        let row = &view.world.api.nodes[node];
        let (mut cpu, mut memory, mut pods) = (MilliCpu::ZERO, Bytes::ZERO, 0);
        for pod in row.pods.iter().filter_map(|&p| view.world.api.pods.get(p)) {
            if matches!(pod.phase, Phase::Pending | Phase::Running) {
                let t = &view.model.templates[pod.template];
                cpu += t.request_cpu;
                memory += t.request_memory;
                pods += 1;
            }
        }
        let fits = cpu <= row.allocatable_cpu && memory <= row.allocatable_memory;
        self.check(fits, || {
            format!(
                "{}: {cpu:?} {memory:?} requested of {:?} {:?}",
                row.name(),
                row.allocatable_cpu,
                row.allocatable_memory
            )
        });
        self.check(pods <= row.max_pods, || {
            format!("{}: {pods} pods of {}", row.name(), row.max_pods)
        });
    }

    /// API objects do not change while nothing can write them.
    fn outage(&mut self, change: &Change, view: &View<'_>) {
        if let Change::ApiAvailability(up) = *change {
            self.api_changed = self.now;
            self.frozen = (!up).then(|| fingerprint(view.world));
            let truth = view.world.cloud.api_available();
            self.check(truth == up, || format!("the API is said to be up: {up}, and is {truth}"));
            return;
        }
        let writes = matches!(
            change,
            Change::PodCreated(_)
                | Change::PodBound(_)
                | Change::PodNominated(_)
                | Change::PodStarted(_)
                | Change::PodReady(_)
                | Change::PodUnready(_)
                | Change::PodRestarted(_)
                | Change::PodSucceeded(_)
                | Change::PodFailed(_)
                | Change::PodDeleting(..)
                | Change::PodDeleted(_)
                | Change::WorkloadScaled(..)
                | Change::WorkloadCreated(_)
                | Change::JobFinished(..)
                | Change::SetScaled(_)
                | Change::NodeRegistered(_)
                | Change::NodeConditionChanged(_)
                | Change::NodeTainted(..)
                | Change::NodeDeleted(_)
        );
        let frozen = self.frozen.is_some();
        self.check(!(frozen && writes), || format!("{change:?} while the API is down"));
    }

    /// The bill by hand: price times time from running to the end.
    fn bill(&mut self, change: &Change, view: &View<'_>) {
        let now = self.now;
        match *change {
            Change::InstanceRunning(i) => {
                let first = self.running.insert(i, now).is_none();
                self.check(first, || format!("instance {} runs twice", i.raw()));
            }
            Change::InstanceTerminated(i) => {
                if let Some(since) = self.running.remove(&i) {
                    self.billed += price(view, i) * now.since(since).secs_f64();
                }
            }
            _ => {}
        }
    }

    /// Everything that must hold between two instants.
    pub fn settled(&mut self, now: SimTime, view: &View<'_>) {
        self.now = now;
        let world = view.world;
        for &node in &world.api.live_nodes {
            self.capacity(node, view);
        }
        self.sets(view);
        self.addresses(view);
        self.reasons(view);
        self.progress(view);
        if let Some(frozen) = &self.frozen {
            let same = *frozen == fingerprint(world);
            self.check(same, || "API objects changed while the API is down".to_owned());
        }
    }

    fn sets(&mut self, view: &View<'_>) {
        let api = &view.world.api;
        let mut listed = 0;
        for (id, set) in api.sets.iter() {
            let pods = || set.pods.iter().filter_map(|&p| api.pods.get(p));
            let ready = pods().filter(|p| p.is_ready() && !p.is_terminating()).count();
            self.check(ready == set.ready as usize, || {
                format!("set {}: {} ready, counted {ready}", id.raw(), set.ready)
            });
            let there = pods().count();
            self.check(there == set.pods.len(), || format!("set {} lists lost pods", id.raw()));
            listed += there;
        }
        self.check(listed == api.pods.len() as usize, || {
            format!("{listed} pods in sets, {} in the table", api.pods.len())
        });
        for (id, pod) in api.pods.iter() {
            let on_node = pod.node.is_none_or(|n| api.nodes[n].pods.contains(&id));
            self.check(on_node, || format!("pod {id:?} is not in its node's list"));
        }
    }

    /// Pods' addresses ≤ attached ≤ usable; none twice; none left behind.
    fn addresses(&mut self, view: &View<'_>) {
        let (world, model) = (view.world, view.model);
        let mut seen: BTreeSet<(u32, u32)> = BTreeSet::new();
        let mut bound: BTreeMap<u32, u32> = BTreeMap::new();
        for pod in world.machines.pods.iter().flatten() {
            let Some(address) = pod.address else { continue };
            let Some(node) = world.api.pods.get(pod.pod).and_then(|p| p.node) else { continue };
            let instance = &world.cloud.instances[world.api.nodes[node].instance];
            if instance.state == InstanceState::Terminated {
                continue;
            }
            // A branch interface or an IPv6 address is none of the warm pool.
            let Some(subnet) = crate::addresses::of_pool(address, view) else { continue };
            let subnet = subnet.raw();
            *bound.entry(subnet).or_default() += 1;
            let once = seen.insert((subnet, address));
            self.check(once, || format!("address {address:x} belongs to two pods"));
        }
        for (id, subnet) in world.cloud.subnets.iter() {
            let space = &subnet.space;
            let name = &model.subnets[id].name;
            let held = space.count(Holding::Secondary) + space.count(Holding::Prefix);
            self.check(subnet.assigned <= held, || {
                format!("subnet {name}: {} assigned, {held} attached", subnet.assigned)
            });
            let counted = bound.get(&id.raw()).copied().unwrap_or(0);
            self.check(counted <= subnet.assigned, || {
                format!("subnet {name}: {} assigned, counted {counted}", subnet.assigned)
            });
        }
        for wrong in crate::addresses::conservation(view) {
            self.check(false, || wrong);
        }
    }

    /// A pod that waits for long has a reason (I7).
    fn reasons(&mut self, view: &View<'_>) {
        if self.frozen.is_some() || self.api_changed + REASON_AFTER > self.now {
            return;
        }
        for (id, pod) in view.world.api.pods.iter() {
            let gated = !view.model.templates[pod.template].object.spec.scheduling_gates.is_empty();
            let waits = pod.node.is_none() && !pod.is_terminating() && !gated;
            if waits && pod.created + REASON_AFTER < self.now {
                let said = view.scheduler.message(id).is_some_and(|m| !m.is_empty());
                self.check(said, || {
                    format!("pod {id:?} waits since {} and nobody says why", pod.created)
                });
            }
        }
    }

    /// Nothing is stuck: where nothing stands in the way, things get done.
    fn progress(&mut self, view: &View<'_>) {
        if self.frozen.is_some() || self.api_changed + PATIENCE > self.now {
            return;
        }
        let (api, now) = (&view.world.api, self.now);
        for (id, pod) in api.pods.iter() {
            let stuck = stuck(id, pod, now, view);
            self.check(stuck.is_none(), || {
                format!("pod {id:?} {} on node {:?}: {pod:?}", stuck.unwrap_or(""), pod.node)
            });
        }
        for (id, set) in api.sets.iter() {
            let last = self.touched.get(&id).copied().unwrap_or(SimTime::ZERO);
            let workload = &api.workloads[set.workload];
            let model = &view.model.workloads[workload.model];
            if last + PATIENCE > now {
                continue;
            }
            let active = set.pods.iter().filter_map(|&p| api.pods.get(p)).filter(|p| p.is_active());
            let active = active.count();
            let plain =
                matches!(model.kind, WorkloadKind::Deployment(_) | WorkloadKind::ReplicaSet(_));
            self.check(!plain || active == set.desired as usize, || {
                format!("{}: {active} pods for long, {} wanted", model.name, set.desired)
            });
            let current = workload.sets.last() == Some(&id);
            self.check(!plain || !current || workload.replicas == set.desired, || {
                format!("{}: {} wanted, its set has {}", model.name, workload.replicas, set.desired)
            });
            if let WorkloadKind::Job(job) = &model.kind
                && let Some(state) = &workload.job
            {
                let open = state.finished.is_none();
                let wanted = job.spec.completions.unwrap_or(1).max(0) as usize;
                let done = set.pods.iter().filter_map(|&p| api.pods.get(p));
                let done = done.filter(|p| p.phase == Phase::Succeeded).count();
                self.check(!open || done < wanted, || format!("Job {} is done", model.name));
            }
        }
        for (id, group) in view.world.cloud.groups.iter() {
            let short = (group.instances.len() as u32) < group.desired;
            self.check(!short || group.retry > now || group.failing_since.is_none(), || {
                format!("group {}: nobody tries to launch", view.model.groups[id].name)
            });
            self.check(!short || group.failing_since.is_some(), || {
                format!("group {}: too few instances", view.model.groups[id].name)
            });
        }
    }

    /// The end: what the collector says must match the recount.
    pub fn finish(mut self, sim: &Sim, diagnosis: Option<String>) -> (Outcome, Vec<String>) {
        let (world, model) = (sim.world(), sim.model());
        let end = SimTime::ZERO + model.duration;
        self.now = end;
        self.check(diagnosis.is_none(), || diagnosis.clone().unwrap_or_default());
        let mut billed = self.billed;
        for (&i, &since) in &self.running {
            billed += price(&sim.view(), i) * end.since(since).secs_f64();
        }
        let Self { collector, mut wrong, .. } = self;
        let outcome = collector.finish(0, world, model, (sim.digest(), sim.events()), None);
        let said: f64 = outcome
            .cost
            .iter()
            .filter(|l| l.component.starts_with("EC2"))
            .map(|l| l.amount.usd())
            .sum();
        if model.warmup.is_zero() && (said - billed / 3600.0).abs() > 1e-6 {
            wrong.push(format!("instances cost {said}, counted {}", billed / 3600.0));
        }
        let columns = eks_sim::observe::metrics::columns();
        let value = |name: &str| {
            columns.iter().position(|c| c.name() == name).map_or(f64::NAN, |i| outcome.values[i])
        };
        let total: f64 = outcome.cost.iter().map(|l| l.amount.usd()).sum();
        if (total - value("cost_usd")).abs() > 1e-6 {
            wrong.push(format!("cost lines add up to {total}, not {}", value("cost_usd")));
        }
        for (column, &v) in columns.iter().zip(&outcome.values) {
            absurd(&column.name(), column.metric.unit, v, model, &mut wrong);
        }
        for line in &outcome.series.lines {
            if let Some(bad) = line.values.iter().find(|v| v.is_infinite() || **v < 0.0) {
                wrong.push(format!("series {} {} has {bad}", line.name, line.object));
            }
        }
        (outcome, wrong)
    }
}

/// What a pod waits for although nothing keeps it.
fn stuck(id: PodId, pod: &Pod, now: SimTime, view: &View<'_>) -> Option<&'static str> {
    let world = view.world;
    let template = &view.model.templates[pod.template];
    let Some(node) = pod.node else {
        return pod.is_terminating().then_some("is terminating and not bound");
    };
    let row = &world.api.nodes[node];
    if !row.exists() {
        return (row.deleted + PATIENCE < now).then_some("outlives its node");
    }
    let instance = &world.cloud.instances[row.instance];
    if !instance.alive || row.condition != NodeCondition::Ready {
        return None;
    }
    if pod.is_terminating() {
        return (pod.deleting + template.grace + PATIENCE < now).then_some("does not end");
    }
    let machine = world.machines.pod(id);
    let stage = machine.map(|m| (m.stage, m.refusals));
    // It may have waited for its address until a moment ago.
    let fresh =
        machine.is_some_and(|m| m.addressed != SimTime::NEVER && m.addressed + PATIENCE > now);
    match pod.phase {
        Phase::Pending if pod.bound + PATIENCE * 2 < now => match stage {
            Some((Stage::Address, refusals)) if refusals > 0 => None,
            Some((Stage::Volumes, _)) => None,
            Some((Stage::Starting, _)) if fresh => None,
            _ => Some("does not start"),
        },
        // Killed for its memory again and again, a pod has no time to become Ready.
        Phase::Running if pod.last_oom.is_some() => None,
        Phase::Running if pod.started + PATIENCE * 2 < now && !pod.is_ready() => {
            Some("does not become Ready")
        }
        _ => None,
    }
}

/// Values that cannot be.
fn absurd(name: &str, unit: &str, value: f64, model: &Model, wrong: &mut Vec<String>) {
    if value.is_nan() {
        return;
    }
    let mut high = if unit == "share" { 1.0 + 1e-9 } else { f64::MAX };
    if name == "cpu_requested_ratio" || name == "memory_requested_ratio" || name == "cpu_used_ratio"
    {
        // Pods of nodes that are lost still count as requested.
        high = f64::MAX;
    }
    if name.starts_with("pod_pending") || name.starts_with("pod_startup") {
        high = model.duration.secs_f64();
    }
    if !(-1e-9..=high).contains(&value) {
        wrong.push(format!("{name} is {value} {unit}"));
    }
}

fn price(view: &View<'_>, instance: Id<Instance>) -> f64 {
    let row = &view.world.cloud.instances[instance];
    view.model.groups[row.group].types[row.type_index as usize].rate.usd_per_hour()
}

/// API objects as text.
fn fingerprint(world: &World) -> String {
    let api = &world.api;
    let mut out = String::new();
    for (id, p) in api.pods.iter() {
        let _ = write!(
            out,
            "{id:?}{:?}{:?}{:?}{:?}{:?}{};",
            p.node, p.phase, p.deleting, p.ready_since, p.nominated, p.restarts
        );
    }
    for (_, n) in api.nodes.iter() {
        let _ = write!(out, "{:?}{:?}{:?};", n.condition, n.taints, n.deleted);
    }
    for (_, w) in api.workloads.iter() {
        let _ = write!(out, "{}{:?};", w.replicas, w.job.as_ref().map(|j| j.finished));
    }
    for (_, s) in api.sets.iter() {
        let _ = write!(out, "{};", s.desired);
    }
    out
}

impl Observer for Watcher {
    fn observe(&mut self, now: SimTime, change: &Change, view: &View<'_>) {
        let past = self.now;
        self.check(now >= past, || format!("time runs backwards: {now} after {past}"));
        self.now = now;
        self.changes += 1;
        self.life(change, view);
        self.outage(change, view);
        self.bill(change, view);
        self.collector.observe(now, change, view);
    }
}

/// Runs replication `r` under the watcher's eyes, looking at everything `looks` times.
pub fn watched(model: &Arc<Model>, replication: u32, looks: u64) -> (Outcome, Vec<String>) {
    let mut sim = Sim::new(Arc::clone(model), replication);
    let mut watcher = Watcher::new(model);
    let mut diagnosis = None;
    for look in 1..=looks {
        let at = SimTime::from_nanos(model.duration.nanos() / looks * look);
        diagnosis = sim.run_until(at, &mut watcher);
        if diagnosis.is_some() {
            break;
        }
        watcher.settled(at, &sim.view());
    }
    if diagnosis.is_none() {
        diagnosis = sim.run(&mut watcher);
    }
    watcher.finish(&sim, diagnosis.map(|d| format!("{d:?}")))
}

fn check(name: &str, text: &Text) {
    let model = text.model();
    for replication in 0..2 {
        let (outcome, wrong) = watched(&model, replication, 100);
        assert!(wrong.is_empty(), "{name}, replication {replication}:\n{}", wrong.join("\n"));
        assert!(outcome.events > 50, "{name}: only {} events", outcome.events);
    }
}

const THREE: &str = "  cluster:\n    nodeGroups:\n    - {name: a, instanceTypes: [m5.large], \
                     minSize: 0, maxSize: 6, desiredSize: 3}\n";

#[test]
fn a_deployment_on_three_nodes() {
    let more = "      terminationGracePeriodSeconds: 5\n";
    let all = deployment("web", 12, "{cpu: 250m, memory: 256Mi}", more);
    check("plain", &text(&format!("  duration: 30m\n{THREE}"), &all));
}

#[test]
fn more_pods_than_fit() {
    let all = deployment("web", 60, "{cpu: 400m, memory: 1Gi}", "");
    check("full", &text(&format!("  duration: 20m\n{THREE}"), &all));
}

#[test]
fn control_plane_lost_for_a_while() {
    let faults = "  faults:\n  - {at: 5m, etcdMemberLoss: {count: 2, duration: 10m}}\n  \
                  - {at: 6m, nodeCrash: {count: 1}}\n  \
                  - {at: 30m, apiServerLoss: {count: 2, duration: 3m}}\n";
    let all = deployment("web", 10, "{cpu: 250m}", "");
    check("etcd", &text(&format!("  duration: 1h\n{THREE}{faults}"), &all));
}

#[test]
fn every_zone_lost_one_after_the_other() {
    let faults = "  faults:\n  - {at: 5m, zoneOutage: {zone: us-east-1a, duration: 20m}}\n  \
                  - {at: 15m, zoneOutage: {zone: us-east-1b, duration: 20m}}\n  \
                  - {at: 30m, zoneOutage: {zone: us-east-1c, duration: 40m}}\n";
    let all = deployment("web", 10, "{cpu: 250m}", "");
    check("zones", &text(&format!("  duration: 2h\n{THREE}{faults}"), &all));
}

#[test]
fn addresses_come_back_when_all_nodes_go() {
    let spec = "  duration: 2h\n  cluster:\n    network:\n      subnets:\n      \
                - {name: a, zone: us-east-1a, prefix: 27}\n    nodeGroups:\n    \
                - {name: a, instanceTypes: [m5.large], minSize: 0, maxSize: 3, desiredSize: 2}\n  \
                faults:\n  - {at: 20m, nodeCrash: {count: 2}}\n  \
                - {at: 30m, zoneOutage: {zone: us-east-1a, duration: 3h}}\n";
    let model = text(spec, &deployment("web", 6, "{cpu: 100m}", "")).model();
    let mut sim = Sim::new(Arc::clone(&model), 0);
    sim.run(&mut ());
    for (id, subnet) in sim.world().cloud.subnets.iter() {
        let control_plane = model.subnets[id].control_plane_enis;
        let free = subnet.space.usable() - control_plane;
        assert_eq!(subnet.space.free(), free, "subnet {}", id.raw());
        assert_eq!(subnet.assigned, 0);
    }
    check("all gone", &text(spec, &deployment("web", 6, "{cpu: 100m}", "")));
}

#[test]
fn a_group_that_starts_short_of_addresses_tries_again() {
    // 11 usable addresses, 3 of them taken: not all nodes and their pools fit.
    let spec = "  duration: 1h\n  cluster:\n    network:\n      subnets:\n      \
                - {name: a, zone: us-east-1a, prefix: 28, usedAddresses: 3}\n    nodeGroups:\n    \
                - {name: a, instanceTypes: [m5.large], minSize: 0, maxSize: 12, desiredSize: 10}\n";
    check("short", &text(spec, &deployment("web", 6, "{cpu: 100m}", "")));
}

//! The full record of one replication: events as Kubernetes words them, pods, nodes.

mod groups;
mod karpenter;
mod words;

use super::network_events;
use super::outcome::{Detail, EventRow, NodeRow, PodRow};
use super::scaling;
use crate::catalog::CapacityType;
use crate::components::karpenter::explain::Purchase;
use crate::components::vpc_cni::VpcCni;
use crate::engine::View;
use crate::policy::vpc_cni::Eni;
use crate::policy::vpc_cni::address_space::PREFIX_SIZE;
use crate::units::{Id, SimTime, UsageCost};
use crate::world::cloud::Instance;
use crate::world::model::WorkloadKind;
use crate::world::steps::StepKind;
use crate::world::{Change, Model, Node, NodeCondition, PodId, World};
use std::collections::BTreeMap;
use words::{held_back, refusal, weights_text};

/// Most events kept; a run with more keeps the first ones and says so.
const MOST_EVENTS: usize = 2_000_000;

/// Records everything.
#[derive(Debug, Default)]
pub struct DetailRecorder {
    events: Vec<EventRow>,
    left_out: u64,
    pods: Vec<PodRow>,
    /// Row of the pod in a slot.
    row_of: Vec<usize>,
    pods_max: BTreeMap<u32, u32>,
    /// Most interfaces, prefixes and addresses of each node.
    network_max: BTreeMap<u32, [u32; 3]>,
    /// By instance: why Karpenter bought it.
    purchases: BTreeMap<u32, Purchase>,
    /// Buffer.
    of_scalers: Vec<EventRow>,
}

/// Name of a pod: of its owner, with the suffix Kubernetes would give it.
#[must_use]
pub fn pod_name(pod: PodId, world: &World, model: &Model) -> (String, String) {
    let Some(p) = world.api.pods.get(pod) else { return (String::new(), String::new()) };
    let workload = &world.api.workloads[world.api.sets[p.set].workload];
    let w = &model.workloads[workload.model];
    let name = match &w.kind {
        WorkloadKind::Deployment(_) => {
            format!("{}-{}-{}", w.name, suffix(set_key(p.set, world, model), 10), suffix(p.key, 5))
        }
        WorkloadKind::ReplicaSet(_) | WorkloadKind::DaemonSet(_) => {
            format!("{}-{}", w.name, suffix(p.key, 5))
        }
        WorkloadKind::StatefulSet(_) => format!("{}-{}", w.name, p.ordinal),
        WorkloadKind::Job(_) => {
            let serial = workload.job.as_ref().map_or(0, |j| j.serial);
            let of_cron = model.cron_jobs.iter().any(|(_, c)| c.job == workload.model);
            let job = if of_cron { format!("{}-{serial}", w.name) } else { w.name.clone() };
            format!("{job}-{}", suffix(p.key, 5))
        }
        WorkloadKind::Trace => format!("{}-{}", w.name, p.ordinal),
        WorkloadKind::Pod => w.name.clone(),
    };
    (w.namespace.clone(), name)
}

fn set_key(set: Id<crate::world::Set>, world: &World, model: &Model) -> u64 {
    let row = &world.api.sets[set];
    let w = &model.workloads[world.api.workloads[row.workload].model];
    crate::units::key::key(&[w.key, u64::from(row.serial)])
}

/// Letters of Kubernetes' random suffixes.
fn suffix(mut key: u64, letters: usize) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..letters)
        .map(|_| {
            let at = (key % 27) as usize;
            key /= 27;
            char::from(ALPHABET[at])
        })
        .collect()
}

/// `Kind/name` of the owner of a pod.
fn owner(pod: PodId, world: &World, model: &Model) -> String {
    let Some(p) = world.api.pods.get(pod) else { return String::new() };
    let w = &model.workloads[world.api.workloads[world.api.sets[p.set].workload].model];
    format!("{}/{}", w.kind.name(), w.name)
}

impl DetailRecorder {
    /// An empty record.
    #[must_use]
    pub fn new(_: &Model) -> Self {
        Self::default()
    }

    /// Writes down one change.
    pub fn observe(&mut self, now: SimTime, change: &Change, view: &View<'_>) {
        self.track_pod(now, change, view);
        self.track_network(change, view);
        if let Change::InstanceRunning(i) = *change
            && let Some(why) = view.karpenter.why_bought(i, view.model, view.world)
        {
            self.purchases.insert(i.raw(), why);
        }
        let mut of_scalers = core::mem::take(&mut self.of_scalers);
        scaling::rows(now, change, view, &mut of_scalers);
        for row in of_scalers.drain(..).chain(describe(now, change, view)) {
            if self.events.len() < MOST_EVENTS {
                self.events.push(row);
            } else {
                self.left_out += 1;
            }
        }
        self.of_scalers = of_scalers;
    }

    fn row(&mut self, pod: PodId) -> Option<&mut PodRow> {
        let at = *self.row_of.get(pod.slot() as usize)?;
        self.pods.get_mut(at)
    }

    fn track_pod(&mut self, now: SimTime, change: &Change, view: &View<'_>) {
        match *change {
            Change::PodCreated(p) => {
                let (namespace, name) = pod_name(p, view.world, view.model);
                let slot = p.slot() as usize;
                if self.row_of.len() <= slot {
                    self.row_of.resize(slot + 1, usize::MAX);
                }
                self.row_of[slot] = self.pods.len();
                self.pods.push(PodRow {
                    namespace,
                    name,
                    owner: owner(p, view.world, view.model),
                    created: now,
                    state: "Pending".to_owned(),
                    reason: held_back(p, view),
                    ..PodRow::default()
                });
            }
            Change::PodBound(p) => {
                let node = view.world.api.pods.get(p).and_then(|x| x.node);
                let name = node.map(|n| view.world.api.nodes[n].name().to_owned());
                if let Some(row) = self.row(p) {
                    row.bound = Some(now);
                    row.node = name.unwrap_or_default();
                }
                if let Some(n) = node {
                    let pods = view.world.api.nodes[n].pods.len() as u32;
                    let max = self.pods_max.entry(n.raw()).or_default();
                    *max = (*max).max(pods);
                }
            }
            Change::PodUngated(p) => self.set(p, |r| r.reason.clear()),
            Change::PodAddressed(p) => self.set(p, |r| r.addressed = Some(now)),
            Change::PodStarted(p) => self.set(p, |r| {
                r.started = Some(now);
                r.state = "Running".to_owned();
            }),
            Change::PodReady(p) => self.set(p, |r| {
                r.ready.get_or_insert(now);
            }),
            Change::PodRestarted(p) => self.set(p, |r| r.restarts += 1),
            Change::PodSucceeded(p) => self.set(p, |r| r.state = "Succeeded".to_owned()),
            Change::PodFailed(p) => self.set(p, |r| r.state = "Failed".to_owned()),
            Change::PodDeleting(p, reason) => self.set(p, |r| {
                if r.state != "Succeeded" && r.state != "Failed" {
                    r.state = "Terminating".to_owned();
                }
                r.reason = reason.name().to_owned();
            }),
            Change::PodDeleted(p) => self.set(p, |r| {
                r.deleted = Some(now);
                if r.state == "Terminating" || r.state == "Pending" || r.state == "Running" {
                    r.state = "Deleted".to_owned();
                }
            }),
            Change::PodUnschedulable(p) => {
                let message = view.scheduler.message(p).unwrap_or_default();
                self.set(p, |r| {
                    r.attempts += 1;
                    r.reason = message;
                });
            }
            Change::PodAddressRefused(p) => self.set(p, |r| {
                r.reason = "failed to assign an IP address to container".to_owned();
            }),
            _ => {}
        }
    }

    /// A pool grows for a pod that comes and shrinks only after pods have gone, so that its largest
    /// state is seen when pods get an address, when they stop, and at the end.
    fn track_network(&mut self, change: &Change, view: &View<'_>) {
        let node = match *change {
            Change::PodAddressed(p) | Change::PodStopped(p) => {
                view.world.api.pods.get(p).and_then(|x| x.node)
            }
            Change::InstanceTerminated(i) => view.world.cloud.instances[i].node,
            _ => None,
        };
        if let Some(node) = node {
            self.look_at_pool(node, view.vpc_cni);
        }
    }

    /// Looks at the nodes that are there at the end.
    pub(super) fn look_at_nodes(&mut self, view: &View<'_>) {
        for node in view.world.api.nodes.ids() {
            self.look_at_pool(node, view.vpc_cni);
        }
    }

    fn look_at_pool(&mut self, node: Id<Node>, vpc_cni: &VpcCni) {
        let Some(pool) = vpc_cni.pool(node) else { return };
        let ranges = pool.enis().iter().flat_map(Eni::ranges);
        let (mut prefixes, mut addresses) = (0, pool.enis().len() as u32);
        for range in ranges {
            prefixes += u32::from(range.prefix);
            addresses += if range.prefix { PREFIX_SIZE } else { 1 };
        }
        let most = self.network_max.entry(node.raw()).or_default();
        for (most, seen) in most.iter_mut().zip([pool.enis().len() as u32, prefixes, addresses]) {
            *most = (*most).max(seen);
        }
    }

    fn set(&mut self, pod: PodId, write: impl FnOnce(&mut PodRow)) {
        if let Some(row) = self.row(pod) {
            write(row);
        }
    }

    /// The record.
    #[must_use]
    pub fn finish(mut self, end: SimTime, world: &World, model: &Model) -> Detail {
        if self.left_out > 0 {
            self.events.push(EventRow {
                at: end,
                component: "eks-sim",
                kind: "run",
                object: model.name.clone(),
                reason: "EventsLeftOut".to_owned(),
                message: format!("{} further events were left out", self.left_out),
            });
        }
        // What happened before a node registered belongs to its story.
        let mut names: BTreeMap<String, &str> = BTreeMap::new();
        for (_, i) in world.cloud.instances.iter() {
            let node = i.node.map(|n| world.api.nodes[n].name());
            names.extend(node.map(|node| (instance_name(i, model), node)));
        }
        for event in self.events.iter_mut().filter(|e| e.kind == "node") {
            if let Some(node) = names.get(&event.object) {
                event.object = (*node).to_owned();
            }
        }
        let mut purchases = std::mem::take(&mut self.purchases);
        let nodes = world
            .cloud
            .instances
            .iter()
            .map(|(id, i)| NodeRow {
                purchase: purchases.remove(&id.raw()),
                ..node_row(i, &self, end, world, model)
            })
            .collect();
        Detail { events: self.events, pods: self.pods, nodes, subnets: Vec::new() }
    }
}

fn node_row(
    i: &Instance,
    record: &DetailRecorder,
    end: SimTime,
    world: &World,
    model: &Model,
) -> NodeRow {
    let group = &model.groups[i.group];
    let t = i.group_type(model);
    let node = i.node.map(|n| &world.api.nodes[n]);
    let some = |t: SimTime| (t != SimTime::NEVER).then_some(t);
    let [enis_max, prefixes_max, addresses_max] =
        i.node.and_then(|n| record.network_max.get(&n.raw()).copied()).unwrap_or_default();
    let mut cost = UsageCost::ZERO;
    cost.add(t.rate, i.terminated.min(end).since(i.running));
    cost.add(t.fee, i.terminated.min(end).since(i.running));
    NodeRow {
        name: node.map_or_else(|| instance_name(i, model), |n| n.name().to_owned()),
        group: group.name.clone(),
        instance_type: t.instance_type.name.to_owned(),
        zone: model.zones[i.zone].clone(),
        subnet: model.subnets[i.subnet].name.clone(),
        capacity_type: eks_capacity(t.capacity).to_owned(),
        requested: i.requested,
        registered: node.map(|n| n.registered),
        ready: node.and_then(|n| some(n.first_ready)),
        terminated: some(i.terminated),
        reason: i.end_reason.to_owned(),
        allocatable_cpu_m: t.allocatable_cpu.raw(),
        allocatable_memory: t.allocatable_memory.raw(),
        max_pods: t.max_pods,
        pods_max: i.node.and_then(|n| record.pods_max.get(&n.raw()).copied()).unwrap_or(0),
        enis_max,
        prefixes_max,
        addresses_max,
        cost: cost.amount(),
        purchase: None,
    }
}

fn eks_capacity(capacity: CapacityType) -> &'static str {
    if capacity == CapacityType::Spot { "SPOT" } else { "ON_DEMAND" }
}

fn instance_name(i: &Instance, model: &Model) -> String {
    format!("{}-{}", model.groups[i.group].name, i.serial)
}

/// The event of a change, worded as the component words it.
fn describe(now: SimTime, change: &Change, v: &View<'_>) -> Option<EventRow> {
    let (w, m) = (v.world, v.model);
    let pod = |p: PodId| {
        let (namespace, name) = pod_name(p, w, m);
        format!("{namespace}/{name}")
    };
    let node = |n: Id<crate::world::Node>| w.api.nodes[n].name().to_owned();
    let row = |component, kind, object: String, reason: &str, message: String| {
        Some(EventRow { at: now, component, kind, object, reason: reason.to_owned(), message })
    };
    match *change {
        Change::PodCreated(p) => {
            row("controller", "pod", pod(p), "SuccessfulCreate", format!("Created pod: {}", pod(p)))
        }
        Change::PodBound(p) => {
            let to = w.api.pods.get(p).and_then(|x| x.node).map(node).unwrap_or_default();
            let message = format!("Successfully assigned {} to {to}", pod(p));
            row("kube-scheduler", "pod", pod(p), "Scheduled", message)
        }
        Change::PodUngated(p) => {
            let message = "scheduling gates removed".to_owned();
            row("user", "pod", pod(p), "Ungated", message)
        }
        Change::PodUnschedulable(p) => {
            let message = v.scheduler.message(p).unwrap_or_default();
            row("kube-scheduler", "pod", pod(p), "FailedScheduling", message)
        }
        Change::PodNominated(p) => {
            let to = w.api.pods.get(p).and_then(|x| x.nominated).map(node).unwrap_or_default();
            row("kube-scheduler", "pod", pod(p), "Nominated", format!("Nominated to {to}"))
        }
        Change::PodAddressed(p) => {
            row("vpc-cni", "pod", pod(p), "AddressAssigned", network_events::address(p, v))
        }
        Change::PodAddressRefused(p) => row(
            "kubelet",
            "pod",
            pod(p),
            "FailedCreatePodSandBox",
            network_events::sandbox_failure(p),
        ),
        Change::PodStarted(p) => {
            row("kubelet", "pod", pod(p), "Started", "Started containers".to_owned())
        }
        Change::PodReady(p) => row("kubelet", "pod", pod(p), "Ready", String::new()),
        Change::PodUnready(p) => row("kubelet", "pod", pod(p), "NotReady", String::new()),
        Change::PodRestarted(p) => row(
            "kubelet",
            "pod",
            pod(p),
            "BackOff",
            "Back-off restarting failed container".to_owned(),
        ),
        Change::PodSucceeded(p) => row("kubelet", "pod", pod(p), "Succeeded", String::new()),
        Change::PodFailed(p) => row("kubelet", "pod", pod(p), "Failed", String::new()),
        Change::PodDeleting(p, reason) => {
            row("controller", "pod", pod(p), "Killing", reason.name().to_owned())
        }
        Change::PodDeleted(p) => row("kube-apiserver", "pod", pod(p), "Deleted", String::new()),
        Change::EvictionRefused(p, b) => {
            let budget = &m.budgets[b].object.metadata.name;
            let status = w.api.budget_status(b, m, now);
            let message = format!(
                "Cannot evict pod as it would violate the pod's disruption budget. The disruption \
                 budget {budget} needs {} healthy pods and has {} currently",
                status.desired_healthy, status.current_healthy
            );
            row("kube-apiserver", "pod", pod(p), "EvictionRefused", message)
        }
        Change::VolumeCreated(p, i) => {
            let claim =
                w.api.pods.get(p).and_then(|x| m.templates[x.template].claims.get(i as usize));
            let name = claim.map(|c| c.name.clone()).unwrap_or_default();
            row(
                "ebs-csi",
                "pod",
                pod(p),
                "ProvisioningSucceeded",
                format!("volume of claim {name}"),
            )
        }
        _ => describe_rest(now, change, v),
    }
}

fn describe_rest(now: SimTime, change: &Change, v: &View<'_>) -> Option<EventRow> {
    let (w, m) = (v.world, v.model);
    let node = |n: Id<crate::world::Node>| w.api.nodes[n].name().to_owned();
    let instance = |i: Id<Instance>| {
        let row = &w.cloud.instances[i];
        row.node.map_or_else(|| instance_name(row, m), node)
    };
    let workload = |x: Id<crate::world::Workload>| {
        let row = &m.workloads[w.api.workloads[x].model];
        format!("{}/{}/{}", row.kind.name(), row.namespace, row.name)
    };
    let row = |component, kind, object: String, reason: &str, message: String| {
        Some(EventRow { at: now, component, kind, object, reason: reason.to_owned(), message })
    };
    match *change {
        Change::WorkloadDeleted(x, _) => {
            row("user", "workload", workload(x), "Deleted", String::new())
        }
        Change::WeightsChanged(s, step) => {
            let service = &m.services[s];
            let message = match m.steps.get(step as usize).map(|s| &s.kind) {
                Some(StepKind::Weights { weights, .. }) => weights_text(s, weights, m),
                _ => String::new(),
            };
            let object = format!("{}/{}", service.namespace, service.name);
            row("user", "service", object, "WeightsChanged", message)
        }
        Change::WorkloadChanged(x, step) => {
            let message = match m.steps.get(step as usize).map(|s| &s.kind) {
                Some(StepKind::Change { text, .. }) => text.clone(),
                _ => String::new(),
            };
            row("user", "workload", workload(x), "Changed", message)
        }
        Change::RolloutComplete(x) => row(
            "deployment-controller",
            "workload",
            workload(x),
            "NewReplicaSetAvailable",
            String::new(),
        ),
        Change::ProgressDeadlineExceeded(x) => row(
            "deployment-controller",
            "workload",
            workload(x),
            "ProgressDeadlineExceeded",
            "the rollout made no progress within progressDeadlineSeconds".to_owned(),
        ),
        Change::PodRefused(s) => {
            let why = w.api.refusals.get(&s).cloned().unwrap_or_default();
            let owner = workload(w.api.sets[s].workload);
            let message = refusal(now, s, &why, w, m);
            row("controller", "workload", owner, "FailedCreate", message)
        }
        Change::WorkloadScaled(x, hpa) => {
            let target = w.api.workloads[x].model;
            let by = match hpa {
                Some(_) => "horizontal-pod-autoscaler",
                None if m.scaled_objects.iter().any(|(_, s)| s.target == target) => "keda-operator",
                None => "kubectl",
            };
            let message = format!("Scaled to {}", w.api.workloads[x].replicas);
            row(by, "workload", workload(x), "ScalingReplicaSet", message)
        }
        Change::JobFinished(x, ok) => row(
            "job-controller",
            "workload",
            workload(x),
            if ok { "Completed" } else { "Failed" },
            String::new(),
        ),
        Change::NodeRegistered(n) => {
            row("kubelet", "node", node(n), "RegisteredNode", String::new())
        }
        Change::NodeConditionChanged(n) => {
            let reason = match w.api.nodes[n].condition {
                NodeCondition::Ready => "NodeReady",
                NodeCondition::NotReady => "NodeNotReady",
                NodeCondition::Unknown => "NodeStatusUnknown",
            };
            row("node-controller", "node", node(n), reason, String::new())
        }
        Change::NodeTainted(n, taint, on) => {
            let t = taint.taint();
            let reason = if on { "TaintAdded" } else { "TaintRemoved" };
            row("node-controller", "node", node(n), reason, format!("{}:{}", t.key, t.effect))
        }
        Change::NodeDeleted(n) => {
            row("node-controller", "node", node(n), "RemovingNode", String::new())
        }
        Change::InstanceRequested(i) => row("ec2", "node", instance(i), "Launching", String::new()),
        Change::InstanceRunning(i) => row("ec2", "node", instance(i), "Running", String::new()),
        Change::InstanceCrashed(i) => row("ec2", "node", instance(i), "Crashed", String::new()),
        Change::InstanceTerminated(i) => {
            let why = w.cloud.instances[i].end_reason.to_owned();
            row("ec2", "node", instance(i), "Terminated", why)
        }
        Change::LaunchRefused(g, why) => {
            row("ec2", "nodegroup", m.groups[g].name.clone(), "LaunchFailed", why.code().to_owned())
        }
        Change::GroupResized(g) => {
            let message = format!("desired size {}", w.cloud.groups[g].desired);
            row("ec2", "nodegroup", m.groups[g].name.clone(), "Resized", message)
        }
        Change::ScaleUpDecided(g, delta) => {
            let (group, size) = (&m.groups[g], w.cloud.groups[g].desired);
            let message = format!(
                "pod triggered scale-up: [{{{} {size}->{} (max: {})}}]",
                group.name,
                size.saturating_add(delta),
                group.max
            );
            let object = group.name.clone();
            row("cluster-autoscaler", "nodegroup", object, "TriggeredScaleUp", message)
        }
        Change::SubnetExhausted(s) => {
            let (code, message) = network_events::shortage(s, v);
            row("ec2", "subnet", m.subnets[s].name.clone(), code, message)
        }
        Change::ZoneChanged(z, down) => row(
            "faults",
            "zone",
            m.zones[z].clone(),
            if down { "ZoneDown" } else { "ZoneUp" },
            String::new(),
        ),
        Change::EtcdChanged(i, up) => row(
            "control-plane",
            "etcd",
            format!("member {i}"),
            if up { "Up" } else { "Down" },
            String::new(),
        ),
        Change::ApiServerChanged(i, up) => row(
            "control-plane",
            "apiserver",
            format!("server {i}"),
            if up { "Up" } else { "Down" },
            String::new(),
        ),
        Change::ApiAvailability(up) => row(
            "control-plane",
            "api",
            "api".to_owned(),
            if up { "Available" } else { "Unavailable" },
            if up {
                "writes are possible"
            } else {
                "no quorum or no API server: writes are refused"
            }
            .to_owned(),
        ),
        Change::FaultBegan(i) => {
            row("faults", "fault", format!("fault {i}"), "FaultBegan", String::new())
        }
        Change::StockoutChanged(i, on) => {
            let reason = if on { "StockoutBegan" } else { "StockoutEnded" };
            row("faults", "fault", format!("fault {i}"), reason, String::new())
        }
        _ => karpenter::describe(now, change, v)
            .or_else(|| network_events::describe(now, change, v))
            .or_else(|| groups::describe(now, change, v)),
    }
}

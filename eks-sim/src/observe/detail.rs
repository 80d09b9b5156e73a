//! The full record of one replication: events as Kubernetes words them, pods, nodes.

mod groups;

use super::outcome::{Detail, EventRow, NodeRow, PodRow};
use crate::catalog::CapacityType;
use crate::engine::View;
use crate::units::{Id, SimTime, UsageCost};
use crate::world::cloud::Instance;
use crate::world::model::WorkloadKind;
use crate::world::steps::StepKind;
use crate::world::{Change, Model, NodeCondition, PodId, World};
use std::collections::BTreeMap;

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
        if let Some(row) = describe(now, change, view) {
            if self.events.len() < MOST_EVENTS {
                self.events.push(row);
            } else {
                self.left_out += 1;
            }
        }
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
        let nodes = world
            .cloud
            .instances
            .iter()
            .map(|(_, i)| node_row(i, &self.pods_max, end, world, model))
            .collect();
        Detail { events: self.events, pods: self.pods, nodes }
    }
}

fn node_row(
    i: &Instance,
    pods_max: &BTreeMap<u32, u32>,
    end: SimTime,
    world: &World,
    model: &Model,
) -> NodeRow {
    let group = &model.groups[i.group];
    let t = i.group_type(model);
    let node = i.node.map(|n| &world.api.nodes[n]);
    let some = |t: SimTime| (t != SimTime::NEVER).then_some(t);
    let mut cost = UsageCost::ZERO;
    cost.add(t.rate, i.terminated.min(end).since(i.running));
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
        pods_max: i.node.and_then(|n| pods_max.get(&n.raw()).copied()).unwrap_or(0),
        cost: cost.amount(),
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
        Change::PodUnschedulable(p) => {
            let message = v.scheduler.message(p).unwrap_or_default();
            row("kube-scheduler", "pod", pod(p), "FailedScheduling", message)
        }
        Change::PodNominated(p) => {
            let to = w.api.pods.get(p).and_then(|x| x.nominated).map(node).unwrap_or_default();
            row("kube-scheduler", "pod", pod(p), "Nominated", format!("Nominated to {to}"))
        }
        Change::PodAddressed(p) => {
            let address = w.machines.pod(p).and_then(|x| x.address).unwrap_or(0);
            let [a, b, c, d] = address.to_be_bytes();
            row("vpc-cni", "pod", pod(p), "AddressAssigned", format!("{a}.{b}.{c}.{d}"))
        }
        Change::PodAddressRefused(p) => row(
            "kubelet",
            "pod",
            pod(p),
            "FailedCreatePodSandBox",
            "Failed to create pod sandbox: plugin type=\"aws-cni\" failed (add): add cmd: failed to assign an IP address to container".to_owned(),
        ),
        Change::PodStarted(p) => row("kubelet", "pod", pod(p), "Started", "Started containers".to_owned()),
        Change::PodReady(p) => row("kubelet", "pod", pod(p), "Ready", String::new()),
        Change::PodUnready(p) => row("kubelet", "pod", pod(p), "NotReady", String::new()),
        Change::PodRestarted(p) => row("kubelet", "pod", pod(p), "BackOff", "Back-off restarting failed container".to_owned()),
        Change::PodSucceeded(p) => row("kubelet", "pod", pod(p), "Succeeded", String::new()),
        Change::PodFailed(p) => row("kubelet", "pod", pod(p), "Failed", String::new()),
        Change::PodDeleting(p, reason) => {
            row("controller", "pod", pod(p), "Killing", reason.name().to_owned())
        }
        Change::PodDeleted(p) => row("kube-apiserver", "pod", pod(p), "Deleted", String::new()),
        Change::EvictionRefused(p, b) => {
            let budget = &m.budgets[b].object.metadata.name;
            let message = format!("Cannot evict pod as it would violate the pod's disruption budget {budget}.");
            row("kube-apiserver", "pod", pod(p), "EvictionRefused", message)
        }
        Change::VolumeCreated(p, i) => {
            let claim = w.api.pods.get(p).and_then(|x| m.templates[x.template].claims.get(i as usize));
            let name = claim.map(|c| c.name.clone()).unwrap_or_default();
            row("ebs-csi", "pod", pod(p), "ProvisioningSucceeded", format!("volume of claim {name}"))
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
            let name = owner.rsplit('/').next().unwrap_or_default().to_owned();
            let message = format!("Error creating: pods \"{name}-\" is forbidden: {why}");
            row("controller", "workload", owner, "FailedCreate", message)
        }
        Change::WorkloadScaled(x, hpa) => {
            let by = if hpa.is_some() { "horizontal-pod-autoscaler" } else { "kubectl" };
            let message = format!("Scaled to {}", w.api.workloads[x].replicas);
            row(by, "workload", workload(x), "ScalingReplicaSet", message)
        }
        Change::HpaDecided(h) => {
            let model = &m.hpas[Id::new(h.raw())];
            let (spec, decision) = v.hpa.last(h)?;
            let active = decision.scaling_active.map_or("", |a| a.reason(spec));
            let message = format!(
                "desired {} of {}; {}; {active}",
                decision.desired,
                decision.current,
                decision.able_to_scale.reason()
            );
            let object = format!("{}/{}", model.namespace, model.name);
            let reason = if decision.rescale { "SuccessfulRescale" } else { "Decided" };
            row("horizontal-pod-autoscaler", "hpa", object, reason, message)
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
        Change::SubnetExhausted(s) => row(
            "ec2",
            "subnet",
            m.subnets[s].name.clone(),
            "InsufficientFreeAddressesInSubnet",
            format!("{} addresses free", w.cloud.subnets[s].space.free()),
        ),
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
        _ => groups::describe(now, change, v),
    }
}

//! Fargate: a micro-VM for each pod that a profile takes.
//!
//! Pod created → its launch waits for the account's rate → an address of a subnet → the micro-VM
//! starts → its node registers and is Ready → Fargate's scheduler binds the pod. When the pod has
//! ended, so does the micro-VM. kube-scheduler has no part in it.
//!
//! Upstream: EKS user guide, "AWS Fargate". Differences: zones are filled evenly; a start that fails
//! is tried again after a while.

use crate::engine::{self, Cx, Stream};
use crate::policy::vpc_cni::{Holding, Placement};
use crate::units::{Id, SimTime};
use crate::world::cloud::{Instance, InstanceState, LaunchFailure};
use crate::world::model::{GroupKind, GroupModel, SubnetModel};
use crate::world::{Change, Client, Node, NodeCondition, PodId, Request};
use std::collections::BTreeMap;

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A pod of a profile was created, or could not be bound.
    PodAdded(PodId),
    /// Its launch has its turn.
    Launch(PodId),
    /// A micro-VM is up.
    Started(Id<Instance>),
    /// Its node registers.
    Register(Id<Instance>),
    /// A node of Fargate changed.
    NodeChanged(Id<Node>),
    /// A pod ended or is gone.
    PodGone(PodId),
    /// A micro-VM's host failed.
    Crashed(Id<Instance>),
    /// It is given up.
    GiveUp(Id<Instance>),
}

/// Fargate. Its micro-VMs are instances in [`crate::world::Cloud`].
#[derive(Clone, Debug, Default)]
pub struct Fargate {
    /// When the bucket of launches is full again.
    full_at: SimTime,
    instances: BTreeMap<PodId, Id<Instance>>,
    pods: BTreeMap<Id<Instance>, PodId>,
    waiting: BTreeMap<PodId, LaunchFailure>,
}

fn wake(event: Event) -> engine::Event {
    engine::Event::Fargate(event)
}

impl Fargate {
    /// Why a pod's last launch was refused.
    #[must_use]
    pub fn pod_reason(&self, pod: PodId) -> Option<LaunchFailure> {
        self.waiting.get(&pod).copied()
    }

    /// Handles one event.
    pub fn handle(&mut self, event: Event, cx: &mut Cx<'_>) {
        match event {
            Event::PodAdded(p) => self.pod_added(p, cx),
            Event::Launch(p) => self.launch(p, cx),
            Event::Started(i) => self.started(i, cx),
            Event::Register(i) => {
                if cx.cloud().instances[i].alive {
                    cx.submit(Client::Fargate, Request::RegisterNode { instance: i });
                }
            }
            Event::NodeChanged(n) => self.node_changed(n, cx),
            Event::PodGone(p) => {
                self.waiting.remove(&p);
                if let Some(instance) = self.instances.remove(&p) {
                    self.terminate(instance, "its pod ended", cx);
                }
            }
            Event::Crashed(i) => {
                cx.after(cx.model().settings.instance_replace_delay, wake(Event::GiveUp(i)));
            }
            Event::GiveUp(i) => self.terminate(i, "its host failed", cx),
        }
    }

    fn pod_added(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        let Some(p) = cx.api().pods.get(pod) else { return };
        let Some(fargate) = &cx.model().templates[p.template].fargate else { return };
        if p.node.is_some() || p.is_terminating() {
            return;
        }
        if fargate.refusal.is_some() {
            cx.emit(Change::FargateRefused(pod));
            return;
        }
        if let Some(&instance) = self.instances.get(&pod) {
            // The binding was refused.
            if let Some(node) = cx.cloud().instances[instance].node {
                self.node_changed(node, cx);
            }
            return;
        }
        let settings = &cx.model().settings.fargate;
        let (burst, interval) = (settings.launch_burst, settings.launch_interval);
        self.full_at = self.full_at.max(cx.now()) + interval;
        let depth = interval * u64::from(burst);
        let wait = self.full_at.since(cx.now()).saturating_sub(depth);
        cx.emit(Change::FargatePodPending(pod));
        cx.after(wait, wake(Event::Launch(pod)));
    }

    fn launch(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        let Some(p) = cx.api().pods.get(pod) else { return };
        let Some(fargate) = &cx.model().templates[p.template].fargate else { return };
        if p.node.is_some() || p.is_terminating() || self.instances.contains_key(&pod) {
            return;
        }
        let key = engine::draws::key(&[p.key, 25]);
        let (group, type_index) = (fargate.group, fargate.type_index);
        match start(group, type_index, key, cx) {
            Ok(instance) => {
                self.waiting.remove(&pod);
                self.instances.insert(pod, instance);
                self.pods.insert(instance, pod);
                let up = cx.sample(&cx.model().settings.fargate.start, Stream::Fargate, key);
                cx.after(up, wake(Event::Started(instance)));
            }
            Err(why) => {
                self.waiting.insert(pod, why);
                cx.emit(Change::LaunchRefused(group, why));
                cx.after(cx.model().settings.fargate.retry, wake(Event::Launch(pod)));
            }
        }
    }

    fn started(&mut self, instance: Id<Instance>, cx: &mut Cx<'_>) {
        let now = cx.now();
        let row = &cx.cloud().instances[instance];
        if row.state != InstanceState::Pending || !row.alive {
            return;
        }
        let attempt = engine::draws::key(&[row.key, row.requested.nanos(), 1]);
        if cx.draw(Stream::Fargate, attempt) < cx.model().settings.fargate.start_failure {
            let pod = self.pods.get(&instance).copied();
            self.terminate(instance, "it did not start", cx);
            if let Some(pod) = pod {
                self.instances.remove(&pod);
                cx.after(cx.model().settings.fargate.retry, wake(Event::Launch(pod)));
            }
            return;
        }
        let row = &mut cx.cloud_mut().instances[instance];
        row.state = InstanceState::Running;
        row.running = now;
        cx.emit(Change::InstanceRunning(instance));
        cx.submit(Client::Fargate, Request::RegisterNode { instance });
    }

    fn node_changed(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        let row = &cx.api().nodes[node];
        if !row.exists() || row.condition != NodeCondition::Ready || !row.pods.is_empty() {
            return;
        }
        let Some(&pod) = self.pods.get(&row.instance) else { return };
        if cx.api().pods.get(pod).is_some_and(|p| p.node.is_none() && !p.is_terminating()) {
            cx.submit(Client::Fargate, Request::Bind { pod, node });
        }
    }

    fn terminate(&mut self, instance: Id<Instance>, reason: &'static str, cx: &mut Cx<'_>) {
        if let Some(pod) = self.pods.remove(&instance) {
            self.instances.remove(&pod);
        }
        let now = cx.now();
        let row = &mut cx.cloud_mut().instances[instance];
        if row.state == InstanceState::Terminated {
            return;
        }
        if row.state == InstanceState::Pending {
            // Nothing is paid for what never ran.
            row.running = now;
        }
        row.state = InstanceState::Terminated;
        row.terminated = now;
        row.gone = now;
        row.end_reason = reason;
        row.alive = false;
        let (group, subnet, address) = (row.group, row.subnet, row.address);
        let cloud = cx.cloud_mut();
        cloud.groups[group].instances.retain(|&i| i != instance);
        cloud.subnets[subnet].space.release(address.into());
        cx.emit(Change::InstanceTerminated(instance));
        cx.emit(Change::SubnetChanged(subnet));
    }
}

/// vCPU quota of Fargate, in thousandths.
fn within_quota(group: Id<GroupModel>, type_index: u32, cx: &Cx<'_>) -> bool {
    let model = cx.model();
    let Some(&limit) = model.vcpu_quotas.get("fargate") else { return true };
    let size = |g: Id<GroupModel>, t: u32| model.groups[g].types[t as usize].allocatable_cpu.raw();
    let mut used = size(group, type_index);
    for (id, _) in model.groups.iter().filter(|(_, g)| g.kind == GroupKind::Fargate) {
        for &i in &cx.cloud().groups[id].instances {
            used += size(id, cx.cloud().instances[i].type_index);
        }
    }
    used <= i64::from(limit) * 1000
}

/// A micro-VM with an address, in the zone that has the fewest of the profile.
fn start(
    group: Id<GroupModel>,
    type_index: u32,
    key: u64,
    cx: &mut Cx<'_>,
) -> Result<Id<Instance>, LaunchFailure> {
    let model = cx.model();
    if !within_quota(group, type_index, cx) {
        return Err(LaunchFailure::VcpuLimitExceeded);
    }
    let cloud = cx.cloud();
    let there = |s: Id<SubnetModel>| {
        let zone = model.subnets[s].zone;
        let mut of = cloud.groups[group].instances.iter();
        of.by_ref().filter(|&&i| cloud.instances[i].zone == zone).count()
    };
    let mut subnets: Vec<(usize, Id<SubnetModel>)> = model.groups[group]
        .subnets
        .iter()
        .filter(|&&s| !cloud.zone_down[model.subnets[s].zone])
        .map(|&s| (there(s), s))
        .collect();
    subnets.sort_unstable();
    if subnets.is_empty() {
        return Err(LaunchFailure::InsufficientInstanceCapacity);
    }
    for (_, subnet) in subnets {
        let mut taken = Vec::new();
        let space = &mut cx.cloud_mut().subnets[subnet].space;
        let asked = space.take(Holding::Fargate, 1, &mut Placement::Sequential, &mut taken);
        let (Ok(()), Some(&address)) = (asked, taken.first()) else {
            cx.cloud_mut().subnets[subnet].refusals += 1;
            cx.emit(Change::SubnetExhausted(subnet));
            continue;
        };
        let (requested, zone) = (cx.now(), model.subnets[subnet].zone);
        let serial = cx.cloud().groups[group].launched;
        cx.cloud_mut().groups[group].launched += 1;
        let instance = cx.cloud_mut().instances.push(Instance {
            group,
            serial,
            key,
            type_index,
            subnet,
            zone,
            state: InstanceState::Pending,
            alive: true,
            requested,
            running: SimTime::NEVER,
            terminated: SimTime::NEVER,
            gone: SimTime::NEVER,
            end_reason: "",
            crashed: SimTime::NEVER,
            address: address.into(),
            version: 0,
            outgoing: false,
            noticed: false,
            warm: false,
            node: None,
            labels: None,
        });
        cx.cloud_mut().groups[group].instances.push(instance);
        cx.emit(Change::InstanceRequested(instance));
        cx.emit(Change::SubnetChanged(subnet));
        return Ok(instance);
    }
    Err(LaunchFailure::InsufficientFreeAddressesInSubnet)
}

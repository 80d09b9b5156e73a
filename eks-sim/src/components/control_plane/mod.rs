//! API servers and etcd: the only writer of API objects.
//!
//! A request's life: a client submits it → its rate limit and the API's latency pass → it is
//! applied and the change is published; or, while there is no quorum or no API server, it is
//! refused and whoever asked looks again later. Nothing else in the simulator knows about outages
//! of the control plane.

mod objects;
mod pods;

use crate::engine::{self, ApiWriter, Cx, Stream};
use crate::k8s::NodeImage;
use crate::units::{Id, SimTime, Span};
use crate::world::cloud::{Instance, Member};
use crate::world::model::GroupKind;
use crate::world::nodes::SystemTaint;
use crate::world::recommendations::Targets;
use crate::world::shapes::Shape;
use crate::world::{Change, Client, Model, Node, NodeCondition, Request};
use rustc_hash::FxHashMap;

/// What can happen to the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request is due.
    Apply(u32),
    /// A member of etcd or an API server fails (`true` = etcd), for so many milliseconds, or until
    /// it is replaced (0).
    MemberDown(bool, u32, u32),
    /// The outage with this number of a member ends.
    MemberUp(bool, u32, u32),
}

/// API servers and etcd.
#[derive(Clone, Debug)]
pub struct ControlPlane {
    writer: ApiWriter,
    available: bool,
    /// Shape of a VPA's new pods by VPA and template, with the targets it was worked out for.
    admitted: FxHashMap<(u32, u32), (Id<Targets>, Id<Shape>)>,
}

impl ControlPlane {
    /// A working control plane.
    #[must_use]
    pub fn new(_: &Model, writer: ApiWriter) -> Self {
        Self { writer, available: true, admitted: FxHashMap::default() }
    }

    /// Sets up the members.
    pub fn start(&mut self, cx: &mut Cx<'_>) {
        let plane = &cx.model().control_plane;
        let member = |i: u32| Member {
            zone: plane.zones[i as usize % plane.zones.len().max(1)].clone(),
            up: true,
            outage: 0,
        };
        let etcd = (0..plane.etcd_members).map(member).collect();
        let servers = (0..plane.api_servers).map(member).collect();
        let cloud = cx.cloud_mut();
        cloud.etcd = etcd;
        cloud.api_servers = servers;
    }

    /// Instances that run at the start have registered and Ready nodes.
    pub fn register_initial_nodes(&mut self, cx: &mut Cx<'_>) {
        let ids: Vec<Id<Instance>> = cx.cloud().instances.ids().collect();
        for instance in ids {
            self.register_node(instance, cx);
            if let Some(node) = cx.cloud().instances[instance].node {
                self.set_condition(node, NodeCondition::Ready, cx);
            }
        }
    }

    /// Handles one event.
    pub fn handle(&mut self, event: Event, cx: &mut Cx<'_>) {
        match event {
            Event::Apply(slot) => {
                let Some((client, request)) = cx.take_request(slot) else { return };
                if self.available {
                    self.apply(client, request, cx);
                } else {
                    cx.emit(Change::RequestRefused(client, request));
                }
            }
            Event::MemberDown(etcd, index, ms) => self.member_down(etcd, index, ms, cx),
            Event::MemberUp(etcd, index, outage) => self.member_up(etcd, index, outage, cx),
        }
    }

    fn apply(&mut self, client: Client, request: Request, cx: &mut Cx<'_>) {
        match request {
            Request::CreatePod { set, ordinal, previous } => {
                self.create_pod(client, set, ordinal, previous, cx);
            }
            Request::DeletePod { pod, reason } => self.delete_pod(pod, reason, cx),
            Request::EvictPod { pod, reason } => self.evict_pod(pod, reason, cx),
            Request::RemovePod { pod } => self.remove_pod(pod, cx),
            Request::Bind { pod, node } => {
                let now = cx.now();
                if cx.api_mut(&self.writer).bind(pod, node, now) {
                    cx.emit(Change::PodBound(pod));
                    self.run_trace_pod(pod, cx);
                } else {
                    cx.emit(Change::RequestRefused(client, request));
                }
            }
            Request::Nominate { pod, node } => {
                if let Some(p) = cx.api_mut(&self.writer).pods.get_mut(pod) {
                    p.nominated = node;
                    cx.emit(Change::PodNominated(pod));
                }
            }
            Request::Report { pod, report } => self.report(pod, report, cx),
            Request::ScaleWorkload { workload, replicas, hpa } => {
                self.scale_workload(workload, replicas, hpa, cx);
            }
            Request::CreateSet { workload, desired } => self.create_set(workload, desired, cx),
            Request::ScaleSet { set, desired, replicas, max } => {
                let row = &mut cx.api_mut(&self.writer).sets[set];
                row.desired = desired;
                row.desired_replicas = replicas;
                row.max_replicas = max;
                cx.emit(Change::SetScaled(set));
            }
            Request::ReviveSet { set } => self.revive_set(set, cx),
            Request::DeleteSet { set } => self.delete_set(set, cx),
            Request::CompleteUpdate { set } => {
                cx.api_mut(&self.writer).sets[set].previous = None;
            }
            Request::Step { step } => self.step(step, cx),
            Request::RegisterNode { instance } => self.register_node(instance, cx),
            Request::SetNodeCondition { node, condition } => {
                self.set_condition(node, condition, cx)
            }
            Request::TaintNode { node, taint, on } => self.taint(node, taint, on, cx),
            Request::ReportImages { node } => self.report_images(node, cx),
            Request::DeleteNode { node } => {
                let now = cx.now();
                if cx.api_mut(&self.writer).delete_node(node, now) {
                    cx.emit(Change::NodeDeleted(node));
                }
            }
            Request::PatchHpa { .. } => self.patch_hpa(request, cx),
            Request::RecommendVpa { .. } | Request::ResizePod { .. } | Request::Resized { .. } => {
                self.resize(request, cx);
            }
            Request::CreateJob { cron } => self.create_job(cron, cx),
            Request::FinishJob { job, succeeded } => self.finish_job(job, succeeded, cx),
        }
    }

    fn register_node(&mut self, instance: Id<Instance>, cx: &mut Cx<'_>) {
        let row = &cx.cloud().instances[instance];
        if row.node.is_some() || !row.alive {
            return;
        }
        let node = new_node(instance, cx);
        let id = cx.api_mut(&self.writer).add_node(node);
        cx.cloud_mut().instances[instance].node = Some(id);
        cx.emit(Change::NodeRegistered(id));
    }

    fn set_condition(&mut self, node: Id<Node>, condition: NodeCondition, cx: &mut Cx<'_>) {
        let now = cx.now();
        let row = &mut cx.api_mut(&self.writer).nodes[node];
        if !row.exists() || row.condition == condition {
            return;
        }
        row.condition = condition;
        row.version = row.version.wrapping_add(1);
        row.condition_changed = now;
        if condition == NodeCondition::Ready {
            row.first_ready = row.first_ready.min(now);
            row.taints.retain(|t| {
                !matches!(
                    t,
                    SystemTaint::NotReady
                        | SystemTaint::UnreachableNoSchedule
                        | SystemTaint::UnreachableNoExecute
                )
            });
        }
        cx.emit(Change::NodeConditionChanged(node));
    }

    /// The largest images that are on the node's disk, at most 50 (`nodeStatusMaxImages`).
    fn report_images(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        let now = cx.now();
        let (model, machines) = (cx.model(), &cx.machines().machines);
        let Some(machine) = machines.get(node).filter(|_| cx.api().nodes[node].exists()) else {
            return;
        };
        let on_disk = machine.images.iter().filter(|(_, at)| **at <= now);
        let mut images: Vec<_> = on_disk.map(|(id, _)| &model.images[*id]).collect();
        images.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.name.cmp(&b.name)));
        images.truncate(model.settings.node_status_max_images);
        let list = images
            .iter()
            .map(|i| NodeImage { names: vec![i.name.clone()], size_bytes: i.size.raw() });
        let list = std::sync::Arc::new(list.collect::<Vec<_>>());
        let row = &mut cx.api_mut(&self.writer).nodes[node];
        if row.images != list {
            row.images = list;
            cx.emit(Change::NodeImagesChanged(node));
        }
    }

    fn taint(&mut self, node: Id<Node>, taint: SystemTaint, on: bool, cx: &mut Cx<'_>) {
        let row = &mut cx.api_mut(&self.writer).nodes[node];
        if !row.exists() || row.has_taint(taint) == on {
            return;
        }
        if on {
            row.taints.push(taint);
        } else {
            row.taints.retain(|&t| t != taint);
        }
        row.version = row.version.wrapping_add(1);
        cx.emit(Change::NodeTainted(node, taint, on));
    }

    fn member_down(&mut self, etcd: bool, index: u32, ms: u32, cx: &mut Cx<'_>) {
        let settings = &cx.model().settings;
        let replace = cx.model().control_plane.replace_members;
        let repair = if etcd { &settings.etcd_repair } else { &settings.api_server_repair };
        let cloud = cx.cloud();
        let members = if etcd { &cloud.etcd } else { &cloud.api_servers };
        let Some(member) = members.get(index as usize).filter(|m| m.up) else { return };
        let outage = member.outage + 1;
        let key = engine::draws::key(&[u64::from(etcd), u64::from(index), u64::from(outage)]);
        let span = cx.sample(repair, Stream::Repair, key);
        let cloud = cx.cloud_mut();
        let members = if etcd { &mut cloud.etcd } else { &mut cloud.api_servers };
        members[index as usize].up = false;
        members[index as usize].outage = outage;
        if ms > 0 || replace {
            let span = if ms > 0 { Span::from_millis(u64::from(ms)) } else { span };
            cx.after(span, engine::Event::ControlPlane(Event::MemberUp(etcd, index, outage)));
        }
        self.tell_member(etcd, index, false, cx);
    }

    fn member_up(&mut self, etcd: bool, index: u32, outage: u32, cx: &mut Cx<'_>) {
        let cloud = cx.cloud_mut();
        let members = if etcd { &mut cloud.etcd } else { &mut cloud.api_servers };
        let Some(member) = members.get_mut(index as usize) else { return };
        if member.up || member.outage != outage {
            return;
        }
        member.up = true;
        self.tell_member(etcd, index, true, cx);
    }

    fn tell_member(&mut self, etcd: bool, index: u32, up: bool, cx: &mut Cx<'_>) {
        cx.emit(if etcd {
            Change::EtcdChanged(index, up)
        } else {
            Change::ApiServerChanged(index, up)
        });
        let available = cx.cloud().api_available();
        if available != self.available {
            self.available = available;
            cx.emit(Change::ApiAvailability(available));
        }
    }
}

/// The node object of an instance, as its kubelet registers it.
fn new_node(instance: Id<Instance>, cx: &Cx<'_>) -> Node {
    let row = &cx.cloud().instances[instance];
    let model = cx.model();
    let group = &model.groups[row.group];
    let group_type = row.group_type(model);
    let mut object = group_type.node.clone();
    let name = node_name(instance, cx);
    let labels = &mut object.metadata.labels;
    labels.insert("kubernetes.io/hostname".to_owned(), name.clone());
    if !group.is_outside_vpc() {
        labels.insert("topology.kubernetes.io/zone".to_owned(), model.zones[row.zone].clone());
        labels.insert("topology.ebs.csi.aws.com/zone".to_owned(), model.zones[row.zone].clone());
    }
    labels.extend(row.labels.iter().flat_map(|l| (**l).clone()));
    object.metadata.name = name;
    let mut taints = vec![SystemTaint::NotReady];
    if group.kind == GroupKind::NodePool {
        taints.push(SystemTaint::KarpenterUnregistered);
    }
    if !group_type.startup_taints.is_empty() {
        taints.push(SystemTaint::Startup);
    }
    Node {
        instance,
        object: std::sync::Arc::new(object),
        taints,
        startup_taints: group_type.startup_taints.as_slice().into(),
        images: std::sync::Arc::default(),
        condition: NodeCondition::NotReady,
        registered: cx.now(),
        first_ready: SimTime::NEVER,
        condition_changed: cx.now(),
        deleted: SimTime::NEVER,
        allocatable_cpu: group_type.allocatable_cpu,
        allocatable_memory: group_type.allocatable_memory,
        max_pods: group_type.max_pods,
        pods: Vec::new(),
        version: 0,
    }
}

/// `ip-10-0-0-1.ec2.internal`; nodes of a trace have their own names.
fn node_name(instance: Id<Instance>, cx: &Cx<'_>) -> String {
    let row = &cx.cloud().instances[instance];
    let model = cx.model();
    let traced = model.trace.as_ref().filter(|_| model.groups[row.group].kind == GroupKind::Trace);
    if let Some(node) = traced.and_then(|t| t.nodes.get(row.serial as usize)) {
        return node.name.clone();
    }
    if model.groups[row.group].kind == GroupKind::Hybrid {
        return format!("mi-{}-{}", model.groups[row.group].name, row.serial);
    }
    let fargate = model.groups[row.group].kind == GroupKind::Fargate;
    let prefix = if fargate { "fargate-" } else { "" };
    let [a, b, c, d] = row.address.to_be_bytes();
    let domain = if model.region == "us-east-1" {
        "ec2.internal".to_owned()
    } else {
        format!("{}.compute.internal", model.region)
    };
    format!("{prefix}ip-{a}-{b}-{c}-{d}.{domain}")
}

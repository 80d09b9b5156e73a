//! API servers and etcd: the only writer of API objects.
//!
//! A request's life: a client submits it → its rate limit and the API's latency pass → it is
//! applied and the change is published; or, while there is no quorum or no API server, it is
//! refused and whoever asked looks again later. Nothing else in the simulator knows about outages
//! of the control plane.

use crate::engine::{self, ApiWriter, Cx, Stream};
use crate::policy::vpa::UpdateMode;
use crate::policy::workloads::{Budget, BudgetStatus, Eviction, EvictionPod, PodPhase, evict};
use crate::units::{Id, SimTime, Span};
use crate::world::cloud::{Instance, Member};
use crate::world::model::{BudgetModel, CronModel, VpaModel, WorkloadKind, WorkloadModel};
use crate::world::nodes::SystemTaint;
use crate::world::owners::JobState;
use crate::world::shapes::Shape;
use crate::world::{
    Change, Client, Hpa, Model, Node, NodeCondition, Phase, PodId, PodReport, Reason, Request, Set,
    Workload,
};

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
    /// Evictions granted and not yet seen as disruptions: (budget, pod).
    disrupted: Vec<(Id<BudgetModel>, PodId)>,
}

impl ControlPlane {
    /// A working control plane.
    #[must_use]
    pub fn new(_: &Model, writer: ApiWriter) -> Self {
        Self { writer, available: true, disrupted: Vec::new() }
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

    /// Everything of the model that exists from the start, as if applied in one go.
    pub fn create_initial_objects(&mut self, cx: &mut Cx<'_>) {
        let model = cx.model();
        let of_cron: Vec<Id<WorkloadModel>> = model.cron_jobs.iter().map(|(_, c)| c.job).collect();
        for (id, _) in model.workloads.iter().filter(|(id, _)| !of_cron.contains(id)) {
            let workload = self.add_workload(id, 0, cx);
            for (number, hpa) in model.hpas.iter().filter(|(_, h)| h.target == id) {
                let api = cx.api_mut(&self.writer);
                while api.hpas.len() <= number.index() {
                    let model = Id::new(api.hpas.len() as u32);
                    api.hpas.push(Hpa { model, target: workload, desired: 0, utilization: None });
                }
                let row = Id::new(number.raw());
                api.hpas[row].target = workload;
                api.workloads[workload].hpa = Some(row);
                debug_assert_eq!(hpa.target, id);
            }
        }
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
            Request::CreatePod { set, ordinal } => self.create_pod(set, ordinal, cx),
            Request::DeletePod { pod, reason } => self.delete_pod(pod, reason, cx),
            Request::EvictPod { pod, reason } => self.evict_pod(pod, reason, cx),
            Request::RemovePod { pod } => self.remove_pod(pod, cx),
            Request::Bind { pod, node } => {
                let now = cx.now();
                if cx.api_mut(&self.writer).bind(pod, node, now) {
                    cx.emit(Change::PodBound(pod));
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
            Request::ScaleSet { set, desired } => self.scale_set(set, desired, cx),
            Request::RegisterNode { instance } => self.register_node(instance, cx),
            Request::SetNodeCondition { node, condition } => {
                self.set_condition(node, condition, cx)
            }
            Request::TaintNode { node, taint, on } => self.taint(node, taint, on, cx),
            Request::DeleteNode { node } => {
                let now = cx.now();
                if cx.api_mut(&self.writer).delete_node(node, now) {
                    cx.emit(Change::NodeDeleted(node));
                }
            }
            Request::RecommendVpa { vpa, shape } => {
                cx.api_mut(&self.writer).vpas[vpa] = Some(shape);
                cx.emit(Change::VpaRecommended(vpa));
            }
            Request::ResizePod { pod, shape } => {
                if let Some(p) = cx.api_mut(&self.writer).pods.get_mut(pod) {
                    p.resizing = Some(shape);
                    cx.emit(Change::PodResizing(pod));
                }
            }
            Request::Resized { pod } => {
                let Some(p) = cx.api_mut(&self.writer).pods.get_mut(pod) else { return };
                if let Some(shape) = p.resizing.take() {
                    p.shape = Some(shape);
                    cx.emit(Change::PodResized(pod));
                }
            }
            Request::CreateJob { cron } => self.create_job(cron, cx),
            Request::FinishJob { job, succeeded } => self.finish_job(job, succeeded, cx),
        }
    }

    fn create_pod(&mut self, set: Id<Set>, ordinal: u32, cx: &mut Cx<'_>) {
        let now = cx.now();
        let workload = cx.api().sets[set].workload;
        let model = &cx.model().workloads[cx.api().workloads[workload].model];
        let serial = cx.api().workloads[workload].job.as_ref().map_or(0, |j| j.serial);
        let owner = &cx.api().sets[set];
        let key = engine::draws::key(&[
            model.key,
            u64::from(serial),
            u64::from(owner.revision),
            u64::from(ordinal),
            u64::from(owner.created),
        ]);
        let shape = model.vpa.and_then(|v| admitted(v, cx));
        let pod = cx.api_mut(&self.writer).create_pod(set, ordinal, key, now);
        if let Some(p) = cx.api_mut(&self.writer).pods.get_mut(pod) {
            p.shape = shape;
        }
        cx.emit(Change::PodCreated(pod));
    }

    fn delete_pod(&mut self, pod: PodId, reason: Reason, cx: &mut Cx<'_>) {
        let now = cx.now();
        if !cx.api_mut(&self.writer).mark_deleting(pod, now) {
            return;
        }
        cx.emit(Change::PodDeleting(pod, reason));
        let ended = cx.api().pods.get(pod).is_some_and(|p| {
            p.node.is_none() || matches!(p.phase, Phase::Succeeded | Phase::Failed)
        });
        if ended {
            self.remove_pod(pod, cx);
        }
    }

    fn evict_pod(&mut self, pod: PodId, reason: Reason, cx: &mut Cx<'_>) {
        let Some(p) = cx.api().pods.get(pod) else { return };
        let view = EvictionPod {
            phase: match p.phase {
                Phase::Pending => PodPhase::Pending,
                Phase::Running => PodPhase::Running,
                Phase::Succeeded => PodPhase::Succeeded,
                Phase::Failed => PodPhase::Failed,
            },
            ready: p.is_ready(),
            deleted: p.is_terminating(),
        };
        let template = p.template;
        let budgets: Vec<Id<BudgetModel>> = cx
            .model()
            .budgets
            .iter()
            .filter(|(_, b)| b.templates.contains(&template))
            .map(|(id, _)| id)
            .collect();
        let statuses: Vec<BudgetStatus> = budgets.iter().map(|&b| self.status(b, cx)).collect();
        let first = budgets.first().copied();
        let always = first.is_some_and(|b| {
            let spec = &cx.model().budgets[b].object.spec;
            spec.unhealthy_pod_eviction_policy.as_deref() == Some("AlwaysAllow")
        });
        let tracked = self.disrupted.iter().filter(|(b, _)| Some(*b) == first).count();
        match (evict(&view, &statuses, always, tracked), first) {
            (Eviction::Free, _) => self.delete_pod(pod, reason, cx),
            (Eviction::Charged, Some(budget)) => {
                self.disrupted.push((budget, pod));
                self.delete_pod(pod, reason, cx);
            }
            (_, Some(budget)) => cx.emit(Change::EvictionRefused(pod, budget)),
            (_, None) => {}
        }
    }

    /// Status of a budget, by the disruption controller's rules.
    fn status(&self, budget: Id<BudgetModel>, cx: &Cx<'_>) -> BudgetStatus {
        let api = cx.api();
        let model = &cx.model().budgets[budget];
        let (mut healthy, mut matching, mut scale) = (0, 0, 0);
        let mut owners: Vec<Id<Workload>> = Vec::new();
        for (_, set) in api.sets.iter().filter(|(_, s)| model.templates.contains(&s.template)) {
            for &id in &set.pods {
                let Some(pod) = api.pods.get(id).filter(|p| p.is_active()) else { continue };
                matching += 1;
                let disrupted = self.disrupted.contains(&(budget, id));
                healthy += i32::from(pod.is_ready() && !disrupted);
            }
            if !set.pods.is_empty() && !owners.contains(&set.workload) {
                owners.push(set.workload);
                scale += api.workloads[set.workload].replicas as i32;
            }
        }
        match Budget::lower(&model.object.spec) {
            Some(rule) => rule.status(if rule.needs_scale() { scale } else { matching }, healthy),
            None => {
                BudgetStatus { desired_healthy: matching, current_healthy: healthy, allowed: 0 }
            }
        }
    }

    fn remove_pod(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        self.count_finished(pod, cx);
        if cx.api_mut(&self.writer).detach_pod(pod) {
            self.disrupted.retain(|&(_, p)| p != pod);
            cx.emit(Change::PodDeleted(pod));
        }
    }

    /// A Job's finished pod goes: its status keeps the count (upstream's tracking by finalizers).
    fn count_finished(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        let Some(p) = cx.api().pods.get(pod) else { return };
        let (phase, ordinal, ended) = (p.phase, p.ordinal, p.changed());
        let set = &cx.api().sets[p.set];
        let (workload, listed) = (set.workload, set.pods.contains(&pod));
        if !listed {
            return;
        }
        let Some(job) = cx.api_mut(&self.writer).workloads[workload].job.as_mut() else { return };
        match phase {
            Phase::Succeeded => {
                job.succeeded += 1;
                job.done_indexes.push(ordinal);
            }
            Phase::Failed => {
                job.failed += 1;
                job.last_failure = job.last_failure.max(Some(ended));
            }
            _ => {}
        }
    }

    fn report(&mut self, pod: PodId, report: PodReport, cx: &mut Cx<'_>) {
        let now = cx.now();
        let api = cx.api_mut(&self.writer);
        let Some(p) = api.pods.get_mut(pod) else { return };
        if matches!(p.phase, Phase::Succeeded | Phase::Failed) {
            return;
        }
        let terminating = p.is_terminating();
        let change = match report {
            PodReport::Ready | PodReport::Unready => {
                let ready = report == PodReport::Ready;
                // A status is written whole: one that overtakes the report of the start has it.
                let starts = ready && !terminating && p.started == SimTime::NEVER;
                if starts {
                    p.started = now;
                }
                if (ready && terminating) || !api.set_ready(pod, ready, now) {
                    return;
                }
                if starts {
                    cx.emit(Change::PodStarted(pod));
                }
                if ready { Change::PodReady(pod) } else { Change::PodUnready(pod) }
            }
            PodReport::Started if p.started != SimTime::NEVER => return,
            PodReport::Started => {
                p.phase = Phase::Running;
                p.started = now;
                Change::PodStarted(pod)
            }
            PodReport::Restarted => {
                p.restarts += 1;
                Change::PodRestarted(pod)
            }
            PodReport::OomKilled => {
                p.restarts += 1;
                p.last_oom = Some((now, now.since(p.started)));
                if api.set_ready(pod, false, now) {
                    cx.emit(Change::PodUnready(pod));
                }
                cx.emit(Change::PodRestarted(pod));
                Change::PodOomKilled(pod)
            }
            PodReport::Succeeded | PodReport::Failed => {
                let well = report == PodReport::Succeeded;
                api.set_ready(pod, false, now);
                if let Some(p) = api.pods.get_mut(pod) {
                    p.phase = if well { Phase::Succeeded } else { Phase::Failed };
                }
                if well { Change::PodSucceeded(pod) } else { Change::PodFailed(pod) }
            }
        };
        cx.emit(change);
    }

    fn scale_workload(
        &mut self,
        workload: Id<Workload>,
        replicas: u32,
        hpa: Option<Id<Hpa>>,
        cx: &mut Cx<'_>,
    ) {
        let row = &mut cx.api_mut(&self.writer).workloads[workload];
        if row.replicas != replicas {
            row.replicas = replicas;
            let sets = row.sets.clone();
            cx.emit(Change::WorkloadScaled(workload, hpa));
            let kind = &cx.model().workloads[cx.api().workloads[workload].model].kind;
            if !matches!(kind, WorkloadKind::Deployment(_)) {
                for set in sets {
                    self.scale_set(set, replicas, cx);
                }
            }
        }
    }

    fn create_set(&mut self, workload: Id<Workload>, desired: u32, cx: &mut Cx<'_>) {
        let template = cx.model().workloads[cx.api().workloads[workload].model].template;
        let api = cx.api_mut(&self.writer);
        let revision = api.workloads[workload].sets.len() as u32 + 1;
        let set = api.sets.push(Set {
            workload,
            template,
            desired,
            max_replicas: desired,
            revision,
            pods: Vec::new(),
            ready: 0,
            created: 0,
        });
        api.workloads[workload].sets.push(set);
        cx.emit(Change::SetScaled(set));
    }

    fn scale_set(&mut self, set: Id<Set>, desired: u32, cx: &mut Cx<'_>) {
        let row = &mut cx.api_mut(&self.writer).sets[set];
        if row.desired != desired {
            row.desired = desired;
            cx.emit(Change::SetScaled(set));
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
        cx.emit(Change::NodeTainted(node, taint, on));
    }

    fn create_job(&mut self, cron: Id<CronModel>, cx: &mut Cx<'_>) {
        let model = cx.model().cron_jobs[cron].job;
        let serial = cx.api().workloads.iter().filter(|(_, w)| w.model == model).count() as u32;
        self.add_workload(model, serial, cx);
    }

    /// Adds a workload that exists from the start, or a CronJob's Job.
    fn add_workload(
        &mut self,
        model: Id<WorkloadModel>,
        serial: u32,
        cx: &mut Cx<'_>,
    ) -> Id<Workload> {
        let now = cx.now();
        let description = &cx.model().workloads[model];
        let job = matches!(description.kind, WorkloadKind::Job(_)).then(|| JobState {
            serial,
            started: now,
            ..JobState::default()
        });
        let replicas = description.replicas;
        let template = description.template;
        let is_deployment = matches!(description.kind, WorkloadKind::Deployment(_));
        let api = cx.api_mut(&self.writer);
        let workload =
            api.workloads.push(Workload { model, replicas, sets: Vec::new(), hpa: None, job });
        if !is_deployment {
            // Other workloads own their pods directly.
            let set = api.sets.push(Set {
                workload,
                template,
                desired: replicas,
                max_replicas: replicas,
                revision: 1,
                pods: Vec::new(),
                ready: 0,
                created: 0,
            });
            api.workloads[workload].sets.push(set);
        }
        cx.emit(Change::WorkloadCreated(workload));
        workload
    }

    fn finish_job(&mut self, job: Id<Workload>, succeeded: bool, cx: &mut Cx<'_>) {
        let now = cx.now();
        let row = &mut cx.api_mut(&self.writer).workloads[job];
        if let Some(state) = row.job.as_mut().filter(|j| j.finished.is_none()) {
            state.finished = Some((now, succeeded));
            cx.emit(Change::JobFinished(job, succeeded));
        }
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

/// What the VPA's admission gives a new pod.
fn admitted(vpa: Id<VpaModel>, cx: &Cx<'_>) -> Option<Id<Shape>> {
    let policy = cx.model().vpas[vpa].object.spec.update_policy.as_ref();
    let mode = UpdateMode::lower(policy.and_then(|p| p.update_mode.as_deref()))?;
    cx.api().vpas[vpa].filter(|_| mode.admits())
}

/// The node object of an instance, as its kubelet registers it.
fn new_node(instance: Id<Instance>, cx: &Cx<'_>) -> Node {
    let row = &cx.cloud().instances[instance];
    let model = cx.model();
    let group = &model.groups[row.group];
    let group_type = row.group_type(model);
    let mut object = group_type.node.clone();
    let [a, b, c, d] = row.address.to_be_bytes();
    let domain = if model.region == "us-east-1" {
        "ec2.internal".to_owned()
    } else {
        format!("{}.compute.internal", model.region)
    };
    let name = format!("ip-{a}-{b}-{c}-{d}.{domain}");
    let labels = &mut object.metadata.labels;
    labels.insert("kubernetes.io/hostname".to_owned(), name.clone());
    labels.insert("topology.kubernetes.io/zone".to_owned(), model.zones[row.zone].clone());
    labels.insert("topology.ebs.csi.aws.com/zone".to_owned(), model.zones[row.zone].clone());
    labels.extend(row.labels.iter().flat_map(|l| (**l).clone()));
    object.metadata.name = name;
    let mut taints = vec![SystemTaint::NotReady];
    if !group.is_managed() {
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
        condition: NodeCondition::NotReady,
        registered: cx.now(),
        first_ready: SimTime::NEVER,
        condition_changed: cx.now(),
        deleted: SimTime::NEVER,
        allocatable_cpu: group_type.allocatable_cpu,
        allocatable_memory: group_type.allocatable_memory,
        max_pods: group_type.max_pods,
        pods: Vec::new(),
    }
}

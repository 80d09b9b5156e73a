//! Pods as the API server writes them: admission, deletion, eviction, status; and the counts that
//! a Job's status keeps of its pods.

use super::ControlPlane;
use crate::engine::{self, Cx};
use crate::k8s::ResourceList;
use crate::policy::workloads::{
    ContainerExit, Eviction, EvictionPod, FailureAction, PodFailure, PodPhase, QuotaPod, evict,
    failure_action, quota_admits, quota_charge, quota_release,
};
use crate::units::{Id, SimTime};
use crate::world::model::{BudgetModel, Template, VpaModel, WorkloadKind};
use crate::world::pods::NewPod;
use crate::world::shapes::Shape;
use crate::world::{Change, Client, Phase, PodId, PodReport, Reason, Request, Set};

impl ControlPlane {
    pub(super) fn create_pod(
        &mut self,
        client: Client,
        set: Id<Set>,
        ordinal: u32,
        previous: bool,
        cx: &mut Cx<'_>,
    ) {
        let now = cx.now();
        let model = cx.model();
        let owner = &cx.api().sets[set];
        let row = &cx.api().workloads[owner.workload];
        let description = &model.workloads[row.model];
        let template = owner.previous.filter(|_| previous).unwrap_or(owner.template);
        let serial = row.job.as_ref().map_or(0, |j| j.serial);
        let key = engine::draws::key(&[
            description.key,
            u64::from(serial),
            u64::from(owner.serial),
            u64::from(ordinal),
            u64::from(owner.created),
        ]);
        // The VPA's webhook changes the pod before quotas are checked.
        let shape = description.vpa.and_then(|vpa| self.shape_of_new(vpa, template, cx));
        if let Err(message) = self.admit(template, shape, cx) {
            cx.api_mut(&self.writer).refusals.insert(set, message);
            cx.emit(Change::PodRefused(set));
            cx.emit(Change::RequestRefused(client, Request::CreatePod { set, ordinal, previous }));
            return;
        }
        let listed = !model.templates[template].trace;
        let api = cx.api_mut(&self.writer);
        if !api.refusals.is_empty() {
            api.refusals.remove(&set);
        }
        let pod = api.create_pod(NewPod { set, template, ordinal, key, listed }, now);
        if shape.is_some()
            && let Some(p) = cx.api_mut(&self.writer).pods.get_mut(pod)
        {
            p.shape = shape;
        }
        cx.emit(Change::PodCreated(pod));
        if let Some(name) = model.templates[template].object.spec.node_name.as_deref() {
            self.place(pod, name, cx);
        }
    }

    /// `spec.nodeName` of the template: the scheduler has no say.
    fn place(&mut self, pod: PodId, name: &str, cx: &mut Cx<'_>) {
        let now = cx.now();
        let api = cx.api_mut(&self.writer);
        let node = api.live_nodes.iter().copied().find(|&n| api.nodes[n].name() == name);
        if let Some(node) = node
            && api.bind(pod, node, now)
        {
            cx.emit(Change::PodBound(pod));
        }
    }

    /// What admission says of another pod of the template: LimitRange, PriorityClass and Pod
    /// Security do not change during a run, ResourceQuota does.
    fn admit(
        &mut self,
        template: Id<Template>,
        shape: Option<Id<Shape>>,
        cx: &mut Cx<'_>,
    ) -> Result<(), String> {
        let model = cx.model();
        let t = &model.templates[template];
        if let Some(why) = &t.refusal {
            return Err(why.clone());
        }
        if t.quotas.is_empty() {
            return Ok(());
        }
        let object = shape.map_or(&t.object, |s| &cx.api().shapes.get(s).object);
        let object = std::sync::Arc::clone(object);
        let pod = QuotaPod { spec: &object.spec, cross_namespace_affinity: false };
        let mut after = Vec::with_capacity(t.quotas.len());
        for &q in &t.quotas {
            let quota = &model.quotas[q as usize];
            let used = &cx.api().quota_used[q as usize];
            let usage = quota_admits(&pod, &quota.hard, &quota.scopes, used)
                .map_err(|why| why.named(&quota.name))?;
            after.push((q, usage));
        }
        for (q, usage) in after {
            cx.api_mut(&self.writer).quota_used[q as usize] = usage;
        }
        Ok(())
    }

    /// The pod ended or is gone: its quotas have room again.
    fn release_quotas(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        let ended = |p: &crate::world::Pod| is_final(p.phase) && p.detached;
        if cx.api().pods.get(pod).is_some_and(|p| !ended(p)) {
            self.book_quotas(pod, quota_release, cx);
        }
    }

    /// Charges a pod that is there already with what it holds now.
    fn charge_quotas(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        self.book_quotas(pod, quota_charge, cx);
    }

    fn book_quotas(
        &mut self,
        pod: PodId,
        book: fn(&QuotaPod<'_>, &ResourceList, &[String], &mut ResourceList),
        cx: &mut Cx<'_>,
    ) {
        let model = cx.model();
        let Some(p) = cx.api().pods.get(pod) else { return };
        let t = &model.templates[p.template];
        if t.quotas.is_empty() {
            return;
        }
        let object = p.shape.map_or(&t.object, |s| &cx.api().shapes.get(s).object);
        let object = std::sync::Arc::clone(object);
        let view = QuotaPod { spec: &object.spec, cross_namespace_affinity: false };
        for &q in &t.quotas {
            let quota = &model.quotas[q as usize];
            let used = &mut cx.api_mut(&self.writer).quota_used[q as usize];
            book(&view, &quota.hard, &quota.scopes, used);
        }
    }

    pub(super) fn delete_pod(&mut self, pod: PodId, reason: Reason, cx: &mut Cx<'_>) {
        let now = cx.now();
        let disruption = reason.is_disruption();
        let api = cx.api_mut(&self.writer);
        if !api.mark_deleting(pod, now) {
            return;
        }
        if let Some(p) = api.pods.get_mut(pod) {
            p.disruption_target |= disruption;
        }
        cx.emit(Change::PodDeleting(pod, reason));
        if reason != Reason::JobCleanup {
            self.job_pod_deleted(pod, cx);
        }
        let ended = cx.api().pods.get(pod).is_some_and(|p| p.node.is_none() || is_final(p.phase));
        if ended {
            self.remove_pod(pod, cx);
        }
    }

    pub(super) fn evict_pod(&mut self, pod: PodId, reason: Reason, cx: &mut Cx<'_>) {
        let now = cx.now();
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
        let model = cx.model();
        let budgets: Vec<Id<BudgetModel>> = model
            .budgets
            .iter()
            .filter(|(_, b)| b.templates.contains(&template))
            .map(|(id, _)| id)
            .collect();
        let api = cx.api();
        let statuses: Vec<_> = budgets.iter().map(|&b| api.budget_status(b, model, now)).collect();
        let first = budgets.first().copied();
        let always = first.is_some_and(|b| {
            let spec = &model.budgets[b].object.spec;
            spec.unhealthy_pod_eviction_policy.as_deref() == Some("AlwaysAllow")
        });
        let tracked = api.disrupted.iter().filter(|(b, _, _)| Some(*b) == first).count();
        match (evict(&view, &statuses, always, tracked), first) {
            (Eviction::Free, _) => self.delete_pod(pod, reason, cx),
            (Eviction::Charged, Some(budget)) => {
                let api = cx.api_mut(&self.writer);
                api.forget_disruptions(now);
                api.disrupted.push((budget, pod, now));
                self.delete_pod(pod, reason, cx);
            }
            (_, Some(budget)) => cx.emit(Change::EvictionRefused(pod, budget)),
            (_, None) => {}
        }
    }

    pub(super) fn remove_pod(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        let now = cx.now();
        if cx.api().pods.get(pod).is_some_and(|p| !is_final(p.phase) && !p.detached) {
            self.job_pod_ended(pod, false, cx);
        }
        let api = cx.api_mut(&self.writer);
        if api.detach_pod(pod, now) {
            if !api.disrupted.is_empty() {
                api.disrupted.retain(|&(_, p, _)| p != pod);
            }
            self.release_quotas(pod, cx);
            cx.emit(Change::PodDeleted(pod));
        }
    }

    /// Nothing but the running time of a trace's pod is simulated: it runs and is Ready at once.
    pub(super) fn run_trace_pod(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        let now = cx.now();
        if !is_trace(pod, cx) {
            return;
        }
        let api = cx.api_mut(&self.writer);
        if let Some(p) = api.pods.get_mut(pod) {
            p.phase = Phase::Running;
            p.started = now;
        }
        api.set_ready(pod, true, now);
        cx.emit(Change::PodStarted(pod));
        cx.emit(Change::PodReady(pod));
    }

    pub(super) fn report(&mut self, pod: PodId, report: PodReport, cx: &mut Cx<'_>) {
        let now = cx.now();
        let began = cx.machines().pod(pod).map(|m| m.container_started);
        let api = cx.api_mut(&self.writer);
        let Some(p) = api.pods.get_mut(pod) else { return };
        if is_final(p.phase) || p.detached {
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
                api.touch(pod);
                Change::PodStarted(pod)
            }
            PodReport::Restarted => {
                p.restarts += 1;
                Change::PodRestarted(pod)
            }
            PodReport::OomKilled => {
                p.restarts += 1;
                // A status tells since when the container ran that was killed.
                let since = began.unwrap_or(p.started);
                p.last_oom = Some((now, now.since(since)));
                if api.set_ready(pod, false, now) {
                    cx.emit(Change::PodUnready(pod));
                }
                cx.emit(Change::PodRestarted(pod));
                Change::PodOomKilled(pod)
            }
            PodReport::Succeeded | PodReport::Failed => {
                let well = report == PodReport::Succeeded;
                self.job_pod_ended(pod, well, cx);
                let phase = if well { Phase::Succeeded } else { Phase::Failed };
                cx.api_mut(&self.writer).end_pod(pod, phase, now);
                self.release_quotas(pod, cx);
                if well { Change::PodSucceeded(pod) } else { Change::PodFailed(pod) }
            }
        };
        cx.emit(change);
        if matches!(change, Change::PodSucceeded(_) | Change::PodFailed(_)) && is_trace(pod, cx) {
            self.remove_pod(pod, cx);
        }
    }

    /// What the VPA's admission makes of a new pod of the template.
    fn shape_of_new(
        &mut self,
        vpa: Id<VpaModel>,
        template: Id<Template>,
        cx: &mut Cx<'_>,
    ) -> Option<Id<Shape>> {
        let model = cx.model();
        let description = &model.vpas[vpa];
        let targets = cx.api().vpas[vpa].filter(|_| description.mode.admits())?;
        let key = (vpa.raw(), template.raw());
        if let Some(&(known, shape)) = self.admitted.get(&key)
            && known == targets
        {
            return Some(shape);
        }
        let recommended = cx.api().targets.get(targets).recommendations();
        let views = model.templates[template].container_views();
        let containers = description.admitted(&views, &recommended);
        let shape = cx.intern_shape(template, &containers);
        self.admitted.insert(key, (targets, shape));
        Some(shape)
    }

    /// What the VPA and the kubelet write about sizes of pods.
    pub(super) fn resize(&mut self, request: Request, cx: &mut Cx<'_>) {
        let api = cx.api_mut(&self.writer);
        match request {
            Request::RecommendVpa { vpa, targets } => {
                api.vpas[vpa] = Some(targets);
                cx.emit(Change::VpaRecommended(vpa));
            }
            Request::ResizePod { pod, shape } => {
                if let Some(p) = api.pods.get_mut(pod) {
                    p.resizing = Some(shape);
                    cx.emit(Change::PodResizing(pod));
                }
            }
            Request::Resized { pod } => {
                let Some(p) = api.pods.get_mut(pod) else { return };
                let Some(shape) = p.resizing.take() else { return };
                let held = p.phase != Phase::Pending && !p.detached;
                if held {
                    self.release_quotas(pod, cx);
                }
                let api = cx.api_mut(&self.writer);
                if let Some(p) = api.pods.get_mut(pod) {
                    p.shape = Some(shape);
                }
                api.touch(pod);
                if held {
                    self.charge_quotas(pod, cx);
                }
                cx.emit(Change::PodResized(pod));
            }
            _ => {}
        }
    }

    /// A Job's pod is being deleted by somebody else: it counts as failed at once, unless only
    /// pods that have really failed are replaced.
    fn job_pod_deleted(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        let Some((_, job)) = job_of(pod, cx) else { return };
        let waits = job.spec.pod_failure_policy.is_some()
            || job.spec.pod_replacement_policy.as_deref() == Some("Failed");
        let counts = cx.api().pods.get(pod).is_some_and(|p| !is_final(p.phase) && !p.counted);
        if counts && !waits {
            self.count(pod, false, cx);
        }
    }

    fn job_pod_ended(&mut self, pod: PodId, well: bool, cx: &mut Cx<'_>) {
        if cx.api().pods.get(pod).is_some_and(|p| !p.counted) && job_of(pod, cx).is_some() {
            self.count(pod, well, cx);
        }
    }

    /// Writes an end into the status of the pod's Job.
    fn count(&mut self, pod: PodId, well: bool, cx: &mut Cx<'_>) {
        let now = cx.now();
        let Some((workload, job)) = job_of(pod, cx) else { return };
        let Some(p) = cx.api().pods.get(pod) else { return };
        let container = cx.model().templates[p.template].object.spec.containers.first();
        let exit = ContainerExit { name: container.map_or("", |c| c.name.as_str()), code: 1 };
        let exits = [exit];
        let condition = [("DisruptionTarget", "True")];
        let failure = PodFailure {
            exits: if p.disruption_target { &[] } else { &exits },
            conditions: if p.disruption_target { &condition } else { &[] },
        };
        let action = failure_action(job.spec.pod_failure_policy.as_ref(), &failure);
        let ordinal = p.ordinal;
        let per_index = job.spec.backoff_limit_per_index;
        let api = cx.api_mut(&self.writer);
        if let Some(p) = api.pods.get_mut(pod) {
            p.counted = true;
        }
        let Some(state) = api.workloads[workload].job.as_mut() else { return };
        if well {
            state.failures_in_a_row = 0;
            if let Err(at) = state.done_indexes.binary_search(&ordinal) {
                state.done_indexes.insert(at, ordinal);
                state.succeeded += 1;
            }
            return;
        }
        if action == FailureAction::Ignore {
            return;
        }
        state.failed += 1;
        state.failures_in_a_row += 1;
        state.last_failure = Some(now);
        state.fail_job |= action == FailureAction::FailJob;
        if let Some(limit) = per_index {
            let failures = state.failures_by_index.entry(ordinal).or_default();
            *failures += 1;
            let over = i64::from(*failures) > i64::from(limit);
            if (over || action == FailureAction::FailIndex)
                && let Err(at) = state.done_indexes.binary_search(&ordinal)
            {
                state.done_indexes.insert(at, ordinal);
                state.failed_indexes += 1;
            }
        }
    }
}

fn is_final(phase: Phase) -> bool {
    matches!(phase, Phase::Succeeded | Phase::Failed)
}

fn is_trace(pod: PodId, cx: &Cx<'_>) -> bool {
    cx.api().pods.get(pod).is_some_and(|p| cx.model().templates[p.template].trace)
}

/// The pod's Job, if a Job that has not ended owns it.
fn job_of<'m>(
    pod: PodId,
    cx: &Cx<'m>,
) -> Option<(Id<crate::world::Workload>, &'m crate::world::model::JobModel)> {
    let p = cx.api().pods.get(pod)?;
    let workload = cx.api().sets[p.set].workload;
    let row = &cx.api().workloads[workload];
    row.job.as_ref().filter(|j| j.finished.is_none())?;
    match row.kind(cx.model()) {
        WorkloadKind::Job(job) => Some((workload, job)),
        _ => None,
    }
}

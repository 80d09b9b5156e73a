//! Workloads, their sets, Jobs and HPAs as the API server writes them.

use super::ControlPlane;
use crate::engine::Cx;
use crate::units::Id;
use crate::world::model::{CronModel, WorkloadKind, WorkloadModel};
use crate::world::owners::JobState;
use crate::world::steps::{Cascade, RevisionModel, StepKind};
use crate::world::{Change, Hpa, Request, Set, Workload};
use std::collections::BTreeMap;

impl ControlPlane {
    /// Everything of the model that exists from the start, as if applied in one go.
    pub fn create_initial_objects(&mut self, cx: &mut Cx<'_>) {
        let model = cx.model();
        cx.api_mut(&self.writer).quota_used = vec![Default::default(); model.quotas.len()];
        let of_cron: Vec<Id<WorkloadModel>> = model.cron_jobs.iter().map(|(_, c)| c.job).collect();
        let mut targets: BTreeMap<u32, Id<Workload>> = BTreeMap::new();
        for (id, _) in model.workloads.iter().filter(|(id, _)| !of_cron.contains(id)) {
            let workload = self.add_workload(id, 0, cx);
            targets.insert(id.raw(), workload);
        }
        for (id, hpa) in model.hpas.iter() {
            // The model has no HPA whose target does not exist from the start.
            let Some(&target) = targets.get(&hpa.target.raw()) else { continue };
            let row = Hpa { model: id, target, bounds: hpa.bounds };
            cx.api_mut(&self.writer).hpas.push(row);
        }
    }

    /// Adds a workload that exists from the start, or a CronJob's Job.
    pub(super) fn add_workload(
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
        let sets = Vec::new();
        let row = Workload { model, replicas, sets, job, deleted: None, revision: None };
        let workload = api.workloads.push(row);
        api.touch_workload(workload);
        if !is_deployment {
            // Other workloads own their pods directly.
            let set = api.sets.push(Set::new(workload, template, replicas, 1));
            api.workloads[workload].sets.push(set);
        }
        cx.emit(Change::WorkloadCreated(workload));
        workload
    }

    pub(super) fn scale_workload(
        &mut self,
        workload: Id<Workload>,
        replicas: u32,
        hpa: Option<Id<Hpa>>,
        cx: &mut Cx<'_>,
    ) {
        let row = &mut cx.api_mut(&self.writer).workloads[workload];
        if row.replicas == replicas || row.deleted.is_some() {
            return;
        }
        row.replicas = replicas;
        let sets = row.sets.clone();
        cx.api_mut(&self.writer).touch_workload(workload);
        cx.emit(Change::WorkloadScaled(workload, hpa));
        let kind = cx.api().workloads[workload].kind(cx.model());
        if !matches!(kind, WorkloadKind::Deployment(_)) {
            for set in sets {
                cx.api_mut(&self.writer).sets[set].desired = replicas;
            }
        }
    }

    /// New bounds of an HPA.
    pub(super) fn patch_hpa(&mut self, request: Request, cx: &mut Cx<'_>) {
        let Request::PatchHpa { hpa, min, max, .. } = request else { return };
        let row = &mut cx.api_mut(&self.writer).hpas[hpa];
        if row.bounds != (min, max) {
            row.bounds = (min, max);
            let target = row.target;
            cx.api_mut(&self.writer).touch_workload(target);
            cx.emit(Change::HpaPatched(hpa));
        }
    }

    pub(super) fn create_set(&mut self, workload: Id<Workload>, desired: u32, cx: &mut Cx<'_>) {
        let row = &cx.api().workloads[workload];
        let (template, replicas) = (row.template(cx.model()), row.replicas);
        let api = cx.api_mut(&self.writer);
        let of_workload = || api.sets.iter().filter(|(_, s)| s.workload == workload);
        let serial = of_workload().count() as u32 + 1;
        let revision = of_workload().map(|(_, s)| s.revision).max().unwrap_or(0) + 1;
        let mut set = Set::new(workload, template, desired, serial);
        set.revision = revision;
        set.desired_replicas = replicas;
        set.max_replicas = 0;
        let set = api.sets.push(set);
        api.workloads[workload].sets.push(set);
        api.touch_workload(workload);
        cx.emit(Change::SetScaled(set));
    }

    /// A ReplicaSet of an earlier revision becomes the newest one.
    pub(super) fn revive_set(&mut self, set: Id<Set>, cx: &mut Cx<'_>) {
        let api = cx.api_mut(&self.writer);
        let sets = &api.workloads[api.sets[set].workload].sets;
        let newest = sets.iter().map(|&s| api.sets[s].revision).max().unwrap_or(0);
        api.sets[set].revision = newest + 1;
        cx.emit(Change::SetScaled(set));
    }

    pub(super) fn delete_set(&mut self, set: Id<Set>, cx: &mut Cx<'_>) {
        let api = cx.api_mut(&self.writer);
        api.sets[set].deleted = true;
        let workload = api.sets[set].workload;
        api.workloads[workload].sets.retain(|&s| s != set);
        api.touch_workload(workload);
        cx.emit(Change::SetScaled(set));
    }

    /// A step of the scenario: the user applies a changed workload.
    pub(super) fn step(&mut self, step: u32, cx: &mut Cx<'_>) {
        let Some(step_model) = cx.model().steps.get(step as usize) else { return };
        match &step_model.kind {
            StepKind::Change { workload, revision, replicas, .. } => {
                self.change(step, *workload, *revision, *replicas, cx);
            }
            StepKind::Ungate { workload } => self.ungate(*workload, cx),
            StepKind::Delete { workload, cascade } => self.delete(step, *workload, *cascade, cx),
            StepKind::Weights { service, .. } => cx.emit(Change::WeightsChanged(*service, step)),
            StepKind::NodePools { .. } => cx.emit(Change::NodePoolsChanged(step)),
            StepKind::Drain { .. }
            | StepKind::ImageRelease { .. }
            | StepKind::NodeGroupUpdate { .. } => {}
        }
    }

    /// Whoever set the gates of a workload's pods removes them from those that exist.
    fn ungate(&mut self, model: Id<WorkloadModel>, cx: &mut Cx<'_>) {
        let Some(workload) = workload_of(model, cx) else { return };
        for set in cx.api().workloads[workload].sets.clone() {
            for pod in cx.api().sets[set].pods.clone() {
                let row = cx.api_mut(&self.writer).pods.get_mut(pod);
                if let Some(p) = row.filter(|p| !p.ungated && !p.is_terminating()) {
                    p.ungated = true;
                    cx.emit(Change::PodUngated(pod));
                }
            }
        }
    }

    fn delete(&mut self, step: u32, model: Id<WorkloadModel>, cascade: Cascade, cx: &mut Cx<'_>) {
        let Some(workload) = workload_of(model, cx) else { return };
        let api = cx.api_mut(&self.writer);
        let row = &mut api.workloads[workload];
        row.deleted = Some(cascade);
        if cascade != Cascade::Orphan {
            // Nothing is wanted any more; the garbage collector deletes what there is.
            row.replicas = 0;
            for &set in &row.sets {
                api.sets[set].desired = 0;
            }
        }
        cx.emit(Change::WorkloadDeleted(workload, step));
    }

    fn change(
        &mut self,
        step: u32,
        model: Id<WorkloadModel>,
        revision: Id<RevisionModel>,
        replicas: Option<u32>,
        cx: &mut Cx<'_>,
    ) {
        let Some(workload) = workload_of(model, cx) else { return };
        let template = cx.model().revisions[revision].template;
        let is_deployment =
            matches!(cx.model().revisions[revision].kind, WorkloadKind::Deployment(_));
        let api = cx.api_mut(&self.writer);
        api.workloads[workload].revision = Some(revision);
        api.touch_workload(workload);
        if !is_deployment {
            for at in 0..api.workloads[workload].sets.len() {
                let set = &mut api.sets[api.workloads[workload].sets[at]];
                if set.template != template {
                    let old = core::mem::replace(&mut set.template, template);
                    set.previous.get_or_insert(old);
                    set.revision += 1;
                }
                if set.previous == Some(template) {
                    set.previous = None;
                }
            }
        }
        cx.emit(Change::WorkloadChanged(workload, step));
        if let Some(replicas) = replicas {
            self.scale_workload(workload, replicas, None, cx);
        }
    }

    pub(super) fn create_job(&mut self, cron: Id<CronModel>, cx: &mut Cx<'_>) {
        let model = cx.model().cron_jobs[cron].job;
        let serial = cx.api().workloads.iter().filter(|(_, w)| w.model == model).count() as u32;
        self.add_workload(model, serial, cx);
    }

    pub(super) fn finish_job(&mut self, job: Id<Workload>, succeeded: bool, cx: &mut Cx<'_>) {
        let now = cx.now();
        let row = &mut cx.api_mut(&self.writer).workloads[job];
        if let Some(state) = row.job.as_mut().filter(|j| j.finished.is_none()) {
            state.finished = Some((now, succeeded));
            cx.emit(Change::JobFinished(job, succeeded));
        }
    }
}

/// The object of a workload of the manifests.
fn workload_of(model: Id<WorkloadModel>, cx: &Cx<'_>) -> Option<Id<Workload>> {
    cx.api().workloads.iter().find(|(_, w)| w.model == model).map(|(id, _)| id)
}

//! Jobs and CronJobs.

use super::{Workloads, clean_job, wake};
use crate::engine::Cx;
use crate::policy::workloads::{
    CronDecision, CronRules, CronView, JobOutcome, JobRules, JobView, cron_sync, job_sync,
    pending_indexes,
};
use crate::units::{Id, SimTime};
use crate::world::model::{CronModel, JobModel};
use crate::world::{Client, Phase, PodId, Reason, Request, Set, Workload};

/// State of a CronJob.
#[derive(Clone, Debug, Default)]
pub(super) struct CronState {
    last_schedule: Option<SimTime>,
    /// The schedule before that, to go back to when the Job could not be created.
    before: Option<SimTime>,
    /// The due time that is on the agenda.
    armed: Option<SimTime>,
    /// Position in the list of due times.
    next: usize,
    /// Jobs already cleaned up.
    cleaned: Vec<Id<Workload>>,
}

impl Workloads {
    pub(super) fn sync_job(&mut self, set: Id<Set>, job: &JobModel, cx: &mut Cx<'_>) {
        let workload = cx.api().sets[set].workload;
        let Some(state) = cx.api().workloads[workload].job.as_ref() else { return };
        if state.finished.is_some() {
            return;
        }
        let rules = JobRules::lower(&job.spec);
        let (view, active, taken) = look(set, state.started, rules.indexed, cx);
        let e = self.expectations_of(set);
        if e.creates > 0 {
            return;
        }
        let decision = job_sync(&rules, &view, cx.now());
        if let Some(wait) = decision.wait {
            cx.after(wait, wake(super::Event::SyncSet(set)));
        }
        if decision.create > 0 {
            if rules.indexed {
                let all = rules.completions.unwrap_or(0);
                for index in pending_indexes(&taken, decision.create, all) {
                    self.create(set, Some(index.max(0) as u32), Client::Job, cx);
                }
            } else {
                for _ in 0..decision.create {
                    self.create(set, None, Client::Job, cx);
                }
            }
        }
        if decision.delete > 0 {
            for &pod in active.iter().rev().take(decision.delete as usize) {
                self.delete(pod, Reason::JobCleanup, Client::Job, cx);
            }
        }
        if let Some(outcome) = decision.outcome {
            let succeeded = outcome == JobOutcome::Complete;
            cx.submit(Client::Job, Request::FinishJob { job: workload, succeeded });
        } else if let Some(deadline) = rules.active_deadline {
            let at = view.started.unwrap_or(cx.now()) + deadline;
            if view.active > 0 && at > cx.now() {
                cx.at(at, wake(super::Event::SyncSet(set)));
            }
        }
    }

    pub(super) fn job_finished(&mut self, job: Id<Workload>, cx: &mut Cx<'_>) {
        let model = cx.api().workloads[job].model;
        if let crate::world::model::WorkloadKind::Job(j) = &cx.model().workloads[model].kind
            && let Some(ttl) = JobRules::lower(&j.spec).ttl_after_finished
        {
            cx.after(ttl, wake(super::Event::CleanJob(job)));
        }
        let cron = cx.model().cron_jobs.iter().find(|(_, c)| c.job == model).map(|(id, _)| id);
        if let Some(cron) = cron {
            self.trim_history(cron, cx);
        }
    }

    /// Keeps the last successful and failed Jobs of a CronJob; pods of older ones go.
    fn trim_history(&mut self, cron: Id<CronModel>, cx: &mut Cx<'_>) {
        let model = &cx.model().cron_jobs[cron];
        let rules = CronRules::lower(&model.spec);
        for (wanted, keep) in [(true, rules.successful_history), (false, rules.failed_history)] {
            let cleaned = &self.crons[cron].cleaned;
            let done: Vec<Id<Workload>> = cx
                .api()
                .workloads
                .iter()
                .filter(|(id, w)| w.model == model.job && !cleaned.contains(id))
                .filter(|(_, w)| {
                    w.job.as_ref().and_then(|j| j.finished).is_some_and(|(_, ok)| ok == wanted)
                })
                .map(|(id, _)| id)
                .collect();
            let surplus = done.len().saturating_sub(keep.max(0) as usize);
            for &job in &done[..surplus] {
                self.crons[cron].cleaned.push(job);
                clean_job(job, Reason::JobCleanup, cx);
            }
        }
    }

    /// The Job of the last schedule does not exist: decide again, as upstream's next sync does.
    pub(super) fn cron_failed(&mut self, cron: Id<CronModel>, cx: &mut Cx<'_>) {
        let state = &mut self.crons[cron];
        state.last_schedule = state.before;
        self.cron_due(cron, cx);
    }

    pub(super) fn cron_due(&mut self, cron: Id<CronModel>, cx: &mut Cx<'_>) {
        let model = &cx.model().cron_jobs[cron];
        let now = cx.now();
        let running: Vec<Id<Workload>> = cx
            .api()
            .workloads
            .iter()
            .filter(|(_, w)| w.model == model.job)
            .filter(|(_, w)| w.job.as_ref().is_some_and(|j| j.finished.is_none()))
            .map(|(id, _)| id)
            .collect();
        let state = &mut self.crons[cron];
        while model.due.get(state.next).is_some_and(|&at| at <= now) {
            state.next += 1;
        }
        let next = model.due.get(state.next).copied();
        if let Some(at) = next.filter(|_| next != state.armed) {
            state.armed = next;
            cx.at(at, wake(super::Event::CronDue(cron)));
        }
        let view = CronView {
            now,
            created: SimTime::ZERO,
            last_schedule: state.last_schedule,
            active: running.len(),
            due: &model.due,
        };
        let decision = cron_sync(&CronRules::lower(&model.spec), &view);
        if let CronDecision::Start { scheduled, replace, .. } = decision {
            state.before = state.last_schedule.replace(scheduled);
            if replace {
                for job in running {
                    clean_job(job, Reason::JobReplaced, cx);
                    cx.submit(Client::Job, Request::FinishJob { job, succeeded: false });
                }
            }
            cx.submit(Client::Job, Request::CreateJob { cron });
        }
    }
}

/// The Job's numbers, its active pods and the indexes that need no pod.
fn look(
    set: Id<Set>,
    started: SimTime,
    indexed: bool,
    cx: &Cx<'_>,
) -> (JobView, Vec<PodId>, Vec<i32>) {
    let mut view = JobView { started: Some(started), ..JobView::default() };
    let mut active: Vec<PodId> = Vec::new();
    let (mut taken, mut done): (Vec<i32>, Vec<i32>) = (Vec::new(), Vec::new());
    for &id in &cx.api().sets[set].pods {
        let Some(pod) = cx.api().pods.get(id) else { continue };
        match pod.phase {
            Phase::Succeeded => {
                if !indexed || !done.contains(&(pod.ordinal as i32)) {
                    view.succeeded += 1;
                    done.push(pod.ordinal as i32);
                }
                view.failures_in_a_row = 0;
            }
            Phase::Failed => {
                view.failed += 1;
                view.failures_in_a_row += 1;
                let at = pod.changed();
                view.last_failure = Some(view.last_failure.map_or(at, |l| l.max(at)));
            }
            _ if pod.is_terminating() => view.terminating += 1,
            _ => {
                view.active += 1;
                view.restarts += pod.restarts as i32;
                taken.push(pod.ordinal as i32);
                active.push(id);
            }
        }
    }
    // Finished pods that are gone: upstream has counted them in the Job's status.
    let workload = cx.api().sets[set].workload;
    if let Some(state) = cx.api().workloads[workload].job.as_ref() {
        view.failed += state.failed as i32;
        view.last_failure = view.last_failure.max(state.last_failure);
        if indexed {
            for &index in &state.done_indexes {
                if !done.contains(&(index as i32)) {
                    view.succeeded += 1;
                    done.push(index as i32);
                }
            }
        } else {
            view.succeeded += state.succeeded as i32;
        }
    }
    taken.extend(done);
    taken.sort_unstable();
    taken.dedup();
    (view, active, taken)
}

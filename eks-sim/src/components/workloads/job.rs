//! Jobs and CronJobs.

use super::{Workloads, clean_job, wake};
use crate::engine::Cx;
use crate::policy::workloads::{
    CronDecision, CronRules, CronView, JobOutcome, JobRules, JobView, cron_sync, job_sync,
    pending_indexes, success_policy_met,
};
use crate::units::{Id, SimTime};
use crate::world::model::{CronModel, JobModel};
use crate::world::owners::JobState;
use crate::world::{Client, Phase, Pod, PodId, Reason, Request, Set, Workload};

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
        if state.finished.is_some() || !self.state_of(set).is_met() {
            return;
        }
        let done = if rules_indexed(job) { state.done_indexes.clone() } else { Vec::new() };
        let rules = JobRules::lower(&job.spec);
        let replaces_failed = job.spec.pod_failure_policy.is_some()
            || job.spec.pod_replacement_policy.as_deref() == Some("Failed");
        let mut view = look(set, state, replaces_failed, cx);
        let policy = job.spec.success_policy.as_ref().filter(|_| rules.indexed);
        view.success_met = policy.is_some_and(|p| success_policy_met(p, &state.succeeded_indexes));
        let decision = job_sync(&rules, &view, cx.now());
        if let Some(wait) = decision.wait {
            cx.after(wait, wake(super::Event::SyncSet(set)));
        }
        if decision.create > 0 && rules.indexed {
            let taken = taken(set, &done, replaces_failed, cx);
            let all = rules.completions.unwrap_or(0);
            let indexes = pending_indexes(&taken, decision.create, all);
            let indexes = indexes.into_iter().map(|i| i.max(0).unsigned_abs()).collect();
            self.create(set, indexes, Client::Job, cx);
        } else if decision.create > 0 {
            self.create_next(set, decision.create.unsigned_abs(), Client::Job, cx);
        }
        if decision.delete > 0 {
            let active: Vec<PodId> = active(set, cx).map(|(id, _)| id).collect();
            for &pod in active.iter().rev().take(decision.delete.unsigned_abs() as usize) {
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
        if let crate::world::model::WorkloadKind::Job(j) = cx.api().workloads[job].kind(cx.model())
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

/// The Job's numbers: ends from its status, the rest from its pods.
fn look(set: Id<Set>, state: &JobState, replaces_failed: bool, cx: &Cx<'_>) -> JobView {
    let row = &cx.api().sets[set];
    let narrow = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let terminating = || {
        let pods = row.pods.iter().filter_map(|&p| cx.api().pods.get(p));
        pods.filter(|p| p.is_terminating() && !is_final(p.phase)).count() as i32
    };
    JobView {
        active: narrow(row.active),
        terminating: if replaces_failed { terminating() } else { 0 },
        succeeded: narrow(state.succeeded),
        failed: narrow(state.failed),
        restarts: active(set, cx).map(|(_, p)| narrow(p.restarts)).sum(),
        failed_indexes: narrow(state.failed_indexes),
        fail_job: state.fail_job,
        success_met: false,
        failures_in_a_row: state.failures_in_a_row,
        last_failure: state.last_failure,
        started: Some(state.started),
    }
}

fn rules_indexed(job: &JobModel) -> bool {
    job.spec.completion_mode.as_deref() == Some("Indexed")
}

fn is_final(phase: Phase) -> bool {
    matches!(phase, Phase::Succeeded | Phase::Failed)
}

fn active<'c>(set: Id<Set>, cx: &'c Cx<'_>) -> impl Iterator<Item = (PodId, &'c Pod)> {
    let api = cx.api();
    let pods = api.sets[set].pods.iter();
    pods.filter_map(|&id| api.pods.get(id).filter(|p| p.is_active()).map(|p| (id, p)))
}

/// Indexes that need no pod, in order.
fn taken(set: Id<Set>, done: &[u32], replaces_failed: bool, cx: &Cx<'_>) -> Vec<i32> {
    let api = cx.api();
    let held =
        api.sets[set].pods.iter().filter_map(|&id| api.pods.get(id)).filter(|p| {
            p.is_active() || (replaces_failed && p.is_terminating() && !is_final(p.phase))
        });
    let mut all: Vec<i32> = held.map(|p| p.ordinal as i32).collect();
    all.extend(done.iter().map(|&i| i as i32));
    all.sort_unstable();
    all.dedup();
    all
}

//! Deployment, ReplicaSet, StatefulSet, DaemonSet, Job and CronJob controllers.
//!
//! Each is level-triggered: a notice names a workload or a set, the handler compares what is with
//! what should be, and asks the API server for the difference. As upstream, a set is left alone
//! until everything that was asked for has been seen ("expectations"), pods are asked for in
//! batches of 1, 2, 4, … each of which waits for the answers to the one before, and a refused
//! pod makes the set wait 5 ms, doubled each time.

mod daemon_set;
mod expectations;
mod job;
mod replica_set;
mod rollout;
mod stateful_set;
mod trace;

use crate::engine::{self, Cx};
use crate::units::{Id, IdVec, SimTime, Span};
use crate::world::model::{CronModel, WorkloadKind};
use crate::world::steps::Cascade;
use crate::world::{Client, Model, Node, Pod, PodId, Reason, Request, Set, Workload};
use expectations::SetState;
use rollout::Rollout;

/// What can happen to the workload controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Compare a workload with its sets.
    SyncWorkload(Id<Workload>),
    /// Compare a set with its pods.
    SyncSet(Id<Set>),
    /// A set was created, changed or deleted.
    SetWritten(Id<Set>),
    /// The specification of a workload changed.
    WorkloadChanged(Id<Workload>),
    /// A node came, went or changed.
    NodeChanged(Id<Node>),
    /// Compare all DaemonSets with the nodes.
    SyncDaemonSets,
    /// The API server created a pod of the set.
    Created(Id<Set>),
    /// The API server refused a pod of the set.
    Refused(Id<Set>),
    /// A deletion was refused.
    DeleteFailed(PodId),
    /// A write about a workload's sets was refused.
    WorkloadFailed(Id<Workload>),
    /// A CronJob is due.
    CronDue(Id<CronModel>),
    /// A CronJob's Job could not be created.
    CronFailed(Id<CronModel>),
    /// A Job ended.
    JobFinished(Id<Workload>),
    /// A finished Job's time is over.
    CleanJob(Id<Workload>),
    /// The next pods of the trace arrive.
    Trace(u32),
    /// A pod of the trace was refused.
    TracePodFailed(u32),
    /// Somebody scales a workload by hand: the number of the change.
    ScaledByHand(u32),
}

/// The workload controllers.
#[derive(Clone, Debug, Default)]
pub struct Workloads {
    sets: IdVec<Set, SetState>,
    rollouts: IdVec<Workload, Rollout>,
    /// Whether a look at all DaemonSets is on the agenda.
    daemons_wait: bool,
    /// CronJobs' state.
    crons: IdVec<CronModel, job::CronState>,
    /// Sets of the trace's shapes.
    trace_sets: Vec<Id<Set>>,
}

fn scaled_by_hand(number: u32, cx: &mut Cx<'_>) {
    let Some(&(_, model, replicas)) = cx.model().scalings.get(number as usize) else { return };
    let found = cx.api().workloads.iter().find(|(_, w)| w.model == model).map(|(id, _)| id);
    if let Some(workload) = found {
        let request = Request::ScaleWorkload { workload, replicas, hpa: None };
        cx.submit(Client::User, request);
    }
}

pub(super) fn wake(event: Event) -> engine::Event {
    engine::Event::Workloads(event)
}

impl Workloads {
    /// Controllers that have seen nothing yet.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        let crons = model.cron_jobs.iter().map(|_| job::CronState::default()).collect();
        Self { crons, ..Self::default() }
    }

    /// Puts the first due time of each CronJob and the first pods of a trace on the agenda.
    pub fn start(&mut self, cx: &mut Cx<'_>) {
        for (id, cron) in cx.model().cron_jobs.iter() {
            if let Some(&at) = cron.due.first() {
                cx.at(at, wake(Event::CronDue(id)));
            }
        }
        for (number, &(at, _, _)) in (0..).zip(&cx.model().scalings) {
            cx.at(at, wake(Event::ScaledByHand(number)));
        }
        self.start_trace(cx);
    }

    /// Handles one event.
    pub fn handle(&mut self, event: Event, cx: &mut Cx<'_>) {
        match event {
            Event::SyncWorkload(w) => self.sync_workload(w, cx),
            Event::SyncSet(s) => self.sync_set(s, cx),
            Event::ScaledByHand(number) => scaled_by_hand(number, cx),
            Event::SetWritten(s) => {
                self.written(cx.api().sets[s].workload);
                self.sync_set(s, cx);
            }
            Event::WorkloadChanged(w) => {
                self.rollout_of(w).restart(cx.now());
                self.sync_workload(w, cx);
            }
            Event::NodeChanged(_) => {
                if !self.daemons_wait {
                    self.daemons_wait = true;
                    cx.after(Span::ZERO, wake(Event::SyncDaemonSets));
                }
            }
            Event::SyncDaemonSets => {
                self.daemons_wait = false;
                self.sync_daemon_sets(cx);
            }
            Event::Created(s) => self.answered(s, true, cx),
            Event::Refused(s) => self.answered(s, false, cx),
            Event::DeleteFailed(p) => {
                if let Some(set) = cx.api().pods.get(p).map(|pod| pod.set) {
                    self.state_of(set).deletes.retain(|&d| d != p);
                    self.sync_set(set, cx);
                }
            }
            Event::WorkloadFailed(w) => {
                self.written(w);
                self.sync_workload(w, cx);
            }
            Event::CronDue(c) => self.cron_due(c, cx),
            Event::CronFailed(c) => self.cron_failed(c, cx),
            Event::JobFinished(w) => self.job_finished(w, cx),
            Event::CleanJob(w) => clean_job(w, Reason::JobCleanup, cx),
            Event::Trace(at) => self.trace(at, cx),
            Event::TracePodFailed(at) => self.trace_pod(at, cx),
        }
    }

    fn sync_workload(&mut self, workload: Id<Workload>, cx: &mut Cx<'_>) {
        let row = &cx.api().workloads[workload];
        if row.deleted.is_some() {
            for set in row.sets.clone() {
                self.sync_set(set, cx);
            }
            return;
        }
        match row.kind(cx.model()) {
            WorkloadKind::Deployment(spec) => self.sync_deployment(workload, spec, cx),
            _ => {
                for at in 0..row.sets.len() {
                    let set = cx.api().workloads[workload].sets[at];
                    self.sync_set(set, cx);
                }
            }
        }
    }

    fn sync_set(&mut self, set: Id<Set>, cx: &mut Cx<'_>) {
        let workload = cx.api().sets[set].workload;
        let kind = cx.api().workloads[workload].kind(cx.model());
        if matches!(kind, WorkloadKind::Trace) {
            return;
        }
        self.meet_expectations(set, cx);
        if let Some(cascade) = cx.api().workloads[workload].deleted {
            return self.sync_ownerless(set, cascade, cx);
        }
        match kind {
            WorkloadKind::Deployment(_) => {
                self.sync_replica_set(set, cx);
                self.sync_workload(workload, cx);
            }
            WorkloadKind::ReplicaSet(_) => self.sync_replica_set(set, cx),
            WorkloadKind::StatefulSet(spec) => self.sync_stateful_set(set, spec, cx),
            WorkloadKind::DaemonSet(spec) => self.sync_daemon_set(set, spec, cx),
            WorkloadKind::Job(job) => self.sync_job(set, job, cx),
            WorkloadKind::Trace => {}
            WorkloadKind::Pod => {
                let s = self.state_of(set);
                if cx.api().sets[set].created == 0 && s.creates == 0 {
                    self.create(set, vec![0], Client::User, cx);
                }
            }
        }
    }
}

impl Workloads {
    /// The owner is gone, or goes when its pods are: they are deleted, or they stay as they are.
    ///
    /// Upstream: kubernetes v1.34 `pkg/controller/garbagecollector/garbagecollector.go`.
    /// Differences: the ReplicaSets between a Deployment and its pods go with it.
    fn sync_ownerless(&mut self, set: Id<Set>, cascade: Cascade, cx: &mut Cx<'_>) {
        let workload = cx.api().sets[set].workload;
        let kind = cx.api().workloads[workload].kind(cx.model());
        match (cascade, kind) {
            // An orphaned ReplicaSet goes on looking after its pods.
            (Cascade::Orphan, WorkloadKind::Deployment(_)) => self.sync_replica_set(set, cx),
            (Cascade::Orphan, _) => {}
            (Cascade::Background | Cascade::Foreground, _) => {
                for pod in cx.api().sets[set].pods.clone() {
                    if cx.api().pods.get(pod).is_some_and(|p| !p.is_terminating()) {
                        self.delete(pod, Reason::OwnerDeleted, Client::GarbageCollector, cx);
                    }
                }
            }
        }
    }
}

/// Whether the pod has been Ready for `min_ready`; if it will be, `again` is set to when.
fn available(pod: &Pod, min_ready: Span, now: SimTime, again: &mut Option<SimTime>) -> bool {
    if !pod.is_ready() || pod.is_terminating() {
        return false;
    }
    let at = pod.ready_since + min_ready;
    if at > now {
        *again = Some(again.map_or(at, |a| a.min(at)));
        return false;
    }
    true
}

fn clean_job(job: Id<Workload>, reason: Reason, cx: &mut Cx<'_>) {
    let sets = cx.api().workloads[job].sets.clone();
    for set in sets {
        let pods = cx.api().sets[set].pods.clone();
        for pod in pods {
            if cx.api().pods.get(pod).is_some_and(|p| !p.is_terminating()) {
                cx.submit(Client::Job, Request::DeletePod { pod, reason });
            }
        }
    }
}

//! Deployment, ReplicaSet, StatefulSet, DaemonSet, Job and CronJob controllers.
//!
//! Each is level-triggered: a notice names a workload or a set, the handler compares what is with
//! what should be, and asks the API server for the difference. What was asked for and is not yet
//! seen is remembered ("expectations"), so that nothing is asked for twice.

mod daemon_set;
mod job;
mod replica_set;
mod stateful_set;

use crate::engine::{self, Cx};
use crate::units::{Id, IdVec, SimTime, Span};
use crate::world::model::{CronModel, WorkloadKind};
use crate::world::{Client, Model, Node, Pod, PodId, Reason, Request, Set, Workload};

/// What can happen to the workload controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Compare a workload with its sets.
    SyncWorkload(Id<Workload>),
    /// Compare a set with its pods.
    SyncSet(Id<Set>),
    /// A node came, went or changed.
    NodeChanged(Id<Node>),
    /// A write about a set was refused.
    Failed(Id<Set>),
    /// A deletion was refused.
    DeleteFailed(PodId),
    /// A write about a workload was refused.
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
    /// Somebody scales a workload by hand: the number of the change.
    ScaledByHand(u32),
}

/// What a controller has asked for and not yet seen.
#[derive(Clone, Debug, Default)]
struct Expectations {
    /// Pods asked for.
    creates: u32,
    /// Of these, ordinals (StatefulSets, DaemonSets, indexed Jobs).
    ordinals: Vec<u32>,
    /// Deletions asked for.
    deletes: Vec<PodId>,
    /// Pods of the set that were ever asked for, as the next serial number.
    serial: u32,
    /// Pods that were there when it was looked at last.
    seen: u32,
}

/// The workload controllers.
#[derive(Clone, Debug, Default)]
pub struct Workloads {
    expectations: IdVec<Set, Expectations>,
    /// Deployments with a set on its way.
    creating: Vec<Id<Workload>>,
    /// CronJobs' state.
    crons: IdVec<CronModel, job::CronState>,
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
        if let Some(first) = cx.model().trace.as_ref().and_then(|t| t.pods.first()) {
            cx.at(first.at, wake(Event::Trace(0)));
        }
    }

    /// Handles one event.
    pub fn handle(&mut self, event: Event, cx: &mut Cx<'_>) {
        match event {
            Event::SyncWorkload(w) => self.sync_workload(w, cx),
            Event::SyncSet(s) => self.sync_set(s, cx),
            Event::NodeChanged(_) => self.sync_daemon_sets(cx),
            Event::ScaledByHand(number) => scaled_by_hand(number, cx),
            Event::Failed(s) => {
                let e = self.expectations_of(s);
                e.creates = 0;
                e.ordinals.clear();
                self.sync_set(s, cx);
                self.sync_workload(cx.api().sets[s].workload, cx);
            }
            Event::DeleteFailed(p) => {
                if let Some(set) = cx.api().pods.get(p).map(|pod| pod.set) {
                    self.expectations_of(set).deletes.retain(|&d| d != p);
                    self.sync_set(set, cx);
                }
            }
            Event::WorkloadFailed(w) => {
                self.creating.retain(|&c| c != w);
                self.sync_workload(w, cx);
            }
            Event::CronDue(c) => self.cron_due(c, cx),
            Event::CronFailed(c) => self.cron_failed(c, cx),
            Event::JobFinished(w) => self.job_finished(w, cx),
            Event::CleanJob(w) => clean_job(w, Reason::JobCleanup, cx),
            Event::Trace(at) => trace(at, cx),
        }
    }

    fn expectations_of(&mut self, set: Id<Set>) -> &mut Expectations {
        while self.expectations.len() <= set.index() {
            self.expectations.push(Expectations::default());
        }
        &mut self.expectations[set]
    }

    fn sync_workload(&mut self, workload: Id<Workload>, cx: &mut Cx<'_>) {
        let row = &cx.api().workloads[workload];
        let model = cx.model();
        match &model.workloads[row.model].kind {
            WorkloadKind::Deployment(spec) => self.sync_deployment(workload, spec, cx),
            _ => {
                let sets = row.sets.clone();
                for set in sets {
                    self.sync_set(set, cx);
                }
            }
        }
    }

    fn sync_set(&mut self, set: Id<Set>, cx: &mut Cx<'_>) {
        self.meet_expectations(set, cx);
        let model = cx.model();
        let workload = cx.api().sets[set].workload;
        match &model.workloads[cx.api().workloads[workload].model].kind {
            WorkloadKind::Deployment(_) => {
                self.sync_replica_set(set, cx);
                self.sync_workload(workload, cx);
            }
            WorkloadKind::ReplicaSet => self.sync_replica_set(set, cx),
            WorkloadKind::StatefulSet(spec) => self.sync_stateful_set(set, spec, cx),
            WorkloadKind::DaemonSet(_) => self.sync_daemon_set(set, cx),
            WorkloadKind::Job(job) => self.sync_job(set, job, cx),
            WorkloadKind::Trace => {}
            WorkloadKind::Pod => {
                let e = self.expectations_of(set);
                if cx.api().sets[set].created == 0 && e.creates == 0 {
                    self.create(set, None, Client::User, cx);
                }
            }
        }
    }

    /// Crosses off what has been seen.
    fn meet_expectations(&mut self, set: Id<Set>, cx: &Cx<'_>) {
        let created = cx.api().sets[set].created;
        let e = self.expectations_of(set);
        let new = created.saturating_sub(e.seen);
        e.seen = created;
        e.creates = e.creates.saturating_sub(new);
        e.deletes.retain(|&p| cx.api().pods.get(p).is_some_and(|pod| !pod.is_terminating()));
        if !e.ordinals.is_empty() && new > 0 {
            let pods = &cx.api().sets[set].pods;
            let from = pods.len().saturating_sub(new as usize);
            for &p in &pods[from..] {
                if let Some(pod) = cx.api().pods.get(p) {
                    e.ordinals.retain(|&o| o != pod.ordinal);
                }
            }
        }
    }

    /// Asks for a pod: the next serial, or the given ordinal.
    fn create(&mut self, set: Id<Set>, ordinal: Option<u32>, client: Client, cx: &mut Cx<'_>) {
        let e = self.expectations_of(set);
        e.creates += 1;
        let serial = e.serial;
        e.serial += 1;
        if let Some(ordinal) = ordinal {
            e.ordinals.push(ordinal);
        }
        let ordinal = ordinal.unwrap_or(serial);
        cx.submit(client, Request::CreatePod { set, ordinal });
    }

    /// Asks for the deletion of a pod, once.
    fn delete(&mut self, pod: PodId, reason: Reason, client: Client, cx: &mut Cx<'_>) {
        let Some(set) = cx.api().pods.get(pod).map(|p| p.set) else { return };
        let e = self.expectations_of(set);
        if !e.deletes.contains(&pod) {
            e.deletes.push(pod);
            cx.submit(client, Request::DeletePod { pod, reason });
        }
    }
}

/// Whether the pod has been Ready for `min_ready`; if it will be, `again` is set to when.
fn available(pod: &Pod, min_ready: Span, now: SimTime, again: &mut Option<SimTime>) -> bool {
    if !pod.is_ready() {
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

/// Pods of the trace that arrive now; the next arrival is put on the agenda.
fn trace(from: u32, cx: &mut Cx<'_>) {
    let Some(trace) = cx.model().trace.as_ref() else { return };
    let mut at = from as usize;
    while let Some(pod) = trace.pods.get(at) {
        if pod.at > cx.now() {
            cx.at(pod.at, wake(Event::Trace(at as u32)));
            return;
        }
        cx.emit(crate::world::Change::TracePodArrived(at as u32));
        at += 1;
    }
}

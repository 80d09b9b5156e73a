//! Workloads and what owns pods directly.

use super::model::{HpaModel, JobModel, Model, Template, WorkloadKind, WorkloadModel};
use super::pods::PodId;
use super::steps::{Cascade, RevisionModel};
use crate::units::{Id, SimTime, Span};
use std::collections::BTreeMap;

/// A workload: a Deployment, a bare ReplicaSet, a StatefulSet, a DaemonSet, a Job or a bare pod.
#[derive(Clone, Debug)]
pub struct Workload {
    /// What it was made from.
    pub model: Id<WorkloadModel>,
    /// `spec.replicas`.
    pub replicas: u32,
    /// Its sets, oldest first; the last is the current one.
    pub sets: Vec<Id<Set>>,
    /// State of a Job.
    pub job: Option<JobState>,
    /// How it was deleted, if it was.
    pub deleted: Option<Cascade>,
    /// What a step of the scenario made of it; `None` while it is as it was created.
    pub revision: Option<Id<RevisionModel>>,
}

impl Workload {
    /// Its kind and settings, as they are now.
    #[must_use]
    pub fn kind<'m>(&self, model: &'m Model) -> &'m WorkloadKind {
        match self.revision {
            Some(r) => &model.revisions[r].kind,
            None => &model.workloads[self.model].kind,
        }
    }
    /// Template of new pods.
    #[must_use]
    pub fn template(&self, model: &Model) -> Id<Template> {
        match self.revision {
            Some(r) => model.revisions[r].template,
            None => model.workloads[self.model].template,
        }
    }
    /// `minReadySeconds`.
    #[must_use]
    pub fn min_ready(&self, model: &Model) -> Span {
        match self.revision {
            Some(r) => model.revisions[r].min_ready,
            None => model.workloads[self.model].min_ready,
        }
    }
}

/// State of a Job.
#[derive(Clone, Debug, Default)]
pub struct JobState {
    /// Number of the Job among those of its CronJob.
    pub serial: u32,
    /// Created.
    pub started: SimTime,
    /// Pods that succeeded.
    pub succeeded: u32,
    /// Pods that failed and count.
    pub failed: u32,
    /// Failures since the last success.
    pub failures_in_a_row: u32,
    /// Last failure that counts.
    pub last_failure: Option<SimTime>,
    /// Completion indexes that succeeded or failed for good, in order.
    pub done_indexes: Vec<u32>,
    /// Of these, how many failed.
    pub failed_indexes: u32,
    /// Failures by completion index.
    pub failures_by_index: BTreeMap<u32, u32>,
    /// A failure matched a `FailJob` rule of the podFailurePolicy.
    pub fail_job: bool,
    /// Ended: when, and whether well.
    pub finished: Option<(SimTime, bool)>,
}

/// What owns pods directly: a ReplicaSet (revision) of a Deployment, or the workload itself.
#[derive(Clone, Debug)]
pub struct Set {
    /// Its workload.
    pub workload: Id<Workload>,
    /// Template of its pods.
    pub template: Id<Template>,
    /// Template of the last completed update, while a StatefulSet's update is going on.
    pub previous: Option<Id<Template>>,
    /// Wanted pods.
    pub desired: u32,
    /// `deployment.kubernetes.io/desired-replicas` when it was last scaled.
    pub desired_replicas: u32,
    /// `deployment.kubernetes.io/max-replicas` when it was last scaled.
    pub max_replicas: u32,
    /// Number of the set among those its workload ever had, from 1.
    pub serial: u32,
    /// `deployment.kubernetes.io/revision`: a set that is used again gets a new one.
    pub revision: u32,
    /// Deleted, as a revision that is no longer kept.
    pub deleted: bool,
    /// Pods, in order of creation; terminating ones included. Pods of a trace are not listed.
    pub pods: Vec<PodId>,
    /// Pods that neither ended nor are being deleted.
    pub active: u32,
    /// Of these, pods whose Ready condition is True.
    pub ready: u32,
    /// Pods ever created.
    pub created: u32,
}

impl Set {
    /// A set without pods.
    #[must_use]
    pub fn new(workload: Id<Workload>, template: Id<Template>, desired: u32, serial: u32) -> Self {
        Self {
            workload,
            template,
            previous: None,
            desired,
            desired_replicas: desired,
            max_replicas: desired,
            serial,
            revision: serial,
            deleted: false,
            pods: Vec::new(),
            active: 0,
            ready: 0,
            created: 0,
        }
    }
}

/// State of a HorizontalPodAutoscaler.
#[derive(Clone, Debug)]
pub struct Hpa {
    /// What it was made from.
    pub model: Id<HpaModel>,
    /// What it scales.
    pub target: Id<Workload>,
    /// `minReplicas` and `maxReplicas`.
    pub bounds: (i32, i32),
}

/// State of a CronJob.
#[derive(Clone, Debug, Default)]
pub struct CronState {
    /// Jobs created.
    pub created: u32,
    /// Jobs that exist, oldest first.
    pub jobs: Vec<Id<Workload>>,
    /// What it was made from.
    pub model: Option<Id<JobModel>>,
}

//! Workloads and what owns pods directly.

use super::model::{HpaModel, JobModel, Template, WorkloadModel};
use super::pods::PodId;
use crate::units::{Id, SimTime};

/// A workload: a Deployment, a bare ReplicaSet, a StatefulSet, a DaemonSet, a Job or a bare pod.
#[derive(Clone, Debug)]
pub struct Workload {
    /// What it was made from.
    pub model: Id<WorkloadModel>,
    /// `spec.replicas`.
    pub replicas: u32,
    /// Its sets, oldest first; the last is the current one.
    pub sets: Vec<Id<Set>>,
    /// The HPA that scales it.
    pub hpa: Option<Id<Hpa>>,
    /// State of a Job.
    pub job: Option<JobState>,
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
    /// Last failure that counts.
    pub last_failure: Option<SimTime>,
    /// Completion indexes that succeeded.
    pub done_indexes: Vec<u32>,
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
    /// Wanted pods.
    pub desired: u32,
    /// `deployment.kubernetes.io/max-replicas` when it was last scaled.
    pub max_replicas: u32,
    /// Revision, from 1.
    pub revision: u32,
    /// Pods, in order of creation; terminating ones included.
    pub pods: Vec<PodId>,
    /// Pods whose Ready condition is True.
    pub ready: u32,
    /// Pods ever created.
    pub created: u32,
}

/// State of a HorizontalPodAutoscaler.
#[derive(Clone, Debug)]
pub struct Hpa {
    /// What it was made from.
    pub model: Id<HpaModel>,
    /// What it scales.
    pub target: Id<Workload>,
    /// Desired replicas at the last sync.
    pub desired: u32,
    /// Average utilisation seen at the last sync, in percent, if any.
    pub utilization: Option<i32>,
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

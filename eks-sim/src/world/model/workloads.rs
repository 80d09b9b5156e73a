//! Workloads, Jobs, CronJobs and disruption budgets, lowered.

use super::{Template, VpaModel};
use crate::k8s;
use crate::units::{Id, SimTime, Span};

/// Kind of a workload, with its own settings.
#[derive(Clone, Debug)]
pub enum WorkloadKind {
    /// A Deployment.
    Deployment(Box<k8s::DeploymentSpec>),
    /// A ReplicaSet without Deployment.
    ReplicaSet(Box<k8s::ReplicaSetSpec>),
    /// A StatefulSet.
    StatefulSet(Box<k8s::StatefulSetSpec>),
    /// A DaemonSet.
    DaemonSet(Box<k8s::DaemonSetSpec>),
    /// A Job.
    Job(Box<JobModel>),
    /// A pod without owner.
    Pod,
    /// Pods of one shape of a trace.
    Trace,
}

impl WorkloadKind {
    /// The kind's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Deployment(_) => "Deployment",
            Self::ReplicaSet(_) => "ReplicaSet",
            Self::StatefulSet(_) => "StatefulSet",
            Self::DaemonSet(_) => "DaemonSet",
            Self::Job(_) => "Job",
            Self::Pod => "Pod",
            Self::Trace => "Trace",
        }
    }
}

/// A workload that exists from the start.
#[derive(Clone, Debug)]
pub struct WorkloadModel {
    /// Kind and settings.
    pub kind: WorkloadKind,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Stable identity for draws.
    pub key: u64,
    /// Template.
    pub template: Id<Template>,
    /// `spec.replicas`.
    pub replicas: u32,
    /// `minReadySeconds`.
    pub min_ready: Span,
    /// The VPA that sizes its pods.
    pub vpa: Option<Id<VpaModel>>,
    /// Whether it is one of the cluster's add-ons.
    pub addon: bool,
}

/// A Job.
#[derive(Clone, Debug, Default)]
pub struct JobModel {
    /// The specification.
    pub spec: k8s::JobSpec,
    /// Exit code of its pods that fail.
    pub exit_code: i32,
}

/// A CronJob.
#[derive(Clone, Debug)]
pub struct CronModel {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Stable identity for draws.
    pub key: u64,
    /// The specification.
    pub spec: k8s::CronJobSpec,
    /// Due times within the run, in order.
    pub due: Vec<SimTime>,
    /// Model of its Jobs.
    pub job: Id<WorkloadModel>,
}

/// A PodDisruptionBudget.
#[derive(Clone, Debug)]
pub struct BudgetModel {
    /// The object.
    pub object: k8s::PodDisruptionBudget,
    /// Templates whose pods it protects.
    pub templates: Vec<Id<Template>>,
}

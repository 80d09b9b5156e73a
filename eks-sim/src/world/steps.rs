//! What the user does during a run: changes of workloads, drains of nodes.

use super::model::{GroupModel, ServiceModel, Template, WorkloadKind, WorkloadModel};
use crate::units::{Id, SimTime, Span};

/// A workload as a change leaves it.
#[derive(Clone, Debug)]
pub struct RevisionModel {
    /// Which workload.
    pub workload: Id<WorkloadModel>,
    /// Kind and settings.
    pub kind: WorkloadKind,
    /// Template.
    pub template: Id<Template>,
    /// `minReadySeconds`.
    pub min_ready: Span,
}

/// A step of the scenario.
#[derive(Clone, Debug)]
pub struct StepModel {
    /// When.
    pub at: SimTime,
    /// What.
    pub kind: StepKind,
}

/// What becomes of the objects that a deleted one owns (`--cascade` of kubectl).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cascade {
    /// They are deleted after it.
    Background,
    /// It goes after them.
    Foreground,
    /// They stay.
    Orphan,
}

/// A look at a backend before more requests are sent to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guard {
    /// Position among the backends.
    pub backend: usize,
    /// Largest share of its requests that may fail.
    pub limit: f64,
    /// Step that takes everything back.
    pub abort: u32,
}

/// Kinds of steps.
#[derive(Clone, Debug)]
pub enum StepKind {
    /// A workload gets a new specification.
    Change {
        /// Which workload.
        workload: Id<WorkloadModel>,
        /// What it becomes.
        revision: Id<RevisionModel>,
        /// `spec.replicas`, if the change sets it.
        replicas: Option<u32>,
        /// What was set, for people.
        text: String,
    },
    /// A managed node group is updated to a new version of its launch template.
    NodeGroupUpdate {
        /// Which.
        group: Id<GroupModel>,
        /// Delete pods that cannot be evicted in time.
        force: bool,
    },
    /// NodePools become what [`super::karpenter::PoolUpdate`]s of this step say.
    NodePools {
        /// What was set, for people.
        text: String,
    },
    /// A new image of a family is published; nodes of `FAMILY@latest` drift.
    ImageRelease {
        /// Family, in lower case.
        family: String,
    },
    /// The gates of a workload's present pods are removed.
    Ungate {
        /// Which.
        workload: Id<WorkloadModel>,
    },
    /// A workload is deleted.
    Delete {
        /// Which.
        workload: Id<WorkloadModel>,
        /// What becomes of what it owns.
        cascade: Cascade,
    },
    /// The requests to a Service are split anew.
    Weights {
        /// Which Service.
        service: Id<ServiceModel>,
        /// One for each backend.
        weights: Vec<f64>,
        /// What must hold before.
        guard: Option<Guard>,
    },
    /// Nodes are cordoned and their pods evicted.
    Drain {
        /// Of this group only.
        group: Option<Id<GroupModel>>,
        /// How many, those that registered first.
        count: u32,
    },
}

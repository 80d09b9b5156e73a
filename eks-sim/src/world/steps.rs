//! What the user does during a run: changes of workloads, drains of nodes.

use super::model::{GroupModel, Template, WorkloadKind, WorkloadModel};
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
    /// Nodes are cordoned and their pods evicted.
    Drain {
        /// Of this group only.
        group: Option<Id<GroupModel>>,
        /// How many, those that registered first.
        count: u32,
    },
}

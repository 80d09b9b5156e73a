//! The state of one run: what etcd holds, what the cloud holds, what machines run; and the
//! immutable [`Model`] it starts from.

pub mod budgets;
pub mod change;
pub mod cloud;
mod fault_model;
pub mod karpenter;
pub mod lower;
pub mod machines;
pub mod model;
pub mod nodes;
pub mod owners;
pub mod pods;
pub mod recommendations;
pub mod settings;
pub mod shapes;
pub mod steps;
pub mod table;
pub mod trace;
pub mod usage;

pub use change::{Change, Client, PodReport, Reason, Request};
pub use cloud::Cloud;
pub use machines::Machines;
pub use model::Model;
pub use nodes::{Node, NodeCondition};
pub use owners::{Hpa, Set, Workload};
pub use pods::{Phase, Pod, PodId};

use crate::k8s::ResourceList;
use crate::units::{Id, IdVec, SimTime};
use model::BudgetModel;
use std::collections::BTreeMap;
use table::Table;

/// All state of one run. `api` changes only by applied [`Request`]s, `cloud` and `machines` by
/// the one component that models the thing (see the ownership table in `ARCHITECTURE.md`).
#[derive(Clone, Debug, Default)]
pub struct World {
    /// What etcd holds.
    pub api: Api,
    /// Instances, node groups, subnets, the control plane's members.
    pub cloud: Cloud,
    /// What kubelets run, and the load on it.
    pub machines: Machines,
}

impl World {
    /// The empty state that components fill at the start.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        let mut world = Self::default();
        world.api.vpas = model.vpas.iter().map(|_| None).collect();
        world
    }
}

/// API objects.
#[derive(Clone, Debug, Default)]
pub struct Api {
    /// Pods.
    pub pods: Table<Pod>,
    /// Nodes, by order of registration; deleted ones stay as rows.
    pub nodes: IdVec<Node, Node>,
    /// Nodes that exist, in order of registration.
    pub live_nodes: Vec<Id<Node>>,
    /// Deployments, StatefulSets, DaemonSets, Jobs and so on.
    pub workloads: IdVec<Workload, Workload>,
    /// What owns pods directly: ReplicaSets, and the other workloads themselves.
    pub sets: IdVec<Set, Set>,
    /// What each VerticalPodAutoscaler recommends.
    pub vpas: IdVec<model::VpaModel, Option<Id<recommendations::Targets>>>,
    /// The targets that VPAs recommend.
    pub targets: recommendations::TargetSets,
    /// Sizes of pods that differ from their template.
    pub shapes: shapes::Shapes,
    /// Of each workload, a number that grows whenever its pods or its number of replicas change.
    pub versions: IdVec<Workload, u32>,
    /// HorizontalPodAutoscalers' state.
    pub hpas: IdVec<Hpa, Hpa>,
    /// Evictions granted within the last two minutes (`disruptedPods` of the budgets).
    pub disrupted: Vec<(Id<BudgetModel>, PodId, SimTime)>,
    /// Usage by quota.
    pub quota_used: Vec<ResourceList>,
    /// Why the last pod of a set was refused, while that is so.
    pub refusals: BTreeMap<Id<Set>, String>,
}

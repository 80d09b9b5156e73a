//! What Karpenter is given: NodePools with their node classes, and the instance types they allow.

use super::model::{GroupModel, SubnetModel};
use crate::k8s;
use crate::policy::karpenter::budgets::{Budget, BudgetError};
use crate::policy::karpenter::disruption::ConsolidationPolicy;
use crate::policy::karpenter::offerings::CapacityType;
use crate::policy::karpenter::options::Options;
use crate::policy::karpenter::requirements::Requirements;
use crate::policy::karpenter::solve::{Catalog, TypeSet};
use crate::units::{Id, IdVec, Span};
use std::sync::Arc;

/// Karpenter of a cluster, or the one inside EKS Auto Mode.
#[derive(Clone, Debug)]
pub struct KarpenterModel {
    /// Flags and feature gates.
    pub options: Options,
    /// Instance types by node class, with Karpenter's estimate of their nodes.
    pub catalog: Arc<Catalog>,
    /// NodePools as the run starts with them.
    pub pools: IdVec<NodePoolModel, Arc<NodePoolModel>>,
    /// What changes of the scenario make of them, by the number of the step.
    pub updates: Vec<PoolUpdate>,
    /// Whether this is EKS Auto Mode: the networking agents are no pods.
    pub auto_mode: bool,
}

/// A NodePool after a change of it or of its node class.
#[derive(Clone, Debug)]
pub struct PoolUpdate {
    /// Number of the step.
    pub step: u32,
    /// Which NodePool.
    pub pool: Id<NodePoolModel>,
    /// What it becomes.
    pub model: Arc<NodePoolModel>,
}

/// The image of a node class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Selector terms as text.
    pub selector: String,
    /// Family whose newest image is taken (`al2023@latest`), in lower case.
    pub latest_of: Option<String>,
}

/// A NodePool with its node class.
#[derive(Clone, Debug)]
pub struct NodePoolModel {
    /// Name.
    pub name: String,
    /// Where its instances are kept.
    pub group: Id<GroupModel>,
    /// Weight; higher is tried first.
    pub weight: i32,
    /// Requirements and labels of the template, with the NodePool's label.
    pub requirements: Requirements,
    /// Taints of the template.
    pub taints: Vec<k8s::Taint>,
    /// Largest total of each resource.
    pub limits: k8s::ResourceList,
    /// Largest number of nodes.
    pub node_limit: Option<i64>,
    /// Longest life of a node; `None` is for ever.
    pub expire_after: Option<Span>,
    /// Longest drain of a node.
    pub termination_grace_period: Option<Span>,
    /// Quiet time before consolidation; `None` is never.
    pub consolidate_after: Option<Span>,
    /// When consolidation acts.
    pub policy: ConsolidationPolicy,
    /// Disruption budgets.
    pub budgets: Vec<Result<Budget, BudgetError>>,
    /// Nodes are annotated `karpenter.sh/do-not-disrupt`.
    pub do_not_disrupt: bool,
    /// Catalogue rows of its node class.
    pub types: TypeSet,
    /// By catalogue row and capacity type: the type of the group.
    pub bought: Vec<[Option<u32>; 3]>,
    /// Subnets of its node class.
    pub subnets: Vec<Id<SubnetModel>>,
    /// Nodes that are kept whatever the pods ask for (static capacity).
    pub replicas: Option<u32>,
    /// Fingerprint of the template's fields whose change makes nodes drift.
    pub template_hash: u64,
    /// The same of the node class.
    pub class_hash: u64,
    /// Image of the node class.
    pub image: Image,
    /// Instance types left after each requirement, from the catalogue to the pool's.
    pub narrowing: Vec<(String, usize)>,
}

impl NodePoolModel {
    /// The group's type for a catalogue row bought in some way.
    #[must_use]
    pub fn group_type(&self, row: usize, capacity: CapacityType) -> Option<u32> {
        *self.bought.get(row)?.get(capacity as usize)?
    }
}

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
    /// NodePools.
    pub pools: IdVec<NodePoolModel, NodePoolModel>,
    /// Whether this is EKS Auto Mode: the networking agents are no pods.
    pub auto_mode: bool,
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
}

impl NodePoolModel {
    /// The group's type for a catalogue row bought in some way.
    #[must_use]
    pub fn group_type(&self, row: usize, capacity: CapacityType) -> Option<u32> {
        *self.bought.get(row)?.get(capacity as usize)?
    }
}

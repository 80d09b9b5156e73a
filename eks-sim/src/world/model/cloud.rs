//! Node groups and instance types, lowered.

use super::SubnetModel;
use crate::catalog::{CapacityType, InstanceType};
use crate::k8s;
use crate::units::{Bytes, Dist, Id, MilliCpu, MoneyRate};

/// Where instances of a group come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// A managed node group: an Auto Scaling group keeps its desired size, EKS drains its nodes.
    Managed,
    /// An Auto Scaling group of the user's own.
    SelfManaged,
    /// Machines outside AWS: there from the start, and nothing replaces them.
    Hybrid,
    /// What a Fargate profile launches: a micro-VM for each pod; sizes mean nothing.
    Fargate,
    /// A NodePool: Karpenter asks EC2 for each instance; sizes mean nothing.
    NodePool,
    /// Nodes of a trace: they are there from the start, and nothing replaces them.
    Trace,
}

/// Instances of like origin: a managed node group, or what a NodePool launches.
#[derive(Clone, Debug)]
pub struct GroupModel {
    /// Name.
    pub name: String,
    /// Who asks for its instances.
    pub kind: GroupKind,
    /// Instance types: of a node group preferred first, of a NodePool all that it could launch.
    pub types: Vec<GroupType>,
    /// Nodes at least.
    pub min: u32,
    /// Nodes at most.
    pub max: u32,
    /// Nodes at the start.
    pub desired: u32,
    /// Subnets.
    pub subnets: Vec<Id<SubnetModel>>,
    /// Node boot, from running to registered.
    pub boot: Dist,
    /// Price of the root volume.
    pub disk_rate: MoneyRate,
    /// Size of the root volume in GiB.
    pub disk_gib: u32,
    /// Rules of its Auto Scaling group.
    pub scaling: ScalingModel,
}

impl GroupModel {
    /// Whether an Auto Scaling group keeps its size.
    #[must_use]
    pub fn is_managed(&self) -> bool {
        matches!(self.kind, GroupKind::Managed | GroupKind::SelfManaged)
    }
    /// Whether its machines have no interface in the cluster's subnets.
    #[must_use]
    pub fn is_outside_vpc(&self) -> bool {
        matches!(self.kind, GroupKind::Trace | GroupKind::Hybrid)
    }
}

/// How an Auto Scaling group buys, replaces and updates its instances.
#[derive(Clone, Debug, Default)]
pub struct ScalingModel {
    /// How on-demand types are chosen.
    pub on_demand: Allocation,
    /// How spot types are chosen.
    pub spot: Allocation,
    /// Pools that [`Allocation::LowestPrice`] spreads spot instances over.
    pub spot_pools: u32,
    /// On-demand instances before anything else, and their share above that in percent.
    pub on_demand_share: (u32, u32),
    /// Launch a replacement when a spot instance is expected to go.
    pub rebalance: bool,
    /// Something drains nodes whose instance is about to go.
    pub drains: bool,
    /// How many nodes an update replaces at a time.
    pub update: UpdateModel,
    /// Instances kept ready, and whether they run meanwhile.
    pub warm: Option<(u32, bool)>,
    /// With attribute-based selection: the fewest processors and the least memory (bytes) that a
    /// type may have, which stand for the group where it has no node.
    pub least: Option<(u32, i64)>,
    /// What Cluster Autoscaler knows of a group without nodes: `None` if EKS tells it everything,
    /// else the group's tags.
    pub tags: Option<k8s::StringMap>,
}

/// How an Auto Scaling group chooses among its types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allocation {
    /// `lowest-price`.
    LowestPrice,
    /// `prioritized`: in the order of the list.
    #[default]
    Prioritized,
    /// `capacity-optimized`: the pool least likely to be reclaimed.
    CapacityOptimized,
    /// `capacity-optimized-prioritized`: the same, ties in the order of the list.
    CapacityOptimizedPrioritized,
    /// `price-capacity-optimized`: the cheapest of the pools that are not likely to be reclaimed.
    PriceCapacityOptimized,
}

/// The update settings of a managed node group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateModel {
    /// Nodes at a time.
    pub max_unavailable: MaxUnavailable,
    /// Old nodes go before new ones come.
    pub minimal: bool,
}

impl Default for UpdateModel {
    fn default() -> Self {
        Self { max_unavailable: MaxUnavailable::Nodes(1), minimal: false }
    }
}

/// Nodes that may be unavailable at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxUnavailable {
    /// So many.
    Nodes(u32),
    /// So many percent of the group.
    Percent(u32),
}

impl MaxUnavailable {
    /// For a group of this size: at least one; percentages round up, 100 at most.
    #[must_use]
    pub fn of(self, size: u32) -> u32 {
        match self {
            Self::Nodes(n) => n.clamp(1, 100),
            Self::Percent(p) => {
                let nodes = (u64::from(size) * u64::from(p)).div_ceil(100);
                u32::try_from(nodes).unwrap_or(100).clamp(1, 100)
            }
        }
    }
}

/// An instance type of a group, as it is bought.
#[derive(Clone, Debug)]
pub struct GroupType {
    /// Catalogue row.
    pub instance_type: &'static InstanceType,
    /// On-demand or spot.
    pub capacity: CapacityType,
    /// Units of its group's size that an instance counts for.
    pub weight: u32,
    /// Price.
    pub rate: MoneyRate,
    /// Fee of EKS Auto Mode on top.
    pub fee: MoneyRate,
    /// Chance an hour that a spot instance is reclaimed.
    pub interruption_per_hour: f64,
    /// Template of the node object, without name and zone labels.
    pub node: k8s::Node,
    /// Taints of the template that something on the node removes once it is up.
    pub startup_taints: Vec<k8s::Taint>,
    /// Allocatable CPU.
    pub allocatable_cpu: MilliCpu,
    /// Allocatable memory.
    pub allocatable_memory: Bytes,
    /// Pods it may hold.
    pub max_pods: u32,
}

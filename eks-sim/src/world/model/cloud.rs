//! Node groups and instance types, lowered.

use super::SubnetModel;
use crate::catalog::{CapacityType, InstanceType};
use crate::k8s;
use crate::units::{Bytes, Dist, Id, MilliCpu, MoneyRate};

/// Where instances of a group come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// A managed node group: an Auto Scaling group keeps its desired size.
    Managed,
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
}

impl GroupModel {
    /// Whether an Auto Scaling group keeps its size.
    #[must_use]
    pub fn is_managed(&self) -> bool {
        self.kind == GroupKind::Managed
    }
}

/// An instance type of a group, as it is bought.
#[derive(Clone, Debug)]
pub struct GroupType {
    /// Catalogue row.
    pub instance_type: &'static InstanceType,
    /// On-demand or spot.
    pub capacity: CapacityType,
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

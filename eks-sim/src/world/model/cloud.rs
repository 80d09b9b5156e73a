//! Subnets, node groups and instance types, lowered.

use super::Zone;
use crate::catalog::{CapacityType, InstanceType};
use crate::k8s;
use crate::policy::vpc_cni::{AddressSpace, Cidr, Holding, Placement};
use crate::units::{Bytes, Dist, Id, MilliCpu, MoneyRate};

/// A subnet.
#[derive(Clone, Debug)]
pub struct SubnetModel {
    /// Name.
    pub name: String,
    /// Zone.
    pub zone: Id<Zone>,
    /// First address and prefix length.
    pub network: (u32, u8),
    /// Addresses held by something outside the cluster.
    pub used_addresses: u32,
}

impl SubnetModel {
    /// Its addresses before the cluster takes any.
    ///
    /// # Panics
    /// Never: size and use were checked when the model was built.
    #[must_use]
    pub fn space(&self) -> AddressSpace {
        let cidr = Cidr::containing(self.network.0.into(), self.network.1);
        let mut space = AddressSpace::new(cidr).expect("the size of a subnet was checked");
        let mut out = Vec::new();
        space
            .take(Holding::Other, self.used_addresses, &mut Placement::Sequential, &mut out)
            .expect("the number of used addresses was checked");
        space
    }

    /// The block as text.
    #[must_use]
    pub fn cidr(&self) -> String {
        let [a, b, c, d] = self.network.0.to_be_bytes();
        format!("{a}.{b}.{c}.{d}/{}", self.network.1)
    }
}

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

//! What AWS holds: instances, node groups' sizes, subnets' addresses, control-plane members.

use super::model::{GroupModel, GroupType, SubnetModel, Zone};
use super::{Model, Node};
use crate::k8s;
use crate::policy::vpc_cni::{AddressSpace, ApiBuckets};
use crate::units::{Id, IdVec, SimTime};
use std::sync::Arc;

/// State of an EC2 instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceState {
    /// Asked for; not running yet.
    Pending,
    /// Running (or booting).
    Running,
    /// Ended.
    Terminated,
}

/// An EC2 instance.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Node group.
    pub group: Id<GroupModel>,
    /// Serial number in its group, for draws.
    pub serial: u32,
    /// Stable identity for draws.
    pub key: u64,
    /// Which of the group's types.
    pub type_index: u32,
    /// Subnet.
    pub subnet: Id<SubnetModel>,
    /// Zone.
    pub zone: Id<Zone>,
    /// State.
    pub state: InstanceState,
    /// Whether the machine works; a crashed one is still `Running` until EC2 notices.
    pub alive: bool,
    /// Launch asked for.
    pub requested: SimTime,
    /// Running since.
    pub running: SimTime,
    /// Ended.
    pub terminated: SimTime,
    /// Shut down for good: its addresses are free again.
    pub gone: SimTime,
    /// Why it ended.
    pub end_reason: &'static str,
    /// Crashed.
    pub crashed: SimTime,
    /// Primary address.
    pub address: u32,
    /// Version of the launch template it was made from.
    pub version: u32,
    /// On its way out: its Auto Scaling group counts on it no more.
    pub outgoing: bool,
    /// It has its two-minute notice.
    pub noticed: bool,
    /// It came out of a warm pool.
    pub warm: bool,
    /// Its node, once registered.
    pub node: Option<Id<Node>>,
    /// Labels that this launch adds to the template of its type.
    pub labels: Option<Arc<k8s::StringMap>>,
}

impl Instance {
    /// What was bought.
    #[must_use]
    pub fn group_type<'m>(&self, model: &'m Model) -> &'m GroupType {
        &model.groups[self.group].types[self.type_index as usize]
    }
}

/// A CreateFleet call for one instance.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// Group of the instance.
    pub group: Id<GroupModel>,
    /// Stable identity of the instance, for draws.
    pub key: u64,
    /// Serial number of the instance in its group.
    pub serial: u32,
    /// Type of the group and subnet of each override.
    pub overrides: Vec<(u32, Id<SubnetModel>)>,
    /// Labels that the node gets beside those of its type.
    pub labels: Option<Arc<k8s::StringMap>>,
    /// The answer, once there is one.
    pub answer: Option<FleetAnswer>,
}

/// What EC2 answers to a CreateFleet call.
#[derive(Clone, Debug, Default)]
pub struct FleetAnswer {
    /// The instance, if any override could be met.
    pub instance: Option<Id<Instance>>,
    /// Overrides that were tried in vain: position, and why.
    pub refused: Vec<(u32, LaunchFailure)>,
}

/// State of a node group's Auto Scaling group.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Desired size.
    pub desired: u32,
    /// Instances that are not terminated, oldest first.
    pub instances: Vec<Id<Instance>>,
    /// Instances ever launched.
    pub launched: u32,
    /// Launches refused in a row, and since when.
    pub failing_since: Option<SimTime>,
    /// Why the last launch was refused.
    pub failure: Option<LaunchFailure>,
    /// When a refused launch is tried again, if that is to come.
    pub retry: SimTime,
    /// Version of the launch template.
    pub version: u32,
    /// Nodes that an update added to desired and largest size.
    pub surge: u32,
    /// Instances ready in the warm pool.
    pub warm: u32,
}

/// Why EC2 refuses a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaunchFailure {
    /// `InsufficientFreeAddressesInSubnet`.
    InsufficientFreeAddressesInSubnet,
    /// `InsufficientInstanceCapacity`: the zone is down or has none of the type.
    InsufficientInstanceCapacity,
    /// `VcpuLimitExceeded`: the account's quota of on-demand vCPUs.
    VcpuLimitExceeded,
    /// `MaxSpotInstanceCountExceeded`: the account's quota of spot vCPUs.
    MaxSpotInstanceCountExceeded,
}

impl LaunchFailure {
    /// EC2's error code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::InsufficientFreeAddressesInSubnet => "InsufficientFreeAddressesInSubnet",
            Self::InsufficientInstanceCapacity => "InsufficientInstanceCapacity",
            Self::VcpuLimitExceeded => "VcpuLimitExceeded",
            Self::MaxSpotInstanceCountExceeded => "MaxSpotInstanceCountExceeded",
        }
    }
}

/// State of a load balancer.
#[derive(Clone, Debug, Default)]
pub struct LoadBalancer {
    /// Its addresses and their subnets, oldest first; none while it is refused.
    pub addresses: Vec<(Id<SubnetModel>, std::net::Ipv4Addr)>,
    /// Refusals in a row.
    pub refused: u32,
    /// Since when fewer addresses would do.
    pub idle_since: Option<SimTime>,
    /// Whether it is about to grow.
    pub growing: bool,
}

/// State of a subnet.
#[derive(Clone, Debug)]
pub struct Subnet {
    /// Its addresses.
    pub space: AddressSpace,
    /// Addresses bound to pods.
    pub assigned: u32,
    /// Requests refused for lack of addresses.
    pub refusals: u64,
}

/// An EBS volume.
#[derive(Clone, Copy, Debug)]
pub struct Volume {
    /// Zone it lives in.
    pub zone: Id<Zone>,
    /// Size.
    pub gib: f64,
    /// Price.
    pub rate: crate::units::MoneyRate,
    /// Created.
    pub created: SimTime,
    /// Node it is attached to.
    pub attached: Option<Id<Node>>,
    /// When the last detachment is done.
    pub free_at: SimTime,
}

/// A member of the control plane.
#[derive(Clone, Debug)]
pub struct Member {
    /// Zone name.
    pub zone: String,
    /// Whether it works.
    pub up: bool,
    /// Which outage it is in, so that an old repair does not end a new one.
    pub outage: u32,
}

/// Whether a capacity pool has instances, as a process of two states.
#[derive(Clone, Copy, Debug)]
pub struct CapacityPool {
    /// It has none.
    pub short: bool,
    /// Until then.
    pub until: SimTime,
    /// Turns so far, for draws.
    pub turn: u32,
}

/// A spot pool: instances of a type in a zone, which EC2 may take back together.
#[derive(Clone, Copy, Debug)]
pub struct SpotPool {
    /// Type.
    pub instance_type: &'static str,
    /// Zone.
    pub zone: Id<Zone>,
    /// Bursts so far, for draws.
    pub bursts: u32,
}

/// What AWS holds.
#[derive(Clone, Debug, Default)]
pub struct Cloud {
    /// Instances, by order of launch; ended ones stay as rows.
    pub instances: IdVec<Instance, Instance>,
    /// Node groups and NodePools.
    pub groups: IdVec<GroupModel, Group>,
    /// CreateFleet calls, by order of the call.
    pub fleets: IdVec<Fleet, Fleet>,
    /// Subnets.
    pub subnets: IdVec<SubnetModel, Subnet>,
    /// Load balancers, as the model lists them.
    pub load_balancers: Vec<LoadBalancer>,
    /// The account's token buckets of the EC2 API.
    pub ec2_api: ApiBuckets,
    /// Zones that are down.
    pub zone_down: IdVec<Zone, bool>,
    /// etcd members.
    pub etcd: Vec<Member>,
    /// API servers.
    pub api_servers: Vec<Member>,
    /// Stock-outs that last: numbers of their faults.
    pub stockouts: Vec<u32>,
    /// Random stock-outs: capacity pools that were asked for, by their key.
    pub pools: std::collections::BTreeMap<u64, CapacityPool>,
    /// Spot pools that were bought from.
    pub spot_pools: Vec<SpotPool>,
    /// When the bucket of launched instances is full again.
    pub launches_full_at: SimTime,
    /// Machines that stopped working so far.
    pub deaths: u32,
    /// EBS volumes by the key of their claim.
    pub volumes: std::collections::BTreeMap<u64, Volume>,
}

impl Cloud {
    /// Whether etcd has a quorum and an API server is up: writes are possible.
    #[must_use]
    pub fn api_available(&self) -> bool {
        let members = self.etcd.len();
        let up = self.etcd.iter().filter(|m| m.up).count();
        up * 2 > members && self.api_servers.iter().any(|m| m.up)
    }
}

//! The static answer for a subnet plan: how many nodes and pods fit, which limit binds first, and
//! what each way out buys. No run is needed; the pools, address spaces and formulas are those of
//! the simulation.

mod demand;
mod ground;
mod kinds;
mod remedies;
mod situations;
#[cfg(test)]
mod tests;

use crate::policy::vpc_cni::Holding;
use crate::policy::vpc_cni::launch::Limit;
use crate::world::Model;
use serde::Serialize;

/// Everything there is to say.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Answer {
    /// `eks-sim-subnets/v1`.
    pub format: &'static str,
    /// Name of the scenario.
    pub scenario: String,
    /// How pods get their addresses, in words.
    pub mode: String,
    /// The subnets.
    pub subnets: Vec<SubnetFacts>,
    /// Kinds of nodes: group and type.
    pub nodes: Vec<NodeKind>,
    /// Whether the scenario as it is written fits, at its start and when it is under strain.
    pub situations: Vec<Situation>,
    /// Ways out for each kind of node.
    pub suggestions: Vec<Suggestions>,
    /// What was assumed where the scenario says nothing.
    pub assumptions: Vec<String>,
}

/// A subnet before nodes take addresses of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SubnetFacts {
    /// Name.
    pub name: String,
    /// Zone.
    pub zone: String,
    /// Address block.
    pub cidr: String,
    /// Usable addresses.
    pub usable: u32,
    /// Who holds addresses before any node is there.
    pub taken: Vec<(Holding, u32)>,
    /// Free addresses.
    pub free: u32,
    /// Wholly free aligned /28 blocks.
    pub free_blocks: u32,
}

/// What bounds the pods of a node or the nodes of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Bound {
    /// Addresses that the type's interfaces can hold.
    Interfaces,
    /// kubelet's `maxPods`.
    MaxPods,
    /// CPU that the scenario's pods request.
    Cpu,
    /// Memory that they request.
    Memory,
    /// Addresses of the subnets.
    Addresses,
    /// Free aligned /28 blocks of the subnets.
    Blocks,
    /// `maxSize` of the node group.
    MaxSize,
}

impl From<Limit> for Bound {
    fn from(limit: Limit) -> Self {
        if limit == Limit::Blocks { Self::Blocks } else { Self::Addresses }
    }
}

/// Nodes of one group and type.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct NodeKind {
    /// Node group or NodePool.
    pub group: String,
    /// Instance type.
    pub instance_type: String,
    /// kubelet's `maxPods`.
    pub max_pods: u32,
    /// Addresses that the interfaces can hold for pods; none in IPv6 mode, where they never bind.
    pub pod_addresses: Option<u64>,
    /// Pods with addresses of DaemonSets on every node.
    pub daemon_pods: u64,
    /// The scenario's pods that each limit of a node admits.
    pub per_node: Vec<(Bound, u64)>,
    /// The one that binds.
    pub node_bound: Bound,
    /// Addresses and capacity with no pods, the scenario's, and as many as a node takes.
    pub rest: Vec<Rest>,
    /// What binds the group first when it grows with full nodes.
    pub first: Bound,
    /// The subnet whose end that is.
    pub first_subnet: Option<String>,
    /// Largest size of the group, if it has one.
    pub max_size: Option<u32>,
}

/// Nodes at rest with so many pods on each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Rest {
    /// `idle`, `scenario` or `full`.
    pub load: &'static str,
    /// Pods of the scenario on each node, beside those of DaemonSets.
    pub pods_per_node: u64,
    /// Addresses that a node takes of all subnets.
    pub addresses_per_node: u64,
    /// Nodes that hold all they want to hold and serve all these pods.
    pub nodes: u64,
    /// Pods of the scenario on all nodes, those that got less included.
    pub pods: u64,
    /// Nodes that get an address, those that cannot serve all their pods included.
    pub launches: u64,
    /// What ended it.
    pub bound: Bound,
    /// The same with the worst zone lost: its name, nodes and pods. None with a single zone.
    pub zone_lost: Option<(String, u64, u64)>,
}

/// A moment of the scenario's life, worked out.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Situation {
    /// What happens.
    pub name: String,
    /// Nodes wanted.
    pub nodes_wanted: u64,
    /// Nodes that get an address.
    pub nodes: u64,
    /// Pods with addresses wanted, without DaemonSets.
    pub pods_wanted: u64,
    /// Pods that get one.
    pub pods: u64,
    /// Whether all get what they want.
    pub fits: bool,
    /// The first subnet that refused something.
    pub first_dry: Option<String>,
    /// Free addresses of each subnet afterwards; none for a lost zone's.
    pub free: Vec<Option<u32>>,
    /// What else is to be known.
    pub note: String,
}

/// Ways out for one kind of node, the present state first.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Suggestions {
    /// Node group or NodePool.
    pub group: String,
    /// Instance type.
    pub instance_type: String,
    /// The present state and what each remedy makes of it.
    pub effects: Vec<Effect>,
}

/// What a remedy buys.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Effect {
    /// The remedy.
    pub remedy: String,
    /// Pods of the scenario on a full node.
    pub pods_per_node: u64,
    /// Addresses of the present subnets that such a node takes.
    pub addresses_per_node: u64,
    /// Full nodes that fit.
    pub nodes: u64,
    /// Pods on all nodes.
    pub pods: u64,
    /// Pods against the present state, as a factor.
    pub factor: Option<f64>,
    /// Whether the scenario's peak fits when this group has the remedy.
    pub peak_fits: bool,
    /// Pods with addresses at that peak, and wanted.
    pub peak_pods: (u64, u64),
    /// What it costs or risks.
    pub cost: &'static str,
}

/// Works the answer out.
#[must_use]
pub fn answer(model: &Model) -> Answer {
    let demand = demand::Demand::of(model);
    let start = ground::Spaces::of(model);
    let nodes: Vec<NodeKind> =
        demand.kinds.iter().map(|kind| kinds::node_kind(kind, &start, model)).collect();
    Answer {
        format: "eks-sim-subnets/v1",
        scenario: model.name.clone(),
        mode: mode(model),
        subnets: facts(&start, model),
        situations: situations::all(&demand, &start, model),
        suggestions: remedies::all(&demand, &start, model),
        assumptions: demand.assumptions(model),
        nodes,
    }
}

fn mode(model: &Model) -> String {
    let (cni, network) = (&model.network.cni, &model.network);
    if !network.cni_enabled {
        return "the CNI model is switched off: pods take no addresses".to_owned();
    }
    if cni.ipv6 {
        return "IPv6: pods take no IPv4 address, each node takes one".to_owned();
    }
    let mut words = match cni.prefix_delegation {
        true => format!("/28 prefixes, WARM_PREFIX_TARGET={}", cni.warm_prefix_target),
        false => format!("secondary addresses, WARM_ENI_TARGET={}", cni.warm_eni_target),
    };
    if cni.targets_defined() {
        let kind = if cni.prefix_delegation { "/28 prefixes" } else { "secondary addresses" };
        let (warm, minimum) = (cni.warm_ip_target, cni.minimum_ip_target);
        words = format!("{kind}, WARM_IP_TARGET={warm}, MINIMUM_IP_TARGET={minimum}");
    }
    if cni.custom_networking {
        words.push_str(", custom networking");
    }
    if cni.pod_eni {
        words.push_str(", security groups for pods");
    }
    words
}

fn facts(start: &ground::Spaces, model: &Model) -> Vec<SubnetFacts> {
    const HOLDERS: [Holding; 6] = [
        Holding::ControlPlane,
        Holding::LoadBalancer,
        Holding::NatGateway,
        Holding::Endpoint,
        Holding::Fargate,
        Holding::Other,
    ];
    let subnets = model.subnets.iter().zip(&start.spaces);
    let facts = subnets.map(|((_, subnet), space)| SubnetFacts {
        name: subnet.name.clone(),
        zone: model.zones[subnet.zone].clone(),
        cidr: subnet.cidr(),
        usable: space.usable(),
        taken: HOLDERS.map(|h| (h, space.count(h))).into_iter().filter(|t| t.1 > 0).collect(),
        free: space.free(),
        free_blocks: space.free_blocks(),
    });
    facts.collect()
}

//! What each way out of an address shortage buys, by the same calculation as the shortage itself.
//!
//! Upstream: EKS best-practices guide, "Optimizing IP address utilization" (the list of ways out).
//! Differences: only what the calculation can quantify is listed.

use serde::Serialize;

use super::address_space::{AddressSpace, Holding, Placement, usable_addresses};
use super::calculate::{launch_nodes, steady_state, subnet_fill};
use super::cidr::Cidr;
use super::config::{CniConfig, EniLimits};
use super::max_pods::{Mode, pod_addresses, uncapped};
use super::step::Node;

/// One subnet and the nodes that are to fill it.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// Settings today, as in effect on the type.
    pub config: &'a CniConfig,
    /// Limits of the instance type.
    pub limits: EniLimits,
    /// Whether the type supports prefixes.
    pub prefixes_supported: bool,
    /// Pod capacity of a node (kubelet's `maxPods`).
    pub max_pods: u32,
    /// Pods with addresses on each node.
    pub pods_per_node: u32,
    /// Range of the subnet.
    pub subnet: Cidr,
    /// Addresses held by anything else.
    pub other_addresses: u32,
}

/// A way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Remedy {
    /// Nothing is changed.
    AsIs,
    /// `WARM_IP_TARGET` and `MINIMUM_IP_TARGET` instead of whole warm interfaces.
    WarmIpTarget {
        /// `WARM_IP_TARGET`.
        warm: u32,
        /// `MINIMUM_IP_TARGET`.
        minimum: u32,
    },
    /// `ENABLE_PREFIX_DELEGATION`, with one warm prefix.
    PrefixDelegation,
    /// Pods in a range of their own, of this size.
    CustomNetworking(Cidr),
    /// IPv6: pods take no IPv4 address of the subnet.
    Ipv6,
    /// The same in a subnet of twice the size.
    LargerSubnet(Cidr),
}

/// What a remedy buys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Effect {
    /// The remedy.
    pub remedy: Remedy,
    /// Nodes that fit completely.
    pub nodes: u64,
    /// Pods with addresses on them.
    pub pods: u64,
    /// Addresses of the subnet that one node takes.
    pub addresses_per_node: u64,
}

/// Every remedy that applies to the plan, the present state first. `pod_range` is the range that
/// custom networking would use.
#[must_use]
pub fn remedies(plan: &Plan<'_>, pod_range: Cidr) -> Vec<Effect> {
    let warm = CniConfig { warm_ip_target: 2, minimum_ip_target: 10, ..plain(plan) };
    let prefix = CniConfig { prefix_delegation: true, warm_prefix_target: 1, ..plain(plan) };
    let mut effects = vec![
        by_division(plan, plan.config, plan.subnet, Remedy::AsIs),
        by_division(plan, &warm, plan.subnet, Remedy::WarmIpTarget { warm: 2, minimum: 10 }),
    ];
    if plan.prefixes_supported {
        effects.push(by_launching(plan, &prefix, None, Remedy::PrefixDelegation));
        effects.push(Some(ipv6(plan)));
    }
    let custom = CniConfig { custom_networking: true, ..plan.config.clone() };
    let remedy = Remedy::CustomNetworking(pod_range);
    effects.push(by_launching(plan, &custom, Some(pod_range), remedy));
    let length = plan.subnet.prefix_length().saturating_sub(1);
    let twice = Cidr::containing(plan.subnet.first(), length);
    effects.push(by_division(plan, plan.config, twice, Remedy::LargerSubnet(twice)));
    effects.into_iter().flatten().collect()
}

/// Today's settings with plain addresses and nothing but the warm interface.
fn plain(plan: &Plan<'_>) -> CniConfig {
    let none = CniConfig { warm_ip_target: 0, minimum_ip_target: 0, ..plan.config.clone() };
    CniConfig { prefix_delegation: false, ..none }
}

fn by_division(
    plan: &Plan<'_>,
    config: &CniConfig,
    subnet: Cidr,
    remedy: Remedy,
) -> Option<Effect> {
    if config.prefix_delegation {
        let plan = Plan { subnet, ..plan.clone() };
        return by_launching(&plan, config, None, remedy);
    }
    let node = Node::new(config, plan.limits, i64::from(plan.max_pods));
    let (pods, other) = (u64::from(plan.pods_per_node), u64::from(plan.other_addresses));
    let fill = subnet_fill(&node, subnet.prefix_length(), pods, other)?;
    Some(Effect {
        remedy,
        nodes: fill.full_nodes,
        pods: fill.pods_on_full_nodes,
        addresses_per_node: fill.ips_per_node,
    })
}

/// Where blocks or a second subnet bind, nodes are launched into real address spaces.
fn by_launching(
    plan: &Plan<'_>,
    config: &CniConfig,
    pod_range: Option<Cidr>,
    remedy: Remedy,
) -> Option<Effect> {
    let mode = Mode {
        prefix_delegation: config.prefix_delegation,
        custom_networking: config.custom_networking,
        max_eni: config.max_eni,
    };
    let possible = uncapped(plan.limits, mode).min(u64::from(u32::MAX)) as i64;
    // Prefixes allow more pods than the published value; the plan's own pods are what is asked.
    let max_pods = i64::from(plan.max_pods).max(i64::from(plan.pods_per_node)).min(possible);
    let node = Node::new(config, plan.limits, max_pods);
    let mut nodes = AddressSpace::new(plan.subnet).ok()?;
    let other = plan.other_addresses.min(nodes.free());
    let mut place = Placement::Sequential;
    nodes.take(Holding::Other, other, &mut place, &mut Vec::new()).ok()?;
    let mut pods = match pod_range {
        Some(range) => Some(AddressSpace::new(range).ok()?),
        None => None,
    };
    // A node without its primary interface serves fewer pods; it is full when it serves those.
    let wanted = u64::from(plan.pods_per_node).min(pod_addresses(plan.limits, mode));
    let most = nodes.free() as usize;
    let launched = launch_nodes(&node, &mut nodes, pods.as_mut(), &mut place, wanted, most);
    let full = launched.full_nodes as u64;
    let rest = steady_state(&node, wanted);
    Some(Effect {
        remedy,
        nodes: full,
        pods: full.saturating_mul(rest.assigned),
        addresses_per_node: if pod_range.is_some() { 1 } else { rest.subnet_ips },
    })
}

/// One IPv4 address a node; pods take none.
fn ipv6(plan: &Plan<'_>) -> Effect {
    let usable = usable_addresses(plan.subnet.prefix_length()).unwrap_or(0);
    let nodes = u64::from(usable.saturating_sub(plan.other_addresses));
    let pods = u64::from(plan.pods_per_node.min(plan.max_pods));
    Effect { remedy: Remedy::Ipv6, nodes, pods: nodes.saturating_mul(pods), addresses_per_node: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_remedy_on_a_slash_24_of_m5_large() {
        let config = CniConfig::default();
        let plan = Plan {
            config: &config,
            limits: EniLimits { enis: 3, ipv4_per_eni: 10 },
            prefixes_supported: true,
            max_pods: 29,
            pods_per_node: 5,
            subnet: "10.0.0.0/24".parse().unwrap(),
            other_addresses: 0,
        };
        let effects = remedies(&plan, "100.64.0.0/19".parse().unwrap());
        let nodes = effects.iter().map(|e| (e.nodes, e.pods, e.addresses_per_node));
        assert_eq!(
            nodes.collect::<Vec<_>>(),
            [
                (12, 60, 20),
                (20, 100, 12),
                (7, 35, 33),
                (251, 1255, 1),
                (251, 1255, 1),
                (25, 125, 20),
            ]
        );
        let busy = Plan { pods_per_node: 27, ..plan.clone() };
        let custom = &remedies(&busy, "100.64.0.0/19".parse().unwrap())[4];
        assert_eq!((custom.nodes, custom.pods), (251, 251 * 18));
        let old = Plan { prefixes_supported: false, ..plan };
        assert_eq!(remedies(&old, "100.64.0.0/19".parse().unwrap()).len(), 4);
    }
}

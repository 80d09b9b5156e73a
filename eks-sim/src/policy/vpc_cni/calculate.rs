//! Static answers on the same code: the state a node comes to rest in, and how far a subnet goes.
//!
//! Upstream: docs/eni-and-ip-target.md, docs/prefix-and-ip-target.md (tables). Differences: the
//! documented rows that contradict the code are not reproduced.

use core::net::Ipv4Addr;

use serde::Serialize;

use super::address_space::{AddressSpace, Holding, Placement, usable_addresses};
use super::pool::{NewEni, Pool, Range};
use super::step::{Action, Failure, Node};
use crate::units::SimTime;

/// The addresses of a node at rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SteadyState {
    /// Interfaces attached.
    pub enis: u64,
    /// Secondary addresses or prefixes.
    pub cidrs: u64,
    /// The same, per interface in attach order.
    pub cidrs_per_eni: Vec<u32>,
    /// Pod addresses held.
    pub total_pod_ips: u64,
    /// Pod addresses given to pods.
    pub assigned: u64,
    /// Pod addresses held and not given out.
    pub free_pod_ips: u64,
    /// Addresses the node takes from its subnets.
    pub subnet_ips: u64,
}

/// What a growth step asks EC2 for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// A new interface, which needs an address of its own.
    pub new_eni: bool,
    /// Secondary addresses or prefixes.
    pub count: u32,
    /// Whether prefixes are asked for.
    pub prefix: bool,
}

/// What EC2 gives: an interface's own address if one was asked for, and the ranges.
pub type Granted = (Option<Ipv4Addr>, Vec<Range>);

/// Lets the pool grow, without clocks, until it is content or EC2 refuses.
///
/// Only growth: what a long rest would return is not returned.
pub fn settle(
    pool: &mut Pool,
    node: &Node<'_>,
    ec2: &mut impl FnMut(Ask) -> Result<Granted, Failure>,
) {
    let now = SimTime::ZERO;
    let prefix = node.config.prefix_delegation;
    // Every pass adds a range or ends, so the slots of the type bound the number of passes.
    while pool.is_too_low(node) {
        let mut action = pool.next_action(node, now);
        let grown = loop {
            let (new_eni, count) = match action {
                Action::FillEni { count, .. } => (false, count),
                Action::AttachEni { count } => (true, count),
                _ => break false,
            };
            match ec2(Ask { new_eni, count, prefix }) {
                Ok((own, ranges)) => {
                    break match action {
                        Action::FillEni { eni, .. } => {
                            pool.filled(eni, &ranges) && !ranges.is_empty()
                        }
                        _ => {
                            let primary_address = own.map_or(0, u32::from);
                            let facts = NewEni { primary_address, ..NewEni::default() };
                            pool.attached(facts, &ranges, now);
                            true
                        }
                    };
                }
                Err(failure) => action = pool.failed(node, &action, failure, now),
            }
        };
        if !grown {
            break;
        }
    }
}

/// The state of a node after `pods` pods came one by one and the pool rested after each.
#[must_use]
pub fn steady_state(node: &Node<'_>, pods: u64) -> SteadyState {
    let mut next = 0u32;
    let mut endless = |ask: Ask| {
        let size = if ask.prefix { super::address_space::PREFIX_SIZE } else { 1 };
        let mut grant = || {
            let first = next;
            next = next.wrapping_add(size);
            Range { first: first.into(), prefix: ask.prefix }
        };
        Ok((None, (0..ask.count).map(|_| grant()).collect()))
    };
    let mut pool = Pool::new(node.config, NewEni::default(), SimTime::ZERO);
    add_pods(&mut pool, node, pods, &mut endless);
    state(&pool, node)
}

/// Pods that got an address, out of `pods` that came one by one.
fn add_pods(
    pool: &mut Pool,
    node: &Node<'_>,
    pods: u64,
    ec2: &mut impl FnMut(Ask) -> Result<Granted, Failure>,
) -> u64 {
    settle(pool, node, ec2);
    for pod in 0..pods {
        if pool.assign(node.config.prefix_delegation, pod, SimTime::ZERO).is_err() {
            return pod; // the pool is at rest: no later pod fares better
        }
        settle(pool, node, ec2);
    }
    pods
}

fn state(pool: &Pool, node: &Node<'_>) -> SteadyState {
    let stats = pool.stats(node.config.prefix_delegation);
    let cidrs_per_eni = pool.enis().iter().map(super::pool::Eni::slots_used).collect::<Vec<_>>();
    let (enis, total) = (pool.enis().len() as u64, stats.total.unsigned_abs());
    SteadyState {
        enis,
        cidrs: cidrs_per_eni.iter().map(|count| u64::from(*count)).sum(),
        cidrs_per_eni,
        total_pod_ips: total,
        assigned: stats.assigned.unsigned_abs(),
        free_pod_ips: stats.available().unsigned_abs(),
        subnet_ips: enis + total,
    }
}

/// How many identical nodes at rest an otherwise empty subnet holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SubnetFill {
    /// Addresses of one node.
    pub ips_per_node: u64,
    /// Nodes that fit completely.
    pub full_nodes: u64,
    /// Pods with addresses on these.
    pub pods_on_full_nodes: u64,
    /// Addresses left after them.
    pub addresses_left: u64,
}

/// Fills a subnet by division: `other` addresses are held by others, each node runs
/// `pods_per_node` pods. `None` for a prefix length that no subnet has.
#[must_use]
pub fn subnet_fill(
    node: &Node<'_>,
    prefix_length: u8,
    pods_per_node: u64,
    other: u64,
) -> Option<SubnetFill> {
    let left = u64::from(usable_addresses(prefix_length)?).saturating_sub(other);
    let rest = steady_state(node, pods_per_node);
    let full_nodes = left / rest.subnet_ips.max(1);
    Some(SubnetFill {
        ips_per_node: rest.subnet_ips,
        full_nodes,
        pods_on_full_nodes: full_nodes.saturating_mul(rest.assigned),
        addresses_left: left - full_nodes * rest.subnet_ips,
    })
}

/// What ends the filling of a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Limit {
    /// No address is left for a node.
    Addresses,
    /// Free addresses are left, whole /28 blocks are not.
    Blocks,
    /// The number of nodes asked for.
    Nodes,
}

/// Nodes launched into real subnets one after another, until no address is left for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Launches {
    /// Pods with addresses on each node, in launch order.
    pub pods: Vec<u64>,
    /// Nodes that serve all pods asked for and hold what they want to hold.
    pub full_nodes: usize,
    /// What kept the first node from being full.
    pub limit: Limit,
}

/// Launches up to `nodes` nodes whose first interface is in `node_subnet` and whose further
/// interfaces are in `pod_subnet` (under custom networking) or in the same subnet (`None`).
pub fn launch_nodes(
    node: &Node<'_>,
    node_subnet: &mut AddressSpace,
    mut pod_subnet: Option<&mut AddressSpace>,
    placement: &mut Placement<'_>,
    pods_per_node: u64,
    nodes: usize,
) -> Launches {
    let mut launches = Launches { pods: Vec::new(), full_nodes: 0, limit: Limit::Nodes };
    for _ in 0..nodes {
        let mut own = Vec::new();
        if node_subnet.take(Holding::NodePrimary, 1, placement, &mut own).is_err() {
            if launches.limit == Limit::Nodes {
                launches.limit = Limit::Addresses;
            }
            break;
        }
        let primary = NewEni {
            primary_address: own.first().map_or(0, |a| u32::from(*a)),
            ..NewEni::default()
        };
        let mut pool = Pool::new(node.config, primary, SimTime::ZERO);
        let subnet = pod_subnet.as_deref_mut().unwrap_or(node_subnet);
        let mut starved = false;
        let mut ec2 = |ask: Ask| grant(subnet, placement, ask).inspect_err(|_| starved = true);
        let served = add_pods(&mut pool, node, pods_per_node, &mut ec2);
        launches.pods.push(served);
        if served == pods_per_node && !starved {
            launches.full_nodes += 1;
        } else if starved && launches.limit == Limit::Nodes {
            let blocks = node.config.prefix_delegation && subnet.free() > 0;
            launches.limit = if blocks { Limit::Blocks } else { Limit::Addresses };
        }
    }
    launches
}

/// EC2's all-or-nothing answer from one subnet.
fn grant(
    subnet: &mut AddressSpace,
    placement: &mut Placement<'_>,
    ask: Ask,
) -> Result<Granted, Failure> {
    let mut own = Vec::new();
    if ask.new_eni {
        let taken = subnet.take(Holding::EniPrimary, 1, placement, &mut own);
        taken.map_err(|_| Failure::Shortage)?;
    }
    let mut firsts = Vec::new();
    let taken = match ask.prefix {
        true => subnet.take_blocks(ask.count, placement, &mut firsts),
        false => subnet.take(Holding::Secondary, ask.count, placement, &mut firsts),
    };
    if taken.is_err() {
        own.first().map(|address| subnet.release(*address));
        return Err(Failure::Shortage);
    }
    let ranges = firsts.into_iter().map(|first| Range { first, prefix: ask.prefix }).collect();
    Ok((own.first().copied(), ranges))
}

#[cfg(test)]
#[path = "calculate_tests.rs"]
mod tests;

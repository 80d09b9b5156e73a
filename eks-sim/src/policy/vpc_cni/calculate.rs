//! Static answers on the same code: the state a node comes to rest in, and how far a subnet goes.
//!
//! Upstream: docs/eni-and-ip-target.md, docs/prefix-and-ip-target.md (tables). Differences: the
//! documented rows that contradict the code are not reproduced.

use core::net::Ipv4Addr;

use serde::Serialize;

use super::address_space::usable_addresses;
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
    /// Else, which interface is filled: its place in the order of attachment.
    pub eni: usize,
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
            let place = |id| pool.enis().iter().position(|eni| eni.id() == id).unwrap_or(0);
            let (new_eni, eni, count) = match action {
                Action::FillEni { eni, count } => (false, place(eni), count),
                Action::AttachEni { count } => (true, 0, count),
                _ => break false,
            };
            match ec2(Ask { new_eni, eni, count, prefix }) {
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
    let mut pool = Pool::new(node.config, NewEni::default(), SimTime::ZERO);
    add_pods(&mut pool, node, pods, &mut endless());
    state(&pool, node)
}

/// An EC2 that never refuses.
pub(super) fn endless() -> impl FnMut(Ask) -> Result<Granted, Failure> {
    let mut next = 0u32;
    move |ask: Ask| {
        let size = if ask.prefix { super::address_space::PREFIX_SIZE } else { 1 };
        let mut grant = || {
            let first = next;
            next = next.wrapping_add(size);
            Range { first: first.into(), prefix: ask.prefix }
        };
        Ok((None, (0..ask.count).map(|_| grant()).collect()))
    }
}

/// Pods that got an address, out of `pods` that came one by one.
pub(super) fn add_pods(
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

#[cfg(test)]
#[path = "calculate_tests.rs"]
mod tests;

//! Nodes launched one after another into real address spaces, without clocks: how far they go.
//!
//! Upstream: as [`super::calculate`]. Differences: a node comes to rest before the next one
//! starts; in a run they grow side by side, which only changes who gets the last addresses.

use core::net::Ipv4Addr;

use serde::Serialize;

use super::address_space::{AddressSpace, Holding, Placement};
use super::calculate::{Ask, Granted, add_pods, endless};
use super::pool::{NewEni, Pool, Range};
use super::step::{Failure, Node};
use crate::units::SimTime;

/// What ends the filling of a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Limit {
    /// No address is left for a node.
    Addresses,
    /// Free addresses are left, whole /28 blocks are not.
    Blocks,
    /// The number of nodes asked for.
    Nodes,
}

/// One node after its launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launched {
    /// Pods that got an address.
    pub pods: u64,
    /// The subnet (position) that refused something first, and for want of what.
    pub refused: Option<(usize, Limit)>,
}

/// Nodes of one kind with so many pods on each.
pub struct Launcher<'a> {
    node: &'a Node<'a>,
    pods: u64,
    /// What an unhindered node asks for, in order.
    asks: Vec<Ask>,
    served: u64,
    /// Pods need no address of a subnet.
    free_of_charge: bool,
}

/// The subnets, how EC2 picks addresses in them, and which of them a node's further interfaces
/// may go to: positions in order, given the spaces and the position of the node's own subnet.
pub struct Ground<'a, 'p> {
    /// The subnets' addresses.
    pub spaces: &'a mut [AddressSpace],
    /// Which free address is picked.
    pub placement: &'a mut Placement<'p>,
    /// Subnets for a further interface.
    pub order: &'a dyn Fn(&[AddressSpace], usize) -> Vec<usize>,
}

impl<'a> Launcher<'a> {
    /// Nodes that each get `pods` pods with addresses. In IPv6 mode these cost none.
    #[must_use]
    pub fn new(node: &'a Node<'a>, pods: u64) -> Self {
        let mut launcher =
            Self { node, pods, asks: Vec::new(), served: pods, free_of_charge: node.config.ipv6 };
        if !launcher.free_of_charge {
            let mut pool = Pool::new(node.config, NewEni::default(), SimTime::ZERO);
            let (asks, mut grant) = (&mut launcher.asks, endless());
            let mut record = |ask: Ask| {
                asks.push(ask);
                grant(ask)
            };
            launcher.served = add_pods(&mut pool, node, pods, &mut record);
        }
        launcher
    }

    /// The same without the CNI: pods take no address.
    #[must_use]
    pub fn without_addresses(node: &'a Node<'a>, pods: u64) -> Self {
        Self { node, pods, asks: Vec::new(), served: pods, free_of_charge: true }
    }

    /// Launches one node into the subnet at `own`; `None` when that has no address for it.
    pub fn launch(&self, own: usize, ground: &mut Ground<'_, '_>) -> Option<Launched> {
        let mut out = Vec::with_capacity(1);
        let space = &mut ground.spaces[own];
        space.take(Holding::NodePrimary, 1, ground.placement, &mut out).ok()?;
        if self.free_of_charge {
            return Some(Launched { pods: self.pods, refused: None });
        }
        let mut attempt = Attempt { enis: vec![own], taken: Vec::new(), refused: None };
        if self.asks.iter().all(|ask| attempt.grant(*ask, ground).is_ok()) {
            return Some(Launched { pods: self.served, refused: None });
        }
        // Not everything there is: it grows as a real pool does when it is refused.
        attempt.undo(ground);
        let first = out.first().map_or(0, |address| u32::from(*address));
        let primary = NewEni { primary_address: first, ..NewEni::default() };
        let mut pool = Pool::new(self.node.config, primary, SimTime::ZERO);
        let mut attempt = Attempt { enis: vec![own], taken: Vec::new(), refused: None };
        let mut ec2 = |ask: Ask| attempt.grant(ask, ground);
        let pods = add_pods(&mut pool, self.node, self.pods, &mut ec2);
        Some(Launched { pods, refused: attempt.refused })
    }
}

/// What one node has been given so far.
struct Attempt {
    /// Subnet of each interface in attach order.
    enis: Vec<usize>,
    taken: Vec<(usize, Range)>,
    refused: Option<(usize, Limit)>,
}

impl Attempt {
    /// EC2's all-or-nothing answer from the first subnet that can give.
    fn grant(&mut self, ask: Ask, ground: &mut Ground<'_, '_>) -> Result<Granted, Failure> {
        let own = self.enis[0];
        let order = match ask.new_eni {
            true => (ground.order)(ground.spaces, own),
            false => self.enis.get(ask.eni).copied().into_iter().collect(),
        };
        for subnet in order {
            let space = &mut ground.spaces[subnet];
            if let Some(granted) = take(space, ground.placement, ask) {
                if let Some(first) = granted.0 {
                    self.enis.push(subnet);
                    self.taken.push((subnet, Range { first, prefix: false }));
                }
                self.taken.extend(granted.1.iter().map(|range| (subnet, *range)));
                return Ok(granted);
            }
            let blocks = ask.prefix && space.free() > 0;
            let why = if blocks { Limit::Blocks } else { Limit::Addresses };
            self.refused.get_or_insert((subnet, why));
        }
        Err(Failure::Shortage)
    }

    fn undo(self, ground: &mut Ground<'_, '_>) {
        for (subnet, range) in self.taken {
            give_back(&mut ground.spaces[subnet], range);
        }
    }
}

fn take(space: &mut AddressSpace, place: &mut Placement<'_>, ask: Ask) -> Option<Granted> {
    let mut firsts: Vec<Ipv4Addr> = Vec::new();
    match ask.prefix {
        true => space.take_blocks(ask.count, place, &mut firsts).ok()?,
        false => space.take(Holding::Secondary, ask.count, place, &mut firsts).ok()?,
    }
    let ranges: Vec<_> =
        firsts.into_iter().map(|first| Range { first, prefix: ask.prefix }).collect();
    let mut own = Vec::new();
    if ask.new_eni && space.take(Holding::EniPrimary, 1, place, &mut own).is_err() {
        ranges.iter().for_each(|range| give_back(space, *range));
        return None;
    }
    Some((own.first().copied(), ranges))
}

fn give_back(space: &mut AddressSpace, range: Range) {
    if range.prefix {
        space.release_block(range.first);
    } else {
        space.release(range.first);
    }
}

//! Nodes launched one after another into real address spaces, without clocks: how far they go.
//!
//! Upstream: as [`super::calculate`]. Differences: nodes grow one after another, or side by side
//! in turns; in a run latencies decide who is first to get the last addresses.

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

/// Subnets (positions) that a node's further interfaces may go to, in order, given all spaces and
/// the position of the node's own subnet.
pub type Order<'a> = Box<dyn Fn(&[AddressSpace], usize) -> Vec<usize> + 'a>;

/// Nodes of one kind with so many pods on each.
pub struct Launcher<'a> {
    node: Node<'a>,
    pods: u64,
    order: Order<'a>,
    /// What an unhindered node asks for, in order.
    asks: Vec<Ask>,
    served: u64,
}

/// The subnets, and how EC2 picks addresses in them.
pub struct Ground<'a, 'p> {
    /// The subnets' addresses.
    pub spaces: &'a mut [AddressSpace],
    /// Which free address is picked.
    pub placement: &'a mut Placement<'p>,
}

impl<'a> Launcher<'a> {
    /// Nodes that each get `pods` pods with addresses. In IPv6 mode these cost none.
    #[must_use]
    pub fn new(node: Node<'a>, pods: u64, order: Order<'a>) -> Self {
        let mut asks = Vec::new();
        let mut served = pods;
        if !node.config.ipv6 {
            let mut pool = Pool::new(node.config, NewEni::default(), SimTime::ZERO);
            let mut grant = endless();
            let mut record = |ask: Ask| {
                asks.push(ask);
                grant(ask)
            };
            served = add_pods(&mut pool, &node, pods, &mut record);
        }
        Self { node, pods, order, asks, served }
    }

    /// The same without the CNI: pods take no address.
    #[must_use]
    pub fn without_addresses(node: Node<'a>, pods: u64) -> Self {
        Self { node, pods, order: Box::new(|_, _| Vec::new()), asks: Vec::new(), served: pods }
    }

    /// Starts one node in the subnet at `own`; `None` when that has no address for it.
    pub fn start(&self, own: usize, ground: &mut Ground<'_, '_>) -> Option<Started> {
        let mut out = Vec::with_capacity(1);
        let space = &mut ground.spaces[own];
        space.take(Holding::NodePrimary, 1, ground.placement, &mut out).ok()?;
        let primary = out.first().map_or(0, |address| u32::from(*address));
        Some(Started { primary, enis: vec![own], granted: Vec::new(), refused: None })
    }

    /// Lets the node grow for all its pods, before anybody else moves.
    pub fn grow(&self, node: Started, ground: &mut Ground<'_, '_>) -> Launched {
        let grown = grow_together(vec![(self, node)], ground);
        grown.into_iter().next().unwrap_or(Launched { pods: 0, refused: None })
    }

    /// EC2's all-or-nothing answer from the first subnet that can give.
    fn grant(
        &self,
        node: &mut Started,
        ask: Ask,
        ground: &mut Ground<'_, '_>,
    ) -> Result<Granted, Failure> {
        let subnets = match ask.new_eni {
            true => (self.order)(ground.spaces, node.enis[0]),
            false => node.enis.get(ask.eni).copied().into_iter().collect(),
        };
        for subnet in subnets {
            let space = &mut ground.spaces[subnet];
            if let Some(granted) = take(space, ground.placement, ask) {
                if ask.new_eni {
                    node.enis.push(subnet);
                }
                return Ok(granted);
            }
            let blocks = ask.prefix && space.free() > 0;
            let why = if blocks { Limit::Blocks } else { Limit::Addresses };
            node.refused.get_or_insert((subnet, why));
        }
        Err(Failure::Shortage)
    }

    /// A node that was refused something: its pool goes on from what it has as a real one does.
    fn starve(&self, mut node: Started, ground: &mut Ground<'_, '_>) -> Launched {
        let primary = NewEni { primary_address: node.primary, ..NewEni::default() };
        let mut pool = Pool::new(self.node.config, primary, SimTime::ZERO);
        let mut had = core::mem::take(&mut node.granted).into_iter();
        let mut ec2 = |ask: Ask| match had.next() {
            Some(granted) => Ok(granted),
            None => self.grant(&mut node, ask, ground),
        };
        let pods = add_pods(&mut pool, &self.node, self.pods, &mut ec2);
        Launched { pods, refused: node.refused }
    }
}

/// A node that has started, and what it was given so far.
pub struct Started {
    primary: u32,
    /// Subnet of each interface in attach order.
    enis: Vec<usize>,
    granted: Vec<Granted>,
    refused: Option<(usize, Limit)>,
}

/// Lets nodes grow side by side, a step of each in turn, as pools do whose loops run at the same
/// time. One that is refused something takes what it still gets at once.
pub fn grow_together(
    nodes: Vec<(&Launcher<'_>, Started)>,
    ground: &mut Ground<'_, '_>,
) -> Vec<Launched> {
    let steps = nodes.iter().map(|(launcher, _)| launcher.asks.len()).max().unwrap_or(0);
    let mut launched: Vec<Option<Launched>> = vec![None; nodes.len()];
    let mut nodes: Vec<_> = nodes.into_iter().map(|(l, node)| (l, Some(node))).collect();
    for step in 0..steps {
        for ((launcher, slot), done) in nodes.iter_mut().zip(&mut launched) {
            let Some(&ask) = launcher.asks.get(step) else { continue };
            let Some(mut node) = slot.take() else { continue };
            match launcher.grant(&mut node, ask, ground) {
                Ok(granted) => {
                    node.granted.push(granted);
                    *slot = Some(node);
                }
                Err(_) => *done = Some(launcher.starve(node, ground)),
            }
        }
    }
    let whole = |launcher: &Launcher<'_>, node: Option<Started>| Launched {
        pods: launcher.served,
        // Another subnet may have helped out.
        refused: node.and_then(|node| node.refused),
    };
    nodes
        .into_iter()
        .zip(launched)
        .map(|((l, node), d)| d.unwrap_or_else(|| whole(l, node)))
        .collect()
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

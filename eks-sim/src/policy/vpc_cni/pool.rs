//! The addresses of one node: interfaces, their slots, which pod has which address, what cools.
//!
//! Upstream: pkg/ipamd/datastore/data_store.go. Differences: visits in attach order; of several
//! rested addresses of a prefix the lowest is taken (upstream: any); IPv6 addresses are counted,
//! never reused (a /80 holds 2^48).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::address_space::PREFIX_SIZE;
use super::config::CniConfig;
use super::decide::{EniView, Stats};
use crate::units::{SimTime, Span};

/// An interface of one pool; never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EniId(pub u32);

/// A secondary address (/32) or a prefix (/28) of an interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Range {
    /// Its first address.
    pub first: Ipv4Addr,
    /// Whether it is a /28.
    pub prefix: bool,
}

/// The pool has no usable address: the CNI ADD fails and kubelet tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to assign an IP address to container")]
pub struct NoAddress;

/// What is known of an interface when it is attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewEni {
    /// The caller's number of its subnet.
    pub subnet: u32,
    /// Its own address, which never goes to a pod.
    pub primary_address: u32,
    /// The trunk of branch interfaces.
    pub trunk: bool,
    /// An Elastic Fabric Adapter.
    pub efa: bool,
    /// Its subnet is tagged `kubernetes.io/role/cni` = 0: no pods.
    pub excluded: bool,
}

/// One attached interface.
#[derive(Clone, Debug)]
pub struct Eni {
    id: EniId,
    facts: NewEni,
    primary: bool,
    attached_at: SimTime,
    slots: SmallVec<[Slot; 14]>,
    /// Counts of plain addresses and of prefixes.
    tallies: [Tally; 2],
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    slots: u32,
    assigned: u32,
    cooling: u32,
    free_slots: u32,
}

/// One slot. Bit i of a mask is address i of the range; the masks are disjoint.
#[derive(Clone, Copy, Debug)]
struct Slot {
    first: u32,
    prefix: bool,
    assigned: u16,
    cooling: u16,
    /// Used before and out of cooldown.
    rested: u16,
}

impl Slot {
    const fn full(self) -> u16 {
        if self.prefix { u16::MAX } else { 1 }
    }
}

impl Slot {
    fn holds(self, address: u32) -> bool {
        let size = if self.prefix { PREFIX_SIZE } else { 1 };
        address.wrapping_sub(self.first) < size
    }
}

/// An address of an interface.
#[derive(Clone, Copy, Debug)]
struct Place {
    eni: EniId,
    address: u32,
}

/// The addresses of one node and who has them.
///
/// A cluster has thousands of pools, each touched now and then, so what counts is how much memory
/// an operation touches, and that it need not follow pointers: pods are a short list, sums over the
/// interfaces are kept, and what a small node has lies in the pool itself.
#[derive(Clone, Debug)]
pub struct Pool {
    enis: SmallVec<[Eni; 2]>,
    next_eni: u32,
    /// Sums over interfaces that serve pods, of plain addresses and of prefixes.
    sums: [Tally; 2],
    /// Interfaces that serve none because their subnet is excluded.
    excluded: u32,
    /// Who has which address, in no order.
    places: SmallVec<[(u64, Place); 8]>,
    /// Addresses given back, oldest first.
    cooling: VecDeque<(SimTime, Place)>,
    cooldown: Span,
    ipv6: Option<Box<Ipv6>>,
    pub(super) last_shrink: Option<SimTime>,
    pub(super) last_shortage: Option<SimTime>,
}

/// A /80 prefix and who has which of its addresses.
#[derive(Clone, Debug)]
struct Ipv6 {
    prefix: u128,
    given: u64,
    /// Only looked up, never walked.
    pods: FxHashMap<u64, u64>,
}

impl Ipv6 {
    fn assign(&mut self, pod: u64) -> IpAddr {
        let given = &mut self.given;
        let suffix = *self.pods.entry(pod).or_insert_with(|| {
            *given += 1;
            *given
        });
        self.address(suffix)
    }
    fn address(&self, suffix: u64) -> IpAddr {
        Ipv6Addr::from(self.prefix | u128::from(suffix)).into()
    }
}

impl Pool {
    /// The pool of a node that has just come up with its primary interface.
    #[must_use]
    pub fn new(config: &CniConfig, primary: NewEni, now: SimTime) -> Self {
        let mut pool = Self {
            enis: SmallVec::new(),
            next_eni: 0,
            sums: [Tally::default(); 2],
            excluded: 0,
            places: SmallVec::new(),
            cooling: VecDeque::new(),
            cooldown: config.ip_cooldown,
            ipv6: None,
            last_shrink: None,
            last_shortage: None,
        };
        pool.attach(primary, true, now);
        pool
    }

    /// The pool of a node in IPv6 mode: one /80 prefix, which no number of pods uses up.
    #[must_use]
    pub fn ipv6(config: &CniConfig, primary: NewEni, prefix: Ipv6Addr, now: SimTime) -> Self {
        let ipv6 = Ipv6 { prefix: u128::from(prefix), given: 0, pods: FxHashMap::default() };
        Self { ipv6: Some(Box::new(ipv6)), ..Self::new(config, primary, now) }
    }

    /// Whether the node is in IPv6 mode, in which no pool loop runs.
    #[must_use]
    pub const fn is_ipv6(&self) -> bool {
        self.ipv6.is_some()
    }

    /// Interfaces in attach order; the first is the primary one.
    #[must_use]
    pub fn enis(&self) -> &[Eni] {
        &self.enis
    }

    /// The interface with this id.
    #[must_use]
    pub fn eni(&self, id: EniId) -> Option<&Eni> {
        self.enis.iter().find(|eni| eni.id == id)
    }

    /// Counts over interfaces that serve pods, in the current mode.
    #[must_use]
    pub fn stats(&self, prefix_delegation: bool) -> Stats {
        let size = if prefix_delegation { PREFIX_SIZE } else { 1 };
        let sum = &self.sums[usize::from(prefix_delegation)];
        Stats {
            total: i64::from(sum.slots * size),
            assigned: i64::from(sum.assigned),
            cooling: i64::from(sum.cooling),
            prefixes: i64::from(self.sums[1].slots),
            free_prefixes: i64::from(self.sums[1].free_slots),
        }
    }

    /// Whether some interface serves no pods because its subnet is excluded.
    #[must_use]
    pub const fn has_excluded(&self) -> bool {
        self.excluded > 0
    }

    /// Every address the node holds in its subnets: interfaces' own, and ranges.
    pub fn holdings(&self) -> impl Iterator<Item = (u32, Range)> {
        self.enis.iter().flat_map(|eni| {
            let own = Range { first: eni.facts.primary_address.into(), prefix: false };
            core::iter::once(own).chain(eni.ranges()).map(|range| (eni.facts.subnet, range))
        })
    }

    /// Pods that have an address.
    #[must_use]
    pub fn pods(&self) -> usize {
        self.places.len() + self.ipv6.as_ref().map_or(0, |v6| v6.pods.len())
    }

    /// Gives `pod` an address; the one it has, if it has one.
    ///
    /// # Errors
    /// When no address is usable right now.
    pub fn assign(
        &mut self,
        prefix_delegation: bool,
        pod: u64,
        now: SimTime,
    ) -> Result<IpAddr, NoAddress> {
        self.assign_in(prefix_delegation, pod, now).map(|(address, _)| address)
    }

    /// The same, with the subnet of the interface that serves it; `None` under IPv6.
    ///
    /// # Errors
    /// When no address is usable right now.
    pub fn assign_in(
        &mut self,
        prefix_delegation: bool,
        pod: u64,
        now: SimTime,
    ) -> Result<(IpAddr, Option<u32>), NoAddress> {
        if let Some(v6) = &mut self.ipv6 {
            return Ok((v6.assign(pod), None));
        }
        if let Some(place) = self.place_of(pod) {
            return Ok((place.address(), self.eni(place.eni).map(|eni| eni.facts.subnet)));
        }
        self.rest(now);
        let size = if prefix_delegation { PREFIX_SIZE } else { 1 };
        for eni in self.enis.iter_mut().filter(|eni| !eni.facts.excluded) {
            let tally = eni.tallies[usize::from(prefix_delegation)];
            if tally.assigned + tally.cooling == tally.slots * size {
                continue;
            }
            if let Some(place) = eni.give(prefix_delegation, &mut self.sums) {
                self.places.push((pod, place));
                return Ok((place.address(), Some(eni.facts.subnet)));
            }
        }
        Err(NoAddress)
    }

    /// Takes the address of `pod` back; it cools down before another pod gets it.
    pub fn release(&mut self, pod: u64, now: SimTime) -> Option<IpAddr> {
        self.release_in(pod, now).map(|(address, _)| address)
    }

    /// The same, with the subnet of the interface that served it; `None` under IPv6.
    pub fn release_in(&mut self, pod: u64, now: SimTime) -> Option<(IpAddr, Option<u32>)> {
        if let Some(v6) = &mut self.ipv6 {
            let suffix = v6.pods.remove(&pod)?;
            return Some((v6.address(suffix), None));
        }
        let at = self.places.iter().position(|(key, _)| *key == pod)?;
        let (_, place) = self.places.swap_remove(at);
        let eni = eni_mut(&mut self.enis, place.eni);
        let eni = eni.expect("an interface with pods is never removed");
        eni.change(place.address, &mut self.sums, |slot, mask| {
            slot.assigned &= !mask;
            slot.cooling |= mask;
        });
        let subnet = eni.facts.subnet;
        self.cooling.push_back((now, place));
        Some((place.address(), Some(subnet)))
    }

    /// The address of `pod`.
    #[must_use]
    pub fn address(&self, pod: u64) -> Option<IpAddr> {
        if let Some(v6) = &self.ipv6 {
            return v6.pods.get(&pod).map(|suffix| v6.address(*suffix));
        }
        self.place_of(pod).map(Place::address)
    }

    fn place_of(&self, pod: u64) -> Option<Place> {
        self.places.iter().find(|(key, _)| *key == pod).map(|(_, place)| *place)
    }

    /// The daemon starts anew: it knows of no shortage.
    pub const fn forget_shortage(&mut self) {
        self.last_shortage = None;
    }

    /// When EC2 last had no addresses for it.
    #[must_use]
    pub const fn last_shortage(&self) -> Option<SimTime> {
        self.last_shortage
    }

    /// When addresses or prefixes were last given back.
    #[must_use]
    pub const fn last_shrink(&self) -> Option<SimTime> {
        self.last_shrink
    }

    /// When the next address comes out of cooldown (it is usable strictly after this instant).
    #[must_use]
    pub fn next_rested(&self) -> Option<SimTime> {
        self.cooling.front().map(|(released, _)| *released + self.cooldown)
    }

    /// Ends the cooldown of addresses whose time is over. Every use of the pool does this itself.
    pub fn rest(&mut self, now: SimTime) {
        while let Some((released, place)) = self.cooling.front().copied() {
            if now.since(released) <= self.cooldown {
                break;
            }
            self.cooling.pop_front();
            let eni = eni_mut(&mut self.enis, place.eni);
            let eni = eni.expect("removed interfaces leave the cooling list");
            eni.change(place.address, &mut self.sums, |slot, mask| {
                slot.cooling &= !mask;
                slot.rested |= mask;
            });
        }
    }

    /// Another interface came up with these ranges.
    pub fn attached(&mut self, eni: NewEni, ranges: &[Range], now: SimTime) -> EniId {
        let id = self.attach(eni, false, now);
        self.filled(id, ranges);
        id
    }

    /// Ranges were added to an interface; false when it is gone.
    pub fn filled(&mut self, id: EniId, ranges: &[Range]) -> bool {
        let Some(eni) = eni_mut(&mut self.enis, id) else { return false };
        for range in ranges {
            let first = u32::from(range.first);
            debug_assert!(eni.slots.iter().all(|slot| slot.first != first), "a range comes once");
            let slot = Slot { first, prefix: range.prefix, assigned: 0, cooling: 0, rested: 0 };
            eni.slots.push(slot);
            eni.tally(range.prefix, &mut self.sums, |tally| {
                tally.slots += 1;
                tally.free_slots += 1;
            });
        }
        true
    }

    /// Drops ranges that serve no pod; those really dropped are returned, to be given back to the
    /// subnet. A cooling address may go this way.
    pub fn free(&mut self, ranges: &[(EniId, Range)], now: SimTime) -> Vec<(EniId, Range)> {
        let mut dropped = Vec::new();
        for (id, range) in ranges {
            let Some(eni) = eni_mut(&mut self.enis, *id) else { continue };
            if let Some(slot) = eni.drop_range(*range, &mut self.sums) {
                self.cooling.retain(|(_, place)| place.eni != *id || !slot.holds(place.address));
                dropped.push((*id, *range));
            }
        }
        if !dropped.is_empty() {
            self.last_shrink = Some(now);
        }
        dropped
    }

    /// Takes an interface out of the pool, to be detached and deleted; `None` when it is primary,
    /// serves pods or is not there.
    pub fn remove(&mut self, id: EniId) -> Option<Eni> {
        let index = self.enis.iter().position(|eni| eni.id == id)?;
        if self.enis[index].primary || self.enis[index].pods() > 0 {
            return None;
        }
        self.cooling.retain(|(_, place)| place.eni != id);
        let eni = self.enis.remove(index);
        if eni.facts.excluded {
            self.excluded -= 1;
        } else {
            self.sums.iter_mut().zip(eni.tallies).for_each(|(sum, tally)| sum.take(tally));
        }
        Some(eni)
    }

    pub(super) fn views(&self, config: &CniConfig, now: SimTime) -> Vec<EniView> {
        let which = usize::from(config.prefix_delegation);
        let view = |eni: &Eni| EniView {
            primary: eni.primary,
            trunk: eni.facts.trunk,
            efa: eni.facts.efa,
            aged: now.since(eni.attached_at) >= config.clocks.eni_minimum_age,
            cooling: eni.tallies.iter().any(|tally| tally.cooling > 0),
            addresses: i64::from(eni.tallies[which].slots * config.range_size()),
            assigned: i64::from(eni.pods()),
            free_prefixes: i64::from(eni.tallies[1].free_slots),
        };
        self.enis.iter().map(view).collect()
    }

    fn attach(&mut self, facts: NewEni, primary: bool, now: SimTime) -> EniId {
        let id = EniId(self.next_eni);
        self.next_eni += 1;
        self.excluded += u32::from(facts.excluded);
        let tallies = [Tally::default(); 2];
        self.enis.push(Eni {
            id,
            facts,
            primary,
            attached_at: now,
            slots: SmallVec::new(),
            tallies,
        });
        id
    }
}

fn eni_mut(enis: &mut [Eni], id: EniId) -> Option<&mut Eni> {
    enis.iter_mut().find(|eni| eni.id == id)
}

impl Tally {
    const fn take(&mut self, other: Self) {
        self.slots -= other.slots;
        self.assigned -= other.assigned;
        self.cooling -= other.cooling;
        self.free_slots -= other.free_slots;
    }
}

impl Place {
    fn address(self) -> IpAddr {
        Ipv4Addr::from(self.address).into()
    }
}

impl Eni {
    /// Its id in this pool.
    #[must_use]
    pub const fn id(&self) -> EniId {
        self.id
    }
    /// What was known when it was attached.
    #[must_use]
    pub const fn facts(&self) -> &NewEni {
        &self.facts
    }
    /// When it was attached.
    #[must_use]
    pub const fn attached_at(&self) -> SimTime {
        self.attached_at
    }
    /// Whether it is the instance's first interface.
    #[must_use]
    pub const fn is_primary(&self) -> bool {
        self.primary
    }
    /// Its ranges, in the order in which they came.
    pub fn ranges(&self) -> impl Iterator<Item = Range> {
        self.slots.iter().map(|slot| Range { first: slot.first.into(), prefix: slot.prefix })
    }
    /// How many slots are in use.
    #[must_use]
    pub fn slots_used(&self) -> u32 {
        self.slots.len() as u32
    }
    /// Pods that have an address of it.
    #[must_use]
    pub const fn pods(&self) -> u32 {
        self.tallies[0].assigned + self.tallies[1].assigned
    }
    /// Ranges of which no pod has an address.
    pub(super) fn unused(&self) -> impl Iterator<Item = Range> {
        let unused = self.slots.iter().filter(|slot| slot.assigned == 0);
        unused.map(|slot| Range { first: slot.first.into(), prefix: slot.prefix })
    }

    /// Gives out the first usable address: of the first range that has one, a rested address
    /// before a fresh one. Other rested addresses of that range become fresh again.
    fn give(&mut self, prefix: bool, sums: &mut [Tally; 2]) -> Option<Place> {
        let usable = |slot: &Slot| {
            slot.prefix == prefix && slot.full() & !(slot.assigned | slot.cooling) != 0
        };
        let at = self.slots.iter().position(usable)?;
        let slot = self.slots[at];
        let fresh = slot.full() & !(slot.assigned | slot.cooling);
        let from = if slot.rested == 0 { fresh } else { slot.rested };
        let bit = from.trailing_zeros();
        self.change_slot(at, sums, |slot| {
            slot.assigned |= 1 << bit;
            slot.rested = 0;
        });
        Some(Place { eni: self.id, address: slot.first + bit })
    }

    /// Changes the slot of an address and keeps the counts.
    fn change(&mut self, address: u32, sums: &mut [Tally; 2], change: impl FnOnce(&mut Slot, u16)) {
        let at = self.slots.iter().position(|slot| slot.holds(address));
        let at = at.expect("a dropped range leaves no address behind");
        let mask = 1 << (address - self.slots[at].first);
        self.change_slot(at, sums, |slot| change(slot, mask));
    }

    fn change_slot(&mut self, at: usize, sums: &mut [Tally; 2], change: impl FnOnce(&mut Slot)) {
        let slot = &mut self.slots[at];
        let before = *slot;
        change(slot);
        let (after, ones) = (*slot, |mask: u16| mask.count_ones());
        self.tally(after.prefix, sums, |tally| {
            tally.assigned = tally.assigned + ones(after.assigned) - ones(before.assigned);
            tally.cooling = tally.cooling + ones(after.cooling) - ones(before.cooling);
            tally.free_slots =
                tally.free_slots + u32::from(after.assigned == 0) - u32::from(before.assigned == 0);
        });
    }

    /// Changes its counts, and the pool's sums in which they are.
    fn tally(&mut self, prefix: bool, sums: &mut [Tally; 2], change: impl Fn(&mut Tally)) {
        change(&mut self.tallies[usize::from(prefix)]);
        if !self.facts.excluded {
            change(&mut sums[usize::from(prefix)]);
        }
    }

    fn drop_range(&mut self, range: Range, sums: &mut [Tally; 2]) -> Option<Slot> {
        let first = u32::from(range.first);
        let unused =
            |slot: &Slot| slot.first == first && slot.prefix == range.prefix && slot.assigned == 0;
        let index = self.slots.iter().position(unused)?;
        let slot = self.slots.remove(index);
        self.tally(slot.prefix, sums, |tally| {
            tally.slots -= 1;
            tally.free_slots -= 1;
            tally.cooling -= slot.cooling.count_ones();
        });
        Some(slot)
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;

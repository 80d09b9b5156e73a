//! Subnets: what their addresses are used for, exhaustion, and how long pods wait for one.
//!
//! A change of a subnet costs a handful of reads of its counts. Addresses in cooldown leave it by
//! the passing of time alone, so their ends are kept in a queue and looked at when asked.

use super::super::integral::Integral;
use super::super::outcome::{Series, SubnetSummary, SubnetTrack};
use super::super::series::SUBNET_USES;
use super::put_stats;
use crate::engine::View;
use crate::policy::vpc_cni::address_space::PREFIX_SIZE;
use crate::policy::vpc_cni::{AddressSpace, Holding};
use crate::units::{Id, IdVec, SimTime, Span};
use crate::world::cloud::LaunchFailure;
use crate::world::model::SubnetModel;
use crate::world::{Change, Model, PodId, World};
use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Network {
    subnets: IdVec<SubnetModel, State>,
    /// First and last address of each subnet, ascending.
    ranges: Vec<(u32, u32, Id<SubnetModel>)>,
    /// Subnets that are exhausted, since when at least one is, and for how long so far.
    exhausted: u32,
    since: SimTime,
    total: Span,
    /// First refusal of any subnet.
    first: Option<SimTime>,
    /// Addresses held for pods that no pod has.
    unused: Integral,
    /// Addresses given back, oldest first, and where they belong.
    released: VecDeque<(SimTime, Id<SubnetModel>)>,
    cooldown: Span,
    /// Since when the pod in a slot waits for an address.
    waiting: Vec<Option<SimTime>>,
    waits: Vec<f64>,
    launches_refused: u64,
    warm: SimTime,
}

#[derive(Clone, Debug, Default)]
struct State {
    tally: Option<Tally>,
    free_min: u32,
    cooling: u32,
    refused_at: Option<SimTime>,
    first: Option<SimTime>,
    total: Span,
}

/// What the usable addresses of a subnet are used for; they add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Uses {
    /// Bound to pods.
    pub(super) assigned: u32,
    /// Held by nodes for pods to come, usable at once.
    pub(super) warm: u32,
    /// Given back by pods and not yet usable.
    pub(super) cooling: u32,
    /// Own addresses of nodes and of their further interfaces.
    pub(super) nodes: u32,
    /// Held by anything else.
    pub(super) other: u32,
    /// Free, but in no wholly free /28.
    pub(super) fragmented: u32,
    /// In wholly free /28 blocks.
    pub(super) free: u32,
}

/// The same before addresses in cooldown are told from warm ones.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    assigned: u32,
    unused: u32,
    nodes: u32,
    other: u32,
    free: u32,
    fragmented: u32,
}

impl Tally {
    fn of(space: &AddressSpace, assigned: u32) -> Self {
        let held = space.count(Holding::Secondary) + space.count(Holding::Prefix);
        // A pod with an interface of its own is bound to that interface's address.
        let branches = space.count(Holding::Branch);
        let in_pools = assigned.min(held);
        let nodes = space.count(Holding::NodePrimary) + space.count(Holding::EniPrimary);
        let (usable, free) = (space.usable(), space.free());
        Self {
            assigned: in_pools + branches,
            unused: held - in_pools,
            nodes,
            other: usable - free - held - branches - nodes,
            free,
            fragmented: free - space.free_blocks() * PREFIX_SIZE,
        }
    }

    fn uses(self, cooling: u32) -> Uses {
        // A cooling address that its node gave back early is no longer there to cool.
        let cooling = cooling.min(self.unused);
        Uses {
            assigned: self.assigned,
            warm: self.unused - cooling,
            cooling,
            nodes: self.nodes,
            other: self.other,
            fragmented: self.fragmented,
            free: self.free - self.fragmented,
        }
    }
}

impl Network {
    pub(super) fn new(model: &Model, warm: SimTime) -> Self {
        let range = |(id, subnet): (Id<SubnetModel>, &SubnetModel)| {
            let (first, length) = subnet.network;
            (first, first | u32::MAX.checked_shr(u32::from(length)).unwrap_or(0), id)
        };
        let mut ranges: Vec<_> = model.subnets.iter().map(range).collect();
        ranges.sort_unstable();
        Self {
            subnets: model.subnets.iter().map(|_| State::default()).collect(),
            ranges,
            exhausted: 0,
            since: SimTime::ZERO,
            total: Span::ZERO,
            first: None,
            unused: Integral::new(warm),
            released: VecDeque::new(),
            cooldown: model.network.cni.ip_cooldown,
            waiting: Vec::new(),
            waits: Vec::new(),
            launches_refused: 0,
            warm,
        }
    }

    pub(super) fn observe(&mut self, now: SimTime, change: &Change, view: &View<'_>) {
        match *change {
            Change::SubnetExhausted(s) => self.refused(now, s),
            Change::SubnetChanged(s) => self.changed(now, s, view.world),
            Change::PodAddressRefused(p) => self.pod_refused(now, p, view.world),
            Change::PodAddressed(p) => self.wait_is_over(now, p),
            Change::PodStopped(p) => {
                self.released(now, p, view);
                self.wait_is_over(now, p);
            }
            Change::PodDeleted(p) => self.wait_is_over(now, p),
            Change::LaunchRefused(_, LaunchFailure::InsufficientFreeAddressesInSubnet) => {
                self.launches_refused += u64::from(now >= self.warm);
            }
            _ => {}
        }
    }

    /// What a subnet's addresses are used for at `at`.
    pub(super) fn uses(&mut self, id: Id<SubnetModel>, at: SimTime, world: &World) -> Uses {
        self.rest(at);
        let Some(row) = world.cloud.subnets.get(id) else { return Uses::default() };
        let state = &self.subnets[id];
        state.tally.unwrap_or_else(|| Tally::of(&row.space, row.assigned)).uses(state.cooling)
    }

    fn refused(&mut self, now: SimTime, subnet: Id<SubnetModel>) {
        self.first.get_or_insert(now);
        let state = &mut self.subnets[subnet];
        state.first.get_or_insert(now);
        if state.refused_at.is_none() {
            state.refused_at = Some(now);
            if self.exhausted == 0 {
                self.since = now;
            }
            self.exhausted += 1;
        }
    }

    fn changed(&mut self, now: SimTime, subnet: Id<SubnetModel>, world: &World) {
        let row = &world.cloud.subnets[subnet];
        let tally = Tally::of(&row.space, row.assigned);
        let state = &mut self.subnets[subnet];
        let before = state.tally.replace(tally);
        let taken = before.is_some_and(|before| tally.free < before.free);
        state.free_min = if before.is_some() { state.free_min.min(tally.free) } else { tally.free };
        let unused = before.map_or(0, |before| before.unused);
        if unused != tally.unused {
            self.unused.add(now, f64::from(tally.unused) - f64::from(unused));
        }
        if taken && let Some(since) = state.refused_at.take() {
            state.total += now.since(since.max(self.warm));
            self.exhausted -= 1;
            if self.exhausted == 0 {
                self.total += now.since(self.since.max(self.warm));
            }
        }
    }

    /// The address of a pod that has stopped cools down.
    fn released(&mut self, now: SimTime, pod: PodId, view: &View<'_>) {
        let Some(address) = view.world.machines.pod(pod).and_then(|m| m.address) else { return };
        let template = view.world.api.pods.get(pod).map(|p| &view.model.templates[p.template]);
        if template.is_some_and(|t| t.branch) {
            return; // its own interface goes; no pool gets the address
        }
        let after = self.ranges.partition_point(|(first, _, _)| *first <= address);
        let range = after.checked_sub(1).and_then(|at| self.ranges.get(at));
        if let Some(&(_, _, subnet)) = range.filter(|(_, last, _)| address <= *last) {
            self.rest(now);
            self.released.push_back((now, subnet));
            self.subnets[subnet].cooling += 1;
        }
    }

    /// Ends the cooldown of addresses whose time is over.
    fn rest(&mut self, now: SimTime) {
        while let Some(&(at, subnet)) = self.released.front() {
            if now.since(at) <= self.cooldown {
                return;
            }
            self.released.pop_front();
            self.subnets[subnet].cooling -= 1;
        }
    }

    fn pod_refused(&mut self, now: SimTime, pod: PodId, world: &World) {
        let counts = world.api.pods.get(pod).is_some_and(|p| p.created >= self.warm);
        let slot = pod.slot() as usize;
        if counts && self.waiting.len() <= slot {
            self.waiting.resize(slot + 1, None);
        }
        if counts {
            self.waiting[slot].get_or_insert(now);
        }
    }

    fn wait_is_over(&mut self, now: SimTime, pod: PodId) {
        let since = self.waiting.get_mut(pod.slot() as usize).and_then(Option::take);
        self.waits.extend(since.map(|since| now.since(since).secs_f64()));
    }

    pub(super) fn finish(
        &mut self,
        end: SimTime,
        world: &World,
        model: &Model,
        put: &mut impl FnMut(&str, f64),
    ) -> Vec<SubnetSummary> {
        if self.exhausted > 0 {
            self.total += end.since(self.since.max(self.warm));
        }
        let mut rows = Vec::new();
        for (id, subnet) in model.subnets.iter() {
            let uses = self.uses(id, end, world);
            let state = &self.subnets[id];
            let Some(row) = world.cloud.subnets.get(id) else { continue };
            let open = state.refused_at.map_or(Span::ZERO, |t| end.since(t.max(self.warm)));
            let free = row.space.free();
            rows.push(SubnetSummary {
                name: subnet.name.clone(),
                zone: model.zones[subnet.zone].clone(),
                cidr: subnet.cidr(),
                usable: row.space.usable(),
                free_end: free,
                free_min: if state.tally.is_some() { state.free_min } else { free },
                assigned_end: uses.assigned,
                warm_end: uses.warm + uses.cooling,
                refusals: row.refusals,
                first_exhausted: state.first,
                exhausted: state.total + open,
            });
        }
        let (_, unused_mean, unused_max) = self.unused.finish(end);
        put("ip_unused_mean", unused_mean);
        put("ip_unused_max", unused_max);
        put("ip_exhaustion_seconds", self.total.secs_f64());
        put("ip_first_exhaustion_seconds", self.first.map_or(f64::NAN, SimTime::secs_f64));
        put("ip_free_min", rows.iter().map(|r| r.free_min).min().map_or(f64::NAN, f64::from));
        put("launches_without_address", self.launches_refused as f64);
        let open = self.waiting.iter().flatten();
        self.waits.extend(open.map(|since| end.since(*since).secs_f64()));
        put_stats(put, "pod_address_wait_seconds", &mut self.waits);
        rows
    }
}

/// The record of each subnet, from its time series.
pub(super) fn tracks(subnets: &[SubnetSummary], series: &Series) -> Vec<SubnetTrack> {
    let line = |name: &str, subnet: &str| {
        let found = series.lines.iter().find(|l| l.name == name && l.object == subnet);
        found.map(|l| l.values.clone()).unwrap_or_default()
    };
    let track = |subnet: &SubnetSummary| SubnetTrack {
        name: subnet.name.clone(),
        zone: subnet.zone.clone(),
        cidr: subnet.cidr.clone(),
        usable: subnet.usable,
        step: series.step,
        uses: SUBNET_USES.map(|name| line(name, &subnet.name)),
    };
    subnets.iter().map(track).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::vpc_cni::Placement;

    #[test]
    fn uses_add_up_to_the_usable_addresses() {
        let mut space = AddressSpace::new("10.0.0.0/24".parse().unwrap()).unwrap();
        let place = &mut Placement::Sequential;
        let mut out = Vec::new();
        for (holding, count) in [
            (Holding::NodePrimary, 2),
            (Holding::Secondary, 18),
            (Holding::EniPrimary, 1),
            (Holding::Branch, 3),
            (Holding::NatGateway, 1),
            (Holding::ControlPlane, 2),
        ] {
            space.take(holding, count, place, &mut out).unwrap();
        }
        space.take_blocks(2, place, &mut out).unwrap();
        let tally = Tally::of(&space, 21);
        let uses = tally.uses(4);
        let want = Uses {
            assigned: 24,
            warm: 25,
            cooling: 4,
            nodes: 3,
            other: 3,
            fragmented: 1 + 15,
            free: 11 * 16,
        };
        assert_eq!(uses, want);
        let parts = [uses.assigned, uses.warm, uses.cooling, uses.nodes, uses.other];
        assert_eq!(parts.iter().sum::<u32>() + uses.fragmented + uses.free, 251);
        assert_eq!(tally.uses(99).cooling, 29, "no more cools than is held");
    }
}

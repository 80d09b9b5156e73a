//! What a pass of the pool loop does: grow, shrink, or remove an interface.
//!
//! Upstream: pkg/ipamd/ipamd.go (`updateIPPoolIfRequired`, `increaseDatastorePool`,
//! `tryAssignCidrs`, `tryAllocateENI`, `decreaseDatastorePool`, `tryFreeENI`). Differences: a
//! primary interface in a subnet tagged 0 gives its unused addresses back in a pass of its own.

use super::config::{CniConfig, EniLimits};
use super::decide::{removable, should_remove_extra_enis, surplus, target_state, too_low};
use super::pool::{Eni, EniId, Pool, Range};
use crate::units::SimTime;

/// The node as the pool loop sees it.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    /// Settings in effect on this node ([`CniConfig::on`]).
    pub config: &'a CniConfig,
    /// Limits of its type.
    pub limits: EniLimits,
    /// Pod capacity of the node object.
    pub max_pods: i64,
    /// Whether the type can carry a trunk interface.
    pub can_trunk: bool,
    /// Interfaces attached by others than the CNI.
    pub unmanaged_enis: u32,
    /// Carries the `node.kubernetes.io/unschedulable:NoSchedule` taint.
    pub unschedulable: bool,
    /// The daemon terminates.
    pub terminating: bool,
}

impl<'a> Node<'a> {
    /// A schedulable node without trunk or foreign interfaces.
    #[must_use]
    pub const fn new(config: &'a CniConfig, limits: EniLimits, max_pods: i64) -> Self {
        Self {
            config,
            limits,
            max_pods,
            can_trunk: false,
            unmanaged_enis: 0,
            unschedulable: false,
            terminating: false,
        }
    }
}

/// One thing to do with EC2.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Nothing.
    None,
    /// Assign `count` addresses or prefixes to an interface, all or none.
    FillEni {
        /// The interface; its own subnet is asked.
        eni: EniId,
        /// How many.
        count: u32,
    },
    /// Create and attach an interface with `count` addresses or prefixes, all or none. The subnets
    /// of [`subnets_to_try`](super::subnet_choice::subnets_to_try) are asked in turn; only when
    /// none of them gives has the action failed.
    AttachEni {
        /// How many, besides the interface's own address.
        count: u32,
    },
    /// Unassign ranges that serve no pod. [`Pool::free`] them first, then tell EC2.
    FreeRanges(Vec<(EniId, Range)>),
    /// Detach and delete an interface. [`Pool::remove`] it first, then tell EC2.
    RemoveEni(EniId),
}

/// Why EC2 did not carry an action out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// `InsufficientFreeAddressesInSubnet` or `InsufficientCidrBlocks`.
    Shortage,
    /// `PrivateIpAddressLimitExceeded`: read again, no back-off.
    LimitExceeded,
    /// `RequestLimitExceeded` or any other error: tried again in the next pass.
    Other,
}

impl Pool {
    /// What the pass at `now` does first. After a growth or shrink was carried out, the same pass
    /// may also remove the interface that [`Pool::extra_eni`] names.
    pub fn next_action(&mut self, node: &Node<'_>, now: SimTime) -> Action {
        if self.is_ipv6() {
            return Action::None;
        }
        self.rest(now);
        let main = match self.is_too_low(node) {
            true => self.growth(node, now),
            false => self.shrink(node.config, now),
        };
        if main != Action::None {
            return main;
        }
        self.extra_eni(node, now).map_or(Action::None, Action::RemoveEni)
    }

    /// Whether the pool holds less than its settings ask for.
    #[must_use]
    pub fn is_too_low(&self, node: &Node<'_>) -> bool {
        let stats = self.stats(node.config.prefix_delegation);
        let addresses = node.config.addresses_per_eni(node.limits);
        too_low(node.config, &stats, i64::from(addresses), node.max_pods)
    }

    /// Whether a pass, now or later, could do anything as long as no pod comes or goes: the pool
    /// is too low or too high, or an interface may be one too many. Cooldowns, ages and back-offs
    /// only put off what this announces.
    #[must_use]
    pub fn may_act(&self, node: &Node<'_>) -> bool {
        if self.is_ipv6() {
            return false;
        }
        let config = node.config;
        let stats = self.stats(config.prefix_delegation);
        let addresses = i64::from(config.addresses_per_eni(node.limits));
        if too_low(config, &stats, addresses, node.max_pods) || surplus(config, &stats) > 0 {
            return true;
        }
        let excluded = |eni: &Eni| eni.facts().excluded && eni.unused().next().is_some();
        let spare = |eni: &Eni| !eni.is_primary() && !eni.facts().trunk && eni.pods() == 0;
        let available = stats.available();
        // The interfaces are looked at only if that decides.
        let extra = |unused| should_remove_extra_enis(config, available, addresses, unused);
        self.has_excluded() && self.enis().iter().any(excluded)
            || self.enis().len() > 1
                && (extra(false) || extra(true) && self.enis().iter().any(spare))
    }

    /// Whether growth is refused at `now` because EC2 had no addresses a short while ago.
    #[must_use]
    pub fn backs_off(&self, config: &CniConfig, now: SimTime) -> bool {
        self.last_shortage.is_some_and(|at| now.since(at) <= config.clocks.shortage_back_off)
    }

    /// What to try after `action` failed in the same pass; records a shortage.
    pub fn failed(
        &mut self,
        node: &Node<'_>,
        action: &Action,
        failure: Failure,
        now: SimTime,
    ) -> Action {
        match (action, failure) {
            (Action::FillEni { eni, count }, Failure::Shortage) if *count > 1 => {
                Action::FillEni { eni: *eni, count: 1 }
            }
            (Action::FillEni { eni, .. }, Failure::Shortage) if node.config.subnet_discovery => {
                self.fill(node, Some(*eni)).or_else(|| self.new_eni(node)).unwrap_or(Action::None)
            }
            (Action::FillEni { .. } | Action::AttachEni { .. }, Failure::Shortage) => {
                self.last_shortage = Some(now);
                Action::None
            }
            _ => Action::None,
        }
    }

    /// The interface that may be removed in this pass.
    #[must_use]
    pub fn extra_eni(&self, node: &Node<'_>, now: SimTime) -> Option<EniId> {
        let config = node.config;
        if self.enis().len() < 2 {
            return None;
        }
        let stats = self.stats(config.prefix_delegation);
        let addresses = i64::from(config.addresses_per_eni(node.limits));
        let unused =
            self.enis().iter().any(|e| !e.is_primary() && !e.facts().trunk && e.pods() == 0);
        if !should_remove_extra_enis(config, stats.available(), addresses, unused) {
            return None;
        }
        removable(config, &self.views(config, now)).first().map(|index| self.enis()[*index].id())
    }

    /// The growth step of a pool that is too low.
    fn growth(&self, node: &Node<'_>, now: SimTime) -> Action {
        let cordoned = node.unschedulable && !node.config.manage_enis_non_schedulable;
        if node.terminating || cordoned || self.backs_off(node.config, now) {
            return Action::None;
        }
        self.fill(node, None).or_else(|| self.new_eni(node)).unwrap_or(Action::None)
    }

    /// The first interface with a free slot, after `after` if that is given.
    fn fill(&self, node: &Node<'_>, after: Option<EniId>) -> Option<Action> {
        let slots = node.limits.slots();
        let candidate = |eni: &&Eni| {
            let facts = eni.facts();
            let unused_primary = eni.is_primary() && node.config.custom_networking;
            after.is_none_or(|after| eni.id() > after)
                && !(facts.trunk || facts.excluded || unused_primary)
                && eni.slots_used() < slots
        };
        let eni = self.enis().iter().find(candidate)?;
        let count = self.wanted(node).min(slots - eni.slots_used());
        (count > 0).then(|| Action::FillEni { eni: eni.id(), count })
    }

    fn new_eni(&self, node: &Node<'_>) -> Option<Action> {
        let enis = self.enis().iter().filter(|eni| !eni.facts().excluded).count() as u32;
        let trunk = self.enis().iter().any(|eni| eni.facts().trunk);
        let kept_for_trunk = u32::from(node.config.pod_eni && node.can_trunk && !trunk);
        let limit = node.config.eni_limit(node.limits);
        let room = limit.saturating_sub(node.unmanaged_enis).saturating_sub(kept_for_trunk);
        let count = self.wanted(node).min(node.limits.slots());
        (enis < room && node.limits.slots() > 0).then_some(Action::AttachEni { count })
    }

    /// Addresses or prefixes that a growth step asks for, the interface's limit apart.
    fn wanted(&self, node: &Node<'_>) -> u32 {
        let config = node.config;
        let stats = self.stats(config.prefix_delegation);
        let short = target_state(config, &stats).map(|state| state.short);
        let wanted = match (short, config.prefix_delegation) {
            (Some(short), false) => short,
            (None, false) => i64::from(node.limits.slots()),
            (Some(short), true) => short.max(1),
            (None, true) => (i64::from(config.warm_prefix_target) - stats.free_prefixes).max(1),
        };
        u32::try_from(wanted.max(0)).unwrap_or(u32::MAX)
    }

    /// The shrink step of a pool that is not too low.
    fn shrink(&self, config: &CniConfig, now: SimTime) -> Action {
        let excluded = self.enis().iter().filter(|eni| eni.facts().excluded);
        let unusable = excluded.flat_map(|e| e.unused().map(|range| (e.id(), range)));
        let unusable = unusable.collect::<Vec<_>>();
        if !unusable.is_empty() {
            return Action::FreeRanges(unusable);
        }
        let resting = |at| now.since(at) <= config.clocks.shrink_interval;
        let surplus = surplus(config, &self.stats(config.prefix_delegation));
        if surplus <= 0 || self.last_shrink.is_some_and(resting) {
            return Action::None;
        }
        let serving = self.enis().iter().filter(|eni| !eni.facts().excluded);
        let ranges = serving.flat_map(|eni| eni.unused().map(|range| (eni.id(), range)));
        let ranges = ranges.filter(|(_, range)| range.prefix == config.prefix_delegation);
        let ranges =
            ranges.take(usize::try_from(surplus).unwrap_or(usize::MAX)).collect::<Vec<_>>();
        if ranges.is_empty() { Action::None } else { Action::FreeRanges(ranges) }
    }
}

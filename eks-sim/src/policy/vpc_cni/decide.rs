//! The pool's decisions as arithmetic on counts.
//!
//! Upstream: pkg/ipamd/ipamd.go (`datastoreTargetState`, `isDatastorePoolTooLow`,
//! `isDatastorePoolTooHigh`, `shouldRemoveExtraENIs`, `hasRoomForEni`) and
//! pkg/ipamd/datastore/data_store.go (`getDeletableENI`). Differences: none known.

use super::address_space::PREFIX_SIZE;
use super::config::CniConfig;

/// Counts of one pool. Addresses that cool down count as available, as upstream has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Addresses held for pods.
    pub total: i64,
    /// Of these, given to pods.
    pub assigned: i64,
    /// Of these, given back and not yet usable again.
    pub cooling: i64,
    /// Prefixes held.
    pub prefixes: i64,
    /// Prefixes of which no address is given to a pod.
    pub free_prefixes: i64,
}

impl Stats {
    /// Addresses not given to pods, those that cool down included.
    #[must_use]
    pub const fn available(&self) -> i64 {
        self.total.saturating_sub(self.assigned)
    }
}

/// Distance from WARM_IP_TARGET and MINIMUM_IP_TARGET, in addresses or in prefixes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetState {
    /// What the pool lacks.
    pub short: i64,
    /// What the pool has too much of.
    pub over: i64,
}

/// `x / y` rounded up; 0 for a `y` of 0.
#[must_use]
pub const fn div_ceil(x: i64, y: i64) -> i64 {
    if y == 0 { 0 } else { x.saturating_add(y).saturating_sub(1).wrapping_div(y) }
}

/// How far the pool is from its targets; `None` when none is set.
#[must_use]
pub fn target_state(config: &CniConfig, stats: &Stats) -> Option<TargetState> {
    if !config.targets_defined() {
        return None;
    }
    let (warm, minimum) = (i64::from(config.warm_ip_target), i64::from(config.minimum_ip_target));
    let available = stats.available();
    let short = warm.saturating_sub(available).max(0).max(minimum.saturating_sub(stats.total));
    if !config.prefix_delegation {
        let over = available.saturating_sub(warm).max(0);
        let over = over.min(stats.total.saturating_sub(minimum)).max(0);
        return Some(TargetState { short, over });
    }
    let size = i64::from(PREFIX_SIZE);
    let needed = div_ceil(stats.assigned.saturating_add(warm), size);
    let over = stats.free_prefixes.min(stats.prefixes.saturating_sub(needed)).max(0);
    let over = over.min(stats.prefixes.saturating_sub(div_ceil(minimum, size))).max(0);
    Some(TargetState { short: div_ceil(short, size), over })
}

/// Whether the pool has to grow. `addresses_per_eni` is P, `max_pods` the node's pod capacity.
#[must_use]
pub fn too_low(config: &CniConfig, stats: &Stats, addresses_per_eni: i64, max_pods: i64) -> bool {
    if stats.total >= max_pods {
        return false;
    }
    if let Some(state) = target_state(config, stats) {
        return state.short > 0;
    }
    let (unit, warm) = if config.prefix_delegation {
        (i64::from(PREFIX_SIZE), i64::from(config.warm_prefix_target))
    } else {
        (addresses_per_eni, i64::from(config.warm_eni_target))
    };
    let available = stats.available();
    available < unit.saturating_mul(warm) || (warm == 0 && available == 0)
}

/// How many addresses or prefixes are too many; 0 when none can be returned singly.
#[must_use]
pub fn surplus(config: &CniConfig, stats: &Stats) -> i64 {
    match target_state(config, stats) {
        Some(state) => state.over,
        None if config.prefix_delegation => {
            stats.free_prefixes.saturating_sub(i64::from(config.warm_prefix_target)).max(0)
        }
        None => 0,
    }
}

/// Whether a pass looks for an interface to remove. `unused_eni` tells whether a secondary
/// interface serves no pod.
#[must_use]
pub fn should_remove_extra_enis(
    config: &CniConfig,
    available: i64,
    addresses_per_eni: i64,
    unused_eni: bool,
) -> bool {
    let warm =
        if config.prefix_delegation { config.warm_prefix_target } else { config.warm_eni_target };
    config.targets_defined()
        || available >= (i64::from(warm) + 1).saturating_mul(addresses_per_eni)
        || (config.prefix_delegation && unused_eni)
}

/// One interface as the search for a removable one sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EniView {
    /// The instance's first interface.
    pub primary: bool,
    /// The trunk of branch interfaces.
    pub trunk: bool,
    /// An Elastic Fabric Adapter.
    pub efa: bool,
    /// Older than the minimum age.
    pub aged: bool,
    /// Some address cools down.
    pub cooling: bool,
    /// Pod addresses it holds.
    pub addresses: i64,
    /// Pod addresses in use.
    pub assigned: i64,
    /// Prefixes of which no address is in use.
    pub free_prefixes: i64,
}

/// Positions of the interfaces that may go, each judged as if it alone went.
#[must_use]
pub fn removable(config: &CniConfig, enis: &[EniView]) -> Vec<usize> {
    let sum = |part: fn(&EniView) -> i64| enis.iter().map(part).fold(0i64, i64::saturating_add);
    let free_of = |eni: &EniView| eni.addresses.saturating_sub(eni.assigned);
    let (held, free) = (sum(|e| e.addresses), sum(|e| e.addresses.saturating_sub(e.assigned)));
    let free_prefixes = sum(|e| e.free_prefixes);
    let rounded = |target: u32| {
        let target = i64::from(target);
        let size = i64::from(PREFIX_SIZE);
        if config.prefix_delegation { div_ceil(target, size) * size } else { target }
    };
    let (warm, minimum) = (rounded(config.warm_ip_target), rounded(config.minimum_ip_target));
    let warm_prefixes = i64::from(config.warm_prefix_target);
    let may_go = |eni: &EniView| {
        let enough = free.saturating_sub(free_of(eni)) >= warm
            && held.saturating_sub(eni.addresses) >= minimum
            && (!config.prefix_delegation
                || free_prefixes.saturating_sub(eni.free_prefixes) >= warm_prefixes);
        let idle = eni.aged && !eni.cooling && eni.assigned == 0;
        enough && idle && !(eni.primary || eni.trunk || eni.efa)
    };
    (0..enis.len()).filter(|index| may_go(&enis[*index])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_half_used_prefixes_satisfy_a_warm_prefix() {
        let config = CniConfig { prefix_delegation: true, ..CniConfig::default() };
        let stats = Stats { total: 48, assigned: 28, prefixes: 3, ..Stats::default() };
        assert!(!too_low(&config, &stats, 144, 110));
        assert!(too_low(&config, &Stats { assigned: 33, ..stats }, 144, 110));
    }

    #[test]
    fn a_minimum_alone_stops_growing_there() {
        let config = CniConfig { minimum_ip_target: 10, ..CniConfig::default() };
        let full = Stats { total: 10, assigned: 10, ..Stats::default() };
        assert_eq!(target_state(&config, &full), Some(TargetState { short: 0, over: 0 }));
        assert_eq!(surplus(&CniConfig::default(), &Stats { total: 99, ..full }), 0);
    }
}

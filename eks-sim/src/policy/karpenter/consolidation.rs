//! Consolidation: what a simulated removal of nodes leads to.
//!
//! Upstream: karpenter pkg/controllers/disruption (consolidation.go, multinodeconsolidation.go,
//! types.go, helpers.go) and pkg/utils/disruption. Differences: time-outs of the search are
//! the caller's.

use super::offerings::{
    CapacityType, OfferingFilter, PricedType, order_by_price, worst_launch_price,
};
use crate::units::{SimTime, Span};

/// Cheaper types needed for a spot node to be replaced by a spot node.
pub const MIN_TYPES_FOR_SPOT_TO_SPOT: usize = 15;
/// Candidates a multi-node window goes beyond its first.
pub const MAX_PARALLEL: usize = 100;
/// Time between a decision and its validation.
pub const VALIDATION_DELAY: Span = Span::from_secs(15);

/// Cost of evicting a pod.
#[must_use]
pub fn eviction_cost(pod_deletion_cost: Option<&str>, priority: Option<i32>) -> f64 {
    let deletion = pod_deletion_cost.and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    let priority = f64::from(priority.unwrap_or(0));
    (1.0 + deletion / f64::from(1 << 27) + priority / f64::from(1 << 25)).clamp(-10.0, 10.0)
}

/// Cost of moving all pods of a node: one for the node, and no credit for pods below zero.
#[must_use]
pub fn reschedule_cost(eviction_costs: impl IntoIterator<Item = f64>) -> f64 {
    1.0 + eviction_costs.into_iter().map(|cost| cost.max(0.0)).sum::<f64>()
}

/// Whether a node of this reschedule cost counts as empty.
#[must_use]
pub fn is_empty(reschedule_cost: f64) -> bool {
    reschedule_cost <= 1.0
}

/// Sort key of v1.14: more is better.
#[must_use]
pub fn savings_per_disruption(price: f64, reschedule_cost: f64) -> f64 {
    price / reschedule_cost
}

/// Sort key of v1.13 and older: less is better.
#[must_use]
pub fn disruption_cost(eviction_costs: f64, lifetime_left: f64) -> f64 {
    eviction_costs * lifetime_left
}

/// Share of its life that a node has left; 1 without an end.
#[must_use]
pub fn lifetime_left(age: Span, expire_after: Option<Span>) -> f64 {
    match expire_after {
        Some(life) if !life.is_zero() => life.saturating_sub(age).secs_f64() / life.secs_f64(),
        Some(_) => 0.0,
        None => 1.0,
    }
}

/// Positions of candidates (price, reschedule cost), best first, ties in input order.
#[must_use]
pub fn candidate_order(candidates: &[(f64, f64)]) -> Vec<usize> {
    let key = |&(price, cost): &(f64, f64)| savings_per_disruption(price, cost);
    let keys: Vec<f64> = candidates.iter().map(key).collect();
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by(|&a, &b| keys[b].total_cmp(&keys[a]));
    order
}

/// What the Consolidatable condition depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idleness {
    /// `consolidateAfter`; none is Never.
    pub consolidate_after: Option<Span>,
    /// When the node was initialised, if it is.
    pub initialized: Option<SimTime>,
    /// Last pod added or removed.
    pub last_pod_event: Option<SimTime>,
}

impl Idleness {
    /// When the node becomes consolidatable if no pod comes or goes.
    #[must_use]
    pub fn consolidatable_at(&self) -> Option<SimTime> {
        let after = self.consolidate_after?;
        let initialized = self.initialized?;
        Some(self.last_pod_event.unwrap_or(initialized) + after)
    }
    /// Whether it is at `now`.
    #[must_use]
    pub fn is_consolidatable(&self, now: SimTime) -> bool {
        self.consolidatable_at().is_some_and(|at| at <= now)
    }
}

/// Score of a move under the Balanced policy: share of the pool's cost saved over share of its
/// disruption; infinite for savings without disruption.
#[must_use]
pub fn balanced_score(
    savings: f64,
    disruption: f64,
    total_cost: f64,
    total_disruption: f64,
) -> f64 {
    if savings <= 0.0 || total_cost <= 0.0 {
        return 0.0;
    }
    if disruption <= 0.0 || total_disruption <= 0.0 {
        return f64::INFINITY;
    }
    (savings / total_cost) / (disruption / total_disruption)
}

/// Whether a score is good enough for tolerance `k` (2 as shipped).
#[must_use]
pub fn balanced_approves(score: f64, k: f64) -> bool {
    score >= 1.0 / k
}

/// A node that is to be removed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Removed<'a> {
    /// Instance type.
    pub instance_type: &'a str,
    /// Capacity type.
    pub capacity_type: CapacityType,
    /// Price of its offering; zero if unknown.
    pub price: f64,
}

/// The one NodeClaim a simulation needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Replacement<'a> {
    /// Capacity types, zones and `minValues`.
    pub filter: OfferingFilter,
    /// Instance types it could be.
    pub types: Vec<&'a PricedType>,
}

/// Outcome for a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Nothing, and why.
    Nothing(NothingReason),
    /// Delete the candidates.
    Delete,
    /// Launch a replacement first.
    Replace {
        /// Positions of the types that may be launched, cheapest first.
        types: Vec<usize>,
        /// Requirements of the launch.
        filter: OfferingFilter,
    },
}

/// Why nothing is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NothingReason {
    /// A pod would have no place.
    PodsUnschedulable,
    /// More than one new node.
    SeveralReplacements,
    /// No type is cheaper.
    NotCheaper,
    /// Spot to spot is switched off.
    SpotToSpotDisabled,
    /// Too few cheaper types for spot to spot.
    TooFewSpotTypes,
    /// A deletion of the others alone would do as well.
    SameTypeNotCheaper,
    /// The Balanced policy finds the savings too small for the disruption.
    NotBalanced,
}

impl NothingReason {
    /// A phrase for explanations.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::PodsUnschedulable => "not all pods would schedule",
            Self::SeveralReplacements => "can't remove without creating several nodes",
            Self::NotCheaper => "can't replace with a cheaper node",
            Self::SpotToSpotDisabled => {
                "SpotToSpotConsolidation is disabled, can't replace a spot node with a spot node"
            }
            Self::TooFewSpotTypes => {
                "SpotToSpotConsolidation requires 15 cheaper instance type options than the current"
            }
            Self::SameTypeNotCheaper => "deleting fewer of the nodes is as good",
            Self::NotBalanced => "the savings are too small for the disruption (Balanced)",
        }
    }
}

/// Result of a simulation, as far as the price rule needs it.
#[derive(Clone, Debug, PartialEq)]
pub enum Simulated<'a> {
    /// Some pod fits nowhere.
    Unschedulable,
    /// All pods fit on nodes that exist.
    NoNewNode,
    /// One new node.
    One(Replacement<'a>),
    /// More.
    Several,
}

/// Decides on the removal of `candidates` after its simulation.
#[must_use]
pub fn decide(
    candidates: &[Removed<'_>],
    simulated: &Simulated<'_>,
    spot_to_spot: bool,
) -> Decision {
    let replacement = match simulated {
        Simulated::Unschedulable => return Decision::Nothing(NothingReason::PodsUnschedulable),
        Simulated::NoNewNode => return Decision::Delete,
        Simulated::Several => return Decision::Nothing(NothingReason::SeveralReplacements),
        Simulated::One(replacement) => replacement,
    };
    let price: f64 = candidates.iter().map(|c| c.price).sum();
    let all_spot = candidates.iter().all(|c| c.capacity_type == CapacityType::Spot);
    let filter = &replacement.filter;
    let allows_spot = filter.allows(CapacityType::Spot);
    if all_spot && allows_spot {
        if !spot_to_spot {
            return Decision::Nothing(NothingReason::SpotToSpotDisabled);
        }
        return spot_to_spot_decision(candidates, replacement, price);
    }
    let kept = cheaper(replacement, filter, price);
    let pin = allows_spot && filter.allows(CapacityType::OnDemand);
    let launch = if pin { filter.pinned(CapacityType::Spot) } else { filter.clone() };
    finish(candidates, replacement, kept, launch)
}

fn spot_to_spot_decision(
    candidates: &[Removed<'_>],
    replacement: &Replacement<'_>,
    price: f64,
) -> Decision {
    let filter = replacement.filter.pinned(CapacityType::Spot);
    let mut kept = cheaper(replacement, &filter, price);
    if candidates.len() == 1 && !kept.is_empty() {
        if kept.len() < MIN_TYPES_FOR_SPOT_TO_SPOT {
            return Decision::Nothing(NothingReason::TooFewSpotTypes);
        }
        let needed = filter.min_instance_types.unwrap_or(0);
        kept.truncate(MIN_TYPES_FOR_SPOT_TO_SPOT.max(needed));
    }
    finish(candidates, replacement, kept, filter)
}

/// Types whose launch price is below `price`, cheapest first; none if `minValues` fails.
fn cheaper(replacement: &Replacement<'_>, filter: &OfferingFilter, price: f64) -> Vec<usize> {
    let kept: Vec<usize> = order_by_price(&replacement.types, filter)
        .into_iter()
        .filter(|&i| worst_launch_price(replacement.types[i], filter).is_some_and(|p| p < price))
        .collect();
    let enough = filter.min_instance_types.is_none_or(|needed| kept.len() >= needed);
    if enough { kept } else { Vec::new() }
}

fn finish(
    candidates: &[Removed<'_>],
    replacement: &Replacement<'_>,
    mut kept: Vec<usize>,
    filter: OfferingFilter,
) -> Decision {
    if kept.is_empty() {
        return Decision::Nothing(NothingReason::NotCheaper);
    }
    if candidates.len() > 1 {
        let limit = kept
            .iter()
            .flat_map(|&i| {
                let name = &replacement.types[i].name;
                candidates.iter().filter(move |c| c.instance_type == name.as_str()).map(|c| c.price)
            })
            .min_by(f64::total_cmp);
        if let Some(limit) = limit {
            kept.retain(|&i| {
                worst_launch_price(replacement.types[i], &filter).is_some_and(|p| p < limit)
            });
            let needed = filter.min_instance_types.unwrap_or(1).max(1);
            if kept.len() < needed {
                return Decision::Nothing(NothingReason::SameTypeNotCheaper);
            }
        }
    }
    Decision::Replace { types: kept, filter }
}

/// Binary search for the largest window of sorted candidates that works. `works` simulates the
/// first n candidates; the result is the window carried out, zero for none.
pub fn multi_node_search(candidates: usize, mut works: impl FnMut(usize) -> bool) -> usize {
    if candidates < 2 {
        return 0;
    }
    let (mut min, mut max) = (1, (candidates - 1).min(MAX_PARALLEL));
    let mut best = 0;
    while min <= max {
        let mid = usize::midpoint(min, max);
        if works(mid + 1) {
            best = mid + 1;
            min = mid + 1;
        } else {
            max = mid - 1;
        }
    }
    best
}

/// Order in which single-node consolidation tries candidates: NodePools take turns, those not
/// reached last time first. `candidates` are pool numbers in sorted order.
#[must_use]
pub fn interleave(candidates: &[usize], unreached: &[usize]) -> Vec<usize> {
    let mut queues: Vec<(usize, Vec<usize>)> = Vec::new();
    for (i, &pool) in candidates.iter().enumerate() {
        match queues.iter_mut().find(|(p, _)| *p == pool) {
            Some((_, list)) => list.push(i),
            None => queues.push((pool, vec![i])),
        }
    }
    queues.sort_by_key(|(pool, _)| !unreached.contains(pool));
    let longest = queues.iter().map(|(_, list)| list.len()).max().unwrap_or(0);
    let turns = 0..longest;
    turns
        .flat_map(|turn| queues.iter().filter_map(move |(_, list)| list.get(turn)))
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::offerings::Offering;
    use super::*;

    fn offering(capacity_type: CapacityType, price: f64) -> Offering {
        Offering { capacity_type, zone: "a".into(), price, available: true }
    }

    #[test]
    fn one_cheaper_spot_type_is_not_enough() {
        let removed = [Removed {
            instance_type: "m5.xlarge",
            capacity_type: CapacityType::Spot,
            price: 0.06,
        }];
        let large = PricedType {
            name: "m5.large".into(),
            offerings: vec![offering(CapacityType::Spot, 0.035)],
        };
        let types = vec![&large];
        let one = Simulated::One(Replacement { filter: OfferingFilter::default(), types });
        let off = Decision::Nothing(NothingReason::SpotToSpotDisabled);
        assert_eq!(decide(&removed, &one, false), off);
        let few = Decision::Nothing(NothingReason::TooFewSpotTypes);
        assert_eq!(decide(&removed, &one, true), few);
    }

    #[test]
    fn balanced_design_example() {
        let (cost, disruption) = (8.0 * 4.84 + 2.0 * 9.68, 90.0);
        let approve =
            |saved, moved| balanced_approves(balanced_score(saved, moved, cost, disruption), 2.0);
        assert!(approve(9.68 - 2.42, 4.0));
        assert!(approve(4.84, 5.0));
        assert!(!approve(4.84 - 2.42, 9.0));
    }

    #[test]
    fn pools_take_turns() {
        assert_eq!(interleave(&[0, 0, 1, 0, 1], &[1]), [2, 0, 4, 1, 3]);
    }
}

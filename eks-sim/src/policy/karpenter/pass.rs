//! One pass of consolidation over sorted candidates: emptiness, several nodes, single nodes.
//!
//! Upstream: karpenter pkg/controllers/disruption/{emptiness,multinodeconsolidation,
//! singlenodeconsolidation,balanced}.go. Differences: the time limits of the two searches are a
//! number of simulations that the caller gives; the replacement's price in the Balanced score
//! is the launch price of its cheapest type.

use super::consolidation::{
    Decision, NothingReason, Removed, Simulated, balanced_approves, balanced_score,
    candidate_order, decide, disruption_cost, interleave, is_empty, multi_node_search,
};
use super::disruption::{ConsolidationPolicy, homeless, simulated, within_budgets};
use super::offerings::{CapacityType, worst_launch_price};
use super::options::CandidateOrder;
use super::solve::{Brief, Catalog, NewClaim, Pending, Solution, Solver};

/// Tolerance of the Balanced policy as shipped.
pub const BALANCED_TOLERANCE: f64 = 2.0;

/// A node that consolidation may remove.
#[derive(Clone, Debug)]
pub struct PassCandidate<'a> {
    /// Position among the solver's nodes.
    pub node: usize,
    /// Position of its NodePool.
    pub pool: usize,
    /// Type, capacity type and price.
    pub removed: Removed<'a>,
    /// Cost of moving its pods.
    pub reschedule_cost: f64,
    /// Sum of the eviction costs of its pods times the share of its life that is left: what
    /// v1.13 and older sort by.
    pub disruption_cost: f64,
    /// Its reschedulable pods.
    pub pods: &'a [Pending<'a>],
}

/// What a pass reads besides candidates.
#[derive(Clone, Copy, Debug)]
pub struct PassInput<'a> {
    /// Instance types.
    pub catalog: &'a Catalog,
    /// Pods that wait already.
    pub pending: &'a [Pending<'a>],
    /// By node of the solver: initialised.
    pub initialized: &'a [bool],
    /// By NodePool: policy.
    pub policies: &'a [ConsolidationPolicy],
    /// By NodePool: price of all its nodes and reschedule cost of all its nodes.
    pub totals: &'a [(f64, f64)],
    /// Gate SpotToSpotConsolidation.
    pub spot_to_spot: bool,
    /// How candidates are sorted.
    pub order: CandidateOrder,
    /// NodePools that the last single-node pass did not reach.
    pub unreached: &'a [usize],
    /// Simulations that single-node consolidation may run.
    pub max_simulations: usize,
}

/// A disruption that was decided; to be validated after 15 s.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Positions of the candidates.
    pub candidates: Vec<usize>,
    /// What is done.
    pub decision: Decision,
    /// Types of the replacement, in the catalogue, cheapest first.
    pub replacement: Vec<usize>,
    /// The NodeClaim that the simulation opened for it.
    pub claim: Option<NewClaim>,
}

/// Why a removal is not done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Refusal {
    /// The rule.
    pub why: NothingReason,
    /// A pod of the candidates without a place: its position among their pods.
    pub pod: Option<usize>,
    /// What the candidates cost now.
    pub price: f64,
    /// The replacement with the lowest launch price: its row and that price.
    pub cheapest: Option<(usize, f64)>,
}

/// Empty candidates within budget, as one deletion.
#[must_use]
pub fn emptiness(candidates: &[PassCandidate<'_>], allowed: &mut [i64]) -> Option<Command> {
    let empty: Vec<usize> =
        (0..candidates.len()).filter(|&i| is_empty(candidates[i].reschedule_cost)).collect();
    let pools: Vec<usize> = empty.iter().map(|&i| candidates[i].pool).collect();
    let kept = within_budgets(&pools, allowed);
    let candidates: Vec<usize> = kept.into_iter().map(|i| empty[i]).collect();
    (!candidates.is_empty()).then_some(Command {
        candidates,
        decision: Decision::Delete,
        replacement: Vec::new(),
        claim: None,
    })
}

/// Several nodes at once, else one: the first command that works. `allowed` are the NodePools'
/// budgets for underutilised nodes.
pub fn consolidate(
    input: &PassInput<'_>,
    candidates: &[PassCandidate<'_>],
    allowed: &[i64],
    solver: &mut Solver<'_>,
) -> Option<Command> {
    multi_node(input, candidates, allowed, solver)
        .or_else(|| single_node(input, candidates, allowed, solver, &mut |_, _| {}))
}

/// Candidates in the order in which they are tried.
fn sorted(input: &PassInput<'_>, candidates: &[PassCandidate<'_>]) -> Vec<usize> {
    match input.order {
        CandidateOrder::SavingsPerDisruption => {
            let costs: Vec<(f64, f64)> =
                candidates.iter().map(|c| (c.removed.price, c.reschedule_cost)).collect();
            candidate_order(&costs)
        }
        CandidateOrder::DisruptionCost => {
            let key = |i: &usize| disruption_cost(candidates[*i].disruption_cost, 1.0);
            let mut order: Vec<usize> = (0..candidates.len()).collect();
            order.sort_by(|a, b| key(a).total_cmp(&key(b)));
            order
        }
    }
}

/// The largest window of candidates that can go at once.
pub fn multi_node(
    input: &PassInput<'_>,
    candidates: &[PassCandidate<'_>],
    allowed: &[i64],
    solver: &mut Solver<'_>,
) -> Option<Command> {
    let order = sorted(input, candidates);
    let pools: Vec<usize> = order.iter().map(|&i| candidates[i].pool).collect();
    let cut = within_budgets(&pools, &mut allowed.to_vec());
    let window: Vec<usize> = cut.into_iter().map(|i| order[i]).collect();
    let mut best = None;
    multi_node_search(window.len(), |count| {
        let chosen = &window[..count];
        let (pods, nodes) = moves(input, candidates, chosen);
        let brief = solver.brief(&pods, &nodes, input.pending.len());
        if refused_in_brief(input, candidates, chosen, brief).is_some() {
            return false;
        }
        let found = attempt(input, candidates, chosen, solver).ok();
        let works = found.is_some();
        if works {
            best = found;
        }
        works
    });
    best
}

/// The first candidate that can go alone; `refused` is told why the others cannot.
pub fn single_node(
    input: &PassInput<'_>,
    candidates: &[PassCandidate<'_>],
    allowed: &[i64],
    solver: &mut Solver<'_>,
    refused: &mut dyn FnMut(usize, Refusal),
) -> Option<Command> {
    let order = sorted(input, candidates);
    let pools: Vec<usize> = order.iter().map(|&i| candidates[i].pool).collect();
    let waiting = input.pending.len();
    let mut pods = input.pending.to_vec();
    solver.remember(input.pending);
    interleave(&pools, input.unreached)
        .into_iter()
        .map(|i| order[i])
        .filter(|&i| allowed.get(candidates[i].pool).is_some_and(|&left| left > 0))
        .take(input.max_simulations)
        .find_map(|i| {
            pods.truncate(waiting);
            pods.extend(candidates[i].pods);
            let brief = solver.brief_alone(&pods, candidates[i].node, waiting);
            let tried = match refused_in_brief(input, candidates, &[i], brief) {
                Some(refusal) => Err(refusal),
                None => attempt(input, candidates, &[i], solver),
            };
            tried.map_err(|why| refused(i, why)).ok()
        })
}

/// Pods of a round without the nodes of `chosen`, those that wait first, and these nodes.
fn moves<'a>(
    input: &PassInput<'a>,
    candidates: &[PassCandidate<'a>],
    chosen: &[usize],
) -> (Vec<Pending<'a>>, Vec<usize>) {
    let mut pods = input.pending.to_vec();
    pods.extend(chosen.iter().flat_map(|&i| candidates[i].pods.iter().copied()));
    (pods, chosen.iter().map(|&i| candidates[i].node).collect())
}

/// Why the removal of `chosen` is refused, as far as a round in brief tells: what [`attempt`]
/// would say. None if it must be looked at closer.
fn refused_in_brief(
    input: &PassInput<'_>,
    candidates: &[PassCandidate<'_>],
    chosen: &[usize],
    brief: Brief,
) -> Option<Refusal> {
    let removed = || chosen.iter().map(|&i| &candidates[i].removed);
    let price: f64 = removed().map(|r| r.price).sum();
    let refusal = |why, pod, cheapest| Some(Refusal { why, pod, price, cheapest });
    let (cheapest, spot) = match brief {
        Brief::NoNewNode => return None,
        Brief::Homeless(pod) => {
            return refusal(NothingReason::PodsUnschedulable, Some(pod), None);
        }
        Brief::Several => return refusal(NothingReason::SeveralReplacements, None, None),
        Brief::One { unsure: true, .. } => return None,
        Brief::One { cheapest, spot, .. } => (cheapest, spot),
    };
    if spot && removed().all(|r| r.capacity_type == CapacityType::Spot) {
        let off = NothingReason::SpotToSpotDisabled;
        return if input.spot_to_spot { None } else { refusal(off, None, cheapest) };
    }
    let cheaper = cheapest.is_some_and(|(_, least)| least < price);
    if cheaper { None } else { refusal(NothingReason::NotCheaper, None, cheapest) }
}

/// Simulates the removal of `chosen` and decides.
///
/// # Errors
/// Why nothing is done.
pub fn attempt(
    input: &PassInput<'_>,
    candidates: &[PassCandidate<'_>],
    chosen: &[usize],
    solver: &mut Solver<'_>,
) -> Result<Command, Refusal> {
    let waiting = input.pending.len();
    let (pods, nodes) = moves(input, candidates, chosen);
    let solution = solver.solve(&pods, &nodes);
    let moved: Vec<usize> = (waiting..pods.len()).collect();
    let initialized = |node: usize| input.initialized.get(node).copied().unwrap_or(false);
    let result = simulated(&solution, &moved, initialized, input.catalog);
    let removed: Vec<Removed<'_>> = chosen.iter().map(|&i| candidates[i].removed).collect();
    let decision = decide(&removed, &result, input.spot_to_spot);
    let price: f64 = removed.iter().map(|r| r.price).sum();
    let refusal = |why| Refusal {
        why,
        pod: homeless(&solution, &moved, initialized).map(|pod| pod - waiting),
        price,
        cheapest: cheapest(&solution, &result),
    };
    if let Decision::Nothing(why) = decision {
        return Err(refusal(why));
    }
    let new_price = replacement_price(&decision, &result);
    if !balanced(input, candidates, chosen, new_price) {
        return Err(refusal(NothingReason::NotBalanced));
    }
    let replacement = match (&decision, solution.claims.first()) {
        (Decision::Replace { types, .. }, Some(claim)) => {
            types.iter().map(|&i| claim.types[i]).collect()
        }
        _ => Vec::new(),
    };
    let claim = match decision {
        Decision::Replace { .. } => solution.claims.into_iter().next(),
        _ => None,
    };
    Ok(Command { candidates: chosen.to_vec(), decision, replacement, claim })
}

fn replacement_price(decision: &Decision, result: &Simulated<'_>) -> f64 {
    match (decision, result) {
        (Decision::Replace { types, filter }, Simulated::One(one)) => types
            .first()
            .and_then(|&i| worst_launch_price(one.types[i], filter))
            .unwrap_or(f64::INFINITY),
        _ => 0.0,
    }
}

/// The replacement with the lowest launch price, by its row in the catalogue.
fn cheapest(solution: &Solution, result: &Simulated<'_>) -> Option<(usize, f64)> {
    let Simulated::One(one) = result else { return None };
    let rows = &solution.claims.first()?.types;
    let priced = one.types.iter().zip(rows);
    let launched = priced.filter_map(|(t, &row)| Some((row, worst_launch_price(t, &one.filter)?)));
    launched.min_by(|a, b| a.1.total_cmp(&b.1))
}

/// Whether every Balanced NodePool of the move approves its share.
fn balanced(
    input: &PassInput<'_>,
    candidates: &[PassCandidate<'_>],
    chosen: &[usize],
    replacement: f64,
) -> bool {
    let price = |pool: Option<usize>| -> f64 {
        let of = chosen.iter().map(|&i| &candidates[i]);
        of.filter(|c| pool.is_none_or(|p| c.pool == p)).map(|c| c.removed.price).sum()
    };
    let total = price(None);
    let savings = total - replacement;
    (0..input.policies.len())
        .filter(|&pool| input.policies[pool] == ConsolidationPolicy::Balanced)
        .filter(|&pool| chosen.iter().any(|&i| candidates[i].pool == pool))
        .all(|pool| {
            let share = if total > 0.0 { savings * price(Some(pool)) / total } else { 0.0 };
            let of = chosen.iter().map(|&i| &candidates[i]).filter(|c| c.pool == pool);
            let disruption: f64 = of.map(|c| c.reschedule_cost).sum();
            let (cost, all) = input.totals.get(pool).copied().unwrap_or((0.0, 0.0));
            balanced_approves(balanced_score(share, disruption, cost, all), BALANCED_TOLERANCE)
        })
}

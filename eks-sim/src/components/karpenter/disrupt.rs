//! The disruption loop: emptiness, drift, several nodes, single nodes; validation.

use super::command::{Command, Plan};
use super::kept::Kept;
use super::state::{ClaimId, Ending};
use super::{Event, Karpenter, wake};
use crate::engine::Cx;
use crate::policy::karpenter::budgets::{PoolNodes, Reason, allowed_disruptions};
use crate::policy::karpenter::consolidation::{
    Decision, Idleness, Removed, VALIDATION_DELAY, is_empty, lifetime_left,
};
use crate::policy::karpenter::disruption::{
    ConsolidationPolicy, NodeFacts, NotACandidate, candidate,
};
use crate::policy::karpenter::offerings::CapacityType;
use crate::policy::karpenter::pass::{
    Command as Found, PassCandidate, PassInput, attempt, emptiness, multi_node, single_node,
};
use crate::policy::karpenter::requirements::{CAPACITY_TYPE, Requirement};
use crate::policy::karpenter::solve::{Pending, Solver};
use crate::policy::workloads::Budget;
use crate::units::{Id, SimTime, Span};
use crate::world::NodeCondition;
use crate::world::model::BudgetModel;

/// How a decision is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Method {
    Emptiness,
    StaticDrift,
    Drift,
    MultiNode,
    SingleNode,
}

impl Method {
    const ALL: [Self; 5] =
        [Self::Emptiness, Self::StaticDrift, Self::Drift, Self::MultiNode, Self::SingleNode];
    const fn reason(self) -> Reason {
        match self {
            Self::Emptiness => Reason::Empty,
            Self::StaticDrift | Self::Drift => Reason::Drifted,
            Self::MultiNode | Self::SingleNode => Reason::Underutilized,
        }
    }
}

/// A decision that waits for its validation.
#[derive(Clone, Debug)]
struct Proposal {
    method: Method,
    claims: Vec<ClaimId>,
    decision: Decision,
    replacement: Vec<usize>,
}

/// State of the loop.
#[derive(Clone, Debug, Default)]
pub(super) struct Loop {
    /// Something changed since the last look that found nothing.
    changed: bool,
    /// Last look that found nothing.
    fruitless: SimTime,
    proposal: Option<Proposal>,
    pub(super) commands: Vec<Command>,
    pub(super) started: u32,
}

impl Loop {
    /// The cluster changed: consolidation looks again.
    pub(super) fn touch(&mut self) {
        self.changed = true;
    }
}

/// Consolidation looks at an unchanged cluster again after this time.
const FORGET_AFTER: Span = Span::from_secs(300);
/// Simulations of one single-node pass; stands for upstream's limit of three minutes.
const MAX_SIMULATIONS: usize = 10_000;

/// A candidate with what the pass needs.
pub(super) struct Ready {
    pub(super) id: ClaimId,
    row: usize,
    kind: CapacityType,
    price: f64,
    eviction_costs: f64,
    pub(super) reschedule_cost: f64,
    lifetime_left: f64,
}

impl Karpenter {
    pub(super) fn poll(&mut self, cx: &mut Cx<'_>) {
        if self.disruption.proposal.is_some() {
            return;
        }
        let settings = &cx.model().settings.karpenter;
        let (poll, repeat) = (settings.disruption_poll, settings.disruption_repeat);
        if !cx.cloud().api_available() || !self.is_synced() {
            cx.after(repeat, wake(Event::Poll));
            return;
        }
        if self.is_due(cx) {
            self.look(&Method::ALL, cx);
        } else if self.has_drift() {
            self.look(&[Method::StaticDrift, Method::Drift], cx);
        } else {
            cx.after(poll, wake(Event::Poll));
        }
    }

    /// Whether a look could find something that the last one did not.
    fn is_due(&self, cx: &Cx<'_>) -> bool {
        let since = self.disruption.fruitless;
        let now = cx.now();
        self.disruption.changed
            || since + FORGET_AFTER <= now
            || self.live.iter().any(|&c| {
                let at = self.idleness(c).consolidatable_at();
                at.is_some_and(|at| since < at && at <= now)
            })
    }

    /// Tries methods in order; what is found waits for its validation.
    fn look(&mut self, methods: &[Method], cx: &mut Cx<'_>) {
        self.disruption.changed = false;
        self.renew_offerings(cx);
        for &method in methods {
            let drifted = match method {
                Method::StaticDrift => self.static_drift(cx),
                Method::Drift => self.drift(cx),
                _ => None,
            };
            // Drift is acted on without validation.
            if let Some((claims, plans)) = drifted {
                self.start_command(claims, Ending::Drifted, plans, cx);
                self.disruption.changed = true;
                cx.after(cx.model().settings.karpenter.disruption_repeat, wake(Event::Poll));
                return;
            }
            if let Some(proposal) = self.find(method, cx) {
                self.disruption.proposal = Some(proposal);
                cx.after(VALIDATION_DELAY, wake(Event::Validate));
                return;
            }
        }
        if methods.contains(&Method::SingleNode) {
            self.disruption.fruitless = cx.now();
        }
        cx.after(cx.model().settings.karpenter.disruption_poll, wake(Event::Poll));
    }

    /// The decision must still be as good as it was.
    pub(super) fn validate(&mut self, cx: &mut Cx<'_>) {
        let Some(proposal) = self.disruption.proposal.take() else { return };
        let repeat = cx.model().settings.karpenter.disruption_repeat;
        if !cx.cloud().api_available() || !self.is_synced() {
            self.disruption.changed = true;
            cx.after(repeat, wake(Event::Poll));
            return;
        }
        self.renew_offerings(cx);
        let method = proposal.method;
        let proposed = proposal.claims.clone();
        if let Some((claims, found)) = self.still_good(proposal, cx) {
            let why =
                if method == Method::Emptiness { Ending::Empty } else { Ending::Underutilized };
            self.start_command(claims, why, plan(found).into_iter().collect(), cx);
            self.disruption.changed = true;
            cx.after(repeat, wake(Event::Poll));
            return;
        }
        for id in proposed {
            if !self.claims[id].is_leaving() {
                self.keep(id, Kept::NotValid, cx);
            }
        }
        let rest: Vec<Method> = Method::ALL.into_iter().filter(|&m| m > method).collect();
        self.look(&rest, cx);
        self.disruption.changed = true;
    }

    fn still_good(&mut self, proposal: Proposal, cx: &mut Cx<'_>) -> Option<(Vec<ClaimId>, Found)> {
        let mut ready = self.candidates(proposal.method.reason(), false, cx);
        ready.retain(|r| proposal.claims.contains(&r.id));
        if proposal.method == Method::Emptiness {
            let found = self.empty(&ready, cx)?;
            let claims = found.candidates.iter().map(|&i| ready[i].id).collect();
            return Some((claims, found));
        }
        let mut allowed = self.allowed(proposal.method.reason(), cx);
        let within = ready.iter().all(|r| {
            let left = &mut allowed[self.claims[r.id].pool.index()];
            *left -= 1;
            *left >= 0
        });
        if ready.len() != proposal.claims.len() || !within {
            return None;
        }
        let found = self.simulate(&ready, cx, |input, candidates, solver| {
            let all: Vec<usize> = (0..candidates.len()).collect();
            attempt(input, candidates, &all, solver).ok()
        })?;
        let same = match (&proposal.decision, &found.decision) {
            (Decision::Delete, Decision::Delete) => true,
            (Decision::Replace { .. }, Decision::Replace { .. }) => {
                proposal.replacement.iter().all(|row| found.replacement.contains(row))
            }
            _ => false,
        };
        let claims = ready.iter().map(|r| r.id).collect();
        same.then_some((claims, found))
    }

    fn find(&mut self, method: Method, cx: &mut Cx<'_>) -> Option<Proposal> {
        if matches!(method, Method::StaticDrift | Method::Drift) {
            return None;
        }
        let ready = self.candidates(method.reason(), false, cx);
        if ready.is_empty() {
            return None;
        }
        let found = match method {
            Method::Emptiness => self.empty(&ready, cx)?,
            Method::MultiNode => {
                let allowed = self.allowed(Reason::Underutilized, cx);
                self.simulate(&ready, cx, |input, candidates, solver| {
                    multi_node(input, candidates, &allowed, solver)
                })?
            }
            Method::SingleNode => self.single(&ready, cx)?,
            Method::StaticDrift | Method::Drift => return None,
        };
        Some(Proposal {
            method,
            claims: found.candidates.iter().map(|&i| ready[i].id).collect(),
            decision: found.decision,
            replacement: found.replacement,
        })
    }

    fn single(&mut self, ready: &[Ready], cx: &mut Cx<'_>) -> Option<Found> {
        let allowed = self.allowed(Reason::Underutilized, cx);
        let mut refused = Vec::new();
        let found = self.simulate(ready, cx, |input, candidates, solver| {
            single_node(input, candidates, &allowed, solver, &mut |i, why| refused.push((i, why)))
        });
        for (i, why) in refused {
            self.keep_refused(ready[i].id, why, cx);
        }
        for r in ready {
            if allowed[self.claims[r.id].pool.index()] <= 0 {
                self.keep(r.id, Kept::Budget(Reason::Underutilized), cx);
            }
        }
        found
    }

    fn empty(&self, ready: &[Ready], cx: &Cx<'_>) -> Option<Found> {
        let mut allowed = self.allowed(Reason::Empty, cx);
        let candidates: Vec<PassCandidate<'_>> =
            ready.iter().map(|r| self.pass_candidate(r, 0)).collect();
        emptiness(&candidates, &mut allowed)
    }

    fn pass_candidate(&self, r: &Ready, node: usize) -> PassCandidate<'_> {
        PassCandidate {
            node,
            pool: self.claims[r.id].pool.index(),
            removed: Removed {
                instance_type: &self.catalog.types()[r.row].name,
                capacity_type: r.kind,
                price: r.price,
            },
            reschedule_cost: r.reschedule_cost,
            disruption_cost: r.eviction_costs * r.lifetime_left,
            pods: &self.claims[r.id].facts.pending,
        }
    }

    /// Runs a search over removals in one picture of the cluster.
    pub(super) fn simulate<T>(
        &mut self,
        ready: &[Ready],
        cx: &mut Cx<'_>,
        search: impl FnOnce(&PassInput<'_>, &[PassCandidate<'_>], &mut Solver<'_>) -> T,
    ) -> T {
        let pending: Vec<Pending<'static>> = self.waiting(cx).into_iter().map(|(_, p)| p).collect();
        self.update_picture(cx);
        let totals = self.totals(cx);
        let rules = Self::rules(cx);
        self.with_solver(cx, |this, solver| {
            let position = |r: &Ready| {
                let node = this.claims[r.id].node;
                this.picture.position(r.id, node).unwrap_or(usize::MAX)
            };
            let candidates: Vec<PassCandidate<'_>> =
                ready.iter().map(|r| this.pass_candidate(r, position(r))).collect();
            let nodes = this.picture.nodes();
            let initialized: Vec<bool> = nodes.iter().map(|n| n.initialized).collect();
            let policies: Vec<ConsolidationPolicy> =
                this.pools.iter().map(|(_, p)| p.policy).collect();
            let pass = PassInput {
                catalog: &this.catalog,
                pending: &pending,
                initialized: &initialized,
                policies: &policies,
                totals: &totals,
                spot_to_spot: rules.options.feature_gates.spot_to_spot_consolidation,
                order: rules.options.candidate_order,
                unreached: &[],
                max_simulations: MAX_SIMULATIONS,
            };
            search(&pass, &candidates, solver)
        })
    }

    /// By NodePool: price and reschedule cost of all its nodes. Only Balanced NodePools ask.
    fn totals(&mut self, cx: &Cx<'_>) -> Vec<(f64, f64)> {
        if !self.pools.iter().any(|(_, p)| p.policy == ConsolidationPolicy::Balanced) {
            return Vec::new();
        }
        let mut totals = vec![(0.0, 0.0); self.pools.len()];
        for at in 0..self.live.len() {
            let id = self.live[at];
            let claim = &self.claims[id];
            let Some((_, _, price)) = claim.launched.filter(|_| !claim.is_leaving()) else {
                continue;
            };
            let pool = claim.pool.index();
            self.renew_facts(id, cx);
            let cost = self.claims[id].facts.reschedule_cost.max(1.0);
            let sum = &mut totals[pool];
            *sum = (sum.0 + price, sum.1 + cost);
        }
        totals
    }

    fn idleness(&self, id: ClaimId) -> Idleness {
        let claim = &self.claims[id];
        Idleness {
            consolidate_after: self.pools[claim.pool].consolidate_after,
            initialized: claim.is_initialized().then_some(claim.initialized),
            last_pod_event: claim.last_pod_event,
        }
    }

    /// Nodes that a method may take, and why the others stay. Nodes of NodePools with static
    /// capacity drift only, and by their own method.
    pub(super) fn candidates(
        &mut self,
        reason: Reason,
        fixed: bool,
        cx: &mut Cx<'_>,
    ) -> Vec<Ready> {
        let closed: Vec<bool> =
            cx.model().budgets.iter().map(|(_, b)| budget_is_closed(b, cx)).collect();
        let mut ready = Vec::new();
        for at in 0..self.live.len() {
            let id = self.live[at];
            let claim = &self.claims[id];
            let Some((row, kind, price)) = claim.launched else { continue };
            let is_fixed = self.pools[claim.pool].replicas.is_some();
            let drifted = reason == Reason::Drifted;
            if is_fixed != fixed || (drifted && claim.drifted.is_none()) {
                continue;
            }
            self.renew_facts(id, cx);
            let cost = self.claims[id].facts.reschedule_cost.max(1.0);
            let (facts, block) = self.facts(id, is_empty(cost), &closed, cx);
            match candidate(&facts, reason) {
                Err(why) => {
                    if reason != Reason::Empty || facts.empty {
                        let kept = self.not_a_candidate(id, why, block);
                        self.keep(id, kept, cx);
                    }
                }
                Ok(()) => {
                    let claim = &self.claims[id];
                    let age = cx.now().since(claim.created);
                    ready.push(Ready {
                        id,
                        row,
                        kind,
                        price,
                        eviction_costs: claim.facts.eviction_costs,
                        reschedule_cost: cost,
                        lifetime_left: lifetime_left(age, claim.template.expire_after),
                    });
                }
            }
        }
        ready
    }

    fn not_a_candidate(&self, id: ClaimId, why: NotACandidate, block: Option<Kept>) -> Kept {
        match (why, block) {
            (NotACandidate::ProtectedPod | NotACandidate::PdbBlocks, Some(kept)) => kept,
            (NotACandidate::NotConsolidatable, _) => {
                Kept::NotQuiet(self.idleness(id).consolidatable_at())
            }
            _ => Kept::State(why),
        }
    }

    /// What disruption knows of a node, and which pod holds it.
    fn facts(
        &self,
        id: ClaimId,
        empty: bool,
        closed: &[bool],
        cx: &Cx<'_>,
    ) -> (NodeFacts, Option<Kept>) {
        let claim = &self.claims[id];
        let pool = &self.pools[claim.pool];
        let (protected, blocked) = self.holders(id, closed, cx);
        let facts = NodeFacts {
            managed: true,
            initialized: claim.is_initialized(),
            deleting: claim.deleting.is_some(),
            nominated: claim.nominated_until > cx.now(),
            do_not_disrupt: claim.template.do_not_disrupt,
            in_command: claim.marked,
            protected_pod: protected.is_some(),
            pdb_blocks: blocked.is_some(),
            has_termination_grace_period: claim.template.termination_grace_period.is_some(),
            consolidatable: self.idleness(id).is_consolidatable(cx.now()),
            drifted: claim.drifted.is_some(),
            empty,
            policy: pool.policy,
        };
        (facts, protected.or(blocked))
    }

    /// By NodePool: nodes that its budgets allow to go now.
    pub(super) fn allowed(&self, reason: Reason, cx: &Cx<'_>) -> Vec<i64> {
        let seconds = i64::try_from(cx.now().since(SimTime::ZERO).whole_secs()).unwrap_or(0);
        let now = cx.model().start_unix.saturating_add(seconds);
        let pools = &self.pools;
        let mut nodes = vec![PoolNodes { total: 0, disrupting: 0 }; pools.len()];
        for &id in &self.live {
            let claim = &self.claims[id];
            let Some(node) = claim.node.filter(|_| claim.is_initialized()) else { continue };
            let row = &cx.api().nodes[node];
            let counts = &mut nodes[claim.pool.index()];
            counts.total += 1;
            let ready = row.exists() && row.condition == NodeCondition::Ready;
            counts.disrupting += i64::from(!ready || claim.is_leaving());
        }
        pools
            .iter()
            .zip(nodes)
            .map(|((_, pool), nodes)| allowed_disruptions(&pool.budgets, nodes, reason, now))
            .collect()
    }
}

/// The NodeClaim that a decision asks for.
fn plan(found: Found) -> Option<Plan> {
    let (Decision::Replace { filter, .. }, Some(new)) = (found.decision, found.claim) else {
        return None;
    };
    let mut requirements = new.requirements;
    if let Some(kinds) = filter.capacity_types {
        requirements.add(CAPACITY_TYPE, Requirement::of(kinds.iter().map(|k| k.name())));
    }
    Some(Plan {
        pool: Id::new(new.pool as u32),
        requirements,
        types: found.replacement,
        pods: new.pods,
        requests: new.requests,
    })
}

/// Whether a budget allows no eviction now.
fn budget_is_closed(budget: &BudgetModel, cx: &Cx<'_>) -> bool {
    let Some(rule) = Budget::lower(&budget.object.spec) else { return true };
    let (mut healthy, mut matching, mut scale) = (0, 0, 0);
    for (_, set) in cx.api().sets.iter().filter(|(_, s)| budget.templates.contains(&s.template)) {
        healthy += set.ready as i32;
        matching += set.pods.len() as i32;
        scale += set.desired as i32;
    }
    let expected = if rule.needs_scale() { scale } else { matching };
    rule.status(expected, healthy).allowed <= 0
}

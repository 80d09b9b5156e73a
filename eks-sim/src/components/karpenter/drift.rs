//! Drift: nodes that are no longer what their NodePool or node class asks for.
//!
//! What a change of NodePool or class makes of its nodes shows at once; images and subnets are
//! compared every five minutes. Drifted nodes are replaced one by one, oldest drift first, with
//! their replacements started before; empty ones go at once.

use super::command::Plan;
use super::disrupt::Ready;
use super::kept::Kept;
use super::state::{ClaimId, Ending};
use super::{Event, Karpenter, wake};
use crate::engine::Cx;
use crate::policy::karpenter::budgets::Reason;
use crate::policy::karpenter::consolidation::is_empty;
use crate::policy::karpenter::disruption::{homeless, within_budgets};
use crate::policy::karpenter::requirements::{Requirements, is_well_known};
use crate::policy::karpenter::solve::{Pending, Placement, Solution};
use crate::units::{Id, Span};
use crate::world::karpenter::NodePoolModel;
use crate::world::steps::StepKind;
use std::sync::Arc;

/// What a drift command is: the nodes and their replacements.
type Found = (Vec<ClaimId>, Vec<Plan>);

impl Karpenter {
    /// NodePools or node classes changed, or an image was published.
    pub(super) fn pools_changed(&mut self, step: u32, cx: &mut Cx<'_>) {
        if let Some(StepKind::ImageRelease { family }) =
            cx.model().steps.get(step as usize).map(|s| &s.kind)
        {
            *self.releases.entry(family.clone()).or_insert(0) += 1;
        }
        for update in Self::rules(cx).updates.iter().filter(|u| u.step == step) {
            self.pools[update.pool] = Arc::clone(&update.model);
        }
        self.check_drift(false, cx);
        let check = cx.model().settings.karpenter.drift_check;
        cx.after(check, wake(Event::DriftCheck));
        // Pods that found no place may fit now.
        self.disruption.touch();
        self.requeue_at = cx.now();
        self.requeue(cx);
        self.reconcile_static(cx);
    }

    /// Compares every node with its NodePool; `slow` looks at images and subnets too.
    pub(super) fn check_drift(&mut self, slow: bool, cx: &mut Cx<'_>) {
        for id in self.live.clone() {
            let found = self.drift_of(id, slow, cx);
            let claim = &mut self.claims[id];
            match (found, claim.drifted) {
                (Some(why), None) => {
                    claim.drifted = Some(cx.now());
                    self.note(id, "Drifted", why.to_owned(), cx);
                }
                (None, Some(_)) if slow => claim.drifted = None,
                _ => {}
            }
        }
    }

    fn drift_of(&self, id: ClaimId, slow: bool, cx: &Cx<'_>) -> Option<&'static str> {
        let claim = &self.claims[id];
        let instance = &cx.cloud().instances[claim.instance?];
        let (now, then): (&NodePoolModel, &NodePoolModel) =
            (&self.pools[claim.pool], &claim.template);
        if now.template_hash != then.template_hash {
            return Some("NodePoolDrifted");
        }
        if now.class_hash != then.class_hash {
            return Some("NodeClassDrifted");
        }
        let t = instance.group_type(cx.model());
        let mut labels = t.node.metadata.labels.clone();
        labels.extend(instance.labels.iter().flat_map(|l| (**l).clone()));
        let zone = cx.model().zones[instance.zone].clone();
        labels.insert(crate::policy::karpenter::requirements::ZONE.to_owned(), zone);
        let labels = Requirements::from_labels(&labels);
        if !labels.compatible(&now.requirements, is_well_known) {
            return Some("RequirementsDrifted");
        }
        if !slow {
            return None;
        }
        if now.image.selector != then.image.selector || self.release_of(now) != claim.image_release
        {
            return Some("AMIDrift");
        }
        (!now.subnets.contains(&instance.subnet)).then_some("SubnetDrift")
    }

    /// Images published so far for a NodePool that takes the newest one.
    pub(super) fn release_of(&self, pool: &NodePoolModel) -> u32 {
        let family = pool.image.latest_of.as_ref();
        family.and_then(|f| self.releases.get(f)).copied().unwrap_or(0)
    }

    /// Whether some node waits to be replaced for its drift.
    pub(super) fn has_drift(&self) -> bool {
        let waits =
            |c: &ClaimId| self.claims[*c].drifted.is_some() && !self.claims[*c].is_leaving();
        self.live.iter().any(waits)
    }

    /// Drifted nodes of NodePools with static capacity: as many as budgets and the NodePool's
    /// limit of nodes allow.
    pub(super) fn static_drift(&mut self, cx: &mut Cx<'_>) -> Option<Found> {
        let mut ready = self.candidates(Reason::Drifted, true, cx);
        ready.sort_by_key(|r| (self.claims[r.id].drifted, r.id));
        let mut allowed = self.allowed(Reason::Drifted, cx);
        for (pool, model) in self.pools.iter() {
            if let Some(limit) = model.node_limit {
                let there = self.live.iter().filter(|&&c| self.claims[c].pool == pool).count();
                let left = &mut allowed[pool.index()];
                *left = (*left).min(limit - i64::try_from(there).unwrap_or(i64::MAX)).max(0);
            }
        }
        let pools: Vec<usize> = ready.iter().map(|r| self.claims[r.id].pool.index()).collect();
        let kept = within_budgets(&pools, &mut allowed);
        let claims: Vec<ClaimId> = kept.into_iter().map(|i| ready[i].id).collect();
        let plans = claims.iter().map(|&c| self.static_plan(self.claims[c].pool)).collect();
        (!claims.is_empty()).then_some((claims, plans))
    }

    /// The next drifted node that can go, oldest drift first; all empty ones at once.
    pub(super) fn drift(&mut self, cx: &mut Cx<'_>) -> Option<Found> {
        let mut ready = self.candidates(Reason::Drifted, false, cx);
        ready.sort_by_key(|r| (self.claims[r.id].drifted, r.id));
        let mut allowed = self.allowed(Reason::Drifted, cx);
        let empty: Vec<ClaimId> =
            ready.iter().filter(|r| is_empty(r.reschedule_cost)).map(|r| r.id).collect();
        let pools: Vec<usize> = empty.iter().map(|&c| self.claims[c].pool.index()).collect();
        let kept = within_budgets(&pools, &mut allowed);
        if !kept.is_empty() {
            return Some((kept.into_iter().map(|i| empty[i]).collect(), Vec::new()));
        }
        for r in ready.iter().filter(|r| !is_empty(r.reschedule_cost)) {
            if allowed[self.claims[r.id].pool.index()] <= 0 {
                self.keep(r.id, Kept::Budget(Reason::Drifted), cx);
                continue;
            }
            if let Some(found) = self.drift_one(r, cx) {
                return Some(found);
            }
        }
        None
    }

    fn drift_one(&mut self, r: &Ready, cx: &mut Cx<'_>) -> Option<Found> {
        let one = core::slice::from_ref(r);
        let (solution, moved, blocked) = self.simulate(one, cx, |input, candidates, solver| {
            let candidate = &candidates[0];
            let waiting = input.pending.len();
            let mut pods: Vec<Pending<'_>> = input.pending.to_vec();
            pods.extend(candidate.pods.iter().copied());
            let solution: Solution = solver.solve(&pods, &[candidate.node]);
            let moved: Vec<usize> = (waiting..pods.len()).collect();
            let initialized = |n: usize| input.initialized.get(n).copied().unwrap_or(false);
            let blocked = homeless(&solution, &moved, initialized).map(|p| p - waiting);
            (solution, moved, blocked)
        });
        if let Some(pod) = blocked {
            if let Some(&pod) = self.claims[r.id].facts.pods.get(pod) {
                self.keep(r.id, Kept::DriftBlocked(pod), cx);
            }
            return None;
        }
        // NodeClaims that only pods that wait already asked for are the provisioner's.
        let mut needed: Vec<usize> = moved
            .iter()
            .filter_map(|&pod| match solution.placements[pod] {
                Placement::New(claim) => Some(claim),
                _ => None,
            })
            .collect();
        needed.sort_unstable();
        needed.dedup();
        let plans = needed.into_iter().map(|at| {
            let claim = &solution.claims[at];
            Plan {
                pool: Id::new(claim.pool as u32),
                requirements: claim.requirements.clone(),
                types: claim.types.clone(),
                pods: claim.pods,
                requests: claim.requests.clone(),
            }
        });
        Some((vec![r.id], plans.collect()))
    }

    /// Looks again later: images and subnets.
    pub(super) fn drift_check(&mut self, cx: &mut Cx<'_>) {
        self.check_drift(true, cx);
    }

    /// What a static NodePool's next NodeClaim is.
    pub(super) fn static_plan(&self, id: Id<NodePoolModel>) -> Plan {
        let pool = &self.pools[id];
        let mut types = pool.types.clone();
        types.and(&self.catalog.offered(&pool.requirements));
        let filter = crate::policy::karpenter::disruption::offering_filter(
            &pool.requirements,
            self.catalog.zones(),
        );
        let rows: Vec<usize> = types.iter().collect();
        let priced: Vec<_> = rows.iter().map(|&row| self.catalog.priced(row)).collect();
        let order = crate::policy::karpenter::offerings::order_by_price(&priced, &filter);
        Plan {
            pool: id,
            requirements: pool.requirements.clone(),
            types: order
                .into_iter()
                .take(crate::policy::karpenter::solve::MAX_INSTANCE_TYPES)
                .map(|i| rows[i])
                .collect(),
            pods: 0,
            requests: core::iter::repeat_n(0, self.catalog.width()).collect(),
        }
    }

    /// Brings NodePools with static capacity to their number of nodes.
    pub(super) fn reconcile_static(&mut self, cx: &mut Cx<'_>) {
        for at in 0..self.pools.len() {
            let id = Id::new(at as u32);
            let Some(wanted) = self.pools[id].replicas else { continue };
            let all: Vec<ClaimId> =
                self.live.iter().copied().filter(|&c| self.claims[c].pool == id).collect();
            let running: Vec<ClaimId> =
                all.iter().copied().filter(|&c| !self.claims[c].is_leaving()).collect();
            let limit = self.pools[id].node_limit.unwrap_or(i64::MAX);
            let room = usize::try_from(limit).unwrap_or(0).saturating_sub(all.len());
            let missing = (wanted as usize).saturating_sub(running.len()).min(room);
            self.renew_offerings(cx);
            for _ in 0..missing {
                let plan = self.static_plan(id);
                let size = (plan.pods, plan.requests);
                let made = self.create(id, plan.requirements, plan.types, size, cx);
                self.launch(made, cx);
            }
            let surplus = running.len().saturating_sub(wanted as usize);
            self.shrink_static(running, surplus, cx);
        }
    }

    /// Those not registered yet go first, then empty ones, then by the cost of their pods.
    fn shrink_static(&mut self, running: Vec<ClaimId>, surplus: usize, cx: &mut Cx<'_>) {
        if surplus == 0 {
            return;
        }
        let mut order: Vec<(bool, f64, ClaimId)> = running
            .into_iter()
            .map(|c| {
                self.renew_facts(c, cx);
                let claim = &self.claims[c];
                (claim.node.is_some(), claim.facts.eviction_costs, c)
            })
            .collect();
        order.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
        for (_, _, id) in order.into_iter().take(surplus) {
            self.end(id, Ending::ScaledDown, cx);
        }
    }

    /// Static NodePools look again a little later, so that refused launches do not spin.
    pub(super) fn static_later(&self, id: ClaimId, cx: &mut Cx<'_>) {
        if self.pools[self.claims[id].pool].replicas.is_some() {
            cx.after(Span::from_secs(1), wake(Event::Static));
        }
    }
}

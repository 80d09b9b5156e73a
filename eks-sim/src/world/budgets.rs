//! Status of PodDisruptionBudgets, by the disruption controller's rules.

use super::model::BudgetModel;
use super::{Api, Model, PodId, Workload};
use crate::policy::workloads::{Budget, BudgetStatus};
use crate::units::{Id, SimTime, Span};

/// `DeletionTimeout` of `pkg/controller/disruption/disruption.go` (v1.34): an evicted pod counts
/// as disrupted until it is seen as deleting, or for so long.
const DISRUPTED_FOR: Span = Span::from_secs(120);

impl Api {
    /// Drops evictions that are too old to count.
    pub fn forget_disruptions(&mut self, now: SimTime) {
        self.disrupted.retain(|&(_, _, at)| at + DISRUPTED_FOR > now);
    }

    /// Status of a budget.
    #[must_use]
    pub fn budget_status(
        &self,
        budget: Id<BudgetModel>,
        model: &Model,
        now: SimTime,
    ) -> BudgetStatus {
        let description = &model.budgets[budget];
        let (mut healthy, mut matching, mut scale) = (0_i32, 0_i32, 0_i32);
        let mut owners: Vec<Id<Workload>> = Vec::new();
        for (_, set) in self.sets.iter().filter(|(_, s)| !s.deleted) {
            if !self.set_has(set, description) {
                continue;
            }
            healthy += set.ready as i32;
            matching += set.active as i32;
            if !set.pods.is_empty() && !owners.contains(&set.workload) {
                owners.push(set.workload);
                scale += self.workloads[set.workload].replicas as i32;
            }
        }
        let recent = |at: SimTime| at + DISRUPTED_FOR > now;
        let evicted = self
            .disrupted
            .iter()
            .filter(|&&(b, p, at)| b == budget && recent(at) && self.still_healthy(p));
        healthy -= evicted.count() as i32;
        match Budget::lower(&description.object.spec) {
            Some(rule) => rule.status(if rule.needs_scale() { scale } else { matching }, healthy),
            None => {
                BudgetStatus { desired_healthy: matching, current_healthy: healthy, allowed: 0 }
            }
        }
    }

    fn still_healthy(&self, pod: PodId) -> bool {
        self.pods.get(pod).is_some_and(|p| p.is_active() && p.is_ready())
    }

    /// Whether the budget protects the set's pods; the templates of one workload share labels
    /// unless a change alters them, so the set's own template speaks for its pods.
    fn set_has(&self, set: &super::Set, budget: &BudgetModel) -> bool {
        budget.templates.contains(&set.template)
    }
}

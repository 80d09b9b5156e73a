//! PodDisruptionBudget arithmetic and the eviction API's answer.
//!
//! Upstream: kubernetes/kubernetes v1.34 `pkg/controller/disruption/disruption.go`,
//! `pkg/registry/core/pod/storage/eviction.go`. Differences: conflicts are not retried here.

use super::PodPhase;
use crate::k8s::{IntOrPercent, PodDisruptionBudgetSpec};

/// Disrupted pods a budget may track before evictions are refused (`MaxDisruptedPodSize`).
const MAX_DISRUPTED_PODS: usize = 2000;

/// What a budget promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// At least this many healthy.
    MinAvailable(IntOrPercent),
    /// At most this many not healthy.
    MaxUnavailable(IntOrPercent),
}

impl Budget {
    /// From a manifest; `None` if it sets neither bound (nothing may then be disrupted).
    #[must_use]
    pub fn lower(spec: &PodDisruptionBudgetSpec) -> Option<Self> {
        let max = spec.max_unavailable.map(Self::MaxUnavailable);
        max.or(spec.min_available.map(Self::MinAvailable))
    }

    /// Whether `expected` must be the scale of the controllers, not the number of matching pods.
    #[must_use]
    pub fn needs_scale(self) -> bool {
        !matches!(self, Self::MinAvailable(IntOrPercent::Int(_)))
    }

    /// Healthy pods that must stay out of `expected`.
    #[must_use]
    pub fn desired_healthy(self, expected: i32) -> i32 {
        match self {
            Self::MinAvailable(min) => min.of_rounded_up(expected),
            Self::MaxUnavailable(max) => {
                expected.saturating_sub(max.of_rounded_up(expected)).max(0)
            }
        }
    }

    /// The status for `expected` pods of which `healthy` are healthy.
    #[must_use]
    pub fn status(self, expected: i32, healthy: i32) -> BudgetStatus {
        let desired = self.desired_healthy(expected);
        let allowed = if expected <= 0 { 0 } else { healthy.saturating_sub(desired).max(0) };
        BudgetStatus { desired_healthy: desired, current_healthy: healthy, allowed }
    }
}

/// Status of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetStatus {
    /// Healthy pods that must stay.
    pub desired_healthy: i32,
    /// Healthy pods: ready, not deleting, not evicted within the last two minutes.
    pub current_healthy: i32,
    /// `disruptionsAllowed`.
    pub allowed: i32,
}

/// A pod that somebody wants to evict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvictionPod {
    /// Phase.
    pub phase: PodPhase,
    /// Ready.
    pub ready: bool,
    /// Already being deleted.
    pub deleted: bool,
}

/// Answer of the eviction API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// The pod is deleted; no budget is charged.
    Free,
    /// The pod is deleted; the budget loses one disruption and tracks the pod.
    Charged,
    /// 429: the budget allows no disruption; try again.
    TooManyRequests,
    /// 500: more than one budget selects the pod.
    MultipleBudgets,
    /// 403: the budget tracks too many disrupted pods.
    TooManyDisrupted,
}

/// Asks to evict `pod`. `budgets` are those that select it; `always_allow` is the first one's
/// `unhealthyPodEvictionPolicy: AlwaysAllow`; `tracked` the size of its `disruptedPods`.
#[must_use]
pub fn evict(
    pod: &EvictionPod,
    budgets: &[BudgetStatus],
    always_allow: bool,
    tracked: usize,
) -> Eviction {
    let finished = matches!(pod.phase, PodPhase::Succeeded | PodPhase::Failed);
    if finished || pod.phase == PodPhase::Pending || pod.deleted {
        return Eviction::Free;
    }
    let budget = match budgets {
        [] => return Eviction::Free,
        [one] => one,
        _ => return Eviction::MultipleBudgets,
    };
    if !pod.ready {
        let healthy = budget.current_healthy >= budget.desired_healthy;
        if always_allow || (healthy && budget.desired_healthy > 0) {
            return Eviction::Free;
        }
    }
    if tracked > MAX_DISRUPTED_PODS {
        Eviction::TooManyDisrupted
    } else if budget.allowed >= 1 {
        Eviction::Charged
    } else {
        Eviction::TooManyRequests
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn unhealthy_pods_follow_the_policy() {
        let running = EvictionPod { phase: PodPhase::Running, ready: true, deleted: false };
        let sick = EvictionPod { ready: false, ..running };
        let tight = BudgetStatus { desired_healthy: 2, current_healthy: 2, allowed: 0 };
        let broken = BudgetStatus { current_healthy: 1, ..tight };
        let roomy = BudgetStatus { allowed: 1, current_healthy: 3, ..tight };
        assert_eq!(evict(&running, &[tight], true, 0), Eviction::TooManyRequests);
        assert_eq!(evict(&running, &[roomy], false, 0), Eviction::Charged);
        assert_eq!(evict(&running, &[roomy], false, 2001), Eviction::TooManyDisrupted);
        assert_eq!(evict(&sick, &[tight], false, 0), Eviction::Free);
        assert_eq!(evict(&sick, &[broken], false, 0), Eviction::TooManyRequests);
        assert_eq!(evict(&sick, &[broken], true, 0), Eviction::Free);
        assert_eq!(evict(&running, &[tight, roomy], false, 0), Eviction::MultipleBudgets);
        let pending = EvictionPod { phase: PodPhase::Pending, ..sick };
        assert_eq!(evict(&pending, &[tight, roomy], false, 0), Eviction::Free);
        assert_eq!(evict(&running, &[], false, 0), Eviction::Free);
    }

    /// D6: k pods with d disruptions at a time and replacements after r take ceil(k/d)·r.
    #[test]
    fn a_drain_takes_rounds_of_the_allowed_disruptions() {
        for (pods, allowed, rounds) in [(10, 1, 10), (10, 3, 4), (7, 7, 1)] {
            let budget = Budget::MaxUnavailable(IntOrPercent::Int(allowed));
            let (mut left, mut taken) = (pods, 0);
            while left > 0 {
                // Replacements of the last round are ready, so every pod is healthy again.
                left -= budget.status(pods, pods).allowed.min(left);
                taken += 1;
            }
            assert_eq!(taken, rounds, "{pods} pods, {allowed} at a time");
        }
    }

    proptest! {
        #[test]
        fn an_allowed_disruption_keeps_the_promise(
            expected: i32, healthy in 0..=i32::MAX, n in 0..=i32::MAX, percent: bool, min: bool,
        ) {
            let bound = if percent { IntOrPercent::Percent(n) } else { IntOrPercent::Int(n) };
            let budget =
                if min { Budget::MinAvailable(bound) } else { Budget::MaxUnavailable(bound) };
            let status = budget.status(expected, healthy);
            prop_assert!(status.allowed >= 0);
            if status.allowed > 0 {
                prop_assert!(healthy - status.allowed >= status.desired_healthy);
            }
        }
    }
}

//! KEDA's part of a ScaledObject: moving between zero (or idle) and the minimum. Between the
//! minimum and the maximum an HPA with External metrics decides, by the rules of this module.
//!
//! Upstream: kedacore/keda `pkg/scaling/executor/scale_scaledobjects.go`, defaults as documented
//! for `scaledobject-spec`. Differences: fallback and pause annotations are not modelled.

use crate::units::{SimTime, Span};

/// What a ScaledObject asks for; defaults are the documented ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaledObjectRules {
    /// `pollingInterval` (30 s).
    pub polling_interval: Span,
    /// `cooldownPeriod` (300 s) from the last active poll to zero.
    pub cooldown: Span,
    /// `initialCooldownPeriod` (0 s) from creation to zero.
    pub initial_cooldown: Span,
    /// `minReplicaCount` (0).
    pub min_replicas: i32,
    /// `maxReplicaCount` (100); of the HPA.
    pub max_replicas: i32,
    /// `idleReplicaCount`, below the minimum.
    pub idle_replicas: Option<i32>,
}

impl Default for ScaledObjectRules {
    fn default() -> Self {
        Self {
            polling_interval: Span::from_secs(30),
            cooldown: Span::from_secs(300),
            initial_cooldown: Span::ZERO,
            min_replicas: 0,
            max_replicas: 100,
            idle_replicas: None,
        }
    }
}

impl ScaledObjectRules {
    /// `minReplicas` of the HPA that KEDA creates, which cannot be zero.
    #[must_use]
    pub fn hpa_min_replicas(&self) -> i32 {
        self.min_replicas.max(1)
    }
}

/// What one poll sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaledObjectView {
    /// The clock.
    pub now: SimTime,
    /// `spec.replicas` of the target.
    pub replicas: i32,
    /// Some trigger is active.
    pub active: bool,
    /// Last poll that found a trigger active (the caller keeps it).
    pub last_active: Option<SimTime>,
    /// When the ScaledObject was created.
    pub created: SimTime,
}

/// The count that KEDA writes after a poll, if any.
#[must_use]
pub fn keda_poll(rules: &ScaledObjectRules, view: &ScaledObjectView) -> Option<i32> {
    let floor = rules.idle_replicas.unwrap_or(0);
    let current = view.replicas;
    if view.active {
        let asleep = current == 0 || (rules.idle_replicas.is_some() && current <= floor);
        return asleep.then(|| rules.hpa_min_replicas());
    }
    if rules.idle_replicas.is_none() && rules.min_replicas > 0 {
        // Nothing to sleep to; only lift the count to the minimum.
        return (current < rules.min_replicas).then_some(rules.min_replicas);
    }
    // A target that KEDA never saw active is not held back by the cooldown.
    let rested = match view.last_active {
        Some(last) => view.now > last + rules.cooldown,
        None => view.now >= view.created + rules.initial_cooldown,
    };
    (current > floor && rested).then_some(floor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(replicas: i32, active: bool, idle_for: u64) -> ScaledObjectView {
        ScaledObjectView {
            now: SimTime::from_secs(10_000),
            replicas,
            active,
            last_active: Some(SimTime::from_secs(10_000 - idle_for)),
            created: SimTime::ZERO,
        }
    }

    #[test]
    fn wakes_at_once_and_sleeps_after_the_cooldown() {
        let rules = ScaledObjectRules::default();
        assert_eq!(keda_poll(&rules, &view(0, true, 0)), Some(1));
        assert_eq!(keda_poll(&rules, &view(3, true, 0)), None);
        assert_eq!(keda_poll(&rules, &view(3, false, 300)), None);
        assert_eq!(keda_poll(&rules, &view(3, false, 301)), Some(0));
        assert_eq!(keda_poll(&rules, &view(0, false, 900)), None);
        let never = ScaledObjectView { last_active: None, ..view(3, false, 0) };
        assert_eq!(keda_poll(&rules, &never), Some(0));
    }

    #[test]
    fn minimum_and_idle_count() {
        let minimum = ScaledObjectRules { min_replicas: 2, ..ScaledObjectRules::default() };
        assert_eq!(keda_poll(&minimum, &view(0, true, 0)), Some(2));
        assert_eq!(keda_poll(&minimum, &view(5, false, 900)), None);
        assert_eq!(keda_poll(&minimum, &view(1, false, 0)), Some(2));
        let idle = ScaledObjectRules { idle_replicas: Some(1), min_replicas: 4, ..minimum };
        assert_eq!(keda_poll(&idle, &view(5, false, 900)), Some(1));
        assert_eq!(keda_poll(&idle, &view(1, false, 900)), None);
        assert_eq!(keda_poll(&idle, &view(1, true, 0)), Some(4));
    }
}

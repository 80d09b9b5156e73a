//! From an aggregate to a recommendation: percentile, margin, confidence, floor, policy.
//!
//! Upstream: kubernetes/autoscaler `vertical-pod-autoscaler/pkg/recommender/logic/
//! {estimator,recommender}.go`, `model/types.go` at 55c37cd. Differences: none known.

use super::aggregate::ContainerAggregate;
use super::capping::ControlledValues;
use super::{Amounts, Resource};
use crate::k8s::{VpaContainerPolicy, VpaResourcePolicy};
use crate::units::{Span, math};

/// Largest amount of a resource (`MaxResourceAmount`).
pub const MAX_AMOUNT: i64 = 100_000_000_000_000;

/// Cut to a whole amount between zero and [`MAX_AMOUNT`].
fn amount(x: f64) -> i64 {
    // The cast turns not-a-number into zero and saturates.
    (x as i64).clamp(0, MAX_AMOUNT)
}

/// An amount times a factor, cut.
pub(super) fn scale_amount(base: i64, factor: f64) -> i64 {
    amount(base as f64 * factor)
}

/// Adds a fraction.
#[must_use]
pub fn margin(base: i64, fraction: f64) -> i64 {
    base.saturating_add(scale_amount(base, fraction))
}

/// Days (or other intervals) of history, by the scarcer of time and samples.
#[must_use]
pub fn confidence(lifespan: Span, samples: u64, interval: Span) -> f64 {
    let time = lifespan.nanos() as f64 / interval.nanos() as f64;
    let count = samples as f64 / (interval.secs_f64() / 60.0);
    time.min(count)
}

/// Widens an amount: `base × (1 + multiplier / confidence) ^ exponent`.
#[must_use]
pub fn confidence_multiplier(base: i64, multiplier: f64, exponent: f64, confidence: f64) -> i64 {
    scale_amount(base, math::pow(1.0 + multiplier / confidence, exponent))
}

/// Raises an amount to the share of the pod's minimum.
#[must_use]
pub fn raise_to(base: i64, pod_minimum: i64, containers: usize) -> i64 {
    base.max(scale_amount(pod_minimum, 1.0 / containers.max(1) as f64))
}

/// What the VPA recommends for one container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Recommendation {
    /// Requests to set.
    pub target: Amounts,
    /// Requests below it are worth an update.
    pub lower_bound: Amounts,
    /// Requests above it are worth an update.
    pub upper_bound: Amounts,
    /// The target before the policy.
    pub uncapped_target: Amounts,
}

/// Resource policy of one container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerPolicy {
    /// `mode: Off`.
    pub off: bool,
    /// Smallest.
    pub min_allowed: Amounts,
    /// Largest.
    pub max_allowed: Amounts,
    /// Whether cpu is controlled.
    pub controls_cpu: bool,
    /// Whether memory is controlled.
    pub controls_memory: bool,
    /// Requests only, or limits too.
    pub controlled_values: ControlledValues,
}

impl Default for ContainerPolicy {
    fn default() -> Self {
        Self {
            off: false,
            min_allowed: Amounts::default(),
            max_allowed: Amounts::default(),
            controls_cpu: true,
            controls_memory: true,
            controlled_values: ControlledValues::RequestsAndLimits,
        }
    }
}

impl ContainerPolicy {
    /// From a manifest.
    #[must_use]
    pub fn lower(policy: &VpaContainerPolicy) -> Self {
        let controls = |name: &str| {
            policy.controlled_resources.as_ref().is_none_or(|list| list.iter().any(|r| r == name))
        };
        Self {
            off: policy.mode.as_deref() == Some("Off"),
            min_allowed: Amounts::lower(&policy.min_allowed),
            max_allowed: Amounts::lower(&policy.max_allowed),
            controls_cpu: controls("cpu"),
            controls_memory: controls("memory"),
            controlled_values: match policy.controlled_values.as_deref() {
                Some("RequestsOnly") => ControlledValues::RequestsOnly,
                _ => ControlledValues::RequestsAndLimits,
            },
        }
    }
    /// Raises to the minimum, then lowers to the maximum; a zero bound is none.
    #[must_use]
    pub fn clamp(&self, mut amounts: Amounts) -> Amounts {
        for resource in Resource::ALL {
            if let Some(x) = amounts.get_mut(resource) {
                if let Some(min) = self.min_allowed.get(resource).filter(|m| *m != 0) {
                    *x = (*x).max(min);
                }
                if let Some(max) = self.max_allowed.get(resource).filter(|m| *m != 0) {
                    *x = (*x).min(max);
                }
            }
        }
        amounts
    }
    /// The policy with a global maximum where it sets none itself.
    #[must_use]
    pub fn with_global_max(mut self, global: Amounts) -> Self {
        for resource in Resource::ALL {
            let own = self.max_allowed.get_mut(resource);
            *own = own.or(global.get(resource));
        }
        self
    }
}

/// The policy for a container: its own entry, else that of `*`, else the default.
#[must_use]
pub fn policy_for(policy: Option<&VpaResourcePolicy>, container: &str) -> ContainerPolicy {
    let all = policy.map_or(&[][..], |p| &p.container_policies);
    let named = |name: &str| all.iter().find(|p| p.container_name == name);
    named(container).or_else(|| named("*")).map(ContainerPolicy::lower).unwrap_or_default()
}

/// Settings of the recommender; defaults are upstream's flags.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recommender {
    /// `--target-cpu-percentile`, `--target-memory-percentile` (0.9).
    pub target_percentile: f64,
    /// `--recommendation-lower-bound-…-percentile` (0.5).
    pub lower_bound_percentile: f64,
    /// `--recommendation-upper-bound-…-percentile` (0.95).
    pub upper_bound_percentile: f64,
    /// `--recommendation-margin-fraction` (0.15).
    pub margin_fraction: f64,
    /// `--confidence-interval-…` (24 h).
    pub confidence_interval: Span,
    /// `--pod-recommendation-min-cpu-millicores` (25), `…-min-memory-mb` (250 MiB).
    pub pod_minimum: Amounts,
    /// `--container-recommendation-max-allowed-cpu`, `…-memory` (none).
    pub global_max_allowed: Amounts,
    /// `--round-cpu-millicores` (1).
    pub round_cpu_millicores: i64,
    /// `--round-memory-bytes` (1).
    pub round_memory_bytes: i64,
}

impl Default for Recommender {
    fn default() -> Self {
        Self {
            target_percentile: 0.9,
            lower_bound_percentile: 0.5,
            upper_bound_percentile: 0.95,
            margin_fraction: 0.15,
            confidence_interval: Span::from_secs(86_400),
            pod_minimum: Amounts { cpu: Some(25), memory: Some(250 << 20) },
            global_max_allowed: Amounts::default(),
            round_cpu_millicores: 1,
            round_memory_bytes: 1,
        }
    }
}

impl Recommender {
    /// The recommendation for a container, `containers` of which share the pod's minimum; none
    /// before the first sample or when the policy is off.
    #[must_use]
    pub fn recommend(
        &self,
        aggregate: &ContainerAggregate,
        containers: usize,
        policy: &ContainerPolicy,
    ) -> Option<Recommendation> {
        if aggregate.samples() == 0 || policy.off {
            return None;
        }
        let sure = confidence(aggregate.lifespan(), aggregate.samples(), self.confidence_interval);
        let wanted =
            [self.target_percentile, self.lower_bound_percentile, self.upper_bound_percentile];
        let cpu = aggregate.cpu().percentiles(wanted);
        let memory = aggregate.memory().percentiles(wanted);
        let read = |which: usize, widen: &dyn Fn(i64) -> i64| {
            let cpu = amount(cpu[which] * 1000.0);
            let memory = amount(memory[which]);
            let finish = |base: i64, minimum: Option<i64>| {
                let wide = widen(margin(base, self.margin_fraction));
                raise_to(wide, minimum.unwrap_or(0), containers)
            };
            let minimum = self.pod_minimum;
            Amounts {
                cpu: policy.controls_cpu.then(|| finish(cpu, minimum.cpu)),
                memory: policy.controls_memory.then(|| finish(memory, minimum.memory)),
            }
        };
        let target = read(0, &|x| x);
        // As `confidence_multiplier`, with the powers 1 and -2 taken once for both resources, by
        // multiplication as Go's `math.Pow` does.
        let narrow = 1.0 + 0.001 / sure;
        let (high, low) = (1.0 + 1.0 / sure, 1.0 / (narrow * narrow));
        let upper = |x| scale_amount(x, high);
        let lower = |x| scale_amount(x, low);
        Some(self.finish(
            Recommendation {
                target,
                lower_bound: read(1, &lower),
                upper_bound: read(2, &upper),
                uncapped_target: target,
            },
            policy,
        ))
    }

    /// Applies rounding and the policy to a raw recommendation; the uncapped target stays.
    #[must_use]
    pub fn finish(&self, raw: Recommendation, policy: &ContainerPolicy) -> Recommendation {
        let policy = policy.with_global_max(self.global_max_allowed);
        let finish = |amounts: Amounts| {
            policy.clamp(Amounts {
                cpu: amounts.cpu.map(|x| round_up(x, self.round_cpu_millicores)),
                memory: amounts.memory.map(|x| round_up(x, self.round_memory_bytes)),
            })
        };
        Recommendation {
            target: finish(raw.target),
            lower_bound: finish(raw.lower_bound),
            upper_bound: finish(raw.upper_bound),
            uncapped_target: raw.uncapped_target,
        }
    }
}

fn round_up(x: i64, unit: i64) -> i64 {
    if unit <= 1 || x <= 0 {
        return x;
    }
    match x % unit {
        0 => x,
        rest => x.saturating_add(unit - rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::vpa::AggregateConfig;
    use crate::units::SimTime;
    use proptest::prelude::*;

    #[test]
    fn bounds_narrow_with_history() {
        let upper = |hours: u64| {
            let sure =
                confidence(Span::from_secs(3600 * hours), 60 * hours, Span::from_secs(86_400));
            confidence_multiplier(1_000_000, 1.0, 1.0, sure)
        };
        assert_eq!((upper(12), upper(24), upper(168)), (3_000_000, 2_000_000, 1_142_857));
        assert_eq!((round_up(101, 50), round_up(100, 50), round_up(7, 1)), (150, 100, 7));
    }

    proptest! {
        #[test]
        fn recommendations_are_ordered_and_within_the_policy(
            cores in prop::collection::vec(0.0..64.0_f64, 1..50),
            bytes in 0..=i64::MAX, min in 0..100_000_i64, extra in 1..100_000_i64,
        ) {
            let config = AggregateConfig::default();
            let mut aggregate = ContainerAggregate::new(&config, SimTime::ZERO);
            for (i, c) in cores.iter().enumerate() {
                aggregate.add_cpu(&config, SimTime::from_secs(60 * i as u64), *c);
            }
            let mut window = crate::policy::vpa::MemoryWindow::default();
            let change = window.usage(SimTime::ZERO, bytes, config.memory_interval).unwrap();
            aggregate.apply_memory(&change);
            let max = min + extra;
            let policy = ContainerPolicy {
                min_allowed: Amounts { cpu: Some(min), memory: None },
                max_allowed: Amounts { cpu: Some(max), memory: None },
                ..ContainerPolicy::default()
            };
            let r = Recommender::default().recommend(&aggregate, 2, &policy).unwrap();
            for a in [r.target, r.lower_bound, r.upper_bound] {
                prop_assert!((min..=max).contains(&a.cpu.unwrap()));
                prop_assert!((0..=MAX_AMOUNT + MAX_AMOUNT / 5).contains(&a.memory.unwrap()));
            }
            prop_assert!(r.lower_bound.cpu <= r.target.cpu && r.target.cpu <= r.upper_bound.cpu);
        }
    }
}

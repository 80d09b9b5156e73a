//! Deployment: rolling update, Recreate and proportional scaling.
//!
//! Upstream: kubernetes/kubernetes v1.34 `pkg/controller/deployment/{rolling,recreate,sync}.go`,
//! `util/deployment_util.go`. Differences: sizes saturate; a size that would grow during clean-up
//! (status ahead of spec) is left alone instead of failing the sync.

use crate::k8s::{DeploymentSpec, IntOrPercent};

/// How pods are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RolloutStrategy {
    /// Step by step.
    #[default]
    RollingUpdate,
    /// All old ones first.
    Recreate,
}

/// What a Deployment asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RolloutRules {
    /// `spec.replicas`.
    pub replicas: i32,
    /// RolloutStrategy.
    pub strategy: RolloutStrategy,
    /// `maxSurge`; absent counts as zero (API defaulting fills in 25 %).
    pub max_surge: Option<IntOrPercent>,
    /// `maxUnavailable`; absent counts as zero (API defaulting fills in 25 %).
    pub max_unavailable: Option<IntOrPercent>,
}

/// A ReplicaSet as a rollout sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ReplicaSetView {
    /// `spec.replicas`.
    pub replicas: i32,
    /// `status.availableReplicas`.
    pub available: i32,
    /// Pods that still exist; read for Recreate only.
    pub pods: i32,
}

/// Sizes after one sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutStep {
    /// Size of the new ReplicaSet.
    pub new: i32,
    /// Sizes of the old ones, in the order given.
    pub old: Vec<i32>,
    /// Whether anything changed.
    pub changed: bool,
}

impl RolloutRules {
    /// From a Deployment, with the API's defaults.
    #[must_use]
    pub fn lower(spec: &DeploymentSpec) -> Self {
        let quarter = Some(IntOrPercent::Percent(25));
        let rolling = spec.strategy.rolling_update.as_ref();
        Self {
            replicas: spec.replicas.unwrap_or(1),
            strategy: match spec.strategy.kind.as_deref() {
                Some("Recreate") => RolloutStrategy::Recreate,
                _ => RolloutStrategy::RollingUpdate,
            },
            max_surge: rolling.and_then(|r| r.max_surge).or(quarter),
            max_unavailable: rolling.and_then(|r| r.max_unavailable).or(quarter),
        }
    }

    /// `(surge, unavailable)` as numbers of pods; never both zero.
    #[must_use]
    pub fn fenceposts(&self) -> (i32, i32) {
        let surge = self.max_surge.map_or(0, |s| s.of_rounded_up(self.replicas));
        let unavailable = self.max_unavailable.map_or(0, |u| u.of_rounded_down(self.replicas));
        // A rollout that may neither add nor remove a pod would never move.
        if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
    }

    /// Pods that may be added above `replicas`.
    #[must_use]
    pub fn surge(&self) -> i32 {
        match self.strategy {
            RolloutStrategy::RollingUpdate => self.fenceposts().0,
            RolloutStrategy::Recreate => 0,
        }
    }

    /// Pods that may be unavailable.
    #[must_use]
    pub fn unavailable(&self) -> i32 {
        if self.strategy == RolloutStrategy::Recreate || self.replicas == 0 {
            return 0;
        }
        self.fenceposts().1.min(self.replicas)
    }

    /// Next size of the new ReplicaSet when all sets together have `total` pods.
    #[must_use]
    pub fn new_size(&self, total: i32, new: i32) -> i32 {
        if self.strategy == RolloutStrategy::Recreate || new >= self.replicas {
            return self.replicas;
        }
        let room = self.replicas.saturating_add(self.surge()).saturating_sub(total);
        if room <= 0 { new } else { new + room.min(self.replicas - new) }
    }
}

fn total(sets: &[ReplicaSetView], count: impl Fn(&ReplicaSetView) -> i32) -> i32 {
    sets.iter().fold(0_i32, |sum, set| sum.saturating_add(count(set)))
}

/// One sync; `old` goes from the oldest to the newest.
#[must_use]
pub fn rollout_sync(
    rules: &RolloutRules,
    new: ReplicaSetView,
    old: &[ReplicaSetView],
) -> RolloutStep {
    let sizes: Vec<i32> = old.iter().map(|s| s.replicas).collect();
    let step = match rules.strategy {
        RolloutStrategy::RollingUpdate => {
            let sum = total(old, |s| s.replicas).saturating_add(new.replicas);
            let size = rules.new_size(sum, new.replicas);
            let old =
                if size == new.replicas { shrink_old(rules, new, old, sum) } else { sizes.clone() };
            (size, old)
        }
        RolloutStrategy::Recreate => {
            let running = old.iter().any(|s| s.pods > 0 || s.replicas > 0);
            (if running { new.replicas } else { rules.replicas }, vec![0; old.len()])
        }
    };
    let changed = step.0 != new.replicas || step.1 != sizes;
    RolloutStep { new: step.0, old: step.1, changed }
}

fn shrink_old(
    rules: &RolloutRules,
    new: ReplicaSetView,
    old: &[ReplicaSetView],
    sum: i32,
) -> Vec<i32> {
    let mut sizes: Vec<i32> = old.iter().map(|s| s.replicas).collect();
    let keep = rules.replicas - rules.unavailable();
    let not_yet = new.replicas - new.available;
    let mut budget = sum.saturating_sub(keep).saturating_sub(not_yet);
    if budget <= 0 {
        return sizes;
    }
    // Unhealthy pods first: removing them costs no availability.
    for (size, set) in sizes.iter_mut().zip(old) {
        let cut = (set.replicas - set.available).clamp(0, budget);
        *size -= cut;
        budget -= cut;
    }
    // Availability is that of before the clean-up, as upstream's cached status.
    let available = total(old, |s| s.available).saturating_add(new.available);
    let mut surplus = available.saturating_sub(keep).max(0);
    for size in &mut sizes {
        let cut = (*size).clamp(0, surplus);
        *size -= cut;
        surplus -= cut;
    }
    sizes
}

/// A ReplicaSet for [`proportional_scale`], newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaledSet {
    /// `spec.replicas`.
    pub replicas: i32,
    /// Annotation `deployment.kubernetes.io/max-replicas`, if there is one.
    pub max_replicas_annotation: Option<i32>,
}

/// Sizes after the Deployment's replica count changed in mid-rollout. `sets` go from the newest to
/// the oldest; `status_replicas` stands in for a missing annotation; `new_is_saturated` says that
/// the newest set has all its pods available and was already scaled to `replicas`.
#[must_use]
pub fn proportional_scale(
    rules: &RolloutRules,
    sets: &[ScaledSet],
    status_replicas: i32,
    new_is_saturated: bool,
) -> Vec<i32> {
    let mut sizes: Vec<i32> = sets.iter().map(|s| s.replicas).collect();
    let mut active: Vec<usize> = (0..sets.len()).filter(|i| sizes[*i] > 0).collect();
    if active.len() <= 1 {
        let only = active.first().copied().unwrap_or(0);
        if let Some(size) = sizes.get_mut(only) {
            *size = rules.replicas;
        }
        return sizes;
    }
    if new_is_saturated {
        sizes.iter_mut().skip(1).for_each(|size| *size = 0);
        return sizes;
    }
    if rules.strategy == RolloutStrategy::Recreate {
        return sizes;
    }
    let full = i64::from(rules.replicas) + i64::from(rules.surge());
    let allowed = if rules.replicas > 0 { full } else { 0 };
    let to_add = allowed - sizes.iter().map(|s| i64::from(*s)).sum::<i64>();
    // Largest first; ties go to the newer set when growing, to the older one when shrinking.
    active.sort_by_key(|&i| {
        let age = i64::try_from(i).unwrap_or(i64::MAX);
        (-i64::from(sizes[i]), if to_add > 0 { age } else { -age })
    });
    let mut added = 0;
    for &i in &active {
        let left = to_add - added;
        if left == 0 {
            break;
        }
        let share = share(rules, &sets[i], full, status_replicas);
        let share = if to_add > 0 { share.min(left) } else { share.max(left) };
        sizes[i] = narrow(i64::from(sizes[i]) + share);
        added += share;
    }
    if let Some(&largest) = active.first() {
        sizes[largest] = narrow((i64::from(sizes[largest]) + to_add - added).max(0));
    }
    sizes
}

fn narrow(x: i64) -> i32 {
    x.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}

fn share(rules: &RolloutRules, set: &ScaledSet, full: i64, status_replicas: i32) -> i64 {
    let size = i64::from(set.replicas);
    if rules.replicas == 0 {
        return -size;
    }
    let base = set.max_replicas_annotation.filter(|m| *m != 0).unwrap_or(status_replicas);
    if base == 0 {
        return 0;
    }
    // `RoundToInt32`: half away from zero.
    let scaled = (size as f64 * full as f64 / f64::from(base)).round();
    scaled as i64 - size
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules(replicas: i32, surge: IntOrPercent, unavailable: IntOrPercent) -> RolloutRules {
        RolloutRules {
            replicas,
            strategy: RolloutStrategy::RollingUpdate,
            max_surge: Some(surge),
            max_unavailable: Some(unavailable),
        }
    }

    /// Seconds a rollout takes when a pod is ready `ready` seconds after its creation and
    /// everything else takes no time.
    fn rollout_seconds(rules: &RolloutRules, ready: i32) -> i32 {
        let (mut now, mut old) = (0, rules.replicas);
        // (created at, count) of the new pods.
        let mut batches: Vec<(i32, i32)> = Vec::new();
        loop {
            let size: i32 = batches.iter().map(|b| b.1).sum();
            let done = batches.iter().filter(|b| b.0 + ready <= now).map(|b| b.1).sum();
            let new = ReplicaSetView { replicas: size, available: done, pods: size };
            let before = ReplicaSetView { replicas: old, available: old, pods: old };
            let step = rollout_sync(rules, new, &[before]);
            if step.changed {
                if step.new > size {
                    batches.push((now, step.new - size));
                }
                old = step.old[0];
            } else if old == 0 && done == rules.replicas {
                return now;
            } else {
                let next = batches.iter().map(|b| b.0 + ready).filter(|t| *t > now).min();
                now = next.expect("a stuck rollout");
            }
        }
    }

    #[test]
    fn rollout_times_follow_the_arithmetic() {
        use IntOrPercent::{Int, Percent};
        let quarter = Percent(25);
        for (n, surge, unavailable, ready, expected) in [
            (100, quarter, quarter, 30, 60),
            (10, quarter, quarter, 30, 60),
            (4, quarter, quarter, 20, 40),
            (10, Int(1), Int(0), 30, 300),
        ] {
            let rules = rules(n, surge, unavailable);
            assert_eq!(rollout_seconds(&rules, ready), expected, "{n} pods");
        }
    }

    #[test]
    fn recreate_waits_for_the_old_pods() {
        let rules = RolloutRules {
            strategy: RolloutStrategy::Recreate,
            ..rules(3, IntOrPercent::Int(1), IntOrPercent::Int(1))
        };
        let none = ReplicaSetView::default();
        let old = ReplicaSetView { replicas: 3, available: 3, pods: 3 };
        let first = rollout_sync(&rules, none, &[old]);
        assert_eq!((first.new, first.old.as_slice()), (0, &[0][..]));
        let draining = ReplicaSetView { replicas: 0, available: 0, pods: 1 };
        assert!(!rollout_sync(&rules, none, &[draining]).changed);
        let gone = ReplicaSetView::default();
        assert_eq!(rollout_sync(&rules, none, &[gone]).new, 3);
    }

    proptest! {
        /// Never more than replicas + surge pods, never fewer available than promised, and it ends.
        #[test]
        fn a_rollout_keeps_its_promise(
            n in 1..60_i32, surge in 0..120_i32, unavailable in 0..=100_i32, healthy in 0..60_i32,
        ) {
            let rules =
                rules(n, IntOrPercent::Percent(surge), IntOrPercent::Percent(unavailable));
            let (surge, _) = rules.fenceposts();
            let floor = (n - rules.unavailable()).min(healthy.min(n));
            let (mut new, mut old) = (0, n);
            let mut old_ok = healthy.min(n);
            for _ in 0..4 * n + 4 {
                let a = ReplicaSetView { replicas: new, available: new, pods: new };
                let b = ReplicaSetView { replicas: old, available: old_ok, pods: old };
                let step = rollout_sync(&rules, a, &[b]);
                if !step.changed {
                    break;
                }
                // Unhealthy pods go first, as the ReplicaSet ranks them.
                old_ok = old_ok.min(step.old[0]);
                (new, old) = (step.new, step.old[0]);
                prop_assert!(new + old <= n + surge, "{new} + {old}");
                prop_assert!(new + old_ok >= floor, "{new} + {old_ok} < {floor}");
            }
            prop_assert_eq!((new, old), (n, 0));
        }

        #[test]
        fn proportional_sizes_add_up(
            n in 1..1000_i32, sizes in prop::collection::vec((1..500_i32, 1..1000_i32), 2..6),
        ) {
            let rules = rules(n, IntOrPercent::Percent(25), IntOrPercent::Percent(25));
            let sets: Vec<ScaledSet> = sizes
                .iter()
                .map(|(r, m)| ScaledSet { replicas: *r, max_replicas_annotation: Some(*m) })
                .collect();
            let after = proportional_scale(&rules, &sets, 0, false);
            prop_assert!(after.iter().all(|s| *s >= 0), "{after:?}");
        }
    }
}

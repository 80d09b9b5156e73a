//! From a proposal to a replica count: stabilisation windows, rate limits and their memory.
//!
//! Upstream: kubernetes/kubernetes `pkg/controller/podautoscaler/horizontal.go` (1.34):
//! normalizeDesiredReplicas, stabilizeRecommendation, convertDesiredReplicasWithRules and the
//! WithBehaviors forms, storeScaleEvent. Differences: arithmetic saturates.

use super::reconcile::AbleToScale;
use super::spec::{Behavior, Config, Policy, PolicyKind, Rules, SelectPolicy};
use crate::units::{SimTime, Span};

/// The legacy rule doubles at most …
const SCALE_UP_LIMIT_FACTOR: i32 = 2;
/// … but always allows this many (both from upstream's horizontal.go).
const SCALE_UP_LIMIT_MINIMUM: i32 = 4;

/// A remembered proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recommendation {
    /// When it was made.
    pub time: SimTime,
    /// Proposed count.
    pub replicas: i32,
}

/// A remembered scaling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleEvent {
    /// When it was written.
    pub time: SimTime,
    /// Pods added or removed, always positive.
    pub change: i32,
    /// Older than every period; its slot may be reused.
    pub outdated: bool,
}

/// What the controller remembers of one HPA. It is lost when the controller restarts.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct History {
    /// Proposals; `None` before the first sync.
    pub recommendations: Option<Vec<Recommendation>>,
    /// Scale-ups.
    pub scale_ups: Vec<ScaleEvent>,
    /// Scale-downs.
    pub scale_downs: Vec<ScaleEvent>,
}

impl History {
    /// Remembers the current count at the first sync.
    pub fn record_initial(&mut self, now: SimTime, replicas: i32) {
        self.recommendations.get_or_insert_with(|| vec![Recommendation { time: now, replicas }]);
    }

    /// Remembers a proposal as [`normalize`] does, for a sync that was known to repeat the last one.
    pub fn note(
        &mut self,
        behavior: Option<&Behavior>,
        config: &Config,
        proposal: i32,
        now: SimTime,
    ) {
        let records = self.recommendations.get_or_insert_default();
        match behavior {
            None => {
                let window = config.downscale_stabilization;
                let _ = legacy_stabilize(records, window, proposal, now);
            }
            Some(behavior) => {
                let windows = behavior.windows(config);
                let _ = stabilize(records, windows, proposal, proposal, now);
            }
        }
    }

    /// Whether the same proposal will never be held back by earlier ones: the current count with a
    /// behavior; without one, and beyond a bound, only if those within the window do not differ.
    #[must_use]
    pub fn keeps(
        &self,
        behavior: Option<&Behavior>,
        config: &Config,
        (current, proposal): (i32, i32),
        now: SimTime,
    ) -> bool {
        let records = self.recommendations.as_deref().unwrap_or_default();
        let window = behavior.map_or(config.downscale_stabilization, |b| {
            let (up, down) = b.windows(config);
            up.max(down)
        });
        let counts = |r: &&Recommendation| now.since(r.time) <= window;
        let mut counting = records.iter().filter(counts);
        match behavior {
            Some(_) if current == proposal => true,
            Some(_) => counting.all(|r| r.replicas == proposal),
            None => counting.all(|r| r.replicas <= proposal),
        }
    }

    /// Remembers a scaling that was written; without a behavior nothing is kept.
    pub fn record_rescale(
        &mut self,
        behavior: Option<&Behavior>,
        now: SimTime,
        from: i32,
        to: i32,
    ) {
        let Some(behavior) = behavior else { return };
        if to > from {
            let change = to.saturating_sub(from);
            store_scale_event(&mut self.scale_ups, &behavior.scale_up.policies, now, change);
        } else {
            let change = from.saturating_sub(to);
            store_scale_event(&mut self.scale_downs, &behavior.scale_down.policies, now, change);
        }
    }
}

/// Result of a stabilisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stabilized {
    /// Count after it.
    pub replicas: i32,
    /// Condition it sets.
    pub condition: AbleToScale,
}

/// Why a count was limited, or that it was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// `DesiredWithinRange`.
    DesiredWithinRange,
    /// `ScaleUpLimit`.
    ScaleUpLimit,
    /// `ScaleDownLimit`.
    ScaleDownLimit,
    /// `TooManyReplicas`.
    TooManyReplicas,
    /// `TooFewReplicas`.
    TooFewReplicas,
}

impl Limited {
    /// Reason of the ScalingLimited condition.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::DesiredWithinRange => "DesiredWithinRange",
            Self::ScaleUpLimit => "ScaleUpLimit",
            Self::ScaleDownLimit => "ScaleDownLimit",
            Self::TooManyReplicas => "TooManyReplicas",
            Self::TooFewReplicas => "TooFewReplicas",
        }
    }
    /// Message of the ScalingLimited condition.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::DesiredWithinRange => "the desired count is within the acceptable range",
            Self::ScaleUpLimit => {
                "the desired replica count is increasing faster than the maximum scale rate"
            }
            Self::ScaleDownLimit => {
                "the desired replica count is decreasing faster than the maximum scale rate"
            }
            Self::TooManyReplicas => {
                "the desired replica count is more than the maximum replica count"
            }
            Self::TooFewReplicas => {
                "the desired replica count is less than the minimum replica count"
            }
        }
    }
    /// Status of the ScalingLimited condition.
    #[must_use]
    pub fn status(self) -> bool {
        self != Self::DesiredWithinRange
    }
}

/// A proposal turned into a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Normalized {
    /// Count to write.
    pub replicas: i32,
    /// What stabilisation said.
    pub able: AbleToScale,
    /// What the limits said.
    pub limited: Limited,
}

/// Stabilises, then limits `proposal`, and remembers it.
#[must_use]
pub fn normalize(
    behavior: Option<&Behavior>,
    bounds: (i32, i32),
    history: &mut History,
    current: i32,
    proposal: i32,
    now: SimTime,
    config: &Config,
) -> Normalized {
    let records = history.recommendations.get_or_insert_default();
    let (stable, (replicas, limited)) = match behavior {
        None => {
            let window = config.downscale_stabilization;
            let stable = legacy_stabilize(records, window, proposal, now);
            (stable, legacy_limit(current, stable.replicas, bounds))
        }
        Some(behavior) => {
            let windows = behavior.windows(config);
            let stable = stabilize(records, windows, current, proposal, now);
            (stable, rate_limit(behavior, bounds, history, current, stable.replicas, now))
        }
    };
    Normalized { replicas, able: stable.condition, limited }
}

/// The downscale window of an HPA without a behavior; remembers `proposal`.
pub fn legacy_stabilize(
    records: &mut Vec<Recommendation>,
    window: Span,
    proposal: i32,
    now: SimTime,
) -> Stabilized {
    let mut highest = proposal;
    let mut slot = None;
    for (index, record) in records.iter().enumerate() {
        if now.since(record.time) > window {
            slot = Some(index);
        } else {
            highest = highest.max(record.replicas);
        }
    }
    remember(records, slot, Recommendation { time: now, replicas: proposal });
    let condition = if highest == proposal {
        AbleToScale::ReadyForNewScale
    } else {
        AbleToScale::ScaleDownStabilized
    };
    Stabilized { replicas: highest, condition }
}

/// Both windows `(up, down)` of an HPA with a behavior; remembers `proposal`.
pub fn stabilize(
    records: &mut Vec<Recommendation>,
    (up, down): (Span, Span),
    current: i32,
    proposal: i32,
    now: SimTime,
) -> Stabilized {
    let (mut low, mut high) = (proposal, proposal);
    let mut slot = None;
    for (index, record) in records.iter().enumerate() {
        let age = now.since(record.time);
        if age < up {
            low = low.min(record.replicas);
        }
        if age < down {
            high = high.max(record.replicas);
        }
        if age > up && age > down {
            slot = Some(index);
        }
    }
    // `low` first, then `high`: they never cross, since both start at the proposal.
    let replicas = current.max(low).min(high);
    remember(records, slot, Recommendation { time: now, replicas: proposal });
    let condition = if replicas == proposal {
        AbleToScale::ReadyForNewScale
    } else if proposal >= current {
        AbleToScale::ScaleUpStabilized
    } else {
        AbleToScale::ScaleDownStabilized
    };
    Stabilized { replicas, condition }
}

fn remember<T>(list: &mut Vec<T>, slot: Option<usize>, item: T) {
    match slot.and_then(|index| list.get_mut(index)) {
        Some(old) => *old = item,
        None => list.push(item),
    }
}

/// Bounds and the doubling rule of an HPA without a behavior.
#[must_use]
pub fn legacy_limit(current: i32, desired: i32, (min, max): (i32, i32)) -> (i32, Limited) {
    let doubled = current.saturating_mul(SCALE_UP_LIMIT_FACTOR).max(SCALE_UP_LIMIT_MINIMUM);
    let (upper, reason) = if max > doubled {
        (doubled, Limited::ScaleUpLimit)
    } else {
        (max, Limited::TooManyReplicas)
    };
    if desired < min {
        (min, Limited::TooFewReplicas)
    } else if desired > upper {
        (upper, reason)
    } else {
        (desired, Limited::DesiredWithinRange)
    }
}

/// Bounds and policies of an HPA with a behavior.
#[must_use]
pub fn rate_limit(
    behavior: &Behavior,
    (min, max): (i32, i32),
    history: &History,
    current: i32,
    desired: i32,
    now: SimTime,
) -> (i32, Limited) {
    if desired > current {
        let limit = scale_up_limit(&behavior.scale_up, history, current, now).max(current);
        let (upper, reason) = if max > limit {
            (limit, Limited::ScaleUpLimit)
        } else {
            (max, Limited::TooManyReplicas)
        };
        let (count, why) =
            if desired > upper { (upper, reason) } else { (desired, Limited::DesiredWithinRange) };
        // From zero the first step already reaches the minimum.
        if current == 0 && count < min {
            return (min, Limited::TooFewReplicas);
        }
        return (count, why);
    }
    if desired < current {
        let limit = scale_down_limit(&behavior.scale_down, history, current, now).min(current);
        let (lower, reason) = if min < limit {
            (limit, Limited::ScaleDownLimit)
        } else {
            (min, Limited::TooFewReplicas)
        };
        if desired < lower {
            return (lower, reason);
        }
    }
    (desired, Limited::DesiredWithinRange)
}

/// The count at the start of the policy's period.
fn period_start(history: &History, current: i32, period: Span, now: SimTime) -> i64 {
    let sum = |events: &[ScaleEvent]| {
        let young = events.iter().filter(|e| now.since(e.time) < period);
        young.map(|e| i64::from(e.change)).sum::<i64>()
    };
    i64::from(current) - sum(&history.scale_ups) + sum(&history.scale_downs)
}

fn to_i32(x: i64) -> i32 {
    x.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}

fn scale_up_limit(rules: &Rules, history: &History, current: i32, now: SimTime) -> i32 {
    let limit = |policy: &Policy| {
        let start = period_start(history, current, policy.period, now);
        match policy.kind {
            PolicyKind::Pods => to_i32(start + i64::from(policy.value)),
            // Rounded up, since one percent of a few pods would else never scale.
            PolicyKind::Percent => {
                (start as f64 * (1.0 + f64::from(policy.value) / 100.0)).ceil() as i32
            }
        }
    };
    let limits = rules.policies.iter().map(limit);
    match rules.select_policy {
        SelectPolicy::Disabled => current,
        SelectPolicy::Min => limits.min().unwrap_or(i32::MAX),
        SelectPolicy::Max => limits.max().unwrap_or(i32::MIN),
    }
}

fn scale_down_limit(rules: &Rules, history: &History, current: i32, now: SimTime) -> i32 {
    let limit = |policy: &Policy| {
        let start = period_start(history, current, policy.period, now);
        match policy.kind {
            PolicyKind::Pods => to_i32(start - i64::from(policy.value)),
            PolicyKind::Percent => (start as f64 * (1.0 - f64::from(policy.value) / 100.0)) as i32,
        }
    };
    let limits = rules.policies.iter().map(limit);
    match rules.select_policy {
        SelectPolicy::Disabled => current,
        SelectPolicy::Min => limits.max().unwrap_or(i32::MIN),
        SelectPolicy::Max => limits.min().unwrap_or(i32::MAX),
    }
}

/// Marks what no policy looks at any more and stores a scaling by `change` pods.
pub fn store_scale_event(
    events: &mut Vec<ScaleEvent>,
    policies: &[Policy],
    now: SimTime,
    change: i32,
) {
    let longest = policies.iter().map(|p| p.period).max().unwrap_or(Span::ZERO);
    let mut slot = None;
    for (index, event) in events.iter_mut().enumerate() {
        event.outdated |= now.since(event.time) > longest;
        if event.outdated {
            slot = Some(index);
        }
    }
    remember(events, slot, ScaleEvent { time: now, change, outdated: false });
}

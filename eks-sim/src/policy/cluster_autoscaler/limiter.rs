//! Limits on the nodes one estimation may add.
//!
//! Upstream: estimator/threshold_based_limiter.go, static_threshold.go, sng_capacity_threshold.go
//! and cluster_capacity_threshold.go of release 1.37.

use crate::units::{SimTime, Span};

/// One threshold: zero is no limit, a negative node limit allows nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Threshold {
    /// Nodes.
    pub nodes: i64,
    /// Time of the estimation.
    pub duration: Span,
}

/// The smaller of two limits where zero is none; any negative one gives −1.
#[must_use]
pub fn merge_limits(base: i64, other: i64) -> i64 {
    if base < 0 || other < 0 {
        return -1;
    }
    if other > 0 && (base == 0 || base > other) { other } else { base }
}

/// Room of a group and its similar groups, −1 if there is none.
#[must_use]
pub fn similar_group_capacity(sizes: impl IntoIterator<Item = (i64, i64)>) -> i64 {
    let room = sizes
        .into_iter()
        .map(|(size, max)| max.saturating_sub(size).max(0))
        .fold(0i64, i64::saturating_add);
    if room > 0 { room } else { -1 }
}

/// Room of the cluster under `max_nodes_total` (0 is no limit), −1 if there is none.
#[must_use]
pub fn cluster_capacity(max_nodes_total: i64, current_nodes: i64) -> i64 {
    if max_nodes_total == 0 {
        return 0;
    }
    let room = max_nodes_total.saturating_sub(current_nodes);
    if max_nodes_total > 0 && room > 0 { room } else { -1 }
}

/// Says whether another node may be added, and counts those that were.
#[derive(Clone, Debug)]
pub struct Limiter {
    max_nodes: i64,
    max_duration: Span,
    start: SimTime,
    nodes: i64,
}

impl Limiter {
    /// Starts an estimation at `now` under the tightest of `thresholds`.
    #[must_use]
    pub fn start(thresholds: &[Threshold], now: SimTime) -> Self {
        let max_nodes = thresholds.iter().fold(0, |limit, t| merge_limits(limit, t.nodes));
        let max_duration = thresholds
            .iter()
            .map(|t| t.duration)
            .filter(|d| !d.is_zero())
            .min()
            .unwrap_or(Span::ZERO);
        Self { max_nodes, max_duration, start: now, nodes: 0 }
    }

    /// Whether one more node may be added at `now`; if so it counts as added.
    pub fn permission_to_add_node(&mut self, now: SimTime) -> bool {
        if self.max_nodes < 0 || (self.max_nodes > 0 && self.nodes >= self.max_nodes) {
            return false;
        }
        if !self.max_duration.is_zero() && now > self.start + self.max_duration {
            return false;
        }
        self.nodes += 1;
        true
    }

    /// Nodes added since the start.
    #[must_use]
    pub const fn nodes(&self) -> i64 {
        self.nodes
    }
}

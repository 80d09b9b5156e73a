//! Since when nodes are unneeded, and whether they may go now.
//!
//! Upstream: core/scaledown/unneeded/nodes.go of release 1.37.

use super::eligibility::UnremovableReason;
use crate::units::{SimTime, Span};
use std::collections::BTreeMap;

/// First loop of the unbroken run in which each node was found unneeded.
#[derive(Clone, Debug)]
pub struct UnneededNodes<K> {
    since: BTreeMap<K, SimTime>,
}

impl<K: Ord> Default for UnneededNodes<K> {
    fn default() -> Self {
        Self { since: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> UnneededNodes<K> {
    /// Takes the nodes found unneeded in the loop at `now`.
    pub fn update(&mut self, nodes: impl IntoIterator<Item = K>, now: SimTime) {
        let mut next = BTreeMap::new();
        for node in nodes {
            let since = self.since.get(&node).copied().unwrap_or(now);
            next.insert(node, since);
        }
        self.since = next;
    }
    /// Since when `node` is unneeded.
    #[must_use]
    pub fn since(&self, node: &K) -> Option<SimTime> {
        self.since.get(node).copied()
    }
    /// Nodes with their start, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, SimTime)> {
        self.since.iter().map(|(node, &since)| (node, since))
    }
    /// Number of unneeded nodes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.since.len()
    }
    /// Whether no node is unneeded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.since.is_empty()
    }
    /// Forgets all, as after a scale-up.
    pub fn clear(&mut self) {
        self.since.clear();
    }
    /// Forgets one node.
    pub fn drop_node(&mut self, node: &K) {
        self.since.remove(node);
    }
}

/// Size of a node's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupRoom {
    /// Minimum.
    pub min: i64,
    /// Target size.
    pub target: i64,
    /// Deletions under way.
    pub deletions: i64,
}

impl GroupRoom {
    /// Nodes that may still go.
    #[must_use]
    pub const fn removable(&self) -> i64 {
        let room = self.target.saturating_sub(self.deletions).saturating_sub(self.min);
        if room > 0 { room } else { 0 }
    }
}

/// A tracked node as the last check sees it.
#[derive(Clone, Copy, Debug)]
pub struct TrackedNode {
    /// Annotated against removal.
    pub scale_down_disabled: bool,
    /// Ready.
    pub ready: bool,
    /// Time since it was first found unneeded.
    pub unneeded_for: Span,
    /// Its group.
    pub group: Option<GroupRoom>,
    /// Required unneeded time of the group, if its options can be read.
    pub unneeded_time: Option<Span>,
    /// Required unready time of the group, likewise.
    pub unready_time: Option<Span>,
    /// The cluster would fall below a minimum.
    pub below_cluster_minimum: bool,
}

/// Why a tracked node may not go now, or none.
#[must_use]
pub fn removable_reason(node: &TrackedNode) -> Option<UnremovableReason> {
    if node.scale_down_disabled {
        return Some(UnremovableReason::ScaleDownDisabledAnnotation);
    }
    let Some(group) = node.group else { return Some(UnremovableReason::NotAutoscaled) };
    let (required, too_early) = if node.ready {
        (node.unneeded_time, UnremovableReason::NotUnneededLongEnough)
    } else {
        (node.unready_time, UnremovableReason::NotUnreadyLongEnough)
    };
    match required {
        None => return Some(UnremovableReason::UnexpectedError),
        Some(required) if node.unneeded_for <= required => return Some(too_early),
        Some(_) => {}
    }
    if group.removable() == 0 {
        return Some(UnremovableReason::NodeGroupMinSizeReached);
    }
    node.below_cluster_minimum.then_some(UnremovableReason::MinimalResourceLimitExceeded)
}

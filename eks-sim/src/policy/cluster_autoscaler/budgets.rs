//! How many removable nodes start being deleted in one loop.
//!
//! Upstream: core/scaledown/budgets/budgets.go of release 1.37.

use std::collections::BTreeMap;

/// Nodes of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket<N> {
    /// Position of the group.
    pub group: usize,
    /// The nodes, in order.
    pub nodes: Vec<N>,
}

/// What the budget reads of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetGroup {
    /// Target size.
    pub target: i64,
    /// Registered nodes, candidates or not.
    pub registered: i64,
    /// Scales between zero and all nodes only.
    pub atomic: bool,
}

/// Limits and what is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// `--max-scale-down-parallelism`.
    pub max_parallelism: i64,
    /// `--max-drain-parallelism`.
    pub max_drain_parallelism: i64,
    /// Deletions of empty nodes under way.
    pub empty_in_progress: i64,
    /// Drains under way.
    pub drain_in_progress: i64,
}

/// Nodes whose deletion starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cropped<N> {
    /// Empty nodes, by group.
    pub empty: Vec<Bucket<N>>,
    /// Nodes to drain, by group.
    pub drain: Vec<Bucket<N>>,
}

impl<N> Default for Cropped<N> {
    fn default() -> Self {
        Self { empty: Vec::new(), drain: Vec::new() }
    }
}

/// Crops candidates to the budgets. `group_of` looks a group up.
#[must_use]
pub fn crop<N: Clone>(
    budget: &Budget,
    group_of: impl Fn(usize) -> BudgetGroup,
    empty: Vec<Bucket<N>>,
    drain: Vec<Bucket<N>>,
) -> Cropped<N> {
    let (empty_atomic, empty_single): (Vec<_>, Vec<_>) =
        empty.into_iter().partition(|b| group_of(b.group).atomic);
    let (drain_atomic, drain_single): (Vec<_>, Vec<_>) =
        drain.into_iter().partition(|b| group_of(b.group).atomic);
    let mut room = Room {
        all: budget.max_parallelism - budget.empty_in_progress - budget.drain_in_progress,
        drain: budget.max_drain_parallelism - budget.drain_in_progress,
        overflow: true,
    };
    let mut out = Cropped::default();
    let draining: BTreeMap<usize, &Bucket<N>> = drain_atomic.iter().map(|b| (b.group, b)).collect();
    for bucket in &empty_atomic {
        let partner = draining.get(&bucket.group).copied();
        let drained = partner.map_or(0, |b| b.nodes.len() as i64);
        let total = bucket.nodes.len() as i64 + drained;
        let over = room.all < total || room.drain < drained;
        if over && (room.all == 0 || (drained > 0 && room.drain == 0) || !room.overflow) {
            break;
        }
        if !is_whole(total, group_of(bucket.group)) {
            continue;
        }
        out.empty.push(bucket.clone());
        out.drain.extend(partner.cloned());
        room.take(total, drained);
    }
    room.drain = room.drain.min(room.all);
    let with_empty: Vec<usize> = empty_atomic.iter().map(|b| b.group).collect();
    for bucket in drain_atomic.iter().filter(|b| !with_empty.contains(&b.group)) {
        let total = bucket.nodes.len() as i64;
        if room.drain < total && (room.drain == 0 || !room.overflow) {
            break;
        }
        if !is_whole(total, group_of(bucket.group)) {
            continue;
        }
        out.drain.push(bucket.clone());
        room.take(total, total);
    }
    room.all -= crop_single(&mut out.empty, empty_single, room.all);
    crop_single(&mut out.drain, drain_single, room.drain.min(room.all));
    out
}

struct Room {
    all: i64,
    drain: i64,
    /// One atomic group may still exceed the budgets, so that it does not starve.
    overflow: bool,
}

impl Room {
    const fn take(&mut self, all: i64, drain: i64) {
        self.all -= all;
        self.drain -= drain;
        self.overflow = false;
    }
}

fn is_whole(candidates: i64, group: BudgetGroup) -> bool {
    candidates == group.target || candidates == group.registered
}

fn crop_single<N>(out: &mut Vec<Bucket<N>>, buckets: Vec<Bucket<N>>, budget: i64) -> i64 {
    let mut left = budget;
    for mut bucket in buckets {
        if left < 1 {
            break;
        }
        bucket.nodes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= bucket.nodes.len() as i64;
        out.push(bucket);
    }
    budget - left
}

//! What the autoscaler remembers of node groups: requests under way, health, backoff.
//!
//! Upstream: clusterstate/clusterstate.go of release 1.37. Differences: the provider's counts
//! are handed in per group instead of being derived from instance and node lists.

use super::backoff::Backoff;
use super::flags::Flags;
use crate::units::{SimTime, Span};
use std::collections::BTreeMap;

/// Counts of one group at the start of a loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupCounts {
    /// Target size as the provider has it.
    pub target: i64,
    /// Registered nodes that are ready.
    pub ready: i64,
    /// Registered nodes that are unready, beyond their startup time.
    pub unready: i64,
    /// Registered nodes still starting.
    pub starting: i64,
    /// Registered nodes being deleted.
    pub deleting: i64,
    /// Instances without a node for longer than the provision time.
    pub long_unregistered: i64,
    /// Instances the provider reports as failed (placeholders without capacity).
    pub failed: i64,
}

impl GroupCounts {
    /// Nodes that were asked for and cannot take pods yet; registered ones that are still
    /// starting count (upstream's GetUpcomingNodes).
    #[must_use]
    pub const fn upcoming(&self) -> i64 {
        let there = self.ready + self.unready + self.deleting;
        let missing = self.target - there - self.long_unregistered;
        if missing > 0 { missing } else { 0 }
    }

    const fn registered(&self) -> i64 {
        self.ready + self.unready + self.starting + self.deleting
    }
}

/// A scale-up that did not finish in time or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Position of the group.
    pub group: usize,
    /// Nodes that never came: to be taken off the target.
    pub missing: i64,
    /// End of the backoff.
    pub backoff_until: SimTime,
    /// Failed instances rather than a time-out.
    pub failed_instances: bool,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    increase: i64,
    expected: SimTime,
}

/// State of all node groups, addressed by position.
#[derive(Clone, Debug)]
pub struct Registry {
    provision_time: Span,
    max_unready_percentage: f64,
    ok_unready: i64,
    requests: BTreeMap<usize, Request>,
    backoff: Backoff<usize>,
    counts: Vec<GroupCounts>,
}

impl Registry {
    /// A registry without history.
    #[must_use]
    pub fn new(flags: &Flags) -> Self {
        Self {
            provision_time: flags.max_node_provision_time,
            max_unready_percentage: flags.max_total_unready_percentage,
            ok_unready: flags.ok_total_unready_count as i64,
            requests: BTreeMap::new(),
            backoff: Backoff::new(
                flags.initial_node_group_backoff_duration,
                flags.max_node_group_backoff_duration,
                flags.node_group_backoff_reset_timeout,
            ),
            counts: Vec::new(),
        }
    }

    /// A scale-up of `group` by `delta` nodes was requested at `now`.
    pub fn register_scale_up(&mut self, group: usize, delta: i64, now: SimTime) {
        let expected = now + self.provision_time;
        let request = self.requests.entry(group).or_insert(Request { increase: 0, expected });
        request.increase += delta;
        if delta > 0 {
            request.expected = expected;
        }
        if request.increase <= 0 {
            self.requests.remove(&group);
        }
    }

    /// A request to the provider failed at once; the end of the backoff.
    pub fn register_failed_scale_up(&mut self, group: usize, now: SimTime) -> SimTime {
        self.requests.remove(&group);
        self.backoff.fail(group, now)
    }

    /// Takes the counts of a new loop, finishes or expires requests.
    pub fn update(&mut self, counts: &[GroupCounts], now: SimTime) -> Vec<Expired> {
        self.counts = counts.to_vec();
        self.backoff.remove_stale(now);
        let mut expired = Vec::new();
        for (group, count) in counts.iter().enumerate() {
            if count.failed > 0 {
                self.requests.remove(&group);
                expired.push(Expired {
                    group,
                    missing: count.failed,
                    backoff_until: self.backoff.fail(group, now),
                    failed_instances: true,
                });
                continue;
            }
            let Some(request) = self.requests.get(&group).copied() else { continue };
            if count.upcoming() + count.long_unregistered == 0 {
                self.requests.remove(&group);
                self.backoff.clear(group);
            } else if request.expected < now {
                self.requests.remove(&group);
                expired.push(Expired {
                    group,
                    missing: count.upcoming() + count.long_unregistered,
                    backoff_until: self.backoff.fail(group, now),
                    failed_instances: false,
                });
            }
        }
        expired
    }

    /// Upcoming nodes of `group` that count as room: none while it is backed off without a
    /// request under way.
    #[must_use]
    pub fn upcoming(&self, group: usize, now: SimTime) -> i64 {
        if self.is_backed_off(group, now) && !self.requests.contains_key(&group) {
            return 0;
        }
        self.counts.get(group).map_or(0, GroupCounts::upcoming)
    }

    /// Whether a scale-up of `group` is under way.
    #[must_use]
    pub fn is_scaling_up(&self, group: usize) -> bool {
        self.requests.contains_key(&group)
    }

    /// Whether `group` is backed off.
    #[must_use]
    pub fn is_backed_off(&self, group: usize, now: SimTime) -> bool {
        self.backoff.is_backed_off(group, now)
    }

    /// The next time after `now` at which a request expires or a backoff ends.
    #[must_use]
    pub fn next_deadline(&self, now: SimTime) -> Option<SimTime> {
        let tick = Span::from_nanos(1);
        let requests = self.requests.values().map(|r| r.expected + tick).filter(|&at| at > now);
        requests.chain(self.backoff.next_end(now).map(|at| at + tick)).min()
    }

    /// Whether enough nodes of the cluster are ready to scale at all.
    #[must_use]
    pub fn cluster_healthy(&self) -> bool {
        let unready = self.counts.iter().map(|c| c.unready + c.long_unregistered).sum();
        let total = self.counts.iter().map(|c| c.registered() + c.long_unregistered).sum();
        self.healthy(unready, total)
    }

    /// Whether enough nodes of `group` are ready to add more.
    #[must_use]
    pub fn group_healthy(&self, group: usize) -> bool {
        self.counts.get(group).is_none_or(|c| {
            let unready = c.unready + c.long_unregistered;
            self.healthy(unready, c.registered() + c.long_unregistered)
        })
    }

    fn healthy(&self, unready: i64, total: i64) -> bool {
        unready <= self.ok_unready
            || unready as f64 <= self.max_unready_percentage / 100.0 * total as f64
    }
}

//! Exponential backoff of node groups whose scale-up failed.
//!
//! Upstream: utils/backoff/exponential_backoff.go of release 1.37.

use crate::units::{SimTime, Span};
use std::collections::BTreeMap;

/// Backoffs by group.
#[derive(Clone, Debug)]
pub struct Backoff<K> {
    initial: Span,
    max: Span,
    reset_timeout: Span,
    entries: BTreeMap<K, Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    duration: Span,
    until: SimTime,
    last_failure: SimTime,
}

impl<K: Ord + Copy> Backoff<K> {
    /// No group is backed off.
    #[must_use]
    pub fn new(initial: Span, max: Span, reset_timeout: Span) -> Self {
        Self { initial, max, reset_timeout, entries: BTreeMap::new() }
    }

    /// A scale-up of `group` failed at `now`; when its backoff ends. A failure during a backoff
    /// restarts the same duration, one after it doubles the duration.
    pub fn fail(&mut self, group: K, now: SimTime) -> SimTime {
        let duration = match self.entries.get(&group) {
            None => self.initial,
            Some(entry) if entry.until < now => (entry.duration * 2).min(self.max),
            Some(entry) => entry.duration,
        };
        let until = now + duration;
        self.entries.insert(group, Entry { duration, until, last_failure: now });
        until
    }

    /// Whether `group` is backed off at `now`; it still is at the very end.
    #[must_use]
    pub fn is_backed_off(&self, group: K, now: SimTime) -> bool {
        self.entries.get(&group).is_some_and(|entry| now <= entry.until)
    }

    /// The next time from `now` on at which a backoff ends.
    #[must_use]
    pub fn next_end(&self, now: SimTime) -> Option<SimTime> {
        self.entries.values().map(|entry| entry.until).filter(|&at| at >= now).min()
    }

    /// A scale-up of `group` succeeded.
    pub fn clear(&mut self, group: K) {
        self.entries.remove(&group);
    }

    /// Forgets groups whose last failure is older than the reset timeout; entries left.
    pub fn remove_stale(&mut self, now: SimTime) -> usize {
        let timeout = self.reset_timeout;
        self.entries.retain(|_, entry| entry.last_failure + timeout >= now);
        self.entries.len()
    }
}

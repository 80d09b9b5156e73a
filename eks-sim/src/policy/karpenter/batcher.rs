//! When a batch of pending pods is closed, and the order of its pods.
//!
//! Upstream: karpenter pkg/controllers/provisioning/batcher.go and scheduling/queue.go.

use crate::units::{SimTime, Span};

/// A window of triggers. The component asks for [`Batcher::end`] after each trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batcher {
    idle: Span,
    max: Span,
    open: Option<Window>,
}

/// A batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First trigger.
    pub start: SimTime,
    /// When scheduling begins.
    pub end: SimTime,
    /// Triggers inside.
    pub triggers: usize,
}

impl Batcher {
    /// A batcher with `--batch-idle-duration` and `--batch-max-duration`.
    #[must_use]
    pub const fn new(idle: Span, max: Span) -> Self {
        Self { idle, max, open: None }
    }

    /// A new pod (or deleting node) asks for capacity at `now`; when the window ends as things
    /// stand. Triggers of elements that the window knows already must not be passed.
    pub fn trigger(&mut self, now: SimTime) -> SimTime {
        let (idle, max) = (self.idle, self.max);
        let window = self.open.get_or_insert(Window { start: now, end: now, triggers: 0 });
        window.triggers += 1;
        window.end = (now + idle).min(window.start + max);
        window.end
    }

    /// When the open window ends.
    #[must_use]
    pub fn end(&self) -> Option<SimTime> {
        self.open.map(|window| window.end)
    }

    /// Closes the window if it ends by `now`.
    pub fn close(&mut self, now: SimTime) -> Option<Window> {
        self.open.filter(|window| window.end <= now)?;
        self.open.take()
    }
}

/// What the queue sorts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueKey<'a> {
    /// CPU request in millicores.
    pub cpu: i64,
    /// Memory request in bytes.
    pub memory: i64,
    /// Creation.
    pub created: SimTime,
    /// Unique id.
    pub uid: &'a str,
}

/// Order of two pending pods: large CPU, large memory, old, small id first.
#[must_use]
pub fn queue_order(a: &QueueKey<'_>, b: &QueueKey<'_>) -> core::cmp::Ordering {
    b.cpu
        .cmp(&a.cpu)
        .then(b.memory.cmp(&a.memory))
        .then(a.created.cmp(&b.created))
        .then(a.uid.cmp(b.uid))
}

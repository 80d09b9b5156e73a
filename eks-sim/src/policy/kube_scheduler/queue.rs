//! Queue.
use crate::units::{SimTime, Span};
use std::cmp::Reverse;

/// Key that orders the active queue: higher priority first, then earlier time stamp.
#[must_use]
pub fn queue_order(priority: i32, timestamp: SimTime) -> (Reverse<i32>, SimTime) {
    (Reverse(priority), timestamp)
}

/// How long a pod backs off after its `count`-th consecutive failure.
#[must_use]
pub fn backoff_duration(initial: Span, max: Span, count: u32) -> Span {
    if count == 0 {
        return Span::ZERO;
    }
    let shift = count - 1;
    let halved = max.nanos().checked_shr(shift).unwrap_or(0);
    if initial.nanos() > halved { max } else { Span::from_nanos(initial.nanos() << shift) }
}

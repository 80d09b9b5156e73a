//! A queue of single requests on its own, for checks of closed forms and of the fluid queue.
//!
//! Upstream: none; drives the [`RequestQueue`] that the exact mode of a run uses.
//! Differences: none. Arrival gaps and service times are passed in, so nothing here is random.

use super::queueing::Discipline;
use super::request_queue::{Left, QueueTotals, RequestQueue};
use super::sharing_queue::Capacity;
use crate::units::{SimTime, Span};

/// A queue to simulate request by request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExactQueue {
    /// Workers of speed 1.
    pub workers: u32,
    /// Order of work.
    pub discipline: Discipline,
    /// Most requests waiting (under sharing: present in excess of the workers).
    pub queue_bound: Option<u64>,
    /// Longest wait (under sharing: time in the queue).
    pub timeout: Option<Span>,
}

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// It was answered.
    Served {
        /// Seconds until a worker took it; zero under sharing.
        wait: f64,
        /// Seconds from arrival to answer.
        in_system: f64,
    },
    /// It found the queue full.
    Dropped,
    /// It gave up.
    TimedOut,
}

/// Simulates `requests` arrivals until all have left.
///
/// `gap(k)` is the time from the arrival before to arrival `k`, `service(k)` the time it needs
/// alone on a worker, both in seconds. `observe` is told the outcome of each request in order of
/// departure.
pub fn simulate_exact(
    queue: &ExactQueue,
    requests: u64,
    mut gap: impl FnMut(u64) -> f64,
    mut service: impl FnMut(u64) -> f64,
    mut observe: impl FnMut(u64, Outcome),
) -> QueueTotals {
    let workers = f64::from(queue.workers.max(1));
    let mut state = RequestQueue::new(queue.discipline);
    if let Some(timeout) = queue.timeout {
        state = state.with_timeout(timeout);
    }
    if let Some(bound) = queue.queue_bound {
        state.set_bound(bound as f64);
    }
    state.set_capacity(SimTime::ZERO, Capacity { workers, rate: workers });
    let mut arrival = SimTime::ZERO;
    for k in 0..requests {
        arrival += Span::from_secs_f64(gap(k));
        leave_until(&mut state, arrival, &mut observe);
        if !state.offer(arrival, k, service(k)) {
            observe(k, Outcome::Dropped);
        }
    }
    loop {
        let next = state.next_leaving();
        if next == SimTime::NEVER {
            return *state.totals();
        }
        leave_until(&mut state, next, &mut observe);
    }
}

fn leave_until(
    queue: &mut RequestQueue<u64>,
    until: SimTime,
    observe: &mut impl FnMut(u64, Outcome),
) {
    while let Some(Left { token, arrived, started, served }) = queue.pop(until) {
        if served {
            let in_system = queue.now().since(arrived).secs_f64();
            let wait = started.since(arrived).secs_f64();
            observe(token, Outcome::Served { wait, in_system });
        } else {
            observe(token, Outcome::TimedOut);
        }
    }
}

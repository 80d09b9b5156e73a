//! A queue of single requests, for checks of the fluid queue and for short, exact studies.
//!
//! Upstream: none; the textbook G/G/c queue, first come first served or processor sharing.
//! Differences: none. Arrival gaps and service times are passed in, so nothing here is random.

use super::queueing::Discipline;
use ordered_float::OrderedFloat;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A queue to simulate request by request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExactQueue {
    /// Workers of speed 1.
    pub workers: u32,
    /// Order of work.
    pub discipline: Discipline,
    /// Most requests waiting (under sharing: present in excess of the workers).
    pub queue_bound: Option<u64>,
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
}

/// Totals of a simulation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ExactTotals {
    /// Requests answered.
    pub served: u64,
    /// Requests that found the queue full.
    pub dropped: u64,
    /// Seconds from the start to the last event.
    pub seconds: f64,
    /// Time integral of the number present, in request-seconds.
    pub present_seconds: f64,
    /// Sum of all times in system, in seconds.
    pub latency_seconds: f64,
}

impl ExactTotals {
    fn pass(&mut self, to: f64, present: usize) {
        self.present_seconds += (to - self.seconds) * present as f64;
        self.seconds = to;
    }
}

/// Simulates `requests` arrivals until all have left.
///
/// `gap(k)` is the time from the arrival before to arrival `k`, `service(k)` the time it needs
/// alone on a worker, both in seconds. `observe` is told the outcome of each request: in order of
/// arrival if first come first served, else in order of departure.
pub fn simulate_exact(
    queue: &ExactQueue,
    requests: u64,
    gap: impl FnMut(u64) -> f64,
    service: impl FnMut(u64) -> f64,
    observe: impl FnMut(u64, Outcome),
) -> ExactTotals {
    match queue.discipline {
        Discipline::Fifo => simulate_fifo(queue, requests, gap, service, observe),
        Discipline::ProcessorSharing => simulate_sharing(queue, requests, gap, service, observe),
    }
}

impl ExactQueue {
    /// Most requests present.
    fn room(&self) -> usize {
        let waiting = self.queue_bound.map_or(usize::MAX, |bound| bound as usize);
        waiting.saturating_add(self.workers as usize)
    }
}

fn simulate_fifo(
    queue: &ExactQueue,
    requests: u64,
    mut gap: impl FnMut(u64) -> f64,
    mut service: impl FnMut(u64) -> f64,
    mut observe: impl FnMut(u64, Outcome),
) -> ExactTotals {
    let mut totals = ExactTotals::default();
    let mut free: BinaryHeap<Reverse<OrderedFloat<f64>>> =
        (0..queue.workers.max(1)).map(|_| Reverse(OrderedFloat(0.0))).collect();
    let mut departures: BinaryHeap<Reverse<OrderedFloat<f64>>> = BinaryHeap::new();
    let mut arrival = 0.0;
    for k in 0..requests {
        arrival += gap(k);
        leave_until(&mut departures, arrival, &mut totals);
        totals.pass(arrival, departures.len());
        if departures.len() >= queue.room() {
            totals.dropped += 1;
            observe(k, Outcome::Dropped);
            continue;
        }
        let mut earliest = free.peek_mut().expect("there is a worker");
        let start = earliest.0.0.max(arrival);
        let end = start + service(k);
        *earliest = Reverse(OrderedFloat(end));
        drop(earliest);
        departures.push(Reverse(OrderedFloat(end)));
        totals.served += 1;
        totals.latency_seconds += end - arrival;
        observe(k, Outcome::Served { wait: start - arrival, in_system: end - arrival });
    }
    leave_until(&mut departures, f64::INFINITY, &mut totals);
    totals
}

fn leave_until(
    departures: &mut BinaryHeap<Reverse<OrderedFloat<f64>>>,
    until: f64,
    totals: &mut ExactTotals,
) {
    while let Some(Reverse(OrderedFloat(end))) = departures.peek().copied() {
        if end > until {
            return;
        }
        totals.pass(end, departures.len());
        departures.pop();
    }
}

/// (virtual end, arrival number, arrival time).
type Present = (OrderedFloat<f64>, u64, OrderedFloat<f64>);

/// The requests of a shared service by the virtual time at which each has had its service.
struct Sharing {
    present: BinaryHeap<Reverse<Present>>,
    /// Service each request present since the start has had.
    virtual_time: f64,
    workers: f64,
    totals: ExactTotals,
}

impl Sharing {
    /// Seconds in which each request present gets one second of service.
    fn slowness(&self) -> f64 {
        (self.present.len() as f64 / self.workers).max(1.0)
    }

    /// Lets requests leave and time pass until `until`.
    fn advance(&mut self, until: f64, observe: &mut impl FnMut(u64, Outcome)) {
        while let Some(Reverse((OrderedFloat(end), k, OrderedFloat(arrival)))) =
            self.present.peek().copied()
        {
            let leaves = self.totals.seconds + (end - self.virtual_time) * self.slowness();
            if leaves > until {
                break;
            }
            self.totals.pass(leaves, self.present.len());
            self.virtual_time = end;
            self.present.pop();
            self.totals.served += 1;
            self.totals.latency_seconds += leaves - arrival;
            observe(k, Outcome::Served { wait: 0.0, in_system: leaves - arrival });
        }
        if until.is_finite() {
            self.virtual_time += (until - self.totals.seconds) / self.slowness();
            self.totals.pass(until, self.present.len());
        }
        if self.present.is_empty() {
            // Keeps the numbers small, so that long runs lose no precision.
            self.virtual_time = 0.0;
        }
    }
}

fn simulate_sharing(
    queue: &ExactQueue,
    requests: u64,
    mut gap: impl FnMut(u64) -> f64,
    mut service: impl FnMut(u64) -> f64,
    mut observe: impl FnMut(u64, Outcome),
) -> ExactTotals {
    let workers = f64::from(queue.workers.max(1));
    let totals = ExactTotals::default();
    let mut state = Sharing { present: BinaryHeap::new(), virtual_time: 0.0, workers, totals };
    let mut arrival = 0.0;
    for k in 0..requests {
        arrival += gap(k);
        state.advance(arrival, &mut observe);
        if state.present.len() >= queue.room() {
            state.totals.dropped += 1;
            observe(k, Outcome::Dropped);
            continue;
        }
        let end = OrderedFloat(state.virtual_time + service(k));
        state.present.push(Reverse((end, k, OrderedFloat(arrival))));
    }
    state.advance(f64::INFINITY, &mut observe);
    state.totals
}

//! The queue of a service, request by request.
//!
//! Upstream: none; the textbook G/G/c queue, first come first served or processor sharing.
//! Differences: none while the number of workers is whole. A fraction of a worker helps the others
//! (first come, first served: one request more is begun, and all in work slow down); requests in
//! work go on at the new speed when workers come or go. Under first come, first served the timeout
//! bounds the wait; under sharing, where nobody waits, the time in the queue, and the work done
//! until then is lost.
//!
//! Time is in whole nanoseconds, so that times in the queue add up exactly (Little's law).

use super::queueing::Discipline;
use super::sharing_queue::Capacity;
use crate::units::math::{exp, ln, sqrt};
use crate::units::special::normal_quantile;
use crate::units::{SimTime, Span};
use ordered_float::OrderedFloat;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// The work of a request, in services of mean length, by a uniform number: always 1 if `cv` is 0,
/// exponential if it is 1, log-normal of that spread otherwise.
#[must_use]
pub fn draw_work(cv: f64, uniform: f64) -> f64 {
    if cv <= 0.0 {
        1.0
    } else if cv == 1.0 {
        -ln(uniform)
    } else {
        let square = ln(1.0 + cv * cv);
        exp(sqrt(square) * normal_quantile(uniform) - 0.5 * square)
    }
}

/// A request that left the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left<K> {
    /// What the request was called when it came.
    pub token: K,
    /// When it came.
    pub arrived: SimTime,
    /// When a worker took it; when it came, under sharing.
    pub started: SimTime,
    /// It was answered; if not, it gave up.
    pub served: bool,
}

/// What happened at a queue. All fields are sums.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct QueueTotals {
    /// Requests that came, those refused included.
    pub arrived: u64,
    /// Requests that were answered.
    pub served: u64,
    /// Requests that found the queue full, or were lost with their pod.
    pub dropped: u64,
    /// Requests that gave up.
    pub timed_out: u64,
    /// Time integral of the number present, in request-nanoseconds.
    pub present_nanos: u128,
    /// Time that the requests which left had spent here, in nanoseconds.
    pub stayed_nanos: u128,
    /// Work done, in services of mean length.
    pub work: f64,
    /// Worker-seconds spent on requests.
    pub busy_seconds: f64,
}

impl QueueTotals {
    /// Adds other sums.
    pub fn add(&mut self, other: &Self) {
        self.arrived += other.arrived;
        self.served += other.served;
        self.dropped += other.dropped;
        self.timed_out += other.timed_out;
        self.present_nanos += other.present_nanos;
        self.stayed_nanos += other.stayed_nanos;
        self.work += other.work;
        self.busy_seconds += other.busy_seconds;
    }
}

/// A request in work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Working<K> {
    /// Virtual time at which it is done.
    ends: OrderedFloat<f64>,
    /// Order of arrival, which breaks ties.
    serial: u64,
    token: K,
    arrived: SimTime,
    started: SimTime,
}

/// A request that waits for a worker.
#[derive(Clone, Copy, Debug)]
struct Waiting<K> {
    serial: u64,
    token: K,
    arrived: SimTime,
    work: f64,
}

/// A request under sharing that may give up: its work is forgotten, not searched for.
#[derive(Clone, Copy, Debug)]
struct Patience<K> {
    token: K,
    arrived: SimTime,
    present: bool,
}

/// The queue of a service, request by request; `K` is what its user calls a request.
#[derive(Clone, Debug)]
pub struct RequestQueue<K> {
    discipline: Discipline,
    timeout: Option<Span>,
    /// Most requests waiting (under sharing: present in excess of the workers).
    bound: f64,
    capacity: Capacity,
    now: SimTime,
    /// Service that each request in work has had, in services of mean length.
    virtual_time: f64,
    working: BinaryHeap<Reverse<Working<K>>>,
    waiting: VecDeque<Waiting<K>>,
    /// Under sharing with a timeout: requests in order of arrival, the first with this serial.
    patience: VecDeque<Patience<K>>,
    first: u64,
    serial: u64,
    /// Requests in work; the heap may hold others that gave up.
    in_work: u32,
    /// Sum of the arrival times of those present.
    arrivals: u128,
    totals: QueueTotals,
}

impl<K: Copy + Ord> RequestQueue<K> {
    /// An empty queue without workers, bound or timeout.
    #[must_use]
    pub fn new(discipline: Discipline) -> Self {
        Self {
            discipline,
            timeout: None,
            bound: f64::INFINITY,
            capacity: Capacity::default(),
            now: SimTime::ZERO,
            virtual_time: 0.0,
            working: BinaryHeap::new(),
            waiting: VecDeque::new(),
            patience: VecDeque::new(),
            first: 0,
            serial: 0,
            in_work: 0,
            arrivals: 0,
            totals: QueueTotals::default(),
        }
    }

    /// The same with a timeout. To be set before the first request.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Span) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// From now on at most so many requests may wait.
    pub fn set_bound(&mut self, waiting: f64) {
        self.bound = waiting.max(0.0);
    }

    /// From now on the queue has these workers; those in work go on at the new speed.
    pub fn set_capacity(&mut self, now: SimTime, capacity: Capacity) {
        self.advance(now);
        self.capacity = capacity;
        self.take_up();
    }

    /// Until when the queue has been advanced.
    #[must_use]
    pub const fn now(&self) -> SimTime {
        self.now
    }

    /// Requests present.
    #[must_use]
    pub fn present(&self) -> u32 {
        self.in_work + self.waiting.len() as u32
    }

    /// Requests waiting (under sharing: in excess of the workers).
    #[must_use]
    pub fn in_excess(&self) -> f64 {
        (f64::from(self.present()) - self.capacity.workers).max(0.0)
    }

    /// What happened until now.
    #[must_use]
    pub fn totals(&self) -> &QueueTotals {
        &self.totals
    }

    /// Time spent here by all requests, those still present included.
    #[must_use]
    pub fn stayed_nanos(&self) -> u128 {
        let present = u128::from(self.present()) * u128::from(self.now.nanos());
        self.totals.stayed_nanos + present - self.arrivals
    }

    /// Requests that are worked on at the same time under first come, first served.
    fn slots(&self) -> u32 {
        (self.capacity.workers - 1e-9).ceil().max(0.0) as u32
    }

    /// Services of mean length that each request in work gets in a second.
    fn speed(&self) -> f64 {
        let Capacity { workers, rate } = self.capacity;
        if workers <= 0.0 || rate <= 0.0 { 0.0 } else { rate / workers.max(self.in_work.into()) }
    }

    /// Lets time pass.
    pub fn advance(&mut self, now: SimTime) {
        let passed = now.since(self.now);
        if passed.is_zero() {
            return;
        }
        self.now = now;
        self.totals.present_nanos += u128::from(passed.nanos()) * u128::from(self.present());
        if self.in_work == 0 {
            return;
        }
        let (seconds, in_work) = (passed.secs_f64(), f64::from(self.in_work));
        let done = seconds * self.speed();
        self.virtual_time += done;
        self.totals.work += done * in_work;
        self.totals.busy_seconds += seconds * in_work.min(self.capacity.workers);
    }

    /// A request comes that needs `work` services of mean length. Returns whether it is accepted.
    pub fn offer(&mut self, now: SimTime, token: K, work: f64) -> bool {
        self.advance(now);
        self.totals.arrived += 1;
        if f64::from(self.present()) + 1.0 > self.capacity.workers.ceil() + self.bound {
            self.totals.dropped += 1;
            return false;
        }
        let serial = self.serial;
        self.serial += 1;
        self.arrivals += u128::from(now.nanos());
        let waiting = Waiting { serial, token, arrived: now, work };
        match self.discipline {
            Discipline::Fifo if self.in_work >= self.slots() => self.waiting.push_back(waiting),
            Discipline::Fifo => self.begin(waiting),
            Discipline::ProcessorSharing => {
                if self.timeout.is_some() {
                    self.patience.push_back(Patience { token, arrived: now, present: true });
                }
                self.begin(waiting);
            }
        }
        true
    }

    fn begin(&mut self, request: Waiting<K>) {
        if self.in_work == 0 {
            // Small numbers lose no precision in long runs; whoever gave up is forgotten.
            self.virtual_time = 0.0;
            self.working.clear();
        }
        let Waiting { serial, token, arrived, work } = request;
        let ends = OrderedFloat(self.virtual_time + work);
        self.working.push(Reverse(Working { ends, serial, token, arrived, started: self.now }));
        self.in_work += 1;
    }

    /// Idle workers take those who wait.
    fn take_up(&mut self) {
        while self.in_work < self.slots() {
            let Some(next) = self.waiting.pop_front() else { return };
            self.begin(next);
        }
    }

    /// The next time at which a request leaves, if nothing else happens before.
    pub fn next_leaving(&mut self) -> SimTime {
        self.next_end().min(self.next_timeout())
    }

    fn next_end(&mut self) -> SimTime {
        self.forget();
        let Some(Reverse(first)) = self.working.peek() else { return SimTime::NEVER };
        let speed = self.speed();
        if speed <= 0.0 {
            return SimTime::NEVER;
        }
        let left = (first.ends.0 - self.virtual_time).max(0.0) / speed;
        self.now + Span::from_secs_f64(left)
    }

    fn next_timeout(&self) -> SimTime {
        let Some(timeout) = self.timeout else { return SimTime::NEVER };
        let waiting = self.waiting.front().map(|w| w.arrived);
        let sharing = self.patience.front().map(|p| p.arrived);
        waiting.or(sharing).map_or(SimTime::NEVER, |arrived| arrived + timeout)
    }

    /// Drops heap entries of requests that gave up.
    fn forget(&mut self) {
        if self.timeout.is_none() || self.discipline == Discipline::Fifo {
            return;
        }
        while let Some(Reverse(first)) = self.working.peek() {
            let place = first.serial.checked_sub(self.first).map(|n| n as usize);
            if place.and_then(|n| self.patience.get(n)).is_some_and(|p| p.present) {
                return;
            }
            self.working.pop();
        }
    }

    /// A request that leaves by `now`, the earliest first. To be asked until there is none.
    pub fn pop(&mut self, now: SimTime) -> Option<Left<K>> {
        let (end, timeout) = (self.next_end(), self.next_timeout());
        if end.min(timeout) > now {
            self.advance(now);
            return None;
        }
        self.advance(end.min(timeout).max(self.now));
        let left = if end <= timeout { self.pop_served()? } else { self.pop_impatient()? };
        self.totals.stayed_nanos += u128::from(self.now.since(left.arrived).nanos());
        self.arrivals -= u128::from(left.arrived.nanos());
        Some(left)
    }

    fn pop_served(&mut self) -> Option<Left<K>> {
        let Reverse(done) = self.working.pop()?;
        // Without the rounding of its end to a nanosecond.
        self.virtual_time = self.virtual_time.max(done.ends.0);
        self.in_work -= 1;
        self.totals.served += 1;
        self.leave_patience(done.serial);
        self.take_up();
        let Working { token, arrived, started, .. } = done;
        Some(Left { token, arrived, started, served: true })
    }

    fn pop_impatient(&mut self) -> Option<Left<K>> {
        self.totals.timed_out += 1;
        if let Some(gone) = self.waiting.pop_front() {
            let Waiting { token, arrived, .. } = gone;
            return Some(Left { token, arrived, started: self.now, served: false });
        }
        let Patience { token, arrived, .. } = *self.patience.front()?;
        self.in_work -= 1;
        self.leave_patience(self.first);
        Some(Left { token, arrived, started: arrived, served: false })
    }

    fn leave_patience(&mut self, serial: u64) {
        let place = serial.checked_sub(self.first).map(|n| n as usize);
        let Some(row) = place.and_then(|n| self.patience.get_mut(n)) else { return };
        row.present = false;
        while self.patience.front().is_some_and(|p| !p.present) {
            self.patience.pop_front();
            self.first += 1;
        }
    }

    /// All requests are lost; their names.
    pub fn lose_all(&mut self, now: SimTime) -> Vec<K> {
        self.advance(now);
        let mut lost: Vec<(u64, K, SimTime)> = Vec::new();
        while self.in_work > 0 {
            self.forget();
            let Some(Reverse(w)) = self.working.pop() else { break };
            self.in_work -= 1;
            self.leave_patience(w.serial);
            lost.push((w.serial, w.token, w.arrived));
        }
        lost.extend(self.waiting.drain(..).map(|w| (w.serial, w.token, w.arrived)));
        lost.sort_unstable();
        for (_, _, arrived) in &lost {
            self.totals.dropped += 1;
            self.totals.stayed_nanos += u128::from(now.since(*arrived).nanos());
            self.arrivals -= u128::from(arrived.nanos());
        }
        lost.into_iter().map(|(_, token, _)| token).collect()
    }
}

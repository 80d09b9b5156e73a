//! The fluid queue of a service: rates between changes instead of single requests.
//!
//! Upstream: none; deterministic fluid model for overload plus the stationary queue of
//! [`super::queueing`] below it, which is approached with the relaxation time of M/M/1.
//! Differences from a queue of single requests: a request that would wait longer than the
//! timeout gives up at its arrival; with no ready pod requests fail at once, as connections to a
//! Service without endpoints are rejected; the queue is one for all pods.
//!
//! State is advanced only when rate or capacity change. Splitting an interval does not change the
//! result (up to rounding).

use super::queueing::{Discipline, Latency, Service, SteadyState};
use crate::units::math::{exp, sqrt};

/// What serves the requests: the ready pods of a service, taken together.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Capacity {
    /// Requests that are worked on at the same time, over all ready pods.
    pub workers: f64,
    /// Requests per second when all workers are busy.
    pub rate: f64,
}

impl Capacity {
    /// Adds a pod with `workers` of `rate` requests per second each.
    pub fn add_pod(&mut self, workers: f64, rate: f64) {
        self.workers += workers.max(0.0);
        self.rate += (workers * rate).max(0.0);
    }
}

/// What happened to requests over some time. All fields are sums and can be added up.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Flow {
    /// Length of the time, in seconds.
    pub seconds: f64,
    /// Requests that arrived.
    pub arrived: f64,
    /// Requests that were answered.
    pub served: f64,
    /// Requests refused because the queue was full or no pod was ready.
    pub dropped: f64,
    /// Requests that gave up because of the timeout.
    pub timed_out: f64,
    /// Request-seconds spent in the system: the time integral of the number present.
    pub present_seconds: f64,
    /// Worker-seconds spent on requests.
    pub busy_seconds: f64,
    /// Of `present_seconds`, those of requests that gave up after some time.
    pub impatient_seconds: f64,
}

impl Flow {
    /// Adds another flow.
    pub fn add(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.arrived += other.arrived;
        self.served += other.served;
        self.dropped += other.dropped;
        self.timed_out += other.timed_out;
        self.present_seconds += other.present_seconds;
        self.busy_seconds += other.busy_seconds;
        self.impatient_seconds += other.impatient_seconds;
    }

    /// Mean time in system of served requests by Little's law, in seconds.
    #[must_use]
    pub fn mean_latency(&self) -> Option<f64> {
        (self.served > 0.0).then(|| (self.present_seconds - self.impatient_seconds) / self.served)
    }

    /// Share of arrivals that were answered; 1 if none arrived.
    #[must_use]
    pub fn served_ratio(&self) -> f64 {
        let ended = self.served + self.dropped + self.timed_out;
        if ended > 0.0 { self.served / ended } else { 1.0 }
    }
}

/// A share of impatient requests that leaves the others no more room worth mentioning.
const FEW: f64 = 1e-4;
/// Rounds in which their share settles.
const ROUNDS: usize = 8;

/// The fluid queue of one service.
#[derive(Clone, Debug, PartialEq)]
pub struct SharingQueue {
    discipline: Discipline,
    /// Standard deviation over mean of service times.
    service_cv: f64,
    /// Most waiting requests per worker; infinite without a bound.
    bound_per_worker: f64,
    /// Longest wait, in seconds; infinite without a timeout.
    timeout: f64,
    rate: f64,
    capacity: Capacity,
    /// Requests waiting because more arrived than could be served.
    backlog: f64,
    /// Requests waiting because arrivals and service times are random.
    noise: f64,
    /// What follows from rate and capacity.
    steady: SteadyState,
    /// Share of requests that give up under sharing because they take longer than the timeout.
    impatient: f64,
}

impl SharingQueue {
    /// A queue with exponential service, no bound and no timeout, without pods or load.
    #[must_use]
    pub fn new(discipline: Discipline) -> Self {
        let capacity = Capacity::default();
        let steady = SteadyState::new(0.0, 0.0, 0.0, f64::INFINITY);
        Self {
            discipline,
            service_cv: 1.0,
            bound_per_worker: f64::INFINITY,
            timeout: f64::INFINITY,
            rate: 0.0,
            capacity,
            backlog: 0.0,
            noise: 0.0,
            steady,
            impatient: 0.0,
        }
    }

    /// The same with service times of this standard deviation over mean.
    #[must_use]
    pub fn with_service_cv(mut self, cv: f64) -> Self {
        self.service_cv = cv.max(0.0);
        self
    }

    /// The same with at most this many waiting requests per worker.
    #[must_use]
    pub fn with_bound(mut self, waiting_per_worker: f64) -> Self {
        self.bound_per_worker = waiting_per_worker.max(0.0);
        self
    }

    /// The same with a longest wait in seconds.
    #[must_use]
    pub fn with_timeout(mut self, seconds: f64) -> Self {
        self.timeout = seconds.max(0.0);
        self
    }

    /// From the next [`Self::change`] on at most this many waiting requests per worker.
    pub fn set_bound(&mut self, waiting_per_worker: f64) {
        self.bound_per_worker = waiting_per_worker.max(0.0);
    }

    /// Multiplies the waiting requests, as when they spread over more or fewer equal queues.
    pub fn scale_waiting(&mut self, factor: f64) {
        self.backlog *= factor.max(0.0);
        self.noise *= factor.max(0.0);
    }

    /// Sets arrival rate and capacity from now on; the caller has advanced to now.
    ///
    /// The flow holds the waiting requests that the new capacity makes give up.
    pub fn change(&mut self, rate: f64, capacity: Capacity) -> Flow {
        if rate == self.rate && capacity == self.capacity {
            return Flow::default();
        }
        let was_full = self.drift() > 0.0 && self.backlog >= self.limit();
        self.rate = rate.max(0.0);
        self.capacity = capacity;
        let limit = self.limit();
        self.steady = SteadyState::new(self.rate, capacity.rate, capacity.workers, limit);
        self.impatient = self.impatience();
        // Whatever the model called it, these requests are waiting now.
        let waiting = self.waiting();
        if was_full && self.drift() > 0.0 && self.backlog >= limit {
            // A full queue under more or less overload is still full.
            (self.backlog, self.noise) = (limit, (waiting - limit).min(0.0));
        } else if self.noise < 0.0 {
            (self.backlog, self.noise) = (waiting, 0.0);
        }
        let gave_up = (waiting - limit).max(0.0);
        self.noise = self.noise.min(limit);
        self.backlog = self.backlog.min(limit - self.noise);
        self.lost(gave_up)
    }

    /// Most waiting requests: what the bound allows and what is served within the timeout.
    fn limit(&self) -> f64 {
        self.queue_bound().min(self.timeout_bound())
    }

    fn queue_bound(&self) -> f64 {
        times(self.bound_per_worker, self.capacity.workers)
    }

    fn timeout_bound(&self) -> f64 {
        times(self.timeout, self.capacity.rate)
    }

    /// Books `requests` as dropped or timed out, whichever limit is the tighter one.
    fn lost(&self, requests: f64) -> Flow {
        let by_timeout = self.capacity.rate > 0.0 && self.timeout_bound() < self.queue_bound();
        let (timed_out, dropped) = if by_timeout { (requests, 0.0) } else { (0.0, requests) };
        Flow { timed_out, dropped, ..Flow::default() }
    }

    /// Lets `seconds` pass at constant rate and capacity.
    pub fn advance(&mut self, seconds: f64) -> Flow {
        let mut flow = Flow::default();
        let mut left = seconds.max(0.0);
        // At most two pieces: on the way to empty or full, and there.
        for _ in 0..2 {
            let piece = self.until_bend().min(left);
            let part = self.advance_straight(piece);
            flow.add(&part);
            left -= piece;
            if left <= 0.0 {
                break;
            }
        }
        flow
    }

    /// Speed at which the backlog would change if it had no ends.
    fn drift(&self) -> f64 {
        self.rate - self.capacity.rate
    }

    /// Whether the backlog falls or grows at present.
    fn is_moving(&self) -> bool {
        let drift = self.drift();
        (drift < 0.0 && self.backlog > 0.0) || (drift > 0.0 && self.backlog < self.limit())
    }

    /// Seconds until the backlog is empty or full; infinite if that never happens.
    #[must_use]
    pub fn until_bend(&self) -> f64 {
        if !self.is_moving() {
            return f64::INFINITY;
        }
        let drift = self.drift();
        if drift < 0.0 { self.backlog / -drift } else { (self.limit() - self.backlog) / drift }
    }

    /// Advances to at most the next bend.
    fn advance_straight(&mut self, seconds: f64) -> Flow {
        let bend = self.until_bend();
        let before = self.backlog;
        let moving = self.is_moving();
        if moving {
            let end = if self.drift() < 0.0 { 0.0 } else { self.limit() };
            self.backlog = if seconds >= bend { end } else { before + self.drift() * seconds };
        }
        let waited = before + self.noise;
        let noise = self.relax(seconds, moving);
        let arrived = self.rate * seconds;
        let lost = if moving { 0.0 } else { self.lost_share() * arrived };
        let late = if moving { 0.0 } else { (self.impatient * arrived - lost).max(0.0) };
        // By conservation, so that no request is created or lost by rounding.
        let late = late.min((arrived - lost + waited - self.waiting()).max(0.0));
        let served = (arrived - lost - late + waited - self.waiting()).max(0.0);
        let mut flow = self.lost(lost);
        flow.seconds = seconds;
        flow.arrived = arrived;
        flow.served = served;
        flow.busy_seconds = served * self.service_time();
        let waiting = 0.5 * (before + self.backlog) * seconds + noise;
        // Whoever gives up has been worked on for a while.
        flow.present_seconds = waiting + flow.busy_seconds + late * self.service_time();
        flow.timed_out += late;
        flow.impatient_seconds = if late > 0.0 { late * self.timeout } else { 0.0 };
        flow
    }

    /// Share of arrivals that are lost at present.
    #[must_use]
    pub fn loss(&self) -> f64 {
        if self.is_moving() { 0.0 } else { self.lost_share().max(self.impatient) }
    }

    /// Share of requests that take longer than the timeout under sharing, without overload. They
    /// leave the others more room, so that the steady state is that of the rest.
    fn impatience(&mut self) -> f64 {
        let sharing = self.discipline == Discipline::ProcessorSharing;
        if !sharing || self.timeout.is_infinite() || self.rate <= 0.0 || self.drift() >= 0.0 {
            return 0.0;
        }
        let (limit, Capacity { workers, rate: capacity }) = (self.limit(), self.capacity);
        let mut share = self.above_timeout(self.rate);
        if share < FEW {
            return share;
        }
        for _ in 0..ROUNDS {
            share = 0.5 * (share + self.above_timeout(self.rate * (1.0 - share)));
            let rest = self.rate * (1.0 - share);
            self.steady = SteadyState::new(rest, capacity, workers, limit);
        }
        share
    }

    fn above_timeout(&self, rate: f64) -> f64 {
        let delay = if rate > 0.0 { self.steady.queue / rate } else { 0.0 };
        Latency::new(self.discipline, self.service(), 1.0, delay).above(self.timeout)
    }

    /// Share of arrivals lost while the backlog stands still.
    fn lost_share(&self) -> f64 {
        if self.rate <= 0.0 {
            return 0.0;
        }
        let overflow = (self.drift() / self.rate).max(0.0);
        // An unbounded queue at exactly its capacity loses nothing.
        if self.limit().is_infinite() { 0.0 } else { self.steady.blocked.max(overflow) }
    }

    /// Moves the random part of the queue towards its steady state; gives its time integral.
    fn relax(&mut self, seconds: f64, moving: bool) -> f64 {
        let Some((target, time)) = self.noise_target(moving) else { return self.noise * seconds };
        let decay = exp(-seconds / time);
        let excess = self.noise - target;
        self.noise = target + excess * decay;
        target * seconds + excess * time * (1.0 - decay)
    }

    /// Steady state of the random part of the queue and the time in which it is approached;
    /// nothing if there is none, as while a backlog grows.
    fn noise_target(&self, moving: bool) -> Option<(f64, f64)> {
        let (rate, capacity, limit) = (self.rate, self.capacity.rate, self.limit());
        let growing = self.drift() >= 0.0;
        if capacity <= 0.0 || (growing && (moving || limit.is_infinite())) {
            return None;
        }
        let gap = sqrt(capacity) - sqrt(rate);
        let factor = self.service().wait_factor(self.discipline);
        // Near critical load the bound is reached by diffusion first.
        let diffusion = (limit * limit + 1.0) / capacity;
        let time = (factor / (gap * gap)).min(diffusion).max(self.service_time());
        if growing {
            return Some((self.steady.queue - self.backlog, time));
        }
        Some(((self.steady.queue * factor).min(limit), time))
    }

    fn service_time(&self) -> f64 {
        if self.capacity.rate > 0.0 { self.capacity.workers / self.capacity.rate } else { 0.0 }
    }

    fn service(&self) -> Service {
        Service { mean: self.service_time(), cv: self.service_cv }
    }

    /// Requests waiting for a worker (under sharing: in excess of the workers).
    #[must_use]
    pub fn waiting(&self) -> f64 {
        (self.backlog + self.noise).max(0.0)
    }

    /// Requests waiting because more arrived than could be served.
    #[must_use]
    pub fn backlog(&self) -> f64 {
        self.backlog
    }

    /// Requests answered per second at present.
    #[must_use]
    pub fn served_rate(&self) -> f64 {
        if self.backlog > 0.0 {
            self.capacity.rate
        } else {
            let lost = self.steady.blocked.max(self.impatient);
            (self.rate * (1.0 - lost)).min(self.capacity.rate)
        }
    }

    /// Share of the workers that are busy at present; 0 without workers.
    #[must_use]
    pub fn utilisation(&self) -> f64 {
        if self.capacity.rate > 0.0 { self.served_rate() / self.capacity.rate } else { 0.0 }
    }

    /// CPU cores one pod uses at present, from its own full rate (requests per second with all
    /// its workers busy) and the CPU seconds a request costs.
    #[must_use]
    pub fn pod_cpu(&self, pod_rate: f64, cpu_seconds: f64) -> f64 {
        self.utilisation() * pod_rate * cpu_seconds
    }

    /// [`Self::latency`] once the random part of the queue has settled at the present rates.
    #[must_use]
    pub fn settled_latency(&self) -> Latency {
        let mut settled = self.clone();
        if let Some((target, _)) = self.noise_target(self.is_moving()) {
            settled.noise = target;
        }
        settled.latency()
    }

    /// Latency of a request that arrives at present and is served.
    #[must_use]
    pub fn latency(&self) -> Latency {
        let service = self.service();
        if self.capacity.rate <= 0.0 {
            return Latency { mean: 0.0, sd: 0.0 };
        }
        let through = self.served_rate().max(f64::MIN_POSITIVE);
        let delay = self.noise.max(0.0) / through;
        let share = if self.backlog > 0.0 { 1.0 } else { self.steady.waiting_share };
        let random = Latency::new(self.discipline, service, share, delay);
        Latency {
            mean: random.mean + (self.backlog + self.noise.min(0.0)) / self.capacity.rate,
            sd: random.sd,
        }
    }
}

/// A product in which an absent thing of infinite extent is nothing.
fn times(a: f64, b: f64) -> f64 {
    if b <= 0.0 { 0.0 } else { a * b }
}

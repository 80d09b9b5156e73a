//! Closed forms of queues with Poisson arrivals: Erlang B and C, bounded queues, sharing.
//!
//! Upstream: Erlang (1917); Kleinrock, Queueing Systems (1975); Allen and Cunneen's correction
//! for service times that are not exponential (exact for one worker: Pollaczek and Khinchine).
//! Differences: none for exponential service; see [`SteadyState`] for what is approximate.

use crate::units::math::{exp, ln, ln_gamma, pow, sqrt};
use crate::units::special::{gamma_pq, gamma_quantile, normal_quantile};

/// Workers up to which Erlang's recursion is used instead of the incomplete gamma function.
const RECURSION: f64 = 256.0;

/// In which order a service works on its requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Discipline {
    /// All requests present share the workers evenly, each getting at most one.
    #[default]
    ProcessorSharing,
    /// Each worker takes the request that has waited longest.
    Fifo,
}

/// Erlang B: the share of arrivals lost by `servers` without a queue at offered load `load`.
#[must_use]
pub fn erlang_b(servers: f64, load: f64) -> f64 {
    if load <= 0.0 {
        return if servers <= 0.0 { 1.0 } else { 0.0 };
    }
    if servers <= RECURSION && servers.fract() == 0.0 {
        let mut blocked = 1.0;
        let mut k = 0.0;
        while k < servers {
            k += 1.0;
            blocked = load * blocked / (k + load * blocked);
        }
        return blocked;
    }
    // The Poisson probability of `servers` over that of at most `servers`.
    let density = exp(servers * ln(load) - load - ln_gamma(servers + 1.0));
    let (_, at_most) = gamma_pq(servers + 1.0, load);
    // Far in overload both are too small for a float.
    if density > 1e-290 { (density / at_most).min(1.0) } else { (1.0 - servers / load).max(0.0) }
}

/// Erlang C: the share of arrivals that wait, for an unbounded queue; 1 when overloaded.
#[must_use]
pub fn erlang_c(servers: f64, load: f64) -> f64 {
    if load >= servers {
        return 1.0;
    }
    let blocked = erlang_b(servers, load);
    blocked / (1.0 - load / servers * (1.0 - blocked))
}

/// The long-run behaviour of a queue at constant rate and capacity.
///
/// Exact for exponential service under both disciplines, and for any service under processor
/// sharing (the number present does not depend on the service distribution); for first come,
/// first served with other service times the wait is corrected by (1 + cv²)/2.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub struct SteadyState {
    /// Share of arrivals that find the queue full.
    pub blocked: f64,
    /// Share of accepted requests that find all workers busy.
    pub waiting_share: f64,
    /// Mean number of requests in excess of the workers; infinite for an unbounded queue that is
    /// overloaded.
    pub queue: f64,
}

impl SteadyState {
    /// The state for `rate` requests a second, `workers` of together `capacity` requests a
    /// second, and at most `bound` waiting requests (may be infinite).
    #[must_use]
    pub fn new(rate: f64, capacity: f64, workers: f64, bound: f64) -> Self {
        if rate <= 0.0 {
            return Self { blocked: 0.0, waiting_share: 0.0, queue: 0.0 };
        }
        if capacity <= 0.0 || workers <= 0.0 {
            return Self { blocked: 1.0, waiting_share: 1.0, queue: 0.0 };
        }
        let utilisation = rate / capacity;
        // Probability of all busy relative to that of at most all busy.
        let full = erlang_b(workers, utilisation * workers);
        if bound.is_infinite() {
            return Self::unbounded(utilisation, full);
        }
        Self::bounded(utilisation, full, bound)
    }

    fn unbounded(utilisation: f64, full: f64) -> Self {
        if utilisation >= 1.0 {
            return Self { blocked: 0.0, waiting_share: 1.0, queue: f64::INFINITY };
        }
        let waiting_share = full / (1.0 - utilisation * (1.0 - full));
        let queue = waiting_share * utilisation / (1.0 - utilisation);
        Self { blocked: 0.0, waiting_share, queue }
    }

    /// Queue length is geometric with ratio `utilisation`, cut off at `bound`.
    fn bounded(utilisation: f64, full: f64, bound: f64) -> Self {
        let (r, k) = (utilisation, bound.max(0.0));
        if r > 1.0 && k * ln(r) > 500.0 {
            let queue = (k - 1.0 / (r - 1.0)).max(0.0);
            return Self { blocked: 1.0 - 1.0 / r, waiting_share: 1.0, queue };
        }
        let last = pow(r, k);
        let (sum, weighted) = if (r - 1.0).abs() < 1e-6 {
            (k, 0.5 * k * (k + 1.0))
        } else {
            let sum = r * (1.0 - last) / (1.0 - r);
            (sum, (sum - k * last * r) / (1.0 - r))
        };
        let total = 1.0 + full * sum;
        let blocked = (full * last / total).min(1.0);
        let queue = full * weighted / total;
        let accepted = 1.0 - blocked;
        // States of all busy from which an arrival is still accepted.
        let busy_open = full * (1.0 + sum - last) / total;
        let waiting_share =
            if accepted > 0.0 { (busy_open / accepted).clamp(0.0, 1.0) } else { 1.0 };
        Self { blocked, waiting_share, queue }
    }
}

/// The service of one request, as far as latency depends on it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Service {
    /// Mean time on a worker of its own, in seconds.
    pub mean: f64,
    /// Standard deviation of that time divided by its mean; 1 for exponential service.
    pub cv: f64,
}

impl Service {
    /// Factor on the queue of exponential service.
    #[must_use]
    pub fn wait_factor(&self, discipline: Discipline) -> f64 {
        match discipline {
            Discipline::ProcessorSharing => 1.0,
            Discipline::Fifo => 0.5 * (1.0 + self.cv * self.cv),
        }
    }
}

/// Mean and standard deviation of the time in system.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Latency {
    /// Mean, in seconds.
    pub mean: f64,
    /// Standard deviation, in seconds.
    pub sd: f64,
}

impl Latency {
    /// Time in system when `waiting_share` of the requests find all busy and the mean delay by
    /// others is `delay` seconds.
    ///
    /// Mean: exact where [`SteadyState`] is. Spread: exact for first come, first served with
    /// exponential service, and for sharing of one worker with exponential service; an
    /// approximation elsewhere.
    #[must_use]
    pub fn new(discipline: Discipline, service: Service, waiting_share: f64, delay: f64) -> Self {
        let mean = service.mean + delay;
        let own = service.mean * service.cv;
        let variance = match discipline {
            Discipline::Fifo if waiting_share > 0.0 => {
                let conditional = delay / waiting_share;
                own * own + delay * (2.0 * conditional - delay)
            }
            Discipline::Fifo => own * own,
            Discipline::ProcessorSharing => sharing_variance(service, delay),
        };
        Self { mean, sd: sqrt(variance.max(0.0)) }
    }

    /// The share of requests that take longer than `seconds`, by a gamma distribution of the same
    /// mean and spread.
    #[must_use]
    pub fn above(&self, seconds: f64) -> f64 {
        // Far away there is nothing worth the work.
        if self.mean <= 0.0 || self.sd <= 0.0 || seconds > self.mean + 40.0 * self.sd {
            return if self.mean > seconds { 1.0 } else { 0.0 };
        }
        let shape = (self.mean / self.sd) * (self.mean / self.sd);
        gamma_pq(shape, seconds * shape / self.mean).1
    }

    /// The latency that a share `p` of requests does not exceed, by a distribution of the same mean
    /// and spread: gamma, or log-normal where the spread exceeds the mean. Exact for the time in
    /// system of M/M/1, first come, first served; elsewhere within 20 % in the tests.
    #[must_use]
    pub fn quantile(&self, p: f64) -> f64 {
        let cv = if self.mean > 0.0 { self.sd / self.mean } else { 0.0 };
        let p = p.clamp(0.0, 1.0 - 1e-12);
        if cv < 0.01 {
            return self.mean;
        }
        if cv > 1.0 {
            let square = ln(1.0 + cv * cv);
            let score = if p > 0.0 { normal_quantile(p) } else { f64::NEG_INFINITY };
            return self.mean * exp(sqrt(square) * score - 0.5 * square);
        }
        let shape = 1.0 / (cv * cv);
        self.mean / shape * gamma_quantile(shape, p)
    }
}

/// Variance of the time in system under sharing.
///
/// Yashkov (1983): a request of size x takes x/(1 − ρ) with the variance
/// 2/(1 − ρ)² ∫₀ˣ (x − u)(1 − R(u)) du, where R is the distribution of the wait under first come,
/// first served. Here ρ is the share of the time that is delay by others, 1 − R(u) is ρ exp(−u/η)
/// with the mean of Pollaczek and Khinchine, and x has a gamma distribution: exact for exponential
/// service of one worker, (2 + ρ)/(2 − ρ) times the squared mean.
fn sharing_variance(service: Service, delay: f64) -> f64 {
    let Service { mean: s, cv } = service;
    if s <= 0.0 {
        return 0.0;
    }
    let stretch = (s + delay) / s;
    let busy = delay / (s + delay);
    let square = cv * cv;
    let decay = 0.5 * s * (1.0 + square) * stretch;
    // Laplace transform of the size at 1/decay.
    let kept =
        if square < 1e-9 { exp(-s / decay) } else { pow(1.0 + s * square / decay, -1.0 / square) };
    stretch * stretch * (s * s * square + 2.0 * busy * (s * decay - decay * decay * (1.0 - kept)))
}

/// Waiting time of first come, first served with exponential service that a share `p` of requests
/// does not exceed.
#[must_use]
pub fn wait_quantile(waiting_share: f64, spare_capacity: f64, p: f64) -> f64 {
    if waiting_share <= 1.0 - p { 0.0 } else { ln(waiting_share / (1.0 - p)) / spare_capacity }
}

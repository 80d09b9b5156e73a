//! The fluid model of one Service's queue between two changes.
//!
//! Requests are spread evenly over endpoints (as kube-proxy does); those sent to dead ones are
//! lost. The rest share the cores of the live ones (processor sharing). Above capacity a backlog
//! grows until the wait reaches the timeout; what exceeds it is dropped.

use crate::units::math;

/// What a Service can serve with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capacity {
    /// Pods that requests are sent to.
    pub endpoints: u32,
    /// Of these, pods that work.
    pub alive: u32,
    /// Cores of these.
    pub cores: f64,
    /// CPU seconds of a request.
    pub cpu_seconds: f64,
    /// Longest wait in seconds.
    pub timeout: f64,
    /// Requests a pod works on at once, at most.
    pub concurrency: Option<u32>,
}

/// Constant rates until the next change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flow {
    /// Requests a second that reach the Service.
    pub offered: f64,
    /// Requests a second that are served.
    pub served: f64,
    /// Share of arriving requests that will be served.
    pub success: f64,
    /// Mean seconds in the system of a served request.
    pub latency: f64,
    /// Change of the backlog in requests a second.
    pub growth: f64,
    /// Largest backlog.
    pub backlog_max: f64,
    /// Seconds until the backlog is empty or full; infinite if it does not move.
    pub settles_in: f64,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            offered: 0.0,
            served: 0.0,
            success: 1.0,
            latency: 0.0,
            growth: 0.0,
            backlog_max: 0.0,
            settles_in: f64::INFINITY,
        }
    }
}

/// The backlog after `seconds` of `flow`.
#[must_use]
pub fn advance(backlog: f64, flow: &Flow, seconds: f64) -> f64 {
    let moved = backlog + flow.growth * seconds;
    // Less than a thousandth of a request is rounding.
    if moved < 1e-3 { 0.0 } else { moved.min(flow.backlog_max) }
}

/// The flow for `arriving` requests a second and a backlog.
#[must_use]
pub fn flow(arriving: f64, backlog: f64, capacity: &Capacity) -> Flow {
    let Capacity { endpoints, alive, cores, cpu_seconds, timeout, .. } = *capacity;
    if endpoints == 0 || alive == 0 || cores <= 0.0 {
        let success = if arriving > 0.0 { 0.0 } else { 1.0 };
        return Flow { offered: arriving, success, ..Flow::default() };
    }
    let reaching = arriving * f64::from(alive) / f64::from(endpoints);
    // A request cannot use more than one core, nor more than its pod has.
    let per_server = (cores / f64::from(alive)).min(1.0);
    let servers = match capacity.concurrency {
        Some(c) => (cores / per_server).min(f64::from(alive) * f64::from(c)),
        None => cores / per_server,
    };
    let service = cpu_seconds / per_server;
    if service <= 0.0 {
        let success = if arriving > 0.0 { reaching / arriving } else { 1.0 };
        return Flow { offered: arriving, served: reaching, success, ..Flow::default() };
    }
    let max_rate = servers / service;
    let backlog_max = max_rate * timeout;
    let full = backlog >= backlog_max * (1.0 - 1e-9) && reaching > max_rate;
    let served = if backlog > 0.0 || reaching > max_rate { max_rate } else { reaching };
    let growth = if full { 0.0 } else { reaching - served };
    let settles_in = if growth > 0.0 {
        (backlog_max - backlog) / growth
    } else if growth < 0.0 {
        backlog / -growth
    } else {
        f64::INFINITY
    };
    let entering = if full { max_rate } else { reaching };
    let success = if arriving > 0.0 { entering / arriving } else { 1.0 };
    let latency = if backlog > 0.0 || served >= max_rate {
        service + (backlog / max_rate).min(timeout)
    } else {
        service + mean_wait(reaching * service / servers, servers, service)
    };
    Flow { offered: arriving, served, success, latency, growth, backlog_max, settles_in }
}

/// Mean wait of M/M/c by Sakasegawa's approximation, which also takes a fractional number of
/// servers; M/M/c with processor sharing has the same mean time in the system.
fn mean_wait(utilization: f64, servers: f64, service: f64) -> f64 {
    let exponent = math::sqrt(2.0 * (servers + 1.0)) - 1.0;
    math::pow(utilization, exponent) / (servers * (1.0 - utilization)) * service
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(alive: u32, cores: f64) -> Capacity {
        Capacity {
            endpoints: alive,
            alive,
            cores,
            cpu_seconds: 0.1,
            timeout: 2.0,
            concurrency: None,
        }
    }

    #[test]
    fn one_processor_sharing_server_is_exact() {
        // A4: λ = 8/s, service 0.1 s, one server: 500 ms in the system.
        let f = flow(8.0, 0.0, &capacity(1, 1.0));
        assert!((f.latency - 0.5).abs() < 1e-9, "{}", f.latency);
        assert_eq!((f.served, f.success), (8.0, 1.0));
    }

    #[test]
    fn many_servers_are_close_to_erlang_c() {
        // A1 to A3: mean time in the system for 10, 12 and 15 servers at λ = 90/s, μ = 10/s.
        for (servers, exact) in [(10, 0.166_873), (12, 0.108_868), (15, 0.100_804)] {
            let f = flow(90.0, 0.0, &capacity(servers, f64::from(servers)));
            assert!((f.latency / exact - 1.0).abs() < 0.05, "{servers}: {}", f.latency);
        }
    }

    #[test]
    fn overload_fills_the_queue_and_then_drops() {
        let c = capacity(2, 2.0);
        let first = flow(30.0, 0.0, &c);
        assert_eq!((first.served, first.growth, first.backlog_max), (20.0, 10.0, 40.0));
        assert_eq!(first.settles_in, 4.0);
        let b = advance(0.0, &first, 4.0);
        let then = flow(30.0, b, &c);
        assert_eq!((then.served, then.growth), (20.0, 0.0));
        assert!((then.success - 2.0 / 3.0).abs() < 1e-12);
        let drain = flow(10.0, b, &c);
        assert_eq!((drain.served, drain.growth, drain.settles_in), (20.0, -10.0, 4.0));
    }

    #[test]
    fn dead_endpoints_lose_their_share() {
        let c = Capacity { endpoints: 4, alive: 3, ..capacity(3, 3.0) };
        let f = flow(8.0, 0.0, &c);
        assert!((f.served - 6.0).abs() < 1e-12 && (f.success - 0.75).abs() < 1e-12);
    }
}

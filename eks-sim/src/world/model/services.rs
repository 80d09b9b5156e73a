//! Services and the requests that reach them, lowered.

use super::WorkloadModel;
use crate::policy::traffic::{Discipline, Markov, Noise, RateProfile, RetryPolicy};
use crate::units::{Bytes, Id, Span};

/// A Service and the requests that reach it.
#[derive(Clone, Debug)]
pub struct ServiceModel {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Stable identity for draws.
    pub key: u64,
    /// Requests, if the scenario describes any.
    pub traffic: Option<TrafficModel>,
    /// Whether it has a load balancer.
    pub load_balancer: bool,
}

/// Requests of a Service.
#[derive(Clone, Debug)]
pub struct TrafficModel {
    /// Rate from outside, if there is any.
    pub rate: Option<RateProfile>,
    /// Random calm and busy times of it.
    pub markov: Option<Markov>,
    /// Random noise on it.
    pub noise: Option<Noise>,
    /// How clients outside try again.
    pub retry: RetryPolicy,
    /// CPU seconds of a request.
    pub cpu_seconds: f64,
    /// Standard deviation of the same over its mean.
    pub service_cv: f64,
    /// Seconds besides.
    pub latency_floor: f64,
    /// Memory of a request in flight.
    pub memory: Bytes,
    /// Pods that are slow at first.
    pub cold_start: Option<ColdStart>,
    /// Longest wait.
    pub timeout: Span,
    /// Requests a pod works on at once.
    pub concurrency: Option<u32>,
    /// Requests that may wait for each pod.
    pub queue_bound: Option<u32>,
    /// Order of work.
    pub discipline: Discipline,
    /// Each pod has a queue of its own.
    pub own_queues: bool,
    /// Calls stay in the caller's zone where it has an endpoint.
    pub zone_aware: bool,
    /// Workloads that requests are split over; none: evenly over all pods.
    pub backends: Vec<Id<WorkloadModel>>,
    /// Their weights at the start.
    pub weights: Vec<f64>,
    /// Requests it sends on.
    pub calls: Vec<CallModel>,
}

/// Requests sent on to another Service.
#[derive(Clone, Copy, Debug)]
pub struct CallModel {
    /// Where to.
    pub to: Id<ServiceModel>,
    /// Calls per request.
    pub per_request: f64,
    /// How a failed call is tried again.
    pub retry: RetryPolicy,
}

/// Pods that are slow for a while after their containers have started.
#[derive(Clone, Copy, Debug)]
pub struct ColdStart {
    /// How long.
    pub duration: Span,
    /// Factor on the CPU seconds of a request.
    pub slowdown: f64,
}

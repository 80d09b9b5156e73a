//! Load: requests to Services, behaviour of Jobs and workloads.

use super::{Fraction, PerSecond, TimeOfDay};
use crate::units::{Dist, Quantity, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How requests are simulated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LoadSpec {
    /// `fluid` (default): rates between changes, whatever the number of requests; `exact`: every
    /// request, with Poisson arrivals and random service times, for short runs.
    pub mode: Option<String>,
}

/// Requests that reach a Service and how its pods handle them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrafficSpec {
    /// `Service/NAME` or `Service/NAMESPACE/NAME`.
    pub to: String,
    /// Requests from outside; absent: only other Services call it.
    #[serde(default)]
    pub rate: Option<RateSpec>,
    /// What a request costs a pod.
    #[serde(default)]
    pub per_request: PerRequestSpec,
    /// Requests it sends on.
    #[serde(default)]
    pub calls: Vec<CallSpec>,
    /// Calls stay in the caller's zone where it has an endpoint, as with `trafficDistribution:
    /// PreferClose`; each zone is then a queue of its own (default false).
    #[serde(default)]
    pub zone_aware: bool,
    /// A request that waits longer is dropped (default 5 s).
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// Requests a pod works on at once (default: as many as CPU allows, processor sharing).
    #[serde(default)]
    pub concurrency: Option<u32>,
    /// `processorSharing` (default) or `fifo`.
    #[serde(default)]
    pub discipline: Option<String>,
    /// Requests that may wait for each pod; one more is refused (default: no bound but the
    /// timeout).
    #[serde(default)]
    pub queue_bound: Option<u32>,
    /// `shared` (default): one queue for all pods, as behind a proxy that sends each request to an
    /// idle pod; `random`: each pod has its own queue, as with kube-proxy.
    #[serde(default)]
    pub balancing: Option<String>,
    /// Workload → weight: how requests are split over the Deployments (or other workloads) that
    /// the Service selects, as with weighted target groups; each is then a queue of its own.
    /// Absent: evenly over all pods. Changed by `changes[].weights` and `changes[].shift`.
    #[serde(default)]
    pub weights: BTreeMap<String, f64>,
    /// How often clients outside try again after a failure (default 0, at most 10).
    #[serde(default)]
    pub retries: u32,
    /// When they do so.
    #[serde(default)]
    pub retry: RetrySpec,
    /// Pods that answer slowly at first.
    #[serde(default)]
    pub cold_start: Option<ColdStartSpec>,
}

/// When failed requests are tried again (default: at once, without a budget).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RetrySpec {
    /// Base of random pauses: before the n-th repetition at most 2ⁿ − 1 times this (default 0 s:
    /// at once; Envoy's and Istio's base is 25 ms).
    pub backoff: Span,
    /// Longest pause (default: ten times the base).
    pub max_backoff: Option<Span>,
    /// Bound on all repetitions together (default: none).
    pub budget: Option<RetryBudgetSpec>,
}

/// A retry budget, as of Linkerd and Finagle, counted over ten seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RetryBudgetSpec {
    /// Repetitions for each first attempt (default 20 %).
    pub ratio: Fraction,
    /// Repetitions besides (default 10/s).
    pub min_per_second: PerSecond,
}

/// Pods that are slow for a while after their containers have started: caches are empty, code is
/// not compiled yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ColdStartSpec {
    /// How long after the start of the containers.
    pub duration: Span,
    /// Factor on the processor time of a request until then.
    pub slowdown: f64,
}

fn default_timeout() -> Span {
    Span::from_secs(5)
}

/// What a request costs a pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PerRequestSpec {
    /// Processor time (default 5 ms of one core; at least 1 µs).
    pub cpu: Span,
    /// Standard deviation of the processor time over its mean (default 1, as exponential).
    pub cv: f64,
    /// Time that passes besides, without using a processor (default 5 ms).
    pub latency_floor: Span,
    /// Memory held while it runs (default none).
    pub memory: Quantity,
}

impl Default for RetryBudgetSpec {
    fn default() -> Self {
        Self { ratio: Fraction::new(0.2), min_per_second: PerSecond::new(10.0) }
    }
}

impl Default for PerRequestSpec {
    fn default() -> Self {
        Self {
            cpu: Span::from_millis(5),
            cv: 1.0,
            latency_floor: Span::from_millis(5),
            memory: Quantity::default(),
        }
    }
}

/// Requests sent on to another Service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CallSpec {
    /// `Service/NAME`.
    pub to: String,
    /// Calls per request.
    pub per_request: f64,
    /// How often a failed call is tried again (default 0, at most 10).
    #[serde(default)]
    pub retries: u32,
    /// When this is done.
    #[serde(default)]
    pub retry: RetrySpec,
}

/// A rate over time: exactly one of the shapes, with optional modulation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RateSpec {
    /// The same all the time.
    pub constant: Option<PerSecond>,
    /// From each time on, a new rate.
    pub steps: Option<Vec<RateStep>>,
    /// Linear between the points.
    pub ramp: Option<Vec<RateStep>>,
    /// A day's wave.
    pub diurnal: Option<DiurnalSpec>,
    /// A CSV file, relative to the scenario file; linear between the rows. Columns: `time_s,rate`
    /// (seconds since the start), or `timestamp,value` as Prometheus exports them (Unix seconds or
    /// RFC 3339; the first row is the start). Rates are per second.
    pub csv: Option<String>,
    /// A file with the answer of Prometheus to a range query.
    pub prometheus: Option<PrometheusSpec>,
    /// A file with the number of requests in consecutive intervals, as recorded traces have it.
    pub counts: Option<CountsSpec>,
    /// Extra rate for a while, on top of the shape.
    pub spikes: Vec<SpikeSpec>,
    /// Random modulation, drawn anew for every replication.
    pub burst: Option<BurstSpec>,
    /// Random modulation with a memory, drawn anew for every replication.
    pub noise: Option<NoiseSpec>,
    /// Random calm and busy times, drawn anew for every replication.
    pub markov: Option<MarkovSpec>,
}

/// A rate from a time on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateStep {
    /// Time since the start.
    pub at: Span,
    /// Rate.
    pub rate: PerSecond,
}

/// A day's wave: a cosine between `low` and `high`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DiurnalSpec {
    /// Lowest rate, twelve hours from the peak.
    pub low: PerSecond,
    /// Highest rate.
    pub high: PerSecond,
    /// Time of the highest rate, UTC (default `"14:00"`).
    #[serde(default)]
    pub peak: Option<TimeOfDay>,
    /// Factor on Saturdays and Sundays (default 1).
    #[serde(default)]
    pub weekend: Option<f64>,
    /// Factors for Monday to Sunday, instead of `weekend` (default 1 each).
    #[serde(default)]
    pub weekdays: Option<[f64; 7]>,
}

/// The answer of Prometheus to a range query (`/api/v1/query_range`, `resultType: matrix`), a JSON
/// file relative to the scenario file. Values are rates per second; linear between the samples; the
/// first sample of the chosen series is the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrometheusSpec {
    /// The file.
    pub file: String,
    /// Labels that the series must have; several series are added up (default: all series).
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Factor on the values (default 1).
    #[serde(default)]
    pub scale: Option<f64>,
}

/// Numbers of requests in consecutive intervals: a CSV file whose last column holds them (a first
/// row of names is skipped), or numbers separated by white space. The rate is constant in each
/// interval and zero after the last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CountsSpec {
    /// The file, relative to the scenario file.
    pub file: String,
    /// Length of an interval.
    pub every: Span,
    /// Time of the trace at which the run starts (default 0 s).
    #[serde(default)]
    pub from: Span,
    /// Factor on the counts (default 1).
    #[serde(default)]
    pub scale: Option<f64>,
}

/// Extra rate for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SpikeSpec {
    /// Time since the start.
    pub at: Span,
    /// How long.
    pub duration: Span,
    /// Extra rate.
    #[serde(default)]
    pub add: Option<PerSecond>,
    /// Factor on the shape.
    #[serde(default)]
    pub factor: Option<f64>,
}

/// Random modulation: log-normal factors of mean 1, each for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BurstSpec {
    /// Coefficient of variation of the factor.
    pub cv: f64,
    /// How long a factor lasts (default 1 m).
    #[serde(default)]
    pub every: Option<Span>,
}

/// Random modulation: log-normal factors of mean 1 that follow each other closely.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NoiseSpec {
    /// Coefficient of variation of the factor.
    pub cv: f64,
    /// Time over which the correlation falls to 1/e (default 10 m).
    #[serde(default)]
    pub correlation: Option<Span>,
    /// How long a factor lasts (default 1 m).
    #[serde(default)]
    pub every: Option<Span>,
}

/// Random modulation: calm and busy times of exponential length take turns; the run begins calm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MarkovSpec {
    /// Factor in busy times.
    pub factor: f64,
    /// Mean length of a busy time.
    pub busy: Span,
    /// Mean length of a calm time.
    pub calm: Span,
    /// Factor in calm times (default: such that the mean stays that of the shape).
    #[serde(default)]
    pub calm_factor: Option<f64>,
}

/// A custom or external metric, as an adapter would serve it: `values`, or `of` a Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CustomMetricSpec {
    /// Name in the HPA's `metric.name`; its labels and selector are not told apart.
    pub name: String,
    /// Values over time; for a Pods metric, of each pod.
    #[serde(default)]
    pub values: Option<Vec<MetricValue>>,
    /// `Service/NAME`; a Pods metric gives each ready pod its share.
    #[serde(default)]
    pub of: Option<String>,
    /// What of the Service: `requestsPerSecond` (default), `waiting` or `latencySeconds`.
    #[serde(default)]
    pub measure: Option<String>,
    /// How old a value is when the HPA reads it (default 0 s). Values of a Service are besides taken
    /// only every `metrics_adapter.scrape_interval`.
    #[serde(default)]
    pub delay: Span,
}

/// A value from a time on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricValue {
    /// Time since the start.
    pub at: Span,
    /// Value.
    pub value: Quantity,
}

/// How the pods of a Job or CronJob behave.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobBehaviorSpec {
    /// `Job/NAME`, `CronJob/NAME`, with `NAMESPACE/` before the name where needed, or `*` for all.
    pub template: String,
    /// Start a Job from the template at these times too.
    #[serde(default)]
    pub cron: Option<String>,
    /// How long a pod runs (default: the constant `job.duration`).
    #[serde(default)]
    pub duration: Option<Dist>,
    /// Share of pods that fail (default 0).
    #[serde(default)]
    pub failure_probability: Option<Fraction>,
}

/// How a workload's pods behave where a manifest cannot say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadBehaviorSpec {
    /// `Deployment/NAME`, `StatefulSet/NAME`, … with `NAMESPACE/` where needed, or `*` for all.
    #[serde(rename = "for")]
    pub target: String,
    /// Only for pods with a container of this image (`*` stands for any text), for example the
    /// next version.
    #[serde(default)]
    pub image: Option<String>,
    /// Share of the requests that its pods answer with an error (default 0).
    #[serde(default)]
    pub errors: Option<Fraction>,
    /// Time from a container's start until it can serve, which its readiness probe then finds out
    /// (default: the constant `pod.application_start`).
    #[serde(default)]
    pub startup: Option<Dist>,
    /// CPU an idle pod uses (default 2 % of its request).
    #[serde(default)]
    pub idle_cpu: Option<Quantity>,
    /// Memory an idle pod uses (default 60 % of its request).
    #[serde(default)]
    pub idle_memory: Option<Quantity>,
    /// Memory that grows while its containers run; at the limit they are killed and restarted.
    #[serde(default)]
    pub memory: Option<MemorySpec>,
    /// Changes of `spec.replicas` at set times, as somebody makes them by hand.
    #[serde(default)]
    pub scale: Vec<ScaleSpec>,
}

/// Memory that grows, as with a leak or a cache.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemorySpec {
    /// Growth per hour of the containers' running time.
    pub growth_per_hour: Quantity,
}

/// A change of `spec.replicas`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScaleSpec {
    /// Time since the start.
    pub at: Span,
    /// Replicas from then on.
    pub replicas: u32,
}

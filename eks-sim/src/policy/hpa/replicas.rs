//! The replica calculator: one metric of one HPA becomes a proposed replica count.
//!
//! Upstream: kubernetes/kubernetes `pkg/controller/podautoscaler/replica_calculator.go` and
//! `metrics/utilization.go` (1.34). Differences: sums saturate; the pods are walked once and only
//! sums are kept, which gives the same numbers as upstream's maps by pod name.

use super::spec::{Config, Metric, Source, Target, Tolerance};
use crate::units::{SimTime, Span};

/// Phase of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PodPhase {
    /// Not all containers have started.
    #[default]
    Pending,
    /// Running.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// The node does not report.
    Unknown,
}

/// What the calculator reads of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PodView {
    /// Phase.
    pub phase: PodPhase,
    /// Whether a deletion timestamp is set.
    pub deleted: bool,
    /// Status of the Ready condition, absent when there is none.
    pub ready: Option<bool>,
    /// Last transition of the Ready condition.
    pub ready_transition: SimTime,
    /// `status.startTime`.
    pub start_time: Option<SimTime>,
}

/// The metric of one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodMetric {
    /// End of the window it was measured in.
    pub timestamp: SimTime,
    /// Length of that window.
    pub window: Span,
    /// Value in thousandths.
    pub value: i64,
}

/// Requests of the selected pods, in thousandths; `None` where a container has none.
#[derive(Clone, Copy, Debug)]
pub enum Requests<'a> {
    /// Every pod has the same.
    Same(Option<i64>),
    /// One entry a pod.
    Each(&'a [Option<i64>]),
}

impl Requests<'_> {
    fn of(&self, pod: usize) -> Option<i64> {
        match self {
            Self::Same(request) => *request,
            Self::Each(all) => all.get(pod).copied().flatten(),
        }
    }
}

/// What the metrics API answers for one metric.
#[derive(Clone, Copy, Debug)]
pub enum Reading<'a> {
    /// It cannot be fetched.
    Unavailable,
    /// Values of pods, for Resource, ContainerResource and Pods metrics.
    Pods {
        /// One entry for each selected pod, in the order of the pods.
        metrics: &'a [Option<PodMetric>],
        /// Values of pods that the selector's list does not hold (any more).
        strays: &'a [i64],
        /// Requests of the pods; read for utilisation only.
        requests: Requests<'a>,
    },
    /// Values of all series, for Object and External metrics.
    Series(&'a [i64]),
}

/// How a pod counts for a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Its metric counts.
    Ready,
    /// Its metric is not used; it dampens a scale-up.
    Unready,
    /// It has no metric.
    Missing,
    /// It does not count at all.
    Ignored,
}

/// Pods by [`Group`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    /// Ready.
    pub ready: i64,
    /// Unready.
    pub unready: i64,
    /// Missing.
    pub missing: i64,
    /// Ignored.
    pub ignored: i64,
}

/// What a metric asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Replica count before bounds, stabilisation and rate limits.
    pub replicas: i32,
    /// What the status reports.
    pub usage: Usage,
}

/// Reported usage; amounts are thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Percent of requests and average amount.
    Utilization {
        /// Percent.
        percent: i32,
        /// Average per pod.
        average: i64,
    },
    /// Average per pod.
    Average(i64),
    /// Total.
    Total(i64),
}

/// Why a metric gives no proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// The metrics API returned nothing.
    #[error("no metrics returned")]
    Unavailable,
    /// The selector finds no pod.
    #[error("no pods returned by selector while calculating replica count")]
    NoPods,
    /// Only unready or ignored pods have metrics.
    #[error("did not receive metrics for targeted pods (pods might be unready)")]
    NoReadyMetrics,
    /// No metric belongs to a pod with a request.
    #[error("no metrics returned matched known pods")]
    NoKnownPods,
    /// A container of the pod at this index has no request.
    #[error("missing request in a container of pod number {pod}")]
    MissingRequest {
        /// Index into the pods.
        pod: usize,
    },
    /// The kind of reading does not fit the metric, or the target does not fit its source.
    #[error("the metric's target does not fit its source")]
    InvalidTarget,
}

/// Sorts one pod; `cpu` applies the start-up rules of cpu.
#[must_use]
pub fn group(
    pod: &PodView,
    metric: Option<&PodMetric>,
    cpu: bool,
    now: SimTime,
    config: &Config,
) -> Group {
    if pod.deleted || matches!(pod.phase, PodPhase::Failed | PodPhase::Succeeded) {
        return Group::Ignored;
    }
    if pod.phase == PodPhase::Pending {
        return Group::Unready;
    }
    let Some(metric) = metric else { return Group::Missing };
    if !cpu {
        return Group::Ready;
    }
    let (Some(ready), Some(start)) = (pod.ready, pod.start_time) else { return Group::Unready };
    let unready = if start + config.cpu_initialization_period > now {
        // The sample must lie wholly after the pod became ready.
        !ready || metric.timestamp < pod.ready_transition + metric.window
    } else {
        // Unready and never ready since it started.
        !ready && start + config.initial_readiness_delay > pod.ready_transition
    };
    if unready { Group::Unready } else { Group::Ready }
}

/// Proposes a count for one metric. `spec_replicas` and `status_replicas` are those of the scale.
///
/// # Errors
/// See [`MetricError`].
#[expect(clippy::too_many_arguments, reason = "the flat inputs of one upstream call")]
pub fn propose(
    metric: &Metric,
    reading: &Reading<'_>,
    pods: &[PodView],
    spec_replicas: i32,
    status_replicas: i32,
    tolerance: Tolerance,
    now: SimTime,
    config: &Config,
) -> Result<Proposal, MetricError> {
    match (metric.source, reading) {
        (_, Reading::Unavailable) => Err(MetricError::Unavailable),
        (
            Source::Resource | Source::ContainerResource | Source::Pods,
            Reading::Pods { metrics, strays, requests },
        ) => {
            let input = PodInput { metrics, strays, requests, pods, cpu: metric.is_cpu() };
            let tally = Tally::of(&input, metric.target, now, config)?;
            per_pod(&tally, metric.target, spec_replicas, tolerance)
        }
        (Source::Object | Source::External, Reading::Series(values)) => {
            if values.is_empty() {
                return Err(MetricError::Unavailable);
            }
            let usage = values.iter().fold(0_i64, |sum, v| sum.saturating_add(*v));
            match metric.target {
                Target::Value(target) => total_value(usage, target, pods, spec_replicas, tolerance),
                Target::AverageValue(target) => {
                    Ok(total_average(usage, target, status_replicas, tolerance))
                }
                Target::Utilization(_) => Err(MetricError::InvalidTarget),
            }
        }
        _ => Err(MetricError::InvalidTarget),
    }
}

/// Pods that are all ready and of one size, for [`propose_uniform`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uniform {
    /// How many.
    pub pods: i64,
    /// Request of each in thousandths, if it has one.
    pub request: Option<i64>,
}

/// What [`propose`] answers for a resource metric when each of the pods uses `value` thousandths;
/// it does not fall as `value` grows while the target has as many replicas as ready pods.
///
/// # Errors
/// See [`MetricError`].
pub fn propose_uniform(
    metric: &Metric,
    pods: Uniform,
    value: i64,
    spec_replicas: i32,
    tolerance: Tolerance,
) -> Result<Proposal, MetricError> {
    let request = match metric.target {
        Target::Utilization(_) => pods.request.ok_or(MetricError::MissingRequest { pod: 0 })?,
        _ => 0,
    };
    let tally = Tally {
        counts: Counts { ready: pods.pods, ..Counts::default() },
        usage: value.saturating_mul(pods.pods),
        ready_request: request.saturating_mul(pods.pods),
        ..Tally::default()
    };
    per_pod(&tally, metric.target, spec_replicas, tolerance)
}

struct PodInput<'a> {
    metrics: &'a [Option<PodMetric>],
    strays: &'a [i64],
    requests: &'a Requests<'a>,
    pods: &'a [PodView],
    cpu: bool,
}

/// Sums over the selected pods.
#[derive(Default)]
struct Tally {
    counts: Counts,
    /// Usage of ready pods.
    usage: i64,
    /// Requests of ready, unready and missing pods.
    ready_request: i64,
    unready_request: i64,
    missing_request: i64,
    /// What missing pods are assumed to use on a scale-down.
    missing_fallback: i64,
    /// Metrics of unlisted pods.
    stray_count: i64,
    stray_usage: i64,
}

impl Tally {
    fn of(
        input: &PodInput<'_>,
        target: Target,
        now: SimTime,
        config: &Config,
    ) -> Result<Self, MetricError> {
        if input.strays.is_empty() && input.metrics.iter().all(Option::is_none) {
            return Err(MetricError::Unavailable);
        }
        if input.pods.is_empty() {
            return Err(MetricError::NoPods);
        }
        let percent = match target {
            Target::Utilization(percent) => Some(i128::from(percent.max(100))),
            _ => None,
        };
        let mut t = Self { stray_count: count(input.strays.len()), ..Self::default() };
        t.stray_usage = input.strays.iter().fold(0, |sum, v| i64::saturating_add(sum, *v));
        let mut without_request = None;
        for (index, pod) in input.pods.iter().enumerate() {
            let metric = input.metrics.get(index).and_then(Option::as_ref);
            let request = match percent {
                None => 0,
                Some(_) => input.requests.of(index).unwrap_or_else(|| {
                    without_request.get_or_insert(index);
                    0
                }),
            };
            t.enter(group(pod, metric, input.cpu, now, config), metric, request, percent);
        }
        if t.counts.ready + t.stray_count == 0 {
            return Err(MetricError::NoReadyMetrics);
        }
        match without_request {
            Some(pod) => Err(MetricError::MissingRequest { pod }),
            None => Ok(t),
        }
    }

    fn enter(
        &mut self,
        group: Group,
        metric: Option<&PodMetric>,
        request: i64,
        percent: Option<i128>,
    ) {
        match group {
            Group::Ready => {
                self.counts.ready += 1;
                self.usage = self.usage.saturating_add(metric.map_or(0, |m| m.value));
                self.ready_request = self.ready_request.saturating_add(request);
            }
            Group::Unready => {
                self.counts.unready += 1;
                self.unready_request = self.unready_request.saturating_add(request);
            }
            Group::Missing => {
                self.counts.missing += 1;
                self.missing_request = self.missing_request.saturating_add(request);
                let assumed = narrow(i128::from(request) * percent.unwrap_or(0) / 100);
                self.missing_fallback = self.missing_fallback.saturating_add(assumed);
            }
            Group::Ignored => self.counts.ignored += 1,
        }
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn narrow(x: i128) -> i64 {
    x.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

/// `ceil` of a count, saturated to 32 bits (upstream's conversion is undefined beyond them).
fn ceil_count(x: f64) -> i32 {
    x.ceil() as i32
}

/// A set of metrics as the ratio formulas see it.
struct Set {
    usage: i64,
    request: i64,
    /// Members that have a request entry (all listed pods).
    known: i64,
    /// All members.
    size: i64,
}

fn ratio(set: &Set, target: Target) -> Result<(f64, Usage), MetricError> {
    match target {
        Target::Utilization(percent) => {
            if set.request == 0 || set.known == 0 {
                return Err(MetricError::NoKnownPods);
            }
            let (low, high) = (i64::from(i32::MIN), i64::from(i32::MAX));
            // Wide division is slow, and only needed for absurd amounts.
            let used = match set.usage.checked_mul(100) {
                Some(usage) => (usage / set.request).clamp(low, high) as i32,
                None => {
                    let used = i128::from(set.usage) * 100 / i128::from(set.request);
                    used.clamp(low.into(), high.into()) as i32
                }
            };
            let usage = Usage::Utilization { percent: used, average: set.usage / set.known };
            Ok((f64::from(used) / f64::from(percent), usage))
        }
        Target::AverageValue(target) => {
            let average = set.usage.checked_div(set.size).unwrap_or(0);
            Ok((average as f64 / target as f64, Usage::Average(average)))
        }
        Target::Value(_) => Err(MetricError::InvalidTarget),
    }
}

fn per_pod(
    t: &Tally,
    target: Target,
    current: i32,
    tolerance: Tolerance,
) -> Result<Proposal, MetricError> {
    // Metrics of unlisted pods have no request, so they enter averages of values only.
    let stray_usage = if matches!(target, Target::Utilization(_)) { 0 } else { t.stray_usage };
    let mut set = Set {
        usage: t.usage.saturating_add(stray_usage),
        request: t.ready_request,
        known: t.counts.ready,
        size: t.counts.ready + t.stray_count,
    };
    let (old, usage) = ratio(&set, target)?;
    let damp = t.counts.unready > 0 && old > 1.0;
    let proposal = |replicas| Ok(Proposal { replicas, usage });
    if !damp && t.counts.missing == 0 {
        let wanted =
            if tolerance.holds(old) { current } else { ceil_count(old * t.counts.ready as f64) };
        return proposal(wanted);
    }
    if old != 1.0 {
        let assumed = match target {
            _ if old > 1.0 => 0,
            Target::AverageValue(target) => {
                narrow(i128::from(target) * i128::from(t.counts.missing))
            }
            _ => t.missing_fallback,
        };
        set.add(assumed, t.missing_request, t.counts.missing);
    }
    if damp {
        set.add(0, t.unready_request, t.counts.unready);
    }
    let (new, _) = ratio(&set, target)?;
    let turned = (old < 1.0 && new > 1.0) || (old > 1.0 && new < 1.0);
    if tolerance.holds(new) || turned {
        return proposal(current);
    }
    let wanted = ceil_count(new * set.size as f64);
    let against = (new < 1.0 && wanted > current) || (new > 1.0 && wanted < current);
    proposal(if against { current } else { wanted })
}

impl Set {
    fn add(&mut self, usage: i64, request: i64, pods: i64) {
        self.usage = self.usage.saturating_add(usage);
        self.request = self.request.saturating_add(request);
        self.known += pods;
        self.size += pods;
    }
}

fn total_value(
    usage: i64,
    target: i64,
    pods: &[PodView],
    current: i32,
    tolerance: Tolerance,
) -> Result<Proposal, MetricError> {
    let ratio = usage as f64 / target as f64;
    let replicas = if current == 0 {
        ceil_count(ratio)
    } else if tolerance.holds(ratio) {
        current
    } else if pods.is_empty() {
        return Err(MetricError::NoPods);
    } else {
        let running = |p: &&PodView| p.phase == PodPhase::Running && p.ready == Some(true);
        ceil_count(ratio * count(pods.iter().filter(running).count()) as f64)
    };
    Ok(Proposal { replicas, usage: Usage::Total(usage) })
}

fn total_average(usage: i64, target: i64, current: i32, tolerance: Tolerance) -> Proposal {
    let ratio = usage as f64 / (target as f64 * f64::from(current));
    let replicas =
        if tolerance.holds(ratio) { current } else { ceil_count(usage as f64 / target as f64) };
    let average = if current == 0 { 0 } else { (usage as f64 / f64::from(current)).ceil() as i64 };
    Proposal { replicas, usage: Usage::Average(average) }
}

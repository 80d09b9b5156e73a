//! One sync of one HPA: bounds, metrics, normalisation, conditions and events.
//!
//! Upstream: kubernetes/kubernetes `pkg/controller/podautoscaler/horizontal.go` (1.34),
//! reconcileAutoscaler and computeReplicasForMetrics; conditions of scale-to-zero as in 1.37
//! development. Differences: the list of other HPAs in the text of AmbiguousSelector is left out.

use super::behavior::{History, Limited, normalize};
use super::replicas::{MetricError, PodView, Reading, Usage, propose};
use super::spec::{Config, HpaSpec, Metric, Source, Target};
use crate::k8s::LabelSelector;
use crate::units::SimTime;
use core::fmt;
use smallvec::SmallVec;

/// What one sync sees.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The clock.
    pub now: SimTime,
    /// `spec.replicas` of the scale.
    pub spec_replicas: i32,
    /// `status.replicas` of the scale.
    pub status_replicas: i32,
    /// Whether the selector can be used.
    pub selector: SelectorState,
    /// Whether the HPA carries a true ScaledToZero condition.
    pub scaled_to_zero: bool,
    /// Pods that the selector finds.
    pub pods: &'a [PodView],
    /// One reading for each metric of the spec, in order; one that lacks is unavailable.
    pub readings: &'a [Reading<'a>],
}

/// Whether the pod selector of the target can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SelectorState {
    /// Yes.
    #[default]
    Valid,
    /// Another HPA selects the same pods.
    Ambiguous,
    /// It is missing or cannot be parsed.
    Invalid,
}

/// The AbleToScale condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbleToScale {
    /// The scale could be read; nothing more was decided.
    SucceededGetScale,
    /// The proposal needs no stabilisation.
    ReadyForNewScale,
    /// The count was written.
    SucceededRescale,
    /// A window holds a scale-down back.
    ScaleDownStabilized,
    /// A window holds a scale-up back.
    ScaleUpStabilized,
    /// The scale could not be read.
    FailedGetScale,
    /// The count could not be written.
    FailedUpdateScale,
}

impl AbleToScale {
    /// Status of the condition.
    #[must_use]
    pub fn status(self) -> bool {
        !matches!(self, Self::FailedGetScale | Self::FailedUpdateScale)
    }
    /// Reason of the condition.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::SucceededGetScale => "SucceededGetScale",
            Self::ReadyForNewScale => "ReadyForNewScale",
            Self::SucceededRescale => "SucceededRescale",
            Self::ScaleDownStabilized => "ScaleDownStabilized",
            Self::ScaleUpStabilized => "ScaleUpStabilized",
            Self::FailedGetScale => "FailedGetScale",
            Self::FailedUpdateScale => "FailedUpdateScale",
        }
    }
    /// Message of the condition.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::SucceededGetScale => {
                "the HPA controller was able to get the target's current scale"
            }
            Self::ReadyForNewScale => "recommended size matches current size",
            Self::SucceededRescale => "the HPA controller was able to update the target scale",
            Self::ScaleDownStabilized => {
                "recent recommendations were higher than current one, \
                 applying the highest recent recommendation"
            }
            Self::ScaleUpStabilized => {
                "recent recommendations were lower than current one, \
                 applying the lowest recent recommendation"
            }
            Self::FailedGetScale => {
                "the HPA controller was unable to get the target's current scale"
            }
            Self::FailedUpdateScale => "the HPA controller was unable to update the target scale",
        }
    }
}

/// The ScalingActive condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalingActive {
    /// The metric at this index gave the count.
    ValidMetricFound(usize),
    /// The target has zero replicas.
    ScalingDisabled,
    /// Another HPA selects the same pods.
    AmbiguousSelector,
    /// The selector cannot be used.
    InvalidSelector,
    /// The metric at this index is the first that failed.
    Failed(usize),
}

impl ScalingActive {
    /// Status of the condition.
    #[must_use]
    pub fn status(self) -> bool {
        matches!(self, Self::ValidMetricFound(_))
    }
    /// Reason of the condition.
    #[must_use]
    pub fn reason(self, spec: &HpaSpec) -> &'static str {
        match self {
            Self::ValidMetricFound(_) => "ValidMetricFound",
            Self::ScalingDisabled => "ScalingDisabled",
            Self::AmbiguousSelector => "AmbiguousSelector",
            Self::InvalidSelector => "InvalidSelector",
            Self::Failed(index) => spec.metrics.get(index).map_or("", failed_reason),
        }
    }
}

fn failed_reason(metric: &Metric) -> &'static str {
    match metric.source {
        Source::Resource => "FailedGetResourceMetric",
        Source::ContainerResource => "FailedGetContainerResourceMetric",
        Source::Pods => "FailedGetPodsMetric",
        Source::Object => "FailedGetObjectMetric",
        Source::External => "FailedGetExternalMetric",
    }
}

/// Why the count changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RescaleReason {
    /// It was above maxReplicas.
    AboveMax,
    /// It was below minReplicas.
    BelowMin,
    /// The metric at this index asks for more.
    MetricAboveTarget(usize),
    /// Every metric asks for less.
    AllBelowTarget,
    /// The metrics ask for the current count, but the bounds or windows do not.
    Unnamed,
}

/// What one sync decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Count to write, the current one if nothing changes.
    pub desired: i32,
    /// Count before.
    pub current: i32,
    /// Whether to write.
    pub rescale: bool,
    /// Why.
    pub reason: RescaleReason,
    /// Count that the metrics asked for.
    pub proposal: Option<i32>,
    /// AbleToScale, provided that the write succeeds.
    pub able_to_scale: AbleToScale,
    /// ScalingActive, absent if it stays as it was.
    pub scaling_active: Option<ScalingActive>,
    /// ScalingLimited, absent if it stays as it was.
    pub scaling_limited: Option<Limited>,
    /// ScaledToZero (gate HPAScaleToZero only), absent if it stays as it was.
    pub scaled_to_zero: Option<bool>,
    /// What each metric read, in the order of the spec; absent where it failed.
    pub usage: SmallVec<[Option<Usage>; 2]>,
    failures: SmallVec<[(usize, MetricError); 2]>,
}

impl Decision {
    /// The decision of a sync that could not read the scale.
    #[must_use]
    pub fn failed_get_scale(current: i32) -> Self {
        Self { able_to_scale: AbleToScale::FailedGetScale, ..Self::keep(current) }
    }
    /// Says that the write was refused.
    pub fn write_failed(&mut self) {
        self.able_to_scale = AbleToScale::FailedUpdateScale;
        self.rescale = false;
        self.scaled_to_zero = None;
    }
    /// Whether it leaves everything as it is and would again for the same proposal: the metrics ask
    /// for the current count, or for one beyond the bound at which the count is already.
    #[must_use]
    pub fn is_calm(&self, spec: &HpaSpec) -> bool {
        let limited = match self.proposal.map(|p| p.cmp(&self.current)) {
            Some(core::cmp::Ordering::Equal) => Limited::DesiredWithinRange,
            Some(core::cmp::Ordering::Less) if self.current == spec.min_replicas => {
                Limited::TooFewReplicas
            }
            Some(core::cmp::Ordering::Greater) if self.current == spec.max_replicas => {
                Limited::TooManyReplicas
            }
            _ => return false,
        };
        !self.rescale
            && self.failures.is_empty()
            && self.able_to_scale == AbleToScale::ReadyForNewScale
            && self.scaling_limited == Some(limited)
    }
    /// Metrics that failed, as (index, error).
    #[must_use]
    pub fn failures(&self) -> &[(usize, MetricError)] {
        &self.failures
    }
    /// Events of this sync, worded as upstream words them; texts are made when printed.
    pub fn events<'a>(&'a self, spec: &'a HpaSpec) -> impl Iterator<Item = HpaEvent<'a>> {
        let failed = self.failures.iter().filter_map(|(index, error)| {
            let metric = spec.metrics.get(*index)?;
            Some(HpaEvent::FailedMetric { metric, error: *error })
        });
        let selector = match self.scaling_active {
            Some(ScalingActive::AmbiguousSelector) => Some(HpaEvent::AmbiguousSelector),
            Some(ScalingActive::InvalidSelector) => Some(HpaEvent::InvalidSelector),
            _ => None,
        };
        let stopped = matches!(self.scaling_active, Some(ScalingActive::Failed(_)));
        let compute = stopped
            .then_some(HpaEvent::FailedComputeMetricsReplicas { spec, failures: &self.failures });
        let size = HpaEvent::Rescale { spec, size: self.desired, reason: self.reason, ok: true };
        let write = match self.able_to_scale {
            AbleToScale::FailedUpdateScale => {
                let reason = self.reason;
                Some(HpaEvent::Rescale { spec, size: self.desired, reason, ok: false })
            }
            AbleToScale::FailedGetScale => Some(HpaEvent::FailedGetScale),
            _ => self.rescale.then_some(size),
        };
        failed.chain(selector).chain(compute).chain(write)
    }
    fn keep(current: i32) -> Self {
        Self {
            desired: current,
            current,
            rescale: false,
            reason: RescaleReason::Unnamed,
            proposal: None,
            able_to_scale: AbleToScale::SucceededGetScale,
            scaling_active: None,
            scaling_limited: None,
            scaled_to_zero: None,
            usage: SmallVec::new(),
            failures: SmallVec::new(),
        }
    }
}

/// One sync. The history remembers the proposal; after a successful write the caller records the
/// scaling with [`History::record_rescale`].
#[must_use]
pub fn reconcile(
    spec: &HpaSpec,
    config: &Config,
    history: &mut History,
    view: &View<'_>,
) -> Decision {
    let current = view.spec_replicas;
    history.record_initial(view.now, current);
    let mut decision = Decision::keep(current);
    if current == 0 && !(config.scale_to_zero && view.scaled_to_zero) {
        decision.scaling_active = Some(ScalingActive::ScalingDisabled);
        return decision;
    }
    if current > spec.max_replicas {
        decision.reason = RescaleReason::AboveMax;
        decision.desired = spec.max_replicas;
    } else if current < spec.min_replicas {
        decision.reason = RescaleReason::BelowMin;
        decision.desired = spec.min_replicas;
    } else {
        let (active, proposal) = evaluate(spec, config, view, &mut decision);
        decision.scaling_active = Some(active);
        let Some(proposal) = proposal else { return decision };
        decision.proposal = Some(proposal);
        decision.reason = match active {
            ScalingActive::ValidMetricFound(index) if proposal > current => {
                RescaleReason::MetricAboveTarget(index)
            }
            _ if proposal < current => RescaleReason::AllBelowTarget,
            _ => RescaleReason::Unnamed,
        };
        let bounds = (spec.min_replicas, spec.max_replicas);
        let behavior = spec.behavior.as_ref();
        let normal = normalize(behavior, bounds, history, current, proposal, view.now, config);
        decision.desired = normal.replicas;
        decision.able_to_scale = normal.able;
        decision.scaling_limited = Some(normal.limited);
    }
    decision.rescale = decision.desired != current;
    if decision.rescale {
        decision.able_to_scale = AbleToScale::SucceededRescale;
        if config.scale_to_zero {
            decision.scaled_to_zero = Some(decision.desired == 0);
        }
    }
    decision
}

/// The largest valid proposal, or none when failures forbid scaling.
fn evaluate(
    spec: &HpaSpec,
    config: &Config,
    view: &View<'_>,
    decision: &mut Decision,
) -> (ScalingActive, Option<i32>) {
    match view.selector {
        SelectorState::Valid => {}
        SelectorState::Ambiguous => return (ScalingActive::AmbiguousSelector, None),
        SelectorState::Invalid => return (ScalingActive::InvalidSelector, None),
    }
    let tolerance = spec.tolerance(config);
    let mut best = None;
    for (index, metric) in spec.metrics.iter().enumerate() {
        let reading = view.readings.get(index).unwrap_or(&Reading::Unavailable);
        let (wanted, held) = (view.spec_replicas, view.status_replicas);
        match propose(metric, reading, view.pods, wanted, held, tolerance, view.now, config) {
            Ok(proposal) => {
                decision.usage.push(Some(proposal.usage));
                if best.is_none_or(|(_, r)| proposal.replicas > r) {
                    best = Some((index, proposal.replicas));
                }
            }
            Err(error) => {
                decision.usage.push(None);
                decision.failures.push((index, error));
            }
        }
    }
    let first_failure = decision.failures.first().map(|(index, _)| ScalingActive::Failed(*index));
    match (best, first_failure) {
        (Some((_, replicas)), Some(failed)) if replicas < view.spec_replicas => (failed, None),
        (Some((index, replicas)), _) => (ScalingActive::ValidMetricFound(index), Some(replicas)),
        (None, failed) => (failed.unwrap_or(ScalingActive::Failed(0)), None),
    }
}

/// An event that the controller records on the HPA.
#[derive(Clone, Copy, Debug)]
pub enum HpaEvent<'a> {
    /// A metric could not be evaluated.
    FailedMetric {
        /// The metric.
        metric: &'a Metric,
        /// Why.
        error: MetricError,
    },
    /// No scaling because of failed metrics.
    FailedComputeMetricsReplicas {
        /// The HPA.
        spec: &'a HpaSpec,
        /// The failures.
        failures: &'a [(usize, MetricError)],
    },
    /// The count was written, or could not be.
    Rescale {
        /// The HPA.
        spec: &'a HpaSpec,
        /// New count.
        size: i32,
        /// Why.
        reason: RescaleReason,
        /// Whether the write succeeded.
        ok: bool,
    },
    /// The scale could not be read.
    FailedGetScale,
    /// Another HPA selects the same pods.
    AmbiguousSelector,
    /// The selector cannot be used.
    InvalidSelector,
}

impl HpaEvent<'_> {
    /// `Warning` or `Normal`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        if matches!(self, Self::Rescale { ok: true, .. }) { "Normal" } else { "Warning" }
    }
    /// Reason of the event.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::FailedMetric { metric, .. } => failed_reason(metric),
            Self::FailedComputeMetricsReplicas { .. } => "FailedComputeMetricsReplicas",
            Self::Rescale { ok: true, .. } => "SuccessfulRescale",
            Self::Rescale { .. } => "FailedRescale",
            Self::FailedGetScale => "FailedGetScale",
            Self::AmbiguousSelector => "AmbiguousSelector",
            Self::InvalidSelector => "InvalidSelector",
        }
    }
}

impl fmt::Display for HpaEvent<'_> {
    /// The message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailedMetric { metric, error } => write_failure(f, metric, *error),
            Self::FailedComputeMetricsReplicas { spec, failures } => {
                let (failed, all) = (failures.len(), spec.metrics.len());
                write!(f, "invalid metrics ({failed} invalid out of {all}), first error is: ")?;
                let Some((index, error)) = failures.first() else { return Ok(()) };
                let Some(metric) = spec.metrics.get(*index) else { return Ok(()) };
                match metric.source {
                    Source::Resource => {
                        write!(f, "failed to get {} resource metric value: ", metric.name)?;
                    }
                    Source::ContainerResource => {
                        write!(f, "failed to get {} container metric value: ", metric.name)?;
                    }
                    Source::Pods => f.write_str("failed to get pods metric value: ")?,
                    Source::Object => f.write_str("failed to get object metric value: ")?,
                    Source::External => {
                        write!(f, "failed to get {} external metric value: ", metric.name)?;
                    }
                }
                write_failure(f, metric, *error)
            }
            Self::Rescale { spec, size, reason, ok } => {
                write!(f, "New size: {size}; reason: ")?;
                write_reason(f, spec, *reason)?;
                if *ok { Ok(()) } else { f.write_str("; error: the write was refused") }
            }
            Self::FailedGetScale => f.write_str(AbleToScale::FailedGetScale.message()),
            Self::AmbiguousSelector => {
                f.write_str("pods by selector are controlled by multiple HPAs")
            }
            Self::InvalidSelector => f.write_str("selector is required"),
        }
    }
}

fn write_reason(f: &mut fmt::Formatter<'_>, spec: &HpaSpec, reason: RescaleReason) -> fmt::Result {
    match reason {
        RescaleReason::AboveMax => f.write_str("Current number of replicas above Spec.MaxReplicas"),
        RescaleReason::BelowMin => f.write_str("Current number of replicas below Spec.MinReplicas"),
        RescaleReason::AllBelowTarget => f.write_str("All metrics below target"),
        RescaleReason::Unnamed => Ok(()),
        RescaleReason::MetricAboveTarget(index) => match spec.metrics.get(index) {
            Some(metric) => write!(f, "{} above target", MetricName(metric)),
            None => Ok(()),
        },
    }
}

fn write_failure(f: &mut fmt::Formatter<'_>, m: &Metric, error: MetricError) -> fmt::Result {
    let name = &m.name;
    match (m.source, m.target) {
        (Source::Resource | Source::ContainerResource, Target::Utilization(_)) => {
            write!(f, "failed to get {name} utilization: ")?;
        }
        (Source::Resource | Source::ContainerResource, _) => {
            write!(f, "failed to get {name} usage: ")?;
        }
        (Source::Pods, _) => f.write_str("unable to get metric from pods: ")?,
        (Source::Object, _) => write!(f, "failed to get object metric {name}: ")?,
        (Source::External, _) => write!(f, "unable to get external metric {name}: ")?,
    }
    match (error, m.source) {
        (MetricError::Unavailable, Source::Resource | Source::ContainerResource) => {
            write!(f, "unable to get metrics for resource {name}: ")?;
            f.write_str("no metrics returned from resource metrics API")
        }
        (MetricError::Unavailable, Source::External) => {
            f.write_str("no metrics returned from external metrics API")
        }
        (MetricError::Unavailable, _) => f.write_str("no metrics returned from custom metrics API"),
        (MetricError::MissingRequest { .. }, _) => write!(f, "missing request for {name}"),
        _ => write!(f, "{error}"),
    }
}

/// The name upstream gives a metric in events and conditions.
struct MetricName<'a>(&'a Metric);

impl fmt::Display for MetricName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let m = self.0;
        let name = &m.name;
        match (m.source, m.target) {
            (Source::Resource, Target::Utilization(_)) => {
                write!(f, "{name} resource utilization (percentage of request)")
            }
            (Source::Resource, _) => write!(f, "{name} resource"),
            (Source::ContainerResource, Target::Utilization(_)) => {
                write!(f, "{name} container resource utilization (percentage of request)")
            }
            (Source::ContainerResource, _) => write!(f, "{name} container resource"),
            (Source::Pods, _) => write!(f, "pods metric {name}"),
            (Source::Object, _) => write!(f, "{} metric {name}", m.object_kind),
            (Source::External, _) => {
                write!(f, "external metric {name}({})", Selector(m.selector.as_ref()))
            }
        }
    }
}

/// A label selector as Go's generated `String` prints it.
struct Selector<'a>(Option<&'a LabelSelector>);

impl fmt::Display for Selector<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(selector) = self.0 else { return f.write_str("nil") };
        f.write_str("&LabelSelector{MatchLabels:map[string]string{")?;
        for (key, value) in &selector.match_labels {
            write!(f, "{key}: {value},")?;
        }
        f.write_str("},MatchExpressions:[]LabelSelectorRequirement{")?;
        for e in &selector.match_expressions {
            write!(f, "LabelSelectorRequirement{{Key:{},Operator:{},", e.key, e.operator)?;
            write!(f, "Values:[{}],}},", e.values.join(" "))?;
        }
        f.write_str("},}")
    }
}

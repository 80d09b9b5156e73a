//! What an HPA asks for, with the API's defaults filled in, and the controller's flags.
//!
//! Upstream: kubernetes/kubernetes `pkg/apis/autoscaling/v2/defaults.go`, `validation.go` (1.34).
//! Differences: a metric that the API server would refuse is an error here.

use crate::k8s::{
    HorizontalPodAutoscaler, HpaBehavior, HpaScalingRules, LabelSelector, MetricSpec, MetricTarget,
    NamedMetric, PodSpec, ResourceMetric,
};
use crate::units::Span;

/// Flags of the controller manager that the HPA controller reads; defaults are upstream's.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `--horizontal-pod-autoscaler-sync-period` (15 s).
    pub sync_period: Span,
    /// `--horizontal-pod-autoscaler-tolerance` (0.1), for both directions.
    pub tolerance: f64,
    /// `--horizontal-pod-autoscaler-downscale-stabilization` (5 min).
    pub downscale_stabilization: Span,
    /// `--horizontal-pod-autoscaler-cpu-initialization-period` (5 min).
    pub cpu_initialization_period: Span,
    /// `--horizontal-pod-autoscaler-initial-readiness-delay` (30 s).
    pub initial_readiness_delay: Span,
    /// Feature gate `HPAScaleToZero` (off).
    pub scale_to_zero: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sync_period: Span::from_secs(15),
            tolerance: 0.1,
            downscale_stabilization: Span::from_secs(300),
            cpu_initialization_period: Span::from_secs(300),
            initial_readiness_delay: Span::from_secs(30),
            scale_to_zero: false,
        }
    }
}

/// How far the ratio of usage to target may lie from one without any scaling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Below one.
    pub scale_down: f64,
    /// Above one.
    pub scale_up: f64,
}

impl Tolerance {
    /// Whether `ratio` is close enough to one; both ends are inclusive.
    #[must_use]
    pub fn holds(self, ratio: f64) -> bool {
        1.0 - self.scale_down <= ratio && ratio <= 1.0 + self.scale_up
    }
}

/// An HPA, lowered from its manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct HpaSpec {
    /// `minReplicas`, 1 by default.
    pub min_replicas: i32,
    /// `maxReplicas`.
    pub max_replicas: i32,
    /// Metrics in order; cpu at 80 % utilisation when the manifest names none.
    pub metrics: Vec<Metric>,
    /// `behavior` with defaults, absent for the legacy rules.
    pub behavior: Option<Behavior>,
}

/// One metric and its target.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Where values come from.
    pub source: Source,
    /// Name of the resource or metric.
    pub name: String,
    /// Container, for [`Source::ContainerResource`].
    pub container: Option<String>,
    /// Kind of the described object, for [`Source::Object`].
    pub object_kind: String,
    /// Labels of the metric's series.
    pub selector: Option<LabelSelector>,
    /// What to hold.
    pub target: Target,
}

/// Type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Resource of whole pods.
    Resource,
    /// Resource of one named container.
    ContainerResource,
    /// Custom metric of each pod.
    Pods,
    /// Custom metric of one object.
    Object,
    /// Metric from outside the cluster.
    External,
}

/// Target of a metric; values are thousandths of the metric's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Percent of the requests.
    Utilization(i32),
    /// Average per pod.
    AverageValue(i64),
    /// Total.
    Value(i64),
}

impl Metric {
    /// Whether the start-up rules of cpu apply (never to custom metrics).
    #[must_use]
    pub fn is_cpu(&self) -> bool {
        matches!(self.source, Source::Resource | Source::ContainerResource) && self.name == "cpu"
    }
}

/// Scaling behaviour with every default filled in, except a scale-down window left to the flag.
#[derive(Clone, Debug, PartialEq)]
pub struct Behavior {
    /// Upwards.
    pub scale_up: Rules,
    /// Downwards.
    pub scale_down: Rules,
}

/// Rules of one direction.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// `stabilizationWindowSeconds`; `None` = the downscale flag.
    pub stabilization_window: Option<Span>,
    /// Which policy counts.
    pub select_policy: SelectPolicy,
    /// Rate limits.
    pub policies: Vec<Policy>,
    /// Tolerance of this direction, absent = the flag.
    pub tolerance: Option<f64>,
}

/// Which of several policies counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelectPolicy {
    /// The one that allows the most change.
    Max,
    /// The one that allows the least change.
    Min,
    /// No scaling in this direction.
    Disabled,
}

/// A rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Unit of `value`.
    pub kind: PolicyKind,
    /// Pods or percent.
    pub value: i32,
    /// Window in which changes are counted.
    pub period: Span,
}

/// Unit of a rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyKind {
    /// Pods.
    Pods,
    /// Percent of the count at the start of the period.
    Percent,
}

/// Why an HPA cannot be lowered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HpaError {
    /// Unknown metric type.
    #[error(
        "metric type `{0}` is unknown; write Resource, ContainerResource, Pods, Object or External"
    )]
    MetricType(String),
    /// The block that the type names is absent.
    #[error("a metric of type `{0}` lacks the block of the same name; add it with a target")]
    MissingBlock(&'static str),
    /// No usable target.
    #[error("metric `{0}` has no target above zero; set averageUtilization, averageValue or value")]
    Target(String),
    /// No container named.
    #[error("container resource metric `{0}` names no container; set containerResource.container")]
    Container(String),
    /// Unknown policy type.
    #[error("scaling policy type `{0}` is unknown; write Pods or Percent")]
    PolicyType(String),
    /// Unknown selectPolicy.
    #[error("selectPolicy `{0}` is unknown; write Max, Min or Disabled")]
    SelectPolicy(String),
    /// A number outside the API's bounds.
    #[error("{field} is {value}; it must lie between {min} and {max}")]
    Bounds {
        /// Field of the manifest.
        field: &'static str,
        /// Its value.
        value: i64,
        /// Smallest allowed.
        min: i64,
        /// Largest allowed.
        max: i64,
    },
}

impl HpaSpec {
    /// Fills in the API's defaults and checks what the API server checks.
    ///
    /// # Errors
    /// See [`HpaError`].
    pub fn lower(hpa: &HorizontalPodAutoscaler) -> Result<Self, HpaError> {
        let spec = &hpa.spec;
        let min_replicas = spec.min_replicas.unwrap_or(1);
        bounds("minReplicas", min_replicas, 0, i32::MAX)?;
        bounds("maxReplicas", spec.max_replicas, min_replicas.max(1), i32::MAX)?;
        let mut metrics = spec.metrics.iter().map(metric).collect::<Result<Vec<_>, _>>()?;
        if metrics.is_empty() {
            // API defaulting: 80 % of the requested cpu, unless autoscaling/v1 names a percentage.
            let percent = spec.target_cpu_utilization_percentage.unwrap_or(80);
            bounds("targetCPUUtilizationPercentage", percent, 1, i32::MAX)?;
            metrics.push(Metric {
                source: Source::Resource,
                name: "cpu".to_owned(),
                container: None,
                object_kind: String::new(),
                selector: None,
                target: Target::Utilization(percent),
            });
        }
        let behavior = spec.behavior.as_ref().map(Behavior::lower).transpose()?;
        Ok(Self { min_replicas, max_replicas: spec.max_replicas, metrics, behavior })
    }

    /// The tolerances in force.
    #[must_use]
    pub fn tolerance(&self, config: &Config) -> Tolerance {
        let of = |rules: Option<&Rules>| rules.and_then(|r| r.tolerance);
        let (up, down) = match &self.behavior {
            Some(b) => (of(Some(&b.scale_up)), of(Some(&b.scale_down))),
            None => (None, None),
        };
        Tolerance {
            scale_down: down.unwrap_or(config.tolerance),
            scale_up: up.unwrap_or(config.tolerance),
        }
    }
}

fn bounds(field: &'static str, value: i32, min: i32, max: i32) -> Result<(), HpaError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(HpaError::Bounds { field, value: value.into(), min: min.into(), max: max.into() })
}

fn metric(spec: &MetricSpec) -> Result<Metric, HpaError> {
    match spec.kind.as_str() {
        "Resource" => {
            let block = spec.resource.as_ref().ok_or(HpaError::MissingBlock("Resource"))?;
            resource(Source::Resource, block, None)
        }
        "ContainerResource" => {
            let missing = HpaError::MissingBlock("ContainerResource");
            let block = spec.container_resource.as_ref().ok_or(missing)?;
            let container = block.container.clone().filter(|c| !c.is_empty());
            let container = container.ok_or_else(|| HpaError::Container(block.name.clone()))?;
            resource(Source::ContainerResource, block, Some(container))
        }
        "Pods" => named(Source::Pods, spec.pods.as_ref().ok_or(HpaError::MissingBlock("Pods"))?),
        "Object" => {
            named(Source::Object, spec.object.as_ref().ok_or(HpaError::MissingBlock("Object"))?)
        }
        "External" => {
            let missing = HpaError::MissingBlock("External");
            named(Source::External, spec.external.as_ref().ok_or(missing)?)
        }
        other => Err(HpaError::MetricType(other.to_owned())),
    }
}

fn resource(
    source: Source,
    block: &ResourceMetric,
    container: Option<String>,
) -> Result<Metric, HpaError> {
    let average = block.target.average_value.map(|q| Target::AverageValue(q.milli_value()));
    let target = average.or(block.target.average_utilization.map(Target::Utilization));
    Ok(Metric {
        source,
        name: block.name.clone(),
        container,
        object_kind: String::new(),
        selector: None,
        target: positive(target, &block.name)?,
    })
}

fn named(source: Source, block: &NamedMetric) -> Result<Metric, HpaError> {
    let name = &block.metric.name;
    Ok(Metric {
        source,
        name: name.clone(),
        container: None,
        object_kind: block.described_object.as_ref().map(|o| o.kind.clone()).unwrap_or_default(),
        selector: block.metric.selector.clone(),
        target: positive(value_target(source, &block.target), name)?,
    })
}

/// Which of the target's fields counts: upstream looks at the type for objects only.
fn value_target(source: Source, target: &MetricTarget) -> Option<Target> {
    let average = target.average_value.map(|q| Target::AverageValue(q.milli_value()));
    let value = target.value.map(|q| Target::Value(q.milli_value()));
    match source {
        Source::Pods => average,
        Source::Object if target.kind == "Value" => value,
        Source::Object if target.kind == "AverageValue" => average,
        _ => average.or(value),
    }
}

fn positive(target: Option<Target>, name: &str) -> Result<Target, HpaError> {
    let amount = match target {
        Some(Target::Utilization(percent)) => i64::from(percent),
        Some(Target::AverageValue(milli) | Target::Value(milli)) => milli,
        None => 0,
    };
    target.filter(|_| amount > 0).ok_or_else(|| HpaError::Target(name.to_owned()))
}

impl Behavior {
    /// Stabilisation windows upwards and downwards.
    #[must_use]
    pub fn windows(&self, config: &Config) -> (Span, Span) {
        let down = self.scale_down.stabilization_window;
        (
            self.scale_up.stabilization_window.unwrap_or(Span::ZERO),
            down.unwrap_or(config.downscale_stabilization),
        )
    }

    /// Fills in the API's defaults for whatever the manifest leaves open.
    ///
    /// # Errors
    /// See [`HpaError`].
    pub fn lower(behavior: &HpaBehavior) -> Result<Self, HpaError> {
        let period = Span::from_secs(15);
        let percent = Policy { kind: PolicyKind::Percent, value: 100, period };
        let pods = Policy { kind: PolicyKind::Pods, value: 4, period };
        let up = Rules {
            stabilization_window: Some(Span::ZERO),
            select_policy: SelectPolicy::Max,
            policies: vec![pods, percent],
            tolerance: None,
        };
        let down = Rules { stabilization_window: None, policies: vec![percent], ..up.clone() };
        Ok(Self {
            scale_up: rules(behavior.scale_up.as_ref(), up)?,
            scale_down: rules(behavior.scale_down.as_ref(), down)?,
        })
    }
}

fn rules(given: Option<&HpaScalingRules>, mut rules: Rules) -> Result<Rules, HpaError> {
    let Some(given) = given else { return Ok(rules) };
    if let Some(window) = given.stabilization_window_seconds {
        bounds("stabilizationWindowSeconds", window, 0, 3600)?;
        rules.stabilization_window = Some(Span::from_secs(window.unsigned_abs().into()));
    }
    match given.select_policy.as_deref() {
        None => {}
        Some("Max") => rules.select_policy = SelectPolicy::Max,
        Some("Min") => rules.select_policy = SelectPolicy::Min,
        Some("Disabled") => rules.select_policy = SelectPolicy::Disabled,
        Some(other) => return Err(HpaError::SelectPolicy(other.to_owned())),
    }
    if let Some(policies) = given.policies.as_ref().filter(|p| !p.is_empty()) {
        rules.policies.clear();
        for p in policies {
            bounds("periodSeconds", p.period_seconds, 1, 1800)?;
            bounds("policies value", p.value, 1, i32::MAX)?;
            let kind = match p.kind.as_str() {
                "Pods" => PolicyKind::Pods,
                "Percent" => PolicyKind::Percent,
                other => return Err(HpaError::PolicyType(other.to_owned())),
            };
            let period = Span::from_secs(p.period_seconds.unsigned_abs().into());
            rules.policies.push(Policy { kind, value: p.value, period });
        }
    }
    rules.tolerance = given.tolerance.map(crate::units::Quantity::as_f64);
    Ok(rules)
}

/// The request of a pod in thousandths: the pod-level one if set and no container is named, else
/// the sum over containers and sidecars; `None` if one of them has no request.
#[must_use]
pub fn pod_request(pod: &PodSpec, resource: &str, container: Option<&str>) -> Option<i64> {
    let pod_level = pod.resources.as_ref().and_then(|r| r.requests.get(resource));
    if let (Some(request), None) = (pod_level, container) {
        return Some(request.milli_value());
    }
    let sidecars =
        pod.init_containers.iter().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let mut sum = 0_i64;
    for c in pod.containers.iter().chain(sidecars) {
        if container.is_none_or(|name| name == c.name) {
            sum = sum.saturating_add(c.resources.requests.get(resource)?.milli_value());
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lower(spec: serde_json::Value) -> Result<HpaSpec, HpaError> {
        let hpa: HorizontalPodAutoscaler = serde_json::from_value(json!({"spec": spec})).unwrap();
        HpaSpec::lower(&hpa)
    }

    #[test]
    fn defaults_are_filled_in() {
        let hpa = lower(json!({"maxReplicas": 5})).unwrap();
        assert_eq!((hpa.min_replicas, hpa.metrics.len()), (1, 1));
        assert_eq!(hpa.metrics[0].target, Target::Utilization(80));
        assert!(hpa.metrics[0].is_cpu());
        assert_eq!(hpa.behavior, None);
        let v1 = lower(json!({"maxReplicas": 5, "targetCPUUtilizationPercentage": 55})).unwrap();
        assert_eq!(v1.metrics[0].target, Target::Utilization(55));
    }

    #[test]
    fn one_given_direction_fills_the_other() {
        let hpa = lower(json!({"maxReplicas": 5, "behavior": {"scaleDown": {
            "tolerance": "50m", "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}}));
        let hpa = hpa.unwrap();
        let behavior = hpa.behavior.as_ref().unwrap();
        assert_eq!(behavior.scale_up.policies.len(), 2);
        assert_eq!(behavior.scale_up.stabilization_window, Some(Span::ZERO));
        assert_eq!(behavior.scale_down.stabilization_window, None);
        assert_eq!(behavior.scale_down.policies[0].value, 1);
        let tolerance = hpa.tolerance(&Config::default());
        assert_eq!(tolerance, Tolerance { scale_down: 0.05, scale_up: 0.1 });
    }

    #[test]
    fn bad_manifests_are_refused() {
        let metric = |m| lower(json!({"maxReplicas": 5, "metrics": [m]}));
        assert!(matches!(metric(json!({"type": "Cpu"})), Err(HpaError::MetricType(_))));
        assert!(matches!(metric(json!({"type": "Pods"})), Err(HpaError::MissingBlock("Pods"))));
        let no_target = json!({"type": "Resource", "resource": {"name": "cpu"}});
        assert!(matches!(metric(no_target), Err(HpaError::Target(_))));
        assert!(matches!(lower(json!({"maxReplicas": 0})), Err(HpaError::Bounds { .. })));
        let window = json!({"maxReplicas": 5,
            "behavior": {"scaleUp": {"stabilizationWindowSeconds": 3601}}});
        assert!(matches!(lower(window), Err(HpaError::Bounds { .. })));
    }

    #[test]
    fn requests_prefer_the_pod_level() {
        let pod: PodSpec = serde_json::from_value(json!({
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "100m"}}},
                           {"name": "b", "resources": {"requests": {"cpu": "250m"}}}],
            "initContainers": [{"name": "s", "restartPolicy": "Always",
                                "resources": {"requests": {"cpu": "50m"}}}, {"name": "once"}],
        }))
        .unwrap();
        assert_eq!(pod_request(&pod, "cpu", None), Some(400));
        assert_eq!(pod_request(&pod, "cpu", Some("b")), Some(250));
        assert_eq!(pod_request(&pod, "memory", None), None);
        let mut pod = pod;
        pod.resources = Some(serde_json::from_value(json!({"requests": {"cpu": "1"}})).unwrap());
        assert_eq!(pod_request(&pod, "cpu", None), Some(1000));
        assert_eq!(pod_request(&pod, "cpu", Some("a")), Some(100));
    }
}

//! Conformance cases of the HorizontalPodAutoscaler.

pub(super) mod input;

use super::Refusal;
use crate::k8s::{HorizontalPodAutoscaler, HpaBehavior, Pod};
use crate::policy::hpa::{
    Behavior, Config, Decision, Group, History, HpaSpec, Metric, MetricError, PodMetric, PodPhase,
    PodView, Reading, Recommendation, Requests, ScaleEvent, SelectorState, Source, Target,
    Tolerance, Usage, View, group, legacy_limit, legacy_stabilize, normalize, pod_request, propose,
    rate_limit, reconcile, stabilize,
};
use crate::units::{SimTime, Span};
use input::{Fields, bad, instant};
use serde_json::{Value, json};

/// A clock far enough from zero for any age in a case.
const NOW: SimTime = SimTime::from_secs(1 << 32);

pub(super) fn evaluate(topic: &str, file: &Value, case: &Value) -> Result<Value, Refusal> {
    Fields::new(case, &["name", "input", "expect"])?;
    let input = case.get("input").unwrap_or(&Value::Null);
    match topic {
        "autoscaling/hpa-group-pods" => group_pods(input),
        "autoscaling/hpa-replica-calculator" => replica_calculator(input),
        "autoscaling/hpa-behavior" => behavior_step(input),
        "autoscaling/hpa-timeline" => timeline(input),
        "autoscaling/hpa-reconcile" => sync(file, input),
        _ => Err(bad(&format!("topic `{topic}`"))),
    }
}

fn seconds(n: u64) -> Span {
    Span::from_secs(n)
}

fn start_up(fields: &Fields<'_>) -> Result<Config, Refusal> {
    Ok(Config {
        cpu_initialization_period: seconds(fields.read("cpuInitializationPeriodSeconds")?),
        initial_readiness_delay: seconds(fields.read("initialReadinessDelaySeconds")?),
        ..Config::default()
    })
}

/// Pods as the calculator sees them.
struct Pods {
    objects: Vec<Pod>,
    views: Vec<PodView>,
}

impl Pods {
    fn read(fields: &Fields<'_>) -> Result<Self, Refusal> {
        let objects: Vec<Pod> = fields.read_or("pods", Vec::new())?;
        let views = objects.iter().map(view).collect::<Result<_, _>>()?;
        Ok(Self { objects, views })
    }

    /// Metrics in the order of the pods, and the values of unknown pods.
    fn metrics(
        &self,
        entries: &[Value],
        container: Option<&str>,
    ) -> Result<(Vec<Option<PodMetric>>, Vec<i64>), Refusal> {
        let mut known = vec![None; self.objects.len()];
        let mut strays = Vec::new();
        for entry in entries {
            let f = Fields::new(entry, &["pod", "timestamp", "windowSeconds", "containers"])?;
            let Some(value) = usage(&f, container)? else { continue };
            let name: String = f.read("pod")?;
            let metric = PodMetric {
                timestamp: instant(&f.read::<String>("timestamp")?)?,
                window: seconds(f.read("windowSeconds")?),
                value,
            };
            let at = self.objects.iter().position(|p| p.metadata.name == name);
            match at.and_then(|at| known.get_mut(at)) {
                Some(slot) => *slot = Some(metric),
                None => strays.push(value),
            }
        }
        Ok((known, strays))
    }

    fn requests(&self, resource: &str, container: Option<&str>) -> Vec<Option<i64>> {
        self.objects.iter().map(|p| pod_request(&p.spec, resource, container)).collect()
    }
}

fn usage(entry: &Fields<'_>, container: Option<&str>) -> Result<Option<i64>, Refusal> {
    let mut sum = None;
    for c in entry.list("containers") {
        let c = Fields::new(c, &["name", "usageMilli"])?;
        if container.is_none_or(|name| c.get("name") == name) {
            sum = Some(i64::saturating_add(sum.unwrap_or(0), c.read("usageMilli")?));
        }
    }
    match (sum, container) {
        (None, Some(name)) => {
            Err(Refusal::Error(format!("container {name} not present in metrics")))
        }
        (sum, _) => Ok(sum),
    }
}

fn view(pod: &Pod) -> Result<PodView, Refusal> {
    let phase = match pod.status.phase.as_str() {
        "" | "Pending" => PodPhase::Pending,
        "Running" => PodPhase::Running,
        "Succeeded" => PodPhase::Succeeded,
        "Failed" => PodPhase::Failed,
        "Unknown" => PodPhase::Unknown,
        other => return Err(bad(&format!("phase `{other}`"))),
    };
    let ready = pod.status.conditions.iter().find(|c| c.kind == "Ready");
    let transition = ready.and_then(|c| c.last_transition_time.as_deref()).map(instant);
    Ok(PodView {
        phase,
        deleted: pod.metadata.deletion_timestamp.is_some(),
        ready: ready.map(|c| c.status == "True"),
        ready_transition: transition.transpose()?.unwrap_or(SimTime::ZERO),
        start_time: pod.status.start_time.as_deref().map(instant).transpose()?,
    })
}

fn group_pods(input: &Value) -> Result<Value, Refusal> {
    let f = Fields::new(
        input,
        &[
            "resource",
            "now",
            "cpuInitializationPeriodSeconds",
            "initialReadinessDelaySeconds",
            "pods",
            "podMetrics",
        ],
    )?;
    let config = start_up(&f)?;
    let now = instant(&f.read::<String>("now")?)?;
    let cpu = f.get("resource") == "cpu";
    let pods = Pods::read(&f)?;
    let (metrics, _) = pods.metrics(f.list("podMetrics"), None)?;
    let mut ready = 0;
    let (mut unready, mut missing, mut ignored) = (Vec::new(), Vec::new(), Vec::new());
    for ((pod, view), metric) in pods.objects.iter().zip(&pods.views).zip(&metrics) {
        let list = match group(view, metric.as_ref(), cpu, now, &config) {
            Group::Ready => {
                ready += 1;
                continue;
            }
            Group::Unready => &mut unready,
            Group::Missing => &mut missing,
            Group::Ignored => &mut ignored,
        };
        list.push(pod.metadata.name.as_str());
    }
    for list in [&mut unready, &mut missing, &mut ignored] {
        list.sort_unstable();
    }
    Ok(json!({"readyCount": ready, "unready": unready, "missing": missing, "ignored": ignored}))
}

fn calculator_metric(f: &Fields<'_>) -> Result<Metric, Refusal> {
    let average = || f.read("targetAverageValueMilli").map(Target::AverageValue);
    let value = || f.read("targetValueMilli").map(Target::Value);
    let percent = || f.read("targetUtilizationPercent").map(Target::Utilization);
    let (source, target) = match f.read::<String>("metric")?.as_str() {
        "Resource" => (Source::Resource, percent()?),
        "ResourceAverageValue" => (Source::Resource, average()?),
        "ContainerResource" if f.has("targetUtilizationPercent") => {
            (Source::ContainerResource, percent()?)
        }
        "ContainerResource" | "ContainerResourceAverageValue" => {
            (Source::ContainerResource, average()?)
        }
        "Pods" => (Source::Pods, average()?),
        "ObjectValue" => (Source::Object, value()?),
        "ObjectAverageValue" => (Source::Object, average()?),
        "ExternalValue" => (Source::External, value()?),
        "ExternalAverageValue" => (Source::External, average()?),
        other => return Err(bad(&format!("metric `{other}`"))),
    };
    Ok(Metric {
        source,
        name: f.read_or("resource", "qps".to_owned())?,
        container: f.read_or("container", None)?,
        object_kind: String::new(),
        selector: None,
        target,
    })
}

fn replica_calculator(input: &Value) -> Result<Value, Refusal> {
    let known = [
        "metric",
        "resource",
        "container",
        "currentReplicas",
        "targetUtilizationPercent",
        "targetAverageValueMilli",
        "targetValueMilli",
        "metricValuesMilli",
        "tolerance",
        "cpuInitializationPeriodSeconds",
        "initialReadinessDelaySeconds",
        "now",
        "pods",
        "podMetrics",
    ];
    let f = Fields::new(input, &known)?;
    let config = start_up(&f)?;
    let tolerance = Fields::new(f.get("tolerance"), &["scaleDown", "scaleUp"])?;
    let tolerance = Tolerance {
        scale_down: tolerance.read("scaleDown")?,
        scale_up: tolerance.read("scaleUp")?,
    };
    let metric = calculator_metric(&f)?;
    let now = instant(&f.read::<String>("now")?)?;
    let pods = Pods::read(&f)?;
    let current: i32 = f.read("currentReplicas")?;
    let container = metric.container.as_deref();
    let (metrics, strays) = pods.metrics(f.list("podMetrics"), container)?;
    let requests = pods.requests(&metric.name, container);
    let series: Vec<i64> = f.read_or("metricValuesMilli", Vec::new())?;
    let reading = match metric.source {
        Source::Object | Source::External => Reading::Series(&series),
        _ => Reading::Pods {
            metrics: &metrics,
            strays: &strays,
            requests: Requests::Each(&requests),
        },
    };
    let result = propose(&metric, &reading, &pods.views, current, current, tolerance, now, &config);
    let proposal = result.map_err(|e: MetricError| Refusal::Error(e.to_string()))?;
    let replicas = proposal.replicas;
    Ok(match proposal.usage {
        Usage::Utilization { percent, average } => json!({
            "replicas": replicas, "utilizationPercent": percent, "averageUsageMilli": average,
        }),
        Usage::Average(average) => json!({"replicas": replicas, "averageUsageMilli": average}),
        Usage::Total(total) => json!({"replicas": replicas, "usageMilli": total}),
    })
}

fn behavior(value: &Value) -> Result<Option<Behavior>, Refusal> {
    if value.is_null() {
        return Ok(None);
    }
    let f = Fields::new(value, &["scaleUp", "scaleDown"])?;
    for direction in ["scaleUp", "scaleDown"] {
        if f.has(direction) {
            let known = ["stabilizationWindowSeconds", "selectPolicy", "policies", "tolerance"];
            let rules = Fields::new(f.get(direction), &known)?;
            for policy in rules.list("policies") {
                Fields::new(policy, &["type", "value", "periodSeconds"])?;
            }
        }
    }
    let parsed: HpaBehavior =
        serde::Deserialize::deserialize(value).map_err(|e| bad(&e.to_string()))?;
    Behavior::lower(&parsed).map(Some).map_err(|e| Refusal::Error(e.to_string()))
}

fn before_now(age: u64) -> SimTime {
    NOW - seconds(age)
}

fn records(items: &[Value], now: SimTime) -> Result<Vec<Recommendation>, Refusal> {
    let one = |item| {
        let f = Fields::new(item, &["replicas", "ageSeconds"])?;
        let time = now - seconds(f.read("ageSeconds")?);
        Ok(Recommendation { time, replicas: f.read("replicas")? })
    };
    items.iter().map(one).collect()
}

fn events(items: &[Value]) -> Result<Vec<ScaleEvent>, Refusal> {
    let one = |item| {
        let f = Fields::new(item, &["change", "ageSeconds", "outdated"])?;
        let time = before_now(f.read("ageSeconds")?);
        let outdated = f.read_or("outdated", false)?;
        Ok(ScaleEvent { time, change: f.read("change")?, outdated })
    };
    items.iter().map(one).collect()
}

fn behavior_step(input: &Value) -> Result<Value, Refusal> {
    let known = [
        "operation",
        "currentReplicas",
        "desiredReplicas",
        "minReplicas",
        "maxReplicas",
        "behavior",
        "scaleUpEvents",
        "scaleDownEvents",
        "events",
        "recommendations",
        "policies",
        "change",
        "downscaleStabilizationSeconds",
        "scaleUpStabilizationSeconds",
        "scaleDownStabilizationSeconds",
    ];
    let f = Fields::new(input, &known)?;
    let int = |key| f.read::<i32>(key);
    let window = |key| f.read(key).map(seconds);
    let replicas = |r: i32, list: &[Recommendation]| {
        let list: Vec<i32> = list.iter().map(|r| r.replicas).collect();
        json!({"replicas": r, "recommendations": list})
    };
    let limited = |(r, why): (i32, crate::policy::hpa::Limited)| json!({"replicas": r, "reason": why.reason()});
    match f.read::<String>("operation")?.as_str() {
        "rateLimit" => {
            let rules = behavior(f.get("behavior"))?.ok_or_else(|| bad("no behavior"))?;
            let history = History {
                recommendations: None,
                scale_ups: events(f.list("scaleUpEvents"))?,
                scale_downs: events(f.list("scaleDownEvents"))?,
            };
            let bounds = (int("minReplicas")?, int("maxReplicas")?);
            let (current, desired) = (int("currentReplicas")?, int("desiredReplicas")?);
            Ok(limited(rate_limit(&rules, bounds, &history, current, desired, NOW)))
        }
        "legacyLimit" => {
            let bounds = (int("minReplicas")?, int("maxReplicas")?);
            Ok(limited(legacy_limit(int("currentReplicas")?, int("desiredReplicas")?, bounds)))
        }
        "legacyStabilize" => {
            let mut list = records(f.list("recommendations"), NOW)?;
            let window = window("downscaleStabilizationSeconds")?;
            let stable = legacy_stabilize(&mut list, window, int("desiredReplicas")?, NOW);
            Ok(replicas(stable.replicas, &list))
        }
        "stabilize" => {
            let mut list = records(f.list("recommendations"), NOW)?;
            let windows =
                (window("scaleUpStabilizationSeconds")?, window("scaleDownStabilizationSeconds")?);
            let (current, desired) = (int("currentReplicas")?, int("desiredReplicas")?);
            let stable = stabilize(&mut list, windows, current, desired, NOW);
            Ok(replicas(stable.replicas, &list))
        }
        "storeScaleEvent" => store(&f),
        other => Err(bad(&format!("operation `{other}`"))),
    }
}

fn store(f: &Fields<'_>) -> Result<Value, Refusal> {
    let rules = if f.has("policies") {
        let direction = json!({"policies": f.get("policies")});
        behavior(&json!({"scaleUp": direction}))?
    } else {
        None
    };
    let mut history = History { scale_ups: events(f.list("events"))?, ..History::default() };
    let change: i32 = f.read("change")?;
    history.record_rescale(rules.as_ref(), NOW, 0, change);
    let one = |e: &ScaleEvent| json!({"change": e.change, "outdated": e.outdated});
    Ok(json!({"events": history.scale_ups.iter().map(one).collect::<Vec<_>>()}))
}

fn timeline(input: &Value) -> Result<Value, Refusal> {
    let known = [
        "currentReplicas",
        "minReplicas",
        "maxReplicas",
        "behavior",
        "syncPeriodSeconds",
        "proposals",
    ];
    let f = Fields::new(input, &known)?;
    let rules = behavior(f.get("behavior"))?;
    let bounds: (i32, i32) = (f.read("minReplicas")?, f.read("maxReplicas")?);
    let period = seconds(f.read("syncPeriodSeconds")?);
    let mut current: i32 = f.read("currentReplicas")?;
    let (mut history, mut now) = (History::default(), NOW);
    let config = Config::default();
    let mut counts = Vec::new();
    for proposal in f.read::<Vec<i32>>("proposals")? {
        let step = normalize(rules.as_ref(), bounds, &mut history, current, proposal, now, &config);
        if step.replicas != current {
            history.record_rescale(rules.as_ref(), now, current, step.replicas);
        }
        current = step.replicas;
        counts.push(current);
        now += period;
    }
    Ok(json!({ "replicas": counts }))
}

fn sync(file: &Value, input: &Value) -> Result<Value, Refusal> {
    let known = [
        "now",
        "hpa",
        "scale",
        "pods",
        "podMetrics",
        "customPodMetrics",
        "otherMetrics",
        "recommendations",
        "scaleToZeroEnabled",
        "scaledToZeroCondition",
    ];
    let f = Fields::new(input, &known)?;
    let constants = file.get("constants").unwrap_or(&Value::Null);
    let known = [
        "tolerance",
        "cpuInitializationPeriodSeconds",
        "initialReadinessDelaySeconds",
        "downscaleStabilizationSeconds",
    ];
    let c = Fields::new(constants, &known)?;
    let config = Config {
        tolerance: c.read("tolerance")?,
        downscale_stabilization: seconds(c.read("downscaleStabilizationSeconds")?),
        scale_to_zero: f.read_or("scaleToZeroEnabled", false)?,
        ..start_up(&c)?
    };
    let hpa: HorizontalPodAutoscaler = f.read("hpa")?;
    let spec = HpaSpec::lower(&hpa).map_err(|e| Refusal::Error(e.to_string()))?;
    let now = instant(&f.read::<String>("now")?)?;
    let mut history = History::default();
    if f.has("recommendations") {
        history.recommendations = Some(records(f.list("recommendations"), now)?);
    }
    let decision = sync_once(&f, &spec, &config, &mut history, now)?;
    let active = decision.scaling_active.map(|a| a.status());
    let reason = match decision.scaling_active {
        Some(active) if !active.status() => Some(active.reason(&spec)),
        _ => decision.scaling_limited.map(|l| l.reason()),
    };
    Ok(json!({
        "replicas": decision.desired,
        "reason": reason,
        "scalingActive": active.map(|a| if a { "True" } else { "False" }),
    }))
}

/// Buffers of one metric's reading.
struct Read {
    metrics: Vec<Option<PodMetric>>,
    strays: Vec<i64>,
    requests: Vec<Option<i64>>,
    series: Option<Vec<i64>>,
}

fn sync_once(
    f: &Fields<'_>,
    spec: &HpaSpec,
    config: &Config,
    history: &mut History,
    now: SimTime,
) -> Result<Decision, Refusal> {
    let pods = Pods::read(f)?;
    let mut reads = Vec::new();
    for m in &spec.metrics {
        let container = m.container.as_deref();
        let key = if m.source == Source::Pods { "customPodMetrics" } else { "podMetrics" };
        let (metrics, strays) = pods.metrics(f.list(key), container)?;
        let requests = pods.requests(&m.name, container);
        let series = f.get("otherMetrics").get(&m.name);
        let series = series.map(serde::Deserialize::deserialize).transpose();
        let series = series.map_err(|e| bad(&e.to_string()))?;
        reads.push(Read { metrics, strays, requests, series });
    }
    let mut readings = Vec::new();
    for (m, r) in spec.metrics.iter().zip(&reads) {
        readings.push(match (m.source, &r.series) {
            (Source::Object | Source::External, Some(series)) => Reading::Series(series),
            (Source::Object | Source::External, None) => Reading::Unavailable,
            _ => Reading::Pods {
                metrics: &r.metrics,
                strays: &r.strays,
                requests: Requests::Each(&r.requests),
            },
        });
    }
    let scale = Fields::new(f.get("scale"), &["spec", "status"])?;
    let replicas = |key: &str| {
        Fields::new(scale.get(key), &["replicas", "selector"])?.read_or("replicas", 0_i32)
    };
    let view = View {
        now,
        spec_replicas: replicas("spec")?,
        status_replicas: replicas("status")?,
        selector: SelectorState::Valid,
        scaled_to_zero: f.read_or("scaledToZeroCondition", false)?,
        pods: &pods.views,
        readings: &readings,
    };
    Ok(reconcile(spec, config, history, &view))
}

#[cfg(test)]
mod tests {
    use super::input::check;

    #[test]
    fn group_pods() {
        check("autoscaling/hpa-group-pods.json");
    }
    #[test]
    fn replica_calculator() {
        check("autoscaling/hpa-replica-calculator.json");
    }
    #[test]
    fn behavior() {
        check("autoscaling/hpa-behavior.json");
    }
    #[test]
    fn timeline() {
        check("autoscaling/hpa-timeline.json");
    }
    #[test]
    fn reconcile() {
        check("autoscaling/hpa-reconcile.json");
    }
}

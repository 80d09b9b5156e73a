//! Conformance cases of the VerticalPodAutoscaler.

use super::Refusal;
use super::hpa::input::{Fields, bad};
use crate::k8s::{LimitRangeItem, Pod, ResourceList, VpaContainerPolicy};
use crate::policy::vpa::{
    AggregateConfig, Amounts, Boundaries, Checkpoint, ContainerAggregate, ContainerPolicy,
    DecayingHistogram, Group, Histogram, InPlaceDecision, InPlaceView, Layout, MemoryWindow, Named,
    OomBump, PeakChange, Priority, Recommendation, Recommender, ResizeStatus, Termination,
    UpdateConfig, UpdateMode, UpdatePod, WindowPeak, cap, confidence, confidence_multiplier,
    container_views, in_place_decision, margin, priority, proportional_limit, raise_to,
    update_order,
};
use crate::units::{Quantity, SimTime, Span};
use serde_json::{Map, Value, json};

pub(super) fn evaluate(topic: &str, _file: &Value, case: &Value) -> Result<Value, Refusal> {
    let fields = Fields::new(case, &["name", "input", "expect"])?;
    let input = fields.get("input");
    let operation = input.get("operation").and_then(Value::as_str).unwrap_or_default();
    match (topic, operation) {
        ("autoscaling/vpa-histogram", _) => histogram(input, fields.get("expect")),
        ("autoscaling/vpa-memory-oom", _) => memory_oom(input),
        ("autoscaling/vpa-estimator", "confidenceMultiplier") => widened(input),
        ("autoscaling/vpa-estimator", "margin") => with_margin(input),
        ("autoscaling/vpa-estimator", "podMinimum") => pod_minimum(input),
        ("autoscaling/vpa-estimator", "recommend") => recommend(input),
        ("autoscaling/vpa-capping", "proportionalLimit") => limit(input),
        ("autoscaling/vpa-capping", "cap") => capped(input),
        ("autoscaling/vpa-capping", "recommenderPolicy") => recommender_policy(input),
        ("autoscaling/vpa-updater", "priority") => score(input),
        ("autoscaling/vpa-updater", "updateOrder") => order(input),
        ("autoscaling/vpa-updater", "evict") => evict(input),
        ("autoscaling/vpa-updater", "inPlaceDecision") => in_place(input),
        _ => Err(bad(&format!("topic `{topic}`, operation `{operation}`"))),
    }
}

/// A float as JSON; whole numbers without a fraction, as the vectors write some of them.
fn number(x: f64) -> Value {
    let whole = x as i64;
    if whole as f64 == x { json!(whole) } else { json!(x) }
}

fn seconds(s: f64) -> SimTime {
    SimTime::ZERO + Span::from_secs_f64(s)
}

fn layout(value: &Value) -> Result<Layout, Refusal> {
    match value.as_str() {
        Some("cpu") => Ok(Layout::cpu()),
        Some("memory") => Ok(Layout::memory()),
        _ => {
            let f = Fields::new(value, &["type", "maxValue", "bucketSize", "epsilon"])?;
            match f.read::<String>("type")?.as_str() {
                "linear" => {
                    let (max, size) = (f.read("maxValue")?, f.read("bucketSize")?);
                    Ok(Layout::linear(max, size, f.read("epsilon")?))
                }
                other => Err(bad(&format!("histogram `{other}`"))),
            }
        }
    }
}

fn histogram(input: &Value, expect: &Value) -> Result<Value, Refusal> {
    let known = [
        "histogram",
        "samples",
        "halfLifeSeconds",
        "values",
        "checkpoint",
        "totalWeight",
        "bucketWeights",
    ];
    let f = Fields::new(input, &known)?;
    let layout = layout(f.get("histogram"))?;
    if f.has("values") {
        return Ok(placed(&layout, &f.read::<Vec<f64>>("values")?));
    }
    let half_life: Option<f64> = f.read_or("halfLifeSeconds", None)?;
    let mut decaying =
        DecayingHistogram::new(layout, Span::from_secs_f64(half_life.unwrap_or(86_400.0)));
    let mut plain = Histogram::new(layout);
    if f.get("checkpoint") == "load" {
        load(&f, &mut plain)?;
    }
    for sample in f.list("samples") {
        let s = Fields::new(sample, &["value", "weight", "timeSeconds", "subtract"])?;
        let (value, weight) = (s.read("value")?, s.read("weight")?);
        let time = seconds(s.read_or("timeSeconds", 0.0)?);
        match (half_life.is_some(), s.read_or("subtract", false)?) {
            (true, false) => decaying.add(value, weight, time),
            (true, true) => decaying.subtract(value, weight, time),
            (false, false) => plain.add(value, weight),
            (false, true) => plain.subtract(value, weight),
        }
    }
    let result = if half_life.is_some() { decaying.histogram() } else { &plain };
    described(result, expect)
}

fn load(f: &Fields<'_>, into: &mut Histogram) -> Result<(), Refusal> {
    let mut checkpoint =
        Checkpoint { total_weight: f.read("totalWeight")?, ..Checkpoint::default() };
    for (bucket, weight) in f.read::<Map<String, Value>>("bucketWeights")? {
        let bucket = bucket.parse().map_err(|_| bad("a bucket that is no number"))?;
        let weight = weight.as_u64().and_then(|w| u32::try_from(w).ok());
        let weight = weight.ok_or_else(|| Refusal::Error("weight out of range".to_owned()))?;
        checkpoint.bucket_weights.insert(bucket, weight);
    }
    into.load(&checkpoint).map_err(|e| Refusal::Error(e.to_string()))
}

fn placed(layout: &Layout, values: &[f64]) -> Value {
    let buckets: Vec<usize> = values.iter().map(|v| layout.find(*v)).collect();
    let starts: Vec<Value> = buckets.iter().map(|b| number(layout.start(*b))).collect();
    json!({"numBuckets": layout.buckets(), "buckets": buckets, "bucketStarts": starts})
}

/// What a histogram answers; the percentiles to ask for stand in `expect`.
fn described(h: &Histogram, expect: &Value) -> Result<Value, Refusal> {
    let mut percentiles = Vec::new();
    let asked = expect.get("percentiles").and_then(Value::as_array);
    for entry in asked.map_or(&[][..], Vec::as_slice) {
        let f = Fields::new(entry, &["percentile", "value"])?;
        let value = number(h.percentile(f.read("percentile")?));
        percentiles.push(json!({"percentile": f.get("percentile"), "value": value}));
    }
    let saved = h.save();
    let stored = saved.bucket_weights.iter().map(|(b, w)| (b.to_string(), json!(w)));
    let weights = (0..h.layout().buckets())
        .filter(|b| h.weight(*b) != 0.0)
        .map(|b| (b.to_string(), number(h.weight(b))));
    Ok(json!({
        "percentiles": percentiles,
        "totalWeight": number(saved.total_weight),
        "bucketWeights": stored.collect::<Map<_, _>>(),
        "weights": weights.collect::<Map<_, _>>(),
    }))
}

fn memory_oom(input: &Value) -> Result<Value, Refusal> {
    let f = Fields::new(input, &["aggregationIntervalSeconds", "events"])?;
    let interval = Span::from_secs(f.read("aggregationIntervalSeconds")?);
    let mut window = MemoryWindow::default();
    let (mut accepted, mut operations) = (Vec::new(), Vec::new());
    for event in f.list("events") {
        let e = Fields::new(event, &["type", "timeSeconds", "bytes", "requestBytes"])?;
        let time = seconds(e.read("timeSeconds")?);
        let change = match e.read::<String>("type")?.as_str() {
            "usage" => window.usage(time, e.read("bytes")?, interval),
            "oom" => window.oom(time, e.read("requestBytes")?, interval, &OomBump::default()),
            other => return Err(bad(&format!("event `{other}`"))),
        };
        accepted.push(change.is_some());
        let change = change.unwrap_or_default();
        let one = |operation: &str, peak: WindowPeak| {
            let at = peak.time.nanos() / 1_000_000_000;
            json!({"operation": operation, "bytes": peak.bytes, "timeSeconds": at})
        };
        operations.extend(change.subtract.map(|p| one("subtract", p)));
        operations.extend(change.add.map(|p| one("add", p)));
    }
    Ok(json!({"accepted": accepted, "histogramOperations": operations}))
}

/// Both base amounts of an estimator case, changed by `change`.
fn both(f: &Fields<'_>, change: impl Fn(i64) -> i64) -> Result<(i64, i64), Refusal> {
    Ok((change(f.read("baseCpuMillicores")?), change(f.read("baseMemoryBytes")?)))
}

fn widened(input: &Value) -> Result<Value, Refusal> {
    let known = [
        "operation",
        "baseCpuMillicores",
        "baseMemoryBytes",
        "multiplier",
        "exponent",
        "lifespanSeconds",
        "sampleCount",
        "confidenceIntervalSeconds",
    ];
    let f = Fields::new(input, &known)?;
    let span = |key| f.read::<f64>(key).map(Span::from_secs_f64);
    let (lifespan, interval) = (span("lifespanSeconds")?, span("confidenceIntervalSeconds")?);
    let sure = confidence(lifespan, f.read("sampleCount")?, interval);
    let (multiplier, exponent) = (f.read("multiplier")?, f.read("exponent")?);
    let (cpu, memory) = both(&f, |x| confidence_multiplier(x, multiplier, exponent, sure))?;
    Ok(json!({"confidence": number(sure), "cpuMillicores": cpu, "memoryBytes": memory}))
}

fn with_margin(input: &Value) -> Result<Value, Refusal> {
    let known = ["operation", "fraction", "baseCpuMillicores", "baseMemoryBytes"];
    let f = Fields::new(input, &known)?;
    let fraction = f.read("fraction")?;
    let (cpu, memory) = both(&f, |x| margin(x, fraction))?;
    Ok(json!({"cpuMillicores": cpu, "memoryBytes": memory}))
}

fn pod_minimum(input: &Value) -> Result<Value, Refusal> {
    let known = [
        "operation",
        "containers",
        "minCpuMillicores",
        "minMemoryMiB",
        "baseCpuMillicores",
        "baseMemoryBytes",
    ];
    let f = Fields::new(input, &known)?;
    let containers = f.read("containers")?;
    let cpu = raise_to(f.read("baseCpuMillicores")?, f.read("minCpuMillicores")?, containers);
    let floor = f.read::<i64>("minMemoryMiB")?.saturating_mul(1 << 20);
    let memory = raise_to(f.read("baseMemoryBytes")?, floor, containers);
    Ok(json!({"cpuMillicores": cpu, "memoryBytes": memory}))
}

fn recommend(input: &Value) -> Result<Value, Refusal> {
    let known = ["operation", "containers", "cpuSamples", "memoryPeaks", "firstSampleUnixSeconds"];
    let f = Fields::new(input, &known)?;
    let config = AggregateConfig::default();
    let mut time = seconds(f.read("firstSampleUnixSeconds")?);
    let mut aggregate = ContainerAggregate::new(&config, time);
    for run in f.list("cpuSamples") {
        let r = Fields::new(run, &["count", "stepSeconds", "cores"])?;
        let step = Span::from_secs_f64(r.read("stepSeconds")?);
        let cores = r.read("cores")?;
        for _ in 0..r.read::<u64>("count")? {
            aggregate.add_cpu(&config, time, cores);
            time += step;
        }
    }
    for peak in f.list("memoryPeaks") {
        let p = Fields::new(peak, &["unixSeconds", "bytes"])?;
        let bytes = p.read::<f64>("bytes")? as i64;
        let peak = WindowPeak { bytes, time: seconds(p.read("unixSeconds")?) };
        aggregate.apply_memory(&PeakChange { subtract: None, add: Some(peak) });
    }
    let policy = ContainerPolicy::default();
    let recommender = Recommender::default();
    let r = recommender
        .recommend(&aggregate, f.read("containers")?, &policy)
        .ok_or_else(|| Refusal::Error("no recommendation before the first sample".to_owned()))?;
    let named = |a: Amounts| json!({"cpuMillicores": a.cpu, "memoryBytes": a.memory});
    Ok(json!({
        "target": named(r.target),
        "lowerBound": named(r.lower_bound),
        "upperBound": named(r.upper_bound),
        "uncappedTarget": named(r.uncapped_target),
    }))
}

fn limit(input: &Value) -> Result<Value, Refusal> {
    let known = [
        "operation",
        "resource",
        "originalLimit",
        "originalRequest",
        "recommendedRequest",
        "defaultLimit",
    ];
    let f = Fields::new(input, &known)?;
    let cpu = match f.read::<String>("resource")?.as_str() {
        "cpu" => true,
        "memory" => false,
        other => return Err(bad(&format!("resource `{other}`"))),
    };
    let amount = |key: &str| -> Result<Option<i64>, Refusal> {
        let quantity: Option<Quantity> = f.read_or(key, None)?;
        Ok(quantity.map(|q| if cpu { q.milli_value() } else { q.value() }))
    };
    let scaled = proportional_limit(
        amount("originalLimit")?,
        amount("originalRequest")?,
        amount("recommendedRequest")?,
        amount("defaultLimit")?,
    );
    Ok(json!({"limit": scaled.limit, "annotated": scaled.annotated}))
}

fn list(f: &Fields<'_>, key: &str) -> Result<Amounts, Refusal> {
    Ok(Amounts::lower(&f.read_or(key, ResourceList::new())?))
}

/// A recommendation and the names of the amounts it states.
fn recommendation(f: &Fields<'_>) -> Result<Recommendation, Refusal> {
    Ok(Recommendation {
        target: list(f, "target")?,
        lower_bound: list(f, "lowerBound")?,
        upper_bound: list(f, "upperBound")?,
        uncapped_target: list(f, "uncappedTarget")?,
    })
}

const RECOMMENDATION_KEYS: [&str; 5] =
    ["containerName", "target", "lowerBound", "upperBound", "uncappedTarget"];

fn named_recommendations(items: &[Value]) -> Result<Vec<Named<'_, Recommendation>>, Refusal> {
    let one = |item| {
        let f = Fields::new(item, &RECOMMENDATION_KEYS)?;
        let container = f.get("containerName").as_str();
        let container = container.ok_or_else(|| bad("a recommendation without a container"))?;
        Ok(Named { container, value: recommendation(&f)? })
    };
    items.iter().map(one).collect()
}

fn amounts(a: Amounts) -> Value {
    let cpu = a.cpu.map(|x| ("cpu".to_owned(), json!(x)));
    let memory = a.memory.map(|x| ("memory".to_owned(), json!(x)));
    Value::Object(cpu.into_iter().chain(memory).collect())
}

/// A recommendation as an object that holds only what is stated.
fn stated(r: &Recommendation) -> Map<String, Value> {
    let all = [
        ("target", r.target),
        ("lowerBound", r.lower_bound),
        ("upperBound", r.upper_bound),
        ("uncappedTarget", r.uncapped_target),
    ];
    let set = all.into_iter().filter(|(_, a)| !a.is_empty());
    set.map(|(key, a)| (key.to_owned(), amounts(a))).collect()
}

fn container_policy(value: &Value) -> Result<ContainerPolicy, Refusal> {
    if value.is_null() {
        return Ok(ContainerPolicy::default());
    }
    let known = ["minAllowed", "maxAllowed", "controlledValues", "controlledResources", "mode"];
    Fields::new(value, &known)?;
    let policy: VpaContainerPolicy =
        serde::Deserialize::deserialize(value).map_err(|e| bad(&e.to_string()))?;
    Ok(ContainerPolicy::lower(&policy))
}

fn boundaries(f: &Fields<'_>, key: &str) -> Result<Option<Boundaries>, Refusal> {
    if !f.has(key) {
        return Ok(None);
    }
    Fields::new(f.get(key), &["type", "min", "max", "default"])?;
    let item: LimitRangeItem = f.read(key)?;
    Ok(Some(Boundaries::lower(&item)))
}

fn capped(input: &Value) -> Result<Value, Refusal> {
    let known =
        ["operation", "pod", "recommendation", "policy", "containerLimitRange", "podLimitRange"];
    let f = Fields::new(input, &known)?;
    let pod: Pod = f.read("pod")?;
    let views = container_views(&pod);
    let recommendations = named_recommendations(f.list("recommendation"))?;
    let mut policies = Vec::new();
    if let Some(map) = f.get("policy").as_object() {
        for (name, policy) in map {
            policies.push((name.as_str(), container_policy(policy)?));
        }
    }
    let named = |name: &str| policies.iter().find(|(n, _)| *n == name).map(|(_, p)| *p);
    let policy = |name: &str| named(name).or_else(|| named("*")).unwrap_or_default();
    let container_range = boundaries(&f, "containerLimitRange")?;
    let pod_range = boundaries(&f, "podLimitRange")?;
    let result =
        cap(&views, &recommendations, policy, container_range.as_ref(), pod_range.as_ref());
    let one = |r: &Named<'_, Recommendation>| {
        let mut object = stated(&r.value);
        object.insert("containerName".to_owned(), json!(r.container));
        object
    };
    Ok(json!({"recommendation": result.iter().map(one).collect::<Vec<_>>()}))
}

fn recommender_policy(input: &Value) -> Result<Value, Refusal> {
    let known = ["operation", "recommendation", "policy", "globalMaxAllowed"];
    let f = Fields::new(input, &known)?;
    let raw = recommendation(&Fields::new(f.get("recommendation"), &RECOMMENDATION_KEYS)?)?;
    let policy = container_policy(f.get("policy"))?;
    let global_max_allowed = list(&f, "globalMaxAllowed")?;
    let recommender = Recommender { global_max_allowed, ..Recommender::default() };
    Ok(Value::Object(stated(&recommender.finish(raw, &policy))))
}

/// Names in a valid observed-containers annotation.
fn observed(pod: &Pod) -> Option<Vec<&str>> {
    let text = pod.metadata.annotations.get("vpaObservedContainers")?;
    crate::policy::vpa::observed_containers(text)
}

fn score(input: &Value) -> Result<Value, Refusal> {
    let f = Fields::new(input, &["operation", "pod", "recommendation"])?;
    let pod: Pod = f.read("pod")?;
    let recommendations = named_recommendations(f.list("recommendation"))?;
    let names = observed(&pod);
    let p = priority(&container_views(&pod), &recommendations, names.as_deref());
    Ok(json!({
        "outsideRecommendedRange": p.outside_recommended_range,
        "scaleUp": p.scale_up,
        "resourceDiff": number(p.resource_diff),
    }))
}

fn update_config(value: &Value) -> Result<UpdateConfig, Refusal> {
    let known = ["minChangePriority", "podLifetimeUpdateThresholdSeconds", "evictAfterOOMSeconds"];
    let f = Fields::new(value, &known)?;
    let span = |key| f.read::<f64>(key).map(Span::from_secs_f64);
    Ok(UpdateConfig {
        min_change_priority: f.read("minChangePriority")?,
        lifetime_threshold: span("podLifetimeUpdateThresholdSeconds")?,
        evict_after_oom: span("evictAfterOOMSeconds")?,
        ..UpdateConfig::default()
    })
}

fn terminations(items: &[Value]) -> Result<Vec<Termination>, Refusal> {
    let one = |item| {
        let f = Fields::new(item, &["reason", "runSeconds", "observed"])?;
        Ok(Termination {
            oom_killed: f.get("reason") == "OOMKilled",
            run: Span::from_secs_f64(f.read("runSeconds")?),
            observed: f.read_or("observed", true)?,
        })
    };
    items.iter().map(one).collect()
}

fn order(input: &Value) -> Result<Value, Refusal> {
    let f = Fields::new(input, &["operation", "config", "pods"])?;
    let config = update_config(f.get("config"))?;
    let known =
        ["pod", "outsideRecommendedRange", "scaleUp", "resourceDiff", "ageSeconds", "terminations"];
    let (mut names, mut rows, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for pod in f.list("pods") {
        let p = Fields::new(pod, &known)?;
        names.push(p.read::<String>("pod")?);
        let priority = Priority {
            outside_recommended_range: p.read("outsideRecommendedRange")?,
            scale_up: p.read("scaleUp")?,
            resource_diff: p.read("resourceDiff")?,
        };
        let age: Option<f64> = p.read_or("ageSeconds", None)?;
        rows.push((priority, age.map(Span::from_secs_f64)));
        ends.push(terminations(p.list("terminations"))?);
    }
    let pods: Vec<UpdatePod<'_>> = rows
        .iter()
        .zip(&ends)
        .map(|((priority, age), terminations)| UpdatePod {
            priority: *priority,
            age: *age,
            terminations,
        })
        .collect();
    let order = update_order(&pods, &config);
    let picked: Vec<&String> = order.iter().filter_map(|i| names.get(*i)).collect();
    Ok(json!({ "update": picked }))
}

fn evict(input: &Value) -> Result<Value, Refusal> {
    let known =
        ["operation", "configuredReplicas", "evictionTolerance", "minReplicas", "podPhases"];
    let f = Fields::new(input, &known)?;
    let phases: Vec<String> = f.read("podPhases")?;
    let pending: Vec<bool> = phases.iter().map(|p| p == "Pending").collect();
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    let mut group = Group::new(
        f.read("configuredReplicas")?,
        count(pending.len()),
        count(pending.iter().filter(|p| **p).count()),
        f.read("minReplicas")?,
        f.read("evictionTolerance")?,
    );
    let can: Vec<bool> = pending.iter().map(|p| group.can_evict(*p)).collect();
    let mut evicted = Vec::new();
    for p in pending {
        let allowed = group.can_evict(p);
        if allowed {
            group.disrupt(p);
        }
        evicted.push(allowed);
    }
    Ok(json!({"canEvict": can, "evicted": evicted}))
}

fn in_place(input: &Value) -> Result<Value, Refusal> {
    let known = [
        "operation",
        "updateMode",
        "resizeStatus",
        "secondsSinceLastAttempt",
        "groupDisruptable",
        "pending",
        "skipDisruptionBudget",
        "restartsContainers",
        "lastInfeasible",
        "lowerThanLastInfeasible",
    ];
    let f = Fields::new(input, &known)?;
    let resize = match f.get("resizeStatus").as_str() {
        None => None,
        Some("Deferred") => Some(ResizeStatus::Deferred),
        Some("Infeasible") => Some(ResizeStatus::Infeasible),
        Some("InProgress") => Some(ResizeStatus::InProgress),
        Some("Error") => Some(ResizeStatus::Error),
        Some(_) => Some(ResizeStatus::Unknown),
    };
    let flag = |key| f.read_or(key, false);
    let mode = UpdateMode::lower(f.get("updateMode").as_str());
    let decision = in_place_decision(&InPlaceView {
        mode: mode.ok_or_else(|| bad("update mode"))?,
        pending: flag("pending")?,
        known: true,
        resize,
        since_last_attempt: Span::from_secs_f64(f.read_or("secondsSinceLastAttempt", 0.0)?),
        group_disruptable: flag("groupDisruptable")?,
        skip_disruption_budget: flag("skipDisruptionBudget")?,
        restarts_containers: flag("restartsContainers")?,
        last_infeasible: flag("lastInfeasible")?,
        lower_than_last_infeasible: flag("lowerThanLastInfeasible")?,
    });
    let name = match decision {
        InPlaceDecision::Approved => "Approved",
        InPlaceDecision::Deferred => "Deferred",
        InPlaceDecision::Evict => "Evict",
        InPlaceDecision::Infeasible => "Infeasible",
        InPlaceDecision::InfeasibleCached => "InfeasibleCached",
    };
    Ok(json!({ "decision": name }))
}

#[cfg(test)]
mod tests {
    use crate::study::conformance::hpa::input::check;

    #[test]
    fn histogram() {
        check("autoscaling/vpa-histogram.json");
    }
    #[test]
    fn memory_oom() {
        check("autoscaling/vpa-memory-oom.json");
    }
    #[test]
    fn estimator() {
        check("autoscaling/vpa-estimator.json");
    }
    #[test]
    fn capping() {
        check("autoscaling/vpa-capping.json");
    }
    #[test]
    fn updater() {
        check("autoscaling/vpa-updater.json");
    }
}

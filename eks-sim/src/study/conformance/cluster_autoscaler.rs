//! Conformance cases of the Cluster Autoscaler.

mod scale_down;

use super::Refusal;
use crate::k8s::StringMap;
use crate::policy::cluster_autoscaler::backoff::Backoff;
use crate::policy::cluster_autoscaler::balancing::{
    ComparedNode, GroupSize, Ratios, balance, similar,
};
use crate::policy::cluster_autoscaler::cluster::Cursor;
use crate::policy::cluster_autoscaler::estimator::{
    Estimation, GroupShape, PodGroup, TemplateSize, estimate, fast_path_group,
};
use crate::policy::cluster_autoscaler::expander::{
    self, ExpanderContext, ExpanderKind, ExpansionOption, PriceSettings, Priorities,
};
use crate::policy::cluster_autoscaler::limiter::{
    Limiter, Threshold, cluster_capacity, merge_limits, similar_group_capacity,
};
use crate::policy::cluster_autoscaler::simple::{SimpleCluster, SimpleNode, SimplePod, Spread};
use crate::units::{SimTime, Span};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

type Outcome = Result<Value, Refusal>;

pub(super) fn evaluate(topic: &str, _file: &Value, case: &Value) -> Outcome {
    let input = &case["input"];
    let kind = if topic == "autoscaling/ca-expander" { "expander" } else { "operation" };
    match (topic, text(input, kind)?) {
        ("autoscaling/ca-binpacking", "estimate") => binpacking(input),
        ("autoscaling/ca-binpacking", "fastPathGroup") => fast_path(input),
        ("autoscaling/ca-binpacking", "mergeLimits") => {
            keys(input, &["operation", "limits"])?;
            let limits = list(input, "limits")?.iter().filter_map(Value::as_i64);
            Ok(json!({ "limit": limits.fold(0, merge_limits) }))
        }
        ("autoscaling/ca-binpacking", "limiter") => limiter(input),
        ("autoscaling/ca-binpacking", "similarGroupCapacity") => {
            keys(input, &["operation", "group", "similarGroups"])?;
            let groups = core::iter::once(&input["group"]).chain(list(input, "similarGroups")?);
            let sizes = groups.map(|g| Ok((int(g, "size")?, int(g, "max")?)));
            let sizes = sizes.collect::<Result<Vec<_>, Refusal>>()?;
            Ok(json!({ "limit": similar_group_capacity(sizes) }))
        }
        ("autoscaling/ca-binpacking", "clusterCapacity") => {
            keys(input, &["operation", "maxNodesTotal", "currentNodes"])?;
            let limit = cluster_capacity(int(input, "maxNodesTotal")?, int(input, "currentNodes")?);
            Ok(json!({ "limit": limit }))
        }
        ("autoscaling/ca-expander", kind) => expand(kind, input),
        ("autoscaling/ca-groups-backoff", "balance") => balancing(input),
        ("autoscaling/ca-groups-backoff", "similar") => similarity(input),
        ("autoscaling/ca-groups-backoff", "backoff") => backoff(input),
        ("autoscaling/ca-scaledown-budgets", "cropToBudget") => scale_down::budgets(input),
        ("autoscaling/ca-scaledown-budgets", "drainRule") => scale_down::drain_rule(input),
        ("autoscaling/ca-scaledown-eligibility", "utilization") => {
            scale_down::node_utilization(input)
        }
        ("autoscaling/ca-scaledown-eligibility", "eligibility") => scale_down::eligibility(input),
        ("autoscaling/ca-scaledown-eligibility", "removableReason") => scale_down::removable(input),
        ("autoscaling/ca-scaledown-eligibility", "removableCount") => {
            scale_down::removable_count(input)
        }
        ("autoscaling/ca-scaledown-eligibility", "unneededSince") => {
            scale_down::unneeded_since(input)
        }
        (topic, kind) => Err(unsupported(format!("`{topic}` has no operation `{kind}`"))),
    }
}

pub(super) fn unsupported(what: impl Into<String>) -> Refusal {
    Refusal::Unsupported(what.into())
}

/// Refuses keys that nobody reads; `derived` and `source` carry no meaning.
pub(super) fn keys(object: &Value, known: &[&str]) -> Result<(), Refusal> {
    let Some(map) = object.as_object() else { return Err(unsupported("not an object")) };
    match map.keys().find(|k| !known.contains(&k.as_str()) && *k != "derived" && *k != "source") {
        Some(key) => Err(unsupported(format!("input key `{key}` is not read"))),
        None => Ok(()),
    }
}

pub(super) fn text<'a>(object: &'a Value, key: &str) -> Result<&'a str, Refusal> {
    object[key].as_str().ok_or_else(|| unsupported(format!("`{key}` is not a text")))
}

pub(super) fn int(object: &Value, key: &str) -> Result<i64, Refusal> {
    object[key].as_i64().ok_or_else(|| unsupported(format!("`{key}` is not an integer")))
}

pub(super) fn int_or(object: &Value, key: &str, default: i64) -> i64 {
    object[key].as_i64().unwrap_or(default)
}

pub(super) fn float(object: &Value, key: &str) -> Result<f64, Refusal> {
    object[key].as_f64().ok_or_else(|| unsupported(format!("`{key}` is not a number")))
}

pub(super) fn list<'a>(object: &'a Value, key: &str) -> Result<&'a Vec<Value>, Refusal> {
    object[key].as_array().ok_or_else(|| unsupported(format!("`{key}` is not a list")))
}

pub(super) fn flag(object: &Value, key: &str, default: bool) -> bool {
    object[key].as_bool().unwrap_or(default)
}

pub(super) fn read<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, Refusal> {
    serde_json::from_value(value.clone()).map_err(|error| unsupported(error.to_string()))
}

fn seconds(object: &Value, key: &str) -> Result<SimTime, Refusal> {
    Ok(SimTime::ZERO + Span::from_secs_f64(float(object, key)?))
}

/// Whole numbers without a fraction, so that they compare as integers.
pub(super) fn number(x: f64) -> Value {
    if x.fract() == 0.0 && x.abs() < 9e15 { json!(x as i64) } else { json!(x) }
}

fn timestamp(text: &str) -> Result<SimTime, Refusal> {
    let at: jiff::Timestamp = text.parse().map_err(|_| unsupported(format!("time `{text}`")))?;
    Ok(SimTime::from_nanos(u64::try_from(at.as_nanosecond()).unwrap_or(0)))
}

fn template_size(template: &Value) -> Result<TemplateSize, Refusal> {
    keys(template, &["cpuMillicores", "memoryBytes", "pods", "zone"])?;
    let (cpu, memory) = (int(template, "cpuMillicores")?, int(template, "memoryBytes")?);
    Ok(TemplateSize {
        allocatable_cpu: cpu,
        allocatable_memory: memory,
        capacity_cpu: cpu,
        capacity_memory: memory,
    })
}

const HOSTNAME: &str = "kubernetes.io/hostname";

fn pod_class(group: &Value) -> Result<(SimplePod, usize), Refusal> {
    keys(group, &["cpuMillicores", "memoryBytes", "count", "spread", "hostPort"])?;
    let spread = match group.get("spread").filter(|s| !s.is_null()) {
        None => None,
        Some(spread) => {
            keys(spread, &["topologyKey", "maxSkew", "minDomains"])?;
            let key = text(spread, "topologyKey")?;
            if key != HOSTNAME && key != "topology.kubernetes.io/zone" {
                return Err(unsupported(format!("topology key `{key}`")));
            }
            Some(Spread {
                hostname: key == HOSTNAME,
                max_skew: int(spread, "maxSkew")?,
                min_domains: int_or(spread, "minDomains", 1),
            })
        }
    };
    let host_port = group["hostPort"].as_u64().and_then(|p| u16::try_from(p).ok());
    let pod = SimplePod {
        cpu: int_or(group, "cpuMillicores", 0),
        memory: int_or(group, "memoryBytes", 0),
        host_port,
        spread,
    };
    Ok((pod, usize::try_from(int_or(group, "count", 1)).unwrap_or(0)))
}

fn shape(pod: &SimplePod) -> GroupShape {
    GroupShape {
        cpu: pod.cpu,
        memory: pod.memory,
        first_container_cpu: pod.cpu,
        first_container_memory: pod.memory,
        hostname_spread: pod.spread.is_some_and(|s| s.hostname),
        spread: pod.spread.is_some(),
        ..GroupShape::default()
    }
}

fn binpacking(input: &Value) -> Outcome {
    const KEYS: [&str; 6] =
        ["operation", "existingNodes", "template", "podGroups", "maxNodes", "fastPath"];
    keys(input, &KEYS)?;
    let mut zones: Vec<String> = Vec::new();
    let mut node = |value: &Value| -> Result<SimpleNode, Refusal> {
        let zone = value["zone"].as_str().unwrap_or_default().to_owned();
        let index = zones.iter().position(|z| *z == zone).unwrap_or_else(|| {
            zones.push(zone);
            zones.len() - 1
        });
        let (cpu, memory) = (int(value, "cpuMillicores")?, int(value, "memoryBytes")?);
        Ok(SimpleNode::new(cpu, memory, int_or(value, "pods", i64::MAX), index as u32))
    };
    let mut existing = Vec::new();
    for value in input["existingNodes"].as_array().into_iter().flatten() {
        keys(value, &["name", "cpuMillicores", "memoryBytes", "pods", "zone"])?;
        existing.push(node(value)?);
    }
    let template = node(&input["template"])?;
    let classes =
        list(input, "podGroups")?.iter().map(pod_class).collect::<Result<Vec<_>, Refusal>>()?;
    let groups: Vec<PodGroup<usize>> = classes
        .iter()
        .enumerate()
        .map(|(i, (pod, count))| PodGroup { pods: vec![i; *count], shape: shape(pod) })
        .collect();
    let pods = classes.iter().map(|&(pod, _)| pod).collect();
    let mut cluster = SimpleCluster::new(existing, vec![template], pods);
    let threshold = Threshold { nodes: int_or(input, "maxNodes", 0), duration: Span::ZERO };
    let result = estimate(
        &mut cluster,
        &mut Cursor::default(),
        &mut Limiter::start(&[threshold], SimTime::ZERO),
        &groups.iter().collect::<Vec<_>>(),
        &Estimation {
            group: 0,
            size: template_size(&input["template"])?,
            fast_path: flag(input, "fastPath", false),
            now: SimTime::ZERO,
        },
    );
    Ok(json!({
        "nodes": result.nodes,
        "pods": result.pods(),
        "podsPerGroup": result.pods_per_group,
    }))
}

fn fast_path(input: &Value) -> Outcome {
    keys(input, &["operation", "template", "podGroups"])?;
    let mut groups = Vec::new();
    for group in list(input, "podGroups")? {
        let (pod, count) = pod_class(group)?;
        groups.push((shape(&pod), count));
    }
    let best = fast_path_group(&groups, &template_size(&input["template"])?);
    Ok(json!({ "group": best.map_or(-1, |i| i as i64) }))
}

fn limiter(input: &Value) -> Outcome {
    keys(input, &["operation", "thresholds", "steps"])?;
    let mut thresholds = Vec::new();
    for threshold in list(input, "thresholds")? {
        keys(threshold, &["nodes", "seconds"])?;
        thresholds.push(Threshold {
            nodes: int_or(threshold, "nodes", 0),
            duration: Span::from_secs_f64(threshold["seconds"].as_f64().unwrap_or(0.0)),
        });
    }
    let mut limiter = Limiter::start(&thresholds, SimTime::ZERO);
    let mut permitted = Vec::new();
    for step in list(input, "steps")? {
        keys(step, &["op", "atSeconds"])?;
        let at = seconds(step, "atSeconds")?;
        match text(step, "op")? {
            "add" => permitted.push(json!(limiter.permission_to_add_node(at))),
            "reset" => {
                limiter = Limiter::start(&thresholds, at);
                permitted.push(Value::Null);
            }
            op => return Err(unsupported(format!("step `{op}`"))),
        }
    }
    Ok(json!({ "permitted": permitted, "nodes": limiter.nodes() }))
}

fn expansion_option(index: usize, value: &Value) -> Result<ExpansionOption, Refusal> {
    const KEYS: [&str; 11] = [
        "nodeGroup",
        "node",
        "nodeCount",
        "pods",
        "podCount",
        "nodeCpuMillicores",
        "nodePrice",
        "podPrices",
        "exists",
        "hasGpu",
        "gpus",
    ];
    keys(value, &KEYS)?;
    let (mut pods, mut cpu, mut memory) = (0usize, 0i64, 0i64);
    for pod in value["pods"].as_array().into_iter().flatten() {
        keys(pod, &["cpuMillicores", "memoryBytes", "count"])?;
        let count = int_or(pod, "count", 1);
        pods += usize::try_from(count).unwrap_or(0);
        cpu += int_or(pod, "cpuMillicores", 0) * count;
        memory += int_or(pod, "memoryBytes", 0) * count;
    }
    let prices = value["podPrices"].as_array();
    let node = &value["node"];
    if !node.is_null() {
        keys(node, &["cpuMillicores", "memoryBytes"])?;
    }
    Ok(ExpansionOption {
        group: index,
        name: text(value, "nodeGroup")?.to_owned(),
        nodes: int_or(value, "nodeCount", 1),
        pods: value["podCount"].as_u64().map_or(pods, |n| n as usize),
        pods_cpu: cpu,
        pods_memory: memory,
        node_cpu: int_or(node, "cpuMillicores", int_or(value, "nodeCpuMillicores", 0)),
        node_memory: int_or(node, "memoryBytes", 0),
        node_gpu: flag(value, "hasGpu", int_or(value, "gpus", 0) > 0),
        exists: flag(value, "exists", true),
        node_price: value["nodePrice"].as_f64(),
        pods_price: prices.into_iter().flatten().filter_map(Value::as_f64).sum(),
    })
}

fn expand(kind: &str, input: &Value) -> Outcome {
    const KEYS: [&str; 6] = [
        "expander",
        "options",
        "priorities",
        "preferredNodeCpuMillicores",
        "stabilizationPodPrice",
        "clusterNodes",
    ];
    keys(input, &KEYS)?;
    if let Some(nodes) = input["clusterNodes"].as_u64() {
        let (cpu, memory) = expander::preferred_node(nodes as usize);
        return Ok(json!({ "preferredNodeCpuMillicores": cpu, "preferredNodeMemoryMiB": memory }));
    }
    let kind: ExpanderKind = read(&json!(kind))?;
    let options = list(input, "options")?
        .iter()
        .enumerate()
        .map(|(i, option)| expansion_option(i, option))
        .collect::<Result<Vec<_>, Refusal>>()?;
    let priorities = match input.get("priorities").filter(|p| p.is_object()) {
        Some(entries) => Priorities::new(&read::<BTreeMap<i64, Vec<String>>>(entries)?).ok(),
        None => None,
    };
    let price = PriceSettings {
        preferred_cpu: int_or(input, "preferredNodeCpuMillicores", 1000),
        stabilization_pod_price: input["stabilizationPodPrice"].as_f64().unwrap_or(0.0),
    };
    let cx = ExpanderContext { chain: &[kind], priorities: priorities.as_ref(), price };
    let kept = expander::filter(kind, &options, &cx);
    let mut out = json!({
        "nodeGroups": kept.iter().map(|&i| options[i].name.as_str()).collect::<Vec<_>>(),
    });
    if kind == ExpanderKind::LeastWaste {
        out["waste"] = options.iter().map(expander::waste).collect();
    }
    if kind == ExpanderKind::Price {
        out["scores"] = options.iter().map(|o| expander::price_score(o, &price)).collect();
    }
    Ok(out)
}

fn balancing(input: &Value) -> Outcome {
    keys(input, &["operation", "groups", "newNodes"])?;
    let groups = list(input, "groups")?;
    let mut sizes = Vec::new();
    for group in groups {
        keys(group, &["name", "size", "max"])?;
        sizes.push(GroupSize { size: int(group, "size")?, max: int(group, "max")? });
    }
    let mut changed = Map::new();
    for (i, size) in balance(&sizes, int(input, "newNodes")?) {
        changed.insert(text(&groups[i], "name")?.to_owned(), json!(size));
    }
    Ok(json!({ "newSizes": changed }))
}

fn similarity(input: &Value) -> Outcome {
    keys(input, &["operation", "nodes", "extraIgnoredLabels"])?;
    let resources = |value: &Value| -> BTreeMap<String, i64> {
        let entries = value.as_object().into_iter().flatten();
        entries
            .filter_map(|(name, amount)| {
                let name = match name.as_str() {
                    "cpuMillicores" => "cpu",
                    "memoryBytes" => "memory",
                    other => other,
                };
                amount.as_i64().map(|amount| (name.to_owned(), amount))
            })
            .collect()
    };
    let mut nodes = Vec::new();
    for node in list(input, "nodes")? {
        keys(node, &["capacity", "allocatable", "requested", "labels"])?;
        let labels = match node.get("labels").filter(|l| l.is_object()) {
            Some(labels) => read::<StringMap>(labels)?,
            None => StringMap::new(),
        };
        nodes.push(ComparedNode {
            capacity: resources(&node["capacity"]),
            allocatable: resources(&node["allocatable"]),
            requested: resources(&node["requested"]),
            labels,
        });
    }
    let [a, b] = nodes.as_slice() else { return Err(unsupported("not two nodes")) };
    let ignored: Vec<String> = read(&input["extraIgnoredLabels"]).unwrap_or_default();
    Ok(json!({ "similar": similar(a, b, &ignored, &Ratios::default()) }))
}

fn backoff(input: &Value) -> Outcome {
    keys(input, &["operation", "initialSeconds", "maxSeconds", "resetTimeoutSeconds", "steps"])?;
    let span = |key: &str| float(input, key).map(Span::from_secs_f64);
    let mut backoff =
        Backoff::new(span("initialSeconds")?, span("maxSeconds")?, span("resetTimeoutSeconds")?);
    let mut results = Vec::new();
    for step in list(input, "steps")? {
        keys(step, &["op", "atSeconds", "group"])?;
        let (at, group) = (seconds(step, "atSeconds")?, step["group"].as_str().unwrap_or(""));
        results.push(match text(step, "op")? {
            "fail" => number(backoff.fail(group, at).secs_f64()),
            "status" => json!(backoff.is_backed_off(group, at)),
            "remove" => {
                backoff.clear(group);
                Value::Null
            }
            "cleanup" => json!(backoff.remove_stale(at)),
            op => return Err(unsupported(format!("step `{op}`"))),
        });
    }
    Ok(json!({ "results": results }))
}

/// Walks vectors of this family until the general runner serves tests too.
#[cfg(test)]
pub(super) mod check {
    use serde_json::Value;

    fn close(path: &str, want: &Value, got: &Value, tolerance: f64) -> Result<(), String> {
        let fail = || Err(format!("{path}: want {want}, got {got}"));
        match (want, got) {
            (Value::Object(w), Value::Object(g)) => {
                if w.len() != g.len() {
                    return fail();
                }
                w.iter().try_for_each(|(k, v)| {
                    close(&format!("{path}.{k}"), v, g.get(k).unwrap_or(&Value::Null), tolerance)
                })
            }
            (Value::Array(w), Value::Array(g)) => {
                if w.len() != g.len() {
                    return fail();
                }
                w.iter()
                    .zip(g)
                    .enumerate()
                    .try_for_each(|(i, (w, g))| close(&format!("{path}[{i}]"), w, g, tolerance))
            }
            (Value::Number(w), Value::Number(g)) if w.is_f64() || tolerance >= 1.0 => {
                let (w, g) = (w.as_f64().unwrap(), g.as_f64().unwrap());
                let allowed = if tolerance >= 1.0 { tolerance } else { w.abs() * tolerance };
                if (w - g).abs() <= allowed.max(1e-12) { Ok(()) } else { fail() }
            }
            _ if want == got => Ok(()),
            _ => fail(),
        }
    }

    /// Runs all cases of a file; panics with every failure.
    pub(in crate::study::conformance) fn file(name: &str, tolerance: f64) {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/conformance/autoscaling/");
        let text = std::fs::read_to_string(format!("{root}{name}.json")).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        let mut failures = Vec::new();
        let cases = file["cases"].as_array().unwrap();
        for case in cases {
            let got = super::super::evaluate(&file, case);
            let result = match (&case["expect"]["error"], got) {
                (Value::Null, Ok(got)) => {
                    let expect = case["expect"].as_object().unwrap();
                    expect.iter().try_for_each(|(key, want)| {
                        close(key, want, got.get(key).unwrap_or(&Value::Null), tolerance)
                    })
                }
                (Value::Null, Err(refusal)) => Err(format!("{refusal:?}")),
                (_, Err(super::Refusal::Error(_))) => Ok(()),
                (_, other) => Err(format!("want an error, got {other:?}")),
            };
            if let Err(failure) = result {
                failures.push(format!("{}: {failure}", case["name"]));
            }
        }
        assert!(!cases.is_empty());
        assert!(
            failures.is_empty(),
            "{} of {}\n{}",
            failures.len(),
            cases.len(),
            failures.join("\n")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn vectors_pass() {
        for name in [
            "ca-binpacking",
            "ca-expander",
            "ca-groups-backoff",
            "ca-scaledown-budgets",
            "ca-scaledown-eligibility",
        ] {
            check::file(name, 1e-9);
        }
    }
}

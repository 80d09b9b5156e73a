//! Conformance cases of Karpenter.

use super::Refusal;
use super::cluster_autoscaler::{float, int, int_or, keys, list, number, read, text, unsupported};
use crate::k8s;
use crate::policy::karpenter::batcher::{Batcher, QueueKey, queue_order};
use crate::policy::karpenter::budgets::{Budget, PoolNodes, Reason, allowed_disruptions};
use crate::policy::karpenter::consolidation::{
    Decision, Idleness, Removed, Replacement, Simulated, balanced_approves, balanced_score,
    candidate_order, decide, eviction_cost, is_empty, multi_node_search, reschedule_cost,
};
use crate::policy::karpenter::node_size::{
    AmiFamily, Amounts, DEFAULT_STORAGE, Machine, SizeOptions, node_size,
};
use crate::policy::karpenter::offerings::{
    CapacityType, Offering, OfferingFilter, PricedType, adjusted_price, capacity_type,
    order_by_price, spot_offering_filter, worst_launch_price,
};
use crate::units::{SimTime, Span};
use serde_json::{Map, Value, json};

type Outcome = Result<Value, Refusal>;

pub(super) fn evaluate(topic: &str, _file: &Value, case: &Value) -> Outcome {
    let input = &case["input"];
    if topic == "autoscaling/karpenter-node-overhead" {
        return overhead(input);
    }
    match (topic, text(input, "operation")?) {
        ("autoscaling/karpenter-budgets", "allowed") => allowed(input),
        ("autoscaling/karpenter-budgets", "active") => active(input),
        ("autoscaling/karpenter-consolidation", "scoreMove") => score_move(input),
        ("autoscaling/karpenter-consolidation", "evictionCost") => {
            keys(input, &["operation", "podDeletionCost", "priority"])?;
            let priority = input["priority"].as_i64().and_then(|p| i32::try_from(p).ok());
            Ok(json!({ "cost": eviction_cost(input["podDeletionCost"].as_str(), priority) }))
        }
        ("autoscaling/karpenter-consolidation", "candidateEmpty") => {
            keys(input, &["operation", "evictionCosts"])?;
            let costs = list(input, "evictionCosts")?.iter().filter_map(Value::as_f64);
            let cost = reschedule_cost(costs);
            Ok(json!({ "rescheduleCost": number(cost), "empty": is_empty(cost) }))
        }
        ("autoscaling/karpenter-consolidation", "candidateOrder") => order(input),
        ("autoscaling/karpenter-consolidation", "decide") => decision(input),
        ("autoscaling/karpenter-consolidation", "consolidatable") => consolidatable(input),
        ("autoscaling/karpenter-consolidation", "multiNodeSearch") => {
            keys(input, &["operation", "candidates", "largestWorkableWindow"])?;
            let largest = count(input, "largestWorkableWindow")?;
            let mut tried = Vec::new();
            let best = multi_node_search(count(input, "candidates")?, |window| {
                tried.push(window);
                window <= largest
            });
            Ok(json!({ "windowsTried": tried, "consolidated": best }))
        }
        ("autoscaling/karpenter-pricing", operation) => pricing(operation, input),
        ("autoscaling/karpenter-queue-batch", "podOrder") => pod_order(input),
        ("autoscaling/karpenter-queue-batch", "batch") => batch(input),
        (topic, kind) => Err(unsupported(format!("`{topic}` has no operation `{kind}`"))),
    }
}

fn count(input: &Value, key: &str) -> Result<usize, Refusal> {
    Ok(usize::try_from(int(input, key)?).unwrap_or(0))
}

fn clock(input: &Value) -> Result<i64, Refusal> {
    let now = text(input, "now")?;
    let at: jiff::Timestamp = now.parse().map_err(|_| unsupported(format!("time `{now}`")))?;
    Ok(at.as_second())
}

fn budget(value: &Value) -> Result<k8s::Budget, Refusal> {
    keys(value, &["nodes", "reasons", "schedule", "durationSeconds"])?;
    Ok(k8s::Budget {
        nodes: match &value["nodes"] {
            Value::String(text) => text.clone(),
            Value::Number(count) => count.to_string(),
            // Whether a budget is active does not depend on its size.
            _ => "10%".to_owned(),
        },
        reasons: match value.get("reasons").filter(|r| r.is_array()) {
            Some(reasons) => read(reasons)?,
            None => Vec::new(),
        },
        schedule: value["schedule"].as_str().map(str::to_owned),
        duration: value["durationSeconds"].as_i64().map(|s| format!("{s}s")),
    })
}

fn allowed(input: &Value) -> Outcome {
    keys(input, &["operation", "now", "nodes", "nodesDisruptingOrNotReady", "budgets"])?;
    let mut budgets = Vec::new();
    for value in list(input, "budgets")? {
        budgets.push(Budget::new(&budget(value)?));
    }
    let pool = PoolNodes {
        total: int(input, "nodes")?,
        disrupting: int_or(input, "nodesDisruptingOrNotReady", 0),
    };
    let now = clock(input)?;
    let mut out = Map::new();
    for reason in Reason::ALL {
        let allowed = allowed_disruptions(&budgets, pool, reason, now);
        out.insert(reason.name().to_owned(), json!(allowed));
    }
    out.insert("invalid".to_owned(), json!(budgets.iter().any(Result::is_err)));
    Ok(Value::Object(out))
}

fn active(input: &Value) -> Outcome {
    keys(input, &["operation", "now", "budget"])?;
    let now = clock(input)?;
    Ok(match Budget::new(&budget(&input["budget"])?) {
        Ok(budget) => json!({ "active": budget.is_active(now) }),
        Err(_) => json!({ "active": "invalid" }),
    })
}

fn score_move(input: &Value) -> Outcome {
    keys(input, &["operation", "savings", "disruption", "totalCost", "totalDisruption", "k"])?;
    let score = balanced_score(
        float(input, "savings")?,
        float(input, "disruption")?,
        float(input, "totalCost")?,
        float(input, "totalDisruption")?,
    );
    let approved = balanced_approves(score, float(input, "k")?);
    let score = if score.is_finite() { json!(score) } else { Value::Null };
    Ok(json!({ "approved": approved, "score": score }))
}

fn order(input: &Value) -> Outcome {
    keys(input, &["operation", "candidates"])?;
    let candidates = list(input, "candidates")?;
    let mut costs = Vec::new();
    for candidate in candidates {
        keys(candidate, &["node", "price", "rescheduleCost"])?;
        costs.push((float(candidate, "price")?, float(candidate, "rescheduleCost")?));
    }
    let order = candidate_order(&costs);
    Ok(json!({ "order": order.iter().map(|&i| &candidates[i]["node"]).collect::<Vec<_>>() }))
}

fn capacity_kind(value: &Value, key: &str) -> Result<CapacityType, Refusal> {
    let name = text(value, key)?;
    CapacityType::from_name(name).ok_or_else(|| unsupported(format!("capacity type `{name}`")))
}

fn filter(value: &Value) -> Result<OfferingFilter, Refusal> {
    if value.is_null() {
        return Ok(OfferingFilter::default());
    }
    keys(value, &["capacityTypes", "zones", "minValues"])?;
    let capacity_types = match value.get("capacityTypes").and_then(Value::as_array) {
        None => None,
        Some(list) => {
            let kind = |v: &Value| v.as_str().and_then(CapacityType::from_name);
            let kinds: Option<Vec<_>> = list.iter().map(kind).collect();
            Some(kinds.ok_or_else(|| unsupported("capacity types"))?)
        }
    };
    let min_values = value.get("minValues").filter(|v| v.is_object());
    let min_instance_types = match min_values {
        None => None,
        Some(by_key) => {
            keys(by_key, &["node.kubernetes.io/instance-type"])?;
            by_key["node.kubernetes.io/instance-type"].as_u64().map(|n| n as usize)
        }
    };
    let zones = match value.get("zones").filter(|z| z.is_array()) {
        Some(zones) => Some(read(zones)?),
        None => None,
    };
    Ok(OfferingFilter { capacity_types, zones, min_instance_types })
}

fn offerings(value: &Value) -> Result<Vec<Offering>, Refusal> {
    let mut out = Vec::new();
    for offering in list(value, "offerings")? {
        keys(offering, &["capacityType", "zone", "price", "available"])?;
        out.push(Offering {
            capacity_type: capacity_kind(offering, "capacityType")?,
            zone: offering["zone"].as_str().unwrap_or_default().to_owned(),
            price: float(offering, "price")?,
            available: offering["available"].as_bool().unwrap_or(true),
        });
    }
    Ok(out)
}

fn types(value: &Value) -> Result<Vec<PricedType>, Refusal> {
    let mut out = Vec::new();
    for kind in list(value, "instanceTypes")? {
        keys(kind, &["instanceType", "offerings"])?;
        let name = text(kind, "instanceType")?.to_owned();
        out.push(PricedType { name, offerings: offerings(kind)? });
    }
    Ok(out)
}

fn decision(input: &Value) -> Outcome {
    const KEYS: [&str; 5] =
        ["operation", "candidates", "replacement", "newNodeClaims", "spotToSpotConsolidation"];
    keys(input, &KEYS)?;
    let mut candidates = Vec::new();
    for candidate in list(input, "candidates")? {
        keys(candidate, &["node", "instanceType", "capacityType", "price"])?;
        candidates.push(Removed {
            instance_type: text(candidate, "instanceType")?,
            capacity_type: capacity_kind(candidate, "capacityType")?,
            price: candidate["price"].as_f64().unwrap_or(0.0),
        });
    }
    let kinds = match input.get("replacement") {
        Some(replacement) if replacement.is_object() => types(replacement)?,
        _ => Vec::new(),
    };
    let simulated = match int_or(input, "newNodeClaims", 1) {
        0 => Simulated::NoNewNode,
        1 => {
            let replacement = &input["replacement"];
            keys(replacement, &["requirements", "instanceTypes", "minValuesInstanceTypes"])?;
            let mut filter = filter(&replacement["requirements"])?;
            if let Some(needed) = replacement["minValuesInstanceTypes"].as_u64() {
                filter.min_instance_types = Some(needed as usize);
            }
            Simulated::One(Replacement { filter, types: kinds.iter().collect() })
        }
        _ => Simulated::Several,
    };
    let spot_to_spot = input["spotToSpotConsolidation"].as_bool().unwrap_or(false);
    let (name, launched, capacity_types) = match decide(&candidates, &simulated, spot_to_spot) {
        Decision::Nothing(_) => ("none", Vec::new(), None),
        Decision::Delete => ("delete", Vec::new(), None),
        Decision::Replace { types, filter } => ("replace", types, filter.capacity_types),
    };
    let names: Vec<&str> = match &simulated {
        Simulated::One(one) => launched.iter().map(|&i| one.types[i].name.as_str()).collect(),
        _ => Vec::new(),
    };
    let mut out = json!({ "decision": name, "instanceTypes": names });
    if let Some(kinds) = capacity_types {
        out["capacityTypes"] = kinds.into_iter().map(CapacityType::name).collect();
    }
    Ok(out)
}

fn consolidatable(input: &Value) -> Outcome {
    const KEYS: [&str; 6] = [
        "operation",
        "consolidateAfterSeconds",
        "initialized",
        "initializedSeconds",
        "lastPodEventSeconds",
        "nowSeconds",
    ];
    keys(input, &KEYS)?;
    let at = |key: &str| input[key].as_f64().map(|s| SimTime::ZERO + Span::from_secs_f64(s));
    let initialized = input["initialized"].as_bool().unwrap_or(false);
    let idleness = Idleness {
        consolidate_after: input["consolidateAfterSeconds"].as_f64().map(Span::from_secs_f64),
        initialized: at("initializedSeconds").filter(|_| initialized),
        last_pod_event: at("lastPodEventSeconds"),
    };
    let now = at("nowSeconds").ok_or_else(|| unsupported("`nowSeconds` is missing"))?;
    Ok(json!({ "consolidatable": idleness.is_consolidatable(now) }))
}

fn pricing(operation: &str, input: &Value) -> Outcome {
    keys(
        input,
        &["operation", "price", "adjustment", "requirements", "instanceTypes", "offerings"],
    )?;
    match operation {
        "adjustedPrice" => {
            let price = adjusted_price(float(input, "price")?, text(input, "adjustment")?);
            Ok(json!({ "price": price }))
        }
        "worstLaunchPrice" => {
            let kind = PricedType { name: String::new(), offerings: offerings(input)? };
            let price = worst_launch_price(&kind, &filter(&input["requirements"])?);
            Ok(json!({ "price": price }))
        }
        "orderByPrice" => {
            let types = types(input)?;
            let order = order_by_price(&types, &filter(&input["requirements"])?);
            let names = order.iter().map(|&i| types[i].name.as_str());
            Ok(json!({ "order": names.collect::<Vec<_>>() }))
        }
        "capacityType" => {
            let kind = capacity_type(&types(input)?, &filter(&input["requirements"])?);
            Ok(json!({ "capacityType": kind.map(CapacityType::name) }))
        }
        "spotOfferingFilter" => {
            let types = types(input)?;
            // Any `minValues` switches this filter off, whatever its key.
            let mut requirements = input["requirements"].clone();
            let min_values = requirements.as_object_mut().and_then(|r| r.remove("minValues"));
            let mut filter = filter(&requirements)?;
            filter.min_instance_types = min_values.filter(|v| !v.is_null()).map(|_| 0);
            let kept = spot_offering_filter(&types, &filter);
            let (mut left, mut rejected) = (Map::new(), Vec::new());
            for (kind, offerings) in types.iter().zip(&kept) {
                if offerings.is_empty() {
                    rejected.push(kind.name.as_str());
                } else {
                    left.insert(kind.name.clone(), json!(offerings.len()));
                }
            }
            Ok(json!({ "kept": left, "rejected": rejected }))
        }
        other => Err(unsupported(format!("pricing has no operation `{other}`"))),
    }
}

fn pod_order(input: &Value) -> Outcome {
    keys(input, &["operation", "pods"])?;
    let mut pods = Vec::new();
    for pod in list(input, "pods")? {
        keys(pod, &["name", "cpuMillicores", "memoryBytes", "createdSeconds", "uid"])?;
        let key = QueueKey {
            cpu: int_or(pod, "cpuMillicores", 0),
            memory: int_or(pod, "memoryBytes", 0),
            created: SimTime::ZERO + Span::from_secs_f64(float(pod, "createdSeconds")?),
            uid: text(pod, "uid")?,
        };
        pods.push((key, text(pod, "name")?));
    }
    pods.sort_by(|a, b| queue_order(&a.0, &b.0));
    Ok(json!({ "order": pods.iter().map(|&(_, name)| name).collect::<Vec<_>>() }))
}

fn batch(input: &Value) -> Outcome {
    keys(input, &["operation", "triggersSeconds", "idleSeconds", "maxSeconds"])?;
    let span = |key: &str| float(input, key).map(Span::from_secs_f64);
    let mut batcher = Batcher::new(span("idleSeconds")?, span("maxSeconds")?);
    let mut windows = Vec::new();
    let triggers = list(input, "triggersSeconds")?.iter().filter_map(Value::as_f64);
    for at in triggers.map(|s| SimTime::ZERO + Span::from_secs_f64(s)) {
        windows.extend(batcher.close(at));
        batcher.trigger(at);
    }
    windows.extend(batcher.close(SimTime::NEVER));
    let windows: Vec<Value> = windows
        .into_iter()
        .map(|w| {
            json!({
                "startSeconds": w.start.secs_f64(),
                "endSeconds": w.end.secs_f64(),
                "triggers": w.triggers,
            })
        })
        .collect();
    Ok(json!({ "windows": windows }))
}

fn overhead(input: &Value) -> Outcome {
    const KEYS: [&str; 11] = [
        "instanceType",
        "architecture",
        "vcpus",
        "memoryMiB",
        "enisOfDefaultCard",
        "ipv4PerEni",
        "amiFamily",
        "vmMemoryOverheadPercent",
        "reservedENIs",
        "kubelet",
        "ephemeralStorageBytes",
    ];
    keys(input, &KEYS)?;
    let machine = Machine {
        arm64: text(input, "architecture")? == "arm64",
        vcpus: int(input, "vcpus")?,
        memory_mib: int(input, "memoryMiB")?,
        enis: int(input, "enisOfDefaultCard")?,
        ipv4_per_eni: int(input, "ipv4PerEni")?,
        storage: int_or(input, "ephemeralStorageBytes", DEFAULT_STORAGE),
    };
    let kubelet: k8s::KubeletConfiguration = match input.get("kubelet") {
        Some(kubelet) if !kubelet.is_null() => {
            const KUBELET: [&str; 6] = [
                "maxPods",
                "podsPerCore",
                "kubeReserved",
                "systemReserved",
                "evictionHard",
                "evictionSoft",
            ];
            keys(kubelet, &KUBELET)?;
            read(kubelet)?
        }
        _ => k8s::KubeletConfiguration::default(),
    };
    let options = SizeOptions {
        vm_memory_overhead: input["vmMemoryOverheadPercent"].as_f64().unwrap_or(0.075),
        reserved_enis: int_or(input, "reservedENIs", 0),
    };
    let size = node_size(&machine, AmiFamily::new(text(input, "amiFamily")?), &kubelet, &options);
    let amounts = |a: &Amounts, cpu: bool, pods: bool| {
        let mut out = json!({ "memoryBytes": a.memory, "ephemeralStorageBytes": a.storage });
        if cpu {
            out["cpuMillicores"] = json!(a.cpu);
        }
        if pods {
            out["pods"] = json!(a.pods);
        }
        out
    };
    Ok(json!({
        "capacity": amounts(&size.capacity, true, true),
        "kubeReserved": amounts(&size.kube_reserved, true, false),
        "systemReserved": amounts(&size.system_reserved, true, false),
        "evictionThreshold": amounts(&size.eviction, false, false),
        "allocatable": amounts(&size.allocatable(), true, true),
    }))
}

#[cfg(test)]
mod tests {
    use crate::study::conformance::cluster_autoscaler::check;

    #[test]
    fn vectors_pass() {
        for (name, tolerance) in [
            ("karpenter-budgets", 1e-9),
            ("karpenter-consolidation", 1e-6),
            ("karpenter-node-overhead", 1e-9),
            ("karpenter-pricing", 1e-9),
            ("karpenter-queue-batch", 1e-9),
        ] {
            check::file(name, tolerance);
        }
    }
}

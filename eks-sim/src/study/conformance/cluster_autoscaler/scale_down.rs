//! Cases of budgets, drain rules, eligibility and unneeded nodes.

use super::{Outcome, flag, int, int_or, keys, list, read, seconds, text, timestamp, unsupported};
use crate::k8s::{Pod, ResourceList, StringMap};
use crate::policy::cluster_autoscaler::budgets::{Bucket, Budget, BudgetGroup, crop};
use crate::policy::cluster_autoscaler::drain::{
    Controller, DrainOptions, DrainOutcome, PodFacts, drain_outcome,
};
use crate::policy::cluster_autoscaler::eligibility::{EligibilityOptions, NodeFacts, ineligible};
use crate::policy::cluster_autoscaler::requests::pod_requests;
use crate::policy::cluster_autoscaler::unneeded::{
    GroupRoom, TrackedNode, UnneededNodes, removable_reason,
};
use crate::policy::cluster_autoscaler::utilization::{Ignored, utilization};
use crate::study::conformance::Refusal;
use crate::units::{SimTime, Span};
use serde_json::{Map, Value, json};

pub(super) fn budgets(input: &Value) -> Outcome {
    const KEYS: [&str; 9] = [
        "operation",
        "maxScaleDownParallelism",
        "maxDrainParallelism",
        "emptyDeletionsInProgress",
        "drainDeletionsInProgress",
        "groups",
        "empty",
        "drain",
        "otherNodes",
    ];
    keys(input, &KEYS)?;
    let Some(entries) = input["groups"].as_object() else { return Err(unsupported("groups")) };
    let names: Vec<&String> = entries.keys().collect();
    let mut groups = Vec::new();
    for group in entries.values() {
        keys(group, &["targetSize", "atomic"])?;
        let (target, atomic) = (int(group, "targetSize")?, flag(group, "atomic", false));
        groups.push(BudgetGroup { target, registered: 0, atomic });
    }
    let buckets = |key: &str| -> Result<Vec<Bucket<i64>>, Refusal> {
        let mut buckets: Vec<Bucket<i64>> = Vec::new();
        for range in list(input, key)? {
            keys(range, &["group", "from", "to"])?;
            let name = text(range, "group")?;
            let Some(group) = names.iter().position(|n| *n == name) else {
                return Err(unsupported(format!("group `{name}`")));
            };
            let nodes = int(range, "from")?..int(range, "to")?;
            match buckets.iter_mut().find(|b| b.group == group) {
                Some(bucket) => bucket.nodes.extend(nodes),
                None => buckets.push(Bucket { group, nodes: nodes.collect() }),
            }
        }
        Ok(buckets)
    };
    let (empty, drain, other) = (buckets("empty")?, buckets("drain")?, buckets("otherNodes")?);
    for bucket in empty.iter().chain(&drain).chain(&other) {
        groups[bucket.group].registered += bucket.nodes.len() as i64;
    }
    let budget = Budget {
        max_parallelism: int(input, "maxScaleDownParallelism")?,
        max_drain_parallelism: int(input, "maxDrainParallelism")?,
        empty_in_progress: int(input, "emptyDeletionsInProgress")?,
        drain_in_progress: int(input, "drainDeletionsInProgress")?,
    };
    let cropped = crop(&budget, |g| groups[g], empty, drain);
    let ranges = |buckets: &[Bucket<i64>]| -> Vec<Value> {
        let mut out = Vec::new();
        for bucket in buckets {
            for run in bucket.nodes.chunk_by(|a, b| a + 1 == *b) {
                let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
                let group = names[bucket.group];
                out.push(json!({ "group": group, "from": first, "to": last + 1 }));
            }
        }
        out
    };
    Ok(json!({ "empty": ranges(&cropped.empty), "drain": ranges(&cropped.drain) }))
}

fn controller<'a>(pod: &'a Pod, known: Option<&Value>) -> Controller<'a> {
    let Some(owner) = pod.metadata.controller() else { return Controller::None };
    match known {
        Some(found) if found.is_null() => Controller::Missing { kind: &owner.kind },
        Some(found) => {
            Controller::Found { kind: &owner.kind, replicas: found["replicas"].as_i64() }
        }
        None => Controller::Found { kind: &owner.kind, replicas: None },
    }
}

fn facts<'a>(pod: &'a Pod, known: Option<&Value>) -> Result<PodFacts<'a>, Refusal> {
    let at = |text: &Option<String>| text.as_deref().map(timestamp).transpose();
    Ok(PodFacts {
        namespace: pod.metadata.namespace_or_default(),
        annotations: &pod.metadata.annotations,
        controller: controller(pod, known),
        volumes: &pod.spec.volumes,
        phase: &pod.status.phase,
        restart_policy: pod.spec.restart_policy.as_deref(),
        grace_seconds: pod.spec.termination_grace_period_seconds,
        created: at(&pod.metadata.creation_timestamp)?.unwrap_or(SimTime::ZERO),
        deleted: at(&pod.metadata.deletion_timestamp)?,
    })
}

pub(super) fn drain_rule(input: &Value) -> Outcome {
    keys(input, &["operation", "now", "pod", "pdbs", "controller", "options"])?;
    let options = &input["options"];
    const OPTIONS: [&str; 5] = [
        "skipNodesWithSystemPods",
        "skipNodesWithLocalStorage",
        "skipNodesWithCustomControllerPods",
        "minReplicaCount",
        "bspDisruptionTimeoutSeconds",
    ];
    keys(options, &OPTIONS)?;
    let timeout = int_or(options, "bspDisruptionTimeoutSeconds", 3600).max(0).unsigned_abs();
    let options = DrainOptions {
        skip_system_pods: flag(options, "skipNodesWithSystemPods", true),
        skip_local_storage: flag(options, "skipNodesWithLocalStorage", true),
        skip_custom_controller_pods: flag(options, "skipNodesWithCustomControllerPods", true),
        min_replica_count: int_or(options, "minReplicaCount", 0),
        system_pod_timeout: Span::from_secs(timeout),
    };
    let mut pdbs = Vec::new();
    for pdb in list(input, "pdbs")? {
        keys(pdb, &["disruptionsAllowed"])?;
        pdbs.push(i32::try_from(int(pdb, "disruptionsAllowed")?).unwrap_or(i32::MAX));
    }
    let pod: Pod = read(&input["pod"])?;
    let known = Some(&input["controller"]);
    let now = timestamp(text(input, "now")?)?;
    let outcome = drain_outcome(&facts(&pod, known)?, &pdbs, &options, now);
    let (name, reason) = match outcome {
        DrainOutcome::Drain => ("Drain", None),
        DrainOutcome::Wait => ("Wait", None),
        DrainOutcome::Skip => ("Skip", None),
        DrainOutcome::Blocked(reason) => ("Blocked", Some(reason.name())),
    };
    Ok(json!({ "outcome": name, "reason": reason }))
}

struct Loaded {
    pods: Vec<Pod>,
    requests: Vec<ResourceList>,
}

impl Loaded {
    fn new(input: &Value) -> Result<Self, Refusal> {
        let pods: Vec<Pod> = list(input, "pods")?.iter().map(read).collect::<Result<_, _>>()?;
        let requests = pods.iter().map(|pod| pod_requests(&pod.spec)).collect();
        Ok(Self { pods, requests })
    }

    fn on(&self, node: Option<&str>) -> Result<Vec<(PodFacts<'_>, &ResourceList)>, Refusal> {
        let all = self.pods.iter().zip(&self.requests);
        all.filter(|(pod, _)| node.is_none() || pod.spec.node_name.as_deref() == node)
            .map(|(pod, requests)| Ok((facts(pod, None)?, requests)))
            .collect()
    }
}

pub(super) fn node_utilization(input: &Value) -> Outcome {
    keys(input, &["operation", "now", "node", "pods", "ignoreDaemonSets", "ignoreMirrorPods"])?;
    let node = &input["node"];
    keys(node, &["allocatable", "hasGpu", "name"])?;
    let loaded = Loaded::new(input)?;
    let ignored = Ignored {
        daemon_sets: flag(input, "ignoreDaemonSets", false),
        mirror_pods: flag(input, "ignoreMirrorPods", false),
    };
    let allocatable: ResourceList = read(&node["allocatable"])?;
    let now = timestamp(text(input, "now")?)?;
    let has_gpu = flag(node, "hasGpu", false);
    match utilization(&allocatable, has_gpu, &loaded.on(None)?, ignored, now) {
        Ok(found) => Ok(json!({ "utilization": found.value, "resource": found.resource })),
        Err(error) => Err(Refusal::Error(error.to_string())),
    }
}

pub(super) fn eligibility(input: &Value) -> Outcome {
    keys(input, &["operation", "now", "nodes", "pods", "options"])?;
    let options = &input["options"];
    const OPTIONS: [&str; 5] = [
        "scaleDownUtilizationThreshold",
        "scaleDownGpuUtilizationThreshold",
        "ignoreDaemonSetsUtilization",
        "ignoreMirrorPodsUtilization",
        "scaleDownUnreadyEnabled",
    ];
    keys(options, &OPTIONS)?;
    let threshold = |key: &str| options[key].as_f64().unwrap_or(0.5);
    let ignored = Ignored {
        daemon_sets: flag(options, "ignoreDaemonSetsUtilization", false),
        mirror_pods: flag(options, "ignoreMirrorPodsUtilization", false),
    };
    let settings = EligibilityOptions {
        threshold: threshold("scaleDownUtilizationThreshold"),
        gpu_threshold: threshold("scaleDownGpuUtilizationThreshold"),
        unready_enabled: flag(options, "scaleDownUnreadyEnabled", true),
    };
    let now = input["now"].as_str().map(timestamp).transpose()?.unwrap_or(SimTime::ZERO);
    let loaded = Loaded::new(input)?;
    let mut eligible = Vec::new();
    let mut unremovable = Map::new();
    for value in list(input, "nodes")? {
        let name = text(value, "name")?;
        let node = node_facts(value)?;
        let allocatable: ResourceList = read(&value["allocatable"])?;
        let pods = loaded.on(Some(name))?;
        let reason = ineligible(&node, &settings, || {
            utilization(&allocatable, node.has_gpu, &pods, ignored, now)
        });
        match reason {
            None => eligible.push(name),
            Some(reason) => {
                unremovable.insert(name.to_owned(), json!(reason.name()));
            }
        }
    }
    Ok(json!({ "eligible": eligible, "unremovable": unremovable }))
}

fn node_facts(value: &Value) -> Result<NodeFacts, Refusal> {
    const KEYS: [&str; 8] = [
        "name",
        "allocatable",
        "ready",
        "annotations",
        "toBeDeletedTaintAgeSeconds",
        "hasGpu",
        "nodeGroup",
        "recentlyUnremovable",
    ];
    keys(value, &KEYS)?;
    let annotations = match value.get("annotations").filter(|a| a.is_object()) {
        Some(annotations) => read::<StringMap>(annotations)?,
        None => StringMap::new(),
    };
    let disabled = annotations.get("cluster-autoscaler.kubernetes.io/scale-down-disabled");
    Ok(NodeFacts {
        recently_unremovable: flag(value, "recentlyUnremovable", false),
        deletion_taint_age: value["toBeDeletedTaintAgeSeconds"].as_f64().map(Span::from_secs_f64),
        scale_down_disabled: disabled.is_some_and(|v| v == "true"),
        in_group: value.get("nodeGroup").is_none_or(|group| !group.is_null()),
        ready: flag(value, "ready", true),
        has_gpu: flag(value, "hasGpu", false),
    })
}

fn group_room(group: &Value) -> Result<GroupRoom, Refusal> {
    Ok(GroupRoom {
        min: int(group, "minSize")?,
        target: int(group, "targetSize")?,
        deletions: int_or(group, "deletionsInProgress", 0),
    })
}

pub(super) fn removable(input: &Value) -> Outcome {
    const KEYS: [&str; 8] = [
        "operation",
        "node",
        "unneededSeconds",
        "unreadySeconds",
        "nodeGroup",
        "thresholdUnavailable",
        "minNodesTotal",
        "totalNodes",
    ];
    keys(input, &KEYS)?;
    let (node, group) = (&input["node"], &input["nodeGroup"]);
    keys(node, &["ready", "unneededForSeconds", "scaleDownDisabled"])?;
    if !group.is_null() {
        keys(group, &["minSize", "targetSize", "deletionsInProgress"])?;
    }
    let readable = !flag(input, "thresholdUnavailable", false);
    let required = |key: &str| readable.then(|| input[key].as_f64().map(Span::from_secs_f64));
    let below = input["minNodesTotal"]
        .as_i64()
        .zip(input["totalNodes"].as_i64())
        .is_some_and(|(min, total)| total - 1 < min);
    let tracked = TrackedNode {
        scale_down_disabled: flag(node, "scaleDownDisabled", false),
        ready: flag(node, "ready", true),
        unneeded_for: Span::from_secs_f64(node["unneededForSeconds"].as_f64().unwrap_or(0.0)),
        group: if group.is_null() { None } else { Some(group_room(group)?) },
        unneeded_time: required("unneededSeconds").flatten(),
        unready_time: required("unreadySeconds").flatten(),
        below_cluster_minimum: below,
    };
    Ok(json!({ "reason": removable_reason(&tracked).map(|r| r.name()) }))
}

pub(super) fn removable_count(input: &Value) -> Outcome {
    const KEYS: [&str; 6] =
        ["operation", "emptyNodes", "drainNodes", "minSize", "targetSize", "deletionsInProgress"];
    keys(input, &KEYS)?;
    let mut room = group_room(input)?;
    let mut take = |count: i64| {
        let going = count.clamp(0, room.removable());
        room.deletions += going;
        going
    };
    let empty = take(int(input, "emptyNodes")?);
    let drain = take(int(input, "drainNodes")?);
    Ok(json!({ "empty": empty, "drain": drain }))
}

pub(super) fn unneeded_since(input: &Value) -> Outcome {
    keys(input, &["operation", "updates"])?;
    let mut nodes: UnneededNodes<&str> = UnneededNodes::default();
    for update in list(input, "updates")? {
        keys(update, &["atSeconds", "nodes"])?;
        let names = list(update, "nodes")?.iter().filter_map(Value::as_str);
        nodes.update(names, seconds(update, "atSeconds")?);
    }
    let mut since = Map::new();
    for (&node, at) in nodes.iter() {
        since.insert(node.to_owned(), super::number(at.secs_f64()));
    }
    Ok(json!({ "sinceSeconds": since }))
}

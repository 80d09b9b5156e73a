//! Conformance cases of the workload controllers.

use super::Refusal;
use super::hpa::input::{Fields, bad};
use crate::k8s::{IntOrPercent, PodDisruptionBudgetSpec};
use crate::policy::workloads::{
    Budget, PodPhase, ReplicaSetView, RolloutRules, RolloutStrategy, ScaleDownPod, ScaledSet,
    proportional_scale, rollout_sync, scale_down_order,
};
use crate::units::SimTime;
use serde_json::{Map, Value, json};

pub(super) fn evaluate(topic: &str, _file: &Value, case: &Value) -> Result<Value, Refusal> {
    let f = Fields::new(case, &["name", "kind", "input", "expect"])?;
    let input = f.get("input");
    match topic {
        "scheduler/pod_disruption_budget" => budget(input),
        "scheduler/replicaset_scale_down" => scale_down(input),
        "scheduler/deployment" => match f.read::<String>("kind")?.as_str() {
            "resolve_fenceposts" => resolve_fenceposts(input),
            "max_unavailable" => Ok(json!({"max_unavailable": rules(input)?.unavailable()})),
            "new_replica_set_size" => new_replica_set_size(input),
            "rolling_sync" => rolling_sync(input),
            "rollout_trace" => rollout_trace(input),
            "proportional_scale" => proportional(input),
            other => Err(bad(&format!("kind `{other}`"))),
        },
        _ => Err(bad(&format!("topic `{topic}`"))),
    }
}

/// An integer or percentage; a string without `%` is refused, as upstream refuses it.
fn int_or_percent(value: &Value) -> Result<Option<IntOrPercent>, Refusal> {
    let refuse = || Refusal::Error(format!("`{value}` is neither an integer nor a percentage"));
    match value {
        Value::Null => Ok(None),
        Value::String(text) if !text.ends_with('%') => Err(refuse()),
        _ => serde::Deserialize::deserialize(value).map(Some).map_err(|_| refuse()),
    }
}

fn rules(value: &Value) -> Result<RolloutRules, Refusal> {
    let f = Fields::new(value, &["replicas", "maxSurge", "maxUnavailable", "strategy"])?;
    Ok(RolloutRules {
        replicas: f.read("replicas")?,
        strategy: match f.read_or("strategy", "RollingUpdate".to_owned())?.as_str() {
            "RollingUpdate" => RolloutStrategy::RollingUpdate,
            "Recreate" => RolloutStrategy::Recreate,
            other => return Err(bad(&format!("strategy `{other}`"))),
        },
        max_surge: int_or_percent(f.get("maxSurge"))?,
        max_unavailable: int_or_percent(f.get("maxUnavailable"))?,
    })
}

fn resolve_fenceposts(input: &Value) -> Result<Value, Refusal> {
    let (surge, unavailable) = rules(input)?.fenceposts();
    Ok(json!({"surge": surge, "unavailable": unavailable}))
}

fn new_replica_set_size(input: &Value) -> Result<Value, Refusal> {
    let f = Fields::new(input, &["deployment", "current_total", "new_replicas"])?;
    let size =
        rules(f.get("deployment"))?.new_size(f.read("current_total")?, f.read("new_replicas")?);
    Ok(json!({ "new_replicas": size }))
}

fn replica_set(value: &Value) -> Result<ReplicaSetView, Refusal> {
    let f = Fields::new(value, &["replicas", "available"])?;
    let replicas = f.read("replicas")?;
    Ok(ReplicaSetView { replicas, available: f.read("available")?, pods: replicas })
}

fn rolling_sync(input: &Value) -> Result<Value, Refusal> {
    let f = Fields::new(input, &["deployment", "new", "old"])?;
    let old = f.list("old").iter().map(replica_set).collect::<Result<Vec<_>, _>>()?;
    let step = rollout_sync(&rules(f.get("deployment"))?, replica_set(f.get("new"))?, &old);
    Ok(json!({"new": step.new, "old": step.old}))
}

fn rollout_trace(input: &Value) -> Result<Value, Refusal> {
    let f = Fields::new(input, &["deployment", "assume"])?;
    let rules = rules(f.get("deployment"))?;
    let full = |n: i32| ReplicaSetView { replicas: n, available: n, pods: n };
    let (mut new, mut old) = (0, rules.replicas);
    let mut sizes = vec![[new, old]];
    loop {
        let step = rollout_sync(&rules, full(new), &[full(old)]);
        if !step.changed {
            return Ok(json!({ "new_old_sizes": sizes }));
        }
        (new, old) = (step.new, step.old.first().copied().unwrap_or(0));
        sizes.push([new, old]);
    }
}

fn proportional(input: &Value) -> Result<Value, Refusal> {
    let f = Fields::new(input, &["deployment", "replica_sets"])?;
    let rules = rules(f.get("deployment"))?;
    let mut sets: Vec<(i64, String, ScaledSet)> = Vec::new();
    for set in f.list("replica_sets") {
        let s = Fields::new(set, &["name", "replicas", "max_replicas_annotation", "age_rank"])?;
        let set = ScaledSet {
            replicas: s.read("replicas")?,
            max_replicas_annotation: s.read_or("max_replicas_annotation", None)?,
        };
        sets.push((s.read("age_rank")?, s.read("name")?, set));
    }
    sets.sort_by_key(|s| s.0);
    let views: Vec<ScaledSet> = sets.iter().map(|s| s.2).collect();
    let status = views.iter().fold(0_i32, |sum, s| sum.saturating_add(s.replicas));
    let sizes = proportional_scale(&rules, &views, status, false);
    let named = sets.into_iter().zip(sizes).map(|(s, size)| (s.1, json!(size)));
    Ok(json!({"sizes": named.collect::<Map<_, _>>()}))
}

fn budget(input: &Value) -> Result<Value, Refusal> {
    let f = Fields::new(input, &["spec", "expected_pods", "current_healthy"])?;
    let spec: PodDisruptionBudgetSpec = f.read("spec")?;
    let budget = Budget::lower(&spec).ok_or_else(|| bad("a budget without a bound"))?;
    let status = budget.status(f.read("expected_pods")?, f.read("current_healthy")?);
    Ok(json!({
        "desired_healthy": status.desired_healthy, "disruptions_allowed": status.allowed,
    }))
}

/// A pod of a scale-down case.
struct Pod {
    name: String,
    uid: String,
    node: String,
    phase: PodPhase,
    ready_since: Option<SimTime>,
    deletion_cost: i32,
    restarts: i32,
    created: SimTime,
}

fn pod(value: &Value) -> Result<Pod, Refusal> {
    let known = [
        "name",
        "uid",
        "node",
        "phase",
        "ready",
        "ready_since",
        "deletion_cost",
        "restarts",
        "created",
    ];
    let f = Fields::new(value, &known)?;
    let seconds = |key| f.read::<f64>(key).map(|s| SimTime::from_nanos((s * 1e9).round() as u64));
    let ready = f.read::<bool>("ready")?;
    Ok(Pod {
        name: f.read("name")?,
        uid: f.read("uid")?,
        node: f.read("node")?,
        phase: match f.read::<String>("phase")?.as_str() {
            "Pending" => PodPhase::Pending,
            "Running" => PodPhase::Running,
            "Unknown" => PodPhase::Unknown,
            "Succeeded" => PodPhase::Succeeded,
            "Failed" => PodPhase::Failed,
            other => return Err(bad(&format!("phase `{other}`"))),
        },
        ready_since: if ready { Some(seconds("ready_since")?) } else { None },
        deletion_cost: f.read_or("deletion_cost", 0)?,
        restarts: f.read_or("restarts", 0)?,
        created: seconds("created")?,
    })
}

fn scale_down(input: &Value) -> Result<Value, Refusal> {
    let f = Fields::new(input, &["now", "pods"])?;
    let now = SimTime::from_nanos((f.read::<f64>("now")? * 1e9).round() as u64);
    let pods = f.list("pods").iter().map(pod).collect::<Result<Vec<_>, _>>()?;
    let active = |p: &&Pod| !matches!(p.phase, PodPhase::Succeeded | PodPhase::Failed);
    let siblings = |node: &str| {
        let count = pods.iter().filter(active).filter(|p| p.node == node).count();
        i32::try_from(count).unwrap_or(i32::MAX)
    };
    let views: Vec<ScaleDownPod<'_>> = pods
        .iter()
        .map(|p| ScaleDownPod {
            uid: &p.uid,
            assigned: !p.node.is_empty(),
            phase: p.phase,
            ready_since: p.ready_since,
            deletion_cost: p.deletion_cost,
            siblings_on_node: siblings(&p.node),
            restarts: p.restarts,
            created: p.created,
        })
        .collect();
    let order = scale_down_order(&views, now);
    let names: Vec<&str> =
        order.iter().filter_map(|i| pods.get(*i)).map(|p| p.name.as_str()).collect();
    Ok(json!({ "deletion_order": names }))
}

#[cfg(test)]
mod tests {
    use crate::study::conformance::hpa::input::check;

    #[test]
    fn deployment() {
        check("scheduler/deployment.json");
    }
    #[test]
    fn pod_disruption_budget() {
        check("scheduler/pod_disruption_budget.json");
    }
    #[test]
    fn replicaset_scale_down() {
        check("scheduler/replicaset_scale_down.json");
    }
}

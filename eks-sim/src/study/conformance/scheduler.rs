//! Conformance cases of kube-scheduler: one plugin, the whole profile, preemption, the queue and
//! a few functions.

use super::Refusal;
use crate::k8s;
use crate::policy::kube_scheduler::{
    Budget, Cache, Candidate, ClassId, Cycle, NodeKey, Plugin, PodKey, PodToSchedule, Profile,
    Rejection, Unschedulable, backoff_duration, best_candidates, candidate_count, dry_run,
    eligible, num_feasible_nodes_to_find, potential_nodes, queue_order, score_all,
};
use crate::units::{Quantity, SimTime, Span};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

pub(super) fn evaluate(topic: &str, file: &Value, case: &Value) -> Result<Value, Refusal> {
    let input = &case["input"];
    match topic {
        "scheduler/quantity" => quantity(input),
        "scheduler/num_feasible_nodes" => {
            keys(input, &["percentage_of_nodes_to_score", "num_all_nodes"])?;
            let percentage = integer(input, "percentage_of_nodes_to_score")?;
            let found = num_feasible_nodes_to_find(percentage, integer(input, "num_all_nodes")?);
            Ok(json!({"num_feasible_nodes": found}))
        }
        "scheduler/preemption_candidate_count" => {
            let names = [
                "num_potential_nodes",
                "min_candidate_nodes_percentage",
                "min_candidate_nodes_absolute",
            ];
            keys(input, &names)?;
            let [n, percentage, absolute] = names.map(|name| integer(input, name));
            Ok(json!({"num_candidates": candidate_count(n?, percentage?, absolute?)}))
        }
        "scheduler/queue" => queue(case["kind"].as_str().unwrap_or_default(), input),
        _ => Snapshot::new(file, case)?.run(case),
    }
}

fn unsupported(text: impl Into<String>) -> Refusal {
    Refusal::Unsupported(text.into())
}

fn keys(object: &Value, known: &[&str]) -> Result<(), Refusal> {
    let object = object.as_object().ok_or_else(|| unsupported("the input is not an object"))?;
    match object.keys().find(|k| !known.contains(&k.as_str())) {
        Some(key) => Err(unsupported(format!("input key `{key}` is not read"))),
        None => Ok(()),
    }
}

fn integer(input: &Value, key: &str) -> Result<i64, Refusal> {
    input[key].as_i64().ok_or_else(|| unsupported(format!("`{key}` is not an integer")))
}

fn quantity(input: &Value) -> Result<Value, Refusal> {
    keys(input, &["quantity"])?;
    let text = input["quantity"].as_str().ok_or_else(|| unsupported("`quantity` is no text"))?;
    Ok(match text.parse::<Quantity>() {
        Err(_) => json!({"valid": false}),
        Ok(q) => json!({
            "valid": true,
            "canonical": q.to_string(),
            "format": format!("{:?}", q.format()),
            "value": q.value(),
            "milli_value": q.milli_value(),
        }),
    })
}

fn queue(kind: &str, input: &Value) -> Result<Value, Refusal> {
    match kind {
        "backoff_duration" => {
            keys(input, &["initial_seconds", "max_seconds", "count"])?;
            let span = |key: &str| {
                let seconds = input[key].as_f64();
                let seconds = seconds.ok_or_else(|| unsupported(format!("`{key}` is no number")));
                seconds.map(Span::from_secs_f64)
            };
            let count = u32::try_from(integer(input, "count")?).unwrap_or(u32::MAX);
            let backoff = backoff_duration(span("initial_seconds")?, span("max_seconds")?, count);
            Ok(json!({"seconds": backoff.secs_f64()}))
        }
        "pop_order" => {
            keys(input, &["pods"])?;
            let mut pods = Vec::new();
            for p in input["pods"].as_array().into_iter().flatten() {
                keys(p, &["name", "priority", "timestamp"])?;
                let priority = p["priority"].as_i64().unwrap_or(0);
                let time = Span::from_secs_f64(p["timestamp"].as_f64().unwrap_or(0.0)).nanos();
                let priority = i32::try_from(priority).unwrap_or(i32::MAX);
                pods.push((queue_order(priority, SimTime::from_nanos(time)), &p["name"]));
            }
            pods.sort_by_key(|p| p.0);
            let names: Vec<_> = pods.iter().map(|p| p.1).collect();
            Ok(json!({"order": names}))
        }
        other => Err(unsupported(format!("kind `{other}`"))),
    }
}

const CASE_KEYS: &[&str] = &[
    "name",
    "origin",
    "upstream_test",
    "upstream_documented",
    "source",
    "derived",
    "extension_point",
    "args",
    "nodes",
    "existing_pods",
    "pod",
    "filtered_nodes",
    "namespaces",
    "services",
    "replicasets",
    "statefulsets",
    "pvs",
    "pvcs",
    "storageclasses",
    "csinodes",
    "pdbs",
    "expect",
];

/// A case's cluster, loaded.
struct Snapshot {
    cache: Cache,
    plugin: Option<Plugin>,
    nodes: Vec<String>,
    pods: Vec<String>,
    pod: k8s::Pod,
}

fn objects<T: DeserializeOwned>(case: &Value, key: &str) -> Result<Vec<T>, Refusal> {
    let list = case[key].as_array().into_iter().flatten();
    let read = |v: &Value| {
        T::deserialize(v).map_err(|e| Refusal::Error(format!("`{key}` cannot be read: {e}")))
    };
    list.map(read).collect()
}

impl Snapshot {
    fn new(file: &Value, case: &Value) -> Result<Self, Refusal> {
        keys(case, CASE_KEYS)?;
        let name = file["plugin"].as_str().unwrap_or_default();
        let plugin = match case["extension_point"].as_str().unwrap_or_default() {
            "filter" | "score" => {
                let known = Plugin::by_name(name);
                Some(known.ok_or_else(|| unsupported(format!("plugin `{name}`")))?)
            }
            "schedule" | "preempt" => None,
            other => return Err(unsupported(format!("extension point `{other}`"))),
        };
        let mut profile = plugin.map_or_else(Profile::default, Profile::only);
        for args in [&file["args"], &case["args"]] {
            if args.as_object().is_some_and(|a| !a.is_empty()) {
                let set = profile.set_args(plugin.map_or(name, |p| p.name()), args);
                set.map_err(|e| Refusal::Error(e.to_string()))?;
            }
        }
        let pod = k8s::Pod::deserialize(&case["pod"])
            .map_err(|e| Refusal::Error(format!("`pod` cannot be read: {e}")))?;
        let mut out =
            Self { cache: Cache::new(profile), plugin, nodes: Vec::new(), pods: Vec::new(), pod };
        out.load(case)?;
        Ok(out)
    }
    fn load(&mut self, case: &Value) -> Result<(), Refusal> {
        for n in objects::<k8s::Namespace>(case, "namespaces")? {
            self.cache.set_namespace(&n.metadata.name, &n.metadata.labels);
        }
        for s in objects::<k8s::Service>(case, "services")? {
            self.cache.set_service(&s);
        }
        for r in objects::<k8s::ReplicaSet>(case, "replicasets")? {
            let (meta, selector) = (&r.metadata, r.spec.selector.as_ref());
            self.cache.set_owner("ReplicaSet", meta.namespace_or_default(), &meta.name, selector);
        }
        for s in objects::<k8s::StatefulSet>(case, "statefulsets")? {
            let (meta, selector) = (&s.metadata, s.spec.selector.as_ref());
            self.cache.set_owner("StatefulSet", meta.namespace_or_default(), &meta.name, selector);
        }
        for c in objects::<k8s::PersistentVolumeClaim>(case, "pvcs")? {
            self.cache.set_claim(&c);
        }
        for v in objects::<k8s::PersistentVolume>(case, "pvs")? {
            self.cache.set_volume(&v);
        }
        for c in objects::<k8s::StorageClass>(case, "storageclasses")? {
            self.cache.set_storage_class(&c);
        }
        for n in objects::<k8s::CsiNode>(case, "csinodes")? {
            self.cache.set_csi_node(&n);
        }
        for (node, key) in objects::<k8s::Node>(case, "nodes")?.iter().zip(0..) {
            self.cache.add_node(key, node);
            self.nodes.push(node.metadata.name.clone());
        }
        for (pod, key) in objects::<k8s::Pod>(case, "existing_pods")?.iter().zip(0..) {
            self.add_pod(key, pod);
        }
        Ok(())
    }
    fn add_pod(&mut self, key: PodKey, pod: &k8s::Pod) {
        let meta = &pod.metadata;
        self.pods.push(format!("{}/{}", meta.namespace_or_default(), meta.name));
        let finished = matches!(pod.status.phase.as_str(), "Succeeded" | "Failed");
        let name = pod.spec.node_name.as_deref().unwrap_or_default();
        let Some(node) = self.cache.node_named(name).filter(|_| !finished) else { return };
        let class = self.cache.class_of_pod(pod);
        let start = pod.status.start_time.as_deref().and_then(instant);
        self.cache.add_pod(key, class, node, start);
        if meta.deletion_timestamp.is_some() {
            let preempted = pod.status.conditions.iter().any(|c| {
                c.kind == "DisruptionTarget"
                    && c.status == "True"
                    && c.reason == "PreemptionByScheduler"
            });
            self.cache.mark_terminating(key, preempted);
        }
    }
    fn run(mut self, case: &Value) -> Result<Value, Refusal> {
        let class = self.cache.class_of_pod(&self.pod);
        let point = case["extension_point"].as_str().unwrap_or_default();
        if point == "score" {
            return self.score(class, case);
        }
        let statuses = self.statuses(class);
        let mut out = self.verdicts(&statuses);
        match point {
            "schedule" => self.totals(class, &statuses, &mut out),
            "preempt" => self.preempt(class, &statuses, case, &mut out)?,
            _ => {}
        }
        Ok(Value::Object(out))
    }
    /// The verdict on every node.
    fn statuses(&self, class: ClassId) -> Vec<Option<Rejection>> {
        let keys = 0..self.nodes.len() as NodeKey;
        match Cycle::new(&self.cache, class) {
            Ok(cycle) => keys.map(|n| cycle.fits_with_nominated(n, None).err()).collect(),
            Err(rejection) => keys.map(|_| Some(rejection.clone())).collect(),
        }
    }
    fn verdicts(&self, statuses: &[Option<Rejection>]) -> Map<String, Value> {
        let (mut filter, mut codes, mut reasons) = (Map::new(), Map::new(), Map::new());
        for (name, status) in self.nodes.iter().zip(statuses) {
            filter.insert(name.clone(), json!(status.is_none()));
            if let Some(r) = status {
                codes.insert(name.clone(), json!(r.code.name()));
                let texts: Vec<_> = r.reasons.iter().map(|r| r.text(&self.cache)).collect();
                reasons.insert(name.clone(), json!(texts));
            }
        }
        let mut out = Map::new();
        out.insert("filter".to_owned(), Value::Object(filter));
        for (key, map) in [("codes", codes), ("reasons", reasons)] {
            out.insert(key.to_owned(), Value::Object(map));
        }
        out
    }
    fn score(&self, class: ClassId, case: &Value) -> Result<Value, Refusal> {
        let names: Vec<&str> = match case["filtered_nodes"].as_array() {
            Some(list) => list.iter().filter_map(Value::as_str).collect(),
            None => self.nodes.iter().map(String::as_str).collect(),
        };
        let nodes: Vec<NodeKey> = names.iter().filter_map(|n| self.cache.node_named(n)).collect();
        let cycle = Cycle::for_scores(&self.cache, class);
        let plugin = self.plugin.ok_or_else(|| unsupported("a score needs a plugin"))?;
        let all = score_all(&cycle, &nodes);
        let scores = all.iter().find(|s| s.0 == plugin).map(|s| &s.1);
        let of = |(name, i): (&&str, usize)| {
            ((*name).to_owned(), json!(scores.and_then(|s| s.get(i)).unwrap_or(&0)))
        };
        let map: Map<String, Value> = names.iter().zip(0..).map(of).collect();
        Ok(json!({"scores": map, "score_skipped": scores.is_none()}))
    }
    fn totals(&self, class: ClassId, statuses: &[Option<Rejection>], out: &mut Map<String, Value>) {
        let feasible: Vec<NodeKey> =
            (0..).zip(statuses).filter(|(_, s)| s.is_none()).map(|(n, _)| n).collect();
        if feasible.is_empty() {
            return;
        }
        let cycle = Cycle::for_scores(&self.cache, class);
        let all = score_all(&cycle, &feasible);
        let name = |n: &NodeKey| self.nodes[*n as usize].clone();
        let (mut scores, mut parts) = (Map::new(), Map::new());
        let mut totals = Vec::new();
        for (i, node) in feasible.iter().enumerate() {
            let total: i64 = all.iter().map(|(_, s)| s[i]).sum();
            totals.push(total);
            scores.insert(name(node), json!(total));
            let by_plugin: Map<String, Value> =
                all.iter().map(|(p, s)| (p.name().to_owned(), json!(s[i]))).collect();
            parts.insert(name(node), Value::Object(by_plugin));
        }
        let top = totals.iter().max();
        let best = feasible.iter().zip(&totals).filter(|(_, t)| Some(*t) == top);
        let best: Vec<_> = best.map(|(n, _)| name(n)).collect();
        out.insert("scores".to_owned(), Value::Object(scores));
        out.insert("weighted_plugin_scores".to_owned(), Value::Object(parts));
        out.insert("best_nodes".to_owned(), json!(best));
    }
    fn preempt(
        &mut self,
        class: ClassId,
        statuses: &[Option<Rejection>],
        case: &Value,
        out: &mut Map<String, Value>,
    ) -> Result<(), Refusal> {
        let mut budgets = Vec::new();
        for pdb in objects::<k8s::PodDisruptionBudget>(case, "pdbs")? {
            let namespace = pdb.metadata.namespace_or_default();
            let key = |name: &String| {
                let full = format!("{namespace}/{name}");
                self.pods.iter().position(|p| *p == full).map(|i| i as PodKey)
            };
            let disrupted = pdb.status.disrupted_pods.keys().filter_map(key).collect();
            budgets.push(Budget::new(&pdb, disrupted, &mut self.cache));
        }
        let nominated = self.pod.status.nominated_node_name.as_deref();
        let nominated = nominated.and_then(|n| self.cache.node_named(n));
        let pod = PodToSchedule { key: self.pods.len() as PodKey, class, nominated };
        let failed = Unschedulable {
            nodes: self.nodes.len() as u32,
            statuses: (0..).zip(statuses).filter_map(|(n, s)| Some((n, s.clone()?))).collect(),
            ..Unschedulable::default()
        };
        let may = eligible(&self.cache, &pod, &failed).is_ok();
        out.insert("eligible".to_owned(), json!(may));
        if !may {
            out.insert("node".to_owned(), Value::Null);
            return Ok(());
        }
        let potential = potential_nodes(&failed);
        let (candidates, _) = dry_run(&self.cache, &pod, &potential, &budgets, 0, usize::MAX);
        self.candidates(&candidates, out);
        Ok(())
    }
    fn candidates(&self, candidates: &[Candidate], out: &mut Map<String, Value>) {
        let victims = |c: &Candidate| -> Vec<&String> {
            c.victims.iter().map(|p| &self.pods[*p as usize]).collect()
        };
        let node = |c: &Candidate| &self.nodes[c.node as usize];
        let all = candidates.iter().map(
            |c| json!({"node": node(c), "victims": victims(c), "pdb_violations": c.pdb_violations}),
        );
        out.insert("candidates".to_owned(), all.collect());
        let best = best_candidates(&self.cache, candidates);
        let best: Vec<_> = best.iter().filter_map(|i| candidates.get(*i)).collect();
        match best.as_slice() {
            [] => {
                out.insert("node".to_owned(), Value::Null);
            }
            [one] => {
                out.insert("node".to_owned(), json!(node(one)));
                out.insert("victims".to_owned(), json!(victims(one)));
            }
            _ => {}
        }
        let any: Vec<_> = best.iter().map(|c| node(c)).collect();
        out.insert("node_any_of".to_owned(), json!(any));
    }
}

fn instant(text: &str) -> Option<SimTime> {
    let nanos = text.parse::<jiff::Timestamp>().ok()?.as_nanosecond();
    Some(SimTime::from_nanos(u64::try_from(nanos).unwrap_or(0)))
}

#[cfg(test)]
mod tests;

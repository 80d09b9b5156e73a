//! Changes of the scenario: each makes its workload a new revision, in the order of their times.

use super::Errors;
use super::objects::Lowering;
use super::pods::{self, Owner};
use crate::k8s;
use crate::spec::manifest;
use crate::spec::scenario::{ChangeSpec, DrainSpec, NodeGroupUpdateSpec};
use crate::spec::set::{FieldPath, SetError};
use crate::units::{Id, SimTime, Span};
use crate::world::model::{GroupKind, Model, Template, WorkloadKind, WorkloadModel};
use crate::world::steps::{Cascade, RevisionModel, StepKind, StepModel};
use serde_json::Value;
use std::collections::BTreeMap;

/// A workload in the course of the changes.
struct Course {
    object: Value,
    /// Templates as objects, oldest revision first; a template that comes back moves to the end.
    history: Vec<(Value, Id<Template>)>,
    deleted: bool,
}

impl Course {
    /// The workload as it was applied first.
    fn of(workload: Id<WorkloadModel>, model: &Model) -> Self {
        let row = &model.workloads[workload];
        let object = object_of(row);
        let template = object["spec"]["template"].clone();
        Self { object, history: vec![(template, row.template)], deleted: false }
    }
}

pub(super) fn lower(l: &mut Lowering<'_>) {
    let changes = &l.scenario.spec.changes;
    let mut order: Vec<usize> = (0..changes.len()).collect();
    order.sort_by_key(|&i| changes[i].at);
    let mut courses: BTreeMap<u32, Course> = BTreeMap::new();
    for i in order {
        let change = &changes[i];
        // NodePools and images are read together with the node classes.
        if super::karpenter::is_about_nodes(change) {
            continue;
        }
        let path = format!("changes[{i}]");
        if change.moves_traffic() {
            // Services are ready only later: see `weights`.
            continue;
        }
        if change.at > l.scenario.spec.duration {
            let message = "the change never happens: the run ends before it";
            l.errors.warning(format!("{path}.at"), message, "set `at` within `duration`");
        }
        let at = SimTime::ZERO + change.at;
        let kind = match (&change.target, &change.drain, &change.node_group_update) {
            (Some(target), None, None) if change.delete.is_some() => {
                deletion(change, target, &path, &mut courses, l)
            }
            (Some(target), None, None) if change.ungate => ungate(change, target, &path, l),
            (Some(target), None, None) => workload_change(change, target, &path, &mut courses, l),
            (None, Some(drain), None) => lower_drain(drain, &path, l.model, l.errors),
            (None, None, Some(update)) => lower_update(update, &path, l.model, l.errors),
            _ => {
                l.errors.error(
                    &path,
                    "a change needs one of `target`, `drain` and `nodeGroupUpdate`",
                    "write for example `{at: 2h, target: Deployment/web, set: {image: web:v2}}`",
                );
                None
            }
        };
        if let Some(kind) = kind {
            l.model.steps.push(StepModel { at, kind });
        }
    }
}

fn lower_drain(
    drain: &DrainSpec,
    path: &str,
    model: &Model,
    errors: &mut Errors,
) -> Option<StepKind> {
    let group = match &drain.node_group {
        None => None,
        Some(name) => {
            let found = model.groups.iter().find(|(_, g)| g.name == *name).map(|(id, _)| id);
            if found.is_none() {
                let names: Vec<&str> = model.groups.iter().map(|(_, g)| g.name.as_str()).collect();
                errors.error(
                    format!("{path}.drain.nodeGroup"),
                    format!("there is no node group `{name}`"),
                    format!("use one of {}", names.join(", ")),
                );
                return None;
            }
            found
        }
    };
    Some(StepKind::Drain { group, count: drain.count.unwrap_or(1) })
}

/// The removal of gates.
fn ungate(change: &ChangeSpec, target: &str, path: &str, l: &mut Lowering<'_>) -> Option<StepKind> {
    let workload = find_workload(target, &format!("{path}.target"), l.model, l.errors)?;
    let template = l.model.workloads[workload].template;
    if l.model.templates[template].object.spec.scheduling_gates.is_empty() {
        let message = format!("the pods of `{target}` have no scheduling gates");
        let help = "add `schedulingGates: [{name: …}]` to the pods, or remove this change";
        l.errors.error(format!("{path}.ungate"), message, help);
        return None;
    }
    if !change.set.is_empty() || change.undo {
        l.errors.error(path, "a change with `ungate` does nothing else", "write two changes");
        return None;
    }
    Some(StepKind::Ungate { workload })
}

fn lower_update(
    update: &NodeGroupUpdateSpec,
    path: &str,
    model: &Model,
    errors: &mut Errors,
) -> Option<StepKind> {
    let at = format!("{path}.nodeGroupUpdate.nodeGroup");
    let found = model.groups.iter().find(|(_, g)| g.name == update.node_group);
    match found {
        Some((group, g)) if g.kind == GroupKind::Managed => {
            Some(StepKind::NodeGroupUpdate { group, force: update.force })
        }
        Some((_, g)) => {
            let message = format!("`{}` is no managed node group", g.name);
            errors.error(at, message, "EKS updates managed node groups only; use `drain`");
            None
        }
        None => {
            let managed = model.groups.iter().filter(|(_, g)| g.kind == GroupKind::Managed);
            let names: Vec<&str> = managed.map(|(_, g)| g.name.as_str()).collect();
            let message = format!("there is no node group `{}`", update.node_group);
            errors.error(at, message, format!("use one of {}", names.join(", ")));
            None
        }
    }
}

/// The deletion of a workload; nothing can be changed after it.
fn deletion(
    change: &ChangeSpec,
    target: &str,
    path: &str,
    courses: &mut BTreeMap<u32, Course>,
    l: &mut Lowering<'_>,
) -> Option<StepKind> {
    let workload = find_workload(target, &format!("{path}.target"), l.model, l.errors)?;
    let at = format!("{path}.delete");
    if !change.set.is_empty() || change.undo {
        l.errors.error(path, "a change with `delete` does nothing else", "write two changes");
        return None;
    }
    let cascade = match change.delete.as_deref().unwrap_or_default() {
        "background" => Cascade::Background,
        "foreground" => Cascade::Foreground,
        "orphan" => Cascade::Orphan,
        other => {
            let message = format!("`{other}` is no way to delete");
            l.errors.error(at, message, "use background, foreground or orphan");
            return None;
        }
    };
    let course = courses.entry(workload.raw()).or_insert_with(|| Course::of(workload, l.model));
    if core::mem::replace(&mut course.deleted, true) {
        l.errors.error(at, format!("`{target}` was deleted before"), "remove this change");
        return None;
    }
    Some(StepKind::Delete { workload, cascade })
}

fn workload_change(
    change: &ChangeSpec,
    target: &str,
    path: &str,
    courses: &mut BTreeMap<u32, Course>,
    l: &mut Lowering<'_>,
) -> Option<StepKind> {
    let workload = find(target, path, l)?;
    if change.set.is_empty() && !change.undo {
        l.errors.error(
            path,
            format!("the change of `{target}` changes nothing"),
            "give `set`, `undo: true`, `ungate: true` or `delete`",
        );
        return None;
    }
    let course = courses.entry(workload.raw()).or_insert_with(|| Course::of(workload, l.model));
    if course.deleted {
        let help = "change it before its deletion, or leave the deletion out";
        l.errors.error(path, format!("`{target}` was deleted before"), help);
        return None;
    }
    if change.undo {
        let Some(at) = course.history.len().checked_sub(2) else {
            let message = format!("`{target}` has no earlier revision to go back to");
            l.errors.error(format!("{path}.undo"), message, "change its template before");
            return None;
        };
        course.object["spec"]["template"] = course.history[at].0.clone();
    }
    for (field, value) in &change.set {
        if let Err(e) = set_field(&mut course.object, field, value) {
            l.errors.error(format!("{path}.set[\"{field}\"]"), e.message, e.help);
            return None;
        }
    }
    revision(change, workload, path, course, l)
}

/// A workload that can get a new specification.
fn find(target: &str, path: &str, l: &mut Lowering<'_>) -> Option<Id<WorkloadModel>> {
    let at = format!("{path}.target");
    let found = find_workload(target, &at, l.model, l.errors)?;
    let kind = &l.model.workloads[found].kind;
    if matches!(kind, WorkloadKind::Job(_) | WorkloadKind::Pod | WorkloadKind::Trace) {
        let help = "change a Deployment, StatefulSet, DaemonSet or ReplicaSet";
        l.errors.error(at, format!("`{target}` cannot be changed during a run"), help);
        return None;
    }
    Some(found)
}

/// The workload with this name; messages say which there are.
pub(super) fn find_workload(
    target: &str,
    at: &str,
    model: &Model,
    errors: &mut Errors,
) -> Option<Id<WorkloadModel>> {
    let named = |w: &WorkloadModel| {
        target != "*" && pods::names(target, w.kind.name(), &w.namespace, &w.name)
    };
    let found = model.workloads.iter().find(|(_, w)| named(w)).map(|(id, _)| id);
    match found {
        Some(id) => Some(id),
        None => {
            let all: Vec<String> = model
                .workloads
                .iter()
                .filter(|(_, w)| !w.addon)
                .flat_map(|(_, w)| {
                    let kind = w.kind.name();
                    [format!("{kind}/{}", w.name), format!("{kind}/{}/{}", w.namespace, w.name)]
                })
                .collect();
            let near = crate::spec::suggest::nearest(target, all.iter().map(String::as_str));
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write Kind/NAME or Kind/NAMESPACE/NAME of one of the manifests".to_owned(),
            };
            errors.error(at, format!("there is no workload `{target}`"), help);
            None
        }
    }
}

/// The workload as the object that was applied.
fn object_of(row: &WorkloadModel) -> Value {
    let spec = match &row.kind {
        WorkloadKind::Deployment(s) => serde_json::to_value(s),
        WorkloadKind::StatefulSet(s) => serde_json::to_value(s),
        WorkloadKind::DaemonSet(s) => serde_json::to_value(s),
        WorkloadKind::ReplicaSet(s) => serde_json::to_value(s),
        WorkloadKind::Job(_) | WorkloadKind::Pod | WorkloadKind::Trace => Ok(Value::Null),
    };
    serde_json::json!({ "spec": spec.unwrap_or_default() })
}

/// The path in the object that a short form stands for.
fn full_path(field: &str, object: &Value) -> Result<String, SetError> {
    let first = field.split(['.', '[']).next().unwrap_or_default();
    let containers = object["spec"]["template"]["spec"]["containers"].as_array();
    match first {
        "spec" | "metadata" => Ok(field.to_owned()),
        "containers"
        | "initContainers"
        | "nodeSelector"
        | "tolerations"
        | "terminationGracePeriodSeconds" => Ok(format!("spec.template.spec.{field}")),
        "image" | "resources" | "env" | "readinessProbe" => {
            let count = containers.map_or(0, Vec::len);
            if count != 1 {
                return Err(SetError {
                    message: format!("`{field}` is not clear: the pods have {count} containers"),
                    help: format!("name one: `containers[NAME].{field}`"),
                });
            }
            // `env[NAME]: text` is the value of the variable.
            let value = if first == "env" && field.ends_with(']') { ".value" } else { "" };
            Ok(format!("spec.template.spec.containers[0].{field}{value}"))
        }
        _ => Ok(format!("spec.{field}")),
    }
}

fn set_field(object: &mut Value, field: &str, value: &Value) -> Result<(), SetError> {
    let full = full_path(field, object)?;
    let path = FieldPath::parse(&full).map_err(|e| SetError {
        message: format!("`{field}` is not a path: {}", e.message),
        help: "write for example `containers[web].image`".to_owned(),
    })?;
    path.set_json(object, value)
}

/// Reads the object back, with defaults, and makes it a revision.
fn revision(
    change: &ChangeSpec,
    workload: Id<WorkloadModel>,
    path: &str,
    course: &mut Course,
    l: &mut Lowering<'_>,
) -> Option<StepKind> {
    let (kind, template, replicas, min_ready) =
        match decode(&l.model.workloads[workload].kind, &course.object) {
            Ok(parts) => parts,
            Err(e) => {
                let message = format!("the changed object cannot be read: {e}");
                l.errors.error(format!("{path}.set"), message, "correct the values");
                return None;
            }
        };
    let read =
        object_of(&WorkloadModel { kind: kind.clone(), ..l.model.workloads[workload].clone() });
    for (field, value) in change.set.iter().filter(|(_, v)| !v.is_null()) {
        let known = full_path(field, &course.object)
            .ok()
            .and_then(|full| FieldPath::parse(&full).ok())
            .is_none_or(|p| p.is_in(&read));
        if !known {
            let message = format!("the object has no field `{field}`, or it cannot be {value}");
            let help = "check the spelling against the Kubernetes API";
            l.errors.error(format!("{path}.set[\"{field}\"]"), message, help);
            return None;
        }
    }
    course.object = read;
    let object = course.object["spec"]["template"].clone();
    let known = course.history.iter().position(|(o, _)| *o == object);
    let template = match known {
        Some(at) => {
            let entry = course.history.remove(at);
            course.history.push(entry);
            course.history.last().map(|e| e.1)?
        }
        None => {
            let id = new_template(&template, workload, &kind, l);
            course.history.push((object, id));
            id
        }
    };
    let sets_replicas =
        change.set.keys().any(|k| matches!(k.as_str(), "replicas" | "spec.replicas"));
    let replicas = replicas.filter(|_| sets_replicas);
    let revision = l.model.revisions.push(RevisionModel { workload, kind, template, min_ready });
    let mut text: Vec<String> = change.set.iter().map(|(k, v)| format!("{k}={v}")).collect();
    if change.undo {
        text.insert(0, "undo".to_owned());
    }
    Some(StepKind::Change { workload, revision, replicas, text: text.join(" ") })
}

fn new_template(
    template: &k8s::PodTemplateSpec,
    workload: Id<WorkloadModel>,
    kind: &WorkloadKind,
    l: &mut Lowering<'_>,
) -> Id<Template> {
    let row = &l.model.workloads[workload];
    let (namespace, name) = (row.namespace.clone(), row.name.clone());
    let claims = match kind {
        WorkloadKind::StatefulSet(spec) => spec.volume_claim_templates.clone(),
        _ => Vec::new(),
    };
    let owner = Owner { kind: kind.name(), namespace: &namespace, name: &name, claims: &claims };
    pods::template(template, &owner, l.manifests, l.scenario, l.model, l.errors)
}

type Parts = (WorkloadKind, k8s::PodTemplateSpec, Option<u32>, Span);

fn decode(kind: &WorkloadKind, object: &Value) -> Result<Parts, serde_json::Error> {
    let seconds = |s: i32| Span::from_secs(u64::from(s.max(0).unsigned_abs()));
    let count = |n: Option<i32>| n.map(|n| n.max(0).unsigned_abs());
    let object = object.clone();
    Ok(match kind {
        WorkloadKind::StatefulSet(_) => {
            let mut o: k8s::StatefulSet = serde_json::from_value(object)?;
            manifest::default_stateful_set(&mut o);
            let s = o.spec;
            let (template, replicas) = (s.template.clone(), count(s.replicas));
            let ready = seconds(s.min_ready_seconds);
            (WorkloadKind::StatefulSet(Box::new(s)), template, replicas, ready)
        }
        WorkloadKind::DaemonSet(_) => {
            let mut o: k8s::DaemonSet = serde_json::from_value(object)?;
            manifest::default_daemon_set(&mut o);
            let s = o.spec;
            let (template, ready) = (s.template.clone(), seconds(s.min_ready_seconds));
            (WorkloadKind::DaemonSet(Box::new(s)), template, None, ready)
        }
        WorkloadKind::ReplicaSet(_) => {
            let mut o: k8s::ReplicaSet = serde_json::from_value(object)?;
            manifest::default_replica_set(&mut o);
            let s = o.spec;
            let (template, replicas) = (s.template.clone(), count(s.replicas));
            let ready = seconds(s.min_ready_seconds);
            (WorkloadKind::ReplicaSet(Box::new(s)), template, replicas, ready)
        }
        _ => {
            let mut o: k8s::Deployment = serde_json::from_value(object)?;
            manifest::default_deployment(&mut o);
            let s = o.spec;
            let (template, replicas) = (s.template.clone(), count(s.replicas));
            let ready = seconds(s.min_ready_seconds);
            (WorkloadKind::Deployment(Box::new(s)), template, replicas, ready)
        }
    })
}

//! Longer texts of the record: refusals, pods that no scheduler looks at, weights.

use super::{set_key, suffix};
use crate::engine::View;
use crate::units::{Id, SimTime};
use crate::world::model::{ServiceModel, WorkloadKind, WorkloadModel};
use crate::world::{Model, PodId, World};

/// What a controller says of a pod that the API server refused. Pods of most kinds get a new
/// random name with each attempt; `pkg/controller/controller_utils.go` and
/// `pkg/controller/statefulset/stateful_pod_control.go` of v1.34.
pub(super) fn refusal(
    now: SimTime,
    set: Id<crate::world::Set>,
    why: &str,
    world: &World,
    model: &Model,
) -> String {
    let row = &world.api.sets[set];
    let w = &model.workloads[world.api.workloads[row.workload].model];
    let key = set_key(set, world, model);
    let random = suffix(crate::units::key::key(&[key, now.nanos()]), 5);
    let name = match &w.kind {
        WorkloadKind::Deployment(_) => format!("{}-{}-{random}", w.name, suffix(key, 10)),
        WorkloadKind::StatefulSet(_) => {
            let taken = |n: u32| {
                let pods = row.pods.iter().filter_map(|&p| world.api.pods.get(p));
                pods.into_iter().any(|p| p.ordinal == n)
            };
            let ordinal = (0..).find(|&n| !taken(n)).unwrap_or(0);
            let (pod, set) = (format!("{}-{ordinal}", w.name), &w.name);
            return format!(
                "create Pod {pod} in StatefulSet {set} failed error: pods \"{pod}\" is forbidden: \
                 {why}"
            );
        }
        WorkloadKind::Pod => w.name.clone(),
        _ => format!("{}-{random}", w.name),
    };
    format!("Error creating: pods \"{name}\" is forbidden: {why}")
}

/// Why no scheduler looks at a new pod, in the API server's words
/// (`pkg/registry/core/pod/strategy.go`) for gates; upstream says nothing of an unknown scheduler.
pub(super) fn held_back(p: PodId, view: &View<'_>) -> String {
    let Some(pod) = view.world.api.pods.get(p) else { return String::new() };
    let template = &view.model.templates[pod.template];
    let spec = &template.object.spec;
    if template.profile.is_none() && spec.node_name.is_none() {
        let name = spec.scheduler_name.as_deref().unwrap_or_default();
        return format!("no scheduler is called `{name}`: the pod waits for it");
    }
    if spec.scheduling_gates.is_empty() {
        String::new()
    } else {
        "Scheduling is blocked due to non-empty scheduling gates".to_owned()
    }
}

/// `Deployment/web-blue 90, Deployment/web-green 10`.
pub(super) fn weights_text(service: Id<ServiceModel>, weights: &[f64], model: &Model) -> String {
    let backends = model.services[service].traffic.iter().flat_map(|t| &t.backends);
    let one = |(&id, weight): (&Id<WorkloadModel>, &f64)| {
        let row = &model.workloads[id];
        format!("{}/{} {weight}", row.kind.name(), row.name)
    };
    backends.zip(weights).map(one).collect::<Vec<_>>().join(", ")
}

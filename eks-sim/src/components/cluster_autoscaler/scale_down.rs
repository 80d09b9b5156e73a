//! Which nodes are unneeded, and which of them go now.

use super::deletion::Deletion;
use super::mirror::Known;
use super::settings::TemplateFacts;
use super::snapshot::{SimPod, Snapshot};
use crate::engine::Cx;
use crate::policy::cluster_autoscaler::drain::{
    BlockingReason, Controller, DrainOptions, DrainOutcome, PodFacts, drain_outcome,
    is_daemon_set_pod,
};
use crate::policy::cluster_autoscaler::eligibility::{EligibilityOptions, NodeFacts, ineligible};
use crate::policy::cluster_autoscaler::registry::GroupCounts;
use crate::policy::cluster_autoscaler::requests::pod_requests;
use crate::policy::cluster_autoscaler::scale_down::{
    Candidate, CandidatePod, ClusterTotals, GroupState, NodeState, Planner, ToDelete,
};
use crate::policy::cluster_autoscaler::unneeded::GroupRoom;
use crate::policy::cluster_autoscaler::utilization::{
    Ignored, Utilization, UtilizationError, utilization,
};
use crate::policy::cluster_autoscaler::{Flags, SimCluster};
use crate::policy::kube_scheduler::NodeInfo;
use crate::policy::kube_scheduler::resources::{CPU, MEMORY};
use crate::policy::workloads::Budget;
use crate::units::{Id, Span};
use crate::world::cloud::InstanceState;
use crate::world::model::BudgetModel;
use crate::world::{Node, NodeCondition, Phase, Pod};
use std::borrow::Cow;

/// Annotation that keeps a node.
const SCALE_DOWN_DISABLED: &str = "cluster-autoscaler.kubernetes.io/scale-down-disabled";

/// What a look at scale-down reads.
pub(super) struct View<'a> {
    pub flags: &'a Flags,
    pub facts: &'a [TemplateFacts],
    /// Known pods by slot.
    pub known: &'a [Option<Known>],
    pub counts: &'a [GroupCounts],
    /// Smallest and largest size of each group.
    pub limits: &'a [(u32, u32)],
    pub deletions: &'a [Deletion],
    /// No cooldown is on.
    pub idle: bool,
}

/// Tracks unneeded nodes; those that may go now.
pub(super) fn plan(
    view: &View<'_>,
    planner: &mut Planner<u32>,
    cluster: &mut Snapshot<'_>,
    cx: &Cx<'_>,
) -> Vec<ToDelete<u32>> {
    let mut candidates = Vec::with_capacity(cluster.len());
    let mut budgets: Option<Vec<i32>> = None;
    for position in 0..cluster.len() {
        let node: Id<Node> = Id::new(cluster.node(position));
        let row = &cx.api().nodes[node];
        let instance = &cx.cloud().instances[row.instance];
        if instance.state == InstanceState::Terminated {
            continue;
        }
        let going = view.deletions.iter().any(|d| d.node == node);
        let facts = NodeFacts {
            recently_unremovable: planner.is_recently_unremovable(node.raw(), cx.now()),
            deletion_taint_age: going.then_some(Span::ZERO),
            scale_down_disabled: is_kept(row),
            in_group: cx.model().groups[instance.group].is_managed(),
            ready: row.condition == NodeCondition::Ready,
            has_gpu: has_gpu(row, cx),
        };
        let options = EligibilityOptions {
            threshold: view.flags.scale_down_utilization_threshold,
            gpu_threshold: view.flags.scale_down_gpu_utilization_threshold,
            unready_enabled: view.flags.scale_down_unready_enabled,
        };
        let info = cluster.info(position);
        let refused = ineligible(&facts, &options, || fullness(view, row, info, facts.has_gpu, cx));
        let pods = match (refused, info) {
            (None, Some(info)) => {
                let budgets = budgets.get_or_insert_with(|| allowed_disruptions(cx));
                candidate_pods(view, info, budgets, cx)
            }
            _ => Vec::new(),
        };
        candidates.push(Candidate {
            key: node.raw(),
            position,
            group: instance.group.index(),
            ineligible: refused,
            pods,
        });
    }
    planner.update(&candidates, cluster, &budgets.unwrap_or_default(), view.flags, cx.now());
    if !view.idle || planner.unneeded().is_empty() {
        return Vec::new();
    }
    let (groups, totals) = states(view, cx);
    let of = |key: u32| {
        let row = &cx.api().nodes[Id::new(key)];
        NodeState {
            scale_down_disabled: is_kept(row),
            ready: row.condition == NodeCondition::Ready,
            group: Some(cx.cloud().instances[row.instance].group.index()),
        }
    };
    planner.nodes_to_delete(&groups, of, &totals, view.flags, cx.now())
}

fn is_kept(row: &Node) -> bool {
    let value = row.object.metadata.annotations.get(SCALE_DOWN_DISABLED);
    value.is_some_and(|v| v == "true")
}

fn has_gpu(row: &Node, cx: &Cx<'_>) -> bool {
    let instance = &cx.cloud().instances[row.instance];
    let types = &cx.model().groups[instance.group].types;
    types.get(instance.type_index as usize).is_some_and(|t| t.instance_type.gpu.is_some())
}

/// Utilisation by the cache's sums; by the policy's walk over pods where something is left out.
fn fullness(
    view: &View<'_>,
    row: &Node,
    info: Option<&NodeInfo>,
    gpu: bool,
    cx: &Cx<'_>,
) -> Result<Utilization, UtilizationError> {
    let Some((info, fixed)) = info.and_then(|i| Some((i, i.node.as_deref()?))) else {
        return Err(UtilizationError("cpu"));
    };
    let ignored = Ignored {
        daemon_sets: view.flags.ignore_daemonsets_utilization,
        mirror_pods: view.flags.ignore_mirror_pods_utilization,
    };
    if gpu || ignored != Ignored::default() || info.classes.iter().any(|c| c.terminating > 0) {
        let requests: Vec<_> = pods_on(view, info, cx)
            .map(|(_, p)| match p.shape {
                Some(s) => Cow::Owned(pod_requests(&cx.api().shapes.get(s).object.spec)),
                None => Cow::Borrowed(&view.facts[p.template.index()].requests),
            })
            .collect();
        let pods: Vec<_> = pods_on(view, info, cx)
            .zip(&requests)
            .map(|((_, p), requests)| (facts_of(p, cx), requests.as_ref()))
            .collect();
        return utilization(&row.object.status.allocatable, gpu, &pods, ignored, cx.now());
    }
    let share = |id, name| match fixed.allocatable.get(id) {
        0 => Err(UtilizationError(name)),
        total => Ok(info.requested.get(id) as f64 / total as f64),
    };
    let (cpu, memory) = (share(CPU, "cpu")?, share(MEMORY, "memory")?);
    let (value, resource) = if cpu > memory { (cpu, "cpu") } else { (memory, "memory") };
    Ok(Utilization { value, resource })
}

/// Pods on a node of the simulation: bound ones, and pending ones that the simulation put there.
fn pods_on<'a>(
    view: &'a View<'_>,
    info: &'a NodeInfo,
    cx: &'a Cx<'_>,
) -> impl Iterator<Item = (SimPod, &'a Pod)> {
    info.pods.iter().filter_map(|&key| {
        let known = view.known.get(key as usize).copied().flatten()?;
        Some((SimPod { key, class: known.class }, cx.api().pods.get(known.pod)?))
    })
}

/// What the rules read of a pod.
pub(super) fn facts_of<'a>(pod: &Pod, cx: &Cx<'a>) -> PodFacts<'a> {
    let template = &cx.model().templates[pod.template];
    let spec = &template.object.spec;
    let controller = match &template.owner {
        Some(owner) if owner.kind != "Pod" => Controller::Found {
            kind: &owner.kind,
            replicas: Some(cx.api().sets[pod.set].desired.into()),
        },
        _ => Controller::None,
    };
    PodFacts {
        namespace: &template.namespace,
        annotations: &template.object.metadata.annotations,
        controller,
        volumes: &spec.volumes,
        phase: match pod.phase {
            Phase::Pending => "Pending",
            Phase::Running => "Running",
            Phase::Succeeded => "Succeeded",
            Phase::Failed => "Failed",
        },
        restart_policy: spec.restart_policy.as_deref(),
        grace_seconds: spec.termination_grace_period_seconds,
        created: pod.created,
        deleted: pod.is_terminating().then_some(pod.deleting),
    }
}

fn candidate_pods(
    view: &View<'_>,
    info: &NodeInfo,
    budgets: &[i32],
    cx: &Cx<'_>,
) -> Vec<CandidatePod<SimPod>> {
    let options = DrainOptions::from_flags(view.flags);
    pods_on(view, info, cx)
        .map(|(pod, row)| {
            let pdbs = &view.facts[row.template.index()].budgets;
            let left: Vec<i32> =
                pdbs.iter().map(|&b| budgets.get(b).copied().unwrap_or(0)).collect();
            let facts = facts_of(row, cx);
            let moves = match drain_outcome(&facts, &left, &options, cx.now()) {
                DrainOutcome::Drain => Ok(!is_daemon_set_pod(&facts)),
                DrainOutcome::Skip => Ok(false),
                DrainOutcome::Blocked(reason) => Err(reason),
                // The node stays until the pod has finished by itself.
                DrainOutcome::Wait => Err(BlockingReason::NotSafeToEvictAnnotation),
            };
            CandidatePod { pod, moves, pdbs: pdbs.clone() }
        })
        .collect()
}

/// Disruptions that each budget allows: healthy pods less those it wants.
fn allowed_disruptions(cx: &Cx<'_>) -> Vec<i32> {
    cx.model().budgets.iter().map(|(_, budget)| allowed(budget, cx)).collect()
}

fn allowed(budget: &BudgetModel, cx: &Cx<'_>) -> i32 {
    let Some(rule) = Budget::lower(&budget.object.spec) else { return 0 };
    let (mut healthy, mut matching, mut scale) = (0, 0, 0);
    for (_, set) in cx.api().sets.iter() {
        if set.pods.is_empty() || !budget.templates.contains(&set.template) {
            continue;
        }
        for pod in set.pods.iter().filter_map(|&p| cx.api().pods.get(p)) {
            matching += i32::from(pod.is_active());
            healthy += i32::from(pod.is_active() && pod.is_ready());
        }
        scale += i32::try_from(set.desired).unwrap_or(i32::MAX);
    }
    rule.status(if rule.needs_scale() { scale } else { matching }, healthy).allowed
}

/// Groups and totals for the last check.
fn states(view: &View<'_>, cx: &Cx<'_>) -> (Vec<GroupState>, ClusterTotals) {
    let mut totals = ClusterTotals::default();
    let mut groups = Vec::with_capacity(view.counts.len());
    let rows = cx.model().groups.iter().zip(view.counts).zip(view.limits);
    for (((id, model), count), limits) in rows {
        let going = view.deletions.iter().filter(|d| d.group == id.index());
        let capacity = model.types.first().map(|t| &t.node.status.capacity);
        let amount = |name: &str| capacity.and_then(|c| c.get(name)).copied();
        let cores = amount("cpu").map_or(0, |q| q.value());
        let memory = amount("memory").map_or(0, |q| q.value());
        let registered = count.ready + count.unready + count.starting;
        let deletions = going.count() as i64;
        groups.push(GroupState {
            room: GroupRoom { min: limits.0.into(), target: count.target, deletions },
            registered,
            atomic: false,
            unneeded_time: view.flags.scale_down_unneeded_time,
            unready_time: view.flags.scale_down_unready_time,
            node_cores: cores,
            node_memory: memory,
        });
        let staying = (registered - deletions).max(0);
        totals.cores = totals.cores.saturating_add(cores.saturating_mul(staying));
        totals.memory = totals.memory.saturating_add(memory.saturating_mul(staying));
    }
    totals.drain_in_progress = view.deletions.iter().filter(|d| d.drain).count() as i64;
    totals.empty_in_progress = view.deletions.len() as i64 - totals.drain_in_progress;
    (groups, totals)
}

//! One attempt to help pending pods by more nodes.

use super::groups::NodeTemplate;
use super::mirror::Known;
use super::settings::{self, TemplateFacts};
use super::snapshot::{SimPod, Snapshot};
use crate::engine::{self, Cx, Stream};
use crate::policy::cluster_autoscaler::cluster::Cursor;
use crate::policy::cluster_autoscaler::estimator::PodGroup;
use crate::policy::cluster_autoscaler::expander::{ExpanderContext, PodPrices, Priorities};
use crate::policy::cluster_autoscaler::pending::{self, PendingPod};
use crate::policy::cluster_autoscaler::registry::{GroupCounts, Registry};
use crate::policy::cluster_autoscaler::scale_up::{
    self, GroupResult, GroupView, ScaleUpContext, ScaleUpOutcome, SkipReason,
};
use crate::policy::cluster_autoscaler::{Flags, SimCluster};
use crate::units::{Id, SimTime, Span};
use crate::world::PodId;
use crate::world::model::GroupModel;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What an attempt reads.
pub(super) struct Attempt<'a> {
    pub flags: &'a Flags,
    pub priorities: Option<&'a Priorities>,
    pub facts: &'a [TemplateFacts],
    pub registry: &'a Registry,
    pub templates: &'a [NodeTemplate],
    /// Known pods by slot.
    pub known: &'a [Option<Known>],
    pub counts: &'a [GroupCounts],
    /// Upcoming nodes of all groups.
    pub upcoming: i64,
    /// Smallest and largest size of each group.
    pub limits: &'a [(u32, u32)],
    /// For the `price` expander.
    pub prices: PodPrices,
    /// Decisions so far.
    pub turn: u64,
}

/// What became of it.
#[derive(Debug)]
pub(super) struct Verdict {
    /// Nodes to add by group.
    pub increases: Vec<(usize, i64)>,
    /// Pods are too new: nothing is scaled in this loop.
    pub wait: bool,
    /// Whether groups were asked at all.
    pub attempted: bool,
    /// What each group offered.
    pub groups: Vec<GroupResult>,
    /// Why pods did not trigger a scale-up; none if they did.
    pub reasons: Vec<(PodId, Option<Arc<str>>)>,
    /// When pods come of age.
    pub wake_at: SimTime,
}

/// Pods that may cause a scale-up, and when a younger one may.
pub(super) fn pending(
    view: &Attempt<'_>,
    queue: &BTreeMap<u64, PodId>,
    cx: &Cx<'_>,
) -> (Vec<PendingPod<SimPod>>, SimTime) {
    let now = cx.now();
    let mut later = SimTime::NEVER;
    // A pod with requests of its own is like others of the same shape only.
    let templates = cx.model().templates.len() as u32;
    let mut pods = Vec::with_capacity(queue.len());
    for &id in queue.values() {
        let Some(p) = cx.api().pods.get(id).filter(|p| p.node.is_none()) else { continue };
        let Some(known) = view.known.get(id.slot() as usize).copied().flatten() else { continue };
        let facts = &view.facts[p.template.index()];
        let age = view.flags.new_pod_scale_up_delay.max(facts.delay.unwrap_or(Span::ZERO));
        if p.created + age > now {
            later = later.min(p.created + age);
        }
        pods.push(PendingPod {
            pod: SimPod { key: id.slot(), class: known.class },
            class: p.shape.map_or(p.template.raw(), |s| templates + s.raw()),
            controller: cx.model().templates[p.template].owner.as_ref().map(|_| p.set.raw()),
            priority: cx.model().templates[p.template].priority,
            created: p.created,
            delay: facts.delay,
            nominated: p.nominated.is_some(),
            gpu: facts.gpu,
            shape: match p.shape {
                Some(s) => settings::shape(&cx.api().shapes.get(s).object.spec),
                None => facts.shape,
            },
        });
    }
    (pending::triggering(&pods, view.flags, now), later)
}

/// Filters the pods that fit already, then asks groups and expander.
pub(super) fn attempt(
    view: &Attempt<'_>,
    (pods, later): &(Vec<PendingPod<SimPod>>, SimTime),
    cluster: &mut Snapshot<'_>,
    cursor: &mut Cursor,
    cx: &Cx<'_>,
) -> Verdict {
    let now = cx.now();
    let mut verdict = Verdict {
        increases: Vec::new(),
        wait: false,
        attempted: false,
        groups: Vec::new(),
        reasons: Vec::new(),
        wake_at: *later,
    };
    if pods.is_empty() {
        return verdict;
    }
    let left = pending::filter_out_schedulable(pods, cluster, cursor);
    if left.is_empty() {
        return verdict;
    }
    if pending::must_wait(&left, now) {
        verdict.wait = true;
        // The next loop decides: by then they may be old enough.
        verdict.wake_at = now;
        return verdict;
    }
    let groups = pending::equivalence_groups(&left);
    let views = group_views(view, cx);
    let outcome = decide(view, &views, &groups, cluster, cursor, cx);
    verdict.attempted = true;
    verdict.reasons = explain(view, &outcome, &groups, cluster);
    if let Some(decision) = &outcome.decision {
        verdict.increases.clone_from(&decision.increases);
    }
    verdict.groups = outcome.groups;
    verdict
}

fn group_views(view: &Attempt<'_>, cx: &Cx<'_>) -> Vec<GroupView> {
    let of = |(id, model): (Id<GroupModel>, &GroupModel)| {
        let g = id.index();
        GroupView {
            name: model.name.clone(),
            target: view.counts[g].target,
            min: view.limits[g].0.into(),
            max: view.limits[g].1.into(),
            healthy: view.registry.group_healthy(g),
            backed_off: view.registry.is_backed_off(g, cx.now()),
            template: view.templates.get(g).map(|t| t.view.clone()),
        }
    };
    // Groups of Auto Scaling come first; what else has nodes is none of the provider's groups.
    cx.model().groups.iter().take_while(|(_, g)| g.is_managed()).map(of).collect()
}

/// Groups below their smallest size are raised to it, if the flag asks for that.
pub(super) fn to_min_size(view: &Attempt<'_>, cx: &Cx<'_>) -> Vec<(usize, i64)> {
    if !view.flags.enforce_node_group_min_size {
        return Vec::new();
    }
    scale_up::to_min_size(&context(view, cx), &group_views(view, cx))
}

fn context<'a>(view: &Attempt<'a>, cx: &Cx<'_>) -> ScaleUpContext<'a> {
    let (mut cores, mut memory) = (0_i64, 0_i64);
    for (count, template) in view.counts.iter().zip(view.templates) {
        let nodes = count.target.max(0);
        let size = &template.view.size;
        cores = cores.saturating_add((size.capacity_cpu / 1000).saturating_mul(nodes));
        memory = memory.saturating_add(size.capacity_memory.saturating_mul(nodes));
    }
    let nodes = cx.api().live_nodes.len();
    ScaleUpContext {
        flags: view.flags,
        expander: ExpanderContext {
            chain: &view.flags.expander,
            priorities: view.priorities,
            price: view.prices.settings(nodes),
        },
        current_nodes: nodes as i64 + view.upcoming,
        current_cores: cores,
        current_memory: memory,
        prices: view.prices,
        now: cx.now(),
    }
}

fn decide(
    view: &Attempt<'_>,
    views: &[GroupView],
    groups: &[PodGroup<SimPod>],
    cluster: &mut Snapshot<'_>,
    cursor: &mut Cursor,
    cx: &Cx<'_>,
) -> ScaleUpOutcome {
    let key = engine::draws::key(&[engine::draws::key_str("expander"), view.turn]);
    let mut pick = |n: usize| cx.pick(Stream::ExpanderTie, key, n as u32) as usize;
    scale_up::scale_up(&context(view, cx), views, groups, cluster, cursor, &mut pick)
}

/// Upstream's words for each pod that was not helped (`NotTriggerScaleUp`); none for the others.
fn explain(
    view: &Attempt<'_>,
    outcome: &ScaleUpOutcome,
    groups: &[PodGroup<SimPod>],
    cluster: &mut Snapshot<'_>,
) -> Vec<(PodId, Option<Arc<str>>)> {
    let helped = |i: usize| {
        let decision = outcome.decision.as_ref();
        decision.and_then(|d| d.pods_per_group.get(i)).copied().unwrap_or(0)
    };
    let mut counts: Vec<BTreeMap<String, u32>> = vec![BTreeMap::new(); groups.len()];
    for (g, result) in outcome.groups.iter().enumerate() {
        match result {
            GroupResult::Skipped(SkipReason::NoPodFits | SkipReason::NothingEstimated)
            | GroupResult::Option(_) => reject(g, groups, cluster, &mut counts),
            GroupResult::Skipped(reason) => {
                for count in &mut counts {
                    *count.entry(reason.name().to_owned()).or_insert(0) += 1;
                }
            }
        }
    }
    let mut out = Vec::new();
    for (i, group) in groups.iter().enumerate() {
        let texts: Vec<String> = counts[i].iter().map(|(text, n)| format!("{n} {text}")).collect();
        let text: Arc<str> = format!("pod didn't trigger scale-up: {}", texts.join(", ")).into();
        for (k, pod) in group.pods.iter().enumerate() {
            let Some(known) = view.known.get(pod.key as usize).copied().flatten() else { continue };
            let reason = (k >= helped(i)).then(|| Arc::clone(&text));
            out.push((known.pod, reason));
        }
    }
    out
}

/// Counts why the template node of `group` refuses the exemplar of each equivalence group.
fn reject(
    group: usize,
    groups: &[PodGroup<SimPod>],
    cluster: &mut Snapshot<'_>,
    counts: &mut [BTreeMap<String, u32>],
) {
    let mark = cluster.checkpoint();
    cluster.add_template_node(group);
    let position = cluster.len() - 1;
    for (candidate, count) in groups.iter().zip(counts) {
        let Some(exemplar) = candidate.pods.first() else { continue };
        if let Err(rejection) = cluster.filter(exemplar.class, position) {
            for reason in &rejection.reasons {
                *count.entry(reason.text(cluster.cache())).or_insert(0) += 1;
            }
        }
    }
    cluster.rollback(mark);
}

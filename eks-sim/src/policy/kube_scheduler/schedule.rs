//! One scheduling decision.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/schedule_one.go`.
//! Differences: nodes are examined strictly in order, one after another.

use super::framework::{Cycle, score};
use super::profile::{Plugin, PluginSet};
use super::reason::{Code, Reason, Rejection, count_text};
use super::{Cache, ClassId, NodeKey, PodKey};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The pod to place.
#[derive(Clone, Copy, Debug)]
pub struct PodToSchedule {
    /// Its key (its own nomination is not held against it).
    pub key: PodKey,
    /// Its class.
    pub class: ClassId,
    /// `status.nominatedNodeName`.
    pub nominated: Option<NodeKey>,
}

/// Where a pod goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The node.
    pub node: NodeKey,
    /// Nodes found feasible.
    pub feasible: u32,
    /// Nodes examined.
    pub examined: u32,
}

/// Why a pod goes nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unschedulable {
    /// Nodes in the cluster.
    pub nodes: u32,
    /// How often each reason was given.
    pub reasons: BTreeMap<Reason, u32>,
    /// Plugins that refused.
    pub rejectors: PluginSet,
    /// The refusal of all nodes, if PreFilter refused.
    pub pre_filter: Option<Rejection>,
    /// The refusal of each examined node, in order.
    pub statuses: Statuses,
}

/// Refusals of nodes: most nodes are refused for a few reasons.
#[derive(Clone, Debug, Default)]
pub struct Statuses {
    kinds: Arc<Vec<Rejection>>,
    nodes: Arc<Vec<(NodeKey, u32)>>,
}

/// A node looks for its kind among so many; further ones may be there twice.
const RECENT_KINDS: usize = 64;

impl Statuses {
    /// Adds a node.
    pub fn push(&mut self, node: NodeKey, rejection: Rejection) {
        let kinds = Arc::make_mut(&mut self.kinds);
        let first = kinds.len().saturating_sub(RECENT_KINDS);
        let known = kinds[first..].iter().rposition(|k| *k == rejection);
        let kind = known.map_or(kinds.len(), |i| first + i);
        if known.is_none() {
            kinds.push(rejection);
        }
        Arc::make_mut(&mut self.nodes).push((node, kind as u32));
    }
    /// Nodes by number of their kind.
    pub(super) fn set(&mut self, kinds: Arc<Vec<Rejection>>, nodes: Vec<(NodeKey, u32)>) {
        (self.kinds, self.nodes) = (kinds, Arc::new(nodes));
    }
    /// Number of nodes whose refusal the removal of pods might change.
    #[must_use]
    pub fn resolvable(&self) -> u32 {
        let helps = |kind: &u32| self.kinds[*kind as usize].code == Code::Unschedulable;
        self.nodes.iter().filter(|(_, kind)| helps(kind)).count() as u32
    }
    /// Nodes with their refusals.
    pub fn iter(&self) -> impl Iterator<Item = (NodeKey, &Rejection)> {
        self.nodes.iter().map(|(node, kind)| (*node, &self.kinds[*kind as usize]))
    }
    /// The refusal of one node.
    #[must_use]
    pub fn get(&self, node: NodeKey) -> Option<&Rejection> {
        self.iter().find(|s| s.0 == node).map(|s| s.1)
    }
    /// Number of nodes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }
    /// Whether no node was refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
    /// Kinds with the number of nodes each.
    fn counts(&self) -> Vec<(&Rejection, u32)> {
        let mut counts = vec![0; self.kinds.len()];
        self.nodes.iter().for_each(|(_, kind)| counts[*kind as usize] += 1);
        self.kinds.iter().zip(counts).filter(|k| k.1 > 0).collect()
    }
}

impl FromIterator<(NodeKey, Rejection)> for Statuses {
    fn from_iter<I: IntoIterator<Item = (NodeKey, Rejection)>>(all: I) -> Self {
        let mut out = Self::default();
        all.into_iter().for_each(|(node, rejection)| out.push(node, rejection));
        out
    }
}

impl PartialEq for Statuses {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}
impl Eq for Statuses {}

impl Unschedulable {
    /// The message of the `FailedScheduling` event; `post_filter` is preemption's part.
    #[must_use]
    pub fn message(&self, cache: &Cache, post_filter: Option<&str>) -> String {
        let mut text = format!("0/{} nodes are available:", self.nodes);
        if let Some(rejection) = &self.pre_filter {
            text.push_str(&format!(" {}.", rejection.message(cache)));
        } else if !self.reasons.is_empty() {
            text.push_str(&format!(" {}.", count_text(&self.reasons, cache)));
        }
        if self.nodes == 0 && self.pre_filter.is_none() {
            return "no nodes available to schedule pods".to_owned();
        }
        if let Some(post) = post_filter.filter(|p| !p.is_empty()) {
            text.push(' ');
            text.push_str(post);
        }
        text
    }
    /// Sums up the nodes' refusals.
    pub(super) fn count(&mut self) {
        for (rejection, nodes) in self.statuses.counts() {
            for reason in &rejection.reasons {
                *self.reasons.entry(reason.clone()).or_default() += nodes;
            }
            self.rejectors.insert(rejection.plugin);
        }
    }
}

/// Decides where `pod` goes. Only the scan position of `cache` changes. `tie(n)` draws one of
/// `n` equally good nodes. Decides as [`schedule_plain`] does, mostly from tables.
///
/// # Errors
/// Why no node can take the pod.
pub fn schedule(
    cache: &mut Cache,
    pod: &PodToSchedule,
    tie: &mut dyn FnMut(u32) -> u32,
) -> Result<Placement, Box<Unschedulable>> {
    if !cache.node_order().is_empty()
        && let Some(decision) = super::fast::place(cache, pod, tie)
    {
        return decision;
    }
    let decision = schedule_plain(cache, pod, tie);
    if let Err(failed) = &decision
        && pod.nominated.is_none()
        && cache.has_no_nominations()
        && (failed.pre_filter.is_some() || failed.statuses.len() == failed.nodes as usize)
    {
        cache.fast.remember(pod.class, failed);
    }
    decision
}

/// The reference: upstream's loop as it is written there. Only the scan position of `cache` changes. `tie(n)` draws one of
/// `n` equally good nodes.
///
/// # Errors
/// Why no node can take the pod.
pub fn schedule_plain(
    cache: &mut Cache,
    pod: &PodToSchedule,
    tie: &mut dyn FnMut(u32) -> u32,
) -> Result<Placement, Box<Unschedulable>> {
    let order = std::sync::Arc::clone(cache.node_order());
    let all = order.len();
    let mut failed = Box::new(Unschedulable { nodes: all as u32, ..Unschedulable::default() });
    if all == 0 {
        return Err(failed);
    }
    let start = cache.next_start;
    let cycle = match Cycle::new(cache, pod.class) {
        Ok(cycle) => cycle,
        Err(rejection) => {
            failed.rejectors.insert(rejection.plugin);
            failed.pre_filter = Some(rejection);
            return Err(failed);
        }
    };
    let mut extra = None;
    if let Some(node) = pod.nominated.filter(|n| order.contains(n)) {
        match cycle.fits_with_nominated(node, Some(pod.key)) {
            Ok(()) => return Ok(Placement { node, feasible: 1, examined: 1 }),
            Err(rejection) => extra = Some((node, rejection)),
        }
    }
    let set = cycle.pre.node_set.as_ref().map(|(set, _)| in_order(&order, set));
    let candidates: &[NodeKey] = set.as_deref().unwrap_or(&order);
    let (feasible, examined) = find(&cycle, candidates, start, pod, &mut failed);
    let mut processed = examined;
    if let Some((node, rejection)) = extra
        && failed.statuses.get(node).is_none()
    {
        processed += 1;
        failed.statuses.push(node, rejection);
    }
    let decision = match feasible.as_slice() {
        [] => None,
        [one] => Some(*one),
        many => Some(best(&cycle, many, tie)),
    };
    if decision.is_none() {
        failed.count();
    }
    if let (None, Some((set, plugin))) = (decision, &cycle.pre.node_set) {
        outside(&mut failed, all - set.len().min(all), *plugin);
    }
    cache.next_start = (start + processed) % all;
    let counts = (feasible.len() as u32, examined as u32);
    decision.map(|node| Placement { node, feasible: counts.0, examined: counts.1 }).ok_or(failed)
}

fn in_order(order: &[NodeKey], set: &[NodeKey]) -> Vec<NodeKey> {
    order.iter().copied().filter(|n| set.contains(n)).collect()
}

fn outside(failed: &mut Unschedulable, count: usize, plugin: Plugin) {
    if count > 0 {
        *failed.reasons.entry(Reason::NotInNodeSet(plugin)).or_default() += count as u32;
        failed.rejectors.insert(plugin);
    }
}

/// Filters candidates from `start` on until enough are feasible; gives them and how many were
/// examined.
fn find(
    cycle: &Cycle<'_>,
    candidates: &[NodeKey],
    start: usize,
    pod: &PodToSchedule,
    failed: &mut Unschedulable,
) -> (Vec<NodeKey>, usize) {
    let count = candidates.len();
    let profile = &cycle.cx.args.profile;
    let scores = !profile.weights.is_empty() || !cycle.cx.args.custom.is_empty();
    let wanted = if scores {
        num_feasible_nodes_to_find(profile.percentage_of_nodes_to_score, count as i64) as usize
    } else {
        1
    };
    let mut feasible = Vec::with_capacity(wanted.min(count));
    let mut examined = 0;
    while examined < count && feasible.len() < wanted {
        let node = candidates[(start + examined) % count];
        match cycle.fits_with_nominated(node, Some(pod.key)) {
            Ok(()) => feasible.push(node),
            Err(rejection) => failed.statuses.push(node, rejection),
        }
        examined += 1;
    }
    (feasible, examined)
}

fn best(cycle: &Cycle<'_>, nodes: &[NodeKey], tie: &mut dyn FnMut(u32) -> u32) -> NodeKey {
    let totals = totals(cycle, nodes);
    let top = totals.iter().copied().max().unwrap_or(0);
    let ties: Vec<NodeKey> =
        nodes.iter().zip(&totals).filter(|(_, t)| **t == top).map(|(n, _)| *n).collect();
    let pick = if ties.len() > 1 { tie(ties.len() as u32) as usize } else { 0 };
    ties.get(pick).copied().unwrap_or(nodes[0])
}

/// Weighted totals of feasible nodes.
pub(super) fn totals(cycle: &Cycle<'_>, nodes: &[NodeKey]) -> Vec<i64> {
    let mut totals = vec![0i64; nodes.len()];
    for (_, scores) in score_all(cycle, nodes) {
        for (total, s) in totals.iter_mut().zip(scores) {
            *total = total.saturating_add(s);
        }
    }
    totals
}

/// Weighted normalised scores by plugin; plugins that skip are left out.
#[must_use]
pub fn score_all(cycle: &Cycle<'_>, nodes: &[NodeKey]) -> Vec<(Plugin, Vec<i64>)> {
    let cx = &cycle.cx;
    let mut out = Vec::new();
    for &(plugin, weight) in &cx.args.profile.weights {
        if let Some(mut scores) = score(cx, plugin, nodes) {
            scores.iter_mut().for_each(|s| *s = s.saturating_mul(weight));
            out.push((plugin, scores));
        }
    }
    if !cx.args.custom.is_empty() {
        let parts = nodes.iter().filter_map(|&n| super::framework::node_parts(cx.cache, n));
        let scores = cx.args.custom.scores(cx, &parts.collect::<Vec<_>>());
        out.extend(scores.into_iter().map(|s| (Plugin::Custom, s)));
    }
    out
}

/// How many feasible nodes are searched for among `nodes` candidates.
#[must_use]
pub fn num_feasible_nodes_to_find(percentage: i64, nodes: i64) -> i64 {
    const MIN_FEASIBLE: i64 = 100;
    const MIN_PERCENTAGE: i64 = 5;
    if nodes < MIN_FEASIBLE {
        return nodes;
    }
    let adaptive = (50 - nodes / 125).max(MIN_PERCENTAGE);
    let percentage = if percentage == 0 { adaptive } else { percentage };
    (nodes.saturating_mul(percentage) / 100).max(MIN_FEASIBLE)
}

//! One decision from the tables.

use super::super::class::{SpreadConstraint, WhenUnsatisfiable};
use super::super::framework::Cx;
use super::super::plugins::{
    image_locality, inter_pod_affinity_score, node_affinity, node_name,
    node_resources_balanced_allocation, node_resources_fit, node_unschedulable,
    pod_topology_spread, taint_toleration,
};
use super::super::profile::Plugin;
use super::super::schedule::{Placement, PodToSchedule, Unschedulable};
use super::super::{Cache, ClassId, NodeInfo, NodeKey, NodeStatic, num_feasible_nodes_to_find};
use super::affinity::Rules;
use super::groups::{Counted, Groups};
use super::{
    Fast, NO_FIT, Plan, STATE_FAILS, STATE_PASSES, STATE_UNKNOWN, Spread, StaticRow, UNKNOWN,
    Weights,
};
use std::sync::Arc;

/// Nodes filtered at a time.
const CHUNK: usize = 64;

/// Buffers that keep their memory from one decision to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    /// Positions of feasible nodes.
    feasible: Vec<u32>,
    totals: Vec<i32>,
    pub(super) spread: super::spread::Scratch,
}

/// A hard constraint ready to be asked.
struct Hard {
    counts: Vec<i64>,
    topology: u32,
    /// Largest count at which the pod may still come.
    limit: i64,
}

/// Decides where the pod goes, if the tables cover it; `None` sends it the plain way (as does a
/// failure, whose reasons only the plain path tells).
pub(in super::super) fn place(
    cache: &mut Cache,
    pod: &PodToSchedule,
    tie: &mut dyn FnMut(u32) -> u32,
) -> Option<Result<Placement, Box<Unschedulable>>> {
    if pod.nominated.is_some() || !cache.has_no_nominations() {
        return None;
    }
    let mut fast = std::mem::take(&mut cache.fast);
    let out = fast.place(cache, pod.class, tie);
    cache.fast = fast;
    if let Some(Ok((_, next))) = &out {
        cache.next_start = *next;
    }
    out.map(|r| r.map(|placed| placed.0))
}

impl Fast {
    fn place(
        &mut self,
        cache: &Cache,
        id: ClassId,
        tie: &mut dyn FnMut(u32) -> u32,
    ) -> Option<Result<(Placement, usize), Box<Unschedulable>>> {
        let class = cache.class_info(id);
        let cx = Cx { cache, id, class, args: cache.profile_of(class) };
        if let Some(failure) = self.failure(id) {
            return Some(Err(Box::new((**failure).clone())));
        }
        let mut plan = self.plan(&cx)?;
        if cx.args.has(Plugin::InterPodAffinity) {
            plan.affinity.learn(&cx, &mut self.groups);
        }
        let placed = self.run(&cx, &plan, tie);
        self.plans[id.index()] = Some(plan);
        placed.map(Ok)
    }
    /// Takes the plan of a class out of the table, made anew if it is out of date.
    fn plan(&mut self, cx: &Cx<'_>) -> Option<Plan> {
        let i = cx.id.index();
        if self.plans.len() <= i {
            self.plans.resize(i + 1, None);
        }
        match self.plans[i].take() {
            Some(plan) if plan.version == self.plan_version => return Some(plan),
            _ => {}
        }
        if self.plain.get(&cx.id) == Some(&self.plan_version) {
            return None;
        }
        let plan = if is_covered(cx) { self.new_plan(cx) } else { None };
        if plan.is_none() {
            self.plain.insert(cx.id, self.plan_version);
        }
        plan
    }
    fn new_plan(&mut self, cx: &Cx<'_>) -> Option<Plan> {
        let class = cx.class;
        self.groups.know(cx.id, class);
        let shape = (class.profile, class.request.clone(), class.score_request.clone());
        let shape = self.shape(shape);
        let wishes =
            (class.profile, class.node_name, class.nodes.clone(), class.tolerations.clone());
        let fixed = self.fixed(wishes);
        let (mut soft, mut hard) = (Vec::new(), Vec::new());
        let mut weights = score_weights(cx);
        if cx.args.has(Plugin::PodTopologySpread) {
            let all = pod_topology_spread::constraints(cx, WhenUnsatisfiable::DoNotSchedule);
            hard = self.spreads(cx, all.ok()?);
        }
        if weights.spread > 0 {
            let all = pod_topology_spread::constraints(cx, WhenUnsatisfiable::ScheduleAnyway);
            soft = self.spreads(cx, all.ok()?);
        }
        if soft.is_empty() {
            weights.spread = 0;
        }
        let mut affinity = super::affinity::Plan::default();
        if cx.args.has(Plugin::InterPodAffinity) {
            affinity = super::affinity::Plan::new(cx, &mut self.groups);
        }
        let own = class.spread.as_ref().is_ok_and(|s| !s.is_empty());
        let require_all = own || !cx.args.system_defaults;
        let version = self.plan_version;
        Some(Plan { version, shape, fixed, soft, hard, affinity, require_all, weights })
    }
    fn spreads(&mut self, cx: &Cx<'_>, all: Vec<SpreadConstraint>) -> Vec<Spread> {
        let hostname = cx.cache.symbols().lookup("kubernetes.io/hostname");
        let mut out = Vec::new();
        for constraint in all {
            let topology = self.groups.topology(constraint.key, cx.cache);
            let counted = !constraint.selector.is_everything();
            let key = Counted::Selected(cx.class.namespace, constraint.selector.clone());
            let group = counted.then(|| self.groups.group(key, cx.cache));
            let is_hostname = Some(constraint.key) == hostname;
            let hard = constraint.when == WhenUnsatisfiable::DoNotSchedule;
            if let Some(g) = group.filter(|_| hard || !is_hostname) {
                self.groups.want_dense(g, topology);
            }
            out.push(Spread {
                selects_itself: constraint.selector.matches(&cx.class.labels),
                constraint,
                group,
                topology,
                is_hostname,
            });
        }
        out
    }
    fn run(
        &mut self,
        cx: &Cx<'_>,
        plan: &Plan,
        tie: &mut dyn FnMut(u32) -> u32,
    ) -> Option<(Placement, usize)> {
        let hard = (self.hard(cx, plan)?, plan.affinity.rules(&self.groups));
        let count = self.order.len();
        let percentage = cx.args.profile.percentage_of_nodes_to_score;
        let scores = !cx.args.profile.weights.is_empty();
        let wanted = num_feasible_nodes_to_find(percentage, count as i64) as usize;
        let wanted = if scores { wanted } else { 1 };
        // Nodes may have gone since the position was set.
        let start = cx.cache.next_start % count.max(1);
        self.catch_up(plan.shape, plan.fixed);
        let mut feasible = std::mem::take(&mut self.scratch.feasible);
        feasible.clear();
        let first = self.scan(cx, plan, &hard, start..count, wanted, &mut feasible);
        let second = self.scan(cx, plan, &hard, 0..start, wanted, &mut feasible);
        let examined = first + second;
        let order = Arc::clone(&self.order);
        let node = match feasible.as_slice() {
            [] => None,
            [one] => Some(*one),
            _ => self.best(cx, plan, &feasible, tie),
        };
        let found = feasible.len() as u32;
        self.scratch.feasible = feasible;
        let node = *order.get(node? as usize)?;
        let placement = Placement { node, feasible: found, examined: examined as u32 };
        Some((placement, (start + examined) % count))
    }
    /// Filters a range of positions; gives how many were examined.
    fn scan(
        &mut self,
        cx: &Cx<'_>,
        plan: &Plan,
        (hard, rules): &(Vec<Hard>, Rules),
        range: std::ops::Range<usize>,
        wanted: usize,
        feasible: &mut Vec<u32>,
    ) -> usize {
        let simple = hard.is_empty() && rules.is_empty();
        let mut examined = 0;
        for base in range.clone().step_by(CHUNK) {
            let chunk = base..range.end.min(base + CHUNK);
            self.fill(cx, plan, chunk.clone());
            let states = &self.statics[plan.fixed as usize].states[chunk.clone()];
            let cells = &self.shapes[plan.shape as usize].cells[chunk.clone()];
            if simple && feasible.len() + CHUNK <= wanted {
                let (found, count) = passing(states, cells, base as u32);
                feasible.extend_from_slice(&found[..count]);
                examined += chunk.len();
                continue;
            }
            let nodes = &self.order[chunk];
            for (i, ((node, state), cell)) in nodes.iter().zip(states).zip(cells).enumerate() {
                if feasible.len() >= wanted {
                    return examined;
                }
                examined += 1;
                if *state == STATE_PASSES
                    && *cell != NO_FIT
                    && hard.iter().all(|h| h.allows(&self.groups, *node))
                    && rules.allow(&self.groups, *node)
                {
                    feasible.push((base + i) as u32);
                }
            }
        }
        examined
    }
    /// Computes the unknown cells of a chunk.
    fn fill(&mut self, cx: &Cx<'_>, plan: &Plan, chunk: std::ops::Range<usize>) {
        let row = &mut self.statics[plan.fixed as usize];
        if row.states[chunk.clone()].iter().fold(false, |any, s| any | (*s == STATE_UNKNOWN)) {
            for i in chunk.clone().filter(|i| row.states[*i] == STATE_UNKNOWN).collect::<Vec<_>>() {
                let cell = static_cell(cx, self.order[i]);
                row.states[i] = if cell.passes { STATE_PASSES } else { STATE_FAILS };
                (row.taints[i], row.affinities[i]) = (cell.taint, cell.affinity);
                row.any_taint |= cell.taint > 0;
            }
        }
        let row = &mut self.shapes[plan.shape as usize];
        let nodes = &self.order[chunk.clone()];
        let states = &self.statics[plan.fixed as usize].states[chunk.clone()];
        let cells = &mut row.cells[chunk];
        if cells.iter().fold(false, |any, c| any | (*c == UNKNOWN)) {
            for ((cell, node), state) in cells.iter_mut().zip(nodes).zip(states) {
                if *cell == UNKNOWN && *state == STATE_PASSES {
                    *cell = shape_cell(cx, *node);
                }
            }
        }
    }
    /// Counts for the hard constraints; `None` if the tables do not cover them.
    fn hard(&self, cx: &Cx<'_>, plan: &Plan) -> Option<Vec<Hard>> {
        let mut out = Vec::with_capacity(plan.hard.len());
        for s in &plan.hard {
            let t = self.groups.topology_info(s.topology);
            if t.labelled != self.order.len() || !includes_all(cx, &s.constraint) {
                return None;
            }
            let mut counts = Vec::new();
            match s.group {
                Some(g) => self.groups.by_domain(g, s.topology, None, &mut counts),
                None => counts.resize(t.nodes.len(), 0),
            }
            let domains = counts.iter().zip(&t.nodes).filter(|d| *d.1 > 0);
            let (mut size, mut least) = (0i64, i64::from(i32::MAX));
            for (count, _) in domains {
                size += 1;
                least = least.min(*count);
            }
            if size < i64::from(s.constraint.min_domains) {
                least = 0;
            }
            let limit = i64::from(s.constraint.max_skew) + least - i64::from(s.selects_itself);
            out.push(Hard { counts, topology: s.topology, limit });
        }
        Some(out)
    }
    /// The position of the best feasible node.
    fn best(
        &mut self,
        cx: &Cx<'_>,
        plan: &Plan,
        feasible: &[u32],
        tie: &mut dyn FnMut(u32) -> u32,
    ) -> Option<u32> {
        let mut totals = std::mem::take(&mut self.scratch.totals);
        let shape = &self.shapes[plan.shape as usize].cells;
        totals.clear();
        let (first, last) = (*feasible.first()? as usize, *feasible.last()? as usize);
        if first < last && last - first + 1 == feasible.len() {
            totals.extend(shape[first..=last].iter().map(|c| i32::from(*c)));
        } else {
            totals.extend(feasible.iter().map(|p| i32::from(shape[*p as usize])));
        }
        add_static(plan.weights, &self.statics[plan.fixed as usize], feasible, &mut totals);
        if plan.weights.image > 0 && cx.class.images.iter().any(|i| cx.cache.images.contains_key(i))
        {
            let all = cx.cache.node_count();
            for (p, total) in feasible.iter().zip(&mut totals) {
                if let Some((_, node)) = parts(cx, self.order[*p as usize]) {
                    let score = image_locality::raw_score(cx, node, all);
                    *total += narrow(plan.weights.image * score);
                }
            }
        }
        if plan.weights.spread > 0 {
            self.add_spread(cx, plan, feasible, &mut totals);
        }
        if plan.weights.pod_affinity > 0
            && let Some(raw) = plan.affinity.raw(&self.groups, &self.order, feasible)
        {
            let scores = inter_pod_affinity_score::normalized(&raw);
            for (score, total) in scores.iter().zip(&mut totals) {
                *total += narrow(plan.weights.pod_affinity * score);
            }
        }
        let top = totals.iter().copied().max()?;
        let ties = totals.iter().filter(|t| **t == top).count();
        let pick = if ties > 1 { tie(ties as u32) as usize } else { 0 };
        let mut best = feasible.iter().zip(&totals).filter(|(_, t)| **t == top).map(|(p, _)| *p);
        let chosen = best.nth(pick).or_else(|| feasible.first().copied());
        self.scratch.totals = totals;
        chosen
    }
}

/// The positions of a chunk that pass both rows, without a branch a node.
fn passing(states: &[u8], cells: &[u16], base: u32) -> ([u32; CHUNK], usize) {
    let mut found = [0; CHUNK];
    let mut count = 0;
    for ((state, cell), position) in states.iter().zip(cells).zip(base..) {
        found[count % CHUNK] = position;
        count += usize::from((*state == STATE_PASSES) & (*cell < NO_FIT));
    }
    (found, count)
}

impl Hard {
    fn allows(&self, groups: &Groups, node: NodeKey) -> bool {
        let domain = groups.topology_info(self.topology).domain(node);
        self.counts.get(domain as usize).is_some_and(|c| *c <= self.limit)
    }
}

/// Scores and weights are small: a total stays far below 2^31.
pub(super) fn narrow(x: i64) -> i32 {
    i32::try_from(x).unwrap_or(i32::MAX)
}

fn add_static(weights: Weights, row: &StaticRow, feasible: &[u32], totals: &mut [i32]) {
    if weights.taint > 0 && row.any_taint {
        let raw = |p: &u32| i64::from(row.taints[*p as usize]);
        let max = feasible.iter().map(raw).max().unwrap_or(0);
        for (p, total) in feasible.iter().zip(&mut *totals).filter(|_| max > 0) {
            *total += narrow(weights.taint * (100 - 100 * raw(p) / max));
        }
    }
    if weights.affinity > 0 {
        let raw = |p: &u32| i64::from(row.affinities[*p as usize]);
        let max = feasible.iter().map(raw).max().unwrap_or(0);
        for (p, total) in feasible.iter().zip(totals).filter(|_| max > 0) {
            *total += narrow(weights.affinity * (100 * raw(p) / max));
        }
    }
}

/// What the Node object decides for a class.
struct StaticCell {
    passes: bool,
    taint: u8,
    affinity: i32,
}

pub(super) fn parts<'a>(cx: &Cx<'a>, node: NodeKey) -> Option<(&'a NodeInfo, &'a NodeStatic)> {
    super::super::framework::node_parts(cx.cache, node)
}

fn static_cell(cx: &Cx<'_>, node: NodeKey) -> StaticCell {
    let Some((_, fixed)) = parts(cx, node) else {
        return StaticCell { passes: false, taint: 0, affinity: 0 };
    };
    let has = |p| cx.args.has(p);
    let refused = (has(Plugin::NodeUnschedulable)
        && node_unschedulable::filter(cx, fixed).is_some())
        || (has(Plugin::NodeName) && node_name::filter(cx, fixed).is_some())
        || (has(Plugin::TaintToleration)
            && taint_toleration::untolerated(cx.class, fixed).is_some())
        || (has(Plugin::NodeAffinity) && node_affinity::filter(cx, fixed).is_some());
    let taint = taint_toleration::raw_score(cx.class, fixed);
    StaticCell {
        passes: !refused && taint <= i64::from(u8::MAX),
        taint: u8::try_from(taint).unwrap_or(u8::MAX),
        affinity: i32::try_from(node_affinity::raw_score(cx, fixed)).unwrap_or(i32::MAX),
    }
}

fn shape_cell(cx: &Cx<'_>, node: NodeKey) -> u16 {
    let Some((info, fixed)) = parts(cx, node) else { return NO_FIT };
    if cx.args.has(Plugin::NodeResourcesFit) && !node_resources_fit::passes(cx, info, fixed) {
        return NO_FIT;
    }
    let mut score = 0;
    let fit = weight_of(cx, Plugin::NodeResourcesFit);
    if fit > 0 {
        score += fit * node_resources_fit::raw_score(cx, info, fixed);
    }
    let balanced = weight_of(cx, Plugin::NodeResourcesBalancedAllocation);
    if balanced > 0 && !node_resources_balanced_allocation::skips_score(cx) {
        score += balanced * node_resources_balanced_allocation::raw_score(cx, info, fixed);
    }
    u16::try_from(score).unwrap_or(0).min(NO_FIT - 1)
}

fn weight_of(cx: &Cx<'_>, plugin: Plugin) -> i64 {
    let weights = &cx.args.profile.weights;
    weights.iter().find(|w| w.0 == plugin).map_or(0, |w| w.1)
}

fn score_weights(cx: &Cx<'_>) -> Weights {
    Weights {
        taint: weight_of(cx, Plugin::TaintToleration),
        affinity: if node_affinity::skips_score(cx) {
            0
        } else {
            weight_of(cx, Plugin::NodeAffinity)
        },
        image: weight_of(cx, Plugin::ImageLocality),
        spread: weight_of(cx, Plugin::PodTopologySpread),
        pod_affinity: weight_of(cx, Plugin::InterPodAffinity),
    }
}

/// Whether the constraint's policies leave no node out for this class.
pub(super) fn includes_all(cx: &Cx<'_>, c: &SpreadConstraint) -> bool {
    (!c.honor_affinity || cx.class.nodes.requires_nothing()) && !c.honor_taints
}

/// Whether the tables cover the class.
fn is_covered(cx: &Cx<'_>) -> bool {
    let class = cx.class;
    let terms = !cx.args.has(Plugin::InterPodAffinity) || class.terms.is_ok();
    let mut node_set = None;
    let named = cx.args.has(Plugin::NodeAffinity)
        && (node_affinity::pre_filter(cx, &mut node_set).is_err() || node_set.is_some());
    let weights = &cx.args.profile.weights;
    let small = weights.iter().all(|w| (0..=300).contains(&w.1));
    let preferred = cx.args.added_preferred.iter().chain(&class.nodes.preferred);
    terms
        && !named
        && small
        && cx.args.custom.is_empty()
        && class.ports.is_empty()
        && class.claims.is_empty()
        && class.disks.is_empty()
        && class.spread.is_ok()
        && preferred.map(|p| p.0).all(|w| (1..=100).contains(&w))
        && plain_scores(cx)
}

/// Whether resource scores stay within 0..=100 (weights given may be anything).
fn plain_scores(cx: &Cx<'_>) -> bool {
    cx.args.fit_resources.iter().all(|(_, w)| (0..=1_000_000).contains(w))
        && match &cx.args.profile.strategy {
            super::super::Strategy::RequestedToCapacityRatio(shape) => {
                shape.iter().all(|p| (0..=100).contains(&p.1))
            }
            _ => true,
        }
}

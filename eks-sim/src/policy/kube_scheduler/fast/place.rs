//! One decision from the tables.

use super::super::class::{SpreadConstraint, WhenUnsatisfiable};
use super::super::framework::Cx;
use super::super::plugins::pod_topology_spread_score::{domain_weight, score_for_count};
use super::super::plugins::{
    image_locality, node_affinity, node_name, node_resources_balanced_allocation,
    node_resources_fit, node_unschedulable, pod_topology_spread, taint_toleration,
};
use super::super::profile::Plugin;
use super::super::schedule::{Placement, PodToSchedule, Unschedulable};
use super::super::{Cache, ClassId, NodeInfo, NodeKey, NodeStatic, num_feasible_nodes_to_find};
use super::groups::{Groups, NO_DOMAIN};
use super::{Fast, NO_FIT, Plan, Spread, StaticCell, UNKNOWN, Weights};
use std::sync::Arc;

/// Buffers that keep their memory from one decision to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    /// Positions of feasible nodes.
    feasible: Vec<u32>,
    totals: Vec<i64>,
    raw: Vec<i64>,
    /// Live pods by position, all 0 between decisions.
    hosts: Vec<u32>,
    counts: Vec<i64>,
    sums: Vec<f64>,
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
        if self.affine_pods > 0 && cx.args.has(Plugin::InterPodAffinity) {
            return None;
        }
        if let Some(failure) = self.failure(id) {
            return Some(Err(Box::new((**failure).clone())));
        }
        let plan = self.plan(&cx)?;
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
        let own = class.spread.as_ref().is_ok_and(|s| !s.is_empty());
        let require_all = own || !cx.args.system_defaults;
        Some(Plan { version: self.plan_version, shape, fixed, soft, hard, require_all, weights })
    }
    fn spreads(&mut self, cx: &Cx<'_>, all: Vec<SpreadConstraint>) -> Vec<Spread> {
        let hostname = cx.cache.symbols().lookup("kubernetes.io/hostname");
        let mut out = Vec::new();
        for constraint in all {
            let topology = self.groups.topology(constraint.key, cx.cache);
            let counted = !constraint.selector.is_everything();
            let group = counted
                .then(|| self.groups.group(cx.class.namespace, &constraint.selector, cx.cache));
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
        let hard = self.hard(cx, plan)?;
        let count = self.order.len();
        let percentage = cx.args.profile.percentage_of_nodes_to_score;
        let scores = !cx.args.profile.weights.is_empty();
        let wanted = num_feasible_nodes_to_find(percentage, count as i64) as usize;
        let wanted = if scores { wanted } else { 1 };
        let start = cx.cache.next_start;
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
        hard: &[Hard],
        range: std::ops::Range<usize>,
        wanted: usize,
        feasible: &mut Vec<u32>,
    ) -> usize {
        let Some(order) = self.order.get(range.clone()) else { return 0 };
        let fixed = &mut self.statics[plan.fixed as usize].cells[range.clone()];
        let shape = &mut self.shapes[plan.shape as usize].cells[range.clone()];
        let parts = order.iter().zip(fixed).zip(shape).zip(range.start as u32..);
        let mut examined = 0;
        for (((node, fixed), shape), position) in parts {
            if feasible.len() >= wanted {
                break;
            }
            examined += 1;
            if !fixed.known {
                *fixed = static_cell(cx, *node);
            }
            if !fixed.passes {
                continue;
            }
            if *shape == UNKNOWN {
                *shape = shape_cell(cx, *node);
            }
            if *shape != NO_FIT && hard.iter().all(|h| h.allows(&self.groups, *node)) {
                feasible.push(position);
            }
        }
        examined
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
        totals.extend(feasible.iter().map(|p| i64::from(shape[*p as usize])));
        let fixed = &self.statics[plan.fixed as usize].cells;
        add_static(plan.weights, fixed, feasible, &mut totals);
        if plan.weights.image > 0 && cx.class.images.iter().any(|i| cx.cache.images.contains_key(i))
        {
            let all = cx.cache.node_count();
            for (p, total) in feasible.iter().zip(&mut totals) {
                if let Some((_, node)) = parts(cx, self.order[*p as usize]) {
                    *total += plan.weights.image * image_locality::raw_score(cx, node, all);
                }
            }
        }
        if plan.weights.spread > 0 {
            self.add_spread(cx, plan, feasible, &mut totals);
        }
        let top = totals.iter().copied().max()?;
        let ties = totals.iter().filter(|t| **t == top).count();
        let pick = if ties > 1 { tie(ties as u32) as usize } else { 0 };
        let mut best = feasible.iter().zip(&totals).filter(|(_, t)| **t == top).map(|(p, _)| *p);
        let chosen = best.nth(pick).or_else(|| feasible.first().copied());
        self.scratch.totals = totals;
        chosen
    }
    fn add_spread(&mut self, cx: &Cx<'_>, plan: &Plan, feasible: &[u32], totals: &mut [i64]) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let order = &*self.order;
        let topologies: Vec<_> =
            plan.soft.iter().map(|s| self.groups.topology_info(s.topology)).collect();
        let complete = !plan.require_all || topologies.iter().all(|t| t.labelled == order.len());
        let has_all = |node: NodeKey| topologies.iter().all(|t| t.domain(node) != NO_DOMAIN);
        let kept = |p: &u32| complete || has_all(order[*p as usize]);
        scratch.sums.clear();
        scratch.sums.resize(feasible.len(), 0.0);
        let kept_nodes =
            if complete { feasible.len() } else { feasible.iter().filter(|p| kept(p)).count() };
        for (s, t) in plan.soft.iter().zip(&topologies) {
            if s.is_hostname {
                let weight = domain_weight(kept_nodes);
                self.add_hosts(s, weight, feasible, &mut scratch);
                continue;
            }
            let trivial = complete && includes_all(cx, &s.constraint);
            let included = |node: NodeKey| {
                (complete || has_all(node))
                    && parts(cx, node).is_some_and(|(_, n)| {
                        pod_topology_spread::is_included(cx, &s.constraint, n)
                    })
            };
            let filter: Option<&dyn Fn(NodeKey) -> bool> =
                if trivial { None } else { Some(&included) };
            match s.group {
                Some(g) => {
                    self.groups.by_domain(g, s.topology, filter, &mut scratch.counts);
                }
                None => {
                    scratch.counts.clear();
                    scratch.counts.resize(t.nodes.len(), 0);
                }
            }
            let mut seen = vec![false; t.nodes.len() + 1];
            let none = t.nodes.len();
            let at = |p: &u32| t.domain(order[*p as usize]).min(none as u32) as usize;
            for p in feasible.iter().filter(|p| kept(p)) {
                seen[at(p)] = true;
            }
            let weight = domain_weight(seen.iter().filter(|s| **s).count());
            let skew = s.constraint.max_skew;
            let values: Vec<f64> =
                scratch.counts.iter().map(|c| score_for_count(*c, skew, weight)).collect();
            for (p, sum) in feasible.iter().zip(&mut scratch.sums) {
                if let Some(value) = values.get(at(p)) {
                    *sum += value;
                }
            }
        }
        scratch.raw.clear();
        scratch.raw.extend(scratch.sums.iter().map(|s| rounded(*s)));
        let weigh = plan.weights.spread;
        if complete {
            normalise(&scratch.raw, weigh, |_| true, totals);
        } else {
            normalise(&scratch.raw, weigh, |i| kept(&feasible[i]), totals);
        }
        self.scratch = scratch;
    }
    fn add_hosts(&self, s: &Spread, weight: f64, feasible: &[u32], scratch: &mut Scratch) {
        let t = self.groups.topology_info(s.topology);
        let all_labelled = t.labelled == self.order.len();
        let has = |p: &u32| all_labelled || t.domain(self.order[*p as usize]) != NO_DOMAIN;
        let skew = s.constraint.max_skew;
        let empty = score_for_count(0, skew, weight);
        let entries = s.group.map(|g| self.groups.entries(g)).filter(|e| !e.is_empty());
        let Some(entries) = entries else {
            for (p, sum) in feasible.iter().zip(&mut scratch.sums) {
                *sum += if has(p) { empty } else { 0.0 };
            }
            return;
        };
        scratch.hosts.resize(self.order.len(), 0);
        let position = |node: &NodeKey| self.positions.get(*node as usize).copied();
        for (node, count) in entries {
            if let Some(h) = position(node).and_then(|p| scratch.hosts.get_mut(p as usize)) {
                *h = *count;
            }
        }
        for (p, sum) in feasible.iter().zip(&mut scratch.sums) {
            let pods = scratch.hosts[*p as usize];
            let value = match pods {
                0 => empty,
                _ => score_for_count(i64::from(pods), skew, weight),
            };
            *sum += if has(p) { value } else { 0.0 };
        }
        for node in entries.keys() {
            if let Some(h) = position(node).and_then(|p| scratch.hosts.get_mut(p as usize)) {
                *h = 0;
            }
        }
    }
}

impl Hard {
    fn allows(&self, groups: &Groups, node: NodeKey) -> bool {
        let domain = groups.topology_info(self.topology).domain(node);
        self.counts.get(domain as usize).is_some_and(|c| *c <= self.limit)
    }
}

/// Upstream's rounding (half away from zero), without a call for the usual non-negative sums.
fn rounded(x: f64) -> i64 {
    if !(0.0..1e15).contains(&x) {
        return f64::round(x) as i64;
    }
    let whole = x as i64;
    whole + i64::from(x - whole as f64 >= 0.5)
}

fn normalise(raw: &[i64], weight: i64, kept: impl Fn(usize) -> bool, totals: &mut [i64]) {
    let (mut max, mut min, mut any) = (i64::MIN, i64::MAX, false);
    for (i, r) in raw.iter().enumerate() {
        if kept(i) {
            (max, min, any) = (max.max(*r), min.min(*r), true);
        }
    }
    if !any {
        return;
    }
    let (mut last, mut value) = (i64::MIN, 0);
    for (i, (r, total)) in raw.iter().zip(totals).enumerate() {
        if !kept(i) {
            continue;
        }
        if *r != last {
            value = if max == 0 { 100 } else { 100 * (max + min - r) / max };
            last = *r;
        }
        *total += weight * value;
    }
}

fn add_static(weights: Weights, cells: &[StaticCell], feasible: &[u32], totals: &mut [i64]) {
    let cell = |p: &u32| &cells[*p as usize];
    let taint = feasible.iter().map(|p| i64::from(cell(p).taint)).max().unwrap_or(0);
    let affinity = feasible.iter().map(|p| i64::from(cell(p).affinity)).max().unwrap_or(0);
    if weights.taint > 0 && taint > 0 {
        for (p, total) in feasible.iter().zip(&mut *totals) {
            *total += weights.taint * (100 - 100 * i64::from(cell(p).taint) / taint);
        }
    }
    if weights.affinity > 0 && affinity > 0 {
        for (p, total) in feasible.iter().zip(totals) {
            *total += weights.affinity * (100 * i64::from(cell(p).affinity) / affinity);
        }
    }
}

fn parts<'a>(cx: &Cx<'a>, node: NodeKey) -> Option<(&'a NodeInfo, &'a NodeStatic)> {
    super::super::framework::node_parts(cx.cache, node)
}

fn static_cell(cx: &Cx<'_>, node: NodeKey) -> StaticCell {
    let Some((_, fixed)) = parts(cx, node) else { return StaticCell::default() };
    let has = |p| cx.args.has(p);
    let refused = (has(Plugin::NodeUnschedulable)
        && node_unschedulable::filter(cx, fixed).is_some())
        || (has(Plugin::NodeName) && node_name::filter(cx, fixed).is_some())
        || (has(Plugin::TaintToleration)
            && taint_toleration::untolerated(cx.class, fixed).is_some())
        || (has(Plugin::NodeAffinity) && node_affinity::filter(cx, fixed).is_some());
    let taint = taint_toleration::raw_score(cx.class, fixed);
    StaticCell {
        known: true,
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
    }
}

/// Whether the constraint's policies leave no node out for this class.
fn includes_all(cx: &Cx<'_>, c: &SpreadConstraint) -> bool {
    (!c.honor_affinity || cx.class.nodes.requires_nothing()) && !c.honor_taints
}

/// Whether the tables cover the class.
fn is_covered(cx: &Cx<'_>) -> bool {
    let class = cx.class;
    let terms = !cx.args.has(Plugin::InterPodAffinity)
        || class.terms.as_ref().is_ok_and(super::super::class::PodTerms::is_empty);
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

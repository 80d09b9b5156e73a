//! One decision from the tables.

use super::super::class::{NodeWishes, SpreadConstraint, WhenUnsatisfiable};
use super::super::framework::{Cx, filter_node};
use super::super::plugins::{node_affinity, pod_topology_spread};
use super::super::profile::Plugin;
use super::super::schedule::{Placement, PodToSchedule, Unschedulable};
use super::super::{Cache, Strategy, num_feasible_nodes_to_find};
use super::cells::{Quick, weight_of};
use super::groups::Counted;
use super::window::{Gate, Hard, Nominated, nominated};
use super::{Fast, Plan, Shape, Spread, StaticKey, Weights};

/// Buffers that keep their memory from one decision to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    pub(super) window: super::window::Window,
    pub(super) totals: Vec<i32>,
    pub(super) spread: super::spread::Scratch,
}

type Decision = Result<Placement, Box<Unschedulable>>;

/// Decides where the pod goes, if the tables cover it; `None` sends it the plain way (as do most
/// failures, whose reasons only the plain path tells).
pub(in super::super) fn place(
    cache: &mut Cache,
    pod: &PodToSchedule,
    tie: &mut dyn FnMut(u32) -> u32,
) -> Option<Decision> {
    let mut fast = std::mem::take(&mut cache.fast);
    let out = fast.place(cache, pod, tie);
    cache.fast = fast;
    let (decision, next) = out?;
    if let Some(next) = next {
        cache.next_start = next;
    }
    Some(decision)
}

impl Fast {
    /// The decision, and the next scan position if it moves.
    fn place(
        &mut self,
        cache: &Cache,
        pod: &PodToSchedule,
        tie: &mut dyn FnMut(u32) -> u32,
    ) -> Option<(Decision, Option<usize>)> {
        let id = pod.class;
        let class = cache.class_info(id);
        let cx = Cx { cache, id, class, args: cache.profile_of(class) };
        let free = cache.has_no_nominations();
        if let Some(failure) = self.failure(id).filter(|_| free && pod.nominated.is_none()) {
            return Some((Err(Box::new((**failure).clone())), None));
        }
        if let Some(found) = self.only_node(&cx, pod) {
            return Some(found);
        }
        let mut plan = self.plan(&cx)?;
        if cx.args.has(Plugin::InterPodAffinity) {
            plan.affinity.learn(&cx, &mut self.groups);
        }
        let placed = self.run(&cx, &plan, pod, tie);
        if plan.shape != Shape::Once {
            self.plans[id.index()] = Some(plan);
        }
        placed
    }
    /// A pod that names its node (as DaemonSets' pods do), if the node takes it.
    fn only_node(&self, cx: &Cx<'_>, pod: &PodToSchedule) -> Option<(Decision, Option<usize>)> {
        let (class, args) = (cx.class, cx.args);
        let terms = class.terms.as_ref().ok()?;
        let mut node_set = None;
        let named = class.nodes.names_nodes()
            && args.has(Plugin::NodeAffinity)
            && node_affinity::pre_filter(cx, &mut node_set).is_ok();
        let ([node], _) = node_set.as_ref().filter(|_| named).map(|s| (s.0.as_slice(), s.1))?
        else {
            return None;
        };
        let others = args.has(Plugin::PodTopologySpread)
            && !pod_topology_spread::constraints(cx, WhenUnsatisfiable::DoNotSchedule)
                .is_ok_and(|c| c.is_empty());
        let position = *self.positions.get(*node as usize)?;
        if others
            || position == super::NOWHERE
            || pod.nominated.is_some()
            || !cx.cache.has_no_nominations()
            || cx.cache.holds_anti_affinity
            || !terms.affinity.is_empty()
            || !(class.claims.is_empty() && class.disks.is_empty() && args.custom.is_empty())
        {
            return None;
        }
        let (info, fixed) = super::cells::parts(cx, *node)?;
        let idle = super::refuse::idle_filters(false);
        if filter_node(cx, &idle, info, fixed).is_some() {
            return None;
        }
        let placement = Placement { node: *node, feasible: 1, examined: 1 };
        Some((Ok(placement), Some((cx.cache.next_start + 1) % self.order.len())))
    }
    /// Takes the plan of a class out of the table, made anew if it is out of date.
    fn plan(&mut self, cx: &Cx<'_>) -> Option<Box<Plan>> {
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
        plan.map(Box::new)
    }
    fn new_plan(&mut self, cx: &Cx<'_>) -> Option<Plan> {
        let class = cx.class;
        self.groups.know(cx.id, class);
        let shape = (class.profile, class.request.clone(), class.score_request.clone());
        let shape = self.shape(shape);
        let fixed = self.fixed(static_key(cx));
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
        let (version, quick) = (self.plan_version, Quick::new(cx));
        Some(Plan { version, shape, quick, fixed, soft, hard, affinity, require_all, weights })
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
        pod: &PodToSchedule,
        tie: &mut dyn FnMut(u32) -> u32,
    ) -> Option<(Decision, Option<usize>)> {
        let gate = Gate {
            hard: self.hard(cx, plan)?,
            rules: plan.affinity.rules(&self.groups),
            nominated: self.nominated(cx, pod)?,
        };
        let terms = cx.class.pod_terms();
        let alone =
            terms.affinity.is_empty() && terms.anti_affinity.is_empty() && plan.hard.is_empty();
        let covered = alone && gate.is_local();
        if !gate.nominated.is_empty() && !covered {
            // Nominated pods count for these filters too.
            return None;
        }
        if let Some(node) = pod.nominated {
            // The nominated node is tried first; if it is not free, the plain way says why.
            let fits = gate.is_local()
                && self.positions.get(node as usize).is_some_and(|p| *p != super::NOWHERE)
                && self.passes(cx, node)
                && gate.nominated_leave_room(cx, node);
            let placement = Placement { node, feasible: 1, examined: 1 };
            return fits.then_some((Ok(placement), None));
        }
        let count = self.order.len();
        let percentage = cx.args.profile.percentage_of_nodes_to_score;
        let scores = !cx.args.profile.weights.is_empty();
        let wanted = num_feasible_nodes_to_find(percentage, count as i64) as usize;
        let wanted = if scores { wanted } else { 1 };
        // Nodes may have gone since the position was set.
        let start = cx.cache.next_start % count.max(1);
        self.catch_up(plan.shape, plan.fixed);
        self.scan(cx, plan, &gate, start, wanted);
        let (found, examined) = (self.scratch.window.found, self.scratch.window.values.len());
        if found == 0 {
            let failed = self.refusals(cx, &gate, start)?;
            return Some((Err(failed), Some(start)));
        }
        let position = self.best(cx, plan, tie)?;
        let node = *self.order.get(position)?;
        let placement = Placement { node, feasible: found as u32, examined: examined as u32 };
        Some((Ok(placement), Some((start + examined) % count)))
    }
    fn nominated(&self, cx: &Cx<'_>, pod: &PodToSchedule) -> Option<Vec<Nominated>> {
        if cx.cache.has_no_nominations() {
            return Some(Vec::new());
        }
        nominated(cx, pod.key, &self.positions)
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
            // While every domain has room the constraint has nothing to say.
            if counts.iter().zip(&t.nodes).any(|(count, nodes)| *nodes > 0 && *count > limit) {
                out.push(Hard { counts, topology: s.topology, limit });
            }
        }
        Some(out)
    }
}

/// What static verdicts depend on. What no enabled plugin reads is left out, so that pods which
/// differ only there (DaemonSets' pods under a profile without NodeAffinity) share a row.
fn static_key(cx: &Cx<'_>) -> StaticKey {
    let (class, has) = (cx.class, |p| cx.args.has(p));
    let nodes = has(Plugin::NodeAffinity) || weight_of(cx, Plugin::NodeAffinity) != 0;
    let taints = has(Plugin::NodeUnschedulable)
        || has(Plugin::TaintToleration)
        || weight_of(cx, Plugin::TaintToleration) != 0;
    (
        class.profile,
        class.node_name.filter(|_| has(Plugin::NodeName)),
        if nodes { class.nodes.clone() } else { NodeWishes::default() },
        if taints { class.tolerations.clone() } else { Vec::new() },
    )
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
    let resources = weight_of(cx, Plugin::NodeResourcesFit)
        .saturating_add(weight_of(cx, Plugin::NodeResourcesBalancedAllocation));
    let small = weights.iter().all(|w| (0..=300).contains(&w.1)) && resources <= 300;
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
            Strategy::RequestedToCapacityRatio(shape) => {
                shape.iter().all(|p| (0..=100).contains(&p.1))
            }
            _ => true,
        }
}

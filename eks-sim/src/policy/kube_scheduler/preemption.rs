//! DefaultPreemption: which pods of lower priority would have to go, and where.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/framework/preemption/preemption.go` and
//! `plugins/defaultpreemption/default_preemption.go`.
//! Differences: nodes are tried strictly in order (upstream's workers race).

use super::framework::{Cycle, PreState, filter_node, node_parts, update_pre_state};
use super::node_info::{NodeInfo, NodeStatic};
use super::plugins::node_resources_fit;
use super::profile::Plugin;
use super::reason::{Code, Reason, Rejection, count_text};
use super::schedule::{PodToSchedule, Unschedulable};
use super::{Cache, NodeKey, PodKey, Selector};
use crate::k8s::PodDisruptionBudget;
use crate::units::{SimTime, Symbol};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// What preemption reads of a PodDisruptionBudget.
#[derive(Clone, Debug)]
pub struct Budget {
    namespace: Symbol,
    selector: Selector,
    allowed: i64,
    disrupted: Vec<PodKey>,
}

impl Budget {
    /// Reads a budget; `disrupted` are the pods in its `status.disruptedPods`.
    pub fn new(pdb: &PodDisruptionBudget, disrupted: Vec<PodKey>, cache: &mut Cache) -> Self {
        let selector = Selector::new(pdb.spec.selector.as_ref(), &mut cache.symbols);
        Self {
            namespace: cache.symbols.intern(pdb.metadata.namespace_or_default()),
            // A selector that cannot be read matches nothing, as upstream skips the budget.
            selector: selector.unwrap_or(Selector::Nothing),
            allowed: i64::from(pdb.status.disruptions_allowed),
            disrupted,
        }
    }
    /// Changes how many disruptions are allowed.
    pub fn set_allowed(&mut self, allowed: i64) {
        self.allowed = allowed;
    }
}

/// A node where preemption would make room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub node: NodeKey,
    /// Pods that have to go, most important first.
    pub victims: Vec<PodKey>,
    /// How many of them break a budget.
    pub pdb_violations: u32,
}

/// What preemption does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preemption {
    /// Node to nominate.
    pub node: NodeKey,
    /// Pods to delete, most important first (some may be terminating already).
    pub victims: Vec<PodKey>,
    /// How many of them break a budget.
    pub pdb_violations: u32,
    /// Pods of lower priority whose nomination to the node ends.
    pub denominated: Vec<PodKey>,
}

/// Why preemption does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoPreemption {
    /// The part of the `FailedScheduling` message.
    pub message: String,
    /// Whether an existing nomination of the pod ends.
    pub clears_nomination: bool,
}

/// Nodes tried and refused, with the reasons.
pub type Reasons = BTreeMap<Reason, u32>;

const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
const NO_VICTIMS: &str = "No preemption victims found for incoming pod";

/// Decides whom `pod`, which failed with `failed`, preempts. `draw(n)` draws below `n`: the node
/// to start with and, among equally good candidates, the one to take.
///
/// # Errors
/// Why nobody is preempted.
pub fn preempt(
    cache: &Cache,
    pod: &PodToSchedule,
    failed: &Unschedulable,
    budgets: &[Budget],
    draw: &mut dyn FnMut(u32) -> u32,
) -> Result<Preemption, NoPreemption> {
    if let Err(why) = eligible(cache, pod, failed) {
        let message = format!("preemption: {why}");
        return Err(NoPreemption { message, clears_nomination: false });
    }
    let class = cache.class_info(pod.class);
    let profile = &cache.profile_of(class).profile;
    let potential = potential_nodes(failed);
    let count = potential.len() as i64;
    let limit = candidate_count(
        count,
        profile.min_candidate_nodes_percentage,
        profile.min_candidate_nodes_absolute,
    );
    let offset = if count > 1 { draw(count as u32) as usize } else { 0 };
    let (candidates, mut reasons) =
        dry_run(cache, pod, &potential, budgets, offset, limit as usize);
    if candidates.is_empty() {
        let tried = potential.len() as u32;
        if failed.nodes > tried {
            *reasons.entry(Reason::Fixed(NOT_HELPFUL)).or_default() += failed.nodes - tried;
        }
        let nodes = failed.nodes;
        let text = count_text(&reasons, cache);
        return Err(NoPreemption {
            message: format!("preemption: 0/{nodes} nodes are available: {text}."),
            clears_nomination: true,
        });
    }
    let best = best_candidates(cache, &candidates);
    let pick = if best.len() > 1 { draw(best.len() as u32) as usize } else { 0 };
    let chosen = &candidates[best.get(pick).copied().unwrap_or(best[0])];
    let lower = |(_, c): &(PodKey, super::ClassId)| cache.class_info(*c).priority < class.priority;
    Ok(Preemption {
        node: chosen.node,
        victims: chosen.victims.clone(),
        pdb_violations: chosen.pdb_violations,
        denominated: cache.nominated_to(chosen.node).filter(lower).map(|n| n.0).collect(),
    })
}

/// The message of preemption for a pod than which no other has a lower priority: what [`preempt`]
/// would find by trying all nodes, of which `tried` might have been helped by it.
#[must_use]
pub fn no_victims_message(
    cache: &Cache,
    pod: &PodToSchedule,
    failed: &Unschedulable,
    tried: u32,
) -> String {
    if let Err(why) = eligible(cache, pod, failed) {
        return format!("preemption: {why}");
    }
    let mut reasons = Reasons::new();
    for (text, count) in [(NO_VICTIMS, tried), (NOT_HELPFUL, failed.nodes.saturating_sub(tried))] {
        if count > 0 {
            reasons.insert(Reason::Fixed(text), count);
        }
    }
    let text = count_text(&reasons, cache);
    format!("preemption: 0/{} nodes are available: {text}.", failed.nodes)
}

/// Whether `pod` may preempt at all.
///
/// # Errors
/// Upstream's reason.
pub fn eligible(
    cache: &Cache,
    pod: &PodToSchedule,
    failed: &Unschedulable,
) -> Result<(), &'static str> {
    let class = cache.class_info(pod.class);
    if class.never_preempts {
        return Err("not eligible due to preemptionPolicy=Never.");
    }
    let Some((node, info)) = pod.nominated.and_then(|n| Some((n, cache.node_info(n)?))) else {
        return Ok(());
    };
    let status = failed.statuses.get(node);
    if status.is_none_or(|s| s.code == Code::UnschedulableAndUnresolvable) {
        return Ok(());
    }
    let making_room = info.pods.iter().filter_map(|p| cache.pod(*p)).any(|p| {
        p.terminating && p.preempted && cache.class_info(p.class).priority < class.priority
    });
    if making_room {
        return Err("not eligible due to a terminating pod on the nominated node.");
    }
    Ok(())
}

/// Nodes where removing pods may help, by key (upstream's order is that of a map).
#[must_use]
pub fn potential_nodes(failed: &Unschedulable) -> Vec<NodeKey> {
    let help = failed.statuses.iter().filter(|s| s.1.code == Code::Unschedulable);
    let mut nodes: Vec<NodeKey> = help.map(|s| s.0).collect();
    // The scan begins anywhere: two stretches that are sorted already, most of the time.
    nodes.sort();
    nodes
}

/// How many candidates are looked for among `potential` nodes.
#[must_use]
pub fn candidate_count(potential: i64, percentage: i64, absolute: i64) -> i64 {
    (potential.saturating_mul(percentage) / 100).max(absolute).min(potential)
}

/// Tries the nodes from `offset` on until enough candidates are found; gives these (those without
/// a broken budget first) and why the others are none.
#[must_use]
pub fn dry_run(
    cache: &Cache,
    pod: &PodToSchedule,
    potential: &[NodeKey],
    budgets: &[Budget],
    offset: usize,
    limit: usize,
) -> (Vec<Candidate>, Reasons) {
    let Ok(cycle) = Cycle::new(cache, pod.class) else { return Default::default() };
    let light = Light::new(&cycle, pod);
    let mut scratch = Vec::new();
    let try_node = |node: NodeKey| match &light {
        Some(light) => light.victims_on(node, budgets, &mut scratch),
        None => victims_on(&cycle, pod, node, budgets),
    };
    dry_run_by(potential, offset, limit, try_node)
}

/// [`dry_run`] with all filters run anew for every pod taken off or given back: the reference.
#[must_use]
pub fn dry_run_plain(
    cache: &Cache,
    pod: &PodToSchedule,
    potential: &[NodeKey],
    budgets: &[Budget],
    offset: usize,
    limit: usize,
) -> (Vec<Candidate>, Reasons) {
    let Ok(cycle) = Cycle::new(cache, pod.class) else { return Default::default() };
    dry_run_by(potential, offset, limit, |node| victims_on(&cycle, pod, node, budgets))
}

fn dry_run_by(
    potential: &[NodeKey],
    offset: usize,
    limit: usize,
    mut try_node: impl FnMut(NodeKey) -> Result<Candidate, Rejection>,
) -> (Vec<Candidate>, Reasons) {
    let (mut good, mut violating) = (Vec::new(), Vec::new());
    let mut reasons = Reasons::new();
    for i in 0..potential.len() {
        let node = potential[(offset + i) % potential.len()];
        match try_node(node) {
            Ok(candidate) if candidate.pdb_violations == 0 => good.push(candidate),
            Ok(candidate) => violating.push(candidate),
            Err(rejection) => {
                for reason in rejection.reasons {
                    *reasons.entry(reason).or_default() += 1;
                }
            }
        }
        if !good.is_empty() && good.len() + violating.len() >= limit {
            break;
        }
    }
    good.append(&mut violating);
    (good, reasons)
}

/// A node while pods are taken off it and given back.
struct DryRun<'c, 'a> {
    cycle: &'c Cycle<'a>,
    pod: PodKey,
    key: NodeKey,
    fixed: &'a NodeStatic,
    info: NodeInfo,
    pre: PreState,
}

impl DryRun<'_, '_> {
    fn remove(&mut self, pod: PodKey) {
        let cache = self.cycle.cx.cache;
        let Some(p) = cache.pod(pod) else { return };
        self.info.pods.retain(|x| *x != pod);
        self.info.count_out(p.class, cache.class_info(p.class), p.terminating);
        update_pre_state(&self.cycle.cx, &mut self.pre, self.fixed, p.class, -1);
    }
    fn add(&mut self, pod: PodKey) {
        let cache = self.cycle.cx.cache;
        let Some(p) = cache.pod(pod) else { return };
        self.info.pods.push(pod);
        self.info.count_in(p.class, cache.class_info(p.class), p.terminating);
        update_pre_state(&self.cycle.cx, &mut self.pre, self.fixed, p.class, 1);
    }
    fn fits(&self) -> Result<(), Rejection> {
        if self.cycle.cx.cache.has_no_nominations() {
            let refusal = filter_node(&self.cycle.cx, &self.pre, &self.info, self.fixed);
            return refusal.map_or(Ok(()), Err);
        }
        let pod = Some(self.pod);
        self.cycle.filter_with_nominated(&self.pre, self.key, &self.info, self.fixed, pod)
    }
}

fn priority_of(cache: &Cache, pod: PodKey) -> i32 {
    cache.pod(pod).map_or(0, |p| cache.class_info(p.class).priority)
}

fn no_victims() -> Rejection {
    let code = Code::UnschedulableAndUnresolvable;
    Rejection::fixed(Plugin::DefaultPreemption, code, NO_VICTIMS)
}

fn victims_on(
    cycle: &Cycle<'_>,
    pod: &PodToSchedule,
    node: NodeKey,
    budgets: &[Budget],
) -> Result<Candidate, Rejection> {
    let cache = cycle.cx.cache;
    let (info, fixed) = node_parts(cache, node).ok_or_else(no_victims)?;
    let priority = cycle.cx.class.priority;
    let of = |p: PodKey| priority_of(cache, p);
    let mut lower: Vec<PodKey> = info.pods.iter().copied().filter(|p| of(*p) < priority).collect();
    if lower.is_empty() {
        return Err(no_victims());
    }
    let (info, pre) = (info.clone(), cycle.pre.clone());
    let mut run = DryRun { cycle, pod: pod.key, key: node, fixed, info, pre };
    for p in &lower {
        run.remove(*p);
    }
    run.fits()?;
    let start = |p: PodKey| cache.pod(p).map_or(SimTime::NEVER, |p| p.start);
    lower.sort_by_key(|p| (Reverse(of(*p)), start(*p)));
    let (violating, others) = split_by_budget(cache, &lower, budgets);
    let mut victims = Vec::new();
    let mut pdb_violations = 0;
    for (pods, counted) in [(violating, 1), (others, 0)] {
        for p in pods {
            run.add(p);
            if run.fits().is_err() {
                run.remove(p);
                victims.push(p);
                pdb_violations += counted;
            }
        }
    }
    if victims.is_empty() {
        return Err(no_victims());
    }
    victims.sort_by_key(|p| (Reverse(of(*p)), start(*p)));
    Ok(Candidate { node, victims, pdb_violations })
}

/// The dry run of a pod for which other pods matter by their resources alone.
struct Light<'c, 'a> {
    cycle: &'c Cycle<'a>,
    pod: PodToSchedule,
    /// The filters that pods do not change.
    fixed: PreState,
}

impl<'c, 'a> Light<'c, 'a> {
    fn new(cycle: &'c Cycle<'a>, pod: &PodToSchedule) -> Option<Self> {
        let others = [
            Plugin::NodePorts,
            Plugin::VolumeRestrictions,
            Plugin::NodeVolumeLimits,
            Plugin::PodTopologySpread,
            Plugin::InterPodAffinity,
        ];
        let cx = &cycle.cx;
        let idle = |p: Plugin| !cx.args.has(p) || cycle.pre.skipped.contains(p);
        let mut nominated = cx.cache.nominations();
        let plain = |(_, c, _): (PodKey, super::ClassId, NodeKey)| {
            cx.cache.class_info(c).pod_terms().anti_affinity.is_empty()
        };
        if !others.into_iter().all(idle) || !cx.args.custom.is_empty() {
            return None;
        }
        if !cx.args.has(Plugin::NodeResourcesFit) || !nominated.all(plain) {
            return None;
        }
        let mut fixed = cycle.pre.clone();
        fixed.skipped.insert(Plugin::NodeResourcesFit);
        Some(Self { cycle, pod: *pod, fixed })
    }
    fn victims_on(
        &self,
        node: NodeKey,
        budgets: &[Budget],
        lower: &mut Vec<(Reverse<i32>, SimTime, PodKey)>,
    ) -> Result<Candidate, Rejection> {
        let cx = &self.cycle.cx;
        let cache = cx.cache;
        let (info, fixed) = node_parts(cache, node).ok_or_else(no_victims)?;
        lower.clear();
        for pod in &info.pods {
            let priority = priority_of(cache, *pod);
            if priority < cx.class.priority {
                let start = cache.pod(*pod).map_or(SimTime::NEVER, |p| p.start);
                lower.push((Reverse(priority), start, *pod));
            }
        }
        if lower.is_empty() {
            return Err(no_victims());
        }
        let mut held = info.requested.clone();
        let mut pods = info.pod_count();
        let others = cache.nominated_to(node).filter(|(p, c)| {
            *p != self.pod.key && cache.class_info(*c).priority >= cx.class.priority
        });
        for (_, class) in others {
            held.add(&cache.class_info(class).held, 1);
            pods += 1;
        }
        let of = |p: PodKey| cache.pod(p).map(|p| &cache.class_info(p.class).held);
        for (_, _, pod) in &*lower {
            of(*pod).into_iter().for_each(|h| held.add(h, -1));
            pods -= 1;
        }
        if filter_node(cx, &self.fixed, info, fixed).is_some()
            || !node_resources_fit::would_pass(cx, &held, pods, fixed)
        {
            // The full run says why.
            return victims_on(self.cycle, &self.pod, node, budgets);
        }
        lower.sort_by_key(|p| (p.0, p.1));
        let order: Vec<PodKey> = lower.iter().map(|p| p.2).collect();
        let (violating, others) = match budgets {
            [] => (Vec::new(), order),
            _ => split_by_budget(cache, &order, budgets),
        };
        let (mut victims, mut pdb_violations) = (Vec::new(), 0);
        for (back, counted) in [(violating, 1), (others, 0)] {
            for p in back {
                let Some(more) = of(p) else { continue };
                held.add(more, 1);
                pods += 1;
                if !node_resources_fit::would_pass(cx, &held, pods, fixed) {
                    held.add(more, -1);
                    pods -= 1;
                    victims.push(p);
                    pdb_violations += counted;
                }
            }
        }
        if victims.is_empty() {
            return Err(no_victims());
        }
        if pdb_violations > 0 {
            let start = |p: PodKey| cache.pod(p).map_or(SimTime::NEVER, |p| p.start);
            victims.sort_by_key(|p| (Reverse(priority_of(cache, *p)), start(*p)));
        }
        Ok(Candidate { node, victims, pdb_violations })
    }
}

/// Pods (most important first) whose removal would break a budget, and the others.
fn split_by_budget(
    cache: &Cache,
    pods: &[PodKey],
    budgets: &[Budget],
) -> (Vec<PodKey>, Vec<PodKey>) {
    let mut allowed: Vec<i64> = budgets.iter().map(|b| b.allowed).collect();
    let mut breaks = |pod: &PodKey| {
        let Some(info) = cache.pod(*pod) else { return false };
        let class = cache.class_info(info.class);
        let mut violated = false;
        for (b, left) in budgets.iter().zip(&mut allowed) {
            let matches = b.namespace == class.namespace
                && !class.labels.pairs().is_empty()
                && !b.selector.is_everything()
                && b.selector.matches(&class.labels);
            if matches && !b.disrupted.contains(pod) {
                *left -= 1;
                violated |= *left < 0;
            }
        }
        violated
    };
    pods.iter().copied().partition(|p| breaks(p))
}

/// Indices of the candidates that upstream's criteria leave equal.
#[must_use]
pub fn best_candidates(cache: &Cache, candidates: &[Candidate]) -> Vec<usize> {
    let priority =
        |p: &PodKey| cache.pod(*p).map_or(0, |p| i64::from(cache.class_info(p.class).priority));
    let highest = |c: &Candidate| c.victims.first().map_or(0, priority);
    let sum = |c: &Candidate| c.victims.iter().map(|p| priority(p) + (1 << 31)).sum::<i64>();
    let earliest = |c: &Candidate| {
        let top = highest(c);
        let starts = c.victims.iter().filter(|p| priority(p) == top);
        let starts = starts.filter_map(|p| cache.pod(*p)).map(|p| p.start);
        Reverse(starts.min().unwrap_or(SimTime::NEVER))
    };
    let key = |c: &Candidate| (c.pdb_violations, highest(c), sum(c), c.victims.len(), earliest(c));
    let keys: Vec<_> = candidates.iter().map(key).collect();
    let best = keys.iter().min();
    let equal = keys.iter().enumerate().filter(|(_, k)| Some(*k) == best);
    equal.map(|(i, _)| i).collect()
}

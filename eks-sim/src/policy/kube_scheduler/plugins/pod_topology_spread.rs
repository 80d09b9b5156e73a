//! PodTopologySpread, filter: DoNotSchedule constraints.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/framework/plugins/podtopologyspread/{filtering,common}.go`.
//! Differences: none known; the two critical paths are a plain minimum (equal, see the tests).

use crate::policy::kube_scheduler::class::{Class, SpreadConstraint, WhenUnsatisfiable};
use crate::policy::kube_scheduler::framework::Cx;
use crate::policy::kube_scheduler::plugins::taint_toleration;
use crate::policy::kube_scheduler::plugins::volume_binding::unresolvable;
use crate::policy::kube_scheduler::{Code, NodeInfo, NodeStatic, Plugin, Rejection, Selector};
use crate::units::Symbol;
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

const REASON: &str = "node(s) didn't match pod topology spread constraints";
const REASON_NO_LABEL: &str =
    "node(s) didn't match pod topology spread constraints (missing required label)";

/// Domain → matching pods.
type Counts = IndexMap<Symbol, i64, FxBuildHasher>;

/// Constraints of the pod with the pods counted by domain.
#[derive(Clone, Debug, Default)]
pub struct State {
    constraints: Vec<Counted>,
}

#[derive(Clone, Debug)]
struct Counted {
    constraint: SpreadConstraint,
    counts: Counts,
    /// Whether the pod matches its own selector.
    selects_itself: bool,
}

/// Constraints of `when` of the pod; the profile's defaults if the pod has none at all.
pub(crate) fn constraints(
    cx: &Cx<'_>,
    when: WhenUnsatisfiable,
) -> Result<Vec<SpreadConstraint>, Rejection> {
    let own = match &cx.class.spread {
        Ok(own) => own,
        Err(text) => return Err(unresolvable(Plugin::PodTopologySpread, text.clone())),
    };
    if !own.is_empty() {
        return Ok(own.iter().filter(|c| c.when == when).cloned().collect());
    }
    let defaults = cx.args.default_constraints.iter().filter(|c| c.when == when);
    let mut defaults: Vec<_> = defaults.cloned().collect();
    if defaults.is_empty() {
        return Ok(defaults);
    }
    let selector = default_selector(cx);
    if selector.is_everything() {
        return Ok(Vec::new());
    }
    for c in &mut defaults {
        c.selector = selector.clone();
    }
    Ok(defaults)
}

/// Selectors of the Services that select the pod, and of its controlling workload.
pub(crate) fn default_selector(cx: &Cx<'_>) -> Selector {
    let class = cx.class;
    let services = cx.cache.services.get(&class.namespace);
    let pairs = services.map(|s| s.merged(&class.labels)).unwrap_or_default();
    let mut selector = Selector::from_pairs(&pairs);
    let owner =
        class.owner.and_then(|(kind, name)| cx.cache.owners.get(&(class.namespace, kind, name)));
    if let (Some(Selector::All(more)), Selector::All(all)) = (owner, &mut selector) {
        all.extend(more.iter().cloned());
    }
    selector
}

/// Whether the node may hold the pod by the policies of `constraint`.
pub(crate) fn is_included(cx: &Cx<'_>, c: &SpreadConstraint, node: &NodeStatic) -> bool {
    let symbols = cx.cache.symbols();
    (!c.honor_affinity || cx.class.nodes.match_node(node.name, &node.labels, symbols))
        && (!c.honor_taints || taint_toleration::untolerated(cx.class, node).is_none())
}

/// Pods on the node that match and are not terminating; an empty selector counts none.
pub(crate) fn count(cx: &Cx<'_>, selector: &Selector, info: &NodeInfo) -> i64 {
    if selector.is_everything() {
        return 0;
    }
    let live = info.classes.iter().filter(|c| c.pods > c.terminating);
    let matching = live.filter(|c| {
        let other = cx.cache.class_info(c.class);
        other.namespace == cx.class.namespace && selector.matches(&other.labels)
    });
    matching.map(|c| i64::from(c.pods - c.terminating)).sum()
}

pub(crate) fn pre_filter(cx: &Cx<'_>, state: &mut State) -> Result<bool, Rejection> {
    let constraints = constraints(cx, WhenUnsatisfiable::DoNotSchedule)?;
    let own = |c: SpreadConstraint| Counted {
        selects_itself: c.selector.matches(&cx.class.labels),
        constraint: c,
        counts: Counts::default(),
    };
    state.constraints = constraints.into_iter().map(own).collect();
    if state.constraints.is_empty() {
        return Ok(false);
    }
    let keys: Vec<Symbol> = state.constraints.iter().map(|c| c.constraint.key).collect();
    for (_, info, node) in cx.cache.present_nodes() {
        if keys.iter().any(|k| node.labels.get(*k).is_none()) {
            continue;
        }
        for c in &mut state.constraints {
            if let Some(value) = node.labels.get(c.constraint.key)
                && is_included(cx, &c.constraint, node)
            {
                let count = count(cx, &c.constraint.selector, info);
                *c.counts.entry(value).or_default() += count;
            }
        }
    }
    Ok(true)
}

pub(crate) fn update(cx: &Cx<'_>, state: &mut State, node: &NodeStatic, other: &Class, sign: i64) {
    let keys_there = state.constraints.iter().all(|c| node.labels.get(c.constraint.key).is_some());
    if other.namespace != cx.class.namespace || !keys_there {
        return;
    }
    for c in &mut state.constraints {
        if let Some(value) = node.labels.get(c.constraint.key)
            && c.constraint.selector.matches(&other.labels)
            && is_included(cx, &c.constraint, node)
        {
            *c.counts.entry(value).or_default() += sign;
        }
    }
}

pub(crate) fn filter(state: &State, node: &NodeStatic) -> Option<Rejection> {
    for c in &state.constraints {
        let Some(value) = node.labels.get(c.constraint.key) else {
            let code = Code::UnschedulableAndUnresolvable;
            return Some(Rejection::fixed(Plugin::PodTopologySpread, code, REASON_NO_LABEL));
        };
        let enough = c.counts.len() as i64 >= i64::from(c.constraint.min_domains);
        let least = c.counts.values().copied().min().unwrap_or(i64::from(i32::MAX));
        let least = if enough { least } else { 0 };
        let here = c.counts.get(&value).copied().unwrap_or(0);
        if here + i64::from(c.selects_itself) - least > i64::from(c.constraint.max_skew) {
            let code = Code::Unschedulable;
            return Some(Rejection::fixed(Plugin::PodTopologySpread, code, REASON));
        }
    }
    None
}

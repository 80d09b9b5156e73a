//! InterPodAffinity, filter: required affinity and anti-affinity of pods.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/framework/plugins/interpodaffinity/{plugin,filtering}.go`.
//! Differences: none known.

use super::volume_binding::unresolvable;
use crate::policy::kube_scheduler::class::{AffinityTerm, Class};
use crate::policy::kube_scheduler::framework::Cx;
use crate::policy::kube_scheduler::{Code, Labels, NodeStatic, Plugin, Rejection};
use crate::units::Symbol;
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

const REASON_AFFINITY: &str = "node(s) didn't match pod affinity rules";
const REASON_ANTI: &str = "node(s) didn't match pod anti-affinity rules";
const REASON_EXISTING: &str = "node(s) didn't satisfy existing pods anti-affinity rules";

/// (Label key, value) → pods; a pair that reaches 0 disappears.
type Pairs = IndexMap<(Symbol, Symbol), i64, FxBuildHasher>;

/// The three count maps and the terms they were counted with.
#[derive(Clone, Debug, Default)]
pub struct State {
    affinity_terms: Vec<AffinityTerm>,
    anti_terms: Vec<AffinityTerm>,
    namespace_labels: Labels,
    existing_anti: Pairs,
    affinity: Pairs,
    anti: Pairs,
}

/// A term of the incoming pod as upstream v1.34.1 uses it: namespaces that its selector selects
/// are listed by name, and the selector stays, tested against no labels.
pub(crate) fn expand(cx: &Cx<'_>, term: &AffinityTerm) -> AffinityTerm {
    let mut term = term.clone();
    if !term.namespace_selector.is_everything() {
        let namespaces = cx.cache.namespaces.iter();
        let selected = namespaces.filter(|(_, l)| term.namespace_selector.matches(l));
        term.namespaces.extend(selected.map(|(name, _)| *name));
    }
    term
}

/// Whether an expanded term of the incoming pod matches a pod of class `other`.
pub(crate) fn own_matches(term: &AffinityTerm, other: &Class) -> bool {
    term.matches(other.namespace, &other.labels, &Labels::default())
}

pub(crate) fn namespace_labels(cx: &Cx<'_>) -> Labels {
    cx.cache.namespaces.get(&cx.class.namespace).cloned().unwrap_or_default()
}

pub(crate) fn pre_filter(cx: &Cx<'_>, state: &mut State) -> Result<bool, Rejection> {
    let terms = match &cx.class.terms {
        Ok(terms) => terms,
        Err(text) => return Err(unresolvable(Plugin::InterPodAffinity, text.clone())),
    };
    state.namespace_labels = namespace_labels(cx);
    state.affinity_terms = terms.affinity.iter().map(|t| expand(cx, t)).collect();
    state.anti_terms = terms.anti_affinity.iter().map(|t| expand(cx, t)).collect();
    let alone = terms.affinity.is_empty() && terms.anti_affinity.is_empty();
    if alone && !cx.cache.holds_anti_affinity {
        // Nobody on any node can have terms that matter.
        return Ok(false);
    }
    for (_, info, node) in cx.cache.present_nodes() {
        for c in &info.classes {
            let other = cx.cache.class_info(c.class);
            update(cx, state, node, other, i64::from(c.pods));
        }
    }
    Ok(!(state.existing_anti.is_empty()
        && terms.affinity.is_empty()
        && terms.anti_affinity.is_empty()))
}

/// Adds `count` pods of class `other` on `node` to the maps.
pub(crate) fn update(cx: &Cx<'_>, state: &mut State, node: &NodeStatic, other: &Class, count: i64) {
    for term in &other.pod_terms().anti_affinity {
        if term.matches(cx.class.namespace, &cx.class.labels, &state.namespace_labels) {
            add(&mut state.existing_anti, node, term, count);
        }
    }
    let all = !state.affinity_terms.is_empty()
        && state.affinity_terms.iter().all(|t| own_matches(t, other));
    for term in state.affinity_terms.iter().filter(|_| all) {
        add(&mut state.affinity, node, term, count);
    }
    for term in &state.anti_terms {
        if own_matches(term, other) {
            add(&mut state.anti, node, term, count);
        }
    }
}

fn add(pairs: &mut Pairs, node: &NodeStatic, term: &AffinityTerm, count: i64) {
    let Some(value) = node.labels.get(term.key) else { return };
    let pair = (term.key, value);
    let slot = pairs.entry(pair).or_default();
    *slot += count;
    if *slot == 0 {
        pairs.swap_remove(&pair);
    }
}

pub(crate) fn filter(cx: &Cx<'_>, state: &State, node: &NodeStatic) -> Option<Rejection> {
    let refuse = |code, text| Some(Rejection::fixed(Plugin::InterPodAffinity, code, text));
    if !satisfies_affinity(cx, state, node) {
        return refuse(Code::UnschedulableAndUnresolvable, REASON_AFFINITY);
    }
    let positive = |pairs: &Pairs, key: Symbol, value: Symbol| {
        pairs.get(&(key, value)).is_some_and(|n| *n > 0)
    };
    let here = |t: &AffinityTerm| {
        node.labels.get(t.key).is_some_and(|value| positive(&state.anti, t.key, value))
    };
    if state.anti_terms.iter().any(here) {
        return refuse(Code::Unschedulable, REASON_ANTI);
    }
    let existing = !state.existing_anti.is_empty()
        && node.labels.pairs().iter().any(|&(k, v)| positive(&state.existing_anti, k, v));
    if existing { refuse(Code::Unschedulable, REASON_EXISTING) } else { None }
}

fn satisfies_affinity(cx: &Cx<'_>, state: &State, node: &NodeStatic) -> bool {
    let mut pods_exist = true;
    for term in &state.affinity_terms {
        let Some(value) = node.labels.get(term.key) else { return false };
        pods_exist &= state.affinity.get(&(term.key, value)).is_some_and(|n| *n > 0);
    }
    // The first pod of a group that wants to be together may go anywhere.
    pods_exist
        || (state.affinity.is_empty()
            && state.affinity_terms.iter().all(|t| own_matches(t, cx.class)))
}

//! InterPodAffinity, score: preferred affinity and anti-affinity of pods.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/framework/plugins/interpodaffinity/scoring.go`.
//! Differences: none known.

use super::inter_pod_affinity::{expand, namespace_labels, own_matches};
use crate::policy::kube_scheduler::class::{AffinityTerm, Class};
use crate::policy::kube_scheduler::framework::{Cx, each};
use crate::policy::kube_scheduler::{Labels, NodeKey, NodeStatic};
use crate::units::Symbol;
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

/// (Label key, value) → sum of weights.
pub(crate) type Table = IndexMap<(Symbol, Symbol), i64, FxBuildHasher>;

pub(crate) fn score(cx: &Cx<'_>, nodes: &[NodeKey]) -> Option<Vec<i64>> {
    let terms = cx.class.pod_terms();
    let has_own = !terms.preferred.is_empty() || !terms.preferred_anti.is_empty();
    if cx.args.profile.ignore_preferred_terms_of_existing_pods && !has_own {
        return None;
    }
    let own: Vec<(i64, AffinityTerm)> = own_terms(cx);
    let labels = namespace_labels(cx);
    let mut table = Table::default();
    for (_, info, node) in cx.cache.present_nodes() {
        for c in &info.classes {
            let other = cx.cache.class_info(c.class);
            add(cx, &mut table, &own, &labels, node, other, i64::from(c.pods));
        }
    }
    if table.is_empty() {
        return None;
    }
    Some(normalized(&each(cx, nodes, |_, node| raw(&table, node))))
}

/// The pod's preferred terms, anti-affinity with negative weights.
pub(crate) fn own_terms(cx: &Cx<'_>) -> Vec<(i64, AffinityTerm)> {
    let terms = cx.class.pod_terms();
    let towards = terms.preferred.iter().map(|(w, t)| (*w, expand(cx, t)));
    let away = terms.preferred_anti.iter().map(|(w, t)| (-*w, expand(cx, t)));
    towards.chain(away).collect()
}

/// Terms of an existing pod that weigh for a pod they match, with their weights.
pub(crate) fn existing_terms<'a>(
    cx: &Cx<'_>,
    other: &'a Class,
) -> impl Iterator<Item = (i64, &'a AffinityTerm)> {
    let terms = other.pod_terms();
    let hard = cx.args.profile.hard_pod_affinity_weight;
    let required = terms.affinity.iter().map(move |t| (hard, t)).filter(|(w, _)| *w > 0);
    let towards = terms.preferred.iter().map(|(w, t)| (*w, t));
    required.chain(towards).chain(terms.preferred_anti.iter().map(|(w, t)| (-*w, t)))
}

fn add(
    cx: &Cx<'_>,
    table: &mut Table,
    own: &[(i64, AffinityTerm)],
    labels: &Labels,
    node: &NodeStatic,
    other: &Class,
    pods: i64,
) {
    let mut weigh = |weight: i64, key: Symbol| {
        if let Some(value) = node.labels.get(key) {
            *table.entry((key, value)).or_default() += weight * pods;
        }
    };
    for (weight, term) in own {
        if own_matches(term, other) {
            weigh(*weight, term.key);
        }
    }
    for (weight, term) in existing_terms(cx, other) {
        if term.matches(cx.class.namespace, &cx.class.labels, labels) {
            weigh(weight, term.key);
        }
    }
}

fn raw(table: &Table, node: &NodeStatic) -> i64 {
    let pairs = node.labels.pairs().iter();
    pairs.filter_map(|pair| table.get(pair)).sum()
}

/// Normalises raw scores, which may be negative.
pub(crate) fn normalized(raw: &[i64]) -> Vec<i64> {
    let max = raw.iter().copied().max().unwrap_or(0);
    let min = raw.iter().copied().min().unwrap_or(0);
    let range = (max - min) as f64;
    let one = |s: &i64| {
        if range > 0.0 { (100.0 * ((s - min) as f64 / range)) as i64 } else { 0 }
    };
    raw.iter().map(one).collect()
}

//! NodeAffinity: node selector, required and preferred node affinity.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/framework/plugins/nodeaffinity/node_affinity.go`.
//! Differences: a term that cannot be parsed never matches.

use crate::policy::kube_scheduler::framework::{Cx, each, normalize};
use crate::policy::kube_scheduler::{Code, NodeKey, NodeStatic, Plugin, Rejection};
use crate::units::Symbol;

const REASON: &str = "node(s) didn't match Pod's node affinity/selector";
const REASON_ENFORCED: &str = "node(s) didn't match scheduler-enforced node affinity";
const REASON_CONFLICT: &str = "pod affinity terms conflict";

/// Finds the node set that `metadata.name In` fields name; false means that Filter is skipped.
pub(crate) fn pre_filter(
    cx: &Cx<'_>,
    node_set: &mut Option<(Vec<NodeKey>, Plugin)>,
) -> Result<bool, Rejection> {
    let wishes = &cx.class.nodes;
    if wishes.requires_nothing() && cx.args.added_required.is_none() {
        return Ok(false);
    }
    let Some(terms) = wishes.required.as_ref().filter(|t| !t.is_empty()) else { return Ok(true) };
    let mut names: Vec<Symbol> = Vec::new();
    for term in terms {
        // Terms are alternatives: one without a name allows every node.
        let Some(named) = term.named() else { return Ok(true) };
        names.extend(named.iter().copied());
    }
    if names.is_empty() {
        let code = Code::UnschedulableAndUnresolvable;
        return Err(Rejection::fixed(Plugin::NodeAffinity, code, REASON_CONFLICT));
    }
    let mut keys: Vec<NodeKey> = names.iter().filter_map(|n| cx.cache.node_key(*n)).collect();
    keys.sort_unstable();
    keys.dedup();
    *node_set = Some((keys, Plugin::NodeAffinity));
    Ok(true)
}

pub(crate) fn filter(cx: &Cx<'_>, node: &NodeStatic) -> Option<Rejection> {
    let code = Code::UnschedulableAndUnresolvable;
    let symbols = cx.cache.symbols();
    if let Some(added) = &cx.args.added_required
        && !added.iter().any(|t| t.matches(node.name, &node.labels, symbols))
    {
        return Some(Rejection::fixed(Plugin::NodeAffinity, code, REASON_ENFORCED));
    }
    let matches = cx.class.nodes.match_node(node.name, &node.labels, symbols);
    (!matches).then(|| Rejection::fixed(Plugin::NodeAffinity, code, REASON))
}

/// Sum of the weights of preferred terms that match.
pub(crate) fn raw_score(cx: &Cx<'_>, node: &NodeStatic) -> i64 {
    let symbols = cx.cache.symbols();
    let terms = cx.args.added_preferred.iter().chain(&cx.class.nodes.preferred);
    let matching = terms.filter(|(_, t)| t.matches(node.name, &node.labels, symbols));
    matching.map(|(weight, _)| weight).sum()
}

/// Whether there is no preference.
pub(crate) fn skips_score(cx: &Cx<'_>) -> bool {
    cx.args.added_preferred.is_empty() && cx.class.nodes.preferred.is_empty()
}

pub(crate) fn score(cx: &Cx<'_>, nodes: &[NodeKey]) -> Option<Vec<i64>> {
    if skips_score(cx) {
        return None;
    }
    let mut scores = each(cx, nodes, |_, node| raw_score(cx, node));
    normalize(&mut scores, false);
    Some(scores)
}

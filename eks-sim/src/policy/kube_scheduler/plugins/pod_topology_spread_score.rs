//! PodTopologySpread, score: ScheduleAnyway and default constraints.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/framework/plugins/podtopologyspread/scoring.go`.
//! Differences: none; the logarithm is computed in software, equal on every platform.

use super::pod_topology_spread::{constraints, count, is_included};
use crate::policy::kube_scheduler::class::{SpreadConstraint, WhenUnsatisfiable};
use crate::policy::kube_scheduler::framework::{Cx, node_parts};
use crate::policy::kube_scheduler::{NodeInfo, NodeKey, NodeStatic};
use crate::units::{Symbol, math};
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

struct Scored {
    constraint: SpreadConstraint,
    is_hostname: bool,
    weight: f64,
    /// Pods by value, for the values among feasible nodes (unused for hostnames).
    counts: IndexMap<Option<Symbol>, i64, FxBuildHasher>,
}

pub(crate) fn score(cx: &Cx<'_>, nodes: &[NodeKey]) -> Option<Vec<i64>> {
    let all = constraints(cx, WhenUnsatisfiable::ScheduleAnyway).unwrap_or_default();
    if all.is_empty() {
        return None;
    }
    let own = cx.class.spread.as_ref().is_ok_and(|s| !s.is_empty());
    let require_all = own || !cx.args.system_defaults;
    let parts: Vec<_> = nodes.iter().filter_map(|n| node_parts(cx.cache, *n)).collect();
    let has_all = |node: &NodeStatic| all.iter().all(|c| node.labels.get(c.key).is_some());
    let kept: Vec<bool> = parts.iter().map(|(_, n)| !require_all || has_all(n)).collect();
    let mut scored = prepare(cx, &all, &parts, &kept);
    for (_, info, node) in cx.cache.present_nodes() {
        if require_all && !has_all(node) {
            continue;
        }
        for s in scored.iter_mut().filter(|s| !s.is_hostname) {
            let value = node.labels.get(s.constraint.key);
            if let Some(total) = s.counts.get_mut(&value)
                && is_included(cx, &s.constraint, node)
            {
                *total += count(cx, &s.constraint.selector, info);
            }
        }
    }
    let raw: Vec<Option<i64>> = parts
        .iter()
        .zip(&kept)
        .map(|((info, node), kept)| kept.then(|| raw(cx, &scored, info, node)))
        .collect();
    Some(normalized(&raw))
}

fn prepare(
    cx: &Cx<'_>,
    all: &[SpreadConstraint],
    parts: &[(&NodeInfo, &NodeStatic)],
    kept: &[bool],
) -> Vec<Scored> {
    let hostname = cx.cache.symbols().lookup("kubernetes.io/hostname");
    let scored_nodes = kept.iter().filter(|k| **k).count();
    let one = |c: &SpreadConstraint| {
        let is_hostname = Some(c.key) == hostname;
        let mut counts = IndexMap::default();
        if !is_hostname {
            for ((_, node), _) in parts.iter().zip(kept).filter(|p| *p.1) {
                counts.entry(node.labels.get(c.key)).or_insert(0);
            }
        }
        let size = if is_hostname { scored_nodes } else { counts.len() };
        Scored { constraint: c.clone(), is_hostname, weight: domain_weight(size), counts }
    };
    all.iter().map(one).collect()
}

/// Weight of a constraint with `size` domains.
pub(crate) fn domain_weight(size: usize) -> f64 {
    math::ln((size + 2) as f64)
}

fn raw(cx: &Cx<'_>, scored: &[Scored], info: &NodeInfo, node: &NodeStatic) -> i64 {
    let mut sum = 0.0;
    for s in scored {
        let Some(value) = node.labels.get(s.constraint.key) else { continue };
        let pods = if s.is_hostname {
            count(cx, &s.constraint.selector, info)
        } else {
            s.counts.get(&Some(value)).copied().unwrap_or(0)
        };
        sum += score_for_count(pods, s.constraint.max_skew, s.weight);
    }
    f64::round(sum) as i64
}

/// What one constraint adds to a node's raw score.
pub(crate) fn score_for_count(pods: i64, max_skew: i32, weight: f64) -> f64 {
    pods as f64 * weight + f64::from(max_skew - 1)
}

fn normalized(raw: &[Option<i64>]) -> Vec<i64> {
    let max = raw.iter().flatten().copied().max().unwrap_or(0);
    let min = raw.iter().flatten().copied().min().unwrap_or(0);
    let one = |raw: &Option<i64>| match raw {
        None => 0,
        Some(_) if max == 0 => 100,
        Some(s) => 100 * (max + min - s) / max,
    };
    raw.iter().map(one).collect()
}

//! Splitting a scale-up over similar node groups, and what similar means.
//!
//! Upstream: processors/nodegroupset/balancing_processor.go, compare_nodegroups.go and
//! aws_nodegroups.go of release 1.37. Differences: groups of equal size keep the input order.

use std::collections::BTreeMap;

/// Size of a group that may take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSize {
    /// Target size.
    pub size: i64,
    /// Maximum.
    pub max: i64,
}

/// New sizes of those `groups` that grow, by position, when `new_nodes` are spread evenly.
#[must_use]
pub fn balance(groups: &[GroupSize], new_nodes: i64) -> Vec<(usize, i64)> {
    let mut infos: Vec<(usize, GroupSize, i64)> = groups
        .iter()
        .enumerate()
        .filter(|(_, g)| g.size != g.max)
        .map(|(i, g)| (i, *g, g.size))
        .collect();
    let room = infos.iter().fold(0i64, |sum, (_, g, _)| sum.saturating_add(g.max - g.size));
    let mut left = new_nodes.min(room);
    infos.sort_by_key(|(_, g, _)| g.size);
    let (mut start, mut current) = (0, 0);
    while left > 0 && start < infos.len() {
        let (_, group, new) = &mut infos[current];
        if *new < group.max {
            *new += 1;
            left -= 1;
        } else {
            infos.swap(start, current);
            start += 1;
        }
        let next = infos.get(current + 1).map(|(_, _, new)| *new);
        let grown = infos[current].2;
        current = if next.is_some_and(|next| grown > next) { current + 1 } else { start };
    }
    let mut changed: Vec<(usize, i64)> =
        infos.iter().filter(|(_, g, new)| *new != g.size).map(|&(i, _, new)| (i, new)).collect();
    changed.sort_unstable();
    changed
}

/// A template node as the comparison sees it; resources by name (cpu in millicores).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComparedNode {
    /// Capacity.
    pub capacity: BTreeMap<String, i64>,
    /// Allocatable.
    pub allocatable: BTreeMap<String, i64>,
    /// Requests of the pods it starts with.
    pub requested: BTreeMap<String, i64>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// Tolerated differences, as shares of the larger value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratios {
    /// Memory capacity.
    pub memory: f64,
    /// Free resources.
    pub free: f64,
    /// Allocatable resources.
    pub allocatable: f64,
}

impl Default for Ratios {
    fn default() -> Self {
        Self { memory: 0.015, free: 0.05, allocatable: 0.05 }
    }
}

/// Labels that never tell groups apart: the general ones and those of AWS.
pub const IGNORED_LABELS: [&str; 14] = [
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "beta.kubernetes.io/fluentd-ds-ready",
    "kops.k8s.io/instancegroup",
    "alpha.eksctl.io/instance-id",
    "alpha.eksctl.io/nodegroup-name",
    "eks.amazonaws.com/nodegroup",
    "k8s.amazonaws.com/eniConfig",
    "lifecycle",
    "topology.ebs.csi.aws.com/zone",
    "topology.k8s.aws/zone-id",
];

/// Whether two template nodes are alike enough for their groups to be balanced.
#[must_use]
pub fn similar(
    a: &ComparedNode,
    b: &ComparedNode,
    extra_ignored: &[String],
    ratios: &Ratios,
) -> bool {
    let capacity = a.capacity.keys().eq(b.capacity.keys())
        && a.capacity.iter().all(|(name, &x)| {
            let y = b.capacity.get(name).copied().unwrap_or(0);
            if name == "memory" { within(x, y, ratios.memory) } else { x == y }
        });
    capacity
        && all_within(&a.allocatable, &b.allocatable, ratios.allocatable)
        && all_within(&free(a), &free(b), ratios.free)
        && labels(a, extra_ignored).eq(labels(b, extra_ignored))
}

fn within(a: i64, b: i64, ratio: f64) -> bool {
    let larger = a.max(b) as f64;
    larger - a.min(b) as f64 <= larger * ratio
}

fn all_within(a: &BTreeMap<String, i64>, b: &BTreeMap<String, i64>, ratio: f64) -> bool {
    a.keys().eq(b.keys()) && a.values().zip(b.values()).all(|(&x, &y)| within(x, y, ratio))
}

fn free(node: &ComparedNode) -> BTreeMap<String, i64> {
    node.allocatable
        .iter()
        .map(|(name, &amount)| {
            let used = node.requested.get(name).copied().unwrap_or(0);
            (name.clone(), amount.saturating_sub(used))
        })
        .collect()
}

fn labels<'a>(
    node: &'a ComparedNode,
    extra: &'a [String],
) -> impl Iterator<Item = (&'a String, &'a String)> {
    node.labels
        .iter()
        .filter(move |(key, _)| !IGNORED_LABELS.contains(&key.as_str()) && !extra.contains(key))
}

//! How many nodes of one template a set of pending pods needs.
//!
//! Upstream: estimator/binpacking_estimator.go and decreasing_pod_orderer.go of release 1.37.
//! Differences: ties between groups keep the input order (upstream sorts unstably); the time
//! limit is checked against the clock the caller gives.

use super::cluster::{Cursor, SimCluster};
use super::limiter::Limiter;
use crate::units::SimTime;

/// What the estimator must know of an equivalence group besides its pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupShape {
    /// Effective CPU request of a pod, in millicores.
    pub cpu: i64,
    /// Effective memory request of a pod, in bytes.
    pub memory: i64,
    /// CPU request of the first container (the fast path looks at no other).
    pub first_container_cpu: i64,
    /// Memory request of the first container.
    pub first_container_memory: i64,
    /// A topology spread constraint names `kubernetes.io/hostname`.
    pub hostname_spread: bool,
    /// Any topology spread constraint.
    pub spread: bool,
    /// A required anti-affinity term over hostnames selects the pod itself.
    pub hostname_anti_affinity: bool,
    /// A required anti-affinity term over another key.
    pub other_anti_affinity: bool,
}

/// Pods of one controller with the same specification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodGroup<P> {
    /// The pods; at least one.
    pub pods: Vec<P>,
    /// What they have in common.
    pub shape: GroupShape,
}

/// Resources of a template node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TemplateSize {
    /// Allocatable CPU in millicores.
    pub allocatable_cpu: i64,
    /// Allocatable memory in bytes.
    pub allocatable_memory: i64,
    /// CPU capacity in millicores.
    pub capacity_cpu: i64,
    /// Memory capacity in bytes.
    pub capacity_memory: i64,
}

/// Result of an estimation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Nodes that hold at least one of the pods; existing nodes used by the hostname retry count.
    pub nodes: i64,
    /// Pods placed, per group in input order.
    pub pods_per_group: Vec<usize>,
    /// The limiter refused a node.
    pub limited: bool,
}

impl Estimate {
    /// Pods placed.
    #[must_use]
    pub fn pods(&self) -> usize {
        self.pods_per_group.iter().sum()
    }
}

/// Score by which groups are sorted, largest first.
fn score(shape: &GroupShape, size: &TemplateSize) -> f64 {
    let part = |request: i64, allocatable: i64| {
        if allocatable > 0 { request as f64 / allocatable as f64 } else { 0.0 }
    };
    part(shape.cpu, size.allocatable_cpu) + part(shape.memory, size.allocatable_memory)
}

/// Positions of `shapes` from largest to smallest, equal ones in input order.
#[must_use]
pub fn decreasing_order(shapes: &[GroupShape], size: &TemplateSize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..shapes.len()).collect();
    order.sort_by(|&a, &b| score(&shapes[b], size).total_cmp(&score(&shapes[a], size)));
    order
}

/// Nodes one resource forces, as upstream's float arithmetic over capacities.
fn nodes_by(count: usize, request: i64, capacity: i64, unit: f64) -> i64 {
    let nodes = count as f64 * (request as f64 / unit) / (capacity as f64 / unit);
    if nodes.is_finite() { nodes.ceil() as i64 } else { 0 }
}

/// Index of the group that the fast path saves most simulations on: of equal ones the last.
#[must_use]
pub fn fast_path_group(groups: &[(GroupShape, usize)], size: &TemplateSize) -> Option<usize> {
    let mut best = None;
    let mut most_saved = 0;
    for (i, (shape, count)) in groups.iter().enumerate() {
        let by_anti_affinity = if shape.hostname_anti_affinity { *count as i64 } else { 0 };
        let by_cpu = nodes_by(*count, shape.first_container_cpu, size.capacity_cpu, 1e3);
        let by_memory = nodes_by(*count, shape.first_container_memory, size.capacity_memory, 1.0);
        let nodes = by_anti_affinity.max(by_cpu).max(by_memory);
        let pods = *count as i64;
        let saved = if nodes > 0 { pods - pods / nodes } else { 0 };
        if saved >= most_saved && !shape.spread && !shape.other_anti_affinity {
            best = Some(i);
            most_saved = saved;
        }
    }
    best
}

/// Settings of one estimation.
#[derive(Clone, Copy, Debug)]
pub struct Estimation {
    /// Node group whose template is added.
    pub group: usize,
    /// Its size.
    pub size: TemplateSize,
    /// `--fastpath-binpacking-enabled`.
    pub fast_path: bool,
    /// Clock for the limiter.
    pub now: SimTime,
}

/// Packs `groups` on nodes made from one template and rolls the cluster back.
pub fn estimate<C: SimCluster>(
    cluster: &mut C,
    cursor: &mut Cursor,
    limiter: &mut Limiter,
    groups: &[&PodGroup<C::Pod>],
    settings: &Estimation,
) -> Estimate {
    let shapes: Vec<GroupShape> = groups.iter().map(|g| g.shape).collect();
    let mut order = decreasing_order(&shapes, &settings.size);
    let mut extrapolate = false;
    if settings.fast_path {
        let sorted: Vec<_> = order.iter().map(|&i| (shapes[i], groups[i].pods.len())).collect();
        if let Some(best) = fast_path_group(&sorted, &settings.size) {
            let last = order.remove(best);
            order.push(last);
            extrapolate = true;
        }
    }
    let mark = cluster.checkpoint();
    let mut packing = Packing {
        first_new: cluster.len(),
        used: Vec::new(),
        extrapolated: 0,
        settings,
        cursor,
        limiter,
        result: Estimate { pods_per_group: vec![0; groups.len()], ..Estimate::default() },
    };
    for (turn, &index) in order.iter().enumerate() {
        let fast = extrapolate && turn + 1 == order.len();
        packing.group(cluster, index, groups[index], fast);
    }
    packing.result.nodes =
        packing.used.iter().filter(|&&used| used).count() as i64 + packing.extrapolated;
    let result = packing.result;
    cluster.rollback(mark);
    result
}

struct Packing<'a> {
    first_new: usize,
    /// By position: whether the node holds one of the pods.
    used: Vec<bool>,
    extrapolated: i64,
    settings: &'a Estimation,
    cursor: &'a mut Cursor,
    limiter: &'a mut Limiter,
    result: Estimate,
}

impl Packing<'_> {
    fn group<C: SimCluster>(
        &mut self,
        cluster: &mut C,
        index: usize,
        group: &PodGroup<C::Pod>,
        fast: bool,
    ) {
        let mut placed = 0;
        for &pod in &group.pods {
            let Some(node) = self.cursor.place_on_new(cluster, pod, self.first_new) else { break };
            self.track(node);
            placed += 1;
        }
        let rest = &group.pods[placed..];
        if !self.result.limited && !rest.is_empty() {
            placed += if fast {
                self.extrapolate(cluster, rest)
            } else {
                self.on_new_nodes(cluster, rest, group.shape.hostname_spread)
            };
        }
        self.result.pods_per_group[index] = placed;
    }

    fn track(&mut self, node: usize) {
        if self.used.len() <= node {
            self.used.resize(node + 1, false);
        }
        self.used[node] = true;
    }

    fn is_used(&self, node: usize) -> bool {
        self.used.get(node).copied().unwrap_or(false)
    }

    /// Places `pods` on the last node or new ones; the number placed.
    fn on_new_nodes<C: SimCluster>(
        &mut self,
        cluster: &mut C,
        pods: &[C::Pod],
        hostname_spread: bool,
    ) -> usize {
        let mut placed = 0;
        while placed < pods.len() {
            let last = cluster.len().checked_sub(1).filter(|&last| last >= self.first_new);
            if let Some(last) = last {
                let (run, error) = cluster.place_run(&pods[placed..], last);
                if run > 0 {
                    self.track(last);
                    placed += run;
                }
                let Some(error) = error else { break };
                if hostname_spread && error.topology_spread {
                    let other =
                        self.cursor.place_on_any(cluster, pods[placed], |node| node != last);
                    if let Some(node) = other {
                        self.track(node);
                        placed += 1;
                        continue;
                    }
                }
                if !self.is_used(last) {
                    break;
                }
            }
            if !self.limiter.permission_to_add_node(self.settings.now) {
                self.result.limited = true;
                break;
            }
            cluster.add_template_node(self.settings.group);
            let new = cluster.len() - 1;
            if cluster.try_place(pods[placed], new).is_err() {
                break;
            }
            self.track(new);
            placed += 1;
        }
        placed
    }

    /// Fills one new node and assumes that further ones take as many.
    fn extrapolate<C: SimCluster>(&mut self, cluster: &mut C, pods: &[C::Pod]) -> usize {
        if !self.limiter.permission_to_add_node(self.settings.now) {
            self.result.limited = true;
            return 0;
        }
        cluster.add_template_node(self.settings.group);
        let node = cluster.len() - 1;
        let (per_node, _) = cluster.place_run(pods, node);
        if per_node == 0 {
            return 0;
        }
        self.track(node);
        let mut placed = per_node;
        while placed < pods.len() {
            if !self.limiter.permission_to_add_node(self.settings.now) {
                self.result.limited = true;
                break;
            }
            self.extrapolated += 1;
            placed += per_node.min(pods.len() - placed);
        }
        placed
    }
}

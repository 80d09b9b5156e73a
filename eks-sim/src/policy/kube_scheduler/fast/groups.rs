//! Pods counted by (namespace, selector) on nodes and in domains, kept up to date.

use super::super::class::Class;
use super::super::node_info::NodeInfo;
use super::super::{Cache, ClassId, NodeKey, Selector};
use crate::units::Symbol;
use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap};

/// Number of a group.
pub(super) type GroupId = u32;
/// Number of a topology key.
pub(super) type TopologyId = u32;

/// A node without the key.
pub(super) const NO_DOMAIN: u32 = u32::MAX;
/// Domain counters are kept for keys with so few values; others are counted when asked for.
const MAX_DENSE: usize = 1024;

/// A node label that makes domains.
#[derive(Clone, Debug, Default)]
pub(super) struct Topology {
    key: Option<Symbol>,
    /// Node → domain.
    pub(super) domains: Vec<u32>,
    index: FxHashMap<Symbol, u32>,
    /// Domain → nodes.
    pub(super) nodes: Vec<u32>,
    /// Nodes that have the key.
    pub(super) labelled: usize,
}

impl Topology {
    fn set(&mut self, node: NodeKey, value: Option<Symbol>) {
        let i = node as usize;
        if self.domains.len() <= i {
            self.domains.resize(i + 1, NO_DOMAIN);
        }
        if let Some(n) = self.nodes.get_mut(self.domains[i] as usize) {
            *n -= 1;
            self.labelled -= 1;
        }
        self.domains[i] = NO_DOMAIN;
        if let Some(value) = value {
            let next = self.nodes.len() as u32;
            let domain = *self.index.entry(value).or_insert(next);
            if domain == next {
                self.nodes.push(0);
            }
            self.domains[i] = domain;
            self.nodes[domain as usize] += 1;
            self.labelled += 1;
        }
    }
    /// The domain of a node.
    pub(super) fn domain(&self, node: NodeKey) -> u32 {
        self.domains.get(node as usize).copied().unwrap_or(NO_DOMAIN)
    }
}

#[derive(Clone, Debug)]
struct Group {
    /// Node → live pods; zeros are left out.
    entries: IndexMap<NodeKey, u32, FxBuildHasher>,
    /// Topology → pods by domain, for the topologies asked for.
    dense: Vec<(TopologyId, Vec<i64>)>,
}

/// All groups.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    groups: Vec<Group>,
    index: FxHashMap<(Symbol, Selector), GroupId>,
    /// A pair that a group's selector requires → these groups.
    by_pair: FxHashMap<(Symbol, Symbol), Vec<GroupId>>,
    without_pair: Vec<GroupId>,
    keys: Vec<(Symbol, Selector)>,
    /// Class → groups that count it.
    of_class: Vec<Vec<GroupId>>,
    known: Vec<bool>,
    /// Class → pods on any node.
    pods: Vec<u32>,
    classes_by_pair: FxHashMap<(Symbol, Symbol), Vec<ClassId>>,
    known_list: Vec<ClassId>,
    present: Vec<bool>,
    topologies: Vec<Topology>,
}

impl Groups {
    /// Notes a class and the groups that count it.
    pub(super) fn know(&mut self, id: ClassId, class: &Class) {
        let i = id.index();
        if self.known.len() <= i {
            self.known.resize(i + 1, false);
            self.of_class.resize(i + 1, Vec::new());
            self.pods.resize(i + 1, 0);
        }
        if std::mem::replace(&mut self.known[i], true) {
            return;
        }
        self.known_list.push(id);
        for pair in class.labels.pairs() {
            self.classes_by_pair.entry(*pair).or_default().push(id);
        }
        let paired = class.labels.pairs().iter().filter_map(|p| self.by_pair.get(p)).flatten();
        let candidates: Vec<GroupId> = paired.chain(&self.without_pair).copied().collect();
        for g in candidates {
            let (namespace, selector) = &self.keys[g as usize];
            if *namespace == class.namespace && selector.matches(&class.labels) {
                self.of_class[i].push(g);
            }
        }
    }
    /// Counts pods of a class over all nodes.
    pub(super) fn count_all(&mut self, id: ClassId, delta: i64) {
        let n = &mut self.pods[id.index()];
        *n = u32::try_from(i64::from(*n) + delta).unwrap_or(0);
    }
    /// Counts live pods of a class on a node.
    pub(super) fn count(&mut self, id: ClassId, node: NodeKey, delta: i64) {
        if self.present.get(node as usize) != Some(&true) {
            return;
        }
        let Some(groups) = self.of_class.get(id.index()) else { return };
        for g in groups {
            self.groups[*g as usize].count(&self.topologies, node, delta);
        }
    }
    /// Takes a node's pods out of the counts.
    pub(super) fn detach(&mut self, node: NodeKey, info: &NodeInfo) {
        for c in &info.classes {
            self.count(c.class, node, -i64::from(c.pods - c.terminating));
        }
        if let Some(p) = self.present.get_mut(node as usize) {
            *p = false;
        }
        for t in &mut self.topologies {
            t.set(node, None);
        }
    }
    /// Counts a node's pods in, under its present labels.
    pub(super) fn attach(&mut self, node: NodeKey, info: &NodeInfo) {
        let Some(fixed) = info.node.as_deref() else { return };
        if self.present.len() <= node as usize {
            self.present.resize(node as usize + 1, false);
        }
        self.present[node as usize] = true;
        for t in &mut self.topologies {
            t.set(node, t.key.and_then(|k| fixed.labels.get(k)));
        }
        for c in &info.classes {
            self.count(c.class, node, i64::from(c.pods - c.terminating));
        }
    }
    /// The topology of a label key.
    pub(super) fn topology(&mut self, key: Symbol, cache: &Cache) -> TopologyId {
        if let Some(i) = self.topologies.iter().position(|t| t.key == Some(key)) {
            return i as TopologyId;
        }
        let mut t = Topology { key: Some(key), ..Topology::default() };
        for (node, _, fixed) in cache.present_nodes() {
            t.set(node, fixed.labels.get(key));
        }
        self.topologies.push(t);
        self.topologies.len() as TopologyId - 1
    }
    /// The group of pods in `namespace` that `selector` selects.
    pub(super) fn group(
        &mut self,
        namespace: Symbol,
        selector: &Selector,
        cache: &Cache,
    ) -> GroupId {
        let key = (namespace, selector.clone());
        if let Some(&g) = self.index.get(&key) {
            return g;
        }
        let g = self.groups.len() as GroupId;
        self.groups.push(Group { entries: IndexMap::default(), dense: Vec::new() });
        let pair = selector.a_required_pair();
        match pair {
            Some(pair) => self.by_pair.entry(pair).or_default().push(g),
            None => self.without_pair.push(g),
        }
        let candidates = match pair {
            Some(pair) => self.classes_by_pair.get(&pair).cloned().unwrap_or_default(),
            None => self.known_list.clone(),
        };
        let mut occupied = false;
        for id in candidates {
            let class = cache.class_info(id);
            if class.namespace == namespace && selector.matches(&class.labels) {
                self.of_class[id.index()].push(g);
                occupied |= self.pods[id.index()] > 0;
            }
        }
        if occupied {
            self.fill(g, cache);
        }
        self.keys.push(key.clone());
        self.index.insert(key, g);
        g
    }
    fn fill(&mut self, g: GroupId, cache: &Cache) {
        for (node, info, _) in cache.present_nodes() {
            for c in &info.classes {
                if self.of_class[c.class.index()].contains(&g) {
                    let live = i64::from(c.pods - c.terminating);
                    self.groups[g as usize].count(&self.topologies, node, live);
                }
            }
        }
    }
    /// Makes sure that domain counters exist where they pay.
    pub(super) fn want_dense(&mut self, g: GroupId, topology: TopologyId) {
        let t = &self.topologies[topology as usize];
        let group = &mut self.groups[g as usize];
        if t.nodes.len() <= MAX_DENSE && group.dense.iter().all(|d| d.0 != topology) {
            let mut counts = vec![0; t.nodes.len()];
            group.sum(t, &mut counts, |_| true);
            group.dense.push((topology, counts));
        }
    }
    /// Puts the pods of a group by domain into `into`, over the nodes that `included` names
    /// (`None` is all).
    pub(super) fn by_domain(
        &self,
        g: GroupId,
        topology: TopologyId,
        included: Option<&dyn Fn(NodeKey) -> bool>,
        into: &mut Vec<i64>,
    ) {
        let t = &self.topologies[topology as usize];
        let group = &self.groups[g as usize];
        into.clear();
        let dense = group.dense.iter().find(|d| d.0 == topology);
        if let (None, Some((_, counts))) = (included, dense) {
            into.extend_from_slice(counts);
            into.resize(t.nodes.len(), 0);
            return;
        }
        into.resize(t.nodes.len(), 0);
        group.sum(t, into, |node| included.is_none_or(|f| f(node)));
    }
    /// A topology.
    pub(super) fn topology_info(&self, topology: TopologyId) -> &Topology {
        &self.topologies[topology as usize]
    }
    /// Live pods of a group by node.
    pub(super) fn entries(&self, g: GroupId) -> &IndexMap<NodeKey, u32, FxBuildHasher> {
        &self.groups[g as usize].entries
    }
}

impl Group {
    fn count(&mut self, topologies: &[Topology], node: NodeKey, delta: i64) {
        if delta == 0 {
            return;
        }
        let n = self.entries.entry(node).or_default();
        *n = u32::try_from(i64::from(*n) + delta).unwrap_or(0);
        if *n == 0 {
            self.entries.swap_remove(&node);
        }
        for (topology, counts) in &mut self.dense {
            let t = &topologies[*topology as usize];
            if counts.len() < t.nodes.len() {
                counts.resize(t.nodes.len(), 0);
            }
            if let Some(n) = counts.get_mut(t.domain(node) as usize) {
                *n += delta;
            }
        }
    }
    fn sum(&self, t: &Topology, into: &mut [i64], included: impl Fn(NodeKey) -> bool) {
        for (node, count) in &self.entries {
            if let Some(n) = into.get_mut(t.domain(*node) as usize)
                && included(*node)
            {
                *n += i64::from(*count);
            }
        }
    }
}

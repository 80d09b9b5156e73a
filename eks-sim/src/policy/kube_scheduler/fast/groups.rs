//! Pods counted by what selects them, or by the terms they carry, on nodes and in domains; kept
//! up to date with every pod that comes or goes.

use super::super::class::{AffinityTerm, Class};
use super::super::node_info::NodeInfo;
use super::super::plugins::inter_pod_affinity::own_matches;
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
/// Domain counters are kept for keys with so few values; others are counted when asked for, but
/// for the first ones.
const MAX_DENSE: usize = 1024;
/// Counters kept for keys with many values, over all groups.
const MAX_LARGE: usize = 1 << 21;

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
    /// Changes so far.
    pub(super) version: u64,
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
        self.version += 1;
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

/// Which term of a pod a group counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Held {
    /// Required anti-affinity.
    Anti,
    /// Required affinity.
    Required,
    /// Preferred affinity, or anti-affinity with a negative weight.
    Preferred(i64),
}

/// What a group counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Counted {
    /// Live pods of a namespace that a selector selects.
    Selected(Symbol, Selector),
    /// Pods that all of these terms match (namespaces expanded).
    Matched(Vec<AffinityTerm>),
    /// Pods that carry this term.
    Holding(Held, AffinityTerm),
}

impl Counted {
    fn is_live_only(&self) -> bool {
        matches!(self, Self::Selected(..))
    }
    fn a_required_pair(&self) -> Option<(Symbol, Symbol)> {
        match self {
            Self::Selected(_, selector) => selector.a_required_pair(),
            Self::Matched(terms) => terms.iter().find_map(|t| t.selector.a_required_pair()),
            Self::Holding(..) => None,
        }
    }
    fn counts(&self, class: &Class) -> bool {
        match self {
            Self::Selected(namespace, selector) => {
                *namespace == class.namespace && selector.matches(&class.labels)
            }
            Self::Matched(terms) => terms.iter().all(|t| own_matches(t, class)),
            Self::Holding(..) => false,
        }
    }
}

/// The terms of a class that other pods feel.
fn held(class: &Class) -> impl Iterator<Item = (Held, &AffinityTerm)> {
    let terms = class.pod_terms();
    let anti = terms.anti_affinity.iter().map(|t| (Held::Anti, t));
    let required = terms.affinity.iter().map(|t| (Held::Required, t));
    let preferred = terms.preferred.iter().map(|(w, t)| (Held::Preferred(*w), t));
    let away = terms.preferred_anti.iter().map(|(w, t)| (Held::Preferred(-*w), t));
    anti.chain(required).chain(preferred).chain(away)
}

#[derive(Clone, Debug)]
struct Group {
    /// Whether terminating pods are left out.
    live_only: bool,
    /// Node → pods; zeros are left out.
    entries: IndexMap<NodeKey, u32, FxBuildHasher>,
    /// Topology → pods by domain, for the topologies asked for.
    dense: Vec<(TopologyId, Vec<i64>)>,
}

/// All groups.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    groups: Vec<Group>,
    index: FxHashMap<Counted, GroupId>,
    /// A pair that a group's selector requires → these groups.
    by_pair: FxHashMap<(Symbol, Symbol), Vec<GroupId>>,
    without_pair: Vec<GroupId>,
    keys: Vec<Counted>,
    /// Groups that count holders of a term.
    holders: Vec<GroupId>,
    /// Class → groups that count it (twice if it holds a term twice).
    of_class: Vec<Vec<GroupId>>,
    known: Vec<bool>,
    /// Class → pods on any node.
    pods: Vec<u32>,
    classes_by_pair: FxHashMap<(Symbol, Symbol), Vec<ClassId>>,
    known_list: Vec<ClassId>,
    present: Vec<bool>,
    topologies: Vec<Topology>,
    /// Counters kept for keys with many values.
    large: usize,
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
            if self.keys[g as usize].counts(class) {
                self.of_class[i].push(g);
            }
        }
        for (held, term) in held(class) {
            let g = self.holder(Counted::Holding(held, term.clone()));
            self.of_class[i].push(g);
        }
    }
    fn holder(&mut self, key: Counted) -> GroupId {
        if let Some(&g) = self.index.get(&key) {
            return g;
        }
        let g = self.add(key);
        self.holders.push(g);
        g
    }
    fn add(&mut self, key: Counted) -> GroupId {
        let g = self.groups.len() as GroupId;
        let live_only = key.is_live_only();
        self.groups.push(Group { live_only, entries: IndexMap::default(), dense: Vec::new() });
        self.keys.push(key.clone());
        self.index.insert(key, g);
        g
    }
    /// Groups of holders found since the first `seen`, with their terms.
    pub(super) fn holders_since(
        &self,
        seen: usize,
    ) -> impl Iterator<Item = (GroupId, Held, &AffinityTerm)> {
        let new = self.holders.get(seen..).unwrap_or_default().iter();
        new.filter_map(|g| match &self.keys[*g as usize] {
            Counted::Holding(held, term) => Some((*g, *held, term)),
            _ => None,
        })
    }
    /// Number of groups of holders.
    pub(super) fn holder_count(&self) -> usize {
        self.holders.len()
    }
    /// Counts pods of a class over all nodes.
    pub(super) fn count_all(&mut self, id: ClassId, delta: i64) {
        let n = &mut self.pods[id.index()];
        *n = u32::try_from(i64::from(*n) + delta).unwrap_or(0);
    }
    /// Counts pods of a class on a node, of which `live` are not terminating.
    pub(super) fn count(&mut self, id: ClassId, node: NodeKey, pods: i64, live: i64) {
        if self.present.get(node as usize) != Some(&true) {
            return;
        }
        let Some(groups) = self.of_class.get(id.index()) else { return };
        for g in groups {
            let group = &mut self.groups[*g as usize];
            let delta = if group.live_only { live } else { pods };
            group.count(&self.topologies, node, delta);
        }
    }
    /// Takes a node's pods out of the counts.
    pub(super) fn detach(&mut self, node: NodeKey, info: &NodeInfo) {
        for c in &info.classes {
            let (pods, live) = (i64::from(c.pods), i64::from(c.pods - c.terminating));
            self.count(c.class, node, -pods, -live);
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
            let (pods, live) = (i64::from(c.pods), i64::from(c.pods - c.terminating));
            self.count(c.class, node, pods, live);
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
    /// The group of pods that `key` counts.
    pub(super) fn group(&mut self, key: Counted, cache: &Cache) -> GroupId {
        if let Some(&g) = self.index.get(&key) {
            return g;
        }
        let pair = key.a_required_pair();
        let g = self.add(key);
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
            if self.keys[g as usize].counts(cache.class_info(id)) {
                self.of_class[id.index()].push(g);
                occupied |= self.pods[id.index()] > 0;
            }
        }
        if occupied {
            self.fill(g, cache);
        }
        g
    }
    fn fill(&mut self, g: GroupId, cache: &Cache) {
        let group = &mut self.groups[g as usize];
        for (node, info, _) in cache.present_nodes() {
            for c in &info.classes {
                if self.of_class[c.class.index()].contains(&g) {
                    let out = if group.live_only { c.terminating } else { 0 };
                    group.count(&self.topologies, node, i64::from(c.pods - out));
                }
            }
        }
    }
    /// Makes sure that domain counters exist where they pay.
    pub(super) fn want_dense(&mut self, g: GroupId, topology: TopologyId) {
        let t = &self.topologies[topology as usize];
        let group = &mut self.groups[g as usize];
        let size = t.nodes.len();
        let pays = size <= MAX_DENSE || self.large + size <= MAX_LARGE;
        if pays && group.dense.iter().all(|d| d.0 != topology) {
            self.large += if size <= MAX_DENSE { 0 } else { size };
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
    /// Which of the group's tables counts by this topology.
    pub(super) fn dense(&self, g: GroupId, topology: TopologyId) -> Option<usize> {
        self.groups[g as usize].dense.iter().position(|d| d.0 == topology)
    }
    /// One of the group's tables; domains that are new may be missing at its end.
    pub(super) fn kept(&self, g: GroupId, at: usize) -> &[i64] {
        &self.groups[g as usize].dense[at].1
    }
    /// A topology.
    pub(super) fn topology_info(&self, topology: TopologyId) -> &Topology {
        &self.topologies[topology as usize]
    }
    /// Pods of a group by node.
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

//! Counts of pods by topology domain during a scheduling round.
//!
//! Upstream: karpenter pkg/controllers/provisioning/scheduling/topology.go and topologygroup.go.
//! Differences: ties between domains go to the first by name (upstream: map order);
//! node affinity and taint policies of spread constraints are taken as Honor and Ignore.

use super::super::requirements::{HOSTNAME, Requirement, Requirements};
use super::constraints::{PodClass, TopologyKind, TopologyTerm};
use crate::k8s::StringMap;
use std::collections::BTreeMap;

/// A rule with its counts.
#[derive(Clone, Debug)]
struct Group {
    term: TopologyTerm,
    /// By class: whether its pods count.
    selects: Vec<bool>,
    /// By class: whether its pods own the anti-affinity (for the inverse rule).
    owned_by: Vec<bool>,
    /// Pods selected, by domain; hostnames are node numbers.
    domains: BTreeMap<String, i32>,
    hosts: Vec<i32>,
    /// Pods that own the rule, by domain (anti-affinity only).
    owner_domains: BTreeMap<String, i32>,
    owner_hosts: Vec<i32>,
}

/// All rules of a round.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    groups: Vec<Group>,
    /// By class: rules whose anti-affinity selects it.
    inverse: Vec<Vec<usize>>,
    /// By class: rules that count it or that it owns.
    counted: Vec<Vec<usize>>,
    /// By label that makes domains: its known values. Those that only nodes have are counted;
    /// the others stay whatever nodes there are.
    values: BTreeMap<String, BTreeMap<String, Option<usize>>>,
}

/// Where a pod may go on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Narrowed {
    /// Nowhere.
    No {
        /// Counts only grow during a round, so that this will not change.
        for_good: bool,
    },
    /// With these further requirements on the node (none for hostname rules).
    Yes(Vec<(String, Requirement)>),
}

impl Topology {
    /// Rules of `classes`; `universe` gives the known values of a label.
    #[must_use]
    pub fn new(classes: &[PodClass], universe: &dyn Fn(&str) -> Vec<String>) -> Self {
        let mut out = Self {
            groups: Vec::new(),
            inverse: vec![Vec::new(); classes.len()],
            counted: vec![Vec::new(); classes.len()],
            values: BTreeMap::new(),
        };
        for (owner, class) in classes.iter().enumerate() {
            for term in class.levels.iter().flat_map(|level| &level.topology) {
                let index = out.group(term, classes, universe);
                out.groups[index].owned_by[owner] = true;
            }
        }
        for (index, group) in out.groups.iter().enumerate() {
            let anti = group.term.kind == TopologyKind::AntiAffinity;
            for class in 0..classes.len() {
                if anti && group.selects[class] {
                    out.inverse[class].push(index);
                }
                if group.selects[class] || (anti && group.owned_by[class]) {
                    out.counted[class].push(index);
                }
            }
        }
        out
    }

    fn group(
        &mut self,
        term: &TopologyTerm,
        classes: &[PodClass],
        universe: &dyn Fn(&str) -> Vec<String>,
    ) -> usize {
        if let Some(index) = self.groups.iter().position(|g| g.term == *term) {
            return index;
        }
        let selects =
            classes.iter().map(|class| term.selects(&class.namespace, &class.labels)).collect();
        let names = if term.key == HOSTNAME { Vec::new() } else { universe(&term.key) };
        if term.key != HOSTNAME && !self.values.contains_key(&term.key) {
            let values = names.iter().map(|name| (name.clone(), None)).collect();
            self.values.insert(term.key.clone(), values);
        }
        self.groups.push(Group {
            term: term.clone(),
            selects,
            owned_by: vec![false; classes.len()],
            domains: names.into_iter().map(|name| (name, 0)).collect(),
            hosts: Vec::new(),
            owner_domains: BTreeMap::new(),
            owner_hosts: Vec::new(),
        });
        self.groups.len() - 1
    }

    /// A node with these labels comes (1) or goes (-1): its values are domains while it is there.
    pub fn see(&mut self, labels: &StringMap, by: i32) {
        for (key, values) in &mut self.values {
            let Some(value) = labels.get(key) else { continue };
            let of_key = self.groups.iter_mut().filter(|group| group.term.key == *key);
            match values.get_mut(value) {
                Some(None) => {}
                None => {
                    values.insert(value.clone(), Some(1));
                    for group in of_key {
                        group.domains.entry(value.clone()).or_insert(0);
                    }
                }
                Some(Some(count)) => {
                    *count = count.saturating_add_signed(by as isize);
                    if *count == 0 {
                        values.remove(value);
                        for group in of_key {
                            group.domains.remove(value);
                        }
                    }
                }
            }
        }
    }

    /// Numbers of the rules a set of terms stands for.
    #[must_use]
    pub fn groups_of(&self, terms: &[TopologyTerm]) -> Vec<usize> {
        let find = |term: &TopologyTerm| self.groups.iter().position(|g| g.term == *term);
        terms.iter().filter_map(find).collect()
    }

    /// Whether placements of `class` depend on counts at all.
    #[must_use]
    pub fn concerns(&self, class: usize) -> bool {
        !self.inverse[class].is_empty()
    }

    /// What the rules `own` (and anti-affinity of others) leave of node number `node`, whose
    /// labels `node_requirements` describe, for a pod of `class` that asks for `pod`.
    #[must_use]
    pub fn narrow(
        &self,
        class: usize,
        own: &[usize],
        pod: &Requirements,
        node: usize,
        node_requirements: &Requirements,
    ) -> Narrowed {
        let mut out = Vec::new();
        for &index in own {
            let group = &self.groups[index];
            if !group.narrow_own(class, pod, node, node_requirements, &mut out) {
                let for_good =
                    group.term.key == HOSTNAME && group.term.kind != TopologyKind::Affinity;
                return Narrowed::No { for_good };
            }
        }
        for &index in &self.inverse[class] {
            let group = &self.groups[index];
            if group.term.key == HOSTNAME {
                if count_at(&group.owner_hosts, node) > 0 {
                    return Narrowed::No { for_good: true };
                }
                continue;
            }
            let taken: Vec<&String> =
                group.owner_domains.iter().filter(|(_, n)| **n > 0).map(|(d, _)| d).collect();
            if taken.is_empty() {
                continue;
            }
            let here = node_requirements.get(&group.term.key);
            let free = group.domains.keys().filter(|d| !taken.contains(d) && here.has(d));
            let free = Requirement::of(free.cloned());
            if free.listed().is_none_or(|list| list.is_empty()) {
                return Narrowed::No { for_good: false };
            }
            out.push((group.term.key.clone(), free));
        }
        Narrowed::Yes(out)
    }

    /// Counts `by` pods of `class` on node number `node` with the labels of
    /// `node_requirements`; a negative number takes them back.
    pub fn record(&mut self, class: usize, node: usize, node_requirements: &Requirements, by: i32) {
        for position in 0..self.counted[class].len() {
            let index = self.counted[class][position];
            let group = &mut self.groups[index];
            let anti = group.term.kind == TopologyKind::AntiAffinity;
            let (selected, owner) = (group.selects[class], anti && group.owned_by[class]);
            if group.term.key == HOSTNAME {
                if selected {
                    add_at(&mut group.hosts, node, by);
                }
                if owner {
                    add_at(&mut group.owner_hosts, node, by);
                }
                continue;
            }
            let requirement = node_requirements.get(&group.term.key);
            let Some(values) = requirement.listed() else { continue };
            // An unsettled domain counts for anti-affinity only, and then everywhere.
            if selected && (values.len() == 1 || anti) {
                for value in values {
                    *group.domains.entry(value.clone()).or_insert(0) += by;
                }
            }
            if owner {
                for value in values {
                    *group.owner_domains.entry(value.clone()).or_insert(0) += by;
                }
            }
        }
    }
}

fn count_at(counts: &[i32], node: usize) -> i32 {
    counts.get(node).copied().unwrap_or(0)
}

fn add_at(counts: &mut Vec<i32>, node: usize, by: i32) {
    if counts.len() <= node {
        counts.resize(node + 1, 0);
    }
    counts[node] += by;
}

impl Group {
    fn narrow_own(
        &self,
        class: usize,
        pod: &Requirements,
        node: usize,
        node_requirements: &Requirements,
        out: &mut Vec<(String, Requirement)>,
    ) -> bool {
        let key = &self.term.key;
        let own = i32::from(self.selects[class]);
        if key == HOSTNAME {
            let count = count_at(&self.hosts, node);
            return match self.term.kind {
                TopologyKind::Spread { max_skew, .. } => count + own <= max_skew,
                TopologyKind::Affinity => {
                    count > 0 || (own == 1 && self.hosts.iter().all(|&n| n == 0))
                }
                TopologyKind::AntiAffinity => count == 0,
            };
        }
        let (pod_domains, here) = (pod.get(key), node_requirements.get(key));
        let allowed = match self.term.kind {
            TopologyKind::Spread { max_skew, min_domains } => {
                self.spread(own, max_skew, min_domains, &pod_domains, &here)
            }
            TopologyKind::Affinity => self.affinity(own, &pod_domains, &here),
            TopologyKind::AntiAffinity => {
                let free = self.domains.iter().filter(|(d, n)| **n == 0 && pod_domains.has(d));
                Requirement::of(free.map(|(d, _)| d.clone()))
            }
        };
        let both = allowed.intersection(&here);
        if both.listed().is_none_or(|list| list.is_empty()) {
            return false;
        }
        out.push((key.clone(), allowed));
        true
    }

    fn spread(
        &self,
        own: i32,
        max_skew: i32,
        min_domains: Option<i32>,
        pod_domains: &Requirement,
        here: &Requirement,
    ) -> Requirement {
        let supported = || self.domains.iter().filter(|(d, _)| pod_domains.has(d));
        let too_few = min_domains.is_some_and(|n| (supported().count() as i64) < i64::from(n));
        let least =
            if too_few { 0 } else { supported().map(|(_, n)| *n).min().unwrap_or(i32::MAX) };
        let best = supported()
            .filter(|(domain, count)| here.has(domain) && **count + own - least <= max_skew)
            .min_by_key(|(_, count)| **count);
        Requirement::of(best.map(|(domain, _)| domain.clone()))
    }

    fn affinity(&self, own: i32, pod_domains: &Requirement, here: &Requirement) -> Requirement {
        let occupied = self.domains.iter().filter(|(d, n)| **n > 0 && pod_domains.has(d));
        let occupied = Requirement::of(occupied.map(|(d, _)| d.clone()));
        if occupied.listed().is_some_and(|list| !list.is_empty()) || own == 0 {
            return occupied;
        }
        // The first pod of a set that must be together may start anywhere.
        let mut open = self.domains.keys().filter(|d| pod_domains.has(d));
        Requirement::of(open.find(|d| here.has(d)).cloned())
    }
}

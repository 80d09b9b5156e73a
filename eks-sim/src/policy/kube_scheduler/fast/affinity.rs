//! InterPodAffinity from the counts: the filter's rules and the score's table.

use super::super::class::AffinityTerm;
use super::super::framework::Cx;
use super::super::plugins::inter_pod_affinity::{expand, namespace_labels, own_matches};
use super::super::plugins::inter_pod_affinity_score::own_terms;
use super::super::{Labels, NodeKey};
use super::groups::{Counted, GroupId, Groups, Held, NO_DOMAIN, TopologyId};

/// A group and the label whose values are its domains.
type Counts = (GroupId, TopologyId);

/// What matters to one class.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// Pods that match all required terms, and the terms' keys.
    required: Option<(GroupId, Vec<TopologyId>)>,
    /// Whether the pod matches all its own required terms.
    matches_itself: bool,
    /// Pods that must not be in the node's domain: matched by own terms, or holding a term that
    /// matches this class.
    forbidden: Vec<Counts>,
    /// Weighted groups of the score.
    weighted: Vec<(i64, Counts)>,
    namespace_labels: Labels,
    /// Groups of holders looked at so far.
    holders: usize,
    /// Whether existing pods' preferences are left out.
    ignores_preferences: bool,
}

/// Domain tables of one decision.
#[derive(Debug, Default)]
pub(super) struct Rules {
    forbidden: Vec<(TopologyId, Table)>,
    required: Vec<(TopologyId, Table)>,
    /// Whether no pod matches anywhere and the pod may start the group.
    may_start: bool,
}

/// Pods by domain.
#[derive(Debug)]
enum Table {
    /// As the group keeps them: its number, and which of its tables.
    Kept(GroupId, usize),
    /// Counted for this decision.
    Counted(Vec<i64>),
}

impl Table {
    fn new((group, topology): Counts, groups: &Groups) -> Self {
        if let Some(at) = groups.dense(group, topology) {
            return Self::Kept(group, at);
        }
        let mut counts = Vec::new();
        groups.by_domain(group, topology, None, &mut counts);
        Self::Counted(counts)
    }
    fn counts<'a>(&'a self, groups: &'a Groups) -> &'a [i64] {
        match self {
            Self::Kept(group, at) => groups.kept(*group, *at),
            Self::Counted(counts) => counts,
        }
    }
}

impl Plan {
    /// The plan of a class as far as its own terms go.
    pub(super) fn new(cx: &Cx<'_>, groups: &mut Groups) -> Self {
        let terms = cx.class.pod_terms();
        let mut out = Self { namespace_labels: namespace_labels(cx), ..Self::default() };
        if !terms.affinity.is_empty() {
            let all: Vec<AffinityTerm> = terms.affinity.iter().map(|t| expand(cx, t)).collect();
            out.matches_itself = all.iter().all(|t| own_matches(t, cx.class));
            let keys: Vec<_> = all.iter().map(|t| groups.topology(t.key, cx.cache)).collect();
            let group = groups.group(Counted::Matched(all), cx.cache);
            keys.iter().for_each(|k| groups.want_dense(group, *k));
            out.required = Some((group, keys));
        }
        for term in &terms.anti_affinity {
            let counts = matched(cx, groups, expand(cx, term));
            out.forbidden.push(counts);
        }
        for (weight, term) in own_terms(cx) {
            let counts = matched(cx, groups, term);
            out.weighted.push((weight, counts));
        }
        out.ignores_preferences =
            out.weighted.is_empty() && cx.args.profile.ignore_preferred_terms_of_existing_pods;
        out
    }
    /// Takes terms into account that other pods were found to carry since the last time.
    pub(super) fn learn(&mut self, cx: &Cx<'_>, groups: &mut Groups) {
        if self.holders == groups.holder_count() {
            return;
        }
        let mut found = Vec::new();
        for (group, held, term) in groups.holders_since(self.holders) {
            if term.matches(cx.class.namespace, &cx.class.labels, &self.namespace_labels) {
                found.push((group, held, term.key));
            }
        }
        self.holders = groups.holder_count();
        let hard = cx.args.profile.hard_pod_affinity_weight;
        for (group, held, key) in found {
            let counts = (group, groups.topology(key, cx.cache));
            groups.want_dense(counts.0, counts.1);
            match held {
                Held::Anti => self.forbidden.push(counts),
                _ if self.ignores_preferences => {}
                Held::Required if hard > 0 => self.weighted.push((hard, counts)),
                Held::Required => {}
                Held::Preferred(weight) => self.weighted.push((weight, counts)),
            }
        }
    }
    /// The tables of a decision.
    pub(super) fn rules(&self, groups: &Groups) -> Rules {
        let table = |counts: Counts| (counts.1, Table::new(counts, groups));
        let occupied = |c: &&Counts| !groups.entries(c.0).is_empty();
        let forbidden = self.forbidden.iter().filter(occupied).map(|c| table(*c)).collect();
        let Some((group, topologies)) = &self.required else {
            return Rules { forbidden, ..Rules::default() };
        };
        let required: Vec<_> = topologies.iter().map(|t| table((*group, *t))).collect();
        let nobody = required.iter().all(|(_, t)| t.counts(groups).iter().all(|n| *n == 0));
        Rules { forbidden, required, may_start: nobody && self.matches_itself }
    }
    /// Whether any pod weighs.
    pub(super) fn scores(&self, groups: &Groups) -> bool {
        self.weighted.iter().any(|(_, (group, _))| !groups.entries(*group).is_empty())
    }
    /// Raw scores of nodes.
    pub(super) fn raw(&self, groups: &Groups, nodes: &[NodeKey]) -> Vec<i64> {
        let mut raw = vec![0; nodes.len()];
        for (weight, counts) in &self.weighted {
            if groups.entries(counts.0).is_empty() {
                continue;
            }
            let table = Table::new(*counts, groups);
            let by_domain = table.counts(groups);
            let t = groups.topology_info(counts.1);
            for (node, sum) in nodes.iter().zip(&mut raw) {
                let count = by_domain.get(t.domain(*node) as usize).copied().unwrap_or(0);
                *sum += weight * count;
            }
        }
        raw
    }
}

fn matched(cx: &Cx<'_>, groups: &mut Groups, term: AffinityTerm) -> Counts {
    let topology = groups.topology(term.key, cx.cache);
    let group = groups.group(Counted::Matched(vec![term]), cx.cache);
    groups.want_dense(group, topology);
    (group, topology)
}

impl Rules {
    /// Whether nothing is forbidden or required.
    pub(super) fn is_empty(&self) -> bool {
        self.forbidden.is_empty() && self.required.is_empty()
    }
    /// Whether the node's domains let the pod in.
    pub(super) fn allow(&self, groups: &Groups, node: NodeKey) -> bool {
        let domain = |t: TopologyId| groups.topology_info(t).domain(node);
        let count = |(t, table): &(TopologyId, Table)| {
            table.counts(groups).get(domain(*t) as usize).copied().unwrap_or(0)
        };
        let free = |table: &(TopologyId, Table)| count(table) <= 0;
        if !self.forbidden.iter().all(free) {
            return false;
        }
        let has_key = |(t, _): &(TopologyId, Table)| domain(*t) != NO_DOMAIN;
        let there = |table: &(TopologyId, Table)| count(table) > 0;
        self.required.iter().all(has_key) && (self.may_start || self.required.iter().all(there))
    }
}

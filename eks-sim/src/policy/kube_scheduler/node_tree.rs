//! The order of the node list: nodes grouped by zone, zones taken in turn.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/backend/cache/node_tree.go`.
//! Differences: none.

use super::NodeKey;
use crate::units::{Symbol, Symbols};

/// Labels that make a zone key, newest first.
const ZONE: [&str; 2] = ["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"];
const REGION: [&str; 2] =
    ["topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"];

/// Region and zone of a node (either may be absent).
pub type ZoneKey = (Option<Symbol>, Option<Symbol>);

/// Symbols of the labels that make a zone key.
#[derive(Clone, Debug)]
pub struct ZoneLabels {
    zone: [Symbol; 2],
    region: [Symbol; 2],
}

impl ZoneLabels {
    /// Interns the label keys.
    pub fn new(symbols: &mut Symbols) -> Self {
        Self { zone: ZONE.map(|t| symbols.intern(t)), region: REGION.map(|t| symbols.intern(t)) }
    }
    /// The zone key of a node with these labels.
    #[must_use]
    pub fn key(&self, labels: &super::labels::Labels) -> ZoneKey {
        let first = |keys: [Symbol; 2]| keys.into_iter().find_map(|k| labels.get(k));
        (first(self.region), first(self.zone))
    }
}

/// Nodes by zone, zones in order of first appearance.
#[derive(Clone, Debug, Default)]
pub struct NodeTree {
    zones: Vec<(ZoneKey, Vec<NodeKey>)>,
    count: usize,
}

impl NodeTree {
    /// Adds a node that is not in the tree.
    pub fn add(&mut self, zone: ZoneKey, node: NodeKey) {
        match self.zones.iter_mut().find(|z| z.0 == zone) {
            Some((_, nodes)) => nodes.push(node),
            None => self.zones.push((zone, vec![node])),
        }
        self.count += 1;
    }
    /// Removes a node; a zone goes with its last node.
    pub fn remove(&mut self, zone: ZoneKey, node: NodeKey) {
        let Some(z) = self.zones.iter().position(|z| z.0 == zone) else { return };
        let nodes = &mut self.zones[z].1;
        let Some(i) = nodes.iter().position(|n| *n == node) else { return };
        nodes.remove(i);
        self.count -= 1;
        if nodes.is_empty() {
            self.zones.remove(z);
        }
    }
    /// The list: the first node of each zone, then the second of each, and so on.
    #[must_use]
    pub fn list(&self) -> Vec<NodeKey> {
        let mut list = Vec::with_capacity(self.count);
        let longest = self.zones.iter().map(|z| z.1.len()).max().unwrap_or(0);
        for i in 0..longest {
            list.extend(self.zones.iter().filter_map(|z| z.1.get(i)).copied());
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_take_turns_and_re_enter_at_the_end() {
        let mut symbols = Symbols::new();
        let zone = |s: &mut Symbols, t: &str| (None, Some(s.intern(t)));
        let (a, b) = (zone(&mut symbols, "a"), zone(&mut symbols, "b"));
        let mut tree = NodeTree::default();
        for (z, n) in [(a, 0), (a, 1), (b, 2), (a, 3)] {
            tree.add(z, n);
        }
        assert_eq!(tree.list(), [0, 2, 1, 3]);
        for n in [0, 1, 3] {
            tree.remove(a, n);
        }
        tree.add(a, 4);
        assert_eq!(tree.list(), [2, 4]);
    }
}

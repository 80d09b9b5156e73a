//! A small cluster of its own: resources, host ports and topology spread of identical pods.
//!
//! Serves tests, vectors and measurements where the full scheduler is not wanted. Filters in
//! kube-scheduler's order: ports, resources, topology spread.

use super::cluster::{PlaceError, SimCluster};

/// A `DoNotSchedule` constraint that selects the pods of its own class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Over hostnames rather than zones.
    pub hostname: bool,
    /// Largest difference.
    pub max_skew: i64,
    /// Domains below which the minimum counts as zero.
    pub min_domains: i64,
}

/// What pods of a class ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SimplePod {
    /// Millicores.
    pub cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Port on the node.
    pub host_port: Option<u16>,
    /// Spread constraint.
    pub spread: Option<Spread>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SimpleNode {
    /// Millicores left.
    pub cpu: i64,
    /// Bytes left.
    pub memory: i64,
    /// Pods left.
    pub pods: i64,
    /// Zone, numbered.
    pub zone: u32,
    ports: Vec<u16>,
    by_class: Vec<i64>,
}

impl SimpleNode {
    /// An empty node.
    #[must_use]
    pub fn new(cpu: i64, memory: i64, pods: i64, zone: u32) -> Self {
        Self { cpu, memory, pods, zone, ..Self::default() }
    }
    fn count(&self, class: usize) -> i64 {
        self.by_class.get(class).copied().unwrap_or(0)
    }
}

/// The cluster; a pod is the number of its class.
#[derive(Clone, Debug, Default)]
pub struct SimpleCluster {
    classes: Vec<SimplePod>,
    nodes: Vec<SimpleNode>,
    templates: Vec<SimpleNode>,
    /// Undo journal: a node's earlier state, or none for an added node.
    journal: Vec<(usize, Option<SimpleNode>)>,
}

impl SimpleCluster {
    /// A cluster of `nodes`, with the `templates` of its groups and the `classes` of pods.
    #[must_use]
    pub fn new(
        nodes: Vec<SimpleNode>,
        templates: Vec<SimpleNode>,
        classes: Vec<SimplePod>,
    ) -> Self {
        Self { classes, nodes, templates, journal: Vec::new() }
    }
    /// A node by position.
    #[must_use]
    pub fn node(&self, position: usize) -> Option<&SimpleNode> {
        self.nodes.get(position)
    }

    fn spread_holds(&self, class: usize, spread: Spread, position: usize) -> bool {
        let domain = |i: usize, node: &SimpleNode| {
            if spread.hostname { i } else { node.zone as usize }
        };
        let mut counts = std::collections::BTreeMap::new();
        for (i, node) in self.nodes.iter().enumerate() {
            *counts.entry(domain(i, node)).or_insert(0) += node.count(class);
        }
        let enough = counts.len() as i64 >= spread.min_domains;
        let least = if enough { counts.values().min().copied().unwrap_or(0) } else { 0 };
        let here = counts.get(&domain(position, &self.nodes[position])).copied().unwrap_or(0);
        here + 1 - least <= spread.max_skew
    }
}

impl SimCluster for SimpleCluster {
    type Pod = usize;

    fn len(&self) -> usize {
        self.nodes.len()
    }
    fn add_template_node(&mut self, group: usize) {
        self.journal.push((self.nodes.len(), None));
        self.nodes.push(self.templates[group].clone());
    }
    fn try_place(&mut self, pod: usize, position: usize) -> Result<(), PlaceError> {
        let class = self.classes[pod];
        let node = &self.nodes[position];
        let ports = class.host_port.is_some_and(|port| node.ports.contains(&port));
        if ports || node.pods < 1 || node.cpu < class.cpu || node.memory < class.memory {
            return Err(PlaceError { topology_spread: false });
        }
        if class.spread.is_some_and(|spread| !self.spread_holds(pod, spread, position)) {
            return Err(PlaceError { topology_spread: true });
        }
        let node = &mut self.nodes[position];
        self.journal.push((position, Some(node.clone())));
        node.cpu -= class.cpu;
        node.memory -= class.memory;
        node.pods -= 1;
        node.ports.extend(class.host_port);
        if node.by_class.len() <= pod {
            node.by_class.resize(pod + 1, 0);
        }
        node.by_class[pod] += 1;
        Ok(())
    }
    fn remove_pod(&mut self, pod: usize, position: usize) {
        let class = self.classes[pod];
        let node = &mut self.nodes[position];
        self.journal.push((position, Some(node.clone())));
        node.cpu += class.cpu;
        node.memory += class.memory;
        node.pods += 1;
        node.ports.retain(|&port| Some(port) != class.host_port);
        if let Some(count) = node.by_class.get_mut(pod) {
            *count -= 1;
        }
    }
    fn checkpoint(&mut self) -> usize {
        self.journal.len()
    }
    fn rollback(&mut self, mark: usize) {
        while self.journal.len() > mark {
            match self.journal.pop() {
                Some((position, Some(node))) => self.nodes[position] = node,
                Some((position, None)) => self.nodes.truncate(position),
                None => return,
            }
        }
    }
}

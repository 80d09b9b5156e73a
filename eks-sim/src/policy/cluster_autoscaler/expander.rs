//! Expanders: which scale-up option is taken.
//!
//! Upstream: expander/{factory,mostpods,waste,leastnodes,priority,price,random} of release 1.37.
//! Differences: grpc is not simulated; the random pick is the caller's.

use crate::units::math;
use regex::Regex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A value of `--expander`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ExpanderKind {
    /// Any.
    Random,
    /// Most pods helped.
    MostPods,
    /// Least unused CPU and memory.
    LeastWaste,
    /// Fewest nodes.
    LeastNodes,
    /// Highest priority of the ConfigMap.
    Priority,
    /// Cheapest for the pods, with a preferred node size.
    Price,
}

/// An option: a group, nodes to add and the pods they help.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpansionOption {
    /// Position of the node group in the caller's list.
    pub group: usize,
    /// Its name.
    pub name: String,
    /// Nodes to add.
    pub nodes: i64,
    /// Pods helped.
    pub pods: usize,
    /// CPU requests of these pods, in millicores.
    pub pods_cpu: i64,
    /// Memory requests of these pods, in bytes.
    pub pods_memory: i64,
    /// CPU capacity of one node, in millicores.
    pub node_cpu: i64,
    /// Memory capacity of one node, in bytes.
    pub node_memory: i64,
    /// The node has GPUs.
    pub node_gpu: bool,
    /// Whether the group exists already.
    pub exists: bool,
    /// Price of one node (price expander).
    pub node_price: Option<f64>,
    /// Price of the helped pods (price expander).
    pub pods_price: f64,
}

/// Waste of an option: unused share of CPU plus unused share of memory.
#[must_use]
pub fn waste(option: &ExpansionOption) -> f64 {
    let part = |node: i64, used: i64| {
        let total = node.saturating_mul(option.nodes);
        total.saturating_sub(used) as f64 / total as f64
    };
    part(option.node_cpu, option.pods_cpu) + part(option.node_memory, option.pods_memory)
}

fn keep_lowest(options: &[ExpansionOption], score: impl Fn(&ExpansionOption) -> f64) -> Vec<usize> {
    let mut kept = Vec::new();
    let mut best = f64::INFINITY;
    for (i, option) in options.iter().enumerate() {
        let score = score(option);
        if score < best || kept.is_empty() {
            best = score;
            kept.clear();
            kept.push(i);
        } else if score == best {
            kept.push(i);
        }
    }
    kept
}

/// Positions of the options with the least waste.
#[must_use]
pub fn least_waste(options: &[ExpansionOption]) -> Vec<usize> {
    keep_lowest(options, waste)
}

/// Positions of the options that help most pods.
#[must_use]
pub fn most_pods(options: &[ExpansionOption]) -> Vec<usize> {
    let most = options.iter().map(|o| o.pods).max();
    positions(options, |o| Some(o.pods) == most)
}

/// Positions of the options with the fewest nodes; options without nodes are dropped.
#[must_use]
pub fn least_nodes(options: &[ExpansionOption]) -> Vec<usize> {
    let least = options.iter().map(|o| o.nodes).filter(|&n| n > 0).min();
    positions(options, |o| Some(o.nodes) == least)
}

fn positions(options: &[ExpansionOption], keep: impl Fn(&ExpansionOption) -> bool) -> Vec<usize> {
    options.iter().enumerate().filter(|(_, o)| keep(o)).map(|(i, _)| i).collect()
}

/// The ConfigMap `cluster-autoscaler-priority-expander`, read.
#[derive(Clone, Debug, Default)]
pub struct Priorities(BTreeMap<i64, Vec<Regex>>);

/// Why the ConfigMap is not usable; the expander then keeps every option.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("priority {priority}: `{pattern}` is not a regular expression; {cause}")]
pub struct PrioritiesError {
    /// Priority of the entry.
    pub priority: i64,
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub cause: String,
}

impl Priorities {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// When a pattern is not a regular expression.
    pub fn new(entries: &BTreeMap<i64, Vec<String>>) -> Result<Self, PrioritiesError> {
        let mut priorities = BTreeMap::new();
        for (&priority, patterns) in entries {
            let compiled = patterns
                .iter()
                .map(|pattern| {
                    Regex::new(pattern).map_err(|error| PrioritiesError {
                        priority,
                        pattern: pattern.clone(),
                        cause: error.to_string(),
                    })
                })
                .collect::<Result<Vec<_>, _>>()?;
            priorities.insert(priority, compiled);
        }
        Ok(Self(priorities))
    }

    fn of(&self, name: &str) -> Option<i64> {
        let matching = self.0.iter().rev().find(|(_, list)| list.iter().any(|r| r.is_match(name)));
        matching.map(|(&priority, _)| priority)
    }
}

/// Positions of the options of the highest priority; all if none matches or `priorities` is
/// missing.
#[must_use]
pub fn priority(options: &[ExpansionOption], priorities: Option<&Priorities>) -> Vec<usize> {
    let all = (0..options.len()).collect();
    let Some(priorities) = priorities else { return all };
    let of: Vec<Option<i64>> = options.iter().map(|o| priorities.of(&o.name)).collect();
    match of.iter().flatten().max() {
        None => all,
        Some(&best) => (0..options.len()).filter(|&i| of[i] == Some(best)).collect(),
    }
}

/// Settings of the price expander.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PriceSettings {
    /// CPU of the preferred node, in millicores.
    pub preferred_cpu: i64,
    /// Price of a pod of 500 m and 500 MiB, which keeps tiny prices from deciding.
    pub stabilization_pod_price: f64,
}

/// Prices of requests, as a cloud provider's price model gives them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PodPrices {
    /// A core for an hour.
    pub cpu_hour: f64,
    /// A GiB of memory for an hour.
    pub gib_hour: f64,
}

impl PodPrices {
    /// Price an hour of requests, by CPU (millicores) and memory (bytes).
    #[must_use]
    pub fn of(&self, cpu: i64, memory: i64) -> f64 {
        let gib = memory as f64 / f64::from(1 << 30);
        cpu as f64 / 1000.0 * self.cpu_hour + gib * self.gib_hour
    }

    /// The settings in a cluster of `nodes` nodes.
    #[must_use]
    pub fn settings(&self, nodes: usize) -> PriceSettings {
        PriceSettings {
            preferred_cpu: preferred_node(nodes).0,
            stabilization_pod_price: self.of(500, 500 << 20),
        }
    }
}

const GPU_UNFITNESS: f64 = 1000.0;
const NEW_GROUP_FACTOR: f64 = 2.0;
/// Nodes over which the preferred size loses its weight.
const NODE_COUNT_SCALE: f64 = 15.0;

/// Price score of an option; lower is better, an unknown price is infinite.
#[must_use]
pub fn price_score(option: &ExpansionOption, settings: &PriceSettings) -> f64 {
    let Some(node_price) = option.node_price else { return f64::INFINITY };
    let (preferred, cpu) = (settings.preferred_cpu as f64, option.node_cpu as f64);
    let unfitness = (preferred / cpu).max(cpu / preferred);
    let nodes = option.nodes as f64;
    let suppressed = (unfitness - 1.0) * (1.0 - math::tanh((nodes - 1.0) / NODE_COUNT_SCALE)) + 1.0;
    let unfitness = if option.node_gpu { GPU_UNFITNESS } else { suppressed };
    let stabilization = settings.stabilization_pod_price;
    let price = (node_price * nodes + stabilization) / (option.pods_price + stabilization);
    let score = unfitness * price;
    if option.exists { score } else { score * NEW_GROUP_FACTOR }
}

/// Positions of the options with the lowest price score.
#[must_use]
pub fn price(options: &[ExpansionOption], settings: &PriceSettings) -> Vec<usize> {
    let kept = keep_lowest(options, |option| price_score(option, settings));
    kept.into_iter().filter(|&i| price_score(&options[i], settings).is_finite()).collect()
}

/// Preferred CPU (millicores) and memory (MiB) of a node in a cluster of `nodes` nodes.
#[must_use]
pub fn preferred_node(nodes: usize) -> (i64, i64) {
    let cores = match nodes {
        0..=2 => 1,
        3..=6 => 2,
        7..=20 => 4,
        21..=60 => 8,
        61..=200 => 16,
        _ => 32,
    };
    (cores * 1000, cores * 3750)
}

/// What the expanders need besides the options.
#[derive(Clone, Copy, Debug)]
pub struct ExpanderContext<'a> {
    /// The chain.
    pub chain: &'a [ExpanderKind],
    /// The priority expander's ConfigMap, if readable.
    pub priorities: Option<&'a Priorities>,
    /// The price expander's settings.
    pub price: PriceSettings,
}

/// The options one expander keeps, by position.
#[must_use]
pub fn filter(
    kind: ExpanderKind,
    options: &[ExpansionOption],
    cx: &ExpanderContext<'_>,
) -> Vec<usize> {
    match kind {
        ExpanderKind::Random => (0..options.len()).collect(),
        ExpanderKind::MostPods => most_pods(options),
        ExpanderKind::LeastWaste => least_waste(options),
        ExpanderKind::LeastNodes => least_nodes(options),
        ExpanderKind::Priority => priority(options, cx.priorities),
        ExpanderKind::Price => price(options, &cx.price),
    }
}

/// Position of the best option. `pick` chooses among equals: a number below its argument.
pub fn best_option(
    options: &[ExpansionOption],
    cx: &ExpanderContext<'_>,
    pick: &mut dyn FnMut(usize) -> usize,
) -> Option<usize> {
    let mut kept: Vec<usize> = (0..options.len()).collect();
    for &kind in cx.chain {
        if kind == ExpanderKind::Random {
            break;
        }
        let list: Vec<ExpansionOption> = kept.iter().map(|&i| options[i].clone()).collect();
        kept = filter(kind, &list, cx).into_iter().map(|i| kept[i]).collect();
        if kept.len() <= 1 {
            break;
        }
    }
    match kept.len() {
        0 => None,
        1 => kept.first().copied(),
        n => kept.get(pick(n)).or(kept.first()).copied(),
    }
}

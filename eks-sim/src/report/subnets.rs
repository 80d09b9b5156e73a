//! The static answer for a subnet plan as text, Markdown and JSON.

use super::number::grouped;
use super::render::{Color, pad, width};
use crate::policy::vpc_cni::Holding;
use crate::study::subnets::{Answer, Bound, Effect, NodeKind, Rest, Situation, SubnetFacts};
use core::fmt::Write as _;

/// A table with its title; columns after the first `words` hold numbers.
struct Table {
    title: String,
    words: usize,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    remarks: Vec<String>,
}

impl Table {
    fn new(title: impl Into<String>, words: usize, header: &[&str]) -> Self {
        let header = header.iter().map(|h| (*h).to_owned()).collect();
        Self { title: title.into(), words, header, rows: Vec::new(), remarks: Vec::new() }
    }

    fn text(&self, color: Color, out: &mut String) {
        let _ = writeln!(out, "\n{}", color.bold(&self.title));
        let all = || core::iter::once(&self.header).chain(&self.rows);
        let widest = |i: usize| all().map(|row| row.get(i).map_or(0, |c| width(c))).max();
        let widths: Vec<usize> = (0..self.header.len()).map(|i| widest(i).unwrap_or(0)).collect();
        for row in all() {
            let mut line = String::new();
            for (i, (cell, to)) in row.iter().zip(&widths).enumerate() {
                line.push_str("  ");
                if i < self.words || i + 1 == row.len() && self.last_is_words() {
                    line.push_str(&pad(cell, *to));
                } else {
                    line.push_str(&" ".repeat(to.saturating_sub(width(cell))));
                    line.push_str(cell);
                }
            }
            let _ = writeln!(out, "{}", line.trim_end());
        }
        for remark in &self.remarks {
            let _ = writeln!(out, "  {remark}");
        }
    }

    fn markdown(&self, out: &mut String) {
        let _ = writeln!(out, "\n### {}\n", self.title);
        let _ = writeln!(out, "| {} |", self.header.join(" | "));
        let last = self.header.len() - 1;
        let rule = (0..self.header.len()).map(|i| {
            if i < self.words || i == last && self.last_is_words() { "---" } else { "---:" }
        });
        let _ = writeln!(out, "| {} |", rule.collect::<Vec<_>>().join(" | "));
        for row in &self.rows {
            let row: Vec<String> = row.iter().map(|c| c.replace('|', "\\|")).collect();
            let _ = writeln!(out, "| {} |", row.join(" | "));
        }
        for remark in &self.remarks {
            let _ = writeln!(out, "\n{remark}");
        }
    }

    /// Whether the last column explains in words.
    fn last_is_words(&self) -> bool {
        matches!(self.header.last().map(String::as_str), Some("taken by" | "note" | "cost or risk"))
    }
}

/// For a terminal.
#[must_use]
pub fn text(answer: &Answer, color: Color) -> String {
    let mut out = format!("{}: {}\n", color.bold(&answer.scenario), answer.mode);
    tables(answer).iter().for_each(|table| table.text(color, &mut out));
    let _ = writeln!(out, "\n{}", color.bold("Assumed"));
    for words in &answer.assumptions {
        let _ = writeln!(out, "  {words}");
    }
    out
}

/// For a review comment.
#[must_use]
pub fn markdown(answer: &Answer) -> String {
    let mut out = format!("## Subnets of {}\n\n{}\n", answer.scenario, answer.mode);
    tables(answer).iter().for_each(|table| table.markdown(&mut out));
    let _ = writeln!(out, "\n### Assumed\n");
    for words in &answer.assumptions {
        let _ = writeln!(out, "- {words}");
    }
    out
}

/// For programs.
///
/// # Panics
/// Never: the keys are texts.
#[must_use]
pub fn json(answer: &Answer) -> String {
    let mut text = serde_json::to_string_pretty(answer).expect("the keys are texts");
    text.push('\n');
    text
}

fn tables(answer: &Answer) -> Vec<Table> {
    let mut tables = vec![subnets(&answer.subnets)];
    tables.extend(answer.nodes.iter().map(kind));
    tables.push(situations(answer));
    for s in &answer.suggestions {
        let title = format!("Ways out for {} {}, full nodes", s.group, s.instance_type);
        let header =
            ["remedy", "pods/node", "addresses/node", "nodes", "pods", "pods by", "cost or risk"];
        let mut table = Table::new(title, 1, &header);
        table.rows = s.effects.iter().map(suggestion).collect();
        tables.push(table);
    }
    tables.retain(|t| !t.rows.is_empty());
    tables
}

fn count(n: impl Into<u64>) -> String {
    grouped(n.into() as f64, 0)
}

fn subnets(facts: &[SubnetFacts]) -> Table {
    let header = ["subnet", "zone", "block", "usable", "free", "free /28", "taken by"];
    let mut table = Table::new("Subnets before any node", 3, &header);
    for s in facts {
        let taken = s.taken.iter().map(|(holding, n)| format!("{} {n}", holder(*holding)));
        let taken: Vec<String> = taken.collect();
        table.rows.push(vec![
            s.name.clone(),
            s.zone.clone(),
            s.cidr.clone(),
            count(s.usable),
            count(s.free),
            count(s.free_blocks),
            if taken.is_empty() { "nobody".to_owned() } else { taken.join(", ") },
        ]);
    }
    table
}

fn holder(holding: Holding) -> &'static str {
    match holding {
        Holding::ControlPlane => "control plane",
        Holding::LoadBalancer => "load balancers",
        Holding::NatGateway => "NAT gateways",
        Holding::Endpoint => "endpoints",
        Holding::Fargate => "Fargate pods",
        _ => "others",
    }
}

fn bound(bound: Bound) -> &'static str {
    match bound {
        Bound::Interfaces => "addresses of its interfaces",
        Bound::MaxPods => "maxPods",
        Bound::Cpu => "CPU",
        Bound::Memory => "memory",
        Bound::Addresses => "subnet addresses",
        Bound::Blocks => "free /28 blocks",
        Bound::MaxSize => "maxSize",
    }
}

fn kind(k: &NodeKind) -> Table {
    let header =
        ["load", "pods/node", "addresses/node", "nodes", "pods", "a zone lost: nodes", "pods"];
    let mut table =
        Table::new(format!("{} {}: how many fit", k.group, k.instance_type), 1, &header);
    let load = |rest: &Rest| match rest.load {
        "idle" => "idle".to_owned(),
        "scenario" => "the scenario's pods".to_owned(),
        _ => "full".to_owned(),
    };
    table.rows = k
        .rest
        .iter()
        .map(|r| {
            let (nodes, pods) = r.zone_lost.as_ref().map_or_else(
                || ("–".to_owned(), "–".to_owned()),
                |(_, nodes, pods)| (count(*nodes), count(*pods)),
            );
            vec![
                load(r),
                count(r.pods_per_node),
                count(r.addresses_per_node),
                count(r.nodes),
                count(r.pods),
                nodes,
                pods,
            ]
        })
        .collect();
    let limits: Vec<String> =
        k.per_node.iter().map(|(b, pods)| format!("{} {}", bound(*b), count(*pods))).collect();
    table.remarks.push(
        "Nodes that get all they want; pods on all nodes that start, the last ones' too."
            .to_owned(),
    );
    table.remarks.push(format!(
        "On a node binds {}; pods beside {} of DaemonSets that each limit admits: {}.",
        bound(k.node_bound),
        k.daemon_pods,
        limits.join(", ")
    ));
    table.remarks.push(first_words(k));
    table
}

fn first_words(k: &NodeKind) -> String {
    let full = k.rest.last();
    let (nodes, pods) = full.map_or((0, 0), |r| (r.nodes, r.pods));
    let (nodes, pods) = (count(nodes), count(pods));
    match (k.first, k.max_size, &k.first_subnet) {
        (Bound::MaxSize, Some(most), _) => format!(
            "maxSize {} binds first; the subnets would do for {nodes} full nodes.",
            count(most)
        ),
        (first, _, Some(subnet)) => format!(
            "Binds first in the group: {} of {subnet}, after {nodes} full nodes in all subnets \
             ({pods} pods).",
            bound(first)
        ),
        (first, _, None) => {
            format!(
                "Binds first in the group: {}, after {nodes} full nodes ({pods} pods).",
                bound(first)
            )
        }
    }
}

fn situations(answer: &Answer) -> Table {
    let mut header = vec!["situation", "fits", "nodes", "pods", "first dry"];
    header.extend(answer.subnets.iter().map(|s| s.name.as_str()).take(SHOWN));
    header.push("note");
    let mut table = Table::new("Does the scenario fit? Free addresses by subnet", 2, &header);
    table.rows = answer.situations.iter().map(situation).collect();
    table
}

/// Subnets that have a column.
const SHOWN: usize = 8;

fn situation(s: &Situation) -> Vec<String> {
    let of = |got: u64, wanted: u64| match got == wanted {
        true => count(got),
        false => format!("{} of {}", count(got), count(wanted)),
    };
    let mut row = vec![
        s.name.clone(),
        if s.fits { "✓" } else { "✗" }.to_owned(),
        of(s.nodes, s.nodes_wanted),
        of(s.pods, s.pods_wanted),
        s.first_dry.clone().unwrap_or_else(|| "–".to_owned()),
    ];
    row.extend(s.free.iter().take(SHOWN).map(|f| f.map_or_else(|| "lost".to_owned(), count)));
    row.push(s.note.clone());
    row
}

fn suggestion(e: &Effect) -> Vec<String> {
    vec![
        e.remedy.clone(),
        count(e.pods_per_node),
        count(e.addresses_per_node),
        count(e.nodes),
        count(e.pods),
        e.factor.map_or_else(|| "–".to_owned(), |f| format!("× {}", grouped(f, 2))),
        match (e.peak_fits, e.peak_pods) {
            (true, _) => "✓".to_owned(),
            (false, (pods, wanted)) => format!("✗ {} of {}", count(pods), count(wanted)),
        },
        e.cost.to_owned(),
    ]
}

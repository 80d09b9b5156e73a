//! Neutral workloads of nodes and pods, by a seed.
//!
//! One seed gives one workload. Only uniform numbers are drawn and every number is rounded before
//! it is used, so that other simulators can be given the very same files (see [`write_csv`]).
//! Running times are scaled so that the mean CPU demand over the window of arrivals is
//! [`Options::load`] times the cluster's CPU.

use crate::twister::Twister;
use eks_sim::units::math;
use std::fmt::Write as _;
use std::path::Path;

const GIB: i64 = 1 << 30;
const MIB: i64 = 1 << 20;

/// Share, millicores, bytes.
type Table = &'static [(f64, i64, i64)];

/// Five shapes of requests, as replicas of Deployments share them.
const SHAPES: Table = &[
    (0.50, 250, 512 * MIB),
    (0.25, 500, GIB),
    (0.15, 1000, 2 * GIB),
    (0.08, 2000, 8 * GIB),
    (0.02, 4000, 16 * GIB),
];
/// Allocatable capacity of nodes.
const NODES: Table = &[(0.50, 15890, 57 * GIB), (0.30, 7910, 28 * GIB), (0.20, 31850, 116 * GIB)];

/// What to make.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Nodes.
    pub nodes: usize,
    /// Pods.
    pub pods: usize,
    /// Window of arrivals.
    pub hours: f64,
    /// Mean CPU demand over capacity.
    pub load: f64,
    /// Whether almost every pod has a shape of its own.
    pub diverse: bool,
    /// Seed.
    pub seed: u32,
}

impl Options {
    /// 24 hours at a load of 60 %.
    #[must_use]
    pub const fn new(nodes: usize, pods: usize) -> Self {
        Self { nodes, pods, hours: 24.0, load: 0.6, diverse: false, seed: 1 }
    }
}

/// A node.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    /// Allocatable CPU.
    pub millicores: i64,
    /// Allocatable memory.
    pub bytes: i64,
}

/// A pod.
#[derive(Clone, Copy, Debug)]
pub struct Pod {
    /// Arrival in seconds.
    pub arrival: f64,
    /// CPU asked for.
    pub millicores: i64,
    /// Memory asked for.
    pub bytes: i64,
    /// Running time in seconds.
    pub duration: f64,
}

/// Nodes, and pods in the order of arrival.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Nodes.
    pub nodes: Vec<Node>,
    /// Pods.
    pub pods: Vec<Pod>,
}

fn pick(random: &mut Twister, table: Table) -> (f64, i64, i64) {
    let mut x = random.uniform();
    for row in table {
        x -= row.0;
        if x < 0.0 {
            return *row;
        }
    }
    table[table.len() - 1]
}

fn normal(random: &mut Twister) -> f64 {
    let u = 1.0 - random.uniform();
    let radius = math::sqrt(-2.0 * math::ln(u));
    radius * math::cos(2.0 * std::f64::consts::PI * random.uniform())
}

/// Rounds to thousandths as the decimal number would be.
fn thousandths(x: f64) -> f64 {
    let scaled = x * 1000.0;
    let near = scaled.round_ties_even();
    if (scaled - near).abs() < 0.499 {
        return near / 1000.0;
    }
    format!("{x:.3}").parse().unwrap_or(x)
}

/// Makes the workload.
#[must_use]
pub fn generate(o: &Options) -> Workload {
    let mut random = Twister::new(o.seed);
    let mut nodes = Vec::with_capacity(o.nodes);
    let mut capacity = 0;
    for _ in 0..o.nodes {
        let (_, millicores, bytes) = pick(&mut random, NODES);
        capacity += millicores;
        nodes.push(Node { millicores, bytes });
    }
    let window = o.hours * 3600.0;
    let gap = window / o.pods as f64;
    let mut pods = Vec::with_capacity(o.pods);
    let (mut clock, mut work) = (0.0_f64, 0.0);
    for _ in 0..o.pods {
        // Whole milliseconds, strictly increasing: no two pods arrive at once.
        let next = thousandths(clock - math::ln(1.0 - random.uniform()) * gap);
        clock = (clock + 0.001).max(next);
        let (_, mut millicores, mut bytes) = pick(&mut random, SHAPES);
        if o.diverse {
            let part = |whole: i64, r: f64| (whole as f64 * (0.5 + r)).round_ties_even() as i64;
            millicores = part(millicores, random.uniform()).max(10);
            bytes = part(bytes, random.uniform()).max(MIB);
        }
        // Lognormal of mean 1, cut at 5 so that no single pod stretches the run.
        let duration = math::exp(normal(&mut random) - 0.5).min(5.0);
        work += millicores as f64 * duration;
        pods.push(Pod { arrival: clock, millicores, bytes, duration });
    }
    let scale = o.load * capacity as f64 * window / work;
    for pod in &mut pods {
        pod.arrival = thousandths(pod.arrival);
        pod.duration = thousandths((pod.duration * scale).max(1.0));
    }
    Workload { nodes, pods }
}

/// Writes `nodes.csv` and `pods.csv` into `folder`.
///
/// # Errors
/// The folder cannot be written.
pub fn write_csv(workload: &Workload, folder: &Path) -> std::io::Result<()> {
    let width = |n: usize| n.saturating_sub(1).to_string().len();
    let mut text = "id,cpu_millicores,mem_bytes\n".to_owned();
    let digits = width(workload.nodes.len());
    for (i, n) in workload.nodes.iter().enumerate() {
        let _ = writeln!(text, "node-{i:0digits$},{},{}", n.millicores, n.bytes);
    }
    std::fs::write(folder.join("nodes.csv"), &text)?;
    text.clear();
    text.push_str("id,arrival_s,cpu_millicores,mem_bytes,duration_s\n");
    let digits = width(workload.pods.len());
    for (i, p) in workload.pods.iter().enumerate() {
        let (at, long) = (p.arrival, p.duration);
        let _ = writeln!(text, "pod-{i:0digits$},{at:.3},{},{},{long:.3}", p.millicores, p.bytes);
    }
    std::fs::write(folder.join("pods.csv"), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_the_one_asked_for() {
        let o = Options { diverse: true, ..Options::new(50, 5_000) };
        let w = generate(&o);
        let capacity: i64 = w.nodes.iter().map(|n| n.millicores).sum();
        let work: f64 = w.pods.iter().map(|p| p.millicores as f64 * p.duration).sum();
        let load = work / (capacity as f64 * 86_400.0);
        assert!((load - 0.6).abs() < 0.001, "{load}");
        assert!(w.pods.windows(2).all(|p| p[0].arrival < p[1].arrival));
        assert_eq!(generate(&o).pods.len(), 5_000);
    }

    #[test]
    fn rounding_is_decimal() {
        for x in [0.0005, 1.0005, 2.0015, 86_399.999_5, 0.1234999, 12.0] {
            assert_eq!(thousandths(x), format!("{x:.3}").parse::<f64>().unwrap(), "{x}");
        }
    }
}

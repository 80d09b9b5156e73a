//! Karpenter's decisions on a neutral workload of mixed pod shapes: how long a scheduling round
//! takes, what a half-empty cluster costs once consolidation is quiet, and how long a day of
//! consolidation takes. Times are processor time.
//!
//! `karpenter up [PODS] [MAX_VCPU]`: one batch without rules, then one with every rule
//! (zones, spot and on-demand, DaemonSets, selectors, spread, anti-affinity, limits).
//! `karpenter cost [PODS] [MAX_VCPU]` and `karpenter consolidate [PODS] [HOURS]`.

mod day;
mod rules;

use benches::cpu::seconds;
use benches::twister::Twister;
use eks_sim::catalog::{self, CapacityType as Bought, Region};
use eks_sim::k8s::ResourceList;
use eks_sim::policy::karpenter::consolidation::{Decision, Removed};
use eks_sim::policy::karpenter::disruption::ConsolidationPolicy;
use eks_sim::policy::karpenter::offerings::{CapacityType, Offering};
use eks_sim::policy::karpenter::options::{CandidateOrder, MinValuesPolicy};
use eks_sim::policy::karpenter::pass::{PassCandidate, PassInput, consolidate};
use eks_sim::policy::karpenter::requirements::{
    CAPACITY_TYPE, HOSTNAME, INSTANCE_TYPE, NODE_POOL, Requirement, Requirements, ZONE,
};
use eks_sim::policy::karpenter::solve::{
    Catalog, Constraints, ExistingNode, Input, InstanceType, Pending, Placement, PodClass, Pool,
    Resources, Solver, TypeSet,
};
use eks_sim::units::{Quantity, SimTime};
use std::collections::BTreeMap;

const MIB: i64 = 1 << 20;
const GIB: i64 = 1 << 30;
/// Share of the pods, millicores, bytes.
const SHAPES: [(f64, i64, i64); 9] = [
    (0.06, 100, 128 * MIB),
    (0.36, 250, 512 * MIB),
    (0.22, 500, GIB),
    (0.12, 1000, 2 * GIB),
    (0.08, 1000, 4 * GIB),
    (0.07, 2000, 8 * GIB),
    (0.05, 2000, 16 * GIB),
    (0.03, 4000, 8 * GIB),
    (0.01, 8000, 64 * GIB),
];
const ZONES: [&str; 3] = ["us-east-1a", "us-east-1b", "us-east-1c"];

/// Millicores, bytes and number of pods of each Deployment.
fn deployments(pods: usize, seed: u32) -> Vec<(i64, i64, usize)> {
    let mut random = Twister::new(seed);
    let count = (pods / 20).max(1);
    let mut sizes = vec![1; count];
    for _ in 0..pods - count {
        sizes[(random.uniform() * count as f64) as usize] += 1;
    }
    sizes
        .into_iter()
        .map(|size| {
            let mut x = random.uniform();
            let mut shape = SHAPES[SHAPES.len() - 1];
            for candidate in SHAPES {
                x -= candidate.0;
                if x < 0.0 {
                    shape = candidate;
                    break;
                }
            }
            (shape.1, shape.2, size)
        })
        .collect()
}

fn amounts(cpu: i64, memory: i64, pods: i64) -> ResourceList {
    [
        ("cpu".to_owned(), Quantity::from_milli(cpu)),
        ("memory".to_owned(), Quantity::from_bytes(memory)),
        ("pods".to_owned(), Quantity::from_units(pods)),
    ]
    .into()
}

/// Families c, m and r from generation 5, no bare metal, with Karpenter's published sizes.
fn types(max_vcpu: u32) -> Vec<InstanceType> {
    let keep = |t: &&catalog::InstanceType| {
        let digits = t.family().get(1..).unwrap_or_default();
        let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
        ["c", "m", "r"].contains(&&t.name[..1])
            && digits.parse::<u32>().is_ok_and(|g| g >= 5)
            && !t.name.contains("metal")
            && (max_vcpu == 0 || t.vcpu.is_some_and(|v| v <= max_vcpu))
    };
    let mut all: Vec<&catalog::InstanceType> =
        catalog::Catalog::embedded().iter().filter(keep).collect();
    all.sort_by_key(|t| t.name);
    all.into_iter()
        .filter_map(|t| {
            let size = t.karpenter?;
            let price = t.price(Region::US_EAST_1, Bought::OnDemand)?.usd_per_hour();
            let mut requirements = Requirements::new();
            requirements.add(INSTANCE_TYPE, Requirement::of([t.name]));
            let offering = |zone: &&str| Offering {
                capacity_type: CapacityType::OnDemand,
                zone: (*zone).to_owned(),
                price,
                available: true,
            };
            Some(InstanceType {
                name: t.name.to_owned(),
                requirements,
                capacity: amounts(i64::from(t.vcpu?) * 1000, t.memory?.raw(), i64::from(size.pods)),
                allocatable: amounts(size.cpu.raw(), size.memory_mib * MIB, i64::from(size.pods)),
                offerings: ZONES.iter().map(offering).collect(),
            })
        })
        .collect()
}

fn class(cpu: i64, memory: i64) -> PodClass {
    PodClass {
        namespace: "default".to_owned(),
        labels: BTreeMap::new(),
        requests: amounts(cpu, memory, 1),
        host_ports: Vec::new(),
        levels: vec![Constraints::default()],
    }
}

struct Node {
    row: usize,
    pods: Vec<usize>,
    free: Resources,
    serial: usize,
}

struct World {
    catalog: Catalog,
    pools: [Pool; 1],
    classes: Vec<PodClass>,
    requests: Vec<Resources>,
    nodes: Vec<Node>,
    launched: usize,
}

const POD: Pending<'static> = Pending { class: 0, created: SimTime::ZERO, uid: "" };

impl World {
    fn new(pods: usize, max_vcpu: u32) -> (Self, Vec<usize>) {
        let catalog = Catalog::new(types(max_vcpu), &[]);
        let mut requirements = Requirements::new();
        requirements.add(NODE_POOL, Requirement::of(["default"]));
        requirements.add(CAPACITY_TYPE, Requirement::of(["on-demand"]));
        let pool = Pool {
            name: "default".to_owned(),
            weight: 0,
            requirements,
            taints: Vec::new(),
            limits: vec![None; catalog.width()],
            nodes_left: None,
            types: TypeSet::all(catalog.types().len()),
        };
        let list = deployments(pods, 1);
        let classes: Vec<PodClass> = list.iter().map(|d| class(d.0, d.1)).collect();
        let requests = classes.iter().filter_map(|c| catalog.resources(&c.requests)).collect();
        let nodes = Vec::new();
        let counts = list.iter().map(|d| d.2).collect();
        (Self { catalog, pools: [pool], classes, requests, nodes, launched: 0 }, counts)
    }

    fn existing(&self) -> Vec<ExistingNode> {
        self.nodes
            .iter()
            .map(|node| {
                let name = format!("n{:06}", node.serial);
                let mut counts: BTreeMap<usize, u32> = BTreeMap::new();
                node.pods.iter().for_each(|&c| *counts.entry(c).or_insert(0) += 1);
                ExistingNode {
                    labels: [
                        (HOSTNAME.to_owned(), name.clone()),
                        (NODE_POOL.to_owned(), "default".to_owned()),
                        (CAPACITY_TYPE.to_owned(), "on-demand".to_owned()),
                        (ZONE.to_owned(), ZONES[node.serial % 3].to_owned()),
                    ]
                    .into(),
                    name,
                    taints: Vec::new(),
                    available: node.free.clone(),
                    ports: Vec::new(),
                    initialized: true,
                    pods: counts.into_iter().collect(),
                    pool: None,
                }
            })
            .collect()
    }

    fn price(&self, row: usize) -> f64 {
        self.catalog.types()[row].offerings.first().map_or(0.0, |o| o.price)
    }

    fn bill(&self) -> f64 {
        self.nodes.iter().map(|n| self.price(n.row)).sum()
    }

    fn add_node(&mut self, row: usize) -> usize {
        let free = self.catalog.allocatable(row).clone();
        self.nodes.push(Node { row, pods: Vec::new(), free, serial: self.launched });
        self.launched += 1;
        self.nodes.len() - 1
    }

    fn place(&mut self, node: usize, class: usize) {
        let requests = &self.requests[class];
        self.nodes[node].free.iter_mut().zip(requests).for_each(|(a, b)| *a -= b);
        self.nodes[node].pods.push(class);
    }
}

fn pending(classes: impl IntoIterator<Item = usize>) -> Vec<Pending<'static>> {
    classes.into_iter().map(|class| Pending { class, ..POD }).collect()
}

fn input<'a>(world: &'a World, nodes: &'a [ExistingNode]) -> Input<'a> {
    Input {
        catalog: &world.catalog,
        pools: &world.pools,
        nodes,
        classes: &world.classes,
        daemons: &[],
        min_values: MinValuesPolicy::Strict,
    }
}

/// Buys nodes for all pods in one batch; returns the seconds of the round.
fn up(world: &mut World, counts: &[usize]) -> f64 {
    let all = counts.iter().enumerate().flat_map(|(c, &n)| core::iter::repeat_n(c, n));
    let pods = pending(all);
    let start = seconds();
    let solution = Solver::new(&input(world, &[])).solve(&pods, &[]);
    let spent = seconds() - start;
    assert!(solution.all_placed(), "every pod has a place");
    let first = world.nodes.len();
    for claim in &solution.claims {
        world.add_node(claim.types[0]);
    }
    for (pod, placement) in pods.iter().zip(&solution.placements) {
        if let Placement::New(claim) = placement {
            world.place(first + claim, pod.class);
        }
    }
    spent
}

/// Half of every Deployment goes, the youngest pods first.
fn halve(world: &mut World, counts: &[usize]) {
    let mut surplus: Vec<usize> = counts.iter().map(|n| n / 2).collect();
    for node in 0..world.nodes.len() {
        let mut kept = Vec::new();
        for class in core::mem::take(&mut world.nodes[node].pods) {
            // Every second pod of a Deployment, spread over its nodes.
            let before = surplus[class];
            if before > 0 && (before + node).is_multiple_of(2) {
                surplus[class] -= 1;
                let requests = world.requests[class].clone();
                world.nodes[node].free.iter_mut().zip(&requests).for_each(|(a, b)| *a += b);
            } else {
                kept.push(class);
            }
        }
        world.nodes[node].pods = kept;
    }
    for node in 0..world.nodes.len() {
        let mut kept = Vec::new();
        for class in core::mem::take(&mut world.nodes[node].pods) {
            if surplus[class] > 0 {
                surplus[class] -= 1;
                let requests = world.requests[class].clone();
                world.nodes[node].free.iter_mut().zip(&requests).for_each(|(a, b)| *a += b);
            } else {
                kept.push(class);
            }
        }
        world.nodes[node].pods = kept;
    }
}

/// One pass with a budget of a tenth of the nodes; whether something was done.
fn step(world: &mut World) -> bool {
    let budget = world.nodes.len().div_ceil(10);
    let before = world.nodes.len();
    let mut left = budget;
    world.nodes.retain(|n| {
        let goes = n.pods.is_empty() && left > 0;
        left -= usize::from(goes);
        !goes
    });
    if world.nodes.len() < before {
        return true;
    }
    let nodes = world.existing();
    let waiting: Vec<Vec<Pending<'static>>> =
        world.nodes.iter().map(|n| pending(n.pods.iter().copied())).collect();
    let candidates: Vec<PassCandidate<'_>> = world
        .nodes
        .iter()
        .enumerate()
        .map(|(i, n)| PassCandidate {
            node: i,
            pool: 0,
            removed: Removed {
                instance_type: &world.catalog.types()[n.row].name,
                capacity_type: CapacityType::OnDemand,
                price: world.price(n.row),
            },
            reschedule_cost: 1.0 + n.pods.len() as f64,
            disruption_cost: n.pods.len() as f64,
            pods: &waiting[i],
        })
        .collect();
    let initialized = vec![true; nodes.len()];
    let pass = PassInput {
        catalog: &world.catalog,
        pending: &[],
        initialized: &initialized,
        policies: &[ConsolidationPolicy::WhenEmptyOrUnderutilized],
        totals: &[(0.0, 0.0)],
        spot_to_spot: false,
        order: CandidateOrder::SavingsPerDisruption,
        unreached: &[],
        max_simulations: usize::MAX,
    };
    let given = input(world, &nodes);
    let mut solver = Solver::new(&given);
    let Some(found) = consolidate(&pass, &candidates, &[budget as i64], &mut solver) else {
        return false;
    };
    let pods = pending(found.candidates.iter().flat_map(|&i| world.nodes[i].pods.clone()));
    let solution = solver.solve(&pods, &found.candidates);
    let new = match found.decision {
        Decision::Replace { .. } => found.replacement.first().map(|&row| world.add_node(row)),
        _ => None,
    };
    for (pod, placement) in pods.iter().zip(&solution.placements) {
        match (placement, new) {
            (Placement::Existing(node), _) => world.place(*node, pod.class),
            (Placement::New(_), Some(node)) => world.place(node, pod.class),
            _ => unreachable!("the simulation placed every pod"),
        }
    }
    let mut index = 0;
    world.nodes.retain(|_| {
        index += 1;
        !found.candidates.contains(&(index - 1))
    });
    true
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |i: usize, default: usize| arguments.get(i).and_then(|t| t.parse().ok()).unwrap_or(default);
    let verb = arguments.first().map_or("up", String::as_str);
    if verb == "consolidate" {
        day::run(number(1, 15_000), number(2, 24));
        return;
    }
    let max_vcpu = number(2, if verb == "cost" { 16 } else { 0 });
    let (mut world, counts) = World::new(number(1, 10_000), max_vcpu as u32);
    let spent = up(&mut world, &counts);
    println!(
        "karpenter_up: {} pods, {} types, {} nodes, {:.2} $/h, {:.1} ms",
        counts.iter().sum::<usize>(),
        world.catalog.types().len(),
        world.nodes.len(),
        world.bill(),
        spent * 1000.0
    );
    if verb != "cost" {
        rules::run(number(1, 10_000));
        return;
    }
    halve(&mut world, &counts);
    println!("half of the pods gone: {} nodes, {:.2} $/h", world.nodes.len(), world.bill());
    let start = seconds();
    let mut steps = 0;
    while step(&mut world) {
        steps += 1;
    }
    println!(
        "karpenter_cost: quiet after {steps} commands: {} nodes, {:.2} $/h, {:.1} ms",
        world.nodes.len(),
        world.bill(),
        (seconds() - start) * 1000.0
    );
}

//! Random histories of a cluster: what is kept between rounds must equal what is made anew, and
//! what is known in brief must equal what a whole round says.

use super::super::super::consolidation::{Removed, multi_node_search};
use super::super::super::disruption::{ConsolidationPolicy, within_budgets};
use super::super::super::options::CandidateOrder;
use super::super::super::pass::{
    PassCandidate, PassInput, Refusal, attempt, multi_node, single_node,
};
use super::super::super::requirements::ARCH;
use super::*;
use crate::units::Span;

/// A small generator of numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % n
    }
    fn yes(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// Pods of many kinds; those with rules about other pods only if `rules`.
fn classes(rules: bool) -> Vec<PodClass> {
    let selector = serde_json::json!({ "matchLabels": { "app": "web" } });
    let spread = |key: &str, when: &str| {
        serde_json::json!([{ "maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": when,
            "labelSelector": selector }])
    };
    let mut specs = vec![
        serde_json::json!({ "containers": requests("400m", "1Gi") }),
        serde_json::json!({ "containers": requests("400m", "1Gi"), "nodeSelector": { ZONE: "a" } }),
        serde_json::json!({ "containers": requests("900m", "512Mi"),
            "tolerations": [{ "key": "team", "operator": "Exists" }] }),
        serde_json::json!({ "containers": [{ "name": "c", "ports": [{ "containerPort": 80,
            "hostPort": 80 }], "resources": { "requests": { "cpu": "300m" } } }] }),
        serde_json::json!({ "containers": requests("1", "6Gi"), "affinity": { "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": 1, "preference": {
                "matchExpressions": [{ "key": ZONE, "operator": "In", "values": ["b"] }] } }] } } }),
    ];
    if rules {
        specs.extend([
            serde_json::json!({ "containers": requests("500m", "1Gi"),
                "topologySpreadConstraints": spread(ZONE, "DoNotSchedule") }),
            serde_json::json!({ "containers": requests("300m", "2Gi"),
                "topologySpreadConstraints": spread(HOSTNAME, "ScheduleAnyway") }),
            serde_json::json!({ "containers": requests("200m", "1Gi"), "affinity": {
                "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [{
                    "topologyKey": "rack", "labelSelector": selector }] } } }),
        ]);
    }
    specs.iter().map(class).collect()
}

struct World {
    catalog: Catalog,
    pools: Vec<Pool>,
    classes: Vec<PodClass>,
    nodes: Vec<ExistingNode>,
    rows: Vec<(usize, CapacityType)>,
    there: Vec<bool>,
    serial: usize,
}

impl World {
    fn new(dice: &mut Dice) -> Self {
        let catalog = small_catalog();
        let mut pools = vec![pool(&catalog, "default", "on-demand")];
        if dice.yes(40) {
            let mut other = pool(&catalog, "other", "spot");
            other.weight = 10;
            if dice.yes(50) {
                other.limits[0] = Some(1000 * dice.below(6) as i64);
            }
            pools.push(other);
        }
        let classes = classes(dice.yes(50));
        let (nodes, rows, there) = (Vec::new(), Vec::new(), Vec::new());
        Self { catalog, pools, classes, nodes, rows, there, serial: 0 }
    }

    fn node(&mut self, dice: &mut Dice) -> (ExistingNode, (usize, CapacityType)) {
        self.serial += 1;
        let row = dice.below(self.catalog.types().len());
        let pool = dice.below(self.pools.len());
        let kind = if pool == 0 { CapacityType::OnDemand } else { CapacityType::Spot };
        let mut available = self.catalog.allocatable(row).clone();
        let mut pods = Vec::new();
        for number in 0..self.classes.len() {
            let count = if dice.yes(60) { 0 } else { dice.below(3) };
            if count > 0 {
                let requests = self.catalog.resources(&self.classes[number].requests).unwrap();
                let some = count as i64;
                available.iter_mut().zip(&requests).for_each(|(a, r)| *a -= some * r);
                pods.push((number, count as u32));
            }
        }
        let name = format!("n{}-{}", dice.below(10), self.serial);
        let mut labels: crate::k8s::StringMap = [
            (HOSTNAME.to_owned(), name.clone()),
            (ZONE.to_owned(), ["a", "b", "c"][dice.below(3)].to_owned()),
            (NODE_POOL.to_owned(), self.pools[pool].name.clone()),
            (CAPACITY_TYPE.to_owned(), kind.name().to_owned()),
            (ARCH.to_owned(), "amd64".to_owned()),
        ]
        .into();
        if dice.yes(50) {
            labels.insert("rack".to_owned(), format!("r{}", dice.below(9)));
        }
        let taint = crate::k8s::Taint {
            key: "team".into(),
            effect: "NoSchedule".into(),
            ..crate::k8s::Taint::default()
        };
        let capacity = self.catalog.capacity(row).clone();
        let node = ExistingNode {
            name,
            labels,
            taints: if dice.yes(20) { vec![taint] } else { Vec::new() },
            available,
            ports: Vec::new(),
            initialized: dice.yes(80),
            pods,
            pool: dice.yes(80).then_some((pool, capacity)),
        };
        (node, (row, kind))
    }

    /// Some nodes come, go and change; positions that changed, and those that are free now.
    fn step(&mut self, dice: &mut Dice) -> (Vec<usize>, Vec<usize>) {
        let (mut changed, mut gone) = (Vec::new(), Vec::new());
        for at in 0..self.nodes.len() {
            if self.there[at] && dice.yes(10) {
                self.there[at] = false;
                gone.push(at);
            } else if dice.yes(if self.there[at] { 10 } else { 40 }) {
                let keeps_name = self.there[at] && dice.yes(60);
                let (mut new, bought) = self.node(dice);
                if keeps_name {
                    let old = &self.nodes[at];
                    (new.name, new.labels) = (old.name.clone(), old.labels.clone());
                }
                self.nodes[at] = new;
                self.rows[at] = bought;
                self.there[at] = true;
                changed.push(at);
            }
        }
        for _ in 0..dice.below(6) {
            let (new, bought) = self.node(dice);
            changed.push(self.nodes.len());
            self.nodes.push(new);
            self.rows.push(bought);
            self.there.push(true);
        }
        (changed, gone)
    }

    fn input(&self) -> Input<'_> {
        Input {
            catalog: &self.catalog,
            pools: &self.pools,
            nodes: &self.nodes,
            classes: &self.classes,
            daemons: &[],
            min_values: MinValuesPolicy::Strict,
        }
    }

    fn free(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&at| !self.there[at]).collect()
    }

    fn fresh<'a>(&self, input: &'a Input<'a>) -> Solver<'a> {
        let mut prepared = Prepared::new(input);
        prepared.forget(&self.free());
        Solver::resume(input, prepared)
    }
}

fn pods_of(node: &ExistingNode, dice: &mut Dice) -> Vec<Pending<'static>> {
    let mut pods: Vec<Pending<'static>> = Vec::new();
    for &(class, count) in &node.pods {
        for _ in 0..count {
            let created = SimTime::ZERO + Span::from_secs(dice.below(3) as u64);
            pods.insert(dice.below(pods.len() + 1), Pending { class, created, uid: "" });
        }
    }
    pods
}

fn compare(world: &World, kept: &mut Solver<'_>, input: &Input<'_>, dice: &mut Dice) {
    let pods: Vec<Vec<Pending<'static>>> =
        world.nodes.iter().map(|node| pods_of(node, dice)).collect();
    let there = (0..world.nodes.len()).filter(|&at| world.there[at]);
    let candidates: Vec<PassCandidate<'_>> = there
        .filter(|&at| world.nodes[at].initialized && world.nodes[at].pool.is_some())
        .map(|at| {
            let (row, capacity_type) = world.rows[at];
            let kind = &world.catalog.types()[row];
            let sold = kind.offerings.iter().find(|o| o.capacity_type == capacity_type);
            let cost = 1.0 + pods[at].len() as f64;
            PassCandidate {
                node: at,
                pool: world.nodes[at].pool.as_ref().map_or(0, |(pool, _)| *pool),
                removed: Removed {
                    instance_type: &kind.name,
                    capacity_type,
                    price: sold.map_or(0.0, |o| o.price),
                },
                reschedule_cost: cost,
                disruption_cost: cost,
                pods: &pods[at],
            }
        })
        .collect();
    let waiting: Vec<Pending<'static>> = (0..dice.below(5))
        .map(|_| Pending {
            class: dice.below(world.classes.len()),
            created: SimTime::ZERO + Span::from_secs(dice.below(3) as u64),
            uid: "",
        })
        .collect();
    let initialized: Vec<bool> = world.nodes.iter().map(|n| n.initialized).collect();
    let pass = PassInput {
        catalog: &world.catalog,
        pending: &waiting,
        initialized: &initialized,
        policies: &[ConsolidationPolicy::WhenEmptyOrUnderutilized; 2],
        totals: &[],
        spot_to_spot: dice.yes(30),
        unreached: &[],
        order: CandidateOrder::SavingsPerDisruption,
        max_simulations: usize::MAX,
    };
    let budget = [dice.below(8) as i64, dice.below(8) as i64];
    let mut refused: Vec<(usize, Refusal)> = Vec::new();
    let found =
        single_node(&pass, &candidates, &budget, kept, &mut |i, why| refused.push((i, why)));
    for (i, why) in &refused {
        let plain = attempt(&pass, &candidates, &[*i], &mut world.fresh(input));
        assert_eq!(plain, Err(*why), "candidate {i}");
    }
    if let Some(found) = &found {
        let plain = attempt(&pass, &candidates, &found.candidates, &mut world.fresh(input));
        assert_eq!(plain.as_ref(), Ok(found));
    }
    let several = multi_node(&pass, &candidates, &budget, kept);
    let keys: Vec<(f64, f64)> =
        candidates.iter().map(|c| (c.removed.price, c.reschedule_cost)).collect();
    let order = super::super::super::consolidation::candidate_order(&keys);
    let of_pools: Vec<usize> = order.iter().map(|&i| candidates[i].pool).collect();
    let cut = within_budgets(&of_pools, &mut budget.to_vec());
    let window: Vec<usize> = cut.into_iter().map(|i| order[i]).collect();
    let mut plain = None;
    multi_node_search(window.len(), |count| {
        let tried = attempt(&pass, &candidates, &window[..count], &mut world.fresh(input)).ok();
        let works = tried.is_some();
        if works {
            plain = tried;
        }
        works
    });
    assert_eq!(several, plain);
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(60))]
    #[test]
    fn what_is_kept_equals_what_is_made_anew(seed in 1u64..u64::MAX) {
        let mut dice = Dice(seed);
        let mut world = World::new(&mut dice);
        let mut kept = None;
        for _ in 0..5 {
            let (changed, gone) = world.step(&mut dice);
            let input = world.input();
            let mut prepared = kept.take().unwrap_or_else(|| Prepared::new(&Input {
                nodes: &[],
                ..input
            }));
            prepared.forget(&gone);
            prepared.renew(&input, &changed);
            let mut solver = Solver::resume(&input, prepared);
            compare(&world, &mut solver, &input, &mut dice);
            kept = Some(solver.finish());
        }
    }
}

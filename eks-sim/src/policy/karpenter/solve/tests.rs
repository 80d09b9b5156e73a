//! Scheduling rounds on small inputs.

use super::super::offerings::{CapacityType, Offering};
use super::super::options::{MinValuesPolicy, PreferencePolicy};
use super::super::requirements::{
    CAPACITY_TYPE, HOSTNAME, INSTANCE_TYPE, NODE_POOL, Requirement, Requirements, ZONE,
};
use super::*;
use crate::k8s::{PodSpec, ResourceList};

mod history;

const MIB: i64 = 1 << 20;

fn amounts(cpu: i64, mib: i64, pods: i64) -> ResourceList {
    use crate::units::Quantity;
    [
        ("cpu".to_owned(), Quantity::from_milli(cpu)),
        ("memory".to_owned(), Quantity::from_bytes(mib * MIB)),
        ("pods".to_owned(), Quantity::from_units(pods)),
    ]
    .into()
}

/// A type sold on demand, and on spot at 30 %, in zones a, b and c.
fn kind(name: &str, cpu: i64, mib: i64, pods: i64, price: f64) -> InstanceType {
    let mut requirements = Requirements::new();
    requirements.add(INSTANCE_TYPE, Requirement::of([name]));
    requirements.add("kubernetes.io/arch", Requirement::of(["amd64"]));
    let offerings = ["a", "b", "c"]
        .iter()
        .flat_map(|zone| {
            [(CapacityType::OnDemand, price), (CapacityType::Spot, price * 0.3)].map(
                |(capacity_type, price)| Offering {
                    capacity_type,
                    zone: (*zone).to_owned(),
                    price,
                    available: true,
                },
            )
        })
        .collect();
    InstanceType {
        name: name.to_owned(),
        requirements,
        capacity: amounts((cpu + 999) / 1000 * 1000, mib, pods),
        allocatable: amounts(cpu, mib, pods),
        offerings,
    }
}

fn small_catalog() -> Catalog {
    Catalog::new(
        vec![
            kind("c5.large", 1930, 3114, 29, 0.085),
            kind("m5.large", 1930, 6903, 29, 0.096),
            kind("r5.large", 1930, 14_563, 29, 0.126),
            kind("m5.xlarge", 3920, 14_162, 58, 0.192),
        ],
        &[],
    )
}

fn pool(catalog: &Catalog, name: &str, capacity: &str) -> Pool {
    let mut requirements = Requirements::new();
    requirements.add(NODE_POOL, Requirement::of([name]));
    requirements.add(CAPACITY_TYPE, Requirement::of([capacity]));
    Pool {
        name: name.to_owned(),
        weight: 0,
        requirements,
        taints: Vec::new(),
        limits: vec![None; catalog.width()],
        nodes_left: None,
        types: TypeSet::all(catalog.types().len()),
    }
}

fn class(yaml: &serde_json::Value) -> PodClass {
    let spec: PodSpec = serde_json::from_value(yaml.clone()).unwrap();
    let labels = [("app".to_owned(), "web".to_owned())].into();
    PodClass::new("default", &labels, &spec, &Requirements::new(), PreferencePolicy::Respect)
        .unwrap()
}

fn requests(cpu: &str, memory: &str) -> serde_json::Value {
    let requests = serde_json::json!({ "cpu": cpu, "memory": memory });
    serde_json::json!([{ "name": "c", "resources": { "requests": requests } }])
}

fn run(
    catalog: &Catalog,
    pools: &[Pool],
    nodes: &[ExistingNode],
    classes: &[PodClass],
    counts: &[usize],
) -> Solution {
    let pods: Vec<Pending<'_>> = counts
        .iter()
        .enumerate()
        .flat_map(|(class, &count)| {
            core::iter::repeat_n(Pending { class, created: SimTime::ZERO, uid: "" }, count)
        })
        .collect();
    let min_values = MinValuesPolicy::Strict;
    solve(&Input { catalog, pools, nodes, classes, daemons: &[], min_values }, &pods)
}

fn cheapest<'a>(catalog: &'a Catalog, claim: &NewClaim) -> &'a str {
    &catalog.types()[claim.types[0]].name
}

#[test]
fn workshop_inflate_buys_one_m5_large_and_then_a_second() {
    let catalog = small_catalog();
    let pools = [pool(&catalog, "default", "on-demand")];
    let inflate = class(&serde_json::json!({ "containers": requests("0", "1Gi") }));
    let first = run(&catalog, &pools, &[], core::slice::from_ref(&inflate), &[5]);
    assert_eq!(first.claims.len(), 1);
    assert_eq!(cheapest(&catalog, &first.claims[0]), "m5.large");
    let node = ExistingNode {
        name: "n1".into(),
        labels: [(ZONE.to_owned(), "a".to_owned())].into(),
        taints: Vec::new(),
        available: catalog.resources(&amounts(1930, 6903 - 5 * 1024, 24)).unwrap(),
        ports: Vec::new(),
        initialized: true,
        pods: vec![(0, 5)],
        pool: None,
    };
    let second = run(&catalog, &pools, &[node], &[inflate], &[7]);
    assert_eq!(second.placements.iter().filter(|p| **p == Placement::Existing(0)).count(), 1);
    assert_eq!(second.claims.len(), 1);
    assert_eq!(second.claims[0].pods, 6);
    assert_eq!(cheapest(&catalog, &second.claims[0]), "m5.large");
}

/// Decision on the removal of an m5.large node with `pods` pods of 1Gi beside nodes that stay.
fn consolidate(pods: usize, stays: &[ExistingNode]) -> super::super::consolidation::Decision {
    use super::super::consolidation::{Removed, decide};
    use super::super::disruption::simulated;
    let catalog = small_catalog();
    let pools = [pool(&catalog, "default", "on-demand")];
    let inflate = class(&serde_json::json!({ "containers": requests("0", "1Gi") }));
    let solution = run(&catalog, &pools, stays, &[inflate], &[pods]);
    let moved: Vec<usize> = (0..pods).collect();
    let removed =
        Removed { instance_type: "m5.large", capacity_type: CapacityType::OnDemand, price: 0.096 };
    decide(&[removed], &simulated(&solution, &moved, |_| true, &catalog), false)
}

#[test]
fn workshop_consolidation_deletes_then_replaces() {
    use super::super::consolidation::Decision;
    let catalog = small_catalog();
    let stays = ExistingNode {
        name: "n2".into(),
        labels: [(ZONE.to_owned(), "a".to_owned())].into(),
        taints: Vec::new(),
        available: catalog.resources(&amounts(1930, 6903 - 2 * 1024, 27)).unwrap(),
        ports: Vec::new(),
        initialized: true,
        pods: Vec::new(),
        pool: None,
    };
    // Five pods on two nodes: the three of one fit on the other.
    assert_eq!(consolidate(3, &[stays]), Decision::Delete);
    // One pod left: c5.large is cheaper than m5.large.
    let Decision::Replace { types, .. } = consolidate(1, &[]) else { panic!("no replacement") };
    assert_eq!(types, [0]);
}

#[test]
fn zone_spread_settles_zones_and_keeps_them_level() {
    let catalog = small_catalog();
    let pools = [pool(&catalog, "default", "spot")];
    let spread = class(&serde_json::json!({
        "containers": requests("1500m", "1Gi"),
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": { "matchLabels": { "app": "web" } }
        }]
    }));
    let solution = run(&catalog, &pools, &[], &[spread], &[12]);
    assert!(solution.all_placed());
    let mut by_zone = std::collections::BTreeMap::new();
    for claim in &solution.claims {
        let zone = claim.requirements.get(ZONE);
        let zone = zone.listed().unwrap().first().unwrap().clone();
        *by_zone.entry(zone).or_insert(0) += claim.pods;
    }
    assert_eq!(by_zone.into_values().collect::<Vec<_>>(), [4, 4, 4]);
}

#[test]
fn anti_affinity_over_hosts_takes_a_node_each() {
    let catalog = small_catalog();
    let pools = [pool(&catalog, "default", "on-demand")];
    let apart = class(&serde_json::json!({
        "containers": requests("100m", "100Mi"),
        "affinity": { "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{
                "topologyKey": HOSTNAME,
                "labelSelector": { "matchLabels": { "app": "web" } }
            }]
        }}
    }));
    let plain = class(&serde_json::json!({ "containers": requests("100m", "100Mi") }));
    let solution = run(&catalog, &pools, &[], &[apart, plain], &[4, 1]);
    assert!(solution.all_placed());
    // The plain pod carries the label, so it may share a node with none of the others.
    assert_eq!(solution.claims.iter().map(|c| c.pods).collect::<Vec<_>>(), [1, 1, 1, 1, 1]);
}

#[test]
fn a_preference_is_relaxed_and_a_requirement_is_not() {
    let catalog = small_catalog();
    let pools = [pool(&catalog, "default", "on-demand")];
    let affinity = |field: &str, terms: serde_json::Value| {
        class(&serde_json::json!({
            "containers": requests("100m", "100Mi"),
            "affinity": { "nodeAffinity": { field: terms } }
        }))
    };
    let expression = serde_json::json!([{ "key": ZONE, "operator": "In", "values": ["z"] }]);
    let prefers = affinity(
        "preferredDuringSchedulingIgnoredDuringExecution",
        serde_json::json!([{ "weight": 1, "preference": { "matchExpressions": expression } }]),
    );
    let requires = affinity(
        "requiredDuringSchedulingIgnoredDuringExecution",
        serde_json::json!({ "nodeSelectorTerms": [{ "matchExpressions": expression }] }),
    );
    let solution = run(&catalog, &pools, &[], &[prefers, requires], &[1, 1]);
    assert_eq!(solution.placements[0], Placement::New(0));
    let why = vec![(0, Misfit::NoOffering)];
    assert_eq!(solution.placements[1], Placement::Unschedulable(why));
}

#[test]
fn limits_charge_the_largest_type_and_weights_order_pools() {
    let catalog = small_catalog();
    let mut first = pool(&catalog, "first", "on-demand");
    first.weight = 10;
    first.limits[catalog::CPU] = Some(5000);
    let pools = [pool(&catalog, "other", "on-demand"), first];
    let large = class(&serde_json::json!({ "containers": requests("1800m", "2Gi") }));
    let solution = run(&catalog, &pools, &[], &[large], &[6]);
    assert!(solution.all_placed());
    // m5.xlarge stays possible for the first NodeClaim, so 4 of 5 cores are charged at once.
    let by_pool: Vec<usize> = solution.claims.iter().map(|c| c.pool).collect();
    assert_eq!(by_pool[0], 1);
    assert_eq!(by_pool.iter().filter(|&&p| p == 1).count(), 1);
}

#[test]
fn daemon_sets_and_min_values_narrow_types() {
    let catalog = small_catalog();
    let mut pools = [pool(&catalog, "default", "on-demand")];
    let mut any = Requirement::exists();
    any.min_values = Some(3);
    pools[0].requirements.add(INSTANCE_TYPE, any);
    let daemon = class(&serde_json::json!({ "containers": requests("200m", "1Gi") }));
    let pod = class(&serde_json::json!({ "containers": requests("100m", "2200Mi") }));
    let pods = [Pending { class: 0, created: SimTime::ZERO, uid: "" }; 2];
    let input = Input {
        catalog: &catalog,
        pools: &pools,
        nodes: &[],
        classes: &[pod],
        daemons: &[daemon],
        min_values: MinValuesPolicy::Strict,
    };
    // c5.large is too small beside the DaemonSet; three types are left for both pods.
    let solution = solve(&input, &pods);
    assert_eq!((solution.claims.len(), solution.claims[0].types.len()), (1, 3));
    // A third pod would leave two types only.
    assert_eq!(solve(&input, &[pods[0]; 3]).claims.len(), 2);
}

/// 600 types of 8 sizes and 3 memory ratios.
fn large_catalog() -> Catalog {
    let types: Vec<InstanceType> = (0..600)
        .map(|i| {
            let cores = [2, 4, 8, 16, 32, 48, 64, 96][i % 8];
            let per_core = [2, 4, 8][i / 8 % 3];
            let (cpu, mib) = (cores * 1000 - 70, cores * per_core * 940);
            let price = 0.02 * cores as f64 * (1.0 + per_core as f64 / 8.0 + i as f64 / 6000.0);
            kind(&format!("t{i:03}"), cpu, mib, (cores * 8).clamp(29, 250), price)
        })
        .collect();
    Catalog::new(types, &[])
}

#[test]
fn many_pods_over_many_types() {
    let catalog = large_catalog();
    let pools = [pool(&catalog, "default", "on-demand")];
    let shapes = [("100m", "128Mi"), ("250m", "512Mi"), ("500m", "1Gi"), ("2", "16Gi")];
    let classes: Vec<PodClass> = (0..500)
        .map(|i| {
            let (cpu, memory) = shapes[i % shapes.len()];
            class(&serde_json::json!({ "containers": requests(cpu, memory) }))
        })
        .collect();
    let solution = run(&catalog, &pools, &[], &classes, &[20; 500]);
    assert!(solution.all_placed());
    assert_eq!(solution.claims.iter().map(|c| c.pods).sum::<usize>(), 10_000);
    for claim in &solution.claims {
        let largest = claim.types.iter().map(|&i| catalog.allocatable(i)[catalog::CPU]).max();
        assert!(claim.requests[catalog::CPU] <= largest.unwrap());
    }
}

#[test]
fn many_pods_with_topology() {
    let catalog = large_catalog();
    let pools = [pool(&catalog, "default", "on-demand")];
    let classes: Vec<PodClass> = (0..200)
        .map(|i| {
            let app = format!("app-{i}");
            let mut pod = class(&serde_json::json!({
                "containers": requests(["250m", "500m", "1", "2"][i % 4], "1Gi"),
                "topologySpreadConstraints": [
                    { "maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule",
                      "labelSelector": { "matchLabels": { "app": app } } },
                    { "maxSkew": 4, "topologyKey": HOSTNAME,
                      "whenUnsatisfiable": "DoNotSchedule",
                      "labelSelector": { "matchLabels": { "app": app } } }
                ]
            }));
            pod.labels.insert("app".to_owned(), app);
            pod
        })
        .collect();
    let solution = run(&catalog, &pools, &[], &classes, &[50; 200]);
    assert!(solution.all_placed());
    let mut counts = vec![[0usize; 3]; 200];
    for (i, placement) in solution.placements.iter().enumerate() {
        let Placement::New(claim) = placement else { panic!("placed on no claim") };
        let zone = solution.claims[*claim].requirements.get(ZONE);
        let zone = zone.listed().unwrap().first().unwrap().as_bytes()[0];
        counts[i / 50][usize::from(zone - b'a')] += 1;
    }
    for by_zone in counts {
        assert!(by_zone.iter().max().unwrap() - by_zone.iter().min().unwrap() <= 1);
    }
}

/// Rounds on a prepared cluster are independent: each gives what a fresh one gives.
#[test]
fn a_solver_goes_back_after_each_round() {
    let catalog = large_catalog();
    let mut pools = [pool(&catalog, "default", "on-demand")];
    pools[0].limits[catalog::CPU] = Some(4000);
    let spread = class(&serde_json::json!({
        "containers": [{ "name": "c",
            "resources": { "requests": { "cpu": "500m", "memory": "1Gi" } },
            "ports": [{ "containerPort": 80, "hostPort": 8080 }] }],
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": { "matchLabels": { "app": "web" } }
        }]
    }));
    let plain = class(&serde_json::json!({ "containers": requests("1", "1Gi") }));
    let nodes: Vec<ExistingNode> = (0..2000)
        .map(|i| ExistingNode {
            name: format!("n{i:04}"),
            labels: [
                (ZONE.to_owned(), ["a", "b", "c"][i % 3].to_owned()),
                (NODE_POOL.to_owned(), "default".to_owned()),
            ]
            .into(),
            taints: Vec::new(),
            available: catalog.resources(&amounts(100 + (i as i64 % 7) * 300, 4096, 8)).unwrap(),
            ports: Vec::new(),
            initialized: true,
            pods: vec![(0, 1), (1, 6)],
            pool: Some((0, catalog.resources(&amounts(8000, 32_768, 58)).unwrap())),
        })
        .collect();
    let classes = [spread, plain];
    let min_values = MinValuesPolicy::Strict;
    let input = Input {
        catalog: &catalog,
        pools: &pools,
        nodes: &nodes,
        classes: &classes,
        daemons: &[],
        min_values,
    };
    let pods: Vec<Pending<'_>> = [0, 1, 1, 1, 1, 1, 1]
        .map(|class| Pending { class, created: SimTime::ZERO, uid: "" })
        .to_vec();
    let mut solver = Solver::new(&input);
    let rounds: Vec<Solution> = (0..300).map(|node| solver.solve(&pods, &[node])).collect();
    for (node, solution) in rounds.iter().enumerate().step_by(60) {
        assert_eq!(*solution, Solver::new(&input).solve(&pods, &[node]), "without {node}");
        let here = Placement::Existing(node);
        assert!(!solution.placements.contains(&here));
    }
    assert_eq!(solver.solve(&pods, &[7]), rounds[7]);
}

/// Forty half-empty nodes: windows shrink the pool, budgets bound them, and the last step finds
/// nothing.
#[test]
fn a_pass_consolidates_within_budgets() {
    use super::super::consolidation::{Decision, Removed};
    use super::super::disruption::ConsolidationPolicy;
    use super::super::pass::{PassCandidate, PassInput, consolidate};
    let catalog = small_catalog();
    let pools = [pool(&catalog, "default", "on-demand")];
    let classes = [class(&serde_json::json!({ "containers": requests("800m", "1Gi") }))];
    let nodes: Vec<ExistingNode> = (0..40)
        .map(|i| ExistingNode {
            name: format!("n{i:02}"),
            labels: [
                (ZONE.to_owned(), "a".to_owned()),
                (NODE_POOL.to_owned(), "default".to_owned()),
            ]
            .into(),
            taints: Vec::new(),
            available: catalog.resources(&amounts(1130, 5879, 28)).unwrap(),
            ports: Vec::new(),
            initialized: true,
            pods: vec![(0, 1)],
            pool: None,
        })
        .collect();
    let min_values = MinValuesPolicy::Strict;
    let input = Input {
        catalog: &catalog,
        pools: &pools,
        nodes: &nodes,
        classes: &classes,
        daemons: &[],
        min_values,
    };
    let candidates: Vec<PassCandidate<'_>> = (0..40)
        .map(|node| PassCandidate {
            node,
            pool: 0,
            removed: Removed {
                instance_type: "m5.large",
                capacity_type: CapacityType::OnDemand,
                price: 0.096,
            },
            reschedule_cost: 2.0,
            disruption_cost: 1.0,
            pods: &[Pending { class: 0, created: SimTime::ZERO, uid: "" }],
        })
        .collect();
    let mut pass = PassInput {
        catalog: &catalog,
        pending: &[],
        initialized: &[true; 40],
        policies: &[ConsolidationPolicy::WhenEmptyOrUnderutilized],
        totals: &[(40.0 * 0.096, 80.0)],
        spot_to_spot: false,
        unreached: &[],
        order: super::super::options::CandidateOrder::SavingsPerDisruption,
        max_simulations: 100,
    };
    let mut solver = Solver::new(&input);
    let all = consolidate(&pass, &candidates, &[100], &mut solver).unwrap();
    // Twenty fit on the other twenty; one or two more fit on one new node that is cheaper.
    assert!(all.candidates.len() >= 20, "{}", all.candidates.len());
    let four = consolidate(&pass, &candidates, &[4], &mut solver).unwrap();
    assert_eq!((four.candidates.len(), &four.decision), (4, &Decision::Delete));
    assert_eq!(consolidate(&pass, &candidates, &[0], &mut solver), None);
    // Each node saves as much of the pool's cost as it disrupts: the score is one.
    pass.policies = &[ConsolidationPolicy::Balanced];
    assert!(consolidate(&pass, &candidates, &[4], &mut solver).is_some());
    pass.totals = &[(40.0 * 0.096, 30.0)];
    assert_eq!(consolidate(&pass, &candidates, &[4], &mut solver), None);
}

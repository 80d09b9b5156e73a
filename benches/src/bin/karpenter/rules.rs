//! One batch with every rule: requirements, zones, both capacity types, DaemonSets, topology
//! spread, anti-affinity, limits.

use super::{ZONES, deployments, types};
use benches::cpu::seconds;
use eks_sim::k8s::{PodSpec, StringMap};
use eks_sim::policy::karpenter::offerings::{CapacityType, Offering};
use eks_sim::policy::karpenter::options::{MinValuesPolicy, PreferencePolicy};
use eks_sim::policy::karpenter::requirements::{
    ARCH, CAPACITY_TYPE, NODE_POOL, Requirement, Requirements, ZONE,
};
use eks_sim::policy::karpenter::solve::{
    Catalog, Input, InstanceType, Pending, PodClass, Pool, Solver, TypeSet,
};
use eks_sim::units::SimTime;

/// Types of the catalogue that take part.
const TYPES: usize = 600;

fn sold_twice(mut kind: InstanceType, arch: &str) -> InstanceType {
    kind.requirements.add(ARCH, Requirement::of([arch]));
    let spot: Vec<Offering> = kind
        .offerings
        .iter()
        .map(|o| Offering { capacity_type: CapacityType::Spot, price: o.price * 0.4, ..o.clone() })
        .collect();
    kind.offerings.extend(spot);
    kind
}

fn class(i: usize, cpu: i64, memory: i64) -> PodClass {
    let name = format!("app-{i}");
    let labels: StringMap = [("app".to_owned(), name.clone())].into();
    let selector = serde_json::json!({"matchLabels": {"app": name}});
    let mut spec = serde_json::json!({
        "containers": [{"name": "main", "image": "a", "resources": {"requests": {
            "cpu": format!("{cpu}m"), "memory": memory.to_string()}}}],
    });
    // Every second Deployment is spread over the zones, every fourth over the hosts as a wish,
    // every tenth asks for on-demand, every twentieth keeps its pods apart from each other.
    if i.is_multiple_of(2) {
        spec["topologySpreadConstraints"] = serde_json::json!([{
            "maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": selector}]);
    } else if i % 4 == 1 {
        spec["topologySpreadConstraints"] = serde_json::json!([{
            "maxSkew": 2, "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": selector}]);
    }
    if i % 10 == 3 {
        spec["nodeSelector"] = serde_json::json!({CAPACITY_TYPE: "on-demand"});
    }
    if i % 20 == 7 {
        spec["affinity"] = serde_json::json!({"podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{
                "topologyKey": "kubernetes.io/hostname", "labelSelector": selector}]}});
    }
    made("default", &labels, spec)
}

fn made(namespace: &str, labels: &StringMap, spec: serde_json::Value) -> PodClass {
    let spec: PodSpec = serde_json::from_value(spec).unwrap_or_default();
    let none = Requirements::new();
    match PodClass::new(namespace, labels, &spec, &none, PreferencePolicy::Respect) {
        Ok(class) => class,
        Err(e) => unreachable!("the pods are well formed: {e:?}"),
    }
}

/// Runs the round and prints its row.
pub fn run(pods: usize) {
    let kinds: Vec<InstanceType> = types(0)
        .into_iter()
        .take(TYPES)
        .map(|kind| {
            let arm = kind.name.split('.').next().is_some_and(|f| f[1..].contains('g'));
            sold_twice(kind, if arm { "arm64" } else { "amd64" })
        })
        .collect();
    let catalog = Catalog::new(kinds, &[]);
    let mut requirements = Requirements::new();
    requirements.add(NODE_POOL, Requirement::of(["default"]));
    requirements.add(CAPACITY_TYPE, Requirement::of(["on-demand", "spot"]));
    requirements.add(ZONE, Requirement::of(ZONES));
    let mut limits = vec![None; catalog.width()];
    limits[0] = Some(1_000_000_000);
    let pools = [Pool {
        name: "default".to_owned(),
        weight: 0,
        requirements,
        taints: Vec::new(),
        limits,
        nodes_left: None,
        types: TypeSet::all(catalog.types().len()),
    }];
    let list = deployments(pods, 1);
    let classes: Vec<PodClass> = list.iter().enumerate().map(|(i, d)| class(i, d.0, d.1)).collect();
    let agent = serde_json::json!({"containers": [{"name": "main", "image": "a",
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}]});
    let arm = serde_json::json!({"nodeSelector": {ARCH: "arm64"}, "containers": [{"name": "main",
        "image": "a", "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}}}]});
    let labels = StringMap::new();
    let daemons = [made("kube-system", &labels, agent), made("kube-system", &labels, arm)];
    let counted = list.iter().enumerate();
    let waiting: Vec<Pending<'_>> = counted
        .flat_map(|(class, d)| {
            core::iter::repeat_n(Pending { class, created: SimTime::ZERO, uid: "" }, d.2)
        })
        .collect();
    let start = seconds();
    let input = Input {
        catalog: &catalog,
        pools: &pools,
        nodes: &[],
        classes: &classes,
        daemons: &daemons,
        min_values: MinValuesPolicy::Strict,
    };
    let solution = Solver::new(&input).solve(&waiting, &[]);
    let spent = seconds() - start;
    assert!(solution.all_placed(), "every pod has a place");
    println!(
        "karpenter_up with every rule: {} pods, {} types, {} zones, {} nodes, {:.1} ms",
        waiting.len(),
        catalog.types().len(),
        ZONES.len(),
        solution.claims.len(),
        spent * 1000.0
    );
}

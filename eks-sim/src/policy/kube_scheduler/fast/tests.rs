//! The fast and the plain path must decide alike on any history.

use super::super::{
    Cache, ClassId, NodeKey, Placement, PodKey, PodToSchedule, Profile, Unschedulable, dry_run,
    dry_run_plain, potential_nodes, schedule, schedule_plain,
};
use crate::k8s;
use proptest::prelude::*;
use serde_json::{Value, json};

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    Place(usize),
    Remove(usize),
    Terminate(usize),
    AddNode(usize, usize),
    RemoveNode(usize),
    Service(usize, bool),
    WhatIf(usize, usize),
    Nominate(usize, usize),
    Denominate(usize),
    /// A nominated pod is placed at last.
    PlaceNominated(usize),
}

fn step() -> impl proptest::strategy::Strategy<Value = Step> {
    prop_oneof![
        12 => (0..CLASSES).prop_map(Step::Place),
        4 => (0..400usize).prop_map(Step::Remove),
        1 => (0..400usize).prop_map(Step::Terminate),
        2 => (0..160usize, 0..KINDS).prop_map(|(n, k)| Step::AddNode(n, k)),
        1 => (0..160usize).prop_map(Step::RemoveNode),
        1 => (0..3usize, any::<bool>()).prop_map(|(n, on)| Step::Service(n, on)),
        1 => (0..CLASSES, 0..160usize).prop_map(|(c, n)| Step::WhatIf(c, n)),
        1 => (0..CLASSES, 0..160usize).prop_map(|(c, n)| Step::Nominate(c, n)),
        1 => (0..8usize).prop_map(Step::Denominate),
        1 => (0..8usize).prop_map(Step::PlaceNominated),
    ]
}

const KINDS: usize = 7;

fn node(number: usize, kind: usize) -> k8s::Node {
    let name = format!("n{number}");
    let zone = ["a", "b", "c"][number % 3];
    let mut labels = json!({"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone});
    let mut spec = json!({});
    let mut cpu = "8";
    match kind {
        1 => spec = json!({"taints": [{"key": "spot", "effect": "PreferNoSchedule"}]}),
        2 => spec = json!({"taints": [{"key": "gpu", "effect": "NoSchedule"}]}),
        3 => spec = json!({"unschedulable": true}),
        4 => labels["disk"] = json!("ssd"),
        5 => cpu = "2",
        6 => labels = json!({"kubernetes.io/hostname": name}),
        _ => {}
    }
    read(json!({
        "metadata": {"name": name, "labels": labels}, "spec": spec,
        "status": {"allocatable": {"cpu": cpu, "memory": "32Gi", "pods": "12"},
                   "images": [{"names": [format!("img{}:1", number % 2)], "sizeBytes": 400_000_000}]}
    }))
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object")
}

const CLASSES: usize = 22;

fn pod(class: usize) -> k8s::Pod {
    let app = format!("app{}", class % 3);
    let mut spec = json!({"containers": [{"name": "c", "image": "img0:1", "resources":
        {"requests": {"cpu": format!("{}m", 300 + 450 * (class % 3)), "memory": "1Gi"}}}]});
    let select = json!({"matchLabels": {"app": app}});
    let spread = |key: &str, when: &str, skew: i32| {
        json!({"maxSkew": skew, "topologyKey": key, "whenUnsatisfiable": when,
               "labelSelector": select})
    };
    let zone = "topology.kubernetes.io/zone";
    let host = "kubernetes.io/hostname";
    let constraints = match class {
        3 => vec![spread(zone, "DoNotSchedule", 1)],
        4 => vec![spread(zone, "ScheduleAnyway", 1), spread(host, "ScheduleAnyway", 2)],
        5 => vec![spread(host, "DoNotSchedule", 1), spread(zone, "ScheduleAnyway", 1)],
        12 => vec![json!({"maxSkew": 1, "topologyKey": zone, "whenUnsatisfiable": "DoNotSchedule",
                          "minDomains": 4, "labelSelector": select})],
        _ => vec![],
    };
    spec["topologySpreadConstraints"] = json!(constraints);
    let terms = |kind: &str, terms: Value| json!({kind: terms});
    let required = |key: &str| {
        json!({"requiredDuringSchedulingIgnoredDuringExecution":
            [{"labelSelector": select, "topologyKey": key}]})
    };
    let preferred = |key: &str, weight: i32| {
        json!({"preferredDuringSchedulingIgnoredDuringExecution":
            [{"weight": weight,
              "podAffinityTerm": {"labelSelector": select, "topologyKey": key}}]})
    };
    match class {
        13 => spec["affinity"] = terms("podAffinity", required(zone)),
        14 => spec["affinity"] = terms("podAffinity", preferred(host, 3)),
        15 => spec["affinity"] = terms("podAntiAffinity", preferred(zone, 40)),
        16 => spec["affinity"] = terms("podAntiAffinity", required(zone)),
        17 => {
            spec["priority"] = json!(10);
            spec["containers"][0]["resources"]["requests"]["cpu"] = json!("6");
        }
        18 => {
            spec["priority"] = json!(10);
            spec["containers"][0]["resources"]["requests"]["cpu"] = json!("100");
        }
        19 => {
            spec["volumes"] = json!([{"name": "v",
            "persistentVolumeClaim": {"claimName": "missing"}}])
        }
        6 => spec["nodeSelector"] = json!({"disk": "ssd"}),
        7 => spec["tolerations"] = json!([{"key": "gpu", "operator": "Exists"}]),
        8 => {
            spec["affinity"] = json!({"nodeAffinity":
            {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 7, "preference": {"matchExpressions":
                    [{"key": "disk", "operator": "Exists"}]}}]}});
        }
        9 => spec["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 80}]),
        10 => spec["containers"][0]["resources"]["requests"]["cpu"] = json!("7500m"),
        11 => {
            spec["affinity"] = json!({"podAntiAffinity":
            {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"labelSelector": select, "topologyKey": host}]}});
        }
        _ => {}
    }
    let labels = json!({"app": app, "tier": format!("t{}", class % 2)});
    read(json!({"metadata": {"name": "p", "labels": labels}, "spec": spec}))
}

/// The same cluster twice: one asked the fast way, one the plain way.
struct Twins {
    fast: Cache,
    plain: Cache,
    classes: Vec<ClassId>,
    pods: u32,
    draws: u32,
    /// Nominated pods with their class and node.
    nominated: Vec<(PodKey, usize, NodeKey)>,
}

impl Twins {
    fn new(nodes: usize) -> Self {
        let mut fast = Cache::new(Profile::default());
        for n in 0..nodes {
            fast.add_node(n as NodeKey, &node(n, [0, 0, 1, 4, 5][n % 5]));
        }
        let classes = (0..CLASSES).map(|c| fast.class_of_pod(&pod(c))).collect();
        let plain = fast.clone();
        Self { fast, plain, classes, pods: 0, draws: 0, nominated: Vec::new() }
    }
    fn both(&mut self, act: impl Fn(&mut Cache)) {
        act(&mut self.fast);
        act(&mut self.plain);
    }
    fn place(&mut self, class: usize) -> Result<(), TestCaseError> {
        let pod = PodToSchedule { key: self.pods, class: self.classes[class], nominated: None };
        self.pods += 1;
        self.place_pod(&pod, class)
    }
    fn place_pod(&mut self, pod: &PodToSchedule, class: usize) -> Result<(), TestCaseError> {
        self.draws += 1;
        let seed = self.draws.wrapping_mul(2_654_435_761);
        let a = schedule(&mut self.fast, pod, &mut |n| (seed >> 7) % n);
        let b = schedule_plain(&mut self.plain, pod, &mut |n| (seed >> 7) % n);
        let sorted = |r: Result<Placement, Box<Unschedulable>>| {
            r.map_err(|e| {
                let mut nodes: Vec<_> = e.statuses.iter().map(|s| (s.0, s.1.clone())).collect();
                nodes.sort_by_key(|s| s.0);
                (e.nodes, e.reasons, e.rejectors, e.pre_filter, nodes)
            })
        };
        if let Err(failed) = &b {
            self.preempt(pod, failed, class)?;
        }
        let (a, b) = (sorted(a), sorted(b));
        prop_assert_eq!(&a, &b, "class {}", class);
        prop_assert_eq!(self.fast.next_start, self.plain.next_start);
        if let Ok(placed) = a {
            self.both(|c| c.add_pod(pod.key, pod.class, placed.node, None));
        }
        Ok(())
    }
    /// The quick dry run of preemption finds what the full one finds.
    fn preempt(
        &self,
        pod: &PodToSchedule,
        failed: &Unschedulable,
        class: usize,
    ) -> Result<(), TestCaseError> {
        let nodes = potential_nodes(failed);
        let offset = self.draws as usize % nodes.len().max(1);
        let quick = dry_run(&self.plain, pod, &nodes, &[], offset, 20);
        let full = dry_run_plain(&self.plain, pod, &nodes, &[], offset, 20);
        prop_assert_eq!(quick, full, "preemption by class {}", class);
        Ok(())
    }
    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Nominate(class, node) => {
                let (pod, id) = (self.pods, self.classes[class]);
                self.pods += 1;
                if self.plain.node_info(node as NodeKey).is_some_and(|n| n.node.is_some()) {
                    self.nominated.push((pod, class, node as NodeKey));
                    self.both(|c| c.nominate(pod, id, node as NodeKey));
                }
            }
            Step::Denominate(n) if n < self.nominated.len() => {
                let (pod, ..) = self.nominated.swap_remove(n);
                self.both(|c| c.clear_nomination(pod));
            }
            Step::PlaceNominated(n) if n < self.nominated.len() => {
                let (key, class, node) = self.nominated.swap_remove(n);
                let nominated = Some(node);
                let pod = PodToSchedule { key, class: self.classes[class], nominated };
                self.place_pod(&pod, class)?;
                self.both(|c| c.clear_nomination(key));
            }
            Step::Denominate(_) | Step::PlaceNominated(_) => {}
            Step::Place(class) => self.place(class)?,
            Step::Remove(pod) => self.both(|c| c.remove_pod(pod as PodKey)),
            Step::Terminate(pod) => self.both(|c| c.mark_terminating(pod as PodKey, false)),
            Step::AddNode(n, kind) => self.both(|c| c.add_node(n as NodeKey, &node(n, kind))),
            Step::RemoveNode(n) => self.both(|c| c.remove_node(n as NodeKey)),
            Step::Service(n, on) => {
                let service: k8s::Service = read(json!({"metadata": {"name": format!("s{n}")},
                    "spec": {"selector": {"app": format!("app{n}")}}}));
                if on {
                    self.both(|c| c.set_service(&service));
                } else {
                    self.both(|c| c.remove_service("default", &format!("s{n}")));
                }
            }
            Step::WhatIf(class, n) => {
                let marks = [self.fast.checkpoint(), self.plain.checkpoint()];
                self.both(|c| c.add_node(n as NodeKey, &node(n, 4)));
                self.place(class)?;
                self.both(|c| c.remove_pod(0));
                self.place((class + 1) % CLASSES)?;
                let [a, b] = marks;
                self.fast.rollback(a);
                self.plain.rollback(b);
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn fast_and_plain_decide_alike(
        nodes in 0usize..150,
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut twins = Twins::new(nodes);
        for s in &steps {
            twins.step(s)?;
        }
    }
}

#[test]
fn rollback_restores_every_decision() {
    let mut twins = Twins::new(120);
    for class in (0..CLASSES).cycle().take(60) {
        twins.place(class).expect("equal decisions");
    }
    let mark = twins.fast.checkpoint();
    let before = twins.fast.clone();
    twins.fast.remove_node(3);
    twins.fast.add_node(200, &node(200, 4));
    twins.fast.remove_pod(5);
    twins.fast.mark_terminating(6, true);
    twins.fast.rollback(mark);
    assert_eq!(twins.fast.node_order(), twins.plain.node_order());
    for n in 0..120 {
        let (a, b) = (twins.fast.node_info(n), before.node_info(n));
        assert_eq!(a.map(|i| (&i.pods, &i.requested)), b.map(|i| (&i.pods, &i.requested)));
    }
    assert_eq!(twins.fast.pod(6), before.pod(6));
    for class in 0..CLASSES {
        twins.place(class).expect("equal decisions");
    }
}

//! VerticalPodAutoscaler through the whole engine.

use crate::load::model;
use crate::rig::text;
use eks_sim::engine::{Observer, Sim, View};
use eks_sim::policy::vpa::{Layout, margin};
use eks_sim::units::SimTime;
use eks_sim::world::{Change, Reason};

fn app(mode: &str, resources: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 4
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
      - {{name: web, image: 'registry.example/web:1', resources: {resources}}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}
---
apiVersion: autoscaling.k8s.io/v1
kind: VerticalPodAutoscaler
metadata: {{name: web}}
spec:
  targetRef: {{apiVersion: apps/v1, kind: Deployment, name: web}}
  updatePolicy: {{updateMode: '{mode}'}}
"
    )
}

#[derive(Default)]
struct Counts {
    evicted: u32,
    resized: u32,
    killed: u32,
}

impl Observer for Counts {
    fn observe(&mut self, _: SimTime, change: &Change, _: &View<'_>) {
        match change {
            Change::PodDeleting(_, Reason::VpaEviction) => self.evicted += 1,
            Change::PodResized(_) => self.resized += 1,
            Change::PodOomKilled(_) => self.killed += 1,
            _ => {}
        }
    }
}

/// Runs it; gives the counts, and CPU and memory requests and memory limits of the web pods.
fn run(name: &str, manifests: &str, spec: &str) -> (Counts, Vec<(i64, i64, Option<i64>)>) {
    let model = model(name, manifests, spec);
    let (mut sim, mut counts) = (Sim::new(model, 0), Counts::default());
    let diagnosis = sim.run(&mut counts);
    assert!(diagnosis.is_none(), "{diagnosis:?}");
    let (world, model) = (sim.world(), sim.model());
    let web = model.workloads.iter().find(|(_, w)| w.name == "web").expect("a workload").0;
    let mut sizes = Vec::new();
    for (_, set) in world.api.sets.iter() {
        if world.api.workloads[set.workload].model != web {
            continue;
        }
        for &pod in &set.pods {
            let size = world.api.size_of(world.api.pods.get(pod).expect("a pod"), model);
            let limit = size.limit_memory.map(|l| l.raw());
            sizes.push((size.request_cpu.raw(), size.request_memory.raw(), limit));
        }
    }
    (counts, sizes)
}

const LOAD: &str = "  duration: 4h
  traffic:
  - to: Service/web
    rate: {steps: [{at: 5m, rate: 240/s}]}
    perRequest: {cpu: 10ms}
";

/// Millicores that a steady use of so many leads to: the end of its bucket and 15 % on top, cut.
fn target(milli: f64) -> i64 {
    let layout = Layout::cpu();
    let end = layout.start(layout.find(milli / 1000.0) + 1);
    margin((end * 1000.0) as i64, 0.15)
}

/// 600 m of load and 2 m idle; the least memory of a pod is what it asks for.
#[test]
fn modes_act_as_documented() {
    let resources = "{requests: {cpu: 100m, memory: 250Mi}}";
    let wanted = target(602.0);
    assert_eq!(wanted, 716);
    for (mode, evicted, resized) in [
        ("Off", 0, 0),
        ("Initial", 0, 0),
        ("Recreate", 4, 0),
        ("Auto", 4, 0),
        ("InPlaceOrRecreate", 0, 4),
        ("InPlace", 0, 4),
    ] {
        let (counts, sizes) =
            run(&format!("vpa-{}", mode.to_lowercase()), &app(mode, resources), LOAD);
        assert_eq!((counts.evicted, counts.resized), (evicted, resized), "{mode}");
        let cpu = if evicted + resized == 0 { 100 } else { wanted };
        assert_eq!(sizes, [(cpu, 250 << 20, None); 4], "{mode}");
    }
}

/// The lower bound is never below the least a pod gets: a request of less is outside of it from the
/// first sample on, and the pods are changed once for that and once for the load.
#[test]
fn requests_below_the_least_are_mended_first() {
    let resources = "{requests: {cpu: 100m, memory: 100Mi}}";
    for (mode, want) in [("Recreate", (8, 0)), ("InPlaceOrRecreate", (0, 8))] {
        let (counts, sizes) = run("vpa-least", &app(mode, resources), LOAD);
        assert_eq!((counts.evicted, counts.resized), want, "{mode}");
        assert_eq!(sizes, [(716, 250 << 20, None); 4], "{mode}");
    }
}

/// Before 1.33 pods cannot be resized: InPlaceOrRecreate evicts, InPlace only changes new pods.
#[test]
fn old_clusters_cannot_resize() {
    let resources = "{requests: {cpu: 100m, memory: 250Mi}}";
    for (mode, evicted, cpu) in [("InPlaceOrRecreate", 4, 716), ("InPlace", 0, 100)] {
        let spec = format!("    version: \"1.32\"\n{LOAD}");
        let (counts, sizes) = run("vpa-old", &app(mode, resources), &spec);
        assert_eq!((counts.evicted, counts.resized), (evicted, 0), "{mode}");
        assert_eq!(sizes, [(cpu, 250 << 20, None); 4], "{mode}");
    }
}

/// Policy, LimitRange and limits bend the target: limits grow in proportion.
#[test]
fn policies_and_limit_ranges_bend_the_target() {
    let resources = "{requests: {cpu: 100m, memory: 250Mi}, limits: {cpu: 2, memory: 500Mi}}";
    let policy = |more: &str| {
        let policy =
            format!("  resourcePolicy: {{containerPolicies: [{{containerName: '*', {more}}}]}}\n");
        app("Recreate", resources) + &policy
    };
    let sizes = |manifests: &str| {
        let (_, mut sizes) = run("vpa-policy", manifests, LOAD);
        sizes.dedup();
        sizes
    };
    let full = Some(500 << 20);
    assert_eq!(sizes(&policy("maxAllowed: {cpu: 300m}")), [(300, 250 << 20, full)]);
    assert_eq!(sizes(&policy("minAllowed: {memory: 300Mi}")), [(716, 300 << 20, Some(600 << 20))]);
    assert_eq!(sizes(&policy("mode: 'Off'")), [(100, 250 << 20, full)]);
    assert_eq!(sizes(&policy("controlledResources: [memory]")), [(100, 250 << 20, full)]);
    let only = "minAllowed: {memory: 300Mi}, controlledValues: RequestsOnly";
    assert_eq!(sizes(&policy(only)), [(716, 300 << 20, full)]);
    // The limit of 10 times the request may reach 4 cores: the request 200 m.
    let range = "---
apiVersion: v1
kind: LimitRange
metadata: {name: range}
spec: {limits: [{type: Container, max: {cpu: 4}}]}
";
    let ranged = app("Recreate", &resources.replace("cpu: 2,", "cpu: 1,")) + range;
    assert_eq!(sizes(&ranged), [(400, 250 << 20, full)]);
}

/// Each container has its own samples: the one with the Service's port serves the requests.
#[test]
fn containers_are_sized_by_themselves() {
    let manifests = app("Recreate", "{requests: {cpu: 100m, memory: 100Mi}}").replace(
        "      containers:\n",
        "      containers:
      - {name: log, image: 'registry.example/log:1', resources: {requests: {cpu: 100m, memory: 300Mi}}}
",
    );
    let manifests = manifests.replace(
        "image: 'registry.example/web:1',",
        "image: 'registry.example/web:1', ports: [{containerPort: 80}],",
    );
    let model = model("vpa-two", &manifests, LOAD);
    let mut sim = Sim::new(model, 0);
    sim.run(&mut ());
    let (world, model) = (sim.world(), sim.model());
    let vpa = model.vpas.ids().next().expect("a VPA");
    let targets = world.api.targets.get(world.api.vpas[vpa].expect("targets"));
    let named: Vec<_> = model.vpas[vpa]
        .containers
        .iter()
        .map(|c| c.name.as_str())
        .zip(&targets.containers)
        .collect();
    // Half of the pod's least each: 12 m and 125 MiB; the log writer uses 180 MiB.
    let (log, web) = (named[0].1.expect("a target"), named[1].1.expect("a target"));
    assert_eq!((named[0].0, named[1].0), ("log", "web"));
    assert_eq!((log.cpu, web.cpu), (Some(12), Some(target(602.0))));
    assert_eq!(web.memory, Some(125 << 20));
    let used = 180.0 * 1_048_576.0;
    let log = log.memory.expect("memory") as f64;
    assert!(log > used * 1.15 && log < used * 1.15 * 1.06, "{log}");
}

/// A budget that allows no disruption keeps all pods; new ones still get the recommendation.
#[test]
fn budgets_keep_pods_from_the_updater() {
    let budget = "---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {maxUnavailable: 0, selector: {matchLabels: {app: web}}}
";
    let manifests = app("Recreate", "{requests: {cpu: 100m, memory: 250Mi}}") + budget;
    let (counts, sizes) = run("vpa-budget", &manifests, LOAD);
    assert_eq!(counts.evicted, 0);
    assert_eq!(sizes, [(100, 250 << 20, None); 4]);
}

/// With fewer pods than `minReplicas` nothing is evicted.
#[test]
fn few_replicas_stay() {
    let resources = "{requests: {cpu: 100m, memory: 250Mi}}";
    let alone = app("Recreate", resources).replace("replicas: 4", "replicas: 1");
    let load = LOAD.replace("240/s", "60/s");
    assert_eq!(run("vpa-few", &alone, &load).0.evicted, 0);
    let allowed =
        alone.replace("{updateMode: 'Recreate'}", "{updateMode: Recreate, minReplicas: 1}");
    assert_eq!(run("vpa-few", &allowed, &load).0.evicted, 1);
}

/// The updater's rate limit spreads evictions: one in ten minutes.
#[test]
fn the_rate_limit_spreads_evictions() {
    struct Times(Vec<f64>);
    impl Observer for Times {
        fn observe(&mut self, now: SimTime, change: &Change, _: &View<'_>) {
            if let Change::PodDeleting(_, Reason::VpaEviction) = change {
                self.0.push(now.secs_f64());
            }
        }
    }
    let manifests = app("Recreate", "{requests: {cpu: 100m, memory: 250Mi}}");
    let spec = format!("{LOAD}  constants: {{vpa.eviction_rate_limit: 0.0016666667}}\n");
    let model = model("vpa-rate", &manifests, &spec);
    let (mut sim, mut times) = (Sim::new(model, 0), Times(Vec::new()));
    sim.run(&mut times);
    assert_eq!(times.0.len(), 4, "{:?}", times.0);
    assert!(times.0.windows(2).all(|t| t[1] - t[0] >= 599.0), "{:?}", times.0);
}

/// After a rollout new pods keep their own template: image and containers are the new ones.
#[test]
fn a_rollout_keeps_its_template() {
    let manifests = app("Initial", "{requests: {cpu: 100m, memory: 250Mi}}");
    let spec = format!(
        "{LOAD}  changes:\n  - {{at: 1h, target: Deployment/web, set: {{image: registry.example/web:2}}}}\n"
    );
    let model = model("vpa-rollout", &manifests, &spec);
    let mut sim = Sim::new(model, 0);
    sim.run(&mut ());
    let (world, model) = (sim.world(), sim.model());
    let web = model.workloads.iter().find(|(_, w)| w.name == "web").expect("a workload").0;
    let mut seen = 0;
    for (_, set) in world.api.sets.iter() {
        for &pod in set.pods.iter().filter(|_| world.api.workloads[set.workload].model == web) {
            let pod = world.api.pods.get(pod).expect("a pod");
            let object = world.api.object_of(pod, model);
            assert_eq!(object.spec.containers[0].image.as_deref(), Some("registry.example/web:2"));
            assert_eq!(world.api.size_of(pod, model).request_cpu.raw(), 716);
            seen += 1;
        }
    }
    assert_eq!(seen, 4);
}

/// HPA and VPA on CPU: each rise of the requests lowers the utilisation that the HPA reads, so that
/// it takes pods away, which raises what each uses, and so on until the least number is left.
#[test]
fn hpa_and_vpa_on_one_metric_fight() {
    let hpa = "---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 2
  maxReplicas: 20
  metrics:
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}
";
    let pods = |mode: &str| {
        let resources = "{requests: {cpu: 500m, memory: 250Mi}, limits: {cpu: 4}}";
        let (counts, sizes) = run("vpa-fight", &(app(mode, resources) + hpa), LOAD);
        let cpu = sizes.iter().map(|s| s.0).max().unwrap_or(0);
        (counts.evicted, sizes.len(), cpu)
    };
    // Alone the HPA holds 2.4 cores at half of 500 m each, tolerance included.
    let (evicted, alone, cpu) = pods("Off");
    assert_eq!((evicted, cpu), (0, 500));
    assert!((9..=11).contains(&alone), "{alone}");
    let (evicted, both, cpu) = pods("Recreate");
    assert!(evicted > 0 && both < alone && cpu > 500, "{evicted} evicted, {both} pods, {cpu} m");
}

#[test]
fn kills_for_memory_raise_the_recommendation() {
    let resources = "{requests: {cpu: 500m, memory: 100Mi}, limits: {memory: 150Mi}}";
    let spec = "  duration: 6h
  workloads: [{for: Deployment/web, idleMemory: 50Mi, memory: {growthPerHour: 100Mi}}]
";
    let (counts, sizes) = run("vpa-oom", &app("Off", resources), spec);
    // An hour to the limit, 10 s of back-off: five kills of each of four pods.
    assert_eq!(counts.killed, 20);
    assert!(sizes.iter().all(|s| s.2 == Some(150 << 20)), "{sizes:?}");
    // Memory that grows to the limit before the first recommendation.
    let fast = spec.replace("100Mi}", "3000Mi}").replace("6h", "15m");
    let (counts, sizes) = run("vpa-oom", &app("Recreate", resources), &fast);
    assert!(counts.killed >= 4 && counts.killed < 40, "{} killed", counts.killed);
    for (_, request, limit) in sizes {
        // At least 150 MiB of use and 100 MiB on top, and the limit in proportion.
        assert!(request as f64 > 250.0 * 1048576.0 * 1.15 * 0.95, "{request}");
        let limit = limit.expect("a limit");
        assert!((limit as f64 / request as f64 - 1.5).abs() < 1e-6, "{limit} {request}");
    }
}

/// Requests hold memory while they are worked on: a spike takes pods over their limit, and the VPA
/// learns from the kills.
#[test]
fn requests_that_need_too_much_memory_kill_their_pods() {
    let resources = "{requests: {cpu: 500m, memory: 100Mi}, limits: {memory: 150Mi}}";
    let spec = |rate: &str| {
        format!(
            "  duration: 1h
  workloads: [{{for: Deployment/web, idleMemory: 50Mi}}]
  traffic:
  - to: Service/web
    rate: {{constant: 40/s, spikes: [{{at: 20m, duration: 2m, add: {rate}}}]}}
    perRequest: {{cpu: 1ms, latencyFloor: 1s, memory: 2Mi}}
"
        )
    };
    // Ten requests a pod at once hold 20 MiB; a hundred would need 200 MiB.
    assert_eq!(run("vpa-held", &app("Off", resources), &spec("0/s")).0.killed, 0);
    let (counts, sizes) = run("vpa-held", &app("Recreate", resources), &spec("360/s"));
    assert!(counts.killed >= 4, "{} killed", counts.killed);
    assert!(sizes.iter().all(|s| s.1 > 250 << 20), "{sizes:?}");
}

/// Cluster Autoscaler and Karpenter see the requests that pods have now: once they are smaller,
/// fewer nodes do.
#[test]
fn smaller_requests_take_fewer_nodes() {
    let resources = "{requests: {cpu: 1500m, memory: 250Mi}}";
    let group = "  duration: 6h
  cluster:
    nodeGroups:
    - {name: g, instanceTypes: [m5.large], minSize: 1, maxSize: 8, desiredSize: 4}
    autoscaler: {clusterAutoscaler: {skipNodesWithSystemPods: false}}
";
    let pool = "  duration: 6h
  cluster:
    nodeGroups:
    - {name: g, instanceTypes: [m5.large], minSize: 1, maxSize: 1, desiredSize: 1}
    autoscaler: {karpenter: {}}
";
    let node_pool = "---
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: default}
spec:
  template:
    spec:
      nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: default}
      requirements: [{key: node.kubernetes.io/instance-type, operator: In, values: [m5.large]}]
---
apiVersion: karpenter.k8s.aws/v1
kind: EC2NodeClass
metadata: {name: default}
spec:
  amiSelectorTerms: [{alias: al2023@latest}]
  role: nodes
  subnetSelectorTerms: [{tags: {a: b}}]
  securityGroupSelectorTerms: [{tags: {a: b}}]
";
    let load = LOAD.replace("  duration: 4h\n", "").replace("240/s", "20/s");
    for (name, spec, more) in [("group", group, ""), ("pool", pool, node_pool)] {
        let nodes = |mode: &str| {
            let manifests = format!("{}{more}", app(mode, resources));
            let mut sim = Sim::new(text(&format!("{spec}{load}"), &manifests).model(), 0);
            let diagnosis = sim.run(&mut ());
            assert!(diagnosis.is_none(), "{diagnosis:?}");
            sim.world().api.live_nodes.len()
        };
        assert_eq!(nodes("Off"), if name == "group" { 4 } else { 5 }, "{name}");
        assert!(nodes("Recreate") <= 2, "{name}");
        assert!(nodes("InPlaceOrRecreate") <= 2, "{name}");
    }
}

//! Karpenter in a whole cluster.

use crate::engine::{Observer, Sim, View};
use crate::units::{SimTime, Span};
use crate::world::{Change, Model};
use std::path::Path;
use std::sync::Arc;

const POOL: &str = r#"
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: default}
spec:
  template:
    metadata: {labels: {type: karpenter}}
    spec:
      requirements:
        - {key: karpenter.sh/capacity-type, operator: In, values: [CAPACITY]}
        - {key: node.kubernetes.io/instance-type, operator: In, values: [TYPES]}
      nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: default}
      expireAfter: EXPIRE
  limits: {cpu: "1000", memory: 1000Gi}
  disruption: {consolidationPolicy: WhenEmptyOrUnderutilized, consolidateAfter: 1m}
---
apiVersion: karpenter.k8s.aws/v1
kind: EC2NodeClass
metadata: {name: default}
spec:
  amiSelectorTerms: [{alias: al2023@latest}]
  subnetSelectorTerms: [{tags: {karpenter.sh/discovery: c}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: inflate}
spec:
  replicas: 0
  selector: {matchLabels: {app: inflate}}
  template:
    metadata: {labels: {app: inflate}}
    spec:
      nodeSelector: {type: karpenter}
      terminationGracePeriodSeconds: 0
      containers:
        - name: inflate
          image: pause
          resources: {requests: {memory: 1Gi}}
"#;

#[derive(Clone, Copy)]
struct Case {
    capacity: &'static str,
    types: &'static str,
    expire: &'static str,
    duration: &'static str,
    scale: &'static str,
    more: &'static str,
    karpenter: &'static str,
}

const CASE: Case = Case {
    capacity: "on-demand",
    types: "c5.large, m5.large, r5.large, m5.xlarge",
    expire: "720h",
    duration: "2h",
    scale: "[]",
    more: "",
    karpenter: "{}",
};

fn model(case: &Case) -> Arc<Model> {
    let folder = std::env::temp_dir().join(format!(
        "eks-sim-karpenter-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::create_dir_all(&folder).expect("a folder for the manifests");
    let manifests = POOL
        .replace("CAPACITY", case.capacity)
        .replace("TYPES", case.types)
        .replace("EXPIRE", case.expire);
    std::fs::write(folder.join("all.yaml"), manifests).expect("the manifests are written");
    let text = format!(
        "apiVersion: eks-sim/v1
kind: Scenario
metadata: {{name: t}}
spec:
  duration: {}
  manifests: [all.yaml]
  cluster:
    nodeGroups: [{{name: system, instanceTypes: [m5.large], minSize: 2, desiredSize: 2, maxSize: 2}}]
    autoscaler: {{karpenter: {}}}
  workloads: [{{for: Deployment/inflate, scale: {}}}]
{}",
        case.duration, case.karpenter, case.scale, case.more
    );
    let loaded = crate::spec::load_scenario_text("t.yaml", &text, Path::new(&folder), &[]);
    let loaded = loaded.unwrap_or_else(|d| panic!("{}", d.render()));
    let (model, errors) =
        crate::world::lower::build(&loaded.scenario, &loaded.manifests, &loaded.base);
    assert!(errors.iter().all(|e| e.warning), "{errors:?}");
    Arc::new(model.expect("no error"))
}

/// What happened to Karpenter's instances, and what explains it.
#[derive(Default)]
struct Log {
    lines: Vec<(SimTime, String)>,
    ready: Vec<(SimTime, u32)>,
    bought: Vec<String>,
    kept: Vec<String>,
}

impl Observer for Log {
    fn observe(&mut self, now: SimTime, change: &Change, v: &View<'_>) {
        let name = |i: crate::units::Id<crate::world::cloud::Instance>| {
            let row = &v.world.cloud.instances[i];
            let managed = v.model.groups[row.group].is_managed();
            (!managed).then(|| row.group_type(v.model).instance_type.name)
        };
        match *change {
            Change::InstanceRequested(i) => {
                self.lines.extend(name(i).map(|n| (now, format!("+{n}"))));
            }
            Change::NodeRegistered(n) => {
                let i = v.world.api.nodes[n].instance;
                if let Some(why) = v.karpenter.why_bought(i, v.model, v.world) {
                    let text = format!("{:?} {:?}", why.narrowed, why.cheapest.first());
                    self.bought.push(text);
                }
            }
            Change::InstanceTerminated(i) => {
                let why = v.world.cloud.instances[i].end_reason;
                self.lines.extend(name(i).map(|n| (now, format!("-{n} {why}"))));
            }
            Change::PodReady(p) => {
                let sets = &v.world.api.sets;
                let pod = v.world.api.pods.get(p).expect("it was just written");
                let w = v.world.api.workloads[sets[pod.set].workload].model;
                if v.model.workloads[w].name == "inflate" {
                    self.ready.push((now, sets[pod.set].ready));
                }
            }
            Change::NodeTainted(..) | Change::PodDeleted(_) | Change::NodeKept(_) => {
                let live = &v.world.api.live_nodes;
                self.kept = live
                    .iter()
                    .filter_map(|&n| v.karpenter.why_kept(n, v.model, &|p| format!("{p:?}")))
                    .map(|(_, why)| why)
                    .collect();
            }
            _ => {}
        }
    }
}

fn run(case: &Case) -> (Log, u64, Sim) {
    let mut sim = Sim::new(model(case), 0);
    let mut log = Log::default();
    let diagnosis = sim.run(&mut log);
    assert!(diagnosis.is_none(), "{diagnosis:?}");
    let digest = sim.digest();
    (log, digest, sim)
}

fn between(log: &Log, from: u64, to: u64) -> Vec<&str> {
    let minute = |m: u64| SimTime::ZERO + Span::from_secs(60 * m);
    let inside = log.lines.iter().filter(|(t, _)| minute(from) <= *t && *t < minute(to));
    inside.map(|(_, line)| line.as_str()).collect()
}

/// G1 to G4 of the workshop, and the way down to nothing.
#[test]
fn workshop_buys_consolidates_and_replaces() {
    let case = Case {
        scale: "[{at: 10m, replicas: 5}, {at: 20m, replicas: 12}, {at: 30m, replicas: 5}, \
                {at: 50m, replicas: 1}, {at: 80m, replicas: 0}]",
        ..CASE
    };
    let (log, digest, _) = run(&case);
    let all = format!("{:#?} {:?}", log.lines, log.kept);
    assert_eq!(between(&log, 10, 20), ["+m5.large"], "{all}");
    assert_eq!(between(&log, 20, 30), ["+m5.large"], "{all}");
    // The ReplicaSet may leave one of the two nodes empty; it goes either way, without another.
    let gone = between(&log, 30, 50);
    assert_eq!(gone.len(), 1, "{all}");
    assert!(gone[0].starts_with("-m5.large consolidated"), "{all}");
    let replaced = ["+c5.large", "-m5.large consolidated: underutilized"];
    assert_eq!(between(&log, 50, 80), replaced, "{all}");
    assert_eq!(between(&log, 80, 120), ["-c5.large consolidated: empty"], "{all}");
    assert!(log.bought[0].contains("In c5.large,m5.large,r5.large,m5.xlarge\", 4)"), "{all}");
    // Pod pending to pod ready (R4): 40 to 90 s.
    let first = log.ready.iter().find(|(_, n)| *n > 0).expect("a pod became ready").0;
    let waited = first.since(SimTime::ZERO + Span::from_secs(600));
    assert!((40..=90).contains(&waited.whole_secs()), "{waited}");
    assert_eq!(run(&case).1, digest);
}

/// Spot instances last three days on average, and are reclaimed one by one.
const SPOT_LOSSES: &str = "  faults: [{random: spotInterruption}]
  constants: {spot.monthly_interruption.lt5: 0.9999, spot.monthly_interruption.5_10: 0.9999, \
    spot.monthly_interruption.10_15: 0.9999, spot.monthly_interruption.15_20: 0.9999, \
    spot.monthly_interruption.gt20: 0.9999, spot.shock_share: 0.0}
";

/// G11: one spot node and one cheaper type.
#[test]
fn a_spot_node_is_not_replaced_by_a_cheaper_spot_node() {
    let case = Case {
        capacity: "spot",
        types: "m5.xlarge, m5.large",
        scale: "[{at: 5m, replicas: 9}, {at: 20m, replicas: 1}]",
        duration: "1h",
        ..CASE
    };
    for (gates, why) in [
        ("{}", "SpotToSpotConsolidation is disabled, can't replace a spot node with a spot node"),
        (
            "{featureGates: {SpotToSpotConsolidation: true}}",
            "SpotToSpotConsolidation requires 15 cheaper instance type options than the current",
        ),
    ] {
        let (log, _, _) = run(&Case { karpenter: gates, ..case });
        assert_eq!(between(&log, 0, 60), ["+m5.xlarge"], "{gates}");
        let kept: Vec<&str> = log.kept.iter().map(String::as_str).collect();
        assert!(kept.len() == 1 && kept[0].starts_with(why), "{kept:?}");
    }
}

/// A zone without capacity is avoided after the first refusal, and pods run elsewhere.
#[test]
fn a_lost_zone_sends_launches_elsewhere() {
    let case = Case {
        types: "m5.large",
        scale: "[{at: 10m, replicas: 30}]",
        duration: "40m",
        more: "  faults: [{at: 5m, zoneOutage: {zone: us-east-1a, duration: 1h}}]\n",
        ..CASE
    };
    let (_, _, sim) = run(&case);
    let zone = |i: &crate::world::cloud::Instance| &sim.model().zones[i.zone];
    let bought = sim
        .world()
        .cloud
        .instances
        .iter()
        .map(|(_, i)| i)
        .filter(|i| !sim.model().groups[i.group].is_managed());
    let zones: Vec<&str> = bought.map(|i| zone(i).as_str()).collect();
    assert!(zones.len() >= 5 && !zones.contains(&"us-east-1a"), "{zones:?}");
}

/// A spot node that is reclaimed has its replacement asked for at once.
#[test]
fn interruption_leads_to_a_replacement() {
    let case = Case {
        capacity: "spot",
        types: "m5.large, m5.xlarge",
        duration: "4d",
        scale: "[{at: 10m, replicas: 20}]",
        more: SPOT_LOSSES,
        karpenter: "{interruptionQueue: true}",
        ..CASE
    };
    let (log, _, _) = run(&case);
    let lost: Vec<SimTime> = log
        .lines
        .iter()
        .filter(|(_, l)| l.ends_with("spot capacity was reclaimed"))
        .map(|(t, _)| *t)
        .collect();
    assert!(!lost.is_empty(), "{:?}", log.lines);
    for at in lost {
        // The drain does not wait for the replacement, which is asked for within seconds.
        let near =
            |t: SimTime| at.since(t) <= Span::from_secs(125) && t.since(at) <= Span::from_secs(10);
        let bought = log.lines.iter().any(|(t, l)| l.starts_with('+') && near(*t));
        assert!(bought, "{at} {:?}", log.lines);
    }
}

/// Nodes whose life is over go without a simulation, and their pods get new nodes.
#[test]
fn expired_nodes_are_replaced() {
    let case = Case { expire: "1h", scale: "[{at: 5m, replicas: 5}]", duration: "3h", ..CASE };
    let (log, _, sim) = run(&case);
    let expired = log.lines.iter().filter(|(_, l)| l == "-m5.large expired").count();
    assert_eq!(expired, 2, "{:?}", log.lines);
    let ready: u32 = sim.world().api.sets.iter().map(|(_, s)| s.ready).sum();
    assert!(ready >= 5, "{ready}");
}

/// Auto Mode without any node group: its own NodePools serve everything, for a fee.
#[test]
fn auto_mode_runs_the_whole_cluster() {
    let text = "apiVersion: eks-sim/v1
kind: Scenario
metadata: {name: auto}
spec:
  duration: 1h
  cluster: {nodeGroups: [], autoscaler: {autoMode: {}}, addons: [coredns, metrics-server]}
";
    let loaded = crate::spec::load_scenario_text("t.yaml", text, Path::new(""), &[]);
    let loaded = loaded.unwrap_or_else(|d| panic!("{}", d.render()));
    let (model, errors) =
        crate::world::lower::build(&loaded.scenario, &loaded.manifests, &loaded.base);
    assert!(errors.iter().all(|e| e.warning), "{errors:?}");
    let model = Arc::new(model.expect("no error"));
    let mut sim = Sim::new(Arc::clone(&model), 0);
    assert!(sim.run(&mut ()).is_none());
    let ready: u32 = sim.world().api.sets.iter().map(|(_, s)| s.ready).sum();
    assert_eq!(ready, 4);
    let bought: Vec<_> =
        sim.world().cloud.instances.iter().map(|(_, i)| i.group_type(&model)).collect();
    assert!(!bought.is_empty());
    assert!(bought.iter().all(|t| t.fee > crate::units::MoneyRate::ZERO && t.max_pods <= 110));
}

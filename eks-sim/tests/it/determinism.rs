//! The same input gives the same run, whoever watches and however it is cut or spread.

use crate::rig::{deployment, text};
use eks_sim::engine::{Observer, Sim, View};
use eks_sim::observe::collector::Collector;
use eks_sim::study::replicate::{StudyOptions, run as run_study};
use eks_sim::study::{Replicate, run::ModelStudy};
use eks_sim::units::SimTime;
use eks_sim::world::{Change, Model};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const SPEC: &str = "  duration: 1h
  cluster:
    nodeGroups:
    - {name: a, instanceTypes: [m5.large], minSize: 1, maxSize: 6, desiredSize: 3}
  traffic:
  - to: Service/web
    rate: {constant: 200/s, burst: {cv: 0.4, every: 1m}}
  faults:
  - {at: 20m, nodeCrash: {count: 1}}
  - {random: etcdMemberLoss, meanTimeBetween: 30m}
";

const SERVICE: &str = "---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 2
  maxReplicas: 12
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
";

fn model(more: &str) -> Arc<Model> {
    let web = deployment("web", 3, "{cpu: 300m, memory: 256Mi}", "");
    text(SPEC, &format!("{web}{SERVICE}{more}")).model()
}

fn digest(model: &Arc<Model>, replication: u32, observer: &mut impl Observer) -> (u64, u64) {
    let mut sim = Sim::new(Arc::clone(model), replication);
    assert_eq!(sim.run(observer), None);
    (sim.digest(), sim.events())
}

#[test]
fn a_run_is_repeated_whoever_watches() {
    let model = model("");
    let again = self::model("");
    for replication in 0..3 {
        let plain = digest(&model, replication, &mut ());
        assert_eq!(plain, digest(&again, replication, &mut ()), "a model built again");
        assert_eq!(plain, digest(&model, replication, &mut Collector::new(&model, false)));
        assert_eq!(plain, digest(&model, replication, &mut Collector::new(&model, true)));
    }
    assert_ne!(digest(&model, 0, &mut ()), digest(&model, 1, &mut ()), "replications differ");
}

#[test]
fn a_run_in_pieces_is_the_same_run() {
    let model = model("");
    let whole = digest(&model, 0, &mut ());
    for minutes in [0, 1, 21, 59] {
        let mut sim = Sim::new(Arc::clone(&model), 0);
        sim.run_until(SimTime::from_secs(minutes * 60), &mut ());
        let mut clone = sim.clone();
        clone.run(&mut ());
        assert_eq!((clone.digest(), clone.events()), whole, "clone at {minutes} min");
        sim.run(&mut ());
        assert_eq!((sim.digest(), sim.events()), whole, "original after its clone");
    }
    let mut sim = Sim::new(Arc::clone(&model), 0);
    for second in 0..3600 {
        sim.run_until(SimTime::from_secs(second), &mut ());
    }
    sim.run(&mut ());
    assert_eq!((sim.digest(), sim.events()), whole, "second by second");
}

#[test]
fn replications_do_not_depend_on_order_or_threads() {
    let model = model("");
    let study = ModelStudy::new(Arc::clone(&model));
    let text = |r: u32| {
        let o = study.run(r, r == 1);
        format!("{:?} {:?} {:?} {:?} {:?}", o.digest, o.values, o.series.lines, o.cost, o.subnets)
    };
    let forward: Vec<String> = (0..4).map(text).collect();
    let mut backward: Vec<String> = (0..4).rev().map(text).collect();
    backward.reverse();
    assert!(forward == backward, "the order matters");
    let stop = AtomicBool::new(false);
    let rows = |threads| {
        let options = StudyOptions {
            replications: 6,
            precision: None,
            threads: Some(threads),
            detail: Some(2),
            stop: &stop,
        };
        let done = run_study(&study, &options, &|_| {});
        format!("{:?} {:?}", done.rows, done.bands)
    };
    assert!(rows(1) == rows(3), "the number of threads matters");
}

/// What happened to whom, in times since the thing that started it.
#[derive(Default)]
struct Story {
    boots: BTreeMap<u64, (u64, u64)>,
    failures: Vec<(u64, u32)>,
    ready_after: BTreeMap<u64, u64>,
}

impl Observer for Story {
    fn observe(&mut self, now: SimTime, change: &Change, view: &View<'_>) {
        let world = view.world;
        match *change {
            Change::NodeRegistered(n) => {
                let i = &world.cloud.instances[world.api.nodes[n].instance];
                if i.requested > SimTime::ZERO {
                    let launch = i.running.since(i.requested).nanos();
                    self.boots.insert(i.key, (launch, 0));
                }
            }
            Change::EtcdChanged(member, false) => self.failures.push((now.nanos(), member)),
            Change::PodStarted(p) => {
                if let Some(pod) = world.api.pods.get(p)
                    && view.model.workloads
                        [world.api.workloads[world.api.sets[pod.set].workload].model]
                        .name
                        == "web"
                {
                    self.ready_after.insert(pod.key, now.since(pod.created).nanos());
                }
            }
            _ => {}
        }
    }
}

#[test]
fn an_unrelated_deployment_shifts_nobody_elses_numbers() {
    let tell = |model: &Arc<Model>| {
        let mut story = Story::default();
        let mut sim = Sim::new(Arc::clone(model), 0);
        sim.run(&mut story);
        story
    };
    let (one, two) =
        (tell(&model("")), tell(&model(&deployment("aaa", 2, "{cpu: 10m, memory: 16Mi}", ""))));
    assert!(!one.boots.is_empty(), "the crashed node was replaced");
    assert!(one.failures.len() > 1, "members of etcd failed");
    assert_eq!(one.boots, two.boots, "boot times");
    assert_eq!(one.failures, two.failures, "failures of etcd");
    let common: Vec<u64> =
        one.ready_after.keys().filter(|k| two.ready_after.contains_key(k)).copied().collect();
    assert!(common.len() >= 3, "the same pods exist: {}", common.len());
}

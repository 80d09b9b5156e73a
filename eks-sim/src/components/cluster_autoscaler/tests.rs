//! Small clusters from text, run to the end; the changes tell what the autoscaler did.

use crate::engine::{Observer, Sim, View};
use crate::policy::cluster_autoscaler::eligibility::UnremovableReason;
use crate::spec::load_scenario_text;
use crate::units::{Id, SimTime, Span};
use crate::world::lower::build;
use crate::world::{Change, Model, Reason};
use std::sync::Arc;

#[derive(Default)]
struct Log(Vec<(SimTime, Change)>);

impl Observer for Log {
    fn observe(&mut self, now: SimTime, change: &Change, _: &View<'_>) {
        self.0.push((now, *change));
    }
}

impl Log {
    /// Group and number of each scale-up.
    fn scale_ups(&self) -> Vec<(SimTime, u32, u32)> {
        let of = |&(at, ref change): &(SimTime, Change)| match *change {
            Change::ScaleUpDecided(g, n) => Some((at, g.raw(), n)),
            _ => None,
        };
        self.0.iter().filter_map(of).collect()
    }
    fn count(&self, wanted: impl Fn(&Change) -> bool) -> usize {
        self.0.iter().filter(|(_, c)| wanted(c)).count()
    }
    /// When the autoscaler let go of nodes.
    fn terminations(&self) -> Vec<SimTime> {
        let wanted = |c: &Change| matches!(c, Change::TerminationWanted(_));
        self.0.iter().filter(|(_, c)| wanted(c)).map(|&(at, _)| at).collect()
    }
}

fn model(groups: &str, flags: &str, more: &str, manifests: &str) -> Arc<Model> {
    let scenario = format!(
        "apiVersion: eks-sim/v1
kind: Scenario
metadata: {{name: t}}
spec:
  duration: 40m
  manifests: [m.yaml]
  cluster:
    addons: []
    network: {{subnets: [{{name: a, zone: us-east-1a, prefix: 22}}]}}
    nodeGroups: {groups}
    autoscaler: {{clusterAutoscaler: {{{flags}}}}}
{more}"
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("m.yaml"), manifests).unwrap();
    let loaded = match load_scenario_text("s.yaml", &scenario, folder.path(), &[]) {
        Ok(loaded) => loaded,
        Err(out) => panic!("{}", out.render()),
    };
    let (model, errors) = build(&loaded.scenario, &loaded.manifests, folder.path());
    Arc::new(model.unwrap_or_else(|| panic!("{errors:?}")))
}

fn run(model: &Arc<Model>, replication: u32) -> (Sim, Log) {
    let mut sim = Sim::new(Arc::clone(model), replication);
    let mut log = Log::default();
    assert_eq!(sim.run(&mut log).map(|d| d.bound), None);
    (sim, log)
}

fn web(replicas: u32, cpu: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
      - {{name: app, image: web:1, resources: {{requests: {{cpu: {cpu}, memory: 64Mi}}}}}}
"
    )
}

const PDB: &str = "---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 2, selector: {matchLabels: {app: web}}}
";
const EMPTY: &str =
    "[{name: base, instanceTypes: [m6i.large], minSize: 0, desiredSize: 0, maxSize: 10}]";
const TWO: &str =
    "[{name: base, instanceTypes: [m6i.large], minSize: 1, desiredSize: 2, maxSize: 10}]";

fn secs(at: SimTime) -> f64 {
    at.secs_f64()
}

#[test]
fn pending_pods_bring_nodes_from_zero() {
    let (sim, log) = run(&model(EMPTY, "", "", &web(3, "\"1\"")), 0);
    // The provider's template has both processors free, a real node has less: two nodes are
    // asked for, then one more for the pod that did not fit after all.
    let sizes: Vec<u32> = log.scale_ups().iter().map(|&(_, _, n)| n).collect();
    assert_eq!(sizes, [2, 1]);
    assert_eq!(sim.world().api.live_nodes.len(), 3);
    assert_eq!(log.count(|c| matches!(c, Change::PodBound(_))), 3);
    assert!(sim.world().api.pods.iter().all(|(_, p)| p.is_ready()));
}

#[test]
fn the_expander_chooses_the_group() {
    let groups = "[{name: small, instanceTypes: [m6i.large], minSize: 0, desiredSize: 0, maxSize: 10}, {name: big, instanceTypes: [m6i.4xlarge], minSize: 0, desiredSize: 0, maxSize: 10}]";
    for (flags, replicas, group, nodes) in [
        ("expander: least-waste", 2, 0, 1),
        ("expander: least-nodes", 14, 1, 1),
        (
            "expander: \"priority,least-waste\", priorities: {\"10\": [small], \"20\": [big]}",
            2,
            1,
            1,
        ),
        (
            "expander: \"priority,least-waste\", priorities: {\"20\": [sm.*], \"10\": [big]}",
            14,
            0,
            7,
        ),
    ] {
        let (_, log) = run(&model(groups, flags, "", &web(replicas, "900m")), 0);
        let first = log.scale_ups().first().map(|&(_, g, n)| (g, n));
        assert_eq!(first, Some((group, nodes)), "{flags}");
    }
}

#[test]
fn a_random_tie_is_drawn_by_replication() {
    let groups = "[{name: a, instanceTypes: [m6i.large], minSize: 0, desiredSize: 0, maxSize: 5}, {name: b, instanceTypes: [m6i.large], minSize: 0, desiredSize: 0, maxSize: 5}]";
    let model = model(groups, "expander: random", "", &web(1, "\"1\""));
    let first = |r| run(&model, r).1.scale_ups()[0].1;
    let picks: Vec<u32> = (0..12).map(first).collect();
    assert!(picks.contains(&0) && picks.contains(&1), "{picks:?}");
    assert_eq!(first(3), picks[3]);
}

#[test]
fn an_idle_node_goes_after_ten_minutes() {
    let (sim, log) = run(&model(TWO, "", "", &web(1, "100m")), 0);
    let gone = log.terminations();
    assert_eq!(gone.len(), 1);
    // Unneeded for longer than 10 min, a loop every 10 s, 5 s after the taint.
    assert!(secs(gone[0]) > 605.0 && secs(gone[0]) < 627.0, "{}", gone[0]);
    assert_eq!(sim.world().api.live_nodes.len(), 1);
    // The empty one went, so no pod was evicted.
    assert_eq!(log.count(|c| matches!(c, Change::PodDeleting(..))), 0);
}

#[test]
fn a_budget_keeps_a_node_that_would_be_drained() {
    let (_, log) = run(&model(TWO, "", "", &web(2, "100m")), 0);
    assert_eq!(log.terminations().len(), 1);
    let drained = |c: &Change| matches!(c, Change::PodDeleting(_, Reason::NodeScaleDown));
    assert_eq!(log.count(drained), 1);
    let (sim, log) = run(&model(TWO, "", "", &(web(2, "100m") + PDB)), 0);
    assert_eq!(log.terminations().len(), 0);
    for n in 0..2 {
        let reason = sim.cluster_autoscaler().node_reason(Id::new(n));
        let kept = [UnremovableReason::BlockedByPod, UnremovableReason::RecentlyUnremovable];
        assert!(reason.is_some_and(|r| kept.contains(&r)), "{reason:?}");
    }
}

#[test]
fn the_minimum_is_kept() {
    let groups =
        "[{name: base, instanceTypes: [m6i.large], minSize: 2, desiredSize: 2, maxSize: 10}]";
    let (sim, log) = run(&model(groups, "", "", &web(1, "100m")), 0);
    assert_eq!(log.terminations().len(), 0);
    let reasons = [0, 1].map(|n| sim.cluster_autoscaler().node_reason(Id::new(n)));
    assert!(reasons.contains(&Some(UnremovableReason::NodeGroupMinSizeReached)), "{reasons:?}");
}

#[test]
fn an_outage_of_the_api_freezes_it() {
    let outage = "  faults: [{at: 5m, etcdMemberLoss: {count: 2, duration: 20m}}]";
    let (_, log) = run(&model(TWO, "", outage, &web(1, "100m")), 0);
    let gone = log.terminations();
    assert_eq!(gone.len(), 1);
    assert!(secs(gone[0]) > 1500.0 && secs(gone[0]) < 1530.0, "{}", gone[0]);
}

#[test]
fn refused_launches_back_the_group_off() {
    let outage = "  faults: [{at: 1s, zoneOutage: {zone: us-east-1a, duration: 8m}}]";
    let (sim, log) = run(&model(EMPTY, "", outage, &web(1, "\"1\"")), 0);
    let ups: Vec<f64> = log.scale_ups().iter().map(|&(at, _, _)| secs(at)).collect();
    assert_eq!(ups.len(), 3, "{ups:?}");
    assert!(ups.windows(2).all(|w| w[1] - w[0] > 300.0), "{ups:?}");
    assert_eq!(log.count(|c| matches!(c, Change::GroupSizeWanted(_, 0))), 2);
    assert!(sim.world().api.pods.iter().all(|(_, p)| p.is_ready()));
}

#[test]
fn pods_that_no_group_can_help_know_why() {
    let groups = "[{name: full, instanceTypes: [m6i.large], minSize: 1, desiredSize: 1, maxSize: 1}, {name: small, instanceTypes: [m6i.large], minSize: 0, desiredSize: 0, maxSize: 3}]";
    let (sim, log) = run(&model(groups, "", "", &web(1, "\"9\"")), 0);
    assert!(log.scale_ups().is_empty());
    let (pod, _) = sim.world().api.pods.iter().next().unwrap();
    assert_eq!(
        sim.cluster_autoscaler().pod_reason(pod),
        Some("pod didn't trigger scale-up: 1 Insufficient cpu, 1 max node group size reached")
    );
}

#[test]
fn loops_without_news_are_skipped() {
    let (sim, _) = run(&model(TWO, "", "", &web(1, "100m")), 0);
    let (loops, full) = sim.cluster_autoscaler().loops();
    assert!(loops > 230 && full < 40, "{full} of {loops}");
}

#[test]
fn the_same_replication_gives_the_same_digest() {
    let model = model(TWO, "", "", &web(9, "700m"));
    let digests = [0, 0, 1].map(|r| run(&model, r).0.digest());
    assert_eq!(digests[0], digests[1]);
    assert_ne!(digests[0], digests[2]);
}

/// Validation D3: without frequent loops a pod waits half an interval on average, and the two
/// seconds that a pod must be old add as much again in expectation.
#[test]
fn mean_wait_is_half_the_scan_interval() {
    let wait = |interval: u64, frequent: bool, replications: u32| {
        let flags = format!("scanInterval: {interval}s, frequentLoopsEnabled: {frequent}");
        let mut model = Arc::into_inner(model(EMPTY, &flags, "", &web(1, "\"1\""))).unwrap();
        model.duration = Span::from_secs(130);
        let model = Arc::new(model);
        let sum: f64 = (0..replications).map(|r| secs(run(&model, r).1.scale_ups()[0].0)).sum();
        sum / f64::from(replications)
    };
    let (short, long) = (wait(10, false, 64), wait(60, false, 64));
    assert!((6.0..8.5).contains(&short), "{short}");
    assert!((26.0..39.0).contains(&long), "{long}");
    // A pod that starts the loop is too new for it and waits for the next one.
    let frequent = wait(10, true, 4);
    assert!((10.0..11.0).contains(&frequent), "{frequent}");
}

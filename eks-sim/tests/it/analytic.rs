//! Closed forms that the engine must reproduce. The numbers are worked out in each test; a
//! simulated mean must lie within its own 99 % interval of the exact value.

use crate::rig::{Text, deployment, text};
use eks_sim::engine::{Observer, Sim, View};
use eks_sim::policy::vpc_cni::Holding;
use eks_sim::units::{Id, SimTime, Span};
use eks_sim::world::cloud::InstanceState;
use eks_sim::world::nodes::SystemTaint;
use eks_sim::world::{Change, Model, Node, NodeCondition, PodId, Reason};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Mean and half width of the 99 % interval (normal; samples are many).
fn interval(samples: &[f64]) -> (f64, f64) {
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    let variance = samples.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - 1.0);
    (mean, 2.576 * (variance / n).sqrt())
}

fn agrees(what: &str, samples: &[f64], exact: f64) {
    let (mean, half) = interval(samples);
    assert!((mean - exact).abs() <= half, "{what}: {mean} ± {half}, exactly {exact}");
}

fn run(model: &Arc<Model>, replication: u32, observer: &mut impl Observer) -> Sim {
    let mut sim = Sim::new(Arc::clone(model), replication);
    assert_eq!(sim.run(observer), None);
    sim
}

/// Nothing but a control plane.
fn bare(days: u32, more: &str) -> Text {
    let spec = format!(
        "  duration: {}h\n  cluster:\n    addons: []\n{more}    nodeGroups:\n    - {{name: a, \
         instanceTypes: [t3.medium], minSize: 0, maxSize: 1, desiredSize: 0}}\n",
        days * 24
    );
    text(&spec, "")
}

/// Time without the API, and losses of it.
#[derive(Default)]
struct Outages {
    down: Span,
    since: Option<SimTime>,
    first: Option<SimTime>,
    members_down: Span,
    member_since: BTreeMap<(bool, u32), SimTime>,
}

impl Observer for Outages {
    fn observe(&mut self, now: SimTime, change: &Change, _: &View<'_>) {
        let member = match *change {
            Change::EtcdChanged(i, up) => Some(((true, i), up)),
            Change::ApiServerChanged(i, up) => Some(((false, i), up)),
            _ => None,
        };
        if let Some((member, up)) = member {
            if up {
                if let Some(since) = self.member_since.remove(&member) {
                    self.members_down += now.since(since);
                }
            } else {
                self.member_since.insert(member, now);
            }
        }
        if let Change::ApiAvailability(up) = *change {
            if up {
                self.down += now.since(self.since.take().unwrap_or(now));
            } else {
                self.first.get_or_insert(now);
                self.since = Some(now);
            }
        }
    }
}

/// Members that work for 11 h on average and are back an hour after a failure: availability
/// p = 11/12. An etcd of n is up with probability Σ C(n,i) p^i (1−p)^(n−i) over a majority (B1,
/// B2), two API servers with 1 − (1−p)² (B3). Three members first lose the majority after
/// (5λ+μ)/(6λ²) on average when repairs are exponential (B5).
#[test]
fn b_members_of_the_control_plane() {
    let p: f64 = 11.0 / 12.0;
    let q = 1.0 - p;
    let three = p * p * p + 3.0 * p * p * q;
    let five = p * p * p * (p * p + 5.0 * p * q + 10.0 * q * q);
    for (members, n, fault, constant, exact) in [
        ("{etcdMembers: 3}", 3.0, "etcdMemberLoss", "etcd_member_replace", three),
        ("{etcdMembers: 5}", 5.0, "etcdMemberLoss", "etcd_member_replace", five),
        ("{apiServers: 2}", 2.0, "apiServerLoss", "api_server_replace", 1.0 - q * q),
    ] {
        let mut scenario = bare(60, &format!("    controlPlane: {members}\n"));
        scenario.spec.push_str(&format!(
            "  faults:\n  - {{random: {fault}, meanTimeBetween: 11h}}\n  \
             constants:\n    failure.{constant}: {{exponential: {{mean: 1h}}}}\n"
        ));
        let model = scenario.model();
        let seconds = model.duration.secs_f64();
        let end = SimTime::ZERO + model.duration;
        let (mut up, mut one, mut first) = (Vec::new(), Vec::new(), Vec::new());
        for replication in 0..150 {
            let mut seen = Outages::default();
            run(&model, replication, &mut seen);
            first.extend(seen.first.map(|t| t.secs_f64() / 3600.0));
            let open = seen.since.map_or(Span::ZERO, |s| end.since(s));
            up.push(1.0 - (seen.down + open).secs_f64() / seconds);
            let open = seen.member_since.values().fold(Span::ZERO, |sum, &s| sum + end.since(s));
            one.push(1.0 - (seen.members_down + open).secs_f64() / seconds / n);
        }
        // All are up at the start, which is forgotten within hours of sixty days: at most
        // 1/12 × 1 h of 1,440 h.
        let bias = 1.0 / 12.0 / 1440.0;
        for (what, samples, exact) in [("one", &one, p), ("all", &up, exact)] {
            let (mean, half) = interval(samples);
            let off = (mean - exact).abs();
            assert!(off <= half + bias, "{fault} {members}, {what}: {mean} ± {half}, {exact}");
        }
        if n == 3.0 {
            assert_eq!(first.len(), 150, "every run loses its quorum at some time");
            let (lambda, mu) = (1.0 / 11.0, 1.0);
            agrees("first loss of quorum", &first, (5.0 * lambda + mu) / (6.0 * lambda * lambda));
        }
    }
}

/// C1 and C2: hazard −ln(1−p)/730 an hour; none of n nodes interrupted in 24 h.
#[test]
fn c_spot_interruptions() {
    let spec = "  duration: 72h\n  cluster:\n    addons: []\n    nodeGroups:\n    - {name: a, \
                instanceTypes: [m5.large], minSize: 0, maxSize: 20, desiredSize: 20, \
                capacityType: SPOT, kind: self-managed}\n  constants: {spot.shock_share: 0}\n  \
                faults:\n  - {random: spotInterruption}\n";
    let model = text(spec, "").model();
    let hazard = model.groups[Id::new(0)].types[0].interruption_per_hour;
    assert!(hazard > 1e-5 && hazard < 1e-2, "{hazard}");
    struct Reclaims(u32, bool);
    impl Observer for Reclaims {
        fn observe(&mut self, now: SimTime, change: &Change, view: &View<'_>) {
            if let Change::InstanceTerminated(i) = *change
                && view.world.cloud.instances[i].end_reason.contains("spot")
            {
                self.0 += 1;
                self.1 |= now <= SimTime::from_secs(24 * 3600 + 120);
            }
        }
    }
    let (mut count, mut quiet) = (Vec::new(), Vec::new());
    for replication in 0..400 {
        let mut seen = Reclaims(0, false);
        run(&model, replication, &mut seen);
        count.push(f64::from(seen.0));
        quiet.push(f64::from(u8::from(!seen.1)));
    }
    // Two minutes of notice at the end, minutes without a node after each loss: under 0.2 %.
    agrees("reclaims", &count, 20.0 * hazard * (72.0 - 1.0 / 30.0));
    let none = eks_sim::units::math::exp(-20.0 * 24.0 * hazard);
    agrees("none in a day", &quiet, none);
}

/// C6: the slowest of n exponential start-ups of mean 40 s takes 40·H_n s on average.
#[test]
fn c6_slowest_start_up() {
    let start = "  workloads:\n  - {for: Deployment/web, startup: {exponential: {mean: 40s}}}\n";
    for (n, harmonic) in [(1_u32, 1.0), (10, 2.928_968)] {
        let probe = "        readinessProbe: {httpGet: {port: 80}, periodSeconds: 1}\n";
        let manifest = deployment("web", n, "{cpu: 10m}", "").replace(
            "- {name: main, image: web, resources: {requests: {cpu: 10m}}}\n",
            &format!("- name: main\n        image: web\n{probe}"),
        );
        assert!(manifest.contains("readinessProbe"), "{manifest}");
        let model = text(&format!("  duration: 15m\n{start}"), &manifest).model();
        struct Slowest(BTreeMap<PodId, SimTime>, f64);
        impl Observer for Slowest {
            fn observe(&mut self, now: SimTime, change: &Change, view: &View<'_>) {
                let (Change::PodStarted(p) | Change::PodReady(p)) = *change else { return };
                let Some(pod) = view.world.api.pods.get(p) else { return };
                let set = &view.world.api.sets[pod.set];
                let workload = view.world.api.workloads[set.workload].model;
                if view.model.workloads[workload].name != "web" {
                    return;
                }
                if let Change::PodStarted(_) = *change {
                    self.0.insert(p, now);
                } else if let Some(since) = self.0.get(&p) {
                    self.1 = self.1.max(now.since(*since).secs_f64());
                }
            }
        }
        let mut slowest = Vec::new();
        for replication in 0..150 {
            let mut seen = Slowest(BTreeMap::new(), 0.0);
            run(&model, replication, &mut seen);
            slowest.push(seen.1);
        }
        let (mean, half) = interval(&slowest);
        // The probe looks every second: half a second later on average, and latencies of reports.
        let exact = 40.0 * harmonic + 0.5;
        assert!((mean - exact).abs() < half + 0.5, "n = {n}: {mean} ± {half}, exactly {exact}");
    }
}

/// What happened to the nodes that failed.
#[derive(Default)]
struct NodeStory {
    crashed: BTreeMap<Id<Node>, SimTime>,
    unknown: BTreeMap<Id<Node>, SimTime>,
    tainted: BTreeMap<Id<Node>, SimTime>,
    deleted: Vec<(SimTime, Id<Node>)>,
}

impl Observer for NodeStory {
    fn observe(&mut self, now: SimTime, change: &Change, view: &View<'_>) {
        let world = view.world;
        match *change {
            Change::InstanceCrashed(i) => {
                if let Some(node) = world.cloud.instances[i].node {
                    self.crashed.entry(node).or_insert(now);
                }
            }
            Change::NodeConditionChanged(n)
                if world.api.nodes[n].condition == NodeCondition::Unknown =>
            {
                self.unknown.entry(n).or_insert(now);
            }
            Change::NodeTainted(n, SystemTaint::UnreachableNoExecute, true) => {
                self.tainted.entry(n).or_insert(now);
            }
            Change::PodDeleting(p, Reason::TaintEviction) => {
                if let Some(node) = world.api.pods.get(p).and_then(|p| p.node) {
                    self.deleted.push((now, node));
                }
            }
            _ => {}
        }
    }
}

/// D4: detection in [G − 10, G + 5] s after a crash, pods deleted in [G + 290, G + 305] s.
#[test]
fn d4_node_crash() {
    let slack = 1.0; // requests take time
    for (version, grace) in [("1.34", 50.0), ("1.31", 40.0)] {
        let spec = format!(
            "  duration: 30m\n  cluster:\n    version: \"{version}\"\n    nodeGroups:\n    - {{name: a, \
             instanceTypes: [m5.large], minSize: 1, maxSize: 4, desiredSize: 4}}\n  \
             constants:\n    ec2.unhealthy_replace: 2h\n  \
             faults:\n  - {{at: 203s, nodeCrash: {{count: 1}}}}\n"
        );
        let model = text(&spec, &deployment("web", 12, "{cpu: 100m}", "")).model();
        let mut deleted = 0;
        for replication in 0..20 {
            let mut story = NodeStory::default();
            run(&model, replication, &mut story);
            assert_eq!(story.crashed.len(), 1);
            for (node, &at) in &story.crashed {
                let seen = story.unknown[node].since(at).secs_f64();
                let window = grace - 10.0..=grace + 5.0 + slack;
                assert!(window.contains(&seen), "{version}: detected after {seen} s");
            }
            for &(when, node) in &story.deleted {
                let after = when.since(story.crashed[&node]).secs_f64();
                let window = grace + 290.0..=grace + 305.0 + slack;
                assert!(window.contains(&after), "{version}: deleted after {after} s");
                deleted += 1;
            }
        }
        assert!(deleted > 20, "{version}: only {deleted} pods were deleted");
    }
}

/// D5: the n-th node of a wholly lost zone is tainted (n − 1)·10 s after the first; a small zone
/// that is mostly lost is left alone.
#[test]
fn d5_pace_of_evictions() {
    let spec = |fault: &str| {
        format!(
            "  duration: 25m\n  cluster:\n    addons: []\n    network:\n      subnets:\n      \
             - {{name: a, zone: us-east-1a, prefix: 20}}\n      - {{name: b, zone: us-east-1b, prefix: 20}}\n    \
             nodeGroups:\n    - {{name: a, instanceTypes: [t3.medium], minSize: 0, maxSize: 20, desiredSize: 20, subnets: [a]}}\n    \
             - {{name: b, instanceTypes: [t3.medium], minSize: 0, maxSize: 20, desiredSize: 20, subnets: [b]}}\n  \
             constants:\n    ec2.unhealthy_replace: 5h\n  faults:\n  - {fault}\n"
        )
    };
    let mut story = NodeStory::default();
    let lost = spec("{at: 100s, zoneOutage: {zone: us-east-1a, duration: 3h}}");
    run(&text(&lost, "").model(), 0, &mut story);
    let mut times: Vec<f64> = story.tainted.values().map(|t| t.secs_f64()).collect();
    times.sort_by(f64::total_cmp);
    assert_eq!(times.len(), 20);
    let spread = times[19] - times[0];
    assert!((spread - 190.0).abs() < 1.0, "the last of 20 is tainted after {spread} s: {times:?}");
    let mut story = NodeStory::default();
    let most = spec("{at: 100s, nodeCrash: {count: 12, zone: us-east-1a}}");
    run(&text(&most, "").model(), 0, &mut story);
    assert_eq!(story.unknown.len(), 12);
    assert!(
        story.tainted.len() <= 2,
        "{} tainted in a small, mostly lost zone",
        story.tainted.len()
    );
}

/// E2: three c5.large with CoreDNS on two of them hold 50 pod addresses, 43 or so of them warm.
/// E4: m5.large nodes with a pod or two each fill a /24 (251 usable) with twelve.
#[test]
fn e_addresses_at_rest() {
    let spec = "  duration: 30m\n  cluster:\n    addons: [vpc-cni, coredns, kube-proxy]\n    \
                nodeGroups:\n    - {name: a, instanceTypes: [c5.large], minSize: 3, maxSize: 3, desiredSize: 3}\n";
    let sim = run(&text(spec, "").model(), 0, &mut ());
    let (mut held, mut own, mut assigned) = (0, 0, 0);
    for (_, subnet) in sim.world().cloud.subnets.iter() {
        held += subnet.space.count(Holding::Secondary);
        own += subnet.space.count(Holding::EniPrimary) + subnet.space.count(Holding::NodePrimary);
        assigned += subnet.assigned;
    }
    // Two nodes with a pod: two interfaces of nine and their own addresses; the third has one.
    assert_eq!((held + own, assigned), (50, 2), "{held} secondary, {own} of interfaces");
    let spec = "  duration: 30m\n  cluster:\n    addons: []\n    network:\n      subnets:\n      \
                - {name: a, zone: us-east-1a, prefix: 24}\n    nodeGroups:\n    - {name: a, \
                instanceTypes: [m5.large], minSize: 0, maxSize: 30, desiredSize: 13}\n";
    let manifest = "---\napiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: agent}\nspec:\n  \
                    selector: {matchLabels: {app: agent}}\n  template:\n    metadata: {labels: {app: agent}}\n    \
                    spec: {containers: [{name: main, image: agent}]}\n";
    let sim = run(&text(spec, manifest).model(), 0, &mut ());
    let running =
        sim.world().cloud.instances.iter().filter(|(_, i)| i.state == InstanceState::Running);
    let space = &sim.world().cloud.subnets[Id::new(0)].space;
    assert_eq!(space.usable(), 251);
    let twelve = 12 * 20;
    assert!(space.usable() - space.free() >= twelve, "{} free", space.free());
    assert_eq!(running.count(), 13);
}

/// F1: the fee of a cluster and the price of a node; F3: the lines add up to the bill. Ingresses of
/// one group share a load balancer.
#[test]
fn f_cost_is_price_times_time() {
    let spec = "  duration: 730h\n  cluster:\n    addons: []\n    nodeGroups:\n    - {name: a, \
                instanceTypes: [m5.large], minSize: 1, maxSize: 1, desiredSize: 1, diskSize: 1}\n";
    let ingress = |name: &str, class: &str, more: &str| {
        format!(
            "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: {name}, \
             annotations: {{{more}}}}}\nspec:\n  ingressClassName: {class}\n  defaultBackend: \
             {{service: {{name: web, port: {{number: 80}}}}}}\n"
        )
    };
    let group = "alb.ingress.kubernetes.io/group.name: shop";
    let manifests = [
        ingress("a", "alb", ""),
        ingress("b", "alb", group),
        ingress("c", "alb", group),
        ingress("d", "nginx", ""),
    ]
    .concat();
    let model = text(spec, &manifests).model();
    let mut collector = eks_sim::observe::collector::Collector::new(&model, false);
    let mut sim = Sim::new(Arc::clone(&model), 0);
    sim.run(&mut collector);
    let outcome = collector.finish(0, sim.world(), &model, (0, 0), None);
    let of = |name: &str| {
        outcome.cost.iter().filter(|l| l.component == name).map(|l| l.amount.usd()).sum::<f64>()
    };
    assert!((of("control plane") - 73.0).abs() < 1e-6, "{}", of("control plane"));
    assert!((of("EC2 on-demand") - 70.08).abs() < 1e-6, "{}", of("EC2 on-demand"));
    let balancers = 2.0 * 730.0 * 0.0225;
    assert!((of("load balancers") - balancers).abs() < 1e-6, "{}", of("load balancers"));
    let total: f64 = outcome.cost.iter().map(|l| l.amount.usd()).sum();
    let at = eks_sim::observe::metrics::columns().iter().position(|c| c.name() == "cost_usd");
    assert!((outcome.values[at.expect("a column")] - total).abs() < 1e-6);
}

//! Warm pools, Windows, hybrid nodes, volumes of nodes, startup taints, retirements, refusals.

use crate::nodes::{Log, live, run};
use crate::rig::{Text, deployment, text};
use eks_sim::engine::{Observer, Sim, View};
use eks_sim::units::{Id, SimTime};
use eks_sim::world::cloud::InstanceState;
use eks_sim::world::nodes::SystemTaint;
use eks_sim::world::{Change, NodeCondition, PodId};
use std::sync::Arc;

/// A warm pool saves most of the boot.
#[test]
fn a_warm_pool_is_faster() {
    let start = |warm: &str| -> f64 {
        let spec = format!(
            "  duration: 10m\n  cluster:\n    addons: []\n    nodeGroups:\n    - {{name: a, instanceTypes: [m5.large], \
             minSize: 0, maxSize: 5, desiredSize: 0{warm}}}\n    autoscaler: {{clusterAutoscaler: {{}}}}\n"
        );
        let model = text(&spec, &deployment("web", 1, "{cpu: 1}", "")).model();
        let sum: f64 = (0..40)
            .map(|r| {
                let (_, log) = run(&model, r);
                log.first(|c| matches!(c, Change::NodeRegistered(_))).unwrap().secs_f64()
            })
            .sum();
        sum / 40.0
    };
    let (cold, stopped) = (start(""), start(", warmPool: {minSize: 1}"));
    let running = start(", warmPool: {minSize: 1, poolState: Running}");
    assert!(stopped < cold - 8.0, "cold {cold} s, out of a stopped pool {stopped} s");
    assert!(running < stopped - 8.0, "out of a running pool {running} s");
}

/// Windows: label, one interface's addresses, a slow start, a licence; Linux DaemonSets stay away.
#[test]
fn windows_nodes() {
    let spec = "  duration: 12m\n  cluster:\n    nodeGroups:\n    - {name: a, instanceTypes: [m5.large], \
                minSize: 1, maxSize: 2, desiredSize: 1}\n    - {name: w, instanceTypes: [m5.large], \
                amiFamily: WINDOWS, minSize: 0, maxSize: 2, desiredSize: 0, taints: [{key: os, value: windows, effect: NoSchedule}]}\n    \
                autoscaler: {clusterAutoscaler: {}}\n";
    let more = "      nodeSelector: {kubernetes.io/os: windows}\n      tolerations: [{key: os, operator: Exists}]\n";
    let (sim, log) = run(&text(spec, &deployment("iis", 1, "{cpu: 500m}", more)).model(), 0);
    let t = &sim.model().groups[Id::new(1)].types[0];
    assert_eq!(t.max_pods, 9, "an interface of ten addresses, one its own");
    let linux = sim.model().groups[Id::new(0)].types[0].rate.usd_per_hour();
    assert!((t.rate.usd_per_hour() - linux - 2.0 * 0.046).abs() < 1e-9);
    let i = live(&sim, 1)[0];
    let row = &sim.world().cloud.instances[i];
    let node = &sim.world().api.nodes[row.node.expect("it registers")];
    assert_eq!(node.object.metadata.labels["kubernetes.io/os"], "windows");
    assert_eq!(node.pods.len(), 1, "no DaemonSet pod of Linux");
    let boot = node.registered.since(row.running).secs_f64();
    assert!((180.0..500.0).contains(&boot), "{boot} s");
    assert!(log.first(|c| matches!(c, Change::PodTriggeredScaleUp(_))).is_some());
}

/// Hybrid nodes are there from the start, take no subnet address, and cost their fee.
#[test]
fn hybrid_nodes_have_a_fee() {
    let spec = "  duration: 1h\n  cluster:\n    nodeGroups: []\n    hybridNodes:\n    \
                - {name: rack, count: 3, vcpu: 16, memory: 64Gi, labels: {site: factory}}\n";
    let model = text(spec, &deployment("web", 6, "{cpu: 2}", "")).model();
    let (sim, log) = run(&model, 0);
    assert_eq!(sim.world().api.live_nodes.len(), 3);
    let fee = model.groups[Id::new(0)].types[0].rate.usd_per_hour();
    assert!((fee - 16.0 * 0.02).abs() < 1e-9, "{fee}");
    assert_eq!(
        log.count(|c| matches!(c, Change::SubnetChanged(_) | Change::SubnetExhausted(_))),
        0
    );
    let model = sim.model();
    let web = |p: &eks_sim::world::Pod| model.templates[p.template].namespace == "default";
    assert_eq!(sim.world().api.pods.iter().filter(|(_, p)| web(p) && p.is_ready()).count(), 6);
    for (_, node) in sim.world().api.nodes.iter() {
        assert!(node.name().starts_with("mi-rack-"), "{}", node.name());
    }
}

/// A pod of a StatefulSet whose volume's zone is down waits, and says why; it comes back with the
/// zone.
#[test]
fn a_volume_holds_its_pod_to_the_zone() {
    let spec = "  duration: 40m\n  cluster:\n    addons: []\n    nodeGroups:\n    - {name: a, instanceTypes: [m5.large], \
                minSize: 3, maxSize: 3, desiredSize: 3}\n  faults:\n  \
                - {at: 5m, zoneOutage: {zone: us-east-1b, duration: 20m}}\n";
    let db = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec:\n  serviceName: db\n  replicas: 3\n  \
              podManagementPolicy: Parallel\n  selector: {matchLabels: {app: db}}\n  template:\n    \
              metadata: {labels: {app: db}}\n    spec:\n      topologySpreadConstraints:\n      \
              - {maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: db}}}\n      \
              containers:\n      - {name: db, image: db, resources: {requests: {cpu: 500m}}, volumeMounts: [{name: data, mountPath: /data}]}\n  \
              volumeClaimTemplates:\n  - metadata: {name: data}\n    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Gi}}}\n";
    struct Waits(Option<(PodId, Vec<String>)>, Log);
    impl Observer for Waits {
        fn observe(&mut self, now: SimTime, change: &Change, v: &View<'_>) {
            if let Change::PodUnschedulable(p) = *change
                && now > SimTime::from_secs(300)
            {
                let reasons = v.scheduler.reasons(p).into_iter().map(|(r, _)| r).collect();
                self.0.get_or_insert((p, reasons));
            }
            self.1.observe(now, change, v);
        }
    }
    let model = text(spec, db).model();
    let mut sim = Sim::new(Arc::clone(&model), 0);
    let mut waits = Waits(None, Log::default());
    assert_eq!(sim.run(&mut waits), None);
    let (pod, reasons) = waits.0.expect("the pod of the lost zone waits");
    let why = "node(s) didn't match PersistentVolume's node affinity";
    assert!(reasons.iter().any(|r| r == why), "{reasons:?}");
    let ready = waits.1.0.iter().rev().find(|(_, c)| *c == Change::PodReady(pod));
    let back = ready.expect("it is back with the zone").0;
    assert!(back > SimTime::from_secs(25 * 60), "{back}");
}

/// A volume of a machine that died without a word is taken off it by force six minutes later.
#[test]
fn a_dead_machine_holds_its_volume_for_six_minutes() {
    let spec = "  duration: 30m\n  cluster:\n    addons: []\n    network:\n      subnets: [{name: a, zone: us-east-1a, prefix: 22}]\n    \
                nodeGroups:\n    - {name: a, instanceTypes: [m5.large], minSize: 1, maxSize: 2, desiredSize: 2}\n  \
                constants: {ec2.unhealthy_replace: 5h, controller_manager.default_unreachable_toleration: 30s}\n  \
                faults:\n  - {at: 300s, nodeCrash: {count: 1}}\n";
    let claim = "---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [ReadWriteOnce], \
                 resources: {requests: {storage: 10Gi}}}\n";
    let volumes = "      volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]\n";
    let pods = deployment("db", 1, "{cpu: 500m}", volumes) + claim;
    let model = text(spec, &pods).model();
    let mut moved = 0;
    for r in 0..8 {
        let (_, log) = run(&model, r);
        let ready: Vec<f64> = log
            .0
            .iter()
            .filter(|(_, c)| matches!(c, Change::PodReady(_)))
            .map(|(t, _)| t.secs_f64())
            .collect();
        if let Some(&again) = ready.get(1) {
            moved += 1;
            assert!((660.0..690.0).contains(&again), "ready again at {again} s");
        }
    }
    assert!(moved >= 1, "the pod's node crashed in no replication");
}

/// Startup taints keep pods off until the DaemonSet pods are Ready.
#[test]
fn startup_taints_go() {
    let spec = "  duration: 10m\n  cluster:\n    nodeGroups:\n    - {name: a, instanceTypes: [m5.large], minSize: 0, \
                maxSize: 2, desiredSize: 0, startupTaints: [{key: agent, effect: NoSchedule}]}\n    \
                autoscaler: {clusterAutoscaler: {}}\n";
    let (sim, log) = run(&text(spec, &deployment("web", 1, "{cpu: 500m}", "")).model(), 0);
    let gone = log
        .first(|c| matches!(c, Change::NodeTainted(_, SystemTaint::Startup, false)))
        .expect("the taint goes");
    let ready = log
        .first(|c| matches!(c, Change::NodeConditionChanged(n) if sim.world().api.nodes[*n].condition == NodeCondition::Ready))
        .unwrap();
    assert!(gone > ready);
    let model = sim.model();
    let web = sim
        .world()
        .api
        .pods
        .iter()
        .find(|(_, p)| model.templates[p.template].namespace == "default");
    assert!(web.is_some_and(|(_, p)| p.is_ready() && p.node.is_some()));
}

/// A scheduled retirement ends the instance, and its group replaces it.
#[test]
fn retirements_are_replaced() {
    let spec = "  duration: 24h\n  cluster:\n    addons: []\n    nodeGroups:\n    - {name: a, instanceTypes: [m5.large], \
                minSize: 5, maxSize: 5, desiredSize: 5}\n  faults:\n  \
                - {random: scheduledRetirement, meanTimeBetween: 24h}\n";
    let (sim, _) = run(&text(spec, "").model(), 0);
    let ended: Vec<_> = sim
        .world()
        .cloud
        .instances
        .iter()
        .filter(|(_, i)| i.state == InstanceState::Terminated)
        .collect();
    assert!(!ended.is_empty());
    assert!(ended.iter().all(|(_, i)| i.end_reason == "its host was retired"));
    assert_eq!(live(&sim, 0).len(), 5);
}

/// What is wrong is said.
#[test]
fn wrong_groups_are_refused() {
    let base = "  duration: 1h\n  cluster:\n    nodeGroups:\n    - {name: a, instanceTypes: [m5.large], minSize: 1, maxSize: 3, desiredSize: 1";
    for (more, word) in [
        (", kind: magic}\n", "`spec.cluster.nodeGroups.0.kind` cannot be `magic`"),
        (", mixedInstances: {}}\n", "no mixed instances policy of its own"),
        (
            ", kind: self-managed, mixedInstances: {spotAllocationStrategy: best, onDemandPercentageAboveBaseCapacity: 0}}\n",
            "no strategy for spot",
        ),
        (
            ", updateConfig: {maxUnavailable: 2, maxUnavailablePercentage: 10}}\n",
            "exclude each other",
        ),
        (", updateConfig: {maxUnavailable: 0}}\n", "out of range"),
        (", updateConfig: {updateStrategy: FAST}}\n", "no strategy of an update"),
        (", capacityType: SPOT, warmPool: {minSize: 1}}\n", "has no warm pool"),
        (", startupTaints: [{key: a, effect: Never}]}\n", "effect"),
        (", amiFamily: WINDOWS, instanceTypes: [m6g.large]}\n", "twice"),
        ("}\n    vcpuQuotas: {standrad: 8}\n", "standrad"),
        ("}\n    fargateProfiles: [{name: x, selectors: []}]\n", "no selector"),
        (
            "}\n    fargateProfiles: [{name: x, selectors: [{namespace: a}], subnets: [z]}]\n",
            "there is no subnet `z`",
        ),
        (
            "}\n    hybridNodes: [{name: r, count: 1, vcpu: 0, memory: 1Gi}]\n",
            "at least one processor",
        ),
        ("}\n    autoscaler: {clusterAutoscaler: {expander: prize}}\n", "cannot be `prize`"),
        (
            "}\n    autoscaler: {clusterAutoscaler: {expander: 'priority,best'}}\n",
            "cannot be `best`",
        ),
        ("}\n    autoscaler: {clusterAutoscaler: {coresTotal: '9'}}\n", "is no range"),
        (
            "}\n    autoscaler: {clusterAutoscaler: {scaleDownUtilizationThreshold: 50}}\n",
            "cannot be 50",
        ),
        ("}\n    autoscaler: {clusterAutoscaler: {priorities: {high: [a]}}}\n", "is no priority"),
        (
            "}\n  changes: [{at: 1m, nodeGroupUpdate: {nodeGroup: b}}]\n",
            "there is no node group `b`",
        ),
        ("}\n  changes: [{at: 1m, nodeGroupUpdate: {nodeGroup: a}, drain: {}}]\n", "needs one of"),
        ("}\n  faults: [{at: 1m, spotReclaim: {share: 200%}}]\n", "share"),
        ("}\n  faults: [{at: 1m, spotReclaim: {instanceTypes: [m5.huge]}}]\n", "no instance type"),
    ] {
        let scenario = Text { spec: format!("{base}{more}"), manifests: String::new() };
        let why = scenario.try_model().err().unwrap_or_default();
        assert!(why.contains(word), "{more} → {why}");
    }
}

//! The network in the simulated world: published worked examples, modes of the CNI, exhaustion.

use crate::rig::{deployment, text};
use eks_sim::catalog::Catalog;
use eks_sim::engine::Sim;
use eks_sim::policy::vpc_cni::Holding;
use eks_sim::units::SimTime;
use std::fmt::Write as _;

/// A cluster whose control plane lives elsewhere, so that the subnet `a` is the nodes' alone.
fn cluster(prefix: u8, cni: &str, groups: &str) -> String {
    format!(
        "  duration: 40m\n  cluster:\n    addons: [vpc-cni, kube-proxy]\n    network:\n      \
         controlPlaneSubnets: [cp]\n      cni: {{{cni}}}\n      subnets:\n      \
         - {{name: a, zone: us-east-1a, prefix: {prefix}}}\n      \
         - {{name: cp, zone: us-east-1b, prefix: 28}}\n    nodeGroups:\n{groups}"
    )
}

fn group(name: &str, kind: &str, nodes: u32) -> String {
    format!(
        "    - {{name: {name}, instanceTypes: [{kind}], subnets: [a], minSize: 0, \
         maxSize: {nodes}, desiredSize: {nodes}}}\n"
    )
}

/// Pods of a Deployment that spread evenly over the nodes.
fn spread(name: &str, replicas: u32) -> String {
    let more = format!(
        "      topologySpreadConstraints: [{{maxSkew: 1, topologyKey: kubernetes.io/hostname, \
         whenUnsatisfiable: DoNotSchedule, labelSelector: {{matchLabels: {{app: {name}}}}}}}]\n"
    );
    deployment(name, replicas, "{cpu: 10m}", &more)
}

fn run(spec: &str, manifests: &str) -> Sim {
    let mut sim = Sim::new(text(spec, manifests).model(), 0);
    assert!(sim.run(&mut ()).is_none(), "the run reached a bound");
    sim
}

/// Usable, free, assigned and warm addresses of the subnet `a`.
fn subnet_a(sim: &Sim) -> (u32, u32, u32, u32) {
    let row = sim.world().cloud.subnets.iter().next().unwrap().1;
    let held = row.space.count(Holding::Secondary) + row.space.count(Holding::Prefix);
    (row.space.usable(), row.space.free(), row.assigned, held - row.assigned)
}

/// Interfaces and addresses for pods of each node.
fn per_node(sim: &Sim) -> Vec<(usize, i64)> {
    let view = sim.view();
    let nodes = view.world.api.nodes.ids();
    let pools = nodes.filter_map(|n| view.vpc_cni.pool(n));
    pools.map(|p| (p.enis().len(), p.stats(false).total + p.stats(true).total)).collect()
}

/// E1 of the validation plan, at the nodes of a cluster.
#[test]
fn e1_max_pods_of_nodes() {
    for (kind, pods) in [("c5.large", 29), ("m5.large", 29), ("m5.xlarge", 58), ("t3.medium", 17)] {
        let formula = Catalog::embedded().get(kind).unwrap().eni_max_pods(0);
        assert_eq!(formula, Some(pods), "{kind}");
        let model = text(&cluster(24, "", &group("g", kind, 1)), "").model();
        let types = &model.groups.iter().next().unwrap().1.types;
        assert_eq!(types[0].max_pods, pods, "{kind}");
    }
}

/// Max pods of a managed node group by the CNI's mode, its caps included.
#[test]
fn max_pods_follow_the_mode() {
    let prefix = "ENABLE_PREFIX_DELEGATION: true";
    let custom = "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG: true";
    let both = "ENABLE_PREFIX_DELEGATION: true, AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG: true";
    let cases = [
        ("m5.large", "", 29),
        ("m5.large", custom, 20),
        ("m5.large", prefix, 110),
        ("m5.large", both, 110),
        ("t2.small", prefix, 11),
        ("m5.4xlarge", "", 110),
        ("m5.24xlarge", "", 250),
        ("p4d.24xlarge", "", 250),
        ("c7g.medium", "", 8),
    ];
    for (kind, cni, pods) in cases {
        let model = text(&cluster(24, cni, &group("g", kind, 1)), "").model();
        let types = &model.groups.iter().next().unwrap().1.types;
        assert_eq!(types[0].max_pods, pods, "{kind} {cni}");
    }
}

/// A managed node group takes no more than its cap from the user either.
#[test]
fn max_pods_of_the_user_are_capped() {
    let groups = "    - {name: g, instanceTypes: [m5.large], subnets: [a], maxPods: 400}\n";
    let model = text(&cluster(24, "ENABLE_PREFIX_DELEGATION: true", groups), "").model();
    assert_eq!(model.groups.iter().next().unwrap().1.types[0].max_pods, 110);
}

/// E2: three c5.large, two CoreDNS pods on two of them: 50 addresses taken; 43 of them warm when
/// the pods' own two and the nodes' five interface addresses are counted as in use.
#[test]
fn e2_three_nodes_with_two_core_dns_pods() {
    let spec = cluster(24, "", &group("g", "c5.large", 3));
    let apart = "      affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: \
                 [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: dns}}}]}}\n";
    let sim = run(&spec, &deployment("dns", 2, "{cpu: 100m}", apart));
    let (usable, free, assigned, warm) = subnet_a(&sim);
    assert_eq!((usable - free, assigned, warm), (50, 2, 43));
    let mut held: Vec<i64> = per_node(&sim).into_iter().map(|(e, t)| e as i64 + t).collect();
    held.sort_unstable();
    assert_eq!(held, [10, 20, 20]);
}

/// E3: t3.small by the CNI's documentation, in the world: interfaces, addresses for pods, unused.
#[test]
fn e3_targets_on_a_t3_small() {
    let settings = [
        ("WARM_ENI_TARGET: 1", [(1, 3, 3), (3, 9, 4), (3, 9, 0)]),
        ("WARM_IP_TARGET: 1, MINIMUM_IP_TARGET: 1", [(1, 1, 1), (2, 6, 1), (3, 9, 0)]),
        ("WARM_IP_TARGET: 2, MINIMUM_IP_TARGET: 5", [(2, 5, 5), (3, 7, 2), (3, 9, 0)]),
    ];
    for (cni, rows) in settings {
        for (pods, (enis, total, unused)) in [0, 5, 9].into_iter().zip(rows) {
            let spec = cluster(24, cni, &group("g", "t3.small", 1));
            let sim = run(&spec, &deployment("web", pods, "{cpu: 10m}", ""));
            let node = per_node(&sim);
            let (_, _, assigned, warm) = subnet_a(&sim);
            assert_eq!((node[0], warm, assigned), ((enis, total), unused, pods), "{cni}, {pods}");
        }
    }
}

/// E4 and the figures of a /24: 25 idle m5.large, 12 with one pod each, 8 with all interfaces.
#[test]
fn e4_a_slash_24_of_m5_large() {
    for (nodes, pods_each, taken) in [(25, 0, 250), (12, 1, 240), (8, 10, 240), (8, 27, 240)] {
        let spec = cluster(24, "", &group("g", "m5.large", nodes));
        let sim = run(&spec, &spread("web", nodes * pods_each));
        let (usable, free, assigned, _) = subnet_a(&sim);
        assert_eq!(usable, 251);
        assert_eq!((251 - free, assigned), (taken, nodes * pods_each), "{nodes} × {pods_each}");
        let each = per_node(&sim);
        assert!(each.iter().all(|n| *n == each[0]), "{nodes} × {pods_each}: {each:?}");
    }
}

/// Nine nodes want 30 addresses each of a /24. Seven get them, two have 20: 225 pods get an
/// address, the others are refused again and again.
#[test]
fn nine_loaded_nodes_starve_in_a_slash_24() {
    let spec = cluster(24, "", &group("g", "m5.large", 9));
    let sim = run(&spec, &spread("web", 9 * 27));
    let (_, free, assigned, _) = subnet_a(&sim);
    assert_eq!((free, assigned), (1, 225));
    assert!(sim.world().cloud.subnets.iter().next().unwrap().1.refusals > 0);
    let waiting = sim.world().machines.pods.iter().flatten().filter(|m| m.refusals > 100);
    assert_eq!(waiting.filter(|m| m.address.is_none()).count(), 18);
}

const ZONE_LABEL: &str = "ENI_CONFIG_LABEL_DEF: topology.kubernetes.io/zone";

fn eni_config(zone: &str, subnet: &str) -> String {
    format!(
        "---\napiVersion: crd.k8s.amazonaws.com/v1alpha1\nkind: ENIConfig\n\
         metadata: {{name: {zone}}}\nspec: {{subnet: {subnet}, securityGroups: [sg-1]}}\n"
    )
}

/// A node subnet and one for pods in a secondary block.
fn with_pod_subnet(cni: &str, pod_tags: &str, nodes: u32) -> String {
    format!(
        "  duration: 20m\n  cluster:\n    addons: [vpc-cni, kube-proxy]\n    network:\n      \
         secondaryCidrs: [100.64.0.0/16]\n      controlPlaneSubnets: [cp]\n      \
         cni: {{{cni}}}\n      subnets:\n      - {{name: a, zone: us-east-1a, prefix: 26}}\n      \
         - {{name: cp, zone: us-east-1b, prefix: 28}}\n      \
         - {{name: pods, id: subnet-0pods, zone: us-east-1a, cidr: 100.64.0.0/19, role: pods{pod_tags}}}\n    \
         nodeGroups:\n{}",
        group("g", "m5.large", nodes)
    )
}

/// Custom networking: the node subnet holds one address a node, pods live in the ENIConfig's.
#[test]
fn custom_networking_moves_pods_to_their_own_subnet() {
    let cni = format!("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG: true, {ZONE_LABEL}");
    let spec = with_pod_subnet(&cni, "", 3);
    let manifests = format!("{}{}", eni_config("us-east-1a", "subnet-0pods"), spread("web", 30));
    let sim = run(&spec, &manifests);
    let cloud = &sim.world().cloud;
    let rows: Vec<_> = cloud.subnets.iter().map(|(_, s)| s).collect();
    assert_eq!(rows[0].space.usable() - rows[0].space.free(), 3, "one address a node");
    assert_eq!((rows[0].assigned, rows[2].assigned), (0, 30));
    // Ten pods need two further interfaces of nine; the first serves none.
    assert!(per_node(&sim).iter().all(|n| *n == (3, 18)), "{:?}", per_node(&sim));
}

/// Without an ENIConfig for the zone a new node gets no interface for pods and stays NotReady.
#[test]
fn a_node_without_eni_config_never_becomes_ready() {
    let cni = format!("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG: true, {ZONE_LABEL}");
    let groups = "    - {name: g, instanceTypes: [m5.large], subnets: [a], minSize: 0, maxSize: 3, \
                  desiredSize: 1}\n    autoscaler: {clusterAutoscaler: {}}\n";
    let spec = cluster(24, &cni, groups);
    let manifests =
        format!("{}{}", eni_config("us-east-1c", "a"), deployment("web", 3, "{cpu: 1500m}", ""));
    let sim = run(&spec, &manifests);
    let view = sim.view();
    let late = view.world.api.nodes.iter().filter(|(_, n)| n.registered > SimTime::ZERO);
    let late: Vec<_> = late.collect();
    assert!(!late.is_empty(), "the autoscaler added no node");
    assert!(late.iter().all(|(_, n)| n.first_ready == SimTime::NEVER));
    // With the right name they do become Ready.
    let manifests =
        format!("{}{}", eni_config("us-east-1a", "a"), deployment("web", 3, "{cpu: 1500m}", ""));
    let sim = run(&spec, &manifests);
    let ready = sim.view().world.api.nodes.iter().filter(|(_, n)| n.first_ready < SimTime::NEVER);
    assert_eq!(ready.count(), 3);
}

/// Subnet discovery: further interfaces go to the tagged subnet of the zone with most room, while
/// the first is filled from its own.
#[test]
fn discovery_puts_new_interfaces_into_the_tagged_subnet() {
    let tags = ", tags: {kubernetes.io/role/cni: \"1\"}";
    for (cni, pods_there) in [("", true), ("ENABLE_SUBNET_DISCOVERY: false", false)] {
        let sim = run(&with_pod_subnet(cni, tags, 2), &spread("web", 40));
        let cloud = &sim.world().cloud;
        let there = cloud.subnets.iter().nth(2).unwrap().1;
        assert_eq!(there.assigned > 0, pods_there, "{cni}");
        let here = cloud.subnets.iter().next().unwrap().1;
        // The first interfaces' nine addresses each; or all that fit: 2 × 30 addresses do not go
        // into 59, so one node has to do with two interfaces.
        let expected = if pods_there { 18 } else { 20 + 18 };
        assert_eq!(here.assigned, expected, "{cni}");
    }
}

/// A node in a subnet tagged 0 gives the addresses of its first interface back.
#[test]
fn a_subnet_tagged_zero_serves_no_pods() {
    let spec = with_pod_subnet("", ", tags: {kubernetes.io/role/cni: \"1\"}", 2).replace(
        "name: a, zone: us-east-1a,",
        "name: a, tags: {kubernetes.io/role/cni: \"0\"}, zone: us-east-1a,",
    );
    let sim = run(&spec, &spread("web", 20));
    let rows: Vec<_> = sim.world().cloud.subnets.iter().map(|(_, s)| s).collect();
    assert_eq!((rows[0].assigned, rows[2].assigned), (0, 20));
    assert_eq!(rows[0].space.usable() - rows[0].space.free(), 2);
}

/// IPv6: pods take no IPv4 address, nodes one each.
#[test]
fn ipv6_pods_take_no_ipv4_address() {
    let spec = cluster(26, "", &group("g", "m5.large", 4))
        .replace("      controlPlaneSubnets", "      ipFamily: ipv6\n      controlPlaneSubnets");
    let sim = run(&spec, &spread("web", 160));
    let (usable, free, assigned, warm) = subnet_a(&sim);
    assert_eq!((usable - free, assigned, warm), (4, 0, 0));
    let addressed = sim.world().machines.pods.iter().flatten().filter(|m| m.address.is_some());
    assert_eq!(addressed.count(), 160);
}

const POLICY: &str = "---\napiVersion: vpcresources.k8s.aws/v1beta1\nkind: SecurityGroupPolicy\n\
                      metadata: {name: web}\nspec:\n  podSelector: {matchLabels: {app: web}}\n  \
                      securityGroups: {groupIds: [sg-1]}\n";

/// Security groups for pods: m5.large has nine branch interfaces; the tenth pod waits, and says
/// for what. The trunk takes one of the three interfaces.
#[test]
fn branch_interfaces_are_limited_by_the_type() {
    let spec = cluster(24, "ENABLE_POD_ENI: true", &group("g", "m5.large", 1));
    let manifests = format!("{POLICY}{}", deployment("web", 12, "{cpu: 10m}", ""));
    let mut sim = Sim::new(text(&spec, &manifests).model(), 0);
    sim.run(&mut ());
    let space = &sim.world().cloud.subnets.iter().next().unwrap().1.space;
    assert_eq!(space.count(Holding::Branch), 9);
    let view = sim.view();
    let pods = &view.world.api.pods;
    let waiting: Vec<_> = pods.iter().filter(|(_, p)| p.node.is_none()).collect();
    assert_eq!(waiting.len(), 3);
    for (id, _) in waiting {
        let reasons = view.scheduler.reasons(id);
        let texts = reasons.iter().map(|(text, _)| text.as_str());
        let all: Vec<&str> = texts.collect();
        assert!(all.contains(&"Insufficient vpc.amazonaws.com/pod-eni"), "{all:?}");
    }
    let pool = view.vpc_cni.pool(view.world.api.nodes.ids().next().unwrap()).unwrap();
    assert_eq!(pool.enis().iter().filter(|e| e.facts().trunk).count(), 1);
}

/// A deleted pod's branch interface is kept 60 s; until then its address is taken.
#[test]
fn branch_interfaces_cool_down() {
    let spec = format!(
        "{}  changes:\n  - {{at: 10m, target: Deployment/web, set: {{replicas: 0}}}}\n",
        cluster(24, "ENABLE_POD_ENI: true", &group("g", "m5.large", 1))
    );
    let manifests = format!("{POLICY}{}", deployment("web", 5, "{cpu: 10m}", ""));
    let mut sim = Sim::new(text(&spec, &manifests).model(), 0);
    let mut seen = String::new();
    for at in [300, 630, 700, 900] {
        sim.run_until(SimTime::from_secs(at), &mut ());
        let space = &sim.world().cloud.subnets.iter().next().unwrap().1.space;
        let _ = write!(seen, "{} ", space.count(Holding::Branch));
    }
    assert_eq!(seen, "5 5 0 0 ");
}

/// Without room for a node, EC2 refuses the launch; the other subnet serves it.
#[test]
fn launches_go_on_in_another_subnet() {
    let groups = "    - {name: g, instanceTypes: [m5.large], subnets: [a, b], minSize: 0, \
                  maxSize: 20, desiredSize: 8}\n";
    let spec = cluster(28, "WARM_ENI_TARGET: 0, WARM_IP_TARGET: 1", groups).replace(
        "      - {name: cp",
        "      - {name: b, zone: us-east-1a, prefix: 24}\n      - {name: cp",
    );
    let sim = run(&spec, "");
    let cloud = &sim.world().cloud;
    let nodes = |i| {
        let row = cloud.subnets.iter().nth(i).unwrap().1;
        row.space.count(Holding::NodePrimary)
    };
    assert_eq!(nodes(0) + nodes(1), 8);
    assert!(nodes(0) > 0 && nodes(1) > 0, "both subnets of the zone are used");
}

/// A load balancer needs eight free addresses; it comes when there is room.
#[test]
fn a_load_balancer_waits_for_free_addresses() {
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {type: \
                   LoadBalancer, selector: {app: web}, ports: [{port: 80}]}\n";
    let spec = |used: u32| {
        cluster(26, "WARM_ENI_TARGET: 0, WARM_IP_TARGET: 1", &group("g", "m5.large", 1))
            .replace("prefix: 26}", &format!("prefix: 26, usedAddresses: {used}}}"))
            .replace("name: cp, zone", "name: cp, role: pods, zone")
    };
    for (used, held) in [(40, 1), (50, 0)] {
        let sim = run(&spec(used), service);
        let row = sim.world().cloud.subnets.iter().next().unwrap().1;
        assert_eq!(row.space.count(Holding::LoadBalancer), held, "{used} used");
        let balancer = &sim.world().cloud.load_balancers[0];
        assert_eq!(balancer.refused > 0, held == 0, "{used} used");
    }
}

/// An old, scattered subnet has free addresses and no block for a prefix.
#[test]
fn scattered_addresses_leave_no_blocks() {
    let groups = group("g", "m5.large", 1);
    let spec = |used: &str| {
        cluster(24, "ENABLE_PREFIX_DELEGATION: true", &groups).replace(
            "prefix: 24}",
            &format!("prefix: 24, usedAddresses: 120, usedPlacement: {used}}}"),
        )
    };
    let tidy = run(&spec("sequential"), &deployment("web", 4, "{cpu: 10m}", ""));
    assert_eq!(subnet_a(&tidy).2, 4);
    let old = run(&spec("scattered"), &deployment("web", 4, "{cpu: 10m}", ""));
    let (_, free, assigned, _) = subnet_a(&old);
    assert!(free > 100, "{free} free");
    assert_eq!(assigned, 0, "no /28 is whole");
}

/// A burst of nodes empties the account's buckets; calls are repeated and all nodes get there.
#[test]
fn a_burst_of_nodes_is_throttled_and_recovers() {
    let groups = "    - {name: g, instanceTypes: [m5.large], subnets: [a], minSize: 0, \
                  maxSize: 100, desiredSize: 1}\n    autoscaler: {clusterAutoscaler: {}}\n";
    let constants = "  constants: {throttle.create_eni_bucket: 1, throttle.create_eni_refill: 1}\n";
    let spec = format!("{}{constants}", cluster(21, "", groups));
    let mut sim = Sim::new(text(&spec, &deployment("web", 60, "{cpu: 1500m}", "")).model(), 0);
    assert!(sim.run(&mut ()).is_none());
    let api = &sim.world().cloud.ec2_api;
    assert!(api.throttled() > 0, "{} calls", api.calls());
    let addressed = sim.world().machines.pods.iter().flatten().filter(|m| m.address.is_some());
    assert_eq!(addressed.count(), 60);
    assert!(per_node(&sim).iter().all(|n| *n == (2, 18)));
}

/// With the CNI off no pod needs an address and subnets hold nodes alone.
#[test]
fn the_cni_can_be_left_out() {
    let spec = cluster(26, "enabled: false", &group("g", "m5.large", 3));
    let sim = run(&spec, &spread("web", 60));
    let (usable, free, assigned, _) = subnet_a(&sim);
    assert_eq!((usable - free, assigned), (3, 0));
    let running = sim.world().machines.pods.iter().flatten();
    assert!(
        running
            .filter(|m| m.serving_since < SimTime::NEVER
                || m.stage > eks_sim::world::machines::Stage::Address)
            .count()
            >= 60
    );
}

/// The model's switch for placement and the subnets' own order agree with what is asked.
#[test]
fn sequential_placement_takes_the_lowest() {
    let spec = cluster(24, "", &group("g", "m5.large", 1)).replace(
        "      controlPlaneSubnets",
        "      addressPlacement: sequential\n      controlPlaneSubnets",
    );
    let sim = run(&spec, "");
    let space = &sim.world().cloud.subnets.iter().next().unwrap().1.space;
    let first: Vec<String> = space.addresses(Holding::NodePrimary).map(|a| a.to_string()).collect();
    assert_eq!(first, ["10.0.0.4"]);
}

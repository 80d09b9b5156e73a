//! Addresses: each is in exactly one state at all times, whatever happens to nodes and pods.

use crate::rig::{deployment, text};
use eks_sim::engine::Observer;
use eks_sim::engine::{Sim, View};
use eks_sim::policy::vpc_cni::Holding;
use eks_sim::units::{Id, SimTime};
use eks_sim::world::Change;
use eks_sim::world::model::{GroupKind, SubnetModel};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

type Place = (Id<SubnetModel>, Ipv4Addr);

/// Every address that somebody says to hold, against what the subnets say; what is wrong.
pub fn conservation(view: &View<'_>) -> Vec<String> {
    let (world, model) = (view.world, view.model);
    let mut wrong = Vec::new();
    let mut claimed: BTreeMap<(u32, Ipv4Addr), Holding> = BTreeMap::new();
    let mut claim = |(subnet, address): Place, holding: Holding| {
        if claimed.insert((subnet.raw(), address), holding).is_some() {
            wrong.push(format!("{address} has two holders"));
        }
    };
    let running = world.cloud.instances.iter().map(|(_, i)| i);
    for i in running.filter(|i| i.gone == SimTime::NEVER && i.address != 0) {
        let holding = match model.groups[i.group].kind {
            GroupKind::Fargate => Holding::Fargate,
            _ => Holding::NodePrimary,
        };
        claim((i.subnet, i.address.into()), holding);
    }
    view.vpc_cni.holdings().for_each(|(subnet, address, h)| claim((subnet, address), h));
    for balancer in &world.cloud.load_balancers {
        balancer.addresses.iter().for_each(|&place| claim(place, Holding::LoadBalancer));
    }
    for (id, subnet) in world.cloud.subnets.iter() {
        let (space, described) = (&subnet.space, &model.subnets[id]);
        let mine =
            claimed.range((id.raw(), Ipv4Addr::UNSPECIFIED)..=(id.raw(), Ipv4Addr::BROADCAST));
        let mut count = 0;
        for (&(_, address), &holding) in mine {
            count += 1;
            if space.holding(address) != Some(holding) {
                wrong.push(format!(
                    "{address} of {}: {holding:?} by its holder, {:?} by the subnet",
                    described.name,
                    space.holding(address)
                ));
            }
        }
        let fixed = [
            (Holding::Other, described.used_addresses),
            (Holding::NatGateway, described.nat_gateways),
            (Holding::Endpoint, described.vpc_endpoints),
            (Holding::ControlPlane, described.control_plane_enis),
        ];
        for (holding, expected) in fixed {
            if space.count(holding) != expected {
                wrong.push(format!(
                    "{}: {} addresses of {holding:?}, not {expected}",
                    described.name,
                    space.count(holding)
                ));
            }
            count += expected;
        }
        if count + space.free() != space.usable() {
            wrong.push(format!(
                "subnet {}: {count} held + {} free is not {}",
                described.name,
                space.free(),
                space.usable()
            ));
        }
    }
    wrong
}

/// The subnet of which the pools of nodes hold this address.
pub fn of_pool(address: u32, view: &View<'_>) -> Option<Id<SubnetModel>> {
    let held = |space: &eks_sim::policy::vpc_cni::AddressSpace| {
        matches!(space.holding(address.into()), Some(Holding::Secondary | Holding::Prefix))
    };
    view.world.cloud.subnets.iter().find(|(_, s)| held(&s.space)).map(|(id, _)| id)
}

/// Looks at all addresses at every 50th change and whenever a node or its instance ends.
struct Auditor {
    changes: u32,
    wrong: Vec<String>,
}

impl Observer for Auditor {
    fn observe(&mut self, now: SimTime, change: &Change, view: &View<'_>) {
        self.changes += 1;
        let ends = matches!(
            change,
            Change::InstanceTerminated(_) | Change::InstanceGone(_) | Change::InstanceCrashed(_)
        );
        // At the very start, subnets and instances are written before the pools.
        if self.wrong.is_empty() && now > SimTime::ZERO && (ends || self.changes.is_multiple_of(50))
        {
            let wrong = conservation(view);
            self.wrong.extend(wrong.into_iter().map(|w| format!("{now} after {change:?}: {w}")));
        }
    }
}

/// Settings of the network under which addresses are conserved.
const MODES: [(&str, &str); 9] = [
    ("secondary", ""),
    ("targets", "WARM_IP_TARGET: 1, MINIMUM_IP_TARGET: 3"),
    ("prefix", "ENABLE_PREFIX_DELEGATION: true"),
    ("prefix targets", "ENABLE_PREFIX_DELEGATION: true, WARM_IP_TARGET: 3"),
    (
        "custom",
        "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG: true, ENI_CONFIG_LABEL_DEF: topology.kubernetes.io/zone",
    ),
    (
        "custom prefix",
        "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG: true, \
         ENI_CONFIG_LABEL_DEF: topology.kubernetes.io/zone, ENABLE_PREFIX_DELEGATION: true",
    ),
    ("branches", "ENABLE_POD_ENI: true"),
    ("no discovery", "ENABLE_SUBNET_DISCOVERY: false, IP_COOLDOWN_PERIOD: 0"),
    ("ipv6", ""),
];

/// Manifests that the modes need: ENIConfigs for both zones, branch interfaces for half the pods,
/// load balancers.
fn objects(replicas: u32) -> String {
    let config = |zone: &str| {
        format!(
            "---\napiVersion: crd.k8s.amazonaws.com/v1alpha1\nkind: ENIConfig\n\
             metadata: {{name: us-east-1{zone}}}\nspec: {{subnet: pods-{zone}}}\n"
        )
    };
    let policy = "---\napiVersion: vpcresources.k8s.aws/v1beta1\nkind: SecurityGroupPolicy\n\
                  metadata: {name: api}\nspec:\n  podSelector: {matchLabels: {app: api}}\n  \
                  securityGroups: {groupIds: [sg-1]}\n";
    let services = "---\napiVersion: v1\nkind: Service\nmetadata: {name: api}\nspec: {type: \
                    LoadBalancer, selector: {app: api}, ports: [{port: 80}]}\n---\n\
                    apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web}\n\
                    spec: {ingressClassName: alb, defaultBackend: {service: {name: api, port: \
                    {number: 80}}}}\n";
    let web = deployment("web", replicas, "{cpu: 50m}", "      terminationGracePeriodSeconds: 2\n");
    let api = deployment("api", replicas, "{cpu: 50m}", "      terminationGracePeriodSeconds: 2\n");
    format!("{}{}{policy}{services}{web}{api}", config("a"), config("b"))
}

#[derive(Clone, Debug)]
struct Churn {
    mode: usize,
    prefix_a: u8,
    used: u32,
    scattered: bool,
    sequential: bool,
    kind: &'static str,
    nodes: u32,
    replicas: Vec<u32>,
    faults: Vec<(u32, u8)>,
    seed: u32,
}

impl Churn {
    fn spec(&self) -> String {
        let (mode, cni) = MODES[self.mode];
        let family = if mode == "ipv6" { "ipv6" } else { "ipv4" };
        let placement = if self.sequential { "sequential" } else { "random" };
        let used = if self.scattered { "scattered" } else { "sequential" };
        let nodes = self.nodes;
        let mut out = format!(
            "  seed: {}\n  duration: 40m\n  cluster:\n    network:\n      \
             secondaryCidrs: [100.64.0.0/16]\n      ipFamily: {family}\n      \
             addressPlacement: {placement}\n      cni: {{{cni}}}\n      subnets:\n      \
             - {{name: a, zone: us-east-1a, prefix: {}, usedAddresses: {}, \
             usedPlacement: {used}, natGateways: 1}}\n      \
             - {{name: b, zone: us-east-1b, prefix: 26, vpcEndpoints: 2}}\n      \
             - {{name: pods-a, zone: us-east-1a, cidr: 100.64.0.0/25, role: pods, \
             tags: {{kubernetes.io/role/cni: \"1\"}}}}\n      \
             - {{name: pods-b, zone: us-east-1b, cidr: 100.64.1.0/26, role: pods, \
             prefixReservations: [100.64.1.32/27]}}\n    nodeGroups:\n    \
             - {{name: g, instanceTypes: [{}], minSize: 0, maxSize: {}, desiredSize: {nodes}}}\n    \
             autoscaler: {{clusterAutoscaler: {{scaleDownUnneededTime: 1m, \
             scaleDownDelayAfterAdd: 1m}}}}\n",
            self.seed,
            self.prefix_a,
            self.used,
            self.kind,
            nodes + 3,
        );
        out.push_str("  changes:\n");
        for (i, replicas) in (1..).zip(&self.replicas) {
            let at = i * 290;
            out.push_str(&format!(
                "  - {{at: {at}s, target: Deployment/web, set: {{replicas: {replicas}}}}}\n  \
                 - {{at: {}s, target: Deployment/api, set: {{replicas: {}}}}}\n",
                at + 40,
                replicas / 2
            ));
        }
        out.push_str("  faults:\n  - {at: 39m, nodeCrash: {count: 1}}\n");
        for (at, what) in &self.faults {
            out.push_str(&match what % 3 {
                0 => format!("  - {{at: {at}s, nodeCrash: {{count: 1}}}}\n"),
                1 => format!("  - {{at: {at}s, nodeCrash: {{count: 3}}}}\n"),
                _ => format!("  - {{at: {at}s, zoneOutage: {{zone: us-east-1a, duration: 4m}}}}\n"),
            });
        }
        out
    }
}

/// Runs the churn and returns what was wrong at any time.
fn audit(churn: &Churn) -> Vec<String> {
    let model = text(&churn.spec(), &objects(6)).model();
    let mut sim = Sim::new(Arc::clone(&model), 0);
    let mut auditor = Auditor { changes: 0, wrong: Vec::new() };
    let diagnosis = sim.run(&mut auditor);
    let mut wrong = auditor.wrong;
    wrong.extend(diagnosis.map(|d| format!("{d:?}")));
    wrong.extend(conservation(&sim.view()));
    wrong
}

mod property {
    use super::{Churn, MODES, audit};
    use proptest::prelude::*;

    prop_compose! {
        fn churn()(
            mode in 0..MODES.len(),
            prefix_a in prop::sample::select(vec![24u8, 25, 26, 27]),
            used in 0u32..8,
            scattered: bool,
            sequential: bool,
            kind in prop::sample::select(vec!["m5.large", "t3.small", "c5.large", "m6i.xlarge"]),
            nodes in 0u32..4,
            replicas in prop::collection::vec(0u32..40, 1..7),
            faults in prop::collection::vec((1u32..2_300, 0u8..3), 0..4),
            seed in 1u32..1_000_000,
        ) -> Churn {
            Churn {
                mode, prefix_a, used, scattered, sequential, kind, nodes, replicas, faults, seed,
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

        /// Every address is in exactly one state at all times, in every mode, whatever dies when.
        #[test]
        fn addresses_are_conserved(churn in churn()) {
            let wrong = audit(&churn);
            prop_assert!(wrong.is_empty(), "{}:\n{}", churn.spec(), wrong.join("\n"));
        }
    }
}

/// All modes at least once, whatever the property test draws.
#[test]
fn every_mode_conserves_addresses() {
    for (mode, (name, _)) in MODES.iter().enumerate() {
        let churn = Churn {
            mode,
            prefix_a: 26,
            used: 3,
            scattered: true,
            sequential: false,
            kind: "m5.large",
            nodes: 3,
            replicas: vec![20, 2, 30, 0, 12],
            faults: vec![(300, 0), (600, 1), (603, 0), (1_200, 2)],
            seed: 7,
        };
        let wrong = audit(&churn);
        assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
    }
}

/// A node that dies between the making and the attaching of an interface leaves it behind; the
/// hourly sweep of another node gives its addresses back.
#[test]
fn what_dies_mid_attach_is_left_over_and_swept() {
    let churn = Churn {
        mode: 0,
        prefix_a: 24,
        used: 0,
        scattered: false,
        sequential: false,
        kind: "m5.large",
        nodes: 2,
        replicas: vec![30],
        faults: Vec::new(),
        seed: 1,
    };
    // Attaching takes a minute; the pods of 290 s make both nodes want another interface.
    let spec = churn
        .spec()
        .replace("duration: 40m", "duration: 3h")
        .replace("  faults:\n", "  faults:\n  - {at: 300s, nodeCrash: {count: 1}}\n")
        + "  constants: {network.eni_attach: 60s}\n";
    let model = text(&spec, &objects(0)).model();
    let mut sim = Sim::new(model, 0);
    sim.run_until(SimTime::from_secs(600), &mut ());
    assert_eq!(sim.view().vpc_cni.leaked(), 1, "an interface is left over");
    assert_eq!(conservation(&sim.view()), Vec::<String>::new());
    sim.run_until(SimTime::from_secs(3_600 + 300 + 300 + 300), &mut ());
    assert_eq!(sim.view().vpc_cni.leaked(), 0, "the sweep came within an hour");
    assert_eq!(conservation(&sim.view()), Vec::<String>::new());
}

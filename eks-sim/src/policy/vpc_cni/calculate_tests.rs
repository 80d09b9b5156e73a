use super::super::address_space::tests::draws;
use super::super::address_space::{AddressSpace, Placement};
use super::super::config::{CniConfig, EniLimits};
use super::super::launch::{Ground, Launcher, Limit, grow_together};
use super::*;

const M5_LARGE: EniLimits = EniLimits { enis: 3, ipv4_per_eni: 10 };
const T3_SMALL: EniLimits = EniLimits { enis: 3, ipv4_per_eni: 4 };

fn config(warm_eni: u32, warm_ip: u32, minimum: u32, prefix: bool) -> CniConfig {
    CniConfig {
        warm_eni_target: warm_eni,
        warm_ip_target: warm_ip,
        minimum_ip_target: minimum,
        prefix_delegation: prefix,
        ..CniConfig::default()
    }
}

fn rest(config: &CniConfig, limits: EniLimits, max_pods: i64, pods: u64) -> SteadyState {
    steady_state(&Node::new(config, limits, max_pods), pods)
}

#[test]
fn addresses_of_an_m5_large_at_rest() {
    let configs = [
        (config(1, 0, 0, false), 29),
        (config(0, 0, 0, false), 29),
        (config(1, 1, 0, false), 29),
        (config(1, 2, 10, false), 29),
        (config(1, 5, 0, false), 29),
        (config(1, 0, 0, true), 110),
        (config(1, 5, 10, true), 110),
    ];
    let table = [
        (0, [10, 10, 2, 12, 6, 17, 17]),
        (1, [20, 10, 3, 12, 7, 33, 17]),
        (5, [20, 10, 7, 12, 12, 33, 17]),
        (9, [20, 20, 12, 13, 16, 33, 17]),
        (10, [30, 20, 13, 14, 17, 33, 17]),
        (15, [30, 20, 18, 19, 23, 33, 33]),
        (20, [30, 30, 24, 25, 28, 49, 33]),
        (27, [30, 30, 30, 30, 30, 49, 33]),
    ];
    for (pods, expected) in table {
        for ((config, max_pods), expected) in configs.iter().zip(expected) {
            let got = rest(config, M5_LARGE, *max_pods, pods).subnet_ips;
            assert_eq!(got, expected, "{pods} pods, {config:?}");
        }
    }
}

#[test]
fn documented_t3_small_rows() {
    // E3 of the validation plan: ENIs, secondary addresses, unused.
    let rows = [
        (config(1, 0, 0, false), [(1, 3, 3), (3, 9, 4), (3, 9, 0)]),
        (config(1, 1, 1, false), [(1, 1, 1), (2, 6, 1), (3, 9, 0)]),
        (config(1, 2, 5, false), [(2, 5, 5), (3, 7, 2), (3, 9, 0)]),
    ];
    for (config, expected) in rows {
        for (pods, expected) in [0, 5, 9].into_iter().zip(expected) {
            let got = rest(&config, T3_SMALL, 11, pods);
            assert_eq!((got.enis, got.cidrs, got.free_pod_ips), expected, "{pods} {config:?}");
        }
    }
}

#[test]
fn three_c5_large_with_two_coredns_pods() {
    // E2: 20 + 20 + 10 addresses taken, 43 of them warm.
    let defaults = config(1, 0, 0, false);
    let nodes = [1, 1, 0].map(|pods| rest(&defaults, M5_LARGE, 29, pods));
    assert_eq!(nodes.each_ref().map(|node| node.subnet_ips), [20, 20, 10]);
    // The guide counts as warm what no pod has and is not the node's first address.
    let warm = |node: &SteadyState| node.free_pod_ips;
    assert_eq!(nodes.iter().map(warm).sum::<u64>(), 17 + 17 + 9);
}

#[test]
fn a_slash_24_of_m5_large() {
    // E4, and the worked example of a /24.
    let defaults = config(1, 0, 0, false);
    let node = Node::new(&defaults, M5_LARGE, 29);
    for (pods, nodes) in [(0, 25), (1, 12), (10, 8), (27, 8)] {
        assert_eq!(subnet_fill(&node, 24, pods, 0).unwrap().full_nodes, nodes, "{pods} pods");
    }
    let warm_ip = config(1, 1, 0, false);
    let fill = subnet_fill(&Node::new(&warm_ip, M5_LARGE, 29), 24, 10, 0).unwrap();
    assert_eq!((fill.full_nodes, fill.pods_on_full_nodes, fill.addresses_left), (19, 190, 4));
    assert_eq!(subnet_fill(&node, 8, 1, 0), None);
    assert_eq!(subnet_fill(&node, 24, 1, 1_000).unwrap().full_nodes, 0);
}

/// Pods of each node launched, nodes that are full, and what kept the first from being full.
struct Launches {
    pods: Vec<u64>,
    full_nodes: usize,
    limit: Limit,
}

fn launch_all(
    node: &Node<'_>,
    spaces: &mut [AddressSpace],
    placement: &mut Placement<'_>,
    pods: u64,
) -> Launches {
    let mut ground = Ground { spaces, placement };
    let last = Box::new(|spaces: &[AddressSpace], _: usize| vec![spaces.len() - 1]);
    let launcher = Launcher::new(*node, pods, last);
    let mut launches = Launches { pods: Vec::new(), full_nodes: 0, limit: Limit::Addresses };
    let mut limits = Vec::new();
    while let Some(started) = launcher.start(0, &mut ground) {
        let node = launcher.grow(started, &mut ground);
        launches.pods.push(node.pods);
        launches.full_nodes += usize::from(node.pods == pods && node.refused.is_none());
        limits.extend(node.refused.map(|(_, limit)| limit));
    }
    launches.limit = limits.first().copied().unwrap_or(launches.limit);
    launches
}

fn launch(config: &CniConfig, max_pods: i64, pods: u64, placement: &mut Placement<'_>) -> Launches {
    let mut subnets = [AddressSpace::new("10.0.0.0/24".parse().unwrap()).unwrap()];
    launch_all(&Node::new(config, M5_LARGE, max_pods), &mut subnets, placement, pods)
}

#[test]
fn nodes_after_the_last_full_one_are_starved() {
    let defaults = config(1, 0, 0, false);
    let launches = launch(&defaults, 29, 27, &mut Placement::Sequential);
    assert_eq!((launches.full_nodes, launches.limit), (8, Limit::Addresses));
    assert_eq!(launches.pods, [27, 27, 27, 27, 27, 27, 27, 27, 9, 0]);
}

#[test]
fn blocks_bind_before_addresses() {
    let prefix = config(1, 0, 0, true);
    let packed = launch(&prefix, 110, 5, &mut Placement::Sequential);
    assert_eq!((packed.full_nodes, packed.limit), (7, Limit::Blocks));
    let mut below = draws(3);
    let scattered = launch(&prefix, 110, 5, &mut Placement::Random(&mut below));
    assert!((4..=7).contains(&scattered.full_nodes), "{}", scattered.full_nodes);
    assert_eq!(scattered.limit, Limit::Blocks);
}

#[test]
fn custom_networking_moves_pods_to_their_own_subnet() {
    let custom = CniConfig { custom_networking: true, ..config(1, 0, 0, false) };
    let node = Node::new(&custom, M5_LARGE, 20);
    let mut spaces = ["10.0.0.0/28", "100.64.0.0/24"]
        .map(|range| AddressSpace::new(range.parse().unwrap()).unwrap());
    let launches = launch_all(&node, &mut spaces, &mut Placement::Sequential, 18);
    assert_eq!(spaces[0].free(), 0);
    assert_eq!(launches.pods.len(), 11);
    assert_eq!((launches.full_nodes, spaces[1].free()), (11, 251 - 11 * 20));
}

#[test]
fn nodes_that_grow_side_by_side_share_the_last_addresses() {
    // Nine nodes with ten pods in a /24: one after another the ninth serves nine, side by side
    // each gets its second interface before anybody asks for a third.
    let defaults = config(1, 0, 0, false);
    let mut spaces = [AddressSpace::new("10.0.0.0/24".parse().unwrap()).unwrap()];
    let mut ground = Ground { spaces: &mut spaces, placement: &mut Placement::Sequential };
    let launcher =
        Launcher::new(Node::new(&defaults, M5_LARGE, 29), 10, Box::new(|_, own| vec![own]));
    let started = (0..9).map(|_| (&launcher, launcher.start(0, &mut ground).unwrap())).collect();
    let grown = grow_together(started, &mut ground);
    assert!(grown.iter().all(|node| node.pods == 10));
    assert_eq!(grown.iter().filter(|node| node.refused.is_some()).count(), 2);
    assert_eq!(spaces[0].free(), 1);
}

#[test]
fn ipv6_costs_an_address_a_node() {
    let ipv6 = CniConfig { ipv6: true, prefix_delegation: true, ..CniConfig::default() };
    let launches = launch(&ipv6, 110, 80, &mut Placement::Sequential);
    assert_eq!((launches.full_nodes, launches.pods[0]), (251, 80));
}

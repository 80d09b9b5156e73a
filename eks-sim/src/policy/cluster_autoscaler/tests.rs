//! The parts of a loop together, on a small cluster.

use super::balancing::ComparedNode;
use super::cluster::{Cursor, SimCluster};
use super::drain::BlockingReason;
use super::eligibility::UnremovableReason;
use super::estimator::{GroupShape, TemplateSize};
use super::expander::{ExpanderContext, ExpanderKind, PodPrices, PriceSettings};
use super::flags::Flags;
use super::pending::{self, PendingPod};
use super::registry::{GroupCounts, Registry};
use super::scale_down::{
    Candidate, CandidatePod, ClusterTotals, Cooldown, GroupState, NodeState, Planner, ToDelete,
};
use super::scale_up::{
    GroupResult, GroupView, ScaleUpContext, ScaleUpOutcome, SkipReason, Template, scale_up,
};
use super::simple::{SimpleCluster, SimpleNode, SimplePod};
use super::unneeded::GroupRoom;
use crate::units::{SimTime, Span};

const GIB: i64 = 1 << 30;

fn group(name: &str, target: i64, max: i64, cores: i64) -> GroupView {
    let (cpu, memory) = (cores * 1000, cores * 4 * GIB);
    let resources = [("cpu".to_owned(), cpu), ("memory".to_owned(), memory)];
    GroupView {
        name: name.to_owned(),
        target,
        min: 0,
        max,
        healthy: true,
        backed_off: false,
        template: Some(Template {
            size: TemplateSize {
                allocatable_cpu: cpu - 70,
                allocatable_memory: memory - GIB,
                capacity_cpu: cpu,
                capacity_memory: memory,
            },
            gpus: 0,
            price: None,
            compared: ComparedNode {
                capacity: resources.clone().into(),
                allocatable: resources.into(),
                ..ComparedNode::default()
            },
        }),
    }
}

fn template(cores: i64) -> SimpleNode {
    SimpleNode::new(cores * 1000 - 70, cores * 4 * GIB - GIB, 58, 0)
}

fn pending(pod: usize, class: &SimplePod) -> PendingPod<usize> {
    PendingPod {
        pod,
        class: pod as u32,
        controller: Some(pod as u32),
        priority: 0,
        created: SimTime::ZERO,
        delay: None,
        nominated: false,
        gpu: false,
        shape: GroupShape { cpu: class.cpu, memory: class.memory, ..GroupShape::default() },
    }
}

fn decide(
    flags: &Flags,
    groups: &[GroupView],
    pods: &[PendingPod<usize>],
    cluster: &mut SimpleCluster,
) -> ScaleUpOutcome {
    let cx = ScaleUpContext {
        flags,
        expander: ExpanderContext {
            chain: &flags.expander,
            priorities: None,
            price: PriceSettings { preferred_cpu: 4000, stabilization_pod_price: 0.02 },
        },
        current_nodes: cluster.len() as i64,
        current_cores: 0,
        current_memory: 0,
        prices: PodPrices::default(),
        now: SimTime::ZERO,
    };
    let equivalent = pending::equivalence_groups(pods);
    scale_up(&cx, groups, &equivalent, cluster, &mut Cursor::default(), &mut |_| 0)
}

#[test]
fn workshop_group_of_three_grows_by_one() {
    let class = SimplePod { cpu: 500, memory: GIB, ..SimplePod::default() };
    let full = SimpleNode::new(100, GIB, 10, 0);
    let mut cluster = SimpleCluster::new(vec![full; 3], vec![template(2)], vec![class]);
    let pods = [pending(0, &class); 3];
    let left = pending::filter_out_schedulable(&pods, &mut cluster, &mut Cursor::default());
    assert_eq!(left.len(), 3);
    assert!(pending::must_wait(&left, SimTime::from_secs(1)));
    assert!(!pending::must_wait(&left, SimTime::from_secs(2)));
    let outcome = decide(&Flags::default(), &[group("ng", 3, 6, 2)], &left, &mut cluster);
    let decision = outcome.decision.unwrap();
    assert_eq!(decision.increases, [(0, 1)]);
    assert_eq!(decision.pods_per_group, [3]);
    assert_eq!(cluster.len(), 3);
}

#[test]
fn balancing_fills_the_smaller_zone_and_full_groups_are_skipped() {
    let class = SimplePod { cpu: 1500, memory: GIB, ..SimplePod::default() };
    let mut cluster = SimpleCluster::new(Vec::new(), vec![template(2); 3], vec![class]);
    let flags = Flags { balance_similar_node_groups: true, ..Flags::default() };
    let groups = [group("a", 1, 10, 2), group("b", 3, 10, 2), group("c", 5, 5, 2)];
    let outcome = decide(&flags, &groups, &[pending(0, &class); 4], &mut cluster);
    assert_eq!(outcome.decision.unwrap().increases, [(0, 3), (1, 1)]);
    assert_eq!(outcome.groups[2], GroupResult::Skipped(SkipReason::MaxSizeReached));
}

#[test]
fn expanders_chain_and_limits_cap() {
    let class = SimplePod { cpu: 900, memory: 2 * GIB, ..SimplePod::default() };
    let mut cluster = SimpleCluster::new(Vec::new(), vec![template(2), template(8)], vec![class]);
    let groups = [group("small", 0, 100, 2), group("large", 0, 100, 8)];
    let mut flags = Flags {
        expander: vec![ExpanderKind::LeastNodes, ExpanderKind::MostPods],
        ..Flags::default()
    };
    let pods = [pending(0, &class); 16];
    let outcome = decide(&flags, &groups, &pods, &mut cluster);
    assert_eq!(outcome.decision.unwrap().increases, [(1, 2)]);
    // With room for one node both options need one, and the second expander decides.
    flags.max_nodes_total = 1;
    let outcome = decide(&flags, &groups, &pods, &mut cluster);
    assert_eq!(outcome.decision.unwrap().increases, [(1, 1)]);
}

#[test]
fn five_thousand_pods_and_thirty_groups() {
    let classes: Vec<SimplePod> = (0..100)
        .map(|i| SimplePod { cpu: 100 + i * 17, memory: GIB / 2, ..SimplePod::default() })
        .collect();
    let sizes = [2, 4, 8, 16];
    let templates = (0..30).map(|i| template(sizes[i % 4])).collect();
    let groups: Vec<GroupView> =
        (0..30).map(|i| group(&format!("g{i}"), 0, 1000, sizes[i % 4])).collect();
    let pods: Vec<PendingPod<usize>> =
        (0..5000).map(|i| pending(i % 100, &classes[i % 100])).collect();
    let mut cluster = SimpleCluster::new(Vec::new(), templates, classes);
    let outcome = decide(&Flags::default(), &groups, &pods, &mut cluster);
    let decision = outcome.decision.unwrap();
    assert_eq!(decision.pods_per_group.iter().sum::<usize>(), 5000);
}

#[test]
fn late_nodes_expire_and_back_the_group_off() {
    let flags = Flags::default();
    let mut registry = Registry::new(&flags);
    registry.register_scale_up(0, 2, SimTime::ZERO);
    let waiting = GroupCounts { target: 3, ready: 1, ..GroupCounts::default() };
    assert!(registry.update(&[waiting], SimTime::from_secs(900)).is_empty());
    assert_eq!(registry.upcoming(0, SimTime::from_secs(900)), 2);
    let expired = registry.update(&[waiting], SimTime::from_secs(901));
    assert_eq!((expired[0].missing, expired[0].backoff_until), (2, SimTime::from_secs(1201)));
    assert_eq!(registry.upcoming(0, SimTime::from_secs(902)), 0);
    let sick = GroupCounts { target: 8, ready: 4, unready: 4, ..GroupCounts::default() };
    registry.update(&[sick], SimTime::from_secs(2000));
    assert!(!registry.cluster_healthy() && !registry.group_healthy(0));
}

fn candidate(key: u32, pods: Vec<CandidatePod<usize>>) -> Candidate<u32, usize> {
    Candidate { key, position: key as usize, group: 0, ineligible: None, pods }
}

fn movable(pod: usize, pdbs: Vec<usize>) -> CandidatePod<usize> {
    CandidatePod { pod, moves: Ok(true), pdbs }
}

#[test]
fn unneeded_nodes_go_after_ten_minutes_within_budgets() {
    let class = SimplePod { cpu: 500, memory: GIB, ..SimplePod::default() };
    let mut nodes = vec![template(2); 5];
    nodes[4] = SimpleNode::new(5000, 20 * GIB, 50, 0);
    let mut cluster = SimpleCluster::new(nodes, vec![template(2)], vec![class]);
    for node in [1, 2, 3] {
        cluster.try_place(0, node).unwrap();
    }
    let blocked =
        CandidatePod { pod: 0, moves: Err(BlockingReason::NotReplicated), pdbs: Vec::new() };
    let candidates = [
        candidate(0, Vec::new()),
        candidate(1, vec![movable(0, vec![0])]),
        candidate(2, vec![movable(0, vec![0])]),
        candidate(3, vec![blocked]),
    ];
    let flags = Flags::default();
    let mut planner: Planner<u32> = Planner::default();
    let groups = [GroupState {
        room: GroupRoom { min: 1, target: 5, deletions: 0 },
        registered: 5,
        atomic: false,
        unneeded_time: flags.scale_down_unneeded_time,
        unready_time: flags.scale_down_unready_time,
        node_cores: 2,
        node_memory: 8 * GIB,
    }];
    let totals = ClusterTotals { cores: 10, memory: 40 * GIB, ..ClusterTotals::default() };
    let state = |_| NodeState { scale_down_disabled: false, ready: true, group: Some(0) };
    let mut at = |seconds: u64| {
        let now = SimTime::from_secs(seconds);
        let mark = cluster.checkpoint();
        planner.update(&candidates, &mut cluster, &[1], &flags, now);
        cluster.rollback(mark);
        let going = planner.nodes_to_delete(&groups, state, &totals, &flags, now);
        (going, planner.reason(0), planner.reason(2), planner.reason(3))
    };
    let (going, first, second, third) = at(0);
    assert!(going.is_empty());
    assert_eq!(first, Some(UnremovableReason::NotUnneededLongEnough));
    // Nodes 1 and 2 share a budget that allows one disruption.
    assert_eq!(second, Some(UnremovableReason::BlockedByPod));
    assert_eq!(third, Some(UnremovableReason::BlockedByPod));
    assert!(at(600).0.is_empty());
    let expect =
        [ToDelete { key: 0, group: 0, drain: false }, ToDelete { key: 1, group: 0, drain: true }];
    assert_eq!(at(601).0, expect);
    let cooldown = Cooldown { last_scale_up: Some(SimTime::from_secs(10)), ..Cooldown::default() };
    assert!(cooldown.active(&flags, SimTime::from_secs(609)));
    assert!(!cooldown.active(&flags, SimTime::ZERO + Span::from_secs(610)));
}

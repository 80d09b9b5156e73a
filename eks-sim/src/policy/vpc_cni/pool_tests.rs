use super::super::address_space::{AddressSpace, Holding, Placement, tests::draws};
use super::super::cidr::Cidr;
use super::super::config::EniLimits;
use super::super::step::{Action, Failure, Node};
use super::*;
use proptest::prelude::*;

const M5_LARGE: EniLimits = EniLimits { enis: 3, ipv4_per_eni: 10 };

fn at(seconds: u64) -> SimTime {
    SimTime::from_secs(seconds)
}

fn plain(first: u32, count: u32) -> Vec<Range> {
    (first..first + count).map(|a| Range { first: a.into(), prefix: false }).collect()
}

fn v4(address: u32) -> IpAddr {
    Ipv4Addr::from(address).into()
}

#[test]
fn released_addresses_cool_down() {
    let config = CniConfig::default();
    let mut pool = Pool::new(&config, NewEni::default(), at(0));
    pool.filled(EniId(0), &plain(100, 2));
    assert_eq!(pool.assign(false, 1, at(0)), Ok(v4(100)));
    assert_eq!(pool.assign(false, 1, at(0)), Ok(v4(100)), "asking again changes nothing");
    assert_eq!(pool.release(1, at(10)), Some(v4(100)));
    assert_eq!(pool.release(1, at(10)), None);
    assert_eq!(pool.assign(false, 2, at(40)), Ok(v4(101)), "30 s are not more than 30 s");
    assert_eq!(pool.assign(false, 3, at(40)), Err(NoAddress));
    let stats = pool.stats(false);
    assert_eq!((stats.total, stats.assigned, stats.cooling, stats.available()), (2, 1, 1, 1));
    assert_eq!(pool.assign(false, 3, at(41)), Ok(v4(100)));
}

#[test]
fn a_rested_address_of_a_prefix_comes_before_a_fresh_one() {
    let config = CniConfig { prefix_delegation: true, ..CniConfig::default() };
    let mut pool = Pool::new(&config, NewEni::default(), at(0));
    pool.filled(EniId(0), &[Range { first: Ipv4Addr::from(160), prefix: true }]);
    pool.filled(EniId(0), &plain(100, 1));
    for pod in 0..4 {
        assert_eq!(pool.assign(true, pod, at(0)), Ok(v4(160 + pod as u32)));
    }
    pool.release(2, at(1));
    pool.release(3, at(1));
    assert_eq!(pool.assign(true, 4, at(20)), Ok(v4(164)));
    assert_eq!(pool.assign(true, 5, at(40)), Ok(v4(162)), "rested first");
    assert_eq!(pool.assign(true, 6, at(40)), Ok(v4(163)), "then the lowest fresh one");
    assert_eq!(pool.stats(true).total, 16, "plain addresses do not count in prefix mode");
    assert_eq!(pool.assign(false, 7, at(40)), Ok(v4(100)));
}

#[test]
fn growth_falls_back_to_one_address_then_backs_off() {
    let config = CniConfig { subnet_discovery: false, ..CniConfig::default() };
    let node = Node::new(&config, M5_LARGE, 29);
    let mut pool = Pool::new(&config, NewEni::default(), at(0));
    let first = pool.next_action(&node, at(0));
    assert_eq!(first, Action::FillEni { eni: EniId(0), count: 9 });
    let second = pool.failed(&node, &first, Failure::Shortage, at(0));
    assert_eq!(second, Action::FillEni { eni: EniId(0), count: 1 });
    assert_eq!(pool.failed(&node, &second, Failure::Shortage, at(0)), Action::None);
    assert_eq!(pool.next_action(&node, at(120)), Action::None);
    assert_eq!(pool.next_action(&node, at(121)), first);
    assert_eq!(pool.failed(&node, &first, Failure::Other, at(121)), Action::None);
    assert_eq!(pool.next_action(&node, at(126)), first, "throttling is no shortage");
    let cordoned = Node { unschedulable: true, ..node };
    assert_eq!(pool.next_action(&cordoned, at(126)), Action::None);
}

#[test]
fn discovery_goes_on_to_a_new_interface() {
    let config = CniConfig::default();
    let node = Node::new(&config, M5_LARGE, 29);
    let mut pool = Pool::new(&config, NewEni::default(), at(0));
    let one = Action::FillEni { eni: EniId(0), count: 1 };
    let next = pool.failed(&node, &one, Failure::Shortage, at(0));
    assert_eq!(next, Action::AttachEni { count: 9 });
    assert_eq!(pool.failed(&node, &next, Failure::Shortage, at(0)), Action::None);
    assert!(pool.backs_off(&config, at(120)) && !pool.backs_off(&config, at(121)));
    let trunk = CniConfig { pod_eni: true, max_eni: 1, ..config.clone() };
    let reserved = Node { can_trunk: true, config: &trunk, ..node };
    assert_eq!(pool.failed(&reserved, &one, Failure::Shortage, at(0)), Action::None);
}

#[test]
fn warm_ip_target_returns_addresses_every_thirty_seconds() {
    let config = CniConfig { warm_ip_target: 2, ..CniConfig::default() };
    let node = Node::new(&config, M5_LARGE, 29);
    let mut pool = Pool::new(&config, NewEni::default(), at(0));
    pool.filled(EniId(0), &plain(100, 9));
    let Action::FreeRanges(ranges) = pool.next_action(&node, at(5)) else { panic!("too high") };
    assert_eq!(ranges.len(), 7);
    assert_eq!(pool.free(&ranges, at(5)).len(), 7);
    assert_eq!(pool.stats(false).total, 2);
    pool.filled(EniId(0), &plain(200, 1));
    assert_eq!(pool.next_action(&node, at(35)), Action::None);
    assert!(matches!(pool.next_action(&node, at(36)), Action::FreeRanges(r) if r.len() == 1));
}

#[test]
fn an_idle_interface_goes_after_its_minute() {
    let config = CniConfig::default();
    let node = Node::new(&config, M5_LARGE, 29);
    let mut pool = Pool::new(&config, NewEni::default(), at(0));
    pool.filled(EniId(0), &plain(100, 9));
    let second = pool.attached(NewEni::default(), &plain(200, 9), at(10));
    assert_eq!(pool.next_action(&node, at(69)), Action::None);
    assert_eq!(pool.next_action(&node, at(70)), Action::RemoveEni(second));
    pool.assign(false, 1, at(70)).unwrap();
    assert_eq!(pool.next_action(&node, at(70)), Action::None, "17 warm are fewer than 18");
    assert!(pool.remove(EniId(0)).is_none());
    assert_eq!(pool.remove(second).map(|eni| eni.ranges().count()), Some(9));
}

#[test]
fn an_excluded_interface_serves_no_pods() {
    let config = CniConfig::default();
    let node = Node::new(&config, M5_LARGE, 29);
    let facts = NewEni { excluded: true, ..NewEni::default() };
    let mut pool = Pool::new(&config, facts, at(0));
    assert_eq!(pool.next_action(&node, at(0)), Action::AttachEni { count: 9 });
    pool.filled(EniId(0), &plain(100, 3));
    assert_eq!(pool.assign(false, 1, at(0)), Err(NoAddress));
    pool.attached(NewEni::default(), &plain(200, 9), at(0));
    assert!(matches!(pool.next_action(&node, at(5)), Action::FreeRanges(r) if r.len() == 3));
}

#[test]
fn ipv6_never_runs_out() {
    let config = CniConfig { ipv6: true, prefix_delegation: true, ..CniConfig::default() };
    let prefix = "2001:db8::".parse().unwrap();
    let mut pool = Pool::ipv6(&config, NewEni::default(), prefix, at(0));
    let first = pool.assign(true, 1, at(0)).unwrap();
    assert_eq!(first.to_string(), "2001:db8::1");
    assert_eq!(pool.release(1, at(0)), Some(first));
    assert_ne!(pool.assign(true, 2, at(0)).unwrap(), first);
    assert_eq!(pool.next_action(&Node::new(&config, M5_LARGE, 110), at(5)), Action::None);
}

/// Several nodes on one subnet with a real loop: what EC2 does is done at once.
struct Cluster {
    config: CniConfig,
    subnet: AddressSpace,
    pools: Vec<Pool>,
    below: Box<dyn FnMut(u32) -> u32>,
}

impl Cluster {
    fn take(&mut self, own: Option<Holding>, count: u32) -> Option<(u32, Vec<Range>)> {
        let mut place = Placement::Random(&mut self.below);
        let (mut first, mut firsts) = (Vec::new(), Vec::new());
        if let Some(holding) = own {
            self.subnet.take(holding, 1, &mut place, &mut first).ok()?;
        }
        let prefix = self.config.prefix_delegation;
        let taken = match prefix {
            true => self.subnet.take_blocks(count, &mut place, &mut firsts),
            false => self.subnet.take(Holding::Secondary, count, &mut place, &mut firsts),
        };
        if taken.is_err() {
            for address in &first {
                self.subnet.release(*address);
            }
            return None;
        }
        let ranges = firsts.into_iter().map(|first| Range { first, prefix }).collect();
        Some((first.first().map_or(0, |a| u32::from(*a)), ranges))
    }

    fn launch(&mut self, now: SimTime) {
        if let Some((primary_address, _)) = self.take(Some(Holding::NodePrimary), 0) {
            let facts = NewEni { primary_address, ..NewEni::default() };
            self.pools.push(Pool::new(&self.config, facts, now));
        }
    }

    fn give_back(&mut self, range: Range) {
        let done = match range.prefix {
            true => self.subnet.release_block(range.first),
            false => self.subnet.release(range.first).is_some(),
        };
        assert!(done, "{range:?} was held");
    }

    fn pass(&mut self, index: usize, now: SimTime) {
        let config = self.config.clone();
        let node = Node::new(&config, EniLimits { enis: 3, ipv4_per_eni: 4 }, 110);
        let mut action = self.pools[index].next_action(&node, now);
        for _ in 0..20 {
            let granted = match &action {
                Action::None => return,
                Action::FillEni { count, .. } => self.take(None, *count),
                Action::AttachEni { count } => self.take(Some(Holding::EniPrimary), *count),
                Action::FreeRanges(ranges) => {
                    for (_, range) in self.pools[index].free(ranges, now) {
                        self.give_back(range);
                    }
                    return;
                }
                Action::RemoveEni(id) => {
                    let eni = self.pools[index].remove(*id).expect("removable");
                    self.subnet.release(eni.facts().primary_address.into()).expect("held");
                    eni.ranges().for_each(|range| self.give_back(range));
                    return;
                }
            };
            let pool = &mut self.pools[index];
            match (granted, &action) {
                (Some((_, ranges)), Action::FillEni { eni, .. }) => {
                    assert!(pool.filled(*eni, &ranges));
                    return;
                }
                (Some((primary_address, ranges)), _) => {
                    pool.attached(NewEni { primary_address, ..NewEni::default() }, &ranges, now);
                    return;
                }
                (None, _) => action = pool.failed(&node, &action, Failure::Shortage, now),
            }
        }
        panic!("a pass ends");
    }
}

fn check_conservation(cluster: &Cluster, pods: &[(usize, u64, IpAddr)]) {
    let held = cluster.pools.iter().flat_map(Pool::holdings);
    let held = held.map(|(_, range)| if range.prefix { 16 } else { 1 }).sum::<u32>();
    assert_eq!(cluster.subnet.free() + held, cluster.subnet.usable());
    let mut addresses = pods.iter().map(|(_, _, address)| *address).collect::<Vec<_>>();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), pods.len(), "no address serves two pods");
    for (index, pool) in cluster.pools.iter().enumerate() {
        let stats = pool.stats(cluster.config.prefix_delegation);
        let mine = pods.iter().filter(|(node, _, _)| *node == index).count() as i64;
        assert_eq!(stats.assigned, mine);
        let serving = || pool.enis.iter().filter(|eni| !eni.facts.excluded);
        for (which, sum) in pool.sums.iter().enumerate() {
            let parts = |t: &Tally| [t.slots, t.assigned, t.cooling, t.free_slots];
            let mut all = [0; 4];
            for eni in serving() {
                all.iter_mut().zip(parts(&eni.tallies[which])).for_each(|(a, b)| *a += b);
            }
            assert_eq!(parts(sum), all, "sums follow the interfaces");
        }
        assert!(stats.assigned + stats.cooling <= stats.total);
        assert!(pool.enis().len() <= 3 && pool.enis().iter().all(|e| e.slots_used() <= 3));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn churn_conserves_addresses(
        seed: u64,
        warm in (0u32..3, 0u32..4, 0u32..6),
        prefix: bool,
        length in 24u8..=27,
        steps in prop::collection::vec((0u8..6, 0u32..1000), 1..250),
    ) {
        let config = CniConfig {
            warm_eni_target: warm.0,
            warm_ip_target: warm.1,
            minimum_ip_target: warm.2,
            prefix_delegation: prefix,
            ..CniConfig::default()
        };
        let cidr = Cidr::containing(Ipv4Addr::new(10, 0, 0, 0), length);
        let subnet = AddressSpace::new(cidr).unwrap();
        let mut cluster =
            Cluster { config, subnet, pools: Vec::new(), below: Box::new(draws(seed)) };
        let (mut pods, mut next_pod, mut seconds) = (Vec::new(), 0u64, 0u64);
        for (what, which) in steps {
            seconds += u64::from(which % 13);
            let now = at(seconds);
            let nodes = cluster.pools.len();
            let index = if nodes == 0 { 0 } else { which as usize % nodes };
            match what {
                0 if nodes < 6 => cluster.launch(now),
                1 | 2 if nodes > 0 => {
                    next_pod += 1;
                    if let Ok(address) = cluster.pools[index].assign(prefix, next_pod, now) {
                        pods.push((index, next_pod, address));
                    }
                }
                3 if !pods.is_empty() => {
                    let (node, pod, address) = pods.swap_remove(which as usize % pods.len());
                    prop_assert_eq!(cluster.pools[node].release(pod, now), Some(address));
                }
                4 | 5 if nodes > 0 => cluster.pass(index, now),
                _ => {}
            }
            check_conservation(&cluster, &pods);
        }
        // Whatever was given back is usable again once it has rested.
        for pool in &mut cluster.pools {
            let available = pool.stats(prefix).available();
            let usable = (0..available).filter(|extra| {
                pool.assign(prefix, u64::MAX - *extra as u64, at(seconds + 31)).is_ok()
            });
            prop_assert_eq!(usable.count() as i64, available);
            prop_assert!(pool.assign(prefix, u64::MAX / 2, at(seconds + 31)).is_err());
        }
        // Every node dies: nothing leaks.
        for pool in std::mem::take(&mut cluster.pools) {
            for (_, range) in pool.holdings().collect::<Vec<_>>() {
                cluster.give_back(range);
            }
        }
        prop_assert_eq!(cluster.subnet.free(), cluster.subnet.usable());
    }
}

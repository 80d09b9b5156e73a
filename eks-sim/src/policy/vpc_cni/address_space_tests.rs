use super::*;
use proptest::prelude::*;

fn space(cidr: &str) -> AddressSpace {
    AddressSpace::new(cidr.parse().unwrap()).unwrap()
}

/// A small generator for draws in tests.
pub(crate) fn draws(seed: u64) -> impl FnMut(u32) -> u32 {
    let mut state = seed;
    move |below| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % u64::from(below.max(1))) as u32
    }
}

#[test]
fn sizes_and_reserved_addresses() {
    let sizes = [(28, 11), (27, 27), (26, 59), (25, 123), (24, 251), (23, 507), (22, 1019)];
    for (prefix_length, usable) in sizes.into_iter().chain([(20, 4091), (19, 8187), (16, 65531)]) {
        assert_eq!(usable_addresses(prefix_length), Some(usable));
        let space = space(&format!("10.0.0.0/{prefix_length}"));
        assert_eq!((space.usable(), space.free()), (usable, usable));
    }
    assert_eq!(usable_addresses(15), None);
    assert!(matches!(AddressSpace::new("10.0.0.0/29".parse().unwrap()), Err(SpaceError::Size(_))));
    let empty = space("10.0.0.0/24");
    assert_eq!((empty.free_blocks(), empty.fragmented()), (14, 251 - 14 * 16));
    assert_eq!(empty.addresses(Holding::Reserved).last(), Some(Ipv4Addr::new(10, 0, 0, 255)));
}

#[test]
fn sequential_takes_the_lowest_and_blocks_are_aligned() {
    let mut space = space("10.0.0.0/26");
    let mut out = Vec::new();
    space.take(Holding::NodePrimary, 2, &mut Placement::Sequential, &mut out).unwrap();
    assert_eq!(out, [Ipv4Addr::new(10, 0, 0, 4), Ipv4Addr::new(10, 0, 0, 5)]);
    out.clear();
    space.take_blocks(2, &mut Placement::Sequential, &mut out).unwrap();
    assert_eq!(out, [Ipv4Addr::new(10, 0, 0, 16), Ipv4Addr::new(10, 0, 0, 32)]);
    assert_eq!(
        space.take_blocks(1, &mut Placement::Sequential, &mut out),
        Err(Shortage::Blocks { wanted: 1, free: 0 })
    );
    assert!(space.release_block(Ipv4Addr::new(10, 0, 0, 16)));
    assert!(!space.release_block(Ipv4Addr::new(10, 0, 0, 16)));
    assert_eq!(space.first_free_block().unwrap().to_string(), "10.0.0.16/28");
    assert_eq!(space.release(Ipv4Addr::new(10, 0, 0, 4)), Some(Holding::NodePrimary));
    assert_eq!(space.release(Ipv4Addr::new(10, 0, 0, 4)), None);
    assert_eq!(space.release(Ipv4Addr::new(10, 0, 0, 0)), None);
    assert_eq!(space.release(Ipv4Addr::new(10, 0, 1, 0)), None);
}

#[test]
fn a_prefix_reservation_keeps_single_addresses_out() {
    let mut space = space("10.0.0.0/26");
    space.reserve_for_prefixes("10.0.0.32/27".parse().unwrap()).unwrap();
    assert!(space.reserve_for_prefixes("10.0.1.0/28".parse().unwrap()).is_err());
    let mut out = Vec::new();
    assert_eq!(
        space.take(Holding::Other, 29, &mut Placement::Sequential, &mut out),
        Err(Shortage::Addresses { wanted: 29, free: 28 })
    );
    space.take(Holding::Other, 28, &mut Placement::Random(&mut draws(1)), &mut out).unwrap();
    assert!(out.iter().all(|a| a.octets()[3] < 32));
    out.clear();
    space.take_blocks(1, &mut Placement::Sequential, &mut out).unwrap();
    assert_eq!(out, [Ipv4Addr::new(10, 0, 0, 32)]);
}

/// A pick by rank is the address of that rank among the free ones that are not kept, whatever
/// stretches the search skips.
#[test]
fn a_pick_is_the_address_of_its_rank() {
    let mut space = space("10.0.0.0/20");
    space.reserve_for_prefixes("10.0.4.0/23".parse().unwrap()).unwrap();
    let kept = |a: &Ipv4Addr| matches!(a.octets()[2], 4 | 5);
    let mut below = draws(11);
    let mut held: Vec<Ipv4Addr> = Vec::new();
    for turn in 0..3_000 {
        if turn % 3 == 2 {
            let at = below(held.len() as u32) as usize;
            assert!(space.release(held.swap_remove(at)).is_some());
            continue;
        }
        let free: Vec<Ipv4Addr> = space.addresses(Holding::Free).filter(|a| !kept(a)).collect();
        let rank = below(free.len() as u32);
        let mut ask = |n: u32| {
            assert_eq!(n as usize, free.len());
            rank
        };
        let mut out = Vec::new();
        space.take(Holding::Other, 1, &mut Placement::Random(&mut ask), &mut out).unwrap();
        assert_eq!(out, [free[rank as usize]]);
        held.extend(out);
    }
}

#[test]
fn scattered_addresses_break_blocks() {
    let mut scattered = space("10.0.0.0/20");
    let mut out = Vec::new();
    let mut below = draws(7);
    scattered.take(Holding::Other, 400, &mut Placement::Random(&mut below), &mut out).unwrap();
    let mut packed = space("10.0.0.0/20");
    packed.take(Holding::Other, 400, &mut Placement::Sequential, &mut out).unwrap();
    assert_eq!(packed.free_blocks(), 229);
    assert!(scattered.free_blocks() < 100, "{}", scattered.free_blocks());
    assert_eq!(scattered.free(), packed.free());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Counters, bitmap and holdings agree with a recount after any history.
    #[test]
    fn every_address_has_one_state(
        length in 22u8..=28,
        seed: u64,
        steps in prop::collection::vec((0u8..5, 1u32..20), 1..120),
    ) {
        let mut space = space(&format!("10.0.0.0/{length}"));
        let mut below = draws(seed);
        let (mut singles, mut blocks) = (Vec::new(), Vec::new());
        for (what, count) in steps {
            let before = (singles.len(), blocks.len(), space.free());
            match what {
                0 => {
                    let free = space.free();
                    let got = space.take(Holding::Secondary, count, &mut Placement::Sequential, &mut singles);
                    prop_assert_eq!(got.is_ok(), count <= free);
                }
                1 => drop(space.take(Holding::Other, count, &mut Placement::Random(&mut below), &mut singles)),
                2 => drop(space.take_blocks(count % 4, &mut Placement::Random(&mut below), &mut blocks)),
                3 if !singles.is_empty() => {
                    let address = singles.swap_remove(below(singles.len() as u32) as usize);
                    prop_assert!(space.release(address).is_some());
                }
                4 if !blocks.is_empty() => {
                    let first = blocks.swap_remove(below(blocks.len() as u32) as usize);
                    prop_assert!(space.release_block(first));
                }
                _ => {}
            }
            if singles.len() == before.0 && blocks.len() == before.1 {
                prop_assert_eq!(space.free(), before.2, "a refused request changes nothing");
            }
            let held = singles.len() + blocks.len() * 16;
            prop_assert_eq!(space.free() as usize + held, space.usable() as usize);
            prop_assert_eq!(space.count(Holding::Prefix) as usize, blocks.len() * 16);
            prop_assert_eq!(space.addresses(Holding::Free).count(), space.free() as usize);
            let free = space.addresses(Holding::Free).map(u32::from).collect::<Vec<_>>();
            let whole = free.iter().filter(|a| **a % 16 == 0)
                .filter(|a| (0..16).all(|i| free.binary_search(&(**a + i)).is_ok()))
                .count();
            prop_assert_eq!(space.free_blocks() as usize, whole);
            let mut all = singles.clone();
            all.extend(blocks.iter().flat_map(|b| (0..16).map(move |i| Ipv4Addr::from(u32::from(*b) + i))));
            all.sort();
            all.dedup();
            prop_assert_eq!(all.len(), held, "no address is given out twice");
        }
    }
}

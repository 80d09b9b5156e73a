//! What each way out of an address shortage buys, by the same calculation as the shortage itself.
//!
//! The list follows the EKS best-practices guide, "Optimizing IP address utilization"; only what
//! the calculation can quantify is in it.

use super::demand::{Demand, Kind, group_type};
use super::ground::{Place, Spaces, Wave, subnets_of};
use super::kinds::{Setup, addresses_at_rest, binding, per_node, user_pods};
use super::{Effect, Suggestions, situations};
use crate::catalog::{MaxPodsRule, PodNetwork, max_pods};
use crate::policy::vpc_cni::address_space::{LARGEST_SUBNET, SMALLEST_SUBNET};
use crate::policy::vpc_cni::{AddressSpace, Cidr, Holding, Placement};
use crate::units::Id;
use crate::world::Model;
use crate::world::model::{GroupKind, Zone};
use core::net::Ipv4Addr;

/// Shared address space (RFC 6598), which AWS advises for pods.
const SHARED: (Ipv4Addr, u8) = (Ipv4Addr::new(100, 64, 0, 0), 10);
/// Size of a VPC's further block.
const BLOCK: u8 = 16;
/// Spare addresses that `WARM_IP_TARGET` keeps.
const WARM_IPS: u32 = 2;
/// `MINIMUM_IP_TARGET` where the scenario has no pods.
const MINIMUM_IPS: u64 = 10;

/// A remedy applied.
struct Changed {
    remedy: String,
    setup: Setup,
    spaces: Spaces,
    subnets: Vec<usize>,
    /// Pods, and the further interfaces, are outside the present subnets.
    elsewhere: bool,
    cost: &'static str,
}

pub(super) fn all(demand: &Demand, start: &Spaces, model: &Model) -> Vec<Suggestions> {
    if !model.network.cni_enabled {
        return Vec::new();
    }
    let one = |group: usize| {
        let kind = &demand.kinds[demand.groups[group].kind];
        let changed = remedies(kind, start, model);
        let mut effects: Vec<Effect> =
            changed.into_iter().map(|c| effect(c, group, demand, model)).collect();
        let today = effects.first().map_or(0, |e| e.pods);
        for effect in effects.iter_mut().skip(1).filter(|_| today > 0) {
            effect.factor = Some(effect.pods as f64 / today as f64);
        }
        Suggestions {
            group: model.groups[kind.group].name.clone(),
            instance_type: group_type(kind, model).instance_type.name.to_owned(),
            effects,
        }
    };
    (0..demand.groups.len()).map(one).collect()
}

fn effect(changed: Changed, group: usize, demand: &Demand, model: &Model) -> Effect {
    let kind = &demand.kinds[demand.groups[group].kind];
    let Changed { remedy, setup, mut spaces, subnets, elsewhere, cost } = changed;
    let (_, full) = binding(&per_node(kind, Some(&setup), model));
    let pods = full + kind.daemons.1;
    let peak = situations::peak_with(group, &setup, &subnets, demand, &spaces, model);
    let wave = Wave { kind, setup: &setup, pods, nodes: u64::MAX, subnets, lost: None };
    let filled = spaces.fill(&wave, model);
    Effect {
        remedy,
        pods_per_node: full,
        addresses_per_node: if elsewhere { 1 } else { addresses_at_rest(&setup, pods) },
        nodes: filled.full,
        pods: user_pods(&filled, kind),
        factor: None,
        peak_fits: peak.fits,
        peak_pods: (peak.pods, peak.pods_wanted),
        cost,
    }
}

fn remedies(kind: &Kind, start: &Spaces, model: &Model) -> Vec<Changed> {
    let today = Setup::of(kind, model);
    let changed = |remedy: &str, setup: Setup, cost| Changed {
        remedy: remedy.to_owned(),
        setup,
        spaces: start.clone(),
        subnets: subnets_of(kind, model),
        elsewhere: false,
        cost,
    };
    let mut all = vec![changed("as it is", today.clone(), "")];
    if today.config.ipv6 {
        all.extend(larger(kind, &today, start, model));
        return all;
    }
    all.extend(warm_targets(kind, &today, model).map(|(words, setup)| {
        let cost = "more EC2 calls: throttling in large or busy clusters, and pods that come in \
                    bursts wait for addresses";
        changed(&words, setup, cost)
    }));
    let nitro = group_type(kind, model).instance_type.supports_prefixes();
    if nitro && !today.config.prefix_delegation {
        let setup = with_prefixes(kind, &today, model);
        let cost = "needs free aligned /28 blocks: in scattered subnets it fails, keep a subnet \
                    CIDR reservation; takes 16 addresses at a time";
        all.push(changed("ENABLE_PREFIX_DELEGATION=true", setup, cost));
    }
    if today.config.prefix_delegation {
        let mut setup = today.clone();
        setup.config.prefix_delegation = false;
        recount(&mut setup, kind, &today, model);
        let cost = "fewer pods a node where maxPods or interfaces bind; needs no whole /28 blocks, \
                    only free addresses";
        all.push(changed("ENABLE_PREFIX_DELEGATION=false", setup, cost));
    }
    if !today.config.custom_networking {
        all.extend(custom_networking(kind, &today, start, model));
    }
    if nitro {
        let mut setup = with_prefixes(kind, &today, model);
        setup.config.ipv6 = true;
        setup.config.custom_networking = false;
        setup.costs_addresses = false;
        let cost = "only for a new cluster; applications and peers must speak IPv6, IPv4 targets \
                    are reached through NAT";
        all.push(changed("IPv6 (ipFamily: ipv6)", setup, cost));
    }
    all.extend(larger(kind, &today, start, model));
    all.push(secondary(kind, &today, start, model));
    all
}

/// `WARM_IP_TARGET` and `MINIMUM_IP_TARGET` instead of whole warm interfaces.
fn warm_targets(kind: &Kind, today: &Setup, model: &Model) -> Option<(String, Setup)> {
    let mut setup = today.clone();
    let (_, full) = binding(&per_node(kind, Some(today), model));
    let expected = if kind.spread == 0 { MINIMUM_IPS } else { kind.spread.min(full) };
    let expected = (expected + kind.daemons.1).min(today.addresses().unwrap_or(u64::MAX));
    setup.config.warm_ip_target = WARM_IPS;
    setup.config.minimum_ip_target = u32::try_from(expected).unwrap_or(u32::MAX);
    let words =
        format!("WARM_IP_TARGET={WARM_IPS}, MINIMUM_IP_TARGET={}", setup.config.minimum_ip_target);
    (setup.config != today.config).then_some((words, setup))
}

/// One warm prefix, and the `maxPods` that goes with prefixes.
fn with_prefixes(kind: &Kind, today: &Setup, model: &Model) -> Setup {
    let mut setup = today.clone();
    setup.config.prefix_delegation = true;
    setup.config.warm_prefix_target = 1;
    setup.config.warm_ip_target = 0;
    setup.config.minimum_ip_target = 0;
    recount(&mut setup, kind, today, model);
    setup
}

/// The `maxPods` of the new mode, unless the group sets its own. Karpenter's nodes keep the
/// published value until the node class sets another; here it is taken to do so.
fn recount(setup: &mut Setup, kind: &Kind, today: &Setup, model: &Model) {
    let instance = group_type(kind, model).instance_type;
    let mode = |s: &Setup| PodNetwork::new(s.config.prefix_delegation, s.config.custom_networking);
    let rule = match model.groups[kind.group].kind {
        GroupKind::NodePool => MaxPodsRule::Published,
        _ => MaxPodsRule::ManagedNodeGroup,
    };
    if max_pods(instance, rule, mode(today)) != today.max_pods {
        return;
    }
    setup.max_pods = max_pods(instance, MaxPodsRule::ManagedNodeGroup, mode(setup));
    let each = model.defaults.bytes("kubelet.kube_reserved_memory_per_pod").raw();
    setup.memory = (i64::from(today.max_pods) - i64::from(setup.max_pods)).saturating_mul(each);
}

/// Pods in a part of the shared address space, one part for each zone.
fn custom_networking(kind: &Kind, today: &Setup, start: &Spaces, model: &Model) -> Option<Changed> {
    let mut setup = today.clone();
    setup.config.custom_networking = true;
    recount(&mut setup, kind, today, model);
    let (block, mut spaces, added) = with_shared(kind, start, model)?;
    spaces.by_zone = true;
    spaces.eni_configs = added.iter().map(|(zone, at)| (model.zones[*zone].clone(), *at)).collect();
    Some(Changed {
        remedy: format!("custom networking on {block}"),
        setup,
        spaces,
        subnets: subnets_of(kind, model),
        elsewhere: true,
        cost: "an interface less for pods on every node, new nodes needed, an ENIConfig a zone; \
               pods reach other networks only through their node's address or NAT",
    })
}

/// Nodes and pods in further subnets of the shared address space.
fn secondary(kind: &Kind, today: &Setup, start: &Spaces, model: &Model) -> Changed {
    let mut subnets = subnets_of(kind, model);
    let shared = with_shared(kind, start, model);
    let (remedy, spaces) = match shared {
        Some((block, spaces, added)) => {
            subnets.extend(added.iter().map(|(_, at)| *at));
            (format!("further subnets from {block}"), spaces)
        }
        None => ("further subnets".to_owned(), start.clone()),
    };
    Changed {
        remedy,
        setup: today.clone(),
        spaces,
        subnets,
        elsewhere: false,
        cost: "a secondary CIDR of the VPC (5 by default); its nodes too are outside the routable \
               range, so they need NAT to reach other networks",
    }
}

/// The same group in subnets of twice the size.
fn larger(kind: &Kind, today: &Setup, start: &Spaces, model: &Model) -> Option<Changed> {
    let subnets = subnets_of(kind, model);
    let mut spaces = start.clone();
    for &at in &subnets {
        let old = &start.spaces[at];
        let length = old.cidr().prefix_length();
        if length <= LARGEST_SUBNET {
            return None;
        }
        let mut space = AddressSpace::new(Cidr::containing(old.cidr().first(), length - 1)).ok()?;
        let taken = old.usable() - old.free();
        let place = &mut Placement::Sequential;
        space.take(Holding::Other, taken, place, &mut Vec::new()).ok()?;
        spaces.spaces[at] = space;
    }
    Some(Changed {
        remedy: "subnets of twice the size".to_owned(),
        setup: today.clone(),
        spaces,
        subnets,
        elsewhere: false,
        cost: "a subnet cannot be resized: new subnets, and every node and load balancer moves",
    })
}

type Added = Vec<(Id<Zone>, usize)>;

/// A free block of the shared address space, cut into a subnet for each zone of the group.
fn with_shared(kind: &Kind, start: &Spaces, model: &Model) -> Option<(Cidr, Spaces, Added)> {
    let used: Vec<Cidr> = start.spaces.iter().map(AddressSpace::cidr).collect();
    let block = Cidr::containing(SHARED.0, SHARED.1).next_free(BLOCK, &used)?;
    let mut zones: Vec<Id<Zone>> =
        subnets_of(kind, model).into_iter().map(|s| start.places[s].zone).collect();
    zones.sort_unstable_by_key(|zone| zone.index());
    zones.dedup();
    let bits = zones.len().next_power_of_two().trailing_zeros() as u8;
    let length = (BLOCK + bits).min(SMALLEST_SUBNET);
    let mut spaces = start.clone();
    let (mut parts, mut added) = (Vec::new(), Vec::new());
    for zone in zones {
        let part = block.next_free(length, &parts)?;
        parts.push(part);
        added.push((zone, spaces.spaces.len()));
        spaces.spaces.push(AddressSpace::new(part).ok()?);
        spaces.places.push(Place { name: part.to_string(), zone, tags: Vec::new() });
    }
    Some((block, spaces, added))
}

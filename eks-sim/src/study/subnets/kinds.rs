//! One kind of node: what bounds its pods, what it takes at rest, how many of it fit.

use super::demand::{Kind, group_type};
use super::ground::{Filled, Spaces, Wave, subnets_of};
use super::{Bound, NodeKind, Rest};
use crate::policy::vpc_cni::calculate::steady_state;
use crate::policy::vpc_cni::max_pods::{Mode, pod_addresses};
use crate::policy::vpc_cni::{CniConfig, EniLimits, Node};
use crate::units::Id;
use crate::world::Model;
use crate::world::model::Zone;

/// Settings under which a kind of node is judged.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    /// As in effect on the type.
    pub(super) config: CniConfig,
    pub(super) limits: EniLimits,
    pub(super) max_pods: u32,
    /// Memory that another `maxPods` leaves more or less than today's.
    pub(super) memory: i64,
    /// Whether pods take addresses of subnets.
    pub(super) costs_addresses: bool,
}

impl Setup {
    /// Today's.
    pub(super) fn of(kind: &Kind, model: &Model) -> Self {
        let t = group_type(kind, model);
        let interfaces = t.instance_type.interfaces.as_ref();
        let limits = EniLimits {
            enis: interfaces.map_or(0, |i| i.max_enis_default_card),
            ipv4_per_eni: interfaces.map_or(0, |i| i.ipv4_per_eni),
        };
        let cni = &model.network.cni;
        let nitro = t.instance_type.supports_prefixes();
        let config = cni.on(nitro).unwrap_or_else(|_| cni.clone());
        let costs_addresses = model.network.cni_enabled && !config.ipv6;
        Self { config, limits, max_pods: t.max_pods, memory: 0, costs_addresses }
    }

    fn mode(&self) -> Mode {
        Mode {
            prefix_delegation: self.config.prefix_delegation,
            custom_networking: self.config.custom_networking,
            max_eni: self.config.max_eni,
        }
    }

    /// Addresses that a node's interfaces can hold for pods; none where they do not count.
    pub(super) fn addresses(&self) -> Option<u64> {
        self.costs_addresses.then(|| pod_addresses(self.limits, self.mode()))
    }
}

/// The scenario's pods that each limit of a node admits; `setup` of `None` is today's.
pub(super) fn per_node(kind: &Kind, setup: Option<&Setup>, model: &Model) -> Vec<(Bound, u64)> {
    let today;
    let setup = match setup {
        Some(setup) => setup,
        None => {
            today = Setup::of(kind, model);
            &today
        }
    };
    let (host, addressed) = kind.daemons;
    let mut bounds = Vec::new();
    if let Some(addresses) = setup.addresses() {
        bounds.push((Bound::Interfaces, addresses.saturating_sub(addressed)));
    }
    let places = u64::from(setup.max_pods).saturating_sub(host + addressed);
    bounds.push((Bound::MaxPods, places));
    let room = [
        (Bound::Cpu, kind.room.0, kind.mean.0),
        (Bound::Memory, kind.room.1.saturating_add(setup.memory), kind.mean.1),
    ];
    for (bound, room, mean) in room.into_iter().filter(|(_, _, mean)| *mean > 0) {
        bounds.push((bound, room.max(0).unsigned_abs() / mean.unsigned_abs()));
    }
    bounds
}

/// The limit of a node that binds: the least, of equal ones the first.
pub(super) fn binding(bounds: &[(Bound, u64)]) -> (Bound, u64) {
    let least = bounds.iter().min_by_key(|(_, pods)| *pods);
    least.copied().unwrap_or((Bound::MaxPods, 0))
}

/// Addresses of all subnets that a node at rest takes.
pub(super) fn addresses_at_rest(setup: &Setup, pods: u64) -> u64 {
    if !setup.costs_addresses {
        return 1;
    }
    let node = Node::new(&setup.config, setup.limits, i64::from(setup.max_pods));
    steady_state(&node, pods).subnet_ips
}

pub(super) fn node_kind(kind: &Kind, start: &Spaces, model: &Model) -> NodeKind {
    let setup = Setup::of(kind, model);
    let group = &model.groups[kind.group];
    let per_node = per_node(kind, Some(&setup), model);
    let (node_bound, full) = binding(&per_node);
    let rest = |load, pods| rest(load, pods, kind, &setup, start, model);
    let (idle, scenario) = (rest("idle", 0).0, rest("scenario", kind.spread.min(full)).0);
    let (packed, subnet) = rest("full", full);
    let max_size = group.is_managed().then_some(group.max);
    let by_size = max_size.filter(|most| u64::from(*most) <= packed.nodes);
    NodeKind {
        group: group.name.clone(),
        instance_type: group_type(kind, model).instance_type.name.to_owned(),
        max_pods: setup.max_pods,
        pod_addresses: setup.addresses(),
        daemon_pods: kind.daemons.1,
        per_node,
        node_bound,
        first: if by_size.is_some() { Bound::MaxSize } else { packed.bound },
        first_subnet: subnet.filter(|_| by_size.is_none()),
        max_size,
        rest: vec![idle, scenario, packed],
    }
}

/// The capacity with so many pods on each node, and the subnet that ends it.
fn rest(
    load: &'static str,
    pods: u64,
    kind: &Kind,
    setup: &Setup,
    start: &Spaces,
    model: &Model,
) -> (Rest, Option<String>) {
    let filled = filled(pods, None, kind, setup, start, model);
    let mut zones: Vec<Id<Zone>> =
        subnets_of(kind, model).into_iter().map(|s| start.places[s].zone).collect();
    zones.sort_unstable_by_key(|zone| zone.index());
    zones.dedup();
    let lost = |zone: &Id<Zone>| {
        let left = self::filled(pods, Some(*zone), kind, setup, start, model);
        (model.zones[*zone].clone(), left.full, user_pods(&left, kind))
    };
    let lost = zones.iter().map(lost).min_by_key(|(_, nodes, pods)| (*pods, *nodes));
    let rest = Rest {
        load,
        pods_per_node: pods,
        addresses_per_node: addresses_at_rest(setup, pods + kind.daemons.1),
        nodes: filled.full,
        pods: user_pods(&filled, kind),
        launches: filled.launches,
        bound: filled.refused.map_or(Bound::Addresses, |(_, limit)| limit.into()),
        zone_lost: lost.filter(|_| zones.len() > 1),
    };
    (rest, filled.refused.map(|(subnet, _)| start.places[subnet].name.clone()))
}

fn filled(
    pods: u64,
    lost: Option<Id<Zone>>,
    kind: &Kind,
    setup: &Setup,
    start: &Spaces,
    model: &Model,
) -> Filled {
    let subnets = subnets_of(kind, model);
    let pods = pods + kind.daemons.1;
    start.clone().fill(&Wave { kind, setup, pods, nodes: u64::MAX, subnets, lost }, model)
}

/// Pods with addresses beside those of DaemonSets. A node's own come first.
pub(super) fn user_pods(filled: &Filled, kind: &Kind) -> u64 {
    filled.pods.saturating_sub(filled.launches.saturating_mul(kind.daemons.1))
}

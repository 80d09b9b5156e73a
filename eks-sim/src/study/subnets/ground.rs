//! The subnets as nodes find them, and filling them with nodes of one kind.

use super::demand::{Kind, group_type};
use super::kinds::Setup;
use crate::policy::vpc_cni::consumers::take_one;
use crate::policy::vpc_cni::launch::{Ground, Launcher, Limit};
use crate::policy::vpc_cni::subnet_choice::{Candidate, subnets_to_try};
use crate::policy::vpc_cni::{AddressSpace, CniConfig, Holding, Node, Placement};
use crate::units::Id;
use crate::units::key::{key, mix64};
use crate::world::Model;
use crate::world::model::Zone;

/// Nodes at most; no scenario has more.
const MOST_NODES: u64 = 100_000;

/// All subnets.
#[derive(Clone)]
pub(super) struct Spaces {
    pub(super) spaces: Vec<AddressSpace>,
    pub(super) places: Vec<Place>,
    /// Names of ENIConfigs and their subnets.
    pub(super) eni_configs: Vec<(String, usize)>,
    /// Whether ENIConfigs are chosen by zone, whatever the label says.
    pub(super) by_zone: bool,
}

/// What is known of a subnet beside its addresses.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) zone: Id<Zone>,
    pub(super) tags: Vec<(String, String)>,
}

/// How far nodes of one kind came.
#[derive(Clone, Debug, Default)]
pub(super) struct Filled {
    /// Nodes that hold and serve all they want.
    pub(super) full: u64,
    /// Nodes that got an address.
    pub(super) launches: u64,
    /// Pods with addresses, those of DaemonSets included.
    pub(super) pods: u64,
    /// The first refusal: of which subnet, and for want of what.
    pub(super) refused: Option<(usize, Limit)>,
}

/// Nodes to be launched.
pub(super) struct Wave<'a> {
    pub(super) kind: &'a Kind,
    pub(super) setup: &'a Setup,
    /// Pods with addresses on each, those of DaemonSets included.
    pub(super) pods: u64,
    pub(super) nodes: u64,
    /// Subnets for the nodes, by position.
    pub(super) subnets: Vec<usize>,
    pub(super) lost: Option<Id<Zone>>,
}

impl Spaces {
    /// The subnets with all that is in them before nodes come.
    pub(super) fn of(model: &Model) -> Self {
        let mut spaces: Vec<AddressSpace> = model.subnets.iter().map(|(_, s)| s.space()).collect();
        for balancer in &model.network.load_balancers {
            for subnet in &balancer.subnets {
                let space = &mut spaces[subnet.index()];
                // One that finds no room is not made.
                let _ = take_one(space, Holding::LoadBalancer, &mut Placement::Sequential);
            }
        }
        let place = |(_, s): (_, &crate::world::model::SubnetModel)| Place {
            name: s.name.clone(),
            zone: s.zone,
            tags: s.tags.clone(),
        };
        let eni = model.network.eni_configs.iter();
        Self {
            spaces,
            places: model.subnets.iter().map(place).collect(),
            eni_configs: eni.map(|c| (c.name.clone(), c.subnet.index())).collect(),
            by_zone: false,
        }
    }

    /// The ENIConfig's subnet of nodes of this kind in this zone.
    fn eni_config(&self, kind: &Kind, zone: Id<Zone>, model: &Model) -> Option<usize> {
        let zone_name = &model.zones[zone];
        let label = &model.network.eni_config_label;
        let labels = &group_type(kind, model).node.metadata.labels;
        let name = if self.by_zone || label == "topology.kubernetes.io/zone" {
            zone_name.as_str()
        } else {
            labels.get(label).map_or("default", String::as_str)
        };
        self.eni_configs.iter().find(|(n, _)| n == name).map(|(_, subnet)| *subnet)
    }

    /// Launches nodes until there are enough or no subnet has an address for one.
    pub(super) fn fill(&mut self, wave: &Wave<'_>, model: &Model) -> Filled {
        let Setup { config, limits, max_pods, costs_addresses, .. } = wave.setup;
        let node = Node::new(config, *limits, i64::from(*max_pods));
        let launcher = match costs_addresses {
            true => Launcher::new(&node, wave.pods),
            false => Launcher::without_addresses(&node, wave.pods),
        };
        let zones: Vec<Id<Zone>> = self.places.iter().map(|p| p.zone).collect();
        let tags: Vec<Vec<(&str, &str)>> = self.places.iter().map(tag_pairs).collect();
        let eni: Vec<Option<usize>> =
            zones.iter().map(|zone| self.eni_config(wave.kind, *zone, model)).collect();
        let order = |spaces: &[AddressSpace], own: usize| {
            further(config, spaces, &zones, &tags, eni[own], own)
        };
        let mut turn = 0;
        let mut below = |n: u32| {
            turn += 1;
            ((u128::from(mix64(key(&[turn]))) * u128::from(n)) >> 64) as u32
        };
        // Where only numbers of addresses matter, their places do not.
        let mut placement = match model.network.random_placement && config.prefix_delegation {
            true => Placement::Random(&mut below),
            false => Placement::Sequential,
        };
        let mut ground =
            Ground { spaces: &mut self.spaces, placement: &mut placement, order: &order };
        let mut filled = Filled::default();
        let mut counts = vec![0_u64; model.zones.len()];
        while filled.launches < wave.nodes.min(MOST_NODES) {
            let mut tries: Vec<usize> = wave.subnets.clone();
            tries.retain(|s| Some(zones[*s]) != wave.lost);
            // Zones with few nodes first, in a zone the subnet with most free addresses.
            let free = |s: usize| core::cmp::Reverse(ground.spaces[s].free());
            tries.sort_by_key(|s| (counts[zones[*s].index()], zones[*s].index(), free(*s)));
            let launched = tries.iter().find_map(|s| {
                let launched = launcher.launch(*s, &mut ground);
                if launched.is_none() {
                    filled.refused.get_or_insert((*s, Limit::Addresses));
                }
                launched.map(|l| (*s, l))
            });
            let Some((subnet, node)) = launched else { break };
            counts[zones[subnet].index()] += 1;
            filled.launches += 1;
            filled.pods += node.pods;
            filled.full += u64::from(node.pods == wave.pods && node.refused.is_none());
            filled.refused = filled.refused.or(node.refused);
        }
        filled
    }
}

fn tag_pairs(place: &Place) -> Vec<(&str, &str)> {
    place.tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect()
}

/// Subnets for a further interface of a node in the subnet `own`.
fn further(
    config: &CniConfig,
    spaces: &[AddressSpace],
    zones: &[Id<Zone>],
    tags: &[Vec<(&str, &str)>],
    eni_config: Option<usize>,
    own: usize,
) -> Vec<usize> {
    let here = (0..spaces.len()).filter(|s| zones[*s] == zones[own]);
    let candidates: Vec<Candidate<'_, usize>> = here
        .map(|subnet| Candidate {
            subnet,
            tags: &tags[subnet],
            free: spaces[subnet].free(),
            is_node_subnet: subnet == own,
        })
        .collect();
    subnets_to_try(config, &candidates, eni_config)
}

/// The subnets of a group, by position.
pub(super) fn subnets_of(kind: &Kind, model: &Model) -> Vec<usize> {
    model.groups[kind.group].subnets.iter().map(|s| s.index()).collect()
}

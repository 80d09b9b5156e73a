//! The subnets as nodes find them, and filling them with nodes of one kind.

use super::demand::{Kind, group_type};
use super::kinds::Setup;
use crate::policy::vpc_cni::consumers::take_one;
use crate::policy::vpc_cni::launch::{Ground, Launched, Launcher, Limit, Started, grow_together};
use crate::policy::vpc_cni::subnet_choice::{Candidate, subnets_to_try};
use crate::policy::vpc_cni::{AddressSpace, CniConfig, Holding, Node, Placement};
use crate::units::Id;
use crate::units::key::{key, mix64};
use crate::world::Model;
use crate::world::model::Zone;
use std::collections::BTreeMap;

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

    /// Launches nodes one after another until there are enough or no subnet has an address.
    pub(super) fn fill(&mut self, wave: &Wave<'_>, model: &Model) -> Filled {
        let mut all = self.launch(core::slice::from_ref(wave), false, model);
        all.pop().unwrap_or_default()
    }

    /// Launches all the nodes, which then grow side by side.
    pub(super) fn fill_together(&mut self, waves: &[Wave<'_>], model: &Model) -> Vec<Filled> {
        self.launch(waves, true, model)
    }

    fn launch(&mut self, waves: &[Wave<'_>], together: bool, model: &Model) -> Vec<Filled> {
        let facts = self.clone_facts();
        let launchers: Vec<Launcher<'_>> =
            waves.iter().map(|wave| facts.launcher(wave, model)).collect();
        let mut turn = 0;
        let mut below = |n: u32| {
            turn += 1;
            ((u128::from(mix64(key(&[turn]))) * u128::from(n)) >> 64) as u32
        };
        // Where only numbers of addresses matter, their places do not.
        let prefixes = waves.iter().any(|w| w.setup.config.prefix_delegation);
        let mut placement = match model.network.random_placement && prefixes {
            true => Placement::Random(&mut below),
            false => Placement::Sequential,
        };
        let mut ground = Ground { spaces: &mut self.spaces, placement: &mut placement };
        let mut filled = vec![Filled::default(); waves.len()];
        let mut started: Vec<(&Launcher<'_>, Started)> = Vec::new();
        let mut wave_of: Vec<usize> = Vec::new();
        // Nodes of each group in each zone.
        let mut counts: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        for (at, (wave, launcher)) in waves.iter().zip(&launchers).enumerate() {
            let group = wave.kind.group.index();
            while filled[at].launches < wave.nodes.min(MOST_NODES) {
                let count = |zone: usize| counts.get(&(group, zone)).copied().unwrap_or(0);
                let tries = facts.tries(wave, ground.spaces, count);
                let Some((subnet, node)) =
                    first_to_start(&tries, launcher, &mut ground, &mut filled[at])
                else {
                    break;
                };
                *counts.entry((group, facts.zones[subnet].index())).or_default() += 1;
                filled[at].launches += 1;
                if together {
                    started.push((launcher, node));
                    wave_of.push(at);
                } else {
                    filled[at].add(launcher.grow(node, &mut ground), wave);
                }
            }
        }
        for (node, at) in grow_together(started, &mut ground).into_iter().zip(wave_of) {
            filled[at].add(node, &waves[at]);
        }
        filled
    }

    fn clone_facts(&self) -> Facts {
        let Self { places, eni_configs, by_zone, .. } = self;
        Facts {
            zones: places.iter().map(|p| p.zone).collect(),
            spaces: Self {
                spaces: Vec::new(),
                places: places.clone(),
                eni_configs: eni_configs.clone(),
                by_zone: *by_zone,
            },
        }
    }
}

/// The subnets without their addresses.
struct Facts {
    zones: Vec<Id<Zone>>,
    spaces: Spaces,
}

impl Facts {
    fn launcher<'s>(&'s self, wave: &'s Wave<'_>, model: &'s Model) -> Launcher<'s> {
        let Setup { config, limits, max_pods, costs_addresses, .. } = wave.setup;
        let node = Node::new(config, *limits, i64::from(*max_pods));
        if !costs_addresses {
            return Launcher::without_addresses(node, wave.pods);
        }
        let places = &self.spaces.places;
        let tags: Vec<Vec<(&str, &str)>> = places.iter().map(tag_pairs).collect();
        let eni: Vec<Option<usize>> =
            self.zones.iter().map(|zone| self.spaces.eni_config(wave.kind, *zone, model)).collect();
        let order = move |spaces: &[AddressSpace], own: usize| {
            further(config, spaces, &self.zones, &tags, eni[own], own)
        };
        Launcher::new(node, wave.pods, Box::new(order))
    }

    /// Subnets in the order in which a launch tries them: zones with few nodes of the group
    /// first, in a zone the subnet with most free addresses.
    fn tries(
        &self,
        wave: &Wave<'_>,
        spaces: &[AddressSpace],
        count: impl Fn(usize) -> u64,
    ) -> Vec<usize> {
        let mut tries: Vec<usize> = wave.subnets.clone();
        tries.retain(|s| Some(self.zones[*s]) != wave.lost);
        let zone = |s: usize| self.zones[s].index();
        let free = |s: usize| core::cmp::Reverse(spaces[s].free());
        tries.sort_by_key(|s| (count(zone(*s)), zone(*s), free(*s)));
        tries
    }
}

/// The node, in the first subnet that has an address for it; refusals are noted.
fn first_to_start(
    tries: &[usize],
    launcher: &Launcher<'_>,
    ground: &mut Ground<'_, '_>,
    filled: &mut Filled,
) -> Option<(usize, Started)> {
    tries.iter().find_map(|s| {
        let started = launcher.start(*s, ground);
        if started.is_none() {
            filled.refused.get_or_insert((*s, Limit::Addresses));
        }
        started.map(|node| (*s, node))
    })
}

impl Filled {
    fn add(&mut self, node: Launched, wave: &Wave<'_>) {
        self.pods += node.pods;
        self.full += u64::from(node.pods == wave.pods && node.refused.is_none());
        self.refused = self.refused.or(node.refused);
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

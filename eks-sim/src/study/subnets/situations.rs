//! The scenario as it is written: does it fit at the start, at its peak, and under strain?

use super::Situation;
use super::demand::{Demand, GroupDemand, Kind};
use super::ground::{Spaces, Wave, subnets_of};
use super::kinds::{Setup, binding, per_node, user_pods};
use crate::units::Id;
use crate::world::Model;
use crate::world::model::{GroupKind, Zone};

/// Nodes that an update of a managed node group adds for each of its zones (EKS user guide,
/// managed node update behaviour: the larger of twice the zones and maxUnavailable; memory).
const UPDATE_NODES_PER_ZONE: u64 = 2;

/// Which pods there are.
#[derive(Clone, Copy)]
enum Load {
    Start,
    Most,
    Rollout,
}

pub(super) fn all(demand: &Demand, start: &Spaces, model: &Model) -> Vec<Situation> {
    if demand.groups.is_empty() {
        return Vec::new();
    }
    let plain = Strain::default();
    let mut found = vec![
        situation("at the start", Load::Start, plain, demand, start, model).0,
        situation("at the peak", Load::Most, plain, demand, start, model).0,
    ];
    let mut rollout =
        situation("all Deployments roll at the peak", Load::Rollout, plain, demand, start, model).0;
    let cooldown = model.network.cni.ip_cooldown;
    rollout.note = joined(&[
        rollout.note,
        format!("addresses of replaced pods cool for {cooldown} before they serve again"),
    ]);
    found.push(rollout);
    found.extend(group_update(demand, start, model));
    let mut zones: Vec<Id<Zone>> = demand
        .kinds
        .iter()
        .flat_map(|kind| subnets_of(kind, model))
        .map(|s| start.places[s].zone)
        .collect();
    zones.sort_unstable_by_key(|zone| zone.index());
    zones.dedup();
    for zone in zones.iter().filter(|_| zones.len() > 1) {
        let name = format!("{} lost at the peak", model.zones[*zone]);
        let strain = Strain { lost: Some(*zone), ..plain };
        found.push(situation(&name, Load::Most, strain, demand, start, model).0);
    }
    found.extend(upgrade(demand, start, model));
    found
}

/// What is out of the ordinary.
#[derive(Clone, Copy, Default)]
struct Strain<'a> {
    lost: Option<Id<Zone>>,
    /// Nodes without pods that one group has besides.
    extra: Option<(usize, u64)>,
    /// Other settings and subnets of one group.
    changed: Option<(usize, &'a Setup, &'a [usize])>,
}

/// The peak when one group has other settings and subnets.
pub(super) fn peak_with(
    group: usize,
    setup: &Setup,
    subnets: &[usize],
    demand: &Demand,
    start: &Spaces,
    model: &Model,
) -> Situation {
    let strain = Strain { changed: Some((group, setup, subnets)), ..Strain::default() };
    situation("at the peak", Load::Most, strain, demand, start, model).0
}

fn situation(
    name: &str,
    load: Load,
    strain: Strain<'_>,
    demand: &Demand,
    start: &Spaces,
    model: &Model,
) -> (Situation, Spaces) {
    let mut spaces = start.clone();
    let mut s = Situation {
        name: name.to_owned(),
        nodes_wanted: 0,
        nodes: 0,
        pods_wanted: 0,
        pods: 0,
        fits: true,
        first_dry: None,
        free: Vec::new(),
        note: String::new(),
    };
    let mut homeless = 0;
    let setups: Vec<(Setup, Vec<usize>)> = (0..demand.groups.len())
        .map(|index| match strain.changed.filter(|(g, _, _)| *g == index) {
            Some((_, setup, subnets)) => (setup.clone(), subnets.to_vec()),
            None => {
                let kind = &demand.kinds[demand.groups[index].kind];
                (Setup::of(kind, model), subnets_of(kind, model))
            }
        })
        .collect();
    let mut waves = Vec::new();
    for (index, (group, (setup, subnets))) in demand.groups.iter().zip(&setups).enumerate() {
        let kind = &demand.kinds[group.kind];
        let (_, full) = binding(&per_node(kind, Some(setup), model));
        let wanted = match load {
            Load::Start => group.start,
            Load::Most => group.most,
            Load::Rollout => group.most + group.surge,
        };
        let nodes = nodes(group, kind, wanted, full, model);
        let pods = wanted.min(nodes.saturating_mul(full));
        homeless += wanted - pods;
        let extra = strain.extra.filter(|(g, _)| *g == index).map_or(0, |(_, n)| n);
        // Spread evenly: some nodes have one pod more than others.
        let (each, more) = (pods / nodes.max(1), pods % nodes.max(1));
        for (nodes, pods) in [(more, each + 1), (nodes - more, each), (extra, 0)] {
            let (subnets, lost) = (subnets.clone(), strain.lost);
            let pods = pods + kind.daemons.1;
            waves.push(Wave { kind, setup, pods, nodes, subnets, lost });
        }
    }
    for (filled, wave) in spaces.fill_together(&waves, model).into_iter().zip(&waves) {
        let wanted = wave.nodes * (wave.pods - wave.kind.daemons.1);
        s.nodes_wanted += wave.nodes;
        s.nodes += filled.launches;
        s.pods_wanted += wanted;
        s.pods += user_pods(&filled, wave.kind).min(wanted);
        if s.first_dry.is_none() {
            s.first_dry = filled.refused.map(|(at, _)| start.places[at].name.clone());
        }
    }
    s.fits = s.nodes == s.nodes_wanted && s.pods == s.pods_wanted;
    let free = spaces.spaces.iter().zip(&spaces.places);
    s.free = free.map(|(x, p)| (Some(p.zone) != strain.lost).then(|| x.free())).collect();
    let mut notes = Vec::new();
    if homeless > 0 {
        notes.push(format!("{homeless} more pods find no node: the groups cannot grow"));
    }
    if s.fits && s.first_dry.is_some() {
        notes.push("pools stay below their targets: new pods may wait".to_owned());
    }
    s.note = joined(&notes);
    (s, spaces)
}

/// Nodes that a group has when it is to run so many pods.
fn nodes(group: &GroupDemand, kind: &Kind, pods: u64, full: u64, model: &Model) -> u64 {
    debug_assert!(pods <= group.most + group.surge, "the group's own pods are asked for");
    let g = &model.groups[kind.group];
    let needed = pods.div_ceil(full.max(1));
    match g.kind {
        GroupKind::NodePool => needed,
        _ if model.cluster_autoscaler.is_some() => {
            needed.clamp(u64::from(g.desired), u64::from(g.max.max(g.desired)))
        }
        _ => u64::from(g.desired),
    }
}

/// An update of the node group that adds most nodes.
fn group_update(demand: &Demand, start: &Spaces, model: &Model) -> Option<Situation> {
    let zones = |kind: &Kind| {
        let mut zones: Vec<usize> =
            subnets_of(kind, model).iter().map(|s| start.places[*s].zone.index()).collect();
        zones.sort_unstable();
        zones.dedup();
        zones.len() as u64
    };
    let managed = demand.groups.iter().enumerate().filter(|(_, g)| {
        let group = &model.groups[demand.kinds[g.kind].group];
        group.is_managed() && group.desired > 0
    });
    let extra = managed.map(|(i, g)| (i, UPDATE_NODES_PER_ZONE * zones(&demand.kinds[g.kind])));
    // Of equal ones the first.
    let (index, nodes) = extra.min_by_key(|(_, nodes)| core::cmp::Reverse(*nodes))?;
    let group = &model.groups[demand.kinds[demand.groups[index].kind].group].name;
    let name = format!("update of node group {group}");
    let strain = Strain { extra: Some((index, nodes)), ..Strain::default() };
    let mut s = situation(&name, Load::Most, strain, demand, start, model).0;
    s.note = joined(&[s.note, format!("EKS adds up to {nodes} nodes before it drains old ones")]);
    Some(s)
}

/// An upgrade of the control plane at the peak: EKS makes new interfaces before it deletes the
/// old ones, and refuses below its minimum of free addresses.
fn upgrade(demand: &Demand, start: &Spaces, model: &Model) -> Option<Situation> {
    let needed = model.network.rules.cluster_subnet_free;
    let cluster: Vec<usize> = model
        .subnets
        .iter()
        .filter(|(_, s)| s.control_plane_enis > 0)
        .map(|(id, _)| id.index())
        .collect();
    let (mut s, spaces) = situation(
        "control-plane upgrade at the peak",
        Load::Most,
        Strain::default(),
        demand,
        start,
        model,
    );
    let tight = cluster.iter().find(|at| spaces.spaces[**at].free() < needed);
    cluster.first()?;
    s.fits = tight.is_none();
    s.first_dry = tight.map(|at| start.places[*at].name.clone());
    s.note = format!("each cluster subnet needs {needed} free addresses");
    Some(s)
}

fn joined(parts: &[String]) -> String {
    let parts: Vec<&str> = parts.iter().map(String::as_str).filter(|p| !p.is_empty()).collect();
    parts.join("; ")
}

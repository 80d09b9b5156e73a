//! Auto Scaling groups: which type in which zone comes next, which instance goes.
//!
//! Upstream: Amazon EC2 Auto Scaling user guide, "Auto Scaling groups with multiple instance types"
//! (allocation strategies), "default termination policy", "capacity rebalancing", "warm pools"; EKS
//! user guide, managed node groups. Differences: how deep a spot pool is, EC2 alone knows; the
//! strategies that look at capacity take the Spot Advisor's interruption rate for it. Zones are
//! levelled again when one comes back, one instance after the other.

use super::{Event, Wanted, capacity, limits, start_instance, terminate, wake};
use crate::catalog::CapacityType;
use crate::engine::{self, Cx, Stream};
use crate::units::{Id, IdVec, Span};
use crate::world::Change;
use crate::world::cloud::{Instance, InstanceState, LaunchFailure};
use crate::world::model::{
    Allocation, GroupKind, GroupModel, GroupType, ScalingModel, SubnetModel, Zone,
};

/// Brings a group to its desired size.
pub(super) fn reconcile(group: Id<GroupModel>, cx: &mut Cx<'_>) {
    if !cx.model().groups[group].is_managed() {
        return;
    }
    let mut live = capacity_of(group, cx);
    let desired = cx.cloud().groups[group].desired;
    if live > desired {
        return scale_in(group, live - desired, cx);
    }
    while live < desired {
        match launch(group, cx) {
            Ok(instance) => {
                start(instance, cx);
                live = live.saturating_add(weight(instance, cx));
                let state = &mut cx.cloud_mut().groups[group];
                state.failing_since = None;
                state.failure = None;
            }
            Err(why) => {
                refuse(group, why, cx);
                return;
            }
        }
    }
}

/// Units of its group's size that an instance counts for.
pub(super) fn weight(instance: Id<Instance>, cx: &Cx<'_>) -> u32 {
    cx.cloud().instances[instance].group_type(cx.model()).weight
}

/// Units of capacity that the group counts on.
fn capacity_of(group: Id<GroupModel>, cx: &Cx<'_>) -> u32 {
    counted(group, cx).map(|i| weight(i, cx)).fold(0, u32::saturating_add)
}

/// Instances that the group counts on.
fn counted(group: Id<GroupModel>, cx: &Cx<'_>) -> impl Iterator<Item = Id<Instance>> {
    let cloud = cx.cloud();
    cloud.groups[group].instances.iter().copied().filter(|&i| !cloud.instances[i].outgoing)
}

/// The launch takes its time: the group's activity, the call, pending to running.
fn start(instance: Id<Instance>, cx: &mut Cx<'_>) {
    let key = cx.cloud().instances[instance].key;
    let group = cx.cloud().instances[instance].group;
    let settings = &cx.model().settings;
    let step = |i: usize| {
        let draw = engine::draws::key(&[key, i as u64]);
        cx.sample(&settings.launch_steps[i], Stream::InstanceLaunch, draw)
    };
    let (activity, call, boot) = (step(0), step(1), step(2));
    if cx.cloud().groups[group].warm > 0 {
        let draw = engine::draws::key(&[key, 4]);
        let wake_up = cx.sample(&settings.warm_start, Stream::InstanceLaunch, draw);
        let draw = engine::draws::key(&[key, 5]);
        let boots = cx.sample(&cx.model().groups[group].boot, Stream::NodeBoot, draw);
        let running = cx.model().groups[group].scaling.warm.is_some_and(|(_, running)| running);
        let wake_up = if running { Span::ZERO } else { wake_up };
        cx.cloud_mut().groups[group].warm -= 1;
        cx.cloud_mut().instances[instance].warm = true;
        cx.after(activity + wake_up, wake(Event::Running(instance)));
        // The pool is filled up again with a new instance, which boots and is put to rest.
        cx.after(activity + call + boot + boots, wake(Event::WarmReady(group)));
        return;
    }
    let throttled = limits::launch_wait(cx);
    cx.after(activity + throttled + call + boot, wake(Event::Running(instance)));
}

/// Notes the refusal, and tries again later.
pub(super) fn refuse(group: Id<GroupModel>, why: LaunchFailure, cx: &mut Cx<'_>) {
    let now = cx.now();
    let state = &mut cx.cloud_mut().groups[group];
    state.failing_since.get_or_insert(now);
    state.failure = Some(why);
    cx.emit(Change::LaunchRefused(group, why));
    // One retry at a time, however many instances the group lacks.
    let retry = cx.model().settings.launch_retry;
    let state = &mut cx.cloud_mut().groups[group];
    if state.retry <= now {
        state.retry = now + retry;
        cx.after(retry, wake(Event::Reconcile(group)));
    }
}

/// Asks for one instance, in the zone of the group that has the fewest.
pub(super) fn launch(
    group: Id<GroupModel>,
    cx: &mut Cx<'_>,
) -> Result<Id<Instance>, LaunchFailure> {
    let model = cx.model();
    let g = &model.groups[group];
    let serial = cx.cloud().groups[group].launched;
    let key = engine::draws::key(&[engine::draws::key_str(&g.name), u64::from(serial)]);
    let mut why = LaunchFailure::InsufficientInstanceCapacity;
    for subnet in subnets_to_try(group, key, cx) {
        let zone = model.subnets[subnet].zone;
        let mut chosen = None;
        for type_index in types_to_try(group, zone, cx) {
            let t = &g.types[type_index as usize];
            if let Err(quota) = limits::within_quota(t, cx) {
                why = quota;
            } else if capacity::has_capacity(t, zone, cx) {
                chosen = Some(type_index);
                break;
            }
        }
        let Some(type_index) = chosen else { continue };
        let wanted = Wanted { group, serial, key, type_index, subnet, labels: None };
        if let Some(instance) = start_instance(wanted, cx) {
            cx.cloud_mut().groups[group].launched += 1;
            return Ok(instance);
        }
        why = LaunchFailure::InsufficientFreeAddressesInSubnet;
    }
    Err(why)
}

/// Subnets of a group in the order in which a launch tries them: zones with few instances of the
/// group first; of several subnets in a zone one at random, as Auto Scaling picks it.
fn subnets_to_try(group: Id<GroupModel>, key: u64, cx: &Cx<'_>) -> Vec<Id<SubnetModel>> {
    let model = cx.model();
    let counts = by_zone(group, cx);
    let mut subnets: Vec<(u32, Id<Zone>, u64, Id<SubnetModel>)> = model.groups[group]
        .subnets
        .iter()
        .map(|&s| (model.subnets[s].zone, s))
        .filter(|&(zone, _)| !cx.cloud().zone_down[zone])
        .map(|(zone, s)| {
            let turn = cx.draw(Stream::AsgZone, engine::draws::key(&[key, u64::from(s.raw())]));
            (counts[zone], zone, turn.to_bits(), s)
        })
        .collect();
    // Zones of equal count in the order of their first subnet.
    let first = |zone: Id<Zone>| {
        model.groups[group].subnets.iter().position(|&s| model.subnets[s].zone == zone)
    };
    subnets.sort_by_key(|&(count, zone, turn, _)| (count, first(zone), turn));
    subnets.into_iter().map(|(_, _, _, s)| s).collect()
}

/// Types that the next launch may use, best first.
fn types_to_try(group: Id<GroupModel>, zone: Id<Zone>, cx: &Cx<'_>) -> Vec<u32> {
    let g = &cx.model().groups[group];
    let scaling = &g.scaling;
    let spot = is_spot_next(group, cx);
    let mut order: Vec<u32> = (0..g.types.len() as u32)
        .filter(|&i| (g.types[i as usize].capacity == CapacityType::Spot) == spot)
        .collect();
    let rate = |i: u32| unit_price(&g.types[i as usize]);
    let risk = |i: u32| g.types[i as usize].interruption_per_hour.to_bits();
    match if spot { scaling.spot } else { scaling.on_demand } {
        Allocation::Prioritized => {}
        Allocation::LowestPrice => {
            order.sort_by_key(|&i| (rate(i), i));
            if spot {
                let pools = (scaling.spot_pools.max(1) as usize).min(order.len());
                let there = |t: u32| {
                    counted(group, cx)
                        .filter(|&i| cx.cloud().instances[i].type_index == t)
                        .filter(|&i| cx.cloud().instances[i].zone == zone)
                        .count()
                };
                order[..pools].sort_by_key(|&i| (there(i), rate(i), i));
            }
        }
        Allocation::CapacityOptimized => order.sort_by_key(|&i| (risk(i), rate(i), i)),
        Allocation::CapacityOptimizedPrioritized => order.sort_by_key(|&i| (risk(i), i)),
        Allocation::PriceCapacityOptimized => {
            // The better half by capacity, cheapest first; then the rest.
            order.sort_by_key(|&i| (risk(i), rate(i), i));
            let good = order.len().div_ceil(2);
            order[..good].sort_by_key(|&i| (rate(i), risk(i), i));
        }
    }
    order
}

/// The price of a unit of capacity, in billionths of a dollar an hour.
fn unit_price(t: &GroupType) -> i64 {
    t.rate.nanos_per_hour() / i64::from(t.weight.max(1))
}

/// Whether the next instance is bought as spot, by base capacity and share.
fn is_spot_next(group: Id<GroupModel>, cx: &Cx<'_>) -> bool {
    let g = &cx.model().groups[group];
    let is_spot = |i: usize| g.types[i].capacity == CapacityType::Spot;
    let (any_spot, any_other) = ((0..g.types.len()).any(is_spot), !(0..g.types.len()).all(is_spot));
    if !any_spot || !any_other {
        return any_spot;
    }
    let (mut on_demand, mut all) = (0_u32, 1_u32);
    for i in counted(group, cx) {
        let units = weight(i, cx);
        all += units;
        if !is_spot(cx.cloud().instances[i].type_index as usize) {
            on_demand += units;
        }
    }
    let ScalingModel { on_demand_share: (base, percent), .. } = g.scaling;
    let above = u64::from(all.saturating_sub(base)) * u64::from(percent.min(100));
    let wanted = u64::from(base.min(all)) + above.div_ceil(100);
    u64::from(on_demand) >= wanted
}

/// Capacity that the group counts on, by zone.
fn by_zone(group: Id<GroupModel>, cx: &Cx<'_>) -> IdVec<Zone, u32> {
    let mut zones: IdVec<Zone, u32> = cx.model().zones.iter().map(|_| 0).collect();
    for i in counted(group, cx) {
        zones[cx.cloud().instances[i].zone] += weight(i, cx);
    }
    zones
}

/// The default termination policy among instances of at most this weight: the zone with the most
/// capacity, then the oldest version of the launch template, then the instance closest to its next
/// full hour.
fn next_to_go(group: Id<GroupModel>, most: u32, cx: &Cx<'_>) -> Option<Id<Instance>> {
    let zones = by_zone(group, cx);
    let hour = Span::from_secs(3600).nanos();
    counted(group, cx).filter(|&i| weight(i, cx) <= most).max_by_key(|&i| {
        let row = &cx.cloud().instances[i];
        // One that does not run yet goes first.
        let pending = row.state == InstanceState::Pending;
        let into_hour = cx.now().since(row.running).nanos() % hour;
        let version = core::cmp::Reverse(row.version);
        (pending, zones[row.zone], version, into_hour, core::cmp::Reverse(i))
    })
}

/// Gives back at most so much capacity: the group never falls below its desired size.
fn scale_in(group: Id<GroupModel>, mut excess: u32, cx: &mut Cx<'_>) {
    while excess > 0 {
        let Some(victim) = next_to_go(group, excess, cx) else { return };
        excess -= weight(victim, cx);
        remove(victim, "scaled in", cx);
    }
}

/// Levels the zones: an instance of the fullest zone goes once one in the emptiest has come.
pub(super) fn level(group: Id<GroupModel>, cx: &mut Cx<'_>) {
    let model = cx.model();
    let g = &model.groups[group];
    if !g.is_managed() {
        return;
    }
    let counts = by_zone(group, cx);
    let usable = g.subnets.iter().map(|&s| model.subnets[s].zone);
    let usable: Vec<u32> =
        usable.filter(|&z| !cx.cloud().zone_down[z]).map(|z| counts[z]).collect();
    let (Some(&least), Some(&most)) = (usable.iter().min(), usable.iter().max()) else { return };
    let cloud = cx.cloud();
    let busy = cloud.groups[group].instances.iter().any(|&i| cloud.instances[i].outgoing);
    // With weights no zones are level that an instance of the largest type would not level.
    let step = g.types.iter().map(|t| t.weight).max().unwrap_or(1);
    if most <= least.saturating_add(step) {
        return;
    }
    if !busy && let Some(victim) = next_to_go(group, u32::MAX, cx) {
        let row = &mut cx.cloud_mut().instances[victim];
        row.outgoing = true;
        row.end_reason = "its zone had too many of the group";
        cx.emit(Change::ZoneRebalance(victim));
        reconcile(group, cx);
    }
    cx.after(model.settings.zone_rebalance, wake(Event::Level(group)));
}

/// Takes an instance off its group: at once, or after the node has been drained.
pub(super) fn remove(instance: Id<Instance>, reason: &'static str, cx: &mut Cx<'_>) {
    let row = &mut cx.cloud_mut().instances[instance];
    row.end_reason = reason;
    row.outgoing = true;
    let (group, drainable) = (row.group, row.node.is_some() && row.alive);
    if drainable && cx.model().groups[group].kind == GroupKind::Managed {
        cx.emit(Change::ScaleInChosen(instance));
    } else {
        terminate(instance, reason, cx);
    }
}

/// An update adds nodes to desired and largest size, or gives them back.
pub(super) fn surge(group: Id<GroupModel>, extra: u32, cx: &mut Cx<'_>) {
    let state = &mut cx.cloud_mut().groups[group];
    let before = core::mem::replace(&mut state.surge, extra);
    state.desired = (state.desired + extra).saturating_sub(before);
    cx.emit(Change::GroupResized(group));
}

/// A drained instance ends. One that its group still counts on is replaced.
pub(super) fn drained(instance: Id<Instance>, cx: &mut Cx<'_>) {
    let row = &cx.cloud().instances[instance];
    let reason = match (row.outgoing, row.end_reason) {
        (true, "") => "replaced before it is reclaimed",
        (true, reason) => reason,
        (false, _) => "replaced by an update of its group",
    };
    terminate(instance, reason, cx);
}

//! CreateFleet calls of type `instant` for one instance.
//!
//! A call carries overrides (type and subnet). EC2 tries the cheapest pool first: on-demand by
//! the lowest price; spot by price and capacity, which without capacity data is the price too.
//! Pools of equal price are tried in an order that is drawn per call. Each pool that has nothing
//! is named in the answer.

use super::{Event, Wanted, start_instance, wake};
use crate::engine::{self, Cx, Stream};
use crate::units::Id;
use crate::world::Change;
use crate::world::cloud::{Fleet, FleetAnswer, LaunchFailure};

/// The API call takes a moment.
pub(super) fn called(fleet: Id<Fleet>, cx: &mut Cx<'_>) {
    let key = engine::draws::key(&[cx.cloud().fleets[fleet].key, 1]);
    let call = cx.sample(&cx.model().settings.launch_steps[1], Stream::InstanceLaunch, key);
    cx.after(call, wake(Event::FleetDue(fleet)));
}

/// Looks for capacity and answers.
pub(super) fn due(fleet: Id<Fleet>, cx: &mut Cx<'_>) {
    let mut answer = FleetAnswer::default();
    for position in by_price(fleet, cx) {
        match attempt(fleet, position, cx) {
            Ok(instance) => {
                answer.instance = Some(instance);
                break;
            }
            Err(why) => answer.refused.push((position, why)),
        }
    }
    if let Some(instance) = answer.instance {
        let key = engine::draws::key(&[cx.cloud().instances[instance].key, 2]);
        let boot = cx.sample(&cx.model().settings.launch_steps[2], Stream::InstanceLaunch, key);
        let throttled = super::limits::launch_wait(cx);
        cx.after(throttled + boot, wake(Event::Running(instance)));
    } else {
        let why = answer
            .refused
            .first()
            .map_or(LaunchFailure::InsufficientInstanceCapacity, |(_, why)| *why);
        cx.emit(Change::LaunchRefused(cx.cloud().fleets[fleet].group, why));
    }
    cx.cloud_mut().fleets[fleet].answer = Some(answer);
    cx.emit(Change::FleetAnswered(fleet));
}

/// Overrides, cheapest first, ties by a draw of this call.
fn by_price(fleet: Id<Fleet>, cx: &Cx<'_>) -> Vec<u32> {
    let row = &cx.cloud().fleets[fleet];
    let group = &cx.model().groups[row.group];
    let mut order: Vec<(crate::units::MoneyRate, u64, u32)> = (0_u32..)
        .zip(&row.overrides)
        .map(|(position, &(type_index, subnet))| {
            let key = [row.key, u64::from(type_index), u64::from(subnet.raw())];
            let turn = cx.draw(Stream::FleetChoice, engine::draws::key(&key));
            (group.types[type_index as usize].rate, turn.to_bits(), position)
        })
        .collect();
    order.sort_unstable();
    order.into_iter().map(|(_, _, position)| position).collect()
}

fn attempt(
    fleet: Id<Fleet>,
    position: u32,
    cx: &mut Cx<'_>,
) -> Result<Id<crate::world::cloud::Instance>, LaunchFailure> {
    let row = &cx.cloud().fleets[fleet];
    let (type_index, subnet) = row.overrides[position as usize];
    if cx.cloud().zone_down[cx.model().subnets[subnet].zone] {
        return Err(LaunchFailure::InsufficientInstanceCapacity);
    }
    let t = &cx.model().groups[row.group].types[type_index as usize];
    let zone = cx.model().subnets[subnet].zone;
    super::limits::within_quota(t, cx)?;
    if !super::capacity::has_capacity(t, zone, cx) {
        return Err(LaunchFailure::InsufficientInstanceCapacity);
    }
    let row = &cx.cloud().fleets[fleet];
    let (group, serial, key, labels) = (row.group, row.serial, row.key, row.labels.clone());
    let wanted = Wanted { group, serial, key, type_index, subnet, labels };
    start_instance(wanted, cx).ok_or(LaunchFailure::InsufficientFreeAddressesInSubnet)
}

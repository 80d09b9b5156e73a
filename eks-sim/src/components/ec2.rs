//! EC2: Auto Scaling groups of managed node groups, and CreateFleet calls.
//!
//! Desired size above the instances there are → launch into the zone with the fewest → API call,
//! pending → running, boot, kubelet registers. A machine that crashes is found unhealthy after a
//! while, terminated and replaced.

mod capacity;
mod fleet;

use crate::engine::{self, Cx, Stream};
use crate::k8s::StringMap;
use crate::policy::vpc_cni::{Holding, Placement};
use crate::units::{Id, IdVec, SimTime, Span};
use crate::world::cloud::{Fleet, Group, Instance, InstanceState, LaunchFailure, Subnet};
use crate::world::model::{GroupKind, GroupModel, SubnetModel, Zone};
use crate::world::{Change, Client, Request};
use std::sync::Arc;

/// What can happen to EC2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Compare a group's desired size with its instances.
    Reconcile(Id<GroupModel>),
    /// Somebody sets a group's desired size.
    SetDesired(Id<GroupModel>, u32),
    /// Somebody terminates an instance and shrinks its group by one.
    Terminate(Id<Instance>),
    /// Somebody calls CreateFleet.
    CreateFleet(Id<Fleet>),
    /// EC2 looks for capacity for a CreateFleet call.
    FleetDue(Id<Fleet>),
    /// An instance runs.
    Running(Id<Instance>),
    /// Its kubelet registers.
    Register(Id<Instance>),
    /// Its machine crashed.
    Crashed(Id<Instance>),
    /// Status checks have failed for long enough.
    Unhealthy(Id<Instance>),
    /// A zone went down or came back.
    ZoneChanged(Id<Zone>, bool),
    /// A stock-out of the scenario begins or ends: number of the fault.
    Stockout(u32, bool),
    /// A spot instance gets its two-minute notice.
    SpotNotice(Id<Instance>),
    /// The notice is over.
    SpotReclaim(Id<Instance>),
    /// An instance that was told to end is gone.
    Gone(Id<Instance>),
}

/// EC2. Its state is in [`crate::world::Cloud`].
#[derive(Clone, Debug, Default)]
pub struct Ec2 {}

fn wake(event: Event) -> engine::Event {
    engine::Event::Ec2(event)
}

impl Ec2 {
    /// Subnets with what holds addresses besides the cluster, and the control plane's interfaces.
    pub fn start_subnets(&mut self, cx: &mut Cx<'_>) {
        let model = cx.model();
        let mut subnets = IdVec::new();
        for (_, s) in model.subnets.iter() {
            let mut below = cx.scatter(engine::draws::key_str(&s.name));
            let space = s.space_with(&mut below);
            subnets.push(Subnet { space, assigned: 0, refusals: 0 });
        }
        cx.cloud_mut().subnets = subnets;
    }

    /// Groups and the instances that run at the start.
    pub fn start(&mut self, cx: &mut Cx<'_>) {
        let model = cx.model();
        let cloud = cx.cloud_mut();
        cloud.zone_down = model.zones.iter().map(|_| false).collect();
        cloud.groups = model
            .groups
            .iter()
            .map(|(_, g)| Group { desired: g.desired, ..Group::default() })
            .collect();
        for (group, g) in model.groups.iter().filter(|(_, g)| g.is_managed()) {
            for _ in 0..g.desired {
                match launch(group, cx) {
                    Ok(instance) => {
                        cx.cloud_mut().instances[instance].state = InstanceState::Running;
                        cx.cloud_mut().instances[instance].running = SimTime::ZERO;
                        cx.emit(Change::InstanceRunning(instance));
                        spot_clock(instance, cx);
                    }
                    Err(why) => refuse(group, why, cx),
                }
            }
        }
    }

    /// Nodes of a trace are machines that run for ever, outside the cluster's subnets.
    pub fn start_trace_nodes(&mut self, cx: &mut Cx<'_>) {
        let model = cx.model();
        let Some(trace) = model.trace.as_ref() else { return };
        let Some((group, g)) = model.groups.iter().find(|(_, g)| g.kind == GroupKind::Trace) else {
            return;
        };
        let Some(&subnet) = g.subnets.first() else { return };
        for (serial, node) in trace.nodes.iter().enumerate() {
            let key = engine::draws::key(&[engine::draws::key_str(&g.name), serial as u64]);
            let instance = cx.cloud_mut().instances.push(Instance {
                group,
                serial: serial as u32,
                key,
                type_index: node.type_index,
                subnet,
                zone: model.subnets[subnet].zone,
                state: InstanceState::Running,
                alive: true,
                requested: SimTime::ZERO,
                running: SimTime::ZERO,
                terminated: SimTime::NEVER,
                gone: SimTime::NEVER,
                end_reason: "",
                crashed: SimTime::NEVER,
                address: 0,
                node: None,
                labels: None,
            });
            cx.cloud_mut().groups[group].instances.push(instance);
            cx.emit(Change::InstanceRunning(instance));
        }
    }

    /// Handles one event.
    pub fn handle(&mut self, event: Event, cx: &mut Cx<'_>) {
        match event {
            Event::Reconcile(g) => reconcile(g, cx),
            Event::SetDesired(g, size) => {
                let model = &cx.model().groups[g];
                let size = size.clamp(model.min.min(model.max), model.max);
                if cx.cloud().groups[g].desired != size {
                    cx.cloud_mut().groups[g].desired = size;
                    cx.emit(Change::GroupResized(g));
                }
            }
            Event::Terminate(i) => {
                let group = cx.cloud().instances[i].group;
                if cx.cloud().instances[i].state != InstanceState::Terminated {
                    let desired = &mut cx.cloud_mut().groups[group].desired;
                    *desired = desired.saturating_sub(1);
                    let given = cx.cloud().instances[i].end_reason;
                    terminate(i, if given.is_empty() { "scaled down" } else { given }, cx);
                }
            }
            Event::CreateFleet(f) => fleet::called(f, cx),
            Event::FleetDue(f) => fleet::due(f, cx),
            Event::Running(i) => running(i, cx),
            Event::Register(i) => {
                let row = &cx.cloud().instances[i];
                if row.alive && row.node.is_none() && row.state == InstanceState::Running {
                    cx.submit(Client::Kubelet, Request::RegisterNode { instance: i });
                }
            }
            Event::Crashed(i) => {
                // Only an Auto Scaling group looks after the health of its instances.
                if cx.model().groups[cx.cloud().instances[i].group].is_managed() {
                    let wait = cx.model().settings.instance_replace_delay;
                    cx.after(wait, wake(Event::Unhealthy(i)));
                }
            }
            Event::Unhealthy(i) => {
                if !cx.cloud().instances[i].alive {
                    terminate(i, "failed its status checks", cx);
                }
            }
            Event::ZoneChanged(zone, down) => zone_changed(zone, down, cx),
            Event::Stockout(fault, on) => {
                let stockouts = &mut cx.cloud_mut().stockouts;
                stockouts.retain(|&f| f != fault);
                if on {
                    stockouts.push(fault);
                }
            }
            Event::SpotNotice(i) => {
                if cx.cloud().instances[i].state == InstanceState::Running {
                    let notice = cx.model().settings.spot_notice;
                    cx.emit(Change::SpotNotice(i));
                    cx.after(notice, wake(Event::SpotReclaim(i)));
                }
            }
            Event::Gone(i) => gone(i, cx),
            Event::SpotReclaim(i) => {
                if cx.cloud().instances[i].state == InstanceState::Running {
                    cx.cloud_mut().instances[i].alive = false;
                    cx.cloud_mut().deaths += 1;
                    terminate(i, "spot capacity was reclaimed", cx);
                }
            }
        }
    }
}

fn reconcile(group: Id<GroupModel>, cx: &mut Cx<'_>) {
    if !cx.model().groups[group].is_managed() {
        return;
    }
    loop {
        let state = &cx.cloud().groups[group];
        if state.instances.len() as u32 >= state.desired {
            return;
        }
        match launch(group, cx) {
            Ok(instance) => {
                let key = cx.cloud().instances[instance].key;
                let steps = &cx.model().settings.launch_steps;
                let call = (0_u64..).zip(steps).fold(Span::ZERO, |sum, (i, step)| {
                    sum + cx.sample(step, Stream::InstanceLaunch, engine::draws::key(&[key, i]))
                });
                cx.after(call, wake(Event::Running(instance)));
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

/// Notes the refusal, and tries again later.
fn refuse(group: Id<GroupModel>, why: LaunchFailure, cx: &mut Cx<'_>) {
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
fn launch(group: Id<GroupModel>, cx: &mut Cx<'_>) -> Result<Id<Instance>, LaunchFailure> {
    let model = cx.model();
    let g = &model.groups[group];
    let serial = cx.cloud().groups[group].launched;
    let key = engine::draws::key(&[engine::draws::key_str(&g.name), u64::from(serial)]);
    let subnets = subnets_to_try(group, key, cx);
    if subnets.is_empty() {
        return Err(LaunchFailure::InsufficientInstanceCapacity);
    }
    let mut why = LaunchFailure::InsufficientInstanceCapacity;
    for subnet in subnets {
        let zone = model.subnets[subnet].zone;
        // In each zone the group's types are tried in their order.
        let Some(type_index) =
            (0..g.types.len()).find(|&i| capacity::has_capacity(&g.types[i], zone, cx))
        else {
            continue;
        };
        let type_index = type_index as u32;
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
    let mut counts: IdVec<Zone, u32> = model.zones.iter().map(|_| 0).collect();
    for &i in &cx.cloud().groups[group].instances {
        counts[cx.cloud().instances[i].zone] += 1;
    }
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

/// What is to be started.
struct Wanted {
    group: Id<GroupModel>,
    serial: u32,
    key: u64,
    type_index: u32,
    subnet: Id<SubnetModel>,
    labels: Option<Arc<StringMap>>,
}

/// A pending instance, if the subnet has an address for it.
fn start_instance(wanted: Wanted, cx: &mut Cx<'_>) -> Option<Id<Instance>> {
    let Wanted { group, serial, key, type_index, subnet, labels } = wanted;
    let mut taken = Vec::new();
    let mut below = cx.scatter(key);
    let mut at = match cx.model().network.random_placement {
        true => Placement::Random(&mut below),
        false => Placement::Sequential,
    };
    let space = &mut cx.cloud_mut().subnets[subnet].space;
    let asked = space.take(Holding::NodePrimary, 1, &mut at, &mut taken);
    let (Ok(()), Some(&address)) = (asked, taken.first()) else {
        cx.cloud_mut().subnets[subnet].refusals += 1;
        cx.emit(Change::SubnetExhausted(subnet));
        return None;
    };
    let (now, zone) = (cx.now(), cx.model().subnets[subnet].zone);
    let instance = cx.cloud_mut().instances.push(Instance {
        group,
        serial,
        key,
        type_index,
        subnet,
        zone,
        state: InstanceState::Pending,
        alive: true,
        requested: now,
        running: SimTime::NEVER,
        terminated: SimTime::NEVER,
        gone: SimTime::NEVER,
        end_reason: "",
        crashed: SimTime::NEVER,
        address: address.into(),
        node: None,
        labels,
    });
    cx.cloud_mut().groups[group].instances.push(instance);
    cx.emit(Change::InstanceRequested(instance));
    cx.emit(Change::SubnetChanged(subnet));
    Some(instance)
}

fn running(instance: Id<Instance>, cx: &mut Cx<'_>) {
    let now = cx.now();
    let row = &mut cx.cloud_mut().instances[instance];
    if row.state != InstanceState::Pending {
        return;
    }
    row.state = InstanceState::Running;
    row.running = now;
    let (group, key, alive) = (row.group, row.key, row.alive);
    cx.emit(Change::InstanceRunning(instance));
    if !alive {
        return;
    }
    let boot = cx.sample(&cx.model().groups[group].boot, Stream::NodeBoot, key);
    cx.after(boot, wake(Event::Register(instance)));
    spot_clock(instance, cx);
}

/// Draws when a spot instance will be reclaimed, if that is within the run.
fn spot_clock(instance: Id<Instance>, cx: &mut Cx<'_>) {
    let row = &cx.cloud().instances[instance];
    let hazard = row.group_type(cx.model()).interruption_per_hour;
    if !cx.model().settings.spot_interruptions || hazard <= 0.0 {
        return;
    }
    let u = cx.draw(Stream::SpotInterruption, row.key);
    let hours = -crate::units::math::ln(u) / hazard;
    cx.after(Span::from_secs_f64(hours * 3600.0), wake(Event::SpotNotice(instance)));
}

fn terminate(instance: Id<Instance>, reason: &'static str, cx: &mut Cx<'_>) {
    let now = cx.now();
    let row = &mut cx.cloud_mut().instances[instance];
    if row.state == InstanceState::Terminated {
        return;
    }
    row.state = InstanceState::Terminated;
    row.terminated = now;
    row.end_reason = reason;
    row.alive = false;
    let (group, key) = (row.group, row.key);
    cx.cloud_mut().deaths += 1;
    cx.cloud_mut().groups[group].instances.retain(|&i| i != instance);
    cx.emit(Change::InstanceTerminated(instance));
    let draw = engine::draws::key(&[key, 3]);
    let end = cx.sample(&cx.model().settings.instance_end, Stream::InstanceLaunch, draw);
    cx.after(end, wake(Event::Gone(instance)));
}

/// Shutting down has ended: the addresses are free again.
fn gone(instance: Id<Instance>, cx: &mut Cx<'_>) {
    let now = cx.now();
    let row = &mut cx.cloud_mut().instances[instance];
    row.gone = now;
    let (subnet, address) = (row.subnet, row.address);
    cx.cloud_mut().subnets[subnet].space.release(address.into());
    cx.emit(Change::SubnetChanged(subnet));
    cx.emit(Change::InstanceGone(instance));
}

fn zone_changed(zone: Id<Zone>, down: bool, cx: &mut Cx<'_>) {
    cx.cloud_mut().zone_down[zone] = down;
    if !down {
        return;
    }
    let now = cx.now();
    let lost: Vec<Id<Instance>> = cx
        .cloud()
        .instances
        .iter()
        .filter(|(_, i)| i.zone == zone && i.alive && i.state != InstanceState::Terminated)
        .map(|(id, _)| id)
        .collect();
    for id in lost {
        let row = &mut cx.cloud_mut().instances[id];
        row.alive = false;
        row.crashed = now;
        cx.cloud_mut().deaths += 1;
        cx.emit(Change::InstanceCrashed(id));
    }
}

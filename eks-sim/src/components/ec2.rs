//! EC2: Auto Scaling groups of managed node groups, and CreateFleet calls.
//!
//! Desired size above the instances there are → launch into the zone with the fewest → API call,
//! pending → running, boot, kubelet registers. A machine that crashes is found unhealthy after a
//! while, terminated and replaced. Desired size below → the group's termination policy chooses; a
//! managed group's node is drained first.

mod asg;
mod capacity;
mod fleet;
mod limits;
mod spot;

use crate::engine::{self, Cx, Stream};
use crate::k8s::StringMap;
use crate::policy::vpc_cni::{Holding, Placement};
use crate::units::{Id, IdVec, SimTime};
use crate::world::cloud::{Fleet, Group, Instance, InstanceState, Subnet};
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
    /// EC2 expects to reclaim a spot instance.
    Rebalance(Id<Instance>),
    /// A burst of reclaims of the spot pool with this number.
    SpotBurst(u32),
    /// A fault of the scenario with this number reclaims spot instances.
    ReclaimByFault(u32),
    /// A scheduled retirement is due.
    Retired(Id<Instance>),
    /// A managed node group gets a new launch template version.
    NewVersion(Id<GroupModel>),
    /// An update wants so many nodes beyond the desired size.
    Surge(Id<GroupModel>, u32),
    /// A node is drained: its instance can go, and stay gone only if its group expects it.
    Drained(Id<Instance>),
    /// Look whether a group's instances are spread evenly over its zones.
    Level(Id<GroupModel>),
    /// An instance of the warm pool is ready.
    WarmReady(Id<GroupModel>),
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
            .map(|(_, g)| Group {
                desired: g.desired,
                warm: g.scaling.warm.map_or(0, |(size, _)| size),
                ..Group::default()
            })
            .collect();
        for (group, g) in model.groups.iter().filter(|(_, g)| g.is_managed()) {
            let mut live = 0_u32;
            for _ in 0..g.desired {
                if live >= g.desired {
                    break;
                }
                match asg::launch(group, cx) {
                    Ok(instance) => {
                        live = live.saturating_add(asg::weight(instance, cx));
                        cx.cloud_mut().instances[instance].state = InstanceState::Running;
                        cx.cloud_mut().instances[instance].running = SimTime::ZERO;
                        cx.emit(Change::InstanceRunning(instance));
                        spot::clock(instance, cx);
                    }
                    Err(why) => asg::refuse(group, why, cx),
                }
            }
        }
    }

    /// Hybrid nodes are machines that run for ever, outside the cluster's subnets.
    pub fn start_hybrid_nodes(&mut self, cx: &mut Cx<'_>) {
        let model = cx.model();
        for (group, g) in model.groups.iter().filter(|(_, g)| g.kind == GroupKind::Hybrid) {
            for serial in 0..g.desired {
                foreign_machine(group, serial, 0, cx);
            }
        }
    }

    /// Nodes of a trace are machines that run for ever, outside the cluster's subnets.
    pub fn start_trace_nodes(&mut self, cx: &mut Cx<'_>) {
        let model = cx.model();
        let Some(trace) = model.trace.as_ref() else { return };
        let Some((group, _)) = model.groups.iter().find(|(_, g)| g.kind == GroupKind::Trace) else {
            return;
        };
        for (serial, node) in trace.nodes.iter().enumerate() {
            foreign_machine(group, serial as u32, node.type_index, cx);
        }
    }

    /// Handles one event.
    pub fn handle(&mut self, event: Event, cx: &mut Cx<'_>) {
        match event {
            Event::Reconcile(g) => asg::reconcile(g, cx),
            Event::SetDesired(g, size) => {
                let model = &cx.model().groups[g];
                let most = model.max.saturating_add(cx.cloud().groups[g].surge);
                let size = size.clamp(model.min.min(most), most);
                if cx.cloud().groups[g].desired != size {
                    cx.cloud_mut().groups[g].desired = size;
                    cx.emit(Change::GroupResized(g));
                }
            }
            Event::Terminate(i) => {
                let group = cx.cloud().instances[i].group;
                if cx.cloud().instances[i].state != InstanceState::Terminated {
                    // One that its group has written off is no part of the desired size.
                    let counted =
                        if cx.cloud().instances[i].outgoing { 0 } else { asg::weight(i, cx) };
                    let desired = &mut cx.cloud_mut().groups[group].desired;
                    *desired = desired.saturating_sub(counted);
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
            Event::SpotNotice(i) => spot::notice(i, cx),
            Event::Gone(i) => gone(i, cx),
            Event::SpotReclaim(i) => {
                if cx.cloud().instances[i].state == InstanceState::Running {
                    cx.cloud_mut().instances[i].alive = false;
                    cx.cloud_mut().deaths += 1;
                    terminate(i, "spot capacity was reclaimed", cx);
                }
            }
            Event::Rebalance(i) => spot::rebalance(i, cx),
            Event::SpotBurst(pool) => spot::burst(pool, cx),
            Event::ReclaimByFault(fault) => spot::reclaim_by_fault(fault, cx),
            Event::Retired(i) => {
                if cx.cloud().instances[i].state == InstanceState::Running {
                    terminate(i, "its host was retired", cx);
                }
            }
            Event::NewVersion(g) => cx.cloud_mut().groups[g].version += 1,
            Event::Surge(g, extra) => asg::surge(g, extra, cx),
            Event::Drained(i) => asg::drained(i, cx),
            Event::Level(g) => asg::level(g, cx),
            Event::WarmReady(g) => cx.cloud_mut().groups[g].warm += 1,
        }
    }
}

/// A machine that AWS does not own: it runs from the start and has no address of a subnet.
fn foreign_machine(group: Id<GroupModel>, serial: u32, type_index: u32, cx: &mut Cx<'_>) {
    let model = cx.model();
    let g = &model.groups[group];
    let Some(&subnet) = g.subnets.first() else { return };
    let key = engine::draws::key(&[engine::draws::key_str(&g.name), u64::from(serial)]);
    let instance = cx.cloud_mut().instances.push(Instance {
        group,
        serial,
        key,
        type_index,
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
        version: 0,
        outgoing: false,
        noticed: false,
        warm: false,
        node: None,
        labels: None,
    });
    cx.cloud_mut().groups[group].instances.push(instance);
    cx.emit(Change::InstanceRunning(instance));
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
    let version = cx.cloud().groups[group].version;
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
        version,
        outgoing: false,
        noticed: false,
        warm: false,
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
    let (group, key, alive, warm) = (row.group, row.key, row.alive, row.warm);
    cx.emit(Change::InstanceRunning(instance));
    if !alive {
        return;
    }
    spot::clock(instance, cx);
    let (model, settings) = (cx.model(), &cx.model().settings);
    if cx.draw(Stream::NodeBoot, engine::draws::key(&[key, 9])) < settings.boot_failure {
        return;
    }
    let dist = if warm { &settings.warm_boot } else { &model.groups[group].boot };
    let mut boot = cx.sample(dist, Stream::NodeBoot, key);
    if !warm && cx.cloud().instances[instance].group_type(model).instance_type.gpu_count() > 0 {
        let draw = engine::draws::key(&[key, 10]);
        boot += cx.sample(&settings.gpu_boot, Stream::NodeBoot, draw);
    }
    cx.after(boot, wake(Event::Register(instance)));
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
        for group in cx.model().groups.ids() {
            let wait = cx.model().settings.zone_rebalance;
            cx.after(wait, wake(Event::Level(group)));
        }
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

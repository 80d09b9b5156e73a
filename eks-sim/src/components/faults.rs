//! Faults of the scenario: at set times, or at random with keyed draws.

use crate::engine::{self, Cx, Stream};
use crate::units::math;
use crate::units::{Id, SimTime, Span};
use crate::world::Change;
use crate::world::cloud::{Instance, InstanceState};
use crate::world::model::{FaultKind, RandomFault, Zone};
use std::collections::BTreeMap;

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The fault with this number in the scenario begins.
    Begin(u32),
    /// A random fault strikes: number in the scenario, entity, how many struck it before.
    Strike(u32, u16, u32),
    /// A zone's outage may end.
    ZoneBack(Id<Zone>),
    /// A node of the random failure process fails.
    NodeFails(Id<Instance>),
    /// The host of an instance is retired.
    Retires(Id<Instance>),
    /// A stock-out of the scenario is over.
    StockoutEnds(u32),
    /// Machines that run now get their random failure times.
    Watch(u32),
}

/// Faults of the scenario.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Instances that already have a failure time, by the fault's number.
    watched: BTreeMap<u32, usize>,
    /// When the last of a zone's outages ends; they may overlap.
    down_until: BTreeMap<Id<Zone>, SimTime>,
}

fn wake(event: Event) -> engine::Event {
    engine::Event::Faults(event)
}

impl Faults {
    /// Puts the faults on the agenda.
    pub fn start(&mut self, cx: &mut Cx<'_>) {
        let model = cx.model();
        for (i, fault) in model.faults.iter().enumerate() {
            let number = i as u32;
            match (&fault.kind, fault.at) {
                (FaultKind::Random { what, .. }, _) => self.start_random(number, *what, cx),
                (_, Some(at)) => cx.at(at, wake(Event::Begin(number))),
                (_, None) => {}
            }
        }
    }

    fn start_random(&mut self, number: u32, what: RandomFault, cx: &mut Cx<'_>) {
        let entities = match what {
            RandomFault::Zone => cx.model().zones.len(),
            RandomFault::Etcd => cx.cloud().etcd.len(),
            RandomFault::ApiServer => cx.cloud().api_servers.len(),
            RandomFault::Node | RandomFault::Retirement => {
                cx.after(Span::ZERO, wake(Event::Watch(number)));
                0
            }
            // EC2 itself draws when a spot instance is reclaimed or a pool is empty.
            RandomFault::Spot | RandomFault::Stockout => 0,
        };
        for entity in 0..entities as u16 {
            next_strike(number, entity, 0, cx);
        }
    }

    /// Handles one event.
    pub fn handle(&mut self, event: Event, cx: &mut Cx<'_>) {
        match event {
            Event::Begin(number) => self.begin(number, cx),
            Event::Strike(number, entity, before) => self.strike(number, entity, before, cx),
            Event::ZoneBack(zone) => {
                if self.down_until.get(&zone) == Some(&cx.now()) {
                    self.down_until.remove(&zone);
                    cx.emit(Change::ZoneChanged(zone, false));
                }
            }
            Event::StockoutEnds(number) => cx.emit(Change::StockoutChanged(number, false)),
            Event::NodeFails(instance) => crash(instance, cx),
            Event::Retires(instance) => cx.emit(Change::RetirementDue(instance)),
            Event::Watch(number) => self.watch(number, cx),
        }
    }

    fn begin(&mut self, number: u32, cx: &mut Cx<'_>) {
        cx.emit(Change::FaultBegan(number));
        match &cx.model().faults[number as usize].kind {
            FaultKind::ZoneOutage { zone, duration } => {
                let named = zone.as_deref().and_then(|name| {
                    cx.model().zones.iter().find(|(_, n)| n.as_str() == name).map(|(id, _)| id)
                });
                let span = cx.sample(duration, Stream::ZoneOutage, u64::from(number));
                if let Some(zone) = named {
                    self.zone_down(zone, span, cx);
                }
            }
            FaultKind::NodeCrash { count, group, zone } => {
                for turn in 0..*count {
                    let candidates: Vec<Id<Instance>> = cx
                        .cloud()
                        .instances
                        .iter()
                        .filter(|(_, i)| i.alive && i.state == InstanceState::Running)
                        .filter(|(_, i)| group.is_none_or(|g| g == i.group))
                        .filter(|(_, i)| zone.is_none_or(|z| z == i.zone))
                        .map(|(id, _)| id)
                        .collect();
                    let key = engine::draws::key(&[u64::from(number), u64::from(turn)]);
                    let at = cx.pick(Stream::NodeFailure, key, candidates.len() as u32);
                    if let Some(&instance) = candidates.get(at as usize) {
                        crash(instance, cx);
                    }
                }
            }
            FaultKind::EtcdLoss { count, duration } => members_down(true, *count, *duration, cx),
            FaultKind::ApiServerLoss { count, duration } => {
                members_down(false, *count, *duration, cx);
            }
            FaultKind::Stockout { duration, .. } => {
                cx.emit(Change::StockoutChanged(number, true));
                if let Some(duration) = *duration {
                    cx.after(duration, wake(Event::StockoutEnds(number)));
                }
            }
            FaultKind::SpotReclaim { .. } => cx.emit(Change::SpotReclaimWanted(number)),
            FaultKind::Random { .. } => {}
        }
    }

    fn strike(&mut self, number: u32, entity: u16, before: u32, cx: &mut Cx<'_>) {
        cx.emit(Change::FaultBegan(number));
        let FaultKind::Random { what, duration, .. } = &cx.model().faults[number as usize].kind
        else {
            return;
        };
        match what {
            RandomFault::Zone => {
                let dist = duration.as_ref().unwrap_or(&cx.model().settings.zone_outage);
                let key = engine::draws::key(&[
                    u64::from(number),
                    u64::from(entity),
                    u64::from(before),
                    1,
                ]);
                let span = cx.sample(dist, Stream::ZoneOutage, key);
                self.zone_down(Id::new(u32::from(entity)), span, cx);
            }
            RandomFault::Etcd => member_down(true, u32::from(entity), cx),
            RandomFault::ApiServer => member_down(false, u32::from(entity), cx),
            RandomFault::Node
            | RandomFault::Retirement
            | RandomFault::Spot
            | RandomFault::Stockout => {}
        }
        next_strike(number, entity, before.saturating_add(1), cx);
    }

    fn zone_down(&mut self, zone: Id<Zone>, span: Span, cx: &mut Cx<'_>) {
        let end = cx.now() + span;
        let before = self.down_until.get(&zone).copied();
        let until = before.map_or(end, |b| b.max(end));
        if before != Some(until) {
            self.down_until.insert(zone, until);
            cx.at(until, wake(Event::ZoneBack(zone)));
        }
        if before.is_some() {
            return;
        }
        cx.emit(Change::ZoneChanged(zone, true));
        let name = cx.model().zones[zone].clone();
        for etcd in [true, false] {
            let members = if etcd { &cx.cloud().etcd } else { &cx.cloud().api_servers };
            let hit: Vec<u32> =
                (0..members.len() as u32).filter(|&i| members[i as usize].zone == name).collect();
            for index in hit {
                member_down(etcd, index, cx);
            }
        }
    }

    /// Gives machines that are new since the last look a failure time, and looks again later.
    fn watch(&mut self, number: u32, cx: &mut Cx<'_>) {
        let FaultKind::Random { what, mean, .. } = &cx.model().faults[number as usize].kind else {
            return;
        };
        let from = self.watched.get(&number).copied().unwrap_or(0);
        for raw in from..cx.cloud().instances.len() {
            let id = Id::new(raw as u32);
            let key = engine::draws::key(&[u64::from(number), cx.cloud().instances[id].key]);
            let wait = exponential(*mean, cx.draw(Stream::NodeFailure, key));
            // Hosts on premises and of Fargate are nobody's of this process.
            if cx.model().groups[cx.cloud().instances[id].group].is_outside_vpc() {
                continue;
            }
            let event = match what {
                RandomFault::Retirement => Event::Retires(id),
                _ => Event::NodeFails(id),
            };
            cx.after(wait, wake(event));
        }
        self.watched.insert(number, cx.cloud().instances.len());
        cx.after(cx.model().settings.node_monitor_period, wake(Event::Watch(number)));
    }
}

fn exponential(mean: Span, u: f64) -> Span {
    Span::from_secs_f64(-math::ln(u) * mean.secs_f64())
}

fn next_strike(number: u32, entity: u16, before: u32, cx: &mut Cx<'_>) {
    let FaultKind::Random { what, mean, .. } = &cx.model().faults[number as usize].kind else {
        return;
    };
    let stream = match what {
        RandomFault::Zone => Stream::ZoneOutage,
        RandomFault::Etcd => Stream::EtcdFailure,
        RandomFault::ApiServer => Stream::ApiServerFailure,
        RandomFault::Node | RandomFault::Retirement | RandomFault::Spot | RandomFault::Stockout => {
            return;
        }
    };
    let key = engine::draws::key(&[u64::from(number), u64::from(entity), u64::from(before)]);
    let wait = exponential(*mean, cx.draw(stream, key));
    cx.after(wait, wake(Event::Strike(number, entity, before)));
}

fn crash(instance: Id<Instance>, cx: &mut Cx<'_>) {
    let now = cx.now();
    let row = &mut cx.cloud_mut().instances[instance];
    if row.alive && row.state != InstanceState::Terminated {
        row.alive = false;
        row.crashed = now;
        cx.cloud_mut().deaths += 1;
        cx.emit(Change::InstanceCrashed(instance));
    }
}

fn members_down(etcd: bool, count: u32, duration: Option<Span>, cx: &mut Cx<'_>) {
    let members = if etcd { &cx.cloud().etcd } else { &cx.cloud().api_servers };
    let up: Vec<u32> = (0..members.len() as u32)
        .filter(|&i| members[i as usize].up)
        .take(count as usize)
        .collect();
    let ms = duration.map_or(0, |d| u32::try_from(d.nanos() / 1_000_000).unwrap_or(u32::MAX));
    for index in up {
        cx.emit(Change::MemberFails(etcd, index, ms));
    }
}

fn member_down(etcd: bool, index: u32, cx: &mut Cx<'_>) {
    cx.emit(Change::MemberFails(etcd, index, 0));
}

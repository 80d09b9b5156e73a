//! Time series on a common grid.

use super::super::integral::Integral;
use super::super::outcome::{Series, SeriesLine};
use super::Nodes;
use super::network::Network;
use super::pods::Pods;
use super::service::Services;
use crate::catalog::CapacityType;
use crate::engine::View;
use crate::observe::series as names;
use crate::units::{Id, MoneyRate, SimTime, Span};
use crate::world::model::{HpaModel, ServiceModel, SubnetModel};
use crate::world::{Change, Model, World};

/// Most Services that have lines of their own.
const MOST_SERVICES: usize = 40;

#[derive(Debug)]
pub(super) struct Recorder {
    lines: Vec<SeriesLine>,
    step: Span,
    /// Number of the next point.
    next: u64,
    points: u64,
    scaled: Vec<Id<HpaModel>>,
    services: Vec<Id<ServiceModel>>,
    subnets: Vec<Id<SubnetModel>>,
    replicas: Integral,
}

impl Recorder {
    pub(super) fn new(model: &Model) -> Self {
        let mut lines: Vec<SeriesLine> = Vec::new();
        let mut line = |name: &'static str, object: String| {
            let unit = names::SERIES.iter().find(|d| d.name == name).map_or("", |d| d.unit);
            lines.push(SeriesLine { name: name.to_owned(), object, unit, values: Vec::new() });
        };
        for name in [
            names::PODS_PENDING,
            names::PODS_STARTING,
            names::PODS_READY,
            names::PODS_TERMINATING,
            names::NODES_STARTING,
            names::CPU_ALLOCATABLE,
            names::CPU_REQUESTED,
            names::CPU_USED,
            names::MEMORY_ALLOCATABLE,
            names::MEMORY_REQUESTED,
        ] {
            line(name, String::new());
        }
        for (_, group) in model.groups.iter() {
            line(names::NODES_READY, group.name.clone());
        }
        for component in COMPONENTS {
            line(names::COST_RATE, component.to_owned());
        }
        let scaled: Vec<Id<HpaModel>> = model.hpas.ids().collect();
        for &h in &scaled {
            let target = &model.workloads[model.hpas[h].target];
            let object = format!("{}/{}/{}", target.kind.name(), target.namespace, target.name);
            line(names::REPLICAS_DESIRED, object.clone());
            line(names::REPLICAS_READY, object.clone());
            line(names::LOAD, object);
        }
        let services: Vec<Id<ServiceModel>> = model
            .services
            .iter()
            .filter(|(_, s)| s.traffic.as_ref().is_some_and(|t| t.rate.is_some()))
            .map(|(id, _)| id)
            .take(MOST_SERVICES)
            .collect();
        for &s in &services {
            let s = &model.services[s];
            let object = format!("Service/{}/{}", s.namespace, s.name);
            line(names::REQUESTS_OFFERED, object.clone());
            line(names::REQUESTS_SERVED, object);
        }
        let subnets: Vec<Id<SubnetModel>> = model.subnets.ids().collect();
        for &s in &subnets {
            for name in names::SUBNET_USES {
                line(name, model.subnets[s].name.clone());
            }
        }
        let points = model.duration.nanos() / model.step.nanos().max(1) + 1;
        Self {
            lines,
            step: model.step,
            next: 0,
            points,
            scaled,
            services,
            subnets,
            replicas: Integral::new(SimTime::ZERO + model.warmup),
        }
    }

    /// Records the points before `now` (with `through`, also the one at `now`).
    #[expect(clippy::too_many_arguments, reason = "reads every part of the collector")]
    pub(super) fn advance(
        &mut self,
        now: SimTime,
        through: bool,
        pods: &Pods,
        services: &Services,
        nodes: &Nodes,
        network: &mut Network,
        world: &World,
        model: &Model,
    ) {
        while self.next < self.points {
            let at = SimTime::ZERO + self.step * self.next;
            if at > now || (at == now && !through) {
                return;
            }
            self.next += 1;
            self.point(at, pods, services, nodes, network, world, model);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "reads every part of the collector")]
    fn point(
        &mut self,
        at: SimTime,
        pods: &Pods,
        services: &Services,
        nodes: &Nodes,
        network: &mut Network,
        world: &World,
        model: &Model,
    ) {
        const GIB: f64 = (1_u64 << 30) as f64;
        let (cpu, memory) = pods.requested_now();
        let c = &pods.counts;
        let instances: usize = world.cloud.groups.iter().map(|(_, g)| g.instances.len()).sum();
        let fixed = [
            c.pending as f64,
            c.starting as f64,
            c.ready as f64,
            c.terminating as f64,
            (instances as f64 - nodes.ready.value()).max(0.0),
            nodes.allocatable_cpu.value() / 1000.0,
            cpu / 1000.0,
            services.cpu_now() + pods.idle_now() / 1000.0,
            nodes.allocatable_memory.value() / GIB,
            memory / GIB,
        ];
        let mut lines = self.lines.iter_mut();
        let mut push = |value: f64| {
            if let Some(line) = lines.next() {
                line.values.push(value);
            }
        };
        fixed.into_iter().for_each(&mut push);
        nodes.of_group.iter().for_each(|&n| push(n as f64));
        cost_rates(world, model).into_iter().for_each(&mut push);
        for &h in &self.scaled {
            let workload =
                world.api.hpas.get(Id::new(h.raw())).map(|x| &world.api.workloads[x.target]);
            push(workload.map_or(0.0, |w| f64::from(w.replicas)));
            let ready: u32 =
                workload.map_or(0, |w| w.sets.iter().map(|&s| world.api.sets[s].ready).sum());
            push(f64::from(ready));
            let template = model.workloads[model.hpas[h].target].template;
            let load = &services.loads();
            push(model.templates[template].services.iter().map(|&s| load[s].offered).sum());
        }
        for &s in &self.services {
            let load = &services.loads()[s];
            push(load.external);
            push(load.external * load.success);
        }
        for &s in &self.subnets {
            let uses = network.uses(s, at, world);
            let values = [
                uses.assigned,
                uses.warm,
                uses.cooling,
                uses.nodes,
                uses.other,
                uses.fragmented,
                uses.free + uses.fragmented,
            ];
            values.into_iter().for_each(|value| push(f64::from(value)));
        }
    }

    pub(super) fn observe(&mut self, now: SimTime, change: &Change, view: &View<'_>) {
        let counts =
            matches!(change, Change::PodReady(_) | Change::PodUnready(_) | Change::PodDeleted(_));
        if !counts || self.scaled.is_empty() {
            return;
        }
        let ready: u32 = view
            .world
            .api
            .hpas
            .iter()
            .flat_map(|(_, h)| &view.world.api.workloads[h.target].sets)
            .map(|&s| view.world.api.sets[s].ready)
            .sum();
        self.replicas.set(now, f64::from(ready));
    }

    pub(super) fn scaled_replicas(&self, end: SimTime) -> (f64, f64, f64) {
        if self.scaled.is_empty() {
            return (f64::NAN, f64::NAN, f64::NAN);
        }
        self.replicas.finish(end)
    }

    pub(super) fn into_series(self) -> Series {
        Series { step: self.step, lines: self.lines }
    }
}

/// Components of the cost rate, in the order of [`cost_rates`].
const COMPONENTS: [&str; 4] = ["control plane", "EC2 on-demand", "EC2 spot", "EBS"];

/// Dollars an hour of what is billed now, by component.
fn cost_rates(world: &World, model: &Model) -> [f64; 4] {
    let mut rates = [model.control_plane.fee, MoneyRate::ZERO, MoneyRate::ZERO, MoneyRate::ZERO];
    for (id, group) in world.cloud.groups.iter() {
        let g = &model.groups[id];
        for &i in &group.instances {
            let instance = &world.cloud.instances[i];
            if instance.running != SimTime::NEVER {
                let bought = instance.group_type(model);
                let at = if bought.capacity == CapacityType::Spot { 2 } else { 1 };
                rates[at] += bought.rate;
                rates[3] += g.disk_rate;
            }
        }
    }
    for volume in world.cloud.volumes.values() {
        rates[3] += volume.rate;
    }
    rates.map(MoneyRate::usd_per_hour)
}

//! The bill: price times billed time, exact until the report.

use super::super::outcome::CostLine;
use crate::catalog::CapacityType;
use crate::policy::vpc_cni::consumers::LoadBalancer;
use crate::units::{Money, MoneyRate, SimTime, Span, UsageCost};

use crate::world::model::{GroupKind, LoadBalancerModel};
use crate::world::{Model, World};
use std::collections::BTreeMap;

pub(super) struct Bill {
    pub(super) lines: Vec<CostLine>,
    pub(super) node_hours: f64,
    /// Cost of instances alone.
    pub(super) nodes: Money,
}

impl Bill {
    pub(super) fn total(&self) -> Money {
        self.lines.iter().map(|l| l.amount).sum()
    }
}

#[derive(Default)]
struct Sum {
    cost: UsageCost,
    hours: f64,
}

/// Time within the measured part of the run.
fn billed(from: SimTime, to: SimTime, warm: SimTime, end: SimTime) -> Span {
    to.min(end).since(from.max(warm))
}

pub(super) fn bill(world: &World, model: &Model, warm: SimTime, end: SimTime) -> Bill {
    // Keys sort the lines: component, then item.
    let mut sums: BTreeMap<(u8, String), (&'static str, &'static str, Sum)> = BTreeMap::new();
    let mut add = |order: u8,
                   name: &'static str,
                   item: String,
                   unit: &'static str,
                   rate: MoneyRate,
                   span: Span,
                   quantity: f64| {
        let entry = sums.entry((order, item)).or_insert((name, unit, Sum::default()));
        entry.2.cost.add(rate, span);
        entry.2.hours += quantity;
    };
    let hours = |span: Span| span.secs_f64() / 3600.0;
    let whole = end.since(warm);
    add(
        0,
        "control plane",
        "cluster".to_owned(),
        "h",
        model.control_plane.fee,
        whole,
        hours(whole),
    );
    let mut node_hours = 0.0;
    let mut nodes = UsageCost::ZERO;
    for (_, instance) in world.cloud.instances.iter() {
        let group = &model.groups[instance.group];
        let fargate = group.kind == GroupKind::Fargate;
        let mut span = billed(instance.running, instance.terminated, warm, end);
        if fargate && !span.is_zero() && instance.terminated <= end {
            span = span.max(model.settings.fargate.minimum_bill);
        }
        let t = instance.group_type(model);
        let (order, name) = match t.capacity {
            _ if fargate => (6, "Fargate"),
            _ if group.kind == GroupKind::Hybrid => (7, "EKS Hybrid Nodes"),
            CapacityType::Spot => (2, "EC2 spot"),
            _ => (1, "EC2 on-demand"),
        };
        let item = format!("{} {}", group.name, t.instance_type.name);
        add(order, name, item, "h", t.rate, span, hours(span));
        if t.fee > MoneyRate::ZERO {
            let item = format!("{} {}", group.name, t.instance_type.name);
            add(5, "EKS Auto Mode", item, "h", t.fee, span, hours(span));
        }
        node_hours += hours(span);
        nodes.add(t.rate, span);
        if group.disk_gib > 0 {
            let gib = f64::from(group.disk_gib);
            let item = format!("{} root volumes", group.name);
            add(3, "EBS", item, "GiB-h", group.disk_rate, span, hours(span) * gib);
        }
    }
    for (_, group) in model.groups.iter() {
        let Some((size, running)) = group.scaling.warm else { continue };
        let Some(t) = group.types.first() else { continue };
        for _ in 0..size {
            let item = format!("{} warm pool", group.name);
            let gib = f64::from(group.disk_gib);
            add(3, "EBS", item.clone(), "GiB-h", group.disk_rate, whole, hours(whole) * gib);
            if running {
                add(1, "EC2 on-demand", item, "h", t.rate, whole, hours(whole));
                nodes.add(t.rate, whole);
            }
        }
    }
    for volume in world.cloud.volumes.values() {
        let span = billed(volume.created, SimTime::NEVER, warm, end);
        add(3, "EBS", "claims".to_owned(), "GiB-h", volume.rate, span, hours(span) * volume.gib);
    }
    for (_, service) in model.services.iter().filter(|(_, s)| s.load_balancer) {
        let rate = model.defaults.rate("price.nlb_hour");
        let item = format!("{}/{}", service.namespace, service.name);
        add(4, "load balancers", item, "h", rate, whole, hours(whole));
    }
    let of_ingresses = |b: &&LoadBalancerModel| b.kind == LoadBalancer::Application;
    for balancer in model.network.load_balancers.iter().filter(of_ingresses) {
        let rate = model.defaults.rate("price.alb_hour");
        add(4, "load balancers", balancer.name.clone(), "h", rate, whole, hours(whole));
    }
    let lines = sums
        .into_iter()
        .map(|((_, item), (component, unit, sum))| CostLine {
            component: component.to_owned(),
            item,
            quantity: sum.hours,
            unit,
            amount: sum.cost.amount(),
        })
        .collect();
    Bill { lines, node_hours, nodes: nodes.amount() }
}

//! Faults of the scenario.

use super::Errors;
use crate::catalog::{CapacityType, Catalog};
use crate::spec::scenario::{FaultSpec, Scenario, StockoutSpec};
use crate::spec::selection::matches;
use crate::units::{Dist, SimTime, Span};
use crate::world::model::{FaultKind, FaultModel, Model, RandomFault, StockoutModel, StockoutRate};

const YEAR_SECONDS: f64 = 365.25 * 86_400.0;

pub(super) fn lower(scenario: &Scenario, model: &mut Model, errors: &mut Errors) {
    for (i, fault) in scenario.spec.faults.iter().enumerate() {
        let path = format!("faults[{i}]");
        if let Some(lowered) = one(fault, &path, model, errors) {
            model.faults.push(lowered);
        }
    }
}

fn one(f: &FaultSpec, path: &str, model: &mut Model, errors: &mut Errors) -> Option<FaultModel> {
    let shapes = [
        f.zone_outage.is_some(),
        f.node_crash.is_some(),
        f.etcd_member_loss.is_some(),
        f.api_server_loss.is_some(),
        f.capacity_stockout.is_some(),
        f.spot_reclaim.is_some(),
        f.random.is_some(),
    ];
    if shapes.iter().filter(|s| **s).count() != 1 {
        errors.error(
            path,
            "a fault needs exactly one shape",
            "use one of zoneOutage, nodeCrash, etcdMemberLoss, apiServerLoss, capacityStockout, \
             spotReclaim (with `at`), or random",
        );
        return None;
    }
    if let Some(what) = &f.random {
        return random(f, what, path, model, errors);
    }
    let Some(at) = f.at else {
        errors.error(path, "the fault has no time", "write for example `at: 3h`, or use `random`");
        return None;
    };
    let kind = if let Some(z) = &f.zone_outage {
        let known = model.zones.iter().any(|(_, n)| *n == z.zone);
        if !known {
            let zones: Vec<&str> = model.zones.iter().map(|(_, n)| n.as_str()).collect();
            errors.error(
                format!("{path}.zoneOutage.zone"),
                format!("the cluster has no subnet in `{}`", z.zone),
                format!("use one of {}", zones.join(", ")),
            );
            return None;
        }
        FaultKind::ZoneOutage { zone: Some(z.zone.clone()), duration: Dist::constant(z.duration) }
    } else if let Some(n) = &f.node_crash {
        let group = n.node_group.as_ref().map(|name| {
            model.groups.iter().find(|(_, g)| g.name == *name).map(|(id, _)| id).ok_or(name)
        });
        let zone = n
            .zone
            .as_ref()
            .map(|name| model.zones.iter().find(|(_, z)| *z == name).map(|(id, _)| id).ok_or(name));
        if let Some(Err(name)) = group {
            errors.error(
                format!("{path}.nodeCrash.nodeGroup"),
                format!("there is no node group `{name}`"),
                "use the name of one of cluster.nodeGroups",
            );
            return None;
        }
        if let Some(Err(name)) = zone {
            errors.error(
                format!("{path}.nodeCrash.zone"),
                format!("the cluster has no subnet in `{name}`"),
                "use the zone of one of cluster.network.subnets",
            );
            return None;
        }
        FaultKind::NodeCrash {
            count: n.count.unwrap_or(1),
            group: group.and_then(Result::ok),
            zone: zone.and_then(Result::ok),
        }
    } else if let Some(s) = &f.capacity_stockout {
        stockout(s, &format!("{path}.capacityStockout"), model, errors)?
    } else if let Some(r) = &f.spot_reclaim {
        let path = format!("{path}.spotReclaim");
        let pools = pools(&r.instance_types, &r.zones, &path, model, errors)?;
        let share = r.share.map_or(1.0, |s| s.get());
        if !(share > 0.0 && share <= 1.0) {
            let message = format!("a share of {share} of the instances");
            errors.error(format!("{path}.share"), message, "write for example `50%`");
            return None;
        }
        FaultKind::SpotReclaim { pools, share }
    } else if let Some(m) = &f.etcd_member_loss {
        FaultKind::EtcdLoss { count: m.count.unwrap_or(1), duration: m.duration }
    } else {
        let m = f.api_server_loss.clone().unwrap_or_default();
        FaultKind::ApiServerLoss { count: m.count.unwrap_or(1), duration: m.duration }
    };
    Some(FaultModel { at: Some(SimTime::ZERO + at), kind })
}

/// Pools by patterns of type names and by zones.
fn pools(
    types: &[String],
    zones: &[String],
    path: &str,
    model: &Model,
    errors: &mut Errors,
) -> Option<StockoutModel> {
    let mut pools = StockoutModel::default();
    for (i, pattern) in types.iter().enumerate() {
        let names = Catalog::embedded().iter().map(|t| t.name);
        let found: Vec<&'static str> = names.filter(|n| matches(pattern, n)).collect();
        if found.is_empty() {
            let names = Catalog::embedded().iter().map(|t| t.name);
            let help = crate::spec::suggest::nearest(pattern, names).map_or_else(
                || "write a type such as `m6i.large`, or a pattern such as `m6i.*`".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            let message = format!("no instance type is called `{pattern}`");
            errors.error(format!("{path}.instanceTypes[{i}]"), message, help);
            return None;
        }
        pools.types.extend(found);
    }
    for (i, name) in zones.iter().enumerate() {
        let Some((zone, _)) = model.zones.iter().find(|(_, n)| *n == name) else {
            let zones: Vec<&str> = model.zones.iter().map(|(_, n)| n.as_str()).collect();
            errors.error(
                format!("{path}.zones[{i}]"),
                format!("the cluster has no subnet in `{name}`"),
                format!("use one of {}", zones.join(", ")),
            );
            return None;
        };
        pools.zones.push(zone);
    }
    Some(pools)
}

/// Pools by patterns of type names, zones and the way they are bought.
fn stockout(s: &StockoutSpec, path: &str, model: &Model, errors: &mut Errors) -> Option<FaultKind> {
    let mut pools = pools(&s.instance_types, &s.zones, path, model, errors)?;
    pools.capacity = match s.capacity_type.as_deref() {
        None => None,
        Some("spot") => Some(CapacityType::Spot),
        Some("on-demand") => Some(CapacityType::OnDemand),
        Some(other) => {
            errors.error(
                format!("{path}.capacityType"),
                format!("`{other}` is no capacity type"),
                "use spot or on-demand, or leave it out for both",
            );
            return None;
        }
    };
    if s.duration.is_some_and(Span::is_zero) {
        errors.error(format!("{path}.duration"), "a stock-out without any time", "write `1h`");
        return None;
    }
    Some(FaultKind::Stockout { pools, duration: s.duration })
}

fn random(
    f: &FaultSpec,
    what: &str,
    path: &str,
    model: &mut Model,
    errors: &mut Errors,
) -> Option<FaultModel> {
    let d = &model.defaults;
    let (kind, per_year) = match what {
        "nodeFailure" => (RandomFault::Node, d.f64("failure.instance_rate")),
        "scheduledRetirement" => (RandomFault::Retirement, d.f64("failure.retirement_rate")),
        "zoneOutage" => (RandomFault::Zone, d.f64("failure.az_event_rate")),
        "etcdMemberLoss" => (RandomFault::Etcd, d.f64("failure.etcd_member_rate")),
        "apiServerLoss" => (RandomFault::ApiServer, d.f64("failure.api_server_rate")),
        "spotInterruption" => (RandomFault::Spot, 0.0),
        "capacityStockout" => (RandomFault::Stockout, 0.0),
        other => {
            errors.error(
                format!("{path}.random"),
                format!("`{other}` is not a random fault"),
                "use nodeFailure, scheduledRetirement, zoneOutage, etcdMemberLoss, apiServerLoss, spotInterruption or \
                 capacityStockout",
            );
            return None;
        }
    };
    if kind == RandomFault::Spot {
        model.settings.spot_interruptions = true;
        if f.mean_time_between.is_some() {
            errors.warning(
                format!("{path}.meanTimeBetween"),
                "spot interruptions follow the rate of each instance type",
                "override the constants under `spot.` instead; the value is ignored",
            );
        }
    }
    if kind == RandomFault::Stockout {
        let rate = |name: &str| StockoutRate {
            between: f
                .mean_time_between
                .unwrap_or_else(|| d.span(&format!("capacity.{name}_between"))),
            duration: f.duration.unwrap_or_else(|| d.span(&format!("capacity.{name}_stockout"))),
        };
        model.settings.stockouts = Some([rate("on_demand"), rate("spot")]);
    }
    let mean = f.mean_time_between.unwrap_or_else(|| {
        if per_year > 0.0 { Span::from_secs_f64(YEAR_SECONDS / per_year) } else { Span::MAX }
    });
    if mean.is_zero() {
        errors.error(
            format!("{path}.meanTimeBetween"),
            "faults without any time between them",
            "write for example `900d`",
        );
        return None;
    }
    let duration = f.duration.map(Dist::constant);
    Some(FaultModel { at: None, kind: FaultKind::Random { what: kind, mean, duration } })
}

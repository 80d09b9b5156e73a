//! Whether EC2 has an instance of a type in a zone: stock-outs of the scenario, and random ones.
//!
//! A capacity pool is an instance type in a zone, spot or on-demand. At random it is a process of
//! two states with exponential times, followed only where somebody asks for the pool; its draws
//! have the pool's name for key, so that no other launch moves them.

use crate::catalog::CapacityType;
use crate::engine::{self, Cx, Stream};
use crate::units::{Id, SimTime, Span, math};
use crate::world::cloud::CapacityPool;
use crate::world::model::{FaultKind, GroupType, StockoutRate, Zone};

/// Whether an instance can be had now.
pub(super) fn has_capacity(t: &GroupType, zone: Id<Zone>, cx: &mut Cx<'_>) -> bool {
    let name = t.instance_type.name;
    let model = cx.model();
    let gone = cx.cloud().stockouts.iter().any(|&fault| {
        match model.faults.get(fault as usize).map(|f| &f.kind) {
            Some(FaultKind::Stockout { pools, .. }) => pools.covers(name, zone, t.capacity),
            _ => false,
        }
    });
    if gone {
        return false;
    }
    let Some([on_demand, spot]) = model.settings.stockouts else { return true };
    let (rate, kind) = match t.capacity {
        CapacityType::OnDemand => (on_demand, 0),
        CapacityType::Spot => (spot, 1),
    };
    let zone = engine::draws::key_str(&model.zones[zone]);
    let key = engine::draws::key(&[engine::draws::key_str(name), zone, kind]);
    !is_short(key, rate, cx)
}

/// Follows a pool up to now.
fn is_short(key: u64, rate: StockoutRate, cx: &mut Cx<'_>) -> bool {
    let now = cx.now();
    let wait = |short: bool, turn: u32, cx: &Cx<'_>| {
        let mean = if short { rate.duration } else { rate.between };
        let u = cx.draw(Stream::InsufficientCapacity, engine::draws::key(&[key, u64::from(turn)]));
        // A pool cannot turn more often than once a second.
        Span::from_secs_f64(-math::ln(u) * mean.secs_f64()).max(Span::from_secs(1))
    };
    let mut pool = cx.cloud().pools.get(&key).copied().unwrap_or_else(|| {
        let share = rate.duration.secs_f64() / (rate.duration + rate.between).secs_f64();
        let short = cx.draw(Stream::InsufficientCapacity, engine::draws::key(&[key])) < share;
        CapacityPool { short, until: SimTime::ZERO + wait(short, 0, cx), turn: 0 }
    });
    while pool.until <= now {
        pool.short = !pool.short;
        pool.turn += 1;
        pool.until += wait(pool.short, pool.turn, cx);
    }
    cx.cloud_mut().pools.insert(key, pool);
    pool.short
}

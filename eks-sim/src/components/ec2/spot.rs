//! Spot instances: when they are reclaimed, alone or with others of their pool, and the warnings.
//!
//! Upstream: Amazon EC2 user guide, "spot instance interruption notices" and "rebalance
//! recommendations". Each type has a hazard from the Spot Advisor's band. A share of it comes in
//! bursts of a pool (type and zone): a Poisson process whose events take each instance of the pool
//! with a probability drawn for the event, so that one instance's hazard stays the same. Differences:
//! prices do not move; the share and size of bursts are assumptions (`spot.shock_share`,
//! `spot.shock_size`).

use super::{Event, asg, wake};
use crate::catalog::CapacityType;
use crate::engine::{self, Cx, Stream};
use crate::units::{Id, SimTime, Span, math};
use crate::world::Change;
use crate::world::cloud::{Instance, InstanceState, SpotPool};
use crate::world::model::FaultKind;

/// Draws when a spot instance will be reclaimed on its own, if that is within the run.
pub(super) fn clock(instance: Id<Instance>, cx: &mut Cx<'_>) {
    let row = &cx.cloud().instances[instance];
    let t = row.group_type(cx.model());
    let (hazard, key, zone) = (t.interruption_per_hour, row.key, row.zone);
    let settings = &cx.model().settings;
    if !settings.spot_interruptions || hazard <= 0.0 {
        return;
    }
    let (share, _) = settings.spot_shock;
    if share < 1.0 {
        let u = cx.draw(Stream::SpotInterruption, key);
        let hours = -math::ln(u) / (hazard * (1.0 - share));
        warn(instance, Span::from_secs_f64(hours * 3600.0), cx);
    }
    if share > 0.0 {
        follow_pool(t.instance_type.name, zone, hazard, cx);
    }
}

/// Notice after `wait`; the recommendation some time before it.
fn warn(instance: Id<Instance>, wait: Span, cx: &mut Cx<'_>) {
    let key = engine::draws::key(&[cx.cloud().instances[instance].key, 1]);
    let lead = cx.sample(&cx.model().settings.rebalance_lead, Stream::SpotInterruption, key);
    cx.after(wait.saturating_sub(lead), wake(Event::Rebalance(instance)));
    cx.after(wait, wake(Event::SpotNotice(instance)));
}

fn pool_key(pool: &SpotPool, cx: &Cx<'_>) -> u64 {
    let zone = engine::draws::key_str(&cx.model().zones[pool.zone]);
    engine::draws::key(&[engine::draws::key_str(pool.instance_type), zone])
}

/// From one burst of a pool to the next.
fn gap(pool: &SpotPool, hazard: f64, cx: &Cx<'_>) -> Span {
    let (share, mean_size) = cx.model().settings.spot_shock;
    let key = engine::draws::key(&[pool_key(pool, cx), u64::from(pool.bursts), 2]);
    let u = cx.draw(Stream::SpotInterruption, key);
    let hours = -math::ln(u) * mean_size / (hazard * share);
    // A pool cannot burst more often than once a second.
    Span::from_secs_f64(hours * 3600.0).max(Span::from_secs(1))
}

/// The bursts of a pool are those of its clock since the start, whoever buys from it and when.
fn follow_pool(
    instance_type: &'static str,
    zone: Id<crate::world::model::Zone>,
    hazard: f64,
    cx: &mut Cx<'_>,
) {
    let known = |p: &SpotPool| p.instance_type == instance_type && p.zone == zone;
    if cx.cloud().spot_pools.iter().any(known) {
        return;
    }
    let mut pool = SpotPool { instance_type, zone, bursts: 0 };
    let mut at = SimTime::ZERO + gap(&pool, hazard, cx);
    while at <= cx.now() {
        pool.bursts += 1;
        at += gap(&pool, hazard, cx);
    }
    let number = cx.cloud().spot_pools.len() as u32;
    cx.cloud_mut().spot_pools.push(pool);
    cx.at(at, wake(Event::SpotBurst(number)));
}

/// Running spot instances, oldest first.
fn running(cx: &Cx<'_>) -> Vec<Id<Instance>> {
    let cloud = cx.cloud();
    let all = cloud.groups.iter().flat_map(|(_, g)| &g.instances).copied();
    let mut spot: Vec<Id<Instance>> = all
        .filter(|&i| {
            let row = &cloud.instances[i];
            row.state == InstanceState::Running
                && row.group_type(cx.model()).capacity == CapacityType::Spot
        })
        .collect();
    spot.sort_unstable();
    spot
}

/// EC2 takes back a part of a pool.
pub(super) fn burst(number: u32, cx: &mut Cx<'_>) {
    let Some(pool) = cx.cloud().spot_pools.get(number as usize).copied() else { return };
    let settings = &cx.model().settings;
    let key = |what: u64| engine::draws::key(&[pool_key(&pool, cx), u64::from(pool.bursts), what]);
    let size = settings.spot_shock_size.sample(cx.draw(Stream::SpotInterruption, key(3)));
    let lead = cx.sample(&settings.rebalance_lead, Stream::SpotInterruption, key(4));
    let mut hazard = 0.0;
    for i in running(cx) {
        let row = &cx.cloud().instances[i];
        let t = row.group_type(cx.model());
        if t.instance_type.name != pool.instance_type || row.zone != pool.zone {
            continue;
        }
        hazard = t.interruption_per_hour;
        let draw = engine::draws::key(&[row.key, u64::from(pool.bursts), 5]);
        if cx.draw(Stream::SpotInterruption, draw) < size {
            cx.after(Span::ZERO, wake(Event::Rebalance(i)));
            cx.after(lead, wake(Event::SpotNotice(i)));
        }
    }
    if hazard > 0.0 {
        let row = &mut cx.cloud_mut().spot_pools[number as usize];
        row.bursts += 1;
        let next = *row;
        let wait = gap(&next, hazard, cx);
        cx.after(wait, wake(Event::SpotBurst(number)));
    } else {
        // Nobody is left in the pool: its clock starts again with the next buyer.
        cx.cloud_mut().spot_pools[number as usize].instance_type = "";
    }
}

/// A share of the instances of some pools gets the notice at once.
pub(super) fn reclaim_by_fault(number: u32, cx: &mut Cx<'_>) {
    let model = cx.model();
    let Some(FaultKind::SpotReclaim { pools, share }) =
        model.faults.get(number as usize).map(|f| &f.kind)
    else {
        return;
    };
    let mut hit: Vec<(u64, Id<Instance>)> = running(cx)
        .into_iter()
        .filter(|&i| {
            let row = &cx.cloud().instances[i];
            let name = row.group_type(model).instance_type.name;
            pools.covers(name, row.zone, CapacityType::Spot)
        })
        .map(|i| {
            let key = engine::draws::key(&[cx.cloud().instances[i].key, u64::from(number), 6]);
            (cx.draw(Stream::SpotInterruption, key).to_bits(), i)
        })
        .collect();
    hit.sort_unstable();
    let count = (hit.len() as f64 * share).ceil() as usize;
    for (_, i) in hit.into_iter().take(count) {
        cx.after(Span::ZERO, wake(Event::SpotNotice(i)));
    }
}

/// EC2 expects to reclaim the instance: a group with capacity rebalancing replaces it.
pub(super) fn rebalance(instance: Id<Instance>, cx: &mut Cx<'_>) {
    if cx.cloud().instances[instance].state != InstanceState::Running {
        return;
    }
    cx.emit(Change::RebalanceRecommended(instance));
    replace_early(instance, cx);
}

fn replace_early(instance: Id<Instance>, cx: &mut Cx<'_>) {
    let row = &cx.cloud().instances[instance];
    let (group, outgoing) = (row.group, row.outgoing);
    if !outgoing && cx.model().groups[group].scaling.rebalance {
        cx.cloud_mut().instances[instance].outgoing = true;
        asg::reconcile(group, cx);
    }
}

/// Two minutes.
pub(super) fn notice(instance: Id<Instance>, cx: &mut Cx<'_>) {
    let row = &mut cx.cloud_mut().instances[instance];
    if row.state != InstanceState::Running || row.noticed {
        return;
    }
    row.noticed = true;
    cx.emit(Change::SpotNotice(instance));
    let notice = cx.model().settings.spot_notice;
    cx.after(notice, wake(Event::SpotReclaim(instance)));
    replace_early(instance, cx);
}

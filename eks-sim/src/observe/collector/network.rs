//! Subnets: free addresses, exhaustion.

use super::super::outcome::SubnetSummary;
use crate::engine::View;
use crate::policy::vpc_cni::Holding;
use crate::units::{Id, IdVec, SimTime, Span};
use crate::world::model::SubnetModel;
use crate::world::{Change, Model, World};

#[derive(Debug)]
pub(super) struct Network {
    subnets: IdVec<SubnetModel, State>,
    /// Subnets that are exhausted, since when at least one is, and for how long so far.
    exhausted: u32,
    since: SimTime,
    total: Span,
    warm: SimTime,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    free: u32,
    free_min: Option<u32>,
    refused_at: Option<SimTime>,
    first: Option<SimTime>,
    total: Span,
}

impl Network {
    pub(super) fn new(model: &Model, warm: SimTime) -> Self {
        Self {
            subnets: model.subnets.iter().map(|_| State::default()).collect(),
            exhausted: 0,
            since: SimTime::ZERO,
            total: Span::ZERO,
            warm,
        }
    }

    pub(super) fn observe(&mut self, now: SimTime, change: &Change, view: &View<'_>) {
        match *change {
            Change::SubnetExhausted(s) => {
                let state = &mut self.subnets[s];
                state.first.get_or_insert(now);
                if state.refused_at.is_none() {
                    state.refused_at = Some(now);
                    if self.exhausted == 0 {
                        self.since = now;
                    }
                    self.exhausted += 1;
                }
            }
            Change::SubnetChanged(s) => self.changed(now, s, view.world),
            _ => {}
        }
    }

    fn changed(&mut self, now: SimTime, subnet: Id<SubnetModel>, world: &World) {
        let free = world.cloud.subnets[subnet].space.free();
        let state = &mut self.subnets[subnet];
        let taken = state.free_min.is_some() && free < state.free;
        state.free = free;
        state.free_min = Some(state.free_min.map_or(free, |m| m.min(free)));
        if taken && let Some(since) = state.refused_at.take() {
            state.total += now.since(since.max(self.warm));
            self.exhausted -= 1;
            if self.exhausted == 0 {
                self.total += now.since(self.since.max(self.warm));
            }
        }
    }

    pub(super) fn finish(
        &mut self,
        end: SimTime,
        world: &World,
        model: &Model,
        put: &mut impl FnMut(&str, f64),
    ) -> Vec<SubnetSummary> {
        if self.exhausted > 0 {
            self.total += end.since(self.since.max(self.warm));
        }
        let mut rows = Vec::new();
        for (id, subnet) in model.subnets.iter() {
            let state = &self.subnets[id];
            let Some(row) = world.cloud.subnets.get(id) else { continue };
            let open = state.refused_at.map_or(Span::ZERO, |t| end.since(t.max(self.warm)));
            let held = row.space.count(Holding::Secondary) + row.space.count(Holding::Prefix);
            rows.push(SubnetSummary {
                name: subnet.name.clone(),
                zone: model.zones[subnet.zone].clone(),
                cidr: subnet.cidr(),
                usable: row.space.usable(),
                free_end: row.space.free(),
                free_min: state.free_min.unwrap_or(row.space.free()),
                assigned_end: row.assigned,
                warm_end: held.saturating_sub(row.assigned),
                refusals: row.refusals,
                first_exhausted: state.first,
                exhausted: state.total + open,
            });
        }
        put("ip_exhaustion_seconds", self.total.secs_f64());
        put("ip_free_min", rows.iter().map(|r| r.free_min).min().map_or(f64::NAN, f64::from));
        rows
    }
}

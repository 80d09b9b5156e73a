//! Interfaces that are left over: a node ended between the making of an interface and its
//! attachment, or between detaching and deletion.
//!
//! Upstream: pkg/ipamd (`cleanUpLeakedENIs`): once an hour every daemon deletes interfaces of its
//! cluster that nobody has and that are older than five minutes.

use super::growth::release;
use super::operation::{Kind, Operation, Stage};
use super::{Event, VpcCni, alive, wake};
use crate::engine::Cx;
use crate::policy::vpc_cni::Holding;
use crate::policy::vpc_cni::pool::NewEni;
use crate::units::{Id, SimTime};
use crate::world::Node;
use crate::world::model::SubnetModel;
use std::net::Ipv4Addr;

#[derive(Clone, Debug)]
pub(super) struct Leak {
    since: SimTime,
    operation: Operation,
}

impl Leak {
    pub(super) fn holdings(
        &self,
    ) -> impl Iterator<Item = (Id<SubnetModel>, Ipv4Addr, Holding)> + '_ {
        self.operation.holdings()
    }
}

impl VpcCni {
    /// The daemon does not go on with what it did: what EC2 gave stays on the instance, or is
    /// left over.
    pub(super) fn abandon(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        let now = cx.now();
        let Some(d) = self.daemon(node) else { return };
        let Some(operation) = d.operation.take() else { return };
        match (operation.kind, operation.stage) {
            // Nothing was given, or nothing was taken away.
            (Kind::Fill(_) | Kind::Attach, Stage::Ask) => {}
            (Kind::Fill(eni), _) => {
                let ranges: Vec<_> = operation.ranges.iter().map(|(_, r)| *r).collect();
                d.pool.filled(eni, &ranges);
            }
            (Kind::Attach, Stage::Settle) => {
                let ranges: Vec<_> = operation.ranges.iter().map(|(_, r)| *r).collect();
                if let Some((subnet, own)) = operation.own {
                    let facts =
                        NewEni { subnet: subnet.raw(), primary_address: own, ..NewEni::default() };
                    d.pool.attached(facts, &ranges, now);
                }
            }
            // Still on the instance, and gone with it.
            (Kind::Free, _) | (Kind::Remove, Stage::Ask) => {
                if let Some((subnet, own)) = operation.own {
                    let own =
                        crate::policy::vpc_cni::pool::Range { first: own.into(), prefix: false };
                    d.rest.push((subnet, own));
                }
                d.rest.extend(operation.ranges);
            }
            (Kind::Attach | Kind::Remove, _) => {
                self.leaked.push(Leak { since: now, operation });
                self.plan_sweep(cx);
            }
        }
    }

    /// Puts the next sweep that finds something on the agenda.
    pub(super) fn plan_sweep(&mut self, cx: &mut Cx<'_>) {
        let [_, _, age] = cx.model().settings.leaked_enis;
        let Some(oldest) = self.leaked.first().map(|l| l.since) else { return };
        if let Some(at) = self.next_sweep((oldest + age).max(cx.now()), cx) {
            cx.at(at, wake(Event::Sweep));
        }
    }

    /// When a daemon next sweeps, at `from` or later.
    fn next_sweep(&self, from: SimTime, cx: &Cx<'_>) -> Option<SimTime> {
        let [period, _, _] = cx.model().settings.leaked_enis;
        let period_ns = period.nanos().max(1);
        let next = |first: SimTime| {
            let rounds = from.since(first).nanos().div_ceil(period_ns);
            first + period * rounds
        };
        self.nodes
            .iter()
            .filter_map(|(id, d)| d.as_ref().filter(|d| !d.ended).map(|d| (id, d)))
            .filter(|&(id, _)| alive(id, cx))
            .map(|(_, d)| next(d.first_sweep))
            .min()
    }

    /// A daemon deletes leftovers that are old enough.
    pub(super) fn sweep(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let [_, _, age] = cx.model().settings.leaked_enis;
        if self.next_sweep(now, cx) == Some(now) {
            let old = |l: &Leak| now.since(l.since) >= age;
            self.leaked.iter().filter(|l| old(l)).for_each(|l| release(&l.operation, cx));
            self.leaked.retain(|l| !old(l));
        }
        if !self.leaked.is_empty() {
            self.plan_sweep(cx);
        }
    }
}

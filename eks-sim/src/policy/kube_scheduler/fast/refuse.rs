//! Why a class fits no node, kept by node and renewed for touched nodes only. It covers classes
//! whose verdict on a node depends on the node and its pods alone.

use super::super::framework::{Cx, PreState, filter_node};
use super::super::profile::{Plugin, PluginSet};
use super::super::schedule::Unschedulable;
use super::super::{NodeKey, Rejection};
use super::cells::parts;
use super::window::Gate;
use super::{Fast, MAX_ROWS, NOWHERE};
use std::sync::Arc;

/// A node that would take the pod, but for pods nominated to it.
const FITS: u32 = u32::MAX;
/// A node to be asked.
const UNKNOWN: u32 = u32::MAX - 1;

/// Refusals of one class by list position.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals {
    /// Node lists so far.
    orders: u64,
    /// Touches already taken in.
    seen: u64,
    /// Position → kind.
    kinds: Vec<u32>,
    table: Vec<Rejection>,
}

impl Refusals {
    fn kind(&mut self, rejection: Rejection) -> u32 {
        let known = self.table.iter().position(|r| *r == rejection);
        let i = known.unwrap_or_else(|| {
            self.table.push(rejection);
            self.table.len() - 1
        });
        i as u32
    }
}

/// Filters that find nothing to do for the classes covered here, NodePorts among them or not.
pub(super) fn idle_filters(ports: bool) -> PreState {
    let mut skipped = PluginSet::default();
    if ports {
        skipped.insert(Plugin::NodePorts);
    }
    let idle = [
        Plugin::VolumeRestrictions,
        Plugin::NodeVolumeLimits,
        Plugin::VolumeBinding,
        Plugin::VolumeZone,
        Plugin::PodTopologySpread,
        Plugin::InterPodAffinity,
    ];
    idle.into_iter().for_each(|p| skipped.insert(p));
    PreState { skipped, ..PreState::default() }
}

impl Fast {
    /// The failure of a class that was found to fit nowhere; `None` leaves it to the plain path.
    pub(super) fn refusals(
        &mut self,
        cx: &Cx<'_>,
        gate: &Gate,
        start: usize,
    ) -> Option<Box<Unschedulable>> {
        if !gate.is_local() {
            return None;
        }
        if self.refused.len() > MAX_ROWS {
            self.refused.clear();
        }
        let mut row = self.refused.remove(&cx.id).unwrap_or_default();
        let failed = self.renew(cx, &mut row).and_then(|()| self.failed(cx, gate, start, &mut row));
        self.refused.insert(cx.id, row);
        failed
    }
    /// Asks the filters about nodes that changed.
    fn renew(&self, cx: &Cx<'_>, row: &mut Refusals) -> Option<()> {
        let pre = idle_filters(true);
        let verdict = |node: NodeKey| parts(cx, node).map(|(i, n)| filter_node(cx, &pre, i, n));
        if row.orders != self.orders || row.kinds.len() != self.order.len() {
            (row.orders, row.kinds) = (self.orders, vec![UNKNOWN; self.order.len()]);
        } else {
            match self.touched.since(row.seen) {
                Some(nodes) => {
                    for node in nodes {
                        let at = self.positions.get(*node as usize).copied().unwrap_or(NOWHERE);
                        if let Some(kind) = row.kinds.get_mut(at as usize) {
                            *kind = UNKNOWN;
                        }
                    }
                }
                None => row.kinds.fill(UNKNOWN),
            }
        }
        row.seen = self.touched.end();
        for i in 0..row.kinds.len() {
            if row.kinds[i] == UNKNOWN {
                row.kinds[i] = match verdict(self.order[i])? {
                    Some(rejection) => row.kind(rejection),
                    None => FITS,
                };
            }
        }
        Some(())
    }
    fn failed(
        &self,
        cx: &Cx<'_>,
        gate: &Gate,
        start: usize,
        row: &mut Refusals,
    ) -> Option<Box<Unschedulable>> {
        let count = self.order.len();
        let pre = idle_filters(true);
        let mut crowded: Vec<(usize, u32)> = Vec::new();
        for n in &gate.nominated {
            // The node is filtered with the nominated pods first.
            let (info, fixed) = parts(cx, n.node)?;
            if let Some(rejection) = filter_node(cx, &pre, &n.info(info), fixed) {
                crowded.push((n.position, row.kind(rejection)));
            }
        }
        let mut failed = Unschedulable { nodes: count as u32, ..Unschedulable::default() };
        let mut nodes = Vec::with_capacity(count);
        let mut found = row.kinds.clone();
        for (position, kind) in crowded {
            *found.get_mut(position)? = kind;
        }
        for range in [start..count, 0..start] {
            for (node, kind) in self.order[range.clone()].iter().zip(&found[range]) {
                if *kind == FITS {
                    return None;
                }
                nodes.push((*node, *kind));
            }
        }
        failed.statuses.set(Arc::new(row.table.clone()), nodes);
        failed.count();
        Some(Box::new(failed))
    }
}

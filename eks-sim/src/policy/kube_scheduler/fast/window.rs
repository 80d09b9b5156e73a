//! The nodes that a decision examines, in the order of examination.

use super::super::framework::Cx;
use super::super::plugins::node_resources_fit;
use super::super::resources::Resources;
use super::super::{ClassId, NodeInfo, NodeKey, Plugin, PodKey};
use super::affinity::Rules;
use super::cells::{parts, shape_cell, static_cell};
use super::groups::Groups;
use super::{CHUNK, Fast, NO_FIT, Plan, STATE_FAILS, STATE_PASSES, STATE_UNKNOWN, Shape, UNKNOWN};
use std::ops::Range;

/// The examined nodes: resource scores, negative where the pod may not go.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    pub(super) values: Vec<i16>,
    /// First position examined.
    start: usize,
    /// How many were examined before the scan wrapped around.
    first: usize,
    /// How many the pod may go to.
    pub(super) found: usize,
}

impl Window {
    /// The position of the `i`-th examined node.
    pub(super) fn position(&self, i: usize) -> usize {
        if i < self.first { self.start + i } else { i - self.first }
    }
    /// Which examined node stands at a position.
    pub(super) fn index_of(&self, position: usize) -> Option<usize> {
        let i = match position.checked_sub(self.start) {
            Some(i) if i < self.first => i,
            _ => position + self.first,
        };
        (i < self.values.len() && self.position(i) == position).then_some(i)
    }
    /// The two stretches of examined positions, with the indices they begin at.
    pub(super) fn stretches(&self) -> [(usize, Range<usize>); 2] {
        let second = self.values.len() - self.first;
        [(0, self.start..self.start + self.first), (self.first, 0..second)]
    }
    /// Calls `f` with index and position of every node the pod may go to.
    pub(super) fn each(&self, mut f: impl FnMut(usize, usize)) {
        for (begin, range) in self.stretches() {
            for (i, position) in (begin..).zip(range) {
                if self.values[i] >= 0 {
                    f(i, position);
                }
            }
        }
    }
    /// The position of the `turn`-th node whose value is `top`.
    pub(super) fn nth(&self, top: i16, turn: usize) -> Option<usize> {
        let mut equal = self.values.iter().enumerate().filter(|v| *v.1 == top);
        equal.nth(turn).map(|(i, _)| self.position(i))
    }
}

/// A hard spread constraint ready to be asked.
pub(super) struct Hard {
    pub(super) counts: Vec<i64>,
    pub(super) topology: u32,
    /// Largest count at which the pod may still come.
    pub(super) limit: i64,
}

impl Hard {
    fn allows(&self, groups: &Groups, node: NodeKey) -> bool {
        let domain = groups.topology_info(self.topology).domain(node);
        self.counts.get(domain as usize).is_some_and(|c| *c <= self.limit)
    }
}

/// Filters that look further than one node and its pods.
pub(super) struct Gate {
    pub(super) hard: Vec<Hard>,
    pub(super) rules: Rules,
    /// Nodes on which pods of the same or higher priority are nominated.
    pub(super) nominated: Vec<Nominated>,
}

/// A node with the pods nominated to it counted in.
#[derive(Clone, Debug)]
pub(super) struct Nominated {
    pub(super) node: NodeKey,
    pub(super) position: usize,
    held: Resources,
    pods: usize,
}

impl Nominated {
    /// The node as the filters see it.
    pub(super) fn info(&self, info: &NodeInfo) -> NodeInfo {
        let mut info = info.clone();
        info.requested = self.held.clone();
        info.pods.resize(self.pods, PodKey::MAX);
        info
    }
    /// Whether the pod fits beside those nominated.
    pub(super) fn leaves_room(&self, cx: &Cx<'_>) -> bool {
        let pods = i64::try_from(self.pods).unwrap_or(i64::MAX);
        let fits = |(_, n)| node_resources_fit::would_pass(cx, &self.held, pods, n);
        !cx.args.has(Plugin::NodeResourcesFit) || parts(cx, self.node).is_some_and(fits)
    }
}

impl Gate {
    /// Whether a node's verdict depends on the node and its pods alone.
    pub(super) fn is_local(&self) -> bool {
        self.hard.is_empty() && self.rules.is_empty()
    }
    fn allows(&self, groups: &Groups, node: NodeKey) -> bool {
        self.hard.iter().all(|h| h.allows(groups, node)) && self.rules.allow(groups, node)
    }
    /// Whether the pod fits a node beside those nominated to it.
    pub(super) fn nominated_leave_room(&self, cx: &Cx<'_>, node: NodeKey) -> bool {
        self.nominated.iter().filter(|n| n.node == node).all(|n| n.leaves_room(cx))
    }
}

/// Nodes with the pods nominated to them that matter to a pod of class `cx`; `None` if more than
/// resources must be looked at.
pub(super) fn nominated(cx: &Cx<'_>, pod: PodKey, positions: &[u32]) -> Option<Vec<Nominated>> {
    let mut out: Vec<Nominated> = Vec::new();
    let matter = |(p, c, _): &(PodKey, ClassId, NodeKey)| {
        *p != pod && cx.cache.class_info(*c).priority >= cx.class.priority
    };
    for (_, id, node) in cx.cache.nominations().filter(matter) {
        let class = cx.cache.class_info(id);
        if !class.pod_terms().anti_affinity.is_empty() {
            return None;
        }
        let at = match out.iter().position(|n| n.node == node) {
            Some(at) => at,
            None => {
                let info = cx.cache.node_info(node)?;
                let position = positions.get(node as usize).map_or(usize::MAX, |p| *p as usize);
                let (held, pods) = (info.requested.clone(), info.pods.len());
                out.push(Nominated { node, position, held, pods });
                out.len() - 1
            }
        };
        out[at].held.add(&class.held, 1);
        out[at].pods += 1;
    }
    Some(out)
}

impl Fast {
    /// Examines nodes from `start` on until `wanted` are found.
    pub(super) fn scan(
        &mut self,
        cx: &Cx<'_>,
        plan: &Plan,
        gate: &Gate,
        start: usize,
        wanted: usize,
    ) {
        let mut window = std::mem::take(&mut self.scratch.window);
        (window.start, window.first, window.found) = (start, 0, 0);
        window.values.clear();
        let order = std::sync::Arc::clone(&self.order);
        for range in [start..order.len(), 0..start] {
            let mut base = range.start;
            while base < range.end && window.found < wanted {
                let chunk = base..range.end.min((base / CHUNK + 1) * CHUNK);
                base = chunk.end;
                let from = window.values.len();
                self.read(cx, plan, chunk.clone(), &mut window.values);
                let part = &mut window.values[from..];
                if !gate.is_local() {
                    for (value, node) in part.iter_mut().zip(&order[chunk.clone()]) {
                        if *value >= 0 && !gate.allows(&self.groups, *node) {
                            *value = NO_FIT;
                        }
                    }
                }
                for n in gate.nominated.iter().filter(|n| chunk.contains(&n.position)) {
                    let value = &mut part[n.position - chunk.start];
                    if *value >= 0 && !n.leaves_room(cx) {
                        *value = NO_FIT;
                    }
                }
                let mut passed = 0_u16;
                for value in &*part {
                    passed += u16::from(*value >= 0);
                }
                let left = wanted - window.found;
                if usize::from(passed) < left {
                    window.found += usize::from(passed);
                    continue;
                }
                let mut passing = part.iter().enumerate().filter(|v| *v.1 >= 0);
                let last = passing.nth(left - 1).map_or(part.len(), |(i, _)| i + 1);
                window.values.truncate(from + last);
                window.found = wanted;
            }
            if range.end == order.len() {
                window.first = window.values.len();
            }
        }
        self.scratch.window = window;
    }
    /// Puts the values of a chunk at the end of `into`.
    fn read(&mut self, cx: &Cx<'_>, plan: &Plan, chunk: Range<usize>, into: &mut Vec<i16>) {
        let number = chunk.start / CHUNK;
        let row = &mut self.statics[plan.fixed as usize];
        if row.dirty.take(number) {
            let states = &mut row.states;
            for i in number * CHUNK..states.len().min((number + 1) * CHUNK) {
                if states[i] == STATE_UNKNOWN {
                    let cell = static_cell(cx, self.order[i]);
                    states[i] = if cell.passes { STATE_PASSES } else { STATE_FAILS };
                    (row.taints[i], row.affinities[i]) = (cell.taint, cell.affinity);
                    row.any_taint |= cell.taint > 0;
                }
            }
        }
        let states = &self.statics[plan.fixed as usize].states[chunk.clone()];
        let (order, loads) = (&self.order, &self.loads);
        let cell = |node: NodeKey| {
            let quick = plan.quick.as_ref().zip(loads.get(node as usize));
            let known = quick.and_then(|(q, load)| q.cell(load));
            known.unwrap_or_else(|| shape_cell(cx, node))
        };
        match plan.shape {
            Shape::Row(shape) => {
                let row = &mut self.shapes[shape as usize];
                if row.dirty.take(number) {
                    let cells = &mut row.cells;
                    for i in number * CHUNK..cells.len().min((number + 1) * CHUNK) {
                        if cells[i] == UNKNOWN {
                            cells[i] = cell(order[i]);
                        }
                    }
                }
                merge(states, &row.cells[chunk], into);
            }
            Shape::Once => {
                for (state, node) in states.iter().zip(&order[chunk]) {
                    into.push(if *state == STATE_PASSES { cell(*node) } else { NO_FIT });
                }
            }
        }
    }
    /// Whether a pod fits one node, all filters but those of `gate` looked at.
    pub(super) fn passes(&self, cx: &Cx<'_>, node: NodeKey) -> bool {
        static_cell(cx, node).passes && shape_cell(cx, node) >= 0
    }
}

/// Puts the cells of nodes that pass at the end of `into`, a chunk at a time.
#[inline]
fn merge(states: &[u8], cells: &[i16], into: &mut Vec<i16>) {
    let mut out = [NO_FIT; CHUNK];
    for ((value, state), cell) in out.iter_mut().zip(states).zip(cells) {
        *value = if *state == STATE_PASSES { *cell } else { NO_FIT };
    }
    into.extend_from_slice(&out[..states.len().min(CHUNK)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_indices_are_inverse() {
        let window = Window { values: vec![0; 7], start: 6, first: 4, found: 7 };
        let positions: Vec<usize> = (0..7).map(|i| window.position(i)).collect();
        assert_eq!(positions, [6, 7, 8, 9, 0, 1, 2]);
        let back: Vec<_> = (0..10).map(|p| window.index_of(p)).collect();
        let some = |i| Some(i);
        let expected =
            [some(4), some(5), some(6), None, None, None, some(0), some(1), some(2), some(3)];
        assert_eq!(back, expected);
    }
}

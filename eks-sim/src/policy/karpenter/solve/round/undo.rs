//! Leaving nodes out of a round, and going back after it.

use super::{Change, Node, Round};

impl Round<'_> {
    /// Leaves nodes out of the next round.
    pub(in super::super) fn remove(&mut self, removed: &[usize]) {
        for &index in removed {
            let Some(node) = self.nodes.get_mut(index).filter(|node| !node.removed) else {
                continue;
            };
            node.removed = true;
            self.changes.push(Change::Removed(index));
            self.recount(index, -1);
            self.credit(index, 1);
        }
    }

    fn recount(&mut self, index: usize, sign: i32) {
        for &(class, count) in &self.input.nodes[index].pods {
            let count = i32::try_from(count).unwrap_or(i32::MAX) * sign;
            self.topology.record(class, index, &self.nodes[index].requirements, count);
        }
    }

    /// Gives a removed node's capacity back to its NodePool's limits, or takes it again.
    fn credit(&mut self, index: usize, sign: i64) {
        let Some((pool, capacity)) = &self.input.nodes[index].pool else { return };
        for (left, amount) in self.limits[*pool].iter_mut().zip(capacity) {
            if let Some(left) = left {
                *left += sign * amount;
            }
        }
        if let Some(left) = &mut self.nodes_left[*pool] {
            *left += sign;
        }
    }

    /// Goes back to the state before the round; interned sets stay.
    pub(in super::super) fn reset(&mut self) {
        while let Some(change) = self.changes.pop() {
            match change {
                Change::OnNode { class, node } => {
                    let Node { requirements, available, .. } = &mut self.nodes[node];
                    self.topology.record(class, node, requirements, -1);
                    if let Some(requests) = &self.kinds[self.kind_of[class]].requests {
                        available.iter_mut().zip(requests).for_each(|(have, got)| *have += got);
                    }
                    let ports = &mut self.nodes[node].ports;
                    ports.truncate(ports.len() - self.input.classes[class].host_ports.len());
                }
                Change::OnClaim { class, number, shape } => {
                    let requirements = &self.fleet.shape(shape).requirements;
                    self.topology.record(class, number, requirements, -1);
                }
                Change::Removed(index) => {
                    self.nodes[index].removed = false;
                    self.recount(index, 1);
                }
            }
        }
        self.claims.clear();
        for (pool, given) in self.input.pools.iter().enumerate() {
            self.limits[pool].clone_from(&given.limits);
            self.nodes_left[pool] = given.nodes_left;
        }
        for level in self.kinds.iter_mut().flat_map(|kind| &mut kind.levels) {
            level.next_node = 0;
            level.heap.clear();
            level.seen = 0;
            level.refused.fill(None);
        }
    }
}

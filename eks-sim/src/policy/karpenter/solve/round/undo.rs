//! Leaving nodes out of a round, and going back after it.

use super::super::Input;
use super::nodes::Node;
use super::{Change, Level, Round};

impl Round {
    /// Leaves nodes out of the next round.
    pub(in super::super) fn remove(&mut self, input: &Input<'_>, removed: &[usize]) {
        for &index in removed {
            let Some(node) = self.nodes.list.get_mut(index).filter(|node| !node.removed) else {
                continue;
            };
            node.removed = true;
            self.changes.push(Change::Removed(index));
            self.recount(input, index, -1);
            self.credit(input, index, 1);
        }
    }

    fn recount(&mut self, input: &Input<'_>, index: usize, sign: i32) {
        for &(class, count) in &input.nodes[index].pods {
            let count = i32::try_from(count).unwrap_or(i32::MAX) * sign;
            self.topology.record(class, index, &self.nodes.list[index].requirements, count);
        }
    }

    /// Gives a removed node's capacity back to its NodePool's limits, or takes it again.
    fn credit(&mut self, input: &Input<'_>, index: usize, sign: i64) {
        let Some((pool, capacity)) = &input.nodes[index].pool else { return };
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
    pub(in super::super) fn reset(&mut self, input: &Input<'_>) {
        while let Some(change) = self.changes.pop() {
            match change {
                Change::OnNode { class, node } => {
                    let Node { requirements, available, ports, .. } = &mut self.nodes.list[node];
                    self.topology.record(class, node, requirements, -1);
                    if let Some(requests) = &self.kinds[self.kind_of[class]].requests {
                        available.iter_mut().zip(requests).for_each(|(have, got)| *have += got);
                    }
                    ports.truncate(ports.len() - input.classes[class].host_ports.len());
                }
                Change::OnClaim { class, number, shape } => {
                    let requirements = &self.fleet.shape(shape).requirements;
                    self.topology.record(class, number, requirements, -1);
                }
                Change::Removed(index) => {
                    self.nodes.list[index].removed = false;
                    self.recount(input, index, 1);
                }
                Change::Learnt { kind, depth } => self.kinds[kind].levels[depth].forget(),
            }
        }
        self.claims.clear();
        self.renew_limits(input);
    }

    /// Takes what the NodePools' limits leave from the input.
    pub(in super::super) fn renew_limits(&mut self, input: &Input<'_>) {
        for (pool, given) in input.pools.iter().enumerate() {
            self.limits[pool].clone_from(&given.limits);
            self.nodes_left[pool] = given.nodes_left;
        }
    }
}

impl Level {
    /// Forgets what was learnt in a round.
    fn forget(&mut self) {
        self.used = false;
        self.next_node = 0;
        self.heap.clear();
        self.seen = 0;
        self.refused.fill(None);
    }
}

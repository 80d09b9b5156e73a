//! Nodes that are there, their order, and which of them a kind of pod can still use.

use super::super::super::requirements::{HOSTNAME, Requirements};
use super::super::Input;
use super::super::catalog::Resources;
use super::super::constraints::{HostPort, tolerates_all};
use super::{Change, Level, Misfit, Place, Refusal, Round, clash};
use crate::k8s::{StringMap, Taint};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) available: Resources,
    pub(super) ports: Vec<HostPort>,
    pub(super) requirements: Requirements,
    /// Number of its labels (without host name) and taints.
    look: usize,
    /// Left out of this round.
    pub(super) removed: bool,
    /// Stands in the order.
    listed: bool,
    /// What the topology rules were told of: labels and pods.
    told: Option<(StringMap, Vec<(usize, u32)>)>,
    /// Initialised, and name.
    key: (bool, String),
}

/// The nodes of a round.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    /// By position in the input.
    pub(super) list: Vec<Node>,
    /// Initialised ones first, then by name.
    pub(super) order: Vec<usize>,
    look_of: BTreeMap<(StringMap, Vec<Taint>), usize>,
    /// Never iterated: (look, constraints) → whether they go together.
    looks: FxHashMap<(usize, usize), bool>,
    /// Changes of the order so far.
    version: u64,
    /// Positions in the order of nodes that changed since the order did.
    touched: Vec<usize>,
}

/// By position in the order of nodes: a pod of a level might fit there. Written for the state
/// before a round; during one, nodes only lose room, so that no place is missing.
#[derive(Debug, Default)]
pub(super) struct Places {
    bits: Vec<u64>,
    version: u64,
    seen: usize,
}

impl Places {
    /// The first place from a position on.
    fn next(&self, from: usize) -> Option<usize> {
        let mut at = from / 64;
        let mut word = self.bits.get(at)? & (u64::MAX << (from % 64));
        while word == 0 {
            at += 1;
            word = *self.bits.get(at)?;
        }
        Some(at * 64 + word.trailing_zeros() as usize)
    }
    fn set(&mut self, position: usize, on: bool) {
        let (word, bit) = (position / 64, 1 << (position % 64));
        if on {
            self.bits[word] |= bit;
        } else {
            self.bits[word] &= !bit;
        }
    }
}

impl Round {
    /// Reads nodes of the input anew; they may be new ones.
    pub(in super::super) fn renew_nodes(&mut self, input: &Input<'_>, changed: &[usize]) {
        let mut moved = false;
        for &index in changed {
            let given = &input.nodes[index];
            self.untell(index);
            let Nodes { list, look_of, .. } = &mut self.nodes;
            while list.len() <= index {
                list.push(Node::default());
            }
            let mut labels = given.labels.clone();
            labels.remove(HOSTNAME);
            let next = look_of.len();
            let node = &mut list[index];
            node.look = *look_of.entry((labels, given.taints.clone())).or_insert(next);
            node.available.clone_from(&given.available);
            node.ports.clone_from(&given.ports);
            if node.told.as_ref().is_none_or(|(labels, _)| *labels != given.labels) {
                node.requirements = Requirements::from_labels(&given.labels);
            }
            node.told = Some((given.labels.clone(), given.pods.clone()));
            self.topology.see(&given.labels, 1);
            for &(class, count) in &given.pods {
                let count = i32::try_from(count).unwrap_or(i32::MAX);
                self.topology.record(class, index, &node.requirements, count);
            }
            let key = (given.initialized, given.name.clone());
            moved |= !node.listed || node.key != key;
            node.key = key;
        }
        if moved {
            self.nodes.sort(changed);
        } else {
            self.nodes.touch(changed);
        }
    }

    /// Nodes that are there no more; their positions may be given to others.
    pub(in super::super) fn forget_nodes(&mut self, gone: &[usize]) {
        for &index in gone {
            self.untell(index);
            if let Some(node) = self.nodes.list.get_mut(index) {
                node.listed = false;
                node.told = None;
            }
        }
        let Nodes { list, order, .. } = &mut self.nodes;
        order.retain(|&index| list[index].listed);
        self.nodes.reordered();
    }

    /// Takes back what the topology rules were told of a node.
    fn untell(&mut self, index: usize) {
        let Some(node) = self.nodes.list.get(index) else { return };
        let Some((labels, pods)) = &node.told else { return };
        for &(class, count) in pods {
            let count = i32::try_from(count).unwrap_or(i32::MAX);
            self.topology.record(class, index, &node.requirements, -count);
        }
        self.topology.see(labels, -1);
    }

    pub(super) fn place_on_node(
        &mut self,
        input: &Input<'_>,
        kind: usize,
        class: usize,
        level: &mut Level,
    ) -> Option<Place> {
        self.renew_places(input, kind, class, level);
        let mut all_refused_for_good = true;
        let mut from = level.next_node;
        while let Some(position) = level.places.next(from) {
            let node = self.nodes.order[position];
            match self.try_node(input, kind, class, level, node) {
                Ok(()) => return Some(Place::Node(node)),
                Err(refusal) => {
                    all_refused_for_good &= refusal.for_good;
                    if all_refused_for_good {
                        level.next_node = position + 1;
                    }
                }
            }
            from = position + 1;
        }
        if all_refused_for_good {
            level.next_node = self.nodes.order.len();
        }
        None
    }

    /// Brings a level's places up to date with the nodes of the input.
    fn renew_places(&mut self, input: &Input<'_>, kind: usize, class: usize, level: &mut Level) {
        let (version, touched) = (self.nodes.version, self.nodes.touched.len());
        if level.places.version == version {
            for at in level.places.seen..touched {
                let position = self.nodes.touched[at];
                let fits = self.might_fit(input, kind, class, level, position);
                level.places.set(position, fits);
            }
        } else {
            let count = self.nodes.order.len();
            level.places.bits.clear();
            level.places.bits.resize(count.div_ceil(64), 0);
            for position in 0..count {
                if self.might_fit(input, kind, class, level, position) {
                    level.places.set(position, true);
                }
            }
            level.places.version = version;
        }
        level.places.seen = touched;
    }

    /// Whether a node of the input holds a pod, other pods' rules aside.
    fn might_fit(
        &mut self,
        input: &Input<'_>,
        kind: usize,
        class: usize,
        level: &Level,
        position: usize,
    ) -> bool {
        let index = self.nodes.order[position];
        let given = &input.nodes[index];
        let roomy = self.kinds[kind]
            .requests
            .as_ref()
            .is_some_and(|requests| has_room(&given.available, requests));
        roomy
            && self.goes_with(input, level, index)
            && !clash(&input.classes[class].host_ports, &given.ports)
    }

    /// Whether labels and taints of a node go with a level's constraints.
    fn goes_with(&mut self, input: &Input<'_>, level: &Level, index: usize) -> bool {
        let constraints = self.constraints(input, level.id);
        let Nodes { list, looks, .. } = &mut self.nodes;
        let node = &list[index];
        let fits = *looks.entry((node.look, level.id)).or_insert_with(|| {
            tolerates_all(&constraints.tolerations, &input.nodes[index].taints)
                && node.requirements.compatible(&constraints.requirements, |key| key == HOSTNAME)
        });
        let here = constraints.requirements.stated(HOSTNAME);
        fits && here.is_none_or(|hosts| hosts.has(&input.nodes[index].name))
    }

    fn try_node(
        &mut self,
        input: &Input<'_>,
        kind: usize,
        class: usize,
        level: &Level,
        index: usize,
    ) -> Result<(), Refusal> {
        let for_good = |why| Refusal { why, for_good: true };
        // That labels and taints go together is known from the list of places.
        let node = &mut self.nodes.list[index];
        if node.removed {
            return Err(for_good(Misfit::Requirements));
        }
        let Some(requests) = &self.kinds[kind].requests else {
            return Err(for_good(Misfit::Resources));
        };
        if !has_room(&node.available, requests) {
            return Err(for_good(Misfit::Resources));
        }
        let ports = &input.classes[class].host_ports;
        if clash(ports, &node.ports) {
            return Err(for_good(Misfit::HostPorts));
        }
        if level.counts {
            let (class_, own) = (class, &level.own);
            let pod = {
                let (owner, depth) = self.constraints[level.id];
                &input.classes[owner].levels[depth].requirements
            };
            let narrowed = self.topology.narrow(class_, own, pod, index, &node.requirements);
            if let super::Narrowed::No { for_good } = narrowed {
                return Err(Refusal { why: Misfit::Topology, for_good });
            }
        }
        node.available.iter_mut().zip(requests).for_each(|(have, want)| *have -= want);
        node.ports.extend(ports.iter().cloned());
        self.topology.record(class, index, &node.requirements, 1);
        self.changes.push(Change::OnNode { class, node: index });
        Ok(())
    }
}

fn has_room(available: &[i64], requests: &[i64]) -> bool {
    !requests.iter().zip(available).any(|(want, have)| *want > 0 && want > have)
}

impl Nodes {
    /// Puts nodes where they belong in the order.
    fn sort(&mut self, changed: &[usize]) {
        for &index in changed {
            self.list[index].listed = false;
        }
        let Self { list, order, .. } = self;
        order.retain(|&index| list[index].listed);
        for &index in changed {
            if !list[index].listed {
                list[index].listed = true;
                order.push(index);
            }
        }
        // What was there is sorted already, which this sort makes use of.
        order.sort_by(|&a, &b| {
            let (a, b) = (&list[a].key, &list[b].key);
            b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1))
        });
        self.reordered();
    }

    fn reordered(&mut self) {
        self.version += 1;
        self.touched.clear();
    }

    /// Notes nodes that changed in their place.
    fn touch(&mut self, changed: &[usize]) {
        if self.touched.len() + changed.len() > self.order.len() {
            self.reordered();
            return;
        }
        let Self { list, order, touched, .. } = self;
        for &index in changed {
            let key = &list[index].key;
            let at = order.binary_search_by(|&other| {
                let other = &list[other].key;
                key.0.cmp(&other.0).then_with(|| other.1.cmp(&key.1))
            });
            touched.extend(at);
        }
    }
}

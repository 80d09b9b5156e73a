//! The loop of a scheduling round.

mod undo;

use super::super::batcher::{QueueKey, queue_order};
use super::super::offerings::Offering;
use super::super::requirements::{CAPACITY_TYPE, HOSTNAME, Requirements, ZONE};
use super::catalog::{CPU, MEMORY, Resources, TypeSet};
use super::constraints::{Constraints, HostPort, ports_conflict, tolerates_all};
use super::fleet::Fleet;
use super::topology::{Narrowed, Topology};
use super::{Input, MAX_INSTANCE_TYPES, Misfit, NewClaim, Pending, Placement, Solution};
use core::cmp::Reverse;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

/// Pods that are tried alike.
#[derive(Debug)]
struct Kind {
    class: usize,
    /// Requests; none if some resource exists nowhere.
    requests: Option<Resources>,
    levels: Vec<Level>,
}

/// One level of relaxation of a kind, and what was learnt on it.
#[derive(Debug, Default)]
struct Level {
    /// Number of its requirements and tolerations.
    id: usize,
    /// Its topology rules.
    own: Vec<usize>,
    /// Placement depends on counts, so that a refusal may pass.
    counts: bool,
    /// Existing nodes before this position refused for good.
    next_node: usize,
    /// NodeClaims not yet known to refuse, by pods.
    heap: BinaryHeap<Reverse<(usize, usize)>>,
    /// NodeClaims put on the heap so far.
    seen: usize,
    /// By pool: why a new NodeClaim was refused for good.
    refused: Vec<Option<Misfit>>,
}

#[derive(Debug)]
struct Claim {
    shape: usize,
    requests: Resources,
    types: TypeSet,
    ports: Vec<HostPort>,
    pods: usize,
}

#[derive(Debug)]
struct Node {
    available: Resources,
    ports: Vec<HostPort>,
    requirements: Requirements,
    /// Number of its labels (without host name) and taints.
    look: usize,
    /// Left out of this round.
    removed: bool,
}

/// What a round changed, for going back.
#[derive(Debug)]
enum Change {
    /// A pod of a class was counted on a node, with the requests it took there.
    OnNode { class: usize, node: usize },
    /// A pod of a class was counted on a NodeClaim's number with the labels of a shape.
    OnClaim { class: usize, number: usize, shape: usize },
    /// A node was left out.
    Removed(usize),
}

/// A refusal.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    why: Misfit,
    for_good: bool,
}

#[derive(Debug)]
pub(super) struct Round<'a> {
    input: &'a Input<'a>,
    fleet: Fleet<'a>,
    topology: Topology,
    kinds: Vec<Kind>,
    kind_of: Vec<usize>,
    /// Distinct constraints, by number.
    constraints: Vec<&'a Constraints>,
    nodes: Vec<Node>,
    node_order: Vec<usize>,
    /// Never iterated: (look, constraints) → whether they go together.
    looks: FxHashMap<(usize, usize), bool>,
    claims: Vec<Claim>,
    pool_order: Vec<usize>,
    limits: Vec<Vec<Option<i64>>>,
    nodes_left: Vec<Option<i64>>,
    changes: Vec<Change>,
}

impl<'a> Round<'a> {
    pub(super) fn new(input: &'a Input<'a>) -> Self {
        let universe = |key: &str| universe(input, key);
        let mut round = Self {
            input,
            fleet: Fleet::new(input),
            topology: Topology::new(input.classes, &universe),
            kinds: Vec::new(),
            kind_of: Vec::new(),
            constraints: Vec::new(),
            nodes: Vec::new(),
            node_order: (0..input.nodes.len()).collect(),
            looks: FxHashMap::default(),
            claims: Vec::new(),
            pool_order: (0..input.pools.len()).collect(),
            limits: input.pools.iter().map(|p| p.limits.clone()).collect(),
            nodes_left: input.pools.iter().map(|p| p.nodes_left).collect(),
            changes: Vec::new(),
        };
        round.node_order.sort_by_key(|&i| (!input.nodes[i].initialized, &input.nodes[i].name));
        round.pool_order.sort_by(|&a, &b| {
            let (a, b) = (&input.pools[a], &input.pools[b]);
            b.weight.cmp(&a.weight).then_with(|| b.name.cmp(&a.name))
        });
        round.index_nodes();
        round.index_classes();
        round
    }

    fn index_nodes(&mut self) {
        let mut looks = BTreeMap::new();
        for (index, node) in self.input.nodes.iter().enumerate() {
            let mut labels = node.labels.clone();
            labels.remove(HOSTNAME);
            let next = looks.len();
            let look = *looks.entry((labels, &node.taints)).or_insert(next);
            let requirements = Requirements::from_labels(&node.labels);
            for &(class, count) in &node.pods {
                let count = i32::try_from(count).unwrap_or(i32::MAX);
                self.topology.record(class, index, &requirements, count);
            }
            let (available, ports) = (node.available.clone(), node.ports.clone());
            self.nodes.push(Node { available, ports, requirements, look, removed: false });
        }
    }

    fn index_classes(&mut self) {
        let pools = self.input.pools.len();
        for (class, spec) in self.input.classes.iter().enumerate() {
            let counts = spec.has_topology() || self.topology.concerns(class);
            let requests = self.input.catalog.resources(&spec.requests);
            let levels: Vec<Level> = spec
                .levels
                .iter()
                .map(|level| Level {
                    id: self.number(level),
                    own: self.topology.groups_of(&level.topology),
                    counts,
                    refused: vec![None; pools],
                    ..Level::default()
                })
                .collect();
            let alike = |kind: &Kind| {
                let other = &self.input.classes[kind.class];
                kind.requests == requests
                    && other.host_ports == spec.host_ports
                    && kind.levels.iter().map(|l| l.id).eq(levels.iter().map(|l| l.id))
                    && kind.levels.iter().all(|l| !l.counts)
            };
            let known = if counts { None } else { self.kinds.iter().position(alike) };
            self.kind_of.push(known.unwrap_or(self.kinds.len()));
            if known.is_none() {
                self.kinds.push(Kind { class, requests, levels });
            }
        }
    }

    fn number(&mut self, constraints: &'a Constraints) -> usize {
        let same = |known: &&Constraints| {
            known.requirements == constraints.requirements
                && known.tolerations == constraints.tolerations
        };
        self.constraints.iter().position(same).unwrap_or_else(|| {
            self.constraints.push(constraints);
            self.constraints.len() - 1
        })
    }

    pub(super) fn run(&mut self, pods: &[Pending<'_>]) -> Solution {
        let keys: Vec<QueueKey<'_>> = pods
            .iter()
            .map(|pod| {
                let requests = self.kinds[self.kind_of[pod.class]].requests.as_ref();
                let amount = |column: usize| requests.map_or(0, |r| r[column]);
                QueueKey {
                    cpu: amount(CPU),
                    memory: amount(MEMORY),
                    created: pod.created,
                    uid: pod.uid,
                }
            })
            .collect();
        let mut order: Vec<usize> = (0..pods.len()).collect();
        order.sort_by(|&a, &b| queue_order(&keys[a], &keys[b]));
        let mut queue: VecDeque<usize> = order.into();
        let mut length_when_put_back = vec![0; pods.len()];
        let mut placements: Vec<Option<Placement>> = vec![None; pods.len()];
        while let Some(&pod) = queue.front() {
            // A whole pass without progress ends the round.
            if length_when_put_back[pod] == queue.len() {
                break;
            }
            queue.pop_front();
            placements[pod] = self.place(pods[pod].class);
            if placements[pod].is_none() {
                queue.push_back(pod);
                length_when_put_back[pod] = queue.len();
            }
        }
        let placements = placements
            .into_iter()
            .zip(pods)
            .map(|(placed, pod)| {
                placed.unwrap_or_else(|| Placement::Unschedulable(self.reasons(pod.class)))
            })
            .collect();
        Solution { placements, claims: self.finish() }
    }

    fn reasons(&self, class: usize) -> Vec<(usize, Misfit)> {
        let kind = &self.kinds[self.kind_of[class]];
        let last = kind.levels.last();
        let why =
            |pool: usize| last.and_then(|level| level.refused[pool]).unwrap_or(Misfit::Resources);
        self.pool_order.iter().map(|&pool| (pool, why(pool))).collect()
    }

    /// Places one pod; the first level of relaxation and the first place that take it win.
    fn place(&mut self, class: usize) -> Option<Placement> {
        let index = self.kind_of[class];
        self.kinds[index].requests.as_ref()?;
        for depth in 0..self.kinds[index].levels.len() {
            // The level is taken out so that the round can be changed while it is read.
            let mut level = core::mem::take(&mut self.kinds[index].levels[depth]);
            let placed = self.place_on_node(index, class, &mut level).or_else(|| {
                self.place_on_claim(index, class, &mut level)
                    .or_else(|| self.place_on_new(index, class, &mut level))
            });
            self.kinds[index].levels[depth] = level;
            if placed.is_some() {
                return placed;
            }
        }
        None
    }

    fn place_on_node(&mut self, kind: usize, class: usize, level: &mut Level) -> Option<Placement> {
        let mut all_refused_for_good = true;
        for position in level.next_node..self.node_order.len() {
            let node = self.node_order[position];
            match self.try_node(kind, class, level, node) {
                Ok(()) => return Some(Placement::Existing(node)),
                Err(refusal) => {
                    all_refused_for_good &= refusal.for_good;
                    if all_refused_for_good {
                        level.next_node = position + 1;
                    }
                }
            }
        }
        None
    }

    fn try_node(
        &mut self,
        kind: usize,
        class: usize,
        level: &Level,
        index: usize,
    ) -> Result<(), Refusal> {
        let for_good = |why| Refusal { why, for_good: true };
        let node = &self.nodes[index];
        if node.removed {
            return Err(for_good(Misfit::Requirements));
        }
        let constraints = self.constraints[level.id];
        let taints = &self.input.nodes[index].taints;
        let fits = *self.looks.entry((node.look, level.id)).or_insert_with(|| {
            tolerates_all(&constraints.tolerations, taints)
                && node.requirements.compatible(&constraints.requirements, |key| key == HOSTNAME)
        });
        let here = constraints.requirements.stated(HOSTNAME);
        let name = &self.input.nodes[index].name;
        if !fits || here.is_some_and(|hosts| !hosts.has(name)) {
            return Err(for_good(Misfit::Requirements));
        }
        let Some(requests) = &self.kinds[kind].requests else {
            return Err(for_good(Misfit::Resources));
        };
        if requests.iter().zip(&node.available).any(|(want, have)| *want > 0 && want > have) {
            return Err(for_good(Misfit::Resources));
        }
        let ports = &self.input.classes[class].host_ports;
        if clash(ports, &node.ports) {
            return Err(for_good(Misfit::HostPorts));
        }
        if level.counts {
            let pod = &constraints.requirements;
            let narrowed = self.topology.narrow(class, &level.own, pod, index, &node.requirements);
            if let Narrowed::No { for_good } = narrowed {
                return Err(Refusal { why: Misfit::Topology, for_good });
            }
        }
        let node = &mut self.nodes[index];
        node.available.iter_mut().zip(requests).for_each(|(have, want)| *have -= want);
        node.ports.extend(ports.iter().cloned());
        self.topology.record(class, index, &node.requirements, 1);
        self.changes.push(Change::OnNode { class, node: index });
        Ok(())
    }

    /// NodeClaims of this round, fewest pods first, without those that refused for good.
    fn place_on_claim(
        &mut self,
        kind: usize,
        class: usize,
        level: &mut Level,
    ) -> Option<Placement> {
        for index in level.seen..self.claims.len() {
            level.heap.push(Reverse((self.claims[index].pods, index)));
        }
        level.seen = self.claims.len();
        let mut again = Vec::new();
        let mut placed = None;
        while let Some(Reverse((pods, index))) = level.heap.pop() {
            if self.claims[index].pods != pods {
                level.heap.push(Reverse((self.claims[index].pods, index)));
                continue;
            }
            match self.try_claim(kind, class, level, index) {
                Ok(()) => {
                    level.heap.push(Reverse((self.claims[index].pods, index)));
                    placed = Some(Placement::New(index));
                    break;
                }
                Err(refusal) if refusal.for_good => {}
                Err(_) => again.push(Reverse((pods, index))),
            }
        }
        level.heap.extend(again);
        placed
    }

    fn try_claim(
        &mut self,
        kind: usize,
        class: usize,
        level: &Level,
        index: usize,
    ) -> Result<(), Refusal> {
        let claim = &self.claims[index];
        let number = self.nodes.len() + index;
        let (shape, requests) = (claim.shape, claim.requests.clone());
        if clash(&self.input.classes[class].host_ports, &claim.ports) {
            return Err(Refusal { why: Misfit::HostPorts, for_good: true });
        }
        let types = claim.types.clone();
        let (shape, requests, types) =
            self.grow(kind, class, level, number, (shape, requests, types))?;
        let claim = &mut self.claims[index];
        claim.pods += 1;
        claim.shape = shape;
        claim.requests = requests;
        claim.types = types;
        claim.ports.extend(self.input.classes[class].host_ports.iter().cloned());
        self.topology.record(class, number, &self.fleet.shape(shape).requirements, 1);
        self.changes.push(Change::OnClaim { class, number, shape });
        Ok(())
    }

    /// What becomes of a NodeClaim (shape, requests, types) when a pod is added. Topology comes
    /// last: what fails without it fails for good.
    fn grow(
        &mut self,
        kind: usize,
        class: usize,
        level: &Level,
        number: usize,
        (shape, mut requests, mut types): (usize, Resources, TypeSet),
    ) -> Result<(usize, Resources, TypeSet), Refusal> {
        let constraints = self.constraints[level.id];
        let for_good = |why| Refusal { why, for_good: true };
        let shape = self.fleet.combine(shape, level.id, constraints).map_err(for_good)?;
        let Some(more) = &self.kinds[kind].requests else {
            return Err(for_good(Misfit::Resources));
        };
        requests.iter_mut().zip(more).for_each(|(sum, amount)| *sum = sum.saturating_add(*amount));
        let found = self.fleet.shape(shape);
        types.and(&found.types);
        if types.is_empty() {
            return Err(for_good(Misfit::NoOffering));
        }
        let types = self.fleet.fitting(found.pool, &requests, &types);
        if types.is_empty() {
            return Err(for_good(Misfit::Resources));
        }
        if !self.fleet.min_values_hold(shape, &types) {
            return Err(for_good(Misfit::MinValues));
        }
        if !level.counts {
            return Ok((shape, requests, types));
        }
        let (shape, types) = self.narrow(class, level, number, shape, types)?;
        Ok((shape, requests, types))
    }

    /// The topology rules' part of [`Self::grow`].
    fn narrow(
        &mut self,
        class: usize,
        level: &Level,
        number: usize,
        shape: usize,
        mut types: TypeSet,
    ) -> Result<(usize, TypeSet), Refusal> {
        let for_now = |why| Refusal { why, for_good: false };
        let here = &self.fleet.shape(shape).requirements;
        let pod = &self.constraints[level.id].requirements;
        let added = match self.topology.narrow(class, &level.own, pod, number, here) {
            Narrowed::No { for_good } => return Err(Refusal { why: Misfit::Topology, for_good }),
            Narrowed::Yes(added) if added.is_empty() => return Ok((shape, types)),
            Narrowed::Yes(added) => added,
        };
        let narrowed = self.fleet.narrow(shape, &added).ok_or(for_now(Misfit::NoOffering))?;
        if narrowed != shape {
            types.and(&self.fleet.shape(narrowed).types);
            if types.is_empty() {
                return Err(for_now(Misfit::NoOffering));
            }
            if !self.fleet.min_values_hold(narrowed, &types) {
                return Err(for_now(Misfit::MinValues));
            }
        }
        Ok((narrowed, types))
    }

    /// A new NodeClaim of the first pool that can hold the pod.
    fn place_on_new(&mut self, kind: usize, class: usize, level: &mut Level) -> Option<Placement> {
        for position in 0..self.pool_order.len() {
            let pool = self.pool_order[position];
            if !level.counts && level.refused[pool].is_some() {
                continue;
            }
            match self.open(kind, class, level, pool) {
                Ok(index) => return Some(Placement::New(index)),
                Err(refusal) => level.refused[pool] = Some(refusal.why),
            }
        }
        None
    }

    fn open(
        &mut self,
        kind: usize,
        class: usize,
        level: &Level,
        pool: usize,
    ) -> Result<usize, Refusal> {
        let limited = Refusal { why: Misfit::Limits, for_good: true };
        if self.nodes_left[pool].is_some_and(|left| left < 1) {
            return Err(limited);
        }
        let mut types = self.input.pools[pool].types.clone();
        for (column, left) in self.limits[pool].iter().enumerate() {
            let Some(left) = left else { continue };
            let mut within = TypeSet::none(self.input.catalog.types().len());
            let capacity = |i: usize| self.input.catalog.capacity(i)[column];
            types.iter().filter(|&i| capacity(i) <= *left).for_each(|i| within.insert(i));
            types = within;
        }
        if types.is_empty() {
            return Err(limited);
        }
        let requests: Resources = core::iter::repeat_n(0, self.input.catalog.width()).collect();
        let start = (pool, requests, types);
        let number = self.nodes.len() + self.claims.len();
        let (shape, requests, types) = self.grow(kind, class, level, number, start)?;
        for (column, left) in self.limits[pool].iter_mut().enumerate() {
            let largest = types.iter().map(|i| self.input.catalog.capacity(i)[column]).max();
            if let (Some(left), Some(largest)) = (left, largest) {
                *left -= largest;
            }
        }
        if let Some(left) = &mut self.nodes_left[pool] {
            *left -= 1;
        }
        let index = self.claims.len();
        let ports = self.input.classes[class].host_ports.clone();
        self.claims.push(Claim { shape, requests, types, ports, pods: 1 });
        self.topology.record(class, number, &self.fleet.shape(shape).requirements, 1);
        self.changes.push(Change::OnClaim { class, number, shape });
        Ok(index)
    }

    fn finish(&self) -> Vec<NewClaim> {
        let mut orders: BTreeMap<usize, Vec<(f64, usize)>> = BTreeMap::new();
        self.claims
            .iter()
            .map(|claim| {
                let shape = self.fleet.shape(claim.shape);
                let order = orders.entry(claim.shape).or_insert_with(|| self.by_price(claim.shape));
                let kept = order.iter().map(|&(_, i)| i).filter(|&i| claim.types.contains(i));
                NewClaim {
                    pool: shape.pool,
                    requirements: shape.requirements.clone(),
                    requests: claim.requests.clone(),
                    types: kept.take(MAX_INSTANCE_TYPES).collect(),
                    pods: claim.pods,
                }
            })
            .collect()
    }

    /// Types of a shape by the price of the cheapest offering that it allows, then name.
    fn by_price(&self, shape: usize) -> Vec<(f64, usize)> {
        let shape = self.fleet.shape(shape);
        let (zones, kinds) = (shape.requirements.get(ZONE), shape.requirements.get(CAPACITY_TYPE));
        let usable =
            |o: &&Offering| o.available && zones.has(&o.zone) && kinds.has(o.capacity_type.name());
        let types = self.input.catalog.types();
        let price = |i: usize| {
            let prices = types[i].offerings.iter().filter(usable).map(|o| o.price);
            prices.min_by(f64::total_cmp).unwrap_or(f64::INFINITY)
        };
        let mut order: Vec<(f64, usize)> = shape.types.iter().map(|i| (price(i), i)).collect();
        order.sort_by(|a, b| {
            a.0.total_cmp(&b.0).then_with(|| types[a.1].name.cmp(&types[b.1].name))
        });
        order
    }
}

fn clash(wanted: &[HostPort], used: &[HostPort]) -> bool {
    wanted.iter().any(|a| used.iter().any(|b| ports_conflict(a, b)))
}

/// Values of a label that nodes have or could have.
fn universe(input: &Input<'_>, key: &str) -> Vec<String> {
    let mut values: BTreeSet<String> = BTreeSet::new();
    for pool in input.pools {
        let requirement = pool.requirements.get(key);
        let mut add = |value: &String| {
            if requirement.has(value) {
                values.insert(value.clone());
            }
        };
        if key == ZONE {
            input.catalog.zones().iter().for_each(&mut add);
        }
        requirement.listed().into_iter().flatten().for_each(&mut add);
        for kind in pool.types.iter().map(|i| &input.catalog.types()[i]) {
            let own = kind.requirements.stated(key);
            own.and_then(|r| r.listed()).into_iter().flatten().for_each(&mut add);
        }
    }
    values.extend(input.nodes.iter().filter_map(|node| node.labels.get(key).cloned()));
    values.into_iter().collect()
}

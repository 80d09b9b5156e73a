//! The loop of a scheduling round.

mod brief;
mod nodes;
mod undo;

use super::super::batcher::{QueueKey, queue_order};
use super::super::requirements::ZONE;
use super::catalog::{CPU, MEMORY, Resources, TypeSet};
use super::constraints::{Constraints, HostPort, ports_conflict};
use super::fleet::Fleet;
use super::topology::{Narrowed, Topology};
use super::{Input, MAX_INSTANCE_TYPES, Misfit, NewClaim, Pending, Placement, Solution};
use core::cmp::Reverse;
use nodes::{Nodes, Places};
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

pub use brief::Brief;
pub(super) use brief::Memory;

/// Requirement sets that are kept from round to round.
const MAX_SHAPES: usize = 10_000;

/// Pods that are tried alike.
#[derive(Debug)]
struct Kind {
    class: usize,
    /// Place in the order of requests, largest first; equal requests share it.
    rank: usize,
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
    /// Existing nodes that did not refuse for good before the round.
    places: Places,
    /// Something was learnt in this round.
    used: bool,
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

/// What a round changed, for going back.
#[derive(Debug)]
enum Change {
    /// A pod of a class was counted on a node, with the requests it took there.
    OnNode { class: usize, node: usize },
    /// A pod of a class was counted on a NodeClaim's number with the labels of a shape.
    OnClaim { class: usize, number: usize, shape: usize },
    /// A node was left out.
    Removed(usize),
    /// A level of a kind learnt where it does not fit.
    Learnt { kind: usize, depth: usize },
}

/// A refusal.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    why: Misfit,
    for_good: bool,
}

/// Where a pod was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Node(usize),
    Claim(usize),
}

/// The state of a round between rounds; the input it was made from comes with every call.
#[derive(Debug)]
pub(super) struct Round {
    fleet: Fleet,
    topology: Topology,
    kinds: Vec<Kind>,
    kind_of: Vec<usize>,
    /// Distinct constraints, by number: a class that has them, and at which level.
    constraints: Vec<(usize, usize)>,
    nodes: Nodes,
    claims: Vec<Claim>,
    pool_order: Vec<usize>,
    limits: Vec<Vec<Option<i64>>>,
    nodes_left: Vec<Option<i64>>,
    changes: Vec<Change>,
}

impl Round {
    pub(super) fn new(input: &Input<'_>) -> Self {
        let universe = |key: &str| universe(input, key);
        let mut round = Self {
            fleet: Fleet::new(input),
            topology: Topology::new(input.classes, &universe),
            kinds: Vec::new(),
            kind_of: Vec::new(),
            constraints: Vec::new(),
            nodes: Nodes::default(),
            claims: Vec::new(),
            pool_order: (0..input.pools.len()).collect(),
            limits: input.pools.iter().map(|p| p.limits.clone()).collect(),
            nodes_left: input.pools.iter().map(|p| p.nodes_left).collect(),
            changes: Vec::new(),
        };
        round.pool_order.sort_by(|&a, &b| {
            let (a, b) = (&input.pools[a], &input.pools[b]);
            b.weight.cmp(&a.weight).then_with(|| b.name.cmp(&a.name))
        });
        let all: Vec<usize> = (0..input.nodes.len()).collect();
        round.renew_nodes(input, &all);
        round.index_classes(input);
        round
    }

    /// Whether more requirement sets were met than are worth keeping.
    pub(super) fn is_bloated(&self) -> bool {
        self.fleet.len() > MAX_SHAPES
    }

    fn index_classes(&mut self, input: &Input<'_>) {
        let pools = input.pools.len();
        for (class, spec) in input.classes.iter().enumerate() {
            let counts = spec.has_topology() || self.topology.concerns(class);
            let requests = input.catalog.resources(&spec.requests);
            let levels: Vec<Level> = spec
                .levels
                .iter()
                .enumerate()
                .map(|(depth, level)| Level {
                    id: self.number(input, class, depth),
                    own: self.topology.groups_of(&level.topology),
                    counts,
                    refused: vec![None; pools],
                    ..Level::default()
                })
                .collect();
            let alike = |kind: &Kind| {
                let other = &input.classes[kind.class];
                kind.requests == requests
                    && other.host_ports == spec.host_ports
                    && kind.levels.iter().map(|l| l.id).eq(levels.iter().map(|l| l.id))
                    && kind.levels.iter().all(|l| !l.counts)
            };
            let known = if counts { None } else { self.kinds.iter().position(alike) };
            self.kind_of.push(known.unwrap_or(self.kinds.len()));
            if known.is_none() {
                self.kinds.push(Kind { class, rank: 0, requests, levels });
            }
        }
        self.rank_kinds();
    }

    /// Numbers the kinds by CPU and memory, as the queue sorts them.
    fn rank_kinds(&mut self) {
        let size = |kind: &Kind| {
            let amount = |column: usize| kind.requests.as_ref().map_or(0, |r| r[column]);
            (Reverse(amount(CPU)), Reverse(amount(MEMORY)))
        };
        let sizes: BTreeSet<_> = self.kinds.iter().map(size).collect();
        let sizes: Vec<_> = sizes.into_iter().collect();
        for kind in &mut self.kinds {
            kind.rank = sizes.partition_point(|known| *known < size(kind));
        }
    }

    fn number(&mut self, input: &Input<'_>, class: usize, depth: usize) -> usize {
        let constraints = &input.classes[class].levels[depth];
        let same = |&(class, depth): &(usize, usize)| {
            let known = &input.classes[class].levels[depth];
            known.requirements == constraints.requirements
                && known.tolerations == constraints.tolerations
        };
        self.constraints.iter().position(same).unwrap_or_else(|| {
            self.constraints.push((class, depth));
            self.constraints.len() - 1
        })
    }

    fn constraints<'i>(&self, input: &Input<'i>, id: usize) -> &'i Constraints {
        let (class, depth) = self.constraints[id];
        &input.classes[class].levels[depth]
    }

    /// Pods in the order of the queue.
    fn queue(&self, pods: &[Pending<'_>]) -> VecDeque<usize> {
        if pods.len() <= u32::MAX as usize && pods.iter().all(|pod| pod.uid.is_empty()) {
            return self.queue_without_ids(pods);
        }
        let keys: Vec<(usize, QueueKey<'_>)> = pods
            .iter()
            .map(|pod| {
                let rank = self.kinds[self.kind_of[pod.class]].rank;
                (rank, QueueKey { cpu: 0, memory: 0, created: pod.created, uid: pod.uid })
            })
            .collect();
        let mut order: Vec<usize> = (0..pods.len()).collect();
        order.sort_by(|&a, &b| {
            let (a, b) = (&keys[a], &keys[b]);
            a.0.cmp(&b.0).then_with(|| queue_order(&a.1, &b.1))
        });
        order.into()
    }

    /// The same where no pod has an id: rank, creation and position are one number each.
    fn queue_without_ids(&self, pods: &[Pending<'_>]) -> VecDeque<usize> {
        let key = |(at, pod): (usize, &Pending<'_>)| {
            let rank = self.kinds[self.kind_of[pod.class]].rank as u128;
            (rank << 96) | (u128::from(pod.created.nanos()) << 32) | at as u128
        };
        let mut keys: Vec<u128> = pods.iter().enumerate().map(key).collect();
        keys.sort_unstable();
        keys.into_iter().map(|key| (key & u128::from(u32::MAX)) as usize).collect()
    }

    pub(super) fn run(&mut self, input: &Input<'_>, pods: &[Pending<'_>]) -> Solution {
        let placements = self
            .place_all(input, pods, usize::MAX)
            .into_iter()
            .zip(pods)
            .map(|(placed, pod)| match placed {
                Some(Place::Node(node)) => Placement::Existing(node),
                Some(Place::Claim(claim)) => Placement::New(claim),
                None => Placement::Unschedulable(self.reasons(pod.class)),
            })
            .collect();
        Solution { placements, claims: self.finish(input) }
    }

    /// Places pods until a pass makes no progress or there are more than `most` NodeClaims.
    fn place_all(
        &mut self,
        input: &Input<'_>,
        pods: &[Pending<'_>],
        most: usize,
    ) -> Vec<Option<Place>> {
        let mut queue = self.queue(pods);
        let mut length_when_put_back = vec![0; pods.len()];
        let mut placements: Vec<Option<Place>> = vec![None; pods.len()];
        while let Some(&pod) = queue.front() {
            // A whole pass without progress ends the round.
            if length_when_put_back[pod] == queue.len() || self.claims.len() > most {
                break;
            }
            queue.pop_front();
            placements[pod] = self.place(input, pods[pod].class);
            if placements[pod].is_none() {
                queue.push_back(pod);
                length_when_put_back[pod] = queue.len();
            }
        }
        placements
    }

    fn reasons(&self, class: usize) -> Vec<(usize, Misfit)> {
        let kind = &self.kinds[self.kind_of[class]];
        let last = kind.levels.last();
        let why =
            |pool: usize| last.and_then(|level| level.refused[pool]).unwrap_or(Misfit::Resources);
        self.pool_order.iter().map(|&pool| (pool, why(pool))).collect()
    }

    /// Places one pod; the first level of relaxation and the first place that take it win.
    fn place(&mut self, input: &Input<'_>, class: usize) -> Option<Place> {
        let index = self.kind_of[class];
        self.kinds[index].requests.as_ref()?;
        for depth in 0..self.kinds[index].levels.len() {
            // The level is taken out so that the round can be changed while it is read.
            let mut level = core::mem::take(&mut self.kinds[index].levels[depth]);
            if !level.used {
                level.used = true;
                self.changes.push(Change::Learnt { kind: index, depth });
            }
            let placed = self.place_on_node(input, index, class, &mut level).or_else(|| {
                self.place_on_claim(input, index, class, &mut level)
                    .or_else(|| self.place_on_new(input, index, class, &mut level))
            });
            self.kinds[index].levels[depth] = level;
            if placed.is_some() {
                return placed;
            }
        }
        None
    }

    /// NodeClaims of this round, fewest pods first, without those that refused for good.
    fn place_on_claim(
        &mut self,
        input: &Input<'_>,
        kind: usize,
        class: usize,
        level: &mut Level,
    ) -> Option<Place> {
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
            match self.try_claim(input, kind, class, level, index) {
                Ok(()) => {
                    level.heap.push(Reverse((self.claims[index].pods, index)));
                    placed = Some(Place::Claim(index));
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
        input: &Input<'_>,
        kind: usize,
        class: usize,
        level: &Level,
        index: usize,
    ) -> Result<(), Refusal> {
        let claim = &self.claims[index];
        let number = self.nodes.list.len() + index;
        let (shape, requests) = (claim.shape, claim.requests.clone());
        if clash(&input.classes[class].host_ports, &claim.ports) {
            return Err(Refusal { why: Misfit::HostPorts, for_good: true });
        }
        let types = claim.types.clone();
        let (shape, requests, types) =
            self.grow(input, kind, class, level, number, (shape, requests, types))?;
        let claim = &mut self.claims[index];
        claim.pods += 1;
        claim.shape = shape;
        claim.requests = requests;
        claim.types = types;
        claim.ports.extend(input.classes[class].host_ports.iter().cloned());
        self.topology.record(class, number, &self.fleet.shape(shape).requirements, 1);
        self.changes.push(Change::OnClaim { class, number, shape });
        Ok(())
    }

    /// What becomes of a NodeClaim (shape, requests, types) when a pod is added. Topology comes
    /// last: what fails without it fails for good.
    fn grow(
        &mut self,
        input: &Input<'_>,
        kind: usize,
        class: usize,
        level: &Level,
        number: usize,
        (shape, mut requests, mut types): (usize, Resources, TypeSet),
    ) -> Result<(usize, Resources, TypeSet), Refusal> {
        let constraints = self.constraints(input, level.id);
        let for_good = |why| Refusal { why, for_good: true };
        let shape = self.fleet.combine(input, shape, level.id, constraints).map_err(for_good)?;
        let Some(more) = &self.kinds[kind].requests else {
            return Err(for_good(Misfit::Resources));
        };
        requests.iter_mut().zip(more).for_each(|(sum, amount)| *sum = sum.saturating_add(*amount));
        let found = self.fleet.shape(shape);
        types.and(&found.types);
        if types.is_empty() {
            return Err(for_good(Misfit::NoOffering));
        }
        let types = self.fleet.fitting(input.catalog, found.pool, &requests, &types);
        if types.is_empty() {
            return Err(for_good(Misfit::Resources));
        }
        if !self.fleet.min_values_hold(input, shape, &types) {
            return Err(for_good(Misfit::MinValues));
        }
        if !level.counts {
            return Ok((shape, requests, types));
        }
        let (shape, types) = self.narrow(input, class, level, number, shape, types)?;
        Ok((shape, requests, types))
    }

    /// The topology rules' part of [`Self::grow`].
    fn narrow(
        &mut self,
        input: &Input<'_>,
        class: usize,
        level: &Level,
        number: usize,
        shape: usize,
        mut types: TypeSet,
    ) -> Result<(usize, TypeSet), Refusal> {
        let for_now = |why| Refusal { why, for_good: false };
        let here = &self.fleet.shape(shape).requirements;
        let pod = &self.constraints(input, level.id).requirements;
        let added = match self.topology.narrow(class, &level.own, pod, number, here) {
            Narrowed::No { for_good } => return Err(Refusal { why: Misfit::Topology, for_good }),
            Narrowed::Yes(added) if added.is_empty() => return Ok((shape, types)),
            Narrowed::Yes(added) => added,
        };
        let narrowed =
            self.fleet.narrow(input.catalog, shape, &added).ok_or(for_now(Misfit::NoOffering))?;
        if narrowed != shape {
            types.and(&self.fleet.shape(narrowed).types);
            if types.is_empty() {
                return Err(for_now(Misfit::NoOffering));
            }
            if !self.fleet.min_values_hold(input, narrowed, &types) {
                return Err(for_now(Misfit::MinValues));
            }
        }
        Ok((narrowed, types))
    }

    /// A new NodeClaim of the first pool that can hold the pod.
    fn place_on_new(
        &mut self,
        input: &Input<'_>,
        kind: usize,
        class: usize,
        level: &mut Level,
    ) -> Option<Place> {
        for position in 0..self.pool_order.len() {
            let pool = self.pool_order[position];
            if !level.counts && level.refused[pool].is_some() {
                continue;
            }
            match self.open(input, kind, class, level, pool) {
                Ok(index) => return Some(Place::Claim(index)),
                Err(refusal) => level.refused[pool] = Some(refusal.why),
            }
        }
        None
    }

    fn open(
        &mut self,
        input: &Input<'_>,
        kind: usize,
        class: usize,
        level: &Level,
        pool: usize,
    ) -> Result<usize, Refusal> {
        let limited = Refusal { why: Misfit::Limits, for_good: true };
        if self.nodes_left[pool].is_some_and(|left| left < 1) {
            return Err(limited);
        }
        let mut types = input.pools[pool].types.clone();
        for (column, left) in self.limits[pool].iter().enumerate() {
            let Some(left) = left else { continue };
            let mut within = TypeSet::none(input.catalog.types().len());
            let capacity = |i: usize| input.catalog.capacity(i)[column];
            types.iter().filter(|&i| capacity(i) <= *left).for_each(|i| within.insert(i));
            types = within;
        }
        if types.is_empty() {
            return Err(limited);
        }
        let requests: Resources = core::iter::repeat_n(0, input.catalog.width()).collect();
        let start = (pool, requests, types);
        let number = self.nodes.list.len() + self.claims.len();
        let (shape, requests, types) = self.grow(input, kind, class, level, number, start)?;
        for (column, left) in self.limits[pool].iter_mut().enumerate() {
            let largest = types.iter().map(|i| input.catalog.capacity(i)[column]).max();
            if let (Some(left), Some(largest)) = (left, largest) {
                *left -= largest;
            }
        }
        if let Some(left) = &mut self.nodes_left[pool] {
            *left -= 1;
        }
        let index = self.claims.len();
        let ports = input.classes[class].host_ports.clone();
        self.claims.push(Claim { shape, requests, types, ports, pods: 1 });
        self.topology.record(class, number, &self.fleet.shape(shape).requirements, 1);
        self.changes.push(Change::OnClaim { class, number, shape });
        Ok(index)
    }

    fn finish(&mut self, input: &Input<'_>) -> Vec<NewClaim> {
        let mut made = Vec::with_capacity(self.claims.len());
        for claim in &self.claims {
            let prices = self.fleet.prices(input.catalog, claim.shape);
            let shape = self.fleet.shape(claim.shape);
            let kept = prices.order.iter().copied().filter(|&row| claim.types.contains(row));
            made.push(NewClaim {
                pool: shape.pool,
                requirements: shape.requirements.clone(),
                requests: claim.requests.clone(),
                types: kept.take(MAX_INSTANCE_TYPES).collect(),
                pods: claim.pods,
            });
        }
        made
    }
}

fn clash(wanted: &[HostPort], used: &[HostPort]) -> bool {
    wanted.iter().any(|a| used.iter().any(|b| ports_conflict(a, b)))
}

/// Values of a label that new nodes could have.
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
    values.into_iter().collect()
}

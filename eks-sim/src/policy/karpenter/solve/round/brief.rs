//! Removals in brief: what most of them come to is known before NodeClaims are written down, and
//! nodes with the same pods come to the same.

use super::super::super::offerings::CapacityType;
use super::super::{Input, MAX_INSTANCE_TYPES, Pending};
use super::{Change, Place, Round};
use crate::units::SimTime;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

/// What a round without some nodes comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Brief {
    /// This one of the nodes' pods has no place on an initialised node or a new one.
    Homeless(usize),
    /// All pods fit on nodes that are there.
    NoNewNode,
    /// One new NodeClaim.
    One {
        /// The row of the type with the lowest launch price, and that price.
        cheapest: Option<(usize, f64)>,
        /// Spot is allowed.
        spot: bool,
        /// The NodeClaim has more types than it may carry: `cheapest` may not be among them.
        unsure: bool,
    },
    /// More.
    Several,
}

/// What pods of nodes came to without a node going, in one state of the cluster.
#[derive(Debug, Default)]
pub(in super::super) struct Memory {
    /// Pods that wait already, in the order of the queue: rank, creation, id.
    waiting: Vec<(usize, SimTime, String)>,
    /// Nothing can be remembered: what waits depends on counts.
    off: bool,
    /// Never iterated: kinds of pods and their places in the queue → what came of it, and the
    /// nodes that took pods.
    known: FxHashMap<Sequence, (Brief, SmallVec<[u32; 8]>)>,
}

/// A node's pods in the order of the queue: kind, and how many waiting pods come before.
type Sequence = SmallVec<[(u32, u32); 12]>;

impl Round {
    /// Runs a round over `pods` without the nodes `removed` and goes back. The first `waiting`
    /// pods waited already. The round may end as soon as there are more than `most` NodeClaims.
    pub(in super::super) fn brief(
        &mut self,
        input: &Input<'_>,
        pods: &[Pending<'_>],
        removed: &[usize],
        waiting: usize,
        most: usize,
    ) -> Brief {
        let (brief, _) = self.brief_with_nodes(input, pods, removed, waiting, most);
        brief
    }

    fn brief_with_nodes(
        &mut self,
        input: &Input<'_>,
        pods: &[Pending<'_>],
        removed: &[usize],
        waiting: usize,
        most: usize,
    ) -> (Brief, SmallVec<[u32; 8]>) {
        self.remove(input, removed);
        let placements = self.place_all(input, pods, most);
        let brief = self.read(input, &placements[waiting..], most);
        let used = self.changes.iter().filter_map(|change| match change {
            Change::OnNode { node, .. } => Some(*node as u32),
            _ => None,
        });
        let used = used.collect();
        self.reset(input);
        (brief, used)
    }

    fn read(&mut self, input: &Input<'_>, moved: &[Option<Place>], most: usize) -> Brief {
        if self.claims.len() > most {
            return Brief::Several;
        }
        let homeless = moved.iter().position(|place| match place {
            Some(Place::Node(node)) => !input.nodes[*node].initialized,
            Some(Place::Claim(_)) => false,
            None => true,
        });
        if let Some(pod) = homeless {
            return Brief::Homeless(pod);
        }
        let claim = match self.claims.as_slice() {
            [] => return Brief::NoNewNode,
            [claim] => claim,
            _ => return Brief::Several,
        };
        let prices = self.fleet.prices(input.catalog, claim.shape);
        let mut launch = prices.launch.iter().filter(|(_, row)| claim.types.contains(*row));
        Brief::One {
            cheapest: launch.next().map(|&(price, row)| (row, price)),
            spot: prices.filter.allows(CapacityType::Spot),
            unsure: claim.types.len() > MAX_INSTANCE_TYPES,
        }
    }

    /// Starts to remember what nodes that go alone come to beside pods that wait.
    pub(in super::super) fn memory(&self, waiting: &[Pending<'_>]) -> Memory {
        let mut memory = Memory::default();
        for at in self.queue(waiting) {
            let (pod, kind) = (&waiting[at], &self.kinds[self.kind_of[waiting[at].class]]);
            memory.off |= kind.levels.iter().any(|level| level.counts);
            memory.waiting.push((kind.rank, pod.created, pod.uid.to_owned()));
        }
        memory
    }

    /// The same as [`Self::brief`] for one node. A round without it is the round with it, if that
    /// puts no pod there; and that one is remembered by the pods.
    pub(in super::super) fn brief_alone(
        &mut self,
        input: &Input<'_>,
        memory: &mut Memory,
        pods: &[Pending<'_>],
        node: usize,
        waiting: usize,
    ) -> Brief {
        if let Some(sequence) = self.sequence(input, memory, &pods[waiting..], node) {
            let known = memory
                .known
                .entry(sequence)
                .or_insert_with(|| self.brief_with_nodes(input, pods, &[], waiting, usize::MAX));
            // Which pod has no place depends on the order of the node's pods.
            if !matches!(known.0, Brief::Homeless(_)) && !known.1.contains(&(node as u32)) {
                return known.0;
            }
        }
        self.brief(input, pods, &[node], waiting, usize::MAX)
    }

    /// What the outcome depends on when no rule counts pods; none where one does, or where the
    /// node's going changes what its NodePool may buy.
    fn sequence(
        &self,
        input: &Input<'_>,
        memory: &Memory,
        pods: &[Pending<'_>],
        node: usize,
    ) -> Option<Sequence> {
        let unlimited = |pool: usize| {
            let pool = &input.pools[pool];
            pool.nodes_left.is_none() && pool.limits.iter().all(Option::is_none)
        };
        let given = input.nodes.get(node)?;
        if memory.off || given.pool.as_ref().is_some_and(|(pool, _)| !unlimited(*pool)) {
            return None;
        }
        let mut own: SmallVec<[(usize, &Pending<'_>, u32); 12]> = SmallVec::new();
        for pod in pods {
            let number = self.kind_of[pod.class];
            let kind = &self.kinds[number];
            if kind.levels.iter().any(|level| level.counts) {
                return None;
            }
            own.push((kind.rank, pod, number as u32));
        }
        own.sort_by(|a, b| (a.0, a.1.created, a.1.uid).cmp(&(b.0, b.1.created, b.1.uid)));
        let before = |rank: usize, pod: &Pending<'_>| {
            memory.waiting.partition_point(|(r, created, uid)| {
                (*r, *created, uid.as_str()) <= (rank, pod.created, pod.uid)
            })
        };
        Some(own.iter().map(|&(rank, pod, kind)| (kind, before(rank, pod) as u32)).collect())
    }
}

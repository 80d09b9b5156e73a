//! The picture of the cluster from which rounds start. It is kept from look to look: only what
//! changed is read anew, so that a look costs what happened since the last one.

use super::Karpenter;
use super::state::ClaimId;
use crate::engine::Cx;
use crate::policy::karpenter::solve::{Catalog, ExistingNode, Input, Pool, Prepared, Solver};
use crate::units::Id;
use crate::world::Node;
use crate::world::karpenter::NodePoolModel;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Whom a position in the picture stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Who {
    /// A node that registered.
    Node(Id<Node>),
    /// A NodeClaim that was launched and has no node yet.
    Claim(ClaimId),
}

/// A position in the picture.
#[derive(Clone, Copy, Debug)]
struct Place {
    who: Who,
    claim: Option<ClaimId>,
    /// State of the node when it was read: its version, and whether it was initialised.
    read: (u32, bool),
    /// Zones of its pods' volumes may show later: it is read every time.
    volatile: bool,
    /// Last update that found it.
    found: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Picture {
    nodes: Vec<ExistingNode>,
    places: Vec<Option<Place>>,
    free: Vec<usize>,
    /// Never iterated.
    place_of: FxHashMap<Who, usize>,
    pools: Vec<Pool>,
    prepared: Option<Prepared>,
    /// What it was prepared from.
    basis: Option<(Arc<Catalog>, Vec<Arc<NodePoolModel>>, usize)>,
    updates: u64,
    /// Nothing can have happened since the last update.
    is_fresh: bool,
}

/// A copy of Karpenter makes its own picture when it needs one.
impl Clone for Picture {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Picture {
    /// Something may have happened.
    pub(super) const fn outdate(&mut self) {
        self.is_fresh = false;
    }
    /// Position of a NodeClaim's node.
    pub(super) fn position(&self, claim: ClaimId, node: Option<Id<Node>>) -> Option<usize> {
        let who = node.map_or(Who::Claim(claim), Who::Node);
        self.place_of.get(&who).copied()
    }
    /// The NodeClaim at a position, if Karpenter made the node.
    pub(super) fn claim_at(&self, position: usize) -> Option<ClaimId> {
        self.places.get(position).copied().flatten()?.claim
    }
    /// Nodes by position; those at free positions mean nothing.
    pub(super) fn nodes(&self) -> &[ExistingNode] {
        &self.nodes
    }

    fn put(&mut self, place: Place, node: ExistingNode) -> usize {
        if let Some(&at) = self.place_of.get(&place.who) {
            self.nodes[at] = node;
            self.places[at] = Some(place);
            return at;
        }
        let at = self.free.pop().unwrap_or(self.nodes.len());
        if at == self.nodes.len() {
            self.nodes.push(node);
            self.places.push(Some(place));
        } else {
            self.nodes[at] = node;
            self.places[at] = Some(place);
        }
        self.place_of.insert(place.who, at);
        at
    }

    /// Clears what the running update did not find; the positions.
    fn sweep(&mut self) -> Vec<usize> {
        let mut gone = Vec::new();
        for (at, place) in self.places.iter_mut().enumerate() {
            if let Some(old) = *place
                && old.found != self.updates
            {
                self.place_of.remove(&old.who);
                *place = None;
                gone.push(at);
            }
        }
        self.free.extend(&gone);
        gone
    }
}

impl Karpenter {
    /// Brings the picture up to date: nodes that stay, nodes on their way, and what the
    /// NodePools' limits leave.
    pub(super) fn update_picture(&mut self, cx: &Cx<'_>) {
        if self.picture.is_fresh {
            return;
        }
        let mut changed = Vec::new();
        self.picture.updates += 1;
        for &node in &cx.api().live_nodes {
            changed.extend(self.look_at_node(node, cx));
        }
        for at in 0..self.live.len() {
            changed.extend(self.look_at_claim(self.live[at], cx));
        }
        let gone = self.picture.sweep();
        self.picture.pools = self.pools();
        self.picture.is_fresh = true;
        self.follow(&changed, &gone, cx);
    }

    /// The node's position, if it is to be read anew.
    fn look_at_node(&mut self, node: Id<Node>, cx: &Cx<'_>) -> Option<usize> {
        let claim = self.by_node.get(&node).copied();
        if claim.is_some_and(|c| self.claims[c].is_leaving()) {
            return None;
        }
        let initialized = claim.is_none_or(|c| self.claims[c].is_initialized());
        let read = (cx.api().nodes[node].version, initialized);
        let (who, found) = (Who::Node(node), self.picture.updates);
        if let Some(&at) = self.picture.place_of.get(&who)
            && let Some(place) = &mut self.picture.places[at]
        {
            place.found = found;
            if place.read == read && !place.volatile {
                return None;
            }
        }
        let volatile = self.is_volatile(node, cx);
        let existing = self.registered(node, claim, cx);
        Some(self.picture.put(Place { who, claim, read, volatile, found }, existing))
    }

    fn look_at_claim(&mut self, id: ClaimId, cx: &Cx<'_>) -> Option<usize> {
        let claim = &self.claims[id];
        if claim.node.is_some() || claim.is_leaving() {
            return None;
        }
        let ((row, _, _), instance) = (claim.launched?, claim.instance?);
        let (who, found) = (Who::Claim(id), self.picture.updates);
        if let Some(&at) = self.picture.place_of.get(&who)
            && let Some(place) = &mut self.picture.places[at]
        {
            // What is expected of a node does not change before it is there.
            place.found = found;
            return None;
        }
        let existing = self.on_its_way(id, row, instance, cx);
        let place = Place { who, claim: Some(id), read: (0, false), volatile: false, found };
        Some(self.picture.put(place, existing))
    }

    /// Whether some pod of the node has a claim whose volume may get its zone later.
    fn is_volatile(&self, node: Id<Node>, cx: &Cx<'_>) -> bool {
        let pods = cx.api().nodes[node].pods.iter().filter_map(|&p| cx.api().pods.get(p));
        pods.map(|p| &cx.model().templates[p.template])
            .any(|t| t.claims.iter().any(|claim| claim.zonal))
    }

    /// Lets what is prepared follow the picture, or prepares it anew.
    fn follow(&mut self, changed: &[usize], gone: &[usize], cx: &Cx<'_>) {
        let same = self.picture.basis.as_ref().is_some_and(|(catalog, pools, classes)| {
            Arc::ptr_eq(catalog, &self.catalog)
                && *classes == self.classes.len()
                && pools.iter().zip(self.pools.iter()).all(|(a, (_, b))| Arc::ptr_eq(a, b))
        });
        let known = self.picture.prepared.take().filter(|p| same && !p.is_bloated());
        let input = self.input(cx);
        let prepared = if let Some(mut prepared) = known {
            prepared.forget(gone);
            prepared.renew(&input, changed);
            prepared
        } else {
            let mut prepared = Prepared::new(&input);
            prepared.forget(&self.picture.free);
            prepared
        };
        self.picture.prepared = Some(prepared);
        if !same {
            let pools = self.pools.iter().map(|(_, pool)| Arc::clone(pool)).collect();
            let basis = (Arc::clone(&self.catalog), pools, self.classes.len());
            self.picture.basis = Some(basis);
        }
    }

    /// The input of a round from the picture.
    pub(super) fn input(&self, cx: &Cx<'_>) -> Input<'_> {
        Input {
            catalog: &self.catalog,
            pools: &self.picture.pools,
            nodes: &self.picture.nodes,
            classes: &self.classes,
            daemons: &self.daemons,
            min_values: Self::rules(cx).options.min_values_policy,
        }
    }

    /// Runs `search` with a solver of the picture, which must be up to date.
    pub(super) fn with_solver<T>(
        &mut self,
        cx: &Cx<'_>,
        search: impl FnOnce(&Self, &mut Solver<'_>) -> T,
    ) -> T {
        let prepared = self.picture.prepared.take();
        let (found, prepared) = {
            let input = self.input(cx);
            let prepared = prepared.unwrap_or_else(|| {
                let mut prepared = Prepared::new(&input);
                prepared.forget(&self.picture.free);
                prepared
            });
            let mut solver = Solver::resume(&input, prepared);
            let found = search(self, &mut solver);
            (found, solver.finish())
        };
        self.picture.prepared = Some(prepared);
        found
    }
}

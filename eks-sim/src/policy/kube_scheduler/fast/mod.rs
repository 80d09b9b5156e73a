//! The fast path: the same decisions from tables that are kept up to date instead of recomputed.
//!
//! Differences from the plain path: none in what is decided; a property test demands equal
//! placements on random histories. What the tables do not cover goes the plain path.
//!
//! * Pods with equal node wishes and tolerations share a row of static verdicts, pods with equal
//!   requests a row of resource scores. Cells are filled when first looked at and forgotten for
//!   touched nodes only.
//! * Pods that a spread selector or an affinity term counts, and pods that carry a term, are kept
//!   by node and domain.

mod affinity;
mod cells;
mod groups;
mod place;
mod refuse;
mod score;
mod spread;
mod window;

pub(super) use place::place;

use super::class::{Class, NodeWishes, SpreadConstraint, Toleration};
use super::node_info::NodeInfo;
use super::resources::Resources;
use super::schedule::Unschedulable;
use super::{Cache, ClassId, NodeKey};
use crate::units::Symbol;
use groups::{GroupId, Groups, TopologyId};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Position of a node that is not in the list.
const NOWHERE: u32 = u32::MAX;
/// A resource cell of a node where the pod does not fit.
const NO_FIT: i16 = -1;
/// A resource cell that has to be computed.
const UNKNOWN: i16 = -2;
/// Cells looked at together.
const CHUNK: usize = 64;
/// More rows than this are dropped together: with so many shapes they are not used again.
const MAX_ROWS: usize = 512;

/// Chunks that hold cells to be computed.
#[derive(Clone, Debug, Default)]
struct Dirty(Vec<u64>);

impl Dirty {
    fn all(cells: usize) -> Self {
        Self(vec![u64::MAX; cells.div_ceil(CHUNK).div_ceil(64)])
    }
    fn mark(&mut self, cell: usize) {
        let chunk = cell / CHUNK;
        if let Some(word) = self.0.get_mut(chunk / 64) {
            *word |= 1 << (chunk % 64);
        }
    }
    /// Whether a chunk is marked; it is not afterwards.
    #[inline]
    fn take(&mut self, chunk: usize) -> bool {
        let Some(word) = self.0.get_mut(chunk / 64) else { return false };
        let marked = *word & 1 << (chunk % 64) != 0;
        *word &= !(1 << (chunk % 64));
        marked
    }
}

/// Where the resource scores of a class come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// A row of cells.
    Row(u32),
    /// No row: the shape was never asked for before and may never be again.
    Once,
}

/// Resource scores of one shape of request by list position.
#[derive(Clone, Debug)]
struct ShapeRow {
    cells: Vec<i16>,
    dirty: Dirty,
    /// Touches already taken in.
    seen: u64,
}

/// A static cell that has to be computed.
const STATE_UNKNOWN: u8 = 0;
/// A static cell of a node that passes the static filters.
const STATE_PASSES: u8 = 1;
/// A static cell of a node that does not.
const STATE_FAILS: u8 = 2;

/// What only the Node object decides, for one set of wishes, by list position.
#[derive(Clone, Debug)]
struct StaticRow {
    states: Vec<u8>,
    dirty: Dirty,
    /// PreferNoSchedule taints not tolerated.
    taints: Vec<u8>,
    /// Sums of preferred affinity weights.
    affinities: Vec<i32>,
    /// Whether some taint count was ever above 0.
    any_taint: bool,
    /// Changes already taken in.
    seen: u64,
}

impl StaticRow {
    fn new(len: usize, seen: u64) -> Self {
        Self {
            states: vec![STATE_UNKNOWN; len],
            dirty: Dirty::all(len),
            taints: vec![0; len],
            affinities: vec![0; len],
            any_taint: false,
            seen,
        }
    }
}

type ShapeKey = (u8, Resources, Resources);
type StaticKey = (u8, Option<Symbol>, NodeWishes, Vec<Toleration>);

/// A spread constraint with its tables.
#[derive(Clone, Debug)]
struct Spread {
    constraint: SpreadConstraint,
    /// Pods counted; `None` counts none (an empty selector).
    group: Option<GroupId>,
    topology: TopologyId,
    is_hostname: bool,
    selects_itself: bool,
}

/// How to place one class.
#[derive(Clone, Debug)]
struct Plan {
    version: u64,
    shape: Shape,
    quick: Option<cells::Quick>,
    fixed: u32,
    soft: Vec<Spread>,
    hard: Vec<Spread>,
    affinity: affinity::Plan,
    /// Whether soft constraints leave out nodes that lack a key.
    require_all: bool,
    weights: Weights,
}

/// Score weights; 0 for a plugin that is off or skips.
#[derive(Clone, Copy, Debug, Default)]
struct Weights {
    taint: i64,
    affinity: i64,
    image: i64,
    spread: i64,
    pod_affinity: i64,
}

/// Touches of nodes, oldest first.
#[derive(Clone, Debug, Default)]
struct TouchLog {
    nodes: Vec<NodeKey>,
    base: u64,
}

impl TouchLog {
    fn push(&mut self, node: NodeKey) {
        self.nodes.push(node);
        if self.nodes.len() > 1 << 16 {
            let half = self.nodes.len() / 2;
            self.nodes.drain(..half);
            self.base += half as u64;
        }
    }
    fn end(&self) -> u64 {
        self.base + self.nodes.len() as u64
    }
    /// Touches since `seen`; `None` if they are forgotten.
    fn since(&self, seen: u64) -> Option<&[NodeKey]> {
        let skip = seen.checked_sub(self.base)?;
        self.nodes.get(usize::try_from(skip).ok()?..)
    }
}

/// Tables of the fast path.
#[derive(Clone, Debug, Default)]
pub(super) struct Fast {
    order: Arc<Vec<NodeKey>>,
    /// Node → list position.
    positions: Vec<u32>,
    touched: TouchLog,
    changed: TouchLog,
    shapes: Vec<ShapeRow>,
    shape_index: FxHashMap<ShapeKey, Shape>,
    /// Node → what requests for processor time and memory look at.
    loads: Vec<cells::Load>,
    statics: Vec<StaticRow>,
    static_index: FxHashMap<StaticKey, u32>,
    plans: Vec<Option<Box<Plan>>>,
    /// Classes that go the plain path, by plan version.
    plain: FxHashMap<ClassId, u64>,
    /// Plans of older versions are made anew.
    plan_version: u64,
    groups: Groups,
    /// Node lists so far.
    orders: u64,
    /// Changes so far; equal numbers mean an equal state.
    version: u64,
    /// Last failure by class with the state's version.
    failures: FxHashMap<ClassId, (u64, Arc<Unschedulable>)>,
    refused: FxHashMap<ClassId, refuse::Refusals>,
    scratch: place::Scratch,
}

impl Fast {
    /// The node list is another one: rows follow.
    pub(super) fn reorder(&mut self, order: &Arc<Vec<NodeKey>>) {
        let old = std::mem::take(&mut self.positions);
        let top = order.iter().max().map_or(0, |n| *n as usize + 1);
        self.positions = vec![NOWHERE; top];
        for (position, node) in order.iter().enumerate() {
            self.positions[*node as usize] = position as u32;
        }
        let from: Vec<u32> =
            order.iter().map(|n| old.get(*n as usize).copied().unwrap_or(NOWHERE)).collect();
        for row in &mut self.shapes {
            row.cells = permuted(&row.cells, &from, UNKNOWN);
            row.dirty = Dirty::all(from.len());
        }
        for row in &mut self.statics {
            row.states = permuted(&row.states, &from, STATE_UNKNOWN);
            row.dirty = Dirty::all(from.len());
            row.taints = permuted(&row.taints, &from, 0);
            row.affinities = permuted(&row.affinities, &from, 0);
        }
        self.order = Arc::clone(order);
        self.orders += 1;
        self.version += 1;
    }
    /// Before a node's object changes.
    pub(super) fn detach_node(&mut self, key: NodeKey, node: &NodeInfo) {
        self.groups.detach(key, node);
        self.changed.push(key);
        self.touched.push(key);
        self.version += 1;
    }
    /// Objects other than pods and nodes changed.
    pub(super) fn forget_others(&mut self) {
        self.version += 1;
    }
    /// Images or the number of nodes changed.
    pub(super) fn forget_images(&mut self) {
        self.version += 1;
    }
    /// Namespace labels changed.
    pub(super) fn forget_terms(&mut self) {
        self.version += 1;
        self.plan_version += 1;
    }
    /// Services or workloads changed: default constraints may have other selectors.
    pub(super) fn forget_defaults(&mut self) {
        self.version += 1;
        self.plan_version += 1;
    }
    /// A pod began (-1) or ceased (1) to be deleted.
    pub(super) fn count_live(&mut self, class: ClassId, node: NodeKey, delta: i64) {
        self.groups.count(class, node, 0, delta);
        self.version += 1;
    }
    /// A pod came to (1) or left (-1) a node.
    pub(super) fn count_pod(
        &mut self,
        id: ClassId,
        class: &Class,
        node: NodeKey,
        delta: i64,
        terminating: bool,
    ) {
        self.groups.know(id, class);
        self.groups.count_all(id, delta);
        self.groups.count(id, node, delta, if terminating { 0 } else { delta });
        self.touched.push(node);
        self.version += 1;
    }
    /// The last failure of a class, if nothing changed since.
    pub(super) fn failure(&self, class: ClassId) -> Option<&Arc<Unschedulable>> {
        let (version, failure) = self.failures.get(&class)?;
        (*version == self.version).then_some(failure)
    }
    /// Remembers a failure.
    pub(super) fn remember(&mut self, class: ClassId, failure: &Unschedulable) {
        if self.failures.len() > MAX_ROWS {
            self.failures.clear();
        }
        self.failures.insert(class, (self.version, Arc::new(failure.clone())));
    }
    /// The row of a shape; it gets one when it is asked for again.
    fn shape(&mut self, key: ShapeKey) -> Shape {
        let known = self.shape_index.get(&key).copied();
        if let Some(Shape::Row(_)) = known {
            return known.unwrap_or(Shape::Once);
        }
        if self.shapes.len() >= MAX_ROWS || self.shape_index.len() >= 32 * MAX_ROWS {
            self.shapes.clear();
            self.shape_index.clear();
            self.plan_version += 1;
        }
        let mut shape = Shape::Once;
        if known.is_some() {
            let len = self.order.len();
            let (cells, dirty) = (vec![UNKNOWN; len], Dirty::all(len));
            self.shapes.push(ShapeRow { cells, dirty, seen: self.touched.end() });
            shape = Shape::Row(self.shapes.len() as u32 - 1);
        }
        self.shape_index.insert(key, shape);
        shape
    }
    fn fixed(&mut self, key: StaticKey) -> u32 {
        if let Some(&i) = self.static_index.get(&key) {
            return i;
        }
        if self.statics.len() >= MAX_ROWS {
            self.statics.clear();
            self.static_index.clear();
            self.plan_version += 1;
        }
        self.statics.push(StaticRow::new(self.order.len(), self.changed.end()));
        let i = self.statics.len() as u32 - 1;
        self.static_index.insert(key, i);
        i
    }
    /// Forgets the cells of nodes that changed since the rows were last used.
    fn catch_up(&mut self, shape: Shape, fixed: u32) {
        let positions = &self.positions;
        let at = |n: &NodeKey| positions.get(*n as usize).copied().unwrap_or(NOWHERE) as usize;
        if let Shape::Row(shape) = shape {
            let row = &mut self.shapes[shape as usize];
            match self.touched.since(row.seen) {
                Some(nodes) => {
                    for i in nodes.iter().map(at) {
                        if let Some(cell) = row.cells.get_mut(i) {
                            *cell = UNKNOWN;
                            row.dirty.mark(i);
                        }
                    }
                }
                None => {
                    row.cells.fill(UNKNOWN);
                    row.dirty = Dirty::all(row.cells.len());
                }
            }
            row.seen = self.touched.end();
        }
        let row = &mut self.statics[fixed as usize];
        match self.changed.since(row.seen) {
            Some(nodes) => {
                for i in nodes.iter().map(at) {
                    if let Some(state) = row.states.get_mut(i) {
                        *state = STATE_UNKNOWN;
                        row.dirty.mark(i);
                    }
                }
            }
            None => {
                row.states.fill(STATE_UNKNOWN);
                row.dirty = Dirty::all(row.states.len());
            }
        }
        row.seen = self.changed.end();
    }
    /// Takes the pods of a node in.
    pub(super) fn reload(&mut self, node: NodeKey, info: &NodeInfo) {
        if let Some(load) = self.loads.get_mut(node as usize) {
            load.update(info);
        }
    }
}

fn permuted<T: Copy>(old: &[T], from: &[u32], fresh: T) -> Vec<T> {
    from.iter().map(|p| old.get(*p as usize).copied().unwrap_or(fresh)).collect()
}

impl Cache {
    /// After a node's object changed.
    pub(super) fn attach_fast(&mut self, key: NodeKey) {
        let info = &self.nodes[key as usize];
        self.fast.groups.attach(key, info);
        if self.fast.loads.len() <= key as usize {
            self.fast.loads.resize(key as usize + 1, cells::Load::default());
        }
        self.fast.loads[key as usize].set(info);
    }
}

#[cfg(test)]
mod tests;

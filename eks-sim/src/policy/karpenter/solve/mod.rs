//! A scheduling round: pending pods on existing nodes, nodes on their way and new NodeClaims.
//!
//! Upstream: karpenter pkg/controllers/provisioning/scheduling (scheduler.go, nodeclaim.go,
//! existingnode.go, queue.go). Differences: identical pods are tried together (a node that
//! refused one of them for good is not asked again), requirement sets are interned, ties
//! upstream leaves to map or unstable sort order go to the earlier NodeClaim; no DRA, no
//! volume attachment limits, no reservation counting, one-minute limit left to the caller.

pub mod catalog;
pub mod constraints;
mod fleet;
mod round;
#[cfg(test)]
mod tests;
pub mod topology;

pub use catalog::{Catalog, InstanceType, Resources, TypeSet};
pub use constraints::{Constraints, PodClass};
pub use round::Brief;

use super::options::MinValuesPolicy;
use super::requirements::Requirements;
use crate::k8s::{StringMap, Taint};
use crate::units::SimTime;
use constraints::HostPort;

/// Instance types a NodeClaim carries at most.
pub const MAX_INSTANCE_TYPES: usize = 600;

/// A NodePool.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Name.
    pub name: String,
    /// Weight; higher is tried first.
    pub weight: i32,
    /// Requirements and labels of the template, with the NodePool label.
    pub requirements: Requirements,
    /// Taints of the template (startup taints do not count).
    pub taints: Vec<Taint>,
    /// What the limits leave, by column; none is no limit.
    pub limits: Vec<Option<i64>>,
    /// Nodes that `limits.nodes` leaves.
    pub nodes_left: Option<i64>,
    /// Instance types of its NodeClass.
    pub types: TypeSet,
}

/// A node that exists or is on its way.
#[derive(Clone, Debug)]
pub struct ExistingNode {
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: StringMap,
    /// Taints (without startup taints of nodes on their way).
    pub taints: Vec<Taint>,
    /// Allocatable less requests, DaemonSet pods still to come included.
    pub available: Resources,
    /// Ports in use.
    pub ports: Vec<HostPort>,
    /// Initialised nodes are tried first.
    pub initialized: bool,
    /// Classes of its pods, with their number.
    pub pods: Vec<(usize, u32)>,
    /// NodePool it belongs to, and the capacity that its limits get back if it goes.
    pub pool: Option<(usize, Resources)>,
}

/// A pending pod.
#[derive(Clone, Copy, Debug)]
pub struct Pending<'a> {
    /// Its class.
    pub class: usize,
    /// Creation.
    pub created: SimTime,
    /// Unique id.
    pub uid: &'a str,
}

/// Inputs of a round.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Instance types.
    pub catalog: &'a Catalog,
    /// NodePools, in any order.
    pub pools: &'a [Pool],
    /// Nodes, in any order.
    pub nodes: &'a [ExistingNode],
    /// Classes of pending and running pods.
    pub classes: &'a [PodClass],
    /// DaemonSets' pods.
    pub daemons: &'a [PodClass],
    /// `--min-values-policy`.
    pub min_values: MinValuesPolicy,
}

/// Where a pod goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// A node of the input.
    Existing(usize),
    /// A new NodeClaim.
    New(usize),
    /// Nowhere, with the reason by NodePool (in order of trial).
    Unschedulable(Vec<(usize, Misfit)>),
}

/// Why a NodePool cannot hold a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Misfit {
    /// A taint is not tolerated.
    Taints,
    /// Labels contradict.
    Requirements,
    /// Spread, affinity or anti-affinity.
    Topology,
    /// No instance type matches and has an available offering.
    NoOffering,
    /// No matching instance type is large enough.
    Resources,
    /// Limits of the NodePool.
    Limits,
    /// `minValues` would not be met.
    MinValues,
    /// A host port is taken.
    HostPorts,
}

impl Misfit {
    /// A phrase for explanations.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Taints => "did not tolerate taints",
            Self::Requirements => "incompatible requirements",
            Self::Topology => "unsatisfiable topology constraint",
            Self::NoOffering => "no instance type with an available offering met the requirements",
            Self::Resources => "no instance type has enough resources",
            Self::Limits => "all available instance types exceed limits for nodepool",
            Self::MinValues => "minValues requirement is not met",
            Self::HostPorts => "host port is in use",
        }
    }
}

/// A NodeClaim to be launched.
#[derive(Clone, Debug, PartialEq)]
pub struct NewClaim {
    /// Position of its NodePool.
    pub pool: usize,
    /// Its requirements.
    pub requirements: Requirements,
    /// Requests of its pods, without DaemonSets.
    pub requests: Resources,
    /// Instance types, cheapest first, at most [`MAX_INSTANCE_TYPES`].
    pub types: Vec<usize>,
    /// Number of its pods.
    pub pods: usize,
}

/// Result of a round.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// By pod of the input.
    pub placements: Vec<Placement>,
    /// New NodeClaims, in order of creation.
    pub claims: Vec<NewClaim>,
}

impl Solution {
    /// Whether every pod has a place.
    #[must_use]
    pub fn all_placed(&self) -> bool {
        !self.placements.iter().any(|p| matches!(p, Placement::Unschedulable(_)))
    }
}

/// Runs one round over `pods`.
#[must_use]
pub fn solve(input: &Input<'_>, pods: &[Pending<'_>]) -> Solution {
    Solver::new(input).solve(pods, &[])
}

/// A cluster prepared for many rounds, with what rounds learnt; follows its nodes.
#[derive(Debug)]
pub struct Prepared(round::Round);

impl Prepared {
    /// Prepares `input`.
    #[must_use]
    pub fn new(input: &Input<'_>) -> Self {
        Self(round::Round::new(input))
    }
    /// Reads nodes of the input anew, among them such as were not there before. Nothing but
    /// nodes and limits may differ from the input it was prepared from.
    pub fn renew(&mut self, input: &Input<'_>, changed: &[usize]) {
        self.0.renew_nodes(input, changed);
    }
    /// Nodes that are gone: their positions in the input mean nothing, or new ones later.
    pub fn forget(&mut self, gone: &[usize]) {
        self.0.forget_nodes(gone);
    }
    /// Whether so much was learnt that it is better to start afresh.
    #[must_use]
    pub fn is_bloated(&self) -> bool {
        self.0.is_bloated()
    }
}

/// A cluster in one state, for many rounds, as consolidation runs them.
#[derive(Debug)]
pub struct Solver<'a> {
    input: &'a Input<'a>,
    round: round::Round,
    memory: round::Memory,
}

impl<'a> Solver<'a> {
    /// Prepares `input`.
    #[must_use]
    pub fn new(input: &'a Input<'a>) -> Self {
        Self::resume(input, Prepared::new(input))
    }
    /// Goes on with what was prepared and follows `input`.
    #[must_use]
    pub fn resume(input: &'a Input<'a>, prepared: Prepared) -> Self {
        let mut round = prepared.0;
        round.renew_limits(input);
        Self { input, round, memory: round::Memory::default() }
    }
    /// Gives back what was prepared.
    #[must_use]
    pub fn finish(self) -> Prepared {
        Prepared(self.round)
    }
    /// Runs a round over `pods` without the nodes `removed` (positions in the input) and goes
    /// back to the state before.
    pub fn solve(&mut self, pods: &[Pending<'_>], removed: &[usize]) -> Solution {
        self.round.remove(self.input, removed);
        let solution = self.round.run(self.input, pods);
        self.round.reset(self.input);
        solution
    }
    /// What such a round comes to, no further than to the second NodeClaim; the first `waiting`
    /// pods waited already.
    pub fn brief(&mut self, pods: &[Pending<'_>], removed: &[usize], waiting: usize) -> Brief {
        self.round.brief(self.input, pods, removed, waiting, 1)
    }
    /// Begins a row of [`Self::brief_alone`] beside these pods that wait.
    pub fn remember(&mut self, waiting: &[Pending<'_>]) {
        self.memory = self.round.memory(waiting);
    }
    /// What a round without one node comes to; `pods` begins with those that wait.
    pub fn brief_alone(&mut self, pods: &[Pending<'_>], removed: usize, waiting: usize) -> Brief {
        self.round.brief_alone(self.input, &mut self.memory, pods, removed, waiting)
    }
}

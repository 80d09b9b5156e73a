//! The scale-down planner: candidates, simulated removals, nodes to delete, cooldown.
//!
//! Upstream: core/scaledown/planner/planner.go, simulator/cluster.go and
//! core/static_autoscaler.go of release 1.37. Differences: the order of candidates within one
//! class is the caller's node order; parallel-drain risk is not tracked.

use super::budgets::{Bucket, Budget, BudgetGroup, Cropped, crop};
use super::cluster::{Cursor, SimCluster};
use super::drain::BlockingReason;
use super::eligibility::UnremovableReason;
use super::flags::Flags;
use super::unneeded::{GroupRoom, TrackedNode, UnneededNodes, removable_reason};
use crate::units::{SimTime, Span};
use std::collections::BTreeMap;

/// A pod on a candidate.
#[derive(Clone, Debug)]
pub struct CandidatePod<P> {
    /// Handle in the simulated cluster.
    pub pod: P,
    /// What its drain means: `Ok(true)` to be moved, `Ok(false)` to be ignored or left
    /// (mirror, DaemonSet, long terminating), or why it forbids the drain.
    pub moves: Result<bool, BlockingReason>,
    /// Budgets that select it, as positions in the budgets' list.
    pub pdbs: Vec<usize>,
}

/// A node that might be removed.
#[derive(Clone, Debug)]
pub struct Candidate<K, P> {
    /// Stable key of the node.
    pub key: K,
    /// Position in the simulated cluster.
    pub position: usize,
    /// Position of its group.
    pub group: usize,
    /// Result of [`super::eligibility::ineligible`].
    pub ineligible: Option<UnremovableReason>,
    /// Its pods.
    pub pods: Vec<CandidatePod<P>>,
}

impl<K, P> Candidate<K, P> {
    fn is_empty(&self) -> bool {
        !self.pods.iter().any(|p| p.moves != Ok(false))
    }
}

/// Times that scale-down waits after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cooldown {
    /// Last scale-up.
    pub last_scale_up: Option<SimTime>,
    /// Last deletion.
    pub last_delete: Option<SimTime>,
    /// Last failed deletion.
    pub last_failure: Option<SimTime>,
}

impl Cooldown {
    /// Whether deletions must wait at `now`; unneeded nodes are tracked meanwhile.
    #[must_use]
    pub fn active(&self, flags: &Flags, now: SimTime) -> bool {
        let waits = |last: Option<SimTime>, delay: Span| last.is_some_and(|at| at + delay > now);
        waits(self.last_scale_up, flags.scale_down_delay_after_add)
            || waits(self.last_delete, flags.delay_after_delete())
            || waits(self.last_failure, flags.scale_down_delay_after_failure)
    }
}

impl Cooldown {
    /// The next time after `now` at which one of the waits ends.
    #[must_use]
    pub fn next_end(&self, flags: &Flags, now: SimTime) -> Option<SimTime> {
        let end = |last: Option<SimTime>, delay: Span| last.map(|at| at + delay);
        [
            end(self.last_scale_up, flags.scale_down_delay_after_add),
            end(self.last_delete, flags.delay_after_delete()),
            end(self.last_failure, flags.scale_down_delay_after_failure),
        ]
        .into_iter()
        .flatten()
        .filter(|&at| at > now)
        .min()
    }
}

/// A node that may go in this loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToDelete<K> {
    /// Key of the node.
    pub key: K,
    /// Position of its group.
    pub group: usize,
    /// Whether pods must be moved first.
    pub drain: bool,
}

/// A group at the last check.
#[derive(Clone, Copy, Debug)]
pub struct GroupState {
    /// Minimum, target and deletions under way.
    pub room: GroupRoom,
    /// Registered nodes.
    pub registered: i64,
    /// Scales between zero and all only.
    pub atomic: bool,
    /// Required unneeded time.
    pub unneeded_time: Span,
    /// Required time of an unready node.
    pub unready_time: Span,
    /// Cores of one node.
    pub node_cores: i64,
    /// Memory of one node, in bytes.
    pub node_memory: i64,
}

/// Node facts of the last check, by key.
#[derive(Clone, Copy, Debug)]
pub struct NodeState {
    /// Annotated against removal.
    pub scale_down_disabled: bool,
    /// Ready.
    pub ready: bool,
    /// Position of its group, if any.
    pub group: Option<usize>,
}

/// Deletions under way and totals of the cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClusterTotals {
    /// Deletions of empty nodes under way.
    pub empty_in_progress: i64,
    /// Drains under way.
    pub drain_in_progress: i64,
    /// Cores, without nodes being deleted.
    pub cores: i64,
    /// Memory in bytes, likewise.
    pub memory: i64,
}

/// Memory of the planner across loops.
#[derive(Clone, Debug)]
pub struct Planner<K> {
    unneeded: UnneededNodes<K>,
    /// Of each unneeded node: its group and whether it has pods to move.
    found: Vec<(K, bool)>,
    unremovable: BTreeMap<K, (SimTime, UnremovableReason)>,
    /// Why nodes were not removable in the last loop.
    reasons: BTreeMap<K, UnremovableReason>,
    cursor: Cursor,
}

impl<K: Ord> Default for Planner<K> {
    fn default() -> Self {
        Self {
            unneeded: UnneededNodes::default(),
            found: Vec::new(),
            unremovable: BTreeMap::new(),
            reasons: BTreeMap::new(),
            cursor: Cursor::default(),
        }
    }
}

impl<K: Ord + Copy> Planner<K> {
    /// Whether `node` was found unremovable lately and is not looked at again yet.
    #[must_use]
    pub fn is_recently_unremovable(&self, node: K, now: SimTime) -> bool {
        self.unremovable.get(&node).is_some_and(|&(until, _)| until > now)
    }

    /// Unneeded nodes and since when.
    #[must_use]
    pub const fn unneeded(&self) -> &UnneededNodes<K> {
        &self.unneeded
    }

    /// Why a node was kept in the last loop.
    #[must_use]
    pub fn reason(&self, node: K) -> Option<UnremovableReason> {
        self.reasons.get(&node).copied()
    }

    /// When the first node found unremovable is looked at again.
    #[must_use]
    pub fn next_recheck(&self) -> Option<SimTime> {
        self.unremovable.values().map(|&(until, _)| until).min()
    }

    /// Forgets unneeded nodes, as the loop does when the cluster is unhealthy.
    pub fn clear(&mut self) {
        self.unneeded.clear();
        self.found.clear();
    }

    /// Simulates removals and notes which nodes are unneeded. `pdbs` are the disruptions that
    /// each budget still allows. `cluster` keeps the moves of nodes found removable; roll it
    /// back to a checkpoint of your own.
    pub fn update<C: SimCluster>(
        &mut self,
        candidates: &[Candidate<K, C::Pod>],
        cluster: &mut C,
        pdbs: &[i32],
        flags: &Flags,
        now: SimTime,
    ) {
        self.unremovable.retain(|_, (until, _)| *until > now);
        self.reasons.clear();
        let mut eligible = Vec::new();
        for (i, candidate) in candidates.iter().enumerate() {
            match candidate.ineligible {
                Some(reason) => {
                    self.reasons.insert(candidate.key, reason);
                }
                None => eligible.push(i),
            }
        }
        let (order, extra_from) = self.order(candidates, eligible, candidates.len(), flags);
        let limit = self.unneeded_limit(flags);
        let mut pdbs = pdbs.to_vec();
        let mut gone = vec![false; cluster.len()];
        let mut found: Vec<(K, bool)> = Vec::new();
        let mut non_empty = 0;
        for (turn, i) in order.into_iter().enumerate() {
            let candidate = &candidates[i];
            let is_empty = candidate.is_empty();
            let extra = turn >= extra_from;
            if found.len() >= limit {
                break;
            }
            if extra && !is_empty && non_empty >= flags.scale_down_non_empty_candidates_count {
                break;
            }
            match self.simulate(candidate, cluster, &gone, &mut pdbs) {
                Ok(()) => {
                    gone[candidate.position] = true;
                    non_empty += usize::from(!is_empty);
                    found.push((candidate.key, !is_empty));
                }
                Err(reason) => {
                    self.reasons.insert(candidate.key, reason);
                    let until = now + flags.unremovable_node_recheck_timeout;
                    self.unremovable.insert(candidate.key, (until, reason));
                }
            }
        }
        self.unneeded.update(found.iter().map(|&(key, _)| key), now);
        self.found = found;
    }

    /// Empty nodes, then earlier candidates, then others from the pool; where the last begin.
    fn order<P>(
        &self,
        candidates: &[Candidate<K, P>],
        eligible: Vec<usize>,
        nodes: usize,
        flags: &Flags,
    ) -> (Vec<usize>, usize) {
        let (empty, rest): (Vec<usize>, Vec<usize>) =
            eligible.into_iter().partition(|&i| candidates[i].is_empty());
        let known = |i: &usize| self.unneeded.since(&candidates[*i].key).is_some();
        let (empty_known, empty_new): (Vec<usize>, Vec<usize>) = empty.into_iter().partition(known);
        let (earlier, others): (Vec<usize>, Vec<usize>) = rest.into_iter().partition(known);
        let ratio = (nodes as f64 * flags.scale_down_candidates_pool_ratio).ceil() as usize;
        let pool = ratio.max(flags.scale_down_candidates_pool_min_count);
        let mut order = empty_known;
        order.extend(empty_new);
        order.extend(earlier);
        let extra_from = order.len();
        order.extend(others.into_iter().take(pool));
        (order, extra_from)
    }

    /// Unneeded nodes found at which the simulation stops.
    fn unneeded_limit(&self, flags: &Flags) -> usize {
        let parallel = flags.max_scale_down_parallelism.max(0).unsigned_abs();
        let interval = flags.scan_interval.nanos().max(1);
        let loops = flags.scale_down_unneeded_time.nanos() / interval;
        let tracked = self.unneeded.len() as u64;
        let limit = (tracked.saturating_add(parallel.saturating_mul(2)))
            .min(parallel.saturating_mul(loops).saturating_add(parallel));
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    fn simulate<C: SimCluster>(
        &mut self,
        candidate: &Candidate<K, C::Pod>,
        cluster: &mut C,
        gone: &[bool],
        pdbs: &mut [i32],
    ) -> Result<(), UnremovableReason> {
        let mut needed: BTreeMap<usize, i32> = BTreeMap::new();
        for pod in &candidate.pods {
            match pod.moves {
                Err(_) => return Err(UnremovableReason::BlockedByPod),
                Ok(false) => {}
                Ok(true) => {
                    for &pdb in &pod.pdbs {
                        *needed.entry(pdb).or_insert(0) += 1;
                    }
                }
            }
        }
        let allowed = |pdb: usize| pdbs.get(pdb).copied().unwrap_or(0);
        if needed.keys().any(|&pdb| allowed(pdb) < 1) {
            return Err(UnremovableReason::BlockedByPod);
        }
        let mark = cluster.checkpoint();
        let moving = || candidate.pods.iter().filter(|p| p.moves == Ok(true));
        for pod in moving() {
            cluster.remove_pod(pod.pod, candidate.position);
        }
        for pod in moving() {
            let home = candidate.position;
            let free = |node: usize| node != home && !gone.get(node).copied().unwrap_or(false);
            if self.cursor.place_on_any(cluster, pod.pod, free).is_none() {
                cluster.rollback(mark);
                return Err(UnremovableReason::NoPlaceToMovePods);
            }
        }
        for (pdb, count) in needed {
            if let Some(left) = pdbs.get_mut(pdb) {
                *left -= count;
            }
        }
        Ok(())
    }

    /// The unneeded nodes whose deletion starts now, and why others must stay (added to
    /// [`Self::reason`]).
    pub fn nodes_to_delete(
        &mut self,
        groups: &[GroupState],
        node_state: impl Fn(K) -> NodeState,
        totals: &ClusterTotals,
        flags: &Flags,
        now: SimTime,
    ) -> Vec<ToDelete<K>> {
        let mut deletions: Vec<i64> = groups.iter().map(|g| g.room.deletions).collect();
        let mut cores = totals.cores - flags.cores_total.min;
        let mut memory =
            totals.memory.saturating_sub(flags.memory_total.min.saturating_mul(1 << 30));
        let mut empty: Vec<Bucket<K>> = Vec::new();
        let mut drain: Vec<Bucket<K>> = Vec::new();
        let mut found = self.found.clone();
        found.sort_by_key(|&(_, has_pods)| has_pods);
        for (key, has_pods) in found {
            let node = node_state(key);
            let group = node.group.and_then(|g| groups.get(g).map(|state| (g, state)));
            let tracked = TrackedNode {
                scale_down_disabled: node.scale_down_disabled,
                ready: node.ready,
                unneeded_for: now.since(self.unneeded.since(&key).unwrap_or(now)),
                group: group.map(|(g, state)| GroupRoom { deletions: deletions[g], ..state.room }),
                unneeded_time: group.map(|(_, state)| state.unneeded_time),
                unready_time: group.map(|(_, state)| state.unready_time),
                below_cluster_minimum: group.is_some_and(|(_, state)| {
                    state.node_cores > cores || state.node_memory > memory
                }),
            };
            if let Some(reason) = removable_reason(&tracked) {
                self.reasons.insert(key, reason);
                continue;
            }
            let Some((g, state)) = group else { continue };
            deletions[g] += 1;
            cores -= state.node_cores;
            memory -= state.node_memory;
            push(if has_pods { &mut drain } else { &mut empty }, g, key);
        }
        let budget = Budget {
            max_parallelism: flags.max_scale_down_parallelism,
            max_drain_parallelism: flags.max_drain_parallelism,
            empty_in_progress: totals.empty_in_progress,
            drain_in_progress: totals.drain_in_progress,
        };
        let of = |g: usize| {
            groups.get(g).map_or_else(BudgetGroup::default, |state| BudgetGroup {
                target: state.room.target,
                registered: state.registered,
                atomic: state.atomic,
            })
        };
        flatten(crop(&budget, of, empty, drain))
    }
}

fn push<K>(buckets: &mut Vec<Bucket<K>>, group: usize, key: K) {
    match buckets.iter_mut().find(|b| b.group == group) {
        Some(bucket) => bucket.nodes.push(key),
        None => buckets.push(Bucket { group, nodes: vec![key] }),
    }
}

fn flatten<K: Copy>(cropped: Cropped<K>) -> Vec<ToDelete<K>> {
    let list = |buckets: &[Bucket<K>], drain: bool| -> Vec<ToDelete<K>> {
        buckets
            .iter()
            .flat_map(|b| b.nodes.iter().map(move |&key| ToDelete { key, group: b.group, drain }))
            .collect()
    };
    let mut all = list(&cropped.empty, false);
    all.extend(list(&cropped.drain, true));
    all
}

//! Draining one node.

use super::NodeGroups;
use crate::engine::Cx;
use crate::units::{Id, SimTime};
use crate::world::cloud::{Instance, InstanceState};
use crate::world::nodes::SystemTaint;
use crate::world::{Change, Client, Node, NodeCondition, Phase, PodId, Reason, Request};

/// Why a node is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Its spot instance has the notice: EC2 ends it.
    Notice,
    /// A replacement is on its way; the drain waits until that is Ready.
    Rebalance,
    /// Its zone has too many of the group; the drain waits for the replacement too.
    Level,
    /// Its group shrinks.
    ScaleIn,
    /// An update replaces it; with `force`, pods that do not leave are deleted.
    Update {
        /// Delete what cannot be evicted.
        force: bool,
    },
}

/// What became of the drain of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Waits for the replacement.
    Waiting,
    /// Pods are leaving, since then.
    Evicting(SimTime),
    /// The pods have left, at this time.
    Empty(SimTime),
    /// Pods did not leave in time.
    TimedOut,
}

/// The drain of one node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    pub(super) instance: Id<Instance>,
    pub(super) why: Why,
    pub(super) state: State,
    forced: bool,
}

impl NodeGroups {
    /// Starts a drain, or makes one that waits more urgent.
    pub(super) fn drain(&mut self, instance: Id<Instance>, why: Why, cx: &mut Cx<'_>) {
        match self.drains.iter_mut().find(|d| d.instance == instance) {
            Some(known) => {
                let wait = known.state == State::Waiting;
                known.why = if why == Why::Notice { why } else { known.why };
                if wait && why == Why::Notice {
                    known.start(cx);
                }
            }
            None => {
                let mut drain = Drain { instance, why, state: State::Waiting, forced: false };
                if !matches!(why, Why::Rebalance | Why::Level) {
                    drain.start(cx);
                }
                self.drains.push(drain);
            }
        }
        self.look_later(cx);
    }

    /// A budget refused; the pod is asked to leave again as long as its node is drained.
    pub(super) fn evict_again(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        let Some(p) = cx.api().pods.get(pod).filter(|p| !p.is_terminating()) else { return };
        let Some(node) = p.node else { return };
        let instance = cx.api().nodes[node].instance;
        let drain = self.drains.iter().find(|d| d.instance == instance);
        if let Some(drain) = drain.filter(|d| matches!(d.state, State::Evicting(_))) {
            let reason = drain.reason();
            cx.submit(Client::NodeGroup, Request::EvictPod { pod, reason });
        }
    }
}

impl Drain {
    /// The drain of an old node by an update.
    pub(super) fn of_update(instance: Id<Instance>, force: bool, cx: &mut Cx<'_>) -> Self {
        let why = Why::Update { force };
        let mut drain = Self { instance, why, state: State::Waiting, forced: false };
        drain.start(cx);
        drain
    }

    const fn reason(&self) -> Reason {
        match self.why {
            Why::Notice | Why::Rebalance => Reason::SpotInterruption,
            Why::Level | Why::ScaleIn | Why::Update { .. } => Reason::Drained,
        }
    }

    fn start(&mut self, cx: &mut Cx<'_>) {
        self.state = State::Evicting(cx.now());
        let row = &cx.cloud().instances[self.instance];
        let drains = cx.model().groups[row.group].scaling.drains;
        let Some(node) = row.node.filter(|_| drains) else { return };
        // An update cordons a node only when it is empty; the taint keeps new pods off till then.
        if !matches!(self.why, Why::Update { .. }) {
            cordon(node, cx);
        }
        let reason = self.reason();
        for pod in pods_to_move(node, cx) {
            cx.submit(Client::NodeGroup, Request::EvictPod { pod, reason });
        }
    }

    /// One look; whether the drain goes on.
    pub(super) fn step(&mut self, cx: &mut Cx<'_>) -> bool {
        let row = &cx.cloud().instances[self.instance];
        if row.state == InstanceState::Terminated {
            return false;
        }
        let (node, group) = (row.node, row.group);
        let times = cx.model().settings.node_group;
        match self.state {
            State::Waiting => {
                if is_level(group, cx) {
                    self.start(cx);
                    if !cx.model().groups[group].scaling.drains {
                        // Nothing drains the group's nodes: the instance just ends.
                        self.state = State::TimedOut;
                    }
                }
            }
            State::Evicting(since) => {
                let left = node.map_or_else(Vec::new, |n| pods_to_move(n, cx));
                if left.is_empty() {
                    self.state = State::Empty(cx.now());
                    if let (Some(node), Why::Update { .. }) = (node, self.why) {
                        cordon(node, cx);
                    }
                } else if cx.now() >= since + times.eviction_timeout {
                    self.out_of_time(&left, cx);
                }
            }
            State::Empty(_) | State::TimedOut => {}
        }
        match (self.why, self.state) {
            (Why::Update { .. }, State::Empty(since)) if cx.now() >= since + times.cordon_wait => {
                cx.emit(Change::DrainEnded(self.instance));
            }
            (Why::Rebalance | Why::Level | Why::ScaleIn, State::Empty(_) | State::TimedOut) => {
                cx.emit(Change::DrainEnded(self.instance));
                return false;
            }
            _ => {}
        }
        true
    }

    /// Pods that did not leave: forced ones are deleted, for others the node goes as it is or, in
    /// an update, stays.
    fn out_of_time(&mut self, left: &[PodId], cx: &mut Cx<'_>) {
        match self.why {
            Why::Update { force: true } if !self.forced => {
                self.forced = true;
                for &pod in left {
                    let reason = Reason::Drained;
                    cx.submit(Client::NodeGroup, Request::DeletePod { pod, reason });
                }
            }
            Why::Update { force: true } | Why::Notice => {}
            Why::Update { force: false } | Why::Rebalance | Why::Level | Why::ScaleIn => {
                self.state = State::TimedOut;
            }
        }
    }
}

/// Whether a group has as many Ready nodes as it wants, those on their way out aside.
fn is_level(group: Id<crate::world::model::GroupModel>, cx: &Cx<'_>) -> bool {
    let cloud = cx.cloud();
    let ready = cloud.groups[group].instances.iter().filter_map(|&i| {
        let row = &cloud.instances[i];
        let counts = !row.outgoing && row.alive && is_ready(row, cx);
        counts.then(|| row.group_type(cx.model()).weight)
    });
    ready.fold(0, u32::saturating_add) >= cloud.groups[group].desired
}

/// Whether an instance has a Ready node.
pub(super) fn is_ready(row: &Instance, cx: &Cx<'_>) -> bool {
    row.node.is_some_and(|n| {
        let node = &cx.api().nodes[n];
        node.exists() && node.condition == NodeCondition::Ready
    })
}

fn cordon(node: Id<Node>, cx: &mut Cx<'_>) {
    let row = &cx.api().nodes[node];
    let taint = SystemTaint::Unschedulable;
    if row.exists() && !row.has_taint(taint) {
        cx.submit(Client::NodeGroup, Request::TaintNode { node, taint, on: true });
    }
}

/// Pods that a drain moves: all but those of DaemonSets and those that have ended.
fn pods_to_move(node: Id<Node>, cx: &Cx<'_>) -> Vec<PodId> {
    let moves = |&pod: &PodId| {
        cx.api().pods.get(pod).is_some_and(|p| {
            !cx.model().templates[p.template].daemon
                && !matches!(p.phase, Phase::Succeeded | Phase::Failed)
        })
    };
    cx.api().nodes[node].pods.iter().copied().filter(moves).collect()
}

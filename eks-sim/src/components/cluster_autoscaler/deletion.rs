//! Removing a node: taint and cordon → wait → evict → wait for the pods to be gone → terminate.
//!
//! Upstream: core/scaledown/actuation/{actuator,drain,delete_in_batch}.go of release 1.37.

use super::Active;
use super::scale_down::facts_of;
use crate::engine::Cx;
use crate::policy::cluster_autoscaler::drain::{is_daemon_set_pod, is_mirror_pod};
use crate::policy::cluster_autoscaler::scale_down::ToDelete;
use crate::units::{Id, SimTime, Span};
use crate::world::cloud::InstanceState;
use crate::world::nodes::SystemTaint;
use crate::world::{Change, Client, Node, PodId, Reason, Request};

/// A node that is being removed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deletion {
    /// The node.
    pub node: Id<Node>,
    /// Position of its group.
    pub group: usize,
    /// Whether pods are moved first.
    pub drain: bool,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Waits for the taint to be seen.
    Tainted,
    /// Evictions are being asked for.
    Evicting { since: SimTime, retry: SimTime },
    /// Evicted pods are stopping.
    Draining { since: SimTime },
    /// EC2 was asked to terminate the instance.
    Terminating,
}

impl Active {
    /// Starts the removal of the chosen nodes, or else keeps the soft taints up to date; whether
    /// a removal began.
    pub(super) fn start_removals(&mut self, chosen: &[ToDelete<u32>], cx: &mut Cx<'_>) -> bool {
        let now = cx.now();
        for choice in chosen {
            let node: Id<Node> = Id::new(choice.key);
            self.deletions.push(Deletion {
                node,
                group: choice.group,
                drain: choice.drain,
                stage: Stage::Tainted,
            });
            set_taints(node, true, self.flags.cordon_node_before_terminating, cx);
            Self::again(node, self.flags.node_delete_delay_after_taint, cx);
            self.cooldown.last_delete = Some(now);
            self.dirty = true;
        }
        if chosen.is_empty() && !self.cooldown.active(&self.flags, now) {
            self.soft_taints(cx);
        }
        !chosen.is_empty()
    }

    /// Marks unneeded nodes so that the scheduler avoids them; a few changes a loop.
    fn soft_taints(&mut self, cx: &mut Cx<'_>) {
        let taint = SystemTaint::DeletionCandidate;
        let mut left = self.flags.max_bulk_soft_taint_count;
        for n in cx.api().live_nodes.clone() {
            let row = &cx.api().nodes[n];
            let unneeded = self.planner.unneeded().since(&n.raw()).is_some();
            if unneeded == row.has_taint(taint) {
                continue;
            }
            if left == 0 {
                self.dirty = true;
                return;
            }
            left -= 1;
            let request = Request::TaintNode { node: n, taint, on: unneeded };
            cx.submit(Client::ClusterAutoscaler, request);
        }
    }

    /// Drops removals whose node or instance is gone.
    pub(super) fn forget_removed(&mut self, cx: &Cx<'_>) {
        self.deletions.retain(|d| {
            let row = &cx.api().nodes[d.node];
            let instance = &cx.cloud().instances[row.instance];
            row.exists() && instance.state != InstanceState::Terminated
        });
    }

    /// A taint was refused: the removal fails, or its traces are still to be cleaned up.
    pub(super) fn taint_refused(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        match self.deletions.iter().find(|d| d.node == node) {
            Some(d) if d.stage == Stage::Tainted => self.fail(node, cx),
            Some(_) => {}
            None => {
                if cx.api().nodes[node].has_taint(SystemTaint::ToBeDeletedByClusterAutoscaler) {
                    set_taints(node, false, self.flags.cordon_node_before_terminating, cx);
                }
                self.dirty = true;
            }
        }
    }

    fn fail(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        self.deletions.retain(|d| d.node != node);
        set_taints(node, false, self.flags.cordon_node_before_terminating, cx);
        self.cooldown.last_failure = Some(cx.now());
        self.dirty = true;
    }

    /// The next step of a removal.
    pub(super) fn removal_step(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        let Some(at) = self.deletions.iter().position(|d| d.node == node) else { return };
        if !cx.api().nodes[node].exists() {
            self.deletions.remove(at);
            self.dirty = true;
            return;
        }
        let now = cx.now();
        let deletion = self.deletions[at];
        let stage = match deletion.stage {
            Stage::Tainted if !deletion.drain => {
                if self.flags.daemonset_eviction_for_empty_nodes {
                    evict(&daemons(node, cx), cx);
                }
                if self.movable(node, cx).is_empty() {
                    self.terminate(at, cx);
                } else {
                    // Pods came between decision and taint.
                    self.fail(node, cx);
                }
                return;
            }
            Stage::Tainted => {
                if self.flags.daemonset_eviction_for_occupied_nodes {
                    evict(&daemons(node, cx), cx);
                }
                evict(&self.stubborn(node, cx), cx);
                Stage::Evicting { since: now, retry: now + self.constants.eviction_retry }
            }
            Stage::Evicting { since, retry } => {
                let left = self.stubborn(node, cx);
                if left.is_empty() {
                    Stage::Draining { since: now }
                } else if now >= since + self.flags.max_pod_eviction_time {
                    return self.fail(node, cx);
                } else if now >= retry {
                    evict(&left, cx);
                    Stage::Evicting { since, retry: now + self.constants.eviction_retry }
                } else {
                    Stage::Evicting { since, retry }
                }
            }
            stage => stage,
        };
        self.deletions[at].stage = stage;
        if let Stage::Draining { since } = stage {
            let grace = self.flags.max_graceful_termination_sec.max(0).unsigned_abs();
            if self.movable(node, cx).is_empty() {
                return self.terminate(at, cx);
            }
            if now >= since + Span::from_secs(grace) + self.constants.headroom {
                return self.fail(node, cx);
            }
        }
        if stage != Stage::Terminating {
            Self::again(node, self.constants.drain_poll, cx);
        }
    }

    fn terminate(&mut self, at: usize, cx: &mut Cx<'_>) {
        self.deletions[at].stage = Stage::Terminating;
        self.dirty = true;
        let instance = cx.api().nodes[self.deletions[at].node].instance;
        cx.emit(Change::TerminationWanted(instance));
    }

    /// Pods that a drain moves and that are still there.
    fn movable(&self, node: Id<Node>, cx: &Cx<'_>) -> Vec<PodId> {
        let cutoff = self.flags.expendable_pods_priority_cutoff;
        let mut out = pods(node, false, cx);
        out.retain(|&id| {
            let pod = cx.api().pods.get(id);
            pod.is_some_and(|p| cx.model().templates[p.template].priority >= cutoff)
        });
        out
    }

    /// Movable pods that are not being deleted yet.
    fn stubborn(&self, node: Id<Node>, cx: &Cx<'_>) -> Vec<PodId> {
        let mut out = self.movable(node, cx);
        out.retain(|&id| cx.api().pods.get(id).is_some_and(|p| !p.is_terminating()));
        out
    }
}

fn daemons(node: Id<Node>, cx: &Cx<'_>) -> Vec<PodId> {
    pods(node, true, cx)
}

/// Pods of a node that have not ended, mirror pods left out: those of DaemonSets or the others.
fn pods(node: Id<Node>, of_daemon_sets: bool, cx: &Cx<'_>) -> Vec<PodId> {
    let wanted = |id: &PodId| {
        cx.api().pods.get(*id).is_some_and(|p| {
            let facts = facts_of(p, cx);
            !matches!(facts.phase, "Succeeded" | "Failed")
                && !is_mirror_pod(&facts)
                && is_daemon_set_pod(&facts) == of_daemon_sets
        })
    };
    cx.api().nodes[node].pods.iter().copied().filter(wanted).collect()
}

fn evict(pods: &[PodId], cx: &mut Cx<'_>) {
    for &pod in pods {
        let request = Request::EvictPod { pod, reason: Reason::NodeScaleDown };
        cx.submit(Client::ClusterAutoscaler, request);
    }
}

fn set_taints(node: Id<Node>, on: bool, cordon: bool, cx: &mut Cx<'_>) {
    let taint = SystemTaint::ToBeDeletedByClusterAutoscaler;
    cx.submit(Client::ClusterAutoscaler, Request::TaintNode { node, taint, on });
    if cordon {
        let taint = SystemTaint::Unschedulable;
        cx.submit(Client::ClusterAutoscaler, Request::TaintNode { node, taint, on });
    }
}

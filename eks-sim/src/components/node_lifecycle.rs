//! Node lifecycle controller, taint eviction and pod garbage collection.
//!
//! A machine dies → its lease is not renewed → after the grace period, at the controller's next
//! look, Ready becomes Unknown and its pods not ready → taint `unreachable`, NoExecute at a
//! limited rate per zone → after their toleration its pods are deleted; they stay Terminating
//! until the node object goes.

use crate::engine::{self, Cx, Stream};
use crate::units::{Id, IdVec, SimTime, Span};
use crate::world::cloud::InstanceState;
use crate::world::model::Zone;
use crate::world::nodes::SystemTaint;
use crate::world::{Client, Node, NodeCondition, PodId, PodReport, Reason, Request};

/// What can happen to the node lifecycle controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The machine of a node stopped renewing its lease.
    LeaseStops(Id<Node>),
    /// The grace period of a node may have ended.
    Look(Id<Node>),
    /// A node's condition or taints changed.
    NodeChanged(Id<Node>),
    /// The NoExecute taint of a node is due by the zone's rate.
    TaintDue(Id<Node>),
    /// A pod's toleration ended.
    Evict(PodId),
    /// EC2 says that the instance is terminated.
    InstanceGone(Id<Node>),
    /// A node object is gone: collect its pods.
    NodeGone(Id<Node>),
    /// A pod of a node that is gone is due for collection.
    Collect(PodId),
    /// A write about the pod was refused.
    RetryPod(PodId),
    /// A write about the node was refused.
    RetryNode(Id<Node>),
}

/// The node lifecycle controller.
#[derive(Clone, Debug, Default)]
pub struct NodeLifecycle {
    /// When each zone may taint its next node.
    next_taint: IdVec<Zone, SimTime>,
    /// Nodes with a turn at their zone's rate.
    queued: Vec<Id<Node>>,
    /// Nodes that wait for the zone's rate to be more than nothing.
    stopped: Vec<Id<Node>>,
    /// Nodes whose pods have eviction timers.
    evicting: Vec<Id<Node>>,
}

fn wake(event: Event) -> engine::Event {
    engine::Event::NodeLifecycle(event)
}

impl NodeLifecycle {
    /// Handles one event.
    pub fn handle(&mut self, event: Event, cx: &mut Cx<'_>) {
        match event {
            Event::LeaseStops(n) => lease_stops(n, cx),
            Event::Look(n) => {
                self.stopped.retain(|&s| s != n);
                self.look(n, cx);
            }
            Event::RetryNode(n) => self.look(n, cx),
            Event::NodeChanged(n) => self.node_changed(n, cx),
            Event::TaintDue(n) => {
                self.queued.retain(|&q| q != n);
                // The zone may have got worse since the turn was given.
                let zone = zone_of(n, cx);
                if eviction_rate(zone, cx).is_some() {
                    taint_due(n, cx);
                } else {
                    *self.zone_gate(zone) = cx.now();
                    self.stop(n, cx);
                }
            }
            Event::Evict(p) => evict(p, cx),
            Event::InstanceGone(n) => {
                if cx.api().nodes[n].exists() {
                    cx.submit(Client::NodeLifecycle, Request::DeleteNode { node: n });
                }
            }
            Event::NodeGone(n) => collect_later(n, cx),
            Event::Collect(p) | Event::RetryPod(p) => collect(p, cx),
        }
    }

    fn zone_gate(&mut self, zone: Id<Zone>) -> &mut SimTime {
        while self.next_taint.len() <= zone.index() {
            self.next_taint.push(SimTime::ZERO);
        }
        &mut self.next_taint[zone]
    }

    /// The grace period is over: the node is Unknown and its pods are not ready.
    fn look(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        let row = &cx.api().nodes[node];
        let instance = &cx.cloud().instances[row.instance];
        if !row.exists() {
            return;
        }
        if instance.state == InstanceState::Terminated {
            cx.submit(Client::NodeLifecycle, Request::DeleteNode { node });
            return;
        }
        if instance.alive {
            return;
        }
        if row.condition != NodeCondition::Unknown {
            let condition = NodeCondition::Unknown;
            cx.submit(Client::NodeLifecycle, Request::SetNodeCondition { node, condition });
            return;
        }
        if !row.has_taint(SystemTaint::UnreachableNoSchedule) {
            // The first steps were refused: take them again.
            self.node_changed(node, cx);
        } else if !row.has_taint(SystemTaint::UnreachableNoExecute) {
            self.queue_taint(node, cx);
        }
    }

    fn node_changed(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        let row = &cx.api().nodes[node];
        if !row.exists() {
            return;
        }
        if row.condition == NodeCondition::Ready {
            self.evicting.retain(|&n| n != node);
            return;
        }
        if row.condition == NodeCondition::Unknown
            && !row.has_taint(SystemTaint::UnreachableNoSchedule)
        {
            let taint = SystemTaint::UnreachableNoSchedule;
            cx.submit(Client::NodeLifecycle, Request::TaintNode { node, taint, on: true });
            let pods = cx.api().nodes[node].pods.clone();
            for pod in pods {
                let report = PodReport::Unready;
                cx.submit(Client::NodeLifecycle, Request::Report { pod, report });
            }
            self.queue_taint(node, cx);
        }
        if cx.api().nodes[node].has_taint(SystemTaint::UnreachableNoExecute)
            && !self.evicting.contains(&node)
        {
            self.evicting.push(node);
            start_timers(node, cx);
        }
    }

    /// The node waits: the zone's state may change.
    fn stop(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        if !self.stopped.contains(&node) {
            self.stopped.push(node);
            cx.after(cx.model().settings.node_monitor_period, wake(Event::Look(node)));
        }
    }

    /// NoExecute taints go out at the zone's rate; not at all while every zone is wholly lost or
    /// a small zone is mostly lost (scheduler.md C2).
    fn queue_taint(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        let tainted = cx.api().nodes[node].has_taint(SystemTaint::UnreachableNoExecute);
        if tainted || self.queued.contains(&node) || self.stopped.contains(&node) {
            return;
        }
        let zone = zone_of(node, cx);
        let Some(per_second) = eviction_rate(zone, cx) else { return self.stop(node, cx) };
        self.queued.push(node);
        let gate = self.zone_gate(zone);
        let at = (*gate).max(cx.now());
        *gate = at + Span::from_secs_f64(1.0 / per_second);
        cx.at(at, wake(Event::TaintDue(node)));
    }
}

fn zone_of(node: Id<Node>, cx: &Cx<'_>) -> Id<Zone> {
    cx.cloud().instances[cx.api().nodes[node].instance].zone
}

/// Nodes a second that may be tainted in the zone; `None` is a stop.
fn eviction_rate(zone: Id<Zone>, cx: &Cx<'_>) -> Option<f64> {
    let settings = &cx.model().settings;
    let (mut size, mut lost) = (0_u32, 0_u32);
    let (mut others_fully_lost, mut seen_other) = (true, false);
    let mut zones: IdVec<Zone, (u32, u32)> = cx.model().zones.iter().map(|_| (0, 0)).collect();
    for &n in &cx.api().live_nodes {
        let row = &cx.api().nodes[n];
        let z = cx.cloud().instances[row.instance].zone;
        zones[z].0 += 1;
        zones[z].1 += u32::from(row.condition != NodeCondition::Ready);
    }
    for (z, &(nodes, gone)) in zones.iter() {
        if z == zone {
            (size, lost) = (nodes, gone);
        } else if nodes > 0 {
            seen_other = true;
            others_fully_lost &= gone == nodes;
        }
    }
    let all_lost = lost == size && (!seen_other || others_fully_lost);
    if all_lost {
        return None;
    }
    let share = f64::from(lost) / f64::from(size.max(1));
    if lost == size || lost <= 2 || share < settings.unhealthy_zone_threshold {
        return Some(settings.node_eviction_rate);
    }
    let large = size > settings.large_cluster_size_threshold;
    large.then_some(settings.secondary_node_eviction_rate)
}

/// The lease was last renewed at some time in the last ten seconds; the controller looks every
/// five.
fn lease_stops(node: Id<Node>, cx: &mut Cx<'_>) {
    let settings = &cx.model().settings;
    let key = cx.cloud().instances[cx.api().nodes[node].instance].key;
    let age = settings.lease_renew_interval.secs_f64() * cx.draw(Stream::KubeletSync, key);
    let expires = cx.now() + settings.node_monitor_grace - Span::from_secs_f64(age);
    let period = settings.node_monitor_period.nanos().max(1);
    let looks = expires.nanos().div_ceil(period);
    cx.at(SimTime::from_nanos(looks.saturating_mul(period)), wake(Event::Look(node)));
}

fn taint_due(node: Id<Node>, cx: &mut Cx<'_>) {
    let row = &cx.api().nodes[node];
    if row.exists()
        && row.condition == NodeCondition::Unknown
        && !row.has_taint(SystemTaint::UnreachableNoExecute)
    {
        let taint = SystemTaint::UnreachableNoExecute;
        cx.submit(Client::NodeLifecycle, Request::TaintNode { node, taint, on: true });
    }
}

/// Each pod tolerates the taint for its own time.
fn start_timers(node: Id<Node>, cx: &mut Cx<'_>) {
    let pods = cx.api().nodes[node].pods.clone();
    for pod in pods {
        let Some(p) = cx.api().pods.get(pod) else { continue };
        if let Some(wait) = cx.model().templates[p.template].unreachable_toleration {
            cx.after(wait, wake(Event::Evict(pod)));
        }
    }
}

fn evict(pod: PodId, cx: &mut Cx<'_>) {
    let Some(p) = cx.api().pods.get(pod) else { return };
    // A timer that runs goes on when the node object is deleted; only a node that is well again
    // ends it.
    let tainted = p.node.is_some_and(|n| {
        let row = &cx.api().nodes[n];
        row.has_taint(SystemTaint::UnreachableNoExecute)
    });
    if tainted && !p.is_terminating() {
        let reason = Reason::TaintEviction;
        cx.submit(Client::NodeLifecycle, Request::DeletePod { pod, reason });
    }
}

/// Pods of nodes that are gone are collected after a quarantine, at the collector's next round.
fn collect_later(node: Id<Node>, cx: &mut Cx<'_>) {
    let settings = &cx.model().settings;
    let earliest = cx.now() + settings.pod_gc_quarantine;
    let period = settings.pod_gc_period.nanos().max(1);
    let rounds = earliest.nanos().div_ceil(period);
    let at = SimTime::from_nanos(rounds.saturating_mul(period));
    let pods = cx.api().nodes[node].pods.clone();
    for pod in pods {
        cx.at(at, wake(Event::Collect(pod)));
    }
}

fn collect(pod: PodId, cx: &mut Cx<'_>) {
    let Some(p) = cx.api().pods.get(pod) else { return };
    let orphan = p.node.is_some_and(|n| !cx.api().nodes[n].exists());
    let lost = p.node.is_some_and(|n| cx.api().nodes[n].condition == NodeCondition::Unknown);
    let ready = p.is_ready();
    if orphan {
        cx.submit(Client::NodeLifecycle, Request::RemovePod { pod });
        return;
    }
    if lost && ready {
        let report = PodReport::Unready;
        cx.submit(Client::NodeLifecycle, Request::Report { pod, report });
    }
    evict(pod, cx);
}

//! NodeClaims from registration to their end: initialisation, expiration, interruption, the drain
//! of a node, and what is left when an instance ends by itself.

use super::state::{ClaimId, Ending};
use super::{Event, Karpenter, wake};
use crate::engine::Cx;
use crate::policy::fit;
use crate::policy::karpenter::lifecycle::{EvictionGroup, do_not_disrupt};
use crate::units::{Id, SimTime, Span};
use crate::world::cloud::{Instance, InstanceState};
use crate::world::nodes::SystemTaint;
use crate::world::{Change, Client, Node, NodeCondition, PodId, Reason, Request};

/// First wait before an eviction that was refused is tried again.
const EVICTION_RETRY: Span = Span::from_millis(100);
/// Longest wait before an eviction is tried again.
const EVICTION_RETRY_MAX: Span = Span::from_secs(10);
/// Time between looks at a drain.
const DRAIN_STEP: Span = Span::from_secs(1);
/// A pod that is Terminating so long after its grace period holds a drain no longer.
const STUCK: Span = Span::from_secs(60);
/// Annotation that protects pods and nodes.
pub(super) const DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";

impl Karpenter {
    pub(super) fn node_changed(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        let instance = cx.api().nodes[node].instance;
        let Some(&id) = self.by_instance.get(&instance) else {
            self.disruption.touch();
            return;
        };
        if self.claims[id].gone || !cx.api().nodes[node].exists() {
            return;
        }
        if self.claims[id].node.is_none() {
            self.claims[id].node = Some(node);
            self.by_node.insert(node, id);
            let registered = SystemTaint::KarpenterUnregistered;
            taint(node, registered, false, cx);
            if self.claims[id].deleting.is_some() {
                self.start_drain(id, cx);
            }
        }
        if self.daemons_stand(node, cx) {
            taint(node, SystemTaint::Startup, false, cx);
        }
        if !self.claims[id].is_initialized() && Self::is_up(node, cx) {
            self.claims[id].initialized = cx.now();
            self.replacement_ready(cx);
        }
        self.watch_health(id, cx);
        self.disruption.touch();
    }

    /// Something happened to a NodeClaim that people may want to know.
    pub(super) fn note(
        &mut self,
        id: ClaimId,
        reason: &'static str,
        message: String,
        cx: &mut Cx<'_>,
    ) {
        let notes = &mut self.claims[id].notes;
        notes.push((reason, message));
        cx.emit(Change::NodeClaimChanged(id.raw(), notes.len() as u32 - 1));
    }

    /// Whether the startup taints can go: what removes them (an agent of some DaemonSet) is taken
    /// to be done once all DaemonSet pods of the node are Ready.
    fn daemons_stand(&mut self, node: Id<Node>, cx: &Cx<'_>) -> bool {
        let row = &cx.api().nodes[node];
        if row.condition != NodeCondition::Ready || !row.has_taint(SystemTaint::Startup) {
            return false;
        }
        let expected = self.daemons_expected(row.instance, cx);
        let daemons = row.pods.iter().filter_map(|&p| cx.api().pods.get(p));
        let ready = daemons.filter(|p| cx.model().templates[p.template].daemon && p.is_ready());
        ready.count() >= expected
    }

    pub(super) fn pod_moved(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        self.disruption.touch();
        let Some(p) = cx.api().pods.get(pod) else {
            self.promised.remove(&pod);
            return;
        };
        let Some(node) = p.node else { return };
        self.pending.remove(&pod);
        self.promised.remove(&pod);
        if cx.model().templates[p.template].daemon {
            return;
        }
        if let Some(&id) = self.by_node.get(&node) {
            self.claims[id].last_pod_event = Some(cx.now());
        }
    }

    pub(super) fn registration_due(&mut self, id: ClaimId, cx: &mut Cx<'_>) {
        if self.claims[id].node.is_none() && !self.claims[id].gone {
            self.end(id, Ending::NotRegistered, cx);
        }
    }

    pub(super) fn expire(&mut self, id: ClaimId, cx: &mut Cx<'_>) {
        self.end(id, Ending::Expired, cx);
    }

    /// Two minutes are left: the offering is avoided and the node drained at once.
    pub(super) fn spot_notice(&mut self, instance: Id<Instance>, cx: &mut Cx<'_>) {
        let Some(&id) = self.by_instance.get(&instance) else { return };
        if !Self::rules(cx).options.interruption_queue {
            return;
        }
        let row = &cx.cloud().instances[instance];
        let t = row.group_type(cx.model());
        let kind = super::launch::karpenter_capacity(t.capacity);
        let (name, zone) = (t.instance_type.name, row.zone);
        self.mark_unavailable(name, kind, zone, cx);
        self.end(id, Ending::Interrupted, cx);
    }

    /// Deletes a NodeClaim: its node is drained, its instance ended.
    pub(super) fn end(&mut self, id: ClaimId, why: Ending, cx: &mut Cx<'_>) {
        let claim = &mut self.claims[id];
        if claim.gone || claim.deleting.is_some() {
            return;
        }
        claim.deleting = Some((cx.now(), why));
        self.disruption.touch();
        self.note(id, "Deleted", why.text().to_owned(), cx);
        // Without an answer to its CreateFleet call yet, the end waits for it.
        if self.claims[id].fleet.is_some_and(|f| self.by_fleet.contains_key(&f)) {
            return;
        }
        if self.claims[id].node.is_some() {
            self.start_drain(id, cx);
        } else {
            self.terminate(id, cx);
            self.forget(id, cx);
        }
    }

    fn start_drain(&mut self, id: ClaimId, cx: &mut Cx<'_>) {
        let Some(node) = self.claims[id].node else { return };
        if let Some(grace) = self.claims[id].template.termination_grace_period {
            self.claims[id].deadline = cx.now() + grace;
        }
        taint(node, SystemTaint::KarpenterDisrupted, true, cx);
        // Its pods need a place: that opens a batch.
        let model = cx.model();
        let homeless = cx.api().nodes[node].pods.iter().any(|&p| {
            cx.api().pods.get(p).is_some_and(|p| super::state::is_reschedulable(p, model))
        });
        if homeless {
            self.trigger(cx);
        }
        cx.after(Span::ZERO, wake(Event::Drain(id)));
    }

    /// One look at a drain: the first group of pods that is left is evicted.
    pub(super) fn drain(&mut self, id: ClaimId, cx: &mut Cx<'_>) {
        let Some(node) = self.claims[id].node.filter(|_| !self.claims[id].gone) else { return };
        if !cx.api().nodes[node].exists() {
            return;
        }
        let now = cx.now();
        let overdue = self.claims[id].deadline <= now;
        let left = waiting_for(node, cx);
        let first = left.iter().map(|&(group, _)| group).min();
        let attached = cx.cloud().volumes.values().any(|v| v.attached == Some(node));
        if overdue || (left.is_empty() && !attached) {
            self.terminate(id, cx);
            return;
        }
        if cx.cloud().api_available() {
            self.force(id, &left, cx);
            for &(_, pod) in left.iter().filter(|(group, _)| Some(*group) == first) {
                self.evict(id, pod, cx);
            }
        }
        cx.after(DRAIN_STEP, wake(Event::Drain(id)));
    }

    /// Asks for the eviction of a pod unless it is protected or was asked for a moment ago.
    fn evict(&mut self, id: ClaimId, pod: PodId, cx: &mut Cx<'_>) {
        let now = cx.now();
        let Some(p) = cx.api().pods.get(pod).filter(|p| !p.is_terminating()) else { return };
        let annotations = &cx.model().templates[p.template].object.metadata.annotations;
        let mark = annotations.get(DO_NOT_DISRUPT).map(String::as_str);
        if do_not_disrupt(mark, p.started, now) {
            return;
        }
        let tried = self.claims[id].evictions.entry(pod).or_insert((now, EVICTION_RETRY));
        if tried.0 > now {
            return;
        }
        *tried = (now + tried.1, (tried.1 * 2).min(EVICTION_RETRY_MAX));
        let reason = Reason::NodeDisrupted;
        cx.submit(Client::Karpenter, Request::EvictPod { pod, reason });
    }

    /// Before the deadline pods are deleted so that their grace period ends in time.
    fn force(&self, id: ClaimId, left: &[(EvictionGroup, PodId)], cx: &mut Cx<'_>) {
        let deadline = self.claims[id].deadline;
        if deadline == SimTime::NEVER {
            return;
        }
        for &(_, pod) in left {
            let Some(p) = cx.api().pods.get(pod).filter(|p| !p.is_terminating()) else { continue };
            let grace = cx.model().templates[p.template].grace;
            if cx.now() + grace >= deadline {
                let reason = Reason::NodeDisrupted;
                cx.submit(Client::Karpenter, Request::DeletePod { pod, reason });
            }
        }
    }

    fn terminate(&mut self, id: ClaimId, cx: &mut Cx<'_>) {
        let Some(instance) = self.claims[id].instance else { return };
        let row = &mut cx.cloud_mut().instances[instance];
        if row.state != InstanceState::Terminated {
            row.end_reason = self.claims[id].deleting.map_or("", |(_, why)| why.text());
            cx.emit(Change::TerminationWanted(instance));
        }
    }

    /// The instance is gone: so is the node object, and then the NodeClaim.
    pub(super) fn instance_gone(&mut self, instance: Id<Instance>, cx: &mut Cx<'_>) {
        let Some(&id) = self.by_instance.get(&instance) else { return };
        let expected = self.claims[id].deleting.is_some();
        if !expected {
            self.claims[id].deleting = Some((cx.now(), Ending::Vanished));
        }
        match self.claims[id].node {
            // A NodeClaim whose instance vanished is left to the node lifecycle controller.
            Some(node) if expected && cx.api().nodes[node].exists() => {
                cx.submit(Client::Karpenter, Request::DeleteNode { node });
            }
            Some(node) if cx.api().nodes[node].exists() => {}
            _ => self.forget(id, cx),
        }
        self.disruption.touch();
    }

    pub(super) fn node_gone(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        self.disruption.touch();
        if let Some(&id) = self.by_node.get(&node) {
            self.terminate(id, cx);
            self.forget(id, cx);
        }
    }

    /// Nothing is left of the NodeClaim.
    fn forget(&mut self, id: ClaimId, cx: &mut Cx<'_>) {
        let claim = &mut self.claims[id];
        claim.gone = true;
        claim.evictions.clear();
        claim.facts = super::facts::PodFacts::default();
        if let Some(node) = claim.node {
            self.by_node.remove(&node);
        }
        if let Some(instance) = claim.instance {
            self.by_instance.remove(&instance);
        }
        self.live.retain(|&c| c != id);
        self.claim_lost(id, cx);
        self.static_later(id, cx);
    }
}

/// Asks for a taint to be set or removed, if that changes anything.
pub(super) fn taint(node: Id<Node>, taint: SystemTaint, on: bool, cx: &mut Cx<'_>) {
    if cx.api().nodes[node].exists() && cx.api().nodes[node].has_taint(taint) != on {
        cx.submit(Client::Karpenter, Request::TaintNode { node, taint, on });
    }
}

/// Pods that a drain waits for, by group. Those that tolerate the taint stay.
fn waiting_for(node: Id<Node>, cx: &Cx<'_>) -> Vec<(EvictionGroup, PodId)> {
    let disrupted = SystemTaint::KarpenterDisrupted.taint();
    let row = &cx.api().nodes[node];
    row.pods
        .iter()
        .filter_map(|&pod| {
            let p = cx.api().pods.get(pod)?;
            let t = &cx.model().templates[p.template];
            let stuck = p.is_terminating() && p.deleting + t.grace + STUCK <= cx.now();
            if !super::state::takes_room(p) || stuck || fit::tolerates(&t.object.spec, &disrupted) {
                return None;
            }
            let class = t.object.spec.priority_class_name.as_deref();
            Some((EvictionGroup::new(class, t.daemon), pod))
        })
        .collect()
}

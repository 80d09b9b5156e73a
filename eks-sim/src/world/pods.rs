//! Pods, as etcd holds them.

use super::model::{ClaimModel, Template};
use super::owners::Set;
use super::shapes::Shape;
use super::table::Handle;
use super::{Api, Model, Node, Workload};
use crate::units::key::{key, key_str};
use crate::units::{Id, SimTime, Span};

/// Reference to a pod.
pub type PodId = Handle<Pod>;

/// `status.phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not all containers have started.
    Pending,
    /// Running.
    Running,
    /// All containers ended well.
    Succeeded,
    /// A container ended badly for good.
    Failed,
}

/// A pod.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Direct owner.
    pub set: Id<Set>,
    /// What it is made from.
    pub template: Id<Template>,
    /// Serial number in its set, or its ordinal or completion index.
    pub ordinal: u32,
    /// Which pod of that ordinal it is (StatefulSets and Jobs make several).
    pub incarnation: u32,
    /// Stable identity for draws.
    pub key: u64,
    /// Created.
    pub created: SimTime,
    /// Bound to a node.
    pub bound: SimTime,
    /// Containers started.
    pub started: SimTime,
    /// Ready since; `NEVER` while it is not.
    pub ready_since: SimTime,
    /// Last change of the Ready condition.
    pub ready_changed: SimTime,
    /// First time it was Ready.
    pub first_ready: SimTime,
    /// Deletion asked for.
    pub deleting: SimTime,
    /// Node.
    pub node: Option<Id<Node>>,
    /// Node that preemption reserved.
    pub nominated: Option<Id<Node>>,
    /// Phase.
    pub phase: Phase,
    /// Container restarts.
    pub restarts: u32,
    /// Condition `DisruptionTarget`: preempted, evicted or on a node that was lost.
    pub disruption_target: bool,
    /// Counted by its Job as failed while it still ends.
    pub counted: bool,
    /// Its scheduling gates were removed.
    pub ungated: bool,
    /// Gone; the row is only kept until everybody has heard of it.
    pub detached: bool,
    /// Its size, if it differs from the template's.
    pub shape: Option<Id<Shape>>,
    /// The size it is being resized to.
    pub resizing: Option<Id<Shape>>,
    /// The last time a container was killed for its memory, and how long it had run.
    pub last_oom: Option<(SimTime, Span)>,
}

impl Pod {
    /// Whether the Ready condition is True.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready_since != SimTime::NEVER
    }
    /// When its Ready condition last changed, or its creation.
    #[must_use]
    pub fn changed(&self) -> SimTime {
        if self.ready_changed == SimTime::NEVER { self.created } else { self.ready_changed }
    }
    /// Whether it has a deletion time stamp.
    #[must_use]
    pub fn is_terminating(&self) -> bool {
        self.deleting != SimTime::NEVER
    }
    /// Whether it neither ended nor is being deleted.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.is_terminating() && matches!(self.phase, Phase::Pending | Phase::Running)
    }
}

/// What the API server is asked to create.
#[derive(Clone, Copy, Debug)]
pub struct NewPod {
    /// Owner.
    pub set: Id<Set>,
    /// Template.
    pub template: Id<Template>,
    /// Serial number, ordinal or completion index.
    pub ordinal: u32,
    /// Stable identity for draws.
    pub key: u64,
    /// Whether the owner lists it.
    pub listed: bool,
}

impl Api {
    /// Adds a pod.
    pub fn create_pod(&mut self, new: NewPod, now: SimTime) -> PodId {
        let owner = &mut self.sets[new.set];
        let incarnation = owner.created;
        owner.created += 1;
        owner.active += 1;
        let pod = self.pods.insert(Pod {
            set: new.set,
            template: new.template,
            ordinal: new.ordinal,
            incarnation,
            key: new.key,
            created: now,
            bound: SimTime::NEVER,
            started: SimTime::NEVER,
            ready_since: SimTime::NEVER,
            ready_changed: SimTime::NEVER,
            first_ready: SimTime::NEVER,
            deleting: SimTime::NEVER,
            node: None,
            nominated: None,
            phase: Phase::Pending,
            restarts: 0,
            disruption_target: false,
            counted: false,
            ungated: false,
            detached: false,
            shape: None,
            resizing: None,
            last_oom: None,
        });
        if new.listed {
            self.sets[new.set].pods.push(pod);
        }
        self.touch(pod);
        pod
    }

    /// Notes that something about a pod changed that autoscalers look at.
    pub fn touch(&mut self, pod: PodId) {
        if let Some(p) = self.pods.get(pod) {
            if let Some(node) = p.node {
                let version = &mut self.nodes[node].version;
                *version = version.wrapping_add(1);
            }
            self.touch_workload(self.sets[p.set].workload);
        }
    }

    /// Notes that something about a workload changed that its autoscalers look at.
    pub fn touch_workload(&mut self, workload: Id<Workload>) {
        while self.versions.len() <= workload.index() {
            self.versions.push(0);
        }
        let version = &mut self.versions[workload];
        *version = version.wrapping_add(1);
    }

    /// The pod's claims: position in its template, and the key of the volume.
    #[must_use]
    pub fn volumes_of(&self, pod: PodId, model: &Model) -> Vec<(usize, u64)> {
        let Some(p) = self.pods.get(pod) else { return Vec::new() };
        let claims = &model.templates[p.template].claims;
        if claims.is_empty() {
            return Vec::new();
        }
        let workload = self.sets[p.set].workload;
        let owner = &model.workloads[self.workloads[workload].model];
        let volume = |claim: &ClaimModel| {
            let name = key_str(&claim.name);
            if claim.per_pod {
                key(&[owner.key, name, u64::from(p.ordinal)])
            } else {
                key(&[key_str(&owner.namespace), name])
            }
        };
        claims.iter().map(volume).enumerate().collect()
    }

    /// Writes the binding. Returns whether the pod could be bound.
    pub fn bind(&mut self, pod: PodId, node: Id<Node>, now: SimTime) -> bool {
        let Some(p) = self.pods.get_mut(pod) else { return false };
        if p.node.is_some() || p.is_terminating() || !self.nodes[node].exists() {
            return false;
        }
        p.node = Some(node);
        p.bound = now;
        p.nominated = None;
        let row = &mut self.nodes[node];
        row.pods.push(pod);
        row.version = row.version.wrapping_add(1);
        true
    }

    /// Writes the Ready condition. Returns whether it changed.
    pub fn set_ready(&mut self, pod: PodId, ready: bool, now: SimTime) -> bool {
        let Some(p) = self.pods.get_mut(pod) else { return false };
        if p.is_ready() == ready {
            return false;
        }
        p.ready_changed = now;
        if ready {
            p.ready_since = now;
            p.first_ready = p.first_ready.min(now);
            p.phase = Phase::Running;
        } else {
            p.ready_since = SimTime::NEVER;
        }
        if p.is_active() {
            let count = &mut self.sets[p.set].ready;
            *count = if ready { *count + 1 } else { *count - 1 };
        }
        self.touch(pod);
        true
    }

    /// Writes the final phase: `Succeeded` or `Failed`.
    pub fn end_pod(&mut self, pod: PodId, phase: Phase, now: SimTime) {
        self.set_ready(pod, false, now);
        let Some(p) = self.pods.get_mut(pod) else { return };
        if p.is_active() {
            self.sets[p.set].active -= 1;
        }
        p.phase = phase;
        self.touch(pod);
    }

    /// Writes the deletion time stamp. Returns whether the pod was there and not yet terminating.
    pub fn mark_deleting(&mut self, pod: PodId, now: SimTime) -> bool {
        let Some(p) = self.pods.get_mut(pod).filter(|p| !p.is_terminating()) else { return false };
        if p.is_active() {
            let set = &mut self.sets[p.set];
            set.active -= 1;
            set.ready -= u32::from(p.ready_since != SimTime::NEVER);
        }
        p.deleting = now;
        self.touch(pod);
        true
    }

    /// Takes the pod out of its set's and node's lists; the row stays readable until
    /// [`Api::forget_pod`], so that observers can still look at it.
    pub fn detach_pod(&mut self, pod: PodId, now: SimTime) -> bool {
        let Some(p) = self.pods.get(pod).filter(|p| !p.detached) else { return false };
        let (set, node, incarnation, active) = (p.set, p.node, p.incarnation, p.is_active());
        if active {
            self.mark_deleting(pod, now);
        }
        if let Some(p) = self.pods.get_mut(pod) {
            p.detached = true;
        }
        self.touch_workload(self.sets[set].workload);
        // Pods stand in order of creation: the position is found by halving.
        let Self { pods, sets, nodes, .. } = self;
        let listed = &mut sets[set].pods;
        let at = listed
            .partition_point(|&x| pods.get(x).is_some_and(|other| other.incarnation < incarnation));
        if listed.get(at) == Some(&pod) {
            listed.remove(at);
        }
        if let Some(node) = node {
            nodes[node].version = nodes[node].version.wrapping_add(1);
            let bound = &mut nodes[node].pods;
            if let Some(at) = bound.iter().position(|&x| x == pod) {
                bound.remove(at);
            }
        }
        true
    }

    /// Frees the row of a detached pod.
    pub fn forget_pod(&mut self, pod: PodId) {
        self.pods.remove(pod);
    }
}

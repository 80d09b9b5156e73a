//! The autoscaler's own view of pods and nodes, kept up to date by notices.
//!
//! Pods below the expendable cutoff are left out: they hold no room and no node. DaemonSet pods
//! are never placed anew, so the class of their template stands for them without a node affinity.

use crate::engine::Cx;
use crate::policy::kube_scheduler::{Cache, ClassId, NodeKey, Profile};
use crate::units::Id;
use crate::world::model::Template;
use crate::world::{Model, Node, Pod, PodId};
use std::collections::BTreeMap;

/// A pod that the autoscaler knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// The pod.
    pub pod: PodId,
    /// Its class.
    pub class: ClassId,
    /// Its turn among pending pods.
    turn: Option<u64>,
    /// Being deleted.
    terminating: bool,
}

/// Pods and nodes.
#[derive(Clone, Debug)]
pub(super) struct Mirror {
    /// Nodes and bound pods.
    pub cache: Cache,
    /// Known pods by slot.
    pub known: Vec<Option<Known>>,
    /// Unschedulable pods in the order they became so.
    pub pending: BTreeMap<u64, PodId>,
    classes: Vec<Option<ClassId>>,
    /// Classes of pods with requests of their own (VerticalPodAutoscaler), by shape.
    shape_classes: Vec<Option<ClassId>>,
    nodes: Vec<bool>,
    next_turn: u64,
    terminating: u32,
    cutoff: i32,
}

impl Mirror {
    pub(super) fn new(model: &Model, cutoff: i32) -> Self {
        let mut cache = Cache::new(Profile::default());
        for namespace in &model.objects.namespaces {
            cache.set_namespace(&namespace.metadata.name, &namespace.metadata.labels);
        }
        for service in &model.objects.services {
            cache.set_service(service);
        }
        Self {
            cache,
            known: Vec::new(),
            pending: BTreeMap::new(),
            classes: vec![None; model.templates.len()],
            shape_classes: Vec::new(),
            nodes: Vec::new(),
            next_turn: 0,
            terminating: 0,
            cutoff,
        }
    }

    /// Whether a pod on a node is being deleted: it may time out without a notice.
    pub(super) const fn has_terminating(&self) -> bool {
        self.terminating > 0
    }

    /// The class of a template's pods.
    pub(super) fn class(&mut self, template: Id<Template>, model: &Model) -> ClassId {
        let known = self.classes.get(template.index()).copied().flatten();
        if let Some(class) = known {
            return class;
        }
        let t = &model.templates[template];
        let labels = &t.object.metadata.labels;
        let class = self.cache.class(&t.namespace, labels, t.owner.as_ref(), &t.object.spec);
        if let Some(slot) = self.classes.get_mut(template.index()) {
            *slot = Some(class);
        }
        class
    }

    /// The class of a pod, with its own requests.
    fn class_of(&mut self, pod: &Pod, cx: &Cx<'_>) -> ClassId {
        let Some(shape) = pod.shape else { return self.class(pod.template, cx.model()) };
        let known = self.shape_classes.get(shape.index()).copied().flatten();
        if let Some(class) = known {
            return class;
        }
        let t = &cx.model().templates[pod.template];
        let spec = &cx.api().shapes.get(shape).object.spec;
        let labels = &t.object.metadata.labels;
        let class = self.cache.class(&t.namespace, labels, t.owner.as_ref(), spec);
        let least = self.shape_classes.len().max(shape.index() + 1);
        self.shape_classes.resize(least, None);
        self.shape_classes[shape.index()] = Some(class);
        class
    }

    /// Takes the new requests of a pod that was resized in place.
    pub(super) fn pod_resized(&mut self, pod: PodId, cx: &Cx<'_>) -> bool {
        let Some(p) = cx.api().pods.get(pod) else { return false };
        let class = self.class_of(p, cx);
        let Some(known) = self.slot(pod).as_mut().filter(|k| k.pod == pod) else { return false };
        if core::mem::replace(&mut known.class, class) == class {
            return false;
        }
        let (waits, terminating) = (known.turn.is_some(), known.terminating);
        if let Some(node) = p.node.filter(|_| !waits) {
            self.cache.remove_pod(pod.slot());
            self.cache.add_pod(pod.slot(), class, node.raw(), None);
            if terminating {
                self.cache.mark_terminating(pod.slot(), false);
            }
        }
        true
    }

    fn slot(&mut self, pod: PodId) -> &mut Option<Known> {
        let slot = pod.slot() as usize;
        if self.known.len() <= slot {
            self.known.resize(slot + 1, None);
        }
        &mut self.known[slot]
    }

    /// Notes a pod for which no node was found; whether it is news.
    pub(super) fn pod_unschedulable(&mut self, pod: PodId, cx: &Cx<'_>) -> bool {
        let Some(p) = cx.api().pods.get(pod) else { return false };
        let template = p.template;
        if p.node.is_some() || p.is_terminating() || cx.model().templates[template].daemon {
            return false;
        }
        if self.slot(pod).is_some_and(|k| k.pod == pod) {
            return false;
        }
        let class = self.class_of(p, cx);
        let turn = self.next_turn;
        self.next_turn += 1;
        *self.slot(pod) = Some(Known { pod, class, turn: Some(turn), terminating: false });
        self.pending.insert(turn, pod);
        true
    }

    /// Notes a binding.
    pub(super) fn pod_bound(&mut self, pod: PodId, cx: &Cx<'_>) -> bool {
        let Some(p) = cx.api().pods.get(pod) else { return false };
        let Some(node) = p.node else { return false };
        let (template, terminating) = (p.template, p.is_terminating());
        self.leave_queue(pod);
        if cx.model().templates[template].priority < self.cutoff {
            return true;
        }
        let class = self.class_of(p, cx);
        *self.slot(pod) = Some(Known { pod, class, turn: None, terminating: false });
        self.cache.add_pod(pod.slot(), class, node.raw(), None);
        if terminating {
            self.pod_terminating(pod);
        }
        true
    }

    fn leave_queue(&mut self, pod: PodId) {
        let entry = self.slot(pod);
        if let Some(known) = entry.filter(|k| k.pod == pod)
            && let Some(turn) = known.turn
        {
            *entry = None;
            self.pending.remove(&turn);
        }
    }

    /// Notes the deletion of a pod.
    pub(super) fn pod_terminating(&mut self, pod: PodId) -> bool {
        self.leave_queue(pod);
        match self.slot(pod) {
            Some(known) if known.pod == pod && !known.terminating => {
                known.terminating = true;
                self.terminating += 1;
                self.cache.mark_terminating(pod.slot(), false);
            }
            _ => {}
        }
        true
    }

    /// Notes that a pod ended or is gone.
    pub(super) fn pod_gone(&mut self, pod: PodId) -> bool {
        self.leave_queue(pod);
        let entry = self.slot(pod);
        let Some(known) = entry.filter(|k| k.pod == pod) else { return true };
        *entry = None;
        if known.terminating {
            self.terminating -= 1;
        }
        self.cache.remove_pod(pod.slot());
        true
    }

    /// Takes a node's present state.
    pub(super) fn node_changed(&mut self, node: Id<Node>, cx: &Cx<'_>) {
        let row = &cx.api().nodes[node];
        if self.nodes.len() <= node.index() {
            self.nodes.resize(node.index() + 1, false);
        }
        if row.exists() {
            self.cache.add_node(node.raw(), &row.full_object());
        } else if self.nodes[node.index()] {
            self.cache.remove_node(node.raw());
        }
        self.nodes[node.index()] = row.exists();
    }

    /// Keys of the nodes that exist, in order of registration.
    pub(super) fn positions(&self, cx: &Cx<'_>) -> Vec<NodeKey> {
        let there = |n: &Id<Node>| self.nodes.get(n.index()) == Some(&true);
        cx.api().live_nodes.iter().copied().filter(there).map(Id::raw).collect()
    }
}

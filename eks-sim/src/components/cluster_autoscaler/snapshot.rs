//! The simulated cluster: the scheduler's cache with template nodes, changed and rolled back.

use super::groups::NodeTemplate;
use crate::policy::cluster_autoscaler::cluster::{PlaceError, SimCluster};
use crate::policy::kube_scheduler::{
    Cache, ClassId, Code, Cycle, Mark, NodeInfo, NodeKey, Plugin, PodKey, PreState, Rejection,
};

const HOSTNAME: &str = "kubernetes.io/hostname";

/// A pod in the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SimPod {
    /// Its key in the cache: the slot of its row.
    pub key: PodKey,
    /// Its class.
    pub class: ClassId,
}

struct Saved {
    mark: Mark,
    len: usize,
    next_node: NodeKey,
    next_pod: PodKey,
}

/// The cache with positions.
pub(super) struct Snapshot<'a> {
    cache: &'a mut Cache,
    templates: &'a [NodeTemplate],
    nodes: Vec<NodeKey>,
    next_node: NodeKey,
    next_pod: PodKey,
    saved: Vec<Saved>,
    /// PreFilter of the class asked last, as long as nothing changed that it read.
    pre: Option<(ClassId, Result<PreState, Rejection>)>,
}

impl<'a> Snapshot<'a> {
    /// Over the `nodes` of the cache; made-up nodes and pods get keys from `first` on.
    pub(super) const fn new(
        cache: &'a mut Cache,
        templates: &'a [NodeTemplate],
        nodes: Vec<NodeKey>,
        first: (NodeKey, PodKey),
    ) -> Self {
        Self {
            cache,
            templates,
            nodes,
            next_node: first.0,
            next_pod: first.1,
            saved: Vec::new(),
            pre: None,
        }
    }

    /// The cache.
    pub(super) const fn cache(&self) -> &Cache {
        self.cache
    }

    /// Key of the node at a position.
    pub(super) fn node(&self, position: usize) -> NodeKey {
        self.nodes[position]
    }

    /// The node at a position.
    pub(super) fn info(&self, position: usize) -> Option<&NodeInfo> {
        self.cache.node_info(self.nodes[position])
    }

    /// Drops positions from `count` on: later questions do not consider these nodes.
    pub(super) fn keep(&mut self, count: usize) {
        self.nodes.truncate(count);
    }

    /// Whether the node has room by requests and number of pods: saves the other filters.
    fn has_room(&self, class: ClassId, position: usize) -> bool {
        let Some(info) = self.cache.node_info(self.nodes[position]) else { return false };
        let Some(fixed) = info.node.as_deref() else { return false };
        let free = |id| fixed.allocatable.get(id).saturating_sub(info.requested.get(id));
        info.pod_count() < fixed.allowed_pods
            && self.cache.class_info(class).request.requested().all(|(id, n)| n <= free(id))
    }

    /// Whether PreFilter of a class reads nothing of the pods and nodes there are, those with
    /// required anti-affinity aside: no spreading, no affinity, no volumes of its own.
    fn stands_alone(&self, class: ClassId) -> bool {
        let c = self.cache.class_info(class);
        c.spread.as_ref().is_ok_and(Vec::is_empty)
            && c.terms.as_ref().is_ok_and(|t| t.affinity.is_empty() && t.anti_affinity.is_empty())
            && c.claims.is_empty()
            && c.disks.is_empty()
    }

    /// Pods of the class came to a node or left it, or (without a class) a node came: what
    /// PreFilter found may be out of date.
    fn changed(&mut self, class: Option<ClassId>) {
        let keeps = self.pre.as_ref().is_some_and(|(of, pre)| {
            pre.as_ref().is_ok_and(|p| p.node_set.is_none())
                && self.stands_alone(*of)
                && class
                    .is_none_or(|c| self.cache.class_info(c).pod_terms().anti_affinity.is_empty())
        });
        if !keeps {
            self.pre = None;
        }
    }

    /// Whether the filters let a pod of `class` on the node.
    pub(super) fn filter(&mut self, class: ClassId, position: usize) -> Result<(), Rejection> {
        if self.pre.as_ref().is_none_or(|(of, _)| *of != class) {
            self.pre = Some((class, Cycle::new(self.cache, class).map(|cycle| cycle.pre)));
        }
        match &mut self.pre {
            Some((_, Ok(pre))) => {
                let mut cycle = Cycle::for_scores(self.cache, class);
                core::mem::swap(&mut cycle.pre, pre);
                let verdict = cycle.fits(self.nodes[position]);
                core::mem::swap(&mut cycle.pre, pre);
                verdict
            }
            Some((_, Err(rejection))) => Err(rejection.clone()),
            None => Ok(()),
        }
    }
}

impl SimCluster for Snapshot<'_> {
    type Pod = SimPod;

    fn len(&self) -> usize {
        self.nodes.len()
    }

    fn add_template_node(&mut self, group: usize) {
        let template = &self.templates[group];
        let key = self.next_node;
        self.next_node += 1;
        let mut node = template.node.clone();
        node.metadata.name = format!("template-node-for-{key}");
        node.metadata.labels.insert(HOSTNAME.to_owned(), node.metadata.name.clone());
        self.cache.add_node(key, &node);
        for &class in &template.daemons {
            self.cache.add_pod(self.next_pod, class, key, None);
            self.next_pod += 1;
        }
        self.nodes.push(key);
        for &class in &template.daemons {
            self.changed(Some(class));
        }
        self.changed(None);
    }

    fn try_place(&mut self, pod: SimPod, position: usize) -> Result<(), PlaceError> {
        if !self.has_room(pod.class, position) {
            // NodeResourcesFit comes before PodTopologySpread, so that is not what failed first.
            return Err(PlaceError { topology_spread: false });
        }
        self.filter(pod.class, position).map_err(|r| PlaceError {
            topology_spread: r.plugin == Plugin::PodTopologySpread && r.code == Code::Unschedulable,
        })?;
        self.cache.add_pod(pod.key, pod.class, self.nodes[position], None);
        self.changed(Some(pod.class));
        Ok(())
    }

    fn remove_pod(&mut self, pod: SimPod, _: usize) {
        self.cache.remove_pod(pod.key);
        self.changed(Some(pod.class));
    }

    fn checkpoint(&mut self) -> usize {
        self.saved.push(Saved {
            mark: self.cache.checkpoint(),
            len: self.nodes.len(),
            next_node: self.next_node,
            next_pod: self.next_pod,
        });
        self.saved.len() - 1
    }

    fn rollback(&mut self, mark: usize) {
        while self.saved.len() > mark {
            let Some(saved) = self.saved.pop() else { return };
            self.cache.rollback(saved.mark);
            self.nodes.truncate(saved.len);
            self.next_node = saved.next_node;
            self.next_pod = saved.next_pod;
        }
        self.pre = None;
    }
}

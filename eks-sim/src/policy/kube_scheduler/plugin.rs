//! Plugins of a library user: own filters, scores and queue order beside the built-in ones.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/framework/interface.go` (FilterPlugin, ScorePlugin,
//! QueueSortPlugin).
//! Differences: plugins see pods and nodes through small views and keep no state between calls;
//! there is no PreFilter or PreScore; the queue's order is a number of each pod instead of a
//! comparison of two; what a filter refuses is tried again on every event, as upstream does for a
//! plugin without hints.

use super::class::Class;
use super::framework::Cx;
use super::node_info::{NodeInfo, NodeStatic};
use super::{Cache, ClassId};
use crate::units::Quantity;
use std::fmt;
use std::sync::Arc;

/// A pod as a plugin sees it.
#[derive(Clone, Copy)]
pub struct PodView<'a> {
    cache: &'a Cache,
    class: &'a Class,
}

/// A node as a plugin sees it.
#[derive(Clone, Copy)]
pub struct NodeView<'a> {
    cache: &'a Cache,
    info: &'a NodeInfo,
    fixed: &'a NodeStatic,
}

/// Decides which nodes a pod may run on. Asked after all built-in filters passed.
///
/// The answer must depend on the arguments alone, or runs are no longer reproducible.
pub trait Filter: Send + Sync {
    /// Name of the plugin.
    fn name(&self) -> &str;
    /// Whether the pod may run on the node.
    ///
    /// # Errors
    /// Why not, as it stands in `0/3 nodes are available: 3 REASON.`
    fn filter(&self, pod: &PodView<'_>, node: &NodeView<'_>) -> Result<(), String>;
    /// Whether the answer may change when pods leave the node, so that preemption is tried.
    fn is_resolvable(&self) -> bool {
        true
    }
}

/// Rates the feasible nodes.
pub trait Score: Send + Sync {
    /// Name of the plugin.
    fn name(&self) -> &str;
    /// Score of a node; larger is better.
    fn score(&self, pod: &PodView<'_>, node: &NodeView<'_>) -> i64;
    /// Brings the scores of all feasible nodes to 0..=100; by default they are cut to it.
    fn normalize(&self, scores: &mut [i64]) {
        scores.iter_mut().for_each(|s| *s = (*s).clamp(0, 100));
    }
    /// Weight of the scores beside the built-in plugins' (1 to 3).
    fn weight(&self) -> i64 {
        1
    }
}

/// Orders the pods that wait, instead of their priority.
pub trait QueueSort: Send + Sync {
    /// Name of the plugin.
    fn name(&self) -> &str;
    /// Pods of a higher rank are scheduled first, equal ones in order of their time in the queue.
    fn rank(&self, pod: &PodView<'_>) -> i32;
}

/// The plugins of a run. Later additions come after earlier ones.
#[derive(Clone, Default)]
pub struct Plugins {
    filters: Vec<Arc<dyn Filter>>,
    scores: Vec<Arc<dyn Score>>,
    queue_sort: Option<Arc<dyn QueueSort>>,
}

impl fmt::Debug for Plugins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filters: Vec<&str> = self.filters.iter().map(|p| p.name()).collect();
        let scores: Vec<&str> = self.scores.iter().map(|p| p.name()).collect();
        let queue_sort = self.queue_sort.as_ref().map(|p| p.name());
        f.debug_struct("Plugins")
            .field("filters", &filters)
            .field("scores", &scores)
            .field("queue_sort", &queue_sort)
            .finish()
    }
}

impl Plugins {
    /// No plugin.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds a filter.
    #[must_use]
    pub fn filter(mut self, plugin: impl Filter + 'static) -> Self {
        self.filters.push(Arc::new(plugin));
        self
    }
    /// Adds a score.
    #[must_use]
    pub fn score(mut self, plugin: impl Score + 'static) -> Self {
        self.scores.push(Arc::new(plugin));
        self
    }
    /// Sets the order of the queue; as upstream, there is one.
    #[must_use]
    pub fn queue_sort(mut self, plugin: impl QueueSort + 'static) -> Self {
        self.queue_sort = Some(Arc::new(plugin));
        self
    }
    /// Whether no plugin filters or scores.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty() && self.scores.is_empty()
    }
    /// Rank of pods of a class in the queue, if a plugin orders it.
    #[must_use]
    pub fn rank(&self, cache: &Cache, class: ClassId) -> Option<i32> {
        let plugin = self.queue_sort.as_ref()?;
        Some(plugin.rank(&PodView { cache, class: cache.class_info(class) }))
    }
    /// The first refusal of a node, and whether preemption may help.
    pub(super) fn refusal(
        &self,
        cx: &Cx<'_>,
        info: &NodeInfo,
        fixed: &NodeStatic,
    ) -> Option<(String, bool)> {
        let (pod, node) = views(cx, info, fixed);
        let refused = |p: &Arc<dyn Filter>| Some((p.filter(&pod, &node).err()?, p.is_resolvable()));
        self.filters.iter().find_map(refused)
    }
    /// Weighted, normalised scores of each plugin over nodes.
    pub(super) fn scores<'a>(
        &self,
        cx: &Cx<'a>,
        nodes: &[(&'a NodeInfo, &'a NodeStatic)],
    ) -> Vec<Vec<i64>> {
        let of = |p: &Arc<dyn Score>| {
            let one = |&(info, fixed): &(&NodeInfo, &NodeStatic)| {
                let (pod, node) = views(cx, info, fixed);
                p.score(&pod, &node)
            };
            let mut scores: Vec<i64> = nodes.iter().map(one).collect();
            p.normalize(&mut scores);
            let weigh = |s: &mut i64| *s = (*s).clamp(0, 100).saturating_mul(p.weight());
            scores.iter_mut().for_each(weigh);
            scores
        };
        self.scores.iter().map(of).collect()
    }
}

fn views<'a>(
    cx: &Cx<'a>,
    info: &'a NodeInfo,
    fixed: &'a NodeStatic,
) -> (PodView<'a>, NodeView<'a>) {
    let cache = cx.cache;
    (PodView { cache, class: cx.class }, NodeView { cache, info, fixed })
}

impl<'a> PodView<'a> {
    /// Namespace.
    #[must_use]
    pub fn namespace(&self) -> &'a str {
        self.cache.symbols().text(self.class.namespace)
    }
    /// Value of a label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&'a str> {
        let symbols = self.cache.symbols();
        self.class.labels.get(symbols.lookup(key)?).map(|v| symbols.text(v))
    }
    /// Kind and name of the controller.
    #[must_use]
    pub fn owner(&self) -> Option<(&'a str, &'a str)> {
        let symbols = self.cache.symbols();
        self.class.owner.map(|(kind, name)| (symbols.text(kind), symbols.text(name)))
    }
    /// `spec.priority`.
    #[must_use]
    pub fn priority(&self) -> i32 {
        self.class.priority
    }
    /// What it requests of a resource.
    #[must_use]
    pub fn request(&self, resource: &str) -> Quantity {
        self.cache.quantity(resource, &self.class.request)
    }
}

impl<'a> NodeView<'a> {
    /// Name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.cache.symbols().text(self.fixed.name)
    }
    /// Value of a label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&'a str> {
        let symbols = self.cache.symbols();
        self.fixed.labels.get(symbols.lookup(key)?).map(|v| symbols.text(v))
    }
    /// What pods may request of a resource in all.
    #[must_use]
    pub fn allocatable(&self, resource: &str) -> Quantity {
        self.cache.quantity(resource, &self.fixed.allocatable)
    }
    /// What its pods request of a resource.
    #[must_use]
    pub fn requested(&self, resource: &str) -> Quantity {
        self.cache.quantity(resource, &self.info.requested)
    }
    /// Pods on the node.
    #[must_use]
    pub fn pod_count(&self) -> usize {
        self.info.pods.len()
    }
    /// The different pods on the node, and how many of each there are.
    pub fn pods(&self) -> impl Iterator<Item = (PodView<'a>, u32)> + '_ {
        let view = |id| PodView { cache: self.cache, class: self.cache.class_info(id) };
        self.info.classes.iter().map(move |c| (view(c.class), c.pods))
    }
}

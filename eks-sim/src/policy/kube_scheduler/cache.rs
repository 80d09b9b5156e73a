//! The scheduler's cache: nodes, pods on them, and the other objects that plugins read.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/backend/cache/{cache,snapshot}.go`.
//! Differences: cache and snapshot are one, since a cycle is atomic here; what-if changes are
//! taken back with an undo log instead of working on a copied snapshot.

use super::class::{Class, PodParts, Taint, lower};
use super::labels::{Labels, Selector};
use super::node_info::{NodeInfo, NodeStatic};
use super::node_tree::{NodeTree, ZoneLabels};
use super::objects::Services;
use super::profile::Profile;
use super::profile_args::ProfileArgs;
use super::resources::{ResourceId, ResourceNames};
use super::volumes::Volumes;
use super::{ClassId, NodeKey, PodKey};
use crate::k8s::{self, OwnerReference, PodSpec, StringMap};
use crate::units::{Quantity, SimTime, Symbol, Symbols};
use indexmap::IndexSet;
use rustc_hash::{FxBuildHasher, FxHashMap};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A pod on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodInfo {
    /// Its class.
    pub class: ClassId,
    /// Its node.
    pub node: NodeKey,
    /// Position in the node's list.
    slot: u32,
    /// When it started; [`SimTime::NEVER`] if it did not.
    pub start: SimTime,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Whether it is being deleted because the scheduler preempted it.
    pub preempted: bool,
}

/// One change that [`Cache::rollback`] can take back.
#[derive(Clone, Debug)]
enum Undo {
    AddedPod(PodKey),
    RemovedPod(PodKey, PodInfo),
    Marked(PodKey, PodInfo),
    Node(NodeKey, Option<Arc<NodeStatic>>),
    Nominated(PodKey, Option<(ClassId, NodeKey)>),
}

/// A point to go back to.
#[derive(Clone, Debug)]
pub struct Mark {
    log: usize,
    tree: Arc<NodeTree>,
    order: Arc<Vec<NodeKey>>,
    stale: bool,
    next_start: usize,
}

/// The scheduler's view of the cluster.
#[derive(Clone, Debug)]
pub struct Cache {
    pub(super) symbols: Symbols,
    pub(super) names: ResourceNames,
    pub(super) profiles: Arc<Vec<ProfileArgs>>,
    pub(super) classes: IndexSet<Class, FxBuildHasher>,
    /// Whether any class has required anti-affinity.
    pub(super) holds_anti_affinity: bool,
    pub(super) nodes: Vec<NodeInfo>,
    pods: Vec<Option<PodInfo>>,
    tree: Arc<NodeTree>,
    order: Arc<Vec<NodeKey>>,
    /// Whether `order` must be rebuilt from `tree`.
    stale: bool,
    pub(super) next_start: usize,
    node_index: FxHashMap<Symbol, NodeKey>,
    zone_labels: ZoneLabels,
    unschedulable_taint: Taint,
    /// Image → nodes that have it.
    pub(super) images: FxHashMap<Symbol, u32>,
    pub(super) namespaces: BTreeMap<Symbol, Labels>,
    /// Services by namespace.
    pub(super) services: BTreeMap<Symbol, Services>,
    /// (Namespace, kind, name) → selector of a workload.
    pub(super) owners: BTreeMap<(Symbol, Symbol, Symbol), Selector>,
    pub(super) volumes: Volumes,
    nominated: BTreeMap<PodKey, (ClassId, NodeKey)>,
    log: Vec<Undo>,
    marks: u32,
    pub(super) fast: super::fast::Fast,
}

impl Cache {
    /// An empty cache with one profile.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self::with_profiles(vec![profile])
    }
    /// An empty cache with several profiles; the first is the default one.
    #[must_use]
    pub fn with_profiles(profiles: Vec<Profile>) -> Self {
        let mut symbols = Symbols::new();
        let mut names = ResourceNames::default();
        let profiles = if profiles.is_empty() { vec![Profile::default()] } else { profiles };
        let lowered =
            profiles.into_iter().map(|p| ProfileArgs::new(p, &mut symbols, &mut names)).collect();
        let unschedulable = k8s::Taint {
            key: "node.kubernetes.io/unschedulable".to_owned(),
            effect: "NoSchedule".to_owned(),
            ..k8s::Taint::default()
        };
        Self {
            zone_labels: ZoneLabels::new(&mut symbols),
            unschedulable_taint: Taint::new(&unschedulable, &mut symbols),
            volumes: Volumes::default(),
            symbols,
            names,
            profiles: Arc::new(lowered),
            classes: IndexSet::default(),
            holds_anti_affinity: false,
            nodes: Vec::new(),
            pods: Vec::new(),
            tree: Arc::default(),
            order: Arc::default(),
            stale: false,
            next_start: 0,
            node_index: FxHashMap::default(),
            images: FxHashMap::default(),
            namespaces: BTreeMap::new(),
            services: BTreeMap::new(),
            owners: BTreeMap::new(),
            nominated: BTreeMap::new(),
            log: Vec::new(),
            marks: 0,
            fast: super::fast::Fast::default(),
        }
    }
    /// The symbols of this cache.
    #[must_use]
    pub fn symbols(&self) -> &Symbols {
        &self.symbols
    }
    /// The name of a resource of this cache.
    #[must_use]
    pub fn resource_name(&self, id: ResourceId) -> &str {
        self.names.name(id)
    }
    /// The amount of a resource in `list`.
    pub(super) fn quantity(&self, resource: &str, list: &super::resources::Resources) -> Quantity {
        let Some(id) = self.names.lookup(resource) else { return Quantity::default() };
        let amount = list.get(id);
        if resource == "cpu" { Quantity::from_milli(amount) } else { Quantity::from_units(amount) }
    }
    /// The profile of this `schedulerName`, if there is one.
    #[must_use]
    pub fn profile_named(&self, name: &str) -> Option<&Profile> {
        self.profiles.iter().map(|p| &p.profile).find(|p| p.scheduler_name == name)
    }
    /// Whether the profile of these pods has a plugin.
    #[must_use]
    pub fn class_has(&self, class: ClassId, plugin: super::Plugin) -> bool {
        self.profile_of(self.class_info(class)).has(plugin)
    }
    /// Sets the plugins of the library's user in every profile. Classes then take the plain path.
    pub fn set_plugins(&mut self, plugins: &super::Plugins) {
        for profile in Arc::make_mut(&mut self.profiles) {
            profile.custom = plugins.clone();
        }
        self.fast.forget_defaults();
    }
    pub(super) fn profile_of(&self, class: &Class) -> &ProfileArgs {
        let i = usize::from(class.profile);
        self.profiles.get(i).expect("a class holds the number of a profile of its cache")
    }
    pub(super) fn unschedulable_taint(&self) -> &Taint {
        &self.unschedulable_taint
    }
}

/// Classes.
impl Cache {
    /// The class of pods with these parts.
    pub fn class(
        &mut self,
        namespace: &str,
        labels: &StringMap,
        owner: Option<&OwnerReference>,
        spec: &PodSpec,
    ) -> ClassId {
        let class = self.lowered(namespace, labels, owner, spec);
        self.intern_class(class)
    }
    /// What a pod template is to the scheduler, without a class of its own.
    pub fn lowered(
        &mut self,
        namespace: &str,
        labels: &StringMap,
        owner: Option<&OwnerReference>,
        spec: &PodSpec,
    ) -> Class {
        let profile = self.profile_number(spec.scheduler_name.as_deref());
        let parts = PodParts { namespace, name: "", labels, owner, spec, status: None, profile };
        lower(&parts, &mut self.symbols, &mut self.names)
    }
    /// The class of a DaemonSet's pod: that of its template, for one node only.
    pub fn pinned_class(&mut self, template: &Class, node: &str) -> ClassId {
        let node = self.symbols.intern(node);
        self.intern_class(template.pinned(node))
    }
    /// The class of a pod object; a bound pod's resizes in progress count.
    pub fn class_of_pod(&mut self, pod: &k8s::Pod) -> ClassId {
        let profile = self.profile_number(pod.spec.scheduler_name.as_deref());
        let parts = PodParts {
            namespace: pod.metadata.namespace_or_default(),
            name: &pod.metadata.name,
            labels: &pod.metadata.labels,
            owner: pod.metadata.controller(),
            spec: &pod.spec,
            status: Some(&pod.status),
            profile,
        };
        let class = lower(&parts, &mut self.symbols, &mut self.names);
        self.intern_class(class)
    }
    fn profile_number(&self, name: Option<&str>) -> u8 {
        let name = name.filter(|n| !n.is_empty()).unwrap_or("default-scheduler");
        let found = self.profiles.iter().position(|p| p.profile.scheduler_name == name);
        u8::try_from(found.unwrap_or(0)).unwrap_or(0)
    }
    fn intern_class(&mut self, class: Class) -> ClassId {
        let holds = !class.pod_terms().anti_affinity.is_empty();
        let (index, new) = self.classes.insert_full(class);
        self.holds_anti_affinity |= new && holds;
        ClassId(index as u32)
    }
    /// What a class holds.
    #[must_use]
    pub fn class_info(&self, id: ClassId) -> &Class {
        self.classes.get_index(id.0 as usize).expect("a class id is an index of its cache")
    }
}

/// Nodes.
impl Cache {
    /// Adds a node, or updates the one with this key.
    pub fn add_node(&mut self, key: NodeKey, node: &k8s::Node) {
        let lowered = self.lower_node(node);
        self.set_node(key, Some(Arc::new(lowered)));
    }
    /// Updates a node (the same as [`Cache::add_node`]).
    pub fn update_node(&mut self, key: NodeKey, node: &k8s::Node) {
        self.add_node(key, node);
    }
    /// Removes a node; pods on it stay known until they are removed.
    pub fn remove_node(&mut self, key: NodeKey) {
        self.set_node(key, None);
    }
    /// The key of the node of this name.
    #[must_use]
    pub fn node_named(&self, name: &str) -> Option<NodeKey> {
        self.node_key(self.symbols.lookup(name)?)
    }
    pub(super) fn node_key(&self, name: Symbol) -> Option<NodeKey> {
        self.node_index.get(&name).copied()
    }
    /// The name of a node (empty without a Node object).
    #[must_use]
    pub fn node_name(&self, key: NodeKey) -> &str {
        let node = self.nodes.get(key as usize).and_then(|n| n.node.as_deref());
        node.map_or("", |n| self.symbols.text(n.name))
    }
    /// What is known of a node.
    #[must_use]
    pub fn node_info(&self, key: NodeKey) -> Option<&NodeInfo> {
        self.nodes.get(key as usize)
    }
    /// Number of nodes.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.node_index.len()
    }
    /// Nodes with a Node object, by key.
    pub(super) fn present_nodes(&self) -> impl Iterator<Item = (NodeKey, &NodeInfo, &NodeStatic)> {
        let all = self.nodes.iter().zip(0u32..);
        all.filter_map(|(info, key)| Some((key, info, info.node.as_deref()?)))
    }
    /// The node list in scan order.
    pub fn node_order(&mut self) -> &Arc<Vec<NodeKey>> {
        if self.stale {
            self.order = Arc::new(self.tree.list());
            self.stale = false;
            self.fast.reorder(&self.order);
        }
        &self.order
    }
    fn lower_node(&mut self, node: &k8s::Node) -> NodeStatic {
        let symbols = &mut self.symbols;
        let labels = Labels::new(&node.metadata.labels, symbols);
        let mut images = Vec::new();
        for image in &node.status.images {
            for name in &image.names {
                let name = symbols.intern(name);
                if images.iter().all(|(n, _)| *n != name) {
                    images.push((name, image.size_bytes));
                }
            }
        }
        let allocatable = &node.status.allocatable;
        NodeStatic {
            name: symbols.intern(&node.metadata.name),
            zone: self.zone_labels.key(&labels),
            labels,
            taints: node.spec.taints.iter().map(|t| Taint::new(t, symbols)).collect(),
            unschedulable: node.spec.unschedulable,
            allocatable: self.names.resources(allocatable),
            allowed_pods: allocatable.get("pods").map_or(0, |q| q.value()),
            images,
        }
    }
    fn set_node(&mut self, key: NodeKey, new: Option<Arc<NodeStatic>>) {
        let index = key as usize;
        if self.nodes.len() <= index {
            self.nodes.resize_with(index + 1, NodeInfo::default);
        }
        let old = self.nodes[index].node.take();
        self.recount_images(old.as_deref(), new.as_deref());
        if let Some(old) = &old {
            self.node_index.remove(&old.name);
        }
        if let Some(new) = &new {
            self.node_index.insert(new.name, key);
        }
        let zone = |n: &Option<Arc<NodeStatic>>| n.as_ref().map(|n| n.zone);
        if zone(&old) != zone(&new) {
            let tree = Arc::make_mut(&mut self.tree);
            if let Some(zone) = zone(&old) {
                tree.remove(zone, key);
            }
            if let Some(zone) = zone(&new) {
                tree.add(zone, key);
            }
        }
        // Upstream rebuilds its list when nodes come or go, not when a zone label changes.
        self.stale |= old.is_some() != new.is_some();
        self.fast.detach_node(key, &self.nodes[index]);
        self.nodes[index].node = new;
        self.attach_fast(key);
        self.record(|| Undo::Node(key, old));
    }
    fn recount_images(&mut self, old: Option<&NodeStatic>, new: Option<&NodeStatic>) {
        if old.map(|n| &n.images) == new.map(|n| &n.images) {
            return;
        }
        for (image, _) in old.iter().flat_map(|n| &n.images) {
            if let Some(state) = self.images.get_mut(image) {
                *state -= 1;
                if *state == 0 {
                    self.images.remove(image);
                }
            }
        }
        for (image, _) in new.iter().flat_map(|n| &n.images) {
            *self.images.entry(*image).or_default() += 1;
        }
        self.fast.forget_images();
    }
}

/// Pods.
impl Cache {
    /// Puts a pod on a node (assumed or bound).
    pub fn add_pod(&mut self, pod: PodKey, class: ClassId, node: NodeKey, start: Option<SimTime>) {
        self.remove_pod(pod);
        let start = start.unwrap_or(SimTime::NEVER);
        let info = PodInfo { class, node, slot: 0, start, terminating: false, preempted: false };
        self.insert_pod(pod, info, None);
        self.record(|| Undo::AddedPod(pod));
    }
    /// Sets when a pod started.
    pub fn set_start(&mut self, pod: PodKey, start: SimTime) {
        self.change_pod(pod, |p| p.start = start);
    }
    /// Takes a pod off its node (no effect if it is on none).
    pub fn remove_pod(&mut self, pod: PodKey) {
        if let Some(info) = self.take_pod(pod) {
            self.record(|| Undo::RemovedPod(pod, info));
        }
    }
    /// Notes that a pod is being deleted, and whether the scheduler's preemption did it.
    pub fn mark_terminating(&mut self, pod: PodKey, by_preemption: bool) {
        let Some(info) = self.pod(pod).copied() else { return };
        if info.terminating {
            self.change_pod(pod, |p| p.preempted |= by_preemption);
            return;
        }
        self.record(|| Undo::Marked(pod, info));
        self.set_terminating(pod, true, info.preempted || by_preemption);
    }
    /// A pod on a node.
    #[must_use]
    pub fn pod(&self, pod: PodKey) -> Option<&PodInfo> {
        self.pods.get(pod as usize)?.as_ref()
    }
    fn change_pod(&mut self, pod: PodKey, change: impl FnOnce(&mut PodInfo)) {
        let Some(info) = self.pod(pod).copied() else { return };
        self.record(|| Undo::Marked(pod, info));
        if let Some(Some(p)) = self.pods.get_mut(pod as usize) {
            change(p);
        }
    }
    fn set_terminating(&mut self, pod: PodKey, terminating: bool, preempted: bool) {
        let Some(Some(info)) = self.pods.get_mut(pod as usize) else { return };
        let changed = info.terminating != terminating;
        (info.terminating, info.preempted) = (terminating, preempted);
        let info = *info;
        let counts = &mut self.nodes[info.node as usize].classes;
        if let Some(c) = counts.iter_mut().find(|c| c.class == info.class && changed) {
            c.terminating = if terminating { c.terminating + 1 } else { c.terminating - 1 };
            self.fast.count_live(info.class, info.node, if terminating { -1 } else { 1 });
        }
    }
    fn insert_pod(&mut self, pod: PodKey, mut info: PodInfo, slot: Option<u32>) {
        let index = info.node as usize;
        if self.nodes.len() <= index {
            self.nodes.resize_with(index + 1, NodeInfo::default);
        }
        let class = self.classes.get_index(info.class.0 as usize).expect("a known class");
        let node = &mut self.nodes[index];
        node.count_in(info.class, class, info.terminating);
        node.pods.push(pod);
        info.slot = node.pods.len() as u32 - 1;
        let moved = slot.filter(|s| *s < info.slot);
        if let Some(slot) = moved {
            let last = info.slot;
            node.pods.swap(slot as usize, last as usize);
            let other = node.pods[last as usize];
            info.slot = slot;
            if let Some(Some(other)) = self.pods.get_mut(other as usize) {
                other.slot = last;
            }
        }
        if self.pods.len() <= pod as usize {
            self.pods.resize(pod as usize + 1, None);
        }
        self.pods[pod as usize] = Some(info);
        self.fast.count_pod(info.class, class, info.node, 1, info.terminating);
        self.fast.reload(info.node, &self.nodes[index]);
    }
    fn take_pod(&mut self, pod: PodKey) -> Option<PodInfo> {
        let info = self.pods.get_mut(pod as usize)?.take()?;
        let node = &mut self.nodes[info.node as usize];
        node.pods.swap_remove(info.slot as usize);
        if let Some(moved) = node.pods.get(info.slot as usize)
            && let Some(Some(moved)) = self.pods.get_mut(*moved as usize)
        {
            moved.slot = info.slot;
        }
        let class = self.classes.get_index(info.class.0 as usize).expect("a known class");
        node.count_out(info.class, class, info.terminating);
        self.fast.count_pod(info.class, class, info.node, -1, info.terminating);
        self.fast.reload(info.node, &self.nodes[info.node as usize]);
        Some(info)
    }
}

/// Nominations by preemption.
impl Cache {
    /// Reserves `node` for a waiting pod.
    pub fn nominate(&mut self, pod: PodKey, class: ClassId, node: NodeKey) {
        let old = self.nominated.insert(pod, (class, node));
        self.record(|| Undo::Nominated(pod, old));
    }
    /// Drops a pod's nomination.
    pub fn clear_nomination(&mut self, pod: PodKey) {
        if let Some(old) = self.nominated.remove(&pod) {
            self.record(|| Undo::Nominated(pod, Some(old)));
        }
    }
    /// The node reserved for a pod.
    #[must_use]
    pub fn nomination(&self, pod: PodKey) -> Option<NodeKey> {
        self.nominated.get(&pod).map(|n| n.1)
    }
    /// Whether no pod is nominated anywhere.
    #[must_use]
    pub fn has_no_nominations(&self) -> bool {
        self.nominated.is_empty()
    }
    /// All nominated pods, by key.
    pub fn nominations(&self) -> impl Iterator<Item = (PodKey, ClassId, NodeKey)> {
        self.nominated.iter().map(|(pod, (class, node))| (*pod, *class, *node))
    }
    /// Pods nominated to `node`.
    pub fn nominated_to(&self, node: NodeKey) -> impl Iterator<Item = (PodKey, ClassId)> {
        let here = self.nominated.iter().filter(move |n| n.1.1 == node);
        here.map(|(pod, (class, _))| (*pod, *class))
    }
}

/// What-if.
impl Cache {
    fn record(&mut self, undo: impl FnOnce() -> Undo) {
        if self.marks > 0 {
            self.log.push(undo());
        }
    }
    /// A point to go back to. Every mark must be given to [`Cache::rollback`] or
    /// [`Cache::commit`], newest first. Pods, nodes, nominations and the scan position are taken
    /// back; other objects and classes are not.
    pub fn checkpoint(&mut self) -> Mark {
        self.marks += 1;
        Mark {
            log: self.log.len(),
            tree: Arc::clone(&self.tree),
            order: Arc::clone(&self.order),
            stale: self.stale,
            next_start: self.next_start,
        }
    }
    /// Takes everything since `mark` back.
    pub fn rollback(&mut self, mark: Mark) {
        let marks = std::mem::take(&mut self.marks);
        while self.log.len() > mark.log {
            let Some(undo) = self.log.pop() else { break };
            self.take_back(undo);
        }
        self.marks = marks.saturating_sub(1);
        self.tree = mark.tree;
        if !Arc::ptr_eq(&self.order, &mark.order) {
            self.order = mark.order;
            self.fast.reorder(&self.order);
        }
        self.stale = mark.stale;
        self.next_start = mark.next_start;
    }
    /// Keeps everything since `mark`.
    pub fn commit(&mut self, mark: Mark) {
        let _ = mark;
        self.marks = self.marks.saturating_sub(1);
        if self.marks == 0 {
            self.log.clear();
        }
    }
    fn take_back(&mut self, undo: Undo) {
        match undo {
            Undo::AddedPod(pod) => {
                self.take_pod(pod);
            }
            Undo::RemovedPod(pod, info) => self.insert_pod(pod, info, Some(info.slot)),
            Undo::Marked(pod, info) => {
                self.set_terminating(pod, info.terminating, info.preempted);
                if let Some(Some(p)) = self.pods.get_mut(pod as usize) {
                    p.start = info.start;
                }
            }
            Undo::Node(key, old) => self.set_node(key, old),
            Undo::Nominated(pod, Some(old)) => {
                self.nominated.insert(pod, old);
            }
            Undo::Nominated(pod, None) => {
                self.nominated.remove(&pod);
            }
        }
    }
}

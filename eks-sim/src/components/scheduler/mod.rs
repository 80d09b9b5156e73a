//! kube-scheduler: a queue of pending pods, one cycle at a time, binding through the API.
//!
//! A pod is added to the queue → a cycle filters and scores nodes → the pod is assumed on the best
//! one and the binding is asked for; or it is parked until something that may help happens.
//! Preemption nominates a node and deletes its victims.

mod classes;
mod preemption;
mod volumes;

use crate::engine::{self, Cx, Stream};
use crate::policy::kube_scheduler::class::Class;
use crate::policy::kube_scheduler::{
    Budget, Cache, ClassId, ClusterEvent, Plugins, PodToSchedule, QueueConfig, SchedulingQueue,
    Unschedulable, no_victims_message, schedule,
};
use crate::units::{Id, SimTime};
use crate::world::model::Template;
use crate::world::{Client, Model, Node, PodId, Request};
use rustc_hash::FxHashMap;

/// What can happen to the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A pod without node appeared.
    PodAdded(PodId),
    /// A binding was written.
    PodBound(PodId),
    /// A pod is being deleted.
    PodTerminating(PodId),
    /// A pod ended or is gone.
    PodGone(PodId),
    /// A node came, changed or went.
    NodeChanged(Id<Node>),
    /// A pod on a node has a new size.
    PodResized(PodId),
    /// A pod's scheduling gates were removed.
    PodUngated(PodId),
    /// The next cycle.
    Cycle,
    /// A binding was refused.
    BindFailed(PodId),
    /// Look at a pod again.
    Retry(PodId),
    /// The queue has something to move.
    Flush,
    /// A volume was made for the claim of this number of the pod's template.
    VolumeCreated(PodId, u8),
}

/// A pod in the scheduler's cache.
#[derive(Clone, Copy, Debug)]
struct Known {
    pod: PodId,
    class: ClassId,
    node: Option<u32>,
}

/// The last failed attempt of a pod.
#[derive(Clone, Debug)]
struct Failure {
    pod: PodId,
    asked: PodToSchedule,
    failed: Box<Unschedulable>,
    /// What preemption made of it.
    after: preemption::After,
}

/// kube-scheduler.
#[derive(Clone, Debug)]
pub struct Scheduler {
    cache: Cache,
    queue: SchedulingQueue,
    /// A library user's plugins; the cache has them too.
    plugins: Plugins,
    classes: Vec<Option<ClassId>>,
    /// Classes of pods that differ from others of their template: of a DaemonSet by node, of
    /// pods with claims of their own by ordinal; and by size.
    own_classes: FxHashMap<(Id<Template>, u32, u32), ClassId>,
    /// Classes of pods that differ from their template in size.
    shape_classes: Vec<Option<ClassId>>,
    /// What DaemonSets' pods have in common, by template and shape. Only looked up.
    daemon_classes: FxHashMap<(Id<Template>, u32), Box<Class>>,
    known: Vec<Option<Known>>,
    nodes: Vec<bool>,
    failures: Vec<Option<Failure>>,
    /// Preemptors whose victims are not all being deleted yet.
    preempting: Vec<(PodId, Vec<PodId>)>,
    budgets: Vec<Budget>,
    lowest_priority: i32,
    uses_volumes: bool,
    cycling: bool,
    /// When the last cycle ends: the next one starts no sooner.
    free_at: SimTime,
    flush_at: SimTime,
    attempts: u64,
}

fn wake(event: Event) -> engine::Event {
    engine::Event::Scheduler(event)
}

impl Scheduler {
    /// An idle scheduler.
    #[must_use]
    pub fn new(model: &Model, plugins: Plugins) -> Self {
        let mut cache = Cache::with_profiles(model.profiles.clone());
        if !plugins.is_empty() {
            cache.set_plugins(&plugins);
        }
        for namespace in &model.objects.namespaces {
            cache.set_namespace(&namespace.metadata.name, &namespace.metadata.labels);
        }
        for service in &model.objects.services {
            cache.set_service(service);
        }
        volumes::known_at_start(model, &mut cache);
        let budgets = model.budgets.iter();
        let budgets =
            budgets.map(|(_, b)| Budget::new(&b.object, Vec::new(), &mut cache)).collect();
        let [initial_backoff, max_backoff, max_in_unschedulable, flush_period] =
            model.settings.scheduler_queue;
        let queue = SchedulingQueue::new(QueueConfig {
            initial_backoff,
            max_backoff,
            max_in_unschedulable,
            flush_period,
            pops_from_backoff: model.minor_version >= 33,
            hints: model.minor_version >= 32,
        });
        Self {
            cache,
            queue,
            plugins,
            classes: vec![None; model.templates.len()],
            own_classes: FxHashMap::default(),
            preempting: Vec::new(),
            budgets,
            lowest_priority: model.templates.iter().map(|(_, t)| t.priority).min().unwrap_or(0),
            uses_volumes: model.templates.iter().any(|(_, t)| !t.claims.is_empty()),
            shape_classes: Vec::new(),
            daemon_classes: FxHashMap::default(),
            known: Vec::new(),
            nodes: Vec::new(),
            failures: Vec::new(),
            cycling: false,
            free_at: SimTime::ZERO,
            flush_at: SimTime::NEVER,
            attempts: 0,
        }
    }

    /// Scheduling attempts so far.
    #[must_use]
    pub const fn attempts(&self) -> u64 {
        self.attempts
    }

    /// Upstream's message of the last failed attempt of a pod.
    #[must_use]
    pub fn message(&self, pod: PodId) -> Option<String> {
        let f = self.failures.get(pod.slot() as usize)?.as_ref().filter(|f| f.pod == pod)?;
        let after = match &f.after {
            preemption::After::Nothing => None,
            &preemption::After::NobodyLower { tried } => {
                Some(no_victims_message(&self.cache, &f.asked, &f.failed, tried))
            }
            preemption::After::Refused(why) => Some(why.clone()),
        };
        Some(f.failed.message(&self.cache, after.as_deref()))
    }

    /// Reasons of the last failed attempt of a pod, with the number of nodes each.
    #[must_use]
    pub fn reasons(&self, pod: PodId) -> Vec<(String, u32)> {
        let known = self.failures.get(pod.slot() as usize).and_then(Option::as_ref);
        let Some(Failure { failed, .. }) = known.filter(|f| f.pod == pod) else {
            return Vec::new();
        };
        if let Some(rejection) = &failed.pre_filter {
            return vec![(rejection.message(&self.cache), failed.nodes)];
        }
        failed.reasons.iter().map(|(r, &n)| (r.text(&self.cache), n)).collect()
    }

    /// Handles one event.
    pub fn handle(&mut self, event: Event, cx: &mut Cx<'_>) {
        match event {
            Event::PodAdded(p) => self.pod_added(p, cx),
            Event::PodBound(p) => self.pod_bound(p, cx),
            Event::PodTerminating(p) => self.pod_terminating(p, cx),
            Event::PodGone(p) => self.pod_gone(p, cx),
            Event::NodeChanged(n) => self.node_changed(n, cx),
            Event::PodResized(p) => self.pod_resized(p, cx),
            Event::PodUngated(p) => {
                if self.known.get(p.slot() as usize).and_then(|k| *k).is_some_and(|k| k.pod == p) {
                    self.queue.ungate(p.slot());
                    self.go_on(cx);
                }
            }
            Event::Cycle => self.cycle(cx),
            Event::BindFailed(p) => self.bind_failed(p, cx),
            Event::Retry(p) => self.pod_added(p, cx),
            Event::VolumeCreated(p, i) => self.volume_created(p, i, cx),
            Event::Flush => {
                self.flush_at = SimTime::NEVER;
                self.queue.advance(cx.now());
                self.go_on(cx);
            }
        }
    }

    /// Makes sure that a cycle or a flush is on the agenda if there is work.
    fn go_on(&mut self, cx: &mut Cx<'_>) {
        if !self.cycling && self.queue.has_next() {
            self.cycling = true;
            cx.at(self.free_at.max(cx.now()), wake(Event::Cycle));
        }
        if let Some(at) = self.queue.next_wakeup()
            && at < self.flush_at
        {
            self.flush_at = at;
            cx.at(at, wake(Event::Flush));
        }
    }

    fn know(&mut self, pod: PodId) -> &mut Option<Known> {
        let slot = pod.slot() as usize;
        if self.known.len() <= slot {
            self.known.resize(slot + 1, None);
        }
        &mut self.known[slot]
    }

    fn pod_added(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        let Some(p) = cx.api().pods.get(pod) else { return };
        let (bound, template, ungated) = (p.node.is_some(), p.template, p.ungated);
        if bound || p.is_terminating() {
            return;
        }
        if cx.model().templates[template].profile.is_none() {
            // No scheduler answers to the pod's schedulerName.
            return;
        }
        let Some(class) = self.class_of(pod, cx) else { return };
        let known = self.know(pod);
        if known.as_ref().is_some_and(|k| k.pod == pod && k.node.is_some()) {
            return;
        }
        *known = Some(Known { pod, class, node: None });
        let t = &cx.model().templates[template];
        let gated = !ungated && !t.object.spec.scheduling_gates.is_empty();
        let priority = t.priority;
        let priority = self.plugins.rank(&self.cache, class).unwrap_or(priority);
        self.queue.push(pod.slot(), class, priority, gated, cx.now());
        self.go_on(cx);
    }

    fn pod_bound(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        let now = cx.now();
        let Some(p) = cx.api().pods.get(pod) else { return };
        let (Some(node), slot) = (p.node, pod.slot()) else { return };
        let Some(class) = self.class_of(pod, cx) else { return };
        let known = self.know(pod);
        match known {
            Some(k) if k.pod == pod && k.node == Some(node.raw()) => {}
            _ => {
                *known = Some(Known { pod, class, node: Some(node.raw()) });
                self.queue.remove(slot);
                if self.nodes.get(node.index()) == Some(&true) {
                    self.cache.add_pod(slot, class, node.raw(), Some(now));
                }
            }
        }
        self.cache.clear_nomination(slot);
        if let Some(entry) = self.failures.get_mut(slot as usize) {
            *entry = None;
        }
        self.queue.on_event(&ClusterEvent::PodAdded { class }, now, &self.cache);
        self.go_on(cx);
    }

    fn pod_terminating(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        self.victim_goes(pod);
        let Some(Some(k)) = self.known.get(pod.slot() as usize) else { return };
        if k.pod != pod {
            return;
        }
        if k.node.is_some() {
            self.cache.mark_terminating(pod.slot(), false);
        } else {
            self.queue.remove(pod.slot());
            self.cache.clear_nomination(pod.slot());
        }
        self.go_on(cx);
    }

    fn pod_resized(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        let now = cx.now();
        let slot = pod.slot();
        let Some(new) = self.class_of(pod, cx) else { return };
        let Some(Some(k)) = self.known.get_mut(slot as usize) else { return };
        let (old, Some(node)) = (k.class, k.node) else { return };
        if k.pod != pod || old == new {
            return;
        }
        k.class = new;
        self.cache.remove_pod(slot);
        self.cache.add_pod(slot, new, node, Some(now));
        self.queue.on_event(&ClusterEvent::PodUpdated { old, new }, now, &self.cache);
        self.go_on(cx);
    }

    fn pod_gone(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        self.victim_goes(pod);
        let slot = pod.slot();
        let Some(known) = self.known.get_mut(slot as usize) else { return };
        let Some(k) = known.filter(|k| k.pod == pod) else { return };
        *known = None;
        if let Some(entry) = self.failures.get_mut(slot as usize) {
            *entry = None;
        }
        self.queue.remove(slot);
        self.cache.clear_nomination(slot);
        if let Some(node) = k.node {
            self.cache.remove_pod(slot);
            let event =
                ClusterEvent::PodDeleted { class: k.class, node: Some(node), nominated: false };
            self.queue.on_event(&event, cx.now(), &self.cache);
        }
        self.go_on(cx);
    }

    fn node_changed(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        let row = &cx.api().nodes[node];
        let key = node.raw();
        if self.nodes.len() <= node.index() {
            self.nodes.resize(node.index() + 1, false);
        }
        let there = self.nodes[node.index()];
        let event = match (there, row.exists()) {
            (false, true) => {
                self.cache.add_node(key, &row.full_object());
                self.nodes[node.index()] = true;
                if self.uses_volumes {
                    volumes::attachments_of(node, &mut self.cache, cx);
                }
                ClusterEvent::NodeAdded(key)
            }
            (true, true) => {
                let Some(old) = self.cache.node_info(key).and_then(|n| n.node.clone()) else {
                    return;
                };
                self.cache.update_node(key, &row.full_object());
                ClusterEvent::NodeUpdated { node: key, old }
            }
            (true, false) => {
                let Some(old) = self.cache.node_info(key).and_then(|n| n.node.clone()) else {
                    return;
                };
                self.cache.remove_node(key);
                self.nodes[node.index()] = false;
                ClusterEvent::NodeDeleted(old)
            }
            (false, false) => return,
        };
        self.queue.on_event(&event, cx.now(), &self.cache);
        self.go_on(cx);
    }

    fn cycle(&mut self, cx: &mut Cx<'_>) {
        self.cycling = false;
        let now = cx.now();
        let Some(next) = self.queue.pop(now) else { return self.go_on(cx) };
        let Some(Some(known)) = self.known.get(next.pod as usize).copied() else {
            return self.go_on(cx);
        };
        let pod = known.pod;
        if cx.api().pods.get(pod).is_none_or(|p| p.is_terminating() || p.node.is_some()) {
            return self.go_on(cx);
        }
        self.attempts += 1;
        self.free_at = now + cx.model().settings.scheduler_cycle;
        let asked = PodToSchedule {
            key: next.pod,
            class: next.class,
            nominated: self.cache.nomination(next.pod),
        };
        let id = cx.api().pods.get(pod).map_or(0, |p| p.key);
        let turn = engine::draws::key(&[id, next.attempts.into()]);
        let mut tie = |n: u32| cx.pick(Stream::SchedulerTie, turn, n);
        match schedule(&mut self.cache, &asked, &mut tie) {
            Ok(placement) => {
                self.cache.clear_nomination(next.pod);
                self.cache.add_pod(next.pod, next.class, placement.node, Some(now));
                if let Some(Some(k)) = self.known.get_mut(next.pod as usize) {
                    k.node = Some(placement.node);
                }
                self.queue.remove(next.pod);
                let node = Id::new(placement.node);
                cx.submit(Client::Scheduler, Request::Bind { pod, node });
            }
            Err(failed) => self.unschedulable(pod, &asked, failed, id, cx),
        }
        self.go_on(cx);
    }

    fn bind_failed(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        let slot = pod.slot();
        let Some(Some(k)) = self.known.get_mut(slot as usize) else { return };
        if k.pod != pod || cx.api().pods.get(pod).is_none_or(|p| p.node.is_some()) {
            return;
        }
        let (class, was) = (k.class, k.node.take());
        if let Some(node) = was {
            self.cache.remove_pod(slot);
            let event = ClusterEvent::PodDeleted { class, node: Some(node), nominated: true };
            self.queue.on_event(&event, cx.now(), &self.cache);
        }
        self.pod_added(pod, cx);
    }
}

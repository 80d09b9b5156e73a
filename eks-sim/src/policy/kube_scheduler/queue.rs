//! Waiting pods: the active queue, the backoff queues and the unschedulable pool.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/backend/queue/{scheduling_queue,active_queue,
//! backoff_queue,unschedulable_pods}.go`.
//! Differences: time is an argument; the caller calls in at [`SchedulingQueue::next_wakeup`]
//! instead of tickers; pods of one class with the same rejectors are judged once an event; equal
//! keys leave in order of arrival (upstream's heaps leave them open).

use super::hints::{ClusterEvent, is_worth_requeueing};
use super::profile::PluginSet;
use super::{Cache, ClassId, PodKey};
use crate::units::{SimTime, Span};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

/// Key that orders the active queue: higher priority first, then earlier time stamp.
pub type QueueOrder = (Reverse<i32>, SimTime);

/// The `QueueOrder` of a pod.
#[must_use]
pub fn queue_order(priority: i32, timestamp: SimTime) -> QueueOrder {
    (Reverse(priority), timestamp)
}

/// How long a pod backs off after its `count`-th consecutive failure.
#[must_use]
pub fn backoff_duration(initial: Span, max: Span, count: u32) -> Span {
    if count == 0 {
        return Span::ZERO;
    }
    let shift = count - 1;
    let halved = max.nanos().checked_shr(shift).unwrap_or(0);
    if initial.nanos() > halved { max } else { Span::from_nanos(initial.nanos() << shift) }
}

/// Times of a queue; the defaults are `pkg/scheduler/apis/config/v1/defaults.go` and
/// `scheduling_queue.go` of v1.34.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueConfig {
    /// `podInitialBackoffSeconds` (1 s).
    pub initial_backoff: Span,
    /// `podMaxBackoffSeconds` (10 s).
    pub max_backoff: Span,
    /// How long a pod may sit in the unschedulable pool (5 min).
    pub max_in_unschedulable: Span,
    /// How often the pool is searched for such pods (30 s).
    pub flush_period: Span,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            initial_backoff: Span::from_secs(1),
            max_backoff: Span::from_secs(10),
            max_in_unschedulable: Span::from_secs(300),
            flush_period: Span::from_secs(30),
        }
    }
}

/// Unit of backoff times and of the ticker that ends them.
const WINDOW: Span = Span::from_secs(1);

/// Where a pod waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Next in line.
    Active,
    /// Refused, backing off.
    Backoff,
    /// Failed with an error, backing off.
    ErrorBackoff,
    /// Waiting for an event.
    Unschedulable,
    /// Handed out by [`SchedulingQueue::pop`].
    InFlight,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    class: ClassId,
    priority: i32,
    /// When the pod was added or its last attempt ended.
    timestamp: SimTime,
    /// Number of this stay in a heap; older heap entries are void.
    stay: u64,
    place: Place,
    gated: bool,
    attempts: u32,
    unschedulable_count: u32,
    error_count: u32,
    rejectors: PluginSet,
}

/// A pod handed out for scheduling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuedPod {
    /// The pod.
    pub pod: PodKey,
    /// Its class.
    pub class: ClassId,
    /// How often it was handed out, this time included.
    pub attempts: u32,
}

/// Pods of one class that the same plugins refused.
type Group = (ClassId, PluginSet);
type Heap<K> = BinaryHeap<Reverse<(K, u64, PodKey)>>;

/// kube-scheduler's queue.
#[derive(Clone, Debug, Default)]
pub struct SchedulingQueue {
    config: QueueConfig,
    entries: Vec<Option<Entry>>,
    active: Heap<QueueOrder>,
    active_len: usize,
    backoff: Heap<(SimTime, QueueOrder)>,
    backoff_len: usize,
    error_backoff: Heap<SimTime>,
    /// The unschedulable pool by group; pods by time stamp.
    pool: BTreeMap<Group, BTreeSet<(SimTime, PodKey)>>,
    /// Pods handed out, with the number of the first event since: one, as a rule.
    in_flight: Vec<(PodKey, u64)>,
    /// Events since the oldest pod in flight was handed out.
    events: VecDeque<ClusterEvent>,
    /// Number of the first of `events`.
    first_event: u64,
    stays: u64,
    flushed: SimTime,
}

impl SchedulingQueue {
    /// An empty queue.
    #[must_use]
    pub fn new(config: QueueConfig) -> Self {
        Self { config, ..Self::default() }
    }
    /// Adds a new pod; a gated one (`spec.schedulingGates`) waits for [`SchedulingQueue::ungate`].
    pub fn push(&mut self, pod: PodKey, class: ClassId, priority: i32, gated: bool, now: SimTime) {
        self.remove(pod);
        let entry = Entry {
            class,
            priority,
            timestamp: now,
            stay: 0,
            place: Place::InFlight,
            gated,
            attempts: 0,
            unschedulable_count: 0,
            error_count: 0,
            rejectors: PluginSet::default(),
        };
        if self.entries.len() <= pod as usize {
            self.entries.resize(pod as usize + 1, None);
        }
        self.entries[pod as usize] = Some(entry);
        self.put(pod, if gated { Place::Unschedulable } else { Place::Active });
    }
    /// Takes a pod out for good (bound, or deleted).
    pub fn remove(&mut self, pod: PodKey) {
        self.leave(pod);
        self.land(pod);
        if let Some(slot) = self.entries.get_mut(pod as usize) {
            *slot = None;
        }
    }
    /// The pod's gates are gone.
    pub fn ungate(&mut self, pod: PodKey) {
        let Some(e) = self.entry_mut(pod).filter(|e| e.gated) else { return };
        e.gated = false;
        if e.place == Place::Unschedulable {
            self.leave(pod);
            self.put(pod, Place::Active);
        }
    }
    /// Holds a waiting pod back while its victims are being deleted, or lets it go; the event of
    /// the last deletion is what requeues it.
    pub fn set_preempting(&mut self, pod: PodKey, preempting: bool) {
        if let Some(e) = self.entry_mut(pod) {
            e.gated = preempting;
        }
    }
    /// Hands out the next pod.
    pub fn pop(&mut self, now: SimTime) -> Option<QueuedPod> {
        self.advance(now);
        let pod = self.pop_active().or_else(|| self.pop_backoff())?;
        let number = self.first_event + self.events.len() as u64;
        self.in_flight.push((pod, number));
        let e = self.entry_mut(pod)?;
        e.place = Place::InFlight;
        e.attempts = e.attempts.saturating_add(1);
        e.rejectors = PluginSet::default();
        Some(QueuedPod { pod, class: e.class, attempts: e.attempts })
    }
    /// A pod that was handed out failed: `rejectors` refused it, or none did (an error). Events
    /// since it was handed out are looked at.
    pub fn park(&mut self, pod: PodKey, rejectors: PluginSet, now: SimTime, cache: &Cache) {
        self.advance(now);
        let start = self.in_flight.iter().find(|f| f.0 == pod).map_or(u64::MAX, |f| f.1);
        let Some(e) = self.entry_mut(pod) else { return };
        e.timestamp = now;
        e.rejectors = rejectors;
        if rejectors.is_empty() {
            e.error_count = e.error_count.saturating_add(1);
        } else {
            e.unschedulable_count = e.unschedulable_count.saturating_add(1);
            e.error_count = 0;
        }
        let group = (e.class, rejectors);
        let skip = usize::try_from(start.saturating_sub(self.first_event)).unwrap_or(usize::MAX);
        let mut missed = self.events.iter().skip(skip);
        let helped = rejectors.is_empty()
            || missed.any(|event| is_worth_requeueing(cache, group.0, rejectors, event));
        self.land(pod);
        if helped { self.requeue(pod, now) } else { self.put(pod, Place::Unschedulable) }
    }
    /// The cluster changed (the cache shows it already): waiting pods that it may help leave the
    /// unschedulable pool.
    pub fn on_event(&mut self, event: &ClusterEvent, now: SimTime, cache: &Cache) {
        self.advance(now);
        if !self.in_flight.is_empty() {
            self.events.push_back(event.clone());
        }
        let helped =
            |(class, rejectors): &Group| is_worth_requeueing(cache, *class, *rejectors, event);
        let groups: Vec<Group> = self.pool.keys().copied().filter(helped).collect();
        for group in groups {
            self.free_group(group, SimTime::NEVER, now);
        }
    }
    /// The pod itself changed to another class; if it waits, the change is judged like an event.
    pub fn update(&mut self, pod: PodKey, class: ClassId, now: SimTime, cache: &Cache) {
        let Some(e) = self.entry_mut(pod) else { return };
        let (old, place, rejectors) = (e.class, e.place, e.rejectors);
        if old == class {
            return;
        }
        if place != Place::Unschedulable {
            e.class = class;
            return;
        }
        self.leave(pod);
        if let Some(e) = self.entry_mut(pod) {
            e.class = class;
        }
        let event = ClusterEvent::OwnUpdate { old };
        if is_worth_requeueing(cache, class, rejectors, &event) {
            self.requeue(pod, now);
        } else {
            self.put(pod, Place::Unschedulable);
        }
    }
    /// Ends backoffs and flushes the pool up to `now`.
    pub fn advance(&mut self, now: SimTime) {
        let tick = now.floor_to(WINDOW);
        while let Some(Reverse(((end, _), stay, pod))) = self.backoff.peek().copied() {
            if !self.is_valid(pod, stay, Place::Backoff) {
                self.backoff.pop();
            } else if end < tick {
                self.leave(pod);
                self.put(pod, Place::Active);
            } else {
                break;
            }
        }
        while let Some(Reverse((end, stay, pod))) = self.error_backoff.peek().copied() {
            if !self.is_valid(pod, stay, Place::ErrorBackoff) {
                self.error_backoff.pop();
            } else if end < tick {
                self.leave(pod);
                self.put(pod, Place::Active);
            } else {
                break;
            }
        }
        let flush = now.floor_to(self.config.flush_period);
        if flush > self.flushed {
            self.flushed = flush;
            let before = flush - self.config.max_in_unschedulable;
            let aged = flush.since(SimTime::ZERO) > self.config.max_in_unschedulable;
            let groups: Vec<Group> = self.pool.keys().copied().filter(|_| aged).collect();
            for group in groups {
                self.free_group(group, before, now);
            }
        }
    }
    /// When [`SchedulingQueue::advance`] next has something to do, if nothing else happens.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<SimTime> {
        let mut ends: Option<SimTime> = None;
        let mut consider = |t: SimTime| ends = Some(ends.map_or(t, |e| e.min(t)));
        // Void entries can only make the answer earlier, which is harmless.
        if let Some(Reverse(((end, _), _, _))) = self.backoff.peek() {
            consider(*end + WINDOW);
        }
        if let Some(Reverse((end, _, _))) = self.error_backoff.peek() {
            consider(*end + WINDOW);
        }
        let oldest = self.pool.values().filter_map(|pods| pods.first()).map(|p| p.0).min();
        if let Some(oldest) = oldest {
            let due = oldest + self.config.max_in_unschedulable;
            let next = due.floor_to(self.config.flush_period) + self.config.flush_period;
            consider(next.max(self.flushed + self.config.flush_period));
        }
        ends
    }
    /// Where a pod waits.
    #[must_use]
    pub fn place(&self, pod: PodKey) -> Option<Place> {
        self.entry(pod).map(|e| e.place)
    }
    /// Whether [`SchedulingQueue::pop`] would hand out a pod now.
    #[must_use]
    pub fn has_next(&self) -> bool {
        self.active_len > 0 || self.backoff_len > 0
    }
    /// Pods that wait anywhere.
    #[must_use]
    pub fn len(&self) -> usize {
        let pool: usize = self.pool.values().map(BTreeSet::len).sum();
        let error =
            |e: &&Option<Entry>| matches!(e, Some(Entry { place: Place::ErrorBackoff, .. }));
        let errors = if self.error_backoff.is_empty() {
            0
        } else {
            self.entries.iter().filter(error).count()
        };
        self.active_len + self.backoff_len + pool + errors
    }
    /// Whether no pod waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Moves between the places.
impl SchedulingQueue {
    fn entry(&self, pod: PodKey) -> Option<&Entry> {
        self.entries.get(pod as usize)?.as_ref()
    }
    fn entry_mut(&mut self, pod: PodKey) -> Option<&mut Entry> {
        self.entries.get_mut(pod as usize)?.as_mut()
    }
    fn is_valid(&self, pod: PodKey, stay: u64, place: Place) -> bool {
        self.entry(pod).is_some_and(|e| e.stay == stay && e.place == place)
    }
    fn pop_active(&mut self) -> Option<PodKey> {
        while let Some(Reverse((_, stay, pod))) = self.active.pop() {
            if self.is_valid(pod, stay, Place::Active) {
                self.active_len -= 1;
                return Some(pod);
            }
        }
        None
    }
    /// An idle scheduler takes refused pods before their backoff is over.
    fn pop_backoff(&mut self) -> Option<PodKey> {
        while let Some(Reverse((_, stay, pod))) = self.backoff.pop() {
            if self.is_valid(pod, stay, Place::Backoff) {
                self.backoff_len -= 1;
                return Some(pod);
            }
        }
        None
    }
    /// Puts a pod that is nowhere into a place.
    fn put(&mut self, pod: PodKey, place: Place) {
        self.stays += 1;
        let (stay, config) = (self.stays, self.config);
        let Some(e) = self.entry_mut(pod) else { return };
        let held = e.gated && place != Place::Unschedulable;
        let place = if held { Place::Unschedulable } else { place };
        (e.place, e.stay) = (place, stay);
        let e = *e;
        let order = queue_order(e.priority, e.timestamp);
        match place {
            Place::Active => {
                self.active.push(Reverse((order, stay, pod)));
                self.active_len += 1;
            }
            Place::Backoff => {
                self.backoff.push(Reverse(((backoff_end(&e, &config), order), stay, pod)));
                self.backoff_len += 1;
            }
            Place::ErrorBackoff => {
                self.error_backoff.push(Reverse((backoff_end(&e, &config), stay, pod)));
            }
            Place::Unschedulable => {
                let group = (e.class, e.rejectors);
                self.pool.entry(group).or_default().insert((e.timestamp, pod));
            }
            Place::InFlight => {}
        }
    }
    /// Takes a pod out of its place (its heap entry becomes void).
    fn leave(&mut self, pod: PodKey) {
        let Some(e) = self.entry_mut(pod) else { return };
        let old = *e;
        e.place = Place::InFlight;
        match old.place {
            Place::Active => self.active_len -= 1,
            Place::Backoff => self.backoff_len -= 1,
            Place::Unschedulable => {
                let group = (old.class, old.rejectors);
                if let Some(pods) = self.pool.get_mut(&group) {
                    pods.remove(&(old.timestamp, pod));
                    if pods.is_empty() {
                        self.pool.remove(&group);
                    }
                }
            }
            Place::ErrorBackoff | Place::InFlight => {}
        }
    }
    /// The pod is in flight no more: forgets events that nobody in flight needs.
    fn land(&mut self, pod: PodKey) {
        let Some(at) = self.in_flight.iter().position(|f| f.0 == pod) else { return };
        self.in_flight.swap_remove(at);
        let all = self.first_event + self.events.len() as u64;
        let oldest = self.in_flight.iter().map(|f| f.1).min().unwrap_or(all);
        while self.first_event < oldest && self.events.pop_front().is_some() {
            self.first_event += 1;
        }
    }
    /// Upstream's "queue after backoff".
    fn requeue(&mut self, pod: PodKey, now: SimTime) {
        let Some(e) = self.entry(pod) else { return };
        let backing_off = self.config.max_backoff != Span::ZERO
            && backoff_count(e) > 0
            && backoff_end(e, &self.config) >= now.floor_to(WINDOW);
        let place = match backing_off {
            false => Place::Active,
            true if e.error_count > 0 => Place::ErrorBackoff,
            true => Place::Backoff,
        };
        self.put(pod, place);
    }
    /// Frees the pods of a group whose time stamp is before `before`.
    fn free_group(&mut self, group: Group, before: SimTime, now: SimTime) {
        let Some(pods) = self.pool.get(&group) else { return };
        let due: Vec<PodKey> = pods
            .iter()
            .take_while(|p| p.0 < before || before == SimTime::NEVER)
            .map(|p| p.1)
            .collect();
        for pod in due {
            if self.entry(pod).is_some_and(|e| e.gated) {
                continue;
            }
            self.leave(pod);
            self.requeue(pod, now);
        }
    }
}

fn backoff_count(e: &Entry) -> u32 {
    if e.error_count > 0 { e.error_count } else { e.unschedulable_count }
}

fn backoff_end(e: &Entry, config: &QueueConfig) -> SimTime {
    let duration = backoff_duration(config.initial_backoff, config.max_backoff, backoff_count(e));
    (e.timestamp + duration).floor_to(WINDOW)
}

#[cfg(test)]
mod tests;

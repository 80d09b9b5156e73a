//! The scheduling core alone: kube-scheduler's queue, its cache and the agenda, with arrivals and
//! departures; no API server, kubelet or observer. A pod costs two events: it arrives, it ends.

use crate::workload::{self, Workload};
use eks_sim::engine::agenda::Agenda;
use eks_sim::engine::draws::{Draws, Stream, key};
use eks_sim::k8s;
use eks_sim::policy::kube_scheduler::{
    Cache, ClassId, ClusterEvent, NodeKey, Plugin, PluginSet, PodKey, PodToSchedule, Profile,
    QueueConfig, SchedulingQueue, schedule,
};
use eks_sim::units::{Quantity, SimTime, Span};
use std::collections::BTreeMap;

/// NodeResourcesFit with LeastAllocated, and NodeResourcesBalancedAllocation.
#[must_use]
pub fn fit_and_balance() -> Profile {
    let mut enabled = PluginSet::default();
    let plugins = [Plugin::NodeResourcesFit, Plugin::NodeResourcesBalancedAllocation];
    plugins.into_iter().for_each(|p| enabled.insert(p));
    let weights = plugins.map(|p| (p, 1)).to_vec();
    Profile { enabled, weights, ..Profile::default() }
}

/// A pod of a trace.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// Arrival.
    pub at: SimTime,
    /// Running time.
    pub duration: Span,
    /// Class.
    pub class: ClassId,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Pods placed.
    pub placed: u64,
    /// Scheduling attempts.
    pub attempts: u64,
    /// Digest of all placements with their times.
    pub digest: u64,
}

#[derive(Clone, Copy)]
enum Event {
    Arrives(u32),
    Ends(PodKey),
    Flush,
}

struct Core<'a> {
    cache: Cache,
    jobs: &'a [Job],
    queue: SchedulingQueue,
    agenda: Agenda<Event>,
    /// Pod → job; keys are used again.
    job_of: Vec<u32>,
    free: Vec<PodKey>,
    draws: Draws,
    flush_at: SimTime,
    tally: Tally,
}

/// Runs a trace to its end.
#[must_use]
pub fn run(cache: Cache, jobs: &[Job]) -> Tally {
    let mut core = Core {
        cache,
        jobs,
        queue: SchedulingQueue::new(QueueConfig::default()),
        agenda: Agenda::new(),
        job_of: Vec::new(),
        free: Vec::new(),
        draws: Draws::new(1, 0),
        flush_at: SimTime::NEVER,
        tally: Tally::default(),
    };
    if let Some(first) = jobs.first() {
        core.agenda.push(first.at, Event::Arrives(0));
    }
    while let Some((now, event)) = core.agenda.pop_until(SimTime::NEVER) {
        core.handle(now, event);
        core.schedule_all(now);
    }
    core.tally
}

impl Core<'_> {
    fn handle(&mut self, now: SimTime, event: Event) {
        match event {
            Event::Arrives(number) => {
                let job = self.jobs[number as usize];
                let pod = self.free.pop().unwrap_or_else(|| {
                    self.job_of.push(0);
                    self.job_of.len() as PodKey - 1
                });
                self.job_of[pod as usize] = number;
                self.queue.push(pod, job.class, 0, false, now);
                if let Some(next) = self.jobs.get(number as usize + 1) {
                    self.agenda.push(next.at, Event::Arrives(number + 1));
                }
            }
            Event::Ends(pod) => {
                let class = self.jobs[self.job_of[pod as usize] as usize].class;
                let node = self.cache.pod(pod).map(|p| p.node);
                self.cache.remove_pod(pod);
                self.free.push(pod);
                let event = ClusterEvent::PodDeleted { class, node, nominated: false };
                self.queue.on_event(&event, now, &self.cache);
            }
            Event::Flush => {
                self.flush_at = SimTime::NEVER;
                self.queue.advance(now);
            }
        }
    }
    fn schedule_all(&mut self, now: SimTime) {
        while self.queue.has_next() {
            let Some(next) = self.queue.pop(now) else { break };
            self.tally.attempts += 1;
            let number = self.job_of[next.pod as usize];
            let turn = key(&[number.into(), next.attempts.into()]);
            let draws = &self.draws;
            let mut tie = |n: u32| draws.index(Stream::SchedulerTie, turn, n.into()) as u32;
            let asked = PodToSchedule { key: next.pod, class: next.class, nominated: None };
            match schedule(&mut self.cache, &asked, &mut tie) {
                Ok(placed) => {
                    self.cache.add_pod(next.pod, next.class, placed.node, Some(now));
                    self.queue.remove(next.pod);
                    self.tally.placed += 1;
                    let what = [self.tally.digest, number.into(), placed.node.into(), now.nanos()];
                    self.tally.digest = key(&what);
                    let end = now + self.jobs[number as usize].duration;
                    self.agenda.push(end, Event::Ends(next.pod));
                    let event = ClusterEvent::PodAdded { class: next.class };
                    self.queue.on_event(&event, now, &self.cache);
                }
                Err(failed) => self.queue.park(next.pod, failed.rejectors, now, &self.cache),
            }
        }
        if let Some(at) = self.queue.next_wakeup()
            && at < self.flush_at
        {
            self.flush_at = at;
            self.agenda.push(at.max(now), Event::Flush);
        }
    }
}

/// How the pods of a workload are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groups {
    /// Not at all: a pod has its requests and nothing else.
    None,
    /// Pod i belongs to Deployment i modulo this number; each has a Service. Nodes stand in three
    /// zones by turns.
    Services(usize),
}

/// A node object.
#[must_use]
pub fn node(name: &str, millicores: i64, bytes: i64, pods: i64, zone: Option<&str>) -> k8s::Node {
    let mut node = k8s::Node::default();
    name.clone_into(&mut node.metadata.name);
    let mut label = |key: &str, value: &str| {
        node.metadata.labels.insert(key.to_owned(), value.to_owned());
    };
    label("kubernetes.io/hostname", name);
    if let Some(zone) = zone {
        label("topology.kubernetes.io/zone", zone);
    }
    let allocatable = &mut node.status.allocatable;
    allocatable.insert("cpu".to_owned(), Quantity::from_milli(millicores));
    allocatable.insert("memory".to_owned(), Quantity::from_bytes(bytes));
    allocatable.insert("pods".to_owned(), Quantity::from_units(pods));
    node
}

fn pod_spec(millicores: i64, bytes: i64) -> k8s::PodSpec {
    let mut container = k8s::Container { name: "main".to_owned(), ..Default::default() };
    let requests = &mut container.resources.requests;
    requests.insert("cpu".to_owned(), Quantity::from_milli(millicores));
    requests.insert("memory".to_owned(), Quantity::from_bytes(bytes));
    k8s::PodSpec { containers: vec![container], ..Default::default() }
}

/// The cache with the workload's nodes, and its pods with their classes.
#[must_use]
pub fn prepare(workload: &Workload, profile: Profile, groups: Groups) -> (Cache, Vec<Job>) {
    const ZONES: [&str; 3] = ["zone-a", "zone-b", "zone-c"];
    let mut cache = Cache::new(profile);
    for (i, n) in workload.nodes.iter().enumerate() {
        let zone = (groups != Groups::None).then(|| ZONES[i % 3]);
        let object = node(&format!("node-{i}"), n.millicores, n.bytes, 1_000_000, zone);
        cache.add_node(i as NodeKey, &object);
    }
    if let Groups::Services(count) = groups {
        for d in 0..count {
            let mut service = k8s::Service::default();
            service.metadata.name = format!("d{d}");
            service.spec.selector.insert("app".to_owned(), format!("d{d}"));
            cache.set_service(&service);
        }
    }
    let mut classes: BTreeMap<(usize, i64, i64), ClassId> = BTreeMap::new();
    let mut class = |i: usize, p: &workload::Pod| {
        let group = if let Groups::Services(count) = groups { i % count } else { usize::MAX };
        *classes.entry((group, p.millicores, p.bytes)).or_insert_with(|| {
            let mut labels = k8s::StringMap::new();
            if group != usize::MAX {
                labels.insert("app".to_owned(), format!("d{group}"));
            }
            cache.class("default", &labels, None, &pod_spec(p.millicores, p.bytes))
        })
    };
    let jobs = workload.pods.iter().enumerate().map(|(i, p)| Job {
        at: SimTime::ZERO + Span::from_secs_f64(p.arrival),
        duration: Span::from_secs_f64(p.duration),
        class: class(i, p),
    });
    let jobs = jobs.collect();
    (cache, jobs)
}

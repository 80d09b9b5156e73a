//! What machines do: pods' sandboxes and containers, image caches, the load on Services.

use super::model::{ImageModel, ServiceModel, Zone};
use super::{Node, PodId};
use crate::policy::traffic::Flow;
use crate::policy::vpa::ResizeStatus;
use crate::units::{Id, IdVec, SimTime};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// How far the kubelet has come with a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Not seen by a kubelet.
    Unseen,
    /// Waits for its volumes.
    Volumes,
    /// Waits for an address.
    Address,
    /// Pulls images, runs init containers, starts containers.
    Starting,
    /// Containers run.
    Running,
    /// Containers ended.
    Stopped,
}

/// A pod on a machine.
#[derive(Clone, Copy, Debug)]
pub struct MachinePod {
    /// The pod; a row of an earlier pod in the same slot is stale.
    pub pod: PodId,
    /// How far it is.
    pub stage: Stage,
    /// Address, if it has one of its own.
    pub address: Option<u32>,
    /// When it got the address.
    pub addressed: SimTime,
    /// How often it was refused an address.
    pub refusals: u32,
    /// Capacity in cores it can use for requests.
    pub cores: f64,
    /// When its containers started last.
    pub container_started: SimTime,
    /// How often they were killed for their memory.
    pub kills: u16,
    /// A resize that waits or cannot be done.
    pub resize: Option<ResizeStatus>,
    /// When it began to serve requests; `NEVER` while it does not.
    pub serving_since: SimTime,
}

/// A machine.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Image → when it is (or will be) on the disk.
    pub images: FxHashMap<Id<ImageModel>, SimTime>,
    /// When the pull queue is empty.
    pub pull_free: SimTime,
    /// When images are reported next.
    pub reports_at: SimTime,
    /// When the kubelet has done its part of becoming Ready.
    pub ready_from: SimTime,
    /// Whether the CNI has no network for pods yet, which keeps the node from Ready.
    pub network_missing: bool,
}

/// Load on a Service.
#[derive(Clone, Debug, Default)]
pub struct ServiceLoad {
    /// Pods that requests are sent to.
    pub endpoints: u32,
    /// Of these, pods that work.
    pub alive: u32,
    /// Requests per second from outside, without repetitions.
    pub external: f64,
    /// Requests per second that reach it, repetitions included.
    pub offered: f64,
    /// Requests per second that are served.
    pub served: f64,
    /// Of the calls that reach it, those per second that come from another zone.
    pub cross_zone: f64,
    /// Share of requests from outside that are served, calls and repetitions included.
    pub success: f64,
    /// Mean seconds in the system at the present rates, calls included.
    pub latency: f64,
    /// Time in the system from the previous change of the load to this one.
    pub past: Passage,
    /// Requests waiting.
    pub backlog: f64,
    /// What became of the requests so far; those lost to dead endpoints count as dropped.
    pub totals: Flow,
    /// Use of each live endpoint: one for all, or one for each zone or backend.
    pub usage: Vec<Usage>,
    /// Single requests since the last change of the load, in the exact mode.
    pub requests: Option<Box<RequestWindow>>,
    /// What its backends get, if requests are split by weight.
    pub backends: Vec<BackendLoad>,
}

/// What became of single requests between two changes of the load.
#[derive(Clone, Debug, Default)]
pub struct RequestWindow {
    /// Nanoseconds from the first attempt to the answer of each request from outside that ended
    /// well.
    pub answers: Vec<u64>,
    /// Requests from outside that ended badly.
    pub failed: u64,
    /// Requests that are here now, those that wait for their calls included.
    pub present: u32,
    /// Time integral of the number in the queues, from the start on.
    pub present_nanos: u128,
    /// Time that all requests have spent in the queues, from the start on.
    pub stayed_nanos: u128,
}

/// Requests to one backend of a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BackendLoad {
    /// Requests per second that are sent to it.
    pub offered: f64,
    /// Share of them that fails.
    pub failing: f64,
}

/// Time in the system of the requests of an interval, calls included, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Passage {
    /// Mean.
    pub mean: f64,
    /// Standard deviation around the mean of the instant.
    pub sd: f64,
    /// How far the mean of the instant moved away from `mean` by the end of the interval (and was
    /// on the other side at its beginning).
    pub drift: f64,
    /// What some requests do and others do not, if that spreads them most.
    pub branch: Branch,
}

/// A call that only some requests make: their times have two humps.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Branch {
    /// Share of the requests that make it; 0 without a branch.
    pub share: f64,
    /// Seconds that it takes on average.
    pub mean: f64,
    /// Their standard deviation.
    pub sd: f64,
}

impl Branch {
    /// The variance that the choice adds.
    #[must_use]
    pub fn between(&self) -> f64 {
        self.share * (1.0 - self.share) * self.mean * self.mean
    }

    /// The variance of requests that do not make the call, by that of all.
    #[must_use]
    pub fn without(&self, variance: f64) -> f64 {
        (variance - self.between() - self.share * self.sd * self.sd).max(0.0)
    }
}

/// What a live endpoint uses for requests.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// CPU cores.
    pub cores: f64,
    /// Pods that use this much.
    pub pods: u32,
    /// Bytes of memory.
    pub memory: f64,
    /// When the cores or the memory changed last.
    pub changed: SimTime,
    /// (since, ∫ cores dt at that time, cores from then on): the last minutes.
    pub history: VecDeque<(SimTime, f64, f64)>,
}

impl ServiceLoad {
    /// Use of a live endpoint in this zone.
    #[must_use]
    pub fn usage(&self, zone: Id<Zone>) -> Option<&Usage> {
        if self.usage.len() == 1 { self.usage.first() } else { self.usage.get(zone.index()) }
    }
    /// Use of a live endpoint of this backend.
    #[must_use]
    pub fn usage_of_backend(&self, backend: usize) -> Option<&Usage> {
        self.usage.get(backend)
    }
    /// Cores that all live endpoints use.
    #[must_use]
    pub fn cores(&self) -> f64 {
        self.usage.iter().map(|u| u.cores * f64::from(u.pods)).sum()
    }
}

impl Usage {
    /// ∫ cores dt from the start to `at`, in core seconds.
    #[must_use]
    pub fn integral(&self, at: SimTime) -> f64 {
        let found = self.history.iter().rev().find(|(since, _, _)| *since <= at);
        found.map_or(0.0, |&(since, sum, cores)| sum + cores * at.since(since).secs_f64())
    }

    /// Mean cores between two instants: exact where they did not change.
    #[must_use]
    pub fn mean(&self, begin: SimTime, end: SimTime) -> f64 {
        match self.history.back() {
            Some(&(since, _, cores)) if since <= begin => cores,
            _ => (self.integral(end) - self.integral(begin)) / end.since(begin).secs_f64(),
        }
    }

    /// Least and most cores since an instant within the history.
    #[must_use]
    pub fn range(&self, from: SimTime) -> (f64, f64) {
        let mut range = (self.cores, self.cores);
        for &(since, _, cores) in self.history.iter().rev() {
            range = (range.0.min(cores), range.1.max(cores));
            if since <= from {
                break;
            }
        }
        range
    }

    /// Notes the memory from `now` on.
    pub fn set_memory(&mut self, memory: f64, now: SimTime) {
        if self.memory != memory {
            self.memory = memory;
            self.changed = now;
        }
    }

    /// Notes the cores from `now` on; history older than `keep` is dropped.
    pub fn set_cores(&mut self, cores: f64, now: SimTime, keep: crate::units::Span) {
        if self.history.back().is_some_and(|&(_, _, c)| c == cores) {
            return;
        }
        self.changed = now;
        let sum = self.integral(now);
        if let Some(last) = self.history.back_mut().filter(|l| l.0 == now) {
            last.2 = cores;
        } else {
            self.history.push_back((now, sum, cores));
        }
        self.cores = cores;
        while self.history.get(1).is_some_and(|second| second.0 + keep < now) {
            self.history.pop_front();
        }
    }
}

/// What machines do.
#[derive(Clone, Debug, Default)]
pub struct Machines {
    /// Pods by slot.
    pub pods: Vec<Option<MachinePod>>,
    /// Machines by node.
    pub machines: IdVec<Node, Machine>,
    /// Load by Service.
    pub load: IdVec<ServiceModel, ServiceLoad>,
    /// Attempts of single requests so far, in the exact mode.
    pub attempts: u64,
    /// When the use of a Service's pods changed last.
    pub load_changed: IdVec<ServiceModel, SimTime>,
}

impl Machines {
    /// The pod's row, if a kubelet has it.
    #[must_use]
    pub fn pod(&self, pod: PodId) -> Option<&MachinePod> {
        self.pods.get(pod.slot() as usize)?.as_ref().filter(|m| m.pod == pod)
    }
    /// The pod's row, if a kubelet has it.
    pub fn pod_mut(&mut self, pod: PodId) -> Option<&mut MachinePod> {
        self.pods.get_mut(pod.slot() as usize)?.as_mut().filter(|m| m.pod == pod)
    }
    /// Adds a row for the pod.
    pub fn admit(&mut self, pod: PodId) {
        let slot = pod.slot() as usize;
        if self.pods.len() <= slot {
            self.pods.resize(slot + 1, None);
        }
        self.pods[slot] = Some(MachinePod {
            pod,
            stage: Stage::Unseen,
            address: None,
            addressed: SimTime::NEVER,
            refusals: 0,
            cores: 0.0,
            container_started: SimTime::NEVER,
            kills: 0,
            resize: None,
            serving_since: SimTime::NEVER,
        });
    }
    /// Removes the pod's row.
    pub fn release(&mut self, pod: PodId) -> Option<MachinePod> {
        let row = self.pods.get_mut(pod.slot() as usize)?;
        if row.as_ref().is_some_and(|m| m.pod == pod) { row.take() } else { None }
    }
}

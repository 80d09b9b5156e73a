//! What machines do: pods' sandboxes and containers, image caches, the load on Services.

use super::model::{ImageModel, ServiceModel};
use super::{Node, PodId};
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
}

/// Load on a Service.
#[derive(Clone, Debug, Default)]
pub struct ServiceLoad {
    /// Pods that requests are sent to, in order of arrival.
    pub endpoints: Vec<PodId>,
    /// Of these, pods whose machine works.
    pub alive: u32,
    /// Cores of these.
    pub cores: f64,
    /// Requests per second from outside.
    pub external: f64,
    /// Requests per second that reach it.
    pub offered: f64,
    /// Requests per second that are served.
    pub served: f64,
    /// Share of requests from outside that are served, calls included.
    pub success: f64,
    /// Seconds in the system, calls included.
    pub latency: f64,
    /// CPU cores used by each live endpoint.
    pub cores_per_pod: f64,
    /// Memory in bytes that requests hold in each live endpoint.
    pub memory_per_pod: f64,
    /// Requests waiting.
    pub backlog: f64,
    /// (since, ∫ cores per pod dt at that time, cores per pod from then on): the last minutes.
    pub history: VecDeque<(SimTime, f64, f64)>,
}

impl ServiceLoad {
    /// ∫ cores per pod dt from the start to `at`, in core seconds.
    #[must_use]
    pub fn integral(&self, at: SimTime) -> f64 {
        let found = self.history.iter().rev().find(|(since, _, _)| *since <= at);
        found.map_or(0.0, |&(since, sum, cores)| sum + cores * at.since(since).secs_f64())
    }

    /// Notes the CPU use per pod from `now` on; history older than `keep` is dropped.
    pub fn set_cores_per_pod(&mut self, cores: f64, now: SimTime, keep: crate::units::Span) {
        if self.history.back().is_some_and(|&(_, _, c)| c == cores) {
            return;
        }
        let sum = self.integral(now);
        if let Some(last) = self.history.back_mut().filter(|l| l.0 == now) {
            last.2 = cores;
        } else {
            self.history.push_back((now, sum, cores));
        }
        self.cores_per_pod = cores;
        while self.history.len() > 2 && self.history[1].0 + keep < now {
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
            serving_since: SimTime::NEVER,
        });
    }
    /// Removes the pod's row.
    pub fn release(&mut self, pod: PodId) -> Option<MachinePod> {
        let row = self.pods.get_mut(pod.slot() as usize)?;
        if row.as_ref().is_some_and(|m| m.pod == pod) { row.take() } else { None }
    }
}

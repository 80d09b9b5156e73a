//! VerticalPodAutoscaler: recommender, capping and updater.
//!
//! Upstream: kubernetes/autoscaler `vertical-pod-autoscaler/pkg` at 55c37cd (2026-08, v1.7).
//! Differences: cpu and memory only; amounts are whole millicores and bytes.
//!
//! [`ContainerAggregate`] collects samples, [`Recommender`] reads a [`Recommendation`] out of it,
//! [`cap`] bends that to one pod, and the functions of the updater decide which pods change.

mod aggregate;
mod capping;
mod histogram;
mod recommender;
mod updater;

pub use aggregate::{
    AggregateConfig, ContainerAggregate, MemoryWindow, OomBump, PeakChange, WindowPeak,
};
pub use capping::{
    Boundaries, ContainerView, ControlledValues, LimitScaling, Named, admit, cap, container_views,
    proportional_limit,
};
pub use histogram::{Checkpoint, CheckpointError, DecayingHistogram, Histogram, Layout};
pub use recommender::{
    ContainerPolicy, MAX_AMOUNT, Recommendation, Recommender, confidence, confidence_multiplier,
    margin, policy_for, raise_to,
};
pub use updater::{
    Group, InPlaceDecision, InPlaceView, Priority, ResizeStatus, Termination, UpdateConfig,
    UpdateMode, UpdatePod, eviction_allowed, in_place_decision, observed_containers, priority,
    update_order,
};

use crate::k8s::ResourceList;

/// An amount of cpu (millicores) and of memory (bytes), each of which may be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Amounts {
    /// Millicores.
    pub cpu: Option<i64>,
    /// Bytes.
    pub memory: Option<i64>,
}

/// One of the two resources that a VPA moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Cpu.
    Cpu,
    /// Memory.
    Memory,
}

impl Resource {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Cpu, Self::Memory];
}

impl Amounts {
    /// From a manifest's list; other resources are left out.
    #[must_use]
    pub fn lower(list: &ResourceList) -> Self {
        Self {
            cpu: list.get("cpu").map(|q| q.milli_value()),
            memory: list.get("memory").map(|q| q.value()),
        }
    }
    /// One amount.
    #[must_use]
    pub const fn get(&self, resource: Resource) -> Option<i64> {
        match resource {
            Resource::Cpu => self.cpu,
            Resource::Memory => self.memory,
        }
    }
    /// One amount to change.
    pub const fn get_mut(&mut self, resource: Resource) -> &mut Option<i64> {
        match resource {
            Resource::Cpu => &mut self.cpu,
            Resource::Memory => &mut self.memory,
        }
    }
    /// Whether neither is set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.cpu.is_none() && self.memory.is_none()
    }
}

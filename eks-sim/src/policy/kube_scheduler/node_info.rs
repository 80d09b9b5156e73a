//! What the scheduler knows of one node.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/framework/types.go` (NodeInfo).
//! Differences: pods are also counted by class, so that plugins look at each class once.

use super::class::{Class, HostPort, Taint};
use super::labels::Labels;
use super::node_tree::ZoneKey;
use super::resources::Resources;
use super::{ClassId, PodKey};
use crate::units::Symbol;
use std::sync::Arc;

/// What comes from the Node object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatic {
    /// Name.
    pub name: Symbol,
    /// Labels.
    pub labels: Labels,
    /// Taints in order.
    pub taints: Vec<Taint>,
    /// Cordoned.
    pub unschedulable: bool,
    /// Available to pods.
    pub allocatable: Resources,
    /// Pods allowed.
    pub allowed_pods: i64,
    /// Images present, with sizes.
    pub images: Vec<(Symbol, i64)>,
    /// Region and zone.
    pub zone: ZoneKey,
}

/// Pods of one class on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassCount {
    /// The class.
    pub class: ClassId,
    /// Pods, terminating ones included.
    pub pods: u32,
    /// Terminating pods.
    pub terminating: u32,
}

/// A node with what runs on it. Without a Node object (`node` is `None`) it only remembers pods.
#[derive(Clone, Debug, Default)]
pub struct NodeInfo {
    /// The Node object's part.
    pub node: Option<Arc<NodeStatic>>,
    /// Sum of requests.
    pub requested: Resources,
    /// Sum of non-zero requests (cpu, memory).
    pub non_zero: [i64; 2],
    /// Pods.
    pub pods: Vec<PodKey>,
    /// Pods by class, in order of first arrival.
    pub classes: Vec<ClassCount>,
    /// Host ports in use, as a set.
    pub ports: Vec<HostPort>,
}

impl NodeInfo {
    /// Counts a pod of `class` in (not in [`NodeInfo::pods`]).
    pub fn count_in(&mut self, id: ClassId, class: &Class, terminating: bool) {
        self.requested.add(&class.held, 1);
        self.non_zero[0] = self.non_zero[0].saturating_add(class.held_non_zero[0]);
        self.non_zero[1] = self.non_zero[1].saturating_add(class.held_non_zero[1]);
        let extra = u32::from(terminating);
        match self.classes.iter_mut().find(|c| c.class == id) {
            Some(c) => {
                c.pods += 1;
                c.terminating += extra;
            }
            None => self.classes.push(ClassCount { class: id, pods: 1, terminating: extra }),
        }
        for port in &class.ports {
            if !self.ports.contains(port) {
                self.ports.push(*port);
            }
        }
    }
    /// Takes a counted pod out again.
    pub fn count_out(&mut self, id: ClassId, class: &Class, terminating: bool) {
        self.requested.add(&class.held, -1);
        self.non_zero[0] = self.non_zero[0].saturating_sub(class.held_non_zero[0]);
        self.non_zero[1] = self.non_zero[1].saturating_sub(class.held_non_zero[1]);
        if let Some(i) = self.classes.iter().position(|c| c.class == id) {
            let c = &mut self.classes[i];
            c.pods -= 1;
            c.terminating -= u32::from(terminating);
            if c.pods == 0 {
                self.classes.remove(i);
            }
        }
        self.ports.retain(|p| !class.ports.contains(p));
    }
    /// Number of pods.
    #[must_use]
    pub fn pod_count(&self) -> i64 {
        i64::try_from(self.pods.len()).unwrap_or(i64::MAX)
    }
}

//! Nodes, as etcd holds them.

use super::cloud::Instance;
use super::pods::PodId;
use super::{Api, Model};
use crate::k8s;
use crate::units::{Bytes, Id, MilliCpu, SimTime};
use std::sync::Arc;

/// The Ready condition of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeCondition {
    /// Not reported yet, or the kubelet says no.
    NotReady,
    /// Ready.
    Ready,
    /// The lease was not renewed in time.
    Unknown,
}

/// Taints that components put on nodes, beside those of the node group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SystemTaint {
    /// `node.kubernetes.io/not-ready:NoSchedule`.
    NotReady,
    /// `node.kubernetes.io/unreachable:NoSchedule`.
    UnreachableNoSchedule,
    /// `node.kubernetes.io/unreachable:NoExecute`.
    UnreachableNoExecute,
    /// `node.kubernetes.io/unschedulable:NoSchedule`.
    Unschedulable,
    /// `ToBeDeletedByClusterAutoscaler:NoSchedule`.
    ToBeDeletedByClusterAutoscaler,
    /// `DeletionCandidateOfClusterAutoscaler:PreferNoSchedule`.
    DeletionCandidate,
    /// `karpenter.sh/unregistered:NoExecute`: Karpenter has not seen the node yet.
    KarpenterUnregistered,
    /// `karpenter.sh/disrupted:NoSchedule`: Karpenter is about to remove the node.
    KarpenterDisrupted,
    /// `eks.amazonaws.com/nodegroup=unschedulable:NoSchedule`: an update will replace the node.
    NodeGroupUnschedulable,
    /// The startup taints of the NodePool or node group, all together ([`Node::startup_taints`]).
    Startup,
}

impl SystemTaint {
    /// The taint as Kubernetes writes it; [`SystemTaint::Startup`] stands for several that the
    /// node names.
    #[must_use]
    pub fn taint(self) -> k8s::Taint {
        let (key, effect) = match self {
            Self::NotReady => ("node.kubernetes.io/not-ready", "NoSchedule"),
            Self::UnreachableNoSchedule => ("node.kubernetes.io/unreachable", "NoSchedule"),
            Self::UnreachableNoExecute => ("node.kubernetes.io/unreachable", "NoExecute"),
            Self::Unschedulable => ("node.kubernetes.io/unschedulable", "NoSchedule"),
            Self::ToBeDeletedByClusterAutoscaler => {
                ("ToBeDeletedByClusterAutoscaler", "NoSchedule")
            }
            Self::DeletionCandidate => ("DeletionCandidateOfClusterAutoscaler", "PreferNoSchedule"),
            Self::KarpenterUnregistered => ("karpenter.sh/unregistered", "NoExecute"),
            Self::KarpenterDisrupted => ("karpenter.sh/disrupted", "NoSchedule"),
            Self::NodeGroupUnschedulable => ("eks.amazonaws.com/nodegroup", "NoSchedule"),
            Self::Startup => ("eks-sim/startup", "NoSchedule"),
        };
        let value = if self == Self::NodeGroupUnschedulable { "unschedulable" } else { "" };
        k8s::Taint {
            key: key.to_owned(),
            value: value.to_owned(),
            effect: effect.to_owned(),
            ..k8s::Taint::default()
        }
    }
}

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its instance.
    pub instance: Id<Instance>,
    /// The object without the taints of [`Node::taints`]; shared, since most of it never changes.
    pub object: Arc<k8s::Node>,
    /// Taints of components, in the order they were added.
    pub taints: Vec<SystemTaint>,
    /// What [`SystemTaint::Startup`] stands for on this node.
    pub startup_taints: Arc<[k8s::Taint]>,
    /// Images that its status lists.
    pub images: Arc<Vec<k8s::NodeImage>>,
    /// Ready condition.
    pub condition: NodeCondition,
    /// Registered.
    pub registered: SimTime,
    /// First Ready.
    pub first_ready: SimTime,
    /// Last change of the Ready condition.
    pub condition_changed: SimTime,
    /// Deleted.
    pub deleted: SimTime,
    /// Allocatable CPU.
    pub allocatable_cpu: MilliCpu,
    /// Allocatable memory.
    pub allocatable_memory: Bytes,
    /// Pods it may hold.
    pub max_pods: u32,
    /// Pods bound to it.
    pub pods: Vec<PodId>,
    /// Grows whenever its pods, what is decided about them, its taints or its condition change.
    pub version: u32,
}

impl Node {
    /// Whether the object exists.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.deleted == SimTime::NEVER
    }
    /// Whether it carries the taint.
    #[must_use]
    pub fn has_taint(&self, taint: SystemTaint) -> bool {
        self.taints.contains(&taint)
    }
    /// Taints that components put on it.
    pub fn component_taints(&self) -> impl Iterator<Item = k8s::Taint> + '_ {
        let startup = self.has_taint(SystemTaint::Startup).then_some(&*self.startup_taints);
        let others = self.taints.iter().filter(|t| **t != SystemTaint::Startup);
        others.map(|t| t.taint()).chain(startup.into_iter().flatten().cloned())
    }
    /// Name of the object.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.object.metadata.name
    }
    /// The object with all taints, as the scheduler sees it.
    #[must_use]
    pub fn full_object(&self) -> k8s::Node {
        let mut object = (*self.object).clone();
        object.spec.taints.extend(self.component_taints());
        object.status.images.clone_from(&self.images);
        object.spec.unschedulable = self.has_taint(SystemTaint::Unschedulable);
        object
    }
}

impl Api {
    /// Adds a node.
    pub fn add_node(&mut self, node: Node) -> Id<Node> {
        let id = self.nodes.push(node);
        self.live_nodes.push(id);
        id
    }
    /// Removes a node; its row stays.
    pub fn delete_node(&mut self, node: Id<Node>, now: SimTime) -> bool {
        if !self.nodes[node].exists() {
            return false;
        }
        self.nodes[node].deleted = now;
        self.live_nodes.retain(|&n| n != node);
        true
    }
    /// Sum of the requests of the node's pods that have not ended.
    #[must_use]
    pub fn requested_on(&self, node: Id<Node>, model: &Model) -> (MilliCpu, Bytes) {
        let mut sum = (MilliCpu::ZERO, Bytes::ZERO);
        for &pod in &self.nodes[node].pods {
            if let Some(p) = self.pods.get(pod) {
                let t = self.size_of(p, model);
                sum.0 += t.request_cpu;
                sum.1 += t.request_memory;
            }
        }
        sum
    }
}

//! Karpenter, or the one inside EKS Auto Mode.
//!
//! A pod is found unschedulable → the batch closes after a quiet second → one scheduling round
//! over nodes, nodes on their way and NodePools → NodeClaims → CreateFleet → the node registers
//! and is initialised. Every ten seconds the disruption loop looks for nodes that can go: empty
//! ones, several at once, one at a time; what it finds is validated fifteen seconds later, the
//! nodes are tainted, replacements are started and awaited, then the nodes are drained, their
//! instances ended and the node objects removed.
//!
//! The controller itself is taken to run outside its own nodes (a small node group or Fargate)
//! and to be always there; it does nothing while the API cannot be written. NodeClaims are its
//! own rows here: creating one costs no API latency beside the CreateFleet call.

mod command;
mod disrupt;
mod drift;
pub mod explain;
mod facts;
mod kept;
mod launch;
mod lifecycle;
mod picture;
mod provision;
mod repair;
mod state;
#[cfg(test)]
mod tests;

pub use kept::Kept;
pub use state::{Claim, ClaimId};

use kept::wake;

use crate::engine::Cx;
use crate::policy::karpenter::batcher::Batcher;
use crate::policy::karpenter::offerings::CapacityType;
use crate::policy::karpenter::solve::{Catalog, PodClass, Resources};
use crate::units::{Id, IdVec, SimTime};
use crate::world::cloud::{Fleet, Instance};
use crate::world::karpenter::NodePoolModel;
use crate::world::model::{Template, Zone};
use crate::world::shapes::Shape;
use crate::world::{Model, Node, PodId};
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What can happen to Karpenter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The scheduler found no node for a pod.
    PodPending(PodId),
    /// A pod came to a node, leaves it, or is gone.
    PodMoved(PodId),
    /// The batch of pending pods may be over.
    WindowEnds,
    /// Pods that still wait ask again.
    Requeue,
    /// EC2 answered a CreateFleet call.
    Answered(Id<Fleet>),
    /// A node registered or changed.
    NodeChanged(Id<Node>),
    /// A node object is gone.
    NodeGone(Id<Node>),
    /// An instance ended.
    InstanceGone(Id<Instance>),
    /// A spot instance will be reclaimed.
    SpotNotice(Id<Instance>),
    /// A NodeClaim's life is over.
    Expire(ClaimId),
    /// A NodeClaim should have registered by now.
    RegistrationDue(ClaimId),
    /// A step of a NodeClaim's drain.
    Drain(ClaimId),
    /// The disruption loop.
    Poll,
    /// A decision is validated.
    Validate,
    /// A command should have its replacements by now.
    CommandDue(u32),
    /// A step of the scenario changed NodePools or images.
    PoolsChanged(u32),
    /// Images and subnets are compared with those of the nodes.
    DriftCheck,
    /// NodePools with static capacity are looked at.
    Static,
    /// A node may have been unhealthy for too long.
    Repair(ClaimId),
}

/// An offering without capacity: type, how it is bought, zone; a whole zone without type.
type Pool = (Option<&'static str>, CapacityType, Id<Zone>);

/// Karpenter.
#[derive(Clone, Debug)]
pub struct Karpenter {
    catalog: Arc<Catalog>,
    batcher: Batcher,
    /// Pods that opened or prolonged the open window.
    in_window: BTreeSet<PodId>,
    /// Pods found unschedulable that have no node yet.
    pending: BTreeSet<PodId>,
    requeue_at: SimTime,
    claims: IdVec<Claim, Claim>,
    live: Vec<ClaimId>,
    by_node: BTreeMap<Id<Node>, ClaimId>,
    by_instance: BTreeMap<Id<Instance>, ClaimId>,
    by_fleet: BTreeMap<Id<Fleet>, ClaimId>,
    /// NodeClaims ever made, by NodePool.
    serials: IdVec<NodePoolModel, u32>,
    classes: Vec<PodClass>,
    requests: Vec<Option<Resources>>,
    class_of: FxHashMap<(Id<Template>, Option<Id<Shape>>, Option<Id<Zone>>), Option<usize>>,
    daemons: Vec<PodClass>,
    /// Never iterated: DaemonSets' requests on nodes of a group's type.
    overheads: FxHashMap<(u32, u32), (Resources, usize)>,
    unavailable: BTreeMap<Pool, SimTime>,
    /// Offerings that the catalogue leaves out.
    left_out: Vec<Pool>,
    /// What disruption reads of templates.
    templates: Vec<facts::TemplateFacts>,
    picture: picture::Picture,
    disruption: disrupt::Loop,
    /// What the last rounds found for pods that have no node yet.
    promised: BTreeMap<PodId, Promise>,
    /// NodePools as they are now.
    pools: IdVec<NodePoolModel, Arc<NodePoolModel>>,
    /// Images published during the run, by family.
    releases: BTreeMap<String, u32>,
}

/// Where a scheduling round put a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Promise {
    /// A NodeClaim, made or registered.
    Claim(ClaimId),
    /// A node of another origin.
    Node,
    /// Nowhere, and why.
    Nowhere(String),
}

impl Karpenter {
    /// Karpenter before its first look.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        let options = model.karpenter.as_ref().map(|k| k.options.clone()).unwrap_or_default();
        let none = || Arc::new(Catalog::new(Vec::new(), &[]));
        let mut this = Self {
            catalog: model.karpenter.as_ref().map_or_else(none, |k| Arc::clone(&k.catalog)),
            batcher: Batcher::new(options.batch_idle_duration, options.batch_max_duration),
            in_window: BTreeSet::new(),
            pending: BTreeSet::new(),
            requeue_at: SimTime::NEVER,
            claims: IdVec::new(),
            live: Vec::new(),
            by_node: BTreeMap::new(),
            by_instance: BTreeMap::new(),
            by_fleet: BTreeMap::new(),
            serials: IdVec::new(),
            classes: Vec::new(),
            requests: Vec::new(),
            class_of: FxHashMap::default(),
            daemons: Vec::new(),
            overheads: FxHashMap::default(),
            unavailable: BTreeMap::new(),
            left_out: Vec::new(),
            templates: Vec::new(),
            picture: picture::Picture::default(),
            disruption: disrupt::Loop::default(),
            promised: BTreeMap::new(),
            pools: IdVec::new(),
            releases: BTreeMap::new(),
        };
        if let Some(karpenter) = &model.karpenter {
            this.serials = karpenter.pools.iter().map(|_| 0).collect();
            this.pools = karpenter.pools.clone();
            this.templates = facts::template_facts(model);
            this.daemons = state::daemon_classes(model, options.preference_policy);
        }
        this
    }

    /// Starts the disruption loop.
    pub fn start(&mut self, cx: &mut Cx<'_>) {
        if cx.model().karpenter.is_some() {
            cx.after(cx.model().settings.karpenter.disruption_poll, wake(Event::Poll));
            if self.pools.iter().any(|(_, p)| p.replicas.is_some()) {
                cx.after(crate::units::Span::ZERO, wake(Event::Static));
            }
        }
    }

    /// Handles one event.
    pub fn handle(&mut self, event: Event, cx: &mut Cx<'_>) {
        self.picture.outdate();
        match event {
            Event::PodPending(p) => self.pod_pending(p, cx),
            Event::PodMoved(p) => self.pod_moved(p, cx),
            Event::WindowEnds => self.window_ends(cx),
            Event::Requeue => self.requeue(cx),
            Event::Answered(f) => self.answered(f, cx),
            Event::NodeChanged(n) => self.node_changed(n, cx),
            Event::NodeGone(n) => self.node_gone(n, cx),
            Event::InstanceGone(i) => self.instance_gone(i, cx),
            Event::SpotNotice(i) => self.spot_notice(i, cx),
            Event::Expire(c) => self.expire(c, cx),
            Event::RegistrationDue(c) => self.registration_due(c, cx),
            Event::Drain(c) => self.drain(c, cx),
            Event::Poll => self.poll(cx),
            Event::Validate => self.validate(cx),
            Event::CommandDue(number) => self.command_due(number, cx),
            Event::PoolsChanged(step) => self.pools_changed(step, cx),
            Event::DriftCheck => self.drift_check(cx),
            Event::Static => self.reconcile_static(cx),
            Event::Repair(c) => self.repair(c, cx),
        }
    }
}

//! VPC CNI daemons, one on each node, and the VPC resource controller's branch interfaces.
//!
//! A sandbox asks for an address and gets one at once or not at all. The pool looks at itself
//! every five seconds (`growth`); what it decides takes EC2 calls, which may be throttled, and
//! their time: an address or prefix under a second, an interface several. Between changes nothing
//! is looked at, except when the passing of time alone (cooldown, age of an interface, back-off)
//! can change a decision. A pod with security groups of its own waits for a branch interface
//! instead (`branch`). Interfaces that a dead node leaves behind are swept away (`leaks`).

mod branch;
mod daemon;
mod growth;
mod leaks;
mod operation;
mod pods;

use crate::engine::{self, Cx};
use crate::policy::vpc_cni::{CniConfig, Holding, Pool};
use crate::units::{Id, IdVec};
use crate::world::model::SubnetModel;
use crate::world::{Model, Node, PodId};
use daemon::Daemon;
use leaks::Leak;
use std::net::Ipv4Addr;

/// What can happen to the CNI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A node registered.
    NodeAdded(Id<Node>),
    /// A node's instance was told to end.
    NodeRemoved(Id<Node>),
    /// A node's instance has ended.
    NodeGone(Id<Node>),
    /// A sandbox needs an address.
    Assign(PodId),
    /// A pod's containers stopped.
    Release(PodId),
    /// A pass of the pool loop.
    Pass(Id<Node>),
    /// The next step of what a daemon does with EC2.
    Step(Id<Node>),
    /// The next step of a node's trunk interface.
    Trunk(Id<Node>),
    /// A pod's branch interface is there.
    Branched(PodId),
    /// Branch interfaces of pods that are gone may be deleted.
    BranchDue(Id<Node>),
    /// A node was uncordoned.
    Uncordoned(Id<Node>),
    /// A daemon looks for interfaces that are left over.
    Sweep,
}

/// All CNI daemons.
#[derive(Clone, Debug)]
pub struct VpcCni {
    /// The settings as they act on types without and with prefix support.
    configs: [CniConfig; 2],
    nodes: IdVec<Node, Option<Daemon>>,
    /// Interfaces that nobody has, oldest first.
    leaked: Vec<Leak>,
}

fn wake(event: Event) -> engine::Event {
    engine::Event::VpcCni(event)
}

impl VpcCni {
    /// Daemons with the model's settings.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        let config = &model.network.cni;
        let on = |nitro| config.on(nitro).unwrap_or_else(|_| config.clone());
        Self { configs: [on(false), on(true)], nodes: IdVec::new(), leaked: Vec::new() }
    }

    /// Handles one event.
    pub fn handle(&mut self, event: Event, cx: &mut Cx<'_>) {
        match event {
            Event::NodeAdded(n) => self.node_added(n, cx),
            Event::NodeRemoved(n) => self.node_removed(n, cx),
            Event::NodeGone(n) => self.node_gone(n, cx),
            Event::Assign(p) => self.assign(p, cx),
            Event::Release(p) => self.release(p, cx),
            Event::Pass(n) => self.pass(n, cx),
            Event::Step(n) => self.step(n, cx),
            Event::Trunk(n) => self.trunk(n, cx),
            Event::Branched(p) => self.branched(p, cx),
            Event::BranchDue(n) => self.branch_due(n, cx),
            Event::Uncordoned(n) => self.schedule(n, cx),
            Event::Sweep => self.sweep(cx),
        }
    }

    /// The addresses of a node; `None` when it has no daemon, or no longer.
    #[must_use]
    pub fn pool(&self, node: Id<Node>) -> Option<&Pool> {
        Some(&self.nodes.get(node)?.as_ref()?.pool)
    }

    /// Every address that nodes hold beside their primary ones, with its use: of pools, of calls
    /// in flight, of branch interfaces, and left over.
    pub fn holdings(&self) -> impl Iterator<Item = (Id<SubnetModel>, Ipv4Addr, Holding)> + '_ {
        let daemons = self.nodes.iter().filter_map(|(_, d)| d.as_ref());
        daemons.flat_map(Daemon::holdings).chain(self.leaked.iter().flat_map(Leak::holdings))
    }

    /// Interfaces that are left over from nodes that ended while these were made.
    #[must_use]
    pub fn leaked(&self) -> usize {
        self.leaked.len()
    }

    fn daemon(&mut self, node: Id<Node>) -> Option<&mut Daemon> {
        self.nodes.get_mut(node)?.as_mut()
    }
}

/// Whether the node's machine works; a dead one calls nobody.
fn alive(node: Id<Node>, cx: &Cx<'_>) -> bool {
    cx.cloud().instances[cx.api().nodes[node].instance].alive
}

//! What looks after the nodes of node groups: EKS's managed node groups, and
//! aws-node-termination-handler on groups of the user's own.
//!
//! An instance is about to go (spot notice, capacity rebalancing, scale-in) → its node is cordoned
//! and its pods are evicted, budgets honoured → it goes when they have left or the time is over. An
//! update brings new nodes, then replaces the old ones a few at a time. The service
//! looks at what it does every few seconds.
//!
//! Upstream: EKS user guide, "managed node groups" (spot: a cordon and drain on a rebalance
//! recommendation once the replacement is Ready, or on the notice) and "managed node update
//! behaviour"; aws-node-termination-handler in IMDS mode (drains on the notice only). Differences:
//! a scale-in of a managed group drains for as long as an update does.

mod drain;
mod update;

use self::drain::{Drain, Why};
use self::update::Update;
use crate::engine::{self, Cx};
use crate::policy::fit;
use crate::units::Id;
use crate::world::cloud::Instance;
use crate::world::model::{GroupKind, WorkloadKind};
use crate::world::nodes::SystemTaint;
use crate::world::{Client, Node, NodeCondition, PodId, Request};

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// EC2 expects to reclaim a spot instance.
    Rebalance(Id<Instance>),
    /// A spot instance has its two-minute notice.
    SpotNotice(Id<Instance>),
    /// An Auto Scaling group chose an instance to go.
    ScaleIn(Id<Instance>),
    /// An Auto Scaling group levels its zones.
    Level(Id<Instance>),
    /// A step of the scenario updates a group.
    Update(u32),
    /// The service looks at its drains and updates.
    Look,
    /// A refused eviction is tried again.
    Evict(PodId),
    /// A node, or a DaemonSet pod of it, became Ready.
    NodeChanged(Id<Node>),
}

/// The service. It holds what it does at the moment.
#[derive(Clone, Debug, Default)]
pub struct NodeGroups {
    drains: Vec<Drain>,
    updates: Vec<Update>,
    /// A look is on the agenda.
    looking: bool,
}

fn wake(event: Event) -> engine::Event {
    engine::Event::NodeGroups(event)
}

impl NodeGroups {
    /// Handles one event.
    pub fn handle(&mut self, event: Event, cx: &mut Cx<'_>) {
        match event {
            Event::Rebalance(i) => {
                if cx.cloud().instances[i].outgoing {
                    self.drain(i, Why::Rebalance, cx);
                }
            }
            Event::SpotNotice(i) => {
                let group = cx.cloud().instances[i].group;
                if cx.model().groups[group].scaling.drains {
                    self.drain(i, Why::Notice, cx);
                }
            }
            Event::ScaleIn(i) => self.drain(i, Why::ScaleIn, cx),
            Event::Level(i) => self.drain(i, Why::Level, cx),
            Event::Update(step) => self.begin_update(step, cx),
            Event::Look => self.look(cx),
            Event::Evict(pod) => self.evict_again(pod, cx),
            Event::NodeChanged(n) => started(n, cx),
        }
    }

    /// One look: drains first, since updates wait for them.
    fn look(&mut self, cx: &mut Cx<'_>) {
        self.looking = false;
        let mut drains = core::mem::take(&mut self.drains);
        drains.retain_mut(|d| d.step(cx));
        self.drains = drains;
        let mut updates = core::mem::take(&mut self.updates);
        updates.retain_mut(|u| u.step(&mut self.drains, cx));
        self.updates = updates;
        self.look_later(cx);
    }

    fn look_later(&mut self, cx: &mut Cx<'_>) {
        let idle = self.drains.is_empty() && self.updates.is_empty();
        if !self.looking && !idle {
            self.looking = true;
            cx.after(cx.model().settings.node_group.poll, wake(Event::Look));
        }
    }
}

/// Startup taints go when the node is Ready and all its DaemonSet pods are: what removes them (an
/// agent of some DaemonSet) is then taken to be done.
fn started(node: Id<Node>, cx: &mut Cx<'_>) {
    let row = &cx.api().nodes[node];
    let group = cx.cloud().instances[row.instance].group;
    let waits = row.exists()
        && row.condition == NodeCondition::Ready
        && row.has_taint(SystemTaint::Startup)
        && matches!(
            cx.model().groups[group].kind,
            GroupKind::Managed | GroupKind::SelfManaged | GroupKind::Hybrid
        );
    if !waits {
        return;
    }
    let expected = cx
        .model()
        .workloads
        .iter()
        .filter(|(_, w)| matches!(w.kind, WorkloadKind::DaemonSet(_)))
        .filter(|(_, w)| runs_on(&cx.model().templates[w.template].object.spec, row))
        .count();
    let daemons = row.pods.iter().filter_map(|&p| cx.api().pods.get(p));
    let ready = daemons.filter(|p| cx.model().templates[p.template].daemon && p.is_ready());
    if ready.count() >= expected {
        let taint = SystemTaint::Startup;
        cx.submit(Client::NodeGroup, Request::TaintNode { node, taint, on: false });
    }
}

fn runs_on(spec: &crate::k8s::PodSpec, row: &Node) -> bool {
    let repels = |t: &crate::k8s::Taint| matches!(t.effect.as_str(), "NoSchedule" | "NoExecute");
    let startup = row.startup_taints.iter();
    let tolerated =
        row.object.spec.taints.iter().chain(startup).all(|t| !repels(t) || fit::tolerates(spec, t));
    tolerated && fit::matches_node(spec, &row.object)
}

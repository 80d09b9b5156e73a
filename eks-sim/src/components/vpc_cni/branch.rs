//! Security groups for pods: the VPC resource controller gives a node a trunk interface, and each
//! pod that a SecurityGroupPolicy selects a branch interface on it.

use super::daemon::excluded;
use super::{Event, VpcCni, alive, wake};
use crate::engine::{self, Cx, Stream};
use crate::policy::vpc_cni::branch::Branches;
use crate::policy::vpc_cni::consumers::take_one;
use crate::policy::vpc_cni::ec2_api::{ApiCall, pause};
use crate::policy::vpc_cni::pool::NewEni;
use crate::policy::vpc_cni::{Holding, Placement};
use crate::units::{Id, SimTime};
use crate::world::model::SubnetModel;
use crate::world::{Change, Node, PodId};
use std::net::Ipv4Addr;

/// The branch interfaces of a node.
#[derive(Clone, Debug)]
pub(super) struct Branching {
    /// Subnet of trunk and branches.
    subnet: Id<SubnetModel>,
    branches: Branches,
    /// The trunk's own address while it is being made.
    trunk: Option<u32>,
    has_trunk: bool,
    /// Pods with a branch, by their key: address, and whether it is there already.
    pods: Vec<(u64, u32, bool)>,
}

impl Branching {
    pub(super) fn new(subnet: Id<SubnetModel>, limit: u32) -> Self {
        let branches = Branches::new(limit);
        Self { subnet, branches, trunk: None, has_trunk: false, pods: Vec::new() }
    }

    pub(super) fn holdings(
        &self,
    ) -> impl Iterator<Item = (Id<SubnetModel>, Ipv4Addr, Holding)> + '_ {
        let subnet = self.subnet;
        let trunk = self.trunk.map(|a| (subnet, a.into(), Holding::EniPrimary));
        let live = self.pods.iter().map(|(_, address, _)| *address);
        let branches = live.chain(self.branches.cooling());
        trunk.into_iter().chain(branches.map(move |a| (subnet, a.into(), Holding::Branch)))
    }
}

/// The sandbox cannot be made; kubelet tries again.
pub(super) fn refuse(pod: PodId, cx: &mut Cx<'_>) {
    if let Some(m) = cx.machines_mut().pod_mut(pod) {
        m.refusals += 1;
    }
    cx.emit(Change::PodAddressRefused(pod));
}

/// One address of the subnet, if it has any.
fn take(subnet: Id<SubnetModel>, holding: Holding, request: u64, cx: &mut Cx<'_>) -> Option<u32> {
    let mut below = cx.scatter(request);
    let mut at = match cx.model().network.random_placement {
        true => Placement::Random(&mut below),
        false => Placement::Sequential,
    };
    let row = &mut cx.cloud_mut().subnets[subnet];
    match take_one(&mut row.space, holding, &mut at) {
        Ok(address) => {
            cx.emit(Change::SubnetChanged(subnet));
            Some(address.into())
        }
        Err(_) => {
            row.refusals += 1;
            cx.emit(Change::SubnetExhausted(subnet));
            None
        }
    }
}

impl VpcCni {
    /// The trunk is made, or is there.
    pub(super) fn trunk(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        let now = cx.now();
        let Some(d) = self.daemon(node).filter(|d| !d.ended) else { return };
        let (key, calls) = (d.key, d.calls);
        let Some(b) = d.branching.as_mut().filter(|b| !b.has_trunk) else { return };
        if let Some(own) = b.trunk.take() {
            b.has_trunk = true;
            b.branches.trunk_attached();
            let facts = NewEni {
                subnet: b.subnet.raw(),
                primary_address: own,
                trunk: true,
                excluded: excluded(b.subnet, cx.model()),
                ..NewEni::default()
            };
            d.pool.attached(facts, &[], now);
            return;
        }
        d.calls += 1;
        let turn = engine::draws::key(&[key, calls, 2]);
        match take(b.subnet, Holding::EniPrimary, turn, cx) {
            Some(own) => {
                b.trunk = Some(own);
                if now == SimTime::ZERO {
                    return self.trunk(node, cx);
                }
                let settings = &cx.model().settings;
                let wait = cx.sample(&settings.eni_attach, Stream::EniAttach, turn);
                cx.after(wait, wake(Event::Trunk(node)));
            }
            None => {
                let wait = cx.model().settings.trunk_retry;
                cx.after(wait, wake(Event::Trunk(node)));
            }
        }
    }

    /// Makes a branch interface for a pod.
    pub(super) fn assign_branch(&mut self, pod: PodId, key: u64, node: Id<Node>, cx: &mut Cx<'_>) {
        let now = cx.now();
        let Some(d) = self.daemon(node) else { return refuse(pod, cx) };
        let Some(b) = d.branching.as_mut() else { return refuse(pod, cx) };
        if b.pods.iter().any(|(k, _, _)| *k == key) {
            return; // being made
        }
        let limits = &cx.model().settings.ec2_limits;
        let api = &mut cx.cloud_mut().ec2_api;
        let calls = [ApiCall::CreateNetworkInterface, ApiCall::AssociateTrunkInterface];
        if !calls.into_iter().all(|call| api.take(call, limits, now)) {
            cx.emit(Change::ApiThrottled(node));
            let turn = engine::draws::key(&[key, now.nanos()]);
            let wait = pause(1, cx.draw(Stream::Backoff, turn));
            cx.after(wait, wake(Event::Assign(pod)));
            return;
        }
        if b.branches.attach().is_err() {
            return refuse(pod, cx);
        }
        let turn = engine::draws::key(&[key, now.nanos(), 1]);
        let Some(address) = take(b.subnet, Holding::Branch, turn, cx) else {
            b.branches.give_up();
            return refuse(pod, cx);
        };
        b.pods.push((key, address, false));
        let wait = cx.sample(&cx.model().settings.branch_eni, Stream::EniAttach, turn);
        cx.after(wait, wake(Event::Branched(pod)));
    }

    /// A pod's branch interface is there.
    pub(super) fn branched(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        let now = cx.now();
        let Some(p) = cx.api().pods.get(pod) else { return };
        let (key, Some(node)) = (p.key, p.node) else { return };
        let Some(d) = self.daemon(node).filter(|d| !d.ended) else { return };
        let Some(b) = d.branching.as_mut() else { return };
        let Some(row) = b.pods.iter_mut().find(|(k, _, ready)| *k == key && !ready) else { return };
        row.2 = true;
        let address = row.1;
        if let Some(m) = cx.machines_mut().pod_mut(pod) {
            m.address = Some(address);
            m.addressed = now;
        }
        cx.emit(Change::PodAddressed(pod));
    }

    /// The pod is gone; its interface is kept for a while.
    pub(super) fn release_branch(&mut self, pod: PodId, key: u64, node: Id<Node>, cx: &mut Cx<'_>) {
        let now = cx.now();
        let Some(d) = self.daemon(node).filter(|d| !d.ended) else { return };
        let Some(b) = d.branching.as_mut() else { return };
        let Some(at) = b.pods.iter().position(|(k, _, _)| *k == key) else { return };
        let (_, address, _) = b.pods.remove(at);
        b.branches.release(address, now);
        if let Some(m) = cx.machines_mut().pod_mut(pod) {
            m.address = None;
        }
        if let Some(due) = b.branches.next_due(&cx.model().network.cni.clocks) {
            cx.at(due, wake(Event::BranchDue(node)));
        }
    }

    /// Deletes interfaces whose cooldown is over.
    pub(super) fn branch_due(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        let now = cx.now();
        let clocks = &cx.model().network.cni.clocks;
        if !alive(node, cx) {
            return; // with the instance
        }
        let Some(d) = self.daemon(node).filter(|d| !d.ended) else { return };
        let Some(b) = d.branching.as_mut() else { return };
        while let Some(address) = b.branches.next_deleted(clocks, now) {
            cx.cloud_mut().subnets[b.subnet].space.release(address.into());
            cx.emit(Change::SubnetChanged(b.subnet));
        }
        if let Some(due) = b.branches.next_due(clocks) {
            cx.at(due, wake(Event::BranchDue(node)));
        }
    }
}

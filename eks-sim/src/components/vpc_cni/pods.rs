//! Addresses for pods.

use super::{VpcCni, branch};
use crate::engine::Cx;
use crate::units::Id;
use crate::world::{Change, PodId};
use std::net::IpAddr;

impl VpcCni {
    /// A sandbox asks for an address: one at once, a branch interface later, or a refusal.
    pub(super) fn assign(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        let now = cx.now();
        let Some(p) = cx.api().pods.get(pod) else { return };
        let (key, Some(node)) = (p.key, p.node) else { return };
        let branch = cx.model().templates[p.template].branch;
        let Self { configs, nodes, .. } = self;
        let Some(d) = nodes.get_mut(node).and_then(Option::as_mut).filter(|d| !d.ended) else {
            return branch::refuse(pod, cx);
        };
        if branch {
            return self.assign_branch(pod, key, node, cx);
        }
        match d.pool.assign_in(configs[usize::from(d.nitro)].prefix_delegation, key, now) {
            Ok((address, subnet)) => {
                let raw = match address {
                    IpAddr::V4(v4) => u32::from(v4),
                    IpAddr::V6(_) => 0,
                };
                if let Some(m) = cx.machines_mut().pod_mut(pod) {
                    m.address = Some(raw);
                    m.addressed = now;
                }
                cx.emit(Change::PodAddressed(pod));
                if let Some(subnet) = subnet.map(Id::new) {
                    cx.cloud_mut().subnets[subnet].assigned += 1;
                    cx.emit(Change::SubnetChanged(subnet));
                }
            }
            Err(_) => branch::refuse(pod, cx),
        }
        self.schedule(node, cx);
    }

    /// A pod's containers stopped: its address cools down.
    pub(super) fn release(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        let now = cx.now();
        let Some(p) = cx.api().pods.get(pod) else { return };
        let (key, Some(node)) = (p.key, p.node) else { return };
        if cx.model().templates[p.template].branch {
            return self.release_branch(pod, key, node, cx);
        }
        let Some(d) = self.daemon(node).filter(|d| !d.ended) else { return };
        let Some((_, subnet)) = d.pool.release_in(key, now) else { return };
        if let Some(m) = cx.machines_mut().pod_mut(pod) {
            m.address = None;
        }
        if let Some(subnet) = subnet.map(Id::new) {
            let row = &mut cx.cloud_mut().subnets[subnet];
            row.assigned = row.assigned.saturating_sub(1);
            cx.emit(Change::SubnetChanged(subnet));
        }
        self.schedule(node, cx);
    }
}

//! Events of the network as people read them: addresses, sandboxes, load balancers.

use super::outcome::EventRow;
use crate::engine::View;
use crate::units::{Id, SimTime};
use crate::world::model::SubnetModel;
use crate::world::{Change, PodId};

/// The address a pod got.
pub(super) fn address(pod: PodId, v: &View<'_>) -> String {
    if v.model.network.cni.ipv6 {
        return "an IPv6 address of the node's /80".to_owned();
    }
    let address = v.world.machines.pod(pod).and_then(|x| x.address).unwrap_or(0);
    std::net::Ipv4Addr::from(address).to_string()
}

/// What kubelet says when the CNI refuses.
pub(super) fn sandbox_failure(pod: PodId) -> String {
    // The sandbox's id is random in reality; here it follows from the pod's place.
    let id = crate::units::key::key(&[u64::from(pod.slot()), u64::from(pod.generation())]);
    format!(
        "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network \
         for sandbox \"{id:016x}\": plugin type=\"aws-cni\" name=\"aws-cni\" failed (add): add \
         cmd: failed to assign an IP address to container"
    )
}

/// EC2's error code of a subnet that could not serve a request.
pub(super) fn shortage(subnet: Id<SubnetModel>, v: &View<'_>) -> (&'static str, String) {
    let space = &v.world.cloud.subnets[subnet].space;
    let blocks = v.model.network.cni.prefix_delegation && space.free() > 0;
    let code = if blocks { "InsufficientCidrBlocks" } else { "InsufficientFreeAddressesInSubnet" };
    let message = if blocks {
        format!(
            "{} addresses free, {} free /28 blocks: {} addresses are of no use for prefixes",
            space.free(),
            space.free_blocks(),
            space.fragmented()
        )
    } else {
        format!("{} addresses free", space.free())
    };
    (code, message)
}

/// Events of load balancers and of the EC2 API.
pub(super) fn describe(now: SimTime, change: &Change, v: &View<'_>) -> Option<EventRow> {
    let row = |component, kind, object: String, reason: &str, message: String| {
        Some(EventRow { at: now, component, kind, object, reason: reason.to_owned(), message })
    };
    let node = |n| v.world.api.nodes[n].name().to_owned();
    let balancer = |b: u32| v.model.network.load_balancers[b as usize].name.clone();
    match *change {
        Change::LoadBalancerRefused(b) => {
            let held = v.world.cloud.load_balancers[b as usize].addresses.len();
            let message = if held == 0 {
                "Error syncing load balancer: InvalidSubnet: not enough free addresses in its subnets"
            } else {
                "the load balancer cannot grow: its subnets are full"
            };
            row(
                "service-controller",
                "loadbalancer",
                balancer(b),
                "SyncLoadBalancerFailed",
                message.to_owned(),
            )
        }
        Change::LoadBalancerChanged(b) => {
            let held = v.world.cloud.load_balancers[b as usize].addresses.len();
            let message = format!("{held} addresses");
            row("service-controller", "loadbalancer", balancer(b), "EnsuredLoadBalancer", message)
        }
        Change::ApiThrottled(n) => {
            let message = "EC2 API call of the CNI was throttled; it tries again".to_owned();
            row("vpc-cni", "node", node(n), "RequestLimitExceeded", message)
        }
        Change::NodeNetworkReady(n) => {
            let message = "the first interface for pods is attached".to_owned();
            row("vpc-cni", "node", node(n), "NetworkReady", message)
        }
        _ => None,
    }
}

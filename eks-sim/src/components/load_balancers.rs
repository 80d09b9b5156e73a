//! Load balancers of Services and Ingresses: they hold addresses of their subnets, are refused
//! where too few are free, and application load balancers grow with their requests.
//!
//! Upstream: Elastic Load Balancing user guides (sizes, free addresses), kubernetes/cloud-provider
//! service controller (retries). How an application load balancer grows is not published: here it
//! needs an address for every so many requests a second, at least one a zone.

use crate::engine::{self, Cx, Stream};
use crate::policy::vpc_cni::consumers::{LoadBalancer as Kind, load_balancer_fits, take_one};
use crate::policy::vpc_cni::{AddressSpace, Holding, Placement};
use crate::units::{Id, Span};
use crate::world::Change;
use crate::world::cloud::LoadBalancer;
use crate::world::model::{ServiceModel, SubnetModel};

/// What can happen to load balancers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The controller asks for one, again.
    Create(u32),
    /// Requests of a Service changed.
    LoadChanged(Id<ServiceModel>),
    /// One takes another address.
    Grow(u32),
    /// One may have had too many addresses for long.
    Shrink(u32),
}

/// All load balancers. Their state is in [`crate::world::Cloud`].
#[derive(Clone, Debug, Default)]
pub struct LoadBalancers {}

fn wake(event: Event) -> engine::Event {
    engine::Event::LoadBalancers(event)
}

impl LoadBalancers {
    /// The controller asks for those of the manifests once nodes and their pools are there.
    pub fn start(&mut self, cx: &mut Cx<'_>) {
        let count = cx.model().network.load_balancers.len();
        cx.cloud_mut().load_balancers = vec![LoadBalancer::default(); count];
        let wait = cx.model().settings.watch_delay;
        (0..count as u32).for_each(|index| cx.after(wait, wake(Event::Create(index))));
    }

    /// Handles one event.
    pub fn handle(&mut self, event: Event, cx: &mut Cx<'_>) {
        match event {
            Event::Create(index) => create(index, cx),
            Event::LoadChanged(service) => load_changed(service, cx),
            Event::Grow(index) => grow(index, cx),
            Event::Shrink(index) => shrink(index, cx),
        }
    }
}

/// One address in each subnet, all or none.
fn create(index: u32, cx: &mut Cx<'_>) {
    let model = cx.model();
    let description = &model.network.load_balancers[index as usize];
    let spaces: Vec<&AddressSpace> =
        description.subnets.iter().map(|&s| &cx.cloud().subnets[s].space).collect();
    let fits = load_balancer_fits(&model.network.rules, description.kind, &spaces);
    let taken = fits.is_ok() && description.subnets.iter().all(|&s| take(index, s, cx));
    if taken {
        cx.cloud_mut().load_balancers[index as usize].refused = 0;
        cx.emit(Change::LoadBalancerChanged(index));
        adapt(index, cx);
        return;
    }
    // A subnet may have room by its count and keep it for prefixes: then nothing is held.
    let held = core::mem::take(&mut cx.cloud_mut().load_balancers[index as usize].addresses);
    for (subnet, address) in held {
        cx.cloud_mut().subnets[subnet].space.release(address);
        cx.emit(Change::SubnetChanged(subnet));
    }
    if let Some(&full) =
        description.subnets.iter().min_by_key(|&&s| (cx.cloud().subnets[s].space.free(), s.raw()))
    {
        cx.cloud_mut().subnets[full].refusals += 1;
        cx.emit(Change::SubnetExhausted(full));
    }
    refused(index, Event::Create(index), cx);
}

/// Notes the refusal; the controller asks again, each time later.
fn refused(index: u32, again: Event, cx: &mut Cx<'_>) {
    let settings = &cx.model().settings.load_balancers;
    let row = &mut cx.cloud_mut().load_balancers[index as usize];
    let doubled = settings.retry_first * (1_u64 << row.refused.min(20));
    row.refused = row.refused.saturating_add(1);
    cx.emit(Change::LoadBalancerRefused(index));
    cx.after(doubled.min(settings.retry_longest), wake(again));
}

/// Takes an address of the subnet.
fn take(index: u32, subnet: Id<SubnetModel>, cx: &mut Cx<'_>) -> bool {
    let model = cx.model();
    let row = &cx.cloud().load_balancers[index as usize];
    let key = model.network.load_balancers[index as usize].key;
    let turn = [key, cx.now().nanos(), row.addresses.len() as u64];
    let mut below = cx.scatter(engine::draws::key(&turn));
    let mut at = match model.network.random_placement {
        true => Placement::Random(&mut below),
        false => Placement::Sequential,
    };
    let cloud = cx.cloud_mut();
    let taken = take_one(&mut cloud.subnets[subnet].space, Holding::LoadBalancer, &mut at);
    let Ok(address) = taken else { return false };
    cloud.load_balancers[index as usize].addresses.push((subnet, address));
    cx.emit(Change::SubnetChanged(subnet));
    true
}

fn load_changed(service: Id<ServiceModel>, cx: &mut Cx<'_>) {
    let balancers = &cx.model().network.load_balancers;
    for (index, balancer) in (0_u32..).zip(balancers) {
        if balancer.services.contains(&service) {
            adapt(index, cx);
        }
    }
}

/// Addresses that the present requests need.
fn wanted(index: u32, cx: &Cx<'_>) -> usize {
    let model = cx.model();
    let description = &model.network.load_balancers[index as usize];
    let zones = description.subnets.len();
    if description.kind == Kind::Network {
        return zones;
    }
    let of = |s: &Id<ServiceModel>| cx.machines().load.get(*s).map_or(0.0, |l| l.external);
    let rate: f64 = description.services.iter().map(of).sum();
    let each = model.settings.load_balancers.requests_per_address.max(1e-9);
    let most = model.network.rules.alb_addresses as usize;
    ((rate / each).ceil().max(0.0) as usize).clamp(zones, most.max(zones))
}

/// Begins to grow, or notes since when fewer addresses would do.
fn adapt(index: u32, cx: &mut Cx<'_>) {
    let now = cx.now();
    let wanted = wanted(index, cx);
    let settings = &cx.model().settings.load_balancers;
    let key = cx.model().network.load_balancers[index as usize].key;
    let row = &mut cx.cloud_mut().load_balancers[index as usize];
    let has = row.addresses.len();
    if has == 0 {
        return;
    }
    if wanted >= has {
        row.idle_since = None;
    } else if row.idle_since.is_none() {
        row.idle_since = Some(now);
        cx.after(settings.shrink_after, wake(Event::Shrink(index)));
    }
    let row = &mut cx.cloud_mut().load_balancers[index as usize];
    if wanted > has && !row.growing {
        row.growing = true;
        let turn = engine::draws::key(&[key, now.nanos()]);
        let wait = cx.sample(&settings.grow, Stream::LoadBalancer, turn);
        cx.after(wait, wake(Event::Grow(index)));
    }
}

/// One address more, in the subnet where it has fewest; a full subnet is passed over.
fn grow(index: u32, cx: &mut Cx<'_>) {
    cx.cloud_mut().load_balancers[index as usize].growing = false;
    let has = cx.cloud().load_balancers[index as usize].addresses.len();
    if has == 0 || wanted(index, cx) <= has {
        return;
    }
    let subnets = &cx.model().network.load_balancers[index as usize].subnets;
    let held = |s: Id<SubnetModel>| {
        let row = &cx.cloud().load_balancers[index as usize];
        row.addresses.iter().filter(|(subnet, _)| *subnet == s).count()
    };
    let mut order: Vec<(usize, u32, Id<SubnetModel>)> =
        subnets.iter().map(|&s| (held(s), s.raw(), s)).collect();
    order.sort_unstable();
    for (_, _, subnet) in order {
        if take(index, subnet, cx) {
            cx.cloud_mut().load_balancers[index as usize].refused = 0;
            cx.emit(Change::LoadBalancerChanged(index));
            return adapt(index, cx);
        }
        cx.cloud_mut().subnets[subnet].refusals += 1;
        cx.emit(Change::SubnetExhausted(subnet));
    }
    cx.cloud_mut().load_balancers[index as usize].growing = true;
    refused(index, Event::Grow(index), cx);
}

/// Gives addresses back that were not needed for long, the newest first.
fn shrink(index: u32, cx: &mut Cx<'_>) {
    let now = cx.now();
    let after: Span = cx.model().settings.load_balancers.shrink_after;
    let row = &cx.cloud().load_balancers[index as usize];
    let Some(since) = row.idle_since else { return };
    if now.since(since) < after {
        // It was busy in between, and is idle again.
        cx.at(since + after, wake(Event::Shrink(index)));
        return;
    }
    let wanted = wanted(index, cx);
    cx.cloud_mut().load_balancers[index as usize].idle_since = None;
    while cx.cloud().load_balancers[index as usize].addresses.len() > wanted {
        let row = &mut cx.cloud_mut().load_balancers[index as usize];
        let Some((subnet, address)) = row.addresses.pop() else { return };
        cx.cloud_mut().subnets[subnet].space.release(address);
        cx.emit(Change::SubnetChanged(subnet));
    }
    cx.emit(Change::LoadBalancerChanged(index));
}

//! NodeClaims become instances: offerings, CreateFleet, and the cache of offerings without
//! capacity.

use super::state::{ClaimId, Ending, own_labels, zone_of};
use super::{Event, Karpenter, wake};
use crate::catalog;
use crate::engine::{self, Cx};
use crate::policy::karpenter::disruption::offering_filter;
use crate::policy::karpenter::lifecycle::{REGISTRATION_TIMEOUT, UNAVAILABLE_OFFERING_TTL};
use crate::policy::karpenter::offerings::{
    CapacityType, MAX_LAUNCH_TYPES, PricedType, capacity_type, order_by_price, spot_offering_filter,
};
use crate::units::Id;
use crate::world::Change;
use crate::world::cloud::{Fleet, LaunchFailure};
use crate::world::karpenter::NodePoolModel;
use crate::world::model::{SubnetModel, Zone};
use std::sync::Arc;

pub(super) const fn karpenter_capacity(bought: catalog::CapacityType) -> CapacityType {
    match bought {
        catalog::CapacityType::OnDemand => CapacityType::OnDemand,
        catalog::CapacityType::Spot => CapacityType::Spot,
    }
}

/// Metal, GPU and accelerator types, which are launched only where nothing else is left.
fn is_exotic(name: &str) -> bool {
    catalog::Catalog::embedded().get(name).is_some_and(|t| {
        t.bare_metal == Some(true)
            || t.gpu_count() > 0
            || t.accelerator.is_some_and(|a| a.count > 0)
    })
}

impl Karpenter {
    /// Asks EC2 for the instance of a NodeClaim.
    pub(super) fn launch(&mut self, id: ClaimId, cx: &mut Cx<'_>) {
        let Some(overrides) = self.overrides(id, cx) else {
            self.end(id, Ending::InsufficientCapacity, cx);
            return;
        };
        let claim = &self.claims[id];
        let pool = &claim.template;
        let group = pool.group;
        let serial = cx.cloud().groups[group].launched;
        cx.cloud_mut().groups[group].launched += 1;
        let name = engine::draws::key_str(&cx.model().groups[group].name);
        let key = engine::draws::key(&[name, u64::from(serial)]);
        let labels = own_labels(&claim.requirements);
        let fleet = cx.cloud_mut().fleets.push(Fleet {
            group,
            key,
            serial,
            overrides,
            labels,
            answer: None,
        });
        self.claims[id].fleet = Some(fleet);
        self.by_fleet.insert(fleet, id);
        cx.emit(Change::FleetWanted(fleet));
    }

    /// Types and subnets of the CreateFleet call; none if no offering is left.
    fn overrides(&self, id: ClaimId, cx: &Cx<'_>) -> Option<Vec<(u32, Id<SubnetModel>)>> {
        let claim = &self.claims[id];
        let pool = &claim.template;
        let filter = offering_filter(&claim.requirements, self.catalog.zones());
        let min_values = claim.requirements.has_min_values();
        let mut rows = claim.types.clone();
        let plain = |row: &usize| !is_exotic(&self.catalog.types()[*row].name);
        if !min_values && rows.iter().any(plain) {
            rows.retain(plain);
        }
        let mut priced: Vec<PricedType> =
            rows.iter().map(|&row| self.catalog.priced(row).clone()).collect();
        let kept = spot_offering_filter(&priced, &filter);
        priced.iter_mut().zip(kept).for_each(|(t, offerings)| t.offerings = offerings);
        let kind = capacity_type(&priced, &filter)?;
        let pinned = filter.pinned(kind);
        let zones = zonal_subnets(pool, cx);
        let mut overrides = Vec::new();
        let mut types = 0;
        for i in order_by_price(&priced, &pinned) {
            if types == MAX_LAUNCH_TYPES {
                break;
            }
            let Some(group_type) = pool.group_type(rows[i], kind) else { continue };
            let offered = priced[i].offerings.iter();
            let before = overrides.len();
            for offering in offered.filter(|o| o.available && pinned.matches(o)) {
                let subnet = zones
                    .iter()
                    .find(|(zone, _)| cx.model().zones[*zone] == offering.zone)
                    .map(|&(_, subnet)| subnet);
                overrides.extend(subnet.map(|s| (group_type, s)));
            }
            types += usize::from(overrides.len() > before);
        }
        (!overrides.is_empty()).then_some(overrides)
    }

    /// EC2 answered: the NodeClaim has its instance, or is given up.
    pub(super) fn answered(&mut self, fleet: Id<Fleet>, cx: &mut Cx<'_>) {
        let Some(id) = self.by_fleet.remove(&fleet) else { return };
        let row = &cx.cloud().fleets[fleet];
        let Some(answer) = row.answer.clone() else { return };
        let (group, overrides) = (row.group, row.overrides.clone());
        let until = cx.now() + UNAVAILABLE_OFFERING_TTL;
        for (position, why) in answer.refused {
            let (type_index, subnet) = overrides[position as usize];
            let t = &cx.model().groups[group].types[type_index as usize];
            let zone = cx.model().subnets[subnet].zone;
            let name = match why {
                LaunchFailure::InsufficientInstanceCapacity
                | LaunchFailure::VcpuLimitExceeded
                | LaunchFailure::MaxSpotInstanceCountExceeded => Some(t.instance_type.name),
                // The zone as a whole has no address left.
                LaunchFailure::InsufficientFreeAddressesInSubnet => None,
            };
            self.unavailable.insert((name, karpenter_capacity(t.capacity), zone), until);
        }
        let Some(instance) = answer.instance else {
            self.end(id, Ending::InsufficientCapacity, cx);
            return;
        };
        let row = &cx.cloud().instances[instance];
        let t = row.group_type(cx.model());
        let kind = karpenter_capacity(t.capacity);
        let pool = &self.claims[id].template;
        let found = self.claims[id]
            .types
            .iter()
            .copied()
            .find(|&r| pool.group_type(r, kind) == Some(row.type_index));
        let price = t.rate.usd_per_hour();
        let claim = &mut self.claims[id];
        claim.instance = Some(instance);
        claim.launched = found.map(|r| (r, kind, price));
        self.by_instance.insert(instance, id);
        let text = format!("{} {} at ${price:.4} an hour", kind.name(), t.instance_type.name);
        self.note(id, "Launched", text, cx);
        cx.after(REGISTRATION_TIMEOUT, wake(Event::RegistrationDue(id)));
        if let Some((_, ending)) = self.claims[id].deleting.take() {
            self.end(id, ending, cx);
        }
    }

    /// Marks an offering as not to be had for a while.
    pub(super) fn mark_unavailable(
        &mut self,
        name: &'static str,
        kind: CapacityType,
        zone: Id<Zone>,
        cx: &Cx<'_>,
    ) {
        let until = cx.now() + UNAVAILABLE_OFFERING_TTL;
        self.unavailable.insert((Some(name), kind, zone), until);
    }

    /// Brings the catalogue's offerings in line with the cache.
    pub(super) fn renew_offerings(&mut self, cx: &Cx<'_>) {
        let now = cx.now();
        self.unavailable.retain(|_, until| *until > now);
        let given = &Self::rules(cx).catalog;
        if self.left_out.iter().eq(self.unavailable.keys()) {
            return;
        }
        self.left_out = self.unavailable.keys().copied().collect();
        if self.unavailable.is_empty() {
            if !Arc::ptr_eq(given, &self.catalog) {
                self.catalog = Arc::clone(given);
            }
            return;
        }
        let unavailable = &self.unavailable;
        let model = cx.model();
        Arc::make_mut(&mut self.catalog).set_available(|name, kind, zone| {
            let Some(zone) = zone_of(zone, model) else { return false };
            !unavailable
                .keys()
                .any(|(n, k, z)| *z == zone && n.is_none_or(|n| n == name && *k == kind))
        });
    }
}

/// The subnet of each zone that has the most free addresses.
fn zonal_subnets(pool: &NodePoolModel, cx: &Cx<'_>) -> Vec<(Id<Zone>, Id<SubnetModel>)> {
    let mut best: Vec<(Id<Zone>, Id<SubnetModel>)> = Vec::new();
    let free = |s: Id<SubnetModel>| cx.cloud().subnets[s].space.free();
    for &subnet in &pool.subnets {
        let zone = cx.model().subnets[subnet].zone;
        match best.iter_mut().find(|(z, _)| *z == zone) {
            Some((_, known)) if free(subnet) > free(*known) => *known = subnet,
            Some(_) => {}
            None => best.push((zone, subnet)),
        }
    }
    best
}

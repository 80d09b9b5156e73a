//! Offerings of instance types, their prices, and the choice of a launch.
//!
//! Upstream: karpenter pkg/cloudprovider/types.go, karpenter-provider-aws
//! pkg/providers/instance/filter and instance.go. Differences: EC2's price-capacity-optimized
//! strategy is not published; [`launch`] takes the cheapest among the deepest pools.

use core::borrow::Borrow;

/// How capacity is bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CapacityType {
    /// Capacity reservation.
    Reserved,
    /// Spot.
    Spot,
    /// On demand.
    OnDemand,
}

impl CapacityType {
    /// In the order in which they are preferred.
    pub const ALL: [Self; 3] = [Self::Reserved, Self::Spot, Self::OnDemand];
    /// Value of the label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Spot => "spot",
            Self::OnDemand => "on-demand",
        }
    }
    /// From the value of the label.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A place to buy an instance type.
#[derive(Clone, Debug, PartialEq)]
pub struct Offering {
    /// How.
    pub capacity_type: CapacityType,
    /// Where.
    pub zone: String,
    /// Dollars an hour.
    pub price: f64,
    /// Not in the insufficient-capacity cache, and with reserved instances left.
    pub available: bool,
}

/// An instance type with what it is sold as.
#[derive(Clone, Debug, PartialEq)]
pub struct PricedType {
    /// Name.
    pub name: String,
    /// Offerings.
    pub offerings: Vec<Offering>,
}

/// The part of requirements that offerings answer to; none is any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfferingFilter {
    /// Capacity types.
    pub capacity_types: Option<Vec<CapacityType>>,
    /// Zones.
    pub zones: Option<Vec<String>>,
    /// Distinct instance types that must stay possible.
    pub min_instance_types: Option<usize>,
}

impl OfferingFilter {
    /// Whether a capacity type is allowed.
    #[must_use]
    pub fn allows(&self, kind: CapacityType) -> bool {
        self.capacity_types.as_ref().is_none_or(|list| list.contains(&kind))
    }
    /// Whether an offering is compatible.
    #[must_use]
    pub fn matches(&self, offering: &Offering) -> bool {
        self.allows(offering.capacity_type)
            && self.zones.as_ref().is_none_or(|list| list.contains(&offering.zone))
    }
    fn usable<'a>(&'a self, kind: &'a PricedType) -> impl Iterator<Item = &'a Offering> {
        kind.offerings.iter().filter(|o| o.available && self.matches(o))
    }
    /// The same, for one capacity type.
    #[must_use]
    pub fn pinned(&self, kind: CapacityType) -> Self {
        Self { capacity_types: Some(vec![kind]), ..self.clone() }
    }
}

/// A price after a NodeOverlay: a signed amount, a signed percentage or a new price.
#[must_use]
pub fn adjusted_price(price: f64, adjustment: &str) -> Option<f64> {
    let adjusted = if let Some(percent) = adjustment.strip_suffix('%') {
        price * (1.0 + percent.parse::<f64>().ok()? / 100.0)
    } else if adjustment.starts_with(['+', '-']) {
        price + adjustment.parse::<f64>().ok()?
    } else {
        adjustment.parse().ok()?
    };
    Some(adjusted.max(0.0))
}

/// Price that consolidation assumes: the dearest usable offering of the best capacity type.
#[must_use]
pub fn worst_launch_price(kind: &PricedType, filter: &OfferingFilter) -> Option<f64> {
    CapacityType::ALL.into_iter().find_map(|capacity_type| {
        let of_type = filter.usable(kind).filter(|o| o.capacity_type == capacity_type);
        of_type.map(|o| o.price).max_by(f64::total_cmp)
    })
}

/// Cheapest usable offering.
#[must_use]
pub fn cheapest_price(kind: &PricedType, filter: &OfferingFilter) -> Option<f64> {
    filter.usable(kind).map(|o| o.price).min_by(f64::total_cmp)
}

/// Positions of `types`, cheapest first, those without a usable offering last, ties by name.
#[must_use]
pub fn order_by_price<T: Borrow<PricedType>>(types: &[T], filter: &OfferingFilter) -> Vec<usize> {
    let prices: Vec<f64> =
        types.iter().map(|t| cheapest_price(t.borrow(), filter).unwrap_or(f64::INFINITY)).collect();
    let mut order: Vec<usize> = (0..types.len()).collect();
    order.sort_by(|&a, &b| {
        prices[a]
            .total_cmp(&prices[b])
            .then_with(|| types[a].borrow().name.cmp(&types[b].borrow().name))
    });
    order
}

/// Offerings left, by type, when a launch that allows both spot and on-demand drops spot
/// offerings dearer than the cheapest on-demand one.
#[must_use]
pub fn spot_offering_filter(types: &[PricedType], filter: &OfferingFilter) -> Vec<Vec<Offering>> {
    let cheapest_on_demand = types
        .iter()
        .filter_map(|t| cheapest_price(t, &filter.pinned(CapacityType::OnDemand)))
        .min_by(f64::total_cmp);
    let mixed = filter.allows(CapacityType::Spot) && filter.allows(CapacityType::OnDemand);
    let limit = match cheapest_on_demand {
        Some(price) if mixed && filter.min_instance_types.is_none() => price,
        _ => f64::INFINITY,
    };
    let keep = |o: &&Offering| o.capacity_type != CapacityType::Spot || o.price <= limit;
    types.iter().map(|t| t.offerings.iter().filter(keep).cloned().collect()).collect()
}

/// Capacity type of a launch: reserved, else spot, else on-demand, by what is usable.
#[must_use]
pub fn capacity_type(types: &[PricedType], filter: &OfferingFilter) -> Option<CapacityType> {
    CapacityType::ALL
        .into_iter()
        .find(|&kind| types.iter().any(|t| filter.usable(t).any(|o| o.capacity_type == kind)))
}

/// Types sent to CreateFleet.
pub const MAX_LAUNCH_TYPES: usize = 60;

/// A pool that a launch may draw from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Launch<'a> {
    /// Position of the type.
    pub instance_type: usize,
    /// The offering.
    pub offering: &'a Offering,
}

/// Chooses what is launched among `types`: the best capacity type, the cheapest 60 types, then
/// the lowest price; for spot only among pools whose `depth` (0 to 1, by type and zone) is the
/// largest. Ties go to the earlier type and offering.
#[must_use]
pub fn launch<'a>(
    types: &'a [PricedType],
    filter: &OfferingFilter,
    depth: &dyn Fn(usize, &Offering) -> f64,
) -> Option<Launch<'a>> {
    let kind = capacity_type(types, filter)?;
    let pinned = filter.pinned(kind);
    let mut order = order_by_price(types, &pinned);
    order.truncate(MAX_LAUNCH_TYPES);
    let mut pools: Vec<Launch<'a>> = order
        .into_iter()
        .flat_map(|i| {
            let offerings = types[i].offerings.iter();
            offerings.map(move |offering| Launch { instance_type: i, offering })
        })
        .filter(|pool| pool.offering.available && pinned.matches(pool.offering))
        .collect();
    if kind == CapacityType::Spot {
        let deep = |pool: &Launch<'_>| depth(pool.instance_type, pool.offering);
        let deepest = pools.iter().map(deep).max_by(f64::total_cmp)?;
        pools.retain(|pool| deep(pool) >= deepest);
    }
    pools.into_iter().min_by(|a, b| a.offering.price.total_cmp(&b.offering.price))
}

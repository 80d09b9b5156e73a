//! Faults of a scenario, lowered.

use super::model::{GroupModel, Zone};
use crate::catalog::CapacityType;
use crate::units::{Dist, Id, SimTime, Span};

/// A fault that the scenario sets.
#[derive(Clone, Debug)]
pub struct FaultModel {
    /// When; `None` for random faults.
    pub at: Option<SimTime>,
    /// What.
    pub kind: FaultKind,
}

/// Kinds of faults.
#[derive(Clone, Debug, PartialEq)]
pub enum FaultKind {
    /// A zone is down for a while.
    ZoneOutage {
        /// Zone name; any zone for random faults.
        zone: Option<String>,
        /// How long.
        duration: Dist,
    },
    /// Nodes crash.
    NodeCrash {
        /// How many.
        count: u32,
        /// Of this group only.
        group: Option<Id<GroupModel>>,
        /// In this zone only.
        zone: Option<Id<Zone>>,
    },
    /// etcd members fail.
    EtcdLoss {
        /// How many.
        count: u32,
        /// How long; `None` until replaced.
        duration: Option<Span>,
    },
    /// API servers fail.
    ApiServerLoss {
        /// How many.
        count: u32,
        /// How long; `None` until replaced.
        duration: Option<Span>,
    },
    /// EC2 has none of these types.
    Stockout {
        /// Which pools.
        pools: StockoutModel,
        /// How long; `None` to the end of the run.
        duration: Option<Span>,
    },
    /// EC2 gives running spot instances of these pools their notice.
    SpotReclaim {
        /// Which pools.
        pools: StockoutModel,
        /// Which share of them.
        share: f64,
    },
    /// Faults at random, each entity with this mean time between.
    Random {
        /// What fails.
        what: RandomFault,
        /// Mean time between faults of one entity.
        mean: Span,
        /// How long, where that applies.
        duration: Option<Dist>,
    },
}

/// What fails at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RandomFault {
    /// Each node.
    Node,
    /// Each zone.
    Zone,
    /// Each etcd member.
    Etcd,
    /// Each API server.
    ApiServer,
    /// Each spot instance, by its type's rate.
    Spot,
    /// The host of each instance is retired.
    Retirement,
    /// Each capacity pool: instance type, zone and how it is bought.
    Stockout,
}

/// Capacity pools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StockoutModel {
    /// Types; empty is all.
    pub types: Vec<&'static str>,
    /// Zones; empty is all.
    pub zones: Vec<Id<Zone>>,
    /// How they are bought; `None` is both ways.
    pub capacity: Option<CapacityType>,
}

impl StockoutModel {
    /// Whether a pool is among them.
    #[must_use]
    pub fn covers(&self, name: &str, zone: Id<Zone>, capacity: CapacityType) -> bool {
        (self.types.is_empty() || self.types.contains(&name))
            && (self.zones.is_empty() || self.zones.contains(&zone))
            && self.capacity.is_none_or(|c| c == capacity)
    }
}

/// Random stock-outs of the pools of one capacity type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StockoutRate {
    /// Mean time that a pool has capacity.
    pub between: Span,
    /// Mean time that it has none.
    pub duration: Span,
}

//! Faults of a scenario, lowered.

use super::model::{GroupModel, Zone};
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
}

//! Things that go wrong, at set times or at random.

use crate::units::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A fault: `at` with one of the shapes, or `random` with its rate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct FaultSpec {
    /// Time since the start.
    pub at: Option<Span>,
    /// A zone fails: its instances stop, nothing can be launched there, and members of the
    /// control plane in it are down.
    pub zone_outage: Option<ZoneOutageSpec>,
    /// Nodes crash.
    pub node_crash: Option<NodeCrashSpec>,
    /// etcd members fail.
    pub etcd_member_loss: Option<MemberLossSpec>,
    /// API servers fail.
    pub api_server_loss: Option<MemberLossSpec>,
    /// EC2 has no capacity of some instance types for a while.
    pub capacity_stockout: Option<StockoutSpec>,
    /// EC2 takes spot instances back: they get the two-minute notice.
    pub spot_reclaim: Option<SpotReclaimSpec>,
    /// `nodeFailure`, `scheduledRetirement`, `zoneOutage`, `etcdMemberLoss`, `apiServerLoss`,
    /// `spotInterruption` or `capacityStockout`.
    pub random: Option<String>,
    /// Mean time between faults of one node, zone, member or capacity pool (default: the model's
    /// rates).
    pub mean_time_between: Option<Span>,
    /// How long a random zone outage lasts (default: the model's distribution); mean time that
    /// a random stock-out lasts.
    pub duration: Option<Span>,
}

/// A zone fails.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ZoneOutageSpec {
    /// Zone, for example `us-east-1a`.
    pub zone: String,
    /// How long.
    pub duration: Span,
}

/// Launches of some types are refused with `InsufficientInstanceCapacity`; what runs goes on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct StockoutSpec {
    /// Types; `*` stands for any letters: `m6i.*` (default all).
    pub instance_types: Vec<String>,
    /// Zones (default all).
    pub zones: Vec<String>,
    /// `spot` or `on-demand` (default both).
    pub capacity_type: Option<String>,
    /// How long (default to the end of the run).
    pub duration: Option<Span>,
}

/// Running spot instances are reclaimed at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SpotReclaimSpec {
    /// Types; `*` stands for any letters: `m6i.*` (default all).
    pub instance_types: Vec<String>,
    /// Zones (default all).
    pub zones: Vec<String>,
    /// Share of the instances, rounded up (default all).
    pub share: Option<super::Fraction>,
}

/// Nodes crash and do not come back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NodeCrashSpec {
    /// How many (default 1), drawn from the group or the whole cluster.
    pub count: Option<u32>,
    /// Node group.
    pub node_group: Option<String>,
    /// Zone.
    pub zone: Option<String>,
}

/// Members of the control plane fail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct MemberLossSpec {
    /// How many (default 1).
    pub count: Option<u32>,
    /// How long until they are back (default: replaced by the control plane's own time).
    pub duration: Option<Span>,
}

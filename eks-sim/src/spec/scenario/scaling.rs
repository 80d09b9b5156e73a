//! Bounds of HPAs that move during the run: schedules and forecasts.

use super::PerSecond;
use crate::units::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bounds of an HPA that move during the run. Where a schedule and a forecast both ask for a
/// minimum, the larger one counts.
///
/// ```yaml
/// scaling:
/// - hpa: HorizontalPodAutoscaler/web
///   schedule: [{cron: "0 8 * * 1-5", minReplicas: 10}, {cron: "0 20 * * *", minReplicas: 2}]
///   forecast: {perReplica: 50/s, ahead: 10m}
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScalingSpec {
    /// `HorizontalPodAutoscaler/NAME` or `ScaledObject/NAME`, with `NAMESPACE/` where needed.
    pub hpa: String,
    /// New bounds at set times, as a CronJob that patches the HPA sets them.
    #[serde(default)]
    pub schedule: Vec<ScheduledBounds>,
    /// A forecast of the load that moves `minReplicas` ahead of it.
    #[serde(default)]
    pub forecast: Option<ForecastSpec>,
}

/// New bounds at a set time; what is not given stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScheduledBounds {
    /// Cron expression: at these times.
    #[serde(default)]
    pub cron: Option<String>,
    /// Time zone of the cron expression (default UTC).
    #[serde(default)]
    pub time_zone: Option<String>,
    /// Once, at this time since the start.
    #[serde(default)]
    pub at: Option<Span>,
    /// `minReplicas` from then on.
    #[serde(default)]
    pub min_replicas: Option<u32>,
    /// `maxReplicas` from then on.
    #[serde(default)]
    pub max_replicas: Option<u32>,
}

/// A forecast of the load: `minReplicas` becomes the largest forecast rate between now and `ahead`,
/// divided by what a replica can take. Random modulation of the rate is not foreseen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForecastSpec {
    /// `Service/NAME` whose rate from outside is forecast (default: the Service of the target).
    #[serde(default)]
    pub of: Option<String>,
    /// Requests that a replica takes.
    pub per_replica: PerSecond,
    /// How far ahead `minReplicas` moves (default 10 m).
    #[serde(default)]
    pub ahead: Option<Span>,
    /// How often (default 5 m).
    #[serde(default)]
    pub every: Option<Span>,
    /// Error: the forecast is so much larger (`0.2`) or smaller (`-0.2`) than the load (default 0).
    #[serde(default)]
    pub error: f64,
    /// The forecast is the load of so long before (default 0 s).
    #[serde(default)]
    pub lag: Span,
}

//! KEDA's ScaledObject (keda.sh/v1alpha1).

use super::{HpaBehavior, ObjectMeta, ObjectReference, StringMap};
use serde::{Deserialize, Serialize};

/// A ScaledObject: KEDA makes an HPA of it, and scales to and from zero itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaledObject {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: ScaledObjectSpec,
}

/// `spec` of a ScaledObject.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaledObjectSpec {
    /// What it scales; the kind is Deployment by default.
    pub scale_target_ref: ObjectReference,
    /// Seconds between polls (30).
    pub polling_interval: Option<i32>,
    /// Seconds from the last active poll to zero (300).
    pub cooldown_period: Option<i32>,
    /// Seconds from creation to zero (0).
    pub initial_cooldown_period: Option<i32>,
    /// Replicas while no trigger is active, below the minimum.
    pub idle_replica_count: Option<i32>,
    /// Smallest count (0).
    pub min_replica_count: Option<i32>,
    /// Largest count (100).
    pub max_replica_count: Option<i32>,
    /// What to do when triggers fail; not simulated.
    pub fallback: Option<serde_json::Value>,
    /// Settings of the HPA.
    pub advanced: Option<ScaledObjectAdvanced>,
    /// What it scales on.
    pub triggers: Vec<ScaledObjectTrigger>,
}

/// Settings of the HPA that KEDA makes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaledObjectAdvanced {
    /// The HPA.
    pub horizontal_pod_autoscaler_config: Option<ScaledObjectHpa>,
    /// A formula over the triggers; not simulated.
    pub scaling_modifiers: Option<serde_json::Value>,
}

/// The HPA that KEDA makes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaledObjectHpa {
    /// Name (`keda-hpa-` and the ScaledObject's).
    pub name: Option<String>,
    /// Scaling behaviour.
    pub behavior: Option<HpaBehavior>,
}

/// A trigger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaledObjectTrigger {
    /// Scaler: `cron`, `cpu`, `memory`, `aws-sqs-queue`, `rabbitmq`, `prometheus` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// Name.
    pub name: Option<String>,
    /// `AverageValue` (default), `Value`, or `Utilization` for cpu and memory.
    pub metric_type: Option<String>,
    /// Settings of the scaler.
    pub metadata: StringMap,
}

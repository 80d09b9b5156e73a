//! Limits of the account: vCPU quotas, and the bucket of instances that RunInstances and
//! CreateFleet draw from.
//!
//! Upstream: Amazon EC2 user guide, "on-demand instance quotas", "spot instance quotas" (vCPUs of
//! running and pending instances, by class of type); EC2 developer guide, "request throttling".
//! Differences: a call that finds the bucket empty waits for its tokens instead of being refused
//! and tried again by the SDK.

use crate::catalog::CapacityType;
use crate::engine::Cx;
use crate::units::Span;
use crate::world::cloud::{InstanceState, LaunchFailure};
use crate::world::model::{GroupKind, GroupType};

/// Names of the quotas of on-demand types.
pub(crate) fn quota_class(category: &str) -> &'static str {
    match category.trim_end_matches(char::is_numeric) {
        "f" => "f",
        "g" | "gr" | "vt" => "g",
        "p" => "p",
        "x" => "x",
        "inf" => "inf",
        "trn" => "trn",
        "dl" => "dl",
        "hpc" => "hpc",
        "u" => "high-memory",
        _ => "standard",
    }
}

fn class_of(t: &GroupType) -> (&'static str, bool) {
    (quota_class(t.instance_type.category()), t.capacity == CapacityType::Spot)
}

/// Whether the account may run one more instance of the type.
pub(super) fn within_quota(t: &GroupType, cx: &Cx<'_>) -> Result<(), LaunchFailure> {
    let quotas = &cx.model().vcpu_quotas;
    if quotas.is_empty() {
        return Ok(());
    }
    let (class, spot) = class_of(t);
    let limit = match spot {
        true => quotas.iter().find(|(name, _)| name.strip_prefix("spot-") == Some(class)),
        false => quotas.get_key_value(class),
    };
    let Some((_, &limit)) = limit else { return Ok(()) };
    let cloud = cx.cloud();
    let mut used = t.instance_type.vcpu.unwrap_or(0);
    for (id, group) in cloud.groups.iter() {
        if matches!(
            cx.model().groups[id].kind,
            GroupKind::Hybrid | GroupKind::Trace | GroupKind::Fargate
        ) {
            continue;
        }
        for &i in &group.instances {
            let row = &cloud.instances[i];
            let other = row.group_type(cx.model());
            if row.state != InstanceState::Terminated && class_of(other) == (class, spot) {
                used = used.saturating_add(other.instance_type.vcpu.unwrap_or(0));
            }
        }
    }
    match (used <= limit, spot) {
        (true, _) => Ok(()),
        (false, true) => Err(LaunchFailure::MaxSpotInstanceCountExceeded),
        (false, false) => Err(LaunchFailure::VcpuLimitExceeded),
    }
}

/// How long a launch waits for its token; takes the token.
pub(super) fn launch_wait(cx: &mut Cx<'_>) -> Span {
    let (depth, refill) = cx.model().settings.launch_bucket;
    let now = cx.now();
    let full = cx.cloud().launches_full_at.max(now) + refill;
    cx.cloud_mut().launches_full_at = full;
    full.since(now).saturating_sub(refill * u64::from(depth))
}

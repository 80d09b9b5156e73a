//! First filter over nodes that might be removed.
//!
//! Upstream: core/scaledown/eligibility/eligibility.go and utils/taints of release 1.37.

use super::utilization::{Utilization, UtilizationError};
use crate::units::Span;

/// Age from which a deletion taint is taken for a leftover.
pub const MAX_DELETION_TIME: Span = Span::from_secs(300);

/// Why a node stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum UnremovableReason {
    /// Found unremovable less than `--unremovable-node-recheck-timeout` ago.
    RecentlyUnremovable,
    /// Its deletion runs already.
    CurrentlyBeingDeleted,
    /// Annotated.
    ScaleDownDisabledAnnotation,
    /// In no node group.
    NotAutoscaled,
    /// Unready, and unready nodes are kept.
    ScaleDownUnreadyDisabled,
    /// Too full.
    NotUnderutilized,
    /// Its pods fit nowhere else.
    NoPlaceToMovePods,
    /// A pod forbids the drain.
    BlockedByPod,
    /// Unneeded for too short a time.
    NotUnneededLongEnough,
    /// Unready for too short a time.
    NotUnreadyLongEnough,
    /// Its group is at the minimum.
    NodeGroupMinSizeReached,
    /// The cluster would fall below a minimum.
    MinimalResourceLimitExceeded,
    /// Options or utilisation cannot be read.
    UnexpectedError,
}

impl UnremovableReason {
    /// Upstream's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RecentlyUnremovable => "RecentlyUnremovable",
            Self::CurrentlyBeingDeleted => "CurrentlyBeingDeleted",
            Self::ScaleDownDisabledAnnotation => "ScaleDownDisabledAnnotation",
            Self::NotAutoscaled => "NotAutoscaled",
            Self::ScaleDownUnreadyDisabled => "ScaleDownUnreadyDisabled",
            Self::NotUnderutilized => "NotUnderutilized",
            Self::NoPlaceToMovePods => "NoPlaceToMovePods",
            Self::BlockedByPod => "BlockedByPod",
            Self::NotUnneededLongEnough => "NotUnneededLongEnough",
            Self::NotUnreadyLongEnough => "NotUnreadyLongEnough",
            Self::NodeGroupMinSizeReached => "NodeGroupMinSizeReached",
            Self::MinimalResourceLimitExceeded => "MinimalResourceLimitExceeded",
            Self::UnexpectedError => "UnexpectedError",
        }
    }
}

/// What the filter reads of a node.
#[derive(Clone, Debug, Default)]
pub struct NodeFacts {
    /// Found unremovable recently.
    pub recently_unremovable: bool,
    /// Age of the taint `ToBeDeletedByClusterAutoscaler`.
    pub deletion_taint_age: Option<Span>,
    /// Annotated `cluster-autoscaler.kubernetes.io/scale-down-disabled: "true"`.
    pub scale_down_disabled: bool,
    /// In a node group.
    pub in_group: bool,
    /// Ready.
    pub ready: bool,
    /// The provider knows GPUs of it.
    pub has_gpu: bool,
}

/// Thresholds of the filter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EligibilityOptions {
    /// `--scale-down-utilization-threshold`.
    pub threshold: f64,
    /// `--scale-down-gpu-utilization-threshold`.
    pub gpu_threshold: f64,
    /// `--scale-down-unready-enabled`.
    pub unready_enabled: bool,
}

/// Why a node is not even considered, or none. `utilization` is only asked when it matters.
pub fn ineligible(
    node: &NodeFacts,
    options: &EligibilityOptions,
    utilization: impl FnOnce() -> Result<Utilization, UtilizationError>,
) -> Option<UnremovableReason> {
    if node.recently_unremovable {
        return Some(UnremovableReason::RecentlyUnremovable);
    }
    if node.deletion_taint_age.is_some_and(|age| age < MAX_DELETION_TIME) {
        return Some(UnremovableReason::CurrentlyBeingDeleted);
    }
    if node.scale_down_disabled {
        return Some(UnremovableReason::ScaleDownDisabledAnnotation);
    }
    if !node.in_group {
        return Some(UnremovableReason::NotAutoscaled);
    }
    if !node.ready && !options.unready_enabled {
        return Some(UnremovableReason::ScaleDownUnreadyDisabled);
    }
    let threshold = if node.has_gpu { options.gpu_threshold } else { options.threshold };
    match utilization() {
        Err(_) => Some(UnremovableReason::UnexpectedError),
        Ok(found) if found.value > threshold => Some(UnremovableReason::NotUnderutilized),
        Ok(_) => None,
    }
}

//! Candidates for disruption and the simulation of their removal.
//!
//! Upstream: karpenter pkg/controllers/disruption (types.go, helpers.go, controller.go).
//! Differences: the caller keeps the cluster state and builds the scheduling round's input;
//! this module says who is a candidate and reads the round's result.

use super::budgets::Reason;
use super::consolidation::{Replacement, Simulated};
use super::offerings::{CapacityType, OfferingFilter};
use super::requirements::{CAPACITY_TYPE, INSTANCE_TYPE, Requirement, Requirements, ZONE};
use super::solve::{Catalog, Placement, Solution};

/// When consolidation acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsolidationPolicy {
    /// Empty and underutilised nodes.
    #[default]
    WhenEmptyOrUnderutilized,
    /// Empty nodes.
    WhenEmpty,
    /// Underutilised nodes too, if the savings outweigh the disruption.
    Balanced,
}

impl ConsolidationPolicy {
    /// From `spec.disruption.consolidationPolicy`; the old name is understood.
    #[must_use]
    pub fn new(name: Option<&str>) -> Option<Self> {
        match name {
            None | Some("WhenEmptyOrUnderutilized" | "WhenUnderutilized") => {
                Some(Self::WhenEmptyOrUnderutilized)
            }
            Some("WhenEmpty") => Some(Self::WhenEmpty),
            Some("Balanced") => Some(Self::Balanced),
            Some(_) => None,
        }
    }
}

/// State of a node as disruption sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// Belongs to a NodePool that exists.
    pub managed: bool,
    /// Initialised.
    pub initialized: bool,
    /// Node or NodeClaim is being deleted.
    pub deleting: bool,
    /// Pods are nominated to it.
    pub nominated: bool,
    /// Node or NodeClaim is annotated `karpenter.sh/do-not-disrupt`.
    pub do_not_disrupt: bool,
    /// Part of a running command.
    pub in_command: bool,
    /// A pod is annotated `karpenter.sh/do-not-disrupt` and still protected.
    pub protected_pod: bool,
    /// A budget blocks the eviction of a pod.
    pub pdb_blocks: bool,
    /// The NodeClaim has a terminationGracePeriod.
    pub has_termination_grace_period: bool,
    /// The Consolidatable condition holds.
    pub consolidatable: bool,
    /// The Drifted condition holds.
    pub drifted: bool,
    /// No pod costs anything to move.
    pub empty: bool,
    /// Its NodePool's policy.
    pub policy: ConsolidationPolicy,
}

/// Why a node is no candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum NotACandidate {
    /// Not of a NodePool.
    Unmanaged,
    /// Not initialised.
    NotInitialized,
    /// Being deleted.
    Deleting,
    /// In a command that runs.
    InCommand,
    /// Nominated for a pending pod.
    Nominated,
    /// Annotated.
    DoNotDisrupt,
    /// A pod is annotated.
    ProtectedPod,
    /// A budget blocks a pod.
    PdbBlocks,
    /// Too early, or consolidation is off.
    NotConsolidatable,
    /// The NodePool consolidates empty nodes only.
    OnlyWhenEmpty,
    /// Not empty.
    NotEmpty,
    /// Not drifted.
    NotDrifted,
}

impl NotACandidate {
    /// A phrase for explanations.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Unmanaged => "node does not belong to a nodepool",
            Self::NotInitialized => "state node isn't initialized",
            Self::Deleting => "state node is marked for deletion",
            Self::InCommand => "node is part of a running disruption",
            Self::Nominated => "state node is nominated for a pending pod",
            Self::DoNotDisrupt => "disruption is blocked through the do-not-disrupt annotation",
            Self::ProtectedPod => "pod has the do-not-disrupt annotation",
            Self::PdbBlocks => "pdb prevents pod evictions",
            Self::NotConsolidatable => "node is not consolidatable yet",
            Self::OnlyWhenEmpty => "nodepool has non-empty consolidation disabled",
            Self::NotEmpty => "node is not empty",
            Self::NotDrifted => "node is not drifted",
        }
    }
}

/// Whether a node may be disrupted for `reason`.
///
/// # Errors
/// Says why not.
pub fn candidate(node: &NodeFacts, reason: Reason) -> Result<(), NotACandidate> {
    let checks = [
        (!node.managed, NotACandidate::Unmanaged),
        (!node.initialized, NotACandidate::NotInitialized),
        (node.deleting, NotACandidate::Deleting),
        (node.in_command, NotACandidate::InCommand),
        (node.nominated, NotACandidate::Nominated),
        (node.do_not_disrupt, NotACandidate::DoNotDisrupt),
    ];
    // A deadline for the drain makes drift go ahead in spite of its pods.
    let pods_matter = !(reason == Reason::Drifted && node.has_termination_grace_period);
    let pods = [
        (node.protected_pod && pods_matter, NotACandidate::ProtectedPod),
        (node.pdb_blocks && pods_matter, NotACandidate::PdbBlocks),
    ];
    let only_empty = node.policy == ConsolidationPolicy::WhenEmpty;
    let of_reason = match reason {
        Reason::Drifted => [(!node.drifted, NotACandidate::NotDrifted); 2],
        Reason::Empty => [
            (!node.consolidatable, NotACandidate::NotConsolidatable),
            (!node.empty, NotACandidate::NotEmpty),
        ],
        Reason::Underutilized => [
            (!node.consolidatable, NotACandidate::NotConsolidatable),
            (only_empty, NotACandidate::OnlyWhenEmpty),
        ],
    };
    let failed = checks.into_iter().chain(pods).chain(of_reason).find(|(failed, _)| *failed);
    failed.map_or(Ok(()), |(_, why)| Err(why))
}

/// The part of a NodeClaim's requirements that offerings answer to.
#[must_use]
pub fn offering_filter(requirements: &Requirements, zones: &[String]) -> OfferingFilter {
    let capacity = requirements.get(CAPACITY_TYPE);
    let zone = requirements.get(ZONE);
    let min = requirements.stated(INSTANCE_TYPE).and_then(|r: &Requirement| r.min_values);
    OfferingFilter {
        capacity_types: Some(
            CapacityType::ALL.into_iter().filter(|kind| capacity.has(kind.name())).collect(),
        ),
        zones: Some(zones.iter().filter(|z| zone.has(z)).cloned().collect()),
        min_instance_types: min.and_then(|n| usize::try_from(n).ok()),
    }
}

/// The first pod of the candidates that has no place on an initialised node or a new one.
#[must_use]
pub fn homeless(
    solution: &Solution,
    moved: &[usize],
    initialized: impl Fn(usize) -> bool,
) -> Option<usize> {
    moved.iter().copied().find(|&pod| match solution.placements.get(pod) {
        Some(Placement::Existing(node)) => !initialized(*node),
        Some(Placement::New(_)) => false,
        Some(Placement::Unschedulable(_)) | None => true,
    })
}

/// What a round over the pending pods and those of the candidates says about a removal.
/// `moved` are positions of the candidates' pods among the round's pods; `initialized` says of
/// an existing node whether it is.
#[must_use]
pub fn simulated<'a>(
    solution: &Solution,
    moved: &[usize],
    initialized: impl Fn(usize) -> bool,
    catalog: &'a Catalog,
) -> Simulated<'a> {
    if homeless(solution, moved, initialized).is_some() {
        return Simulated::Unschedulable;
    }
    match solution.claims.as_slice() {
        [] => Simulated::NoNewNode,
        [claim] => Simulated::One(Replacement {
            filter: offering_filter(&claim.requirements, catalog.zones()),
            types: claim.types.iter().map(|&i| catalog.priced(i)).collect(),
        }),
        _ => Simulated::Several,
    }
}

/// Takes candidates (by position, with their NodePool) in order as long as budgets last.
#[must_use]
pub fn within_budgets(candidates: &[usize], allowed: &mut [i64]) -> Vec<usize> {
    let mut kept = Vec::new();
    for (i, &pool) in candidates.iter().enumerate() {
        if let Some(left) = allowed.get_mut(pool).filter(|left| **left > 0) {
            *left -= 1;
            kept.push(i);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeFacts = NodeFacts {
        managed: true,
        initialized: true,
        deleting: false,
        nominated: false,
        do_not_disrupt: false,
        in_command: false,
        protected_pod: false,
        pdb_blocks: false,
        has_termination_grace_period: false,
        consolidatable: true,
        drifted: true,
        empty: false,
        policy: ConsolidationPolicy::WhenEmptyOrUnderutilized,
    };

    #[test]
    fn reasons_a_node_is_left_alone() {
        assert_eq!(candidate(&NODE, Reason::Underutilized), Ok(()));
        assert_eq!(candidate(&NODE, Reason::Empty), Err(NotACandidate::NotEmpty));
        let policy = ConsolidationPolicy::WhenEmpty;
        let empty_only = NodeFacts { policy, ..NODE };
        let why = NotACandidate::OnlyWhenEmpty;
        assert_eq!(candidate(&empty_only, Reason::Underutilized), Err(why));
        let guarded = NodeFacts { pdb_blocks: true, ..NODE };
        assert_eq!(candidate(&guarded, Reason::Drifted), Err(NotACandidate::PdbBlocks));
        let with_deadline = NodeFacts { has_termination_grace_period: true, ..guarded };
        assert_eq!(candidate(&with_deadline, Reason::Drifted), Ok(()));
        assert!(candidate(&with_deadline, Reason::Underutilized).is_err());
    }

    #[test]
    fn budgets_cut_each_pool() {
        let mut allowed = [1, 2];
        assert_eq!(within_budgets(&[0, 0, 1, 1, 1], &mut allowed), [0, 2, 3]);
    }
}

//! DaemonSet: which pods of older templates to delete, which nodes to surge onto.
//!
//! Upstream: kubernetes/kubernetes v1.34 `pkg/controller/daemon/update.go`. Differences: nodes are
//! walked in the order given, where upstream walks a map.

use crate::k8s::{DaemonSetSpec, IntOrPercent};

/// What a DaemonSet's update asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaemonUpdate {
    /// `updateStrategy.type: OnDelete`.
    pub on_delete: bool,
    /// `maxUnavailable`, 1 by default.
    pub max_unavailable: IntOrPercent,
    /// `maxSurge`, 0 by default.
    pub max_surge: IntOrPercent,
}

impl DaemonUpdate {
    /// From a DaemonSet, with the API's defaults.
    #[must_use]
    pub fn lower(spec: &DaemonSetSpec) -> Self {
        let rolling = spec.update_strategy.rolling_update.as_ref();
        Self {
            on_delete: spec.update_strategy.kind.as_deref() == Some("OnDelete"),
            max_unavailable: rolling
                .and_then(|r| r.max_unavailable)
                .unwrap_or(IntOrPercent::Int(1)),
            max_surge: rolling.and_then(|r| r.max_surge).unwrap_or(IntOrPercent::Int(0)),
        }
    }

    /// `(unavailable, surge)` for `nodes` eligible nodes; percentages round up, never both zero.
    #[must_use]
    pub fn counts(&self, nodes: i32) -> (i32, i32) {
        let unavailable = self.max_unavailable.of_rounded_up(nodes);
        let surge = self.max_surge.of_rounded_up(nodes);
        if unavailable == 0 && surge == 0 { (1, 0) } else { (unavailable, surge) }
    }
}

/// An eligible node: whether it has an old and a new pod, and whether these are available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DaemonNode {
    /// Availability of the pod from an older template, if there is one.
    pub old: Option<bool>,
    /// Availability of the pod from the newest template, if there is one.
    pub new: Option<bool>,
}

/// What one sync of an update does, as indexes into the nodes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DaemonStep {
    /// Old pods to delete.
    pub delete: Vec<usize>,
    /// Nodes that get a new pod beside the old one.
    pub create: Vec<usize>,
}

/// One sync of a rolling update; nodes without any pod are filled by the manage loop, not here.
#[must_use]
pub fn daemon_update(rules: &DaemonUpdate, nodes: &[DaemonNode]) -> DaemonStep {
    if rules.on_delete {
        return DaemonStep::default();
    }
    let (unavailable, surge) = rules.counts(i32::try_from(nodes.len()).unwrap_or(i32::MAX));
    if surge > 0 { surging(surge, nodes) } else { replacing(unavailable, nodes) }
}

fn room(max: i32, used: usize) -> usize {
    usize::try_from(max.max(0)).unwrap_or(usize::MAX).saturating_sub(used)
}

fn replacing(max_unavailable: i32, nodes: &[DaemonNode]) -> DaemonStep {
    let (mut dead, mut candidates, mut unavailable) = (Vec::new(), Vec::new(), 0);
    for (index, node) in nodes.iter().enumerate() {
        match (node.old, node.new) {
            (None, None) | (Some(_), Some(_)) | (None, Some(false)) => unavailable += 1,
            (None, Some(true)) => {}
            // An old pod that does not serve may always be replaced.
            (Some(false), None) => dead.push(index),
            (Some(true), None) => candidates.push(index),
        }
    }
    candidates.truncate(room(max_unavailable, unavailable));
    dead.append(&mut candidates);
    DaemonStep { delete: dead, create: Vec::new() }
}

fn surging(max_surge: i32, nodes: &[DaemonNode]) -> DaemonStep {
    let (mut free, mut candidates, mut delete, mut surged) =
        (Vec::new(), Vec::new(), Vec::new(), 0);
    for (index, node) in nodes.iter().enumerate() {
        match (node.old, node.new) {
            (None, _) => {}
            (Some(false), None) => free.push(index),
            (Some(true), None) => candidates.push(index),
            (Some(false), Some(_)) | (Some(true), Some(true)) => delete.push(index),
            (Some(true), Some(false)) => surged += 1,
        }
    }
    candidates.truncate(room(max_surge, surged));
    free.append(&mut candidates);
    DaemonStep { delete, create: free }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: DaemonNode = DaemonNode { old: Some(true), new: None };
    const NEW: DaemonNode = DaemonNode { old: None, new: Some(true) };
    const STARTING: DaemonNode = DaemonNode { old: None, new: Some(false) };
    const SURGED: DaemonNode = DaemonNode { old: Some(true), new: Some(false) };

    fn rules(unavailable: IntOrPercent, surge: IntOrPercent) -> DaemonUpdate {
        DaemonUpdate { on_delete: false, max_unavailable: unavailable, max_surge: surge }
    }

    #[test]
    fn replaces_within_max_unavailable() {
        let one = rules(IntOrPercent::Int(1), IntOrPercent::Int(0));
        assert_eq!(daemon_update(&one, &[OLD, OLD, NEW]).delete, [0]);
        assert!(daemon_update(&one, &[OLD, STARTING, NEW]).delete.is_empty());
        let dead = DaemonNode { old: Some(false), new: None };
        assert_eq!(daemon_update(&one, &[OLD, dead, STARTING]).delete, [1]);
        // 10 % of 11 nodes rounds up to two.
        let tenth = rules(IntOrPercent::Percent(10), IntOrPercent::Int(0));
        assert_eq!(daemon_update(&tenth, &[OLD; 11]).delete, [0, 1]);
        assert_eq!(rules(IntOrPercent::Int(0), IntOrPercent::Int(0)).counts(5), (1, 0));
    }

    #[test]
    fn surges_then_deletes() {
        let surge = rules(IntOrPercent::Int(0), IntOrPercent::Int(1));
        assert_eq!(daemon_update(&surge, &[OLD, OLD]).create, [0]);
        let waiting = daemon_update(&surge, &[SURGED, OLD]);
        assert_eq!(waiting, DaemonStep::default());
        let ready = DaemonNode { old: Some(true), new: Some(true) };
        let step = daemon_update(&surge, &[ready, OLD]);
        assert_eq!((step.delete.as_slice(), step.create.as_slice()), (&[0][..], &[1][..]));
    }
}

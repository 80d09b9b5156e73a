//! VolumeRestrictions: claims and disks that one pod or node may use.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/framework/plugins/volumerestrictions/volume_restrictions.go`.
//! Differences: none known.

use super::volume_binding::not_found;
use crate::policy::kube_scheduler::class::{Class, Disk};
use crate::policy::kube_scheduler::framework::Cx;
use crate::policy::kube_scheduler::{Code, NodeInfo, Plugin, Rejection};
use crate::units::Symbol;

const REASON_DISK: &str = "node(s) had no available disk";
const REASON_IN_USE: &str = "node(s) unavailable due to PersistentVolumeClaim with \
     ReadWriteOncePod access mode already in-use by another pod";

/// ReadWriteOncePod claims of the pod and how many of them are in use.
#[derive(Clone, Debug, Default)]
pub struct State {
    claims: Vec<Symbol>,
    in_use: i64,
}

pub(crate) fn pre_filter(cx: &Cx<'_>, state: &mut State) -> Result<bool, Rejection> {
    let class = cx.class;
    for claim in class.claims.iter().filter(|c| !c.ephemeral) {
        let found = cx.cache.volumes.claim((class.namespace, claim.name));
        let Some(found) = found else {
            return Err(not_found(cx, Plugin::VolumeRestrictions, claim.name));
        };
        if found.is_read_write_once_pod() && !state.claims.contains(&claim.name) {
            state.claims.push(claim.name);
        }
    }
    let used = |claim: &&Symbol| {
        cx.cache.present_nodes().any(|(_, info, _)| {
            info.classes.iter().any(|c| uses(cx.cache.class_info(c.class), cx.class, **claim))
        })
    };
    state.in_use = state.claims.iter().filter(used).count() as i64;
    Ok(!class.disks.is_empty() || state.in_use > 0)
}

fn uses(other: &Class, class: &Class, claim: Symbol) -> bool {
    other.namespace == class.namespace
        && other.claims.iter().any(|c| c.name == claim && !c.ephemeral)
}

pub(crate) fn update(cx: &Cx<'_>, state: &mut State, other: &Class, sign: i64) {
    if other.namespace != cx.class.namespace {
        return;
    }
    let theirs = other.claims.iter().filter(|c| !c.ephemeral && state.claims.contains(&c.name));
    state.in_use += sign * theirs.count() as i64;
}

pub(crate) fn filter(cx: &Cx<'_>, state: &State, info: &NodeInfo) -> Option<Rejection> {
    let refuse =
        |text| Some(Rejection::fixed(Plugin::VolumeRestrictions, Code::Unschedulable, text));
    let conflicts = |d: &Disk| {
        let classes = info.classes.iter().map(|c| cx.cache.class_info(c.class));
        classes.flat_map(|c| &c.disks).any(|o| o.id == d.id && !(o.shared && d.shared))
    };
    if cx.class.disks.iter().any(conflicts) {
        return refuse(REASON_DISK);
    }
    if state.in_use > 0 { refuse(REASON_IN_USE) } else { None }
}

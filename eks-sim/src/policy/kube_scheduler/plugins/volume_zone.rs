//! VolumeZone: volumes labelled with a zone or region.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/framework/plugins/volumezone/volume_zone.go`.
//! Differences: none known.

use super::volume_binding::{mode_not_set, not_found, unresolvable};
use crate::policy::kube_scheduler::framework::Cx;
use crate::policy::kube_scheduler::volumes::Claim;
use crate::policy::kube_scheduler::{Code, NodeStatic, Plugin, Rejection};
use crate::units::Symbol;

const REASON: &str = "node(s) had no available volume zone";

/// Labels and the values they may have, over all volumes of the pod.
#[derive(Clone, Debug, Default)]
pub struct State {
    wanted: Vec<(Symbol, Vec<Symbol>)>,
}

pub(crate) fn pre_filter(cx: &Cx<'_>, state: &mut State) -> Result<bool, Rejection> {
    for claim in cx.class.claims.iter().filter(|c| !c.ephemeral) {
        let key = (cx.class.namespace, claim.name);
        let Some(found) = cx.cache.volumes.claim(key) else {
            return Err(not_found(cx, Plugin::VolumeZone, claim.name));
        };
        if found.volume().is_empty() {
            check_unbound(cx, found)?;
            continue;
        }
        let Some(volume) = cx.cache.volumes.volume(found.volume()) else {
            let text = format!("persistentvolume \"{}\" not found", found.volume());
            return Err(unresolvable(Plugin::VolumeZone, text));
        };
        state.wanted.extend(volume.zones.iter().cloned());
    }
    Ok(!state.wanted.is_empty())
}

fn check_unbound(cx: &Cx<'_>, claim: &Claim) -> Result<(), Rejection> {
    let name = claim.class();
    let refuse = |text: String| Err(unresolvable(Plugin::VolumeZone, text));
    if name.is_empty() {
        return refuse("PersistentVolumeClaim had no pv name and storageClass name".to_owned());
    }
    let Some(class) = cx.cache.volumes.class(name) else {
        return refuse(format!("storageclass.storage.k8s.io \"{name}\" not found"));
    };
    match class.volume_binding_mode.as_deref() {
        None => refuse(mode_not_set(name)),
        Some("WaitForFirstConsumer") => Ok(()),
        Some(_) => refuse("PersistentVolume had no name".to_owned()),
    }
}

pub(crate) fn filter(cx: &Cx<'_>, state: &State, node: &NodeStatic) -> Option<Rejection> {
    let labels = cx.cache.volumes.topology_labels();
    let value = |key: Symbol| node.labels.get(key);
    // A node without any zone or region label is taken to be a one-zone cluster's.
    if labels.iter().all(|(key, _)| value(*key).is_none()) {
        return None;
    }
    let satisfied = |(key, values): &(Symbol, Vec<Symbol>)| {
        let general = labels.iter().find(|l| l.0 == *key).map(|l| l.1);
        let here = value(*key).or_else(|| value(general?));
        here.is_some_and(|v| values.contains(&v))
    };
    let code = Code::UnschedulableAndUnresolvable;
    (!state.wanted.iter().all(satisfied))
        .then(|| Rejection::fixed(Plugin::VolumeZone, code, REASON))
}

//! VolumeBinding: bound volumes that reach the node, and volumes to find or make.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/framework/plugins/volumebinding/{volume_binding,binder}.go`.
//! Differences: no storage capacity (CSIDrivers of EBS and EFS publish none).

use crate::k8s;
use crate::policy::kube_scheduler::framework::Cx;
use crate::policy::kube_scheduler::volumes::{Claim, ClaimKey, PersistentVolume};
use crate::policy::kube_scheduler::{Code, NodeStatic, Plugin, Reason, Rejection};
use crate::units::{Quantity, Symbol};
use smallvec::SmallVec;

const REASON_IMMEDIATE: &str = "pod has unbound immediate PersistentVolumeClaims";
const REASON_NODE_CONFLICT: &str = "node(s) didn't match PersistentVolume's node affinity";
const REASON_BIND_CONFLICT: &str = "node(s) didn't find available persistent volumes to bind";
const REASON_NO_VOLUME: &str =
    "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// Claims of the pod by what has to be done for them.
#[derive(Clone, Debug, Default)]
pub struct State {
    bound: Vec<ClaimKey>,
    delayed: Vec<ClaimKey>,
}

pub(crate) fn unresolvable(plugin: Plugin, text: String) -> Rejection {
    Rejection::new(plugin, Code::UnschedulableAndUnresolvable, Reason::Text(text.into()))
}

pub(crate) fn not_found(cx: &Cx<'_>, plugin: Plugin, claim: Symbol) -> Rejection {
    let name = cx.cache.symbols().text(claim);
    unresolvable(plugin, format!("persistentvolumeclaim \"{name}\" not found"))
}

pub(crate) fn pre_filter(cx: &Cx<'_>, state: &mut State) -> Result<bool, Rejection> {
    let refuse = |text: String| unresolvable(Plugin::VolumeBinding, text);
    let mut immediate = false;
    let mut found = Vec::new();
    for claim in &cx.class.claims {
        let name = cx.cache.symbols().text(claim.name);
        let key = (cx.class.namespace, claim.name);
        let Some(c) = cx.cache.volumes.claim(key) else {
            return Err(if claim.ephemeral {
                refuse(format!(
                    "waiting for ephemeral volume controller to create the \
                     persistentvolumeclaim \"{name}\""
                ))
            } else {
                not_found(cx, Plugin::VolumeBinding, claim.name)
            });
        };
        if c.object.status.phase == "Lost" {
            return Err(refuse(format!(
                "persistentvolumeclaim \"{name}\" bound to non-existent persistentvolume \"{}\"",
                c.volume()
            )));
        }
        if c.object.metadata.deletion_timestamp.is_some() {
            return Err(refuse(format!("persistentvolumeclaim \"{name}\" is being deleted")));
        }
        found.push((key, c));
    }
    for (key, claim) in found {
        if claim.is_fully_bound() {
            state.bound.push(key);
        } else if is_delayed(cx, claim)? && claim.volume().is_empty() {
            state.delayed.push(key);
        } else {
            immediate = true;
        }
    }
    if immediate {
        return Err(refuse(REASON_IMMEDIATE.to_owned()));
    }
    Ok(!cx.class.claims.is_empty())
}

fn is_delayed(cx: &Cx<'_>, claim: &Claim) -> Result<bool, Rejection> {
    let Some(class) = cx.cache.volumes.class(claim.class()) else { return Ok(false) };
    match class.volume_binding_mode.as_deref() {
        Some(mode) => Ok(mode == "WaitForFirstConsumer"),
        None => Err(unresolvable(Plugin::VolumeBinding, mode_not_set(&class.metadata.name))),
    }
}

pub(crate) fn mode_not_set(class: &str) -> String {
    format!("VolumeBindingMode not set for StorageClass \"{class}\"")
}

pub(crate) fn filter(cx: &Cx<'_>, state: &State, node: &NodeStatic) -> Option<Rejection> {
    let (mut found, mut reach) = (true, true);
    for key in &state.bound {
        let claim = cx.cache.volumes.claim(*key);
        match claim.and_then(|c| cx.cache.volumes.volume(c.volume())) {
            None => found = false,
            Some(volume) if !reaches(cx, volume, node) => reach = false,
            Some(_) => continue,
        }
        break;
    }
    let bindable = state.delayed.is_empty() || can_bind(cx, &state.delayed, node);
    let mut reasons: SmallVec<[Reason; 1]> = SmallVec::new();
    let checks = [
        (reach, REASON_NODE_CONFLICT),
        (bindable, REASON_BIND_CONFLICT),
        (found, REASON_NO_VOLUME),
    ];
    reasons.extend(checks.iter().filter(|c| !c.0).map(|c| Reason::Fixed(c.1)));
    let code = Code::UnschedulableAndUnresolvable;
    let rejection = Rejection { code, plugin: Plugin::VolumeBinding, reasons };
    (!rejection.reasons.is_empty()).then_some(rejection)
}

fn reaches(cx: &Cx<'_>, volume: &PersistentVolume, node: &NodeStatic) -> bool {
    let symbols = cx.cache.symbols();
    let matches = |terms: &std::sync::Arc<[_]>| {
        let mut terms: std::slice::Iter<'_, super::super::node_selector::NodeTerm> = terms.iter();
        terms.any(|t| t.matches(node.name, &node.labels, symbols))
    };
    volume.required.as_ref().is_none_or(matches)
}

fn can_bind(cx: &Cx<'_>, claims: &[ClaimKey], node: &NodeStatic) -> bool {
    let node_name = cx.cache.symbols().text(node.name);
    let mut to_find = Vec::new();
    let mut to_provision = Vec::new();
    for key in claims {
        let Some(claim) = cx.cache.volumes.claim(*key) else { return false };
        match claim.selected_node() {
            Some(selected) if selected != node_name => return false,
            Some(_) => to_provision.push(claim),
            None => to_find.push((*key, claim)),
        }
    }
    // Small claims choose first, so that they do not take the large volumes.
    to_find.sort_by_key(|(_, c)| request(c));
    let mut chosen: Vec<&str> = Vec::new();
    for (key, claim) in to_find {
        match find_volume(cx, key, claim, node, &chosen) {
            Some(volume) => chosen.push(&volume.object.metadata.name),
            None => to_provision.push(claim),
        }
    }
    to_provision.iter().all(|claim| can_provision(cx, claim, node))
}

fn request(claim: &Claim) -> Quantity {
    claim.object.spec.resources.requests.get("storage").copied().unwrap_or_default()
}

fn find_volume<'a>(
    cx: &Cx<'a>,
    key: ClaimKey,
    claim: &Claim,
    node: &NodeStatic,
    chosen: &[&str],
) -> Option<&'a PersistentVolume> {
    let wanted = request(claim);
    let size =
        |v: &PersistentVolume| v.object.spec.capacity.get("storage").copied().unwrap_or_default();
    let mut smallest: Option<&PersistentVolume> = None;
    for volume in cx.cache.volumes.volumes() {
        let object = &volume.object;
        let class = object.spec.storage_class_name.as_deref().unwrap_or_default();
        if class != claim.class()
            || chosen.contains(&object.metadata.name.as_str())
            || object.metadata.deletion_timestamp.is_some()
            || mode(object.spec.volume_mode.as_deref())
                != mode(claim.object.spec.volume_mode.as_deref())
            || size(volume) < wanted
        {
            continue;
        }
        if let Some(reference) = &object.spec.claim_ref {
            let symbols = cx.cache.symbols();
            let ours =
                reference.namespace == symbols.text(key.0) && reference.name == symbols.text(key.1);
            if ours {
                return reaches(cx, volume, node).then_some(volume);
            }
            continue;
        }
        let selector = claim.object.spec.selector.as_ref();
        let suits = object.status.phase == "Available"
            && selector.is_none_or(|s| s.matches(&object.metadata.labels))
            && reaches(cx, volume, node)
            && has_modes(object, claim);
        if suits && smallest.is_none_or(|s| size(s) > size(volume)) {
            smallest = Some(volume);
        }
    }
    smallest
}

fn mode(mode: Option<&str>) -> &str {
    mode.unwrap_or("Filesystem")
}

fn has_modes(volume: &k8s::PersistentVolume, claim: &Claim) -> bool {
    claim.object.spec.access_modes.iter().all(|m| volume.spec.access_modes.contains(m))
}

fn can_provision(cx: &Cx<'_>, claim: &Claim, node: &NodeStatic) -> bool {
    let Some(class) = cx.cache.volumes.class(claim.class()) else { return false };
    if class.provisioner.is_empty() || class.provisioner == NO_PROVISIONER {
        return false;
    }
    let symbols = cx.cache.symbols();
    let label = |key: &str| {
        let value = node.labels.get(symbols.lookup(key)?)?;
        Some(symbols.text(value))
    };
    let term_matches = |t: &k8s::TopologySelectorTerm| {
        !t.match_label_expressions.is_empty()
            && t.match_label_expressions
                .iter()
                .all(|e| label(&e.key).is_some_and(|v| e.values.iter().any(|x| x == v)))
    };
    class.allowed_topologies.is_empty() || class.allowed_topologies.iter().any(term_matches)
}

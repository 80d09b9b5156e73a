//! NodeVolumeLimits: volumes a node can attach.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/framework/plugins/nodevolumelimits/csi.go`.
//! Differences: in-line and in-tree volumes are not counted; attachments without a pod are unknown.

use super::volume_binding::not_found;
use crate::policy::kube_scheduler::class::Class;
use crate::policy::kube_scheduler::framework::Cx;
use crate::policy::kube_scheduler::volumes::Handle;
use crate::policy::kube_scheduler::{Code, NodeInfo, NodeStatic, Plugin, Rejection};
use std::collections::BTreeSet;

const REASON: &str = "node(s) exceed max volume count";

type Attachments<'a> = BTreeSet<(&'a str, Handle<'a>)>;

fn collect<'a>(cx: &Cx<'a>, class: &Class, into: &mut Attachments<'a>) -> Option<Rejection> {
    for claim in &class.claims {
        let key = (class.namespace, claim.name);
        let Some(found) = cx.cache.volumes.claim(key) else {
            return Some(not_found(cx, Plugin::NodeVolumeLimits, claim.name));
        };
        into.extend(cx.cache.volumes.driver_and_handle(key, found));
    }
    None
}

pub(crate) fn filter(cx: &Cx<'_>, info: &NodeInfo, node: &NodeStatic) -> Option<Rejection> {
    let mut new = Attachments::new();
    if let Some(rejection) = collect(cx, cx.class, &mut new) {
        return Some(rejection);
    }
    if new.is_empty() {
        return None;
    }
    let limits = cx.cache.volumes.limits(node.name).filter(|l| !l.is_empty())?;
    let mut attached = Attachments::new();
    for count in &info.classes {
        let class = cx.cache.class_info(count.class);
        for claim in &class.claims {
            let key = (class.namespace, claim.name);
            let found = cx.cache.volumes.claim(key);
            attached.extend(found.and_then(|c| cx.cache.volumes.driver_and_handle(key, c)));
        }
    }
    let exceeds = |(driver, limit): (&String, &i64)| {
        let of = |set: &&(&str, Handle<'_>)| set.0 == driver;
        let added = new.iter().filter(|v| !attached.contains(*v)).filter(of).count() as i64;
        added > 0 && attached.iter().filter(of).count() as i64 + added > *limit
    };
    let full = limits.iter().any(exceeds);
    full.then(|| Rejection::fixed(Plugin::NodeVolumeLimits, Code::Unschedulable, REASON))
}

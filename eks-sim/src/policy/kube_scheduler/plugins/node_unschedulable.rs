//! NodeUnschedulable: cordoned nodes.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/framework/plugins/nodeunschedulable/node_unschedulable.go`.
//! Differences: none.

use crate::policy::kube_scheduler::framework::Cx;
use crate::policy::kube_scheduler::{Code, NodeStatic, Plugin, Rejection};

const REASON: &str = "node(s) were unschedulable";

pub(crate) fn filter(cx: &Cx<'_>, node: &NodeStatic) -> Option<Rejection> {
    if !node.unschedulable || cx.class.tolerates(cx.cache.unschedulable_taint()) {
        return None;
    }
    let code = Code::UnschedulableAndUnresolvable;
    Some(Rejection::fixed(Plugin::NodeUnschedulable, code, REASON))
}

//! NodeName: pods that name their node.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/framework/plugins/nodename/node_name.go`.
//! Differences: none.

use crate::policy::kube_scheduler::framework::Cx;
use crate::policy::kube_scheduler::{Code, NodeStatic, Plugin, Rejection};

const REASON: &str = "node(s) didn't match the requested node name";

pub(crate) fn filter(cx: &Cx<'_>, node: &NodeStatic) -> Option<Rejection> {
    let wrong = cx.class.node_name.is_some_and(|name| name != node.name);
    let code = Code::UnschedulableAndUnresolvable;
    wrong.then(|| Rejection::fixed(Plugin::NodeName, code, REASON))
}

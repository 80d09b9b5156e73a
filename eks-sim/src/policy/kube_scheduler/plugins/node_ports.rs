//! NodePorts: host ports.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/framework/plugins/nodeports/node_ports.go`.
//! Differences: none.

use crate::policy::kube_scheduler::framework::Cx;
use crate::policy::kube_scheduler::{Code, NodeInfo, Plugin, Rejection};

const REASON: &str = "node(s) didn't have free ports for the requested pod ports";

pub(crate) fn filter(cx: &Cx<'_>, info: &NodeInfo) -> Option<Rejection> {
    let taken = cx.class.ports.iter().any(|w| info.ports.iter().any(|used| used.conflicts(w)));
    taken.then(|| Rejection::fixed(Plugin::NodePorts, Code::Unschedulable, REASON))
}

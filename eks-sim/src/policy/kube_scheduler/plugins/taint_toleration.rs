//! TaintToleration: taints that keep pods away, and those that only discourage.
//!
//! Upstream: kubernetes v1.34.1, `pkg/scheduler/framework/plugins/tainttoleration/taint_toleration.go`.
//! Differences: none.

use crate::policy::kube_scheduler::class::{Class, Effect, Taint};
use crate::policy::kube_scheduler::framework::{Cx, each, normalize};
use crate::policy::kube_scheduler::{Code, NodeKey, NodeStatic, Plugin, Reason, Rejection};

/// The first NoSchedule or NoExecute taint that the class does not tolerate.
pub(crate) fn untolerated<'a>(class: &Class, node: &'a NodeStatic) -> Option<&'a Taint> {
    let hard = |t: &&Taint| matches!(t.effect, Effect::NoSchedule | Effect::NoExecute);
    node.taints.iter().filter(hard).find(|t| !class.tolerates(t))
}

pub(crate) fn filter(cx: &Cx<'_>, node: &NodeStatic) -> Option<Rejection> {
    let taint = untolerated(cx.class, node)?;
    Some(Rejection::new(
        Plugin::TaintToleration,
        Code::UnschedulableAndUnresolvable,
        Reason::UntoleratedTaint(taint.key, taint.value),
    ))
}

/// Number of PreferNoSchedule taints that the class does not tolerate.
pub(crate) fn raw_score(class: &Class, node: &NodeStatic) -> i64 {
    let soft = node.taints.iter().filter(|t| t.effect == Effect::PreferNoSchedule);
    let tolerated = |t: &Taint| {
        let mut soft = class.tolerations.iter().filter(|t| t.is_for_prefer_no_schedule());
        soft.any(|toleration| toleration.tolerates(t))
    };
    soft.filter(|t| !tolerated(t)).count() as i64
}

pub(crate) fn score(cx: &Cx<'_>, nodes: &[NodeKey]) -> Vec<i64> {
    let mut scores = each(cx, nodes, |_, node| raw_score(cx.class, node));
    normalize(&mut scores, true);
    scores
}

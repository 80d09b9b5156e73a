//! Karpenter's events: on pods, nodes, NodeClaims and NodePools.

use super::super::outcome::EventRow;
use super::pod_name;
use crate::engine::View;
use crate::units::SimTime;
use crate::world::steps::StepKind;
use crate::world::{Change, PodId};

pub(super) fn describe(now: SimTime, change: &Change, v: &View<'_>) -> Option<EventRow> {
    let pod = |p: PodId| {
        let (namespace, name) = pod_name(p, v.world, v.model);
        format!("{namespace}/{name}")
    };
    let row = |kind, object: String, reason: &str, message: String| {
        let (component, reason) = ("karpenter", reason.to_owned());
        Some(EventRow { at: now, component, kind, object, reason, message })
    };
    match *change {
        Change::PodPromised(p) => {
            let (reason, message) = v.karpenter.promise_of(p)?;
            row("pod", pod(p), reason, message)
        }
        Change::NodeKept(n) => {
            let (reason, why) = v.karpenter.why_kept(n, v.model, &pod)?;
            row("node", v.world.api.nodes[n].name().to_owned(), reason, why)
        }
        Change::NodeClaimChanged(c, number) => {
            let (claim, reason, message) = v.karpenter.news_of(c, number)?;
            match claim.node {
                Some(n) => {
                    let node = v.world.api.nodes[n].name().to_owned();
                    row("node", node, reason, message.to_owned())
                }
                None => row("nodeclaim", claim.name.clone(), reason, message.to_owned()),
            }
        }
        Change::SpotNotice(i) => {
            let instance = &v.world.cloud.instances[i];
            let node = v.world.api.nodes[instance.node?].name().to_owned();
            row("node", node, "SpotInterrupted", "two minutes are left".to_owned())
        }
        Change::NodePoolsChanged(step) => {
            let (object, message) = match &v.model.steps.get(step as usize)?.kind {
                StepKind::NodePools { text } => ("nodepools", text.clone()),
                StepKind::ImageRelease { family } => {
                    ("images", format!("a new image of {family} is out"))
                }
                _ => return None,
            };
            row("nodepool", object.to_owned(), "Changed", message)
        }
        _ => None,
    }
}

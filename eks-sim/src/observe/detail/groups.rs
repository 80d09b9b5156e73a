//! Events of node groups, spot instances, Fargate and Cluster Autoscaler.

use super::{instance_name, pod_name};
use crate::engine::View;
use crate::observe::outcome::EventRow;
use crate::units::{Id, SimTime};
use crate::world::cloud::Instance;
use crate::world::steps::StepKind;
use crate::world::{Change, PodId};

/// The event of a change, worded as the component words it.
pub(super) fn describe(now: SimTime, change: &Change, v: &View<'_>) -> Option<EventRow> {
    let (w, m) = (v.world, v.model);
    let pod = |p: PodId| {
        let (namespace, name) = pod_name(p, w, m);
        format!("{namespace}/{name}")
    };
    let instance = |i: Id<Instance>| {
        let row = &w.cloud.instances[i];
        row.node.map_or_else(|| instance_name(row, m), |n| w.api.nodes[n].name().to_owned())
    };
    let row = |component, kind, object: String, reason: &str, message: String| {
        Some(EventRow { at: now, component, kind, object, reason: reason.to_owned(), message })
    };
    match *change {
        Change::RebalanceRecommended(i) => {
            row("ec2", "node", instance(i), "RebalanceRecommendation", String::new())
        }
        Change::SpotNotice(i) => {
            let message = "the instance will be interrupted in two minutes".to_owned();
            row("ec2", "node", instance(i), "SpotInterruption", message)
        }
        Change::ScaleInChosen(i) => {
            let message = "chosen by the group's termination policy".to_owned();
            row("ec2", "node", instance(i), "ScaleIn", message)
        }
        Change::ZoneRebalance(i) => {
            let message = "the group levels its zones".to_owned();
            row("ec2", "node", instance(i), "ZoneRebalance", message)
        }
        Change::DrainEnded(i) => {
            let left = w.cloud.instances[i].node.map_or(0, |n| {
                let pods = w.api.nodes[n].pods.iter().filter_map(|&p| w.api.pods.get(p));
                pods.filter(|p| !m.templates[p.template].daemon).count()
            });
            let message = format!("{left} pods are left on the node");
            row("eks-node-group", "node", instance(i), "Drained", message)
        }
        Change::NodeGroupUpdateWanted(step) => {
            let StepKind::NodeGroupUpdate { group, force } = m.steps.get(step as usize)?.kind
            else {
                return None;
            };
            let message = if force { "force" } else { "" }.to_owned();
            row("user", "nodegroup", m.groups[group].name.clone(), "UpdateNodegroup", message)
        }
        Change::NodeGroupUpdateBegan(g) => row(
            "eks-node-group",
            "nodegroup",
            m.groups[g].name.clone(),
            "UpdateBegan",
            String::new(),
        ),
        Change::NodeGroupUpdateEnded(g, well) => {
            let reason = if well { "UpdateSucceeded" } else { "UpdateFailed" };
            let message = if well {
                String::new()
            } else {
                "PodEvictionFailure, NodeCreationFailure, or another update was under way"
                    .to_owned()
            };
            row("eks-node-group", "nodegroup", m.groups[g].name.clone(), reason, message)
        }
        Change::RetirementDue(i) => {
            row("ec2", "node", instance(i), "ScheduledRetirement", String::new())
        }
        Change::FargatePodPending(p) => {
            let message = "a micro-VM is being started for the pod".to_owned();
            row("fargate-scheduler", "pod", pod(p), "Provisioning", message)
        }
        Change::FargateRefused(p) => {
            let t = &m.templates[w.api.pods.get(p)?.template];
            let message = t.fargate.as_ref().and_then(|f| f.refusal.clone()).unwrap_or_default();
            row("fargate-scheduler", "pod", pod(p), "FailedScheduling", message)
        }
        Change::PodTriggeredScaleUp(p) => {
            let message = v.cluster_autoscaler.pod_trigger(p, m, w);
            row("cluster-autoscaler", "pod", pod(p), "TriggeredScaleUp", message)
        }
        Change::PodTriggeredNothing(p) => {
            let message = v.cluster_autoscaler.pod_reason(p).unwrap_or_default().to_owned();
            row("cluster-autoscaler", "pod", pod(p), "NotTriggerScaleUp", message)
        }
        Change::TerminationWanted(i) if m.cluster_autoscaler.is_some() => {
            let message = "node removed by cluster autoscaler".to_owned();
            row("cluster-autoscaler", "node", instance(i), "ScaleDown", message)
        }
        _ => None,
    }
}

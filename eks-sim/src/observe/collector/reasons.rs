//! What held pods up: how many pods met each reason, and how long they waited.

use super::super::outcome::ReasonCount;
use crate::engine::View;
use crate::units::SimTime;
use crate::world::{Change, PodId};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(super) struct Reasons {
    totals: BTreeMap<(&'static str, String), Total>,
    waiting: Vec<Option<Waiting>>,
}

#[derive(Debug, Default)]
struct Total {
    pods: u64,
    seconds: f64,
}

/// A pod that waits.
#[derive(Debug)]
struct Waiting {
    pod: PodId,
    since: SimTime,
    /// Reasons it met so far.
    met: Vec<(&'static str, String)>,
    /// The reason most nodes gave at the last attempt.
    last: (&'static str, String),
}

impl Reasons {
    pub(super) fn observe(&mut self, now: SimTime, change: &Change, view: &View<'_>) {
        match *change {
            Change::PodUnschedulable(p) => {
                let mut reasons = view.scheduler.reasons(p);
                reasons.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
                let named = reasons.into_iter().map(|(r, _)| ("kube-scheduler", r)).collect();
                self.waits(p, named, now);
            }
            Change::FargatePodPending(p) => {
                let text = "waits for its micro-VM".to_owned();
                self.waits(p, vec![("fargate", text)], now);
            }
            Change::FargateRefused(p) => {
                let pod = view.world.api.pods.get(p);
                let fargate =
                    pod.and_then(|pod| view.model.templates[pod.template].fargate.as_ref());
                let text = fargate.and_then(|f| f.refusal.clone()).unwrap_or_default();
                self.waits(p, vec![("fargate-scheduler", text)], now);
            }
            Change::PodAddressRefused(p) => {
                let text = "failed to assign an IP address to container".to_owned();
                self.waits(p, vec![("vpc-cni", text)], now);
            }
            Change::PodBound(p) | Change::PodAddressed(p) | Change::PodDeleted(p) => {
                self.goes_on(p, now);
            }
            Change::LaunchRefused(_, why) => {
                self.totals.entry(("ec2", why.code().to_owned())).or_default().pods += 1;
            }
            Change::LoadBalancerRefused(_) => {
                let text = "load balancer: not enough free addresses in its subnets".to_owned();
                self.totals.entry(("service-controller", text)).or_default().pods += 1;
            }
            Change::ApiThrottled(_) => {
                let text = "RequestLimitExceeded".to_owned();
                self.totals.entry(("ec2", text)).or_default().pods += 1;
            }
            Change::EvictionRefused(..) => {
                let text = "eviction would violate the disruption budget".to_owned();
                self.totals.entry(("kube-apiserver", text)).or_default().pods += 1;
            }
            _ => {}
        }
    }

    fn waits(&mut self, pod: PodId, reasons: Vec<(&'static str, String)>, now: SimTime) {
        let Some(first) = reasons.first().cloned() else { return };
        let slot = pod.slot() as usize;
        if self.waiting.len() <= slot {
            self.waiting.resize_with(slot + 1, || None);
        }
        let entry = &mut self.waiting[slot];
        if entry.as_ref().is_none_or(|w| w.pod != pod) {
            *entry = Some(Waiting { pod, since: now, met: Vec::new(), last: first.clone() });
        }
        if let Some(w) = entry {
            w.last = first;
            for reason in reasons {
                if !w.met.contains(&reason) {
                    self.totals.entry(reason.clone()).or_default().pods += 1;
                    w.met.push(reason);
                }
            }
        }
    }

    fn goes_on(&mut self, pod: PodId, now: SimTime) {
        let Some(entry) = self.waiting.get_mut(pod.slot() as usize) else { return };
        if let Some(w) = entry.take_if(|w| w.pod == pod) {
            let seconds = now.since(w.since).secs_f64();
            self.totals.entry(w.last).or_default().seconds += seconds;
        }
    }

    /// Most pods first.
    pub(super) fn finish(mut self, end: SimTime) -> Vec<ReasonCount> {
        for w in core::mem::take(&mut self.waiting).into_iter().flatten() {
            self.totals.entry(w.last).or_default().seconds += end.since(w.since).secs_f64();
        }
        let mut all: Vec<ReasonCount> = self
            .totals
            .into_iter()
            .map(|((component, reason), t)| ReasonCount {
                component,
                reason,
                count: t.pods,
                wait_seconds: t.seconds,
            })
            .collect();
        all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.reason.cmp(&b.reason)));
        all
    }
}

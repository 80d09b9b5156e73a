//! Syncs that would only repeat the last one: how they are known, and how they are made up for.
//!
//! A sync of a cpu metric whose pods are all ready, long in service and of one size gives a count
//! that does not fall as the use of a pod grows. So there is a range of uses that lead to the same
//! proposal; while the load stays inside of it over everything a sync could read, the sync is only
//! noted. Its proposal enters the history before the next full sync.

use super::look::{self, Look};
use super::{HpaController, State};
use crate::engine::Cx;
use crate::policy::hpa::{Config, Decision, Source, Uniform, propose_uniform};
use crate::units::{Id, SimTime, Span};
use crate::world::model::Template;
use crate::world::{Hpa, Model, Workload};

/// Inputs of a sync that left everything as it was.
#[derive(Clone, Debug)]
pub(super) struct Calm {
    target: Id<Workload>,
    /// Version of the target, and machines lost so far.
    version: (u32, u32),
    template: Id<Template>,
    /// The last change of the load that is known to be harmless.
    load: SimTime,
    /// Millicores of a pod that lead to the same proposal; absent: any change of the load counts.
    range: Option<(i64, i64)>,
    proposal: i32,
    /// Syncs that were only noted: the first and the last.
    noted: Option<(SimTime, SimTime)>,
}

impl Calm {
    /// Notes the sync and answers true if it would only repeat the last one.
    pub(super) fn note(&mut self, cx: &Cx<'_>) -> bool {
        let version = (cx.api().versions[self.target], cx.cloud().deaths);
        if version != self.version {
            return false;
        }
        let load = look::load_changed(self.template, cx);
        if load != self.load {
            // What is harmless now stays so: older parts of the load only drop out.
            let harmless = self.range.is_some_and(|r| is_between(self.template, r, cx));
            if !harmless {
                return false;
            }
            self.load = load;
        }
        let now = cx.now();
        self.noted = Some((self.noted.map_or(now, |n| n.0), now));
        true
    }
}

impl State {
    /// Puts the proposals of syncs that were only noted into the history, as far back as any
    /// window reaches.
    pub(super) fn replay(&mut self, calm: Option<Calm>, config: &Config) {
        let Some(calm) = calm else { return };
        let Some((first, last)) = calm.noted else { return };
        let window = self.longest_window(config);
        let period = config.sync_period.nanos().max(1);
        let back = (window.nanos() / period + 1).min(last.since(first).nanos() / period);
        for i in (0..=back).rev() {
            let at = last - config.sync_period * i;
            self.history.note(self.spec.behavior.as_ref(), config, calm.proposal, at);
        }
    }

    fn longest_window(&self, config: &Config) -> Span {
        let given = self.spec.behavior.as_ref().map(|b| b.windows(config));
        given.map_or(config.downscale_stabilization, |(up, down)| up.max(down))
    }

    /// The inputs, if the same ones must give the same decision at any later time. The load must
    /// not have changed since `load_since` for the readings to stay as they are.
    pub(super) fn calm(
        &self,
        decision: &Decision,
        load_since: SimTime,
        hpa: Id<Hpa>,
        look: &Look,
        config: &Config,
        cx: &Cx<'_>,
    ) -> Option<Calm> {
        let calm = look.settled && decision.is_calm(&self.spec);
        let (current, proposal) = (decision.current, decision.proposal.filter(|_| calm)?);
        let behavior = self.spec.behavior.as_ref();
        if !self.history.keeps(behavior, config, (current, proposal), cx.now()) {
            return None;
        }
        let template = look.size?.0;
        let range = self.range(look, (current, proposal), config);
        let load = look::load_changed(template, cx);
        let harmless = match range {
            Some(range) => is_between(template, range, cx),
            None => load <= load_since,
        };
        let target = cx.api().hpas[hpa].target;
        let version = (cx.api().versions[target], cx.cloud().deaths);
        let calm = Calm { target, version, template, load, range, proposal, noted: None };
        harmless.then_some(calm)
    }

    /// The uses of a pod that lead to the same proposal.
    fn range(
        &self,
        look: &Look,
        (current, proposal): (i32, i32),
        config: &Config,
    ) -> Option<(i64, i64)> {
        let [metric] = self.spec.metrics.as_slice() else { return None };
        if metric.source != Source::Resource || metric.name != "cpu" {
            return None;
        }
        let request = look.same.first().copied().flatten()?;
        let pods = Uniform { pods: look.views.len() as i64, request };
        if pods.pods != i64::from(current) {
            return None;
        }
        let tolerance = self.spec.tolerance(config);
        let keeps = |value: i64| {
            let proposed = propose_uniform(metric, pods, value, current, tolerance);
            proposed.is_ok_and(|p| p.replicas == proposal)
        };
        // Any reading inside of the range will do to begin with.
        let inside = look.metrics.first()?.iter().flatten().map(|m| m.value).max()?;
        if !keeps(inside) {
            return None;
        }
        let high = edge(inside, inside.saturating_mul(4).saturating_add(1000), &keeps);
        let low = -edge(-inside, 0, &|v| keeps(-v));
        Some((low, high))
    }
}

/// The largest value from `inside` up to `end` that `keeps` holds for, if it holds for `inside`.
fn edge(inside: i64, end: i64, keeps: &dyn Fn(i64) -> bool) -> i64 {
    if end <= inside || keeps(end) {
        return end.max(inside);
    }
    let (mut good, mut bad) = (inside, end);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if keeps(middle) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    good
}

/// Whether whatever a sync can read now of a pod of the template lies in the range.
fn is_between(template: Id<Template>, (low, high): (i64, i64), cx: &Cx<'_>) -> bool {
    let model = cx.model();
    let template = &model.templates[template];
    let from = SimTime::from_nanos(cx.now().nanos().saturating_sub(oldest_reading(model).nanos()));
    let (mut least, mut most) = (0.0, 0.0);
    for &service in &template.services {
        let mut range = (f64::INFINITY, 0.0_f64);
        for usage in &cx.machines().load[service].usage {
            let (low, high) = usage.range(from);
            range = (range.0.min(low), range.1.max(high));
        }
        if range.0.is_finite() {
            least += range.0;
            most += range.1;
        }
    }
    // Readings are rounded; one more thousandth on either side covers that.
    let idle = template.idle_cpu.raw();
    let least = idle + (least * 1000.0) as i64 - 1;
    let most = idle + (most * 1000.0) as i64 + 2;
    low <= least && most <= high
}

/// How far back the window of a reading can begin.
fn oldest_reading(model: &Model) -> Span {
    let m = &model.settings.metrics;
    m.store_delay + m.resolution * 2 + m.housekeeping * 2
}

impl HpaController {
    /// Does every sync in full, for tests of the shortcut.
    pub fn sync_in_full(&mut self) {
        self.in_full = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::hpa::{Metric, Target, Tolerance};
    use proptest::prelude::*;

    proptest! {
        /// Exactly the values between the edges lead to the same proposal.
        #[test]
        fn the_range_holds_what_leads_to_the_same_proposal(
            pods in 1..50_i64, request in 1..4000_i64, percent in 1..200_i32,
            inside in 0..8000_i64, probe in 0..20_000_i64,
        ) {
            let metric = Metric {
                source: Source::Resource,
                name: "cpu".to_owned(),
                container: None,
                object_kind: String::new(),
                selector: None,
                target: Target::Utilization(percent),
            };
            let tolerance = Tolerance { scale_down: 0.1, scale_up: 0.1 };
            let uniform = Uniform { pods, request: Some(request) };
            let proposed = |v| propose_uniform(&metric, uniform, v, pods as i32, tolerance);
            let proposal = proposed(inside);
            let keeps = |v| proposed(v).map(|p| p.replicas) == proposal.map(|p| p.replicas);
            let high = edge(inside, inside * 4 + 1000, &keeps);
            let low = -edge(-inside, 0, &|v: i64| keeps(-v));
            let probe = probe.min(inside * 4 + 1000);
            prop_assert_eq!(keeps(probe), (low..=high).contains(&probe), "{} in {}..={}", probe, low, high);
        }
    }
}

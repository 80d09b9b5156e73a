//! The custom and external metrics APIs: values that the scenario gives, and values of Services
//! that a scraper takes at its interval.

use crate::engine::Cx;
use crate::units::{SimTime, Span};
use crate::world::model::{Measure, MetricSource};
use crate::world::{Model, PodId};
use std::collections::VecDeque;

/// Values taken of Services.
#[derive(Clone, Debug)]
pub(super) struct Adapter {
    /// By metric of the model: the last values, oldest first; empty for given values.
    taken: Vec<VecDeque<Taken>>,
}

/// A value, as it was at an instant.
#[derive(Clone, Copy, Debug)]
struct Taken {
    at: SimTime,
    /// Thousandths, of all pods.
    value: i64,
    /// Pods that worked.
    pods: u32,
}

impl Adapter {
    pub(super) fn new(model: &Model) -> Self {
        Self { taken: model.metrics.iter().map(|_| VecDeque::new()).collect() }
    }

    /// Whether there is a Service to look at.
    pub(super) fn samples(model: &Model) -> bool {
        model.metrics.iter().any(|m| matches!(m.source, MetricSource::Service(..)))
    }

    /// Takes the present values.
    pub(super) fn sample(&mut self, cx: &Cx<'_>) {
        let now = cx.now();
        for (metric, taken) in cx.model().metrics.iter().zip(&mut self.taken) {
            let MetricSource::Service(service, measure, delay) = metric.source else { continue };
            let load = &cx.machines().load[service];
            let value = match measure {
                Measure::RequestsPerSecond => load.offered,
                Measure::Waiting => load.backlog,
                Measure::LatencySeconds => load.latency,
            };
            let value = (value * 1000.0) as i64;
            taken.push_back(Taken { at: now, value, pods: load.alive });
            // One value older than the delay is enough.
            while taken.get(1).is_some_and(|second| second.at + delay <= now) {
                taken.pop_front();
            }
        }
    }

    fn last(&self, metric: usize, delay: Span, now: SimTime) -> Option<Taken> {
        self.taken.get(metric)?.iter().rev().find(|t| t.at + delay <= now).copied()
    }

    /// Thousandths of a metric, as it is served now.
    pub(super) fn value(&self, metric: usize, cx: &Cx<'_>) -> Option<i64> {
        let now = cx.now();
        match &cx.model().metrics.get(metric)?.source {
            MetricSource::Values(points, age) => value_at(points, *age, now),
            MetricSource::Service(_, _, delay) => Some(self.last(metric, *delay, now)?.value),
        }
    }

    /// Thousandths of a metric of one pod, and when it was taken: its share of a Service's, if it
    /// served requests then.
    pub(super) fn of_pod(&self, metric: usize, id: PodId, cx: &Cx<'_>) -> Option<(SimTime, i64)> {
        let now = cx.now();
        match &cx.model().metrics.get(metric)?.source {
            MetricSource::Values(points, age) => {
                let ready = cx.api().pods.get(id)?.is_ready();
                Some((now, value_at(points, *age, now).filter(|_| ready)?))
            }
            MetricSource::Service(_, measure, delay) => {
                let taken = self.last(metric, *delay, now)?;
                let served = cx.machines().pod(id)?.serving_since <= taken.at;
                let whole = *measure == Measure::LatencySeconds;
                let pods = if whole { 1 } else { i64::from(taken.pods.max(1)) };
                served.then_some((taken.at, taken.value / pods))
            }
        }
    }
}

fn value_at(points: &[(SimTime, i64)], age: Span, now: SimTime) -> Option<i64> {
    let at = SimTime::ZERO + now.since(SimTime::ZERO).saturating_sub(age);
    let after = points.partition_point(|p| p.0 <= at);
    Some(points.get(after.checked_sub(1)?)?.1)
}

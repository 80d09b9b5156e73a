//! What one sync sees: the target's pods, their metrics and requests.

use super::State;
use super::adapter::Adapter;
use crate::engine::Cx;
use crate::policy::hpa::{Metric, PodMetric, PodPhase, PodView, Source, pod_request};
use crate::units::{Id, SimTime, Span};
use crate::world::model::Template;
use crate::world::shapes::Shape;
use crate::world::{Hpa, Phase, Pod, Workload, usage};

/// Buffers of one sync, used again by the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    pub(super) views: Vec<PodView>,
    /// Pods that neither ended nor are being deleted.
    pub(super) active: u32,
    /// Of each metric: one entry a pod.
    pub(super) metrics: Vec<Vec<Option<PodMetric>>>,
    /// Values of Object and External metrics; absent where nothing serves them.
    pub(super) series: Vec<Option<i64>>,
    /// Request of every pod by metric, where all pods are of one size.
    pub(super) same: Vec<Option<Option<i64>>>,
    /// Requests of each pod by metric, where they differ.
    pub(super) requests: Vec<Vec<Option<i64>>>,
    /// Size of all pods, if there is but one.
    pub(super) size: Option<Size>,
    /// The same inputs will be read in the same way at any later time.
    pub(super) settled: bool,
}

pub(super) type Size = (Id<Template>, Option<Id<Shape>>);

impl Look {
    /// Fills the buffers. Answers since when the load must not have changed for the readings to
    /// stay as they are.
    pub(super) fn at(
        &mut self,
        hpa: Id<Hpa>,
        state: &State,
        adapter: &Adapter,
        scrape_phase: Span,
        cx: &Cx<'_>,
    ) -> SimTime {
        let (api, model, now) = (cx.api(), cx.model(), cx.now());
        let target = &api.workloads[api.hpas[hpa].target];
        let metrics = &state.spec.metrics;
        self.clear(metrics.len());
        self.settled = true;
        for (i, metric) in metrics.iter().enumerate() {
            if matches!(metric.source, Source::Object | Source::External) {
                self.series[i] = state.served_by[i].and_then(|m| adapter.value(m, cx));
            }
            // Custom metrics move by themselves.
            self.settled &= matches!(metric.source, Source::Resource | Source::ContainerResource);
        }
        let scrape = usage::last_scrape(now, scrape_phase, &model.settings.metrics);
        let mut oldest = now;
        let mut size: Option<Size> = None;
        let mut differ = false;
        for &set in &target.sets {
            self.active += api.sets[set].active;
            for &id in &api.sets[set].pods {
                let Some(pod) = api.pods.get(id) else { continue };
                self.views.push(view(pod));
                let own = (pod.template, pod.shape);
                differ |= *size.get_or_insert(own) != own;
                let found = scrape.and_then(|scrape| usage::metrics(cx.world(), model, id, scrape));
                self.settled &= found.as_ref().is_some_and(|found| {
                    oldest = oldest.min(found.points.begin);
                    found.is_level() && is_settled(pod, found.points.end, now, cx)
                });
                for (i, metric) in metrics.iter().enumerate() {
                    let value = match metric.source {
                        Source::Pods => state.served_by[i]
                            .and_then(|m| adapter.of_pod(m, id, cx))
                            .map(|(at, value)| (at, Span::ZERO, value)),
                        _ => found.as_ref().and_then(|f| {
                            let value = resource(metric, f)?;
                            Some((f.points.end, f.points.window(), value))
                        }),
                    };
                    let value = value.map(|(timestamp, window, value)| PodMetric {
                        timestamp,
                        window,
                        value,
                    });
                    self.metrics[i].push(value);
                }
            }
        }
        self.size = size.filter(|_| !differ);
        self.read_requests(target, state, cx);
        oldest
    }

    fn clear(&mut self, metrics: usize) {
        self.views.clear();
        self.active = 0;
        self.metrics.resize_with(metrics.max(self.metrics.len()), Vec::new);
        self.requests.resize_with(metrics.max(self.requests.len()), Vec::new);
        self.metrics.iter_mut().for_each(Vec::clear);
        self.requests.iter_mut().for_each(Vec::clear);
        self.series.clear();
        self.series.resize(metrics, None);
        self.same.clear();
    }

    fn read_requests(&mut self, target: &Workload, state: &State, cx: &Cx<'_>) {
        let metrics = state.spec.metrics.len();
        if let Some(size) = self.size {
            let known = state.sizes.iter().find(|(s, _)| *s == size);
            match known {
                Some((_, requests)) => self.same.extend(requests.iter().copied().map(Some)),
                None => {
                    self.same.extend(requests_of(size, state, cx).into_iter().map(Some));
                }
            }
            return;
        }
        self.same.resize(metrics, None);
        for &set in &target.sets {
            for &id in &cx.api().sets[set].pods {
                let Some(pod) = cx.api().pods.get(id) else { continue };
                let requests = requests_of((pod.template, pod.shape), state, cx);
                for (list, request) in self.requests.iter_mut().zip(requests) {
                    list.push(request);
                }
            }
        }
    }
}

/// Requests of pods of a size, by metric.
pub(super) fn requests_of(size: Size, state: &State, cx: &Cx<'_>) -> RequestsOf {
    let (template, shape) = size;
    let (api, model) = (cx.api(), cx.model());
    let object = shape.map_or(&model.templates[template].object, |s| &api.shapes.get(s).object);
    let of = |m: &Metric| pod_request(&object.spec, &m.name, m.container.as_deref());
    state.spec.metrics.iter().map(of).collect()
}

/// A request for each metric.
pub(super) type RequestsOf = smallvec::SmallVec<[Option<i64>; 2]>;

/// Thousandths of a resource of the pod, or of the container that the metric names.
fn resource(metric: &Metric, found: &usage::Metrics<'_>) -> Option<i64> {
    let container = match &metric.container {
        Some(name) => Some(found.container(name)?),
        None => None,
    };
    match (metric.name.as_str(), container) {
        ("cpu", None) => Some(found.cpu()),
        ("cpu", Some(c)) => Some((found.container_cores(c) * 1000.0).round() as i64),
        ("memory", None) => Some(found.memory().saturating_mul(1000)),
        ("memory", Some(c)) => Some(found.container_memory(c).saturating_mul(1000)),
        _ => None,
    }
}

fn view(pod: &Pod) -> PodView {
    let started = pod.started != SimTime::NEVER;
    PodView {
        phase: match pod.phase {
            Phase::Pending => PodPhase::Pending,
            Phase::Running => PodPhase::Running,
            Phase::Succeeded => PodPhase::Succeeded,
            Phase::Failed => PodPhase::Failed,
        },
        deleted: pod.is_terminating(),
        ready: Some(pod.is_ready()),
        ready_transition: pod.changed(),
        start_time: started.then_some(pod.started).or(Some(pod.created)),
    }
}

/// Whether time alone does not change how the pod counts: it is ready, and its metrics are of later.
fn is_settled(pod: &Pod, measured: SimTime, now: SimTime, cx: &Cx<'_>) -> bool {
    let settings = &cx.model().settings;
    let window = settings.metrics.resolution + settings.metrics.housekeeping;
    let old = now.since(pod.started) > settings.hpa_cpu_initialization;
    pod.is_active()
        && pod.started != SimTime::NEVER
        && pod.is_ready()
        && (old || measured >= pod.changed() + window)
}

/// When the load on pods of a template changed last.
pub(super) fn load_changed(template: Id<Template>, cx: &Cx<'_>) -> SimTime {
    let services = &cx.model().templates[template].services;
    let changed = &cx.machines().load_changed;
    services.iter().map(|&s| changed[s]).max().unwrap_or(SimTime::ZERO)
}

//! HPA controller: each HPA is synced every 15 s; metrics are what metrics-server scraped last.
//!
//! A pod's CPU metric is the mean over the last scrape window, so it exists from the second
//! scrape after the containers' start on; its memory metric from the first.

use crate::engine::{self, Cx, Stream};
use crate::policy::hpa::{
    Config, Decision, History, HpaSpec, PodMetric, PodPhase, PodView, Reading, Requests,
    SelectorState, Source, View, pod_request, reconcile,
};
use crate::units::{Id, SimTime, Span};
use crate::world::model::{HpaModel, Measure, MetricSource};
use crate::world::{Change, Client, Hpa, Model, Phase, PodId, Request, usage};

/// What can happen to the HPA controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An HPA is due.
    Sync(Id<Hpa>),
}

/// The HPA controller.
#[derive(Clone, Debug)]
pub struct HpaController {
    config: Config,
    states: Vec<State>,
    /// Phase of metrics-server's scrapes.
    scrape_phase: Span,
    pods: Vec<PodId>,
    views: Vec<PodView>,
    metrics: Vec<Vec<Option<PodMetric>>>,
    /// Series of Object and External metrics; empty where nothing serves them.
    series: Vec<Vec<i64>>,
    /// Requests of each pod by metric, where a VPA made them differ.
    sized: Vec<Vec<Option<i64>>>,
}

#[derive(Clone, Debug)]
struct State {
    spec: HpaSpec,
    /// Requests of the target's pods for each metric.
    requests: Vec<Option<i64>>,
    /// Position of each custom or external metric in the model.
    served_by: Vec<Option<usize>>,
    history: History,
    last: Option<Decision>,
}

impl HpaController {
    /// One state for each HPA of the model.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        let states = model.hpas.iter().map(|(_, h)| state(h, model)).collect();
        Self {
            config: config(model),
            states,
            scrape_phase: Span::ZERO,
            pods: Vec::new(),
            views: Vec::new(),
            metrics: Vec::new(),
            series: Vec::new(),
            sized: Vec::new(),
        }
    }

    /// Draws the scraper's phase. HPAs begin when their objects appear.
    pub fn start(&mut self, cx: &mut Cx<'_>) {
        let period = cx.model().settings.scrape_period;
        let share = cx.draw(Stream::MetricsPhase, 0);
        self.scrape_phase = Span::from_secs_f64(period.secs_f64() * share);
    }

    /// Handles one event.
    pub fn handle(&mut self, event: Event, cx: &mut Cx<'_>) {
        let Event::Sync(hpa) = event;
        self.sync(hpa, cx);
        cx.after(self.config.sync_period, engine::Event::Hpa(Event::Sync(hpa)));
    }

    /// The last decision of an HPA and its specification, for explanations.
    #[must_use]
    pub fn last(&self, hpa: Id<Hpa>) -> Option<(&HpaSpec, &Decision)> {
        let state = self.states.get(hpa.index())?;
        Some((&state.spec, state.last.as_ref()?))
    }

    fn sync(&mut self, hpa: Id<Hpa>, cx: &mut Cx<'_>) {
        let now = cx.now();
        if !cx.cloud().api_available() || self.states.len() <= hpa.index() {
            return;
        }
        let target = cx.api().hpas[hpa].target;
        self.look_at_pods(hpa, cx);
        let state = &mut self.states[hpa.index()];
        let readings: smallvec::SmallVec<[Reading<'_>; 4]> = state
            .spec
            .metrics
            .iter()
            .enumerate()
            .map(|(i, m)| match m.source {
                Source::Object | Source::External => match self.series[i].as_slice() {
                    [] => Reading::Unavailable,
                    series => Reading::Series(series),
                },
                Source::Pods if state.served_by[i].is_none() => Reading::Unavailable,
                Source::Resource | Source::ContainerResource | Source::Pods => Reading::Pods {
                    metrics: &self.metrics[i],
                    strays: &[],
                    requests: if self.sized.is_empty() {
                        Requests::Same(state.requests[i])
                    } else {
                        Requests::Each(&self.sized[i])
                    },
                },
            })
            .collect();
        let view = View {
            now,
            spec_replicas: cx.api().workloads[target].replicas as i32,
            status_replicas: self.views.len() as i32,
            selector: SelectorState::Valid,
            scaled_to_zero: false,
            pods: &self.views,
            readings: &readings,
        };
        let decision = reconcile(&state.spec, &self.config, &mut state.history, &view);
        let behavior = state.spec.behavior.as_ref();
        if decision.rescale {
            state.history.record_rescale(behavior, now, decision.current, decision.desired);
            let replicas = decision.desired.max(0) as u32;
            let request = Request::ScaleWorkload { workload: target, replicas, hpa: Some(hpa) };
            cx.submit(Client::Hpa, request);
        }
        let news = state.last.as_ref().is_none_or(|last| {
            (last.desired, last.scaling_active, last.able_to_scale, last.scaling_limited)
                != (
                    decision.desired,
                    decision.scaling_active,
                    decision.able_to_scale,
                    decision.scaling_limited,
                )
        });
        state.last = Some(decision);
        if news {
            cx.emit(Change::HpaDecided(hpa));
        }
    }

    /// Fills the buffers with the target's pods and their metrics.
    fn look_at_pods(&mut self, hpa: Id<Hpa>, cx: &Cx<'_>) {
        self.pods.clear();
        self.views.clear();
        let api = cx.api();
        let target = &api.workloads[api.hpas[hpa].target];
        for &set in &target.sets {
            self.pods.extend(&api.sets[set].pods);
        }
        let state = &self.states[hpa.index()];
        self.metrics.resize_with(state.spec.metrics.len().max(self.metrics.len()), Vec::new);
        for list in &mut self.metrics {
            list.clear();
        }
        self.sized.clear();
        if cx.model().workloads[target.model].vpa.is_some() {
            self.sized.resize_with(state.spec.metrics.len(), Vec::new);
        }
        self.series.resize_with(state.spec.metrics.len().max(self.series.len()), Vec::new);
        for (i, metric) in state.spec.metrics.iter().enumerate() {
            self.series[i].clear();
            if matches!(metric.source, Source::Object | Source::External) {
                self.series[i].extend(state.served_by[i].and_then(|m| in_all(m, cx)));
            }
        }
        let window = cx.model().settings.scrape_period;
        let scrape = usage::last_scrape(cx.now(), self.scrape_phase, window);
        for &id in &self.pods {
            let Some(pod) = api.pods.get(id) else { continue };
            let started = pod.started != SimTime::NEVER;
            self.views.push(PodView {
                phase: phase(pod.phase),
                deleted: pod.is_terminating(),
                ready: Some(pod.is_ready()),
                ready_transition: if pod.ready_changed == SimTime::NEVER {
                    pod.created
                } else {
                    pod.ready_changed
                },
                start_time: started.then_some(pod.started).or(Some(pod.created)),
            });
            for (list, metric) in self.sized.iter_mut().zip(&state.spec.metrics) {
                let spec = &api.object_of(pod, cx.model()).spec;
                list.push(pod_request(spec, &metric.name, metric.container.as_deref()));
            }
            for (i, metric) in state.spec.metrics.iter().enumerate() {
                let value = match metric.name.as_str() {
                    _ if metric.source == Source::Pods => {
                        state.served_by[i].and_then(|m| of_pod(m, id, cx))
                    }
                    "cpu" => usage::cpu(cx.world(), cx.model(), id, scrape, window),
                    "memory" => usage::memory(cx.world(), cx.model(), id, scrape)
                        .map(|bytes| bytes.saturating_mul(1000)),
                    _ => None,
                };
                self.metrics[i].push(value.map(|value| PodMetric {
                    timestamp: scrape,
                    window,
                    value,
                }));
            }
        }
    }
}

fn state(hpa: &HpaModel, model: &Model) -> State {
    let spec = HpaSpec::lower(&hpa.object).unwrap_or_else(|_| {
        // Checked when the model was built; an HPA without metrics never acts.
        HpaSpec { min_replicas: 1, max_replicas: 1, metrics: Vec::new(), behavior: None }
    });
    let template = &model.templates[model.workloads[hpa.target].template];
    let requests = spec
        .metrics
        .iter()
        .map(|m| pod_request(&template.object.spec, &m.name, m.container.as_deref()))
        .collect();
    let served_by = spec
        .metrics
        .iter()
        .map(|m| match m.source {
            Source::Resource | Source::ContainerResource => None,
            _ => model.metrics.iter().position(|known| known.name == m.name),
        })
        .collect();
    State { spec, requests, served_by, history: History::default(), last: None }
}

fn phase(phase: Phase) -> PodPhase {
    match phase {
        Phase::Pending => PodPhase::Pending,
        Phase::Running => PodPhase::Running,
        Phase::Succeeded => PodPhase::Succeeded,
        Phase::Failed => PodPhase::Failed,
    }
}

/// Thousandths of a metric, as the adapter serves it.
fn in_all(metric: usize, cx: &Cx<'_>) -> Option<i64> {
    match &cx.model().metrics[metric].source {
        MetricSource::Values(points, age) => {
            let at = SimTime::ZERO + cx.now().since(SimTime::ZERO).saturating_sub(*age);
            let after = points.partition_point(|p| p.0 <= at);
            Some(points.get(after.checked_sub(1)?)?.1)
        }
        MetricSource::Service(service, measure) => {
            let load = &cx.machines().load[*service];
            let value = match measure {
                Measure::RequestsPerSecond => load.offered,
                Measure::Waiting => load.backlog,
                Measure::LatencySeconds => load.latency,
            };
            Some((value * 1000.0) as i64)
        }
    }
}

/// Thousandths of a metric of one pod: its share of a Service's, if it serves requests.
fn of_pod(metric: usize, id: PodId, cx: &Cx<'_>) -> Option<i64> {
    let all = in_all(metric, cx)?;
    match cx.model().metrics[metric].source {
        MetricSource::Service(service, measure) => {
            let serves = cx.machines().pod(id)?.serving_since <= cx.now();
            let pods = i64::from(cx.machines().load[service].alive.max(1));
            let shared = measure != Measure::LatencySeconds;
            serves.then_some(if shared { all / pods } else { all })
        }
        MetricSource::Values(..) => cx.api().pods.get(id)?.is_ready().then_some(all),
    }
}

fn config(model: &Model) -> Config {
    let s = &model.settings;
    Config {
        sync_period: s.hpa_sync,
        tolerance: s.hpa_tolerance,
        downscale_stabilization: s.hpa_downscale_stabilization,
        cpu_initialization_period: s.hpa_cpu_initialization,
        initial_readiness_delay: s.hpa_initial_readiness_delay,
        scale_to_zero: false,
    }
}

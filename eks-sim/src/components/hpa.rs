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
use crate::world::model::{HpaModel, ServiceModel, Zone};
use crate::world::{Change, Client, Hpa, Model, Phase, PodId, Request};

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
}

#[derive(Clone, Debug)]
struct State {
    spec: HpaSpec,
    /// Requests of the target's pods for each metric.
    requests: Vec<Option<i64>>,
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
                Source::Resource | Source::ContainerResource => Reading::Pods {
                    metrics: &self.metrics[i],
                    strays: &[],
                    requests: Requests::Same(state.requests[i]),
                },
                // Custom and external metrics have no source in the model.
                _ => Reading::Unavailable,
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
        let window = cx.model().settings.scrape_period;
        let scrape = last_scrape(cx.now(), self.scrape_phase, window);
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
            for (i, metric) in state.spec.metrics.iter().enumerate() {
                let value = match metric.name.as_str() {
                    "cpu" => cpu(id, scrape, window, cx),
                    "memory" => memory(id, scrape, cx),
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
    State { spec, requests, history: History::default(), last: None }
}

fn phase(phase: Phase) -> PodPhase {
    match phase {
        Phase::Pending => PodPhase::Pending,
        Phase::Running => PodPhase::Running,
        Phase::Succeeded => PodPhase::Succeeded,
        Phase::Failed => PodPhase::Failed,
    }
}

/// The last scrape not after `now`.
fn last_scrape(now: SimTime, phase: Span, period: Span) -> SimTime {
    let since = now.since(SimTime::ZERO + phase);
    let whole = since.nanos() / period.nanos().max(1);
    SimTime::ZERO + phase + period * whole
}

/// Thousandths of a core over the window that ends with `scrape`.
fn cpu(id: PodId, scrape: SimTime, window: Span, cx: &Cx<'_>) -> Option<i64> {
    let pod = running(id, cx)?;
    let begin = scrape - window;
    if pod.started > begin || window.is_zero() {
        return None;
    }
    let template = &cx.model().templates[pod.template];
    let since = cx.machines().pod(id)?.serving_since;
    let zone = zone_of(pod, cx)?;
    let mut cores = 0.0;
    if since < scrape {
        for &service in &template.services {
            let Some(usage) = cx.machines().load[service].usage(zone) else { continue };
            cores += usage.integral(scrape) - usage.integral(begin.max(since));
        }
        cores /= window.secs_f64();
    }
    Some(template.idle_cpu.raw() + (cores * 1000.0).round() as i64)
}

/// Thousandths of a byte at the scrape.
fn memory(id: PodId, scrape: SimTime, cx: &Cx<'_>) -> Option<i64> {
    let pod = running(id, cx)?;
    if pod.started > scrape {
        return None;
    }
    let template = &cx.model().templates[pod.template];
    let serving = cx.machines().pod(id)?.serving_since < scrape;
    let mut bytes = template.idle_memory.raw() as f64;
    if serving {
        let zone = zone_of(pod, cx)?;
        let usage = |s: &Id<ServiceModel>| cx.machines().load[*s].usage(zone);
        bytes += template.services.iter().filter_map(usage).map(|u| u.memory).sum::<f64>();
    }
    Some((bytes as i64).saturating_mul(1000))
}

fn zone_of(pod: &crate::world::Pod, cx: &Cx<'_>) -> Option<Id<Zone>> {
    Some(cx.cloud().instances[cx.api().nodes[pod.node?].instance].zone)
}

/// The pod, if its containers run on a machine that works.
fn running<'c>(id: PodId, cx: &'c Cx<'_>) -> Option<&'c crate::world::Pod> {
    let pod = cx.api().pods.get(id)?;
    let node = pod.node?;
    let alive = cx.cloud().instances[cx.api().nodes[node].instance].alive;
    (alive && pod.started != SimTime::NEVER && pod.phase == Phase::Running).then_some(pod)
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

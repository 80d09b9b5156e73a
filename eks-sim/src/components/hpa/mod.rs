//! HPA controller, and KEDA on top of it. Each HPA is synced every 15 s; metrics are those that
//! metrics-server and the adapter serve.
//!
//! All HPAs exist from the start, so one event syncs them all, in their order. A sync whose inputs
//! did not change and that would decide to leave everything as it is, is only noted.

mod adapter;
mod calm;
mod keda;
mod look;

use crate::engine::{self, Cx, Stream};
use crate::policy::hpa::{
    Config, Decision, History, HpaSpec, Metric, Reading, Requests, SelectorState, Source, View,
};
use crate::units::{Id, Span};
use crate::world::model::{HpaModel, ScaledObjectModel};
use crate::world::{Change, Client, Hpa, Model, Request};
use adapter::Adapter;
use calm::Calm;
use keda::Poller;
use look::Look;

/// What can happen to the HPA controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The HPAs are due.
    Sync,
    /// The adapter takes custom metrics.
    Sample,
    /// KEDA polls the triggers of a ScaledObject.
    Poll(Id<ScaledObjectModel>),
    /// Somebody changes the bounds of an HPA: the change of this number in the model.
    Patch(u32),
}

/// The HPA controller.
#[derive(Clone, Debug)]
pub struct HpaController {
    config: Config,
    states: Vec<State>,
    /// Inputs of each HPA's last sync, if it would repeat itself while they stay; apart from the
    /// states, since they are read at every sync.
    calm: Vec<Option<Calm>>,
    /// Phase of metrics-server's scrapes.
    scrape_phase: Span,
    adapter: Adapter,
    pollers: Vec<Poller>,
    look: Look,
    /// Every sync is done in full, which must not change anything.
    in_full: bool,
}

#[derive(Clone, Debug)]
struct State {
    spec: HpaSpec,
    /// Position of each custom or external metric in the model.
    served_by: Vec<Option<usize>>,
    selector: SelectorState,
    history: History,
    last: Option<Decision>,
    /// Requests of the last sizes of pods that were met.
    sizes: Vec<(look::Size, look::RequestsOf)>,
}

/// Sizes of pods whose requests an HPA remembers.
const MOST_SIZES: usize = 8;

impl HpaController {
    /// One state for each HPA of the model.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        Self {
            config: config(model),
            states: model.hpas.iter().map(|(_, h)| state(h, model)).collect(),
            calm: model.hpas.iter().map(|_| None).collect(),
            scrape_phase: Span::ZERO,
            adapter: Adapter::new(model),
            pollers: model.scaled_objects.iter().map(|_| Poller::default()).collect(),
            look: Look::default(),
            in_full: false,
        }
    }

    /// Draws the phases, and puts the first syncs, polls and changes of bounds on the agenda.
    pub fn start(&mut self, cx: &mut Cx<'_>) {
        let settings = &cx.model().settings;
        let period = settings.metrics.resolution;
        let share = cx.draw(Stream::MetricsPhase, 0);
        self.scrape_phase = Span::from_secs_f64(period.secs_f64() * share);
        if self.states.is_empty() {
            return;
        }
        cx.after(settings.watch_delay, wake(Event::Sync));
        if Adapter::samples(cx.model()) {
            let phase = settings.metrics.adapter_interval.secs_f64();
            let share = cx.draw(Stream::MetricsPhase, 1);
            cx.after(Span::from_secs_f64(phase * share), wake(Event::Sample));
        }
        for (id, object) in cx.model().scaled_objects.iter() {
            // They were made at any time before the start.
            let share = cx.draw(Stream::ControllerPhase, object.key);
            let first = object.rules.polling_interval.secs_f64() * share;
            cx.after(Span::from_secs_f64(first), wake(Event::Poll(id)));
        }
        for (number, patch) in cx.model().hpa_patches.iter().enumerate() {
            cx.at(patch.at, wake(Event::Patch(number as u32)));
        }
    }

    /// Handles one event.
    pub fn handle(&mut self, event: Event, cx: &mut Cx<'_>) {
        match event {
            Event::Sync => {
                if cx.cloud().api_available() {
                    for hpa in 0..self.states.len().min(cx.api().hpas.len()) {
                        self.sync(Id::new(hpa as u32), cx);
                    }
                }
                cx.after(self.config.sync_period, wake(event));
            }
            Event::Sample => {
                self.adapter.sample(cx);
                cx.after(cx.model().settings.metrics.adapter_interval, wake(event));
            }
            Event::Poll(id) => self.poll(id, cx),
            Event::Patch(number) => {
                let Some(patch) = cx.model().hpa_patches.get(number as usize) else { return };
                let (hpa, min, max) = (Id::new(patch.hpa.raw()), patch.min, patch.max);
                cx.submit(Client::User, Request::PatchHpa { hpa, min, max, patch: number });
            }
        }
    }

    /// The last decision of an HPA and its specification, for explanations.
    #[must_use]
    pub fn last(&self, hpa: Id<Hpa>) -> Option<(&HpaSpec, &Decision)> {
        let state = self.states.get(hpa.index())?;
        Some((&state.spec, state.last.as_ref()?))
    }

    fn sync(&mut self, hpa: Id<Hpa>, cx: &mut Cx<'_>) {
        if let Some(calm) = &mut self.calm[hpa.index()]
            && calm.note(cx)
        {
            return;
        }
        let now = cx.now();
        let state = &mut self.states[hpa.index()];
        let row = &cx.api().hpas[hpa];
        (state.spec.min_replicas, state.spec.max_replicas) = row.bounds;
        let target = row.target;
        state.replay(self.calm[hpa.index()].take(), &self.config);
        let at = self.look.at(hpa, state, &self.adapter, self.scrape_phase, cx);
        let look = &self.look;
        if let Some(size) = look.size
            && state.sizes.iter().all(|(known, _)| *known != size)
        {
            // A VPA makes ever new sizes; the last ones are enough.
            if state.sizes.len() >= MOST_SIZES {
                state.sizes.remove(0);
            }
            state.sizes.push((size, look::requests_of(size, state, cx)));
        }
        let readings: smallvec::SmallVec<[Reading<'_>; 4]> =
            state.spec.metrics.iter().enumerate().map(|(i, m)| reading(i, m, look)).collect();
        let view = View {
            now,
            spec_replicas: cx.api().workloads[target].replicas as i32,
            status_replicas: look.active as i32,
            selector: state.selector,
            scaled_to_zero: false,
            pods: &look.views,
            readings: &readings,
        };
        let decision =
            crate::policy::hpa::reconcile(&state.spec, &self.config, &mut state.history, &view);
        let behavior = state.spec.behavior.as_ref();
        if decision.rescale {
            state.history.record_rescale(behavior, now, decision.current, decision.desired);
            let replicas = decision.desired.max(0) as u32;
            let request = Request::ScaleWorkload { workload: target, replicas, hpa: Some(hpa) };
            cx.submit(Client::Hpa, request);
        }
        if !self.in_full {
            let calm = state.calm(&decision, at, hpa, look, &self.config, cx);
            self.calm[hpa.index()] = calm;
        }
        let news = state.last.as_ref().is_none_or(|last| differs(last, &decision));
        state.last = Some(decision);
        if news {
            cx.emit(Change::HpaDecided(hpa));
        }
    }
}

fn wake(event: Event) -> engine::Event {
    engine::Event::Hpa(event)
}

/// Whether there is something to tell beside the numbers.
fn differs(last: &Decision, new: &Decision) -> bool {
    new.rescale
        || last.failures() != new.failures()
        || (last.desired, last.scaling_active, last.able_to_scale, last.scaling_limited)
            != (new.desired, new.scaling_active, new.able_to_scale, new.scaling_limited)
}

fn reading<'l>(i: usize, metric: &Metric, look: &'l Look) -> Reading<'l> {
    match metric.source {
        Source::Object | Source::External => match look.series[i] {
            None => Reading::Unavailable,
            Some(ref value) => Reading::Series(core::slice::from_ref(value)),
        },
        Source::Resource | Source::ContainerResource | Source::Pods => Reading::Pods {
            metrics: &look.metrics[i],
            strays: &[],
            requests: match look.same[i] {
                Some(request) => Requests::Same(request),
                None => Requests::Each(&look.requests[i]),
            },
        },
    }
}

fn state(hpa: &HpaModel, model: &Model) -> State {
    let spec = HpaSpec::lower(&hpa.object).unwrap_or_else(|_| {
        // Checked when the model was built; an HPA without metrics never acts.
        HpaSpec { min_replicas: 1, max_replicas: 1, metrics: Vec::new(), behavior: None }
    });
    let served_by = spec
        .metrics
        .iter()
        .map(|m| match m.source {
            Source::Resource | Source::ContainerResource => None,
            _ => model.metrics.iter().position(|known| known.name == m.name),
        })
        .collect();
    let selector = if hpa.ambiguous { SelectorState::Ambiguous } else { SelectorState::Valid };
    State { spec, served_by, selector, history: History::default(), last: None, sizes: Vec::new() }
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

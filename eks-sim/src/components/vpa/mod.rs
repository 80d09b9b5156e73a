//! VerticalPodAutoscaler: recommender and updater, each once a minute; admission is the control
//! plane's, from the targets written here.
//!
//! Samples are those that metrics-server serves, for each container of a pod.

mod updater;

use crate::engine::{self, Cx, Stream};
use crate::policy::vpa::{ContainerAggregate, MemoryWindow, Recommendation};
use crate::units::{Id, SimTime, Span};
use crate::world::model::{Template, VpaModel};
use crate::world::recommendations::Targets;
use crate::world::settings::VpaSettings;
use crate::world::{Api, Client, Model, PodId, Request, Workload, usage};
use smallvec::SmallVec;

/// What can happen to the VPA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The recommender's loop.
    Recommend,
    /// The updater's loop.
    Update,
    /// A workload appeared.
    WorkloadCreated(Id<Workload>),
    /// A container was killed for its memory.
    OomKilled(PodId),
    /// An eviction that had to wait for the updater's rate limit.
    Evict(PodId),
}

/// Recommender and updater.
#[derive(Clone, Debug)]
pub struct Vpa {
    settings: VpaSettings,
    scrape_phase: Span,
    states: Vec<State>,
    /// When the updater's token bucket is full.
    bucket_full: SimTime,
}

#[derive(Clone, Debug)]
struct State {
    /// One for each of [`VpaModel::containers`].
    aggregates: Vec<ContainerAggregate>,
    /// Pods that gave samples, in order of their handles.
    pods: Vec<Seen>,
    workloads: Vec<Id<Workload>>,
    recommended: Vec<Option<Recommendation>>,
    /// Positions in a template's `uses` of the containers, for the templates met so far.
    places: Vec<(Id<Template>, Places)>,
}

/// Position of each container of the VPA among a template's.
type Places = SmallVec<[Option<u8>; 4]>;

/// A pod that gave samples.
#[derive(Clone, Debug)]
struct Seen {
    pod: PodId,
    last_cpu: SimTime,
    windows: SmallVec<[MemoryWindow; 1]>,
    resize_asked: SimTime,
    /// Targets that its node can never hold (mode InPlace).
    infeasible: Option<Id<Targets>>,
}

fn wake(event: Event) -> engine::Event {
    engine::Event::Vpa(event)
}

impl Vpa {
    /// One state for each VPA of the model.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        let settings = model.settings.vpa;
        let states = model.vpas.iter().map(|(_, v)| State::new(v, &settings)).collect();
        Self { settings, scrape_phase: Span::ZERO, states, bucket_full: SimTime::ZERO }
    }

    /// Starts both loops, if there is a VPA.
    pub fn start(&mut self, cx: &mut Cx<'_>) {
        if self.states.is_empty() {
            return;
        }
        let share = cx.draw(Stream::MetricsPhase, 0);
        let period = cx.model().settings.metrics.resolution;
        self.scrape_phase = Span::from_secs_f64(period.secs_f64() * share);
        let periods = [self.settings.recommender_period, self.settings.updater_period];
        for (i, (period, event)) in
            periods.into_iter().zip([Event::Recommend, Event::Update]).enumerate()
        {
            let key = engine::draws::key(&[engine::draws::key_str("vpa"), i as u64]);
            let phase = period.secs_f64() * cx.draw(Stream::ControllerPhase, key);
            cx.after(Span::from_secs_f64(phase), wake(event));
        }
    }

    /// Handles one event.
    pub fn handle(&mut self, event: Event, cx: &mut Cx<'_>) {
        match event {
            Event::Recommend => {
                for i in 0..self.states.len() {
                    self.sample(i, cx);
                    self.recommend(i, cx);
                }
                cx.after(self.settings.recommender_period, wake(event));
            }
            Event::Update => {
                if cx.cloud().api_available() {
                    for i in 0..self.states.len() {
                        self.update(i, cx);
                    }
                }
                cx.after(self.settings.updater_period, wake(event));
            }
            Event::WorkloadCreated(w) => {
                let vpa = cx.model().workloads[cx.api().workloads[w].model].vpa;
                if let Some(state) = vpa.and_then(|v| self.states.get_mut(v.index())) {
                    state.workloads.push(w);
                }
            }
            Event::OomKilled(p) => self.oom_killed(p, cx),
            Event::Evict(p) => updater::evict(p, cx),
        }
    }

    /// The last recommendation of each container of a VPA, with the containers' names.
    #[must_use]
    pub fn recommendation<'m>(
        &self,
        vpa: Id<VpaModel>,
        model: &'m Model,
    ) -> Vec<(&'m str, Option<Recommendation>)> {
        let Some(state) = self.states.get(vpa.index()) else { return Vec::new() };
        let names = model.vpas[vpa].containers.iter().map(|c| c.name.as_str());
        names.zip(state.recommended.iter().copied()).collect()
    }

    /// Takes the samples of all pods.
    fn sample(&mut self, i: usize, cx: &Cx<'_>) {
        let metrics = &cx.model().settings.metrics;
        let Some(scrape) = usage::last_scrape(cx.now(), self.scrape_phase, metrics) else { return };
        let config = &self.settings.aggregation;
        let state = &mut self.states[i];
        let api = cx.api();
        state.pods.retain(|seen| api.pods.get(seen.pod).is_some());
        for id in pods_of(&state.workloads, api) {
            let Some(found) = usage::metrics(cx.world(), cx.model(), id, scrape) else { continue };
            let Some(template) = api.pods.get(id).map(|p| p.template) else { continue };
            let at = found.points.end;
            let places = places(&mut state.places, template, i, cx.model());
            let seen = seen_mut(&mut state.pods, id, state.aggregates.len());
            let newer = at > seen.last_cpu;
            for ((aggregate, window), place) in
                state.aggregates.iter_mut().zip(&mut seen.windows).zip(places)
            {
                let Some(place) = place.map(usize::from) else { continue };
                if newer {
                    aggregate.add_cpu(config, at, found.container_cores(place));
                }
                let bytes = found.container_memory(place);
                if let Some(change) = window.usage(at, bytes, config.memory_interval) {
                    aggregate.apply_memory(&change);
                }
            }
            seen.last_cpu = seen.last_cpu.max(at);
        }
    }

    /// The main container is the one whose limit was reached.
    fn oom_killed(&mut self, id: PodId, cx: &Cx<'_>) {
        let (api, model) = (cx.api(), cx.model());
        let Some(pod) = api.pods.get(id) else { return };
        let workload = api.sets[pod.set].workload;
        let Some(vpa) = model.workloads[api.workloads[workload].model].vpa else { return };
        let Some(state) = self.states.get_mut(vpa.index()) else { return };
        let config = &self.settings.aggregation;
        let at = pod.last_oom.map_or(cx.now(), |oom| oom.0);
        let views = api.container_views(pod, model);
        let Some(killed) = views.get(model.templates[pod.template].main) else { return };
        let Some(c) = model.vpas[vpa].container(killed.name) else { return };
        let seen = seen_mut(&mut state.pods, id, state.aggregates.len());
        let request = killed.requests.memory.unwrap_or(0);
        let change = seen.windows[c].oom(at, request, config.memory_interval, &config.oom);
        change.iter().for_each(|change| state.aggregates[c].apply_memory(change));
    }

    /// Works out the recommendation, and writes its targets when they change.
    fn recommend(&mut self, i: usize, cx: &mut Cx<'_>) {
        let vpa = Id::new(i as u32);
        let model = &cx.model().vpas[vpa];
        let state = &mut self.states[i];
        // Containers that are recommended for share the pod's minimum.
        let counts =
            |c: usize| state.aggregates[c].samples() > 0 && !model.containers[c].policy.off;
        let count = (0..model.containers.len()).filter(|&c| counts(c)).count();
        for (c, container) in model.containers.iter().enumerate() {
            state.recommended[c] =
                self.settings.recommender.recommend(&state.aggregates[c], count, &container.policy);
        }
        if count == 0 {
            return;
        }
        let targets = || state.recommended.iter().map(|r| r.map(|r| r.target));
        let written = cx.api().vpas[vpa].map(|id| cx.api().targets.get(id));
        // A write that was refused is repeated by the next loop.
        if written.is_none_or(|w| !w.containers.iter().copied().eq(targets())) {
            let targets = targets().collect();
            let targets = cx.intern_targets(targets);
            cx.submit(Client::Vpa, Request::RecommendVpa { vpa, targets });
        }
    }
}

impl State {
    fn new(vpa: &VpaModel, settings: &VpaSettings) -> Self {
        let aggregate = || ContainerAggregate::new(&settings.aggregation, SimTime::ZERO);
        Self {
            aggregates: vpa.containers.iter().map(|_| aggregate()).collect(),
            pods: Vec::new(),
            workloads: Vec::new(),
            recommended: vec![None; vpa.containers.len()],
            places: Vec::new(),
        }
    }

    fn seen(&self, pod: PodId) -> Option<&Seen> {
        let at = self.pods.binary_search_by_key(&slot(pod), |s| slot(s.pod)).ok()?;
        self.pods.get(at)
    }

    fn seen_mut(&mut self, pod: PodId) -> Option<&mut Seen> {
        let at = self.pods.binary_search_by_key(&slot(pod), |s| slot(s.pod)).ok()?;
        self.pods.get_mut(at)
    }
}

const fn slot(pod: PodId) -> (u32, u32) {
    (pod.slot(), pod.generation())
}

fn seen_mut(pods: &mut Vec<Seen>, pod: PodId, containers: usize) -> &mut Seen {
    let at = match pods.binary_search_by_key(&slot(pod), |s| slot(s.pod)) {
        Ok(at) => at,
        Err(at) => {
            let seen = Seen {
                pod,
                last_cpu: SimTime::ZERO,
                windows: smallvec::smallvec![MemoryWindow::default(); containers],
                resize_asked: SimTime::ZERO,
                infeasible: None,
            };
            pods.insert(at, seen);
            at
        }
    };
    &mut pods[at]
}

fn places<'s>(
    known: &'s mut Vec<(Id<Template>, Places)>,
    template: Id<Template>,
    vpa: usize,
    model: &Model,
) -> &'s Places {
    let at = known.iter().position(|(t, _)| *t == template).unwrap_or_else(|| {
        let uses = &model.templates[template].uses;
        let place = |name: &str| {
            let at = uses.iter().position(|u| u.name == name);
            at.and_then(|at| u8::try_from(at).ok())
        };
        let containers = &model.vpas[Id::new(vpa as u32)].containers;
        known.push((template, containers.iter().map(|c| place(&c.name)).collect()));
        known.len() - 1
    });
    &known[at].1
}

fn pods_of<'a>(workloads: &'a [Id<Workload>], api: &'a Api) -> impl Iterator<Item = PodId> + 'a {
    let sets = workloads.iter().flat_map(|&w| &api.workloads[w].sets);
    sets.flat_map(|&s| api.sets[s].pods.iter().copied())
}

//! VerticalPodAutoscaler: recommender and updater, each once a minute; admission is the control
//! plane's, from the recommendation written here.
//!
//! Samples are what metrics-server scraped last. The use of a pod is divided among its containers
//! by their CPU requests.

use crate::engine::{self, Cx, Stream};
use crate::policy::vpa::{
    AggregateConfig, Amounts, ContainerAggregate, ContainerPolicy, ContainerView, Group,
    InPlaceDecision, InPlaceView, MemoryWindow, Named, Priority, Recommendation, Recommender,
    Termination, UpdateConfig, UpdateMode, UpdatePod, admit, cap, eviction_allowed,
    in_place_decision, policy_for, priority, update_order,
};
use crate::units::{Id, SimTime, Span};
use crate::world::model::{Template, VpaModel};
use crate::world::shapes::ContainerShape;
use crate::world::{Api, Client, Model, Phase, Pod, PodId, Reason, Request, Workload, usage};
use std::collections::BTreeMap;

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
}

/// Recommender and updater.
#[derive(Clone, Debug)]
pub struct Vpa {
    aggregation: AggregateConfig,
    recommender: Recommender,
    update: UpdateConfig,
    scrape_phase: Span,
    states: Vec<State>,
}

#[derive(Clone, Debug)]
struct State {
    mode: UpdateMode,
    template: Id<Template>,
    names: Vec<String>,
    /// Share of the pod's use that each container has.
    shares: Vec<f64>,
    policies: Vec<ContainerPolicy>,
    aggregates: Vec<ContainerAggregate>,
    pods: BTreeMap<(u32, u32), Seen>,
    workloads: Vec<Id<Workload>>,
    recommended: Vec<Option<Recommendation>>,
}

/// A pod that gave samples.
#[derive(Clone, Debug)]
struct Seen {
    pod: PodId,
    last_cpu: SimTime,
    windows: Vec<MemoryWindow>,
    resize_asked: SimTime,
}

fn wake(event: Event) -> engine::Event {
    engine::Event::Vpa(event)
}

impl Vpa {
    /// One state for each VPA of the model.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        let aggregation = AggregateConfig::default();
        let states = model.vpas.iter().map(|(_, v)| state(v, model, &aggregation)).collect();
        Self {
            aggregation,
            recommender: Recommender::default(),
            update: UpdateConfig::default(),
            scrape_phase: Span::ZERO,
            states,
        }
    }

    /// Starts both loops, if there is a VPA.
    pub fn start(&mut self, cx: &mut Cx<'_>) {
        if self.states.is_empty() {
            return;
        }
        let settings = &cx.model().settings;
        let share = cx.draw(Stream::MetricsPhase, 0);
        self.scrape_phase = Span::from_secs_f64(settings.scrape_period.secs_f64() * share);
        let periods = [settings.vpa_recommender_period, settings.vpa_updater_period];
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
                cx.after(cx.model().settings.vpa_recommender_period, wake(event));
            }
            Event::Update => {
                if cx.cloud().api_available() {
                    for i in 0..self.states.len() {
                        self.update(i, cx);
                    }
                }
                cx.after(cx.model().settings.vpa_updater_period, wake(event));
            }
            Event::WorkloadCreated(w) => {
                let vpa = cx.model().workloads[cx.api().workloads[w].model].vpa;
                if let Some(state) = vpa.and_then(|v| self.states.get_mut(v.index())) {
                    state.workloads.push(w);
                }
            }
            Event::OomKilled(p) => self.oom_killed(p, cx),
        }
    }

    /// The last recommendation of each container of a VPA, with the containers' names.
    #[must_use]
    pub fn recommendation(&self, vpa: Id<VpaModel>) -> Vec<(&str, Option<Recommendation>)> {
        let Some(state) = self.states.get(vpa.index()) else { return Vec::new() };
        state.names.iter().map(String::as_str).zip(state.recommended.iter().copied()).collect()
    }

    /// Takes the samples of all pods.
    fn sample(&mut self, i: usize, cx: &Cx<'_>) {
        let period = cx.model().settings.scrape_period;
        let scrape = usage::last_scrape(cx.now(), self.scrape_phase, period);
        let config = &self.aggregation;
        let state = &mut self.states[i];
        let api = cx.api();
        state.pods.retain(|_, seen| api.pods.get(seen.pod).is_some());
        for id in pods_of(&state.workloads, api) {
            let cores = usage::cpu(cx.world(), cx.model(), id, scrape, period);
            let bytes = usage::memory(cx.world(), cx.model(), id, scrape);
            let seen = seen_mut(&mut state.pods, id, state.names.len());
            for (c, aggregate) in state.aggregates.iter_mut().enumerate() {
                let share = state.shares[c];
                if let Some(milli) = cores.filter(|_| scrape > seen.last_cpu) {
                    aggregate.add_cpu(config, scrape, milli as f64 / 1000.0 * share);
                }
                if let Some(bytes) = bytes {
                    let bytes = (bytes as f64 * share) as i64;
                    let change = seen.windows[c].usage(scrape, bytes, config.memory_interval);
                    change.iter().for_each(|change| aggregate.apply_memory(change));
                }
            }
            if cores.is_some() {
                seen.last_cpu = seen.last_cpu.max(scrape);
            }
        }
    }

    fn oom_killed(&mut self, id: PodId, cx: &Cx<'_>) {
        let Some(pod) = cx.api().pods.get(id) else { return };
        let workload = cx.api().sets[pod.set].workload;
        let vpa = cx.model().workloads[cx.api().workloads[workload].model].vpa;
        let Some(state) = vpa.and_then(|v| self.states.get_mut(v.index())) else { return };
        let config = &self.aggregation;
        let at = pod.last_oom.map_or(cx.now(), |oom| oom.0);
        let views = views(pod, &state.names, cx);
        let seen = seen_mut(&mut state.pods, id, state.names.len());
        // The largest container is the one whose limit was reached.
        let largest = (0..views.len())
            .max_by(|&a, &b| state.shares[a].total_cmp(&state.shares[b]).then(b.cmp(&a)));
        let Some(c) = largest else { return };
        let request = views[c].requests.memory.unwrap_or(0);
        let change = seen.windows[c].oom(at, request, config.memory_interval, &config.oom);
        change.iter().for_each(|change| state.aggregates[c].apply_memory(change));
    }

    /// Works out the recommendation, and writes it where pods would come out differently.
    fn recommend(&mut self, i: usize, cx: &mut Cx<'_>) {
        let state = &mut self.states[i];
        let count = state.names.len();
        for c in 0..count {
            state.recommended[c] =
                self.recommender.recommend(&state.aggregates[c], count, &state.policies[c]);
        }
        if state.recommended.iter().all(Option::is_none) {
            return;
        }
        let model = cx.model();
        let base = &model.templates[state.template];
        let views = template_views(base, &state.names);
        let containers = admitted(&views, state);
        let shape = cx.intern_shape(state.template, &containers);
        let vpa = Id::new(i as u32);
        // A write that was refused is repeated by the next loop.
        if cx.api().vpas[vpa] != Some(shape) {
            cx.submit(Client::Vpa, Request::RecommendVpa { vpa, shape });
        }
    }

    /// Evicts or resizes pods whose requests are off.
    fn update(&mut self, i: usize, cx: &mut Cx<'_>) {
        let state = &self.states[i];
        if !state.mode.updates() || state.recommended.iter().all(Option::is_none) {
            return;
        }
        for w in state.workloads.clone() {
            self.update_workload(i, w, cx);
        }
    }

    fn update_workload(&mut self, i: usize, workload: Id<Workload>, cx: &mut Cx<'_>) {
        let now = cx.now();
        let vpa = &cx.model().vpas[Id::new(i as u32)];
        let policy = vpa.object.spec.update_policy.clone().unwrap_or_default();
        let state = &self.states[i];
        let (mut live, mut pending) = (Vec::new(), 0);
        for id in pods_of(&[workload], cx.api()) {
            let Some(pod) = cx.api().pods.get(id).filter(|p| p.is_active()) else { continue };
            pending += i32::from(pod.phase == Phase::Pending);
            live.push(Candidate::new(id, pod, state, now, cx));
        }
        let mut group = Group::new(
            cx.api().workloads[workload].replicas as i32,
            live.len() as i32,
            pending,
            policy.min_replicas.unwrap_or(self.update.min_replicas),
            self.update.eviction_tolerance,
        );
        let pods: Vec<UpdatePod<'_>> = live.iter().map(Candidate::as_pod).collect();
        let order = update_order(&pods, &self.update);
        let mut wishes = Vec::new();
        for at in order {
            let candidate = &live[at];
            let Some(seen) = state.pods.get(&slot(candidate.id)) else { continue };
            let decision =
                in_place_decision(&candidate.view(seen, state, &group, &self.update, cx));
            match decision {
                InPlaceDecision::Approved => {
                    group.disrupt(candidate.pending);
                    wishes.push((candidate.id, true));
                }
                InPlaceDecision::Evict
                    if group.can_evict(candidate.pending)
                        && candidate.may_go(&policy.eviction_requirements, state, cx) =>
                {
                    group.disrupt(candidate.pending);
                    wishes.push((candidate.id, false));
                }
                _ => {}
            }
        }
        for (pod, resize) in wishes {
            self.ask(i, pod, resize, cx);
        }
    }

    fn ask(&mut self, i: usize, pod: PodId, resize: bool, cx: &mut Cx<'_>) {
        if !resize {
            cx.submit(Client::Vpa, Request::EvictPod { pod, reason: Reason::VpaEviction });
            return;
        }
        let now = cx.now();
        let state = &mut self.states[i];
        if let Some(seen) = state.pods.get_mut(&slot(pod)) {
            seen.resize_asked = now;
        }
        let Some(p) = cx.api().pods.get(pod) else { return };
        let containers = admitted(&views(p, &state.names, cx), state);
        let shape = cx.intern_shape(state.template, &containers);
        cx.submit(Client::Vpa, Request::ResizePod { pod, shape });
    }
}

/// A pod that the updater looks at.
struct Candidate {
    id: PodId,
    pending: bool,
    priority: Priority,
    age: Option<Span>,
    terminations: Vec<Termination>,
}

impl Candidate {
    fn new(id: PodId, pod: &Pod, state: &State, now: SimTime, cx: &Cx<'_>) -> Self {
        let views = views(pod, &state.names, cx);
        let capped = capped(&views, state);
        let terminations =
            pod.last_oom.map(|(_, run)| Termination { oom_killed: true, run, observed: true });
        Self {
            id,
            pending: pod.phase == Phase::Pending,
            priority: priority(&views, &capped, None),
            age: (pod.started != SimTime::NEVER).then(|| now.since(pod.started)),
            terminations: terminations.into_iter().collect(),
        }
    }

    fn as_pod(&self) -> UpdatePod<'_> {
        UpdatePod { priority: self.priority, age: self.age, terminations: &self.terminations }
    }

    fn view(
        &self,
        seen: &Seen,
        state: &State,
        group: &Group,
        config: &UpdateConfig,
        cx: &Cx<'_>,
    ) -> InPlaceView {
        // Before 1.33 clusters cannot resize; the updater falls back to eviction.
        let can_resize = cx.model().minor_version >= 33 || !state.mode.resizes();
        let restarts = cx.model().templates[state.template].restarts_on_resize;
        InPlaceView {
            mode: if can_resize { state.mode } else { UpdateMode::Recreate },
            pending: self.pending,
            known: true,
            resize: cx.machines().pod(self.id).and_then(|m| m.resize),
            since_last_attempt: cx.now().since(seen.resize_asked),
            group_disruptable: group.is_disruptable(),
            skip_disruption_budget: config.skip_disruption_budget,
            restarts_containers: restarts,
            last_infeasible: false,
            lower_than_last_infeasible: false,
        }
    }

    fn may_go(
        &self,
        requirements: &[crate::k8s::VpaEvictionRequirement],
        state: &State,
        cx: &Cx<'_>,
    ) -> bool {
        let Some(pod) = cx.api().pods.get(self.id) else { return false };
        let views = views(pod, &state.names, cx);
        eviction_allowed(requirements, &views, &capped(&views, state))
    }
}

const fn slot(pod: PodId) -> (u32, u32) {
    (pod.slot(), pod.generation())
}

fn seen_mut(pods: &mut BTreeMap<(u32, u32), Seen>, pod: PodId, containers: usize) -> &mut Seen {
    pods.entry(slot(pod)).or_insert_with(|| Seen {
        pod,
        last_cpu: SimTime::ZERO,
        windows: vec![MemoryWindow::default(); containers],
        resize_asked: SimTime::ZERO,
    })
}

fn pods_of<'a>(workloads: &'a [Id<Workload>], api: &'a Api) -> impl Iterator<Item = PodId> + 'a {
    let sets = workloads.iter().flat_map(|&w| &api.workloads[w].sets);
    sets.flat_map(|&s| api.sets[s].pods.iter().copied())
}

/// Requests and limits of the pod's containers.
fn views<'a>(pod: &Pod, names: &'a [String], cx: &Cx<'_>) -> Vec<ContainerView<'a>> {
    let Some(shape) = pod.shape else {
        return template_views(&cx.model().templates[pod.template], names);
    };
    let containers = &cx.api().shapes.get(shape).containers;
    let view = |(name, c): (&'a String, &ContainerShape)| ContainerView {
        name,
        requests: c.requests,
        limits: c.limits,
    };
    names.iter().zip(containers).map(view).collect()
}

fn template_views<'a>(template: &Template, names: &'a [String]) -> Vec<ContainerView<'a>> {
    let containers = &template.object.spec.containers;
    let view = |(name, c): (&'a String, &crate::k8s::Container)| ContainerView {
        name,
        requests: Amounts::lower(&c.resources.requests),
        limits: Amounts::lower(&c.resources.limits),
    };
    names.iter().zip(containers).map(view).collect()
}

/// The recommendations as far as they apply to a pod.
fn capped<'a>(views: &[ContainerView<'a>], state: &State) -> Vec<Named<'a, Recommendation>> {
    let named = views.iter().zip(&state.recommended);
    let named: Vec<Named<'a, Recommendation>> =
        named.filter_map(|(v, r)| r.map(|value| Named { container: v.name, value })).collect();
    let policy = |name: &str| {
        let at = state.names.iter().position(|n| n == name);
        at.map_or_else(ContainerPolicy::default, |at| state.policies[at])
    };
    cap(views, &named, policy, None, None)
}

/// What the containers get.
fn admitted(views: &[ContainerView<'_>], state: &State) -> Vec<ContainerShape> {
    let capped = capped(views, state);
    let one = |(i, v): (usize, &ContainerView<'_>)| {
        let Some(r) = capped.iter().find(|r| r.container == v.name) else {
            return ContainerShape { requests: v.requests, limits: v.limits };
        };
        let values = state.policies[i].controlled_values;
        let (requests, limits) = admit(v, r.value.target, values, Amounts::default());
        ContainerShape { requests, limits }
    };
    views.iter().enumerate().map(one).collect()
}

fn state(vpa: &VpaModel, model: &Model, config: &AggregateConfig) -> State {
    let spec = &vpa.object.spec;
    let template = model.workloads[vpa.target].template;
    let containers = &model.templates[template].object.spec.containers;
    let names: Vec<String> = containers.iter().map(|c| c.name.clone()).collect();
    let cpu = |c: &crate::k8s::Container| {
        c.resources.requests.get("cpu").map_or(0, |q| q.milli_value()).max(1) as f64
    };
    let all: f64 = containers.iter().map(cpu).sum();
    let mode = spec.update_policy.as_ref().and_then(|p| p.update_mode.as_deref());
    State {
        // Checked when the model was built.
        mode: UpdateMode::lower(mode).unwrap_or(UpdateMode::Off),
        template,
        shares: containers.iter().map(|c| cpu(c) / all.max(1.0)).collect(),
        policies: names.iter().map(|n| policy_for(spec.resource_policy.as_ref(), n)).collect(),
        aggregates: names.iter().map(|_| ContainerAggregate::new(config, SimTime::ZERO)).collect(),
        pods: BTreeMap::new(),
        workloads: Vec::new(),
        recommended: vec![None; names.len()],
        names,
    }
}

//! What a handler may see and do: read everything, ask the API server, wake itself later, draw.

use super::agenda::Agenda;
use super::draws::{Draws, Stream};
use super::event::Event;
use crate::policy::vpa::Amounts;
use crate::units::{Dist, Id, SimTime, Span};
use crate::world::model::Template;
use crate::world::recommendations::Targets;
use crate::world::shapes::{ContainerShape, Shape};
use crate::world::{Api, Change, Client, Cloud, Machines, Model, Request, World};

/// Requests on their way to the API server.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    slots: Vec<Option<(Client, Request)>>,
    free: Vec<u32>,
    limiters: [Limiter; Client::COUNT],
}

/// A client-side token bucket, as a generic cell rate algorithm: the time at which it is full.
#[derive(Clone, Copy, Debug, Default)]
struct Limiter {
    full_at: SimTime,
}

impl Requests {
    fn put(&mut self, client: Client, request: Request) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some((client, request));
            return slot;
        }
        self.slots.push(Some((client, request)));
        self.slots.len() as u32 - 1
    }

    /// Takes the request out of its slot.
    pub fn take(&mut self, slot: u32) -> Option<(Client, Request)> {
        let taken = self.slots.get_mut(slot as usize)?.take();
        if taken.is_some() {
            self.free.push(slot);
        }
        taken
    }

    /// How long the client must wait for a token; takes the token.
    fn wait(&mut self, client: Client, now: SimTime, (qps, burst): (f64, f64)) -> Span {
        if qps <= 0.0 {
            return Span::ZERO;
        }
        let per_token = Span::from_secs_f64(1.0 / qps);
        let depth = Span::from_secs_f64(burst.max(1.0) / qps);
        let limiter = &mut self.limiters[client.index()];
        let full = limiter.full_at.max(now) + per_token;
        limiter.full_at = full;
        full.since(now).saturating_sub(depth)
    }
}

/// The only right to write API objects; the control plane holds it.
#[derive(Clone, Debug)]
pub struct ApiWriter(());

impl ApiWriter {
    pub(super) const fn new() -> Self {
        Self(())
    }
}

/// What a handler may see and do.
pub struct Cx<'a> {
    pub(super) now: SimTime,
    pub(super) model: &'a Model,
    pub(super) world: &'a mut World,
    pub(super) agenda: &'a mut Agenda<Event>,
    pub(super) requests: &'a mut Requests,
    pub(super) changes: &'a mut Vec<Change>,
    pub(super) draws: &'a Draws,
}

impl<'a> Cx<'a> {
    /// The present.
    #[must_use]
    pub const fn now(&self) -> SimTime {
        self.now
    }
    /// The immutable input.
    #[must_use]
    pub const fn model(&self) -> &'a Model {
        self.model
    }
    /// API objects.
    #[must_use]
    pub const fn api(&self) -> &Api {
        &self.world.api
    }
    /// API objects, for the one who holds the right to write them.
    pub const fn api_mut(&mut self, _: &ApiWriter) -> &mut Api {
        &mut self.world.api
    }
    /// What AWS holds.
    #[must_use]
    pub const fn cloud(&self) -> &Cloud {
        &self.world.cloud
    }
    /// What AWS holds, for the component that owns the written part.
    pub const fn cloud_mut(&mut self) -> &mut Cloud {
        &mut self.world.cloud
    }
    /// What machines do.
    #[must_use]
    pub const fn machines(&self) -> &Machines {
        &self.world.machines
    }
    /// What machines do, for the component that owns the written part.
    pub const fn machines_mut(&mut self) -> &mut Machines {
        &mut self.world.machines
    }
    /// The shape of a template with these containers' requests and limits. Shapes are values: to
    /// know one changes no object.
    pub fn intern_shape(
        &mut self,
        template: Id<Template>,
        containers: &[ContainerShape],
    ) -> Id<Shape> {
        let base = &self.model.templates[template];
        self.world.api.shapes.intern(template, base, containers)
    }
    /// The row of a VPA's targets. Targets are values, as shapes are.
    pub fn intern_targets(&mut self, containers: Vec<Option<Amounts>>) -> Id<Targets> {
        self.world.api.targets.intern(containers)
    }
    /// Everything, read-only.
    #[must_use]
    pub const fn world(&self) -> &World {
        self.world
    }

    /// Asks the API server for a write: it is applied, or refused, after the client's rate limit
    /// and the API's latency.
    pub fn submit(&mut self, client: Client, request: Request) {
        let settings = &self.model.settings;
        let wait = self.requests.wait(client, self.now, settings.client_limit(client, self.model));
        let key = super::watch::request_key(self.world, &request);
        let latency = self.sample(&settings.api_latency, Stream::ApiLatency, key);
        let slot = self.requests.put(client, request);
        let event = crate::components::control_plane::Event::Apply(slot);
        self.agenda.push(self.now + wait + latency, Event::ControlPlane(event));
    }
    /// Takes a request that is due.
    pub fn take_request(&mut self, slot: u32) -> Option<(Client, Request)> {
        self.requests.take(slot)
    }
    /// Wakes somebody later.
    pub fn after(&mut self, span: Span, event: Event) {
        self.agenda.push(self.now + span, event);
    }
    /// Wakes somebody at an instant.
    pub fn at(&mut self, at: SimTime, event: Event) {
        self.agenda.push(at.max(self.now), event);
    }
    /// Tells that something was written.
    pub fn emit(&mut self, change: Change) {
        self.changes.push(change);
    }
    /// A uniform number in (0, 1) for one question about one entity.
    #[must_use]
    pub fn draw(&self, stream: Stream, key: u64) -> f64 {
        self.draws.uniform(stream, key)
    }
    /// Picks of EC2 among free addresses for one request, one after another.
    pub fn scatter(&self, request: u64) -> impl FnMut(u32) -> u32 + use<'a> {
        let (draws, mut turn) = (self.draws, 0);
        move |n| {
            turn += 1;
            let key = super::draws::key(&[request, turn]);
            draws.index(Stream::SubnetAddress, key, u64::from(n.max(1))) as u32
        }
    }
    /// An index below `n` for one question about one entity.
    #[must_use]
    pub fn pick(&self, stream: Stream, key: u64, n: u32) -> u32 {
        self.draws.index(stream, key, u64::from(n.max(1))) as u32
    }
    /// A random span for one question about one entity.
    #[must_use]
    pub fn sample(&self, dist: &Dist, stream: Stream, key: u64) -> Span {
        dist.sample_span(self.draws.uniform(stream, key))
    }
}

//! One run: the whole control flow of the simulator, in one place.

use super::agenda::Agenda;
use super::cx::{ApiWriter, Cx, Requests};
use super::digest::Digest;
use super::draws::Draws;
use super::event::Event;
use super::watch::fan_out;
use crate::components::{
    cluster_autoscaler::ClusterAutoscaler, control_plane::ControlPlane, ec2::Ec2, fargate::Fargate,
    faults::Faults, hpa::HpaController, karpenter::Karpenter, kubelet::Kubelets,
    load_balancers::LoadBalancers, node_groups::NodeGroups, node_lifecycle::NodeLifecycle,
    scheduler::Scheduler, traffic::Traffic, user::User, volumes::Volumes, vpa::Vpa,
    vpc_cni::VpcCni, workloads::Workloads,
};
use crate::observe::outcome::Diagnosis;
use crate::policy::kube_scheduler::Plugins;
use crate::units::SimTime;
use crate::world::{Change, Model, World};
use std::sync::Arc;

/// Reads the change log; never writes.
pub trait Observer {
    /// Is told of every change, after it was written, in order.
    fn observe(&mut self, now: SimTime, change: &Change, sim: &View<'_>);
}

/// What an observer may look at.
pub struct View<'a> {
    /// The state after the change.
    pub world: &'a World,
    /// The immutable input.
    pub model: &'a Model,
    /// The scheduler, for its reasons.
    pub scheduler: &'a Scheduler,
    /// The HPA controller, for its reasons.
    pub hpa: &'a HpaController,
    /// Cluster Autoscaler, for its reasons.
    pub cluster_autoscaler: &'a ClusterAutoscaler,
    /// Karpenter, for its reasons.
    pub karpenter: &'a Karpenter,
    /// Fargate, for its reasons.
    pub fargate: &'a Fargate,
    /// The CNI, for the pools of the nodes.
    pub vpc_cni: &'a VpcCni,
}

/// No observer at all.
impl Observer for () {
    fn observe(&mut self, _: SimTime, _: &Change, _: &View<'_>) {}
}

/// One run. A warmed-up run can be cloned for what-ifs.
#[derive(Clone)]
pub struct Sim {
    model: Arc<Model>,
    world: World,
    agenda: Agenda<Event>,
    requests: Requests,
    changes: Vec<Change>,
    draws: Draws,
    digest: Digest,
    events: u64,
    at_instant: (SimTime, u64),
    started: bool,
    components: Components,
}

#[derive(Clone)]
struct Components {
    control_plane: ControlPlane,
    scheduler: Scheduler,
    kubelets: Kubelets,
    workloads: Workloads,
    node_lifecycle: NodeLifecycle,
    hpa: HpaController,
    vpa: Vpa,
    cluster_autoscaler: ClusterAutoscaler,
    karpenter: Karpenter,
    ec2: Ec2,
    node_groups: NodeGroups,
    fargate: Fargate,
    vpc_cni: VpcCni,
    load_balancers: LoadBalancers,
    traffic: Traffic,
    volumes: Volumes,
    faults: Faults,
    user: User,
}

impl Sim {
    /// Replication `replication` of `model`, at its start.
    #[must_use]
    pub fn new(model: Arc<Model>, replication: u32) -> Self {
        Self::with_plugins(model, replication, Plugins::default())
    }

    /// The same, with a library user's plugins in kube-scheduler.
    #[must_use]
    pub fn with_plugins(model: Arc<Model>, replication: u32, plugins: Plugins) -> Self {
        let draws = Draws::new(model.seed, u64::from(replication));
        let components = Components {
            control_plane: ControlPlane::new(&model, ApiWriter::new()),
            scheduler: Scheduler::new(&model, plugins),
            kubelets: Kubelets::default(),
            workloads: Workloads::new(&model),
            node_lifecycle: NodeLifecycle::default(),
            hpa: HpaController::new(&model),
            vpa: Vpa::new(&model),
            cluster_autoscaler: ClusterAutoscaler::new(&model),
            karpenter: Karpenter::new(&model),
            ec2: Ec2::default(),
            node_groups: NodeGroups::default(),
            fargate: Fargate::default(),
            vpc_cni: VpcCni::new(&model),
            load_balancers: LoadBalancers::default(),
            traffic: Traffic::new(&model),
            volumes: Volumes::default(),
            faults: Faults::default(),
            user: User::default(),
        };
        Self {
            world: World::new(&model),
            model,
            agenda: Agenda::new(),
            requests: Requests::default(),
            changes: Vec::new(),
            draws,
            digest: Digest::default(),
            events: 0,
            at_instant: (SimTime::ZERO, 0),
            started: false,
            components,
        }
    }

    /// The same with every sync of every HPA done in full, also where it only repeats the last one:
    /// slower, and without any other effect.
    #[must_use]
    pub fn with_full_syncs(mut self) -> Self {
        self.components.hpa.sync_in_full();
        self
    }

    /// Runs to the end of the scenario. A bound that is reached ends the run with a diagnosis.
    pub fn run(&mut self, observer: &mut impl Observer) -> Option<Diagnosis> {
        self.run_until(SimTime::NEVER, observer)
    }

    /// Runs until everything up to `until`, or to the end of the scenario, has happened. Further
    /// calls, of a clone too, go on from there as if there had been no stop.
    pub fn run_until(&mut self, until: SimTime, observer: &mut impl Observer) -> Option<Diagnosis> {
        if !self.started {
            self.started = true;
            self.start(observer);
        }
        let end = until.min(SimTime::ZERO + self.model.duration);
        while let Some((now, event)) = self.agenda.pop_until(end) {
            if let Some(bound) = self.bound_reached(now) {
                return Some(self.diagnose(now, event, bound));
            }
            self.handle(now, event);
            self.publish(now, observer);
        }
        None
    }

    /// Everything is applied at the start: first the machines, then the objects.
    fn start(&mut self, observer: &mut impl Observer) {
        let now = SimTime::ZERO;
        let Self { model, world, agenda, requests, changes, draws, components: c, .. } = self;
        let mut cx = Cx { now, model, world, agenda, requests, changes, draws };
        let cx = &mut cx;
        c.control_plane.start(cx);
        c.ec2.start_subnets(cx);
        c.load_balancers.start(cx);
        c.ec2.start(cx);
        c.ec2.start_hybrid_nodes(cx);
        c.ec2.start_trace_nodes(cx);
        c.traffic.start(cx);
        c.control_plane.register_initial_nodes(cx);
        c.control_plane.create_initial_objects(cx);
        c.workloads.start(cx);
        c.hpa.start(cx);
        c.vpa.start(cx);
        c.cluster_autoscaler.start(cx);
        c.karpenter.start(cx);
        c.faults.start(cx);
        c.user.start(cx);
        self.publish(now, observer);
    }

    fn handle(&mut self, now: SimTime, event: Event) {
        self.events += 1;
        let Self { model, world, agenda, requests, changes, draws, components: c, .. } = self;
        let mut cx = Cx { now, model, world, agenda, requests, changes, draws };
        let cx = &mut cx;
        match event {
            Event::ControlPlane(e) => c.control_plane.handle(e, cx),
            Event::Scheduler(e) => c.scheduler.handle(e, cx),
            Event::Kubelet(e) => c.kubelets.handle(e, cx),
            Event::Workloads(e) => c.workloads.handle(e, cx),
            Event::NodeLifecycle(e) => c.node_lifecycle.handle(e, cx),
            Event::Hpa(e) => c.hpa.handle(e, cx),
            Event::Vpa(e) => c.vpa.handle(e, cx),
            Event::ClusterAutoscaler(e) => c.cluster_autoscaler.handle(e, cx),
            Event::Karpenter(e) => c.karpenter.handle(e, cx),
            Event::Ec2(e) => c.ec2.handle(e, cx),
            Event::NodeGroups(e) => c.node_groups.handle(e, cx),
            Event::Fargate(e) => c.fargate.handle(e, cx),
            Event::VpcCni(e) => c.vpc_cni.handle(e, cx),
            Event::LoadBalancers(e) => c.load_balancers.handle(e, cx),
            Event::Volumes(e) => c.volumes.handle(e, cx),
            Event::Traffic(e) => c.traffic.handle(e, cx),
            Event::Faults(e) => c.faults.handle(e, cx),
            Event::User(e) => c.user.handle(e, cx),
        }
    }

    /// Changes → digest, observers, watchers' agenda entries; then rows of gone pods are freed.
    fn publish(&mut self, now: SimTime, observer: &mut impl Observer) {
        let view = View {
            world: &self.world,
            model: &self.model,
            scheduler: &self.components.scheduler,
            hpa: &self.components.hpa,
            cluster_autoscaler: &self.components.cluster_autoscaler,
            karpenter: &self.components.karpenter,
            fargate: &self.components.fargate,
            vpc_cni: &self.components.vpc_cni,
        };
        for change in &self.changes {
            self.digest.change(now, change);
            observer.observe(now, change, &view);
            fan_out(*change, &self.world, &self.model, &mut |delay, event| {
                self.agenda.push(now + delay, event);
            });
        }
        for change in self.changes.drain(..) {
            if let Change::PodDeleted(pod) = change {
                self.world.api.forget_pod(pod);
            }
        }
    }

    /// Karpenter, for its reasons.
    #[must_use]
    pub const fn karpenter(&self) -> &Karpenter {
        &self.components.karpenter
    }

    fn bound_reached(&mut self, now: SimTime) -> Option<&'static str> {
        if self.at_instant.0 != now {
            self.at_instant = (now, 0);
        }
        self.at_instant.1 += 1;
        let limits = &self.model.limits;
        if self.at_instant.1 > limits.events_per_instant {
            return Some("events per instant");
        }
        if self.events >= limits.events_per_run {
            return Some("events per run");
        }
        if self.world.machines.attempts > limits.requests {
            return Some("requests per run");
        }
        (self.world.api.pods.len() > limits.pods).then_some("pods at once")
    }

    fn diagnose(&mut self, at: SimTime, event: Event, bound: &str) -> Diagnosis {
        let mut last_events = vec![format!("{event:?}")];
        while let Some((t, e)) = self.agenda.pop_until(at) {
            last_events.push(format!("{t} {e:?}"));
            if last_events.len() >= 20 {
                break;
            }
        }
        Diagnosis {
            at,
            bound: bound.to_owned(),
            component: event.component().to_owned(),
            object: format!("{event:?}"),
            last_events,
        }
    }

    /// Digest over all changes so far.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest.value()
    }
    /// Events handled so far.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }
    /// What an observer may look at, between two calls of [`Sim::run_until`].
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View {
            world: &self.world,
            model: &self.model,
            scheduler: &self.components.scheduler,
            hpa: &self.components.hpa,
            cluster_autoscaler: &self.components.cluster_autoscaler,
            karpenter: &self.components.karpenter,
            fargate: &self.components.fargate,
            vpc_cni: &self.components.vpc_cni,
        }
    }
    /// The state.
    #[must_use]
    pub const fn world(&self) -> &World {
        &self.world
    }
    /// Cluster Autoscaler, for its reasons.
    #[must_use]
    pub const fn cluster_autoscaler(&self) -> &ClusterAutoscaler {
        &self.components.cluster_autoscaler
    }
    /// The input.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }
}

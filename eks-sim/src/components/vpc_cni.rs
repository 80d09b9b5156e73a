//! VPC CNI daemons: one pool of pod addresses per node, on its real clocks.
//!
//! A sandbox asks for an address and gets one at once or not at all. The pool looks at itself
//! every five seconds; what it decides takes an EC2 call (an address or prefix under a second, an
//! interface several seconds). Between changes nothing is looked at, except when the passing of
//! time alone (cooldown, age of an interface, back-off) can change a decision.

use crate::engine::{self, Cx, Stream};
use crate::policy::vpc_cni::pool::{EniId, NewEni, Range};
use crate::policy::vpc_cni::{Action, Failure, Node as NodeView};
use crate::policy::vpc_cni::{CniConfig, EniLimits, Holding, Placement, Pool};
use crate::units::{Id, IdVec, SimTime, Span};
use crate::world::cloud::Subnet;
use crate::world::model::SubnetModel;
use crate::world::{Change, Model, Node, PodId};
use std::net::Ipv4Addr;

/// What can happen to the CNI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A node registered.
    NodeAdded(Id<Node>),
    /// A node's instance ended.
    NodeRemoved(Id<Node>),
    /// A sandbox needs an address.
    Assign(PodId),
    /// A pod's containers stopped.
    Release(PodId),
    /// A pass of the pool loop.
    Pass(Id<Node>),
    /// EC2 answered.
    Answered(Id<Node>),
}

/// All CNI daemons.
#[derive(Clone, Debug)]
pub struct VpcCni {
    config: CniConfig,
    nodes: IdVec<Node, Option<Daemon>>,
}

#[derive(Clone, Debug)]
struct Daemon {
    pool: Pool,
    config: CniConfig,
    limits: EniLimits,
    max_pods: i64,
    subnet: Id<SubnetModel>,
    key: u64,
    /// Start of its loop.
    since: SimTime,
    /// A pass at this time is on the agenda.
    next_pass: SimTime,
    in_flight: Option<InFlight>,
    last_shortage: Option<SimTime>,
    calls: u64,
}

#[derive(Clone, Debug)]
enum InFlight {
    Fill(EniId, Vec<Range>),
    Attach(u32, Vec<Range>),
}

fn wake(event: Event) -> engine::Event {
    engine::Event::VpcCni(event)
}

impl VpcCni {
    /// Daemons with the model's settings.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        let cni = &model.cni;
        let mut config = CniConfig::default();
        config.warm_eni_target = cni.warm_eni_target;
        config.warm_ip_target = cni.warm_ip_target;
        config.minimum_ip_target = cni.minimum_ip_target;
        config.warm_prefix_target = cni.warm_prefix_target;
        config.max_eni = cni.max_eni;
        config.prefix_delegation = cni.enable_prefix_delegation;
        config.ip_cooldown = Span::from_secs(u64::from(cni.ip_cooldown_period));
        Self { config, nodes: IdVec::new() }
    }

    /// Handles one event.
    pub fn handle(&mut self, event: Event, cx: &mut Cx<'_>) {
        match event {
            Event::NodeAdded(n) => self.node_added(n, cx),
            Event::NodeRemoved(n) => self.node_removed(n, cx),
            Event::Assign(p) => self.assign(p, cx),
            Event::Release(p) => self.release(p, cx),
            Event::Pass(n) => {
                if self.daemon(n).is_some_and(|d| d.next_pass <= cx.now()) {
                    self.pass(n, cx);
                }
            }
            Event::Answered(n) => self.answered(n, cx),
        }
    }

    /// The addresses of a node; `None` when it has no daemon, or no longer.
    #[must_use]
    pub fn pool(&self, node: Id<Node>) -> Option<&Pool> {
        Some(&self.nodes.get(node)?.as_ref()?.pool)
    }

    fn daemon(&mut self, node: Id<Node>) -> Option<&mut Daemon> {
        self.nodes.get_mut(node)?.as_mut()
    }

    fn node_added(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        let model = cx.model();
        let instance = &cx.cloud().instances[cx.api().nodes[node].instance];
        let group_type = instance.group_type(model);
        let Some(interfaces) = &group_type.instance_type.interfaces else { return };
        let nitro = group_type.instance_type.supports_prefixes();
        let config = self.config.on(nitro).unwrap_or_else(|_| self.config.clone());
        let primary = NewEni {
            subnet: instance.subnet.raw(),
            primary_address: instance.address,
            ..NewEni::default()
        };
        let daemon = Daemon {
            pool: Pool::new(&config, primary, cx.now()),
            config,
            limits: EniLimits {
                enis: interfaces.max_enis_default_card,
                ipv4_per_eni: interfaces.ipv4_per_eni,
            },
            max_pods: i64::from(group_type.max_pods),
            subnet: instance.subnet,
            key: instance.key,
            since: cx.now(),
            next_pass: SimTime::NEVER,
            in_flight: None,
            last_shortage: None,
            calls: 0,
        };
        while self.nodes.len() <= node.index() {
            self.nodes.push(None);
        }
        self.nodes[node] = Some(daemon);
        if cx.now() == SimTime::ZERO {
            // Nodes of the start have been up for long: their pools are at rest.
            while self.act(node, true, cx) {}
        } else {
            self.act(node, false, cx);
        }
        self.schedule(node, cx);
    }

    fn node_removed(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        let Some(daemon) = self.nodes.get_mut(node).and_then(Option::take) else { return };
        let space = &mut cx.cloud_mut().subnets[daemon.subnet].space;
        for eni in daemon.pool.enis() {
            // The primary interface's own address is the instance's: EC2 gives it back.
            if !eni.is_primary() {
                space.release(eni.facts().primary_address.into());
            }
            eni.ranges().for_each(|r| give_back(space, r));
        }
        match daemon.in_flight {
            Some(InFlight::Attach(own, ranges)) => {
                space.release(own.into());
                ranges.into_iter().for_each(|r| give_back(space, r));
            }
            Some(InFlight::Fill(_, ranges)) => {
                ranges.into_iter().for_each(|r| give_back(space, r));
            }
            None => {}
        }
        let pods = daemon.pool.pods() as u32;
        let subnet = &mut cx.cloud_mut().subnets[daemon.subnet];
        subnet.assigned = subnet.assigned.saturating_sub(pods);
        cx.emit(Change::SubnetChanged(daemon.subnet));
    }

    fn assign(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        let now = cx.now();
        let Some(p) = cx.api().pods.get(pod) else { return };
        let (key, Some(node)) = (p.key, p.node) else { return };
        let Some(daemon) = self.daemon(node) else {
            cx.emit(Change::PodAddressRefused(pod));
            return;
        };
        let prefix = daemon.config.prefix_delegation;
        let subnet = daemon.subnet;
        match daemon.pool.assign(prefix, key, now) {
            Ok(address) => {
                let raw = match address {
                    std::net::IpAddr::V4(v4) => u32::from(v4),
                    std::net::IpAddr::V6(_) => 0,
                };
                cx.cloud_mut().subnets[subnet].assigned += 1;
                if let Some(m) = cx.machines_mut().pod_mut(pod) {
                    m.address = Some(raw);
                    m.addressed = now;
                }
                cx.emit(Change::PodAddressed(pod));
                cx.emit(Change::SubnetChanged(subnet));
            }
            Err(_) => {
                if let Some(m) = cx.machines_mut().pod_mut(pod) {
                    m.refusals += 1;
                }
                cx.emit(Change::PodAddressRefused(pod));
            }
        }
        self.schedule(node, cx);
    }

    fn release(&mut self, pod: PodId, cx: &mut Cx<'_>) {
        let now = cx.now();
        let Some(p) = cx.api().pods.get(pod) else { return };
        let (key, Some(node)) = (p.key, p.node) else { return };
        let Some(daemon) = self.daemon(node) else { return };
        if daemon.pool.release(key, now).is_some() {
            let subnet = daemon.subnet;
            let row = &mut cx.cloud_mut().subnets[subnet];
            row.assigned = row.assigned.saturating_sub(1);
            if let Some(m) = cx.machines_mut().pod_mut(pod) {
                m.address = None;
            }
            cx.emit(Change::SubnetChanged(subnet));
            self.schedule(node, cx);
        }
    }

    fn pass(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        if let Some(d) = self.daemon(node) {
            d.next_pass = SimTime::NEVER;
            if d.in_flight.is_some() {
                return;
            }
        }
        let acted = self.act(node, false, cx);
        if acted {
            self.schedule(node, cx);
        } else {
            self.schedule_rest(node, cx);
        }
    }

    /// One step of the pool; at the start of the run without latency. True if something was done.
    fn act(&mut self, node: Id<Node>, at_once: bool, cx: &mut Cx<'_>) -> bool {
        let now = cx.now();
        let unschedulable =
            cx.api().nodes[node].has_taint(crate::world::nodes::SystemTaint::Unschedulable);
        let Some(Some(d)) = self.nodes.get_mut(node) else { return false };
        let Daemon { pool, config, limits, max_pods, subnet, .. } = d;
        let view = NodeView { unschedulable, ..NodeView::new(config, *limits, *max_pods) };
        let mut action = pool.next_action(&view, now);
        loop {
            match action {
                Action::FillEni { .. } | Action::AttachEni { .. } => {
                    match take(&action, config, &mut cx.cloud_mut().subnets[*subnet]) {
                        Ok(granted) => {
                            cx.emit(Change::SubnetChanged(*subnet));
                            d.in_flight = Some(granted);
                            d.calls += 1;
                            if at_once {
                                self.answered(node, cx);
                            } else {
                                answer_later(node, d, cx);
                            }
                            return true;
                        }
                        Err(failure) => {
                            cx.cloud_mut().subnets[*subnet].refusals += 1;
                            cx.emit(Change::SubnetExhausted(*subnet));
                            action = pool.failed(&view, &action, failure, now);
                            if action == Action::None {
                                d.last_shortage = Some(now);
                                return false;
                            }
                        }
                    }
                }
                Action::FreeRanges(ranges) => {
                    let dropped = pool.free(&ranges, now);
                    let space = &mut cx.cloud_mut().subnets[*subnet].space;
                    dropped.iter().for_each(|&(_, r)| give_back(space, r));
                    cx.emit(Change::SubnetChanged(*subnet));
                    return !dropped.is_empty();
                }
                Action::RemoveEni(id) => {
                    let Some(eni) = pool.remove(id) else { return false };
                    let space = &mut cx.cloud_mut().subnets[*subnet].space;
                    space.release(eni.facts().primary_address.into());
                    eni.ranges().for_each(|r| give_back(space, r));
                    cx.emit(Change::SubnetChanged(*subnet));
                    return true;
                }
                _ => return false,
            }
        }
    }

    fn answered(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        let now = cx.now();
        let Some(d) = self.daemon(node) else { return };
        match d.in_flight.take() {
            Some(InFlight::Fill(eni, ranges)) => {
                d.pool.filled(eni, &ranges);
            }
            Some(InFlight::Attach(own, ranges)) => {
                let facts =
                    NewEni { subnet: d.subnet.raw(), primary_address: own, ..NewEni::default() };
                d.pool.attached(facts, &ranges, now);
            }
            None => return,
        }
        if now > SimTime::ZERO {
            self.schedule(node, cx);
        }
    }

    /// Makes sure that a pass is on the agenda: the next of the loop.
    fn schedule(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        self.pass_after(node, cx.now(), cx);
    }

    /// Puts the first pass after `earliest` on the agenda, unless an earlier one is there.
    fn pass_after(&mut self, node: Id<Node>, earliest: SimTime, cx: &mut Cx<'_>) {
        let Some(d) = self.daemon(node) else { return };
        let period = (d.config.clocks.loop_sleep * 2).nanos().max(1);
        let passes = earliest.since(d.since).nanos() / period + 1;
        let at = d.since + Span::from_nanos(passes.saturating_mul(period));
        if at < d.next_pass {
            d.next_pass = at;
            cx.at(at, wake(Event::Pass(node)));
        }
    }

    /// Nothing to do now: when can the passing of time alone change that?
    fn schedule_rest(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        let now = cx.now();
        let Some(d) = self.daemon(node) else { return };
        let clocks = &d.config.clocks;
        let mut times: Vec<SimTime> = d.pool.next_rested().into_iter().collect();
        times.extend(d.pool.enis().iter().map(|e| e.attached_at() + clocks.eni_minimum_age));
        times.extend(d.last_shortage.map(|t| t + clocks.shortage_back_off));
        times.extend(d.pool.last_shrink().map(|t| t + clocks.shrink_interval));
        if let Some(next) = times.into_iter().filter(|&t| t >= now).min() {
            self.pass_after(node, next, cx);
        }
    }
}

fn answer_later(node: Id<Node>, d: &Daemon, cx: &mut Cx<'_>) {
    let settings = &cx.model().settings;
    let key = engine::draws::key(&[d.key, d.calls]);
    let wait = match d.in_flight {
        Some(InFlight::Attach(..)) => cx.sample(&settings.eni_attach, Stream::EniAttach, key),
        _ => cx.sample(&settings.address_assign, Stream::AddressAssign, key),
    };
    cx.after(wait, wake(Event::Answered(node)));
}

/// Takes what the action needs from the subnet, all or none.
fn take(action: &Action, config: &CniConfig, subnet: &mut Subnet) -> Result<InFlight, Failure> {
    let prefix = config.prefix_delegation;
    let (new_eni, count) = match action {
        Action::AttachEni { count } => (true, *count),
        Action::FillEni { count, .. } => (false, *count),
        _ => return Err(Failure::Other),
    };
    let space = &mut subnet.space;
    let needed = u32::from(new_eni) + if prefix { 0 } else { count };
    if space.free() < needed || prefix && space.free_blocks() < count {
        return Err(Failure::Shortage);
    }
    let mut own: Vec<Ipv4Addr> = Vec::new();
    let mut firsts: Vec<Ipv4Addr> = Vec::new();
    let at = &mut Placement::Sequential;
    if prefix {
        space.take_blocks(count, at, &mut firsts).map_err(|_| Failure::Shortage)?;
    } else {
        space.take(Holding::Secondary, count, at, &mut firsts).map_err(|_| Failure::Shortage)?;
    }
    let ranges: Vec<Range> = firsts.into_iter().map(|first| Range { first, prefix }).collect();
    if new_eni && space.take(Holding::EniPrimary, 1, at, &mut own).is_err() {
        ranges.iter().for_each(|&r| give_back(space, r));
        return Err(Failure::Shortage);
    }
    Ok(match (action, own.first()) {
        (Action::FillEni { eni, .. }, _) => InFlight::Fill(*eni, ranges),
        (_, Some(&own)) => InFlight::Attach(own.into(), ranges),
        (_, None) => InFlight::Attach(0, ranges),
    })
}

fn give_back(space: &mut crate::policy::vpc_cni::AddressSpace, range: Range) {
    if range.prefix {
        space.release_block(range.first);
    } else {
        space.release(range.first);
    }
}

//! One node's daemon: what it knows, how it begins and ends, when it looks at its pool.

use super::branch::Branching;
use super::operation::Operation;
use super::{Event, VpcCni, alive, wake};
use crate::engine::{self, Cx, Stream};
use crate::policy::vpc_cni::pool::{NewEni, Range};
use crate::policy::vpc_cni::subnet_choice::is_excluded;
use crate::policy::vpc_cni::{AddressSpace, CniConfig, EniLimits, Holding, Node as NodeView, Pool};
use crate::units::{Id, SimTime, Span};
use crate::world::cloud::Instance;
use crate::world::machines::Machine;
use crate::world::model::{Model, SubnetModel};
use crate::world::nodes::SystemTaint;
use crate::world::{Change, Node};
use std::net::{Ipv4Addr, Ipv6Addr};

#[derive(Clone, Debug)]
pub(super) struct Daemon {
    pub(super) pool: Pool,
    /// Whether its type supports prefixes: which settings act.
    pub(super) nitro: bool,
    pub(super) limits: EniLimits,
    pub(super) max_pods: i64,
    /// The instance's own subnet.
    pub(super) subnet: Id<SubnetModel>,
    /// That of its ENIConfig, under custom networking.
    pub(super) eni_config: Option<Id<SubnetModel>>,
    pub(super) key: u64,
    /// Last end of an action (or the phase of the loop): passes follow at distances of the loop's period.
    pub(super) since: SimTime,
    /// A pass at this time is on the agenda.
    pub(super) next_pass: SimTime,
    /// What it does with EC2 right now.
    pub(super) operation: Option<Operation>,
    pub(super) calls: u64,
    /// The machine was told to end: nothing more is done, addresses stay until it is gone.
    pub(super) ended: bool,
    /// Addresses that are on its interfaces and no longer in its pool.
    pub(super) rest: Vec<(Id<SubnetModel>, Range)>,
    /// How often it started without getting an interface for pods.
    pub(super) failed_starts: u32,
    /// First look for leftovers of other nodes.
    pub(super) first_sweep: SimTime,
    pub(super) branching: Option<Branching>,
}

impl Daemon {
    /// The node as the pool's policy sees it.
    pub(super) fn view<'c>(&self, config: &'c CniConfig, unschedulable: bool) -> NodeView<'c> {
        NodeView {
            unschedulable,
            can_trunk: self.branching.is_some(),
            ..NodeView::new(config, self.limits, self.max_pods)
        }
    }

    /// Everything it holds except the instance's primary address.
    pub(super) fn holdings(
        &self,
    ) -> impl Iterator<Item = (Id<SubnetModel>, Ipv4Addr, Holding)> + '_ {
        let of_pool = self.pool.enis().iter().flat_map(|eni| {
            let subnet = Id::new(eni.facts().subnet);
            let own = (!eni.is_primary()).then(|| eni.facts().primary_address.into());
            let own = own.map(|address| (subnet, address, Holding::EniPrimary));
            own.into_iter().chain(eni.ranges().flat_map(move |r| addresses(subnet, r)))
        });
        let in_flight = self.operation.iter().flat_map(Operation::holdings);
        let rest = self.rest.iter().flat_map(|&(s, r)| addresses(s, r));
        let branches = self.branching.iter().flat_map(Branching::holdings);
        of_pool.chain(in_flight).chain(rest).chain(branches)
    }

    /// Gives everything back except the instance's primary address, which EC2 does.
    fn give_back(&self, cx: &mut Cx<'_>) {
        let mut touched: Vec<Id<SubnetModel>> = Vec::new();
        let subnets = &mut cx.cloud_mut().subnets;
        for (subnet, address, _) in self.holdings() {
            // Addresses of a /28 come back one by one; the count of whole blocks follows.
            subnets[subnet].space.release(address);
            if !touched.contains(&subnet) {
                touched.push(subnet);
            }
        }
        touched.into_iter().for_each(|s| cx.emit(Change::SubnetChanged(s)));
    }

    /// Adds `by` to the pods that have addresses of each subnet.
    fn count_out(&self, cx: &mut Cx<'_>) {
        for eni in self.pool.enis().iter().filter(|e| e.pods() > 0) {
            let subnet = Id::new(eni.facts().subnet);
            let row = &mut cx.cloud_mut().subnets[subnet];
            row.assigned = row.assigned.saturating_sub(eni.pods());
            cx.emit(Change::SubnetChanged(subnet));
        }
    }
}

/// The addresses of a range.
pub(super) fn addresses(
    subnet: Id<SubnetModel>,
    range: Range,
) -> impl Iterator<Item = (Id<SubnetModel>, Ipv4Addr, Holding)> {
    let (size, holding) =
        if range.prefix { (16, Holding::Prefix) } else { (1, Holding::Secondary) };
    let first = u32::from(range.first);
    (first..first + size).map(move |a| (subnet, a.into(), holding))
}

pub(super) fn give_back(space: &mut AddressSpace, range: Range) {
    if range.prefix {
        space.release_block(range.first);
    } else {
        space.release(range.first);
    }
}

impl VpcCni {
    pub(super) fn node_added(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        let model = cx.model();
        let instance = cx.api().nodes[node].instance;
        let group_type = cx.cloud().instances[instance].group_type(model);
        let Some(interfaces) = group_type.instance_type.interfaces.as_ref() else { return };
        if !model.network.cni_enabled {
            return;
        }
        let nitro = group_type.instance_type.supports_prefixes();
        let config = &self.configs[usize::from(nitro)];
        let mut daemon = new_daemon(node, instance, nitro, config, cx);
        if config.pod_eni
            && interfaces.trunking == Some(true)
            && config.eni_limit(daemon.limits) > 1
        {
            let subnet = daemon.eni_config.unwrap_or(daemon.subnet);
            daemon.branching = Some(Branching::new(subnet, interfaces.branch_enis.unwrap_or(0)));
        }
        while self.nodes.len() <= node.index() {
            self.nodes.push(None);
        }
        self.nodes[node] = Some(daemon);
        if !self.leaked.is_empty() {
            self.plan_sweep(cx);
        }
        let at_start = cx.now() == SimTime::ZERO;
        self.trunk(node, cx);
        if at_start {
            // Nodes of the start have been up for long: their pools are at rest.
            while self.act(node, true, cx) {}
            self.draw_phase(node, cx);
        } else {
            if config_needs_interface(&self.configs[usize::from(nitro)]) {
                machine_mut(node, cx).network_missing = true;
            }
            self.act(node, false, cx);
        }
        self.schedule(node, cx);
    }

    /// Daemons that have been up for long do not all look at the same instant.
    fn draw_phase(&mut self, node: Id<Node>, cx: &Cx<'_>) {
        let now = cx.now();
        let Self { configs, nodes, .. } = self;
        let Some(Some(d)) = nodes.get_mut(node) else { return };
        let period = configs[usize::from(d.nitro)].clocks.loop_sleep * 2;
        let luck = cx.draw(Stream::ControllerPhase, engine::draws::key(&[d.key, 2]));
        d.since = now + Span::from_secs_f64(period.secs_f64() * luck);
    }

    /// The machine was told to end, or its death was found out.
    pub(super) fn node_removed(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        self.abandon(node, cx);
        if let Some(d) = self.daemon(node).filter(|d| !d.ended) {
            d.ended = true;
            d.count_out(cx);
        }
    }

    /// The machine is gone, and its interfaces with it.
    pub(super) fn node_gone(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        if let Some(daemon) = self.nodes.get_mut(node).and_then(Option::take) {
            daemon.give_back(cx);
        }
    }

    /// A pass of the pool loop, if it is the one that was planned last.
    pub(super) fn pass(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        let now = cx.now();
        let Some(d) = self.daemon(node).filter(|d| d.next_pass <= now) else { return };
        d.next_pass = SimTime::NEVER;
        if d.operation.is_some() || d.ended || !alive(node, cx) {
            return;
        }
        if !self.act(node, false, cx) {
            self.schedule_rest(node, cx);
        }
    }

    /// Makes sure that a pass is on the agenda: the next of the loop.
    pub(super) fn schedule(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        self.pass_after(node, cx.now(), cx);
    }

    /// Puts the first pass after `earliest` on the agenda, unless an earlier one is there. While
    /// the daemon is busy there is none: the loop waits for EC2.
    pub(super) fn pass_after(&mut self, node: Id<Node>, earliest: SimTime, cx: &mut Cx<'_>) {
        let Self { configs, nodes, .. } = self;
        let Some(Some(d)) = nodes.get_mut(node) else { return };
        let config = &configs[usize::from(d.nitro)];
        if d.next_pass <= earliest || d.operation.is_some() || d.ended {
            return;
        }
        if !d.pool.may_act(&d.view(config, false)) {
            return; // a pass would find nothing to do
        }
        let period = (config.clocks.loop_sleep * 2).nanos().max(1);
        let passes = match earliest < d.since {
            true => 0,
            false => earliest.since(d.since).nanos() / period + 1,
        };
        let at = d.since + Span::from_nanos(passes.saturating_mul(period));
        if at < d.next_pass {
            d.next_pass = at;
            cx.at(at, wake(Event::Pass(node)));
        }
    }

    /// Nothing to do now: when can the passing of time alone change that?
    pub(super) fn schedule_rest(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        let now = cx.now();
        let Self { configs, nodes, .. } = self;
        let Some(Some(d)) = nodes.get_mut(node) else { return };
        let clocks = &configs[usize::from(d.nitro)].clocks;
        let ages = d.pool.enis().iter().map(|e| e.attached_at() + clocks.eni_minimum_age);
        let next = ages
            .chain(d.pool.next_rested())
            .chain(d.pool.last_shortage().map(|t| t + clocks.shortage_back_off))
            .chain(d.pool.last_shrink().map(|t| t + clocks.shrink_interval))
            .filter(|&t| t >= now)
            .min();
        if let Some(next) = next {
            self.pass_after(node, next, cx);
        }
    }
}

/// Whether a node has no network for pods before its first further interface.
fn config_needs_interface(config: &CniConfig) -> bool {
    config.custom_networking && !config.ipv6
}

fn new_daemon(
    node: Id<Node>,
    id: Id<Instance>,
    nitro: bool,
    config: &CniConfig,
    cx: &Cx<'_>,
) -> Daemon {
    let (model, now) = (cx.model(), cx.now());
    let instance = &cx.cloud().instances[id];
    let group_type = instance.group_type(model);
    let limits = group_type.instance_type.interfaces.as_ref().map_or(
        EniLimits { enis: 1, ipv4_per_eni: 1 },
        |i| EniLimits { enis: i.max_enis_default_card, ipv4_per_eni: i.ipv4_per_eni },
    );
    let primary = NewEni {
        subnet: instance.subnet.raw(),
        primary_address: instance.address,
        excluded: is_excluded(&model.subnets[instance.subnet].tag_pairs()),
        ..NewEni::default()
    };
    let pool = if config.ipv6 {
        Pool::ipv6(config, primary, prefix_of(id), now)
    } else {
        Pool::new(config, primary, now)
    };
    let jitter = cx.draw(Stream::ControllerPhase, engine::draws::key(&[instance.key, 1]));
    let jitter = Span::from_secs_f64(model.settings.leaked_enis[1].secs_f64() * jitter);
    Daemon {
        pool,
        nitro,
        limits,
        max_pods: i64::from(group_type.max_pods),
        subnet: instance.subnet,
        eni_config: config.custom_networking.then(|| eni_config(node, cx)).flatten(),
        key: instance.key,
        since: now,
        next_pass: SimTime::NEVER,
        operation: None,
        calls: 0,
        ended: false,
        rest: Vec::new(),
        failed_starts: 0,
        first_sweep: now + jitter,
        branching: None,
    }
}

/// A /80 of its own for each instance.
fn prefix_of(instance: Id<Instance>) -> Ipv6Addr {
    Ipv6Addr::from(0x2600_1f00_u128 << 96 | u128::from(instance.raw()) << 48)
}

/// Subnet of the ENIConfig that the node's label names; without the label the one called
/// `default`.
fn eni_config(node: Id<Node>, cx: &Cx<'_>) -> Option<Id<SubnetModel>> {
    let network = &cx.model().network;
    let labels = &cx.api().nodes[node].object.metadata.labels;
    let name = labels.get(&network.eni_config_label).map_or("default", String::as_str);
    network.eni_configs.iter().find(|c| c.name == name).map(|c| c.subnet)
}

pub(super) fn machine_mut<'c>(node: Id<Node>, cx: &'c mut Cx<'_>) -> &'c mut Machine {
    let machines = &mut cx.machines_mut().machines;
    while machines.len() <= node.index() {
        machines.push(Machine::default());
    }
    &mut machines[node]
}

/// Whether the node is cordoned, which stops growth.
pub(super) fn is_cordoned(node: Id<Node>, cx: &Cx<'_>) -> bool {
    cx.api().nodes[node].has_taint(SystemTaint::Unschedulable)
}

/// Tags of a subnet say that pods get no address of it.
pub(super) fn excluded(subnet: Id<SubnetModel>, model: &Model) -> bool {
    is_excluded(&model.subnets[subnet].tag_pairs())
}

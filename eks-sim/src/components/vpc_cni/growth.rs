//! Growing and shrinking: the pool's wishes carried out against EC2.

use super::daemon::{Daemon, excluded, give_back, is_cordoned, machine_mut};
use super::operation::{Kind, Operation, Stage};
use super::{Event, VpcCni, alive, wake};
use crate::engine::{self, Cx, Stream};
use crate::policy::vpc_cni::ec2_api::{MAX_ATTEMPTS, pause};
use crate::policy::vpc_cni::pool::{NewEni, Range};
use crate::policy::vpc_cni::subnet_choice::{Candidate, subnets_to_try};
use crate::policy::vpc_cni::{Action, CniConfig, Failure, Holding, Placement};
use crate::units::{Id, Span};
use crate::world::model::SubnetModel;
use crate::world::{Change, Node};
use std::net::Ipv4Addr;

/// What a step led to.
enum Outcome {
    /// The next step is on the agenda, or everything was done at once.
    Waits,
    /// It is done.
    Done,
    /// It did not succeed.
    Failed,
}

impl VpcCni {
    /// One step of the pool; at the start of the run without latency. True if something is done.
    pub(super) fn act(&mut self, node: Id<Node>, at_once: bool, cx: &mut Cx<'_>) -> bool {
        let now = cx.now();
        let cordoned = is_cordoned(node, cx);
        let Self { configs, nodes, .. } = self;
        let Some(Some(d)) = nodes.get_mut(node) else { return false };
        let view = d.view(&configs[usize::from(d.nitro)], cordoned);
        let action = d.pool.next_action(&view, now);
        self.begin(node, action, at_once, cx)
    }

    fn begin(&mut self, node: Id<Node>, action: Action, at_once: bool, cx: &mut Cx<'_>) -> bool {
        let now = cx.now();
        let Some(d) = self.daemon(node) else { return false };
        let operation = match action {
            Action::FillEni { eni, .. } => Operation::new(Kind::Fill(eni), action),
            Action::AttachEni { .. } => Operation::new(Kind::Attach, action),
            Action::FreeRanges(ref ranges) => {
                let of = |id| d.pool.eni(id).map_or(d.subnet, |e| Id::new(e.facts().subnet));
                let subnets: Vec<_> = ranges.iter().map(|&(id, _)| of(id)).collect();
                let dropped = d.pool.free(ranges, now);
                if dropped.is_empty() {
                    return false;
                }
                let mut operation = Operation::new(Kind::Free, Action::None);
                let held = ranges.iter().zip(subnets).filter(|(r, _)| dropped.contains(r));
                operation.ranges = held.map(|(&(_, range), s)| (s, range)).collect();
                operation
            }
            Action::RemoveEni(id) => {
                let Some(eni) = d.pool.remove(id) else { return false };
                let subnet = Id::new(eni.facts().subnet);
                let mut operation = Operation::new(Kind::Remove, Action::None);
                operation.own = Some((subnet, eni.facts().primary_address));
                operation.ranges = eni.ranges().map(|r| (subnet, r)).collect();
                operation
            }
            _ => return false,
        };
        d.operation = Some(operation);
        d.calls += 1;
        self.proceed(node, at_once, cx)
    }

    /// The next step of what the daemon does.
    pub(super) fn step(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        if self.daemon(node).is_none_or(|d| d.operation.is_none()) {
            return;
        }
        if !alive(node, cx) {
            return self.abandon(node, cx);
        }
        self.proceed(node, false, cx);
    }

    /// Goes on until EC2 has to be waited for; true unless it failed.
    fn proceed(&mut self, node: Id<Node>, at_once: bool, cx: &mut Cx<'_>) -> bool {
        loop {
            let outcome = match self.call(node, at_once, cx) {
                Some(true) => self.advance(node, at_once, cx),
                Some(false) => return true,
                None => Outcome::Failed,
            };
            match outcome {
                Outcome::Waits if at_once => {}
                Outcome::Waits => return true,
                Outcome::Done => {
                    self.finished(node, at_once, cx);
                    return true;
                }
                Outcome::Failed => {
                    self.failed(node, cx);
                    return false;
                }
            }
        }
    }

    /// Makes the calls of the stage. `Some(false)` while a throttled one waits, `None` when it was
    /// refused too often.
    fn call(&mut self, node: Id<Node>, at_once: bool, cx: &mut Cx<'_>) -> Option<bool> {
        let Self { configs, nodes, .. } = self;
        let d = nodes.get_mut(node)?.as_mut()?;
        let config = &configs[usize::from(d.nitro)];
        let discovery = config.subnet_discovery && !config.custom_networking;
        let now = cx.now();
        let limits = &cx.model().settings.ec2_limits;
        let (key, serial) = (d.key, d.calls);
        let operation = d.operation.as_mut()?;
        let calls = operation.calls(discovery);
        while let Some(&call) = calls.get(usize::from(operation.call)) {
            if at_once || cx.cloud_mut().ec2_api.take(call, limits, now) {
                operation.call += 1;
                operation.attempt = 0;
                continue;
            }
            cx.emit(Change::ApiThrottled(node));
            operation.attempt += 1;
            if operation.attempt >= MAX_ATTEMPTS {
                return None;
            }
            let turn = [key, serial, u64::from(operation.call), u64::from(operation.attempt)];
            let luck = cx.draw(Stream::Backoff, engine::draws::key(&turn));
            cx.after(pause(operation.attempt - 1, luck), wake(Event::Step(node)));
            return Some(false);
        }
        Some(true)
    }

    /// The calls of a stage have been made: their effect, and what comes next.
    fn advance(&mut self, node: Id<Node>, at_once: bool, cx: &mut Cx<'_>) -> Outcome {
        let Some(d) = self.daemon(node) else { return Outcome::Failed };
        let key = engine::draws::key(&[d.key, d.calls]);
        let Some(operation) = d.operation.as_mut() else { return Outcome::Failed };
        let settings = &cx.model().settings;
        let wait = match (operation.kind, operation.stage) {
            (_, Stage::Settle) => return Outcome::Done,
            (Kind::Fill(_) | Kind::Attach, Stage::Ask) => return self.grant(node, at_once, cx),
            (Kind::Free, _) => {
                operation.stage = Stage::Settle;
                cx.sample(&settings.address_assign, Stream::AddressAssign, key)
            }
            (Kind::Remove, Stage::Ask) => {
                operation.stage = Stage::Second;
                let pause = cx.model().network.cni.clocks.detach_pause;
                cx.sample(&settings.eni_detach, Stream::EniAttach, key) + pause
            }
            (Kind::Attach, _) => {
                operation.stage = Stage::Settle;
                operation.later
            }
            // Deleted.
            _ => return Outcome::Done,
        };
        operation.call = 0;
        if !at_once {
            cx.after(wait, wake(Event::Step(node)));
        }
        Outcome::Waits
    }

    /// Asks the subnets for addresses; on a shortage goes on as the pool's policy has it.
    fn grant(&mut self, node: Id<Node>, at_once: bool, cx: &mut Cx<'_>) -> Outcome {
        let now = cx.now();
        let cordoned = is_cordoned(node, cx);
        let Self { configs, nodes, .. } = self;
        let Some(Some(d)) = nodes.get_mut(node) else { return Outcome::Failed };
        let config = &configs[usize::from(d.nitro)];
        let view = d.view(config, cordoned);
        loop {
            let Some(mut operation) = d.operation.take() else { return Outcome::Failed };
            for subnet in subnets(d, &operation, config, cx) {
                if take(d, subnet, &mut operation, config, cx) {
                    let key = engine::draws::key(&[d.key, d.calls]);
                    let wait = granted(&mut operation, key, cx);
                    d.operation = Some(operation);
                    if !at_once {
                        cx.after(wait, wake(Event::Step(node)));
                    }
                    return Outcome::Waits;
                }
                cx.cloud_mut().subnets[subnet].refusals += 1;
                cx.emit(Change::SubnetExhausted(subnet));
            }
            let action = d.pool.failed(&view, &operation.action, Failure::Shortage, now);
            let kind = match action {
                Action::FillEni { eni, .. } => Kind::Fill(eni),
                Action::AttachEni { .. } => Kind::Attach,
                _ => return Outcome::Failed,
            };
            d.operation = Some(Operation::new(kind, action));
            d.calls += 1;
            if !at_once {
                // Another request: it needs a token of its own.
                return self.again(node, cx);
            }
        }
    }

    /// The first stage of the operation anew.
    fn again(&mut self, node: Id<Node>, cx: &mut Cx<'_>) -> Outcome {
        match self.call(node, false, cx) {
            Some(true) => self.grant(node, false, cx),
            Some(false) => Outcome::Waits,
            None => Outcome::Failed,
        }
    }

    /// EC2 has done it, and the daemon sees it.
    fn finished(&mut self, node: Id<Node>, at_once: bool, cx: &mut Cx<'_>) {
        let now = cx.now();
        let Some(d) = self.daemon(node) else { return };
        let Some(operation) = d.operation.take() else { return };
        d.since = now;
        let model = cx.model();
        match operation.kind {
            Kind::Fill(eni) => {
                let ranges: Vec<Range> = operation.ranges.iter().map(|(_, r)| *r).collect();
                d.pool.filled(eni, &ranges);
            }
            Kind::Attach => {
                let ranges: Vec<Range> = operation.ranges.iter().map(|(_, r)| *r).collect();
                if let Some((subnet, own)) = operation.own {
                    let facts = NewEni {
                        subnet: subnet.raw(),
                        primary_address: own,
                        excluded: excluded(subnet, model),
                        ..NewEni::default()
                    };
                    d.pool.attached(facts, &ranges, now);
                }
                d.failed_starts = 0;
                network_ready(node, cx);
            }
            Kind::Free | Kind::Remove => release(&operation, cx),
        }
        if at_once {
            return;
        }
        if operation.kind == Kind::Remove || !self.remove_extra(node, cx) {
            self.schedule(node, cx);
        }
    }

    /// The same pass may give an interface back.
    fn remove_extra(&mut self, node: Id<Node>, cx: &mut Cx<'_>) -> bool {
        let now = cx.now();
        let Self { configs, nodes, .. } = self;
        let Some(Some(d)) = nodes.get_mut(node) else { return false };
        let view = d.view(&configs[usize::from(d.nitro)], false);
        let Some(extra) = d.pool.extra_eni(&view, now) else { return false };
        self.begin(node, Action::RemoveEni(extra), false, cx)
    }

    /// It did not succeed. Addresses of an interface that could not be attached or deleted are
    /// left over until the sweep.
    fn failed(&mut self, node: Id<Node>, cx: &mut Cx<'_>) {
        let now = cx.now();
        self.abandon(node, cx);
        let Some(d) = self.daemon(node) else { return };
        d.since = now;
        if now == crate::units::SimTime::ZERO {
            return;
        }
        if machine_mut(node, cx).network_missing {
            // The daemon does not come up without an interface for pods: kubelet starts it again,
            // each time later, and it has forgotten the shortage.
            let settings = &cx.model().settings;
            let doubled = settings.restart_backoff * (1_u64 << d.failed_starts.min(20));
            let wait = doubled.min(settings.restart_backoff_max);
            d.failed_starts = d.failed_starts.saturating_add(1);
            d.pool.forget_shortage();
            d.next_pass = now + wait;
            cx.after(wait, wake(Event::Pass(node)));
            return;
        }
        self.schedule(node, cx);
    }
}

/// What EC2 gave: how long until the next step.
fn granted(operation: &mut Operation, key: u64, cx: &mut Cx<'_>) -> Span {
    let settings = &cx.model().settings;
    operation.call = 0;
    if operation.kind != Kind::Attach {
        operation.stage = Stage::Settle;
        return cx.sample(&settings.address_assign, Stream::AddressAssign, key);
    }
    operation.stage = Stage::Second;
    let all = cx.sample(&settings.eni_attach, Stream::EniAttach, key);
    let created = Span::from_secs_f64(all.secs_f64() * settings.eni_create_share);
    operation.later = all.saturating_sub(created);
    created
}

/// Where the operation's addresses may come from, in order.
fn subnets(
    d: &Daemon,
    operation: &Operation,
    config: &CniConfig,
    cx: &Cx<'_>,
) -> Vec<Id<SubnetModel>> {
    let model = cx.model();
    if let Kind::Fill(eni) = operation.kind {
        return d.pool.eni(eni).map(|e| Id::new(e.facts().subnet)).into_iter().collect();
    }
    let zone = model.subnets[d.subnet].zone;
    let here = model.subnets.iter().filter(|(_, s)| s.zone == zone);
    let tags: Vec<(Id<SubnetModel>, Vec<(&str, &str)>)> =
        here.map(|(id, s)| (id, s.tag_pairs())).collect();
    let candidates: Vec<Candidate<'_, Id<SubnetModel>>> = tags
        .iter()
        .map(|(id, tags)| Candidate {
            subnet: *id,
            tags,
            free: cx.cloud().subnets[*id].space.free(),
            is_node_subnet: *id == d.subnet,
        })
        .collect();
    subnets_to_try(config, &candidates, d.eni_config)
}

/// Takes what the operation needs from the subnet, all or none.
fn take(
    d: &Daemon,
    subnet: Id<SubnetModel>,
    operation: &mut Operation,
    config: &CniConfig,
    cx: &mut Cx<'_>,
) -> bool {
    let prefix = config.prefix_delegation;
    let (new_eni, count) = match operation.action {
        Action::AttachEni { count } => (true, count),
        Action::FillEni { count, .. } => (false, count),
        _ => return false,
    };
    let mut below = cx.scatter(engine::draws::key(&[d.key, d.calls, u64::from(subnet.raw())]));
    let mut at = match cx.model().network.random_placement {
        true => Placement::Random(&mut below),
        false => Placement::Sequential,
    };
    let space = &mut cx.cloud_mut().subnets[subnet].space;
    let mut own: Vec<Ipv4Addr> = Vec::new();
    let mut firsts: Vec<Ipv4Addr> = Vec::new();
    let taken = if prefix {
        space.take_blocks(count, &mut at, &mut firsts)
    } else {
        space.take(Holding::Secondary, count, &mut at, &mut firsts)
    };
    if taken.is_err() {
        return false;
    }
    let ranges: Vec<Range> = firsts.into_iter().map(|first| Range { first, prefix }).collect();
    if new_eni && space.take(Holding::EniPrimary, 1, &mut at, &mut own).is_err() {
        ranges.iter().for_each(|&r| give_back(space, r));
        return false;
    }
    operation.own = own.first().map(|&a| (subnet, a.into()));
    operation.ranges = ranges.into_iter().map(|r| (subnet, r)).collect();
    cx.emit(Change::SubnetChanged(subnet));
    true
}

/// Everything of the operation is free again.
pub(super) fn release(operation: &Operation, cx: &mut Cx<'_>) {
    let mut last = None;
    for (subnet, address, _) in operation.holdings() {
        cx.cloud_mut().subnets[subnet].space.release(address);
        if last != Some(subnet) {
            last = Some(subnet);
            cx.emit(Change::SubnetChanged(subnet));
        }
    }
}

/// The node has an interface for pods: if it waited for that, it may become Ready.
fn network_ready(node: Id<Node>, cx: &mut Cx<'_>) {
    let machine = machine_mut(node, cx);
    if machine.network_missing {
        machine.network_missing = false;
        cx.emit(Change::NodeNetworkReady(node));
    }
}

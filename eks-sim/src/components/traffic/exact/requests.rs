//! The life of a request.

use super::{Entry, Exact, States};
use crate::components::traffic::{Event, wake};
use crate::engine::{Cx, Stream, draws};
use crate::policy::traffic::RetryPolicy;
use crate::policy::traffic::request_queue::draw_work;
use crate::policy::traffic::retry::Tokens;
use crate::units::{Id, SimTime};
use crate::world::model::{ServiceModel, TrafficModel};

/// A request on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    service: Id<ServiceModel>,
    /// Identity.
    key: u64,
    /// The request that makes this call; none from outside.
    parent: Option<u32>,
    /// When it came first, and when this attempt began.
    first: SimTime,
    began: SimTime,
    /// Zone in which it was served.
    zone: u32,
    /// Calls of the present entry of the list still to make, and the next entry.
    calls_left: u16,
    next_call: u16,
    attempt: u8,
    /// A call of it failed.
    failed: bool,
}

/// Something that a request does at once.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// It goes to a queue.
    Attempt(u32),
    /// It makes its next call.
    Call(u32),
    /// It ends, well or not.
    Finish(u32, bool),
}

/// Requests by slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    rows: Vec<Request>,
    free: Vec<u32>,
    /// Attempts so far.
    pub(super) attempts: u64,
}

impl Requests {
    pub(super) fn enter(
        &mut self,
        service: Id<ServiceModel>,
        key: u64,
        parent: Option<u32>,
        now: SimTime,
    ) -> u32 {
        let (calls_left, next_call, attempt, zone, failed) = (0, 0, 0, 0, false);
        let (first, began) = (now, now);
        let row = Request {
            service,
            key,
            parent,
            first,
            began,
            zone,
            calls_left,
            next_call,
            attempt,
            failed,
        };
        if let Some(slot) = self.free.pop() {
            self.rows[slot as usize] = row;
            return slot;
        }
        self.rows.push(row);
        self.rows.len() as u32 - 1
    }

    fn get(&self, slot: u32) -> Request {
        self.rows[slot as usize]
    }
}

fn traffic<'m>(service: Id<ServiceModel>, cx: &Cx<'m>) -> Option<&'m TrafficModel> {
    cx.model().services[service].traffic.as_ref()
}

impl Exact {
    /// Does what is to be done at this instant.
    pub(super) fn run(&mut self, states: &States, cx: &mut Cx<'_>) {
        while let Some(step) = self.steps.pop() {
            match step {
                Step::Attempt(slot) => self.attempt(slot, states, cx),
                Step::Call(slot) => self.call(slot, cx),
                Step::Finish(slot, well) => self.finish(slot, well, cx),
            }
        }
        cx.machines_mut().attempts = self.requests.attempts;
    }

    /// It has waited for what is no work, or for its next attempt.
    pub(in super::super) fn go_on(
        &mut self,
        slot: u32,
        again: bool,
        states: &States,
        cx: &mut Cx<'_>,
    ) {
        self.steps.push(if again { Step::Attempt(slot) } else { Step::Call(slot) });
        self.run(states, cx);
    }

    fn attempt(&mut self, slot: u32, states: &States, cx: &mut Cx<'_>) {
        let now = cx.now();
        let row = &mut self.requests.rows[slot as usize];
        (row.began, row.next_call, row.calls_left, row.failed) = (now, 0, 0, false);
        let request = *row;
        self.requests.attempts += 1;
        let entry = &mut self.services[request.service];
        entry.present += 1;
        entry.seen.attempts += 1;
        let (model, attempt) = (cx.model(), u64::from(request.attempt));
        // One more than the limit ends the run; a circle of repetitions must not go on until then.
        if self.requests.attempts > model.limits.requests {
            return self.steps.push(Step::Finish(slot, false));
        }
        let Some(traffic) = traffic(request.service, cx) else { return };
        let Some((lane, zone)) = self.choose(&request, traffic, states, cx) else {
            self.services[request.service].seen.refused += 1;
            return self.steps.push(Step::Finish(slot, false));
        };
        let uniform = cx.draw(Stream::ServiceTime, draws::key(&[request.key, attempt]));
        let work = draw_work(traffic.service_cv, uniform);
        self.requests.rows[slot as usize].zone = zone;
        if self.lanes[lane as usize].queue.offer(now, slot, work) {
            self.schedule(lane, cx);
        } else {
            self.steps.push(Step::Finish(slot, false));
        }
    }

    /// The queue it goes to, and the zone in which it is served: any endpoint with the same
    /// probability, or one of its caller's zone. None if there is no endpoint, or the chosen one
    /// does not work.
    fn choose(
        &mut self,
        request: &Request,
        traffic: &TrafficModel,
        states: &States,
        cx: &Cx<'_>,
    ) -> Option<(u32, u32)> {
        let state = &states[request.service];
        let entry = &mut self.services[request.service];
        let key = draws::key(&[request.key, u64::from(request.attempt), 1]);
        let caller = request.parent.map(|p| self.requests.rows[p as usize].zone);
        if state.lanes.len() > 1 {
            let local = caller
                .and_then(|zone| Some((zone, state.lanes.get(zone as usize)?)))
                .filter(|(_, lane)| lane.endpoints > 0);
            let (zone, alive, place) = match local {
                Some((zone, lane)) => {
                    (zone, lane.alive, cx.pick(Stream::LoadBalancer, key, lane.endpoints))
                }
                None => {
                    let listed = |l: &super::super::Lane| l.endpoints;
                    let all: u32 = state.lanes.iter().map(listed).sum();
                    if all == 0 {
                        return None;
                    }
                    let place = cx.pick(Stream::LoadBalancer, key, all);
                    let (zone, place) = zone_of(place, state.lanes.iter().map(listed));
                    entry.seen.cross_zone += u64::from(caller.is_some());
                    (zone, state.lanes.get(zone as usize)?.alive, place)
                }
            };
            return (place < alive).then(|| Some((*entry.lanes.get(zone as usize)?, zone)))?;
        }
        let lane = state.lanes.first().filter(|l| l.endpoints > 0)?;
        let place = cx.pick(Stream::LoadBalancer, key, lane.endpoints);
        // Endpoints that do not work stand last.
        if place >= lane.alive {
            return None;
        }
        let (slot, zone) = if traffic.own_queues {
            let slot = *entry.lanes.get(place as usize)?;
            (slot, self.lanes[slot as usize].zone)
        } else {
            (*entry.lanes.first()?, zone_of(place, state.alive_in.iter().copied()).0)
        };
        entry.seen.cross_zone += u64::from(caller.is_some_and(|c| c != zone));
        Some((slot, zone))
    }

    /// A worker is done with it.
    pub(super) fn served(&mut self, slot: u32, cx: &mut Cx<'_>) {
        let service = self.requests.get(slot).service;
        let outside = self.services[service].outside;
        if outside.is_zero() {
            self.steps.push(Step::Call(slot));
        } else {
            cx.after(outside, wake(Event::GoOn(slot, false)));
        }
    }

    fn call(&mut self, slot: u32, cx: &mut Cx<'_>) {
        let request = self.requests.get(slot);
        let Some(traffic) = traffic(request.service, cx) else { return };
        let row = &mut self.requests.rows[slot as usize];
        while row.calls_left == 0 {
            let Some(call) = traffic.calls.get(usize::from(row.next_call)) else {
                let well = !row.failed;
                return self.steps.push(Step::Finish(slot, well));
            };
            row.next_call += 1;
            let key = draws::key(&[row.key, u64::from(row.attempt), u64::from(row.next_call)]);
            let uniform = cx.draw(Stream::Arrival, key);
            let whole = call.per_request.floor();
            let more = uniform < call.per_request - whole;
            row.calls_left = whole as u16 + u16::from(more);
        }
        row.calls_left -= 1;
        let position = row.next_call - 1;
        let key = draws::key(&[
            row.key,
            u64::from(row.attempt),
            u64::from(position) + 1,
            u64::from(row.calls_left) + 1,
        ]);
        let Some(call) = traffic.calls.get(usize::from(position)) else { return };
        if let Some(budget) = call.retry.budget
            && let Some(tokens) =
                self.services[request.service].call_tokens.get_mut(usize::from(position))
        {
            tokens.deposit(&budget, cx.now());
        }
        let child = self.requests.enter(call.to, key, Some(slot), cx.now());
        self.steps.push(Step::Attempt(child));
    }

    fn finish(&mut self, slot: u32, well: bool, cx: &mut Cx<'_>) {
        let now = cx.now();
        let request = self.requests.get(slot);
        let entry = &mut self.services[request.service];
        entry.present -= 1;
        if well {
            entry.seen.done(now.since(request.began));
        } else if self.tries_again(slot, cx) {
            return;
        }
        self.requests.free.push(slot);
        match request.parent {
            Some(parent) => {
                self.requests.rows[parent as usize].failed |= !well;
                self.steps.push(Step::Call(parent));
            }
            None => self.services[request.service].seen.answer(well, now.since(request.first)),
        }
    }

    /// Whether a failed request has another attempt; it is then on the agenda.
    fn tries_again(&mut self, slot: u32, cx: &mut Cx<'_>) -> bool {
        let request = self.requests.get(slot);
        let Some(policy) = self.policy(&request, cx) else { return false };
        let attempt = u32::from(request.attempt) + 1;
        if attempt > policy.most || self.requests.attempts > cx.model().limits.requests {
            return false;
        }
        if let Some(budget) = policy.budget {
            let now = cx.now();
            let granted = self.tokens(&request).is_none_or(|t| t.withdraw(&budget, now));
            if !granted {
                return false;
            }
        }
        self.requests.rows[slot as usize].attempt = attempt as u8;
        let key = draws::key(&[request.key, u64::from(attempt)]);
        let pause = policy.pause(attempt, cx.draw(Stream::Backoff, key));
        if pause.is_zero() {
            self.steps.push(Step::Attempt(slot));
        } else {
            cx.after(pause, wake(Event::GoOn(slot, true)));
        }
        true
    }

    /// How whoever sent it tries again.
    fn policy(&self, request: &Request, cx: &Cx<'_>) -> Option<RetryPolicy> {
        match request.parent {
            None => traffic(request.service, cx).map(|t| t.retry),
            Some(parent) => {
                let caller = self.requests.get(parent);
                let position = usize::from(caller.next_call.checked_sub(1)?);
                Some(traffic(caller.service, cx)?.calls.get(position)?.retry)
            }
        }
    }

    fn tokens(&mut self, request: &Request) -> Option<&mut Tokens> {
        match request.parent {
            None => Some(&mut self.services[request.service].tokens),
            Some(parent) => {
                let caller = self.requests.get(parent);
                let position = usize::from(caller.next_call.checked_sub(1)?);
                let entry: &mut Entry = &mut self.services[caller.service];
                entry.call_tokens.get_mut(position)
            }
        }
    }
}

/// Zone of the endpoint at this place, if they stand in order of their zones, and its place there.
fn zone_of(mut place: u32, count: impl Iterator<Item = u32>) -> (u32, u32) {
    for (zone, here) in count.enumerate() {
        if place < here {
            return (zone as u32, place);
        }
        place -= here;
    }
    (0, 0)
}

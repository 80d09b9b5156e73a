//! The observer of every run: summary metrics, time series, cost, subnets.
//!
//! Everything is updated on change; nothing is sampled by events. A point of a time series is the
//! state after all changes up to its instant.

mod cost;
mod latency;
mod lines;
mod network;
mod pods;
mod reasons;
mod service;

use super::detail::DetailRecorder;
use super::integral::Integral;
use super::metrics::{self, Stat};
use super::outcome::{Diagnosis, Outcome};
use crate::engine::{Observer, View};
use crate::study::stats::quantile_sorted;
use crate::units::{Id, SimTime, Span};
use crate::world::cloud::InstanceState;
use crate::world::{Change, Model, Node, NodeCondition, Reason, World};
use lines::Recorder;
use network::Network;
use pods::Pods;
use reasons::Reasons;
use service::Services;
use std::collections::BTreeMap;

/// Collects the outcome of one replication.
#[derive(Debug)]
pub struct Collector {
    pods: Pods,
    services: Services,
    network: Network,
    recorder: Recorder,
    reasons: Reasons,
    detail: Option<DetailRecorder>,
    nodes: Nodes,
    api: Integral,
    hpa_scalings: u64,
    balancers_refused: u64,
    oom_kills: u64,
    throttled: u64,
    jobs: Jobs,
    warm: SimTime,
    end: SimTime,
}

#[derive(Debug)]
struct Nodes {
    ready: Integral,
    allocatable_cpu: Integral,
    allocatable_memory: Integral,
    /// Nodes that count as Ready.
    is_ready: Vec<bool>,
    launched: u64,
    terminated: u64,
    refused: u64,
    failures: u64,
    /// Spot instances with a notice.
    notices: u64,
    /// Updates under way, and the longest and the failed ones of those that ended.
    updates: BTreeMap<u32, SimTime>,
    longest_update: Option<Span>,
    failed_updates: u64,
    /// Ready nodes of each group.
    of_group: Vec<i64>,
}

#[derive(Debug, Default)]
struct Jobs {
    succeeded: u64,
    failed: u64,
    seconds: Vec<f64>,
}

impl Collector {
    /// A collector for one replication; `detail` keeps the full record.
    #[must_use]
    pub fn new(model: &Model, detail: bool) -> Self {
        let warm = SimTime::ZERO + model.warmup;
        let mut api = Integral::new(warm);
        api.set(SimTime::ZERO, 1.0);
        Self {
            pods: Pods::new(model, warm),
            services: Services::new(model, warm),
            network: Network::new(model, warm),
            recorder: Recorder::new(model),
            reasons: Reasons::default(),
            detail: detail.then(|| DetailRecorder::new(model)),
            nodes: Nodes {
                ready: Integral::new(warm),
                allocatable_cpu: Integral::new(warm),
                allocatable_memory: Integral::new(warm),
                is_ready: Vec::new(),
                launched: 0,
                terminated: 0,
                refused: 0,
                failures: 0,
                notices: 0,
                updates: BTreeMap::new(),
                longest_update: None,
                failed_updates: 0,
                of_group: vec![0; model.groups.len()],
            },
            api,
            hpa_scalings: 0,
            balancers_refused: 0,
            oom_kills: 0,
            throttled: 0,
            jobs: Jobs::default(),
            warm,
            end: SimTime::ZERO + model.duration,
        }
    }

    /// Looks once more at what no change tells of, after the last one.
    pub fn look_at_end(&mut self, view: &View<'_>) {
        if let Some(detail) = &mut self.detail {
            detail.look_at_nodes(view);
        }
    }

    /// The outcome, at the end of the run or where it was stopped.
    #[must_use]
    pub fn finish(
        mut self,
        replication: u32,
        world: &World,
        model: &Model,
        (digest, events): (u64, u64),
        diagnosis: Option<Diagnosis>,
    ) -> Outcome {
        let end = diagnosis.as_ref().map_or(self.end, |d| d.at);
        self.recorder.advance(
            self.end,
            true,
            &self.pods,
            &self.services,
            &self.nodes,
            &mut self.network,
            world,
            model,
        );
        let bill = cost::bill(world, model, self.warm, end);
        let hours = end.since(self.warm).secs_f64() / 3600.0;
        let mut values: BTreeMap<String, f64> = BTreeMap::new();
        let mut put = |name: &str, value: f64| {
            values.insert(name.to_owned(), value);
        };
        let used = self.services.cpu_used(end);
        self.pods.finish(end, world, model, &mut put);
        self.services.finish(end, world, &mut put);
        let subnets = self.network.finish(end, world, model, &mut put);
        let monthly = if hours > 0.0 { 730.0 / hours } else { 0.0 };
        let (requested_cpu, requested_memory) = self.pods.requested(end);
        let (cpu, _, _) = self.nodes.allocatable_cpu.finish(end);
        let (memory, _, _) = self.nodes.allocatable_memory.finish(end);
        let (_, nodes_mean, nodes_max) = self.nodes.ready.finish(end);
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { f64::NAN };
        put("nodes_mean", nodes_mean);
        put("nodes_max", nodes_max);
        put("node_hours", bill.node_hours);
        put("instances_launched", self.nodes.launched as f64);
        put("instances_terminated", self.nodes.terminated as f64);
        put("launch_failures", self.nodes.refused as f64);
        put("node_failures", self.nodes.failures as f64);
        put("spot_interruptions", self.nodes.notices as f64);
        let under_way = self.nodes.updates.values().map(|&since| end.since(since));
        let longest = under_way.chain(self.nodes.longest_update).max();
        put("node_group_update_seconds_max", longest.map_or(f64::NAN, |s| s.secs_f64()));
        put("node_group_update_failures", self.nodes.failed_updates as f64);
        put("cpu_requested_ratio", share(requested_cpu, cpu));
        put("memory_requested_ratio", share(requested_memory, memory));
        let idle = self.pods.idle(end);
        put("cpu_used_ratio", share(used * 1000.0 + idle, cpu));
        put("hpa_scalings", self.hpa_scalings as f64);
        put("load_balancers_refused", self.balancers_refused as f64);
        put("oom_kills", self.oom_kills as f64);
        put("ec2_calls_throttled", self.throttled as f64);
        let total = bill.total();
        put("cost_usd", total.usd());
        put("cost_usd_per_month", total.usd() * monthly);
        let filled = share(requested_cpu, cpu).max(share(requested_memory, memory));
        let unfilled = if filled.is_finite() { (1.0 - filled).clamp(0.0, 1.0) } else { 0.0 };
        put("waste_usd_per_month", bill.nodes.usd() * monthly * unfilled);
        let (_, available, _) = self.api.finish(end);
        put("api_availability", available);
        put("jobs_succeeded", self.jobs.succeeded as f64);
        put("jobs_failed", self.jobs.failed as f64);
        let (_, replicas_mean, replicas_max) = self.recorder.scaled_replicas(end);
        put("replicas_mean", replicas_mean);
        put("replicas_max", replicas_max);
        put_stats(&mut put, "job_seconds", &mut self.jobs.seconds);
        let values = metrics::columns()
            .iter()
            .map(|c| values.get(&c.name()).copied().unwrap_or(f64::NAN))
            .collect();
        let series = self.recorder.into_series();
        let mut detail = self.detail.map(|d| d.finish(end, world, model));
        if let Some(detail) = &mut detail {
            detail.subnets = network::tracks(&subnets, &series);
        }
        Outcome {
            replication,
            digest,
            events,
            diagnosis,
            values,
            series,
            cost: bill.lines,
            subnets,
            detail,
            pods_bound: self.pods.bound_users,
            reasons: self.reasons.finish(end),
        }
    }

    fn node_changed(&mut self, now: SimTime, node: Id<Node>, v: &View<'_>) {
        let row = &v.world.api.nodes[node];
        let is = row.exists() && row.condition == NodeCondition::Ready;
        if self.nodes.is_ready.len() <= node.index() {
            self.nodes.is_ready.resize(node.index() + 1, false);
        }
        let was = core::mem::replace(&mut self.nodes.is_ready[node.index()], is);
        if was != is {
            let sign = if is { 1.0 } else { -1.0 };
            let group = v.world.cloud.instances[row.instance].group;
            self.nodes.of_group[group.index()] += if is { 1 } else { -1 };
            self.nodes.ready.add(now, sign);
            self.nodes.allocatable_cpu.add(now, sign * row.allocatable_cpu.raw() as f64);
            self.nodes.allocatable_memory.add(now, sign * row.allocatable_memory.raw() as f64);
        }
    }

    fn count(&mut self, now: SimTime, change: &Change, v: &View<'_>) {
        let counts = now >= self.warm;
        match *change {
            Change::NodeRegistered(n)
            | Change::NodeConditionChanged(n)
            | Change::NodeDeleted(n) => {
                self.node_changed(now, n, v);
            }
            Change::InstanceRequested(_) => {
                self.nodes.launched += u64::from(counts && now > SimTime::ZERO);
            }
            Change::InstanceTerminated(_) => self.nodes.terminated += u64::from(counts),
            Change::InstanceCrashed(i) => {
                let running = v.world.cloud.instances[i].state == InstanceState::Running;
                self.nodes.failures += u64::from(counts && running);
            }
            Change::SpotNotice(_) => self.nodes.notices += u64::from(counts),
            Change::NodeGroupUpdateBegan(g) => {
                self.nodes.updates.insert(g.raw(), now);
            }
            Change::NodeGroupUpdateEnded(g, well) => {
                let lasted = self.nodes.updates.remove(&g.raw()).map(|since| now.since(since));
                self.nodes.longest_update = self.nodes.longest_update.max(lasted);
                self.nodes.failed_updates += u64::from(!well);
            }
            Change::LaunchRefused(..) => self.nodes.refused += u64::from(counts),
            Change::ApiAvailability(up) => self.api.set(now, f64::from(u8::from(up))),
            Change::WorkloadScaled(_, Some(_)) => self.hpa_scalings += u64::from(counts),
            Change::PodOomKilled(_) => self.oom_kills += u64::from(counts),
            Change::LoadBalancerRefused(_) => self.balancers_refused += u64::from(counts),
            Change::ApiThrottled(_) => self.throttled += u64::from(counts),
            Change::JobFinished(job, ok) if counts => {
                let state = v.world.api.workloads[job].job.as_ref();
                if ok {
                    self.jobs.succeeded += 1;
                    self.jobs.seconds.extend(state.map(|s| now.since(s.started).secs_f64()));
                } else {
                    self.jobs.failed += 1;
                }
            }
            Change::PodDeleting(_, reason) if counts => match reason {
                Reason::NodeScaleDown
                | Reason::NodeDisrupted
                | Reason::TaintEviction
                | Reason::SpotInterruption
                | Reason::VpaEviction
                | Reason::Drained => {
                    self.pods.evictions += 1;
                }
                Reason::Preempted => self.pods.preemptions += 1,
                _ => {}
            },
            _ => {}
        }
    }
}

impl Observer for Collector {
    fn observe(&mut self, now: SimTime, change: &Change, view: &View<'_>) {
        // The points before now hold the state before this change.
        self.recorder.advance(
            now,
            false,
            &self.pods,
            &self.services,
            &self.nodes,
            &mut self.network,
            view.world,
            view.model,
        );
        self.count(now, change, view);
        self.pods.observe(now, change, view);
        self.reasons.observe(now, change, view);
        self.services.observe(now, change, view);
        self.network.observe(now, change, view);
        self.recorder.observe(now, change, view);
        if let Some(detail) = &mut self.detail {
            detail.observe(now, change, view);
        }
    }
}

/// Puts all statistics of `values` (sorted here) under `name`.
fn put_stats(put: &mut impl FnMut(&str, f64), name: &str, values: &mut [f64]) {
    values.sort_by(f64::total_cmp);
    for stat in Stat::ALL {
        let quantile = |p| quantile_sorted(values, p);
        let value = match stat {
            Stat::Mean if values.is_empty() => None,
            Stat::Mean => Some(values.iter().sum::<f64>() / values.len() as f64),
            Stat::P50 => quantile(0.5),
            Stat::P90 => quantile(0.9),
            Stat::P95 => quantile(0.95),
            Stat::P99 => quantile(0.99),
            Stat::Max => values.last().copied(),
        };
        put(&format!("{name}_{}", stat.name()), value.unwrap_or(f64::NAN));
    }
}

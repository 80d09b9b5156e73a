//! The rows of the table.
//!
//! Levels: `core` is kube-scheduler's queue, cache and decisions with the agenda (see
//! [`crate::core`] and [`crate::perf`]); `whole` is the simulator from a scenario's files to its
//! metrics (see [`crate::whole`]); `agenda` is the event list alone.

use crate::core::{self, Groups};
use crate::measure::timed;
use crate::perf::{self, Case};
use crate::queues::{Delays, Heap, Payload, Queue, Timers, filled, hold};
use crate::rows::{Measured, Row, Target};
use crate::whole;
use crate::workload::{Options, generate};
use eks_sim::engine::agenda::Agenda;
use eks_sim::policy::kube_scheduler::Profile;

const NONE: Target = Target { cpu: None, mb: None, rate: None, ratio: None };

/// All rows. A bench with an area of its own has its list in a module of its own and is added here.
#[must_use]
pub fn all() -> Vec<Row> {
    [QUEUES, PEERS, DAY, PERF].concat()
}

const fn row(
    name: &'static str,
    level: &'static str,
    workload: &'static str,
    target: Target,
    run: fn() -> Measured,
) -> Row {
    Row { name, level, workload, target, run }
}

const fn ratio(limit: f64) -> Target {
    Target { ratio: Some(limit), ..NONE }
}
const fn cpu(limit: f64) -> Target {
    Target { cpu: Some(limit), ..NONE }
}

const QUEUES: &[Row] = &[
    row("queue_hold_1e3", "agenda", HOLD, ratio(0.8), || held(1_000, Delays::Uniform)),
    row("queue_hold_1e5", "agenda", HOLD, ratio(0.45), || held(100_000, Delays::Uniform)),
    row("queue_hold_1e6", "agenda", HOLD, ratio(0.25), || held(1_000_000, Delays::Uniform)),
    row("queue_mixed_1e3", "agenda", MIXED, ratio(0.8), || held(1_000, Delays::Mixed)),
    row("queue_mixed_1e5", "agenda", MIXED, ratio(0.45), || held(100_000, Delays::Mixed)),
    row("queue_mixed_1e6", "agenda", MIXED, ratio(0.25), || held(1_000_000, Delays::Mixed)),
    row("queue_cancel_1e5", "agenda", CANCEL, ratio(1.5), || cancelled(100_000)),
];
const HOLD: &str = "hold model, delays up to 2 s; ratio to a bare binary heap";
const MIXED: &str = "hold model, delays of a cluster; ratio to a bare binary heap";
const CANCEL: &str = "half the timers re-armed early; an arming against a turn of the hold model";

/// Turns of the hold model.
const TURNS: u32 = 3_000_000;

/// The agenda against the heap, one after the other in short pieces.
fn held(pending: u32, delays: Delays) -> Measured {
    let (start, prepare) =
        timed(|| (filled::<Heap>(pending, delays), filled::<Agenda<Payload>>(pending, delays)));
    let ((mut heap, mut a), (mut agenda, mut b)) = start;
    let (mut slow, mut fast) = (0.0, 0.0);
    for _ in 0..30 {
        slow += timed(|| hold(&mut heap, &mut a, delays, TURNS / 30)).1;
        fast += timed(|| hold(&mut agenda, &mut b, delays, TURNS / 30)).1;
    }
    let (left, right) = (Queue::pop(&mut heap), Queue::pop(&mut agenda));
    assert_eq!(left, right, "both queues must give the same order");
    let digest = left.0;
    Measured { prepare, cpu: fast, items: TURNS.into(), ratio: Some(fast / slow), digest, peak: 0 }
}

fn cancelled(pending: u32) -> Measured {
    let turns = TURNS / 3;
    let (start, prepare) = timed(|| {
        let timers = Timers::<Agenda<Payload>>::new(pending);
        (timers, filled::<Agenda<Payload>>(pending, Delays::Uniform))
    });
    let (mut timers, (mut agenda, mut generator)) = start;
    let (mut arming, mut plain) = (0.0, 0.0);
    for _ in 0..30 {
        arming += timed(|| (0..turns / 30).for_each(|_| timers.turn())).1;
        plain += timed(|| hold(&mut agenda, &mut generator, Delays::Uniform, turns / 30)).1;
    }
    // Every turn arms one timer, every second turn another one.
    let ratio = Some(arming / 1.5 / plain);
    Measured { prepare, cpu: arming, items: u64::from(turns) * 3 / 2, ratio, digest: 0, peak: 0 }
}

const PEERS: &[Row] = &[
    row("peer_1k_100k", "core", PEER, cpu(0.25), || cored(Options::new(1_000, 100_000))),
    row("peer_1k_100k", "whole", PEER, cpu(0.25), || wholly(Options::new(1_000, 100_000))),
    row("peer_10k_100k", "core", PEER, cpu(0.35), || cored(Options::new(10_000, 100_000))),
    row("peer_10k_100k", "whole", PEER, cpu(0.35), || wholly(Options::new(10_000, 100_000))),
    row("peer_1k_1m", "core", PEER, mb(300.0), || cored(Options::new(1_000, 1_000_000))),
    row("peer_1k_1m", "whole", PEER, mb(300.0), || wholly(Options::new(1_000, 1_000_000))),
    row("diverse_classes", "core", DIVERSE, rate(1e6 / 6.0), || {
        cored(Options { diverse: true, ..Options::new(10_000, 100_000) })
    }),
    row("hot_cluster", "core", HOT, ratio(3.0), hot),
];
const PEER: &str = "24 h of arrivals at 60 % load; NodeResourcesFit, LeastAllocated, \
                    BalancedAllocation, kube-scheduler's sampling";
const DIVERSE: &str = "as peer_10k_100k, almost every pod of its own size (6 us a pod)";
const HOT: &str = "1,000 nodes, 100,000 pods at 97 % load; ratio to 60 %";

const fn mb(limit: f64) -> Target {
    Target { mb: Some(limit), ..NONE }
}
const fn rate(limit: f64) -> Target {
    Target { rate: Some(limit), ..NONE }
}

fn cored(o: Options) -> Measured {
    cored_with(o, core::fit_and_balance(), Groups::None)
}

fn cored_with(o: Options, profile: Profile, groups: Groups) -> Measured {
    let ((cache, jobs), prepare) = timed(|| core::prepare(&generate(&o), profile, groups));
    let (tally, cpu) = timed(|| core::run(cache, &jobs));
    assert_eq!(tally.placed, o.pods as u64, "every pod of the trace fits some time");
    Measured { prepare, cpu, items: tally.placed, digest: tally.digest, ..Measured::default() }
}

fn hot() -> Measured {
    let o = Options::new(1_000, 100_000);
    let calm = cored(o);
    let busy = cored(Options { load: 0.97, ..o });
    Measured { ratio: Some(busy.cpu / calm.cpu), ..busy }
}

fn wholly(o: Options) -> Measured {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Jobs run up to several hours longer than the arrivals.
    let (model, prepare) =
        timed(|| whole::study(generate(&o), folder.path(), Some(whole::FIT_AND_BALANCE), 48));
    let (outcome, cpu) = timed(|| whole::run(&model));
    let items = outcome.bound;
    Measured { prepare, cpu, items, digest: outcome.digest, ..Measured::default() }
}

const DAY: &[Row] =
    &[row("day_10k_1m", "core", DAY_WORDS, Target { mb: Some(400.0), ..cpu(5.0) }, || {
        let o = Options::new(10_000, 1_000_000);
        cored_with(o, Profile::default(), Groups::Services(10_000))
    })];
const DAY_WORDS: &str = "24 h, default profile with default spread; pod i belongs to Deployment \
                         i mod 10,000, each with a Service; nodes in three zones by turns";

const fn upstream(case: &Case) -> Target {
    rate(case.threshold * 500.0)
}

/// A row of a case of scheduler_perf.
macro_rules! perf_row {
    ($name:literal, $case:ident, $words:literal) => {
        row($name, "core", $words, upstream(&perf::$case), || placed(&perf::$case))
    };
}

const PERF: &[Row] = &[
    perf_row!("perf_basic_5k", BASIC, "SchedulingBasic/5000Nodes_50000Pods"),
    perf_row!("perf_spread_5k", SPREAD, "TopologySpreading/5000Nodes_5000Pods"),
    perf_row!("perf_preferred_spread_5k", PREFERRED_SPREAD, "PreferredTopologySpreading"),
    perf_row!("perf_default_spread_5k", DEFAULT_SPREAD, "DefaultTopologySpreading/…50000Pods"),
    perf_row!("perf_affinity_5k", AFFINITY, "SchedulingPodAffinity/5000Nodes_5000Pods"),
    perf_row!("perf_anti_affinity_5k", ANTI_AFFINITY, "SchedulingPodAntiAffinity/…2000Pods"),
    perf_row!("perf_pref_affinity_5k", PREFERRED_AFFINITY, "SchedulingPreferredPodAffinity"),
    perf_row!("perf_pref_anti_affinity_5k", PREFERRED_ANTI_AFFINITY, "…PodAntiAffinity"),
    perf_row!("perf_node_affinity_5k", NODE_AFFINITY, "SchedulingNodeAffinity/…10000Pods"),
    perf_row!("perf_preemption_5k", PREEMPTION, "PreemptionAsync/5000Nodes"),
    perf_row!("perf_unschedulable_5k", UNSCHEDULABLE, "Unschedulable/5kNodes/20kInit/10kPods"),
    perf_row!("perf_mixed_5k", MIXED, "MixedSchedulingBasePod/5000Nodes_5000Pods"),
];

fn placed(case: &Case) -> Measured {
    let (mut bed, prepare) = timed(|| perf::prepare(case));
    let count = case.measured.1;
    let (tally, cpu) = timed(|| bed.measure(case, count));
    Measured { prepare, cpu, items: count as u64, digest: tally.digest, ..Measured::default() }
}

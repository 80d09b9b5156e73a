//! The analytical checks A1 to A9 for the closed forms and the fluid queue. Those of the exact queue
//! take a hundred million requests and stand in `benches/tests/queues.rs`.

use super::exact::{ExactQueue, Outcome, simulate_exact};
use super::queueing::{Latency, Service, erlang_b, erlang_c, wait_quantile};
use super::*;
use crate::units::Span;
use crate::units::math::{ln, sqrt};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

/// (name, rate, rate of one worker, workers, P(wait), Wq ms, Lq, p95 of wait ms, p99 of wait ms)
type Row = (&'static str, f64, f64, u32, f64, f64, f64, f64, f64);

const ROWS: [Row; 5] = [
    ("A1", 90.0, 10.0, 10, 0.668_732, 66.873_2, 6.018_6, 259.34, 420.28),
    ("A2", 90.0, 10.0, 12, 0.266_035, 8.867_8, 0.798_1, 55.72, 109.37),
    ("A3", 90.0, 10.0, 15, 0.048_234, 0.803_9, 0.072_4, 0.0, 26.23),
    ("A4", 8.0, 10.0, 1, 0.8, 400.0, 3.2, 1386.29, 2191.01),
    ("A5", 450.0, 50.0, 10, 0.668_732, 13.374_6, 6.018_6, 51.87, 84.06),
];

fn near(got: f64, want: f64, digits: f64, what: &str) {
    assert!((got - want).abs() <= digits, "{what}: got {got}, want {want}");
}

fn relative(got: f64, want: f64, share: f64, what: &str) {
    assert!((got - want).abs() <= share * want.abs(), "{what}: got {got}, want {want}");
}

#[test]
fn closed_forms_give_the_table() {
    for (id, rate, mu, c, waiting, wq, lq, p95, p99) in ROWS {
        let c = f64::from(c);
        near(erlang_c(c, rate / mu), waiting, 1e-6, id);
        let state = SteadyState::new(rate, c * mu, c, f64::INFINITY);
        near(state.waiting_share, waiting, 1e-6, id);
        near(state.queue, lq, 1e-4, id);
        near(1000.0 * state.queue / rate, wq, 1e-4, id);
        near(1000.0 * wait_quantile(waiting, c * mu - rate, 0.95), p95, 0.01, id);
        near(1000.0 * wait_quantile(waiting, c * mu - rate, 0.99), p99, 0.01, id);
    }
    for (c, blocking) in [(10.0, 0.167_963), (12.0, 0.083_087), (15.0, 0.019_868)] {
        near(erlang_b(c, 9.0), blocking, 1e-6, "A7");
        near(SteadyState::new(9.0, c, c, 0.0).blocked, blocking, 1e-6, "A7, bounded");
    }
}

#[test]
fn erlang_b_methods_agree() {
    for (servers, load) in [(250.0, 200.0), (256.0, 256.0), (200.0, 400.0), (100.0, 30.0)] {
        let recursion = erlang_b(servers, load);
        // A fraction of a server forces the other method.
        let other = erlang_b(servers + 1e-9, load);
        relative(other, recursion, 1e-6, "erlang b");
    }
    assert_eq!(erlang_b(0.0, 3.0), 1.0);
    assert_eq!(erlang_b(3.0, 0.0), 0.0);
    assert!(erlang_b(100_000.0, 99_000.0) < 0.01);
    relative(erlang_b(1000.0, 1e6), 0.999, 1e-6, "far overload");
    assert_eq!(erlang_b(1000.0, 1.0), 0.0);
}

#[test]
fn a_bounded_queue_is_its_birth_death_chain() {
    for (rate, c, bound) in [(9.0, 10, 5), (20.0, 10, 7), (10.0, 10, 30), (0.5, 1, 0), (3.0, 1, 4)]
    {
        let mut weight = 1.0;
        let (mut total, mut queue, mut blocked, mut busy) = (0.0, 0.0, 0.0, 0.0);
        for n in 0..=c + bound {
            total += weight;
            queue += weight * f64::from((n - c).max(0));
            blocked = weight;
            busy += if n >= c && n < c + bound { weight } else { 0.0 };
            weight *= rate / f64::from((n + 1).min(c));
        }
        let c = f64::from(c);
        let state = SteadyState::new(rate, c, c, f64::from(bound));
        relative(state.blocked, blocked / total, 1e-9, "blocked");
        near(state.queue, queue / total, 1e-5, "queue");
        near(state.waiting_share, busy / (total - blocked), 1e-9, "waiting share");
    }
    // Far overload of a long queue: full but for a few.
    let state = SteadyState::new(20.0, 10.0, 10.0, 1e6);
    near(state.blocked, 0.5, 1e-9, "overload");
    relative(state.queue, 1e6, 1e-5, "overload");
}

#[derive(Clone, Copy)]
enum ServiceTimes {
    Deterministic,
    Exponential,
    /// Two exponential phases with balanced means and squared coefficient of variation 4.
    Hyper,
}

fn unit(rng: &mut Xoshiro256PlusPlus) -> f64 {
    ((rng.next_u64() >> 11) | 1) as f64 * (1.0 / 9_007_199_254_740_992.0)
}

impl ServiceTimes {
    fn draw(self, mean: f64, rng: &mut Xoshiro256PlusPlus) -> f64 {
        match self {
            Self::Deterministic => mean,
            Self::Exponential => -mean * ln(unit(rng)),
            Self::Hyper => {
                let p = 0.5 * (1.0 + sqrt(0.6));
                let share = if unit(rng) < p { p } else { 1.0 - p };
                -mean / (2.0 * share) * ln(unit(rng))
            }
        }
    }
}

fn in_system(outcome: Outcome) -> f64 {
    if let Outcome::Served { in_system, .. } = outcome { in_system } else { 0.0 }
}

fn fifo(workers: u32) -> ExactQueue {
    ExactQueue { workers, discipline: Discipline::Fifo, queue_bound: None, timeout: None }
}

use ServiceTimes::{Deterministic, Exponential, Hyper};

/// A fluid queue in its steady state.
fn settled(rate: f64, mu: f64, c: u32, discipline: Discipline, cv: f64) -> (SharingQueue, Flow) {
    let mut capacity = Capacity::default();
    for _ in 0..c {
        capacity.add_pod(1.0, mu);
    }
    let mut queue = SharingQueue::new(discipline).with_service_cv(cv);
    queue.change(rate, capacity);
    queue.advance(10_000.0);
    let flow = queue.advance(100.0);
    (queue, flow)
}

#[test]
fn fluid_steady_state_agrees() {
    for (id, rate, mu, c, _, wq, ..) in ROWS {
        for discipline in [Discipline::Fifo, Discipline::ProcessorSharing] {
            let (queue, flow) = settled(rate, mu, c, discipline, 1.0);
            let want = wq / 1000.0 + 1.0 / mu;
            relative(flow.mean_latency().unwrap(), want, 1e-5, id);
            relative(queue.latency().mean, want, 1e-5, id);
            relative(queue.utilisation(), rate / mu / f64::from(c), 1e-12, id);
            relative(flow.busy_seconds / flow.seconds, rate / mu, 1e-9, id);
        }
    }
    for (cv, want) in [(0.0, 0.3), (1.0, 0.5), (2.0, 1.1)] {
        let (_, flow) = settled(8.0, 10.0, 1, Discipline::Fifo, cv);
        relative(flow.mean_latency().unwrap(), want, 1e-6, "A6, fluid");
        let (_, flow) = settled(8.0, 10.0, 1, Discipline::ProcessorSharing, cv);
        relative(flow.mean_latency().unwrap(), 0.5, 1e-6, "A6, fluid and shared");
    }
    for (c, blocking) in [(10, 0.167_963), (12, 0.083_087), (15, 0.019_868)] {
        let mut queue = SharingQueue::new(Discipline::Fifo).with_bound(0.0);
        queue.change(9.0, Capacity { workers: f64::from(c), rate: f64::from(c) });
        let flow = queue.advance(50.0);
        near(flow.dropped / flow.arrived, blocking, 1e-6, "A7, fluid");
        relative(flow.mean_latency().unwrap(), 1.0, 1e-9, "A7, fluid: no wait");
    }
}

#[test]
fn fluid_overload_grows_and_drains() {
    let mut queue = SharingQueue::new(Discipline::Fifo);
    queue.change(30.0, Capacity { workers: 2.0, rate: 20.0 });
    let grown = queue.advance(60.0);
    relative(queue.backlog(), 600.0, 1e-12, "backlog");
    relative(grown.served, 1200.0, 1e-12, "served");
    // Somebody who arrives now waits for 600 requests at 20 a second.
    relative(queue.latency().mean, 30.1, 1e-9, "latency");
    queue.change(10.0, Capacity { workers: 2.0, rate: 20.0 });
    queue.advance(59.0);
    relative(queue.backlog(), 10.0, 1e-9, "still draining");
    queue.advance(61.0);
    assert_eq!(queue.backlog(), 0.0);
}

#[test]
fn fluid_limits_drop_and_time_out() {
    let capacity = Capacity { workers: 10.0, rate: 100.0 };
    let mut bounded = SharingQueue::new(Discipline::Fifo).with_bound(5.0);
    bounded.change(150.0, capacity);
    let flow = bounded.advance(100.0);
    // One second to fill 50 places, then a third of the arrivals is lost.
    relative(flow.dropped, 0.333_3 * 150.0 * 99.0, 1e-3, "dropped");
    assert_eq!(flow.timed_out, 0.0);
    let mut impatient = SharingQueue::new(Discipline::Fifo).with_timeout(2.0);
    impatient.change(150.0, capacity);
    let flow = impatient.advance(100.0);
    relative(flow.timed_out, 50.0 * 96.0, 1e-3, "timed out");
    assert_eq!(flow.dropped, 0.0);
    near(impatient.latency().mean, 2.1, 0.05, "latency at the timeout");
    // Half of the pods vanish: what cannot be served in time gives up at once.
    let flow = impatient.change(150.0, Capacity { workers: 5.0, rate: 50.0 });
    near(flow.timed_out, 100.0, 5.0, "gave up");
    // No pod at all: everything fails.
    let flow = impatient.change(150.0, Capacity::default());
    near(flow.dropped, 100.0, 5.0, "lost with the last pod");
    let flow = impatient.advance(10.0);
    assert_eq!((flow.dropped, flow.served), (1500.0, 0.0));
    assert_eq!(impatient.utilisation(), 0.0);
}

#[test]
fn fluid_agrees_with_single_requests_through_an_overload() {
    // 60 s at 8 a second, 60 s at 15, then 8 again, on one worker of 10 a second.
    let rate_at = |t: f64| if (60.0..120.0).contains(&t) { 15.0 } else { 8.0 };
    let capacity = Capacity { workers: 1.0, rate: 10.0 };
    let mut queue = SharingQueue::new(Discipline::Fifo);
    let mut fluid = Flow::default();
    for (rate, seconds) in [(8.0, 60.0), (15.0, 60.0), (8.0, 280.0)] {
        fluid.add(&queue.change(rate, capacity));
        fluid.add(&queue.advance(seconds));
    }
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
    let (mut sum, mut count) = (0.0, 0.0);
    for _ in 0..400 {
        // Arrivals of a changing rate by thinning.
        let mut arrivals = Vec::new();
        let mut t = 0.0;
        while t < 400.0 {
            t -= ln(unit(&mut rng)) / 15.0;
            if unit(&mut rng) < rate_at(t) / 15.0 {
                arrivals.push(t);
            }
        }
        let gap = |k: u64| {
            let before = k.checked_sub(1).map_or(0.0, |k| arrivals[k as usize]);
            arrivals[k as usize] - before
        };
        let service = |_| Exponential.draw(0.1, &mut rng);
        let totals = simulate_exact(&fifo(1), arrivals.len() as u64, gap, service, |_, _| ());
        sum += totals.stayed_nanos as f64 / 1e9;
        count += totals.served as f64;
    }
    let exact = sum / count;
    relative(fluid.mean_latency().unwrap(), exact, 0.05, "mean latency");
}

#[test]
fn the_spread_under_sharing_agrees_with_single_requests() {
    for (times, cv) in [(Deterministic, 0.0), (Exponential, 1.0), (Hyper, 2.0)] {
        for (rate, mu, c) in [(6.0, 10.0, 1), (36.0, 10.0, 5)] {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
            let mut other = Xoshiro256PlusPlus::seed_from_u64(4);
            let (mut sum, mut square, n) = (0.0, 0.0, 400_000);
            simulate_exact(
                &ExactQueue { discipline: Discipline::ProcessorSharing, ..fifo(c) },
                n,
                |_| -ln(unit(&mut rng)) / rate,
                |_| times.draw(1.0 / mu, &mut other),
                |_, outcome| {
                    sum += in_system(outcome);
                    square += in_system(outcome) * in_system(outcome);
                },
            );
            let mean = sum / n as f64;
            let exact = sqrt(square / n as f64 - mean * mean);
            let (queue, _) = settled(rate, mu, c, Discipline::ProcessorSharing, cv);
            relative(queue.latency().sd, exact, 0.12, &format!("{cv} {rate}/{mu}/{c}"));
        }
    }
}

#[test]
fn impatience_under_sharing_agrees_with_single_requests() {
    // The mean time in the system would be half a second.
    for seconds in [2.0, 3.0, 4.0] {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
        let mut other = Xoshiro256PlusPlus::seed_from_u64(4);
        let (mut sum, mut served, n) = (0.0, 0.0, 400_000);
        simulate_exact(
            &ExactQueue {
                discipline: Discipline::ProcessorSharing,
                timeout: Some(Span::from_secs_f64(seconds)),
                ..fifo(1)
            },
            n,
            |_| -ln(unit(&mut rng)) / 8.0,
            |_| Exponential.draw(0.1, &mut other),
            |_, outcome| {
                sum += in_system(outcome);
                served += f64::from(u8::from(outcome != Outcome::TimedOut));
            },
        );
        let mut queue = SharingQueue::new(Discipline::ProcessorSharing).with_timeout(seconds);
        queue.change(8.0, Capacity { workers: 1.0, rate: 10.0 });
        queue.advance(10_000.0);
        let flow = queue.advance(100.0);
        let what = format!("timeout of {seconds} s");
        near(flow.served_ratio(), served / n as f64, 0.015, &what);
        relative(flow.mean_latency().unwrap(), sum / served, 0.05, &what);
    }
}

#[test]
fn latency_quantiles_agree_with_single_requests() {
    for discipline in [Discipline::Fifo, Discipline::ProcessorSharing] {
        for (rate, mu, c) in [(90.0, 10.0, 10), (90.0, 10.0, 15), (8.0, 10.0, 1)] {
            let mut all = Vec::new();
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(9);
            let mut other = Xoshiro256PlusPlus::seed_from_u64(10);
            simulate_exact(
                &ExactQueue { discipline, ..fifo(c) },
                200_000,
                |_| -ln(unit(&mut rng)) / rate,
                |_| Exponential.draw(1.0 / mu, &mut other),
                |_, outcome| all.push(in_system(outcome)),
            );
            all.sort_by(f64::total_cmp);
            let (queue, _) = settled(rate, mu, c, discipline, 1.0);
            for p in [0.5, 0.95, 0.99] {
                let exact = all[(p * all.len() as f64) as usize];
                let what = format!("{discipline:?} {rate}/{mu}/{c} p{p}");
                relative(queue.latency().quantile(p), exact, 0.2, &what);
            }
        }
    }
    let service = Service { mean: 0.1, cv: 1.0 };
    let latency = Latency::new(Discipline::Fifo, service, 0.8, 0.4);
    // The time in system of M/M/1 is exponential.
    relative(latency.quantile(0.99), -0.5 * ln(0.01), 1e-9, "M/M/1");
}

proptest::proptest! {
    #[test]
    fn fluid_conserves_requests_and_splits(
        steps in proptest::collection::vec(
            (0.0..200.0f64, 0.0..20.0f64, 0.1..20.0f64, 0.0..300.0f64),
            1..12,
        ),
        bound in proptest::option::of(0.0..50.0f64),
        timeout in proptest::option::of(0.0..60.0f64),
        cut in 0.0..1.0f64,
    ) {
        let mut one = SharingQueue::new(Discipline::Fifo)
            .with_bound(bound.unwrap_or(f64::INFINITY))
            .with_timeout(timeout.unwrap_or(f64::INFINITY));
        let mut two = one.clone();
        let (mut whole, mut split) = (Flow::default(), Flow::default());
        for (rate, workers, mu, seconds) in steps {
            let mut capacity = Capacity::default();
            capacity.add_pod(workers.floor(), mu);
            whole.add(&one.change(rate, capacity));
            split.add(&two.change(rate, capacity));
            let flow = one.advance(seconds);
            for value in [flow.served, flow.dropped, flow.timed_out, one.waiting()] {
                proptest::prop_assert!(value >= 0.0 && value.is_finite(), "{flow:?}");
            }
            whole.add(&flow);
            split.add(&two.advance(cut * seconds));
            split.add(&two.advance(seconds - cut * seconds));
        }
        let left = whole.arrived - whole.served - whole.dropped - whole.timed_out;
        let scale = 1.0 + whole.arrived;
        proptest::prop_assert!((left - one.waiting()).abs() < 1e-9 * scale, "{whole:?} {one:?}");
        proptest::prop_assert!((whole.served - split.served).abs() < 1e-6 * scale);
        proptest::prop_assert!((one.waiting() - two.waiting()).abs() < 1e-6 * scale);
    }
}

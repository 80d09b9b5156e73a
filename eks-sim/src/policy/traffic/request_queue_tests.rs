//! The queue of single requests: order, bounds, timeouts, changes of capacity, conservation.

use super::request_queue::{RequestQueue, draw_work};
use super::{Capacity, Discipline};
use crate::units::math::sqrt;
use crate::units::{SimTime, Span};
use Discipline::{Fifo, ProcessorSharing};
use proptest::prelude::*;

fn ms(ms: u64) -> SimTime {
    SimTime::ZERO + Span::from_millis(ms)
}

/// A queue of workers that need a second for a request of mean size.
fn queue(discipline: Discipline, workers: f64) -> RequestQueue<u32> {
    let mut queue = RequestQueue::new(discipline);
    queue.set_capacity(SimTime::ZERO, Capacity { workers, rate: workers });
    queue
}

/// Everything that leaves by `until`: (name, milliseconds, served).
fn drain(queue: &mut RequestQueue<u32>, until: SimTime) -> Vec<(u32, u64, bool)> {
    let mut all = Vec::new();
    while let Some(left) = queue.pop(until) {
        all.push((left.token, queue.now().nanos() / 1_000_000, left.served));
    }
    all
}

#[test]
fn first_come_first_served_and_sharing() {
    let mut fifo = queue(Fifo, 1.0);
    assert!(
        fifo.offer(ms(0), 1, 1.0) && fifo.offer(ms(500), 2, 1.0) && fifo.offer(ms(600), 3, 0.1)
    );
    assert_eq!(drain(&mut fifo, ms(9000)), [(1, 1000, true), (2, 2000, true), (3, 2100, true)]);
    let mut shared = queue(ProcessorSharing, 1.0);
    assert!(shared.offer(ms(0), 1, 1.0) && shared.offer(ms(500), 2, 1.0));
    // The second half of 1 and the first half of 2 take a second together.
    assert_eq!(shared.next_leaving(), ms(1500));
    assert_eq!(drain(&mut shared, ms(9000)), [(1, 1500, true), (2, 2000, true)]);
    // Two workers: nobody is slowed down by one other.
    let mut two = queue(ProcessorSharing, 2.0);
    assert!(two.offer(ms(0), 1, 1.0) && two.offer(ms(500), 2, 1.0));
    assert_eq!(drain(&mut two, ms(9000)), [(1, 1000, true), (2, 1500, true)]);
    // One and a half: alone at full speed, together at three quarters.
    for discipline in [Fifo, ProcessorSharing] {
        let mut some = queue(discipline, 1.5);
        assert!(some.offer(ms(0), 1, 1.0) && some.offer(ms(400), 2, 0.75));
        assert_eq!(
            drain(&mut some, ms(9000)),
            [(1, 1200, true), (2, 1350, true)],
            "{discipline:?}"
        );
    }
}

#[test]
fn bounds_and_timeouts() {
    let mut full = queue(Fifo, 1.0);
    full.set_bound(1.0);
    let taken: Vec<bool> = (0..4).map(|k| full.offer(ms(0), k, 1.0)).collect();
    assert_eq!(taken, [true, true, false, false]);
    assert_eq!((full.totals().arrived, full.totals().dropped, full.present()), (4, 2, 2));
    // Waiting requests give up at their time, not those in work.
    let mut fifo: RequestQueue<u32> = RequestQueue::new(Fifo).with_timeout(Span::from_secs(2));
    fifo.set_capacity(ms(0), Capacity { workers: 1.0, rate: 1.0 });
    for k in 0..3 {
        assert!(fifo.offer(ms(u64::from(k)), k, 3.0));
    }
    assert_eq!(drain(&mut fifo, ms(9000)), [(1, 2001, false), (2, 2002, false), (0, 3000, true)]);
    // Under sharing the work of those who give up is lost.
    let mut shared: RequestQueue<u32> =
        RequestQueue::new(ProcessorSharing).with_timeout(Span::from_secs(2));
    shared.set_capacity(ms(0), Capacity { workers: 1.0, rate: 1.0 });
    assert!(shared.offer(ms(0), 1, 1.5) && shared.offer(ms(500), 2, 1.0));
    assert_eq!(drain(&mut shared, ms(9000)), [(1, 2000, false), (2, 2250, true)]);
}

#[test]
fn capacity_changes_in_the_middle() {
    for discipline in [Fifo, ProcessorSharing] {
        let mut some = queue(discipline, 1.0);
        assert!(some.offer(ms(0), 1, 1.0) && some.offer(ms(0), 2, 1.0));
        some.set_capacity(ms(500), Capacity::default());
        assert_eq!(some.next_leaving(), SimTime::NEVER);
        some.set_capacity(ms(1500), Capacity { workers: 2.0, rate: 2.0 });
        let want = match discipline {
            Fifo => [(1, 2000, true), (2, 2500, true)],
            ProcessorSharing => [(1, 2250, true), (2, 2250, true)],
        };
        assert_eq!(drain(&mut some, ms(9000)), want, "{discipline:?}");
    }
    let mut lost = queue(Fifo, 1.0);
    (0..3).for_each(|k| assert!(lost.offer(ms(0), k, 1.0)));
    assert_eq!(lost.lose_all(ms(100)), [0, 1, 2]);
    assert_eq!((lost.present(), lost.totals().dropped), (0, 3));
}

#[test]
fn work_has_its_mean_and_spread() {
    for cv in [0.0, 0.5, 1.0, 2.0] {
        let n = 200_000;
        let all: Vec<f64> =
            (0..n).map(|k| draw_work(cv, (f64::from(k) + 0.5) / f64::from(n))).collect();
        let mean = all.iter().sum::<f64>() / f64::from(n);
        let square = all.iter().map(|w| (w - mean) * (w - mean)).sum::<f64>() / f64::from(n);
        assert!((mean - 1.0).abs() < 0.002 && (sqrt(square) - cv).abs() < 0.03, "{cv}: {mean}");
    }
}

proptest! {
    /// First come, first served is the recursion of Kiefer and Wolfowitz, request by request.
    #[test]
    fn waits_are_those_of_the_recursion(
        requests in proptest::collection::vec((0..2000_u64, 1..5000_u64), 1..60),
        workers in 1..5_usize,
    ) {
        let mut queue = queue(Fifo, workers as f64);
        let (mut free, mut want, mut got) = (vec![0_u64; workers], Vec::new(), Vec::new());
        let mut at = 0;
        for (k, (gap, work)) in requests.iter().enumerate() {
            at += gap;
            let first = (0..workers).min_by_key(|w| free[*w]).unwrap_or(0);
            free[first] = free[first].max(at) + work;
            want.push((free[first], k as u32));
            got.extend(drain(&mut queue, ms(at)).into_iter().map(|(k, at, _)| (at, k)));
            prop_assert!(queue.offer(ms(at), k as u32, *work as f64 / 1000.0));
        }
        got.extend(drain(&mut queue, SimTime::NEVER).into_iter().map(|(k, at, _)| (at, k)));
        want.sort_unstable();
        got.sort_unstable();
        // Rounding to a nanosecond may fall just short of a millisecond.
        for (want, got) in want.iter().zip(&got) {
            prop_assert!(want.1 == got.1 && want.0 - got.0 <= 1, "{want:?} {got:?}");
        }
        prop_assert_eq!(want.len(), got.len());
    }

    /// Nothing is lost, and Little's law holds to the nanosecond at every moment.
    #[test]
    fn requests_and_time_are_conserved(
        steps in proptest::collection::vec((0..3000_u64, 0..4000_u64, 0..6_u32), 1..80),
        sharing: bool,
        timeout in proptest::option::of(1..6000_u64),
        bound in proptest::option::of(0..5_u32),
    ) {
        let discipline = if sharing { ProcessorSharing } else { Fifo };
        let mut queue: RequestQueue<u32> = RequestQueue::new(discipline);
        if let Some(timeout) = timeout {
            queue = queue.with_timeout(Span::from_millis(timeout));
        }
        queue.set_bound(bound.map_or(f64::INFINITY, f64::from));
        let (mut at, mut left) = (SimTime::ZERO, 0_u64);
        for (k, (gap, work, workers)) in steps.into_iter().enumerate() {
            at += Span::from_millis(gap);
            left += drain(&mut queue, at).len() as u64;
            let workers = 0.5 * f64::from(workers);
            match k % 7 {
                3 => queue.set_capacity(at, Capacity { workers, rate: workers }),
                6 => left += queue.lose_all(at).len() as u64,
                _ => {
                    queue.offer(at, k as u32, work as f64 / 1000.0);
                }
            }
            let totals = *queue.totals();
            let ended = totals.served + totals.dropped + totals.timed_out;
            prop_assert_eq!(totals.arrived, ended + u64::from(queue.present()));
            prop_assert_eq!(totals.present_nanos, queue.stayed_nanos());
            prop_assert!(queue.next_leaving() >= at);
        }
        queue.set_capacity(at, Capacity { workers: 1.0, rate: 1.0 });
        left += drain(&mut queue, SimTime::NEVER).len() as u64;
        let totals = *queue.totals();
        prop_assert_eq!(queue.present(), 0);
        prop_assert_eq!(totals.arrived, totals.served + totals.dropped + totals.timed_out);
        prop_assert!(left <= totals.arrived);
        prop_assert_eq!(totals.present_nanos, totals.stayed_nanos);
    }
}

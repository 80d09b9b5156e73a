//! The agenda against a bare binary heap of (time, sequence number, payload), in one run.
//!
//! `queue_hold`: the hold model: take the next entry, add one after a delay. Uniform delays lie
//! in 0 to 2 s; mixed delays are those of a cluster: now, milliseconds, whole seconds (ties),
//! minutes, hours. `queue_cancel`: half of the timers are re-armed before they are due; the
//! overtaken entry finds a newer generation and is dropped.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use eks_sim::engine::agenda::Agenda;
use eks_sim::units::SimTime;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;

/// As large as the simulator's own event.
type Payload = [u32; 4];

trait Queue {
    fn new() -> Self;
    fn push(&mut self, at: u64, payload: Payload);
    fn pop(&mut self) -> (u64, Payload);
}

struct Heap {
    heap: BinaryHeap<Reverse<(u64, u64, Payload)>>,
    sequence: u64,
}

impl Queue for Heap {
    fn new() -> Self {
        Self { heap: BinaryHeap::new(), sequence: 0 }
    }
    #[inline]
    fn push(&mut self, at: u64, payload: Payload) {
        self.heap.push(Reverse((at, self.sequence, payload)));
        self.sequence += 1;
    }
    #[inline]
    fn pop(&mut self) -> (u64, Payload) {
        let Reverse((at, _, payload)) = self.heap.pop().expect("hold keeps the queue filled");
        (at, payload)
    }
}

impl Queue for Agenda<Payload> {
    fn new() -> Self {
        Agenda::new()
    }
    #[inline]
    fn push(&mut self, at: u64, payload: Payload) {
        Agenda::push(self, SimTime::from_nanos(at), payload);
    }
    #[inline]
    fn pop(&mut self) -> (u64, Payload) {
        let (at, payload) = self.pop_until(SimTime::NEVER).expect("hold keeps the queue filled");
        (at.nanos(), payload)
    }
}

#[derive(Clone, Copy)]
enum Delays {
    Uniform,
    Mixed,
}

/// A small fixed generator, the same for both queues.
struct Generator(u64);

impl Generator {
    #[inline]
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    #[inline]
    fn delay(&mut self, delays: Delays) -> u64 {
        let r = self.next();
        let value = r >> 8;
        match (delays, r & 15) {
            (Delays::Uniform, _) => value % 2_000_000_000,
            (Delays::Mixed, 0..=2) => 0,
            (Delays::Mixed, 3..=7) => value % 20_000_000,
            (Delays::Mixed, 8..=11) => (1 + value % 15) * 1_000_000_000,
            (Delays::Mixed, 12..=14) => value % 600_000_000_000,
            (Delays::Mixed, _) => value % 14_400_000_000_000,
        }
    }
}

fn filled<Q: Queue>(pending: u32, delays: Delays) -> (Q, Generator) {
    let (mut queue, mut generator) = (Q::new(), Generator(0x9E37_79B9_7F4A_7C15));
    for n in 0..pending {
        let delay = generator.delay(delays);
        queue.push(delay, [n, 0, 0, 0]);
    }
    // Forget the start: one turn over all entries.
    hold(&mut queue, &mut generator, delays, 2 * pending);
    (queue, generator)
}

fn hold<Q: Queue>(queue: &mut Q, generator: &mut Generator, delays: Delays, times: u32) {
    for _ in 0..times {
        let (at, payload) = queue.pop();
        queue.push(at + generator.delay(delays), payload);
    }
}

/// Timers by generation: an entry counts only if nobody re-armed its timer since.
struct Timers<Q> {
    queue: Q,
    generator: Generator,
    generations: Vec<u32>,
    now: u64,
}

impl<Q: Queue> Timers<Q> {
    fn new(pending: u32) -> Self {
        let (queue, generator) = filled::<Q>(pending, Delays::Uniform);
        Self { queue, generator, generations: vec![0; pending as usize], now: 0 }
    }
    fn arm(&mut self, timer: u32) {
        let generation = &mut self.generations[timer as usize];
        *generation += 1;
        let payload = [timer, *generation, 0, 0];
        let at = self.now + self.generator.delay(Delays::Uniform);
        self.queue.push(at, payload);
    }
    /// One timer is due and starts anew; every second time another one is re-armed early.
    fn turn(&mut self) {
        loop {
            let (at, [timer, generation, ..]) = self.queue.pop();
            self.now = at;
            let live = self.generations[timer as usize];
            if generation == live || generation == 0 {
                self.arm(timer);
                if at & 1 == 0 {
                    let other = self.generator.next() % self.generations.len() as u64;
                    self.arm(other as u32);
                }
                return;
            }
        }
    }
}

const SIZES: [u32; 3] = [1_000, 100_000, 1_000_000];
const BATCH: u32 = 10_000;

fn bench_hold<Q: Queue>(c: &mut Criterion, name: &str) {
    let mut group = c.benchmark_group("queue_hold");
    group.throughput(Throughput::Elements(u64::from(BATCH)));
    for (kind, delays) in [("uniform", Delays::Uniform), ("mixed", Delays::Mixed)] {
        for pending in SIZES {
            let (mut queue, mut generator) = filled::<Q>(pending, delays);
            let id = BenchmarkId::new(format!("{kind}/{name}"), pending);
            group.bench_function(id, |b| {
                b.iter(|| hold(black_box(&mut queue), &mut generator, delays, BATCH));
            });
        }
    }
    group.finish();
}

fn bench_cancel<Q: Queue>(c: &mut Criterion, name: &str) {
    let mut group = c.benchmark_group("queue_cancel");
    group.throughput(Throughput::Elements(u64::from(BATCH)));
    for pending in SIZES {
        let mut timers = Timers::<Q>::new(pending);
        group.bench_function(BenchmarkId::new(name, pending), |b| {
            b.iter(|| (0..BATCH).for_each(|_| timers.turn()));
        });
    }
    group.finish();
}

fn benches(c: &mut Criterion) {
    bench_hold::<Heap>(c, "heap");
    bench_hold::<Agenda<Payload>>(c, "agenda");
    bench_cancel::<Heap>(c, "heap");
    bench_cancel::<Agenda<Payload>>(c, "agenda");
}

criterion_group! {
    name = agenda;
    config = Criterion::default().sample_size(20).measurement_time(std::time::Duration::from_secs(2)).warm_up_time(std::time::Duration::from_millis(500));
    targets = benches
}
criterion_main!(agenda);

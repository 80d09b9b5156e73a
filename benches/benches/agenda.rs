//! The agenda against a bare binary heap of (time, sequence number, payload), in one run.
//!
//! `queue_hold`: the hold model: take the next entry, add one after a delay. Uniform delays lie
//! in 0 to 2 s; mixed delays are those of a cluster: now, milliseconds, whole seconds (ties),
//! minutes, hours. `queue_cancel`: half of the timers are re-armed before they are due; the
//! overtaken entry finds a newer generation and is dropped.

use benches::queues::{Delays, Heap, Payload, Queue, Timers, filled, hold};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use eks_sim::engine::agenda::Agenda;
use std::hint::black_box;

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

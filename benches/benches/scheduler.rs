//! Small runs of the rows that `peers` prints: the scheduling core on a trace, cases of
//! scheduler_perf at 500 nodes, and the whole simulator on a trace.
//!
//! `cargo bench -p benches --bench scheduler`

use benches::core::{self, Groups};
use benches::perf::{self, Bed, Case};
use benches::whole;
use benches::workload::{Options, generate};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use eks_sim::policy::kube_scheduler::Profile;
use std::hint::black_box;

const PODS: usize = 5_000;

fn traces(c: &mut Criterion) {
    let mut group = c.benchmark_group("trace_core");
    group.throughput(Throughput::Elements(PODS as u64));
    let workload = generate(&Options::new(500, PODS));
    let cases = [
        ("fit_and_balance", core::fit_and_balance(), Groups::None),
        ("default_spread", Profile::default(), Groups::Services(100)),
    ];
    for (name, profile, groups) in cases {
        let (cache, jobs) = core::prepare(&workload, profile, groups);
        group.bench_function(name, |b| {
            b.iter_batched(
                || cache.clone(),
                |cache| black_box(core::run(cache, &jobs)),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn cases(c: &mut Criterion) {
    let mut group = c.benchmark_group("scheduler_perf_500");
    let cases: [(&str, Case); 5] = [
        ("basic", perf::BASIC),
        ("spread", perf::SPREAD),
        ("affinity", perf::AFFINITY),
        ("preemption", perf::PREEMPTION),
        ("unschedulable", perf::UNSCHEDULABLE),
    ];
    const MEASURED: usize = 1_000;
    group.throughput(Throughput::Elements(MEASURED as u64));
    for (name, case) in cases {
        // A tenth of the nodes, with a tenth of the pods that are there before.
        let before: Vec<_> = case.before.iter().map(|b| (b.0, b.1 / 10, b.2)).collect();
        let case = Case { before: before.leak(), ..case };
        group.bench_function(name, |b| {
            b.iter_batched(
                || Bed::new(&case, 500),
                |mut bed| black_box(bed.measure(&case, MEASURED)),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn end_to_end(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let workload = generate(&Options { hours: 2.0, ..Options::new(100, PODS) });
    let model = whole::study(workload, folder.path(), Some(whole::FIT_AND_BALANCE), 4);
    let mut group = c.benchmark_group("trace_whole");
    group.sample_size(20).throughput(Throughput::Elements(PODS as u64));
    group.bench_function("100_nodes", |b| b.iter(|| black_box(whole::run(&model))));
    group.finish();
}

criterion_group!(benches, traces, cases, end_to_end);
criterion_main!(benches);

//! The analytical checks A1 to A9 of the exact queue: each simulated mean lies within its own
//! 99 % interval of the closed form, and that interval is at most 2 % of the value wide.
//!
//! The queue is the one that runs use with `load: {mode: exact}`. It is generic, so that it is
//! compiled here, with this package's optimisation (see `profile.dev.package.benches`): the
//! hundred million requests take seconds in an ordinary `cargo test`.
//!
//! Gaps and service times have known means, so their averages over a batch are control variates:
//! they halve the number of requests. Nothing about the queue itself enters them.

use eks_sim::policy::traffic::Discipline;
use eks_sim::policy::traffic::exact::{ExactQueue, Outcome, simulate_exact};
use eks_sim::units::math::{ln, sqrt};
use eks_sim::units::special::student_t_quantile;

const BATCHES: usize = 100;

/// xoshiro256++ is not needed here: a 64-bit counter through a strong mix.
struct Uniforms(u64);

impl Uniforms {
    /// A number strictly between 0 and 1.
    fn draw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let word = eks_sim::units::key::mix64(self.0);
        ((word >> 11) | 1) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }
}

#[derive(Clone, Copy)]
enum Service {
    Constant,
    Exponential,
    /// Two exponential phases with balanced means and squared coefficient of variation 4.
    Hyper,
}

impl Service {
    /// A time of mean 1.
    fn draw(self, uniforms: &mut Uniforms) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Exponential => -ln(uniforms.draw()),
            Self::Hyper => {
                let p = 0.5 * (1.0 + sqrt(0.6));
                let share = if uniforms.draw() < p { p } else { 1.0 - p };
                -ln(uniforms.draw()) / (2.0 * share)
            }
        }
    }
}

/// A queue with Poisson arrivals, and what is measured of it.
#[derive(Clone, Copy)]
struct Check {
    what: &'static str,
    discipline: Discipline,
    workers: u32,
    queue_bound: Option<u64>,
    /// Arrivals a second, and those that one worker can serve.
    rate: f64,
    mu: f64,
    service: Service,
    measure: fn(Outcome) -> f64,
    want: f64,
    millions: f64,
}

/// Σ of a batch: measured values, gaps, service times.
#[derive(Clone, Copy, Default)]
struct Batch {
    value: f64,
    gaps: f64,
    work: f64,
}

impl Check {
    fn fifo(what: &'static str, workers: u32, rate: f64, mu: f64) -> Self {
        Self {
            what,
            discipline: Discipline::Fifo,
            workers,
            queue_bound: None,
            rate,
            mu,
            service: Service::Exponential,
            measure: in_system,
            want: 0.0,
            millions: 0.0,
        }
    }

    fn wants(mut self, measure: fn(Outcome) -> f64, want: f64, millions: f64) -> Self {
        (self.measure, self.want, self.millions) = (measure, want, millions);
        self
    }

    fn with(mut self, service: Service) -> Self {
        self.service = service;
        self
    }

    fn shared(mut self) -> Self {
        self.discipline = Discipline::ProcessorSharing;
        self
    }

    /// Batches after a warm-up of half a batch.
    fn batches(&self, seed: u64) -> (Vec<Batch>, f64) {
        let size = (self.millions * 1e6 / BATCHES as f64) as u64;
        let requests = size * BATCHES as u64 + size / 2;
        let mut batches = vec![Batch::default(); BATCHES];
        let place = |k: u64| k.checked_sub(size / 2).map(|k| (k / size) as usize);
        let (mut arrivals, mut services) = (Uniforms(seed), Uniforms(seed ^ (1 << 63)));
        let cell = std::cell::RefCell::new(&mut batches);
        let totals = simulate_exact(
            &ExactQueue {
                workers: self.workers,
                discipline: self.discipline,
                queue_bound: self.queue_bound,
                timeout: None,
            },
            requests,
            |k| {
                let gap = -ln(arrivals.draw());
                if let Some(p) = place(k) {
                    cell.borrow_mut()[p].gaps += gap - 1.0;
                }
                gap / self.rate
            },
            |k| {
                let work = self.service.draw(&mut services);
                if let Some(p) = place(k) {
                    cell.borrow_mut()[p].work += work - 1.0;
                }
                work / self.mu
            },
            |k, outcome| {
                if let Some(p) = place(k) {
                    cell.borrow_mut()[p].value += (self.measure)(outcome);
                }
            },
        );
        assert_eq!(totals.served + totals.dropped, requests, "{}", self.what);
        // A8: Little's law, both sides from the same events, in whole nanoseconds.
        assert_eq!(totals.present_nanos, totals.stayed_nanos, "A8 in {}", self.what);
        (batches, size as f64)
    }

    fn run(&self, seed: u64) {
        let (batches, size) = self.batches(seed);
        let column = |of: fn(&Batch) -> f64| batches.iter().map(|b| of(b) / size).collect();
        let values: Vec<f64> = column(|b| b.value);
        let controls: [Vec<f64>; 2] = [column(|b| b.gaps), column(|b| b.work)];
        let (mean, half) = controlled(&values, &controls);
        let what = self.what;
        let width = 2.0 * half / self.want;
        println!("{what}: {mean:.6} ± {half:.6}, want {}, {:.2} % wide", self.want, 100.0 * width);
        assert!(width <= 0.02, "{what}: the interval is {:.2} % wide", 100.0 * width);
        assert!((mean - self.want).abs() <= half, "{what}: {mean} ± {half}, want {}", self.want);
    }
}

/// Mean at controls of zero, by least squares, and half of its 99 % interval.
fn controlled(values: &[f64], controls: &[Vec<f64>; 2]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = |x: &[f64]| x.iter().sum::<f64>() / n;
    let (y, x) = (mean(values), [mean(&controls[0]), mean(&controls[1])]);
    let product = |a: &[f64], ma: f64, b: &[f64], mb: f64| -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - ma) * (b - mb)).sum()
    };
    let s = |i: usize, j: usize| product(&controls[i], x[i], &controls[j], x[j]);
    let t = |i: usize| product(&controls[i], x[i], values, y);
    // Service times that do not vary are no control.
    let alone = s(1, 1) < 1e-12;
    let slopes = if alone {
        [t(0) / s(0, 0), 0.0]
    } else {
        let det = s(0, 0) * s(1, 1) - s(0, 1) * s(0, 1);
        [(t(0) * s(1, 1) - t(1) * s(0, 1)) / det, (t(1) * s(0, 0) - t(0) * s(0, 1)) / det]
    };
    let used = if alone { 1.0 } else { 2.0 };
    let estimate = y - slopes[0] * x[0] - slopes[1] * x[1];
    let rest: f64 = (0..values.len())
        .map(|i| {
            let fitted = estimate + slopes[0] * controls[0][i] + slopes[1] * controls[1][i];
            (values[i] - fitted) * (values[i] - fitted)
        })
        .sum();
    let freedom = n - 1.0 - used;
    // Variance of the intercept: that of a mean, and what the slopes add away from zero.
    let det = s(0, 0) * s(1, 1) - s(0, 1) * s(0, 1);
    let leverage = if alone {
        x[0] * x[0] / s(0, 0)
    } else {
        (x[0] * x[0] * s(1, 1) - 2.0 * x[0] * x[1] * s(0, 1) + x[1] * x[1] * s(0, 0)) / det
    };
    let error = sqrt(rest / freedom * (1.0 / n + leverage));
    (estimate, student_t_quantile(freedom, 0.995) * error)
}

fn wait(outcome: Outcome) -> f64 {
    if let Outcome::Served { wait, .. } = outcome { wait } else { 0.0 }
}

fn in_system(outcome: Outcome) -> f64 {
    if let Outcome::Served { in_system, .. } = outcome { in_system } else { 0.0 }
}

fn dropped(outcome: Outcome) -> f64 {
    f64::from(u8::from(outcome == Outcome::Dropped))
}

#[test]
fn a1_a2_a3_a5_wait_for_many_workers() {
    Check::fifo("A1", 10, 90.0, 10.0).wants(in_system, 0.166_873_2, 7.0).run(1);
    Check::fifo("A2", 12, 90.0, 10.0).wants(in_system, 0.108_867_8, 1.0).run(2);
    Check::fifo("A3", 15, 90.0, 10.0).wants(in_system, 0.100_803_9, 0.5).run(3);
    Check::fifo("A5", 10, 450.0, 50.0).wants(in_system, 0.033_374_6, 7.0).run(5);
}

#[test]
fn a4_and_a6_wait_for_one_worker() {
    let one = |what| Check::fifo(what, 1, 8.0, 10.0);
    one("A4, A6 exponential").wants(wait, 0.4, 6.0).run(4);
    one("A6, constant").with(Service::Constant).wants(wait, 0.2, 4.0).run(6);
    one("A6, cv² = 4").with(Service::Hyper).wants(wait, 1.0, 16.0).run(7);
}

#[test]
fn a7_blocking() {
    for (what, workers, want, millions) in [
        ("A7, 10 workers", 10, 0.167_963, 1.0),
        ("A7, 12 workers", 12, 0.083_087, 2.0),
        ("A7, 15 workers", 15, 0.019_868, 12.0),
    ] {
        let check = Check::fifo(what, workers, 9.0, 1.0).wants(dropped, want, millions);
        Check { queue_bound: Some(0), ..check }.run(8 + u64::from(workers));
    }
}

#[test]
fn processor_sharing_depends_on_the_mean_only() {
    let one = |what| Check::fifo(what, 1, 8.0, 10.0).shared();
    one("A4, shared").wants(in_system, 0.5, 4.0).run(31);
    one("A6, constant, shared").with(Service::Constant).wants(in_system, 0.5, 3.0).run(32);
    one("A6, cv² = 4, shared").with(Service::Hyper).wants(in_system, 0.5, 9.0).run(33);
    for (what, workers, rate, mu, want, millions) in [
        ("A1, shared", 10, 90.0, 10.0, 0.166_873_2, 8.0),
        ("A2, shared", 12, 90.0, 10.0, 0.108_867_8, 1.0),
        ("A3, shared", 15, 90.0, 10.0, 0.100_803_9, 0.5),
        ("A5, shared", 10, 450.0, 50.0, 0.033_374_6, 8.0),
    ] {
        let check = Check::fifo(what, workers, rate, mu).shared();
        check.wants(in_system, want, millions).run(40 + u64::from(workers));
    }
}

#[test]
fn a9_the_gain_of_one_queue_for_ten() {
    Check::fifo("A9, separate", 1, 9.0, 10.0).wants(wait, 0.9, 17.0).run(51);
    Check::fifo("A9, pooled", 10, 90.0, 10.0).wants(in_system, 0.166_873_2, 7.0).run(52);
    let gain: f64 = 0.9 / 0.066_873_2;
    assert!((gain - 13.46).abs() < 0.01, "the two closed forms give the gain of the table");
}

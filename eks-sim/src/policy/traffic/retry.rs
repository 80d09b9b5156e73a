//! Retries: how many attempts a request makes, whether one of them succeeds, how long it pauses.
//!
//! Upstream: Envoy's router filter (retry policy: before the n-th retry a random time below
//! (2ⁿ − 1) times the base interval, at most ten times the base) and the retry budget of Finagle
//! and Linkerd (a share of the requests plus a few a second, over ten seconds).
//! Differences: attempts fail independently; a failed attempt takes no time in the fluid queue;
//! tokens of the budget fade with the mean age of ten seconds instead of expiring at that age.

use crate::units::math::exp;
use crate::units::{SimTime, Span};

/// Time after which a token of a retry budget is worth nothing, on average.
const TOKEN_LIFE: f64 = 10.0;

/// How a client tries failed requests again.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RetryPolicy {
    /// Most repetitions of a request.
    pub most: u32,
    /// Base of the pauses; zero: at once.
    pub backoff: Span,
    /// Longest pause.
    pub backoff_max: Span,
    /// Bound on the repetitions of all requests together.
    pub budget: Option<RetryBudget>,
}

/// Bound on repetitions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudget {
    /// Repetitions for each first attempt.
    pub ratio: f64,
    /// Repetitions a second besides.
    pub per_second: f64,
}

impl RetryPolicy {
    /// Bound of the pause before the `n`-th repetition, from 1 on.
    fn longest(&self, n: u32) -> Span {
        let factor = (1_u64 << n.min(32)) - 1;
        (self.backoff * factor).min(self.backoff_max)
    }

    /// The pause before the `n`-th repetition, from 1 on, by a uniform number.
    #[must_use]
    pub fn pause(&self, n: u32, uniform: f64) -> Span {
        Span::from_secs_f64(self.longest(n).secs_f64() * uniform)
    }

    /// What becomes of `rate` requests a second whose single attempts succeed with a probability.
    #[must_use]
    pub fn attempts(&self, success: f64, rate: f64) -> Attempts {
        let failing = 1.0 - success.clamp(0.0, 1.0);
        let allowed = self.budget.map_or(f64::INFINITY, |b| {
            b.ratio + if rate > 0.0 { b.per_second / rate } else { f64::INFINITY }
        });
        let again = match extra(failing, self.most) <= allowed {
            true => 1.0,
            false => granted(failing, self.most, allowed),
        };
        self.sum(failing, again)
    }

    /// Attempts when a failed one is repeated with probability `again`.
    fn sum(&self, failing: f64, again: f64) -> Attempts {
        let (mut reach, mut paused) = (1.0, 0.0);
        let mut all = Attempts { mean: 1.0, success: 1.0 - failing, pause: 0.0 };
        for n in 1..=self.most {
            reach *= failing * again;
            paused += 0.5 * self.longest(n).secs_f64();
            all.mean += reach;
            all.success += reach * (1.0 - failing);
            all.pause += reach * (1.0 - failing) * paused;
        }
        all.pause = if all.success > 0.0 { all.pause / all.success } else { 0.0 };
        all
    }
}

/// Repetitions of a request if each failure is followed by one with probability `chance` / failing.
fn extra(chance: f64, most: u32) -> f64 {
    let (mut reach, mut sum) = (1.0, 0.0);
    for _ in 0..most {
        reach *= chance;
        sum += reach;
    }
    sum
}

/// The share of wanted repetitions that keeps them at `allowed` for each request.
fn granted(failing: f64, most: u32, allowed: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        if extra(failing * middle, most) > allowed { high = middle } else { low = middle }
    }
    low
}

/// Attempts of a request whose single attempts succeed with some probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attempts {
    /// Mean number of attempts: 1 to 1 + retries.
    pub mean: f64,
    /// Probability that one of them succeeds.
    pub success: f64,
    /// Mean seconds between attempts of a request that succeeds in the end.
    pub pause: f64,
}

/// The tokens of a retry budget, request by request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tokens {
    count: f64,
    since: SimTime,
}

impl Tokens {
    fn pass(&mut self, budget: &RetryBudget, now: SimTime) {
        let seconds = now.since(self.since).secs_f64();
        self.since = now;
        let fade = exp(-seconds / TOKEN_LIFE);
        self.count = self.count * fade + budget.per_second * TOKEN_LIFE * (1.0 - fade);
    }

    /// A first attempt pays in.
    pub fn deposit(&mut self, budget: &RetryBudget, now: SimTime) {
        self.pass(budget, now);
        self.count += budget.ratio;
    }

    /// A repetition takes a token, if there is one.
    pub fn withdraw(&mut self, budget: &RetryBudget, now: SimTime) -> bool {
        self.pass(budget, now);
        let there = self.count >= 1.0;
        if there {
            self.count -= 1.0;
        }
        there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(most: u32) -> RetryPolicy {
        RetryPolicy { most, ..RetryPolicy::default() }
    }

    #[test]
    fn attempts_are_a_cut_off_geometric_series() {
        let of = |success, most| {
            let a = policy(most).attempts(success, 10.0);
            (a.mean, a.success)
        };
        assert_eq!(of(1.0, 3), (1.0, 1.0));
        assert_eq!(of(0.0, 3), (4.0, 0.0));
        assert_eq!(of(0.5, 2), (1.75, 0.875));
        let once = of(0.3, 0);
        assert!(once.0 == 1.0 && (once.1 - 0.3).abs() < 1e-12, "{once:?}");
    }

    #[test]
    fn pauses_double_up_to_their_bound() {
        let backoff = Span::from_millis(25);
        let policy = RetryPolicy { backoff, backoff_max: backoff * 10, ..policy(5) };
        let longest: Vec<u64> = (1..=5).map(|n| policy.longest(n).nanos() / 1_000_000).collect();
        assert_eq!(longest, [25, 75, 175, 250, 250]);
        assert_eq!(policy.pause(2, 0.5), Span::from_secs_f64(0.0375));
        // Half of the requests succeed at once, a quarter after 12.5 ms, an eighth after 50 ms.
        let two = RetryPolicy { most: 2, ..policy }.attempts(0.5, 1.0);
        assert!((two.pause - (0.25 * 0.0125 + 0.125 * 0.05) / 0.875).abs() < 1e-12, "{two:?}");
    }

    #[test]
    fn a_budget_bounds_repetitions() {
        let budget = Some(RetryBudget { ratio: 0.2, per_second: 10.0 });
        let policy = RetryPolicy { budget, ..policy(3) };
        // Few failures are all repeated.
        assert_eq!(policy.attempts(0.9, 1000.0).mean, self::policy(3).attempts(0.9, 1.0).mean);
        let storm = policy.attempts(0.1, 1000.0);
        assert!((storm.mean - 1.21).abs() < 1e-9, "{storm:?}");
        // Ten a second are always allowed.
        assert!((policy.attempts(0.0, 5.0).mean - 3.2).abs() < 1e-9);
    }

    #[test]
    fn tokens_come_with_requests_and_with_time() {
        let budget = RetryBudget { ratio: 0.2, per_second: 0.0 };
        let (mut tokens, now) = (Tokens::default(), SimTime::from_secs(5));
        (0..10).for_each(|_| tokens.deposit(&budget, now));
        let taken = (0..10).filter(|_| tokens.withdraw(&budget, now)).count();
        assert!((1..=2).contains(&taken), "{taken}");
        let budget = RetryBudget { ratio: 0.0, per_second: 10.0 };
        let taken =
            (0..200).filter(|n| tokens.withdraw(&budget, SimTime::from_secs(100 + n / 10))).count();
        assert!((190..=200).contains(&taken), "a hundred in store, then ten a second: {taken}");
    }
}

//! Oracles: `statrs` for quantiles, `rand_distr` for moments; plus the scenario syntax.

use super::*;
use crate::units::math::ln;
use rand::SeedableRng as _;
use rand::rngs::Xoshiro256PlusPlus;
use rand_distr::Distribution;
use statrs::distribution::{self as oracle, ContinuousCDF};

fn dist(json: &str) -> DistF64 {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn refusal(json: &str) -> String {
    match serde_json::from_str::<Dist>(json) {
        Ok(dist) => panic!("{json} was read as {dist:?}"),
        Err(error) => error.to_string(),
    }
}

fn close(got: f64, want: f64, relative: f64, what: &str) {
    let ok = (got - want).abs() <= relative * want.abs().max(1e-12);
    assert!(ok, "{what}: got {got:e}, want {want:e}");
}

const P: [f64; 11] = [1e-6, 1e-3, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999, 0.999_999];

#[test]
fn quantiles_against_statrs() {
    let check = |json: &str, oracle: &dyn Fn(f64) -> f64| {
        let dist = dist(json);
        for p in P {
            close(oracle(dist.quantile(p)), p, 1e-8, &format!("{json} at {p}"));
        }
    };
    let d = oracle::Exp::new(1.0 / 40.0).unwrap();
    check(r#"{"exponential": {"mean": 40}}"#, &|x| d.cdf(x));
    let d = oracle::LogNormal::new(ln(2.0), 0.5).unwrap();
    check(r#"{"lognormal": {"median": 2, "sigma": 0.5}}"#, &|x| d.cdf(x));
    for (shape, scale) in [(0.3, 2.0), (4.0, 0.5), (90.0, 1.0)] {
        let d = oracle::Gamma::new(shape, 1.0 / scale).unwrap();
        let json = format!(r#"{{"gamma": {{"shape": {shape}, "scale": {scale}}}}}"#);
        check(&json, &|x| d.cdf(x));
        let d = oracle::Weibull::new(shape, scale).unwrap();
        let json = format!(r#"{{"weibull": {{"shape": {shape}, "scale": {scale}}}}}"#);
        check(&json, &|x| d.cdf(x));
    }
    for (a, b) in [(2.0, 5.0), (0.5, 0.8), (30.0, 40.0)] {
        let d = oracle::Beta::new(a, b).unwrap();
        let json = format!(r#"{{"beta": {{"min": 0, "max": 2, "alpha": {a}, "beta": {b}}}}}"#);
        check(&json, &|x| d.cdf(x / 2.0));
    }
    let d = oracle::Pareto::new(1.0, 3.0).unwrap();
    check(r#"{"pareto": {"min": 1, "alpha": 3}}"#, &|x| d.cdf(x));
    let kept = d.cdf(50.0);
    check(r#"{"pareto": {"min": 1, "alpha": 3, "max": 50}}"#, &|x| d.cdf(x) / kept);
    let d = oracle::Triangular::new(1.0, 6.0, 2.0).unwrap();
    check(r#"{"triangular": {"min": 1, "mode": 2, "max": 6}}"#, &|x| d.cdf(x));
    let d = oracle::Normal::new(1.0, 2.0).unwrap();
    let cut = d.cdf(0.0);
    check(r#"{"normal": {"mean": 1, "sd": 2}}"#, &|x| (d.cdf(x) - cut) / (1.0 - cut));
}

/// Mean and variance of many draws of one of ours and one of theirs.
fn moments(draw: &mut dyn FnMut() -> f64) -> (f64, f64) {
    const N: usize = 200_000;
    let values: Vec<f64> = (0..N).map(|_| draw()).collect();
    let mean = values.iter().sum::<f64>() / N as f64;
    let square = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>();
    (mean, square / (N - 1) as f64)
}

#[test]
fn moments_against_rand_distr() {
    let check = |json: &str, theirs: &dyn Fn(&mut Xoshiro256PlusPlus) -> f64| {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
        let (mean, variance) = moments(&mut || theirs(&mut rng));
        let dist = dist(json);
        let error = (variance / 200_000.0).sqrt();
        assert!((mean - dist.mean()).abs() < 4.0 * error, "{json}: {mean} {}", dist.mean());
        close(variance, dist.variance(), 0.05, json);
    };
    let d = rand_distr::Exp::new(0.025).unwrap();
    check(r#"{"exponential": {"mean": 40}}"#, &|rng| d.sample(rng));
    let d = rand_distr::LogNormal::new(ln(2.0), 0.5).unwrap();
    check(r#"{"lognormal": {"median": 2, "sigma": 0.5}}"#, &|rng| d.sample(rng));
    let d = rand_distr::Gamma::new(0.3, 2.0).unwrap();
    check(r#"{"gamma": {"shape": 0.3, "scale": 2}}"#, &|rng| d.sample(rng));
    let d = rand_distr::Weibull::new(100.0, 0.7).unwrap();
    check(r#"{"weibull": {"shape": 0.7, "scale": 100}}"#, &|rng| d.sample(rng));
    let d = rand_distr::Pareto::new(1.0, 8.0).unwrap();
    check(r#"{"pareto": {"min": 1, "alpha": 8}}"#, &|rng| d.sample(rng));
    let d = rand_distr::Beta::new(0.5, 0.8).unwrap();
    let json = r#"{"beta": {"min": 1, "max": 5, "alpha": 0.5, "beta": 0.8}}"#;
    check(json, &|rng| 1.0 + 4.0 * d.sample(rng));
    let d = rand_distr::Triangular::new(1.0, 6.0, 2.0).unwrap();
    check(r#"{"triangular": {"min": 1, "mode": 2, "max": 6}}"#, &|rng| d.sample(rng));
}

/// Mean and variance are the integrals of the quantile function and of its square.
#[test]
fn moments_are_those_of_the_quantile_function() {
    const N: usize = 20_000;
    for spec in specimens() {
        let dist = DistOf::new(spec.clone()).unwrap();
        let at = |n: usize| dist.sample((n as f64 + 0.5) / N as f64);
        let mean = (0..N).map(at).sum::<f64>() / N as f64;
        let square = (0..N).map(|n| (at(n) - mean) * (at(n) - mean)).sum::<f64>() / N as f64;
        close(mean, dist.mean(), 0.005, &format!("mean of {spec:?}"));
        // The midpoint rule misses most of what lies far out in a heavy tail.
        let tolerance = if dist.cv() > 1.2 { 0.15 } else { 0.02 };
        close(square, dist.variance(), tolerance, &format!("variance of {spec:?}"));
    }
}

#[test]
fn samples_grow_with_the_uniform_and_stay_in_bounds() {
    for spec in specimens() {
        let dist = DistOf::new(spec.clone()).unwrap();
        let mut before = dist.sample(0.0);
        assert!(before >= dist.lower_bound(), "{spec:?}");
        for n in 0..=2000 {
            let value = dist.sample(f64::from(n) / 2000.0);
            assert!(value.is_finite(), "{spec:?} at {n}");
            // Iterated quantiles may differ in the last digits.
            assert!(value >= before * (1.0 - 1e-12), "{spec:?} at {n}: {before} {value}");
            before = value;
        }
    }
}

#[test]
fn syntax_reads_and_writes() {
    let dist: Dist = serde_json::from_str(r#""3s""#).unwrap();
    assert_eq!(dist.sample_span(0.1), Span::from_secs(3));
    assert_eq!(serde_json::to_string(&dist).unwrap(), r#""3s""#);
    let same: Dist = serde_json::from_str(r#"{"constant": "3s"}"#).unwrap();
    assert_eq!(same, dist);
    let text = r#"{"lognormal":{"median":"6m","p95":"20m"}}"#;
    let dist: Dist = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&dist).unwrap(), text);
    assert_eq!(dist.sample_span(0.5), Span::from_secs(360));
    close(dist.sample(0.95), 1200.0, 1e-12, "p95");
    let dist: Dist =
        serde_json::from_str(r#"{"empirical": {"quantiles": [[0, "1s"], [1, "3s"]]}}"#).unwrap();
    assert_eq!(dist.sample_span(0.25), Span::from_millis(1500));
    assert_eq!(serde_json::from_str::<DistF64>("2").unwrap().mean(), 2.0);
    for spec in specimens() {
        let dist = DistOf::new(spec).unwrap();
        let text = serde_json::to_string(&dist).unwrap();
        assert_eq!(serde_json::from_str::<DistF64>(&text).unwrap(), dist, "{text}");
    }
}

#[test]
fn mistakes_are_refused_with_a_hint() {
    for (text, hint) in [
        ("3", "has no unit"),
        (r#"{"exponential": {"mean": 40}}"#, "has no unit"),
        (r#"{"exponential": {"mean": "0s"}}"#, "exponential: `mean` is 0; it must be above zero"),
        (r#"{"exponential": {"median": "4s"}}"#, "unknown field `median`"),
        (r#"{"expo": {"mean": "4s"}}"#, "unknown variant `expo`"),
        (r#"{"lognormal": {"median": "6m"}}"#, "needs `median` with `p95`"),
        (r#"{"lognormal": {"median": "6m", "p95": "1m"}}"#, "at least the median"),
        (r#"{"lognormal": {"median": "6m", "p95": "9m", "cv": 1}}"#, "needs `median` with"),
        (r#"{"uniform": {"min": "6m", "max": "1m"}}"#, "not below"),
        (r#"{"gamma": {"shape": 0, "scale": "1s"}}"#, "between 0.01 and 10000"),
        (r#"{"pareto": {"min": "1s", "alpha": 2, "max": "1s"}}"#, "above `min`"),
        (r#"{"triangular": {"min": "1s", "mode": "9s", "max": "3s"}}"#, "not below"),
        (r#"{"empirical": {"quantiles": [[0.1, "1s"], [1, "2s"]]}}"#, "first probability"),
        (r#"{"empirical": {"quantiles": [[0, "1s"], [0, "2s"], [1, "3s"]]}}"#, "above the one"),
        (r#"{"empirical": {"samples": ["1s"]}}"#, "2 to 1000000"),
        (r#"{"empirical": {}}"#, "either `quantiles` or `samples`"),
        ("[]", "expected a value, or a distribution"),
    ] {
        let message = refusal(text);
        assert!(message.contains(hint), "{text}: {message}");
    }
}

#[test]
fn schema_accepts_both_forms() {
    let schema = serde_json::to_string(&schemars::schema_for!(Dist)).unwrap();
    for part in ["lognormal", "exponential", "Duration", "anyOf", "p95"] {
        assert!(schema.contains(part), "{part} in {schema}");
    }
}

#[test]
fn bits_are_pinned() {
    assert_eq!(pinned_digest(), PINNED_DIGEST, "the arithmetic changed bits");
}

#[cfg(feature = "rand_distr")]
#[test]
fn serves_as_a_rand_distr_distribution() {
    let dist = dist(r#"{"exponential": {"mean": 40}}"#);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let (mean, _) = moments(&mut || Distribution::sample(&dist, &mut rng));
    close(mean, 40.0, 0.01, "mean");
}

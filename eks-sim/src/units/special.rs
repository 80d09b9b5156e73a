//! Distribution functions and their inverses: normal, gamma, beta, Student-t.
//!
//! All on software `libm` and plain arithmetic, so the bits are the same on every platform.
//! Inverses iterate with a bracket that only shrinks, so they end for every input.

use super::math::{exp, ln, ln_gamma, pow, sqrt};

/// Steps after which an iteration is taken as converged; the functions need 5 to 60 in practice
/// (continued fractions of large shapes a few hundred).
const MAX_STEPS: usize = 20_000;
/// Relative accuracy asked of series and continued fractions.
const EPSILON: f64 = 1e-16;
/// Keeps denominators of continued fractions away from zero.
const TINY: f64 = 1e-300;

/// Distribution function of the standard normal.
#[must_use]
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x / core::f64::consts::SQRT_2)
}

/// Density of the standard normal.
#[must_use]
pub fn normal_density(x: f64) -> f64 {
    exp(-0.5 * x * x) / sqrt(2.0 * core::f64::consts::PI)
}

fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)
}

/// Quantile of the standard normal, to about 1e-16 relative.
///
/// Algorithm AS 241 (PPND16), Wichura, Applied Statistics 37 (1988).
#[must_use]
pub fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 8] = [
        3.387_132_872_796_366_5,
        1.331_416_678_917_843_8e2,
        1.971_590_950_306_551_3e3,
        1.373_169_376_550_946e4,
        4.592_195_393_154_987e4,
        6.726_577_092_700_87e4,
        3.343_057_558_358_813e4,
        2.509_080_928_730_122_7e3,
    ];
    const B: [f64; 8] = [
        1.0,
        4.231_333_070_160_091e1,
        6.871_870_074_920_579e2,
        5.394_196_021_424_751e3,
        2.121_379_430_158_659_7e4,
        3.930_789_580_009_271e4,
        2.872_908_573_572_194_3e4,
        5.226_495_278_852_854e3,
    ];
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * polynomial(&A, r) / polynomial(&B, r);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    if tail <= 0.0 {
        return if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let x = normal_tail_quantile(sqrt(-ln(tail)));
    if q < 0.0 { -x } else { x }
}

/// The part of AS 241 for the tails; `r` is the square root of -ln(tail probability).
fn normal_tail_quantile(r: f64) -> f64 {
    const C: [f64; 8] = [
        1.423_437_110_749_683_5,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_5,
        1.270_458_252_452_368_4,
        2.417_807_251_774_506e-1,
        2.272_384_498_926_918_4e-2,
        7.745_450_142_783_414e-4,
    ];
    const D: [f64; 8] = [
        1.0,
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        6.897_673_349_851e-1,
        1.481_039_764_274_800_8e-1,
        1.519_866_656_361_645_7e-2,
        5.475_938_084_995_345e-4,
        1.050_750_071_644_416_9e-9,
    ];
    const E: [f64; 8] = [
        6.657_904_643_501_103,
        5.463_784_911_164_114,
        1.784_826_539_917_291_3,
        2.965_605_718_285_048_7e-1,
        2.653_218_952_657_612_4e-2,
        1.242_660_947_388_078_4e-3,
        2.711_555_568_743_487_6e-5,
        2.010_334_399_292_288_1e-7,
    ];
    const F: [f64; 8] = [
        1.0,
        5.998_322_065_558_88e-1,
        1.369_298_809_227_358e-1,
        1.487_536_129_085_061_5e-2,
        7.868_691_311_456_133e-4,
        1.846_318_317_510_054_8e-5,
        1.421_511_758_316_446e-7,
        2.044_263_103_389_939_8e-15,
    ];
    if r <= 5.0 {
        polynomial(&C, r - 1.6) / polynomial(&D, r - 1.6)
    } else {
        polynomial(&E, r - 5.0) / polynomial(&F, r - 5.0)
    }
}

/// Regularised incomplete gamma functions P(a, x) and Q(a, x) = 1 - P(a, x).
#[must_use]
pub fn gamma_pq(a: f64, x: f64) -> (f64, f64) {
    if x <= 0.0 {
        return (0.0, 1.0);
    }
    let front = exp(a * ln(x) - x - ln_gamma(a));
    if x < a + 1.0 {
        let p = front * gamma_series(a, x);
        return (p, 1.0 - p);
    }
    let q = front * gamma_fraction(a, x);
    (1.0 - q, q)
}

/// The sum of x^n / (a (a+1) … (a+n)).
fn gamma_series(a: f64, x: f64) -> f64 {
    let mut term = 1.0 / a;
    let mut sum = term;
    let mut divisor = a;
    for _ in 0..MAX_STEPS {
        divisor += 1.0;
        term *= x / divisor;
        sum += term;
        if term < sum * EPSILON {
            break;
        }
    }
    sum
}

/// The continued fraction of the upper incomplete gamma function, by Lentz's method.
fn gamma_fraction(a: f64, x: f64) -> f64 {
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / b;
    let mut h = d;
    for n in 1..MAX_STEPS {
        let n = n as f64;
        let step = -n * (n - a);
        b += 2.0;
        d = 1.0 / away_from_zero(step * d + b);
        c = away_from_zero(b + step / c);
        h *= d * c;
        if (d * c - 1.0).abs() <= EPSILON {
            break;
        }
    }
    h
}

fn away_from_zero(x: f64) -> f64 {
    if x.abs() < TINY { TINY } else { x }
}

/// Finds the root of an increasing function by Newton's method with second-order correction,
/// inside a bracket that every step shrinks; a step that leaves the bracket is halved instead.
///
/// `at(x)` gives the function's value, its derivative, and the derivative of the logarithm of
/// that derivative.
fn increasing_root(
    start: f64,
    mut low: f64,
    mut high: f64,
    at: impl Fn(f64) -> (f64, f64, f64),
) -> f64 {
    let mut x = start.clamp(low, high);
    for _ in 0..200 {
        let (value, slope, bend) = at(x);
        if value > 0.0 {
            high = x;
        } else if value < 0.0 {
            low = x;
        } else {
            return x;
        }
        let newton = value / slope;
        let step = newton / (1.0 - 0.5 * (newton * bend).clamp(-1.0, 1.0));
        let next = x - step;
        let inside = next > low && next < high;
        let next = if inside { next } else { between(low, high) };
        if (next - x).abs() <= 1e-15 * x.abs() {
            return next;
        }
        x = next;
    }
    x
}

/// The middle of a bracket; geometric where the ends differ by orders of magnitude.
fn between(low: f64, high: f64) -> f64 {
    if high.is_infinite() {
        return low * 2.0 + 1.0;
    }
    if low > 0.0 && high / low > 4.0 { sqrt(low) * sqrt(high) } else { 0.5 * (low + high) }
}

/// Quantile of the gamma distribution with shape `a` and scale 1.
#[must_use]
pub fn gamma_quantile(a: f64, p: f64) -> f64 {
    if p <= 0.0 {
        return 0.0;
    }
    if p >= 1.0 {
        return f64::INFINITY;
    }
    // P(a, x) = x^a / Γ(a + 1) · (1 - x·a/(a+1) + …) for small x.
    let small = exp((ln(p) + ln_gamma(a + 1.0)) / a);
    if small < 1e-17 {
        return small;
    }
    let ninth = 1.0 / (9.0 * a);
    let cube_root = 1.0 - ninth + normal_quantile(p) * sqrt(ninth);
    // Wilson and Hilferty, where it is good.
    let start = if a > 0.5 && cube_root > 0.3 {
        a * cube_root * cube_root * cube_root
    } else {
        small.min(a + 1.0)
    };
    let constant = ln_gamma(a);
    increasing_root(start, 0.0, f64::INFINITY, |x| {
        let (lower, upper) = gamma_pq(a, x);
        let value = if p < 0.5 { lower - p } else { (1.0 - p) - upper };
        (value, exp((a - 1.0) * ln(x) - x - constant), (a - 1.0) / x - 1.0)
    })
}

/// Logarithm of the beta function.
fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// Regularised incomplete beta functions I_x(a, b) and its complement; `y` is 1 - x.
fn beta_pq(a: f64, b: f64, x: f64, y: f64) -> (f64, f64) {
    if x <= 0.0 {
        return (0.0, 1.0);
    }
    if y <= 0.0 {
        return (1.0, 0.0);
    }
    let front = exp(a * ln(x) + b * ln(y) - ln_beta(a, b));
    if x < (a + 1.0) / (a + b + 2.0) {
        let p = front * beta_fraction(a, b, x) / a;
        (p, 1.0 - p)
    } else {
        let q = front * beta_fraction(b, a, y) / b;
        (1.0 - q, q)
    }
}

/// Distribution function of the beta distribution on 0 to 1.
#[must_use]
pub fn beta_cdf(a: f64, b: f64, x: f64) -> f64 {
    beta_pq(a, b, x, 1.0 - x).0
}

/// The continued fraction of the incomplete beta function, by Lentz's method.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut h = d;
    for m in 1..MAX_STEPS {
        let m = m as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away_from_zero(1.0 + even * d);
        c = away_from_zero(1.0 + even / c);
        h *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away_from_zero(1.0 + odd * d);
        c = away_from_zero(1.0 + odd / c);
        h *= d * c;
        if (d * c - 1.0).abs() <= EPSILON {
            break;
        }
    }
    h
}

/// Quantile of the beta distribution on 0 to 1.
#[must_use]
pub fn beta_quantile(a: f64, b: f64, p: f64) -> f64 {
    if p <= 0.0 {
        return 0.0;
    }
    if p >= 1.0 {
        return 1.0;
    }
    let constant = ln_beta(a, b);
    // I_x(a, b) = x^a / (a B(a, b)) · (1 + …) for small x, and likewise from the other end.
    let small = exp((ln(p) + ln(a) + constant) / a);
    if small < 1e-17 {
        return small;
    }
    let start = if a > 1.0 && b > 1.0 {
        beta_start(a, b, p)
    } else if small < 0.5 {
        small
    } else {
        1.0 - exp((ln(1.0 - p) + ln(b) + constant) / b).min(0.5)
    };
    increasing_root(start, 0.0, 1.0, |x| {
        let y = 1.0 - x;
        let (lower, upper) = beta_pq(a, b, x, y);
        let value = if p < 0.5 { lower - p } else { (1.0 - p) - upper };
        let slope = exp((a - 1.0) * ln(x) + (b - 1.0) * ln(y) - constant);
        (value, slope, (a - 1.0) / x - (b - 1.0) / y)
    })
}

/// A normal approximation to the beta quantile for shapes above 1
/// (Abramowitz and Stegun 26.5.22).
fn beta_start(a: f64, b: f64, p: f64) -> f64 {
    let z = -normal_quantile(p);
    let (ra, rb) = (1.0 / (2.0 * a - 1.0), 1.0 / (2.0 * b - 1.0));
    let lambda = (z * z - 3.0) / 6.0;
    let h = 2.0 / (ra + rb);
    let w = z * sqrt(h + lambda) / h - (rb - ra) * (lambda + 5.0 / 6.0 - 2.0 / (3.0 * h));
    let start = a / (a + b * exp(2.0 * w));
    if start.is_finite() { start } else { a / (a + b) }
}

/// Quantile of Student's t distribution with `freedom` degrees of freedom.
#[must_use]
pub fn student_t_quantile(freedom: f64, p: f64) -> f64 {
    if freedom > 1e5 {
        return student_t_expansion(freedom, normal_quantile(p));
    }
    let two_tails = 2.0 * p.min(1.0 - p);
    let half = 0.5 * freedom;
    let square = if two_tails < 0.5 {
        let x = beta_quantile(half, 0.5, two_tails);
        freedom * (1.0 - x) / x
    } else {
        let y = beta_quantile(0.5, half, 1.0 - two_tails);
        freedom * y / (1.0 - y)
    };
    if p < 0.5 { -sqrt(square) } else { sqrt(square) }
}

/// Cornish and Fisher's expansion around the normal quantile `z`; the next term is of order
/// `freedom`^-3.
fn student_t_expansion(freedom: f64, z: f64) -> f64 {
    let cube = pow(z, 3.0);
    let first = (cube + z) / 4.0;
    let second = (5.0 * pow(z, 5.0) + 16.0 * cube + 3.0 * z) / 96.0;
    z + first / freedom + second / (freedom * freedom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use statrs::distribution::{Beta, ContinuousCDF, Gamma, Normal, StudentsT};

    const P: [f64; 15] = [
        1e-12, 1e-9, 1e-6, 1e-3, 0.01, 0.05, 0.2, 0.4, 0.5, 0.6, 0.8, 0.95, 0.99, 0.999, 0.999_999,
    ];

    fn close(got: f64, want: f64, relative: f64, what: &str) {
        let bound = relative * want.abs().max(1e-280);
        assert!((got - want).abs() <= bound, "{what}: got {got:e}, want {want:e}");
    }

    #[test]
    fn normal_against_the_oracle() {
        let oracle = Normal::new(0.0, 1.0).unwrap();
        for p in P {
            close(normal_quantile(p), oracle.inverse_cdf(p), 1e-9, &format!("p {p}"));
            // The inverse of the inverse, as far as rounding of the argument allows.
            close(normal_cdf(normal_quantile(p)), p, 2e-14, &format!("round trip {p}"));
        }
        assert_eq!(normal_quantile(0.5), 0.0);
        close(normal_quantile(0.975), 1.959_963_984_540_054, 1e-15, "0.975");
        assert_eq!(normal_quantile(0.0), f64::NEG_INFINITY);
        assert_eq!(normal_quantile(1.0), f64::INFINITY);
    }

    #[test]
    fn gamma_quantile_inverts_the_oracle() {
        for a in [0.01, 0.1, 0.5, 0.9, 1.0, 1.5, 3.0, 10.0, 100.0, 5_000.0] {
            let oracle = Gamma::new(a, 1.0).unwrap();
            for p in P {
                let x = gamma_quantile(a, p);
                assert!(x >= 0.0 && x.is_finite(), "a {a} p {p}: {x}");
                if x > 1e-280 {
                    close(oracle.cdf(x), p, 1e-9, &format!("a {a} p {p} x {x:e}"));
                }
            }
        }
        // An exponential, exactly known.
        close(gamma_quantile(1.0, 0.3), -ln(0.7), 1e-14, "exponential");
    }

    #[test]
    fn beta_quantile_inverts_the_oracle() {
        for (a, b) in [
            (0.1, 0.1),
            (0.5, 0.5),
            (0.5, 20.0),
            (1.0, 1.0),
            (2.0, 5.0),
            (5.0, 2.0),
            (30.0, 0.7),
            (200.0, 300.0),
        ] {
            let oracle = Beta::new(a, b).unwrap();
            for p in P {
                let x = beta_quantile(a, b, p);
                assert!((0.0..=1.0).contains(&x), "a {a} b {b} p {p}: {x}");
                // Beyond this the next number below 1 is already too far.
                if x < 0.999_999 {
                    close(oracle.cdf(x), p, 1e-8, &format!("a {a} b {b} p {p} x {x:e}"));
                }
            }
        }
        close(beta_quantile(1.0, 1.0, 0.3), 0.3, 1e-14, "uniform");
    }

    #[test]
    fn student_t_against_the_oracle_and_tables() {
        for freedom in [1.0, 2.0, 3.0, 9.0, 29.0, 63.0, 199.0, 1_000.0, 99_999.0] {
            let oracle = StudentsT::new(0.0, 1.0, freedom).unwrap();
            for p in [0.005, 0.025, 0.1, 0.4, 0.6, 0.9, 0.975, 0.995, 0.9995] {
                let got = student_t_quantile(freedom, p);
                close(oracle.cdf(got), p, 1e-9, &format!("freedom {freedom} p {p}"));
            }
        }
        for (freedom, want) in [(1.0, 12.706_204_736), (10.0, 2.228_138_852), (60.0, 2.000_297_822)]
        {
            close(student_t_quantile(freedom, 0.975), want, 1e-9, "table");
        }
        // The two methods meet.
        let (below, above) = (student_t_quantile(1e5, 0.99), student_t_quantile(1e5 + 1.0, 0.99));
        close(below, above, 1e-9, "meeting point");
        assert_eq!(student_t_quantile(5.0, 0.5), 0.0);
    }
}

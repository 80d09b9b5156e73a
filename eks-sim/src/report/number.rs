//! Numbers for people: sensible digits, units, intervals.

use crate::study::Estimate;

/// A unit as people write it: text before the number, after it, and a factor.
#[derive(Clone, Copy, Debug)]
struct Scale {
    before: &'static str,
    after: &'static str,
    factor: f64,
}

fn scale(unit: &'static str, largest: f64) -> Scale {
    let of = |before, after, factor| Scale { before, after, factor };
    match unit {
        "share" => of("", " %", 100.0),
        "USD" => of("$", "", 1.0),
        "s" if largest == 0.0 => of("", " s", 1.0),
        "s" if largest < 1.0 => of("", " ms", 1e3),
        "s" if largest < 600.0 => of("", " s", 1.0),
        "s" if largest < 7200.0 => of("", " min", 1.0 / 60.0),
        "s" => of("", " h", 1.0 / 3600.0),
        "h" => of("", " h", 1.0),
        "" => of("", "", 1.0),
        _ => of("", " ", 1.0),
    }
}

/// `41.2 s ± 1.3 s`, `99.95 % ± 0.02 %`, `$4,012 ± $31`, `12`.
#[must_use]
pub fn estimate(unit: &'static str, e: &Estimate) -> String {
    let (mean, half) = parts(unit, e);
    match half {
        // The name of a counted thing once is enough: `190.8 ± 1.7 pods`.
        Some(half) => match mean.strip_suffix(&format!(" {unit}")) {
            Some(number) if unit != "s" && unit != "h" => format!("{number} ± {half}"),
            _ => format!("{mean} ± {half}"),
        },
        None => mean,
    }
}

/// The mean and, where there is a spread, the half width, with the same unit and decimals.
#[must_use]
pub fn parts(unit: &'static str, e: &Estimate) -> (String, Option<String>) {
    let scale = scale(unit, e.mean.abs());
    let (mean, half) = (e.mean * scale.factor, e.half_width * scale.factor);
    // A spread below the rounding of sums is none, and one far below the value does not show.
    let spread = half.is_finite() && half > mean.abs() * 1e-9;
    let decimals = match spread {
        // Dollars have no tenths, they have cents.
        true if unit == "USD" => {
            decimals_for(half, 2).next_multiple_of(2).min(most_decimals(unit, mean))
        }
        true => decimals_for(half, 2).min(most_decimals(unit, mean)),
        false => plain_decimals(unit, mean),
    };
    let spread = spread && grouped(half, decimals).bytes().any(|b| matches!(b, b'1'..=b'9'));
    let text = |value: f64| with_unit(value, decimals, unit, scale);
    (text(mean), spread.then(|| text(half)))
}

/// A difference: always with its sign.
#[must_use]
pub fn difference(unit: &'static str, e: &Estimate) -> String {
    let magnitude = Estimate { mean: e.mean.abs(), ..*e };
    let sign = if e.mean < 0.0 { "−" } else { "+" };
    if e.mean == 0.0 && e.half_width == 0.0 {
        return "0".to_owned();
    }
    format!("{sign}{}", estimate(unit, &magnitude))
}

/// One number with its unit.
#[must_use]
pub fn value(unit: &'static str, value: f64) -> String {
    let scale = scale(unit, value.abs());
    let scaled = value * scale.factor;
    with_unit(scaled, plain_decimals(unit, scaled), unit, scale)
}

fn with_unit(value: f64, decimals: usize, unit: &'static str, scale: Scale) -> String {
    let number = grouped(value, decimals);
    let name = if scale.after == " " { unit } else { "" };
    match number.strip_prefix('-') {
        Some(positive) => format!("−{}{positive}{}{name}", scale.before, scale.after),
        None => format!("{}{number}{}{name}", scale.before, scale.after),
    }
}

/// Decimals with which a value shows so many significant digits.
fn decimals_for(value: f64, digits: i32) -> usize {
    // The exponent of the printed form: no logarithm whose last bit may differ.
    let text = format!("{:.*e}", (digits - 1).max(0) as usize, value.abs());
    let exponent: i32 = text.rsplit('e').next().and_then(|e| e.parse().ok()).unwrap_or(0);
    (digits - 1 - exponent).clamp(0, 6) as usize
}

/// Decimals that are still worth showing: five significant digits, or whole cents; of shares near
/// one the distance from it counts.
fn most_decimals(unit: &str, mean: f64) -> usize {
    match unit {
        "USD" if mean.abs() >= 1000.0 => 0,
        "USD" if mean.abs() >= 1.0 => 2,
        "USD" => 4,
        "share" if mean > 99.0 && mean < 100.0 => decimals_for(100.0 - mean, 3),
        _ => decimals_for(mean, 5),
    }
}

fn plain_decimals(unit: &str, value: f64) -> usize {
    let whole = value.fract() == 0.0 && value.abs() < 1e15;
    match unit {
        _ if whole => 0,
        // Near 100 % the distance from it is what matters.
        "share" if value > 99.0 && value < 100.0 => decimals_for(100.0 - value, 2),
        "USD" => {
            if value.abs() < 1.0 {
                4
            } else if value.abs() < 1000.0 {
                2
            } else {
                0
            }
        }
        _ => decimals_for(value, 3),
    }
}

/// The number with commas between groups of three digits.
#[must_use]
pub fn grouped(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (sign, rest) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let mut out = String::with_capacity(text.len() + whole.len() / 3 + 1);
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    let zero = out.bytes().all(|b| matches!(b, b'0' | b'.' | b','));
    if zero { out } else { format!("{sign}{out}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn e(mean: f64, half_width: f64) -> Estimate {
        Estimate { mean, half_width, lo: mean - half_width, hi: mean + half_width, n: 9 }
    }

    #[test]
    fn estimates_read_well() {
        assert_eq!(estimate("s", &e(41.2345, 1.349)), "41.2 s ± 1.3 s");
        assert_eq!(estimate("s", &e(0.0812, 0.0004)), "81.20 ms ± 0.40 ms");
        assert_eq!(estimate("s", &e(9000.0, 360.0)), "2.50 h ± 0.10 h");
        assert_eq!(estimate("share", &e(0.99953, 0.00012)), "99.953 % ± 0.012 %");
        assert_eq!(estimate("share", &e(0.9999951, 0.0)), "99.99951 %");
        assert_eq!(estimate("USD", &e(4012.3, 31.0)), "$4,012 ± $31");
        assert_eq!(estimate("USD", &e(676.55, 3.16)), "$676.55 ± $3.16");
        assert_eq!(estimate("pods", &e(190.8, 1.7)), "190.8 ± 1.7 pods");
        assert_eq!(estimate("USD", &e(97.515_91, 0.000_851)), "$97.52");
        assert_eq!(estimate("share", &e(0.417_937_1, 0.000_005_1)), "41.794 % ± 0.001 %");
        assert_eq!(estimate("s", &e(0.0, 0.5)), "0.00 s ± 0.50 s");
        assert_eq!(estimate("USD", &e(73.0, 0.0)), "$73");
        assert_eq!(estimate("pods", &e(183.0, 0.0)), "183 pods");
        assert_eq!(estimate("pods", &e(1_234_567.0, 0.0)), "1,234,567 pods");
        assert_eq!(estimate("s", &e(12.0, f64::INFINITY)), "12 s");
        assert_eq!(estimate("nodes", &e(12.3456, 1e-13)), "12.3 nodes");
    }

    #[test]
    fn differences_have_signs() {
        assert_eq!(difference("USD", &e(-412.0, 12.0)), "−$412 ± $12");
        assert_eq!(difference("s", &e(4.0, 2.0)), "+4.0 s ± 2.0 s");
        assert_eq!(difference("s", &e(0.0, 0.0)), "0");
        assert_eq!(grouped(-0.0001, 1), "0.0");
    }
}

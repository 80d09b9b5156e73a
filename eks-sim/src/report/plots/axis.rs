//! Axes: round ticks, readable time.

use crate::study::round_significant;
use crate::units::Span;

/// An axis from zero.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    /// Upper end.
    pub end: f64,
    /// Ticks.
    pub ticks: Vec<f64>,
    /// Decimals of their labels.
    pub decimals: usize,
}

/// The time axis: its unit, the factor from seconds, the axis itself.
pub(super) fn time(duration: Span, most: usize) -> (&'static str, f64, Axis) {
    const HOUR: f64 = 3600.0;
    let seconds = duration.secs_f64().max(1e-9);
    let (unit, size) = match seconds {
        s if s > 96.0 * HOUR => ("d", 24.0 * HOUR),
        s if s > 3.0 * HOUR => ("h", HOUR),
        s if s > 180.0 => ("min", 60.0),
        _ => ("s", 1.0),
    };
    let steps: &[f64] = match unit {
        "h" => &[1.0, 2.0, 3.0, 6.0, 12.0, 24.0],
        "d" => &[1.0, 2.0, 7.0, 14.0, 28.0, 91.0, 182.0, 364.0],
        _ => &[1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0],
    };
    let end = seconds / size;
    let fits = |step: &&f64| end / **step <= most as f64;
    let step = steps.iter().find(fits).copied().unwrap_or_else(|| nice_step(end, most));
    (unit, size, axis(end, step))
}

/// A value axis up to at least `largest`.
pub(super) fn value(largest: f64, most: usize, whole: bool) -> Axis {
    let largest = if largest.is_finite() && largest > 0.0 { largest } else { 1.0 };
    let mut step = nice_step(largest, most);
    if whole {
        step = step.max(1.0);
    }
    // A little air above the highest line.
    let end = (largest * 1.02 / step).ceil() * step;
    axis(end, step)
}

fn axis(end: f64, step: f64) -> Axis {
    let count = (end / step * (1.0 + 1e-9)).floor() as usize;
    let ticks = (0..=count).map(|i| round_significant(step * i as f64, 12)).collect();
    let decimals = (0..6).find(|&d| (step * scale(d)).fract().abs() < 1e-9).unwrap_or(6);
    Axis { end, ticks, decimals }
}

fn scale(decimals: usize) -> f64 {
    [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6].get(decimals).copied().unwrap_or(1e6)
}

/// The smallest step of 1, 2 or 5 times a power of ten that needs at most so many ticks.
fn nice_step(largest: f64, most: usize) -> f64 {
    let rough = largest / most.max(1) as f64;
    let text = format!("{rough:e}");
    let power: i32 = text.rsplit('e').next().and_then(|e| e.parse().ok()).unwrap_or(0);
    let unit: f64 = format!("1e{power}").parse().unwrap_or(1.0);
    let steps = [1.0, 2.0, 5.0, 10.0].map(|m| m * unit);
    steps.into_iter().find(|s| *s >= rough * (1.0 - 1e-9)).unwrap_or(10.0 * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!(value(170.0, 5, true).ticks, [0.0, 50.0, 100.0, 150.0, 200.0]);
        assert_eq!(value(0.3, 5, false).ticks, [0.0, 0.1, 0.2, 0.3, 0.4]);
        assert_eq!(value(0.3, 5, false).decimals, 1);
        assert_eq!(value(0.0, 5, true).ticks, [0.0, 1.0, 2.0]);
        assert_eq!(value(2.0, 5, true).ticks, [0.0, 1.0, 2.0, 3.0]);
    }

    #[test]
    fn time_has_hours_or_minutes() {
        let (unit, _, axis) = time(Span::from_secs(86_400), 12);
        assert_eq!((unit, axis.ticks.len(), axis.ticks[1]), ("h", 13, 2.0));
        let (unit, _, axis) = time(Span::from_secs(7200), 12);
        assert_eq!((unit, axis.ticks[1]), ("min", 10.0));
        assert_eq!(time(Span::from_secs(30 * 86_400), 12).0, "d");
        assert_eq!(time(Span::from_secs(90), 12).0, "s");
    }
}

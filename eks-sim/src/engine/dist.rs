//! Distributions of the scenario file; they live in [`crate::units::dist`] because the scenario's
//! types, which lie below the engine, name them too.

pub use crate::units::dist::*;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::draws::{Draws, Stream};

    /// Validation C6: the slowest of n exponential start-ups takes their mean times the n-th
    /// harmonic number; within the 99 % interval of the simulation, which is at most 2 % wide.
    #[test]
    fn slowest_of_many_exponentials() {
        let dist = DistF64::new(DistSpec::Exponential(ExponentialSpec { mean: 40.0 }))
            .expect("a valid distribution");
        for (n, runs, want) in [(1, 70_000, 40.0), (10, 13_000, 117.16), (100, 4_500, 207.50)] {
            let slowest = |run| {
                let draws = Draws::new(1, run);
                let start = |key| dist.sample(draws.uniform(Stream::NodeBoot, key));
                (0..n).map(start).fold(0.0, f64::max)
            };
            let values: Vec<f64> = (0..runs).map(slowest).collect();
            let mean = values.iter().sum::<f64>() / runs as f64;
            let square = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>();
            let half_width = 2.576 * (square / (runs * (runs - 1)) as f64).sqrt();
            assert!(2.0 * half_width < 0.02 * want, "{n}: ± {half_width}");
            assert!((mean - want).abs() < half_width, "{n}: {mean} ± {half_width}, want {want}");
        }
    }
}

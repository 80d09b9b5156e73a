//! Replications in parallel, folded in the order of their index.
//!
//! Replications run in waves of whole blocks of [`BLOCK`]; a wave's results are folded one after
//! the other in index order, and the stop rule looks only at prefixes that end at a block. So the
//! result does not depend on threads or on who finished first.
//!
//! Memory: a [`Row`] a replication (a few kilobytes), and its time series as `f32` for quantile
//! bands. These are kept for the first replications as far as [`BAND_BUDGET`] bytes and
//! [`BAND_REPLICATIONS`] reach; means are over all replications. With 100 lines of 289 points
//! that is 116 KB a replication and every one of 1,000 is kept. Besides, a wave's series exist
//! once while it is folded. The full record of one replication is kept, of the others nothing.

use super::samples::{estimate as sample, quantile_sorted};
use super::{Estimate, Replicate};
use crate::observe::outcome::{
    CostLine, Detail, Diagnosis, Outcome, ReasonCount, SeriesLine, SubnetSummary,
};
use crate::units::Span;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Replications at whose multiples the stop rule looks.
pub const BLOCK: u32 = 64;
/// Replications that quantile bands use at most.
pub const BAND_REPLICATIONS: usize = 1000;
/// Bytes that the series of these replications take at most (at least [`BLOCK`] are kept).
pub const BAND_BUDGET: usize = 256 << 20;

/// How a study is run.
#[derive(Clone, Debug)]
pub struct StudyOptions<'a> {
    /// Replications; with a precision, at most so many.
    pub replications: u32,
    /// Stop at a block when estimates are that precise.
    pub precision: Option<Precision>,
    /// Threads; none for one a core.
    pub threads: Option<usize>,
    /// Replication whose full record is kept.
    pub detail: Option<u32>,
    /// Set from outside to finish early: running replications end, no new one starts.
    pub stop: &'a AtomicBool,
}

/// A stop rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Precision {
    /// Half width of the 95 % interval, relative to the mean.
    pub relative: f64,
    /// Columns that must be that precise.
    pub columns: Vec<usize>,
}

/// How far a study is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Finished replications.
    pub done: u32,
    /// Replications to do, at most.
    pub total: u32,
    /// Events handled so far.
    pub events: u64,
}

/// Why a study ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Ended {
    /// All replications are done.
    #[default]
    Complete,
    /// The estimates are as precise as asked.
    Precise,
    /// The largest number of replications was reached before that.
    NotPrecise,
    /// Stopped from outside.
    Interrupted,
}

/// One replication, without its time series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Index.
    pub replication: u32,
    /// Digest over all changes.
    pub digest: u64,
    /// Events handled.
    pub events: u64,
    /// Set when a bound ended it early.
    pub diagnosis: Option<Diagnosis>,
    /// One value a column.
    pub values: Vec<f64>,
    /// Pods bound at any time, add-ons not counted.
    pub pods_bound: u64,
    /// What held pods up.
    pub reasons: Vec<ReasonCount>,
    /// Cost by component.
    pub cost: Vec<CostLine>,
    /// A line per subnet.
    pub subnets: Vec<SubnetSummary>,
}

/// One time series over all replications: mean and quantiles at each point of the grid.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Band {
    /// What it is.
    pub name: String,
    /// Which object; empty for the cluster.
    pub object: String,
    /// Unit.
    pub unit: &'static str,
    /// Mean.
    pub mean: Vec<f64>,
    /// Quantiles at [`BAND_QUANTILES`].
    pub quantiles: [Vec<f64>; 5],
}

/// The quantiles of a [`Band`].
pub const BAND_QUANTILES: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];

impl Band {
    /// The median at each point.
    #[must_use]
    pub fn median(&self) -> &[f64] {
        &self.quantiles[2]
    }
}

/// The result of a study.
#[derive(Clone, Debug, Default)]
pub struct Study {
    /// A row a replication, in order.
    pub rows: Vec<Row>,
    /// Time series.
    pub bands: Vec<Band>,
    /// Distance of their points.
    pub step: Span,
    /// Replications behind the quantiles.
    pub band_replications: usize,
    /// The full record of one replication, with its index.
    pub detail: Option<(u32, Detail)>,
    /// Why it ended.
    pub ended: Ended,
}

impl Study {
    /// The estimate of a column over all replications.
    #[must_use]
    pub fn estimate(&self, column: usize) -> Option<Estimate> {
        column_estimate(&self.rows, column)
    }
    /// Events of all replications.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.rows.iter().map(|r| r.events).sum()
    }
}

/// The estimate of a column over some replications.
#[must_use]
pub fn column_estimate(rows: &[Row], column: usize) -> Option<Estimate> {
    sample(rows.iter().map(|r| r.values.get(column).copied().unwrap_or(f64::NAN)))
}

/// Runs a study. `progress` is called after each replication, from any thread.
pub fn run(
    model: &dyn Replicate,
    options: &StudyOptions<'_>,
    progress: &(dyn Fn(Progress) + Sync),
) -> Study {
    let mut fold = Fold { step: model.grid().0, ..Fold::default() };
    let counters = Counters { done: AtomicU32::new(0), events: AtomicU64::new(0) };
    let workers = Workers::new(options.threads);
    let wave = workers.count().saturating_mul(2).div_ceil(BLOCK).saturating_mul(BLOCK).max(BLOCK);
    let ended = 'waves: loop {
        let next = fold.rows.len() as u32;
        if next >= options.replications {
            break if options.precision.is_some() { Ended::NotPrecise } else { Ended::Complete };
        }
        let range = next..next.saturating_add(wave).min(options.replications);
        let expected = range.len();
        let mut finished = 0;
        for piece in workers.map(range, &|r| one(model, options, r, &counters, progress)) {
            let Some(piece) = piece else { break };
            fold.add(piece);
            finished += 1;
            if fold.is_precise(options) {
                break 'waves Ended::Precise;
            }
        }
        if finished < expected {
            break Ended::Interrupted;
        }
    };
    fold.finish(ended)
}

struct Counters {
    done: AtomicU32,
    events: AtomicU64,
}

/// What a worker hands over: the series already in the form they are kept in.
struct Piece {
    row: Row,
    lines: Vec<SeriesLine>,
    points: Vec<f32>,
    detail: Option<Detail>,
}

fn one(
    model: &dyn Replicate,
    options: &StudyOptions<'_>,
    replication: u32,
    counters: &Counters,
    progress: &(dyn Fn(Progress) + Sync),
) -> Option<Piece> {
    if options.stop.load(Ordering::Relaxed) {
        return None;
    }
    let outcome = model.run(replication, options.detail == Some(replication));
    let events = counters.events.fetch_add(outcome.events, Ordering::Relaxed) + outcome.events;
    let done = counters.done.fetch_add(1, Ordering::Relaxed) + 1;
    progress(Progress { done, total: options.replications, events });
    Some(Piece::from(replication, outcome))
}

impl Piece {
    fn from(replication: u32, outcome: Outcome) -> Self {
        let mut lines = outcome.series.lines;
        let mut points = Vec::with_capacity(lines.iter().map(|l| l.values.len()).sum());
        for line in &mut lines {
            points.extend(line.values.iter().map(|&v| v as f32));
            if replication > 0 {
                *line = SeriesLine::default();
            }
        }
        let row = Row {
            replication,
            digest: outcome.digest,
            events: outcome.events,
            diagnosis: outcome.diagnosis,
            values: outcome.values,
            pods_bound: outcome.pods_bound,
            reasons: outcome.reasons,
            cost: outcome.cost,
            subnets: outcome.subnets,
        };
        let lines = if replication == 0 { lines } else { Vec::new() };
        Self { row, lines, points, detail: outcome.detail }
    }
}

#[derive(Default)]
struct Fold {
    rows: Vec<Row>,
    step: Span,
    lines: Vec<SeriesLine>,
    sums: Vec<f64>,
    summed: usize,
    kept: Vec<Vec<f32>>,
    detail: Option<(u32, Detail)>,
}

impl Fold {
    fn add(&mut self, piece: Piece) {
        if self.rows.is_empty() {
            self.lines = piece.lines;
            self.sums = vec![0.0; piece.points.len()];
        }
        // A replication that a bound ended early may have fewer points: it has no say in bands.
        if piece.points.len() == self.sums.len() {
            for (sum, &point) in self.sums.iter_mut().zip(&piece.points) {
                *sum += f64::from(point);
            }
            self.summed += 1;
            if self.kept.len() < self.band_capacity() {
                self.kept.push(piece.points);
            }
        }
        if let Some(detail) = piece.detail {
            self.detail = Some((piece.row.replication, detail));
        }
        self.rows.push(piece.row);
    }

    fn band_capacity(&self) -> usize {
        let bytes = self.sums.len().saturating_mul(size_of::<f32>()).max(1);
        (BAND_BUDGET / bytes).clamp(BLOCK as usize, BAND_REPLICATIONS)
    }

    fn is_precise(&self, options: &StudyOptions<'_>) -> bool {
        let Some(precision) = &options.precision else { return false };
        self.rows.len().is_multiple_of(BLOCK as usize)
            && precision.columns.iter().all(|&column| {
                column_estimate(&self.rows, column)
                    .is_none_or(|e| e.half_width <= precision.relative * e.mean.abs())
            })
    }

    fn finish(mut self, ended: Ended) -> Study {
        let mut bands = Vec::with_capacity(self.lines.len());
        let mut start = 0;
        for line in std::mem::take(&mut self.lines) {
            let range = start..start + line.values.len();
            start = range.end;
            bands.push(self.band(line, range));
        }
        Study {
            rows: self.rows,
            bands,
            step: self.step,
            band_replications: self.kept.len(),
            detail: self.detail,
            ended,
        }
    }

    fn band(&self, line: SeriesLine, range: Range<usize>) -> Band {
        let mean = self.sums.get(range.clone()).unwrap_or_default();
        let mean = mean.iter().map(|sum| sum / self.summed.max(1) as f64).collect();
        let mut quantiles: [Vec<f64>; 5] =
            core::array::from_fn(|_| Vec::with_capacity(range.len()));
        let mut column = Vec::with_capacity(self.kept.len());
        for at in range {
            column.clear();
            column.extend(self.kept.iter().filter_map(|points| points.get(at)).copied());
            column.sort_unstable_by(f32::total_cmp);
            for (values, &q) in quantiles.iter_mut().zip(&BAND_QUANTILES) {
                values.push(quantile_sorted(&column, q));
            }
        }
        Band { name: line.name, object: line.object, unit: line.unit, mean, quantiles }
    }
}

/// The threads of a study.
struct Workers {
    #[cfg(feature = "parallel")]
    pool: Option<rayon::ThreadPool>,
}

impl Workers {
    #[cfg(feature = "parallel")]
    fn new(threads: Option<usize>) -> Self {
        let builder = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0));
        Self { pool: builder.build().ok().filter(|pool| pool.current_num_threads() > 1) }
    }
    #[cfg(not(feature = "parallel"))]
    fn new(_: Option<usize>) -> Self {
        Self {}
    }

    #[cfg(feature = "parallel")]
    fn count(&self) -> u32 {
        self.pool.as_ref().map_or(1, |pool| pool.current_num_threads() as u32)
    }
    #[cfg(not(feature = "parallel"))]
    fn count(&self) -> u32 {
        1
    }

    /// Results in the order of the range, whoever made them.
    fn map<T: Send>(&self, range: Range<u32>, f: &(dyn Fn(u32) -> T + Sync)) -> Vec<T> {
        #[cfg(feature = "parallel")]
        if let Some(pool) = &self.pool {
            use rayon::prelude::*;
            return pool.install(|| range.into_par_iter().with_max_len(1).map(f).collect());
        }
        range.map(f).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::fake::Fake;

    fn options(replications: u32, threads: usize, stop: &AtomicBool) -> StudyOptions<'_> {
        let threads = Some(threads);
        StudyOptions { replications, precision: None, threads, detail: Some(0), stop }
    }

    #[test]
    fn threads_change_nothing() {
        let go = AtomicBool::new(false);
        let model = Fake::default();
        let runs: Vec<_> =
            [1, 2, 5].map(|t| run(&model, &options(130, t, &go), &|_| {})).into_iter().collect();
        for other in &runs[1..] {
            assert_eq!(runs[0].rows.len(), 130);
            assert_eq!(format!("{:?}", runs[0]), format!("{other:?}"));
        }
    }

    #[test]
    fn the_stop_rule_looks_at_blocks_only() {
        let go = AtomicBool::new(false);
        let model = Fake::default();
        let cost = crate::study::fake::column("cost_usd_per_month");
        for (relative, expected) in [(0.5, (64, Ended::Precise)), (0.0, (100, Ended::NotPrecise))] {
            let mut options = options(100, 2, &go);
            options.precision = Some(Precision { relative, columns: vec![cost] });
            let study = run(&model, &options, &|_| {});
            assert_eq!((study.rows.len(), study.ended), expected);
        }
    }

    #[test]
    fn interrupting_keeps_the_finished_prefix() {
        let stop = AtomicBool::new(false);
        let model = Fake::default();
        let study = run(&model, &options(500, 2, &stop), &|p| {
            if p.done >= 70 {
                stop.store(true, Ordering::Relaxed);
            }
        });
        assert_eq!(study.ended, Ended::Interrupted);
        assert!((64..80).contains(&study.rows.len()), "{}", study.rows.len());
        assert!(study.rows.iter().enumerate().all(|(i, r)| r.replication as usize == i));
        assert!(study.bands.iter().all(|b| b.mean.len() == b.median().len()));
    }

    #[test]
    fn bands_are_quantiles_over_replications() {
        let go = AtomicBool::new(false);
        let study = run(&Fake::default(), &options(50, 2, &go), &|_| {});
        let band = study.bands.iter().find(|b| b.name == "cost_rate").unwrap();
        for i in 0..band.mean.len() {
            let at: Vec<f64> = band.quantiles.iter().map(|q| q[i]).collect();
            assert!(at.is_sorted(), "{at:?}");
        }
        assert_eq!(study.detail.as_ref().map(|d| d.0), Some(0));
    }
}

//! Rows of the table of benchmarks: what is run, what it must reach, how it is printed.

use crate::measure;
use std::fmt::Write as _;

/// What a row must reach; what is `None` is not asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Target {
    /// Processor time in seconds, at most.
    pub cpu: Option<f64>,
    /// Peak memory in MB (10^6 bytes), at most.
    pub mb: Option<f64>,
    /// Items a second of processor time, at least.
    pub rate: Option<f64>,
    /// Ratio to what the row compares with, at most.
    pub ratio: Option<f64>,
}

/// What a row measured, in a process of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Measured {
    /// Processor time of making and reading the input.
    pub prepare: f64,
    /// Processor time of the run.
    pub cpu: f64,
    /// Items done (pods, unless the row says otherwise).
    pub items: u64,
    /// Ratio to what the row compares with.
    pub ratio: Option<f64>,
    /// Digest of all decisions: a faster program must give the same.
    pub digest: u64,
    /// Peak memory in bytes.
    pub peak: u64,
}

/// A benchmark. To add one: a function that measures, and a `Row` in a list of `peers`.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Name.
    pub name: &'static str,
    /// What runs: the scheduling core, the whole simulator, …
    pub level: &'static str,
    /// The workload in words.
    pub workload: &'static str,
    /// What must be reached.
    pub target: Target,
    /// Prepares and measures.
    pub run: fn() -> Measured,
}

impl Row {
    /// Name with level.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.name, self.level)
    }
    /// Runs here; the answer is for [`Measured::read`].
    #[must_use]
    pub fn run_here(&self) -> String {
        let m = Measured { peak: 0, ..(self.run)() };
        let ratio = m.ratio.unwrap_or(f64::NAN);
        let (prepare, cpu, items, digest) = (m.prepare, m.cpu, m.items, m.digest);
        format!("{prepare} {cpu} {items} {ratio} {digest:016x} {}", measure::peak_bytes())
    }
}

impl Measured {
    /// Reads what [`Row::run_here`] wrote.
    #[must_use]
    pub fn read(line: &str) -> Option<Self> {
        let mut parts = line.split_whitespace();
        let mut number = || parts.next()?.parse::<f64>().ok();
        let (prepare, cpu, items, ratio) = (number()?, number()?, number()?, number()?);
        let digest = u64::from_str_radix(parts.next()?, 16).ok()?;
        let peak = parts.next()?.parse().ok()?;
        let ratio = Some(ratio).filter(|r| !r.is_nan());
        Some(Self { prepare, cpu, items: items as u64, ratio, digest, peak })
    }
    fn mb(&self) -> f64 {
        self.peak as f64 / 1e6
    }
    fn rate(&self) -> f64 {
        self.items as f64 / self.cpu.max(1e-9)
    }
}

impl Target {
    /// How far each demand is from being met: `measured / demanded`, turned so that more than 1 is
    /// a miss.
    #[must_use]
    pub fn misses(&self, m: &Measured) -> Vec<f64> {
        let at_most = |value: f64, limit: Option<f64>| limit.map(|l| value / l);
        let parts = [
            at_most(m.cpu, self.cpu),
            at_most(m.mb(), self.mb),
            self.rate.map(|r| r / m.rate()),
            m.ratio.and_then(|r| at_most(r, self.ratio)),
        ];
        parts.into_iter().flatten().collect()
    }
    fn text(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.cpu.map(|x| format!("{x} s")));
        parts.extend(self.mb.map(|x| format!("{x} MB")));
        parts.extend(self.rate.map(|x| format!("{}/s", grouped(x))));
        parts.extend(self.ratio.map(|x| format!("{x} x")));
        parts.join(", ")
    }
}

fn grouped(x: f64) -> String {
    let digits = format!("{x:.0}");
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(c);
    }
    out
}

const HEAD: [&str; 10] =
    ["bench", "level", "prepare s", "CPU s", "items", "per s", "ratio", "peak MB", "target", "met"];

/// The table's cells, head first; the last column is the digest.
#[must_use]
pub fn cells(rows: &[(Row, Option<Measured>)]) -> Vec<Vec<String>> {
    let mut out = vec![HEAD.iter().map(|h| (*h).to_owned()).chain(["digest".to_owned()]).collect()];
    for (row, measured) in rows {
        let Some(m) = measured else {
            let mut line = vec![row.name.to_owned(), row.level.to_owned(), "failed".to_owned()];
            line.resize(HEAD.len() + 1, String::new());
            out.push(line);
            continue;
        };
        let worst = row.target.misses(m).into_iter().reduce(f64::max);
        out.push(vec![
            row.name.to_owned(),
            row.level.to_owned(),
            format!("{:.2}", m.prepare),
            format!("{:.3}", m.cpu),
            grouped(m.items as f64),
            grouped(m.rate()),
            m.ratio.map_or_else(String::new, |r| format!("{r:.2}")),
            format!("{:.0}", m.mb()),
            row.target.text(),
            match worst {
                None => "-".to_owned(),
                Some(w) if w <= 1.0 => "yes".to_owned(),
                Some(w) => format!("NO, {w:.2} x off"),
            },
            format!("{:016x}", m.digest),
        ]);
    }
    out
}

/// The table for a terminal.
#[must_use]
pub fn plain(table: &[Vec<String>]) -> String {
    let columns = table.first().map_or(0, Vec::len);
    let width = |c: usize| table.iter().map(|l| l[c].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for line in table {
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(out, "{cell:<width$}  ");
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    out
}

/// The table as Markdown.
#[must_use]
pub fn markdown(table: &[Vec<String>]) -> String {
    let mut out = String::new();
    for (i, line) in table.iter().enumerate() {
        let _ = writeln!(out, "| {} |", line.join(" | "));
        if i == 0 {
            let _ = writeln!(out, "|{}", "---|".repeat(line.len()));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_miss_is_named_with_its_factor() {
        let run = || Measured { prepare: 1.0, cpu: 0.5, items: 1_000, ..Measured::default() };
        let target = Target { cpu: Some(0.25), rate: Some(1_000.0), ..Target::default() };
        let row = Row { name: "a", level: "core", workload: "", target, run };
        let m = Measured::read(&row.run_here()).expect("what was written is read");
        assert_eq!((m.cpu, m.items, m.ratio), (0.5, 1_000, None));
        let table = cells(&[(row, Some(m)), (row, None)]);
        assert_eq!(table[1][8..10], ["0.25 s, 1,000/s", "NO, 2.00 x off"]);
        assert_eq!(table[2].len(), table[0].len());
        assert_eq!(markdown(&table).lines().count(), 4);
    }
}

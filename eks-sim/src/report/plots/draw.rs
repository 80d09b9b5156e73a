//! Drawing: figures of panels with titles, legends, axes, bands and stacks.
//!
//! Everything is drawn at twice its size and scaled down by the picture's view box, because the
//! backend rounds to whole points.

use super::axis::{self, Axis};
use crate::report::number::grouped;
use crate::study::replicate::{Band, Study};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// What bands mean, for remarks.
pub(super) const BANDS: &str =
    "median over replications; bands hold 25–75 % and 5–95 % of the replications";

/// Okabe and Ito's palette without yellow, which is too light for lines.
const PALETTE: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(110, 110, 110),
    RGBColor(0, 0, 0),
];
const INK: RGBColor = RGBColor(34, 34, 34);
const FAINT: RGBColor = RGBColor(105, 105, 105);
const GRID: RGBColor = RGBColor(226, 226, 226);
/// Points drawn per point shown.
const ZOOM: i32 = 2;
const WIDTH: i32 = 920;

/// How the lines of a panel are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Means on top of each other.
    Stack,
    /// Medians with bands.
    Bands,
    /// Means as lines.
    Means,
}

/// One line or layer: the sum of some series.
#[derive(Clone, Debug)]
pub(super) struct Line<'a> {
    pub label: String,
    pub parts: Vec<&'a Band>,
    /// Without bands.
    pub bare: bool,
    /// A series that the mean is drawn without.
    pub less: Option<&'a Band>,
    /// How light a layer of what is not in use is, instead of a colour.
    pub grey: Option<u8>,
}

impl<'a> Line<'a> {
    pub fn new(label: impl Into<String>, parts: Vec<&'a Band>) -> Self {
        Self { label: label.into(), parts, bare: false, less: None, grey: None }
    }
    fn color(&self, index: usize) -> RGBColor {
        self.grey.map_or_else(|| color(index), |grey| RGBColor(grey, grey, grey))
    }
    fn mean(&self) -> Vec<f64> {
        let mut mean = self.sum(|band| &band.mean);
        if let Some(less) = self.less {
            mean.iter_mut().zip(&less.mean).for_each(|(all, part)| *all -= part);
        }
        mean
    }
    /// The quantile of a single series; of several, the sum of means.
    fn quantile(&self, index: usize) -> Vec<f64> {
        match self.parts.as_slice() {
            [one] => one.quantiles.get(index).cloned().unwrap_or_default(),
            _ => self.mean(),
        }
    }
    fn sum(&self, values: impl Fn(&'a Band) -> &'a Vec<f64>) -> Vec<f64> {
        let length = self.parts.first().map_or(0, |band| values(band).len());
        let at = |i: usize| self.parts.iter().filter_map(|b| values(b).get(i)).sum();
        (0..length).map(at).collect()
    }
}

/// One chart.
#[derive(Clone, Debug)]
pub(super) struct Panel<'a> {
    pub title: String,
    pub unit: &'static str,
    pub shape: Shape,
    pub lines: Vec<Line<'a>>,
    /// A second, lower chart under the first: unit and line.
    pub below: Option<(&'static str, Line<'a>)>,
    /// The name of the sum of a stack, drawn as a line on top of it.
    pub total: Option<&'static str>,
}

impl<'a> Panel<'a> {
    pub fn new(
        title: impl Into<String>,
        unit: &'static str,
        shape: Shape,
        lines: Vec<Line<'a>>,
    ) -> Self {
        Self { title: title.into(), unit, shape, lines, below: None, total: None }
    }
}

/// A picture.
#[derive(Clone, Debug)]
pub(super) struct Figure<'a> {
    pub panels: Vec<Panel<'a>>,
    pub columns: usize,
    /// Height of a row of panels.
    pub height: i32,
    pub remark: String,
}

impl<'a> Figure<'a> {
    pub fn one(panel: Panel<'a>, remark: &str) -> Self {
        Self { panels: vec![panel], columns: 1, height: 400, remark: remark.to_owned() }
    }
}

type Area<'b> = DrawingArea<SVGBackend<'b>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// The figure as SVG.
pub(super) fn svg(figure: &Figure<'_>, study: &Study) -> String {
    let rows = figure.panels.len().div_ceil(figure.columns.max(1)) as i32;
    let (width, height) = (WIDTH, rows * figure.height + REMARK);
    let mut out = String::new();
    {
        let size = ((width * ZOOM) as u32, (height * ZOOM) as u32);
        let root = SVGBackend::with_string(&mut out, size).into_drawing_area();
        draw(&root, figure, study).expect("drawing into a text cannot fail");
    }
    let drawn = format!("width=\"{}\" height=\"{}\"", width * ZOOM, height * ZOOM);
    out.replacen(&drawn, &format!("width=\"{width}\" height=\"{height}\""), 1)
}

/// Height of the remark at the foot.
const REMARK: i32 = 26;

fn draw(root: &Area<'_>, figure: &Figure<'_>, study: &Study) -> Drawn {
    root.fill(&WHITE)?;
    let (width, height) = root.dim_in_pixel();
    let columns = figure.columns.max(1);
    let (w, h) = (width as i32 / columns as i32, figure.height * ZOOM);
    for (i, panel) in figure.panels.iter().enumerate() {
        let (x, y) = ((i % columns) as i32 * w, (i / columns) as i32 * h);
        let cell = root.clone().shrink((x, y), (w, h));
        draw_panel(&cell, panel, study, columns)?;
    }
    let n = study.rows.len();
    let count = if n == 1 { "1 replication".to_owned() } else { format!("{n} replications") };
    let remark = format!("{count}; {}", figure.remark);
    let foot = (12 * ZOOM, height as i32 - 18 * ZOOM);
    words(root, &remark, foot, 11, &FAINT, TOP_LEFT)?;
    root.present()
}

const TOP_LEFT: Pos = Pos { h_pos: HPos::Left, v_pos: VPos::Top };

fn words(
    area: &Area<'_>,
    text: &str,
    at: (i32, i32),
    size: i32,
    color: &RGBColor,
    anchor: Pos,
) -> Drawn {
    let style = ("sans-serif", size * ZOOM).into_font().color(color).pos(anchor);
    area.draw_text(text, &style, at)
}

/// Width of a text in shown points: an average letter of common sans-serif fonts is 0.56 em wide.
fn text_width(words: &str, size: i32) -> i32 {
    words.chars().count() as i32 * size * 56 / 100
}

fn draw_panel(cell: &Area<'_>, panel: &Panel<'_>, study: &Study, columns: usize) -> Drawn {
    let (width, height) = cell.dim_in_pixel();
    let width = width as i32 / ZOOM;
    let title_size = if columns > 1 { 12 } else { 16 };
    let title = shortened(&panel.title, (width - 24) * 100 / 58 / title_size);
    words(cell, &title, (12 * ZOOM, 10 * ZOOM), title_size, &INK, TOP_LEFT)?;
    let top = legend(cell, panel, 14 + title_size + 6, width)?;
    let chart = cell.clone().shrink((0, top * ZOOM), (width * ZOOM, height as i32 - top * ZOOM));
    let Some((unit, line)) = &panel.below else {
        return draw_chart(&chart, panel, &Frame::new(&chart, panel, study, true));
    };
    let full = height as i32 - top * ZOOM;
    let (above, below) = chart.split_vertically(full * 52 / 100);
    let lower = Panel::new("", unit, Shape::Stack, vec![line.clone()]);
    let mut frames =
        [Frame::new(&above, panel, study, false), Frame::new(&below, &lower, study, true)];
    let left = frames[0].left.max(frames[1].left);
    frames.iter_mut().for_each(|frame| frame.indent(left));
    draw_chart(&above, panel, &frames[0])?;
    draw_chart(&below, &lower, &frames[1])
}

/// The end of a name tells more than its start.
fn shortened(name: &str, most: i32) -> String {
    let (length, most) = (name.chars().count(), most.max(8) as usize);
    if length <= most {
        return name.to_owned();
    }
    let tail: String = name.chars().skip(length - most + 1).collect();
    format!("…{tail}")
}

/// Draws the legend in rows below the title; answers where the chart may begin.
fn legend(
    cell: &Area<'_>,
    panel: &Panel<'_>,
    top: i32,
    width: i32,
) -> Result<i32, DrawingAreaErrorKind<std::io::Error>> {
    const SIZE: i32 = 12;
    let (mut x, mut y) = (14, top);
    let load = panel.below.iter().map(|(_, line)| (line, LOAD));
    let lines = panel.lines.iter().enumerate().map(|(i, line)| (line, line.color(i)));
    let named = lines.chain(load).map(|(line, color)| (line.label.as_str(), color));
    for (label, color) in named.chain(panel.total.map(|label| (label, INK))) {
        let label = shortened(label, 40);
        let needed = 18 + text_width(&label, SIZE) + 14;
        if x > 14 && x + needed > width - 8 {
            (x, y) = (14, y + SIZE + 6);
        }
        let swatch = [(x * ZOOM, y * ZOOM), ((x + 12) * ZOOM, (y + 10) * ZOOM)];
        cell.draw(&Rectangle::new(swatch, color.filled()))?;
        words(cell, &label, ((x + 17) * ZOOM, y * ZOOM), SIZE, &INK, TOP_LEFT)?;
        x += needed;
    }
    Ok(y + SIZE + 8)
}

const LOAD: RGBColor = RGBColor(150, 150, 150);

fn color(index: usize) -> RGBColor {
    PALETTE[index % PALETTE.len()]
}

/// Layers of a panel in drawing order: lower edge and upper edge for stacks.
fn stacked(lines: &[Line<'_>]) -> Vec<(Vec<f64>, Vec<f64>)> {
    let mut base: Vec<f64> = Vec::new();
    let mut layers = Vec::new();
    for line in lines {
        let mean = line.mean();
        base.resize(mean.len(), 0.0);
        let upper: Vec<f64> = base.iter().zip(&mean).map(|(b, m)| b + m).collect();
        layers.push((core::mem::replace(&mut base, upper.clone()), upper));
    }
    layers
}

fn largest(panel: &Panel<'_>) -> f64 {
    let max = |values: Vec<f64>| values.into_iter().filter(|v| v.is_finite()).fold(0.0, f64::max);
    match panel.shape {
        Shape::Stack => stacked(&panel.lines).pop().map_or(0.0, |(_, upper)| max(upper)),
        Shape::Bands => panel.lines.iter().map(|l| max(l.quantile(4))).fold(0.0, f64::max),
        Shape::Means => panel.lines.iter().map(|l| max(l.mean())).fold(0.0, f64::max),
    }
}

fn draw_chart(area: &Area<'_>, panel: &Panel<'_>, frame: &Frame) -> Drawn {
    frame.axes(area, panel.unit)?;
    match panel.shape {
        Shape::Stack => {
            let alone = panel.title.is_empty();
            let layers = stacked(&panel.lines);
            for ((i, line), (lower, upper)) in panel.lines.iter().enumerate().zip(&layers) {
                let fill = if alone { LOAD } else { line.color(i) };
                area.draw(&frame.ring(lower, upper, fill.mix(0.82).filled()))?;
            }
            if let (Some(_), Some((_, sum))) = (panel.total, layers.last()) {
                area.draw(&frame.path(sum, INK))?;
            }
        }
        Shape::Bands => {
            for (i, line) in panel.lines.iter().enumerate().filter(|(_, line)| !line.bare) {
                for (low, high, strength) in [(0, 4, 0.16), (1, 3, 0.24)] {
                    let fill = color(i).mix(strength).filled();
                    area.draw(&frame.ring(&line.quantile(low), &line.quantile(high), fill))?;
                }
            }
            for (i, line) in panel.lines.iter().enumerate() {
                area.draw(&frame.path(&line.quantile(2), color(i)))?;
            }
        }
        Shape::Means => {
            for (i, line) in panel.lines.iter().enumerate() {
                area.draw(&frame.path(&line.mean(), color(i)))?;
            }
        }
    }
    Ok(())
}

/// The place of a chart within an area: from values to points.
struct Frame {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    x: Axis,
    y: Axis,
    time_unit: Option<&'static str>,
    /// Distance of the points of a series on the time axis.
    step: f64,
}

impl Frame {
    fn new(area: &Area<'_>, panel: &Panel<'_>, study: &Study, time_label: bool) -> Self {
        let (width, height) = area.dim_in_pixel();
        let (width, height) = (width as i32, height as i32);
        let points = study.bands.first().map_or(0, |b| b.mean.len()).max(2) as u64;
        let duration = study.step * (points - 1);
        let (unit, size, x) = axis::time(duration, (width / ZOOM / 58).clamp(3, 13) as usize);
        let whole = matches!(panel.unit, "pods" | "nodes" | "replicas" | "addresses");
        let most = (height / ZOOM / 40).clamp(2, 6) as usize;
        let y = axis::value(largest(panel), most, whole);
        let widest = y.ticks.iter().map(|&t| text_width(&grouped(t, y.decimals), 11)).max();
        let left = (widest.unwrap_or(20) + 34) * ZOOM;
        let bottom = if time_label { 42 } else { 8 } * ZOOM;
        let top = 8 * ZOOM;
        Self {
            left: f64::from(left),
            top: f64::from(top),
            width: f64::from((width - left - 18 * ZOOM).max(1)),
            height: f64::from((height - top - bottom).max(1)),
            x,
            y,
            time_unit: time_label.then_some(unit),
            step: study.step.secs_f64() / size,
        }
    }

    /// Moves the left edge, so that charts above each other share their time axis.
    fn indent(&mut self, left: f64) {
        self.width -= left - self.left;
        self.left = left;
    }

    fn point(&self, x: f64, y: f64) -> (i32, i32) {
        let across = self.left + self.width * (x / self.x.end).clamp(0.0, 1.0);
        let down = self.top + self.height * (1.0 - (y / self.y.end).clamp(0.0, 1.0));
        (across.round() as i32, down.round() as i32)
    }

    /// Grid, ticks with labels, names of the axes.
    fn axes(&self, area: &Area<'_>, unit: &str) -> Drawn {
        let (right, origin) = (self.x.end, self.point(0.0, 0.0));
        for &tick in &self.y.ticks {
            let ends = vec![self.point(0.0, tick), self.point(right, tick)];
            let at = (ends[0].0 - 6 * ZOOM, ends[0].1);
            let style = if tick == 0.0 { FAINT } else { GRID }.stroke_width(ZOOM as u32);
            area.draw(&PathElement::new(ends, style))?;
            let label = grouped(tick, self.y.decimals);
            words(area, &label, at, 11, &FAINT, Pos::new(HPos::Right, VPos::Center))?;
        }
        let middle = (8 * ZOOM, (self.top + self.height / 2.0) as i32);
        let turned = ("sans-serif", 12 * ZOOM).into_font().transform(FontTransform::Rotate270);
        let style = turned.color(&INK).pos(Pos::new(HPos::Center, VPos::Top));
        area.draw_text(unit, &style, middle)?;
        let Some(time_unit) = self.time_unit else { return Ok(()) };
        for &tick in &self.x.ticks {
            let at = self.point(tick, 0.0);
            let ends = vec![at, (at.0, at.1 + 4 * ZOOM)];
            area.draw(&PathElement::new(ends, FAINT.stroke_width(ZOOM as u32)))?;
            let label = grouped(tick, self.x.decimals);
            let below = (at.0, at.1 + 7 * ZOOM);
            words(area, &label, below, 11, &FAINT, Pos::new(HPos::Center, VPos::Top))?;
        }
        let name = format!("time ({time_unit})");
        let at = ((self.left + self.width / 2.0) as i32, origin.1 + 24 * ZOOM);
        words(area, &name, at, 12, &INK, Pos::new(HPos::Center, VPos::Top))
    }

    fn path(&self, values: &[f64], color: RGBColor) -> PathElement<(i32, i32)> {
        let finite = values.iter().enumerate().filter(|v| v.1.is_finite());
        let points: Vec<_> = finite.map(|(i, &v)| self.point(i as f64 * self.step, v)).collect();
        PathElement::new(points, color.stroke_width((ZOOM * 3 / 2) as u32))
    }

    /// The area between two lines.
    fn ring(&self, lower: &[f64], upper: &[f64], style: ShapeStyle) -> Polygon<(i32, i32)> {
        let both = lower.iter().zip(upper).enumerate();
        let both: Vec<_> = both.filter(|(_, (l, u))| l.is_finite() && u.is_finite()).collect();
        let at = |i: usize, v: f64| self.point(i as f64 * self.step, v);
        let there = both.iter().map(|(i, (_, u))| at(*i, **u));
        let back = both.iter().rev().map(|(i, (l, _))| at(*i, **l));
        Polygon::new(there.chain(back).collect::<Vec<_>>(), style)
    }
}

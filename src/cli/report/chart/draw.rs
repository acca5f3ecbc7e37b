//! Puts panels and bars on paper with the drawing library.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::scale::{self, Axis};
use crate::event::Timestamp;
use crate::performance::Ranged as Interval;

/// Width of every chart in pixels; the page scales it.
const WIDTH: u32 = 760;
/// Room of the title and the legend above a panel.
const HEAD: u32 = 40;
/// Room left of a panel for its marks.
const LEFT: u32 = 58;
/// Room below a panel for its dates.
const BELOW: u32 = 22;
/// Size of text; the library writes 0.81 of it.
const TEXT: i32 = 14;
/// Width of a character of that size.
const CHARACTER: f64 = 6.0;
/// Up to so many windows each has a point of its own.
const POINTS_EACH: usize = 70;
/// Up to so many changes of version are named.
const MARKS_NAMED: usize = 4;

const INK: RGBColor = RGBColor(27, 31, 36);
const GREY: RGBColor = RGBColor(87, 96, 106);
const GRID: RGBColor = RGBColor(228, 232, 236);
const BLUE: RGBColor = RGBColor(9, 78, 162);
const ORANGE: RGBColor = RGBColor(188, 76, 0);
const RED: RGBColor = RGBColor(180, 35, 24);
const SHADE: RGBColor = RGBColor(253, 240, 222);

/// What goes wrong in drawing: writing into a string cannot fail, so any of it is a defect.
pub(in crate::cli::report) type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Where a panel is drawn.
pub(super) type Root<'a> = DrawingArea<SVGBackend<'a>, Shift>;

type Plot<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<Axis, Axis>>;

/// A panel of lines over time.
pub(super) struct Panel {
    /// What it shows, and in which unit.
    pub title: String,
    /// Where it begins.
    pub from: Timestamp,
    /// Where it ends.
    pub to: Timestamp,
    /// The lines, the uppermost last.
    pub series: Vec<Series>,
    /// A limit that the operator set.
    pub limit: Option<f64>,
    /// Whether 0 has a line.
    pub has_zero: bool,
    /// Incidents.
    pub shaded: Vec<(Timestamp, Timestamp)>,
    /// Moments with a name.
    pub marks: Vec<(Timestamp, String)>,
}

/// A line with its band.
pub(super) struct Series {
    /// By window; `None` breaks the line.
    pub values: Vec<Option<Key>>,
    /// How it is drawn.
    pub stroke: Stroke,
}

/// A point of a line.
#[derive(Clone, Copy)]
pub(super) struct Key {
    /// Middle of the window, in seconds since the epoch.
    pub x: f64,
    /// Half of its length.
    pub half: f64,
    /// Value and interval.
    pub range: Interval,
    /// Whether it is provisional.
    pub is_hollow: bool,
}

/// How a line is drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stroke {
    /// From labels.
    Realised,
    /// Without labels.
    Estimated,
    /// Of the training data.
    Training,
    /// A sum over windows.
    Sum,
}

impl Stroke {
    fn colour(self) -> RGBColor {
        match self {
            Self::Realised => BLUE,
            Self::Estimated => ORANGE,
            Self::Training => GREY,
            Self::Sum => INK,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Realised => "realised",
            Self::Estimated => "estimated",
            Self::Training => "in training",
            Self::Sum => "sum",
        }
    }
}

/// Draws panels below one another; nothing when the first has no number.
pub(super) fn panels(panels: &[(Panel, u32)]) -> Result<String, Failed> {
    let axes: Vec<(&Panel, u32, Axis)> =
        panels.iter().filter_map(|(panel, height)| Some((panel, *height, panel.axis()?))).collect();
    if axes.is_empty() {
        return Ok(String::new());
    }
    let height = axes.iter().map(|(_, height, _)| *height).sum();
    let mut text = String::new();
    {
        let mut rest = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        let whole = rest.clone();
        for (panel, height, axis) in &axes {
            let (this, below) = rest.split_vertically(*height);
            panel.draw(&this, axis)?;
            rest = below;
        }
        whole.present()?;
    }
    Ok(text)
}

/// Draws bars from 0 to 1 with their names before and their values behind; those that alarmed are dark.
pub(super) fn bars(bars: &[(String, f64, bool)], write: impl Fn(f64) -> String) -> Result<String, Failed> {
    const ROW: i32 = 24;
    const NAMES: i32 = 205;
    const VALUES: i32 = 60;
    if bars.is_empty() {
        return Ok(String::new());
    }
    let head: i32 = 24;
    let height = u32::try_from(bars.len()).unwrap_or(0) * ROW.unsigned_abs() + head.unsigned_abs() + 4;
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        let title = "How much each column moved, from 0 to 1; dark: it made the alarm";
        root.draw(&Text::new(title.to_owned(), (0, 2), style(INK, HPos::Left)))?;
        let room = f64::from(WIDTH) - f64::from(NAMES + VALUES);
        for ((name, size, alarm), top) in bars.iter().zip((head..).step_by(ROW as usize)) {
            let middle = top + ROW / 2;
            root.draw(&Text::new(name.clone(), (NAMES - 8, middle - 6), style(INK, HPos::Right)))?;
            // At most the width of the chart.
            let end = NAMES + (room * size).round() as i32;
            let colour = if *alarm { BLUE } else { RGBColor(150, 180, 214) };
            root.draw(&Rectangle::new(
                [(NAMES, top + 4), (end.max(NAMES + 1), top + ROW - 4)],
                colour.filled(),
            ))?;
            root.draw(&Text::new(write(*size), (end + 6, middle - 6), style(GREY, HPos::Left)))?;
        }
        root.present()?;
    }
    Ok(text)
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (begin, end): (i32, i32)) -> i32 {
        let share = (value - self.low) / (self.high - self.low);
        // Between two pixels of the chart: values are held on the axis before they are drawn.
        begin + (f64::from(end - begin) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.marks.clone() }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, mark: &f64) -> String {
        self.label(*mark)
    }
}

fn style(colour: RGBColor, side: HPos) -> TextStyle<'static> {
    let font = ("Helvetica, Arial, sans-serif", TEXT).into_font();
    font.color(&colour).pos(Pos::new(side, VPos::Top))
}

impl Panel {
    /// The axis of its numbers; `None` when no line has one.
    fn axis(&self) -> Option<Axis> {
        let keys = || self.series.iter().flat_map(|series| series.values.iter().flatten());
        keys().next()?;
        let mut core: Vec<f64> = keys().map(|key| key.range.value).collect();
        core.extend(self.limit);
        core.extend(self.has_zero.then_some(0.0));
        let intervals: Vec<(f64, f64)> =
            keys().filter_map(|key| Some((key.range.low?, key.range.high?))).collect();
        scale::numbers(&core, &intervals)
    }

    fn draw(&self, area: &Root<'_>, y: &Axis) -> Result<(), Failed> {
        self.legend(area)?;
        let x = scale::time(self.from, self.to);
        let mut builder = ChartBuilder::on(area);
        builder.margin_top(HEAD).margin_right(32).x_label_area_size(BELOW).y_label_area_size(LEFT);
        let mut plot = builder.build_cartesian_2d(x.clone(), y.clone())?;
        for (start, end) in &self.shaded {
            let corners = [(x.held(scale::seconds(*start)), y.low), (x.held(scale::seconds(*end)), y.high)];
            plot.draw_series([Rectangle::new(corners, SHADE.filled())])?;
        }
        plot.configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GREY)
            .x_label_style(style(GREY, HPos::Center))
            .y_label_style(style(GREY, HPos::Right).pos(Pos::new(HPos::Right, VPos::Center)))
            .draw()?;
        self.lines(&mut plot, &x, y)
    }

    fn lines(&self, plot: &mut Plot<'_>, x: &Axis, y: &Axis) -> Result<(), Failed> {
        let across = |value: f64| [(x.low, y.held(value)), (x.high, y.held(value))];
        if self.has_zero {
            plot.draw_series([PathElement::new(across(0.0), GREY)])?;
        }
        if let Some(limit) = self.limit {
            plot.draw_series(DashedLineSeries::new(across(limit), 2, 3, RED.stroke_width(2)))?;
        }
        for (at, _) in &self.marks {
            let at = x.held(scale::seconds(*at));
            plot.draw_series(DashedLineSeries::new([(at, y.low), (at, y.high)], 3, 3, GREY.stroke_width(1)))?;
        }
        if self.marks.len() <= MARKS_NAMED {
            for (at, name) in &self.marks {
                let at = x.held(scale::seconds(*at));
                let side = if at > (x.low + x.high) / 2.0 { HPos::Right } else { HPos::Left };
                plot.draw_series([Text::new(
                    format!("\u{a0}{name}\u{a0}"),
                    (at, y.high),
                    style(GREY, side),
                )])?;
            }
        }
        for series in &self.series {
            series.draw(plot, x, y)?;
        }
        Ok(())
    }

    /// The title, and below it what each line means.
    fn legend(&self, area: &Root<'_>) -> Result<(), Failed> {
        area.draw(&Text::new(self.title.clone(), (0, 2), style(INK, HPos::Left)))?;
        let mut left = i32::try_from(LEFT).unwrap_or(0);
        let top = 26;
        let mut after = |name: &str| {
            let here = left;
            left += 40 + (name.chars().count() as f64 * CHARACTER) as i32;
            here
        };
        let text =
            |name: &str, left: i32| Text::new(name.to_owned(), (left + 24, top - 6), style(GREY, HPos::Left));
        let mut strokes: Vec<Stroke> = Vec::new();
        for series in self.series.iter().filter(|series| series.values.iter().any(Option::is_some)) {
            strokes.insert(0, series.stroke);
        }
        for stroke in strokes.into_iter().filter(|stroke| *stroke != Stroke::Sum) {
            let left = after(stroke.name());
            let line = [(left, top), (left + 20, top)];
            match stroke {
                Stroke::Estimated => {
                    let halves = [[line[0], (left + 8, top)], [(left + 12, top), line[1]]];
                    for half in halves {
                        area.draw(&PathElement::new(half, stroke.colour().stroke_width(2)))?;
                    }
                }
                _ => area.draw(&PathElement::new(line, stroke.colour().stroke_width(2)))?,
            }
            area.draw(&text(stroke.name(), left))?;
        }
        let is_hollow = |series: &Series| {
            series.stroke == Stroke::Realised && series.values.iter().flatten().any(|key| key.is_hollow)
        };
        if self.series.iter().any(is_hollow) {
            let left = after("provisional");
            area.draw(&Circle::new((left + 12, top), 4, WHITE.filled()))?;
            area.draw(&Circle::new((left + 12, top), 4, BLUE.stroke_width(2)))?;
            area.draw(&text("provisional", left))?;
        }
        if self.limit.is_some() {
            let left = after("limit");
            for dot in [0, 7, 14] {
                let line = [(left + dot, top), (left + dot + 4, top)];
                area.draw(&PathElement::new(line, RED.stroke_width(2)))?;
            }
            area.draw(&text("limit", left))?;
        }
        if !self.shaded.is_empty() {
            let left = after("incident");
            area.draw(&Rectangle::new([(left, top - 6), (left + 20, top + 6)], SHADE.filled()))?;
            area.draw(&text("incident", left))?;
        }
        Ok(())
    }
}

impl Series {
    fn draw(&self, plot: &mut Plot<'_>, x: &Axis, y: &Axis) -> Result<(), Failed> {
        let colour = self.stroke.colour();
        let known = self.values.iter().flatten().count();
        for mut run in self.runs() {
            if let ([alone], Stroke::Estimated) = (run.as_mut_slice(), self.stroke) {
                // Beside the realised value of the same window, not on it.
                alone.x += alone.half.min((x.high - x.low) * 0.02) / 2.0;
            }
            self.band(plot, y, &run)?;
            let line = self.line(&run, y);
            if self.stroke == Stroke::Estimated {
                plot.draw_series(DashedLineSeries::new(line, 6, 4, colour.stroke_width(2)))?;
            } else {
                plot.draw_series([PathElement::new(line, colour.stroke_width(2))])?;
            }
            let has_points = known <= POINTS_EACH && self.stroke != Stroke::Estimated;
            for key in run.iter().filter(|_| self.stroke != Stroke::Training) {
                let at = (key.x, y.held(key.range.value));
                if key.is_hollow && self.stroke == Stroke::Realised {
                    plot.draw_series([Circle::new(at, 4, WHITE.filled())])?;
                    plot.draw_series([Circle::new(at, 4, colour.stroke_width(2))])?;
                } else if has_points || run.len() == 1 {
                    plot.draw_series([Circle::new(at, 3, colour.filled())])?;
                }
            }
        }
        Ok(())
    }

    /// Stretches without a gap.
    fn runs(&self) -> Vec<Vec<Key>> {
        let stretches = self.values.split(Option::is_none).filter(|run| !run.is_empty());
        stretches.map(|run| run.iter().flatten().copied().collect()).collect()
    }

    /// The line through a run. What training gives holds for the whole of a window, so it goes to its ends.
    fn line(&self, run: &[Key], y: &Axis) -> Vec<(f64, f64)> {
        let at = |key: &Key, apart: f64| (key.x + apart, y.held(key.range.value));
        if self.stroke != Stroke::Training {
            return run.iter().map(|key| at(key, 0.0)).collect();
        }
        run.iter().flat_map(|key| [at(key, -key.half), at(key, key.half)]).collect()
    }

    /// The intervals: a band over neighbours, a bar for a window that stands alone.
    fn band(&self, plot: &mut Plot<'_>, y: &Axis, run: &[Key]) -> Result<(), Failed> {
        let colour = self.stroke.colour();
        let ends = |key: &Key| {
            let (low, high) = (key.range.low?, key.range.high?);
            Some((key.x, y.held(low), y.held(high)))
        };
        for part in run.iter().map(ends).collect::<Vec<_>>().split(Option::is_none) {
            let part: Vec<(f64, f64, f64)> = part.iter().flatten().copied().collect();
            if let [(x, low, high)] = part.as_slice() {
                plot.draw_series([PathElement::new([(*x, *low), (*x, *high)], colour.stroke_width(1))])?;
            } else if part.len() > 1 {
                let upper = part.iter().map(|(x, _, high)| (*x, *high));
                let lower = part.iter().rev().map(|(x, low, _)| (*x, *low));
                let outline: Vec<(f64, f64)> = upper.chain(lower).collect();
                plot.draw_series([Polygon::new(outline, colour.mix(0.16))])?;
            }
        }
        Ok(())
    }
}

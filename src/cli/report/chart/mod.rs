//! The charts, as SVG in a string: no script, no link, no font of their own.
//!
//! Pure. A chart shows nothing that the text or a table beside it does not say, for mail programs leave pictures
//! out. Colours are told apart by brightness and by the kind of line too. Text is escaped by the drawing library.
//!
//! To add one: a function here, a member of [`Chart`](super::page::Chart), and a block in `words/`.

mod draw;
mod scale;

pub(super) use self::draw::Failed;
use self::draw::{Key, Panel, Series, Stroke};
use super::facts::{Facts, Performance, Point};
use super::figures::{name, value};
use super::page::Chart;
use crate::event::Timestamp;
use crate::performance::{Maturity, Ranged};

/// Height of a panel of lines in pixels.
const PANEL_HEIGHT: u32 = 250;
/// Height of the smaller panel under it.
const PANEL_HEIGHT_SMALL: u32 = 150;
/// Longest name of a column or version in a chart.
const NAME_CHARS_MAX: usize = 30;

/// The chart as SVG; empty when there is nothing to draw.
///
/// # Errors
/// A fault of the drawing library, which is a defect.
pub(super) fn svg(chart: Chart, facts: &Facts) -> Result<String, Failed> {
    match chart {
        Chart::Metric => metric(facts),
        Chart::Loss => loss(facts),
        Chart::Columns => columns(facts),
    }
}

/// The headline metric over time.
fn metric(facts: &Facts) -> Result<String, Failed> {
    let Some(performance) = &facts.performance else { return Ok(String::new()) };
    let points = &performance.timeline;
    let realised = series(points, |point| point.realised, Stroke::Realised);
    let estimated = series(points, |point| point.estimated, Stroke::Estimated);
    let reference = series(
        points,
        |point| point.reference.map(|value| Ranged { value, low: None, high: None }),
        Stroke::Training,
    );
    let mut panel = panel(facts, performance, vec![reference, estimated, realised]);
    panel.limit = performance.limit;
    panel.marks = version_changes(points);
    panel.title = format!("{}, windows of {}", short(&performance.headline), performance.length);
    draw::panels(&[(panel, PANEL_HEIGHT)])
}

/// Loss per day, and below it the loss since the change.
fn loss(facts: &Facts) -> Result<String, Failed> {
    let (Some(performance), Some(found)) = (&facts.performance, &facts.money) else {
        return Ok(String::new());
    };
    let points = &performance.timeline;
    let realised = series(points, |point| point.loss_per_day, Stroke::Realised);
    let estimated = series(points, |point| point.estimated_loss_per_day, Stroke::Estimated);
    let mut per_day = panel(facts, performance, vec![estimated, realised]);
    per_day.title = format!("Loss per day against training, {}", short(&found.currency));
    per_day.has_zero = true;
    let mut panels = vec![(per_day, PANEL_HEIGHT)];
    let sum = series(points, |point| point.accumulated, Stroke::Sum);
    if sum.values.iter().flatten().count() > 1 {
        let mut accumulated = panel(facts, performance, vec![sum]);
        accumulated.title = format!("Loss since the change began, {}", short(&found.currency));
        accumulated.has_zero = true;
        panels.push((accumulated, PANEL_HEIGHT_SMALL));
    }
    draw::panels(&panels)
}

/// The columns that moved, the most moved first.
fn columns(facts: &Facts) -> Result<String, Failed> {
    let Some(change) = &facts.change else { return Ok(String::new()) };
    let bars: Vec<(String, f64, bool)> = change
        .columns
        .iter()
        .filter(|column| column.moved.is_finite())
        .map(|column| (short(&column.name), column.moved.clamp(0.0, 1.0), column.alarm))
        .collect();
    draw::bars(&bars, value)
}

/// A panel over the whole timeline with the incidents shaded.
fn panel(facts: &Facts, performance: &Performance, series: Vec<Series>) -> Panel {
    let points = &performance.timeline;
    let ends = points.first().zip(points.last());
    let (from, to) =
        ends.map_or_else(Default::default, |(first, last)| (first.window_start, last.window_end));
    // What the facts say of the change is of the open incident, or else of the latest.
    let of_change = facts.incidents.iter().position(|one| one.is_open()).unwrap_or(0);
    let incidents = facts.incidents.iter().enumerate().map(|(place, incident)| {
        let since = facts.change.as_ref().filter(|_| place == of_change).map(|change| change.since);
        let start = since.unwrap_or(incident.opened_at);
        (start.max(from), incident.resolved_at.unwrap_or(to).min(to))
    });
    Panel {
        title: String::new(),
        from,
        to,
        series,
        limit: None,
        has_zero: false,
        shaded: incidents.filter(|(start, end)| end > start).collect(),
        marks: Vec::new(),
    }
}

/// A line through the middles of the windows, broken where there is no value.
fn series(points: &[Point], of: impl Fn(&Point) -> Option<Ranged>, stroke: Stroke) -> Series {
    let finite = |end: &f64| end.is_finite();
    let values = points
        .iter()
        .map(|point| {
            let range = of(point).filter(|range| range.value.is_finite())?;
            let (start, end) = (scale::seconds(point.window_start), scale::seconds(point.window_end));
            let range = Ranged { low: range.low.filter(finite), high: range.high.filter(finite), ..range };
            Some(Key {
                x: (start + end) / 2.0,
                half: (end - start) / 2.0,
                range,
                is_hollow: point.maturity != Maturity::Mature,
            })
        })
        .collect();
    Series { values, stroke }
}

/// Where another version took over.
fn version_changes(points: &[Point]) -> Vec<(Timestamp, String)> {
    let pairs = points.iter().zip(points.iter().skip(1));
    pairs
        .filter(|(before, after)| before.version != after.version)
        .map(|(_, after)| {
            let version = after.version.as_deref().map_or_else(|| "no version".to_owned(), short);
            (after.window_start, format!("version {version}"))
        })
        .collect()
}

/// A name, cut to what a chart has room for.
fn short(text: &str) -> String {
    let text = name(text);
    if text.chars().count() <= NAME_CHARS_MAX {
        return text;
    }
    let half = (NAME_CHARS_MAX - 1) / 2;
    let length = text.chars().count();
    text.chars().take(half).chain(['…']).chain(text.chars().skip(length - half)).collect()
}

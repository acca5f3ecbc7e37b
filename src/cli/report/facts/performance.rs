//! How the model does, window by window, and what that costs.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{FactsError, Settings};
use crate::cli::report::rows::Rows;
use crate::event::{Span, Timestamp};
use crate::monitor::PerformanceWindow;
use crate::performance::{
    Better, Bound, Estimation, Maturity, MetricReading, MoneyReading, Ranged, better_of,
};
use crate::summary::outcome::Task;

/// Windows of which a chart can still be read.
const POINTS_READABLE: usize = 400;
/// Most windows of the timeline: the newest.
const POINTS_MAX: usize = 1_000;
/// Segments that are named.
const SEGMENTS_MAX: usize = 10;
/// Microseconds of a day.
const DAY_MICROS: f64 = 86_400e6;

/// How the model does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Performance {
    /// What the model predicts.
    pub task: &'static str,
    /// The metric that alarms are about, and the timeline shows.
    pub headline: String,
    /// Whether a higher value is better; `None` for a metric that is best at 0 from either side.
    pub higher_is_better: Option<bool>,
    /// The limit that the operator set for the headline metric.
    pub limit: Option<f64>,
    /// Length of the windows of the timeline.
    pub length: Span,
    /// The timeline: windows of all rows, the oldest first. Of versions side by side the one with more
    /// predictions.
    pub timeline: Vec<Point>,
    /// Place in `timeline` of the newest window with a realised value.
    pub newest_realised: Option<usize>,
    /// Place in `timeline` of the newest window with an estimate.
    pub newest_estimated: Option<usize>,
    /// Every metric of the window at `newest_realised`, or else at `newest_estimated`.
    pub metrics: Vec<MetricReading>,
    /// How labels were weighted in that window.
    pub correction: Option<String>,
    /// What the estimates rest on.
    pub estimation: Option<Estimation>,
    /// Segments in the newest windows that have a value, the worst first.
    pub segments: Vec<SegmentFact>,
    /// Segments that are not among `segments`.
    pub segments_more: usize,
    /// What became of predictions and labels since the store was made, by outcome.
    pub joined: BTreeMap<String, u64>,
}

/// A window of the timeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// Start, inclusive.
    pub window_start: Timestamp,
    /// End, exclusive.
    pub window_end: Timestamp,
    /// The model's version.
    pub version: Option<String>,
    /// Number of the revision that is shown.
    pub revision: u32,
    /// Predictions.
    pub predictions: u64,
    /// Those whose truth is known.
    pub labels: u64,
    /// Their share.
    pub coverage: Option<f64>,
    /// How complete the labels are.
    pub maturity: Maturity,
    /// The realised value.
    pub realised: Option<Ranged>,
    /// `ok`, or why there is no realised value.
    pub status: String,
    /// The value that is estimated without labels.
    pub estimated: Option<Ranged>,
    /// Whether the realised value lies within the estimate's interval.
    pub estimate_holds: Option<bool>,
    /// The value in the training data.
    pub reference: Option<f64>,
    /// Loss a day against the training data, realised.
    pub loss_per_day: Option<Ranged>,
    /// The same, estimated without labels.
    pub estimated_loss_per_day: Option<Ranged>,
    /// Loss since the change began, up to this window.
    pub accumulated: Option<Ranged>,
    /// Whether the window alarmed; `None` until it is judged.
    pub alarm: Option<bool>,
}

/// A segment in its newest window that has a value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SegmentFact {
    /// The segment.
    pub segment: String,
    /// Start of the window.
    pub window_start: Timestamp,
    /// The headline metric, realised.
    pub realised: Option<Ranged>,
    /// The same, estimated.
    pub estimated: Option<Ranged>,
    /// The same in the training data.
    pub reference: Option<f64>,
    /// Labels.
    pub labels: u64,
    /// How complete they are.
    pub maturity: Maturity,
    /// Loss a day, realised or else estimated.
    pub loss_per_day: Option<Ranged>,
}

/// Where a value lies, seen from the one in the training data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// The interval holds it, or there is no interval.
    AsInTraining,
    /// The interval is on the worse side.
    Worse,
    /// The interval is on the better side.
    Better,
    /// The interval does not hold it, and which side is the better is not known.
    Different,
}

/// What the model costs. Amounts are in `currency`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Money {
    /// The currency, as the operator writes it.
    pub currency: String,
    /// Start of the window that the loss per day is of.
    pub window_start: Timestamp,
    /// End of it.
    pub window_end: Timestamp,
    /// Whether the loss per day is estimated without labels.
    pub is_estimated: bool,
    /// How complete that window's labels are.
    pub maturity: Maturity,
    /// Mean cost of a prediction in that window.
    pub cost: Option<Ranged>,
    /// The same in the training data.
    pub reference_cost: f64,
    /// Predictions a day.
    pub per_day: f64,
    /// Loss a day against the training data.
    pub loss_per_day: Option<Ranged>,
    /// The loss a day that is estimated without labels, of the newest window that has it.
    pub estimated_loss_per_day: Option<Ranged>,
    /// Loss from `since` to `accumulated_to`.
    pub accumulated: Option<Ranged>,
    /// Start of the first window of the change.
    pub since: Option<Timestamp>,
    /// End of the newest window whose loss is in `accumulated`: earlier than `window_end` once the change is over.
    pub accumulated_to: Option<Timestamp>,
    /// What a retraining costs, with the price of its risk.
    pub retrain_cost: f64,
    /// Days until a retraining has paid for itself; `None` if it never does or that is not known.
    pub break_even_days: Option<f64>,
    /// Whether it pays within the horizon with 90 % confidence.
    pub retrain_pays: Option<bool>,
    /// The horizon.
    pub horizon: Span,
    /// What the loss per day comes to over the horizon, if it goes on.
    pub loss_over_horizon: Option<Ranged>,
    /// That less the cost of the retraining: what is expected of a model that again costs what this one did
    /// in training.
    pub gain_over_horizon: Option<Ranged>,
}

/// Whether a higher value of a metric is better; `None` for one that is best at 0 from either side.
fn better_when_higher(task: Task, metric: &str) -> Option<bool> {
    match better_of(task, metric) {
        Better::Higher => Some(true),
        Better::Lower => Some(false),
        Better::Zero => None,
    }
}

impl Point {
    /// The realised value, or else the estimated one, and whether it is that.
    pub fn best(&self) -> Option<(Ranged, bool)> {
        self.realised.map(|value| (value, false)).or_else(|| self.estimated.map(|value| (value, true)))
    }
}

impl Performance {
    /// The newest window with a realised value.
    pub fn realised(&self) -> Option<&Point> {
        self.newest_realised.and_then(|place| self.timeline.get(place))
    }

    /// The newest window with an estimate.
    pub fn estimated(&self) -> Option<&Point> {
        self.newest_estimated.and_then(|place| self.timeline.get(place))
    }

    /// Where a value lies, seen from the training data.
    pub fn compare(&self, value: Ranged, reference: f64) -> Comparison {
        let (below, above) =
            (value.high.is_some_and(|high| high < reference), value.low.is_some_and(|low| low > reference));
        match (below, above, self.higher_is_better) {
            (false, false, _) => Comparison::AsInTraining,
            (_, _, None) => Comparison::Different,
            (true, _, Some(true)) | (_, true, Some(false)) => Comparison::Worse,
            _ => Comparison::Better,
        }
    }

    /// Whether the newest value, realised or else estimated, is worse than in training beyond its interval.
    pub fn is_worse(&self) -> bool {
        let newest = self.realised().or_else(|| self.estimated());
        let value = newest.and_then(|point| Some((point.best()?.0, point.reference?)));
        value.is_some_and(|(value, reference)| self.compare(value, reference) == Comparison::Worse)
    }

    /// What is not known of it, as sentences.
    pub(super) fn not_known(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match (self.realised(), self.timeline.last()) {
            (None, _) if self.newest_estimated.is_some() => lines.push(
                "How the model really does: no label has been matched to a prediction of these windows. All \
                 that is said of its performance is estimated."
                    .to_owned(),
            ),
            (None, _) => lines.push(
                "How the model does: there are neither enough labels nor an estimate in these windows."
                    .to_owned(),
            ),
            (Some(newest), Some(last)) if newest.window_end < last.window_end => lines.push(format!(
                "How the model really did after {}: labels of later windows are still missing.",
                crate::cli::report::figures::minute(newest.window_end)
            )),
            _ => {}
        }
        if self.newest_estimated.is_some()
            && self.estimation.as_ref().is_none_or(|one| one.windows_compared == 0)
        {
            lines.push(
                "How far the estimates are off: no window has both an estimate and all its labels yet."
                    .to_owned(),
            );
        }
        lines
    }
}

/// How the model does; `None` when nothing is recorded.
pub(super) fn gather(rows: &Rows, settings: &Settings) -> Result<Option<Performance>, FactsError> {
    let Some(newest) = rows.performance.iter().max_by_key(|row| (row.end, row.at)) else { return Ok(None) };
    let (headline, task) = (newest.reading.headline.clone(), newest.reading.task);
    let length = length(rows, settings, &headline)?;
    let of_length = || rows.performance.iter().filter(|row| row.key.length == length);
    let chosen = timeline(of_length().filter(|row| row.key.segment.is_none()));
    let timeline: Vec<Point> = chosen.iter().map(|row| point(row, &headline)).collect();
    let newest_realised = timeline.iter().rposition(|point| point.realised.is_some());
    let newest_estimated = timeline.iter().rposition(|point| point.estimated.is_some());
    let shown = newest_realised.or(newest_estimated).and_then(|place| chosen.get(place));
    let estimation = chosen.iter().rev().find_map(|row| row.reading.estimation.clone());
    let mut performance = Performance {
        task: task.name(),
        higher_is_better: better_when_higher(task, &headline),
        limit: limit(settings, &headline),
        length,
        newest_realised,
        newest_estimated,
        metrics: shown.map(|row| row.reading.metrics.clone()).unwrap_or_default(),
        correction: shown.and_then(|row| row.reading.correction.clone()),
        estimation,
        segments: Vec::new(),
        segments_more: 0,
        joined: rows.joined.iter().cloned().collect(),
        timeline,
        headline,
    };
    let mut segments = segments(of_length(), &performance);
    performance.segments_more = segments.len().saturating_sub(SEGMENTS_MAX);
    segments.truncate(SEGMENTS_MAX);
    performance.segments = segments;
    Ok(Some(performance))
}

/// The length of the timeline's windows: the shortest that has values and leaves the chart readable, else the
/// longest.
fn length(rows: &Rows, settings: &Settings, headline: &str) -> Result<Span, FactsError> {
    let mut windows: BTreeMap<Span, (usize, bool)> = BTreeMap::new();
    for row in rows.performance.iter().filter(|row| row.key.segment.is_none()) {
        let entry = windows.entry(row.key.length).or_default();
        entry.0 += 1;
        let metric = row.reading.metric(headline);
        entry.1 |= metric.is_some_and(|metric| metric.value.is_some() || metric.estimate.is_some());
    }
    let lengths: BTreeSet<Span> = rows.performance.iter().map(|row| row.key.length).collect();
    if let Some(asked) = settings.window {
        let lengths: Vec<Span> = lengths.into_iter().collect();
        return if lengths.contains(&asked) {
            Ok(asked)
        } else {
            Err(FactsError::NoSuchWindow { asked, lengths })
        };
    }
    let readable = windows.iter().find(|(_, (count, has_values))| *has_values && *count <= POINTS_READABLE);
    let longest = lengths.last().copied().unwrap_or(Span::ZERO);
    Ok(readable.map_or(longest, |(length, _)| *length))
}

/// One row for each start, the oldest first: of several versions the one with most predictions.
fn timeline<'a>(rows: impl Iterator<Item = &'a PerformanceWindow>) -> Vec<&'a PerformanceWindow> {
    let mut by_start: BTreeMap<Timestamp, &PerformanceWindow> = BTreeMap::new();
    for row in rows {
        let better = by_start.get(&row.key.start).is_none_or(|other| {
            let rank =
                |row: &PerformanceWindow| (row.reading.predictions, row.key.version.clone(), row.revision);
            rank(row) > rank(other)
        });
        if better {
            by_start.insert(row.key.start, row);
        }
    }
    let skipped = by_start.len().saturating_sub(POINTS_MAX);
    by_start.into_values().skip(skipped).collect()
}

fn point(row: &PerformanceWindow, headline: &str) -> Point {
    let reading = &row.reading;
    let metric = reading.metric(headline);
    let money = reading.money.as_ref();
    Point {
        window_start: row.key.start,
        window_end: row.end,
        version: row.key.version.clone(),
        revision: row.revision,
        predictions: reading.predictions,
        labels: reading.labels,
        coverage: reading.coverage,
        maturity: reading.maturity,
        realised: metric.and_then(realised),
        status: metric.map_or_else(|| "not_recorded".to_owned(), |metric| metric.status.clone()),
        estimated: metric.and_then(|metric| metric.estimate),
        estimate_holds: metric.and_then(|metric| metric.estimate_holds),
        reference: metric.and_then(|metric| metric.reference),
        loss_per_day: money.and_then(|money| money.loss_per_day),
        estimated_loss_per_day: money.and_then(|money| money.estimated_loss_per_day),
        accumulated: money.and_then(|money| money.accumulated),
        alarm: row.verdict.as_ref().map(|verdict| verdict.alarm),
    }
}

fn realised(metric: &MetricReading) -> Option<Ranged> {
    metric.value.map(|value| Ranged { value, low: metric.low, high: metric.high })
}

/// The operator's limit for the headline metric; the first, if there are several.
fn limit(settings: &Settings, headline: &str) -> Option<f64> {
    let limit = settings.limits.iter().find(|limit| limit.metric == headline)?;
    let (Bound::Below(number) | Bound::Above(number)) = limit.bound;
    Some(number)
}

/// Each segment in its newest window that has a value, the worst first: by loss, then by how far the metric is
/// on the worse side.
fn segments<'a>(
    rows: impl Iterator<Item = &'a PerformanceWindow>,
    performance: &Performance,
) -> Vec<SegmentFact> {
    let mut newest: BTreeMap<&str, (bool, Timestamp, &PerformanceWindow)> = BTreeMap::new();
    for row in rows {
        let Some(segment) = row.key.segment.as_deref() else { continue };
        let Some(metric) = row.reading.metric(&performance.headline) else { continue };
        if metric.value.is_none() && metric.estimate.is_none() {
            continue;
        }
        let rank = (metric.value.is_some(), row.key.start);
        if newest.get(segment).is_none_or(|(known, start, _)| rank > (*known, *start)) {
            newest.insert(segment, (rank.0, rank.1, row));
        }
    }
    let mut facts: Vec<SegmentFact> = newest
        .into_iter()
        .map(|(segment, (_, _, row))| segment_fact(segment, row, &performance.headline))
        .collect();
    let loss = |fact: &SegmentFact| fact.loss_per_day.map_or(f64::NEG_INFINITY, |loss| loss.value);
    let harm = |fact: &SegmentFact| {
        let value = fact.realised.or(fact.estimated).map(|value| value.value);
        let apart = value.zip(fact.reference).map_or(0.0, |(value, reference)| value - reference);
        if performance.higher_is_better == Some(true) { -apart } else { apart }
    };
    facts.sort_by(|a, b| loss(b).total_cmp(&loss(a)).then(harm(b).total_cmp(&harm(a))));
    facts
}

fn segment_fact(segment: &str, row: &PerformanceWindow, headline: &str) -> SegmentFact {
    let point = point(row, headline);
    SegmentFact {
        segment: segment.to_owned(),
        window_start: point.window_start,
        realised: point.realised,
        estimated: point.estimated,
        reference: point.reference,
        labels: point.labels,
        maturity: point.maturity,
        loss_per_day: point.loss_per_day.or(point.estimated_loss_per_day),
    }
}

/// What it costs, of the newest window of the timeline whose loss is known, else of the newest with an estimate.
pub(super) fn money(rows: &Rows, performance: Option<&Performance>) -> Option<Money> {
    let performance = performance?;
    let of_timeline = timeline(
        rows.performance
            .iter()
            .filter(|row| row.key.segment.is_none() && row.key.length == performance.length),
    );
    let readings: Vec<(&PerformanceWindow, &MoneyReading)> =
        of_timeline.iter().filter_map(|row| Some((*row, row.reading.money.as_ref()?))).collect();
    let newest = |has: fn(&MoneyReading) -> bool| readings.iter().rev().find(|(_, money)| has(money));
    let (row, money) = newest(|money| money.loss_per_day.is_some())
        .or_else(|| newest(|money| money.estimated_loss_per_day.is_some()))
        .or_else(|| readings.last())?;
    let is_estimated = money.loss_per_day.is_none();
    let loss_per_day = money.loss_per_day.or(money.estimated_loss_per_day);
    let sum = newest(|money| money.accumulated.is_some());
    let days = money.horizon.as_micros() as f64 / DAY_MICROS;
    let loss_over_horizon = loss_per_day.map(|loss| through(loss, |end| end * days));
    Some(Money {
        currency: money.currency.clone(),
        window_start: row.key.start,
        window_end: row.end,
        is_estimated,
        maturity: row.reading.maturity,
        cost: money.cost.or(money.estimated_cost),
        reference_cost: money.reference_cost,
        per_day: money.per_day,
        loss_per_day,
        estimated_loss_per_day: newest(|money| money.estimated_loss_per_day.is_some())
            .and_then(|(_, money)| money.estimated_loss_per_day),
        accumulated: sum.and_then(|(_, money)| money.accumulated),
        since: sum.and_then(|(_, money)| money.since).or(money.since),
        accumulated_to: sum.map(|(row, _)| row.end),
        retrain_cost: money.retrain_cost,
        break_even_days: money.break_even_days,
        retrain_pays: money.retrain_pays,
        horizon: money.horizon,
        loss_over_horizon,
        gain_over_horizon: loss_over_horizon.map(|loss| through(loss, |end| end - money.retrain_cost)),
    })
}

fn through(range: Ranged, rising: impl Fn(f64) -> f64) -> Ranged {
    Ranged { value: rising(range.value), low: range.low.map(&rising), high: range.high.map(&rising) }
}

//! How often values may be missing or of the wrong type without anything being wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::baseline::{Baseline, Reference};
use crate::event::decode::Stream;
use crate::event::{ColumnSpec, Role, Span};
use crate::sequential::upper_rate;
use crate::summary::{Anomalies, ColumnSummary};

/// A column that is missing more often than this in training is not watched: hardly anything is left to rise.
pub const RATE_WATCHED_MAX: f64 = 0.9;

/// How surely all the bounds of a baseline hold together: one in a hundred trainings has a bound too low.
const BOUNDS_LEVEL: f64 = 0.01;

/// What the early watch takes from a baseline: the highest rates that are expected.
///
/// For a column and a kind of trouble that is the larger of two. One is the Clopper–Pearson upper bound of
/// the training rate ([`upper_rate`]), at a level at which all the bounds hold together: the estimate itself
/// would make false alarms when it is too low by chance. The other is the highest rate over any stretch of the
/// training data as long as the shortest window, if the baseline keeps them: a rate that is low on average and
/// high each Sunday must not alarm each Sunday. Stretches with fewer rows than a window needs to be tested are
/// left out.
#[derive(Debug)]
pub struct Expected {
    /// The watched columns, in the baseline's order.
    pub(super) columns: Vec<ExpectedColumn>,
    /// For each topic, which columns its records carry.
    carried: BTreeMap<String, Vec<bool>>,
    /// Whether stretches of the training data were looked at.
    pub(super) is_calibrated: bool,
}

/// What is expected of a column; `None` is not watched.
#[derive(Debug)]
pub(super) struct ExpectedColumn {
    pub(super) spec: ColumnSpec,
    /// Training values.
    pub(super) values: u64,
    pub(super) missing: Option<f64>,
    pub(super) wrong_type: Option<f64>,
}

impl Expected {
    /// What a baseline and the highest rates of its panes lead to expect of records of these streams.
    pub fn new<'a>(
        baseline: &Baseline,
        highest: &HighestRates,
        streams: impl Iterator<Item = &'a Stream>,
    ) -> Self {
        let level = BOUNDS_LEVEL / (2 * baseline.columns.len().max(1)) as f64;
        // Many columns have the same counts, most often none.
        let mut bounds: BTreeMap<(u64, u64), f64> = BTreeMap::new();
        let mut bound = |summary: &ColumnSummary, bad: fn(&Anomalies) -> u64| {
            let counts = (bad(summary.anomalies()), summary.rows());
            *bounds.entry(counts).or_insert_with(|| upper_rate(counts.0, counts.1, 1.0 - level))
        };
        let watched = |rate: f64| (rate <= RATE_WATCHED_MAX).then_some(rate);
        let columns = baseline
            .columns
            .iter()
            .enumerate()
            .map(|(at, column)| {
                let (high_missing, high_wrong_type) = highest.of(at);
                let rate = bound(&column.summary, missing).max(high_missing);
                ExpectedColumn {
                    spec: column.spec.clone(),
                    values: column.summary.values(),
                    missing: watched(rate).filter(|_| column.spec.role != Role::Label),
                    wrong_type: watched(bound(&column.summary, wrong_type).max(high_wrong_type)),
                }
            })
            .collect();
        let carried = streams
            .map(|stream| {
                let carries = baseline.columns.iter().map(|column| stream.mapping.carries(&column.spec));
                (stream.topic.clone(), carries.collect())
            })
            .collect();
        Self { columns, carried, is_calibrated: highest.0.is_some() }
    }

    /// Number of streams: columns and kinds of trouble that are watched.
    pub fn streams(&self) -> usize {
        let of = |column: &ExpectedColumn| {
            usize::from(column.missing.is_some()) + usize::from(column.wrong_type.is_some())
        };
        self.columns.iter().map(of).sum()
    }

    /// Rows that carry a column, given the rows of each topic.
    pub(super) fn rows_of(&self, column: usize, rows: &BTreeMap<Arc<str>, u64>) -> u64 {
        let carries = |topic: &str| {
            self.carried.get(topic).and_then(|columns| columns.get(column)).copied().unwrap_or(false)
        };
        rows.iter().filter(|(topic, _)| carries(topic)).map(|(_, rows)| *rows).sum()
    }
}

/// For each column the highest rates over stretches of the training data, if its panes are known.
#[derive(Debug, Clone, Default)]
pub struct HighestRates(Option<Vec<(f64, f64)>>);

impl HighestRates {
    /// Over stretches of `shortest` with at least `rows_min` rows.
    pub fn new(baseline: &Baseline, shortest: Span, rows_min: u64) -> Self {
        let Some(reference) = baseline.reference.as_ref().filter(|reference| !reference.panes.is_empty())
        else {
            return Self(None);
        };
        let panes = (shortest.as_micros() / reference.pane.as_micros().max(1)).max(1);
        let stretch = Span::from_micros(reference.pane.as_micros().saturating_mul(panes));
        let of = |at| {
            let rate = |bad| highest_rate(reference, stretch, at, rows_min, bad);
            (rate(missing), rate(wrong_type))
        };
        Self(Some((0..baseline.columns.len()).map(of).collect()))
    }

    fn of(&self, column: usize) -> (f64, f64) {
        self.0.as_ref().and_then(|rates| rates.get(column)).copied().unwrap_or_default()
    }
}

/// The highest rate of a column over the panes within any `stretch` that ends with a pane.
fn highest_rate(
    reference: &Reference,
    stretch: Span,
    column: usize,
    rows_min: u64,
    bad: fn(&Anomalies) -> u64,
) -> f64 {
    let counts = |pane: usize| {
        let summary = reference.panes.get(pane).and_then(|(_, pane)| pane.columns.get(column));
        summary.map_or((0, 0), |summary| (bad(summary.anomalies()), summary.rows()))
    };
    let (mut bad_rows, mut rows, mut first, mut highest) = (0_u64, 0_u64, 0, 0.0_f64);
    for (last, (start, _)) in reference.panes.iter().enumerate() {
        let (more_bad, more) = counts(last);
        (bad_rows, rows) = (bad_rows + more_bad, rows + more);
        while reference.panes.get(first).is_some_and(|(from, _)| *from + stretch <= *start) {
            let (less_bad, less) = counts(first);
            (bad_rows, rows) = (bad_rows.saturating_sub(less_bad), rows.saturating_sub(less));
            first += 1;
        }
        if rows >= rows_min.max(1) {
            highest = highest.max(bad_rows as f64 / rows as f64);
        }
    }
    highest
}

/// Missing in whatever way, as the test of that name counts it.
fn missing(anomalies: &Anomalies) -> u64 {
    anomalies.missing.saturating_add(anomalies.nan)
}

fn wrong_type(anomalies: &Anomalies) -> u64 {
    anomalies.wrong_type
}

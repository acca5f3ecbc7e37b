//! Blind spots: the smallest changes that an alarm would be raised for in four windows of five.
//!
//! Place in the flow: beside the verdict, for the operator who asks what a model's windows can show at all.
//! Nothing is decided here. Pure.
//!
//! For every column and number of rows in a window three changes are searched for, each the smallest that
//! the alarming tests of [`drift`](crate::drift) see with a probability of [`POWER`]: p-value small enough and
//! effect at least its floor.
//!
//! - a shift of the mean, for numeric columns (`alternative.rs` says which values move, `power.rs` how often
//!   `ad`, `g` and `overflow` see it);
//! - a rise of the share of missing values (`rates.rs`, exact but for the training sample's own error);
//! - a change of the most frequent category's share, for categorical columns (`power.rs`, `g`).
//!
//! What is found holds for rows that are independent within the window, and for one test at a time: several
//! together see slightly more. Where windows are ranked among reference windows, a change must stand out from
//! what is usual there, so restless columns are blinder. The probability is that over training samples too: the one at hand errs in
//! some direction, and where windows are no longer small against it, a change in that direction is seen more
//! often and one against it less (in simulation .62 and .87 with windows of a third of the training rows).
//! Changes of spread, shape or rare categories are other changes: they are not among these.
//!
//! Invariant: a change that is given is finite and positive; one that is not given has a reason or does not
//! apply to the column.
//!
//! To add a kind of change: a member of [`BlindSpot`], and a search in a file of its own.

mod alternative;
mod power;
mod rates;

use std::sync::Arc;

use serde::Serialize;

use super::{Calibration, Floors, Settings};
use crate::baseline::{Baseline, Column};
use crate::event::{ColumnKind, Role, Span};
use crate::summary::{ColumnSummary, Shape};

/// The probability with which the changes given are seen.
pub const POWER: f64 = 0.8;

/// Steps of a search by halving: an interval of a million to one is then known to a thousandth.
const STEPS: u32 = 34;

/// What a window holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Traffic {
    /// Rows of one window.
    pub rows: f64,
}

impl Traffic {
    /// What windows of this length held in the training data, on average over the time from the first to the
    /// last pane with rows. `None` if the training file named no timestamps.
    pub fn of_training(baseline: &Baseline, length: Span) -> Option<Self> {
        let reference = baseline.reference.as_ref()?;
        let (first, last) = (reference.panes.first()?, reference.panes.last()?);
        let rows: f64 = reference.panes.iter().map(|(_, summary)| summary.n() as f64).sum();
        let span = (last.0 - first.0).as_secs_f64() + reference.pane.as_secs_f64();
        (span > 0.0).then(|| Self { rows: rows * length.as_secs_f64() / span })
    }
}

/// What an alarm of a column needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Needed {
    /// The natural logarithm of the p-value that a test must not exceed.
    pub log_p: f64,
    /// The effects that it must reach.
    pub floors: Floors,
    /// Windows with fewer rows are not tested.
    pub rows_min: u64,
}

/// The smallest changes of a column that are seen in four windows of five.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BlindSpot {
    /// The column.
    pub column: Arc<str>,
    /// Shift of the mean in standard deviations of the training data, in the direction that is harder to
    /// see.
    pub mean_shift_sd: Option<f64>,
    /// The same in the column's unit.
    pub mean_shift: Option<f64>,
    /// Share of missing values.
    pub missing_rate: Option<RateChange>,
    /// Share of all values that the most frequent category loses to the others, or gains from them if it has
    /// less than half.
    pub share_shift: Option<f64>,
    /// Why there is no number where one would be expected.
    pub reason: Option<String>,
}

/// A rate and the smallest higher one that is told from it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RateChange {
    /// In the training data.
    pub training: f64,
    /// In the window.
    pub seen_at: f64,
}

impl Needed {
    /// What the i.i.d. rule needs: `p · T · C <= alpha` with `T` alarming tests on the column and `C`
    /// columns. Tests that cannot be made on the column count too, so this may ask for slightly too much.
    pub fn of_iid_rule(baseline: &Baseline, column: &Column, settings: &Settings, alpha: f64) -> Self {
        let columns = baseline.columns.iter().filter(|column| column.summary.rows() > 0).count().max(1);
        let tests = super::alarming(column).count().max(1);
        let log_p = alpha.ln() - (columns as f64 * tests as f64).ln();
        Self { log_p, floors: settings.floors, rows_min: settings.rows_min }
    }

    /// What ranking needs: evidence of as many times the usual as the threshold says, by the column's most
    /// restless test. `None` if it carries no promise.
    fn of_ranking(
        column: &Column,
        tests: std::ops::Range<usize>,
        traffic: Traffic,
        settings: &Settings,
        calibration: &Calibration,
        alpha: f64,
    ) -> Option<Self> {
        let standing = calibration.standing(alpha);
        let (n, m) = (traffic.rows, column.summary.rows() as f64);
        let size = n * m / (n + m).max(1.0);
        let surprise = tests
            .filter_map(|index| calibration.needed(None, index, size, standing.threshold))
            .fold(standing.threshold * std::f64::consts::LN_2, f64::max);
        let needed = Self { log_p: -surprise, floors: settings.floors, rows_min: settings.rows_min };
        standing.calibrated.then_some(needed)
    }
}

/// The blind spots of every column, the blindest first: columns of which nothing would be seen, then by the
/// largest change that stays unseen.
///
/// `ranking` is what windows are ranked among and a block's share of the budget; without it, or where it
/// carries no promise, the i.i.d. rule at `alpha` is what a change must pass.
pub fn blind_spots(
    baseline: &Baseline,
    traffic: Traffic,
    settings: &Settings,
    alpha: f64,
    ranking: Option<(&Calibration, f64)>,
) -> Vec<BlindSpot> {
    let mut first = 0;
    let mut spots: Vec<BlindSpot> = baseline
        .columns
        .iter()
        .map(|column| {
            let tests = first..first + super::alarming(column).count();
            first = tests.end;
            let ranked = ranking.and_then(|(calibration, alpha)| {
                Needed::of_ranking(column, tests, traffic, settings, calibration, alpha)
            });
            let needed = ranked.unwrap_or_else(|| Needed::of_iid_rule(baseline, column, settings, alpha));
            blind_spot(column, traffic, needed)
        })
        .collect();
    spots.sort_by(|a, b| b.blindness().total_cmp(&a.blindness()).then_with(|| a.column.cmp(&b.column)));
    spots
}

impl BlindSpot {
    /// For ordering: the change of the values that stays unseen, as a share of the values. A shift of one
    /// standard deviation moves 0.38 of normal values past the middle.
    fn blindness(&self) -> f64 {
        match (self.mean_shift_sd, self.share_shift) {
            (Some(shift), _) => libm::erf(shift / (2.0 * std::f64::consts::SQRT_2)),
            (None, Some(share)) => share,
            (None, None) => f64::INFINITY,
        }
    }
}

/// The smallest changes of a column that are seen with a probability of [`POWER`] at this traffic.
///
/// Cost: for a numeric column some hundred passes over its bins.
pub fn blind_spot(column: &Column, traffic: Traffic, needed: Needed) -> BlindSpot {
    let mut spot = BlindSpot {
        column: Arc::clone(&column.spec.name),
        mean_shift_sd: None,
        mean_shift: None,
        missing_rate: None,
        share_shift: None,
        reason: None,
    };
    let rows = if traffic.rows.is_finite() { traffic.rows.max(0.0).floor() } else { 0.0 };
    if rows < needed.rows_min as f64 || rows < 1.0 {
        let least = needed.rows_min.max(1);
        spot.reason = Some(format!("a window of {rows} rows is not tested: it needs {least}"));
        return spot;
    }
    if needed.log_p.is_nan() || needed.log_p < f64::MIN_POSITIVE.ln() {
        spot.reason = Some("no p-value is small enough for this budget".to_owned());
        return spot;
    }
    let needed = Needed { log_p: needed.log_p.min(0.0), ..needed };
    missing(&mut spot, column, rows, &needed);
    let all = column.summary.rows() as f64;
    let values = rows * column.summary.values() as f64 / all.max(1.0);
    match (column.spec.kind, &column.shape, &column.summary) {
        (ColumnKind::Numeric, Shape::Numeric(grid), ColumnSummary::Numeric(summary)) => {
            match mean_shift(grid, column, values, &needed) {
                Ok(shift) => {
                    let deviation = summary.standard_deviation(grid).filter(|deviation| *deviation > 0.0);
                    spot.mean_shift = Some(shift);
                    let in_deviations = deviation.map(|deviation| shift / deviation);
                    spot.mean_shift_sd = in_deviations.filter(|shift| shift.is_finite());
                }
                Err(reason) => spot.reason = Some(reason),
            }
        }
        (ColumnKind::Categorical, Shape::Categorical(_), ColumnSummary::Categorical(_)) => {
            match share_shift(column, values, &needed) {
                Ok(share) => spot.share_shift = Some(share),
                Err(reason) => spot.reason = Some(reason),
            }
        }
        _ => spot.reason = Some("the column's counts do not belong to its kind".to_owned()),
    }
    spot
}

fn missing(spot: &mut BlindSpot, column: &Column, rows: f64, needed: &Needed) {
    // Labels arrive late or never: their absence is no drift.
    if column.spec.role == Role::Label {
        return;
    }
    let anomalies = column.summary.anomalies();
    let times = anomalies.missing.saturating_add(anomalies.nan);
    let training = rates::Training { times, of: column.summary.rows() };
    if let Some(seen_at) = rates::seen_at(training, whole(rows), needed.log_p.exp(), needed.floors.rate) {
        spot.missing_rate = Some(RateChange { training: training.rate(), seen_at });
    }
}

/// The shift in the direction that is harder to see.
fn mean_shift(
    grid: &crate::summary::Grid,
    column: &Column,
    values: f64,
    needed: &Needed,
) -> Result<f64, String> {
    let movable = alternative::Movable::of(grid, column.summary.counts())?;
    let tests = power::NumericTests::new(column, &movable.shares, values, needed)?;
    let seen = |by: f64| tests.see(&movable.moved(by).0);
    let farthest = movable.farthest();
    let unseen =
        || format!("even a shift as wide as the training range would not be seen in {values:.0} values");
    let up = smallest(farthest * 1e-6, farthest, seen).ok_or_else(unseen)?;
    // Down is searched only from there on: the direction that is harder to see counts.
    let down = smallest(up, farthest, |by| seen(-by)).or((up >= farthest && seen(-up)).then_some(up));
    let down = down.ok_or_else(unseen)?;
    let harder = if down > up { movable.moved(-down).1 } else { movable.moved(up).1 };
    let is_shift = harder.abs() > 0.0 && harder.is_finite();
    if is_shift { Ok(harder.abs()) } else { Err("the values have no spread".to_owned()) }
}

fn share_shift(column: &Column, values: f64, needed: &Needed) -> Result<f64, String> {
    let categories = alternative::MostFrequent::of(column)?;
    let tests = power::Cells::new(column, values, needed)?;
    let most = categories.room();
    smallest(most * 1e-6, most, |share| tests.see(&categories.moved(share))).ok_or_else(|| {
        let frequent = categories.share;
        format!(
            "even if the most frequent category went from {frequent:.3} to {:.0}, it would not be seen in {values:.0} values",
            categories.end()
        )
    })
}

/// The smallest number between two positive ones from which on `seen` holds, as if it held from there on;
/// `None` if it does not hold at `high`.
fn smallest(low: f64, high: f64, seen: impl Fn(f64) -> bool) -> Option<f64> {
    let is_range = low > 0.0 && low < high && high.is_finite();
    if !is_range || !seen(high) {
        return None;
    }
    if seen(low) {
        return Some(low);
    }
    let (mut low, mut high) = (low, high);
    for _ in 0..STEPS {
        // Halves the ratio, not the difference: the answer may be a millionth of the range.
        let middle = low * (high / low).sqrt();
        if high / low < 1.001 {
            break;
        }
        if seen(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high)
}

/// A count of rows; held at the largest count.
fn whole(rows: f64) -> u64 {
    // Saturates, and NaN was refused before.
    rows as u64
}

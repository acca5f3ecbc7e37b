//! From scores to a verdict.

use super::{ColumnVerdict, Floors, Outcome, Settings, TestResult, Verdict, clear_level};
use crate::baseline::{Baseline, Column};
use crate::drift::{DriftTest, EffectUnit, Pair, Score, TESTS, describe};
use crate::event::{Role, Timestamp};
use crate::summary::{ColumnSummary, ModelSummary};

/// Share of the columns listed in an alarm that may be listed in error.
const FALSE_DISCOVERY_RATE: f64 = 0.1;

/// What is said about every window until reference windows carry the promise.
const UNCALIBRATED: &str = "rows are taken as independent (i.i.d. rule with effect floors); \
     the budget holds only as far as they are";

/// A closed window's counts and what it is called.
#[derive(Debug, Clone, Copy)]
pub struct WindowSample<'a> {
    /// The model.
    pub model: &'a str,
    /// The model's version.
    pub version: Option<&'a str>,
    /// The segment; `None` for all rows.
    pub segment: Option<&'a str>,
    /// Start, inclusive.
    pub start: Timestamp,
    /// End, exclusive.
    pub end: Timestamp,
    /// The counts.
    pub summary: &'a ModelSummary,
}

/// A column's p-value before it is known how many columns share the window.
struct Judged {
    verdict: ColumnVerdict,
    /// Smallest p-value times the number of tests, over tests whose effect reaches its floor.
    p_above_floor: Option<f64>,
}

/// Scores every column of a window and says what they mean together.
///
/// With `T` alarming tests on a column and `C` columns that could be tested, the window alarms when
/// `p · T · C <= alpha` for a test whose effect reaches its floor (Bonferroni: valid under any dependence
/// between tests and columns).
pub fn decide(baseline: &Baseline, sample: WindowSample<'_>, settings: &Settings, alpha: f64) -> Verdict {
    let n = sample.summary.n();
    let enough = n >= settings.rows_min;
    let mut judged: Vec<Judged> = baseline
        .columns
        .iter()
        .zip(&sample.summary.columns)
        .filter(|(_, current)| current.rows() > 0)
        .map(|(column, current)| judge(column, current, &settings.floors))
        .collect();
    let columns = judged.iter().filter(|judged| judged.verdict.p_value.is_some()).count() as f64;
    let smallest = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::INFINITY, f64::min);
    let p_above_floor = smallest(&mut judged.iter().filter_map(|judged| judged.p_above_floor)) * columns;
    let p_any = smallest(&mut judged.iter().filter_map(|judged| judged.verdict.p_value)) * columns;
    let alarm = enough && p_above_floor <= alpha;
    if alarm {
        mark_moved(&mut judged, alpha, columns);
    }
    let mut features: Vec<ColumnVerdict> = judged.into_iter().map(|judged| judged.verdict).collect();
    features.sort_by(|a, b| {
        b.alarm.cmp(&a.alarm).then(b.moved.total_cmp(&a.moved)).then_with(|| a.name.cmp(&b.name))
    });
    Verdict {
        model: sample.model.to_owned(),
        version: sample.version.map(str::to_owned),
        segment: sample.segment.map(str::to_owned),
        window_start: sample.start,
        window_end: sample.end,
        n,
        alarm,
        quiet: enough && columns > 0.0 && !alarm && p_above_floor > clear_level(alpha),
        calibrated: false,
        calibration_note: Some(UNCALIBRATED.to_owned()),
        p_value: (enough && p_any.is_finite()).then(|| p_any.min(1.0)),
        alpha,
        features,
    }
}

fn judge(column: &Column, current: &ColumnSummary, floors: &Floors) -> Judged {
    let pair = Pair::new(&column.shape, &column.summary, current);
    let mut results = Vec::new();
    let mut alarming: Vec<(&DriftTest, Score)> = Vec::new();
    let mut moved: f64 = 0.0;
    for test in TESTS.iter().filter(|test| test.kinds.contains(&column.spec.kind)) {
        let outcome = match (test.score)(&pair) {
            Ok(score) => {
                moved = moved.max(share_moved(&score));
                if may_alarm(test, column.spec.role) && score.p_value.is_some() {
                    alarming.push((test, score.clone()));
                }
                Outcome::Scored(score)
            }
            Err(reason) => Outcome::NotTested(reason),
        };
        results.push(TestResult { test: test.name.to_owned(), outcome });
    }
    let tests = alarming.len() as f64;
    let corrected = |score: &Score| (score.p_value.unwrap_or(1.0) * tests).min(1.0);
    let loudest = alarming.iter().min_by(|(_, a), (_, b)| {
        corrected(a).total_cmp(&corrected(b)).then(b.effect.abs().total_cmp(&a.effect.abs()))
    });
    let p_above_floor = alarming
        .iter()
        .filter(|(_, score)| score.effect.abs() >= floor_of(floors, score.effect_unit))
        .map(|(_, score)| corrected(score))
        .min_by(f64::total_cmp);
    let verdict = ColumnVerdict {
        name: column.spec.name.clone(),
        role: column.spec.role,
        kind: column.spec.kind,
        alarm: false,
        p_value: loudest.map(|(_, score)| corrected(score)),
        test: loudest.map(|(test, _)| test.name.to_owned()),
        statistic: loudest.map(|(_, score)| score.statistic),
        effect: loudest.map(|(_, score)| score.effect),
        effect_unit: loudest.map(|(_, score)| score.effect_unit),
        moved,
        summary: describe(&pair),
        reference_n: column.summary.values(),
        current_n: current.values(),
        tests: results,
    };
    Judged { verdict, p_above_floor }
}

/// Labels arrive late or never by their nature, so their absence is no drift.
fn may_alarm(test: &DriftTest, role: Role) -> bool {
    test.alarms && !(role == Role::Label && test.name == "missing")
}

/// An effect on the common scale 0..=1, if its unit has one.
fn share_moved(score: &Score) -> f64 {
    match score.effect_unit {
        EffectUnit::CumulativeShare | EffectUnit::Share | EffectUnit::Rate => score.effect.abs().min(1.0),
        EffectUnit::StandardDeviations | EffectUnit::Statistic => 0.0,
    }
}

fn floor_of(floors: &Floors, unit: EffectUnit) -> f64 {
    match unit {
        EffectUnit::CumulativeShare => floors.cumulative_share,
        EffectUnit::Share => floors.share,
        EffectUnit::Rate => floors.rate,
        EffectUnit::StandardDeviations => floors.standard_deviations,
        // Comparable only with itself: no floor can be stated, so it never alarms.
        EffectUnit::Statistic => f64::INFINITY,
    }
}

/// Lists the columns that moved, by Benjamini and Hochberg (1995): with the p-values in ascending order
/// the largest `k` with `p_(k) <= k/C · 0.1`. A column that alone raises the alarm is always listed.
fn mark_moved(judged: &mut [Judged], alpha: f64, columns: f64) {
    let mut order: Vec<(f64, usize)> = judged
        .iter()
        .enumerate()
        .filter_map(|(index, judged)| judged.p_above_floor.map(|p| (p, index)))
        .collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let kept = order
        .iter()
        .enumerate()
        .filter(|(rank, (p, _))| {
            *p <= (rank + 1) as f64 / columns * FALSE_DISCOVERY_RATE || p * columns <= alpha
        })
        .map(|(rank, _)| rank + 1)
        .max()
        .unwrap_or(0);
    for (_, index) in order.into_iter().take(kept) {
        if let Some(judged) = judged.get_mut(index) {
            judged.verdict.alarm = true;
        }
    }
}

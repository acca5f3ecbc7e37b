//! From scores to a verdict.

use super::evidence::{CellEvidence, Evidence, alarming};
use super::{
    Calibration, ColumnVerdict, Floors, Outcome, Ranked, Settings, TestResult, Verdict, clear_level,
};
use crate::baseline::{Baseline, Column};
use crate::drift::{EffectUnit, Pair, Score, TESTS, describe};
use crate::event::Timestamp;
use crate::summary::{ColumnSummary, ModelSummary};

/// Share of the columns listed in an alarm that may be listed in error.
const FALSE_DISCOVERY_RATE: f64 = 0.1;

/// What is said where no reference windows are.
pub const UNCALIBRATED: &str = "rows are taken as independent (i.i.d. rule with effect floors); \
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

/// What a window is measured by.
#[derive(Debug, Clone, Copy)]
pub struct Measure<'a> {
    /// The training rows it is compared with, if not all: those of its segment or its season.
    pub reference: Option<&'a ModelSummary>,
    /// Its share of the budget where rows are taken as independent: all of it without `ranking`; with it, for
    /// the tests that no reference window has evidence of.
    pub alpha: f64,
    /// The reference windows it is ranked among, and its block's share of the budget.
    pub ranking: Option<(&'a Calibration, f64)>,
    /// Why the promise does not hold for it; `None` if it does as far as `ranking` says so.
    pub note: Option<&'a str>,
}

impl Measure<'_> {
    /// The rule for independent rows against all training rows.
    pub fn independent(alpha: f64) -> Self {
        Self { reference: None, alpha, ranking: None, note: None }
    }
}

/// A verdict with the evidence it rests on.
#[derive(Debug, Clone)]
pub struct Decided {
    /// The verdict.
    pub verdict: Verdict,
    /// The evidence, for ranking and for learning; empty when there are too few rows.
    pub evidence: CellEvidence,
}

/// A column's results before it is known what the others say.
struct Judged {
    verdict: ColumnVerdict,
    /// For each alarming test, its evidence and whether the effect reaches its floor.
    evidence: Vec<Option<(Evidence, bool)>>,
    /// Smallest p-value times the number of tests, over tests whose effect reaches its floor.
    p_above_floor: Option<f64>,
    /// Largest ratio to what is usual, over tests whose effect reaches its floor.
    ratio_above_floor: Option<f64>,
    /// Smallest p-value times the number of tests, over tests above their floor that cannot be ranked.
    p_unranked: Option<f64>,
    tests: usize,
}

/// [`decide_by`] where rows are taken as independent.
pub fn decide(baseline: &Baseline, sample: WindowSample<'_>, settings: &Settings, alpha: f64) -> Verdict {
    decide_by(baseline, sample, settings, Measure::independent(alpha)).verdict
}

/// Scores every column of a window and says what they mean together.
///
/// Among reference windows that carry the promise, the window alarms when its largest ratio is above the
/// threshold of [`Calibration::standing`], for a test whose effect reaches its floor. Without them, with
/// `T` alarming tests on a column and `C` columns that could be tested, it alarms when `p · T · C <= alpha`
/// for such a test (Bonferroni: valid under any dependence between tests and columns); with too few of them,
/// when both hold.
pub fn decide_by(
    baseline: &Baseline,
    sample: WindowSample<'_>,
    settings: &Settings,
    measure: Measure<'_>,
) -> Decided {
    let n = sample.summary.n();
    let enough = n >= settings.rows_min;
    let mut judged: Vec<Judged> = baseline
        .columns
        .iter()
        .zip(&sample.summary.columns)
        .enumerate()
        .map(|(index, (column, current))| {
            let reference = measure.reference.and_then(|reference| reference.columns.get(index));
            judge(column, reference.unwrap_or(&column.summary), current, &settings.floors)
        })
        .collect();
    let evidence = CellEvidence {
        segment: sample.segment.map(str::to_owned),
        evidence: judged.iter().flat_map(|one| &one.evidence).map(|one| one.map(|(e, _)| e)).collect(),
    };
    let ranked = measure.ranking.filter(|_| enough).and_then(|(calibration, alpha)| {
        rank(&mut judged, &evidence, sample.start, calibration).map(|(statistic, largest_above_floor)| {
            let standing = calibration.standing(alpha);
            let ranked = Ranked { statistic, p_value: calibration.rank(statistic), alpha, standing };
            (ranked, largest_above_floor)
        })
    });
    // Columns of another stream are not there at all.
    judged.retain(|one| !one.verdict.tests.is_empty());
    let says = Says::of(&judged, ranked, measure.alpha, enough);
    if says.alarm {
        mark_moved(&mut judged, &says);
    }
    let mut features: Vec<ColumnVerdict> = judged.into_iter().map(|judged| judged.verdict).collect();
    features.sort_by(|a, b| {
        b.alarm.cmp(&a.alarm).then(b.moved.total_cmp(&a.moved)).then_with(|| a.name.cmp(&b.name))
    });
    let calibrated = says.calibrated && measure.note.is_none();
    let too_few =
        (!enough).then(|| format!("{n} rows: windows with fewer than {} are not tested", settings.rows_min));
    let note = too_few.as_deref().or(measure.note).unwrap_or(UNCALIBRATED);
    let verdict = Verdict {
        model: sample.model.to_owned(),
        version: sample.version.map(str::to_owned),
        segment: sample.segment.map(str::to_owned),
        window_start: sample.start,
        window_end: sample.end,
        n,
        alarm: says.alarm,
        quiet: says.quiet,
        calibrated,
        calibration_note: (!calibrated).then(|| note.to_owned()),
        p_value: says.p_value,
        alpha: says.alpha,
        ranked: says.ranked,
        features,
    };
    Decided { verdict, evidence }
}

/// What a window's columns say together.
struct Says {
    alarm: bool,
    quiet: bool,
    calibrated: bool,
    p_value: Option<f64>,
    alpha: f64,
    alpha_unranked: f64,
    columns: f64,
    ranked: Option<Ranked>,
}

impl Says {
    fn of(judged: &[Judged], ranked: Option<(Ranked, Option<f64>)>, alpha: f64, enough: bool) -> Self {
        let columns = judged.iter().filter(|one| one.verdict.p_value.is_some()).count() as f64;
        let smallest = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::INFINITY, f64::min);
        let p_above_floor = smallest(&mut judged.iter().filter_map(|one| one.p_above_floor)) * columns;
        let p_any = smallest(&mut judged.iter().filter_map(|one| one.verdict.p_value)) * columns;
        let independent_alarm = enough && p_above_floor <= alpha;
        let independent_quiet = enough && columns > 0.0 && p_above_floor > clear_level(alpha);
        let p_independent = (enough && p_any.is_finite()).then(|| p_any.min(1.0));
        let Some((ranked, largest)) = ranked else {
            return Self {
                alarm: independent_alarm,
                quiet: independent_quiet && !independent_alarm,
                calibrated: false,
                p_value: p_independent,
                alpha,
                alpha_unranked: alpha,
                columns,
                ranked: None,
            };
        };
        let standing = &ranked.standing;
        let is_above = largest.is_some_and(|largest| largest > standing.threshold);
        let is_common = ranked.p_value > clear_level(ranked.alpha);
        let calibrated = standing.calibrated;
        let p_unranked = smallest(&mut judged.iter().filter_map(|one| one.p_unranked)) * columns;
        let unranked_alarm = enough && p_unranked <= alpha;
        let alarm = is_above && (calibrated || independent_alarm) || unranked_alarm;
        Self {
            alarm,
            quiet: !alarm && (is_common || (!calibrated && independent_quiet)),
            calibrated,
            p_value: if calibrated { Some(ranked.p_value) } else { p_independent },
            alpha: if calibrated { ranked.alpha } else { alpha },
            alpha_unranked: alpha,
            columns,
            ranked: Some(ranked),
        }
    }
}

/// Writes the ratios into the columns, and gives the largest of all and of those above their floor.
fn rank(
    judged: &mut [Judged],
    evidence: &CellEvidence,
    start: Timestamp,
    calibration: &Calibration,
) -> Option<(f64, Option<f64>)> {
    let mut ratios = calibration.ratios(evidence, start).into_iter();
    let largest = |values: &mut dyn Iterator<Item = f64>| values.max_by(f64::total_cmp);
    for column in judged.iter_mut() {
        let its: Vec<(Option<f64>, bool)> = column
            .evidence
            .iter()
            .zip(ratios.by_ref())
            .map(|(evidence, ratio)| (ratio, evidence.is_some_and(|(_, above)| above)))
            .collect();
        column.verdict.ratio = largest(&mut its.iter().filter_map(|(ratio, _)| *ratio));
        let tests = column.tests as f64;
        let unranked = column.evidence.iter().zip(&its).filter_map(|(evidence, (ratio, above))| {
            let (evidence, _) = (*evidence).filter(|_| ratio.is_none() && *above)?;
            Some((tests * (-f64::from(evidence.surprise)).exp()).min(1.0))
        });
        column.p_unranked = unranked.min_by(f64::total_cmp);
        let above = its.iter().filter(|(_, above)| *above);
        column.ratio_above_floor = largest(&mut above.filter_map(|(ratio, _)| *ratio));
    }
    let statistic = largest(&mut judged.iter().filter_map(|one| one.verdict.ratio))?;
    Some((statistic, largest(&mut judged.iter().filter_map(|one| one.ratio_above_floor))))
}

fn judge(column: &Column, reference: &ColumnSummary, current: &ColumnSummary, floors: &Floors) -> Judged {
    let pair = Pair::new(&column.shape, reference, current);
    let is_there = current.rows() > 0;
    let mut results = Vec::new();
    let mut scored: Vec<(&'static str, Option<Score>)> = Vec::new();
    let mut moved: f64 = 0.0;
    let kind = column.spec.kind;
    for test in TESTS.iter().filter(|test| is_there && test.kinds.contains(&kind)) {
        let outcome = match (test.score)(&pair) {
            Ok(score) => {
                moved = moved.max(share_moved(&score));
                scored.push((test.name, Some(score.clone())));
                Outcome::Scored(score)
            }
            Err(reason) => Outcome::NotTested(reason),
        };
        results.push(TestResult { test: test.name.to_owned(), outcome });
    }
    let is_above = |score: &Score| score.effect.abs() >= floor_of(floors, score.effect_unit);
    let mut evidence = Vec::new();
    let mut loud: Vec<(&'static str, Score)> = Vec::new();
    for test in alarming(column) {
        let found = scored.iter_mut().find(|(name, _)| *name == test.name);
        let score = found.and_then(|(_, score)| score.take()).filter(|score| score.p_value.is_some());
        let known = score.as_ref().and_then(|score| Some((Evidence::of(score)?, is_above(score))));
        evidence.push(known);
        loud.extend(score.map(|score| (test.name, score)));
    }
    let tests = loud.iter().filter(|(test, _)| can_speak(test, reference, current)).count().max(1);
    let corrected = |score: &Score| (score.p_value.unwrap_or(1.0) * tests as f64).min(1.0);
    let loudest = loud.iter().min_by(|(_, a), (_, b)| {
        corrected(a).total_cmp(&corrected(b)).then(b.effect.abs().total_cmp(&a.effect.abs()))
    });
    let p_above_floor = loud
        .iter()
        .filter(|(_, score)| is_above(score))
        .map(|(_, score)| corrected(score))
        .min_by(f64::total_cmp);
    let verdict = ColumnVerdict {
        name: column.spec.name.clone(),
        role: column.spec.role,
        kind,
        alarm: false,
        p_value: loudest.map(|(_, score)| corrected(score)),
        test: loudest.map(|(test, _)| (*test).to_owned()),
        statistic: loudest.map(|(_, score)| score.statistic),
        effect: loudest.map(|(_, score)| score.effect),
        effect_unit: loudest.map(|(_, score)| score.effect_unit),
        ratio: None,
        moved,
        summary: if is_there { describe(&pair) } else { None },
        reference_n: reference.values(),
        current_n: current.values(),
        tests: results,
    };
    Judged { verdict, evidence, p_above_floor, ratio_above_floor: None, p_unranked: None, tests }
}

/// Whether a test could have had a small p-value, given how often its event happened in both samples together.
/// One that could not is no further chance of a false alarm (Tarone 1990, doi:10.2307/2531456).
fn can_speak(test: &str, reference: &ColumnSummary, current: &ColumnSummary) -> bool {
    let sides = [reference.anomalies(), current.anomalies()];
    match test {
        "missing" => sides.iter().any(|side| side.missing > 0),
        "wrong_type" => sides.iter().any(|side| side.wrong_type > 0),
        _ => true,
    }
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
///
/// Among reference windows a column's p-value is `T·2^−ratio`: that of independent rows with the evidence
/// divided by what is usual for it, which ranks among some hundred windows could not tell apart.
fn mark_moved(judged: &mut [Judged], says: &Says) {
    let threshold = says.ranked.as_ref().filter(|_| says.calibrated).map(|ranked| ranked.standing.threshold);
    let p_of = |one: &Judged| match threshold {
        Some(threshold) => {
            let ratio = one.ratio_above_floor;
            let by_ratio = ratio.map(|ratio| (one.tests as f64 * (-ratio).exp2()).min(1.0));
            let p = [by_ratio, one.p_unranked].into_iter().flatten().min_by(f64::total_cmp)?;
            let alone = ratio.is_some_and(|ratio| ratio > threshold)
                || one.p_unranked.is_some_and(|p| p * says.columns <= says.alpha_unranked);
            Some((p, alone))
        }
        None => one.p_above_floor.map(|p| (p, p * says.columns <= says.alpha)),
    };
    let mut order: Vec<(f64, bool, usize)> = judged
        .iter()
        .enumerate()
        .filter_map(|(index, one)| p_of(one).map(|(p, alone)| (p, alone, index)))
        .collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.2.cmp(&b.2)));
    let kept = order
        .iter()
        .enumerate()
        .filter(|(rank, (p, alone, _))| {
            *alone || *p <= (rank + 1) as f64 / says.columns * FALSE_DISCOVERY_RATE
        })
        .map(|(rank, _)| rank + 1)
        .max()
        .unwrap_or(0);
    for (_, _, index) in order.into_iter().take(kept) {
        if let Some(judged) = judged.get_mut(index) {
            judged.verdict.alarm = true;
        }
    }
}

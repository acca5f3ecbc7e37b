//! What a drift of the inputs is expected to do to the model, before any label is there.
//!
//! Windows of features are finer than windows of outcomes, and they hold the scores' counts already: on the
//! grid of the score column, whose edges are among those that outcomes are counted on. So a window that alarms
//! is estimated from its own rows.

use super::measure::ranged;
use super::money::change_of;
use super::reference::PerformanceReference;
use crate::baseline::{Baseline, Outcomes as Reference};
use crate::event::{ColumnKind, Role, Span};
use crate::incident::PerformanceEvidence;
use crate::monitor::plan::Prepared;
use crate::performance::counts;
use crate::performance::diagnosis::{Alarm, Findings, diagnose};
use crate::performance::estimate::{Cbpe, Cell, CostCell};
use crate::performance::value::{Costs, loss_per_day, retrain_case, rows_per_day};
use crate::performance::{
    Diagnosis, DiagnosisKind, Maturity, Measured, MetricReading, MoneyReading, Settings,
};
use crate::summary::outcome::OutcomeShape;
use crate::summary::{Anomalies, ColumnSummary, ModelSummary, Shape};
use crate::verdict::{ColumnVerdict, Verdict};

/// What scores mean, on the grid of the score column.
#[derive(Debug)]
pub(super) struct OnGrid {
    cbpe: Cbpe,
    /// Place of the score column in the baseline.
    column: usize,
    /// The mean score of each bin in the training data.
    scores: Vec<f64>,
    /// The share of each bin that was decided as class 1 in the training data.
    decided: Vec<f64>,
}

impl OnGrid {
    /// For two classes with scores whose column is counted as numbers.
    pub(super) fn new(baseline: &Baseline, outcomes: &Reference, bin_scores: &[f64]) -> Option<Self> {
        let OutcomeShape::Binary(shape) = &outcomes.shape else { return None };
        let name = outcomes.scores.first().filter(|_| shape.scored)?;
        let is_it = |column: &crate::baseline::Column| {
            column.spec.role == Role::Score
                && column.spec.name == *name
                && column.spec.kind == ColumnKind::Numeric
        };
        let column = baseline.columns.iter().position(is_it)?;
        let Shape::Numeric(grid) = &baseline.columns.get(column)?.shape else { return None };
        let bins = grid.bins();
        let (mut positives, mut negatives) = (vec![0_u64; bins], vec![0_u64; bins]);
        let (mut sums, mut decided) = (vec![0.0; bins], vec![0.0; bins]);
        let (ones, noughts) = counts::class_counts(shape, &outcomes.total);
        let cells = counts::prediction_cells(shape, &outcomes.total);
        for (score, ((ones, noughts), cell)) in bin_scores.iter().zip(ones.iter().zip(&noughts).zip(&cells)) {
            let bin = grid.bin(*score);
            *positives.get_mut(bin)? += ones;
            *negatives.get_mut(bin)? += noughts;
            *sums.get_mut(bin)? += score * (ones + noughts) as f64;
            *decided.get_mut(bin)? += cell[1] as f64;
        }
        let mut scores = Vec::with_capacity(bins);
        for (bin, sum) in sums.iter().enumerate() {
            let rows = positives.get(bin)? + negatives.get(bin)?;
            // A bin without training rows: its edge, which lies between the means of its neighbours.
            let edge = grid.edges().get(bin).or(grid.edges().last()).copied().unwrap_or(0.5).clamp(0.0, 1.0);
            scores.push(if rows > 0 { sum / rows as f64 } else { edge });
        }
        for (bin, share) in decided.iter_mut().enumerate() {
            let rows = (positives.get(bin)? + negatives.get(bin)?) as f64;
            *share = if rows > 0.0 {
                (*share / rows).min(1.0)
            } else {
                f64::from(*scores.get(bin)? >= shape.threshold)
            };
        }
        // Scores must ascend strictly; bins without rows at the ends may share an edge.
        for bin in 1..scores.len() {
            let before = *scores.get(bin - 1)?;
            if let Some(score) = scores.get_mut(bin).filter(|score| **score <= before) {
                *score = before.next_up();
            }
        }
        let cbpe = Cbpe::from_counts(&scores, &positives, &negatives).ok()?;
        Some(Self { cbpe, column, scores, decided })
    }

    fn rows(&self, summary: &ModelSummary) -> Option<Vec<(f64, [u64; 2])>> {
        let Some(ColumnSummary::Numeric(numbers)) = summary.columns.get(self.column) else { return None };
        let split = |((score, share), rows): ((&f64, &f64), u64)| {
            // At most the number of rows, which is whole.
            let positive = ((rows as f64 * share).round() as u64).min(rows);
            (*score, [rows - positive, positive])
        };
        let rows = self.scores.iter().zip(&self.decided).zip(numbers.counts.iter()).map(split);
        Some(rows.filter(|(_, rows)| *rows != [0, 0]).collect())
    }
}

/// What is expected of a window of features that alarms.
pub(in crate::monitor) struct Expected {
    pub(in crate::monitor) performance: Option<PerformanceEvidence>,
    pub(in crate::monitor) diagnosis: Option<Diagnosis>,
}

/// Estimates what a window's drift does to the model, and says what it is taken to be. `is_reliable` says
/// whether estimates for the version were in line with what came true, as far as that is known.
pub(in crate::monitor) fn expect(
    settings: Option<&Settings>,
    prepared: &Prepared,
    verdict: &Verdict,
    summary: &ModelSummary,
    is_reliable: bool,
) -> Expected {
    let length = verdict.window_end - verdict.window_start;
    let with = settings.zip(prepared.performance.as_deref());
    let performance = with.and_then(|(settings, reference)| {
        let found = estimate(settings, reference, summary, length, verdict.segment.as_deref())?;
        Some((settings, found))
    });
    let estimated = performance.as_ref().and_then(|(settings, (_, measured, reference))| {
        let value = measured.outcome.as_ref().ok()?;
        Some(change_of(settings, value.value, value.interval, *reference, is_reliable))
    });
    let alarms = alarms_of(prepared, verdict, summary);
    let is_estimated = estimated.is_some();
    let diagnosis = diagnose(&Findings { alarms, estimated, ..Findings::default() });
    let is_fault = diagnosis.kind == DiagnosisKind::DataFault;
    let performance = performance.map(|(_, (mut evidence, _, _))| {
        evidence.window_start = verdict.window_start;
        evidence.window_end = verdict.window_end;
        evidence
    });
    Expected { performance, diagnosis: (is_fault || is_estimated).then_some(diagnosis) }
}

/// The headline metric as the window's scores lead to expect it, with its value in the training data.
fn estimate(
    settings: &Settings,
    reference: &PerformanceReference,
    summary: &ModelSummary,
    length: Span,
    segment: Option<&str>,
) -> Option<(PerformanceEvidence, Measured, f64)> {
    let on_grid = reference.on_grid.as_ref()?;
    let rows = on_grid.rows(summary)?;
    let cells: Vec<Cell> =
        rows.iter().map(|(score, predicted)| Cell { score: *score, predicted: *predicted }).collect();
    let measured =
        on_grid.cbpe.estimate_binned(&cells).into_iter().find(|one| one.metric == settings.metric)?;
    let value = measured.outcome.clone().ok()?;
    let of_reference = &reference.rows(segment).metrics;
    let before = of_reference.iter().find(|one| one.metric == settings.metric)?.outcome.as_ref().ok()?.value;
    let predictions: u64 = rows.iter().flat_map(|(_, rows)| rows).sum();
    let evidence = PerformanceEvidence {
        window_start: crate::event::Timestamp::default(),
        window_end: crate::event::Timestamp::default(),
        metric: MetricReading {
            metric: settings.metric.clone(),
            value: None,
            low: None,
            high: None,
            n: 0,
            bound: 0.0,
            status: "insufficient_data".to_owned(),
            detail: Some("labels have not come yet".to_owned()),
            reference: Some(before),
            estimate: Some(ranged(value.value, value.interval)),
            estimate_holds: None,
        },
        cause: None,
        predictions,
        labels: 0,
        coverage: (predictions > 0).then_some(0.0),
        maturity: Maturity::Waiting,
        split: None,
        money: money(reference, on_grid, &rows, predictions, length, segment),
    };
    Some((evidence, measured, before))
}

/// What the decisions of the window are expected to cost; nothing where cases have amounts of their own.
fn money(
    reference: &PerformanceReference,
    on_grid: &OnGrid,
    rows: &[(f64, [u64; 2])],
    predictions: u64,
    length: Span,
    segment: Option<&str>,
) -> Option<MoneyReading> {
    let value = reference.value.as_ref().filter(|value| !value.amounts)?;
    let Costs::Decisions(matrix) = &value.costs else { return None };
    let of = |(score, rows): &(f64, [u64; 2])| {
        let rows = rows.map(|rows| rows as f64);
        CostCell { score: *score, rows, amount: rows, amount_squared: rows }
    };
    let cells: Vec<CostCell> = rows.iter().map(of).collect();
    let now = on_grid.cbpe.expected_cost(&cells, matrix).ok()?;
    let before = reference.rows(segment).cost.as_ref()?;
    let per_day = rows_per_day(predictions, length)?;
    let a_day = loss_per_day(&now, before, per_day).ok()?;
    let case = retrain_case(&now, before, per_day, value).ok()?;
    Some(MoneyReading {
        currency: value.currency.clone(),
        cost: None,
        estimated_cost: Some(ranged(now.value, now.interval())),
        reference_cost: before.value,
        per_day,
        loss_per_day: None,
        estimated_loss_per_day: Some(ranged(a_day.value, a_day.interval)),
        accumulated: None,
        since: None,
        retrain_cost: value.retrain_cost + value.retrain_risk,
        break_even_days: case.break_even_days,
        retrain_pays: case.saving_at_least.map(|_| case.pays),
        horizon: value.horizon,
    })
}

/// The columns that alarm, with the shares that their tests count.
fn alarms_of(prepared: &Prepared, verdict: &Verdict, summary: &ModelSummary) -> Vec<Alarm> {
    let alarming = verdict.features.iter().filter(|column| column.alarm);
    alarming.map(|column| alarm_of(&prepared.baseline, column, summary)).collect()
}

fn alarm_of(baseline: &Baseline, column: &ColumnVerdict, summary: &ModelSummary) -> Alarm {
    let test = column.test.clone().unwrap_or_default();
    let place = baseline.columns.iter().position(|known| known.spec.name == column.name);
    let share = |counts: &ColumnSummary| {
        let of: fn(&Anomalies) -> u64 = match test.as_str() {
            "missing" => |anomalies| anomalies.missing + anomalies.nan,
            "wrong_type" => |anomalies| anomalies.wrong_type,
            _ => return None,
        };
        (counts.rows() > 0).then(|| of(counts.anomalies()) as f64 / counts.rows() as f64)
    };
    let before = place.and_then(|place| baseline.columns.get(place)).and_then(|known| share(&known.summary));
    let now = place.and_then(|place| summary.columns.get(place)).and_then(share);
    // The training data has next to none of these by their definition, so the effect is the share itself.
    let is_new = matches!(test.as_str(), "unseen" | "overflow");
    let effect = column.effect.filter(|_| is_new);
    Alarm {
        column: column.name.to_string(),
        reference_share: before.or(effect.map(|_| 0.0)),
        share: now.or(effect.map(f64::abs)),
        test,
    }
}

//! Two classes from counts by score, decision and truth.

use super::{Outcomes, pairs, provisional};
use crate::performance::binary::{Binary, Calibration, Curve, Probabilities, Scored, Tie, no_probabilities};
use crate::performance::confusion::Confusion;
use crate::performance::weighed::Weighed;
use crate::summary::outcome::{BinaryShape, CALIBRATION_BINS, OutcomeSummary, STRATA, ScoreSum};

pub(super) fn reduce(outcomes: &Outcomes, shape: &BinaryShape) -> Binary {
    let cell = |truth, decision| {
        (0..shape.bins()).map(|bin| outcomes.count(shape.outcome_at(bin, decision, truth))).sum()
    };
    let cells = pairs(2, 2).map(|(truth, decision)| cell(truth, decision)).collect();
    let table = Confusion::new(2, cells, outcomes.usable());
    Binary { table, scored: shape.scored.then(|| scored(outcomes, shape)) }
}

fn scored(outcomes: &Outcomes, shape: &BinaryShape) -> Scored {
    let rows = |bin, truth| -> Weighed {
        [0, 1].map(|decision| outcomes.count(shape.outcome_at(bin, decision, truth))).into_iter().sum()
    };
    let tie = |bin: usize| Tie { score: bin as f64, positives: rows(bin, 1), negatives: rows(bin, 0) };
    let curve = Curve::of_bins((0..shape.bins()).rev().map(tie));
    // A count of rows that all weigh 1, so it is whole.
    let outside = outcomes.count(shape.outside_at()).once as u64;
    let probabilities = match outside {
        0 => Ok(probabilities(outcomes, shape)),
        n => Err(no_probabilities(n)),
    };
    Scored { curve, probabilities }
}

fn probabilities(outcomes: &Outcomes, shape: &BinaryShape) -> Probabilities {
    let sum = |sum: ScoreSum| -> Weighed {
        pairs(STRATA, 2).map(|(stratum, truth)| outcomes.sum(shape.sum_at(stratum, truth, sum))).sum()
    };
    let mean = |plain, squared| Weighed::mean(outcomes.rows(), sum(plain), sum(squared));
    let brier = mean(ScoreSum::Brier, ScoreSum::BrierSquared);
    let calibration = if outcomes.is_weighted() {
        Err(provisional())
    } else {
        let spiegelhalter = (sum(ScoreSum::Spiegelhalter).once, sum(ScoreSum::SpiegelhalterVariance).once);
        Ok(calibration(outcomes, shape, brier.value, spiegelhalter))
    };
    Probabilities { log_loss: mean(ScoreSum::LogLoss, ScoreSum::LogLossSquared), brier, calibration }
}

/// The sum of p(1 − p) over a bin is taken as n times that of the mean p: more by the variance of p within the
/// bin, at most n/400.
fn calibration(
    outcomes: &Outcomes,
    shape: &BinaryShape,
    brier: f64,
    spiegelhalter: (f64, f64),
) -> Calibration {
    let mut calibration = Calibration { brier, spiegelhalter, ..Calibration::default() };
    let bins = calibration.gaps.iter_mut().zip(&mut calibration.variances);
    for (bin, (gap, variance)) in (0..CALIBRATION_BINS).zip(bins) {
        let [negatives, positives] =
            [0, 1].map(|truth| outcomes.count(shape.calibration_at(bin, truth)).once);
        let scores = outcomes.sum(shape.calibration_sum_at(bin)).once;
        let n = negatives + positives;
        if n > 0.0 {
            *gap = positives - scores;
            *variance = (scores * (1.0 - scores / n)).max(0.0);
        }
    }
    calibration
}

/// Labelled rows by bin of the score: the positive and the negative ones. Both vectors have `shape.bins()`
/// counts, the lowest scores first.
pub fn class_counts(shape: &BinaryShape, summary: &OutcomeSummary) -> (Vec<u64>, Vec<u64>) {
    let of = |truth| {
        let rows = |bin| -> u64 {
            [0, 1].map(|decision| summary.outcomes.get(shape.outcome_at(bin, decision, truth))).iter().sum()
        };
        (0..shape.bins()).map(rows).collect()
    };
    (of(1), of(0))
}

/// Predictions, with and without a label, by bin of the score and by decision: `[decided 0, decided 1]` for
/// each of `shape.bins()` bins, the lowest scores first.
pub fn prediction_cells(shape: &BinaryShape, summary: &OutcomeSummary) -> Vec<[u64; 2]> {
    let cell = |bin| [0, 1].map(|decision| summary.predicted.get(shape.predicted_at(bin, decision)));
    (0..shape.bins()).map(cell).collect()
}

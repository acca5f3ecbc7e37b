//! Losses by stratum, from which a change is split into one of the mix and one of the concept.

use super::ranking;
use crate::summary::outcome::{BinaryShape, ErrorSum, OutcomeShape, OutcomeSummary, ScoreSum, Sum};

/// What a labelled row costs where strata are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// (score − label)², of two classes whose scores are probabilities.
    Brier,
    /// 1 for a wrong decision, 0 for a right one.
    Mistake,
    /// |prediction − truth|, in the unit of the predictions.
    Absolute,
    /// 1 − NDCG of the first ten, a query.
    Order,
}

impl Loss {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Brier => "brier",
            Self::Mistake => "mistake",
            Self::Absolute => "absolute_error",
            Self::Order => "order",
        }
    }
}

/// The rows of a stratum.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StratumCounts {
    /// Predictions, with and without a label.
    pub predictions: u64,
    /// What has a loss: labelled rows, or queries with something relevant.
    pub n: f64,
    /// Sum of the losses.
    pub loss_sum: f64,
    /// Sum of their squares.
    pub loss_squares: f64,
}

/// The loss by which these summaries of one shape can be compared: that of the scores if all are
/// probabilities, that of the decisions if not.
pub fn loss(shape: &OutcomeShape, summaries: &[&OutcomeSummary]) -> Loss {
    match shape {
        OutcomeShape::Binary(shape) => {
            let outside = summaries.iter().any(|summary| summary.outcomes.get(shape.outside_at()) > 0);
            if shape.scored && !outside { Loss::Brier } else { Loss::Mistake }
        }
        OutcomeShape::Multiclass(_) => Loss::Mistake,
        OutcomeShape::Regression(_) => Loss::Absolute,
        OutcomeShape::Ranking => Loss::Order,
    }
}

/// Counts and losses of each of the shape's strata; nothing for a loss that the task does not have.
pub fn strata(shape: &OutcomeShape, summary: &OutcomeSummary, loss: Loss) -> Vec<StratumCounts> {
    let of = |stratum: usize| match (shape, loss) {
        (OutcomeShape::Binary(shape), Loss::Brier) => Some(brier(shape, summary, stratum)),
        (OutcomeShape::Binary(shape), Loss::Mistake) => Some(decisions(shape, summary, stratum)),
        (OutcomeShape::Multiclass(shape), Loss::Mistake) => {
            let at = |truth| summary.outcomes.get(shape.confusion_at(truth, stratum));
            let all: u64 = (0..shape.classes.len()).map(at).sum();
            Some(mistakes(all, all.saturating_sub(at(stratum))))
        }
        (OutcomeShape::Regression(shape), Loss::Absolute) => {
            let sum = |sum| fixed(summary, shape.sum_at(stratum, sum));
            Some(StratumCounts {
                n: summary.outcomes.get(shape.outcome_at(stratum)) as f64,
                loss_sum: sum(ErrorSum::Absolute) * shape.scale,
                loss_squares: sum(ErrorSum::Squared) * shape.scale * shape.scale,
                ..StratumCounts::default()
            })
        }
        (OutcomeShape::Ranking, Loss::Order) => Some(orders(summary)),
        _ => None,
    };
    let predicted = shape.predicted_by_stratum(summary);
    let with = |(stratum, predictions): (usize, u64)| {
        of(stratum).map(|counts| StratumCounts { predictions, ..counts })
    };
    predicted.into_iter().enumerate().filter_map(with).collect()
}

fn fixed(summary: &OutcomeSummary, at: usize) -> f64 {
    Sum::decode(summary.sums.get(at).copied().unwrap_or(0))
}

/// Labelled rows of a stratum by decision and truth.
fn cells(shape: &BinaryShape, summary: &OutcomeSummary, stratum: usize) -> [[u64; 2]; 2] {
    let bins = || (0..shape.bins()).filter(|bin| shape.stratum_of(*bin) == stratum);
    [0, 1].map(|decision| {
        [0, 1]
            .map(|truth| bins().map(|bin| summary.outcomes.get(shape.outcome_at(bin, decision, truth))).sum())
    })
}

fn brier(shape: &BinaryShape, summary: &OutcomeSummary, stratum: usize) -> StratumCounts {
    let sum = |sum: ScoreSum| -> f64 {
        [0, 1].map(|truth| fixed(summary, shape.sum_at(stratum, truth, sum))).iter().sum()
    };
    StratumCounts {
        n: cells(shape, summary, stratum).as_flattened().iter().sum::<u64>() as f64,
        loss_sum: sum(ScoreSum::Brier),
        loss_squares: sum(ScoreSum::BrierSquared),
        ..StratumCounts::default()
    }
}

fn decisions(shape: &BinaryShape, summary: &OutcomeSummary, stratum: usize) -> StratumCounts {
    let [[right, missed], [false_alarm, hit]] = cells(shape, summary, stratum);
    mistakes(right + missed + false_alarm + hit, missed + false_alarm)
}

fn mistakes(all: u64, wrong: u64) -> StratumCounts {
    let wrong = wrong as f64;
    StratumCounts { n: all as f64, loss_sum: wrong, loss_squares: wrong, ..StratumCounts::default() }
}

fn orders(summary: &OutcomeSummary) -> StratumCounts {
    let mut counts = StratumCounts::default();
    for loss in ranking::reduce(&summary.queries).losses(10) {
        counts.n += 1.0;
        counts.loss_sum += loss;
        counts.loss_squares += loss * loss;
    }
    counts
}

//! Two classes: counts by score, decision and truth.
//!
//! Layout, with `b` the bin of the score, `d` the decision and `t` the truth, both 0 or 1:
//!
//! ```text
//! predicted   [b][d]
//! outcomes    [b][d][t], then the ten bins of calibration [c][t], then labelled scores outside 0 to 1
//! sums        [stratum][t][ScoreSum], then the scores of the ten bins of calibration [c],
//!             then, if cases have amounts: [stratum][d][t] amount and square, and [b][d] amount and square
//! ```

use serde::{Deserialize, Serialize};

use super::{AmountSum, OutcomeSummary, Predicted, STRATA, Sign, Sum, Unfit};

/// Bins of equal width that the calibration error is measured in.
pub const CALIBRATION_BINS: usize = 10;

/// Bins of equal width over 0 to 1, beside those at the training scores' quantiles.
const EQUAL_WIDTH: u32 = 512;

/// Most edges that are taken from the training scores.
const EDGES_MAX: usize = 4_096;

/// Probabilities are kept this far from 0 and 1 in a logarithm.
pub(super) const PROBABILITY_MIN: f64 = 1e-15;

/// How scores are binned and decided on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BinaryShape {
    /// Ascending edges; bin `k` is `(edges[k-1], edges[k]]`, the last everything above.
    edges: Vec<f64>,
    /// The first bin of each stratum but the first, ascending.
    strata: Vec<usize>,
    /// Where events carry no decision: scores of at least this are decided as class 1.
    pub threshold: f64,
    /// Whether events carry a score; without one it is the decision that is binned.
    pub scored: bool,
    /// Whether cases have amounts.
    pub amounts: bool,
}

/// What is summed of each labelled score, by stratum and truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoreSum {
    /// `−ln` of the probability given to what came true.
    LogLoss,
    /// Its square.
    LogLossSquared,
    /// Squared difference of score and truth.
    Brier,
    /// Its square.
    BrierSquared,
    /// `(t − p)(1 − 2p)`: Spiegelhalter's numerator.
    Spiegelhalter,
    /// `(1 − 2p)² p (1 − p)`: its variance.
    SpiegelhalterVariance,
}

const SCORE_SUMS: usize = 6;

/// A prediction with its place.
pub(super) struct Case {
    pub(super) bin: usize,
    score: f64,
    decision: usize,
    amount: f64,
}

impl BinaryShape {
    /// Bins at the edges of the training scores' grid, at equal widths over 0 to 1, and at the threshold.
    /// Edges that are not finite are left out.
    pub fn new(grid: &[f64], threshold: f64, scored: bool, amounts: bool) -> Self {
        let threshold = if threshold.is_finite() { threshold } else { 0.5 };
        let quantiles: Vec<f64> = grid.iter().copied().filter(|edge| edge.is_finite()).collect();
        let quantiles = quantiles.get(..quantiles.len().min(EDGES_MAX)).unwrap_or_default().to_vec();
        let mut edges = quantiles.clone();
        // A bin ends with its edge, and a score at the threshold is decided as class 1.
        edges.push(threshold.next_down());
        edges.extend((0..=EQUAL_WIDTH).map(|step| f64::from(step) / f64::from(EQUAL_WIDTH)));
        edges.sort_unstable_by(f64::total_cmp);
        edges.dedup();
        let mut strata: Vec<usize> = (1..STRATA)
            .filter_map(|part| quantiles.get(part * quantiles.len() / STRATA))
            .map(|edge| edges.partition_point(|other| other <= edge))
            .collect();
        strata.dedup();
        Self { edges, strata, threshold, scored, amounts }
    }

    /// Number of bins.
    pub fn bins(&self) -> usize {
        self.edges.len() + 1
    }

    /// The edges of the bins, ascending.
    pub fn edges(&self) -> &[f64] {
        &self.edges
    }

    /// The bin of a score.
    pub fn bin(&self, score: f64) -> usize {
        self.edges.partition_point(|edge| *edge < score)
    }

    /// The stratum of a bin.
    pub fn stratum_of(&self, bin: usize) -> usize {
        self.strata.partition_point(|first| *first <= bin)
    }

    pub(super) fn lengths(&self) -> (usize, usize, usize) {
        let amounts = if self.amounts { 8 * STRATA + 4 * self.bins() } else { 0 };
        let sums = 2 * STRATA * SCORE_SUMS + CALIBRATION_BINS + amounts;
        (2 * self.bins(), 4 * self.bins() + 2 * CALIBRATION_BINS + 1, sums)
    }

    /// Place of a count of predictions.
    pub fn predicted_at(&self, bin: usize, decision: usize) -> usize {
        2 * bin + decision
    }

    /// Place of a count of outcomes.
    pub fn outcome_at(&self, bin: usize, decision: usize, truth: usize) -> usize {
        4 * bin + 2 * decision + truth
    }

    /// Place of a count of outcomes by bin of calibration.
    pub fn calibration_at(&self, bin: usize, truth: usize) -> usize {
        4 * self.bins() + 2 * bin + truth
    }

    /// Place of the count of labelled scores outside 0 to 1, which no metric of probabilities can use.
    pub fn outside_at(&self) -> usize {
        4 * self.bins() + 2 * CALIBRATION_BINS
    }

    /// Place of a sum of scores.
    pub fn sum_at(&self, stratum: usize, truth: usize, sum: ScoreSum) -> usize {
        (2 * stratum + truth) * SCORE_SUMS + sum as usize
    }

    /// Place of the sum of the scores in a bin of calibration.
    pub fn calibration_sum_at(&self, bin: usize) -> usize {
        2 * STRATA * SCORE_SUMS + bin
    }

    /// Place of the sum of the amounts of outcomes; the sum of their squares is next to it. Both are
    /// [`AmountSum`]s, and there only if cases have amounts.
    pub fn amount_at(&self, stratum: usize, decision: usize, truth: usize) -> usize {
        2 * STRATA * SCORE_SUMS + CALIBRATION_BINS + 2 * (4 * stratum + 2 * decision + truth)
    }

    /// The same of predictions.
    pub fn predicted_amount_at(&self, bin: usize, decision: usize) -> usize {
        2 * STRATA * SCORE_SUMS + CALIBRATION_BINS + 8 * STRATA + 2 * (2 * bin + decision)
    }

    /// The class decided for: that of the event, or what the threshold says of its score.
    pub(super) fn decision(&self, predicted: &Predicted) -> Result<usize, Unfit> {
        self.case(predicted).map(|case| case.decision)
    }

    pub(super) fn case(&self, predicted: &Predicted) -> Result<Case, Unfit> {
        let decided = predicted.class.map(usize::from);
        let score = match (predicted.values.first(), decided) {
            (Some(score), _) if self.scored => *score,
            (_, Some(decision)) if !self.scored => decision as f64,
            _ => return Err(Unfit),
        };
        let decision = decided.unwrap_or(usize::from(score >= self.threshold));
        if !score.is_finite() || decision > 1 {
            return Err(Unfit);
        }
        Ok(Case { bin: self.bin(score), score, decision, amount: predicted.amount.unwrap_or(0.0) })
    }

    pub(super) fn predict(&self, summary: &mut OutcomeSummary, predicted: &Predicted) -> Result<(), Unfit> {
        let case = self.case(predicted)?;
        summary.predicted.add(self.predicted_at(case.bin, case.decision), 1);
        if self.amounts {
            let at = self.predicted_amount_at(case.bin, case.decision);
            Sign::Add.sum(&mut summary.sums, at, AmountSum::encode(case.amount));
            Sign::Add.sum(&mut summary.sums, at + 1, AmountSum::encode(case.amount * case.amount));
        }
        Ok(())
    }

    pub(super) fn count(&self, summary: &mut OutcomeSummary, case: &Case, truth: usize, sign: Sign) {
        let Case { bin, score, decision, amount } = *case;
        let stratum = self.stratum_of(bin);
        sign.count(&mut summary.outcomes, self.outcome_at(bin, decision, truth));
        if self.amounts {
            let at = self.amount_at(stratum, decision, truth);
            sign.sum(&mut summary.sums, at, AmountSum::encode(amount));
            sign.sum(&mut summary.sums, at + 1, AmountSum::encode(amount * amount));
        }
        if !(0.0..=1.0).contains(&score) {
            return sign.count(&mut summary.outcomes, self.outside_at());
        }
        let calibration = calibration_bin(score);
        sign.count(&mut summary.outcomes, self.calibration_at(calibration, truth));
        sign.sum(&mut summary.sums, self.calibration_sum_at(calibration), Sum::encode(score));
        for (sum, term) in terms(score, truth) {
            sign.sum(&mut summary.sums, self.sum_at(stratum, truth, sum), Sum::encode(term));
        }
    }
}

/// The bin of calibration of a probability: ten of equal width, each with its upper end.
fn calibration_bin(score: f64) -> usize {
    let upper = (1..=CALIBRATION_BINS).position(|step| score <= step as f64 / CALIBRATION_BINS as f64);
    upper.unwrap_or(CALIBRATION_BINS - 1)
}

fn terms(score: f64, truth: usize) -> [(ScoreSum, f64); SCORE_SUMS] {
    let label = truth as f64;
    let kept = score.clamp(PROBABILITY_MIN, 1.0 - PROBABILITY_MIN);
    let log_loss = -(if truth == 1 { kept } else { 1.0 - kept }).ln();
    let brier = (score - label).powi(2);
    let slope = 1.0 - 2.0 * score;
    [
        (ScoreSum::LogLoss, log_loss),
        (ScoreSum::LogLossSquared, log_loss * log_loss),
        (ScoreSum::Brier, brier),
        (ScoreSum::BrierSquared, brier * brier),
        (ScoreSum::Spiegelhalter, (label - score) * slope),
        (ScoreSum::SpiegelhalterVariance, slope * slope * score * (1.0 - score)),
    ]
}

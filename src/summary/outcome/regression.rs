//! A number: sums of errors by stratum of the prediction, and counts of absolute errors on a grid.
//!
//! Layout, with `s` the stratum and `b` the bin of the absolute error:
//!
//! ```text
//! predicted   [s]
//! outcomes    [s], then [s] of those whose truth is not 0, then [s][b]
//! sums        [s][ErrorSum]
//! ```
//!
//! Errors and truths are summed in units of the training predictions' standard deviation (`scale`); truths
//! that are not taken as magnitudes are also shifted by the training predictions' mean (`centre`).

use serde::{Deserialize, Serialize};

use super::{OutcomeSummary, Predicted, STRATA, Sign, Sum, Unfit};

/// Ratio of the ends of a bin of absolute errors: a quantile read off the bins' middles is within 2 %.
const RATIO: f64 = 1.04;

/// The first bin holds absolute errors up to this many scales, the last those beyond [`ERROR_MAX`].
const ERROR_MIN: f64 = 1e-6;

/// Absolute errors beyond this many scales share a bin.
const ERROR_MAX: f64 = 1e4;

/// How numbers are grouped and measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegressionShape {
    /// Ascending edges between the strata of predictions, at most one less than there are strata.
    strata: Vec<f64>,
    /// The training predictions' mean.
    pub centre: f64,
    /// The training predictions' standard deviation; positive.
    pub scale: f64,
}

/// What is summed of each error `e = prediction − truth`, by stratum. `y` is the truth in units of the scale,
/// `z` the same less the centre.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorSum {
    /// e
    Error,
    /// e²
    Squared,
    /// e⁴
    Fourth,
    /// |e|
    Absolute,
    /// |e / y|, of truths that are not 0
    Share,
    /// (e / y)²
    ShareSquared,
    /// 2|e| / (|prediction| + |y|), 0 where both are 0
    Symmetric,
    /// Its square.
    SymmetricSquared,
    /// Loss as a prediction of the 10 % quantile.
    PinballLow,
    /// Its square.
    PinballLowSquared,
    /// Loss as a prediction of the 90 % quantile.
    PinballHigh,
    /// Its square.
    PinballHighSquared,
    /// z
    Truth,
    /// z²
    TruthSquared,
    /// z³
    TruthCubed,
    /// z⁴
    TruthFourth,
    /// e² z
    SquaredTruth,
    /// e² z²
    SquaredTruthSquared,
    /// |y|
    Magnitude,
    /// y²
    MagnitudeSquared,
    /// |e| |y|
    AbsoluteMagnitude,
    /// max(e, 0): predicted too high.
    Over,
    /// Its square.
    OverSquared,
    /// max(−e, 0): predicted too low.
    Under,
    /// Its square.
    UnderSquared,
}

const ERROR_SUMS: usize = 25;

impl RegressionShape {
    /// Strata at the deciles of the training predictions, whose ascending quantiles are given, and their mean
    /// and standard deviation. A spread of 0 counts as 1.
    pub fn new(quantiles: &[f64], centre: f64, scale: f64) -> Self {
        let finite: Vec<f64> = quantiles.iter().copied().filter(|edge| edge.is_finite()).collect();
        let mut strata: Vec<f64> =
            (1..STRATA).filter_map(|part| finite.get(part * finite.len() / STRATA).copied()).collect();
        strata.dedup();
        let centre = if centre.is_finite() { centre } else { 0.0 };
        let scale = if scale.is_finite() && scale > 0.0 { scale } else { 1.0 };
        Self { strata, centre, scale }
    }

    /// The stratum of a prediction.
    pub fn stratum_of(&self, prediction: f64) -> usize {
        self.strata.partition_point(|edge| *edge < prediction)
    }

    /// Number of bins of absolute errors.
    pub fn error_bins() -> usize {
        // The last bin is open above.
        ((ERROR_MAX / ERROR_MIN).ln() / RATIO.ln()).ceil() as usize + 2
    }

    /// The ends of a bin of absolute errors, in the unit of the predictions.
    pub fn error_ends(&self, bin: usize) -> (f64, f64) {
        let edge = |step: usize| self.scale * ERROR_MIN * RATIO.powi(i32::try_from(step).unwrap_or(i32::MAX));
        match bin {
            0 => (0.0, edge(0)),
            _ if bin + 1 >= Self::error_bins() => (edge(bin - 1), f64::INFINITY),
            _ => (edge(bin - 1), edge(bin)),
        }
    }

    /// The bin of an absolute error.
    pub fn error_bin(&self, absolute: f64) -> usize {
        let steps = ((absolute / self.scale / ERROR_MIN).ln() / RATIO.ln()).ceil();
        if steps >= 1.0 { (steps as usize).min(Self::error_bins() - 1) } else { 0 }
    }

    pub(super) fn lengths(&self) -> (usize, usize, usize) {
        (STRATA, 2 * STRATA + STRATA * Self::error_bins(), STRATA * ERROR_SUMS)
    }

    /// Place of the count of outcomes of a stratum.
    pub fn outcome_at(&self, stratum: usize) -> usize {
        stratum
    }

    /// Place of the count of outcomes of a stratum whose truth is not 0.
    pub fn not_zero_at(&self, stratum: usize) -> usize {
        STRATA + stratum
    }

    /// Place of the count of a stratum's absolute errors in a bin.
    pub fn error_at(&self, stratum: usize, bin: usize) -> usize {
        2 * STRATA + stratum * Self::error_bins() + bin
    }

    /// Place of a sum of a stratum.
    pub fn sum_at(&self, stratum: usize, sum: ErrorSum) -> usize {
        stratum * ERROR_SUMS + sum as usize
    }

    pub(super) fn predict(&self, summary: &mut OutcomeSummary, predicted: &Predicted) -> Result<(), Unfit> {
        summary.predicted.add(self.stratum_of(number(predicted)?), 1);
        Ok(())
    }

    pub(super) fn count(&self, summary: &mut OutcomeSummary, prediction: f64, truth: f64, sign: Sign) {
        let stratum = self.stratum_of(prediction);
        sign.count(&mut summary.outcomes, self.outcome_at(stratum));
        if truth != 0.0 {
            sign.count(&mut summary.outcomes, self.not_zero_at(stratum));
        }
        let bin = self.error_bin((prediction - truth).abs());
        sign.count(&mut summary.outcomes, self.error_at(stratum, bin));
        for (sum, term) in self.terms(prediction, truth) {
            sign.sum(&mut summary.sums, self.sum_at(stratum, sum), Sum::encode(term));
        }
    }

    fn terms(&self, prediction: f64, truth: f64) -> [(ErrorSum, f64); ERROR_SUMS] {
        let (p, y) = (prediction / self.scale, truth / self.scale);
        let (e, z) = ((prediction - truth) / self.scale, (truth - self.centre) / self.scale);
        let (absolute, squared) = (e.abs(), e * e);
        let share = if truth == 0.0 { 0.0 } else { ((prediction - truth) / truth).abs() };
        let magnitudes = p.abs() + y.abs();
        let symmetric = if magnitudes > 0.0 { 2.0 * absolute / magnitudes } else { 0.0 };
        let pinball = |level: f64| if y >= p { level * (y - p) } else { (1.0 - level) * (p - y) };
        let (low, high) = (pinball(0.1), pinball(0.9));
        [
            (ErrorSum::Error, e),
            (ErrorSum::Squared, squared),
            (ErrorSum::Fourth, squared * squared),
            (ErrorSum::Absolute, absolute),
            (ErrorSum::Share, share),
            (ErrorSum::ShareSquared, share * share),
            (ErrorSum::Symmetric, symmetric),
            (ErrorSum::SymmetricSquared, symmetric * symmetric),
            (ErrorSum::PinballLow, low),
            (ErrorSum::PinballLowSquared, low * low),
            (ErrorSum::PinballHigh, high),
            (ErrorSum::PinballHighSquared, high * high),
            (ErrorSum::Truth, z),
            (ErrorSum::TruthSquared, z * z),
            (ErrorSum::TruthCubed, z * z * z),
            (ErrorSum::TruthFourth, (z * z) * (z * z)),
            (ErrorSum::SquaredTruth, squared * z),
            (ErrorSum::SquaredTruthSquared, squared * z * z),
            (ErrorSum::Magnitude, y.abs()),
            (ErrorSum::MagnitudeSquared, y * y),
            (ErrorSum::AbsoluteMagnitude, absolute * y.abs()),
            (ErrorSum::Over, e.max(0.0)),
            (ErrorSum::OverSquared, e.max(0.0).powi(2)),
            (ErrorSum::Under, (-e).max(0.0)),
            (ErrorSum::UnderSquared, (-e).max(0.0).powi(2)),
        ]
    }
}

/// The number that was predicted.
pub(super) fn number(predicted: &Predicted) -> Result<f64, Unfit> {
    predicted.values.first().copied().filter(|value| value.is_finite()).ok_or(Unfit)
}

//! Numbers from sums of errors, in units of the training predictions' standard deviation, and from the grid of
//! absolute errors.

use super::Outcomes;
use crate::performance::interval::{Estimate, Interval, MEDIAN_LEAST, Z};
use crate::performance::regression::{Regression, all_alike, all_zero};
use crate::performance::weighed::{ROUNDING, Weighed};
use crate::performance::{MetricValue, NotComputable};
use crate::summary::outcome::{ErrorSum, RegressionShape, STRATA};

/// True values whose variance, in units of the scale, is not above this are the same: their squares are
/// rounded to multiples of 2^-60.
const VARIANCE_MIN: f64 = 1.0 / (1_u64 << 58) as f64;

/// The edges of the grid of errors are rounded by this share.
const EDGE_ROUNDING: f64 = 1e-9;

/// Outcomes of numbers.
struct Errors<'a> {
    outcomes: &'a Outcomes,
    shape: &'a RegressionShape,
    rows: Weighed,
}

/// Number of bins of absolute errors.
pub(super) fn bins() -> usize {
    RegressionShape::error_bins()
}

pub(super) fn reduce(outcomes: &Outcomes, shape: &RegressionShape) -> Regression {
    let errors = Errors { outcomes, shape, rows: outcomes.rows() };
    let (share, scale) = (1.0, shape.scale);
    let zeros = errors.over_strata(|stratum| {
        let all = outcomes.count(shape.outcome_at(stratum)).once;
        Weighed::of((all - outcomes.count(shape.not_zero_at(stratum)).once).max(0.0), 1.0)
    });
    Regression {
        n: outcomes.usable(),
        absolute: errors.mean(ErrorSum::Absolute, ErrorSum::Squared, scale),
        squared: errors.mean(ErrorSum::Squared, ErrorSum::Fourth, scale * scale),
        error: errors.mean(ErrorSum::Error, ErrorSum::Squared, scale),
        zeros: zeros.once.ceil() as u64,
        share: errors.mean(ErrorSum::Share, ErrorSum::ShareSquared, share),
        symmetric: errors.mean(ErrorSum::Symmetric, ErrorSum::SymmetricSquared, share),
        pinball: [
            errors.mean(ErrorSum::PinballLow, ErrorSum::PinballLowSquared, scale),
            errors.mean(ErrorSum::PinballHigh, ErrorSum::PinballHighSquared, scale),
        ],
        wape: errors.wape(),
        r2: errors.r2(),
        median: errors.median(),
    }
}

impl Errors<'_> {
    fn over_strata(&self, of: impl Fn(usize) -> Weighed) -> Weighed {
        (0..STRATA).map(of).sum()
    }

    fn sum(&self, sum: ErrorSum) -> Weighed {
        self.over_strata(|stratum| self.outcomes.sum(self.shape.sum_at(stratum, sum)))
    }

    fn mean(&self, plain: ErrorSum, squared: ErrorSum, unit: f64) -> Estimate {
        let mean = Weighed::mean(self.rows, self.sum(plain), self.sum(squared));
        Estimate { value: mean.value * unit, variance: mean.variance * unit * unit }
    }

    /// With v the ratio, the influence of a row is (|e| − v·|y|) over the mean |y|.
    fn wape(&self) -> Result<Estimate, NotComputable> {
        let magnitude = self.sum(ErrorSum::Magnitude);
        if magnitude.once <= 0.0 {
            return Err(all_zero());
        }
        let value = self.sum(ErrorSum::Absolute).once / magnitude.once;
        let [errors, both, truths] =
            [ErrorSum::Squared, ErrorSum::AbsoluteMagnitude, ErrorSum::MagnitudeSquared]
                .map(|sum| self.sum(sum).twice);
        let squares = errors - 2.0 * value * both + value * value * truths;
        let mean = magnitude.once / self.rows.once;
        Ok(Weighed::estimate(self.rows, value, squares / (mean * mean), errors / (mean * mean)))
    }

    /// With r the ratio of the mean squared error to the variance V of the truth and m its mean, the influence
    /// of a row is (r·(z − m)² − e²)/V: its square needs the moments of z to the fourth.
    fn r2(&self) -> Result<Estimate, NotComputable> {
        let n = self.outcomes.usable();
        if n < 2 {
            return Err(NotComputable::InsufficientData { n, needed: 2 });
        }
        let (first, second) = (self.sum(ErrorSum::Truth), self.sum(ErrorSum::TruthSquared));
        let (m, mean_square) = (first.once / self.rows.once, second.once / self.rows.once);
        let variance = mean_square - m * m;
        if variance <= ROUNDING * mean_square + VARIANCE_MIN {
            return Err(all_alike());
        }
        let squared = self.sum(ErrorSum::Squared);
        let ratio = squared.once / self.rows.once / variance;
        let [third, fourth, errors, with_truth, with_square] = [
            ErrorSum::TruthCubed,
            ErrorSum::TruthFourth,
            ErrorSum::Fourth,
            ErrorSum::SquaredTruth,
            ErrorSum::SquaredTruthSquared,
        ]
        .map(|sum| self.sum(sum).twice);
        let truths = fourth - 4.0 * m * third + 6.0 * m * m * second.twice - 4.0 * m.powi(3) * first.twice
            + m.powi(4) * self.rows.twice;
        let both = with_square - 2.0 * m * with_truth + m * m * squared.twice;
        let squares = ratio * ratio * truths - 2.0 * ratio * both + errors;
        let largest = ratio * ratio * fourth + errors;
        let unit = variance * variance;
        Ok(Weighed::estimate(self.rows, 1.0 - ratio, squares / unit, largest / unit))
    }

    /// The middle of the bin, or of the two bins, that the median is in; the interval reaches to the outer
    /// edges of the bins that the places of its ends are in.
    fn median(&self) -> Result<MetricValue, NotComputable> {
        let bins: Vec<f64> = (0..bins())
            .scan(0.0, |sum, bin| {
                let at = |stratum| self.outcomes.count(self.shape.error_at(stratum, bin));
                *sum += self.over_strata(at).once;
                Some(*sum)
            })
            .collect();
        let whole = self.rows.once;
        let ends = |reached: &dyn Fn(f64) -> bool| {
            bins.iter().position(|sum| reached(*sum)).map(|bin| self.shape.error_ends(bin))
        };
        // Half of the sum of weights is at least, and more than, reached: the lower and the upper median.
        let middle = ends(&|sum| sum >= whole / 2.0).zip(ends(&|sum| sum > whole / 2.0));
        let (below, above) = middle.ok_or(NotComputable::InsufficientData { n: 0, needed: 1 })?;
        if above.1.is_infinite() {
            return Err(NotComputable::degenerate("half of the errors are beyond what is counted apart"));
        }
        let value = (below.0 + below.1 + above.0 + above.1) / 4.0;
        let bound = (below.1 - below.0 + above.1 - above.0) / 4.0 + EDGE_ROUNDING * value;
        // The sum of the weights below the median has the variance Σ w²/4.
        let half = 0.5 * Z * self.rows.twice.sqrt();
        let reach = || {
            let low = ends(&|sum| sum > whole / 2.0 - half)?.0;
            let high = ends(&|sum| sum >= whole / 2.0 + half)?.1;
            Some(Interval { low, high })
        };
        let enough = self.rows.effective() >= MEDIAN_LEAST as f64;
        Ok(MetricValue::new(value, enough.then(reach).flatten()).within(bound))
    }
}

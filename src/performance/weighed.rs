//! Sums over rows that count by their weights.
//!
//! A row whose label had the chance π to be known by now stands for 1/π rows, and weighs so much. A mean is
//! then Σ w·x/Σ w (Hájek), and with the influence x − mean its variance is Σ w²·(x − mean)² over (Σ w)²: what
//! has to be known of every x and x² are its sums with the weight once and with the weight twice. Where all
//! weights are 1 both are the plain sum, and the formulas are those of plain rows.
//!
//! Sources: Hájek 1971, in Godambe and Sprott, "Foundations of Statistical Inference"; Särndal, Swensson and
//! Wretman 1992, "Model Assisted Survey Sampling", 5.7, doi:10.1007/978-1-4612-4378-6.

use std::iter::Sum;
use std::ops::AddAssign;

use super::interval::Estimate;

/// What is left of equal numbers after their squares are taken from each other is this share of them at most.
pub(super) const ROUNDING: f64 = 1e-12;

/// A sum over rows, and the same with every weight squared. A count is the sum of ones.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Weighed {
    /// Σ w·x
    pub(super) once: f64,
    /// Σ w²·x
    pub(super) twice: f64,
}

impl Weighed {
    /// So many rows that weigh 1, exact up to 2^53.
    pub(super) fn rows(rows: u64) -> Self {
        Self::of(rows as f64, 1.0)
    }

    /// A sum over rows of one weight.
    pub(super) fn of(sum: f64, weight: f64) -> Self {
        Self { once: weight * sum, twice: weight * weight * sum }
    }

    /// How many rows of one weight know as much as these: (Σ w)²/Σ w²; 0 without rows.
    ///
    /// Source: Kish 1965, "Survey Sampling", 11.2.
    pub(super) fn effective(self) -> f64 {
        if self.twice > 0.0 { self.once * self.once / self.twice } else { 0.0 }
    }

    /// The mean of a quantity, of whose rows, values and squares these are the sums.
    pub(super) fn mean(rows: Self, sum: Self, squares: Self) -> Estimate {
        let value = sum.once / rows.once;
        let apart = squares.twice - 2.0 * value * sum.twice + value * value * rows.twice;
        Self::estimate(rows, value, apart, squares.twice)
    }

    /// A value of rows whose influences have this sum of squares, with the weights squared; it is the
    /// difference of terms as large as `largest`.
    pub(super) fn estimate(rows: Self, value: f64, squares: f64, largest: f64) -> Estimate {
        let n = rows.effective();
        let unbiased = n / (n.max(2.0) - 1.0);
        let variance = squares / (rows.once * rows.once) * unbiased;
        Estimate { value, variance: if squares > ROUNDING * largest { variance } else { 0.0 } }
    }
}

impl AddAssign for Weighed {
    fn add_assign(&mut self, other: Self) {
        self.once += other.once;
        self.twice += other.twice;
    }
}

impl Sum for Weighed {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |mut sum, part| {
            sum += part;
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(values: &[(f64, f64)], of: fn(f64) -> f64) -> Weighed {
        values.iter().map(|(value, weight)| Weighed::of(of(*value), *weight)).sum()
    }

    #[test]
    fn plain_rows_have_the_mean_and_variance_of_their_values() {
        let values = [(1.0, 1.0), (4.0, 1.0), (2.5, 1.0), (-3.0, 1.0)];
        let got = Weighed::mean(sums(&values, |_| 1.0), sums(&values, |x| x), sums(&values, |x| x * x));
        let want = Estimate::mean(values.iter().map(|(value, _)| *value));
        assert!((got.value - want.value).abs() < 1e-15 && (got.variance / want.variance - 1.0).abs() < 1e-12);
    }

    #[test]
    fn equal_values_have_no_variance_whatever_their_weights() {
        let values = [(0.1, 1.0), (0.1, 3.7), (0.1, 1.9)];
        let got = Weighed::mean(sums(&values, |_| 1.0), sums(&values, |x| x), sums(&values, |x| x * x));
        assert_eq!(got.variance, 0.0);
    }

    #[test]
    fn unequal_weights_know_less_than_as_many_rows() {
        let rows = sums(&[(0.0, 1.0), (0.0, 1.0), (0.0, 2.0)], |_| 1.0);
        assert_eq!(rows.effective(), 16.0 / 6.0);
    }
}

//! A mean over rows together with how far it may be off: what money, the split of a change and the correction
//! of late labels are worked out from.
//!
//! Place in the flow: made from sums over rows, which merge by addition; [`value`](super::value) compares two.
//! Pure.
//!
//! Invariant: every [`Mean`] that a function here gives is finite, and its variance is not below 0.

use serde::{Deserialize, Serialize};

use super::interval::{self, Estimate, Interval};
use super::{NotComputable, finite};

/// A mean over independent rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// Rows it is over; with weights, the rows that they stand for.
    pub rows: f64,
    /// The mean.
    pub value: f64,
    /// Variance of the mean, not of a row.
    pub variance: f64,
}

impl Mean {
    /// A mean of which the variance is known from elsewhere, such as an estimate without labels.
    ///
    /// # Errors
    /// `Degenerate` when a number is not finite, or rows or variance are below 0.
    pub fn known(rows: f64, value: f64, variance: f64) -> Result<Self, NotComputable> {
        let sound = [rows, value, variance].iter().all(|number| number.is_finite());
        if sound && rows >= 0.0 && variance >= 0.0 {
            return Ok(Self { rows, value, variance });
        }
        Err(NotComputable::degenerate("a mean or its variance is no finite number"))
    }

    /// Its 95 % interval; none when all rows are alike, which tells nothing about how far others may be.
    pub fn interval(&self) -> Option<Interval> {
        interval::normal(Estimate { value: self.value, variance: self.variance }, UNBOUNDED)
    }
}

/// The range of a number that may be anything.
pub(super) const UNBOUNDED: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

/// Mean of a loss a row, from the sum of the losses and of their squares: sum/n, with the variance
/// (squares − sum²/n)/(n − 1)/n. Sums of numbers of very different size lose digits; a variance that rounding
/// takes below 0 is 0.
///
/// # Errors
/// `InsufficientData` below two rows; `Degenerate` when the sums are not finite.
pub fn mean_cost(rows: u64, sum: f64, sum_of_squares: f64) -> Result<Mean, NotComputable> {
    if rows < 2 {
        return Err(NotComputable::InsufficientData { n: rows, needed: 2 });
    }
    let n = rows as f64;
    let value = finite(sum / n)?;
    let spread = finite(sum_of_squares - sum * value)?.max(0.0);
    Mean::known(n, value, spread / (n - 1.0) / n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_of_sums_is_that_of_the_rows() {
        // 1, 2, 6: mean 3, squared deviations 4 + 1 + 9, over 2, over 3.
        let mean = mean_cost(3, 9.0, 41.0).expect("a mean");
        assert_eq!((mean.rows, mean.value), (3.0, 3.0));
        assert!((mean.variance - 14.0 / 6.0).abs() < 1e-12);
    }

    #[test]
    fn what_is_not_finite_is_no_mean() {
        assert_eq!(mean_cost(1, 1.0, 1.0).expect_err("too few").status(), "insufficient_data");
        assert_eq!(mean_cost(2, f64::MAX, f64::INFINITY).expect_err("no sum").status(), "degenerate");
        assert!(Mean::known(1.0, 1.0, -1.0).is_err() && Mean::known(1.0, f64::NAN, 1.0).is_err());
    }

    #[test]
    fn rows_that_are_alike_have_no_interval() {
        assert_eq!(mean_cost(10, 30.0, 90.0).expect("a mean").interval(), None);
    }
}

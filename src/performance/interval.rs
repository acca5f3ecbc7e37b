//! Two-sided 95 % intervals, each for large samples.
//!
//! A value that is a smooth function of means has the *influence* of a row: by how much n times the value
//! moves when that row's weight is raised. Influences add up to about 0, and the variance of the value is
//! their sum of squares over n² (delta method, also called the infinitesimal jackknife: Efron 1982, "The
//! Jackknife, the Bootstrap and Other Resampling Plans", chapter 6, doi:10.1137/1.9781611970319).

use serde::{Deserialize, Serialize};

/// Standard deviations on either side of a normal mean that hold 95 %.
pub(super) const Z: f64 = 1.959_963_984_540_054;

/// Where the true value lies with a confidence of 95 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// A value with the variance of its estimate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    pub(super) value: f64,
    pub(super) variance: f64,
}

impl Interval {
    /// Both ends through a rising function.
    pub(super) fn map(self, through: impl Fn(f64) -> f64) -> Self {
        Self { low: through(self.low), high: through(self.high) }
    }
}

impl Estimate {
    /// Mean of the values, and the variance of that mean: the values' unbiased variance over n.
    /// NaN without values, and with one value its variance is 0.
    pub(super) fn mean(values: impl Iterator<Item = f64> + Clone) -> Self {
        let (n, sum) = values.clone().fold((0_u64, 0.0), |(n, sum), value| (n + 1, sum + value));
        let mean = sum / n as f64;
        let squares: f64 = values.map(|value| (value - mean) * (value - mean)).sum();
        // Numbers that ought to be equal are some ulps away from their mean.
        let rounding = 64.0 * f64::EPSILON * mean;
        let squares = if squares <= n as f64 * rounding * rounding { 0.0 } else { squares };
        Self { value: mean, variance: squares / (n.max(2) - 1) as f64 / n as f64 }
    }
}

/// Interval of a share of `n` rows: Wilson's score interval, which keeps its coverage at shares of 0 and 1
/// too. Of weighted rows, n is how many rows of one weight would know the share as well. None when that is 0.
///
/// Source: Wilson 1927, doi:10.1080/01621459.1927.10502953.
pub(super) fn wilson(share: f64, n: f64) -> Option<Interval> {
    if n.is_nan() || n <= 0.0 || !(0.0..=1.0).contains(&share) {
        return None;
    }
    let spread = 1.0 + Z * Z / n;
    let centre = (share + Z * Z / (2.0 * n)) / spread;
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt() / spread;
    // Rounding must not leave out a share of 0 or 1.
    Some(Interval { low: (centre - half).clamp(0.0, share), high: (centre + half).clamp(share, 1.0) })
}

/// `value` ± 1.96 standard errors, cut to `range`. None when the variance is no positive number: rows that do
/// not differ tell nothing about how far others may.
pub(super) fn normal(estimate: Estimate, range: (f64, f64)) -> Option<Interval> {
    let Estimate { value, variance } = estimate;
    if !(variance > 0.0 && variance.is_finite()) {
        return None;
    }
    let half = Z * variance.sqrt();
    Some(Interval { low: (value - half).max(range.0), high: (value + half).min(range.1) })
}

/// The normal interval of log(value/(1 − value)), taken back: it stays within 0..=1 and is closer to its
/// level than [`normal`] when there are few rows and the value is near an end. None at 0, at 1 and without
/// a variance.
pub(super) fn logit(estimate: Estimate) -> Option<Interval> {
    let Estimate { value, variance } = estimate;
    if !(value > 0.0 && value < 1.0) {
        return None;
    }
    let slope = 1.0 / (value * (1.0 - value));
    let unbounded = (f64::NEG_INFINITY, f64::INFINITY);
    let odds = Estimate { value: (value / (1.0 - value)).ln(), variance: variance * slope * slope };
    let interval = normal(odds, unbounded)?;
    Some(interval.map(|odds| 1.0 / (1.0 + (-odds).exp())))
}

/// Variance of a value from the influences of its rows.
pub(super) fn of_influences(influences: impl Iterator<Item = f64> + Clone) -> f64 {
    Estimate::mean(influences).variance
}

/// The 0-based places in sorted values between which the median lies with at least about 95 %: n/2 ∓
/// 1.96·√n/2, rounded outwards. None below six values, whose smallest and largest hold it less often.
///
/// Source: the number of values below the median is binomial (n, ½); David and Nagaraja 2003, "Order
/// Statistics", 7.1, doi:10.1002/0471722162.
pub(super) fn median_places(n: usize) -> Option<(usize, usize)> {
    if n < MEDIAN_LEAST {
        return None;
    }
    let half = 0.5 * Z * (n as f64).sqrt();
    // At most n/2, so it is a place; below 2⁵³ nothing is lost.
    let below = (n as f64 / 2.0 - half).floor().max(0.0) as usize;
    Some((below, n - 1 - below))
}

/// Least values of which the smallest and the largest hold the median often enough.
pub(super) const MEDIAN_LEAST: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_holds_its_published_values() {
        // Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I.
        for ((successes, trials), (low, high)) in [
            ((81.0, 263.0), (0.2553, 0.3662)),
            ((15.0, 148.0), (0.0624, 0.1605)),
            ((0.0, 20.0), (0.0, 0.1611)),
        ] {
            let got = wilson(successes / trials, trials).expect("an interval");
            assert!((got.low - low).abs() < 5e-5 && (got.high - high).abs() < 5e-5, "{got:?}");
        }
        assert_eq!(wilson(f64::NAN, 0.0), None);
    }

    #[test]
    fn rows_that_do_not_differ_give_no_interval() {
        let estimate = |value, variance| Estimate { value, variance };
        assert_eq!(normal(estimate(0.3, 0.0), (0.0, 1.0)), None);
        assert_eq!(normal(estimate(0.3, f64::NAN), (0.0, 1.0)), None);
        assert_eq!(logit(estimate(1.0, 0.1)), None);
        assert_eq!(Estimate::mean([2.0].into_iter()), estimate(2.0, 0.0));
        assert_eq!(Estimate::mean([0.1; 3].into_iter()).variance, 0.0);
    }

    #[test]
    fn a_logit_interval_stays_within_its_range() {
        let got = logit(Estimate { value: 0.99, variance: 0.01 }).expect("an interval");
        assert!(got.low > 0.0 && got.low < 0.99 && got.high > 0.99 && got.high < 1.0, "{got:?}");
    }

    #[test]
    fn places_of_the_median_are_the_binomial_ones() {
        // n = 6: 1 − 2/64 = 0.969; n = 100: places 40 and 61 of 1..=100 hold 0.965.
        assert_eq!([5, 6, 100].map(median_places), [None, Some((0, 5)), Some((40, 59))]);
    }
}

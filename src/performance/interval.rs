//! Two-sided 95 % intervals, each for large samples.
//!
//! A value that is a smooth function of means has the *influence* of a row: by how much n times the value
//! moves when that row's weight is raised. Influences add up to about 0, and the variance of the value is
//! their sum of squares over n² (delta method, also called the infinitesimal jackknife: Efron 1982, "The
//! Jackknife, the Bootstrap and Other Resampling Plans", chapter 6, doi:10.1137/1.9781611970319).

use serde::{Deserialize, Serialize};

/// Standard deviations on either side of a normal mean that hold 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// Where the true value lies with a confidence of 95 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Both ends through a rising function.
    pub(super) fn map(self, through: impl Fn(f64) -> f64) -> Self {
        Self { low: through(self.low), high: through(self.high) }
    }
}

/// Interval of a share of `trials`, of which `successes` hold: Wilson's score interval, which keeps its
/// coverage at shares of 0 and 1 too.
///
/// Source: Wilson 1927, doi:10.1080/01621459.1927.10502953.
pub(super) fn wilson(successes: u64, trials: u64) -> Option<Interval> {
    if trials == 0 {
        return None;
    }
    let n = trials as f64;
    let share = successes as f64 / n;
    let spread = 1.0 + Z * Z / n;
    let centre = (share + Z * Z / (2.0 * n)) / spread;
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt() / spread;
    Some(Interval { low: (centre - half).max(0.0), high: (centre + half).min(1.0) })
}

/// `value` ± 1.96 standard errors, cut to `range`. None when the variance is no positive number: rows that do
/// not differ tell nothing about how far others may.
pub(super) fn normal(value: f64, variance: f64, range: (f64, f64)) -> Option<Interval> {
    if !(variance > 0.0 && variance.is_finite()) {
        return None;
    }
    let half = Z * variance.sqrt();
    Some(Interval { low: (value - half).max(range.0), high: (value + half).min(range.1) })
}

/// The normal interval of log(value/(1 − value)), taken back: it stays within 0..=1 and is closer to its
/// level than [`normal`] when there are few rows and the value is near an end. None at 0, at 1 and without
/// a variance.
pub(super) fn logit(value: f64, variance: f64) -> Option<Interval> {
    if !(value > 0.0 && value < 1.0) {
        return None;
    }
    let slope = 1.0 / (value * (1.0 - value));
    let unbounded = (f64::NEG_INFINITY, f64::INFINITY);
    let interval = normal((value / (1.0 - value)).ln(), variance * slope * slope, unbounded)?;
    Some(interval.map(|odds| 1.0 / (1.0 + (-odds).exp())))
}

/// Mean of the values, and the variance of that mean: the values' unbiased variance over n.
/// NaN without values, and with one value its variance is 0.
pub(super) fn mean(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let (n, sum) = values.clone().fold((0_u64, 0.0), |(n, sum), value| (n + 1, sum + value));
    let mean = sum / n as f64;
    let squares: f64 = values.map(|value| (value - mean) * (value - mean)).sum();
    (mean, squares / (n.max(2) - 1) as f64 / n as f64)
}

/// Variance of a value from the influences of its rows.
pub(super) fn of_influences(influences: impl Iterator<Item = f64> + Clone) -> f64 {
    mean(influences).1
}

/// The 0-based places in sorted values between which the median lies with at least about 95 %: n/2 ∓
/// 1.96·√n/2, rounded outwards. None below six values, whose smallest and largest hold it less often.
///
/// Source: the number of values below the median is binomial (n, ½); David and Nagaraja 2003, "Order
/// Statistics", 7.1, doi:10.1002/0471722162.
pub(super) fn median_places(n: usize) -> Option<(usize, usize)> {
    if n < 6 {
        return None;
    }
    let half = 0.5 * Z * (n as f64).sqrt();
    // At most n/2, so it is a place; below 2⁵³ nothing is lost.
    let below = (n as f64 / 2.0 - half).floor().max(0.0) as usize;
    Some((below, n - 1 - below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_holds_its_published_values() {
        // Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I.
        for ((successes, trials), (low, high)) in
            [((81, 263), (0.2553, 0.3662)), ((15, 148), (0.0624, 0.1605)), ((0, 20), (0.0, 0.1611))]
        {
            let got = wilson(successes, trials).expect("an interval");
            assert!((got.low - low).abs() < 5e-5 && (got.high - high).abs() < 5e-5, "{got:?}");
        }
        assert_eq!(wilson(0, 0), None);
    }

    #[test]
    fn rows_that_do_not_differ_give_no_interval() {
        assert_eq!(normal(0.3, 0.0, (0.0, 1.0)), None);
        assert_eq!(normal(0.3, f64::NAN, (0.0, 1.0)), None);
        assert_eq!(logit(1.0, 0.1), None);
        assert_eq!(mean([2.0].into_iter()), (2.0, 0.0));
    }

    #[test]
    fn a_logit_interval_stays_within_its_range() {
        let got = logit(0.99, 0.01).expect("an interval");
        assert!(got.low > 0.0 && got.low < 0.99 && got.high > 0.99 && got.high < 1.0, "{got:?}");
    }

    #[test]
    fn places_of_the_median_are_the_binomial_ones() {
        // n = 6: 1 − 2/64 = 0.969; n = 100: places 40 and 61 of 1..=100 hold 0.965.
        assert_eq!([5, 6, 100].map(median_places), [None, Some((0, 5)), Some((40, 59))]);
    }
}

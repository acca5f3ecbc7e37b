//! Numbers: how far predictions are from what came true.

use super::interval::{self, Estimate, Interval};
use super::{MetricValue, NotComputable, RowsError};

const POSITIVE: (f64, f64) = (0.0, f64::INFINITY);

/// A row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RegressionRow {
    /// What came true.
    pub truth: f64,
    /// What was predicted.
    pub prediction: f64,
}

/// Rows of numbers, reduced to what their metrics are computed from.
#[derive(Debug, Clone)]
pub struct Regression {
    pub(super) n: u64,
    /// Mean of |prediction − truth|.
    pub(super) absolute: Estimate,
    /// Mean of (prediction − truth)².
    pub(super) squared: Estimate,
    /// Mean of prediction − truth.
    pub(super) error: Estimate,
    /// True values that are 0.
    pub(super) zeros: u64,
    /// Mean of |prediction − truth| / |truth|; of no use where a truth is 0.
    pub(super) share: Estimate,
    /// Mean of 2·|prediction − truth| / (|prediction| + |truth|).
    pub(super) symmetric: Estimate,
    /// Mean pinball losses at 10 % and at 90 %.
    pub(super) pinball: [Estimate; 2],
    /// Σ |prediction − truth| over Σ |truth|.
    pub(super) wape: Result<Estimate, NotComputable>,
    pub(super) r2: Result<Estimate, NotComputable>,
    pub(super) median: Result<MetricValue, NotComputable>,
}

impl RegressionRow {
    fn error(&self) -> f64 {
        self.prediction - self.truth
    }

    /// quantile·(truth − prediction) where the truth is above, (1 − quantile)·(prediction − truth) where it is
    /// below.
    fn pinball(&self, quantile: f64) -> f64 {
        let error = self.error();
        if error < 0.0 { -quantile * error } else { (1.0 - quantile) * error }
    }
}

impl Regression {
    /// Takes the rows.
    ///
    /// # Errors
    /// `NotFinite` when a number is infinite or NaN.
    pub fn new(rows: Vec<RegressionRow>) -> Result<Self, RowsError> {
        let wrong = |row: &RegressionRow| !(row.truth.is_finite() && row.prediction.is_finite());
        if let Some(row) = rows.iter().position(wrong) {
            return Err(RowsError::NotFinite { row });
        }
        let mean = |loss: fn(&RegressionRow) -> f64| Estimate::mean(rows.iter().map(loss));
        Ok(Self {
            n: rows.len() as u64,
            absolute: mean(|row| row.error().abs()),
            squared: mean(|row| row.error() * row.error()),
            error: mean(RegressionRow::error),
            zeros: rows.iter().filter(|row| row.truth == 0.0).count() as u64,
            share: mean(|row| row.error().abs() / row.truth.abs()),
            symmetric: mean(|row| match row.truth.abs() + row.prediction.abs() {
                0.0 => 0.0,
                sum => 2.0 * row.error().abs() / sum,
            }),
            pinball: [mean(|row| row.pinball(0.1)), mean(|row| row.pinball(0.9))],
            wape: wape_of(&rows),
            r2: r2_of(&rows),
            median: median_of(&rows),
        })
    }

    pub(super) fn n(&self) -> u64 {
        self.n
    }
}

fn wape_of(rows: &[RegressionRow]) -> Result<Estimate, NotComputable> {
    let whole: f64 = rows.iter().map(|row| row.truth.abs()).sum();
    if whole == 0.0 {
        return Err(all_zero());
    }
    let value = rows.iter().map(|row| row.error().abs()).sum::<f64>() / whole;
    let mean = whole / rows.len() as f64;
    let influences = rows.iter().map(|row| (row.error().abs() - value * row.truth.abs()) / mean);
    Ok(Estimate { value, variance: interval::of_influences(influences) })
}

/// Why there is no share of the sum of the true values.
pub(super) fn all_zero() -> NotComputable {
    NotComputable::degenerate("all true values are 0")
}

fn r2_of(rows: &[RegressionRow]) -> Result<Estimate, NotComputable> {
    let n = rows.len() as u64;
    if n < 2 {
        return Err(NotComputable::InsufficientData { n, needed: 2 });
    }
    let mean = rows.iter().map(|row| row.truth).sum::<f64>() / n as f64;
    let square = |row: &RegressionRow| (row.truth - mean) * (row.truth - mean);
    let variance = rows.iter().map(square).sum::<f64>() / n as f64;
    // Equal numbers may be an ulp away from their mean.
    let rounding = f64::EPSILON * mean.abs();
    if variance <= rounding * rounding {
        return Err(all_alike());
    }
    let error = |row: &RegressionRow| row.error() * row.error();
    let ratio = rows.iter().map(error).sum::<f64>() / n as f64 / variance;
    let influences = rows.iter().map(|row| (ratio * square(row) - error(row)) / variance);
    Ok(Estimate { value: 1.0 - ratio, variance: interval::of_influences(influences) })
}

/// Why there is no share of the variance of the true values.
pub(super) fn all_alike() -> NotComputable {
    NotComputable::degenerate("all true values are the same")
}

fn median_of(rows: &[RegressionRow]) -> Result<MetricValue, NotComputable> {
    let mut errors: Vec<f64> = rows.iter().map(|row| row.error().abs()).collect();
    errors.sort_unstable_by(f64::total_cmp);
    let at = |place: usize| errors.get(place).copied();
    let n = errors.len();
    let middle = at(n.saturating_sub(1) / 2).zip(at(n / 2));
    let (below, above) = middle.ok_or(NotComputable::InsufficientData { n: 0, needed: 1 })?;
    let interval = interval::median_places(n)
        .and_then(|(low, high)| Some(Interval { low: at(low)?, high: at(high)? }))
        .filter(|interval| interval.low < interval.high);
    Ok(MetricValue::new(below + (above - below) / 2.0, interval))
}

/// Mean of |prediction − truth|.
pub(super) fn mae(rows: &Regression) -> Result<MetricValue, NotComputable> {
    Ok(MetricValue::normal(rows.absolute, POSITIVE))
}

/// Mean of (prediction − truth)².
pub(super) fn mse(rows: &Regression) -> Result<MetricValue, NotComputable> {
    Ok(MetricValue::normal(rows.squared, POSITIVE))
}

/// Root of the mean squared error; its interval is the root of that one's.
pub(super) fn rmse(rows: &Regression) -> Result<MetricValue, NotComputable> {
    let squared = mse(rows)?;
    Ok(MetricValue::new(squared.value.sqrt(), squared.interval.map(|interval| interval.map(f64::sqrt))))
}

/// Mean of |prediction − truth| / |truth|, a share. Without a value when a truth is 0.
pub(super) fn mape(rows: &Regression) -> Result<MetricValue, NotComputable> {
    match rows.zeros {
        0 => Ok(MetricValue::normal(rows.share, POSITIVE)),
        zero => Err(NotComputable::degenerate(format!("{zero} true values are 0; see wape and smape"))),
    }
}

/// Σ |prediction − truth| over Σ |truth|. Interval: delta method for a ratio.
pub(super) fn wape(rows: &Regression) -> Result<MetricValue, NotComputable> {
    Ok(MetricValue::normal(rows.wape.clone()?, POSITIVE))
}

/// Mean of 2·|prediction − truth| / (|prediction| + |truth|), 0..=2; 0 where both are 0.
pub(super) fn smape(rows: &Regression) -> Result<MetricValue, NotComputable> {
    Ok(MetricValue::normal(rows.symmetric, (0.0, 2.0)))
}

/// 1 − Σ (prediction − truth)² / Σ (truth − mean truth)², at most 1. Interval: delta method for the ratio of
/// the mean squared error to the variance.
pub(super) fn r2(rows: &Regression) -> Result<MetricValue, NotComputable> {
    Ok(MetricValue::normal(rows.r2.clone()?, (f64::NEG_INFINITY, 1.0)))
}

/// Mean of prediction − truth: above 0 the model predicts too much.
pub(super) fn bias(rows: &Regression) -> Result<MetricValue, NotComputable> {
    Ok(MetricValue::normal(rows.error, (f64::NEG_INFINITY, f64::INFINITY)))
}

/// Median of |prediction − truth|, the mean of the middle two when their number is even. Interval: between
/// two of the sorted errors, whatever their distribution.
pub(super) fn median_ae(rows: &Regression) -> Result<MetricValue, NotComputable> {
    rows.median.clone()
}

/// Mean loss as a prediction of the 10 % quantile: 0.1·(truth − prediction) where the truth is above,
/// 0.9·(prediction − truth) where it is below.
///
/// Source: Koenker and Bassett 1978, doi:10.2307/1913643.
pub(super) fn pinball_low(rows: &Regression) -> Result<MetricValue, NotComputable> {
    Ok(MetricValue::normal(rows.pinball[0], POSITIVE))
}

/// The same as a prediction of the median: half the mean absolute error.
pub(super) fn pinball_middle(rows: &Regression) -> Result<MetricValue, NotComputable> {
    let Estimate { value, variance } = rows.absolute;
    Ok(MetricValue::normal(Estimate { value: value / 2.0, variance: variance / 4.0 }, POSITIVE))
}

/// The same as a prediction of the 90 % quantile.
pub(super) fn pinball_high(rows: &Regression) -> Result<MetricValue, NotComputable> {
    Ok(MetricValue::normal(rows.pinball[1], POSITIVE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(pairs: &[(f64, f64)]) -> Regression {
        let row = |(truth, prediction): &(f64, f64)| RegressionRow { truth: *truth, prediction: *prediction };
        Regression::new(pairs.iter().map(row).collect()).expect("finite numbers")
    }

    #[test]
    fn a_truth_of_zero_has_no_share() {
        let rows = rows(&[(0.0, 1.0), (2.0, 1.0), (0.0, 0.0)]);
        assert_eq!(mape(&rows).expect_err("no value").status(), "degenerate");
        assert_eq!(wape(&rows).expect("a value").value, 1.0);
        assert!((smape(&rows).expect("a value").value - (2.0 + 2.0 / 3.0) / 3.0).abs() < 1e-15);
    }

    #[test]
    fn equal_truths_have_no_variance_to_predict() {
        assert_eq!(r2(&rows(&[(0.1, 0.2); 3])).expect_err("no value").status(), "degenerate");
        assert_eq!(r2(&rows(&[(1.0, 1.0)])).expect_err("no value").status(), "insufficient_data");
    }

    #[test]
    fn a_number_that_is_not_finite_is_refused() {
        let row = RegressionRow { truth: f64::INFINITY, prediction: 0.0 };
        assert_eq!(Regression::new(vec![row]).expect_err("refused"), RowsError::NotFinite { row: 0 });
    }
}

//! `overflow`: values beyond the baseline's range.

use super::law::{count_beyond_range_tail, rates_differ_tail};
use super::numeric::Numeric;
use super::rate::Rates;
use super::{DriftTest, NUMERIC, NotTestable, Pair, Score};
use crate::summary::NumericSummary;

pub(super) const TEST: DriftTest = DriftTest {
    name: "overflow",
    about: "Share of values below the baseline's smallest or above its largest, infinities included",
    kinds: NUMERIC,
    alarms: true,
    score,
};

/// Statistic and effect: the share of values beyond the baseline's smallest and largest; infinities are
/// values beyond. A handful of extreme values moves no cumulative share, so no other test sees them.
///
/// p-value: exact ([`count_beyond_range_tail`]), one-sided, and conservative where the baseline's extremes are
/// tied. It cannot be small when the window has many more values than the baseline: such a window reaches
/// beyond without drift. A reference that has values beyond itself (infinities in the training data, or
/// counts of other rows than the grid was made from) is compared by rates, infinities apart.
fn score(pair: &Pair<'_>) -> Result<Score, NotTestable> {
    let numeric = pair.numeric()?;
    let (reference, current) = Beyond::of_both(&numeric);
    let rates = Rates { reference: reference.rate(), current: current.rate() }.checked()?;
    let (m, n) = (rates.reference.1, rates.current.1);
    if rates.reference.0 == 0 {
        return Ok(rates.score(count_beyond_range_tail(rates.current.0, n, m)));
    }
    let infinite = rates_differ_tail(current.infinite, n, reference.infinite, m);
    let finite = if reference.finite == 0 {
        count_beyond_range_tail(current.finite, n, m)
    } else {
        rates_differ_tail(current.finite, n, reference.finite, m)
    };
    Ok(rates
        .score(infinite.min(finite).twice())
        .with_detail("the reference has values beyond the range itself"))
}

/// Values beyond the first and last edge.
struct Beyond {
    finite: u64,
    infinite: u64,
    values: u64,
}

impl Beyond {
    /// Those of the reference and of the current sample.
    fn of_both(numeric: &Numeric<'_>) -> (Self, Self) {
        let (m, n) = numeric.values;
        (Self::of(numeric.reference, m), Self::of(numeric.current, n))
    }

    /// Those of a sample of so many finite values.
    fn of(side: &NumericSummary, values: u64) -> Self {
        let last = side.counts.len().saturating_sub(1);
        let infinite = side.anomalies.positive_infinity.saturating_add(side.anomalies.negative_infinity);
        // A grid without edges has one bin, which is beyond nothing.
        let finite = if last == 0 { 0 } else { side.counts.get(0).saturating_add(side.counts.get(last)) };
        Self { finite, infinite, values: values.saturating_add(infinite) }
    }

    fn rate(&self) -> (u64, u64) {
        (self.finite.saturating_add(self.infinite), self.values)
    }
}

/// Share of finite values beyond the range: reference, current.
pub(super) fn shares_beyond(numeric: &Numeric<'_>) -> (f64, f64) {
    let share =
        |side: &NumericSummary, values: u64| Beyond::of(side, values).finite as f64 / values.max(1) as f64;
    (share(numeric.reference, numeric.values.0), share(numeric.current, numeric.values.1))
}

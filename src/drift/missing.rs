//! `missing`: the rate of missing values.

use super::rate::Rates;
use super::{BOTH, DriftTest, NotTestable, Pair, Score};
use crate::summary::Anomalies;

pub(super) const TEST: DriftTest = DriftTest {
    name: "missing",
    about: "Rate of missing values (null, absent, NaN)",
    kinds: BOTH,
    alarms: true,
    score,
};

/// Values that are missing in whatever way: null, absent, not a number.
pub(super) fn missing(anomalies: &Anomalies) -> u64 {
    anomalies.missing.saturating_add(anomalies.nan)
}

/// Statistic: the share of rows whose value is missing, current less reference. Effect: its absolute value.
///
/// p-value: exact, two-sided ([`rates_differ`](super::law::rates_differ_tail)), so good from one row on, and
/// conservative when few are missing.
fn score(pair: &Pair<'_>) -> Result<Score, NotTestable> {
    let rates = Rates::of_rows(pair, missing)?;
    Ok(rates.score(rates.p_value()))
}

//! `wrong_type`: the rate of values of another type.

use super::rate::Rates;
use super::{BOTH, DriftTest, NotTestable, Pair, Score};

pub(super) const TEST: DriftTest = DriftTest {
    name: "wrong_type",
    about: "Rate of values of the wrong type",
    kinds: BOTH,
    alarms: true,
    score,
};

/// Statistic: the share of rows whose value has another type than the column, current less reference.
/// Effect: its absolute value. p-value: as for `missing`.
fn score(pair: &Pair<'_>) -> Result<Score, NotTestable> {
    let rates = Rates::of_rows(pair, |anomalies| anomalies.wrong_type)?;
    Ok(rates.score(rates.p_value()))
}

//! What the tests of rates share: how often something happened among the rows of either sample.

use super::law::{Tail, rates_differ_tail};
use super::{EffectUnit, NotTestable, Pair, Score, VALUES_FEW};
use crate::summary::{Anomalies, ColumnSummary};

/// How often something happened in either sample.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    /// Times it happened in the reference, and of how many.
    pub(super) reference: (u64, u64),
    /// Times it happened in the current sample, and of how many.
    pub(super) current: (u64, u64),
}

impl Rates {
    /// How often an anomaly occurs among all rows.
    ///
    /// # Errors
    /// `InsufficientData` when either sample has no row.
    pub(super) fn of_rows(pair: &Pair<'_>, anomaly: fn(&Anomalies) -> u64) -> Result<Self, NotTestable> {
        let of = |side: &ColumnSummary, values| {
            let anomalies = side.anomalies();
            (anomaly(anomalies), rows(anomalies, values))
        };
        let (m, n) = pair.values;
        Self { reference: of(pair.reference, m), current: of(pair.current, n) }.checked()
    }

    /// The rates, if neither sample is empty.
    pub(super) fn checked(self) -> Result<Self, NotTestable> {
        let n = self.reference.1.min(self.current.1);
        if n == 0 { Err(NotTestable::InsufficientData { n, needed: 1 }) } else { Ok(self) }
    }

    /// The two-sided exact p-value for one common rate.
    pub(super) fn p_value(&self) -> Tail {
        rates_differ_tail(self.current.0, self.current.1, self.reference.0, self.reference.1)
    }

    /// A score whose statistic is the current rate less the reference's, its effect the absolute value.
    pub(super) fn score(&self, p_value: Tail) -> Score {
        let rate = |(times, of): (u64, u64)| times as f64 / of.max(1) as f64;
        let statistic = rate(self.current) - rate(self.reference);
        let (reference_n, current_n) = (self.reference.1, self.current.1);
        Score {
            statistic,
            bound: None,
            p_value: None,
            log_p_value: None,
            effect: statistic.abs(),
            effect_unit: EffectUnit::Rate,
            reference_n,
            current_n,
            detail: (reference_n.min(current_n) < VALUES_FEW).then(|| "small sample".to_owned()),
        }
        .with_p_value(p_value)
    }
}

/// Rows of a summary, values and anomalies.
pub(super) fn rows(anomalies: &Anomalies, values: u64) -> u64 {
    [
        anomalies.missing,
        anomalies.nan,
        anomalies.positive_infinity,
        anomalies.negative_infinity,
        anomalies.wrong_type,
    ]
    .into_iter()
    .fold(values, u64::saturating_add)
}

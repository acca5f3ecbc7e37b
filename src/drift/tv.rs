//! `tv`: the total variation distance.

use super::cells::Table;
use super::{BOTH, DriftTest, EffectUnit, NotTestable, Pair, Score};

pub(super) const TEST: DriftTest = DriftTest {
    name: "tv",
    about: "Total variation: share of values that would have to move",
    kinds: BOTH,
    alarms: false,
    score,
};

/// TV = ½·Σ|q − p| over the cells, p and q the shares of `reference` and `current`: the share of values
/// that would have to move; 0..=1, and 0 when either sample is empty.
pub fn tv(reference: &[u64], current: &[u64]) -> f64 {
    distance(&Table::of_counts(reference, current))
}

/// As [`tv`].
pub(super) fn distance(table: &Table) -> f64 {
    (table.shares().map(|(p, q)| (q - p).abs()).sum::<f64>() / 2.0).min(1.0)
}

/// Statistic and effect: [`tv`] on the column's cells: sixteen groups of a numeric column, the names of a
/// categorical one. No p-value: [`g`](super::g) tests the same cells.
fn score(pair: &Pair<'_>) -> Result<Score, NotTestable> {
    let cells = pair.cells()?;
    let statistic = distance(&cells.table);
    Ok(pair.score(statistic).with_effect(statistic, EffectUnit::Share))
}

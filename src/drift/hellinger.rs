//! `hellinger`: the Hellinger distance.

use super::cells::Table;
use super::{BOTH, DriftTest, NotTestable, Pair, Score};

pub(super) const TEST: DriftTest =
    DriftTest { name: "hellinger", about: "Hellinger distance, 0 to 1", kinds: BOTH, alarms: false, score };

/// H = √(½·Σ(√q − √p)²) = √(1 − Σ√(pq)) over the cells; 0..=1, and 0 when either sample is empty.
pub fn hellinger(reference: &[u64], current: &[u64]) -> f64 {
    distance(&Table::of_counts(reference, current))
}

fn distance(table: &Table) -> f64 {
    let sum: f64 = table.shares().map(|(p, q)| (q.sqrt() - p.sqrt()).powi(2)).sum();
    (sum / 2.0).sqrt().min(1.0)
}

/// Statistic: [`hellinger`] on the column's cells: sixteen groups of a numeric column, the names of a
/// categorical one.
///
/// p-value: 8·n_eff·H² is chi-squared with cells − 1 degrees of freedom to first order.
fn score(pair: &Pair<'_>) -> Result<Score, NotTestable> {
    Ok(pair.cells()?.score(pair, distance, |distance, n_eff| 8.0 * n_eff * distance * distance))
}

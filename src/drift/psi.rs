//! `psi`: the population stability index.

use super::cells::Table;
use super::law::ln_ratio;
use super::{BOTH, DriftTest, NotTestable, Pair, Score};

pub(super) const TEST: DriftTest = DriftTest {
    name: "psi",
    about: "Population stability index, half a count added to every cell",
    kinds: BOTH,
    alarms: false,
    score,
};

/// PSI = Σ(q − p)·ln(q/p) over the cells, p and q the shares of `reference` and `current` after half a
/// count is added to every cell of both. 0 or more, in nats: the sum of the Kullback–Leibler divergences
/// both ways.
pub fn psi(reference: &[u64], current: &[u64]) -> f64 {
    distance(&Table::of_counts(reference, current))
}

fn distance(table: &Table) -> f64 {
    table.smoothed_shares().map(|(p, q)| (q - p) * ln_ratio(q, p)).sum()
}

/// Statistic: [`psi`] on the column's cells: sixteen groups of a numeric column, the names of a
/// categorical one.
///
/// p-value: PSI·n_eff is chi-squared with cells − 1 degrees of freedom to first order (Yurdakul 2018), so
/// the same PSI means different things at different sizes; the rule of thumb "above 0.2" is none. Shown,
/// not alarmed on.
fn score(pair: &Pair<'_>) -> Result<Score, NotTestable> {
    Ok(pair.cells()?.score(pair, distance, |psi, n_eff| psi * n_eff))
}

//! `kl` and `kl_reverse`: the Kullback–Leibler divergences both ways.

use super::cells::{Distance, Table};
use super::law::deviance;
use super::{BOTH, DriftTest, NotTestable, Pair, Score};

pub(super) const TEST: DriftTest = DriftTest {
    name: "kl",
    about: "Kullback-Leibler divergence of the current sample from the reference, nats",
    kinds: BOTH,
    alarms: false,
    score: |pair| score(pair, divergence),
};

pub(super) const REVERSE: DriftTest = DriftTest {
    name: "kl_reverse",
    about: "Kullback-Leibler divergence of the reference from the current sample, nats",
    kinds: BOTH,
    alarms: false,
    score: |pair| score(pair, reverse),
};

/// KL(q‖p) = Σq·ln(q/p) over the cells, p and q the shares of `reference` and `current` after half a count
/// is added to every cell of both; 0 or more, in nats (Kullback and Leibler 1951). The other way round is
/// `kl(current, reference)`.
pub fn kl(reference: &[u64], current: &[u64]) -> f64 {
    divergence(&Table::of_counts(reference, current))
}

fn divergence(table: &Table) -> f64 {
    // Σ(q − p) is zero; with it each term is positive and exact.
    table.smoothed_shares().map(|(p, q)| deviance(q, p)).sum()
}

fn reverse(table: &Table) -> f64 {
    table.smoothed_shares().map(|(p, q)| deviance(p, q)).sum()
}

/// Statistic: the divergence on the column's cells: sixteen groups of a numeric column, the names of a
/// categorical one.
///
/// p-value: 2·n_eff·KL is chi-squared with cells − 1 degrees of freedom to first order.
fn score(pair: &Pair<'_>, divergence: Distance) -> Result<Score, NotTestable> {
    Ok(pair.cells()?.score(pair, divergence, |divergence, n_eff| 2.0 * n_eff * divergence))
}

//! `g`: the likelihood-ratio test of homogeneity.

use super::cells::Table;
use super::chi2::{homogeneity_score, sum_over_expected};
use super::law::deviance;
use super::{BOTH, DriftTest, NotTestable, Pair, Score};

pub(super) const TEST: DriftTest = DriftTest {
    name: "g",
    about: "Likelihood-ratio (G) test of homogeneity",
    kinds: BOTH,
    alarms: true,
    score,
};

/// G = 2·ΣO·ln(O/E) over the cells of both samples, E the expected count when both have the pooled shares
/// (Wilks 1938); cells empty in both are dropped. 0 when either sample is empty.
pub fn g(reference: &[u64], current: &[u64]) -> f64 {
    statistic(&Table::of_counts(reference, current))
}

fn statistic(table: &Table) -> f64 {
    // The differences O − E of a sample sum to zero; with them each term is positive and exact.
    2.0 * sum_over_expected(table, deviance)
}

/// Statistic: [`g`] on the column's cells: sixteen groups of a numeric column, the names of a categorical
/// one. Effect and p-value as for [`chi2`](super::chi2).
fn score(pair: &Pair<'_>) -> Result<Score, NotTestable> {
    homogeneity_score(pair, statistic)
}

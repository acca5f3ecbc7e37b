//! `chi2`: Pearson's chi-squared test of homogeneity.

use super::cells::{Distance, Table};
use super::tv;
use super::{BOTH, DriftTest, EffectUnit, NotTestable, Pair, Score};

pub(super) const TEST: DriftTest = DriftTest {
    name: "chi2",
    about: "Pearson's chi-squared test of homogeneity",
    kinds: BOTH,
    alarms: false,
    score,
};

/// X² = Σ(O − E)²/E over the cells of both samples, E the expected count when both have the pooled shares
/// (Pearson 1900); cells empty in both are dropped. 0 when either sample is empty.
pub fn chi2(reference: &[u64], current: &[u64]) -> f64 {
    statistic(&Table::of_counts(reference, current))
}

fn statistic(table: &Table) -> f64 {
    sum_over_expected(table, |observed, expected| (observed - expected).powi(2) / expected)
}

/// Degrees of freedom of a test of homogeneity of two samples: cells that are not empty in both, less one.
pub fn homogeneity_degrees(reference: &[u64], current: &[u64]) -> usize {
    reference.iter().zip(current).filter(|(b, a)| **b > 0 || **a > 0).count().saturating_sub(1)
}

/// Σ of `term(observed, expected)` over the cells of both samples.
pub(super) fn sum_over_expected(table: &Table, term: impl Fn(f64, f64) -> f64) -> f64 {
    let (m, n) = (table.m, table.n);
    if m == 0.0 || n == 0.0 {
        return 0.0;
    }
    let cells = table.counts().filter(|(b, a)| *b > 0.0 || *a > 0.0);
    cells
        .map(|(b, a)| {
            let pooled = (b + a) / (n + m);
            term(a, n * pooled) + term(b, m * pooled)
        })
        .sum()
}

/// Statistic: [`chi2`] on the column's cells: sixteen groups of a numeric column, the names of a
/// categorical one. Effect: total variation, the share of values that would have to move.
///
/// p-value: chi-squared with cells − 1 degrees of freedom, after cells are joined until each is expected to
/// hold ten values in either sample; the score says when that was needed. Where that leaves one cell, the
/// exact test of the largest cell's share.
fn score(pair: &Pair<'_>) -> Result<Score, NotTestable> {
    homogeneity_score(pair, statistic)
}

/// The score of a test of homogeneity whose statistic on count vectors is `statistic`.
pub(super) fn homogeneity_score(pair: &Pair<'_>, statistic: Distance) -> Result<Score, NotTestable> {
    let cells = pair.cells()?;
    let score = cells
        .score(pair, statistic, |statistic, _| statistic)
        .with_effect(tv::distance(&cells.table), EffectUnit::Share);
    if score.p_value.is_some() {
        return Ok(score);
    }
    Ok(score
        .with_p_value(cells.largest_against_rest())
        .with_detail("cells too small: exact p-value of the largest cell's share"))
}

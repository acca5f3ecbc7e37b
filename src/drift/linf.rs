//! `linf`: the largest difference of one cell's shares.

use super::cells::Table;
use super::{BOTH, DriftTest, EffectUnit, NotTestable, Pair, Score};

pub(super) const TEST: DriftTest = DriftTest {
    name: "linf",
    about: "L-infinity: largest difference of the shares of one cell",
    kinds: BOTH,
    alarms: false,
    score,
};

/// max |q − p| over the cells, p and q the shares of `reference` and `current`; 0..=1, and 0 when either
/// sample is empty.
pub fn linf(reference: &[u64], current: &[u64]) -> f64 {
    distance(&Table::of_counts(reference, current))
}

fn distance(table: &Table) -> f64 {
    table.shares().map(|(p, q)| (q - p).abs()).fold(0.0, f64::max)
}

/// Statistic and effect: [`linf`] on the column's cells: sixteen groups of a numeric column, the names of a
/// categorical one. No p-value: [`g`](super::g) tests the same cells.
fn score(pair: &Pair<'_>) -> Result<Score, NotTestable> {
    let cells = pair.cells()?;
    let statistic = distance(&cells.table);
    Ok(pair.score(statistic).with_effect(statistic, EffectUnit::Rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_difference_is_found() {
        assert!((linf(&[50, 30, 20], &[30, 40, 30]) - 0.2).abs() < 1e-15);
        assert_eq!(linf(&[50, 50], &[0, 0]), 0.0);
    }
}

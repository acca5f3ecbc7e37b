//! `js`: the Jensen–Shannon distance.

use std::f64::consts::LN_2;

use super::cells::Table;
use super::{BOTH, DriftTest, NotTestable, Pair, Score};

pub(super) const TEST: DriftTest = DriftTest {
    name: "js",
    about: "Jensen-Shannon distance (the square root of the divergence), base 2",
    kinds: BOTH,
    alarms: false,
    score,
};

/// The Jensen–Shannon distance, base 2: √(½·KL(p‖c) + ½·KL(q‖c)), c = (p + q)/2; 0..=1, and 0 when either
/// sample is empty (Endres and Schindelin 2003, doi:10.1109/TIT.2003.813506).
pub fn js(reference: &[u64], current: &[u64]) -> f64 {
    distance(&Table::of_counts(reference, current))
}

fn distance(table: &Table) -> f64 {
    (divergence_nats(table) / LN_2).sqrt().min(1.0)
}

/// The divergence in nats. With δ = (p − q)/(p + q), a cell adds (p + q)/4 times
/// (1 + δ)·ln(1 + δ) + (1 − δ)·ln(1 − δ), which is ln(1 − δ²) + δ·ln((1 + δ)/(1 − δ)).
fn divergence_nats(table: &Table) -> f64 {
    let cell = |(p, q): (f64, f64)| {
        let delta: f64 = if p + q > 0.0 { (p - q) / (p + q) } else { 0.0 };
        if delta.abs() == 1.0 {
            return (p + q) * LN_2 / 2.0;
        }
        if delta.abs() < 0.1 {
            return (p + q) * delta * delta * series(delta * delta) / 4.0;
        }
        let doubled = (-delta * delta).ln_1p() + delta * (delta.ln_1p() - (-delta).ln_1p());
        (p + q) * doubled.max(0.0) / 4.0
    };
    table.shares().map(cell).sum()
}

/// ((1 + δ)·ln(1 + δ) + (1 − δ)·ln(1 − δ))/δ² = Σδ^(2k−2)/(k·(2k − 1)) for |δ| up to 0.1, from δ².
fn series(square: f64) -> f64 {
    const TERMS: [f64; 8] =
        [1.0 / 120.0, 1.0 / 91.0, 1.0 / 66.0, 1.0 / 45.0, 1.0 / 28.0, 1.0 / 15.0, 1.0 / 6.0, 1.0];
    TERMS.iter().fold(0.0, |series, term| series * square + term)
}

/// Statistic: [`js`] on the column's cells: sixteen groups of a numeric column, the names of a categorical
/// one.
///
/// p-value: 8·n_eff times the divergence in nats is chi-squared with cells − 1 degrees of freedom to first
/// order. Shown, not alarmed on.
fn score(pair: &Pair<'_>) -> Result<Score, NotTestable> {
    Ok(pair.cells()?.score(pair, distance, |distance, n_eff| 8.0 * n_eff * distance * distance * LN_2))
}

//! `energy`: the energy distance.

use super::bins::{Bins, LANES, larger, side_by_side};
use super::numeric::Numeric;
use super::{DriftTest, NUMERIC, NotTestable, Pair, Score, VALUES_MIN};
use crate::summary::NumericSummary;

pub(super) const TEST: DriftTest = DriftTest {
    name: "energy",
    about: "Energy distance (square root of twice the squared area between the cumulative shares)",
    kinds: NUMERIC,
    alarms: false,
    score,
};

/// Statistic: √(2·∫(F − G)² dx), scipy's convention, in the square root of the column's unit (Székely and
/// Rizzo 2013, doi:10.1016/j.jspi.2013.03.018). No p-value: its null law depends on the distribution.
///
/// With a and b the difference F − G at a bin's edges and w its width, a bin adds w·(a² + ab + b²)/3, which
/// is exact for values spread evenly. F − G departs from the straight line by at most s = max(p, q), so the
/// bin is off by at most w·s·(2·max(|a|, |b|) + s). Values beyond the range are known by number and sum: one
/// sample's part lies between 0 and share × mean excess, and half of that is taken, right for an exponential
/// tail; of two samples there, half the product of the differences.
/// The bound is what the sum of these errors means for the square root.
fn score(pair: &Pair<'_>) -> Result<Score, NotTestable> {
    let numeric = pair.numeric()?;
    pair.sizes(VALUES_MIN)?;
    let (square, error) = squared(&numeric, pair.bins()?)?;
    let statistic = (2.0 * square).sqrt();
    let from_below = statistic - (2.0 * (square - error).max(0.0)).sqrt();
    let from_above = (2.0 * (square + error)).sqrt() - statistic;
    pair.score(statistic).with_bound(from_below.max(from_above)).finite()
}

/// ∫(F − G)² dx and its error bound.
fn squared<'a>(numeric: &Numeric<'a>, bins: &'a Bins) -> Result<(f64, f64), NotTestable> {
    let edges = numeric.grid.edges();
    let (Some(first), Some(last)) = (edges.first(), edges.last()) else {
        return Err(NotTestable::Degenerate { reason: "the baseline's grid has no edges".to_owned() });
    };
    let (m, n) = (numeric.values.0 as f64, numeric.values.1 as f64);
    let (mut square, mut error) = (0.0, 0.0);
    for (bin, edge) in [(0, *first), (edges.len(), *last)] {
        let (p, p_excess) = beyond(numeric, numeric.reference, m, bin, edge);
        let (q, q_excess) = beyond(numeric, numeric.current, n, bin, edge);
        let likely = ((q - p) * (q_excess - p_excess)).abs() / 2.0;
        square += likely;
        error += likely.max(q * q_excess + p * p_excess - likely);
    }
    let inner = |column: &'a [f64]| column.get(1..edges.len()).unwrap_or(&[]);
    let [mut squares, mut errors] = [[0.0; LANES]; 2];
    let columns =
        [edges, inner(edges), inner(bins.lower()), inner(bins.difference()), inner(&bins.p), inner(&bins.q)];
    side_by_side(columns, |lane, [low, high, a, b, p, q]| {
        let (width, swing) = (high - low, larger(p, q));
        squares[lane] += width * (a * a + a * b + b * b) * (1.0 / 3.0);
        errors[lane] += width * swing * (2.0 * larger(a.abs(), b.abs()) + swing);
    });
    square += squares.iter().sum::<f64>();
    error += errors.iter().sum::<f64>();
    Ok((square, error))
}

/// A sample's share beyond an edge, and the mean over the sample of how far beyond.
fn beyond(numeric: &Numeric<'_>, sample: &NumericSummary, size: f64, bin: usize, edge: f64) -> (f64, f64) {
    let share = sample.counts.get(bin) as f64 / size;
    (share, numeric.mean_below(sample, bin, edge, size).map_or(0.0, f64::abs))
}

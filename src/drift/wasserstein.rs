//! `wasserstein`: the first Wasserstein distance (earth mover's distance).

use std::ops::Range;

use super::bins::{Bins, LANES, larger, side_by_side, smaller};
use super::numeric::Numeric;
use super::{DriftTest, EffectUnit, NUMERIC, NotTestable, Pair, Score, VALUES_MIN};

pub(super) const TEST: DriftTest = DriftTest {
    name: "wasserstein",
    about: "Wasserstein-1: mean distance that values would have to move",
    kinds: NUMERIC,
    alarms: false,
    score,
};

/// Half a step of the fixed-point numbers in either sample, in units of the scale.
const ROUNDING_STEP: f64 = 1.0 / 4_294_967_296.0;

/// What is lost where sums of values far away are taken from each other, as a share of the distance.
const ROUNDING_SHARE: f64 = 1e-10;

/// Statistic: W₁ = ∫|F − G| dx, in the column's unit. Effect: W₁ in standard deviations of the baseline
/// (W₁ itself when that is 0). No p-value: its null law depends on the distribution.
///
/// With a = F − G at a bin's lower edge, b at its upper, and w its width:
/// - inner bins: w·(|a|+|b|)/2, or w·(a²+b²)/(2(|a|+|b|)) when a and b differ in sign, which is exact for
///   values spread evenly. F and G are monotone, so this is off by at most w·(p+q)/2;
/// - the outer bins, whose values are summed, when a and b agree in sign: |∫(F − G)| from the sums, exact
///   unless F − G changes sign twice inside the bin. It cannot when p ≤ |a| or the like; where it may, the
///   error is at most w·min(2·min(u, v), max(p, q)/2), u and v the farthest that F − G may get above and
///   below 0 in the bin;
/// - beyond the range: the mean excess of either sample, from the sums; exact when one sample has values
///   there, which is always so for a baseline on its own grid.
///
/// The bound is the sum of these errors and of the rounding of the sums. Values more than 2³⁰ standard deviations out count as that far.
/// Convention and check: scipy's `wasserstein_distance`.
fn score(pair: &Pair<'_>) -> Result<Score, NotTestable> {
    let numeric = pair.numeric()?;
    let (m, n) = pair.sizes(VALUES_MIN)?;
    let (statistic, bound) = distance(&numeric, pair.bins()?, (m as f64, n as f64))?;
    let spread = numeric.reference.standard_deviation(numeric.grid).filter(|&spread| spread > 0.0);
    let score = pair.score(statistic).with_bound(bound);
    match spread {
        Some(spread) => score.with_effect(statistic / spread, EffectUnit::StandardDeviations),
        None => score.with_detail("the baseline does not vary: effect in the column's unit"),
    }
    .finite()
}

/// W₁ and its error bound.
fn distance(numeric: &Numeric<'_>, bins: &Bins, sizes: (f64, f64)) -> Result<(f64, f64), NotTestable> {
    let edges = numeric.grid.edges();
    let (Some(first), Some(last)) = (edges.first(), edges.last()) else {
        return Err(NotTestable::Degenerate { reason: "the baseline's grid has no edges".to_owned() });
    };
    let (below, below_bound) = beyond(numeric, sizes, 0, *first);
    let (above, above_bound) = beyond(numeric, sizes, edges.len(), *last);
    let (mut distance, mut bound) = (below + above, below_bound + above_bound);
    let (low_sums, high_sums) = (numeric.reference.low.len(), numeric.reference.high.len());
    // Bins with two edges whose values are not summed; the others beside them.
    let first = low_sums.max(1);
    let last = bins.len().saturating_sub(high_sums).clamp(first, edges.len().max(first));
    for number in (1..first).chain(last..edges.len()) {
        let Some((inside, high)) = Inside::of(edges, bins, number) else { continue };
        let (part, error) = match inside.signed_area(numeric, sizes, number, high) {
            Some(area) => (area.abs(), inside.area_error()),
            None => (inside.linear(), inside.width * (inside.p + inside.q) / 2.0),
        };
        distance += part;
        bound += error;
    }
    let inner = evenly(edges, bins, first..last);
    (distance, bound) = (distance + inner.0, bound + inner.1);
    // The sums are kept in steps of 2^-32 of the scale, and differences of large numbers lose digits.
    let rounding = numeric.grid.fixed().scale * ROUNDING_STEP + distance * ROUNDING_SHARE;
    Ok((distance, bound + rounding))
}

/// ∫|F − G| over a run of bins with two edges each if both rise evenly, and its error bound.
fn evenly(edges: &[f64], bins: &Bins, run: Range<usize>) -> (f64, f64) {
    let [mut distances, mut bounds] = [[0.0; LANES]; 2];
    let columns: [&[f64]; 6] = [
        part(edges, run.start - 1, run.len()),
        part(edges, run.start, run.len()),
        part(bins.lower(), run.start, run.len()),
        part(bins.difference(), run.start, run.len()),
        part(&bins.p, run.start, run.len()),
        part(&bins.q, run.start, run.len()),
    ];
    side_by_side(columns, |lane, [low, high, a, b, p, q]| {
        let inside = Inside { a, b, p, q, width: high - low };
        distances[lane] += inside.linear();
        bounds[lane] += inside.width * (p + q) / 2.0;
    });
    (distances.iter().sum(), bounds.iter().sum())
}

/// So many numbers of a column from this one on; nothing if there are fewer.
fn part(column: &[f64], from: usize, length: usize) -> &[f64] {
    column.get(from..).and_then(|rest| rest.get(..length)).unwrap_or(&[])
}

/// One bin with two edges.
struct Inside {
    /// F − G at the lower edge.
    a: f64,
    /// F − G at the upper edge.
    b: f64,
    /// Shares of the reference and the current sample.
    p: f64,
    q: f64,
    width: f64,
}

impl Inside {
    /// Bin `number` and its upper edge.
    fn of(edges: &[f64], bins: &Bins, number: usize) -> Option<(Self, f64)> {
        let (low, high) = (edges.get(number.checked_sub(1)?)?, *edges.get(number)?);
        let (a, b) = (*bins.lower().get(number)?, *bins.difference().get(number)?);
        let (p, q) = (*bins.p.get(number)?, *bins.q.get(number)?);
        Some((Self { a, b, p, q, width: high - low }, high))
    }

    /// ∫|F − G| over the bin if both rise evenly.
    fn linear(&self) -> f64 {
        let (a, b) = (self.a, self.b);
        let heights = a.abs() + b.abs();
        // Both are worked out: which one it is cannot be foreseen, and waiting costs more than a division.
        let crossing = (a * a + b * b) / heights;
        self.width * 0.5 * if a * b >= 0.0 { heights } else { crossing }
    }

    /// ∫(F − G) over the bin, from the sums of its values; `None` where there are none, or where F − G
    /// certainly changes sign.
    fn signed_area(&self, numeric: &Numeric<'_>, sizes: (f64, f64), bin: usize, high: f64) -> Option<f64> {
        if self.a * self.b < 0.0 {
            return None;
        }
        let reference = numeric.mean_below(numeric.reference, bin, high, sizes.0)?;
        let current = numeric.mean_below(numeric.current, bin, high, sizes.1)?;
        Some(self.width * self.a + current - reference)
    }

    /// How much ∫|F − G| may exceed |∫(F − G)|.
    fn area_error(&self) -> f64 {
        let up = larger(self.a + self.q, 0.0);
        let down = larger(self.p - self.a, 0.0);
        let swing = larger(self.p, self.q) / 2.0;
        self.width * smaller(2.0 * smaller(up, down), swing)
    }
}

/// ∫|F − G| beyond the first or last edge, and its error bound.
fn beyond(numeric: &Numeric<'_>, sizes: (f64, f64), bin: usize, edge: f64) -> (f64, f64) {
    let excess = |sample: &crate::summary::NumericSummary, size: f64| {
        numeric.mean_below(sample, bin, edge, size).map_or(0.0, f64::abs)
    };
    let (reference, current) = (excess(numeric.reference, sizes.0), excess(numeric.current, sizes.1));
    ((current - reference).abs(), 2.0 * current.min(reference))
}

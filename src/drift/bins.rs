//! What the tests of one numeric pair share: its bins with both samples' shares, made once.
//!
//! Invariant: each vector of [`Bins`] has one number for each bin of the grid, in order; all are finite. The
//! numbers lie in vectors of their own, so that a pass over them reads only what it needs.

use std::cell::OnceCell;

use super::numeric::Numeric;

/// The grid correction was verified down to sixteen equal bins; a coarser grid gets that of sixteen.
const STEP_MAX: f64 = 1.0 / 16.0;

/// Bins that a pass takes side by side.
pub(super) const LANES: usize = 4;

/// The bins of two samples, one number a bin in each vector, and what one pass over them tells.
#[derive(Debug, Clone, Default)]
pub(super) struct Bins {
    /// 0 for a bin that holds one value only, 1 for one whose values are spread.
    pub(super) spread: Vec<f64>,
    /// Counts of the reference and the current sample; exact up to 2^53.
    pub(super) reference: Vec<f64>,
    pub(super) current: Vec<f64>,
    /// Shares of the reference and the current sample.
    pub(super) p: Vec<f64>,
    pub(super) q: Vec<f64>,
    /// Share of both samples together.
    pub(super) mass: Vec<f64>,
    /// F − G at the edges: 0, then one number for the upper end of each bin.
    heights: Vec<f64>,
    /// max (F − G) and max (G − F) over the edges, 0 or more.
    pub(super) above: f64,
    pub(super) below: f64,
    /// The largest share of both samples together.
    pub(super) mass_max: f64,
    /// D of the raw values is at most this much larger than that of the bins.
    pub(super) bound: f64,
    /// Mass of a typical bin between atoms: Σp²/Σp over the bins that are no points.
    pub(super) step: f64,
    /// Share of the reference in point bins that hold more than one value of both samples: ties.
    pub(super) atoms: f64,
    /// No bin holds two values: the grid loses nothing, and there are no ties.
    pub(super) values_apart: bool,
    /// The reference has values in one bin only, and that is a point bin.
    pub(super) one_value: bool,
    /// What the laws of quadratic statistics are computed from, made by the first that needs it.
    pub(super) blocks: OnceCell<Vec<f64>>,
}

impl Bins {
    /// The bins of a pair; all shares of an empty sample are 0.
    pub(super) fn of(numeric: &Numeric<'_>) -> Self {
        let (reference, current) = (numeric.reference.counts.to_floats(), numeric.current.counts.to_floats());
        let (m, n) = (total(&reference), total(&current));
        let (per_m, per_n, all) = (m.max(1.0), n.max(1.0), (m + n).max(1.0));
        let p: Vec<f64> = reference.iter().map(|count| count / per_m).collect();
        let q: Vec<f64> = current.iter().map(|count| count / per_n).collect();
        let mass = reference.iter().zip(&current).map(|(b, a)| (b + a) / all).collect();
        let (mut f, mut g) = (0.0, 0.0);
        let mut heights = Vec::with_capacity(p.len() + 1);
        heights.push(0.0);
        for (p, q) in p.iter().zip(&q) {
            (g, f) = (g + p, f + q);
            heights.push(f - g);
        }
        let points = numeric.grid.points();
        let mut spread = vec![1.0; p.len()];
        for &bin in points {
            if let Some(spread) = spread.get_mut(bin) {
                *spread = 0.0;
            }
        }
        let bins = Self { spread, reference, current, p, q, mass, heights, ..Self::default() };
        bins.summed(points, all)
    }

    /// Number of bins.
    pub(super) fn len(&self) -> usize {
        self.mass.len()
    }

    /// F − G at the lower end of each bin.
    pub(super) fn lower(&self) -> &[f64] {
        self.heights.get(..self.len()).unwrap_or(&[])
    }

    /// F − G at the upper end of each bin.
    pub(super) fn difference(&self) -> &[f64] {
        self.heights.get(1..).unwrap_or(&[])
    }

    /// Works out what a pass over the bins tells; `all` values are in both samples together.
    fn summed(mut self, points: &[usize], all: f64) -> Self {
        let [mut above, mut below, mut together_max] = [[0.0; LANES]; 3];
        side_by_side([self.difference(), &self.reference, &self.current], |lane, [difference, b, a]| {
            above[lane] = larger(above[lane], difference);
            below[lane] = larger(below[lane], -difference);
            together_max[lane] = larger(together_max[lane], b + a);
        });
        let [mut bound, mut between, mut squares, mut held] = [[0.0; LANES]; 4];
        side_by_side([&self.spread, &self.p, &self.q], |lane, [spread, p, q]| {
            bound[lane] = larger(bound[lane], spread * smaller(p, q));
            between[lane] += spread * p;
            squares[lane] += spread * p * p;
            held[lane] += if p > 0.0 { 1.0 } else { 0.0 };
        });
        let largest = |lanes: [f64; LANES]| lanes.into_iter().fold(0.0, larger);
        let (between, squares) = (between.iter().sum::<f64>(), squares.iter().sum::<f64>());
        self.step = if between > 0.0 { (squares / between).min(STEP_MAX) } else { 0.0 };
        (self.above, self.below, self.bound) = (largest(above), largest(below), largest(bound));
        let together_max = largest(together_max);
        (self.mass_max, self.values_apart) = (together_max / all, together_max <= 1.0);
        let mut points_held = 0.0;
        for &bin in points {
            let count = |counts: &[f64]| counts.get(bin).copied().unwrap_or(0.0);
            let (b, a) = (count(&self.reference), count(&self.current));
            points_held += if b > 0.0 { 1.0 } else { 0.0 };
            self.atoms += if b + a > 1.0 { count(&self.p) } else { 0.0 };
        }
        self.one_value = held.iter().sum::<f64>() == 1.0 && points_held == 1.0;
        self
    }

    /// max |F − G|, 0..=1.
    pub(super) fn largest(&self) -> f64 {
        self.above.max(self.below).min(1.0)
    }
}

/// The larger of two numbers that are no NaN: one instruction, where `f64::max` takes four.
pub(super) fn larger(left: f64, right: f64) -> f64 {
    if left > right { left } else { right }
}

/// The smaller of two numbers that are no NaN.
pub(super) fn smaller(left: f64, right: f64) -> f64 {
    if left < right { left } else { right }
}

/// Calls `each` with a place among [`LANES`] and the numbers of every row of the columns, in order. Who keeps a
/// sum or a maximum for each place waits for none before the next, and the processor does several at once.
///
/// Plain loops, and always inlined: what is left of calls here costs more than the sums.
#[inline(always)]
#[expect(
    clippy::needless_range_loop,
    reason = "plain loops are what the compiler turns into vector instructions"
)]
pub(super) fn side_by_side<const N: usize>(columns: [&[f64]; N], mut each: impl FnMut(usize, [f64; N])) {
    let mut rows = usize::MAX;
    for column in &columns {
        rows = rows.min(column.len());
    }
    let mut row = 0;
    while row + LANES <= rows {
        let mut values = [[0.0; N]; LANES];
        for number in 0..N {
            let Some(chunk) = columns[number].get(row..row + LANES) else { continue };
            for lane in 0..LANES {
                values[lane][number] = chunk[lane];
            }
        }
        for lane in 0..LANES {
            each(lane, values[lane]);
        }
        row += LANES;
    }
    for lane in 0..rows - row {
        let mut values = [0.0; N];
        for number in 0..N {
            values[number] = columns[number].get(row + lane).copied().unwrap_or(0.0);
        }
        each(lane, values);
    }
}

/// The sum of counts, exact up to 2^53.
pub(super) fn total(counts: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    side_by_side([counts], |lane, [count]| sums[lane] += count);
    sums.iter().sum()
}

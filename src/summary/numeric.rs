//! Counts of real numbers in bins, with exact sums in the outer bins.

use std::hint::select_unpredictable;

use arrow::array::{Array, Float64Array};
use serde::{Deserialize, Serialize};

use super::{Anomalies, Counts, ShapeMismatch};
use crate::event::is_wrong_type;

/// Bins at each end whose values are also summed, beside underflow and overflow.
pub const OUTER_BINS: usize = 16;

/// Values looked up side by side: enough to hide the latency of a load, few enough for registers.
const LANES: usize = 8;

/// The bins of a numeric column.
///
/// `edges` ascend strictly. Bin `k` is `(edges[k-1], edges[k]]`; bin 0 is everything up to `edges[0]`
/// and the last bin, number `edges.len()`, everything above the last edge. The builder puts the first
/// edge just below the baseline's smallest value and the last on its largest, so those two bins are
/// underflow and overflow. A point bin for an atom `v` is `(v.next_down(), v]`: it holds `v` and
/// nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "GridParts", into = "GridParts")]
pub struct Grid {
    edges: Vec<f64>,
    /// `edges`, filled up with infinity to one less than a power of two, for the search.
    padded: Vec<f64>,
    /// The bins that hold one value only, ascending.
    points: Vec<usize>,
    fixed: FixedPoint,
}

/// Why edges make no grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GridError {
    /// An edge is NaN or infinite, or not above the one before.
    #[error("edges must be finite and ascend strictly")]
    Edges,
    /// The centre is not finite or the scale not finite and positive.
    #[error("centre must be finite and scale finite and positive")]
    Scale,
}

#[derive(Serialize, Deserialize, Clone)]
struct GridParts {
    edges: Vec<f64>,
    fixed: FixedPoint,
}

impl TryFrom<GridParts> for Grid {
    type Error = GridError;
    fn try_from(parts: GridParts) -> Result<Self, GridError> {
        Self::try_new(parts.edges, parts.fixed)
    }
}

impl From<Grid> for GridParts {
    fn from(grid: Grid) -> Self {
        Self { edges: grid.edges, fixed: grid.fixed }
    }
}

/// Fixed-point numbers for sums that do not depend on their order.
///
/// A value `x` is held as `z = (x - centre) / scale`, rounded to 2^-32. `z` is held within ±2^30 in
/// sums and within ±2^15 in sums of squares; with the baseline's mean and standard deviation as centre
/// and scale, only values tens of thousands of standard deviations away are cut.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FixedPoint {
    /// Near the baseline's mean.
    pub centre: f64,
    /// Near the baseline's standard deviation; positive.
    pub scale: f64,
}

impl FixedPoint {
    const ONE: f64 = 4_294_967_296.0;
    const SUM_MAX: f64 = 1_073_741_824.0;
    const SQUARE_MAX: f64 = 32_768.0;

    fn z(&self, x: f64) -> f64 {
        (x - self.centre) / self.scale
    }

    /// The value as a fixed-point number.
    pub fn encode(&self, x: f64) -> i64 {
        rounded(self.z(x).clamp(-Self::SUM_MAX, Self::SUM_MAX) * Self::ONE)
    }

    /// The square of the standardised value as a fixed-point number.
    pub fn encode_square(&self, x: f64) -> i64 {
        let z = self.z(x).clamp(-Self::SQUARE_MAX, Self::SQUARE_MAX);
        rounded(z * z * Self::ONE)
    }

    /// The sum of `n` values from the sum of their fixed-point numbers.
    pub fn decode_sum(&self, sum: i128, n: u64) -> f64 {
        n as f64 * self.centre + self.scale * (to_float(sum) / Self::ONE)
    }

    /// The sum of squared standardised values.
    pub fn decode_squares(sum: i128) -> f64 {
        to_float(sum) / Self::ONE
    }

    /// The sum of standardised values.
    pub fn decode_z(sum: i128) -> f64 {
        to_float(sum) / Self::ONE
    }
}

/// The nearest double: `sum as f64`, which is a call where one instruction does for all but huge sums.
fn to_float(sum: i128) -> f64 {
    match i64::try_from(sum) {
        Ok(sum) => sum as f64,
        Err(_) => huge_to_float(sum),
    }
}

/// Kept apart, as the compiler would else make the call for every sum.
#[cold]
#[inline(never)]
fn huge_to_float(sum: i128) -> f64 {
    sum as f64
}

/// The nearest whole number, halves away from zero: `x.round() as i64`, which is a call into the
/// mathematics library on processors that have no instruction for it.
///
/// Adding the largest number below one half and cutting off gives the same for every `x`: with one half
/// itself, 0.49999999999999994 would become 1.
fn rounded(x: f64) -> i64 {
    const BELOW_HALF: f64 = 0.5_f64.next_down();
    (x + BELOW_HALF.copysign(x)) as i64
}

impl Grid {
    /// Checks the edges and makes a grid; no edge at all is one bin.
    ///
    /// # Errors
    /// [`GridError`] when the edges do not ascend or the scale is no scale.
    pub fn try_new(edges: Vec<f64>, fixed: FixedPoint) -> Result<Self, GridError> {
        let ascending = edges.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || !edges.iter().all(|edge| edge.is_finite()) {
            return Err(GridError::Edges);
        }
        if !fixed.centre.is_finite() || !fixed.scale.is_finite() || fixed.scale <= 0.0 {
            return Err(GridError::Scale);
        }
        let mut padded = edges.clone();
        padded.resize((edges.len() + 1).next_power_of_two() - 1, f64::INFINITY);
        let is_point = |pair: &[f64]| matches!(pair, [low, high] if low.next_up() >= *high);
        let points =
            (1..).zip(edges.windows(2)).filter(|(_, pair)| is_point(pair)).map(|(bin, _)| bin).collect();
        Ok(Self { edges, padded, points, fixed })
    }

    /// The edges.
    pub fn edges(&self) -> &[f64] {
        &self.edges
    }

    /// The bins that hold one value only, ascending: those between neighbouring doubles.
    pub fn points(&self) -> &[usize] {
        &self.points
    }

    /// Number of bins, underflow and overflow included.
    pub fn bins(&self) -> usize {
        self.edges.len() + 1
    }

    /// The centre and scale of sums.
    pub fn fixed(&self) -> FixedPoint {
        self.fixed
    }

    /// How many bins at the low and at the high end are also summed, underflow and overflow included.
    pub fn outer(&self) -> (usize, usize) {
        let low = self.bins().min(OUTER_BINS + 1);
        (low, (self.bins() - low).min(OUTER_BINS + 1))
    }

    /// The bin of a finite value: the number of edges below it.
    pub fn bin(&self, value: f64) -> usize {
        let mut base = 0;
        let mut step = self.padded.len().div_ceil(2);
        while step > 0 {
            base = select_unpredictable(self.padded[base + step - 1] < value, base + step, base);
            step /= 2;
        }
        base
    }

    /// The bins of many finite values: the same as [`bin`](Self::bin) on each, several at a time.
    ///
    /// `select_unpredictable` makes the compiler emit conditional moves: the outcome of each comparison
    /// is a coin toss, and as a branch it costs ten times as much (`benches/summarise.rs`).
    pub fn bins_of(&self, values: &[f64], bins: &mut Vec<u32>) {
        bins.clear();
        bins.resize(values.len(), 0);
        let padded = self.padded.as_slice();
        let first = padded.len().div_ceil(2);
        let mut chunks = values.chunks_exact(LANES);
        let mut targets = bins.chunks_exact_mut(LANES);
        for (chunk, target) in chunks.by_ref().zip(targets.by_ref()) {
            let mut base = [0usize; LANES];
            let mut step = first;
            while step > 0 {
                for lane in 0..LANES {
                    let probe = base[lane] + step;
                    base[lane] = select_unpredictable(padded[probe - 1] < chunk[lane], probe, base[lane]);
                }
                step /= 2;
            }
            for lane in 0..LANES {
                target[lane] = base[lane] as u32;
            }
        }
        for (value, target) in chunks.remainder().iter().zip(targets.into_remainder()) {
            *target = self.bin(*value) as u32;
        }
    }
}

/// Counts of a numeric column.
#[derive(Debug, Clone, PartialEq)]
pub struct NumericSummary {
    /// One count a bin of the [`Grid`].
    pub counts: Counts,
    /// Fixed-point sums of the values in the lowest bins, underflow first.
    pub low: Vec<i128>,
    /// Fixed-point sums of the values in the highest bins, overflow last.
    pub high: Vec<i128>,
    /// Fixed-point sum of all values.
    pub sum: i128,
    /// Fixed-point sum of the squares of all standardised values.
    pub squares: i128,
    /// Values that are no values.
    pub anomalies: Anomalies,
}

/// Buffers that counting a batch needs; kept by a worker between batches.
#[derive(Debug, Default)]
pub struct NumericScratch {
    values: Vec<f64>,
    bins: Vec<u32>,
    counts: Vec<u32>,
}

impl NumericSummary {
    /// All zeros.
    pub fn empty(grid: &Grid) -> Self {
        let (low, high) = grid.outer();
        Self {
            counts: Counts::zeros(grid.bins()),
            low: vec![0; low],
            high: vec![0; high],
            sum: 0,
            squares: 0,
            anomalies: Anomalies::default(),
        }
    }

    /// Counts the values of the given rows of an Arrow column.
    pub fn observe(
        &mut self,
        grid: &Grid,
        column: &Float64Array,
        rows: impl Iterator<Item = usize>,
        scratch: &mut NumericScratch,
    ) {
        let values = column.values();
        scratch.values.clear();
        scratch.values.reserve(rows.size_hint().0);
        match column.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => rows.for_each(|row| self.sort_out(values[row], &mut scratch.values)),
            Some(nulls) => {
                for row in rows {
                    if nulls.is_null(row) {
                        self.anomalies.missing += 1;
                    } else {
                        self.sort_out(values[row], &mut scratch.values);
                    }
                }
            }
        }
        self.count_finite(grid, scratch);
    }

    /// Counts values that may be NaN or infinite; missing ones are `None`.
    pub fn observe_values(
        &mut self,
        grid: &Grid,
        values: impl IntoIterator<Item = Option<f64>>,
        scratch: &mut NumericScratch,
    ) {
        scratch.values.clear();
        for value in values {
            match value {
                None => self.anomalies.missing += 1,
                Some(value) => self.sort_out(value, &mut scratch.values),
            }
        }
        self.count_finite(grid, scratch);
    }

    /// Adds another summary on the same grid.
    ///
    /// # Errors
    /// [`ShapeMismatch`] when the numbers of bins differ.
    pub fn merge(&mut self, other: &Self) -> Result<(), ShapeMismatch> {
        if self.counts.len() != other.counts.len() {
            return Err(ShapeMismatch);
        }
        self.counts.merge(&other.counts);
        self.low.iter_mut().zip(&other.low).for_each(|(mine, theirs)| *mine = mine.saturating_add(*theirs));
        self.high.iter_mut().zip(&other.high).for_each(|(mine, theirs)| *mine = mine.saturating_add(*theirs));
        self.sum = self.sum.saturating_add(other.sum);
        self.squares = self.squares.saturating_add(other.squares);
        self.anomalies.merge(&other.anomalies);
        Ok(())
    }

    /// Takes away a part that was added before.
    ///
    /// # Errors
    /// [`ShapeMismatch`] when the numbers of bins differ.
    pub(super) fn take_away(&mut self, part: &Self) -> Result<(), ShapeMismatch> {
        if self.counts.len() != part.counts.len() {
            return Err(ShapeMismatch);
        }
        self.counts.take_away(&part.counts);
        self.low.iter_mut().zip(&part.low).for_each(|(mine, theirs)| *mine = mine.saturating_sub(*theirs));
        self.high.iter_mut().zip(&part.high).for_each(|(mine, theirs)| *mine = mine.saturating_sub(*theirs));
        self.sum = self.sum.saturating_sub(part.sum);
        self.squares = self.squares.saturating_sub(part.squares);
        self.anomalies.take_away(&part.anomalies);
        Ok(())
    }

    /// The sum of the values in bin `bin`, if it is an outer one.
    pub fn bin_sum(&self, grid: &Grid, bin: usize) -> Option<f64> {
        let from_end = self.counts.len().checked_sub(bin + 1)?;
        let sum = match self.low.get(bin) {
            Some(sum) => *sum,
            None => *self.high.get(self.high.len().checked_sub(from_end + 1)?)?,
        };
        Some(grid.fixed().decode_sum(sum, self.counts.get(bin)))
    }

    /// The mean of all values.
    pub fn mean(&self, grid: &Grid) -> Option<f64> {
        let n = self.counts.total();
        (n > 0).then(|| grid.fixed().decode_sum(self.sum, n) / n as f64)
    }

    /// The standard deviation of all values, with n - 1.
    pub fn standard_deviation(&self, grid: &Grid) -> Option<f64> {
        let n = self.counts.total() as f64;
        if n < 2.0 {
            return None;
        }
        let z = FixedPoint::decode_z(self.sum);
        let variance = (FixedPoint::decode_squares(self.squares) - z * z / n) / (n - 1.0);
        Some(variance.max(0.0).sqrt() * grid.fixed().scale)
    }

    /// Bytes this summary takes, on the heap and itself.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.counts.heap_bytes() + (self.low.capacity() + self.high.capacity()) * 16
    }

    fn sort_out(&mut self, value: f64, finite: &mut Vec<f64>) {
        if value.is_finite() {
            finite.push(value);
        } else if is_wrong_type(value) {
            self.anomalies.wrong_type += 1;
        } else if value.is_nan() {
            self.anomalies.nan += 1;
        } else if value > 0.0 {
            self.anomalies.positive_infinity += 1;
        } else {
            self.anomalies.negative_infinity += 1;
        }
    }

    fn count_finite(&mut self, grid: &Grid, scratch: &mut NumericScratch) {
        let NumericScratch { values, bins, counts } = scratch;
        grid.bins_of(values, bins);
        counts.clear();
        counts.resize(grid.bins(), 0);
        let (low, high) = (self.low.len(), self.high.len());
        let first_high = grid.bins() - high;
        let inner = first_high - low;
        let fixed = grid.fixed();
        let (mut sum, mut squares) = (0i128, 0i128);
        for (&value, &bin) in values.iter().zip(bins.iter()) {
            let bin = bin as usize;
            counts[bin] += 1;
            let encoded = fixed.encode(value);
            sum += i128::from(encoded);
            squares += i128::from(fixed.encode_square(value));
            // One comparison for both ends: inner bins are the common case.
            if bin.wrapping_sub(low) >= inner {
                let outer = if bin < low { &mut self.low[bin] } else { &mut self.high[bin - first_high] };
                *outer = outer.saturating_add(i128::from(encoded));
            }
        }
        self.sum = self.sum.saturating_add(sum);
        self.squares = self.squares.saturating_add(squares);
        self.counts.add_slice(counts);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grid(edges: Vec<f64>) -> Grid {
        Grid::try_new(edges, FixedPoint { centre: 1.0, scale: 2.0 }).expect("valid grid")
    }

    #[test]
    fn a_point_bin_holds_its_value_and_nothing_else() {
        let grid = grid(vec![0.0_f64.next_down(), 0.0, 5.0_f64.next_down(), 5.0, 9.0]);
        assert_eq!(grid.bin(-1.0), 0);
        assert_eq!(grid.bin(0.0), 1);
        assert_eq!(grid.bin(-0.0), 1);
        assert_eq!(grid.bin(4.9), 2);
        assert_eq!(grid.bin(5.0), 3);
        assert_eq!(grid.bin(5.0_f64.next_up()), 4);
        assert_eq!(grid.bin(9.1), 5);
    }

    #[test]
    fn values_that_are_no_values_are_counted_apart() {
        let grid = grid(vec![0.0, 1.0]);
        let mut summary = NumericSummary::empty(&grid);
        let values = [
            None,
            Some(f64::NAN),
            Some(crate::event::wrong_type()),
            Some(f64::INFINITY),
            Some(f64::NEG_INFINITY),
            Some(0.5),
        ];
        summary.observe_values(&grid, values, &mut NumericScratch::default());
        let expected =
            Anomalies { missing: 1, nan: 1, positive_infinity: 1, negative_infinity: 1, wrong_type: 1 };
        assert_eq!(summary.anomalies, expected);
        assert_eq!(summary.counts.total(), 1);
    }

    #[test]
    fn one_pane_of_a_full_grid_stays_under_two_kibibytes() {
        let grid = grid((0..269).map(f64::from).collect());
        assert!(NumericSummary::empty(&grid).bytes() < 2048, "{}", NumericSummary::empty(&grid).bytes());
    }

    #[test]
    fn rounding_is_that_of_the_standard_library() {
        let halves = (-40..40).map(|n| f64::from(n) / 2.0);
        let powers = (0..63).flat_map(|exponent| {
            let power = 2.0_f64.powi(exponent);
            [power - 0.5, power, power + 0.5, power.next_down(), power.next_up()]
        });
        for x in halves.chain(powers).chain([0.5_f64.next_down(), 0.5_f64.next_up(), -0.0]) {
            assert_eq!((rounded(x), rounded(-x)), (x.round() as i64, (-x).round() as i64), "{x}");
        }
    }

    proptest! {
        #[test]
        fn rounding_agrees_everywhere(bits in any::<u64>()) {
            let x = f64::from_bits(bits);
            prop_assert_eq!(rounded(x), x.round() as i64);
        }

        #[test]
        fn the_search_counts_the_edges_below(
            mut edges in prop::collection::vec(-1e6..1e6f64, 0..300),
            values in prop::collection::vec(-2e6..2e6f64, 0..50),
        ) {
            edges.sort_by(f64::total_cmp);
            edges.dedup();
            let grid = grid(edges.clone());
            let mut bins = Vec::new();
            grid.bins_of(&values, &mut bins);
            for (value, bin) in values.iter().zip(bins) {
                let expected = edges.partition_point(|edge| edge < value);
                prop_assert_eq!(bin as usize, expected);
                prop_assert_eq!(grid.bin(*value), expected);
            }
        }

        #[test]
        fn merging_is_exact_in_any_order(values in prop::collection::vec(-1e9..1e9f64, 1..200), cut in 0usize..200) {
            let grid = grid((0..60).map(|k| f64::from(k) * 1e7 - 3e8).collect());
            let scratch = &mut NumericScratch::default();
            let of = |part: &[f64], scratch: &mut NumericScratch| {
                let mut summary = NumericSummary::empty(&grid);
                summary.observe_values(&grid, part.iter().copied().map(Some), scratch);
                summary
            };
            let cut = cut.min(values.len());
            let whole = of(&values, scratch);
            let (left, right) = (of(&values[..cut], scratch), of(&values[cut..], scratch));
            let mut forth = left.clone();
            forth.merge(&right).expect("same grid");
            let mut back = right;
            back.merge(&left).expect("same grid");
            prop_assert_eq!(&whole, &forth);
            prop_assert_eq!(&whole, &back);
            let mut with_empty = whole.clone();
            with_empty.merge(&NumericSummary::empty(&grid)).expect("same grid");
            prop_assert_eq!(whole, with_empty);
        }
    }
}

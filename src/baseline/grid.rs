//! Places the bins of a numeric column: equal mass inside, single values where they weigh enough, ever
//! smaller bins towards the ends.

use super::sample::Sample;
use crate::summary::{FixedPoint, Grid, GridError};

/// Bins of equal mass, if there are rows enough.
pub const BINS: u64 = 256;

/// At least so many training rows a bin: below that the bins' own shares are mostly noise.
const ROWS_PER_BIN: u64 = 20;

/// Fewest bins of equal mass.
const BINS_MIN: u64 = 8;

/// The outermost tail bin holds this many training rows or more.
const TAIL_ROWS_MIN: u64 = 8;

/// A column's bins with what is worth knowing about them.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) grid: Grid,
    /// Whether the column has one value only, or none.
    pub(super) is_constant: bool,
}

/// Places bins by a sample of the column.
///
/// With `K` = `bins`, or if that is not said 256, or a twentieth of the rows if that is less: a value with a share of `1/K` or more gets
/// a point bin; if there are at most `K` distinct values, all do. The other values get bins of equal mass,
/// `K` in all. The first and last are split at ranks `m/K · 2^-j` down to eight rows. The first edge is
/// just below the smallest value and the last is the largest, so that what lies outside the training
/// range is counted apart.
///
/// # Errors
/// Never for finite values; the grid checks itself.
pub(super) fn place(sample: Sample, bins: Option<u64>) -> Result<Placed, GridError> {
    let (mean, deviation) = sample.moments();
    let fixed = FixedPoint {
        centre: if mean.is_finite() { mean } else { 0.0 },
        scale: if deviation.is_finite() && deviation > 0.0 { deviation } else { 1.0 },
    };
    let sorted = sample.finish();
    let (Some(&min), Some(&max)) = (sorted.low.first(), sorted.high.first()) else {
        return Ok(Placed { grid: Grid::try_new(Vec::new(), fixed)?, is_constant: true });
    };
    let usual = (sorted.n / ROWS_PER_BIN).clamp(BINS_MIN, BINS);
    let bins = bins.unwrap_or(usual).max(1);
    let (atoms, rest) = split_atoms(&sorted.sample, bins);
    let mut edges = vec![min.next_down(), max];
    for atom in &atoms {
        edges.extend([atom.next_down(), *atom]);
    }
    let share = rest.len() as f64 / sorted.sample.len().max(1) as f64;
    let rest_bins = ((bins as f64 * share).round() as usize).max(1);
    edges.extend((1..rest_bins).filter_map(|bin| rest.get((rest.len() * bin / rest_bins).saturating_sub(1))));
    edges.extend(tail_edges(&sorted.low, &sorted.high, sorted.n, bins));
    edges.retain(|edge| edge.is_finite() && *edge >= min.next_down() && *edge <= max);
    edges.sort_by(f64::total_cmp);
    edges.dedup();
    let grid = Grid::try_new(edges, fixed)?;
    Ok(Placed { grid, is_constant: min == max })
}

/// Takes the values that weigh enough for a bin of their own out of an ascending sample.
fn split_atoms(sample: &[f64], bins: u64) -> (Vec<f64>, Vec<f64>) {
    let runs: Vec<&[f64]> = sample.chunk_by(|a, b| a == b).collect();
    let all = runs.len() as u64 <= bins;
    let weighs = |run: &[f64]| run.len() as u64 * bins >= sample.len() as u64 && run.len() > 1;
    let (atoms, rest): (Vec<&[f64]>, Vec<&[f64]>) = runs.into_iter().partition(|run| all || weighs(run));
    (atoms.into_iter().filter_map(|run| run.first().copied()).collect(), rest.concat())
}

/// Edges at ranks `n/bins · 2^-j` from both ends.
fn tail_edges(low: &[f64], high: &[f64], n: u64, bins: u64) -> Vec<f64> {
    let mut edges = Vec::new();
    let mut rows = n / bins / 2;
    while rows >= TAIL_ROWS_MIN {
        if let Ok(rank) = usize::try_from(rows) {
            // Bins are closed on the right: this many values lie at or below the low edge, and above the
            // high one.
            edges.extend(low.get(rank - 1));
            edges.extend(high.get(rank));
        }
        rows /= 2;
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::{NumericScratch, NumericSummary};

    fn placed(values: &[f64]) -> (Placed, NumericSummary) {
        let mut sample = Sample::new(1);
        for (row, value) in values.iter().enumerate() {
            sample.push(Sample::row_hash(row as u64), *value);
        }
        let placed = place(sample, None).expect("finite values");
        let mut summary = NumericSummary::empty(&placed.grid);
        summary.observe_values(
            &placed.grid,
            values.iter().copied().map(Some),
            &mut NumericScratch::default(),
        );
        (placed, summary)
    }

    #[test]
    fn bins_hold_equal_shares_and_the_ends_ever_less() {
        let values: Vec<f64> = (0..51_200).map(|k| f64::from((k * 7919) % 51_200)).collect();
        let (placed, summary) = placed(&values);
        let counts: Vec<u64> = summary.counts.iter().collect();
        assert_eq!((counts[0], counts[counts.len() - 1]), (0, 0), "nothing of the training lies outside");
        let inner = &counts[8..counts.len() - 8];
        assert!(inner.iter().all(|count| (190..=210).contains(count)), "{inner:?}");
        assert!(counts[1] >= 8 && counts[1] < 25, "{}", counts[1]);
        assert!((256..=275).contains(&placed.grid.bins()), "{}", placed.grid.bins());
    }

    #[test]
    fn heavy_values_and_small_sets_get_bins_of_their_own() {
        let values: Vec<f64> = (0..20_000).map(|k| if k % 2 == 0 { 0.0 } else { f64::from(k) }).collect();
        let (found, summary) = placed(&values);
        assert_eq!(summary.counts.get(found.grid.bin(0.0)), 10_000);
        let dice: Vec<f64> = (0..600).map(|k| f64::from(k % 6)).collect();
        let (found, summary) = placed(&dice);
        assert!((0..6).all(|face| summary.counts.get(found.grid.bin(f64::from(face))) == 100));
    }

    #[test]
    fn one_value_or_none_is_a_grid_too() {
        let (found, summary) = placed(&[5.0; 100]);
        assert!(found.is_constant);
        assert_eq!(summary.counts.get(found.grid.bin(5.0)), 100);
        assert!(placed(&[]).0.is_constant);
        let (extremes, _) = placed(&[f64::MAX, f64::MIN, 0.0, -0.0]);
        assert!(!extremes.is_constant);
    }
}

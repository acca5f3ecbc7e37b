//! Two samples as counts in the same cells: what the distances between discrete distributions and the
//! tests of homogeneity compare.
//!
//! A categorical column's cells are its counts, one a name (and one a bucket of rare names); unseen
//! names are cells of their own as long as the summary can tell them all apart, else one cell.
//!
//! A numeric column's cells are groups of bins, built from the reference alone: sixteen of nearly equal
//! mass in order, but a point bin with a sixteenth or more of the mass is a group of its own; then the
//! underflow, the overflow, and one group for all bins inside the range in which the reference has
//! nothing. Missing values are no cell: the test `missing` has them.
//!
//! Invariant: cells that are empty in both samples are left out; both vectors have one length.

use super::law::Tail;
use super::numeric::Numeric;
use super::{NotTestable, Pair, Score};
use crate::summary::{CategoricalSummary, Categories, ColumnSummary, Shape};

/// Groups of nearly equal reference mass that a numeric column's bins are put into.
pub const GROUPS: u64 = 16;

/// Smallest expected count, in either sample, of a cell that the chi-squared law is trusted with. Below
/// it small cells make the law's tail too thin: with 1.9 expected, 4.6 times as many false alarms at 0.001.
pub const EXPECTED_MIN: f64 = 10.0;

/// The counts of two samples in the same cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cells {
    pub(super) reference: Vec<u64>,
    pub(super) current: Vec<u64>,
    /// Whether neighbouring cells are near each other, so that pooling joins neighbours.
    ordered: bool,
}

impl Cells {
    /// The cells of a pair.
    ///
    /// # Errors
    /// `InsufficientData` below two values in either sample; `Degenerate` when all values of both are in
    /// one cell; `NotApplicable` when the summaries do not belong to the shape.
    pub(super) fn of(pair: &Pair<'_>) -> Result<Self, NotTestable> {
        pair.sizes(super::VALUES_MIN)?;
        let cells = match (pair.shape, pair.reference, pair.current) {
            (Shape::Numeric(_), _, _) => Self::of_groups(&pair.numeric()?),
            (
                Shape::Categorical(categories),
                ColumnSummary::Categorical(reference),
                ColumnSummary::Categorical(current),
            ) if [reference, current].iter().all(|side| side.counts.len() == categories.len()) => {
                Self::of_names(categories, reference, current)
            }
            _ => return Err(super::shape_mismatch()),
        };
        if cells.reference.len() < 2 {
            return Err(NotTestable::Degenerate {
                reason: "all values of both samples are in one cell".to_owned(),
            });
        }
        Ok(cells)
    }

    fn of_names(
        categories: &Categories,
        reference: &CategoricalSummary,
        current: &CategoricalSummary,
    ) -> Self {
        let mut cells = Self { reference: Vec::new(), current: Vec::new(), ordered: false };
        let unseen = categories.unseen();
        for index in 0..unseen {
            cells.push(reference.counts.get(index), current.counts.get(index));
        }
        let told = |side: &CategoricalSummary| {
            side.unseen.values().map(|(_, count)| u128::from(*count)).sum::<u128>()
                == u128::from(side.counts.get(unseen))
        };
        if told(reference) && told(current) {
            let mut hashes: Vec<u64> =
                reference.unseen.keys().chain(current.unseen.keys()).copied().collect();
            hashes.sort_unstable();
            hashes.dedup();
            let count =
                |side: &CategoricalSummary, hash| side.unseen.get(hash).map_or(0, |(_, count)| *count);
            hashes.iter().for_each(|hash| cells.push(count(reference, hash), count(current, hash)));
        } else {
            cells.push(reference.counts.get(unseen), current.counts.get(unseen));
        }
        cells
    }

    fn of_groups(numeric: &Numeric<'_>) -> Self {
        let mut cells = Self { reference: Vec::new(), current: Vec::new(), ordered: true };
        let group_of = groups(numeric);
        let groups = group_of.iter().max().map_or(0, |last| last + 1);
        let (mut reference, mut current) = (vec![0u64; groups], vec![0u64; groups]);
        for (bin, &group) in group_of.iter().enumerate() {
            reference[group] = reference[group].saturating_add(numeric.reference.counts.get(bin));
            current[group] = current[group].saturating_add(numeric.current.counts.get(bin));
        }
        reference.iter().zip(&current).for_each(|(&b, &a)| cells.push(b, a));
        cells
    }

    fn push(&mut self, reference: u64, current: u64) {
        if reference > 0 || current > 0 {
            self.reference.push(reference);
            self.current.push(current);
        }
    }

    /// Joins cells until each is expected to hold at least [`EXPECTED_MIN`] in either sample: neighbours
    /// where cells are ordered, else all small cells together. The choice rests on the sums over both
    /// samples only, so that the law given those sums stays what it was. May leave a single cell.
    pub(super) fn pooled(&self) -> Self {
        let (m, n) = (total(&self.reference), total(&self.current));
        let needed = EXPECTED_MIN * (n + m) / n.min(m);
        let sums: Vec<f64> =
            self.reference.iter().zip(&self.current).map(|(&b, &a)| b as f64 + a as f64).collect();
        let joined = if self.ordered { join_neighbours(&sums, needed) } else { join_small(&sums, needed) };
        let cells = joined.iter().max().map_or(0, |last| last + 1);
        let mut pooled = Self { reference: vec![0; cells], current: vec![0; cells], ordered: self.ordered };
        for (cell, &to) in joined.iter().enumerate() {
            pooled.reference[to] = pooled.reference[to].saturating_add(self.reference[cell]);
            pooled.current[to] = pooled.current[to].saturating_add(self.current[cell]);
        }
        pooled
    }

    /// A score of a distance whose value `scaled` by n_eff is chi-squared with cells − 1 degrees of freedom.
    /// The statistic is that of the cells as they are, the p-value that of the [`pooled`](Self::pooled) ones;
    /// there is none when fewer than two are left.
    pub(super) fn score(&self, pair: &Pair<'_>, distance: Distance, scaled: fn(f64, f64) -> f64) -> Score {
        let score = pair.score(distance(&self.reference, &self.current));
        let pooled = self.pooled();
        if pooled.reference.len() < 2 {
            return score;
        }
        let n_eff = n_eff(total(&self.reference), total(&self.current));
        let degrees = pooled.reference.len() as f64 - 1.0;
        let statistic = scaled(distance(&pooled.reference, &pooled.current), n_eff);
        let score = score.with_p_value(super::law::chi_squared_tail(statistic, degrees));
        if pooled.reference.len() == self.reference.len() {
            return score;
        }
        let (before, after) = (self.reference.len(), pooled.reference.len());
        score.with_detail(format!("p-value after pooling {before} cells to {after}"))
    }

    /// The exact p-value of the largest cell's share, the largest by the sum over both samples. It serves
    /// where pooling leaves one cell: in tiny samples, and where one cell holds nearly everything.
    pub(super) fn largest_against_rest(&self) -> Tail {
        let cells = self.reference.iter().zip(&self.current);
        let largest = cells.max_by_key(|(b, a)| u128::from(**b) + u128::from(**a));
        let sum = |counts: &[u64]| counts.iter().fold(0u64, |sum, &count| sum.saturating_add(count));
        let (m, n) = (sum(&self.reference), sum(&self.current));
        largest.map_or(Tail::certain(), |(&b, &a)| super::law::rates_differ_tail(a, n, b, m))
    }
}

/// The cells that the p-value of [`g`](super::g) is taken from: reference and current, joined until each is
/// expected to hold [`EXPECTED_MIN`] in either sample. May be a single cell.
///
/// # Errors
/// As those tests.
pub fn pooled_cells(pair: &Pair<'_>) -> Result<(Vec<u64>, Vec<u64>), NotTestable> {
    let Cells { reference, current, .. } = Cells::of(pair)?.pooled();
    Ok((reference, current))
}

/// A distance of two count vectors, the reference first.
pub(super) type Distance = fn(&[u64], &[u64]) -> f64;

/// The sum of counts; exact up to 2^53, rounded beyond.
pub(super) fn total(counts: &[u64]) -> f64 {
    counts.iter().map(|&count| count as f64).sum()
}

/// n·m/(n+m): the size of a single sample with the variance of the difference of two; 0 if one is empty.
pub(super) fn n_eff(m: f64, n: f64) -> f64 {
    if n > 0.0 && m > 0.0 { n / (1.0 + n / m) } else { 0.0 }
}

/// Pairs of shares (reference, current), nothing where a sample is empty.
pub(super) fn shares<'a>(
    reference: &'a [u64],
    current: &'a [u64],
) -> impl Iterator<Item = (f64, f64)> + use<'a> {
    let (m, n) = (total(reference), total(current));
    let both = m > 0.0 && n > 0.0;
    reference.iter().zip(current).filter(move |_| both).map(move |(&b, &a)| (b as f64 / m, a as f64 / n))
}

/// Pairs of shares (reference, current) after half a count is added to every cell of both samples.
pub(super) fn smoothed_shares<'a>(
    reference: &'a [u64],
    current: &'a [u64],
) -> impl Iterator<Item = (f64, f64)> + use<'a> {
    let extra = reference.len().min(current.len()) as f64 / 2.0;
    let (m, n) = (total(reference) + extra, total(current) + extra);
    reference.iter().zip(current).map(move |(&b, &a)| ((b as f64 + 0.5) / m, (a as f64 + 0.5) / n))
}

/// ln(a/b) of positive numbers, without loss when they are near each other.
pub(super) fn ln_ratio(a: f64, b: f64) -> f64 {
    let excess = (a - b) / b;
    if excess.abs() < 0.5 { excess.ln_1p() } else { (a / b).ln() }
}

/// The group of each bin, from the reference alone: underflow, groups in order, overflow, gaps.
fn groups(numeric: &Numeric<'_>) -> Vec<usize> {
    let counts: Vec<f64> = numeric.reference.counts.iter().map(|count| count as f64).collect();
    let last = counts.len() - 1;
    let inside = 1..last;
    let sixteen = GROUPS as f64;
    let mass: f64 = counts.iter().take(last).skip(1).sum();
    let large: Vec<bool> = counts
        .iter()
        .enumerate()
        .map(|(bin, count)| count * sixteen >= mass && numeric.is_point(bin))
        .collect();
    let rest: f64 = inside.clone().filter(|&bin| !large[bin]).map(|bin| counts[bin]).sum();
    // As many groups for the rest as its share of the sixteen, and at least one.
    let per_count = (rest * sixteen / mass.max(1.0)).round().max(1.0) / rest.max(1.0);
    let (mut group, mut open, mut seen) = (0, false, 0.0);
    let mut of = vec![0; counts.len()];
    for bin in inside.clone().filter(|&bin| counts[bin] > 0.0) {
        group += usize::from(large[bin] || !open);
        of[bin] = group;
        if large[bin] {
            open = false;
            continue;
        }
        let part = (seen * per_count).floor();
        seen += counts[bin];
        // A group ends with the bin that reaches the next part; half a count of slack is for rounding.
        open = ((seen + 0.5) * per_count).floor() == part;
    }
    if last > 0 {
        of[last] = group + 1;
    }
    inside.filter(|&bin| counts[bin] == 0.0).for_each(|bin| of[bin] = group + 2);
    of
}

fn join_neighbours(sums: &[f64], needed: f64) -> Vec<usize> {
    let (mut cell, mut held) = (0, 0.0);
    let mut joined = Vec::with_capacity(sums.len());
    for sum in sums {
        joined.push(cell);
        held += sum;
        if held >= needed {
            cell += 1;
            held = 0.0;
        }
    }
    // What is left at the end joins the last full cell.
    let last_full = usize::saturating_sub(cell, 1);
    joined.iter_mut().for_each(|to| *to = last_full.min(*to));
    joined
}

fn join_small(sums: &[f64], needed: f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sums.len()).collect();
    order.sort_by(|&left, &right| sums[left].total_cmp(&sums[right]).then(left.cmp(&right)));
    let mut joined = vec![0; sums.len()];
    let (mut cell, mut held) = (0, 0.0);
    for index in order {
        // The first cell takes all that is small, and more until it is large enough itself.
        if held >= needed && sums[index] >= needed {
            cell += 1;
            held = 0.0;
        }
        joined[index] = cell;
        held += sums[index];
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(reference: &[u64], current: &[u64], ordered: bool) -> Cells {
        Cells { reference: reference.to_vec(), current: current.to_vec(), ordered }
    }

    #[test]
    fn neighbours_are_joined_until_each_cell_is_large() {
        let pooled = cells(&[0, 50, 50, 50, 3], &[2, 50, 50, 50, 0], true).pooled();
        assert_eq!(pooled.reference, [50, 50, 53]);
        assert_eq!(pooled.current, [52, 50, 50]);
    }

    #[test]
    fn all_small_names_make_one_cell() {
        let pooled = cells(&[100, 3, 90, 2, 20, 4], &[100, 3, 90, 2, 20, 4], false).pooled();
        assert_eq!(pooled.reference, [29, 90, 100]);
    }

    #[test]
    fn tiny_samples_are_pooled_into_one_cell() {
        for ordered in [true, false] {
            let pooled = cells(&[1, 2, 3], &[3, 2, 1], ordered).pooled();
            assert_eq!((pooled.reference, pooled.current), (vec![6], vec![6]));
        }
    }

    #[test]
    fn large_cells_are_left_alone() {
        for ordered in [true, false] {
            let before = cells(&[30, 40, 50], &[35, 45, 55], ordered);
            assert_eq!(before.pooled(), before);
        }
    }
}

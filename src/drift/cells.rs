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
//! Cells too small for the chi-squared law are joined; where that leaves one cell, the largest cell is tested
//! against the rest by the exact law of two rates. That is never wrong more often than it says, takes
//! microseconds, and can give a p-value as small as an alarm of a model with many columns needs. Drawing
//! tables with the same margins would use every cell, but no p-value below one over the number of draws can
//! come from it, and the draws would be made for every small window of every column.
//!
//! Invariant: cells that are empty in both samples are left out; both vectors have one length.

use super::bins::{Bins, total};
use super::law::Tail;
use super::{NotTestable, Pair, Score};
use crate::summary::{CategoricalSummary, Categories, ColumnSummary, Shape};

/// Groups of nearly equal reference mass that a numeric column's bins are put into.
pub const GROUPS: u64 = 16;

/// Smallest expected count, in either sample, of a cell that the chi-squared law is trusted with. Below
/// it small cells make the law's tail too thin: with 1.9 expected, 4.6 times as many false alarms at 0.001.
pub const EXPECTED_MIN: f64 = 10.0;

/// Counts of two samples in the same cells, exact up to 2^53.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    pub(super) reference: Vec<f64>,
    pub(super) current: Vec<f64>,
    /// Their sums.
    pub(super) m: f64,
    pub(super) n: f64,
}

/// The counts of two samples in the same cells.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cells {
    pub(super) table: Table,
    /// The cells that p-values are taken from, where they are not these.
    pooled: Option<Box<Pooled>>,
}

/// Cells after small ones were joined.
#[derive(Debug, Clone, PartialEq)]
struct Pooled {
    table: Table,
    remark: String,
}

impl Table {
    /// Of counts in the same cells.
    pub(super) fn new(reference: Vec<f64>, current: Vec<f64>) -> Self {
        let (m, n) = (total(&reference), total(&current));
        Self { reference, current, m, n }
    }

    /// Of whole counts.
    pub(super) fn of_counts(reference: &[u64], current: &[u64]) -> Self {
        Self::new(floats(reference), floats(current))
    }

    /// Number of cells.
    pub(super) fn len(&self) -> usize {
        self.reference.len()
    }

    /// Pairs of counts (reference, current).
    pub(super) fn counts(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.reference.iter().zip(&self.current).map(|(b, a)| (*b, *a))
    }

    /// Pairs of shares (reference, current), nothing where a sample is empty.
    pub(super) fn shares(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let (m, n) = (self.m, self.n);
        let both = m > 0.0 && n > 0.0;
        self.counts().filter(move |_| both).map(move |(b, a)| (b / m, a / n))
    }

    /// Pairs of shares (reference, current) after half a count is added to every cell of both samples.
    pub(super) fn smoothed_shares(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let extra = self.reference.len().min(self.current.len()) as f64 / 2.0;
        let (m, n) = (self.m + extra, self.n + extra);
        self.counts().map(move |(b, a)| ((b + 0.5) / m, (a + 0.5) / n))
    }
}

impl Cells {
    /// The cells of a pair. [`Pair::cells`] keeps them.
    ///
    /// # Errors
    /// `InsufficientData` below two values in either sample; `Degenerate` when all values of both are in
    /// one cell; `NotApplicable` when the summaries do not belong to the shape.
    pub(super) fn of(pair: &Pair<'_>) -> Result<Self, NotTestable> {
        pair.sizes(super::VALUES_MIN)?;
        let (table, ordered) = match (pair.shape, pair.reference, pair.current) {
            (Shape::Numeric(_), _, _) => (of_groups(pair.bins()?), true),
            (
                Shape::Categorical(categories),
                ColumnSummary::Categorical(reference),
                ColumnSummary::Categorical(current),
            ) if [reference, current].iter().all(|side| side.counts.len() == categories.len()) => {
                (of_names(categories, reference, current), false)
            }
            _ => return Err(super::shape_mismatch()),
        };
        if table.len() < 2 {
            return Err(NotTestable::Degenerate {
                reason: "all values of both samples are in one cell".to_owned(),
            });
        }
        let pooled = pool(&table, ordered).map(Box::new);
        Ok(Self { table, pooled })
    }

    /// A score of a distance whose value `scaled` by n_eff is chi-squared with cells − 1 degrees of freedom.
    /// The statistic is that of the cells as they are, the p-value that of the cells after small ones were
    /// joined; there is none when fewer than two are left.
    pub(super) fn score(&self, pair: &Pair<'_>, distance: Distance, scaled: fn(f64, f64) -> f64) -> Score {
        let plain = distance(&self.table);
        let score = pair.score(plain);
        let n_eff = n_eff(self.table.m, self.table.n);
        let p_value = |distance: f64, cells: usize| {
            super::law::chi_squared_tail(scaled(distance, n_eff), cells as f64 - 1.0)
        };
        match &self.pooled {
            None => score.with_p_value(p_value(plain, self.table.len())),
            Some(pooled) if pooled.table.len() < 2 => score,
            Some(pooled) => {
                let joined = distance(&pooled.table);
                score.with_p_value(p_value(joined, pooled.table.len())).with_detail(&pooled.remark)
            }
        }
    }

    /// The exact p-value of the largest cell's share, the largest by the sum over both samples. It serves
    /// where pooling leaves one cell: in tiny samples, and where one cell holds nearly everything.
    pub(super) fn largest_against_rest(&self) -> Tail {
        let cells = self.table.counts();
        let largest = cells.max_by(|left, right| (left.0 + left.1).total_cmp(&(right.0 + right.1)));
        // Whole numbers that were counts: what is beyond the largest count is cut to it.
        let (m, n) = (self.table.m as u64, self.table.n as u64);
        largest.map_or(Tail::certain(), |(b, a)| super::law::rates_differ_tail(a as u64, n, b as u64, m))
    }
}

fn of_names(categories: &Categories, reference: &CategoricalSummary, current: &CategoricalSummary) -> Table {
    let mut cells = Collected::with_capacity(categories.len());
    let unseen = categories.unseen();
    let counts = reference.counts.iter().zip(current.counts.iter()).take(unseen);
    counts.for_each(|(before, now)| cells.push(before as f64, now as f64));
    let told = |side: &CategoricalSummary| {
        side.unseen.values().map(|(_, count)| u128::from(*count)).sum::<u128>()
            == u128::from(side.counts.get(unseen))
    };
    if told(reference) && told(current) {
        let mut hashes: Vec<u64> = reference.unseen.keys().chain(current.unseen.keys()).copied().collect();
        hashes.sort_unstable();
        hashes.dedup();
        let count =
            |side: &CategoricalSummary, hash| side.unseen.get(hash).map_or(0.0, |(_, count)| *count as f64);
        hashes.iter().for_each(|hash| cells.push(count(reference, hash), count(current, hash)));
    } else {
        cells.push(reference.counts.get(unseen) as f64, current.counts.get(unseen) as f64);
    }
    cells.table()
}

/// Groups of bins, from the reference alone: underflow, groups in order, overflow, gaps.
fn of_groups(bins: &Bins) -> Table {
    // Sixteen groups, what is beyond, the gaps, and a few atoms.
    let mut cells = Collected::with_capacity(24);
    let ([under, inside @ .., over], [now_under, now_inside @ .., now_over]) =
        (bins.reference.as_slice(), bins.current.as_slice())
    else {
        return cells.table();
    };
    let spread = bins.spread.get(1..).unwrap_or(&[]);
    let sixteen = GROUPS as f64;
    let mass = total(inside);
    let is_large = |spread: f64, count: f64| spread == 0.0 && count * sixteen >= mass;
    let large = inside.iter().zip(spread).filter(|(count, spread)| is_large(**spread, **count));
    let rest = mass - large.map(|(count, _)| count).sum::<f64>();
    // As many groups for the rest as its share of the sixteen, and at least one.
    let per_count = (rest * sixteen / mass.max(1.0)).round().max(1.0) / rest.max(1.0);
    let part = |seen: f64| (seen * per_count) as u64;
    cells.push(*under, *now_under);
    let (mut group, mut gaps, mut open, mut seen) = ((0.0, 0.0), (0.0, 0.0), false, 0.0);
    for ((&reference, &current), &spread) in inside.iter().zip(now_inside).zip(spread) {
        if reference == 0.0 {
            gaps.1 += current;
            continue;
        }
        let large = is_large(spread, reference);
        if large || !open {
            cells.push(group.0, group.1);
            group = (0.0, 0.0);
        }
        group = (group.0 + reference, group.1 + current);
        if large {
            open = false;
            continue;
        }
        let before = part(seen);
        seen += reference;
        // A group ends with the bin that reaches the next part; half a count of slack is for rounding.
        open = part(seen + 0.5) == before;
    }
    cells.push(group.0, group.1);
    cells.push(*over, *now_over);
    cells.push(gaps.0, gaps.1);
    cells.table()
}

/// Cells as they are made; those that are empty in both samples are left out.
struct Collected {
    reference: Vec<f64>,
    current: Vec<f64>,
}

impl Collected {
    fn with_capacity(cells: usize) -> Self {
        Self { reference: Vec::with_capacity(cells), current: Vec::with_capacity(cells) }
    }

    fn push(&mut self, reference: f64, current: f64) {
        if reference > 0.0 || current > 0.0 {
            self.reference.push(reference);
            self.current.push(current);
        }
    }

    fn table(self) -> Table {
        Table::new(self.reference, self.current)
    }
}

/// Joins cells until each is expected to hold at least [`EXPECTED_MIN`] in either sample: neighbours
/// where cells are `ordered`, else all small cells together. The choice rests on the sums over both
/// samples only, so that the law given those sums stays what it was. May leave a single cell.
/// `None` where no cell has to be joined.
fn pool(table: &Table, ordered: bool) -> Option<Pooled> {
    let (m, n) = (table.m, table.n);
    let needed = EXPECTED_MIN * (n + m) / n.min(m);
    if table.counts().all(|(b, a)| b + a >= needed) {
        return None;
    }
    let sums: Vec<f64> = table.counts().map(|(b, a)| b + a).collect();
    let joined = if ordered { join_neighbours(&sums, needed) } else { join_small(&sums, needed) };
    let cells = joined.iter().max().map_or(0, |last| last + 1);
    let (mut reference, mut current) = (vec![0.0; cells], vec![0.0; cells]);
    for ((b, a), &to) in table.counts().zip(&joined) {
        reference[to] += b;
        current[to] += a;
    }
    let remark = format!("p-value after pooling {} cells to {cells}", table.len());
    Some(Pooled { table: Table::new(reference, current), remark })
}

/// The cells that the p-value of [`g`](fn@super::g) is taken from: reference and current, joined until each is
/// expected to hold [`EXPECTED_MIN`] in either sample. May be a single cell.
///
/// # Errors
/// As those tests.
pub fn pooled_cells(pair: &Pair<'_>) -> Result<(Vec<u64>, Vec<u64>), NotTestable> {
    let cells = pair.cells()?;
    let table = cells.pooled.as_ref().map_or(&cells.table, |pooled| &pooled.table);
    // Whole numbers that were counts.
    let whole = |counts: &[f64]| counts.iter().map(|count| *count as u64).collect();
    Ok((whole(&table.reference), whole(&table.current)))
}

/// A distance of two samples.
pub(super) type Distance = fn(&Table) -> f64;

/// Counts as doubles.
pub(super) fn floats(counts: &[u64]) -> Vec<f64> {
    counts.iter().map(|&count| count as f64).collect()
}

/// n·m/(n+m): the size of a single sample with the variance of the difference of two; 0 if one is empty.
pub(super) fn n_eff(m: f64, n: f64) -> f64 {
    if n > 0.0 && m > 0.0 { n / (1.0 + n / m) } else { 0.0 }
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

    fn pooled(reference: &[u64], current: &[u64], ordered: bool) -> Option<Table> {
        pool(&Table::of_counts(reference, current), ordered).map(|pooled| pooled.table)
    }

    #[test]
    fn neighbours_are_joined_until_each_cell_is_large() {
        let pooled = pooled(&[0, 50, 50, 50, 3], &[2, 50, 50, 50, 0], true).expect("there is a small cell");
        assert_eq!(pooled.reference, [50.0, 50.0, 53.0]);
        assert_eq!(pooled.current, [52.0, 50.0, 50.0]);
    }

    #[test]
    fn all_small_names_make_one_cell() {
        let pooled =
            pooled(&[100, 3, 90, 2, 20, 4], &[100, 3, 90, 2, 20, 4], false).expect("there is a small cell");
        assert_eq!(pooled.reference, [29.0, 90.0, 100.0]);
    }

    #[test]
    fn tiny_samples_are_pooled_into_one_cell() {
        for ordered in [true, false] {
            let pooled = pooled(&[1, 2, 3], &[3, 2, 1], ordered).expect("there is a small cell");
            assert_eq!((pooled.reference, pooled.current), (vec![6.0], vec![6.0]));
        }
    }

    #[test]
    fn large_cells_are_left_alone() {
        for ordered in [true, false] {
            assert_eq!(pooled(&[30, 40, 50], &[35, 45, 55], ordered), None);
        }
    }
}

//! What a changed window looks like: the training shares, some of them moved.

use crate::baseline::Column;
use crate::summary::{ColumnSummary, Counts, Grid, Shape};

/// Where fewer values than this share lie outside single-valued bins, all values are taken as points.
const CONTINUOUS_MIN: f64 = 0.05;

/// The training distribution of a numeric column, ready to be shifted.
///
/// A column of real numbers, or one that mixes a few frequent values with real numbers: values in bins of
/// their own (the zeros of a zero-inflated column) stay what they are, all others move by the same amount,
/// and within a bin they are spread evenly. So the mean moves by that amount times their share.
///
/// A column of points (whole numbers, booleans): every value moves by the same amount; what then lies between
/// two of the column's values is split between them so that the mean is kept, and nothing moves past the
/// smallest or largest value.
pub(super) struct Movable {
    /// Share of each bin.
    pub(super) shares: Vec<f64>,
    kind: Kind,
    range: f64,
}

enum Kind {
    /// Edges, the share that moves and lies up to each edge, and the share in each bin that stays.
    Real { edges: Vec<f64>, below: Vec<f64>, stays: Vec<f64> },
    /// Bin, value and share of each held bin, ascending.
    Points(Vec<(usize, f64, f64)>),
}

impl Movable {
    /// Reads a column's counts.
    ///
    /// # Errors
    /// Why the column cannot be shifted, for people.
    pub(super) fn of(grid: &Grid, counts: &Counts) -> Result<Self, String> {
        let edges = grid.edges();
        let total = counts.total() as f64;
        let (Some(first), Some(last)) = (edges.first(), edges.last()) else {
            return Err("the training data have no values".to_owned());
        };
        if total <= 0.0 {
            return Err("the training data have no values".to_owned());
        }
        let range = last - first;
        let shares: Vec<f64> = counts.iter().map(|count| count as f64 / total).collect();
        let held = shares.iter().filter(|share| **share > 0.0).count();
        if !range.is_finite() {
            return Err("the values are too far apart for a shift to be a number".to_owned());
        }
        if held < 2 {
            return Err(
                "the training data have one value only; other values are seen by `overflow`".to_owned()
            );
        }
        let kind = Self::real(edges, &shares).unwrap_or_else(|| Self::points(edges, &shares));
        Ok(Self { shares, kind, range })
    }

    fn real(edges: &[f64], shares: &[f64]) -> Option<Kind> {
        let mut below = Vec::with_capacity(edges.len());
        let mut stays = vec![0.0; shares.len()];
        let mut sum = 0.0;
        for (bin, share) in shares.iter().enumerate() {
            let low = bin.checked_sub(1).and_then(|index| edges.get(index));
            let moves = matches!((low, edges.get(bin)), (Some(low), Some(high)) if low.next_up() < *high);
            if moves {
                sum += share;
            } else if let Some(stays) = stays.get_mut(bin) {
                *stays = *share;
            }
            below.push(sum);
        }
        below.truncate(edges.len());
        (sum >= CONTINUOUS_MIN).then(|| Kind::Real { edges: edges.to_vec(), below, stays })
    }

    fn points(edges: &[f64], shares: &[f64]) -> Kind {
        let value = |bin: usize| {
            let high = edges.get(bin).or(edges.last()).copied().unwrap_or(0.0);
            let low = bin.checked_sub(1).and_then(|index| edges.get(index)).copied().unwrap_or(high);
            if low.next_up() >= high { high } else { low + (high - low) / 2.0 }
        };
        let held = shares.iter().enumerate().filter(|(_, share)| **share > 0.0);
        Kind::Points(held.map(|(bin, share)| (bin, value(bin), *share)).collect())
    }

    /// The farthest that values are moved: past the training range.
    pub(super) fn farthest(&self) -> f64 {
        self.range
    }

    /// The shares after values moved by `by`, and how far the mean moved.
    pub(super) fn moved(&self, by: f64) -> (Vec<f64>, f64) {
        match &self.kind {
            Kind::Real { edges, below, stays } => {
                let moving = below.last().copied().unwrap_or(0.0);
                (shifted(edges, below, stays, by), by * moving)
            }
            Kind::Points(points) => stepped(points, self.shares.len(), by),
        }
    }
}

/// The shares of the bins after the moving part went up by `by`: what lies up to an edge now lay up to that
/// edge less `by` before.
fn shifted(edges: &[f64], below: &[f64], stays: &[f64], by: f64) -> Vec<f64> {
    let all = below.last().copied().unwrap_or(0.0);
    let mut at = 0;
    let mut before = 0.0;
    let mut shares = stays.to_vec();
    for (bin, share) in shares.iter_mut().enumerate() {
        let up_to = match edges.get(bin) {
            None => all,
            Some(edge) => {
                let edge = edge - by;
                while edges.get(at).is_some_and(|known| *known < edge) {
                    at += 1;
                }
                between(edges, below, at, edge)
            }
        };
        *share += f64::max(up_to - before, 0.0);
        before = f64::max(before, up_to);
    }
    shares
}

/// The share up to `x`, which lies above edge `at` − 1 and not above edge `at`.
fn between(edges: &[f64], below: &[f64], at: usize, x: f64) -> f64 {
    let low = at.checked_sub(1).and_then(|index| Some((*edges.get(index)?, *below.get(index)?)));
    let high = edges.get(at).copied().zip(below.get(at).copied());
    match (low, high) {
        (Some((left, share)), Some((right, other))) => {
            share + (other - share) * ((x - left) / (right - left))
        }
        (Some((_, share)), None) => share,
        // All that moves lies above the first edge.
        (None, _) => 0.0,
    }
}

/// The shares of the bins after every point went up by `by`, and how far the mean went.
fn stepped(points: &[(usize, f64, f64)], bins: usize, by: f64) -> (Vec<f64>, f64) {
    let mut shares = vec![0.0; bins];
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return (shares, 0.0) };
    let mut mean = 0.0;
    for (_, value, share) in points {
        let target = (value + by).clamp(first.1, last.1);
        mean += share * (target - value);
        let above = points.partition_point(|(_, known, _)| *known < target);
        let high = points.get(above).unwrap_or(last);
        let low = above.checked_sub(1).and_then(|index| points.get(index)).unwrap_or(first);
        let part = if high.1 > low.1 { (target - low.1) / (high.1 - low.1) } else { 1.0 };
        for (bin, moved) in [(low.0, share * (1.0 - part)), (high.0, share * part)] {
            if let Some(share) = shares.get_mut(bin) {
                *share += moved;
            }
        }
    }
    (shares, mean)
}

/// The training shares of a categorical column, ready to move some between its most frequent category and
/// the others.
pub(super) struct MostFrequent {
    shares: Vec<f64>,
    frequent: usize,
    /// Share of the most frequent category.
    pub(super) share: f64,
}

impl MostFrequent {
    /// Reads a column's counts.
    ///
    /// # Errors
    /// Why nothing can move, for people.
    pub(super) fn of(column: &Column) -> Result<Self, String> {
        let (Shape::Categorical(_), ColumnSummary::Categorical(summary)) = (&column.shape, &column.summary)
        else {
            return Err("the column has no categories".to_owned());
        };
        let total = summary.counts.total() as f64;
        let shares: Vec<f64> = summary.counts.iter().map(|count| count as f64 / total.max(1.0)).collect();
        let frequent = shares.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        match frequent {
            Some((frequent, &share)) if share > 0.0 => Ok(Self { shares, frequent, share }),
            _ => Err("the training data have no values".to_owned()),
        }
    }

    /// The most that can move: all of it away from a category with half or more, else all others to it.
    pub(super) fn room(&self) -> f64 {
        if self.loses() { self.share } else { 1.0 - self.share }
    }

    /// The most frequent category's share once all has moved.
    pub(super) fn end(&self) -> f64 {
        if self.loses() { 0.0 } else { 1.0 }
    }

    fn loses(&self) -> bool {
        self.share >= 0.5
    }

    /// The shares after `by` moved. Others gain or lose in proportion; where there are none, what the only
    /// category loses goes to names that the training data never had.
    pub(super) fn moved(&self, by: f64) -> Vec<f64> {
        let rest = 1.0 - self.share;
        let signed = if self.loses() { -by } else { by };
        let last = self.shares.len().saturating_sub(1);
        let has_others =
            self.shares.iter().enumerate().any(|(at, share)| at != self.frequent && *share > 0.0);
        let moved = |(at, share): (usize, &f64)| {
            if at == self.frequent {
                (share + signed).clamp(0.0, 1.0)
            } else if has_others {
                share * ((rest - signed) / rest).max(0.0)
            } else if at == last {
                by
            } else {
                0.0
            }
        };
        self.shares.iter().enumerate().map(moved).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::FixedPoint;

    fn movable(edges: Vec<f64>, counts: Vec<u64>) -> Movable {
        let grid = Grid::try_new(edges, FixedPoint { centre: 0.0, scale: 1.0 }).expect("edges ascend");
        Movable::of(&grid, &Counts::from_wide(counts)).expect("there are values")
    }

    fn close(got: &[f64], want: &[f64]) {
        assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-12), "{got:?} is not {want:?}");
    }

    #[test]
    fn real_numbers_move_and_leave_the_range() {
        let movable = movable(vec![0.0, 1.0, 2.0], vec![0, 50, 50, 0]);
        let (shares, mean) = movable.moved(0.5);
        close(&shares, &[0.0, 0.25, 0.5, 0.25]);
        assert_eq!(mean, 0.5);
        close(&movable.moved(-2.5).0, &[1.0, 0.0, 0.0, 0.0]);
        close(&movable.moved(0.0).0, &movable.shares);
    }

    #[test]
    fn a_frequent_value_stays_while_the_others_move() {
        let movable = movable(vec![0.0_f64.next_down(), 0.0, 1.0, 2.0], vec![0, 60, 20, 20, 0]);
        let (shares, mean) = movable.moved(1.0);
        close(&shares, &[0.0, 0.6, 0.0, 0.2, 0.2]);
        assert!((mean - 0.4).abs() < 1e-12);
    }

    #[test]
    fn points_are_split_between_their_neighbours() {
        let edges = [0.0_f64, 1.0, 3.0].into_iter().flat_map(|value| [value.next_down(), value]).collect();
        let movable = movable(edges, vec![0, 50, 0, 30, 0, 20, 0]);
        let (shares, mean) = movable.moved(0.5);
        // Half of the zeros become ones, a quarter of the ones threes; the threes have nowhere to go.
        close(&shares, &[0.0, 0.25, 0.0, 0.25 + 0.225, 0.0, 0.2 + 0.075, 0.0]);
        assert!((mean - 0.4).abs() < 1e-12);
        close(&movable.moved(-10.0).0, &[0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }
}

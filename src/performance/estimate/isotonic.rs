//! Isotonic regression of a label on a score: the non-decreasing curve with the least squared error.

/// The rows of one score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// The score.
    pub score: f64,
    /// Rows that came true.
    pub positives: u64,
    /// Rows that did not.
    pub negatives: u64,
}

/// A run of scores that have one probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Block {
    first: f64,
    last: f64,
    positives: u64,
    rows: u64,
}

impl Block {
    /// Share of its rows that came true.
    pub(super) fn share(&self) -> f64 {
        self.positives as f64 / self.rows.max(1) as f64
    }

    /// Variance of that share: binomial, the share of a block without positives or negatives taken to be half
    /// a row from its end, for that it is 0 or 1 is chance.
    pub(super) fn variance(&self) -> f64 {
        let rows = self.rows.max(1) as f64;
        let share = self.share().clamp(0.5 / (rows + 1.0), 1.0 - 0.5 / (rows + 1.0));
        share * (1.0 - share) / rows
    }
}

/// The blocks that a score lies in or between, with their weights, which add up to 1.
pub(super) type Mix = [(usize, f64); 2];

/// A fitted curve.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Isotonic {
    blocks: Vec<Block>,
}

impl Isotonic {
    /// Fits the curve to points in ascending order of distinct scores; those without rows say nothing.
    ///
    /// Pool-adjacent-violators: whenever a block has a smaller share of positives than the one before it, the
    /// two are joined. O(points), and exact, for the counts are integers.
    ///
    /// Source: Barlow, Bartholomew, Bremner and Brunk 1972, "Statistical Inference under Order Restrictions".
    pub fn fit(points: impl IntoIterator<Item = Point>) -> Self {
        let mut blocks: Vec<Block> = Vec::new();
        for point in points {
            let rows = point.positives.saturating_add(point.negatives);
            if rows == 0 {
                continue;
            }
            let mut next = Block { first: point.score, last: point.score, positives: point.positives, rows };
            while let Some(before) = blocks.pop_if(|before| !rises(before, &next)) {
                next.first = before.first;
                next.positives = next.positives.saturating_add(before.positives);
                next.rows = next.rows.saturating_add(before.rows);
            }
            blocks.push(next);
        }
        Self { blocks }
    }

    /// The probability of a score: that of its block, between two blocks by linear interpolation, beyond the
    /// first and last one that of the block. NaN without rows.
    pub fn probability(&self, score: f64) -> f64 {
        if self.blocks.is_empty() {
            return f64::NAN;
        }
        let share = |place: usize| self.blocks.get(place).map_or(0.0, Block::share);
        self.mix(score).iter().map(|(place, weight)| weight * share(*place)).sum()
    }

    /// What a score's probability is made of.
    pub(super) fn mix(&self, score: f64) -> Mix {
        let at = self.blocks.partition_point(|block| block.last < score);
        let last = self.blocks.len().saturating_sub(1);
        let (Some(before), Some(after)) = (at.checked_sub(1), self.blocks.get(at)) else {
            return [(at.min(last), 1.0), (at.min(last), 0.0)];
        };
        let start = self.blocks.get(before).map_or(after.first, |block| block.last);
        if score >= after.first {
            return [(at, 1.0), (before, 0.0)];
        }
        let way = (score - start) / (after.first - start);
        [(before, 1.0 - way), (at, way)]
    }

    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks
    }
}

/// Whether the share of positives rises from one block to the next, in integers.
fn rises(before: &Block, after: &Block) -> bool {
    let product = |positives: u64, rows: u64| u128::from(positives) * u128::from(rows);
    product(before.positives, after.rows) < product(after.positives, before.rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(f64, u64, u64)]) -> Isotonic {
        Isotonic::fit(points.iter().map(|&(score, positives, negatives)| Point {
            score,
            positives,
            negatives,
        }))
    }

    #[test]
    fn violators_are_pooled_and_the_curve_never_falls() {
        let curve = curve(&[(0.1, 1, 3), (0.2, 0, 4), (0.5, 3, 1), (0.7, 1, 1), (0.9, 4, 0)]);
        let shares: Vec<f64> = curve.blocks().iter().map(Block::share).collect();
        assert_eq!(shares, [0.125, 4.0 / 6.0, 1.0]);
    }

    #[test]
    fn a_score_between_blocks_is_interpolated_and_beyond_them_clipped() {
        let curve = curve(&[(0.2, 0, 4), (0.4, 2, 2), (0.6, 2, 2)]);
        assert_eq!(curve.probability(0.0), 0.0);
        assert!((curve.probability(0.3) - 0.25).abs() < 1e-15);
        assert_eq!(curve.probability(0.5), 0.5);
        assert_eq!(curve.probability(9.0), 0.5);
    }

    #[test]
    fn points_without_rows_say_nothing() {
        assert!(curve(&[(0.5, 0, 0)]).probability(0.5).is_nan());
        assert_eq!(curve(&[(0.1, 1, 0), (0.5, 0, 0)]).probability(0.7), 1.0);
    }
}

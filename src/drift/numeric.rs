//! Two samples as counts on one grid: what the tests of numeric columns compare.
//!
//! Invariant: both summaries have a count for each bin of the grid.

use super::NotTestable;
use super::cells::total;
use crate::summary::{FixedPoint, Grid, NumericSummary};

/// Two summaries on one grid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numeric<'a> {
    pub(super) grid: &'a Grid,
    pub(super) reference: &'a NumericSummary,
    pub(super) current: &'a NumericSummary,
}

/// The share of each sample in a bin.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Share {
    pub(super) reference: f64,
    pub(super) current: f64,
}

impl Numeric<'_> {
    /// The shares of each bin; all zero for an empty sample.
    pub(super) fn shares(&self) -> Vec<Share> {
        let reference: Vec<u64> = self.reference.counts.iter().collect();
        let current: Vec<u64> = self.current.counts.iter().collect();
        let (m, n) = (total(&reference).max(1.0), total(&current).max(1.0));
        reference
            .iter()
            .zip(&current)
            .map(|(&b, &a)| Share { reference: b as f64 / m, current: a as f64 / n })
            .collect()
    }

    /// The counts of both samples: reference, current.
    pub(super) fn counts(&self) -> (Vec<u64>, Vec<u64>) {
        (self.reference.counts.iter().collect(), self.current.counts.iter().collect())
    }

    /// Whether a bin holds one value only. The grid gives such bins to values with a large share.
    pub(super) fn is_point(&self, bin: usize) -> bool {
        let edges = self.grid.edges();
        let below = bin.checked_sub(1).and_then(|index| edges.get(index));
        matches!((below, edges.get(bin)), (Some(low), Some(high)) if low.next_up() >= *high)
    }

    /// Refuses a reference that has one value only: every other value is then `overflow`'s business.
    ///
    /// # Errors
    /// `Degenerate` when the reference has values in one bin only and that is a point bin.
    pub(super) fn refuse_one_value(&self) -> Result<(), NotTestable> {
        let mut held = (0..self.grid.bins()).filter(|&bin| self.reference.counts.get(bin) > 0);
        match (held.next(), held.next()) {
            (Some(only), None) if self.is_point(only) => Err(NotTestable::Degenerate {
                reason: "the baseline has one value only; other values are tested by `overflow`".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// The sum over a sample's values x in `bin` of `edge` − x, divided by the sample's size, if the bin
    /// is summed. Taken between standardised numbers, so that a large common offset costs no digits.
    pub(super) fn mean_below(
        &self,
        sample: &NumericSummary,
        bin: usize,
        edge: f64,
        size: f64,
    ) -> Option<f64> {
        let from_end = sample.counts.len().checked_sub(bin + 1)?;
        let sum = match sample.low.get(bin) {
            Some(sum) => *sum,
            None => *sample.high.get(sample.high.len().checked_sub(from_end + 1)?)?,
        };
        let fixed = self.grid.fixed();
        let edge = (edge - fixed.centre) / fixed.scale;
        let count = sample.counts.get(bin) as f64;
        Some(fixed.scale * (count * edge - FixedPoint::decode_z(sum)) / size)
    }
}

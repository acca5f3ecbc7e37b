//! Two samples as counts on one grid: what the tests of numeric columns compare. Their bins are in
//! [`bins`](super::bins).
//!
//! Invariant: both summaries have a count for each bin of the grid.

use crate::summary::{FixedPoint, Grid, NumericSummary};

/// Two summaries on one grid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numeric<'a> {
    pub(super) grid: &'a Grid,
    pub(super) reference: &'a NumericSummary,
    pub(super) current: &'a NumericSummary,
    /// Values of the reference and of the current sample.
    pub(super) values: (u64, u64),
}

impl Numeric<'_> {
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

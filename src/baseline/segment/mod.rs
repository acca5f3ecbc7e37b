//! The training rows of one value of the segment column: all of them, and by pane of event time.
//!
//! `survey.rs` chooses the values that are told apart, `count.rs` counts their rows.
//!
//! A segment that is by nature different from the whole must be compared with its own training rows. Panes
//! of segments are many and sparse, so they are kept encoded, which takes a few bytes for each bin that
//! holds a row, and decoded when they are asked for.

mod count;
mod survey;

pub(super) use count::SegmentCounting;
pub(super) use survey::{SegmentPlan, SegmentSurvey};

use super::count::PANES_MAX;
use crate::event::Timestamp;
use crate::summary::ModelSummary;

/// Segments told apart if nothing else is said.
pub const SEGMENTS_MAX: usize = 100;

/// Segments told apart whatever is said.
pub(super) const SEGMENTS_LIMIT: usize = 10_000;

/// Panes of all segments together. Over it the smallest segments keep their totals only.
pub const CELLS_MAX: usize = 2 * PANES_MAX;

/// The training rows of one segment.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// The value of the segment column, as events name it; [`OTHER_SEGMENT`](crate::event::OTHER_SEGMENT)
    /// for all values over the limit.
    pub name: String,
    /// The counts of all its rows.
    pub total: ModelSummary,
    /// Start and encoded counts of each pane that holds rows, ascending.
    panes: Vec<(Timestamp, Box<[u8]>)>,
}

impl Segment {
    /// A segment with its panes, which ascend and lie on the grid of the baseline's reference.
    pub fn new(
        name: String,
        total: ModelSummary,
        panes: impl IntoIterator<Item = (Timestamp, ModelSummary)>,
    ) -> Self {
        let encoded = |(start, pane): (Timestamp, ModelSummary)| (start, pane.encode().into_boxed_slice());
        Self { name, total, panes: panes.into_iter().map(encoded).collect() }
    }

    /// Number of training rows.
    pub fn rows(&self) -> u64 {
        self.total.rows.events
    }

    /// Start and counts of each pane that holds rows, ascending; on the same grid as the baseline's
    /// reference. None without timestamps, or if the segment was too small for the limit on panes. Each
    /// is decoded when it is reached.
    pub fn panes(&self) -> impl Iterator<Item = (Timestamp, ModelSummary)> + '_ {
        // The bytes were written by `encode`, or decoded once when they were read: none is left out.
        self.panes.iter().filter_map(|(start, bytes)| Some((*start, ModelSummary::decode(bytes).ok()?)))
    }

    /// Lets go of the panes.
    pub(super) fn drop_panes(&mut self) {
        self.panes = Vec::new();
    }

    /// Number of panes.
    pub fn panes_len(&self) -> usize {
        self.panes.len()
    }

    /// A segment from a file; whoever reads it has decoded the panes and checked them.
    pub(super) fn from_encoded(
        name: String,
        total: ModelSummary,
        panes: Vec<(Timestamp, Box<[u8]>)>,
    ) -> Self {
        Self { name, total, panes }
    }

    /// Start and encoded counts of each pane.
    pub(super) fn encoded(&self) -> &[(Timestamp, Box<[u8]>)] {
        &self.panes
    }
}

//! The first pass over the segment column: which of its values are told apart, and which panes there are.

use std::cell::Cell as Shared;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use super::super::count::PANES_MAX;
use super::super::naming::Naming;
use super::super::read::{Cells, Chunk};
use super::super::survey::NameCounts;
use super::super::times::Times;
use super::SEGMENTS_LIMIT;
use crate::event::{OTHER_SEGMENT, Timestamp};

/// What was seen of the segment column so far.
pub(in crate::baseline) struct SegmentSurvey {
    column: String,
    names: NameCounts,
    times: Option<Times>,
    /// The starts of the newest panes.
    panes: BTreeSet<Timestamp>,
}

/// Which segments there will be.
#[derive(Debug)]
pub(in crate::baseline) struct SegmentPlan {
    /// The segment column.
    pub(super) column: String,
    /// How its text becomes names.
    pub(super) naming: Naming,
    /// The values told apart, the one with most rows first.
    pub(super) names: Vec<String>,
    /// How many further values were seen.
    pub(super) others: usize,
    /// Whether there were more values than could be counted.
    pub(super) is_open: bool,
    /// The starts of the newest panes. They are known before rows are counted, so that which segments keep
    /// their panes does not depend on the order of the rows.
    pub(super) panes: BTreeSet<Timestamp>,
}

impl SegmentSurvey {
    /// Nothing seen yet of this column.
    pub(in crate::baseline) fn new(column: &str, times: Option<Times>) -> Self {
        // The names of features have their own memory: whether a segment is counted must not hang on theirs.
        let names = NameCounts::within(&Rc::new(Shared::new(0)));
        Self { column: column.to_owned(), names, times, panes: BTreeSet::new() }
    }

    /// Looks at the rows of a chunk.
    pub(in crate::baseline) fn take(&mut self, chunk: &Chunk) {
        let cells = cells_of(chunk, &self.column);
        (0..chunk.rows).for_each(|row| self.names.take(cells.get(row)));
        let Some(times) = &self.times else { return };
        let mut recent = None;
        for time in times.of(chunk).into_iter().flatten() {
            let start = times.pane_of(time);
            if recent.replace(start) != Some(start)
                && self.panes.insert(start)
                && self.panes.len() > PANES_MAX
            {
                self.panes.pop_first();
            }
        }
    }

    /// Chooses at most `segments_max` values, those with most rows; equal ones by name.
    pub(in crate::baseline) fn plan(self, naming: Naming, segments_max: usize) -> SegmentPlan {
        let is_open = self.names.is_open();
        let named: HashMap<String, u64> = self.names.renamed(naming);
        let mut ranked: Vec<(String, u64)> =
            named.into_iter().filter(|(name, _)| name != OTHER_SEGMENT).collect();
        ranked.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let kept = ranked.len().min(segments_max.clamp(1, SEGMENTS_LIMIT));
        let others = ranked.len() - kept;
        ranked.truncate(kept);
        SegmentPlan {
            column: self.column,
            naming,
            names: ranked.into_iter().map(|(name, _)| name).collect(),
            others,
            is_open,
            panes: self.panes,
        }
    }
}

/// The cells of a column by its name; JSON lines may bring it only in a later chunk.
pub(super) fn cells_of<'c>(chunk: &'c Chunk, column: &str) -> &'c Cells {
    let place = chunk.header.iter().position(|name| **name == *column);
    place.and_then(|place| chunk.columns.get(place)).unwrap_or(&Cells::Skipped)
}

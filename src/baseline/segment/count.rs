//! The last pass: counts the rows of each segment, all of them and by pane.

use std::collections::{BTreeMap, HashMap};

use super::super::count::{Counter, PANES_BYTES_MAX, Ready};
use super::super::read::Chunk;
use super::survey::cells_of;
use super::{CELLS_MAX, Segment, SegmentPlan};
use crate::event::{OTHER_SEGMENT, Timestamp, WRONG_TYPE_NAME};
use crate::summary::ModelSummary;

/// What the totals of all segments may take; a very wide table tells fewer of them apart. The service holds
/// them as well.
const TOTALS_BYTES_MAX: usize = 256 << 20;

/// A count by segment that is under way. Segments are numbered by size, the largest first; the one of all
/// further values comes last.
pub(in crate::baseline) struct SegmentCounting {
    plan: SegmentPlan,
    numbers: HashMap<String, usize>,
    totals: Vec<ModelSummary>,
    /// The panes of each segment.
    cells: Vec<BTreeMap<Timestamp, ModelSummary>>,
    cells_len: usize,
    cells_max: usize,
    /// So many segments, the largest, keep their panes.
    with_panes: usize,
    /// Panes that start before this are not kept.
    oldest: Option<Timestamp>,
}

impl SegmentCounting {
    /// A count of these segments. A summary takes `bytes`, and the reference has at most `panes_max` panes.
    pub(in crate::baseline) fn new(
        mut plan: SegmentPlan,
        counter: &Counter,
        bytes: usize,
        panes_max: usize,
    ) -> Self {
        let fit = (TOTALS_BYTES_MAX / bytes).max(1);
        plan.others += plan.names.len().saturating_sub(fit);
        plan.names.truncate(fit);
        let numbers = plan.names.iter().cloned().zip(0..).collect();
        let segments = plan.names.len() + 1;
        Self {
            numbers,
            totals: vec![counter.empty(); segments],
            cells: vec![BTreeMap::new(); segments],
            cells_len: 0,
            cells_max: (PANES_BYTES_MAX / bytes).clamp(1, CELLS_MAX),
            with_panes: segments,
            oldest: plan.panes.iter().rev().nth(panes_max.saturating_sub(1)).copied(),
            plan,
        }
    }

    /// The names of the segments by their numbers.
    pub(in crate::baseline) fn names(&self) -> Vec<String> {
        self.plan.names.iter().cloned().chain([OTHER_SEGMENT.to_owned()]).collect()
    }

    /// Counts the rows of a chunk, which are given by pane as well, and gives the number of each row's segment.
    pub(in crate::baseline) fn take(
        &mut self,
        counter: &mut Counter,
        chunk: &Chunk,
        ready: &[Ready],
        by_pane: &BTreeMap<Timestamp, Vec<usize>>,
    ) -> Vec<Option<usize>> {
        let segments = self.segments_of(chunk);
        for (segment, rows) in by_segment(&segments, 0..chunk.rows) {
            if let Some(total) = self.totals.get_mut(segment) {
                counter.count(total, ready, || rows.iter().copied(), rows.len());
            }
        }
        for (start, rows) in by_pane {
            if self.oldest.is_some_and(|oldest| *start < oldest) {
                continue;
            }
            for (segment, rows) in by_segment(&segments, rows.iter().copied()) {
                self.take_cell(counter, ready, (segment, *start), &rows);
            }
        }
        segments
    }

    fn take_cell(
        &mut self,
        counter: &mut Counter,
        ready: &[Ready],
        (segment, start): (usize, Timestamp),
        rows: &[usize],
    ) {
        if segment >= self.with_panes {
            return;
        }
        let Some(panes) = self.cells.get_mut(segment) else { return };
        let summary = panes.entry(start).or_insert_with(|| {
            self.cells_len += 1;
            counter.empty()
        });
        counter.count(summary, ready, || rows.iter().copied(), rows.len());
        self.drop_smallest();
    }

    /// The panes of a segment are dropped when those of it and of all larger ones are over the limit: cells
    /// only become more, so the outcome is that of the final numbers, whatever the order of the rows.
    fn drop_smallest(&mut self) {
        while self.with_panes > 0 && self.cells_len > self.cells_max {
            self.with_panes -= 1;
            if let Some(panes) = self.cells.get_mut(self.with_panes) {
                self.cells_len -= panes.len();
                panes.clear();
            }
        }
    }

    /// The segment of each row of a chunk; `None` where the value is missing, or is an array or object, of
    /// which events make no segment either.
    fn segments_of(&self, chunk: &Chunk) -> Vec<Option<usize>> {
        let cells = cells_of(chunk, &self.plan.column);
        let other = self.plan.names.len();
        let segment = |row| match self.plan.naming.name(cells.get(row))? {
            name if name == WRONG_TYPE_NAME => None,
            name => Some(self.numbers.get(name.as_ref()).copied().unwrap_or(other)),
        };
        (0..chunk.rows).map(segment).collect()
    }

    /// The segments that have rows, by name.
    pub(in crate::baseline) fn finish(self, notes: &mut Vec<String>) -> Vec<Segment> {
        self.note(notes);
        let names = self.names();
        let counts = self.totals.into_iter().zip(self.cells);
        let mut segments: Vec<Segment> = names
            .into_iter()
            .zip(counts)
            .filter(|(_, (total, _))| total.rows.events > 0)
            .map(|(name, (total, panes))| Segment::new(name, total, panes))
            .collect();
        segments.sort_by(|a, b| a.name.cmp(&b.name));
        segments
    }

    fn note(&self, notes: &mut Vec<String>) {
        let SegmentPlan { column, names, others, is_open, .. } = &self.plan;
        let kept = names.len();
        if self.totals.iter().all(|total| total.rows.events == 0) {
            notes.push(format!("no row has a value in `{column}`: there are no segments"));
        }
        if *others > 0 {
            let number = if *is_open {
                "too many values to count".to_owned()
            } else {
                format!("{} values", kept + others)
            };
            notes.push(format!(
                "the segment column `{column}` has {number}: the {kept} commonest are told apart, the rows of \
                 the others count under {OTHER_SEGMENT}"
            ));
        }
        let filled = self.totals.iter().enumerate().filter(|(_, total)| total.rows.events > 0);
        let without = filled.filter(|(segment, _)| *segment >= self.with_panes).count();
        if without > 0 {
            notes.push(format!(
                "the segments have more than {} panes together: the {without} smallest keep their totals only",
                self.cells_max
            ));
        }
    }
}

fn by_segment(segments: &[Option<usize>], rows: impl Iterator<Item = usize>) -> BTreeMap<usize, Vec<usize>> {
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for row in rows {
        if let Some(segment) = segments.get(row).copied().flatten() {
            groups.entry(segment).or_default().push(row);
        }
    }
    groups
}

//! Counts the rows of a table on shapes that are already known: all of them, by pane of event time, and by
//! segment.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, Float64Array, StringArray};

use super::build::{BuildError, Watched};
use super::extremes::Outermost;
use super::naming::Naming;
use super::outcomes::{OutcomeCounting, OutcomePlan};
use super::read::{Cells, Chunk, Table};
use super::segment::{SegmentCounting, SegmentPlan};
use super::times::Times;
use super::{Extremes, Reference};
use crate::event::{Names, Role, Timestamp};
use crate::summary::{
    CategoricalSummary, CategoryIndex, ColumnSummary, Latency, ModelSummary, NumericScratch, NumericSummary,
    Rows, Shape,
};

/// Panes kept of the training rows' time, the newest.
pub const PANES_MAX: usize = 8_192;

/// So many times fewer rows than a chunk has names are counted one by one.
const FEW: usize = 4;

/// What all panes may take; a very wide table keeps fewer of them. The service holds them as well. While a
/// baseline is built, the panes of segments may take as much again.
pub(super) const PANES_BYTES_MAX: usize = 512 << 20;

/// The counts of a table on given columns.
#[derive(Debug)]
pub struct Counted {
    /// Rows of the table.
    pub rows: u64,
    /// The names of the table's columns.
    pub header: Vec<Arc<str>>,
    /// The counts, one entry a given column; all missing where the table has no column of that name.
    pub columns: Vec<ColumnSummary>,
}

/// Counts the rows of a table on the given columns, which are found by their names; a name may be given
/// more than once, with different shapes.
///
/// # Errors
/// [`BuildError::Read`] when the table cannot be read.
pub fn count_table(table: &dyn Table, columns: Vec<Watched>) -> Result<Counted, BuildError> {
    let names: Vec<Arc<str>> = columns.iter().map(|column| Arc::clone(&column.spec.name)).collect();
    let mut counting = Counting::new(columns, None, None, None);
    let mut header = table.header().map(|header| header.to_vec()).unwrap_or_default();
    let mut rows = 0;
    let wanted = |name: &str| names.iter().any(|column| **column == *name);
    for chunk in table.scan(&wanted)? {
        let chunk = chunk?;
        let place = |name| chunk.header.iter().position(|column| column == name).unwrap_or(usize::MAX);
        let sources: Vec<usize> = names.iter().map(place).collect();
        counting.take(&chunk, &sources);
        rows += chunk.rows as u64;
        header.extend(chunk.header.iter().skip(header.len()).cloned());
    }
    let Finished { total, .. } = counting.finish();
    Ok(Counted { rows, header, columns: total.columns })
}

/// A count of rows that is under way.
pub(super) struct Counting {
    counter: Counter,
    total: ModelSummary,
    timed: Option<Timed>,
    segments: Option<SegmentCounting>,
    outcomes: Option<OutcomeCounting>,
}

/// What was counted.
pub(super) struct Finished {
    pub(super) columns: Vec<Watched>,
    pub(super) total: ModelSummary,
    pub(super) timed: Option<Timed>,
    pub(super) segments: Option<SegmentCounting>,
    pub(super) outcomes: Option<OutcomeCounting>,
}

/// What stays the same while rows are counted.
pub(super) struct Counter {
    columns: Vec<Watched>,
    /// The index of a categorical column.
    indexes: Vec<Option<CategoryIndex>>,
    numeric: NumericScratch,
    names: Vec<u32>,
}

/// What the rows' time gives: panes, and the times of the outermost values.
pub(super) struct Timed {
    times: Times,
    panes: BTreeMap<Timestamp, ModelSummary>,
    panes_max: usize,
    untimed: u64,
    over_limit: u64,
    /// Panes that start before this were dropped.
    dropped_before: Option<Timestamp>,
    time_is_number: bool,
    /// One entry a column; `None` where it is not numeric.
    outermost: Vec<Option<Outermost>>,
}

/// A column's values of one chunk, ready to be counted by any selection of rows.
pub(super) enum Ready {
    Numbers(Float64Array),
    Names { values: StringArray, keys: Vec<i32>, missing: Vec<bool> },
}

impl Counting {
    /// A count on these columns; by pane and by segment, and of what came true, if that is wanted.
    pub(super) fn new(
        columns: Vec<Watched>,
        times: Option<Times>,
        segments: Option<SegmentPlan>,
        outcomes: Option<OutcomePlan>,
    ) -> Self {
        let indexes = columns
            .iter()
            .map(|column| match &column.shape {
                Shape::Categorical(categories) => Some(CategoryIndex::new(categories)),
                Shape::Numeric(_) => None,
            })
            .collect();
        let counter = Counter { columns, indexes, numeric: NumericScratch::default(), names: Vec::new() };
        let total = counter.empty();
        let bytes = bytes_of(&total);
        let panes_max = (PANES_BYTES_MAX / bytes).clamp(1, PANES_MAX);
        let timed = times.map(|times| Timed::new(times, panes_max, &counter));
        let segments = segments.map(|plan| SegmentCounting::new(plan, &counter, bytes, panes_max));
        let number = segments.as_ref().map_or(0, |segments: &SegmentCounting| segments.names().len());
        let outcomes = outcomes.map(|plan| OutcomeCounting::new(plan, number));
        Self { counter, total, timed, segments, outcomes }
    }

    /// Counts the rows of a chunk; `sources` says where in it each column is.
    pub(super) fn take(&mut self, chunk: &Chunk, sources: &[usize]) {
        let ready = self.counter.ready(chunk, sources);
        self.counter.count(&mut self.total, &ready, || 0..chunk.rows, chunk.rows);
        let by_pane = match &mut self.timed {
            Some(timed) => timed.take(&mut self.counter, chunk, &ready),
            None => BTreeMap::new(),
        };
        let of_rows = match &mut self.segments {
            Some(segments) => segments.take(&mut self.counter, chunk, &ready, &by_pane),
            None => Vec::new(),
        };
        if let Some(outcomes) = &mut self.outcomes {
            outcomes.take(&ready, chunk.rows, &by_pane, &of_rows);
        }
    }

    /// What was counted.
    pub(super) fn finish(self) -> Finished {
        let Self { counter, total, timed, segments, outcomes } = self;
        Finished { columns: counter.columns, total, timed, segments, outcomes }
    }
}

impl Counter {
    /// A summary of nothing.
    pub(super) fn empty(&self) -> ModelSummary {
        ModelSummary {
            rows: Rows::default(),
            latency: Latency::default(),
            columns: self.columns.iter().map(|column| column.shape.empty()).collect(),
        }
    }

    fn ready(&self, chunk: &Chunk, sources: &[usize]) -> Vec<Ready> {
        let columns = self.columns.iter().zip(sources);
        columns
            .map(|(column, source)| {
                let cells = chunk.columns.get(*source).unwrap_or(&Cells::Skipped);
                match column.shape {
                    Shape::Numeric(_) => Ready::Numbers(cells.to_numbers(chunk.rows)),
                    Shape::Categorical(_) => ready_names(cells, chunk.rows, column.naming),
                }
            })
            .collect()
    }

    /// Adds the given rows, `number` of them, to a summary.
    pub(super) fn count<I: Iterator<Item = usize>>(
        &mut self,
        summary: &mut ModelSummary,
        ready: &[Ready],
        rows: impl Fn() -> I,
        number: usize,
    ) {
        let columns = self.columns.iter().zip(&self.indexes).zip(ready).zip(&mut summary.columns);
        for (((column, index), values), counts) in columns {
            match (&column.shape, values, counts) {
                (Shape::Numeric(grid), Ready::Numbers(numbers), ColumnSummary::Numeric(counts)) => {
                    NumericSummary::observe(counts, grid, numbers, rows(), &mut self.numeric);
                }
                (
                    Shape::Categorical(categories),
                    Ready::Names { values, keys, missing },
                    ColumnSummary::Categorical(counts),
                ) => {
                    let Some(index) = index else { continue };
                    let absent = rows().filter(|row| missing.get(*row).copied().unwrap_or(true)).count();
                    let there = rows().filter(|row| missing.get(*row) == Some(&false));
                    counts.anomalies.missing += absent as u64;
                    if number < values.len() / FEW {
                        // Looking through all names of the chunk would cost more than each row by itself.
                        for key in there.filter_map(|row| usize::try_from(*keys.get(row)?).ok()) {
                            CategoricalSummary::add(counts, categories, index, values.value(key), 1);
                        }
                        continue;
                    }
                    let names = Names::new(values, keys);
                    CategoricalSummary::observe(counts, categories, index, names, there, &mut self.names);
                }
                _ => {}
            }
        }
        let number = number as u64;
        let has = |role| self.columns.iter().any(|column| column.spec.role == role);
        let Rows { events, features, predictions, labels } = &mut summary.rows;
        *events += number;
        *features += if has(Role::Feature) { number } else { 0 };
        *predictions += if has(Role::Prediction) || has(Role::Score) { number } else { 0 };
        *labels += if has(Role::Label) { number } else { 0 };
    }
}

impl Timed {
    fn new(times: Times, panes_max: usize, counter: &Counter) -> Self {
        let outermost = counter.columns.iter().map(|column| match column.shape {
            Shape::Numeric(_) => Some(Outermost::default()),
            Shape::Categorical(_) => None,
        });
        Self {
            outermost: outermost.collect(),
            times,
            panes: BTreeMap::new(),
            panes_max,
            untimed: 0,
            over_limit: 0,
            dropped_before: None,
            time_is_number: false,
        }
    }

    /// Counts the rows of a chunk and gives them by pane.
    fn take(
        &mut self,
        counter: &mut Counter,
        chunk: &Chunk,
        ready: &[Ready],
    ) -> BTreeMap<Timestamp, Vec<usize>> {
        let times = self.times.of(chunk);
        for (row, _) in times.iter().enumerate().filter(|(_, time)| time.is_none()) {
            self.untimed += 1;
            self.time_is_number = self.time_is_number || self.times.is_number(chunk, row);
        }
        for (outermost, values) in self.outermost.iter_mut().zip(ready) {
            if let (Some(outermost), Ready::Numbers(numbers)) = (outermost, values) {
                outermost.take(numbers, &times);
            }
        }
        let by_pane = self.times.by_pane(&times);
        for (start, rows) in &by_pane {
            if self.dropped_before.is_some_and(|before| *start < before) {
                self.over_limit += rows.len() as u64;
                continue;
            }
            let summary = self.panes.entry(*start).or_insert_with(|| counter.empty());
            counter.count(summary, ready, || rows.iter().copied(), rows.len());
            self.forget_oldest();
        }
        by_pane
    }

    fn forget_oldest(&mut self) {
        while self.panes.len() > self.panes_max {
            if let Some((start, summary)) = self.panes.pop_first() {
                self.over_limit += summary.rows.events;
                self.dropped_before = self.dropped_before.max(Some(start + self.times.pane));
            }
        }
    }

    /// The panes, and the outermost values of each column.
    ///
    /// # Errors
    /// [`BuildError::NoTime`] when no row's time could be read.
    pub(super) fn finish(
        self,
        notes: &mut Vec<String>,
    ) -> Result<(Reference, Vec<Option<Extremes>>), BuildError> {
        let name = self.times.column;
        if self.panes.is_empty() {
            return Err(BuildError::NoTime { name, numbers: self.time_is_number });
        }
        if self.untimed > 0 {
            notes.push(format!("{} rows have no time in `{name}`: they are in no pane", self.untimed));
        }
        if self.over_limit > 0 {
            notes.push(format!(
                "{} rows are older than the newest {} panes of {}: they are in no pane",
                self.over_limit, self.panes_max, self.times.pane
            ));
        }
        let reference = Reference {
            pane: self.times.pane,
            panes: self.panes.into_iter().collect(),
            rows_left_out: self.untimed + self.over_limit,
        };
        let extremes = self.outermost.into_iter().map(|column| column.map(Outermost::finish));
        Ok((reference, extremes.collect()))
    }
}

fn ready_names(cells: &Cells, rows: usize, naming: Naming) -> Ready {
    let mut known: HashMap<String, i32> = HashMap::new();
    let mut values: Vec<String> = Vec::new();
    let mut keys = Vec::with_capacity(rows);
    let mut missing = Vec::with_capacity(rows);
    for row in 0..rows {
        let name = naming.name(cells.get(row));
        missing.push(name.is_none());
        let key = name.map_or(0, |name| match known.get(name.as_ref()) {
            Some(key) => *key,
            None => {
                let key = i32::try_from(values.len()).unwrap_or(i32::MAX);
                known.insert(name.clone().into_owned(), key);
                values.push(name.into_owned());
                key
            }
        });
        keys.push(key);
    }
    Ready::Names { values: StringArray::from(values), keys, missing }
}

/// Bytes that a summary takes; never 0.
fn bytes_of(summary: &ModelSummary) -> usize {
    let columns = summary.columns.iter().map(|column| match column {
        ColumnSummary::Numeric(numeric) => numeric.bytes(),
        ColumnSummary::Categorical(names) => size_of::<CategoricalSummary>() + names.counts.heap_bytes(),
    });
    size_of::<ModelSummary>() + columns.sum::<usize>()
}

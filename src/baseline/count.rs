//! Counts the rows of a table on shapes that are already known, all of them and by pane of event time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Float64Array, StringArray};

use super::Reference;
use super::build::{BuildError, Watched};
use super::naming::Naming;
use super::read::{Cell, Cells, Chunk, Table};
use crate::event::decode::TimestampUnit;
use crate::event::{Names, Role, Span, Timestamp};
use crate::summary::{
    CategoricalSummary, CategoryIndex, ColumnSummary, Latency, ModelSummary, NumericScratch, NumericSummary,
    Rows, Shape,
};

/// Panes kept of the training rows' time, the newest.
pub const PANES_MAX: usize = 4_096;

/// What all panes may take; a very wide table keeps fewer of them. The service holds them as well.
const PANES_BYTES_MAX: usize = 512 << 20;

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
    let mut counting = Counting::new(columns, None);
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
    let (_, total, _) = counting.finish();
    Ok(Counted { rows, header, columns: total.columns })
}

/// A count of rows that is under way.
pub(super) struct Counting {
    counter: Counter,
    total: ModelSummary,
    panes: Option<Panes>,
}

/// What stays the same while rows are counted.
struct Counter {
    columns: Vec<Watched>,
    /// The index of a categorical column.
    indexes: Vec<Option<CategoryIndex>>,
    numeric: NumericScratch,
    names: Vec<u32>,
}

/// The rows' time cut into panes.
pub(super) struct Panes {
    source: usize,
    pane: Span,
    offset: Span,
    unit: Option<TimestampUnit>,
    panes: BTreeMap<Timestamp, ModelSummary>,
    panes_max: usize,
    untimed: u64,
    over_limit: u64,
    /// Panes that start before this were dropped.
    dropped_before: Option<Timestamp>,
    time_is_number: bool,
}

/// A column's values of one chunk, ready to be counted by any selection of rows.
enum Ready {
    Numbers(Float64Array),
    Names { values: StringArray, keys: Vec<i32>, missing: Vec<bool> },
}

impl Counting {
    /// A count on these columns, and by pane if that is wanted.
    pub(super) fn new(columns: Vec<Watched>, panes: Option<Panes>) -> Self {
        let indexes = columns
            .iter()
            .map(|column| match &column.shape {
                Shape::Categorical(categories) => Some(CategoryIndex::new(categories)),
                Shape::Numeric(_) => None,
            })
            .collect();
        let counter = Counter { columns, indexes, numeric: NumericScratch::default(), names: Vec::new() };
        let total = counter.empty();
        let panes_max = (PANES_BYTES_MAX / bytes_of(&total)).clamp(1, PANES_MAX);
        Self { total, counter, panes: panes.map(|panes| Panes { panes_max, ..panes }) }
    }

    /// Counts the rows of a chunk; `sources` says where in it each column is.
    pub(super) fn take(&mut self, chunk: &Chunk, sources: &[usize]) {
        let ready = self.counter.ready(chunk, sources);
        self.counter.count(&mut self.total, &ready, || 0..chunk.rows, chunk.rows);
        if let Some(panes) = &mut self.panes {
            panes.take(&mut self.counter, chunk, &ready);
        }
    }

    /// The columns, the counts of all rows, and the panes.
    pub(super) fn finish(self) -> (Vec<Watched>, ModelSummary, Option<Panes>) {
        (self.counter.columns, self.total, self.panes)
    }
}

impl Counter {
    fn empty(&self) -> ModelSummary {
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

    fn count<I: Iterator<Item = usize>>(
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

impl Panes {
    /// Panes of this length and offset by the time in column `source`.
    pub(super) fn new(source: usize, (pane, offset): (Span, Span), unit: Option<TimestampUnit>) -> Self {
        Self {
            source,
            pane,
            offset,
            unit,
            panes: BTreeMap::new(),
            panes_max: PANES_MAX,
            untimed: 0,
            over_limit: 0,
            dropped_before: None,
            time_is_number: false,
        }
    }

    fn take(&mut self, counter: &mut Counter, chunk: &Chunk, ready: &[Ready]) {
        let cells = chunk.columns.get(self.source).unwrap_or(&Cells::Skipped);
        let mut groups: BTreeMap<Timestamp, Vec<usize>> = BTreeMap::new();
        for row in 0..chunk.rows {
            let cell = cells.get(row);
            match time_of(cell, self.unit) {
                Some(time) => groups.entry(time.floor_to(self.pane, self.offset)).or_default().push(row),
                None => {
                    self.untimed += 1;
                    self.time_is_number |= is_number(cell);
                }
            }
        }
        for (start, rows) in groups {
            if self.dropped_before.is_some_and(|before| start < before) {
                self.over_limit += rows.len() as u64;
                continue;
            }
            let summary = self.panes.entry(start).or_insert_with(|| counter.empty());
            counter.count(summary, ready, || rows.iter().copied(), rows.len());
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        while self.panes.len() > self.panes_max {
            if let Some((start, summary)) = self.panes.pop_first() {
                self.over_limit += summary.rows.events;
                self.dropped_before = self.dropped_before.max(Some(start + self.pane));
            }
        }
    }

    /// The panes.
    ///
    /// # Errors
    /// [`BuildError::NoTime`] when no row's time could be read.
    pub(super) fn finish(self, name: &str, notes: &mut Vec<String>) -> Result<Reference, BuildError> {
        if self.panes.is_empty() {
            return Err(BuildError::NoTime { name: name.to_owned(), numbers: self.time_is_number });
        }
        if self.untimed > 0 {
            notes.push(format!("{} rows have no time in `{name}`: they are in no pane", self.untimed));
        }
        if self.over_limit > 0 {
            notes.push(format!(
                "{} rows are older than the newest {} panes of {}: they are in no pane",
                self.over_limit, self.panes_max, self.pane
            ));
        }
        Ok(Reference {
            pane: self.pane,
            panes: self.panes.into_iter().collect(),
            rows_left_out: self.untimed + self.over_limit,
        })
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

fn is_number(cell: Cell<'_>) -> bool {
    match cell {
        Cell::Number(_) => true,
        Cell::Text(text) | Cell::Name(text) => text.trim().parse::<f64>().is_ok(),
        _ => false,
    }
}

fn time_of(cell: Cell<'_>, unit: Option<TimestampUnit>) -> Option<Timestamp> {
    let micros = |number: f64| {
        let scale = match unit? {
            TimestampUnit::Seconds => 1e6,
            TimestampUnit::Milliseconds => 1e3,
            TimestampUnit::Microseconds => 1.0,
            TimestampUnit::Rfc3339 => return None,
        };
        let micros = (number * scale).round();
        (micros.abs() < 9e18).then_some(micros as i64).and_then(Timestamp::from_micros)
    };
    match cell {
        Cell::Time(micros) => Timestamp::from_micros(micros),
        Cell::Number(number) => micros(number),
        Cell::Name(text) | Cell::Text(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| micros(text.parse().ok()?))
        }
        Cell::Missing | Cell::Boolean(_) | Cell::Foreign => None,
    }
}

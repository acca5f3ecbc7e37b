//! Builds a baseline from a table of training rows, in two passes and constant memory.
//!
//! The first pass finds out what each column is and where its bins go; the second counts every row on
//! them, and, if the rows have a time, counts them again in panes of it. (A column of text that turns
//! out to hold names and numbers both costs a pass between the two.)

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Float64Array, StringArray};

use super::grid::place;
use super::read::{Cell, Cells, Chunk, ReadError, Reading, Table, read_text};
use super::sample::Sample;
use super::{Baseline, BaselineId, Column, Reference};
use crate::event::decode::TimestampUnit;
use crate::event::{
    ColumnKind, ColumnSpec, Names, Role, Span, Timestamp, WRONG_TYPE_NAME, canonical_number, cut_name,
};
use crate::summary::{
    CategoricalSummary, Categories, CategoryIndex, ColumnSummary, GridError, Latency, ModelSummary,
    NumericScratch, NumericSummary, Rows, Shape,
};

/// Names of a categorical column that are counted one by one.
pub const TOP_MAX: usize = 200;

/// Further names whose hashes are kept, so that a name can be told to be new.
pub const RARE_MAX: usize = 65_536;

/// Buckets for the names beyond the top.
const BUCKETS: usize = 64;

/// Distinct names counted while building; beyond this the column is taken as open.
const DISTINCT_MAX: usize = 1_000_000;

/// Panes kept of the training rows' time, the newest.
const PANES_MAX: usize = 4_096;

/// A prediction or label of at most so many whole numbers is a class, not a quantity.
const CLASSES_MAX: usize = 20;

/// A JSON column is numeric if at least this share of its values are numbers; the others count as values
/// of the wrong type.
const NUMERIC_SHARE: f64 = 0.95;

/// What the columns of a table are. A column that is named nowhere is a feature.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    /// Event time; not watched.
    pub timestamp: Option<String>,
    /// The model's decision.
    pub prediction: Option<String>,
    /// Scores; a single one is watched as `score`, several under their own names.
    pub scores: Vec<String>,
    /// What turned out to be true.
    pub label: Option<String>,
    /// Not watched.
    pub ignore: Vec<String>,
    /// If not empty, the only features.
    pub features: Vec<String>,
    /// Columns of numbers that are names.
    pub categorical: Vec<String>,
}

/// How a baseline is built.
#[derive(Default)]
pub struct BuildOptions<'a> {
    /// Length and offset of the panes that rows with a time are also counted in.
    pub panes: Option<(Span, Span)>,
    /// How the timestamp column is written, if it is one of numbers.
    pub timestamp_unit: Option<TimestampUnit>,
    /// Hears how far the work is.
    pub progress: Option<&'a dyn Fn(Progress)>,
}

/// How far the work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Number of the pass, from 1.
    pub pass: u32,
    /// Rows read in this pass.
    pub rows: u64,
    /// Bytes of the file read in this pass, 0 if that is not known.
    pub bytes: u64,
}

/// Why no baseline can be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The table cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is nothing to learn from.
    #[error("the training table has no rows")]
    NoRows,
    /// Nothing is left to watch.
    #[error(
        "no column is left to watch: every column is ignored, the timestamp, or holds only arrays and objects"
    )]
    NoColumns,
    /// A role names a column that is not there.
    #[error("there is no column `{name}`{}; the table has {}", hint(.name, .columns), .columns.join(", "))]
    MissingColumn {
        /// What was asked for.
        name: String,
        /// What there is.
        columns: Vec<String>,
    },
    /// A feature is called like the model's own output.
    #[error(
        "the feature `{name}` is called like a role: name it as the {name} column, ignore it, or rename it"
    )]
    Clash {
        /// The name.
        name: String,
    },
    /// The timestamp column has no time that can be read.
    #[error("no value of the timestamp column `{name}` can be read as a time{}", unit_hint(*.numbers))]
    NoTime {
        /// The column.
        name: String,
        /// Whether it holds numbers.
        numbers: bool,
    },
    /// Bins could not be placed: a fault of the program, not of the data.
    #[error("no bins can be placed for column `{name}`")]
    Grid {
        /// The column.
        name: String,
        /// Why.
        #[source]
        source: GridError,
    },
}

fn hint(name: &str, columns: &[String]) -> String {
    let near = columns.iter().map(|column| (strsim::jaro_winkler(name, column), column));
    let best = near.filter(|(likeness, _)| *likeness > 0.8).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or_else(String::new, |(_, column)| format!(", did you mean `{column}`?"))
}

fn unit_hint(numbers: bool) -> &'static str {
    if numbers { ": it holds numbers, so say their unit (s, ms or us)" } else { "" }
}

/// Builds a baseline from a table.
///
/// # Errors
/// [`BuildError`]: what is wrong with the table or the roles, and how to mend it.
pub fn build_table(
    table: &dyn Table,
    roles: &Roles,
    options: &BuildOptions<'_>,
) -> Result<Baseline, BuildError> {
    if let Some(header) = table.header() {
        check_roles(&header, roles)?;
    }
    let mut survey = Survey::default();
    scan(table, roles, options, 1, |chunk, rows| survey.take(chunk, rows, roles))?;
    check_roles(&survey.header, roles)?;
    if survey.rows == 0 {
        return Err(BuildError::NoRows);
    }
    let mut notes = Vec::new();
    let mut planned = survey.plan(roles, &mut notes)?;
    if planned.iter().any(|column| column.needs_names) {
        scan(table, roles, options, 2, |chunk, _| {
            for column in planned.iter_mut().filter(|column| column.needs_names) {
                if let Some(cells) = chunk.columns.get(column.source) {
                    column.names.take(cells, chunk.rows);
                }
            }
        })?;
    }
    let mut columns = Vec::with_capacity(planned.len());
    let mut sources = Vec::with_capacity(planned.len());
    for column in planned {
        sources.push(column.source);
        columns.push(column.shape(&mut notes)?);
    }
    let timestamp =
        roles.timestamp.as_ref().and_then(|name| survey.header.iter().position(|column| **column == **name));
    let mut counting = Counting::new(columns, sources, timestamp, options);
    scan(table, roles, options, 3, |chunk, _| counting.take(chunk))?;
    counting.finish(survey.rows, roles, notes)
}

fn scan(
    table: &dyn Table,
    roles: &Roles,
    options: &BuildOptions<'_>,
    pass: u32,
    mut take: impl FnMut(&Chunk, u64),
) -> Result<(), BuildError> {
    let wanted = |name: &str| !roles.ignore.iter().any(|ignored| ignored == name);
    let mut rows = 0;
    for chunk in table.scan(&wanted)? {
        let chunk = chunk?;
        take(&chunk, rows);
        rows += chunk.rows as u64;
        if let Some(progress) = options.progress {
            progress(Progress { pass, rows, bytes: chunk.bytes });
        }
    }
    Ok(())
}

fn check_roles(header: &[Arc<str>], roles: &Roles) -> Result<(), BuildError> {
    let named = [&roles.timestamp, &roles.prediction, &roles.label].into_iter().flatten();
    let listed = [&roles.scores, &roles.ignore, &roles.features, &roles.categorical].into_iter().flatten();
    for name in named.chain(listed) {
        if !header.iter().any(|column| **column == **name) {
            let columns = header.iter().map(ToString::to_string).collect();
            return Err(BuildError::MissingColumn { name: name.clone(), columns });
        }
    }
    Ok(())
}

// === first pass: what the columns are ===

#[derive(Default)]
struct Survey {
    header: Vec<Arc<str>>,
    profiles: Vec<Profile>,
    rows: u64,
}

/// What was seen in a column.
struct Profile {
    numbers: u64,
    names: u64,
    foreign: u64,
    sample: Sample,
    found: NameCounts,
    /// Distinct whole numbers, while they are few.
    classes: Option<BTreeSet<i64>>,
    is_text: bool,
    is_forced: bool,
}

impl Survey {
    fn take(&mut self, chunk: &Chunk, first_row: u64, roles: &Roles) {
        for name in chunk.header.iter().skip(self.header.len()) {
            let is_forced = roles.categorical.iter().any(|column| **column == **name);
            self.header.push(Arc::clone(name));
            self.profiles.push(Profile::new(is_forced));
        }
        let hashes: Vec<u64> = (0..chunk.rows as u64).map(|row| Sample::row_hash(first_row + row)).collect();
        for (profile, cells) in self.profiles.iter_mut().zip(&chunk.columns) {
            profile.take(cells, &hashes);
        }
        self.rows += chunk.rows as u64;
    }

    fn plan(&mut self, roles: &Roles, notes: &mut Vec<String>) -> Result<Vec<Planned>, BuildError> {
        let mut planned = Vec::new();
        for (source, (name, profile)) in
            self.header.iter().zip(std::mem::take(&mut self.profiles)).enumerate()
        {
            let Some((role, name)) = watched(name, roles)? else { continue };
            if profile.foreign > 0 && profile.numbers + profile.names == 0 {
                notes.push(format!("column `{name}` holds only arrays and objects: it is not watched"));
                continue;
            }
            planned.push(profile.plan(source, name, role, notes));
        }
        planned.sort_by_key(|column| (column.spec.role, column.source));
        if planned.is_empty() { Err(BuildError::NoColumns) } else { Ok(planned) }
    }
}

/// The role of a column and the name it is watched by; `None` if it is not watched.
fn watched(name: &Arc<str>, roles: &Roles) -> Result<Option<(Role, Arc<str>)>, BuildError> {
    let is = |role: &Option<String>| role.as_deref() == Some(name.as_ref());
    let listed = |list: &[String]| list.iter().any(|column| **column == **name);
    if is(&roles.timestamp) || listed(&roles.ignore) {
        return Ok(None);
    }
    if is(&roles.prediction) {
        return Ok(Some((Role::Prediction, "prediction".into())));
    }
    if is(&roles.label) {
        return Ok(Some((Role::Label, "label".into())));
    }
    if listed(&roles.scores) {
        let name = if roles.scores.len() == 1 { "score".into() } else { Arc::clone(name) };
        return Ok(Some((Role::Score, name)));
    }
    if !roles.features.is_empty() && !listed(&roles.features) {
        return Ok(None);
    }
    if ["prediction", "label", "score"].contains(&name.as_ref()) {
        return Err(BuildError::Clash { name: name.to_string() });
    }
    Ok(Some((Role::Feature, Arc::clone(name))))
}

impl Profile {
    fn new(is_forced: bool) -> Self {
        Self {
            numbers: 0,
            names: 0,
            foreign: 0,
            sample: Sample::new(),
            found: NameCounts::default(),
            classes: Some(BTreeSet::new()),
            is_text: false,
            is_forced,
        }
    }

    fn take(&mut self, cells: &Cells, hashes: &[u64]) {
        self.is_text |= matches!(cells, Cells::Text(_));
        if self.is_forced {
            self.names += 1;
            return self.found.take(cells, hashes.len());
        }
        for (row, hash) in hashes.iter().enumerate() {
            let cell = cells.get(row);
            match cell {
                Cell::Missing => {}
                Cell::Foreign => self.foreign += 1,
                Cell::Number(_) | Cell::Time(_) => self.number(*hash, cell.number().unwrap_or(f64::NAN)),
                Cell::Boolean(_) | Cell::Name(_) => self.name(cell),
                Cell::Text(text) => match read_text(text) {
                    Reading::Missing | Reading::Placeholder => {}
                    Reading::Number(number) => self.number(*hash, number),
                    Reading::Boolean(_) | Reading::Name => self.name(cell),
                },
            }
        }
    }

    fn number(&mut self, hash: u64, number: f64) {
        self.numbers += 1;
        if number.is_finite() {
            self.sample.push(hash, number);
        }
        if let Some(classes) = &mut self.classes {
            let is_whole = number.fract() == 0.0 && number.abs() < 1e15;
            if !is_whole || (classes.len() >= CLASSES_MAX && !classes.contains(&(number as i64))) {
                self.classes = None;
            } else {
                classes.insert(number as i64);
            }
        }
    }

    fn name(&mut self, cell: Cell<'_>) {
        self.names += 1;
        if let Some(name) = name_of(cell) {
            self.found.add(&name, 1);
        }
    }

    fn plan(self, source: usize, name: Arc<str>, role: Role, notes: &mut Vec<String>) -> Planned {
        let is_class =
            matches!(role, Role::Prediction | Role::Label) && self.classes.is_some() && self.numbers > 0;
        let share = self.numbers as f64 / (self.numbers + self.names).max(1) as f64;
        let numeric =
            !self.is_forced && !is_class && (self.names == 0 || (!self.is_text && share >= NUMERIC_SHARE));
        let kind = if numeric { ColumnKind::Numeric } else { ColumnKind::Categorical };
        if is_class && self.names == 0 {
            notes.push(format!("column `{name}` holds few whole numbers: it is taken as classes"));
        }
        if numeric && self.names > 0 {
            notes.push(format!("column `{name}` is numeric; {} values are no numbers", self.names));
        }
        if self.numbers + self.names == 0 {
            notes.push(format!("column `{name}` has no values at all: only its absence can be watched"));
        }
        // Numbers were not counted as names on the way, for most columns of numbers have too many.
        let needs_names = kind == ColumnKind::Categorical && !self.is_forced && self.numbers > 0;
        let names = if needs_names { NameCounts::default() } else { self.found };
        Planned { source, spec: ColumnSpec { name, role, kind }, sample: self.sample, names, needs_names }
    }
}

/// The name of a value in a categorical column; `None` is missing.
fn name_of<'a>(cell: Cell<'a>) -> Option<Cow<'a, str>> {
    Some(match cell {
        Cell::Missing => return None,
        Cell::Number(number) => Cow::Owned(canonical_number(number)),
        Cell::Time(micros) => Cow::Owned(Timestamp::saturating_from_micros(micros).to_string()),
        Cell::Boolean(value) => Cow::Borrowed(if value { "true" } else { "false" }),
        Cell::Name(name) => Cow::Borrowed(cut_name(name)),
        Cell::Foreign => Cow::Borrowed(WRONG_TYPE_NAME),
        Cell::Text(text) => {
            let trimmed = text.trim();
            // A code such as 007 is a name that only looks like a number.
            let is_code = trimmed.len() > 1 && trimmed.starts_with('0') && !trimmed.starts_with("0.");
            match read_text(text) {
                Reading::Missing => return None,
                Reading::Number(number) if !is_code => Cow::Owned(canonical_number(number)),
                Reading::Boolean(value) => Cow::Borrowed(if value { "true" } else { "false" }),
                Reading::Number(_) | Reading::Placeholder | Reading::Name => Cow::Borrowed(cut_name(trimmed)),
            }
        }
    })
}

/// Counts of names, bounded.
#[derive(Default)]
struct NameCounts {
    counts: HashMap<String, u64>,
    is_open: bool,
}

impl NameCounts {
    fn add(&mut self, name: &str, times: u64) {
        if name == WRONG_TYPE_NAME {
            return;
        }
        if let Some(count) = self.counts.get_mut(name) {
            *count += times;
        } else if self.counts.len() < DISTINCT_MAX {
            self.counts.insert(name.to_owned(), times);
        } else {
            self.is_open = true;
        }
    }

    fn take(&mut self, cells: &Cells, rows: usize) {
        for row in 0..rows {
            if let Some(name) = name_of(cells.get(row)) {
                self.add(&name, 1);
            }
        }
    }

    fn categories(self) -> Categories {
        let mut all: Vec<(String, u64)> = self.counts.into_iter().collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let others = all.split_off(all.len().min(TOP_MAX));
        let singletons = others.iter().filter(|(_, count)| *count == 1).count() as u64;
        let mut rare: Vec<u64> = others.iter().map(|(name, _)| Categories::hash(name)).collect();
        rare.sort_unstable();
        rare.dedup();
        let open = self.is_open || rare.len() > RARE_MAX;
        if open {
            rare.clear();
        }
        Categories {
            top: all.into_iter().map(|(name, _)| name).collect(),
            buckets: if others.is_empty() { 0 } else { BUCKETS },
            rare,
            open,
            rare_singletons: (!open).then_some(singletons),
        }
    }
}

/// A watched column between the passes.
struct Planned {
    source: usize,
    spec: ColumnSpec,
    sample: Sample,
    names: NameCounts,
    needs_names: bool,
}

impl Planned {
    fn shape(self, notes: &mut Vec<String>) -> Result<(ColumnSpec, Shape), BuildError> {
        let name = self.spec.name.to_string();
        let shape = match self.spec.kind {
            ColumnKind::Numeric => {
                let n = self.sample.n();
                let placed =
                    place(self.sample).map_err(|source| BuildError::Grid { name: name.clone(), source })?;
                if placed.is_constant && n > 0 {
                    notes.push(format!(
                        "column `{name}` has one value only: any other value is outside its range"
                    ));
                }
                Shape::Numeric(placed.grid)
            }
            ColumnKind::Categorical => {
                let categories = self.names.categories();
                if categories.top.len() == 1 {
                    notes.push(format!("column `{name}` has one value only: any other is unseen"));
                }
                Shape::Categorical(categories)
            }
        };
        Ok((self.spec, shape))
    }
}

// === last pass: counting ===

struct Counting<'a> {
    columns: Vec<(ColumnSpec, Shape, Option<CategoryIndex>)>,
    sources: Vec<usize>,
    timestamp: Option<usize>,
    options: &'a BuildOptions<'a>,
    total: ModelSummary,
    panes: BTreeMap<Timestamp, ModelSummary>,
    left_out: u64,
    timed: u64,
    /// Panes that start before this were dropped.
    dropped_before: Option<Timestamp>,
    time_is_number: bool,
    numeric: NumericScratch,
    names: Vec<u32>,
}

/// A column's values of one chunk, ready to be counted by any selection of rows.
enum Ready {
    Numbers(Float64Array),
    Names { values: StringArray, keys: Vec<i32>, missing: Vec<bool> },
}

impl<'a> Counting<'a> {
    fn new(
        columns: Vec<(ColumnSpec, Shape)>,
        sources: Vec<usize>,
        timestamp: Option<usize>,
        options: &'a BuildOptions<'a>,
    ) -> Self {
        let total = empty(columns.iter().map(|(_, shape)| shape));
        let columns = columns
            .into_iter()
            .map(|(spec, shape)| {
                let index = match &shape {
                    Shape::Categorical(categories) => Some(CategoryIndex::new(categories)),
                    Shape::Numeric(_) => None,
                };
                (spec, shape, index)
            })
            .collect();
        Self {
            columns,
            sources,
            timestamp,
            options,
            total,
            panes: BTreeMap::new(),
            left_out: 0,
            timed: 0,
            dropped_before: None,
            time_is_number: false,
            numeric: NumericScratch::default(),
            names: Vec::new(),
        }
    }

    fn take(&mut self, chunk: &Chunk) {
        let ready: Vec<Ready> = self
            .columns
            .iter()
            .zip(&self.sources)
            .map(|((_, shape, _), source)| {
                let cells = chunk.columns.get(*source).unwrap_or(&Cells::Skipped);
                match shape {
                    Shape::Numeric(_) => Ready::Numbers(cells.to_numbers(chunk.rows)),
                    Shape::Categorical(_) => ready_names(cells, chunk.rows),
                }
            })
            .collect();
        let mut total = std::mem::replace(&mut self.total, empty(std::iter::empty()));
        self.count(&mut total, &ready, || 0..chunk.rows, chunk.rows);
        self.total = total;
        let (Some(timestamp), Some((pane, offset))) = (self.timestamp, self.options.panes) else { return };
        let Some(cells) = chunk.columns.get(timestamp) else { return };
        let mut groups: BTreeMap<Timestamp, Vec<usize>> = BTreeMap::new();
        for row in 0..chunk.rows {
            let cell = cells.get(row);
            self.time_is_number |= matches!(cell, Cell::Number(_));
            match time_of(cell, self.options.timestamp_unit) {
                Some(time) => groups.entry(time.floor_to(pane, offset)).or_default().push(row),
                None => self.left_out += 1,
            }
        }
        for (start, rows) in groups {
            self.timed += rows.len() as u64;
            if self.dropped_before.is_some_and(|before| start < before) {
                self.left_out += rows.len() as u64;
                continue;
            }
            let held = self.panes.remove(&start);
            let mut summary = held.unwrap_or_else(|| empty(self.columns.iter().map(|(_, shape, _)| shape)));
            self.count(&mut summary, &ready, || rows.iter().copied(), rows.len());
            self.panes.insert(start, summary);
        }
        while self.panes.len() > PANES_MAX {
            if let Some((start, summary)) = self.panes.pop_first() {
                self.left_out += summary.rows.events;
                self.dropped_before = self.dropped_before.max(Some(start + pane));
            }
        }
    }

    fn count<I: Iterator<Item = usize>>(
        &mut self,
        summary: &mut ModelSummary,
        ready: &[Ready],
        rows: impl Fn() -> I,
        number: usize,
    ) {
        for (((_, shape, index), values), counts) in self.columns.iter().zip(ready).zip(&mut summary.columns)
        {
            match (shape, values, counts) {
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
        let has = |role| self.columns.iter().any(|(spec, ..)| spec.role == role);
        let Rows { events, features, predictions, labels } = &mut summary.rows;
        *events += number;
        *features += if has(Role::Feature) { number } else { 0 };
        *predictions += if has(Role::Prediction) || has(Role::Score) { number } else { 0 };
        *labels += if has(Role::Label) { number } else { 0 };
    }

    fn finish(self, rows: u64, roles: &Roles, notes: Vec<String>) -> Result<Baseline, BuildError> {
        let reference = match (&roles.timestamp, self.options.panes) {
            (Some(name), Some(_)) if self.timed == 0 => {
                return Err(BuildError::NoTime { name: name.clone(), numbers: self.time_is_number });
            }
            (Some(_), Some((pane, _))) => Some(Reference {
                pane,
                panes: self.panes.into_iter().collect(),
                rows_left_out: self.left_out,
            }),
            _ => None,
        };
        let columns = self
            .columns
            .into_iter()
            .zip(self.total.columns)
            .map(|((spec, shape, _), summary)| Column { spec, shape, summary })
            .collect();
        let baseline = Baseline {
            id: BaselineId::default(),
            model: None,
            version: None,
            rows,
            columns,
            reference,
            notes,
        };
        Ok(baseline.sealed())
    }
}

fn empty<'a>(shapes: impl Iterator<Item = &'a Shape>) -> ModelSummary {
    ModelSummary {
        rows: Rows::default(),
        latency: Latency::default(),
        columns: shapes.map(Shape::empty).collect(),
    }
}

fn ready_names(cells: &Cells, rows: usize) -> Ready {
    let mut known: HashMap<String, i32> = HashMap::new();
    let mut values: Vec<String> = Vec::new();
    let mut keys = Vec::with_capacity(rows);
    let mut missing = Vec::with_capacity(rows);
    for row in 0..rows {
        let name = name_of(cells.get(row));
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

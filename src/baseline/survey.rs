//! The first pass over a training table: what each column is, and what its values are counted on.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::build::{BuildError, Roles, watched};
use super::grid::place;
use super::read::{Cell, Cells, Chunk, Reading, read_text};
use super::sample::Sample;
use crate::event::{ColumnKind, ColumnSpec, Role, Timestamp, WRONG_TYPE_NAME, canonical_number, cut_name};
use crate::summary::{Categories, Shape};

/// Names of a categorical column that are counted one by one.
pub const TOP_MAX: usize = 200;

/// Further names whose hashes are kept, so that a name can be told to be new.
pub const RARE_MAX: usize = 65_536;

/// Buckets for the names beyond the top.
const BUCKETS: usize = 64;

/// Distinct names counted while building; beyond this the column is taken as open.
const DISTINCT_MAX: usize = 1_000_000;

/// A prediction or label of at most so many whole numbers is a class, not a quantity.
const CLASSES_MAX: usize = 20;

/// A JSON column is numeric if at least this share of its values are numbers; the others count as values
/// of the wrong type.
const NUMERIC_SHARE: f64 = 0.95;

/// The same for CSV, where nothing says what is a number: a few typing errors must not turn a column of
/// numbers into one of names.
const NUMERIC_SHARE_OF_TEXT: f64 = 0.99;

/// What was seen of a table so far.
#[derive(Default)]
pub(super) struct Survey {
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
    /// The columns seen.
    pub(super) fn header(&self) -> &[Arc<str>] {
        &self.header
    }

    /// The rows seen.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Looks at the rows of a chunk, the first of which has number `first_row`.
    pub(super) fn take(&mut self, chunk: &Chunk, first_row: u64, roles: &Roles) {
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

    /// Decides what each watched column is; the survey is then empty.
    ///
    /// # Errors
    /// When names clash or nothing is left to watch.
    pub(super) fn plan(
        &mut self,
        roles: &Roles,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Planned>, BuildError> {
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
        let least = if self.is_text { NUMERIC_SHARE_OF_TEXT } else { NUMERIC_SHARE };
        let numeric = !self.is_forced && !is_class && (self.names == 0 || share >= least);
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
pub(super) fn name_of<'a>(cell: Cell<'a>) -> Option<Cow<'a, str>> {
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
pub(super) struct Planned {
    /// Its place in the table.
    pub(super) source: usize,
    spec: ColumnSpec,
    sample: Sample,
    names: NameCounts,
    /// Whether its names must be counted in another pass.
    pub(super) needs_names: bool,
}

impl Planned {
    /// Counts the names of a chunk.
    pub(super) fn take_names(&mut self, chunk: &Chunk) {
        if let Some(cells) = chunk.columns.get(self.source) {
            self.names.take(cells, chunk.rows);
        }
    }

    /// Places the bins, `bins` of equal mass if that is said, or chooses the names.
    ///
    /// # Errors
    /// Never for finite values.
    pub(super) fn shape(
        self,
        bins: Option<u64>,
        notes: &mut Vec<String>,
    ) -> Result<(ColumnSpec, Shape), BuildError> {
        let name = self.spec.name.to_string();
        let shape = match self.spec.kind {
            ColumnKind::Numeric => {
                let n = self.sample.n();
                let placed = place(self.sample, bins)
                    .map_err(|source| BuildError::Grid { name: name.clone(), source })?;
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

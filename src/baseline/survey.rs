//! The first pass over a training table: what each column is, and what its values are counted on.

use std::cell::Cell as Shared;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use super::build::{BuildError, Roles, Watched, watched};
use super::grid::place;
use super::naming::Naming;
use super::read::{Cell, Cells, Chunk, Reading, read_text};
use super::sample::Sample;
use crate::event::{ColumnKind, ColumnSpec, Role, WRONG_TYPE_NAME};
use crate::summary::{Categories, Shape};

/// Names of a categorical column that are counted one by one.
pub const TOP_MAX: usize = 200;

/// Further names whose hashes are kept, so that a name can be told to be new.
pub const RARE_MAX: usize = 65_536;

/// Buckets for the names beyond the top.
const BUCKETS: usize = 64;

/// Distinct names of a column counted while building; beyond this it is taken as open.
const DISTINCT_MAX: usize = 1_000_000;

/// What the distinct names of all columns may take while building; beyond this those columns are taken as
/// open that meet a new name.
const NAMES_BYTES_MAX: usize = 256 << 20;

/// What a name takes beside its own bytes.
const NAME_OVERHEAD: usize = 64;

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
    /// Columns that share the memory for samples: those of the first chunk. Only JSON lines can bring more.
    sharers: Option<usize>,
    names_bytes: Rc<Shared<usize>>,
}

/// What was seen in a column.
struct Profile {
    numbers: u64,
    /// Values that are no numbers, booleans included.
    names: u64,
    booleans: u64,
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
        let is_read = |cells: &&Cells| !matches!(cells, Cells::Skipped);
        let sharers = *self.sharers.get_or_insert_with(|| chunk.columns.iter().filter(is_read).count());
        for name in chunk.header.iter().skip(self.header.len()) {
            let is_forced = roles.categorical.iter().any(|column| **column == **name);
            self.header.push(Arc::clone(name));
            let found = NameCounts::within(&self.names_bytes);
            self.profiles.push(Profile::new(is_forced, Sample::new(sharers), found));
        }
        let hashes: Vec<u64> = (0..chunk.rows as u64).map(|row| Sample::row_hash(first_row + row)).collect();
        for (profile, cells) in self.profiles.iter_mut().zip(&chunk.columns) {
            profile.take(cells, &hashes);
        }
        self.rows += chunk.rows as u64;
    }

    /// How the text of a column becomes names; ask before the columns are decided on.
    pub(super) fn naming_of(&self, column: &str) -> Naming {
        let place = self.header.iter().position(|name| **name == *column);
        place.and_then(|place| self.profiles.get(place)).map_or(Naming::AsWritten, Profile::naming)
    }

    /// Decides what each watched column is; the survey is then empty. `quantities` are the roles whose whole
    /// numbers are never classes.
    ///
    /// # Errors
    /// When names clash or nothing is left to watch.
    pub(super) fn plan(
        &mut self,
        roles: &Roles,
        quantities: &[Role],
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
            let may_be_class = matches!(role, Role::Prediction | Role::Label) && !quantities.contains(&role);
            planned.push(profile.plan(source, name, (role, may_be_class), notes));
        }
        planned.sort_by_key(|column| (column.spec.role, column.source));
        if planned.is_empty() { Err(BuildError::NoColumns) } else { Ok(planned) }
    }
}

impl Profile {
    fn new(is_forced: bool, sample: Sample, found: NameCounts) -> Self {
        Self {
            numbers: 0,
            names: 0,
            booleans: 0,
            foreign: 0,
            sample,
            found,
            classes: Some(BTreeSet::new()),
            is_text: false,
            is_forced,
        }
    }

    fn take(&mut self, cells: &Cells, hashes: &[u64]) {
        self.is_text |= matches!(cells, Cells::Text(_));
        for (row, hash) in hashes.iter().enumerate() {
            let cell = cells.get(row);
            match cell {
                Cell::Missing => {}
                Cell::Foreign => self.foreign += 1,
                Cell::Number(_) | Cell::Time(_) => {
                    self.number(*hash, cell, cell.number().unwrap_or(f64::NAN));
                }
                Cell::Boolean(_) => self.boolean(cell),
                Cell::Name(_) => self.name(cell),
                Cell::Text(text) => match read_text(text) {
                    Reading::Missing => {}
                    // Whether it is missing or a name, the column's other values will say.
                    Reading::Placeholder => self.found.take(cell),
                    Reading::Number(number) => self.number(*hash, cell, number),
                    Reading::Boolean(_) => self.boolean(cell),
                    Reading::Name => self.name(cell),
                },
            }
        }
    }

    fn number(&mut self, hash: u64, cell: Cell<'_>, number: f64) {
        self.numbers += 1;
        if self.is_forced {
            return self.found.take(cell);
        }
        if number.is_finite() {
            self.sample.push(hash, number);
        }
        if let Some(classes) = self.classes.as_mut().filter(|_| !number.is_nan()) {
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
        self.found.take(cell);
    }

    fn boolean(&mut self, cell: Cell<'_>) {
        self.booleans += 1;
        self.name(cell);
    }

    fn naming(&self) -> Naming {
        Naming::of_column(self.numbers, self.booleans, self.names - self.booleans)
    }

    fn plan(
        self,
        source: usize,
        name: Arc<str>,
        (role, may_be_class): (Role, bool),
        notes: &mut Vec<String>,
    ) -> Planned {
        let is_class = may_be_class && self.classes.is_some() && self.numbers > 0;
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
        let naming = self.naming();
        let names = if needs_names || numeric { self.found.anew() } else { self.found };
        let spec = ColumnSpec { name, role, kind };
        Planned { source, spec, naming, sample: self.sample, names, needs_names }
    }
}

/// Counts of names, bounded.
pub(super) struct NameCounts {
    counts: HashMap<String, u64>,
    is_open: bool,
    /// What these names take, and what those of all columns do.
    bytes: usize,
    bytes_of_all: Rc<Shared<usize>>,
}

impl NameCounts {
    /// No names yet; those of all columns share what memory there is.
    pub(super) fn within(bytes_of_all: &Rc<Shared<usize>>) -> Self {
        let bytes_of_all = Rc::clone(bytes_of_all);
        Self { counts: HashMap::new(), is_open: false, bytes: 0, bytes_of_all }
    }

    /// No names yet; the memory of those so far is free again.
    fn anew(self) -> Self {
        self.bytes_of_all.set(self.bytes_of_all.get().saturating_sub(self.bytes));
        Self::within(&self.bytes_of_all)
    }

    fn add(&mut self, name: &str, times: u64) {
        if name == WRONG_TYPE_NAME {
            return;
        }
        if let Some(count) = self.counts.get_mut(name) {
            *count += times;
            return;
        }
        let bytes = name.len() + NAME_OVERHEAD;
        let bytes_of_all = self.bytes_of_all.get().saturating_add(bytes);
        if self.counts.len() >= DISTINCT_MAX || bytes_of_all > NAMES_BYTES_MAX {
            self.is_open = true;
            return;
        }
        self.bytes += bytes;
        self.bytes_of_all.set(bytes_of_all);
        self.counts.insert(name.to_owned(), times);
    }

    /// Whether there were more names than could be counted.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Counts a value; text as it stands, since how it is to be written is not yet known.
    pub(super) fn take(&mut self, cell: Cell<'_>) {
        if let Some(name) = Naming::AsWritten.name(cell) {
            self.add(&name, 1);
        }
    }

    /// The same counts with text written as the column's naming says.
    pub(super) fn renamed(self, naming: Naming) -> HashMap<String, u64> {
        if naming == Naming::AsWritten {
            return self.counts;
        }
        let mut renamed = HashMap::new();
        for (name, count) in self.counts {
            if let Some(name) = naming.text(&name) {
                *renamed.entry(name.into_owned()).or_default() += count;
            }
        }
        renamed
    }

    fn categories(self, naming: Naming) -> Categories {
        let is_open = self.is_open;
        let mut all: Vec<(String, u64)> = self.renamed(naming).into_iter().collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let others = all.split_off(all.len().min(TOP_MAX));
        let singletons = others.iter().filter(|(_, count)| *count == 1).count() as u64;
        let mut rare: Vec<u64> = others.iter().map(|(name, _)| Categories::hash(name)).collect();
        rare.sort_unstable();
        rare.dedup();
        let open = is_open || rare.len() > RARE_MAX;
        if open {
            rare.clear();
        }
        Categories {
            top: all.into_iter().map(|(name, _)| name).collect(),
            buckets: if others.is_empty() && !open { 0 } else { BUCKETS },
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
    naming: Naming,
    sample: Sample,
    names: NameCounts,
    /// Whether its names must be counted in another pass.
    pub(super) needs_names: bool,
}

impl Planned {
    /// Counts the names of a chunk.
    pub(super) fn take_names(&mut self, chunk: &Chunk) {
        if let Some(cells) = chunk.columns.get(self.source) {
            (0..chunk.rows).for_each(|row| self.names.take(cells.get(row)));
        }
    }

    /// Places the bins, `bins` of equal mass if that is said, or chooses the names.
    ///
    /// # Errors
    /// Never for finite values.
    pub(super) fn shape(self, bins: Option<u64>, notes: &mut Vec<String>) -> Result<Watched, BuildError> {
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
                let categories = self.names.categories(self.naming);
                if categories.top.len() == 1 {
                    notes.push(format!("column `{name}` has one value only: any other is unseen"));
                }
                Shape::Categorical(categories)
            }
        };
        Ok(Watched { spec: self.spec, shape, naming: self.naming })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_share_the_memory_for_names_and_give_it_back() {
        let of_all = Rc::new(Shared::new(NAMES_BYTES_MAX - 3 * (NAME_OVERHEAD + 1)));
        let (mut first, mut second) = (NameCounts::within(&of_all), NameCounts::within(&of_all));
        ["a", "b", "a"].iter().for_each(|name| first.add(name, 1));
        ["c", "d", "c"].iter().for_each(|name| second.add(name, 1));
        assert!(!first.is_open && second.is_open);
        let categories = second.categories(Naming::AsWritten);
        assert_eq!((categories.top, categories.buckets, categories.open), (vec!["c".into()], BUCKETS, true));
        let mut third = first.anew();
        ["e", "f"].iter().for_each(|name| third.add(name, 1));
        assert!(!third.is_open);
    }
}

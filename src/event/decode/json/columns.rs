//! The columns of a batch while it is being decoded, one row at a time.
//!
//! Invariant: the row being decoded is all absent when it begins, whether the row before it was kept or
//! dropped. A dropped row may leave names in a dictionary that no row uses; nothing counts those.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Float64Array, Int32Array, StringArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;

use super::intern::{Interner, Texts};
use super::number::Number;
use super::plan::Target;
use super::timestamp;
use crate::event::decode::{Field, Mapping, TimestampUnit};
use crate::event::{
    ColumnKind, EventBatch, EventSchema, NAME_BYTES_MAX, Origin, RejectReason, Timestamp, WRONG_TYPE_NAME,
    canonical_number, cut_name, wrong_type,
};

/// Longest identifier in bytes. A longer one is null: cut, it could join with another's.
pub(super) const ID_BYTES_MAX: usize = 1024;

/// Bits of the NaN that marks an absent number until the batch is finished. No record can write it.
const ABSENT_BITS: u64 = 0x7ff8_0000_d81f_ab5e;

/// The key that marks an absent name until the batch is finished.
const ABSENT_KEY: i32 = -1;

/// Cells of spare room in a column. Without them the columns of a batch of 4,096 rows lie a multiple of
/// 4 KiB apart, so that the cells of a row share one set of the first-level cache and evict each other.
const STAGGER: usize = 24;

/// A value as the record has it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Number(Number<'a>),
    /// A string, unescaped.
    Text(&'a [u8]),
    /// An array or an object.
    Container,
}

/// Event time of the row being decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EventTime {
    Missing,
    Bad,
    At(i64),
}

/// The columns of one batch.
#[derive(Debug)]
pub(super) struct Columns {
    unit: TimestampUnit,
    kinds: Vec<ColumnKind>,
    /// Number of rows kept, which is the position of the row being decoded.
    row: usize,
    time: EventTime,
    /// Whether texts of this row found no room in 2 GiB.
    overflow: bool,
    rows: Vec<u32>,
    times: Vec<i64>,
    model: NameColumn,
    version: NameColumn,
    segment: NameColumn,
    ids: IdColumn,
    latency: Vec<f64>,
    numbers: Vec<Vec<f64>>,
    categories: Vec<NameColumn>,
    /// Room for the text of a number.
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct NameColumn {
    keys: Vec<i32>,
    names: Interner,
    constant: Option<String>,
}

#[derive(Debug, Default)]
struct IdColumn {
    bytes: Vec<u8>,
    /// End of each kept row's identifier in `bytes`.
    ends: Vec<i32>,
    present: Vec<bool>,
    /// Whether the row being decoded has one.
    current: bool,
}

impl Columns {
    pub(super) fn new(mapping: &Mapping, schema: &EventSchema) -> Self {
        let kinds: Vec<ColumnKind> = schema.columns().iter().map(|column| column.kind).collect();
        let count = |kind| kinds.iter().filter(|other| **other == kind).count();
        let (numbers, categories) = (count(ColumnKind::Numeric), count(ColumnKind::Categorical));
        let constant = |field: Option<&Field>| match field {
            Some(Field::Constant(name)) => Some(cut_name(name).to_owned()),
            _ => None,
        };
        Self {
            unit: mapping.timestamp_unit,
            row: 0,
            time: EventTime::Missing,
            overflow: false,
            rows: Vec::new(),
            times: Vec::new(),
            model: NameColumn::new(constant(Some(&mapping.model))),
            version: NameColumn::new(constant(mapping.version.as_ref())),
            segment: NameColumn::new(None),
            ids: IdColumn::default(),
            latency: Vec::new(),
            numbers: vec![Vec::new(); numbers],
            categories: (0..categories).map(|_| NameColumn::new(None)).collect(),
            scratch: Vec::new(),
            kinds,
        }
    }

    /// Makes room for this many rows, all of them absent.
    pub(super) fn begin(&mut self, rows: usize) {
        self.row = 0;
        self.rows.reserve(rows);
        self.times.reserve(rows);
        self.ids.begin(rows);
        for names in self.name_columns() {
            names.begin(rows);
        }
        for numbers in self.numbers.iter_mut().chain([&mut self.latency]) {
            numbers.clear();
            numbers.reserve(rows + STAGGER);
            numbers.resize(rows, f64::from_bits(ABSENT_BITS));
        }
        self.begin_row();
    }

    fn name_columns(&mut self) -> impl Iterator<Item = &mut NameColumn> {
        let fixed = [&mut self.model, &mut self.version, &mut self.segment];
        fixed.into_iter().chain(&mut self.categories)
    }

    fn begin_row(&mut self) {
        self.time = EventTime::Missing;
        self.overflow = false;
        self.ids.clear();
    }

    /// Puts a number into a numeric column of the row.
    #[inline]
    pub(super) fn set_number(&mut self, column: usize, number: f64) {
        if let Some(cell) = self.numbers.get_mut(column).and_then(|cells| cells.get_mut(self.row)) {
            *cell = number;
        }
    }

    /// Puts a string into a categorical column of the row.
    #[inline]
    pub(super) fn set_category(&mut self, column: usize, text: &[u8]) {
        if let Some(names) = self.categories.get_mut(column) {
            self.overflow |= !names.set(self.row, Some(cut(text)));
        }
    }

    /// Puts a value into a place of the row.
    pub(super) fn set(&mut self, target: Target, value: Value<'_>) {
        match target {
            Target::Number(column) => self.set_number(column, feature_number(value)),
            Target::Category(column) => {
                if let Some(names) = self.categories.get_mut(column) {
                    let name = category(value, &mut self.scratch);
                    self.overflow |= !names.set(self.row, name);
                }
            }
            Target::Timestamp => self.time = event_time(value, self.unit),
            Target::Latency => {
                if let Some(cell) = self.latency.get_mut(self.row) {
                    *cell = plain_number(value);
                }
            }
            Target::Id => self.overflow |= !self.ids.set(value),
            Target::Model => {
                self.overflow |= !self.model.set(self.row, plain_name(value, &mut self.scratch));
            }
            Target::Version => {
                self.overflow |= !self.version.set(self.row, plain_name(value, &mut self.scratch));
            }
            Target::Segment => {
                let name = match value {
                    Value::Container => None,
                    value => category(value, &mut self.scratch),
                };
                self.overflow |= !self.segment.set(self.row, name);
            }
        }
    }

    /// Makes a place of the row absent again.
    pub(super) fn clear(&mut self, target: Target) {
        match target {
            Target::Number(column) => self.set_number(column, f64::from_bits(ABSENT_BITS)),
            Target::Timestamp => self.time = EventTime::Missing,
            other => self.set(other, Value::Null),
        }
    }

    /// Keeps the row, which is that of record `record`.
    ///
    /// # Errors
    /// Why it cannot be kept; the caller then drops it.
    pub(super) fn keep(&mut self, record: usize) -> Result<(), RejectReason> {
        let micros = match self.time {
            EventTime::At(micros) => micros,
            EventTime::Missing => return Err(RejectReason::MissingTimestamp),
            EventTime::Bad => return Err(RejectReason::BadTimestamp),
        };
        if self.model.is_absent(self.row) {
            return Err(RejectReason::MissingModel);
        }
        let (Ok(record), false) = (u32::try_from(record), self.overflow) else {
            return Err(RejectReason::TooLarge);
        };
        self.rows.push(record);
        self.times.push(micros);
        self.ids.keep();
        self.row += 1;
        self.begin_row();
        Ok(())
    }

    /// Drops what the row has so far.
    pub(super) fn drop_row(&mut self) {
        let row = self.row;
        for names in self.name_columns() {
            names.clear(row);
        }
        for numbers in self.numbers.iter_mut().chain([&mut self.latency]) {
            if let Some(cell) = numbers.get_mut(row) {
                *cell = f64::from_bits(ABSENT_BITS);
            }
        }
        self.begin_row();
    }

    /// Hands the kept rows out as a batch.
    ///
    /// # Errors
    /// Never, as the columns are made by the schema; Arrow checks it again.
    pub(super) fn finish(&mut self, origin: Origin, schema: &EventSchema) -> Result<EventBatch, ArrowError> {
        let rows = self.row;
        let times = TimestampMicrosecondArray::from(std::mem::take(&mut self.times)).with_timezone("UTC");
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(UInt32Array::from(std::mem::take(&mut self.rows))),
            Arc::new(times),
            Arc::new(self.model.finish(rows)?),
            Arc::new(self.version.finish(rows)?),
            Arc::new(self.segment.finish(rows)?),
            Arc::new(self.ids.finish()?),
            Arc::new(finish_numbers(&mut self.latency, rows)?),
        ];
        let (mut numbers, mut categories) = (self.numbers.iter_mut(), self.categories.iter_mut());
        for kind in &self.kinds {
            let column: Option<ArrayRef> = match kind {
                ColumnKind::Numeric => match numbers.next() {
                    Some(cells) => Some(Arc::new(finish_numbers(cells, rows)?)),
                    None => None,
                },
                ColumnKind::Categorical => match categories.next() {
                    Some(names) => Some(Arc::new(names.finish(rows)?)),
                    None => None,
                },
            };
            columns.extend(column);
        }
        EventBatch::try_new(origin, schema.clone(), columns)
    }
}

impl NameColumn {
    fn new(constant: Option<String>) -> Self {
        Self { keys: Vec::new(), names: Interner::new(), constant }
    }

    fn begin(&mut self, rows: usize) {
        self.names.take();
        let key = self.constant.as_ref().and_then(|name| self.names.intern(name.as_bytes()));
        self.keys.clear();
        self.keys.reserve(rows + STAGGER);
        self.keys.resize(rows, key.unwrap_or(ABSENT_KEY));
    }

    /// Sets the name of a row; `false` if there is no more room for names.
    #[inline]
    fn set(&mut self, row: usize, name: Option<&[u8]>) -> bool {
        let key = match name {
            Some(name) => self.names.intern(name),
            None => Some(ABSENT_KEY),
        };
        if let (Some(key), Some(cell)) = (key, self.keys.get_mut(row)) {
            *cell = key;
        }
        key.is_some()
    }

    fn clear(&mut self, row: usize) {
        if self.constant.is_none() {
            self.set(row, None);
        }
    }

    fn is_absent(&self, row: usize) -> bool {
        self.keys.get(row).is_none_or(|key| *key == ABSENT_KEY)
    }

    fn finish(&mut self, rows: usize) -> Result<DictionaryArray<Int32Type>, ArrowError> {
        let mut keys = std::mem::take(&mut self.keys);
        keys.truncate(rows);
        let nulls = absent(&keys, |key| *key == ABSENT_KEY);
        if nulls.is_some() {
            keys.iter_mut().for_each(|key| *key = (*key).max(0));
        }
        let keys = Int32Array::try_new(ScalarBuffer::from(keys), nulls)?;
        let Texts { bytes, ends } = self.names.take();
        DictionaryArray::try_new(keys, Arc::new(strings(bytes, &ends, None)?))
    }
}

impl IdColumn {
    fn begin(&mut self, rows: usize) {
        self.bytes.clear();
        self.ends.clear();
        self.ends.reserve(rows);
        self.present.clear();
        self.present.reserve(rows);
        self.current = false;
    }

    /// Takes back the identifier of the row being decoded.
    fn clear(&mut self) {
        let end = self.ends.last().and_then(|end| usize::try_from(*end).ok()).unwrap_or(0);
        self.bytes.truncate(end);
        self.current = false;
    }

    /// Sets the identifier of the row being decoded; `false` if there is no more room.
    fn set(&mut self, value: Value<'_>) -> bool {
        self.clear();
        let text = match value {
            Value::Text(text) if text.len() <= ID_BYTES_MAX => text,
            Value::Number(number) if number.integer && number.text.len() <= ID_BYTES_MAX => number.text,
            _ => return true,
        };
        self.bytes.extend_from_slice(text);
        self.current = true;
        i32::try_from(self.bytes.len()).is_ok()
    }

    fn keep(&mut self) {
        self.ends.push(i32::try_from(self.bytes.len()).unwrap_or(i32::MAX));
        self.present.push(self.current);
    }

    fn finish(&mut self) -> Result<StringArray, ArrowError> {
        let nulls = absent(&self.present, |present| !present);
        strings(std::mem::take(&mut self.bytes), &self.ends, nulls)
    }
}

/// Strings back to back as an array; Arrow checks that they are UTF-8.
fn strings(bytes: Vec<u8>, ends: &[i32], nulls: Option<NullBuffer>) -> Result<StringArray, ArrowError> {
    let offsets: Vec<i32> = std::iter::once(0).chain(ends.iter().copied()).collect();
    StringArray::try_new(OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(bytes), nulls)
}

fn finish_numbers(cells: &mut Vec<f64>, rows: usize) -> Result<Float64Array, ArrowError> {
    let mut cells = std::mem::take(cells);
    cells.truncate(rows);
    let nulls = absent(&cells, |cell| cell.to_bits() == ABSENT_BITS);
    if nulls.is_some() {
        cells.iter_mut().filter(|cell| cell.to_bits() == ABSENT_BITS).for_each(|cell| *cell = 0.0);
    }
    Float64Array::try_new(ScalarBuffer::from(cells), nulls)
}

/// Which cells are null, or `None` if none is.
fn absent<T>(cells: &[T], is_absent: impl Fn(&T) -> bool) -> Option<NullBuffer> {
    // Counted without a way out of the loop, so that the compiler can do many at a time.
    let count = cells.iter().filter(|cell| is_absent(cell)).count();
    (count > 0).then(|| NullBuffer::new(cells.iter().map(|cell| !is_absent(cell)).collect::<BooleanBuffer>()))
}

/// The value of a numeric feature.
#[inline]
fn feature_number(value: Value<'_>) -> f64 {
    match value {
        Value::Number(number) => number.to_f64(),
        Value::Null => f64::from_bits(ABSENT_BITS),
        Value::Text(text) => special_number(text),
        Value::Bool(_) | Value::Container => wrong_type(),
    }
}

/// Numbers that JSON cannot write, as other languages write them into strings.
fn special_number(text: &[u8]) -> f64 {
    match text {
        b"NaN" | b"nan" => f64::NAN,
        b"Infinity" | b"+Infinity" | b"inf" => f64::INFINITY,
        b"-Infinity" | b"-inf" => f64::NEG_INFINITY,
        _ => wrong_type(),
    }
}

/// A number, and anything else is absent.
fn plain_number(value: Value<'_>) -> f64 {
    match value {
        Value::Number(number) => number.to_f64(),
        _ => f64::from_bits(ABSENT_BITS),
    }
}

/// The name of a categorical value; `None` if it is missing.
#[inline]
fn category<'a>(value: Value<'a>, scratch: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    match value {
        Value::Text(text) => Some(cut(text)),
        Value::Null => None,
        Value::Bool(true) => Some(b"true"),
        Value::Bool(false) => Some(b"false"),
        Value::Number(number) => Some(number_name(number, scratch)),
        Value::Container => Some(WRONG_TYPE_NAME.as_bytes()),
    }
}

/// The name of a model or version: a string or a number.
fn plain_name<'a>(value: Value<'a>, scratch: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    match value {
        Value::Text(_) | Value::Number(_) => category(value, scratch),
        _ => None,
    }
}

#[inline]
fn cut(text: &[u8]) -> &[u8] {
    if text.len() <= NAME_BYTES_MAX {
        return text;
    }
    std::str::from_utf8(text).map_or(text, |text| cut_name(text).as_bytes())
}

fn number_name<'a>(number: Number<'a>, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    let value = number.to_f64();
    // A short integer is written as its canonical name already.
    if number.integer && number.text.len() <= 15 && value != 0.0 {
        return number.text;
    }
    scratch.clear();
    // Writing into a vector does not fail.
    let _ = write!(scratch, "{}", canonical_number(value));
    scratch
}

fn event_time(value: Value<'_>, unit: TimestampUnit) -> EventTime {
    let time: Option<Timestamp> = match value {
        Value::Null => return EventTime::Missing,
        Value::Number(number) => timestamp::from_number(number, unit),
        Value::Text(text) => timestamp::from_text(text, unit),
        Value::Bool(_) | Value::Container => None,
    };
    time.map_or(EventTime::Bad, |time| EventTime::At(time.as_micros()))
}

//! JSON lines: one object a line, blank lines allowed.
//!
//! Columns are the members of the objects, in the order in which they first appear; a member that a line
//! lacks is missing there. Objects and arrays as values are of the wrong type. A line that is no JSON
//! object, names a member twice or holds a number beyond the range of a double is an error.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::cells::Mixed;
use super::{Bytes, CHUNK_ROWS, COLUMNS_MAX, Cell, Cells, Chunk, Chunks, Header, ReadError, ReadReason};

/// Longest line.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// A chunk ends early when its strings take this much.
const CHUNK_TEXT_MAX: usize = 64 << 20;

/// Reads the rows.
pub(super) fn scan<'a>(path: &Path, bytes: Bytes, wanted: &'a dyn Fn(&str) -> bool) -> Chunks<'a> {
    Box::new(Scan {
        path: path.to_owned(),
        reader: BufReader::with_capacity(1 << 17, bytes.reader),
        read: bytes.read,
        line: 0,
        buffer: Vec::new(),
        columns: Columns { wanted, places: HashMap::new(), columns: Vec::new(), rows: 0 },
        header: Arc::new([]),
        done: false,
    })
}

struct Scan<'a> {
    path: PathBuf,
    reader: BufReader<Box<dyn Read>>,
    read: Arc<AtomicU64>,
    line: u64,
    buffer: Vec<u8>,
    columns: Columns<'a>,
    header: Header,
    done: bool,
}

impl Scan<'_> {
    fn error(&self, reason: impl Into<ReadReason>) -> ReadError {
        ReadError::new(&self.path, Some(self.line), reason)
    }

    /// Reads the next line that is not blank into the buffer; `false` at the end.
    fn next_line(&mut self) -> Result<bool, ReadError> {
        loop {
            self.buffer.clear();
            self.line += 1;
            let read = (&mut self.reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut self.buffer);
            let read = read.map_err(|error| self.error(error))?;
            if read == 0 {
                return Ok(false);
            }
            if u64::try_from(read).is_ok_and(|read| read == LINE_BYTES_MAX)
                && self.buffer.last() != Some(&b'\n')
            {
                let text = format!("is longer than {} MiB", LINE_BYTES_MAX >> 20);
                return Err(self.error(ReadReason::Bound(text)));
            }
            if self.line == 1 && self.buffer.starts_with(b"\xef\xbb\xbf") {
                self.buffer.drain(..3);
            }
            if !self.buffer.iter().all(u8::is_ascii_whitespace) {
                return Ok(true);
            }
        }
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, ReadError> {
        while self.columns.rows < CHUNK_ROWS && self.columns.text_bytes() < CHUNK_TEXT_MAX {
            if !self.next_line()? {
                break;
            }
            let mut input = serde_json::Deserializer::from_slice(&self.buffer);
            let row = RowSeed(&mut self.columns).deserialize(&mut input).and_then(|()| input.end());
            row.map_err(|error| self.error(error))?;
        }
        if self.columns.rows == 0 {
            return Ok(None);
        }
        let (rows, columns) = self.columns.take();
        if self.header.len() != self.columns.columns.len() {
            self.header = self.columns.columns.iter().map(|column| column.name.clone()).collect();
        }
        let bytes = self.read.load(Ordering::Relaxed);
        Ok(Some(Chunk { header: self.header.clone(), columns, rows, bytes }))
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<Chunk, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.next_chunk().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

/// The columns of the chunk that is being read.
struct Columns<'a> {
    wanted: &'a dyn Fn(&str) -> bool,
    places: HashMap<Arc<str>, usize>,
    columns: Vec<Column>,
    rows: usize,
}

struct Column {
    name: Arc<str>,
    wanted: bool,
    values: Mixed,
}

impl Columns<'_> {
    /// The place of a column, which is made if it is new.
    fn place(&mut self, name: &str) -> Option<usize> {
        if let Some(&place) = self.places.get(name) {
            return Some(place);
        }
        if self.columns.len() >= COLUMNS_MAX {
            return None;
        }
        let name: Arc<str> = name.into();
        self.places.insert(name.clone(), self.columns.len());
        self.columns.push(Column { wanted: (self.wanted)(&name), name, values: Mixed::default() });
        Some(self.columns.len() - 1)
    }

    fn text_bytes(&self) -> usize {
        self.columns.iter().map(|column| column.values.text_bytes()).sum()
    }

    fn take(&mut self) -> (usize, Vec<Cells>) {
        let rows = std::mem::take(&mut self.rows);
        let cells = self.columns.iter_mut().map(|column| {
            let values = std::mem::take(&mut column.values);
            if column.wanted { Cells::Mixed(values) } else { Cells::Skipped }
        });
        (rows, cells.collect())
    }
}

/// Reads one object as one more row.
struct RowSeed<'a, 'b>(&'a mut Columns<'b>);

impl<'de> DeserializeSeed<'de> for RowSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(columns) = self;
        let row = columns.rows;
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            let too_many = || A::Error::custom(format!("more than {COLUMNS_MAX} different members"));
            let place = columns.place(&name).ok_or_else(too_many)?;
            let Some(column) = columns.columns.get_mut(place) else { continue };
            if column.values.len() > row {
                return Err(A::Error::custom(format!("the member `{name}` is there twice")));
            }
            column.values.fill(row);
            map.next_value_seed(ValueSeed(column))?;
        }
        columns.rows += 1;
        columns.columns.iter_mut().for_each(|column| column.values.fill(row + 1));
        Ok(())
    }
}

/// Reads one value as one more cell.
struct ValueSeed<'a>(&'a mut Column);

impl ValueSeed<'_> {
    fn push(self, cell: Cell<'_>) {
        // A column that is not wanted keeps its length, so that a repeated member is still seen.
        self.0.values.push(if self.0.wanted { cell } else { Cell::Missing });
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.push(Cell::Boolean(value));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.push(Cell::Number(value as f64));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.push(Cell::Number(value as f64));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.push(Cell::Number(value));
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.push(Cell::Name(value));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.push(Cell::Missing);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.push(Cell::Foreign);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.push(Cell::Foreign);
        Ok(())
    }
}

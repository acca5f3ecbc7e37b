//! Two tables as one: the rows of the first, then those of the second, columns matched by their names.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Cells, Chunk, Chunks, Header, ReadError, Size, Table};

/// Two tables as one.
pub struct Joined<'a> {
    first: &'a dyn Table,
    second: &'a dyn Table,
}

impl<'a> Joined<'a> {
    /// The rows of `first`, then those of `second`. A column that one of them lacks is missing there.
    pub fn new(first: &'a dyn Table, second: &'a dyn Table) -> Self {
        Self { first, second }
    }
}

impl Table for Joined<'_> {
    fn header(&self) -> Option<Header> {
        let mut columns = Columns::default();
        columns.places(&self.first.header()?);
        columns.places(&self.second.header()?);
        Some(columns.header)
    }

    fn size(&self) -> Size {
        Size::default()
    }

    fn scan<'b>(&'b self, wanted: &'b dyn Fn(&str) -> bool) -> Result<Chunks<'b>, ReadError> {
        let chunks = self.first.scan(wanted)?.chain(self.second.scan(wanted)?);
        let mut columns = Columns::default();
        Ok(Box::new(chunks.map(move |chunk| chunk.map(|chunk| columns.arrange(chunk)))))
    }
}

/// The columns of both tables, in the order in which they are first seen.
struct Columns {
    header: Header,
    place_of: HashMap<Arc<str>, usize>,
}

impl Default for Columns {
    fn default() -> Self {
        Self { header: Arc::new([]), place_of: HashMap::new() }
    }
}

impl Columns {
    /// The place of each of these columns among those of both tables.
    fn places(&mut self, header: &[Arc<str>]) -> Vec<usize> {
        let before = self.place_of.len();
        let mut all: Vec<Arc<str>> = Vec::new();
        let mut place = |name: &Arc<str>| {
            let next = self.place_of.len();
            *self.place_of.entry(Arc::clone(name)).or_insert_with(|| {
                all.push(Arc::clone(name));
                next
            })
        };
        let places = header.iter().map(&mut place).collect();
        if self.place_of.len() > before {
            self.header = self.header.iter().cloned().chain(all).collect();
        }
        places
    }

    fn arrange(&mut self, chunk: Chunk) -> Chunk {
        let places = self.places(&chunk.header);
        let mut columns = vec![Cells::Skipped; self.header.len()];
        for (place, cells) in places.into_iter().zip(chunk.columns) {
            if let Some(column) = columns.get_mut(place) {
                *column = cells;
            }
        }
        Chunk { header: self.header.clone(), columns, ..chunk }
    }
}

//! Arrow batches in memory, or made on demand.

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::{Cells, Chunk, Chunks, Header, ReadError, Size, Table};

/// A table whose batches come from a function that is called for every scan and must give the same rows
/// each time.
pub struct MemoryTable<F> {
    header: Header,
    batches: F,
}

impl<F, I> MemoryTable<F>
where
    F: Fn() -> I,
    I: IntoIterator<Item = RecordBatch>,
    I::IntoIter: 'static,
{
    /// A table of the given schema; every batch must have it.
    pub fn new(schema: &SchemaRef, batches: F) -> Self {
        let header = schema.fields().iter().map(|field| Arc::from(field.name().as_str())).collect();
        Self { header, batches }
    }
}

impl<F, I> Table for MemoryTable<F>
where
    F: Fn() -> I,
    I: IntoIterator<Item = RecordBatch>,
    I::IntoIter: 'static,
{
    fn header(&self) -> Option<Header> {
        Some(self.header.clone())
    }

    fn size(&self) -> Size {
        Size::default()
    }

    fn scan<'a>(&'a self, wanted: &'a dyn Fn(&str) -> bool) -> Result<Chunks<'a>, ReadError> {
        let chunks = (self.batches)().into_iter().map(move |batch| {
            let cells =
                |(name, array)| if wanted(name) { Cells::of_arrow(array) } else { Ok(Cells::Skipped) };
            let names = self.header.iter().map(|name| name.as_ref());
            let columns = names.zip(batch.columns()).map(cells).collect::<Result<_, _>>();
            let columns = columns.map_err(|error| ReadError::new(Path::new("(in memory)"), None, error))?;
            Ok(Chunk { header: self.header.clone(), columns, rows: batch.num_rows(), bytes: 0 })
        });
        Ok(Box::new(chunks))
    }
}

//! Parquet files: only the wanted columns are decoded, a batch at a time.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::{CHUNK_ROWS, Cells, Chunk, Chunks, Header, ReadError, check_header};

/// The columns of a file and its number of rows.
pub(super) fn describe(path: &Path) -> Result<(Header, u64), ReadError> {
    let builder = open(path)?;
    let header: Header =
        builder.schema().fields().iter().map(|field| Arc::from(field.name().as_str())).collect();
    check_header(path, &header)?;
    let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
    Ok((header, rows))
}

/// Reads the rows.
pub(super) fn scan<'a>(
    path: &Path,
    header: Header,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Chunks<'a>, ReadError> {
    let builder = open(path)?;
    let projection: Vec<usize> =
        (0..header.len()).filter(|&index| header.get(index).is_some_and(|name| wanted(name))).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), projection.iter().copied());
    let reader = builder
        .with_projection(mask)
        .with_batch_size(CHUNK_ROWS)
        .build()
        .map_err(|error| ReadError::new(path, None, error))?;
    Ok(Box::new(Scan { path: path.to_owned(), header, projection, reader }))
}

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, ReadError> {
    let file = File::open(path).map_err(|error| ReadError::new(path, None, error))?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| ReadError::new(path, None, error))
}

struct Scan {
    path: PathBuf,
    header: Header,
    projection: Vec<usize>,
    reader: ParquetRecordBatchReader,
}

impl Iterator for Scan {
    type Item = Result<Chunk, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let chunk = self.reader.next()?.and_then(|batch| {
            let mut columns = vec![Cells::Skipped; self.header.len()];
            for (&index, array) in self.projection.iter().zip(batch.columns()) {
                if let Some(column) = columns.get_mut(index) {
                    *column = Cells::of_arrow(array)?;
                }
            }
            Ok(Chunk { header: self.header.clone(), columns, rows: batch.num_rows(), bytes: 0 })
        });
        Some(chunk.map_err(|error| ReadError::new(&self.path, None, error)))
    }
}

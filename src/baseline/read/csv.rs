//! CSV as RFC 4180 has it: a header line, commas, quotes.
//!
//! Every row must have as many fields as the header, and every field must be UTF-8; a row that does not
//! is an error that names its line. A column without a name (the row index that some tools write first)
//! is not read.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{AsArray, RecordBatch};
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::{Decoder, Format};
use arrow::datatypes::{DataType, Field, Schema};

use super::{Bytes, CHUNK_ROWS, Cells, Chunk, Chunks, Header, ReadError, ReadReason, check_header};

/// Longest header line.
const HEADER_BYTES_MAX: u64 = 16 << 20;

/// A quote that is never closed would make the rest of the file one field. A chunk with more bytes than
/// this is refused.
const CHUNK_BYTES_MAX: usize = 256 << 20;

const BUFFER_BYTES: usize = 1 << 17;

/// Reads the header line.
pub(super) fn header(path: &Path, reader: Box<dyn Read>) -> Result<Header, ReadError> {
    let (schema, _) = Format::default()
        .with_header(true)
        .infer_schema(reader.take(HEADER_BYTES_MAX), Some(0))
        .map_err(|error| ReadError::new(path, Some(1), unwrap_io(error)))?;
    let header: Header = schema.fields().iter().map(|field| field.name().trim().into()).collect();
    if header.is_empty() {
        return Err(ReadError::new(path, None, ReadReason::Empty));
    }
    check_header(path, &header)?;
    Ok(header)
}

/// Reads the rows.
pub(super) fn scan<'a>(
    path: &Path,
    bytes: Bytes,
    header: Header,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Chunks<'a>, ReadError> {
    let fields: Vec<Field> =
        header.iter().map(|name| Field::new(name.as_ref(), DataType::Utf8, true)).collect();
    let projection: Vec<usize> =
        (0..header.len()).filter(|&index| header.get(index).is_some_and(|name| wanted(name))).collect();
    // Without any column the decoder could not say how many rows there are.
    let projection = if projection.is_empty() { vec![0] } else { projection };
    let decoder = ReaderBuilder::new(Arc::new(Schema::new(fields)))
        .with_header(true)
        .with_batch_size(CHUNK_ROWS)
        .with_projection(projection.clone())
        .build_decoder();
    let Bytes { reader, read } = bytes;
    let buffer = vec![0; BUFFER_BYTES];
    Ok(Box::new(Scan {
        path: path.to_owned(),
        reader,
        read,
        header,
        projection,
        decoder,
        buffer,
        start: 0,
        end: 0,
        rows: 0,
        done: false,
    }))
}

struct Scan {
    path: PathBuf,
    reader: Box<dyn Read>,
    read: Arc<AtomicU64>,
    header: Header,
    projection: Vec<usize>,
    decoder: Decoder,
    buffer: Vec<u8>,
    /// What of `buffer` is not yet decoded.
    start: usize,
    end: usize,
    rows: u64,
    done: bool,
}

impl Scan {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, ReadError> {
        let mut taken = 0;
        loop {
            if self.start == self.end {
                self.start = 0;
                self.end = self.fill()?;
            }
            let fresh = self.buffer.get(self.start..self.end).unwrap_or_default();
            let decoded = self.decoder.decode(fresh);
            let decoded = decoded.map_err(|error| self.error(unwrap_io(error)))?;
            if decoded == 0 {
                break;
            }
            self.start += decoded;
            taken += decoded;
            if taken > CHUNK_BYTES_MAX {
                let text = format!(
                    "fewer than {CHUNK_ROWS} rows take more than {} MiB from here; is a quote not closed?",
                    CHUNK_BYTES_MAX >> 20
                );
                return Err(self.error(ReadReason::Bound(text)));
            }
        }
        self.decoder.flush().map_err(|error| self.error(unwrap_io(error)))
    }

    fn fill(&mut self) -> Result<usize, ReadError> {
        loop {
            match self.reader.read(&mut self.buffer) {
                Ok(length) => return Ok(length),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(ReadReason::Io(error))),
            }
        }
    }

    /// The decoder's own messages name the line; others get the line at which the chunk starts.
    fn error(&self, reason: ReadReason) -> ReadError {
        let line = match &reason {
            ReadReason::Arrow(error) => line_in(&error.to_string()),
            _ => Some(self.rows + 2),
        };
        ReadError::new(&self.path, line, reason)
    }

    fn chunk(&mut self, batch: &RecordBatch) -> Chunk {
        let mut columns = vec![Cells::Skipped; self.header.len()];
        for (&index, array) in self.projection.iter().zip(batch.columns()) {
            if let Some(column) = columns.get_mut(index) {
                *column = Cells::Text(array.as_string::<i32>().clone());
            }
        }
        self.rows += u64::try_from(batch.num_rows()).unwrap_or(0);
        Chunk {
            header: self.header.clone(),
            columns,
            rows: batch.num_rows(),
            bytes: self.read.load(Ordering::Relaxed),
        }
    }
}

impl Iterator for Scan {
    type Item = Result<Chunk, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        match self.next_batch() {
            Ok(Some(batch)) => Some(Ok(self.chunk(&batch))),
            Ok(None) => {
                self.done = true;
                None
            }
            Err(error) => {
                self.done = true;
                Some(Err(error))
            }
        }
    }
}

/// The first number after the word "line" in a message.
fn line_in(message: &str) -> Option<u64> {
    let (_, after) = message.split_once("line ")?;
    let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    after.get(..digits)?.parse().ok()
}

/// An I/O error that Arrow wrapped, such as damaged gzip data, is told as what it is.
fn unwrap_io(error: arrow::error::ArrowError) -> ReadReason {
    match error {
        arrow::error::ArrowError::IoError(_, error) => ReadReason::Io(error),
        other => ReadReason::Arrow(other),
    }
}

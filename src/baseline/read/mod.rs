//! Tables of training rows, read chunk by chunk: Parquet, CSV and JSON lines files, and Arrow batches in
//! memory.
//!
//! Place in the flow: under the [builder](super::build()) and `driftline compare`, which read a table
//! more than once. Memory does not grow with the number of rows.
//!
//! Invariant: every scan of one table gives the same columns at the same places, and the same rows in
//! the same order.
//!
//! To add a format: a file here with a function that gives [`Chunks`], a variant of [`Format`] and its
//! file name endings in [`Format::of`].

mod cells;
mod csv;
mod joined;
mod jsonl;
mod memory;
mod parquet;
mod spool;

pub(crate) use cells::{Cell, Cells, Reading, read_text};
pub use joined::Joined;
pub use memory::MemoryTable;
pub use spool::Spool;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Rows of a chunk: enough that the work per chunk is small beside the work per row, few enough that a
/// chunk of wide rows stays within some megabytes.
pub(crate) const CHUNK_ROWS: usize = 16_384;

/// Most columns of a table. JSON lines could otherwise bring new ones for ever.
pub(crate) const COLUMNS_MAX: usize = 10_000;

/// The names of a table's columns, in its order.
pub type Header = Arc<[Arc<str>]>;

/// Some rows of a table.
pub struct Chunk {
    /// The columns seen so far; a later chunk of JSON lines may know more, the earlier ones stay where
    /// they are.
    pub(crate) header: Header,
    /// The values, one entry a column of the header.
    pub(crate) columns: Vec<Cells>,
    /// Number of rows.
    pub(crate) rows: usize,
    /// Bytes of the file read so far, 0 if that is not known.
    pub(crate) bytes: u64,
}

/// The chunks of one scan.
pub type Chunks<'a> = Box<dyn Iterator<Item = Result<Chunk, ReadError>> + 'a>;

/// Rows that can be read again and again.
pub trait Table {
    /// The columns, if they are known without reading the rows.
    fn header(&self) -> Option<Header>;

    /// How much there is to read.
    fn size(&self) -> Size;

    /// Reads all rows from the start; the values of columns that are not wanted are not decoded.
    ///
    /// # Errors
    /// [`ReadError`] when the table cannot be opened; each item when a row cannot be read.
    fn scan<'a>(&'a self, wanted: &'a dyn Fn(&str) -> bool) -> Result<Chunks<'a>, ReadError>;
}

/// How much there is to read, as far as it is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Rows.
    pub rows: Option<u64>,
    /// Bytes on disk.
    pub bytes: Option<u64>,
}

/// A file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// RFC 4180 with a header line.
    Csv,
    /// One JSON object a line.
    JsonLines,
}

impl Format {
    /// The format of a file by its name, and whether it is gzipped.
    ///
    /// # Errors
    /// [`ReadError`] when the ending is not known.
    pub fn of(path: &Path) -> Result<(Self, bool), ReadError> {
        let name =
            path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        let (stem, gzip) = name.strip_suffix(".gz").map_or((name.as_str(), false), |stem| (stem, true));
        let endings = [
            (".parquet", Self::Parquet),
            (".csv", Self::Csv),
            (".jsonl", Self::JsonLines),
            (".ndjson", Self::JsonLines),
        ];
        match endings.into_iter().find(|(ending, _)| stem.ends_with(ending)) {
            Some((_, format)) if !(gzip && format == Self::Parquet) => Ok((format, gzip)),
            _ => Err(ReadError::new(path, None, ReadReason::UnknownFormat)),
        }
    }
}

/// Why a table cannot be read, and where.
#[derive(Debug, thiserror::Error)]
#[error("{}", place(.path, *.line))]
pub struct ReadError {
    path: PathBuf,
    line: Option<u64>,
    #[source]
    reason: ReadReason,
}

/// Why a table cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadReason {
    /// The operating system refused, or the compressed data is damaged.
    #[error("cannot be read")]
    Io(#[from] io::Error),
    /// The ending says nothing.
    #[error(
        "the file name says no known format; expected .parquet, .csv, .csv.gz, .jsonl, .jsonl.gz, .ndjson or .ndjson.gz"
    )]
    UnknownFormat,
    /// Not Parquet, or damaged.
    #[error("is no Parquet file that can be read")]
    Parquet(#[from] ::parquet::errors::ParquetError),
    /// A row is not well-formed, or a column cannot be decoded.
    #[error("cannot be decoded")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A line is no JSON.
    #[error("is no JSON object that can be read")]
    Json(#[from] serde_json::Error),
    /// A bound was passed.
    #[error("{0}")]
    Bound(String),
    /// The header line is no header.
    #[error("{0}")]
    Header(String),
    /// No bytes, or a header and nothing else.
    #[error("has no rows")]
    Empty,
}

fn place(path: &Path, line: Option<u64>) -> String {
    match line {
        Some(line) => format!("{}, line {line}", path.display()),
        None => path.display().to_string(),
    }
}

impl ReadError {
    pub(crate) fn new(path: &Path, line: Option<u64>, reason: impl Into<ReadReason>) -> Self {
        Self { path: path.to_owned(), line, reason: reason.into() }
    }

    /// The line of the file, from 1, if the mistake has one.
    pub fn line(&self) -> Option<u64> {
        self.line
    }

    /// Why.
    pub fn reason(&self) -> &ReadReason {
        &self.reason
    }
}

/// A file with rows.
#[derive(Debug, Clone)]
pub struct TableFile {
    path: PathBuf,
    format: Format,
    gzip: bool,
    header: Option<Header>,
    size: Size,
}

impl TableFile {
    /// Opens a file; its ending says the format.
    ///
    /// # Errors
    /// [`ReadError`] when the ending is unknown, or the file or its header cannot be read.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let (format, gzip) = Format::of(path)?;
        Self::open_as(path, format, gzip)
    }

    /// Opens a file of a given format.
    ///
    /// # Errors
    /// [`ReadError`] when the file or its header cannot be read.
    pub fn open_as(path: &Path, format: Format, gzip: bool) -> Result<Self, ReadError> {
        let metadata = std::fs::metadata(path).map_err(|error| ReadError::new(path, None, error))?;
        let mut file = Self {
            path: path.to_owned(),
            format,
            gzip,
            header: None,
            size: Size { rows: None, bytes: Some(metadata.len()) },
        };
        match format {
            Format::Parquet => {
                let (header, rows) = parquet::describe(path)?;
                file.header = Some(header);
                file.size = Size { rows: Some(rows), bytes: None };
            }
            Format::Csv => file.header = Some(csv::header(path, file.bytes()?.reader)?),
            Format::JsonLines => {}
        }
        Ok(file)
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn bytes(&self) -> Result<Bytes, ReadError> {
        let file = File::open(&self.path).map_err(|error| ReadError::new(&self.path, None, error))?;
        let read = Arc::new(AtomicU64::new(0));
        let counted = BufReader::with_capacity(1 << 16, Counted { inner: file, read: read.clone() });
        let reader: Box<dyn Read> = if self.gzip {
            Box::new(flate2::bufread::MultiGzDecoder::new(counted))
        } else {
            Box::new(counted)
        };
        Ok(Bytes { reader, read })
    }
}

impl Table for TableFile {
    fn header(&self) -> Option<Header> {
        self.header.clone()
    }

    fn size(&self) -> Size {
        self.size
    }

    fn scan<'a>(&'a self, wanted: &'a dyn Fn(&str) -> bool) -> Result<Chunks<'a>, ReadError> {
        match (self.format, &self.header) {
            (Format::Parquet, Some(header)) => parquet::scan(&self.path, header.clone(), wanted),
            (Format::Csv, Some(header)) => csv::scan(&self.path, self.bytes()?, header.clone(), wanted),
            _ => Ok(jsonl::scan(&self.path, self.bytes()?, wanted)),
        }
    }
}

/// The decompressed bytes of a file, and how many of its own were read.
struct Bytes {
    reader: Box<dyn Read>,
    read: Arc<AtomicU64>,
}

struct Counted {
    inner: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.read.fetch_add(u64::try_from(length).unwrap_or(0), Ordering::Relaxed);
        Ok(length)
    }
}

/// Refuses a header that names two columns alike: which of them is meant could not be said.
fn check_header(path: &Path, header: &[Arc<str>]) -> Result<(), ReadError> {
    let mut seen = std::collections::BTreeSet::new();
    for name in header.iter().filter(|name| !name.is_empty()) {
        if !seen.insert(name) {
            let text = format!("the header names the column `{name}` twice; rename one of them");
            return Err(ReadError::new(path, None, ReadReason::Header(text)));
        }
    }
    if header.len() > COLUMNS_MAX {
        let text = format!("has {} columns; at most {COLUMNS_MAX} are read", header.len());
        return Err(ReadError::new(path, None, ReadReason::Bound(text)));
    }
    Ok(())
}

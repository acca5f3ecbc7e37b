//! The baseline file: versioned, compressed, identified by the hash of its content.
//!
//! A gzip of two lines of JSON, so that an operator can look at one with `zcat`:
//!
//! ```text
//! {"format":"driftline-baseline","version":3,"sha256":"…"}
//! {"model":…,"version":…,"rows":…,"columns":[…],"counts":"…","reference":…,"segments":[…],"outcomes":…,"notes":[…]}
//! ```
//!
//! `counts` and the panes of the reference and of the segments are summaries in their own format, in base64.
//! The hash is of the bytes of the second line; a reader checks it, and refuses a newer version.
//!
//! Version 1 had no segments, and its columns no extremes. Where there are none, version 2 does not write
//! them either, so the same counts have the same id in both. Version 2 had no outcomes; a baseline without them
//! is still written as version 2, byte by byte.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::segment::SEGMENTS_LIMIT;
use super::{Baseline, BaselineId, CELLS_MAX, Column, Extremes, Outcomes, Reference, Segment};
use crate::event::{ColumnSpec, Span, Timestamp};
use crate::summary::outcome::{OutcomeShape, OutcomeSummary};
use crate::summary::{CodecError, ColumnSummary, Latency, ModelSummary, Rows, Shape};

/// The name in the first line.
const FORMAT: &str = "driftline-baseline";

/// The newest version, which is written where there are outcomes.
const VERSION: u32 = 3;

/// The version that is written where there are none: programs that know no outcomes read it too.
const VERSION_WITHOUT_OUTCOMES: u32 = 2;

/// Largest content that is read: a thousand columns with all panes stay far below.
const CONTENT_BYTES_MAX: u64 = 1 << 30;

/// What a gzip file begins with.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Why a baseline file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// The operating system refused, or the compressed data is damaged.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file could not be written; what was there before is as it was.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something else than a baseline.
    #[error("{} is no baseline file: make one with `driftline baseline build`", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Written by a newer version.
    #[error("{} has format {found}, this version knows up to {VERSION}: upgrade driftline, or build it anew", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The content is not what was written.
    #[error("{} is damaged ({why}): restore it from a copy, or build it anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    sha256: String,
}

#[derive(Serialize, Deserialize)]
struct Content {
    model: Option<String>,
    version: Option<String>,
    rows: u64,
    columns: Vec<ContentColumn>,
    counts: String,
    reference: Option<ContentReference>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    segments: Vec<ContentSegment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outcomes: Option<ContentOutcomes>,
    notes: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct ContentColumn {
    #[serde(flatten)]
    spec: ColumnSpec,
    shape: Shape,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extremes: Option<Extremes>,
}

#[derive(Serialize, Deserialize)]
struct ContentReference {
    pane: Span,
    panes: Vec<(Timestamp, String)>,
    rows_left_out: u64,
}

#[derive(Serialize, Deserialize)]
struct ContentSegment {
    name: String,
    total: String,
    panes: Vec<(Timestamp, String)>,
}

#[derive(Serialize, Deserialize)]
struct ContentOutcomes {
    shape: OutcomeShape,
    classes: Vec<String>,
    scores: Vec<String>,
    has_prediction: bool,
    amount: Option<String>,
    total: String,
    panes: Vec<(Timestamp, String)>,
    segments: Vec<(String, String)>,
    left_out: u64,
}

impl Baseline {
    /// The same baseline under the id of its content: call it after changing a field.
    #[must_use]
    pub fn sealed(self) -> Self {
        let id = hash(&self.content());
        Self { id, ..self }
    }

    /// Reads and checks a baseline file.
    ///
    /// # Errors
    /// [`BaselineError`], each with what to do.
    pub fn read(path: &Path) -> Result<Self, BaselineError> {
        let io = |source| BaselineError::Io { path: path.to_owned(), source };
        let mut file = BufReader::new(File::open(path).map_err(io)?);
        if !file.fill_buf().map_err(io)?.starts_with(&GZIP_MAGIC) {
            return Err(BaselineError::Foreign { path: path.to_owned() });
        }
        let mut bytes = Vec::new();
        let mut unpacked = GzDecoder::new(file).take(CONTENT_BYTES_MAX + 1);
        match unpacked.read_to_end(&mut bytes) {
            Ok(_) => Self::parse(path, &bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(BaselineError::Damaged { path: path.to_owned(), why: "it ends early".to_owned() })
            }
            Err(error)
                if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) =>
            {
                Err(BaselineError::Damaged { path: path.to_owned(), why: error.to_string() })
            }
            Err(error) => Err(io(error)),
        }
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, BaselineError> {
        let foreign = || BaselineError::Foreign { path: path.to_owned() };
        let damaged = |why: String| BaselineError::Damaged { path: path.to_owned(), why };
        if bytes.len() as u64 > CONTENT_BYTES_MAX {
            return Err(damaged(format!("it unpacks to more than {CONTENT_BYTES_MAX} bytes")));
        }
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(foreign)?;
        let header: Header = serde_json::from_slice(&bytes[..end]).map_err(|_| foreign())?;
        if header.format != FORMAT {
            return Err(foreign());
        }
        if header.version > VERSION {
            return Err(BaselineError::Newer { path: path.to_owned(), found: header.version });
        }
        let content = &bytes[end + 1..];
        let id = hash(content);
        if id.to_string() != header.sha256 {
            return Err(damaged("its hash does not match".to_owned()));
        }
        let content: Content = serde_json::from_slice(content).map_err(|error| damaged(error.to_string()))?;
        content.into_baseline(id).map_err(damaged)
    }

    /// Writes the file beside its place and moves it there, so that a reader never sees half of it.
    ///
    /// # Errors
    /// [`BaselineError::Write`]; what was there before stays.
    pub fn write(&self, path: &Path) -> Result<(), BaselineError> {
        let failed = |source| BaselineError::Write { path: path.to_owned(), source };
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".{}.part", std::process::id()));
        let draft = PathBuf::from(draft);
        let result = self.write_draft(&draft).and_then(|()| fs::rename(&draft, path));
        if result.is_ok() {
            sync_directory(path);
        }
        if result.is_err() {
            // The draft is of no use to anyone; the first error is the one to tell.
            let _ = fs::remove_file(&draft);
        }
        result.map_err(failed)
    }

    fn write_draft(&self, draft: &Path) -> io::Result<()> {
        let content = self.content();
        let version = self.outcomes.as_ref().map_or(VERSION_WITHOUT_OUTCOMES, |_| VERSION);
        let header = Header { format: FORMAT.to_owned(), version, sha256: hash(&content).to_string() };
        let file = File::create(draft)?;
        let mut packed = GzEncoder::new(file, Compression::default());
        serde_json::to_writer(&mut packed, &header)?;
        packed.write_all(b"\n")?;
        packed.write_all(&content)?;
        packed.finish()?.sync_all()
    }

    fn content(&self) -> Vec<u8> {
        let counts = ModelSummary {
            rows: Rows::default(),
            latency: Latency::default(),
            columns: self.columns.iter().map(|column| column.summary.clone()).collect(),
        };
        let content = Content {
            model: self.model.clone(),
            version: self.version.clone(),
            rows: self.rows,
            columns: self
                .columns
                .iter()
                .map(|column| ContentColumn {
                    spec: column.spec.clone(),
                    shape: column.shape.clone(),
                    extremes: column.extremes.clone(),
                })
                .collect(),
            counts: STANDARD.encode(counts.encode()),
            reference: self.reference.as_ref().map(|reference| ContentReference {
                pane: reference.pane,
                panes: reference
                    .panes
                    .iter()
                    .map(|(start, summary)| (*start, STANDARD.encode(summary.encode())))
                    .collect(),
                rows_left_out: reference.rows_left_out,
            }),
            segments: self.segments.iter().map(ContentSegment::of).collect(),
            outcomes: self.outcomes.as_ref().map(ContentOutcomes::of),
            notes: self.notes.clone(),
        };
        // Finite numbers and string keys always serialise.
        serde_json::to_vec(&content).unwrap_or_default()
    }
}

impl Content {
    fn into_baseline(self, id: BaselineId) -> Result<Baseline, String> {
        let shapes: Vec<Shape> = self.columns.iter().map(|column| column.shape.clone()).collect();
        let counts = decode(&self.counts, &shapes)?;
        let reference = match self.reference {
            None => None,
            Some(ContentReference { pane, panes, rows_left_out }) => {
                if pane <= Span::ZERO {
                    return Err("its panes have no length".to_owned());
                }
                let panes = panes.into_iter().map(|(start, text)| Ok((start, decode(&text, &shapes)?)));
                Some(Reference { pane, panes: panes.collect::<Result<_, String>>()?, rows_left_out })
            }
        };
        let segments = segments(self.segments, &shapes, self.rows, reference.as_ref())?;
        let outcomes = match self.outcomes {
            Some(outcomes) => Some(outcomes.into_outcomes(&self.columns, self.rows, reference.as_ref())?),
            None => None,
        };
        let columns = self.columns.into_iter().zip(counts.columns).map(|(column, summary)| {
            let ContentColumn { spec, shape, extremes } = column;
            let fit = extremes.as_ref().is_none_or(|extremes| {
                matches!(shape, Shape::Numeric(_)) && reference.is_some() && extremes.is_sound()
            });
            if fit {
                Ok(Column { spec, shape, summary, extremes })
            } else {
                Err(format!("the extremes of `{}` are none", spec.name))
            }
        });
        let columns = columns.collect::<Result<_, String>>()?;
        let Self { model, version, rows, notes, .. } = self;
        Ok(Baseline { id, model, version, rows, columns, reference, segments, outcomes, notes })
    }
}

impl ContentSegment {
    fn of(segment: &Segment) -> Self {
        let panes = segment.encoded().iter().map(|(start, bytes)| (*start, STANDARD.encode(bytes)));
        Self {
            name: segment.name.clone(),
            total: STANDARD.encode(segment.total.encode()),
            panes: panes.collect(),
        }
    }

    /// Checks the counts; the panes stay encoded.
    fn into_segment(self, shapes: &[Shape], starts: &BTreeSet<Timestamp>) -> Result<Segment, String> {
        let total = decode(&self.total, shapes)?;
        let ascend = self.panes.is_sorted_by(|a, b| a.0 < b.0);
        if !ascend || !self.panes.iter().all(|(start, _)| starts.contains(start)) {
            return Err(format!("the panes of segment `{}` are not those of the reference", self.name));
        }
        let mut left = total.rows.events;
        let panes = self.panes.into_iter().map(|(start, text)| {
            let rows = decode(&text, shapes)?.rows.events;
            left = left.checked_sub(rows).ok_or("a segment has fewer rows than its panes")?;
            Ok((start, STANDARD.decode(text).map_err(|error| error.to_string())?.into_boxed_slice()))
        });
        let panes = panes.collect::<Result<_, String>>()?;
        Ok(Segment::from_encoded(self.name, total, panes))
    }
}

impl ContentOutcomes {
    fn of(outcomes: &Outcomes) -> Self {
        let panes = outcomes.encoded().iter().map(|(start, bytes)| (*start, STANDARD.encode(bytes)));
        let segments = outcomes.segments.iter();
        Self {
            shape: outcomes.shape.clone(),
            classes: outcomes.classes.names().to_vec(),
            scores: outcomes.scores.iter().map(ToString::to_string).collect(),
            has_prediction: outcomes.has_prediction,
            amount: outcomes.amount.as_ref().map(ToString::to_string),
            total: STANDARD.encode(outcomes.total.encode()),
            panes: panes.collect(),
            segments: segments
                .map(|(name, summary)| (name.clone(), STANDARD.encode(summary.encode())))
                .collect(),
            left_out: outcomes.left_out,
        }
    }

    /// Checks the counts; the panes stay encoded.
    fn into_outcomes(
        self,
        columns: &[ContentColumn],
        rows: u64,
        reference: Option<&Reference>,
    ) -> Result<Outcomes, String> {
        let watched = |name: &String| {
            let found = columns.iter().find(|column| *column.spec.name == **name);
            found.map(|column| Arc::clone(&column.spec.name)).ok_or_else(|| format!("no column is `{name}`"))
        };
        if !Outcomes::is_sound(&self.shape) {
            return Err("its outcomes have no shape".to_owned());
        }
        let total = decode_outcomes(&self.total, &self.shape)?;
        if total.labels.checked_add(self.left_out) != Some(rows) {
            return Err("its outcomes are not those of its rows".to_owned());
        }
        let starts: BTreeSet<Timestamp> =
            reference.iter().flat_map(|reference| &reference.panes).map(|(start, _)| *start).collect();
        let ascend = self.panes.is_sorted_by(|a, b| a.0 < b.0);
        if !ascend || !self.panes.iter().all(|(start, _)| starts.contains(start)) {
            return Err("the panes of its outcomes are not those of the reference".to_owned());
        }
        let panes = self.panes.into_iter().map(|(start, text)| {
            decode_outcomes(&text, &self.shape)?;
            Ok((start, STANDARD.decode(text).map_err(|error| error.to_string())?.into_boxed_slice()))
        });
        let panes = panes.collect::<Result<Vec<_>, String>>()?;
        let segments = self.segments.into_iter();
        let segments = segments.map(|(name, text)| Ok((name, decode_outcomes(&text, &self.shape)?)));
        let segments = segments.collect::<Result<_, String>>()?;
        let mut outcomes = Outcomes::new(self.shape, self.classes, total).with_encoded(panes);
        outcomes.scores = self.scores.iter().map(watched).collect::<Result<_, String>>()?;
        outcomes.amount = self.amount.as_ref().map(watched).transpose()?;
        outcomes.has_prediction = self.has_prediction;
        outcomes.segments = segments;
        outcomes.left_out = self.left_out;
        Ok(outcomes)
    }
}

/// The segments, sorted by name, with no more rows and panes than there can be.
fn segments(
    found: Vec<ContentSegment>,
    shapes: &[Shape],
    rows: u64,
    reference: Option<&Reference>,
) -> Result<Vec<Segment>, String> {
    let panes: usize = found.iter().map(|segment| segment.panes.len()).sum();
    if found.len() > SEGMENTS_LIMIT + 1 || panes > CELLS_MAX {
        return Err("it has more segments than there can be".to_owned());
    }
    if !found.is_sorted_by(|a, b| a.name < b.name) {
        return Err("its segments are not sorted by name".to_owned());
    }
    let starts = reference.iter().flat_map(|reference| &reference.panes).map(|(start, _)| *start).collect();
    let read = found.into_iter().map(|segment| segment.into_segment(shapes, &starts));
    let segments: Vec<Segment> = read.collect::<Result<_, String>>()?;
    let together = segments.iter().try_fold(0_u64, |sum, segment| sum.checked_add(segment.rows()));
    if together.is_some_and(|together| together <= rows) {
        Ok(segments)
    } else {
        Err("its segments have more rows than all of it".to_owned())
    }
}

/// Makes the new name of a file durable, for it is an entry of the directory and not of the file. Some file
/// systems refuse this; the file is whole either way, so their refusal is no failure.
fn sync_directory(path: &Path) {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let _ = File::open(parent.unwrap_or(Path::new("."))).and_then(|directory| directory.sync_all());
}

fn hash(content: &[u8]) -> BaselineId {
    BaselineId(Sha256::digest(content).into())
}

/// Reads a summary of outcomes and checks that it was counted on this shape.
fn decode_outcomes(text: &str, shape: &OutcomeShape) -> Result<OutcomeSummary, String> {
    let bytes = STANDARD.decode(text).map_err(|error| error.to_string())?;
    let mut summary = OutcomeSummary::decode(&bytes).map_err(|error| error.to_string())?;
    match summary.merge(&shape.empty()) {
        Ok(()) => Ok(summary),
        Err(_) => Err("the counts of its outcomes do not belong to their shape".to_owned()),
    }
}

/// Reads a summary and checks that it was counted on these shapes.
fn decode(text: &str, shapes: &[Shape]) -> Result<ModelSummary, String> {
    let bytes = STANDARD.decode(text).map_err(|error| error.to_string())?;
    let summary = ModelSummary::decode(&bytes).map_err(|error: CodecError| error.to_string())?;
    let fits = summary.columns.len() == shapes.len()
        && summary.columns.iter().zip(shapes).all(|(column, shape)| match (column, shape) {
            (ColumnSummary::Numeric(numeric), Shape::Numeric(grid)) => {
                let (low, high) = grid.outer();
                numeric.counts.len() == grid.bins() && (numeric.low.len(), numeric.high.len()) == (low, high)
            }
            (ColumnSummary::Categorical(categorical), Shape::Categorical(categories)) => {
                categorical.counts.len() == categories.len()
            }
            _ => false,
        });
    if fits { Ok(summary) } else { Err("its counts do not belong to its columns".to_owned()) }
}

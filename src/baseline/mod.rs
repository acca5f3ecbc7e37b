//! The baseline: what the training data looked like, as counts on a frozen grid.
//!
//! Place in the flow: built once from a training file, loaded at start, immutable. It owns the
//! [`Shape`] of every watched column and is the only maker of an empty [`ModelSummary`], so the
//! summaries of a model always agree in shape. Pure, but for reading and writing its file.
//!
//! Invariant: a baseline is identified by the hash of its content; equal ids mean equal grids, equal
//! counts and equal reference windows.

mod build;
mod count;
mod extremes;
mod file;
mod grid;
mod naming;
mod outcomes;
pub mod read;
mod sample;
mod segment;
mod survey;
mod times;

pub use build::{BuildError, BuildOptions, Plan, Progress, Roles, Watched, build_table, plan_table};
pub use count::{Counted, PANES_MAX, count_table};
pub use extremes::{EXTREMES_MAX, Extreme, Extremes};
pub use file::BaselineError;
pub use grid::BINS;
pub use naming::Naming;
pub use outcomes::{ClassNames, OutcomeError, OutcomeOptions, Outcomes};
pub use segment::{CELLS_MAX, SEGMENTS_MAX, Segment};
pub use survey::{RARE_MAX, TOP_MAX};

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::event::{ColumnSpec, Span, Timestamp};
use crate::summary::{ColumnSummary, Latency, ModelSummary, Rows, Shape};

/// The training reference of one model version.
#[derive(Debug, Clone)]
pub struct Baseline {
    /// Hash of the content.
    pub id: BaselineId,
    /// The model it belongs to, if that was said when it was built.
    pub model: Option<String>,
    /// The model's version, if that was said.
    pub version: Option<String>,
    /// Number of training rows.
    pub rows: u64,
    /// The watched columns, features first.
    pub columns: Vec<Column>,
    /// The training rows cut by their own event time, if a timestamp column was named.
    pub reference: Option<Reference>,
    /// The training rows by the value of the segment column, sorted by name; empty if none was named. Rows
    /// in which the value is missing belong to no segment.
    pub segments: Vec<Segment>,
    /// What came true of the training rows, if the task was said and the rows say it.
    pub outcomes: Option<Outcomes>,
    /// What was noticed while building, for people: degenerate columns, ignored columns.
    pub notes: Vec<String>,
}

/// A watched column with its shape and its training counts.
#[derive(Debug, Clone)]
pub struct Column {
    /// Name, role and kind.
    pub spec: ColumnSpec,
    /// What values are counted on.
    pub shape: Shape,
    /// The counts of the training rows.
    pub summary: ColumnSummary,
    /// The outermost training values, if the column is numeric and the training rows have a time.
    pub extremes: Option<Extremes>,
}

/// The training rows in panes of event time. Reference windows of any length that is a multiple of the
/// pane are unions of them.
#[derive(Debug, Clone)]
pub struct Reference {
    /// Length of a pane.
    pub pane: Span,
    /// Start and counts of each pane that holds rows, ascending.
    pub panes: Vec<(Timestamp, ModelSummary)>,
    /// Rows whose timestamp could not be read or lay in panes over the limit.
    pub rows_left_out: u64,
}

/// SHA-256 of a baseline's content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct BaselineId(pub [u8; 32]);

impl fmt::Display for BaselineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BaselineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaselineId({self})")
    }
}

impl Serialize for BaselineId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Baseline {
    /// A summary of nothing, on this baseline's shapes.
    pub fn empty_summary(&self) -> ModelSummary {
        ModelSummary {
            rows: Rows::default(),
            latency: Latency::default(),
            columns: self.columns.iter().map(|column| column.shape.empty()).collect(),
        }
    }

    /// The training rows of a segment; `None` if the training data had none of that name, or it is counted
    /// under [`OTHER_SEGMENT`](crate::event::OTHER_SEGMENT).
    pub fn segment(&self, name: &str) -> Option<&Segment> {
        let found = self.segments.binary_search_by(|segment| segment.name.as_str().cmp(name)).ok()?;
        self.segments.get(found)
    }

    /// The same without the counts of its panes, which are most of its memory. Its id stays.
    #[must_use]
    pub fn without_panes(mut self) -> Self {
        if let Some(reference) = &mut self.reference {
            reference.panes = Vec::new();
        }
        for segment in &mut self.segments {
            segment.drop_panes();
        }
        if let Some(outcomes) = &mut self.outcomes {
            outcomes.drop_panes();
        }
        self
    }

    /// The watched columns.
    pub fn specs(&self) -> impl Iterator<Item = &ColumnSpec> {
        self.columns.iter().map(|column| &column.spec)
    }
}

/// A baseline that many threads read.
pub type SharedBaseline = Arc<Baseline>;

/// Builds a baseline from a training file; its ending says the format.
///
/// # Errors
/// [`BuildError`]: what is wrong with the file or the roles, and how to mend it.
pub fn build(path: &Path, roles: &Roles, options: &BuildOptions<'_>) -> Result<Baseline, BuildError> {
    build_table(&read::TableFile::open(path)?, roles, options)
}

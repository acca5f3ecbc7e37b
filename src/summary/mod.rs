//! Summaries: counts of a column's values on the baseline's grid, which merge exactly.
//!
//! Place in the flow: the worker pool fills one [`ModelSummary`] for each (model, version, segment,
//! pane) of a batch; the owner merges them; tests compare two of them. Pure.
//!
//! Invariant: `merge` is commutative and associative and the empty summary is its identity, exactly,
//! bit for bit, for everything a summary holds. Sums are kept in fixed point for that reason.
//!
//! A summary only means something together with the [`Shape`] it was counted on: the
//! [baseline](crate::baseline) owns the shape and is the only maker of an empty summary.
//!
//! To add a kind of column: a variant of [`Shape`] and [`ColumnSummary`], a file with its counts, and
//! its codec in `codec.rs` under a new format version.

mod categorical;
mod codec;
mod counts;
mod latency;
mod numeric;
pub mod outcome;

pub use crate::event::{WRONG_TYPE_NAME, canonical_number};
pub use categorical::{CategoricalSummary, Categories, CategoryIndex, UNSEEN_EXAMPLES_MAX};
pub use codec::{CodecError, FORMAT_VERSION};
pub use counts::Counts;
pub use latency::Latency;
pub use numeric::{FixedPoint, Grid, GridError, NumericScratch, NumericSummary, OUTER_BINS};

use serde::{Deserialize, Serialize};

/// What a column's values are counted on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Bins of real numbers.
    Numeric(Grid),
    /// Names.
    Categorical(Categories),
}

impl Shape {
    /// The empty summary on this shape.
    pub fn empty(&self) -> ColumnSummary {
        match self {
            Self::Numeric(grid) => ColumnSummary::Numeric(NumericSummary::empty(grid)),
            Self::Categorical(categories) => {
                ColumnSummary::Categorical(CategoricalSummary::empty(categories))
            }
        }
    }
}

/// Values that are no values: each its own counter, none of them in the bins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anomalies {
    /// Null or absent.
    pub missing: u64,
    /// Not a number.
    pub nan: u64,
    /// Positive infinity, or a number too large for a double.
    pub positive_infinity: u64,
    /// Negative infinity, or a number too small for a double.
    pub negative_infinity: u64,
    /// There, but of another type.
    pub wrong_type: u64,
}

impl Anomalies {
    /// All of them together.
    pub fn total(&self) -> u64 {
        self.missing + self.nan + self.positive_infinity + self.negative_infinity + self.wrong_type
    }

    fn merge(&mut self, other: &Self) {
        self.missing += other.missing;
        self.nan += other.nan;
        self.positive_infinity += other.positive_infinity;
        self.negative_infinity += other.negative_infinity;
        self.wrong_type += other.wrong_type;
    }

    fn take_away(&mut self, other: &Self) {
        self.missing = self.missing.saturating_sub(other.missing);
        self.nan = self.nan.saturating_sub(other.nan);
        self.positive_infinity = self.positive_infinity.saturating_sub(other.positive_infinity);
        self.negative_infinity = self.negative_infinity.saturating_sub(other.negative_infinity);
        self.wrong_type = self.wrong_type.saturating_sub(other.wrong_type);
    }
}

/// The counts of one column.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnSummary {
    /// Counts in bins of real numbers.
    Numeric(NumericSummary),
    /// Counts of names.
    Categorical(CategoricalSummary),
}

impl ColumnSummary {
    /// The counters of values that are no values.
    pub fn anomalies(&self) -> &Anomalies {
        match self {
            Self::Numeric(numeric) => &numeric.anomalies,
            Self::Categorical(categorical) => &categorical.anomalies,
        }
    }

    /// The counts: of bins, or of names.
    pub fn counts(&self) -> &Counts {
        match self {
            Self::Numeric(numeric) => &numeric.counts,
            Self::Categorical(categorical) => &categorical.counts,
        }
    }

    /// Number of values that were counted in bins or as names.
    pub fn values(&self) -> u64 {
        self.counts().total()
    }

    /// Number of rows seen: values and anomalies.
    pub fn rows(&self) -> u64 {
        self.values() + self.anomalies().total()
    }

    /// Adds another summary on the same shape.
    ///
    /// # Errors
    /// [`ShapeMismatch`] when the shapes differ; `self` is then unchanged.
    pub fn merge(&mut self, other: &Self) -> Result<(), ShapeMismatch> {
        match (self, other) {
            (Self::Numeric(mine), Self::Numeric(theirs)) => mine.merge(theirs),
            (Self::Categorical(mine), Self::Categorical(theirs)) => mine.merge(theirs),
            _ => Err(ShapeMismatch),
        }
    }

    /// Takes away a part that was added before: what is left is what the other parts add up to, exactly. Only
    /// the examples of unseen names stay as they are, for they cannot be taken back.
    ///
    /// # Errors
    /// [`ShapeMismatch`] when the shapes differ; `self` is then unchanged.
    pub fn take_away(&mut self, part: &Self) -> Result<(), ShapeMismatch> {
        match (self, part) {
            (Self::Numeric(mine), Self::Numeric(theirs)) => mine.take_away(theirs),
            (Self::Categorical(mine), Self::Categorical(theirs))
                if mine.counts.len() == theirs.counts.len() =>
            {
                mine.counts.take_away(&theirs.counts);
                mine.anomalies.take_away(&theirs.anomalies);
                Ok(())
            }
            _ => Err(ShapeMismatch),
        }
    }
}

/// Two summaries were not counted on the same shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("summaries were not counted on the same baseline")]
pub struct ShapeMismatch;

/// How many events of each kind a pane or window holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// Events of any kind.
    pub events: u64,
    /// Events that carry features.
    pub features: u64,
    /// Events that carry a prediction or score.
    pub predictions: u64,
    /// Events that carry a label.
    pub labels: u64,
}

/// Everything counted for one model, version and segment in one stretch of event time.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSummary {
    /// Events by kind.
    pub rows: Rows,
    /// Serving latency, if any event carried one.
    pub latency: Latency,
    /// One summary a watched column, in the baseline's order.
    pub columns: Vec<ColumnSummary>,
}

impl ModelSummary {
    /// Adds another summary made from the same baseline.
    ///
    /// # Errors
    /// [`ShapeMismatch`] when a column differs; columns before it are then merged already, so the caller
    /// must drop `self`.
    pub fn merge(&mut self, other: &Self) -> Result<(), ShapeMismatch> {
        if self.columns.len() != other.columns.len() {
            return Err(ShapeMismatch);
        }
        for (mine, theirs) in self.columns.iter_mut().zip(&other.columns) {
            mine.merge(theirs)?;
        }
        self.rows.events += other.rows.events;
        self.rows.features += other.rows.features;
        self.rows.predictions += other.rows.predictions;
        self.rows.labels += other.rows.labels;
        self.latency.merge(&other.latency);
        Ok(())
    }

    /// Takes away a part that was added before, but for its latencies, which stay.
    ///
    /// # Errors
    /// [`ShapeMismatch`] when a column differs; columns before it are changed already, so the caller must drop
    /// `self`.
    pub fn take_away(&mut self, part: &Self) -> Result<(), ShapeMismatch> {
        if self.columns.len() != part.columns.len() {
            return Err(ShapeMismatch);
        }
        for (mine, theirs) in self.columns.iter_mut().zip(&part.columns) {
            mine.take_away(theirs)?;
        }
        self.rows.events = self.rows.events.saturating_sub(part.rows.events);
        self.rows.features = self.rows.features.saturating_sub(part.rows.features);
        self.rows.predictions = self.rows.predictions.saturating_sub(part.rows.predictions);
        self.rows.labels = self.rows.labels.saturating_sub(part.rows.labels);
        Ok(())
    }

    /// The number of events a reader means by "n": those that carry features, or else predictions,
    /// or else anything.
    pub fn n(&self) -> u64 {
        [self.rows.features, self.rows.predictions, self.rows.events]
            .into_iter()
            .find(|n| *n > 0)
            .unwrap_or(0)
    }
}

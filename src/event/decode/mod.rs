//! Decoders: the bytes of records become an [`EventBatch`].
//!
//! Place in the flow: called by the worker pool on each [`RawBatch`]. Pure: the same batch gives the
//! same result whatever was decoded before.
//!
//! Invariant: every record of the raw batch is either one row of the event batch or one
//! [`Rejected`], never both, never neither.
//!
//! To add a format: a file here that implements [`Decode`], and a line in [`DECODERS`].

mod json;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ColumnSpec, EventBatch, EventSchema, RawBatch, Rejected, Role};

/// One topic, and where in its records each thing is.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The topic's name.
    pub topic: String,
    /// The row of [`DECODERS`].
    pub format: String,
    /// Where each thing is.
    pub mapping: Mapping,
    /// Bounds on one record.
    pub limits: RecordLimits,
}

/// Where in a record each thing is. A pointer is a JSON pointer (RFC 6901): `/a/b`, `""` for the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The model's name.
    pub model: Field,
    /// The model's version; absent means the model's default baseline.
    pub version: Option<Field>,
    /// Event time.
    pub timestamp: String,
    /// How event time is written.
    pub timestamp_unit: TimestampUnit,
    /// Identifier that joins a prediction with its label.
    pub id: Option<String>,
    /// The features.
    pub features: FeatureMapping,
    /// The prediction.
    pub prediction: Option<String>,
    /// Scores by column name; a single score is called `score`.
    pub scores: BTreeMap<String, String>,
    /// The label.
    pub label: Option<String>,
    /// Serving latency in milliseconds.
    pub latency_ms: Option<String>,
    /// The segment value.
    pub segment: Option<String>,
}

/// A value that the mapping fixes or that each record carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// The same for every record of the stream.
    Constant(String),
    /// At this pointer in each record.
    Pointer(String),
}

/// Where the features are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeatureMapping {
    /// The stream carries none.
    None,
    /// Members of the object at this pointer, by the feature's name.
    Object(String),
    /// Each at a pointer of its own, by the feature's name.
    Listed(BTreeMap<String, String>),
}

/// How a timestamp is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestampUnit {
    /// Seconds since the epoch, fractions allowed.
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds since the epoch.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Microseconds since the epoch.
    #[serde(rename = "us")]
    Microseconds,
    /// RFC 3339 text; without an offset it is taken as UTC.
    #[serde(rename = "rfc3339")]
    Rfc3339,
}

/// Bounds on one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordLimits {
    /// Largest record, in bytes.
    pub bytes_max: usize,
    /// Deepest nesting of arrays and objects.
    pub depth_max: usize,
}

impl Mapping {
    /// Whether records of this mapping can carry a column: only then is its absence a missing value.
    pub fn carries(&self, column: &ColumnSpec) -> bool {
        match column.role {
            Role::Feature => match &self.features {
                FeatureMapping::None => false,
                FeatureMapping::Object(_) => true,
                FeatureMapping::Listed(pointers) => pointers.contains_key(column.name.as_ref()),
            },
            Role::Prediction => self.prediction.is_some(),
            Role::Score => self.scores.contains_key(column.name.as_ref()),
            Role::Label => self.label.is_some(),
        }
    }
}

impl Default for RecordLimits {
    fn default() -> Self {
        Self { bytes_max: 1 << 20, depth_max: 64 }
    }
}

/// What a decoder makes of a raw batch.
#[derive(Debug)]
pub struct Decoded {
    /// The events, in record order.
    pub batch: EventBatch,
    /// The records that are no events, in record order.
    pub rejected: Vec<Rejected>,
}

/// A decoder for one stream. It keeps buffers and may remember the layout of the last record, but no
/// state that changes a result.
pub trait Decode: Send {
    /// Decodes every record of a batch.
    fn decode(&mut self, raw: &RawBatch) -> Decoded;
}

/// A format of records.
pub struct Decoder {
    /// Its name in the configuration.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// Makes a decoder for a stream.
    pub build: fn(&Mapping, &EventSchema, RecordLimits) -> Box<dyn Decode>,
}

/// Every format.
pub static DECODERS: &[Decoder] = &[Decoder {
    name: "json",
    about: "one JSON object a record (RFC 8259)",
    build: |mapping, schema, limits| Box::new(json::JsonDecoder::new(mapping, schema, limits)),
}];

/// The format of this name.
pub fn decoder(name: &str) -> Option<&'static Decoder> {
    DECODERS.iter().find(|decoder| decoder.name == name)
}

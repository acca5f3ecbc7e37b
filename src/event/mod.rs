//! Events: record bytes become typed Arrow columns.
//!
//! Place in the flow: after [`source`](crate::source), before [`summary`](crate::summary). Pure.
//!
//! A source hands over a [`RawBatch`]: the records of one partition in offset order. A decoder turns
//! it into an [`EventBatch`], the only currency after decoding, and a list of [`Rejected`] records.
//! Decoding never fails as a whole: a bad record is rejected alone, with its position and reason.
//!
//! Invariant: `decoded.batch.len() + decoded.rejected.len() == raw.len()`, and every row of the batch
//! names the record it came from.
//!
//! To add a format: one file in `decode/` that implements [`decode::Decode`], one line in
//! [`decode::DECODERS`].

pub mod decode;
mod names;
mod schema;
mod time;

pub use names::{NAME_BYTES_MAX, OTHER_SEGMENT, WRONG_TYPE_NAME, canonical_number, cut_name};
pub use schema::{
    ColumnKind, ColumnSpec, EventBatch, EventSchema, Names, Role, WRONG_TYPE_BITS, is_wrong_type, wrong_type,
};
pub use time::{Clock, Span, Timestamp};

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The records of one partition, in offset order, payloads back to back.
///
/// One allocation holds all payloads: a batch of thousands of records costs one copy out of the
/// Kafka client and no allocation per record.
#[derive(Debug, Clone, Default)]
pub struct RawBatch {
    /// Index of the stream (topic with its mapping) in the plan these records belong to.
    pub stream: usize,
    /// Where the records come from.
    pub origin: Origin,
    /// All payloads, back to back.
    pub bytes: Vec<u8>,
    /// End of each payload in `bytes`; the start is the end of the one before.
    pub ends: Vec<usize>,
    /// Offset of each record in its partition, ascending. A file's offsets are its line numbers from 0.
    pub offsets: Vec<i64>,
    /// When each record reached the log (broker's append time if it has one) or else this process.
    pub arrivals: Vec<Timestamp>,
}

/// A partition of a topic, or a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// The topic's name, or the file's.
    pub topic: Arc<str>,
    /// The partition's number; 0 for a file.
    pub partition: i32,
}

impl RawBatch {
    /// An empty batch for a stream and partition.
    pub fn new(stream: usize, origin: Origin) -> Self {
        Self { stream, origin, ..Self::default() }
    }

    /// Appends a record. A tombstone (a record without a value) is an empty payload.
    pub fn push(&mut self, offset: i64, arrival: Timestamp, payload: &[u8]) {
        self.bytes.extend_from_slice(payload);
        self.ends.push(self.bytes.len());
        self.offsets.push(offset);
        self.arrivals.push(arrival);
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The payload of record `row`, or an empty slice beyond the end.
    pub fn payload(&self, row: usize) -> &[u8] {
        let Some(&end) = self.ends.get(row) else { return &[] };
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start..end]
    }
}

/// A record that became no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Position of the record in its [`RawBatch`].
    pub row: usize,
    /// Why.
    pub reason: RejectReason,
    /// What exactly and where, for people; holds no value of the record.
    pub detail: String,
}

/// Why a record reached no window. The names are the labels of the metric `driftline_events_total`
/// and the `reason` of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// No value (a tombstone) or only white space.
    Empty,
    /// Larger than the configured record size.
    TooLarge,
    /// Not well-formed JSON, trailing bytes, or two values in one record.
    Malformed,
    /// Well-formed, but not an object.
    NotAnObject,
    /// Bytes of a string are not UTF-8.
    InvalidUtf8,
    /// Nested deeper than the configured depth.
    TooDeep,
    /// No timestamp where the mapping says.
    MissingTimestamp,
    /// A timestamp that cannot be read or lies outside years 1..=9999.
    BadTimestamp,
    /// No model name where the mapping says.
    MissingModel,
    /// A model that the configuration does not name.
    UnknownModel,
    /// A model version for which there is no baseline.
    NoBaseline,
    /// Event time is further behind the watermark than the allowed lateness.
    Late,
    /// Event time is further ahead of arrival than the allowed skew.
    Future,
    /// A limit of the configuration (versions, segments) was reached.
    OverLimit,
    /// A label without the id of its prediction.
    MissingId,
    /// A label that is missing, or no class or number that the model knows.
    BadLabel,
}

impl RejectReason {
    /// Every reason, in the order metrics list them.
    pub const ALL: [Self; 16] = [
        Self::Empty,
        Self::TooLarge,
        Self::Malformed,
        Self::NotAnObject,
        Self::InvalidUtf8,
        Self::TooDeep,
        Self::MissingTimestamp,
        Self::BadTimestamp,
        Self::MissingModel,
        Self::UnknownModel,
        Self::NoBaseline,
        Self::Late,
        Self::Future,
        Self::OverLimit,
        Self::MissingId,
        Self::BadLabel,
    ];

    /// The stable snake_case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::NotAnObject => "not_an_object",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::TooDeep => "too_deep",
            Self::MissingTimestamp => "missing_timestamp",
            Self::BadTimestamp => "bad_timestamp",
            Self::MissingModel => "missing_model",
            Self::UnknownModel => "unknown_model",
            Self::NoBaseline => "no_baseline",
            Self::Late => "late",
            Self::Future => "future",
            Self::OverLimit => "over_limit",
            Self::MissingId => "missing_id",
            Self::BadLabel => "bad_label",
        }
    }
}

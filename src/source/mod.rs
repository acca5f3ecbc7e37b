//! Sources: where records come from.
//!
//! Place in the flow: the first step. A source hands over the records of one partition at a time, in
//! offset order, and says what else a consumer must know: which partitions it was given or lost, and
//! which are read to their end. I/O.
//!
//! Invariant: between two [`SourceEvent::Assigned`] of a partition every record from the start position
//! on is handed over once, in order.
//!
//! To add a source: one file here and a line in [`SOURCES`].

use std::collections::BTreeMap;

use secrecy::SecretString;

pub use crate::event::decode::Stream;
use crate::event::{Origin, RawBatch};

/// What a source says, in the order it happened.
#[derive(Debug)]
pub enum SourceEvent {
    /// Records of one partition.
    Records(RawBatch),
    /// These partitions are ours from now on, to be read from these offsets.
    Assigned(Vec<(Origin, i64)>),
    /// These partitions are no longer ours. The source waits for `done` to be dropped or sent to (with a
    /// deadline) before it lets them go, so that what was read is made durable first.
    Revoked(Vec<Origin>, std::sync::mpsc::Sender<()>),
    /// This partition is read to its end, and the next record will have this offset.
    AtEnd(Origin, i64),
    /// Records of this partition were lost before we read them (retention): from, to.
    Gap(Origin, i64, i64),
    /// The source cannot go on.
    Failed(String),
}

/// The Kafka connection.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// `host:port,host:port`.
    pub brokers: String,
    /// The consumer group: for rebalancing and lag tools; positions come from the store.
    pub group: String,
    /// Where to begin on a partition that nobody has read before.
    pub offset_reset: OffsetReset,
    /// Any librdkafka option; values may be secrets.
    pub options: BTreeMap<String, SecretString>,
}

/// Where to begin on a partition without a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the oldest record.
    Earliest,
    /// At the newest record.
    Latest,
    /// Refuse to begin.
    Error,
}

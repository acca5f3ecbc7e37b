//! Sources: where records come from.
//!
//! Place in the flow: the first step. A source hands over the records of one partition at a time, in
//! offset order, and says what else a consumer must know: which partitions it was given or lost, and
//! which are read to their end. I/O.
//!
//! Invariant: between two [`SourceEvent::Assigned`] of a partition every record from the start position
//! on is handed over once, in order.
//!
//! To add a source: one file here that says [`SourceEvent`]s, and a line in [`SOURCES`].

mod file;
mod kafka;

pub use file::FileSource;
pub use kafka::{KafkaSource, PartitionStats, SourceStats, check_settings};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use secrecy::SecretString;

pub use crate::event::decode::Stream;
use crate::event::{Origin, RawBatch, Timestamp};

/// Most records in one batch: few enough to stay in a core's cache while they are decoded and counted.
const BATCH_RECORDS_MAX: usize = 4096;

/// Most bytes in one batch, but for the record that passes it.
const BATCH_BYTES_MAX: usize = 2 << 20;

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

/// A kind of source.
pub struct Source {
    /// Its name in the configuration.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
}

/// Every kind of source.
pub static SOURCES: &[Source] = &[
    Source { name: "kafka", about: "topics of an Apache Kafka cluster, read as a consumer group" },
    Source { name: "file", about: "JSON lines in a file (plain or .gz) or on standard input (-)" },
];

/// A source could not begin.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// An option that the Kafka client does not know.
    #[error(
        "[kafka.options] {name:?} is not an option of the Kafka client (librdkafka); its CONFIGURATION.md lists them"
    )]
    UnknownOption {
        /// The option.
        name: String,
    },
    /// An option whose value the Kafka client refuses. The value may be a secret and is not shown.
    #[error("[kafka.options] {name:?} has a value that the Kafka client (librdkafka) does not accept")]
    InvalidOption {
        /// The option.
        name: String,
    },
    /// An option on which the promise to count every event once rests.
    #[error("[kafka.options] {name:?} cannot be set: {instead}")]
    OwnedOption {
        /// The option.
        name: String,
        /// Who sets it, and what to write in its place.
        instead: &'static str,
    },
    /// Options that do not go together, or files they name that cannot be read.
    #[error("the Kafka client cannot be made from [kafka] and [kafka.options]: {problem}")]
    Client {
        /// What the client says.
        problem: String,
    },
    /// Two streams of one topic: a record would count twice.
    #[error(
        "two [[stream]] entries name the topic {topic:?}; one stream can serve several models through its `model` pointer"
    )]
    RepeatedTopic {
        /// The topic.
        topic: String,
    },
    /// There is nothing to read.
    #[error("no [[stream]] names a topic to read")]
    NoTopic,
    /// The operating system gave no thread.
    #[error("the Kafka poll thread could not be started")]
    Thread(#[source] std::io::Error),
    /// A file that cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The time now, for records whose log keeps no time of arrival.
#[expect(
    clippy::disallowed_methods,
    reason = "arrival is when this process took the record: a fact, not a timer"
)]
fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::saturating_from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

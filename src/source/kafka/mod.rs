//! The Kafka source: one consumer of a group on a thread of its own.
//!
//! ```text
//!  broker ─► librdkafka ─► record queue ─► poll thread ─► SyncSender<SourceEvent> ─► service
//!            (fetches       (bounded in     (one batch a     (bounded in batches)     (durable)
//!             ahead)         bytes)          partition)                                  │
//!                 ▲                                                                      │
//!                 └────────── group: advisory commits ◄──── KafkaSource::durable ◄───────┘
//! ```
//!
//! - **Positions come from the store.** What a store has counted decides where a partition begins; the
//!   group's offset counts only when another member of the group, with another store, wrote it. The
//!   group is told what is durable, with the id of the store, so that its next owner and the tools know.
//! - **Holding back.** When the receiver has no room, records are left in the client's queue, whose size
//!   in bytes is bounded, and the group goes on being served. Nothing fetched ahead is thrown away,
//!   which is what `pause` would do.
//! - **Rebalances** wait, with a deadline, until what was read of the partitions that go away is durable.
//! - **Nothing is skipped.** A place that retention deleted, or damaged records, become a
//!   [`SourceEvent::Gap`]; a log that ends before our position fails the source.
//!
//! Known limit: a member that is expelled while it hangs (`assignment lost`) may count records that its
//! successor counts as well, in another store, until it notices.

mod poll;
mod queue;
mod rebalance;
mod settings;
mod state;
mod statistics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;

use rdkafka::consumer::Consumer;

pub use settings::check_settings;

use self::poll::PollLoop;
use self::queue::{Connection, MessageQueue};
use self::rebalance::Context;
use self::state::{Shared, TopicPlan};
use super::{KafkaSettings, SourceError, SourceEvent, Stream};
use crate::event::Origin;
use crate::monitor::Position;

/// Records of the topics of some streams, read as a member of a consumer group.
///
/// Dropping it without [`stop`](Self::stop) tells the thread to end and does not wait for it.
pub struct KafkaSource {
    shared: Arc<Shared>,
    /// Disconnected when the thread has left the group and ended.
    ended: Receiver<()>,
}

/// What the source tells about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceStats {
    /// Whether at least one broker is connected and the poll thread is alive. False for the first second.
    pub is_connected: bool,
    /// Whether records wait because the receiver has no room.
    pub is_held_back: bool,
    /// Records read since the start.
    pub records: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Bytes received from the brokers, as they were on the wire.
    pub received_bytes: u64,
    /// Rebalances since the start.
    pub rebalances: u64,
    /// The last error and how long ago it was first seen. It may be over: see `is_connected`.
    pub last_error: Option<(String, Duration)>,
    /// The partitions that are ours.
    pub partitions: Vec<PartitionStats>,
}

/// One partition that is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionStats {
    /// Which.
    pub origin: Origin,
    /// The offset of the next record to read.
    pub next_offset: i64,
    /// Records in the log that are not read; `None` before the broker's first answer. At most a second old.
    pub lag: Option<i64>,
}

impl KafkaSource {
    /// Joins the group and starts to poll on a thread of its own. It does not wait for a broker: while
    /// none can be reached the source stays up and tries again, as [`stats`](Self::stats) shows.
    ///
    /// `positions` are what the store holds; `store_id` names the store, and must be another one for every
    /// store. Events go to `events`, whose bound limits how many batches are on their way.
    ///
    /// # Errors
    ///
    /// An option that the client does not accept, no topic, or two streams of one topic.
    pub fn start(
        settings: &KafkaSettings,
        streams: &[Stream],
        store_id: &str,
        positions: &[Position],
        events: SyncSender<SourceEvent>,
    ) -> Result<Self, SourceError> {
        let options = settings::client_options(settings)?;
        let topics = plan_topics(streams)?;
        let durable = positions.iter().map(|at| (at.origin.clone(), at.next_offset)).collect();
        let mut shared = Shared::new(events, topics, store_id, settings.offset_reset, durable);
        shared.revoke_wait = options.session_timeout / 2;
        shared.is_read_committed = options.is_read_committed;
        let shared = Arc::new(shared);

        let context = Context { shared: Arc::clone(&shared), messages: MessageQueue::default() };
        let client = |error: rdkafka::error::KafkaError| SourceError::Client { problem: error.to_string() };
        let connection = Connection::open(&options.config, context).map_err(client)?;
        let names: Vec<&str> = shared.topics.keys().map(AsRef::as_ref).collect();
        connection.consumer().subscribe(&names).map_err(client)?;

        let (alive, ended) = mpsc::channel::<()>();
        let poll = PollLoop::new(connection, Arc::clone(&shared), options.fetch_ahead_bytes);
        std::thread::Builder::new()
            .name("kafka-poll".into())
            .spawn(move || {
                poll.run();
                drop(alive);
            })
            .map_err(SourceError::Thread)?;
        Ok(Self { shared, ended })
    }

    /// Takes note of what became durable: the group is told within a second, and a partition that comes
    /// back to us begins there. On [`SourceEvent::Revoked`], call it before answering.
    pub fn durable(&self, positions: &[Position]) {
        let mut state = self.shared.state();
        for at in positions {
            let known = state.durable.entry(at.origin.clone()).or_insert(at.next_offset);
            *known = (*known).max(at.next_offset);
        }
    }

    /// What the source tells about itself; cheap.
    pub fn stats(&self) -> SourceStats {
        self.shared.stats()
    }

    /// Ends polling, tells the group what is durable and leaves it. Returns whether that was done before
    /// the deadline; if not (no broker answers), the thread is left to itself, and the process can end:
    /// what is durable is in the store.
    pub fn stop(self, deadline: Duration) -> bool {
        self.shared.stopping.store(true, Ordering::Release);
        let has_ended =
            matches!(self.ended.recv_timeout(deadline), Err(mpsc::RecvTimeoutError::Disconnected));
        if !has_ended {
            tracing::warn!("the Kafka group could not be left in time; its session will run out by itself");
        }
        has_ended
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
    }
}

fn plan_topics(streams: &[Stream]) -> Result<BTreeMap<Arc<str>, TopicPlan>, SourceError> {
    let mut topics = BTreeMap::new();
    for (index, stream) in streams.iter().enumerate() {
        let plan = TopicPlan { stream: index, bytes_max: stream.limits.bytes_max };
        if topics.insert(Arc::from(stream.topic.as_str()), plan).is_some() {
            return Err(SourceError::RepeatedTopic { topic: stream.topic.clone() });
        }
    }
    if topics.is_empty() { Err(SourceError::NoTopic) } else { Ok(topics) }
}

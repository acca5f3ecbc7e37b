//! The poll thread: takes records, serves the group, hands over, commits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset;
use rdkafka::{Message, TopicPartitionList};

use super::queue::Connection;
use super::state::Shared;
use crate::event::Origin;
use crate::source::{BATCH_RECORDS_MAX, SourceEvent};

/// How long records are gathered when fewer come than fill a batch: what a lone record waits at most.
const LINGER: Duration = Duration::from_millis(20);

/// How long to wait for room when the receiver has none.
const HELD_BACK_WAIT: Duration = Duration::from_millis(5);

/// Events of the group served in one round; there are a few a second.
const EVENTS_A_ROUND: usize = 8;

/// How often the group is told what is durable.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// How often the place of a displaced partition is looked for, and the group joined anew.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How long the brokers may take to say where a partition begins and ends.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs until the source is stopped or cannot go on.
pub(super) struct PollLoop {
    connection: Connection,
    shared: Arc<Shared>,
    fetch_ahead_bytes: usize,
    last_commit: Instant,
    last_retry: Instant,
    /// When the statistics were taken that were last looked at for ends.
    last_ends: Option<Instant>,
    /// Size of a record, lately.
    mean_bytes: usize,
}

impl PollLoop {
    pub(super) fn new(connection: Connection, shared: Arc<Shared>, fetch_ahead_bytes: usize) -> Self {
        let now = Instant::now();
        Self {
            connection,
            shared,
            fetch_ahead_bytes,
            last_commit: now,
            last_retry: now,
            last_ends: None,
            mean_bytes: 0,
        }
    }

    /// Polls until the end, tells the group how far we came, and leaves it.
    pub(super) fn run(mut self) {
        while !self.shared.is_stopping() {
            self.shared.hand_over();
            let (is_held_back, has_failed) = {
                let state = self.shared.state();
                (state.is_held_back, state.has_failed)
            };
            if has_failed && !is_held_back {
                break;
            }
            // Not polling would cost the membership, so the group is served while records wait.
            self.serve(if is_held_back { HELD_BACK_WAIT } else { Duration::ZERO });
            if !is_held_back {
                self.take();
            }
            self.keep_up();
        }
        let context = Arc::clone(self.connection.consumer().context());
        let ours: Vec<Origin> = self.shared.state().assigned.keys().cloned().collect();
        context.commit(self.connection.consumer(), &ours);
        // Dropping the connection leaves the group.
    }

    /// Serves rebalances, errors, statistics and the client's log.
    fn serve(&self, wait: Duration) {
        for round in 0..EVENTS_A_ROUND {
            match self.connection.consumer().poll(if round == 0 { wait } else { Duration::ZERO }) {
                None => {}
                // Records come through their own queue; one that does not would be lost unseen.
                Some(Ok(message)) => self.shared.state().fail(format!(
                    "a record of topic {:?} came outside its queue; please report this",
                    message.topic()
                )),
                Some(Err(error)) => self.note(&error),
            }
        }
    }

    /// Takes what has been fetched.
    fn take(&mut self) {
        let seen = self.shared.state().snapshot.as_ref().map(|snapshot| snapshot.at);
        let before = self.shared.bytes();
        let taken = self.connection.take(BATCH_RECORDS_MAX, LINGER);
        if taken.len() > 0 {
            self.shared.accept(&taken);
            let bytes = usize::try_from(self.shared.bytes() - before).unwrap_or(usize::MAX);
            self.mean_bytes = bytes / taken.len();
        }
        let waiting = self.connection.waiting();
        if waiting.saturating_mul(self.mean_bytes.max(1)) > self.fetch_ahead_bytes / 2 {
            self.shared.state().last_saturated = Some(Instant::now());
        }
        // Only when the queue was emptied after the statistics is everything they speak of taken.
        if taken.len() < BATCH_RECORDS_MAX && seen.is_some() && seen != self.last_ends {
            self.shared.report_ends(self.last_ends);
            self.last_ends = seen;
        }
    }

    /// What is due from time to time.
    fn keep_up(&mut self) {
        if self.last_commit.elapsed() >= COMMIT_INTERVAL {
            self.last_commit = Instant::now();
            self.commit();
        }
        if self.last_retry.elapsed() >= RETRY_INTERVAL {
            self.last_retry = Instant::now();
            self.settle_displaced();
            self.rejoin_if_needed();
        }
    }

    /// Tells the group what is durable, without waiting for the answer.
    fn commit(&self) {
        let consumer = self.connection.consumer();
        let mut state = self.shared.state();
        let ours: Vec<Origin> = state.assigned.keys().cloned().collect();
        let done = state.uncommitted(&ours, &self.shared.store_id).and_then(|list| {
            let Some(list) = list else { return Ok(()) };
            consumer.commit(&list, CommitMode::Async)?;
            for origin in &ours {
                if let Some(&position) = state.durable.get(origin) {
                    state.committed.insert(origin.clone(), position);
                }
            }
            Ok(())
        });
        if let Err(error) = done
            && state.note_error(format!("positions could not be committed to the group: {error}"))
        {
            tracing::warn!(%error, "positions could not be committed to the group");
        }
    }

    fn rejoin_if_needed(&self) {
        if !std::mem::take(&mut self.shared.state().must_rejoin) {
            return;
        }
        let consumer = self.connection.consumer();
        consumer.unsubscribe();
        let topics: Vec<&str> = self.shared.topics.keys().map(AsRef::as_ref).collect();
        if let Err(error) = consumer.subscribe(&topics) {
            tracing::warn!(%error, "the group could not be joined");
            self.shared.state().must_rejoin = true;
        }
    }

    /// Finds out what became of the place where a partition should be read, and goes on from where there
    /// are records, saying which are gone.
    fn settle_displaced(&self) {
        let displaced: Vec<Origin> = self.shared.state().displaced.keys().cloned().collect();
        for origin in displaced {
            let Some(next) = self.shared.state().assigned.get(&origin).map(|partition| partition.next) else {
                self.shared.state().displaced.remove(&origin);
                continue;
            };
            match self.settle(&origin, next) {
                Ok(()) => {
                    self.shared.state().displaced.remove(&origin);
                }
                Err(error) => {
                    tracing::warn!(
                        %error, kafka.topic = %origin.topic, kafka.partition = origin.partition,
                        "where the partition begins could not be found out; trying again"
                    );
                }
            }
        }
    }

    fn settle(&self, origin: &Origin, next: i64) -> KafkaResult<()> {
        let consumer = self.connection.consumer();
        let (low, high) = consumer.fetch_watermarks(&origin.topic, origin.partition, ASK_TIMEOUT)?;
        if next > high {
            self.shared.state().fail(format!(
                "topic {:?}, partition {}: we are at offset {next}, but the log ends at {high}. The topic was \
                 deleted and made anew, or it lost records. To read it from its new beginning, use a new \
                 data_dir and a new group",
                &*origin.topic, origin.partition
            ));
            return Ok(());
        }
        if next < low {
            tracing::warn!(
                kafka.topic = %origin.topic, kafka.partition = origin.partition, from = next, to = low,
                "records were deleted by the topic's retention before they were read"
            );
            let mut state = self.shared.state();
            if let Some(partition) = state.assigned.get_mut(origin) {
                partition.next = low;
                state.pending.push_back(SourceEvent::Gap(origin.clone(), next, low));
            }
        }
        self.begin_again(origin)
    }

    /// Makes the client fetch a partition from where we are. It has stopped doing so and refuses to seek.
    fn begin_again(&self, origin: &Origin) -> KafkaResult<()> {
        let consumer = self.connection.consumer();
        let mut list = TopicPartitionList::new();
        let is_cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        for (of, partition) in &self.shared.state().assigned {
            if of == origin || !is_cooperative {
                list.add_partition_offset(&of.topic, of.partition, Offset::Offset(partition.next))?;
            }
        }
        if is_cooperative {
            consumer.incremental_unassign(&list)?;
            consumer.incremental_assign(&list)
        } else {
            consumer.assign(&list)
        }
    }

    fn note(&self, error: &KafkaError) {
        let code = error.rdkafka_error_code();
        let mut state = self.shared.state();
        if matches!(error, KafkaError::MessageConsumptionFatal(_)) || code == Some(RDKafkaErrorCode::Fatal) {
            state.fail(format!("Kafka refuses this consumer for good: {error}"));
            return;
        }
        let advice = match code {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                "a topic does not exist (yet); it is read as soon as it does"
            }
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed,
            ) => "the broker does not allow it; reading needs READ on the topics and on the group",
            _ => "the client goes on trying",
        };
        // Errors of the client as a whole were reported with their text when they came in.
        if !matches!(error, KafkaError::Global(_)) && state.note_error(format!("{error}: {advice}")) {
            tracing::warn!(%error, "{advice}");
        }
    }
}

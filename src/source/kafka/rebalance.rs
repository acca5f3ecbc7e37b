//! Rebalances: partitions come and go, and each begins where its records are not accounted for yet.
//!
//! A rebalance runs inside a poll of the consumer, on the poll thread. Until it returns no record of the
//! partitions is fetched, so it may ask the brokers and wait for the service, both with a deadline.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, TrySendError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};

use super::queue::MessageQueue;
use super::state::Shared;
use super::statistics::Snapshot;
use crate::event::Origin;
use crate::source::{OffsetReset, SourceEvent};

/// How long one question to the brokers may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to go on asking where partitions begin before the group is left and joined anew.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause between attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// How often to look whether there is room for an event, or a reason to stop waiting.
const WAIT_STEP: Duration = Duration::from_millis(5);

/// A broker that has sent nothing for so long is not taken to answer.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// What librdkafka calls back.
pub(super) struct Context {
    pub(super) shared: Arc<Shared>,
    /// Where records go.
    pub(super) messages: MessageQueue,
}

/// A position that the group remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct GroupPosition {
    offset: i64,
    /// Id of the store whose owner committed it; empty if a tool did.
    by: String,
}

/// Where a partition begins.
struct Start {
    origin: Origin,
    offset: i64,
    /// Records from here to `offset` are gone.
    gap_from: Option<i64>,
    /// What the group remembers.
    told_group: Option<i64>,
}

/// Why partitions cannot begin.
enum Unsettled {
    /// The brokers do not answer.
    NotYet(String),
    /// It was forbidden to guess.
    Refused(String),
}

impl From<KafkaError> for Unsettled {
    fn from(error: KafkaError) -> Self {
        Self::NotYet(error.to_string())
    }
}

/// The position a partition begins at; `None` when nobody has read it before.
///
/// What another member of the group committed is accounted for in its store, so we begin behind it. What
/// our own store says is newer than or the same as what we told the group.
fn position(store: Option<i64>, group: Option<&GroupPosition>, store_id: &str) -> Option<i64> {
    match (store, group) {
        (Some(store), Some(group)) if !group.by.is_empty() && group.by != store_id => {
            Some(store.max(group.offset))
        }
        (Some(store), _) => Some(store),
        (None, Some(group)) => {
            if !group.by.is_empty() && group.by != store_id {
                // A member that lives, or a store that is gone: from here they cannot be told apart.
                tracing::warn!(
                    kafka.offset = group.offset,
                    "begins where another store left off; if that store is lost, records before this offset \
                     are not counted: give the new one a [kafka] group of its own to count them"
                );
            }
            Some(group.offset)
        }
        (None, None) => None,
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            // The client calls a refused connection an error; it goes on trying, so it is a warning.
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::warn!(facility, "librdkafka: {message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(facility, "librdkafka: {message}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(facility, "librdkafka: {message}"),
        }
    }

    fn stats_raw(&self, json: &[u8]) {
        match Snapshot::parse(json, Instant::now(), self.shared.is_read_committed, SILENCE_MAX) {
            Ok(snapshot) => self.shared.state().note_snapshot(snapshot),
            Err(error) => tracing::warn!(%error, "the Kafka client's statistics cannot be read"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        let mut state = self.shared.state();
        if code == Some(RDKafkaErrorCode::AllBrokersDown) {
            state.note_disconnected();
        }
        if state.note_error(reason.to_owned()) {
            tracing::warn!(reason, "Kafka reports an error; the client goes on trying");
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, kind: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let done = match kind {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assigned(consumer, list),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.revoked(consumer, list),
            _ => consumer.unassign(),
        };
        if let Err(error) = done {
            tracing::warn!(%error, "a rebalance could not be completed; joining the group again");
            self.shared.state().must_rejoin = true;
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result
            && error.rdkafka_error_code() != Some(RDKafkaErrorCode::NoOffset)
        {
            // The store holds the truth; the group is told again with the next position.
            let mut state = self.shared.state();
            state.committed.clear();
            if state.note_error(format!("positions could not be committed to the group: {error}")) {
                tracing::warn!(%error, "positions could not be committed to the group");
            }
        }
    }
}

impl Context {
    fn assigned(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) -> KafkaResult<()> {
        let starts = match self.starts(consumer, list) {
            Ok(starts) => starts,
            Err(Unsettled::NotYet(problem)) => {
                tracing::warn!(problem, "positions could not be had from the group; joining it again");
                self.shared.state().must_rejoin = true;
                Vec::new()
            }
            Err(Unsettled::Refused(message)) => {
                self.shared.state().fail(message);
                Vec::new()
            }
        };
        let mut settled = TopicPartitionList::new();
        for Start { origin, offset, .. } in &starts {
            if !self.messages.direct(consumer, &origin.topic, origin.partition) {
                tracing::warn!(kafka.topic = %origin.topic, "records cannot be directed to their queue");
            }
            settled.add_partition_offset(&origin.topic, origin.partition, Offset::Offset(*offset))?;
            tracing::info!(
                kafka.topic = %origin.topic, kafka.partition = origin.partition, kafka.offset = offset,
                "reads a partition"
            );
        }
        self.announce(starts);
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(&settled),
            RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.assign(&settled),
        }
    }

    /// Makes partitions ours and tells the service, with the records that are gone.
    fn announce(&self, starts: Vec<Start>) {
        if starts.is_empty() {
            return;
        }
        let mut state = self.shared.state();
        let offsets = starts.iter().map(|start| (start.origin.clone(), start.offset)).collect();
        state.pending.push_back(SourceEvent::Assigned(offsets));
        for Start { origin, offset, gap_from, told_group } in starts {
            if let Some(from) = gap_from {
                tracing::warn!(
                    kafka.topic = %origin.topic, kafka.partition = origin.partition, from, to = offset,
                    "records were deleted by the topic's retention before they were read"
                );
                state.pending.push_back(SourceEvent::Gap(origin.clone(), from, offset));
            }
            if let Some(offset) = told_group {
                state.committed.insert(origin.clone(), offset);
            }
            if let Some(plan) = self.shared.topics.get(&origin.topic) {
                state.assign(origin, *plan, offset);
            }
        }
    }

    fn revoked(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) -> KafkaResult<()> {
        let is_lost = consumer.assignment_lost();
        let origins = self.origins(list);
        let origins: Vec<Origin> = {
            let mut state = self.shared.state();
            let ours: Vec<Origin> =
                origins.into_iter().filter(|origin| state.assigned.contains_key(origin)).collect();
            for origin in &ours {
                state.give_up(origin);
            }
            ours
        };
        if !origins.is_empty() {
            tracing::info!(partitions = origins.len(), is_lost, "gives partitions back");
            if !self.wait_until_durable(&origins) && !self.shared.is_stopping() {
                tracing::warn!(
                    waited_ms = self.shared.revoke_wait.as_millis(),
                    "partitions go away before what was read of them is known to be durable"
                );
            }
            // After a lost assignment somebody else owns the partitions, and what they commit counts.
            if !is_lost {
                self.commit(consumer, &origins);
            }
        }
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
            RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
        }
    }

    /// Commits what is durable and waits for the answer. Advisory: a failure is logged.
    pub(super) fn commit<'a>(
        &self,
        consumer: &BaseConsumer<Self>,
        origins: impl IntoIterator<Item = &'a Origin>,
    ) {
        // The lock must not be held while waiting for a broker.
        let list = self.shared.state().uncommitted(origins, &self.shared.store_id);
        let done = list.and_then(|list| list.map_or(Ok(()), |list| consumer.commit(&list, CommitMode::Sync)));
        if let Err(error) = done
            && error.rdkafka_error_code() != Some(RDKafkaErrorCode::NoOffset)
        {
            tracing::warn!(%error, "positions could not be committed to the group");
        }
    }

    /// Tells the service which partitions go away and waits until it says that what it has of them is
    /// durable. Returns whether it said so in time.
    fn wait_until_durable(&self, origins: &[Origin]) -> bool {
        let deadline = Instant::now() + self.shared.revoke_wait;
        let is_over = || self.shared.is_stopping() || Instant::now() >= deadline;
        let (done, waiting) = mpsc::channel();
        let mut event = SourceEvent::Revoked(origins.to_vec(), done);
        loop {
            match self.shared.events.try_send(event) {
                Ok(()) => break,
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(back)) if is_over() => {
                    // Too late to be waited for, but the service must still hear of it.
                    self.shared.state().pending.push_back(back);
                    return false;
                }
                Err(TrySendError::Full(back)) => event = back,
            }
            std::thread::sleep(WAIT_STEP);
        }
        loop {
            match waiting.recv_timeout(WAIT_STEP) {
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) if is_over() => return false,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Where each partition of the list begins; goes on asking for a while when brokers do not answer.
    fn starts(
        &self,
        consumer: &BaseConsumer<Self>,
        list: &TopicPartitionList,
    ) -> Result<Vec<Start>, Unsettled> {
        let origins = self.origins(list);
        if origins.is_empty() {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            match self.ask_starts(consumer, &origins) {
                Err(Unsettled::NotYet(problem)) => {
                    if self.shared.is_stopping() || Instant::now() >= deadline {
                        return Err(Unsettled::NotYet(problem));
                    }
                    self.shared.state().note_error(problem);
                }
                settled => return settled,
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn ask_starts(&self, consumer: &BaseConsumer<Self>, origins: &[Origin]) -> Result<Vec<Start>, Unsettled> {
        let mut question = TopicPartitionList::with_capacity(origins.len());
        for origin in origins {
            question.add_partition(&origin.topic, origin.partition);
        }
        let answer = consumer.committed_offsets(question, ASK_TIMEOUT)?;
        // One unanswered question is enough to wait for.
        let mut is_answering = true;
        let mut starts = Vec::with_capacity(origins.len());
        for origin in origins {
            let group = group_position(&answer, origin)?;
            starts.push(self.start(consumer, origin, group, &mut is_answering)?);
        }
        Ok(starts)
    }

    fn start(
        &self,
        consumer: &BaseConsumer<Self>,
        origin: &Origin,
        group: Option<GroupPosition>,
        is_answering: &mut bool,
    ) -> Result<Start, Unsettled> {
        let store = self.shared.state().durable.get(origin).copied();
        let position = position(store, group.as_ref(), &self.shared.store_id);
        let ask = || consumer.fetch_watermarks(&origin.topic, origin.partition, ASK_TIMEOUT);
        let (low, high) = match position {
            None => ask()?,
            // A partition without a leader must not keep the others waiting. If its place is gone, we
            // shall hear of it when it can be fetched again.
            Some(position) if !*is_answering => (position, position),
            Some(position) => ask().unwrap_or_else(|_| {
                *is_answering = false;
                (position, position)
            }),
        };
        let first = match (position, self.shared.offset_reset) {
            (Some(position), _) => position,
            (None, OffsetReset::Earliest) => low,
            // An offset, and not "the end", so that it is the same place after a restart.
            (None, OffsetReset::Latest) => high,
            (None, OffsetReset::Error) => return Err(Unsettled::Refused(no_position(origin))),
        };
        if first > high {
            return Err(Unsettled::Refused(log_too_short(origin, first, high)));
        }
        let offset = first.max(low);
        let gap_from = (first < low).then_some(first);
        Ok(Start { origin: origin.clone(), offset, gap_from, told_group: group.map(|group| group.offset) })
    }

    fn origins(&self, list: &TopicPartitionList) -> Vec<Origin> {
        let origin = |topic: &str, partition| self.shared.origin(topic, partition).map(|(origin, _)| origin);
        list.elements().iter().filter_map(|element| origin(element.topic(), element.partition())).collect()
    }
}

/// What the group remembers of a partition.
fn group_position(answer: &TopicPartitionList, origin: &Origin) -> Result<Option<GroupPosition>, KafkaError> {
    let Some(element) = answer.find_partition(&origin.topic, origin.partition) else { return Ok(None) };
    element.error()?;
    Ok(match element.offset() {
        Offset::Offset(offset) => Some(GroupPosition { offset, by: element.metadata().to_owned() }),
        _ => None,
    })
}

fn no_position(origin: &Origin) -> String {
    format!(
        "partition {} of topic {:?} has no position, neither in the store nor in the group, and offset_reset = \
         \"error\" forbids to choose one: write offset_reset = \"earliest\" or \"latest\" under [kafka], or set \
         the group's offset with Kafka's tools",
        origin.partition, &*origin.topic
    )
}

fn log_too_short(origin: &Origin, position: i64, high: i64) -> String {
    format!(
        "partition {} of topic {:?} is to be read from offset {position}, but its log ends at {high}: the topic \
         was deleted and made anew, or it lost records. To read it from its new beginning, use a new data_dir \
         and a new group",
        origin.partition, &*origin.topic
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(by: &str, offset: i64) -> Option<GroupPosition> {
        Some(GroupPosition { offset, by: by.into() })
    }

    #[test]
    fn a_partition_begins_where_nothing_is_counted_yet() {
        let cases = [
            (None, None, None),
            (Some(5), None, Some(5)),
            (None, by("other", 7), Some(7)),
            (None, by("", 7), Some(7)),
            // Our own store wins over what we told the group, and over what a tool wrote.
            (Some(5), by("ours", 7), Some(5)),
            (Some(5), by("ours", 3), Some(5)),
            (Some(5), by("", 7), Some(5)),
            // Another member went on while the partition was theirs.
            (Some(5), by("other", 7), Some(7)),
            (Some(5), by("other", 3), Some(5)),
        ];
        for (store, group, expected) in cases {
            assert_eq!(position(store, group.as_ref(), "ours"), expected, "{store:?} {group:?}");
        }
    }
}

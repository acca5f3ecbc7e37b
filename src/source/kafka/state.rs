//! What the poll thread, the rebalances inside its polls and the service share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset;

use super::queue::{Entry, Kind, Taken};
use super::statistics::Snapshot;
use super::{PartitionStats, SourceStats};
use crate::event::{Origin, RawBatch, Timestamp};
use crate::source::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, OffsetReset, SourceEvent, wall_clock};

/// How long a client without news from it is taken to be connected.
const SNAPSHOT_FRESH: Duration = Duration::from_secs(5);

/// An error that lasts is logged again after this time.
const REPEAT_AFTER: Duration = Duration::from_secs(60);

/// Kinds of errors told in that time; further ones only show in the statistics.
const TOLD_ERRORS_MAX: usize = 20;

/// Everything that more than one thread sees.
pub(super) struct Shared {
    /// Set once, when the source is to end.
    pub(super) stopping: AtomicBool,
    /// Where events go.
    pub(super) events: SyncSender<SourceEvent>,
    /// What is read, by topic.
    pub(super) topics: BTreeMap<Arc<str>, TopicPlan>,
    /// Says in the group's metadata whose positions they are.
    pub(super) store_id: String,
    /// Where to begin on a partition without a position.
    pub(super) offset_reset: OffsetReset,
    /// How long to wait, when partitions go away, for what was read to become durable.
    pub(super) revoke_wait: Duration,
    /// Whether records of open transactions are held back by the broker.
    pub(super) is_read_committed: bool,
    state: Mutex<State>,
}

/// What is known of a topic beforehand.
#[derive(Debug, Clone, Copy)]
pub(super) struct TopicPlan {
    /// Index of its stream.
    pub(super) stream: usize,
    /// Largest record that is decoded; more than one byte beyond is not copied.
    pub(super) bytes_max: usize,
}

/// What changes.
#[derive(Default)]
pub(super) struct State {
    /// Partitions that are ours.
    pub(super) assigned: BTreeMap<Origin, Partition>,
    /// Events that wait for room in the channel. Bounded by what one call takes from the queue, for
    /// nothing is taken while something waits.
    pub(super) pending: VecDeque<SourceEvent>,
    /// The position up to which everything is accounted for, of every partition we ever held.
    pub(super) durable: BTreeMap<Origin, i64>,
    /// What the group was last told, of the partitions that are ours.
    pub(super) committed: BTreeMap<Origin, i64>,
    /// Whether to leave the group and join it again.
    pub(super) must_rejoin: bool,
    /// Whether the source cannot go on.
    pub(super) has_failed: bool,
    /// Whether the receiver has no room.
    pub(super) is_held_back: bool,
    /// When the receiver or the fetch-ahead was last at its limit.
    pub(super) last_saturated: Option<Instant>,
    /// The client's newest statistics.
    pub(super) snapshot: Option<Snapshot>,
    /// Records handed over or about to be.
    records: u64,
    /// Bytes of their payloads.
    bytes: u64,
    /// No broker could be reached since the last statistics.
    is_disconnected: bool,
    last_error: Option<(String, Instant)>,
    /// What the log was told lately, and when.
    told_errors: BTreeMap<String, Instant>,
}

/// A partition that is ours.
pub(super) struct Partition {
    plan: TopicPlan,
    /// The offset of the next record to take.
    pub(super) next: i64,
    /// A damaged part of the log was met before the next record.
    is_damaged: bool,
    batch: RawBatch,
}

impl Shared {
    pub(super) fn new(
        events: SyncSender<SourceEvent>,
        topics: BTreeMap<Arc<str>, TopicPlan>,
        store_id: &str,
        offset_reset: OffsetReset,
        durable: BTreeMap<Origin, i64>,
    ) -> Self {
        Self {
            stopping: AtomicBool::new(false),
            events,
            topics,
            store_id: store_id.to_owned(),
            offset_reset,
            revoke_wait: Duration::ZERO,
            is_read_committed: true,
            state: Mutex::new(State { durable, ..State::default() }),
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// The state. A panic of another holder leaves it whole: every change is a single step.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A partition's name with the shared text of its topic; `None` for a topic that is not read.
    pub(super) fn origin(&self, topic: &str, partition: i32) -> Option<(Origin, TopicPlan)> {
        let (topic, plan) = self.topics.get_key_value(topic)?;
        Some((Origin { topic: topic.clone(), partition }, *plan))
    }

    /// Turns what was taken into batches that wait to be handed over.
    pub(super) fn accept(&self, taken: &Taken<'_>) {
        let entries: Vec<Entry<'_>> = taken.iter().collect();
        let arrival = wall_clock();
        let mut state = self.state();
        for run in entries.chunk_by(|one, next| one.partition_key() == next.partition_key()) {
            let Some(first) = run.first() else { continue };
            let origin = first.topic().and_then(|topic| self.origin(topic, first.partition()));
            if let Some((origin, _)) = origin {
                state.accept_run(&origin, run, arrival);
            } else {
                for &entry in run {
                    state.note_problem(None, entry);
                }
            }
        }
        state.close_batches();
    }

    /// Hands over what waits, as far as there is room.
    pub(super) fn hand_over(&self) {
        let mut state = self.state();
        while let Some(event) = state.pending.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => {
                    state.pending.push_front(event);
                    state.is_held_back = true;
                    state.last_saturated = Some(Instant::now());
                    return;
                }
                Err(TrySendError::Disconnected(_)) => {
                    self.stopping.store(true, Ordering::Release);
                    return;
                }
            }
        }
        state.is_held_back = false;
    }

    /// Says which partitions are read to their end: those that the newest statistics, taken before the
    /// queue was emptied, show to be so. Statistics count once.
    pub(super) fn report_ends(&self, previous: Option<Instant>) {
        let mut state = self.state();
        let State { assigned, pending, snapshot: Some(snapshot), last_saturated, .. } = &mut *state else {
            return;
        };
        // While the fetch-ahead is full nobody asks the brokers, and silence means nothing.
        let is_polled = previous.is_some_and(|previous| last_saturated.is_none_or(|at| at < previous));
        if !is_polled {
            return;
        }
        for (origin, partition) in assigned {
            let Some(seen) = snapshot.partition(&origin.topic, origin.partition) else { continue };
            // Markers of transactions take offsets too, so the end may lie behind what follows the last
            // record; but then we must be sure that no record lies in between.
            if let Some(end) = seen.end
                && seen.is_fetched_to_end
                && (partition.next == end || partition.next < end && seen.is_queue_empty)
            {
                partition.next = end;
                pending.push_back(SourceEvent::AtEnd(origin.clone(), end));
            }
        }
    }

    /// Bytes of payload so far.
    pub(super) fn bytes(&self) -> u64 {
        self.state().bytes
    }

    /// What the service shows of the source.
    pub(super) fn stats(&self) -> SourceStats {
        let state = self.state();
        let fresh = state.snapshot.as_ref().filter(|snapshot| snapshot.at.elapsed() < SNAPSHOT_FRESH);
        SourceStats {
            is_connected: !state.is_disconnected && fresh.is_some_and(|snapshot| snapshot.brokers_up > 0),
            is_held_back: state.is_held_back,
            records: state.records,
            bytes: state.bytes,
            received_bytes: state.snapshot.as_ref().map_or(0, |snapshot| snapshot.rx_bytes),
            rebalances: state.snapshot.as_ref().map_or(0, |snapshot| snapshot.rebalances),
            last_error: state.last_error.as_ref().map(|(message, at)| (message.clone(), at.elapsed())),
            partitions: state.partition_stats(),
        }
    }
}

impl State {
    /// Makes a partition ours, to be read from `start`.
    pub(super) fn assign(&mut self, origin: Origin, plan: TopicPlan, start: i64) {
        let batch = RawBatch::new(plan.stream, origin.clone());
        self.durable.insert(origin.clone(), start);
        self.assigned.insert(origin, Partition { plan, next: start, is_damaged: false, batch });
    }

    /// Gives a partition up: what waits of it will be read by its next owner.
    pub(super) fn give_up(&mut self, origin: &Origin) {
        self.assigned.remove(origin);
        self.committed.remove(origin);
        self.pending.retain(|event| match event {
            SourceEvent::Records(batch) => batch.origin != *origin,
            SourceEvent::AtEnd(of, _) | SourceEvent::Gap(of, _, _) => of != origin,
            SourceEvent::Assigned(_) | SourceEvent::Revoked(..) | SourceEvent::Failed(_) => true,
        });
        for event in &mut self.pending {
            if let SourceEvent::Assigned(partitions) = event {
                partitions.retain(|(of, _)| of != origin);
            }
        }
    }

    /// Ends the source with a message for people.
    pub(super) fn fail(&mut self, message: String) {
        if !self.has_failed {
            self.has_failed = true;
            self.last_error = Some((message.clone(), Instant::now()));
            self.pending.push_back(SourceEvent::Failed(message));
        }
    }

    /// Keeps what went wrong for people to see. Returns whether it is worth a line in the log: it is new,
    /// or it is still so after a while.
    pub(super) fn note_error(&mut self, message: String) -> bool {
        let now = Instant::now();
        self.last_error = Some((message.clone(), now));
        // Several errors take turns while brokers are away, each with figures of its own in brackets.
        let kind = message.split(['(', '[']).next().unwrap_or_default().trim_end().to_owned();
        self.told_errors.retain(|_, at| now.duration_since(*at) < REPEAT_AFTER);
        if self.told_errors.len() >= TOLD_ERRORS_MAX || self.told_errors.contains_key(&kind) {
            return false;
        }
        self.told_errors.insert(kind, now);
        true
    }

    /// No broker can be reached.
    pub(super) fn note_disconnected(&mut self) {
        self.is_disconnected = true;
    }

    /// Takes new statistics in.
    pub(super) fn note_snapshot(&mut self, snapshot: Snapshot) {
        self.is_disconnected = false;
        self.snapshot = Some(snapshot);
    }

    /// The positions of our partitions that the group does not know yet.
    pub(super) fn uncommitted<'a>(
        &self,
        only: impl IntoIterator<Item = &'a Origin>,
        store_id: &str,
    ) -> KafkaResult<Option<TopicPartitionList>> {
        let mut list = TopicPartitionList::new();
        for origin in only {
            let Some(&position) = self.durable.get(origin) else { continue };
            if self.committed.get(origin) == Some(&position) {
                continue;
            }
            let mut element = list.add_partition(&origin.topic, origin.partition);
            element.set_offset(Offset::Offset(position))?;
            element.set_metadata(store_id);
        }
        Ok((list.count() > 0).then_some(list))
    }

    fn accept_run(&mut self, origin: &Origin, run: &[Entry<'_>], arrival: Timestamp) {
        let Some(partition) = self.assigned.get_mut(origin) else { return };
        partition.make_room(run);
        let mut problems = Vec::new();
        for &entry in run {
            match entry.kind() {
                Kind::Record(payload) if entry.offset() >= partition.next => {
                    let at = entry.append_time_ms().map_or(arrival, from_millis);
                    self.records += 1;
                    self.bytes += payload.len() as u64;
                    partition.accept(origin, entry.offset(), at, payload, &mut self.pending);
                }
                // Before the start: the client may repeat records after it found its place again.
                Kind::Record(_) => {}
                Kind::Problem(..) => problems.push(entry),
            }
        }
        for entry in problems {
            self.note_problem(Some(origin), entry);
        }
    }

    /// A partition has a problem.
    fn note_problem(&mut self, origin: Option<&Origin>, entry: Entry<'_>) {
        let Kind::Problem(code, detail) = entry.kind() else { return };
        let place = origin.map_or_else(String::new, |origin| {
            format!(" ({}/{} at {})", origin.topic, origin.partition, entry.offset())
        });
        match (code, origin) {
            // Our place in the log is gone, and the client has stopped fetching the partition. Joining anew
            // finds out what became of the place, as after a restart.
            (RDKafkaErrorCode::AutoOffsetReset, _) => self.must_rejoin = true,
            (RDKafkaErrorCode::BadMessage, Some(origin)) => {
                if let Some(partition) = self.assigned.get_mut(origin) {
                    partition.is_damaged = true;
                }
                tracing::error!(
                    kafka.topic = %origin.topic, kafka.partition = origin.partition, detail,
                    "records are damaged in the log and cannot be read"
                );
            }
            _ => {}
        }
        if self.note_error(format!("{code}{place}")) {
            tracing::warn!(detail, "Kafka reports a problem{place}");
        }
    }

    fn close_batches(&mut self) {
        for (origin, partition) in &mut self.assigned {
            partition.close_batch(origin, &mut self.pending);
        }
    }

    fn partition_stats(&self) -> Vec<PartitionStats> {
        let lag = |origin: &Origin, next: i64| {
            let end = self.snapshot.as_ref()?.partition(&origin.topic, origin.partition)?.end?;
            Some(end.saturating_sub(next).max(0))
        };
        let row = |(origin, partition): (&Origin, &Partition)| PartitionStats {
            origin: origin.clone(),
            next_offset: partition.next,
            lag: lag(origin, partition.next),
        };
        self.assigned.iter().map(row).collect()
    }
}

impl Partition {
    /// Makes room for a run of records at once: growing step by step copies them all twice.
    fn make_room(&mut self, run: &[Entry<'_>]) {
        let sizes = run.iter().map(|entry| entry.bytes().min(self.plan.bytes_max.saturating_add(1)));
        let bytes = sizes.fold(0, usize::saturating_add);
        self.batch.bytes.reserve(bytes.min(BATCH_BYTES_MAX.saturating_sub(self.batch.bytes.len())));
        let records = run.len().min(BATCH_RECORDS_MAX.saturating_sub(self.batch.len()));
        self.batch.ends.reserve(records);
        self.batch.offsets.reserve(records);
        self.batch.arrivals.reserve(records);
    }

    fn accept(
        &mut self,
        origin: &Origin,
        offset: i64,
        at: Timestamp,
        payload: &[u8],
        pending: &mut VecDeque<SourceEvent>,
    ) {
        if self.is_damaged && offset > self.next {
            self.close_batch(origin, pending);
            pending.push_back(SourceEvent::Gap(origin.clone(), self.next, offset));
        }
        self.is_damaged = false;
        self.next = offset.saturating_add(1);
        // One byte beyond the limit is enough for the decoder to see that the record is too large.
        let kept = payload.len().min(self.plan.bytes_max.saturating_add(1));
        self.batch.push(offset, at, payload.get(..kept).unwrap_or(payload));
        if self.batch.len() >= BATCH_RECORDS_MAX || self.batch.bytes.len() >= BATCH_BYTES_MAX {
            self.close_batch(origin, pending);
        }
    }

    fn close_batch(&mut self, origin: &Origin, pending: &mut VecDeque<SourceEvent>) {
        if !self.batch.is_empty() {
            let next = RawBatch::new(self.plan.stream, origin.clone());
            pending.push_back(SourceEvent::Records(std::mem::replace(&mut self.batch, next)));
        }
    }
}

fn from_millis(millis: i64) -> Timestamp {
    Timestamp::saturating_from_micros(millis.saturating_mul(1000))
}

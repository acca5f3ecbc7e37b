//! The owner's loop: take what the source says, add it up, make it durable, let it leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::SystemClock;
use super::library::Library;
use super::pipeline::{Came, Pipeline, PipelineError};
use crate::event::{Clock, Timestamp};
use crate::performance::join::JoinError;
use crate::serve::{Health, Metrics};
use crate::source::{KafkaSource, SourceEvent};
use crate::store::{Store, StoreError};

/// Longest wait for a record; how soon a stop is noticed.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// How often figures that change by themselves are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// How often versions without baseline are looked for again.
const LIBRARY_INTERVAL: Duration = Duration::from_secs(10);

/// How long closing the Kafka client may take: leaving the group is a courtesy, the state is durable.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);

/// Everything the loop works with.
pub(super) struct Owner {
    pub(super) pipeline: Pipeline,
    pub(super) library: Arc<Library>,
    pub(super) store: Arc<Store>,
    pub(super) source: KafkaSource,
    pub(super) received: Receiver<SourceEvent>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: Arc<Health>,
    pub(super) wake: watch::Sender<u64>,
    pub(super) commit_interval: Duration,
    pub(super) stop: Arc<AtomicBool>,
    /// From the arrival of the newest record to the commit that made notifications of it, in microseconds:
    /// delivery adds it to its own time.
    pub(super) arrival_to_outbox: Arc<AtomicU64>,
    pub(super) arrival: Option<Timestamp>,
}

/// Why the loop had to stop.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// The store cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A worker is gone or the source broke its promise.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// Waiting predictions cannot be read.
    #[error(transparent)]
    Waiting(#[from] JoinError),
    /// The source cannot go on.
    #[error("the source cannot go on: {0}")]
    Source(String),
}

/// When things were last done.
struct Rounds {
    committed: Instant,
    looked: Instant,
    library: Instant,
}

impl Owner {
    /// Runs until it is told to stop or cannot go on. However it ends, what was committed is whole.
    pub(super) fn run(mut self) -> Result<(), OwnerError> {
        let mut rounds =
            Rounds { committed: Instant::now(), looked: Instant::now(), library: Instant::now() };
        let result = loop {
            self.health.beat();
            if self.stop.load(Ordering::Relaxed) {
                self.health.draining();
                break self.drain();
            }
            if let Err(error) = self.turn(&mut rounds) {
                break Err(error);
            }
        };
        self.source.stop(CLOSE_TIMEOUT);
        result
    }

    /// One turn: fill the workers, take one result, commit if it is time.
    fn turn(&mut self, rounds: &mut Rounds) -> Result<(), OwnerError> {
        self.fill(self.commit_interval.saturating_sub(rounds.committed.elapsed()).min(WAIT_MAX))?;
        let now = SystemClock.now();
        let mut due = rounds.committed.elapsed() >= self.commit_interval;
        if let Some(came) = self.pipeline.take(now)? {
            due |= self.came(came, now)?;
        }
        if due {
            self.commit(now)?;
            rounds.committed = Instant::now();
        }
        if rounds.looked.elapsed() >= LOOK_INTERVAL {
            self.look(now);
            rounds.looked = Instant::now();
        }
        if rounds.library.elapsed() >= LIBRARY_INTERVAL {
            self.library.refresh(&self.pipeline.monitor().versions_in_use());
            rounds.library = Instant::now();
        }
        Ok(())
    }

    fn fill(&mut self, wait_max: Duration) -> Result<(), OwnerError> {
        while !self.pipeline.is_full() {
            // With results under way, only take what is there already.
            let wait = if self.pipeline.is_empty() { wait_max } else { Duration::ZERO };
            match self.received.recv_timeout(wait) {
                Ok(event) => self.pipeline.put(event)?,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(OwnerError::Source("its thread ended; see the log above".to_owned()));
                }
            }
        }
        Ok(())
    }

    /// Acts on what came back; says whether to commit now.
    fn came(&mut self, came: Came, now: Timestamp) -> Result<bool, OwnerError> {
        match came {
            Came::Added(arrival) => {
                self.arrival = arrival;
                Ok(self.pipeline.monitor().is_due(now))
            }
            Came::Word(SourceEvent::AtEnd(..)) => Ok(self.pipeline.monitor().is_due(now)),
            Came::Word(SourceEvent::Assigned(partitions)) => {
                for (origin, offset) in &partitions {
                    tracing::info!(kafka.topic = %origin.topic, kafka.partition = origin.partition, offset, "partition assigned");
                }
                Ok(true)
            }
            Came::Word(SourceEvent::Revoked(partitions, done)) => {
                self.commit(now)?;
                self.pipeline.revoke(&partitions);
                for origin in &partitions {
                    self.metrics.kafka_partition_lost(&origin.topic, origin.partition);
                    tracing::info!(kafka.topic = %origin.topic, kafka.partition = origin.partition, "partition revoked");
                }
                // The source may have stopped waiting.
                let _ = done.send(());
                Ok(false)
            }
            Came::Word(SourceEvent::Gap(origin, from, to)) => {
                self.pipeline.monitor().gap(&origin, to);
                tracing::error!(
                    kafka.topic = %origin.topic, kafka.partition = origin.partition, from, to,
                    "records were deleted before they were read: the windows they belong to miss them"
                );
                Ok(true)
            }
            Came::Word(SourceEvent::Failed(why)) => Err(OwnerError::Source(why)),
            Came::Word(SourceEvent::Records(_)) => Ok(false),
        }
    }

    /// Makes everything so far durable, then lets offsets and notifications move.
    fn commit(&mut self, now: Timestamp) -> Result<(), OwnerError> {
        let started = Instant::now();
        let commit = self.pipeline.monitor().advance(now)?;
        let tested = started.elapsed();
        self.store.apply(&commit, now)?;
        self.source.durable(&commit.positions);
        if !commit.joined.is_empty() {
            self.tell_joins();
        }
        if !commit.outbox.is_empty() {
            let since = self.arrival.map_or(0, |arrival| (SystemClock.now() - arrival).as_micros().max(0));
            self.arrival_to_outbox.store(u64::try_from(since).unwrap_or(0), Ordering::Relaxed);
            self.wake.send_modify(|count| *count = count.wrapping_add(1));
        }
        if !commit.windows.is_empty() {
            self.metrics.window_tested(tested);
        }
        for window in &commit.windows {
            self.metrics.windows_closed(&window.key.model, 1, u64::from(window.verdict.alarm));
        }
        for (topic, model, outcome, n) in &commit.counted {
            self.metrics.events(topic, model, outcome, *n);
        }
        for incident in &commit.transitions {
            tracing::info!(
                incident.id = %incident.id, model.id = %incident.model, incident.sequence = incident.sequence,
                incident.status = ?incident.status, "incident changed"
            );
        }
        self.metrics.committed(started.elapsed());
        Ok(())
    }

    /// Says what waits for labels, as of the last commit.
    fn tell_joins(&mut self) {
        let joins = self.pipeline.monitor().joins();
        self.metrics.joins(&joins);
        self.health.set_joins(joins);
    }

    fn look(&mut self, now: Timestamp) {
        let stats = self.source.stats();
        for partition in &stats.partitions {
            if let Some(lag) = partition.lag.and_then(|lag| u64::try_from(lag).ok()) {
                self.metrics.kafka_lag(&partition.origin.topic, partition.origin.partition, lag);
            }
        }
        self.metrics.source_paused(stats.is_held_back);
        match (stats.is_connected, stats.partitions.is_empty(), stats.last_error) {
            (true, false, _) => self.health.source_reading(),
            (true, true, _) => self.health.source_unavailable("no partition is assigned yet"),
            (false, _, Some((why, _))) => self.health.source_unavailable(why),
            (false, _, None) => self.health.source_unavailable("no broker is connected yet"),
        }
        let budgets = self.pipeline.monitor().budgets();
        self.metrics.budgets(&budgets);
        self.health.set_budgets(budgets);
        self.tell_joins();
        for (model, watermark) in self.pipeline.monitor().watermarks() {
            if let Some(watermark) = watermark {
                self.metrics.watermark_delay(model, (now - watermark).as_secs_f64());
                self.health.watermark(model, watermark);
            }
        }
    }

    /// Takes what is under way, and commits.
    fn drain(&mut self) -> Result<(), OwnerError> {
        let now = SystemClock.now();
        while let Some(came) = self.pipeline.take(now)? {
            self.came(came, now)?;
        }
        self.commit(now)
    }
}

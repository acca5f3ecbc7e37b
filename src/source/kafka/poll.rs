//! The poll thread: takes records, serves the group, hands over, commits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::queue::Connection;
use super::state::Shared;
use crate::event::Origin;
use crate::source::BATCH_RECORDS_MAX;

/// How long records are gathered when fewer come than fill a batch: what a lone record waits at most.
const LINGER: Duration = Duration::from_millis(20);

/// How long to wait for room when the receiver has none.
const HELD_BACK_WAIT: Duration = Duration::from_millis(5);

/// Events of the group served in one round; there are a few a second.
const EVENTS_A_ROUND: usize = 8;

/// How often the group is told what is durable.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// How often the group is joined anew at most.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

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

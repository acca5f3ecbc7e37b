//! An outbox in memory, with the rules of the real one, and a clock that follows tokio's time.

use std::sync::Mutex;

use driftline::event::{Clock, Span, Timestamp};
use driftline::incident::Notification;
use driftline::notify::{Outbox, OutboxError, Waiting};

/// Where a row stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Waits.
    Waiting,
    /// The receiver has it.
    Delivered,
    /// Given up, and why.
    Dead(String),
}

/// One row.
#[derive(Debug, Clone)]
pub struct Row {
    pub notification: Notification,
    pub state: State,
    pub attempts: u32,
    pub not_before: Timestamp,
    pub created_at: Timestamp,
    /// The reasons of all retries.
    pub reasons: Vec<String>,
}

/// Rows in the order in which they were put in.
#[derive(Default)]
pub struct MemoryOutbox {
    rows: Mutex<Vec<Row>>,
    /// Calls that fail before one works again.
    failures: Mutex<u32>,
}

impl MemoryOutbox {
    /// Puts a notification in; it is due at once.
    pub fn put(&self, notification: Notification, now: Timestamp) {
        self.rows.lock().expect("not poisoned").push(Row {
            notification,
            state: State::Waiting,
            attempts: 0,
            not_before: now,
            created_at: now,
            reasons: Vec::new(),
        });
    }

    /// All rows.
    pub fn rows(&self) -> Vec<Row> {
        self.rows.lock().expect("not poisoned").clone()
    }

    /// The row of a notification.
    pub fn row(&self, id: &str) -> Row {
        self.rows().into_iter().find(|row| row.notification.id == id).expect("a row")
    }

    /// Whether nothing waits.
    pub fn is_settled(&self) -> bool {
        self.rows().iter().all(|row| row.state != State::Waiting)
    }

    /// Makes the next calls fail.
    pub fn fail_next(&self, calls: u32) {
        *self.failures.lock().expect("not poisoned") = calls;
    }

    fn try_fail(&self) -> Result<(), OutboxError> {
        let mut failures = self.failures.lock().expect("not poisoned");
        if *failures == 0 {
            return Ok(());
        }
        *failures -= 1;
        Err(OutboxError("the disk is full".into()))
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut Row)) -> Result<(), OutboxError> {
        self.try_fail()?;
        let mut rows = self.rows.lock().expect("not poisoned");
        let row = rows
            .iter_mut()
            .find(|row| row.notification.id == id && row.state == State::Waiting)
            .ok_or_else(|| OutboxError(format!("no waiting row {id}").into()))?;
        row.attempts += 1;
        change(row);
        Ok(())
    }

    /// The first waiting row of each incident.
    fn heads(&self, channel: &str) -> Vec<Row> {
        let mut heads: Vec<Row> = Vec::new();
        for row in self.rows() {
            let incident = &row.notification.incident.id;
            let is_taken = heads.iter().any(|head| head.notification.incident.id == *incident);
            if row.state == State::Waiting && row.notification.channel == channel && !is_taken {
                heads.push(row);
            }
        }
        heads
    }
}

impl Outbox for MemoryOutbox {
    fn due(&self, channel: &str, now: Timestamp, limit: usize) -> Result<Vec<Waiting>, OutboxError> {
        self.try_fail()?;
        let due = self.heads(channel).into_iter().filter(|row| row.not_before <= now).take(limit);
        let waiting = |row: Row| Waiting {
            notification: row.notification,
            attempts: row.attempts,
            created_at: row.created_at,
        };
        Ok(due.map(waiting).collect())
    }

    fn next_due(&self, channel: &str) -> Result<Option<Timestamp>, OutboxError> {
        self.try_fail()?;
        Ok(self.heads(channel).into_iter().map(|row| row.not_before).min())
    }

    fn delivered(&self, id: &str, _now: Timestamp) -> Result<(), OutboxError> {
        self.change(id, |row| row.state = State::Delivered)
    }

    fn retry(&self, id: &str, not_before: Timestamp, reason: &str) -> Result<(), OutboxError> {
        self.change(id, |row| {
            row.not_before = not_before;
            row.reasons.push(reason.to_owned());
        })
    }

    fn dead(&self, id: &str, _now: Timestamp, reason: &str) -> Result<(), OutboxError> {
        self.change(id, |row| row.state = State::Dead(reason.to_owned()))
    }
}

/// Wall time that passes as tokio's does, paused or not.
pub struct TokioClock {
    origin: tokio::time::Instant,
    start: Timestamp,
}

impl TokioClock {
    /// Begins at this time; must be made on a runtime.
    pub fn starting_at(start: Timestamp) -> Self {
        Self { origin: tokio::time::Instant::now(), start }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        let micros = i64::try_from(self.origin.elapsed().as_micros()).expect("a test is short");
        self.start + Span::from_micros(micros)
    }
}

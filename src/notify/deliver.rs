//! Delivery: the only place that sends.
//!
//! Place in the flow: one task for each configured channel takes what is due from the outbox, sends it in
//! order and records what came of it. I/O.
//!
//! A worker has no memory that matters: it reads the outbox, does what is due and looks again, so start-up
//! after a crash is the same path as any other turn. The wake signal only shortens the wait.
//!
//! Promise: at least once. When the process dies between the answer and the record, or the receiver's
//! answer is lost, the same notification is sent again under the same id.
//!
//! Bounds: at most 32 rows are held; a row is tried `attempts_max` times, at intervals that grow to one
//! hour; twelve attempts span about two to four hours.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use crate::event::{Clock, Span, Timestamp};
use crate::incident::{Notification, NotificationKind};

use super::transport::{Outgoing, Transport, TransportError};
use super::{
    CHANNELS, ChannelKind, ChannelSettings, Delivery, Outbox, OutboxError, Request, Response, Waiting,
    channel_kind, scrub,
};

/// Rows taken from the outbox at a time.
const ROWS_MAX: usize = 32;

/// The first retry comes after at most this.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// Every further one after at most this many times as long.
const BACKOFF_GROWTH: u32 = 3;

/// No retry waits longer, whatever a receiver asks for.
const BACKOFF_MAX: Duration = Duration::from_secs(3600);

/// How long an idle worker waits before it looks again without being woken: a lost wake-up, or a step of
/// the wall clock, delays a message by no more.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// How long it waits at least, so that an outbox that contradicts itself cannot make it spin.
const IDLE_MIN: Duration = Duration::from_millis(50);

/// Pause after the outbox failed.
const OUTBOX_PAUSE: Duration = Duration::from_secs(2);

/// How long an attempt under way may go on after shutdown was asked for.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// Hears of every attempt: for metrics. It must return at once.
pub type Observer = Arc<dyn Fn(&Attempted<'_>) + Send + Sync>;

/// One attempt, as metrics see it.
#[derive(Debug, Clone, Copy)]
pub struct Attempted<'a> {
    /// The channel's name.
    pub channel: &'a str,
    /// What the notification tells.
    pub kind: NotificationKind,
    /// What came of it.
    pub outcome: Outcome,
    /// How many attempts this notification has had, this one included.
    pub attempts: u32,
    /// How long the attempt took.
    pub duration: Duration,
    /// From the event time of the transition to now: what an operator calls the delay of an alert. It
    /// includes the window's lateness; negative if events come from the future.
    pub since_event: Span,
    /// From the outbox to now, by the wall clock.
    pub since_created: Span,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// The receiver has it.
    Delivered,
    /// It will be tried again.
    Retried,
    /// It is a dead letter.
    Dead,
}

impl Outcome {
    /// Every outcome, in the order metrics list them.
    pub const ALL: [Self; 3] = [Self::Delivered, Self::Retried, Self::Dead];

    /// The stable snake_case name: the label of metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retried => "retried",
            Self::Dead => "dead",
        }
    }
}

/// What all workers share.
#[derive(Clone)]
pub struct Ports {
    /// Where notifications wait.
    pub outbox: Arc<dyn Outbox>,
    /// The way out.
    pub transport: Arc<dyn Transport>,
    /// The wall time: for what is due and for what is signed.
    pub clock: Arc<dyn Clock>,
    /// Hears of every attempt.
    pub observer: Observer,
}

/// How the application speaks to workers.
#[derive(Clone)]
pub struct Signals {
    /// Any change says that the outbox may hold something new; the number means nothing.
    pub wake: watch::Receiver<u64>,
    /// `true`, or a dropped sender, says stop: no new attempt begins, and one under way has
    /// three seconds left.
    pub shutdown: watch::Receiver<bool>,
}

/// The settings name a kind of channel that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("channel `{channel}`: there is no kind `{kind}`, use one of {}", kind_names())]
pub struct UnknownKind {
    /// The channel.
    pub channel: String,
    /// What it asks for.
    pub kind: String,
}

fn kind_names() -> String {
    CHANNELS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ")
}

/// Starts the worker of one channel on the current runtime. It ends when it is told to shut down.
///
/// # Errors
///
/// [`UnknownKind`] if the settings name no row of [`CHANNELS`].
pub fn spawn(
    settings: ChannelSettings,
    ports: Ports,
    signals: Signals,
) -> Result<JoinHandle<()>, UnknownKind> {
    let kind = kind_of(&settings)?;
    let worker = Worker { settings, kind, ports, signals, wake_is_gone: false, next_send: Instant::now() };
    Ok(tokio::spawn(worker.run()))
}

/// The row of [`CHANNELS`] that the settings name.
///
/// # Errors
///
/// [`UnknownKind`] if there is none.
pub fn kind_of(settings: &ChannelSettings) -> Result<&'static ChannelKind, UnknownKind> {
    channel_kind(&settings.kind)
        .ok_or_else(|| UnknownKind { channel: settings.name.clone(), kind: settings.kind.clone() })
}

/// One attempt: what was sent, what came back and what that means. Texts hold no secrets; the request's
/// body may.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// What was sent.
    pub request: Request,
    /// What came back.
    pub answer: Result<Response, TransportError>,
    /// What that means. Never a retry with a `Retry-After` beyond an hour.
    pub delivery: Delivery,
}

/// Renders a notification, sends it once and says what the answer means. It records nothing.
pub async fn attempt(
    kind: &ChannelKind,
    settings: &ChannelSettings,
    notification: &Notification,
    transport: &dyn Transport,
    now: Timestamp,
) -> Attempt {
    let request = kind.channel.render(notification, settings, now);
    let outgoing = Outgoing {
        url: settings.url.clone(),
        headers: all_headers(&request, settings),
        body: request.body.clone(),
        timeout: settings.timeout,
    };
    // The transport keeps the time too; this holds also for one that does not.
    let limit = settings.timeout.saturating_add(Duration::from_secs(1));
    let answer = match tokio::time::timeout(limit, transport.send(outgoing)).await {
        Ok(answer) => answer.map(|response| scrubbed(response, settings)),
        Err(_) => Err(TransportError::TimedOut(settings.timeout)),
    };
    let delivery = match &answer {
        Ok(response) => bounded(kind.channel.classify(response)),
        // Whatever went wrong on the way may be mended without us: a name, a route, a certificate.
        Err(error) => Delivery::Retry { reason: scrub(&error.to_string(), settings), after_secs: None },
    };
    Attempt { request, answer, delivery }
}

/// The rendered headers and those configured beside them. A configured header cannot replace a rendered
/// one: ids and signatures are not the operator's to change.
fn all_headers(request: &Request, settings: &ChannelSettings) -> Vec<(String, SecretString)> {
    let rendered = request.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
    let is_rendered = |name: &str| request.headers.iter().any(|(taken, _)| taken.eq_ignore_ascii_case(name));
    let configured = settings.headers.iter().filter(|(name, _)| !is_rendered(name));
    rendered.chain(configured.map(|(name, value)| (name.clone(), value.clone()))).collect()
}

fn scrubbed(response: Response, settings: &ChannelSettings) -> Response {
    let body = scrub(&String::from_utf8_lossy(&response.body), settings).into_bytes();
    Response { body, ..response }
}

fn bounded(delivery: Delivery) -> Delivery {
    match delivery {
        Delivery::Retry { reason, after_secs } => {
            Delivery::Retry { reason, after_secs: after_secs.map(|secs| secs.min(BACKOFF_MAX.as_secs())) }
        }
        other => other,
    }
}

/// How long to wait after attempt number `attempts` (from 1): exponential, between half and the whole of
/// its bound by a hash of id and attempt, so that destinations that failed together do not return
/// together, and a replay waits alike. A receiver's `Retry-After` is a lower bound. At most an hour.
fn backoff(id: &str, attempts: u32, after_secs: Option<u64>) -> Duration {
    let growth = BACKOFF_GROWTH.saturating_pow(attempts.saturating_sub(1));
    let bound = BACKOFF_FIRST.saturating_mul(growth).min(BACKOFF_MAX);
    let hash = xxh3_64(format!("{id}|{attempts}").as_bytes());
    // The upper 32 bits are a fraction of 0..1.
    let fraction = f64::from(u32::try_from(hash >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX);
    let own = bound.mul_f64(0.5 + 0.5 * fraction);
    own.max(Duration::from_secs(after_secs.unwrap_or(0))).min(BACKOFF_MAX)
}

/// What is recorded after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Record {
    Delivered,
    Retry { wait: Duration, reason: String },
    Dead { reason: String },
}

impl Record {
    /// Decides by what the answer means and how often it was tried, this attempt included.
    fn of(delivery: Delivery, id: &str, attempts: u32, attempts_max: u32) -> Self {
        match delivery {
            Delivery::Delivered => Self::Delivered,
            Delivery::Dead { reason } => Self::Dead { reason },
            Delivery::Retry { reason, .. } if attempts >= attempts_max => {
                Self::Dead { reason: format!("given up after {attempts} attempts, the last: {reason}") }
            }
            Delivery::Retry { reason, after_secs } => {
                Self::Retry { wait: backoff(id, attempts, after_secs), reason }
            }
        }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::Delivered => Outcome::Delivered,
            Self::Retry { .. } => Outcome::Retried,
            Self::Dead { .. } => Outcome::Dead,
        }
    }

    fn write(&self, outbox: &dyn Outbox, id: &str, now: Timestamp) -> Result<(), OutboxError> {
        match self {
            Self::Delivered => outbox.delivered(id, now),
            Self::Retry { wait, reason } => outbox.retry(id, now + span(*wait), reason),
            Self::Dead { reason } => outbox.dead(id, now, reason),
        }
    }
}

fn span(duration: Duration) -> Span {
    Span::from_micros(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}

/// Whether the worker goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Go,
    Stop,
}

/// The task of one channel.
struct Worker {
    settings: ChannelSettings,
    kind: &'static ChannelKind,
    ports: Ports,
    signals: Signals,
    /// The application dropped its end of the wake signal: only time is left to wait for.
    wake_is_gone: bool,
    /// No request before this: the receiver's rate and what it asked for by `Retry-After`.
    next_send: Instant,
}

impl Worker {
    async fn run(mut self) {
        while self.turn().await == Turn::Go {}
    }

    /// Looks into the outbox once and does what is due.
    async fn turn(&mut self) -> Turn {
        if *self.signals.shutdown.borrow() || self.signals.shutdown.has_changed().is_err() {
            return Turn::Stop;
        }
        // What comes after this look wakes the next one.
        self.signals.wake.mark_unchanged();
        let channel = self.settings.name.clone();
        let now = self.ports.clock.now();
        let due = self.on_outbox(move |outbox| outbox.due(&channel, now, ROWS_MAX)).await;
        match due {
            Ok(rows) if rows.is_empty() => self.rest().await,
            Ok(rows) => self.deliver_all(rows).await,
            Err(error) => {
                tracing::error!(channel.name = %self.settings.name, error = %error, "cannot read the outbox");
                self.wait_until(Instant::now() + OUTBOX_PAUSE).await
            }
        }
    }

    async fn deliver_all(&mut self, rows: Vec<Waiting>) -> Turn {
        for row in rows.into_iter().take(ROWS_MAX) {
            if self.deliver(&row).await == Turn::Stop {
                return Turn::Stop;
            }
        }
        Turn::Go
    }

    /// Sends one notification and records what came of it.
    async fn deliver(&mut self, row: &Waiting) -> Turn {
        if self.wait_until(self.next_send).await == Turn::Stop {
            return Turn::Stop;
        }
        let started = Instant::now();
        let attempt = tokio::select! {
            attempt = attempt(
                self.kind, &self.settings, &row.notification, &*self.ports.transport, self.ports.clock.now()
            ) => attempt,
            // The row stays due, so the next start sends it again under the same id.
            () = grace_after(self.signals.shutdown.clone()) => return Turn::Stop,
        };
        let duration = started.elapsed();
        self.next_send = Instant::now() + self.pause_after(&attempt.delivery);
        let attempts = row.attempts.saturating_add(1);
        let id = &row.notification.id;
        let record = Record::of(attempt.delivery, id, attempts, self.settings.attempts_max);
        self.report(row, &record, attempts, duration);
        self.record(id, record).await
    }

    /// How long the receiver is left alone: its published rate, or longer if it asked for it.
    fn pause_after(&self, delivery: &Delivery) -> Duration {
        let asked = match delivery {
            Delivery::Retry { after_secs: Some(secs), .. } => Duration::from_secs(*secs),
            _ => Duration::ZERO,
        };
        self.kind.spacing.max(asked)
    }

    /// Writes down what came of an attempt, until it is written: sending again instead would repeat a
    /// message at every turn while the disk is full.
    async fn record(&mut self, id: &str, record: Record) -> Turn {
        loop {
            let (id, record) = (id.to_owned(), record.clone());
            let now = self.ports.clock.now();
            let Err(error) = self.on_outbox(move |outbox| record.write(outbox, &id, now)).await else {
                return Turn::Go;
            };
            tracing::error!(channel.name = %self.settings.name, error = %error, "cannot write to the outbox");
            if self.wait_until(Instant::now() + OUTBOX_PAUSE).await == Turn::Stop {
                return Turn::Stop;
            }
        }
    }

    /// Tells metrics and the log.
    fn report(&self, row: &Waiting, record: &Record, attempts: u32, duration: Duration) {
        let now = self.ports.clock.now();
        let notification = &row.notification;
        (self.ports.observer)(&Attempted {
            channel: &self.settings.name,
            kind: notification.kind,
            outcome: record.outcome(),
            attempts,
            duration,
            since_event: now - notification.incident.updated_at,
            since_created: now - row.created_at,
        });
        let channel = self.settings.name.as_str();
        let (id, incident) = (notification.id.as_str(), notification.incident.id.as_str());
        let kind = notification.kind;
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        match record {
            Record::Delivered => tracing::info!(
                channel.name = channel,
                notification.id = id,
                incident.id = incident,
                ?kind,
                attempts,
                duration_ms,
                "notification delivered"
            ),
            Record::Retry { wait, reason } => tracing::warn!(
                channel.name = channel,
                notification.id = id,
                incident.id = incident,
                ?kind,
                attempts,
                duration_ms,
                wait_secs = wait.as_secs(),
                reason,
                "notification will be tried again"
            ),
            Record::Dead { reason } => tracing::error!(
                channel.name = channel,
                notification.id = id,
                incident.id = incident,
                ?kind,
                attempts,
                duration_ms,
                reason,
                "notification is a dead letter"
            ),
        }
    }

    /// Waits until something may be due: the next retry, a wake-up, or a while.
    async fn rest(&mut self) -> Turn {
        let channel = self.settings.name.clone();
        let wait = match self.on_outbox(move |outbox| outbox.next_due(&channel)).await {
            Ok(Some(at)) => (at - self.ports.clock.now()).to_duration().clamp(IDLE_MIN, IDLE_MAX),
            Ok(None) => IDLE_MAX,
            Err(error) => {
                tracing::error!(channel.name = %self.settings.name, error = %error, "cannot read the outbox");
                OUTBOX_PAUSE
            }
        };
        tokio::select! {
            biased;
            () = stopped(&mut self.signals.shutdown) => Turn::Stop,
            changed = self.signals.wake.changed(), if !self.wake_is_gone => {
                self.wake_is_gone = changed.is_err();
                Turn::Go
            }
            () = tokio::time::sleep(wait) => Turn::Go,
        }
    }

    async fn wait_until(&mut self, at: Instant) -> Turn {
        tokio::select! {
            biased;
            () = stopped(&mut self.signals.shutdown) => Turn::Stop,
            () = tokio::time::sleep_until(at) => Turn::Go,
        }
    }

    /// Runs a blocking call of the outbox beside the runtime.
    async fn on_outbox<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Outbox) -> Result<T, OutboxError> + Send + 'static,
    ) -> Result<T, OutboxError> {
        let outbox = Arc::clone(&self.ports.outbox);
        match tokio::task::spawn_blocking(move || call(&*outbox)).await {
            Ok(result) => result,
            Err(error) => Err(OutboxError(Box::new(error))),
        }
    }
}

/// Ends when shutdown is asked for or the application is gone.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which says the same.
    let _ = shutdown.wait_for(|stop| *stop).await;
}

/// Ends when an attempt has had its time after shutdown was asked for.
async fn grace_after(mut shutdown: watch::Receiver<bool>) {
    stopped(&mut shutdown).await;
    tokio::time::sleep(SHUTDOWN_GRACE).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_attempts_span_hours() {
        let total: Duration = (1..12).map(|attempts| backoff("some id", attempts, None)).sum();
        assert!((7_000..=14_100).contains(&total.as_secs()), "{total:?}");
    }

    #[test]
    fn backoff_grows_is_spread_and_bounded() {
        assert_eq!(backoff("id", 3, None), backoff("id", 3, None));
        assert_ne!(backoff("id", 3, None), backoff("other", 3, None));
        for (attempts, bound) in [(1, 1), (2, 3), (3, 9), (7, 729), (9, 3600), (u32::MAX, 3600)] {
            let wait = backoff("id", attempts, None);
            let bound = Duration::from_secs(bound);
            assert!(wait >= bound / 2 && wait <= bound, "{attempts}: {wait:?}");
        }
    }

    #[test]
    fn retry_after_is_a_lower_bound_within_an_hour() {
        assert_eq!(backoff("id", 1, Some(120)), Duration::from_secs(120));
        assert!(backoff("id", 7, Some(1)) > Duration::from_secs(300));
        assert_eq!(backoff("id", 1, Some(u64::MAX)), BACKOFF_MAX);
    }

    #[test]
    fn the_last_attempt_makes_a_dead_letter() {
        let retry = || Delivery::Retry { reason: "answered 500".to_owned(), after_secs: None };
        assert!(matches!(Record::of(retry(), "id", 11, 12), Record::Retry { .. }));
        assert_eq!(
            Record::of(retry(), "id", 12, 12),
            Record::Dead { reason: "given up after 12 attempts, the last: answered 500".to_owned() }
        );
        assert_eq!(Record::of(Delivery::Delivered, "id", 12, 12), Record::Delivered);
    }
}

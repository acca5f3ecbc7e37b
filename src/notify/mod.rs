//! Notifications: incidents become HTTP requests, and requests are delivered.
//!
//! Place in the flow: the last step. A [`Channel`] renders a notification to a [`Request`] and
//! classifies the answer; both are pure. One worker a destination takes rows from the outbox, sends
//! them and records what came of it; only `deliver.rs` sends.
//!
//! Promise: every notification is delivered at least once, or ends as a dead letter that is counted and
//! kept. Notifications of one incident reach a channel in order. The id is the same on every attempt, so
//! a receiver can drop repeats. A receiver that is down delays only itself.
//!
//! To add a channel: one file that implements [`Channel`], one line in [`CHANNELS`].

use std::collections::BTreeMap;

use secrecy::SecretString;

use crate::event::Timestamp;
use crate::incident::Notification;

/// A destination as the operator configured it.
#[derive(Debug, Clone)]
pub struct ChannelSettings {
    /// Its name, unique.
    pub name: String,
    /// The row of [`CHANNELS`].
    pub kind: String,
    /// Where requests go. A secret: Slack's URL is a credential.
    pub url: SecretString,
    /// PagerDuty's routing key or the webhook's signing secret (`whsec_…`), newest first; several while
    /// a secret is rotated.
    pub secrets: Vec<SecretString>,
    /// Extra request headers; values are secrets.
    pub headers: BTreeMap<String, SecretString>,
    /// Where a reader finds the incident: put in front of `/api/v1/incidents`.
    pub link_base: Option<String>,
    /// How long one attempt may take.
    pub timeout: std::time::Duration,
    /// After this many attempts a notification becomes a dead letter.
    pub attempts_max: u32,
}

/// An HTTP request that is ready to be sent, but for the signature, which carries the time of the attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Headers beside the configured ones.
    pub headers: Vec<(String, String)>,
    /// The JSON body.
    pub body: Vec<u8>,
}

/// An HTTP answer, as much of it as matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// `Retry-After`, in seconds.
    pub retry_after_secs: Option<u64>,
    /// The first bytes of the body, capped.
    pub body: Vec<u8>,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The receiver has it.
    Delivered,
    /// Try again, not before `after_secs` if given.
    Retry {
        /// Why, for people.
        reason: String,
        /// What the receiver asked for.
        after_secs: Option<u64>,
    },
    /// It will never be accepted.
    Dead {
        /// Why, for people.
        reason: String,
    },
}

/// A kind of destination.
pub trait Channel: Send + Sync {
    /// Makes the request of an attempt at `now`. The same notification and time give the same bytes.
    fn render(&self, notification: &Notification, settings: &ChannelSettings, now: Timestamp) -> Request;

    /// Says what an answer means.
    fn classify(&self, response: &Response) -> Delivery;
}

/// A notification that waits for delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// The message.
    pub notification: Notification,
    /// Attempts made so far.
    pub attempts: u32,
    /// When it was put into the outbox, by the wall clock.
    pub created_at: Timestamp,
}

/// The outbox, as delivery sees it: a port, implemented by the [store](crate::store) and, in tests, in
/// memory. Calls are short and blocking.
pub trait Outbox: Send + Sync {
    /// The first waiting notification of each incident for this channel, if it is due: oldest first, at
    /// most `limit`. A later one of the same incident is not given before the earlier has ended.
    fn due(&self, channel: &str, now: Timestamp, limit: usize) -> Result<Vec<Waiting>, OutboxError>;

    /// When the next one becomes due; `None` when nothing waits.
    fn next_due(&self, channel: &str) -> Result<Option<Timestamp>, OutboxError>;

    /// The receiver has it.
    fn delivered(&self, id: &str, now: Timestamp) -> Result<(), OutboxError>;

    /// To be tried again; counts an attempt.
    fn retry(&self, id: &str, not_before: Timestamp, reason: &str) -> Result<(), OutboxError>;

    /// Given up; counts an attempt.
    fn dead(&self, id: &str, now: Timestamp, reason: &str) -> Result<(), OutboxError>;
}

/// The outbox could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("outbox: {0}")]
pub struct OutboxError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

//! Notifications: incidents become HTTP requests, and requests are delivered.
//!
//! Place in the flow: the last step. A [`Channel`] renders a notification to a [`Request`] and
//! classifies the answer; both are pure. One worker a destination takes rows from the outbox, sends
//! them and records what came of it; only `deliver.rs` sends.
//!
//! ```text
//!  outbox ──► deliver ──► slack · pagerduty · webhook · retrain ──► transport ──► receiver
//!   (port)    (due rows,   (render, classify; pure; words, text,      (port)
//!              backoff)     sign and answer are what they share)
//! ```
//!
//! Promise: every notification is delivered at least once, or ends as a dead letter that is counted and
//! kept. Notifications of one incident reach a channel in order. The id is the same on every attempt, so
//! a receiver can drop repeats. A receiver that is down delays only itself.
//!
//! To add a channel: one file that implements [`Channel`], one row in [`CHANNELS`].

mod answer;
mod figures;
mod pagerduty;
mod redact;
mod retrain;
mod sign;
mod slack;
mod text;
mod trial;
mod webhook;
mod words;

pub mod deliver;
pub mod transport;

pub use figures::metric_label;
pub use redact::{scrub, shown_url};
pub use trial::{trial, trial_end};

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use secrecy::SecretString;

use crate::event::Timestamp;
use crate::incident::Notification;

/// A kind of destination: a row of [`CHANNELS`].
pub struct ChannelKind {
    /// Stable snake_case name.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// What may be sent to it.
    pub hears: Hears,
    /// Where requests go if the operator names no place.
    pub default_url: Option<&'static str>,
    /// What its secret is, for people, and whether it works without.
    pub secret: SecretUse,
    /// Says what is wrong with a secret; the text names the mistake and the remedy, never the secret.
    pub check_secret: fn(&SecretString) -> Result<(), String>,
    /// Least time between two requests to one destination, by the receiver's published limits.
    pub spacing: Duration,
    /// Whether a trial leaves something open there that a second, resolving message must close.
    pub trial_stays_open: bool,
    /// Renders and classifies.
    pub channel: &'static dyn Channel,
}

/// What may be sent to a kind of destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hears {
    /// What happens to incidents.
    Incidents,
    /// Requests to retrain a model. Such a destination must not be listed among the incident channels:
    /// a receiver that acts on every call would retrain at each change of an incident.
    Retraining,
}

/// What a kind of destination does with its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretUse {
    /// There is none beside the URL.
    None,
    /// It works without; with one, requests are signed.
    Optional(&'static str),
    /// It does not work without.
    Required(&'static str),
}

/// Every kind of destination, in the order they are shown.
pub static CHANNELS: &[ChannelKind] = &[
    ChannelKind {
        name: "slack",
        about: "a Slack incoming webhook: one message for each change of an incident",
        hears: Hears::Incidents,
        default_url: None,
        secret: SecretUse::None,
        check_secret: |_| Err("a Slack channel has no secret beside its URL: remove the key".to_owned()),
        // Slack takes about one message a second on one webhook.
        spacing: Duration::from_millis(1_100),
        trial_stays_open: false,
        channel: &slack::Slack,
    },
    ChannelKind {
        name: "pagerduty",
        about: "PagerDuty Events API v2: one alert for each incident, triggered and resolved",
        hears: Hears::Incidents,
        default_url: Some("https://events.pagerduty.com/v2/enqueue"),
        secret: SecretUse::Required("the integration's routing key"),
        check_secret: pagerduty::check_routing_key,
        // 120 calls a minute on one key.
        spacing: Duration::from_millis(500),
        trial_stays_open: true,
        channel: &pagerduty::PagerDuty,
    },
    ChannelKind {
        name: "webhook",
        about: "any HTTP receiver: JSON, signed by Standard Webhooks 1.0.0",
        hears: Hears::Incidents,
        default_url: None,
        secret: SecretUse::Optional("the signing secret, `whsec_` and 24 to 64 bytes in base64"),
        check_secret: sign::check_secret,
        spacing: Duration::from_millis(100),
        trial_stays_open: false,
        channel: &webhook::Webhook,
    },
    ChannelKind {
        name: "retrain",
        about: "an HTTP receiver that starts a retraining: JSON with an idempotency key",
        hears: Hears::Retraining,
        default_url: None,
        secret: SecretUse::Optional("the signing secret, `whsec_` and 24 to 64 bytes in base64"),
        check_secret: sign::check_secret,
        spacing: Duration::from_millis(100),
        trial_stays_open: false,
        channel: &retrain::Retrain,
    },
];

/// The row of [`CHANNELS`] with this name.
pub fn channel_kind(name: &str) -> Option<&'static ChannelKind> {
    CHANNELS.iter().find(|kind| kind.name == name)
}

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
    pub timeout: Duration,
    /// After this many attempts a notification becomes a dead letter.
    pub attempts_max: u32,
}

/// An HTTP request that is ready to be sent: always a POST. Its body may carry a credential (PagerDuty's
/// routing key does), so `Debug` shows neither the body nor the values of headers.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// Headers beside the configured ones, the signature of this attempt among them.
    pub headers: Vec<(String, String)>,
    /// The JSON body.
    pub body: Vec<u8>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Request").field("headers", &names).field("body_bytes", &self.body.len()).finish()
    }
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

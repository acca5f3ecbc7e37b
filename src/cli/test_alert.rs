//! `driftline test-alert`: sends one trial message to one channel and shows what came of it.
//!
//! Place in the flow: beside it. It renders and sends exactly as the service does, but once, and writes
//! nothing to the outbox. What is printed holds no secret.

use std::io::Write;

use crate::config::Config;
use crate::event::Clock;
use crate::incident::Notification;
use crate::notify::deliver::{self, Attempt, UnknownKind};
use crate::notify::transport::{HttpTransport, HttpTransportError, Transport};
use crate::notify::{self, ChannelSettings, Delivery, scrub, shown_url};

/// Bytes of a body that are printed.
const SHOWN_BYTES_MAX: usize = 32 * 1024;

/// A trial failed.
#[derive(Debug, thiserror::Error)]
pub enum TestAlertError {
    /// No such channel in the configuration: the operator's mistake.
    #[error("there is no channel `{name}` in the configuration: {known}{}", hint(.similar.as_deref()))]
    UnknownChannel {
        /// What was asked for.
        name: String,
        /// The channels there are, for people.
        known: String,
        /// One that is written alike.
        similar: Option<String>,
    },
    /// The configuration names a kind of channel that does not exist: the operator's mistake.
    #[error(transparent)]
    UnknownKind(#[from] UnknownKind),
    /// The receiver did not take it.
    #[error("the channel `{channel}` did not take the trial: {reason}")]
    NotDelivered {
        /// The channel.
        channel: String,
        /// What was answered or what went wrong.
        reason: String,
    },
    /// There is no way out.
    #[error(transparent)]
    Transport(#[from] HttpTransportError),
    /// The runtime could not be started, or standard output is closed.
    #[error("input or output failed")]
    Io(#[from] std::io::Error),
}

fn hint(similar: Option<&str>) -> String {
    similar.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// Sends one trial through the real transport; writes what was sent and what was answered to `out`.
///
/// # Errors
///
/// [`TestAlertError`]; a trial that the receiver did not take is one.
pub fn run(
    config: &Config,
    channel: &str,
    clock: &dyn Clock,
    out: &mut dyn Write,
) -> Result<(), TestAlertError> {
    let settings = find(&config.channels, channel)?;
    let transport = HttpTransport::new()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(send_trial(settings, &transport, clock, out))
}

fn find<'a>(channels: &'a [ChannelSettings], name: &str) -> Result<&'a ChannelSettings, TestAlertError> {
    if let Some(settings) = channels.iter().find(|settings| settings.name == name) {
        return Ok(settings);
    }
    let names: Vec<String> = channels.iter().map(|settings| format!("`{}`", settings.name)).collect();
    let known =
        if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
    let similar = channels
        .iter()
        .map(|settings| (strsim::jaro_winkler(&settings.name, name), &settings.name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.clone());
    Err(TestAlertError::UnknownChannel { name: name.to_owned(), known, similar })
}

/// Sends the trial and, where one stays open, the message that closes it.
async fn send_trial(
    settings: &ChannelSettings,
    transport: &dyn Transport,
    clock: &dyn Clock,
    out: &mut dyn Write,
) -> Result<(), TestAlertError> {
    let kind = deliver::kind_of(settings)?;
    let trial = notify::trial(&settings.name, clock.now());
    let mut messages = vec![trial];
    if kind.trial_stays_open {
        messages.extend(messages.first().map(notify::trial_end));
    }
    for (i, message) in messages.iter().enumerate() {
        if i > 0 {
            tokio::time::sleep(kind.spacing).await;
        }
        send_one(settings, message, transport, clock, out).await?;
    }
    Ok(())
}

async fn send_one(
    settings: &ChannelSettings,
    message: &Notification,
    transport: &dyn Transport,
    clock: &dyn Clock,
    out: &mut dyn Write,
) -> Result<(), TestAlertError> {
    let kind = deliver::kind_of(settings)?;
    let attempt = deliver::attempt(kind, settings, message, transport, clock.now()).await;
    show(&attempt, settings, out)?;
    let reason = match attempt.delivery {
        Delivery::Delivered => return Ok(()),
        Delivery::Retry { reason, .. } => format!("{reason} (the service would try again)"),
        Delivery::Dead { reason } => reason,
    };
    Err(TestAlertError::NotDelivered { channel: settings.name.clone(), reason })
}

/// Prints both sides, without secrets.
fn show(attempt: &Attempt, settings: &ChannelSettings, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "sent: POST {}", shown_url(&settings.url))?;
    for (name, value) in &attempt.request.headers {
        writeln!(out, "  {name}: {}", scrub(value, settings))?;
    }
    for name in settings.headers.keys() {
        writeln!(out, "  {name}: [redacted]")?;
    }
    writeln!(out, "{}\n", shown_body(&attempt.request.body, settings))?;
    match &attempt.answer {
        Ok(response) => {
            writeln!(out, "answered: {}", response.status)?;
            writeln!(out, "{}", shown_body(&response.body, settings))
        }
        Err(error) => writeln!(out, "no answer: {}", scrub(&error.to_string(), settings)),
    }
}

/// A body for people: indented if it is JSON, without secrets, without what a terminal would obey.
fn shown_body(body: &[u8], settings: &ChannelSettings) -> String {
    let text = match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(value) => format!("{value:#}"),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let text = scrub(&text, settings);
    text.chars().filter(|c| !c.is_control() || *c == '\n').take(SHOWN_BYTES_MAX).collect()
}

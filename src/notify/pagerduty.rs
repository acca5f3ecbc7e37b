//! PagerDuty Events API v2: an incident is one alert, triggered, updated and resolved by one key.
//!
//! Place in the flow: a [`Channel`]. Pure. The routing key stands in the body, so the body is never logged.
//!
//! Invariants: every notification of an incident has the same `dedup_key`, on every attempt and after any
//! restart, so PagerDuty folds them into one alert; the body is at most [`BODY_BYTES_MAX`] long, and when
//! the details would exceed that they are shortened, as Alertmanager does.
//!
//! PagerDuty drops a resolve that comes before its trigger, and a trigger after a resolve opens a new
//! incident. The outbox's order within an incident is therefore not a nicety.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::event::Timestamp;
use crate::incident::{Incident, Notification, NotificationKind, Severity};

use super::text::{clip, clip_name, stretch};
use super::{Channel, ChannelSettings, Delivery, Request, Response, answer, figures, words};

/// PagerDuty takes 512 KB; Alertmanager stays below the same 512,000 bytes.
const BODY_BYTES_MAX: usize = 512_000;

/// PagerDuty's bound on `payload.summary`.
const SUMMARY_CHARS_MAX: usize = 1_024;

/// Columns that the details list; the API has the rest.
const FEATURES_MAX: usize = 50;

/// Triggers and resolves alerts.
pub(super) struct PagerDuty;

impl Channel for PagerDuty {
    fn render(&self, notification: &Notification, settings: &ChannelSettings, now: Timestamp) -> Request {
        let body = [Details::Full, Details::Short, Details::None]
            .into_iter()
            .map(|details| event(notification, settings, now, details).to_string().into_bytes())
            .find(|body| body.len() <= BODY_BYTES_MAX)
            .unwrap_or_default();
        Request { headers: vec![("content-type".to_owned(), "application/json".to_owned())], body }
    }

    fn classify(&self, response: &Response) -> Delivery {
        answer::by_status(response)
    }
}

/// How much the details hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Details {
    /// Columns with every test.
    Full,
    /// Columns with the loudest test.
    Short,
    /// Only a remark.
    None,
}

fn event(notification: &Notification, settings: &ChannelSettings, now: Timestamp, details: Details) -> Value {
    let incident = &notification.incident;
    let action = if notification.kind == NotificationKind::Resolved { "resolve" } else { "trigger" };
    let link = words::link(incident, settings);
    let links: Vec<Value> =
        link.iter().map(|href| json!({"href": href, "text": "The incident in Driftline"})).collect();
    let mut payload = json!({
        "summary": summary(notification),
        "source": words::model(incident),
        "severity": severity(notification),
        "timestamp": now,
        "class": clip_name(&incident.kind, words::NAME_CHARS_MAX),
        "custom_details": custom_details(notification, details),
    });
    let segment = incident.segment.as_deref().map(|text| clip_name(text, words::NAME_CHARS_MAX));
    let column = || incident.features.first().map(words::column);
    let metric = figures::component(incident).filter(|_| words::is_performance(incident));
    insert(&mut payload, "component", metric.or_else(column));
    insert(&mut payload, "group", segment);
    let mut event = json!({
        "routing_key": settings.secrets.first().map_or("", |key| key.expose_secret()),
        "event_action": action,
        "dedup_key": dedup_key(incident),
        "client": "Driftline",
        "links": links,
        "payload": payload,
    });
    insert(&mut event, "client_url", link);
    event
}

/// Adds a field that PagerDuty wants as text or not at all.
fn insert(object: &mut Value, name: &str, value: Option<String>) {
    if let (Some(value), Some(object)) = (value, object.as_object_mut()) {
        object.insert(name.to_owned(), value.into());
    }
}

/// One key for everything that happens to an incident, whatever its names hold: 64 characters of 255.
fn dedup_key(incident: &Incident) -> String {
    let digest = Sha256::digest(format!("{}|{}|{}", incident.model, incident.kind, incident.id));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// PagerDuty's word for how loud it is. A trial must wake nobody.
fn severity(notification: &Notification) -> &'static str {
    match (notification.kind, notification.incident.severity) {
        (NotificationKind::Test, _) => "info",
        (_, Severity::Critical) => "critical",
        (_, Severity::Warning) => "warning",
    }
}

/// The one line that is read aloud.
fn summary(notification: &Notification) -> String {
    let incident = &notification.incident;
    let headline = words::headline(notification);
    let text = match notification.kind {
        NotificationKind::Resolved => {
            format!("{headline}, open for {} of event time", words::open_for(incident))
        }
        _ => {
            let window = stretch(incident.window_start, incident.window_end);
            format!("{headline}: {}; {window}, {}", what(incident), words::calibration(incident))
        }
    };
    clip(&text, SUMMARY_CHARS_MAX)
}

/// What stands out: the metric and its cost, or the columns and one line of how the model does.
fn what(incident: &Incident) -> String {
    if words::is_performance(incident) {
        let parts = [figures::short(incident), figures::costs_shortly(incident)];
        return parts.into_iter().flatten().collect::<Vec<_>>().join("; ");
    }
    let first = incident.features.first().and_then(|feature| feature.summary.as_deref());
    let first = first.map(|words| format!(" ({})", clip(words, 300))).unwrap_or_default();
    let does = figures::short(incident).map(|line| format!("; {line}")).unwrap_or_default();
    format!("{}{first}{does}", words::moved(incident, 3))
}

fn custom_details(notification: &Notification, details: Details) -> Value {
    let incident = &notification.incident;
    let mut object = json!({
        "incident_id": clip_name(&incident.id, 200),
        "transition": incident.sequence,
        "model": words::model(incident),
        "version": incident.version.as_deref().map(|text| clip_name(text, words::NAME_CHARS_MAX)),
        "window": stretch(incident.window_start, incident.window_end),
        "rows": incident.n,
        "windows_alarming": incident.windows_alarming,
        "p_value": incident.p_value,
        "false_alarm_promise": words::calibration(incident),
        "moved": words::moved(incident, 10),
        "note": incident.note.as_deref().map(|note| clip(note, 500)),
        "baseline": clip_name(&incident.baseline, 200),
        "config": clip_name(&incident.config, 200),
    });
    if let Some(object) = object.as_object_mut() {
        if notification.kind == NotificationKind::Resolved {
            object.insert("resolution".to_owned(), words::resolution(incident).into());
        }
        let lines = figures::lines(incident);
        if !lines.is_empty() && notification.kind != NotificationKind::Resolved {
            object.insert("performance".to_owned(), lines.into());
        }
        object.insert("features".to_owned(), features(incident, details));
    }
    object
}

fn features(incident: &Incident, details: Details) -> Value {
    if details == Details::None {
        return "left out: the event would be larger than PagerDuty takes".into();
    }
    let feature = |verdict: &crate::verdict::ColumnVerdict| {
        let mut object = json!({
            "name": words::column(verdict),
            "what": verdict.summary.as_deref().map(|text| clip(text, 300)),
            "evidence": words::evidence(verdict),
            "training_values": verdict.reference_n,
            "window_values": verdict.current_n,
        });
        if let (Details::Full, Some(object)) = (details, object.as_object_mut()) {
            let tests = serde_json::to_value(&verdict.tests).unwrap_or(Value::Null);
            object.insert("tests".to_owned(), tests);
        }
        object
    };
    incident.features.iter().take(FEATURES_MAX).map(feature).collect()
}

/// Says what is wrong with a routing key.
pub(super) fn check_routing_key(key: &SecretString) -> Result<(), String> {
    let key = key.expose_secret();
    if key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(());
    }
    Err("a PagerDuty routing key has 32 letters and digits: copy the integration key of an Events API v2 \
         integration"
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routing_keys_are_checked_without_being_shown() {
        assert_eq!(check_routing_key(&"0123456789abcdef0123456789ABCDEF".into()), Ok(()));
        for bad in ["", "too-short", "0123456789abcdef0123456789ABCDE\n"] {
            let error = check_routing_key(&bad.into()).expect_err("refused");
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
    }
}

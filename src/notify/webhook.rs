//! The generic webhook: an incident as JSON, by Standard Webhooks 1.0.0.
//!
//! Place in the flow: a [`Channel`]. The body is `{type, timestamp, data}` and stays the same over all
//! attempts; the headers carry the id, the time of the attempt and the signatures. Pure.
//!
//! Invariant: the body is smaller than [`BODY_BYTES_MAX`], as the specification asks; what was left out
//! is named in `data.trimmed`.

use serde_json::{Value, json};

use crate::event::Timestamp;
use crate::incident::{Incident, Notification, NotificationKind, PerformanceEvidence};

use super::text::{clip, clip_name};
use super::{Channel, ChannelSettings, Delivery, Request, Response, answer, sign, words};

/// Standard Webhooks asks for less than 20 kB.
pub(super) const BODY_BYTES_MAX: usize = 20_000;

/// Posts incidents as they are.
pub(super) struct Webhook;

impl Channel for Webhook {
    fn render(&self, notification: &Notification, settings: &ChannelSettings, now: Timestamp) -> Request {
        let link = words::link(&notification.incident, settings);
        let body = fitting(&notification.incident, |incident, trimmed| {
            json!({
                "type": event_type(notification),
                "timestamp": notification.incident.updated_at,
                "data": {"incident": incident, "link": link, "trimmed": trimmed},
            })
        });
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        headers.extend(sign::headers(&notification.id, now, &body, &settings.secrets));
        Request { headers, body }
    }

    fn classify(&self, response: &Response) -> Delivery {
        match response.status {
            410 => Delivery::Dead { reason: "answered 410: the receiver is gone for good".to_owned() },
            _ => answer::by_status(response),
        }
    }
}

/// The event's full-stop name: `drift.opened`.
pub(super) fn event_type(notification: &Notification) -> String {
    let kind = clip_name(&notification.incident.kind, 40);
    match notification.kind {
        NotificationKind::Opened => format!("{kind}.opened"),
        NotificationKind::Updated => format!("{kind}.updated"),
        NotificationKind::Resolved => format!("{kind}.resolved"),
        NotificationKind::Test => format!("{kind}.test"),
        NotificationKind::Retrain => "retrain.requested".to_owned(),
    }
}

/// The fullest body that is small enough. `body` gets an incident and what was taken out of it. Details
/// go first, then the columns that moved least, and only at the end are names cut.
pub(super) fn fitting(incident: &Incident, body: impl Fn(&Value, &[&str]) -> Value) -> Vec<u8> {
    let mut part = incident.clone();
    let mut trimmed = Vec::new();
    for step in STEPS {
        if let Some(name) = (step)(&mut part, incident) {
            trimmed.push(name);
        }
        let value = serde_json::to_value(&part).unwrap_or(Value::Null);
        let bytes = body(&value, &trimmed).to_string().into_bytes();
        if bytes.len() < BODY_BYTES_MAX {
            return bytes;
        }
    }
    // Every part is bounded by now; this is reached only if `body` itself adds too much.
    body(&Value::Null, &["incident"]).to_string().into_bytes()
}

/// What is taken out, least missed first. Each says what it took out, if anything.
const STEPS: [fn(&mut Incident, &Incident) -> Option<&'static str>; 7] = [
    |_, _| None,
    |part, _| {
        part.features.iter_mut().for_each(|feature| feature.tests.clear());
        Some("features.tests")
    },
    |part, whole| {
        part.note = part.note.as_deref().map(|note| clip(note, 500));
        (part.note != whole.note).then_some("note")
    },
    |part, _| {
        part.positions.clear();
        Some("positions")
    },
    |part, whole| keep_features(part, whole, 20),
    |part, _| {
        clip_strings(part);
        Some("long texts")
    },
    |part, whole| keep_features(part, whole, 5),
];

fn keep_features(part: &mut Incident, whole: &Incident, most: usize) -> Option<&'static str> {
    part.features.truncate(most);
    (whole.features.len() > most).then_some("features")
}

/// Bounds every text of an incident, so that a hostile name cannot push out the rest.
fn clip_strings(incident: &mut Incident) {
    for text in [&mut incident.id, &mut incident.kind, &mut incident.model, &mut incident.baseline] {
        *text = clip_name(text, 200);
    }
    incident.config = clip_name(&incident.config, 200);
    for text in [&mut incident.version, &mut incident.segment].into_iter().flatten() {
        *text = clip_name(text, 200);
    }
    incident.segments.iter_mut().for_each(|segment| *segment = clip_name(segment, 200));
    let excess = incident.retrained_at.len().saturating_sub(20);
    incident.retrained_at.drain(..excess);
    if let Some(known) = &mut incident.performance {
        clip_performance(known);
    }
    if let Some(found) = &mut incident.diagnosis {
        found.evidence.truncate(10);
        found.evidence.iter_mut().for_each(|sentence| *sentence = clip(sentence, 200));
    }
    for feature in &mut incident.features {
        feature.name = clip_name(&feature.name, 100).into();
        feature.test = feature.test.as_deref().map(|test| clip_name(test, 40));
        feature.summary = feature.summary.as_deref().map(|summary| clip(summary, 200));
    }
}

fn clip_performance(known: &mut PerformanceEvidence) {
    let metric = &mut known.metric;
    metric.metric = clip_name(&metric.metric, 80);
    metric.status = clip(&metric.status, 200);
    metric.detail = metric.detail.as_deref().map(|detail| clip(detail, 200));
    if let Some(split) = &mut known.split {
        split.loss = clip_name(&split.loss, 80);
    }
    if let Some(money) = &mut known.money {
        money.currency = clip_name(&money.currency, 40);
    }
}

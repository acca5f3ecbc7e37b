//! The retrain call: asks a training system for a new model.
//!
//! Place in the flow: a [`Channel`] for [`NotificationKind::Retrain`](crate::incident::NotificationKind).
//! When to call is decided in [`incident`](crate::incident); here is only how. Pure.
//!
//! Retraining costs money, so a second call must do no harm: the notification's id stands in the body as
//! `idempotency_key` and in the header `Idempotency-Key`, and is the same on every attempt. A receiver
//! that knows it already answers 409, which counts as delivered. A trial has the type `retrain.test`.

use serde_json::{Value, json};

use crate::event::Timestamp;
use crate::incident::{Notification, NotificationKind};

use super::{Channel, ChannelSettings, Delivery, Request, Response, answer, sign, webhook, words};

/// Calls a training system.
pub(super) struct Retrain;

impl Channel for Retrain {
    fn render(&self, notification: &Notification, settings: &ChannelSettings, now: Timestamp) -> Request {
        let body = webhook::fitting(&notification.incident, |incident, trimmed| {
            flat_body(notification, settings, incident, trimmed)
        });
        let mut headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("idempotency-key".to_owned(), notification.id.clone()),
        ];
        if !settings.secrets.is_empty() {
            headers.extend(sign::headers(&notification.id, now, &body, &settings.secrets));
        }
        Request { headers, body }
    }

    fn classify(&self, response: &Response) -> Delivery {
        match response.status {
            409 => Delivery::Delivered,
            _ => answer::by_status(response),
        }
    }
}

/// Flat, so that a training system can take single fields as parameters.
fn flat_body(
    notification: &Notification,
    settings: &ChannelSettings,
    incident: &Value,
    trimmed: &[&str],
) -> Value {
    let event_type = match notification.kind {
        NotificationKind::Test => "retrain.test".to_owned(),
        _ => webhook::event_type(notification),
    };
    json!({
        "type": event_type,
        "timestamp": incident["updated_at"],
        "idempotency_key": notification.id,
        "model": incident["model"],
        "version": incident["version"],
        "reason": words::retrain_reason(&notification.incident),
        "incident_id": incident["id"],
        "severity": incident["severity"],
        "opened_at": incident["opened_at"],
        "window_start": incident["window_start"],
        "window_end": incident["window_end"],
        "segment": incident["segment"],
        "n": incident["n"],
        "windows_alarming": incident["windows_alarming"],
        "p_value": incident["p_value"],
        "calibrated": incident["calibrated"],
        "features": incident["features"],
        "performance": incident["performance"],
        "diagnosis": incident["diagnosis"],
        "baseline": incident["baseline"],
        "config": incident["config"],
        "positions": incident["positions"],
        "link": words::link(&notification.incident, settings),
        "trimmed": trimmed,
    })
}

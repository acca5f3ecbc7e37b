//! Local receivers that stand in for Slack, PagerDuty, a training pipeline and a log of incidents, and say what
//! they got.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::Value;

use crate::incident::Incident;

/// Something a receiver got.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// A Slack message: its headline and the text below it.
    Slack {
        /// The header block, or the fallback text.
        headline: String,
        /// The other blocks' texts, one a line.
        text: Vec<String>,
    },
    /// A PagerDuty event.
    PagerDuty {
        /// `trigger` or `resolve`.
        action: String,
        /// The summary; a resolve has none.
        summary: String,
        /// What ties a trigger and its resolve.
        dedup_key: String,
    },
    /// A call for retraining.
    Retrain {
        /// The model.
        model: String,
        /// The version that is to be replaced.
        version: String,
        /// Why.
        reason: String,
        /// The same on every attempt.
        idempotency_key: String,
    },
    /// An incident as data, from the generic webhook.
    Incident(Box<Incident>),
}

/// The running receivers; they stop when this is dropped.
pub struct Receivers {
    /// Where they listen.
    pub address: SocketAddr,
    /// What they got, in order.
    pub inbox: Receiver<Received>,
    _runtime: tokio::runtime::Runtime,
}

impl Receivers {
    /// Starts listening.
    ///
    /// # Errors
    /// When the address is taken or there is no thread to be had.
    pub fn start(listen: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (outbox, inbox) = channel();
        let routes = Router::new()
            .route("/slack", post(slack))
            .route("/pagerduty", post(pagerduty))
            .route("/retrain", post(retrain))
            .route("/incidents", post(incident))
            .with_state(outbox);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.spawn(async move {
            if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
                let _ = axum::serve(listener, routes).await;
            }
        });
        Ok(Self { address, inbox, _runtime: runtime })
    }
}

async fn slack(State(outbox): State<Sender<Received>>, body: Bytes) -> (StatusCode, &'static str) {
    let Ok(message) = serde_json::from_slice::<Value>(&body) else {
        return (StatusCode::BAD_REQUEST, "invalid_payload");
    };
    let blocks = message["blocks"].as_array().cloned().unwrap_or_default();
    let header = blocks
        .iter()
        .find(|block| block["type"] == "header")
        .and_then(|block| block["text"]["text"].as_str());
    let headline = header.or(message["text"].as_str()).unwrap_or_default().to_owned();
    let mut text = Vec::new();
    blocks.iter().filter(|block| block["type"] != "header").for_each(|block| texts(block, &mut text));
    let _ = outbox.send(Received::Slack { headline, text });
    (StatusCode::OK, "ok")
}

async fn pagerduty(State(outbox): State<Sender<Received>>, body: Bytes) -> (StatusCode, &'static str) {
    let Ok(event) = serde_json::from_slice::<Value>(&body) else { return (StatusCode::BAD_REQUEST, "{}") };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let _ = outbox.send(Received::PagerDuty {
        action: text(&event["event_action"]),
        summary: text(&event["payload"]["summary"]),
        dedup_key: text(&event["dedup_key"]),
    });
    (StatusCode::ACCEPTED, r#"{"status":"success"}"#)
}

async fn retrain(State(outbox): State<Sender<Received>>, body: Bytes) -> StatusCode {
    let Ok(call) = serde_json::from_slice::<Value>(&body) else { return StatusCode::BAD_REQUEST };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let _ = outbox.send(Received::Retrain {
        model: text(&call["model"]),
        version: text(&call["version"]),
        reason: text(&call["reason"]),
        idempotency_key: text(&call["idempotency_key"]),
    });
    StatusCode::ACCEPTED
}

async fn incident(State(outbox): State<Sender<Received>>, body: Bytes) -> StatusCode {
    let read = serde_json::from_slice::<Value>(&body)
        .and_then(|mut event| serde_json::from_value(event["data"]["incident"].take()));
    let Ok(incident) = read else { return StatusCode::BAD_REQUEST };
    let _ = outbox.send(Received::Incident(Box::new(incident)));
    StatusCode::OK
}

/// Every text in a Block Kit block, in order.
fn texts(block: &Value, out: &mut Vec<String>) {
    match block {
        Value::Object(members) => {
            match members.get("text") {
                Some(Value::String(text)) => out.extend(text.lines().map(str::to_owned)),
                Some(inner) => texts(inner, out),
                None => {}
            }
            // A block's own text comes before its fields and elements.
            for (_, member) in members.iter().filter(|(name, _)| *name != "text") {
                texts(member, out);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, out)),
        _ => {}
    }
}

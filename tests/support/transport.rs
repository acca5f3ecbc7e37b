//! A transport in memory: the simulated twin of the network, for tests in paused time.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use driftline::notify::Response;
use driftline::notify::transport::{Answer, Outgoing, Transport, TransportError};
use secrecy::ExposeSecret;
use tokio::time::Instant;

/// What the simulated receiver does with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Answers at once.
    Status(u16),
    /// Answers 429 with `Retry-After`.
    SlowDown(u64),
    /// Refuses the connection.
    Refused,
    /// Never answers.
    Hang,
}

/// One request that was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub at: Instant,
    pub headers: BTreeMap<String, String>,
    pub body: serde_json::Value,
}

impl Sent {
    /// The notification's id, as the receiver sees it.
    pub fn id(&self) -> &str {
        self.headers.get("webhook-id").map_or("", String::as_str)
    }
}

type Script = dyn Fn(usize, &Sent) -> Reply + Send + Sync;

/// Asks a script what to do with each request and keeps all of them.
pub struct ScriptedTransport {
    script: Box<Script>,
    sent: Mutex<Vec<Sent>>,
}

impl ScriptedTransport {
    /// The script gets the number of the request, from 0, and the request.
    pub fn new(script: impl Fn(usize, &Sent) -> Reply + Send + Sync + 'static) -> Self {
        Self { script: Box::new(script), sent: Mutex::new(Vec::new()) }
    }

    /// Everything that was sent so far.
    pub fn sent(&self) -> Vec<Sent> {
        self.sent.lock().expect("not poisoned").clone()
    }
}

impl Transport for ScriptedTransport {
    fn send(&self, outgoing: Outgoing) -> Answer<'_> {
        Box::pin(async move {
            let headers = outgoing.headers.iter();
            let sent = Sent {
                at: Instant::now(),
                headers: headers
                    .map(|(name, value)| (name.clone(), value.expose_secret().to_owned()))
                    .collect(),
                body: serde_json::from_slice(&outgoing.body).expect("a JSON body"),
            };
            let number = {
                let mut all = self.sent.lock().expect("not poisoned");
                all.push(sent.clone());
                all.len() - 1
            };
            let response = |status, retry_after_secs| Response { status, retry_after_secs, body: Vec::new() };
            match (self.script)(number, &sent) {
                Reply::Status(status) => Ok(response(status, None)),
                Reply::SlowDown(secs) => Ok(response(429, Some(secs))),
                Reply::Refused => Err(TransportError::Connect("connection refused".to_owned())),
                Reply::Hang => {
                    tokio::time::sleep(outgoing.timeout.min(Duration::from_secs(3600))).await;
                    Err(TransportError::TimedOut(outgoing.timeout))
                }
            }
        })
    }
}

//! The HTTP side: health, metrics and a read-only JSON API over the store.
//!
//! Place in the flow: beside it; it shows what the [store](crate::store) holds and what the process says
//! of itself, and changes nothing. I/O.
//!
//! Invariant: no route writes, none takes a body, and every answer is bounded: in rows by
//! [`PAGE_MAX`](crate::store::PAGE_MAX), in time by [`REQUEST_TIMEOUT`], in number by [`READS_MAX`] and
//! [`CONNECTIONS_MAX`]. An error is `{"error":{"code","message"}}` with the status that fits.
//!
//! To add a route: an answer in `api.rs` and a line in [`ENDPOINTS`], from which the router, the checks of
//! query parameters and the index at `/` are made.

mod answer;
mod api;
mod connections;
mod health;
pub mod metrics;

pub use answer::{Answer, ApiError, Asked};
pub use api::{ModelView, VersionView};
pub use health::Health;
pub use metrics::Metrics;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use tokio::sync::{Semaphore, oneshot};

use crate::event::{Span, Timestamp};
use crate::store::Store;
use crate::verdict::blind_spots::BlindSpot;

/// Longest a request may take; after that it is answered 503.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Requests that read the store at a time; further ones wait. The store itself reads two at a time.
pub const READS_MAX: usize = 4;

/// Open connections; further ones wait in the system's queue.
pub const CONNECTIONS_MAX: usize = 256;

/// How long answers under way may take once the server is told to stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// What the API shows.
#[derive(Debug, Clone)]
pub struct ApiState {
    /// What is durable.
    pub store: Arc<Store>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether the process lives and reads.
    pub health: Arc<Health>,
    /// The models of the configuration, with the versions that have a baseline by now.
    pub models: Models,
    /// What windows of a model are too small to show.
    pub blind_spots: BlindSpots,
    /// Hash of the configuration in force, in hex.
    pub config: Arc<str>,
    /// The wall clock, for ages.
    pub now: fn() -> Timestamp,
}

/// Gives the models as they are now.
#[derive(Clone)]
pub struct Models(pub Arc<dyn Fn() -> Vec<ModelView> + Send + Sync>);

impl std::fmt::Debug for Models {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries((self.0)()).finish()
    }
}

/// The windows that blind spots are asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowsOf<'a> {
    /// The model.
    pub model: &'a str,
    /// Its version.
    pub version: Option<&'a str>,
    /// Length of the windows.
    pub length: Span,
    /// Rows of one window.
    pub rows: f64,
}

/// Gives the blind spots of every column, the blindest first; `None` when the version has no baseline by now
/// or the model has no windows of that length.
#[derive(Clone)]
pub struct BlindSpots(pub Arc<TellBlindSpots>);

/// How [`BlindSpots`] asks.
pub type TellBlindSpots = dyn Fn(WindowsOf<'_>) -> Option<Vec<BlindSpot>> + Send + Sync;

impl std::fmt::Debug for BlindSpots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BlindSpots")
    }
}

/// A route: what the router, the check of its parameters and the index are made from.
#[derive(Debug)]
pub struct Endpoint {
    /// Its path; a name in braces is a part of it.
    pub path: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// Query parameters it knows.
    pub parameters: &'static [&'static str],
    /// Whether it waits for the store.
    pub waits: Waits,
    /// Answers a request.
    pub answer: fn(&ApiState, &Asked) -> Result<Answer, ApiError>,
}

/// Whether an answer may block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// It reads memory only, so it is given even when the store is slow.
    Never,
    /// It reads the store, on a thread that may block.
    ForStore,
}

/// Every route.
pub static ENDPOINTS: &[Endpoint] = &[
    Endpoint { path: "/", about: "this list", parameters: &[], waits: Waits::Never, answer: api::index },
    Endpoint {
        path: "/healthz",
        about: "200 while the process does its work; 503 asks for a restart",
        parameters: &[],
        waits: Waits::Never,
        answer: api::healthz,
    },
    Endpoint {
        path: "/readyz",
        about: "200 while records are read from the source; 503 with the reasons otherwise",
        parameters: &[],
        waits: Waits::Never,
        answer: api::readyz,
    },
    Endpoint {
        path: "/metrics",
        about: "metrics in the OpenMetrics text format",
        parameters: &[],
        waits: Waits::ForStore,
        answer: api::metrics,
    },
    Endpoint {
        path: "/api/v1/status",
        about: "version, configuration, positions, watermarks, latency from event to alert",
        parameters: &[],
        waits: Waits::ForStore,
        answer: api::status,
    },
    Endpoint {
        path: "/api/v1/models",
        about: "the watched models",
        parameters: &[],
        waits: Waits::ForStore,
        answer: api::models,
    },
    Endpoint {
        path: "/api/v1/models/{model}",
        about: "one model: versions, baselines, windows, budget, open incident",
        parameters: &[],
        waits: Waits::ForStore,
        answer: api::model,
    },
    Endpoint {
        path: "/api/v1/models/{model}/budget",
        about: "its false-alarm budget: spent, left, the audit of quiet windows, and what windows are ranked among",
        parameters: &[],
        waits: Waits::Never,
        answer: api::budget,
    },
    Endpoint {
        path: "/api/v1/models/{model}/windows",
        about: "its closed windows with their verdicts, newest end first; an empty `segment` means all rows together",
        parameters: &["version", "segment", "length", "alarm", "after", "before", "limit", "cursor"],
        waits: Waits::ForStore,
        answer: api::windows,
    },
    Endpoint {
        path: "/api/v1/models/{model}/windows/{start}/{length}",
        about: "one window with every test of every column, its offsets, baseline and configuration",
        parameters: &["version", "segment"],
        waits: Waits::ForStore,
        answer: api::window,
    },
    Endpoint {
        path: "/api/v1/models/{model}/performance",
        about: "how it did by window, newest end first: realised and estimated values, labels, money, verdict, as last revised; and what became of labels",
        parameters: &["version", "segment", "length", "alarm", "after", "before", "limit", "cursor"],
        waits: Waits::ForStore,
        answer: api::performance,
    },
    Endpoint {
        path: "/api/v1/models/{model}/performance/{start}/{length}",
        about: "every revision of one window's performance, in order, with the whole verdict",
        parameters: &["version", "segment"],
        waits: Waits::ForStore,
        answer: api::performance_window,
    },
    Endpoint {
        path: "/api/v1/models/{model}/blind-spots",
        about: "the smallest changes that 4 windows of 5 would show at the current traffic, the blindest columns first",
        parameters: &["version", "length", "limit"],
        waits: Waits::ForStore,
        answer: api::blind_spots,
    },
    Endpoint {
        path: "/api/v1/incidents",
        about: "incidents, latest opened first; `status` is open, updated or resolved, and open includes updated",
        parameters: &["status", "model", "limit", "cursor"],
        waits: Waits::ForStore,
        answer: api::incidents,
    },
    Endpoint {
        path: "/api/v1/incidents/{id}",
        about: "one incident with its transitions and deliveries",
        parameters: &[],
        waits: Waits::ForStore,
        answer: api::incident,
    },
    Endpoint {
        path: "/api/v1/incidents/{id}/transitions/{sequence}",
        about: "an incident as of one transition, with every test of every column",
        parameters: &[],
        waits: Waits::ForStore,
        answer: api::transition,
    },
    Endpoint {
        path: "/api/v1/dead-letters",
        about: "records that reached no window, newest first, with the reason and the first 1 KiB",
        parameters: &["topic", "reason", "limit", "cursor"],
        waits: Waits::ForStore,
        answer: api::dead_letters,
    },
    Endpoint {
        path: "/api/v1/outbox",
        about: "how each channel stands, and notifications, newest first; `status` is waiting, delivered or dead",
        parameters: &["channel", "status", "limit", "cursor"],
        waits: Waits::ForStore,
        answer: api::outbox,
    },
];

/// The API's state with the places for those who read the store.
#[derive(Debug, Clone)]
struct Shared {
    api: Arc<ApiState>,
    reads: Arc<Semaphore>,
}

/// The routes of [`ENDPOINTS`] over `state`.
pub fn router(state: ApiState) -> Router {
    let shared = Shared { api: Arc::new(state), reads: Arc::new(Semaphore::new(READS_MAX)) };
    let routes = ENDPOINTS.iter().fold(Router::new(), |routes, row| routes.route(row.path, route(row)));
    routes
        .fallback(|uri: Uri| async move { ApiError::no_such_path(uri.path()) })
        .method_not_allowed_fallback(|| async { ApiError::METHOD_NOT_ALLOWED })
        .layer(from_fn(guard))
        .with_state(shared)
}

/// Serves until `shutdown` ends, then lets answers under way end for [`DRAIN_TIMEOUT`].
///
/// # Errors
/// When the listener cannot be used.
pub async fn run(
    listener: std::net::TcpListener,
    state: ApiState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = connections::Bounded::new(tokio::net::TcpListener::from_std(listener)?);
    let (tell, told) = oneshot::channel();
    let signal = async move {
        shutdown.await;
        // Nobody listens any more when the server has ended by itself.
        let _ = tell.send(());
    };
    let deadline = async move {
        let _ = told.await;
        tokio::time::sleep(DRAIN_TIMEOUT).await;
    };
    tokio::select! {
        result = axum::serve(listener, router(state)).with_graceful_shutdown(signal).into_future() => result,
        () = deadline => Ok(()),
    }
}

fn route(endpoint: &'static Endpoint) -> MethodRouter<Shared> {
    get(async move |State(shared): State<Shared>, names: Names, uri: Uri| -> Response {
        match respond(endpoint, shared, names, &uri).await {
            Ok(answer) => answer.into_response(),
            Err(error) => error.into_response(),
        }
    })
}

type Names = Result<RawPathParams, RawPathParamsRejection>;

async fn respond(
    endpoint: &'static Endpoint,
    shared: Shared,
    names: Names,
    uri: &Uri,
) -> Result<Answer, ApiError> {
    let asked = Asked::read(names, uri, endpoint.parameters)?;
    if endpoint.waits == Waits::Never {
        return (endpoint.answer)(&shared.api, &asked);
    }
    let reading = async {
        let permit = shared.reads.acquire_owned().await.map_err(|_| ApiError::BUSY)?;
        let answered = tokio::task::spawn_blocking(move || {
            // The place is taken until the thread is done, even when the asker has given up.
            let _permit = permit;
            (endpoint.answer)(&shared.api, &asked)
        });
        answered.await.unwrap_or_else(|fault| Err(ApiError::internal(&fault)))
    };
    tokio::time::timeout(REQUEST_TIMEOUT, reading).await.unwrap_or(Err(ApiError::BUSY))
}

/// Refuses requests with a body, and says of every answer what a browser may do with it: nothing.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = if has_body(request.headers()) {
        ApiError::BODY_NOT_ALLOWED.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE {
        // What follows on this connection would be the body.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH);
    headers.contains_key(header::TRANSFER_ENCODING) || length.is_some_and(|length| length != "0")
}

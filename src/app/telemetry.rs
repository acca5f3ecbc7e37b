//! Logs: text on a terminal, JSON lines elsewhere. They hold no feature values, no bodies and no secrets.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

/// Sends logs to standard error. `filter` is in the syntax of `RUST_LOG`; a wrong one falls back to `info`.
/// A second call changes nothing.
pub fn start(filter: Option<&str>) {
    let filter =
        filter.and_then(|filter| EnvFilter::try_new(filter).ok()).unwrap_or_else(|| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let _ = if stderr().is_terminal() {
        builder.with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).with_current_span(false).try_init()
    };
}

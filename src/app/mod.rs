//! The application: what turns the pure core and its I/O neighbours into a service.
//!
//! ```text
//!  source thread ─► owner thread ──► worker threads ──► owner thread ─► store ─► outbox workers (tokio)
//!                    (hands out       (decode, count)    (adds up,      (one      server (tokio)
//!                     in order)                           closes)        commit)
//! ```
//!
//! The owner hands batches to the workers in turn and takes the results back in the same turn, so
//! records reach the monitor in the order the source gave them without a queue that sorts.
//!
//! Invariant: Kafka's offsets and the outbox move only after the commit that they follow from.

pub mod library;
pub mod pipeline;
pub mod service;
pub mod telemetry;

mod clock;
mod owner;

pub use clock::SystemClock;
pub use owner::OwnerError;

use std::path::Path;

use crate::baseline::Baseline;
use crate::config::Config;
use crate::monitor::{ModelSettings, Plan};

/// The plan of a configuration, without baselines.
pub fn plan_of(config: &Config) -> Plan {
    let models = config.models.iter().map(|model| ModelSettings {
        name: model.name.clone(),
        windows: model.windows.clone(),
        verdict: model.verdict.clone(),
        incident: model.incident.clone(),
        early: model.early,
        segments_max: model.segments_max,
        versions_max: model.versions_max,
    });
    Plan::new(config.id.clone(), config.streams.clone(), models.collect())
}

/// Reads a baseline file; `None` if there is none.
///
/// # Errors
/// What is wrong with the file, for people.
pub fn read_baseline(path: &Path) -> Result<Option<Baseline>, String> {
    let there = path.try_exists().map_err(|error| format!("cannot look for {}: {error}", path.display()))?;
    if !there {
        return Ok(None);
    }
    Baseline::read(path).map(Some).map_err(|error| error.to_string())
}

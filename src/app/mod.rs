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
use std::sync::Arc;

use crate::baseline::Baseline;
use crate::config::{Config, Model};
use crate::monitor::{ModelSettings, Plan};
use crate::verdict::Collected;

/// The plan of a configuration, without baselines.
///
/// # Errors
/// When a file of reference windows cannot be used.
pub fn plan_of(config: &Config) -> Result<Plan, String> {
    let settings = |model: &Model| -> Result<ModelSettings, String> {
        Ok(ModelSettings {
            name: model.name.clone(),
            windows: model.windows.clone(),
            verdict: model.verdict.clone(),
            incident: model.incident.clone(),
            early: model.early,
            performance: model.performance.clone(),
            segments_max: model.segments_max,
            versions_max: model.versions_max,
            imported: model.reference.as_deref().map(|path| imported(&model.name, path)).transpose()?,
        })
    };
    let models = config.models.iter().map(settings).collect::<Result<_, String>>()?;
    Ok(Plan::new(config.id.clone(), config.streams.clone(), models))
}

fn imported(model: &str, path: &Path) -> Result<Arc<Collected>, String> {
    let failed = |why: &dyn std::fmt::Display| {
        format!("reference windows of model `{model}` in {}: {why}", path.display())
    };
    let file = std::fs::File::open(path).map_err(|error| failed(&error))?;
    let read = Collected::read(model, &mut std::io::BufReader::new(file));
    read.map(Arc::new).map_err(|error| failed(&error))
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

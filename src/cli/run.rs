//! `driftline run`: the service.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Failure, chain};
use crate::app::service::{Service, ServiceError};
use crate::config::Config;

/// A process that was told to stop ends after this at the latest. What was committed is whole, and what
/// was not is read again, so nothing is lost by leaving.
const STOP_MAX: Duration = Duration::from_secs(9);

/// What to run.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Runs until SIGTERM or SIGINT, or until it cannot go on.
///
/// # Errors
/// [`Failure`] with exit code 1 when the service cannot start or must stop.
pub fn run(_args: &Args, config: &Config) -> Result<(), Failure> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let service = Service::start(config).map_err(|error| match error {
        ServiceError::NoKafka | ServiceError::Library(_) | ServiceError::Reference(_) => {
            Failure::operator(chain(&error))
        }
        _ => Failure::other(chain(&error)),
    })?;
    stop_on_signal(service.stopper())
        .map_err(|error| Failure::other(format!("cannot wait for signals: {error}")))?;
    service.wait().map_err(|error| Failure::other(chain(&error)))
}

/// Sets the flag when the process is told to stop; told twice, or after nine seconds, it leaves.
pub(super) fn stop_on_signal(stop: Arc<AtomicBool>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            signalled().await;
            tracing::info!("told to stop: draining");
            stop.store(true, Ordering::Relaxed);
            tokio::select! {
                () = tokio::time::sleep(STOP_MAX) => tracing::warn!("stopping took too long: leaving; nothing is lost"),
                () = signalled() => tracing::warn!("told to stop twice: leaving at once; nothing is lost"),
            }
            std::process::exit(0);
        });
    })?;
    Ok(())
}

#[cfg(unix)]
async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        _ => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn signalled() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

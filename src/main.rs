//! The `driftline` command: parses arguments, runs, and turns an error into an exit code.

use std::process::ExitCode;

use clap::Parser;
use driftline::cli::Cli;

fn main() -> ExitCode {
    #[expect(clippy::disallowed_methods, reason = "the filter of the log is the process's own affair")]
    let filter = std::env::var("RUST_LOG").ok();
    driftline::app::telemetry::start(filter.as_deref());
    ExitCode::from(Cli::parse().run())
}

//! The command line: one file a command.
//!
//! Exit codes: 0 done, 1 failed, 2 the operator's mistake (a wrong argument, configuration or file).

pub mod baseline;
mod blind_spots;
pub mod check;
pub mod compare;
pub mod demo;
pub mod detect;
pub mod evaluate;
mod measured;
mod reference;
pub mod replay;
pub mod report;
pub mod run;
pub mod test_alert;
mod text;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use crate::app::SystemClock;
use crate::config::{Config, Model, Purpose};
use crate::event::Clock;

/// Watches a deployed model's inputs and outputs in Kafka, raises drift alarms within a stated
/// false-alarm budget, and starts the retraining.
#[derive(Debug, Parser)]
#[command(name = "driftline", version, about, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service
    Run(run::Args),
    /// Check a configuration and print what would run
    Check {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Build a model's training reference, or show one
    #[command(subcommand)]
    Baseline(baseline::Command),
    /// Compare two files: every statistic of every column
    Compare(compare::Args),
    /// Run one sequential detector over a column of a file
    Detect(detect::Args),
    /// Compute every metric of a file with predictions and labels
    Evaluate(evaluate::Args),
    /// Say what would have been alerted, from files of recorded events
    ///
    /// A line for each closed window says `ALARM`, or `quiet`, which counts towards resolving an incident, or
    /// `-` for neither, as for want of rows. The line of an incident begins with the event time of its change:
    /// the early watch speaks before a window closes.
    Replay(replay::Args),
    /// Write the case for or against retraining a model, on one page
    ///
    /// Reads the store, beside a running service too, and never writes it.
    Report(report::Args),
    /// Send a trial through a channel and print what the receiver answered
    TestAlert {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The channel's name.
        #[arg(long, value_name = "NAME")]
        channel: String,
    },
    /// Show the whole loop in one process, with nothing to install
    Demo(demo::Args),
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong and what to do, for people.
    pub message: String,
    /// The exit code.
    pub code: u8,
}

impl Failure {
    /// The operator's mistake: exit code 2.
    pub fn operator(message: impl Display) -> Self {
        Self { message: message.to_string(), code: 2 }
    }

    /// The output cannot be written. A reader that has seen enough (`| head`) is no failure.
    pub fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self { message: String::new(), code: 0 },
            _ => Self::other(format!("cannot write the output: {error}")),
        }
    }

    /// Anything else: exit code 1. An error's causes belong into the message: see [`chain`].
    pub fn other(message: impl Display) -> Self {
        Self { message: message.to_string(), code: 1 }
    }
}

/// An error with its causes, as one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let more = source.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = source.source();
    }
    text
}

impl Cli {
    /// Runs the command and gives the exit code.
    pub fn run(&self) -> u8 {
        let (mut out, mut err) = (io::stdout().lock(), io::stderr());
        match self.command.run(&mut out, &mut err) {
            Ok(code) => code,
            Err(failure) => {
                let _ = out.flush();
                if !failure.message.is_empty() {
                    // Nobody is left to tell when even that fails.
                    let _ = writeln!(err, "driftline: {}", failure.message);
                }
                failure.code
            }
        }
    }
}

impl Command {
    fn run(&self, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8, Failure> {
        match self {
            Self::Run(args) => run::run(args, &load(&args.config, Purpose::Run)?).map(|()| 0),
            Self::Check { config, json } => check::run(config, *json, out, err).map_err(Failure::other),
            Self::Baseline(command) => baseline::run(command, out).map(|()| 0),
            Self::Compare(args) => compare::run(args, out).map(|()| 0),
            Self::Detect(args) => detect::run(args, out).map(|()| 0),
            Self::Evaluate(args) => evaluate::run(args, out).map(|()| 0),
            Self::Replay(args) => replay::run(args, &load(&args.config, Purpose::Replay)?, out).map(|()| 0),
            Self::Report(args) => {
                report::run(args, &load(&args.config, Purpose::Build)?, SystemClock.now(), out).map(|()| 0)
            }
            Self::TestAlert { config, channel } => {
                test_alert(&load(config, Purpose::Send)?, channel, out).map(|()| 0)
            }
            Self::Demo(args) => demo::run(args, out).map(|()| 0),
        }
    }
}

fn test_alert(config: &Config, channel: &str, out: &mut dyn Write) -> Result<(), Failure> {
    use test_alert::TestAlertError::{UnknownChannel, UnknownKind};
    test_alert::run(config, channel, &SystemClock, out).map_err(|error| {
        let message = chain(&error);
        match error {
            UnknownChannel { .. } | UnknownKind(_) => Failure::operator(message),
            _ => Failure::other(message),
        }
    })
}

/// Loads a configuration; its mistakes are shown with the lines they are in.
fn load(path: &Path, purpose: Purpose) -> Result<Config, Failure> {
    crate::config::load_for(path, purpose)
        .map_err(|errors| Failure::operator(errors.render(io::stderr().is_terminal())))
}

/// The model of this name; without one the only model there is.
fn model_of<'a>(config: &'a Config, name: Option<&str>) -> Result<&'a Model, Failure> {
    let models = || config.models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", ");
    match (name, config.models.as_slice()) {
        (None, [only]) => Ok(only),
        (None, _) => Err(Failure::operator(format!("say which model: --model, one of {}", models()))),
        (Some(name), all) => all.iter().find(|model| model.name == name).ok_or_else(|| {
            Failure::operator(format!("the configuration has no model `{name}`, only {}", models()))
        }),
    }
}

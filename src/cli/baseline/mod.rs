//! `driftline baseline`: builds a model's training reference, and shows one.

mod build;
mod show;

use std::io::{self, Write};

use super::{Failure, chain};
use crate::baseline::read::ReadReason;
use crate::baseline::{BaselineError, BuildError};

/// What to do with a baseline.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Build a baseline from a training file
    Build(Box<build::Args>),
    /// Show what a baseline file holds
    Show(show::Args),
}

/// Runs the command.
///
/// # Errors
/// [`Failure`] when the input cannot be read, the file cannot be written, or an argument does not fit.
pub fn run(command: &Command, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        Command::Build(args) => build::run(args, out),
        Command::Show(args) => show::run(args, out),
    }
}

/// Why no baseline could be built. Only a fault of the machine or of the program is not the operator's.
pub(super) fn build_failure(error: &BuildError) -> Failure {
    let message = chain(error);
    match error {
        BuildError::Grid { .. } => Failure::other(message),
        BuildError::Read(read) => match read.reason() {
            ReadReason::Io(error) if !is_operators(error.kind()) => Failure::other(message),
            _ => Failure::operator(message),
        },
        _ => Failure::operator(message),
    }
}

/// Why a baseline file could not be read or written.
fn file_failure(error: &BaselineError) -> Failure {
    let message = chain(error);
    match error {
        BaselineError::Io { source, .. } | BaselineError::Write { source, .. }
            if !is_operators(source.kind()) =>
        {
            Failure::other(message)
        }
        _ => Failure::operator(message),
    }
}

/// Whether another path, another file or other rights would help.
fn is_operators(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as K;
    matches!(
        kind,
        K::NotFound
            | K::PermissionDenied
            | K::IsADirectory
            | K::NotADirectory
            | K::InvalidInput
            | K::InvalidData
            | K::UnexpectedEof
            | K::ReadOnlyFilesystem
    )
}

//! `driftline report`: what is known of a model, as the case for or against retraining it, on one page.
//!
//! For the one who pays and the engineer who asks: what changed, since when, how the model does, what that
//! costs, what retraining would bring, which assumption broke, how sure all of it is, what has been done, and
//! what is not known.
//!
//! The way: [`rows`] reads the store beside a running service, [`facts`] makes [`facts::Facts`] of the rows
//! (pure; that is what `--format json` shows), `words` says the facts as a [`page::Page`], and `markdown.rs`
//! and `html.rs` set the page; `chart.rs` draws. Both formats so have the same content.
//!
//! Invariant: nothing is shown as known that is not. A number says whether it is realised or estimated, a
//! realised one whether it is provisional, and what is missing is said in words. The store is never written.
//!
//! To add a fact: a member in `facts/`, with its line in its module's doc, and a sentence in `words.rs`.

mod chart;
pub mod facts;
mod figures;
mod html;
mod markdown;
pub mod page;
pub mod rows;
mod words;

use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;

use self::facts::{Facts, Settings};
use self::rows::Rows;
use super::{Failure, chain, model_of};
use crate::config::Config;
use crate::event::{Span, Timestamp};
use crate::store::{Store, StoreError};

/// What to report.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The model; not needed if there is only one.
    #[arg(long)]
    pub model: Option<String>,
    /// How far back, from the end of the newest window.
    #[arg(long, value_name = "SPAN", default_value = "30d")]
    pub since: Span,
    /// Length of the windows that performance is shown by; by itself the shortest that gives a readable chart.
    #[arg(long, value_name = "SPAN")]
    pub window: Option<Span>,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = Format::Html)]
    pub format: Format,
    /// Writes to this file in place of the standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A page with charts, without script and without anything to load: to print and to mail.
    Html,
    /// The same in Markdown, without charts.
    Md,
    /// The facts as one JSON object.
    Json,
}

/// Writes the report. `now` is the wall time, which dates it.
///
/// # Errors
/// [`Failure`] when the store cannot be read, an argument does not fit, or the output cannot be written.
pub fn run(args: &Args, config: &Config, now: Timestamp, out: &mut dyn Write) -> Result<(), Failure> {
    let model = model_of(config, args.model.as_deref())?;
    if args.since <= Span::ZERO {
        return Err(Failure::operator("--since must be longer than nothing, as in `30d`"));
    }
    let store = Store::open_to_read(&config.service.data_dir).map_err(|error| store_failure(&error))?;
    let rows = Rows::read(&store, &model.name, args.since)?;
    let settings = Settings {
        model: model.name.clone(),
        since: args.since,
        window: args.window,
        budget: model.verdict.budget,
        limits: model.performance.as_ref().map(|measured| measured.limits.clone()).unwrap_or_default(),
        is_measured: model.performance.is_some(),
        is_priced: model.performance.as_ref().is_some_and(|measured| measured.value.is_some()),
        retrain_channel: model.incident.retrain.as_ref().map(|retrain| retrain.channel.clone()),
        config: config.id.clone(),
    };
    let facts = facts::gather(&rows, &settings, now).map_err(Failure::operator)?;
    let text = render(&facts, args.format)?;
    match &args.output {
        None => {
            out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
        }
        Some(path) => std::fs::write(path, text).map_err(|error| {
            Failure::operator(format!("cannot write {}: {error}; choose another --output", path.display()))
        }),
    }
}

/// The facts in a format.
///
/// # Errors
/// [`Failure`] for a fault of this program.
pub fn render(facts: &Facts, format: Format) -> Result<String, Failure> {
    match format {
        Format::Html => html::render(facts, &words::page(facts)).map_err(Failure::other),
        Format::Md => Ok(markdown::render(&words::page(facts))),
        Format::Json => {
            let mut text = serde_json::to_string_pretty(facts).map_err(Failure::other)?;
            text.push('\n');
            Ok(text)
        }
    }
}

/// A store that another file, another version or other rights would mend is the operator's matter.
fn store_failure(error: &StoreError) -> Failure {
    let message = chain(error);
    match error {
        StoreError::Missing { .. }
        | StoreError::Older { .. }
        | StoreError::Newer { .. }
        | StoreError::Foreign { .. }
        | StoreError::Damaged { .. } => Failure::operator(message),
        StoreError::Open { .. } => Failure::operator(format!(
            "{message}; run this as the user of the service: a reader needs the files beside the store too"
        )),
        _ => Failure::other(message),
    }
}

//! The configuration: what the operator wrote, checked as a whole, and what the service runs on.
//!
//! Place in the flow: read once at start. It knows every module's settings; no module knows it.
//!
//! Two steps, no half-resolved state: the TOML document with its spans is checked key by key and every
//! mistake is collected; only a document without mistakes becomes a [`Config`].
//!
//! - `document.rs` is the reader: tables, items, spans; `error.rs` and `mask.rs` are what it reports.
//! - `service.rs`, `kafka.rs`, `stream.rs`, `model.rs`, `performance.rs`, `channel.rs` hold the keys, one topic each;
//!   `secret.rs` is for values that may be secret, whatever their topic.
//! - `assemble.rs` joins the topics and checks what holds between them; `describe.rs` renders the result
//!   and makes its id; `warnings.rs` finds what is allowed but suspicious.
//!
//! Invariant: a secret's value is in a [`secrecy::SecretString`] and nowhere else: in no error, no warning,
//! no description and not in the id.
//!
//! To add a key: a line in the topic's [`Section`], a line in its `read`, and the key in
//! `config/driftline.toml`, which a test compares with the sections.

mod assemble;
mod channel;
mod describe;
mod document;
mod error;
mod kafka;
mod mask;
mod model;
mod performance;
mod secret;
mod service;
mod stream;
mod warnings;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use describe::describe;
pub use document::{Key, Section};
pub use error::{ConfigErrors, Mistake};

use crate::event::decode::{Field, TimestampUnit};
use crate::notify::ChannelSettings;
use crate::source::{KafkaSettings, Stream};
use crate::{incident, quality, verdict, window};

/// Largest configuration file, in bytes: thousands of models have room.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Longest model version that may become part of a file's name, in bytes.
const VERSION_BYTES_MAX: usize = 128;

/// What the service runs on.
#[derive(Debug, Clone)]
pub struct Config {
    /// Hash of the resolved configuration without secrets, in hex: kept with every result. What it is made
    /// of is said at [`describe`].
    pub id: String,
    /// The directory of the file, where its relative paths begin; empty for the current one.
    pub directory: PathBuf,
    /// The process.
    pub service: Service,
    /// Where records come from; `None` when only files are read.
    pub kafka: Option<KafkaSettings>,
    /// Topics and where in their records each thing is.
    pub streams: Vec<Stream>,
    /// The models that are watched.
    pub models: Vec<Model>,
    /// Where notifications go.
    pub channels: Vec<ChannelSettings>,
    /// What is allowed but suspicious, for people.
    pub warnings: Vec<String>,
    /// For every value that was written as a reference, by its path (`channel.NAME.url`,
    /// `kafka.options.sasl.password`): the reference, which may be shown.
    pub references: BTreeMap<String, String>,
}

/// The process.
#[derive(Debug, Clone)]
pub struct Service {
    /// Where the store lives.
    pub data_dir: PathBuf,
    /// Where the API listens.
    pub listen: SocketAddr,
    /// How often what was counted becomes durable.
    pub commit_interval: std::time::Duration,
    /// Threads that decode and count.
    pub workers: usize,
    /// Dead letters kept.
    pub dead_letters_max: u64,
    /// How long closed windows are kept, by the end of the window against the newest.
    pub history: crate::event::Span,
}

/// A watched model.
#[derive(Debug, Clone)]
pub struct Model {
    /// Its name in the events.
    pub name: String,
    /// Baseline file; `{version}` in it stands for the model's version, and such a file is loaded when
    /// the version is first seen. [`Model::baseline_of`] fills it in.
    pub baseline: PathBuf,
    /// How its event time is cut.
    pub windows: window::Settings,
    /// What it may cost in false alarms.
    pub verdict: verdict::Settings,
    /// What an alarm leads to.
    pub incident: incident::Settings,
    /// What is watched before windows close.
    pub early: quality::Settings,
    /// How it is measured whether it is still right, if that is asked for.
    pub performance: Option<crate::performance::Settings>,
    /// Most values of the segment column that are told apart; further ones count as `(other)`.
    pub segments_max: usize,
    /// Most versions watched at once.
    pub versions_max: usize,
    /// File of reference windows that a replay wrote.
    pub reference: Option<PathBuf>,
    /// Column roles of a training file, for `baseline build`.
    pub training: Training,
}

/// Column roles of a training file. A column that is named nowhere is a feature.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Training {
    /// Event time.
    pub timestamp: Option<String>,
    /// How it is written, if it is a number.
    pub timestamp_unit: Option<TimestampUnit>,
    /// The model's decision.
    pub prediction: Option<String>,
    /// Scores.
    pub scores: Vec<String>,
    /// What turned out to be true.
    pub label: Option<String>,
    /// Columns that are not watched.
    pub ignore: Vec<String>,
    /// If not empty, the only features.
    pub features: Vec<String>,
    /// Columns of numbers that are names.
    pub categorical: Vec<String>,
    /// The column by whose values the rows are also counted apart.
    pub segment: Option<String>,
}

/// What a configuration is read for, and so what must be there beside the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The service: secrets and baselines.
    Run,
    /// Sending one notification: secrets.
    Send,
    /// Replaying files, which sends nothing: baselines.
    Replay,
    /// Building a baseline, which is before there is one: neither.
    Build,
}

impl Purpose {
    /// Whether references to secrets are followed. If not, each such value is empty.
    pub fn needs_secrets(self) -> bool {
        matches!(self, Self::Run | Self::Send)
    }

    /// Whether a baseline file that is not there is a mistake.
    pub fn needs_baselines(self) -> bool {
        matches!(self, Self::Run | Self::Replay)
    }
}

impl Model {
    /// The baseline file of a version. `None` if the file depends on the version and there is none, or if
    /// the version, which comes from outside, cannot be a part of a file's name: it is empty, longer than
    /// 128 bytes, begins with a dot, or holds a separator or control character.
    pub fn baseline_of(&self, version: Option<&str>) -> Option<PathBuf> {
        let Some(pattern) = self.baseline_pattern() else { return Some(self.baseline.clone()) };
        let version = version?;
        let unsafe_in_names = |c: char| c.is_control() || matches!(c, '/' | '\\' | ':');
        let fits = !version.is_empty() && version.len() <= VERSION_BYTES_MAX && !version.starts_with('.');
        (fits && !version.contains(unsafe_in_names)).then(|| pattern.replace("{version}", version).into())
    }

    /// The baseline path as a pattern, if it holds `{version}`.
    pub fn baseline_pattern(&self) -> Option<&str> {
        self.baseline.to_str().filter(|path| path.contains("{version}"))
    }

    /// Whether records of this stream can belong to the model.
    pub fn is_fed_by(&self, stream: &Stream) -> bool {
        match &stream.mapping.model {
            Field::Constant(name) => *name == self.name,
            Field::Pointer(_) => true,
        }
    }

    /// The baseline files that are known to be needed before a record is read.
    pub fn baselines_expected(&self, streams: &[Stream]) -> BTreeSet<PathBuf> {
        if self.baseline_pattern().is_none() {
            return BTreeSet::from([self.baseline.clone()]);
        }
        let fixed = streams.iter().filter(|stream| self.is_fed_by(stream)).filter_map(|stream| {
            let Some(Field::Constant(version)) = &stream.mapping.version else { return None };
            // A stream whose records name their model may hold no record of this one.
            matches!(stream.mapping.model, Field::Constant(_)).then_some(version.as_str())
        });
        fixed.filter_map(|version| self.baseline_of(Some(version))).collect()
    }
}

/// Every section of the configuration with its keys, in the order the reference shows them.
pub fn sections() -> impl Iterator<Item = &'static Section> {
    let all: [&'static Section; 15] = [
        &assemble::DOCUMENT,
        &service::SERVICE,
        &kafka::KAFKA,
        &stream::STREAM,
        &stream::FIELDS,
        &model::MODEL,
        &model::WINDOW,
        &model::FLOORS,
        &model::ONLINE_FDR,
        &model::RETRAIN,
        &performance::PERFORMANCE,
        &performance::LIMIT,
        &performance::VALUE,
        &model::TRAINING,
        &channel::CHANNEL,
    ];
    all.into_iter()
}

/// Reads the configuration file for the service: secrets from the environment and files, baselines needed.
///
/// # Errors
/// Every mistake of the file, or the one reason why it cannot be read.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    load_for(path, Purpose::Run)
}

/// Reads the configuration file for a purpose.
///
/// # Errors
/// Every mistake of the file that matters for the purpose, or the one reason why it cannot be read.
pub fn load_for(path: &Path, purpose: Purpose) -> Result<Config, ConfigErrors> {
    let name = path.display().to_string();
    let text = read_text(path)
        .map_err(|(message, help)| ConfigErrors::unreadable(&name, message, help.map(str::to_owned)))?;
    let directory = path.parent().unwrap_or(Path::new(""));
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the environment for `env:NAME`"
    )]
    let environment = |variable: &str| std::env::var(variable).ok();
    assemble::parse(&name, directory, &text, &environment, purpose)
}

/// Reads a configuration from text, for the service. `name` is the file's path, which errors show and where
/// relative paths begin; `env` gives environment variables.
///
/// # Errors
/// Every mistake of the text.
pub fn parse(name: &str, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigErrors> {
    parse_for(name, text, env, Purpose::Run)
}

/// Reads a configuration from text, for a purpose.
///
/// # Errors
/// Every mistake of the text that matters for the purpose.
pub fn parse_for(
    name: &str,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    purpose: Purpose,
) -> Result<Config, ConfigErrors> {
    let directory = Path::new(name).parent().unwrap_or(Path::new(""));
    assemble::parse(name, directory, text, env, purpose)
}

fn read_text(path: &Path) -> Result<String, (String, Option<&'static str>)> {
    let failed = |error: std::io::Error| {
        (format!("the configuration cannot be read: {error}"), Some("name the file with --config"))
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(("the configuration is larger than 4 MiB".to_owned(), None));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        (format!("line {line} of the configuration is not UTF-8 text"), Some("save the file as UTF-8"))
    })
}

//! The configuration: what the operator wrote, checked as a whole, and what the service runs on.
//!
//! Place in the flow: read once at start. It knows every module's settings; no module knows it.
//!
//! Two steps, no half-resolved state: the TOML document with its spans is checked key by key and every
//! mistake is collected; only a document without mistakes becomes a [`Config`].

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::notify::ChannelSettings;
use crate::source::{KafkaSettings, Stream};
use crate::{incident, verdict, window};

/// What the service runs on.
#[derive(Debug, Clone)]
pub struct Config {
    /// Hash of the resolved configuration without secrets, in hex: kept with every result.
    pub id: String,
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
    /// the version is first seen.
    pub baseline: PathBuf,
    /// How its event time is cut.
    pub windows: window::Settings,
    /// What it may cost in false alarms.
    pub verdict: verdict::Settings,
    /// What an alarm leads to.
    pub incident: incident::Settings,
    /// Most values of the segment column that are told apart; further ones count as `(other)`.
    pub segments_max: usize,
    /// Most versions watched at once.
    pub versions_max: usize,
    /// Column roles of a training file, for `baseline build`.
    pub training: Training,
}

/// Column roles of a training file. A column that is named nowhere is a feature.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Training {
    /// Event time.
    pub timestamp: Option<String>,
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
}

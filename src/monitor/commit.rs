//! What must become durable together: the plain data between monitor and store.

use serde::{Deserialize, Serialize};

use crate::event::{Origin, RejectReason, Span, Timestamp};
use crate::incident::{Incident, Notification};
use crate::performance::Reading;
use crate::performance::join::{JournalWrites, StoredJournal};
use crate::summary::{Anomalies, Rows};
use crate::verdict::{ReferenceWindow, Verdict};

/// Everything that follows from the records up to `positions`, to be made durable in one transaction.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Commit {
    /// The next offset of every partition that moved.
    pub positions: Vec<Position>,
    /// Open panes that changed, whole.
    pub panes: Vec<PaneWrite>,
    /// Panes that no open window needs any more.
    pub panes_dropped: Vec<PaneKey>,
    /// Windows that closed, with their results.
    pub windows: Vec<ClosedWindow>,
    /// Windows from which it is learned what is usual.
    pub learned: Vec<LearnedWindow>,
    /// Open panes of outcomes that changed, whole.
    pub outcome_panes: Vec<PaneWrite>,
    /// Panes of outcomes that no label can reach any more.
    pub outcome_panes_dropped: Vec<PaneKey>,
    /// New revisions of the performance of windows.
    pub performance: Vec<PerformanceWindow>,
    /// What became of predictions and labels since the last commit, by model and outcome.
    pub joined: Vec<(String, &'static str, u64)>,
    /// Transitions of incidents, in order; the last of an id is its present state.
    pub transitions: Vec<Incident>,
    /// Messages to deliver, in order.
    pub outbox: Vec<Notification>,
    /// Records that reached no window.
    pub dead_letters: Vec<DeadLetter>,
    /// Events counted since the last commit, by topic, model and outcome (`counted` or a reject reason).
    pub counted: Vec<(String, String, &'static str, u64)>,
    /// What goes to the journals of predictions that wait for labels, at most once a model.
    pub journals: Vec<(String, JournalWrites)>,
    /// The rest of the monitor's state (watermarks, streaks, open incidents), for `restore`; `None` when it
    /// has not changed.
    pub state: Option<Vec<u8>>,
}

/// Where a partition stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The partition.
    pub origin: Origin,
    /// The offset of the first record that is not counted yet.
    pub next_offset: i64,
}

/// Names a pane: a stretch of event time of one model, version and segment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PaneKey {
    /// The model.
    pub model: String,
    /// The model's version.
    pub version: Option<String>,
    /// The segment's value; `None` when the model is not split or the event carries none.
    pub segment: Option<String>,
    /// Start of the pane.
    pub start: Timestamp,
}

/// A pane's counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaneWrite {
    /// Which pane.
    pub key: PaneKey,
    /// Id of the baseline it was counted on, in hex.
    pub baseline: String,
    /// The summary, encoded.
    pub summary: Vec<u8>,
}

/// Names a window.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WindowKey {
    /// The model.
    pub model: String,
    /// The model's version.
    pub version: Option<String>,
    /// The segment's value; `None` for all rows together.
    pub segment: Option<String>,
    /// Start of the window, inclusive.
    pub start: Timestamp,
    /// Its length.
    pub length: Span,
}

/// A closed window with everything that was made of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClosedWindow {
    /// Which window.
    pub key: WindowKey,
    /// End of the window, exclusive.
    pub end: Timestamp,
    /// Events by kind.
    pub rows: Rows,
    /// For each column its number of values and its anomalies.
    pub columns: Vec<(String, u64, Anomalies)>,
    /// Serving latency in milliseconds at the quantiles 0.5, 0.9, 0.99 and 1, if events carry it.
    pub latency_ms: Option<[f64; 4]>,
    /// Id of the baseline, in hex.
    pub baseline: String,
    /// Id of the configuration, in hex.
    pub config: String,
    /// Next offset of every partition when it closed: `topic/partition` and offset.
    pub positions: Vec<(String, i64)>,
    /// The watermark that closed it.
    pub watermark: Timestamp,
    /// What it means.
    pub verdict: Verdict,
}

/// The performance of a window, as it was known when this revision was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PerformanceWindow {
    /// Which window.
    pub key: WindowKey,
    /// End of the window, exclusive.
    pub end: Timestamp,
    /// Number of this revision, from 1. Labels that come later make further ones; earlier ones are kept.
    pub revision: u32,
    /// The watermark when it was made.
    pub at: Timestamp,
    /// Id of the baseline, in hex.
    pub baseline: String,
    /// Id of the configuration, in hex.
    pub config: String,
    /// What is known.
    pub reading: Reading,
    /// What it means; `None` until the window is judged, which happens once. The store gives it to the
    /// revisions after that.
    pub verdict: Option<Verdict>,
}

/// A window of a version's first weeks, from which it is learned what is usual.
#[derive(Debug, Clone, PartialEq)]
pub struct LearnedWindow {
    /// The model.
    pub model: String,
    /// The model's version.
    pub version: Option<String>,
    /// Id of the baseline it was compared with, in hex.
    pub baseline: String,
    /// Length of the window.
    pub length: Span,
    /// Its evidence.
    pub window: ReferenceWindow,
}

/// A record that reached no window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The partition.
    pub origin: Origin,
    /// The record's offset.
    pub offset: i64,
    /// Why.
    pub reason: RejectReason,
    /// What exactly and where; holds no value of the record.
    pub detail: String,
    /// The beginning of the record, up to 1 KiB.
    pub payload: Vec<u8>,
    /// When it was set aside.
    pub at: Timestamp,
}

/// What a monitor starts from: what its commits made durable.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Restored {
    /// Where every known partition stands.
    pub positions: Vec<Position>,
    /// Open panes.
    pub panes: Vec<PaneWrite>,
    /// Windows from which it was learned what is usual, in the order they closed.
    pub learned: Vec<LearnedWindow>,
    /// Open panes of outcomes.
    pub outcome_panes: Vec<PaneWrite>,
    /// The journals of predictions that wait for labels, by model.
    pub journals: Vec<(String, Vec<StoredJournal>)>,
    /// The rest of the state.
    pub state: Option<Vec<u8>>,
}

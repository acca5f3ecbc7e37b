//! Incidents: a model's drift from its first alarm to its resolution, and what is done about it.
//!
//! Place in the flow: takes the verdicts of closed windows, gives transitions with the notifications
//! they call for. Pure: a total step function over (state, verdict).
//!
//! Invariant: a model has at most one open incident; an incident's transitions are numbered without
//! gaps, and the same verdicts in the same order give the same ids, numbers and notifications.

mod step;

pub use step::{Closing, Evidence, Outcome, State};

use serde::{Deserialize, Serialize};

use crate::event::{Span, Timestamp};
use crate::verdict::ColumnVerdict;

/// When to open, resolve, repeat and retrain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Alarming windows in a row, of one length and segment, that open an incident.
    pub open_after: u32,
    /// Quiet windows in a row, of each length that alarmed, that resolve it.
    pub resolve_after: u32,
    /// An effect of at least this makes an incident critical.
    pub critical_effect: f64,
    /// Channels that hear of the model's incidents.
    pub channels: Vec<String>,
    /// When and where retraining is asked for.
    pub retrain: Option<RetrainSettings>,
}

/// When retraining is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetrainSettings {
    /// The channel that is called.
    pub channel: String,
    /// Alarming windows, since the incident opened, before the call.
    pub after_windows: u32,
    /// Event time between two calls.
    pub cooldown: Span,
    /// Calls in any seven days of event time.
    pub per_week_max: u32,
    /// Whether the call waits until the loss outweighs what a retraining costs.
    #[serde(default)]
    pub only_if_it_pays: bool,
}

/// Where an incident stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Just opened.
    Open,
    /// Open, and changed since.
    Updated,
    /// Over.
    Resolved,
}

/// How loud an incident is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Look at it today.
    Warning,
    /// Look at it now.
    Critical,
}

/// A model's drift, as of one transition: everything a person needs, and what it was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Stable id, a hash of model, kind and opening window.
    pub id: String,
    /// What kind of trouble: `drift`.
    pub kind: String,
    /// The model.
    pub model: String,
    /// The version whose window spoke last.
    pub version: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// How loud it is.
    pub severity: Severity,
    /// Number of this transition, from 1.
    pub sequence: u32,
    /// End of the window that opened it.
    pub opened_at: Timestamp,
    /// End of the window that made this transition.
    pub updated_at: Timestamp,
    /// End of the window that resolved it.
    pub resolved_at: Option<Timestamp>,
    /// Start of the latest alarming window.
    pub window_start: Timestamp,
    /// End of the latest alarming window.
    pub window_end: Timestamp,
    /// Segment of the latest alarming window; `None` for all rows.
    pub segment: Option<String>,
    /// Every segment that alarmed in it; all rows together are none.
    #[serde(default)]
    pub segments: Vec<String>,
    /// Rows of that window.
    pub n: u64,
    /// Windows that alarmed since it opened.
    pub windows_alarming: u32,
    /// The columns that moved, the most moved first, as of the latest alarming window.
    pub features: Vec<ColumnVerdict>,
    /// The corrected p-value of that window.
    pub p_value: Option<f64>,
    /// Whether the false-alarm promise rests on reference windows.
    pub calibrated: bool,
    /// What resolved it, or what else a reader should know.
    pub note: Option<String>,
    /// Event time of the retrain calls.
    pub retrained_at: Vec<Timestamp>,
    /// The baseline it was compared with.
    pub baseline: String,
    /// The configuration in force.
    pub config: String,
    /// Next offset of every partition when the window closed: `topic/partition` and offset.
    pub positions: Vec<(String, i64)>,
}

/// What a notification tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationKind {
    /// An incident opened.
    Opened,
    /// It changed enough to tell.
    Updated,
    /// It is over.
    Resolved,
    /// Retrain the model.
    Retrain,
    /// A trial, sent by the operator.
    Test,
}

/// One message for one channel: what a row of the outbox holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// Stable over retries and restarts, a hash of incident, transition, kind and channel: the
    /// receiver's idempotency key.
    pub id: String,
    /// What it tells.
    pub kind: NotificationKind,
    /// The channel.
    pub channel: String,
    /// The incident as of this transition.
    pub incident: Incident,
}

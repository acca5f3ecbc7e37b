//! What has been done: incidents, retrain calls, and what came after them.

use serde::Serialize;

use super::performance::{Comparison, Performance, Point};
use crate::cli::report::rows::{IncidentRows, Rows};
use crate::event::Timestamp;
use crate::incident::{Incident, Severity};
use crate::performance::{DiagnosisKind, Ranged};
use crate::store::OutboxRow;

/// An incident as of its last transition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IncidentFact {
    /// Its id.
    pub id: String,
    /// `drift` or `performance`.
    pub kind: String,
    /// How loud it is.
    pub severity: Severity,
    /// End of the window that opened it.
    pub opened_at: Timestamp,
    /// End of the window that resolved it; `None` while it is open.
    pub resolved_at: Option<Timestamp>,
    /// Windows that alarmed.
    pub windows_alarming: u32,
    /// Whether its false-alarm promise rests on reference windows.
    pub calibrated: bool,
    /// What the change was taken to be.
    pub diagnosis: Option<DiagnosisKind>,
    /// What resolved it, or what else a reader should know.
    pub note: Option<String>,
    /// Messages about it: delivered, waiting and given up.
    pub delivered: usize,
    /// Messages that wait to be delivered.
    pub waiting: usize,
    /// Messages that were given up.
    pub dead: usize,
    /// Calls for a retraining.
    pub retrain_calls: Vec<RetrainCall>,
}

/// A call for a retraining.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RetrainCall {
    /// Event time of the call.
    pub at: Timestamp,
    /// `delivered`, `waiting` or `dead`; `None` when the message is kept no more.
    pub delivery: Option<String>,
    /// How it went on.
    pub since: Since,
}

/// What came after a call. That something came after it does not show that it came from it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Since {
    /// When the incident ended, if after the call.
    pub resolved_at: Option<Timestamp>,
    /// The first version that was not there before the call.
    pub new_version: Option<String>,
    /// The headline metric in the last window with a realised value that ended before the call.
    pub before: Option<Ranged>,
    /// The same in the newest window with a realised value that began after the call; of the new version, if
    /// there is one.
    pub after: Option<Ranged>,
    /// `after`, seen from the training data.
    pub against_training: Option<Comparison>,
}

impl IncidentFact {
    /// Whether it goes on.
    pub fn is_open(&self) -> bool {
        self.resolved_at.is_none()
    }
}

pub(super) fn gather(rows: &Rows, performance: Option<&Performance>) -> Vec<IncidentFact> {
    rows.incidents.iter().map(|one| fact(one, performance)).collect()
}

fn fact(one: &IncidentRows, performance: Option<&Performance>) -> IncidentFact {
    let IncidentRows { incident, deliveries } = one;
    let with_status = |status: &str| deliveries.iter().filter(|row| row.status == status).count();
    IncidentFact {
        id: incident.id.clone(),
        kind: incident.kind.clone(),
        severity: incident.severity,
        opened_at: incident.opened_at,
        resolved_at: incident.resolved_at,
        windows_alarming: incident.windows_alarming,
        calibrated: incident.calibrated,
        diagnosis: incident.diagnosis.as_ref().map(|diagnosis| diagnosis.kind),
        note: incident.note.clone(),
        delivered: with_status("delivered"),
        waiting: with_status("waiting"),
        dead: with_status("dead"),
        retrain_calls: calls(incident, deliveries, performance),
    }
}

/// Calls and the messages that carried them are in the same order; messages are kept a shorter time, so they
/// are set against each other from the end.
fn calls(
    incident: &Incident,
    deliveries: &[OutboxRow],
    performance: Option<&Performance>,
) -> Vec<RetrainCall> {
    let mut messages = deliveries.iter().filter(|row| row.kind == "retrain").rev();
    let mut calls: Vec<RetrainCall> = incident
        .retrained_at
        .iter()
        .rev()
        .map(|at| RetrainCall {
            at: *at,
            delivery: messages.next().map(|row| row.status.clone()),
            since: since(*at, incident, performance),
        })
        .collect();
    calls.reverse();
    calls
}

fn since(at: Timestamp, incident: &Incident, performance: Option<&Performance>) -> Since {
    let timeline = performance.map(|performance| performance.timeline.as_slice()).unwrap_or_default();
    let (earlier, later): (Vec<&Point>, Vec<&Point>) =
        timeline.iter().partition(|point| point.window_start < at);
    let is_new = |point: &&&Point| earlier.iter().all(|old| old.version != point.version);
    let first_new = later.iter().find(is_new).filter(|_| !earlier.is_empty());
    let new_version = first_new.and_then(|point| point.version.clone());
    let before = earlier.iter().rev().filter(|point| point.window_end <= at).find_map(|point| point.realised);
    let of_new = |point: &&&Point| new_version.is_none() || point.version == new_version;
    let newest = later.iter().rev().filter(of_new).find_map(|point| Some((point.realised?, point.reference)));
    let against_training = performance.zip(newest).and_then(|(performance, (value, reference))| {
        reference.map(|reference| performance.compare(value, reference))
    });
    Since {
        resolved_at: incident.resolved_at.filter(|resolved| *resolved > at),
        new_version,
        before,
        after: newest.map(|(value, _)| value),
        against_training,
    }
}

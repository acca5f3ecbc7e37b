//! What has been done.

use crate::cli::report::facts::{Comparison, Facts, IncidentFact, RetrainCall};
use crate::cli::report::figures::{count, minute, name, ranged, sentence, stretch};
use crate::cli::report::page::{Block, Section, Table};
use crate::incident::Severity;
use crate::performance::DiagnosisKind;

/// Incidents of the table: the latest opened.
const INCIDENTS_SHOWN: usize = 8;
/// Retrain calls that are told: the latest.
const CALLS_SHOWN: usize = 5;

pub(super) fn section(facts: &Facts) -> Section {
    let title = "What has been done".to_owned();
    if facts.incidents.is_empty() {
        let text = "No incident was open in this period, so nobody was told and no retraining was asked for.";
        return Section { title, blocks: vec![Block::Text(text.to_owned())] };
    }
    let mut blocks = vec![Block::Table(incidents(facts))];
    let mut calls: Vec<&RetrainCall> =
        facts.incidents.iter().flat_map(|incident| &incident.retrain_calls).collect();
    calls.sort_by_key(|call| std::cmp::Reverse(call.at));
    if calls.is_empty() {
        blocks.push(Block::Text("No retraining was asked for.".to_owned()));
    } else {
        blocks.push(Block::List(calls.iter().take(CALLS_SHOWN).map(|call| told(call)).collect()));
    }
    if calls.len() > CALLS_SHOWN {
        blocks.push(Block::Text(format!("{} earlier calls are not shown.", calls.len() - CALLS_SHOWN)));
    }
    Section { title, blocks }
}

fn incidents(facts: &Facts) -> Table {
    let head = [
        ("Incident", false),
        ("Opened", false),
        ("Ended", false),
        ("Windows", true),
        ("Taken to be", false),
        ("Messages", false),
    ];
    let mut table = Table::new(&head);
    table.rows = facts.incidents.iter().take(INCIDENTS_SHOWN).map(incident).collect();
    let mut notes: Vec<String> = facts
        .incidents
        .iter()
        .take(INCIDENTS_SHOWN)
        .filter_map(|incident| {
            Some(format!("{}: {}", minute(incident.opened_at), sentence(incident.note.as_deref()?)))
        })
        .collect();
    if facts.incidents.len() > INCIDENTS_SHOWN {
        notes.push(format!("{} earlier incidents are not shown.", facts.incidents.len() - INCIDENTS_SHOWN));
    }
    table.note = notes.join(" ");
    table
}

fn incident(incident: &IncidentFact) -> Vec<String> {
    let severity = match incident.severity {
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    };
    let ended = incident.resolved_at.map_or_else(
        || "open".to_owned(),
        |at| format!("{}, after {}", minute(at), stretch(at - incident.opened_at)),
    );
    vec![
        format!(
            "{}, {severity}{}",
            name(&incident.kind),
            if incident.calibrated { "" } else { ", uncalibrated" }
        ),
        minute(incident.opened_at),
        ended,
        count(u64::from(incident.windows_alarming)),
        incident.diagnosis.map_or("–", diagnosis).to_owned(),
        messages(incident),
    ]
}

fn diagnosis(kind: DiagnosisKind) -> &'static str {
    match kind {
        DiagnosisKind::DataFault => "data fault",
        DiagnosisKind::HarmlessShift => "harmless shift",
        DiagnosisKind::HarmfulShift => "harmful shift",
        DiagnosisKind::ConceptChange => "concept change",
        DiagnosisKind::Unclear => "unclear",
    }
}

fn messages(incident: &IncidentFact) -> String {
    let mut parts = vec![format!("{} delivered", incident.delivered)];
    if incident.waiting > 0 {
        parts.push(format!("{} waiting", incident.waiting));
    }
    if incident.dead > 0 {
        parts.push(format!("{} given up", incident.dead));
    }
    parts.join(", ")
}

/// A call and what came after it; what came of it nobody knows.
fn told(call: &RetrainCall) -> String {
    let delivery = match call.delivery.as_deref() {
        Some("delivered") => "was delivered",
        Some("waiting") => "waits to be delivered",
        Some("dead") => "could not be delivered and was given up",
        _ => "is not kept any more",
    };
    let mut text = format!("Retraining was asked for at {}; the call {delivery}.", minute(call.at));
    let since = &call.since;
    if let Some(version) = &since.new_version {
        text.push_str(&format!(" Version {} came into use after it.", name(version)));
    }
    match since.resolved_at {
        Some(at) => text.push_str(&format!(" The incident ended {} later.", stretch(at - call.at))),
        None => text.push_str(" The incident is still open."),
    }
    match (since.before, since.after) {
        (Some(before), Some(after)) => text.push_str(&format!(
            " The metric was {} before and is {} since, {}.",
            ranged(before),
            ranged(after),
            match since.against_training {
                Some(Comparison::AsInTraining) => "not clearly different from training",
                Some(Comparison::Worse) => "worse than in training",
                Some(Comparison::Better) => "better than in training",
                Some(Comparison::Different) => "different from training",
                None => "with no training value to compare it with",
            }
        )),
        _ => text.push_str(" Whether it helped is not known: there are no labels from before and after it."),
    }
    text
}

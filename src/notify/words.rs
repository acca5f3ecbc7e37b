//! What an incident says in words that every channel for people uses.
//!
//! Place in the flow: between the incident and the channels' own formats. Pure; plain text on one line,
//! not escaped: each channel escapes for itself.

use crate::event::Span;
use crate::incident::{Incident, Notification, NotificationKind, Severity};
use crate::quality::REJECTED_RECORDS;
use crate::verdict::ColumnVerdict;

use super::text::{clean, clip, clip_name, count, effect, minute, p_value};
use super::{ChannelSettings, figures};

/// Longest shown form of a name that comes from outside.
pub(super) const NAME_CHARS_MAX: usize = 80;

/// The first line: how loud, what, where.
pub(super) fn headline(notification: &Notification) -> String {
    let incident = &notification.incident;
    let severity = severity(incident.severity);
    let how = match notification.kind {
        NotificationKind::Opened => severity.to_owned(),
        NotificationKind::Updated => format!("{severity} (update {})", incident.sequence),
        NotificationKind::Resolved => "Resolved".to_owned(),
        NotificationKind::Retrain => "Retraining requested".to_owned(),
        NotificationKind::Test => "Test".to_owned(),
    };
    format!("{how}: {} in {}", clip_name(&incident.kind, 40), model(incident))
}

/// The severity's name for people.
pub(super) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Warning => "Warning",
        Severity::Critical => "Critical",
    }
}

/// The model's name, shortened.
pub(super) fn model(incident: &Incident) -> String {
    clip_name(&incident.model, NAME_CHARS_MAX)
}

/// The model's version, shortened, or what its absence means.
pub(super) fn version(incident: &Incident) -> String {
    incident
        .version
        .as_deref()
        .map_or_else(|| "no version".to_owned(), |text| clip_name(text, NAME_CHARS_MAX))
}

/// The column's name, shortened.
pub(super) fn column(verdict: &ColumnVerdict) -> String {
    clip_name(&verdict.name, NAME_CHARS_MAX)
}

/// Names of the first columns that moved, and how many more there are.
pub(super) fn moved(incident: &Incident, most: usize) -> String {
    if incident.features.is_empty() {
        return "no column stands out".to_owned();
    }
    let mut text = incident.features.iter().take(most).map(column).collect::<Vec<_>>().join(", ");
    let more = incident.features.len().saturating_sub(most);
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// Whether it is about how the model does, and that is known: then its figures come before the columns.
pub(super) fn is_performance(incident: &Incident) -> bool {
    incident.kind == "performance" && incident.performance.is_some()
}

/// What stands out, on one line: the metric or the columns that moved.
pub(super) fn gist(incident: &Incident, most: usize) -> String {
    let figures = figures::short(incident);
    match figures {
        Some(figures) if is_performance(incident) => figures,
        Some(figures) => format!("{}; {figures}", moved(incident, most)),
        None => moved(incident, most),
    }
}

/// How large the difference is, by which test, how surely: `0.312 (…); ks = 0.312, p = 3.1e-9`.
pub(super) fn evidence(verdict: &ColumnVerdict) -> String {
    let mut parts = Vec::new();
    if let Some(size) = verdict.effect {
        parts.push(format!("effect {}", effect(size, verdict.effect_unit)));
    }
    let test = match (&verdict.test, verdict.statistic) {
        (Some(test), Some(statistic)) => Some(format!("{} = {statistic:.4}", clip_name(test, 40))),
        (Some(test), None) => Some(clip_name(test, 40)),
        _ => None,
    };
    let p = verdict.p_value.map(p_value);
    match (test, p) {
        (Some(test), Some(p)) => parts.push(format!("{test}, {p}")),
        (Some(one), None) | (None, Some(one)) => parts.push(one),
        (None, None) => parts.push("no test could be made".to_owned()),
    }
    parts.join("; ")
}

/// How much was compared with how much. Of rejected records training knows nothing.
pub(super) fn sizes(verdict: &ColumnVerdict) -> String {
    if verdict.name.as_ref() == REJECTED_RECORDS {
        return format!("{} records", count(verdict.current_n));
    }
    format!("{} values, {} in training", count(verdict.current_n), count(verdict.reference_n))
}

/// Whether the false-alarm promise holds, for people.
pub(super) fn calibration(incident: &Incident) -> &'static str {
    if incident.calibrated { "calibrated" } else { "uncalibrated" }
}

/// How long it was open, in event time.
pub(super) fn open_for(incident: &Incident) -> String {
    let end = incident.resolved_at.unwrap_or(incident.updated_at);
    let micros = (end - incident.opened_at).as_micros().max(0);
    // Fractions of a second say nothing here.
    Span::from_secs(micros / 1_000_000).to_string()
}

/// What a resolved incident was and what was done about it.
pub(super) fn resolution(incident: &Incident) -> Vec<String> {
    let windows = if incident.windows_alarming == 1 { "window" } else { "windows" };
    let mut lines = vec![
        format!(
            "Open for {} of event time; {} {windows} alarmed{}.",
            open_for(incident),
            count(u64::from(incident.windows_alarming)),
            last_moved(incident)
        ),
        retraining(incident),
    ];
    lines.splice(0..0, figures::after(incident));
    if let Some(note) = &incident.note {
        lines.insert(0, clip(note, 500));
    }
    lines
}

/// The columns that had moved; where the model's figures are what spoke, there may be none.
fn last_moved(incident: &Incident) -> String {
    if is_performance(incident) && incident.features.is_empty() {
        return String::new();
    }
    format!("; last moved: {}", moved(incident, 10))
}

/// What became of retraining.
fn retraining(incident: &Incident) -> String {
    match incident.retrained_at.as_slice() {
        [] => "No retraining was requested.".to_owned(),
        [once] => format!("Retraining was requested once, for the data up to {} UTC.", minute(*once)),
        [.., last] => format!(
            "Retraining was requested {} times, the last for the data up to {} UTC.",
            incident.retrained_at.len(),
            minute(*last)
        ),
    }
}

/// Why retraining is requested.
pub(super) fn retrain_reason(incident: &Incident) -> String {
    let windows = if incident.windows_alarming == 1 { "window has" } else { "windows have" };
    let mut reason = format!(
        "{}: {} {windows} alarmed since {}",
        clean(&clip_name(&incident.kind, 40)),
        count(u64::from(incident.windows_alarming)),
        incident.opened_at
    );
    if !is_performance(incident) || !incident.features.is_empty() {
        reason.push_str(&format!("; moved: {}", moved(incident, 10)));
    }
    for more in [figures::short(incident), figures::costs_shortly(incident)].into_iter().flatten() {
        reason.push_str(&format!("; {more}"));
    }
    reason
}

/// Where a reader finds the incident, if the operator said where the API is.
pub(super) fn link(incident: &Incident, settings: &ChannelSettings) -> Option<String> {
    let base = settings.link_base.as_deref()?.trim_end_matches('/');
    let id: String = incident.id.bytes().flat_map(percent_encoded).collect();
    Some(format!("{base}/api/v1/incidents/{id}"))
}

/// RFC 3986: everything but unreserved characters is encoded.
fn percent_encoded(byte: u8) -> Vec<char> {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        return vec![char::from(byte)];
    }
    format!("%{byte:02X}").chars().collect()
}

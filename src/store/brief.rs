//! Briefs: what lists show of a window or an incident. The document beside each has everything.

use serde::Serialize;

use crate::drift::EffectUnit;
use crate::event::{ColumnKind, Role, Span, Timestamp};
use crate::incident::Incident;
use crate::monitor::ClosedWindow;
use crate::verdict::ColumnVerdict;

/// Columns that a brief names: those that moved most.
const BRIEF_COLUMNS_MAX: usize = 10;

/// What a list shows of a window.
#[derive(Serialize)]
struct WindowBrief<'a> {
    model: &'a str,
    version: Option<&'a str>,
    segment: Option<&'a str>,
    window_start: Timestamp,
    window_end: Timestamp,
    length: Span,
    n: u64,
    alarm: bool,
    quiet: bool,
    calibrated: bool,
    p_value: Option<f64>,
    alpha: f64,
    baseline: &'a str,
    features: Vec<ColumnBrief<'a>>,
}

/// What a list shows of a column: everything but its tests.
#[derive(Serialize)]
struct ColumnBrief<'a> {
    name: &'a str,
    role: Role,
    kind: ColumnKind,
    alarm: bool,
    p_value: Option<f64>,
    test: Option<&'a str>,
    statistic: Option<f64>,
    effect: Option<f64>,
    effect_unit: Option<EffectUnit>,
    moved: f64,
    summary: Option<&'a str>,
}

impl<'a> From<&'a ColumnVerdict> for ColumnBrief<'a> {
    fn from(column: &'a ColumnVerdict) -> Self {
        Self {
            name: &column.name,
            role: column.role,
            kind: column.kind,
            alarm: column.alarm,
            p_value: column.p_value,
            test: column.test.as_deref(),
            statistic: column.statistic,
            effect: column.effect,
            effect_unit: column.effect_unit,
            moved: column.moved,
            summary: column.summary.as_deref(),
        }
    }
}

fn columns_brief(columns: &[ColumnVerdict]) -> Vec<ColumnBrief<'_>> {
    columns.iter().take(BRIEF_COLUMNS_MAX).map(ColumnBrief::from).collect()
}

pub(super) fn window_brief(window: &ClosedWindow) -> serde_json::Result<String> {
    let ClosedWindow { key, end, baseline, verdict, .. } = window;
    serde_json::to_string(&WindowBrief {
        model: &key.model,
        version: key.version.as_deref(),
        segment: key.segment.as_deref(),
        window_start: key.start,
        window_end: *end,
        length: key.length,
        n: verdict.n,
        alarm: verdict.alarm,
        quiet: verdict.quiet,
        calibrated: verdict.calibrated,
        p_value: verdict.p_value,
        alpha: verdict.alpha,
        baseline,
        features: columns_brief(&verdict.features),
    })
}

/// What a list shows of an incident: everything but the tests and the columns that moved little. Members
/// that incidents gain later are in it without a change here.
pub(super) fn incident_brief(incident: &Incident) -> serde_json::Result<String> {
    let mut brief = serde_json::to_value(Incident { features: Vec::new(), ..incident.clone() })?;
    if let Some(features) = brief.get_mut("features") {
        *features = serde_json::to_value(columns_brief(&incident.features))?;
    }
    serde_json::to_string(&brief)
}

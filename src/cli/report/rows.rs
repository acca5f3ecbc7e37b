//! What the report reads of the store: rows as they were written, bounded.
//!
//! I/O. The period ends at the model's newest window, not at the wall time, so a report of a store that has
//! stood still shows what it holds.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::cli::{Failure, chain};
use crate::drift::EffectUnit;
use crate::event::{Role, Span, Timestamp};
use crate::incident::Incident;
use crate::monitor::PerformanceWindow;
use crate::store::{OutboxRow, PAGE_MAX, SegmentFilter, Store, StoreError, WindowFilter};

/// Most windows that are read: the newest. Half an hour's windows of 30 days are 1,440.
const WINDOWS_MAX: usize = 10_000;
/// Most incidents that are read: the newest.
const INCIDENTS_MAX: usize = 100;

/// What the store holds of a model in a period.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// Windows of all rows together, the newest end first.
    pub windows: Vec<WindowRow>,
    /// Incidents that were open in the period, the latest opened first.
    pub incidents: Vec<IncidentRows>,
    /// The performance of windows, the latest revision of each, in any order.
    pub performance: Vec<PerformanceWindow>,
    /// What became of predictions and labels since the store was made, by outcome.
    pub joined: Vec<(String, u64)>,
    /// Whether older rows of the period were left out.
    pub is_cut: bool,
}

/// An incident as of its last transition, with what was sent because of it.
#[derive(Debug, Clone)]
pub struct IncidentRows {
    /// The incident.
    pub incident: Incident,
    /// What was sent.
    pub deliveries: Vec<OutboxRow>,
}

/// A closed window as lists show it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct WindowRow {
    /// The model's version.
    pub version: Option<String>,
    /// Start, inclusive.
    pub window_start: Timestamp,
    /// End, exclusive.
    pub window_end: Timestamp,
    /// Its length.
    pub length: Span,
    /// Rows compared.
    pub n: u64,
    /// Whether it alarmed.
    pub alarm: bool,
    /// Whether it was quiet.
    pub quiet: bool,
    /// Whether the false-alarm promise rested on reference windows.
    pub calibrated: bool,
    /// Id of the baseline, in hex.
    pub baseline: String,
    /// The columns that moved most.
    pub features: Vec<ColumnRow>,
}

/// A column of a window.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ColumnRow {
    /// Its name.
    pub name: String,
    /// What it is to the model.
    pub role: Role,
    /// Whether it is among those that moved.
    pub alarm: bool,
    /// The effect of the test that speaks loudest.
    pub effect: Option<f64>,
    /// What the effect is measured in.
    pub effect_unit: Option<EffectUnit>,
    /// How much it moved, 0 to 1.
    pub moved: f64,
    /// The difference in words.
    pub summary: Option<String>,
}

impl Rows {
    /// Reads the rows of `model` that end at most `since` before its newest window.
    ///
    /// # Errors
    /// [`Failure`] when the store cannot be read.
    pub fn read(store: &Store, model: &str, since: Span) -> Result<Self, Failure> {
        let newest_only = WindowFilter { model: model.to_owned(), limit: 1, ..WindowFilter::default() };
        let newest_performance = store.performance(&newest_only).map_err(unreadable)?;
        let newest_performance = newest_performance.rows.first().map(|row| row.window_end);
        let newest_window = store.model_activity(model).map_err(unreadable)?.newest_window_end;
        let from = newest_window.max(newest_performance).map(|newest| newest - since);
        let (windows, windows_cut) = windows(store, model, from)?;
        let (performance, performance_cut) = performance(store, model, from)?;
        let joined = store.joined(Some(model)).map_err(unreadable)?;
        Ok(Self {
            windows,
            incidents: incidents(store, model, from)?,
            performance,
            joined: joined.into_iter().map(|row| (row.outcome, row.n)).collect(),
            is_cut: windows_cut || performance_cut,
        })
    }
}

fn windows(store: &Store, model: &str, from: Option<Timestamp>) -> Result<(Vec<WindowRow>, bool), Failure> {
    let mut filter = WindowFilter {
        model: model.to_owned(),
        segment: SegmentFilter::Whole,
        after: from,
        limit: PAGE_MAX,
        ..WindowFilter::default()
    };
    let mut found = Vec::new();
    while found.len() < WINDOWS_MAX {
        let page = store.windows(&filter).map_err(unreadable)?;
        for row in &page.rows {
            found.push(document(row, "window")?);
        }
        filter.cursor = page.next;
        if filter.cursor.is_none() {
            return Ok((found, false));
        }
    }
    Ok((found, true))
}

/// The latest revision of each window's performance: of all rows and of every segment.
fn performance(
    store: &Store,
    model: &str,
    from: Option<Timestamp>,
) -> Result<(Vec<PerformanceWindow>, bool), Failure> {
    let mut filter =
        WindowFilter { model: model.to_owned(), after: from, limit: PAGE_MAX, ..WindowFilter::default() };
    let mut found = Vec::new();
    while found.len() < WINDOWS_MAX {
        let page = store.performance(&filter).map_err(unreadable)?;
        for row in &page.rows {
            found.push(row.window().map_err(|error| defect("window's performance", &error))?);
        }
        filter.cursor = page.next;
        if filter.cursor.is_none() {
            return Ok((found, false));
        }
    }
    Ok((found, true))
}

/// The model's incidents that were open after `from`.
fn incidents(store: &Store, model: &str, from: Option<Timestamp>) -> Result<Vec<IncidentRows>, Failure> {
    let mut found = Vec::new();
    for incident in store.incidents_since(model, from, INCIDENTS_MAX).map_err(unreadable)? {
        // Between the two questions it may have become too old to be kept.
        let detail = store.incident(&incident.id).map_err(unreadable)?;
        found.push(IncidentRows {
            incident,
            deliveries: detail.map(|detail| detail.deliveries).unwrap_or_default(),
        });
    }
    Ok(found)
}

fn document<T: DeserializeOwned>(text: &RawValue, what: &str) -> Result<T, Failure> {
    serde_json::from_str(text.get()).map_err(|error| defect(what, &error))
}

fn defect(what: &str, error: &serde_json::Error) -> Failure {
    Failure::other(format!("the store holds a {what} that cannot be read, which is a defect: {error}"))
}

fn unreadable(error: StoreError) -> Failure {
    Failure::other(chain(&error))
}

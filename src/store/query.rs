//! Questions of the API, answered in pages.
//!
//! Every list is bounded by [`PAGE_MAX`] and says where the next page begins. Documents leave as they
//! were written, without being taken apart.

use std::fmt;
use std::str::FromStr;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use serde::Serialize;
use serde_json::value::RawValue;

use super::outbox::{OutboxRow, deliveries};
use super::{Fault, Store, StoreError, apply, count};
use crate::event::{Span, Timestamp};
use crate::monitor::Position;

/// Most rows of a page.
pub const PAGE_MAX: usize = 500;

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<Cursor>,
}

/// The end of a page: what its last row is sorted by. Written as `at_row`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The last row's time in microseconds, or 0 where only the row number counts.
    pub at: i64,
    /// The last row's number.
    pub row: i64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.at, self.row)
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('_').and_then(|(at, row)| Some((at.parse().ok()?, row.parse().ok()?)));
        let (at, row) = parts.ok_or_else(|| "not a cursor: give `next` of the page before".to_owned())?;
        Ok(Self { at, row })
    }
}

/// Which windows are asked for, of data or of performance.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WindowFilter {
    /// Of this model.
    pub model: String,
    /// Of this version only.
    pub version: Option<String>,
    /// Of this segment only.
    pub segment: SegmentFilter,
    /// Of this length only.
    pub length: Option<Span>,
    /// Only those that alarmed, or only those that were judged and did not.
    pub alarm: Option<bool>,
    /// Ending after this.
    pub after: Option<Timestamp>,
    /// Ending before this.
    pub before: Option<Timestamp>,
    /// Where the last page ended.
    pub cursor: Option<Cursor>,
    /// Rows wanted.
    pub limit: usize,
}

/// Which segments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SegmentFilter {
    /// All rows together and each segment.
    #[default]
    Any,
    /// All rows together.
    Whole,
    /// This segment.
    One(String),
}

/// Names one window for people. Without a version, the newest window of that time is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowName {
    /// The model.
    pub model: String,
    /// Start of the window.
    pub start: Timestamp,
    /// Its length.
    pub length: Span,
    /// The model's version.
    pub version: Option<String>,
    /// The segment; `None` for all rows together.
    pub segment: Option<String>,
}

/// Which incidents are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IncidentFilter {
    /// Of this model only.
    pub model: Option<String>,
    /// In this state only.
    pub status: Option<StatusFilter>,
    /// Where the last page ended.
    pub cursor: Option<Cursor>,
    /// Rows wanted.
    pub limit: usize,
}

/// In which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusFilter {
    /// Not resolved, updated since it opened or not.
    Open,
    /// Not resolved and updated since it opened.
    Updated,
    /// Over.
    Resolved,
}

/// An incident in a list.
pub type IncidentRow = Box<RawValue>;

/// One incident with its history.
#[derive(Debug, Clone, Serialize)]
pub struct IncidentDetail {
    /// The incident as of its last transition, with every test of every column.
    pub incident: Box<RawValue>,
    /// Number of transitions it has made.
    pub transitions_total: u64,
    /// Its latest transitions in order, at most [`PAGE_MAX`], without the tests.
    pub transitions: Vec<TransitionRow>,
    /// What was sent because of it, in order, the latest [`PAGE_MAX`].
    pub deliveries: Vec<OutboxRow>,
}

/// An incident as of one transition.
pub type TransitionRow = Box<RawValue>;

/// Which dead letters are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Of this topic only.
    pub topic: Option<String>,
    /// With this reason only.
    pub reason: Option<String>,
    /// Where the last page ended.
    pub cursor: Option<Cursor>,
    /// Rows wanted.
    pub limit: usize,
}

/// A record that reached no window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetterRow {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// Why.
    pub reason: String,
    /// What exactly and where.
    pub detail: String,
    /// When it was set aside.
    pub at: Timestamp,
    /// The beginning of the record; bytes that are not UTF-8 are replaced.
    pub payload: String,
}

/// Events counted since the store was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Counter {
    /// The topic.
    pub topic: String,
    /// The model.
    pub model: String,
    /// `counted` or the reason of a rejection.
    pub outcome: String,
    /// How many.
    pub events: u64,
}

/// What the store knows of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ModelActivity {
    /// End of its newest window.
    pub newest_window_end: Option<Timestamp>,
    /// Its versions that have windows, the latest active first.
    pub versions: Vec<VersionActivity>,
    /// Id of its open incident.
    pub open_incident: Option<String>,
}

/// What the store knows of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionActivity {
    /// The version; `None` when events carry none.
    pub version: Option<String>,
    /// Id of the baseline of its newest window, in hex.
    pub baseline: String,
    /// End of its newest window.
    pub newest_window_end: Timestamp,
}

impl Store {
    /// Windows as lists show them, the newest end first.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn windows(&self, filter: &WindowFilter) -> Result<Page<Box<RawValue>>, StoreError> {
        let mut conditions = Conditions::default();
        conditions.windows(filter);
        self.read(|connection| {
            briefs(connection, "end, id, brief FROM windows", "end DESC, id DESC", conditions, filter.limit)
        })
    }

    /// Everything that is known of one window: the [`ClosedWindow`](crate::monitor::ClosedWindow).
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn window(&self, name: &WindowName) -> Result<Option<Box<RawValue>>, StoreError> {
        let WindowName { model, start, length, version, segment } = name;
        self.read(|connection| {
            let sql = "SELECT document FROM windows WHERE model = ?1 AND start = ?2 AND length = ?3
                           AND (?4 IS NULL OR version = ?4) AND segment IS ?5
                       ORDER BY id DESC LIMIT 1";
            let values = params![model, start.as_micros(), length.as_micros(), version, segment];
            document(connection, sql, values)
        })
    }

    /// Incidents as lists show them, the latest opened first.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn incidents(&self, filter: &IncidentFilter) -> Result<Page<IncidentRow>, StoreError> {
        let mut conditions = Conditions::default();
        conditions.equals("model", filter.model.clone());
        match filter.status {
            None => {}
            Some(StatusFilter::Open) => conditions.add("status <> 'resolved'", []),
            Some(StatusFilter::Updated) => conditions.add("status = 'updated'", []),
            Some(StatusFilter::Resolved) => conditions.add("status = 'resolved'", []),
        }
        conditions.after_cursor("opened_at", "number", filter.cursor);
        let columns = "opened_at, number, brief FROM incidents";
        let order = "opened_at DESC, number DESC";
        self.read(|connection| briefs(connection, columns, order, conditions, filter.limit))
    }

    /// One incident with its transitions and what was sent because of it.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn incident(&self, id: &str) -> Result<Option<IncidentDetail>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT document FROM incidents WHERE id = ?1";
            let Some(incident) = document(connection, sql, params![id])? else { return Ok(None) };
            let total = "SELECT count(*) FROM transitions WHERE incident_id = ?1";
            let total: i64 = connection.query_row(total, params![id], |row| row.get(0))?;
            let mut select = connection.prepare(&format!(
                "SELECT brief FROM transitions WHERE incident_id = ?1 ORDER BY sequence DESC LIMIT {PAGE_MAX}"
            ))?;
            let briefs = select.query_map(params![id], |row| row.get(0))?;
            let mut transitions = briefs.map(|brief| raw(brief?)).collect::<Result<Vec<_>, Fault>>()?;
            transitions.reverse();
            let deliveries = deliveries(connection, id, PAGE_MAX)?;
            Ok(Some(IncidentDetail { incident, transitions_total: count(total), transitions, deliveries }))
        })
    }

    /// An incident as of one transition, with every test of every column.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn transition(&self, id: &str, sequence: u32) -> Result<Option<TransitionRow>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT document FROM transitions WHERE incident_id = ?1 AND sequence = ?2";
            document(connection, sql, params![id, sequence])
        })
    }

    /// Open incidents by model.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn open_incidents(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.read(|connection| {
            let mut select = connection.prepare(
                "SELECT model, count(*) FROM incidents WHERE status <> 'resolved' GROUP BY model ORDER BY model",
            )?;
            let rows = select.query_map([], |row| Ok((row.get(0)?, count(row.get(1)?))))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Dead letters, the newest first.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn dead_letters(&self, filter: &DeadLetterFilter) -> Result<Page<DeadLetterRow>, StoreError> {
        let mut conditions = Conditions::default();
        conditions.equals("topic", filter.topic.clone());
        conditions.equals("reason", filter.reason.clone());
        if let Some(cursor) = filter.cursor {
            conditions.add("id < ?", [Value::from(cursor.row)]);
        }
        let limit = limit_of(filter.limit);
        self.read(|connection| {
            let sql = format!(
                "SELECT id, topic, partition, \"offset\", reason, detail, at, payload FROM dead_letters {}
                 ORDER BY id DESC LIMIT {}",
                conditions.sql(),
                limit + 1
            );
            let mut select = connection.prepare(&sql)?;
            let rows = select.query_map(params_from_iter(conditions.values), |row| {
                let payload: Vec<u8> = row.get(7)?;
                let letter = DeadLetterRow {
                    topic: row.get(1)?,
                    partition: row.get(2)?,
                    offset: row.get(3)?,
                    reason: row.get(4)?,
                    detail: row.get(5)?,
                    at: Timestamp::saturating_from_micros(row.get(6)?),
                    payload: String::from_utf8_lossy(&payload).into_owned(),
                };
                Ok((Cursor { at: 0, row: row.get(0)? }, letter))
            })?;
            Ok(finish_page(rows.collect::<rusqlite::Result<_>>()?, limit))
        })
    }

    /// Number of dead letters kept.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn dead_letters_kept(&self) -> Result<u64, StoreError> {
        // Ids have no gaps, so the ends tell the number without a walk over the rows.
        let sql =
            "SELECT coalesce((SELECT max(id) FROM dead_letters) - (SELECT min(id) FROM dead_letters) + 1, 0)";
        self.read(|connection| Ok(count(connection.query_row(sql, [], |row| row.get(0))?)))
    }

    /// Where every known partition stands.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn positions(&self) -> Result<Vec<Position>, StoreError> {
        self.read(apply::positions)
    }

    /// Events counted since the store was made, for counters that go on where they stood.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn counters(&self) -> Result<Vec<Counter>, StoreError> {
        self.read(|connection| {
            let mut select =
                connection.prepare("SELECT topic, model, outcome, events FROM counters ORDER BY 1, 2, 3")?;
            let rows = select.query_map([], |row| {
                let events = count(row.get(3)?);
                Ok(Counter { topic: row.get(0)?, model: row.get(1)?, outcome: row.get(2)?, events })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// What is known of a model; nothing for one that has no windows and no incidents.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn model_activity(&self, model: &str) -> Result<ModelActivity, StoreError> {
        self.read(|connection| {
            let versions = versions(connection, model)?;
            let sql = "SELECT id FROM incidents WHERE model = ?1 AND status <> 'resolved'
                       ORDER BY opened_at DESC, number DESC LIMIT 1";
            let open_incident = connection.query_row(sql, params![model], |row| row.get(0)).optional()?;
            let newest_window_end = versions.first().map(|version| version.newest_window_end);
            Ok(ModelActivity { newest_window_end, versions, open_incident })
        })
    }
}

/// The versions of a model, the latest active first, at most [`PAGE_MAX`].
fn versions(connection: &Connection, model: &str) -> Result<Vec<VersionActivity>, Fault> {
    // With `max`, SQLite takes the other columns from the row that holds the largest.
    let mut select = connection.prepare(&format!(
        "SELECT version, baseline, max(end) AS newest FROM windows WHERE model = ?1
         GROUP BY version ORDER BY newest DESC, version LIMIT {PAGE_MAX}"
    ))?;
    let rows = select.query_map(params![model], |row| {
        let newest_window_end = Timestamp::saturating_from_micros(row.get(2)?);
        Ok(VersionActivity { version: row.get(0)?, baseline: row.get(1)?, newest_window_end })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

// === pages ===

/// The `WHERE` of a list, with its values.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    terms: Vec<String>,
    pub(super) values: Vec<Value>,
}

impl Conditions {
    /// What a filter of windows asks for; both tables of windows have these columns.
    pub(super) fn windows(&mut self, filter: &WindowFilter) {
        self.equals("model", Some(filter.model.clone()));
        self.equals("version", filter.version.clone());
        match &filter.segment {
            SegmentFilter::Any => {}
            SegmentFilter::Whole => self.add("segment IS NULL", []),
            SegmentFilter::One(segment) => self.equals("segment", Some(segment.clone())),
        }
        self.equals("length", filter.length.map(Span::as_micros));
        self.equals("alarm", filter.alarm.map(i64::from));
        if let Some(after) = filter.after {
            self.add("end > ?", [Value::from(after.as_micros())]);
        }
        if let Some(before) = filter.before {
            self.add("end < ?", [Value::from(before.as_micros())]);
        }
        self.after_cursor("end", "id", filter.cursor);
    }

    pub(super) fn add<const N: usize>(&mut self, term: &str, values: [Value; N]) {
        self.terms.push(term.to_owned());
        self.values.extend(values);
    }

    pub(super) fn equals(&mut self, column: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.add(&format!("{column} = ?"), [value.into()]);
        }
    }

    /// Rows after the cursor in an order that descends by `at`, then by `row`.
    pub(super) fn after_cursor(&mut self, at: &str, row: &str, cursor: Option<Cursor>) {
        if let Some(cursor) = cursor {
            self.add(&format!("({at}, {row}) < (?, ?)"), [Value::from(cursor.at), Value::from(cursor.row)]);
        }
    }

    pub(super) fn sql(&self) -> String {
        if self.terms.is_empty() { String::new() } else { format!("WHERE {}", self.terms.join(" AND ")) }
    }
}

/// Rows of a page for a wish: at least one, at most [`PAGE_MAX`].
pub(super) fn limit_of(wish: usize) -> usize {
    wish.clamp(1, PAGE_MAX)
}

/// A page from one row more than it may hold: that one only tells that there is a next page.
pub(super) fn finish_page<T>(mut rows: Vec<(Cursor, T)>, limit: usize) -> Page<T> {
    let is_last = rows.len() <= limit;
    rows.truncate(limit);
    let next = if is_last { None } else { rows.last().map(|(cursor, _)| *cursor) };
    Page { rows: rows.into_iter().map(|(_, row)| row).collect(), next }
}

/// A page of briefs; `columns` selects the time, the row's number and the brief.
fn briefs(
    connection: &Connection,
    columns: &str,
    order: &str,
    conditions: Conditions,
    limit: usize,
) -> Result<Page<Box<RawValue>>, Fault> {
    let limit = limit_of(limit);
    let sql = format!("SELECT {columns} {} ORDER BY {order} LIMIT {}", conditions.sql(), limit + 1);
    let mut select = connection.prepare(&sql)?;
    let mut rows = select.query(params_from_iter(conditions.values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((Cursor { at: row.get(0)?, row: row.get(1)? }, raw(row.get(2)?)?));
    }
    Ok(finish_page(found, limit))
}

fn document(
    connection: &Connection,
    sql: &str,
    values: &[&dyn rusqlite::ToSql],
) -> Result<Option<Box<RawValue>>, Fault> {
    let text: Option<String> = connection.query_row(sql, values, |row| row.get(0)).optional()?;
    text.map(raw).transpose()
}

fn raw(text: String) -> Result<Box<RawValue>, Fault> {
    Ok(RawValue::from_string(text)?)
}

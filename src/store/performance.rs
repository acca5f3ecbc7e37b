//! The performance of windows: every revision is kept, and questions are answered from the latest.
//!
//! A window gets a revision when more of its labels are known. A revision that is there already stays as
//! it is, so a commit that comes twice changes nothing. Documents are compressed: with segments and
//! revisions there are many, and they say much the same.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params, params_from_iter};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::apply::step_for;
use super::query::{Conditions, finish_page, limit_of};
use super::{Cursor, Fault, PAGE_MAX, Page, Store, StoreError, WindowFilter, WindowName, count, integer};
use crate::event::{Span, Timestamp};
use crate::incident::Incident;
use crate::monitor::{PerformanceWindow, WindowKey};

/// What is unpacked of a document at most: a guard against damage, for none is nearly as long.
const DOCUMENT_BYTES_MAX: u64 = 16 << 20;

/// What is read of a row, in this order.
const COLUMNS: &str = "end, id, model, version, segment, start, length, revision, latest, document";

/// What was known of a window's performance, as it was written.
#[derive(Debug, Clone, Serialize)]
pub struct PerformanceRow {
    /// The model.
    pub model: String,
    /// The model's version.
    pub version: Option<String>,
    /// The segment; `None` for all rows together.
    pub segment: Option<String>,
    /// Start of the window, inclusive.
    pub window_start: Timestamp,
    /// End of the window, exclusive.
    pub window_end: Timestamp,
    /// Its length.
    pub length: Span,
    /// Number of the revision, from 1.
    pub revision: u32,
    /// Whether it is the window's last so far.
    pub latest: bool,
    /// The watermark when it was made.
    pub at: Timestamp,
    /// Id of the baseline, in hex.
    pub baseline: String,
    /// Id of the configuration, in hex.
    pub config: String,
    /// What is known: a [`Reading`](crate::performance::Reading).
    pub reading: Box<RawValue>,
    /// What it means: a [`Verdict`](crate::verdict::Verdict); `None` until the window is judged.
    pub verdict: Option<Box<RawValue>>,
}

impl PerformanceRow {
    /// The row as the monitor made it.
    ///
    /// # Errors
    /// When the document is not one that this version reads.
    pub fn window(&self) -> serde_json::Result<PerformanceWindow> {
        let verdict = self.verdict.as_deref().map(|verdict| serde_json::from_str(verdict.get()));
        Ok(PerformanceWindow {
            key: WindowKey {
                model: self.model.clone(),
                version: self.version.clone(),
                segment: self.segment.clone(),
                start: self.window_start,
                length: self.length,
            },
            end: self.window_end,
            revision: self.revision,
            at: self.at,
            baseline: self.baseline.clone(),
            config: self.config.clone(),
            reading: serde_json::from_str(self.reading.get())?,
            verdict: verdict.transpose()?,
        })
    }

    /// The verdict without its tests; `None` until the window is judged.
    ///
    /// # Errors
    /// When the document is not one that this version reads.
    pub fn verdict_summary(&self) -> serde_json::Result<Option<VerdictSummary>> {
        self.verdict.as_deref().map(|verdict| serde_json::from_str(verdict.get())).transpose()
    }
}

/// What a list shows of a verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerdictSummary {
    /// Whether the window alarms.
    pub alarm: bool,
    /// Whether it counts towards resolving an incident.
    pub quiet: bool,
    /// Whether the false-alarm promise rests on reference windows.
    pub calibrated: bool,
    /// Why not, and what would change it.
    #[serde(default)]
    pub calibration_note: Option<String>,
    /// Its p-value.
    #[serde(default)]
    pub p_value: Option<f64>,
    /// What that is compared with.
    #[serde(default)]
    pub alpha: Option<f64>,
}

/// The newest windows of one length, of all rows together.
#[derive(Debug, Clone)]
pub struct NewestPerformance {
    /// Length of the windows.
    pub length: Span,
    /// The newest window; its labels may not be there yet.
    pub newest: PerformanceRow,
    /// The newest window with labels enough to say something, which may be the same.
    pub labelled: Option<PerformanceRow>,
}

/// What became of a model's predictions and labels since the store was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JoinedCount {
    /// The model.
    pub model: String,
    /// What became of them: a stable name.
    pub outcome: String,
    /// How many.
    pub n: u64,
}

// === written ===

/// Names a window in SQL; the values are those of [`window_values`].
const OF_WINDOW: &str = "model = ?1 AND start = ?2 AND length = ?3
    AND (version IS NULL) = ?4 AND coalesce(version, '') = ?5
    AND (segment IS NULL) = ?6 AND coalesce(segment, '') = ?7";

fn window_values(key: &WindowKey, revision: u32) -> [Value; 8] {
    [
        Value::from(key.model.clone()),
        Value::from(key.start.as_micros()),
        Value::from(key.length.as_micros()),
        Value::from(key.version.is_none()),
        Value::from(key.version.clone().unwrap_or_default()),
        Value::from(key.segment.is_none()),
        Value::from(key.segment.clone().unwrap_or_default()),
        Value::from(i64::from(revision)),
    ]
}

/// Appends revisions. One that is there already stays as it is; the highest of a window is its latest, in
/// whatever order they come. A window is judged once: revisions after that keep the verdict.
pub(super) fn write(transaction: &Transaction<'_>, windows: &[PerformanceWindow]) -> Result<(), Fault> {
    if windows.is_empty() {
        return Ok(());
    }
    let mut later = transaction
        .prepare(&format!("SELECT 1 FROM performance WHERE {OF_WINDOW} AND revision > ?8 LIMIT 1"))?;
    let mut unmark = transaction.prepare(&format!(
        "UPDATE performance SET latest = 0 WHERE {OF_WINDOW} AND revision < ?8 AND latest = 1"
    ))?;
    let mut append = transaction.prepare(
        "INSERT INTO performance
             (model, version, segment, start, end, length, revision, latest, at, alarm, maturity, labels,
              predictions, baseline, document)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) ON CONFLICT DO NOTHING",
    )?;
    let mut judged = transaction.prepare(&format!(
        "SELECT document FROM performance
         WHERE {OF_WINDOW} AND revision < ?8 AND latest = 1 AND alarm IS NOT NULL"
    ))?;
    for window in windows {
        let values = window_values(&window.key, window.revision);
        let is_latest = !later.exists(params_from_iter(&values))?;
        let earlier = if is_latest && window.verdict.is_none() {
            let document: Option<Vec<u8>> =
                judged.query_row(params_from_iter(&values), |row| row.get(0)).optional()?;
            document.map(|document| unpacked(&document)).transpose()?
        } else {
            None
        };
        // A document that this version cannot read has no verdict that it could pass on.
        let verdict = earlier.and_then(|text| serde_json::from_str::<PerformanceWindow>(&text).ok()?.verdict);
        let with_verdict =
            verdict.map(|verdict| PerformanceWindow { verdict: Some(verdict), ..window.clone() });
        let window = with_verdict.as_ref().unwrap_or(window);
        let (key, reading) = (&window.key, &window.reading);
        if is_latest {
            unmark.execute(params_from_iter(&values))?;
        }
        append.execute(params![
            key.model,
            key.version,
            key.segment,
            key.start.as_micros(),
            window.end.as_micros(),
            key.length.as_micros(),
            window.revision,
            is_latest,
            window.at.as_micros(),
            window.verdict.as_ref().map(|verdict| verdict.alarm),
            reading.maturity.name(),
            integer(reading.labels),
            integer(reading.predictions),
            window.baseline,
            packed(window)?,
        ])?;
    }
    Ok(())
}

/// Adds to the counts. Models are those of the configuration and outcomes a fixed few, so the rows are too.
pub(super) fn write_joined(
    transaction: &Transaction<'_>,
    joined: &[(String, &'static str, u64)],
) -> Result<(), Fault> {
    if joined.is_empty() {
        return Ok(());
    }
    let mut add = transaction.prepare(
        "INSERT INTO joined (model, outcome, n) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET n = n + excluded.n",
    )?;
    for (model, outcome, n) in joined {
        add.execute(params![model, outcome, integer(*n)])?;
    }
    Ok(())
}

/// Takes away revisions that were made before the history begins. One is made no earlier than its window
/// ends, so a window's performance is kept at least as long as the window.
pub(super) fn prune(
    transaction: &Transaction<'_>,
    windows: &[PerformanceWindow],
    history: Span,
) -> Result<(), Fault> {
    let mut models: Vec<&str> = windows.iter().map(|window| window.key.model.as_str()).collect();
    models.sort_unstable();
    models.dedup();
    for model in models {
        let newest = "SELECT max(at) FROM performance WHERE model = ?1";
        let newest: Option<i64> = transaction.query_row(newest, params![model], |row| row.get(0))?;
        let Some(newest) = newest else { continue };
        transaction.execute(
            "DELETE FROM performance WHERE id IN (
                 SELECT id FROM performance WHERE model = ?1 AND at < ?2 ORDER BY at LIMIT ?3)",
            params![model, newest.saturating_sub(history.as_micros()), step_for(windows.len())],
        )?;
    }
    Ok(())
}

// === asked ===

impl Store {
    /// The performance of windows as last revised, the newest end first.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn performance(&self, filter: &WindowFilter) -> Result<Page<PerformanceRow>, StoreError> {
        let mut conditions = Conditions::default();
        conditions.windows(filter);
        conditions.add("latest = 1", []);
        let limit = limit_of(filter.limit);
        self.read(|connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM performance {} ORDER BY end DESC, id DESC LIMIT {}",
                conditions.sql(),
                limit + 1
            );
            Ok(finish_page(rows(connection, &sql, &conditions.values)?, limit))
        })
    }

    /// Every revision of one window in order, the last [`PAGE_MAX`]; empty when there is none. Without a
    /// version, the window that was last revised is meant.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn performance_revisions(&self, name: &WindowName) -> Result<Vec<PerformanceRow>, StoreError> {
        let WindowName { model, start, length, version, segment } = name;
        self.read(|connection| {
            let sql = "SELECT version FROM performance WHERE model = ?1 AND start = ?2 AND length = ?3
                           AND (?4 IS NULL OR version = ?4) AND segment IS ?5
                       ORDER BY id DESC LIMIT 1";
            let values = params![model, start.as_micros(), length.as_micros(), version, segment];
            let found: Option<Option<String>> =
                connection.query_row(sql, values, |row| row.get(0)).optional()?;
            let Some(version) = found else { return Ok(Vec::new()) };
            let key = WindowKey {
                model: model.clone(),
                version,
                segment: segment.clone(),
                start: *start,
                length: *length,
            };
            let sql = format!(
                "SELECT {COLUMNS} FROM performance WHERE {OF_WINDOW} AND revision >= ?8
                 ORDER BY revision DESC LIMIT {PAGE_MAX}"
            );
            let mut revisions = rows(connection, &sql, &window_values(&key, 0))?;
            revisions.reverse();
            Ok(revisions.into_iter().map(|(_, row)| row).collect())
        })
    }

    /// The newest windows of each length, the shortest first, of all rows together; empty when nothing is
    /// known of the model's performance.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn newest_performance(&self, model: &str) -> Result<Vec<NewestPerformance>, StoreError> {
        self.read(|connection| {
            let mut select = connection.prepare(
                "SELECT DISTINCT length FROM performance
                 WHERE model = ?1 AND latest = 1 AND segment IS NULL ORDER BY length",
            )?;
            let lengths = select.query_map(params![model], |row| row.get(0))?;
            let lengths = lengths.collect::<rusqlite::Result<Vec<i64>>>()?;
            let mut found = Vec::new();
            for length in lengths {
                let Some(newest) = newest_of(connection, model, length, "")? else { continue };
                let labelled = newest_of(connection, model, length, "AND maturity <> 'waiting'")?;
                found.push(NewestPerformance { length: Span::from_micros(length), newest, labelled });
            }
            Ok(found)
        })
    }

    /// What became of predictions and labels, of one model or of all.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn joined(&self, model: Option<&str>) -> Result<Vec<JoinedCount>, StoreError> {
        self.read(|connection| {
            let mut select = connection.prepare(
                "SELECT model, outcome, n FROM joined WHERE ?1 IS NULL OR model = ?1 ORDER BY model, outcome",
            )?;
            let rows = select.query_map(params![model], |row| {
                Ok(JoinedCount { model: row.get(0)?, outcome: row.get(1)?, n: count(row.get(2)?) })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The incidents of a model as of their last transition, the latest opened first, at most `limit` and
    /// [`PAGE_MAX`]: those that are open, and those that were resolved after `since`.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn incidents_since(
        &self,
        model: &str,
        since: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<Incident>, StoreError> {
        let limit = i64::try_from(limit_of(limit)).unwrap_or(i64::MAX);
        self.read(|connection| {
            let mut select = connection.prepare(
                "SELECT document FROM incidents
                 WHERE model = ?1 AND (status <> 'resolved' OR ?2 IS NULL OR resolved_at > ?2)
                 ORDER BY opened_at DESC, number DESC LIMIT ?3",
            )?;
            let mut rows = select.query(params![model, since.map(Timestamp::as_micros), limit])?;
            let mut incidents = Vec::new();
            while let Some(row) = rows.next()? {
                incidents.push(serde_json::from_str(row.get_ref(0)?.as_str()?)?);
            }
            Ok(incidents)
        })
    }
}

fn newest_of(
    connection: &Connection,
    model: &str,
    length: i64,
    condition: &str,
) -> Result<Option<PerformanceRow>, Fault> {
    let sql = format!(
        "SELECT {COLUMNS} FROM performance
         WHERE model = ?1 AND length = ?2 AND latest = 1 AND segment IS NULL {condition}
         ORDER BY end DESC, id DESC LIMIT 1"
    );
    let values = [Value::from(model.to_owned()), Value::from(length)];
    Ok(rows(connection, &sql, &values)?.pop().map(|(_, row)| row))
}

fn rows(
    connection: &Connection,
    sql: &str,
    values: &[Value],
) -> Result<Vec<(Cursor, PerformanceRow)>, Fault> {
    let mut select = connection.prepare(sql)?;
    let mut rows = select.query(params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((Cursor { at: row.get(0)?, row: row.get(1)? }, performance_row(row)?));
    }
    Ok(found)
}

/// What is not in the columns, as the document has it.
#[derive(Deserialize)]
struct Document {
    at: Timestamp,
    baseline: String,
    config: String,
    reading: Box<RawValue>,
    verdict: Option<Box<RawValue>>,
}

fn performance_row(row: &Row<'_>) -> Result<PerformanceRow, Fault> {
    let document: Document = serde_json::from_str(&unpacked(row.get_ref(9)?.as_blob()?)?)?;
    Ok(PerformanceRow {
        model: row.get(2)?,
        version: row.get(3)?,
        segment: row.get(4)?,
        window_start: Timestamp::saturating_from_micros(row.get(5)?),
        window_end: Timestamp::saturating_from_micros(row.get(0)?),
        length: Span::from_micros(row.get(6)?),
        revision: row.get(7)?,
        latest: row.get(8)?,
        at: document.at,
        baseline: document.baseline,
        config: document.config,
        reading: document.reading,
        verdict: document.verdict,
    })
}

// === documents ===

fn packed(window: &PerformanceWindow) -> Result<Vec<u8>, Fault> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&serde_json::to_vec(window)?)?;
    Ok(encoder.finish()?)
}

fn unpacked(bytes: &[u8]) -> Result<String, Fault> {
    let mut text = String::new();
    ZlibDecoder::new(bytes).take(DOCUMENT_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

//! A commit becomes rows, and rows become what a monitor starts from.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::Serialize;
use xxhash_rust::xxh3::Xxh3;

use super::brief::{incident_brief, window_brief};
use super::{Fault, Options, head, integer, performance};
use crate::event::{Origin, Span, Timestamp};
use crate::incident::{Incident, Notification};
use crate::monitor::{
    ClosedWindow, Commit, DeadLetter, LearnedWindow, PaneKey, PaneWrite, Position, Restored,
};

/// Rows that history takes away in one commit, at least; more when more were added.
const PRUNE_STEP: usize = 64;

/// Different counters kept. A label that comes from records could otherwise fill the disk.
const COUNTERS_MAX: i64 = 10_000;

/// The model under which events count once there are [`COUNTERS_MAX`] counters.
const OTHER_MODEL: &str = "other";

/// Bytes kept of a dead letter's record and of its detail.
const PAYLOAD_BYTES_MAX: usize = 1_024;

pub(super) fn apply(
    transaction: &Transaction<'_>,
    commit: &Commit,
    now: Timestamp,
    options: &Options,
) -> Result<(), Fault> {
    write_positions(transaction, &commit.positions)?;
    write_panes(transaction, PaneTable::Rows, &commit.panes)?;
    drop_panes(transaction, PaneTable::Rows, &commit.panes_dropped)?;
    write_panes(transaction, PaneTable::Outcomes, &commit.outcome_panes)?;
    drop_panes(transaction, PaneTable::Outcomes, &commit.outcome_panes_dropped)?;
    write_windows(transaction, &commit.windows)?;
    write_learned(transaction, &commit.learned)?;
    performance::write(transaction, &commit.performance)?;
    performance::write_joined(transaction, &commit.joined)?;
    write_incidents(transaction, &commit.transitions)?;
    write_outbox(transaction, &commit.outbox, now)?;
    write_dead_letters(transaction, &commit.dead_letters, options.dead_letters_max)?;
    write_counters(transaction, &commit.counted)?;
    if let Some(state) = &commit.state {
        let sql = "INSERT OR REPLACE INTO monitor_state (id, checksum, state) VALUES (1, ?1, ?2)";
        transaction.execute(sql, params![checksum(&[state]), state])?;
    }
    performance::prune(transaction, &commit.performance, options.history)?;
    prune(transaction, commit, now, options.history)
}

fn write_positions(transaction: &Transaction<'_>, positions: &[Position]) -> Result<(), Fault> {
    let mut upsert = transaction.prepare(
        "INSERT INTO positions (topic, partition, next_offset) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset",
    )?;
    for Position { origin, next_offset } in positions {
        upsert.execute(params![&*origin.topic, origin.partition, next_offset])?;
    }
    Ok(())
}

// === panes ===

/// What open panes count; each has a table of the same shape.
#[derive(Debug, Clone, Copy)]
enum PaneTable {
    /// Rows as they came.
    Rows,
    /// What came true of them.
    Outcomes,
}

impl PaneTable {
    fn name(self) -> &'static str {
        match self {
            Self::Rows => "panes",
            Self::Outcomes => "outcome_panes",
        }
    }

    fn counts(self) -> &'static str {
        match self {
            Self::Rows => "counts",
            Self::Outcomes => "counts of outcomes",
        }
    }
}

fn write_panes(transaction: &Transaction<'_>, table: PaneTable, panes: &[PaneWrite]) -> Result<(), Fault> {
    if panes.is_empty() {
        return Ok(());
    }
    let mut upsert = transaction.prepare(&format!(
        "INSERT INTO {} (model, version, segment, start, baseline, checksum, summary)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT DO UPDATE SET
             baseline = excluded.baseline, checksum = excluded.checksum, summary = excluded.summary",
        table.name()
    ))?;
    for PaneWrite { key, baseline, summary } in panes {
        let checksum = checksum(&[baseline.as_bytes(), summary]);
        let start = key.start.as_micros();
        upsert.execute(params![key.model, key.version, key.segment, start, baseline, checksum, summary])?;
    }
    Ok(())
}

fn drop_panes(transaction: &Transaction<'_>, table: PaneTable, keys: &[PaneKey]) -> Result<(), Fault> {
    if keys.is_empty() {
        return Ok(());
    }
    let mut delete = transaction.prepare(&format!(
        "DELETE FROM {} WHERE model = ?1 AND start = ?2
             AND (version IS NULL) = ?3 AND coalesce(version, '') = ?4
             AND (segment IS NULL) = ?5 AND coalesce(segment, '') = ?6",
        table.name()
    ))?;
    for PaneKey { model, version, segment, start } in keys {
        let (version, segment) = (version.as_deref(), segment.as_deref());
        delete.execute(params![
            model,
            start.as_micros(),
            version.is_none(),
            version.unwrap_or_default(),
            segment.is_none(),
            segment.unwrap_or_default(),
        ])?;
    }
    Ok(())
}

/// A guard against damage that leaves the file's structure whole. Each part is preceded by its length.
fn checksum(parts: &[&[u8]]) -> i64 {
    let mut hash = Xxh3::new();
    for part in parts {
        hash.update(&integer(part.len().try_into().unwrap_or(u64::MAX)).to_le_bytes());
        hash.update(part);
    }
    i64::from_le_bytes(hash.digest().to_le_bytes())
}

// === windows ===

fn write_windows(transaction: &Transaction<'_>, windows: &[ClosedWindow]) -> Result<(), Fault> {
    let mut upsert = transaction.prepare(
        "INSERT INTO windows
             (model, version, segment, start, end, length, alarm, n, baseline, brief, document)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT DO UPDATE SET
             end = excluded.end, alarm = excluded.alarm, n = excluded.n, baseline = excluded.baseline,
             brief = excluded.brief, document = excluded.document",
    )?;
    for window in windows {
        let key = &window.key;
        upsert.execute(params![
            key.model,
            key.version,
            key.segment,
            key.start.as_micros(),
            window.end.as_micros(),
            key.length.as_micros(),
            window.verdict.alarm,
            integer(window.verdict.n),
            window.baseline,
            window_brief(window)?,
            serde_json::to_string(window)?,
        ])?;
    }
    Ok(())
}

/// A version's windows that were compared with another baseline make room for those of the present one.
fn write_learned(transaction: &Transaction<'_>, learned: &[LearnedWindow]) -> Result<(), Fault> {
    let mut forget = transaction.prepare(
        "DELETE FROM learned_windows
         WHERE model = ?1 AND (version IS NULL) = ?2 AND coalesce(version, '') = ?3 AND baseline <> ?4",
    )?;
    let mut insert = transaction.prepare(
        "INSERT OR REPLACE INTO learned_windows
             (model, version, baseline, length, start, end, checksum, document)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for LearnedWindow { model, version, baseline, length, window } in learned {
        forget.execute(params![
            model,
            version.is_none(),
            version.as_deref().unwrap_or_default(),
            baseline
        ])?;
        let document = serde_json::to_string(window)?;
        let checksum = checksum(&[baseline.as_bytes(), document.as_bytes()]);
        let (start, end) = (window.start.as_micros(), window.end.as_micros());
        let length = length.as_micros();
        insert.execute(params![model, version, baseline, length, start, end, checksum, document])?;
    }
    Ok(())
}

// === incidents ===

/// The stable snake_case name of a variant, as documents write it.
fn name_of(variant: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_value(variant).map(|value| value.as_str().map(str::to_owned).unwrap_or_default())
}

/// The incident first, for the transition refers to it. A transition that is there already stays as it
/// is, and an incident never goes back to an earlier transition.
fn write_incidents(transaction: &Transaction<'_>, transitions: &[Incident]) -> Result<(), Fault> {
    let mut upsert = transaction.prepare(
        "INSERT INTO incidents
             (id, model, status, sequence, opened_at, updated_at, resolved_at, brief, document)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (id) DO UPDATE SET
             status = excluded.status, sequence = excluded.sequence, updated_at = excluded.updated_at,
             resolved_at = excluded.resolved_at, brief = excluded.brief, document = excluded.document
         WHERE excluded.sequence > incidents.sequence",
    )?;
    let mut append = transaction.prepare(
        "INSERT INTO transitions (incident_id, sequence, status, at, brief, document)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
    )?;
    for incident in transitions {
        let (status, document) = (name_of(&incident.status)?, serde_json::to_string(incident)?);
        let Incident { id, model, sequence, .. } = incident;
        let brief = incident_brief(incident)?;
        let [opened_at, updated_at] = [incident.opened_at, incident.updated_at].map(Timestamp::as_micros);
        let resolved_at = incident.resolved_at.map(Timestamp::as_micros);
        upsert.execute(params![
            id,
            model,
            status,
            sequence,
            opened_at,
            updated_at,
            resolved_at,
            brief,
            document
        ])?;
        append.execute(params![id, sequence, status, updated_at, brief, document])?;
    }
    Ok(())
}

fn write_outbox(
    transaction: &Transaction<'_>,
    notifications: &[Notification],
    now: Timestamp,
) -> Result<(), Fault> {
    let mut insert = transaction.prepare(
        "INSERT INTO outbox
             (id, channel, incident_id, sequence, kind, status, created_at, next_attempt_at, document)
         VALUES (?1, ?2, ?3, ?4, ?5, 'waiting', ?6, ?6, ?7) ON CONFLICT (id) DO NOTHING",
    )?;
    for notification in notifications {
        insert.execute(params![
            notification.id,
            notification.channel,
            notification.incident.id,
            notification.incident.sequence,
            name_of(&notification.kind)?,
            now.as_micros(),
            serde_json::to_string(notification)?,
        ])?;
    }
    Ok(())
}

// === dead letters and counters ===

fn write_dead_letters(transaction: &Transaction<'_>, letters: &[DeadLetter], max: u64) -> Result<(), Fault> {
    if letters.is_empty() {
        return Ok(());
    }
    let mut insert = transaction.prepare(
        "INSERT INTO dead_letters (topic, partition, \"offset\", reason, detail, at, payload)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let kept = usize::try_from(max).unwrap_or(usize::MAX);
    for letter in letters.iter().skip(letters.len().saturating_sub(kept)) {
        insert.execute(params![
            &*letter.origin.topic,
            letter.origin.partition,
            letter.offset,
            letter.reason.name(),
            head(&letter.detail, PAYLOAD_BYTES_MAX),
            letter.at.as_micros(),
            letter.payload.get(..PAYLOAD_BYTES_MAX).unwrap_or(&letter.payload),
        ])?;
    }
    let trim = "DELETE FROM dead_letters WHERE id <= (SELECT max(id) FROM dead_letters) - ?1";
    transaction.execute(trim, params![integer(max)])?;
    Ok(())
}

fn write_counters(
    transaction: &Transaction<'_>,
    counted: &[(String, String, &'static str, u64)],
) -> Result<(), Fault> {
    let mut add = transaction.prepare(
        "UPDATE counters SET events = events + ?4 WHERE topic = ?1 AND model = ?2 AND outcome = ?3",
    )?;
    let mut insert = transaction.prepare(
        "INSERT INTO counters (topic, model, outcome, events) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET events = events + excluded.events",
    )?;
    for (topic, model, outcome, events) in counted {
        let events = integer(*events);
        if add.execute(params![topic, model, outcome, events])? > 0 {
            continue;
        }
        let counters: i64 = transaction.query_row("SELECT count(*) FROM counters", [], |row| row.get(0))?;
        let model = if counters < COUNTERS_MAX { model.as_str() } else { OTHER_MODEL };
        insert.execute(params![topic, model, outcome, events])?;
    }
    Ok(())
}

// === history ===

/// Takes away what is older than the history, a few rows at a time but never fewer than were added.
fn prune(transaction: &Transaction<'_>, commit: &Commit, now: Timestamp, history: Span) -> Result<(), Fault> {
    let mut models: Vec<&str> = commit.windows.iter().map(|window| window.key.model.as_str()).collect();
    models.sort_unstable();
    models.dedup();
    let step = step_for(commit.windows.len());
    for model in models {
        let newest = "SELECT end FROM windows WHERE model = ?1 ORDER BY end DESC LIMIT 1";
        let newest: Option<i64> =
            transaction.query_row(newest, params![model], |row| row.get(0)).optional()?;
        let Some(newest) = newest else { continue };
        let oldest_kept = newest.saturating_sub(history.as_micros());
        transaction.execute(
            "DELETE FROM windows WHERE id IN (
                 SELECT id FROM windows WHERE model = ?1 AND end < ?2 ORDER BY end LIMIT ?3)",
            params![model, oldest_kept, step],
        )?;
        transaction.execute(
            "DELETE FROM incidents WHERE number IN (
                 SELECT number FROM incidents
                 WHERE model = ?1 AND status = 'resolved' AND updated_at < ?2 LIMIT ?3)",
            params![model, oldest_kept, step],
        )?;
    }
    transaction.execute(
        "DELETE FROM outbox WHERE seq IN (
             SELECT seq FROM outbox WHERE status <> 'waiting' AND ended_at < ?1 ORDER BY ended_at LIMIT ?2)",
        params![(now - history).as_micros(), step_for(commit.outbox.len())],
    )?;
    Ok(())
}

pub(super) fn step_for(added: usize) -> i64 {
    i64::try_from(added.saturating_mul(2).max(PRUNE_STEP)).unwrap_or(i64::MAX)
}

// === start ===

/// Everything as of one moment; the inner error says what is damaged.
pub(super) fn restore(connection: &Connection) -> Result<Result<Restored, String>, Fault> {
    let positions = positions(connection)?;
    let panes = match stored_panes(connection, PaneTable::Rows)? {
        Ok(panes) => panes,
        Err(damage) => return Ok(Err(damage)),
    };
    let outcome_panes = match stored_panes(connection, PaneTable::Outcomes)? {
        Ok(panes) => panes,
        Err(damage) => return Ok(Err(damage)),
    };
    let state: Option<(Vec<u8>, i64)> = connection
        .query_row("SELECT state, checksum FROM monitor_state", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if state.as_ref().is_some_and(|(state, written)| checksum(&[state]) != *written) {
        return Ok(Err("the monitor's state is not what was written".to_owned()));
    }
    let learned = match learned(connection)? {
        Ok(learned) => learned,
        Err(damage) => return Ok(Err(damage)),
    };
    Ok(Ok(Restored { positions, panes, learned, outcome_panes, state: state.map(|(state, _)| state) }))
}

fn stored_panes(connection: &Connection, table: PaneTable) -> Result<Result<Vec<PaneWrite>, String>, Fault> {
    let mut select = connection.prepare(&format!(
        "SELECT model, version, segment, start, baseline, summary, checksum FROM {}
         ORDER BY model, version, segment, start",
        table.name()
    ))?;
    let mut rows = select.query([])?;
    let mut panes = Vec::new();
    while let Some(row) = rows.next()? {
        let key = PaneKey {
            model: row.get(0)?,
            version: row.get(1)?,
            segment: row.get(2)?,
            start: Timestamp::saturating_from_micros(row.get(3)?),
        };
        let pane = PaneWrite { key, baseline: row.get(4)?, summary: row.get(5)? };
        if checksum(&[pane.baseline.as_bytes(), &pane.summary]) != row.get::<_, i64>(6)? {
            let (PaneKey { model, start, .. }, counts) = (&pane.key, table.counts());
            return Ok(Err(format!("the {counts} of model {model} at {start} are not what was written")));
        }
        panes.push(pane);
    }
    Ok(Ok(panes))
}

fn learned(connection: &Connection) -> Result<Result<Vec<LearnedWindow>, String>, Fault> {
    let mut select = connection.prepare(
        "SELECT model, version, baseline, length, document, checksum FROM learned_windows
         ORDER BY end, length, id",
    )?;
    let mut rows = select.query([])?;
    let mut learned = Vec::new();
    while let Some(row) = rows.next()? {
        let (model, baseline, document): (String, String, String) = (row.get(0)?, row.get(2)?, row.get(4)?);
        let sound = checksum(&[baseline.as_bytes(), document.as_bytes()]) == row.get::<_, i64>(5)?;
        let Some(window) = sound.then(|| serde_json::from_str(&document).ok()).flatten() else {
            return Ok(Err(format!("a learned window of model {model} is not what was written")));
        };
        let length = Span::from_micros(row.get(3)?);
        learned.push(LearnedWindow { model, version: row.get(1)?, baseline, length, window });
    }
    Ok(Ok(learned))
}

pub(super) fn positions(connection: &Connection) -> Result<Vec<Position>, Fault> {
    let mut select =
        connection.prepare("SELECT topic, partition, next_offset FROM positions ORDER BY 1, 2")?;
    let rows = select.query_map([], |row| {
        let origin = Origin { topic: row.get::<_, String>(0)?.into(), partition: row.get(1)? };
        Ok(Position { origin, next_offset: row.get(2)? })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

//! The outbox of the delivery workers: rows that wait, and what came of them.
//!
//! A row waits until it is delivered or dead; each incident's rows of a channel leave in the order they
//! were put in, because only the first of them is ever given out.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};
use serde::Serialize;

use super::query::{Conditions, Cursor, Page, finish_page, limit_of};
use super::{Fault, Store, StoreError, count, head};
use crate::event::Timestamp;
use crate::notify::{Outbox, OutboxError, Waiting};

/// Bytes kept of a reason.
const REASON_BYTES_MAX: usize = 1_024;

/// How a channel's deliveries stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChannelStats {
    /// The channel.
    pub channel: String,
    /// Notifications that wait.
    pub waiting: u64,
    /// When the oldest of them was put in, by the wall clock.
    pub oldest_waiting: Option<Timestamp>,
    /// Notifications that were delivered, within the history.
    pub delivered: u64,
    /// Notifications that were given up, within the history.
    pub dead: u64,
}

/// A row of the outbox without its message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutboxRow {
    /// The notification's id: the receiver's idempotency key.
    pub id: String,
    /// What it tells.
    pub kind: String,
    /// The channel.
    pub channel: String,
    /// The incident it tells of.
    pub incident: String,
    /// The incident's transition it tells of.
    pub sequence: i64,
    /// `waiting`, `delivered` or `dead`.
    pub status: String,
    /// Attempts made.
    pub attempts: i64,
    /// When it was put in, by the wall clock.
    pub created_at: Timestamp,
    /// Not before this is it tried again; `None` when it ended.
    pub next_attempt_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// Which rows of the outbox are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboxFilter {
    /// Of this channel only.
    pub channel: Option<String>,
    /// `waiting`, `delivered` or `dead` only.
    pub status: Option<String>,
    /// Where the last page ended.
    pub cursor: Option<Cursor>,
    /// Rows wanted.
    pub limit: usize,
}

impl Store {
    /// How each channel that ever had a notification stands, by name.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn outbox_stats(&self) -> Result<Vec<ChannelStats>, StoreError> {
        self.read_outbox(|connection| {
            let mut select = connection.prepare(
                "SELECT channel, sum(status = 'waiting'), min(iif(status = 'waiting', created_at, NULL)),
                        sum(status = 'delivered'), sum(status = 'dead')
                 FROM outbox GROUP BY channel ORDER BY channel",
            )?;
            let rows = select.query_map([], |row| {
                Ok(ChannelStats {
                    channel: row.get(0)?,
                    waiting: count(row.get(1)?),
                    oldest_waiting: row.get::<_, Option<i64>>(2)?.map(Timestamp::saturating_from_micros),
                    delivered: count(row.get(3)?),
                    dead: count(row.get(4)?),
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Rows of the outbox, the newest first.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn outbox_rows(&self, filter: &OutboxFilter) -> Result<Page<OutboxRow>, StoreError> {
        self.read(|connection| {
            let mut conditions = Conditions::default();
            conditions.equals("channel", filter.channel.clone());
            conditions.equals("status", filter.status.clone());
            if let Some(cursor) = filter.cursor {
                conditions.add("seq < ?", [Value::from(cursor.row)]);
            }
            let limit = limit_of(filter.limit);
            let sql = format!("{SELECT_ROWS} {} ORDER BY seq DESC LIMIT {}", conditions.sql(), limit + 1);
            let mut select = connection.prepare(&sql)?;
            let rows = select.query_map(params_from_iter(conditions.values), |row| {
                let seq: i64 = row.get(11)?;
                Ok((Cursor { at: 0, row: seq }, outbox_row(row)?))
            })?;
            Ok(finish_page(rows.collect::<rusqlite::Result<_>>()?, limit))
        })
    }

    /// Ends or postpones a row that waits. A row that ended stays as it is: an answer that comes twice
    /// changes nothing.
    fn settle(&self, id: &str, sql: &str, values: &[&dyn rusqlite::ToSql]) -> Result<(), OutboxError> {
        let known = self.write(|transaction| {
            if transaction.execute(sql, values)? > 0 {
                return Ok(true);
            }
            let find = "SELECT EXISTS (SELECT 1 FROM outbox WHERE id = ?1)";
            Ok(transaction.query_row(find, params![id], |row| row.get(0))?)
        });
        match known {
            Ok(true) => Ok(()),
            Ok(false) => Err(outbox_error(StoreError::UnknownNotification { id: id.to_owned() })),
            Err(error) => Err(outbox_error(error)),
        }
    }
}

const SELECT_ROWS: &str = "SELECT id, kind, channel, incident_id, sequence, status, attempts, created_at,
     next_attempt_at, ended_at, last_error, seq FROM outbox";

fn outbox_row(row: &Row<'_>) -> rusqlite::Result<OutboxRow> {
    let time = |micros: i64| Timestamp::saturating_from_micros(micros);
    let status: String = row.get(5)?;
    let is_waiting = status == "waiting";
    Ok(OutboxRow {
        id: row.get(0)?,
        kind: row.get(1)?,
        channel: row.get(2)?,
        incident: row.get(3)?,
        sequence: row.get(4)?,
        status,
        attempts: row.get(6)?,
        created_at: time(row.get(7)?),
        next_attempt_at: Some(time(row.get(8)?)).filter(|_| is_waiting),
        ended_at: row.get::<_, Option<i64>>(9)?.map(time),
        last_error: row.get(10)?,
    })
}

/// The first `max` deliveries of an incident, in the order they were put in.
pub(super) fn deliveries(
    connection: &Connection,
    incident: &str,
    max: usize,
) -> Result<Vec<OutboxRow>, Fault> {
    let sql = format!("{SELECT_ROWS} WHERE incident_id = ?1 ORDER BY seq DESC LIMIT {max}");
    let mut select = connection.prepare(&sql)?;
    let rows = select.query_map(params![incident], outbox_row)?;
    let mut newest_first = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    newest_first.reverse();
    Ok(newest_first)
}

fn outbox_error(error: StoreError) -> OutboxError {
    OutboxError(Box::new(error))
}

/// A waiting row as it is stored: id, message, attempts, when it was put in.
type Stored = (String, String, u32, i64);

/// The first waiting row of each incident that is due.
fn due_rows(
    connection: &Connection,
    channel: &str,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Stored>, Fault> {
    let mut select = connection.prepare(
        "SELECT id, document, attempts, created_at FROM outbox
         WHERE seq IN (
             SELECT min(seq) FROM outbox WHERE channel = ?1 AND status = 'waiting' GROUP BY incident_id)
             AND next_attempt_at <= ?2
         ORDER BY seq LIMIT ?3",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = select.query_map(params![channel, now.as_micros(), limit], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

impl Outbox for Store {
    /// A message that cannot be read any more becomes a dead letter, for it would hold up its incident
    /// for ever.
    fn due(&self, channel: &str, now: Timestamp, limit: usize) -> Result<Vec<Waiting>, OutboxError> {
        let rows = self.read_outbox(|connection| due_rows(connection, channel, now, limit));
        let mut waiting = Vec::new();
        for (id, document, attempts, created_at) in rows.map_err(outbox_error)? {
            match serde_json::from_str(&document) {
                Ok(notification) => {
                    let created_at = Timestamp::saturating_from_micros(created_at);
                    waiting.push(Waiting { notification, attempts, created_at });
                }
                Err(error) => self.dead(&id, now, &format!("the stored message cannot be read: {error}"))?,
            }
        }
        Ok(waiting)
    }

    fn next_due(&self, channel: &str) -> Result<Option<Timestamp>, OutboxError> {
        let earliest = self.read_outbox(|connection| {
            let sql = "SELECT min(next_attempt_at) FROM outbox WHERE seq IN (
                SELECT min(seq) FROM outbox WHERE channel = ?1 AND status = 'waiting' GROUP BY incident_id)";
            Ok(connection.query_row(sql, params![channel], |row| row.get::<_, Option<i64>>(0))?)
        });
        Ok(earliest.map_err(outbox_error)?.map(Timestamp::saturating_from_micros))
    }

    fn delivered(&self, id: &str, now: Timestamp) -> Result<(), OutboxError> {
        let sql = "UPDATE outbox SET status = 'delivered', ended_at = ?2, attempts = attempts + 1
                   WHERE id = ?1 AND status = 'waiting'";
        self.settle(id, sql, params![id, now.as_micros()])
    }

    fn retry(&self, id: &str, not_before: Timestamp, reason: &str) -> Result<(), OutboxError> {
        let sql = "UPDATE outbox SET next_attempt_at = ?2, last_error = ?3, attempts = attempts + 1
                   WHERE id = ?1 AND status = 'waiting'";
        self.settle(id, sql, params![id, not_before.as_micros(), head(reason, REASON_BYTES_MAX)])
    }

    fn dead(&self, id: &str, now: Timestamp, reason: &str) -> Result<(), OutboxError> {
        let sql = "UPDATE outbox SET status = 'dead', ended_at = ?2, last_error = ?3, attempts = attempts + 1
                   WHERE id = ?1 AND status = 'waiting'";
        self.settle(id, sql, params![id, now.as_micros(), head(reason, REASON_BYTES_MAX)])
    }
}

//! The tables, as a list of steps from each format to the next.
//!
//! Times are microseconds since the epoch. An absent version or segment is NULL, so unique keys are made
//! over (`is it absent`, `value or ''`). Documents are JSON as the API shows them; a `brief` is the same
//! without the tests of every column.

/// Marks the file as ours in its header: `drif` in ASCII.
pub(super) const APPLICATION_ID: i64 = 0x6472_6966;

/// Steps from format `i` to `i + 1`; the file's `user_version` says how many it has had.
pub(super) const MIGRATIONS: &[&str] = &[FIRST, SECOND, THIRD];

const FIRST: &str = "
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Offsets of the first records that are not counted yet.
CREATE TABLE positions (
    topic       TEXT    NOT NULL,
    partition   INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)
) STRICT, WITHOUT ROWID;

-- Counts of event time that an open window still needs.
CREATE TABLE panes (
    id       INTEGER PRIMARY KEY,
    model    TEXT    NOT NULL,
    version  TEXT,
    segment  TEXT,
    start    INTEGER NOT NULL,
    baseline TEXT    NOT NULL,
    checksum INTEGER NOT NULL,
    summary  BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX panes_key ON panes
    (model, start, (version IS NULL), coalesce(version, ''), (segment IS NULL), coalesce(segment, ''));

-- The rest of the monitor's state: one row.
CREATE TABLE monitor_state (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    checksum INTEGER NOT NULL,
    state    BLOB    NOT NULL
) STRICT;

CREATE TABLE windows (
    id       INTEGER PRIMARY KEY,
    model    TEXT    NOT NULL,
    version  TEXT,
    segment  TEXT,
    start    INTEGER NOT NULL,
    end      INTEGER NOT NULL,
    length   INTEGER NOT NULL,
    alarm    INTEGER NOT NULL,
    n        INTEGER NOT NULL,
    baseline TEXT    NOT NULL,
    brief    TEXT    NOT NULL,
    document TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX windows_key ON windows
    (model, start, length, (version IS NULL), coalesce(version, ''), (segment IS NULL), coalesce(segment, ''));
CREATE INDEX windows_by_end ON windows (model, end, id, length, segment, version, alarm);
CREATE INDEX windows_by_version ON windows (model, version, end, baseline);

-- Each incident as of its last transition.
CREATE TABLE incidents (
    number      INTEGER PRIMARY KEY,
    id          TEXT    NOT NULL UNIQUE,
    model       TEXT    NOT NULL,
    status      TEXT    NOT NULL,
    sequence    INTEGER NOT NULL,
    opened_at   INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    resolved_at INTEGER,
    brief       TEXT    NOT NULL,
    document    TEXT    NOT NULL
) STRICT;
CREATE INDEX incidents_by_time ON incidents (opened_at, number, model, status);
CREATE INDEX incidents_by_model ON incidents (model, status, updated_at);

CREATE TABLE transitions (
    incident_id TEXT    NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
    sequence    INTEGER NOT NULL,
    status      TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    brief       TEXT    NOT NULL,
    document    TEXT    NOT NULL,
    PRIMARY KEY (incident_id, sequence)
) STRICT;

-- Notifications: waiting, delivered or dead. `seq` is the order they were put in.
CREATE TABLE outbox (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    id              TEXT    NOT NULL UNIQUE,
    channel         TEXT    NOT NULL,
    incident_id     TEXT    NOT NULL,
    sequence        INTEGER NOT NULL,
    kind            TEXT    NOT NULL,
    status          TEXT    NOT NULL CHECK (status IN ('waiting', 'delivered', 'dead')),
    attempts        INTEGER NOT NULL DEFAULT 0,
    created_at      INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL,
    ended_at        INTEGER,
    last_error      TEXT,
    document        TEXT    NOT NULL
) STRICT;
CREATE INDEX outbox_waiting ON outbox (channel, incident_id, seq) WHERE status = 'waiting';
CREATE INDEX outbox_ended ON outbox (ended_at) WHERE status <> 'waiting';
CREATE INDEX outbox_by_incident ON outbox (incident_id, seq);
CREATE INDEX outbox_by_status ON outbox (channel, status, created_at);

-- Records that reached no window. Rows leave only at the old end, so ids have no gaps.
CREATE TABLE dead_letters (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    topic     TEXT    NOT NULL,
    partition INTEGER NOT NULL,
    \"offset\"  INTEGER NOT NULL,
    reason    TEXT    NOT NULL,
    detail    TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    payload   BLOB    NOT NULL
) STRICT;

-- Events since the store was made.
CREATE TABLE counters (
    topic   TEXT    NOT NULL,
    model   TEXT    NOT NULL,
    outcome TEXT    NOT NULL,
    events  INTEGER NOT NULL,
    PRIMARY KEY (topic, model, outcome)
) STRICT, WITHOUT ROWID;
";

const SECOND: &str = "
-- Windows from which it is learned what is usual for a version; the document is their evidence.
CREATE TABLE learned_windows (
    id       INTEGER PRIMARY KEY,
    model    TEXT    NOT NULL,
    version  TEXT,
    baseline TEXT    NOT NULL,
    length   INTEGER NOT NULL,
    start    INTEGER NOT NULL,
    end      INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    document TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX learned_windows_key ON learned_windows
    (model, (version IS NULL), coalesce(version, ''), length, start);
";

const THIRD: &str = "
-- Counts of what came true, of event time that labels can still reach.
CREATE TABLE outcome_panes (
    id       INTEGER PRIMARY KEY,
    model    TEXT    NOT NULL,
    version  TEXT,
    segment  TEXT,
    start    INTEGER NOT NULL,
    baseline TEXT    NOT NULL,
    checksum INTEGER NOT NULL,
    summary  BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX outcome_panes_key ON outcome_panes
    (model, start, (version IS NULL), coalesce(version, ''), (segment IS NULL), coalesce(segment, ''));

-- What was known of a window's performance, a row for each revision. `latest` marks the last of a window,
-- `alarm` is absent until the window is judged, and the document is JSON, compressed (zlib).
CREATE TABLE performance (
    id          INTEGER PRIMARY KEY,
    model       TEXT    NOT NULL,
    version     TEXT,
    segment     TEXT,
    start       INTEGER NOT NULL,
    end         INTEGER NOT NULL,
    length      INTEGER NOT NULL,
    revision    INTEGER NOT NULL,
    latest      INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    alarm       INTEGER,
    maturity    TEXT    NOT NULL,
    labels      INTEGER NOT NULL,
    predictions INTEGER NOT NULL,
    baseline    TEXT    NOT NULL,
    document    BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX performance_key ON performance
    (model, start, length, (version IS NULL), coalesce(version, ''), (segment IS NULL), coalesce(segment, ''),
     revision);
CREATE INDEX performance_latest ON performance (model, end, id, length, segment, version, alarm)
    WHERE latest = 1;
CREATE INDEX performance_newest ON performance (model, length, end, id, maturity)
    WHERE latest = 1 AND segment IS NULL;
CREATE INDEX performance_by_age ON performance (model, at);

-- What became of predictions and labels since the store was made.
CREATE TABLE joined (
    model   TEXT    NOT NULL,
    outcome TEXT    NOT NULL,
    n       INTEGER NOT NULL,
    PRIMARY KEY (model, outcome)
) STRICT, WITHOUT ROWID;
";

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, params};

    use super::*;
    use crate::event::Timestamp;
    use crate::monitor::{Commit, PaneKey, PaneWrite};
    use crate::store::{FILE_NAME, Options, Store, StoreError};

    /// A file as it was after `steps`, with a little in it.
    fn file_of(dir: &std::path::Path, steps: &[&str]) {
        let connection = Connection::open(dir.join(FILE_NAME)).expect("opens");
        for step in steps {
            connection.execute_batch(step).expect("a step");
        }
        connection.pragma_update(None, "application_id", APPLICATION_ID).expect("ours");
        connection
            .pragma_update(None, "user_version", i64::try_from(steps.len()).expect("few"))
            .expect("format");
        connection
            .execute_batch(
                "INSERT INTO meta VALUES ('store_id', 'c0ffee');
                 INSERT INTO positions VALUES ('predictions', 0, 17);
                 INSERT INTO counters VALUES ('predictions', 'fraud', 'counted', 16);",
            )
            .expect("rows");
    }

    #[test]
    fn files_of_earlier_formats_are_brought_to_the_newest_and_keep_what_they_hold() {
        for steps in 1..MIGRATIONS.len() {
            let dir = tempfile::tempdir().expect("scratch directory");
            file_of(dir.path(), &MIGRATIONS[..steps]);
            let store = Store::open(dir.path(), Options::default()).expect("opens");
            assert_eq!(store.id(), "c0ffee");
            let restored = store.restore().expect("restores");
            assert_eq!(restored.positions[0].next_offset, 17);
            assert!(restored.outcome_panes.is_empty());
            assert_eq!(store.counters().expect("read")[0].events, 16);
            let start = Timestamp::default();
            let key = PaneKey { model: "fraud".to_owned(), version: None, segment: None, start };
            let pane = PaneWrite { key, baseline: "ab".to_owned(), summary: vec![7; 9] };
            let commit = Commit {
                outcome_panes: vec![pane.clone()],
                joined: vec![("fraud".to_owned(), "joined", 3)],
                ..Commit::default()
            };
            store.apply(&commit, start).expect("applies");
            assert_eq!(store.restore().expect("restores").outcome_panes, [pane]);
            assert_eq!(store.joined(Some("fraud")).expect("read")[0].n, 3);
        }
    }

    #[test]
    fn each_step_counts_as_one_format() {
        let dir = tempfile::tempdir().expect("scratch directory");
        drop(Store::open(dir.path(), Options::default()).expect("opens"));
        let connection = Connection::open(dir.path().join(FILE_NAME)).expect("opens");
        let format: i64 =
            connection.query_row("PRAGMA user_version", params![], |row| row.get(0)).expect("format");
        assert_eq!(usize::try_from(format), Ok(MIGRATIONS.len()));
        connection.pragma_update(None, "user_version", format + 1).expect("newer");
        drop(connection);
        let refused = Store::open(dir.path(), Options::default()).expect_err("newer");
        assert!(matches!(refused, StoreError::Newer { .. }), "{refused}");
    }
}

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
-- Files of predictions that wait for labels, and how many of their bytes count.
CREATE TABLE journals (
    model  TEXT    NOT NULL,
    number INTEGER NOT NULL,
    bytes  INTEGER NOT NULL,
    PRIMARY KEY (model, number)
) STRICT, WITHOUT ROWID;
";

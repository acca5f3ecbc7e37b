//! The store: one SQLite file that holds everything that must survive, and journal files beside it for the
//! predictions that wait for their labels.
//!
//! Place in the flow: takes each [`Commit`] of the monitor and makes it durable in one transaction, gives
//! it back at start, is the [outbox](crate::notify::Outbox) of the delivery workers, and answers the
//! questions of the API. I/O; every call blocks.
//!
//! Invariant: what one commit holds becomes durable together or not at all. After a write that failed the
//! store refuses every further write, so nobody runs on state that is not on disk.
//!
//! The file is WAL with `synchronous=FULL`: a commit that was acknowledged survives a power failure, and
//! readers never hold up the writer. One process may use a directory; an operator may open the file
//! beside it to read. A damaged file, one of another program and one of a newer version are refused and
//! left as they are.
//!
//! To change what is stored: append a step to `MIGRATIONS` in `schema.rs`; earlier steps never change.

mod apply;
mod brief;
mod open;
mod outbox;
mod performance;
mod query;
mod schema;
mod waiting;

pub use outbox::{ChannelStats, OutboxFilter, OutboxRow};
pub use performance::{JoinedCount, NewestPerformance, PerformanceRow, VerdictSummary};
pub use query::{
    Counter, Cursor, DeadLetterFilter, DeadLetterRow, IncidentDetail, IncidentFilter, IncidentRow,
    ModelActivity, PAGE_MAX, Page, SegmentFilter, StatusFilter, TransitionRow, VersionActivity, WindowFilter,
    WindowName,
};

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use crate::event::{Span, Timestamp};
use crate::monitor::{Commit, Restored};
use crate::performance::join::ReadJournal;

/// The database file's name in the data directory.
pub const FILE_NAME: &str = "driftline.db";

/// The lock file's name in the data directory.
pub const LOCK_NAME: &str = "lock";

/// Connections that answer the API. Two let a short question pass a long one; each costs its page cache.
const READERS: usize = 2;

/// What went wrong inside a transaction or a query, before it is told as a [`StoreError`].
type Fault = Box<dyn std::error::Error + Send + Sync>;

/// What the store keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Dead letters kept; the oldest go first.
    pub dead_letters_max: u64,
    /// How long closed windows and resolved incidents are kept, by their end against the newest window of
    /// their model; revisions of a window's performance, by the watermark when they were made, against the
    /// newest of their model; and ended notifications, by the wall clock.
    pub history: Span,
}

impl Default for Options {
    fn default() -> Self {
        Self { dead_letters_max: 10_000, history: Span::from_secs(90 * 86_400) }
    }
}

/// The store of one data directory.
#[derive(Debug)]
pub struct Store {
    // Fields drop in this order: the writer closes after the readers and so folds the log into the file,
    // and the lock is held until then.
    readers: Readers,
    outbox_reader: Mutex<Connection>,
    writer: Mutex<Connection>,
    journals: waiting::Journals,
    /// `None` when the store was opened only to read.
    _lock: Option<File>,
    stopped: OnceLock<String>,
    path: PathBuf,
    id: String,
    options: Options,
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data directory cannot be made or used.
    #[error("cannot use the data directory {}: make it a directory that this user may write to", path.display())]
    Directory {
        /// The directory or the file in it.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Another process has the directory.
    #[error(
        "another process{} already uses the data directory {}: stop it first, or give this one a data_dir of its own",
        holder.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), dir.display()
    )]
    Locked {
        /// The data directory.
        dir: PathBuf,
        /// The other process, if it left its id.
        holder: Option<u32>,
    },
    /// The file cannot be opened.
    #[error("cannot open the store {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// The file is damaged.
    #[error(
        "the store {} is damaged ({detail}); it was left as it is: restore a backup in its place, or move the \
         data directory away and start anew under another [kafka] group, which counts again what Kafka \
         still holds and loses the history, open incidents and undelivered notifications",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The file is a database, but not of this program.
    #[error("{} is another program's database; it was left as it is: choose another data_dir", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// There is no file, and it is not to be made.
    #[error(
        "there is no store at {}: run the service with this configuration first, or run this command where \
         its data_dir is",
        path.display()
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// An older version wrote the file, and it is not to be changed.
    #[error(
        "the store {} is of an older format ({found}, this driftline reads {known}); it was left as it is: start \
         the service of this version once, which brings it up to date, or use the driftline that wrote it",
        path.display()
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The format this program reads.
        known: i64,
    },
    /// A newer version wrote the file.
    #[error(
        "the store {} was written by a newer driftline (format {found}, this one knows {known}); it was left \
         as it is: run that version, or restore a backup from before the upgrade",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format this program knows.
        known: i64,
    },
    /// A write failed. Nothing of it was kept, and the store takes no further one.
    #[error("cannot write the store {}: {advice}; nothing of this write was kept, and the process must stop", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operator can do.
        advice: &'static str,
        /// What failed.
        #[source]
        source: Fault,
    },
    /// An earlier write failed.
    #[error("the store takes no more writes, because an earlier one failed: {reason}")]
    Stopped {
        /// The first failure.
        reason: String,
    },
    /// A question could not be answered.
    #[error("cannot read the store {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What failed.
        #[source]
        source: Fault,
    },
    /// No notification has this id.
    #[error("the outbox has no notification {id}")]
    UnknownNotification {
        /// The id.
        id: String,
    },
}

impl Store {
    /// Opens the store in `dir`, which is made if it is missing (mode 0700, the file 0600), takes the
    /// directory's lock, checks the file and brings it to this version's format.
    ///
    /// # Errors
    /// [`StoreError::Directory`], [`StoreError::Locked`], [`StoreError::Open`], and for a file that is not
    /// fit for use [`StoreError::Damaged`], [`StoreError::Foreign`] or [`StoreError::Newer`]; such a file
    /// stays as it is.
    pub fn open(dir: &Path, options: Options) -> Result<Self, StoreError> {
        open::prepare_directory(dir)?;
        let lock = open::lock(dir)?;
        let path = dir.join(FILE_NAME);
        let writer = open::writer(&path)?;
        let id = open::store_id(&writer).map_err(|source| StoreError::Open { path: path.clone(), source })?;
        let stored =
            waiting::stored(&writer).map_err(|source| StoreError::Open { path: path.clone(), source })?;
        let journals = waiting::Journals::open(dir, &stored)?;
        let reader = || open::reader(&path).map(Mutex::new);
        let readers = Readers { connections: [reader()?, reader()?], next: AtomicUsize::new(0) };
        let outbox_reader = reader()?;
        Ok(Self {
            readers,
            outbox_reader,
            writer: Mutex::new(writer),
            journals,
            _lock: Some(lock),
            stopped: OnceLock::new(),
            path,
            id,
            options,
        })
    }

    /// Opens the store in `dir` to read only, beside a service that may be running: takes no lock, makes no
    /// directory and no store, and brings nothing to another format. Every write is refused with
    /// [`StoreError::Stopped`].
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Older`], [`StoreError::Newer`], [`StoreError::Foreign`],
    /// [`StoreError::Damaged`] and [`StoreError::Open`].
    pub fn open_to_read(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FILE_NAME);
        let id = open::check_to_read(&path)?;
        let reader = || open::reader(&path).map(Mutex::new);
        let readers = Readers { connections: [reader()?, reader()?], next: AtomicUsize::new(0) };
        let (outbox_reader, writer) = (reader()?, reader()?);
        let stopped = OnceLock::from("it was opened only to read".to_owned());
        let options = Options::default();
        let journals = waiting::Journals::unchecked(dir);
        Ok(Self { readers, outbox_reader, writer, journals, _lock: None, stopped, path, id, options })
    }

    /// Identity of this store, in hex: made once when the file is made.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes on disk: the file and its write-ahead log.
    pub fn size_bytes(&self) -> u64 {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        [self.path.as_os_str(), log.as_os_str()]
            .iter()
            .filter_map(|path| std::fs::metadata(path).ok())
            .map(|metadata| metadata.len())
            .sum()
    }

    /// Why the store takes no more writes; `None` while it does.
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.get().map(String::as_str)
    }

    /// Reads what commits made durable of a model's journals.
    pub fn journal_reader(&self, model: &str) -> Arc<dyn ReadJournal> {
        self.journals.reader(model)
    }

    /// Makes a commit durable, whole. `now` is the wall clock, which dates new outbox rows.
    ///
    /// # Errors
    /// [`StoreError::Write`]: nothing of it was kept, and the process must stop;
    /// [`StoreError::Stopped`] for every call after that.
    pub fn apply(&self, commit: &Commit, now: Timestamp) -> Result<(), StoreError> {
        if *commit == Commit::default() {
            return Ok(());
        }
        self.write(|transaction| {
            // On disk before the transaction says how long the files are.
            self.journals.append(&commit.journals)?;
            apply::apply(transaction, commit, now, &self.options)
        })?;
        if commit.journals.iter().any(|(_, writes)| !writes.deleted.is_empty()) {
            self.write(|_| Ok(self.journals.delete(&commit.journals)?))?;
        }
        Ok(())
    }

    /// Everything that commits made durable and a monitor starts from, as of one moment.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a pane or the state is not what was written, [`StoreError::Read`].
    pub fn restore(&self) -> Result<Restored, StoreError> {
        self.read(apply::restore)?.map_err(|detail| StoreError::Damaged { path: self.path.clone(), detail })
    }

    /// Runs `body` in one transaction. A failure of any kind stops the store.
    fn write<T>(&self, body: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>) -> Result<T, StoreError> {
        let Ok(mut connection) = self.writer.lock() else {
            return Err(StoreError::Stopped { reason: "a thread died while it was writing".to_owned() });
        };
        if let Some(reason) = self.stopped.get() {
            return Err(StoreError::Stopped { reason: reason.clone() });
        }
        run(&mut connection, body).map_err(|source| {
            let advice = advice(&source);
            // The lock is held: no other write can have failed in between.
            let _ = self.stopped.set(format!("{advice}: {source}"));
            StoreError::Write { path: self.path.clone(), advice, source }
        })
    }

    /// Answers a question as of one moment.
    fn read<T>(&self, body: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, StoreError> {
        self.read_on(self.readers.pick(), body)
    }

    /// Answers a question of delivery, which does not wait for those of the API.
    fn read_outbox<T>(&self, body: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, StoreError> {
        self.read_on(&self.outbox_reader, body)
    }

    fn read_on<T>(
        &self,
        connection: &Mutex<Connection>,
        body: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        // A reader that died has changed nothing, so its connection is as good as before.
        let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = connection.unchecked_transaction().map_err(Fault::from).and_then(|moment| body(&moment));
        answer.map_err(|source| StoreError::Read { path: self.path.clone(), source })
    }
}

/// Read-only connections, taken in turn.
#[derive(Debug)]
struct Readers {
    connections: [Mutex<Connection>; READERS],
    next: AtomicUsize,
}

impl Readers {
    /// One that is free, or else the next in turn.
    fn pick(&self) -> &Mutex<Connection> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % READERS;
        let (before, after) = self.connections.split_at(turn);
        let mut in_turn = after.iter().chain(before);
        in_turn.find(|connection| connection.try_lock().is_ok()).unwrap_or(&self.connections[turn])
    }
}

fn run<T>(
    connection: &mut Connection,
    body: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let value = body(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

/// What an operator can do about a write that failed.
fn advice(fault: &Fault) -> &'static str {
    if let Some(waiting::JournalFault { source, .. }) = fault.downcast_ref() {
        return match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                "the disk is full; make room and start again"
            }
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                "the file or its directory cannot be written; restore the permissions and start again"
            }
            _ => "the disk reports an error; see the system's log before starting again",
        };
    }
    let Some(error) = fault.downcast_ref::<rusqlite::Error>() else {
        return "a result could not be encoded, which is a defect; please report it";
    };
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full; make room and start again",
        Some(ErrorCode::SystemIoFailure) => {
            "the disk reports an error; see the system's log before starting again"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            "the file or its directory cannot be written; restore the permissions and start again"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program holds a write lock on it; end that program and start again"
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "the file is damaged; starting again will say what can be done"
        }
        _ => "see the cause",
    }
}

// === between Rust's and SQLite's numbers ===

/// A count as SQLite holds it. Counts stay far below the largest `i64`; one beyond is held there.
fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A count from SQLite; a negative one, which nothing writes, reads as none.
fn count(integer: i64) -> u64 {
    u64::try_from(integer).unwrap_or(0)
}

/// The first `bytes_max` bytes of a text, cut between characters.
fn head(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::{PaneKey, PaneWrite};

    #[test]
    fn a_full_disk_stops_the_store_and_says_so() {
        let dir = tempfile::tempdir().expect("scratch directory");
        let store = Store::open(dir.path(), Options::default()).expect("opens");
        let pages: i64 = {
            let writer = store.writer.lock().expect("writer");
            let pages = writer.query_row("PRAGMA page_count", [], |row| row.get(0)).expect("pages");
            writer.pragma_update(None, "max_page_count", pages + 4).expect("limit");
            pages
        };
        let key =
            PaneKey { model: "m".to_owned(), version: None, segment: None, start: Timestamp::default() };
        let pane = PaneWrite { key, baseline: String::new(), summary: vec![0; 100_000] };
        let commit = Commit { panes: vec![pane], state: Some(vec![1]), ..Commit::default() };
        let error = store.apply(&commit, Timestamp::default()).expect_err("full");
        assert!(error.to_string().contains("the disk is full"), "{error}");
        assert!(store.stopped().is_some_and(|reason| reason.contains("full")));
        let small = Commit { state: Some(vec![1]), ..Commit::default() };
        assert!(matches!(store.apply(&small, Timestamp::default()), Err(StoreError::Stopped { .. })));
        assert_eq!(store.restore().expect("restores"), Restored::default());
        drop(store);
        let store = Store::open(dir.path(), Options::default()).expect("opens when there is room");
        store.apply(&commit, Timestamp::default()).expect("applies");
        assert!(store.size_bytes() > count(pages) * 4_096);
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(head("größe", 3), "gr");
        assert_eq!(head("größe", 4), "grö");
        assert_eq!(head("abc", 9), "abc");
    }
}

//! Opening: the directory, its lock, the checks that refuse a file, and the migrations.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior, params};

use super::schema::{APPLICATION_ID, MIGRATIONS};
use super::{LOCK_NAME, StoreError};

/// How long a write waits for another program that holds a lock on the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Page cache of the writer and of each reader, in KiB.
const WRITER_CACHE_KIB: i64 = 8_192;
const READER_CACHE_KIB: i64 = 2_048;

/// The log is folded into the file after this many pages of 4 KiB, and cut to this size when it is empty.
const CHECKPOINT_PAGES: i64 = 2_000;
const LOG_BYTES_KEPT: i64 = 16 << 20;

/// Makes the data directory if it is missing, readable by its owner only.
pub(super) fn prepare_directory(dir: &Path) -> Result<(), StoreError> {
    if dir.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let made = builder.create(dir).and_then(|()| match dir.parent() {
        // The new entry must survive a power failure as the commits in it will.
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    });
    made.map_err(|source| StoreError::Directory { path: dir.to_owned(), source })
}

/// Takes the directory's lock. The system lets it go when the process ends, however it ends.
pub(super) fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(LOCK_NAME);
    let failed = |source| StoreError::Directory { path: path.clone(), source };
    let mut file = owner_only().read(true).truncate(false).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(StoreError::Locked { dir: dir.to_owned(), holder: holder(&mut file) });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    // The id only makes the other process's message more useful; the lock does not depend on it.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

fn owner_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Opens the file for writing, after a look that changes nothing, and brings it to the newest format.
pub(super) fn writer(path: &Path) -> Result<Connection, StoreError> {
    let metadata = owner_only().truncate(false).open(path).and_then(|file| file.metadata());
    let metadata = metadata.map_err(|source| StoreError::Directory { path: path.to_owned(), source })?;
    if metadata.len() > 0 {
        check(path)?;
    }
    let opened = (|| {
        let mut connection = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        set_up_writer(&connection)?;
        migrate(&mut connection)?;
        Ok(connection)
    })();
    opened.map_err(|source| refusal(path, source))
}

/// Opens the file for reading.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let opened = open_read_only(path).and_then(|connection| {
        set_up(&connection, READER_CACHE_KIB)?;
        Ok(connection)
    });
    opened.map_err(|source| refusal(path, source))
}

fn open_read_only(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

fn set_up(connection: &Connection, cache_kib: i64) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    // A mapped file turns an I/O error into a signal and a stray write into damage.
    connection.pragma_update(None, "mmap_size", 0)?;
    // The only place on disk that may be written is the data directory.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)
}

fn set_up_writer(connection: &Connection) -> rusqlite::Result<()> {
    set_up(connection, WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)
}

// === checks ===

/// Refuses a file that is damaged, another program's or a newer version's, without changing a byte of it.
fn check(path: &Path) -> Result<(), StoreError> {
    let looked = open_read_only(path).and_then(|connection| look(&connection));
    let seen = match looked {
        Ok(seen) => seen,
        // A journal that was left by a crash can be undone only by a connection that may write.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ReadOnly) => Connection::open(path)
            .and_then(|connection| look(&connection))
            .map_err(|source| refusal(path, source))?,
        Err(error) => return Err(refusal(path, error)),
    };
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let is_new = seen.tables == 0 && seen.user_version == 0 && seen.application_id == 0;
    if seen.application_id != APPLICATION_ID && !is_new {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    if seen.user_version > known {
        return Err(StoreError::Newer { path: path.to_owned(), found: seen.user_version, known });
    }
    match seen.damage {
        Some(detail) => Err(StoreError::Damaged { path: path.to_owned(), detail }),
        None => Ok(()),
    }
}

/// Refuses a file that this version cannot read as it is, without changing a byte of it; gives the store's
/// identity. A full check for damage is left out: it would read the whole file while a service works on it.
pub(super) fn check_to_read(path: &Path) -> Result<String, StoreError> {
    if !path.is_file() {
        return Err(StoreError::Missing { path: path.to_owned() });
    }
    let looked = open_read_only(path).and_then(|connection| {
        set_up(&connection, READER_CACHE_KIB)?;
        let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let application_id = number("PRAGMA application_id")?;
        let user_version = number("PRAGMA user_version")?;
        let is_ours = application_id == APPLICATION_ID && user_version > 0;
        let id = if is_ours { known_id(&connection)? } else { None };
        let is_empty = number("SELECT count(*) FROM sqlite_schema")? == 0;
        Ok((application_id, user_version, is_empty, id.unwrap_or_default()))
    });
    let (application_id, found, is_empty, id) = looked.map_err(|source| refusal(path, source))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    match found {
        0 if is_empty => Err(StoreError::Missing { path: path.to_owned() }),
        _ if application_id != APPLICATION_ID => Err(StoreError::Foreign { path: path.to_owned() }),
        _ if found < known => Err(StoreError::Older { path: path.to_owned(), found, known }),
        _ if found > known => Err(StoreError::Newer { path: path.to_owned(), found, known }),
        _ => Ok(id),
    }
}

struct Seen {
    application_id: i64,
    user_version: i64,
    tables: i64,
    damage: Option<String>,
}

fn look(connection: &Connection) -> rusqlite::Result<Seen> {
    set_up(connection, READER_CACHE_KIB)?;
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok(Seen {
        application_id: number("PRAGMA application_id")?,
        user_version: number("PRAGMA user_version")?,
        tables: number("SELECT count(*) FROM sqlite_schema")?,
        damage: (verdict != "ok").then(|| verdict.replace('\n', "; ")),
    })
}

fn refusal(path: &Path, source: rusqlite::Error) -> StoreError {
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Damaged { path: path.to_owned(), detail: source.to_string() }
        }
        _ => StoreError::Open { path: path.to_owned(), source },
    }
}

// === format ===

/// Takes the steps that the file has not had, each in a transaction of its own.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let done: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    for (step, format) in MIGRATIONS.iter().zip(1_i64..).filter(|(_, format)| *format > done) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", format)?;
        transaction.commit()?;
    }
    Ok(())
}

/// The store's identity, made when it is first asked for.
pub(super) fn store_id(connection: &Connection) -> rusqlite::Result<String> {
    if let Some(id) = known_id(connection)? {
        return Ok(id);
    }
    // Each `RandomState` is keyed by the system's randomness.
    let random = || RandomState::new().hash_one(std::process::id());
    let id = format!("{:016x}{:016x}", random(), random());
    connection.execute("INSERT INTO meta (key, value) VALUES ('store_id', ?1)", params![id])?;
    Ok(id)
}

/// The store's identity, if it has one.
fn known_id(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let find = "SELECT value FROM meta WHERE key = 'store_id'";
    connection.query_row(find, [], |row| row.get(0)).optional()
}

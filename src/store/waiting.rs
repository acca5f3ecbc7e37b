//! The journal files of predictions that wait for their labels.
//!
//! They stand in `waiting/` beside the database, `<hash of the model's name>-<number>.journal`, and only grow
//! until they are deleted. The database says how many bytes of each were committed: appended bytes are on disk
//! before the transaction that says so, and a file is deleted after the one that forgets it. What a crash left
//! in between, bytes or files that the database does not know, was never acknowledged and goes at the next start.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::{Connection, Transaction, params};
use xxhash_rust::xxh3::xxh3_64;

use super::{Fault, StoreError, count};
use crate::performance::join::{JournalAppend, JournalWrites, ReadJournal, StoredJournal};

/// The directory's name in the data directory.
const DIRECTORY: &str = "waiting";

const SUFFIX: &str = ".journal";

/// Files held open for reading. A process may have more, which are then opened anew in turn.
const OPEN_MAX: usize = 256;

/// A file of a model, by the hash of the model's name and its number.
type Id = (u64, u32);

/// All journal files of a data directory.
#[derive(Debug)]
pub(super) struct Journals {
    files: Arc<Files>,
}

#[derive(Debug)]
struct Files {
    dir: PathBuf,
    open: RwLock<BTreeMap<Id, Arc<File>>>,
}

/// A journal file that could not be written or deleted.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub(super) struct JournalFault {
    path: PathBuf,
    #[source]
    pub(super) source: io::Error,
}

impl Journals {
    /// Checks that every file is there with what was committed, and takes away what was not.
    pub(super) fn open(data_dir: &Path, stored: &[(String, Vec<StoredJournal>)]) -> Result<Self, StoreError> {
        let files = Files { dir: data_dir.join(DIRECTORY), open: RwLock::default() };
        let mut known = BTreeSet::new();
        let mut too_long = Vec::new();
        for (model, journals) in stored {
            for StoredJournal { file, bytes } in journals {
                let id = (hash(model), *file);
                let length = files.length(id)?;
                if length < *bytes {
                    return Err(StoreError::Damaged {
                        path: files.path(id),
                        detail: format!("it has {length} bytes where {bytes} were written"),
                    });
                }
                if length > *bytes {
                    too_long.push((id, *bytes));
                }
                known.insert(id);
            }
        }
        // Only now, when nothing is refused any more, is anything changed.
        for (id, bytes) in too_long {
            let path = files.path(id);
            let cut = OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(bytes));
            cut.map_err(|source| StoreError::Directory { path, source })?;
        }
        files.delete_unknown(&known)?;
        Ok(Self { files: Arc::new(files) })
    }

    /// The files as they are, neither checked nor changed: beside a service that writes them.
    pub(super) fn unchecked(data_dir: &Path) -> Self {
        Self { files: Arc::new(Files { dir: data_dir.join(DIRECTORY), open: RwLock::default() }) }
    }

    /// Reads a model's files.
    pub(super) fn reader(&self, model: &str) -> Arc<dyn ReadJournal> {
        Arc::new(Reader { model: hash(model), files: Arc::clone(&self.files) })
    }

    /// Appends and waits until all of it is on disk.
    pub(super) fn append(&self, journals: &[(String, JournalWrites)]) -> Result<(), JournalFault> {
        for (model, writes) in journals {
            for append in &writes.appends {
                let id = (hash(model), append.file);
                let appended = self.files.append(id, append);
                appended.map_err(|source| JournalFault { path: self.files.path(id), source })?;
            }
        }
        Ok(())
    }

    /// Deletes files that the database has forgotten.
    pub(super) fn delete(&self, journals: &[(String, JournalWrites)]) -> Result<(), JournalFault> {
        for (model, writes) in journals {
            for file in &writes.deleted {
                let id = (hash(model), *file);
                self.files.open.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
                let path = self.files.path(id);
                fs::remove_file(&path).map_err(|source| JournalFault { path, source })?;
            }
        }
        Ok(())
    }
}

fn hash(model: &str) -> u64 {
    xxh3_64(model.as_bytes())
}

impl Files {
    fn path(&self, (model, number): Id) -> PathBuf {
        self.dir.join(format!("{model:016x}-{number}{SUFFIX}"))
    }

    /// Bytes of a file that must be there.
    fn length(&self, id: Id) -> Result<u64, StoreError> {
        let path = self.path(id);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::Damaged { path, detail: "it is missing".to_owned() })
            }
            Err(source) => Err(StoreError::Directory { path, source }),
        }
    }

    fn delete_unknown(&self, known: &BTreeSet<Id>) -> Result<(), StoreError> {
        let failed = |source| StoreError::Directory { path: self.dir.clone(), source };
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let id = entry.file_name().to_str().and_then(id_of);
            if id.is_some_and(|id| !known.contains(&id)) {
                fs::remove_file(entry.path())
                    .map_err(|source| StoreError::Directory { path: entry.path(), source })?;
            }
        }
        Ok(())
    }

    fn append(&self, id: Id, append: &JournalAppend) -> io::Result<()> {
        let file = if append.offset == 0 { self.make(id)? } else { self.handle(id)? };
        let length = file.metadata()?.len();
        if length != append.offset {
            let detail = format!("it has {length} bytes where {} were expected", append.offset);
            return Err(io::Error::new(io::ErrorKind::InvalidData, detail));
        }
        let mut end = &*file;
        end.seek(SeekFrom::Start(append.offset))?;
        end.write_all(&append.bytes)?;
        file.sync_data()?;
        if append.offset == 0 {
            // The name of a new file must survive a power failure too.
            File::open(&self.dir)?.sync_all()?;
        }
        Ok(())
    }

    fn make(&self, id: Id) -> io::Result<Arc<File>> {
        if !self.dir.is_dir() {
            let mut builder = DirBuilder::new();
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(&self.dir)?;
            if let Some(data_dir) = self.dir.parent() {
                File::open(data_dir)?.sync_all()?;
            }
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(self.keep(id, options.open(self.path(id))?))
    }

    fn handle(&self, id: Id) -> io::Result<Arc<File>> {
        if let Some(file) = self.open.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(Arc::clone(file));
        }
        let file = OpenOptions::new().read(true).write(true).open(self.path(id))?;
        Ok(self.keep(id, file))
    }

    fn keep(&self, id: Id, file: File) -> Arc<File> {
        let file = Arc::new(file);
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= OPEN_MAX {
            open.clear();
        }
        open.insert(id, Arc::clone(&file));
        file
    }
}

/// The file that has this name, if a journal has.
fn id_of(name: &str) -> Option<Id> {
    let (model, number) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let id = (u64::from_str_radix(model, 16).ok()?, number.parse().ok()?);
    (name == format!("{:016x}-{}{SUFFIX}", id.0, id.1)).then_some(id)
}

/// Reads the files of one model.
#[derive(Debug)]
struct Reader {
    model: u64,
    files: Arc<Files>,
}

impl ReadJournal for Reader {
    fn read(&self, file: u32, offset: u64, out: &mut [u8]) -> io::Result<()> {
        read_at(&*self.files.handle((self.model, file))?, offset, out)
    }

    fn name(&self, file: u32) -> String {
        self.files.path((self.model, file)).display().to_string()
    }
}

#[cfg(unix)]
fn read_at(file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, offset)
}

/// Reading moves the handle's place in the file here, which a writer at work would notice: the one owner that
/// reads waits while its commit is written.
#[cfg(windows)]
fn read_at(file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
    let mut read = 0;
    while read < out.len() {
        let rest = out.get_mut(read..).unwrap_or_default();
        match std::os::windows::fs::FileExt::seek_read(file, rest, offset + read as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => read += more,
        }
    }
    Ok(())
}

// === in the database ===

/// The files and how much of them was committed, by model.
pub(super) fn stored(connection: &Connection) -> rusqlite::Result<Vec<(String, Vec<StoredJournal>)>> {
    let mut select = connection.prepare("SELECT model, number, bytes FROM journals")?;
    let rows = select.query_map([], |row| {
        let journal = StoredJournal { file: row.get(1)?, bytes: count(row.get(2)?) };
        Ok((row.get::<_, String>(0)?, journal))
    })?;
    let mut models: BTreeMap<String, Vec<StoredJournal>> = BTreeMap::new();
    for row in rows {
        let (model, journal) = row?;
        models.entry(model).or_default().push(journal);
    }
    models.values_mut().for_each(|journals| journals.sort_unstable());
    Ok(models.into_iter().collect())
}

/// Writes how long the files are, and forgets those that are to be deleted.
pub(super) fn write(
    transaction: &Transaction<'_>,
    journals: &[(String, JournalWrites)],
) -> Result<(), Fault> {
    let mut upsert = transaction.prepare(
        "INSERT INTO journals (model, number, bytes) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET bytes = excluded.bytes",
    )?;
    let mut forget = transaction.prepare("DELETE FROM journals WHERE model = ?1 AND number = ?2")?;
    for (model, writes) in journals {
        for append in &writes.appends {
            upsert.execute(params![model, append.file, i64::try_from(append.end())?])?;
        }
        for file in &writes.deleted {
            forget.execute(params![model, file])?;
        }
    }
    Ok(())
}

//! The journal: numbered files of records, of which one is appended to.
//!
//! What was appended since the last [`take_writes`](super::Joiner::take_writes) is in memory, the rest is read
//! through [`ReadJournal`]. Files are deleted in the order of their numbers: a record is never outlived by one
//! that it replaced, which would otherwise come back at the next start.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::JoinError;
use super::index::FILE_MAX;
use super::record::{self, HEADER_BYTES, RECORD_BYTES_MAX, Record, SLOT};
use crate::event::{Span, Timestamp};

/// A file of this many bytes is not appended to.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// The same in memory, where a file that grows is copied.
const MEMORY_FILE_BYTES_MAX: u64 = 1 << 24;

/// A new file is begun this many times in `delay_max`, within the bounds below: what has expired is held for at
/// most this share longer, and a model has few files.
const FILES_PER_DELAY: i64 = 16;
const FILE_SPAN_MIN: Span = Span::from_secs(3_600);
const FILE_SPAN_MAX: Span = Span::from_secs(7 * 86_400);

/// Bytes that are read of a record whose length is not known yet: most have fewer.
const READ_FIRST: u64 = 128;

/// Bytes that are read at once when all records are read.
const CHUNK: u64 = 1 << 20;
const _: () = assert!(CHUNK as usize > RECORD_BYTES_MAX);

/// Reads what was made durable of a model's journal files.
pub trait ReadJournal: Send + Sync + fmt::Debug {
    /// Fills `out` with the bytes of a file from `offset` on.
    ///
    /// # Errors
    /// Whatever the system says; that the file ends before.
    fn read(&self, file: u32, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// What an operator finds the file under.
    fn name(&self, file: u32) -> String;
}

/// What must become durable of a model's journals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalWrites {
    /// Bytes to append, at most once a file; in the order of the files' numbers.
    pub appends: Vec<JournalAppend>,
    /// Files to delete.
    pub deleted: Vec<u32>,
}

/// Bytes to append to a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalAppend {
    /// The file's number.
    pub file: u32,
    /// Bytes that it has; 0 for a new file.
    pub offset: u64,
    /// The bytes that come after them.
    pub bytes: Vec<u8>,
}

impl JournalWrites {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.appends.is_empty() && self.deleted.is_empty()
    }
}

impl JournalAppend {
    /// Bytes that the file has afterwards.
    pub fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

/// A file that was made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StoredJournal {
    /// Its number.
    pub file: u32,
    /// Bytes of it that were committed.
    pub bytes: u64,
}

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Location {
    pub(super) file: u32,
    /// Its offset in units of 8 bytes.
    pub(super) slot: u32,
}

impl Location {
    pub(super) fn to_bits(self) -> u64 {
        u64::from(self.file) << 32 | u64::from(self.slot)
    }

    pub(super) fn from_bits(bits: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = bits.to_le_bytes();
        Self { file: u32::from_le_bytes([e, f, g, h]), slot: u32::from_le_bytes([a, b, c, d]) }
    }

    fn offset(self) -> u64 {
        u64::from(self.slot) * SLOT as u64
    }
}

/// What is known of a file.
#[derive(Debug)]
struct File {
    /// Bytes that were taken to be written, or read at start.
    taken: u64,
    /// What comes after them.
    tail: Vec<u8>,
    /// The event time at which it was begun.
    begun: Timestamp,
    /// The greatest time of a record.
    newest: Timestamp,
}

impl File {
    fn end(&self) -> u64 {
        self.taken + self.tail.len() as u64
    }
}

/// All files of a model.
#[derive(Debug)]
pub(super) struct Journal {
    files: BTreeMap<u32, File>,
    /// The file that is appended to is the last one, unless it is full or its time is over.
    is_open: bool,
    next: u32,
    bytes: u64,
    watermark: Option<Timestamp>,
    deleted: Vec<u32>,
    /// `None` keeps all in memory.
    reader: Option<Arc<dyn ReadJournal>>,
}

impl Journal {
    pub(super) fn new(reader: Option<Arc<dyn ReadJournal>>) -> Self {
        Self {
            files: BTreeMap::new(),
            is_open: false,
            next: 0,
            bytes: 0,
            watermark: None,
            deleted: Vec::new(),
            reader,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn pending_bytes(&self) -> u64 {
        self.files.values().map(|file| file.tail.len() as u64).sum()
    }

    // === writing ===

    /// Appends what `encode` writes of a record with this time.
    pub(super) fn append(
        &mut self,
        time: Timestamp,
        encode: impl FnOnce(Location, &mut Vec<u8>),
    ) -> Result<Location, JoinError> {
        let bytes_max = if self.reader.is_some() { FILE_BYTES_MAX } else { MEMORY_FILE_BYTES_MAX };
        let last = self.files.last_key_value();
        if !self.is_open || last.is_none_or(|(_, file)| file.end() >= bytes_max) {
            self.begin(self.watermark.unwrap_or(time))?;
        }
        let Some(mut last) = self.files.last_entry() else { return Err(JoinError::NoNumberLeft) };
        let number = *last.key();
        let file = last.get_mut();
        let slot = u32::try_from(file.end() / SLOT as u64).map_err(|_| JoinError::NoNumberLeft)?;
        let at = Location { file: number, slot };
        let before = file.tail.len();
        encode(at, &mut file.tail);
        file.newest = file.newest.max(time);
        self.bytes += (file.tail.len() - before) as u64;
        Ok(at)
    }

    fn begin(&mut self, begun: Timestamp) -> Result<(), JoinError> {
        if self.next > FILE_MAX {
            return Err(JoinError::NoNumberLeft);
        }
        let tail = record::header(self.next, begun).to_vec();
        self.bytes += tail.len() as u64;
        self.files.insert(self.next, File { taken: 0, tail, begun, newest: Timestamp::MIN });
        self.next += 1;
        self.is_open = true;
        Ok(())
    }

    /// Sees to it that the next record begins a file if the watermark has entered another stretch of time.
    pub(super) fn roll(&mut self, watermark: Timestamp, delay_max: Span) {
        self.watermark = self.watermark.max(Some(watermark));
        let share = Span::from_micros(delay_max.as_micros() / FILES_PER_DELAY);
        let span = share.clamp(FILE_SPAN_MIN, FILE_SPAN_MAX);
        let stretch = |time: Timestamp| time.floor_to(span, Span::ZERO);
        if let Some((_, file)) = self.files.last_key_value() {
            self.is_open &= stretch(watermark) <= stretch(file.begun);
        }
    }

    /// Deletes the first files as long as all their records are older than `keep`; gives the number of the
    /// first file that stays, if any was deleted.
    pub(super) fn drop_before(&mut self, watermark: Timestamp, keep: Span) -> Option<u32> {
        let mut first_kept = None;
        while let Some(first) = self.files.first_entry() {
            if first.get().newest + keep >= watermark {
                break;
            }
            let (number, file) = first.remove_entry();
            self.bytes -= file.end();
            if file.taken > 0 {
                self.deleted.push(number);
            }
            first_kept = Some(number + 1);
        }
        self.is_open &= !self.files.is_empty();
        first_kept
    }

    pub(super) fn take_writes(&mut self) -> JournalWrites {
        if self.reader.is_none() {
            return JournalWrites::default();
        }
        let mut appends = Vec::new();
        for (number, file) in &mut self.files {
            if !file.tail.is_empty() {
                let bytes = std::mem::take(&mut file.tail);
                let append = JournalAppend { file: *number, offset: file.taken, bytes };
                file.taken = append.end();
                appends.push(append);
            }
        }
        JournalWrites { appends, deleted: std::mem::take(&mut self.deleted) }
    }

    // === reading ===

    pub(super) fn damaged(&self, file: u32, offset: u64, detail: &'static str) -> JoinError {
        let name =
            self.reader.as_ref().map_or_else(|| format!("{file} in memory"), |reader| reader.name(file));
        JoinError::Damaged { file: name, offset, detail }
    }

    pub(super) fn location(&self, file: u32, offset: u64) -> Result<Location, JoinError> {
        let slot = u32::try_from(offset / SLOT as u64);
        let slot = slot.map_err(|_| self.damaged(file, offset, "it is longer than a journal can be"))?;
        Ok(Location { file, slot })
    }

    pub(super) fn read(&self, at: Location) -> Result<Record, JoinError> {
        let offset = at.offset();
        let damaged = |detail| self.damaged(at.file, offset, detail);
        let file = self.files.get(&at.file).ok_or_else(|| damaged("a record is in a file that is gone"))?;
        let decode = |bytes: &[u8]| {
            let record = record::whole(bytes).and_then(|len| bytes.get(..len));
            record::decode(record.ok_or("a record is cut off")?, at)
        };
        if let Some(in_tail) = offset.checked_sub(file.taken) {
            let start = usize::try_from(in_tail).unwrap_or(usize::MAX);
            return decode(file.tail.get(start..).unwrap_or_default()).map_err(damaged);
        }
        let left = file.taken - offset;
        let mut first = [0; READ_FIRST as usize];
        let first = first.get_mut(..usize::try_from(left.min(READ_FIRST)).unwrap_or(0)).unwrap_or_default();
        self.read_bytes(at.file, offset, first)?;
        match record::len(first) {
            Some(len) if len > first.len() && len as u64 <= left => {
                let mut all = vec![0; len];
                self.read_bytes(at.file, offset, &mut all)?;
                decode(&all).map_err(damaged)
            }
            _ => decode(first).map_err(damaged),
        }
    }

    fn read_bytes(&self, file: u32, offset: u64, out: &mut [u8]) -> Result<(), JoinError> {
        let Some(reader) = &self.reader else {
            return Err(self.damaged(file, offset, "a record is beyond its end"));
        };
        reader.read(file, offset, out).map_err(|source| JoinError::Read {
            file: reader.name(file),
            offset,
            source,
        })
    }

    // === start ===

    /// Takes a file up and checks its header; gives the offset of its first record.
    pub(super) fn adopt(&mut self, stored: StoredJournal) -> Result<u64, JoinError> {
        let StoredJournal { file: number, bytes } = stored;
        if number > FILE_MAX || bytes <= HEADER_BYTES as u64 {
            return Err(self.damaged(number, 0, "its number or length is not that of a journal"));
        }
        let mut header = [0; HEADER_BYTES];
        self.read_bytes(number, 0, &mut header)?;
        let begun = record::read_header(&header, number).map_err(|detail| self.damaged(number, 0, detail))?;
        self.files.insert(number, File { taken: bytes, tail: Vec::new(), begun, newest: Timestamp::MIN });
        self.next = number + 1;
        self.bytes += bytes;
        self.is_open = true;
        Ok(HEADER_BYTES as u64)
    }

    /// A record of this time was found in a file.
    pub(super) fn seen(&mut self, file: u32, time: Timestamp) {
        if let Some(file) = self.files.get_mut(&file) {
            file.newest = file.newest.max(time);
        }
    }

    /// Reads the next bytes of a file into `chunk`, as many as are read at once.
    pub(super) fn read_chunk(
        &self,
        file: StoredJournal,
        offset: u64,
        chunk: &mut Vec<u8>,
    ) -> Result<(), JoinError> {
        let bytes = file.bytes.saturating_sub(offset).min(CHUNK);
        chunk.resize(usize::try_from(bytes).unwrap_or(0), 0);
        self.read_bytes(file.file, offset, chunk)
    }
}

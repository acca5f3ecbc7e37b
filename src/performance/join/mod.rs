//! Joining: a label meets its prediction by id, exactly once, whatever came first and however long it took.
//!
//! Place in the flow: the one owner hands every prediction and every label to the [`Joiner`] of its model and
//! counts what comes back; what has to be on disk before that counts leaves in a [`JournalWrites`] and becomes
//! part of the same commit. Pure: what was written earlier is read through a port, [`ReadJournal`].
//!
//! What waits is too much for memory and too fast for a database. It is appended to numbered journal files of
//! records that each hold all that is known of a case (`record.rs`); of each case memory holds only where its
//! newest record is, in 12 bytes and their share of a hash table (`index.rs`). A file is deleted whole once the
//! watermark says that nothing in it can meet anything any more (`journal.rs`).
//!
//! What counts is decided by event times alone, never by the order of arrival:
//!
//! - A label belongs to its prediction if at most `delay_max` lies between the two, whichever is earlier.
//! - Of several labels that belong, the one with the greatest time counts, and of those with one time the
//!   greatest truth. Labels whose prediction is not there yet wait side by side, for which of them belong is
//!   known only when it comes.
//! - An id names one prediction. Of two predictions under one id the first that is read stays and the other
//!   is a duplicate; only if they differ and come from different partitions does the order of reading matter.
//!
//! Invariant: after the same records, in any interleaving of the partitions and after any number of crashes,
//! the same labels count for the same predictions, as long as no limit is reached and nothing is handed in
//! whose time is more than `lateness` behind the watermark given to [`Joiner::expire`]. A joiner that is
//! restored from what was committed is the joiner that committed it.
//!
//! To store more about a case: a flag and a field in `record.rs`; a flag that is not known is damage, so an
//! older version refuses the file.

mod index;
mod journal;
mod record;
#[cfg(test)]
mod tests;

pub use journal::{JournalAppend, JournalWrites, ReadJournal, StoredJournal};
pub use record::VALUES_MAX;

use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use self::index::{Index, Kind};
use self::journal::{Journal, Location};
use self::record::{Label, Record, Replaces};
use crate::event::{Span, Timestamp};
use crate::summary::outcome::{Predicted, Truth};

/// Labels that wait for one prediction. More than this many corrections before the prediction itself are a
/// fault of the sender, and each label of the id reads all that wait.
pub const LABELS_PER_KEY_MAX: usize = 16;

/// The share of `bytes_max` that is kept free of new entries, so that those that wait can still be joined.
const RESERVE: u64 = 4;

/// Names a case: a hash of the model's name and the id that prediction and label carry.
///
/// Two ids of one model get the same key with a chance of n²/2^129 among n ids, if nobody chooses ids so
/// that they collide; who can do that can as well send wrong labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u8; 16]);

impl Key {
    /// The key of an id.
    pub fn new(model: &str, id: &str) -> Self {
        Self(xxh3_128_with_seed(id.as_bytes(), xxh3_64(model.as_bytes())).to_le_bytes())
    }

    /// Its `N` bytes from `from` on; those beyond its end are 0.
    fn part<const N: usize>(self, from: usize) -> [u8; N] {
        let mut part = [0; N];
        for (to, byte) in part.iter_mut().zip(self.0.iter().skip(from)) {
            *to = *byte;
        }
        part
    }
}

/// How long and how much a joiner keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The most that may lie between the times of a prediction and its label; not negative.
    pub delay_max: Span,
    /// How far behind the watermark a record may be and still be handed in; not negative.
    pub lateness: Span,
    /// Predictions and labels without a prediction that are held. A further one is not kept.
    pub waiting_max: u64,
    /// Bytes on disk. A new entry is not kept that would go beyond three quarters; the rest is for the labels
    /// of those that wait.
    pub bytes_max: u64,
}

/// A prediction, as far as its outcome will need it.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// When it was made.
    pub time: Timestamp,
    /// The caller's code of where it counts, given back as it is.
    pub cell: u32,
    /// What was predicted.
    pub predicted: Predicted,
}

/// What a prediction or a label did.
#[derive(Debug, Clone, PartialEq)]
pub enum Joined {
    /// It is kept and waits. Nothing counts yet.
    Waiting(Settled),
    /// Prediction and label have met: count this, once.
    Matched {
        /// The prediction.
        prediction: Prediction,
        /// What came true.
        truth: Truth,
        /// Time of the label − time of the prediction; may be negative.
        delay: Span,
        /// What became of other labels that had waited for the prediction.
        settled: Settled,
    },
    /// A later label takes the place of the one that was counted: take the old outcome away and count the new
    /// one. The truth may be the same, with another delay.
    Corrected {
        /// The prediction.
        prediction: Prediction,
        /// What was counted.
        before: Truth,
        /// The delay that was counted.
        before_delay: Span,
        /// What counts now.
        truth: Truth,
        /// Its delay.
        delay: Span,
    },
    /// It was said before. Nothing changes.
    Duplicate,
    /// A label that is older than the one that counts, or that has its time and a smaller truth. Nothing
    /// changes.
    Superseded,
    /// A label more than `delay_max` after its prediction, or before it. It is not kept.
    TooFar,
    /// A limit is reached and it is not kept: `waiting_max`, `bytes_max` or [`LABELS_PER_KEY_MAX`].
    OverLimit,
}

/// What became of labels that had waited and will not count: with these, every label that was handed in ends in
/// one place, so the numbers of all that [`Joined`] and [`Expired`] tell add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// Another of them counts.
    pub superseded: u32,
    /// More than `delay_max` lies between them and the prediction.
    pub too_far: u32,
}

/// What left because its time was over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expired {
    /// Predictions whose label never came.
    pub predictions: u64,
    /// Labels whose prediction never came.
    pub labels: u64,
    /// Pairs that were counted when they met, and can no longer be corrected.
    pub matched: u64,
}

/// What a joiner holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// All entries.
    pub entries: u64,
    /// Predictions that have their label, held for corrections and duplicates.
    pub matched: u64,
    /// Labels whose prediction has not come.
    pub labels: u64,
    /// Bytes of the journal files, with what has not been taken by [`Joiner::take_writes`].
    pub disk_bytes: u64,
    /// Bytes of memory of the index.
    pub index_bytes: u64,
    /// Bytes in memory that [`Joiner::take_writes`] will give; of a joiner in memory all that it holds.
    pub pending_bytes: u64,
}

/// Why a joiner cannot go on. What it holds may then differ from what was read; it must be restored.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// A journal file cannot be read.
    #[error("cannot read the journal {file} of waiting predictions at byte {offset}")]
    Read {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A journal file holds what was never written.
    #[error(
        "the journal {file} of waiting predictions is damaged at byte {offset} ({detail}); it is refused and was \
         left as it is: restore a backup of the whole data directory, or move that away and start anew"
    )]
    Damaged {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What was found.
        detail: &'static str,
    },
    /// A prediction has more numbers than a record holds.
    #[error("a prediction has {values} numbers; at most {VALUES_MAX} can wait for a label")]
    TooManyValues {
        /// How many it has.
        values: usize,
    },
    /// The numbers of the files are used up.
    #[error(
        "a model's journals of waiting predictions have no number left; start anew with an empty data directory"
    )]
    NoNumberLeft,
}

/// The predictions of one model that wait for their labels, and the labels that wait for their predictions.
#[derive(Debug)]
pub struct Joiner {
    settings: Settings,
    index: Index,
    journal: Journal,
    /// Where the entries of one key may be; kept for its memory.
    candidates: Vec<Location>,
}

/// What is held under one key: a prediction, or labels without one.
#[derive(Default)]
struct Held {
    prediction: Option<(Location, Prediction, Option<Label>)>,
    labels: Vec<(Location, Label)>,
}

/// What a new record says.
struct Entry<'a> {
    key: Key,
    prediction: Option<&'a Prediction>,
    label: Option<Label>,
}

impl Joiner {
    /// A joiner that holds nothing and has nothing on disk. `reader` reads what the owner makes durable.
    pub fn new(settings: Settings, reader: Arc<dyn ReadJournal>) -> Self {
        Self::with(settings, Journal::new(Some(reader)))
    }

    /// A joiner whose journals stay in memory: for runs over files, which end with their process.
    /// [`Joiner::take_writes`] gives nothing, and `bytes_max` bounds the memory.
    pub fn in_memory(settings: Settings) -> Self {
        Self::with(settings, Journal::new(None))
    }

    fn with(settings: Settings, journal: Journal) -> Self {
        Self { settings, index: Index::new(), journal, candidates: Vec::new() }
    }

    /// The joiner that had these files when its writes were committed last. Reads all of them once.
    ///
    /// # Errors
    /// [`JoinError::Read`], and [`JoinError::Damaged`] for a file that is not what was written.
    pub fn restore(
        settings: Settings,
        stored: &[StoredJournal],
        reader: Arc<dyn ReadJournal>,
    ) -> Result<Self, JoinError> {
        let mut joiner = Self::new(settings, reader);
        let mut stored = stored.to_vec();
        stored.sort_unstable();
        let mut chunk = Vec::new();
        for file in stored {
            let mut offset = joiner.journal.adopt(file)?;
            while offset < file.bytes {
                offset = joiner.scan(file, offset, &mut chunk)?;
            }
        }
        Ok(joiner)
    }

    /// Takes up the records of one chunk; gives the offset of the first that it did not hold whole.
    fn scan(&mut self, file: StoredJournal, from: u64, chunk: &mut Vec<u8>) -> Result<u64, JoinError> {
        self.journal.read_chunk(file, from, chunk)?;
        let (mut offset, mut rest) = (from, chunk.as_slice());
        while let Some(len) = record::whole(rest) {
            let Some((bytes, after)) = rest.split_at_checked(len) else { break };
            let at = self.journal.location(file.file, offset)?;
            let head =
                record::head(bytes, at).map_err(|detail| self.journal.damaged(file.file, offset, detail))?;
            self.journal.seen(file.file, head.time);
            self.take_up(&head, at)?;
            (rest, offset) = (after, offset + len as u64);
        }
        if offset == from {
            return Err(self.journal.damaged(file.file, offset, "a record is cut off or has no length"));
        }
        Ok(offset)
    }

    /// Enters a record that was read at start. One that it replaces and whose file is gone is not there.
    fn take_up(&mut self, head: &record::Head, at: Location) -> Result<(), JoinError> {
        match head.replaces {
            Replaces::One(old) if self.index.replace(head.key, old, head.kind, at) => return Ok(()),
            Replaces::AllLabels => {
                for (old, _) in self.held(head.key)?.labels {
                    self.index.remove(head.key, old);
                }
            }
            Replaces::One(_) | Replaces::Nothing => {}
        }
        self.index.insert(head.key, head.kind, at);
        Ok(())
    }

    /// A prediction was read.
    ///
    /// # Errors
    /// [`JoinError`] when the joiner cannot go on.
    pub fn predict(&mut self, key: Key, prediction: Prediction) -> Result<Joined, JoinError> {
        let values = prediction.predicted.values.len();
        if values > VALUES_MAX {
            return Err(JoinError::TooManyValues { values });
        }
        let held = self.held(key)?;
        if held.prediction.is_some() {
            return Ok(Joined::Duplicate);
        }
        let (label, settled) = self.settle(&prediction, &held.labels);
        let entry = Entry { key, prediction: Some(&prediction), label };
        let is_kept = match held.labels.as_slice() {
            [] => self.keep_new(&entry)?,
            [(only, _)] => self.keep_instead(&entry, Replaces::One(*only), &held.labels)?,
            _ => self.keep_instead(&entry, Replaces::AllLabels, &held.labels)?,
        };
        Ok(match label {
            _ if !is_kept => Joined::OverLimit,
            None => Joined::Waiting(settled),
            Some(Label { truth, time }) => {
                Joined::Matched { delay: time - prediction.time, prediction, truth, settled }
            }
        })
    }

    /// Which of the labels that waited counts for the prediction.
    fn settle(&self, prediction: &Prediction, labels: &[(Location, Label)]) -> (Option<Label>, Settled) {
        let mut settled = Settled::default();
        let mut best: Option<Label> = None;
        for (_, label) in labels {
            if !self.belongs(prediction.time, label.time) {
                settled.too_far += 1;
                continue;
            }
            settled.superseded += u32::from(best.is_some());
            if best.is_none_or(|best| label.rank() > best.rank()) {
                best = Some(*label);
            }
        }
        (best, settled)
    }

    fn belongs(&self, prediction: Timestamp, label: Timestamp) -> bool {
        let delay = label - prediction;
        delay <= self.settings.delay_max && Span::ZERO - delay <= self.settings.delay_max
    }

    /// A label was read.
    ///
    /// # Errors
    /// [`JoinError`] when the joiner cannot go on.
    pub fn label(&mut self, key: Key, truth: Truth, time: Timestamp) -> Result<Joined, JoinError> {
        let label = Label { truth, time };
        let held = self.held(key)?;
        match held.prediction {
            Some((at, prediction, before)) => self.judge(key, (at, prediction, before), label),
            None => self.wait_for_prediction(key, label, &held.labels),
        }
    }

    /// A label whose prediction is there.
    fn judge(
        &mut self,
        key: Key,
        (at, prediction, before): (Location, Prediction, Option<Label>),
        label: Label,
    ) -> Result<Joined, JoinError> {
        if !self.belongs(prediction.time, label.time) {
            return Ok(Joined::TooFar);
        }
        match before.map(|before| label.rank().cmp(&before.rank())) {
            Some(std::cmp::Ordering::Equal) => return Ok(Joined::Duplicate),
            Some(std::cmp::Ordering::Less) => return Ok(Joined::Superseded),
            Some(std::cmp::Ordering::Greater) | None => {}
        }
        let entry = Entry { key, prediction: Some(&prediction), label: Some(label) };
        if !self.keep_instead(&entry, Replaces::One(at), &[])? {
            return Ok(Joined::OverLimit);
        }
        let (truth, delay) = (label.truth, label.time - prediction.time);
        Ok(match before {
            None => Joined::Matched { prediction, truth, delay, settled: Settled::default() },
            Some(before) => Joined::Corrected {
                before: before.truth,
                before_delay: before.time - prediction.time,
                prediction,
                truth,
                delay,
            },
        })
    }

    /// A label whose prediction is not there. Of labels with one time only the greatest can ever count.
    fn wait_for_prediction(
        &mut self,
        key: Key,
        label: Label,
        others: &[(Location, Label)],
    ) -> Result<Joined, JoinError> {
        let entry = Entry { key, prediction: None, label: Some(label) };
        let (is_kept, superseded) = match others.iter().find(|(_, other)| other.time == label.time) {
            Some((_, other)) if other.rank() == label.rank() => return Ok(Joined::Duplicate),
            Some((_, other)) if other.rank() > label.rank() => return Ok(Joined::Superseded),
            Some((at, _)) => (self.keep_instead(&entry, Replaces::One(*at), &[])?, 1),
            None => (others.len() < LABELS_PER_KEY_MAX && self.keep_new(&entry)?, 0),
        };
        let settled = Settled { superseded, too_far: 0 };
        Ok(if is_kept { Joined::Waiting(settled) } else { Joined::OverLimit })
    }

    /// Lets go what nothing can meet any more once the watermark is here, whole files at a time.
    ///
    /// # Errors
    /// [`JoinError`] when the joiner cannot go on.
    pub fn expire(&mut self, watermark: Timestamp) -> Result<Expired, JoinError> {
        let keep = self.settings.delay_max + self.settings.lateness;
        self.journal.roll(watermark, self.settings.delay_max);
        Ok(match self.journal.drop_before(watermark, keep) {
            Some(first_kept) => self.index.drop_before(first_kept),
            None => Expired::default(),
        })
    }

    /// What must become durable together with what was counted since the last call. The owner makes it so
    /// before it hands in anything further.
    pub fn take_writes(&mut self) -> JournalWrites {
        self.journal.take_writes()
    }

    /// What is held now.
    pub fn waiting(&self) -> Waiting {
        Waiting {
            entries: self.index.len(),
            matched: self.index.count(Kind::Matched),
            labels: self.index.count(Kind::Label),
            disk_bytes: self.journal.bytes(),
            index_bytes: self.index.bytes(),
            pending_bytes: self.journal.pending_bytes(),
        }
    }

    // === entries ===

    /// Reads what is held under a key.
    fn held(&mut self, key: Key) -> Result<Held, JoinError> {
        let mut held = Held::default();
        self.index.candidates(key, &mut self.candidates);
        for at in self.candidates.iter().copied() {
            let Record { key: found, prediction, label } = self.journal.read(at)?;
            match (prediction, label) {
                _ if found != key => {}
                (Some(prediction), label) => held.prediction = Some((at, prediction, label)),
                (None, Some(label)) => held.labels.push((at, label)),
                (None, None) => {}
            }
        }
        // The order in the table says nothing.
        held.labels.sort_unstable_by_key(|(at, _)| *at);
        Ok(held)
    }

    /// Keeps an entry that takes no other's place; `false` when there is no room for it.
    fn keep_new(&mut self, entry: &Entry<'_>) -> Result<bool, JoinError> {
        let bytes_max = self.settings.bytes_max - self.settings.bytes_max / RESERVE;
        if self.index.len() >= self.settings.waiting_max || !self.has_room(entry, bytes_max) {
            return Ok(false);
        }
        let at = self.append(entry, Replaces::Nothing)?;
        self.index.insert(entry.key, entry.kind(), at);
        Ok(true)
    }

    /// Keeps an entry in the place of others; `false` when there is no room for its record. Of several
    /// labels all but the first are taken away.
    fn keep_instead(
        &mut self,
        entry: &Entry<'_>,
        replaces: Replaces,
        labels: &[(Location, Label)],
    ) -> Result<bool, JoinError> {
        if !self.has_room(entry, self.settings.bytes_max) {
            return Ok(false);
        }
        let at = self.append(entry, replaces)?;
        if let Replaces::One(old) = replaces {
            self.index.replace(entry.key, old, entry.kind(), at);
        } else {
            labels.iter().for_each(|(old, _)| self.index.remove(entry.key, *old));
            self.index.insert(entry.key, entry.kind(), at);
        }
        Ok(true)
    }

    fn has_room(&self, entry: &Entry<'_>, bytes_max: u64) -> bool {
        let record = record::len_max(entry.prediction) as u64;
        self.journal.bytes() + record + record::HEADER_BYTES as u64 <= bytes_max
    }

    fn append(&mut self, entry: &Entry<'_>, replaces: Replaces) -> Result<Location, JoinError> {
        let Entry { key, prediction, label } = *entry;
        self.journal.append(entry.time(), |at, out| {
            record::encode(out, at, key, prediction, label, replaces);
        })
    }
}

impl Entry<'_> {
    fn kind(&self) -> Kind {
        match (self.prediction, self.label) {
            (Some(_), None) => Kind::Prediction,
            (Some(_), Some(_)) => Kind::Matched,
            (None, _) => Kind::Label,
        }
    }

    /// The time from which it expires.
    fn time(&self) -> Timestamp {
        let label = self.label.map(|label| label.time);
        self.prediction.map(|prediction| prediction.time).or(label).unwrap_or_default()
    }
}

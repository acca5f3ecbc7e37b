//! The index: where the newest record of each waiting case is.
//!
//! An entry has 32 bits of the key and a place. Two keys may have the same 32 bits, so whoever asks reads the
//! records at the places that it gets and compares the keys; with 10 million entries one question in 30,000
//! reads a record in vain.

use std::fmt;

use hashbrown::HashTable;

use super::journal::Location;
use super::{Expired, Key};

/// Tables among which keys are divided. One that is full moves its own entries only, so none holds the owner up
/// for long: of 10 million entries 160,000.
const SHARDS: usize = 64;

/// Bits of `place` that are the file's number; the two above them are the kind.
const FILE_BITS: u32 = 30;

/// The greatest number of a file.
pub(super) const FILE_MAX: u32 = (1 << FILE_BITS) - 1;

/// What is known of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A prediction that waits for its label.
    Prediction,
    /// Both.
    Matched,
    /// A label that waits for its prediction.
    Label,
}

impl Kind {
    fn code(self) -> u32 {
        match self {
            Self::Prediction => 0,
            Self::Matched => 1,
            Self::Label => 2,
        }
    }
}

/// Twelve bytes.
#[derive(Debug, Clone, Copy)]
struct Entry {
    check: u32,
    place: u32,
    slot: u32,
}

impl Entry {
    fn new(key: Key, kind: Kind, at: Location) -> Self {
        Self { check: check(key), place: kind.code() << FILE_BITS | at.file, slot: at.slot }
    }

    fn at(self) -> Location {
        Location { file: self.place & FILE_MAX, slot: self.slot }
    }

    fn kind(self) -> Kind {
        match self.place >> FILE_BITS {
            0 => Kind::Prediction,
            1 => Kind::Matched,
            _ => Kind::Label,
        }
    }

    /// The table asks for the hash again when it grows, so it is made of what the entry has. The key is a hash
    /// already; this only spreads it to the bits that the table looks at.
    fn hash(&self) -> u64 {
        spread(self.check)
    }
}

fn check(key: Key) -> u32 {
    u32::from_le_bytes(key.part(4))
}

fn spread(check: u32) -> u64 {
    u64::from(check).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// All entries.
pub(super) struct Index {
    shards: [HashTable<Entry>; SHARDS],
    counts: [u64; 3],
}

impl fmt::Debug for Index {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Index").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Index {
    pub(super) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| HashTable::new()), counts: [0; 3] }
    }

    pub(super) fn len(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(super) fn count(&self, kind: Kind) -> u64 {
        self.counts[kind as usize]
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.allocation_size() as u64).sum()
    }

    fn shard(&mut self, key: Key) -> &mut HashTable<Entry> {
        &mut self.shards[shard(key)]
    }

    /// The places that may hold this key, into `found`.
    pub(super) fn candidates(&self, key: Key, found: &mut Vec<Location>) {
        found.clear();
        let check = check(key);
        let entries = self.shards[shard(key)].iter_hash(spread(check));
        found.extend(entries.filter(|entry| entry.check == check).map(|entry| entry.at()));
    }

    pub(super) fn insert(&mut self, key: Key, kind: Kind, at: Location) {
        let entry = Entry::new(key, kind, at);
        self.shard(key).insert_unique(entry.hash(), entry, Entry::hash);
        self.counts[kind as usize] += 1;
    }

    /// Puts an entry in the place of that of `old`; `false` when there is none.
    pub(super) fn replace(&mut self, key: Key, old: Location, kind: Kind, at: Location) -> bool {
        let new = Entry::new(key, kind, at);
        let same = |entry: &Entry| entry.check == new.check && entry.at() == old;
        let Some(entry) = self.shard(key).find_mut(new.hash(), same) else { return false };
        let before = entry.kind();
        *entry = new;
        self.counts[before as usize] -= 1;
        self.counts[kind as usize] += 1;
        true
    }

    /// Takes the entry of `old` away, if there is one.
    pub(super) fn remove(&mut self, key: Key, old: Location) {
        let check = check(key);
        let same = |entry: &Entry| entry.check == check && entry.at() == old;
        if let Ok(entry) = self.shard(key).find_entry(spread(check), same) {
            let (entry, _) = entry.remove();
            self.counts[entry.kind() as usize] -= 1;
        }
    }

    /// Takes all entries away that are in files before `first_kept`.
    pub(super) fn drop_before(&mut self, first_kept: u32) -> Expired {
        let mut gone = [0; 3];
        for shard in &mut self.shards {
            shard.retain(|entry| {
                let is_kept = entry.at().file >= first_kept;
                gone[entry.kind() as usize] += u64::from(!is_kept);
                is_kept
            });
            // Room for twice what is left stays, so that a shard does not shrink and grow in turn.
            if shard.len() < shard.capacity() / 8 {
                shard.shrink_to(shard.len() * 2, Entry::hash);
            }
        }
        for (count, gone) in self.counts.iter_mut().zip(gone) {
            *count -= gone;
        }
        let [predictions, matched, labels] = gone;
        Expired { predictions, labels, matched }
    }
}

/// From a byte that the check does not use.
fn shard(key: Key) -> usize {
    let [byte] = key.part(0);
    usize::from(byte) % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys that differ only where the index does not look.
    fn twins() -> [Key; 2] {
        let mut other = [7; 16];
        other[15] = 8;
        [Key([7; 16]), Key(other)]
    }

    #[test]
    fn keys_with_the_same_check_are_both_candidates() {
        let mut index = Index::new();
        let [one, two] = twins();
        let (first, second) = (Location { file: 0, slot: 4 }, Location { file: FILE_MAX, slot: u32::MAX });
        index.insert(one, Kind::Prediction, first);
        index.insert(two, Kind::Label, second);
        let mut found = Vec::new();
        index.candidates(two, &mut found);
        found.sort_unstable();
        assert_eq!(found, [first, second]);
        index.remove(one, first);
        index.candidates(one, &mut found);
        assert_eq!(found, [second]);
        assert_eq!((index.count(Kind::Prediction), index.count(Kind::Label)), (0, 1));
    }

    #[test]
    fn dropping_files_counts_by_kind() {
        let mut index = Index::new();
        for (number, kind) in
            [Kind::Prediction, Kind::Matched, Kind::Label, Kind::Label].into_iter().enumerate()
        {
            let key = Key::new("m", &number.to_string());
            index.insert(key, kind, Location { file: number as u32, slot: 4 });
        }
        assert_eq!(index.drop_before(3), Expired { predictions: 1, labels: 1, matched: 1 });
        assert_eq!(index.len(), 1);
        assert_eq!(index.drop_before(3), Expired::default());
    }

    #[test]
    fn an_entry_takes_at_most_30_bytes_at_any_size() {
        let mut index = Index::new();
        for number in 0..400_000u32 {
            let key = Key::new("m", &number.to_string());
            index.insert(key, Kind::Prediction, Location { file: 0, slot: number });
            if number > 100_000 && number % 1_000 == 0 {
                assert!(index.bytes() <= 30 * index.len(), "{} bytes for {}", index.bytes(), index.len());
            }
        }
    }
}

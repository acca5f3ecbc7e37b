//! Distinct texts, numbered in the order they first appear.
//!
//! Invariant: finding a text costs a bounded number of comparisons plus, for hostile texts only, a search
//! in an ordered map. So a stream that makes up texts whose hashes collide costs a logarithm, not a
//! square. The numbers depend on the texts and their order alone.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

/// Slots a table starts with, a power of two.
const SLOTS_INITIAL: usize = 64;

/// Neighbouring slots that are looked at before a text goes to the ordered map.
const PROBES_MAX: usize = 32;

/// A set of texts with a number each.
#[derive(Debug, Clone)]
pub(super) struct Interner {
    /// All texts, back to back.
    bytes: Vec<u8>,
    /// End of each text in `bytes`.
    ends: Vec<i32>,
    /// Open addressing with linear probing; a slot without a text has the key [`FREE`].
    slots: Vec<Slot>,
    /// Texts that found no slot within [`PROBES_MAX`].
    crowded: BTreeMap<Box<[u8]>, i32>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    print: Print,
    key: i32,
}

/// The key of a slot without a text.
const FREE: i32 = -1;

const FREE_SLOT: Slot = Slot { print: Print { head: 0, tail: 0, length: 0 }, key: FREE };

/// What tells texts apart. Of a text of up to [`SHORT`] bytes it is the text itself, its first and its last
/// bytes, which may overlap; of a longer one it is a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Print {
    head: u64,
    tail: u64,
    length: usize,
}

/// Longest text that its print tells from every other.
const SHORT: usize = 16;

impl Print {
    #[inline(always)]
    fn of(text: &[u8]) -> Self {
        let (head, tail) = match text.len() {
            0 => (0, 0),
            1..4 => match (text.first(), text.get(text.len() / 2), text.last()) {
                (Some(&first), Some(&middle), Some(&last)) => {
                    (u64::from_le_bytes([first, middle, last, 0, 0, 0, 0, 0]), 0)
                }
                _ => (0, 0),
            },
            4..8 => match (text.first_chunk(), text.last_chunk()) {
                (Some(head), Some(tail)) => {
                    (u64::from(u32::from_le_bytes(*head)), u64::from(u32::from_le_bytes(*tail)))
                }
                _ => (0, 0),
            },
            8..=SHORT => match (text.first_chunk(), text.last_chunk()) {
                (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
                _ => (0, 0),
            },
            _ => (xxh3_64(text), 0),
        };
        Self { head, tail, length: text.len() }
    }

    /// A place to start looking at, from both halves by multiplication.
    #[inline]
    fn start(self) -> usize {
        let length = u64::try_from(self.length).unwrap_or(u64::MAX);
        let product = u128::from(self.head ^ 0x9e37_79b9_7f4a_7c15)
            * u128::from(self.tail.rotate_left(32) ^ length ^ 0xd1b5_4a32_d192_ed03);
        let folded = (product >> 64) ^ (product & u128::from(u64::MAX));
        usize::try_from(folded & u128::from(u32::MAX)).unwrap_or(0)
    }
}

/// The texts taken out of an [`Interner`].
#[derive(Debug)]
pub(super) struct Texts {
    /// All texts, back to back.
    pub bytes: Vec<u8>,
    /// End of each text.
    pub ends: Vec<i32>,
}

enum Place {
    Found(i32),
    Free(usize),
    Crowded,
}

impl Interner {
    /// An empty set.
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            ends: Vec::new(),
            slots: vec![FREE_SLOT; SLOTS_INITIAL],
            crowded: BTreeMap::new(),
        }
    }

    /// The number of a text, if it is in the set.
    #[inline]
    pub(super) fn find(&self, text: &[u8]) -> Option<i32> {
        match self.place(text, Print::of(text)) {
            Place::Found(key) => Some(key),
            Place::Free(_) | Place::Crowded => self.crowded.get(text).copied(),
        }
    }

    /// The number of a text, which is added if it is new; `None` when the texts together would exceed 2 GiB.
    #[inline]
    pub(super) fn intern(&mut self, text: &[u8]) -> Option<i32> {
        let print = Print::of(text);
        match self.place(text, print) {
            Place::Found(key) => Some(key),
            Place::Free(at) if self.crowded.is_empty() => self.add(text, print, Some(at)),
            Place::Free(at) => match self.crowded.get(text) {
                Some(&key) => Some(key),
                None => self.add(text, print, Some(at)),
            },
            Place::Crowded => match self.crowded.get(text) {
                Some(&key) => Some(key),
                None => self.add(text, print, None),
            },
        }
    }

    /// Empties the set and hands out its texts.
    pub(super) fn take(&mut self) -> Texts {
        let texts = Texts { bytes: std::mem::take(&mut self.bytes), ends: std::mem::take(&mut self.ends) };
        self.slots.truncate(SLOTS_INITIAL);
        self.slots.fill(FREE_SLOT);
        self.crowded.clear();
        texts
    }

    #[inline(always)]
    fn place(&self, text: &[u8], print: Print) -> Place {
        let mask = self.slots.len() - 1;
        let start = print.start();
        for probe in 0..PROBES_MAX {
            let at = (start + probe) & mask;
            let Some(slot) = self.slots.get(at).filter(|slot| slot.key != FREE) else {
                return Place::Free(at);
            };
            if slot.print == print && (print.length <= SHORT || self.text(slot.key) == text) {
                return Place::Found(slot.key);
            }
        }
        Place::Crowded
    }

    #[inline]
    fn text(&self, key: i32) -> &[u8] {
        let end_of =
            |key: i32| -> Option<usize> { usize::try_from(*self.ends.get(usize::try_from(key).ok()?)?).ok() };
        let start = end_of(key - 1).unwrap_or(0);
        end_of(key).and_then(|end| self.bytes.get(start..end)).unwrap_or_default()
    }

    #[cold]
    fn add(&mut self, text: &[u8], print: Print, free: Option<usize>) -> Option<i32> {
        let end = i32::try_from(self.bytes.len().checked_add(text.len())?).ok()?;
        let key = i32::try_from(self.ends.len()).ok()?;
        self.bytes.extend_from_slice(text);
        self.ends.push(end);
        match free.and_then(|at| self.slots.get_mut(at)) {
            Some(slot) => *slot = Slot { print, key },
            None => {
                self.crowded.insert(text.into(), key);
            }
        }
        if self.ends.len() * 2 > self.slots.len() {
            self.grow();
        }
        Some(key)
    }

    /// Doubles the slots and finds every text its place anew.
    fn grow(&mut self) {
        let slots = self.slots.len() * 2;
        self.slots.clear();
        self.slots.resize(slots, FREE_SLOT);
        self.crowded.clear();
        let count = i32::try_from(self.ends.len()).unwrap_or(i32::MAX);
        for key in 0..count {
            let print = Print::of(self.text(key));
            let place = self.place(self.text(key), print);
            match place {
                Place::Free(at) => {
                    if let Some(slot) = self.slots.get_mut(at) {
                        *slot = Slot { print, key };
                    }
                }
                Place::Found(_) | Place::Crowded => {
                    let text = self.text(key).into();
                    self.crowded.insert(text, key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn texts_whose_hashes_collide_keep_their_numbers() {
        let mut interner = Interner::new();
        let mask = 0xff;
        let colliding: Vec<String> = (0..200_000)
            .map(|n| format!("t{n}"))
            .filter(|text| Print::of(text.as_bytes()).start() & mask == 7)
            .take(120)
            .collect();
        let keys: Vec<_> = colliding.iter().map(|text| interner.intern(text.as_bytes())).collect();
        assert_eq!(keys, (0..120).map(Some).collect::<Vec<_>>());
        assert!(!interner.crowded.is_empty());
        for (text, key) in colliding.iter().zip(keys) {
            assert_eq!(interner.intern(text.as_bytes()), key);
            assert_eq!(interner.find(text.as_bytes()), key);
        }
        assert_eq!(interner.find(b"other"), None);
    }

    #[test]
    fn short_texts_of_every_length_are_told_apart() {
        let text = "aaaaaaaaaaaaaaaaaaaaaaaa";
        let mut interner = Interner::new();
        let mut expected = 0;
        for length in 0..text.len() {
            for changed in 0..=length {
                let mut text = text[..length].to_owned();
                if changed < length {
                    text.replace_range(changed..=changed, "b");
                }
                assert_eq!(interner.intern(text.as_bytes()), Some(expected), "{text}");
                expected += 1;
            }
        }
    }

    proptest! {
        #[test]
        fn numbers_follow_first_appearance(texts in proptest::collection::vec("[ab]{0,20}", 0..600)) {
            let mut interner = Interner::new();
            for _ in 0..2 {
                let mut model: HashMap<&str, i32> = HashMap::new();
                for text in &texts {
                    let next = i32::try_from(model.len()).expect("small");
                    let expected = *model.entry(text).or_insert(next);
                    prop_assert_eq!(interner.intern(text.as_bytes()), Some(expected));
                }
                let taken = interner.take();
                prop_assert_eq!(taken.ends.len(), model.len());
            }
        }
    }
}

//! Joining: every label counts once for its prediction, in any interleaving and over any crash, and what waits
//! is on disk whole or refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use driftline::event::{Span, Timestamp};
use driftline::monitor::Commit;
use driftline::performance::join::{
    Expired, JoinError, Joined, Joiner, JournalWrites, Key, Prediction, ReadJournal, Settings, Settled,
    StoredJournal,
};
use driftline::store::{FILE_NAME, Options, Store, StoreError};
use driftline::summary::outcome::{Predicted, Truth};
use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

const HOUR: i64 = 3_600_000_000;

const SETTINGS: Settings = Settings {
    delay_max: Span::from_micros(20 * HOUR),
    lateness: Span::from_micros(3 * HOUR),
    waiting_max: 100_000,
    bytes_max: 1 << 30,
};

fn at(hour: i64) -> Timestamp {
    Timestamp::saturating_from_micros(hour * HOUR)
}

fn prediction(id: usize, hour: i64) -> Prediction {
    let predicted = Predicted { values: Box::new([id as f64]), class: Some(1), amount: None, query: None };
    Prediction { time: at(hour), cell: id as u32, predicted }
}

fn key(id: usize) -> Key {
    Key::new("m", &id.to_string())
}

// === any interleaving, any crash ===

/// Journals in memory that outlive a joiner.
#[derive(Debug, Default)]
struct Disk(Mutex<BTreeMap<u32, Vec<u8>>>);

impl Disk {
    /// Writes what comes first in `writes`: all of it, or as far as a crash let it come.
    fn append(&self, writes: &JournalWrites, bytes_max: usize) {
        let mut left = bytes_max;
        for append in &writes.appends {
            let mut files = self.0.lock().expect("disk");
            let file = files.entry(append.file).or_default();
            // Bytes that were never committed are cut off.
            file.truncate(append.offset as usize);
            assert_eq!(file.len() as u64, append.offset);
            let bytes = append.bytes.len().min(left);
            file.extend(&append.bytes[..bytes]);
            left -= bytes;
        }
    }

    fn delete(&self, writes: &JournalWrites) {
        let mut files = self.0.lock().expect("disk");
        writes.deleted.iter().for_each(|file| assert!(files.remove(file).is_some()));
    }
}

impl ReadJournal for Disk {
    fn read(&self, file: u32, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let files = self.0.lock().expect("disk");
        let bytes =
            files.get(&file).and_then(|bytes| bytes.get(offset as usize..offset as usize + out.len()));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn name(&self, file: u32) -> String {
        file.to_string()
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Event {
    Predict { id: usize, hour: i64 },
    Label { id: usize, class: u16, hour: i64 },
}

impl Event {
    fn hour(self) -> i64 {
        match self {
            Self::Predict { hour, .. } | Self::Label { hour, .. } => hour,
        }
    }
}

/// What the process does next, beside reading.
#[derive(Debug, Clone, Copy)]
enum Step {
    Read {
        partition: usize,
    },
    Expire,
    Commit,
    /// With this many bytes of a commit on disk that was not acknowledged.
    Crash {
        bytes: usize,
    },
}

/// What was counted: what a pane would hold, and where every label went.
#[derive(Debug, Clone, Default, PartialEq)]
struct Counts {
    outcomes: BTreeMap<u32, (u16, i64)>,
    predictions: u64,
    labels: u64,
    corrected: u64,
    duplicates: u64,
    settled: Settled,
    expired: Expired,
}

impl Counts {
    fn count(&mut self, joined: Joined) {
        let class = |truth| match truth {
            Truth::Class(class) => class,
            Truth::Number(number) => panic!("{number}"),
        };
        match joined {
            Joined::Waiting(settled) => self.settle(settled),
            Joined::Matched { prediction, truth, delay, settled } => {
                self.settle(settled);
                let before = self.outcomes.insert(prediction.cell, (class(truth), delay.as_micros() / HOUR));
                assert_eq!(before, None, "counted twice");
            }
            Joined::Corrected { prediction, before, before_delay, truth, delay } => {
                self.corrected += 1;
                let now = (class(truth), delay.as_micros() / HOUR);
                let before = (class(before), before_delay.as_micros() / HOUR);
                assert_eq!(
                    self.outcomes.insert(prediction.cell, now),
                    Some(before),
                    "takes away what counted"
                );
            }
            Joined::Duplicate => self.duplicates += 1,
            Joined::Superseded => self.settled.superseded += 1,
            Joined::TooFar => self.settled.too_far += 1,
            Joined::OverLimit => panic!("no limit is near"),
        }
    }

    fn settle(&mut self, settled: Settled) {
        self.settled.superseded += settled.superseded;
        self.settled.too_far += settled.too_far;
    }
}

/// What a process has: all of it is lost in a crash but for the copy that was committed.
#[derive(Debug, Clone, Default)]
struct Progress {
    positions: Vec<usize>,
    newest: Vec<Option<i64>>,
    counts: Counts,
    stored: Vec<StoredJournal>,
}

impl Progress {
    /// Whether an event comes too late by the clock of its own partition, which moves.
    fn is_late(&mut self, partition: usize, hour: i64) -> bool {
        let newest = self.newest[partition].map_or(hour, |newest| newest.max(hour));
        self.newest[partition] = Some(newest);
        at(newest) - at(hour) > SETTINGS.lateness
    }

    fn watermark(&self) -> Option<Timestamp> {
        self.newest.iter().copied().min().flatten().map(at)
    }
}

struct Process<'a> {
    partitions: &'a [Vec<Event>],
    disk: Arc<Disk>,
    joiner: Joiner,
    now: Progress,
    committed: Progress,
}

impl<'a> Process<'a> {
    fn new(partitions: &'a [Vec<Event>]) -> Self {
        let start = Progress {
            positions: vec![0; partitions.len()],
            newest: vec![None; partitions.len()],
            ..Progress::default()
        };
        let disk = Arc::new(Disk::default());
        let joiner = Joiner::new(SETTINGS, disk.clone());
        Self { partitions, disk, joiner, now: start.clone(), committed: start }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Read { partition } => self.read(partition % self.partitions.len()),
            Step::Expire => self.expire(),
            Step::Commit => self.commit(),
            Step::Crash { bytes } => self.crash(bytes),
        }
    }

    fn read(&mut self, partition: usize) {
        let Some(event) = self.partitions[partition].get(self.now.positions[partition]) else { return };
        self.now.positions[partition] += 1;
        if self.now.is_late(partition, event.hour()) {
            return;
        }
        let joined = match *event {
            Event::Predict { id, hour } => {
                self.now.counts.predictions += 1;
                self.joiner.predict(key(id), prediction(id, hour))
            }
            Event::Label { id, class, hour } => {
                self.now.counts.labels += 1;
                self.joiner.label(key(id), Truth::Class(class), at(hour))
            }
        };
        self.now.counts.count(joined.expect("joins"));
    }

    fn expire(&mut self) {
        let Some(watermark) = self.now.watermark() else { return };
        self.expire_to(watermark);
    }

    fn expire_to(&mut self, watermark: Timestamp) {
        let Expired { predictions, labels, matched } = self.joiner.expire(watermark).expect("expires");
        let expired = &mut self.now.counts.expired;
        expired.predictions += predictions;
        expired.labels += labels;
        expired.matched += matched;
    }

    fn commit(&mut self) {
        let writes = self.joiner.take_writes();
        self.disk.append(&writes, usize::MAX);
        let mut stored: BTreeMap<u32, u64> =
            self.now.stored.iter().map(|stored| (stored.file, stored.bytes)).collect();
        stored.extend(writes.appends.iter().map(|append| (append.file, append.end())));
        stored.retain(|file, _| !writes.deleted.contains(file));
        self.now.stored = stored.into_iter().map(|(file, bytes)| StoredJournal { file, bytes }).collect();
        self.committed = self.now.clone();
        self.disk.delete(&writes);
    }

    fn crash(&mut self, bytes: usize) {
        self.disk.append(&self.joiner.take_writes(), bytes);
        self.now = self.committed.clone();
        let known: BTreeSet<u32> = self.now.stored.iter().map(|stored| stored.file).collect();
        self.disk.0.lock().expect("disk").retain(|file, _| known.contains(file));
        self.joiner = Joiner::restore(SETTINGS, &self.now.stored, self.disk.clone()).expect("restores");
    }

    fn finish(mut self) -> Counts {
        // The rest as evenly as it can be read, so that as much as possible expires at the earliest time.
        let is_left = |now: &Progress, of: usize| now.positions[of] < self.partitions[of].len();
        let all = 0..self.partitions.len();
        while let Some(next) =
            all.clone().filter(|of| is_left(&self.now, *of)).min_by_key(|of| self.now.newest[*of])
        {
            self.read(next);
            self.expire();
        }
        self.expire_to(at(1_000));
        let left = self.joiner.waiting();
        assert_eq!((left.entries, left.disk_bytes), (0, 0), "all of it expires");
        self.now.counts
    }
}

/// The same by definition: for each prediction the greatest label that belongs to it.
fn naive(partitions: &[Vec<Event>]) -> BTreeMap<u32, (u16, i64)> {
    let mut progress = Progress { newest: vec![None; partitions.len()], ..Progress::default() };
    let mut made = BTreeMap::new();
    let mut labels = Vec::new();
    for (partition, events) in partitions.iter().enumerate() {
        for event in events {
            if progress.is_late(partition, event.hour()) {
                continue;
            }
            match *event {
                Event::Predict { id, hour } => drop(made.entry(id).or_insert(hour)),
                Event::Label { id, class, hour } => labels.push((id, hour, class)),
            }
        }
    }
    let mut outcomes = BTreeMap::new();
    labels.sort_unstable();
    for (id, hour, class) in labels {
        if let Some(made) =
            made.get(&id).filter(|made| at((hour - **made).abs()) - at(0) <= SETTINGS.delay_max)
        {
            outcomes.insert(id as u32, (class, hour - made));
        }
    }
    outcomes
}

const IDS: usize = 8;

/// Two partitions of predictions, among which the ids are divided, and two of labels, which come in any order
/// within the lateness and now and then beyond it, some twice.
fn partitions() -> impl Strategy<Value = Vec<Vec<Event>>> {
    let made = prop::collection::vec(0i64..40, IDS);
    // Many at the greatest delay, of which some come as late as they may.
    let delay = || prop_oneof![2 => -22i64..24, 1 => Just(20), 1 => Just(-20)];
    let jitter = || prop_oneof![2 => -4i64..5, 1 => Just(3)];
    let labels = || prop::collection::vec((0..IDS + 2, 0u16..3, delay(), jitter(), any::<bool>()), 0..30);
    (made, labels(), labels(), any::<u64>()).prop_map(|(made, first, second, repeat)| {
        let mut predictions = vec![Vec::new(); 2];
        for (id, hour) in made.iter().enumerate() {
            let event = Event::Predict { id, hour: *hour };
            predictions[id % 2].push((*hour, event));
            if repeat >> id & 1 == 1 {
                predictions[id % 2].push((*hour + 2, event));
            }
        }
        let label_partition = |labels: Vec<(usize, u16, i64, i64, bool)>| {
            let mut events = Vec::new();
            for (id, class, delay, jitter, twice) in labels {
                let hour = (made.get(id).unwrap_or(&30) + delay).max(0);
                let event = Event::Label { id, class, hour };
                events.extend(std::iter::repeat_n((hour + jitter, event), 1 + usize::from(twice)));
            }
            events
        };
        predictions.extend([label_partition(first), label_partition(second)]);
        let in_order = |mut events: Vec<(i64, Event)>| {
            events.sort_by_key(|(arrival, _)| *arrival);
            events.into_iter().map(|(_, event)| event).collect()
        };
        predictions.into_iter().map(in_order).collect()
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => (0usize..4).prop_map(|partition| Step::Read { partition }),
        20 => Just(Step::Expire),
        2 => Just(Step::Commit),
        1 => (0usize..400).prop_map(|bytes| Step::Crash { bytes }),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn the_joins_are_the_same_in_any_interleaving_and_over_any_crash(
        partitions in partitions(),
        steps in steps(),
    ) {
        let mut process = Process::new(&partitions);
        steps.into_iter().for_each(|step| process.step(step));
        let counts = process.finish();
        prop_assert_eq!(&counts.outcomes, &naive(&partitions));
        // Where every record went adds up.
        let Counts { outcomes, predictions, labels, corrected, settled, expired, .. } = &counts;
        let matched = outcomes.len() as u64;
        prop_assert_eq!(expired.matched, matched);
        let refused = u64::from(settled.superseded + settled.too_far);
        let duplicate_predictions = predictions - expired.predictions - expired.matched;
        let duplicate_labels = counts.duplicates - duplicate_predictions;
        prop_assert_eq!(*labels, matched + corrected + refused + duplicate_labels + expired.labels);
    }
}

// === on disk ===

struct Scratch {
    dir: TempDir,
}

impl Scratch {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("scratch directory") }
    }

    /// Copies the files as they lie on disk, as a crash would leave them.
    fn crash_copy(&self) -> Self {
        let to = Self::new();
        fs::create_dir(to.waiting()).expect("directory");
        for dir in ["", "waiting"] {
            for entry in fs::read_dir(self.dir.path().join(dir)).expect("list") {
                let entry = entry.expect("entry");
                if entry.path().is_file() {
                    fs::copy(entry.path(), to.dir.path().join(dir).join(entry.file_name())).expect("copy");
                }
            }
        }
        to
    }

    fn waiting(&self) -> PathBuf {
        self.dir.path().join("waiting")
    }

    fn journals(&self) -> Vec<PathBuf> {
        let list = fs::read_dir(self.waiting()).expect("list");
        let mut paths: Vec<PathBuf> = list.map(|entry| entry.expect("entry").path()).collect();
        paths.sort();
        paths
    }

    fn open(&self) -> Store {
        Store::open(self.dir.path(), Options::default()).expect("opens")
    }

    fn refused(&self) -> String {
        Store::open(self.dir.path(), Options::default()).expect_err("refused").to_string()
    }
}

fn stored(store: &Store, model: &str) -> Vec<StoredJournal> {
    let journals = store.restore().expect("restores").journals;
    journals.into_iter().find(|(name, _)| name == model).map(|(_, files)| files).unwrap_or_default()
}

fn restore(store: &Store) -> Result<Joiner, JoinError> {
    Joiner::restore(SETTINGS, &stored(store, "m"), store.journal_reader("m"))
}

fn commit(store: &Store, joiner: &mut Joiner) {
    let journals = vec![("m".to_owned(), joiner.take_writes())];
    store.apply(&Commit { journals, ..Commit::default() }, at(0)).expect("applies");
}

fn label(joiner: &mut Joiner, id: usize, hour: i64) -> Joined {
    joiner.label(key(id), Truth::Class(1), at(hour)).expect("labels")
}

/// Three files with one prediction each, committed.
fn three_files() -> (Scratch, Store, Joiner) {
    let scratch = Scratch::new();
    let store = scratch.open();
    let mut joiner = Joiner::new(SETTINGS, store.journal_reader("m"));
    for hour in [1, 3, 5] {
        joiner.expire(at(hour)).expect("expires");
        joiner.predict(key(hour as usize), prediction(hour as usize, hour)).expect("predicts");
        commit(&store, &mut joiner);
    }
    assert_eq!(scratch.journals().len(), 3);
    (scratch, store, joiner)
}

#[test]
fn what_was_committed_waits_over_a_restart() {
    let (scratch, store, mut joiner) = three_files();
    assert!(matches!(label(&mut joiner, 1, 4), Joined::Matched { .. }), "reads what an earlier commit wrote");
    commit(&store, &mut joiner);
    let before = joiner.waiting();
    drop((store, joiner));

    let store = scratch.open();
    let mut joiner = restore(&store).expect("restores");
    assert_eq!(joiner.waiting(), before);
    assert_eq!(label(&mut joiner, 1, 4), Joined::Duplicate);
    assert!(matches!(label(&mut joiner, 3, 4), Joined::Matched { .. }));
    commit(&store, &mut joiner);
    assert_eq!(restore(&store).expect("restores").waiting().matched, 2);
}

#[test]
fn models_have_files_of_their_own() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let mut journals = Vec::new();
    for model in ["a", "b"] {
        let mut joiner = Joiner::new(SETTINGS, store.journal_reader(model));
        joiner.predict(Key::new(model, "1"), prediction(1, 1)).expect("predicts");
        journals.push((model.to_owned(), joiner.take_writes()));
    }
    store.apply(&Commit { journals, ..Commit::default() }, at(0)).expect("applies");
    assert_eq!(scratch.journals().len(), 2);
    assert_eq!(store.restore().expect("restores").journals.len(), 2);
    let reader = store.journal_reader("b");
    let mut joiner = Joiner::restore(SETTINGS, &stored(&store, "b"), reader).expect("restores");
    assert!(matches!(joiner.label(Key::new("b", "1"), Truth::Class(0), at(1)), Ok(Joined::Matched { .. })));
}

#[test]
fn what_was_not_acknowledged_is_gone_after_a_crash() {
    let (scratch, store, joiner) = three_files();
    let before = joiner.waiting();
    let crashed = scratch.crash_copy();
    drop(store);
    // Bytes that reached the disk before their transaction did, in a known file and in a new one.
    let last = &crashed.journals()[2];
    let mut bytes = fs::read(last).expect("reads");
    bytes.extend([9; 100]);
    fs::write(last, bytes).expect("writes");
    let new = last.to_string_lossy().replace("-2.journal", "-3.journal");
    fs::write(&new, [1; 50]).expect("writes");
    fs::write(crashed.waiting().join("notes.txt"), "an operator's").expect("writes");

    let store = crashed.open();
    assert!(!Path::new(&new).exists());
    assert_eq!(crashed.journals().len(), 4, "only what has a journal's name is taken away");
    let mut joiner = restore(&store).expect("restores");
    assert_eq!(joiner.waiting(), before);
    joiner.expire(at(9)).expect("expires");
    joiner.predict(key(9), prediction(9, 9)).expect("predicts");
    commit(&store, &mut joiner);
    assert!(Path::new(&new).exists(), "the number is used again");
    assert_eq!(restore(&store).expect("restores").waiting().entries, 4);
}

#[test]
fn expired_files_are_deleted_and_a_crash_before_that_is_made_good() {
    let (scratch, store, mut joiner) = three_files();
    let expired = joiner.expire(at(27)).expect("expires");
    assert_eq!(expired.predictions, 2);
    let copy = scratch.crash_copy();
    let before_deletion = copy.journals();
    commit(&store, &mut joiner);
    assert_eq!(scratch.journals().len(), 1);
    assert_eq!(stored(&store, "m").iter().map(|stored| stored.file).collect::<Vec<_>>(), [2]);

    // The transaction is there, and the files are too.
    let crashed = scratch.crash_copy();
    for path in &before_deletion {
        fs::copy(path, crashed.waiting().join(path.file_name().expect("a name"))).expect("copy");
    }
    assert_eq!(crashed.journals().len(), 3);
    let store = crashed.open();
    assert_eq!(crashed.journals().len(), 1);
    assert_eq!(restore(&store).expect("restores").waiting().entries, 1);
}

#[test]
fn a_file_that_is_missing_or_too_short_is_refused_and_nothing_is_changed() {
    let (scratch, store, _) = three_files();
    let copy = scratch.crash_copy();
    drop(store);
    let [first, second, _] = &copy.journals()[..] else { panic!("three") };
    let mut longer = fs::read(first).expect("reads");
    longer.extend([0; 8]);
    fs::write(first, &longer).expect("writes");
    fs::write(copy.waiting().join("0000000000000001-7.journal"), "unknown").expect("writes");
    let sound = fs::read(second).expect("reads");
    fs::write(second, &sound[..sound.len() - 1]).expect("writes");
    let message = copy.refused();
    assert!(message.contains("-1.journal") && message.contains("has 79 bytes where 80"), "{message}");
    fs::remove_file(second).expect("removes");
    let message = copy.refused();
    assert!(message.contains("-1.journal") && message.contains("missing"), "{message}");
    assert_eq!(fs::read(first).expect("reads"), longer);
    assert_eq!(copy.journals().len(), 3);
    fs::write(second, sound).expect("writes");
    copy.open();
    assert_eq!(copy.journals().len(), 3);
}

#[test]
fn a_damaged_file_is_refused_by_name_and_kept() {
    let (scratch, store, _) = three_files();
    drop(store);
    let path = &scratch.journals()[1];
    let mut bytes = fs::read(path).expect("reads");
    bytes[50] ^= 1;
    fs::write(path, &bytes).expect("writes");
    let store = scratch.open();
    let error = restore(&store).expect_err("refused");
    let message = error.to_string();
    assert!(message.contains(&path.display().to_string()) && message.contains("byte 32"), "{message}");
    drop(store);
    assert_eq!(fs::read(path).expect("reads"), bytes);
}

#[test]
fn a_journal_that_cannot_be_written_stops_the_store() {
    let (scratch, store, mut joiner) = three_files();
    // Somebody else has written to the file.
    let path = &scratch.journals()[2];
    let mut bytes = fs::read(path).expect("reads");
    bytes.extend([0; 8]);
    fs::write(path, bytes).expect("writes");
    joiner.predict(key(6), prediction(6, 5)).expect("predicts");
    let commit = Commit { journals: vec![("m".to_owned(), joiner.take_writes())], ..Commit::default() };
    let error = store.apply(&commit, at(0)).expect_err("stops");
    let cause = std::error::Error::source(&error).expect("a cause").to_string();
    assert!(cause.contains("-2.journal"), "{cause}");
    assert!(matches!(store.apply(&commit, at(0)), Err(StoreError::Stopped { .. })));
    drop(store);
    assert_eq!(restore(&scratch.open()).expect("restores").waiting().entries, 3);
}

#[test]
fn a_store_without_journals_has_no_directory_for_them() {
    let scratch = Scratch::new();
    let store = scratch.open();
    store.apply(&Commit { state: Some(vec![1]), ..Commit::default() }, at(0)).expect("applies");
    assert!(!scratch.waiting().exists());
    assert_eq!(store.restore().expect("restores").journals, []);
}

#[test]
fn a_store_of_the_format_before_is_brought_to_this_one() {
    let scratch = Scratch::new();
    drop(scratch.open());
    let file = Connection::open(scratch.dir.path().join(FILE_NAME)).expect("opens");
    file.execute_batch("DROP TABLE journals; DROP TABLE outcome_panes; DROP TABLE performance; DROP TABLE joined; PRAGMA user_version = 2;").expect("the format before");
    drop(file);
    let store = scratch.open();
    let mut joiner = Joiner::new(SETTINGS, store.journal_reader("m"));
    joiner.predict(key(1), prediction(1, 1)).expect("predicts");
    commit(&store, &mut joiner);
    assert_eq!(restore(&store).expect("restores").waiting().entries, 1);
}

use std::collections::BTreeMap;

use super::*;

const HOUR: i64 = 3_600_000_000;

/// Files that do not change.
#[derive(Debug, Default)]
struct Fixed(BTreeMap<u32, Vec<u8>>);

impl Fixed {
    fn after(writes: &[JournalWrites]) -> Self {
        let mut files: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        for write in writes {
            for append in &write.appends {
                let file = files.entry(append.file).or_default();
                assert_eq!(file.len() as u64, append.offset);
                file.extend(&append.bytes);
            }
            write.deleted.iter().for_each(|file| assert!(files.remove(file).is_some()));
        }
        Self(files)
    }

    fn stored(&self) -> Vec<StoredJournal> {
        let stored =
            |(file, bytes): (&u32, &Vec<u8>)| StoredJournal { file: *file, bytes: bytes.len() as u64 };
        self.0.iter().map(stored).collect()
    }

    fn restore(self) -> Result<Joiner, JoinError> {
        let stored = self.stored();
        Joiner::restore(settings(), &stored, Arc::new(self))
    }
}

impl ReadJournal for Fixed {
    fn read(&self, file: u32, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = self.0.get(&file).and_then(|bytes| bytes.get(from..from + out.len()));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn name(&self, file: u32) -> String {
        format!("{file}.journal")
    }
}

fn settings() -> Settings {
    Settings {
        delay_max: Span::from_micros(10 * HOUR),
        lateness: Span::from_micros(HOUR),
        waiting_max: 1_000,
        bytes_max: 1 << 20,
    }
}

fn joiner() -> Joiner {
    Joiner::in_memory(settings())
}

fn at(hour: i64) -> Timestamp {
    Timestamp::saturating_from_micros(hour * HOUR)
}

fn hours(hours: i64) -> Span {
    Span::from_micros(hours * HOUR)
}

fn key(id: &str) -> Key {
    Key::new("m", id)
}

fn prediction(hour: i64) -> Prediction {
    let predicted = Predicted { values: Box::new([0.5]), class: Some(1), amount: Some(2.5), query: None };
    Prediction { time: at(hour), cell: 7, predicted }
}

fn predict(joiner: &mut Joiner, id: &str, hour: i64) -> Joined {
    joiner.predict(key(id), prediction(hour)).expect("predicts")
}

fn label(joiner: &mut Joiner, id: &str, class: u16, hour: i64) -> Joined {
    joiner.label(key(id), Truth::Class(class), at(hour)).expect("labels")
}

fn matched(made: i64, class: u16, delay: i64) -> Joined {
    let settled = Settled::default();
    Joined::Matched { prediction: prediction(made), truth: Truth::Class(class), delay: hours(delay), settled }
}

const WAITING: Joined = Joined::Waiting(Settled { superseded: 0, too_far: 0 });

// === meeting ===

#[test]
fn a_label_meets_its_prediction_once() {
    let mut joiner = joiner();
    assert_eq!(predict(&mut joiner, "a", 1), WAITING);
    assert_eq!(label(&mut joiner, "a", 1, 5), matched(1, 1, 4));
    assert_eq!(label(&mut joiner, "a", 1, 5), Joined::Duplicate);
    assert_eq!(predict(&mut joiner, "a", 1), Joined::Duplicate);
    assert_eq!((joiner.waiting().entries, joiner.waiting().matched), (1, 1));
}

#[test]
fn a_label_waits_for_its_prediction() {
    let mut joiner = joiner();
    assert_eq!(label(&mut joiner, "a", 1, 1), WAITING);
    assert_eq!(label(&mut joiner, "a", 1, 1), Joined::Duplicate);
    assert_eq!(joiner.waiting().labels, 1);
    assert_eq!(predict(&mut joiner, "a", 4), matched(4, 1, -3));
    assert_eq!(joiner.waiting().labels, 0);
}

#[test]
fn ids_and_models_are_told_apart() {
    assert_ne!(Key::new("m", "a"), Key::new("m", "b"));
    assert_ne!(Key::new("m", "a"), Key::new("n", "a"));
    let mut joiner = joiner();
    predict(&mut joiner, "a", 1);
    assert_eq!(label(&mut joiner, "b", 1, 1), WAITING);
}

/// The index knows 4 bytes of a key and the shard one; the records know the rest.
#[test]
fn keys_that_the_index_cannot_tell_apart_are_told_apart_by_their_records() {
    let keys = [1, 2, 3].map(|last| Key([9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, last]));
    let mut joiner = Joiner::new(settings(), Arc::new(Fixed::default()));
    assert_eq!(joiner.predict(keys[0], prediction(0)).expect("predicts"), WAITING);
    assert_eq!(joiner.predict(keys[1], prediction(1)).expect("predicts"), WAITING);
    for hour in [2, 3] {
        let waiting = joiner.label(keys[2], Truth::Class(1), at(hour)).expect("labels");
        assert_eq!(waiting, WAITING);
    }
    assert_eq!(joiner.label(keys[1], Truth::Class(1), at(2)).expect("labels"), matched(1, 1, 1));
    assert!(matches!(joiner.predict(keys[2], prediction(0)), Ok(Joined::Matched { .. })));
    let writes = joiner.take_writes();
    let before = joiner.waiting();
    let mut joiner = Fixed::after(&[writes]).restore().expect("restores");
    assert_eq!(joiner.waiting(), before);
    assert_eq!(joiner.label(keys[0], Truth::Class(1), at(2)).expect("labels"), matched(0, 1, 2));
    assert_eq!(joiner.label(keys[1], Truth::Class(1), at(2)).expect("labels"), Joined::Duplicate);
    assert_eq!(joiner.label(keys[2], Truth::Class(1), at(3)).expect("labels"), Joined::Duplicate);
}

#[test]
fn a_joiner_in_memory_begins_a_new_file_in_time() {
    let mut joiner = joiner();
    joiner.settings = Settings { waiting_max: u64::MAX, bytes_max: u64::MAX, ..settings() };
    let mut long = prediction(0);
    long.predicted.values = vec![0.5; VALUES_MAX].into();
    let ids: Vec<String> = (0..600).map(|id| id.to_string()).collect();
    for id in &ids {
        joiner.predict(key(id), long.clone()).expect("predicts");
    }
    assert!(joiner.take_writes().is_empty());
    assert!(ids.iter().all(|id| matches!(label(&mut joiner, id, 1, 1), Joined::Matched { .. })));
    assert_eq!(joiner.expire(at(99)).expect("expires").matched, 600);
    assert_eq!(joiner.waiting().disk_bytes, 0);
}

#[test]
fn a_later_label_corrects_and_an_earlier_one_does_not() {
    let mut joiner = joiner();
    predict(&mut joiner, "a", 0);
    assert_eq!(label(&mut joiner, "a", 0, 3), matched(0, 0, 3));
    let corrected = Joined::Corrected {
        prediction: prediction(0),
        before: Truth::Class(0),
        before_delay: hours(3),
        truth: Truth::Class(1),
        delay: hours(6),
    };
    assert_eq!(label(&mut joiner, "a", 1, 6), corrected);
    assert_eq!(label(&mut joiner, "a", 2, 5), Joined::Superseded);
    assert_eq!(label(&mut joiner, "a", 0, 6), Joined::Superseded);
    assert!(matches!(label(&mut joiner, "a", 2, 6), Joined::Corrected { .. }));
}

#[test]
fn what_is_further_apart_than_the_greatest_delay_does_not_meet() {
    let mut joiner = joiner();
    predict(&mut joiner, "a", 20);
    assert_eq!(label(&mut joiner, "a", 1, 31), Joined::TooFar);
    assert_eq!(label(&mut joiner, "a", 1, 9), Joined::TooFar);
    assert_eq!(label(&mut joiner, "a", 1, 10), matched(20, 1, -10));
    assert!(matches!(label(&mut joiner, "a", 1, 30), Joined::Corrected { .. }));
}

#[test]
fn of_labels_that_waited_the_last_that_belongs_counts() {
    let mut joiner = joiner();
    for (class, hour) in [(1, 5), (2, 3), (3, 14), (4, 11)] {
        assert_eq!(label(&mut joiner, "a", class, hour), WAITING);
    }
    assert_eq!(label(&mut joiner, "a", 0, 5), Joined::Superseded);
    let greater = Joined::Waiting(Settled { superseded: 1, too_far: 0 });
    assert_eq!(label(&mut joiner, "a", 9, 5), greater, "the same time and a greater truth");
    assert_eq!(joiner.waiting().labels, 4);
    let settled = Settled { superseded: 1, too_far: 2 };
    let truth = Truth::Class(9);
    let expected = Joined::Matched { prediction: prediction(0), truth, delay: hours(5), settled };
    assert_eq!(predict(&mut joiner, "a", 0), expected);
    assert_eq!(joiner.waiting().entries, 1);
}

#[test]
fn labels_that_are_too_far_leave_the_prediction_waiting() {
    let mut joiner = joiner();
    label(&mut joiner, "a", 1, 50);
    assert_eq!(predict(&mut joiner, "a", 0), Joined::Waiting(Settled { superseded: 0, too_far: 1 }));
    assert_eq!((joiner.waiting().entries, joiner.waiting().labels), (1, 0));
    assert_eq!(label(&mut joiner, "a", 1, 2), matched(0, 1, 2));
}

#[test]
fn numbers_scores_of_classes_and_queries_come_back() {
    let values = (0..600).map(f64::from).collect();
    let predicted = Predicted { values, class: None, amount: None, query: Some(u64::MAX) };
    let long = Prediction { time: at(0), cell: u32::MAX, predicted };
    let mut first = Joiner::new(settings(), Arc::new(Fixed::default()));
    first.predict(key("a"), long.clone()).expect("predicts");
    let mut joiner = Fixed::after(&[first.take_writes()]).restore().expect("restores");
    let joined = joiner.label(key("a"), Truth::Number(-0.125), at(1)).expect("labels");
    let (truth, settled) = (Truth::Number(-0.125), Settled::default());
    assert_eq!(joined, Joined::Matched { prediction: long, truth, delay: hours(1), settled });
}

#[test]
fn a_prediction_with_too_many_values_is_an_error() {
    let mut long = prediction(0);
    long.predicted.values = vec![0.0; VALUES_MAX].into();
    let mut joiner = joiner();
    assert_eq!(joiner.predict(key("a"), long.clone()).expect("the most"), WAITING);
    long.predicted.values = vec![0.0; VALUES_MAX + 1].into();
    assert!(matches!(joiner.predict(key("b"), long), Err(JoinError::TooManyValues { values: 4_097 })));
}

// === expiry ===

#[test]
fn what_waited_in_vain_expires_and_is_counted() {
    let mut joiner = joiner();
    predict(&mut joiner, "a", 0);
    predict(&mut joiner, "b", 0);
    label(&mut joiner, "b", 1, 1);
    label(&mut joiner, "c", 1, 0);
    assert_eq!(joiner.expire(at(11)).expect("expires"), Expired::default());
    let expected = Expired { predictions: 1, labels: 1, matched: 1 };
    assert_eq!(joiner.expire(at(12)).expect("expires"), expected);
    assert_eq!(joiner.waiting(), Waiting { index_bytes: joiner.waiting().index_bytes, ..Waiting::default() });
    assert_eq!(joiner.expire(at(99)).expect("expires"), Expired::default());
    assert_eq!(predict(&mut joiner, "d", 99), WAITING);
}

#[test]
fn files_expire_one_after_the_other() {
    let mut joiner = Joiner::new(settings(), Arc::new(Fixed::default()));
    let mut writes = Vec::new();
    for hour in 0..10 {
        predict(&mut joiner, &hour.to_string(), hour);
        joiner.expire(at(hour)).expect("expires");
        writes.push(joiner.take_writes());
    }
    assert_eq!(Fixed::after(&writes).0.len(), 9, "one an hour, after the first record");
    assert_eq!(joiner.expire(at(14)).expect("expires").predictions, 3);
    writes.push(joiner.take_writes());
    assert_eq!(writes[10].deleted, [0, 1]);
    let restored = Fixed::after(&writes).restore().expect("restores").waiting();
    assert_eq!((restored.entries, restored.disk_bytes), (7, joiner.waiting().disk_bytes));
}

#[test]
fn a_file_that_was_never_written_needs_no_deletion() {
    let mut joiner = Joiner::new(settings(), Arc::new(Fixed::default()));
    predict(&mut joiner, "a", 0);
    joiner.expire(at(99)).expect("expires");
    assert!(joiner.take_writes().is_empty());
}

#[test]
fn a_restart_does_not_keep_a_file_open_beyond_its_time() {
    let mut joiner = Joiner::new(settings(), Arc::new(Fixed::default()));
    predict(&mut joiner, "a", 0);
    let first = joiner.take_writes();
    let mut joiner = Fixed::after(std::slice::from_ref(&first)).restore().expect("restores");
    joiner.expire(at(2)).expect("expires");
    predict(&mut joiner, "b", 2);
    let second = joiner.take_writes();
    assert_eq!((second.appends[0].file, second.appends[0].offset), (1, 0));
}

// === limits ===

#[test]
fn at_the_limit_of_entries_nothing_new_is_kept_and_what_waits_still_meets() {
    let mut joiner = Joiner::in_memory(Settings { waiting_max: 2, ..settings() });
    predict(&mut joiner, "a", 0);
    assert_eq!(label(&mut joiner, "b", 1, 0), WAITING);
    assert_eq!(predict(&mut joiner, "c", 0), Joined::OverLimit);
    assert_eq!(label(&mut joiner, "d", 1, 0), Joined::OverLimit);
    assert_eq!(label(&mut joiner, "a", 1, 0), matched(0, 1, 0));
    assert_eq!(predict(&mut joiner, "b", 0), matched(0, 1, 0));
    assert_eq!(label(&mut joiner, "c", 1, 0), Joined::OverLimit, "its prediction was not kept");
    joiner.expire(at(12)).expect("expires");
    assert_eq!(predict(&mut joiner, "c", 12), WAITING);
}

#[test]
fn a_quarter_of_the_bytes_is_kept_for_labels_of_what_waits() {
    let bytes_max = 8_192;
    let mut joiner = Joiner::in_memory(Settings { bytes_max, ..settings() });
    let ids: Vec<String> = (0..1_000).map(|id| id.to_string()).collect();
    let kept: Vec<&String> = ids.iter().take_while(|id| predict(&mut joiner, id, 0) == WAITING).collect();
    assert!(kept.len() > 80 && joiner.waiting().disk_bytes <= bytes_max / 4 * 3, "{}", kept.len());
    assert_eq!(predict(&mut joiner, "another", 0), Joined::OverLimit);
    let met = kept.iter().filter(|id| label(&mut joiner, id, 1, 0) == matched(0, 1, 0)).count();
    assert!(met > 20 && met < kept.len(), "{met}");
    assert!(joiner.waiting().disk_bytes <= bytes_max);
    assert_eq!(label(&mut joiner, kept[kept.len() - 1], 1, 0), Joined::OverLimit);
    assert_eq!(label(&mut joiner, kept[0], 1, 0), Joined::Duplicate);
    assert_eq!(joiner.waiting().matched, met as u64);
}

#[test]
fn labels_of_one_id_that_wait_are_limited() {
    let mut joiner = joiner();
    for hour in 0..LABELS_PER_KEY_MAX as i64 {
        assert_eq!(label(&mut joiner, "a", 1, hour), WAITING);
    }
    assert_eq!(label(&mut joiner, "a", 1, 99), Joined::OverLimit);
}

// === start ===

/// Every kind of record, over two files.
fn lived() -> (Joiner, Vec<JournalWrites>) {
    let mut joiner = Joiner::new(settings(), Arc::new(Fixed::default()));
    for id in ["a", "b", "c"] {
        predict(&mut joiner, id, 0);
    }
    for hour in [1, 2, 3] {
        label(&mut joiner, "later", 1, hour);
        label(&mut joiner, "never", 1, hour);
    }
    label(&mut joiner, "a", 1, 2);
    joiner.expire(at(2)).expect("expires");
    label(&mut joiner, "b", 1, 3);
    label(&mut joiner, "a", 1, 4);
    predict(&mut joiner, "later", 4);
    let writes = vec![joiner.take_writes()];
    assert_eq!(writes[0].appends.len(), 2);
    (joiner, writes)
}

#[test]
fn a_restored_joiner_is_the_one_that_committed() {
    let (before, writes) = lived();
    let mut joiner = Fixed::after(&writes).restore().expect("restores");
    assert_eq!(joiner.waiting(), before.waiting());
    assert_eq!(label(&mut joiner, "a", 1, 4), Joined::Duplicate);
    assert_eq!(label(&mut joiner, "later", 1, 3), Joined::Duplicate);
    assert_eq!(label(&mut joiner, "c", 1, 4), matched(0, 1, 4));
    assert!(matches!(predict(&mut joiner, "never", 3), Joined::Matched { .. }));
    assert_eq!(joiner.expire(at(99)).expect("expires"), Expired { matched: 5, ..Expired::default() });
}

#[test]
fn what_was_replaced_in_a_deleted_file_is_not_needed() {
    let (_, writes) = lived();
    let mut files = Fixed::after(&writes);
    files.0.remove(&0);
    assert_eq!(files.restore().expect("restores").waiting().matched, 3);
}

#[test]
fn a_damaged_file_is_refused_by_name() {
    let (_, writes) = lived();
    let whole = Fixed::after(&writes);
    let sound: Vec<u8> = whole.0[&1].clone();
    for place in 0..sound.len() {
        let mut files = Fixed::after(&writes);
        files.0.insert(1, sound.iter().enumerate().map(|(i, byte)| byte ^ u8::from(i == place)).collect());
        let error = files.restore().expect_err("damaged");
        assert!(
            matches!(&error, JoinError::Damaged { file, .. } if file == "1.journal"),
            "{place}: {error:?}"
        );
        assert!(error.to_string().contains("left as it is"), "{error}");
    }
    for bytes in 0..sound.len() {
        let mut files = Fixed::after(&writes);
        files.0.insert(1, sound[..bytes].to_vec());
        match files.restore() {
            Err(JoinError::Damaged { .. }) => {}
            Err(error) => panic!("{bytes}: {error}"),
            Ok(joiner) => assert!(joiner.waiting().disk_bytes % 8 == 0, "cut between two records"),
        }
    }
}

#[test]
fn a_read_of_what_is_not_there_yet_is_an_error() {
    let mut joiner = Joiner::new(settings(), Arc::new(Fixed::default()));
    predict(&mut joiner, "a", 0);
    joiner.take_writes();
    let error = joiner.label(key("a"), Truth::Class(1), at(0)).expect_err("not written");
    assert!(matches!(error, JoinError::Read { offset: 32, .. }), "{error:?}");
}

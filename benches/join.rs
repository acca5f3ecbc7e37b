//! Joining 10 million predictions with their labels, on disk: random ids, labels in another order.
//!
//! `cargo bench --bench join -- [--entries N] [--commit N] [--dir D]`, by default 10,000,000 entries, a commit of
//! 150,000 records and the system's directory for temporary files.
//!
//! Every commit appends to the journal, waits for the disk and then writes its transaction, as in the service.
//! A figure is of one thread: records a second of processor time, in user and system together, and of wall
//! time, which includes waiting for the disk. Random ids are the worst case: every look-up misses the
//! processor's caches, and every match reads a record at a random place in the journal, from the system's cache.

use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use driftline::event::{Span, Timestamp};
use driftline::monitor::Commit;
use driftline::performance::join::{Joined, Joiner, Key, Prediction, Settings};
use driftline::store::{Options, Store};
use driftline::summary::outcome::{Predicted, Truth};

const MODEL: &str = "fraud";

struct Arguments {
    entries: u64,
    commit: u64,
    dir: PathBuf,
}

impl Arguments {
    fn read() -> Self {
        let mut read = Self { entries: 10_000_000, commit: 150_000, dir: std::env::temp_dir() };
        let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(name) = arguments.next() {
            let value = arguments.next().unwrap_or_else(|| panic!("{name} needs a value"));
            match name.as_str() {
                "--entries" => read.entries = value.parse().expect("a number"),
                "--commit" => read.commit = value.parse().expect("a number"),
                "--dir" => read.dir = value.into(),
                _ => panic!("unknown argument {name}"),
            }
        }
        read
    }
}

/// A permutation of 0..2^bits, so that every id comes once and in no order that the index could gain from.
fn scattered(number: u64, bits: u32, salt: u64) -> u64 {
    let mask = (1 << bits) - 1;
    let mut x = number;
    for round in 0..3 {
        x = x.wrapping_mul(0x9E37_79B9_7F4A_7C15 | 1).wrapping_add(salt + round) & mask;
        x ^= x >> (bits / 2);
    }
    x
}

/// The numbers below `entries`, each once, in an order that depends on `salt`.
fn shuffled(entries: u64, salt: u64) -> impl Iterator<Item = u64> {
    let bits = 64 - entries.leading_zeros();
    (0..1 << bits).map(move |number| scattered(number, bits, salt)).filter(move |number| *number < entries)
}

/// Seconds that this thread has spent on a processor, with the system's work for it.
fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).map_or(f64::NAN, |nanos| nanos * 1e-9)
}

/// Runs `body` and tells records a second.
fn told<T>(name: &str, records: u64, body: impl FnOnce() -> T) -> T {
    let (processor, wall) = (processor_seconds(), Instant::now());
    let result = body();
    let (processor, wall) = (processor_seconds() - processor, wall.elapsed().as_secs_f64());
    println!(
        "{name:<8} {records:>11} records, {:>9.0} a second of processor time, {:>9.0} a second of wall time \
         ({processor:.2} s, {wall:.2} s)",
        records as f64 / processor,
        records as f64 / wall,
    );
    result
}

fn prediction(number: u64) -> Prediction {
    let values = Box::new([number as f64 / 1e7]);
    let predicted = Predicted { values, class: Some((number % 2) as u16), amount: None, query: None };
    Prediction { time: at(number), cell: (number % 8) as u32, predicted }
}

/// A thousand predictions a second.
fn at(number: u64) -> Timestamp {
    Timestamp::saturating_from_micros(1_767_225_600_000_000 + (number * 1_000) as i64)
}

/// Ids of 16 hexadecimal digits.
fn key(id: &mut String, number: u64) -> Key {
    use std::fmt::Write;
    id.clear();
    write!(id, "{:016x}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15)).expect("text");
    Key::new(MODEL, id)
}

/// Hands in every number and commits after each `commit` of them.
fn run(
    joiner: &mut Joiner,
    store: &Store,
    numbers: impl Iterator<Item = u64>,
    commit: u64,
    mut take: impl FnMut(&mut Joiner, Key, u64) -> Joined,
) -> u64 {
    let (mut id, mut matched) = (String::new(), 0);
    let write = |joiner: &mut Joiner| {
        let journals = vec![(MODEL.to_owned(), joiner.take_writes())];
        store.apply(&Commit { journals, ..Commit::default() }, Timestamp::default()).expect("applies");
    };
    for (count, number) in (1..).zip(numbers) {
        let joined = take(joiner, key(&mut id, number), number);
        matched += u64::from(matches!(black_box(joined), Joined::Matched { .. }));
        if count % commit == 0 {
            write(joiner);
        }
    }
    write(joiner);
    matched
}

fn tell_held(joiner: &Joiner) {
    let waiting = joiner.waiting();
    println!(
        "held     {:>11} entries, {:.1} bytes of memory and {:.1} bytes on disk an entry",
        waiting.entries,
        waiting.index_bytes as f64 / waiting.entries as f64,
        waiting.disk_bytes as f64 / waiting.entries as f64,
    );
}

fn main() {
    let Arguments { entries, commit, dir } = Arguments::read();
    let dir = tempfile::tempdir_in(dir).expect("scratch directory");
    let store = Store::open(dir.path(), Options::default()).expect("opens");
    let settings = Settings {
        delay_max: Span::from_secs(30 * 86_400),
        lateness: Span::from_secs(3_600),
        waiting_max: u64::MAX,
        bytes_max: u64::MAX,
    };
    told("keys", entries, || {
        let mut id = String::new();
        shuffled(entries, 1).for_each(|number| {
            black_box((key(&mut id, number), prediction(number)));
        });
    });

    let mut joiner = Joiner::new(settings, store.journal_reader(MODEL));
    told("insert", entries, || {
        run(&mut joiner, &store, shuffled(entries, 1), commit, |joiner, key, number| {
            joiner.predict(key, prediction(number)).expect("predicts")
        })
    });
    tell_held(&joiner);
    let restore = || {
        let stored = store.restore().expect("restores").journals;
        let files = stored.first().map_or(&[][..], |(_, files)| files);
        Joiner::restore(settings, files, store.journal_reader(MODEL)).expect("restores")
    };
    drop(joiner);
    let mut joiner = told("restore", entries, restore);

    let labels = entries;
    let matched = told("match", labels, || {
        run(&mut joiner, &store, shuffled(entries, 2), commit, |joiner, key, number| {
            let time = at(number) + Span::from_secs(86_400);
            joiner.label(key, Truth::Class((number % 2) as u16), time).expect("labels")
        })
    });
    assert_eq!(matched, entries, "every label meets its prediction");
    tell_held(&joiner);
    let before = joiner.waiting();
    drop(joiner);
    let mut joiner = told("restore", 2 * entries, restore);
    assert_eq!(before.matched, joiner.waiting().matched);
    let expired = told("expire", entries, || joiner.expire(at(entries) + Span::from_secs(60 * 86_400)));
    assert_eq!(expired.expect("expires").matched, entries);
}

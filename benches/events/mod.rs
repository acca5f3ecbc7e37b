//! The event that `SPEED` figures are about, its training file and its configuration, for all benchmarks
//! that need more than a decoder.
//!
//! An event is one JSON object of exactly 519 bytes: 20 features (12 numeric, 6 categorical, 2 boolean),
//! score, class, label, timestamp in milliseconds and identifier.

#![allow(dead_code, reason = "no benchmark uses all of it")]

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use driftline::baseline::{self, Baseline, BuildOptions, Roles};
use driftline::event::{RawBatch, Timestamp};

/// Bytes of every event.
pub const EVENT_BYTES: usize = 519;

/// Watched columns: the features, score, class and label.
pub const COLUMNS: usize = 23;

/// Rows of the training file.
const TRAINING_ROWS: usize = 20_000;

const NUMERIC: [&str; 12] = [
    "amount",
    "balance",
    "age_years",
    "income_monthly",
    "debt_ratio",
    "tenure_days",
    "logins_7d",
    "distance_km",
    "velocity_1h",
    "score_bureau",
    "limit_used",
    "items",
];
const CATEGORICAL: [(&str, &[&str]); 6] = [
    ("country", &["DE", "FR", "US", "GB", "IT", "ES", "NL", "PL"]),
    ("channel", &["web", "ios", "android", "branch"]),
    ("product", &["card", "loan_personal", "loan_car", "mortgage", "overdraft"]),
    ("device", &["iphone14,2", "pixel-7", "sm-s901b", "desktop", "unknown"]),
    ("segment", &["retail", "affluent", "student"]),
    ("merchant", &["grocery", "fuel", "travel", "online", "restaurant", "other", "pharmacy"]),
];
const BOOLEAN: [&str; 2] = ["is_new_device", "is_weekend"];

/// A small generator, the same everywhere (SplitMix64, Steele et al. 2014).
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn pick<'a>(&mut self, names: &[&'a str]) -> &'a str {
        names[usize::try_from(self.next() % names.len() as u64).expect("small")]
    }

    fn number(&mut self, index: usize, has_drifted: bool) -> String {
        if index.is_multiple_of(3) {
            // After the drift the lower half is gone.
            let whole = self.next() % 10_000;
            format!("{}", if has_drifted { 5_000 + whole / 2 } else { whole })
        } else {
            format!("{}.{:0width$}", self.next() % 1_000, self.next() % 100, width = 2 + index % 5)
        }
    }

    /// The members of an event but time and identifier: name, value, and whether it is text.
    fn row(&mut self, has_drifted: bool) -> Vec<(&'static str, String, bool)> {
        let mut row = Vec::with_capacity(COLUMNS);
        for (index, name) in NUMERIC.iter().enumerate() {
            row.push((*name, self.number(index, has_drifted), false));
        }
        for (name, values) in CATEGORICAL {
            row.push((name, self.pick(values).to_owned(), true));
        }
        for name in BOOLEAN {
            row.push((name, self.next().is_multiple_of(2).to_string(), false));
        }
        row.push(("score", format!("0.{:06}", self.next() % 1_000_000), false));
        row.push((
            "prediction",
            if self.next().is_multiple_of(9) { "deny" } else { "grant" }.to_owned(),
            true,
        ));
        row.push(("label", (self.next() % 2).to_string(), false));
        row
    }
}

/// One event at `millis` since the epoch, written to `text`.
pub fn write_event(random: &mut Random, millis: i64, has_drifted: bool, text: &mut String) {
    text.clear();
    let row = random.row(has_drifted);
    let (features, rest) = row.split_at(COLUMNS - 3);
    let _ = write!(text, "{{\"ts\":{millis},\"features\":{{");
    write_members(text, features);
    text.push_str("},");
    write_members(text, rest);
    text.push_str(",\"id\":\"");
    let digits = EVENT_BYTES - 2 - text.len();
    let _ = write!(text, "{:0digits$x}\"}}", random.next());
    assert_eq!(text.len(), EVENT_BYTES, "{text}");
}

fn write_members(text: &mut String, members: &[(&str, String, bool)]) {
    for (index, (name, value, is_text)) in members.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let quote = if *is_text { "\"" } else { "" };
        let _ = write!(text, "{comma}\"{name}\":{quote}{value}{quote}");
    }
}

/// `rows` events a few milliseconds apart from `from` on, in one batch of the first stream.
pub fn batch(rows: usize, from: Timestamp) -> RawBatch {
    let (mut random, mut text) = (Random(7), String::new());
    let origin = driftline::event::Origin { topic: "events".into(), partition: 0 };
    let mut raw = RawBatch::new(0, origin);
    let begin = from.as_micros() / 1_000;
    for (millis, offset) in (begin..).step_by(7).zip(0..).take(rows) {
        write_event(&mut random, millis, false, &mut text);
        raw.push(offset, from, text.as_bytes());
    }
    raw
}

/// Builds the baseline from a training file that it writes beside it, and writes its file
/// `credit.baseline`.
pub fn write_baseline(directory: &Path) -> Baseline {
    let training = directory.join("training.csv");
    write_training(&training).expect("a training file");
    let roles = Roles {
        prediction: Some("prediction".into()),
        scores: vec!["score".into()],
        label: Some("label".into()),
        ..Roles::default()
    };
    let built = baseline::build(&training, &roles, &BuildOptions::default()).expect("a baseline");
    assert_eq!(built.columns.len(), COLUMNS, "{:?}", built.notes);
    built.write(&directory.join("credit.baseline")).expect("a baseline file");
    built
}

fn write_training(path: &Path) -> io::Result<()> {
    let mut random = Random(1);
    let mut file = io::BufWriter::new(fs::File::create(path)?);
    let header: Vec<&str> = random.row(false).iter().map(|(name, _, _)| *name).collect();
    writeln!(file, "{}", header.join(","))?;
    for _ in 0..TRAINING_ROWS {
        let row = random.row(false);
        let cells: Vec<String> = row.into_iter().map(|(_, value, _)| quoted(value)).collect();
        writeln!(file, "{}", cells.join(","))?;
    }
    file.flush()
}

fn quoted(value: String) -> String {
    if value.contains(',') { format!("\"{value}\"") } else { value }
}

/// The configuration: `kafka` is the text of that section, `model` what is added to the model's, and
/// `rest` further sections. Paths are those of [`write_baseline`].
pub fn configuration(topic: &str, data_dir: &str, kafka: &str, model: &str, rest: &str) -> String {
    format!(
        r#"[service]
data_dir = "{data_dir}"
listen = "127.0.0.1:0"

{kafka}

[[stream]]
topic = "{topic}"
model = "credit"

[stream.fields]
timestamp = "/ts"
timestamp_unit = "ms"
id = "/id"
features = "/features"
prediction = "/prediction"
score = "/score"
label = "/label"

[[model]]
name = "credit"
baseline = "credit.baseline"
{model}

{rest}
"#
    )
}

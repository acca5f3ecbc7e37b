//! JSON records to typed columns: events per second of one core.
//!
//! An event is about 519 bytes with 20 features (12 numeric, 6 categorical, 2 boolean), prediction,
//! score, label, timestamp in milliseconds and identifier; a batch has 4,096 of them. Beside the usual
//! event there are three that cost more: numbers of 17 digits, as Python prints doubles; a space after
//! each colon and comma, as Python's `json.dumps` writes; and keys in another order in each record, so
//! that every prediction fails.

use std::collections::BTreeMap;
use std::fmt::Write;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use driftline::event::decode::{FeatureMapping, Field, Mapping, RecordLimits, TimestampUnit, decoder};
use driftline::event::{ColumnKind, ColumnSpec, EventSchema, Origin, RawBatch, Role, Timestamp};

const ROWS: usize = 4_096;

/// How the events of a batch are written.
#[derive(Clone, Copy, PartialEq)]
enum Style {
    Compact,
    LongNumbers,
    Spaced,
    Shuffled,
}

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
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("small")
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

fn features(random: &mut Random, style: Style) -> Vec<String> {
    let mut members = Vec::new();
    for (index, name) in NUMERIC.iter().enumerate() {
        let value = if style == Style::LongNumbers {
            format!("{}", random.next() as f64 / 1e17)
        } else if index % 3 == 0 {
            format!("{}", random.next() % 10_000)
        } else {
            format!("{}.{:0width$}", random.next() % 1_000, random.next() % 100, width = 2 + index % 5)
        };
        members.push(format!("\"{name}\":{value}"));
    }
    for (name, values) in CATEGORICAL {
        members.push(format!("\"{name}\":\"{}\"", values[random.below(values.len())]));
    }
    for name in BOOLEAN {
        members.push(format!("\"{name}\":{}", random.next().is_multiple_of(2)));
    }
    members
}

fn event(random: &mut Random, index: usize, style: Style) -> String {
    let mut features = features(random, style);
    let mut members = vec![
        format!("\"ts\":{}", 1_790_000_000_000 + index as u64 * 7),
        format!("\"id\":\"{:016x}\"", random.next()),
        "\"model\":\"credit\"".to_owned(),
        String::new(),
        format!("\"score\":0.{:06}", random.next() % 1_000_000),
        format!("\"prediction\":\"{}\"", if random.next().is_multiple_of(9) { "deny" } else { "grant" }),
        format!("\"label\":{}", random.next() % 2),
    ];
    if style == Style::Shuffled {
        random.shuffle(&mut features);
    }
    members[3] = format!("\"features\":{{{}}}", features.join(","));
    if style == Style::Shuffled {
        random.shuffle(&mut members);
    }
    let text = format!("{{{}}}", members.join(","));
    if style == Style::Spaced { text.replace(':', ": ").replace(',', ", ") } else { text }
}

fn batch(style: Style) -> RawBatch {
    let mut random = Random(7);
    let mut raw = RawBatch::new(0, Origin::default());
    for (offset, index) in (0..).zip(0..ROWS) {
        raw.push(offset, Timestamp::default(), event(&mut random, index, style).as_bytes());
    }
    raw
}

fn stream() -> (Mapping, EventSchema) {
    let column = |name: &str, role, kind| ColumnSpec { name: name.into(), role, kind };
    let mut columns: Vec<ColumnSpec> = Vec::new();
    columns.extend(NUMERIC.map(|name| column(name, Role::Feature, ColumnKind::Numeric)));
    columns.extend(CATEGORICAL.map(|(name, _)| column(name, Role::Feature, ColumnKind::Categorical)));
    columns.extend(BOOLEAN.map(|name| column(name, Role::Feature, ColumnKind::Categorical)));
    columns.push(column("prediction", Role::Prediction, ColumnKind::Categorical));
    columns.push(column("score", Role::Score, ColumnKind::Numeric));
    columns.push(column("label", Role::Label, ColumnKind::Categorical));
    let mapping = Mapping {
        model: Field::Pointer("/model".into()),
        version: None,
        timestamp: "/ts".into(),
        timestamp_unit: TimestampUnit::Milliseconds,
        id: Some("/id".into()),
        features: FeatureMapping::Object("/features".into()),
        prediction: Some("/prediction".into()),
        scores: BTreeMap::from([("score".to_owned(), "/score".to_owned())]),
        label: Some("/label".into()),
        latency_ms: None,
        segment: None,
    };
    (mapping, EventSchema::new(columns))
}

fn decode(criterion: &mut Criterion) {
    let (mapping, schema) = stream();
    let format = decoder("json").expect("the format is in the table");
    let styles = [
        ("compact", Style::Compact),
        ("long_numbers", Style::LongNumbers),
        ("spaced", Style::Spaced),
        ("shuffled", Style::Shuffled),
    ];
    let mut group = criterion.benchmark_group("decode_json");
    group.throughput(Throughput::Elements(ROWS as u64));
    for (name, style) in styles {
        let raw = batch(style);
        let mut title = name.to_owned();
        let _ = write!(title, "_{}_bytes", raw.bytes.len() / ROWS);
        let mut decoder = (format.build)(&mapping, &schema, RecordLimits::default());
        assert_eq!(decoder.decode(&raw).batch.len(), ROWS);
        group.bench_function(title, |bencher| bencher.iter(|| decoder.decode(std::hint::black_box(&raw))));
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);

//! The service on simulated cases: a baseline of training cases, and records through summariser and monitor.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field as ArrowField, Schema};
use driftline::baseline::read::MemoryTable;
use driftline::baseline::{Baseline, BuildOptions, Roles, build_table};
use driftline::event::decode::{FeatureMapping, Field, Mapping, RecordLimits, Stream, TimestampUnit};
use driftline::event::{Origin, RawBatch, Span, Timestamp};
use driftline::incident::{self, Incident};
use driftline::monitor::{Commit, ModelSettings, Monitor, PerformanceWindow, Plan, Restored, Summariser};
use driftline::performance::join::{JournalWrites, ReadJournal};
use driftline::performance::{Settings, Value};
use driftline::summary::outcome::Task;
use driftline::verdict;
use driftline::window::{self, WindowSettings};

use super::world::{Case, DAY};

/// A day.
pub const A_DAY: Span = Span::from_secs(DAY);
/// A week.
pub const A_WEEK: Span = Span::from_secs(7 * DAY);

/// Windows of a day, and of a week that slides by a day: what is usual.
pub const BOTH: [(Span, Span); 2] = [(A_DAY, A_DAY), (A_WEEK, A_DAY)];

/// How a model is watched.
pub fn settings(task: Task, metric: &str, windows: &[(Span, Span)]) -> Settings {
    let windows = windows.iter().map(|&(length, slide)| WindowSettings { length, slide });
    Settings {
        metric: metric.to_owned(),
        windows: windows.collect(),
        label_delay_max: A_DAY,
        ..Settings::new(task)
    }
}

/// What mistakes cost: a missed case of class 1 5, a false alarm 1.
pub fn value() -> Value {
    Value {
        costs: vec![vec![0.0, 1.0], vec![5.0, 0.0]],
        amount: None,
        over: 1.0,
        under: 1.0,
        currency: "EUR".to_owned(),
        retrain_cost: 1_000.0,
        retrain_risk: 0.0,
        horizon: Span::from_secs(30 * DAY),
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::default() + Span::from_secs(seconds)
}

/// The baseline of training cases.
pub fn baseline(days: &[Vec<Case>], settings: &Settings) -> Arc<Baseline> {
    let cases = || days.iter().flatten();
    let is_regression = settings.task == Task::Regression;
    let predicted = if is_regression { "prediction" } else { "score" };
    let numbers = |of: fn(&Case) -> f64| -> ArrayRef { Arc::new(cases().map(of).collect::<Float64Array>()) };
    let label: ArrayRef = if is_regression {
        numbers(|case| case.truth)
    } else {
        Arc::new(cases().map(|case| case.truth as i64).collect::<Int64Array>())
    };
    let names = cases().map(|case| Some(format!("s{}", case.segment)));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("at", Arc::new(cases().map(|case| case.at).collect::<Int64Array>())),
        ("segment", Arc::new(names.collect::<StringArray>())),
        ("amount", numbers(|case| case.amount)),
        (predicted, numbers(|case| case.predicted)),
        ("label", label),
    ];
    let field = |(name, array): &(&str, ArrayRef)| ArrowField::new(*name, array.data_type().clone(), true);
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    debug_assert!(matches!(schema.field(0).data_type(), DataType::Int64));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).expect("a batch");
    let table = MemoryTable::new(&schema, move || vec![batch.clone()].into_iter());
    let has_segments = cases().any(|case| case.segment > 0);
    let roles = Roles {
        timestamp: Some("at".to_owned()),
        segment: has_segments.then(|| "segment".to_owned()),
        ignore: if has_segments { Vec::new() } else { vec!["segment".into()] },
        prediction: is_regression.then(|| predicted.to_owned()),
        scores: if is_regression { Vec::new() } else { vec![predicted.to_owned()] },
        label: Some("label".to_owned()),
        ..Roles::default()
    };
    let outcomes = settings.outcomes();
    let options = BuildOptions {
        panes: Some((A_DAY, Span::ZERO)),
        timestamp_unit: Some(TimestampUnit::Seconds),
        outcomes: Some(&outcomes),
        ..BuildOptions::default()
    };
    Arc::new(build_table(&table, &roles, &options).expect("a baseline"))
}

fn stream(topic: &str, settings: &Settings, has_labels: bool, has_segments: bool) -> Stream {
    let is_regression = settings.task == Task::Regression;
    let is_labels_only = topic == "labels";
    let predicts = !is_labels_only;
    Stream {
        topic: topic.into(),
        format: "json".into(),
        mapping: Mapping {
            model: Field::Constant("credit".into()),
            version: None,
            timestamp: "/t".into(),
            timestamp_unit: TimestampUnit::Seconds,
            id: Some("/id".into()),
            features: if predicts { FeatureMapping::Object("/f".into()) } else { FeatureMapping::None },
            prediction: (predicts && is_regression).then(|| "/p".into()),
            scores: if predicts && !is_regression {
                BTreeMap::from([("score".into(), "/p".into())])
            } else {
                BTreeMap::new()
            },
            label: (is_labels_only || has_labels).then(|| "/y".into()),
            latency_ms: None,
            segment: (predicts && has_segments).then(|| "/s".to_owned()),
        },
        limits: RecordLimits::default(),
    }
}

/// Journals in memory.
#[derive(Debug, Default)]
struct Disk(Mutex<BTreeMap<u32, Vec<u8>>>);

impl Disk {
    fn write(&self, writes: &JournalWrites) {
        let mut files = self.0.lock().expect("disk");
        for append in &writes.appends {
            files.entry(append.file).or_default().extend(&append.bytes);
        }
        writes.deleted.iter().for_each(|file| {
            files.remove(file);
        });
    }
}

impl ReadJournal for Disk {
    fn read(&self, file: u32, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let files = self.0.lock().expect("disk");
        let from = usize::try_from(offset).expect("small");
        let bytes = files.get(&file).and_then(|bytes| bytes.get(from..from + out.len()));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn name(&self, file: u32) -> String {
        file.to_string()
    }
}

/// A model that is watched.
pub struct Service {
    monitor: Monitor,
    summariser: Summariser,
    disk: Arc<Disk>,
    /// Labels that have not come, by when they will.
    to_come: BTreeMap<(i64, u64), f64>,
    offsets: [i64; 2],
    next_id: u64,
    labels_come_late: bool,
    /// Every revision of every window.
    pub windows: Vec<PerformanceWindow>,
    /// Every transition of incidents.
    pub transitions: Vec<Incident>,
}

fn origin(topic: &str) -> Origin {
    Origin { topic: topic.into(), partition: 0 }
}

impl Service {
    /// Starts. The budget is one false alarm in thirty days for everything: daily windows of features, the
    /// windows of performance, and the watch over the stream of errors.
    pub fn new(settings: &Settings, baseline: &Arc<Baseline>, labels_come_late: bool) -> Self {
        let model = ModelSettings {
            name: "credit".into(),
            windows: window::Settings {
                windows: vec![WindowSettings { length: A_DAY, slide: A_DAY }],
                allowed_lateness: Span::from_secs(60),
                ..window::Settings::default()
            },
            verdict: verdict::Settings::default(),
            incident: incident::Settings {
                open_after: 1,
                resolve_after: 2,
                critical_effect: 0.5,
                channels: vec!["slack".into()],
                retrain: None,
            },
            segments_max: 20,
            versions_max: 10,
            early: driftline::quality::Settings { early: false, ..Default::default() },
            performance: Some(settings.clone()),
            imported: None,
        };
        let has_segments = !baseline.segments.is_empty();
        let mut streams = vec![stream("events", settings, !labels_come_late, has_segments)];
        if labels_come_late {
            streams.push(stream("labels", settings, true, has_segments));
        }
        let plan =
            Arc::new(Plan::new("cfg".into(), streams, vec![model]).with_shared(0, Arc::clone(baseline)));
        let disk = Arc::new(Disk::default());
        let journal = Arc::clone(&disk);
        let (mut monitor, notes) =
            Monitor::restore(Arc::clone(&plan), Restored::default(), &|_| Some(journal.clone()))
                .expect("a sound state");
        assert!(notes.is_empty(), "{notes:?}");
        let topics = if labels_come_late { vec!["events", "labels"] } else { vec!["events"] };
        monitor.assign(topics.into_iter().map(|topic| (origin(topic), 0)));
        Self {
            monitor,
            summariser: Summariser::new(plan),
            disk,
            to_come: BTreeMap::new(),
            offsets: [0; 2],
            next_id: 0,
            labels_come_late,
            windows: Vec::new(),
            transitions: Vec::new(),
        }
    }

    /// Feeds the cases of a day, and the labels that come on it.
    pub fn day(&mut self, cases: &[Case]) {
        for part in cases.chunks(1_000) {
            let records: Vec<(i64, String)> = part.iter().map(|case| (case.at, self.event(case))).collect();
            self.send(0, &records);
        }
        if self.labels_come_late {
            let end = cases.last().map_or(0, |case| case.at);
            let rest = self.to_come.split_off(&(end + 1, 0));
            let come = std::mem::replace(&mut self.to_come, rest);
            let label = |((at, id), truth): (&(i64, u64), &f64)| {
                (*at, format!(r#"{{"t":{at},"id":"{id}","y":{truth}}}"#))
            };
            let records: Vec<(i64, String)> = come.iter().map(label).collect();
            for part in records.chunks(1_000) {
                self.send(1, part);
            }
        }
    }

    fn event(&mut self, case: &Case) -> String {
        let Case { at, known_at, predicted, truth, segment, amount } = *case;
        let mut text = format!(r#"{{"t":{at},"s":"s{segment}","f":{{"amount":{amount}}}"#);
        if predicted.is_finite() {
            let _ = write!(text, r#","p":{predicted}"#);
        }
        if self.labels_come_late {
            let id = self.next_id;
            self.next_id += 1;
            let _ = write!(text, r#","id":"{id}""#);
            self.to_come.insert((known_at, id), truth);
        } else {
            let _ = write!(text, r#","y":{truth}"#);
        }
        text + "}"
    }

    fn send(&mut self, topic: usize, records: &[(i64, String)]) {
        let Some((now, _)) = records.last() else { return };
        let now = at(*now);
        let mut raw = RawBatch::new(topic, origin(["events", "labels"][topic]));
        for (time, record) in records {
            raw.push(self.offsets[topic], at(*time), record.as_bytes());
            self.offsets[topic] += 1;
        }
        let partial = self.summariser.summarise(raw).unwrap_or_else(|_| panic!("baselines are known"));
        self.monitor.ingest(partial, now).expect("in order");
        let commit = self.monitor.advance(now).expect("joins");
        self.keep(commit);
    }

    fn keep(&mut self, commit: Commit) {
        commit.journals.iter().for_each(|(_, writes)| self.disk.write(writes));
        self.windows.extend(commit.performance);
        self.transitions.extend(commit.transitions);
    }

    /// Incidents of a kind that opened.
    pub fn opened(&self, kind: &str) -> usize {
        self.transitions.iter().filter(|one| one.kind == kind && one.sequence == 1).count()
    }
}

//! The real program for tests: its files, its process, its API, and what it left in its store.
//!
//! A test file takes it in with `#[path = "support/service.rs"] mod service;`. A [`Home`] is a directory
//! with a configuration and baselines; a [`Service`] is `driftline run` on it. Everything is fixed by the
//! test but the ports, so tests run side by side.

#![allow(dead_code, reason = "no test file uses all of it")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use driftline::baseline::{self, Baseline, BuildOptions, Roles};
use serde_json::Value;

/// How long the program may take for anything.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Rows of the training file.
const TRAINING_ROWS: u32 = 4_000;

/// 2024-03-01T00:00:00Z in milliseconds: event times are fixed, so every run makes the same windows.
pub const BEGIN_MS: i64 = 1_709_251_200_000;

// === the events ===

/// What the world is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Climate {
    /// As in training.
    Calm,
    /// Incomes are far higher.
    Shifted,
}

/// Credit applications, drawn from a seed.
pub struct Applications {
    state: u64,
    drawn: u64,
}

/// One of them.
struct Application {
    income: f64,
    debt: f64,
    age: u64,
    country: &'static str,
    decision: &'static str,
    score: f64,
}

impl Applications {
    /// The same seed gives the same people.
    pub fn new(seed: u64) -> Self {
        Self { state: seed, drawn: 0 }
    }

    /// A number from 0 to below 1 (SplitMix64).
    pub fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Roughly normal, with mean 0 and standard deviation 1.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }

    fn draw(&mut self, climate: Climate) -> Application {
        let richer = if climate == Climate::Shifted { 12_000.0 } else { 0.0 };
        Application {
            income: (40_000.0 + richer + 8_000.0 * self.normal()).round(),
            debt: (9_000.0 + 2_000.0 * self.normal()).round(),
            age: 18 + (self.uniform() * 60.0) as u64,
            country: ["de", "fr", "nl"][(self.uniform() * 3.0) as usize],
            decision: if self.uniform() < 0.7 { "approve" } else { "refuse" },
            score: (self.uniform() * 1e6).round() / 1e6,
        }
    }

    /// The next one as an event of model `credit`.
    pub fn event(&mut self, climate: Climate, version: &str, time_ms: i64) -> String {
        let Application { income, debt, age, country, decision, score } = self.draw(climate);
        self.drawn += 1;
        format!(
            r#"{{"model":"credit","version":"{version}","ts":{time_ms},"id":"a{}","features":{{"income":{income},"debt":{debt},"age":{age},"country":"{country}"}},"decision":"{decision}","score":{score},"latency_ms":{}}}"#,
            self.drawn,
            5 + self.drawn % 40,
        )
    }

    fn training(&mut self) -> String {
        let mut text = "income,debt,age,country,decision,score\n".to_owned();
        for _ in 0..TRAINING_ROWS {
            let Application { income, debt, age, country, decision, score } = self.draw(Climate::Calm);
            writeln!(text, "{income},{debt},{age},{country},{decision},{score}").unwrap();
        }
        text
    }
}

/// The baseline of calm applications, built once.
fn calm_baseline() -> Baseline {
    static BUILT: OnceLock<Baseline> = OnceLock::new();
    let build = || {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("training.csv");
        fs::write(&path, Applications::new(1).training()).unwrap();
        let roles =
            Roles { prediction: Some("decision".into()), scores: vec!["score".into()], ..Roles::default() };
        baseline::build(&path, &roles, &BuildOptions::default()).unwrap()
    };
    BUILT.get_or_init(build).clone()
}

// === the files ===

/// What a test says of its configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The topic.
    pub topic: String,
    /// The consumer group.
    pub group: String,
    /// Further lines of `[kafka.options]`.
    pub options: &'static str,
    /// Further lines of `[[stream]]`.
    pub stream: &'static str,
    /// Where the segment is.
    pub segment: Option<&'static str>,
    /// Further lines of `[[model]]`: windows and what follows from them.
    pub model: &'static str,
    /// Name, kind, URL and further lines of each channel.
    pub channels: Vec<(&'static str, &'static str, String, &'static str)>,
}

/// A directory with everything that a service needs.
pub struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    /// Writes the configuration and the baseline of version 1.
    pub fn new(settings: &Settings) -> Self {
        let home = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(home.path("baselines")).unwrap();
        home.add_baseline("1");
        fs::write(home.path("routing-key"), "0123456789abcdef0123456789abcdef").unwrap();
        let mut text = settings.text();
        for (name, kind, url, more) in &settings.channels {
            let file = format!("{name}-url");
            fs::write(home.path(&file), url).unwrap();
            let key = if *kind == "pagerduty" { "routing_key = \"file:routing-key\"\n" } else { "" };
            write!(
                text,
                "\n[[channel]]\nname = \"{name}\"\nkind = \"{kind}\"\nurl = \"file:{file}\"\n{key}{more}\n"
            )
            .unwrap();
        }
        fs::write(home.config(), text).unwrap();
        home
    }

    /// A file of this home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The configuration.
    pub fn config(&self) -> PathBuf {
        self.path("driftline.toml")
    }

    /// Puts the baseline of a version in place.
    pub fn add_baseline(&self, version: &str) {
        let built =
            Baseline { model: Some("credit".into()), version: Some(version.into()), ..calm_baseline() };
        built.sealed().write(&self.path(&format!("baselines/credit-{version}.baseline"))).unwrap();
    }

    /// What the service left in its store. Call when it has ended.
    pub fn left(&self) -> Left {
        Left::read(&self.path("data/driftline.db"))
    }
}

impl Settings {
    fn text(&self) -> String {
        let Self { topic, group, options, stream, segment, model, channels } = self;
        let segment = segment.map_or(String::new(), |pointer| format!("segment = \"{pointer}\""));
        let names = |is_retrain: bool| {
            let chosen = channels.iter().filter(|(_, kind, ..)| (*kind == "retrain") == is_retrain);
            chosen.map(|(name, ..)| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
        };
        let retrain = match names(true) {
            name if name.is_empty() => String::new(),
            name => format!("retrain = {{ channel = {name}, cooldown = \"1h\", per_week_max = 100 }}"),
        };
        let brokers = super::kafka::broker();
        format!(
            r#"[service]
data_dir = "data"
listen = "127.0.0.1:0"
commit_interval = "100ms"
workers = 2

[kafka]
brokers = "{brokers}"
group = "{group}"
[kafka.options]
"session.timeout.ms" = "2000"
"heartbeat.interval.ms" = "400"
{options}

[[stream]]
topic = "{topic}"
{stream}
[stream.fields]
model = "/model"
version = "/version"
timestamp = "/ts"
timestamp_unit = "ms"
id = "/id"
features = "/features"
prediction = "/decision"
score = "/score"
latency_ms = "/latency_ms"
{segment}

[[model]]
name = "credit"
baseline = "baselines/credit-{{version}}.baseline"
idle_after = "30m"
channels = [{hearers}]
{retrain}
{model}
"#,
            hearers = names(false),
        )
    }
}

// === the process ===

/// A command of the program.
pub fn driftline(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_driftline"));
    command.args(arguments).env_remove("RUST_LOG");
    command
}

/// Runs a command of the program to its end.
pub fn output_of(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

/// `driftline run` in a process of its own. Dropping it kills it.
pub struct Service {
    child: Child,
    address: String,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Service {
    /// Starts the service and waits until its API answers.
    pub fn start(home: &Home) -> Self {
        let mut child = driftline(&["run", "--config", home.config().to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| kept.lock().unwrap().push(line));
        });
        let mut service = Self { child, address: String::new(), log, reader: Some(reader) };
        service.address = service.wait_for_address();
        service
    }

    fn wait_for_address(&mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.log.lock().unwrap().iter().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                (line["message"] == "driftline is running")
                    .then(|| line["address"].as_str().unwrap().to_owned())
            });
            if let Some(address) = found {
                return address;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended at its start: {ended:?}\n{}", self.log());
            assert!(Instant::now() < deadline, "no address in its log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Everything it logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Kills it without a chance to tidy up.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells it to stop; gives how it ended and how long that took.
    pub fn terminate(mut self) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "SIGTERM could not be sent");
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, begun.elapsed());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it did not stop within {PATIENCE:?}");
    }

    /// Tells it to stop and holds it to ending well and in time.
    pub fn stop(self) {
        let (status, took) = self.terminate();
        assert_eq!(status.code(), Some(0), "it ended with {status}");
        assert!(took < Duration::from_secs(10), "stopping took {took:?}");
    }

    // --- the API ---

    /// Status and body of a GET.
    pub fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: driftline\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, body.to_owned())
    }

    /// The JSON of an answer that must be 200.
    pub fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// The value of a metric's series that has these labels; 0 if there is none.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let (status, page) = self.get("/metrics");
        assert_eq!(status, 200, "{page}");
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let series = |line: &&str| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']));
            rest.is_some_and(|rest| labels.iter().all(|label| rest.contains(label.as_str())))
        };
        let line = page.lines().find(series);
        line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    /// Events of model `credit` that came to this outcome.
    pub fn events(&self, outcome: &str) -> u64 {
        self.metric("driftline_events_total", &[("model", "credit"), ("outcome", outcome)]) as u64
    }

    /// Waits until something is so.
    pub fn eventually(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended with {ended:?} before: {what}\n{}", self.log());
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} for: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Waits until the store has a partition up to an offset.
    pub fn wait_for_positions(&mut self, topic: &str, ends: &BTreeMap<i32, i64>) {
        self.eventually(&format!("positions {ends:?}"), |service| {
            let status = service.json("/api/v1/status");
            ends.iter().all(|(partition, end)| {
                status["positions"].as_array().unwrap().iter().any(|position| {
                    position["topic"] == topic
                        && position["partition"] == *partition
                        && position["next_offset"] == *end
                })
            })
        });
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the service's log ends with:\n{}", lines[lines.len().saturating_sub(25)..].join("\n"));
        }
    }
}

// === what it left ===

/// What is in a store, in an order that does not depend on how it came there. Fields that tell of the
/// moment of a commit and not of its content (positions, watermark) and of the place (configuration's
/// id, which knows the consumer group) are left out.
#[derive(Debug, PartialEq)]
pub struct Left {
    /// Closed windows by their names.
    pub windows: BTreeMap<String, Value>,
    /// Every state of every incident by id and sequence.
    pub transitions: BTreeMap<(String, i64), Value>,
    /// Notifications: channel, id, kind, in the order they were made.
    pub outbox: Vec<(String, String, String)>,
    /// Open panes with their bytes.
    pub panes: BTreeMap<String, Vec<u8>>,
    /// Events by topic, model and outcome.
    pub counters: BTreeMap<(String, String, String), i64>,
    /// Partition, offset and reason of each record that was set aside.
    pub dead_letters: Vec<(i32, i64, String)>,
    /// The next offset of each partition.
    pub positions: BTreeMap<i32, i64>,
}

impl Left {
    fn read(path: &Path) -> Self {
        let db = rusqlite::Connection::open(path).unwrap();
        let text = |row: &rusqlite::Row<'_>, at: usize| {
            row.get::<_, Option<String>>(at).map(Option::unwrap_or_default)
        };
        let windows =
            rows(&db, "SELECT model, version, segment, start, length, document FROM windows", |row| {
                let (start, length): (i64, i64) = (row.get(3)?, row.get(4)?);
                let name = format!("{}|{}|{}|{start}|{length}", text(row, 0)?, text(row, 1)?, text(row, 2)?);
                Ok((name, content(&text(row, 5)?)))
            });
        let transitions = rows(&db, "SELECT incident_id, sequence, document FROM transitions", |row| {
            Ok(((text(row, 0)?, row.get(1)?), content(&text(row, 2)?)))
        });
        let outbox = rows(&db, "SELECT channel, id, kind FROM outbox ORDER BY seq", |row| {
            Ok((text(row, 0)?, text(row, 1)?, text(row, 2)?))
        });
        let panes = rows(&db, "SELECT model, version, segment, start, baseline, summary FROM panes", |row| {
            let start: i64 = row.get(3)?;
            let parts = [text(row, 0)?, text(row, 1)?, text(row, 2)?, text(row, 4)?];
            Ok((format!("{}|{start}", parts.join("|")), row.get(5)?))
        });
        let counters = rows(&db, "SELECT topic, model, outcome, events FROM counters", |row| {
            Ok(((text(row, 0)?, text(row, 1)?, text(row, 2)?), row.get(3)?))
        });
        let mut dead_letters = rows(&db, "SELECT partition, \"offset\", reason FROM dead_letters", |row| {
            Ok((row.get(0)?, row.get(1)?, text(row, 2)?))
        });
        dead_letters.sort();
        let positions =
            rows(&db, "SELECT partition, next_offset FROM positions", |row| Ok((row.get(0)?, row.get(1)?)));
        Self {
            windows: windows.into_iter().collect(),
            transitions: transitions.into_iter().collect(),
            outbox,
            panes: panes.into_iter().collect(),
            counters: counters.into_iter().collect(),
            dead_letters,
            positions: positions.into_iter().collect(),
        }
    }

    /// Events of model `credit` that came to this outcome.
    pub fn events(&self, outcome: &str) -> i64 {
        let of = |key: &(String, String, String)| key.1 == "credit" && key.2 == outcome;
        self.counters.iter().filter(|(key, _)| of(key)).map(|(_, events)| events).sum()
    }

    /// Ids of the notifications of a channel, in order.
    pub fn ids(&self, channel: &str) -> Vec<String> {
        self.outbox.iter().filter(|row| row.0 == channel).map(|row| row.1.clone()).collect()
    }
}

fn rows<T>(
    db: &rusqlite::Connection,
    query: &str,
    read: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Vec<T> {
    let mut statement = db.prepare(query).unwrap();
    statement.query_map([], read).unwrap().collect::<Result<_, _>>().unwrap()
}

/// A document without what tells of moment and place.
fn content(document: &str) -> Value {
    without(serde_json::from_str(document).unwrap(), &["positions", "watermark", "config"])
}

/// Drops members of an object.
pub fn without(mut document: Value, names: &[&str]) -> Value {
    let object = document.as_object_mut().unwrap();
    names.iter().for_each(|name| drop(object.remove(*name)));
    document
}

//! The early watch from outside: an outage becomes an incident before its window closes, whatever happens
//! to the process in between, and a replay says the same.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use driftline::app::{plan_of, read_baseline};
use driftline::config::{Purpose, parse_for};
use driftline::event::{Origin, RawBatch, Span, Timestamp};
use driftline::monitor::{Monitor, Plan, Summariser};
use driftline::store::{IncidentFilter, Options, Store};
use serde_json::{Value, json};

/// 2024-03-01T00:00:00Z.
const BEGIN: i64 = 1_709_251_200;

const CONFIGURATION: &str = r#"
[service]
data_dir = "data"

[[stream]]
topic = "events"
fields = { timestamp = "/ts", timestamp_unit = "s", features = "/features" }

[[model]]
name = "credit"
baseline = "credit.baseline"
windows = ["1h"]
allowed_lateness = "1m"
resolve_after = 1
channels = ["audit"]

[[channel]]
name = "audit"
kind = "webhook"
url = "https://audit.example/drift"
"#;

fn driftline(arguments: &[&str], directory: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_driftline"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A row: an income that is missing once in 250, and a country that never is.
fn features(row: i64) -> (Option<i64>, &'static str) {
    let income = (row % 250 != 7).then_some(20_000 + (row * 7_919) % 60_000);
    (income, ["DE", "FR", "IT"][usize::try_from(row % 3).expect("small")])
}

/// A configuration with a trained baseline.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a directory");
    let rows: Vec<String> = (0..20_000)
        .map(|row| {
            let (income, country) = features(row);
            format!("{},{country}", income.map(|income| income.to_string()).unwrap_or_default())
        })
        .collect();
    fs::write(home.path().join("train.csv"), format!("income,country\n{}\n", rows.join("\n")))
        .expect("written");
    fs::write(home.path().join("driftline.toml"), CONFIGURATION).expect("written");
    let build = ["baseline", "build", "train.csv", "--config", "driftline.toml", "--model", "credit"];
    driftline(&[&build[..], &["-o", "credit.baseline"]].concat(), home.path());
    home
}

/// Two events a second for six hours; from 02:03 to 02:20 every third has no income.
fn events() -> Vec<String> {
    let outage = 2 * 3_600 + 180..2 * 3_600 + 1_200;
    (0..2 * 6 * 3_600)
        .map(|row| {
            let second = row / 2;
            let (income, country) = features(row);
            let income = income.filter(|_| !(outage.contains(&second) && row % 3 == 0));
            let income = income.map_or("null".to_owned(), |income| income.to_string());
            let ts = BEGIN + second;
            format!(r#"{{"ts":{ts},"features":{{"income":{income},"country":"{country}"}}}}"#)
        })
        .collect()
}

fn plan(home: &Path) -> Arc<Plan> {
    let config = parse_for("driftline.toml", CONFIGURATION, &|_| None, Purpose::Build).expect("right");
    let baseline = read_baseline(&home.join("credit.baseline")).expect("readable").expect("there");
    Arc::new(plan_of(&config).expect("no file of reference windows").with_shared(0, Arc::new(baseline)))
}

fn origin() -> Origin {
    Origin { topic: "events".into(), partition: 0 }
}

/// Runs the events through the monitor and a store, with a restart after every so many batches.
fn run(home: &Path, data: &str, events: &[String], batch: usize, restart_every: usize) -> Store {
    let (plan, directory) = (plan(home), home.join(data));
    let now = Timestamp::default() + Span::from_secs(BEGIN + 100_000);
    let start = || {
        let store = Store::open(&directory, Options::default()).expect("opens");
        let restored = store.restore().expect("restores");
        let at = restored.positions.first().map_or(0, |position| position.next_offset);
        let (mut monitor, notes) =
            Monitor::restore(Arc::clone(&plan), restored, &|_| None).expect("a sound state");
        assert!(notes.is_empty(), "{notes:?}");
        monitor.assign([(origin(), at)]);
        (store, monitor)
    };
    let mut worker = Summariser::new(Arc::clone(&plan));
    let (mut store, mut monitor) = start();
    for (number, part) in events.chunks(batch).enumerate() {
        let mut raw = RawBatch::new(0, origin());
        for (offset, event) in (number * batch..).zip(part) {
            raw.push(i64::try_from(offset).expect("small"), now, event.as_bytes());
        }
        let partial = worker.summarise(raw).unwrap_or_else(|_| panic!("the baseline is known"));
        monitor.ingest(partial, now).expect("in order");
        store.apply(&monitor.advance(now).expect("joins"), now).expect("applies");
        if number % restart_every == restart_every - 1 {
            drop(store);
            (store, monitor) = start();
        }
    }
    store
}

/// What must be the same however an incident came about: which, when, what, in words.
fn told(incident: &Value) -> Value {
    let features: Vec<Value> = incident["features"]
        .as_array()
        .expect("features")
        .iter()
        .map(|feature| json!([feature["name"], feature["test"], feature["summary"], feature["moved"]]))
        .collect();
    let names = ["id", "sequence", "status", "opened_at", "updated_at", "window_start", "window_end", "note"];
    let fields: Vec<&Value> = names.iter().map(|name| &incident[*name]).collect();
    json!([fields, features])
}

/// Every transition of the one incident in the store.
fn transitions(store: &Store) -> Vec<Value> {
    let page = store.incidents(&IncidentFilter { limit: 100, ..IncidentFilter::default() }).expect("a page");
    assert_eq!(page.rows.len(), 1, "one incident");
    let row: Value = serde_json::from_str(page.rows[0].get()).expect("JSON");
    let detail = store.incident(row["id"].as_str().expect("an id")).expect("readable").expect("there");
    detail.transitions.iter().map(|row| serde_json::from_str(row.get()).expect("JSON")).collect()
}

fn all_told(incidents: &[Value]) -> Vec<Value> {
    incidents.iter().map(told).collect()
}

#[test]
fn an_outage_is_told_of_while_its_window_is_open_over_restarts_and_in_a_replay() {
    let home = home();
    let events = events();
    let whole = transitions(&run(home.path(), "whole", &events, 4_096, usize::MAX));
    let (first, last) = (&whole[0], &whole[whole.len() - 1]);
    assert_eq!((&first["status"], &last["status"]), (&json!("open"), &json!("resolved")));
    assert_eq!(first["opened_at"], "2024-03-01T02:04:00Z");
    assert_eq!(first["features"][0]["name"], "income");
    let words = "missing in 33 % of 120 rows since 02:03 UTC, at most 0.5 % expected";
    assert_eq!(first["features"][0]["summary"], words);

    let restarted = transitions(&run(home.path(), "restarted", &events, 61, 7));
    assert_eq!(all_told(&restarted), all_told(&whole));

    fs::write(home.path().join("events.jsonl"), events.join("\n") + "\n").expect("written");
    let said = driftline(&["replay", "--json", "--config", "driftline.toml", "events.jsonl"], home.path());
    let lines = said.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let replayed: Vec<Value> = lines.filter(|line| line["type"] == "incident").collect();
    assert_eq!(all_told(&replayed), all_told(&whole));
}

#[test]
fn check_says_what_the_early_watch_does() {
    let home = home();
    let said = driftline(&["check", "--config", "driftline.toml"], home.path());
    assert!(said.contains("early              missing, wrongly typed and rejected (over 0.01)"), "{said}");
    let off = CONFIGURATION.replace("resolve_after = 1", "early = false");
    fs::write(home.path().join("driftline.toml"), off).expect("written");
    let said = driftline(&["check", "--config", "driftline.toml"], home.path());
    assert!(said.contains("early              off: early = false"), "{said}");
}

//! Performance by the whole program on a real Kafka: labels on a topic of their own, a process that is killed in
//! the middle, and what people are told of it.
//!
//! `tests/run.sh` brings a broker.

mod flow;
#[path = "support/kafka.rs"]
mod kafka;
#[path = "support/service.rs"]
mod service;
mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use flow::{BEGIN, COSTS, DAY, DELAY_MAX_DAYS, Delay, PARTITIONS, Sample, Sent, Story, World};
use serde_json::Value;
use service::{Home, Service, Settings, driftline, output_of};
use support::receiver::Receiver;

/// Days of production, and the day on which the same loans begin to end otherwise.
const DAYS: i64 = 20;
const CHANGE: i64 = 10;

/// The topics of predictions and labels.
struct Topics {
    predictions: String,
    labels: String,
}

fn config(topics: &Topics) -> String {
    let Topics { predictions, labels } = topics;
    let fields = "timestamp = \"/t\"\ntimestamp_unit = \"s\"\nid = \"/id\"";
    format!(
        r#"[service]
data_dir = "data"
listen = "127.0.0.1:0"
commit_interval = "100ms"

[kafka]
brokers = "{brokers}"
group = "{predictions}"
[kafka.options]
"session.timeout.ms" = "2000"
"heartbeat.interval.ms" = "400"

[[stream]]
topic = "{predictions}"
model = "credit"
[stream.fields]
{fields}
features = "/f"
prediction = "/granted"
score = "/p"

[[stream]]
topic = "{labels}"
model = "credit"
[stream.fields]
{fields}
label = "/repaid"

[[model]]
name = "credit"
baseline = "credit.baseline"
windows = ["1d"]
idle_after = "30m"
false_alarms = "1 per 20d"
early = false
channels = ["slack"]
[model.performance]
task = "binary"
windows = ["1d"]
label_delay_max = "{DELAY_MAX_DAYS}d"
[model.value]
costs = {COSTS:?}
currency = "EUR"
retrain_cost = 500.0
[model.training]
timestamp = "at"
timestamp_unit = "s"
prediction = "granted"
scores = ["p"]
label = "repaid"

[[channel]]
name = "slack"
kind = "slack"
url = "file:slack-url"
"#,
        brokers = kafka::broker(),
    )
}

/// A directory with the configuration and the baseline that the program itself builds from training rows.
fn home(topics: &Topics, slack: &Receiver) -> Home {
    let home = Home::new(&Settings {
        topic: topics.predictions.clone(),
        group: topics.predictions.clone(),
        options: "",
        stream: "",
        segment: None,
        model: "",
        channels: Vec::new(),
    });
    fs::write(home.path("slack-url"), slack.url("/slack")).unwrap();
    fs::write(home.config(), config(topics)).unwrap();
    let mut rows = "at,income,debt,country,p,granted,repaid\n".to_owned();
    for (time, loan) in flow::training(21, 40) {
        let flow::Loan { income, debt, country, score, decision, repaid, .. } = loan;
        writeln!(rows, "{time},{income},{debt},{country},{score},{decision},{repaid}").unwrap();
    }
    fs::write(home.path("training.csv"), rows).unwrap();
    let [input, config, output] = ["training.csv", "driftline.toml", "credit.baseline"]
        .map(|name| home.path(name).display().to_string());
    let built = output_of(&mut driftline(&[
        "baseline", "build", &input, "--config", &config, "--model", "credit", "-o", &output,
    ]));
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    home
}

/// Writes what arrives from `from` up to `to`; gives where each partition ends.
fn produce(topic: &str, sent: &BTreeMap<i32, Vec<Sent>>, (from, to): (i64, i64)) -> BTreeMap<i32, i64> {
    let mut ends = BTreeMap::new();
    for (partition, sent) in sent {
        let due = sent.iter().filter(|sent| (from..to).contains(&sent.arrival));
        kafka::produce(topic, *partition, due.map(|sent| sent.json.as_bytes()));
        ends.insert(*partition, sent.iter().filter(|sent| sent.arrival < to).count() as i64);
    }
    ends
}

fn performance(service: &Service) -> Value {
    service.json("/api/v1/models/credit/performance?limit=200")
}

fn counted(service: &Service, outcome: &str) -> u64 {
    performance(service)["joins"]["counts"][outcome].as_u64().unwrap_or(0)
}

/// Starts a service and kills it when it has matched more labels than before.
fn match_some_and_die(home: &Home, before: u64) -> u64 {
    let mut service = Service::start(home);
    service.eventually("labels are matched", |service| counted(service, "matched") > before);
    let matched = counted(&service, "matched");
    service.kill();
    matched
}

fn right(rows: &[&Sample]) -> f64 {
    let known: Vec<bool> = rows.iter().filter_map(|row| Some(row.truth()? == row.loan.decision)).collect();
    known.iter().filter(|right| **right).count() as f64 / known.len() as f64
}

#[test]
fn a_changed_concept_is_told_with_its_figures_over_kills() {
    let topics = Topics { predictions: kafka::unique("loans"), labels: kafka::unique("repaid") };
    kafka::create_topic(&topics.predictions, PARTITIONS);
    kafka::create_topic(&topics.labels, PARTITIONS);
    let slack = Receiver::start([]);
    let home = home(&topics, &slack);
    let story = Story::new(23, DAYS, Delay::Exponential(1.0), |day| {
        if day >= CHANGE { World::OtherConcept } else { World::Calm }
    });

    let parts = [BEGIN - DAY, BEGIN + 6 * DAY, BEGIN + 14 * DAY, i64::MAX];
    let mut ends = [BTreeMap::new(), BTreeMap::new()];
    let mut matched = 0;
    for (part, times) in parts.windows(2).enumerate() {
        let [from, to] = [times[0], times[1]];
        ends = [
            produce(&topics.predictions, &story.predictions, (from, to)),
            produce(&topics.labels, &story.labels, (from, to)),
        ];
        if part < 2 {
            matched = match_some_and_die(&home, matched);
        }
    }
    let mut service = Service::start(&home);
    service.wait_for_positions(&topics.predictions, &ends[0]);
    service.wait_for_positions(&topics.labels, &ends[1]);
    let ended = |service: &Service| {
        let answer = performance(service);
        let rows = answer["performance"].as_array().unwrap().clone();
        let settled = rows.iter().filter(|row| row["reading"]["maturity"] == "mature");
        settled.count() as i64 >= DAYS
    };
    service.eventually("every window is settled", ended);

    // Every record counts once, whatever was killed.
    let answer = performance(&service);
    let of = |outcome: &str| answer["joins"]["counts"][outcome].as_u64().unwrap_or(0);
    let waiting = &answer["joins"]["waiting"];
    assert_eq!(of("matched"), story.matched());
    assert_eq!(of("duplicate_prediction"), story.predictions_copied);
    let ends = ["matched", "corrected", "duplicate_label", "superseded_label", "label_too_late"];
    let ended: u64 = ends.into_iter().map(of).sum::<u64>() + of("label_without_prediction");
    assert_eq!(ended + waiting["waiting_labels"].as_u64().unwrap(), story.labels_sent(), "{answer}");
    let predictions = of("matched") + of("prediction_without_label") + waiting["waiting"].as_u64().unwrap();
    assert_eq!(predictions, story.made(), "{answer}");
    let mut days = 0;
    for row in answer["performance"].as_array().unwrap() {
        let start = row["window_start"].as_str().unwrap();
        let day = (0..DAYS).find(|day| start == format!("2024-01-{:02}T00:00:00Z", day + 1));
        let Some(day) = day else { continue };
        let rows = story.window(BEGIN + day * DAY, BEGIN + (day + 1) * DAY, None);
        let reading = &row["reading"];
        assert_eq!(reading["predictions"].as_u64().unwrap(), rows.len() as u64, "{start}");
        let labels = rows.iter().filter(|row| row.truth().is_some()).count();
        assert_eq!(reading["labels"].as_u64().unwrap(), labels as u64, "{start}");
        let metrics = reading["metrics"].as_array().unwrap();
        let accuracy = metrics.iter().find(|metric| metric["metric"] == "accuracy").unwrap();
        assert!((accuracy["value"].as_f64().unwrap() - right(&rows)).abs() < 1e-9, "{start}");
        days += 1;
    }
    assert_eq!(days, DAYS, "each day has one latest revision");

    // One incident, told once, with its figures.
    let incidents = service.json("/api/v1/incidents?limit=100");
    let of_performance: Vec<&Value> = incidents["incidents"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|incident| incident["kind"] == "performance")
        .collect();
    assert_eq!(of_performance.len(), 1, "{incidents}");
    assert_eq!(of_performance[0]["diagnosis"]["kind"], "concept_change");
    service.eventually("slack has heard", |_| !openings(&slack).is_empty());
    let told = openings(&slack);
    assert_eq!(told.len(), 1, "{told:?}");
    for part in ["ROC AUC 0.", " to 0.", "in training", " labels", "€", "a day", "Concept change"] {
        assert!(told[0].contains(part), "`{part}` is not in {}", told[0]);
    }
    service.stop();
}

/// What Slack was told when incidents about performance opened; an attempt that was cut off may come again.
fn openings(slack: &Receiver) -> Vec<String> {
    let texts = slack.requests().into_iter().map(|request| String::from_utf8(request.body).unwrap());
    let mut openings: Vec<String> = texts
        .filter(|text| {
            text.contains("performance in credit") && !text.contains("Resolved") && !text.contains("update ")
        })
        .collect();
    openings.sort();
    openings.dedup();
    openings
}

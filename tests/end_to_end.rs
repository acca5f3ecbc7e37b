//! The whole program on a real Kafka: what is promised, shown from outside.
//!
//! Each test has a topic, a group, a directory and receivers of its own. `tests/run.sh` brings a broker.

#[path = "support/kafka.rs"]
mod kafka;
#[path = "support/service.rs"]
mod service;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use service::{
    Applications, BEGIN_MS, Climate, Home, PATIENCE, Service, Settings, driftline, output_of, without,
};
use support::receiver::{Answer, Received, Receiver};

const MINUTE_MS: i64 = 60_000;

/// Ten-minute windows, and an incident that two quiet ones resolve.
const TEN_MINUTES: &str = "windows = [\"10m\"]\nallowed_lateness = \"1m\"\nresolve_after = 2";

fn settings(name: &str, partitions: i32, model: &'static str) -> Settings {
    let topic = kafka::unique(name);
    kafka::create_topic(&topic, partitions);
    Settings {
        group: topic.clone(),
        topic,
        options: "",
        stream: "",
        segment: None,
        model,
        channels: Vec::new(),
    }
}

/// Events, one a second, in turn to each partition; `climate` is asked for each minute.
fn events(
    seed: u64,
    minutes: i64,
    partitions: i32,
    climate: impl Fn(i64) -> Climate,
) -> BTreeMap<i32, Vec<String>> {
    let mut applications = Applications::new(seed);
    let mut all: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for second in 0..minutes * 60 {
        let event = applications.event(climate(second / 60), "1", BEGIN_MS + second * 1_000);
        all.entry((second % i64::from(partitions)) as i32).or_default().push(event);
    }
    all
}

/// Writes them and gives where each partition ends.
fn produce(topic: &str, events: &BTreeMap<i32, Vec<String>>) -> BTreeMap<i32, i64> {
    events
        .iter()
        .map(|(partition, events)| {
            kafka::produce(topic, *partition, events);
            (*partition, events.len() as i64)
        })
        .collect()
}

fn body(request: &Received) -> Value {
    serde_json::from_slice(&request.body).expect("a JSON body")
}

#[test]
fn drift_is_found_and_delivered() {
    let [slack, pagerduty, trainer] = std::array::from_fn(|_| Receiver::start([]));
    let mut settings = settings("drift", 4, TEN_MINUTES);
    settings.channels = vec![
        ("slack", "slack", slack.url("/slack"), ""),
        ("pagerduty", "pagerduty", pagerduty.url("/pagerduty"), ""),
        ("trainer", "retrain", trainer.url("/retrain"), ""),
    ];
    let home = Home::new(&settings);
    let mut service = Service::start(&home);
    let shifted = |minute: i64| if (40..70).contains(&minute) { Climate::Shifted } else { Climate::Calm };
    let ends = produce(&settings.topic, &events(2, 110, 4, shifted));

    let text_of = |request: &Received| String::from_utf8(request.body.clone()).unwrap();
    let is_resolved = |request: &Received| text_of(request).to_lowercase().contains("resolve");
    service.eventually("slack hears of the end", |_| slack.requests().iter().any(is_resolved));
    let opened = text_of(&slack.requests()[0]);
    assert!(opened.contains("*1.* `income`"), "the feature that moved most comes first: {opened}");
    service.eventually("pagerduty hears of the end", |_| pagerduty.requests().iter().any(is_resolved));
    let pages: Vec<Value> = pagerduty.requests().iter().map(body).collect();
    let (first, last) = (&pages[0], &pages[pages.len() - 1]);
    assert_eq!((&first["event_action"], &last["event_action"]), (&json!("trigger"), &json!("resolve")));
    assert_eq!(first["dedup_key"], last["dedup_key"]);
    let calls = trainer.wait_for(1, PATIENCE);
    assert_eq!(body(&calls[0])["idempotency_key"], calls[0].headers["idempotency-key"]);
    assert_eq!(body(&calls[0])["features"][0]["name"], "income");

    service.wait_for_positions(&settings.topic, &ends);
    let sent: i64 = ends.values().sum();
    assert_eq!(service.events("counted") as i64, sent);
    let credit = [("model", "credit")];
    assert_eq!(service.metric("driftline_windows_closed_total", &credit), 10.0);
    assert_eq!(service.metric("driftline_alarms_total", &credit), 3.0);
    let models = service.json("/api/v1/models");
    assert_eq!(models["models"][0]["name"], "credit");
    assert_eq!(models["models"][0]["activity"]["versions"][0]["version"], "1");
    let windows = service.json("/api/v1/models/credit/windows");
    let alarms: Vec<bool> =
        windows["windows"].as_array().unwrap().iter().map(|window| window["alarm"] == true).collect();
    assert_eq!(alarms, [false, false, false, true, true, true, false, false, false, false], "newest first");
    let incidents = service.json("/api/v1/incidents");
    assert_eq!(incidents["incidents"].as_array().unwrap().len(), 1);
    assert_eq!(incidents["incidents"][0]["status"], "resolved");
    assert_eq!(incidents["incidents"][0]["features"][0]["name"], "income");
    assert_eq!(incidents["incidents"][0]["opened_at"], "2024-03-01T00:50:00Z");
    assert_eq!(service.get("/healthz").0, 200);
    service.eventually("it is ready", |service| service.get("/readyz").0 == 200);
    service.stop();
}

#[test]
fn a_killed_service_gives_the_same_windows() {
    // Sliding and tumbling windows, segments, events out of order and events that are too late.
    let mut settings = settings(
        "killed",
        3,
        "windows = [\"10m\", { length = \"30m\", slide = \"10m\" }]\nallowed_lateness = \"1m\"\nresolve_after = 2",
    );
    let topic = settings.topic.clone();
    let worlds = ["undisturbed", "killed"].map(|name| {
        let [audit, trainer] =
            std::array::from_fn(|_| Receiver::start([Answer::status(500), Answer::status(503)]));
        settings.group = format!("{topic}-{name}");
        settings.channels = vec![
            ("audit", "webhook", audit.url("/audit"), ""),
            ("trainer", "retrain", trainer.url("/retrain"), ""),
        ];
        settings.segment = Some("/features/country");
        (Home::new(&settings), audit, trainer)
    });
    let (undisturbed, killed) = (&worlds[0].0, &worlds[1].0);
    let mut witness = Service::start(undisturbed);
    let ends = std::thread::scope(|scope| {
        let producing = scope.spawn(|| produce_slowly(&topic));
        kill_again_and_again(killed);
        producing.join().unwrap()
    });
    let mut last = Service::start(killed);
    last.wait_for_positions(&topic, &ends);
    witness.wait_for_positions(&topic, &ends);
    for service in [&last, &witness] {
        let waiting = |channel| service.metric("driftline_outbox_waiting", &[("channel", channel)]);
        kafka::eventually("everything is delivered", || waiting("audit") + waiting("trainer") == 0.0);
    }
    last.stop();
    witness.stop();

    let (expected, found) = (undisturbed.left(), killed.left());
    assert!(expected.windows.len() > 50, "{} windows", expected.windows.len());
    assert!(expected.events("late") > 0);
    assert_eq!(found.windows.keys().collect::<Vec<_>>(), expected.windows.keys().collect::<Vec<_>>());
    assert_eq!(found.windows, expected.windows);
    assert_eq!(found, expected, "incidents, notifications, panes, counts and positions");
    for (home, audit, trainer) in &worlds {
        let got = |receiver: &Receiver, header: &str| -> BTreeSet<String> {
            receiver.requests().iter().map(|request| request.headers[header].clone()).collect()
        };
        let sent = |channel| -> BTreeSet<String> { home.left().ids(channel).into_iter().collect() };
        assert!(sent("audit").len() >= 2, "opened and resolved: {:?}", sent("audit"));
        assert_eq!(got(audit, "webhook-id"), sent("audit"));
        assert_eq!(got(trainer, "idempotency-key"), sent("trainer"));
    }
}

/// Two hours of events in small portions, some of them out of order, every 97th too late.
fn produce_slowly(topic: &str) -> BTreeMap<i32, i64> {
    let mut applications = Applications::new(3);
    let mut ends = BTreeMap::new();
    for part in 0..40 {
        let mut portion: BTreeMap<i32, Vec<String>> = BTreeMap::new();
        for number in 0..270 {
            let due = part * 3 * MINUTE_MS + number * 667;
            let shifted = (40..80).contains(&(due / MINUTE_MS));
            let climate = if shifted { Climate::Shifted } else { Climate::Calm };
            let jitter = (applications.uniform() * 50_000.0) as i64;
            let behind = if number % 97 == 0 && part > 6 { 15 * MINUTE_MS } else { jitter };
            let event = applications.event(climate, "1", BEGIN_MS + due - behind);
            portion.entry((number % 3) as i32).or_default().push(event);
        }
        for (partition, end) in produce(topic, &portion) {
            *ends.entry(partition).or_default() += end;
        }
    }
    ends
}

/// Starts the service and kills it, at moments when it works and at moments when it only starts.
fn kill_again_and_again(home: &Home) {
    let mut moments = Applications::new(u64::from(std::process::id()));
    let mut counted = 0;
    for round in 0..5 {
        let mut service = Service::start(home);
        if round % 2 == 0 {
            service.eventually("it goes on counting", |service| service.events("counted") > counted);
            counted = service.events("counted");
        }
        std::thread::sleep(Duration::from_millis((moments.uniform() * 600.0) as u64));
        service.kill();
    }
}

#[test]
fn poison_records_are_set_aside() {
    let mut settings = settings("poison", 1, TEN_MINUTES);
    settings.stream = "record_bytes_max = 4096\ndepth_max = 16";
    let topic = settings.topic.clone();
    let home = Home::new(&settings);
    let mut service = Service::start(&home);
    let good = &events(4, 30, 1, |_| Climate::Calm)[&0];
    let mut bad: Vec<(Vec<u8>, &str)> = vec![
        (b"{\"model\":\"credit\",".to_vec(), "malformed"),
        (format!("{}{}", good[0], good[1]).into_bytes(), "malformed"),
        (b"[1,2]".to_vec(), "not_an_object"),
        (b"  ".to_vec(), "empty"),
        (b"{\"model\":\"\xff\"}".to_vec(), "invalid_utf8"),
        (format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100)).into_bytes(), "too_deep"),
        (format!("{{\"a\":\"{}\"}}", "x".repeat(10_000)).into_bytes(), "too_large"),
        (good[0].replace("\"ts\"", "\"time\"").into_bytes(), "missing_timestamp"),
        (good[0].replace(&BEGIN_MS.to_string(), "\"yesterday\"").into_bytes(), "bad_timestamp"),
        (good[0].replace(&BEGIN_MS.to_string(), "32503680000000").into_bytes(), "future"),
        (good[0].replace("\"model\":\"credit\",", "").into_bytes(), "missing_model"),
        (good[0].replace("credit", "churn").into_bytes(), "unknown_model"),
        (good[0].replace("\"version\":\"1\"", "\"version\":\"9\"").into_bytes(), "no_baseline"),
    ];
    // Between good ones: each bad record has good neighbours in its batch. The late one comes after all.
    let mut records: Vec<Vec<u8>> = Vec::new();
    let mut expected: Vec<(i64, String)> = Vec::new();
    let mut next_good = good.iter();
    for (record, reason) in bad.drain(..) {
        records.extend(next_good.by_ref().take(20).map(|event| event.clone().into_bytes()));
        expected.push((records.len() as i64, reason.to_owned()));
        records.push(record);
    }
    records.extend(next_good.map(|event| event.clone().into_bytes()));
    expected.push((records.len() as i64, "late".to_owned()));
    records.push(good[0].clone().into_bytes());
    kafka::produce(&topic, 0, &records);
    kafka::produce_tombstone(&topic, 0);
    expected.push((records.len() as i64, "empty".to_owned()));

    service.wait_for_positions(&topic, &BTreeMap::from([(0, records.len() as i64 + 1)]));
    assert_eq!(service.events("counted") as usize, good.len());
    let mut by_reason: BTreeMap<&str, u64> = BTreeMap::new();
    expected.iter().for_each(|(_, reason)| *by_reason.entry(reason).or_default() += 1);
    for (reason, count) in by_reason {
        let series = [("topic", topic.as_str()), ("outcome", reason)];
        assert_eq!(service.metric("driftline_events_total", &series), count as f64, "{reason}");
    }
    let letters = service.json("/api/v1/dead-letters?limit=100");
    let mut found: Vec<(i64, String)> = letters["dead_letters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|letter| (letter["offset"].as_i64().unwrap(), letter["reason"].as_str().unwrap().to_owned()))
        .collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    service.stop();
}

#[test]
fn a_receiver_that_fails_is_tried_again() {
    let slack = Receiver::start([Answer::status(500)]);
    let pagerduty = Receiver::start([Answer::hanging()]);
    let audit = Receiver::start([Answer::status(503), Answer::status(503)]);
    let mut settings = settings("failing", 1, TEN_MINUTES);
    settings.channels = vec![
        ("slack", "slack", slack.url("/slack"), ""),
        ("pagerduty", "pagerduty", pagerduty.url("/pagerduty"), "timeout = \"60s\""),
        ("audit", "webhook", audit.url("/audit"), ""),
    ];
    let home = Home::new(&settings);
    let mut service = Service::start(&home);
    let shifted = |minute| if minute >= 20 { Climate::Shifted } else { Climate::Calm };
    produce(&settings.topic, &events(5, 32, 1, shifted));

    let tried = slack.wait_for(2, PATIENCE);
    assert_eq!(tried[0].body, tried[1].body);
    let apart = tried[1].at - tried[0].at;
    assert!(apart < Duration::from_secs(10), "PagerDuty hangs, and Slack waited {apart:?}");
    let page = pagerduty.wait_for(1, PATIENCE)[0].clone();
    let row = |service: &Service, channel: &str| {
        let rows = service.json(&format!("/api/v1/outbox?channel={channel}"))["notifications"].clone();
        rows.as_array().unwrap()[0].clone()
    };
    service.eventually("slack's row is delivered", |service| row(service, "slack")["status"] == "delivered");
    assert_eq!(row(&service, "slack")["attempts"], 2);
    let waiting = row(&service, "pagerduty");
    assert_eq!(waiting["status"], "waiting");
    service.kill();

    let mut service = Service::start(&home);
    for channel in ["pagerduty", "audit"] {
        service.eventually("the rest is delivered", |service| row(service, channel)["status"] == "delivered");
    }
    assert_eq!(row(&service, "pagerduty")["id"], waiting["id"]);
    assert_eq!(body(&pagerduty.requests()[1])["dedup_key"], body(&page)["dedup_key"]);
    let audited = row(&service, "audit")["id"].clone();
    let attempts = audit.wait_for(3, PATIENCE);
    assert!(attempts.iter().all(|attempt| audited == attempt.headers["webhook-id"]));
    assert_eq!(slack.requests().len(), 2, "what was delivered is not sent again");
    service.stop();
}

#[test]
fn two_processes_of_one_group_count_every_event_once() {
    share_a_topic("");
}

#[test]
fn two_processes_count_every_event_once_when_they_share_cooperatively() {
    share_a_topic("\"partition.assignment.strategy\" = \"cooperative-sticky\"");
}

/// A second process joins the first one, which then leaves, while records come.
fn share_a_topic(options: &'static str) {
    // One long window: no event can be late, whoever reads it.
    let mut settings = settings("shared", 4, "windows = [\"2h\"]\nallowed_lateness = \"10m\"");
    settings.options = options;
    let topic = &settings.topic;
    let homes = [Home::new(&settings), Home::new(&settings)];
    let mut first = Service::start(&homes[0]);
    let mut applications = Applications::new(6);
    let mut ends: BTreeMap<i32, i64> = BTreeMap::new();
    let mut second_now = 0;
    let mut send = |count: i64, ends: &mut BTreeMap<i32, i64>| {
        let mut portion: BTreeMap<i32, Vec<String>> = BTreeMap::new();
        for _ in 0..count {
            let event = applications.event(Climate::Calm, "1", BEGIN_MS + second_now * 500);
            portion.entry((second_now % 4) as i32).or_default().push(event);
            second_now += 1;
        }
        for (partition, end) in produce(topic, &portion) {
            *ends.entry(partition).or_default() += end;
        }
    };
    send(800, &mut ends);
    first.wait_for_positions(topic, &ends);
    let mut second = Service::start(&homes[1]);
    // Records come all the time while the partitions are shared out anew, and while the first one leaves.
    let deadline = std::time::Instant::now() + PATIENCE;
    while second.events("counted") < 200 {
        assert!(std::time::Instant::now() < deadline, "the second one gets nothing");
        send(80, &mut ends);
    }
    std::thread::scope(|scope| {
        let leaving = scope.spawn(|| first.stop());
        while !leaving.is_finished() {
            send(80, &mut ends);
        }
        leaving.join().unwrap();
    });
    send(400, &mut ends);
    second.wait_for_positions(topic, &ends);
    second.stop();

    let (first, second) = (homes[0].left(), homes[1].left());
    let sent: i64 = ends.values().sum();
    assert_eq!(first.events("counted") + second.events("counted"), sent, "{first:?}\n{second:?}");
    assert_eq!(second.positions, ends);
    assert!(first.dead_letters.is_empty() && second.dead_letters.is_empty());
}

#[test]
fn replay_gives_the_verdicts_of_run() {
    let audit = Receiver::start([]);
    let mut settings = settings("replayed", 3, TEN_MINUTES);
    settings.channels = vec![("audit", "webhook", audit.url("/audit"), "")];
    settings.segment = Some("/features/country");
    let home = Home::new(&settings);
    let shifted = |minute| if (30..50).contains(&minute) { Climate::Shifted } else { Climate::Calm };
    let events = events(7, 90, 3, shifted);
    let mut command = driftline(&["replay", "--json", "--config", home.config().to_str().unwrap()]);
    for (partition, events) in &events {
        let file = home.path(&format!("events-{partition}.jsonl"));
        fs::write(&file, events.join("\n") + "\n").unwrap();
        command.arg(file);
    }
    let replayed = output_of(&mut command);
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
    let lines: Vec<Value> = replayed
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let of = |kind: &str| -> Vec<Value> {
        let lines = lines.iter().filter(|line| line["type"] == *kind);
        lines.map(|line| without(line.clone(), &["type", "positions", "watermark", "config"])).collect()
    };

    let mut service = Service::start(&home);
    let ends = produce(&settings.topic, &events);
    service.wait_for_positions(&settings.topic, &ends);
    service.stop();
    let left = home.left();
    assert!(left.windows.len() >= 4 * 7, "{} windows", left.windows.len());
    let sorted = |mut documents: Vec<Value>| {
        documents.sort_by_key(Value::to_string);
        documents
    };
    let verdicts = left.windows.values().map(|window| window["verdict"].clone()).collect();
    assert_eq!(sorted(of("verdict")), sorted(verdicts));
    let windows = left.windows.values().map(|window| without(window.clone(), &["verdict"])).collect();
    assert_eq!(sorted(of("window")), sorted(windows));
    assert!(!left.transitions.is_empty());
    assert_eq!(sorted(of("incident")), sorted(left.transitions.values().cloned().collect()));
    let ids: Vec<Value> = of("notification").iter().map(|line| line["id"].clone()).collect();
    assert_eq!(ids, left.ids("audit"));
    let summary = &of("summary")[0];
    assert_eq!(summary["events"]["counted"], left.events("counted"));
    assert_eq!(summary["windows"], left.windows.len());
}

#[test]
fn a_new_version_is_watched_without_a_restart() {
    let settings = settings("version", 1, TEN_MINUTES);
    let topic = settings.topic.clone();
    let home = Home::new(&settings);
    let mut service = Service::start(&home);
    let mut applications = Applications::new(8);
    let mut sent = 0;
    let mut send = |version: &str, count: i64| {
        let time = |number: i64| BEGIN_MS + number * 100;
        let events =
            (sent..sent + count).map(|number| applications.event(Climate::Calm, version, time(number)));
        kafka::produce(&topic, 0, events);
        sent += count;
        sent as u64
    };
    send("1", 100);
    send("2", 50);
    service.eventually("version 2 is set aside", |service| service.events("no_baseline") == 50);
    assert_eq!(service.events("counted"), 100);
    home.add_baseline("2");
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    let mut total = 150;
    while service.events("counted") == 100 {
        assert!(std::time::Instant::now() < deadline, "the new baseline is not found");
        total = send("2", 10);
        std::thread::sleep(Duration::from_millis(100));
    }
    service.eventually("everything is accounted for", |service| {
        service.events("counted") + service.events("no_baseline") == total
    });
    let rejected = service.events("no_baseline");
    total = send("2", 200);
    service.eventually("version 2 is counted", |service| service.events("counted") + rejected == total);
    service.stop();
}

#[test]
fn a_second_process_on_the_same_store_is_refused() {
    let home = Home::new(&settings("twice", 1, TEN_MINUTES));
    let service = Service::start(&home);
    let refused = output_of(&mut driftline(&["run", "--config", home.config().to_str().unwrap()]));
    assert_eq!(refused.status.code(), Some(1));
    let message = String::from_utf8(refused.stderr).unwrap();
    let message = message.lines().last().unwrap();
    assert!(message.starts_with("driftline: ") && message.contains("another process"), "{message}");
    assert!(message.contains(home.path("data").to_str().unwrap()), "{message}");
    service.stop();
}

#[test]
fn a_wrong_configuration_is_the_operators_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("driftline.toml");
    fs::write(&config, "[service]\ndata_dirr = \"data\"\n").unwrap();
    let refused = output_of(&mut driftline(&["run", "--config", config.to_str().unwrap()]));
    assert_eq!(refused.status.code(), Some(2));
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(message.contains("did you mean `data_dir`"), "{message}");
    assert!(!dir.path().join("data").exists());
}

//! What receivers get: the bodies, reviewed as text, and the limits, held against the worst names.

mod support;

use std::time::Duration;

use driftline::drift::EffectUnit;
use driftline::event::Timestamp;
use driftline::incident::{Cause, Notification, NotificationKind};
use driftline::notify::{
    CHANNELS, Channel, ChannelSettings, Delivery, Request, Response, SecretUse, channel_kind,
};
use driftline::performance::DiagnosisKind;
use serde_json::Value;
use support::incidents::{at, diagnosis, estimated, hostile, notification, performance, settings};

const KINDS: [NotificationKind; 5] = [
    NotificationKind::Opened,
    NotificationKind::Updated,
    NotificationKind::Resolved,
    NotificationKind::Retrain,
    NotificationKind::Test,
];

fn channel(kind: &str) -> &'static dyn Channel {
    channel_kind(kind).expect("a kind").channel
}

fn settings_of(kind: &str) -> ChannelSettings {
    let mut settings = settings("team", kind, "https://receiver.example/hook/secret-path");
    settings.secrets = match kind {
        "pagerduty" => vec!["0123456789abcdef0123456789abcdef".into()],
        "slack" => Vec::new(),
        _ => vec!["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".into()],
    };
    settings
}

fn now() -> Timestamp {
    at("2026-11-23T10:00:00Z")
}

fn render(kind: &str, notification: &Notification) -> Request {
    channel(kind).render(notification, &settings_of(kind), now())
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).expect("JSON")
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    let mut found = request.headers.iter().filter(|(n, _)| n == name);
    let value = found.next().map_or("", |(_, value)| value.as_str());
    assert!(found.next().is_none(), "{name} twice");
    value
}

/// Every text anywhere in a value.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn bodies_read_well() {
    for kind in CHANNELS {
        for tells in KINDS {
            let request = render(kind.name, &notification("team", "inc1", tells));
            let name = format!("{}_{}", kind.name, format!("{tells:?}").to_lowercase());
            insta::assert_json_snapshot!(name, body(&request));
        }
    }
}

/// What the early watch opens: columns told of by their rates, without a p-value.
#[test]
fn an_early_alarm_reads_well() {
    let early = |name: &str, test: &str, summary: &str, reference_n| {
        let mut column = support::incidents::column(name, summary);
        column.test = Some(test.to_owned());
        column.p_value = None;
        column.statistic = Some(0.336);
        column.effect = Some(0.336);
        column.effect_unit = Some(EffectUnit::Rate);
        column.moved = 0.336;
        column.current_n = 1_203;
        column.reference_n = reference_n;
        column.tests = Vec::new();
        column
    };
    let mut opened = notification("team", "inc1", NotificationKind::Opened);
    opened.incident.p_value = None;
    opened.incident.calibrated = true;
    opened.incident.features = vec![
        early(
            "income",
            "missing",
            "missing in 34 % of 1,203 rows since 14:03 UTC, at most 0.4 % expected",
            50_000,
        ),
        early(
            "(rejected records)",
            "rejected",
            "rejected: 34 % of 1,203 records since 14:03 UTC, at most 1.0 % expected, most often as malformed",
            0,
        ),
    ];
    for kind in ["slack", "pagerduty"] {
        insta::assert_json_snapshot!(format!("{kind}_early"), body(&render(kind, &opened)));
    }
}

/// What people read of a Slack message, and PagerDuty's line and figures.
fn read(notification: &Notification) -> String {
    let (slack, event) = (body(&render("slack", notification)), body(&render("pagerduty", notification)));
    let payload = &event["payload"];
    let mut lines: Vec<String> = texts(&slack).into_iter().map(str::to_owned).collect();
    lines.retain(|line| !["section", "context", "header", "mrkdwn", "plain_text"].contains(&line.as_str()));
    lines.push("--- PagerDuty".to_owned());
    lines.push(payload["summary"].to_string());
    lines.push(payload["component"].to_string());
    lines.push(payload["custom_details"]["performance"].to_string());
    lines.push(payload["custom_details"]["resolution"].to_string());
    lines.join("\n")
}

#[test]
fn an_alarm_about_performance_reads_well() {
    for tells in [NotificationKind::Opened, NotificationKind::Resolved, NotificationKind::Retrain] {
        let name = format!("performance_{}", format!("{tells:?}").to_lowercase());
        insta::assert_snapshot!(name, read(&performance(tells)));
    }
    for kind in ["webhook", "retrain"] {
        let tells = if kind == "retrain" { NotificationKind::Retrain } else { NotificationKind::Opened };
        insta::assert_json_snapshot!(format!("{kind}_performance"), body(&render(kind, &performance(tells))));
    }
}

#[test]
fn every_cause_of_a_performance_alarm_is_told() {
    for (cause, words) in [
        (Cause::Reference, "Alarm: worse than the reference windows allow."),
        (Cause::Limit(0.75), "Alarm: beyond the limit 0.750."),
        (Cause::Sudden, "Alarm: errors broke out suddenly."),
    ] {
        let mut told = performance(NotificationKind::Opened);
        told.incident.performance.as_mut().expect("figures").cause = Some(cause);
        for kind in ["slack", "pagerduty"] {
            let body = body(&render(kind, &told));
            assert!(texts(&body).iter().any(|text| text.contains(words)), "{kind}: {words}");
        }
    }
}

#[test]
fn drift_says_in_one_line_what_it_does_to_the_model() {
    let mut told = notification("team", "inc1", NotificationKind::Opened);
    told.incident.performance = Some(estimated());
    told.incident.diagnosis = Some(diagnosis(DiagnosisKind::HarmfulShift));
    let line = "stimated ROC AUC 0.962, 0.971 in training: harmful shift";
    for kind in ["slack", "pagerduty"] {
        let body = body(&render(kind, &told));
        assert!(texts(&body).iter().any(|text| text.contains(line)), "{kind}: {body}");
    }
    insta::assert_snapshot!("performance_of_drift", read(&told));
}

#[test]
fn a_resolved_message_mixes_no_figures_of_two_windows() {
    let mut over = notification("team", "inc1", NotificationKind::Resolved);
    over.incident.version = Some("8".to_owned());
    let body = body(&render("slack", &over));
    let facts: Vec<&str> = mrkdwn_texts(&body);
    assert!(facts.contains(&"resolved by version `8`"), "{facts:?}");
    assert!(!facts.iter().any(|fact| fact.starts_with("n = ") || fact.starts_with("p ")), "{facts:?}");
}

#[test]
fn hostile_names_do_no_harm() {
    for kind in ["slack", "pagerduty"] {
        let request = render(kind, &hostile(NotificationKind::Opened, 2));
        insta::assert_json_snapshot!(format!("{kind}_hostile"), body(&request));
    }
}

#[test]
fn nothing_hostile_reaches_slack_unescaped() {
    for tells in KINDS {
        let mut told = hostile(tells, 12);
        if tells == NotificationKind::Updated {
            told.incident.kind = "performance".to_owned();
        }
        let body = body(&render("slack", &told));
        for text in texts(&body) {
            let own_link = text.strip_prefix("<https://driftline.example/").unwrap_or(text);
            let own_link = own_link.strip_suffix(">").unwrap_or(own_link);
            assert!(!own_link.contains(['<', '>', '\u{202e}']), "{tells:?}: {text}");
        }
        // Between backticks, or in plain text: whatever is formatted holds an even number of backticks,
        // and what is outside of them is ours.
        for text in mrkdwn_texts(&body) {
            let outside: String = text.split('`').step_by(2).collect();
            assert_eq!(text.matches('`').count() % 2, 0, "{text}");
            assert!(!outside.contains("channel") && !outside.contains("evil"), "{text}");
        }
    }
}

fn mrkdwn_texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(fields) if fields.get("type") == Some(&Value::from("mrkdwn")) => {
            assert_eq!(fields.get("verbatim"), Some(&Value::Bool(true)));
            texts(&fields["text"])
        }
        Value::Array(items) => items.iter().flat_map(mrkdwn_texts).collect(),
        Value::Object(fields) => fields.values().flat_map(mrkdwn_texts).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn slack_messages_stay_within_every_limit() {
    for tells in KINDS {
        for columns in [0, 1, 10, 11, 500] {
            for about in ["drift", "performance"] {
                let mut told = hostile(tells, columns);
                told.incident.kind = about.to_owned();
                let request = render("slack", &told);
                let chars = String::from_utf8(request.body.clone()).expect("UTF-8").chars().count();
                assert!(chars <= 10_000, "{tells:?}, {columns} columns: {chars}");
                check_slack_limits(&body(&request));
            }
        }
    }
}

fn check_slack_limits(body: &Value) {
    let length = |text: &Value| text.as_str().expect("a text").chars().count();
    let blocks = body["blocks"].as_array().expect("blocks");
    assert!((1..=50).contains(&blocks.len()));
    assert!((1..=3_000).contains(&length(&body["text"])));
    for block in blocks {
        match block["type"].as_str().expect("a type") {
            "header" => assert!((1..=150).contains(&length(&block["text"]["text"]))),
            "section" => {
                assert!((1..=3_000).contains(&length(&block["text"]["text"])));
                let fields = block["fields"].as_array().cloned().unwrap_or_default();
                assert!(fields.len() <= 10);
                assert!(fields.iter().all(|field| (1..=2_000).contains(&length(&field["text"]))));
            }
            "context" => assert!((1..=10).contains(&block["elements"].as_array().expect("elements").len())),
            other => panic!("unexpected block {other}"),
        }
    }
}

#[test]
fn blank_texts_leave_nothing_empty() {
    for tells in KINDS {
        let mut blank = notification("team", "inc1", tells);
        let incident = &mut blank.incident;
        for text in [&mut incident.kind, &mut incident.model, &mut incident.baseline, &mut incident.config] {
            text.clear();
        }
        (incident.version, incident.segment, incident.note) =
            (Some(" ".to_owned()), Some("\n".to_owned()), Some(String::new()));
        incident.features = vec![support::incidents::column("", "\u{202e}")];
        check_slack_limits(&body(&render("slack", &blank)));
        let event = body(&render("pagerduty", &blank));
        assert_eq!(event["payload"]["source"], "(blank)");
        assert_eq!(event["payload"]["component"], "(blank)");
    }
}

#[test]
fn slack_shows_ten_columns_and_says_how_many_more_there_are() {
    let mut many = notification("team", "inc1", NotificationKind::Opened);
    many.incident.features =
        (0..12).map(|i| support::incidents::column(&format!("f{i:02}"), "moved")).collect();
    let text = String::from_utf8(render("slack", &many).body).expect("UTF-8");
    assert!(text.contains("`f09`") && !text.contains("`f10`") && text.contains("and 2 more that moved"));
}

#[test]
fn pagerduty_events_stay_within_every_limit() {
    for tells in KINDS {
        for (columns, tests) in [(0, 0), (50, 100), (500, 1)] {
            let mut huge = hostile(tells, columns);
            if columns == 0 {
                huge.incident.kind = "performance".to_owned();
            }
            for feature in &mut huge.incident.features {
                let test = feature.tests.first().cloned().expect("a test");
                feature.tests = vec![test; tests];
            }
            let request = render("pagerduty", &huge);
            assert!(!request.body.is_empty() && request.body.len() <= 512_000);
            let body = body(&request);
            let length = |text: &Value| text.as_str().expect("a text").chars().count();
            assert!(length(&body["dedup_key"]) <= 255);
            assert!((1..=1_024).contains(&length(&body["payload"]["summary"])));
            assert!(length(&body["payload"]["source"]) > 0);
        }
    }
}

#[test]
fn everything_about_an_incident_has_one_pagerduty_key() {
    let key = |incident: &str, tells| {
        body(&render("pagerduty", &notification("team", incident, tells)))["dedup_key"].clone()
    };
    let first = key("inc1", NotificationKind::Opened);
    assert!(KINDS.iter().all(|tells| key("inc1", *tells) == first));
    assert_ne!(key("inc2", NotificationKind::Opened), first);
}

#[test]
fn json_for_machines_stays_below_twenty_kilobytes_and_says_what_is_missing() {
    for kind in ["webhook", "retrain"] {
        for tells in [NotificationKind::Opened, NotificationKind::Retrain] {
            for columns in [2, 30, 500] {
                let mut big = hostile(tells, columns);
                big.incident.positions = (0..2_000).map(|i| (format!("topic/{i}"), i)).collect();
                let request = render(kind, &big);
                assert!(request.body.len() < 20_000, "{kind} {tells:?} {columns}: {}", request.body.len());
                let body = body(&request);
                let part = if kind == "webhook" { &body["data"] } else { &body };
                assert!(!part["trimmed"].as_array().expect("a list").is_empty());
                let incident = if kind == "webhook" { &part["incident"] } else { part };
                assert!(!incident["features"].as_array().expect("columns").is_empty());
            }
        }
    }
}

#[test]
fn rendering_depends_on_nothing_but_its_arguments() {
    for kind in CHANNELS {
        for tells in KINDS {
            let notification = notification("team", "inc1", tells);
            assert_eq!(render(kind.name, &notification), render(kind.name, &notification));
        }
    }
}

#[test]
fn webhook_requests_verify_with_another_implementation() {
    let oracle = standardwebhooks::Webhook::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").expect("a secret");
    for kind in ["webhook", "retrain"] {
        let request = render(kind, &notification("team", "inc1", NotificationKind::Opened));
        let (id, seconds) = (header(&request, "webhook-id"), header(&request, "webhook-timestamp"));
        assert_eq!(id, "team-inc1-1");
        let theirs = oracle.sign(id, seconds.parse().expect("seconds"), &request.body).expect("signs");
        assert_eq!(header(&request, "webhook-signature"), theirs);
    }
}

#[test]
fn a_later_attempt_differs_only_in_its_time_and_signature() {
    let notification = notification("team", "inc1", NotificationKind::Retrain);
    let later = now() + support::incidents::secs(3600);
    for kind in ["webhook", "retrain"] {
        let first = render(kind, &notification);
        let second = channel(kind).render(&notification, &settings_of(kind), later);
        assert_eq!(first.body, second.body);
        assert_eq!(header(&first, "webhook-id"), header(&second, "webhook-id"));
        assert_ne!(header(&first, "webhook-signature"), header(&second, "webhook-signature"));
        assert_eq!(header(&first, "idempotency-key"), header(&second, "idempotency-key"));
    }
    assert_eq!(header(&render("retrain", &notification), "idempotency-key"), notification.id);
}

#[test]
fn receivers_own_rules_decide_what_an_answer_means() {
    let classify = |kind, status| {
        let response = Response { status, retry_after_secs: Some(5), body: Vec::new() };
        match channel(kind).classify(&response) {
            Delivery::Delivered => "delivered",
            Delivery::Retry { after_secs, .. } => {
                assert_eq!(after_secs, Some(5));
                "retry"
            }
            Delivery::Dead { .. } => "dead",
        }
    };
    assert_eq!(classify("retrain", 409), "delivered");
    assert_eq!(classify("webhook", 409), "dead");
    assert_eq!(classify("webhook", 410), "dead");
    assert_eq!(classify("pagerduty", 202), "delivered");
    assert_eq!(classify("pagerduty", 400), "dead");
    for kind in CHANNELS {
        for status in [429, 500, 502, 503, 504, 408] {
            assert_eq!(classify(kind.name, status), "retry", "{} {status}", kind.name);
        }
        for status in [301, 302, 307, 308, 400, 403, 404] {
            assert_eq!(classify(kind.name, status), "dead", "{} {status}", kind.name);
        }
    }
}

#[test]
fn the_table_keeps_its_own_rules() {
    for kind in CHANNELS {
        assert!(kind.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", kind.name);
        assert!(!kind.about.is_empty() && kind.spacing > Duration::ZERO);
        assert_eq!(CHANNELS.iter().filter(|other| other.name == kind.name).count(), 1);
        let needs_secret = matches!(kind.secret, SecretUse::Required(_));
        for secret in &settings_of(kind.name).secrets {
            assert_eq!((kind.check_secret)(secret), Ok(()), "{}", kind.name);
        }
        assert!(!needs_secret || !settings_of(kind.name).secrets.is_empty());
    }
}

#[test]
fn debug_shows_no_credential() {
    for kind in CHANNELS {
        let settings = settings_of(kind.name);
        let request = render(kind.name, &notification("team", "inc1", NotificationKind::Opened));
        let shown = format!("{settings:?} {request:?}");
        for secret in ["secret-path", "0123456789abcdef", "C2FVs", "v1,"] {
            assert!(!shown.contains(secret), "{}: {shown}", kind.name);
        }
    }
}

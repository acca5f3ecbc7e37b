//! The report: what it says of a store, in each format, and that what comes from outside stays text.

mod sample;

use std::path::Path;

use driftline::cli::report::{Args, Format, run};
use driftline::config::{Config, Purpose, parse_for};
use driftline::event::{Span, Timestamp};
use driftline::incident::{Cause, Incident, NotificationKind, PerformanceEvidence, Status};
use driftline::monitor::{ClosedWindow, Commit, PerformanceWindow};
use driftline::performance::diagnosis::Confidence;
use driftline::performance::{Diagnosis, DiagnosisKind, Maturity, Ranged};
use driftline::store::{Options, Store, StoreError};
use sample::{HOUR, at, incident, notification, performance, window};

const DAY: i64 = 24 * HOUR;

/// Two weeks that the scenarios take place in.
const DAYS: i64 = 14;

fn span(seconds: i64) -> Span {
    Span::from_secs(seconds)
}

fn day(number: i64) -> Timestamp {
    at(number * DAY)
}

fn ranged(value: f64, apart: f64) -> Ranged {
    Ranged { value, low: Some(value - apart), high: Some(value + apart) }
}

/// A small wobble that is the same on every machine.
fn wobble(number: i64) -> f64 {
    f64::from(i32::try_from((number * 37) % 11).unwrap_or(0)) / 11.0 - 0.5
}

fn day_window(model: &str, number: i64, alarm: bool) -> ClosedWindow {
    let mut window = window(model, None, (number + 1) * 24, alarm);
    (window.key.start, window.key.length) = (day(number), span(DAY));
    window.verdict.window_start = day(number);
    window
}

/// The performance of a day: its headline metric, how complete its labels are, and its loss.
fn day_performance(
    model: &str,
    number: i64,
    auc: f64,
    maturity: Maturity,
    loss: Option<f64>,
) -> PerformanceWindow {
    let labels = match maturity {
        Maturity::Mature => 3_960,
        Maturity::Provisional => 1_500,
        Maturity::Waiting => 0,
    };
    let mut row = performance(model, None, (number + 1) * 24, 1, labels);
    (row.key.start, row.key.length) = (day(number), span(DAY));
    row.reading.maturity = maturity;
    row.verdict = None;
    let apart = if maturity == Maturity::Mature { 0.008 } else { 0.02 };
    for metric in &mut row.reading.metrics {
        metric.reference = Some(0.971);
        metric.estimate = Some(ranged(auc + 0.006 * wobble(number + 3), 0.014));
        if labels > 0 {
            let value = auc + 0.01 * wobble(number);
            (metric.value, metric.low, metric.high) = (Some(value), Some(value - apart), Some(value + apart));
        }
    }
    row.reading.split = None;
    row.reading.prior = None;
    let Some(money) = row.reading.money.as_mut() else { return row };
    (money.loss_per_day, money.estimated_loss_per_day, money.accumulated, money.since) =
        (None, None, None, None);
    match loss {
        None => row.reading.money = None,
        Some(loss) => {
            money.estimated_loss_per_day = Some(ranged(loss * 0.9 + 300.0 * wobble(number), 2_200.0));
            if loss < 1_000.0 {
                (money.break_even_days, money.retrain_pays) = (None, Some(false));
            }
            if labels > 0 {
                money.loss_per_day = Some(ranged(loss + 500.0 * wobble(number), 1_400.0));
            }
        }
    }
    row
}

/// An incident that opened with day 7 and has gone on to the end.
fn day_incident(model: &str, kind: &str, diagnosis: Option<Diagnosis>) -> Incident {
    let mut incident = incident("inc-1", model, 8 * 24, 2, Status::Updated);
    kind.clone_into(&mut incident.kind);
    (incident.window_start, incident.window_end, incident.updated_at) = (day(13), day(14), day(14));
    incident.windows_alarming = 7;
    incident.features =
        (0..6).map(|i| sample::column(&format!("feature_{i}"), 0.6 - 0.1 * f64::from(i))).collect();
    incident.diagnosis = diagnosis;
    incident
}

/// Two weeks in which like cases come out differently from day 7 on, with labels up to day 11.
fn concept_change() -> Commit {
    let maturity = |number| match number {
        0..=8 => Maturity::Mature,
        9..=11 => Maturity::Provisional,
        _ => Maturity::Waiting,
    };
    let mut rows: Vec<PerformanceWindow> = (0..DAYS)
        .map(|number| {
            let fallen = number >= 7;
            let auc = if fallen { 0.90 - 0.005 * (number - 7) as f64 } else { 0.968 };
            let loss = if fallen { 12_000.0 } else { 0.0 };
            let mut row = day_performance("fraud", number, auc, maturity(number), Some(loss));
            if let Some(money) = row.reading.money.as_mut().filter(|_| (7..=11).contains(&number)) {
                let days = (number - 6) as f64;
                money.accumulated = Some(ranged(12_000.0 * days, 1_500.0 * days));
                money.since = Some(day(7));
            }
            row
        })
        .collect();
    for (segment, auc) in [("eu", 0.88), ("us", 0.95)] {
        let mut row = day_performance("fraud", 11, auc, Maturity::Provisional, Some(4_000.0));
        row.key.segment = Some(segment.to_owned());
        rows.push(row);
    }
    let diagnosis = Diagnosis {
        confidence: Confidence::High,
        kind: DiagnosisKind::ConceptChange,
        evidence: vec![
            "like cases cost 0.098 more (0.062 to 0.131); a changed mix explains 0.030".to_owned(),
        ],
    };
    let mut opened = day_incident("fraud", "performance", Some(diagnosis));
    opened.segments = vec!["eu".to_owned()];
    opened.retrained_at = vec![day(9)];
    opened.performance = rows.get(11).map(|row| PerformanceEvidence {
        window_start: row.key.start,
        window_end: row.end,
        metric: row.reading.metrics[0].clone(),
        cause: Some(Cause::Limit(0.93)),
        predictions: 4_000,
        labels: 1_500,
        coverage: Some(0.375),
        maturity: Maturity::Provisional,
        split: Some(sample::split()),
        money: None,
    });
    let retrain = driftline::incident::Notification {
        kind: NotificationKind::Retrain,
        ..notification("n-2", "retrain", &opened)
    };
    Commit {
        windows: (0..DAYS).map(|number| day_window("fraud", number, number >= 7)).collect(),
        performance: rows,
        joined: vec![("fraud".to_owned(), "joined", 39_960), ("fraud".to_owned(), "duplicate", 812)],
        transitions: vec![opened.clone()],
        outbox: vec![notification("n-1", "slack", &opened), retrain],
        ..Commit::default()
    }
}

fn nothing_wrong() -> Commit {
    Commit {
        windows: (0..DAYS).map(|number| day_window("fraud", number, false)).collect(),
        performance: (0..DAYS)
            .map(|number| day_performance("fraud", number, 0.97, Maturity::Mature, Some(0.0)))
            .collect(),
        ..Commit::default()
    }
}

fn harmless_shift() -> Commit {
    let evidence = vec!["amount moved by 0.41, and roc_auc is as in training".to_owned()];
    let diagnosis =
        Diagnosis { kind: DiagnosisKind::HarmlessShift, confidence: Confidence::Medium, evidence };
    Commit {
        windows: (0..DAYS).map(|number| day_window("fraud", number, number >= 7)).collect(),
        transitions: vec![day_incident("fraud", "drift", Some(diagnosis))],
        ..nothing_wrong()
    }
}

fn no_labels() -> Commit {
    let rows = (0..DAYS).map(|number| {
        let auc = if number < 7 { 0.968 } else { 0.91 };
        let mut row = day_performance("fraud", number, auc, Maturity::Waiting, None);
        for metric in &mut row.reading.metrics {
            metric.estimate_holds = None;
        }
        if let Some(one) = row.reading.estimation.as_mut() {
            (one.windows_compared, one.windows_held, one.mean_absolute_error) = (0, 0, None);
        }
        row
    });
    Commit {
        windows: (0..DAYS).map(|number| day_window("fraud", number, number >= 7)).collect(),
        performance: rows.collect(),
        transitions: vec![day_incident("fraud", "drift", None)],
        ..Commit::default()
    }
}

fn drift_only() -> Commit {
    Commit { performance: Vec::new(), joined: Vec::new(), ..harmless_without_diagnosis() }
}

fn harmless_without_diagnosis() -> Commit {
    Commit { transitions: vec![day_incident("fraud", "drift", None)], ..harmless_shift() }
}

fn one_window() -> Commit {
    Commit {
        windows: vec![day_window("fraud", 0, false)],
        performance: vec![day_performance("fraud", 0, 0.97, Maturity::Provisional, Some(120.0))],
        ..Commit::default()
    }
}

/// Hours, of which there are 400, with a new version in between.
fn many_windows() -> Commit {
    let rows = (0..400_i64).map(|number| {
        let mut row = day_performance("fraud", 0, 0.95 + 0.02 * wobble(number), Maturity::Mature, Some(1e7));
        (row.key.start, row.end, row.key.length) = (at(number * HOUR), at((number + 1) * HOUR), span(HOUR));
        if number >= 250 {
            row.key.version = Some("8-release-candidate-with-a-long-name-2026-01-11".to_owned());
        }
        row
    });
    Commit {
        windows: (1..=400).map(|hour| window("fraud", None, hour, false)).collect(),
        performance: rows.collect(),
        ..Commit::default()
    }
}

/// The concept change, a retraining that was asked for on day 9, and version 8 from day 10 on.
fn retrained() -> Commit {
    let mut commit = concept_change();
    commit.performance.retain(|row| row.key.segment.is_none());
    for (number, row) in (0_i64..).zip(&mut commit.performance) {
        if number >= 10 {
            *row = day_performance("fraud", number, 0.97, Maturity::Mature, Some(0.0));
            row.key.version = Some("8".to_owned());
        }
    }
    commit.windows = (0..DAYS).map(|number| day_window("fraud", number, (7..10).contains(&number))).collect();
    for one in &mut commit.transitions {
        (one.status, one.resolved_at) = (Status::Resolved, Some(day(13)));
    }
    commit
}

const HOSTILE: &str = "<script>alert(1)</script>|`x`\u{202e}&\"'";

/// Names that try to become markup, and numbers that try to leave the page.
fn hostile() -> Commit {
    let mut commit = concept_change();
    for row in &mut commit.performance {
        row.key.version = Some(HOSTILE.to_owned());
        if let Some(segment) = &mut row.key.segment {
            segment.push_str(HOSTILE);
        }
        if let Some(money) = row.reading.money.as_mut() {
            money.currency = "<b>€</b>".to_owned();
            money.loss_per_day = money.loss_per_day.map(|_| ranged(1e18, 1e300));
        }
        for metric in &mut row.reading.metrics {
            metric.estimate = Some(ranged(1e-300, 1e-301));
        }
    }
    for one in &mut commit.transitions {
        one.note = Some(HOSTILE.to_owned());
        one.segments = vec![HOSTILE.to_owned()];
        for column in &mut one.features {
            column.name = HOSTILE.into();
            column.summary = Some(HOSTILE.to_owned());
        }
    }
    for window in &mut commit.windows {
        window.key.version = Some(HOSTILE.to_owned());
    }
    commit
}

fn config(data_dir: &Path) -> Config {
    let text = format!(
        "[service]\ndata_dir = {:?}\n\n[[stream]]\ntopic = \"predictions\"\nmodel = \"fraud\"\n\
         fields = {{ timestamp = \"/t\", timestamp_unit = \"s\" }}\n\n[[model]]\nname = \"fraud\"\n\
         baseline = \"fraud.baseline\"\n\n[model.performance]\ntask = \"binary\"\n\n\
         [[model.performance.limits]]\nmetric = \"roc_auc\"\nbelow = 0.93\n",
        data_dir.display().to_string()
    );
    parse_for("driftline.toml", &text, &|_| None, Purpose::Build)
        .unwrap_or_else(|errors| panic!("{}", errors.render(false)))
}

fn args(format: Format) -> Args {
    Args {
        config: "driftline.toml".into(),
        model: None,
        since: span(30 * DAY),
        window: None,
        format,
        output: None,
    }
}

/// The report of a store that has had this commit. What is HTML is left in the build's scratch directory, to be
/// looked at.
fn report(name: &str, commit: &Commit, format: Format) -> String {
    let dir = tempfile::tempdir().expect("scratch directory");
    let store = Store::open(dir.path(), Options::default()).expect("opens");
    store.apply(commit, day(14)).expect("applies");
    // The service still runs: the report is made beside it.
    let mut out = Vec::new();
    run(&args(format), &config(dir.path()), day(15), &mut out)
        .unwrap_or_else(|failure| panic!("{}", failure.message));
    let text = String::from_utf8(out).expect("UTF-8");
    if format == Format::Html {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("report-{name}.html"));
        std::fs::write(path, &text).expect("a page to look at");
    }
    text
}

/// The configuration's hash changes with its keys, which is not what these tests are about.
fn without_config_id(text: &str) -> String {
    text.lines()
        .map(|line| match line.split_once("configuration ") {
            Some((before, rest)) if rest.ends_with('.') && rest.len() == 13 => {
                format!("{before}configuration (id).")
            }
            _ if line.trim_start().starts_with("\"config\":") => "  \"config\": \"(id)\",".to_owned(),
            _ => line.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("\n")
}

type Scenario = (&'static str, fn() -> Commit);

const SCENARIOS: [Scenario; 10] = [
    ("retrained", retrained),
    ("concept_change", concept_change),
    ("harmless_shift", harmless_shift),
    ("no_labels", no_labels),
    ("nothing_wrong", nothing_wrong),
    ("drift_only", drift_only),
    ("one_window", one_window),
    ("many_windows", many_windows),
    ("hostile", hostile),
    ("empty", Commit::default),
];

/// Whether every element is closed in order. Enough of XML to hold the template to it.
fn assert_well_formed(name: &str, page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let body = page.strip_prefix("<!DOCTYPE html>").expect("a document type");
    for piece in body.split('<').skip(1) {
        let (tag, rest) = piece.split_once('>').unwrap_or_else(|| panic!("{name}: `<{piece}` has no end"));
        assert!(!rest.contains('>'), "{name}: a bare > after <{tag}>: {rest}");
        for entity in rest.split('&').skip(1) {
            assert!(entity.contains(';'), "{name}: a bare & in {rest}");
        }
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "{name}: <{tag}>");
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().expect("a name"));
        }
    }
    assert!(open.is_empty(), "{name}: not closed: {open:?}");
}

#[test]
fn every_page_is_well_formed_and_loads_nothing() {
    for (name, commit) in SCENARIOS {
        let page = report(name, &commit(), Format::Html);
        assert_well_formed(name, &page);
        for banned in
            ["<script", "<b>", "javascript:", "src=", "href=", "url(", "@import", "<link", "\u{202e}", "NaN"]
        {
            assert!(!page.contains(banned), "{name} holds {banned}");
        }
        let addresses = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        assert!(!addresses.contains("http"), "{name} names a resource");
    }
}

#[test]
fn a_concept_change_is_told_with_its_price() {
    let text = report("concept_change", &concept_change(), Format::Md);
    insta::assert_snapshot!(without_config_id(&text));
}

#[test]
fn facts_are_data_with_stable_names() {
    let text = report("one_window", &one_window(), Format::Json);
    insta::assert_snapshot!(without_config_id(&text));
}

#[test]
fn nothing_wrong_is_said_plainly() {
    let text = report("nothing_wrong", &nothing_wrong(), Format::Md);
    assert!(text.contains("Nothing wrong is seen"), "{text}");
    assert!(text.contains("Nothing needs to be done."), "{text}");
    assert!(!text.contains("Which assumption broke"), "{text}");
}

#[test]
fn a_model_that_is_worse_without_an_alarm_is_not_called_well() {
    let text = report("many_windows", &many_windows(), Format::Md);
    assert!(text.contains("Nothing alarms, yet the model does worse than in training"), "{text}");
    assert!(!text.contains("Nothing needs to be done"), "{text}");
}

#[test]
fn without_labels_only_estimates_are_told() {
    let text = report("no_labels", &no_labels(), Format::Md);
    assert!(text.contains("the model is estimated to do worse; no label confirms it yet"), "{text}");
    assert!(text.contains("Without labels, roc_auc is estimated at"), "{text}");
    assert!(text.contains("All that is said of its performance is estimated."), "{text}");
    assert!(!text.contains("Realised roc_auc"), "{text}");
    assert!(text.contains("Their error is not measured yet"), "{text}");
}

#[test]
fn without_performance_drift_is_told_and_how_to_get_more() {
    let text = report("drift_only", &drift_only(), Format::Md);
    assert!(text.contains("The data moved; whether that hurts the model is not established"), "{text}");
    assert!(text.contains("give the model a task and a stream of labels"), "{text}");
}

#[test]
fn a_store_without_windows_has_a_report_too() {
    let text = report("empty", &Commit::default(), Format::Md);
    assert!(text.contains("there is nothing to report"), "{text}");
}

#[test]
fn a_harmless_shift_asks_for_nothing() {
    let text = report("harmless_shift", &harmless_shift(), Format::Md);
    assert!(text.contains("The cases changed, and the model does as well on them"), "{text}");
    assert!(text.contains("retraining is not needed for this"), "{text}");
}

#[test]
fn what_came_after_a_retraining_is_told_without_saying_that_it_came_of_it() {
    let text = report("retrained", &retrained(), Format::Md);
    assert!(text.contains("Nothing is wrong now; one incident ended in this period"), "{text}");
    assert!(text.contains("Version 8 came into use after it. The incident ended 4d later."), "{text}");
    assert!(text.contains("before and is 0.972 (0.964 to 0.980) since, not clearly different"), "{text}");
    assert!(text.contains("was over at 2026-01-14 00:00"), "{text}");
    assert!(text.contains("From 2026-01-08 00:00 to 2026-01-11 00:00 it came to € 36,000"), "{text}");
}

#[test]
fn names_from_outside_stay_text_in_markdown() {
    let text = report("hostile", &hostile(), Format::Md);
    assert!(!text.contains("<script>") && !text.contains("\u{202e}"), "{text}");
    assert!(text.contains("\\<script\\>"), "{text}");
}

#[test]
fn a_length_that_is_not_there_is_refused_with_those_that_are() {
    let dir = tempfile::tempdir().expect("scratch directory");
    Store::open(dir.path(), Options::default())
        .expect("opens")
        .apply(&one_window(), day(1))
        .expect("applies");
    let asked = Args { window: Some(span(7 * DAY)), ..args(Format::Json) };
    let failure = run(&asked, &config(dir.path()), day(15), &mut Vec::new()).expect_err("refused");
    assert_eq!(failure.code, 2);
    assert!(failure.message.contains("windows of 7d; there are 1d"), "{}", failure.message);
}

#[test]
fn a_missing_store_is_the_operators_matter_and_stays_missing() {
    let dir = tempfile::tempdir().expect("scratch directory");
    let data_dir = dir.path().join("not-there");
    let failure = run(&args(Format::Md), &config(&data_dir), day(15), &mut Vec::new()).expect_err("refused");
    assert_eq!(failure.code, 2);
    assert!(failure.message.contains("there is no store at"), "{}", failure.message);
    assert!(!data_dir.exists());
}

#[test]
fn a_store_opened_to_read_takes_no_lock_and_no_write() {
    let dir = tempfile::tempdir().expect("scratch directory");
    let service = Store::open(dir.path(), Options::default()).expect("opens");
    let reader = Store::open_to_read(dir.path()).expect("opens beside it");
    assert_eq!(reader.id(), service.id());
    assert!(matches!(reader.apply(&one_window(), day(1)), Err(StoreError::Stopped { .. })));
    service.apply(&one_window(), day(1)).expect("the service goes on");
    assert_eq!(reader.model_activity("fraud").expect("reads").newest_window_end, Some(day(1)));
}

#[test]
fn a_store_of_an_older_format_is_left_as_it_is() {
    let dir = tempfile::tempdir().expect("scratch directory");
    drop(Store::open(dir.path(), Options::default()).expect("opens"));
    let path = dir.path().join(driftline::store::FILE_NAME);
    let older = rusqlite::Connection::open(&path).expect("opens");
    older.pragma_update(None, "user_version", 1).expect("an older format");
    drop(older);
    let before = std::fs::read(&path).expect("bytes");
    let error = Store::open_to_read(dir.path()).expect_err("refused");
    assert!(matches!(error, StoreError::Older { found: 1, .. }), "{error}");
    assert_eq!(std::fs::read(&path).expect("bytes"), before);
}

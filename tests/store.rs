//! The store: what was applied is there again, whole or not at all, and a file that is not fit is refused.

mod sample;

use std::fs;
use std::path::Path;

use driftline::event::{RejectReason, Span, Timestamp};
use driftline::incident::Status;
use driftline::monitor::{Commit, Restored};
use driftline::notify::Outbox;
use driftline::store::{
    DeadLetterFilter, FILE_NAME, IncidentFilter, Options, OutboxFilter, PerformanceRow, SegmentFilter,
    StatusFilter, Store, StoreError, WindowFilter, WindowName,
};
use rusqlite::Connection;
use sample::{
    HOUR, at, dead_letter, full_commit, incident, notification, pane, performance, position, window,
};
use tempfile::TempDir;

fn open(dir: &TempDir) -> Store {
    Store::open(dir.path(), Options::default()).expect("opens")
}

fn scratch() -> TempDir {
    tempfile::tempdir().expect("scratch directory")
}

fn refused(dir: &Path) -> StoreError {
    Store::open(dir, Options::default()).expect_err("refused")
}

/// Copies the files as they lie on disk, as a crash would leave them.
fn crash_copy(from: &TempDir) -> TempDir {
    let to = scratch();
    for entry in fs::read_dir(from.path()).expect("list") {
        let entry = entry.expect("entry");
        fs::copy(entry.path(), to.path().join(entry.file_name())).expect("copy");
    }
    to
}

fn windows_of(model: &str) -> WindowFilter {
    WindowFilter { model: model.to_owned(), limit: 100, ..WindowFilter::default() }
}

fn value(raw: &serde_json::value::RawValue) -> serde_json::Value {
    serde_json::from_str(raw.get()).expect("a document")
}

// === durability ===

#[test]
fn what_was_applied_is_restored() {
    let dir = scratch();
    assert_eq!(open(&dir).restore().expect("restores"), Restored::default());
    let first = full_commit();
    let changed = pane("fraud", Some("7"), None, 0, 200);
    let second = Commit {
        positions: vec![position(1, 3_600)],
        panes: vec![changed.clone()],
        panes_dropped: vec![first.panes[2].key.clone()],
        state: None,
        ..Commit::default()
    };
    let store = open(&dir);
    store.apply(&first, at(0)).expect("applies");
    store.apply(&second, at(1)).expect("applies");
    drop(store);

    let restored = open(&dir).restore().expect("restores");
    assert_eq!(restored.positions, [position(0, 4_000), position(1, 3_600)]);
    assert_eq!(restored.state, first.state);
    let mut panes = vec![changed, first.panes[1].clone(), first.panes[3].clone()];
    panes.sort_by(|a, b| a.key.cmp(&b.key));
    let mut found = restored.panes;
    found.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(found, panes);
    assert_eq!(restored.outcome_panes, first.outcome_panes, "they do not mix with the others");
}

#[test]
fn panes_of_outcomes_are_overwritten_and_dropped_by_themselves() {
    let dir = scratch();
    let store = open(&dir);
    store.apply(&full_commit(), at(0)).expect("applies");
    let changed = pane("fraud", Some("7"), None, 0, 77);
    let commit = Commit {
        outcome_panes: vec![changed.clone()],
        outcome_panes_dropped: vec![pane("fraud", Some("7"), Some("eu"), 0, 0).key],
        ..Commit::default()
    };
    store.apply(&commit, at(0)).expect("applies");
    let restored = store.restore().expect("restores");
    assert_eq!(restored.outcome_panes, [changed]);
    assert_eq!(restored.panes.len(), 4);
}

#[test]
fn an_absent_and_an_empty_version_are_two_panes() {
    let dir = scratch();
    let store = open(&dir);
    let [absent, empty] = [None, Some("")].map(|version| pane("m", version, None, 0, 1));
    let commit = Commit { panes: vec![absent.clone(), empty.clone()], ..Commit::default() };
    store.apply(&commit, at(0)).expect("applies");
    store.apply(&commit, at(0)).expect("applies again");
    assert_eq!(store.restore().expect("restores").panes.len(), 2);
    store.apply(&Commit { panes_dropped: vec![absent.key], ..Commit::default() }, at(0)).expect("drops");
    assert_eq!(store.restore().expect("restores").panes, [empty]);
}

#[test]
fn a_crash_after_a_commit_loses_nothing_of_it() {
    let dir = scratch();
    let store = open(&dir);
    store.apply(&full_commit(), at(0)).expect("applies");
    let before = store.restore().expect("restores");
    let copy = crash_copy(&dir);
    assert!(copy.path().join("driftline.db-wal").exists(), "the copy must need recovery");
    let recovered = open(&copy);
    assert_eq!(recovered.restore().expect("restores"), before);
    assert_eq!(recovered.due("slack", at(0), 10).expect("due").len(), 1);
    assert_eq!(recovered.id(), store.id());
}

#[test]
fn a_crash_in_the_middle_of_writing_the_log_leaves_the_commit_before() {
    let dir = scratch();
    let store = open(&dir);
    store.apply(&Commit { positions: vec![position(0, 1)], ..Commit::default() }, at(0)).expect("applies");
    let whole = crash_copy(&dir);
    let length = fs::metadata(whole.path().join("driftline.db-wal")).expect("log").len();
    store.apply(&full_commit(), at(0)).expect("applies");
    let torn = crash_copy(&dir);
    let log = fs::OpenOptions::new().write(true).open(torn.path().join("driftline.db-wal")).expect("log");
    log.set_len(length + 6_000).expect("cut");
    let recovered = open(&torn).restore().expect("restores");
    assert_eq!(recovered, Restored { positions: vec![position(0, 1)], ..Restored::default() });
}

#[test]
fn a_failed_write_keeps_nothing_and_stops_the_store() {
    let dir = scratch();
    let store = open(&dir);
    store.apply(&Commit { positions: vec![position(0, 1)], ..Commit::default() }, at(0)).expect("applies");
    let other = Connection::open(dir.path().join(FILE_NAME)).expect("opens");
    other
        .execute_batch("CREATE TRIGGER fault BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'fault'); END")
        .expect("trigger");
    drop(other);

    let error = store.apply(&full_commit(), at(0)).expect_err("fails");
    assert!(matches!(error, StoreError::Write { .. }), "{error}");
    assert!(error.to_string().contains("the process must stop"), "{error}");
    let expected = Restored { positions: vec![position(0, 1)], ..Restored::default() };
    assert_eq!(store.restore().expect("restores"), expected);
    assert!(store.stopped().is_some());
    let after = store.apply(&Commit { positions: vec![position(0, 2)], ..Commit::default() }, at(0));
    assert!(matches!(after, Err(StoreError::Stopped { .. })));
    assert!(store.retry("n-1", at(1), "late").is_err());
    assert_eq!(store.restore().expect("restores"), expected);
}

#[test]
fn an_empty_commit_writes_nothing() {
    let dir = scratch();
    let store = open(&dir);
    let before = store.size_bytes();
    store.apply(&Commit::default(), at(0)).expect("applies");
    assert_eq!(store.size_bytes(), before);
}

#[test]
fn the_log_stays_bounded_over_many_commits() {
    let dir = scratch();
    let store = open(&dir);
    for round in 0..300_u32 {
        let panes = (0..100).map(|hour| pane("fraud", None, None, hour, 1)).collect();
        let positions = vec![position(0, i64::from(round))];
        store.apply(&Commit { panes, positions, ..Commit::default() }, at(0)).expect("applies");
    }
    // 300 commits of 140 KB each are 42 MB; the log folds at 8 MB.
    let log = fs::metadata(dir.path().join("driftline.db-wal")).expect("log").len();
    assert!(log < 12 << 20, "the log holds {log} bytes");
}

// === refusals ===

#[test]
fn a_second_open_of_the_same_directory_is_refused() {
    let dir = scratch();
    let store = open(&dir);
    let error = refused(dir.path());
    assert!(matches!(&error, StoreError::Locked { holder: Some(pid), .. } if *pid == std::process::id()));
    let message = error.to_string();
    assert!(message.contains(&dir.path().display().to_string()), "{message}");
    assert!(message.contains("stop it first, or give this one a data_dir of its own"), "{message}");
    drop(store);
    open(&dir);
}

#[test]
fn a_damaged_file_is_refused_and_kept() {
    let dir = scratch();
    let store = open(&dir);
    for hour in 0..40 {
        store
            .apply(&Commit { windows: vec![window("fraud", None, hour, false)], ..Commit::default() }, at(0))
            .expect("applies");
    }
    drop(store);
    let path = dir.path().join(FILE_NAME);
    let whole = fs::read(&path).expect("read");
    for (from, to) in [(0, 100), (4_096, 12_288)] {
        let mut damaged = whole.clone();
        damaged[from..to].fill(0x5a);
        fs::write(&path, &damaged).expect("write");
        let error = refused(dir.path());
        assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
        let message = error.to_string();
        assert!(
            message.contains(&path.display().to_string()) && message.contains("restore a backup"),
            "{message}"
        );
        assert_eq!(fs::read(&path).expect("read"), damaged, "the file must stay as it is");
    }
}

#[test]
fn counts_that_are_not_what_was_written_are_refused() {
    for (table, counts) in [("panes", "the counts"), ("outcome_panes", "the counts of outcomes")] {
        let dir = scratch();
        open(&dir).apply(&full_commit(), at(0)).expect("applies");
        let file = Connection::open(dir.path().join(FILE_NAME)).expect("opens");
        file.execute(&format!("UPDATE {table} SET summary = x'00' WHERE id = 1"), []).expect("damage");
        drop(file);
        let error = open(&dir).restore().expect_err("refused");
        let expected = format!("{counts} of model fraud at 2026-01-01T00:00:00Z");
        assert!(error.to_string().contains(&expected), "{error}");
    }
}

#[test]
fn a_newer_format_is_refused_and_kept() {
    let dir = scratch();
    drop(open(&dir));
    let path = dir.path().join(FILE_NAME);
    let file = Connection::open(&path).expect("opens");
    file.pragma_update(None, "user_version", 99).expect("newer");
    drop(file);
    let before = fs::read(&path).expect("read");
    let error = refused(dir.path());
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error:?}");
    assert_eq!(fs::read(&path).expect("read"), before);
}

#[test]
fn another_programs_database_is_refused() {
    let dir = scratch();
    let file = Connection::open(dir.path().join(FILE_NAME)).expect("opens");
    file.execute_batch("CREATE TABLE theirs (id INTEGER)").expect("a table");
    drop(file);
    assert!(matches!(refused(dir.path()), StoreError::Foreign { .. }));
}

#[test]
fn a_file_that_a_crash_left_empty_is_filled() {
    let dir = scratch();
    fs::write(dir.path().join(FILE_NAME), b"").expect("empty file");
    open(&dir).apply(&full_commit(), at(0)).expect("applies");
}

#[test]
fn a_file_in_place_of_the_directory_is_refused() {
    let dir = scratch();
    let path = dir.path().join("data");
    fs::write(&path, b"").expect("file");
    assert!(matches!(refused(&path), StoreError::Directory { .. }));
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read_what_is_made() {
    use std::os::unix::fs::PermissionsExt;
    let dir = scratch();
    let data = dir.path().join("a/b");
    let store = Store::open(&data, Options::default()).expect("opens");
    store.apply(&full_commit(), at(0)).expect("applies");
    let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for name in [FILE_NAME, "driftline.db-wal", "lock"] {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
}

#[test]
fn the_identity_is_made_once_and_differs_between_stores() {
    let (one, other) = (scratch(), scratch());
    let id = open(&one).id().to_owned();
    assert_eq!(id.len(), 32);
    assert_eq!(open(&one).id(), id);
    assert_ne!(open(&other).id(), id);
}

// === outbox ===

fn ids(store: &Store, channel: &str, now: Timestamp) -> Vec<String> {
    let due = store.due(channel, now, 10).expect("due");
    due.into_iter().map(|waiting| waiting.notification.id).collect()
}

/// Two transitions of `a` and one of `b`, all for Slack; the first of `a` also for PagerDuty.
fn three_in_a_row(store: &Store) {
    let first = incident("a", "fraud", 2, 1, Status::Open);
    let second = incident("a", "fraud", 2, 2, Status::Resolved);
    let other = incident("b", "churn", 2, 1, Status::Open);
    let outbox = vec![
        notification("a1", "slack", &first),
        notification("a1p", "pagerduty", &first),
        notification("a2", "slack", &second),
        notification("b1", "slack", &other),
    ];
    let transitions = vec![first, second, other];
    store.apply(&Commit { transitions, outbox, ..Commit::default() }, at(0)).expect("applies");
}

#[test]
fn a_later_notification_waits_for_the_earlier_of_its_incident() {
    let dir = scratch();
    let store = open(&dir);
    three_in_a_row(&store);
    assert_eq!(ids(&store, "slack", at(0)), ["a1", "b1"]);
    store.retry("a1", at(60), "503").expect("retry");
    assert_eq!(ids(&store, "slack", at(59)), ["b1"]);
    assert_eq!(store.next_due("slack").expect("next"), Some(at(0)), "b1 is due");
    store.delivered("b1", at(1)).expect("delivered");
    assert_eq!(store.next_due("slack").expect("next"), Some(at(60)));
    let again = store.due("slack", at(60), 10).expect("due");
    assert_eq!((again[0].notification.id.as_str(), again[0].attempts, again[0].created_at), ("a1", 1, at(0)));
    store.dead("a1", at(61), "400 invalid_blocks").expect("dead");
    assert_eq!(ids(&store, "slack", at(61)), ["a2"], "a dead letter lets the next go");
    store.delivered("a2", at(62)).expect("delivered");
    assert_eq!(store.next_due("slack").expect("next"), None);
    assert_eq!(ids(&store, "pagerduty", at(0)), ["a1p"], "a channel does not wait for another");
}

#[test]
fn an_id_that_comes_twice_is_one_notification() {
    let dir = scratch();
    let store = open(&dir);
    three_in_a_row(&store);
    store.delivered("a1", at(1)).expect("delivered");
    three_in_a_row(&store);
    assert_eq!(ids(&store, "slack", at(1)), ["a2", "b1"]);
}

#[test]
fn an_answer_that_comes_twice_changes_nothing() {
    let dir = scratch();
    let store = open(&dir);
    three_in_a_row(&store);
    store.delivered("a1", at(1)).expect("delivered");
    store.dead("a1", at(2), "too late").expect("ignored");
    let stats = store.outbox_stats().expect("stats");
    assert_eq!((stats[1].channel.as_str(), stats[1].delivered, stats[1].dead), ("slack", 1, 0));
    let error = store.delivered("nobody", at(1)).expect_err("unknown");
    assert!(format!("{:?}", error).contains("nobody"));
    assert!(store.stopped().is_none(), "an unknown id is no failed write");
}

#[test]
fn a_message_that_cannot_be_read_is_a_dead_letter_and_blocks_nobody() {
    let dir = scratch();
    let store = open(&dir);
    three_in_a_row(&store);
    let file = Connection::open(dir.path().join(FILE_NAME)).expect("opens");
    file.execute("UPDATE outbox SET document = '{}' WHERE id = 'a1'", []).expect("damage");
    assert_eq!(ids(&store, "slack", at(0)), ["b1"]);
    assert_eq!(ids(&store, "slack", at(0)), ["a2", "b1"]);
    assert_eq!(store.outbox_stats().expect("stats")[1].dead, 1);
}

#[test]
fn the_outbox_says_how_each_channel_stands() {
    let dir = scratch();
    let store = open(&dir);
    three_in_a_row(&store);
    store.delivered("a1", at(5)).expect("delivered");
    store.retry("a2", at(90), "timed out").expect("retry");
    let stats = store.outbox_stats().expect("stats");
    let slack = &stats[1];
    assert_eq!((slack.waiting, slack.oldest_waiting, slack.delivered), (2, Some(at(0)), 1));
    let filter = OutboxFilter { channel: Some("slack".to_owned()), limit: 2, ..OutboxFilter::default() };
    let page = store.outbox_rows(&filter).expect("rows");
    assert_eq!(page.rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["b1", "a2"]);
    assert_eq!(page.rows[1].last_error.as_deref(), Some("timed out"));
    assert_eq!(page.rows[1].next_attempt_at, Some(at(90)));
    let rest = store.outbox_rows(&OutboxFilter { cursor: page.next, ..filter }).expect("rows");
    assert_eq!((rest.rows.len(), rest.next), (1, None));
    assert_eq!((rest.rows[0].status.as_str(), rest.rows[0].ended_at), ("delivered", Some(at(5))));
}

// === history ===

#[test]
fn windows_come_in_pages_without_a_gap_or_a_repeat() {
    let dir = scratch();
    let store = open(&dir);
    let hours = 1..=9;
    let windows =
        hours.flat_map(|hour| [None, Some("eu"), Some("us")].map(|s| window("fraud", s, hour, hour == 5)));
    store.apply(&Commit { windows: windows.collect(), ..Commit::default() }, at(0)).expect("applies");
    let mut filter = WindowFilter { limit: 4, ..windows_of("fraud") };
    let mut seen = Vec::new();
    loop {
        let page = store.windows(&filter).expect("page");
        seen.extend(page.rows.iter().map(|row| {
            let row = value(row);
            (row["window_end"].as_str().expect("end").to_owned(), row["segment"].to_string())
        }));
        filter.cursor = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 27);
    assert!(seen.is_sorted_by(|a, b| a.0 >= b.0), "newest first");
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 27);
}

#[test]
fn windows_are_found_by_what_they_are() {
    let dir = scratch();
    let store = open(&dir);
    store.apply(&full_commit(), at(0)).expect("applies");
    let number = |filter: WindowFilter| store.windows(&filter).expect("page").rows.len();
    let all = || windows_of("fraud");
    assert_eq!(number(all()), 3);
    assert_eq!(number(windows_of("churn")), 0);
    assert_eq!(number(WindowFilter { segment: SegmentFilter::Whole, ..all() }), 2);
    assert_eq!(number(WindowFilter { segment: SegmentFilter::One("eu".to_owned()), ..all() }), 1);
    assert_eq!(number(WindowFilter { alarm: Some(true), ..all() }), 1);
    assert_eq!(number(WindowFilter { version: Some("8".to_owned()), ..all() }), 0);
    assert_eq!(number(WindowFilter { length: Some(Span::from_secs(HOUR)), ..all() }), 3);
    assert_eq!(number(WindowFilter { after: Some(at(HOUR)), ..all() }), 2);
    assert_eq!(number(WindowFilter { before: Some(at(2 * HOUR)), ..all() }), 1);

    let name = WindowName {
        model: "fraud".to_owned(),
        start: at(HOUR),
        length: Span::from_secs(HOUR),
        version: None,
        segment: None,
    };
    let document = store.window(&name).expect("read").expect("found");
    let whole: driftline::monitor::ClosedWindow = serde_json::from_str(document.get()).expect("a window");
    assert_eq!(whole, window("fraud", None, 2, true), "the document is the window, bit for bit");
    let brief = &store.windows(&WindowFilter { alarm: Some(true), ..all() }).expect("page").rows[0];
    let brief = value(brief);
    assert_eq!(brief["features"].as_array().expect("features").len(), 10);
    assert!(brief["features"][0].get("tests").is_none());
    let elsewhere = WindowName { segment: Some("us".to_owned()), ..name };
    assert!(store.window(&elsewhere).expect("read").is_none());
}

#[test]
fn incidents_keep_every_transition() {
    let dir = scratch();
    let store = open(&dir);
    for (sequence, status) in [(1, Status::Open), (2, Status::Updated), (3, Status::Resolved)] {
        let transition = incident("a", "fraud", 2, sequence, status);
        let outbox = vec![notification(&format!("n{sequence}"), "slack", &transition)];
        store
            .apply(&Commit { transitions: vec![transition], outbox, ..Commit::default() }, at(0))
            .expect("applies");
    }
    let late = incident("a", "fraud", 2, 1, Status::Open);
    let newer = incident("b", "churn", 9, 1, Status::Open);
    store.apply(&Commit { transitions: vec![late, newer], ..Commit::default() }, at(0)).expect("applies");

    let detail = store.incident("a").expect("read").expect("found");
    assert_eq!(detail.transitions_total, 3);
    let sequences: Vec<_> = detail.transitions.iter().map(|row| value(row)["sequence"].as_u64()).collect();
    assert_eq!(sequences, [Some(1), Some(2), Some(3)]);
    assert_eq!(value(&detail.incident)["status"], "resolved", "an incident never goes back");
    assert_eq!(detail.deliveries.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["n1", "n2", "n3"]);
    let second = store.transition("a", 2).expect("read").expect("found");
    assert_eq!(value(&second)["features"][0]["tests"][0]["test"], "ks");
    assert!(store.incident("c").expect("read").is_none());

    let list = |status| {
        let filter = IncidentFilter { status, limit: 10, ..IncidentFilter::default() };
        let page = store.incidents(&filter).expect("page");
        page.rows.iter().map(|row| value(row)["id"].as_str().expect("id").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list(None), ["b", "a"], "the latest opened first");
    assert_eq!(list(Some(StatusFilter::Open)), ["b"]);
    assert_eq!(list(Some(StatusFilter::Resolved)), ["a"]);
    assert_eq!(store.open_incidents().expect("read"), [("churn".to_owned(), 1)]);
    let activity = store.model_activity("churn").expect("read");
    assert_eq!(activity.open_incident.as_deref(), Some("b"));
}

#[test]
fn history_is_taken_away_by_the_newest_window_and_keeps_open_incidents() {
    let dir = scratch();
    let options = Options { history: Span::from_secs(10 * HOUR), ..Options::default() };
    let store = Store::open(dir.path(), options).expect("opens");
    let transitions = vec![
        incident("over", "fraud", 1, 1, Status::Resolved),
        incident("open", "fraud", 1, 1, Status::Open),
    ];
    store.apply(&Commit { transitions, ..Commit::default() }, at(0)).expect("applies");
    for hour in 1..=200 {
        let commit = Commit { windows: vec![window("fraud", None, hour, false)], ..Commit::default() };
        store.apply(&commit, at(hour * HOUR)).expect("applies");
    }
    let page = store.windows(&WindowFilter { limit: 500, ..windows_of("fraud") }).expect("page");
    assert_eq!(page.rows.len(), 11, "those that ended within ten hours of the newest");
    assert!(store.incident("over").expect("read").is_none());
    assert!(store.incident("open").expect("read").is_some());
}

#[test]
fn ended_notifications_leave_with_the_history_and_waiting_ones_stay() {
    let dir = scratch();
    let options = Options { history: Span::from_secs(HOUR), ..Options::default() };
    let store = Store::open(dir.path(), options).expect("opens");
    three_in_a_row(&store);
    store.delivered("a1", at(0)).expect("delivered");
    let later = Commit { positions: vec![position(0, 1)], ..Commit::default() };
    store.apply(&later, at(2 * HOUR)).expect("applies");
    let rows = store.outbox_rows(&OutboxFilter { limit: 10, ..OutboxFilter::default() }).expect("rows").rows;
    assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["b1", "a2", "a1p"]);
}

#[test]
fn dead_letters_are_kept_up_to_the_maximum_and_the_oldest_go() {
    let dir = scratch();
    let options = Options { dead_letters_max: 5, ..Options::default() };
    let store = Store::open(dir.path(), options).expect("opens");
    let letters = |offsets: std::ops::Range<i64>| {
        offsets.map(|offset| dead_letter(offset, RejectReason::Late, &[b'x'; 5_000])).collect()
    };
    for offsets in [0..3, 3..20, 20..21] {
        store.apply(&Commit { dead_letters: letters(offsets), ..Commit::default() }, at(0)).expect("applies");
    }
    assert_eq!(store.dead_letters_kept().expect("number"), 5);
    let filter = DeadLetterFilter { limit: 3, ..DeadLetterFilter::default() };
    let page = store.dead_letters(&filter).expect("page");
    assert_eq!(page.rows.iter().map(|row| row.offset).collect::<Vec<_>>(), [20, 19, 18]);
    assert_eq!(page.rows[0].payload.len(), 1_024);
    let rest = store.dead_letters(&DeadLetterFilter { cursor: page.next, ..filter }).expect("page");
    assert_eq!(rest.rows.iter().map(|row| row.offset).collect::<Vec<_>>(), [17, 16]);
}

#[test]
fn counters_go_on_over_restarts_and_are_bounded() {
    let dir = scratch();
    let counted =
        |model: String| Commit { counted: vec![("t".to_owned(), model, "counted", 2)], ..Commit::default() };
    open(&dir).apply(&counted("fraud".to_owned()), at(0)).expect("applies");
    let store = open(&dir);
    store.apply(&counted("fraud".to_owned()), at(0)).expect("applies");
    let counters = store.counters().expect("read");
    assert_eq!((counters.len(), counters[0].events), (1, 4));
    let flood = (0..10_050).map(|i| ("t".to_owned(), format!("m{i}"), "unknown_model", 1)).collect();
    store.apply(&Commit { counted: flood, ..Commit::default() }, at(0)).expect("applies");
    let counters = store.counters().expect("read");
    assert!(counters.len() <= 10_001, "{} counters", counters.len());
    let total: u64 = counters.iter().map(|counter| counter.events).sum();
    assert_eq!(total, 10_054, "the bound loses no event");
}

// === performance ===

fn performance_of(model: &str) -> WindowFilter {
    WindowFilter { model: model.to_owned(), limit: 100, ..WindowFilter::default() }
}

fn named(rows: &[PerformanceRow]) -> Vec<(i64, Option<&str>, u32)> {
    let hour = |row: &PerformanceRow| (row.window_end - at(0)).as_micros() / (HOUR * 1_000_000);
    rows.iter().map(|row| (hour(row), row.segment.as_deref(), row.revision)).collect()
}

fn performance_commit(hour: i64, revision: u32, labels: u64) -> Commit {
    Commit { performance: vec![performance("fraud", None, hour, revision, labels)], ..Commit::default() }
}

#[test]
fn a_windows_latest_revision_is_shown_and_the_earlier_are_kept() {
    let dir = scratch();
    let store = open(&dir);
    store.apply(&full_commit(), at(0)).expect("applies");
    let rows = store.performance(&performance_of("fraud")).expect("read").rows;
    assert_eq!(named(&rows), [(2, None, 1), (1, Some("eu"), 1), (1, None, 2)]);
    let name = WindowName {
        model: "fraud".to_owned(),
        start: at(0),
        length: Span::from_secs(HOUR),
        version: None,
        segment: None,
    };
    let revisions = store.performance_revisions(&name).expect("read");
    assert_eq!(named(&revisions), [(1, None, 1), (1, None, 2)]);
    assert_eq!(revisions.iter().map(|row| row.latest).collect::<Vec<_>>(), [false, true]);
    assert_eq!(revisions[1].window().expect("a document"), performance("fraud", None, 1, 2, 3_680));
    let verdict = revisions[1].verdict_summary().expect("a document").expect("judged");
    assert!(verdict.alarm && verdict.alpha == Some(1e-4));
    let unknown = WindowName { start: at(7 * HOUR), ..name };
    assert!(store.performance_revisions(&unknown).expect("read").is_empty());
}

#[test]
fn a_revision_that_comes_twice_is_one_and_the_highest_is_the_latest() {
    let dir = scratch();
    let store = open(&dir);
    store.apply(&full_commit(), at(0)).expect("applies");
    let before = named(&store.performance(&performance_of("fraud")).expect("read").rows)
        .into_iter()
        .map(|(hour, segment, revision)| (hour, segment.map(str::to_owned), revision))
        .collect::<Vec<_>>();
    let copy = crash_copy(&dir);
    let recovered = open(&copy);
    for revision in [2, 1] {
        recovered.apply(&performance_commit(1, revision, 1_000), at(9)).expect("applies again");
    }
    let rows = recovered.performance(&performance_of("fraud")).expect("read").rows;
    let after = rows.iter().map(|row| (row.revision, row.segment.clone())).collect::<Vec<_>>();
    let expected = before.iter().map(|(_, segment, revision)| (*revision, segment.clone()));
    assert_eq!(after, expected.collect::<Vec<_>>());
    assert_eq!(rows[2].window().expect("a document").reading.labels, 3_680, "it stays as it was");
    recovered.apply(&performance_commit(2, 3, 10), at(9)).expect("a gap");
    recovered.apply(&performance_commit(2, 2, 5), at(9)).expect("out of order");
    let rows = recovered.performance(&performance_of("fraud")).expect("read").rows;
    assert_eq!(named(&rows).first(), Some(&(2, None, 3)));
}

#[test]
fn performance_comes_in_pages_and_by_what_it_is() {
    let dir = scratch();
    let store = open(&dir);
    store.apply(&full_commit(), at(0)).expect("applies");
    for hour in 3..=20 {
        store.apply(&performance_commit(hour, 1, u64::from(hour % 2 == 0)), at(0)).expect("applies");
    }
    let mut filter = WindowFilter { segment: SegmentFilter::Whole, limit: 7, ..performance_of("fraud") };
    let mut hours = Vec::new();
    loop {
        let page = store.performance(&filter).expect("read");
        hours.extend(named(&page.rows).into_iter().map(|(hour, ..)| hour));
        filter.cursor = page.next;
        if filter.cursor.is_none() {
            break;
        }
    }
    assert_eq!(hours, (1..=20).rev().collect::<Vec<_>>());
    let count = |filter: WindowFilter| store.performance(&filter).expect("read").rows.len();
    let of = || performance_of("fraud");
    assert_eq!(count(WindowFilter { segment: SegmentFilter::One("eu".to_owned()), ..of() }), 1);
    assert_eq!(count(WindowFilter { alarm: Some(true), ..of() }), 11);
    assert_eq!(count(WindowFilter { alarm: Some(false), ..of() }), 0, "the others are not judged");
    assert_eq!(count(WindowFilter { version: Some("8".to_owned()), ..of() }), 0);
    assert_eq!(count(WindowFilter { length: Some(Span::from_secs(60)), ..of() }), 0);
    let between = WindowFilter { after: Some(at(3 * HOUR)), before: Some(at(6 * HOUR)), ..of() };
    assert_eq!(count(between), 2);
    assert_eq!(count(performance_of("churn")), 0);
    let newest = store.newest_performance("fraud").expect("read");
    assert_eq!((newest.len(), newest[0].length), (1, Span::from_secs(HOUR)));
    assert_eq!(named(std::slice::from_ref(&newest[0].newest)), [(20, None, 1)]);
    let labelled = newest[0].labelled.as_ref().expect("labels");
    assert_eq!(labelled.window_end, at(20 * HOUR));
    store.apply(&performance_commit(21, 1, 0), at(0)).expect("applies");
    let newest = store.newest_performance("fraud").expect("read");
    assert_eq!(newest[0].newest.window_end, at(21 * HOUR));
    assert_eq!(newest[0].labelled.as_ref().map(|row| row.window_end), Some(at(20 * HOUR)));
}

#[test]
fn performance_is_kept_for_the_history_after_it_was_known() {
    let dir = scratch();
    let options = Options { history: Span::from_secs(10 * HOUR), ..Options::default() };
    let store = Store::open(dir.path(), options).expect("opens");
    for hour in 1..=200 {
        store.apply(&performance_commit(hour, 1, 0), at(hour * HOUR)).expect("applies");
    }
    // Labels of the first window come a day after it: what they say is news of that day.
    store.apply(&performance_commit(190, 2, 400), at(200 * HOUR)).expect("applies");
    let page = store.performance(&WindowFilter { limit: 500, ..performance_of("fraud") }).expect("page");
    assert_eq!(named(&page.rows), [(190, None, 2)]);
    let alone = Commit { windows: vec![window("fraud", None, 300, false)], ..Commit::default() };
    store.apply(&alone, at(0)).expect("applies");
    assert_eq!(store.performance(&performance_of("fraud")).expect("page").rows.len(), 1);
}

#[test]
fn what_became_of_labels_is_added_up_over_restarts() {
    let dir = scratch();
    open(&dir).apply(&full_commit(), at(0)).expect("applies");
    let store = open(&dir);
    let more = vec![("fraud".to_owned(), "joined", 20), ("churn".to_owned(), "joined", 1)];
    store.apply(&Commit { joined: more, ..Commit::default() }, at(0)).expect("applies");
    let of = |model| {
        let counts = store.joined(model).expect("read").into_iter();
        counts.map(|count| (count.outcome, count.n)).collect::<Vec<_>>()
    };
    let fraud = [("duplicate", 12), ("joined", 3_700), ("unknown", 3)].map(|(name, n)| (name.to_owned(), n));
    assert_eq!(of(Some("fraud")), fraud);
    assert_eq!(of(None).len(), 4);
}

#[test]
fn incidents_are_given_whole_to_those_who_report() {
    let dir = scratch();
    let store = open(&dir);
    let transitions = vec![
        incident("old", "fraud", 1, 1, Status::Resolved),
        incident("open", "fraud", 2, 1, Status::Open),
        incident("recent", "fraud", 9, 1, Status::Resolved),
        incident("other", "churn", 9, 1, Status::Open),
    ];
    store.apply(&Commit { transitions: transitions.clone(), ..Commit::default() }, at(0)).expect("applies");
    let ids = |since| {
        let incidents = store.incidents_since("fraud", since, 10).expect("read");
        incidents.into_iter().map(|incident| incident.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(Some(at(5 * HOUR))), ["recent", "open"]);
    assert_eq!(ids(None), ["recent", "open", "old"]);
    assert_eq!(store.incidents_since("fraud", None, 1).expect("read"), [transitions[2].clone()]);
}

#[test]
fn readers_do_not_wait_for_the_writer() {
    let dir = scratch();
    let store = open(&dir);
    store.apply(&full_commit(), at(0)).expect("applies");
    let other = Connection::open(dir.path().join(FILE_NAME)).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE; DELETE FROM windows;").expect("a writer at work");
    assert_eq!(store.windows(&windows_of("fraud")).expect("page").rows.len(), 3);
}

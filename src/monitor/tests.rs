use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::baseline::{Baseline, BaselineId, Column};
use crate::event::decode::{FeatureMapping, Field, Mapping, RecordLimits, Stream, TimestampUnit};
use crate::event::{ColumnKind, ColumnSpec, Role};
use crate::incident::{RetrainSettings, Status};
use crate::summary::{
    CategoricalSummary, Categories, CategoryIndex, ColumnSummary, FixedPoint, Grid, NumericScratch,
    NumericSummary, Shape,
};
use crate::verdict;
use crate::window::{self, WindowSettings};

const MINUTE: Span = Span::from_secs(60);

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::default() + Span::from_secs(seconds)
}

/// A reference of 1,000 rows: `amount` uniform on 0..100, `country` half DE and half FR.
pub(super) fn baseline(id: u8) -> Baseline {
    let grid = Grid::try_new(
        (0..=20).map(|k| f64::from(k) * 5.0 - 1e-9).collect(),
        FixedPoint { centre: 50.0, scale: 29.0 },
    );
    let grid = grid.expect("a grid");
    let mut amount = NumericSummary::empty(&grid);
    amount.observe_values(
        &grid,
        (0..1000).map(|row| Some(f64::from(row) / 10.0)),
        &mut NumericScratch::default(),
    );
    let categories = Categories {
        top: vec!["DE".into(), "FR".into()],
        buckets: 0,
        rare: vec![],
        open: false,
        rare_singletons: None,
    };
    let index = CategoryIndex::new(&categories);
    let mut country = CategoricalSummary::empty(&categories);
    ["DE", "FR"].iter().for_each(|name| country.add(&categories, &index, name, 500));
    let spec = |name: &str, kind| ColumnSpec { name: name.into(), role: Role::Feature, kind };
    Baseline {
        id: BaselineId([id; 32]),
        model: None,
        version: None,
        rows: 1000,
        columns: vec![
            Column {
                spec: spec("amount", ColumnKind::Numeric),
                shape: Shape::Numeric(grid),
                summary: ColumnSummary::Numeric(amount),
                extremes: None,
            },
            Column {
                spec: spec("country", ColumnKind::Categorical),
                shape: Shape::Categorical(categories),
                summary: ColumnSummary::Categorical(country),
                extremes: None,
            },
        ],
        reference: None,
        segments: vec![],
        outcomes: None,
        notes: vec![],
    }
}

pub(super) fn settings(windows: &[(i64, i64)]) -> ModelSettings {
    let window = |&(length, slide): &(i64, i64)| WindowSettings {
        length: Span::from_secs(length),
        slide: Span::from_secs(slide),
    };
    ModelSettings {
        name: "credit".into(),
        windows: window::Settings {
            windows: windows.iter().map(window).collect(),
            allowed_lateness: Span::from_secs(10),
            ..window::Settings::default()
        },
        verdict: verdict::Settings::default(),
        incident: incident::Settings {
            open_after: 1,
            resolve_after: 2,
            critical_effect: 0.2,
            channels: vec!["slack".into()],
            retrain: Some(RetrainSettings {
                channel: "train".into(),
                after_windows: 1,
                cooldown: MINUTE,
                per_week_max: 1,
                only_if_it_pays: false,
            }),
        },
        early: crate::quality::Settings::default(),
        performance: None,
        segments_max: 2,
        versions_max: 3,
        imported: None,
    }
}

pub(super) fn stream() -> Stream {
    Stream {
        topic: "events".into(),
        format: "json".into(),
        mapping: Mapping {
            model: Field::Constant("credit".into()),
            version: Some(Field::Pointer("/v".into())),
            timestamp: "/t".into(),
            timestamp_unit: TimestampUnit::Seconds,
            id: None,
            features: FeatureMapping::Object("/f".into()),
            prediction: None,
            scores: BTreeMap::new(),
            label: None,
            latency_ms: Some("/ms".into()),
            segment: Some("/s".into()),
        },
        limits: RecordLimits::default(),
    }
}

pub(super) fn plan(windows: &[(i64, i64)]) -> Arc<Plan> {
    Arc::new(
        Plan::new("cfg".into(), vec![stream()], vec![settings(windows)])
            .with_shared(0, Arc::new(baseline(1))),
    )
}

fn origin(partition: i32) -> Origin {
    Origin { topic: "events".into(), partition }
}

/// An event of one second, as JSON.
pub(super) fn event(time: i64, amount: f64, country: &str) -> String {
    format!(r#"{{"t":{time},"f":{{"amount":{amount},"country":"{country}"}},"ms":3.5}}"#)
}

pub(super) fn batch(partition: i32, first: i64, events: &[String]) -> RawBatch {
    let mut raw = RawBatch::new(0, origin(partition));
    for (offset, event) in (first..).zip(events) {
        raw.push(offset, at(1_000_000), event.as_bytes());
    }
    raw
}

pub(super) fn summarise(plan: &Arc<Plan>, raw: RawBatch) -> Partial {
    Summariser::new(Arc::clone(plan))
        .summarise(raw)
        .unwrap_or_else(|postponed| panic!("baselines are known: {:?}", postponed.needs))
}

/// What a store would hold.
#[derive(Debug, Default, Clone)]
pub(super) struct Memory {
    pub(super) restored: Restored,
    pub(super) windows: Vec<ClosedWindow>,
    pub(super) transitions: Vec<Incident>,
    pub(super) outbox: Vec<String>,
    pub(super) dead: Vec<(RejectReason, i64)>,
    pub(super) counted: BTreeMap<&'static str, u64>,
}

impl Memory {
    pub(super) fn apply(&mut self, commit: Commit) {
        for position in commit.positions {
            self.restored.positions.retain(|known| known.origin != position.origin);
            self.restored.positions.push(position);
        }
        for write in commit.panes {
            self.restored.panes.retain(|known| known.key != write.key);
            self.restored.panes.push(write);
        }
        self.restored.panes.retain(|known| !commit.panes_dropped.contains(&known.key));
        self.restored.state = commit.state.or(self.restored.state.take());
        self.windows.extend(commit.windows);
        self.transitions.extend(commit.transitions);
        self.outbox.extend(commit.outbox.into_iter().map(|sent| sent.id));
        self.dead.extend(commit.dead_letters.into_iter().map(|letter| (letter.reason, letter.offset)));
        commit
            .counted
            .into_iter()
            .for_each(|(_, _, outcome, n)| *self.counted.entry(outcome).or_default() += n);
    }

    pub(super) fn position(&self, partition: i32) -> i64 {
        let found = self.restored.positions.iter().find(|known| known.origin == origin(partition));
        found.map_or(0, |known| known.next_offset)
    }

    /// The windows without what depends on when they closed.
    pub(super) fn results(&self) -> Vec<ClosedWindow> {
        let timeless = |window: &ClosedWindow| ClosedWindow {
            positions: vec![],
            watermark: Timestamp::MIN,
            ..window.clone()
        };
        let mut results: Vec<ClosedWindow> = self.windows.iter().map(timeless).collect();
        results.sort_by(|a, b| (a.end, a.key.length, &a.key).cmp(&(b.end, b.key.length, &b.key)));
        results
    }
}

pub(super) fn monitor(plan: &Arc<Plan>, memory: &Memory, partitions: i32) -> Monitor {
    let (mut monitor, notes) =
        Monitor::restore(Arc::clone(plan), memory.restored.clone(), &|_| None).expect("a sound state");
    assert!(notes.is_empty(), "{notes:?}");
    monitor.assign((0..partitions).map(|partition| (origin(partition), memory.position(partition))));
    monitor
}

/// Calm for ten minutes, then `amount` moves up; one event a second, in disorder within the lateness.
fn stream_of_events(minutes: i64) -> Vec<String> {
    (0..minutes * 60)
        .map(|second| {
            let time = second - (second * 7) % 10;
            let shift = if second >= 600 { 60.0 } else { 0.0 };
            event(
                time.max(0),
                ((second * 37) % 100) as f64 + shift,
                if second % 2 == 0 { "DE" } else { "FR" },
            )
        })
        .collect()
}

fn run_whole(plan: &Arc<Plan>, events: &[String], batch_size: usize) -> Memory {
    let mut memory = Memory::default();
    let mut monitor = monitor(plan, &memory, 1);
    for (number, part) in events.chunks(batch_size).enumerate() {
        let first = i64::try_from(number * batch_size).expect("small");
        monitor.ingest(summarise(plan, batch(0, first, part)), at(0)).expect("in order");
        memory.apply(monitor.advance(at(0)).expect("joins"));
    }
    memory
}

#[test]
fn events_are_counted_in_their_windows_and_drift_opens_one_incident() {
    let plan = plan(&[(60, 60)]);
    let memory = run_whole(&plan, &stream_of_events(20), 97);
    assert_eq!(memory.counted, BTreeMap::from([("counted", 1200)]));
    assert!(memory.windows.len() >= 18, "{}", memory.windows.len());
    assert!(memory.windows.iter().skip(1).all(|window| (59..=61).contains(&window.rows.events)));
    assert!(memory.windows[3].latency_ms.is_some_and(|[p50, ..]| (p50 - 3.5).abs() < 0.1));
}

#[test]
fn late_and_future_events_are_set_aside_and_move_no_clock() {
    let plan = plan(&[(60, 60)]);
    let mut memory = Memory::default();
    let mut monitor = monitor(&plan, &memory, 1);
    let future = 1_000_000 + 301;
    let events = [
        event(0, 1.0, "DE"),
        event(future, 1.0, "DE"),
        event(200, 1.0, "DE"),
        event(59, 1.0, "DE"),
        event(195, 1.0, "DE"),
    ];
    monitor.ingest(summarise(&plan, batch(0, 0, &events)), at(0)).expect("in order");
    memory.apply(monitor.advance(at(0)).expect("joins"));
    assert_eq!(memory.dead, [(RejectReason::Future, 1), (RejectReason::Late, 3)]);
    assert_eq!(memory.counted, BTreeMap::from([("counted", 3), ("future", 1), ("late", 1)]));
    assert_eq!(monitor.watermarks().next(), Some(("credit", Some(at(200)))));
}

#[test]
fn a_record_that_is_counted_already_is_not_counted_again() {
    let plan = plan(&[(60, 60)]);
    let mut memory = Memory::default();
    let mut monitor = monitor(&plan, &memory, 1);
    let events = [event(0, 1.0, "DE"), event(1, 1.0, "DE")];
    for _ in 0..2 {
        monitor.ingest(summarise(&plan, batch(0, 0, &events)), at(0)).expect("ignored the second time");
    }
    assert!(monitor.ingest(summarise(&plan, batch(0, 1, &events)), at(0)).is_err(), "an overlap is refused");
    memory.apply(monitor.advance(at(0)).expect("joins"));
    assert_eq!(memory.counted, BTreeMap::from([("counted", 2)]));
}

#[test]
fn segments_are_windows_of_their_own_and_bounded() {
    let plan = plan(&[(60, 60)]);
    let mut memory = Memory::default();
    let mut monitor = monitor(&plan, &memory, 1);
    let mut events: Vec<String> = (0..60)
        .map(|second| format!(r#"{{"t":{second},"s":"seg{}","f":{{"amount":1}}}}"#, second % 4))
        .collect();
    events.push(event(200, 1.0, "DE"));
    monitor.ingest(summarise(&plan, batch(0, 0, &events)), at(0)).expect("in order");
    memory.apply(monitor.advance(at(0)).expect("joins"));
    let rows: Vec<(Option<&str>, u64)> =
        memory.windows.iter().map(|window| (window.key.segment.as_deref(), window.rows.events)).collect();
    assert_eq!(rows, [(None, 60), (Some("(other)"), 30), (Some("seg0"), 15), (Some("seg1"), 15)]);
    // Those with too few rows to be tested take no part.
    let tested =
        memory.windows.iter().filter(|window| window.rows.events >= settings(&[(60, 60)]).verdict.rows_min);
    let alpha: f64 = tested.map(|window| window.verdict.alpha).sum();
    let whole = crate::verdict::alpha_per_window(verdict::Settings::default().budget, MINUTE, 1);
    assert!((alpha - whole).abs() < 1e-15, "segments share the window's part of the budget");
}

#[test]
fn a_version_without_baseline_is_asked_for_and_then_set_aside() {
    let plan = Plan::new("cfg".into(), vec![stream()], vec![settings(&[(60, 60)])]);
    let raw = batch(0, 0, &[r#"{"t":1,"v":"2","f":{}}"#.to_owned(), r#"{"t":2,"v":"3","f":{}}"#.to_owned()]);
    let mut summariser = Summariser::new(Arc::new(plan.clone()));
    let Postponed { raw, needs } = *summariser.summarise(raw).expect_err("no baseline is known");
    let versions: Vec<Option<&str>> = needs.iter().map(|need| need.version.as_deref()).collect();
    assert_eq!(versions, [Some("2"), Some("3")]);
    let plan = plan.with_version(0, Some("2".into()), Some(Arc::new(baseline(1)))).with_version(
        0,
        Some("3".into()),
        None,
    );
    let partial = Summariser::new(Arc::new(plan)).summarise(raw).expect("all is known now");
    assert_eq!(partial.groups.len(), 1);
    assert_eq!(partial.rejected.len(), 1);
    assert_eq!(partial.rejected[0].1.reason, RejectReason::NoBaseline);
}

#[test]
fn a_sliding_window_is_the_sum_of_its_panes_and_waits_until_it_is_filled() {
    let plan = plan(&[(60, 60), (300, 60)]);
    let memory = run_whole(&plan, &stream_of_events(12), 50);
    let short: BTreeMap<Timestamp, u64> = memory
        .windows
        .iter()
        .filter(|window| window.key.length == MINUTE)
        .map(|window| (window.end, window.rows.events))
        .collect();
    let long: Vec<&ClosedWindow> =
        memory.windows.iter().filter(|window| window.key.length != MINUTE).collect();
    assert!(long.len() >= 5);
    assert_eq!(long[0].key.start, at(0), "the first is the first that is filled");
    for window in long {
        let sum: u64 = short
            .iter()
            .filter(|(end, _)| **end > window.key.start && **end <= window.end)
            .map(|(_, n)| n)
            .sum();
        assert_eq!(window.rows.events, sum);
    }
}

#[test]
fn a_silent_version_is_not_judged_again_and_again() {
    let with_versions = Plan::new("cfg".into(), vec![stream()], vec![settings(&[(60, 60), (300, 60)])])
        .with_version(0, Some("1".into()), Some(Arc::new(baseline(1))))
        .with_version(0, Some("2".into()), Some(Arc::new(baseline(2))));
    let plan = Arc::new(with_versions);
    let mut memory = Memory::default();
    let mut monitor = monitor(&plan, &memory, 1);
    let events: Vec<String> = (0..900)
        .map(|second| {
            format!(
                r#"{{"t":{second},"v":"{}","f":{{"amount":{}}}}}"#,
                if second < 450 { 1 } else { 2 },
                second % 100
            )
        })
        .collect();
    monitor.ingest(summarise(&plan, batch(0, 0, &events)), at(0)).expect("in order");
    memory.apply(monitor.advance(at(0)).expect("joins"));
    let last_of_first = memory
        .windows
        .iter()
        .filter(|window| window.key.version.as_deref() == Some("1"))
        .map(|window| window.end)
        .max();
    assert_eq!(last_of_first, Some(at(480)), "its last event was in the pane that ends there");
}

#[test]
fn a_replaced_baseline_is_told_and_its_open_panes_are_dropped() {
    let before = plan(&[(60, 60)]);
    let memory = run_whole(&before, &stream_of_events(2)[..90], 30);
    let after = Plan::new("cfg".into(), vec![stream()], vec![settings(&[(60, 60)])])
        .with_shared(0, Arc::new(baseline(2)));
    let (mut monitor, notes) =
        Monitor::restore(Arc::new(after), memory.restored.clone(), &|_| None).expect("a sound state");
    assert_eq!(notes.len(), memory.restored.panes.len());
    assert!(notes[0].contains("its baseline was replaced"), "{}", notes[0]);
    assert_eq!(monitor.advance(at(0)).expect("joins").panes_dropped.len(), notes.len());
}

/// Says every five seconds that a partition is read to its end.
fn see_end(monitor: &mut Monitor, partition: i32, next: i64, from: i64, to: i64) {
    (from..=to).step_by(5).for_each(|second| monitor.at_end(&origin(partition), next, at(second)));
}

#[test]
fn idleness_needs_a_partition_that_is_read_to_its_end() {
    let plan = plan(&[(60, 60)]);
    let mut memory = Memory::default();
    let mut monitor = monitor(&plan, &memory, 2);
    let events = [event(0, 1.0, "DE"), event(100, 1.0, "DE")];
    monitor.ingest(summarise(&plan, batch(0, 0, &events)), at(0)).expect("in order");
    memory.apply(monitor.advance(at(500)).expect("joins"));
    assert!(memory.windows.is_empty(), "nobody knows what the other partition holds");
    see_end(&mut monitor, 1, 0, 500, 555);
    assert!(!monitor.is_due(at(559)));
    assert!(!monitor.is_due(at(5_000)), "while nobody looks, no time passes");
    see_end(&mut monitor, 1, 0, 560, 560);
    assert!(monitor.is_due(at(560)));
    memory.apply(monitor.advance(at(560)).expect("joins"));
    assert_eq!(memory.windows.len(), 1);
    assert!(!monitor.is_due(at(560)), "what is done is not due");
}

#[test]
fn markers_at_the_end_of_a_partition_are_no_records_to_wait_for() {
    let plan = plan(&[(60, 60)]);
    let mut memory = Memory::default();
    let mut monitor = monitor(&plan, &memory, 2);
    let events = [event(0, 1.0, "DE"), event(100, 1.0, "DE")];
    monitor.ingest(summarise(&plan, batch(0, 0, &events)), at(0)).expect("in order");
    monitor.ingest(summarise(&plan, batch(1, 0, &events[..1])), at(0)).expect("in order");
    see_end(&mut monitor, 1, 2, 0, 60);
    assert!(monitor.is_due(at(60)));
    memory.apply(monitor.advance(at(60)).expect("joins"));
    assert_eq!(memory.position(1), 2, "behind the marker");
}

#[test]
fn garbage_and_foreign_models_do_not_hold_windows_back() {
    let plan = plan(&[(60, 60)]);
    let mut memory = Memory::default();
    let mut monitor = monitor(&plan, &memory, 2);
    let events = [event(0, 1.0, "DE"), event(100, 1.0, "DE")];
    monitor.ingest(summarise(&plan, batch(0, 0, &events)), at(0)).expect("in order");
    for second in (0..=60).step_by(5) {
        let garbage = batch(1, second, &["not json".to_owned()]);
        monitor.ingest(summarise(&plan, garbage), at(second)).expect("in order");
        monitor.at_end(&origin(1), second + 1, at(second));
    }
    memory.apply(monitor.advance(at(60)).expect("joins"));
    assert_eq!(memory.windows.len(), 1);
}

#[test]
fn a_time_at_the_edge_of_the_calendar_is_set_aside_and_the_state_stays_readable() {
    let plan = plan(&[(604_800, 604_800)]);
    let mut memory = Memory::default();
    let mut first = monitor(&plan, &memory, 1);
    let zero_time = format!(r#"{{"t":{},"f":{{}}}}"#, Timestamp::MIN.as_micros() / 1_000_000);
    first.ingest(summarise(&plan, batch(0, 0, &[zero_time, event(5, 1.0, "DE")])), at(0)).expect("in order");
    memory.apply(first.advance(at(0)).expect("joins"));
    assert_eq!(memory.dead, [(RejectReason::BadTimestamp, 0)]);
    monitor(&plan, &memory, 1);
}

#[test]
fn a_partition_that_is_shared_out_later_loses_nothing_until_it_is_taken_to_be_gone() {
    let plan = plan(&[(60, 60)]);
    let mut memory = Memory::default();
    let mut before = monitor(&plan, &memory, 2);
    for partition in 0..2 {
        let seen = batch(partition, 0, &[event(5, 1.0, "DE")]);
        before.ingest(summarise(&plan, seen), at(0)).expect("in order");
    }
    memory.apply(before.advance(at(0)).expect("joins"));

    // After a crash the group gives one partition to a member that is dead.
    let mut after = monitor(&plan, &memory, 1);
    let ahead = batch(0, 1, &[event(100, 1.0, "DE")]);
    after.ingest(summarise(&plan, ahead), at(1)).expect("in order");
    memory.apply(after.advance(at(1)).expect("joins"));
    assert!(!after.is_due(at(60)));
    after.assign([(origin(1), memory.position(1))]);
    let behind = batch(1, 1, &[event(6, 1.0, "DE"), event(100, 1.0, "DE")]);
    after.ingest(summarise(&plan, behind), at(50)).expect("in order");
    memory.apply(after.advance(at(50)).expect("joins"));
    assert_eq!(memory.windows.len(), 1);
    assert_eq!(memory.windows[0].rows.events, 3);
    assert!(memory.dead.is_empty());

    // It goes to another process for good.
    after.revoke(&[origin(1)]);
    let ahead = batch(0, 2, &[event(200, 1.0, "DE")]);
    after.ingest(summarise(&plan, ahead), at(51)).expect("in order");
    memory.apply(after.advance(at(51)).expect("joins"));
    assert!(!after.is_due(at(110)));
    assert!(after.is_due(at(111)), "held back for as long as emptiness takes to be believed");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_restart_anywhere_changes_nothing(
        batch_size in 20usize..150, crash_after in 1usize..30, commit_every in 1usize..5,
    ) {
        let plan = plan(&[(60, 60), (300, 60)]);
        let events = stream_of_events(16);
        let undisturbed = run_whole(&plan, &events, 64);
        let mut memory = Memory::default();
        let mut owner = monitor(&plan, &memory, 1);
        let mut offset = 0usize;
        let mut steps = 0usize;
        while offset < events.len() {
            let part = &events[offset..events.len().min(offset + batch_size)];
            owner.ingest(summarise(&plan, batch(0, offset as i64, part)), at(0)).expect("in order");
            offset += part.len();
            steps += 1;
            if steps.is_multiple_of(commit_every) || offset >= events.len() {
                memory.apply(owner.advance(at(0)).expect("joins"));
            }
            if steps.is_multiple_of(crash_after) {
                // Whatever was not committed is lost and read again from the committed position.
                owner = monitor(&plan, &memory, 1);
                offset = usize::try_from(memory.position(0)).expect("not negative");
                if steps > 2_000 { break; }
                if crash_after < commit_every { memory.apply(owner.advance(at(0)).expect("joins")); break; }
            }
        }
        prop_assume!(offset >= events.len());
        memory.apply(owner.advance(at(0)).expect("joins"));
        prop_assert_eq!(undisturbed.results(), memory.results());
        prop_assert_eq!(&undisturbed.outbox, &memory.outbox);
        prop_assert_eq!(&undisturbed.counted, &memory.counted);
        let opened = memory.transitions.iter().filter(|incident| incident.status == Status::Open).count();
        prop_assert!(opened <= 1, "one incident");
    }

    #[test]
    fn how_partitions_interleave_changes_nothing(seed in any::<u64>()) {
        let plan = plan(&[(60, 60)]);
        let events = stream_of_events(14);
        let parts: Vec<Vec<String>> =
            (0..3).map(|part| events.iter().skip(part).step_by(3).cloned().collect()).collect();
        let run = |mut seed: u64| {
            let mut memory = Memory::default();
            let mut owner = monitor(&plan, &memory, 3);
            let mut offsets = [0usize; 3];
            let mut log = String::new();
            while (0..3).any(|part| offsets[part] < parts[part].len()) {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let part = usize::try_from(seed >> 33).unwrap_or(0) % 3;
                let size = 1 + usize::try_from((seed >> 40) % 60).unwrap_or(0);
                let end = parts[part].len().min(offsets[part] + size);
                let raw = batch(part as i32, offsets[part] as i64, &parts[part][offsets[part]..end]);
                owner.ingest(summarise(&plan, raw), at(0)).expect("in order");
                offsets[part] = end;
                let _ = write!(log, "{part}:{end} ");
                memory.apply(owner.advance(at(0)).expect("joins"));
            }
            memory
        };
        let (one, other) = (run(seed), run(1));
        prop_assert_eq!(one.results(), other.results());
        prop_assert_eq!(one.outbox, other.outbox);
        prop_assert_eq!(one.counted, other.counted);
    }
}

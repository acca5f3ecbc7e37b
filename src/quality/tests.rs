use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::baseline::{Baseline, BaselineId, Column, Reference};
use crate::event::decode::{FeatureMapping, Field, Mapping, RecordLimits, Stream, TimestampUnit};
use crate::event::{ColumnKind, ColumnSpec, RejectReason, Role, Timestamp};
use crate::summary::{CategoricalSummary, Categories, CategoryIndex, ColumnSummary, Shape};
use crate::window::WindowSettings;

const MINUTE: Span = Span::from_secs(60);

fn at(seconds: i64) -> Timestamp {
    Timestamp::default() + Span::from_secs(seconds)
}

fn windows(length: i64) -> window::Settings {
    let length = Span::from_secs(length);
    window::Settings {
        windows: vec![WindowSettings { length, slide: length }],
        allowed_lateness: Span::from_secs(10),
        ..window::Settings::default()
    }
}

fn ticks() -> Ticks {
    Settings::default().ticks(&windows(3_600)).expect("an early watch")
}

fn stream(topic: &str) -> Stream {
    Stream {
        topic: topic.into(),
        format: "json".into(),
        mapping: Mapping {
            model: Field::Constant("credit".into()),
            version: None,
            timestamp: "/t".into(),
            timestamp_unit: TimestampUnit::Seconds,
            id: None,
            features: FeatureMapping::Object("/f".into()),
            prediction: None,
            scores: BTreeMap::new(),
            label: None,
            latency_ms: None,
            segment: None,
        },
        limits: RecordLimits::default(),
    }
}

/// Counts of `rows` training rows with this many missing.
fn counts(rows: u64, missing: u64) -> (Categories, ColumnSummary) {
    let categories =
        Categories { top: vec!["a".into()], buckets: 0, rare: vec![], open: false, rare_singletons: None };
    let mut summary = CategoricalSummary::empty(&categories);
    summary.add(&categories, &CategoryIndex::new(&categories), "a", rows - missing);
    summary.anomalies.missing = missing;
    (categories, ColumnSummary::Categorical(summary))
}

/// A baseline of `rows` rows with features `c0`, `c1`, ... that were missing so often.
fn baseline(rows: u64, missing: &[u64]) -> Baseline {
    let column = |(place, missing): (usize, &u64)| {
        let (categories, summary) = counts(rows, *missing);
        let name = format!("c{place}").into();
        let spec = ColumnSpec { name, role: Role::Feature, kind: ColumnKind::Categorical };
        Column { spec, shape: Shape::Categorical(categories), summary, extremes: None }
    };
    Baseline {
        id: BaselineId([1; 32]),
        model: None,
        version: None,
        rows,
        columns: missing.iter().enumerate().map(column).collect(),
        reference: None,
        segments: Vec::new(),
        outcomes: None,
        notes: vec![],
    }
}

fn expected(baseline: &Baseline) -> Arc<Expected> {
    let streams = [stream("events")];
    let highest = HighestRates::new(baseline, Span::from_secs(3_600), 50);
    Arc::new(Expected::new(baseline, &highest, streams.iter()))
}

fn limits() -> Limits {
    Limits {
        ticks_per_alarm: 216_000.0,
        rate_floor: 0.005,
        rows_min: 50,
        round: Span::from_secs(3_600),
        rejected_share_expected: 0.01,
        excess_critical: 0.2,
        is_open: false,
    }
}

/// A watch that is fed tick by tick, whose reports open and close an incident.
struct Feed {
    watch: Watch,
    limits: Limits,
    expected: Arc<Expected>,
    tick: i64,
}

impl Feed {
    fn new(expected: Arc<Expected>, limits: Limits) -> Self {
        let mut watch = Watch::default();
        watch.retune(Some(ticks()));
        Self { watch, limits, expected, tick: 0 }
    }

    fn add(&mut self, version: Option<&str>, rows: u64, missing: &[u64]) {
        let topic: Arc<str> = "events".into();
        let columns = (0..).zip(missing).filter(|(_, n)| **n > 0);
        let columns = columns.map(|(place, n)| (place, Bad { missing: *n, wrong_type: 0 })).collect();
        let counts = BTreeMap::from([(at(60 * self.tick), TickRows { rows, columns })]);
        let arrived = Arrived { version, baseline: "b", topic: &topic, carried: None };
        self.watch.add(&ticks(), arrived, counts, 3);
    }

    /// Passes the tick and goes on to the next.
    fn pass(&mut self) -> Option<Report> {
        self.tick += 1;
        let up_to = at(60 * self.tick);
        let expected = Arc::clone(&self.expected);
        let lookup = |_: Option<&str>, _: &str| Some(Arc::clone(&expected));
        let report = self.watch.pass(up_to, &self.limits, &lookup).flatten();
        assert_eq!(self.watch.pass(up_to, &self.limits, &lookup), None);
        report
    }

    fn step(&mut self, rows: u64, missing: &[u64]) -> Option<Report> {
        self.add(None, rows, missing);
        self.pass()
    }
}

/// Uniform numbers in [0, 1), the same for the same seed (SplitMix64).
struct Uniform(u64);

impl Uniform {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn binomial(&mut self, n: u64, p: f64) -> u64 {
        (0..n).filter(|_| self.next() < p).count() as u64
    }
}

fn is_alarm(report: Option<&Report>) -> bool {
    matches!(report, Some(Report { state: State::Alarming(_), .. }))
}

// === geometry ===

#[test]
fn a_tick_is_the_part_that_panes_share_with_a_minute() {
    let tick = |length| Settings::default().ticks(&windows(length)).map(|ticks| ticks.length());
    assert_eq!(tick(3_600), Some(MINUTE));
    assert_eq!(tick(150), Some(Span::from_secs(30)));
    assert_eq!(tick(121), Some(Span::from_secs(1)));
    assert_eq!(tick(120), None, "the window is as fast itself");
    let uneven = window::Settings {
        windows: vec![WindowSettings {
            length: Span::from_micros(600_500_000),
            slide: Span::from_micros(600_500_000),
        }],
        ..window::Settings::default()
    };
    assert_eq!(Settings::default().ticks(&uneven), None, "half a second is too short");
    assert_eq!(Settings { early: false, ..Settings::default() }.ticks(&windows(3_600)), None);
}

#[test]
fn the_early_watch_has_one_part_of_the_budget() {
    assert_eq!(Settings::default().parts(&window::Settings::default()), 5);
    assert_eq!(Settings { early: false, ..Settings::default() }.parts(&window::Settings::default()), 4);
}

proptest! {
    #[test]
    fn rows_are_in_their_ticks_whatever_their_order(times in prop::collection::vec(0i64..400, 1..80)) {
        let ticks = ticks();
        let mut rows = RowTicks::new(ticks);
        let mut newest = None;
        let mut plain: BTreeMap<Timestamp, u64> = BTreeMap::new();
        let mut each = Vec::new();
        for time in times.into_iter().map(at) {
            rows.push(time, newest);
            let start = ticks.start_of(time);
            let is_over = newest.is_some_and(|newest| ticks.is_over(start, newest));
            each.push((!is_over).then_some(start));
            if !is_over {
                *plain.entry(start).or_default() += 1;
            }
            newest = newest.max(Some(time));
        }
        let counts: BTreeMap<Timestamp, u64> =
            rows.counts().into_iter().map(|(start, counts)| (start, counts.rows)).collect();
        prop_assert_eq!(&counts, &plain);
        prop_assert_eq!(rows.each().collect::<Vec<_>>(), each);
        prop_assert!(rows.only().is_none() || counts.len() == 1);
    }
}

// === what is expected ===

#[test]
fn what_is_expected_is_a_bound_and_not_the_estimate() {
    let expected = expected(&baseline(10_000, &[40, 0, 9_500]));
    let rate = expected.columns[0].missing.expect("watched");
    assert!(rate > 0.004 && rate < 0.007, "{rate}");
    let none = expected.columns[1].missing.expect("watched");
    assert!(none > 0.0 && none < 0.001, "{none}");
    assert_eq!(expected.columns[2].missing, None, "hardly anything is left to rise");
    assert_eq!(expected.streams(), 5);
}

#[test]
fn labels_may_be_missing() {
    let mut baseline = baseline(10_000, &[0, 0]);
    baseline.columns[1].spec.role = Role::Label;
    let expected = expected(&baseline);
    assert_eq!(expected.columns[1].missing, None);
    assert!(expected.columns[1].wrong_type.is_some());
}

#[test]
fn a_rate_that_is_high_at_some_hours_of_training_is_expected() {
    let mut baseline = baseline(24_000, &[240]);
    let pane = |hour: i64, rows, missing| {
        let mut summary = baseline.empty_summary();
        summary.columns = vec![counts(rows, missing).1];
        (at(1_800 * hour), summary)
    };
    let mut panes: Vec<_> = (0..46).map(|half| pane(half, 500, if half == 7 { 120 } else { 3 })).collect();
    panes.push(pane(46, 10, 9));
    baseline.reference = Some(Reference { pane: Span::from_secs(1_800), panes, rows_left_out: 0 });
    let expected = expected(&baseline);
    let rate = expected.columns[0].missing.expect("watched");
    assert!((rate - 0.123).abs() < 1e-9, "{rate}: of an hour, and not of ten rows");
}

// === detection ===

#[test]
fn a_sudden_break_is_seen_within_two_ticks() {
    let expected = expected(&baseline(10_000, &[40, 0, 0, 0]));
    let mut uniform = Uniform(1);
    for rows in [60, 300] {
        let mut feed = Feed::new(Arc::clone(&expected), limits());
        for _ in 0..300 {
            let missing = uniform.binomial(rows, 0.004);
            assert_eq!(feed.step(rows, &[missing]), None);
        }
        let since = feed.tick;
        let (first, second) = (uniform.binomial(rows, 0.34), uniform.binomial(rows, 0.34));
        let report = feed.step(rows, &[first]).or_else(|| feed.step(rows, &[second])).expect("an alarm");
        let State::Alarming(findings) = report.state else { panic!("no alarm: {:?}", report.state) };
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].name.as_ref(), findings[0].trouble), ("c0", Trouble::Missing));
        assert!(findings[0].since >= at(60 * (since - 5)), "{} {since}", findings[0].since);
        assert!(findings[0].excess() > 0.2);
    }
}

#[test]
fn smaller_rises_take_longer() {
    let mut missing = [0; 20];
    missing[0] = 40;
    let expected = expected(&baseline(10_000, &missing));
    for (rate, median) in [(0.34, 1), (0.1, 2), (0.05, 6), (0.02, 41)] {
        let mut delays: Vec<i64> = (0..15)
            .map(|seed| {
                let mut uniform = Uniform(seed);
                let mut feed = Feed::new(Arc::clone(&expected), limits());
                (0..120).for_each(|_| assert_eq!(feed.step(60, &[uniform.binomial(60, 0.004)]), None));
                while !is_alarm(feed.step(60, &[uniform.binomial(60, rate)]).as_ref()) {
                    assert!(feed.tick < 1_000, "{rate} is not seen");
                }
                feed.tick - 120
            })
            .collect();
        delays.sort_unstable();
        assert_eq!(delays[7], median, "{rate}: {delays:?}");
    }
}

#[test]
fn the_mean_time_to_a_false_alarm_is_at_least_what_was_asked() {
    let expected = expected(&baseline(2_000, &[10, 100, 0]));
    let rates: Vec<f64> = expected.columns.iter().map(|column| column.missing.expect("watched")).collect();
    let limits = Limits { ticks_per_alarm: 40.0, rate_floor: 0.0, rows_min: 1, ..limits() };
    let mut uniform = Uniform(7);
    let runs = 300;
    let mut total = 0;
    for _ in 0..runs {
        let mut feed = Feed::new(Arc::clone(&expected), limits);
        // The worst that is allowed: every rate as high as it may be, and cut at ten times what was asked.
        while feed.tick < 400 {
            let missing: Vec<u64> = rates.iter().map(|rate| uniform.binomial(25, *rate)).collect();
            let start = at(60 * feed.tick);
            for _ in 0..uniform.binomial(25, limits.rejected_share_expected) {
                feed.watch.reject(&ticks(), RejectReason::Malformed, start);
            }
            if is_alarm(feed.step(25, &missing).as_ref()) {
                break;
            }
        }
        total += feed.tick;
    }
    let mean = f64::from(i32::try_from(total).expect("small")) / f64::from(runs);
    assert!(mean >= 40.0, "{mean} ticks to a false alarm");
    // It is not bought by never alarming at all.
    assert!(mean < 399.0, "{mean}");
}

#[test]
fn a_certain_rise_below_the_floor_never_alarms() {
    let expected = expected(&baseline(1_000_000, &[1_000]));
    let mut feed = Feed::new(expected, limits());
    for _ in 0..500 {
        assert!(!is_alarm(feed.step(10_000, &[45]).as_ref()));
    }
}

#[test]
fn few_rows_say_nothing_until_they_are_enough() {
    let mut feed = Feed::new(expected(&baseline(1_000_000, &[0])), limits());
    let alarms: Vec<bool> = (0..12).map(|_| is_alarm(feed.step(10, &[10]).as_ref())).collect();
    assert_eq!(alarms.iter().position(|alarm| *alarm), Some(4), "at fifty rows");
}

#[test]
fn rejected_records_alarm_with_their_commonest_reason() {
    let mut feed = Feed::new(expected(&baseline(10_000, &[0])), limits());
    for _ in 0..30 {
        assert_eq!(feed.step(100, &[]), None);
    }
    for row in 0..60 {
        let reason = if row % 3 == 0 { RejectReason::MissingTimestamp } else { RejectReason::Malformed };
        feed.watch.reject(&ticks(), reason, at(60 * feed.tick + row));
    }
    let report = feed.step(100, &[]).expect("an alarm");
    let State::Alarming(findings) = report.state else { panic!("{:?}", report.state) };
    assert_eq!(findings[0].name.as_ref(), REJECTED_RECORDS);
    assert_eq!((findings[0].rows, findings[0].bad), (160, 60));
    assert_eq!(findings[0].reason, Some(RejectReason::Malformed));
}

// === rounds ===

#[test]
fn an_open_incident_hears_of_whole_quiet_rounds_and_of_news_at_once() {
    let mut feed = Feed::new(expected(&baseline(10_000, &[0, 0])), limits());
    for _ in 0..20 {
        assert_eq!(feed.step(100, &[]), None);
    }
    assert!(is_alarm(feed.step(100, &[15]).as_ref()));
    feed.limits.is_open = true;
    assert_eq!(feed.step(100, &[15]), None, "nothing new");
    assert!(is_alarm(feed.step(100, &[100]).as_ref()), "it became critical");
    assert!(is_alarm(feed.step(100, &[100, 30]).as_ref()), "another column");
    let reports: Vec<Report> = (0..3 * 60).filter_map(|_| feed.step(100, &[])).collect();
    let states: Vec<&State> = reports.iter().map(|report| &report.state).collect();
    assert_eq!(states, [&State::Unclear, &State::Quiet, &State::Quiet]);
    assert_eq!(reports[1].end - reports[0].end, Span::from_secs(3_600));
}

#[test]
fn a_trouble_that_lasts_is_told_of_again_each_round() {
    let mut feed = Feed::new(expected(&baseline(10_000, &[0])), limits());
    assert!(is_alarm(feed.step(100, &[50]).as_ref()));
    feed.limits.is_open = true;
    let told: Vec<i64> = (0..180).filter_map(|_| feed.step(100, &[50]).map(|_| feed.tick)).collect();
    assert_eq!(told, [60, 120, 180]);
}

#[test]
fn a_version_that_was_rolled_back_does_not_keep_its_trouble_alive() {
    let mut feed = Feed::new(expected(&baseline(10_000, &[0])), limits());
    feed.add(Some("8"), 100, &[100]);
    assert!(is_alarm(feed.pass().as_ref()));
    feed.limits.is_open = true;
    let mut quiet = 0;
    for _ in 0..180 {
        feed.add(Some("7"), 100, &[]);
        quiet += usize::from(feed.pass().is_some_and(|report| report.state == State::Quiet));
    }
    assert_eq!(quiet, 2, "all rounds after the one that alarmed");
    assert_eq!(feed.watch.versions().map(|(version, _)| version).collect::<Vec<_>>(), [Some("7")]);
}

// === what comes late, and restarts ===

#[test]
fn a_tick_that_has_passed_is_not_added_to() {
    let mut feed = Feed::new(expected(&baseline(10_000, &[0])), limits());
    feed.step(100, &[]);
    let before = feed.watch.clone();
    feed.tick -= 1;
    feed.add(None, 100, &[100]);
    assert_eq!(feed.watch, before);
    feed.watch.reject(&ticks(), RejectReason::Malformed, at(5));
    feed.tick += 1;
    feed.add(None, 1, &[]);
    feed.pass();
    assert!(feed.watch != before, "a rejected record counts in the first tick that has not passed");
}

#[test]
fn another_baseline_begins_anew() {
    let mut feed = Feed::new(expected(&baseline(10_000, &[0])), limits());
    feed.step(10, &[9]);
    feed.add(None, 10, &[9]);
    let topic: Arc<str> = "events".into();
    let counts = BTreeMap::from([(at(60 * feed.tick), TickRows { rows: 40, columns: BTreeMap::new() })]);
    let arrived = Arrived { version: None, baseline: "c", topic: &topic, carried: None };
    feed.watch.add(&ticks(), arrived, counts, 3);
    let mut other = Feed::new(expected(&baseline(10_000, &[0])), limits());
    other.tick = feed.tick;
    assert_eq!(feed.pass(), None);
    assert!(feed.step(60, &[1]).is_none());
}

#[test]
fn the_stored_form_gives_the_same_watch() {
    let mut feed = Feed::new(expected(&baseline(10_000, &[40, 500])), limits());
    let mut uniform = Uniform(3);
    for tick in 0..200 {
        let missing = [uniform.binomial(20, 0.01), uniform.binomial(20, 0.08)];
        feed.watch.reject(&ticks(), RejectReason::Malformed, at(60 * feed.tick));
        feed.add(Some("7"), 20, &missing);
        if tick % 3 > 0 {
            feed.pass();
        }
        let text = serde_json::to_string(&feed.watch).expect("JSON");
        let back: Watch = serde_json::from_str(&text).expect("its own form");
        assert_eq!(back, feed.watch);
        assert!(text.len() < 4_000, "{} bytes: {text}", text.len());
    }
}

#[test]
fn more_ticks_than_may_wait_are_left_out() {
    let mut feed = Feed::new(expected(&baseline(10_000, &[0])), limits());
    let topic: Arc<str> = "events".into();
    let arrived = Arrived { version: None, baseline: "b", topic: &topic, carried: None };
    let counts = (0..2 * WAITING_MAX as i64)
        .map(|tick| (at(60 * tick), TickRows { rows: 1, columns: BTreeMap::new() }))
        .collect();
    feed.watch.add(&ticks(), arrived, counts, 3);
    let mut passed = 0;
    let expected = Arc::clone(&feed.expected);
    let lookup = |_: Option<&str>, _: &str| Some(Arc::clone(&expected));
    while feed.watch.pass(Timestamp::MAX, &feed.limits, &lookup).is_some() {
        passed += 1;
    }
    assert_eq!(passed, WAITING_MAX);
}

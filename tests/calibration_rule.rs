//! The alarm rule from outside: training rows with times make a baseline, events go through the monitor, and
//! the verdicts are looked at.
//!
//! Worlds are drawn with fixed seeds. A day's rows are shifted together by an effect of that day, which follows
//! an autoregressive law: the rule for independent rows alarms on it constantly.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field as ArrowField, Schema};
use driftline::baseline::read::MemoryTable;
use driftline::baseline::{Baseline, BuildOptions, Roles, build_table};
use driftline::event::decode::{FeatureMapping, Field, Mapping, RecordLimits, Stream, TimestampUnit};
use driftline::event::{Origin, RawBatch, Span, Timestamp};
use driftline::incident;
use driftline::monitor::{
    BudgetView, ClosedWindow, Commit, ModelSettings, Monitor, Plan, Restored, Summariser,
};
use driftline::store::{Options, Store};
use driftline::verdict::{self, Collected, SeasonSetting, Source, UNCALIBRATED};
use driftline::window::{self, WindowSettings};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
/// Training ends and production begins here.
const BEGIN: i64 = 20_000 * DAY;

// === worlds ===

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

#[derive(Debug, Clone)]
struct Row {
    at: i64,
    version: &'static str,
    segment: &'static str,
    values: Vec<f64>,
}

/// Rows of normal columns with day effects; one every `every` seconds.
#[derive(Debug, Clone, Copy)]
struct World {
    seed: u64,
    columns: usize,
    every: i64,
    /// Standard deviation of a day's effect on a column, and how much of it is left the next day.
    effect: f64,
    phi: f64,
}

impl World {
    /// The rows of so many days before and after the beginning of production; `alter` sees each row.
    fn rows(&self, before: i64, after: i64, alter: impl Fn(&mut Row)) -> (Vec<Row>, Vec<Row>) {
        let mut random = Random(self.seed);
        let mut effects = vec![0.0; self.columns];
        let mut rows = Vec::new();
        for day in -before - 20..after {
            for effect in &mut effects {
                *effect = self.phi * *effect + (1.0 - self.phi * self.phi).sqrt() * random.normal();
            }
            for second in (0..DAY).step_by(self.every as usize).filter(|_| day >= -before) {
                let values = effects.iter().map(|effect| random.normal() + self.effect * effect).collect();
                let mut row = Row { at: BEGIN + day * DAY + second, version: "", segment: "", values };
                alter(&mut row);
                rows.push(row);
            }
        }
        let production = rows.split_off(rows.partition_point(|row| row.at < BEGIN));
        (rows, production)
    }
}

const RESTLESS: World = World { seed: 7, columns: 5, every: 300, effect: 0.25, phi: 0.5 };

fn unaltered(_: &mut Row) {}

// === from rows to verdicts ===

fn table(rows: &[Row]) -> MemoryTable<impl Fn() -> std::vec::IntoIter<RecordBatch> + use<>> {
    let columns = rows.first().map_or(0, |row| row.values.len());
    let mut fields =
        vec![ArrowField::new("at", DataType::Int64, true), ArrowField::new("segment", DataType::Utf8, true)];
    let mut arrays: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.at).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| Some(row.segment)).collect::<StringArray>()),
    ];
    for column in 0..columns {
        fields.push(ArrowField::new(format!("x{column}"), DataType::Float64, true));
        arrays.push(Arc::new(rows.iter().map(|row| row.values[column]).collect::<Float64Array>()));
    }
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).expect("a batch");
    MemoryTable::new(&schema, move || vec![batch.clone()].into_iter())
}

/// How a baseline is built of rows.
#[derive(Debug, Clone, Copy)]
struct Building {
    pane: i64,
    has_times: bool,
    has_segments: bool,
}

const DAILY: Building = Building { pane: DAY, has_times: true, has_segments: false };

fn build(rows: &[Row], building: Building) -> Arc<Baseline> {
    let roles = Roles {
        timestamp: building.has_times.then(|| "at".to_owned()),
        segment: building.has_segments.then(|| "segment".to_owned()),
        ignore: if building.has_times { vec!["segment".into()] } else { vec!["segment".into(), "at".into()] },
        ..Roles::default()
    };
    let options = BuildOptions {
        panes: Some((Span::from_secs(building.pane), Span::ZERO)),
        timestamp_unit: Some(TimestampUnit::Seconds),
        ..BuildOptions::default()
    };
    Arc::new(build_table(&table(rows), &roles, &options).expect("a baseline"))
}

fn stream(has_segments: bool) -> Stream {
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
            latency_ms: None,
            segment: has_segments.then(|| "/s".to_owned()),
        },
        limits: RecordLimits::default(),
    }
}

/// Windows of a day, one false alarm in thirty days.
fn settings(windows: &[(i64, i64)]) -> ModelSettings {
    let windows = windows
        .iter()
        .map(|&(length, slide)| WindowSettings {
            length: Span::from_secs(length),
            slide: Span::from_secs(slide),
        })
        .collect();
    ModelSettings {
        name: "credit".into(),
        windows: window::Settings {
            windows,
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
        segments_max: 10,
        versions_max: 10,
        early: driftline::quality::Settings { early: false, ..Default::default() },
        performance: None,
        imported: None,
    }
}

fn daily() -> ModelSettings {
    settings(&[(DAY, DAY)])
}

fn learning(days: i64) -> ModelSettings {
    let daily = daily();
    let verdict = verdict::Settings { learn: Some(Span::from_secs(days * DAY)), ..daily.verdict };
    ModelSettings { verdict, ..daily }
}

fn plan_with(settings: ModelSettings, has_segments: bool, baseline: &Arc<Baseline>) -> Arc<Plan> {
    let plan = Plan::new("cfg".into(), vec![stream(has_segments)], vec![settings]);
    Arc::new(plan.with_shared(0, Arc::clone(baseline)))
}

fn plan(settings: ModelSettings, baseline: &Arc<Baseline>) -> Arc<Plan> {
    plan_with(settings, false, baseline)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::default() + Span::from_secs(seconds)
}

fn origin() -> Origin {
    Origin { topic: "events".into(), partition: 0 }
}

fn event(row: &Row) -> String {
    let features: Vec<String> =
        row.values.iter().enumerate().map(|(column, value)| format!(r#""x{column}":{value}"#)).collect();
    let version = if row.version.is_empty() { String::new() } else { format!(r#""v":"{}","#, row.version) };
    format!(r#"{{"t":{},{version}"s":"{}","f":{{{}}}}}"#, row.at, row.segment, features.join(","))
}

/// Feeds rows to a monitor, and gives what must become durable to `durable`.
fn feed(
    plan: &Arc<Plan>,
    monitor: &mut Monitor,
    first: i64,
    rows: &[Row],
    durable: &mut dyn FnMut(Commit, i64),
) {
    let mut summariser = Summariser::new(Arc::clone(plan));
    let mut offset = first;
    for part in rows.chunks(250) {
        let mut raw = RawBatch::new(0, origin());
        for row in part {
            raw.push(offset, at(row.at), event(row).as_bytes());
            offset += 1;
        }
        let now = part.last().expect("rows").at;
        let partial = summariser.summarise(raw).unwrap_or_else(|_| panic!("baselines are known"));
        monitor.ingest(partial, at(now)).expect("in order");
        durable(monitor.advance(at(now)).expect("joins"), now);
    }
}

fn start(plan: &Arc<Plan>, restored: Restored) -> Monitor {
    let next = restored.positions.first().map_or(0, |position| position.next_offset);
    let (mut monitor, notes) =
        Monitor::restore(Arc::clone(plan), restored, &|_| None).expect("a sound state");
    assert!(notes.is_empty(), "{notes:?}");
    monitor.assign([(origin(), next)]);
    monitor
}

/// Everything that a run made durable.
fn run(plan: &Arc<Plan>, rows: &[Row]) -> (Monitor, Vec<Commit>) {
    let mut monitor = start(plan, Restored::default());
    let mut commits = Vec::new();
    feed(plan, &mut monitor, 0, rows, &mut |commit, _| commits.push(commit));
    (monitor, commits)
}

fn windows(commits: &[Commit]) -> Vec<ClosedWindow> {
    commits.iter().flat_map(|commit| commit.windows.iter().cloned()).collect()
}

/// The windows without what depends on how records fell into batches.
fn timeless(windows: Vec<ClosedWindow>) -> Vec<ClosedWindow> {
    let strip = |window| ClosedWindow { positions: vec![], watermark: Timestamp::MIN, ..window };
    windows.into_iter().map(strip).collect()
}

/// Says which window is not the same, without printing a thousand lines.
fn same(a: Vec<ClosedWindow>, b: Vec<ClosedWindow>, what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (a, b) in timeless(a).iter().zip(&timeless(b)) {
        assert!(
            a == b,
            "{what}: {:?} {:?} {:?}",
            a.key,
            a.verdict.calibration_note,
            b.verdict.calibration_note
        );
    }
}

fn verdicts(plan: &Arc<Plan>, rows: &[Row]) -> Vec<verdict::Verdict> {
    windows(&run(plan, rows).1).into_iter().map(|window| window.verdict).collect()
}

fn alarms(verdicts: &[verdict::Verdict]) -> usize {
    verdicts.iter().filter(|verdict| verdict.alarm).count()
}

// === the training rows as the reference ===

#[test]
fn days_like_the_training_days_alarm_no_more_often_than_the_budget_allows() {
    let (training, production) = RESTLESS.rows(200, 120, unaltered);
    let (timed, untimed) =
        (build(&training, DAILY), build(&training, Building { has_times: false, ..DAILY }));
    let independent = verdicts(&plan(daily(), &untimed), &production);
    assert!(independent.iter().all(|verdict| !verdict.calibrated && verdict.ranked.is_none()));
    assert!(alarms(&independent) > 30, "rows are not independent: {} alarms", alarms(&independent));

    let ranked = verdicts(&plan(daily(), &timed), &production);
    assert!(ranked.len() >= 118);
    assert!(ranked.iter().all(|verdict| verdict.calibrated && verdict.calibration_note.is_none()));
    // Four were to be expected of the budget; nine or more come by chance in 2 of 100 runs.
    assert!(alarms(&ranked) <= 8, "{} alarms in {} days", alarms(&ranked), ranked.len());
    let among = ranked[0].ranked.as_ref().expect("a rank");
    assert_eq!((among.standing.blocks, among.standing.source), (200, Source::Training));
    assert!(among.standing.k >= 1 && among.standing.effective <= 200.0);
    assert!((among.alpha - 1.0 / 30.0).abs() < 1e-9);
    let low = ranked.iter().filter(|verdict| verdict.p_value.is_some_and(|p| p <= 0.2)).count();
    assert!((6..=48).contains(&low), "a fifth of the ranks is low, give or take: {low} of {}", ranked.len());
}

#[test]
fn a_shift_of_one_column_alarms_and_names_it() {
    let shifted = |row: &mut Row| {
        if row.at >= BEGIN + 10 * DAY {
            row.values[3] += 1.5;
        }
    };
    let (training, production) = RESTLESS.rows(200, 14, shifted);
    let verdicts = verdicts(&plan(daily(), &build(&training, DAILY)), &production);
    assert!(verdicts[10..].iter().all(|verdict| verdict.alarm && verdict.calibrated));
    for verdict in &verdicts[10..] {
        let moved: Vec<&str> = verdict.features.iter().filter(|f| f.alarm).map(|f| &*f.name).collect();
        assert_eq!(moved, ["x3"]);
        let ranked = verdict.ranked.as_ref().expect("a rank");
        assert!(ranked.statistic > ranked.standing.threshold);
        assert_eq!(verdict.p_value, Some(ranked.p_value));
        assert!(verdict.features[0].ratio.is_some_and(|ratio| (ratio - ranked.statistic).abs() < 1e-9));
    }
}

#[test]
fn too_short_a_training_period_says_what_it_lacks() {
    let (training, production) = RESTLESS.rows(20, 5, unaltered);
    let verdicts = verdicts(&plan(daily(), &build(&training, DAILY)), &production);
    for verdict in &verdicts {
        let note = verdict.calibration_note.as_deref().expect("a note");
        assert!(
            !verdict.calibrated && note.contains("there are 20") && note.contains("would calibrate"),
            "{note}"
        );
        assert_eq!(verdict.ranked.as_ref().expect("a rank").standing.k, 0);
    }
    let untimed = build(&training, Building { has_times: false, ..DAILY });
    let verdicts = self::verdicts(&plan(daily(), &untimed), &production);
    let note = verdicts[0].calibration_note.as_deref().expect("a note");
    assert!(note.contains("timestamp column") && note.contains("`learn`"), "{note}");
    assert!(note.contains(UNCALIBRATED));
}

#[test]
fn sliding_windows_of_two_lengths_keep_to_the_budget_and_the_ledger_adds_up() {
    let settings = settings(&[(DAY, DAY / 4), (2 * DAY, DAY / 2)]);
    let world = World { every: 900, ..RESTLESS };
    let (training, production) = world.rows(300, 60, unaltered);
    let plan = plan(settings, &build(&training, Building { pane: DAY / 4, ..DAILY }));
    let (monitor, commits) = run(&plan, &production);
    let opened =
        commits.iter().flat_map(|commit| &commit.transitions).filter(|one| one.sequence == 1).count();
    assert!(opened <= 5, "two were to be expected: {opened}");
    let view = &monitor.budgets()[0];
    assert_eq!(view.calibration(), "calibrated", "{view:?}");
    assert!((view.account.spent - 1.0).abs() < 0.06, "{:?}", view.account);
    assert!(view.account.left < 0.06 && view.account.allowed == 1.0);
    assert_eq!(view.account.audits.len(), 2);
    let blocks: Vec<u64> = view.account.audits.iter().map(|audit| audit.quiet_blocks).collect();
    assert!(blocks[0] >= 40 && blocks[1] >= 20, "{blocks:?}");
}

// === learning in production ===

/// Feeds the rows in two halves with a real store between them.
fn run_with_restart(plan: &Arc<Plan>, rows: &[Row], at_row: usize) -> (Vec<ClosedWindow>, Vec<BudgetView>) {
    let scratch = tempfile::tempdir().expect("scratch directory");
    let (mut windows, mut budgets) = (Vec::new(), Vec::new());
    for part in [&rows[..at_row], &rows[at_row..]] {
        let store = Store::open(scratch.path(), Options::default()).expect("opens");
        let restored = store.restore().expect("restores");
        let first = restored.positions.first().map_or(0, |position| position.next_offset);
        let mut monitor = start(plan, restored);
        feed(plan, &mut monitor, first, part, &mut |commit, now| {
            windows.extend(commit.windows.iter().cloned());
            store.apply(&commit, at(now)).expect("applies");
        });
        budgets = monitor.budgets();
    }
    (windows, budgets)
}

#[test]
fn the_first_weeks_are_learned_and_a_restart_changes_nothing() {
    let (training, production) = RESTLESS.rows(30, 100, unaltered);
    let baseline = build(&training, Building { has_times: false, ..DAILY });
    let plan = plan(learning(60), &baseline);
    let (monitor, commits) = run(&plan, &production);
    let whole = windows(&commits);
    let learned: Vec<_> = commits.iter().flat_map(|commit| &commit.learned).collect();
    assert_eq!(learned.len(), 60);
    assert!(learned.iter().all(|one| one.baseline == baseline.id.to_string() && one.version.is_none()));
    let until = at(BEGIN + 60 * DAY).to_string();
    let note = whole[5].verdict.calibration_note.as_deref().expect("a note");
    assert!(note.contains(&until) && note.contains("will be calibrated"), "{note}");
    assert!(whole[..60].iter().all(|window| !window.verdict.calibrated && window.verdict.ranked.is_none()));
    for window in &whole[60..] {
        let standing = &window.verdict.ranked.as_ref().expect("a rank").standing;
        assert_eq!((standing.source, standing.blocks), (Source::Learned, 60));
        assert_eq!(window.verdict.calibrated, standing.k > 0);
    }
    let ranked: Vec<_> = whole[60..].iter().map(|window| window.verdict.clone()).collect();
    assert!(alarms(&ranked) <= 5, "{}", alarms(&ranked));
    assert_eq!(monitor.budgets()[0].calibrations[0].length, Span::from_secs(DAY));
    let a_day = (DAY / RESTLESS.every) as usize;
    for at_row in [3 * a_day + 100, 59 * a_day, 75 * a_day + 1] {
        let (restarted, budgets) = run_with_restart(&plan, &production, at_row);
        assert_eq!(budgets, monitor.budgets(), "the account goes on, restart at row {at_row}");
        same(restarted, whole.clone(), &format!("restart at row {at_row}"));
    }
}

#[test]
fn learning_ends_at_the_same_time_with_and_without_a_restart_whatever_the_lengths() {
    // Events begin in the afternoon: the first day's window begins before the first window of three hours.
    let world = World { every: 600, columns: 2, ..RESTLESS };
    let (training, production) = world.rows(10, 16, unaltered);
    let production: Vec<Row> = production.into_iter().filter(|row| row.at >= BEGIN + 15 * HOUR).collect();
    let daily = settings(&[(3 * HOUR, 3 * HOUR), (DAY, DAY)]);
    let verdict =
        verdict::Settings { learn: Some(Span::from_secs(10 * DAY)), rows_min: 10, ..daily.verdict.clone() };
    let plan =
        plan(ModelSettings { verdict, ..daily }, &build(&training, Building { has_times: false, ..DAILY }));
    let whole = windows(&run(&plan, &production).1);
    same(run_with_restart(&plan, &production, 5 * 144).0, whole, "restart on the sixth day");
}

#[test]
fn versions_learn_apart_on_one_baseline() {
    let second = |row: &mut Row| {
        row.version = if (row.at / RESTLESS.every) % 2 == 0 { "1" } else { "2" };
        // Version 2 comes twenty days later.
        if row.at < BEGIN + 20 * DAY {
            row.version = "1";
        }
    };
    let (training, production) = RESTLESS.rows(30, 70, second);
    let baseline = build(&training, Building { has_times: false, ..DAILY });
    let (monitor, commits) = run(&plan(learning(40), &baseline), &production);
    let count = |version: &str| {
        let learned = commits.iter().flat_map(|commit| &commit.learned);
        learned
            .filter(|one| one.version.as_deref() == Some(version))
            .map(|one| one.window.start)
            .collect::<Vec<_>>()
    };
    let (first, second) = (count("1"), count("2"));
    assert_eq!((first.len(), second.len()), (40, 40));
    assert_eq!((first[0], second[0]), (at(BEGIN), at(BEGIN + 20 * DAY)));
    let view = &monitor.budgets()[0];
    let versions: Vec<Option<&str>> = view.calibrations.iter().map(|one| one.version.as_deref()).collect();
    assert_eq!(versions, [Some("1"), Some("2")]);
    assert!(view.calibrations.iter().all(|one| one.standing.is_some()), "{view:?}");
}

#[test]
fn a_replaced_baseline_starts_learning_anew() {
    let (training, production) = RESTLESS.rows(30, 60, unaltered);
    let untimed = Building { has_times: false, ..DAILY };
    let first = plan(learning(25), &build(&training, untimed));
    let other = build(&training[500..], untimed);
    let second = plan(learning(25), &other);
    let a_day = (DAY / RESTLESS.every) as usize;
    let scratch = tempfile::tempdir().expect("scratch directory");
    let mut learned = Vec::new();
    for (plan, part) in [(&first, &production[..20 * a_day]), (&second, &production[20 * a_day..])] {
        let store = Store::open(scratch.path(), Options::default()).expect("opens");
        let mut restored = store.restore().expect("restores");
        // The pane that was open is of the old baseline.
        restored.panes.clear();
        let next = restored.positions.first().map_or(0, |position| position.next_offset);
        let mut monitor = start(plan, restored);
        feed(plan, &mut monitor, next, part, &mut |commit, now| {
            learned.extend(commit.learned.iter().cloned());
            store.apply(&commit, at(now)).expect("applies");
        });
    }
    let of_other: Vec<_> = learned.iter().filter(|one| one.baseline == other.id.to_string()).collect();
    assert_eq!(of_other.len(), 25);
    assert_eq!(of_other[0].window.start, at(BEGIN + 20 * DAY));
    let store = Store::open(scratch.path(), Options::default()).expect("opens");
    let kept = store.restore().expect("restores").learned;
    assert!(
        kept.len() == 25 && kept.iter().all(|one| one.baseline == other.id.to_string()),
        "{}",
        kept.len()
    );
}

#[test]
fn a_learning_time_without_enough_rows_says_so_afterwards() {
    // Only every sixth day has rows.
    let (training, production) = RESTLESS.rows(30, 40, unaltered);
    let sparse: Vec<Row> = production.into_iter().filter(|row| (row.at / DAY) % 6 == 2).collect();
    let untimed = build(&training, Building { has_times: false, ..DAILY });
    let verdicts = verdicts(&plan(learning(20), &untimed), &sparse);
    let last = verdicts.last().expect("windows").calibration_note.as_deref().expect("a note");
    assert!(last.contains("was learned until") && last.contains("fewer than 5"), "{last}");
}

// === reference windows from a file ===

#[test]
fn imported_windows_rank_as_learned_ones() {
    let (training, production) = RESTLESS.rows(30, 60, unaltered);
    let baseline = build(&training, Building { has_times: false, ..DAILY });
    let whole = windows(&run(&plan(learning(40), &baseline), &production).1);
    let (_, commits) = run(&plan(learning(40), &baseline), &production);
    let mut collected = Collected::default();
    for one in commits.iter().flat_map(|commit| &commit.learned) {
        collected.push(&one.baseline, one.length, one.window.clone());
    }
    let mut file = Vec::new();
    collected.write("credit", &mut file).expect("memory takes it");
    let read = Collected::read("credit", &mut file.as_slice()).expect("just written");
    let settings = ModelSettings { imported: Some(Arc::new(read)), ..daily() };
    let imported = windows(&run(&plan(settings, &baseline), &production).1);
    for (learned, imported) in whole[40..].iter().zip(&imported[40..]) {
        let (learned, imported) = (&learned.verdict, &imported.verdict);
        let [a, b] = [learned, imported].map(|one| one.ranked.as_ref().expect("a rank"));
        assert_eq!(
            (a.statistic, a.p_value, a.standing.threshold),
            (b.statistic, b.p_value, b.standing.threshold)
        );
        assert_eq!(learned.alarm, imported.alarm);
        assert_eq!(b.standing.source, Source::Imported);
    }
}

// === segments ===

/// A third of the rows is of segment `b`, which is of another kind than `a`.
fn two_segments(row: &mut Row) {
    row.segment = if (row.at / RESTLESS.every) % 3 == 0 { "b" } else { "a" };
    if row.segment == "b" {
        row.values[0] += 4.0;
    }
}

#[test]
fn a_segment_is_compared_with_its_own_rows() {
    let shifted = |row: &mut Row| {
        two_segments(row);
        if row.segment == "b" && row.at >= BEGIN + 30 * DAY {
            row.values[2] += 1.5;
        }
    };
    let (training, production) = RESTLESS.rows(200, 33, shifted);
    let baseline = build(&training, Building { has_segments: true, ..DAILY });
    let verdicts = verdicts(&plan_with(daily(), true, &baseline), &production);
    let of = |segment: Option<&str>, days: std::ops::Range<i64>| -> Vec<&verdict::Verdict> {
        let within = |one: &&verdict::Verdict| {
            one.segment.as_deref() == segment
                && (at(BEGIN + days.start * DAY)..at(BEGIN + days.end * DAY)).contains(&one.window_start)
        };
        verdicts.iter().filter(within).collect()
    };
    let quiet: usize = [None, Some("a"), Some("b")]
        .into_iter()
        .flat_map(|segment| of(segment, 0..30))
        .filter(|one| one.alarm)
        .map(|one| one.window_start)
        .collect::<std::collections::BTreeSet<_>>()
        .len();
    assert!(quiet <= 3, "one was to be expected: {quiet}");
    assert!(verdicts.iter().all(|verdict| verdict.calibrated));
    let b = of(Some("b"), 30..32);
    assert!(b.len() == 2 && b.iter().all(|one| one.alarm), "{b:?}");
    assert_eq!(&*b[0].features[0].name, "x2");
    assert!(of(Some("a"), 30..32).iter().all(|one| !one.alarm));
}

#[test]
fn a_segment_that_training_never_saw_is_not_ranked() {
    let unknown = |row: &mut Row| {
        two_segments(row);
        if row.at >= BEGIN && row.segment == "b" {
            row.segment = "new";
        }
    };
    let (training, production) = RESTLESS.rows(200, 5, unknown);
    let baseline = build(&training, Building { has_segments: true, ..DAILY });
    let verdicts = verdicts(&plan_with(daily(), true, &baseline), &production);
    let new: Vec<_> = verdicts.iter().filter(|one| one.segment.as_deref() == Some("new")).collect();
    assert!(!new.is_empty() && new.iter().all(|one| !one.calibrated && one.ranked.is_none()));
    let note = new[0].calibration_note.as_deref().expect("a note");
    assert!(note.contains("no reference window has this segment"), "{note}");
    assert!(verdicts.iter().filter(|one| one.segment.is_none()).all(|one| one.calibrated));
}

#[test]
fn segments_that_training_never_told_apart_do_not_uncalibrate_the_whole() {
    let many = |row: &mut Row| {
        row.segment = ["a", "b", "c", "d", "e", "f", "g", "h"][(row.at / RESTLESS.every % 8) as usize];
    };
    let (training, production) = RESTLESS.rows(200, 5, many);
    let verdicts = verdicts(&plan_with(daily(), true, &build(&training, DAILY)), &production);
    for verdict in verdicts.iter().filter(|one| one.segment.is_none()) {
        assert!(verdict.calibrated, "{:?} {:?}", verdict.calibration_note, verdict.ranked);
    }
}

// === seasons ===

/// Nights lie lower than days by two standard deviations.
fn nights(row: &mut Row) {
    if (row.at % DAY) / HOUR < 8 {
        row.values[0] -= 2.0;
    }
}

#[test]
fn a_season_is_found_and_shows_what_a_flat_profile_hides() {
    let shifted = |row: &mut Row| {
        nights(row);
        // Nights come a little closer to days.
        if row.at >= BEGIN + 5 * DAY && (row.at % DAY) / HOUR < 8 {
            row.values[0] += 0.6;
        }
    };
    let world = World { columns: 2, every: 60, effect: 0.0, ..RESTLESS };
    let (training, production) = world.rows(25, 8, shifted);
    let baseline = build(&training, Building { pane: HOUR, ..DAILY });
    let with = |season| {
        let hourly = settings(&[(HOUR, HOUR)]);
        let budget = verdict::Budget { alarms: 5.0, period: Span::from_secs(30 * DAY) };
        let verdict = verdict::Settings { season, budget, rows_min: 30, ..hourly.verdict.clone() };
        let plan = plan(ModelSettings { verdict, ..hourly }, &baseline);
        let (monitor, commits) = run(&plan, &production);
        let view = monitor.budgets()[0].calibrations[0].clone();
        let night = |window: &&ClosedWindow| {
            window.key.start >= at(BEGIN + 5 * DAY)
                && (window.key.start.as_micros() / 1_000_000 % DAY) / HOUR < 8
        };
        let all = windows(&commits);
        let (found, calm): (Vec<_>, Vec<_>) =
            all.iter().filter(|window| window.verdict.alarm).partition(night);
        (view, found.len(), calm.len())
    };
    let (auto, found, calm) = with(SeasonSetting::Auto);
    assert_eq!(auto.season, Some("hour_of_day"), "{}", auto.season_note);
    assert!(auto.season_note.contains("Kruskal-Wallis"));
    let (flat, missed, _) = with(SeasonSetting::None);
    assert_eq!(flat.season, None);
    println!("nights: {found} alarms with the season, {missed} without; {calm} false");
    assert!(calm <= 4, "{calm}");
    assert!(found >= 12 && missed * 3 <= found, "{found} with the season, {missed} without");
}

// === an account that lasts ===

#[test]
fn a_slow_change_of_the_world_voids_the_promise() {
    // Every column wanders off, too little for five alarms in a row, which this team waits for.
    let wandering = |row: &mut Row| {
        let days = ((row.at - BEGIN) / DAY).clamp(0, 25) as f64;
        row.values.iter_mut().for_each(|value| *value += 0.016 * days);
    };
    let world = World { columns: 6, every: 900, ..RESTLESS };
    let (training, production) = world.rows(200, 150, wandering);
    let daily = daily();
    let incident = incident::Settings { open_after: 5, ..daily.incident.clone() };
    let plan = plan(ModelSettings { incident, ..daily }, &build(&training, DAILY));
    let (monitor, commits) = run(&plan, &production);
    let view = &monitor.budgets()[0];
    let audit = &view.account.audits[0];
    println!("{audit:?}, alarms {}", view.account.alarms);
    assert!(audit.void, "{audit:?}");
    assert!(!view.calibrations[0].calibrated);
    let reason = view.calibrations[0].reason.as_deref().expect("a reason");
    assert!(reason.contains("the promise is void") && reason.contains("drifts slowly"), "{reason}");
    let last = windows(&commits).pop().expect("windows").verdict;
    assert!(!last.calibrated && last.calibration_note.is_some_and(|note| note.contains("void")));
}

// === hostile input ===

#[test]
fn a_clock_that_jumps_a_year_costs_no_loop() {
    let (training, production) = World { columns: 2, ..RESTLESS }.rows(100, 2, unaltered);
    let plan =
        plan(settings(&[(HOUR, HOUR), (DAY, HOUR)]), &build(&training, Building { pane: HOUR, ..DAILY }));
    let mut rows = production.clone();
    rows.extend(production.iter().map(|row| Row { at: row.at + 366 * DAY, ..row.clone() }));
    let started = std::time::Instant::now();
    let (monitor, commits) = run(&plan, &rows);
    assert!(windows(&commits).len() < 400, "{}", windows(&commits).len());
    assert!(started.elapsed().as_secs() < 120);
    assert!(monitor.budgets()[0].account.spent < 0.2);
}

#[test]
fn strange_budgets_give_sound_figures() {
    let (training, production) = World { columns: 2, ..RESTLESS }.rows(60, 3, unaltered);
    let baseline = build(&training, DAILY);
    for (number, period) in [(1_000.0, 1), (0.001, 3_650 * DAY), (1e-9, 1)] {
        let daily = daily();
        let budget = verdict::Budget { alarms: number, period: Span::from_secs(period) };
        let verdict = verdict::Settings { budget, ..daily.verdict.clone() };
        let (monitor, commits) = run(&plan(ModelSettings { verdict, ..daily }, &baseline), &production);
        for verdict in windows(&commits).iter().map(|window| &window.verdict) {
            assert!((0.0..=1.0).contains(&verdict.alpha) && verdict.p_value.is_some_and(f64::is_finite));
            let standing = &verdict.ranked.as_ref().expect("a rank").standing;
            assert!(standing.k <= standing.blocks && standing.threshold.is_finite());
        }
        let view = &monitor.budgets()[0];
        assert!(view.account.spent.is_finite() && view.account.left >= 0.0, "{view:?}");
        assert!(serde_json::to_string(view).is_ok_and(|text| !text.contains("null,\"left\"")));
    }
}

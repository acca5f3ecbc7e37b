//! Is what is said of performance true: small seeded simulations of models through summariser and monitor.
//!
//! A number of alarms or of hits holds when it lies in the exact binomial interval of what is promised at 99.9 %.
//! `cargo bench --bench performance` runs more of the same; its tables are in `src/monitor/outcomes/figures.md`.

#[path = "performance_alarms/mod.rs"]
mod kit;

use driftline::event::Span;
use driftline::monitor::PerformanceWindow;
use driftline::performance::{Maturity, Ranged, Settings};
use driftline::summary::outcome::Task;
use kit::SEED;
use kit::interval::clopper_pearson;
use kit::random::Random;
use kit::service::{A_DAY, A_WEEK, BOTH, Service, baseline, settings, value};
use kit::world::{Case, Change, DAY, NO_CHANGE, RESTLESS, STILL, World, area, blunt_by, mean_of};

const CONFIDENCE: f64 = 0.999;

/// Checks that `hits` of `of` may have come from a probability between these.
fn holds(what: &str, hits: u64, of: u64, (least, most): (f64, f64)) {
    let (low, high) = clopper_pearson(hits, of, CONFIDENCE);
    println!("{what}: {hits} of {of}, {low:.4} to {high:.4}");
    assert!(high >= least && low <= most, "{what}: {hits} of {of}, promised {least} to {most}");
}

/// A model trained on so many days, and watched for so many in a changed world.
fn run(
    stream: u64,
    world: World,
    settings: &Settings,
    (reference, days): (i64, i64),
    change: &Change,
) -> Service {
    let mut each = world.days(reference, Random::new(SEED, stream));
    let training = each.many(reference, &NO_CHANGE);
    let mut service = Service::new(settings, &baseline(&training, settings), world.delay != [0.0; 2]);
    each.many(days, change).iter().for_each(|cases| service.day(cases));
    service
}

fn alarms<'a>(windows: impl Iterator<Item = &'a PerformanceWindow>) -> u64 {
    windows.filter(|window| window.verdict.as_ref().is_some_and(|verdict| verdict.alarm)).count() as u64
}

fn contains(range: &Ranged, value: f64) -> bool {
    range.low.is_some_and(|low| low <= value) && range.high.is_some_and(|high| value <= high)
}

// === alarms ===

#[test]
fn a_model_that_is_as_ever_alarms_within_its_share_of_the_budget() {
    let settings = settings(Task::Binary, "roc_auc", &BOTH);
    let world = World { rows: 300, ..STILL };
    let service = run(1, world, &settings, (40, 60), &NO_CHANGE);
    for length in [A_DAY, A_WEEK] {
        let of_length = || service.windows.iter().filter(|window| window.key.length == length);
        // Four parts share one alarm in thirty days.
        holds("alarms", alarms(of_length()), of_length().count() as u64, (0.0, 1.0 / 120.0));
    }
}

#[test]
fn days_that_differ_raise_the_bar_of_windows_that_cannot_be_ranked() {
    let settings = settings(Task::Binary, "roc_auc", &BOTH);
    let world = World { rows: 1_000, rate: 0.3, difficulty: 0.3, phi: 0.0, ..RESTLESS };
    let service = run(2, world, &settings, (30, 40), &NO_CHANGE);
    // Seven weeks are not there to rank a week among: independent rows are all that is left.
    let weeks = || service.windows.iter().filter(|window| window.key.length == A_WEEK);
    assert!(weeks().all(|window| window.verdict.as_ref().is_some_and(|verdict| !verdict.calibrated)));
    holds("alarms of weeks", alarms(weeks()), weeks().count() as u64, (0.0, 1.0 / 120.0));
}

#[test]
fn a_fall_of_the_area_alarms_within_days() {
    let settings = settings(Task::Binary, "roc_auc", &BOTH);
    let change = blunt_by(0.1);
    assert!((area(&NO_CHANGE) - area(&change) - 0.1).abs() < 1e-3);
    let service = run(3, STILL, &settings, (30, 3), &change);
    // The third day is still open.
    assert_eq!(alarms(service.windows.iter()), 2);
    assert_eq!(service.opened("performance"), 1);
}

#[test]
fn a_segment_that_is_new_is_measured_and_not_compared_with_all_the_others() {
    let settings = settings(Task::Binary, "roc_auc", &[(A_DAY, A_DAY)]);
    let world = World { segments: 2, ..STILL };
    let mut days = world.days(20, Random::new(SEED, 4));
    let training = days.many(20, &NO_CHANGE);
    let mut service = Service::new(&settings, &baseline(&training, &settings), false);
    let blunt = World { segments: 2, ..STILL }.days(0, Random::new(SEED, 5)).many(2, &blunt_by(0.2));
    for cases in blunt {
        let renamed: Vec<Case> = cases
            .iter()
            .map(|case| Case { segment: if case.segment == 1 { 7 } else { 0 }, ..*case })
            .collect();
        service.day(&renamed);
    }
    let of = |name: &str| {
        let is_it = |window: &&PerformanceWindow| window.key.segment.as_deref() == Some(name);
        service.windows.iter().find(is_it).expect("measured").clone()
    };
    assert!(of("s0").verdict.expect("judged").alarm);
    let new = of("s7");
    let verdict = new.verdict.expect("judged");
    assert!(!verdict.alarm && new.reading.metric("roc_auc").is_some_and(|found| found.value.is_some()));
    assert!(verdict.calibration_note.is_some_and(|note| note.contains("do not have this segment")));
}

// === labels that come late ===

#[test]
fn provisional_values_hold_what_the_labels_come_to() {
    let settings = Settings {
        label_delay_max: Span::from_secs(30 * DAY),
        value: Some(value()),
        ..settings(Task::Binary, "f1", &[(A_DAY, A_DAY)])
    };
    // Labels of class 1 take twice as long.
    let world = World { rows: 800, delay: [3.0, 6.0], ..STILL };
    let service = run(6, world, &settings, (10, 70), &NO_CHANGE);
    let brier = mean_of(&NO_CHANGE, |score, class| (score - class as f64).powi(2));
    let begin = service.windows.first().expect("windows").key.start;
    let (mut held, mut windows) = (0, 0);
    for window in &service.windows {
        let is_late = window.key.start >= begin + Span::from_secs(35 * DAY);
        let is_young = window.reading.age < Span::from_secs(6 * DAY);
        if !(is_late && is_young && window.reading.maturity == Maturity::Provisional) {
            continue;
        }
        let found = window.reading.metric("brier").expect("a metric");
        let found = Ranged { value: found.value.expect("a value"), low: found.low, high: found.high };
        windows += 1;
        held += u64::from(contains(&found, brier));
    }
    // Revisions of one window are not independent, so this asks for less than 0.95.
    assert!(windows >= 60 && held as f64 >= 0.88 * windows as f64, "{held} of {windows}");
}

// === estimates ===

#[test]
fn windows_that_share_rows_are_no_second_witness_against_an_estimate() {
    let settings = settings(Task::Binary, "roc_auc", &BOTH);
    let service = run(7, World { rows: 400, ..STILL }, &settings, (30, 30), &NO_CHANGE);
    let last =
        service.windows.last().and_then(|window| window.reading.estimation.clone()).expect("estimates");
    assert!((29..=30).contains(&last.windows_compared), "{last:?}");
    let held = |length| {
        let of_length = service.windows.iter().filter(|window| window.key.length == length);
        let held: Vec<bool> =
            of_length.filter_map(|window| window.reading.metric("roc_auc")?.estimate_holds).collect();
        (held.iter().filter(|holds| **holds).count() as u64, held.len() as u64)
    };
    let (hits, of) = held(A_DAY);
    holds("estimates of days", hits, of, (0.93, 0.97));
}

// === money ===

#[test]
fn the_loss_of_a_known_cost_lies_within_its_interval_and_retraining_seldom_pays_by_chance() {
    let cost = |change: &Change| {
        mean_of(change, |score, class| match (score >= 0.5, class) {
            (true, 0) => 1.0,
            (false, 1) => 5.0,
            _ => 0.0,
        })
    };
    let change = blunt_by(0.05);
    let loss = 400.0 * (cost(&change) - cost(&NO_CHANGE));
    let mut value = value();
    // What is saved in the horizon is exactly what retraining costs.
    value.retrain_cost = 30.0 * loss;
    let settings = Settings { value: Some(value), ..settings(Task::Binary, "roc_auc", &[(A_DAY, A_DAY)]) };
    let (mut held, mut pays, mut windows) = (0, 0, 0);
    for model in 0..10 {
        let service = run(100 + model, World { rows: 400, ..STILL }, &settings, (30, 6), &change);
        for window in &service.windows {
            let money = window.reading.money.as_ref().expect("money");
            windows += 1;
            held += u64::from(contains(&money.loss_per_day.expect("a loss"), loss));
            pays += u64::from(money.retrain_pays == Some(true));
        }
    }
    holds("losses", held, windows, (0.93, 0.97));
    holds("said to pay", pays, windows, (0.0, 0.1));
}

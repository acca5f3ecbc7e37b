use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::*;
use crate::event::{Span, Timestamp};
use crate::quality::{Report, State, Ticks, ticks_of};
use crate::summary::outcome::{
    BinaryShape, MulticlassShape, OutcomeShape, OutcomeSummary, Predicted, RegressionShape, Truth,
};
use crate::window::{self, WindowSettings};

pub(super) const DAY: i64 = 86_400;

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::default() + Span::from_secs(seconds)
}

pub(super) fn ticks() -> Ticks {
    let length = Span::from_secs(DAY);
    let windows = window::Settings {
        windows: vec![WindowSettings { length, slide: length }],
        allowed_lateness: Span::from_secs(10),
        ..window::Settings::default()
    };
    ticks_of(&windows).expect("a day has minutes")
}

pub(super) fn limits() -> Limits {
    Limits {
        // One alarm in 30 days over five parts.
        ticks_per_alarm: 216_000.0,
        labels_least: labels_least(200),
        round: Span::from_secs(DAY),
        excess_critical: 0.2,
        is_open: false,
    }
}

pub(super) fn binary_shape() -> OutcomeShape {
    OutcomeShape::Binary(BinaryShape::new(&[], 0.5, true, false))
}

fn score(score: f64, class: Option<u16>) -> Predicted {
    Predicted { values: [score].into(), class, amount: None, query: None }
}

/// Counts of training rows by truth and decision.
pub(super) fn binary(cells: [(u16, u16, u64); 4]) -> OutcomeSummary {
    let shape = binary_shape();
    let mut summary = shape.empty();
    for (truth, decision, rows) in cells {
        let predicted = score(0.2 + 0.6 * f64::from(decision), None);
        for _ in 0..rows {
            shape.predict(&mut summary, &predicted).expect("fits");
            shape.add(&mut summary, &predicted, Truth::Class(truth), 0).expect("fits");
        }
    }
    summary
}

/// 20,000 training rows: 8 % of the negatives and 20 % of the positives are mistaken.
pub(super) fn reference() -> Arc<Reference> {
    static REFERENCE: LazyLock<Arc<Reference>> = LazyLock::new(|| {
        let total = binary([(0, 0, 14_720), (0, 1, 1_280), (1, 0, 800), (1, 1, 3_200)]);
        Arc::new(of(&binary_shape(), &total).expect("classes know mistakes"))
    });
    Arc::clone(&REFERENCE)
}

fn of(shape: &OutcomeShape, total: &OutcomeSummary) -> Option<Reference> {
    Reference::new(shape, total, std::iter::empty(), Span::from_secs(DAY), 200)
}

/// A watch whose reports open and close an incident.
pub(super) struct Feed {
    pub(super) watch: Watch,
    pub(super) limits: Limits,
    reference: Arc<Reference>,
}

impl Feed {
    pub(super) fn new(reference: Arc<Reference>) -> Self {
        let mut watch = Watch::default();
        watch.retune(Some(ticks()));
        Self { watch, limits: limits(), reference }
    }

    pub(super) fn add(&mut self, time: Timestamp, class: u16, is_mistake: bool) {
        self.watch.add(&ticks(), known(time, class, is_mistake), 4);
    }

    pub(super) fn pass(&mut self, up_to: Timestamp) -> Vec<Report<Finding>> {
        let mut reports = Vec::new();
        let reference = Arc::clone(&self.reference);
        let lookup = |_: Option<&str>, baseline: &str| (baseline == "b").then(|| Arc::clone(&reference));
        while let Some(passed) = self.watch.pass(up_to, &self.limits, &lookup) {
            let Some(report) = passed else { continue };
            match &report.state {
                State::Alarming(_) => self.limits.is_open = true,
                State::Quiet => self.limits.is_open = false,
                State::Unclear => {}
            }
            reports.push(report);
        }
        reports
    }

    /// A minute with these labels of class 1, of which so many are mistaken.
    fn minute(&mut self, minute: i64, labels: u64, mistakes: u64) -> Vec<Report<Finding>> {
        (0..labels).for_each(|n| self.add(at(minute * 60), 1, n < mistakes));
        self.pass(at(minute * 60 + 60))
    }
}

fn known(time: Timestamp, class: u16, is_mistake: bool) -> Known<'static> {
    Known {
        version: Some("v1"),
        baseline: "b",
        time,
        judged: Judged { class, decision: if is_mistake { 1 - class } else { class }, is_mistake },
    }
}

fn findings(report: &Report<Finding>) -> &[Finding] {
    match &report.state {
        State::Alarming(findings) => findings,
        _ => &[],
    }
}

// === what a mistake is ===

#[test]
fn a_decision_that_is_not_the_truth_is_a_mistake() {
    let reference = reference();
    let judge = |predicted: &Predicted, truth| {
        reference.judge(&binary_shape(), predicted, truth).map(|judged| (judged.class, judged.is_mistake))
    };
    for (predicted, truth, expected) in [
        (score(0.5, None), Truth::Class(1), Some((1, false))),
        (score(0.49, None), Truth::Class(1), Some((1, true))),
        (score(0.49, Some(1)), Truth::Class(1), Some((1, false))),
        (score(0.9, None), Truth::Class(0), Some((0, true))),
        (score(0.1, None), Truth::Class(0), Some((0, false))),
        (score(0.1, None), Truth::Class(2), None),
        (score(f64::NAN, None), Truth::Class(1), None),
        (score(0.1, None), Truth::Number(0.0), None),
    ] {
        assert_eq!(judge(&predicted, truth), expected, "{predicted:?} {truth:?}");
    }
}

#[test]
fn several_classes_are_mistaken_each_by_itself() {
    let names = ["a", "b", "c"].map(str::to_owned).to_vec();
    let shape = OutcomeShape::Multiclass(MulticlassShape::new(names, false, false).expect("three"));
    let mut total = shape.empty();
    for (truth, decision, rows) in [(0, 0, 900), (0, 1, 100), (1, 1, 500), (2, 0, 400)] {
        let predicted = Predicted { values: [].into(), class: Some(decision), amount: None, query: None };
        for _ in 0..rows {
            shape.add(&mut total, &predicted, Truth::Class(truth), 0).expect("fits");
        }
    }
    let reference = of(&shape, &total).expect("classes");
    let expected: Vec<Option<f64>> = (0..4).map(|class| reference.expected(class)).collect();
    assert!(expected[0].is_some_and(|rate| rate > 0.1 && rate < 0.14), "{expected:?}");
    assert!(expected[1].is_some_and(|rate| rate > 0.0 && rate < 0.02), "{expected:?}");
    assert_eq!((expected[2], expected[3]), (None, None), "always mistaken, and no class");
    assert_eq!(reference.streams(), 2);
}

#[test]
fn an_error_is_a_mistake_beyond_nine_in_ten_training_errors() {
    let shape = OutcomeShape::Regression(RegressionShape::new(&[], 0.0, 10.0));
    let mut total = shape.empty();
    for error in 1..=1_000 {
        shape.add(&mut total, &score(f64::from(error), None), Truth::Number(0.0), 0).expect("fits");
    }
    let reference = of(&shape, &total).expect("errors are known");
    let usual = reference.usual_error().expect("a number");
    assert!((900.0..=900.0 * 1.04).contains(&usual), "{usual}");
    let is_mistake = |error: f64| {
        reference.judge(&shape, &score(error, None), Truth::Number(0.0)).map(|judged| judged.is_mistake)
    };
    assert_eq!([is_mistake(usual * 0.999), is_mistake(-usual * 1.001)], [Some(false), Some(true)]);
    let beyond = (1..=1_000).filter(|error| is_mistake(f64::from(*error)) == Some(true)).count();
    assert!(beyond <= 100, "{beyond}");
    let expected = reference.expected(0).expect("watched");
    assert!(expected > beyond as f64 / 1_000.0 && expected < 0.13, "{expected}");
}

#[test]
fn what_has_no_mistakes_has_no_reference() {
    let regression = OutcomeShape::Regression(RegressionShape::new(&[], 0.0, 1.0));
    assert!(of(&OutcomeShape::Ranking, &OutcomeShape::Ranking.empty()).is_none());
    assert!(of(&regression, &regression.empty()).is_none(), "no errors");
    let mut beyond = regression.empty();
    regression.add(&mut beyond, &score(1e9, None), Truth::Number(0.0), 0).expect("fits");
    assert!(of(&regression, &beyond).is_none(), "errors beyond the grid");
    let nothing = of(&binary_shape(), &binary_shape().empty()).expect("classes");
    assert_eq!(nothing.streams(), 0, "no labels");
}

#[test]
fn a_rate_that_was_high_each_week_in_training_is_expected() {
    let total = binary([(0, 0, 6_510), (0, 1, 490), (1, 0, 70), (1, 1, 630)]);
    let day = |n: i64| {
        let high = if n % 7 == 6 { 220 } else { 45 };
        (at(n * DAY), binary([(0, 0, 1_000 - high), (0, 1, high), (1, 0, 10), (1, 1, 90)]))
    };
    let shape = binary_shape();
    let of_days = |length| Reference::new(&shape, &total, (0..7).map(day), Span::from_secs(length), 200);
    let daily = of_days(DAY).expect("classes");
    assert_eq!(daily.expected(0), Some(0.22));
    assert!(daily.expected(1).is_some_and(|rate| rate < 0.14), "days have too few of class 1");
    assert!(daily.is_calibrated() && !reference().is_calibrated());
    let weekly = of_days(7 * DAY).expect("classes");
    assert!(weekly.expected(0).is_some_and(|rate| (0.07..0.11).contains(&rate)), "{weekly:?}");
}

#[test]
fn the_floor_follows_the_rate() {
    for (expected, floor) in [(0.0, 0.01), (0.005, 0.01), (0.03, 0.03), (0.3, 0.05)] {
        assert_eq!(floor_of(expected), floor);
    }
}

// === alarms ===

#[test]
fn a_sudden_break_is_seen_and_told_with_its_figures() {
    let mut feed = Feed::new(reference());
    for minute in 0..600 {
        assert!(feed.minute(minute, 10, if minute % 5 == 0 { 3 } else { 2 }).is_empty(), "{minute}");
    }
    let mut reports = Vec::new();
    for minute in 600..620 {
        reports.extend(feed.minute(minute, 10, 8));
    }
    let first = reports.first().expect("an alarm");
    let [finding] = findings(first) else { panic!("{first:?}") };
    assert_eq!((first.since, finding.class.as_deref()), (finding.since, Some("1")));
    assert!(finding.since >= at(590 * 60) && finding.since <= at(600 * 60), "{}", finding.since);
    assert!(first.end <= at(605 * 60), "{}", first.end);
    assert!(finding.rate() > 0.6 && (finding.training_rate - 0.2).abs() < 1e-9);
    assert_eq!(finding.name().as_ref(), "(errors of class 1)");
    assert!(
        finding.words().starts_with("wrong in 80 % of 20 labels of class 1 since 10:00 UTC"),
        "{}",
        finding.words()
    );
    assert_eq!(reports.len(), 1, "told once");
}

#[test]
fn an_incident_hears_of_quiet_rounds_once_the_break_is_over() {
    let mut feed = Feed::new(reference());
    let mut last = Vec::new();
    for minute in 0..4_000 {
        let reports = feed.minute(minute, 10, if minute < 100 { 8 } else { 2 });
        if minute >= 100 {
            last.extend(reports.into_iter().map(|report| (report.end, report.state == State::Quiet)));
        }
    }
    assert_eq!(last.first().map(|(_, is_quiet)| *is_quiet), Some(false), "the round of the break");
    assert_eq!(last.get(1), Some(&(at(2 * DAY), true)), "the round after it: {last:?}");
}

#[test]
fn a_long_break_is_over_when_it_is_over() {
    // The rate is back just below what is expected, so the evidence is slow to fade.
    let mut feed = Feed::new(reference());
    let mut quiet = None;
    for minute in 0..14 * 1_440 {
        let reports = feed.minute(minute, 10, if minute < 5 * 1_440 { 6 } else { 2 });
        quiet = quiet.or(reports.iter().find(|report| report.state == State::Quiet).map(|report| report.end));
    }
    assert_eq!(quiet, Some(at(7 * DAY)), "the second round after five days");
}

#[test]
fn a_few_labels_say_nothing() {
    let mut feed = Feed::new(reference());
    assert!(feed.minute(0, 19, 19).is_empty());
    assert_eq!(feed.minute(1, 1, 1).len(), 1);
}

#[test]
fn a_version_that_predicts_no_more_says_nothing() {
    let mut feed = Feed::new(reference());
    let old = |time| Known { baseline: "old", ..known(time, 1, true) };
    for minute in 0..100 {
        (0..10).for_each(|_| feed.watch.add(&ticks(), old(at(60 * minute)), 4));
        assert!(feed.minute(minute, 1, 0).is_empty());
    }
    assert_eq!(feed.watch.versions().count(), 2);
}

// === ticks ===

#[test]
fn a_label_whose_tick_has_passed_counts_in_the_first_that_has_not() {
    let mut feed = Feed::new(reference());
    feed.minute(100, 1, 0);
    (0..30).for_each(|_| feed.add(at(60), 1, true));
    assert!(feed.pass(at(101 * 60)).is_empty());
    assert_eq!(feed.pass(at(102 * 60)).len(), 1);
}

#[test]
fn a_corrected_label_counts_once() {
    let mut feed = Feed::new(reference());
    let (time, later) = (at(30), at(90));
    for _ in 0..40 {
        feed.add(time, 1, true);
        feed.watch.correct(&ticks(), known(time, 1, true), known(later, 1, false), 4);
    }
    let mut right = Feed::new(reference());
    (0..40).for_each(|_| right.add(later, 1, false));
    assert_eq!(feed.watch, right.watch);
    assert!(feed.pass(at(120)).is_empty());
    // The first labels have been heard.
    let before = feed.watch.clone();
    feed.watch.correct(&ticks(), known(later, 1, false), known(at(130), 1, true), 4);
    assert_eq!(feed.watch, before);
}

#[test]
fn more_versions_than_the_limit_are_left_out() {
    let mut feed = Feed::new(reference());
    for name in ["a", "b", "c", "d", "e"] {
        feed.watch.add(&ticks(), Known { version: Some(name), ..known(at(0), 1, true) }, 4);
    }
    assert_eq!(feed.watch.versions().count(), 4);
}

#[test]
fn more_ticks_than_may_wait_are_left_out() {
    let mut feed = Feed::new(reference());
    let ticks_max = i64::try_from(crate::quality::WAITING_MAX).expect("small");
    (0..ticks_max).for_each(|tick| feed.add(at(tick * 60), 1, false));
    let full = feed.watch.clone();
    feed.add(at(ticks_max * 60), 1, false);
    assert_eq!(feed.watch, full);
    feed.add(at(0), 1, false);
    assert_ne!(feed.watch, full, "a tick that waits is added to");
}

#[test]
fn a_label_with_a_time_before_its_prediction_is_known_with_the_prediction() {
    assert_eq!(Known::at(at(100), Span::from_secs(7)), at(107));
    assert_eq!(Known::at(at(100), Span::from_secs(-7)), at(100));
}

#[test]
fn a_change_of_the_ticks_begins_anew() {
    let mut feed = Feed::new(reference());
    feed.add(at(0), 1, true);
    feed.watch.retune(Some(ticks()));
    assert_eq!(feed.watch.versions().count(), 1);
    feed.watch.retune(None);
    assert_eq!(feed.watch, Watch::default());
}

proptest! {
    #[test]
    fn any_order_of_labels_and_any_restart_give_the_same_reports(
        cases in prop::collection::vec((0_i64..3_600, 0_u16..2, any::<bool>()), 1..400)
            .prop_map(|cases| (cases.clone(), cases))
            .prop_flat_map(|(cases, again)| (Just(cases), Just(again).prop_shuffle())),
        stops in prop::collection::vec(0_i64..3_600, 0..5),
    ) {
        let (one, other) = cases;
        let mut whole = Feed::new(reference());
        one.iter().for_each(|(time, class, mistake)| whole.add(at(*time), *class, *mistake));
        let expected = whole.pass(at(4_000));
        let mut parts = Feed::new(reference());
        let (mut reports, mut stops, mut from) = (Vec::new(), stops, 0);
        stops.sort_unstable();
        stops.push(4_000);
        for stop in stops {
            // The watermark is at `stop`: what comes is in no tick that has passed.
            let open = stop.div_euclid(60) * 60;
            let due = |time: i64| from <= time && (time < open || stop == 4_000);
            other.iter().filter(|(time, ..)| due(*time)).for_each(|(t, c, m)| parts.add(at(*t), *c, *m));
            from = from.max(open);
            reports.extend(parts.pass(at(stop)));
            let text = serde_json::to_string(&parts.watch).expect("plain data");
            parts.watch = serde_json::from_str(&text).expect("its own");
        }
        prop_assert_eq!(reports, expected);
        prop_assert_eq!(parts.watch, whole.watch);
    }
}

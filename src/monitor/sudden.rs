//! The watch over mistakes in the flow: joined cases go in, and when their ticks are complete what they mean
//! steps the model's incident about performance as a judged window would.
//!
//! Ticks pass in the order of event time, before the windows that are looked at with the same watermark.

use super::Commit;
use super::early::ticks_per_alarm;
use super::plan::ModelSettings;
use crate::drift::EffectUnit;
use crate::event::{ColumnKind, Role, Timestamp};
use crate::incident::{self, About, Cause, Closing, Evidence, PerformanceEvidence, Status};
use crate::performance::{self, Maturity, MetricReading};
use crate::quality::mistakes::{Finding, Limits, Lookup, Watch, labels_least};
use crate::quality::{Report, State, Ticks};
use crate::sequential::{lower_rate, upper_rate};
use crate::verdict::{ColumnVerdict, Entry, Ledger, Verdict, alpha_per_window};

/// What a verdict says when its promise does not rest on stretches of the training data.
const UNCALIBRATED: &str = "the training data has no event time, so a rate of mistakes that is higher at some \
     hours or on some days than on average may alarm";

/// The metric of the watch, and the test that its verdicts name.
const ERROR_RATE: &str = "error_rate";
const TEST: &str = "mistakes";

/// What passing ticks are looked at with.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) model: &'a ModelSettings,
    pub(super) performance: &'a performance::Settings,
    /// The ticks of the performance windows.
    pub(super) ticks: &'a Ticks,
    /// What is expected of each version; see [`Lookup`].
    pub(super) references: Lookup<'a>,
    pub(super) config: &'a str,
    pub(super) positions: &'a [(String, i64)],
}

impl Around<'_> {
    /// When there is an alarm: the watch has one part of the false-alarm budget.
    fn limits(&self, is_open: bool) -> Limits {
        let Self { model, performance, ticks, .. } = self;
        Limits {
            ticks_per_alarm: ticks_per_alarm(model.verdict.budget, ticks.length(), model.budget_parts()),
            labels_least: labels_least(performance.labels_min),
            round: round(performance),
            excess_critical: model.incident.critical_effect,
            is_open,
        }
    }
}

/// The length of a round: that of the shortest window of performance.
fn round(performance: &performance::Settings) -> crate::event::Span {
    performance.windows.iter().map(|window| window.length).min().unwrap_or_default()
}

/// Passes every tick that ends up to here, and steps the incident about performance with what they mean.
pub(super) fn pass_mistakes(
    watch: &mut Watch,
    incident: &mut incident::State,
    ledger: &mut Ledger,
    up_to: Timestamp,
    around: &Around<'_>,
    commit: &mut Commit,
) {
    let settings = around.model;
    let budget = settings.verdict.budget;
    let round_share = alpha_per_window(budget, round(around.performance), settings.budget_parts());
    // What broke a minute ago has no labels to be trained on yet: only windows ask for retraining.
    let without_retraining = incident::Settings { retrain: None, ..settings.incident.clone() };
    loop {
        let limits = around.limits(incident.open().is_some());
        let Some(passed) = watch.pass(up_to, &limits, around.references) else { return };
        let Some(report) = passed else { continue };
        let Told { verdict, baseline, performance } = told(&settings.name, &report, limits.ticks_per_alarm);
        let (length, end) = (around.ticks.length(), verdict.window_end);
        // An alarm comes between rounds; a round without one has spent its time's share.
        let share = if verdict.alarm { 0.0 } else { round_share };
        let baselines = [baseline];
        let closing = Closing {
            length,
            end,
            verdicts: &[verdict],
            evidence: Evidence { baselines: &baselines, config: around.config, positions: around.positions },
            about: About {
                kind: "performance",
                performance: performance.as_ref(),
                diagnosis: None,
                ..About::DRIFT
            },
        };
        let in_incident = incident.open().is_some();
        let outcome = incident.step(&closing, &without_retraining);
        let opened = outcome.transitions.iter().any(|incident| incident.status == Status::Open);
        ledger.enter(&Entry { end, length, share, lowest: &[], opened, in_incident }, budget);
        commit.transitions.extend(outcome.transitions);
        commit.outbox.extend(outcome.notifications);
    }
}

/// What a report means to an incident.
struct Told {
    verdict: Verdict,
    /// Id of the baseline it rests on.
    baseline: String,
    /// `None` when it did not alarm.
    performance: Option<PerformanceEvidence>,
}

fn told(model: &str, report: &Report<Finding>, ticks_per_alarm: f64) -> Told {
    let Report { end, since, state } = report;
    let findings = match state {
        State::Alarming(findings) => findings.as_slice(),
        State::Quiet | State::Unclear => &[],
    };
    let first = findings.first();
    let is_calibrated = findings.iter().all(|finding| finding.is_calibrated);
    let is_one_version = findings.windows(2).all(|two| match two {
        [one, other] => one.version == other.version,
        _ => true,
    });
    let verdict = Verdict {
        model: model.to_owned(),
        version: first.and_then(|finding| finding.version.clone()).filter(|_| is_one_version),
        segment: None,
        window_start: *since,
        window_end: *end,
        n: first.map_or(0, |finding| finding.labels),
        alarm: first.is_some(),
        quiet: *state == State::Quiet,
        calibrated: is_calibrated,
        calibration_note: (!is_calibrated).then(|| UNCALIBRATED.to_owned()),
        // Evidence is no p-value; a round that did not alarm counts as tested.
        p_value: first.is_none().then_some(1.0),
        alpha: 1.0 / ticks_per_alarm,
        ranked: None,
        features: findings.iter().map(column).collect(),
    };
    Told {
        verdict,
        baseline: first.map(|finding| finding.baseline.clone()).unwrap_or_default(),
        performance: first.map(|finding| evidence(finding, *end)),
    }
}

fn column(finding: &Finding) -> ColumnVerdict {
    ColumnVerdict {
        name: finding.name(),
        role: Role::Prediction,
        kind: if finding.class.is_some() { ColumnKind::Categorical } else { ColumnKind::Numeric },
        alarm: true,
        p_value: None,
        test: Some(TEST.to_owned()),
        statistic: Some(finding.rate() - finding.expected),
        effect: Some(finding.excess()),
        effect_unit: Some(EffectUnit::Rate),
        ratio: None,
        moved: finding.excess(),
        summary: Some(finding.words()),
        reference_n: finding.training_labels,
        current_n: finding.labels,
        tests: Vec::new(),
    }
}

/// The rate with its exact interval. It holds 95 % of the time for a stretch that was chosen beforehand; this
/// one was chosen by the alarm, so it is a little high.
fn evidence(finding: &Finding, end: Timestamp) -> PerformanceEvidence {
    let (mistakes, labels) = (finding.mistakes, finding.labels);
    PerformanceEvidence {
        window_start: finding.since,
        window_end: end,
        metric: MetricReading {
            metric: ERROR_RATE.to_owned(),
            value: Some(finding.rate()),
            low: Some(lower_rate(mistakes, labels, 0.975)),
            high: Some(upper_rate(mistakes, labels, 0.975)),
            n: labels,
            bound: 0.0,
            status: "ok".to_owned(),
            detail: Some(finding.words()),
            reference: Some(finding.training_rate),
            estimate: None,
            estimate_holds: None,
        },
        cause: Some(Cause::Sudden),
        // How many predictions these labels are out of is not known while they come.
        predictions: labels,
        labels,
        coverage: None,
        maturity: Maturity::Provisional,
        split: None,
        money: None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::{at, settings};
    use super::*;
    use crate::event::Span;
    use crate::quality::mistakes::{Judged, Known, Reference};
    use crate::quality::ticks_of;
    use crate::summary::outcome::{BinaryShape, OutcomeShape, Predicted, Task, Truth};
    use crate::window::{self, WindowSettings};

    const HOUR: Span = Span::from_secs(3_600);

    /// 2,000 training rows; one in ten of each class is mistaken.
    fn reference() -> Arc<Reference> {
        let shape = OutcomeShape::Binary(BinaryShape::new(&[], 0.5, true, false));
        let mut total = shape.empty();
        for row in 0..2_000_u16 {
            let truth = row % 2;
            let decision = if row % 20 < 2 { 1 - truth } else { truth };
            let predicted =
                Predicted { values: [f64::from(decision)].into(), class: None, amount: None, query: None };
            shape.add(&mut total, &predicted, Truth::Class(truth), 0).expect("fits");
        }
        Arc::new(Reference::new(&shape, &total, std::iter::empty(), HOUR, 200).expect("classes"))
    }

    /// Passes six hours of a label a second, all mistaken in the second hour; the commit with the incident.
    fn run(ledger: &mut Ledger) -> (Commit, incident::State) {
        let mut performance = performance::Settings::new(Task::Binary);
        performance.windows = vec![WindowSettings { length: HOUR, slide: HOUR }];
        let mut model = settings(&[(3_600, 3_600)]);
        model.performance = Some(performance.clone());
        let ticks =
            ticks_of(&window::Settings { windows: performance.windows.clone(), ..model.windows.clone() })
                .expect("an hour has minutes");
        let reference = reference();
        let references = |_: Option<&str>, _: &str| Some(Arc::clone(&reference));
        let positions = [("labels/0".to_owned(), 7)];
        let around = Around {
            model: &model,
            performance: &performance,
            ticks: &ticks,
            references: &references,
            config: "c",
            positions: &positions,
        };
        let (mut watch, mut state, mut commit) =
            (Watch::default(), incident::State::default(), Commit::default());
        watch.retune(Some(ticks));
        for second in 0..6 * 3_600_i64 {
            let is_mistake = second % 20 < 2 || (3_600..7_200).contains(&second);
            let class = u16::from(second % 2 == 0);
            let decision = if is_mistake { 1 - class } else { class };
            let judged = Judged { class, decision, is_mistake };
            watch.add(&ticks, Known { version: Some("v1"), baseline: "b", time: at(second), judged }, 4);
            if second % 60 == 0 {
                pass_mistakes(&mut watch, &mut state, ledger, at(second), &around, &mut commit);
            }
        }
        (commit, state)
    }

    #[test]
    fn a_break_opens_an_incident_about_performance_that_quiet_rounds_resolve() {
        let mut ledger = Ledger::default();
        let (commit, state) = run(&mut ledger);
        let opened = commit.transitions.first().expect("opened");
        assert_eq!((opened.status, opened.kind.as_str()), (Status::Open, "performance"));
        assert_eq!((opened.opened_at, opened.window_start), (at(3_660), at(3_600)));
        assert_eq!((opened.version.as_deref(), opened.baseline.as_str()), (Some("v1"), "b"));
        assert!(opened.retrained_at.is_empty(), "there are no labels to train on yet");
        let known = opened.performance.as_ref().expect("what spoke");
        assert_eq!(known.cause, Some(Cause::Sudden));
        assert_eq!((known.labels, known.metric.value, known.metric.n), (30, Some(1.0), 30));
        assert!(known.metric.low.is_some_and(|low| low > 0.88) && known.metric.high == Some(1.0));
        assert_eq!(known.metric.reference, Some(0.1));
        let first = opened.features.first().expect("a column");
        assert_eq!((first.name.as_ref(), first.test.as_deref()), ("(errors of class 0)", Some("mistakes")));
        assert!(!opened.calibrated && opened.note.as_deref() == Some(UNCALIBRATED));
        let last = commit.transitions.last().expect("resolved");
        assert_eq!(last.status, Status::Resolved);
        // The evidence outlasts the break by some minutes, so that round is not quiet; the next two are.
        assert_eq!(last.resolved_at, Some(at(5 * 3_600)));
        assert!(state.open().is_none());
        assert_ne!(ledger, Ledger::default());
    }
}

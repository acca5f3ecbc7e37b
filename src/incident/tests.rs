use std::sync::Arc;

use super::*;
use crate::event::{ColumnKind, Role};

const DAY: Span = Span::from_secs(86_400);

fn settings() -> Settings {
    Settings {
        open_after: 1,
        resolve_after: 2,
        critical_effect: 0.2,
        channels: vec!["slack".into(), "pager".into()],
        retrain: Some(RetrainSettings {
            channel: "train".into(),
            after_windows: 2,
            cooldown: WEEK,
            per_week_max: 1,
            only_if_it_pays: false,
        }),
    }
}

fn column(name: &str, moved: f64) -> ColumnVerdict {
    ColumnVerdict {
        name: Arc::from(name),
        role: Role::Feature,
        kind: ColumnKind::Numeric,
        alarm: moved > 0.0,
        p_value: Some(1e-9),
        test: Some("ks".into()),
        statistic: Some(moved),
        effect: Some(moved),
        effect_unit: None,
        ratio: None,
        moved,
        summary: None,
        reference_n: 1000,
        current_n: 500,
        tests: vec![],
    }
}

fn verdict(day: i64, alarm: bool, version: &str, features: Vec<ColumnVerdict>) -> Verdict {
    let start = Timestamp::default() + Span::from_micros(DAY.as_micros() * day);
    Verdict {
        model: "credit".into(),
        version: Some(version.into()),
        segment: None,
        window_start: start,
        window_end: start + DAY,
        n: 500,
        alarm,
        quiet: !alarm,
        calibrated: false,
        calibration_note: Some("uncalibrated".into()),
        p_value: Some(if alarm { 1e-9 } else { 0.5 }),
        ranked: None,
        alpha: 1e-3,
        features,
    }
}

fn step(state: &mut State, settings: &Settings, verdict: Verdict) -> Outcome {
    let evidence = Evidence { baselines: &["b".into()], config: "c", positions: &[] };
    let end = verdict.window_end;
    state.step(&Closing { length: DAY, end, verdicts: &[verdict], evidence, about: About::DRIFT }, settings)
}

fn kinds(outcome: &Outcome) -> Vec<(NotificationKind, &str)> {
    outcome.notifications.iter().map(|sent| (sent.kind, sent.channel.as_str())).collect()
}

#[test]
fn one_incident_opens_changes_retrains_and_resolves() {
    use NotificationKind::{Opened, Resolved, Retrain, Updated};
    let (mut state, settings) = (State::default(), settings());
    let opened = step(&mut state, &settings, verdict(0, true, "1", vec![column("a", 0.1)]));
    assert_eq!(kinds(&opened), [(Opened, "slack"), (Opened, "pager")]);
    assert_eq!(opened.transitions[0].severity, Severity::Warning);

    let retrain = step(&mut state, &settings, verdict(1, true, "1", vec![column("a", 0.1)]));
    assert_eq!(kinds(&retrain), [(Retrain, "train")], "nothing new to tell people");
    assert_eq!(retrain.transitions[0].sequence, 2);

    let louder = step(&mut state, &settings, verdict(2, true, "1", vec![column("a", 0.1), column("b", 0.4)]));
    assert_eq!(kinds(&louder), [(Updated, "slack"), (Updated, "pager")]);
    assert_eq!(louder.transitions[0].severity, Severity::Critical);

    assert_eq!(step(&mut state, &settings, verdict(3, false, "2", vec![])), Outcome::default());
    let resolved = step(&mut state, &settings, verdict(4, false, "2", vec![]));
    assert_eq!(kinds(&resolved), [(Resolved, "slack"), (Resolved, "pager")]);
    assert_eq!(resolved.transitions[0].sequence, 4);
    let note = resolved.transitions[0].note.clone().expect("a resolution says why");
    assert!(note.contains("version 2: the retraining helped"), "{note}");
    assert!(state.open().is_none());
}

#[test]
fn an_alarm_breaks_the_quiet_streak_and_the_incident_stays_one() {
    let (mut state, settings) = (State::default(), settings());
    let id =
        step(&mut state, &settings, verdict(0, true, "1", vec![column("a", 0.1)])).transitions[0].id.clone();
    step(&mut state, &settings, verdict(1, false, "1", vec![]));
    step(&mut state, &settings, verdict(2, true, "1", vec![column("a", 0.1)]));
    assert_eq!(step(&mut state, &settings, verdict(3, false, "1", vec![])).transitions.len(), 0);
    let resolved = step(&mut state, &settings, verdict(4, false, "1", vec![]));
    assert_eq!(resolved.transitions[0].id, id);
}

#[test]
fn windows_that_cannot_be_tested_neither_open_nor_resolve() {
    let (mut state, settings) = (State::default(), settings());
    step(&mut state, &settings, verdict(0, true, "1", vec![column("a", 0.1)]));
    for day in 1..10 {
        let empty = Verdict { quiet: false, p_value: None, ..verdict(day, false, "1", vec![]) };
        assert_eq!(step(&mut state, &settings, empty), Outcome::default());
    }
    assert!(state.open().is_some());
}

#[test]
fn an_incident_waits_for_the_configured_number_of_windows() {
    let mut state = State::default();
    let settings = Settings { open_after: 3, ..settings() };
    for day in 0..2 {
        assert_eq!(
            step(&mut state, &settings, verdict(day, true, "1", vec![column("a", 0.1)])),
            Outcome::default()
        );
    }
    assert_eq!(
        step(&mut state, &settings, verdict(2, true, "1", vec![column("a", 0.1)])).transitions.len(),
        1
    );
}

#[test]
fn retraining_keeps_its_cooldown_over_incidents() {
    let (mut state, settings) = (State::default(), settings());
    let mut calls = 0;
    for day in 0..20 {
        let outcome = step(&mut state, &settings, verdict(day, day % 4 < 2, "1", vec![column("a", 0.1)]));
        calls += outcome.notifications.iter().filter(|sent| sent.kind == NotificationKind::Retrain).count();
    }
    assert!((2..=3).contains(&calls), "{calls} calls in 20 days with a cool-down of 7");
}

#[test]
fn the_same_verdicts_give_the_same_ids() {
    let run = || {
        let (mut state, settings) = (State::default(), settings());
        (0..6)
            .flat_map(|day| {
                step(&mut state, &settings, verdict(day, day < 3, "1", vec![column("a", 0.1)])).notifications
            })
            .map(|sent| sent.id)
            .collect::<Vec<_>>()
    };
    let ids = run();
    assert_eq!(ids, run());
    let distinct: BTreeSet<&String> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
}

#[test]
fn alarms_of_different_segments_are_no_row() {
    let mut state = State::default();
    let settings = Settings { open_after: 2, ..settings() };
    let of = |day, segment: &str| Verdict {
        segment: Some(segment.into()),
        ..verdict(day, true, "1", vec![column("a", 0.1)])
    };
    assert_eq!(step(&mut state, &settings, of(0, "DE")), Outcome::default());
    assert_eq!(step(&mut state, &settings, of(1, "FR")), Outcome::default());
    assert_eq!(step(&mut state, &settings, of(2, "FR")).transitions.len(), 1);
}

#[test]
fn an_incident_resolves_although_its_window_length_was_taken_out_of_the_configuration() {
    let (mut state, settings) = (State::default(), settings());
    let week = Span::from_secs(7 * 86_400);
    let long = verdict(0, true, "1", vec![column("a", 0.1)]);
    let evidence = Evidence { baselines: &["b".into()], config: "c", positions: &[] };
    state.step(
        &Closing { length: week, end: long.window_end, verdicts: &[long], evidence, about: About::DRIFT },
        &settings,
    );
    state.keep_lengths(&[DAY], Some(Span::from_secs(60)));
    step(&mut state, &settings, verdict(1, false, "1", vec![]));
    assert_eq!(step(&mut state, &settings, verdict(2, false, "1", vec![])).transitions.len(), 1);
}

#[test]
fn an_estimated_loss_pays_for_no_retraining_of_a_model_that_is_not_found_worse() {
    use crate::performance::diagnosis::Confidence;
    use crate::performance::{Maturity, MetricReading, MoneyReading, Ranged};
    let loss = Ranged { value: 100.0, low: Some(50.0), high: Some(150.0) };
    let evidence = |realised: Option<Ranged>| PerformanceEvidence {
        window_start: Timestamp::default(),
        window_end: Timestamp::default() + DAY,
        metric: MetricReading {
            metric: "roc_auc".into(),
            value: None,
            low: None,
            high: None,
            n: 0,
            bound: 0.0,
            status: "insufficient_data".into(),
            detail: None,
            reference: None,
            estimate: None,
            estimate_holds: None,
        },
        cause: None,
        predictions: 500,
        labels: 0,
        coverage: None,
        maturity: Maturity::Waiting,
        split: None,
        money: Some(MoneyReading {
            currency: "EUR".into(),
            cost: None,
            estimated_cost: None,
            reference_cost: 1.0,
            per_day: 500.0,
            loss_per_day: realised,
            estimated_loss_per_day: Some(loss),
            accumulated: None,
            since: None,
            retrain_cost: 10.0,
            break_even_days: Some(0.1),
            retrain_pays: Some(true),
            horizon: DAY,
        }),
    };
    let retrain =
        RetrainSettings { only_if_it_pays: true, ..settings().retrain.expect("the settings have one") };
    let asks = |kind: DiagnosisKind, realised: Option<Ranged>| {
        let diagnosis = Diagnosis { kind, confidence: Confidence::Low, evidence: Vec::new() };
        let (performance, diagnosis) = (Some(&evidence(realised)), Some(&diagnosis));
        About { performance, diagnosis, ..About::DRIFT }.lets_retrain(&retrain)
    };
    assert!(!asks(DiagnosisKind::Unclear, None) && !asks(DiagnosisKind::HarmlessShift, None));
    assert!(asks(DiagnosisKind::HarmfulShift, None));
    assert!(asks(DiagnosisKind::Unclear, Some(loss)));
    assert!(!asks(DiagnosisKind::DataFault, Some(loss)));
}

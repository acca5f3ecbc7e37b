//! Incidents and notifications to send.

use std::collections::BTreeMap;
use std::time::Duration;

use driftline::drift::{EffectUnit, Score};
use driftline::event::{ColumnKind, Role, Span, Timestamp};
use driftline::incident::{
    Cause, Incident, Notification, NotificationKind, PerformanceEvidence, Severity, Status,
};
use driftline::notify::ChannelSettings;
use driftline::performance::diagnosis::Confidence;
use driftline::performance::{
    Diagnosis, DiagnosisKind, Maturity, MetricReading, MoneyReading, Ranged, SplitReading,
};
use driftline::verdict::{ColumnVerdict, Outcome, TestResult};

/// A point in time.
pub fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// A column that moved.
pub fn column(name: &str, summary: &str) -> ColumnVerdict {
    let score = Score {
        statistic: 0.3127,
        bound: Some(0.004),
        p_value: Some(3.14e-12),
        log_p_value: Some(-26.486_799_371_376),
        effect: 0.3127,
        effect_unit: EffectUnit::CumulativeShare,
        reference_n: 50_000,
        current_n: 7_412,
        detail: None,
    };
    ColumnVerdict {
        name: name.into(),
        role: Role::Feature,
        kind: ColumnKind::Numeric,
        alarm: true,
        p_value: Some(3.14e-12),
        test: Some("ks".to_owned()),
        statistic: Some(score.statistic),
        effect: Some(score.effect),
        effect_unit: Some(score.effect_unit),
        ratio: None,
        moved: 0.3127,
        summary: Some(summary.to_owned()),
        reference_n: score.reference_n,
        current_n: score.current_n,
        tests: vec![TestResult { test: "ks".to_owned(), outcome: Outcome::Scored(score) }],
    }
}

/// An incident in the state that a notification of this kind tells of.
pub fn incident(id: &str, kind: NotificationKind) -> Incident {
    let resolved = kind == NotificationKind::Resolved;
    let (status, sequence) = match kind {
        NotificationKind::Updated | NotificationKind::Retrain => (Status::Updated, 2),
        NotificationKind::Resolved => (Status::Resolved, 3),
        NotificationKind::Opened | NotificationKind::Test => (Status::Open, 1),
    };
    let resolved_at = resolved.then(|| at("2018-11-27T18:00:00Z"));
    Incident {
        id: id.to_owned(),
        kind: "drift".to_owned(),
        model: "car_loan".to_owned(),
        version: Some("7".to_owned()),
        status,
        severity: Severity::Critical,
        sequence,
        opened_at: at("2018-11-06T18:00:00Z"),
        updated_at: resolved_at.unwrap_or_else(|| at("2018-11-06T18:00:00Z")),
        resolved_at,
        window_start: at("2018-10-30T18:00:00Z"),
        window_end: at("2018-11-06T18:00:00Z"),
        segment: None,
        segments: Vec::new(),
        n: 7_412,
        windows_alarming: 2,
        features: vec![
            column("car_value", "31 % of rows above 41,200, 4 % in training"),
            column("debt_to_income_ratio", "mean 0.42, 0.31 in training"),
        ],
        p_value: Some(6.28e-11),
        calibrated: false,
        note: resolved.then(|| "2 quiet windows of 7d in a row".to_owned()),
        retrained_at: if resolved { vec![at("2018-11-13T18:00:00Z")] } else { Vec::new() },
        performance: None,
        diagnosis: None,
        baseline: "b1946ac92492d2347c6235b4d2611184".to_owned(),
        config: "591785b794601e212b260e25925636fd".to_owned(),
        positions: vec![("loans/0".to_owned(), 25_400)],
    }
}

/// A notification whose id says what it is.
pub fn notification(channel: &str, incident_id: &str, kind: NotificationKind) -> Notification {
    let incident = incident(incident_id, kind);
    let id = format!("{channel}-{incident_id}-{}", incident.sequence);
    Notification { id, kind, channel: channel.to_owned(), incident }
}

fn ranged(value: f64, low: f64, high: f64) -> Ranged {
    Ranged { value, low: Some(low), high: Some(high) }
}

fn money() -> MoneyReading {
    MoneyReading {
        currency: "EUR".to_owned(),
        cost: Some(ranged(1.31, 1.24, 1.38)),
        estimated_cost: Some(ranged(1.28, 1.2, 1.36)),
        reference_cost: 1.18,
        per_day: 96_000.0,
        loss_per_day: Some(ranged(12_340.0, 9_100.0, 15_600.0)),
        estimated_loss_per_day: Some(ranged(9_600.0, 1_900.0, 17_300.0)),
        accumulated: Some(ranged(86_000.0, 71_000.0, 101_000.0)),
        since: Some(at("2018-10-30T18:00:00Z")),
        retrain_cost: 50_000.0,
        break_even_days: Some(4.05),
        retrain_pays: Some(true),
        horizon: secs(30 * 86_400),
    }
}

/// How a model does whose labels are there.
pub fn realised() -> PerformanceEvidence {
    PerformanceEvidence {
        window_start: at("2018-10-30T18:00:00Z"),
        window_end: at("2018-11-06T18:00:00Z"),
        metric: MetricReading {
            metric: "roc_auc".to_owned(),
            value: Some(0.9121),
            low: Some(0.9034),
            high: Some(0.9207),
            n: 1_204,
            bound: 0.0004,
            status: "ok".to_owned(),
            detail: None,
            reference: Some(0.9712),
            estimate: Some(ranged(0.921, 0.909, 0.931)),
            estimate_holds: Some(true),
        },
        cause: Some(Cause::Reference),
        predictions: 1_310,
        labels: 1_204,
        coverage: Some(1_204.0 / 1_310.0),
        maturity: Maturity::Provisional,
        split: Some(SplitReading {
            loss: "cost".to_owned(),
            total: ranged(0.13, 0.095, 0.163),
            mix: ranged(0.03, 0.024, 0.036),
            concept: ranged(0.098, 0.062, 0.131),
            unexplained: 0.002,
        }),
        money: Some(money()),
    }
}

/// How a model does whose labels are not there yet.
pub fn estimated() -> PerformanceEvidence {
    let known = realised();
    PerformanceEvidence {
        metric: MetricReading {
            value: None,
            low: None,
            high: None,
            n: 0,
            status: "no_labels".to_owned(),
            estimate: Some(ranged(0.962, 0.955, 0.968)),
            estimate_holds: None,
            ..known.metric
        },
        cause: None,
        labels: 0,
        coverage: Some(0.0),
        maturity: Maturity::Waiting,
        split: None,
        money: Some(MoneyReading {
            loss_per_day: None,
            accumulated: None,
            since: None,
            break_even_days: None,
            retrain_pays: None,
            ..money()
        }),
        ..known
    }
}

/// What a change was taken to be.
pub fn diagnosis(kind: DiagnosisKind) -> Diagnosis {
    let evidence = [
        "Like cases cost 0.098 more (0.062 to 0.131), three quarters of the change.",
        "`car_value` drifted, and the model is worse where it did.",
    ];
    Diagnosis { kind, confidence: Confidence::Medium, evidence: evidence.map(str::to_owned).to_vec() }
}

/// A notification of an incident that is about how the model does.
pub fn performance(kind: NotificationKind) -> Notification {
    let mut told = notification("team", "inc2", kind);
    let incident = &mut told.incident;
    incident.kind = "performance".to_owned();
    incident.features.clear();
    incident.calibrated = true;
    incident.n = 1_204;
    incident.performance = Some(realised());
    incident.diagnosis = Some(diagnosis(DiagnosisKind::ConceptChange));
    if let (NotificationKind::Resolved, Some(known)) = (kind, &mut incident.performance) {
        known.cause = None;
        known.metric.value = Some(0.966);
        (known.metric.low, known.metric.high) = (Some(0.959), Some(0.972));
        incident.version = Some("8".to_owned());
    }
    told
}

/// An incident with this many columns whose names are as bad as names can be.
pub fn hostile(kind: NotificationKind, columns: usize) -> Notification {
    let mut notification = notification("team", "inc1", kind);
    let evil = "<!channel> `*_~ </script>\n\u{202e}&amp; \"\\ 漢字🚨 <https://evil.example|click> ";
    let incident = &mut notification.incident;
    incident.model = evil.repeat(5);
    incident.version = Some(evil.repeat(5));
    incident.segment = Some(evil.repeat(5));
    incident.note = Some(evil.repeat(500));
    let mut known = realised();
    known.metric.metric = evil.repeat(50);
    known.metric.detail = Some(evil.repeat(50));
    known.metric.value = None;
    known.metric.estimate = None;
    if let (Some(split), Some(money)) = (&mut known.split, &mut known.money) {
        split.loss = evil.repeat(50);
        money.currency = evil.repeat(50);
    }
    incident.performance = Some(known);
    incident.diagnosis = Some(Diagnosis {
        kind: DiagnosisKind::Unclear,
        confidence: Confidence::Low,
        evidence: vec![evil.repeat(50); 40],
    });
    incident.features = (0..columns)
        .map(|i| {
            let name: String = format!("{i} ").chars().chain(evil.chars().cycle()).take(300).collect();
            column(&name, &evil.repeat(20))
        })
        .collect();
    notification
}

/// Settings of a channel called `name`.
pub fn settings(name: &str, kind: &str, url: &str) -> ChannelSettings {
    ChannelSettings {
        name: name.to_owned(),
        kind: kind.to_owned(),
        url: url.into(),
        secrets: Vec::new(),
        headers: BTreeMap::new(),
        link_base: Some("https://driftline.example".to_owned()),
        timeout: Duration::from_secs(15),
        attempts_max: 12,
    }
}

/// So many seconds.
pub fn secs(seconds: i64) -> Span {
    Span::from_secs(seconds)
}

//! Incidents and notifications to send.

use std::collections::BTreeMap;
use std::time::Duration;

use driftline::drift::{EffectUnit, Score};
use driftline::event::{ColumnKind, Role, Span, Timestamp};
use driftline::incident::{Incident, Notification, NotificationKind, Severity, Status};
use driftline::notify::ChannelSettings;
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

/// An incident with this many columns whose names are as bad as names can be.
pub fn hostile(kind: NotificationKind, columns: usize) -> Notification {
    let mut notification = notification("team", "inc1", kind);
    let evil = "<!channel> `*_~ </script>\n\u{202e}&amp; \"\\ 漢字🚨 <https://evil.example|click> ";
    let incident = &mut notification.incident;
    incident.model = evil.repeat(5);
    incident.version = Some(evil.repeat(5));
    incident.segment = Some(evil.repeat(5));
    incident.note = Some(evil.repeat(500));
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

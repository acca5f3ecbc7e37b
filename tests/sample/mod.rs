//! Sample commits for the tests of the store and the API.

#![allow(dead_code, reason = "each test binary uses a part")]

use driftline::drift::{EffectUnit, NotTestable, Score};
use driftline::event::{ColumnKind, Origin, RejectReason, Role, Span, Timestamp};
use driftline::incident::{Incident, Notification, NotificationKind, Severity, Status};
use driftline::monitor::{ClosedWindow, Commit, DeadLetter, PaneKey, PaneWrite, Position, WindowKey};
use driftline::summary::{Anomalies, Rows};
use driftline::verdict::{ColumnVerdict, Outcome, TestResult, Verdict};

pub const HOUR: i64 = 3_600;

/// 2026-01-01T00:00:00Z and `seconds`.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::saturating_from_micros((1_767_225_600 + seconds) * 1_000_000)
}

pub fn origin(partition: i32) -> Origin {
    Origin { topic: "predictions".into(), partition }
}

pub fn position(partition: i32, next_offset: i64) -> Position {
    Position { origin: origin(partition), next_offset }
}

pub fn pane(model: &str, version: Option<&str>, segment: Option<&str>, hour: i64, byte: u8) -> PaneWrite {
    let key = PaneKey {
        model: model.to_owned(),
        version: version.map(str::to_owned),
        segment: segment.map(str::to_owned),
        start: at(hour * HOUR),
    };
    PaneWrite { key, baseline: "ab".repeat(32), summary: vec![byte; 1_400] }
}

pub fn column(name: &str, moved: f64) -> ColumnVerdict {
    let score = Score {
        statistic: 0.41,
        bound: Some(0.003),
        p_value: Some(1e-12),
        log_p_value: Some(-27.631_021_115_928_547),
        effect: 0.41,
        effect_unit: EffectUnit::CumulativeShare,
        reference_n: 50_000,
        current_n: 4_000,
        detail: None,
    };
    let refused = NotTestable::NotApplicable { reason: "made for categories".to_owned() };
    ColumnVerdict {
        name: name.into(),
        role: Role::Feature,
        kind: ColumnKind::Numeric,
        alarm: moved > 0.2,
        p_value: Some(5e-12),
        test: Some("ks".to_owned()),
        statistic: Some(0.41),
        effect: Some(0.41),
        effect_unit: Some(EffectUnit::CumulativeShare),
        ratio: None,
        moved,
        summary: Some("31 % of rows above 41,200, 4 % in training".to_owned()),
        reference_n: 50_000,
        current_n: 4_000,
        tests: vec![
            TestResult { test: "ks".to_owned(), outcome: Outcome::Scored(score) },
            TestResult { test: "g".to_owned(), outcome: Outcome::NotTested(refused) },
        ],
    }
}

/// A window of an hour that ends at `hour`.
pub fn window(model: &str, segment: Option<&str>, hour: i64, alarm: bool) -> ClosedWindow {
    let (start, end) = (at((hour - 1) * HOUR), at(hour * HOUR));
    let features = (0..12).map(|i| column(&format!("feature_{i}"), 0.5 - f64::from(i) / 30.0)).collect();
    let key = WindowKey {
        model: model.to_owned(),
        version: Some("7".to_owned()),
        segment: segment.map(str::to_owned),
        start,
        length: Span::from_secs(HOUR),
    };
    let verdict = Verdict {
        model: model.to_owned(),
        version: key.version.clone(),
        segment: key.segment.clone(),
        window_start: start,
        window_end: end,
        n: 4_000,
        alarm,
        quiet: !alarm,
        calibrated: false,
        calibration_note: Some("rows are taken as independent".to_owned()),
        p_value: Some(1e-11),
        ranked: None,
        alpha: 1e-4,
        features,
    };
    ClosedWindow {
        key,
        end,
        rows: Rows { events: 4_000, features: 4_000, predictions: 4_000, labels: 0 },
        columns: vec![("feature_0".to_owned(), 3_990, Anomalies { missing: 10, ..Anomalies::default() })],
        latency_ms: Some([3.0, 8.0, 21.5, 90.0]),
        baseline: "ab".repeat(32),
        config: "cd".repeat(32),
        positions: vec![("predictions/0".to_owned(), 4_000)],
        watermark: end + Span::from_secs(600),
        verdict,
    }
}

/// The transition `sequence` of an incident that opened at `hour`.
pub fn incident(id: &str, model: &str, hour: i64, sequence: u32, status: Status) -> Incident {
    let now = at((hour + i64::from(sequence) - 1) * HOUR);
    Incident {
        id: id.to_owned(),
        kind: "drift".to_owned(),
        model: model.to_owned(),
        version: Some("7".to_owned()),
        status,
        severity: Severity::Critical,
        sequence,
        opened_at: at(hour * HOUR),
        updated_at: now,
        resolved_at: (status == Status::Resolved).then_some(now),
        window_start: now - Span::from_secs(HOUR),
        window_end: now,
        segment: None,
        segments: Vec::new(),
        n: 4_000,
        windows_alarming: sequence,
        features: vec![column("feature_0", 0.5)],
        p_value: Some(1e-11),
        calibrated: false,
        note: None,
        retrained_at: Vec::new(),
        baseline: "ab".repeat(32),
        config: "cd".repeat(32),
        positions: vec![("predictions/0".to_owned(), 4_000)],
    }
}

pub fn notification(id: &str, channel: &str, incident: &Incident) -> Notification {
    let kind = match incident.status {
        Status::Open => NotificationKind::Opened,
        Status::Updated => NotificationKind::Updated,
        Status::Resolved => NotificationKind::Resolved,
    };
    Notification { id: id.to_owned(), kind, channel: channel.to_owned(), incident: incident.clone() }
}

pub fn dead_letter(offset: i64, reason: RejectReason, payload: &[u8]) -> DeadLetter {
    DeadLetter {
        origin: origin(0),
        offset,
        reason,
        detail: format!("record {offset}: expected `,` at byte 17"),
        payload: payload.to_vec(),
        at: at(offset),
    }
}

/// A commit in which something of everything happens.
pub fn full_commit() -> Commit {
    let opened = incident("inc-1", "fraud", 2, 1, Status::Open);
    let counted = |outcome, n| ("predictions".to_owned(), "fraud".to_owned(), outcome, n);
    Commit {
        learned: Vec::new(),
        positions: vec![position(0, 4_000), position(1, 3_500)],
        panes: vec![
            pane("fraud", Some("7"), None, 0, 1),
            pane("fraud", Some("7"), Some(""), 0, 2),
            pane("fraud", None, None, 0, 3),
            pane("fraud", Some(""), None, 0, 4),
        ],
        panes_dropped: Vec::new(),
        windows: vec![
            window("fraud", None, 1, false),
            window("fraud", None, 2, true),
            window("fraud", Some("eu"), 2, false),
        ],
        transitions: vec![opened.clone()],
        outbox: vec![notification("n-1", "slack", &opened), notification("n-2", "pagerduty", &opened)],
        dead_letters: vec![dead_letter(17, RejectReason::Malformed, b"{\"a\":\xff")],
        journals: Vec::new(),
        counted: vec![counted("counted", 7_499), counted("malformed", 1)],
        state: Some(vec![9; 64]),
    }
}

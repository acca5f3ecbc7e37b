//! Sample commits for the tests of the store and the API.

#![allow(dead_code, reason = "each test binary uses a part")]

use driftline::drift::{EffectUnit, NotTestable, Score};
use driftline::event::{ColumnKind, Origin, RejectReason, Role, Span, Timestamp};
use driftline::incident::{Incident, Notification, NotificationKind, Severity, Status};
use driftline::monitor::{
    ClosedWindow, Commit, DeadLetter, PaneKey, PaneWrite, PerformanceWindow, Position, WindowKey,
};
use driftline::performance::{
    Estimation, Maturity, MetricReading, MoneyReading, PriorReading, Ranged, Reading, SplitReading, Task,
};
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

fn ranged(value: f64, low: f64, high: f64) -> Ranged {
    Ranged { value, low: Some(low), high: Some(high) }
}

/// A metric that was estimated, and realised if there are labels.
pub fn metric(name: &str, labels: u64) -> MetricReading {
    let known = labels > 0;
    MetricReading {
        metric: name.to_owned(),
        value: known.then_some(0.912),
        low: known.then_some(0.903),
        high: known.then_some(0.921),
        n: labels,
        bound: 0.0004,
        status: if known { "ok" } else { "no_labels" }.to_owned(),
        detail: None,
        reference: Some(0.971),
        estimate: Some(ranged(0.921, 0.909, 0.931)),
        estimate_holds: known.then_some(true),
    }
}

/// What it costs, realised if there are labels.
pub fn money(labels: u64) -> MoneyReading {
    let known = labels > 0;
    MoneyReading {
        currency: "EUR".to_owned(),
        cost: known.then(|| ranged(1.31, 1.24, 1.38)),
        estimated_cost: Some(ranged(1.28, 1.2, 1.36)),
        reference_cost: 1.18,
        per_day: 96_000.0,
        loss_per_day: known.then(|| ranged(12_300.0, 9_100.0, 15_600.0)),
        estimated_loss_per_day: Some(ranged(9_600.0, 1_900.0, 17_300.0)),
        accumulated: known.then(|| ranged(86_000.0, 71_000.0, 101_000.0)),
        since: known.then(|| at(0)),
        retrain_cost: 50_000.0,
        break_even_days: known.then_some(4.065),
        retrain_pays: known.then_some(true),
        horizon: Span::from_secs(30 * 86_400),
    }
}

/// Part of a loss by the mix of cases and by the world.
pub fn split() -> SplitReading {
    SplitReading {
        loss: "cost".to_owned(),
        total: ranged(0.13, 0.095, 0.163),
        mix: ranged(0.03, 0.024, 0.036),
        concept: ranged(0.098, 0.062, 0.131),
        unexplained: 0.002,
    }
}

/// The performance of a window of an hour that ends at `hour`, with this many labels of 4,000.
pub fn performance(
    model: &str,
    segment: Option<&str>,
    hour: i64,
    revision: u32,
    labels: u64,
) -> PerformanceWindow {
    let end = at(hour * HOUR);
    let key = WindowKey {
        model: model.to_owned(),
        version: Some("7".to_owned()),
        segment: segment.map(str::to_owned),
        start: end - Span::from_secs(HOUR),
        length: Span::from_secs(HOUR),
    };
    let age = Span::from_secs(600 + i64::from(revision - 1) * 24 * HOUR);
    let reading = Reading {
        task: Task::Binary,
        headline: "roc_auc".to_owned(),
        predictions: 4_000,
        labels,
        coverage: Some(labels as f64 / 4_000.0),
        age,
        maturity: if labels > 0 { Maturity::Provisional } else { Maturity::Waiting },
        effective_labels: (labels > 0).then_some(3_514.2),
        correction: (labels > 0)
            .then(|| "weighted by the inverse of the chance to be labelled by now".to_owned()),
        metrics: vec![metric("roc_auc", labels), metric("f1", labels)],
        estimation: Some(Estimation {
            method: "cbpe".to_owned(),
            assumes: "like cases come out as they did in training".to_owned(),
            windows_compared: 40,
            mean_absolute_error: Some(0.0061),
            windows_held: 38,
            reliable: true,
        }),
        prior: Some(PriorReading {
            method: "bbse".to_owned(),
            share: ranged(0.031, 0.027, 0.035),
            reference: 0.024,
        }),
        split: (labels > 0).then(split),
        money: Some(money(labels)),
    };
    let judged = (labels > 0).then(|| window(model, segment, hour, true).verdict);
    PerformanceWindow {
        key,
        end,
        revision,
        at: end + age,
        baseline: "ab".repeat(32),
        config: "cd".repeat(32),
        reading,
        verdict: judged,
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
        performance: None,
        diagnosis: None,
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
    let joined = |outcome, n| ("fraud".to_owned(), outcome, n);
    let counted = |outcome, n| ("predictions".to_owned(), "fraud".to_owned(), outcome, n);
    Commit {
        learned: Vec::new(),
        outcome_panes: vec![pane("fraud", Some("7"), None, 0, 5), pane("fraud", Some("7"), Some("eu"), 0, 6)],
        outcome_panes_dropped: Vec::new(),
        performance: vec![
            performance("fraud", None, 1, 1, 0),
            performance("fraud", None, 1, 2, 3_680),
            performance("fraud", Some("eu"), 1, 1, 900),
            performance("fraud", None, 2, 1, 0),
        ],
        joined: vec![joined("joined", 3_680), joined("duplicate", 12), joined("unknown", 3)],
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
        counted: vec![counted("counted", 7_499), counted("malformed", 1)],
        state: Some(vec![9; 64]),
    }
}

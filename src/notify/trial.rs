//! A trial message: what an operator sends to see whether a channel works.
//!
//! Place in the flow: beside it; nothing of this is stored. The figures are made up, the note says so, and
//! the kind is [`NotificationKind::Test`]. Pure.

use sha2::{Digest, Sha256};

use crate::drift::EffectUnit;
use crate::event::{ColumnKind, Role, Span, Timestamp};
use crate::incident::{Incident, Notification, NotificationKind, Severity, Status};
use crate::verdict::ColumnVerdict;

/// A trial for this channel as of `now`.
pub fn trial(channel: &str, now: Timestamp) -> Notification {
    let digest = Sha256::digest(format!("trial|{channel}|{}", now.as_micros()));
    let id: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let window_end = now.floor_to(Span::from_secs(3600), Span::ZERO);
    let incident = Incident {
        id: format!("trial-{}", id.get(..16).unwrap_or_default()),
        kind: "drift".to_owned(),
        model: "driftline-trial".to_owned(),
        version: Some("0".to_owned()),
        status: Status::Open,
        severity: Severity::Warning,
        sequence: 1,
        opened_at: now,
        updated_at: now,
        resolved_at: None,
        window_start: window_end - Span::from_secs(3600),
        window_end,
        segment: None,
        segments: Vec::new(),
        n: 1_000,
        windows_alarming: 1,
        features: vec![column()],
        p_value: Some(1e-6),
        calibrated: false,
        note: Some("A trial sent by `driftline test-alert`; nothing has drifted.".to_owned()),
        retrained_at: Vec::new(),
        performance: None,
        diagnosis: None,
        baseline: "none".to_owned(),
        config: "none".to_owned(),
        positions: Vec::new(),
    };
    Notification { id, kind: NotificationKind::Test, channel: channel.to_owned(), incident }
}

/// The message that closes what a trial left open at the receiver.
pub fn trial_end(trial: &Notification) -> Notification {
    let mut end = trial.clone();
    end.kind = NotificationKind::Resolved;
    end.id = format!("{}-end", trial.id);
    end.incident.status = Status::Resolved;
    end.incident.sequence = 2;
    end.incident.resolved_at = Some(end.incident.updated_at);
    end
}

fn column() -> ColumnVerdict {
    ColumnVerdict {
        name: "example_feature".into(),
        role: Role::Feature,
        kind: ColumnKind::Numeric,
        alarm: true,
        p_value: Some(1e-6),
        test: Some("ks".to_owned()),
        statistic: Some(0.25),
        effect: Some(0.25),
        effect_unit: Some(EffectUnit::CumulativeShare),
        ratio: None,
        moved: 0.25,
        summary: Some("30 % of rows above 100, 5 % in training (made up)".to_owned()),
        reference_n: 10_000,
        current_n: 1_000,
        tests: Vec::new(),
    }
}

//! What the early watch found, in figures and in words.

use std::sync::Arc;

use crate::event::{ColumnKind, RejectReason, Role, Timestamp};

/// What rejected records are called where columns are listed.
pub const REJECTED_RECORDS: &str = "(rejected records)";

/// What is wrong with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Values are missing.
    Missing,
    /// Values are of the wrong type.
    WrongType,
    /// Records are rejected.
    Rejected,
}

impl Trouble {
    /// The stable name, for columns that of the test of a window which counts the same.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::WrongType => "wrong_type",
            Self::Rejected => "rejected",
        }
    }
}

/// A stream whose rate is over what is expected.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The column, or [`REJECTED_RECORDS`].
    pub name: Arc<str>,
    /// What the column is to the model.
    pub role: Role,
    /// How it is counted.
    pub kind: ColumnKind,
    /// What is wrong with it.
    pub trouble: Trouble,
    /// The version of the model; for rejected records the only one that is seen, if there is one.
    pub version: Option<String>,
    /// Id of the version's baseline, in hex; empty for rejected records.
    pub baseline: String,
    /// Start of the first tick of the evidence.
    pub since: Timestamp,
    /// Rows since then.
    pub rows: u64,
    /// Bad ones among them.
    pub bad: u64,
    /// The highest rate that is expected, 0 to 1.
    pub expected: f64,
    /// Training values of the column.
    pub training_values: u64,
    /// The commonest reason of rejected records.
    pub reason: Option<RejectReason>,
    /// Whether what is expected rests on stretches of the training data, or on the operator's word.
    pub is_calibrated: bool,
}

impl Finding {
    /// The rate since the evidence began, 0 to 1.
    pub fn rate(&self) -> f64 {
        self.bad as f64 / self.rows.max(1) as f64
    }

    /// How far the rate is above the expected one, 0 to 1.
    pub fn excess(&self) -> f64 {
        (self.rate() - self.expected).max(0.0)
    }

    /// `missing in 34 % of 1,203 rows since 14:03 UTC, at most 0.4 % expected`.
    pub fn words(&self) -> String {
        let (what, of) = match self.trouble {
            Trouble::Missing => ("missing in", "rows"),
            Trouble::WrongType => ("of the wrong type in", "rows"),
            Trouble::Rejected => ("rejected:", "records"),
        };
        let reason = self.reason.map(|reason| format!(", most often as {}", reason.name()));
        format!(
            "{what} {} of {} {of} since {} UTC, at most {} expected{}",
            percent(self.rate()),
            grouped(self.rows),
            clock(self.since),
            percent(self.expected),
            reason.unwrap_or_default(),
        )
    }
}

/// A share in percent with two digits that count, as far as they say something.
pub(super) fn percent(share: f64) -> String {
    let percents = 100.0 * share;
    let decimals = match percents {
        p if p == 0.0 || p >= 9.95 => 0,
        p if p >= 0.095 => 1,
        p if p >= 0.01 => 2,
        _ => return "0.01 %".to_owned(),
    };
    // What is nearly all is not all.
    if (99.5..100.0).contains(&percents) {
        return format!("{:.1} %", percents.min(99.9));
    }
    format!("{percents:.decimals$} %")
}

/// A whole number with its thousands apart: `12,345`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Hour and minute; a reader has the day from the window of the message. Ticks may be seconds.
pub(super) fn clock(at: Timestamp) -> String {
    match jiff::Timestamp::from_microsecond(at.as_micros()) {
        Ok(time) if at.as_micros().rem_euclid(60_000_000) == 0 => time.strftime("%H:%M").to_string(),
        Ok(time) => time.strftime("%H:%M:%S").to_string(),
        Err(_) => at.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Span;

    #[test]
    fn a_finding_reads_as_a_sentence() {
        let finding = Finding {
            name: "income".into(),
            role: Role::Feature,
            kind: ColumnKind::Numeric,
            trouble: Trouble::Missing,
            version: None,
            baseline: String::new(),
            since: Timestamp::default() + Span::from_secs(14 * 3600 + 180),
            rows: 1_203,
            bad: 409,
            expected: 0.004,
            training_values: 10_000,
            reason: None,
            is_calibrated: true,
        };
        assert_eq!(finding.words(), "missing in 34 % of 1,203 rows since 14:03 UTC, at most 0.4 % expected");
        let since = finding.since + Span::from_secs(30);
        let wrong = Finding { trouble: Trouble::WrongType, rows: 10, bad: 10, since, ..finding.clone() };
        assert_eq!(
            wrong.words(),
            "of the wrong type in 100 % of 10 rows since 14:03:30 UTC, at most 0.4 % expected"
        );
        let reason = Some(RejectReason::Malformed);
        let rejected = Finding { trouble: Trouble::Rejected, reason, expected: 0.01, ..finding };
        assert_eq!(
            rejected.words(),
            "rejected: 34 % of 1,203 records since 14:03 UTC, at most 1.0 % expected, most often as malformed"
        );
    }

    #[test]
    fn nearly_all_is_not_all_and_nearly_none_not_none() {
        for (share, text) in [
            (0.0, "0 %"),
            (1e-6, "0.01 %"),
            (0.00123, "0.1 %"),
            (0.0005, "0.05 %"),
            (0.9999, "99.9 %"),
            (0.996, "99.6 %"),
            (0.99, "99 %"),
            (1.0, "100 %"),
        ] {
            assert_eq!(percent(share), text);
        }
    }
}

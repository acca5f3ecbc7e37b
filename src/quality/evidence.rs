//! What is known of one stream: the worths of its bets, and the counts since they began to be worth something.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::{RejectReason, Span, Timestamp};
use crate::sequential::CountedBets;

/// A stream that is worth less is forgotten: the next bad row starts a bet ten times as large. Forgetting
/// only lowers what it is worth, so no promise is lost, and most streams need no place most of the time.
const WORTH_MIN: f64 = 0.1;

/// How far over the threshold the worth of the evidence may go. The smaller, the sooner it is over.
const WORTH_OVER_MAX: f64 = 2.0;

/// What a bet is worth when it starts.
const WORTH_FRESH: f64 = 1.0;

/// Most that a bet may be worth, given what all streams must add up to for an alarm: one alone may carry the
/// whole.
pub(super) fn worth_max(threshold: f64) -> f64 {
    WORTH_OVER_MAX * threshold * CountedBets::BETS as f64
}

/// The evidence of a stream that has had bad rows lately; the others have none and need no place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Evidence {
    worths: [f64; CountedBets::BETS],
    /// The counts of the current half stretch, and of the one before.
    newer: Counts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    older: Option<Counts>,
}

/// Counts of a stream from some tick on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Counts {
    from: Timestamp,
    rows: u64,
    bad: u64,
    /// Why records were rejected.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    reasons: BTreeMap<RejectReason, u64>,
}

/// What a stream showed in one tick.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'a> {
    /// Start of the tick.
    pub(super) start: Timestamp,
    pub(super) rows: u64,
    pub(super) bad: u64,
    pub(super) reasons: &'a BTreeMap<RejectReason, u64>,
}

impl Counts {
    fn empty(from: Timestamp) -> Self {
        Self { from, rows: 0, bad: 0, reasons: BTreeMap::new() }
    }
}

impl Evidence {
    pub(super) fn new(start: Timestamp) -> Self {
        Self { worths: [0.0; CountedBets::BETS], newer: Counts::empty(start), older: None }
    }

    /// Takes a tick. The counts begin anew when the bets are worth less than a fresh one, and reach back at
    /// most `stretch`, and half of it at least.
    pub(super) fn take(&mut self, shown: Shown<'_>, bets: &CountedBets, cap: f64, stretch: Span) {
        if self.worth() < WORTH_FRESH {
            *self = Self { worths: self.worths, ..Self::new(shown.start) };
        } else if (shown.start - self.newer.from).as_micros() >= stretch.as_micros() / 2 {
            self.older = Some(std::mem::replace(&mut self.newer, Counts::empty(shown.start)));
        }
        self.newer.rows = self.newer.rows.saturating_add(shown.rows);
        self.newer.bad = self.newer.bad.saturating_add(shown.bad);
        for (reason, times) in shown.reasons {
            *self.newer.reasons.entry(*reason).or_default() += times;
        }
        bets.update(&mut self.worths, shown.rows, shown.bad, cap);
    }

    /// What the mixture of bets is worth.
    pub(super) fn worth(&self) -> f64 {
        CountedBets::mean(&self.worths)
    }

    /// Whether it says so little that it can be forgotten.
    pub(super) fn is_spent(&self) -> bool {
        self.worth() < WORTH_MIN
    }

    /// Whether it is worth at least a fresh bet.
    pub(super) fn is_awake(&self) -> bool {
        self.worth() >= WORTH_FRESH
    }

    fn counts(&self) -> impl Iterator<Item = &Counts> {
        self.older.iter().chain([&self.newer])
    }

    /// Start of the counts.
    pub(super) fn since(&self) -> Timestamp {
        self.older.as_ref().map_or(self.newer.from, |older| older.from)
    }

    /// Rows since then.
    pub(super) fn rows(&self) -> u64 {
        self.counts().map(|counts| counts.rows).sum()
    }

    /// Bad rows since then.
    pub(super) fn bad(&self) -> u64 {
        self.counts().map(|counts| counts.bad).sum()
    }

    /// The rate since then.
    pub(super) fn rate(&self) -> f64 {
        self.bad() as f64 / self.rows().max(1) as f64
    }

    /// The commonest reason of rejections since then.
    pub(super) fn reason(&self) -> Option<RejectReason> {
        let mut times: BTreeMap<RejectReason, u64> = BTreeMap::new();
        for counts in self.counts() {
            for (reason, n) in &counts.reasons {
                *times.entry(*reason).or_default() += n;
            }
        }
        // Of equal ones the first of the list.
        times.into_iter().rev().max_by_key(|(_, n)| *n).map(|(reason, _)| reason)
    }
}

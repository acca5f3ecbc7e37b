//! Rounds: when a watch speaks that looks at every tick.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::finding::Finding;
use crate::event::{Span, Timestamp};

/// What is to be told of a tick that passed.
#[derive(Debug, Clone, PartialEq)]
pub struct Report<F = Finding> {
    /// End of the tick.
    pub end: Timestamp,
    /// Start of the evidence: of the alarm, or of the round.
    pub since: Timestamp,
    /// What it means.
    pub state: State<F>,
}

/// What a report means.
#[derive(Debug, Clone, PartialEq)]
pub enum State<F = Finding> {
    /// There is an alarm; the streams that carry it, the furthest over what is expected first, one a column.
    Alarming(Vec<F>),
    /// A round was quiet.
    Quiet,
    /// A round was neither, or an alarm went away before anybody was told.
    Unclear,
}

impl<F> Report<F> {
    /// What is said of a tick with this end and these findings.
    pub(super) fn new(
        say: Say,
        end: Timestamp,
        round_start: Timestamp,
        findings: Vec<F>,
        since: impl Fn(&F) -> Timestamp,
    ) -> Self {
        let first = findings.first().map(since);
        match say {
            Say::Alarm => Self { end, since: first.unwrap_or(round_start), state: State::Alarming(findings) },
            Say::Quiet => Self { end, since: round_start, state: State::Quiet },
            Say::Unclear => Self { end, since: round_start, state: State::Unclear },
        }
    }
}

/// What was said in the current round.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Round {
    /// When it is over.
    end: Option<Timestamp>,
    /// Whether the last tick alarmed.
    alarming: bool,
    /// Whether any tick of it alarmed.
    alarmed: bool,
    /// What people were told of: streams with their trouble.
    told: BTreeSet<String>,
    /// The largest excess they were told of.
    told_excess: f64,
}

/// What a tick led to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome<'a> {
    /// Start of the tick.
    pub(super) start: Timestamp,
    /// End of it.
    pub(super) end: Timestamp,
    /// The streams that carry an alarm, by name, with how far each is over what is expected.
    pub(super) alarm: &'a [(String, f64)],
    /// Whether there is enough evidence for an alarm, even if none of its streams had rows in this tick.
    pub(super) is_over: bool,
    /// Whether no stream has evidence of a rate that is large enough to alarm.
    pub(super) is_calm: bool,
}

/// What is news to people.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct News {
    /// Length of a round.
    pub(super) round: Span,
    /// An excess of at least this is news when the excess that was told is smaller.
    pub(super) excess_critical: f64,
    /// Whether there is an open incident.
    pub(super) is_open: bool,
}

/// What is to be told of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Say {
    /// The alarm.
    Alarm,
    /// A round was quiet.
    Quiet,
    /// A round was neither, or an alarm went away before anybody was told.
    Unclear,
}

impl Round {
    /// Start of the round that a tick with this start falls in.
    pub(super) fn start(&self, tick: Timestamp, length: Span) -> Timestamp {
        self.end.map_or(tick, |end| end - length)
    }

    /// Takes what a tick led to, and says what is to be told, if anything; see the module on rounds.
    pub(super) fn pass(&mut self, outcome: Outcome<'_>, news: News) -> Option<Say> {
        let Outcome { start, end, alarm, is_over, is_calm } = outcome;
        let is_round_over = end >= *self.end.get_or_insert(start + news.round);
        let is_alarming = !alarm.is_empty();
        let was_alarming = std::mem::replace(&mut self.alarming, is_alarming);
        self.alarmed |= is_over;
        let say = if is_alarming {
            let speaks = self.is_news(alarm, news) || is_round_over;
            speaks.then(|| self.tell(alarm))
        } else if is_round_over && news.is_open {
            Some(if is_calm && !self.alarmed { Say::Quiet } else { Say::Unclear })
        } else {
            (was_alarming && !news.is_open).then_some(Say::Unclear)
        };
        if is_round_over {
            *self = Self {
                end: Some(end + news.round),
                alarming: is_alarming,
                alarmed: false,
                told: if is_alarming { std::mem::take(&mut self.told) } else { BTreeSet::new() },
                told_excess: if is_alarming { self.told_excess } else { 0.0 },
            };
        }
        say
    }

    /// Whether an alarm says something that nobody was told.
    fn is_news(&self, alarm: &[(String, f64)], news: News) -> bool {
        let is_louder = largest(alarm) >= news.excess_critical && self.told_excess < news.excess_critical;
        !news.is_open || is_louder || alarm.iter().any(|(name, _)| !self.told.contains(name))
    }

    fn tell(&mut self, alarm: &[(String, f64)]) -> Say {
        self.told.extend(alarm.iter().map(|(name, _)| name.clone()));
        self.told_excess = self.told_excess.max(largest(alarm));
        Say::Alarm
    }
}

fn largest(alarm: &[(String, f64)]) -> f64 {
    alarm.iter().map(|(_, excess)| *excess).fold(0.0, f64::max)
}

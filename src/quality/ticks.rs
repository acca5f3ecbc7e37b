//! Ticks: which rows of a group fall into which, and what is counted of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::{Span, Timestamp};

/// How event time is cut into ticks and when one is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticks {
    length: Span,
    offset: Span,
    lateness: Span,
}

impl Ticks {
    pub(super) fn new(length: Span, offset: Span, lateness: Span) -> Self {
        Self { length, offset, lateness }
    }

    /// How long a tick lasts.
    pub fn length(&self) -> Span {
        self.length
    }

    /// Start of the tick that holds this time.
    pub fn start_of(&self, time: Timestamp) -> Timestamp {
        time.floor_to(self.length, self.offset)
    }

    /// End of the tick with this start.
    pub fn end_of(&self, start: Timestamp) -> Timestamp {
        start + self.length
    }

    /// Whether the tick with this start is over once its partition has shown an event of time `newest`.
    pub fn is_over(&self, start: Timestamp, newest: Timestamp) -> bool {
        self.end_of(start) <= newest - self.lateness
    }
}

/// What was counted of a tick: of one group in a batch, or of one version in all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TickRows {
    /// Rows.
    pub rows: u64,
    /// For each column that has bad values, by its place in the baseline, how many.
    pub columns: BTreeMap<u32, Bad>,
}

/// Bad values of a column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bad {
    /// Null, absent or NaN.
    #[serde(rename = "m", default, skip_serializing_if = "is_zero")]
    pub missing: u64,
    /// Of another type.
    #[serde(rename = "w", default, skip_serializing_if = "is_zero")]
    pub wrong_type: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Bad {
    /// Whether there is none.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.missing = self.missing.saturating_add(other.missing);
        self.wrong_type = self.wrong_type.saturating_add(other.wrong_type);
    }
}

/// The ticks of the rows of a group, found as the rows come: runs of rows in one tick. Rows that come in the
/// order of their time need a comparison each and one division a tick.
#[derive(Debug)]
pub struct RowTicks {
    ticks: Ticks,
    runs: Vec<Run>,
    /// The tick of the last run: from its start to its end, and the newest time at which it is not over.
    start: Timestamp,
    end: Timestamp,
    over_from: Timestamp,
}

/// Neighbouring rows in one tick.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Start of the tick; `None` for rows whose tick was over when they came.
    tick: Option<Timestamp>,
    rows: usize,
}

impl RowTicks {
    /// No rows yet.
    pub fn new(ticks: Ticks) -> Self {
        let none = Timestamp::MIN;
        Self { ticks, runs: Vec::new(), start: none, end: none, over_from: none }
    }

    /// Adds a row of this time, which comes when `newest` is the newest time of its batch so far.
    pub fn push(&mut self, time: Timestamp, newest: Option<Timestamp>) {
        let newest = newest.unwrap_or(Timestamp::MIN);
        if self.start <= time
            && time < self.end
            && newest < self.over_from
            && let Some(run) = self.runs.last_mut()
        {
            run.rows += 1;
            return;
        }
        self.open(time, newest);
    }

    fn open(&mut self, time: Timestamp, newest: Timestamp) {
        let start = self.ticks.start_of(time);
        let tick = (!self.ticks.is_over(start, newest)).then_some(start);
        (self.start, self.end) = (start, start);
        if tick.is_some() {
            self.end = self.ticks.end_of(start);
            self.over_from = self.end + self.ticks.lateness;
        }
        match self.runs.last_mut() {
            Some(run) if run.tick == tick => run.rows += 1,
            _ => self.runs.push(Run { tick, rows: 1 }),
        }
    }

    /// The rows of each tick.
    pub fn counts(&self) -> BTreeMap<Timestamp, TickRows> {
        let mut counts: BTreeMap<Timestamp, TickRows> = BTreeMap::new();
        for Run { tick, rows } in &self.runs {
            if let Some(start) = tick {
                counts.entry(*start).or_default().rows += *rows as u64;
            }
        }
        counts
    }

    /// The tick that all rows are in, if they are in one.
    pub fn only(&self) -> Option<Timestamp> {
        match self.runs.as_slice() {
            [run] => run.tick,
            _ => None,
        }
    }

    /// The tick of each row, in the order they came.
    pub fn each(&self) -> impl Iterator<Item = Option<Timestamp>> {
        self.runs.iter().flat_map(|run| std::iter::repeat_n(run.tick, run.rows))
    }
}

//! The outermost training values of a numeric column, with the times of their rows.
//!
//! Counts on the grid cannot tell how many values of a reference window lie beyond all other training rows,
//! for the outermost edges are the training data's own smallest and largest values. These few values can.

use arrow::array::{Array, Float64Array};
use serde::{Deserialize, Serialize};

use crate::event::Timestamp;

/// Distinct values kept at each end.
pub const EXTREMES_MAX: usize = 64;

/// The outermost distinct values at both ends.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Extremes {
    /// The smallest values, outermost first: ascending.
    pub low: Vec<Extreme>,
    /// The largest values, outermost first: descending.
    pub high: Vec<Extreme>,
}

/// A value, and when it occurred.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Extreme {
    /// The value; finite.
    pub value: f64,
    /// The earliest event time of a row that has it.
    pub first: Timestamp,
    /// The latest one; [`Timestamp::MAX`] if a row has it whose time cannot be read.
    pub last: Timestamp,
    /// Number of rows that have it.
    pub rows: u64,
}

impl Extremes {
    /// How many values of rows with `start <= time < end` lie strictly beyond every value of the rows
    /// outside that stretch, both ends added. Exact as long as a value from outside is among the kept ones
    /// of an end; else all kept ones count, which is the least that there are.
    pub fn outside(&self, start: Timestamp, end: Timestamp) -> u64 {
        let within = |extreme: &&Extreme| start <= extreme.first && extreme.last < end;
        let beyond = |side: &[Extreme]| {
            side.iter().take_while(within).fold(0_u64, |sum, extreme| sum.saturating_add(extreme.rows))
        };
        beyond(&self.low).saturating_add(beyond(&self.high))
    }

    /// Whether these can be the extremes of a column: those of a file may say anything.
    pub(super) fn is_sound(&self) -> bool {
        let sides = [&self.low, &self.high];
        sides.iter().all(|side| {
            side.len() <= EXTREMES_MAX
                && side.iter().all(|kept| kept.value.is_finite() && kept.rows > 0 && kept.first <= kept.last)
        }) && self.low.is_sorted_by(|a, b| a.value < b.value)
            && self.high.is_sorted_by(|a, b| a.value > b.value)
    }
}

/// Finds the outermost values of a column.
///
/// The kept values are ascending and distinct: all of them while there are few, later the smallest
/// [`EXTREMES_MAX`] and the largest. A value that falls out lies behind that many at both ends, so it never
/// belongs to an end again, and what is counted of those that stay is exact in any order of rows.
#[derive(Debug, Default)]
pub(super) struct Outermost {
    kept: Vec<Extreme>,
    /// Where the last value was found: values often come in runs.
    recent: usize,
}

impl Outermost {
    /// Takes the values of a chunk and the times of its rows; a row whose time is not known lies outside
    /// every stretch.
    pub(super) fn take(&mut self, values: &Float64Array, times: &[Option<Timestamp>]) {
        let mut inner = self.inner();
        for (row, (value, time)) in values.values().iter().zip(times).enumerate() {
            let is_inner = inner.is_some_and(|(low, high)| low < *value && *value < high);
            if is_inner || !value.is_finite() || values.is_null(row) {
                continue;
            }
            // Negative zero is zero: they are one value.
            self.add(*value + 0.0, time.unwrap_or(Timestamp::MAX));
            inner = self.inner();
        }
    }

    /// What was found.
    pub(super) fn finish(self) -> Extremes {
        let low = self.kept.iter().take(EXTREMES_MAX).copied().collect();
        let high = self.kept.iter().rev().take(EXTREMES_MAX).copied().collect();
        Extremes { low, high }
    }

    /// The innermost kept value of each end, once values between them are not kept.
    fn inner(&self) -> Option<(f64, f64)> {
        let is_full = self.kept.len() >= 2 * EXTREMES_MAX;
        let (low, high) = (self.kept.get(EXTREMES_MAX - 1)?, self.kept.get(EXTREMES_MAX)?);
        is_full.then_some((low.value, high.value))
    }

    fn add(&mut self, value: f64, time: Timestamp) {
        let found = match self.kept.get(self.recent) {
            Some(recent) if recent.value == value => Ok(self.recent),
            _ => self.kept.binary_search_by(|kept| kept.value.total_cmp(&value)),
        };
        match found {
            Ok(at) => {
                self.recent = at;
                if let Some(kept) = self.kept.get_mut(at) {
                    kept.first = kept.first.min(time);
                    kept.last = kept.last.max(time);
                    kept.rows += 1;
                }
            }
            Err(at) => self.insert(at, Extreme { value, first: time, last: time, rows: 1 }),
        }
    }

    fn insert(&mut self, at: usize, extreme: Extreme) {
        let is_full = self.kept.len() >= 2 * EXTREMES_MAX;
        if is_full && at == EXTREMES_MAX {
            return;
        }
        self.kept.insert(at, extreme);
        if is_full {
            // The innermost value of the end that grew.
            self.kept.remove(EXTREMES_MAX);
        }
    }
}

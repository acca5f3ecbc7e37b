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
    /// The earliest and the latest event time of the rows that have it; `None` if the time of one of them
    /// cannot be read, which then lies outside every stretch.
    pub times: Option<(Timestamp, Timestamp)>,
    /// Number of rows that have it.
    pub rows: u64,
}

impl Extremes {
    /// How many values of rows with `start <= time < end` lie strictly below, and how many above, every value
    /// of the rows outside that stretch. Exact as long as a value from outside is among the kept ones of an
    /// end; else all kept ones count, which is the least that there are.
    pub fn outside(&self, start: Timestamp, end: Timestamp) -> (u64, u64) {
        let within =
            |extreme: &&Extreme| extreme.times.is_some_and(|(first, last)| start <= first && last < end);
        let beyond = |side: &[Extreme]| {
            side.iter().take_while(within).fold(0_u64, |sum, extreme| sum.saturating_add(extreme.rows))
        };
        (beyond(&self.low), beyond(&self.high))
    }

    /// Whether these can be the extremes of a column: those of a file may say anything.
    pub(super) fn is_sound(&self) -> bool {
        let sides = [&self.low, &self.high];
        sides.iter().all(|side| side.len() <= EXTREMES_MAX && side.iter().all(|kept| kept.is_sound()))
            && self.low.is_sorted_by(|a, b| a.value < b.value)
            && self.high.is_sorted_by(|a, b| a.value > b.value)
    }
}

impl Extreme {
    fn is_sound(&self) -> bool {
        let ascend = self.times.is_none_or(|(first, last)| first <= last);
        self.value.is_finite() && self.rows > 0 && ascend
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
    /// Takes the values of a chunk and the times of its rows.
    pub(super) fn take(&mut self, values: &Float64Array, times: &[Option<Timestamp>]) {
        let mut inner = self.inner();
        for (row, (value, time)) in values.values().iter().zip(times).enumerate() {
            let is_inner = inner.is_some_and(|(low, high)| low < *value && *value < high);
            if is_inner || !value.is_finite() || values.is_null(row) {
                continue;
            }
            // Negative zero is zero: they are one value.
            self.add(*value + 0.0, *time);
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

    fn add(&mut self, value: f64, time: Option<Timestamp>) {
        let found = match self.kept.get(self.recent) {
            Some(recent) if recent.value == value => Ok(self.recent),
            _ => self.kept.binary_search_by(|kept| kept.value.total_cmp(&value)),
        };
        match found {
            Ok(at) => {
                self.recent = at;
                if let Some(kept) = self.kept.get_mut(at) {
                    let both = kept.times.zip(time);
                    kept.times = both.map(|((first, last), time)| (first.min(time), last.max(time)));
                    kept.rows += 1;
                }
            }
            Err(at) => self.insert(at, Extreme { value, times: time.map(|time| (time, time)), rows: 1 }),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::Span;

    fn at(second: i64) -> Timestamp {
        Timestamp::default() + Span::from_secs(second)
    }

    fn extremes(rows: &[(f64, Option<i64>)], chunk: usize) -> Extremes {
        let mut outermost = Outermost::default();
        for rows in rows.chunks(chunk) {
            let values: Float64Array = rows.iter().map(|(value, _)| Some(*value)).collect();
            let times: Vec<_> = rows.iter().map(|(_, second)| second.map(at)).collect();
            outermost.take(&values, &times);
        }
        outermost.finish()
    }

    /// The same from all rows: those in the stretch that lie strictly below, or above, all the others.
    fn by_hand(rows: &[(f64, Option<i64>)], start: i64, end: i64) -> (u64, u64) {
        let within = |row: &&(f64, Option<i64>)| row.1.is_some_and(|at| start <= at && at < end);
        let others = || rows.iter().filter(|row| !within(row)).map(|row| row.0);
        let (low, high) = (others().fold(f64::INFINITY, f64::min), others().fold(-f64::INFINITY, f64::max));
        let beyond = |is_beyond: &dyn Fn(f64) -> bool| {
            rows.iter().filter(within).filter(|row| is_beyond(row.0)).count() as u64
        };
        (beyond(&|value| value < low), beyond(&|value| value > high))
    }

    proptest! {
        #[test]
        fn what_lies_outside_is_what_a_count_of_all_rows_finds(
            rows in prop::collection::vec((-30_i32..30, prop::option::weighted(0.97, 0_i64..20)), 0..300),
            start in 0_i64..20,
            length in 0_i64..20,
            chunk in 1_usize..50,
        ) {
            let rows: Vec<_> = rows.into_iter().map(|(value, at)| (f64::from(value) / 4.0, at)).collect();
            let found = extremes(&rows, chunk);
            prop_assert!(found.is_sound());
            let (low, high) = by_hand(&rows, start, start + length);
            prop_assert_eq!(found.outside(at(start), at(start + length)), (low, high));
        }

        #[test]
        fn many_distinct_values_are_told_exactly_up_to_the_limit(
            seed in any::<u64>(),
            in_stretch in 0_usize..200,
            chunk in 1_usize..500,
        ) {
            // 1,000 distinct values in some order, of which the smallest are in the stretch.
            let mut rows: Vec<(f64, Option<i64>)> =
                (0..1_000).map(|k| (k as f64, Some(i64::from(k >= in_stretch)))).collect();
            rows.sort_by_key(|(value, _)| xxhash_rust::xxh3::xxh3_64_with_seed(&value.to_le_bytes(), seed));
            let found = extremes(&rows, chunk);
            prop_assert!(found.is_sound());
            prop_assert_eq!((found.low.len(), found.high.len()), (EXTREMES_MAX, EXTREMES_MAX));
            prop_assert_eq!(found.low.first().map(|kept| kept.value), Some(0.0));
            prop_assert_eq!(found.high.first().map(|kept| kept.value), Some(999.0));
            prop_assert_eq!(found.outside(at(0), at(1)), (in_stretch.min(EXTREMES_MAX) as u64, 0));
        }
    }

    #[test]
    fn a_common_smallest_value_is_beyond_nothing() {
        let rows: Vec<_> = (0..1_000).map(|k| (f64::from(k % 2), Some(i64::from(k) / 200))).collect();
        let found = extremes(&rows, 64);
        assert_eq!((found.low.len(), found.outside(at(0), at(1))), (2, (0, 0)));
        assert_eq!(found.low.first().map(|kept| kept.rows), Some(500));
    }

    #[test]
    fn values_that_are_none_and_the_sign_of_zero_do_not_count() {
        let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0];
        let rows: Vec<_> = values.into_iter().map(|value| (value, Some(0))).collect();
        let found = extremes(&rows, 2);
        assert_eq!(found.low, [Extreme { value: 0.0, times: Some((at(0), at(0))), rows: 2 }]);
        assert!(found.low.iter().all(|kept| kept.value.is_sign_positive()));
    }
}

//! The outermost training values of a numeric column, with the times of their rows.
//!
//! Counts on the grid cannot tell how many values of a reference window lie beyond all other training rows,
//! for the outermost edges are the training data's own smallest and largest values. These few values can.

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
}

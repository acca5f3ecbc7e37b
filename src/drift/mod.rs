//! Drift tests: statistics of two summaries, each a pure function.
//!
//! Place in the flow: when a window closes, every test of [`TESTS`] scores every column of it against
//! the baseline. What a score means is decided in [`verdict`](crate::verdict): no threshold stands here.
//!
//! Invariant: a test gives a [`Score`] of finite numbers or says why it cannot ([`NotTestable`]); never
//! NaN, never a panic, whatever the counts.
//!
//! To add a test: one file that implements a `score` function, one line in [`TESTS`], and its values in
//! `tests/golden/`.

use serde::{Deserialize, Serialize};

use crate::event::ColumnKind;
use crate::summary::{ColumnSummary, Shape};

/// A column's two summaries on one shape.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// What both were counted on.
    pub shape: &'a Shape,
    /// The training counts.
    pub reference: &'a ColumnSummary,
    /// The window's counts.
    pub current: &'a ColumnSummary,
}

/// What a test gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The statistic, in the convention that the test's documentation states.
    pub statistic: f64,
    /// How far the statistic of the raw values may be from this one, if the test knows.
    pub bound: Option<f64>,
    /// Probability of a statistic at least as large if both samples came from one distribution.
    pub p_value: Option<f64>,
    /// How large the difference is, in `effect_unit`; comparable between sample sizes.
    pub effect: f64,
    /// What `effect` counts.
    pub effect_unit: EffectUnit,
    /// Training values compared.
    pub reference_n: u64,
    /// Window values compared.
    pub current_n: u64,
    /// What was noticed, for people: pooled cells, the bin that carries the difference.
    pub detail: Option<String>,
}

/// What an effect is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectUnit {
    /// Largest difference of two cumulative shares, 0..=1.
    CumulativeShare,
    /// Share of the values that would have to move, 0..=1.
    Share,
    /// Difference of two rates, 0..=1.
    Rate,
    /// Standard deviations of the baseline.
    StandardDeviations,
    /// The statistic itself; comparable only with itself.
    Statistic,
}

/// Why a test gives no score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum NotTestable {
    /// Too few values in one of the samples.
    InsufficientData {
        /// Values the smaller sample has.
        n: u64,
        /// Values it needs.
        needed: u64,
    },
    /// The test is not made for such a column.
    NotApplicable {
        /// Why, for people.
        reason: String,
    },
    /// The baseline leaves nothing to compare: one value only, or none.
    Degenerate {
        /// Why, for people.
        reason: String,
    },
}

impl NotTestable {
    /// The stable name of the reason.
    pub fn status(&self) -> &'static str {
        match self {
            Self::InsufficientData { .. } => "insufficient_data",
            Self::NotApplicable { .. } => "not_applicable",
            Self::Degenerate { .. } => "degenerate",
        }
    }
}

/// A drift test: a row of [`TESTS`].
pub struct DriftTest {
    /// Stable snake_case name.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// Which kinds of column it is made for.
    pub kinds: &'static [ColumnKind],
    /// Whether an alarm may rest on its p-value. The others are shown because people know them.
    pub alarms: bool,
    /// Scores a pair.
    pub score: fn(&Pair<'_>) -> Result<Score, NotTestable>,
}

/// Every test, in the order they are shown.
pub static TESTS: &[DriftTest] = &[];

/// (being written) The difference in words.
pub fn describe(_pair: &Pair<'_>) -> Option<String> {
    None
}

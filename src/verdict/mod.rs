//! Verdicts: what a window's scores mean within the false-alarm budget.
//!
//! Place in the flow: after [`drift`](crate::drift) has scored every column of a closed window, before
//! [`incident`](crate::incident) decides what to do. Pure.
//!
//! The rule in force is the i.i.d. rule: a window alarms when the smallest p-value of its columns,
//! corrected for everything that is tested, is below the window's share of the budget, and the effect
//! is at least a floor. It takes rows as independent, which production data rarely is; so every verdict
//! says `calibrated: false`, and the floors keep small true differences quiet.
//!
//! Invariant: the expected number of false alarms of a model is at most the budget, over all columns,
//! segments, tests and window lengths together, as long as rows are independent.

pub mod blind_spots;
mod budget;
mod decide;
pub mod online_fdr;

pub use budget::{alpha_per_window, clear_level};
pub use decide::{WindowSample, decide};

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::drift::{EffectUnit, NotTestable, Score};
use crate::event::{ColumnKind, Role, Span, Timestamp};

/// What the operator allows and what is too small to matter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// False alarms allowed.
    pub budget: Budget,
    /// Effects below these never alarm.
    pub floors: Floors,
    /// Windows with fewer rows are not tested.
    pub rows_min: u64,
}

/// `alarms` false alarms per `period`, for one model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// How many; positive.
    pub alarms: f64,
    /// In what time.
    pub period: Span,
}

/// Smallest effects that may alarm, by what they are measured in.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Floors {
    /// For [`EffectUnit::CumulativeShare`].
    pub cumulative_share: f64,
    /// For [`EffectUnit::Share`].
    pub share: f64,
    /// For [`EffectUnit::Rate`].
    pub rate: f64,
    /// For [`EffectUnit::StandardDeviations`].
    pub standard_deviations: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            budget: Budget { alarms: 1.0, period: Span::from_secs(30 * 86_400) },
            floors: Floors { cumulative_share: 0.02, share: 0.02, rate: 0.005, standard_deviations: 0.05 },
            rows_min: 50,
        }
    }
}

/// One test's result on one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestResult {
    /// The test's name.
    pub test: String,
    /// Its score, or why there is none.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// A score or the reason for none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The test could be made.
    Scored(Score),
    /// It could not.
    NotTested(NotTestable),
}

/// What a window says of one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnVerdict {
    /// The column.
    pub name: Arc<str>,
    /// What it is to the model.
    pub role: Role,
    /// How it is counted.
    pub kind: ColumnKind,
    /// Whether this column is among those that moved: the window alarms, the column's effect reaches its
    /// floor, and Benjamini–Hochberg at a false-discovery rate of 0.1 keeps it.
    pub alarm: bool,
    /// p-value corrected for the number of tests on this column; `None` when none could be made.
    pub p_value: Option<f64>,
    /// The test that speaks loudest.
    pub test: Option<String>,
    /// Its statistic.
    pub statistic: Option<f64>,
    /// Its effect.
    pub effect: Option<f64>,
    /// What the effect is measured in.
    pub effect_unit: Option<EffectUnit>,
    /// How much this column moved, on one scale for ranking: 0 (not at all) to 1.
    pub moved: f64,
    /// The difference in words: "31 % of rows above 41,200, 4 % in training".
    pub summary: Option<String>,
    /// Training values.
    pub reference_n: u64,
    /// Window values.
    pub current_n: u64,
    /// Every test.
    pub tests: Vec<TestResult>,
}

/// What a closed window means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The model.
    pub model: String,
    /// The model's version, if events carry one.
    pub version: Option<String>,
    /// The segment; `None` for all rows together.
    pub segment: Option<String>,
    /// Start of the window, inclusive.
    pub window_start: Timestamp,
    /// End of the window, exclusive.
    pub window_end: Timestamp,
    /// Rows compared.
    pub n: u64,
    /// Whether the window alarms.
    pub alarm: bool,
    /// Whether it is quiet enough to count towards resolving an incident. Between the two is neither.
    pub quiet: bool,
    /// Whether the false-alarm promise rests on reference windows.
    pub calibrated: bool,
    /// Why not, and what would change it.
    pub calibration_note: Option<String>,
    /// The window's corrected p-value; `None` when nothing could be tested.
    pub p_value: Option<f64>,
    /// What it is compared with: the window's share of the budget.
    pub alpha: f64,
    /// The columns, the one that moved most first.
    pub features: Vec<ColumnVerdict>,
}

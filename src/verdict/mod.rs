//! Verdicts: what a window's scores mean within the false-alarm budget.
//!
//! Place in the flow: after [`drift`](crate::drift) has scored every column of a closed window, before
//! [`incident`](crate::incident) decides what to do. Pure.
//!
//! A p-value for independent rows does not say how rare a window is: production rows come in days, and a day
//! effect of a twentieth of a standard deviation makes it alarm hundreds of times a month. The null that
//! matters is "windows like the reference windows". So a window is *ranked* among reference windows
//! (`calibration.rs` has the rule): training rows cut by their timestamps (`training.rs`), each window set
//! against the others, within its season (`season.rs`); or the first weeks in production; or a replay's. Where
//! there are too few of them, rows are taken as independent, effects must reach a floor, and the verdict says
//! `calibrated: false` and why.
//!
//! Invariant: on average at most the budget of false alarms is raised for a model, over all columns, segments,
//! tests and window lengths together, however often one looks, provided that windows without drift are
//! exchangeable with the reference windows. It is an average: with one a month, a given month has none with
//! probability about 1/e. `ledger.rs` keeps account, and checks that proviso on every quiet window.
//!
//! The files: `evidence.rs` is the unit that tests are compared in; `season.rs`, `training.rs` and
//! `calibration.rs` make reference windows mean something, `calibrations.rs` holds them by length; `budget.rs`
//! shares the budget out; `decide.rs` decides; `ledger.rs` accounts. To rank by another statistic, change
//! `Calibration::ratios` and nothing else.
#![doc = include_str!("figures.md")]
#![doc = include_str!("streams.md")]

pub mod blind_spots;
mod budget;
mod calibration;
mod calibrations;
mod collected;
mod decide;
mod evidence;
mod ledger;
pub mod online_fdr;
mod season;
mod training;

pub use budget::{alpha_per_block, alpha_per_window, clear_level};
pub use calibration::{BLOCKS_MIN, Calibration, Source, Standing, block_of, blocks_needed};
pub use calibrations::Calibrations;
pub use collected::{ByLength, COLLECTED_MAX, Collected, CollectedError};
pub use decide::{Decided, Measure, UNCALIBRATED, WindowSample, decide, decide_by};
pub use evidence::{CellEvidence, Evidence, ReferenceWindow, alarming, width};
pub use ledger::{AUDIT_LEVEL, AUDIT_RANK, Account, Audit, Entry, Ledger, Lowest};
pub use online_fdr::OnlineFdr;
pub use season::{Season, SeasonSetting, Seasonal};

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
    /// Whether hours or weekdays are compared with their own kind.
    #[serde(default)]
    pub season: SeasonSetting,
    /// So long from a version's first window its windows are taken to be healthy, and become the reference
    /// windows if the training rows have no time.
    #[serde(default)]
    pub learn: Option<Span>,
    /// Alarms by an online false-discovery-rate procedure in place of the budget.
    #[serde(default)]
    pub online_fdr: Option<OnlineFdr>,
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
            season: SeasonSetting::Auto,
            learn: None,
            online_fdr: None,
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
    /// The largest evidence of its tests, divided by what is usual in the reference windows; `None` without.
    #[serde(default)]
    pub ratio: Option<f64>,
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

/// A window among reference windows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    /// The largest evidence of any test, divided by what is usual for it.
    pub statistic: f64,
    /// The p-value of its rank.
    pub p_value: f64,
    /// The share of the budget that it is held against.
    pub alpha: f64,
    /// The reference windows, and what an alarm must be above.
    pub standing: Standing,
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
    /// The window's p-value; `None` when nothing could be tested. By rank among the reference windows if
    /// `calibrated`, else corrected for the number of columns and tests.
    pub p_value: Option<f64>,
    /// What it is compared with: the window's share of the budget.
    pub alpha: f64,
    /// Where it stands among reference windows, if there are any.
    #[serde(default)]
    pub ranked: Option<Ranked>,
    /// The columns, the one that moved most first.
    pub features: Vec<ColumnVerdict>,
}

//! What the watch over mistakes found, in figures and in words.

use std::sync::Arc;

use crate::event::Timestamp;
use crate::quality::finding::{clock, grouped, percent};

/// What the mistakes of a model are called where columns are listed; of one class `(errors of class NAME)`.
pub const ERRORS: &str = "(errors)";

/// A stream whose rate of mistakes is over what is expected.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The version of the model.
    pub version: Option<String>,
    /// Id of the version's baseline, in hex.
    pub baseline: String,
    /// The class that came true, by name; `None` where truths are numbers.
    pub class: Option<String>,
    /// Numbers: errors beyond this are mistakes, in the unit of the predictions.
    pub usual_error: Option<f64>,
    /// Start of the first tick of the evidence.
    pub since: Timestamp,
    /// Labels since then.
    pub labels: u64,
    /// Mistakes among them.
    pub mistakes: u64,
    /// The highest rate that is expected, 0 to 1.
    pub expected: f64,
    /// The rate of the training rows, 0 to 1.
    pub training_rate: f64,
    /// Training rows that it was counted from.
    pub training_labels: u64,
    /// What the bets are worth, in units of a fresh one.
    pub worth: f64,
    /// Whether what is expected rests on stretches of the training data.
    pub is_calibrated: bool,
}

impl Finding {
    /// What it is called where columns are listed.
    pub fn name(&self) -> Arc<str> {
        match &self.class {
            Some(class) => format!("(errors of class {class})").into(),
            None => ERRORS.into(),
        }
    }

    /// The rate since the evidence began, 0 to 1.
    pub fn rate(&self) -> f64 {
        self.mistakes as f64 / self.labels.max(1) as f64
    }

    /// How far the rate is above the expected one, 0 to 1.
    pub fn excess(&self) -> f64 {
        (self.rate() - self.expected).max(0.0)
    }

    /// `wrong in 34 % of 1,203 labels of class 1 since 14:03 UTC, at most 12 % expected`.
    pub fn words(&self) -> String {
        let what = match self.usual_error {
            Some(error) => format!("off by more than {error:.3e} in"),
            None => "wrong in".to_owned(),
        };
        let of = self.class.as_ref().map(|class| format!(" of class {class}")).unwrap_or_default();
        format!(
            "{what} {} of {} labels{of} since {} UTC, at most {} expected",
            percent(self.rate()),
            grouped(self.labels),
            clock(self.since),
            percent(self.expected),
        )
    }
}

//! Outcomes: what a model said of its cases, what came true, and the counts of both, which merge exactly.
//!
//! Place in the flow: workers take a [`Predicted`] or a [`Truth`] out of an event; each prediction counts
//! once when it comes, and once more when its truth is known, both in the pane of the *prediction's* time.
//! [`performance`](crate::performance) makes metrics, estimates and money of the counts. Pure.
//!
//! Invariant: `merge` is commutative and associative with the empty summary as its identity, and what was
//! added can be taken away, exactly, bit for bit: a label that is corrected leaves no trace. Sums are kept in
//! fixed point for that reason ([`Sum`]).
//!
//! An [`OutcomeSummary`] is three flat vectors, a table of delays and, for orders, the rows of queries; what
//! stands where is known to its [`OutcomeShape`] alone. A shape belongs to a baseline, as a grid does.
//!
//! To add a task: a variant of [`Task`] and [`OutcomeShape`], a file with its layout, and its metrics in
//! `performance`.

mod binary;
mod codec;
mod multiclass;
mod queries;
mod regression;
mod sum;

pub use binary::{BinaryShape, CALIBRATION_BINS, ScoreSum};
pub use multiclass::{MulticlassShape, SCORE_BINS};
pub use queries::{QUERIES_MAX, Queries, ROWS_PER_QUERY_MAX, RankedRow};
pub use regression::{ErrorSum, RegressionShape};
pub use sum::{AmountSum, Sum};

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Counts, ShapeMismatch};

/// Most classes that are told apart.
pub const CLASSES_MAX: usize = 50;

/// Groups of neighbouring scores or predictions by which delays and losses are also counted.
pub const STRATA: usize = 10;

/// What a model predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// One of two classes.
    Binary,
    /// One of several classes.
    Multiclass,
    /// A number.
    Regression,
    /// An order of the rows of a query.
    Ranking,
}

impl Task {
    /// Every task.
    pub const ALL: [Self; 4] = [Self::Binary, Self::Multiclass, Self::Regression, Self::Ranking];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Multiclass => "multiclass",
            Self::Regression => "regression",
            Self::Ranking => "ranking",
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What a model said of one case, reduced to what its performance is measured from.
///
/// What `values` holds follows from the task: for two classes the score, for several one score a class (or
/// none), for a number the prediction, for an order the score of the row.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicted {
    /// The numbers it gave, all finite.
    pub values: Box<[f64]>,
    /// The class it decided for, as an index of the task's classes; for two classes 0 or 1.
    pub class: Option<u16>,
    /// What the case is worth, in the currency of the operator.
    pub amount: Option<f64>,
    /// The query that the row belongs to, as a hash; only where rows are ordered.
    pub query: Option<u64>,
}

/// What came true of one case.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Truth {
    /// A class, as an index of the task's classes; for two classes 0 or 1.
    Class(u16),
    /// A number, finite; the relevance of a row where rows are ordered.
    Number(f64),
}

/// What outcomes are counted on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeShape {
    /// Two classes, by score.
    Binary(BinaryShape),
    /// Several classes.
    Multiclass(MulticlassShape),
    /// A number.
    Regression(RegressionShape),
    /// The rows of queries.
    Ranking,
}

/// A prediction or a truth does not fit the task: a class that there is not, a number where a class is asked
/// for, or a number that is not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("does not fit the model's task")]
pub struct Unfit;

/// The counts of one model, version and segment over a stretch of the predictions' time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OutcomeSummary {
    /// Predictions, with and without a label.
    pub predictions: u64,
    /// Predictions whose truth is known.
    pub labels: u64,
    /// Counts of predictions, laid out by the shape.
    pub predicted: Counts,
    /// Counts of outcomes, laid out by the shape.
    pub outcomes: Counts,
    /// Fixed-point sums, laid out by the shape.
    pub sums: Vec<i128>,
    /// Labels by stratum, outcome and bucket of the delay from prediction to label.
    pub delays: BTreeMap<DelayCell, u64>,
    /// The rows of queries, where rows are ordered.
    pub queries: Queries,
}

/// Where a label is counted by its delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DelayCell {
    /// The stratum of the prediction.
    pub stratum: u16,
    /// The class that came true; 0 where truths are numbers.
    pub outcome: u16,
    /// The bucket of the delay.
    pub bucket: u8,
}

/// Adds a case, or takes it away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Add,
    TakeAway,
}

impl OutcomeShape {
    /// The task.
    pub fn task(&self) -> Task {
        match self {
            Self::Binary(_) => Task::Binary,
            Self::Multiclass(_) => Task::Multiclass,
            Self::Regression(_) => Task::Regression,
            Self::Ranking => Task::Ranking,
        }
    }

    /// A summary of nothing.
    pub fn empty(&self) -> OutcomeSummary {
        let (predicted, outcomes, sums) = match self {
            Self::Binary(shape) => shape.lengths(),
            Self::Multiclass(shape) => shape.lengths(),
            Self::Regression(shape) => shape.lengths(),
            Self::Ranking => (1, 1, 0),
        };
        OutcomeSummary {
            predicted: Counts::zeros(predicted),
            outcomes: Counts::zeros(outcomes),
            sums: vec![0; sums],
            ..OutcomeSummary::default()
        }
    }

    /// Number of strata.
    pub fn strata(&self) -> usize {
        match self {
            Self::Binary(_) | Self::Regression(_) => STRATA,
            Self::Multiclass(shape) => shape.classes.len(),
            Self::Ranking => 1,
        }
    }

    /// Number of classes that may come true; 1 where truths are numbers.
    pub fn outcomes(&self) -> usize {
        match self {
            Self::Binary(_) => 2,
            Self::Multiclass(shape) => shape.classes.len(),
            Self::Regression(_) | Self::Ranking => 1,
        }
    }

    /// The stratum of a prediction.
    ///
    /// # Errors
    /// [`Unfit`] when the prediction is not of this task.
    pub fn stratum(&self, predicted: &Predicted) -> Result<usize, Unfit> {
        match self {
            Self::Binary(shape) => shape.case(predicted).map(|case| shape.stratum_of(case.bin)),
            Self::Multiclass(shape) => shape.decision(predicted),
            Self::Regression(shape) => regression::number(predicted).map(|value| shape.stratum_of(value)),
            Self::Ranking => regression::number(predicted).map(|_| 0),
        }
    }

    /// The class that was decided for; `None` where there are no classes.
    ///
    /// # Errors
    /// [`Unfit`] when the prediction is not of this task.
    pub fn decision(&self, predicted: &Predicted) -> Result<Option<usize>, Unfit> {
        match self {
            Self::Binary(shape) => shape.decision(predicted).map(Some),
            Self::Multiclass(shape) => shape.decision(predicted).map(Some),
            Self::Regression(_) | Self::Ranking => Ok(None),
        }
    }

    /// Predictions of each stratum, whether their truth is known or not.
    pub fn predicted_by_stratum(&self, summary: &OutcomeSummary) -> Vec<u64> {
        match self {
            Self::Binary(shape) => {
                let mut strata = vec![0; STRATA];
                for bin in 0..shape.bins() {
                    let predictions =
                        [0, 1].map(|decision| summary.predicted.get(shape.predicted_at(bin, decision)));
                    if let Some(stratum) = strata.get_mut(shape.stratum_of(bin)) {
                        *stratum += predictions.iter().sum::<u64>();
                    }
                }
                strata
            }
            Self::Multiclass(_) | Self::Regression(_) | Self::Ranking => summary.predicted.iter().collect(),
        }
    }

    /// Whether a prediction and, if it is given, a truth can be counted.
    ///
    /// # Errors
    /// [`Unfit`] when not.
    pub fn check(&self, predicted: &Predicted, truth: Option<Truth>) -> Result<(), Unfit> {
        self.stratum(predicted)?;
        truth.map_or(Ok(()), |truth| self.outcome(truth).map(|_| ()))
    }

    /// The class that a truth stands for; 0 where truths are numbers.
    fn outcome(&self, truth: Truth) -> Result<usize, Unfit> {
        match (self, truth) {
            (Self::Binary(_) | Self::Multiclass(_), Truth::Class(class)) => {
                Some(usize::from(class)).filter(|class| *class < self.outcomes()).ok_or(Unfit)
            }
            (Self::Regression(_), Truth::Number(number)) if number.is_finite() => Ok(0),
            (Self::Ranking, Truth::Number(number)) if number.is_finite() && number >= 0.0 => Ok(0),
            _ => Err(Unfit),
        }
    }

    /// Counts a prediction.
    ///
    /// # Errors
    /// [`Unfit`] when it is not of this task; nothing is counted then.
    pub fn predict(&self, summary: &mut OutcomeSummary, predicted: &Predicted) -> Result<(), Unfit> {
        match self {
            Self::Binary(shape) => shape.predict(summary, predicted)?,
            Self::Multiclass(shape) => shape.predict(summary, predicted)?,
            Self::Regression(shape) => shape.predict(summary, predicted)?,
            Self::Ranking => {
                regression::number(predicted)?;
                summary.predicted.add(0, 1);
            }
        }
        summary.predictions = summary.predictions.saturating_add(1);
        Ok(())
    }

    /// Counts the truth of a prediction that was counted before; `bucket` is that of its delay.
    ///
    /// # Errors
    /// [`Unfit`] when prediction or truth are not of this task; nothing is counted then.
    pub fn add(
        &self,
        summary: &mut OutcomeSummary,
        predicted: &Predicted,
        truth: Truth,
        bucket: u8,
    ) -> Result<(), Unfit> {
        self.count(summary, predicted, truth, bucket, Sign::Add)
    }

    /// Takes away a truth that was counted: what is left is as if it had never been.
    ///
    /// # Errors
    /// [`Unfit`] when prediction or truth are not of this task; nothing is changed then.
    pub fn take_away(
        &self,
        summary: &mut OutcomeSummary,
        predicted: &Predicted,
        truth: Truth,
        bucket: u8,
    ) -> Result<(), Unfit> {
        self.count(summary, predicted, truth, bucket, Sign::TakeAway)
    }

    fn count(
        &self,
        summary: &mut OutcomeSummary,
        predicted: &Predicted,
        truth: Truth,
        bucket: u8,
        sign: Sign,
    ) -> Result<(), Unfit> {
        let (stratum, outcome) = (self.stratum(predicted)?, self.outcome(truth)?);
        match self {
            Self::Binary(shape) => shape.count(summary, &shape.case(predicted)?, outcome, sign),
            Self::Multiclass(shape) => shape.count(summary, predicted, stratum, outcome, sign),
            Self::Regression(shape) => {
                shape.count(summary, regression::number(predicted)?, number(truth)?, sign);
            }
            Self::Ranking => {
                let row = RankedRow { score: regression::number(predicted)?, relevance: number(truth)? };
                sign.count(&mut summary.outcomes, 0);
                match sign {
                    Sign::Add => summary.queries.add(predicted.query.unwrap_or(0), row),
                    Sign::TakeAway => summary.queries.take_away(predicted.query.unwrap_or(0), row),
                }
            }
        }
        let cell = DelayCell { stratum: small(stratum), outcome: small(outcome), bucket };
        match sign {
            Sign::Add => {
                summary.labels = summary.labels.saturating_add(1);
                *summary.delays.entry(cell).or_default() += 1;
            }
            Sign::TakeAway => {
                summary.labels = summary.labels.saturating_sub(1);
                if let Some(count) = summary.delays.get_mut(&cell) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        summary.delays.remove(&cell);
                    }
                }
            }
        }
        Ok(())
    }
}

fn number(truth: Truth) -> Result<f64, Unfit> {
    match truth {
        Truth::Number(number) => Ok(number),
        Truth::Class(_) => Err(Unfit),
    }
}

/// Strata and classes number at most [`CLASSES_MAX`].
fn small(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX)
}

impl Sign {
    fn count(self, counts: &mut Counts, index: usize) {
        match self {
            Self::Add => counts.add(index, 1),
            Self::TakeAway => counts.sub(index, 1),
        }
    }

    fn sum(self, sums: &mut [i128], index: usize, by: i128) {
        if let Some(sum) = sums.get_mut(index) {
            *sum = match self {
                Self::Add => sum.saturating_add(by),
                Self::TakeAway => sum.saturating_sub(by),
            };
        }
    }
}

impl OutcomeSummary {
    /// Adds another summary of the same shape.
    ///
    /// # Errors
    /// [`ShapeMismatch`] when the shapes differ; `self` is then unchanged.
    pub fn merge(&mut self, other: &Self) -> Result<(), ShapeMismatch> {
        let lengths = |summary: &Self| (summary.predicted.len(), summary.outcomes.len(), summary.sums.len());
        if lengths(self) != lengths(other) {
            return Err(ShapeMismatch);
        }
        self.predictions = self.predictions.saturating_add(other.predictions);
        self.labels = self.labels.saturating_add(other.labels);
        self.predicted.merge(&other.predicted);
        self.outcomes.merge(&other.outcomes);
        for (mine, theirs) in self.sums.iter_mut().zip(&other.sums) {
            *mine = mine.saturating_add(*theirs);
        }
        for (cell, count) in &other.delays {
            *self.delays.entry(*cell).or_default() += count;
        }
        self.queries.merge(&other.queries);
        Ok(())
    }

    /// Takes a part away that was merged before; queries and delays stay as they are.
    ///
    /// # Errors
    /// [`ShapeMismatch`] when the shapes differ; `self` is then unchanged.
    pub fn subtract(&mut self, part: &Self) -> Result<(), ShapeMismatch> {
        let lengths = |summary: &Self| (summary.predicted.len(), summary.outcomes.len(), summary.sums.len());
        if lengths(self) != lengths(part) {
            return Err(ShapeMismatch);
        }
        self.predictions = self.predictions.saturating_sub(part.predictions);
        self.labels = self.labels.saturating_sub(part.labels);
        self.predicted.take_away(&part.predicted);
        self.outcomes.take_away(&part.outcomes);
        for (mine, theirs) in self.sums.iter_mut().zip(&part.sums) {
            *mine = mine.saturating_sub(*theirs);
        }
        Ok(())
    }

    /// The share of the predictions whose truth is known, 0 to 1; `None` without predictions.
    pub fn coverage(&self) -> Option<f64> {
        (self.predictions > 0).then(|| (self.labels as f64 / self.predictions as f64).min(1.0))
    }
}

#[cfg(test)]
mod tests;

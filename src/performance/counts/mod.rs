//! The metrics of a window, from the counts of its panes.
//!
//! Place in the flow: a pane's [`OutcomeSummary`] holds how often each score bin, decision and truth came
//! together, and sums of losses. [`Outcomes`] adds the panes of a window up, and [`measure`] reduces it to the
//! same [`Rows`] that are made of single rows, so that each metric has one formula and one row in
//! [`METRICS`](super::METRICS). What counting loses is the order of the scores within a bin: the area, average
//! precision and the median error say how far they may be off ([`MetricValue::bound`](super::MetricValue)).
//!
//! Labels that come late are missing more often in some strata, or of one class, and then the rows that have
//! one stand for those that do not yet: each pane is added with a weight by stratum and class, 1/π where π is
//! the share of such labels that is known by now. Values are then those of the weighted rows, and intervals
//! are as wide as the weights make them, π being taken as known. A metric of counts that do not know their
//! stratum and class (ECE, Spiegelhalter's Z, the areas of several classes, the metrics of orders) says that
//! it waits for the labels.
//!
//! Invariant: panes give the same metrics whichever way they are cut, but for rounding.
//!
//! To add a metric: see [`performance`](super). To add a task: a file here that reduces its counts.

mod binary;
mod multiclass;
mod ranking;
mod regression;
mod shortfall;
mod strata;

pub use binary::{class_counts, prediction_cells};
pub use shortfall::{Shortfall, shortfall};
pub use strata::{Loss, StratumCounts, loss, strata};

use super::weighed::Weighed;
use super::{Measured, NotComputable, Rows, evaluate};
use crate::summary::outcome::{ErrorSum, OutcomeShape, OutcomeSummary, Queries, STRATA, ScoreSum, Sum, Task};

/// First rows of a ranking that are looked at.
pub const CUTOFFS: [usize; 3] = [1, 5, 10];

/// The outcomes of a window: its panes added up, each with the weights of its labels.
#[derive(Debug, Clone)]
pub struct Outcomes {
    shape: OutcomeShape,
    groups: Groups,
    predictions: u64,
    labels: u64,
    /// As the summary's outcomes.
    counts: Vec<Weighed>,
    /// As the summary's sums.
    sums: Vec<Weighed>,
    /// The rows of queries; empty for the other tasks.
    ranked: OutcomeSummary,
    weighted: bool,
}

/// The stratum and class, as `stratum·classes + class`, that each count and each sum is of; none for those
/// that hold rows of several.
#[derive(Debug, Clone)]
struct Groups {
    counts: Vec<Option<usize>>,
    sums: Vec<Option<usize>>,
    /// How many of the first counts hold each row once.
    rows: usize,
}

impl Groups {
    fn new(shape: &OutcomeShape) -> Self {
        let empty = shape.empty();
        let (counts, sums) = (vec![None; empty.outcomes.len()], vec![None; empty.sums.len()]);
        let mut groups = Self { counts, sums, rows: 1 };
        match shape {
            OutcomeShape::Binary(shape) => {
                groups.rows = shape.outcome_at(shape.bins(), 0, 0);
                for (bin, truth) in pairs(shape.bins(), 2) {
                    let group = 2 * shape.stratum_of(bin) + truth;
                    for decision in [0, 1] {
                        groups.count(shape.outcome_at(bin, decision, truth), group);
                    }
                }
                for (stratum, truth) in pairs(STRATA, 2) {
                    let at = |sum| shape.sum_at(stratum, truth, sum);
                    groups.sums(
                        at(ScoreSum::LogLoss)..at(ScoreSum::SpiegelhalterVariance) + 1,
                        2 * stratum + truth,
                    );
                }
            }
            OutcomeShape::Multiclass(shape) => {
                let classes = shape.classes.len();
                groups.rows = classes * classes;
                for (decision, truth) in pairs(classes, classes) {
                    let group = decision * classes + truth;
                    groups.count(shape.confusion_at(truth, decision), group);
                    let at = shape.log_loss_at(decision, truth);
                    groups.sums(at..at + 2, group);
                }
            }
            OutcomeShape::Regression(shape) => {
                groups.rows = STRATA;
                for stratum in 0..STRATA {
                    groups.count(shape.outcome_at(stratum), stratum);
                    groups.count(shape.not_zero_at(stratum), stratum);
                    for bin in 0..regression::bins() {
                        groups.count(shape.error_at(stratum, bin), stratum);
                    }
                    let at = |sum| shape.sum_at(stratum, sum);
                    groups.sums(at(ErrorSum::Error)..at(ErrorSum::UnderSquared) + 1, stratum);
                }
            }
            OutcomeShape::Ranking => groups.count(0, 0),
        }
        groups
    }

    fn count(&mut self, at: usize, group: usize) {
        if let Some(slot) = self.counts.get_mut(at) {
            *slot = Some(group);
        }
    }

    fn sums(&mut self, at: std::ops::Range<usize>, group: usize) {
        for slot in self.sums.get_mut(at).unwrap_or_default() {
            *slot = Some(group);
        }
    }
}

fn pairs(first: usize, second: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..first).flat_map(move |a| (0..second).map(move |b| (a, b)))
}

impl Outcomes {
    /// Of no panes.
    pub fn new(shape: &OutcomeShape) -> Self {
        let groups = Groups::new(shape);
        Self {
            shape: shape.clone(),
            predictions: 0,
            labels: 0,
            counts: vec![Weighed::default(); groups.counts.len()],
            sums: vec![Weighed::default(); groups.sums.len()],
            ranked: OutcomeShape::Ranking.empty(),
            weighted: false,
            groups,
        }
    }

    /// Of one summary, every label with the weight 1.
    pub fn of(shape: &OutcomeShape, summary: &OutcomeSummary) -> Self {
        let mut outcomes = Self::new(shape);
        outcomes.add(summary, &|_, _| 1.0);
        outcomes
    }

    /// Adds a pane of this shape: `weight` gives the weight of the labels of a stratum and a class (0 where
    /// truths are numbers), which is 1 where all labels have come. A weight that is no finite number of at
    /// least 0 counts as 0.
    pub fn add(&mut self, summary: &OutcomeSummary, weight: &dyn Fn(usize, usize) -> f64) {
        let weights: Vec<f64> = pairs(self.shape.strata(), self.shape.outcomes())
            .map(|(stratum, class)| weight(stratum, class))
            .map(|weight| if weight.is_finite() && weight > 0.0 { weight } else { 0.0 })
            .collect();
        let of = |group: &Option<usize>| group.and_then(|group| weights.get(group)).copied().unwrap_or(1.0);
        self.predictions = self.predictions.saturating_add(summary.predictions);
        self.labels = self.labels.saturating_add(summary.labels);
        let cells = self.counts.iter_mut().zip(&self.groups.counts);
        for ((cell, group), count) in cells.zip(summary.outcomes.iter()).filter(|(_, count)| *count > 0) {
            let weight = of(group);
            *cell += Weighed::of(count as f64, weight);
            self.weighted |= weight != 1.0;
        }
        // Sums of amounts have another unit and belong to no group; nothing here reads them.
        let cells = self.sums.iter_mut().zip(&self.groups.sums);
        for ((cell, group), sum) in cells.zip(&summary.sums).filter(|(_, sum)| **sum != 0) {
            *cell += Weighed::of(Sum::decode(*sum), of(group));
        }
        if self.shape.task() == Task::Ranking {
            // One shape has one layout, so this cannot fail; a summary of another shape adds nothing.
            let _ = self.ranked.merge(summary);
        }
    }

    /// What they are counted on.
    pub fn shape(&self) -> &OutcomeShape {
        &self.shape
    }

    /// Predictions, with and without a label.
    pub fn predictions(&self) -> u64 {
        self.predictions
    }

    /// Predictions whose truth is known.
    pub fn labels(&self) -> u64 {
        self.labels
    }

    /// The share of the predictions whose truth is known, 0 to 1; `None` without predictions.
    pub fn coverage(&self) -> Option<f64> {
        (self.predictions > 0).then(|| (self.labels as f64 / self.predictions as f64).min(1.0))
    }

    /// Effective sample size, (Σ w)²/Σ w²: how many labels of one weight know as much as these do.
    pub fn effective(&self) -> f64 {
        self.rows().effective()
    }

    /// Whether a label has another weight than 1: values are provisional then.
    pub fn is_weighted(&self) -> bool {
        self.weighted
    }

    fn rows(&self) -> Weighed {
        self.counts.iter().take(self.groups.rows).copied().sum()
    }

    /// Labels that metrics can use: none when they all weigh nothing.
    fn usable(&self) -> u64 {
        if self.rows().once > 0.0 { self.labels } else { 0 }
    }

    fn count(&self, at: usize) -> Weighed {
        self.counts.get(at).copied().unwrap_or_default()
    }

    fn sum(&self, at: usize) -> Weighed {
        self.sums.get(at).copied().unwrap_or_default()
    }

    fn queries(&self) -> &Queries {
        &self.ranked.queries
    }

    fn reduce(&self) -> Rows {
        match &self.shape {
            OutcomeShape::Binary(shape) => Rows::Binary(binary::reduce(self, shape)),
            OutcomeShape::Multiclass(shape) => Rows::Multiclass(multiclass::reduce(self, shape)),
            OutcomeShape::Regression(shape) => Rows::Regression(regression::reduce(self, shape)),
            OutcomeShape::Ranking => Rows::Ranking(ranking::reduce(self.queries())),
        }
    }
}

/// Every metric of the outcomes' task, in the order of [`METRICS`](super::METRICS).
pub fn measure(outcomes: &Outcomes) -> Vec<Measured> {
    let measured = evaluate(&outcomes.reduce());
    match outcomes.shape {
        OutcomeShape::Ranking => {
            measured.into_iter().map(|measured| ranking::noted(measured, outcomes)).collect()
        }
        _ => measured,
    }
}

/// One of them by its name, with its cutoff; `None` for a name that the task does not have.
pub fn measure_one(outcomes: &Outcomes, metric: &str) -> Option<Measured> {
    measure(outcomes).into_iter().find(|measured| measured.metric == metric)
}

/// The metric that stands for all of a task where only one is shown.
pub fn headline(task: Task) -> &'static str {
    match task {
        Task::Binary => "roc_auc",
        Task::Multiclass => "f1_macro",
        Task::Regression => "mae",
        Task::Ranking => "ndcg@10",
    }
}

/// The same of a shape: without scores two classes have no order, and it is the F1.
pub fn headline_of(shape: &OutcomeShape) -> &'static str {
    match shape {
        OutcomeShape::Binary(binary) if !binary.scored => "f1",
        _ => headline(shape.task()),
    }
}

/// Why a metric waits.
fn provisional() -> NotComputable {
    NotComputable::not_applicable("not computed from weighted labels; it waits until all labels have come")
}

//! How well a model predicts: metrics with 95 % intervals, computed exactly from rows that hold both what
//! was predicted and what came true.
//!
//! Place in the flow: `driftline evaluate` reads a file into [`Rows`] and shows what [`evaluate`] gives.
//! Beside them stands what is made of counts and sums that merge: [`delay`] corrects numbers for labels that
//! have not come, [`value`] says what decay costs, [`split`] whether the data or the world changed, and
//! [`diagnosis`] what is behind an incident.
//! Pure. Rows are taken to be independent of one another, except for ranking, where queries are.
//!
//! Invariant: a metric gives finite numbers or says why it cannot ([`NotComputable`]); never NaN, never a
//! panic, whatever the rows. The same rows give the same numbers, to the last bit.
//!
//! To add a metric: a function in the file of its family, one line in [`METRICS`], and its values in
//! `tests/golden/`.

mod binary;
mod confusion;
pub mod estimate;
pub mod delay;
pub mod diagnosis;
mod interval;
pub mod join;
mod mean;
mod multiclass;
#[cfg(test)]
mod random;
mod ranking;
mod reading;
mod regression;
mod settings;
pub mod split;
pub mod value;

pub use binary::{Binary, BinaryRow};
pub use diagnosis::{Diagnosis, DiagnosisKind};
pub use interval::Interval;
pub use mean::{Mean, mean_cost};
pub use multiclass::{CLASSES_MAX, Multiclass};
pub use ranking::{RankedRow, Ranking};
pub use reading::{
    Estimation, Maturity, MetricReading, MoneyReading, PriorReading, Ranged, Reading, SplitReading,
};
pub use regression::{Regression, RegressionRow};
pub use settings::{Bound, CUTOFF_MAX, Limit, Settings, UnknownMetric, Value, metric_of};

use std::fmt;

use self::confusion::Averaging;
pub use crate::summary::outcome::Task;

/// Rows with predictions and what came true.
#[derive(Debug, Clone)]
pub enum Rows {
    /// Of a model that chooses one of two classes.
    Binary(Binary),
    /// Of a model that chooses one of several classes.
    Multiclass(Multiclass),
    /// Of a model that predicts a number.
    Regression(Regression),
    /// Of a model that orders the rows of queries.
    Ranking(Ranking),
}

impl Rows {
    /// The task they belong to.
    pub fn task(&self) -> Task {
        match self {
            Self::Binary(_) => Task::Binary,
            Self::Multiclass(_) => Task::Multiclass,
            Self::Regression(_) => Task::Regression,
            Self::Ranking(_) => Task::Ranking,
        }
    }

    /// What a metric is computed from: rows, or for ranking queries.
    pub fn n(&self) -> u64 {
        match self {
            Self::Binary(rows) => rows.n(),
            Self::Multiclass(rows) => rows.n(),
            Self::Regression(rows) => rows.n(),
            Self::Ranking(rows) => rows.n(),
        }
    }
}

/// Why rows are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RowsError {
    /// A number is infinite or NaN.
    #[error("row {row} (from 0) holds a number that is not finite; leave it out")]
    NotFinite {
        /// Its place, from 0.
        row: usize,
    },
    /// A relevance is below 0.
    #[error("row {row} (from 0) has a negative relevance; relevances start at 0")]
    NegativeRelevance {
        /// Its place, from 0.
        row: usize,
    },
    /// A class has no place in the list of classes.
    #[error("row {row} (from 0) is of a class that is not among the {classes} given")]
    UnknownClass {
        /// Its place, from 0.
        row: usize,
        /// Classes given.
        classes: usize,
    },
    /// There are more classes than are compared.
    #[error("there are {classes} classes; at most {CLASSES_MAX} are compared")]
    TooManyClasses {
        /// Classes given.
        classes: usize,
    },
    /// The scores are not one a row and class.
    #[error("there are {scores} scores where {rows} rows of {classes} classes need one each")]
    Scores {
        /// Scores given.
        scores: usize,
        /// Rows given.
        rows: usize,
        /// Classes given.
        classes: usize,
    },
    /// A cutoff is 0.
    #[error("a cutoff is 0; the first row is at 1")]
    Cutoff,
}

/// What a metric gives.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricValue {
    /// The value; its range is that of the metric.
    pub value: f64,
    /// 95 % interval of the value; `detail` says why when there is none.
    pub interval: Option<Interval>,
    /// How far the value may be from that of the rows themselves: 0 where it is computed from them.
    pub bound: f64,
    /// What was noticed, for people.
    pub detail: Option<String>,
}

impl MetricValue {
    fn new(value: f64, interval: Option<Interval>) -> Self {
        let interval = interval.filter(|interval| interval.low.is_finite() && interval.high.is_finite());
        let detail = match interval {
            None => Some("no interval: too few rows, or all alike".to_owned()),
            Some(_) => None,
        };
        Self { value, interval, bound: 0.0, detail }
    }

    /// A share of `trials` with Wilson's interval.
    fn share(successes: u64, trials: u64) -> Self {
        Self::new(successes as f64 / trials.max(1) as f64, interval::wilson(successes, trials))
    }

    /// The mean of a loss a row, with the normal interval of a mean.
    fn mean(values: impl Iterator<Item = f64> + Clone, range: (f64, f64)) -> Self {
        let (mean, variance) = interval::mean(values);
        Self::new(mean, interval::normal(mean, variance, range))
    }

    /// The same value with a remark; one about a missing interval stays in front.
    fn with_detail(mut self, remark: String) -> Self {
        self.detail = Some(match self.detail {
            Some(detail) => format!("{detail}; {remark}"),
            None => remark,
        });
        self
    }
}

/// Why a metric gives no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotComputable {
    /// Too few rows.
    InsufficientData {
        /// Rows, or queries, there are.
        n: u64,
        /// How many it needs.
        needed: u64,
    },
    /// The rows do not hold what the metric is about.
    NotApplicable {
        /// Why, for people.
        reason: String,
    },
    /// The rows leave nothing to compare.
    Degenerate {
        /// Why, for people.
        reason: String,
    },
}

impl NotComputable {
    fn not_applicable(reason: impl Into<String>) -> Self {
        Self::NotApplicable { reason: reason.into() }
    }

    fn degenerate(reason: impl Into<String>) -> Self {
        Self::Degenerate { reason: reason.into() }
    }

    /// The stable name of the reason.
    pub fn status(&self) -> &'static str {
        match self {
            Self::InsufficientData { .. } => "insufficient_data",
            Self::NotApplicable { .. } => "not_applicable",
            Self::Degenerate { .. } => "degenerate",
        }
    }
}

impl fmt::Display for NotComputable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InsufficientData { n, needed } => {
                write!(formatter, "n is {n} and has to be at least {needed}")
            }
            Self::NotApplicable { reason } | Self::Degenerate { reason } => formatter.write_str(reason),
        }
    }
}

/// The number, or that it is none.
fn finite(number: f64) -> Result<f64, NotComputable> {
    match number.is_finite() {
        true => Ok(number),
        false => Err(NotComputable::degenerate("the numbers are too large to be added up")),
    }
}

/// How a metric is computed.
#[derive(Debug, Clone, Copy)]
pub enum Compute {
    /// From rows of two classes.
    Binary(fn(&Binary) -> Result<MetricValue, NotComputable>),
    /// From rows of several classes.
    Multiclass(fn(&Multiclass) -> Result<MetricValue, NotComputable>),
    /// From numbers.
    Regression(fn(&Regression) -> Result<MetricValue, NotComputable>),
    /// From the orders of queries.
    Ranking(fn(&Ranking) -> Result<MetricValue, NotComputable>),
    /// From the first k of the orders of queries, once for each cutoff.
    RankingAt(fn(&Ranking, usize) -> Result<MetricValue, NotComputable>),
}

impl Compute {
    /// The task it is for.
    pub fn task(self) -> Task {
        match self {
            Self::Binary(_) => Task::Binary,
            Self::Multiclass(_) => Task::Multiclass,
            Self::Regression(_) => Task::Regression,
            Self::Ranking(_) | Self::RankingAt(_) => Task::Ranking,
        }
    }
}

/// A metric: a row of [`METRICS`].
pub struct Metric {
    /// Stable name, unique within its task; `@k` stands for a cutoff.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// Computes it, and says for which task.
    pub compute: Compute,
}

/// Every metric, in the order they are shown.
pub static METRICS: &[Metric] = &[
    binary("roc_auc", "chance that a positive row has a higher score than a negative one", binary::roc_auc),
    binary("average_precision", "mean precision over the positive rows, by score", binary::average_precision),
    binary("log_loss", "mean −log of the score of what came true, capped at 1e-15", binary::log_loss),
    binary("brier", "mean squared difference of score and label", binary::brier),
    binary("accuracy", "share of rows predicted right", |rows| confusion::accuracy(&rows.table)),
    binary("balanced_accuracy", "mean of recall and specificity", |rows| {
        confusion::balanced_accuracy(&rows.table)
    }),
    binary("precision", "share of the predicted positive rows that are positive", binary::precision),
    binary("recall", "share of the positive rows that are predicted positive", binary::recall),
    binary("specificity", "share of the negative rows that are predicted negative", binary::specificity),
    binary("f1", "harmonic mean of precision and recall", |rows| binary::f_beta(rows, 1.0)),
    binary("f2", "F-measure in which recall weighs twice", |rows| binary::f_beta(rows, 2.0)),
    binary("f0.5", "F-measure in which precision weighs twice", |rows| binary::f_beta(rows, 0.5)),
    binary("mcc", "correlation of prediction and label (Matthews)", |rows| confusion::mcc(&rows.table)),
    binary("kappa", "agreement beyond chance (Cohen)", |rows| confusion::kappa(&rows.table)),
    binary("ece", "mean gap of score and label over ten bins of equal width", binary::ece),
    binary("spiegelhalter_z", "standard normal when the scores are calibrated", binary::spiegelhalter_z),
    multiclass("accuracy", "share of rows predicted right", |rows| confusion::accuracy(&rows.table)),
    multiclass("balanced_accuracy", "mean recall of the classes", |rows| {
        confusion::balanced_accuracy(&rows.table)
    }),
    multiclass("f1_macro", "mean F1 of the classes", |rows| {
        confusion::f1_averaged(&rows.table, Averaging::Macro)
    }),
    multiclass("f1_micro", "F1 of all decisions together, which is the accuracy", |rows| {
        confusion::accuracy(&rows.table)
    }),
    multiclass("f1_weighted", "mean F1 of the classes by their share of the labels", |rows| {
        confusion::f1_averaged(&rows.table, Averaging::Weighted)
    }),
    multiclass("mcc", "correlation of prediction and label (Gorodkin)", |rows| confusion::mcc(&rows.table)),
    multiclass("kappa", "agreement beyond chance (Cohen)", |rows| confusion::kappa(&rows.table)),
    multiclass("log_loss", "mean −log of the score of what came true, capped at 1e-15", multiclass::log_loss),
    multiclass("auc_ovr_macro", "mean ROC AUC of each class against the rest", multiclass::auc_ovr_macro),
    regression("mae", "mean absolute error", regression::mae),
    regression("mse", "mean squared error", regression::mse),
    regression("rmse", "root of the mean squared error", regression::rmse),
    regression("mape", "mean absolute error as a share of the truth", regression::mape),
    regression("wape", "sum of absolute errors over the sum of absolute truths", regression::wape),
    regression("smape", "mean of twice the absolute error over |truth| + |prediction|", regression::smape),
    regression("r2", "share of the truth's variance that is predicted", regression::r2),
    regression("bias", "mean of prediction − truth", regression::bias),
    regression("median_ae", "median absolute error", regression::median_ae),
    regression("pinball_0.1", "mean loss as a prediction of the 10 % quantile", |rows| {
        regression::pinball(rows, 0.1)
    }),
    regression("pinball_0.5", "mean loss as a prediction of the median", |rows| {
        regression::pinball(rows, 0.5)
    }),
    regression("pinball_0.9", "mean loss as a prediction of the 90 % quantile", |rows| {
        regression::pinball(rows, 0.9)
    }),
    at_cutoffs("ndcg@k", "gain of the first k rows as a share of the best possible", ranking::ndcg),
    at_cutoffs("map@k", "mean precision at the relevant rows among the first k", ranking::map),
    Metric {
        name: "mrr",
        about: "mean of 1 over the place of the first relevant row",
        compute: Compute::Ranking(ranking::mrr),
    },
    at_cutoffs("hit@k", "share of queries with a relevant row among the first k", ranking::hit),
];

const fn binary(
    name: &'static str,
    about: &'static str,
    compute: fn(&Binary) -> Result<MetricValue, NotComputable>,
) -> Metric {
    Metric { name, about, compute: Compute::Binary(compute) }
}

const fn multiclass(
    name: &'static str,
    about: &'static str,
    compute: fn(&Multiclass) -> Result<MetricValue, NotComputable>,
) -> Metric {
    Metric { name, about, compute: Compute::Multiclass(compute) }
}

const fn regression(
    name: &'static str,
    about: &'static str,
    compute: fn(&Regression) -> Result<MetricValue, NotComputable>,
) -> Metric {
    Metric { name, about, compute: Compute::Regression(compute) }
}

const fn at_cutoffs(
    name: &'static str,
    about: &'static str,
    compute: fn(&Ranking, usize) -> Result<MetricValue, NotComputable>,
) -> Metric {
    Metric { name, about, compute: Compute::RankingAt(compute) }
}

/// A metric of some rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The metric's name, with its cutoff.
    pub metric: String,
    /// One line about the metric.
    pub about: &'static str,
    /// Rows, or for ranking queries, that it was computed from.
    pub n: u64,
    /// Its value, or why there is none.
    pub outcome: Result<MetricValue, NotComputable>,
}

/// Every metric of the rows' task, in the order of [`METRICS`].
pub fn evaluate(rows: &Rows) -> Vec<Measured> {
    METRICS.iter().flat_map(|metric| metric.measure(rows)).collect()
}

impl Metric {
    /// The task it is for.
    pub fn task(&self) -> Task {
        self.compute.task()
    }

    /// The metric of these rows: nothing when they are of another task, and one for each cutoff.
    pub fn measure(&self, rows: &Rows) -> Vec<Measured> {
        let enough = || match rows.n() {
            0 => Err(NotComputable::InsufficientData { n: 0, needed: 1 }),
            _ => Ok(()),
        };
        let one = |outcome| vec![self.measured(self.name.to_owned(), rows.n(), outcome)];
        match (self.compute, rows) {
            (Compute::Binary(compute), Rows::Binary(of)) => one(enough().and_then(|()| compute(of))),
            (Compute::Multiclass(compute), Rows::Multiclass(of)) => one(enough().and_then(|()| compute(of))),
            (Compute::Regression(compute), Rows::Regression(of)) => one(enough().and_then(|()| compute(of))),
            (Compute::Ranking(compute), Rows::Ranking(of)) => one(enough().and_then(|()| compute(of))),
            (Compute::RankingAt(compute), Rows::Ranking(of)) => {
                let at = |cutoff: &usize| {
                    let name = self.name.replace("@k", &format!("@{cutoff}"));
                    self.measured(name, rows.n(), enough().and_then(|()| compute(of, *cutoff)))
                };
                of.cutoffs().iter().map(at).collect()
            }
            _ => Vec::new(),
        }
    }

    fn measured(&self, metric: String, n: u64, outcome: Result<MetricValue, NotComputable>) -> Measured {
        let finite = |value: MetricValue| {
            if value.value.is_finite() {
                return Ok(value);
            }
            Err(NotComputable::degenerate("the numbers are too large to be added up"))
        };
        Measured { metric, about: self.about, n, outcome: outcome.and_then(finite) }
    }
}

//! How well a model predicts: metrics with 95 % intervals, exactly from rows that hold both what was
//! predicted and what came true, or from counts of them, with a bound of what counting lost; and what follows
//! from them: what the decay costs, and what is behind it.
//!
//! Place in the flow: `driftline evaluate` reads a file into [`Rows`] and shows what [`evaluate`] gives. In the
//! service, [`join`] brings predictions and labels together, a window's panes are added up to
//! [`counts::Outcomes`], and [`counts::measure`] reduces these to the same [`Rows`]. Pure. Rows are taken to be
//! independent of one another, except for ranking, where queries are.
//!
//! The files, in the order of that way:
//!
//! - `settings.rs`: what the operator says; [`join`]: a label meets its prediction, exactly once;
//! - `binary.rs` (with `confusion.rs`), `multiclass.rs`, `regression.rs`, `ranking.rs`: the metrics of a task,
//!   from rows; [`counts`]: the same from counts, by weight (`weighed.rs`) where labels are still coming;
//!   `interval.rs` and `mean.rs`: how far a value or a mean may be off;
//! - [`delay`]: what labels that are there say of those that are late;
//! - [`estimate`]: how the model does without labels, and what that assumes;
//! - [`split`], [`value`], [`diagnosis`]: whether the data or the world changed, what it costs, and what it is;
//! - `reading.rs`: all that is known of a window at one moment, as it is stored and shown;
//! - `random.rs`: seeded numbers for resampling.
//!
//! Invariant: a metric gives finite numbers or says why it cannot ([`NotComputable`]); never NaN, never a
//! panic, whatever the rows. The same rows give the same numbers, to the last bit.
//!
//! To add a metric: a function in the file of its family, one line in [`METRICS`], and its values in
//! `tests/golden/`. What it needs of the rows is a field of its family's type, which is filled in twice: from
//! rows in that file, from counts in [`counts`]; what counts cannot give is there an `Err` that says why.

mod binary;
mod confusion;
pub mod estimate;
pub mod delay;
pub mod diagnosis;
pub mod counts;
mod interval;
pub mod join;
mod mean;
mod multiclass;
mod random;
mod ranking;
mod reading;
mod regression;
mod settings;
pub mod split;
pub mod value;
mod weighed;

pub use binary::{Binary, BinaryRow};
pub use diagnosis::{Diagnosis, DiagnosisKind};
pub use interval::Interval;
pub use mean::{Mean, mean_cost};
pub use multiclass::{CLASSES_MAX, Multiclass};
pub use ranking::Ranking;
pub use reading::{
    Estimation, Maturity, MetricReading, MoneyReading, PriorReading, Ranged, Reading, SplitReading,
};
pub use regression::{Regression, RegressionRow};
pub use settings::{Bound, CUTOFF_MAX, Limit, Settings, UnknownMetric, Value, metric_of};

use std::fmt;

use self::Better::{Higher, Lower, Zero};
use self::confusion::Averaging;
use self::interval::Estimate;
use self::weighed::Weighed;
pub use crate::summary::outcome::{RankedRow, Task};

/// Rows with predictions and what came true, reduced to what metrics are computed from.
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
    /// Standard error of the value, above 0; where it has none of its own, as at an end of its range or for
    /// a median, the interval's longer side over 1.96. None without an interval.
    pub standard_error: Option<f64>,
    /// How far the value may be from that of the rows themselves: 0 where it is computed from them.
    pub bound: f64,
    /// What was noticed, for people.
    pub detail: Option<String>,
}

impl MetricValue {
    /// A value whose interval is not made of its variance.
    fn new(value: f64, interval: Option<Interval>) -> Self {
        let interval = interval.filter(|interval| interval.low.is_finite() && interval.high.is_finite());
        let detail = match interval {
            None => Some("no interval: too few rows, or all alike".to_owned()),
            Some(_) => None,
        };
        let side = |interval: Interval| (value - interval.low).max(interval.high - value) / interval::Z;
        let standard_error = interval.map(side).filter(|error| *error > 0.0);
        Self { value, interval, standard_error, bound: 0.0, detail }
    }

    /// A value with its variance, if there is one, and the interval that was made of it.
    fn estimated(estimate: Estimate, interval: Option<Interval>) -> Self {
        let error = Some(estimate.variance.sqrt()).filter(|error| *error > 0.0 && error.is_finite());
        let plain = Self::new(estimate.value, interval);
        Self { standard_error: error.or(plain.standard_error), ..plain }
    }

    /// A value with its normal interval.
    fn normal(estimate: Estimate, range: (f64, f64)) -> Self {
        Self::estimated(estimate, interval::normal(estimate, range))
    }

    /// The share `hits` of `all` rows with Wilson's interval; of weighted rows that of as many rows as would
    /// have its variance, Σ w²·(hit − share)² over (Σ w)².
    fn share(hits: Weighed, all: Weighed) -> Self {
        let value = hits.once / if all.once > 0.0 { all.once } else { 1.0 };
        let missed = (all.twice - hits.twice).max(0.0);
        let squares = hits.twice * (1.0 - value) * (1.0 - value) + missed * value * value;
        let variance = squares / (all.once * all.once);
        let rows = if variance > 0.0 { value * (1.0 - value) / variance } else { all.effective() };
        Self::estimated(Estimate { value, variance }, interval::wilson(value, rows))
    }

    /// The same value with a bound of what counting lost.
    fn within(self, bound: f64) -> Self {
        Self { bound, ..self }
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
    /// Which values are good.
    pub better: Better,
    /// Computes it, and says for which task.
    pub compute: Compute,
}

/// Which values of a metric are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Those that are high.
    Higher,
    /// Those that are low.
    Lower,
    /// Those near 0, on either side.
    Zero,
}

/// Every metric, in the order they are shown.
pub static METRICS: &[Metric] = &[
    binary(
        "roc_auc",
        Higher,
        "chance that a positive row has a higher score than a negative one",
        binary::roc_auc,
    ),
    binary(
        "average_precision",
        Higher,
        "mean precision over the positive rows, by score",
        binary::average_precision,
    ),
    binary("log_loss", Lower, "mean −log of the score of what came true, capped at 1e-15", binary::log_loss),
    binary("brier", Lower, "mean squared difference of score and label", binary::brier),
    binary("accuracy", Higher, "share of rows predicted right", |rows| confusion::accuracy(&rows.table)),
    binary("balanced_accuracy", Higher, "mean of recall and specificity", |rows| {
        confusion::balanced_accuracy(&rows.table)
    }),
    binary("precision", Higher, "share of the predicted positive rows that are positive", binary::precision),
    binary("recall", Higher, "share of the positive rows that are predicted positive", binary::recall),
    binary(
        "specificity",
        Higher,
        "share of the negative rows that are predicted negative",
        binary::specificity,
    ),
    binary("f1", Higher, "harmonic mean of precision and recall", |rows| binary::f_beta(rows, 1.0)),
    binary("f2", Higher, "F-measure in which recall weighs twice", |rows| binary::f_beta(rows, 2.0)),
    binary("f0.5", Higher, "F-measure in which precision weighs twice", |rows| binary::f_beta(rows, 0.5)),
    binary("mcc", Higher, "correlation of prediction and label (Matthews)", |rows| {
        confusion::mcc(&rows.table)
    }),
    binary("kappa", Higher, "agreement beyond chance (Cohen)", |rows| confusion::kappa(&rows.table)),
    binary("ece", Lower, "mean gap of score and label over ten bins of equal width", binary::ece),
    binary(
        "spiegelhalter_z",
        Zero,
        "standard normal when the scores are calibrated",
        binary::spiegelhalter_z,
    ),
    multiclass("accuracy", Higher, "share of rows predicted right", |rows| confusion::accuracy(&rows.table)),
    multiclass("balanced_accuracy", Higher, "mean recall of the classes", |rows| {
        confusion::balanced_accuracy(&rows.table)
    }),
    multiclass("f1_macro", Higher, "mean F1 of the classes", |rows| {
        confusion::f1_averaged(&rows.table, Averaging::Macro)
    }),
    multiclass("f1_micro", Higher, "F1 of all decisions together, which is the accuracy", |rows| {
        confusion::accuracy(&rows.table)
    }),
    multiclass("f1_weighted", Higher, "mean F1 of the classes by their share of the labels", |rows| {
        confusion::f1_averaged(&rows.table, Averaging::Weighted)
    }),
    multiclass("mcc", Higher, "correlation of prediction and label (Gorodkin)", |rows| {
        confusion::mcc(&rows.table)
    }),
    multiclass("kappa", Higher, "agreement beyond chance (Cohen)", |rows| confusion::kappa(&rows.table)),
    multiclass(
        "log_loss",
        Lower,
        "mean −log of the score of what came true, capped at 1e-15",
        multiclass::log_loss,
    ),
    multiclass(
        "auc_ovr_macro",
        Higher,
        "mean ROC AUC of each class against the rest",
        multiclass::auc_ovr_macro,
    ),
    regression("mae", Lower, "mean absolute error", regression::mae),
    regression("mse", Lower, "mean squared error", regression::mse),
    regression("rmse", Lower, "root of the mean squared error", regression::rmse),
    regression("mape", Lower, "mean absolute error as a share of the truth", regression::mape),
    regression("wape", Lower, "sum of absolute errors over the sum of absolute truths", regression::wape),
    regression(
        "smape",
        Lower,
        "mean of twice the absolute error over |truth| + |prediction|",
        regression::smape,
    ),
    regression("r2", Higher, "share of the truth's variance that is predicted", regression::r2),
    regression("bias", Zero, "mean of prediction − truth", regression::bias),
    regression("median_ae", Lower, "median absolute error", regression::median_ae),
    regression(
        "pinball_0.1",
        Lower,
        "mean loss as a prediction of the 10 % quantile",
        regression::pinball_low,
    ),
    regression("pinball_0.5", Lower, "mean loss as a prediction of the median", regression::pinball_middle),
    regression(
        "pinball_0.9",
        Lower,
        "mean loss as a prediction of the 90 % quantile",
        regression::pinball_high,
    ),
    at_cutoffs("ndcg@k", Higher, "gain of the first k rows as a share of the best possible", ranking::ndcg),
    at_cutoffs("map@k", Higher, "mean precision at the relevant rows among the first k", ranking::map),
    Metric {
        name: "mrr",
        better: Higher,
        about: "mean of 1 over the place of the first relevant row",
        compute: Compute::Ranking(ranking::mrr),
    },
    at_cutoffs("hit@k", Higher, "share of queries with a relevant row among the first k", ranking::hit),
];

const fn binary(
    name: &'static str,
    better: Better,
    about: &'static str,
    compute: fn(&Binary) -> Result<MetricValue, NotComputable>,
) -> Metric {
    Metric { name, about, better, compute: Compute::Binary(compute) }
}

const fn multiclass(
    name: &'static str,
    better: Better,
    about: &'static str,
    compute: fn(&Multiclass) -> Result<MetricValue, NotComputable>,
) -> Metric {
    Metric { name, about, better, compute: Compute::Multiclass(compute) }
}

const fn regression(
    name: &'static str,
    better: Better,
    about: &'static str,
    compute: fn(&Regression) -> Result<MetricValue, NotComputable>,
) -> Metric {
    Metric { name, about, better, compute: Compute::Regression(compute) }
}

const fn at_cutoffs(
    name: &'static str,
    better: Better,
    about: &'static str,
    compute: fn(&Ranking, usize) -> Result<MetricValue, NotComputable>,
) -> Metric {
    Metric { name, about, better, compute: Compute::RankingAt(compute) }
}

/// A metric of some rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The metric's name, with its cutoff.
    pub metric: String,
    /// One line about the metric.
    pub about: &'static str,
    /// Which of its values are good.
    pub better: Better,
    /// Rows, or for ranking queries, that it was computed from.
    pub n: u64,
    /// Its value, or why there is none.
    pub outcome: Result<MetricValue, NotComputable>,
}

/// Which way a metric is better; higher for a name that is none.
pub fn better_of(task: Task, name: &str) -> Better {
    let named = |metric: &&Metric| metric.task() == task && is_named(metric.name, name);
    METRICS.iter().find(named).map_or(Better::Higher, |metric| metric.better)
}

/// Whether `name` is the metric of the table, with a cutoff in the place of `k` if it has one.
fn is_named(metric: &str, name: &str) -> bool {
    match (metric.strip_suffix("@k"), name.split_once('@')) {
        (Some(stem), Some((its, _))) => stem == its,
        _ => metric == name,
    }
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
        Measured { metric, about: self.about, better: self.better, n, outcome: outcome.and_then(finite) }
    }
}

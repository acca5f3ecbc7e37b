//! Direct loss estimation: the error of a regression that its features lead to expect.
//!
//! Boosted trees learn a row's loss from its features and its prediction in a reference with labels; their
//! mean over a window is its expected loss. Where there are only counts, [`Strata`] does the same with a mean
//! loss for each stratum.
//!
//! Assumes that rows of equal features have the errors that they had in the reference. A change of the inputs
//! that moves rows to where the model errs more is seen; a change of what the inputs mean is not.
//!
//! Source: NannyML's "direct loss estimation"; trees: Chen and Guestrin 2016, doi:10.1145/2939672.2939785.

use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::xgboost::{XGRegressor, XGRegressorParameters};

use super::super::interval::{self, Estimate};
use super::super::{Better, Measured, MetricValue, NotComputable, RegressionRow};

/// Rows that a reference needs.
pub const DLE_ROWS_MIN: usize = 100;

/// Rows of the reference that are learned from at most, evenly spaced; with more, trees take minutes.
const ROWS_MAX: usize = 20_000;

/// Features at most.
pub const FEATURES_MAX: usize = 200;

/// Trees, and how deep.
const TREES: usize = 60;
const DEPTH: u16 = 4;
const LEARNING_RATE: f64 = 0.1;
/// Rows of a leaf at least, so that it is no single row's loss.
const LEAF_ROWS_MIN: usize = 20;

/// Numbers are kept this small, so that halves of their sums are finite.
const NUMBER_MAX: f64 = 1e300;

type Trees = XGRegressor<f64, f64, DenseMatrix<f64>, Vec<f64>>;

/// A loss of one row: a metric is its mean.
struct Loss {
    metric: &'static str,
    about: &'static str,
    of: fn(&RegressionRow) -> f64,
    /// A second metric that is the root of the mean.
    root: Option<(&'static str, &'static str)>,
}

static LOSSES: &[Loss] = &[
    Loss { metric: "mae", about: "mean absolute error", of: |row| error(row).abs(), root: None },
    Loss {
        metric: "mse",
        about: "mean squared error",
        of: |row| error(row) * error(row),
        root: Some(("rmse", "root of the mean squared error")),
    },
    Loss {
        metric: "mape",
        about: "mean absolute error as a share of the truth",
        of: |row| error(row).abs() / row.truth.abs(),
        root: None,
    },
];

fn error(row: &RegressionRow) -> f64 {
    row.prediction - row.truth
}

/// What rows cost, by their features.
pub struct Dle {
    features: usize,
    /// What stands for a missing number, by feature: below all that are there.
    missing: Vec<f64>,
    fitted: Vec<Result<Fitted, NotComputable>>,
}

/// The trees of one loss.
struct Fitted {
    /// Of either half of the rows.
    halves: [Trees; 2],
    /// Mean loss; the trees learn losses as shares of it.
    mean: f64,
    /// Rows, and mean and variance of what the trees of one half leave open in the other, as shares.
    rows: f64,
    left: (f64, f64),
}

impl Dle {
    /// Learns from the reference: the features of each row, NaN where one is missing, and the row itself. The
    /// prediction is a feature of its own.
    ///
    /// # Errors
    /// [`NotComputable`] with fewer than [`DLE_ROWS_MIN`] rows, more than [`FEATURES_MAX`] features, or rows of
    /// different lengths.
    pub fn fit(features: &[Vec<f64>], rows: &[RegressionRow]) -> Result<Self, NotComputable> {
        if rows.len() < DLE_ROWS_MIN {
            return Err(NotComputable::InsufficientData {
                n: rows.len() as u64,
                needed: DLE_ROWS_MIN as u64,
            });
        }
        let width = features.first().map_or(0, Vec::len);
        if features.len() != rows.len()
            || features.iter().any(|row| row.len() != width)
            || width > FEATURES_MAX
        {
            return Err(NotComputable::not_applicable(format!(
                "every row needs the same features, at most {FEATURES_MAX}"
            )));
        }
        let step = rows.len().div_ceil(ROWS_MAX);
        let (features, rows): (Vec<&Vec<f64>>, Vec<RegressionRow>) =
            features.iter().zip(rows).step_by(step).map(|(features, row)| (features, *row)).unzip();
        let lowest = |at: usize| {
            let numbers = features.iter().filter_map(|row| row.get(at)).filter(|number| number.is_finite());
            let lowest = numbers.copied().fold(f64::INFINITY, f64::min);
            if lowest.is_finite() { (lowest - lowest.abs() - 1.0).max(-NUMBER_MAX) } else { 0.0 }
        };
        let missing: Vec<f64> = (0..width).map(lowest).collect();
        let matrix: Vec<Vec<f64>> = features
            .iter()
            .zip(&rows)
            .map(|(features, row)| complete(features, &missing, row.prediction))
            .collect();
        let fitted = LOSSES.iter().map(|loss| fit(&matrix, &rows, loss)).collect();
        Ok(Self { features: width, missing, fitted })
    }

    /// The expected metrics of a window: the features of each row and its prediction.
    pub fn estimate(&self, rows: &[(Vec<f64>, f64)]) -> Vec<Measured> {
        let n = rows.len() as u64;
        let fits = rows.iter().all(|(features, _)| features.len() == self.features);
        let matrix: Vec<Vec<f64>> = rows
            .iter()
            .map(|(features, prediction)| complete(features, &self.missing, *prediction))
            .collect();
        let mut measured = Vec::new();
        for (loss, fitted) in LOSSES.iter().zip(&self.fitted) {
            let outcome = match fitted {
                _ if n == 0 => Err(NotComputable::InsufficientData { n: 0, needed: 1 }),
                _ if !fits => Err(NotComputable::not_applicable("a row lacks features of the reference")),
                Ok(fitted) => fitted.expect(&matrix),
                Err(reason) => Err(reason.clone()),
            };
            let root = loss.root.map(|(metric, about)| Measured {
                metric: metric.to_owned(),
                about,
                better: Better::Lower,
                n,
                outcome: outcome.clone().map(|value| {
                    let interval = value.interval.map(|interval| interval.map(f64::sqrt));
                    MetricValue::new(value.value.sqrt(), interval)
                }),
            });
            measured.push(Measured {
                metric: loss.metric.to_owned(),
                about: loss.about,
                better: Better::Lower,
                n,
                outcome,
            });
            measured.extend(root);
        }
        measured
    }
}

/// A row as the trees take it: finite numbers only, the prediction last.
fn complete(features: &[f64], missing: &[f64], prediction: f64) -> Vec<f64> {
    let number = |(feature, missing): (&f64, &f64)| if feature.is_nan() { *missing } else { *feature };
    let numbers = features.iter().zip(missing).map(number).chain([prediction]);
    numbers.map(|number| number.clamp(-NUMBER_MAX, NUMBER_MAX)).collect()
}

/// Every second row, from the first or the second one.
fn half<T: Clone>(rows: &[T], which: usize) -> Vec<T> {
    rows.iter().skip(which).step_by(2).cloned().collect()
}

fn fit(matrix: &[Vec<f64>], rows: &[RegressionRow], loss: &Loss) -> Result<Fitted, NotComputable> {
    let losses: Vec<f64> = rows.iter().map(loss.of).collect();
    if let Some(wrong) = losses.iter().find(|loss| !loss.is_finite()) {
        let reason = if wrong.is_nan() || loss.metric == "mape" {
            "true values of the reference are 0"
        } else {
            "the numbers are too large"
        };
        return Err(NotComputable::degenerate(reason));
    }
    let mean = losses.iter().sum::<f64>() / losses.len() as f64;
    if !(mean > 0.0 && mean.is_finite()) {
        return Err(NotComputable::degenerate("the reference has no errors to learn from"));
    }
    let shares: Vec<f64> = losses.iter().map(|loss| loss / mean).collect();
    let trees = |which: usize| grow(half(matrix, which), &half(&shares, which));
    let halves = [trees(0)?, trees(1)?];
    let mut left = Vec::with_capacity(shares.len());
    for (which, trees) in halves.iter().enumerate() {
        let expected = predict(trees, half(matrix, 1 - which))?;
        left.extend(half(&shares, 1 - which).iter().zip(expected).map(|(share, expected)| share - expected));
    }
    let rows = left.len() as f64;
    let Estimate { value: open, variance } =
        Estimate::mean(left.into_iter().collect::<Vec<f64>>().iter().copied());
    Ok(Fitted { halves, mean, rows, left: (open, variance * rows) })
}

fn grow(matrix: Vec<Vec<f64>>, shares: &Vec<f64>) -> Result<Trees, NotComputable> {
    let parameters = XGRegressorParameters::default()
        .with_n_estimators(TREES)
        .with_max_depth(DEPTH)
        .with_learning_rate(LEARNING_RATE)
        .with_min_child_weight(LEAF_ROWS_MIN)
        .with_base_score(1.0);
    Trees::fit(&dense(&matrix)?, shares, parameters).map_err(|error| refused(&error))
}

fn predict(trees: &Trees, matrix: Vec<Vec<f64>>) -> Result<Vec<f64>, NotComputable> {
    trees.predict(&dense(&matrix)?).map_err(|error| refused(&error))
}

fn dense(matrix: &Vec<Vec<f64>>) -> Result<DenseMatrix<f64>, NotComputable> {
    DenseMatrix::from_2d_vec(matrix).map_err(|error| refused(&error))
}

fn refused(error: &smartcore::error::Failed) -> NotComputable {
    NotComputable::degenerate(format!("the trees cannot be grown: {error}"))
}

impl Fitted {
    /// The mean loss of a window, with the interval of the one that its labels will give.
    ///
    /// The variance is that of what the trees left open, over the rows of the window and over those of the
    /// reference, and that of the trees by the difference of the halves. What is left open is taken to grow
    /// with the loss itself.
    fn expect(&self, matrix: &[Vec<f64>]) -> Result<MetricValue, NotComputable> {
        let rows = matrix.len() as f64;
        let mean = |trees: &Trees| -> Result<f64, NotComputable> {
            Ok(predict(trees, matrix.to_vec())?.iter().sum::<f64>() / rows)
        };
        let [one, other] = self.halves.each_ref().map(mean);
        let (one, other) = (one?, other?);
        let (open, variance) = self.left;
        let share = (f64::midpoint(one, other) + open).max(0.0);
        let variance =
            variance * share * share * (1.0 / rows + 1.0 / self.rows) + (one - other).powi(2) / 4.0;
        let value = share * self.mean;
        let interval = interval::normal(
            Estimate { value, variance: variance * self.mean * self.mean },
            (0.0, f64::INFINITY),
        );
        Ok(MetricValue::new(value, interval))
    }
}

/// The losses of the reference's rows of one stratum, such as a bin of predictions in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stratum {
    /// Rows.
    pub rows: u64,
    /// Sum of their losses.
    pub sum: f64,
    /// Sum of the squares of their losses.
    pub squares: f64,
}

impl Stratum {
    fn mean(&self) -> f64 {
        self.sum / self.rows as f64
    }

    /// Unbiased variance of a loss.
    fn variance(&self) -> Option<f64> {
        let rows = self.rows as f64;
        (self.rows > 1).then(|| ((self.squares - self.sum * self.sum / rows) / (rows - 1.0)).max(0.0))
    }
}

/// A table of losses by stratum.
#[derive(Debug, Clone, PartialEq)]
pub struct Strata {
    strata: Vec<Stratum>,
    all: Stratum,
}

impl Strata {
    /// From the reference's losses by stratum.
    ///
    /// # Errors
    /// [`NotComputable`] with fewer than [`DLE_ROWS_MIN`] rows, or when a sum is not finite.
    pub fn new(strata: Vec<Stratum>) -> Result<Self, NotComputable> {
        let mut all = Stratum::default();
        for stratum in &strata {
            all.rows = all.rows.saturating_add(stratum.rows);
            all.sum += stratum.sum;
            all.squares += stratum.squares;
        }
        if all.rows < DLE_ROWS_MIN as u64 {
            return Err(NotComputable::InsufficientData { n: all.rows, needed: DLE_ROWS_MIN as u64 });
        }
        if !(all.sum.is_finite() && all.squares.is_finite()) {
            return Err(NotComputable::degenerate("the losses are too large to be added up"));
        }
        Ok(Self { strata, all })
    }

    /// The mean loss to expect of a window with these rows by stratum, Σ n·mean over Σ n, and the interval of
    /// the one that its labels will give: of variance Σ (n·v + n²·v/m)/(Σ n)², v being the variance of a loss
    /// in the stratum and m the rows of it in the reference. A stratum with fewer than two rows in the
    /// reference has the mean and variance of all; the detail tells how many rows that concerns.
    ///
    /// # Errors
    /// [`NotComputable`] without rows, or when the strata are not as many as those of the reference.
    pub fn estimate(&self, rows: &[u64]) -> Result<MetricValue, NotComputable> {
        if rows.len() != self.strata.len() {
            return Err(NotComputable::not_applicable("the strata are not those of the reference"));
        }
        let n: f64 = rows.iter().map(|rows| *rows as f64).sum();
        if n == 0.0 {
            return Err(NotComputable::InsufficientData { n: 0, needed: 1 });
        }
        let (mut value, mut variance, mut unknown) = (0.0, 0.0, 0_u64);
        for (rows, stratum) in rows.iter().zip(&self.strata).filter(|(rows, _)| **rows > 0) {
            let known = stratum.variance().is_some();
            let stratum = if known { stratum } else { &self.all };
            unknown += if known { 0 } else { *rows };
            let of_loss = stratum.variance().unwrap_or(0.0);
            let share = *rows as f64 / n;
            value += share * stratum.mean();
            variance += share * of_loss / n + share * share * of_loss / stratum.rows as f64;
        }
        let range = (f64::NEG_INFINITY, f64::INFINITY);
        let estimate = MetricValue::new(value, interval::normal(Estimate { value, variance }, range));
        Ok(match unknown {
            0 => estimate,
            rows => estimate.with_detail(format!("{rows} rows are of strata that the reference hardly has")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::performance::Interval;

    #[test]
    fn strata_weigh_their_means_by_the_rows_of_the_window() {
        let stratum =
            |mean: f64| Stratum { rows: 100, sum: 100.0 * mean, squares: 100.0 * (mean * mean + 1.0) };
        let strata = Strata::new(vec![stratum(1.0), stratum(3.0), Stratum::default()]).expect("rows");
        let estimate = strata.estimate(&[30, 10, 0]).expect("a value");
        assert!((estimate.value - 1.5).abs() < 1e-12);
        let Interval { low, high } = estimate.interval.expect("an interval");
        // v = 100/99; 1/40 + (0.75² + 0.25²)/100 of it.
        let half = 1.959_964 * (100.0_f64 / 99.0 * (1.0 / 40.0 + 0.625 / 100.0)).sqrt();
        assert!((high - low - 2.0 * half).abs() < 1e-5);
        assert!(
            strata.estimate(&[0, 0, 5]).expect("a value").detail.is_some_and(|detail| detail.contains('5'))
        );
        assert_eq!(strata.estimate(&[1]).expect_err("other strata").status(), "not_applicable");
    }
}

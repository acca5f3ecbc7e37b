//! Money: what decisions cost, what a model's decay costs a day, and when retraining pays.
//!
//! Place in the flow: counts by truth and decision, or sums of errors, become a mean cost a row
//! ([`Costs`]); two of these, now and in the reference, become a loss ([`loss_per_day`],
//! [`accumulated_loss`]) and a case for retraining ([`retrain_case`]). Pure.
//!
//! Rows are independent of one another and of the reference's. The rows a day are taken as known: only the
//! cost of a row is uncertain. Intervals are normal ones, for large samples.
//!
//! Invariant: what is given is finite, or there is a reason ([`NotComputable`]); a loss above 0 is money lost.
//!
//! To add a kind of cost: a variant of [`Costs`], and a function that makes a [`Mean`] of sums that merge.

use serde::{Deserialize, Serialize};

use super::interval::{self, Estimate, Interval};
use super::mean::{Mean, UNBOUNDED, mean_cost};
use super::{CLASSES_MAX, NotComputable, finite};
use crate::event::{Span, Timestamp};

/// Standard errors below a normal mean that hold 90 % on one side.
const Z_90: f64 = 1.281_551_565_544_600_4;

const MICROS_PER_DAY: f64 = 86_400e6;

/// The longest name of a currency, in characters.
const CURRENCY_LENGTH_MAX: usize = 16;

/// Why a setting about money is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ValueError {
    /// The cost matrix is not square, or has fewer than two or too many classes.
    #[error(
        "the cost matrix has {rows} rows and one of {columns} columns; it needs one row and one column a \
         class, 2 to {CLASSES_MAX} of them"
    )]
    Shape {
        /// Rows there are.
        rows: usize,
        /// Columns of the row that differs, or of the first one.
        columns: usize,
    },
    /// A cost is infinite or NaN.
    #[error("the cost of truth {truth} and decision {decision} (from 0) is not a finite number")]
    NotFinite {
        /// Row, from 0.
        truth: usize,
        /// Column, from 0.
        decision: usize,
    },
    /// Every decision costs the same.
    #[error("every cost is {cost}, so that no decision is better than another; give errors a higher cost")]
    AllEqual {
        /// The cost.
        cost: f64,
    },
    /// A cost for each unit of error is no number above or equal to 0, or both are 0.
    #[error(
        "a unit of error costs {over} when the prediction is too high and {under} when it is too low; \
             both have to be finite and at least 0, and one above 0"
    )]
    Unit {
        /// Cost of a unit too high.
        over: f64,
        /// Cost of a unit too low.
        under: f64,
    },
    /// A cost or risk of retraining is no number above or equal to 0.
    #[error("{what} is {value}; it has to be finite and at least 0")]
    Outlay {
        /// The setting.
        what: &'static str,
        /// Its value.
        value: f64,
    },
    /// The horizon is no time.
    #[error("the horizon is {horizon}; it has to be above 0")]
    Horizon {
        /// Its value.
        horizon: Span,
    },
    /// The currency has no name or a long one.
    #[error("the currency has to be a code such as EUR, 1 to {CURRENCY_LENGTH_MAX} printable characters")]
    Currency,
}

/// What each decision costs for each truth: rows are what came true, columns what was decided. A cost below 0
/// is a gain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vec<f64>>", into = "Vec<Vec<f64>>")]
pub struct CostMatrix {
    classes: usize,
    /// Row by row.
    costs: Vec<f64>,
}

/// Rows of one cell of truth and decision, with what they are worth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct CellAmounts {
    /// Rows.
    pub rows: u64,
    /// Sum of their amounts.
    pub amount: f64,
    /// Sum of the squares of their amounts.
    pub amount_squared: f64,
}

impl CostMatrix {
    /// Takes the costs, one row a class.
    ///
    /// # Errors
    /// `Shape` when the rows and columns are not 2 to [`CLASSES_MAX`] and as many; `NotFinite` for a cost that
    /// is no number; `AllEqual` when no decision is better than another.
    pub fn new(costs: &[Vec<f64>]) -> Result<Self, ValueError> {
        let classes = costs.len();
        let first = costs.first().map_or(0, Vec::len);
        let columns = costs.iter().map(Vec::len).find(|columns| *columns != classes).unwrap_or(first);
        if columns != classes || !(2..=CLASSES_MAX).contains(&classes) {
            return Err(ValueError::Shape { rows: classes, columns });
        }
        let flat: Vec<f64> = costs.iter().flatten().copied().collect();
        if let Some(place) = flat.iter().position(|cost| !cost.is_finite()) {
            return Err(ValueError::NotFinite { truth: place / classes, decision: place % classes });
        }
        match flat.first() {
            Some(cost) if flat.iter().all(|other| other == cost) => Err(ValueError::AllEqual { cost: *cost }),
            _ => Ok(Self { classes, costs: flat }),
        }
    }

    /// How many classes it is for.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The cost of a decision for a truth; none beyond the classes.
    pub fn cost(&self, truth: usize, decision: usize) -> Option<f64> {
        let place = truth.checked_mul(self.classes)?.checked_add(decision)?;
        self.costs.get(place).copied().filter(|_| decision < self.classes)
    }

    /// Mean cost a row from counts by truth and decision, row by row as the costs are:
    /// U = Σ p·c with the variance (Σ p·c² − U²)/(n − 1).
    ///
    /// # Errors
    /// `NotApplicable` when the counts are of another number of classes; `InsufficientData` below two rows.
    pub fn mean_of_counts(&self, counts: &[u64]) -> Result<Mean, NotComputable> {
        self.fits(counts.len())?;
        let cells = || self.costs.iter().zip(counts);
        let sum = cells().map(|(cost, rows)| cost * *rows as f64).sum();
        let squares = cells().map(|(cost, rows)| cost * cost * *rows as f64).sum();
        mean_cost(total(counts.iter().copied()), sum, squares)
    }

    /// Mean cost a row where a row costs its amount times the cost of its cell.
    ///
    /// # Errors
    /// As [`CostMatrix::mean_of_counts`]; `Degenerate` when the sums are not finite.
    pub fn mean_of_amounts(&self, cells: &[CellAmounts]) -> Result<Mean, NotComputable> {
        self.fits(cells.len())?;
        let with_cost = || self.costs.iter().zip(cells);
        let sum = with_cost().map(|(cost, cell)| cost * cell.amount).sum();
        let squares = with_cost().map(|(cost, cell)| cost * cost * cell.amount_squared).sum();
        mean_cost(total(cells.iter().map(|cell| cell.rows)), sum, squares)
    }

    /// Expected cost a row without labels: Σ e·c / rows, where e is what is expected in a cell. Without amounts
    /// that is a number of rows (the sum of the calibrated probabilities), with amounts a sum of amounts.
    /// `variance` is that of the mean, from whoever made the estimate.
    ///
    /// # Errors
    /// `NotApplicable` when the cells are of another number of classes; `InsufficientData` without rows;
    /// `Degenerate` when a number is not finite.
    pub fn mean_of_expected(
        &self,
        expected: &[f64],
        rows: u64,
        variance: f64,
    ) -> Result<Mean, NotComputable> {
        self.fits(expected.len())?;
        if rows == 0 {
            return Err(NotComputable::InsufficientData { n: 0, needed: 1 });
        }
        let sum: f64 = self.costs.iter().zip(expected).map(|(cost, cell)| cost * cell).sum();
        Mean::known(rows as f64, sum / rows as f64, variance)
    }

    fn fits(&self, cells: usize) -> Result<(), NotComputable> {
        let classes = self.classes;
        if cells == classes.saturating_mul(classes) {
            return Ok(());
        }
        Err(NotComputable::not_applicable(format!(
            "the cost matrix is of {classes} classes and needs {} counts by truth and decision; there are \
             {cells}",
            classes * classes
        )))
    }
}

fn total(rows: impl Iterator<Item = u64>) -> u64 {
    rows.fold(0, u64::saturating_add)
}

impl TryFrom<Vec<Vec<f64>>> for CostMatrix {
    type Error = ValueError;

    fn try_from(costs: Vec<Vec<f64>>) -> Result<Self, ValueError> {
        Self::new(&costs)
    }
}

impl From<CostMatrix> for Vec<Vec<f64>> {
    fn from(matrix: CostMatrix) -> Self {
        matrix.costs.chunks(matrix.classes.max(1)).map(<[f64]>::to_vec).collect()
    }
}

/// What a unit of error of a predicted number costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitCosts {
    /// A unit that the prediction is above the truth.
    pub over: f64,
    /// A unit that the prediction is below the truth.
    pub under: f64,
}

/// Errors of predicted numbers on one side of the truth; with amounts, each error times its row's amount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorSums {
    /// Sum of the absolute errors.
    pub sum: f64,
    /// Sum of their squares.
    pub sum_of_squares: f64,
}

impl UnitCosts {
    /// The same cost on both sides: cost = rate × |error|.
    pub fn even(rate: f64) -> Self {
        Self { over: rate, under: rate }
    }

    /// Mean cost a row, from all rows' errors above and below the truth.
    ///
    /// # Errors
    /// `InsufficientData` below two rows; `Degenerate` when the sums are not finite.
    pub fn mean_of_errors(
        &self,
        rows: u64,
        over: ErrorSums,
        under: ErrorSums,
    ) -> Result<Mean, NotComputable> {
        // A row is on one side only, so the square of its cost has no mixed term.
        let squares =
            self.over * self.over * over.sum_of_squares + self.under * self.under * under.sum_of_squares;
        mean_cost(rows, self.over * over.sum + self.under * under.sum, squares)
    }
}

/// What being wrong costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Costs {
    /// By truth and decision.
    Decisions(CostMatrix),
    /// By how far a number is off.
    Errors(UnitCosts),
}

/// What a model's decisions are worth, and what retraining it costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueSettings {
    /// What being wrong costs.
    pub costs: Costs,
    /// Whether a row's cost is multiplied by the amount that it carries.
    pub amounts: bool,
    /// The currency: a code such as `EUR`.
    pub currency: String,
    /// What one retraining costs.
    pub retrain_cost: f64,
    /// What it is feared to cost beyond that: the loss if the new model fails, times how likely that is.
    pub retrain_risk: f64,
    /// How long a new model would serve: the time to the next planned retraining.
    pub horizon: Span,
}

impl ValueSettings {
    /// Whether they can be worked with. A cost matrix is sound since it was made.
    ///
    /// # Errors
    /// `Unit`, `Outlay`, `Horizon` or `Currency`: the first one that is wrong.
    pub fn validate(&self) -> Result<(), ValueError> {
        if let Costs::Errors(UnitCosts { over, under }) = self.costs {
            let sound = |cost: f64| cost.is_finite() && cost >= 0.0;
            if !(sound(over) && sound(under) && over.max(under) > 0.0) {
                return Err(ValueError::Unit { over, under });
            }
        }
        for (what, value) in [("retrain_cost", self.retrain_cost), ("retrain_risk", self.retrain_risk)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(ValueError::Outlay { what, value });
            }
        }
        if self.horizon <= Span::ZERO {
            return Err(ValueError::Horizon { horizon: self.horizon });
        }
        let length = self.currency.chars().count();
        let printable = self.currency.chars().all(|c| !c.is_control() && !c.is_whitespace());
        match printable && (1..=CURRENCY_LENGTH_MAX).contains(&length) {
            true => Ok(()),
            false => Err(ValueError::Currency),
        }
    }
}

/// Money lost against the reference in a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// The loss; below 0 it is a gain.
    pub value: f64,
    /// Its 95 % interval; none when rows that are all alike leave nothing to tell it from.
    pub interval: Option<Interval>,
}

impl Loss {
    fn new(value: f64, variance: f64) -> Result<Self, NotComputable> {
        let (value, variance) = (finite(value)?, finite(variance)?);
        Ok(Self { value, interval: interval::normal(Estimate { value, variance }, UNBOUNDED) })
    }

    /// Whether the whole interval is above 0.
    pub fn is_certain(&self) -> bool {
        self.interval.is_some_and(|interval| interval.low > 0.0)
    }
}

/// Rows a day in a window that had so many; none when it has no length.
pub fn rows_per_day(rows: u64, length: Span) -> Option<f64> {
    (length > Span::ZERO).then(|| rows as f64 * MICROS_PER_DAY / length.as_micros() as f64)
}

/// Loss a day: rows a day × (mean cost now − mean cost of the reference), with the variance of both.
///
/// # Errors
/// `Degenerate` when a number is not finite.
pub fn loss_per_day(now: &Mean, reference: &Mean, rows_per_day: f64) -> Result<Loss, NotComputable> {
    let variance = now.variance + reference.variance;
    Loss::new(rows_per_day * (now.value - reference.value), rows_per_day * rows_per_day * variance)
}

/// What a number rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Labels.
    Realised,
    /// An estimate without labels.
    Estimated,
}

/// A closed window of a model, as far as money goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowCost {
    /// Predictions in it, whether their label has come or not.
    pub rows: u64,
    /// Their mean cost.
    pub cost: Mean,
    /// What that rests on.
    pub basis: Basis,
    /// The mean cost that it is compared with: that of the training rows of the version it is of.
    pub reference: Mean,
}

/// Money lost since a start.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AccumulatedLoss {
    /// The loss.
    pub loss: Loss,
    /// Predictions that it is over.
    pub rows: u64,
    /// Windows that it is over.
    pub windows: u64,
    /// Those among them whose cost is an estimate.
    pub estimated_windows: u64,
}

/// Loss over windows that share no row: Σ N·(U − U_ref), each with the reference of its own version.
///
/// Its variance has three parts. Windows with labels are independent: Σ N²·v. Windows without labels share
/// one estimator, so that an error of its calibration is in all of them alike; they are taken to be wrong
/// together, which is the most their sum can be off: (Σ N·√v)². Windows that are compared with the same
/// reference share its error, which counts in full: (Σ N)²·v_ref; references that differ are independent.
///
/// # Errors
/// `InsufficientData` without windows; `Degenerate` when a number is not finite.
pub fn accumulated_loss(windows: &[WindowCost]) -> Result<AccumulatedLoss, NotComputable> {
    if windows.is_empty() {
        return Err(NotComputable::InsufficientData { n: 0, needed: 1 });
    }
    let (mut value, mut independent, mut together) = (0.0, 0.0, 0.0);
    let mut references: Vec<(Mean, f64)> = Vec::new();
    for window in windows {
        let rows = window.rows as f64;
        value += rows * (window.cost.value - window.reference.value);
        match references.iter_mut().find(|(reference, _)| *reference == window.reference) {
            Some((_, all)) => *all += rows,
            None => references.push((window.reference, rows)),
        }
        match window.basis {
            Basis::Realised => independent += rows * rows * window.cost.variance,
            Basis::Estimated => together += rows * window.cost.variance.sqrt(),
        }
    }
    let of_references: f64 = references.iter().map(|(reference, all)| all * all * reference.variance).sum();
    let estimated = windows.iter().filter(|window| window.basis == Basis::Estimated).count();
    Ok(AccumulatedLoss {
        loss: Loss::new(value, independent + together * together + of_references)?,
        rows: total(windows.iter().map(|window| window.rows)),
        windows: windows.len() as u64,
        estimated_windows: estimated as u64,
    })
}

/// Whether retraining pays, and when it would have paid for itself: assuming that a new model would do as
/// well as the reference and the loss stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RetrainCase {
    /// What retraining costs, the risk included.
    pub outlay: f64,
    /// Loss over the horizon that retraining would save, as far as the best guess goes.
    pub saving: f64,
    /// What it saves at least, with 90 % confidence: rows a day × days × (Δ − 1.28 standard errors). None
    /// when rows that are all alike leave nothing to tell it from.
    pub saving_at_least: Option<f64>,
    /// Whether that is above the outlay.
    pub pays: bool,
    /// Days of the new model until the outlay has come back; none when nothing is lost.
    pub break_even_days: Option<f64>,
    /// The same with the high end of the loss's 95 % interval; none when that is no loss.
    pub break_even_days_soonest: Option<f64>,
    /// The same with the low end; none when it may never come back.
    pub break_even_days_latest: Option<f64>,
}

impl RetrainCase {
    /// When the outlay has come back if a new model starts at `start`.
    pub fn break_even_at(&self, start: Timestamp) -> Option<Timestamp> {
        self.break_even_days.map(|days| {
            // Conversion from a float saturates, and so does time.
            let micros = (days * MICROS_PER_DAY).ceil() as i64;
            Timestamp::saturating_from_micros(start.as_micros().saturating_add(micros))
        })
    }
}

/// Weighs retraining: it pays when rows a day × horizon × LCB₉₀(U_now − U_ref) is above cost and risk.
///
/// # Errors
/// `Degenerate` when a number is not finite.
pub fn retrain_case(
    now: &Mean,
    reference: &Mean,
    rows_per_day: f64,
    settings: &ValueSettings,
) -> Result<RetrainCase, NotComputable> {
    let a_day = loss_per_day(now, reference, rows_per_day)?;
    let outlay = finite(settings.retrain_cost + settings.retrain_risk)?;
    let rows = finite(rows_per_day * settings.horizon.as_micros() as f64 / MICROS_PER_DAY)?;
    let (difference, variance) = (now.value - reference.value, now.variance + reference.variance);
    let at_least = finite(rows * (difference - Z_90 * variance.sqrt()))?;
    let saving_at_least = a_day.interval.map(|_| at_least);
    let days = |loss: f64| (loss > 0.0).then(|| outlay / loss).filter(|days| days.is_finite());
    Ok(RetrainCase {
        outlay,
        saving: finite(rows * difference)?,
        saving_at_least,
        pays: saving_at_least.is_some_and(|saving| saving > outlay),
        break_even_days: days(a_day.value),
        break_even_days_soonest: a_day.interval.and_then(|interval| days(interval.high)),
        break_even_days_latest: a_day.interval.and_then(|interval| days(interval.low)),
    })
}

/// What stands before an amount below 0.
const MINUS: &str = "−";

/// Signs of currencies that people know by them.
const SIGNS: [(&str, &str); 6] =
    [("EUR", "€"), ("USD", "$"), ("GBP", "£"), ("JPY", "¥"), ("INR", "₹"), ("KRW", "₩")];

/// An amount of money for people: `€ 12,300`, `−€ 12,300`, `€ 4.20`, `CHF 0.0031`; the number is as
/// [`amount`] writes it. The currency is shown as it is given.
pub fn money(value: f64, currency: &str) -> String {
    let known = SIGNS.iter().find(|(code, _)| code.eq_ignore_ascii_case(currency));
    let sign = known.map_or(currency, |(_, sign)| sign);
    let text = amount(value);
    match text.strip_prefix(MINUS) {
        Some(size) => format!("{MINUS}{sign} {size}"),
        None => format!("{sign} {text}"),
    }
}

/// An amount of what is counted or paid, its currency being said elsewhere: whole from 100 on, with two decimals
/// from 0.1 on, below that with two digits that count.
pub fn amount(value: f64) -> String {
    if !value.is_finite() {
        return "?".to_owned();
    }
    let size = value.abs();
    let decimals = match size {
        size if !(1e-9..99.995).contains(&size) => 0,
        size if size >= 0.1 => 2,
        // Between -9 and -2, so one more than the place of the first digit that counts.
        size => (1.0 - size.log10().floor()) as usize,
    };
    let text = match size {
        size if size >= 1e15 => format!("{size:.2e}"),
        size => with_thousands(&format!("{size:.decimals$}")),
    };
    let is_zero = text.chars().all(|c| matches!(c, '0' | '.'));
    let minus = if value < 0.0 && !is_zero { MINUS } else { "" };
    format!("{minus}{text}")
}

/// Commas between the thousands of the whole part of a decimal number that has no sign.
pub fn with_thousands(number: &str) -> String {
    let (whole, rest) = number.split_at(number.find('.').unwrap_or(number.len()));
    let mut text = String::with_capacity(number.len() + whole.len() / 3);
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::performance::random::{Random, assert_covers};

    fn matrix() -> CostMatrix {
        CostMatrix::new(&[vec![0.0, 5.0], vec![100.0, 20.0]]).expect("a matrix")
    }

    fn settings() -> ValueSettings {
        ValueSettings {
            costs: Costs::Decisions(matrix()),
            amounts: false,
            currency: "EUR".to_owned(),
            retrain_cost: 1_500.0,
            retrain_risk: 500.0,
            horizon: Span::from_secs(30 * 86_400),
        }
    }

    fn mean(value: f64, variance: f64) -> Mean {
        Mean::known(1_000.0, value, variance).expect("a mean")
    }

    #[test]
    fn counts_cost_what_their_cells_cost() {
        // 70·0 + 10·5 + 5·100 + 15·20 = 850; squares 250 + 50,000 + 6,000 = 56,250.
        let mean = matrix().mean_of_counts(&[70, 10, 5, 15]).expect("a mean");
        assert_eq!(mean.value, 8.5);
        assert!((mean.variance - (56_250.0 - 7_225.0) / 99.0 / 100.0).abs() < 1e-12);
    }

    #[test]
    fn amounts_of_one_are_counts() {
        let counts = [70_u64, 10, 5, 15];
        let cell = |rows: u64| CellAmounts { rows, amount: rows as f64, amount_squared: rows as f64 };
        assert_eq!(matrix().mean_of_amounts(&counts.map(cell)), matrix().mean_of_counts(&counts));
        let expected = matrix().mean_of_expected(&counts.map(|rows| rows as f64), 100, 0.25);
        assert_eq!(expected.expect("a mean"), Mean { rows: 100.0, value: 8.5, variance: 0.25 });
    }

    #[test]
    fn errors_cost_by_their_side() {
        // Errors +2, −1, 0 at 3 and 10 a unit: costs 6, 10, 0.
        let over = ErrorSums { sum: 2.0, sum_of_squares: 4.0 };
        let under = ErrorSums { sum: 1.0, sum_of_squares: 1.0 };
        let costs = UnitCosts { over: 3.0, under: 10.0 };
        assert_eq!(costs.mean_of_errors(3, over, under), mean_cost(3, 16.0, 136.0));
        assert_eq!(UnitCosts::even(2.0).mean_of_errors(3, over, under).expect("a mean").value, 2.0);
    }

    #[test]
    fn counts_of_other_classes_are_not_applicable() {
        assert_eq!(matrix().mean_of_counts(&[1; 9]).expect_err("no mean").status(), "not_applicable");
        assert_eq!(matrix().mean_of_counts(&[0; 4]).expect_err("no mean").status(), "insufficient_data");
        assert_eq!(
            (matrix().cost(1, 0), matrix().cost(0, 2), matrix().cost(2, 0)),
            (Some(100.0), None, None)
        );
    }

    #[test]
    fn a_matrix_that_says_nothing_is_refused() {
        let new = |costs: &[Vec<f64>]| CostMatrix::new(costs).expect_err("refused");
        assert_eq!(new(&[vec![0.0, 1.0], vec![1.0]]), ValueError::Shape { rows: 2, columns: 1 });
        assert_eq!(new(&[]), ValueError::Shape { rows: 0, columns: 0 });
        assert_eq!(new(&[vec![0.0]]), ValueError::Shape { rows: 1, columns: 1 });
        assert_eq!(new(&[vec![2.0; 2], vec![2.0; 2]]), ValueError::AllEqual { cost: 2.0 });
        let holed = [vec![0.0, 1.0], vec![f64::NAN, 0.0]];
        assert_eq!(new(&holed), ValueError::NotFinite { truth: 1, decision: 0 });
    }

    #[test]
    fn settings_survive_their_json() {
        let json = serde_json::to_string(&settings()).expect("json");
        assert!(json.contains(r#""costs":{"decisions":[[0.0,5.0],[100.0,20.0]]}"#), "{json}");
        assert_eq!(serde_json::from_str::<ValueSettings>(&json).expect("settings"), settings());
        assert!(serde_json::from_str::<CostMatrix>("[[0.0,1.0]]").is_err());
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        assert_eq!(settings().validate(), Ok(()));
        let with = |change: fn(&mut ValueSettings)| {
            let mut settings = settings();
            change(&mut settings);
            settings.validate().expect_err("refused")
        };
        assert!(matches!(with(|s| s.horizon = Span::ZERO), ValueError::Horizon { .. }));
        assert!(matches!(with(|s| s.retrain_risk = -1.0), ValueError::Outlay { what: "retrain_risk", .. }));
        assert!(matches!(with(|s| s.costs = Costs::Errors(UnitCosts::even(0.0))), ValueError::Unit { .. }));
        assert_eq!(with(|s| s.currency = String::new()), ValueError::Currency);
    }

    #[test]
    fn a_loss_has_the_uncertainty_of_both_sides() {
        let loss = loss_per_day(&mean(3.0, 0.0009), &mean(2.0, 0.0016), 100.0).expect("a loss");
        let interval = loss.interval.expect("an interval");
        assert_eq!(loss.value, 100.0);
        assert!((interval.high - 100.0 - 1.959_964 * 5.0).abs() < 1e-4 && loss.is_certain());
        let alike = loss_per_day(&mean(3.0, 0.0), &mean(2.0, 0.0), 100.0).expect("a loss");
        assert!(alike.interval.is_none() && !alike.is_certain());
    }

    #[test]
    fn the_reference_is_wrong_in_every_window_alike() {
        let window =
            |basis| WindowCost { rows: 100, cost: mean(3.0, 0.01), basis, reference: mean(2.0, 0.0) };
        let half = |windows: &[WindowCost], reference: f64| {
            let against = |window: &WindowCost| WindowCost { reference: mean(2.0, reference), ..*window };
            let windows: Vec<WindowCost> = windows.iter().map(against).collect();
            let total = accumulated_loss(&windows).expect("a loss").loss;
            assert_eq!(total.value, 400.0);
            (total.interval.expect("an interval").high - 400.0) / 1.959_963_984_540_054
        };
        // Independent: √4·100·0.1; together: 4·100·0.1; the reference: 400·0.2.
        assert!((half(&[window(Basis::Realised); 4], 0.0) - 20.0).abs() < 1e-9);
        assert!((half(&[window(Basis::Estimated); 4], 0.0) - 40.0).abs() < 1e-9);
        assert!(
            (half(&[window(Basis::Realised); 4], 0.04) - (20.0_f64.powi(2) + 6_400.0).sqrt()).abs() < 1e-9
        );
        assert!(accumulated_loss(&[]).is_err());
    }

    #[test]
    fn a_version_that_was_replaced_has_cost_what_it_has() {
        let window = |cost, reference| WindowCost {
            rows: 100,
            cost: mean(cost, 0.0),
            basis: Basis::Realised,
            reference,
        };
        let [old, new] = [mean(2.0, 0.01), mean(2.5, 0.04)];
        let loss = accumulated_loss(&[window(3.0, old), window(3.0, old), window(2.5, new)]);
        let loss = loss.expect("a loss").loss;
        assert_eq!(loss.value, 200.0);
        let half = loss.interval.expect("an interval").high - 200.0;
        let want = f64::hypot(200.0 * 0.1, 100.0 * 0.2) * 1.959_963_984_540_054;
        assert!((half - want).abs() < 1e-9);
    }

    #[test]
    fn retraining_pays_when_it_surely_saves_more_than_it_costs() {
        // 100 a day saves 3,000 in 30 days against 2,000.
        let case = |variance| {
            retrain_case(&mean(3.0, variance), &mean(2.0, 0.0), 100.0, &settings()).expect("a case")
        };
        let sure = case(0.01);
        assert_eq!((sure.outlay, sure.saving, sure.break_even_days), (2_000.0, 3_000.0, Some(20.0)));
        assert!((sure.saving_at_least.expect("a bound") - 3_000.0 * (1.0 - 0.128_155_2)).abs() < 1e-2);
        assert!(sure.pays && !case(0.25).pays);
        assert_eq!(case(1.0).break_even_days_latest, None);
        assert!(case(1.0).break_even_days_soonest.expect("days") < 20.0);
        let start = Timestamp::saturating_from_micros(0);
        assert_eq!(sure.break_even_at(start), Some(start + Span::from_secs(20 * 86_400)));
    }

    #[test]
    fn a_gain_never_breaks_even() {
        let case = retrain_case(&mean(1.0, 0.01), &mean(2.0, 0.01), 100.0, &settings()).expect("a case");
        assert_eq!((case.break_even_days, case.pays), (None, false));
        assert!(case.saving < 0.0 && case.break_even_at(Timestamp::saturating_from_micros(0)).is_none());
    }

    #[test]
    fn numbers_too_large_for_money_are_no_money() {
        let huge = mean(f64::MAX, 1.0);
        assert_eq!(loss_per_day(&huge, &mean(0.0, 1.0), 10.0).expect_err("no loss").status(), "degenerate");
        assert!(retrain_case(&huge, &mean(0.0, 1.0), 10.0, &settings()).is_err());
    }

    /// Chances of the cells, row by row.
    type Chances = [f64; 4];

    const REFERENCE: Chances = [0.86, 0.06, 0.02, 0.06];
    const NOW: Chances = [0.8, 0.08, 0.04, 0.08];

    fn true_cost(chances: &Chances) -> f64 {
        chances.iter().zip(&matrix().costs).map(|(chance, cost)| chance * cost).sum()
    }

    fn draw(random: &mut Random, chances: &Chances, rows: u64) -> [CellAmounts; 4] {
        let mut cells = [CellAmounts::default(); 4];
        for _ in 0..rows {
            let cell = &mut cells[random.pick(chances)];
            // Skewed as amounts are; their mean is 2.
            let amount = 0.5 + random.exponential(1.0) + 0.5 * random.exponential(1.0);
            cell.rows += 1;
            cell.amount += amount;
            cell.amount_squared += amount * amount;
        }
        cells
    }

    #[test]
    fn the_interval_of_the_loss_holds_the_truth() {
        const RUNS: u32 = 800;
        let difference = true_cost(&NOW) - true_cost(&REFERENCE);
        let (mut by_count, mut by_amount, mut surely_below) = (0, 0, 0);
        let mut random = Random::new(1);
        for _ in 0..RUNS {
            let cells = [draw(&mut random, &NOW, 3_000), draw(&mut random, &REFERENCE, 6_000)];
            let holds = |mean: &dyn Fn(&[CellAmounts; 4]) -> Mean, truth: f64| {
                let loss = loss_per_day(&mean(&cells[0]), &mean(&cells[1]), 400.0).expect("a loss");
                let interval = loss.interval.expect("an interval");
                u32::from(interval.low <= truth && truth <= interval.high)
            };
            let counted = |cells: &[CellAmounts; 4]| {
                matrix().mean_of_counts(&cells.map(|cell| cell.rows)).expect("a mean")
            };
            let weighed = |cells: &[CellAmounts; 4]| matrix().mean_of_amounts(cells).expect("a mean");
            by_count += holds(&counted, 400.0 * difference);
            by_amount += holds(&weighed, 400.0 * 2.0 * difference);
            let case = retrain_case(&counted(&cells[0]), &counted(&cells[1]), 400.0, &settings());
            let bound = case.expect("a case").saving_at_least.expect("a bound");
            surely_below += u32::from(bound <= 30.0 * 400.0 * difference);
        }
        assert_covers(by_count, RUNS);
        assert_covers(by_amount, RUNS);
        let share = f64::from(surely_below) / f64::from(RUNS);
        assert!((0.87..=0.93).contains(&share), "the bound of 90 % holds in {share}");
    }

    #[test]
    fn the_interval_of_an_accumulated_loss_holds_the_truth() {
        const RUNS: u32 = 600;
        let truth = 8.0 * 500.0 * (true_cost(&NOW) - true_cost(&REFERENCE));
        let mut random = Random::new(2);
        let mut held = 0;
        for _ in 0..RUNS {
            let mut mean = |chances: &Chances, rows: u64| {
                let cells = draw(&mut random, chances, rows);
                matrix().mean_of_counts(&cells.map(|cell| cell.rows)).expect("a mean")
            };
            let reference = mean(&REFERENCE, 3_000);
            let windows: Vec<WindowCost> = (0..8)
                .map(|_| WindowCost { rows: 500, cost: mean(&NOW, 500), basis: Basis::Realised, reference })
                .collect();
            let loss = accumulated_loss(&windows).expect("a loss").loss;
            let interval = loss.interval.expect("an interval");
            held += u32::from(interval.low <= truth && truth <= interval.high);
        }
        assert_covers(held, RUNS);
    }

    #[test]
    fn money_is_written_as_people_write_it() {
        for (value, currency, text) in [
            (12_300.4, "EUR", "€ 12,300"),
            (-12_300.0, "EUR", "−€ 12,300"),
            (1_234_567.0, "usd", "$ 1,234,567"),
            (99.999, "GBP", "£ 100"),
            (4.2, "CHF", "CHF 4.20"),
            (0.003_14, "CHF", "CHF 0.0031"),
            (0.0, "EUR", "€ 0"),
            (-1e-12, "EUR", "€ 0"),
            (1e20, "EUR", "€ 1.00e20"),
            (f64::NAN, "EUR", "€ ?"),
        ] {
            assert_eq!(money(value, currency), text);
        }
    }

    #[test]
    fn rows_a_day_follow_from_the_windows_length() {
        assert_eq!(rows_per_day(50, Span::from_secs(3_600)), Some(1_200.0));
        assert_eq!(rows_per_day(50, Span::ZERO), None);
    }
}

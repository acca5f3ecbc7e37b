//! Prior shift: how common each class has become, from predictions alone.
//!
//! Assumes that rows of a class look as rows of that class did in the reference, and that only how common the
//! classes are has changed. Two ways: black-box shift estimation solves C·w = μ, C being the share of rows of
//! each prediction and class in the reference and μ the share of each prediction now; maximum likelihood asks
//! which shares of classes explain the calibrated probabilities best. The first needs no calibration, the
//! second is steadier, and takes over when the first has no good answer.
//!
//! Sources: Lipton, Wang and Smola 2018, "Detecting and correcting for label shift with black box
//! predictors", arXiv:1802.03916; Saerens, Latinne and Decaestecker 2002, doi:10.1162/089976602753284446.

use super::super::{Interval, NotComputable};
use crate::performance::random::Random;

/// Classes at most.
pub const PRIOR_CLASSES_MAX: usize = 100;

/// Above it the predictions tell the classes apart too badly for C to be solved.
const CONDITION_MAX: f64 = 50.0;

/// Rounds of maximum likelihood at most, and the change of any share that ends them.
const ROUNDS_MAX: u32 = 10_000;
const CHANGE_MIN: f64 = 1e-12;

/// Resamples for an interval, and where their numbers start.
const RESAMPLES: usize = 200;
const SEED: u64 = 42;

/// Rows of one set of calibrated probabilities, one a class.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassCell {
    /// By class; they add up to 1.
    pub probabilities: Vec<f64>,
    /// Rows.
    pub rows: u64,
}

/// What a reference says about the classes.
#[derive(Debug, Clone, PartialEq)]
pub struct PriorReference {
    /// Rows by prediction and class: `table[prediction][class]`.
    table: Vec<Vec<f64>>,
}

/// How common the classes are.
#[derive(Debug, Clone, PartialEq)]
pub struct PriorShift {
    /// Share of each class in the reference.
    pub reference: Vec<f64>,
    /// Share of each class now, by the way that `method` names.
    pub shares: Vec<f64>,
    /// 95 % intervals of the shares: percentiles of resampled counts, of the reference and of now.
    pub intervals: Vec<Interval>,
    /// `bbse` or `em`.
    pub method: &'static str,
    /// Shares by black-box shift estimation as they are solved, which may be below 0; none if C has no inverse.
    pub solved: Option<Vec<f64>>,
    /// Share of each class now over its share in the reference, as solved.
    pub weights: Option<Vec<f64>>,
    /// Shares by maximum likelihood.
    pub likeliest: Vec<f64>,
    /// Condition number of C: the product of the largest column sums of it and of its inverse.
    pub condition: f64,
}

impl PriorReference {
    /// From the reference's rows by prediction and class, `table[prediction][class]`.
    ///
    /// # Errors
    /// [`NotComputable`] when the table is not square, has fewer than 2 or more than [`PRIOR_CLASSES_MAX`]
    /// classes, or a class has no rows.
    pub fn from_table(table: &[Vec<u64>]) -> Result<Self, NotComputable> {
        let classes = table.len();
        if !(2..=PRIOR_CLASSES_MAX).contains(&classes) || table.iter().any(|row| row.len() != classes) {
            let reason = format!("the reference needs a square table of 2 to {PRIOR_CLASSES_MAX} classes");
            return Err(NotComputable::not_applicable(reason));
        }
        let table: Vec<Vec<f64>> =
            table.iter().map(|row| row.iter().map(|rows| *rows as f64).collect()).collect();
        let reference = Self { table };
        match reference.classes().iter().position(|rows| *rows == 0.0) {
            Some(class) => {
                Err(NotComputable::degenerate(format!("class {class} has no rows in the reference")))
            }
            None => Ok(reference),
        }
    }

    /// Rows by class.
    fn classes(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.table.len()];
        for row in &self.table {
            for (sum, rows) in sums.iter_mut().zip(row) {
                *sum += rows;
            }
        }
        sums
    }

    /// How common the classes are now: from the rows of each prediction, and from the calibrated
    /// probabilities of the same rows.
    ///
    /// # Errors
    /// [`NotComputable`] without rows, or when a cell or `predicted` does not have one number a class.
    pub fn estimate(&self, predicted: &[u64], cells: &[ClassCell]) -> Result<PriorShift, NotComputable> {
        let classes = self.table.len();
        let fits = |cell: &ClassCell| {
            cell.probabilities.len() == classes && cell.probabilities.iter().all(|p| (0.0..=1.0).contains(p))
        };
        if predicted.len() != classes || !cells.iter().all(fits) {
            return Err(NotComputable::not_applicable("a cell has not one probability for each class"));
        }
        let predicted: Vec<f64> = predicted.iter().map(|rows| *rows as f64).collect();
        let weights: Vec<f64> = cells.iter().map(|cell| cell.rows as f64).collect();
        if predicted.iter().sum::<f64>() == 0.0 || weights.iter().sum::<f64>() == 0.0 {
            return Err(NotComputable::InsufficientData { n: 0, needed: 1 });
        }
        let reference = shares(&self.classes());
        let (ratios, condition) = match solve(&self.table, &predicted) {
            Some((ratios, condition)) => (Some(ratios), condition),
            None => (None, f64::INFINITY),
        };
        let likeliest = likeliest(&reference, cells, &weights, &reference);
        let solved = ratios.as_ref().map(|ratios| product(ratios, &reference));
        let good =
            |solved: &&Vec<f64>| condition <= CONDITION_MAX && solved.iter().all(|share| *share >= 0.0);
        let (method, chosen) = match solved.as_ref().filter(good) {
            Some(solved) => ("bbse", shares(solved)),
            None => ("em", likeliest.clone()),
        };
        let resamples = self.resamples(method, &predicted, cells, &weights, &likeliest);
        let intervals =
            chosen.iter().enumerate().map(|(class, share)| percentiles(&resamples, class, *share));
        let intervals = intervals.collect();
        Ok(PriorShift {
            reference,
            shares: chosen,
            intervals,
            method,
            solved,
            weights: ratios,
            likeliest,
            condition,
        })
    }

    /// Shares from counts that are drawn anew: Poisson counts with the counts as means.
    fn resamples(
        &self,
        method: &str,
        predicted: &[f64],
        cells: &[ClassCell],
        weights: &[f64],
        start: &[f64],
    ) -> Vec<Vec<f64>> {
        let mut random = Random::new(SEED);
        let mut draw =
            |counts: &[f64]| -> Vec<f64> { counts.iter().map(|mean| random.poisson(*mean)).collect() };
        let resample = |_| {
            let table: Vec<Vec<f64>> = self.table.iter().map(|row| draw(row)).collect();
            let reference = shares(&Self { table: table.clone() }.classes());
            if method == "bbse" {
                let (ratios, _) = solve(&table, &draw(predicted))?;
                let solved = product(&ratios, &reference);
                return Some(shares(&solved.iter().map(|share| share.max(0.0)).collect::<Vec<f64>>()));
            }
            Some(likeliest(&reference, cells, &draw(weights), start))
        };
        (0..RESAMPLES).filter_map(resample).collect()
    }
}

fn shares(counts: &[f64]) -> Vec<f64> {
    let sum: f64 = counts.iter().sum();
    counts.iter().map(|count| if sum > 0.0 { count / sum } else { 0.0 }).collect()
}

fn product(one: &[f64], other: &[f64]) -> Vec<f64> {
    one.iter().zip(other).map(|(one, other)| one * other).collect()
}

/// The 2.5 % and 97.5 % points of a class's shares, with the share itself in between.
fn percentiles(resamples: &[Vec<f64>], class: usize, share: f64) -> Interval {
    let mut sorted: Vec<f64> = resamples.iter().filter_map(|shares| shares.get(class).copied()).collect();
    sorted.sort_by(f64::total_cmp);
    let tail = sorted.len() / 40;
    let low = sorted.get(tail).copied().unwrap_or(0.0);
    let high = sorted.iter().rev().nth(tail).copied().unwrap_or(1.0);
    Interval { low: low.min(share), high: high.max(share) }
}

/// The shares of classes that make the probabilities likeliest, by expectation and maximisation from `start`.
///
/// A probability p of a class means p·share/reference before it is divided by the sum over the classes.
fn likeliest(reference: &[f64], cells: &[ClassCell], weights: &[f64], start: &[f64]) -> Vec<f64> {
    let mut current = start.to_vec();
    for _ in 0..ROUNDS_MAX {
        let mut sums = vec![0.0; current.len()];
        let ratios: Vec<f64> = current
            .iter()
            .zip(reference)
            .map(|(share, before)| if *before > 0.0 { share / before } else { 0.0 })
            .collect();
        for (cell, weight) in cells.iter().zip(weights) {
            let whole: f64 = cell.probabilities.iter().zip(&ratios).map(|(p, ratio)| p * ratio).sum();
            if whole > 0.0 {
                for ((sum, p), ratio) in sums.iter_mut().zip(&cell.probabilities).zip(&ratios) {
                    *sum += weight * p * ratio / whole;
                }
            }
        }
        let next = shares(&sums);
        let change = next.iter().zip(&current).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        current = next;
        if change <= CHANGE_MIN {
            break;
        }
    }
    current
}

/// w with C·w = μ, and the condition number of C; both as shares of their rows. None when C has no inverse.
fn solve(table: &[Vec<f64>], predicted: &[f64]) -> Option<(Vec<f64>, f64)> {
    let all: f64 = table.iter().flatten().sum();
    let joint: Vec<Vec<f64>> = table.iter().map(|row| row.iter().map(|rows| rows / all).collect()).collect();
    let inverse = inverse(&joint)?;
    let now = shares(predicted);
    let weights = inverse.iter().map(|row| row.iter().zip(&now).map(|(a, b)| a * b).sum()).collect();
    Some((weights, norm(&joint) * norm(&inverse)))
}

/// The largest sum of the sizes in a column.
fn norm(matrix: &[Vec<f64>]) -> f64 {
    let column = |at: usize| matrix.iter().filter_map(|row| row.get(at)).map(|cell| cell.abs()).sum::<f64>();
    (0..matrix.len()).map(column).fold(0.0, f64::max)
}

/// The inverse of a square matrix by Gauss and Jordan's elimination with the largest pivot of a column.
fn inverse(matrix: &[Vec<f64>]) -> Option<Vec<Vec<f64>>> {
    let size = matrix.len();
    let unit = |at: usize| (0..size).map(move |place| f64::from(u8::from(place == at)));
    let mut rows: Vec<Vec<f64>> =
        matrix.iter().enumerate().map(|(at, row)| row.iter().copied().chain(unit(at)).collect()).collect();
    for column in 0..size {
        let cell = |row: &Vec<f64>| row.get(column).copied().unwrap_or(0.0);
        let largest = (column..size).max_by(|a, b| {
            let size_of = |at: &usize| rows.get(*at).map_or(0.0, |row| cell(row).abs());
            size_of(a).total_cmp(&size_of(b))
        })?;
        rows.swap(column, largest);
        let pivot = rows.get(column).map(cell).filter(|pivot| pivot.abs() > 1e-300)?;
        let scaled: Vec<f64> = rows.get(column)?.iter().map(|cell| cell / pivot).collect();
        for (at, row) in rows.iter_mut().enumerate() {
            if at == column {
                row.clone_from(&scaled);
                continue;
            }
            let factor = cell(row);
            for (cell, scaled) in row.iter_mut().zip(&scaled) {
                *cell -= factor * scaled;
            }
        }
    }
    let right = |row: Vec<f64>| row.into_iter().skip(size).collect();
    Some(rows.into_iter().map(right).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions_that_tell_nothing_leave_it_to_likelihood() {
        let reference = PriorReference::from_table(&[vec![50, 50], vec![50, 50]]).expect("two classes");
        let cells =
            [(0.9, 70), (0.1, 30)].map(|(p, rows)| ClassCell { probabilities: vec![1.0 - p, p], rows });
        let shift = reference.estimate(&[30, 70], &cells).expect("shares");
        assert_eq!((shift.method, shift.solved), ("em", None));
        assert!((shift.shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(shift.shares[1] > 0.7 && shift.intervals[1].low < 0.75, "{:?}", shift.intervals);
    }

    #[test]
    fn a_class_that_the_reference_lacks_is_refused() {
        let error = PriorReference::from_table(&[vec![5, 0], vec![5, 0]]).expect_err("no class 1");
        assert_eq!(error.status(), "degenerate");
    }
}

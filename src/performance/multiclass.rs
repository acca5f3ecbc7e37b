//! Several classes: how good the decisions are, and how well the scores of each class order the rows.

use super::binary::{Curve, PROBABILITY_MIN};
use super::confusion::Confusion;
use super::interval::{self, Estimate};
use super::{MetricValue, NotComputable, RowsError};

/// Most classes that are compared: their table of counts has the square of it, 16 MB.
pub const CLASSES_MAX: usize = 1_000;

/// Rows of several classes, reduced to what their metrics are computed from.
#[derive(Debug, Clone)]
pub struct Multiclass {
    pub(super) table: Confusion,
    pub(super) log_loss: Result<Estimate, NotComputable>,
    pub(super) areas: Result<Areas, NotComputable>,
}

/// The mean area over the classes, each against the rest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Areas {
    pub(super) mean: Estimate,
    /// How far it may be from that of the scores themselves.
    pub(super) bound: f64,
}

/// Rows with their scores.
struct Scored<'a> {
    classes: &'a [String],
    labels: &'a [usize],
    /// Row by row one score a class.
    scores: &'a [f64],
}

impl Multiclass {
    /// Rows of a true and a predicted class, by their places in `classes`.
    ///
    /// # Errors
    /// `UnknownClass` for a place beyond them, `TooManyClasses` above [`CLASSES_MAX`].
    pub fn from_predictions(classes: Vec<String>, rows: &[(usize, usize)]) -> Result<Self, RowsError> {
        if classes.len() > CLASSES_MAX {
            return Err(RowsError::TooManyClasses { classes: classes.len() });
        }
        let unknown = |(truth, predicted): &(usize, usize)| *truth.max(predicted) >= classes.len();
        if let Some(row) = rows.iter().position(unknown) {
            return Err(RowsError::UnknownClass { row, classes: classes.len() });
        }
        let table = Confusion::count(classes.len(), rows.iter().copied());
        Ok(Self { table, log_loss: Err(no_scores()), areas: Err(no_scores()) })
    }

    /// Rows of a true class and of a score for each class, row by row. Predicted is the class of the highest
    /// score, the first of equal ones.
    ///
    /// # Errors
    /// As [`from_predictions`](Self::from_predictions); `Scores` when they are not one a row and class,
    /// `NotFinite` when one is infinite or NaN.
    ///
    /// The scores of a row that are probabilities but for rounding are divided by their sum, as scikit-learn's
    /// users mostly do before they call it: the last digit decides between rows whose scores are tied.
    pub fn from_scores(classes: Vec<String>, labels: &[usize], scores: Vec<f64>) -> Result<Self, RowsError> {
        let mut scores = scores;
        let width = classes.len();
        if labels.len().checked_mul(width) != Some(scores.len()) {
            return Err(RowsError::Scores { scores: scores.len(), rows: labels.len(), classes: width });
        }
        if let Some(place) = scores.iter().position(|score| !score.is_finite()) {
            return Err(RowsError::NotFinite { row: place / width.max(1) });
        }
        for row in scores.chunks_mut(width.max(1)) {
            let sum: f64 = row.iter().sum();
            if (sum - 1.0).abs() <= ROUNDING {
                row.iter_mut().for_each(|score| *score /= sum);
            }
        }
        let rows: Vec<(usize, usize)> = labels
            .iter()
            .zip(scores.chunks(width.max(1)))
            .map(|(label, row)| (*label, highest(row)))
            .collect();
        let scored = Scored { classes: &classes, labels, scores: &scores };
        let (log_loss, areas) = (scored.log_loss(), scored.areas());
        Ok(Self { log_loss, areas, ..Self::from_predictions(classes, &rows)? })
    }

    pub(super) fn n(&self) -> u64 {
        self.table.n()
    }
}

/// Why there are no metrics of scores.
pub(super) fn no_scores() -> NotComputable {
    NotComputable::not_applicable("there are no scores")
}

/// Why a class has no area.
pub(super) fn without_rows(name: &str) -> NotComputable {
    NotComputable::degenerate(format!("no row is of class `{name}`"))
}

/// The sum of probabilities that were written with a few digits is this far from 1.
const ROUNDING: f64 = 1e-6;

/// The place of the highest score, the first of equal ones.
fn highest(scores: &[f64]) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (place, score) in scores.iter().enumerate() {
        if *score > best.1 {
            best = (place, *score);
        }
    }
    best.0
}

impl Scored<'_> {
    /// Label and scores of every row.
    fn rows(&self) -> impl Iterator<Item = (usize, &[f64])> + Clone {
        self.labels.iter().copied().zip(self.scores.chunks(self.classes.len().max(1)))
    }

    fn log_loss(&self) -> Result<Estimate, NotComputable> {
        let outside = |(_, row): &(usize, &[f64])| row.iter().any(|score| !(0.0..=1.0).contains(score));
        let outside = self.rows().filter(outside).count();
        if outside > 0 {
            let reason = format!("{outside} rows have scores outside of 0..=1, so they are no probabilities");
            return Err(NotComputable::not_applicable(reason));
        }
        let losses = self
            .rows()
            .map(|(label, row)| -at(row, label).clamp(PROBABILITY_MIN, 1.0 - PROBABILITY_MIN).ln());
        Ok(Estimate::mean(losses))
    }

    /// The areas share their rows, so the variance is from the influence of a row on all of them together.
    fn areas(&self) -> Result<Areas, NotComputable> {
        let weight = 1.0 / self.classes.len().max(1) as f64;
        let mut value = 0.0;
        let mut influences = vec![0.0; self.labels.len()];
        for (class, name) in self.classes.iter().enumerate() {
            let of_class = self.rows().map(|(label, row)| (label == class, at(row, class)));
            let curve = Curve::new(of_class.clone().collect());
            let lacking = || match self.labels.contains(&class) {
                false => without_rows(name),
                true => super::confusion::one_class(),
            };
            let area = curve.area().ok_or_else(lacking)?;
            value += weight * area.value;
            for (influence, (label, score)) in influences.iter_mut().zip(of_class) {
                *influence += weight * curve.influence(&area, label, score);
            }
        }
        let variance = interval::of_influences(influences.iter().copied());
        Ok(Areas { mean: Estimate { value, variance }, bound: 0.0 })
    }
}

/// Mean of −ln(score of the true class), the score kept within 1e-15 of 0 and 1, 0..=34.6.
pub(super) fn log_loss(rows: &Multiclass) -> Result<MetricValue, NotComputable> {
    Ok(MetricValue::normal(rows.log_loss.clone()?, (0.0, f64::INFINITY)))
}

/// Mean over the classes of the ROC AUC of a class's score for that class against all others, 0..=1.
///
/// Source: Provost and Domingos 2000, CeDER working paper IS-00-04; the influences are DeLong's components.
pub(super) fn auc_ovr_macro(rows: &Multiclass) -> Result<MetricValue, NotComputable> {
    let Areas { mean, bound } = rows.areas.clone()?;
    Ok(MetricValue::normal(mean, (0.0, 1.0)).within(bound))
}

fn at(scores: &[f64], class: usize) -> f64 {
    scores.get(class).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|class| format!("c{class}")).collect()
    }

    #[test]
    fn the_first_of_equal_scores_is_predicted() {
        let rows = Multiclass::from_scores(names(3), &[1, 1], vec![0.4, 0.4, 0.2, 0.1, 0.5, 0.4]);
        let rows = rows.expect("scores for every class");
        assert_eq!((rows.table.at(1, 0), rows.table.at(1, 1)), (1.0, 1.0));
    }

    #[test]
    fn a_class_without_rows_is_named() {
        let rows = Multiclass::from_scores(names(2), &[1, 1], vec![0.4, 0.6, 0.5, 0.5]).expect("rows");
        let reason = auc_ovr_macro(&rows).expect_err("no area");
        assert_eq!(reason.to_string(), "no row is of class `c0`");
    }

    #[test]
    fn rows_that_do_not_fit_are_refused() {
        let wrong = [
            Multiclass::from_predictions(names(2), &[(0, 2)]),
            Multiclass::from_predictions(names(CLASSES_MAX + 1), &[]),
            Multiclass::from_scores(names(2), &[0], vec![0.5]),
            Multiclass::from_scores(names(2), &[0], vec![0.5, f64::INFINITY]),
        ];
        let expected = [
            RowsError::UnknownClass { row: 0, classes: 2 },
            RowsError::TooManyClasses { classes: CLASSES_MAX + 1 },
            RowsError::Scores { scores: 1, rows: 1, classes: 2 },
            RowsError::NotFinite { row: 0 },
        ];
        for (wrong, expected) in wrong.into_iter().zip(expected) {
            assert_eq!(wrong.expect_err("refused"), expected);
        }
    }
}

//! Several classes: the confusion of truth and decision, and for each class the scores of its rows and of
//! the rest.
//!
//! Layout for `k` classes, with `d` the decision, `t` the truth, `c` a class, `b` a bin of its score:
//!
//! ```text
//! predicted   [d]
//! outcomes    [t][d], then [c][b][whether it is the truth], then rows without one usable score a class
//! sums        [d][t] log loss and its square, then, if cases have amounts, [d][t] amount and its square
//! ```

use serde::{Deserialize, Serialize};

use super::binary::PROBABILITY_MIN;
use super::{AmountSum, CLASSES_MAX, OutcomeSummary, Predicted, Sign, Sum, Unfit};

/// Bins of a class's score, of equal width over 0 to 1.
pub const SCORE_BINS: usize = 128;

/// Which classes there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MulticlassShape {
    /// Their names; scores are in this order.
    pub classes: Vec<String>,
    /// Whether events carry a score for each class.
    pub scored: bool,
    /// Whether cases have amounts.
    pub amounts: bool,
}

impl MulticlassShape {
    /// These classes; `None` for fewer than two or more than [`CLASSES_MAX`].
    pub fn new(classes: Vec<String>, scored: bool, amounts: bool) -> Option<Self> {
        (2..=CLASSES_MAX).contains(&classes.len()).then_some(Self { classes, scored, amounts })
    }

    pub(super) fn lengths(&self) -> (usize, usize, usize) {
        let k = self.classes.len();
        let scores = if self.scored { 2 * k * SCORE_BINS } else { 0 };
        (k, k * k + scores + 1, 2 * k * k * (1 + usize::from(self.amounts)))
    }

    /// Place of a count of outcomes by truth and decision.
    pub fn confusion_at(&self, truth: usize, decision: usize) -> usize {
        truth * self.classes.len() + decision
    }

    /// Place of a count of scores of a class.
    pub fn score_at(&self, class: usize, bin: usize, is_truth: bool) -> usize {
        self.classes.len().pow(2) + 2 * (class * SCORE_BINS + bin) + usize::from(is_truth)
    }

    /// Place of the count of labelled rows whose scores are not one probability a class.
    pub fn outside_at(&self) -> usize {
        let k = self.classes.len();
        k * k + if self.scored { 2 * k * SCORE_BINS } else { 0 }
    }

    /// Place of the sum of log losses; the sum of their squares is next to it.
    pub fn log_loss_at(&self, decision: usize, truth: usize) -> usize {
        2 * (decision * self.classes.len() + truth)
    }

    /// Place of the sum of amounts; the sum of their squares is next to it. Both are [`AmountSum`]s.
    pub fn amount_at(&self, decision: usize, truth: usize) -> usize {
        2 * (self.classes.len().pow(2) + decision * self.classes.len() + truth)
    }

    /// The class decided for: that of the event, or that of the highest score, the first among equals.
    pub(super) fn decision(&self, predicted: &Predicted) -> Result<usize, Unfit> {
        let highest = || {
            let scores = (predicted.values.len() == self.classes.len()).then_some(&predicted.values)?;
            let first_highest = |best: Option<(usize, f64)>, (class, score): (usize, &f64)| match best {
                Some((_, highest)) if highest >= *score => best,
                _ => Some((class, *score)),
            };
            scores.iter().enumerate().fold(None, first_highest).map(|(class, _)| class)
        };
        let class = predicted.class.map(usize::from).or_else(highest);
        class.filter(|class| *class < self.classes.len()).ok_or(Unfit)
    }

    /// The scores, if they are one probability a class.
    fn probabilities<'a>(&self, predicted: &'a Predicted) -> Option<&'a [f64]> {
        let are_probabilities = predicted.values.len() == self.classes.len()
            && predicted.values.iter().all(|score| (0.0..=1.0).contains(score));
        are_probabilities.then_some(&*predicted.values)
    }

    pub(super) fn predict(&self, summary: &mut OutcomeSummary, predicted: &Predicted) -> Result<(), Unfit> {
        summary.predicted.add(self.decision(predicted)?, 1);
        Ok(())
    }

    pub(super) fn count(
        &self,
        summary: &mut OutcomeSummary,
        predicted: &Predicted,
        decision: usize,
        truth: usize,
        sign: Sign,
    ) {
        sign.count(&mut summary.outcomes, self.confusion_at(truth, decision));
        if self.amounts {
            let (at, amount) = (self.amount_at(decision, truth), predicted.amount.unwrap_or(0.0));
            sign.sum(&mut summary.sums, at, AmountSum::encode(amount));
            sign.sum(&mut summary.sums, at + 1, AmountSum::encode(amount * amount));
        }
        let Some(scores) = self.probabilities(predicted).filter(|_| self.scored) else {
            return sign.count(&mut summary.outcomes, self.outside_at());
        };
        for (class, score) in scores.iter().enumerate() {
            sign.count(&mut summary.outcomes, self.score_at(class, score_bin(*score), class == truth));
        }
        let given = scores.get(truth).copied().unwrap_or(0.0);
        let loss = -given.clamp(PROBABILITY_MIN, 1.0).ln();
        let at = self.log_loss_at(decision, truth);
        sign.sum(&mut summary.sums, at, Sum::encode(loss));
        sign.sum(&mut summary.sums, at + 1, Sum::encode(loss * loss));
    }
}

/// The bin of a probability, each with its upper end.
fn score_bin(score: f64) -> usize {
    let bin = (score * SCORE_BINS as f64).ceil() - 1.0;
    (bin.max(0.0) as usize).min(SCORE_BINS - 1)
}

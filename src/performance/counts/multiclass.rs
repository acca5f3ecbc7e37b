//! Several classes from their confusion and the scores of each class.

use super::{Outcomes, pairs, provisional};
use crate::performance::NotComputable;
use crate::performance::binary::{Curve, Tie};
use crate::performance::confusion::{Confusion, one_class};
use crate::performance::interval::Estimate;
use crate::performance::multiclass::{Areas, Multiclass, no_scores, without_rows};
use crate::performance::weighed::Weighed;
use crate::summary::outcome::{MulticlassShape, SCORE_BINS};

pub(super) fn reduce(outcomes: &Outcomes, shape: &MulticlassShape) -> Multiclass {
    let classes = shape.classes.len();
    let cell = |(truth, decision)| outcomes.count(shape.confusion_at(truth, decision));
    let table = Confusion::new(classes, pairs(classes, classes).map(cell).collect(), outcomes.usable());
    match scores(outcomes, shape) {
        Ok(()) => Multiclass {
            log_loss: Ok(log_loss(outcomes, shape)),
            areas: areas(outcomes, shape, &table),
            table,
        },
        Err(reason) => Multiclass { table, log_loss: Err(reason.clone()), areas: Err(reason) },
    }
}

/// Whether every labelled row has one probability a class.
fn scores(outcomes: &Outcomes, shape: &MulticlassShape) -> Result<(), NotComputable> {
    // A count of rows that all weigh 1, so it is whole.
    match outcomes.count(shape.outside_at()).once as u64 {
        _ if !shape.scored => Err(no_scores()),
        0 => Ok(()),
        n => {
            let reason = format!("{n} rows have scores that are not one probability for each class");
            Err(NotComputable::not_applicable(reason))
        }
    }
}

fn log_loss(outcomes: &Outcomes, shape: &MulticlassShape) -> Estimate {
    let classes = shape.classes.len();
    let sum = |more: usize| -> Weighed {
        let at = |(decision, truth)| outcomes.sum(shape.log_loss_at(decision, truth) + more);
        pairs(classes, classes).map(at).sum()
    };
    Weighed::mean(outcomes.rows(), sum(0), sum(1))
}

/// Counts do not know which scores one row gives to several classes, so how the areas vary together is not
/// known either. The standard error of their mean is at most the mean of their standard errors, as of areas
/// that all move together (Minkowski's inequality), and that is taken: of two classes it is exact, of more the
/// interval is wider than it has to be.
fn areas(outcomes: &Outcomes, shape: &MulticlassShape, table: &Confusion) -> Result<Areas, NotComputable> {
    if outcomes.is_weighted() {
        return Err(provisional());
    }
    let (mut value, mut error, mut bound) = (0.0, 0.0, 0.0);
    for (class, name) in shape.classes.iter().enumerate() {
        let tie = |bin: usize| Tie {
            score: bin as f64,
            positives: outcomes.count(shape.score_at(class, bin, true)),
            negatives: outcomes.count(shape.score_at(class, bin, false)),
        };
        let curve = Curve::of_bins((0..SCORE_BINS).rev().map(tie));
        let lacking = || if table.of_truth(class) > 0.0 { one_class() } else { without_rows(name) };
        let area = curve.area().ok_or_else(lacking)?;
        value += area.value;
        bound += area.bound;
        // With a single row of a class there is no telling how far others may be.
        error += curve.variance(&area).map_or(f64::NAN, f64::sqrt);
    }
    let classes = shape.classes.len().max(1) as f64;
    let error = error / classes;
    let mean = Estimate { value: value / classes, variance: error * error };
    Ok(Areas { mean, bound: bound / classes })
}

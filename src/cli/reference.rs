//! What a baseline says of how the model did on its training rows, for `baseline show` and `check`.

use std::fmt;

use serde_json::{Value, json};

use super::text::{number, plain};
use crate::baseline::Outcomes;
use crate::summary::outcome::{ErrorSum, OutcomeShape, OutcomeSummary, Sum};

/// A figure of the training rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    /// What it is.
    pub(super) name: String,
    /// Its value.
    pub(super) value: f64,
}

impl fmt::Display for Figure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", plain(&self.name), number(self.value))
    }
}

/// The figures of some outcomes: the shares of the classes, or the mean absolute error.
pub(super) fn figures(shape: &OutcomeShape, summary: &OutcomeSummary) -> Vec<Figure> {
    if summary.labels == 0 {
        return Vec::new();
    }
    let labels = summary.labels as f64;
    let share = |name: String, count: u64| Figure { name, value: count as f64 / labels };
    match shape {
        OutcomeShape::Binary(shape) => {
            let cells = (0..shape.bins()).flat_map(|bin| [(bin, 0), (bin, 1)]);
            let positive = cells.map(|(bin, decision)| shape.outcome_at(bin, decision, 1));
            let positive = positive.map(|place| summary.outcomes.get(place)).sum();
            vec![share("share of class 1".to_owned(), positive)]
        }
        OutcomeShape::Multiclass(shape) => {
            let classes = shape.classes.iter().enumerate();
            let count = |truth| -> u64 {
                let cells = (0..shape.classes.len()).map(|decision| shape.confusion_at(truth, decision));
                cells.map(|place| summary.outcomes.get(place)).sum()
            };
            classes.map(|(truth, name)| share(format!("share of class {name}"), count(truth))).collect()
        }
        OutcomeShape::Regression(regression) => {
            let sums = (0..shape.strata())
                .filter_map(|stratum| summary.sums.get(regression.sum_at(stratum, ErrorSum::Absolute)));
            let absolute: i128 = sums.sum();
            let value = Sum::decode(absolute) * regression.scale / labels;
            vec![Figure { name: "mae".to_owned(), value }]
        }
        OutcomeShape::Ranking => Vec::new(),
    }
}

/// One line: how many rows, and the figures.
pub(super) fn line(outcomes: &Outcomes) -> String {
    let figures = figures(&outcomes.shape, &outcomes.total);
    let figures: Vec<String> = figures.iter().map(ToString::to_string).collect();
    let said = if figures.is_empty() { "nothing to measure".to_owned() } else { figures.join(", ") };
    format!("{} of {} training rows: {said}", outcomes.shape.task(), outcomes.total.labels)
}

/// The same for programs, with the segments.
pub(super) fn as_json(outcomes: &Outcomes) -> Value {
    let described = |summary: &OutcomeSummary| {
        let figures = figures(&outcomes.shape, summary);
        let figures = figures.iter().map(|figure| json!({ "name": figure.name, "value": figure.value }));
        json!({ "labels": summary.labels, "figures": figures.collect::<Vec<_>>() })
    };
    let mut value = described(&outcomes.total);
    let segments = outcomes.segments.iter().map(|(name, summary)| {
        let mut segment = described(summary);
        extend(&mut segment, json!({ "name": name }));
        segment
    });
    let more = json!({
        "task": outcomes.shape.task(),
        "classes": outcomes.classes.names(),
        "scores": outcomes.scores,
        "has_prediction": outcomes.has_prediction,
        "amount": outcomes.amount,
        "rows_left_out": outcomes.left_out,
        "panes": outcomes.panes_len(),
        "segments": segments.collect::<Vec<_>>(),
    });
    extend(&mut value, more);
    value
}

fn extend(value: &mut Value, more: Value) {
    if let (Value::Object(members), Value::Object(more)) = (value, more) {
        members.extend(more);
    }
}

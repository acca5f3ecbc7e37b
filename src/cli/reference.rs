//! What a baseline says of how the model did on its training rows, for `baseline show` and `check`.

use serde_json::{Value, json};

use super::evaluate::{metric_as_json, metrics_table};
use super::text::{number, plain};
use crate::baseline::Outcomes;
use crate::performance::Measured;
use crate::performance::counts::{self, headline_of, measure, measure_one};
use crate::summary::outcome::{OutcomeShape, OutcomeSummary};

/// One line: how many rows, the headline metric with its interval, and how common the classes are. The headline
/// is `metric`, or else the usual one of the task.
pub(super) fn line(outcomes: &Outcomes, metric: Option<&str>) -> String {
    let metric = metric.unwrap_or_else(|| headline_of(&outcomes.shape));
    let measured = measure_one(&counts::Outcomes::of(&outcomes.shape, &outcomes.total), metric);
    let shares = shares(&outcomes.shape, &outcomes.total);
    let shares =
        shares.iter().map(|(name, share)| format!("share of class {} {}", plain(name), number(*share)));
    let said: Vec<String> = measured.as_ref().map(valued).into_iter().chain(shares).collect();
    format!("{} of {} training rows: {}", outcomes.shape.task(), outcomes.total.labels, said.join(", "))
}

/// A metric with its interval, or why it has no value.
fn valued(measured: &Measured) -> String {
    let name = &measured.metric;
    match &measured.outcome {
        Ok(value) => {
            let interval = value.interval.map_or_else(
                || "no interval".to_owned(),
                |interval| format!("{} to {}", number(interval.low), number(interval.high)),
            );
            format!("{name} {} ({interval})", number(value.value))
        }
        Err(why) => format!("{name} cannot be computed, {why}"),
    }
}

/// Every metric of the training rows as a table for people.
pub(super) fn table(outcomes: &Outcomes) -> String {
    metrics_table(&measure(&counts::Outcomes::of(&outcomes.shape, &outcomes.total)))
}

/// The share of each class among the labels; of two classes that of class 1, of numbers and orders none.
fn shares(shape: &OutcomeShape, summary: &OutcomeSummary) -> Vec<(String, f64)> {
    let share = |count: u64| count as f64 / summary.labels.max(1) as f64;
    match shape {
        OutcomeShape::Binary(shape) => {
            let (positives, _) = counts::class_counts(shape, summary);
            vec![("1".to_owned(), share(positives.iter().sum()))]
        }
        OutcomeShape::Multiclass(shape) => {
            let classes = shape.classes.iter().enumerate();
            let count = |truth| -> u64 {
                let cells = (0..shape.classes.len()).map(|decision| shape.confusion_at(truth, decision));
                cells.map(|place| summary.outcomes.get(place)).sum()
            };
            classes.map(|(truth, name)| (name.to_string(), share(count(truth)))).collect()
        }
        OutcomeShape::Regression(_) | OutcomeShape::Ranking => Vec::new(),
    }
}

/// The same for programs, with every metric, and with the segments.
pub(super) fn as_json(outcomes: &Outcomes) -> Value {
    let described = |summary: &OutcomeSummary| {
        let metrics = measure(&counts::Outcomes::of(&outcomes.shape, summary));
        let shares = shares(&outcomes.shape, summary);
        let shares = shares.into_iter().map(|(class, share)| json!({ "class": class, "share": share }));
        json!({
            "labels": summary.labels,
            "metrics": metrics.iter().map(metric_as_json).collect::<Vec<_>>(),
            "class_shares": shares.collect::<Vec<_>>(),
        })
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

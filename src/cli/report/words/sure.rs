//! How sure all of it is.

use crate::cli::report::facts::{Facts, Performance};
use crate::cli::report::figures::{count, name, of, percent, sentence, value};
use crate::cli::report::page::{Block, Section};
use crate::performance::{Estimation, Maturity};

pub(super) fn section(facts: &Facts) -> Section {
    let mut lines: Vec<String> = facts.performance.iter().flat_map(of_performance).collect();
    lines.extend(of_drift(facts));
    if lines.is_empty() {
        lines.push("There is nothing to be sure of yet.".to_owned());
    }
    Section { title: "How sure this is".to_owned(), blocks: vec![Block::List(lines)] }
}

fn of_performance(performance: &Performance) -> Vec<String> {
    let mut lines = Vec::new();
    let timeline = &performance.timeline;
    let with = |maturity: Maturity| timeline.iter().filter(|point| point.maturity == maturity).count();
    let (predictions, labels) = timeline.iter().fold((0_u64, 0_u64), |(p, l), point| {
        (p.saturating_add(point.predictions), l.saturating_add(point.labels))
    });
    let share = if predictions > 0 { percent(labels as f64 / predictions as f64) } else { "–".to_owned() };
    lines.push(format!(
        "Labels: {} for {} predictions ({share}). Of {} {} have as good as all their labels, {} are provisional, \
         and {} wait for labels.",
        count(labels),
        count(predictions),
        of(timeline.len() as u64, "window"),
        with(Maturity::Mature),
        with(Maturity::Provisional),
        with(Maturity::Waiting)
    ));
    if let Some(correction) = &performance.correction {
        lines.push(format!("Labels stand for those that are still missing: {}", sentence(correction)));
    }
    match &performance.estimation {
        Some(estimation) => lines.extend(estimator(performance, estimation)),
        None if performance.newest_realised.is_some() => {
            lines.push("There are no estimates without labels; every value is from labels.".to_owned());
        }
        None => {}
    }
    if !performance.joined.is_empty() {
        let parts: Vec<String> = performance
            .joined
            .iter()
            .map(|(outcome, n)| format!("{} {}", name(&outcome.replace('_', " ")), count(*n)))
            .collect();
        lines.push(format!("Predictions and labels since the store was made: {}.", parts.join(", ")));
    }
    lines
}

fn estimator(performance: &Performance, estimation: &Estimation) -> Vec<String> {
    let method = name(&estimation.method).to_uppercase();
    let assumes = format!("The estimates ({method}) assume: {}", sentence(&estimation.assumes));
    let measured = match (estimation.windows_compared, estimation.mean_absolute_error) {
        (0, _) => {
            "Their error is not measured yet: no window has both an estimate and all its labels.".to_owned()
        }
        (windows, error) => format!(
            "In {} windows with all their labels, the realised {} lay within the estimate's interval {} times{}.",
            count(windows),
            name(&performance.headline),
            count(estimation.windows_held),
            error.map_or_else(String::new, |error| format!(
                ", and the estimate was {} off on average",
                value(error)
            ))
        ),
    };
    let mut lines = vec![assumes, measured];
    if !estimation.reliable {
        lines.push(
            "The estimates are marked unreliable: realised values have left their intervals. Do not decide by them."
                .to_owned(),
        );
    }
    lines
}

fn of_drift(facts: &Facts) -> Vec<String> {
    let drift = &facts.drift;
    if drift.windows == 0 {
        return Vec::new();
    }
    let calibrated = match drift.calibrated {
        0 => "No window was ranked among enough reference windows, so it does not rest on them: rows are taken as \
              independent, and an alarm is weaker evidence."
            .to_owned(),
        n if n == drift.windows => "Every window was ranked among reference windows, on which it rests.".to_owned(),
        n => format!(
            "{} of {} windows were ranked among reference windows, on which it rests; the others take rows as \
             independent.",
            count(n as u64),
            count(drift.windows as u64)
        ),
    };
    vec![format!(
        "False alarms: on average at most {} per {} are allowed, over all columns, segments and window \
         lengths. {calibrated}",
        drift.budget.alarms, drift.budget.period
    )]
}

//! How the model does.

use crate::cli::report::facts::{Comparison, Facts, Performance, Point};
use crate::cli::report::figures::{
    amount_ranged, count, maturity, minute, name, or_dash, percent, ranged, value,
};
use crate::cli::report::page::{Block, Chart, Section, Table};
use crate::performance::Maturity;

/// Windows of the table: the newest.
const WINDOWS_SHOWN: usize = 5;
/// Metrics of the table.
const METRICS_SHOWN: usize = 8;

/// How the model does, in a sentence or two.
pub(super) fn line(facts: &Facts) -> Option<String> {
    let performance = facts.performance.as_ref()?;
    let mut lines = Vec::new();
    if let Some(point) = performance.realised() {
        lines.push(realised(performance, point)?);
    }
    let later = performance.newest_estimated > performance.newest_realised;
    if let Some(point) = performance.estimated().filter(|_| later) {
        lines.push(estimated(performance, point)?);
    }
    (!lines.is_empty()).then(|| lines.join(" "))
}

fn realised(performance: &Performance, point: &Point) -> Option<String> {
    let provisional = match point.maturity {
        Maturity::Mature => "",
        _ => " This is provisional: labels are still coming.",
    };
    Some(format!(
        "Realised {} is {}{}, from {} labels ({} of the predictions) of the window of {}.{provisional}",
        name(&performance.headline),
        ranged(point.realised?),
        against(performance, point, point.realised?),
        count(point.labels),
        or_dash(point.coverage, percent),
        minute(point.window_start)
    ))
}

fn estimated(performance: &Performance, point: &Point) -> Option<String> {
    let unreliable = performance.estimation.as_ref().is_some_and(|estimation| !estimation.reliable);
    Some(format!(
        "Without labels, {} is estimated at {}{} for the window of {}.{}",
        name(&performance.headline),
        ranged(point.estimated?),
        against(performance, point, point.estimated?),
        minute(point.window_start),
        if unreliable {
            " The estimates are marked unreliable: realised values have left their intervals."
        } else {
            ""
        }
    ))
}

fn against(performance: &Performance, point: &Point, range: crate::performance::Ranged) -> String {
    let Some(reference) = point.reference else { return String::new() };
    let training = value(reference);
    match performance.compare(range, reference) {
        Comparison::AsInTraining => format!(", not clearly different from {training} in training"),
        Comparison::Worse => format!(", worse than {training} in training"),
        Comparison::Better => format!(", better than {training} in training"),
        Comparison::Different => format!(", different from {training} in training"),
    }
}

pub(super) fn section(facts: &Facts) -> Section {
    let title = "How the model does".to_owned();
    let Some(performance) = &facts.performance else {
        let text = "Not measured: no performance is recorded for this model. This report knows how the data moved, \
                    which does not say whether predictions became worse. To measure it, give the model a task and a \
                    stream of labels in the configuration.";
        return Section { title, blocks: vec![Block::Text(text.to_owned())] };
    };
    let mut blocks = Vec::new();
    // What the newest window says stands at the top of the page.
    if performance.newest_realised.is_none() && performance.newest_estimated.is_none() {
        let metric = name(&performance.headline);
        let text = format!("There is neither a realised nor an estimated value of {metric} in this period.");
        blocks.push(Block::Text(text));
    } else {
        let alt = format!(
            "{} by windows of {}, realised and estimated, with its value in training; the table below has the newest.",
            name(&performance.headline),
            performance.length
        );
        blocks.push(Block::Chart { chart: Chart::Metric, alt });
    }
    blocks.push(Block::Table(windows(performance)));
    blocks.extend(metrics(performance).map(Block::Table));
    blocks.extend(segments(performance, facts).map(Block::Table));
    Section { title, blocks }
}

fn windows(performance: &Performance) -> Table {
    let head = [
        ("Window from", false),
        ("Realised", true),
        ("Estimated", true),
        ("Training", true),
        ("Labels", true),
        ("Coverage", true),
        ("State", false),
    ];
    let mut table = Table::new(&head);
    let skipped = performance.timeline.len().saturating_sub(WINDOWS_SHOWN);
    table.rows = performance.timeline.iter().skip(skipped).rev().map(window).collect();
    table.note = format!(
        "{}{} in windows of {}; the newest {} of {}.{}",
        name(&performance.headline),
        match performance.higher_is_better {
            Some(true) => ", where higher is better,",
            Some(false) => ", where lower is better,",
            None => "",
        },
        performance.length,
        performance.timeline.len().min(WINDOWS_SHOWN),
        count(performance.timeline.len() as u64),
        performance
            .limit
            .map_or_else(String::new, |limit| format!(" The limit that is set is {}.", value(limit)))
    );
    table
}

fn window(point: &Point) -> Vec<String> {
    let outside = if point.estimate_holds == Some(false) { " (outside of the estimate)" } else { "" };
    vec![
        minute(point.window_start),
        or_dash(point.realised, ranged),
        or_dash(point.estimated, ranged),
        or_dash(point.reference, value),
        count(point.labels),
        or_dash(point.coverage, percent),
        format!("{}{outside}", maturity(point.maturity)),
    ]
}

/// The other metrics of the window that the headline is of.
fn metrics(performance: &Performance) -> Option<Table> {
    let mut table =
        Table::new(&[("Metric", false), ("Realised", true), ("Estimated", true), ("Training", true)]);
    let others = || {
        let has_value =
            |metric: &&crate::performance::MetricReading| metric.value.is_some() || metric.estimate.is_some();
        performance.metrics.iter().filter(|metric| metric.metric != performance.headline).filter(has_value)
    };
    table.rows = others()
        .take(METRICS_SHOWN)
        .map(|metric| {
            let realised = metric.value.map(|value| crate::performance::Ranged {
                value,
                low: metric.low,
                high: metric.high,
            });
            vec![
                name(&metric.metric),
                or_dash(realised, ranged),
                or_dash(metric.estimate, ranged),
                or_dash(metric.reference, value),
            ]
        })
        .collect();
    let point = performance.realised().or_else(|| performance.estimated())?;
    let more = others().count().saturating_sub(METRICS_SHOWN);
    table.note = format!("Other metrics of the window of {}.", minute(point.window_start));
    if more > 0 {
        table.note.push_str(&format!(" {more} more are in the JSON format."));
    }
    (!table.rows.is_empty()).then_some(table)
}

fn segments(performance: &Performance, facts: &Facts) -> Option<Table> {
    if performance.segments.is_empty() {
        return None;
    }
    let loss = facts.money.as_ref().map(|money| format!("Loss per day, {}", name(&money.currency)));
    let mut head = vec![
        ("Segment", false),
        ("Realised", true),
        ("Estimated", true),
        ("Training", true),
        ("Labels", true),
    ];
    head.extend(loss.as_deref().map(|loss| (loss, true)));
    let mut table = Table::new(&head);
    table.rows = performance
        .segments
        .iter()
        .map(|segment| {
            let mut row = vec![
                name(&segment.segment),
                or_dash(segment.realised, ranged),
                or_dash(segment.estimated, ranged),
                or_dash(segment.reference, value),
                count(segment.labels),
            ];
            row.extend(loss.as_ref().map(|_| or_dash(segment.loss_per_day, amount_ranged)));
            row
        })
        .collect();
    table.note = format!(
        "{} by segment, each in its newest window that has a value, the worst first.",
        name(&performance.headline)
    );
    if performance.segments_more > 0 {
        table.note.push_str(&format!(" {} more segments are not shown.", performance.segments_more));
    }
    Some(table)
}

//! What `driftline check` says of changes that a model's windows are too small to show.
//!
//! The rows of a window are taken from the training file's own timestamps; without them a few sizes stand
//! for what traffic there may be.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::text::{aligned, optional, percent};
use crate::baseline::Baseline;
use crate::config::Model;
use crate::event::Span;
use crate::monitor::{ModelSettings, Prepared, shortage};
use crate::verdict::blind_spots::{BlindSpot, Traffic, blind_spots};
use crate::verdict::{Standing, alpha_per_block, alpha_per_window, blocks_needed};

/// Rows of a window where the training file has no timestamps.
const ROWS_ASSUMED: [f64; 3] = [1_000.0, 10_000.0, 100_000.0];
/// Columns of a table for people: the blindest.
const COLUMNS_SHOWN: usize = 10;
/// Baselines of a model that are looked at; versions of one model rarely differ in what they show.
const BASELINES_MAX: usize = 3;

/// The blind spots of one baseline in windows of one length.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    baseline: PathBuf,
    length: Span,
    rows: f64,
    /// Whether `rows` is assumed, for want of timestamps in the training file.
    assumed: bool,
    alpha: f64,
    /// Whether alarms are by rank among reference windows that carry the budget.
    calibrated: bool,
    /// The reference windows, of the training file or of the file that `reference` names.
    standing: Option<Standing>,
    /// Why it is not calibrated.
    reason: Option<String>,
    /// The season that windows are compared within or none, and why.
    season_note: String,
    columns: Vec<BlindSpot>,
}

/// The tables of a model: for each of its baselines, window length and traffic, the blindest column first.
/// A baseline that cannot be read has none; `check` says elsewhere what is wrong with it.
pub(super) fn tables(model: &Model, settings: &ModelSettings, baselines: &[PathBuf]) -> Vec<Table> {
    let read = baselines.iter().take(BASELINES_MAX);
    let read = read.filter_map(|path| Some((path, Baseline::read(path).ok()?)));
    let windows = &model.windows.windows;
    let mut tables = Vec::new();
    for (path, baseline) in read {
        let calibrations = &Prepared::new(Arc::new(baseline.clone()), settings).calibrations;
        for window in windows {
            let parts = settings.budget_parts();
            let alpha = alpha_per_window(model.verdict.budget, window.slide, parts);
            let block = alpha_per_block(model.verdict.budget, window.length, parts);
            let found = calibrations.get(window.length);
            let ranking = found.ok().map(|calibration| (&**calibration, block));
            let standing = found.ok().map(|calibration| calibration.standing(block));
            let calibrated = standing.as_ref().is_some_and(|standing| standing.calibrated);
            let reason = match (&standing, found) {
                (Some(standing), _) if !calibrated => Some(shortage(standing, block)),
                (_, Err(why)) => {
                    Some(learning(model, window.length, block).unwrap_or_else(|| why.to_owned()))
                }
                _ => None,
            };
            let (traffic, assumed) = traffic(&baseline, window.length);
            tables.extend(traffic.into_iter().map(|traffic| Table {
                baseline: path.clone(),
                length: window.length,
                rows: traffic.rows,
                assumed,
                alpha,
                calibrated,
                standing: standing.clone(),
                reason: reason.clone(),
                season_note: calibrations.season_note().to_owned(),
                columns: blind_spots(&baseline, traffic, &model.verdict, alpha, ranking),
            }));
        }
    }
    tables
}

/// What `learn` will come to, if it is set: said where neither the training rows nor a file gave reference windows.
fn learning(model: &Model, length: Span, alpha: f64) -> Option<String> {
    let learn = model.verdict.learn?;
    let needed = blocks_needed(alpha, 0.0);
    let needs = Span::from_micros(length.as_micros().saturating_mul(needed as i64));
    let then = if needs > learn {
        format!("too short for this budget: {needed:.0} windows of {length} take {needs} at the least")
    } else {
        format!("when {needed:.0} windows of {length} are needed, which take {needs} at the least")
    };
    Some(format!("a version's first {learn} are learned from (`learn`), {then}"))
}

/// Why there is a season or none, a line for each baseline that says something else.
pub(super) fn seasons(tables: &[Table]) -> Vec<&str> {
    let mut lines: Vec<&str> = Vec::new();
    for table in tables {
        if !lines.contains(&table.season_note.as_str()) {
            lines.push(&table.season_note);
        }
    }
    lines
}

/// What windows of each baseline and length are ranked among, a line each.
pub(super) fn calibration(tables: &[Table]) -> Vec<String> {
    let mut said = Vec::new();
    let mut lines = Vec::new();
    for table in tables {
        let key = (&table.baseline, table.length);
        if said.contains(&key) {
            continue;
        }
        said.push(key);
        lines.push(ranked_among(table.length, table.standing.as_ref(), table.reason.as_deref()));
    }
    lines
}

/// What windows of a length are ranked among, or the reason why that does not carry the budget.
pub(super) fn ranked_among(length: Span, standing: Option<&Standing>, reason: Option<&str>) -> String {
    let length = length.to_string();
    match (standing, reason) {
        (Some(standing), None) => format!(
            "{length:<6} calibrated: {} reference windows, worth {:.0}; an alarm is above the {}",
            standing.blocks,
            standing.effective,
            if standing.k <= 1 { "largest".to_owned() } else { format!("largest but {}", standing.k - 1) }
        ),
        (_, Some(reason)) => format!("{length:<6} not calibrated: {reason}"),
        (None, None) => format!("{length:<6} not calibrated"),
    }
}

fn traffic(baseline: &Baseline, length: Span) -> (Vec<Traffic>, bool) {
    match Traffic::of_training(baseline, length) {
        Some(traffic) => (vec![traffic], false),
        None => (ROWS_ASSUMED.map(|rows| Traffic { rows }).to_vec(), true),
    }
}

/// The tables for people, a line each. Where the rows are assumed, only those of the length with the smallest
/// share of the budget are shown: the other lengths see slightly more.
pub(super) fn lines(tables: &[Table]) -> Vec<String> {
    let strictest = tables.iter().map(|table| table.alpha).fold(f64::INFINITY, f64::min);
    let mut shown: Vec<&Table> = Vec::new();
    for table in tables.iter().filter(|table| !table.assumed || table.alpha <= strictest) {
        let is_new = |other: &&Table| other.baseline != table.baseline || other.rows != table.rows;
        if !table.assumed || shown.iter().all(is_new) {
            shown.push(table);
        }
    }
    let mut lines = Vec::new();
    let mut named = None;
    for table in shown {
        if tables.iter().any(|other| other.baseline != table.baseline) && named != Some(&table.baseline) {
            lines.push(format!("of {}", table.baseline.display()));
            named = Some(&table.baseline);
        }
        lines.extend(one(table));
    }
    lines
}

fn one(table: &Table) -> Vec<String> {
    let (rows, length) = (table.rows, table.length);
    let origin = if table.assumed { "if it has so many" } else { "as in the training data" };
    let mut lines = vec![format!("{rows:.0} rows in {length}, {origin}")];
    let reason = table.columns.first().and_then(|spot| spot.reason.as_ref());
    let is_the_same = table.columns.iter().all(|spot| spot.reason.as_ref() == reason);
    if let Some(reason) = reason.filter(|_| is_the_same) {
        lines.push(format!("  nothing is seen: {reason}"));
        return lines;
    }
    let head =
        ["column", "mean shift in sd", "mean shift", "share", "missing", ""].map(str::to_owned).to_vec();
    let cells = table.columns.iter().take(COLUMNS_SHOWN).map(row);
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(cells).collect();
    let text = aligned(&rows, &[false, true, true, true, true]);
    lines.extend(text.lines().map(|line| format!("  {line}")));
    if let Some(more) = table.columns.len().checked_sub(COLUMNS_SHOWN).filter(|more| *more > 0) {
        lines.push(format!("  and {more} more columns that show smaller changes"));
    }
    lines
}

fn row(spot: &BlindSpot) -> Vec<String> {
    let missing = spot.missing_rate.map_or_else(
        || "-".to_owned(),
        |rate| format!("{} to {}", percent(rate.training), percent(rate.seen_at)),
    );
    vec![
        spot.column.to_string(),
        optional(spot.mean_shift_sd),
        optional(spot.mean_shift),
        spot.share_shift.map_or_else(|| "-".to_owned(), percent),
        missing,
        spot.reason.clone().unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(baseline: &str, hours: i64, rows: f64, assumed: bool) -> Table {
        let spot = |index: usize| BlindSpot {
            column: format!("column_{index}").into(),
            mean_shift_sd: Some(0.5),
            mean_shift: Some(5.0),
            missing_rate: None,
            share_shift: None,
            reason: (rows < 50.0).then(|| "too few".to_owned()),
        };
        let length = Span::from_secs(3_600 * hours);
        let columns = (0..12).map(spot).collect();
        Table {
            baseline: baseline.into(),
            length,
            rows,
            assumed,
            alpha: 0.01 * hours as f64,
            calibrated: false,
            standing: None,
            reason: None,
            season_note: String::new(),
            columns,
        }
    }

    #[test]
    fn the_ten_blindest_columns_are_shown_and_the_others_counted() {
        let lines = lines(&[table("a", 1, 1_234.4, false)]);
        assert_eq!(lines[0], "1234 rows in 1h, as in the training data");
        assert_eq!(lines.len(), 1 + 1 + COLUMNS_SHOWN + 1);
        assert!(lines[lines.len() - 1].contains("and 2 more columns"));
    }

    #[test]
    fn assumed_rows_are_shown_for_one_length_only() {
        let tables = [table("a", 1, 1e3, true), table("a", 1, 1e4, true), table("a", 6, 1e3, true)];
        let heads: Vec<String> =
            lines(&tables).into_iter().filter(|line| line.contains(" rows in ")).collect();
        assert_eq!(heads, ["1000 rows in 1h, if it has so many", "10000 rows in 1h, if it has so many"]);
    }

    #[test]
    fn a_reason_that_all_columns_share_is_said_once_and_baselines_are_told_apart() {
        let lines = lines(&[table("a", 1, 40.0, false), table("b", 1, 40.0, false)]);
        let block = |name| [format!("of {name}"), "40 rows in 1h, as in the training data".to_owned()];
        let [a, b] = ["a", "b"].map(block);
        let none = || "  nothing is seen: too few".to_owned();
        assert_eq!(lines, a.into_iter().chain([none()]).chain(b).chain([none()]).collect::<Vec<_>>());
    }
}

//! `driftline baseline show`: what a baseline file holds, for people and as one JSON object.
//!
//! A baseline keeps the counts of every pane of its training rows, not figures made from them, so each
//! statistic of a reference window of any length can be computed when it is asked for. Here that is how far
//! the windows of the training data themselves lie from the whole of it: the least distance that a live
//! window can be expected to have. A window's own rows are part of that whole, which makes the distance a
//! little smaller than a new window's, the more so the larger its share of the rows.

use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::file_failure;
use crate::baseline::{Baseline, Column, Reference, Segment};
use crate::cli::text::{aligned, number, optional, percent, plain};
use crate::cli::{Failure, model_of, reference};
use crate::config::{self, Purpose};
use crate::drift::{self, Pair};
use crate::event::{ColumnKind, Role, Span, Timestamp};
use crate::summary::{Categories, ColumnSummary, Grid, ModelSummary, NumericSummary, Shape};

/// Names or single values shown of a column.
const TOP_SHOWN: usize = 5;
/// Columns shown of the windows of one length.
const MOVED_SHOWN: usize = 5;
/// Multiples of the pane that are looked at if no length is asked for …
const MULTIPLES: [i64; 4] = [1, 6, 24, 168];
/// … as long as they give so many windows.
const WINDOWS_MIN: usize = 5;

/// What to show.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The baseline file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// One JSON object.
    #[arg(long)]
    json: bool,
    /// Lengths of the reference windows, such as 1d,7d; multiples of the pane.
    #[arg(long, value_name = "DURATIONS", value_delimiter = ',')]
    windows: Vec<Span>,
    /// A configuration whose windows are looked at.
    #[arg(long, value_name = "FILE", conflicts_with = "windows")]
    config: Option<PathBuf>,
    /// The model in the configuration.
    #[arg(long, value_name = "NAME", requires = "config")]
    model: Option<String>,
}

/// Shows the file.
///
/// # Errors
/// [`Failure`] when it is no baseline file, or a window length does not fit its panes.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let baseline = Baseline::read(&args.file).map_err(|error| file_failure(&error))?;
    let windows = match &baseline.reference {
        None if args.windows.is_empty() => Vec::new(),
        None => {
            return Err(Failure::operator("the baseline was built without a timestamp: it has no windows"));
        }
        Some(reference) => args.windows(&baseline, reference)?,
    };
    let written = if args.json {
        writeln!(out, "{}", as_json(&baseline, &windows))
    } else {
        write_text(&baseline, &windows, out)
    };
    written.map_err(Failure::other)
}

// === reference windows ===

/// The reference windows of one length.
struct Windows {
    length: Span,
    /// How many hold rows.
    number: usize,
    /// The columns, the one whose largest distance is largest first.
    columns: Vec<Moved>,
}

/// How far the windows of one column lie from the whole.
struct Moved {
    name: String,
    /// `ks` or `tv`.
    measure: &'static str,
    median: f64,
    largest: f64,
}

impl Args {
    fn windows(&self, baseline: &Baseline, reference: &Reference) -> Result<Vec<Windows>, Failure> {
        let first = reference.panes.first().map_or(Timestamp::default(), |(start, _)| *start);
        let mut offset = first - first.floor_to(reference.pane, Span::ZERO);
        let mut lengths = self.windows.clone();
        if let Some(path) = &self.config {
            let config = config::load_for(path, Purpose::Build)
                .map_err(|errors| Failure::operator(errors.render(false)))?;
            let settings = &model_of(&config, self.model.as_deref())?.windows;
            offset = settings.offset;
            lengths = settings.windows.iter().map(|window| window.length).collect();
        }
        if lengths.is_empty() {
            return Ok(usual_windows(baseline, reference, offset));
        }
        lengths.sort_unstable();
        lengths.dedup();
        let of_length = |length: Span| {
            let pane = reference.pane.as_micros().max(1);
            if length <= Span::ZERO || length.as_micros() % pane != 0 {
                return Err(Failure::operator(format!(
                    "windows of {length} are not made of the baseline's panes of {}",
                    reference.pane
                )));
            }
            Ok(windows_of(baseline, reference, length, offset))
        };
        lengths.into_iter().map(of_length).collect()
    }
}

/// Windows of a pane, and of some multiples of it that give enough of them.
fn usual_windows(baseline: &Baseline, reference: &Reference, offset: Span) -> Vec<Windows> {
    let lengths = MULTIPLES.iter().filter_map(|times| reference.pane.as_micros().checked_mul(*times));
    let windows = lengths.map(|length| windows_of(baseline, reference, Span::from_micros(length), offset));
    windows.filter(|windows| windows.length == reference.pane || windows.number >= WINDOWS_MIN).collect()
}

fn windows_of(baseline: &Baseline, reference: &Reference, length: Span, offset: Span) -> Windows {
    let mut distances: Vec<Vec<f64>> = vec![Vec::new(); baseline.columns.len()];
    let mut number = 0;
    let mut close = |window: ModelSummary| {
        number += 1;
        for ((column, current), all) in baseline.columns.iter().zip(&window.columns).zip(&mut distances) {
            all.extend(distance(column, current));
        }
    };
    let mut open: Option<(Timestamp, ModelSummary)> = None;
    for (start, pane) in &reference.panes {
        let start = start.floor_to(length, offset);
        match &mut open {
            // The panes of a baseline have its shapes, so they always merge.
            Some((held, window)) if *held == start => {
                let _ = window.merge(pane);
            }
            _ => {
                let closed = open.replace((start, pane.clone()));
                closed.into_iter().for_each(|(_, window)| close(window));
            }
        }
    }
    open.into_iter().for_each(|(_, window)| close(window));
    let mut columns: Vec<Moved> =
        baseline.columns.iter().zip(distances).filter_map(|(column, all)| moved(column, all)).collect();
    columns.sort_by(|a, b| b.largest.total_cmp(&a.largest).then_with(|| a.name.cmp(&b.name)));
    Windows { length, number, columns }
}

/// The distance of a window's column from the whole: Kolmogorov–Smirnov of numbers, total variation (the
/// effect of the test `g`) of names. `None` where there is nothing to compare.
fn distance(column: &Column, current: &ColumnSummary) -> Option<f64> {
    let pair = Pair::new(&column.shape, &column.summary, current);
    let test = match column.spec.kind {
        ColumnKind::Numeric => "ks",
        ColumnKind::Categorical => "g",
    };
    drift::test(test).and_then(|test| (test.score)(&pair).ok()).map(|score| score.effect)
}

fn moved(column: &Column, mut all: Vec<f64>) -> Option<Moved> {
    all.sort_by(f64::total_cmp);
    let measure = match column.spec.kind {
        ColumnKind::Numeric => "ks",
        ColumnKind::Categorical => "tv",
    };
    let median = (all.get(all.len() / 2)? + all.get(all.len().saturating_sub(1) / 2)?) / 2.0;
    Some(Moved { name: column.spec.name.to_string(), measure, median, largest: *all.last()? })
}

// === columns ===

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Feature => "feature",
        Role::Prediction => "prediction",
        Role::Score => "score",
        Role::Label => "label",
    }
}

fn kind_name(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Numeric => "numeric",
        ColumnKind::Categorical => "categorical",
    }
}

/// The range of the training values.
fn range(grid: &Grid) -> Option<(f64, f64)> {
    // The first edge is just below the smallest value.
    Some((grid.edges().first()?.next_up(), *grid.edges().last()?))
}

/// The values with a bin of their own, with their counts, commonest first.
fn single_values(grid: &Grid, summary: &NumericSummary) -> Vec<(f64, u64)> {
    let pairs = grid.edges().windows(2).enumerate().filter_map(|(index, edges)| match edges {
        [low, high] if low.next_up() >= *high => Some((*high, summary.counts.get(index + 1))),
        _ => None,
    });
    let mut values: Vec<(f64, u64)> = pairs.filter(|(_, count)| *count > 0).collect();
    values.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.total_cmp(&b.0)));
    values
}

/// The commonest names with their counts.
fn top_names<'a>(
    categories: &'a Categories,
    summary: &'a ColumnSummary,
) -> impl Iterator<Item = (&'a str, u64)> {
    let names = categories.top.iter().enumerate();
    names.take(TOP_SHOWN).map(|(index, name)| (name.as_str(), summary.counts().get(index)))
}

fn share(count: u64, of: u64) -> f64 {
    count as f64 / of.max(1) as f64
}

// === for programs ===

fn as_json(baseline: &Baseline, windows: &[Windows]) -> Value {
    let reference = baseline.reference.as_ref().map(|reference| {
        json!({
            "pane": reference.pane,
            "panes": reference.panes.len(),
            "start": reference.panes.first().map(|(start, _)| *start),
            "end": reference.panes.last().map(|(start, _)| *start + reference.pane),
            "rows_left_out": reference.rows_left_out,
            "windows": windows.iter().map(windows_as_json).collect::<Vec<_>>(),
        })
    });
    json!({
        "id": baseline.id,
        "model": baseline.model,
        "version": baseline.version,
        "rows": baseline.rows,
        "columns": baseline.columns.iter().map(column_as_json).collect::<Vec<_>>(),
        "reference": reference,
        "segments": baseline.segments.iter().map(|segment| segment_as_json(segment, baseline.rows)).collect::<Vec<_>>(),
        "outcomes": baseline.outcomes.as_ref().map(reference::as_json),
        "notes": baseline.notes,
    })
}

fn segment_as_json(segment: &Segment, of: u64) -> Value {
    let rows = segment.rows();
    json!({ "name": segment.name, "rows": rows, "share": share(rows, of), "panes": segment.panes_len() })
}

fn windows_as_json(windows: &Windows) -> Value {
    let columns = windows.columns.iter().map(|column| {
        json!({
            "name": column.name,
            "measure": column.measure,
            "median": column.median,
            "largest": column.largest,
        })
    });
    json!({ "length": windows.length, "windows": windows.number, "columns": columns.collect::<Vec<_>>() })
}

fn column_as_json(column: &Column) -> Value {
    let anomalies = column.summary.anomalies();
    let n = column.summary.values();
    let mut value = json!({
        "name": column.spec.name,
        "role": role_name(column.spec.role),
        "kind": kind_name(column.spec.kind),
        "n": n,
        "missing": anomalies.missing,
        "nan": anomalies.nan,
        "infinite": anomalies.positive_infinity.saturating_add(anomalies.negative_infinity),
        "wrong_type": anomalies.wrong_type,
    });
    let more = match (&column.shape, &column.summary) {
        (Shape::Numeric(grid), ColumnSummary::Numeric(numeric)) => {
            let singles = single_values(grid, numeric);
            let values = singles.iter().take(TOP_SHOWN);
            let values = values
                .map(|(value, count)| json!({ "value": value, "count": count, "share": share(*count, n) }));
            json!({
                "mean": numeric.mean(grid),
                "standard_deviation": numeric.standard_deviation(grid),
                "smallest": range(grid).map(|(low, _)| low),
                "largest": range(grid).map(|(_, high)| high),
                "bins": grid.bins(),
                "single_values": singles.len(),
                "top": values.collect::<Vec<_>>(),
            })
        }
        (Shape::Categorical(categories), summary) => {
            let top = top_names(categories, summary)
                .map(|(name, count)| json!({ "value": name, "count": count, "share": share(count, n) }));
            json!({
                "categories": (!categories.open).then_some(categories.top.len() + categories.rare.len()),
                "counted_singly": categories.top.len(),
                "top": top.collect::<Vec<_>>(),
            })
        }
        _ => json!({}),
    };
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

// === for people ===

fn write_text(baseline: &Baseline, windows: &[Windows], out: &mut dyn Write) -> io::Result<()> {
    let said = |text: &Option<String>| text.as_deref().map_or_else(|| "(not said)".to_owned(), plain);
    writeln!(out, "id       {}", baseline.id)?;
    writeln!(out, "model    {}, version {}", said(&baseline.model), said(&baseline.version))?;
    writeln!(out, "rows     {}", baseline.rows)?;
    if let Some(outcomes) = &baseline.outcomes {
        writeln!(out, "outcomes {}", reference::line(outcomes, None))?;
    }
    baseline.notes.iter().try_for_each(|note| writeln!(out, "note     {note}"))?;
    writeln!(out)?;
    let head = ["column", "role", "kind", "n", "missing", "mean", "range", "values"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(baseline.columns.iter().map(column_as_row));
    out.write_all(aligned(&rows, &[false, false, false, true, true, true]).as_bytes())?;
    writeln!(out)?;
    if let Some(outcomes) = &baseline.outcomes {
        writeln!(out, "{}", reference::table(outcomes))?;
    }
    write_segments(baseline, out)?;
    let Some(reference) = &baseline.reference else { return Ok(()) };
    writeln!(out)?;
    let (panes, pane) = (reference.panes.len(), reference.pane);
    writeln!(out, "{panes} panes of {pane}, {} rows in none", reference.rows_left_out)?;
    windows.iter().try_for_each(|windows| write_windows(windows, out))
}

/// The segments, the one with most rows first.
fn write_segments(baseline: &Baseline, out: &mut dyn Write) -> io::Result<()> {
    let mut segments: Vec<&Segment> = baseline.segments.iter().collect();
    if segments.is_empty() {
        return writeln!(out, "no segments");
    }
    segments.sort_by_key(|segment| std::cmp::Reverse(segment.rows()));
    let mut rows = vec![["segment", "rows", "share", "panes"].map(str::to_owned).to_vec()];
    rows.extend(segments.iter().map(|segment| {
        let share = percent(share(segment.rows(), baseline.rows));
        vec![plain(&segment.name), segment.rows().to_string(), share, segment.panes_len().to_string()]
    }));
    let named: u64 = segments.iter().map(|segment| segment.rows()).sum();
    out.write_all(aligned(&rows, &[false, true, true, true]).as_bytes())?;
    writeln!(out, "{} rows in no segment", baseline.rows.saturating_sub(named))
}

fn write_windows(windows: &Windows, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out)?;
    writeln!(
        out,
        "{} windows of {}, each against all training rows, its own included:",
        windows.number, windows.length
    )?;
    let mut rows = vec![["column", "measure", "median", "largest"].map(str::to_owned).to_vec()];
    rows.extend(windows.columns.iter().take(MOVED_SHOWN).map(|column| {
        vec![column.name.clone(), column.measure.to_owned(), number(column.median), number(column.largest)]
    }));
    out.write_all(aligned(&rows, &[false, false, true, true]).as_bytes())
}

fn column_as_row(column: &Column) -> Vec<String> {
    let n = column.summary.values();
    let (mean, range, values) = match (&column.shape, &column.summary) {
        (Shape::Numeric(grid), ColumnSummary::Numeric(numeric)) => {
            let singles = single_values(grid, numeric);
            let shown = singles.iter().take(TOP_SHOWN).map(|(value, count)| (number(*value), *count));
            let range = range(grid).map(|(low, high)| format!("{} to {}", number(low), number(high)));
            (
                optional(numeric.mean(grid)),
                range.unwrap_or_else(|| "-".to_owned()),
                shares(shown, n, singles.len()),
            )
        }
        (Shape::Categorical(categories), summary) => {
            let all = categories.top.len() + categories.rare.len();
            let shown = top_names(categories, summary).map(|(name, count)| (plain(name), count));
            let number = if categories.open { "too many to tell".to_owned() } else { format!("{all} names") };
            ("-".to_owned(), number, shares(shown, n, all))
        }
        _ => ("-".to_owned(), "-".to_owned(), String::new()),
    };
    vec![
        column.spec.name.to_string(),
        role_name(column.spec.role).to_owned(),
        kind_name(column.spec.kind).to_owned(),
        n.to_string(),
        column.summary.anomalies().missing.to_string(),
        mean,
        range,
        values,
    ]
}

/// The first of `all` values with their shares.
fn shares(shown: impl Iterator<Item = (String, u64)>, n: u64, all: usize) -> String {
    let shown: Vec<String> =
        shown.map(|(value, count)| format!("{value} {}", percent(share(count, n)))).collect();
    let more = if all > shown.len() { ", …" } else { "" };
    shown.join(", ") + more
}

//! `driftline compare`: every statistic of every column of two files.
//!
//! The columns, their kinds and their bins are those of the reference file, as in a baseline of it. A test
//! that knows how exact it is (it gives a bound) is also run on a finer grid, of up to 4,096 bins or values
//! of both files together, and the score with the smaller bound is told: with no more distinct values than
//! that, the distances are those of the raw values. The other tests keep the baseline's grid, for their
//! groups are made from it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Failure;
use super::baseline::build_failure;
use super::text::{aligned, number, optional, plain};
use crate::baseline::read::{Joined, Table, TableFile};
use crate::baseline::{BuildError, BuildOptions, Plan, Roles, Watched, count_table, plan_table};
use crate::drift::{self, EffectUnit, NotTestable, Pair, Score, TESTS};
use crate::event::ColumnKind;
use crate::summary::{ColumnSummary, Shape};

/// Bins of the finer grid.
const FINE_BINS: u64 = 4_096;

/// What to compare.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What was: .parquet, .csv or .jsonl, the last two also .gz.
    #[arg(value_name = "REFERENCE")]
    reference: PathBuf,
    /// What is.
    #[arg(value_name = "CURRENT")]
    current: PathBuf,
    /// One JSON object.
    #[arg(long)]
    json: bool,
    /// Only these columns.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    columns: Vec<String>,
    /// Columns of numbers that are names.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    categorical: Vec<String>,
}

/// Two files, column by column.
struct Comparison {
    columns: Vec<Compared>,
    notes: Vec<String>,
}

/// One column of both files.
struct Compared {
    name: String,
    kind: ColumnKind,
    reference_n: u64,
    current_n: u64,
    scores: Vec<(&'static str, Result<Score, NotTestable>)>,
    /// The difference in words, if there is one.
    summary: Option<String>,
}

/// Compares the files and prints every statistic.
///
/// # Errors
/// [`Failure`] when a file cannot be read or lacks a column that was asked for, or the output cannot be written.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let open = |path| TableFile::open(path).map_err(|error| build_failure(&BuildError::from(error)));
    let (reference, current) = (open(&args.reference)?, open(&args.current)?);
    let comparison = compare(&reference, &current, args)?;
    if comparison.columns.is_empty() {
        return Err(Failure::operator(format!(
            "{} and {} have no column in common; a CSV file is separated by commas",
            args.reference.display(),
            args.current.display()
        )));
    }
    let written =
        if args.json { writeln!(out, "{}", as_json(&comparison)) } else { write_text(&comparison, out) };
    written.map_err(Failure::other)
}

fn compare(reference: &dyn Table, current: &dyn Table, args: &Args) -> Result<Comparison, Failure> {
    let failed = |error: BuildError| build_failure(&error);
    let roles = Roles {
        features: args.columns.clone(),
        categorical: args.categorical.clone(),
        plain: true,
        ..Roles::default()
    };
    let Plan { columns: shapes, header, mut notes, .. } =
        plan_table(reference, &roles, &BuildOptions::default()).map_err(failed)?;
    let fine = fine_shapes(reference, current, &shapes).map_err(failed)?;
    let all: Vec<Watched> = shapes.iter().cloned().chain(fine.iter().cloned()).collect();
    let before = count_table(reference, all.clone()).map_err(failed)?;
    let after = count_table(current, all.clone()).map_err(failed)?;
    note_lone_columns(args, (&header, &after.header), &mut notes)?;

    let pairs = all.iter().zip(&before.columns).zip(&after.columns);
    let mut pairs = pairs.map(|((Watched { spec, shape, .. }, reference), current)| {
        (Arc::clone(&spec.name), Pair::new(shape, reference, current))
    });
    let usual: Vec<(Arc<str>, Pair<'_>)> = pairs.by_ref().take(shapes.len()).collect();
    let fine: BTreeMap<Arc<str>, Pair<'_>> = pairs.collect();
    let there = |name: &Arc<str>| after.header.contains(name);
    let columns = usual.iter().filter(|(name, _)| there(name));
    let columns = columns.map(|(name, pair)| Compared::new(name, pair, fine.get(name))).collect();
    Ok(Comparison { columns, notes })
}

/// The shapes of the numeric columns on the finer grid, whose edges are from both files: a value of either
/// then has a bin of its own as long as there are few enough.
fn fine_shapes(
    reference: &dyn Table,
    current: &dyn Table,
    shapes: &[Watched],
) -> Result<Vec<Watched>, BuildError> {
    let is_numeric = |column: &Watched| column.spec.kind == ColumnKind::Numeric;
    let numeric = shapes.iter().filter(|column| is_numeric(column));
    let features: Vec<String> = numeric.map(|column| column.spec.name.to_string()).collect();
    if features.is_empty() {
        return Ok(Vec::new());
    }
    let roles = Roles { features, plain: true, ..Roles::default() };
    let options = BuildOptions { bins: Some(FINE_BINS), ..BuildOptions::default() };
    let Plan { columns, .. } = plan_table(&Joined::new(reference, current), &roles, &options)?;
    // A column that holds names in the current file is numeric all the same: its names are of the wrong type.
    Ok(columns.into_iter().filter(is_numeric).collect())
}

/// Notes the columns that only one file has.
fn note_lone_columns(
    args: &Args,
    (before, after): (&[Arc<str>], &[Arc<str>]),
    notes: &mut Vec<String>,
) -> Result<(), Failure> {
    let asked = |name: &str| args.columns.is_empty() || args.columns.iter().any(|column| column == name);
    let lone = |of: &[Arc<str>], other: &[Arc<str>]| -> Vec<Arc<str>> {
        of.iter().filter(|name| !name.is_empty() && asked(name) && !other.contains(name)).cloned().collect()
    };
    let gone = lone(before, after);
    if let (Some(name), false) = (gone.first(), args.columns.is_empty()) {
        return Err(Failure::operator(format!("{} has no column `{name}`", args.current.display())));
    }
    notes.extend(gone.iter().map(|name| format!("column `{name}` is in the reference file only")));
    notes.extend(
        lone(after, before).iter().map(|name| format!("column `{name}` is in the current file only")),
    );
    Ok(())
}

impl Compared {
    fn new(name: &str, pair: &Pair<'_>, fine: Option<&Pair<'_>>) -> Self {
        let kind = match pair.shape() {
            Shape::Numeric(_) => ColumnKind::Numeric,
            Shape::Categorical(_) => ColumnKind::Categorical,
        };
        let tests = TESTS.iter().filter(|test| test.kinds.contains(&kind));
        let scores = tests.map(|test| {
            let usual = (test.score)(pair);
            let finer = fine.and_then(|fine| (test.score)(fine).ok());
            (test.name, closer(usual, finer))
        });
        let n = |side: &ColumnSummary| side.values();
        Self {
            name: name.to_owned(),
            kind,
            reference_n: n(pair.reference()),
            current_n: n(pair.current()),
            scores: scores.collect(),
            summary: drift::describe(pair),
        }
    }

    /// The largest effect that is a share or a rate: 0..=1, so comparable between columns.
    fn moved(&self) -> f64 {
        let effects = self.scores.iter().filter_map(|(_, score)| score.as_ref().ok()).filter(|score| {
            matches!(score.effect_unit, EffectUnit::CumulativeShare | EffectUnit::Share | EffectUnit::Rate)
        });
        effects.map(|score| score.effect).fold(0.0, f64::max)
    }
}

/// Of two scores of one test the one that is surely closer to that of the raw values.
fn closer(usual: Result<Score, NotTestable>, finer: Option<Score>) -> Result<Score, NotTestable> {
    match (usual, finer) {
        (Ok(usual), Some(finer)) => match (usual.bound, finer.bound) {
            (Some(wide), Some(narrow)) if narrow <= wide => Ok(finer),
            _ => Ok(usual),
        },
        (usual, _) => usual,
    }
}

// === for programs ===

fn as_json(comparison: &Comparison) -> Value {
    let columns: Vec<Value> = comparison.columns.iter().map(column_as_json).collect();
    json!({ "columns": columns, "notes": comparison.notes })
}

fn column_as_json(column: &Compared) -> Value {
    let statistics = column.scores.iter().map(|(test, score)| match score {
        Ok(score) => json!({
            "test": test,
            "statistic": score.statistic,
            "p_value": score.p_value,
            "log_p_value": score.log_p_value,
            "bound": score.bound,
            "status": "ok",
            "detail": score.detail,
        }),
        Err(reason) => json!({
            "test": test,
            "statistic": null,
            "p_value": null,
            "log_p_value": null,
            "bound": null,
            "status": reason.status(),
            "detail": why(reason),
        }),
    });
    json!({
        "name": column.name,
        "kind": column.kind,
        "reference_n": column.reference_n,
        "current_n": column.current_n,
        "statistics": statistics.collect::<Vec<_>>(),
        "summary": column.summary,
    })
}

fn why(reason: &NotTestable) -> String {
    match reason {
        NotTestable::InsufficientData { n, needed } => {
            format!("the smaller sample has {n} values and needs {needed}")
        }
        NotTestable::NotApplicable { reason } | NotTestable::Degenerate { reason } => reason.clone(),
    }
}

// === for people ===

fn write_text(comparison: &Comparison, out: &mut dyn Write) -> io::Result<()> {
    let mut columns: Vec<&Compared> = comparison.columns.iter().collect();
    columns.sort_by(|a, b| b.moved().total_cmp(&a.moved()).then_with(|| a.name.cmp(&b.name)));
    let head = ["column", "reference", "current", "test", "statistic", "p-value", "within", "remark"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for column in columns {
        rows.extend(column_as_rows(column));
    }
    out.write_all(aligned(&rows, &[false, true, true, false, true, true, true]).as_bytes())?;
    comparison.notes.iter().try_for_each(|note| writeln!(out, "note: {}", plain(note)))
}

/// A line for the column with what moved in words, then one for each test.
fn column_as_rows(column: &Compared) -> Vec<Vec<String>> {
    let mut first = vec![column.name.clone(), column.reference_n.to_string(), column.current_n.to_string()];
    first.extend(["", "", "", ""].map(str::to_owned));
    first.push(column.summary.clone().unwrap_or_default());
    let tests = column.scores.iter().map(|(test, score)| {
        let mut row = ["", "", ""].map(str::to_owned).to_vec();
        row.push((*test).to_owned());
        match score {
            Ok(score) => row.extend([
                number(score.statistic),
                optional(score.p_value),
                optional(score.bound),
                score.detail.clone().unwrap_or_default(),
            ]),
            Err(reason) => row.extend(["-".to_owned(), "-".to_owned(), "-".to_owned(), why(reason)]),
        }
        row
    });
    std::iter::once(first).chain(tests).collect()
}

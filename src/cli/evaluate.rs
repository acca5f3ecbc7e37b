//! `driftline evaluate`: every metric of a model's predictions, from a file that also holds what came true.
//!
//! Its numbers are kept in memory: the metrics are exact. A row with a missing or unreadable cell is left out
//! and counted. With a reference, `estimates.rs` says what to expect of the file without its labels.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod estimates;

use clap::ValueEnum;
use serde_json::{Value as Json, json};

use self::estimates::Estimates;
use super::Failure;
use super::baseline::build_failure;
use super::text::{aligned, number, optional, plain};
use crate::baseline::BuildError;
use crate::baseline::read::{Cell, Reading, Table, TableFile, read_text};
use crate::performance::{
    Binary, BinaryRow, CLASSES_MAX, Measured, Multiclass, RankedRow, Ranking, Regression, RegressionRow,
    Rows, RowsError, Task, evaluate,
};

/// Most rows: some 100 bytes each, so a gigabyte.
const ROWS_MAX: u64 = 10_000_000;

/// Most scores of several classes: 8 bytes each, so 800 MB.
const SCORES_MAX: usize = 100_000_000;

/// From which score on a row is predicted positive.
const THRESHOLD: f64 = 0.5;

/// First rows of a ranking that are looked at.
const CUTOFFS: [usize; 3] = [1, 5, 10];

/// What to evaluate.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file: .parquet, .csv or .jsonl, the last two also .gz.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What the model predicts.
    #[arg(long)]
    task: TaskName,
    /// The column of what came true: 0 and 1, a class, or a number.
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
    /// The column of scores (binary, ranking).
    #[arg(long, value_name = "NAME")]
    score: Option<String>,
    /// The columns of scores, one a class; a label is the name of a column, or its place from 0 (multiclass).
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    scores: Vec<String>,
    /// The column of what was predicted; for classes instead of scores, for binary also beside them.
    #[arg(long, value_name = "NAME")]
    prediction: Option<String>,
    /// A score of at least this is predicted positive (binary) [default: 0.5]
    #[arg(long, value_name = "NUMBER")]
    threshold: Option<f64>,
    /// The column that says which rows are of one query (ranking).
    #[arg(long, value_name = "NAME")]
    query: Option<String>,
    /// The column of relevances, 0 or more (ranking).
    #[arg(long, value_name = "NAME")]
    relevance: Option<String>,
    /// How many first rows to look at (ranking) [default: 1,5,10]
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    k: Vec<usize>,
    /// A file with labels, to estimate from what FILE will show without its own (binary, regression).
    #[arg(long, value_name = "FILE")]
    reference: Option<PathBuf>,
    /// The columns to tell errors from, next to the prediction [default: all that both files have] (regression)
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    features: Vec<String>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// A task by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TaskName {
    /// One of two classes.
    Binary,
    /// One of several classes.
    Multiclass,
    /// A number.
    Regression,
    /// An order of the rows of a query.
    Ranking,
}

impl TaskName {
    fn task(self) -> Task {
        match self {
            Self::Binary => Task::Binary,
            Self::Multiclass => Task::Multiclass,
            Self::Regression => Task::Regression,
            Self::Ranking => Task::Ranking,
        }
    }
}

/// How the file was read.
#[derive(Default)]
struct Read {
    rows: u64,
    /// Rows left out, by the first column that could not be read and why.
    left_out: BTreeMap<(String, &'static str), u64>,
}

/// Why a cell cannot be read.
type Unreadable = &'static str;

const MISSING: Unreadable = "missing";

/// Evaluates the file and prints every metric of its task.
///
/// With `--json` as one object: `{"metrics","estimates","task","rows","rows_left_out","left_out"}`; with a
/// reference also `"reference"`. A file without the label's column has estimates only.
///
/// # Errors
/// [`Failure`] when columns do not fit the task or are not in the file, when the file cannot be read or is
/// too large, or the output cannot be written.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    check_flags(args)?;
    let mut read = Read::default();
    let labelled = match (&args.reference, &args.label) {
        (Some(_), Some(label)) => header(&args.file)?.iter().any(|name| name.as_ref() == label.as_str()),
        _ => true,
    };
    let metrics = if labelled { evaluate(&read_rows(args, &mut read)?) } else { Vec::new() };
    let mut unlabelled = Read::default();
    let estimates = match &args.reference {
        Some(reference) => Some(estimates::estimate(args, reference, &metrics, &mut unlabelled)?),
        None => None,
    };
    let read = if labelled { read } else { unlabelled };
    let written = if args.json {
        writeln!(out, "{}", as_json(args.task.task(), &read, &metrics, estimates.as_ref()))
    } else {
        write_text(&read, &metrics, estimates.as_ref(), out)
    };
    written.map_err(|error| Failure::output(&error))
}

fn read_rows(args: &Args, read: &mut Read) -> Result<Rows, Failure> {
    match args.task {
        TaskName::Binary => binary(args, read),
        TaskName::Multiclass if args.scores.is_empty() => predicted_classes(args, read),
        TaskName::Multiclass => scored_classes(args, read),
        TaskName::Regression => regression(args, read),
        TaskName::Ranking => ranking(args, read),
    }
}

// === what was asked for ===

/// Refuses arguments that the task has no use for, and numbers that make no sense.
fn check_flags(args: &Args) -> Result<(), Failure> {
    let given = [
        ("--label", args.label.is_some()),
        ("--score", args.score.is_some()),
        ("--scores", !args.scores.is_empty()),
        ("--prediction", args.prediction.is_some()),
        ("--threshold", args.threshold.is_some()),
        ("--query", args.query.is_some()),
        ("--relevance", args.relevance.is_some()),
        ("--k", !args.k.is_empty()),
        ("--reference", args.reference.is_some()),
        ("--features", !args.features.is_empty()),
    ];
    let used: &[&str] = match args.task {
        TaskName::Binary => &["--label", "--score", "--threshold", "--prediction", "--reference"],
        TaskName::Multiclass => &["--label", "--scores", "--prediction"],
        TaskName::Regression => &["--label", "--prediction", "--reference", "--features"],
        TaskName::Ranking => &["--query", "--relevance", "--score", "--k"],
    };
    if let Some((flag, _)) = given.iter().find(|(flag, given)| *given && !used.contains(flag)) {
        let task = args.task.task();
        let used = used.join(", ");
        return Err(Failure::operator(format!("--task {task} has no use for {flag}; it takes {used}")));
    }
    let binary = args.task == TaskName::Binary;
    match (args.score.is_some(), args.prediction.is_some()) {
        (false, false) if binary => {
            return Err(Failure::operator("--task binary needs --score or --prediction"));
        }
        (_, true) if args.threshold.is_some() => {
            return Err(Failure::operator("--threshold has no use beside --prediction; give one of them"));
        }
        (_, true) if !args.scores.is_empty() => {
            return Err(Failure::operator("give --scores or --prediction, not both"));
        }
        _ => {}
    }
    if binary && args.reference.is_some() && args.score.is_none() {
        return Err(Failure::operator(
            "--reference needs --score: decisions alone do not tell what to expect",
        ));
    }
    if args.reference.is_none() && !args.features.is_empty() {
        return Err(Failure::operator("--features has no use without --reference"));
    }
    if args.threshold.is_some_and(|threshold| !threshold.is_finite()) {
        return Err(Failure::operator("--threshold must be a finite number"));
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = args.scores.iter().find(|column| !seen.insert(*column)) {
        return Err(Failure::operator(format!("--scores names the column `{}` twice", plain(twice))));
    }
    if args.k.contains(&0) {
        return Err(Failure::operator("--k starts at 1"));
    }
    Ok(())
}

/// A column that the task cannot do without.
fn needed<'a>(args: &Args, flag: &str, column: Option<&'a String>) -> Result<&'a str, Failure> {
    let lacking = || Failure::operator(format!("--task {} needs {flag}", args.task.task()));
    column.map(String::as_str).ok_or_else(lacking)
}

// === the rows of each task ===

fn binary(args: &Args, read: &mut Read) -> Result<Rows, Failure> {
    let label = needed(args, "--label", args.label.as_ref())?;
    let threshold = args.threshold.unwrap_or(THRESHOLD);
    let columns: Vec<&str> =
        [Some(label), args.score.as_deref(), args.prediction.as_deref()].into_iter().flatten().collect();
    let (has_score, has_prediction) = (args.score.is_some(), args.prediction.is_some());
    let mut rows = Vec::new();
    scan(&args.file, &columns, read, |cells| {
        let mut cells = cells.iter().copied().enumerate();
        let label = next(&mut cells, flag)?;
        let score = if has_score { Some(next(&mut cells, finite)?) } else { None };
        let prediction = if has_prediction {
            next(&mut cells, flag)?
        } else {
            score.is_some_and(|score| score >= threshold)
        };
        rows.push(BinaryRow { label, prediction, score });
        Ok(())
    })?;
    Binary::new(&rows).map(Rows::Binary).map_err(|error| refused(&error))
}

fn predicted_classes(args: &Args, read: &mut Read) -> Result<Rows, Failure> {
    let label = needed(args, "--label", args.label.as_ref())?;
    let prediction = needed(args, "--scores or --prediction", args.prediction.as_ref())?;
    let mut classes = Classes::default();
    let mut rows: Vec<(usize, usize)> = Vec::new();
    scan(&args.file, &[label, prediction], read, |cells| {
        let mut cells = cells.iter().copied().enumerate();
        let (label, prediction) = (next(&mut cells, class)?, next(&mut cells, class)?);
        rows.push((classes.place(label), classes.place(prediction)));
        Ok(())
    })?;
    let names = classes.names();
    // Places of first sight become places in the sorted names, so that the order of rows changes nothing.
    let sorted: BTreeSet<&String> = names.iter().collect();
    let sorted: BTreeMap<&String, usize> =
        sorted.into_iter().enumerate().map(|(place, name)| (name, place)).collect();
    let new: Vec<usize> = names.iter().filter_map(|name| sorted.get(name).copied()).collect();
    let new = |old: usize| new.get(old).copied().unwrap_or(usize::MAX);
    let rows: Vec<(usize, usize)> =
        rows.into_iter().map(|(label, prediction)| (new(label), new(prediction))).collect();
    let names = sorted.into_keys().cloned().collect();
    Multiclass::from_predictions(names, &rows).map(Rows::Multiclass).map_err(|error| refused(&error))
}

fn scored_classes(args: &Args, read: &mut Read) -> Result<Rows, Failure> {
    let label = needed(args, "--label", args.label.as_ref())?;
    let mut columns = vec![label];
    columns.extend(args.scores.iter().map(String::as_str));
    let mut classes = Classes::default();
    let (mut labels, mut scores) = (Vec::new(), Vec::new());
    let mut too_many = false;
    scan(&args.file, &columns, read, |cells| {
        let mut cells = cells.iter().copied().enumerate();
        let label = next(&mut cells, class)?;
        let row = cells.by_ref().map(|cell| read_cell(cell, finite)).collect::<Result<Vec<f64>, _>>()?;
        if scores.len() + row.len() > SCORES_MAX {
            too_many = true;
            return Ok(());
        }
        labels.push(classes.place(label));
        scores.extend(row);
        Ok(())
    })?;
    if too_many {
        let path = args.file.display();
        return Err(Failure::operator(format!(
            "{path} has more than {SCORES_MAX} scores, more than are kept in memory; take a part of the rows"
        )));
    }
    let places = places_of(args, &classes.names())?;
    let labels: Vec<usize> =
        labels.into_iter().map(|label| places.get(label).copied().unwrap_or(usize::MAX)).collect();
    let rows = Multiclass::from_scores(args.scores.clone(), &labels, scores);
    rows.map(Rows::Multiclass).map_err(|error| refused(&error))
}

/// The column of scores that each label means: by name if every label is one, by place from 0 otherwise.
fn places_of(args: &Args, labels: &[String]) -> Result<Vec<usize>, Failure> {
    let columns: Vec<String> =
        args.scores.iter().map(|name| class(Cell::Text(name)).unwrap_or_else(|_| name.clone())).collect();
    let by_name = |label: &String| columns.iter().position(|column| column == label);
    let by_place = |label: &String| {
        let place = label.parse::<usize>().ok().filter(|place| *place < columns.len());
        place.filter(|place| place.to_string() == *label)
    };
    let named: Option<Vec<usize>> = labels.iter().map(by_name).collect();
    if let Some(places) = named.or_else(|| labels.iter().map(by_place).collect()) {
        return Ok(places);
    }
    let strange = labels.iter().find(|label| by_name(label).is_none() && by_place(label).is_none());
    let strange = strange.or(labels.first()).map_or("", String::as_str);
    Err(Failure::operator(format!(
        "the label `{}` is no class of --scores; a label is the name of a column of scores, or all are their \
         places, 0 to {}",
        plain(strange),
        columns.len().saturating_sub(1)
    )))
}

fn regression(args: &Args, read: &mut Read) -> Result<Rows, Failure> {
    let label = needed(args, "--label", args.label.as_ref())?;
    let prediction = needed(args, "--prediction", args.prediction.as_ref())?;
    let mut rows = Vec::new();
    scan(&args.file, &[label, prediction], read, |cells| {
        let mut cells = cells.iter().copied().enumerate();
        let (truth, prediction) = (next(&mut cells, finite)?, next(&mut cells, finite)?);
        rows.push(RegressionRow { truth, prediction });
        Ok(())
    })?;
    Regression::new(rows).map(Rows::Regression).map_err(|error| refused(&error))
}

fn ranking(args: &Args, read: &mut Read) -> Result<Rows, Failure> {
    let query = needed(args, "--query", args.query.as_ref())?;
    let relevance = needed(args, "--relevance", args.relevance.as_ref())?;
    let score = needed(args, "--score", args.score.as_ref())?;
    let cutoffs: BTreeSet<usize> = match args.k.as_slice() {
        [] => CUTOFFS.into_iter().collect(),
        given => given.iter().copied().collect(),
    };
    let mut rows = Vec::new();
    scan(&args.file, &[query, relevance, score], read, |cells| {
        let mut cells = cells.iter().copied().enumerate();
        let query = next(&mut cells, class)?;
        let relevance = next(&mut cells, |cell| match finite(cell)? {
            relevance if relevance < 0.0 => Err("below 0"),
            relevance => Ok(relevance),
        })?;
        let score = next(&mut cells, finite)?;
        rows.push((query, RankedRow { relevance, score }));
        Ok(())
    })?;
    Ranking::new(rows, cutoffs.into_iter().collect()).map(Rows::Ranking).map_err(|error| refused(&error))
}

fn refused(error: &RowsError) -> Failure {
    Failure::operator(error)
}

/// Names of classes, each with its place by first sight. Beyond the number that is compared all others are
/// one more, which is enough to refuse them.
#[derive(Default)]
struct Classes {
    places: BTreeMap<String, usize>,
}

impl Classes {
    fn place(&mut self, name: String) -> usize {
        let next = self.places.len();
        match self.places.get(&name) {
            Some(place) => *place,
            None if next > CLASSES_MAX => CLASSES_MAX,
            None => *self.places.entry(name).or_insert(next),
        }
    }

    /// In the order of their places.
    fn names(self) -> Vec<String> {
        let mut names: Vec<(usize, String)> =
            self.places.into_iter().map(|(name, place)| (place, name)).collect();
        names.sort();
        names.into_iter().map(|(_, name)| name).collect()
    }
}

// === reading ===

/// A cell that cannot be read: the place of its column among those asked for, and why.
type Rejected = (usize, Unreadable);

/// Reads the columns row by row; a row that `take` refuses is counted as left out.
fn scan(
    file: &Path,
    columns: &[&str],
    read: &mut Read,
    mut take: impl FnMut(&[Cell<'_>]) -> Result<(), Rejected>,
) -> Result<(), Failure> {
    let failed = |error| build_failure(&BuildError::from(error));
    let table = TableFile::open(file).map_err(failed)?;
    if let Some(header) = table.header() {
        require(file, columns, &header)?;
    }
    let wanted = |name: &str| columns.contains(&name);
    // The columns of JSON lines are known at their end only.
    let mut last_header = None;
    for chunk in table.scan(&wanted).map_err(failed)? {
        let chunk = chunk.map_err(failed)?;
        let place = |column: &&str| chunk.header.iter().position(|name| name.as_ref() == *column);
        let cells: Vec<_> =
            columns.iter().map(|column| place(column).and_then(|place| chunk.columns.get(place))).collect();
        let mut row_cells = Vec::with_capacity(cells.len());
        for row in 0..chunk.rows {
            row_cells.clear();
            row_cells.extend(cells.iter().map(|cells| cells.map_or(Cell::Missing, |cells| cells.get(row))));
            if let Err((place, why)) = take(&row_cells) {
                let column = columns.get(place).copied().unwrap_or_default().to_owned();
                *read.left_out.entry((column, why)).or_default() += 1;
            }
        }
        read.rows += chunk.rows as u64;
        if read.rows > ROWS_MAX {
            let path = file.display();
            return Err(Failure::operator(format!(
                "{path} has more than {ROWS_MAX} rows, more than are kept in memory; take a part of them"
            )));
        }
        last_header = Some(chunk.header);
    }
    last_header.map_or(Ok(()), |header| require(file, columns, &header))
}

/// The names of a file's columns.
fn header(file: &Path) -> Result<Vec<Arc<str>>, Failure> {
    let failed = |error| build_failure(&BuildError::from(error));
    let table = TableFile::open(file).map_err(failed)?;
    if let Some(header) = table.header() {
        return Ok(header.to_vec());
    }
    // The columns of JSON lines are known at their end only.
    let mut last = Vec::new();
    for chunk in table.scan(&|_| false).map_err(failed)? {
        last = chunk.map_err(failed)?.header.to_vec();
    }
    Ok(last)
}

/// Refuses columns that the file does not have.
fn require(file: &Path, columns: &[&str], header: &[Arc<str>]) -> Result<(), Failure> {
    let Some(lacking) = columns.iter().find(|column| !header.iter().any(|name| name.as_ref() == **column))
    else {
        return Ok(());
    };
    let near = header.iter().map(|name| (strsim::jaro_winkler(lacking, name), name));
    let best = near.filter(|(likeness, _)| *likeness > 0.75).max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = best.map(|(_, name)| format!("; did you mean `{}`?", plain(name))).unwrap_or_default();
    Err(Failure::operator(format!("{} has no column `{lacking}`{hint}", file.display())))
}

/// Reads the next cell.
fn next<'a, T>(
    cells: &mut impl Iterator<Item = (usize, Cell<'a>)>,
    read: impl FnOnce(Cell<'a>) -> Result<T, Unreadable>,
) -> Result<T, Rejected> {
    read_cell(cells.next().unwrap_or((0, Cell::Missing)), read)
}

fn read_cell<'a, T>(
    (place, cell): (usize, Cell<'a>),
    read: impl FnOnce(Cell<'a>) -> Result<T, Unreadable>,
) -> Result<T, Rejected> {
    read(cell).map_err(|why| (place, why))
}

/// A finite number; true is 1 and false 0, NaN is missing.
fn finite(cell: Cell<'_>) -> Result<f64, Unreadable> {
    let number = match cell {
        Cell::Missing => return Err(MISSING),
        Cell::Number(number) => number,
        Cell::Boolean(flag) => f64::from(u8::from(flag)),
        Cell::Text(text) => match read_text(text) {
            Reading::Missing | Reading::Placeholder => return Err(MISSING),
            Reading::Number(number) => number,
            Reading::Boolean(flag) => f64::from(u8::from(flag)),
            Reading::Name => return Err("not a number"),
        },
        Cell::Name(_) | Cell::Time(_) | Cell::Foreign => return Err("not a number"),
    };
    match number {
        number if number.is_nan() => Err(MISSING),
        number if number.is_infinite() => Err("not a finite number"),
        number => Ok(number),
    }
}

/// 1 or true, 0 or false.
fn flag(cell: Cell<'_>) -> Result<bool, Unreadable> {
    match finite(cell) {
        Ok(1.0) => Ok(true),
        Ok(0.0) => Ok(false),
        Err(MISSING) => Err(MISSING),
        _ => Err("neither 0 nor 1"),
    }
}

/// The name of a class or query. A number has one name however it is written: 1 and 1.0 are `1`.
fn class(cell: Cell<'_>) -> Result<String, Unreadable> {
    let of_number = |number: f64| match number {
        number if number.is_nan() => Err(MISSING),
        // −0 is 0.
        number => Ok((number + 0.0).to_string()),
    };
    match cell {
        Cell::Missing => Err(MISSING),
        Cell::Number(number) => of_number(number),
        Cell::Boolean(flag) => Ok(flag.to_string()),
        Cell::Text(text) => match read_text(text) {
            Reading::Missing | Reading::Placeholder => Err(MISSING),
            Reading::Number(number) => of_number(number),
            Reading::Boolean(flag) => Ok(flag.to_string()),
            Reading::Name => Ok(text.trim().to_owned()),
        },
        Cell::Name(name) => Ok(name.to_owned()),
        Cell::Time(_) | Cell::Foreign => Err("neither a text nor a number"),
    }
}

// === for programs ===

fn as_json(task: Task, read: &Read, metrics: &[Measured], estimates: Option<&Estimates>) -> Json {
    let mut object = json!({
        "task": task.name(),
        "rows": read.rows,
        "rows_left_out": read.left_out.values().sum::<u64>(),
        "left_out": left_out_as_json(read),
        "metrics": metrics.iter().map(metric_as_json).collect::<Vec<_>>(),
        "estimates": estimates.map(Estimates::as_json).unwrap_or_default(),
    });
    if let Some((estimates, object)) = estimates.zip(object.as_object_mut()) {
        object.insert("reference".to_owned(), estimates.reference_as_json());
    }
    object
}

fn left_out_as_json(read: &Read) -> Vec<Json> {
    let one = |((column, reason), rows): (&(String, &str), &u64)| json!({ "column": column, "reason": reason, "rows": rows });
    read.left_out.iter().map(one).collect()
}

/// A metric as programs read it, wherever it is shown.
pub(super) fn metric_as_json(measured: &Measured) -> Json {
    match &measured.outcome {
        Ok(value) => json!({
            "metric": measured.metric,
            "value": value.value,
            "low": value.interval.map(|interval| interval.low),
            "high": value.interval.map(|interval| interval.high),
            "n": measured.n,
            "bound": value.bound,
            "status": "ok",
            "detail": value.detail,
        }),
        Err(reason) => json!({
            "metric": measured.metric,
            "value": null,
            "low": null,
            "high": null,
            "n": measured.n,
            "bound": null,
            "status": reason.status(),
            "detail": reason.to_string(),
        }),
    }
}

// === for people ===

fn write_text(
    read: &Read,
    metrics: &[Measured],
    estimates: Option<&Estimates>,
    out: &mut dyn Write,
) -> io::Result<()> {
    if !metrics.is_empty() {
        out.write_all(metrics_table(metrics).as_bytes())?;
    }
    for ((column, reason), rows) in &read.left_out {
        let all = read.rows;
        writeln!(out, "note: {rows} of {all} rows are left out: `{}` is {reason}", plain(column))?;
    }
    estimates.map_or(Ok(()), |estimates| estimates.write_text(!metrics.is_empty(), out))
}

/// Metrics with their intervals, a line each.
pub(super) fn metrics_table(metrics: &[Measured]) -> String {
    let head = ["metric", "value", "low", "high", "n", "remark"];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    table.extend(metrics.iter().map(metric_as_row));
    aligned(&table, &[false, true, true, true, true]) + "low and high are the 95 % interval\n"
}

fn metric_as_row(measured: &Measured) -> Vec<String> {
    let mut row = vec![measured.metric.clone()];
    match &measured.outcome {
        Ok(value) => row.extend([
            number(value.value),
            optional(value.interval.map(|interval| interval.low)),
            optional(value.interval.map(|interval| interval.high)),
            measured.n.to_string(),
            value.detail.clone().unwrap_or_default(),
        ]),
        Err(reason) => {
            row.extend(["-", "-", "-"].map(str::to_owned));
            row.extend([measured.n.to_string(), reason.to_string()]);
        }
    }
    row
}

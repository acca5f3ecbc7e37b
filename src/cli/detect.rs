//! `driftline detect`: runs one sequential detector over a column of a file.
//!
//! Place in the flow: beside it, for trying a detector and for comparing it with others. An index is the
//! row's place in the file, from 0; a missing value is skipped but keeps its index.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::{Map, Value as Json, json};

use super::{Failure, chain};
use crate::baseline::read::{Cell, Reading, Table, TableFile, read_text};
use crate::sequential::{DETECTORS, DetectorKind, Domain, Parameter, Settings, Value, Watch};

/// What to detect, and where.
#[derive(Debug, clap::Args)]
#[command(after_long_help = detectors())]
pub struct Args {
    /// The detector; `--help` lists them with their parameters.
    #[arg(value_name = "NAME")]
    detector: String,
    /// A parameter; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// The file: .parquet, .csv or .jsonl, the last two also .gz.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// The column.
    #[arg(long, value_name = "NAME")]
    column: String,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// What came of a run.
#[derive(Default)]
struct Found {
    rows: u64,
    missing: u64,
    drifts: Vec<u64>,
    /// Where the detector began to warn.
    warnings: Vec<u64>,
}

/// Runs the detector and tells where the column drifted.
///
/// With `--json` as one object: `{"drifts","warnings","detector","parameters","column","rows","missing"}`.
///
/// # Errors
/// [`Failure`] for an unknown detector, parameter or column, a value that the detector does not take, a
/// file that cannot be read, or an output that cannot be written.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let kind = DetectorKind::named(&args.detector).map_err(Failure::operator)?;
    let settings = settings(kind, &args.settings)?;
    let mut watch = kind.start(&settings).map_err(Failure::operator)?;
    let found = read(args, kind, &mut watch)?;
    let written = if args.json {
        writeln!(out, "{}", as_json(args, kind, &settings, &found))
    } else {
        write_text(kind, &found, out)
    };
    written.map_err(|error| Failure::output(&error))
}

fn settings(kind: &DetectorKind, given: &[String]) -> Result<Settings, Failure> {
    let pairs = given
        .iter()
        .map(|text| {
            let wrong =
                || Failure::operator(format!("`--set {text}` is no parameter: write --set key=value"));
            text.split_once('=').map(|(name, value)| (name.trim(), value)).ok_or_else(wrong)
        })
        .collect::<Result<Vec<_>, _>>()?;
    kind.settings(pairs).map_err(Failure::operator)
}

fn read(args: &Args, kind: &DetectorKind, watch: &mut Watch) -> Result<Found, Failure> {
    let failed = |error| Failure::operator(chain(&error));
    let table = TableFile::open(&args.input).map_err(failed)?;
    if let Some(header) = table.header() {
        require(args, header.iter().map(AsRef::as_ref))?;
    }
    let wanted = |name: &str| name == args.column;
    let mut found = Found::default();
    // The columns of JSON lines are known at their end only.
    let mut last_header = None;
    for chunk in table.scan(&wanted).map_err(failed)? {
        let chunk = chunk.map_err(failed)?;
        let place = chunk.header.iter().position(|name| wanted(name));
        let cells = place.and_then(|place| chunk.columns.get(place));
        for row in 0..chunk.rows {
            let cell = cells.map_or(Cell::Missing, |cells| cells.get(row));
            take(cell, watch, &mut found).map_err(|what| {
                let (path, row, column) = (args.input.display(), found.rows, &args.column);
                let (name, takes) = (kind.name, kind.input.text());
                Failure::operator(format!(
                    "{path}, row {row} (from 0): `{column}` is {what}; `{name}` takes {takes}"
                ))
            })?;
        }
        last_header = Some(chunk.header);
    }
    if let Some(header) = last_header {
        require(args, header.iter().map(AsRef::as_ref))?;
    }
    Ok(found)
}

/// Refuses a column that the file does not have.
fn require<'a>(args: &Args, header: impl Iterator<Item = &'a str> + Clone) -> Result<(), Failure> {
    if header.clone().any(|name| name == args.column) {
        return Ok(());
    }
    let near = header.map(|name| (strsim::jaro_winkler(&args.column, name), name));
    let best = near.filter(|(likeness, _)| *likeness > 0.75).max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = best.map(|(_, name)| format!("; did you mean `{name}`?")).unwrap_or_default();
    Err(Failure::operator(format!("{} has no column `{}`{hint}", args.input.display(), args.column)))
}

/// Gives a row to the detector.
///
/// # Errors
/// What the value is, if the detector does not take it.
fn take(cell: Cell<'_>, watch: &mut Watch, found: &mut Found) -> Result<(), String> {
    let index = found.rows;
    match number(cell)? {
        None => found.missing += 1,
        Some(value) => {
            let warned = watch.last().warning && !watch.last().drift;
            let signal = watch.update(value).ok_or_else(|| value.to_string())?;
            if signal.drift {
                found.drifts.push(index);
            }
            if signal.warning && !warned {
                found.warnings.push(index);
            }
        }
    }
    found.rows += 1;
    Ok(())
}

/// A cell as a number; true is 1 and false 0, nothing and NaN are missing.
///
/// # Errors
/// What the cell is, if it is no number.
fn number(cell: Cell<'_>) -> Result<Option<f64>, String> {
    let read = match cell {
        Cell::Missing => None,
        Cell::Number(number) => Some(number),
        Cell::Boolean(flag) => Some(f64::from(u8::from(flag))),
        Cell::Text(text) => match read_text(text) {
            Reading::Missing | Reading::Placeholder => None,
            Reading::Number(number) => Some(number),
            Reading::Boolean(flag) => Some(f64::from(u8::from(flag))),
            Reading::Name => return Err("a text".to_owned()),
        },
        Cell::Name(_) => return Err("a text".to_owned()),
        Cell::Time(_) => return Err("a point in time".to_owned()),
        Cell::Foreign => return Err("neither a number nor a text".to_owned()),
    };
    Ok(read.filter(|number| !number.is_nan()))
}

fn as_json(args: &Args, kind: &DetectorKind, settings: &Settings, found: &Found) -> Json {
    let value = |parameter: &Parameter| match settings.value(parameter) {
        Value::Real(number) => json!(number),
        Value::Count(number) => json!(number),
        Value::Flag(flag) => json!(flag),
        Value::Word(word) => json!(word),
        Value::Reals(numbers) if numbers.is_empty() => Json::Null,
        Value::Reals(numbers) => json!(numbers),
    };
    let parameters: Map<String, Json> =
        kind.parameters.iter().map(|parameter| (parameter.name.to_owned(), value(parameter))).collect();
    json!({
        "drifts": found.drifts,
        "warnings": found.warnings,
        "detector": kind.name,
        "parameters": parameters,
        "column": args.column,
        "rows": found.rows,
        "missing": found.missing,
    })
}

fn write_text(kind: &DetectorKind, found: &Found, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}: {}", kind.name, kind.about)?;
    writeln!(out, "rows      {} ({} missing)", found.rows, found.missing)?;
    for (what, rows) in [("drifts", &found.drifts), ("warnings", &found.warnings)] {
        let list = rows.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
        writeln!(
            out,
            "{what:<9} {}{}",
            rows.len(),
            if rows.is_empty() { list } else { format!(": rows {list}") }
        )?;
    }
    Ok(())
}

/// The detectors with their parameters, for `--help`.
fn detectors() -> String {
    let mut text = "Detectors:\n".to_owned();
    for kind in DETECTORS {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n  {}: {}. Takes {}.", kind.name, kind.about, kind.input.text());
        for parameter in kind.parameters {
            let _ = writeln!(text, "    {:<20} {} [{}]", parameter.name, parameter.about, domain(parameter));
        }
    }
    text
}

fn domain(parameter: &Parameter) -> String {
    match (parameter.domain, parameter.default()) {
        (Domain::Word(words), _) => words.join("|"),
        (_, Value::Real(number)) => number.to_string(),
        (_, Value::Count(number)) => number.to_string(),
        (_, Value::Flag(flag)) => flag.to_string(),
        _ => "chosen from the others".to_owned(),
    }
}

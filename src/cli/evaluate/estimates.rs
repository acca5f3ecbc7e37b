//! What to expect of a file without its labels, learned from a reference that has them, beside what its
//! labels say when it has them after all.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value as Json, json};

use super::{
    Args, Cell, Failure, Read, Rejected, THRESHOLD, TaskName, class, finite, flag, header, left_out_as_json,
    metric_as_json, metric_as_row, needed, next, read_cell, require, scan,
};
use crate::cli::text::{aligned, number, plain};
use crate::performance::estimate::{self, Cbpe, Dle, Estimator, FEATURES_MAX};
use crate::performance::{Measured, NotComputable, RegressionRow};

/// Most numbers of features that are kept, of both files together: 8 bytes each, so 800 MB.
const NUMBERS_MAX: usize = 100_000_000;

/// Most categories of a feature; one with more tells rows apart, not kinds of rows.
const CATEGORIES_MAX: usize = 200;

/// The estimates of a file.
pub(super) struct Estimates {
    estimator: &'static Estimator,
    estimates: Vec<Estimate>,
    /// How the reference was read.
    reference: Read,
    /// What was learned from, for people.
    learned: String,
}

/// An estimate, and what came true.
struct Estimate {
    measured: Measured,
    realised: Option<f64>,
}

impl Estimate {
    /// Whether what came true lies in the interval; unknown without either.
    fn is_reliable(&self) -> Option<bool> {
        let interval = self.measured.outcome.as_ref().ok()?.interval?;
        self.realised.map(|realised| interval.low <= realised && realised <= interval.high)
    }
}

/// Learns from the reference and estimates the file's metrics; `metrics` are those of its labels, if any.
pub(super) fn estimate(
    args: &Args,
    reference: &Path,
    metrics: &[Measured],
    read: &mut Read,
) -> Result<Estimates, Failure> {
    let mut reference_read = Read::default();
    let (name, measured, learned) = match args.task {
        TaskName::Regression => of_regression(args, reference, &mut reference_read, read)?,
        _ => of_binary(args, reference, &mut reference_read, read)?,
    };
    let estimator = Estimator::named(name)
        .ok_or_else(|| Failure::operator(format!("there is no estimator of the name {name}")))?;
    let realised = |metric: &str| {
        let found = metrics.iter().find(|measured| measured.metric == metric)?;
        found.outcome.as_ref().ok().map(|value| value.value)
    };
    let estimates = measured.into_iter().map(|measured| {
        let realised = realised(&measured.metric);
        Estimate { measured, realised }
    });
    Ok(Estimates { estimator, estimates: estimates.collect(), reference: reference_read, learned })
}

type Learned = (&'static str, Vec<Measured>, String);

fn unusable(reference: &Path, reason: &NotComputable) -> Failure {
    Failure::operator(format!("{} is no reference: {reason}", reference.display()))
}

fn of_binary(args: &Args, file: &Path, reference: &mut Read, read: &mut Read) -> Result<Learned, Failure> {
    let label = needed(args, "--label", args.label.as_ref())?;
    let score = needed(args, "--score", args.score.as_ref())?;
    let mut rows = Vec::new();
    scan(file, &[label, score], reference, |cells| {
        let mut cells = cells.iter().copied().enumerate();
        let label = next(&mut cells, flag)?;
        rows.push((next(&mut cells, finite)?, label));
        Ok(())
    })?;
    let cbpe = Cbpe::from_rows(rows).map_err(|reason| unusable(file, &reason))?;
    let threshold = args.threshold.unwrap_or(THRESHOLD);
    let columns: Vec<&str> = [Some(score), args.prediction.as_deref()].into_iter().flatten().collect();
    // Rows of one score are one cell, so that a file of rounded scores is soon estimated.
    let mut counts: BTreeMap<u64, estimate::Cell> = BTreeMap::new();
    scan(&args.file, &columns, read, |cells| {
        let mut cells = cells.iter().copied().enumerate();
        // −0 is 0.
        let score = next(&mut cells, finite)? + 0.0;
        let predicted = if args.prediction.is_some() { next(&mut cells, flag)? } else { score >= threshold };
        let cell = counts.entry(score.to_bits()).or_insert(estimate::Cell { score, predicted: [0, 0] });
        let [negative, positive] = &mut cell.predicted;
        *if predicted { positive } else { negative } += 1;
        Ok(())
    })?;
    let cells: Vec<estimate::Cell> = counts.into_values().collect();
    let scores = if cbpe.calibrates() { "calibrated scores" } else { "scores that need no calibration" };
    Ok(("cbpe", cbpe.estimate(&cells), format!("{scores}, {} rows", cbpe.reference_rows())))
}

fn of_regression(
    args: &Args,
    file: &Path,
    reference: &mut Read,
    read: &mut Read,
) -> Result<Learned, Failure> {
    let label = needed(args, "--label", args.label.as_ref())?;
    let prediction = needed(args, "--prediction", args.prediction.as_ref())?;
    let candidates = candidates(args, file, label, prediction)?;
    let mut columns = vec![label, prediction];
    columns.extend(candidates.iter().map(String::as_str));
    let mut features: Vec<Feature> = candidates.iter().map(|_| Feature::default()).collect();
    scan(file, &columns, &mut Read::default(), |cells| {
        let features = features.iter_mut().zip(cells.iter().skip(2));
        features.for_each(|(feature, cell)| feature.look(*cell));
        Ok(())
    })?;
    let chosen = !args.features.is_empty();
    let (names, features): (Vec<String>, Vec<Feature>) =
        candidates.into_iter().zip(features).filter(|(_, feature)| chosen || feature.is_useful()).unzip();
    if names.len() > FEATURES_MAX {
        let count = names.len();
        return Err(Failure::operator(format!(
            "there are {count} features; at most {FEATURES_MAX} are learned from; name them with --features"
        )));
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut kept = 0;
    let (mut known, mut rows) = (Vec::new(), Vec::new());
    scan_features(file, &[label, prediction], &names, &features, reference, &mut kept, |row, features| {
        let [truth, prediction] = *row else { return };
        rows.push(RegressionRow { truth, prediction });
        known.push(features);
    })?;
    let dle = Dle::fit(&known, &rows).map_err(|reason| unusable(file, &reason))?;
    drop(known);
    let mut window = Vec::new();
    scan_features(&args.file, &[prediction], &names, &features, read, &mut kept, |row, features| {
        window.extend(row.first().map(|prediction| (features, *prediction)));
    })?;
    let learned = format!("{} rows by `{prediction}`{}", rows.len(), listed(&names));
    Ok(("dle", dle.estimate(&window), learned))
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!(", `{}`", plain(name))).collect()
}

/// The columns that may be features: those asked for, or all that both files have, aside from the label and
/// the prediction.
fn candidates(args: &Args, file: &Path, label: &str, prediction: &str) -> Result<Vec<String>, Failure> {
    let (mine, others) = (header(&args.file)?, header(file)?);
    if !args.features.is_empty() {
        let names: Vec<&str> = args.features.iter().map(String::as_str).collect();
        require(&args.file, &names, &mine)?;
        require(file, &names, &others)?;
        return Ok(args.features.clone());
    }
    let wanted = |name: &str| name != label && name != prediction;
    let both = others.iter().filter(|name| wanted(name) && mine.contains(name));
    Ok(both.map(|name| name.to_string()).collect())
}

/// What a column of the reference holds.
#[derive(Default)]
struct Feature {
    /// Cells that are numbers.
    numbers: u64,
    /// The names of other cells, up to one more than are told apart.
    categories: BTreeSet<String>,
    /// Whether every number is greater than the one before: it counts the rows.
    last: Option<f64>,
    falls: bool,
}

impl Feature {
    fn look(&mut self, cell: Cell<'_>) {
        if let Ok(number) = finite(cell) {
            self.numbers += 1;
            self.falls |= self.last.is_some_and(|last| number <= last);
            self.last = Some(number);
        }
        if self.categories.len() <= CATEGORIES_MAX {
            self.categories.extend(class(cell));
        }
    }

    /// Whether it is a number, or a category that is not a name of single rows.
    fn is_useful(&self) -> bool {
        let few = self.categories.len() <= CATEGORIES_MAX;
        let counts_rows = !few && !self.falls;
        !self.categories.is_empty() && (few || (self.numbers > 0 && !counts_rows))
    }

    /// The number of a cell, or the place of its category among the sorted ones; NaN for what is neither.
    fn number(&self, cell: Cell<'_>) -> f64 {
        if self.numbers > 0 {
            return finite(cell).unwrap_or(f64::NAN);
        }
        let name = class(cell).ok();
        let place = name.and_then(|name| self.categories.iter().position(|category| *category == name));
        place.map_or(f64::NAN, |place| place as f64)
    }
}

/// Reads rows of numbers that must be there, and of features that may be missing.
fn scan_features(
    file: &Path,
    numbers: &[&str],
    names: &[&str],
    features: &[Feature],
    read: &mut Read,
    kept: &mut usize,
    mut take: impl FnMut(&[f64], Vec<f64>),
) -> Result<(), Failure> {
    let columns: Vec<&str> = numbers.iter().chain(names).copied().collect();
    let mut too_many = false;
    scan(file, &columns, read, |cells| {
        let row: Result<Vec<f64>, Rejected> = cells
            .iter()
            .copied()
            .enumerate()
            .take(numbers.len())
            .map(|cell| read_cell(cell, finite))
            .collect();
        let row = row?;
        let cells = cells.iter().skip(numbers.len());
        *kept += names.len() + 1;
        too_many |= *kept > NUMBERS_MAX;
        if !too_many {
            take(&row, features.iter().zip(cells).map(|(feature, cell)| feature.number(*cell)).collect());
        }
        Ok(())
    })?;
    if too_many {
        return Err(Failure::operator(format!(
            "there are more than {NUMBERS_MAX} numbers of features, more than are kept in memory; name fewer with \
             --features, or take a part of the rows"
        )));
    }
    Ok(())
}

impl Estimates {
    /// One object an estimate.
    pub(super) fn as_json(&self) -> Vec<Json> {
        let one = |estimate: &Estimate| {
            let mut object = metric_as_json(&estimate.measured);
            if let Some(object) = object.as_object_mut() {
                object.insert("estimator".to_owned(), json!(self.estimator.name));
                object.insert("assumes".to_owned(), json!(self.estimator.assumes));
                object.insert("realised".to_owned(), json!(estimate.realised));
                object.insert("reliable".to_owned(), json!(estimate.is_reliable()));
            }
            object
        };
        self.estimates.iter().map(one).collect()
    }

    /// What was learned from.
    pub(super) fn reference_as_json(&self) -> Json {
        json!({
            "rows": self.reference.rows,
            "rows_left_out": self.reference.left_out.values().sum::<u64>(),
            "left_out": left_out_as_json(&self.reference),
            "learned": self.learned,
        })
    }

    /// A table, and what it rests on.
    pub(super) fn write_text(&self, after_metrics: bool, out: &mut dyn Write) -> io::Result<()> {
        if after_metrics {
            writeln!(out)?;
        }
        let head = ["estimate", "value", "low", "high", "n", "realised", "remark"];
        let mut table = vec![head.map(str::to_owned).to_vec()];
        for estimate in &self.estimates {
            let mut row = metric_as_row(&estimate.measured);
            let remark = row.pop().unwrap_or_default();
            row.push(estimate.realised.map_or_else(|| "-".to_owned(), number));
            row.push(
                match estimate.is_reliable() {
                    Some(false) => "unreliable: the realised value is outside",
                    _ => "",
                }
                .to_owned(),
            );
            if let Some(last) = row.last_mut().filter(|last| last.is_empty()) {
                *last = remark;
            }
            table.push(row);
        }
        out.write_all(aligned(&table, &[false, true, true, true, true, true]).as_bytes())?;
        writeln!(out, "estimated without labels from {}", self.learned)?;
        writeln!(
            out,
            "low and high hold the value that the labels will give with 95 %, if {}",
            self.estimator.assumes
        )?;
        for ((column, reason), rows) in &self.reference.left_out {
            let all = self.reference.rows;
            writeln!(
                out,
                "note: {rows} of {all} rows of the reference are left out: `{}` is {reason}",
                plain(column)
            )?;
        }
        Ok(())
    }
}

//! `driftline baseline build`: a baseline file from a training file.
//!
//! The roles of the columns come from the model's `training` section, from flags, or both: a flag wins. Of
//! the configuration nothing else is needed yet, so secrets and baseline files need not be there.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use super::{build_failure, file_failure};
use crate::baseline::read::{Format, Size, Spool, Table, TableFile};
use crate::baseline::{
    Baseline, BuildError, BuildOptions, OutcomeOptions, Progress, Roles, Segment, build_table,
};
use crate::cli::{Failure, model_of, reference};
use crate::config::{self, Model, Purpose, Training};
use crate::event::decode::TimestampUnit;
use crate::event::{ColumnKind, Span};
use crate::performance::Settings;
use crate::summary::outcome::Task;

/// Panes when neither flag nor configuration says how long.
const PANE: Span = Span::from_secs(3600);
/// Longest pane.
const PANE_LONGEST: Span = Span::from_secs(366 * 86_400);

/// What to build.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The training file: .parquet, .csv, .jsonl or .ndjson, the last three also .gz; `-` for standard input.
    #[arg(value_name = "INPUT")]
    input: PathBuf,
    /// The baseline file to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// A configuration whose `[model.training]` says what the columns are, and whose windows give the panes.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The model; with a configuration one of its models.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// The model's version.
    #[arg(long, value_name = "VERSION")]
    model_version: Option<String>,
    /// The column of the event time.
    #[arg(long, value_name = "COLUMN")]
    timestamp: Option<String>,
    /// What a timestamp that is a number counts: s, ms or us.
    #[arg(long, value_name = "UNIT", value_parser = timestamp_unit)]
    timestamp_unit: Option<TimestampUnit>,
    /// The column of the model's decision.
    #[arg(long, value_name = "COLUMN")]
    prediction: Option<String>,
    /// A column of scores; may be repeated.
    #[arg(long, value_name = "COLUMN")]
    score: Vec<String>,
    /// The column of what turned out to be true.
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// A column that is not watched; may be repeated.
    #[arg(long, value_name = "COLUMN")]
    ignore: Vec<String>,
    /// The only features; may be repeated.
    #[arg(long, value_name = "COLUMN")]
    feature: Vec<String>,
    /// A column of numbers that are names; may be repeated.
    #[arg(long, value_name = "COLUMN")]
    categorical: Vec<String>,
    /// The column by whose values the rows are also counted apart; it stays a feature unless it is something
    /// else.
    #[arg(long, value_name = "COLUMN")]
    segment: Option<String>,
    /// What the model predicts: binary, multiclass, regression or ranking. With it, and a label and a prediction
    /// or score, the baseline also holds how the model did on its training rows.
    #[arg(long, value_name = "TASK", value_parser = task)]
    task: Option<Task>,
    /// Binary: a name of class 1; may be repeated [default: 1, true]
    #[arg(long, value_name = "NAME")]
    positive: Vec<String>,
    /// Multiclass: the classes, in the order of the scores [default: those of the labels]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    classes: Vec<String>,
    /// Binary: scores of at least this are decided as class 1, if there is no prediction [default: 0.5]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = threshold)]
    threshold: Option<f64>,
    /// Length of the panes that rows with a time are cut into; 1h without a configuration.
    #[arg(long, value_name = "DURATION", value_parser = pane)]
    pane: Option<Span>,
    /// The input's format if its name does not say: csv, jsonl, csv.gz, jsonl.gz or parquet.
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Option<(Format, bool)>,
}

fn timestamp_unit(text: &str) -> Result<TimestampUnit, String> {
    match text {
        "s" => Ok(TimestampUnit::Seconds),
        "ms" => Ok(TimestampUnit::Milliseconds),
        "us" => Ok(TimestampUnit::Microseconds),
        _ => Err("expected s, ms or us".to_owned()),
    }
}

fn task(text: &str) -> Result<Task, String> {
    let found = Task::ALL.into_iter().find(|task| task.name() == text);
    found.ok_or_else(|| "expected binary, multiclass, regression or ranking".to_owned())
}

fn threshold(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| "expected a finite number".to_owned())
}

fn pane(text: &str) -> Result<Span, String> {
    let pane: Span = text.parse()?;
    let fits = pane >= Span::from_secs(1) && pane <= PANE_LONGEST;
    if fits { Ok(pane) } else { Err(format!("a pane lasts 1s to {PANE_LONGEST}")) }
}

fn format(text: &str) -> Result<(Format, bool), String> {
    let name = text.strip_prefix('.').unwrap_or(text);
    Format::of(Path::new(&format!("input.{name}")))
        .map_err(|_| "expected csv, jsonl, csv.gz, jsonl.gz or parquet".to_owned())
}

/// Builds the baseline and writes its file.
///
/// # Errors
/// [`Failure`] when the input does not fit or the file cannot be written; nothing is written then.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let model = args.model()?;
    let roles = args.roles(model.as_ref().map(|model| &model.training));
    let outcomes = args.outcomes(model.as_ref())?;
    let options = BuildOptions { outcomes: outcomes.as_ref(), ..args.options(&roles, model.as_ref())? };
    let built = match (&args.format, args.input.as_os_str() == "-") {
        (None, true) => {
            return Err(Failure::operator("standard input has no name that says its format: add --format"));
        }
        (Some((format, gzip)), true) => args.build_standard_input(*format, *gzip, &roles, options)?,
        (Some((format, gzip)), false) => {
            let table = TableFile::open_as(&args.input, *format, *gzip);
            args.build(table.map_err(BuildError::from), &roles, options)
                .map_err(|error| build_failure(&error))?
        }
        (None, false) => {
            let table = TableFile::open(&args.input).map_err(BuildError::from);
            args.build(table, &roles, options).map_err(|error| build_failure(&error))?
        }
    };
    let name = args.model.clone().or(model.map(|model| model.name));
    let baseline = Baseline { model: name, version: args.model_version.clone(), ..built }.sealed();
    baseline.write(&args.output).map_err(|error| file_failure(&error))?;
    report(&baseline, &args.output, out).map_err(Failure::other)
}

impl Args {
    fn model(&self) -> Result<Option<Model>, Failure> {
        let Some(path) = &self.config else { return Ok(None) };
        let config = config::load_for(path, Purpose::Build);
        let config = config.map_err(|errors| Failure::operator(errors.render(false)))?;
        model_of(&config, self.model.as_deref()).map(|model| Some(model.clone()))
    }

    fn roles(&self, training: Option<&Training>) -> Roles {
        let training = training.cloned().unwrap_or_default();
        let one = |flag: &Option<String>, configured| flag.clone().or(configured);
        let many =
            |flags: &Vec<String>, configured| if flags.is_empty() { configured } else { flags.clone() };
        Roles {
            timestamp: one(&self.timestamp, training.timestamp),
            prediction: one(&self.prediction, training.prediction),
            scores: many(&self.score, training.scores),
            label: one(&self.label, training.label),
            ignore: many(&self.ignore, training.ignore),
            features: many(&self.feature, training.features),
            categorical: many(&self.categorical, training.categorical),
            segment: one(&self.segment, training.segment),
            plain: false,
        }
    }

    fn options(&self, roles: &Roles, model: Option<&Model>) -> Result<BuildOptions<'static>, Failure> {
        let panes = self.panes(roles, model)?;
        let configured = model.and_then(|model| model.training.timestamp_unit);
        Ok(BuildOptions {
            panes,
            timestamp_unit: self.timestamp_unit.or(configured),
            segments_max: model.map(|model| model.segments_max),
            ..BuildOptions::default()
        })
    }

    /// What the outcomes of the rows are, if a flag or the configuration says it; a flag wins.
    fn outcomes(&self, model: Option<&Model>) -> Result<Option<OutcomeOptions>, Failure> {
        let configured = model.and_then(|model| model.performance.as_ref());
        let settings = match (self.task, configured) {
            (Some(task), Some(settings)) if settings.task == task => settings.clone(),
            (Some(task), _) => Settings::new(task),
            (None, Some(settings)) => settings.clone(),
            (None, None) => return self.without_task(),
        };
        let foreign = [
            ("--positive", !self.positive.is_empty(), Task::Binary),
            ("--threshold", self.threshold.is_some(), Task::Binary),
            ("--classes", !self.classes.is_empty(), Task::Multiclass),
        ];
        if let Some((flag, _, task)) =
            foreign.into_iter().find(|(_, is_given, task)| *is_given && *task != settings.task)
        {
            return Err(Failure::operator(format!(
                "{flag} is for {task} models: this one is {}",
                settings.task
            )));
        }
        let mut outcomes = settings.outcomes();
        if !self.positive.is_empty() {
            outcomes.positive.clone_from(&self.positive);
        }
        if !self.classes.is_empty() {
            outcomes.classes.clone_from(&self.classes);
        }
        outcomes.threshold = self.threshold.unwrap_or(outcomes.threshold);
        Ok(Some(outcomes))
    }

    fn without_task(&self) -> Result<Option<OutcomeOptions>, Failure> {
        let given = [
            ("--positive", !self.positive.is_empty()),
            ("--classes", !self.classes.is_empty()),
            ("--threshold", self.threshold.is_some()),
        ];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) => {
                Err(Failure::operator(format!("{flag} says how outcomes are read: add --task")))
            }
            None => Ok(None),
        }
    }

    /// Length and offset of the panes, if the rows have a time.
    fn panes(&self, roles: &Roles, model: Option<&Model>) -> Result<Option<(Span, Span)>, Failure> {
        if roles.timestamp.is_none() {
            let flag = self.pane.map(|_| "--pane").or(self.timestamp_unit.map(|_| "--timestamp-unit"));
            return match flag {
                Some(flag) => Err(Failure::operator(format!(
                    "{flag} says how the event time is read: name its column with --timestamp"
                ))),
                None => Ok(None),
            };
        }
        let configured = model.map(|model| (model.windows.pane(), model.windows.offset));
        let (pane, offset) = configured.unwrap_or((PANE, Span::ZERO));
        Ok(Some((self.pane.unwrap_or(pane), offset)))
    }

    fn build(
        &self,
        table: Result<TableFile, BuildError>,
        roles: &Roles,
        options: BuildOptions<'_>,
    ) -> Result<Baseline, BuildError> {
        let table = table?;
        let bar = Bar::new(table.size());
        let progress = |progress| bar.show(progress);
        let options = BuildOptions { progress: Some(&progress), ..options };
        let built = build_table(&table, roles, &options);
        bar.0.finish_and_clear();
        built
    }

    /// Builds from standard input, which is copied beside the output first: it is read more than once.
    fn build_standard_input(
        &self,
        format: Format,
        gzip: bool,
        roles: &Roles,
        options: BuildOptions<'_>,
    ) -> Result<Baseline, Failure> {
        let directory = self.output.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        let spool = Spool::fill(io::stdin().lock(), directory).map_err(|error| {
            Failure::other(format!("cannot copy standard input into {}: {error}", directory.display()))
        })?;
        let table = TableFile::open_as(spool.path(), format, gzip).map_err(BuildError::from);
        self.build(table, roles, options).map_err(|error| {
            let Failure { message, code } = build_failure(&error);
            Failure { message: message.replace(&spool.path().display().to_string(), "standard input"), code }
        })
    }
}

/// How far the work is; on standard error, and only where that is a terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new(size: Size) -> Self {
        let bar = ProgressBar::new(size.rows.or(size.bytes).unwrap_or(0));
        let template = "{msg} {wide_bar} {percent:>3} %";
        // The template is a constant; were it wrong, the bar would look plain.
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        Self(bar)
    }

    fn show(&self, Progress { pass, rows, bytes }: Progress) {
        self.0.set_message(format!("pass {pass}, {rows} rows"));
        self.0.set_position(if bytes > 0 { bytes } else { rows });
    }
}

fn report(baseline: &Baseline, path: &Path, out: &mut dyn Write) -> io::Result<()> {
    let of = |kind| baseline.specs().filter(|spec| spec.kind == kind).count();
    writeln!(out, "{}", path.display())?;
    writeln!(out, "  id       {}", baseline.id)?;
    writeln!(out, "  rows     {}", baseline.rows)?;
    writeln!(
        out,
        "  columns  {} ({} numeric, {} categorical)",
        baseline.columns.len(),
        of(ColumnKind::Numeric),
        of(ColumnKind::Categorical)
    )?;
    if let Some(reference) = &baseline.reference {
        writeln!(out, "  panes    {} of {}", reference.panes.len(), reference.pane)?;
    }
    if !baseline.segments.is_empty() {
        let rows: u64 = baseline.segments.iter().map(Segment::rows).sum();
        writeln!(out, "  segments {}, with {rows} rows", baseline.segments.len())?;
    }
    if let Some(outcomes) = &baseline.outcomes {
        writeln!(out, "  outcomes {}", reference::line(outcomes, None))?;
    }
    baseline.notes.iter().try_for_each(|note| writeln!(out, "  note: {note}"))
}

//! Builds a baseline from a table of training rows, in two passes and constant memory.
//!
//! The first pass, in `survey.rs`, finds out what each column is and where its bins go; the last, in
//! `count.rs`, counts every row on them, and, if the rows have a time, counts them again in panes of it.
//! (A column of text that turns out to hold names and numbers both costs a pass between the two.)

use std::sync::Arc;

use super::count::{Counting, Finished};
use super::naming::Naming;
use super::outcomes::{OutcomeError, OutcomeOptions, OutcomePlan};
use super::read::{Chunk, ReadError, Table};
use super::segment::{SEGMENTS_MAX, SegmentCounting, SegmentPlan, SegmentSurvey};
use super::survey::Survey;
use super::times::Times;
use super::{Baseline, BaselineId, Column};
use crate::event::decode::TimestampUnit;
use crate::event::{ColumnSpec, Role, Span};
use crate::summary::outcome::Task;
use crate::summary::{GridError, Shape};

/// What the columns of a table are. A column that is named nowhere is a feature.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    /// Event time; not watched.
    pub timestamp: Option<String>,
    /// The model's decision.
    pub prediction: Option<String>,
    /// Scores; a single one is watched as `score`, several under their own names.
    pub scores: Vec<String>,
    /// What turned out to be true.
    pub label: Option<String>,
    /// Not watched.
    pub ignore: Vec<String>,
    /// If not empty, the only features.
    pub features: Vec<String>,
    /// Columns of numbers that are names.
    pub categorical: Vec<String>,
    /// The column by whose values the rows are also counted apart. It may have any other role but the
    /// timestamp's: it stays a feature unless it is something else or ignored.
    pub segment: Option<String>,
    /// The table is no model's: no column name is reserved for an output. For comparing files.
    pub plain: bool,
}

/// How a baseline is built.
#[derive(Default, Clone, Copy)]
pub struct BuildOptions<'a> {
    /// Length and offset of the panes that rows with a time are also counted in.
    pub panes: Option<(Span, Span)>,
    /// How the timestamp column is written, if it is one of numbers.
    pub timestamp_unit: Option<TimestampUnit>,
    /// So many bins of equal mass, and a point bin for every value if there are no more values than that;
    /// without it [`BINS`](super::BINS), or fewer for small tables. More bins make distances more exact, and
    /// summaries larger.
    pub bins: Option<u64>,
    /// So many values of the segment column are told apart, those with most rows;
    /// [`SEGMENTS_MAX`](super::SEGMENTS_MAX) without it.
    pub segments_max: Option<usize>,
    /// The task, and what else is needed to count what came true; nothing of that is counted without it.
    pub outcomes: Option<&'a OutcomeOptions>,
    /// Hears how far the work is.
    pub progress: Option<&'a dyn Fn(Progress)>,
}

/// How far the work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Number of the pass, from 1.
    pub pass: u32,
    /// Rows read in this pass.
    pub rows: u64,
    /// Bytes of the file read in this pass, 0 if that is not known.
    pub bytes: u64,
}

/// Why no baseline can be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The table cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is nothing to learn from.
    #[error("the training table has no rows")]
    NoRows,
    /// Nothing is left to watch.
    #[error(
        "no column is left to watch: every column is ignored, the timestamp, or holds only arrays and objects"
    )]
    NoColumns,
    /// A role names a column that is not there.
    #[error("there is no column `{name}`{}; the table has {}", hint(.name, .columns), listed(.columns))]
    MissingColumn {
        /// What was asked for.
        name: String,
        /// What there is.
        columns: Vec<String>,
    },
    /// A column has two roles.
    #[error("the column `{name}` is named as {first} and as {second}: a column has one role")]
    TwoRoles {
        /// The column.
        name: String,
        /// A role.
        first: &'static str,
        /// Another.
        second: &'static str,
    },
    /// A feature is called like the model's own output.
    #[error("`{name}` is the name of a role: name it as the {name} column, ignore it, or rename it")]
    Clash {
        /// The name.
        name: String,
    },
    /// The timestamp column has no time that can be read.
    #[error("no value of the timestamp column `{name}` can be read as a time{}", unit_hint(*.numbers))]
    NoTime {
        /// The column.
        name: String,
        /// Whether it holds numbers.
        numbers: bool,
    },
    /// What came true cannot be counted as the task asks.
    #[error(transparent)]
    Outcomes(#[from] OutcomeError),
    /// Bins could not be placed: a fault of the program, not of the data.
    #[error("no bins can be placed for column `{name}`")]
    Grid {
        /// The column.
        name: String,
        /// Why.
        #[source]
        source: GridError,
    },
}

fn hint(name: &str, columns: &[String]) -> String {
    let near = columns.iter().map(|column| (strsim::jaro_winkler(name, column), column));
    let best = near.filter(|(likeness, _)| *likeness > 0.8).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or_else(String::new, |(_, column)| format!(", did you mean `{column}`?"))
}

fn unit_hint(numbers: bool) -> &'static str {
    if numbers { ": it holds numbers, so say their unit with --timestamp-unit s, ms or us" } else { "" }
}

/// Columns named in an error; a table may have thousands.
const LISTED_MAX: usize = 30;

fn listed(columns: &[String]) -> String {
    let shown: Vec<&str> = columns.iter().take(LISTED_MAX).map(String::as_str).collect();
    let more = columns.len().saturating_sub(LISTED_MAX);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &rest
}

/// What the columns of a table are, and what their values are to be counted on.
#[derive(Debug)]
pub struct Plan {
    /// The watched columns, features first.
    pub columns: Vec<Watched>,
    /// The names of all columns, watched or not, in the table's order.
    pub header: Vec<Arc<str>>,
    /// Rows of the table.
    pub rows: u64,
    /// What was noticed, for people.
    pub notes: Vec<String>,
    /// Where in the table each watched column is.
    sources: Vec<usize>,
    /// Which segments there are, if a segment column was named.
    segments: Option<SegmentPlan>,
}

/// A column that is to be counted.
#[derive(Debug, Clone)]
pub struct Watched {
    /// Name, role and kind.
    pub spec: ColumnSpec,
    /// What its values are counted on.
    pub shape: Shape,
    /// How text becomes a name, if it is counted by names.
    pub naming: Naming,
}

/// Builds a baseline from a table.
///
/// # Errors
/// [`BuildError`]: what is wrong with the table or the roles, and how to mend it.
pub fn build_table(
    table: &dyn Table,
    roles: &Roles,
    options: &BuildOptions<'_>,
) -> Result<Baseline, BuildError> {
    let Plan { columns, rows, mut notes, sources, segments, .. } = plan_table(table, roles, options)?;
    let outcomes = options.outcomes.map(|outcomes| OutcomePlan::new(&columns, roles, outcomes, &mut notes));
    let outcomes = outcomes.transpose()?.flatten();
    let mut counting = Counting::new(columns, times_of(roles, options), segments, outcomes);
    scan(table, roles, options, 3, |chunk, _| counting.take(chunk, &sources))?;
    let Finished { columns, total, timed, segments, outcomes } = counting.finish();
    let (reference, extremes) = match timed {
        Some(timed) => timed.finish(&mut notes).map(|(reference, extremes)| (Some(reference), extremes))?,
        None => (None, vec![None; columns.len()]),
    };
    let names = segments.as_ref().map(SegmentCounting::names).unwrap_or_default();
    let segments = segments.map(|segments| segments.finish(&mut notes)).unwrap_or_default();
    let outcomes = outcomes.map(|outcomes| outcomes.finish(reference.as_ref(), &names, &mut notes));
    let columns = columns
        .into_iter()
        .zip(total.columns)
        .zip(extremes)
        .map(|((Watched { spec, shape, .. }, summary), extremes)| Column { spec, shape, summary, extremes })
        .collect();
    let id = BaselineId::default();
    Ok(Baseline { id, model: None, version: None, rows, columns, reference, segments, outcomes, notes }
        .sealed())
}

/// The roles whose whole numbers are quantities and never classes, few as they may be.
fn quantities(options: &BuildOptions<'_>) -> &'static [Role] {
    match options.outcomes.map(|outcomes| outcomes.task) {
        Some(Task::Regression) => &[Role::Prediction, Role::Label],
        _ => &[],
    }
}

fn times_of(roles: &Roles, options: &BuildOptions<'_>) -> Option<Times> {
    let (column, panes) = roles.timestamp.as_ref().zip(options.panes)?;
    Some(Times::new(column, panes, options.timestamp_unit))
}

/// Finds out what the columns of a table are and where their bins go, without counting.
///
/// # Errors
/// As [`build_table`].
pub fn plan_table(table: &dyn Table, roles: &Roles, options: &BuildOptions<'_>) -> Result<Plan, BuildError> {
    check_one_role_each(roles)?;
    if let Some(header) = table.header() {
        check_columns(&header, roles)?;
    }
    let mut survey = Survey::default();
    let mut segments =
        roles.segment.as_ref().map(|column| SegmentSurvey::new(column, times_of(roles, options)));
    scan(table, roles, options, 1, |chunk, rows| {
        survey.take(chunk, rows, roles);
        segments.iter_mut().for_each(|segments| segments.take(chunk));
    })?;
    let (header, rows) = (survey.header().to_vec(), survey.rows());
    check_columns(&header, roles)?;
    if rows == 0 {
        return Err(BuildError::NoRows);
    }
    let segments = roles.segment.as_ref().zip(segments).map(|(column, segments)| {
        segments.plan(survey.naming_of(column), options.segments_max.unwrap_or(SEGMENTS_MAX))
    });
    let mut notes = absent_ignored(&header, roles);
    let mut planned = survey.plan(roles, quantities(options), &mut notes)?;
    if planned.iter().any(|column| column.needs_names) {
        scan(table, roles, options, 2, |chunk, _| {
            planned
                .iter_mut()
                .filter(|column| column.needs_names)
                .for_each(|column| column.take_names(chunk));
        })?;
    }
    let mut plan = Plan { columns: Vec::new(), header, rows, notes, sources: Vec::new(), segments };
    for column in planned {
        plan.sources.push(column.source);
        plan.columns.push(column.shape(options.bins, &mut plan.notes)?);
    }
    Ok(plan)
}

fn scan(
    table: &dyn Table,
    roles: &Roles,
    options: &BuildOptions<'_>,
    pass: u32,
    mut take: impl FnMut(&Chunk, u64),
) -> Result<(), BuildError> {
    let wanted = |name: &str| {
        let is_read_apart =
            [&roles.timestamp, &roles.segment].iter().any(|role| role.as_deref() == Some(name));
        is_read_apart || !matches!(watched(&Arc::from(name), roles), Ok(None))
    };
    let mut rows = 0;
    for chunk in table.scan(&wanted)? {
        let chunk = chunk?;
        take(&chunk, rows);
        rows += chunk.rows as u64;
        if let Some(progress) = options.progress {
            progress(Progress { pass, rows, bytes: chunk.bytes });
        }
    }
    Ok(())
}

fn check_columns(header: &[Arc<str>], roles: &Roles) -> Result<(), BuildError> {
    let named = [&roles.timestamp, &roles.prediction, &roles.label, &roles.segment].into_iter().flatten();
    let listed = [&roles.scores, &roles.features, &roles.categorical].into_iter().flatten();
    for name in named.chain(listed) {
        if !header.iter().any(|column| **column == **name) {
            let columns = header.iter().map(ToString::to_string).collect();
            return Err(BuildError::MissingColumn { name: name.clone(), columns });
        }
    }
    Ok(())
}

/// A note for each column that is to be ignored and is not there: nothing is wrong with the baseline then,
/// but the column that was meant may be watched under another spelling.
fn absent_ignored(header: &[Arc<str>], roles: &Roles) -> Vec<String> {
    let absent = roles.ignore.iter().filter(|name| !header.iter().any(|column| **column == ***name));
    let columns: Vec<String> = header.iter().map(ToString::to_string).collect();
    absent.map(|name| format!("there is no column `{name}` to ignore{}", hint(name, &columns))).collect()
}

fn check_one_role_each(roles: &Roles) -> Result<(), BuildError> {
    if let Some(name) = roles.segment.as_ref().filter(|name| roles.timestamp.as_ref() == Some(name)) {
        return Err(BuildError::TwoRoles {
            name: name.clone(),
            first: "the timestamp",
            second: "the segment",
        });
    }
    let named = [
        ("the timestamp", roles.timestamp.as_slice()),
        ("the prediction", roles.prediction.as_slice()),
        ("a score", &roles.scores),
        ("the label", roles.label.as_slice()),
        ("ignored", &roles.ignore),
        ("a feature", &roles.features),
    ];
    let mut role_of = std::collections::BTreeMap::new();
    for (role, names) in named {
        for name in names {
            if let Some(first) = role_of.insert(name.as_str(), role).filter(|first| *first != role) {
                return Err(BuildError::TwoRoles { name: name.clone(), first, second: role });
            }
        }
    }
    Ok(())
}

/// The role of a column and the name it is watched by; `None` if it is not watched.
pub(super) fn watched(name: &Arc<str>, roles: &Roles) -> Result<Option<(Role, Arc<str>)>, BuildError> {
    let is = |role: &Option<String>| role.as_deref() == Some(name.as_ref());
    let listed = |list: &[String]| list.iter().any(|column| **column == **name);
    let reserved = ["prediction", "label", "score"].contains(&name.as_ref());
    let clash = || Err(BuildError::Clash { name: name.to_string() });
    if name.is_empty() || is(&roles.timestamp) || listed(&roles.ignore) {
        return Ok(None);
    }
    if is(&roles.prediction) {
        return Ok(Some((Role::Prediction, "prediction".into())));
    }
    if is(&roles.label) {
        return Ok(Some((Role::Label, "label".into())));
    }
    if listed(&roles.scores) {
        return match roles.scores.len() {
            1 => Ok(Some((Role::Score, "score".into()))),
            _ if reserved && **name != *"score" => clash(),
            _ => Ok(Some((Role::Score, Arc::clone(name)))),
        };
    }
    if !roles.features.is_empty() && !listed(&roles.features) {
        return Ok(None);
    }
    if reserved && !roles.plain {
        return clash();
    }
    Ok(Some((Role::Feature, Arc::clone(name))))
}

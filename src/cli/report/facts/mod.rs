//! The facts of a report, as data: what `--format json` shows, and what every sentence of the page is made of.
//!
//! Pure. Numbers are as they were stored; nothing is rounded. Names are stable and in `snake_case`; times are
//! RFC 3339 in UTC, spans as people write them (`1h`, `30d`), shares 0 to 1, and what is not known is `null`.
//!
//! - `format`: version of this document, 1.
//! - `model`, `version`, `baseline`, `config`: what is reported, its newest version, and the ids in force.
//! - `made_at`, `from`, `to`: when it was written by the wall time; the period in event time, which ends with
//!   the newest window.
//! - `standing`: what it comes to, one of [`Standing`]; `advice`: what follows, one of [`Advice`].
//! - `change`: what changed and since when ([`Change`]); `drift`: the windows of all rows ([`Drift`]).
//! - `performance`: how the model does ([`Performance`]); `null` where no performance is recorded.
//! - `money`: what it costs ([`Money`]); `null` where no value is configured.
//! - `incidents`: what has been done ([`IncidentFact`]), the latest opened first.
//! - `not_known`: sentences, what the store cannot tell.

mod done;
mod performance;

pub use done::{IncidentFact, RetrainCall, Since};
pub use performance::{Comparison, Money, Performance, Point, SegmentFact};

use std::collections::BTreeMap;

use serde::Serialize;

use super::rows::{ColumnRow, Rows, WindowRow};
use crate::drift::EffectUnit;
use crate::event::{Role, Span, Timestamp};
use crate::incident::Incident;
use crate::performance::{Diagnosis, DiagnosisKind, Limit, Maturity, PriorReading, SplitReading};
use crate::verdict::{Budget, ColumnVerdict};

/// Version of the document.
const FORMAT: u32 = 1;

/// Columns that are named: those that moved most.
const COLUMNS_MAX: usize = 8;

/// What the configuration says of the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The model.
    pub model: String,
    /// How far back.
    pub since: Span,
    /// Length of the windows that performance is shown by, if the operator chose one.
    pub window: Option<Span>,
    /// False alarms allowed.
    pub budget: Budget,
    /// The operator's limits for metrics.
    pub limits: Vec<Limit>,
    /// Whether the configuration measures performance.
    pub is_measured: bool,
    /// Whether it says what mistakes cost.
    pub is_priced: bool,
    /// The channel that is asked to retrain, if there is one.
    pub retrain_channel: Option<String>,
    /// Id of the configuration, in hex.
    pub config: String,
}

/// Everything a report says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Facts {
    /// Version of this document.
    pub format: u32,
    /// The model.
    pub model: String,
    /// The version that was active last; `None` when events carry none.
    pub version: Option<String>,
    /// Id of the baseline of its newest window, in hex.
    pub baseline: Option<String>,
    /// Id of the configuration that was read, in hex.
    pub config: String,
    /// When the report was written, by the wall time.
    pub made_at: Timestamp,
    /// Start of the period; `None` without windows.
    pub from: Option<Timestamp>,
    /// End of the newest window.
    pub to: Option<Timestamp>,
    /// What it comes to.
    pub standing: Standing,
    /// What follows.
    pub advice: Advice,
    /// What changed; `None` when nothing did.
    pub change: Option<Change>,
    /// What the windows said of the data.
    pub drift: Drift,
    /// How the model does.
    pub performance: Option<Performance>,
    /// What it costs.
    pub money: Option<Money>,
    /// What has been done, the latest opened first.
    pub incidents: Vec<IncidentFact>,
    /// What the store cannot tell.
    pub not_known: Vec<String>,
}

/// What a report comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// No window closed in the period.
    NoData,
    /// Nothing wrong is seen.
    Well,
    /// The newest window alarmed, and no incident is open.
    Watch,
    /// Nothing is wrong now, but there were incidents.
    Over,
    /// No incident is open, yet the newest value of the headline metric, realised or else estimated, has its
    /// whole interval on the worse side of the one in training, or the loss is such that retraining pays.
    BelowTraining,
    /// The data moved; what it means is not said.
    Moved,
    /// The model does worse; why is not said.
    Worse,
    /// The data are broken.
    DataFault,
    /// Other cases, and the model is as good on them.
    HarmlessShift,
    /// Other cases, and the model is worse on them.
    HarmfulShift,
    /// Like cases come out differently.
    ConceptChange,
    /// Something changed, and the evidence does not say what.
    Unclear,
}

/// What follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Advice {
    /// Nothing.
    Nothing,
    /// See what the columns that moved mean.
    Look,
    /// Mend the data; retraining on broken data makes it worse.
    MendData,
    /// Retrain: it pays within the horizon.
    Retrain,
    /// Do not retrain for the money: it does not pay within the horizon, or is not known to.
    RetrainDoesNotPay,
    /// Retraining is the usual remedy; whether it pays cannot be said.
    RetrainUnpriced,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Start of the window that opened the incident, or of the first window of the change where that is known.
    pub since: Timestamp,
    /// Whether it goes on.
    pub is_open: bool,
    /// What it is taken to be, with the evidence.
    pub diagnosis: Option<Diagnosis>,
    /// The change of the mean loss, split into mix and concept.
    pub split: Option<SplitReading>,
    /// The share of class 1, estimated without labels.
    pub prior: Option<PriorReading>,
    /// The segments that alarmed in its latest alarming window.
    pub segments: Vec<String>,
    /// The columns that moved, the most moved first.
    pub columns: Vec<ColumnFact>,
    /// Columns that moved and are not among `columns`.
    pub columns_more: usize,
}

/// A column that moved.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnFact {
    /// Its name.
    pub name: String,
    /// What it is to the model.
    pub role: Role,
    /// Whether it is among those that made the alarm.
    pub alarm: bool,
    /// How much it moved, 0 to 1.
    pub moved: f64,
    /// The effect of the test that speaks loudest.
    pub effect: Option<f64>,
    /// What the effect is measured in.
    pub effect_unit: Option<EffectUnit>,
    /// The difference in words.
    pub summary: Option<String>,
}

impl From<&ColumnRow> for ColumnFact {
    fn from(column: &ColumnRow) -> Self {
        Self {
            name: column.name.clone(),
            role: column.role,
            alarm: column.alarm,
            moved: column.moved,
            effect: column.effect,
            effect_unit: column.effect_unit,
            summary: column.summary.clone(),
        }
    }
}

/// What the windows of all rows said of the data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drift {
    /// Windows that closed.
    pub windows: usize,
    /// Those that alarmed.
    pub alarms: usize,
    /// Those whose false-alarm promise rested on reference windows.
    pub calibrated: usize,
    /// The lengths there are, with the number of windows of each.
    pub lengths: BTreeMap<Span, usize>,
    /// False alarms that the budget allows in the period.
    pub false_alarms_allowed: f64,
    /// The budget: `alarms` in each `period`.
    pub budget: Budget,
    /// Rows of the newest window.
    pub newest_n: Option<u64>,
    /// Whether older windows of the period were left out.
    pub is_cut: bool,
}

/// Why there is no report.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FactsError {
    /// No window has the length that was asked for.
    #[error("no performance is recorded in windows of {asked}; there are {}", there(lengths))]
    NoSuchWindow {
        /// The length asked for.
        asked: Span,
        /// The lengths there are.
        lengths: Vec<Span>,
    },
}

fn there(lengths: &[Span]) -> String {
    match lengths {
        [] => "none yet: leave --window out".to_owned(),
        some => some.iter().map(Span::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// Makes the facts of the rows. `now` is the wall time.
///
/// # Errors
/// [`FactsError`] when the settings ask for what is not there.
pub fn gather(rows: &Rows, settings: &Settings, now: Timestamp) -> Result<Facts, FactsError> {
    let ends = rows.windows.iter().map(|row| row.window_end);
    let to = ends.chain(rows.performance.iter().map(|row| row.end)).max();
    let from = to.map(|to| to - settings.since);
    let newest = rows.windows.iter().max_by_key(|row| (row.window_end, row.window_start));
    let performance = performance::gather(rows, settings)?;
    let incidents = done::gather(rows, performance.as_ref());
    let money = performance::money(rows, performance.as_ref());
    let is_worse = performance.as_ref().is_some_and(Performance::is_worse)
        || money.as_ref().is_some_and(|money| money.retrain_pays == Some(true));
    let standing = standing(rows, &incidents, newest, is_worse);
    let mut facts = Facts {
        format: FORMAT,
        model: settings.model.clone(),
        version: newest.and_then(|row| row.version.clone()),
        baseline: newest.map(|row| row.baseline.clone()),
        config: settings.config.clone(),
        made_at: now,
        from,
        to,
        standing,
        advice: advice(standing, money.as_ref()),
        change: change(rows, money.as_ref(), newest),
        drift: drift(rows, settings, newest),
        performance,
        money,
        incidents,
        not_known: Vec::new(),
    };
    facts.not_known = not_known(&facts, settings);
    Ok(facts)
}

fn drift(rows: &Rows, settings: &Settings, newest: Option<&WindowRow>) -> Drift {
    let mut lengths = BTreeMap::new();
    for row in &rows.windows {
        *lengths.entry(row.length).or_insert(0) += 1;
    }
    let periods = settings.since.as_secs_f64() / settings.budget.period.as_secs_f64().max(1e-6);
    Drift {
        windows: rows.windows.len(),
        alarms: rows.windows.iter().filter(|row| row.alarm).count(),
        calibrated: rows.windows.iter().filter(|row| row.calibrated).count(),
        lengths,
        false_alarms_allowed: settings.budget.alarms * periods,
        budget: settings.budget,
        newest_n: newest.map(|row| row.n),
        is_cut: rows.is_cut,
    }
}

fn standing(rows: &Rows, incidents: &[IncidentFact], newest: Option<&WindowRow>, is_worse: bool) -> Standing {
    if let Some(open) = incidents.iter().find(|incident| incident.is_open()) {
        return match (open.diagnosis, open.kind.as_str()) {
            (Some(DiagnosisKind::DataFault), _) => Standing::DataFault,
            (Some(DiagnosisKind::HarmlessShift), _) => Standing::HarmlessShift,
            (Some(DiagnosisKind::HarmfulShift), _) => Standing::HarmfulShift,
            (Some(DiagnosisKind::ConceptChange), _) => Standing::ConceptChange,
            (Some(DiagnosisKind::Unclear), _) => Standing::Unclear,
            (None, "performance") => Standing::Worse,
            (None, _) => Standing::Moved,
        };
    }
    match newest {
        Some(row) if row.alarm => Standing::Watch,
        _ if is_worse => Standing::BelowTraining,
        _ if !incidents.is_empty() => Standing::Over,
        None if rows.performance.is_empty() => Standing::NoData,
        _ => Standing::Well,
    }
}

fn advice(standing: Standing, money: Option<&Money>) -> Advice {
    match standing {
        Standing::NoData | Standing::Well | Standing::Over | Standing::HarmlessShift => Advice::Nothing,
        Standing::Watch | Standing::Moved => Advice::Look,
        Standing::BelowTraining => match money.and_then(|money| money.retrain_pays) {
            Some(true) => Advice::Retrain,
            _ => Advice::Look,
        },
        Standing::DataFault => Advice::MendData,
        Standing::Worse | Standing::HarmfulShift | Standing::ConceptChange | Standing::Unclear => {
            match money.and_then(|money| money.retrain_pays) {
                Some(true) => Advice::Retrain,
                Some(false) => Advice::RetrainDoesNotPay,
                None => Advice::RetrainUnpriced,
            }
        }
    }
}

/// What changed: of the open incident, or else of the latest that ended, or of the newest window if it alarmed.
fn change(rows: &Rows, money: Option<&Money>, newest: Option<&WindowRow>) -> Option<Change> {
    let all = || rows.incidents.iter().map(|one| &one.incident);
    let Some(incident) = all().find(|incident| incident.resolved_at.is_none()).or_else(|| all().next())
    else {
        let row = newest.filter(|row| row.alarm)?;
        return Some(Change {
            since: row.window_start,
            is_open: true,
            diagnosis: None,
            split: None,
            prior: None,
            segments: Vec::new(),
            columns: row.features.iter().take(COLUMNS_MAX).map(ColumnFact::from).collect(),
            columns_more: 0,
        });
    };
    let is_open = incident.resolved_at.is_none();
    let newest_reading = rows.performance.iter().filter(|row| row.key.segment.is_none()).max_by_key(|row| {
        (row.end, row.key.length, row.reading.maturity == Maturity::Mature, row.reading.labels)
    });
    let of_incident = incident.performance.as_ref().and_then(|evidence| evidence.split.clone());
    let moved = columns_of(rows, incident).iter().filter(|column| column.moved > 0.0);
    let columns: Vec<ColumnFact> = moved
        .clone()
        .take(COLUMNS_MAX)
        .map(|column| ColumnFact {
            name: column.name.to_string(),
            role: column.role,
            alarm: column.alarm,
            moved: column.moved,
            effect: column.effect,
            effect_unit: column.effect_unit,
            summary: column.summary.clone(),
        })
        .collect();
    Some(Change {
        since: since(rows, incident, money, is_open),
        is_open,
        diagnosis: incident.diagnosis.clone(),
        split: of_incident
            .or_else(|| newest_reading.filter(|_| is_open).and_then(|row| row.reading.split.clone())),
        prior: newest_reading.filter(|_| is_open).and_then(|row| row.reading.prior.clone()),
        segments: incident.segments.clone(),
        columns_more: moved.filter(|column| column.alarm).count().saturating_sub(columns.len()),
        columns,
    })
}

/// The columns of an incident. One about performance names a metric, and what moved in the data is said by the
/// incident about drift of the same time, if there is one.
fn columns_of<'a>(rows: &'a Rows, incident: &'a Incident) -> &'a [ColumnVerdict] {
    let end = |one: &Incident| one.resolved_at.unwrap_or(one.updated_at).max(one.window_end);
    let is_beside = |one: &&Incident| {
        let overlaps = one.opened_at <= end(incident) && incident.opened_at <= end(one);
        one.kind == "drift" && overlaps
    };
    let drift = rows.incidents.iter().map(|one| &one.incident).find(is_beside);
    &drift.filter(|_| incident.kind == "performance").unwrap_or(incident).features
}

/// The start of the change: where money is counted from, else the start of the opening window, else its end.
fn since(rows: &Rows, incident: &Incident, money: Option<&Money>, is_open: bool) -> Timestamp {
    let opening = rows
        .windows
        .iter()
        .filter(|row| row.alarm && row.window_end == incident.opened_at)
        .map(|row| row.window_start)
        .max();
    // A sum that ended before this incident opened is of an earlier change.
    let is_of_this =
        |money: &&Money| is_open && money.accumulated_to.is_none_or(|to| to >= incident.opened_at);
    let counted = money.filter(is_of_this).and_then(|money| money.since);
    counted.or(opening).unwrap_or(incident.opened_at)
}

/// Why nothing is known of performance, and what would mend it.
fn no_performance(settings: &Settings) -> String {
    let why = if settings.is_measured {
        "no window is recorded yet. That takes a baseline built with [model.performance] in the configuration, \
         predictions whose [[stream]] maps fields.id, and a whole window of them"
    } else {
        "no performance is recorded. Write [model.performance] with `task`, give the predictions' [[stream]] \
         fields.id, add a [[stream]] with fields.id and fields.label, and build the baseline anew"
    };
    format!("How well the model predicts: {why}. Until then this report knows the data only.")
}

/// What the store cannot tell, as sentences.
fn not_known(facts: &Facts, settings: &Settings) -> Vec<String> {
    let mut lines = Vec::new();
    match &facts.performance {
        None => lines.push(no_performance(settings)),
        Some(performance) => lines.extend(performance.not_known()),
    }
    if facts.performance.is_some() && facts.money.is_none() {
        let why = if settings.is_priced {
            "no window of this period has a loss yet, realised or estimated."
        } else {
            "no value is configured. Write [model.value] with `currency` and `costs` (`over` and `under` for \
             regression), and with `retrain_cost` if it is to be said whether retraining pays."
        };
        lines.push(format!("What a wrong prediction costs: {why}"));
    }
    if facts.change.as_ref().is_some_and(|change| change.is_open && change.diagnosis.is_none()) {
        lines.push("Whether the data or the world changed: the incident carries no diagnosis.".to_owned());
    }
    if facts.drift.is_cut {
        lines.push(format!(
            "What happened before the newest {} windows of the period: there are more than a report reads. \
             Choose a shorter --since.",
            facts.drift.windows
        ));
    }
    if settings.retrain_channel.is_none() {
        lines.push(
            "Whether anybody retrained the model by another way: no retrain channel is configured."
                .to_owned(),
        );
    }
    lines.push(
        "What a retrained model would really do: only its own labels will tell. What is said of it here is an \
         expectation."
            .to_owned(),
    );
    lines
}

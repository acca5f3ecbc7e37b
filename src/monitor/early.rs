//! The early watch in the flow: workers count ticks, the owner keeps them, and when they are complete what
//! they mean steps the model's incident as a closed window would.
//!
//! Ticks pass in the order of event time among the windows: before each window closes, every tick that ends
//! with it or earlier has passed. So the incident's history is the same however often the owner advances.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, Float64Array};

use super::{Commit, Lookup, Model, ModelPlan, Monitor, Plan};
use crate::drift::EffectUnit;
use crate::event::decode::Field;
use crate::event::{
    ColumnKind, ColumnSpec, EventBatch, Names, RawBatch, RejectReason, Rejected, Role, Span, Timestamp,
    WRONG_TYPE_NAME, is_wrong_type,
};
use crate::incident::{self, About, Closing, Evidence, Status};
use crate::performance::Diagnosis;
use crate::performance::diagnosis::{Alarm, Findings, diagnose};
use crate::quality::{
    self, Arrived, Bad, Expected, Finding, Limits, Report, RowTicks, State, TickRows, Trouble,
};
use crate::summary::ColumnSummary;
use crate::verdict::{Budget, ColumnVerdict, Entry, Verdict, alpha_per_window};

/// What a verdict says when its promise does not rest on reference windows.
const UNCALIBRATED: &str = "the training data has no event time, so a rate that is higher at some hours or \
     on some days than on average may alarm";

/// What is expected of each version, with the id of the baseline it follows from.
pub(super) type Expectations = BTreeMap<Option<String>, (String, Arc<Expected>)>;

/// The mean number of ticks to a false alarm that the early watch has to keep, when the budget is split
/// into `parts` and it has one of them: `period / (tick · alarms / parts)`.
///
/// Ticks without any record do not count, so the promise in time is kept all the more.
pub fn ticks_per_alarm(budget: Budget, tick: Span, parts: usize) -> f64 {
    let ticks = budget.period.as_secs_f64() / tick.as_secs_f64().max(1e-6);
    (ticks * parts.max(1) as f64 / budget.alarms).max(1.0)
}

// === workers ===

/// Counts the ticks of a group, column by column.
pub(super) struct TickCount<'a> {
    rows: &'a [usize],
    row_ticks: Option<&'a RowTicks>,
    ticks: BTreeMap<Timestamp, TickRows>,
}

impl<'a> TickCount<'a> {
    /// Counts the rows of a group, whose ticks are these.
    pub(super) fn new(rows: &'a [usize], row_ticks: Option<&'a RowTicks>) -> Self {
        Self { rows, row_ticks, ticks: row_ticks.map(RowTicks::counts).unwrap_or_default() }
    }

    /// Adds a column's bad values to the ticks of their rows, once they are counted for the window. A column
    /// without any costs nothing, and one whose rows are all in one tick is not looked at again.
    pub(super) fn add(&mut self, place: u32, column: &Watched<'_>, summary: &ColumnSummary) {
        let Some(row_ticks) = self.row_ticks else { return };
        let anomalies = summary.anomalies();
        let all = Bad {
            missing: column.missing(anomalies.missing.saturating_add(anomalies.nan)),
            wrong_type: anomalies.wrong_type,
        };
        if all.is_none() || self.ticks.is_empty() {
            return;
        }
        if let Some(only) = row_ticks.only() {
            return self.add_to(only, place, all);
        }
        for (row, tick) in self.rows.iter().zip(row_ticks.each()) {
            let bad = column.bad(*row);
            if let Some(start) = tick.filter(|_| !bad.is_none()) {
                self.add_to(start, place, bad);
            }
        }
    }

    fn add_to(&mut self, start: Timestamp, place: u32, bad: Bad) {
        if let Some(tick) = self.ticks.get_mut(&start) {
            tick.columns.entry(place).or_default().add(bad);
        }
    }

    /// What was counted, by start of the tick.
    pub(super) fn finish(self) -> BTreeMap<Timestamp, TickRows> {
        self.ticks
    }
}

/// A column of a batch, as the early watch looks at it.
pub(super) struct Watched<'a> {
    values: Values<'a>,
    role: Role,
}

enum Values<'a> {
    Numbers(&'a Float64Array),
    Names(Names<'a>),
}

impl<'a> Watched<'a> {
    /// The column at this place of the batch.
    pub(super) fn new(batch: &'a EventBatch, at: usize, spec: &ColumnSpec) -> Self {
        let values = match spec.kind {
            ColumnKind::Numeric => Values::Numbers(batch.numbers(at)),
            ColumnKind::Categorical => Values::Names(batch.names(at)),
        };
        Self { values, role: spec.role }
    }

    /// Labels come late or never by their nature.
    fn missing(&self, times: u64) -> u64 {
        if self.role == Role::Label { 0 } else { times }
    }

    fn bad(&self, row: usize) -> Bad {
        let (is_missing, is_wrong) = match &self.values {
            Values::Numbers(numbers) if numbers.is_null(row) => (true, false),
            Values::Numbers(numbers) => {
                let value = numbers.value(row);
                (value.is_nan() && !is_wrong_type(value), is_wrong_type(value))
            }
            Values::Names(names) => (names.is_null(row), names.get(row) == Some(WRONG_TYPE_NAME)),
        };
        Bad { missing: self.missing(u64::from(is_missing)), wrong_type: u64::from(is_wrong) }
    }
}

// === owner ===

impl Monitor {
    /// Counts a rejected record for its model. One whose model cannot be told counts if its stream has only
    /// one. Late ones are well-formed and do not count.
    pub(super) fn watch_rejected(
        &mut self,
        model: Option<usize>,
        rejected: &Rejected,
        raw: &RawBatch,
        reached: Option<Timestamp>,
    ) {
        // Before its partition has shown any time, a record has none.
        let Some(reached) = reached.filter(|_| rejected.reason != RejectReason::Late) else { return };
        let only = || match self.plan.streams().get(raw.stream).map(|plan| &plan.stream.mapping.model) {
            Some(Field::Constant(name)) => self.plan.model(name),
            _ => None,
        };
        let Some(index) = model.or_else(only) else { return };
        let (Some(plan), Some(model)) = (self.plan.models().get(index), self.models.get_mut(index)) else {
            return;
        };
        if let Some(ticks) = plan.settings.early.ticks(&plan.settings.windows) {
            model.memory.early.reject(&ticks, rejected.reason, reached);
        }
    }
}

impl Model {
    /// Adds the ticks of a group.
    pub(super) fn watch_group(
        &mut self,
        plan: &ModelPlan,
        arrived: Arrived<'_>,
        counts: BTreeMap<Timestamp, TickRows>,
    ) {
        let settings = &plan.settings;
        if let Some(ticks) = settings.early.ticks(&settings.windows) {
            self.memory.early.add(&ticks, arrived, counts, settings.versions_max);
        }
    }

    /// Works out what is expected of every version that the watch knows.
    pub(super) fn expect(&mut self, plan: &ModelPlan, whole: &Plan) {
        for (version, baseline) in self.memory.early.versions() {
            let key = version.map(str::to_owned);
            if self.expected.get(&key).is_some_and(|(known, _)| known == baseline) {
                continue;
            }
            let Lookup::Found(prepared) = plan.lookup(version) else { continue };
            if prepared.id != baseline {
                continue;
            }
            let streams = whole.streams().iter().map(|stream| &stream.stream);
            let expected = Expected::new(&prepared.baseline, &prepared.highest_rates, streams);
            self.expected.insert(key, (prepared.id.clone(), Arc::new(expected)));
        }
        let watch = &self.memory.early;
        self.expected.retain(|known, _| watch.versions().any(|(version, _)| version == known.as_deref()));
    }

    /// Passes every tick that ends up to here, and steps the incident with what they mean.
    pub(super) fn pass_ticks(
        &mut self,
        plan: &ModelPlan,
        up_to: Timestamp,
        config: &str,
        positions: &[(String, i64)],
        commit: &mut Commit,
    ) {
        let settings = &plan.settings;
        let Some(ticks) = settings.early.ticks(&settings.windows) else { return };
        let parts = settings.budget_parts();
        let limits = Limits {
            ticks_per_alarm: ticks_per_alarm(settings.verdict.budget, ticks.length(), parts),
            rate_floor: settings.verdict.floors.rate,
            rows_min: settings.verdict.rows_min,
            round: quality::shortest(&settings.windows),
            rejected_share_expected: settings.early.rejected_share_expected,
            excess_critical: settings.incident.critical_effect,
            is_open: false,
        };
        let round_share =
            alpha_per_window(settings.verdict.budget, quality::shortest(&settings.windows), parts);
        // Broken data is to be mended and not to be trained on: only windows ask for retraining.
        let without_retraining = incident::Settings { retrain: None, ..settings.incident.clone() };
        let Self { memory, expected, .. } = self;
        let known = |version: Option<&str>, baseline: &str| {
            let (id, expected) = expected.get(&version.map(str::to_owned))?;
            (id == baseline).then(|| Arc::clone(expected))
        };
        loop {
            let limits = Limits { is_open: memory.incident.open().is_some(), ..limits };
            let Some(passed) = memory.early.pass(up_to, &limits, &known) else { return };
            let Some(report) = passed else { continue };
            let diagnosis = diagnosis_of(&report);
            let (verdict, baseline) = verdict_of(&settings.name, report, limits.ticks_per_alarm);
            let baselines = [baseline];
            let evidence = Evidence { baselines: &baselines, config, positions };
            let (length, end) = (ticks.length(), verdict.window_end);
            // An alarm comes between rounds; a round without one has spent its time's share.
            let share = if verdict.alarm { 0.0 } else { round_share };
            let about = About { diagnosis: diagnosis.as_ref(), ..About::DRIFT };
            let closing = Closing { length, end, verdicts: &[verdict], evidence, about };
            let in_incident = memory.incident.open().is_some();
            let outcome = memory.incident.step(&closing, &without_retraining);
            let opened = outcome.transitions.iter().any(|incident| incident.status == Status::Open);
            let entry = Entry { end, length, share, lowest: &[], opened, in_incident };
            memory.ledger.enter(&entry, settings.verdict.budget);
            commit.transitions.extend(outcome.transitions);
            commit.outbox.extend(outcome.notifications);
        }
    }
}

/// The verdict that a report is, and the id of the baseline it rests on.
fn verdict_of(model: &str, report: Report, ticks_per_alarm: f64) -> (Verdict, String) {
    let Report { end, since, state } = report;
    let findings = match &state {
        State::Alarming(findings) => findings.as_slice(),
        State::Quiet | State::Unclear => &[],
    };
    let first = findings.first();
    let is_calibrated = findings.iter().all(|finding| finding.is_calibrated);
    let verdict = Verdict {
        model: model.to_owned(),
        version: one_version(findings),
        segment: None,
        window_start: since,
        window_end: end,
        n: first.map_or(0, |finding| finding.rows),
        alarm: !findings.is_empty(),
        quiet: state == State::Quiet,
        calibrated: is_calibrated,
        calibration_note: (!is_calibrated).then(|| UNCALIBRATED.to_owned()),
        // Evidence is no p-value; a round that did not alarm counts as tested.
        p_value: first.is_none().then_some(1.0),
        alpha: 1.0 / ticks_per_alarm,
        ranked: None,
        features: findings.iter().map(column_verdict).collect(),
    };
    (verdict, first.map(|finding| finding.baseline.clone()).unwrap_or_default())
}

/// What is said of the findings: broken data.
fn diagnosis_of(report: &Report) -> Option<Diagnosis> {
    let State::Alarming(findings) = &report.state else { return None };
    let alarm = |finding: &Finding| Alarm {
        column: finding.name.to_string(),
        test: finding.trouble.name().to_owned(),
        reference_share: Some(finding.expected),
        share: Some(finding.rate()),
    };
    let alarms = findings.iter().map(alarm).collect();
    Some(diagnose(&Findings { alarms, ..Findings::default() }))
}

/// The version of all findings, if it is one.
fn one_version(findings: &[Finding]) -> Option<String> {
    let first = findings.first()?;
    let is_one = findings.iter().all(|finding| finding.version == first.version);
    first.version.clone().filter(|_| is_one)
}

fn column_verdict(finding: &Finding) -> ColumnVerdict {
    ColumnVerdict {
        name: Arc::clone(&finding.name),
        role: finding.role,
        kind: finding.kind,
        alarm: true,
        p_value: None,
        test: Some(finding.trouble.name().to_owned()),
        // As the test of a window has it: the rate, less the one it is compared with.
        statistic: Some(finding.rate() - finding.expected),
        effect: Some(finding.excess()),
        effect_unit: Some(EffectUnit::Rate),
        ratio: None,
        moved: finding.excess(),
        summary: Some(finding.words()),
        reference_n: finding.training_values,
        current_n: if finding.trouble == Trouble::Rejected {
            finding.rows
        } else {
            finding.rows.saturating_sub(finding.bad)
        },
        tests: Vec::new(),
    }
}

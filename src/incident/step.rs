//! The step function: the verdicts of windows that ended together, in; transitions, out.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    Incident, Notification, NotificationKind, PerformanceEvidence, RetrainSettings, Settings, Severity,
    Status,
};
use crate::event::{Span, Timestamp};
use crate::performance::{Diagnosis, DiagnosisKind};
use crate::verdict::{ColumnVerdict, Verdict};

/// Columns kept as evidence in an incident; the window holds all of them.
const FEATURES_MAX: usize = 20;

/// Segments that an incident names.
const SEGMENTS_MAX: usize = 20;

/// One week: the time over which retrain calls are limited.
const WEEK: Span = Span::from_secs(7 * 86_400);

/// What is remembered of a model between windows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Alarming windows in a row, by length, version and segment.
    alarming: Vec<Streak>,
    /// The open incident.
    open: Option<OpenIncident>,
    /// Event time of the retrain calls of the last week, over all incidents.
    retrained: Vec<Timestamp>,
}

/// Alarming windows in a row of one length, version and segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Streak {
    length: Span,
    version: Option<String>,
    segment: Option<String>,
    windows: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct OpenIncident {
    incident: Incident,
    /// Version whose window opened it.
    opened_by: Option<String>,
    /// Quiet windows in a row since the last alarm, for every length that has alarmed.
    quiet: BTreeMap<Span, u32>,
    /// Columns that people have been told of.
    told: BTreeSet<String>,
}

/// The windows of one model and length that end at one time: one verdict for each version and segment.
#[derive(Debug, Clone)]
pub struct Closing<'a> {
    /// Length of the windows.
    pub length: Span,
    /// End of the windows.
    pub end: Timestamp,
    /// Their verdicts.
    pub verdicts: &'a [Verdict],
    /// What the evidence was made from.
    pub evidence: Evidence<'a>,
    /// What else is known of the change.
    pub about: About<'a>,
}

/// What windows are about, and what is known beside their verdicts.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// What kind of trouble they tell: `drift` or `performance`.
    pub kind: &'static str,
    /// How the model does.
    pub performance: Option<&'a PerformanceEvidence>,
    /// What the change is taken to be.
    pub diagnosis: Option<&'a Diagnosis>,
    /// Event time of the retrain calls that incidents of another kind made: they share the limits.
    pub retrained_elsewhere: &'a [Timestamp],
    /// When this is told, in event time, if that is not the windows' end: labels come late. Calls for retraining
    /// are counted by it.
    pub told_at: Option<Timestamp>,
    /// Whether the windows are of a model that predicts no more, which retraining cannot mend.
    pub is_retired: bool,
}

impl About<'_> {
    /// Drift, of which nothing else is known.
    pub const DRIFT: Self = Self {
        kind: "drift",
        performance: None,
        diagnosis: None,
        retrained_elsewhere: &[],
        told_at: None,
        is_retired: false,
    };

    /// Whether retraining could mend what happened: broken data are not to be trained on, and where the
    /// operator asked that it pay, it has to.
    fn lets_retrain(&self, retrain: &RetrainSettings) -> bool {
        let is_fault = self.diagnosis.is_some_and(|diagnosis| diagnosis.kind == DiagnosisKind::DataFault);
        !is_fault && (!retrain.only_if_it_pays || self.pays())
    }

    /// Whether retraining pays. An estimate without labels takes like cases to come out as they did: by it a
    /// mix of dearer cases is dear for any model, and a new one saves nothing unless this one is found worse.
    fn pays(&self) -> bool {
        let Some(money) = self.performance.and_then(|performance| performance.money.as_ref()) else {
            return false;
        };
        let is_worse = self.diagnosis.is_some_and(|diagnosis| diagnosis.kind.calls_for_retraining());
        money.retrain_pays == Some(true) && (money.loss_per_day.is_some() || is_worse)
    }
}

/// What a result was made from.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// Id of the baseline of each verdict, in hex.
    pub baselines: &'a [String],
    /// Id of the configuration, in hex.
    pub config: &'a str,
    /// `topic/partition` and next offset.
    pub positions: &'a [(String, i64)],
}

/// What a step led to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// New states of the incident, in order.
    pub transitions: Vec<Incident>,
    /// Messages they call for, in order.
    pub notifications: Vec<Notification>,
}

impl State {
    /// The open incident, if there is one.
    pub fn open(&self) -> Option<&Incident> {
        self.open.as_ref().map(|open| &open.incident)
    }

    /// Event time of the retrain calls that count towards the limits.
    pub fn retrained(&self) -> &[Timestamp] {
        &self.retrained
    }

    /// Takes the verdicts of windows that ended together.
    pub fn step(&mut self, closing: &Closing<'_>, settings: &Settings) -> Outcome {
        let tested = closing.verdicts.iter().any(|verdict| verdict.p_value.is_some());
        let all_quiet =
            tested && closing.verdicts.iter().all(|verdict| verdict.quiet || verdict.p_value.is_none());
        let streaks = self.count_streaks(closing);
        let alarming =
            |least: u32| loudest(closing.verdicts, |index| streaks.get(index).is_some_and(|n| *n >= least));
        match (&self.open, alarming(1), alarming(settings.open_after.max(1))) {
            (Some(_), Some((index, verdict)), _) => self.update(closing, index, verdict, settings),
            (None, _, Some((index, verdict))) => self.raise(closing, index, verdict, settings),
            (None, Some(_), None) => Outcome::default(),
            (_, None, _) => self.calm(closing, all_quiet, settings),
        }
    }

    /// Forgets window lengths that are no longer configured: nothing would ever resolve what they alarmed.
    /// `early` is the length of the early watch's ticks; it resolves what it alarmed itself and nothing else.
    pub fn keep_lengths(&mut self, lengths: &[Span], early: Option<Span>) {
        let is_known = |length: &Span| lengths.contains(length) || early == Some(*length);
        self.alarming.retain(|streak| is_known(&streak.length));
        if let Some(open) = &mut self.open {
            open.quiet.retain(|length, _| is_known(length));
            if let (true, Some(shortest)) = (open.quiet.is_empty(), lengths.iter().min()) {
                open.quiet.insert(*shortest, 0);
            }
        }
    }

    /// Counts on the alarms in a row of this length, and gives for each verdict how many there are now.
    /// What is not in the closing windows, or was tested without an alarm, begins anew.
    fn count_streaks(&mut self, closing: &Closing<'_>) -> Vec<u32> {
        let (before, others): (Vec<Streak>, Vec<Streak>) = std::mem::take(&mut self.alarming)
            .into_iter()
            .partition(|streak| streak.length == closing.length);
        self.alarming = others;
        let mut counts = Vec::with_capacity(closing.verdicts.len());
        for verdict in closing.verdicts {
            let its =
                |streak: &&Streak| streak.version == verdict.version && streak.segment == verdict.segment;
            let known = before.iter().find(its).map_or(0, |streak| streak.windows);
            let windows = match (verdict.alarm, verdict.p_value) {
                (true, _) => known.saturating_add(1),
                // A window that could not be tested says nothing.
                (false, None) => known,
                (false, Some(_)) => 0,
            };
            if windows > 0 {
                let (version, segment) = (verdict.version.clone(), verdict.segment.clone());
                self.alarming.push(Streak { length: closing.length, version, segment, windows });
            }
            counts.push(windows);
        }
        counts
    }

    fn raise(
        &mut self,
        closing: &Closing<'_>,
        index: usize,
        verdict: &Verdict,
        settings: &Settings,
    ) -> Outcome {
        let features = evidence_columns(verdict);
        let incident = Incident {
            id: short_hash(&[
                closing.about.kind,
                &verdict.model,
                &verdict.window_start.to_string(),
                &closing.length.to_string(),
            ]),
            kind: closing.about.kind.to_owned(),
            model: verdict.model.clone(),
            version: verdict.version.clone(),
            status: Status::Open,
            severity: severity(&features, settings),
            sequence: 1,
            opened_at: closing.end,
            updated_at: closing.end,
            resolved_at: None,
            window_start: verdict.window_start,
            window_end: verdict.window_end,
            segment: verdict.segment.clone(),
            segments: segments(closing),
            n: verdict.n,
            windows_alarming: 1,
            features,
            p_value: verdict.p_value,
            calibrated: verdict.calibrated,
            note: verdict.calibration_note.clone(),
            retrained_at: Vec::new(),
            performance: closing.about.performance.cloned(),
            diagnosis: closing.about.diagnosis.cloned(),
            baseline: closing.evidence.baselines.get(index).cloned().unwrap_or_default(),
            config: closing.evidence.config.to_owned(),
            positions: closing.evidence.positions.to_vec(),
        };
        let told = incident.features.iter().map(|column| column.name.to_string()).collect();
        let opened_by = incident.version.clone();
        let mut open =
            OpenIncident { incident, opened_by, quiet: BTreeMap::from([(closing.length, 0)]), told };
        let retrain = self.may_retrain(&mut open, closing, settings);
        let outcome = transition(&open.incident, NotificationKind::Opened, retrain, settings);
        self.open = Some(open);
        outcome
    }

    fn update(
        &mut self,
        closing: &Closing<'_>,
        index: usize,
        verdict: &Verdict,
        settings: &Settings,
    ) -> Outcome {
        let Some(mut open) = self.open.take() else { return Outcome::default() };
        // Any alarm means that the trouble is not over, at whatever length.
        open.quiet.entry(closing.length).or_insert(0);
        open.quiet.values_mut().for_each(|quiet| *quiet = 0);
        let incident = &mut open.incident;
        incident.windows_alarming = incident.windows_alarming.saturating_add(1);
        incident.window_start = verdict.window_start;
        incident.window_end = verdict.window_end;
        // Windows of different lengths are judged when their labels are complete, so not always in order.
        incident.updated_at = incident.updated_at.max(closing.end);
        incident.segment = verdict.segment.clone();
        incident.segments = segments(closing);
        incident.version = verdict.version.clone();
        incident.n = verdict.n;
        incident.p_value = verdict.p_value;
        incident.features = evidence_columns(verdict);
        incident.performance = closing.about.performance.cloned().or(incident.performance.take());
        incident.diagnosis = closing.about.diagnosis.cloned().or(incident.diagnosis.take());
        incident.baseline = closing.evidence.baselines.get(index).cloned().unwrap_or_default();
        incident.positions = closing.evidence.positions.to_vec();
        let louder = severity(&incident.features, settings).max(incident.severity);
        let names: Vec<String> = incident.features.iter().map(|column| column.name.to_string()).collect();
        let news = louder > incident.severity || names.iter().any(|name| !open.told.contains(name));
        incident.severity = louder;
        open.told.extend(names);
        let retrain = self.may_retrain(&mut open, closing, settings);
        let mut outcome = Outcome::default();
        if news || retrain.is_some() {
            open.incident.sequence = open.incident.sequence.saturating_add(1);
            open.incident.status = Status::Updated;
            outcome = if news {
                transition(&open.incident, NotificationKind::Updated, retrain, settings)
            } else {
                retrain_only(&open.incident, retrain)
            };
        }
        self.open = Some(open);
        outcome
    }

    fn calm(&mut self, closing: &Closing<'_>, quiet: bool, settings: &Settings) -> Outcome {
        let Some(open) = &mut self.open else { return Outcome::default() };
        let Some(streak) = open.quiet.get_mut(&closing.length) else { return Outcome::default() };
        // A window that is neither quiet nor alarming leaves the streak as it is only if nothing could be
        // tested; a tested one that is not quiet breaks it.
        let tested = closing.verdicts.iter().any(|verdict| verdict.p_value.is_some());
        match (quiet, tested) {
            (true, _) => *streak = streak.saturating_add(1),
            (false, true) => *streak = 0,
            (false, false) => {}
        }
        if !open.quiet.values().all(|streak| *streak >= settings.resolve_after) {
            return Outcome::default();
        }
        let Some(mut open) = self.open.take() else { return Outcome::default() };
        let version = closing.verdicts.iter().rev().find_map(|verdict| verdict.version.clone());
        let incident = &mut open.incident;
        incident.status = Status::Resolved;
        incident.sequence = incident.sequence.saturating_add(1);
        incident.updated_at = incident.updated_at.max(closing.end);
        incident.resolved_at = Some(incident.updated_at);
        incident.positions = closing.evidence.positions.to_vec();
        incident.performance = closing.about.performance.cloned().or(incident.performance.take());
        incident.note = Some(resolution(&open.opened_by, version.as_ref(), incident, settings));
        if version.is_some() {
            incident.version = version;
        }
        transition(&open.incident, NotificationKind::Resolved, None, settings)
    }

    /// Decides whether retraining is asked for now, and remembers it.
    fn may_retrain<'a>(
        &mut self,
        open: &mut OpenIncident,
        closing: &Closing<'_>,
        settings: &'a Settings,
    ) -> Option<&'a RetrainSettings> {
        let retrain = settings
            .retrain
            .as_ref()
            .filter(|retrain| closing.about.lets_retrain(retrain) && !closing.about.is_retired)?;
        let now = closing.about.told_at.unwrap_or(closing.end);
        self.retrained.retain(|at| now - *at < WEEK.max(retrain.cooldown));
        let calls = || self.retrained.iter().chain(closing.about.retrained_elsewhere);
        let in_week = calls().filter(|at| now - **at < WEEK).count();
        let cooling = calls().any(|at| now - *at < retrain.cooldown);
        let enough = open.incident.windows_alarming >= retrain.after_windows;
        if !enough || cooling || in_week >= usize::try_from(retrain.per_week_max).unwrap_or(usize::MAX) {
            return None;
        }
        self.retrained.push(now);
        open.incident.retrained_at.push(now);
        Some(retrain)
    }
}

/// The alarming verdict that people should read: all rows before a segment, then what moved most.
fn loudest(verdicts: &[Verdict], counts: impl Fn(usize) -> bool) -> Option<(usize, &Verdict)> {
    let alarming = verdicts.iter().enumerate().filter(|(index, verdict)| verdict.alarm && counts(*index));
    alarming.max_by(|(i, a), (j, b)| {
        let moved = |verdict: &Verdict| verdict.features.first().map_or(0.0, |column| column.moved);
        b.segment.is_some().cmp(&a.segment.is_some()).then(moved(a).total_cmp(&moved(b))).then(j.cmp(i))
    })
}

fn evidence_columns(verdict: &Verdict) -> Vec<ColumnVerdict> {
    verdict.features.iter().filter(|column| column.alarm).take(FEATURES_MAX).cloned().collect()
}

/// The segments whose verdicts alarm, each once.
fn segments(closing: &Closing<'_>) -> Vec<String> {
    let alarming = closing.verdicts.iter().filter(|verdict| verdict.alarm);
    let mut names: Vec<String> = alarming.filter_map(|verdict| verdict.segment.clone()).collect();
    names.sort_unstable();
    names.dedup();
    names.truncate(SEGMENTS_MAX);
    names
}

fn severity(features: &[ColumnVerdict], settings: &Settings) -> Severity {
    let moved = features.iter().map(|column| column.moved).fold(0.0, f64::max);
    if moved >= settings.critical_effect { Severity::Critical } else { Severity::Warning }
}

fn resolution(
    before: &Option<String>,
    now: Option<&String>,
    incident: &Incident,
    settings: &Settings,
) -> String {
    let quiet = format!("{} quiet windows in a row", settings.resolve_after);
    match (now, incident.retrained_at.is_empty()) {
        (Some(version), false) if before.as_ref() != Some(version) => {
            format!("{quiet} on version {version}: the retraining helped")
        }
        (Some(version), true) if before.as_ref() != Some(version) => format!("{quiet} on version {version}"),
        (_, false) => format!("{quiet} without a new version: the data came back by itself"),
        (_, true) => quiet,
    }
}

fn transition(
    incident: &Incident,
    kind: NotificationKind,
    retrain: Option<&RetrainSettings>,
    settings: &Settings,
) -> Outcome {
    let mut outcome = retrain_only(incident, retrain);
    let people = settings.channels.iter().map(|channel| notification(incident, kind, channel));
    outcome.notifications = people.chain(outcome.notifications).collect();
    outcome
}

fn retrain_only(incident: &Incident, retrain: Option<&RetrainSettings>) -> Outcome {
    Outcome {
        transitions: vec![incident.clone()],
        notifications: retrain
            .map(|retrain| notification(incident, NotificationKind::Retrain, &retrain.channel))
            .into_iter()
            .collect(),
    }
}

fn notification(incident: &Incident, kind: NotificationKind, channel: &str) -> Notification {
    let id = short_hash(&[&incident.id, &incident.sequence.to_string(), &format!("{kind:?}"), channel]);
    Notification { id: format!("ntf_{id}"), kind, channel: channel.to_owned(), incident: incident.clone() }
}

/// The first 128 bits of SHA-256 over the parts, each ended by a zero byte, in hex.
fn short_hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    hasher.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

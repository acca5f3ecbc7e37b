//! Outcomes in the flow: predictions wait for their labels, and what became of them counts in panes of the
//! predictions' time; when time passes, windows of those panes are measured, revised and judged.
//!
//! The files: here is what comes in (predictions, labels) and how it is kept; `measure.rs` makes a
//! [`Reading`](crate::performance::Reading) of a window; `judge.rs` says what it means; `follow.rs` decides
//! when a window is looked at again.
//!
//! Invariant: a prediction counts once in the pane of its time, and its truth once beside it, the latest if it
//! was corrected. Panes, waiting predictions and positions become durable together.

mod follow;
mod judge;
mod measure;
mod money;
mod reference;
mod shift;

pub(super) use follow::Around;
pub use reference::{PerformanceReference, ReferenceRows};
pub(super) use shift::{Expected, expect};

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::follow::{Compared, Followed, LossOfWindow};
use self::measure::Estimates;
use super::cases::{Case, LabelCase};
use super::plan::{ModelSettings, Prepared};
use super::{Cell, Commit, PaneWrite};
use crate::event::{Span, Timestamp};
use crate::incident;
use crate::performance::Settings;
use crate::performance::delay::DelayBuckets;
use crate::performance::join::{self, Expired, JoinError, Joined, Joiner, Key, Prediction, Waiting};
use crate::quality::Ticks;
use crate::quality::mistakes::{self, Judged, Known};
use crate::summary::outcome::{OutcomeSummary, Predicted, Truth};
use crate::window::{self, Cut};

/// Pairs of version and segment that waiting predictions may belong to. Where versions share a baseline their
/// number is up to the events; predictions of further pairs wait for no label.
const CELLS_MAX: usize = 10_000;

/// What is remembered over a restart, beside panes and waiting predictions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Remembered {
    /// Length of the panes; a changed configuration may change it.
    pane: Span,
    /// The longest delay, which the buckets of delays go by.
    #[serde(default)]
    delay_max: Span,
    /// What the codes of waiting predictions stand for.
    /// Those whose panes are gone stand for nothing any more.
    cells: Vec<Option<Cell>>,
    /// Codes whose predictions are too old for any label, which may stand for something else now.
    #[serde(default)]
    free: Vec<u32>,
    /// Windows that end up to here have been measured once.
    closed_up_to: Option<Timestamp>,
    /// The last tick at which windows were looked at.
    ticked: Option<Timestamp>,
    /// Start of the earliest pane ever counted.
    first_pane: Option<Timestamp>,
    /// Panes before this one are gone: no label reaches them any more.
    dropped_before: Option<Timestamp>,
    /// Windows that labels can still change.
    followed: Vec<Followed>,
    /// Versions and segments of panes whose counts changed since windows were looked at last.
    changed: BTreeSet<(Timestamp, Cell)>,
    /// The incident about performance.
    pub(super) incident: incident::State,
    /// Start of the window that opened it.
    changed_since: Option<Timestamp>,
    /// Losses of the last windows of the shortest length, oldest first.
    losses: Vec<LossOfWindow>,
    /// How good estimates were, by version.
    compared: Vec<Compared>,
    /// The watch over mistakes as labels come in.
    #[serde(default)]
    mistakes: mistakes::Watch,
}

/// What is kept of one model.
#[derive(Debug)]
pub(super) struct Outcomes {
    joiner: Joiner,
    cut: Cut,
    buckets: DelayBuckets,
    settings: Arc<Settings>,
    /// How the watch over mistakes looks at time; `None` where it does not watch.
    ticks: Option<Ticks>,
    versions_max: usize,
    panes: BTreeMap<Timestamp, BTreeMap<Cell, Pane>>,
    codes: BTreeMap<Cell, u32>,
    pub(super) memory: Remembered,
    dropped: Vec<(Timestamp, Cell)>,
    counted: BTreeMap<&'static str, u64>,
    /// Whether panes are cut otherwise than they were before this start.
    is_recut: bool,
    /// The tick of mistakes up to which all have passed since the start.
    passed: Option<Timestamp>,
    /// What was estimated of windows that are followed, by end, length, version and segment: made anew after
    /// a restart.
    estimates: BTreeMap<(Timestamp, Span, Cell), Estimates>,
}

/// The counts of a pane.
#[derive(Debug)]
struct Pane {
    prepared: Arc<Prepared>,
    counts: Counts,
    dirty: bool,
}

/// A pane that labels reach now is held ready; the others are held encoded, in a fraction of the memory.
#[derive(Debug)]
enum Counts {
    Ready(Box<OutcomeSummary>),
    Encoded(Vec<u8>),
}

/// How long and how much waits.
pub(super) fn join_settings(settings: &Settings, windows: &window::Settings) -> join::Settings {
    join::Settings {
        delay_max: settings.label_delay_max,
        lateness: windows.allowed_lateness,
        waiting_max: settings.waiting_max,
        bytes_max: settings.waiting_bytes_max,
    }
}

/// How outcomes are cut into windows.
pub(super) fn cut_of(settings: &Settings, windows: &window::Settings) -> Cut {
    Cut::new(&window::Settings { windows: settings.windows.clone(), ..windows.clone() })
}

impl Outcomes {
    /// Starts with a joiner and what was remembered; a change of the panes' length begins anew.
    pub(super) fn new(
        settings: &Settings,
        model: &ModelSettings,
        joiner: Joiner,
        mut memory: Remembered,
        notes: &mut Vec<String>,
    ) -> Self {
        let windows = &model.windows;
        let cut = cut_of(settings, windows);
        let ticks =
            model.early.ticks(&window::Settings { windows: settings.windows.clone(), ..windows.clone() });
        let is_recut = memory.pane != cut.pane() && memory.pane != Span::ZERO;
        if memory.pane != cut.pane() {
            if is_recut {
                notes.push(format!(
                    "windows of performance are cut otherwise now (panes of {} instead of {}): what was open \
                     starts anew, and labels of earlier predictions count nowhere",
                    cut.pane(),
                    memory.pane
                ));
            }
            memory = Remembered {
                pane: cut.pane(),
                // Their panes are gone: labels of predictions so far count nowhere.
                cells: vec![None; memory.cells.len()],
                incident: memory.incident,
                ..Remembered::default()
            };
        }
        let lengths: Vec<Span> = settings.windows.iter().map(|window| window.length).collect();
        memory.incident.keep_lengths(&lengths, ticks.map(|ticks| ticks.length()));
        memory.mistakes.retune(ticks);
        let codes = (0..).zip(&memory.cells).filter_map(|(code, cell)| Some((cell.clone()?, code))).collect();
        Self {
            joiner,
            cut,
            buckets: DelayBuckets::new(settings.label_delay_max),
            settings: Arc::new(settings.clone()),
            ticks,
            versions_max: model.versions_max,
            panes: BTreeMap::new(),
            codes,
            memory,
            dropped: Vec::new(),
            counted: BTreeMap::new(),
            estimates: BTreeMap::new(),
            is_recut,
            passed: None,
        }
    }

    /// The panes of a version and segment are gone for good: labels of its predictions so far count nowhere,
    /// and those from now on wait under another code.
    pub(super) fn forget_cell(&mut self, cell: &Cell) {
        if let Some(code) = self.codes.remove(cell)
            && let Some(known) = usize::try_from(code).ok().and_then(|code| self.memory.cells.get_mut(code))
        {
            *known = None;
        }
    }

    /// Takes a stored pane back; false if it belongs to windows that are cut otherwise now.
    pub(super) fn restore_pane(
        &mut self,
        start: Timestamp,
        cell: Cell,
        prepared: Arc<Prepared>,
        summary: Vec<u8>,
    ) -> bool {
        if self.is_recut || self.cut.pane_of(start) != start {
            return false;
        }
        let mut pane = Pane { prepared, counts: Counts::Encoded(summary), dirty: false };
        if self.memory.delay_max != self.settings.label_delay_max {
            // Its buckets were others.
            pane.change(|_, summary| {
                summary.delays.clear();
                true
            });
        }
        self.panes.entry(start).or_default().insert(cell, pane);
        true
    }

    /// Takes the cases of a group that was counted.
    ///
    /// # Errors
    /// [`JoinError`] when waiting predictions can no longer be trusted.
    pub(super) fn take_cases(
        &mut self,
        cell: &Cell,
        prepared: &Arc<Prepared>,
        cases: Vec<Case>,
    ) -> Result<(), JoinError> {
        for case in cases {
            self.take_case(cell, prepared, case)?;
        }
        Ok(())
    }

    fn take_case(&mut self, cell: &Cell, prepared: &Arc<Prepared>, case: Case) -> Result<(), JoinError> {
        let Case { time, key, predicted, truth } = case;
        let Some(predicted) = predicted else {
            self.note("unusable_prediction", 1);
            return match (key, truth) {
                (Some(key), Some(truth)) => self.join_label(key, truth, time),
                _ => Ok(()),
            };
        };
        let its_pane = self.panes.get(&self.cut.pane_of(time)).and_then(|cells| cells.get(cell));
        if its_pane.is_some_and(|pane| pane.prepared.id != prepared.id) {
            // Its label must not count where it does not.
            self.note("other_baseline", 1);
            return Ok(());
        }
        let code = key.and_then(|_| self.code_of(cell));
        let (Some(key), Some(code)) = (key, code) else {
            self.note(if key.is_some() { "over_limit" } else { "prediction_without_id" }, 1);
            self.count_prediction(time, cell, prepared, &predicted);
            if let Some(truth) = truth {
                self.note("matched", 1);
                self.count_truth(time, cell, &predicted, truth, Span::ZERO);
            }
            return Ok(());
        };
        let prediction = Prediction { time, cell: code, predicted: predicted.clone() };
        match self.joiner.predict(key, prediction)? {
            Joined::Duplicate => self.note("duplicate_prediction", 1),
            Joined::OverLimit => {
                self.note("over_limit", 1);
                self.count_prediction(time, cell, prepared, &predicted);
            }
            Joined::Matched { truth, delay, settled, .. } => {
                self.note_settled(settled.superseded, settled.too_far);
                self.count_prediction(time, cell, prepared, &predicted);
                self.note("matched", 1);
                self.count_truth(time, cell, &predicted, truth, delay);
            }
            Joined::Waiting(settled) => {
                self.note_settled(settled.superseded, settled.too_far);
                self.note("prediction", 1);
                self.count_prediction(time, cell, prepared, &predicted);
            }
            // What only labels can do.
            Joined::Corrected { .. } | Joined::Superseded | Joined::TooFar => {}
        }
        match truth {
            Some(truth) => self.join_label(key, truth, time),
            None => Ok(()),
        }
    }

    /// Takes a label that came on a stream of its own.
    ///
    /// # Errors
    /// [`JoinError`] when waiting predictions can no longer be trusted.
    pub(super) fn take_label(&mut self, label: &LabelCase) -> Result<(), JoinError> {
        self.join_label(label.key, label.truth, label.time)
    }

    fn join_label(&mut self, key: Key, truth: Truth, time: Timestamp) -> Result<(), JoinError> {
        let outcome = match self.joiner.label(key, truth, time)? {
            Joined::Waiting(_) => "label_before_prediction",
            Joined::Matched { prediction, truth, delay, .. } => {
                self.count_joined(&prediction, truth, delay);
                "matched"
            }
            Joined::Corrected { prediction, before, before_delay, truth, delay } => {
                self.correct(&prediction, (before, before_delay), (truth, delay));
                "corrected"
            }
            Joined::Duplicate => "duplicate_label",
            Joined::Superseded => "superseded_label",
            Joined::TooFar => "label_too_late",
            Joined::OverLimit => "over_limit",
        };
        self.note(outcome, 1);
        Ok(())
    }

    fn note(&mut self, outcome: &'static str, times: u64) {
        if times > 0 {
            *self.counted.entry(outcome).or_default() += times;
        }
    }

    fn note_settled(&mut self, superseded: u32, too_far: u32) {
        self.note("superseded_label", superseded.into());
        self.note("label_too_late", too_far.into());
    }

    /// The code of a version and segment; `None` when there are too many.
    fn code_of(&mut self, cell: &Cell) -> Option<u32> {
        if let Some(code) = self.codes.get(cell) {
            return Some(*code);
        }
        if self.codes.len() >= CELLS_MAX {
            return None;
        }
        let code = match self.memory.free.pop() {
            Some(code) => code,
            None => {
                self.memory.cells.push(None);
                u32::try_from(self.memory.cells.len() - 1).ok()?
            }
        };
        *usize::try_from(code).ok().and_then(|code| self.memory.cells.get_mut(code))? = Some(cell.clone());
        self.codes.insert(cell.clone(), code);
        Some(code)
    }

    fn count_prediction(
        &mut self,
        time: Timestamp,
        cell: &Cell,
        prepared: &Arc<Prepared>,
        predicted: &Predicted,
    ) {
        let start = self.cut.pane_of(time);
        if self.memory.dropped_before.is_some_and(|before| start < before) {
            return self.note("prediction_too_late", 1);
        }
        let Some(outcomes) = &prepared.baseline.outcomes else { return };
        let first = self.memory.first_pane.map_or(start, |first| first.min(start));
        self.memory.first_pane = Some(first);
        let pane = self.panes.entry(start).or_default().entry(cell.clone()).or_insert_with(|| Pane {
            prepared: Arc::clone(prepared),
            counts: Counts::Ready(Box::new(outcomes.shape.empty())),
            dirty: true,
        });
        let counted = pane.prepared.id == prepared.id
            && pane.change(|prepared, summary| prepared.predict(summary, predicted).is_ok());
        if counted {
            // Old panes get predictions only from partitions that are behind.
            if self.memory.closed_up_to.is_some_and(|closed| start < closed) {
                self.memory.changed.insert((start, cell.clone()));
            }
        } else {
            self.note("other_baseline", 1);
        }
    }

    fn count_joined(&mut self, prediction: &Prediction, truth: Truth, delay: Span) {
        let cell = usize::try_from(prediction.cell)
            .ok()
            .and_then(|code| self.memory.cells.get(code))
            .cloned()
            .flatten();
        match cell {
            Some(cell) => self.count_truth(prediction.time, &cell, &prediction.predicted, truth, delay),
            None => self.note("other_baseline", 1),
        }
    }

    fn count_truth(
        &mut self,
        time: Timestamp,
        cell: &Cell,
        predicted: &Predicted,
        truth: Truth,
        delay: Span,
    ) {
        let bucket = self.bucket(delay);
        if let Some((prepared, judged)) = self.judge_case(time, cell, predicted, truth)
            && let Some(ticks) = &self.ticks
        {
            let known = Known {
                version: cell.version.as_deref(),
                baseline: &prepared.id,
                time: Known::at(time, delay),
                judged,
            };
            self.memory.mistakes.add(ticks, known, self.versions_max);
        }
        self.change(time, cell, |shape, summary| shape.add(summary, predicted, truth, bucket).is_ok());
    }

    fn correct(&mut self, prediction: &Prediction, before: (Truth, Span), now: (Truth, Span)) {
        let cell = usize::try_from(prediction.cell)
            .ok()
            .and_then(|code| self.memory.cells.get(code))
            .cloned()
            .flatten();
        let Some(cell) = cell else { return self.note("other_baseline", 1) };
        let (old, new) = (self.bucket(before.1), self.bucket(now.1));
        let predicted = &prediction.predicted;
        let was = self.judge_case(prediction.time, &cell, predicted, before.0);
        let is = self.judge_case(prediction.time, &cell, predicted, now.0);
        if let (Some((prepared, was)), Some((_, is)), Some(ticks)) = (was, is, &self.ticks) {
            let known = |judged, delay: Span| Known {
                version: cell.version.as_deref(),
                baseline: &prepared.id,
                time: Known::at(prediction.time, delay),
                judged,
            };
            let (was, is) = (known(was, before.1), known(is, now.1));
            self.memory.mistakes.correct(ticks, was, is, self.versions_max);
        }
        self.change(prediction.time, &cell, |shape, summary| {
            shape.check(predicted, Some(now.0)).is_ok()
                && shape.take_away(summary, predicted, before.0, old).is_ok()
                && shape.add(summary, predicted, now.0, new).is_ok()
        });
    }

    /// Whether a case was a mistake, by the baseline it was counted on.
    fn judge_case(
        &self,
        time: Timestamp,
        cell: &Cell,
        predicted: &Predicted,
        truth: Truth,
    ) -> Option<(Arc<Prepared>, Judged)> {
        let prepared = &self.panes.get(&self.cut.pane_of(time))?.get(cell)?.prepared;
        let reference = prepared.performance.as_ref()?;
        let judged = reference.mistakes.as_ref()?.judge(&reference.shape, predicted, truth)?;
        Some((Arc::clone(prepared), judged))
    }

    fn bucket(&self, delay: Span) -> u8 {
        u8::try_from(self.buckets.bucket(delay)).unwrap_or(u8::MAX)
    }

    /// Changes the counts of a pane that a label belongs to.
    fn change(
        &mut self,
        time: Timestamp,
        cell: &Cell,
        change: impl FnOnce(&crate::summary::outcome::OutcomeShape, &mut OutcomeSummary) -> bool,
    ) {
        let start = self.cut.pane_of(time);
        let pane = self.panes.get_mut(&start).and_then(|cells| cells.get_mut(cell));
        match pane.map(|pane| pane.change(change)) {
            Some(true) => {
                self.memory.changed.insert((start, cell.clone()));
            }
            Some(false) => self.note("unusable_label", 1),
            // Its pane was dropped, or counted on a baseline that is gone.
            None => self.note("other_baseline", 1),
        }
    }

    /// Lets go of what no label can reach any more, and says what left. Panes stay until the tick at which
    /// their windows are looked at for the last time, even if the watermark has jumped far beyond it.
    fn drop_old(&mut self, watermark: Timestamp, up_to: Timestamp) -> Result<(), JoinError> {
        let Expired { predictions, labels, .. } = self.joiner.expire(watermark)?;
        self.note("prediction_without_label", predictions);
        self.note("label_without_prediction", labels);
        let last = up_to - self.settings.label_delay_max;
        let mut gone = false;
        while let Some(entry) = self.panes.first_entry() {
            if !self.cut.is_done(*entry.key(), last) {
                break;
            }
            gone = true;
            let start = *entry.key();
            self.dropped.extend(entry.remove().into_keys().map(|cell| (start, cell)));
            self.memory.changed.retain(|(changed, _)| *changed != start);
            self.memory.dropped_before = self.memory.dropped_before.max(Some(start + self.cut.pane()));
        }
        if gone {
            self.free_codes();
        }
        Ok(())
    }

    /// Gives back the codes of versions and segments that have no pane any more: every prediction under them is
    /// older than any pane, so a label that still meets one finds nothing to count in.
    fn free_codes(&mut self) {
        let held: BTreeSet<&Cell> = self.panes.values().flat_map(BTreeMap::keys).collect();
        let unused: Vec<Cell> = self.codes.keys().filter(|cell| !held.contains(cell)).cloned().collect();
        for cell in unused {
            let Some(code) = self.codes.remove(&cell) else { continue };
            if let Some(known) = usize::try_from(code).ok().and_then(|code| self.memory.cells.get_mut(code)) {
                *known = None;
                self.memory.free.push(code);
            }
        }
    }

    /// Writes what changed since the last commit.
    pub(super) fn write(&mut self, model: &str, commit: &mut Commit) {
        // By now every stored pane was taken back.
        self.memory.delay_max = self.settings.label_delay_max;
        for (start, cell) in std::mem::take(&mut self.dropped) {
            commit.outcome_panes_dropped.push(cell.key(model, start));
        }
        let newest = self.panes.keys().next_back().copied();
        for (&start, cells) in &mut self.panes {
            for (cell, pane) in cells.iter_mut().filter(|(_, pane)| pane.dirty) {
                pane.dirty = false;
                let summary = pane.counts.encode();
                commit.outcome_panes.push(PaneWrite {
                    key: cell.key(model, start),
                    baseline: pane.prepared.id.clone(),
                    summary: summary.clone(),
                });
                if newest != Some(start) {
                    pane.counts = Counts::Encoded(summary);
                }
            }
        }
        let counted = std::mem::take(&mut self.counted);
        commit.joined.extend(counted.into_iter().map(|(outcome, times)| (model.to_owned(), outcome, times)));
        let writes = self.joiner.take_writes();
        if !writes.is_empty() {
            commit.journals.push((model.to_owned(), writes));
        }
    }

    /// What waits.
    pub(super) fn waiting(&self) -> Waiting {
        self.joiner.waiting()
    }
}

impl Pane {
    /// Changes the counts; false, and nothing is changed, when what is counted does not fit.
    fn change(
        &mut self,
        change: impl FnOnce(&crate::summary::outcome::OutcomeShape, &mut OutcomeSummary) -> bool,
    ) -> bool {
        let Some(outcomes) = &self.prepared.baseline.outcomes else { return false };
        if let Counts::Encoded(bytes) = &self.counts {
            let Ok(summary) = OutcomeSummary::decode(bytes) else { return false };
            self.counts = Counts::Ready(Box::new(summary));
        }
        let Counts::Ready(summary) = &mut self.counts else { return false };
        let changed = change(&outcomes.shape, summary);
        self.dirty |= changed;
        changed
    }

    /// The counts. `None` only if bytes that were checked when they were read do not decode.
    fn summary(&self) -> Option<Cow<'_, OutcomeSummary>> {
        match &self.counts {
            Counts::Ready(summary) => Some(Cow::Borrowed(summary)),
            Counts::Encoded(bytes) => OutcomeSummary::decode(bytes).ok().map(Cow::Owned),
        }
    }
}

impl Counts {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ready(summary) => summary.encode(),
            Self::Encoded(bytes) => bytes.clone(),
        }
    }
}

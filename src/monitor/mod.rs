//! The state machine that ties the core together: partial summaries in, commits out.
//!
//! Place in the flow: the one owner of windows, verdicts and incidents. Workers hand it [`Partial`]s;
//! it adds them up, closes windows when the watermark passes them, and says in a [`Commit`] what must
//! become durable. Pure: time is an argument, and restoring from what it said is the only way it starts.
//!
//! Invariant: the state after `restore(what was committed)` and the records from the committed positions
//! on is the state of an undisturbed run. One thing depends on when commits fall: at which tick a window of
//! performance is found complete, for it is measured with all the labels that were read by then. Which labels
//! count for which prediction, and so what a window comes to in the end, does not.
//!
//! The files: `plan.rs` is what is known from outside, `partial.rs` what workers do, `close.rs` what happens
//! when a window is complete, `early.rs` what happens before, `learn.rs` what is learned from it, `view.rs`
//! what people ask of it; `cases.rs` is what workers take out of events for performance, `outcomes/` what is made
//! of it, `sudden.rs` the watch over mistakes. `commit.rs` is the plain data between here and the store.

mod cases;
mod close;
mod commit;
mod early;
mod learn;
mod outcomes;
mod partial;
mod plan;
mod sudden;
mod view;

pub use cases::{Case, LabelCase};
pub use commit::{
    ClosedWindow, Commit, DeadLetter, LearnedWindow, PaneKey, PaneWrite, PerformanceWindow, Position,
    Restored, WindowKey,
};
pub use early::ticks_per_alarm;
pub use learn::shortage;
pub use outcomes::{PerformanceReference, ReferenceRows};
pub use partial::{Group, NeedsBaseline, Partial, Postponed, Summariser};
pub use plan::{Lookup, ModelPlan, ModelSettings, Plan, Prepared, StreamPlan};
pub use view::{BudgetView, JoinView, LengthView};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::outcomes::{Around, Outcomes};
pub use crate::event::OTHER_SEGMENT;
use crate::event::{Origin, RawBatch, RejectReason, Rejected, Span, Timestamp};
use crate::incident::{self, Incident};
use crate::performance::join::{JoinError, Joiner, ReadJournal, StoredJournal};
use crate::quality::{self, Arrived};
use crate::summary::outcome::OutcomeSummary;
use crate::summary::{ModelSummary, ShapeMismatch};
use crate::verdict::{Ledger, OnlineFdr};
use crate::window::{PartitionClock, model_watermark};

/// Dead letters kept of one commit; further ones are only counted. A flood of bad records must not fill
/// memory before it reaches the store.
const DEAD_LETTERS_PER_COMMIT: usize = 1_000;

/// Bytes of a record that a dead letter keeps.
const DEAD_LETTER_BYTES: usize = 1_024;

/// Version of the stored state.
const STATE_FORMAT: u32 = 1;

/// The owner of all counts.
pub struct Monitor {
    plan: Arc<Plan>,
    positions: BTreeMap<Origin, i64>,
    clocks: BTreeMap<Origin, PartitionClock>,
    /// Partitions that are ours now; the others hold watermarks back until they have been away for long.
    assigned: BTreeSet<Origin>,
    models: Vec<Model>,
    pending: Commit,
    counted: BTreeMap<(Arc<str>, usize, &'static str), u64>,
    dirty_positions: BTreeSet<Origin>,
    dirty_state: bool,
}

/// What the owner keeps of one model.
#[derive(Debug, Default)]
struct Model {
    panes: BTreeMap<Timestamp, BTreeMap<Cell, Pane>>,
    /// By version, where it is learned what is usual.
    learned: BTreeMap<Option<String>, learn::Learned>,
    memory: Memory,
    /// Predictions and what came true of them, where performance is measured.
    outcomes: Option<Outcomes>,
    /// What the early watch expects of each version; follows from its baseline.
    expected: early::Expectations,
}

/// A model's version and segment.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Cell {
    version: Option<String>,
    segment: Option<String>,
}

/// The counts of a pane.
#[derive(Debug)]
struct Pane {
    prepared: Arc<Prepared>,
    counts: Counts,
    dirty: bool,
}

/// A pane that is being written is held ready; one that waits for its longer windows is held encoded,
/// which takes a fraction of the memory.
#[derive(Debug)]
enum Counts {
    Ready(Box<ModelSummary>),
    Encoded(Vec<u8>),
}

/// What is remembered of a model beside its panes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Memory {
    /// Length of the panes; a changed configuration may change it.
    pane: Span,
    watermark: Option<Timestamp>,
    /// Windows that end up to here have closed.
    closed_up_to: Option<Timestamp>,
    /// Start of the earliest pane ever counted: before it, sliding windows are not filled yet.
    first_pane: Option<Timestamp>,
    segments: BTreeSet<String>,
    incident: incident::State,
    #[serde(default)]
    ledger: Ledger,
    /// The state of the online procedure, if one takes the budget's place.
    #[serde(default)]
    online_fdr: Option<OnlineFdr>,
    /// The ticks that are not complete, and the detectors' states.
    #[serde(default)]
    early: quality::Watch,
    /// What is remembered of predictions and labels, but for those that wait.
    #[serde(default)]
    outcomes: outcomes::Remembered,
}

#[derive(Serialize, Deserialize)]
struct StoredState {
    format: u32,
    clocks: Vec<(Origin, PartitionClock)>,
    models: BTreeMap<String, Memory>,
}

/// Why a stored state cannot be gone on from.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The state document does not parse.
    #[error("stored state cannot be read")]
    State(#[source] serde_json::Error),
    /// It was written by a newer version.
    #[error("stored state has format {0}, newer than this version knows ({STATE_FORMAT})")]
    Format(u32),
    /// A pane's bytes are damaged.
    #[error("stored pane of model `{model}` at {start} cannot be read")]
    Pane {
        /// The model.
        model: String,
        /// Start of the pane.
        start: Timestamp,
        /// What is wrong.
        #[source]
        source: crate::summary::CodecError,
    },
    /// The predictions that wait for labels.
    #[error(transparent)]
    Waiting(#[from] JoinError),
}

/// Why a partial was not added, or not wholly. The monitor must be restored.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Its records are counted already, at least in part; nothing was added.
    #[error(transparent)]
    Overlap(#[from] Overlap),
    /// The predictions that wait for labels can no longer be trusted.
    #[error(transparent)]
    Waiting(#[from] JoinError),
}

/// Reads the journals that earlier commits made durable, by model; without one, journals stay in memory.
pub type Journals<'a> = &'a dyn Fn(&str) -> Option<Arc<dyn ReadJournal>>;

/// Records were handed over that are counted in part already: the source broke its promise.
#[derive(Debug, thiserror::Error)]
#[error(
    "{topic}/{partition}: records from offset {first} on were handed over, but counting stands at {next}"
)]
pub struct Overlap {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// First offset handed over.
    pub first: i64,
    /// Offset that was expected.
    pub next: i64,
}

impl Monitor {
    /// Starts from what earlier commits made durable, with notes on what had to be left behind.
    ///
    /// # Errors
    /// [`RestoreError`] when the state is damaged or newer.
    pub fn restore(
        plan: Arc<Plan>,
        restored: Restored,
        journals: Journals<'_>,
    ) -> Result<(Self, Vec<String>), RestoreError> {
        let mut notes = Vec::new();
        let mut state = match restored.state {
            Some(bytes) => serde_json::from_slice(&bytes).map_err(RestoreError::State)?,
            None => StoredState { format: STATE_FORMAT, clocks: Vec::new(), models: BTreeMap::new() },
        };
        if state.format > STATE_FORMAT {
            return Err(RestoreError::Format(state.format));
        }
        let mut models: Vec<Model> = plan
            .models()
            .iter()
            .map(|model| Model {
                panes: BTreeMap::new(),
                learned: BTreeMap::new(),
                memory: recall(&mut state.models, model, &mut notes),
                outcomes: None,
                expected: early::Expectations::default(),
            })
            .collect();
        for name in state.models.keys() {
            notes.push(format!("model `{name}` is no longer configured: its open windows are dropped"));
        }
        for learned in restored.learned {
            let model = plan.model(&learned.model).and_then(|index| models.get_mut(index));
            if let Some(model) = model {
                model.learned.entry(learned.version.clone()).or_default().recall(learned);
            }
        }
        let (mut dropped, mut outcomes_dropped) = (Vec::new(), Vec::new());
        for write in restored.panes {
            match restore_pane(&plan, &models, &write)? {
                Ok((index, cell, pane)) => {
                    if let Some(model) = models.get_mut(index) {
                        model.panes.entry(write.key.start).or_default().insert(cell, pane);
                    }
                }
                Err(Left::ForNow(why)) => notes.push(format!(
                    "pane of `{}` at {} waits in the store: {why}",
                    write.key.model, write.key.start
                )),
                Err(Left::ForGood(why)) => {
                    let events =
                        ModelSummary::decode(&write.summary).map_or(0, |summary| summary.rows.events);
                    notes.push(format!(
                        "pane of `{}` at {} with {events} events is dropped: {why}",
                        write.key.model, write.key.start
                    ));
                    dropped.push(write.key);
                }
            }
        }
        for (settings, model) in plan.models().iter().zip(&mut models) {
            let name = settings.settings.name.as_str();
            let stored = restored.journals.iter().find(|(model, _)| model == name);
            let stored = stored.map(|(_, files)| files.as_slice()).unwrap_or_default();
            // Where performance is not measured it stays: waiting predictions go by it if it is again.
            let remembered = match settings.settings.performance {
                Some(_) => std::mem::take(&mut model.memory.outcomes),
                None => outcomes::Remembered::default(),
            };
            model.outcomes = recall_outcomes(settings, remembered, stored, journals(name), &mut notes)?;
        }
        for write in &restored.outcome_panes {
            let named = || format!("outcomes of `{}` at {}", write.key.model, write.key.start);
            match restore_outcome_pane(&plan, &mut models, write)? {
                Ok(()) => {}
                Err(Left::ForNow(why)) => notes.push(format!("{} wait in the store: {why}", named())),
                Err(Left::ForGood(why)) => {
                    notes.push(format!("{} are dropped: {why}", named()));
                    outcomes_dropped.push(write.key.clone());
                }
            }
        }
        let positions =
            restored.positions.into_iter().map(|position| (position.origin, position.next_offset)).collect();
        let monitor = Self {
            plan,
            positions,
            clocks: state.clocks.into_iter().collect(),
            assigned: BTreeSet::new(),
            models,
            pending: Commit {
                panes_dropped: dropped,
                outcome_panes_dropped: outcomes_dropped,
                ..Commit::default()
            },
            counted: BTreeMap::new(),
            dirty_positions: BTreeSet::new(),
            dirty_state: false,
        };
        Ok((monitor, notes))
    }

    /// Uses a plan that knows more baselines. Models and streams must be the same.
    pub fn set_plan(&mut self, plan: Arc<Plan>) {
        debug_assert_eq!(plan.models().len(), self.plan.models().len());
        self.plan = plan;
    }

    /// These partitions are ours from now on, to be read from these offsets.
    pub fn assign(&mut self, partitions: impl IntoIterator<Item = (Origin, i64)>) {
        for (origin, offset) in partitions {
            self.clocks.entry(origin.clone()).or_default().back();
            // Never back: what is counted is counted, even if its hand-over was not finished in time.
            let position = self.positions.entry(origin.clone()).or_insert(offset);
            *position = (*position).max(offset);
            // A place that was chosen by rule (latest) must be the same after a restart.
            self.dirty_positions.insert(origin.clone());
            self.assigned.insert(origin);
        }
    }

    /// These partitions are no longer ours. If they stay away for `idle_after`, they stop holding
    /// watermarks back.
    pub fn revoke<'a>(&mut self, partitions: impl IntoIterator<Item = &'a Origin>) {
        for origin in partitions {
            self.assigned.remove(origin);
        }
    }

    /// The partition was polled and is read to its end: the next record will have this offset. What it
    /// says comes behind the records before it, so whatever lies between the last of them and the end is
    /// no record (markers of transactions take offsets too).
    pub fn at_end(&mut self, origin: &Origin, next_offset: i64, now: Timestamp) {
        if self.positions.get(origin).is_some_and(|position| *position < next_offset) {
            self.positions.insert(origin.clone(), next_offset);
            self.dirty_positions.insert(origin.clone());
        }
        if let Some(clock) = self.clocks.get_mut(origin) {
            clock.empty(now);
        }
    }

    /// Records of this partition were lost before they could be read; counting goes on behind the gap.
    pub fn gap(&mut self, origin: &Origin, to: i64) {
        self.positions.insert(origin.clone(), to);
        self.dirty_positions.insert(origin.clone());
    }

    /// Adds what a worker made of a batch.
    ///
    /// # Errors
    /// [`IngestError`] when some of its records are counted already, or a journal cannot be read.
    pub fn ingest(&mut self, partial: Partial, now: Timestamp) -> Result<(), IngestError> {
        let Partial { raw, groups, labels, rejected, reached, newest } = partial;
        let (Some(&first), Some(&last)) = (raw.offsets.first(), raw.offsets.last()) else { return Ok(()) };
        let next = self.positions.get(&raw.origin).copied().unwrap_or(first);
        if last < next {
            return Ok(());
        }
        if first < next {
            let Origin { topic, partition } = raw.origin;
            return Err(Overlap { topic, partition, first, next }.into());
        }
        let carried = self.clocks.get(&raw.origin).and_then(|clock| clock.newest);
        for group in groups {
            self.add_group(group, &raw, carried, now)?;
        }
        for label in labels {
            let outcomes = self.models.get_mut(label.model).and_then(|model| model.outcomes.as_mut());
            *self.counted.entry((raw.origin.topic.clone(), label.model, "counted")).or_default() += 1;
            if let Some(outcomes) = outcomes {
                outcomes.take_label(&label)?;
            }
        }
        for ((model, rejected), reached) in rejected.into_iter().zip(reached) {
            self.watch_rejected(model, &rejected, &raw, reached.max(carried));
            self.reject(model, &rejected, &raw, now);
        }
        self.clocks.entry(raw.origin.clone()).or_default().advance(newest, now);
        self.positions.insert(raw.origin.clone(), last.saturating_add(1));
        self.dirty_positions.insert(raw.origin);
        self.dirty_state = true;
        Ok(())
    }

    /// Closes what is complete at `now` and gives everything that must become durable since the last call.
    ///
    /// # Errors
    /// [`JoinError`] when the predictions that wait for labels can no longer be trusted.
    pub fn advance(&mut self, now: Timestamp) -> Result<Commit, JoinError> {
        self.note_away(now);
        for index in 0..self.models.len() {
            self.advance_model(index, now)?;
        }
        self.write_panes();
        self.write_outcomes();
        let mut commit = std::mem::take(&mut self.pending);
        commit.positions = std::mem::take(&mut self.dirty_positions)
            .into_iter()
            .filter_map(|origin| {
                let next_offset = *self.positions.get(&origin)?;
                Some(Position { origin, next_offset })
            })
            .collect();
        commit.counted = std::mem::take(&mut self.counted)
            .into_iter()
            .map(|((topic, model, outcome), n)| (topic.to_string(), self.model_name(model), outcome, n))
            .collect();
        if std::mem::take(&mut self.dirty_state) {
            commit.state = Some(self.encode_state());
        }
        Ok(commit)
    }

    /// Whether a window that holds rows is complete at `now`, so that waiting with [`advance`](Self::advance)
    /// would delay its verdict. Cheap enough to ask after every batch.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.plan.models().iter().zip(&self.models).any(|(plan, model)| {
            let Some(watermark) = self.watermark_of(plan, model, now) else { return false };
            let up_to = plan.cut.complete_up_to(watermark);
            let open = |end: &Timestamp| model.memory.closed_up_to.is_none_or(|closed| *end > closed);
            // Panes ascend and so do their first ends: the first one still open is the next to close.
            let next = model.panes.keys().map(|pane| plan.cut.first_end(*pane)).find(open);
            next.is_some_and(|end| end <= up_to)
        })
    }

    /// Whether labels have come to windows of outcomes since they were looked at, and time has passed. A live
    /// run looks at each commit; a replay, which has no clock, asks this.
    pub fn is_look_due(&self, now: Timestamp) -> bool {
        self.plan.models().iter().zip(&self.models).any(|(plan, model)| {
            let Some(outcomes) = &model.outcomes else { return false };
            self.watermark_of(plan, model, now).is_some_and(|watermark| outcomes.is_due(watermark, plan))
        })
    }

    /// The newest event time that a partition has shown.
    pub fn newest(&self, origin: &Origin) -> Option<Timestamp> {
        self.clocks.get(origin).and_then(|clock| clock.newest)
    }

    /// The watermark of each model.
    pub fn watermarks(&self) -> impl Iterator<Item = (&str, Option<Timestamp>)> {
        self.plan
            .models()
            .iter()
            .zip(&self.models)
            .map(|(plan, model)| (plan.settings.name.as_str(), model.memory.watermark))
    }

    /// The open incident of each model.
    pub fn open_incidents(&self) -> impl Iterator<Item = (&str, Option<&Incident>)> {
        self.plan
            .models()
            .iter()
            .zip(&self.models)
            .map(|(plan, model)| (plan.settings.name.as_str(), model.memory.incident.open()))
    }

    /// What became of each model's budget, and what its windows are ranked among.
    pub fn budgets(&self) -> Vec<BudgetView> {
        let view = |(plan, model): (&ModelPlan, &Model)| BudgetView::of(plan, model);
        self.plan.models().iter().zip(&self.models).map(view).collect()
    }

    /// What waits for labels, of each model whose performance is measured.
    pub fn joins(&self) -> Vec<JoinView> {
        let view = |(plan, model): (&ModelPlan, &Model)| {
            let waiting = model.outcomes.as_ref()?.waiting();
            Some(JoinView {
                model: plan.settings.name.clone(),
                waiting: waiting.entries.saturating_sub(waiting.matched).saturating_sub(waiting.labels),
                waiting_labels: waiting.labels,
                journal_bytes: waiting.disk_bytes,
                index_bytes: waiting.index_bytes,
            })
        };
        self.plan.models().iter().zip(&self.models).filter_map(view).collect()
    }

    /// Where every known partition stands.
    pub fn positions(&self) -> impl Iterator<Item = (&Origin, i64)> {
        self.positions.iter().map(|(origin, offset)| (origin, *offset))
    }

    /// The versions of a model that have open panes.
    pub fn versions_in_use(&self) -> Vec<BTreeSet<Option<String>>> {
        let of = |model: &Model| {
            model.panes.values().flat_map(BTreeMap::keys).map(|cell| cell.version.clone()).collect()
        };
        self.models.iter().map(of).collect()
    }

    /// Number of panes held open.
    pub fn open_panes(&self) -> usize {
        self.models.iter().flat_map(|model| model.panes.values()).map(BTreeMap::len).sum()
    }

    fn add_group(
        &mut self,
        group: Group,
        raw: &RawBatch,
        carried: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), JoinError> {
        let (Some(plan), Some(model)) =
            (self.plan.models().get(group.model), self.models.get_mut(group.model))
        else {
            return Ok(());
        };
        let closed = model.memory.closed_up_to.is_some_and(|closed| group.first_end <= closed);
        if closed || carried.is_some_and(|newest| plan.cut.is_late(group.pane, newest)) {
            self.reject_group(&group, RejectReason::Late, raw, now);
            return Ok(());
        }
        let segment = group.segment.clone().map(|segment| {
            let known = &mut model.memory.segments;
            if known.contains(&segment) || known.len() < plan.settings.segments_max {
                known.insert(segment.clone());
                segment
            } else {
                OTHER_SEGMENT.to_owned()
            }
        });
        let cell = Cell { version: group.version.clone(), segment };
        let own = cell.clone();
        let events = group.summary.rows.events;
        let added = match model.panes.entry(group.pane).or_default().entry(cell) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                let counts = Counts::Ready(Box::new(group.summary.clone()));
                entry.insert(Pane { prepared: Arc::clone(&group.prepared), counts, dirty: true });
                Ok(())
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => entry.get_mut().add(&group),
        };
        if added.is_err() {
            // The baseline file was replaced while panes counted on the old one are open.
            self.reject_group(&group, RejectReason::NoBaseline, raw, now);
            return Ok(());
        }
        if let Some(outcomes) = &mut model.outcomes {
            outcomes.take_cases(&own, &group.prepared, group.cases)?;
        }
        let (version, baseline) = (group.version.as_deref(), group.prepared.id.as_str());
        let arrived = Arrived { version, baseline, topic: &raw.origin.topic, carried };
        model.watch_group(plan, arrived, group.ticks);
        model.memory.first_pane =
            Some(model.memory.first_pane.map_or(group.pane, |first| first.min(group.pane)));
        *self.counted.entry((raw.origin.topic.clone(), group.model, "counted")).or_default() += events;
        Ok(())
    }

    fn reject_group(&mut self, group: &Group, reason: RejectReason, raw: &RawBatch, now: Timestamp) {
        for row in &group.rows {
            let rejected = Rejected { row: *row as usize, reason, detail: partial::detail_of(reason) };
            self.reject(Some(group.model), &rejected, raw, now);
        }
    }

    fn reject(&mut self, model: Option<usize>, rejected: &Rejected, raw: &RawBatch, now: Timestamp) {
        let key = (raw.origin.topic.clone(), model.unwrap_or(usize::MAX), rejected.reason.name());
        *self.counted.entry(key).or_default() += 1;
        if self.pending.dead_letters.len() >= DEAD_LETTERS_PER_COMMIT {
            return;
        }
        let payload = raw.payload(rejected.row);
        self.pending.dead_letters.push(DeadLetter {
            origin: raw.origin.clone(),
            offset: raw.offsets.get(rejected.row).copied().unwrap_or(-1),
            reason: rejected.reason,
            detail: rejected.detail.clone(),
            payload: payload[..payload.len().min(DEAD_LETTER_BYTES)].to_vec(),
            at: now,
        });
    }

    fn advance_model(&mut self, index: usize, now: Timestamp) -> Result<(), JoinError> {
        let plan = Arc::clone(&self.plan);
        let (Some(settings), Some(model)) = (plan.models().get(index), self.models.get(index)) else {
            return Ok(());
        };
        let Some(watermark) = self.watermark_of(settings, model, now) else { return Ok(()) };
        let Some(model) = self.models.get_mut(index) else { return Ok(()) };
        if model.memory.watermark == Some(watermark) {
            return Ok(());
        }
        model.memory.watermark = Some(watermark);
        self.dirty_state = true;
        let positions: Vec<(String, i64)> = self
            .positions
            .iter()
            .map(|(origin, offset)| (format!("{}/{}", origin.topic, origin.partition), *offset))
            .collect();
        model.expect(settings, &plan);
        model.close_complete(settings, &plan.config, &positions, &mut self.pending);
        model.measure_outcomes(settings, &plan.config, &positions, &mut self.pending)
    }

    /// Notes which partitions others have. While none is ours the group is still sharing them out.
    fn note_away(&mut self, now: Timestamp) {
        if self.assigned.is_empty() {
            return self.clocks.values_mut().for_each(|clock| clock.away_since = None);
        }
        for (origin, clock) in &mut self.clocks {
            if !self.assigned.contains(origin) {
                clock.away(now);
            }
        }
    }

    /// The model's watermark at `now`; it never goes back.
    fn watermark_of(&self, plan: &ModelPlan, model: &Model, now: Timestamp) -> Option<Timestamp> {
        let name = plan.settings.name.as_str();
        let idle_after = plan.settings.windows.idle_after;
        let clocks = self
            .clocks
            .iter()
            .filter(|(origin, clock)| {
                self.plan.may_carry(&origin.topic, name) && !clock.is_gone(now, idle_after)
            })
            .map(|(_, clock)| clock);
        model_watermark(clocks, idle_after).max(model.memory.watermark)
    }

    fn write_panes(&mut self) {
        for (plan, model) in self.plan.models().iter().zip(&mut self.models) {
            for (&start, cells) in &mut model.panes {
                for (cell, pane) in cells.iter_mut().filter(|(_, pane)| pane.dirty) {
                    pane.dirty = false;
                    let key = cell.key(&plan.settings.name, start);
                    let baseline = pane.prepared.id.clone();
                    self.pending.panes.push(PaneWrite { key, baseline, summary: pane.counts.encode() });
                }
            }
        }
    }

    fn write_outcomes(&mut self) {
        for (plan, model) in self.plan.models().iter().zip(&mut self.models) {
            if let Some(outcomes) = &mut model.outcomes {
                outcomes.write(&plan.settings.name, &mut self.pending);
            }
        }
    }

    fn encode_state(&self) -> Vec<u8> {
        let models = self
            .plan
            .models()
            .iter()
            .zip(&self.models)
            .map(|(plan, model)| (plan.settings.name.clone(), model.remembered()))
            .collect();
        let clocks = self.clocks.iter().map(|(origin, clock)| (origin.clone(), *clock)).collect();
        let state = StoredState { format: STATE_FORMAT, clocks, models };
        // Maps with string keys and finite numbers always serialise.
        serde_json::to_vec(&state).unwrap_or_default()
    }

    fn model_name(&self, index: usize) -> String {
        self.plan
            .models()
            .get(index)
            .map_or_else(|| "(unknown)".to_owned(), |model| model.settings.name.clone())
    }
}

impl Model {
    /// Measures windows of outcomes that are complete or changed.
    fn measure_outcomes(
        &mut self,
        plan: &ModelPlan,
        config: &str,
        positions: &[(String, i64)],
        commit: &mut Commit,
    ) -> Result<(), JoinError> {
        let (Some(outcomes), Some(watermark)) = (&mut self.outcomes, self.memory.watermark) else {
            return Ok(());
        };
        let retrained = self.memory.incident.retrained().to_vec();
        let ledger = &mut self.memory.ledger;
        let mut around = Around { plan, config, positions, ledger, retrained: &retrained };
        outcomes.advance(watermark, &mut around, commit)
    }

    /// What is remembered, with the part that outcomes hold while the model runs.
    fn remembered(&self) -> Memory {
        let outcomes = self.outcomes.as_ref().map_or(&self.memory.outcomes, |outcomes| &outcomes.memory);
        Memory { outcomes: outcomes.clone(), ..self.memory.clone() }
    }
}

impl Cell {
    fn key(&self, model: &str, start: Timestamp) -> PaneKey {
        PaneKey {
            model: model.to_owned(),
            version: self.version.clone(),
            segment: self.segment.clone(),
            start,
        }
    }
}

impl Pane {
    fn add(&mut self, group: &Group) -> Result<(), ShapeMismatch> {
        if self.prepared.baseline.id != group.prepared.baseline.id {
            return Err(ShapeMismatch);
        }
        if let Counts::Encoded(bytes) = &self.counts {
            let summary = ModelSummary::decode(bytes).map_err(|_| ShapeMismatch)?;
            self.counts = Counts::Ready(Box::new(summary));
        }
        if let Counts::Ready(summary) = &mut self.counts {
            summary.merge(&group.summary)?;
        }
        self.dirty = true;
        Ok(())
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

/// A model's memory from the stored state, unless the length of its panes has changed.
fn recall(stored: &mut BTreeMap<String, Memory>, model: &ModelPlan, notes: &mut Vec<String>) -> Memory {
    let pane = model.cut.pane();
    let ticks = model.settings.early.ticks(&model.settings.windows);
    let lengths: Vec<Span> = model.settings.windows.windows.iter().map(|window| window.length).collect();
    let stored = stored.remove(&model.settings.name).map(|mut memory| {
        memory.incident.keep_lengths(&lengths, ticks.map(|ticks| ticks.length()));
        memory.online_fdr = gone_on(memory.online_fdr, model.settings.verdict.online_fdr.as_ref());
        memory
    });
    let online_fdr = model.settings.verdict.online_fdr.clone();
    let mut memory = match stored {
        Some(memory) if memory.pane == pane => memory,
        Some(memory) => {
            notes.push(format!(
                "panes of model `{}` are now {pane} long instead of {}: its open windows start anew",
                model.settings.name, memory.pane
            ));
            Memory {
                pane,
                incident: memory.incident,
                segments: memory.segments,
                ledger: memory.ledger,
                online_fdr: memory.online_fdr,
                // Cut by themselves: what waits for labels goes by them, and what was judged stays judged.
                outcomes: memory.outcomes,
                ..Memory::default()
            }
        }
        None => Memory { pane, online_fdr, ..Memory::default() },
    };
    memory.early.retune(ticks);
    memory
}

/// The procedure that is configured, where it left off if it is the one that was stored.
fn gone_on(stored: Option<OnlineFdr>, configured: Option<&OnlineFdr>) -> Option<OnlineFdr> {
    let configured = configured?;
    let is_same = |stored: &OnlineFdr| {
        stored.procedure().name == configured.procedure().name && stored.alpha() == configured.alpha()
    };
    stored.filter(is_same).or_else(|| Some(configured.clone()))
}

/// Why a stored pane is not gone on with.
enum Left {
    /// What is missing may come back; the pane stays in the store.
    ForNow(&'static str),
    /// It can never be counted on again.
    ForGood(&'static str),
}

/// A stored pane, or why it is left behind.
fn restore_pane(
    plan: &Plan,
    models: &[Model],
    write: &PaneWrite,
) -> Result<Result<(usize, Cell, Pane), Left>, RestoreError> {
    let key = &write.key;
    let Some(index) = plan.model(&key.model) else {
        return Ok(Err(Left::ForGood("its model is no longer configured")));
    };
    let (Some(model), Some(memory)) =
        (plan.models().get(index), models.get(index).map(|model| &model.memory))
    else {
        return Ok(Err(Left::ForGood("its model is no longer configured")));
    };
    if memory.first_pane.is_none() || model.cut.pane_of(key.start) != key.start {
        return Ok(Err(Left::ForGood("its windows are cut otherwise now")));
    }
    let Lookup::Found(prepared) = model.lookup(key.version.as_deref()) else {
        return Ok(Err(Left::ForNow(
            "the baseline of its version cannot be read; put it back and start again",
        )));
    };
    if prepared.id != write.baseline {
        return Ok(Err(Left::ForGood("its baseline was replaced")));
    }
    let decoded = ModelSummary::decode(&write.summary);
    let damage = |source| RestoreError::Pane { model: key.model.clone(), start: key.start, source };
    let summary = decoded.map_err(damage)?;
    let cell = Cell { version: key.version.clone(), segment: key.segment.clone() };
    Ok(Ok((index, cell, Pane { prepared, counts: Counts::Ready(Box::new(summary)), dirty: false })))
}

/// Outcomes as they were, with the predictions that wait; nothing where performance is not measured.
fn recall_outcomes(
    model: &ModelPlan,
    remembered: outcomes::Remembered,
    stored: &[StoredJournal],
    reader: Option<Arc<dyn ReadJournal>>,
    notes: &mut Vec<String>,
) -> Result<Option<Outcomes>, RestoreError> {
    let Some(settings) = &model.settings.performance else {
        if !stored.is_empty() {
            notes.push(format!(
                "model `{}` no longer measures performance: its waiting predictions are left in the store",
                model.settings.name
            ));
        }
        return Ok(None);
    };
    let windows = &model.settings.windows;
    let join = outcomes::join_settings(settings, windows);
    let joiner = match reader {
        Some(reader) => Joiner::restore(join, stored, reader)?,
        None => Joiner::in_memory(join),
    };
    Ok(Some(Outcomes::new(settings, &model.settings, joiner, remembered, notes)))
}

/// Takes a stored pane of outcomes back, or says why it is left behind.
fn restore_outcome_pane(
    plan: &Plan,
    models: &mut [Model],
    write: &PaneWrite,
) -> Result<Result<(), Left>, RestoreError> {
    let key = &write.key;
    let index = plan.model(&key.model);
    let (Some(model), Some(outcomes)) = (
        index.and_then(|index| plan.models().get(index)),
        index.and_then(|index| models.get_mut(index)).and_then(|model| model.outcomes.as_mut()),
    ) else {
        return Ok(Err(Left::ForGood("performance is no longer measured for its model")));
    };
    let Lookup::Found(prepared) = model.lookup(key.version.as_deref()) else {
        return Ok(Err(Left::ForNow(
            "the baseline of its version cannot be read; put it back and start again",
        )));
    };
    let cell = Cell { version: key.version.clone(), segment: key.segment.clone() };
    if prepared.id != write.baseline {
        outcomes.forget_cell(&cell);
        return Ok(Err(Left::ForGood("its baseline was replaced")));
    }
    OutcomeSummary::decode(&write.summary).map_err(|source| RestoreError::Pane {
        model: key.model.clone(),
        start: key.start,
        source,
    })?;
    let is_taken = outcomes.restore_pane(key.start, cell.clone(), prepared, write.summary.clone());
    if !is_taken {
        outcomes.forget_cell(&cell);
    }
    let cut_otherwise = Left::ForGood("windows of performance are cut otherwise now");
    Ok(if is_taken { Ok(()) } else { Err(cut_otherwise) })
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_early;

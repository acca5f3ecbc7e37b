//! When windows of outcomes are looked at: once when they are complete, and again as labels come.
//!
//! Time passes in ticks of one pane of the model's feature windows, in event time. At each tick every window
//! whose panes changed is looked at; a new revision is made when enough changed to matter. All versions and
//! segments of a window are judged together and once, when the labels of all rows are complete. So an alarm is
//! never repeated because of a revision. (A limit of the operator's that a whole interval breaks is told before.)
//!
//! What is measured at a tick holds every label that was read by then, also of partitions that are ahead. So
//! values of complete windows do not depend on how partitions interleave, but at which tick a window is found
//! complete may.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::judge::{Bars, Judged, judge};
use super::measure::{Measuring, expected, measure};
use super::{Outcomes, Remembered};
use crate::event::{Span, Timestamp};
use crate::incident::{About, Closing, Evidence, PerformanceEvidence, Status};
use crate::monitor::plan::{Lookup, ModelPlan, Prepared};
use crate::monitor::sudden;
use crate::monitor::{Cell, Commit, PerformanceWindow, WindowKey};
use crate::performance::delay::{Cohort, CohortStratum, DELAY_BUCKETS, Delays};
use crate::performance::diagnosis::diagnose;
use crate::performance::join::JoinError;
use crate::performance::value::Basis;
use crate::performance::{Diagnosis, Maturity, Mean};
use crate::summary::outcome::{OutcomeShape, OutcomeSummary};
use crate::verdict::{Entry, Ledger, Lowest, Verdict};
use crate::window::WindowId;

/// Share of a window's predictions by which its labels must grow for a further revision: one in fifty while
/// they come, one in a hundred once they are as good as complete.
const GROWTH_PARTS: (u64, u64) = (50, 100);

/// A window that labels can still change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Followed {
    length: Span,
    slide: Span,
    end: Timestamp,
    cells: Vec<FollowedCell>,
    /// Whether its versions and segments were judged, which happens to all of them at once.
    judged: bool,
}

/// Versions and segments of panes whose counts changed.
type Changed = BTreeSet<(Timestamp, Cell)>;

impl Followed {
    /// Versions and segments that changed in a pane of the window.
    fn changes<'a>(&self, changed: &'a Changed) -> impl Iterator<Item = &'a Cell> + use<'a> {
        let start = (self.end - self.length, Cell::default());
        changed.range(start..(self.end, Cell::default())).map(|(_, cell)| cell)
    }
}

/// What was said last of a version and segment in a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct FollowedCell {
    cell: Cell,
    revision: u32,
    labels: u64,
    predictions: u64,
    maturity: Maturity,
    /// Whether it was told before it is judged that it breaks a limit.
    #[serde(default)]
    told: bool,
}

/// The loss of a window of the shortest length, all rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct LossOfWindow {
    pub(super) version: Option<String>,
    pub(super) start: Timestamp,
    pub(super) rows: u64,
    pub(super) cost: Mean,
    pub(super) basis: Basis,
    /// The mean cost of the version's training rows.
    pub(super) before: Mean,
}

/// How good the estimates for a version were.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Compared {
    pub(super) version: Option<String>,
    pub(super) windows: u64,
    pub(super) held: u64,
    pub(super) absolute_error: f64,
    /// Windows in a row, up to the last, in which the realised value lay outside.
    pub(super) missed_in_a_row: u32,
}

/// What windows are looked at with.
pub(in crate::monitor) struct Around<'a> {
    pub(in crate::monitor) plan: &'a ModelPlan,
    pub(in crate::monitor) config: &'a str,
    pub(in crate::monitor) positions: &'a [(String, i64)],
    pub(in crate::monitor) ledger: &'a mut Ledger,
    /// Retrain calls for drift: both kinds share the limits.
    pub(in crate::monitor) retrained: &'a [Timestamp],
}

/// The panes of a version and segment in a window, with their starts.
pub(super) struct Merged {
    pub(super) prepared: Arc<Prepared>,
    pub(super) pane: Span,
    pub(super) parts: Vec<(Timestamp, OutcomeSummary)>,
}

impl Merged {
    pub(super) fn predictions(&self) -> u64 {
        self.parts.iter().map(|(_, summary)| summary.predictions).sum()
    }

    pub(super) fn labels(&self) -> u64 {
        self.parts.iter().map(|(_, summary)| summary.labels).sum()
    }

    /// All panes together.
    pub(super) fn total(&self, shape: &OutcomeShape) -> OutcomeSummary {
        let mut total = shape.empty();
        // Panes of one version are counted on one baseline, so their shapes agree.
        for (_, summary) in &self.parts {
            let _ = total.merge(summary);
        }
        total
    }
}

/// A new revision of a window's version and segment.
struct Revised {
    verdict: Option<(Verdict, String)>,
    evidence: PerformanceEvidence,
    diagnosis: Diagnosis,
}

impl Outcomes {
    /// Looks at every window that is complete or changed, if a tick has passed, and lets go of what is over.
    ///
    /// # Errors
    /// [`JoinError`] when waiting predictions can no longer be trusted.
    pub(in crate::monitor) fn advance(
        &mut self,
        watermark: Timestamp,
        around: &mut Around<'_>,
        commit: &mut Commit,
    ) -> Result<(), JoinError> {
        self.pass_mistakes(self.cut.complete_up_to(watermark), around, commit);
        let up_to = self.tick(watermark, around.plan);
        if self.memory.ticked.is_some_and(|ticked| up_to <= ticked) {
            return Ok(());
        }
        self.memory.ticked = Some(up_to);
        self.begin_to_follow(up_to);
        let changed = std::mem::take(&mut self.memory.changed);
        let mut delays = BTreeMap::new();
        let mut followed = std::mem::take(&mut self.memory.followed);
        for window in &mut followed {
            if self.is_worth_a_look(window, &changed, up_to) {
                self.look(window, &changed, up_to, &mut delays, around, commit);
            }
        }
        followed.retain(|window| window.end + self.settings.label_delay_max > up_to);
        self.memory.followed = followed;
        self.estimates.retain(|(end, ..), _| *end + self.settings.label_delay_max > up_to);
        self.drop_old(watermark, up_to)
    }

    /// Passes what was known of mistakes up to here.
    fn pass_mistakes(&mut self, up_to: Timestamp, around: &mut Around<'_>, commit: &mut Commit) {
        let Some(ticks) = &self.ticks else { return };
        // Most commits pass no tick.
        let passing = ticks.start_of(up_to);
        if self.passed == Some(passing) {
            return;
        }
        let plan = around.plan;
        let retired = self.retired(up_to);
        let references = |version: Option<&str>, baseline: &str| {
            // Late labels of a model that was rolled back say nothing that could still be mended.
            if retired.contains(&version.map(str::to_owned)) {
                return None;
            }
            let Lookup::Found(prepared) = plan.lookup(version) else { return None };
            let performance = prepared.performance.as_ref().filter(|_| prepared.id == baseline)?;
            performance.mistakes.clone()
        };
        let with = sudden::Around {
            model: &plan.settings,
            performance: &self.settings,
            ticks,
            references: &references,
            config: around.config,
            positions: around.positions,
        };
        let Remembered { mistakes, incident, .. } = &mut self.memory;
        sudden::pass_mistakes(mistakes, incident, around.ledger, up_to, &with, commit);
        self.passed = Some(passing);
    }

    /// Versions whose last complete pane with predictions is older than the shortest window before the newest.
    fn retired(&self, up_to: Timestamp) -> BTreeSet<Option<String>> {
        let shortest = self.settings.windows.first().map_or(Span::ZERO, |shortest| shortest.length);
        let mut last: BTreeMap<&Option<String>, Timestamp> = BTreeMap::new();
        for (&start, cells) in self.panes.range(..up_to - self.cut.pane()) {
            last.extend(cells.keys().map(|cell| (&cell.version, start)));
        }
        let newest = last.values().max().copied();
        let is_old = |its: Timestamp| newest.is_some_and(|newest| its + shortest < newest);
        last.into_iter().filter(|(_, its)| is_old(*its)).map(|(version, _)| version.clone()).collect()
    }

    /// The last tick that a watermark has passed.
    fn tick(&self, watermark: Timestamp, plan: &ModelPlan) -> Timestamp {
        self.cut.complete_up_to(watermark).floor_to(plan.cut.pane(), plan.settings.windows.offset)
    }

    /// Whether a tick has passed since windows were looked at, and counts changed.
    pub(in crate::monitor) fn is_due(&self, watermark: Timestamp, plan: &ModelPlan) -> bool {
        let up_to = self.tick(watermark, plan);
        !self.memory.changed.is_empty() && self.memory.ticked.is_none_or(|ticked| up_to > ticked)
    }

    fn begin_to_follow(&mut self, up_to: Timestamp) {
        let first = self.memory.first_pane;
        let closing = self.cut.closing(self.panes.keys().copied(), self.memory.closed_up_to, up_to);
        for window in closing {
            // As with features: a sliding window that began before the first pane is not filled yet.
            if !window.is_sliding() || first.is_some_and(|first| window.start() >= first) {
                let WindowId { end, length, slide } = window;
                self.memory.followed.push(Followed { length, slide, end, cells: Vec::new(), judged: false });
            }
        }
        self.memory.closed_up_to = self.memory.closed_up_to.max(Some(up_to));
    }

    fn is_worth_a_look(&self, window: &Followed, changed: &Changed, up_to: Timestamp) -> bool {
        window.cells.is_empty()
            || window.changes(changed).next().is_some()
            || window.end + self.settings.label_delay_max <= up_to
    }

    /// Looks at every version and segment of a window, and tells the incident what was judged.
    fn look(
        &mut self,
        window: &mut Followed,
        changed: &Changed,
        up_to: Timestamp,
        delays: &mut BTreeMap<Option<String>, Arc<Delays>>,
        around: &mut Around<'_>,
        commit: &mut Commit,
    ) {
        let merged = self.merge(window.end - window.length, window.end);
        let bars = Bars::new(around.plan, &self.settings, (window.slide, window.length), &merged);
        let is_ready = !window.judged && self.is_ready(&merged, window.end, up_to);
        window.judged |= is_ready;
        let mut revised = Vec::new();
        for (cell, merged) in &merged {
            let its_delays = delays
                .entry(cell.version.clone())
                .or_insert_with(|| Arc::new(self.delays(cell.version.as_deref(), up_to)));
            let its_delays = Arc::clone(its_delays);
            if is_ready || window.has_news(cell, merged, changed, up_to, self.settings.label_delay_max) {
                revised.extend(self.revise(
                    window,
                    (cell, merged),
                    (up_to, &its_delays, is_ready),
                    &bars,
                    around,
                    commit,
                ));
            }
        }
        self.step(window, &revised, &bars, up_to, around, commit);
    }

    /// Whether a window can be judged: of every version with enough predictions, all rows together have as
    /// good as all labels and enough to be judged by, or none comes any more.
    fn is_ready(&self, merged: &BTreeMap<Cell, Merged>, end: Timestamp, up_to: Timestamp) -> bool {
        let is_final = end + self.settings.label_delay_max <= up_to;
        let whole = merged.iter().filter(|(cell, _)| cell.segment.is_none()).map(|(_, merged)| merged);
        let mut enough = whole.filter(|merged| merged.predictions() >= self.settings.labels_min).peekable();
        // A window is judged once: found complete with a few labels too few, it never would be.
        let is_complete = |merged: &Merged| {
            merged.labels() >= self.settings.labels_min
                && merged.labels() as f64 >= self.settings.mature_at * merged.predictions() as f64
        };
        is_final || (enough.peek().is_some() && enough.all(is_complete))
    }

    /// Makes a new revision; `is_ready` says that the window is judged now.
    fn revise(
        &mut self,
        window: &mut Followed,
        (cell, merged): (&Cell, &Merged),
        (up_to, delays, is_ready): (Timestamp, &Delays, bool),
        bars: &Bars,
        around: &mut Around<'_>,
        commit: &mut Commit,
    ) -> Option<Revised> {
        let reference = merged.prepared.performance.clone()?;
        let settings = Arc::clone(&self.settings);
        let (start, end, length) = (window.end - window.length, window.end, window.length);
        let segment = cell.segment.as_deref();
        let measuring = Measuring {
            settings: &settings,
            reference: &reference,
            segment,
            start,
            end,
            up_to,
            delays: Some(delays),
            is_ready,
        };
        let place = window.cells.iter().position(|known| known.cell == *cell);
        let known = place.and_then(|place| window.cells.get(place));
        let (revision, was_told) =
            known.map_or((1, false), |known| (known.revision.saturating_add(1), known.told));
        let name = (end, length, cell.clone());
        let expected = expected(&measuring, merged, self.estimates.remove(&name));
        let mut measured = measure(&measuring, merged, &expected);
        self.estimates.insert(name, expected);
        if segment.is_none() {
            let is_shortest = settings.windows.first().is_some_and(|first| first.length == length);
            if is_shortest && window.slide == length {
                self.remember_loss(cell, &measuring, merged.predictions(), measured.cost);
            }
            if measured.reading.maturity == Maturity::Mature && is_ready {
                self.compare(cell, &measured);
            }
        }
        self.tell_how_good_estimates_were(cell, &mut measured);
        let void = around.ledger.void(length, &audited_as(&merged.prepared.id));
        let model = around.plan.settings.name.as_str();
        let judged = if (was_told || window.judged) && !is_ready {
            None
        } else {
            judge(&measuring, &measured, bars, model, cell, (length, void))
        };
        self.price(
            &measuring,
            merged,
            &mut measured,
            judged.as_ref().is_some_and(|judged| judged.verdict.alarm),
        );
        let evidence = measured.evidence(&measuring, judged.as_ref());
        let diagnosis = diagnose(&measured.findings(&measuring, &[]));
        let entry = FollowedCell {
            cell: cell.clone(),
            revision,
            labels: merged.labels(),
            predictions: merged.predictions(),
            maturity: measured.reading.maturity,
            told: was_told || judged.is_some(),
        };
        match place.and_then(|place| window.cells.get_mut(place)) {
            Some(known) => *known = entry,
            None => window.cells.push(entry),
        }
        let verdict = judged.map(|Judged { verdict, .. }| verdict);
        let baseline = merged.prepared.id.clone();
        commit.performance.push(PerformanceWindow {
            key: WindowKey {
                model: model.to_owned(),
                version: cell.version.clone(),
                segment: cell.segment.clone(),
                start,
                length,
            },
            end,
            revision,
            at: up_to,
            baseline: baseline.clone(),
            config: around.config.to_owned(),
            reading: measured.reading,
            verdict: verdict.clone(),
        });
        Some(Revised { verdict: verdict.map(|verdict| (verdict, baseline)), evidence, diagnosis })
    }

    /// Tells the incident what was judged of a window.
    fn step(
        &mut self,
        window: &Followed,
        revised: &[Revised],
        bars: &Bars,
        up_to: Timestamp,
        around: &mut Around<'_>,
        commit: &mut Commit,
    ) {
        let retired = self.retired(up_to);
        let judged: Vec<&Revised> = revised.iter().filter(|revised| revised.verdict.is_some()).collect();
        let (verdicts, ids): (Vec<Verdict>, Vec<String>) =
            judged.iter().filter_map(|revised| revised.verdict.clone()).unzip();
        if verdicts.is_empty() {
            return;
        }
        // What people read is the first that alarms: all rows come before segments.
        let loud = judged.iter().zip(&verdicts).find(|(_, verdict)| verdict.alarm);
        let spoke = loud.map(|(revised, _)| *revised).or(judged.first().copied());
        let closing = Closing {
            length: window.length,
            end: window.end,
            verdicts: &verdicts,
            evidence: Evidence { baselines: &ids, config: around.config, positions: around.positions },
            about: About {
                kind: "performance",
                performance: spoke.map(|revised| &revised.evidence),
                diagnosis: spoke.map(|revised| &revised.diagnosis),
                retrained_elsewhere: around.retrained,
                told_at: Some(up_to),
                is_retired: loud.is_some_and(|(_, verdict)| retired.contains(&verdict.version)),
            },
        };
        let in_incident = self.memory.incident.open().is_some();
        let outcome = self.memory.incident.step(&closing, &around.plan.settings.incident);
        let audited: Vec<String> = ids.iter().map(|id| audited_as(id)).collect();
        let lowest = Lowest::of(verdicts.iter().zip(audited.iter().map(String::as_str)));
        around.ledger.enter(
            &Entry {
                end: window.end,
                length: window.length,
                share: if verdicts.iter().any(|verdict| verdict.p_value.is_some()) {
                    bars.share()
                } else {
                    0.0
                },
                lowest: &lowest,
                opened: outcome.transitions.iter().any(|incident| incident.status == Status::Open),
                in_incident,
            },
            around.plan.settings.verdict.budget,
        );
        match self.memory.incident.open() {
            Some(_) if !in_incident => self.memory.changed_since = Some(window.end - window.length),
            None => self.memory.changed_since = None,
            Some(_) => {}
        }
        commit.transitions.extend(outcome.transitions);
        commit.outbox.extend(outcome.notifications);
    }

    /// Panes of a window by version and segment; all rows of a version together come first.
    fn merge(&self, start: Timestamp, end: Timestamp) -> BTreeMap<Cell, Merged> {
        let mut merged: BTreeMap<Cell, Merged> = BTreeMap::new();
        for (&at, cells) in self.panes.range(start..end) {
            for (cell, pane) in cells {
                let Some(summary) = pane.summary() else { continue };
                let new = || Merged {
                    prepared: Arc::clone(&pane.prepared),
                    pane: self.cut.pane(),
                    parts: Vec::new(),
                };
                let all = Cell { version: cell.version.clone(), segment: None };
                let whole = merged.entry(all).or_insert_with(new);
                match whole.parts.last_mut() {
                    // Panes of one version have one shape.
                    Some((last, sum)) if *last == at => {
                        let _ = sum.merge(&summary);
                    }
                    _ => whole.parts.push((at, summary.clone().into_owned())),
                }
                if cell.segment.is_some() {
                    let part = merged.entry(cell.clone()).or_insert_with(new);
                    part.parts.push((at, summary.into_owned()));
                }
            }
        }
        merged
    }

    /// How fast the labels of a version come, from all of its panes.
    fn delays(&self, version: Option<&str>, up_to: Timestamp) -> Delays {
        let mut cohorts = Vec::new();
        for (&start, cells) in &self.panes {
            let end = start + self.cut.pane();
            if end > up_to {
                break;
            }
            let of_version = cells.iter().filter(|(cell, _)| cell.version.as_deref() == version);
            for pane in of_version.map(|(_, pane)| pane) {
                let shape = pane.prepared.baseline.outcomes.as_ref().map(|outcomes| &outcomes.shape);
                if let Some((shape, summary)) = shape.zip(pane.summary()) {
                    cohorts.push(cohort(shape, &summary, up_to - end));
                }
            }
        }
        Delays::fit(&cohorts, &self.buckets)
    }
}

/// The name under which the ledger audits windows of performance: those of features have the baseline's.
fn audited_as(baseline: &str) -> String {
    format!("{baseline} performance")
}

/// The labels of a pane by stratum, outcome and delay.
fn cohort(shape: &OutcomeShape, summary: &OutcomeSummary, age: Span) -> Cohort {
    let predicted = shape.predicted_by_stratum(summary);
    let outcomes = shape.outcomes();
    let mut strata: Vec<CohortStratum> = predicted
        .iter()
        .map(|_| CohortStratum { labelled: vec![[0; DELAY_BUCKETS]; outcomes], unlabelled: 0 })
        .collect();
    for (cell, count) in &summary.delays {
        let stratum = strata.get_mut(usize::from(cell.stratum));
        let labelled = stratum.and_then(|stratum| stratum.labelled.get_mut(usize::from(cell.outcome)));
        if let Some(slot) = labelled.and_then(|counts| counts.get_mut(usize::from(cell.bucket))) {
            *slot = slot.saturating_add(*count);
        }
    }
    for (stratum, predicted) in strata.iter_mut().zip(predicted) {
        let labelled: u64 = stratum.labelled.as_flattened().iter().sum();
        stratum.unlabelled = predicted.saturating_sub(labelled);
    }
    Cohort { age, strata }
}

impl Followed {
    /// Whether enough changed for a further revision: labels grew, were corrected, or are complete now.
    fn has_news(
        &self,
        cell: &Cell,
        merged: &Merged,
        changed: &Changed,
        up_to: Timestamp,
        delay_max: Span,
    ) -> bool {
        let Some(known) = self.cells.iter().find(|known| known.cell == *cell) else { return true };
        let is_final = self.end + delay_max <= up_to;
        let (labels, predictions) = (merged.labels(), merged.predictions());
        let parts = if known.maturity == Maturity::Mature { GROWTH_PARTS.1 } else { GROWTH_PARTS.0 };
        let grown = labels.abs_diff(known.labels).max(predictions.abs_diff(known.predictions));
        // All rows of a version change with any of its segments.
        let is_its = |other: &Cell| {
            other.version == cell.version && (cell.segment.is_none() || other.segment == cell.segment)
        };
        let corrected = grown == 0 && self.changes(changed).any(is_its);
        let is_last = is_final && (grown > 0 || known.maturity != Maturity::Mature);
        corrected || is_last || grown.saturating_mul(parts) >= predictions.max(1)
    }
}

//! What happens when windows are complete: merge, test, decide, step the incident, drop what is done.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::learn::{Learned, shortage};
use super::outcomes::{Expected, expect};
use super::view::no_reference;
use super::{Cell, ClosedWindow, Commit, Counts, LearnedWindow, Model, ModelPlan, Pane, Prepared, WindowKey};
use crate::event::{Span, Timestamp};
use crate::incident::{About, Closing, Evidence, Status};
use crate::summary::ModelSummary;
use crate::verdict::{
    self, Calibration, CellEvidence, Decided, Entry, Lowest, Measure, OnlineFdr, UNCALIBRATED, Verdict,
    WindowSample, alpha_per_block, alpha_per_window, decide_by,
};
use crate::window::WindowId;

/// The merged counts of one version and segment over a window.
struct Merged {
    prepared: Arc<Prepared>,
    summary: ModelSummary,
    /// Whether any of its rows came since the window before this one.
    fresh: bool,
}

impl Model {
    /// Closes every window that is complete at the model's watermark, and drops panes no window needs.
    pub(super) fn close_complete(
        &mut self,
        plan: &ModelPlan,
        config: &str,
        positions: &[(String, i64)],
        commit: &mut Commit,
    ) {
        let Some(watermark) = self.memory.watermark else { return };
        let up_to = plan.cut.complete_up_to(watermark);
        let after = self.memory.closed_up_to;
        let first_pane = self.memory.first_pane;
        let closing = plan.cut.closing(self.panes.keys().copied(), after, up_to);
        for window in closing {
            self.pass_ticks(plan, window.end, config, positions, commit);
            // A sliding window that began before the first pane is not filled yet; until it is, the shorter
            // ones hold the same rows.
            let filled = first_pane.is_some_and(|first| window.start() >= first);
            if filled || !window.is_sliding() {
                self.close_window(plan, window, config, positions, watermark, commit);
            }
        }
        self.pass_ticks(plan, up_to, config, positions, commit);
        self.memory.closed_up_to = self.memory.closed_up_to.max(Some(up_to));
        self.rest_panes(plan, up_to, commit);
    }

    fn close_window(
        &mut self,
        plan: &ModelPlan,
        window: WindowId,
        config: &str,
        positions: &[(String, i64)],
        watermark: Timestamp,
        commit: &mut Commit,
    ) {
        let cells = self.merge(window);
        let tested: Vec<(Cell, Merged)> = cells.into_iter().filter(|(_, merged)| merged.fresh).collect();
        let settings = &plan.settings;
        let bars = self.bars(plan, window, &tested);
        let mut verdicts: Vec<Verdict> = Vec::with_capacity(tested.len());
        let mut evidence: Vec<CellEvidence> = Vec::with_capacity(tested.len());
        let mut baselines = Vec::with_capacity(tested.len());
        let mut expected: Vec<Option<Expected>> = Vec::with_capacity(tested.len());
        for ((cell, merged), bar) in tested.into_iter().zip(bars.cells) {
            let sample = WindowSample {
                model: &settings.name,
                version: cell.version.as_deref(),
                segment: cell.segment.as_deref(),
                start: window.start(),
                end: window.end,
                summary: &merged.summary,
            };
            let decided = match &mut self.memory.online_fdr {
                Some(procedure) => {
                    let decided =
                        Bar::of_procedure(procedure).decide(&merged.prepared, sample, &settings.verdict);
                    decided.verdict.p_value.map(|p_value| procedure.observe(p_value));
                    decided
                }
                None => bar.decide(&merged.prepared, sample, &settings.verdict),
            };
            if decided.verdict.p_value.is_some() {
                evidence.push(decided.evidence);
            }
            expected.push(decided.verdict.alarm.then(|| {
                let performance = settings.performance.as_ref();
                let version = decided.verdict.version.as_deref();
                let holds = self.outcomes.as_ref().is_none_or(|outcomes| outcomes.estimates_hold(version));
                expect(performance, &merged.prepared, &decided.verdict, &merged.summary, holds)
            }));
            verdicts.push(decided.verdict.clone());
            baselines.push(Arc::clone(&merged.prepared));
            let key = WindowKey {
                model: settings.name.clone(),
                version: cell.version,
                segment: cell.segment,
                start: window.start(),
                length: window.length,
            };
            commit.windows.push(closed(key, window, &merged, config, positions, watermark, decided.verdict));
        }
        self.learn(plan, window, &verdicts, &baselines, evidence, commit);
        let ids: Vec<String> = baselines.iter().map(|prepared| prepared.id.clone()).collect();
        // As people read it: all rows before a segment, and the first that alarms.
        let spoke = verdicts.iter().zip(&expected).filter_map(|(verdict, expected)| {
            expected.as_ref().map(|expected| (verdict.segment.is_some(), expected))
        });
        let spoke = spoke.min_by_key(|(is_segment, _)| *is_segment).map(|(_, expected)| expected);
        let elsewhere = self.outcomes.as_ref().map(|outcomes| outcomes.memory.incident.retrained().to_vec());
        let closing = Closing {
            length: window.length,
            end: window.end,
            verdicts: &verdicts,
            evidence: Evidence { baselines: &ids, config, positions },
            about: About {
                performance: spoke.and_then(|expected| expected.performance.as_ref()),
                diagnosis: spoke.and_then(|expected| expected.diagnosis.as_ref()),
                retrained_elsewhere: elsewhere.as_deref().unwrap_or_default(),
                ..About::DRIFT
            },
        };
        let in_incident = self.memory.incident.open().is_some();
        let outcome = self.memory.incident.step(&closing, &settings.incident);
        let lowest = Lowest::of(verdicts.iter().zip(ids.iter().map(String::as_str)));
        let entry = Entry {
            end: window.end,
            length: window.length,
            share: if verdicts.iter().any(|verdict| verdict.p_value.is_some()) { bars.share } else { 0.0 },
            lowest: &lowest,
            opened: outcome.transitions.iter().any(|incident| incident.status == Status::Open),
            in_incident,
        };
        self.memory.ledger.enter(&entry, settings.verdict.budget);
        commit.transitions.extend(outcome.transitions);
        commit.outbox.extend(outcome.notifications);
    }

    /// How high each cell's bar is: its share of the budget, and what it is ranked among.
    ///
    /// Versions share the window's part of the budget evenly. Where a version's windows are ranked, its segments
    /// are one, for they are ranked by their largest ratio together; a tenth is kept for segments and tests
    /// that no reference window knows. Cells with too few rows to be tested take no part.
    fn bars(&mut self, plan: &ModelPlan, window: WindowId, tested: &[(Cell, Merged)]) -> Bars {
        let settings = &plan.settings;
        let (budget, parts) = (settings.verdict.budget, settings.budget_parts());
        let share = alpha_per_window(budget, window.slide, parts);
        let block_share = alpha_per_block(budget, window.length, parts);
        let mut versions: BTreeMap<Option<String>, OfVersion> = BTreeMap::new();
        for (cell, merged) in tested {
            if !versions.contains_key(&cell.version) {
                if let Some(learned) = self.learned.get_mut(&cell.version) {
                    learned.conclude(plan, window.length, window.end);
                }
                let version = cell.version.as_deref();
                let usual = self.what_is_usual(plan, version, &merged.prepared, window.length);
                versions.insert(cell.version.clone(), OfVersion { usual, cells: 0, has_gaps: false });
            }
            if let Some(of) = versions.get_mut(&cell.version) {
                let is_tested = merged.summary.n() >= settings.verdict.rows_min;
                of.cells += u32::from(is_tested);
                of.has_gaps |= is_tested && !of.covers(cell);
            }
        }
        let is_whole = self.memory.first_pane.is_some_and(|first| window.start() >= first);
        let tested_versions = versions.values().filter(|of| of.cells > 0).count().max(1) as f64;
        let cells = tested
            .iter()
            .map(|(cell, merged)| {
                let bar = match versions.get(&cell.version) {
                    // Reference windows are whole.
                    Some(of) if !is_whole => Bar::independent(
                        share / tested_versions / f64::from(of.cells.max(1)),
                        "the first window began before the first row: it is not ranked among whole ones"
                            .to_owned(),
                    ),
                    Some(of) => Bar::new(cell, of, share / tested_versions, block_share / tested_versions),
                    None => Bar::independent(share / tested_versions, UNCALIBRATED.to_owned()),
                };
                bar.with_void(self.memory.ledger.void(window.length, &merged.prepared.id))
            })
            .collect();
        Bars { cells, share }
    }

    /// What windows of a version and length are ranked among.
    ///
    /// # Errors
    /// Why nothing is known of them, and what would mend it.
    pub(super) fn what_is_usual(
        &self,
        plan: &ModelPlan,
        version: Option<&str>,
        prepared: &Prepared,
        length: Span,
    ) -> Result<Arc<Calibration>, String> {
        let why = match prepared.calibrations.get(length) {
            Ok(calibration) => return Ok(calibration.clone()),
            Err(why) => why,
        };
        let learned = self.learned.get(&version.map(str::to_owned));
        if let Some(calibration) = learned.and_then(|learned| learned.calibration(prepared, length)) {
            return Ok(Arc::clone(calibration));
        }
        let progress = match learned {
            Some(learned) => learned.progress(plan, length),
            None => Learned::default().progress(plan, length),
        };
        Err(progress.unwrap_or_else(|| no_reference(why)))
    }

    /// Learns what is usual from the windows of each version.
    fn learn(
        &mut self,
        plan: &ModelPlan,
        window: WindowId,
        verdicts: &[Verdict],
        baselines: &[Arc<Prepared>],
        evidence: Vec<CellEvidence>,
        commit: &mut Commit,
    ) {
        if plan.settings.verdict.learn.is_none() {
            return;
        }
        let tested = verdicts.iter().zip(baselines).filter(|(verdict, _)| verdict.p_value.is_some());
        let mut versions: BTreeMap<&Option<String>, (&Arc<Prepared>, Vec<CellEvidence>)> = BTreeMap::new();
        for ((verdict, prepared), cell) in tested.zip(evidence) {
            versions.entry(&verdict.version).or_insert((prepared, Vec::new())).1.push(cell);
        }
        for (version, (prepared, cells)) in versions {
            // Where versions share a baseline their number is up to the events.
            let is_known = self.learned.contains_key(version);
            if !is_known && self.learned.len() >= plan.settings.versions_max {
                continue;
            }
            let learned = self.learned.entry(version.clone()).or_default();
            commit.learned.extend(learned.learn(plan, prepared, window, &cells).map(|learned| {
                LearnedWindow {
                    model: plan.settings.name.clone(),
                    version: version.clone(),
                    baseline: prepared.id.clone(),
                    length: window.length,
                    window: learned,
                }
            }));
        }
    }

    /// Adds up the panes of a window: for each version all rows together, then each segment.
    fn merge(&self, window: WindowId) -> BTreeMap<Cell, Merged> {
        let mut merged: BTreeMap<Cell, Merged> = BTreeMap::new();
        for (&start, cells) in self.panes.range(window.start()..window.end) {
            let fresh = !window.is_sliding() || start >= window.end - window.slide;
            for (cell, pane) in cells {
                let Some(summary) = pane.summary() else { continue };
                let all = Cell { version: cell.version.clone(), segment: None };
                add(&mut merged, all, pane, &summary, fresh);
                if cell.segment.is_some() {
                    add(&mut merged, cell.clone(), pane, &summary, fresh);
                }
            }
        }
        merged
    }

    /// Drops panes that every window has closed over, and encodes those that only wait for longer windows.
    fn rest_panes(&mut self, plan: &ModelPlan, up_to: Timestamp, commit: &mut Commit) {
        while let Some(entry) = self.panes.first_entry() {
            if !plan.cut.is_done(*entry.key(), up_to) {
                break;
            }
            let start = *entry.key();
            let cells = entry.remove();
            commit.panes_dropped.extend(cells.keys().map(|cell| cell.key(&plan.settings.name, start)));
        }
        for (&start, cells) in &mut self.panes {
            if plan.cut.first_end(start) > up_to {
                break;
            }
            for pane in cells.values_mut() {
                if let Counts::Ready(summary) = &pane.counts {
                    pane.counts = Counts::Encoded(summary.encode());
                }
            }
        }
    }
}

/// The bars of a closing window's cells, in their order.
struct Bars {
    cells: Vec<Bar>,
    /// The window's share of the budget.
    share: f64,
}

/// What a cell has to reach for an alarm.
struct Bar {
    alpha: f64,
    ranking: Option<(Arc<Calibration>, f64)>,
    note: Option<String>,
}

/// What the cells of one version share.
struct OfVersion {
    usual: Result<Arc<Calibration>, String>,
    /// Cells with rows enough to be tested.
    cells: u32,
    /// Whether one of them has no reference windows.
    has_gaps: bool,
}

impl OfVersion {
    fn covers(&self, cell: &Cell) -> bool {
        self.usual.as_ref().is_ok_and(|usual| usual.covers(cell.segment.as_deref()))
    }
}

/// The part of a ranked window's share that is kept for what reference windows do not know.
const KEPT_FOR_GAPS: f64 = 0.1;

impl Bar {
    /// The bar of a cell, from its version's shares of a window and of a block.
    fn new(cell: &Cell, of: &OfVersion, share: f64, block_share: f64) -> Self {
        let cells = f64::from(of.cells.max(1));
        let usual = match &of.usual {
            Ok(usual) => usual,
            Err(why) => return Self::independent(share / cells, why.clone()),
        };
        let has_gaps = of.has_gaps || usual.has_gaps();
        let block_alpha = if has_gaps { block_share * (1.0 - KEPT_FOR_GAPS) } else { block_share };
        let standing = usual.standing(block_alpha);
        let kept = if has_gaps { share * KEPT_FOR_GAPS / cells } else { 0.0 };
        let alpha = if standing.calibrated { kept } else { share / cells };
        if !of.covers(cell) {
            return Self::independent(alpha, format!("no reference window has this segment; {UNCALIBRATED}"));
        }
        let note = (!standing.calibrated).then(|| shortage(&standing, block_alpha));
        Self { alpha, ranking: Some((Arc::clone(usual), block_alpha)), note }
    }

    fn independent(alpha: f64, note: String) -> Self {
        Self { alpha, ranking: None, note: Some(note) }
    }

    /// The level of an online procedure. What it tests is the p-value for independent rows.
    fn of_procedure(procedure: &OnlineFdr) -> Self {
        let note = format!(
            "alarms are those of `{}`: a share of at most {} of them is false if p-values are independent; \
             no budget holds",
            procedure.procedure().name,
            procedure.alpha()
        );
        Self::independent(procedure.level(), note)
    }

    fn with_void(self, void: Option<String>) -> Self {
        Self { note: self.note.or(void), ..self }
    }

    fn decide(&self, prepared: &Prepared, sample: WindowSample<'_>, settings: &verdict::Settings) -> Decided {
        let profile = prepared.calibrations.profile(sample.segment, sample.start, sample.end);
        let segment = sample.segment.and_then(|segment| prepared.baseline.segment(segment));
        let measure = Measure {
            reference: profile.as_ref().or(segment.map(|segment| &segment.total)),
            alpha: self.alpha,
            ranking: self.ranking.as_ref().map(|(calibration, alpha)| (&**calibration, *alpha)),
            note: self.note.as_deref(),
        };
        decide_by(&prepared.baseline, sample, settings, measure)
    }
}

impl Pane {
    /// The counts. `None` only if bytes that this process encoded itself do not decode.
    fn summary(&self) -> Option<Cow<'_, ModelSummary>> {
        match &self.counts {
            Counts::Ready(summary) => Some(Cow::Borrowed(summary)),
            Counts::Encoded(bytes) => ModelSummary::decode(bytes).ok().map(Cow::Owned),
        }
    }
}

fn add(merged: &mut BTreeMap<Cell, Merged>, cell: Cell, pane: &Pane, summary: &ModelSummary, fresh: bool) {
    match merged.get_mut(&cell) {
        // Panes of one version are always counted on one baseline: `Pane::add` and `restore` see to it.
        Some(sum) => {
            if sum.summary.merge(summary).is_ok() {
                sum.fresh |= fresh;
            }
        }
        None => {
            let merged_cell =
                Merged { prepared: Arc::clone(&pane.prepared), summary: summary.clone(), fresh };
            merged.insert(cell, merged_cell);
        }
    }
}

fn closed(
    key: WindowKey,
    window: WindowId,
    merged: &Merged,
    config: &str,
    positions: &[(String, i64)],
    watermark: Timestamp,
    verdict: Verdict,
) -> ClosedWindow {
    let summary = &merged.summary;
    let columns = merged
        .prepared
        .baseline
        .columns
        .iter()
        .zip(&summary.columns)
        .map(|(column, counts)| (column.spec.name.to_string(), counts.values(), *counts.anomalies()))
        .collect();
    let quantile = |quantile| summary.latency.quantile_ms(quantile);
    let latency_ms = match (quantile(0.5), quantile(0.9), quantile(0.99), quantile(1.0)) {
        (Some(p50), Some(p90), Some(p99), Some(max)) => Some([p50, p90, p99, max]),
        _ => None,
    };
    ClosedWindow {
        key,
        end: window.end,
        rows: summary.rows,
        columns,
        latency_ms,
        baseline: merged.prepared.id.clone(),
        config: config.to_owned(),
        positions: positions.to_vec(),
        watermark,
        verdict,
    }
}

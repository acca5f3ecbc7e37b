//! What happens when windows are complete: merge, test, decide, step the incident, drop what is done.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Cell, ClosedWindow, Commit, Counts, Model, ModelPlan, Pane, Prepared, WindowKey};
use crate::event::Timestamp;
use crate::incident::{Closing, Evidence};
use crate::summary::ModelSummary;
use crate::verdict::{Verdict, WindowSample, alpha_per_window, decide};
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
        let alpha = alpha_per_window(settings.verdict.budget, window.slide, plan.cut.lengths());
        // Versions and segments of one window share its part of the budget.
        let alpha = alpha / tested.len().max(1) as f64;
        let mut verdicts: Vec<Verdict> = Vec::with_capacity(tested.len());
        let mut baselines = Vec::with_capacity(tested.len());
        for (cell, merged) in tested {
            let sample = WindowSample {
                model: &settings.name,
                version: cell.version.as_deref(),
                segment: cell.segment.as_deref(),
                start: window.start(),
                end: window.end,
                summary: &merged.summary,
            };
            let verdict = decide(&merged.prepared.baseline, sample, &settings.verdict, alpha);
            verdicts.push(verdict.clone());
            baselines.push(merged.prepared.id.clone());
            let key = WindowKey {
                model: settings.name.clone(),
                version: cell.version,
                segment: cell.segment,
                start: window.start(),
                length: window.length,
            };
            commit.windows.push(closed(key, window, &merged, config, positions, watermark, verdict));
        }
        let evidence = Evidence { baselines: &baselines, config, positions };
        let closing = Closing { length: window.length, end: window.end, verdicts: &verdicts, evidence };
        let outcome = self.memory.incident.step(&closing, &settings.incident);
        commit.transitions.extend(outcome.transitions);
        commit.outbox.extend(outcome.notifications);
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

//! Learning what is usual from the first weeks of a version in production, where the training rows do not say.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{LearnedWindow, ModelPlan, Prepared};
use crate::event::{Span, Timestamp};
use crate::verdict::{
    BLOCKS_MIN, ByLength, COLLECTED_MAX, Calibration, CellEvidence, ReferenceWindow, Season, Source,
    Standing, UNCALIBRATED, alpha_per_block, blocks_needed,
};
use crate::window::WindowId;

/// All rows and so many segments are learned of each window; further segments are not ranked.
const CELLS_MAX: usize = 20;

/// Bytes of evidence that are learned of one version; further windows are not.
const BYTES_MAX: usize = 64 << 20;

/// What was learned of one version.
#[derive(Debug, Default)]
pub(super) struct Learned {
    /// Start of the first learned window.
    from: Option<Timestamp>,
    /// The baseline they were compared with.
    baseline: String,
    windows: ByLength,
    /// What they take, roughly.
    bytes: usize,
    /// Once learning is over.
    calibrations: BTreeMap<Span, Option<Arc<Calibration>>>,
}

impl Learned {
    /// Takes back what was learned before a restart.
    pub(super) fn recall(&mut self, learned: LearnedWindow) {
        self.start(&learned.baseline);
        // The first to close, as before the restart: a longer window that closed later may have begun earlier.
        self.from.get_or_insert(learned.window.start);
        self.bytes += bytes(&learned.window);
        self.windows.entry(learned.length).or_default().push(learned.window);
    }

    /// Forgets what was compared with another baseline.
    fn start(&mut self, baseline: &str) {
        if self.baseline != baseline {
            *self = Self { baseline: baseline.to_owned(), ..Self::default() };
        }
    }

    /// Learns from a window that has closed, if it is one of the first weeks. `None` if it is not.
    pub(super) fn learn(
        &mut self,
        plan: &ModelPlan,
        prepared: &Prepared,
        window: WindowId,
        cells: &[CellEvidence],
    ) -> Option<ReferenceWindow> {
        let learn = plan.settings.verdict.learn?;
        let has_whole = cells.iter().any(|cell| cell.segment.is_none());
        if prepared.calibrations.get(window.length).is_ok() || !has_whole {
            return None;
        }
        self.start(&prepared.id);
        let from = *self.from.get_or_insert(window.start());
        if window.end > from + learn {
            return None;
        }
        let cells = cells.iter().take(CELLS_MAX).cloned().collect();
        let learned = ReferenceWindow { start: window.start(), end: window.end, cells };
        let held = self.windows.entry(window.length).or_default();
        if held.len() >= COLLECTED_MAX || self.bytes >= BYTES_MAX {
            return None;
        }
        self.bytes += bytes(&learned);
        held.push(learned.clone());
        Some(learned)
    }

    /// Makes the calibrations of a length once learning is over at `end`.
    pub(super) fn conclude(&mut self, plan: &ModelPlan, length: Span, end: Timestamp) {
        let Some(learn) = plan.settings.verdict.learn else { return };
        let is_over = self.from.is_some_and(|from| end > from + learn);
        if !is_over || self.calibrations.contains_key(&length) {
            return;
        }
        let season = Season::named(plan.settings.verdict.season);
        // They have served; the store keeps them for the next start.
        let windows = self.windows.remove(&length).unwrap_or_default();
        let calibration = Calibration::new(&windows, length, season, Source::Learned);
        self.calibrations.insert(length, calibration.map(Arc::new));
    }

    /// What was learned of a length, once it is over.
    pub(super) fn calibration(&self, prepared: &Prepared, length: Span) -> Option<&Arc<Calibration>> {
        let is_its = self.baseline == prepared.id;
        self.calibrations.get(&length).filter(|_| is_its)?.as_ref()
    }

    /// Why windows of this length are not ranked yet, and when they will be.
    pub(super) fn progress(&self, plan: &ModelPlan, length: Span) -> Option<String> {
        let learn = plan.settings.verdict.learn?;
        let Some(from) = self.from else {
            return Some(format!("learning what is usual takes {learn} from the first window on"));
        };
        let alpha = alpha_per_block(plan.settings.verdict.budget, length, plan.settings.budget_parts());
        let needed = blocks_needed(alpha, 0.0) as i64;
        let span = Span::from_micros(length.as_micros().saturating_mul(needed));
        let until = from + learn;
        if self.calibrations.contains_key(&length) {
            return Some(format!(
                "what is usual was learned until {until}, from fewer than {BLOCKS_MIN} windows of {length} with \
                 enough rows; learn longer, or build the baseline with a timestamp column; {UNCALIBRATED}"
            ));
        }
        Some(if span > learn {
            format!(
                "learning what is usual until {until}, which is too short for this budget: windows of {length} need `learn = \"{}\"` or more",
                days(span)
            )
        } else {
            format!("learning what is usual until {until}, when windows of {length} will be calibrated")
        })
    }
}

fn bytes(window: &ReferenceWindow) -> usize {
    let evidence: usize = window.cells.iter().map(|cell| cell.evidence.len()).sum();
    evidence * size_of::<Option<crate::verdict::Evidence>>()
}

/// Whole days, rounded up, or the span itself if it is shorter.
fn days(span: Span) -> Span {
    let day = Span::from_secs(86_400);
    if span <= day {
        return span;
    }
    let days =
        span.as_micros().div_euclid(day.as_micros()) + i64::from(span.as_micros() % day.as_micros() != 0);
    Span::from_micros(day.as_micros().saturating_mul(days))
}

/// Why a calibration cannot carry the promise, and what would mend it.
pub fn shortage(standing: &Standing, alpha: f64) -> String {
    let Standing { blocks, effective, autocorrelation, block, .. } = standing;
    let needed = blocks_needed(alpha, *autocorrelation);
    // As many times the reference's time, for some of its windows may have had too few rows.
    let times = needed / (*blocks).max(1) as f64;
    let span = Span::from_micros(((standing.to - standing.from).as_micros() as f64 * times) as i64);
    format!(
        "the budget needs {needed:.0} reference windows of {block}, there are {blocks}, worth {effective:.1} \
         (lag-1 autocorrelation {autocorrelation:.2}). Until then rows are taken as independent, and an alarm must \
         also be above all of them, which about one quiet window in {:.0} is. {} of reference rows would calibrate \
         it, or fewer lengths of window, or a larger budget",
        effective + 1.0,
        days(span)
    )
}

//! What a measured window means: worse than the reference windows allow, or beyond the operator's limits.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::follow::Merged;
use super::measure::{MeasuredWindow, Measuring};
use crate::drift::EffectUnit;
use crate::event::{ColumnKind, Role, Span};
use crate::incident::{Cause, PerformanceEvidence};
use crate::monitor::Cell;
use crate::monitor::learn::shortage;
use crate::monitor::plan::ModelPlan;
use crate::performance::counts::{Shortfall, shortfall};
use crate::performance::{Bound, Limit, Maturity, Measured, MetricReading, Settings, better_of};
use crate::verdict::{
    Calibration, CellEvidence, ColumnVerdict, Evidence, Ranked, UNCALIBRATED, Verdict, alpha_per_block,
    alpha_per_window, clear_level,
};

/// A change of a share (an area, an F-measure, a rate) below this does not matter, however certain it is.
const SHARE_FLOOR: f64 = 0.005;

/// A change of an error below this share of its value in the training data does not matter.
const ERROR_FLOOR: f64 = 0.02;

/// How high the bar of a window is: its share of the budget, and among how many it is shared.
pub(super) struct Bars {
    share: f64,
    block_share: f64,
    versions: f64,
    cells: BTreeMap<Option<String>, f64>,
}

impl Bars {
    /// The bars of a window: versions share its part of the budget evenly, and so do the segments of each.
    pub(super) fn new(
        plan: &ModelPlan,
        settings: &Settings,
        (slide, length): (Span, Span),
        merged: &BTreeMap<Cell, Merged>,
    ) -> Self {
        let (budget, parts) = (plan.settings.verdict.budget, plan.settings.budget_parts());
        let mut cells: BTreeMap<Option<String>, f64> = BTreeMap::new();
        for (cell, merged) in merged {
            // What cannot be judged needs no share.
            let reference = merged.prepared.performance.as_ref();
            let is_known = reference.is_none_or(|reference| reference.knows(cell.segment.as_deref()));
            if is_known && merged.predictions() >= settings.labels_min {
                *cells.entry(cell.version.clone()).or_default() += 1.0;
            }
        }
        Self {
            share: alpha_per_window(budget, slide, parts),
            block_share: alpha_per_block(budget, length, parts),
            versions: (cells.len().max(1)) as f64,
            cells,
        }
    }

    /// The window's share of the budget.
    pub(super) fn share(&self) -> f64 {
        self.share
    }

    /// What a segment has of its version's share; all rows together have half of it if there are segments.
    fn of(&self, cell: &Cell) -> (f64, f64) {
        let segments = self.cells.get(&cell.version).map_or(0.0, |cells| (cells - 1.0).max(0.0));
        let part = match (&cell.segment, segments) {
            (None, 0.0) => 1.0,
            (None, _) => 0.5,
            (Some(_), segments) => 0.5 / segments.max(1.0),
        };
        (self.share / self.versions * part, self.block_share / self.versions * part)
    }
}

/// A verdict with what made it an alarm.
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    pub(super) cause: Option<Cause>,
}

/// Judges a window, once its labels are complete or while its value is surely beyond a limit; `None` when
/// there is nothing to judge yet.
pub(super) fn judge(
    measuring: &Measuring<'_>,
    measured: &MeasuredWindow,
    bars: &Bars,
    model: &str,
    cell: &Cell,
    (length, void): (Span, Option<String>),
) -> Option<Judged> {
    let settings = measuring.settings;
    let is_mature = measuring.is_ready && measured.reading.maturity == Maturity::Mature;
    let broken = broken_limit(settings, measured);
    if !is_mature && broken.is_none() {
        return None;
    }
    let enough = measured.reading.labels >= settings.labels_min;
    let reference = measuring.reference.rows(measuring.segment);
    // A segment that the training rows do not have may differ from all of them and still be as ever.
    let is_known = measuring.reference.knows(measuring.segment);
    let of_reference = reference.metrics.iter().find(|metric| metric.metric == settings.metric);
    let shortfall = measured
        .realised
        .as_ref()
        .zip(of_reference)
        .filter(|_| enough && is_mature && is_known)
        .and_then(|(now, before)| shortfall(now, before));
    let calibration = match measuring.reference.calibrations.get(&length) {
        Some(Ok(calibration)) if cell.segment.is_none() => Ok(calibration),
        Some(Err(why)) if cell.segment.is_none() => Err(why.clone()),
        _ => Err(format!("reference windows are of all rows together; {UNCALIBRATED}")),
    };
    let says = shortfall.map(|shortfall| {
        let size =
            Evidence::of_log_p(shortfall.log_p_value, measured.reading.labels, reference.summary.labels);
        // Ranks need no variance; the rule for independent rows does, and days may differ by more than chance.
        let between = measuring.reference.variances.get(&length).copied().unwrap_or(0.0);
        let better = better_of(settings.task, &settings.metric);
        let shortfall = shortfall.with_days_that_differ(better, between);
        Says::of(&shortfall, size, measuring, bars.of(cell), calibration.clone(), of_reference)
    });
    let note = match (&says, enough, &void) {
        (_, false, _) => Some(format!(
            "{} labels: windows with fewer than {} are not judged",
            measured.reading.labels, settings.labels_min
        )),
        (Some(says), _, None) => says.note.clone(),
        (Some(says), _, Some(void)) => Some(says.note.clone().unwrap_or_else(|| void.clone())),
        (None, _, _) if !is_known => Some("the training rows do not have this segment".to_owned()),
        (None, _, _) => Some("the metric cannot be compared with the training data".to_owned()),
    };
    // Where the headline cannot be compared, the operator's limits alone say that all is well.
    let limits_hold = is_mature && enough && broken.is_none() && !settings.limits.is_empty();
    let alarm_by_rank = says.as_ref().is_some_and(|says| says.alarm);
    let alarm = alarm_by_rank || broken.is_some();
    let calibrated = says.as_ref().is_some_and(|says| says.calibrated) && note.is_none() || broken.is_some();
    let cause = match (&broken, alarm_by_rank) {
        (Some((_, limit)), _) => Some(Cause::Limit(*limit)),
        (None, true) => Some(Cause::Reference),
        (None, false) => None,
    };
    let verdict = Verdict {
        model: model.to_owned(),
        version: cell.version.clone(),
        segment: cell.segment.clone(),
        window_start: measuring.start,
        window_end: measuring.end,
        n: measured.reading.labels,
        alarm,
        quiet: !alarm && says.as_ref().map_or(limits_hold, |says| says.quiet),
        calibrated,
        calibration_note: if calibrated { None } else { note },
        p_value: says.as_ref().map(|says| says.p_value).or(limits_hold.then_some(1.0)),
        alpha: says.as_ref().map_or(0.0, |says| says.alpha),
        ranked: says.and_then(|says| says.ranked),
        features: vec![column(
            measured,
            (settings, reference.summary.labels),
            &broken,
            shortfall.as_ref(),
            alarm,
        )],
    };
    Some(Judged { verdict, cause })
}

/// The first of the operator's limits that is broken: by the value once labels are complete, before by its
/// whole interval.
fn broken_limit(settings: &Settings, measured: &MeasuredWindow) -> Option<(String, f64)> {
    let is_broken = |limit: &&Limit| {
        let Some(reading) = measured.reading.metric(&limit.metric) else { return false };
        let ends = match measured.reading.maturity {
            Maturity::Mature => [reading.value; 2],
            Maturity::Provisional => [reading.low, reading.high],
            Maturity::Waiting => [None; 2],
        };
        let enough = measured.reading.labels >= settings.labels_min;
        enough && ends.iter().all(|end| end.is_some_and(|end| limit.bound.is_broken_by(end)))
    };
    let limit = settings.limits.iter().find(is_broken)?;
    let (Bound::Below(number) | Bound::Above(number)) = limit.bound;
    Some((limit.metric.clone(), number))
}

/// What the headline metric says.
struct Says {
    alarm: bool,
    quiet: bool,
    calibrated: bool,
    p_value: f64,
    alpha: f64,
    ranked: Option<Ranked>,
    note: Option<String>,
}

impl Says {
    fn of(
        shortfall: &Shortfall,
        evidence: Evidence,
        measuring: &Measuring<'_>,
        (alpha, block_alpha): (f64, f64),
        calibration: Result<&Arc<Calibration>, String>,
        reference: Option<&Measured>,
    ) -> Self {
        let p_value = shortfall.log_p_value.exp();
        let matters = shortfall.worse_by >= floor(measuring.settings, reference);
        let independent_alarm = matters && p_value <= alpha;
        let independent_quiet = !matters || p_value > clear_level(alpha);
        let ranked = calibration.as_ref().ok().and_then(|calibration| {
            let cell = CellEvidence { segment: None, evidence: vec![Some(evidence)] };
            let statistic = calibration.statistic(&cell, measuring.start)?;
            let standing = calibration.standing(block_alpha);
            Some(Ranked { statistic, p_value: calibration.rank(statistic), alpha: block_alpha, standing })
        });
        let Some(ranked) = ranked else {
            return Self {
                alarm: independent_alarm,
                quiet: independent_quiet && !independent_alarm,
                calibrated: false,
                p_value,
                alpha,
                ranked: None,
                note: Some(calibration.err().unwrap_or_else(|| UNCALIBRATED.to_owned())),
            };
        };
        let is_above = matters && ranked.statistic > ranked.standing.threshold;
        let calibrated = ranked.standing.calibrated;
        let alarm = is_above && (calibrated || independent_alarm);
        let is_common = !matters || ranked.p_value > clear_level(block_alpha);
        Self {
            alarm,
            quiet: !alarm && (is_common || (!calibrated && independent_quiet)),
            calibrated,
            p_value: if calibrated { ranked.p_value } else { p_value },
            alpha: if calibrated { block_alpha } else { alpha },
            note: (!calibrated).then(|| shortage(&ranked.standing, block_alpha)),
            ranked: Some(ranked),
        }
    }
}

/// The smallest change that may alarm.
fn floor(settings: &Settings, reference: Option<&Measured>) -> f64 {
    let value =
        reference.and_then(|metric| metric.outcome.as_ref().ok()).map_or(0.0, |value| value.value.abs());
    match better_of(settings.task, &settings.metric) {
        crate::performance::Better::Higher => SHARE_FLOOR,
        _ => ERROR_FLOOR * value,
    }
}

/// The metric that spoke, as a column of the verdict.
fn column(
    measured: &MeasuredWindow,
    (settings, reference_n): (&Settings, u64),
    broken: &Option<(String, f64)>,
    shortfall: Option<&Shortfall>,
    alarm: bool,
) -> ColumnVerdict {
    let name = broken.as_ref().map_or(&settings.metric, |(metric, _)| metric);
    let reading = measured.reading.metric(name);
    let value = reading.and_then(|reading| reading.value);
    let reference = reading.and_then(|reading| reading.reference);
    let moved = value.zip(reference).map_or(0.0, |(now, before)| {
        let change = (now - before).abs();
        if before.abs() > 1.0 { change / before.abs() } else { change }
    });
    ColumnVerdict {
        name: name.as_str().into(),
        role: Role::Prediction,
        kind: ColumnKind::Numeric,
        alarm,
        p_value: shortfall.map(|shortfall| shortfall.log_p_value.exp()),
        test: Some(if broken.is_some() { "limit" } else { "shortfall" }.to_owned()),
        statistic: value,
        effect: shortfall.map(|shortfall| shortfall.worse_by),
        effect_unit: shortfall
            .map(|_| EffectUnit::Rate)
            .filter(|_| reference.is_some_and(|r| r.abs() <= 1.0)),
        ratio: None,
        moved: moved.min(1.0),
        summary: reading.map(words),
        reference_n,
        current_n: measured.reading.labels,
        tests: Vec::new(),
    }
}

/// The value with its interval and the training value.
fn words(reading: &MetricReading) -> String {
    let number = |value: f64| format!("{value:.4}");
    let value = reading.value.map_or_else(|| "no value".to_owned(), number);
    let interval = match (reading.low, reading.high) {
        (Some(low), Some(high)) => format!(" ({} to {})", number(low), number(high)),
        _ => String::new(),
    };
    let reference = reading
        .reference
        .map_or_else(String::new, |reference| format!(", {} in training", number(reference)));
    format!("{value}{interval}{reference}")
}

impl MeasuredWindow {
    /// What an incident tells of the window.
    pub(super) fn evidence(&self, measuring: &Measuring<'_>, judged: Option<&Judged>) -> PerformanceEvidence {
        let spoke = judged.and_then(|judged| judged.verdict.features.first()).map(|column| &*column.name);
        let name = spoke.unwrap_or(&measuring.settings.metric);
        let metric = self.reading.metric(name).cloned().unwrap_or_else(|| MetricReading {
            metric: name.to_owned(),
            value: None,
            low: None,
            high: None,
            n: 0,
            bound: 0.0,
            status: "not_applicable".to_owned(),
            detail: None,
            reference: None,
            estimate: None,
            estimate_holds: None,
        });
        PerformanceEvidence {
            window_start: measuring.start,
            window_end: measuring.end,
            metric,
            cause: judged.and_then(|judged| judged.cause),
            predictions: self.reading.predictions,
            labels: self.reading.labels,
            coverage: self.reading.coverage,
            maturity: self.reading.maturity,
            split: self.reading.split.clone(),
            money: self.reading.money.clone(),
        }
    }
}

//! What windows of outcomes are compared with: the training rows' outcomes, made ready once.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::baseline::{Baseline, Outcomes as Reference};
use crate::event::{Span, Timestamp};
use crate::performance::counts::{self, Outcomes, measure_one, shortfall};
use crate::performance::estimate::{Cbpe, PriorReference, Strata, Stratum};
use crate::performance::value::{CostMatrix, Costs, UnitCosts, ValueSettings};
use crate::performance::{Mean, Measured, Settings, Value};
use crate::summary::outcome::{BinaryShape, ErrorSum, OutcomeShape, OutcomeSummary, Sum, Task};
use crate::verdict::{Calibration, CellEvidence, Evidence, ReferenceWindow, Source};
use crate::window::{self, WindowSettings};

use super::cut_of;
use super::measure::cost_of;
use super::shift::OnGrid;

/// The training rows of one segment, or all of them.
#[derive(Debug)]
pub struct ReferenceRows {
    /// Their counts.
    pub summary: OutcomeSummary,
    /// Every metric of them.
    pub metrics: Vec<Measured>,
    /// Their mean cost, if the operator says what mistakes cost.
    pub cost: Option<Mean>,
}

/// The reference of a baseline's performance.
#[derive(Debug)]
pub struct PerformanceReference {
    /// What outcomes are counted on.
    pub shape: OutcomeShape,
    /// All training rows.
    pub all: ReferenceRows,
    /// The training rows of each segment.
    pub segments: BTreeMap<String, ReferenceRows>,
    /// What scores mean, for two classes.
    pub cbpe: Option<Cbpe>,
    /// The score of each bin that `cbpe` knows.
    pub scores: Vec<f64>,
    /// The same on the grid of the score column, for windows of features.
    pub(super) on_grid: Option<OnGrid>,
    /// How common decisions and classes are together, for two classes.
    pub prior: Option<PriorReference>,
    /// Losses by stratum for numbers: of the mean absolute and of the mean squared error.
    pub losses: Option<[Strata; 2]>,
    /// What mistakes cost.
    pub value: Option<ValueSettings>,
    /// By window length, what is usual of the headline metric; or why that is not known.
    pub calibrations: BTreeMap<Span, Result<Arc<Calibration>, String>>,
}

impl PerformanceReference {
    /// Measures the training rows and ranks their windows; `None` when the baseline has no outcomes.
    pub fn new(baseline: &Baseline, settings: &Settings, windows: &window::Settings) -> Option<Self> {
        let outcomes = baseline.outcomes.as_ref()?;
        let shape = outcomes.shape.clone();
        let value = settings.value.as_ref().and_then(|value| prices(value, &shape));
        let rows = |summary: &OutcomeSummary| ReferenceRows {
            metrics: counts::measure(&Outcomes::of(&shape, summary)),
            cost: value.as_ref().and_then(|value| cost_of(&shape, summary, &value.costs, value.amounts).ok()),
            summary: summary.clone(),
        };
        let (cbpe, scores, prior) = match &shape {
            OutcomeShape::Binary(binary) if binary.scored => of_scores(binary, &outcomes.total),
            _ => (None, Vec::new(), None),
        };
        let calibrations = settings
            .windows
            .iter()
            .map(|window| (window.length, calibrate(outcomes, settings, *window, windows)))
            .collect();
        Some(Self {
            all: rows(&outcomes.total),
            segments: outcomes.segments.iter().map(|(name, summary)| (name.clone(), rows(summary))).collect(),
            cbpe,
            on_grid: OnGrid::new(baseline, outcomes, &scores),
            scores,
            prior,
            losses: losses(&shape, &outcomes.total),
            value,
            calibrations,
            shape,
        })
    }

    /// The training rows that a segment is compared with: its own, or else all.
    pub fn rows(&self, segment: Option<&str>) -> &ReferenceRows {
        segment.and_then(|segment| self.segments.get(segment)).unwrap_or(&self.all)
    }
}

/// What the operator says of money, as far as it is about this task.
fn prices(value: &Value, shape: &OutcomeShape) -> Option<ValueSettings> {
    let costs = match shape.task() {
        Task::Binary | Task::Multiclass => Costs::Decisions(CostMatrix::new(&value.costs).ok()?),
        Task::Regression => Costs::Errors(UnitCosts { over: value.over, under: value.under }),
        Task::Ranking => return None,
    };
    let settings = ValueSettings {
        costs,
        amounts: value.amount.is_some(),
        currency: value.currency.clone(),
        retrain_cost: value.retrain_cost,
        retrain_risk: value.retrain_risk,
        horizon: value.horizon,
    };
    settings.validate().is_ok().then_some(settings)
}

/// What scores mean in the training rows, the score of each bin, and how decisions and classes go together.
fn of_scores(
    shape: &BinaryShape,
    total: &OutcomeSummary,
) -> (Option<Cbpe>, Vec<f64>, Option<PriorReference>) {
    let scores = bin_scores(shape);
    let (positives, negatives) = counts::class_counts(shape, total);
    let cbpe = Cbpe::from_counts(&scores, &positives, &negatives).ok();
    let at = |decision, truth| {
        (0..shape.bins()).map(|bin| total.outcomes.get(shape.outcome_at(bin, decision, truth))).sum()
    };
    let table: Vec<Vec<u64>> =
        (0..2).map(|decision| (0..2).map(|truth| at(decision, truth)).collect()).collect();
    (cbpe, scores, PriorReference::from_table(&table).ok())
}

/// The middle of each bin; of the open ones at the ends their edge.
pub(super) fn bin_scores(shape: &BinaryShape) -> Vec<f64> {
    let edges = shape.edges();
    let middle = |pair: &[f64]| match pair {
        [low, high] => f64::midpoint(*low, *high),
        _ => 0.0,
    };
    let inner = edges.windows(2).map(middle);
    edges.first().copied().into_iter().chain(inner).chain(edges.last().copied()).collect()
}

/// Losses by stratum where numbers are predicted.
fn losses(shape: &OutcomeShape, total: &OutcomeSummary) -> Option<[Strata; 2]> {
    let OutcomeShape::Regression(shape) = shape else { return None };
    let table = |sum: ErrorSum, squares: ErrorSum, power: i32| {
        let at = |stratum, sum| Sum::decode(total.sums.get(shape.sum_at(stratum, sum)).copied().unwrap_or(0));
        let of = |stratum: usize| Stratum {
            rows: total.outcomes.get(shape.outcome_at(stratum)),
            sum: at(stratum, sum) * shape.scale.powi(power),
            squares: at(stratum, squares) * shape.scale.powi(2 * power),
        };
        Strata::new((0..crate::summary::outcome::STRATA).map(of).collect()).ok()
    };
    Some([table(ErrorSum::Absolute, ErrorSum::Squared, 1)?, table(ErrorSum::Squared, ErrorSum::Fourth, 2)?])
}

/// Ranks the training rows' windows of one length by how much worse each is than the others.
fn calibrate(
    outcomes: &Reference,
    settings: &Settings,
    window: WindowSettings,
    windows: &window::Settings,
) -> Result<Arc<Calibration>, String> {
    if outcomes.panes_len() == 0 {
        return Err("the training rows have no time, so there are no reference windows".to_owned());
    }
    let found = reference_windows(outcomes, settings, window, windows);
    let count = found.len();
    Calibration::new(&found, window.length, None, Source::Training).map(Arc::new).ok_or_else(|| {
        format!(
            "the training rows make {count} windows of {} with {} labels or more, and {} are needed",
            window.length,
            settings.labels_min,
            crate::verdict::BLOCKS_MIN
        )
    })
}

fn reference_windows(
    outcomes: &Reference,
    settings: &Settings,
    window: WindowSettings,
    windows: &window::Settings,
) -> Vec<ReferenceWindow> {
    let only = Settings { windows: vec![window], ..settings.clone() };
    let cut = cut_of(&only, windows);
    let mut panes: BTreeMap<Timestamp, OutcomeSummary> = BTreeMap::new();
    for (start, summary) in outcomes.panes() {
        let pane = panes.entry(cut.pane_of(start)).or_insert_with(|| outcomes.shape.empty());
        // Panes of one baseline have one shape.
        let _ = pane.merge(&summary);
    }
    let (Some(first), Some(last)) = (panes.keys().next().copied(), panes.keys().next_back().copied()) else {
        return Vec::new();
    };
    let closing = cut.closing(panes.keys().copied(), None, last + cut.pane());
    let evidence = |id: &crate::window::WindowId| {
        if id.start() < first {
            return None;
        }
        let mut inside = outcomes.shape.empty();
        for (_, pane) in panes.range(id.start()..id.end) {
            let _ = inside.merge(pane);
        }
        if inside.labels < settings.labels_min {
            return None;
        }
        // What a window is compared with must not hold the window itself.
        let mut others = outcomes.total.clone();
        others.subtract(&inside).ok()?;
        let of = |summary| measure_one(&Outcomes::of(&outcomes.shape, summary), &settings.metric);
        let found = shortfall(&of(&inside)?, &of(&others)?)?;
        let evidence = Evidence::of_log_p(found.log_p_value, inside.labels, others.labels);
        let cells = vec![CellEvidence { segment: None, evidence: vec![Some(evidence)] }];
        Some(ReferenceWindow { start: id.start(), end: id.end, cells })
    };
    closing.iter().filter_map(evidence).collect()
}

//! What windows of outcomes are compared with: the training rows' outcomes, made ready once.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::baseline::{Baseline, Outcomes as Reference};
use crate::event::{Span, Timestamp};
use crate::performance::counts::{self, Outcomes, Shortfall, measure_one, shortfall};
use crate::performance::estimate::{Cbpe, PriorReference, Strata, Stratum};
use crate::performance::value::{CostMatrix, Costs, UnitCosts, ValueSettings};
use crate::performance::{Mean, Measured, Settings, Value};
use crate::quality::mistakes;
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
#[doc = include_str!("figures.md")]
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
    /// How often mistakes are expected, for the watch over them.
    pub mistakes: Option<Arc<mistakes::Reference>>,
    /// What mistakes cost.
    pub value: Option<ValueSettings>,
    /// By window length, what is usual of the headline metric; or why that is not known.
    pub calibrations: BTreeMap<Span, Result<Arc<Calibration>, String>>,
    /// By how much the headline metric differs between the training rows' windows beyond what chance explains:
    /// the variance of its true values, by window length; 0 where it cannot be told.
    pub variances: BTreeMap<Span, f64>,
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
        let ranked: BTreeMap<Span, Ranked> = settings
            .windows
            .iter()
            .map(|window| (window.length, Ranked::new(outcomes, settings, *window, windows)))
            .collect();
        let variances = variances(&ranked);
        let calibrations = ranked.into_iter().map(|(length, ranked)| (length, ranked.calibration)).collect();
        Some(Self {
            all: rows(&outcomes.total),
            segments: outcomes.segments.iter().map(|(name, summary)| (name.clone(), rows(summary))).collect(),
            cbpe,
            on_grid: OnGrid::new(baseline, outcomes, &scores),
            scores,
            prior,
            losses: losses(&shape, &outcomes.total),
            mistakes: mistakes::Reference::new(
                &shape,
                &outcomes.total,
                outcomes.panes(),
                settings.windows.iter().map(|window| window.length).min().unwrap_or_default(),
                settings.labels_min,
            )
            .map(Arc::new),
            value,
            calibrations,
            variances,
            shape,
        })
    }

    /// Whether there are training rows of a segment; all rows together there always are.
    pub fn knows(&self, segment: Option<&str>) -> bool {
        segment.is_none_or(|segment| self.segments.contains_key(segment))
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

/// The score of each bin, ascending: its middle; of a bin of one value that value; of the open ones at the ends
/// the last score below their edge and the first above.
pub(super) fn bin_scores(shape: &BinaryShape) -> Vec<f64> {
    let edges = shape.edges();
    let middle = |pair: &[f64]| match pair {
        // A bin holds its upper edge. Where it holds nothing else, the middle would be rounded to a neighbour.
        [low, high] if low.next_up() >= *high => *high,
        [low, high] => f64::midpoint(*low, *high),
        _ => 0.0,
    };
    let inner = edges.windows(2).map(middle);
    let above = edges.last().map(|last| last.next_up());
    edges.first().copied().into_iter().chain(inner).chain(above).collect()
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

/// The training rows' windows of one length, ranked by how much worse each is than the others.
struct Ranked {
    calibration: Result<Arc<Calibration>, String>,
    /// Variance of the metric's true values, if there are enough windows to tell.
    variance: Option<f64>,
}

impl Ranked {
    fn new(
        outcomes: &Reference,
        settings: &Settings,
        window: WindowSettings,
        windows: &window::Settings,
    ) -> Self {
        if outcomes.panes_len() == 0 {
            let why = "the training rows have no time, so there are no reference windows".to_owned();
            return Self { calibration: Err(why), variance: None };
        }
        let (found, shortfalls): (Vec<_>, Vec<_>) =
            reference_windows(outcomes, settings, window, windows).into_iter().unzip();
        let count = found.len();
        let ranked = Calibration::new(&found, window.length, None, Source::Training).map(Arc::new);
        let variance = ranked.as_ref().and_then(|_| variance_of(&shortfalls));
        let calibration = ranked.ok_or_else(|| {
            format!(
                "the training rows make {count} windows of {} with {} labels or more, and {} are needed",
                window.length,
                settings.labels_min,
                crate::verdict::BLOCKS_MIN
            )
        });
        Self { calibration, variance }
    }
}

/// Variance of true values: what windows differ by, less what chance explains, never below 0 (the method of
/// moments: DerSimonian and Laird 1986, doi:10.1016/0197-2456(86)90046-2, with windows weighted alike).
fn variance_of(shortfalls: &[Shortfall]) -> Option<f64> {
    let beyond = |one: &Shortfall| one.worse_by * one.worse_by - one.standard_error * one.standard_error;
    let mean = shortfalls.iter().map(beyond).sum::<f64>() / shortfalls.len().max(1) as f64;
    (!shortfalls.is_empty() && mean.is_finite()).then(|| mean.max(0.0))
}

/// By window length. Where there are too few windows of a length, that of the next shorter one is taken: true
/// values of long windows differ less.
fn variances(ranked: &BTreeMap<Span, Ranked>) -> BTreeMap<Span, f64> {
    let mut last = 0.0;
    let of = |(length, ranked): (&Span, &Ranked)| {
        last = ranked.variance.unwrap_or(last);
        (*length, last)
    };
    ranked.iter().map(of).collect()
}

fn reference_windows(
    outcomes: &Reference,
    settings: &Settings,
    window: WindowSettings,
    windows: &window::Settings,
) -> Vec<(ReferenceWindow, Shortfall)> {
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
        Some((ReferenceWindow { start: id.start(), end: id.end, cells }, found))
    };
    closing.iter().filter_map(evidence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scores_of_bins_ascend_and_lie_in_their_bins() {
        // Training scores of 0, 0.3 and 1 have bins of their own, of one value each.
        let values = [0.0_f64, 0.3, 1.0];
        let grid: Vec<f64> = values.iter().flat_map(|value| [value.next_down(), *value]).collect();
        let shape = BinaryShape::new(&grid, 0.5, true, false);
        let scores = bin_scores(&shape);
        assert_eq!(scores.len(), shape.bins());
        assert!(scores.is_sorted_by(|a, b| a < b), "{scores:?}");
        for (bin, score) in scores.iter().enumerate() {
            assert_eq!(shape.bin(*score), bin, "{score}");
        }
        for value in values {
            assert_eq!(scores.get(shape.bin(value)), Some(&value));
        }
    }
}

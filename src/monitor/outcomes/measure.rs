//! From the counts of a window to a reading: metrics, estimates, the split of a change, and cost.

use super::follow::Merged;
use super::reference::PerformanceReference;
use crate::event::{Span, Timestamp};
use crate::performance::counts::{self, Outcomes};
use crate::performance::delay::{Delays, EFFECTIVE_ROWS_MIN, Labelled, Method};
use crate::performance::estimate::{Cell, ClassCell, CostCell, Estimator};
use crate::performance::split::{Side, Split, Stratum, split};
use crate::performance::value::{Basis, CellAmounts, Costs, ErrorSums, UnitCosts};
use crate::performance::{
    Estimation, Interval, Maturity, Mean, Measured, MetricReading, MetricValue, NotComputable, PriorReading,
    Ranged, Reading, Settings, SplitReading, better_of, mean_cost,
};
use crate::summary::outcome::{AmountSum, ErrorSum, OutcomeShape, OutcomeSummary, STRATA, Sum, Task};

/// What a window is measured with.
pub(super) struct Measuring<'a> {
    pub(super) settings: &'a Settings,
    pub(super) reference: &'a PerformanceReference,
    pub(super) segment: Option<&'a str>,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    /// Windows that end up to here are complete.
    pub(super) up_to: Timestamp,
    /// How fast labels come; of no use where they are all there.
    pub(super) delays: Option<&'a Delays>,
    /// Whether the window is judged now: then its segments count as complete when they are nearly so.
    pub(super) is_ready: bool,
}

/// The share of `mature_at` from which a segment is taken as complete together with all rows.
const SEGMENT_SLACK: f64 = 0.9;

/// A window, measured.
pub(super) struct MeasuredWindow {
    pub(super) reading: Reading,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    /// The headline metric as the labels have it, while they say enough.
    pub(super) realised: Option<Measured>,
    /// The headline metric as it is estimated without labels.
    pub(super) estimated: Option<Measured>,
    pub(super) split: Option<Split>,
    /// The share of class 1 among the labels, once they are as good as all there.
    pub(super) positives: Option<Mean>,
    /// The mean cost, realised if that is known.
    pub(super) cost: Option<(Mean, Basis)>,
    /// The mean cost as it is estimated, beside a realised one.
    pub(super) estimated_cost: Option<Mean>,
}

impl Measuring<'_> {
    /// Whether no label comes any more.
    pub(super) fn is_final(&self) -> bool {
        self.end + self.settings.label_delay_max <= self.up_to
    }

    fn is_mature(&self, merged: &Merged) -> bool {
        let (labels, predictions) = (merged.labels() as f64, merged.predictions() as f64);
        let slack = if self.is_ready && self.segment.is_some() { SEGMENT_SLACK } else { 1.0 };
        self.is_final() || (predictions > 0.0 && labels >= slack * self.settings.mature_at * predictions)
    }
}

/// What the predictions of a window lead to expect. It does not change as labels come.
#[derive(Debug, Clone)]
pub(super) struct Estimates {
    /// Predictions it was made from.
    predictions: u64,
    metrics: Vec<Measured>,
    prior: Option<PriorReading>,
    cost: Option<Mean>,
}

/// Estimates a window without its labels, unless `known` is that of as many predictions.
pub(super) fn expected(measuring: &Measuring<'_>, merged: &Merged, known: Option<Estimates>) -> Estimates {
    if let Some(known) = known.filter(|known| known.predictions == merged.predictions()) {
        return known;
    }
    let reference = measuring.reference;
    let total = merged.total(&reference.shape);
    let value = reference.value.as_ref();
    Estimates {
        predictions: total.predictions,
        metrics: estimate(measuring, &total),
        prior: measuring.segment.is_none().then(|| prior(reference, &total)).flatten(),
        cost: value.and_then(|value| expected_cost(reference, &total, &value.costs, value.amounts)),
    }
}

/// Measures a window of one version and segment.
pub(super) fn measure(measuring: &Measuring<'_>, merged: &Merged, expected: &Estimates) -> MeasuredWindow {
    let Measuring { settings, reference, .. } = measuring;
    let shape = &reference.shape;
    let total = merged.total(shape);
    let is_mature = measuring.is_mature(merged);
    let weighted = if is_mature { None } else { weigh(measuring, merged) };
    let (maturity, outcomes) = match weighted {
        None if is_mature => (Maturity::Mature, Outcomes::of(shape, &total)),
        Some(outcomes) if outcomes.effective() >= EFFECTIVE_ROWS_MIN => (Maturity::Provisional, outcomes),
        _ => (Maturity::Waiting, Outcomes::new(shape)),
    };
    let realised = counts::measure(&outcomes);
    let estimates = &expected.metrics;
    let of_reference = &reference.rows(measuring.segment).metrics;
    let metrics = realised.iter().map(|metric| reading_of(metric, of_reference, estimates)).collect();
    let named = |found: &[Measured]| found.iter().find(|one| one.metric == settings.metric).cloned();
    let split = (maturity == Maturity::Mature).then(|| split_of(measuring, &total)).flatten();
    let realised_cost = realised_cost(measuring, merged, &total, maturity);
    let estimated_cost = expected.cost;
    let reading = Reading {
        task: settings.task,
        headline: settings.metric.clone(),
        predictions: total.predictions,
        labels: total.labels,
        coverage: total.coverage(),
        age: measuring.up_to - measuring.end,
        maturity,
        effective_labels: (maturity == Maturity::Provisional).then(|| outcomes.effective()),
        correction: (maturity == Maturity::Provisional).then(|| correction(measuring.delays)),
        metrics,
        estimation: (!estimates.is_empty()).then(|| estimation(settings.task)).flatten(),
        prior: expected.prior.clone(),
        split: split.as_ref().map(|split| split_reading(reference, &total, split)),
        money: None,
    };
    MeasuredWindow {
        reading,
        start: measuring.start,
        end: measuring.end,
        realised: named(&realised).filter(|one| one.outcome.is_ok()),
        estimated: named(estimates).filter(|one| one.outcome.is_ok()),
        split,
        positives: (maturity == Maturity::Mature).then(|| positives(shape, &total)).flatten(),
        cost: realised_cost
            .map(|cost| (cost, Basis::Realised))
            .or(estimated_cost.map(|cost| (cost, Basis::Estimated))),
        estimated_cost,
    }
}

/// The share of the longest delay that must have been watched before weights by outcome are used: curves by
/// outcome leave out what takes longer than was watched, and of slow outcomes that is more.
const FOLLOWED_MIN: f64 = 0.5;

/// The labels that are there, weighted for those that are not; none while it is not known how long labels take.
fn weigh(measuring: &Measuring<'_>, merged: &Merged) -> Option<Outcomes> {
    let delays = measuring.delays.filter(|delays| {
        let learnt = delays.summary();
        let longest = measuring.settings.label_delay_max.as_secs_f64();
        learnt.method == Method::Stratum || learnt.follow_up.as_secs_f64() >= FOLLOWED_MIN * longest
    })?;
    let by_outcome = delays.summary().method == Method::Outcome;
    let mut outcomes = Outcomes::new(&measuring.reference.shape);
    for (start, summary) in &merged.parts {
        let age = measuring.age_of(*start, merged.pane);
        let weight = |stratum: usize, outcome: usize| {
            let weight = delays.weight(age, stratum, by_outcome.then_some(outcome));
            // Labels of an age at which others cannot have come yet would speak for those alone.
            weight.map_or(0.0, |weight| weight.weight)
        };
        outcomes.add(summary, &weight);
    }
    Some(outcomes)
}

impl Measuring<'_> {
    /// How long labels of a pane had to come, on average.
    fn age_of(&self, start: Timestamp, pane: Span) -> Span {
        (self.up_to - (start + Span::from_micros(pane.as_micros() / 2))).max(Span::ZERO)
    }
}

fn correction(delays: Option<&Delays>) -> String {
    match delays.map(|delays| delays.summary().method) {
        Some(Method::Outcome) => {
            "labels are weighted by how long those of each outcome take, because that differs".to_owned()
        }
        _ => "labels are weighted by how many of their kind have come at this age".to_owned(),
    }
}

// === metrics ===

fn reading_of(metric: &Measured, reference: &[Measured], estimates: &[Measured]) -> MetricReading {
    let value = metric.outcome.as_ref().ok();
    let of = |found: &[Measured]| -> Option<MetricValue> {
        found.iter().find(|one| one.metric == metric.metric)?.outcome.clone().ok()
    };
    let estimate = of(estimates).map(|estimate| ranged(estimate.value, estimate.interval));
    let holds = value.zip(estimate).map(|(value, estimate)| {
        estimate.low.is_none_or(|low| low <= value.value)
            && estimate.high.is_none_or(|high| value.value <= high)
    });
    MetricReading {
        metric: metric.metric.clone(),
        value: value.map(|value| value.value),
        low: value.and_then(|value| value.interval).map(|interval| interval.low),
        high: value.and_then(|value| value.interval).map(|interval| interval.high),
        n: metric.n,
        bound: value.map_or(0.0, |value| value.bound),
        status: metric.outcome.as_ref().map_or_else(NotComputable::status, |_| "ok").to_owned(),
        detail: match &metric.outcome {
            Ok(value) => value.detail.clone(),
            Err(reason) => Some(reason.to_string()),
        },
        reference: of(reference).map(|value| value.value),
        estimate,
        estimate_holds: holds,
    }
}

pub(super) fn ranged(value: f64, interval: Option<Interval>) -> Ranged {
    Ranged { value, low: interval.map(|interval| interval.low), high: interval.map(|interval| interval.high) }
}

// === estimates ===

fn estimate(measuring: &Measuring<'_>, total: &OutcomeSummary) -> Vec<Measured> {
    let reference = measuring.reference;
    match (&reference.shape, &reference.cbpe, &reference.losses) {
        (OutcomeShape::Binary(shape), Some(cbpe), _) => {
            let cells = counts::prediction_cells(shape, total);
            let cells: Vec<Cell> = reference
                .scores
                .iter()
                .zip(cells)
                .filter(|(_, predicted)| *predicted != [0, 0])
                .map(|(score, predicted)| Cell { score: *score, predicted })
                .collect();
            cbpe.estimate_binned(&cells)
        }
        (OutcomeShape::Regression(_), _, Some([absolute, squared])) => {
            let rows: Vec<u64> = total.predicted.iter().collect();
            let measured = |metric: &str, outcome: Result<MetricValue, NotComputable>| Measured {
                metric: metric.to_owned(),
                about: "estimated by the errors of like predictions in the training data",
                better: better_of(Task::Regression, metric),
                n: total.predictions,
                outcome,
            };
            vec![measured("mae", absolute.estimate(&rows)), measured("mse", squared.estimate(&rows))]
        }
        _ => Vec::new(),
    }
}

fn estimation(task: Task) -> Option<Estimation> {
    let method = match task {
        Task::Binary => "cbpe",
        Task::Regression => "dle",
        Task::Multiclass | Task::Ranking => return None,
    };
    Some(Estimation {
        method: method.to_owned(),
        assumes: Estimator::named(method)?.assumes.to_owned(),
        windows_compared: 0,
        mean_absolute_error: None,
        windows_held: 0,
        reliable: true,
    })
}

fn prior(reference: &PerformanceReference, total: &OutcomeSummary) -> Option<PriorReading> {
    let (OutcomeShape::Binary(shape), Some(prior), Some(cbpe)) =
        (&reference.shape, &reference.prior, &reference.cbpe)
    else {
        return None;
    };
    let cells = counts::prediction_cells(shape, total);
    let decided =
        [0, 1].map(|decision: usize| cells.iter().filter_map(|cell| cell.get(decision)).sum::<u64>());
    let of = |(score, cell): (&f64, &[u64; 2])| {
        let p = cbpe.probability(*score);
        ClassCell { probabilities: vec![1.0 - p, p], rows: cell.iter().sum() }
    };
    let cells: Vec<ClassCell> =
        reference.scores.iter().zip(&cells).map(of).filter(|cell| cell.rows > 0).collect();
    let shift = prior.estimate(&decided, &cells).ok()?;
    Some(PriorReading {
        method: shift.method.to_owned(),
        share: ranged(*shift.shares.get(1)?, shift.intervals.get(1).copied()),
        reference: *shift.reference.get(1)?,
    })
}

/// The share of class 1 among labelled rows, for two classes.
fn positives(shape: &OutcomeShape, total: &OutcomeSummary) -> Option<Mean> {
    let OutcomeShape::Binary(shape) = shape else { return None };
    let (ones, _) = counts::class_counts(shape, total);
    let ones = ones.iter().sum::<u64>() as f64;
    mean_cost(total.labels, ones, ones).ok()
}

// === the split of a change ===

fn split_of(measuring: &Measuring<'_>, total: &OutcomeSummary) -> Option<Split> {
    let reference = &measuring.reference.rows(measuring.segment).summary;
    let shape = &measuring.reference.shape;
    let loss = counts::loss(shape, &[total, reference]);
    let side = |counts: &counts::StratumCounts| Side {
        // Labelled rows are whole where they are not weighted.
        rows: counts.n as u64,
        loss: counts.loss_sum,
        loss_squared: counts.loss_squares,
    };
    let strata: Vec<Stratum> = counts::strata(shape, reference, loss)
        .iter()
        .zip(&counts::strata(shape, total, loss))
        .map(|(reference, now)| Stratum { group: 0, reference: side(reference), now: side(now) })
        .collect();
    split(&strata).ok()
}

fn split_reading(reference: &PerformanceReference, total: &OutcomeSummary, split: &Split) -> SplitReading {
    let of = |part: &crate::performance::split::Part| ranged(part.value, part.interval);
    SplitReading {
        loss: counts::loss(&reference.shape, &[total, &reference.all.summary]).name().to_owned(),
        total: of(&split.change),
        mix: of(&split.mix),
        concept: of(&split.concept),
        unexplained: split.unexplained.value,
    }
}

// === cost ===

fn realised_cost(
    measuring: &Measuring<'_>,
    merged: &Merged,
    total: &OutcomeSummary,
    maturity: Maturity,
) -> Option<Mean> {
    let reference = measuring.reference;
    let value = reference.value.as_ref()?;
    match maturity {
        Maturity::Mature => cost_of(&reference.shape, total, &value.costs, value.amounts).ok(),
        Maturity::Provisional => corrected_cost(measuring, merged, &value.costs, value.amounts),
        Maturity::Waiting => None,
    }
}

/// Mean cost of labelled rows.
pub(super) fn cost_of(
    shape: &OutcomeShape,
    summary: &OutcomeSummary,
    costs: &Costs,
    amounts: bool,
) -> Result<Mean, NotComputable> {
    match (costs, shape) {
        (Costs::Decisions(matrix), _) => {
            let classes = matrix.classes();
            let mut cells = vec![CellAmounts::default(); classes * classes];
            for case in cost_cells(shape, summary, amounts) {
                if let Some(cell) = cells.get_mut(case.truth * classes + case.decision) {
                    cell.rows = cell.rows.saturating_add(case.cell.rows);
                    cell.amount += case.cell.amount;
                    cell.amount_squared += case.cell.amount_squared;
                }
            }
            matrix.mean_of_amounts(&cells)
        }
        (Costs::Errors(units), OutcomeShape::Regression(shape)) => {
            let sum = |sum: ErrorSum, power: i32| -> f64 {
                let at = |stratum| summary.sums.get(shape.sum_at(stratum, sum)).copied().unwrap_or(0);
                (0..STRATA).map(|stratum| Sum::decode(at(stratum))).sum::<f64>() * shape.scale.powi(power)
            };
            let over =
                ErrorSums { sum: sum(ErrorSum::Over, 1), sum_of_squares: sum(ErrorSum::OverSquared, 2) };
            let under =
                ErrorSums { sum: sum(ErrorSum::Under, 1), sum_of_squares: sum(ErrorSum::UnderSquared, 2) };
            units.mean_of_errors(summary.labels, over, under)
        }
        (Costs::Errors(_), _) => Err(NotComputable::NotApplicable {
            reason: "the cost of an error is for models that predict numbers".to_owned(),
        }),
    }
}

/// Labelled rows of one stratum, decision and truth, with what multiplies their cost.
struct CostCase {
    stratum: usize,
    decision: usize,
    truth: usize,
    cell: CellAmounts,
}

fn cost_cells(shape: &OutcomeShape, summary: &OutcomeSummary, amounts: bool) -> Vec<CostCase> {
    let amount = |at: usize| AmountSum::decode(summary.sums.get(at).copied().unwrap_or(0));
    let cell = |rows: u64, at: Option<usize>| match at.filter(|_| amounts) {
        Some(at) => CellAmounts { rows, amount: amount(at), amount_squared: amount(at + 1) },
        None => CellAmounts { rows, amount: rows as f64, amount_squared: rows as f64 },
    };
    let mut cases = Vec::new();
    match shape {
        OutcomeShape::Binary(shape) => {
            let mut rows = vec![[[0_u64; 2]; 2]; STRATA];
            for bin in 0..shape.bins() {
                let Some(of_stratum) = rows.get_mut(shape.stratum_of(bin)) else { continue };
                for (decision, by_truth) in of_stratum.iter_mut().enumerate() {
                    for (truth, sum) in by_truth.iter_mut().enumerate() {
                        *sum += summary.outcomes.get(shape.outcome_at(bin, decision, truth));
                    }
                }
            }
            for (stratum, decision, truth) in triples(STRATA, 2) {
                let rows = rows.get(stratum).and_then(|rows| rows.get(decision)?.get(truth)).copied();
                let at = shape.amounts.then(|| shape.amount_at(stratum, decision, truth));
                cases.push(CostCase { stratum, decision, truth, cell: cell(rows.unwrap_or(0), at) });
            }
        }
        OutcomeShape::Multiclass(shape) => {
            for (_, decision, truth) in triples(1, shape.classes.len()) {
                let rows = summary.outcomes.get(shape.confusion_at(truth, decision));
                let at = shape.amounts.then(|| shape.amount_at(decision, truth));
                cases.push(CostCase { stratum: decision, decision, truth, cell: cell(rows, at) });
            }
        }
        OutcomeShape::Regression(_) | OutcomeShape::Ranking => {}
    }
    cases
}

fn triples(first: usize, classes: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..first).flat_map(move |a| (0..classes).flat_map(move |b| (0..classes).map(move |c| (a, b, c))))
}

/// Mean cost as it will be when all labels have come.
fn corrected_cost(measuring: &Measuring<'_>, merged: &Merged, costs: &Costs, amounts: bool) -> Option<Mean> {
    let (delays, Costs::Decisions(matrix)) = (measuring.delays?, costs) else { return None };
    let by_outcome = delays.summary().method == Method::Outcome;
    let mut groups = Vec::new();
    for (start, summary) in &merged.parts {
        let age = measuring.age_of(*start, merged.pane);
        for case in cost_cells(&measuring.reference.shape, summary, amounts) {
            let cost = matrix.cost(case.truth, case.decision)?;
            groups.push(Labelled {
                age,
                stratum: case.stratum,
                outcome: by_outcome.then_some(case.truth),
                rows: case.cell.rows,
                loss: cost * case.cell.amount,
                loss_squared: cost * cost * case.cell.amount_squared,
            });
        }
    }
    let range = (f64::NEG_INFINITY, f64::INFINITY);
    let corrected = delays.corrected_mean(&groups, range).ok()?;
    corrected.is_publishable.then(|| corrected.mean())
}

/// Mean cost to expect without labels.
fn expected_cost(
    reference: &PerformanceReference,
    total: &OutcomeSummary,
    costs: &Costs,
    amounts: bool,
) -> Option<Mean> {
    match (&reference.shape, costs, &reference.cbpe, &reference.losses) {
        (OutcomeShape::Binary(shape), Costs::Decisions(matrix), Some(cbpe), _) => {
            let amount = |at: usize| AmountSum::decode(total.sums.get(at).copied().unwrap_or(0));
            let of = |(bin, score): (usize, &f64)| {
                let rows =
                    [0, 1].map(|decision| total.predicted.get(shape.predicted_at(bin, decision)) as f64);
                let at = |square: usize| {
                    [0, 1].map(|decision| amount(shape.predicted_amount_at(bin, decision) + square))
                };
                let (amount, amount_squared) =
                    if amounts && shape.amounts { (at(0), at(1)) } else { (rows, rows) };
                CostCell { score: *score, rows, amount, amount_squared }
            };
            let cells: Vec<CostCell> = reference
                .scores
                .iter()
                .enumerate()
                .map(of)
                .filter(|cell| cell.rows.iter().any(|rows| *rows > 0.0))
                .collect();
            cbpe.expected_cost(&cells, matrix).ok()
        }
        (OutcomeShape::Regression(_), Costs::Errors(UnitCosts { over, under }), _, Some([absolute, _]))
            if over == under =>
        {
            let rows: Vec<u64> = total.predicted.iter().collect();
            let estimate = absolute.estimate(&rows).ok()?;
            let error = estimate.standard_error? * over;
            Mean::known(total.predictions as f64, estimate.value * over, error * error).ok()
        }
        _ => None,
    }
}

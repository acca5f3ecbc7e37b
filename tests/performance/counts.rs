//! The metrics from counts: against the same reference values, within their bounds; the coverage of their
//! intervals with all labels and with some missing; and that panes add up.

use driftline::performance::Task;
use driftline::performance::counts::{
    Loss, Outcomes, class_counts, headline, headline_of, loss, measure, measure_one, prediction_cells,
    shortfall, strata,
};
use driftline::summary::outcome::{
    BinaryShape, MulticlassShape, OutcomeShape, OutcomeSummary, Predicted, RegressionShape, Truth,
};
use proptest::prelude::*;

use super::*;

type Case = (Predicted, Truth);

fn predicted(values: Vec<f64>, query: Option<u64>) -> Predicted {
    Predicted { values: values.into(), class: None, amount: None, query }
}

fn binary_case((label, score): (bool, f64)) -> Case {
    (predicted(vec![score], None), Truth::Class(u16::from(label)))
}

fn number_case((truth, prediction): (f64, f64)) -> Case {
    (predicted(vec![prediction], None), Truth::Number(truth))
}

fn class_case((class, scores): (usize, Vec<f64>)) -> Case {
    (predicted(scores, None), Truth::Class(u16::try_from(class).expect("a class")))
}

fn ranked_case((query, row): (u64, RankedRow)) -> Case {
    (predicted(vec![row.score], Some(query)), Truth::Number(row.relevance))
}

fn count(shape: &OutcomeShape, cases: impl IntoIterator<Item = Case>) -> OutcomeSummary {
    let mut summary = shape.empty();
    for (predicted, truth) in cases {
        shape.predict(&mut summary, &predicted).expect("fits");
        shape.add(&mut summary, &predicted, truth, 0).expect("fits");
    }
    summary
}

fn measured(shape: &OutcomeShape, cases: impl IntoIterator<Item = Case>) -> Vec<Measured> {
    measure(&Outcomes::of(shape, &count(shape, cases)))
}

fn quantiles(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.into_iter().step_by(3).collect()
}

fn scored(grid: &[f64], threshold: f64) -> OutcomeShape {
    OutcomeShape::Binary(BinaryShape::new(grid, threshold, true, false))
}

fn shape_of(case: &Value, grid: &[f64]) -> OutcomeShape {
    scored(grid, case["input"]["threshold"].as_f64().expect("a threshold"))
}

fn number_pairs(case: &Value) -> Vec<(f64, f64)> {
    numbers(&case["input"]["y"]).into_iter().zip(numbers(&case["input"]["pred"])).collect()
}

fn number_shape(pairs: &[(f64, f64)]) -> OutcomeShape {
    let predictions: Vec<f64> = pairs.iter().map(|(_, prediction)| *prediction).collect();
    let mean = predictions.iter().sum::<f64>() / predictions.len() as f64;
    let square = predictions.iter().map(|p| (p - mean) * (p - mean)).sum::<f64>() / predictions.len() as f64;
    // Training data that were not quite like these.
    OutcomeShape::Regression(RegressionShape::new(&quantiles(predictions), mean + 0.3, 1.1 * square.sqrt()))
}

/// As `Multiclass` takes them: rows that add up to 1 but for their written digits are divided by their sum.
fn divided(scores: Vec<f64>) -> Vec<f64> {
    let sum: f64 = scores.iter().sum();
    if (sum - 1.0).abs() <= 1e-6 { scores.into_iter().map(|score| score / sum).collect() } else { scores }
}

fn class_cases(case: &Value) -> Vec<Case> {
    let scores = class_scores(case).into_iter().map(divided);
    places(&case["input"]["y"]).into_iter().zip(scores).map(class_case).collect()
}

fn class_shape(classes: usize) -> OutcomeShape {
    let names = (0..classes).map(|class| class.to_string()).collect();
    OutcomeShape::Multiclass(MulticlassShape::new(names, true, false).expect("classes"))
}

// === values of other software ===

#[test]
fn counts_of_two_classes_agree_with_reference_values() {
    for with_grid in [false, true] {
        let mut compared = 0;
        for case in cases("binary") {
            if !case["input"]["w"].is_null() {
                continue;
            }
            let pairs = binary_pairs(&case);
            let grid = quantiles(pairs.iter().map(|(_, score)| *score).collect());
            let shape = shape_of(&case, if with_grid { &grid } else { &[] });
            let measured = measured(&shape, pairs.into_iter().map(binary_case));
            compared += compare(&case, "binary", &measured, undefined(&case));
        }
        assert_eq!(compared, 19 * 15 - 8 - 4);
    }
}

#[test]
fn the_bound_of_an_area_is_narrow_and_meets_that_of_other_histograms() {
    for case in cases("binary") {
        let mid = &case["expected"]["auc_hist_1000"];
        let Some((mid, half)) = mid["mid"].as_f64().zip(mid["half_width_bound"].as_f64()) else { continue };
        let pairs = binary_pairs(&case);
        let grid = quantiles(pairs.iter().map(|(_, score)| *score).collect());
        let measured = measured(&shape_of(&case, &grid), pairs.into_iter().map(binary_case));
        let got = metric(&measured, "roc_auc").outcome.clone().expect("an area");
        assert!((got.value - mid).abs() <= got.bound + half + 1e-12, "{}", case["id"]);
        assert!(got.bound <= half + 0.01, "{}: {} where a thousand bins have {half}", case["id"], got.bound);
    }
}

#[test]
fn weighted_counts_agree_with_reference_values() {
    let case = cases("binary").into_iter().find(|case| !case["input"]["w"].is_null()).expect("the case");
    let shape = shape_of(&case, &[]);
    let mut outcomes = Outcomes::new(&shape);
    for (pair, weight) in binary_pairs(&case).into_iter().zip(numbers(&case["input"]["w"])) {
        outcomes.add(&count(&shape, [binary_case(pair)]), &|_, _| weight);
    }
    assert!(outcomes.is_weighted() && outcomes.labels() == 300 && outcomes.effective() < 300.0);
    assert_eq!(compare(&case, "binary", &measure(&outcomes), &[]), 14);
    for name in ["ece", "spiegelhalter_z"] {
        let waits = measure_one(&outcomes, name).expect("the metric").outcome.expect_err("it waits");
        assert_eq!(waits.status(), "not_applicable");
    }
}

#[test]
fn counts_of_several_classes_agree_with_reference_values() {
    let compare = |case| {
        let shape = class_shape(class_scores(&case)[0].len());
        compare(&case, "multiclass", &measured(&shape, class_cases(&case)), &[])
    };
    assert_eq!(cases("multiclass").into_iter().map(compare).sum::<usize>(), 2 * 8);
}

#[test]
fn counts_of_numbers_agree_with_reference_values() {
    let compare = |case| {
        let pairs = number_pairs(&case);
        let measured = measured(&number_shape(&pairs), pairs.into_iter().map(number_case));
        let median = metric(&measured, "median_ae").outcome.clone().expect("a median");
        assert!(median.bound <= 0.02 * median.value + 1e-6, "{median:?}");
        compare(&case, "regression", &measured, &[])
    };
    assert_eq!(cases("regression").into_iter().map(compare).sum::<usize>(), 4 * 12 - 1);
}

fn hashed(case: &Value) -> Vec<(u64, RankedRow)> {
    let place = |query: &str| query.trim_start_matches('q').parse().expect("a number");
    ranked(case).into_iter().map(|(query, row)| (place(&query), row)).collect()
}

#[test]
fn rows_of_queries_agree_with_reference_values() {
    let compare = |case| {
        let cases = hashed(&case).into_iter().map(ranked_case);
        compare(&case, "ranking", &measured(&OutcomeShape::Ranking, cases), &[])
    };
    assert_eq!(cases("ranking").into_iter().map(compare).sum::<usize>(), 3 * 3 + 1);
}

fn assert_close(got: f64, want: f64, relative: f64, place: &str) {
    assert!((got - want).abs() <= relative * want.abs() + 1e-12, "{place}: {got} is not {want}");
}

#[test]
fn intervals_from_counts_are_those_from_rows() {
    let mut compared = 0;
    let mut same = |id: &Value, from_counts: &[Measured], from_rows: &[Measured]| {
        for (counts, rows) in from_counts.iter().zip(from_rows) {
            assert_eq!((&counts.metric, counts.n, counts.better), (&rows.metric, rows.n, rows.better));
            let (Ok(of_counts), Ok(of_rows)) = (&counts.outcome, &rows.outcome) else { continue };
            if of_counts.bound > 0.0 {
                continue;
            }
            assert_eq!(of_counts.interval.is_some(), of_rows.interval.is_some(), "{id} {}", rows.metric);
            let Some((counts, rows_)) = of_counts.interval.zip(of_rows.interval) else { continue };
            let place = format!("{id} {}", rows.metric);
            assert_close(counts.low, rows_.low, 1e-6, &place);
            assert_close(counts.high, rows_.high, 1e-6, &place);
            compared += 1;
        }
    };
    for case in cases("binary").iter().filter(|case| case["input"]["w"].is_null()) {
        let of_counts = measured(&shape_of(case, &[]), binary_pairs(case).into_iter().map(binary_case));
        same(&case["id"], &of_counts, &evaluate(&binary_rows(case)));
    }
    for case in cases("regression") {
        let pairs = number_pairs(&case);
        let of_counts = measured(&number_shape(&pairs), pairs.into_iter().map(number_case));
        same(&case["id"], &of_counts, &evaluate(&regression_rows(&case)));
    }
    for case in cases("multiclass") {
        let scores = class_scores(&case);
        let of_counts = measured(&class_shape(scores[0].len()), class_cases(&case));
        same(&case["id"], &of_counts, &evaluate(&multiclass_rows(&case, &scores)));
    }
    for case in cases("ranking") {
        let of_counts = measured(&OutcomeShape::Ranking, hashed(&case).into_iter().map(ranked_case));
        same(&case["id"], &of_counts, &evaluate(&ranking_rows(&case)));
    }
    assert!(compared > 150, "{compared} intervals");
}

#[test]
fn the_interval_of_an_area_over_classes_is_not_narrower_than_that_of_the_rows() {
    for case in cases("multiclass") {
        let scores = class_scores(&case);
        let of_counts = measured(&class_shape(scores[0].len()), class_cases(&case));
        let of_rows = evaluate(&multiclass_rows(&case, &scores));
        let [counts, rows] = [of_counts, of_rows].map(|measured| {
            metric(&measured, "auc_ovr_macro").outcome.clone().expect("an area").standard_error
        });
        let ratio = counts.expect("an error") / rows.expect("an error");
        assert!((0.98..2.5).contains(&ratio), "{}: {ratio}", case["id"]);
    }
}

// === coverage ===

/// Scores are uniform and calibrated, as in `intervals_of_two_classes_cover_the_truth`.
const BINARY_TRUTHS: [(&str, f64); 11] = [
    ("roc_auc", 5.0 / 6.0),
    ("average_precision", 5.0 / 6.0),
    ("log_loss", 0.5),
    ("brier", 1.0 / 6.0),
    ("accuracy", 0.75),
    ("balanced_accuracy", 0.75),
    ("precision", 0.75),
    ("recall", 0.75),
    ("f1", 0.75),
    ("mcc", 0.5),
    ("kappa", 0.5),
];

/// Truths are uniform in 0..10, errors have an exponential size and either sign.
const NUMBER_TRUTHS: [(&str, f64); 5] =
    [("mae", 1.0), ("mse", 2.0), ("wape", 0.2), ("bias", 0.0), ("pinball_0.9", 0.5)];

fn uniform_grid(most: f64) -> Vec<f64> {
    (1..100).map(|step| most * f64::from(step) / 100.0).collect()
}

fn binary_draw(numbers: &mut Numbers) -> Case {
    let score = numbers.uniform();
    binary_case((numbers.uniform() < score, score))
}

fn number_draw(numbers: &mut Numbers) -> Case {
    let truth = 10.0 * numbers.uniform();
    let size = -(1.0 - numbers.uniform()).ln();
    number_case((truth, truth + if numbers.uniform() < 0.5 { size } else { -size }))
}

fn number_grid() -> OutcomeShape {
    OutcomeShape::Regression(RegressionShape::new(&uniform_grid(10.0), 5.0, 2.9))
}

/// The chance that a label of a stratum and class is known by now.
fn known(stratum: usize, class: usize) -> f64 {
    (0.25 + 0.08 * stratum as f64) * if class == 1 { 0.6 } else { 1.0 }
}

/// So many predictions, of which some labels have come.
fn with_missing_labels(
    shape: &OutcomeShape,
    predictions: usize,
    numbers: &mut Numbers,
    draw: fn(&mut Numbers) -> Case,
) -> Outcomes {
    let mut summary = shape.empty();
    for _ in 0..predictions {
        let (predicted, truth) = draw(numbers);
        shape.predict(&mut summary, &predicted).expect("fits");
        let stratum = shape.stratum(&predicted).expect("fits");
        let class = if let Truth::Class(class) = truth { usize::from(class) } else { 0 };
        if numbers.uniform() < known(stratum, class) {
            shape.add(&mut summary, &predicted, truth, 0).expect("fits");
        }
    }
    let mut outcomes = Outcomes::new(shape);
    outcomes.add(&summary, &|stratum, class| 1.0 / known(stratum, class));
    outcomes
}

#[test]
fn intervals_from_counts_of_two_classes_cover_the_truth() {
    let (mut numbers, draws, shape) = (Numbers(11), 800, scored(&uniform_grid(1.0), 0.5));
    let coverage = coverage(draws, &BINARY_TRUTHS, || {
        let cases: Vec<Case> = (0..450).map(|_| binary_draw(&mut numbers)).collect();
        measured(&shape, cases)
    });
    assert_covers(&coverage, draws);
}

#[test]
fn intervals_from_weighted_labels_of_two_classes_cover_the_truth() {
    let (mut numbers, draws, shape) = (Numbers(12), 800, scored(&uniform_grid(1.0), 0.5));
    let coverage = coverage(draws, &BINARY_TRUTHS, || {
        measure(&with_missing_labels(&shape, 900, &mut numbers, binary_draw))
    });
    assert_covers(&coverage, draws);
}

#[test]
fn intervals_from_counts_of_numbers_cover_the_truth() {
    let (mut numbers, draws, shape) = (Numbers(13), 800, number_grid());
    let coverage = coverage(draws, &NUMBER_TRUTHS, || {
        let cases: Vec<Case> = (0..400).map(|_| number_draw(&mut numbers)).collect();
        measured(&shape, cases)
    });
    assert_covers(&coverage, draws);
}

#[test]
fn intervals_from_weighted_labels_of_numbers_cover_the_truth() {
    let (mut numbers, draws, shape) = (Numbers(14), 800, number_grid());
    let coverage = coverage(draws, &NUMBER_TRUTHS, || {
        measure(&with_missing_labels(&shape, 700, &mut numbers, number_draw))
    });
    assert_covers(&coverage, draws);
}

#[test]
fn labels_that_miss_by_class_mislead_until_they_are_weighted() {
    let (mut numbers, shape) = (Numbers(15), scored(&uniform_grid(1.0), 0.5));
    let weighted = with_missing_labels(&shape, 40_000, &mut numbers, binary_draw);
    let mut plain = shape.empty();
    for _ in 0..40_000 {
        let (predicted, truth) = binary_draw(&mut numbers);
        let class = if truth == Truth::Class(1) { 1 } else { 0 };
        if numbers.uniform() < known(shape.stratum(&predicted).expect("fits"), class) {
            shape.predict(&mut plain, &predicted).expect("fits");
            shape.add(&mut plain, &predicted, truth, 0).expect("fits");
        }
    }
    let precision = |outcomes: &Outcomes| {
        measure_one(outcomes, "precision").expect("the metric").outcome.expect("a value").value
    };
    assert!((precision(&weighted) - 0.75).abs() < 0.02);
    assert!((precision(&Outcomes::of(&shape, &plain)) - 0.75).abs() > 0.05);
}

#[test]
fn the_interval_of_a_median_error_covers_it_with_all_and_with_some_labels() {
    let (mut numbers, draws, shape) = (Numbers(16), 400, number_grid());
    let truths = [("median_ae", std::f64::consts::LN_2)];
    let plain = coverage(draws, &truths, || {
        let cases: Vec<Case> = (0..400).map(|_| number_draw(&mut numbers)).collect();
        measured(&shape, cases)
    });
    let weighted =
        coverage(draws, &truths, || measure(&with_missing_labels(&shape, 700, &mut numbers, number_draw)));
    // Its ends are rounded outwards to the grid of errors.
    assert!(plain["median_ae"] > 0.93 && weighted["median_ae"] > 0.93, "{plain:?} {weighted:?}");
}

// === panes ===

fn any_case(task: Task, a: f64, b: f64) -> Case {
    match task {
        Task::Binary => binary_case((b < a, (a * 40.0).round() / 40.0)),
        Task::Multiclass => {
            let class = if a + b > 1.2 { 0 } else { 2 - usize::from(a < 0.2) };
            class_case((class, vec![a, b * (1.0 - a), (1.0 - b) * (1.0 - a)]))
        }
        Task::Regression => number_case((b * 10.0 - 3.0, a * 8.0)),
        Task::Ranking => {
            let row = RankedRow { score: (a * 8.0).round(), relevance: (b * 2.0).round() };
            ranked_case(((a * 97.0) as u64 % 7, row))
        }
    }
}

fn shape_for(task: Task) -> OutcomeShape {
    match task {
        Task::Binary => scored(&uniform_grid(1.0), 0.5),
        Task::Multiclass => class_shape(3),
        Task::Regression => number_grid(),
        Task::Ranking => OutcomeShape::Ranking,
    }
}

fn assert_same_values(left: &[Measured], right: &[Measured]) {
    for (left, right) in left.iter().zip(right) {
        let place = &left.metric;
        assert_eq!((place, left.n), (&right.metric, right.n));
        match (&left.outcome, &right.outcome) {
            (Ok(left), Ok(right)) => {
                assert_close(left.value, right.value, 1e-9, place);
                assert_close(left.bound, right.bound, 1e-9, place);
                assert_eq!(left.interval.is_some(), right.interval.is_some(), "{place}");
                if let Some((left, right)) = left.interval.zip(right.interval) {
                    assert_close(left.low, right.low, 1e-6, place);
                    assert_close(left.high, right.high, 1e-6, place);
                }
            }
            (left, right) => assert_eq!(left.as_ref().err(), right.as_ref().err(), "{place}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn panes_add_up_to_the_window(
        rows in prop::collection::vec((0.0..1.0_f64, 0.0..1.0_f64), 0..80),
        panes in 1..5_usize,
        heavy in any::<bool>(),
    ) {
        for task in Task::ALL {
            let shape = shape_for(task);
            let weight = |stratum: usize, class: usize| match heavy {
                true => 1.0 + 0.25 * (stratum + 2 * class) as f64,
                false => 1.0,
            };
            let cases: Vec<Case> = rows.iter().map(|(a, b)| any_case(task, *a, *b)).collect();
            let mut whole = Outcomes::new(&shape);
            whole.add(&count(&shape, cases.clone()), &weight);
            let mut parts = Outcomes::new(&shape);
            for pane in 0..panes {
                let of_pane = cases.iter().skip(pane).step_by(panes).cloned();
                parts.add(&count(&shape, of_pane), &weight);
            }
            prop_assert_eq!((parts.labels(), parts.predictions()), (whole.labels(), whole.predictions()));
            assert_same_values(&measure(&parts), &measure(&whole));
        }
    }

    #[test]
    fn no_weight_makes_a_metric_panic(
        rows in prop::collection::vec((0.0..1.0_f64, 0.0..1.0_f64), 0..12),
        weights in prop::collection::vec(any::<f64>(), 4),
    ) {
        for task in Task::ALL {
            let shape = shape_for(task);
            let mut outcomes = Outcomes::new(&shape);
            let cases = rows.iter().map(|(a, b)| any_case(task, *a, *b));
            outcomes.add(&count(&shape, cases), &|stratum, class| weights[(stratum + class) % 4]);
            for measured in measure(&outcomes) {
                if let Ok(value) = measured.outcome {
                    prop_assert!(value.value.is_finite(), "{}", measured.metric);
                    let finite = value.interval.is_none_or(|it| it.low.is_finite() && it.high.is_finite());
                    prop_assert!(finite, "{}", measured.metric);
                }
            }
        }
    }
}

// === what there is to say ===

#[test]
fn every_task_has_a_headline_among_its_metrics() {
    for task in Task::ALL {
        let outcomes = Outcomes::new(&shape_for(task));
        let measured = measure_one(&outcomes, headline(task)).expect("a metric of the task");
        assert_eq!(measured.outcome.expect_err("no labels").status(), "insufficient_data");
        assert!(outcomes.coverage().is_none() && outcomes.effective() == 0.0);
    }
    assert_eq!(headline_of(&OutcomeShape::Binary(BinaryShape::new(&[], 0.5, false, false))), "f1");
}

#[test]
fn decisions_without_scores_have_no_metrics_of_scores() {
    let shape = OutcomeShape::Binary(BinaryShape::new(&[], 0.5, false, false));
    let decided = |decision: u16, truth| {
        let predicted = Predicted { values: [].into(), class: Some(decision), amount: None, query: None };
        (predicted, Truth::Class(truth))
    };
    let measured = measured(&shape, [decided(1, 1), decided(0, 0), decided(1, 0), decided(0, 0)]);
    for name in ["roc_auc", "average_precision", "log_loss", "brier", "ece", "spiegelhalter_z"] {
        let reason = metric(&measured, name).outcome.clone().expect_err("no scores");
        assert_eq!(reason.status(), "not_applicable", "{name}");
    }
    assert_eq!(metric(&measured, "accuracy").outcome.clone().expect("a share").value, 0.75);
}

#[test]
fn margins_order_the_rows_but_are_no_probabilities() {
    let shape = scored(&[-2.0, 0.0, 2.0], 0.0);
    let rows = [(true, 3.0), (false, -2.5), (true, 1.0), (false, -1.0)];
    let summary = count(&shape, rows.map(binary_case));
    let outcomes = Outcomes::of(&shape, &summary);
    let value = |name: &str| measure_one(&outcomes, name).expect("the metric").outcome;
    assert_eq!(value("roc_auc").expect("an area").value, 1.0);
    assert_eq!(value("brier").expect_err("no probabilities").status(), "not_applicable");
    assert_eq!(loss(&shape, &[&summary]), Loss::Mistake);
    let wrong: f64 = strata(&shape, &summary, Loss::Mistake).iter().map(|stratum| stratum.loss_sum).sum();
    assert_eq!(wrong, 0.0);
}

#[test]
fn equal_scores_leave_the_order_of_a_query_open() {
    let row = |relevance| (1, RankedRow { score: 0.5, relevance });
    let measured = measured(&OutcomeShape::Ranking, [row(0.0), row(1.0), row(0.0)].map(ranked_case));
    let mrr = metric(&measured, "mrr").outcome.clone().expect("a value");
    assert!((mrr.value - 2.0 / 3.0).abs() < 1e-15 && (mrr.bound - 1.0 / 3.0).abs() < 1e-15, "{mrr:?}");
}

#[test]
fn strata_hold_the_losses_of_the_metric() {
    let mut numbers = Numbers(17);
    for (task, metric) in [(Task::Binary, "brier"), (Task::Regression, "mae"), (Task::Multiclass, "accuracy")]
    {
        let shape = shape_for(task);
        let cases: Vec<Case> =
            (0..500).map(|_| any_case(task, numbers.uniform(), numbers.uniform())).collect();
        let summary = count(&shape, cases);
        let strata = strata(&shape, &summary, loss(&shape, &[&summary]));
        assert_eq!(strata.len(), shape.strata());
        assert_eq!(strata.iter().map(|stratum| stratum.predictions).sum::<u64>(), 500);
        let n: f64 = strata.iter().map(|stratum| stratum.n).sum();
        let mean = strata.iter().map(|stratum| stratum.loss_sum).sum::<f64>() / n;
        let value = measure_one(&Outcomes::of(&shape, &summary), metric).expect("the metric");
        let value = value.outcome.expect("a value").value;
        assert_close(mean, if metric == "accuracy" { 1.0 - value } else { value }, 1e-12, metric);
    }
}

#[test]
fn bins_hold_every_label_and_every_prediction() {
    let binary = BinaryShape::new(&uniform_grid(1.0), 0.5, true, false);
    let shape = OutcomeShape::Binary(binary.clone());
    let rows = [(true, 0.9), (false, 0.2), (true, 0.4), (false, 0.4)];
    let mut summary = count(&shape, rows.map(binary_case));
    shape.predict(&mut summary, &predicted(vec![0.7], None)).expect("fits");
    let (positives, negatives) = class_counts(&binary, &summary);
    let cells = prediction_cells(&binary, &summary);
    assert_eq!([positives.len(), negatives.len(), cells.len()], [binary.bins(); 3]);
    assert_eq!((positives[binary.bin(0.4)], negatives[binary.bin(0.4)]), (1, 1));
    assert_eq!((positives.iter().sum::<u64>(), negatives.iter().sum::<u64>()), (2, 2));
    assert_eq!(cells[binary.bin(0.7)], [0, 1]);
    assert_eq!(cells.as_flattened().iter().sum::<u64>(), 5);
}

// === differences ===

#[test]
fn nothing_changed_is_seldom_called_worse() {
    let (mut numbers, shape) = (Numbers(18), scored(&uniform_grid(1.0), 0.5));
    let draws = 400;
    let mut worse: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..draws {
        let mut draw = || {
            let cases: Vec<Case> = (0..400).map(|_| binary_draw(&mut numbers)).collect();
            measured(&shape, cases)
        };
        let (now, reference) = (draw(), draw());
        for name in ["roc_auc", "brier", "f1", "precision"] {
            let shortfall = shortfall(metric(&now, name), metric(&reference, name)).expect("a difference");
            *worse.entry(name).or_default() += u32::from(shortfall.log_p_value < 0.05_f64.ln());
        }
    }
    for (name, worse) in worse {
        let share = f64::from(worse) / f64::from(draws);
        assert!((0.05 - 0.033..0.05 + 0.033).contains(&share), "{name}: {share}");
    }
}

#[test]
fn an_area_that_falls_from_a_perfect_one_is_worse() {
    let shape = scored(&uniform_grid(1.0), 0.5);
    let perfect = |at: u32| binary_case((at >= 150, f64::from(at) / 300.0));
    let mut numbers = Numbers(19);
    let good = measured(&shape, (0..300).map(perfect));
    let bad = measured(&shape, (0..300).map(|_| binary_draw(&mut numbers)).collect::<Vec<_>>());
    let fall = shortfall(metric(&bad, "roc_auc"), metric(&good, "roc_auc")).expect("a difference");
    assert!(fall.worse_by > 0.1 && fall.log_p_value < 1e-6_f64.ln(), "{fall:?}");
}

#[test]
fn worse_is_a_matter_of_the_metric() {
    let shape = number_grid();
    let with_errors = |errors: [f64; 6]| {
        let case = |(place, error): (usize, f64)| number_case((place as f64, place as f64 + error));
        measured(&shape, errors.into_iter().enumerate().map(case))
    };
    let good = with_errors([0.1, -0.1, 0.2, -0.2, 0.1, 0.2]);
    let bad = with_errors([-1.0, -1.1, -1.3, -1.0, -0.9, -1.2]);
    for name in ["mae", "bias", "r2", "rmse", "pinball_0.5"] {
        let fall = shortfall(metric(&bad, name), metric(&good, name)).expect("a difference");
        assert!(fall.worse_by > 0.0 && fall.z > 0.0 && fall.log_p_value < 0.5_f64.ln(), "{name}: {fall:?}");
        let rise = shortfall(metric(&good, name), metric(&bad, name)).expect("a difference");
        assert_eq!(rise.worse_by, -fall.worse_by, "{name}");
    }
    assert_eq!(shortfall(metric(&good, "mae"), metric(&good, "mae")).expect("none").z, 0.0);
    assert_eq!(shortfall(metric(&good, "mae"), metric(&good, "mse")), None);
}

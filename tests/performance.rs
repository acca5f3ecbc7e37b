//! The metrics: their values against other people's, the coverage of their intervals, and the command.
//! Those from counts are in `performance/counts.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Output};

use driftline::performance::{
    Binary, BinaryRow, METRICS, Measured, Multiclass, RankedRow, Ranking, Regression, RegressionRow, Rows,
    evaluate,
};
use serde_json::Value;
use tempfile::TempDir;

#[path = "performance/counts.rs"]
mod counts;

// === values of other software ===

fn cases(kind: &str) -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/f_metrics.json");
    let file: Value = serde_json::from_str(&fs::read_to_string(path).expect("golden values")).expect("JSON");
    let cases = file["cases"].as_array().expect("cases");
    cases.iter().filter(|case| case["kind"] == kind).cloned().collect()
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number")).collect()
}

fn binary_pairs(case: &Value) -> Vec<(bool, f64)> {
    let labels = case["input"]["y"].as_str().expect("labels").chars().map(|label| label == '1');
    labels.zip(numbers(&case["input"]["p"])).collect()
}

fn binary_rows(case: &Value) -> Rows {
    let threshold = case["input"]["threshold"].as_f64().expect("a threshold");
    let row = |(label, score)| BinaryRow { label, prediction: score >= threshold, score: Some(score) };
    let rows: Vec<BinaryRow> = binary_pairs(case).into_iter().map(row).collect();
    Rows::Binary(Binary::new(&rows).expect("finite scores"))
}

fn places(list: &Value) -> Vec<usize> {
    let place = |number: &Value| usize::try_from(number.as_u64().expect("a class")).expect("a place");
    list.as_array().expect("a list").iter().map(place).collect()
}

/// The scores as the file has them.
fn class_scores(case: &Value) -> Vec<Vec<f64>> {
    case["input"]["proba"].as_array().expect("scores").iter().map(numbers).collect()
}

fn multiclass_rows(case: &Value, scores: &[Vec<f64>]) -> Rows {
    let classes = (0..scores[0].len()).map(|class| class.to_string()).collect();
    let rows = Multiclass::from_scores(classes, &places(&case["input"]["y"]), scores.concat());
    Rows::Multiclass(rows.expect("rows"))
}

fn regression_rows(case: &Value) -> Rows {
    let pairs = numbers(&case["input"]["y"]).into_iter().zip(numbers(&case["input"]["pred"]));
    let rows = pairs.map(|(truth, prediction)| RegressionRow { truth, prediction }).collect();
    Rows::Regression(Regression::new(rows).expect("finite numbers"))
}

fn ranked(case: &Value) -> Vec<(String, RankedRow)> {
    let queries = case["input"]["queries"].as_array().expect("queries");
    let rows = queries.iter().enumerate().flat_map(|(query, rows)| {
        let pairs = numbers(&rows["rel"]).into_iter().zip(numbers(&rows["score"]));
        pairs.map(move |(relevance, score)| (format!("q{query}"), RankedRow { relevance, score }))
    });
    rows.collect()
}

fn ranking_rows(case: &Value) -> Rows {
    Rows::Ranking(Ranking::new(ranked(case), vec![1, 5, 10]).expect("rows"))
}

/// What the file calls a metric.
fn golden_name(metric: &str, kind: &str) -> String {
    match (metric, kind) {
        ("log_loss", "binary") => "log_loss_clip1e-15".to_owned(),
        ("ece", "binary") => "ece_width_10".to_owned(),
        (name, "ranking") if name.starts_with("ndcg") => format!("{name}_mean"),
        (name, _) => name.to_owned(),
    }
}

/// Compares every metric that both have, within its own bound, and gives how many there were.
fn compare(case: &Value, kind: &str, measured: &[Measured], differ: &[&str]) -> usize {
    let (relative, absolute) =
        (case["tol"]["rel"].as_f64().expect("a tolerance"), case["tol"]["abs"].as_f64().unwrap_or(0.0));
    let mut compared = 0;
    for Measured { metric, outcome, .. } in measured {
        let place = format!("{} {metric}", case["id"]);
        let expected = &case["expected"][golden_name(metric, kind)];
        match (expected.as_f64(), outcome) {
            (Some(want), Ok(got)) => {
                let apart = (got.value - want).abs();
                let tolerance = absolute + relative * want.abs() + got.bound;
                assert!(apart <= tolerance, "{place}: {} ± {} is not {want}", got.value, got.bound);
                assert!(!differ.contains(&metric.as_str()), "{place} does not differ");
                compared += 1;
            }
            // Where a denominator is 0 we say so; scikit-learn gives 0, or the part that exists.
            (Some(_), Err(reason)) => {
                assert!(differ.contains(&metric.as_str()), "{place}: {reason}");
                assert_eq!(reason.status(), "degenerate", "{place}");
            }
            (None, got) if expected.is_string() => assert!(got.is_err(), "{place} is not a number"),
            _ => {}
        }
    }
    compared
}

/// The metrics of a case whose denominator is 0.
fn undefined(case: &Value) -> &'static [&'static str] {
    match case["id"].as_str().expect("an id") {
        "o-bin-constant-score" => &["precision", "mcc"],
        "o-bin-all-neg" => &["recall", "balanced_accuracy", "mcc"],
        "o-bin-all-pos" => &["specificity", "balanced_accuracy", "mcc"],
        _ => &[],
    }
}

#[test]
fn metrics_of_two_classes_agree_with_reference_values() {
    let mut compared = 0;
    for case in cases("binary") {
        // Weights of rows are no part of an evaluation.
        if !case["input"]["w"].is_null() {
            continue;
        }
        compared += compare(&case, "binary", &evaluate(&binary_rows(&case)), undefined(&case));
    }
    // Of 15 metrics each, eight have a denominator of 0, and four areas of one class have no reference value.
    assert_eq!(compared, 19 * 15 - 8 - 4);
}

#[test]
fn metrics_of_several_classes_agree_with_reference_values() {
    let compare =
        |case| compare(&case, "multiclass", &evaluate(&multiclass_rows(&case, &class_scores(&case))), &[]);
    assert_eq!(cases("multiclass").into_iter().map(compare).sum::<usize>(), 2 * 8);
}

#[test]
fn metrics_of_numbers_agree_with_reference_values() {
    let compare = |case| compare(&case, "regression", &evaluate(&regression_rows(&case)), &[]);
    assert_eq!(cases("regression").into_iter().map(compare).sum::<usize>(), 4 * 12 - 1);
}

#[test]
fn metrics_of_orders_agree_with_reference_values() {
    let compare = |case| compare(&case, "ranking", &evaluate(&ranking_rows(&case)), &[]);
    assert_eq!(cases("ranking").into_iter().map(compare).sum::<usize>(), 3 * 3 + 1);
}

fn metric<'a>(measured: &'a [Measured], name: &str) -> &'a Measured {
    measured.iter().find(|measured| measured.metric == name).expect("the metric")
}

#[test]
fn the_interval_of_an_area_is_that_of_the_reference_variance() {
    let mut compared = 0;
    for case in cases("binary") {
        let Some(variance) = case["expected"]["delong_var"].as_f64().filter(|variance| *variance > 0.0)
        else {
            continue;
        };
        let got = metric(&evaluate(&binary_rows(&case)), "roc_auc").outcome.clone().expect("an area");
        let interval = got.interval.expect("an interval");
        let positives = binary_pairs(&case).iter().filter(|(label, _)| *label).count();
        let few = positives.min(binary_pairs(&case).len() - positives) < 50;
        let logit = |share: f64| (share / (1.0 - share)).ln();
        let (width, slope) = match few {
            true => (logit(interval.high) - logit(interval.low), 1.0 / (got.value * (1.0 - got.value))),
            false => (interval.high - interval.low, 1.0),
        };
        let want = 2.0 * 1.959_963_984_540_054 * variance.sqrt() * slope;
        assert!((width / want - 1.0).abs() < 1e-9, "{}: {width} is not {want}", case["id"]);
        compared += 1;
    }
    assert!(compared >= 13, "{compared} variances");
}

// === coverage ===

/// Numbers from a seed (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195).
struct Numbers(u64);

impl Numbers {
    /// Uniform in 0..1.
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Share of the draws whose interval holds the true value, by metric.
fn coverage(
    draws: u32,
    truths: &[(&str, f64)],
    mut draw: impl FnMut() -> Vec<Measured>,
) -> BTreeMap<String, f64> {
    let mut held: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..draws {
        let measured = draw();
        for (name, truth) in truths {
            let value = metric(&measured, name).outcome.clone().expect("a value");
            let interval = value.interval.expect("an interval");
            let holds = (interval.low..=interval.high).contains(truth);
            *held.entry((*name).to_owned()).or_default() += u32::from(holds);
        }
    }
    held.into_iter().map(|(name, held)| (name, f64::from(held) / f64::from(draws))).collect()
}

/// 0.93 to 0.97, widened by two standard deviations of the simulation.
fn assert_covers(coverage: &BTreeMap<String, f64>, draws: u32) {
    let slack = 2.0 * (0.05 * 0.95 / f64::from(draws)).sqrt();
    for (name, share) in coverage {
        println!("{name}: {share:.3}");
        assert!((0.93 - slack..=0.97 + slack).contains(share), "{name} covers {share}");
    }
}

#[test]
fn intervals_of_two_classes_cover_the_truth() {
    // Scores are uniform and calibrated: a positive row's density is 2p and a negative one's 2(1 − p), so the
    // area is ∫ 2p(2p − p²), and at ½ the shares of TP, FP, FN, TN are 3/8, 1/8, 1/8, 3/8.
    let truths = [
        ("roc_auc", 5.0 / 6.0),
        ("average_precision", 5.0 / 6.0),
        ("log_loss", 0.5),
        ("brier", 1.0 / 6.0),
        ("accuracy", 0.75),
        ("balanced_accuracy", 0.75),
        ("precision", 0.75),
        ("recall", 0.75),
        ("specificity", 0.75),
        ("f1", 0.75),
        ("mcc", 0.5),
        ("kappa", 0.5),
    ];
    let mut numbers = Numbers(1);
    let draws = 800;
    let coverage = coverage(draws, &truths, || {
        let mut row = || {
            let score = numbers.uniform();
            BinaryRow { label: numbers.uniform() < score, prediction: score >= 0.5, score: Some(score) }
        };
        let rows: Vec<BinaryRow> = (0..450).map(|_| row()).collect();
        evaluate(&Rows::Binary(Binary::new(&rows).expect("finite scores")))
    });
    assert_covers(&coverage, draws);
}

#[test]
fn intervals_of_numbers_cover_the_truth() {
    // Errors with an exponential size and either sign, truths uniform in 0..10.
    let truths = [
        ("mae", 1.0),
        ("wape", 0.2),
        ("bias", 0.0),
        ("median_ae", std::f64::consts::LN_2),
        ("pinball_0.5", 0.5),
    ];
    let mut numbers = Numbers(2);
    let draws = 800;
    let coverage = coverage(draws, &truths, || {
        let mut row = || {
            let truth = 10.0 * numbers.uniform();
            let size = -(1.0 - numbers.uniform()).ln();
            let error = if numbers.uniform() < 0.5 { size } else { -size };
            RegressionRow { truth, prediction: truth + error }
        };
        let rows = Regression::new((0..400).map(|_| row()).collect()).expect("finite numbers");
        evaluate(&Rows::Regression(rows))
    });
    assert_covers(&coverage, draws);
}

#[test]
fn two_classes_as_several_have_the_area_and_interval_of_two() {
    let mut numbers = Numbers(3);
    let mut row = || {
        let score = numbers.uniform();
        (numbers.uniform() < score, score)
    };
    let rows: Vec<(bool, f64)> = (0..600).map(|_| row()).collect();
    let row = |(label, score): &(bool, f64)| BinaryRow {
        label: *label,
        prediction: *score >= 0.5,
        score: Some(*score),
    };
    let two = evaluate(&Rows::Binary(Binary::new(&rows.iter().map(row).collect::<Vec<_>>()).expect("rows")));
    let labels: Vec<usize> = rows.iter().map(|(label, _)| usize::from(*label)).collect();
    let scores = rows.iter().flat_map(|(_, score)| [1.0 - score, *score]).collect();
    let classes = vec!["no".to_owned(), "yes".to_owned()];
    let several = Multiclass::from_scores(classes, &labels, scores).expect("rows");
    let several = evaluate(&Rows::Multiclass(several));
    let two = metric(&two, "roc_auc").outcome.clone().expect("an area");
    let several = metric(&several, "auc_ovr_macro").outcome.clone().expect("an area");
    assert!((two.value - several.value).abs() < 1e-12);
    let (two, several) = (two.interval.expect("an interval"), several.interval.expect("an interval"));
    assert!(((two.high - two.low) / (several.high - several.low) - 1.0).abs() < 0.01);
}

// === the table ===

#[test]
fn every_metric_has_its_own_name_and_speaks_without_rows() {
    let none = [
        Rows::Binary(Binary::new(&[]).expect("no rows")),
        Rows::Multiclass(Multiclass::from_predictions(Vec::new(), &[]).expect("no rows")),
        Rows::Regression(Regression::new(Vec::new()).expect("no rows")),
        Rows::Ranking(Ranking::new(Vec::new(), vec![3]).expect("no rows")),
    ];
    let names: BTreeSet<_> = METRICS.iter().map(|metric| (metric.task(), metric.name)).collect();
    assert_eq!(names.len(), METRICS.len(), "two metrics of a task have one name");
    let measured: Vec<Measured> = none.iter().flat_map(evaluate).collect();
    assert_eq!(measured.len(), METRICS.len());
    for measured in measured {
        let reason = measured.outcome.expect_err("nothing to compute from");
        assert_eq!(reason.status(), "insufficient_data", "{}", measured.metric);
    }
}

#[test]
fn numbers_too_large_to_add_up_give_a_reason() {
    let row = |truth: f64| RegressionRow { truth, prediction: -truth };
    let rows = Regression::new(vec![row(1e300), row(-1e308), row(1.0)]).expect("finite numbers");
    for Measured { metric, outcome, .. } in evaluate(&Rows::Regression(rows)) {
        if let Ok(value) = outcome {
            assert!(value.value.is_finite(), "{metric}");
            assert!(value.interval.is_none_or(|it| it.low.is_finite() && it.high.is_finite()), "{metric}");
        }
    }
}

// === the command ===

fn run(dir: &TempDir, arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_driftline");
    Command::new(program).arg("evaluate").args(arguments).current_dir(dir.path()).output().expect("it runs")
}

fn json(dir: &TempDir, arguments: &[&str]) -> Value {
    let output = run(dir, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one object")
}

fn directory(name: &str, text: &str) -> TempDir {
    let dir = TempDir::new().expect("a directory");
    fs::write(dir.path().join(name), text).expect("written");
    dir
}

/// The command's metrics against the library's, and that nothing else is told.
fn assert_same(object: &Value, rows: &Rows) {
    let told = object["metrics"].as_array().expect("metrics");
    let measured = evaluate(rows);
    assert_eq!(told.len(), measured.len());
    for (told, measured) in told.iter().zip(&measured) {
        assert_eq!(told["metric"], measured.metric.as_str());
        assert_eq!(told["n"], measured.n);
        match &measured.outcome {
            Ok(value) => {
                assert_eq!((&told["status"], told["value"].as_f64()), (&"ok".into(), Some(value.value)));
                assert_eq!(told["low"].as_f64(), value.interval.map(|interval| interval.low));
                assert_eq!(told["bound"], 0.0);
            }
            Err(reason) => {
                assert_eq!(told["status"], reason.status());
                assert!(told["value"].is_null() && told["detail"].is_string());
            }
        }
    }
    assert_eq!(object["estimates"], Value::Array(Vec::new()));
    assert_eq!(object["rows_left_out"], 0);
}

#[test]
fn the_command_gives_the_metrics_of_two_classes() {
    let case = cases("binary").into_iter().find(|case| case["id"] == "o-bin-overconf-500-0.1");
    let case = case.expect("the case");
    let mut text = "y,p\n".to_owned();
    for (label, score) in binary_pairs(&case) {
        writeln!(text, "{},{score}", u8::from(label)).expect("a string");
    }
    let dir = directory("rows.csv", &text);
    let arguments = ["rows.csv", "--task", "binary", "--label", "y", "--score", "p", "--threshold", "0.3"];
    assert_same(&json(&dir, &arguments), &binary_rows(&case));
}

#[test]
fn the_command_gives_the_metrics_of_several_classes_by_place_and_by_name() {
    let case = cases("multiclass").remove(0);
    let rows = multiclass_rows(&case, &class_scores(&case));
    let scores = case["input"]["proba"].as_array().expect("scores");
    let file = |label: &dyn Fn(usize) -> String| {
        let mut text = "kind,c0,c1,c2\n".to_owned();
        for (class, scores) in places(&case["input"]["y"]).into_iter().zip(scores) {
            let scores: Vec<String> = numbers(scores).iter().map(f64::to_string).collect();
            writeln!(text, "{},{}", label(class), scores.join(",")).expect("a string");
        }
        directory("rows.csv", &text)
    };
    let arguments = ["rows.csv", "--task", "multiclass", "--label", "kind", "--scores", "c0,c1,c2"];
    assert_same(&json(&file(&|class| class.to_string()), &arguments), &rows);
    assert_same(&json(&file(&|class| format!("c{class}")), &arguments), &rows);
}

#[test]
fn the_command_gives_the_metrics_of_orders() {
    let case = cases("ranking").remove(0);
    let mut text = String::new();
    for (query, row) in ranked(&case) {
        let line = serde_json::json!({ "q": query, "r": row.relevance, "s": row.score });
        writeln!(text, "{line}").expect("a string");
    }
    let dir = directory("rows.jsonl", &text);
    let arguments = ["rows.jsonl", "--task", "ranking", "--query", "q", "--relevance", "r", "--score", "s"];
    assert_same(&json(&dir, &arguments), &ranking_rows(&case));
}

#[test]
fn rows_that_cannot_be_read_are_left_out_and_told() {
    let dir = directory("rows.csv", "y,p\n1,2\nx,3\n2,\n4,inf\n3,1\n");
    let arguments = ["rows.csv", "--task", "regression", "--label", "y", "--prediction", "p"];
    let object = json(&dir, &arguments);
    assert_eq!((object["rows"].as_u64(), object["rows_left_out"].as_u64()), (Some(5), Some(3)));
    let reasons = serde_json::json!([
        { "column": "p", "reason": "missing", "rows": 1 },
        { "column": "p", "reason": "not a finite number", "rows": 1 },
        { "column": "y", "reason": "not a number", "rows": 1 },
    ]);
    assert_eq!(object["left_out"], reasons);
    assert_eq!(object["metrics"][0]["value"], 1.5);
    let output = run(&dir, &arguments);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("note: 1 of 5 rows are left out: `y` is not a number"), "{text}");
}

#[test]
fn decisions_alone_leave_the_metrics_of_scores_out() {
    let dir = directory("rows.csv", "y,yhat\ntrue,1\nfalse,0\ntrue,0\nfalse,false\n");
    let object = json(&dir, &["rows.csv", "--task", "binary", "--label", "y", "--prediction", "yhat"]);
    let status = |name: &str| {
        let metrics = object["metrics"].as_array().expect("metrics");
        let found = metrics.iter().find(|metric| metric["metric"] == name).expect("the metric");
        (found["status"].as_str().expect("a status").to_owned(), found["value"].as_f64())
    };
    for name in ["roc_auc", "average_precision", "log_loss", "brier", "ece", "spiegelhalter_z"] {
        assert_eq!(status(name), ("not_applicable".to_owned(), None), "{name}");
    }
    assert_eq!(status("accuracy"), ("ok".to_owned(), Some(0.75)));
    assert_eq!(status("precision"), ("ok".to_owned(), Some(1.0)));
}

#[test]
fn predicted_classes_are_compared_by_name() {
    let dir = directory("rows.csv", "y,yhat\ncat,cat\ndog,cat\n1,1.0\nbird,bird\n");
    let object = json(&dir, &["rows.csv", "--task", "multiclass", "--label", "y", "--prediction", "yhat"]);
    assert_eq!(object["metrics"][0]["value"], 0.75);
    assert_eq!(
        object["metrics"].as_array().expect("metrics").last().expect("one")["status"],
        "not_applicable"
    );
}

#[test]
fn mistakes_of_the_operator_are_told() {
    let dir = directory("rows.csv", "label,score,other\n1,0.5,a\n0,0.2,b\n");
    let base = ["rows.csv", "--task"];
    for (arguments, message) in [
        (vec!["binary", "--label", "label"], "--task binary needs --score or --prediction"),
        (vec!["binary", "--score", "score"], "--task binary needs --label"),
        (vec!["binary", "--label", "labl", "--score", "score"], "no column `labl`; did you mean `label`?"),
        (
            vec!["regression", "--label", "label", "--score", "score"],
            "has no use for --score; it takes --label",
        ),
        (vec!["ranking", "--k", "0"], "--k starts at 1"),
        (
            vec!["binary", "--label", "label", "--score", "score", "--threshold", "NaN"],
            "must be a finite number",
        ),
        (
            vec!["multiclass", "--label", "other", "--scores", "score"],
            "the label `a` is no class of --scores",
        ),
        (vec!["multiclass", "--label", "other", "--scores", "score,score"], "names the column `score` twice"),
    ] {
        let output = run(&dir, &[&base[..], &arguments].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(message), "{error}");
    }
}

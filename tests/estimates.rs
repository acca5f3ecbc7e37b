//! Estimates without labels: their values against other people's, the coverage of their intervals, and the
//! command.

use std::collections::BTreeMap;
use std::fs;

use driftline::performance::Measured;
use driftline::performance::estimate::{Cbpe, Cell};
use serde_json::Value;

// === values of other software ===

fn cases(file: &str) -> Vec<Value> {
    let path = format!("{}/tests/golden/{file}.json", env!("CARGO_MANIFEST_DIR"));
    let file: Value = serde_json::from_str(&fs::read_to_string(path).expect("golden values")).expect("JSON");
    file["cases"].as_array().expect("cases").clone()
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number")).collect()
}

fn flags(text: &Value) -> Vec<bool> {
    text.as_str().expect("flags").chars().map(|flag| flag == '1').collect()
}

/// A row of a classifier: its score, what was predicted, what came true.
#[derive(Clone, Copy)]
struct Scored {
    score: f64,
    prediction: bool,
    label: bool,
}

fn scored(part: &Value, labels: &str) -> Vec<Scored> {
    let rows = numbers(&part["p"]).into_iter().zip(flags(&part["y_pred"])).zip(flags(&part[labels]));
    rows.map(|((score, prediction), label)| Scored { score, prediction, label }).collect()
}

fn reference(rows: &[Scored]) -> Cbpe {
    Cbpe::from_rows(rows.iter().map(|row| (row.score, row.label)).collect()).expect("two classes")
}

/// A cell for each row.
fn cells(rows: &[Scored]) -> Vec<Cell> {
    let predicted = |row: &Scored| if row.prediction { [0, 1] } else { [1, 0] };
    rows.iter().map(|row| Cell { score: row.score, predicted: predicted(row) }).collect()
}

fn value(measured: &[Measured], metric: &str) -> f64 {
    let found = measured.iter().find(|measured| measured.metric == metric).expect("a metric");
    found.outcome.as_ref().unwrap_or_else(|reason| panic!("{metric}: {reason}")).value
}

#[test]
fn expected_metrics_are_those_of_nannyml() {
    let case = cases("d2_cbpe").remove(0);
    let reference_rows = scored(&case["input"]["reference"], "y");
    let cbpe = reference(&reference_rows);
    assert_eq!(cbpe.calibrates(), case["expected"]["needs_calibration"].as_bool().expect("a decision"));
    for (at, want) in numbers(&case["expected"]["isotonic_on_grid_0_1_101"]).iter().enumerate() {
        let got = cbpe.probability(at as f64 / 100.0);
        assert!((got - want).abs() <= 1e-9, "at {at} %: {got}, want {want}");
    }
    let columns = case["expected"]["columns"].as_array().expect("columns");
    let mut windows = reference_rows.chunks(2000).collect::<Vec<_>>();
    let analysis = scored(&case["input"]["analysis"], "y_for_checking_only");
    windows.extend(analysis.chunks(2000));
    let mut compared = 0;
    for (window, row) in windows.iter().zip(case["expected"]["rows"].as_array().expect("rows")) {
        let measured = cbpe.estimate(&cells(window));
        for (column, want) in columns.iter().zip(row.as_array().expect("a row")) {
            let Some(metric) = column.as_str().and_then(|column| column.strip_suffix("|value")) else {
                continue;
            };
            let (got, want) = (value(&measured, metric), want.as_f64().expect("a number"));
            assert!((got - want).abs() <= 1e-6 * want.abs(), "{metric} of {}: {got}, want {want}", row[0]);
            compared += 1;
        }
    }
    assert_eq!(compared, 15 * 7);
}

#[test]
fn prior_shift_is_that_of_the_published_formulas() {
    use driftline::performance::estimate::{ClassCell, PriorReference};
    for case in cases("g_prior_shift") {
        let largest =
            |row: &[f64]| (0..row.len()).rev().max_by(|a, b| row[*a].total_cmp(&row[*b])).expect("a class");
        let rows = |name: &str| -> Vec<Vec<f64>> {
            case["input"][name].as_array().expect("rows").iter().map(numbers).collect()
        };
        let (source, target) = (rows("source_proba"), rows("target_proba"));
        let classes = source[0].len();
        let mut table = vec![vec![0; classes]; classes];
        for (row, class) in source.iter().zip(numbers(&case["input"]["source_y"])) {
            table[largest(row)][class as usize] += 1;
        }
        let mut predicted = vec![0; classes];
        target.iter().for_each(|row| predicted[largest(row)] += 1);
        let cells: Vec<ClassCell> =
            target.into_iter().map(|probabilities| ClassCell { probabilities, rows: 1 }).collect();
        let shift = PriorReference::from_table(&table).expect("classes").estimate(&predicted, &cells);
        let shift = shift.expect("shares");
        let want = |name: &str| numbers(&case["expected"][name]);
        let near = |name: &str, got: &[f64], absolute: f64, relative: f64| {
            for (got, want) in got.iter().zip(want(name)) {
                assert!((got - want).abs() <= absolute + relative * want.abs(), "{name}: {got}, want {want}");
            }
        };
        near("bbse_weights_raw", shift.weights.as_deref().expect("solved"), 0.0, 1e-8);
        near("bbse_target_prior_raw", shift.solved.as_deref().expect("solved"), 0.0, 1e-8);
        near("em_target_prior", &shift.likeliest, 1e-8, 0.0);
        for (interval, truth) in shift.intervals.iter().zip(numbers(&case["expected"]["true_target_prior"])) {
            assert!(interval.low <= truth && truth <= interval.high, "{interval:?} without {truth}");
        }
    }
}

#[test]
fn confidence_sequences_are_those_of_their_authors() {
    use driftline::sequential::confidence::{empirical_bernstein, hoeffding};
    for case in cases("h_confidence_sequences") {
        let values = numbers(&case["input"]["x"]);
        let tolerance = case["tol"]["abs"].as_f64().expect("a number");
        for (kind, want) in case["expected"].as_object().expect("sequences") {
            let alpha: f64 = kind.split('_').nth(1).expect("a level").parse().expect("a number");
            for row in want.as_array().expect("rows").iter().map(numbers) {
                let values = &values[..=row[0] as usize];
                let got = match kind.split('_').next() {
                    Some("empbern") => empirical_bernstein(values, alpha).pop(),
                    Some("hoeffding") => hoeffding(values, alpha).pop(),
                    _ => continue,
                };
                let got = got.expect("an interval");
                for (got, want) in [(got.low, row[1]), (got.high, row[2])] {
                    let apart = (got - want).abs();
                    assert!(apart <= tolerance, "{} {kind} at {}: {got}, want {want}", case["id"], row[0]);
                }
            }
        }
    }
}

// === bins in place of rows ===

/// The rows counted into bins of equal width: negatives, positives, and cells.
fn binned(rows: &[Scored], bins: usize) -> (Vec<f64>, Vec<u64>, Vec<u64>, Vec<Cell>) {
    let scores: Vec<f64> = (0..bins).map(|bin| (bin as f64 + 0.5) / bins as f64).collect();
    let (mut positives, mut negatives) = (vec![0; bins], vec![0; bins]);
    let mut cells: Vec<Cell> = scores.iter().map(|&score| Cell { score, predicted: [0, 0] }).collect();
    for row in rows {
        let bin = ((row.score * bins as f64) as usize).min(bins - 1);
        if row.label {
            positives[bin] += 1
        } else {
            negatives[bin] += 1
        }
        cells[bin].predicted[usize::from(row.prediction)] += 1;
    }
    (scores, positives, negatives, cells)
}

#[test]
fn estimates_from_bins_are_within_their_bound_of_those_from_rows() {
    // Scores that differ from one another; those of the golden case are rounded to hundredths.
    let mut random = Random(7);
    let rows = random.rows(20_000, 0.3);
    let (reference_rows, window) = rows.split_at(10_000);
    let exact = reference(reference_rows).estimate(&cells(window));
    for bins in [50, 256, 1000] {
        let (scores, positives, negatives, _) = binned(reference_rows, bins);
        let cbpe = Cbpe::from_counts(&scores, &positives, &negatives).expect("two classes");
        let got = cbpe.estimate_binned(&binned(window, bins).3);
        for measured in &got {
            let (bound, value) = measured.outcome.as_ref().map(|v| (v.bound, v.value)).expect("a value");
            let apart = (value - self::value(&exact, &measured.metric)).abs();
            println!("{bins} {}: {apart:.2e} apart, bound {bound:.2e}", measured.metric);
            assert!(
                apart <= bound.max(1e-9),
                "{} of {bins} bins: {apart} apart, bound {bound}",
                measured.metric
            );
        }
    }
}

#[test]
fn windows_of_bins_merge_by_addition() {
    let mut random = Random(8);
    let rows = random.rows(6_000, 0.3);
    let (scores, positives, negatives, _) = binned(&rows, 200);
    let cbpe = Cbpe::from_counts(&scores, &positives, &negatives).expect("two classes");
    let (early, late) = rows.split_at(2_500);
    let mut merged = binned(early, 200).3;
    for (cell, other) in merged.iter_mut().zip(binned(late, 200).3) {
        cell.predicted[0] += other.predicted[0];
        cell.predicted[1] += other.predicted[1];
    }
    assert_eq!(cbpe.estimate_binned(&merged), cbpe.estimate_binned(&binned(&rows, 200).3));
}

// === how often the intervals hold what comes true ===

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.uniform()).ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Rows whose logit is normal around the given one; the score is not the chance of a positive, but a
    /// function of it.
    fn rows(&mut self, n: usize, logit: f64) -> Vec<Scored> {
        let row = |_| {
            let x = logit - 1.5 + 1.7 * self.normal();
            let chance = 1.0 / (1.0 + (-x).exp());
            let score = 1.0 / (1.0 + (-0.6 * x - 0.4).exp());
            Scored { score, prediction: score >= 0.5, label: self.uniform() < chance }
        };
        (0..n).map(row).collect()
    }
}

#[test]
fn intervals_of_expected_metrics_hold_the_realised_ones() {
    use driftline::performance::{Binary, BinaryRow, Rows, evaluate};
    let runs = 600;
    for reference_rows in [2_000, 20_000] {
        let mut random = Random(11);
        let mut held: BTreeMap<String, u32> = BTreeMap::new();
        for _ in 0..runs {
            let (scores, positives, negatives, _) = binned(&random.rows(reference_rows, 0.3), 500);
            let cbpe = Cbpe::from_counts(&scores, &positives, &negatives).expect("two classes");
            // The inputs have moved, what they mean has not.
            let window = random.rows(1_000, 0.6);
            let row = |row: &Scored| BinaryRow {
                label: row.label,
                prediction: row.prediction,
                score: Some(row.score),
            };
            let rows = Binary::new(&window.iter().map(row).collect::<Vec<_>>()).expect("finite scores");
            let realised = evaluate(&Rows::Binary(rows));
            for measured in cbpe.estimate_binned(&binned(&window, 500).3) {
                let interval = measured.outcome.expect("a value").interval.expect("an interval");
                let realised = value(&realised, &measured.metric);
                let holds = interval.low <= realised && realised <= interval.high;
                *held.entry(measured.metric).or_default() += u32::from(holds);
            }
        }
        for (metric, held) in held {
            let share = f64::from(held) / f64::from(runs);
            println!("{reference_rows} {metric}: {share:.3}");
            assert!((0.93..=0.97).contains(&share), "{metric}, {reference_rows} reference rows: {share}");
        }
    }
}

#[test]
fn intervals_of_expected_errors_hold_the_realised_ones() {
    use driftline::performance::RegressionRow;
    use driftline::performance::estimate::Dle;
    // The error grows with the first feature; the second says nothing.
    let draw = |random: &mut Random, n: usize, shift: f64| -> Vec<(Vec<f64>, RegressionRow)> {
        let row = |_| {
            let (x, other) = (random.uniform() + shift, random.uniform());
            let truth = 10.0 + x + (0.2 + x) * random.normal();
            (vec![x, other], RegressionRow { truth, prediction: 10.0 + x })
        };
        (0..n).map(row).collect()
    };
    let mut random = Random(21);
    let runs = 12;
    let mut held = 0;
    let mut far = 0;
    for _ in 0..runs {
        let (features, rows): (Vec<_>, Vec<_>) = draw(&mut random, 600, 0.0).into_iter().unzip();
        let dle = Dle::fit(&features, &rows).expect("enough rows");
        // All rows come from where the errors are large.
        let window: Vec<_> =
            draw(&mut random, 1_000, 0.0).into_iter().filter(|(row, _)| row[0] > 0.6).collect();
        let realised = window.iter().map(|(_, row)| (row.prediction - row.truth).abs()).sum::<f64>();
        let realised = realised / window.len() as f64;
        let rows: Vec<_> = window.into_iter().map(|(features, row)| (features, row.prediction)).collect();
        let mae = dle.estimate(&rows).remove(0).outcome.expect("a value");
        let interval = mae.interval.expect("an interval");
        held += u32::from(interval.low <= realised && realised <= interval.high);
        // The truth is the mean of 0.2 + x over 0.6..1 times √(2/π).
        far += u32::from((mae.value - (2.0 / std::f64::consts::PI).sqrt()).abs() > 0.2);
    }
    let share = f64::from(held) / f64::from(runs);
    println!("mae: {share:.3}, {far} far");
    assert!(share >= 0.75 && far == 0, "{share}, {far} far");
}

// === the command ===

fn evaluate_file(arguments: &[&str]) -> std::process::Output {
    let program = env!("CARGO_BIN_EXE_driftline");
    std::process::Command::new(program).arg("evaluate").args(arguments).output().expect("it runs")
}

fn csv(rows: &[Scored], labelled: bool) -> String {
    let mut text = String::from(if labelled { "p,y_hat,y\n" } else { "p,y_hat\n" });
    for row in rows {
        let label = if labelled { format!(",{}", u8::from(row.label)) } else { String::new() };
        text.push_str(&format!("{},{}{label}\n", row.score, u8::from(row.prediction)));
    }
    text
}

#[test]
fn a_file_without_labels_is_estimated_from_a_reference() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("a path").to_owned();
    let mut random = Random(31);
    let (known, window) = (random.rows(3_000, 0.3), random.rows(1_000, 0.6));
    fs::write(path("reference.csv"), csv(&known, true)).expect("written");
    fs::write(path("unlabelled.csv"), csv(&window, false)).expect("written");
    // What the scores mean is turned around.
    let turned: Vec<Scored> = window.iter().map(|row| Scored { label: !row.label, ..*row }).collect();
    fs::write(path("turned.csv"), csv(&turned, true)).expect("written");
    let columns = ["--task", "binary", "--label", "y", "--score", "p", "--prediction", "y_hat"];
    let run = |file: &str, last: &[&str]| {
        let (file, reference) = (path(file), path("reference.csv"));
        let arguments = [&[file.as_str()], &columns[..], &["--reference", &reference], last].concat();
        let output = evaluate_file(&arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let parsed: Value = serde_json::from_str(&run("unlabelled.csv", &["--json"])).expect("JSON");
    assert_eq!(parsed["metrics"], Value::Array(Vec::new()));
    let auc = &parsed["estimates"][0];
    let exact = reference(&known).estimate(&cells(&window));
    assert!((auc["value"].as_f64().expect("a number") - value(&exact, "roc_auc")).abs() < 1e-12);
    assert_eq!((auc["realised"].is_null(), auc["estimator"].as_str()), (true, Some("cbpe")));
    let parsed: Value = serde_json::from_str(&run("turned.csv", &["--json"])).expect("JSON");
    assert_eq!(parsed["estimates"][0]["reliable"], false);
    assert_eq!(parsed["estimates"][0]["realised"], parsed["metrics"][0]["value"]);
    assert!(run("turned.csv", &[]).contains("unreliable: the realised value is outside"));
}

#[test]
fn an_estimate_that_cannot_be_made_says_why() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("a path").to_owned();
    fs::write(path("few.csv"), "p,y\n0.1,0\n0.9,1\n").expect("written");
    let file = path("few.csv");
    let of = |arguments: &[&str]| {
        let all = [&[file.as_str(), "--reference", file.as_str(), "--label", "y"], arguments].concat();
        let output = evaluate_file(&all);
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).expect("text")
    };
    assert!(of(&["--task", "binary", "--score", "p"]).contains("n is 1 and has to be at least 10"));
    assert!(of(&["--task", "binary", "--prediction", "y"]).contains("--reference needs --score"));
    assert!(of(&["--task", "multiclass", "--prediction", "p"]).contains("has no use for --reference"));
    assert!(of(&["--task", "regression", "--prediction", "p"]).contains("n is 2 and has to be at least 100"));
}

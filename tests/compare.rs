//! `driftline compare` from outside: its object, its values against other people's, its exit codes.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn compare(dir: &TempDir, arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_driftline");
    Command::new(program).arg("compare").args(arguments).current_dir(dir.path()).output().expect("it runs")
}

fn json(dir: &TempDir, arguments: &[&str]) -> Value {
    let output = compare(dir, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one object")
}

fn write(dir: &TempDir, name: &str, text: &str) {
    fs::write(dir.path().join(name), text).expect("written");
}

fn column_of<'a>(object: &'a Value, name: &str) -> &'a Value {
    let columns = object["columns"].as_array().expect("columns");
    columns.iter().find(|column| column["name"] == name).expect("the column")
}

fn statistic<'a>(column: &'a Value, test: &str) -> Option<&'a Value> {
    column["statistics"].as_array().expect("statistics").iter().find(|statistic| statistic["test"] == test)
}

fn golden(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let text = fs::read_to_string(path).expect("golden values");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    document["cases"].as_array().expect("cases").clone()
}

fn values(list: &Value) -> Vec<f64> {
    list.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}

fn csv(values: &[f64]) -> String {
    let lines: Vec<String> = values.iter().map(f64::to_string).collect();
    format!("x\n{}\n", lines.join("\n"))
}

/// scipy's Cramér–von Mises statistic, which with ties grows with the sizes of the samples where ours does
/// not: it is compared where there are none.
fn without_ties<'a>(reference: &[f64], current: &[f64], expected: &'a Value) -> &'a Value {
    let mut all = [reference, current].concat();
    all.sort_by(f64::total_cmp);
    if all.windows(2).any(|pair| pair[0] == pair[1]) { &Value::Null } else { expected }
}

#[test]
fn distances_agree_with_reference_values_within_their_bound() {
    let dir = TempDir::new().expect("a directory");
    let mut checked = 0;
    for case in [golden("a1_two_sample_small.json"), golden("a2_two_sample_medium.json")].concat() {
        let (current, reference) = (values(&case["input"]["x_window"]), values(&case["input"]["y_baseline"]));
        if current.len() < 50 || reference.len() < 50 {
            continue;
        }
        write(&dir, "reference.csv", &csv(&reference));
        write(&dir, "current.csv", &csv(&current));
        let object = json(&dir, &["reference.csv", "current.csv"]);
        let column = column_of(&object, "x");
        assert_eq!(column["reference_n"], reference.len());
        assert_eq!(column["current_n"], current.len());
        let expected = &case["expected"];
        for (test, expected) in [
            ("ks", &expected["ks"]["statistic"]),
            ("kuiper", &expected["kuiper"]["statistic"]),
            ("wasserstein", &expected["wasserstein1"]),
            ("energy", &expected["energy_distance_sqrt"]),
            ("cvm", without_ties(&reference, &current, &expected["cvm"]["statistic"])),
        ] {
            let (Some(found), Some(expected)) = (statistic(column, test), expected.as_f64()) else {
                continue;
            };
            let place = format!("{test} of {}: {found} but {expected}", case["id"]);
            let value = found["statistic"].as_f64().expect("a number");
            let bound = found["bound"].as_f64().expect("a bound");
            let slack = 1e-9 * expected.abs().max(1.0);
            assert!((value - expected).abs() <= bound + slack, "{place}");
            let has_a_bin_each = current.len() + reference.len() <= 4_096;
            assert!(!has_a_bin_each || bound <= 1e-3 * expected.abs() + slack, "not exact: {place}");
            checked += 1;
        }
        if let (Some(p_value), Some(found)) = (expected["ks"]["p_exact"].as_f64(), statistic(column, "ks"))
            && found["detail"] == "exact p-value"
        {
            let value = found["p_value"].as_f64().expect("a number");
            assert!((value / p_value - 1.0).abs() < 1e-6, "{}: {value} but {p_value}", case["id"]);
            checked += 1;
        }
    }
    assert!(checked >= 60, "only {checked} values were checked");
}

/// Deterministic numbers that look like chance, evenly in 0..1.
fn even(count: u64, seed: u64) -> impl Iterator<Item = f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count).map(move |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    })
}

#[test]
fn large_samples_are_within_a_small_bound() {
    let dir = TempDir::new().expect("a directory");
    let reference: Vec<f64> = even(40_000, 1).collect();
    let current: Vec<f64> = even(20_000, 2).map(|value| value * value).collect();
    write(&dir, "reference.csv", &csv(&reference));
    write(&dir, "current.csv", &csv(&current));
    let object = json(&dir, &["reference.csv", "current.csv"]);
    let ks = statistic(column_of(&object, "x"), "ks").expect("ks").clone();
    let (mut before, mut after) = (reference, current);
    before.sort_by(f64::total_cmp);
    after.sort_by(f64::total_cmp);
    let share =
        |sorted: &[f64], at: f64| sorted.partition_point(|value| *value <= at) as f64 / sorted.len() as f64;
    let all = before.iter().chain(&after);
    let exact = all.map(|at| (share(&before, *at) - share(&after, *at)).abs()).fold(0.0, f64::max);
    let (value, bound) = (ks["statistic"].as_f64().expect("D"), ks["bound"].as_f64().expect("bound"));
    assert!(
        bound < 1e-3 && value <= exact + 1e-12 && exact <= value + bound + 1e-12,
        "{value} {exact} {bound}"
    );
}

#[test]
fn equal_samples_are_not_told_apart() {
    let dir = TempDir::new().expect("a directory");
    let mut alarms = 0;
    for seed in 0..40 {
        write(&dir, "reference.csv", &csv(&even(6_000, 3 + 2 * seed).collect::<Vec<_>>()));
        write(&dir, "current.csv", &csv(&even(800, 4 + 2 * seed).collect::<Vec<_>>()));
        let object = json(&dir, &["reference.csv", "current.csv"]);
        for test in ["ks", "g", "chi2"] {
            let p_value = statistic(column_of(&object, "x"), test).expect("a test")["p_value"].as_f64();
            alarms += u32::from(p_value.expect("a p-value") < 0.01);
        }
    }
    // 1.2 are expected of 120.
    assert!(alarms <= 6, "{alarms} of 120 p-values are below 0.01");
}

#[test]
fn each_file_kind_gives_the_same_object() {
    let dir = TempDir::new().expect("a directory");
    write(&dir, "a.csv", "n,name\n1,x\n2.5,y\n,x\n");
    write(&dir, "b.csv", "name,n\nx,1\nz,7\n");
    write(&dir, "a.jsonl", "{\"n\":1,\"name\":\"x\"}\n{\"n\":2.5,\"name\":\"y\"}\n{\"name\":\"x\"}\n");
    write(&dir, "b.jsonl", "{\"name\":\"x\",\"n\":1}\n{\"n\":7,\"name\":\"z\"}\n");
    let object = json(&dir, &["a.csv", "b.csv"]);
    assert_eq!(object, json(&dir, &["a.jsonl", "b.jsonl"]));
    assert_eq!(object, json(&dir, &["a.csv", "b.jsonl"]));
    let (number, name) = (column_of(&object, "n"), column_of(&object, "name"));
    assert_eq!((&number["kind"], &name["kind"]), (&"numeric".into(), &"categorical".into()));
    assert_eq!((&number["reference_n"], &number["current_n"]), (&2.into(), &2.into()));
    assert!(statistic(name, "ks").is_none(), "names have no order");
    assert_eq!(statistic(name, "unseen").expect("unseen")["statistic"], 0.5);
}

#[test]
fn what_cannot_be_tested_says_why_and_has_no_numbers() {
    let dir = TempDir::new().expect("a directory");
    write(&dir, "a.csv", "constant,empty,x\n5,,1\n5,,2\n5,,3\n");
    write(&dir, "b.csv", "constant,empty,x\n5,,\n6,,\n7,,\n");
    let object = json(&dir, &["a.csv", "b.csv"]);
    for (name, status) in
        [("constant", "degenerate"), ("empty", "insufficient_data"), ("x", "insufficient_data")]
    {
        let ks = statistic(column_of(&object, name), "ks").expect("ks");
        assert_eq!(ks["status"], status, "{name}");
        assert!(ks["statistic"].is_null() && ks["p_value"].is_null() && ks["bound"].is_null());
        assert!(ks["detail"].as_str().is_some_and(|why| !why.is_empty()));
    }
}

#[test]
fn columns_of_one_file_only_are_noted() {
    let dir = TempDir::new().expect("a directory");
    write(&dir, "a.csv", "label,gone,score\n1,2,3\n2,3,4\n");
    write(&dir, "b.csv", "score,fresh,label\n1,2,3\n2,3,4\n");
    let object = json(&dir, &["a.csv", "b.csv"]);
    let names: Vec<&Value> =
        object["columns"].as_array().expect("columns").iter().map(|c| &c["name"]).collect();
    assert_eq!(names, ["label", "score"]);
    let notes = object["notes"].to_string();
    assert!(notes.contains("`gone` is in the reference file only"), "{notes}");
    assert!(notes.contains("`fresh` is in the current file only"), "{notes}");
    let object = json(&dir, &["a.csv", "b.csv", "--columns", "score", "--categorical", "score"]);
    assert_eq!(object["columns"].as_array().map(Vec::len), Some(1));
    assert_eq!(object["columns"][0]["kind"], "categorical");
    assert_eq!(object["notes"], Value::Array(Vec::new()));
}

#[test]
fn mistakes_have_exit_code_two_and_a_hint() {
    let dir = TempDir::new().expect("a directory");
    write(&dir, "a.csv", "income\n1\n2\n");
    write(&dir, "b.csv", "other\n1\n2\n");
    write(&dir, "header.csv", "income\n");
    write(&dir, "empty.csv", "");
    write(&dir, "a.txt", "income\n1\n");
    for (arguments, words) in [
        (vec!["a.csv", "no.csv"], "no.csv"),
        (vec!["a.txt", "a.csv"], "no known format"),
        (vec!["empty.csv", "a.csv"], "has no rows"),
        (vec!["header.csv", "a.csv"], "no rows"),
        (vec!["a.csv", "a.csv", "--columns", "incom"], "did you mean `income`"),
        (vec!["a.csv", "b.csv", "--columns", "income"], "b.csv has no column `income`"),
        (vec!["a.csv"], "CURRENT"),
    ] {
        let output = compare(&dir, &arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(words), "{arguments:?}: {text}");
    }
}

#[test]
fn the_text_has_the_column_that_moved_most_first() {
    let dir = TempDir::new().expect("a directory");
    let rows = |shift: f64| -> String {
        let lines =
            even(300, 9).enumerate().map(|(row, value)| format!("{value},{}\n", row as f64 / 300.0 + shift));
        format!("still,moved\n{}", lines.collect::<String>())
    };
    write(&dir, "a.csv", &rows(0.0));
    write(&dir, "b.csv", &rows(0.5));
    let output = compare(&dir, &["a.csv", "b.csv"]);
    let text = String::from_utf8(output.stdout).expect("text");
    let (moved, still) = (text.find("\nmoved "), text.find("\nstill "));
    assert!(moved.is_some() && moved < still, "{text}");
    assert!(text.contains("p-value"), "{text}");
}

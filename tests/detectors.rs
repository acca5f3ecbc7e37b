//! Holds the sequential detectors against other people's implementations, and what all of them promise.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use driftline::sequential::{DETECTORS, DetectorKind, Input, SettingError, Signal, Watch, upper_rate};
use flate2::read::GzDecoder;
use serde_json::{Value, json};

/// What the reference implementations call the detectors of the table.
const NAMES: [(&str, &str); 7] = [
    ("ADWIN", "adwin"),
    ("PageHinkley", "page_hinkley"),
    ("CUSUM", "cusum"),
    ("DDM", "ddm"),
    ("EDDM", "eddm"),
    ("HDDM_A", "hddm_a"),
    ("HDDM_W", "hddm_w"),
];
/// Detectors of the file of reference values that are not in the table.
const NOT_OURS: [&str; 2] = ["KSWIN", "FHDDM"];

fn golden(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let mut file = File::open(&path).expect("a file of reference values");
    let mut text = String::new();
    if name.ends_with(".gz") {
        GzDecoder::new(file).read_to_string(&mut text).expect("gzipped text");
    } else {
        file.read_to_string(&mut text).expect("text");
    }
    let value: Value = serde_json::from_str(&text).expect("JSON");
    value["cases"].as_array().expect("cases").clone()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number")).collect()
}

fn indices(value: &Value) -> Vec<usize> {
    serde_json::from_value(value.clone()).expect("indices")
}

fn bits(text: &str) -> Vec<f64> {
    text.bytes().map(|bit| f64::from(u8::from(bit == b'1'))).collect()
}

fn streams() -> BTreeMap<String, Vec<f64>> {
    let cases = golden("c_online_detectors.json.gz");
    let values = |input: &Value| match input["values"].as_str() {
        Some(text) => bits(text),
        None => numbers(&input["values"]),
    };
    let streams = cases.iter().filter(|case| case["kind"] == "stream");
    streams
        .map(|case| (case["stream"].as_str().expect("a name").to_owned(), values(&case["input"])))
        .collect()
}

/// The detectors' cases of all files but the e-detectors', by our name.
fn cases() -> Vec<(&'static str, Value)> {
    let all = golden("c_online_detectors.json.gz").into_iter().chain(golden("cusum.json"));
    all.filter(|case| case["kind"] == "detector")
        .filter_map(|case| {
            let theirs = case["detector"].as_str().expect("a detector");
            let ours = NAMES.iter().find(|(name, _)| *name == theirs).map(|(_, ours)| *ours);
            assert!(ours.is_some() || NOT_OURS.contains(&theirs), "{theirs}");
            ours.map(|ours| (ours, case))
        })
        .collect()
}

fn start(name: &str, parameters: &[(&str, &str)]) -> Watch {
    let kind = DetectorKind::named(name).expect("a detector");
    let settings = kind.settings(parameters.iter().copied()).expect("parameters");
    kind.start(&settings).expect("parameters that go together")
}

fn start_case(name: &str, case: &Value) -> Watch {
    let parameters: Vec<(String, String)> = case["params"]
        .as_object()
        .expect("parameters")
        .iter()
        .map(|(key, value)| (key.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    let parameters: Vec<(&str, &str)> =
        parameters.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    start(name, &parameters)
}

/// Drifts, and where warnings began.
fn run(watch: &mut Watch, values: &[f64], mut after: impl FnMut(usize, &Watch)) -> [Vec<usize>; 2] {
    let mut found = [Vec::new(), Vec::new()];
    let mut before = Signal::default();
    for (index, value) in values.iter().enumerate() {
        let signal = watch.update(*value).expect("an allowed value");
        if signal.drift {
            found[0].push(index);
        }
        if signal.warning && !before.warning {
            found[1].push(index);
        }
        before = signal;
        after(index, watch);
    }
    found
}

fn assert_near(got: f64, want: f64, context: &str) {
    let allowed = 1e-9 * want.abs().max(1.0);
    assert!((got - want).abs() <= allowed, "{context}: got {got:e}, want {want:e}");
}

#[test]
fn drifts_warnings_and_states_are_those_of_the_reference() {
    let streams = streams();
    let mut checked: BTreeMap<&str, (usize, usize, usize)> = BTreeMap::new();
    for (name, case) in cases() {
        let id = case["id"].as_str().expect("an id");
        let values = &streams[case["stream"].as_str().expect("a stream")];
        let expected = case["expected"].as_object().expect("expectations");
        let trace = expected.iter().find(|(key, _)| key.starts_with("trace_"));
        let mut rows: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        let mut columns: Vec<String> = Vec::new();
        if let Some((key, trace)) = trace {
            let names = key.split(['[', ']']).nth(1).expect("columns");
            columns = names.split(',').skip(1).map(str::to_owned).collect();
            for row in trace.as_array().expect("a trace") {
                let index = row[0].as_u64().expect("an index");
                rows.insert(usize::try_from(index).expect("small"), numbers(row));
            }
        }
        let tally = checked.entry(name).or_default();
        let found = run(&mut start_case(name, &case), values, |index, watch| {
            let Some(row) = rows.get(&index) else { return };
            let state: BTreeMap<_, _> = watch.state().into_iter().collect();
            for (column, want) in columns.iter().zip(&row[1..]) {
                assert_near(state[column.as_str()], *want, &format!("{id}, {index}, {column}"));
                tally.2 += 1;
            }
        });
        assert_eq!(found[0], indices(&expected["drift_idx"]), "{id}: drifts");
        if let Some(warnings) = expected.get("warning_start_idx") {
            assert_eq!(found[1], indices(warnings), "{id}: warnings");
        }
        tally.0 += 1;
        tally.1 += found[0].len();
    }
    for (_, name) in NAMES {
        let (cases, drifts, _) = checked[name];
        assert!(cases >= 10 && drifts > 0, "{name}: {checked:?}");
    }
    assert!(["adwin", "page_hinkley", "cusum"].iter().all(|name| checked[name].2 > 50), "{checked:?}");
}

#[test]
fn e_detectors_are_those_of_the_formula() {
    let cases = golden("g_e_detector.json");
    assert!(!cases.is_empty());
    for case in cases {
        let values = bits(case["input"]["bits"].as_str().expect("bits"));
        let p0 = case["input"]["p0"].to_string();
        let lambdas = case["input"]["lambdas"].to_string();
        for (name, key, column) in [("e_sr", "SR", 1), ("e_cusum", "CUSUM", 2)] {
            // No alarm at all, so that the evidence is never reset.
            let quiet = [("p0", p0.as_str()), ("alpha", "1e-200"), ("lambdas", lambdas.as_str())];
            let trace: BTreeMap<_, _> = case["expected"]["trace[idx,logSR,logCUSUM]"]
                .as_array()
                .expect("a trace")
                .iter()
                .map(|row| {
                    (row[0].as_u64().expect("an index") as usize, row[column].as_f64().expect("a number"))
                })
                .collect();
            let mut rows = 0;
            let found = run(&mut start(name, &quiet), &values, |index, watch| {
                let Some(want) = trace.get(&index) else { return };
                assert_near(watch.state()[0].1, *want, &format!("{name}, {index}"));
                rows += 1;
            });
            assert_eq!((rows, found[0].len()), (trace.len(), 0), "{name}");
            for (alpha, level) in [("1e-2", "1e+02"), ("1e-3", "1e+03"), ("1e-4", "1e+04"), ("1e-5", "1e+05")]
            {
                let first = case["expected"]["first_crossing"][format!("{key}@{level}")].as_u64();
                // The given strengths are the default ones at this rate.
                let found =
                    run(&mut start(name, &[("p0", p0.as_str()), ("alpha", alpha)]), &values, |_, _| {});
                assert_eq!(found[0].first().map(|index| *index as u64), first, "{name} {alpha}");
            }
        }
    }
}

#[test]
fn every_detector_has_reference_values_and_documented_parameters() {
    let mut names: BTreeSet<&str> = cases().iter().map(|(name, _)| *name).collect();
    names.extend(["e_sr", "e_cusum"]);
    assert_eq!(names, DETECTORS.iter().map(|kind| kind.name).collect());
    for kind in DETECTORS {
        assert!(!kind.about.is_empty() && !kind.parameters.is_empty(), "{}", kind.name);
        let mut seen = BTreeSet::new();
        for parameter in kind.parameters {
            assert!(seen.insert(parameter.name), "{}: {} twice", kind.name, parameter.name);
            assert!(!parameter.about.is_empty(), "{}: {}", kind.name, parameter.name);
        }
        let settings = kind.settings([]).expect("no parameter is needed");
        assert!(kind.start(&settings).is_ok(), "{}: the defaults go together", kind.name);
    }
}

/// A stream whose mean jumps at its middle, of values that the detector takes. The same each time.
fn jump(input: Input, n: usize) -> Vec<f64> {
    let mut state = 7_u64;
    (0..n)
        .map(|index| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let uniform = (state >> 11) as f64 / (1_u64 << 53) as f64;
            let rate = if index < n / 2 { 0.1 } else { 0.6 };
            let bit = f64::from(u8::from(uniform < rate));
            if input == Input::Number { 3.0 * bit + 0.1 * uniform } else { bit }
        })
        .collect()
}

#[test]
fn after_a_drift_a_detector_is_as_new() {
    for kind in DETECTORS {
        let values = jump(kind.input, 6_000);
        let mut watch = start(kind.name, &[]);
        let [drifts, _] = run(&mut watch, &values, |_, _| {});
        let first = *drifts.first().unwrap_or_else(|| panic!("{}: no drift", kind.name));
        let mut old = start(kind.name, &[]);
        run(&mut old, &values[..=first], |_, _| {});
        let mut new = start(kind.name, &[]);
        for value in &values[first + 1..] {
            assert_eq!(old.update(*value), new.update(*value), "{}", kind.name);
            let bits = |watch: &Watch| watch.state().iter().map(|(_, x)| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&old), bits(&new), "{}", kind.name);
        }
    }
}

#[test]
fn equal_streams_give_equal_drifts() {
    for kind in DETECTORS {
        let values = jump(kind.input, 4_000);
        let once = run(&mut start(kind.name, &[]), &values, |_, _| {});
        assert_eq!(once, run(&mut start(kind.name, &[]), &values, |_, _| {}), "{}", kind.name);
    }
}

#[test]
fn a_value_that_is_not_taken_changes_nothing() {
    for kind in DETECTORS {
        let mut watch = start(kind.name, &[]);
        watch.update(1.0);
        let before = watch.state();
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e101, -1e101] {
            assert_eq!(watch.update(value), None, "{}: {value}", kind.name);
        }
        if kind.input != Input::Number {
            assert_eq!(watch.update(-0.5), None, "{}", kind.name);
        }
        assert_eq!(watch.update(0.5).is_some(), kind.input != Input::Binary, "{}", kind.name);
        if kind.input == Input::Binary {
            assert_eq!(watch.state(), before, "{}", kind.name);
        }
    }
}

#[test]
fn extreme_values_and_parameters_keep_states_numbers() {
    let long = |value: f64| std::iter::repeat_n(value, 300);
    for kind in DETECTORS {
        let extremes: &[f64] =
            if kind.input == Input::Number { &[1e100, -1e100, 0.0, 1e-300] } else { &[1.0, 0.0] };
        let mut watch = start(kind.name, &[]);
        for value in extremes.iter().chain(extremes).flat_map(|value| long(*value)) {
            assert!(watch.update(value).is_some(), "{}", kind.name);
            assert!(watch.state().iter().all(|(_, x)| !x.is_nan()), "{}: {:?}", kind.name, watch.state());
        }
    }
    for name in ["e_sr", "e_cusum"] {
        for parameters in [
            [("p0", "1e-300"), ("alpha", "1e-299")],
            [("p0", "0.999999"), ("alpha", "0.999999")],
            [("p0", "0.1"), ("lambdas", "10")],
        ] {
            let mut watch = start(name, &parameters);
            for value in [0.0, 1.0, 0.0, 1.0, 1.0].into_iter().flat_map(long) {
                watch.update(value);
                assert!(!watch.state()[0].1.is_nan(), "{name} {parameters:?}");
            }
        }
    }
    // The smallest windows that can be set, among them one bucket of each size.
    let small = [("max_buckets", "1"), ("clock", "1"), ("min_window_length", "1"), ("grace_period", "0")];
    let found = run(&mut start("adwin", &small), &jump(Input::Binary, 5_000), |_, watch| {
        assert!(watch.state().iter().all(|(_, x)| x.is_finite()), "{:?}", watch.state());
    });
    assert!(!found[0].is_empty());
}

#[test]
fn e_detectors_keep_their_false_alarm_rate() {
    // 200,000 values at exactly p0: with alpha 1e-4 at most 20 alarms are promised on average.
    for name in ["e_sr", "e_cusum"] {
        let mut watch = start(name, &[("alpha", "1e-4")]);
        let mut state = 11_u64;
        let mut alarms = 0;
        for _ in 0..200_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let uniform = (state >> 11) as f64 / (1_u64 << 53) as f64;
            let signal = watch.update(f64::from(u8::from(uniform < 0.1))).expect("a bit");
            alarms += u32::from(signal.drift);
        }
        // Twenty and nearly three standard deviations.
        assert!(alarms <= 33, "{name}: {alarms}");
    }
}

#[test]
fn a_wrong_name_or_value_is_named_with_what_may_be_meant() {
    let message = |name: &str, given: &[(&str, &str)]| {
        let kind = match DetectorKind::named(name) {
            Ok(kind) => kind,
            Err(error) => return error.to_string(),
        };
        let settings = kind.settings(given.iter().copied());
        settings.and_then(|settings| kind.start(&settings)).err().map_or_else(String::new, |e| e.to_string())
    };
    for (name, given, parts) in [
        ("adwim", &[][..], &["`adwim`", "did you mean `adwin`?"][..]),
        ("PageHinkley", &[], &["`page_hinkley`?"]),
        ("adwin", &[("detla", "0.1")], &["`detla`", "did you mean `delta`?"]),
        ("adwin", &[("delta", "1.5")], &["`delta`", "`1.5`", "from 0 to 1"]),
        ("adwin", &[("delta", "nan")], &["`delta`"]),
        ("adwin", &[("clock", "0")], &["`clock`", "from 1"]),
        ("adwin", &[("clock", "1.5")], &["`clock`", "whole number"]),
        ("adwin", &[("clock", "1"), ("clock", "2")], &["`clock`", "twice"]),
        ("page_hinkley", &[("mode", "dwon")], &["`mode`", "did you mean `down`?"]),
        ("hddm_a", &[("two_sided_test", "yes")], &["`two_sided_test`", "true or false"]),
        ("eddm", &[("alpha", "0.5")], &["`beta`", "`alpha`"]),
        ("cusum", &[("p1", "0.1")], &["`p0`", "`p1`"]),
        ("e_sr", &[("lambdas", "1,11")], &["`lambdas`", "11", "at most 10"]),
        ("e_sr", &[("lambdas", "1,x")], &["`lambdas`"]),
        ("e_cusum", &[("p0", "0")], &["`p0`"]),
    ] {
        let text = message(name, given);
        assert!(parts.iter().all(|part| text.contains(part)), "{name} {given:?}: {text}");
    }
    assert!(matches!(DetectorKind::named(""), Err(SettingError::UnknownDetector { meant: None, .. })));
}

#[test]
fn the_upper_bound_of_a_rate_is_that_of_the_reference() {
    let mut checked = 0;
    for case in golden("b_distribution_tails.json") {
        let input = &case["input"];
        if input["dist"] != "binomial_ci" {
            continue;
        }
        let count = |name: &str| input[name].as_u64().expect("a count");
        let alpha = input["alpha"].as_f64().expect("a level");
        let want = case["expected"]["clopper_pearson"][1].as_f64().expect("a bound");
        let got = upper_rate(count("k"), count("n"), 1.0 - alpha / 2.0);
        assert!((got - want).abs() <= 1e-9 * want, "{}: got {got}, want {want}", case["id"]);
        checked += 1;
    }
    assert!(checked >= 6, "{checked}");
}

// === the command ===

fn detect(arguments: &[&str]) -> Output {
    let command = Command::new(env!("CARGO_BIN_EXE_driftline")).arg("detect").args(arguments).output();
    command.expect("the command runs")
}

fn found(arguments: &[&str]) -> Value {
    let output = detect(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn file(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    if name.ends_with(".gz") {
        let mut writer =
            flate2::write::GzEncoder::new(File::create(&path).expect("a file"), Default::default());
        writer.write_all(text.as_bytes()).expect("written");
        writer.finish().expect("finished");
    } else {
        fs::write(&path, text).expect("written");
    }
    path
}

#[test]
fn the_command_finds_what_the_reference_finds_in_every_format() {
    let directory = tempfile::tempdir().expect("a directory");
    let (name, case) =
        cases().into_iter().find(|(_, case)| case["id"] == "HDDM_A-bern_abrupt-{}").expect("the case");
    let values = &streams()["bern_abrupt"];
    let csv = values.iter().fold("time,wrong\n".to_owned(), |text, value| format!("{text}1,{value}\n"));
    let lines = values.iter().fold(String::new(), |text, value| {
        format!("{text}{}\n", json!({ "other": "x", "wrong": *value == 1.0 }))
    });
    for (path, text) in [("a.csv", &csv), ("a.csv.gz", &csv), ("a.jsonl", &lines), ("a.jsonl.gz", &lines)] {
        let path = file(directory.path(), path, text);
        let path = path.to_str().expect("a path");
        let got = found(&[name, "--input", path, "--column", "wrong", "--json"]);
        assert_eq!(got["drifts"], case["expected"]["drift_idx"], "{path}");
        assert_eq!(got["warnings"], case["expected"]["warning_start_idx"], "{path}");
        assert_eq!(got["rows"], values.len(), "{path}");
    }
}

#[test]
fn missing_values_are_skipped_but_keep_their_index() {
    let directory = tempfile::tempdir().expect("a directory");
    let values = jump(Input::Binary, 2_000);
    let kind = "e_sr";
    let plain = run(&mut start(kind, &[]), &values, |_, _| {});
    // A gap before each value doubles the indices.
    let text = values.iter().fold("i,x\n".to_owned(), |text, value| format!("{text}0,\n0,{value}\n"));
    let path = file(directory.path(), "gaps.csv", &text);
    let got = found(&[kind, "--input", path.to_str().expect("a path"), "--column", "x", "--json"]);
    let doubled: Vec<usize> = plain[0].iter().map(|index| 2 * index + 1).collect();
    assert!(!doubled.is_empty());
    assert_eq!(got["drifts"], json!(doubled));
    assert_eq!(got["missing"], 2_000);
}

#[test]
fn the_command_says_what_is_wrong() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = file(directory.path(), "a.csv", "error,name\n0,a\n2,b\n");
    let lines = file(directory.path(), "a.jsonl", "{\"error\":0}\n");
    let (path, lines) = (path.to_str().expect("a path"), lines.to_str().expect("a path"));
    for (arguments, parts) in [
        (&["ddm", "--input", path, "--column", "eror"][..], &["`eror`", "did you mean `error`?"][..]),
        (&["ddm", "--input", lines, "--column", "eror"], &["`eror`", "did you mean `error`?"]),
        (&["ddm", "--input", path, "--column", "error"], &["row 1", "2", "0 and 1"]),
        (&["adwin", "--input", path, "--column", "name"], &["row 0", "a text"]),
        (&["ddmm", "--input", path, "--column", "error"], &["`ddmm`", "did you mean `ddm`?"]),
        (&["ddm", "--set", "warm=3", "--input", path, "--column", "error"], &["`warm_start`?"]),
        (&["ddm", "--set", "warm_start", "--input", path, "--column", "error"], &["key=value"]),
        (&["ddm", "--input", "nowhere.csv", "--column", "error"], &["nowhere.csv"]),
    ] {
        let output = detect(arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{arguments:?}: {text}");
    }
}

#[test]
fn help_lists_every_detector_with_its_parameters() {
    let text = String::from_utf8(detect(&["--help"]).stdout).expect("text");
    for kind in DETECTORS {
        assert!(text.contains(kind.name), "{}", kind.name);
        assert!(kind.parameters.iter().all(|parameter| text.contains(parameter.name)), "{}", kind.name);
    }
}

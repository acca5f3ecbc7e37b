//! Holds the online false-discovery-rate procedures against R's onlineFDR.

use std::fs;

use driftline::verdict::online_fdr::{PROCEDURES, Procedure};
use serde_json::Value;

/// What the reference implementation calls the procedures of the table.
const NAMES: [(&str, &str); 4] =
    [("LORD++", "lord++"), ("SAFFRON", "saffron"), ("ADDIS", "addis"), ("LOND", "lond")];
/// Procedures of the file of reference values that are not in the table.
const NOT_OURS: [&str; 6] =
    ["LORD3", "LORD-discard", "LORD-dep", "LOND-dep", "Alpha-spending", "Alpha-investing"];

fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().expect("a list of numbers");
    list.iter().map(|number| number.as_f64().expect("a number")).collect()
}

fn cases() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/e_online_fdr.json");
    let file: Value =
        serde_json::from_str(&fs::read_to_string(path).expect("a file of reference values")).expect("JSON");
    file["cases"].as_array().expect("a file has cases").clone()
}

#[test]
fn levels_and_decisions_are_those_of_the_reference() {
    let mut compared = 0;
    for case in cases() {
        let alpha = case["input"]["alpha"].as_f64().expect("a rate");
        let relative = case["tol"]["alphai_rel"].as_f64().expect("a tolerance");
        for (theirs, ours) in NAMES {
            let expected = &case["expected"][theirs];
            let (levels, rejected) = (numbers(&expected["alphai"]), numbers(&expected["R"]));
            let p_values = numbers(&case["input"]["p"]);
            assert_eq!((levels.len(), rejected.len()), (p_values.len(), p_values.len()));
            let mut sequence =
                Procedure::named(ours).expect("it is in the table").build(alpha).expect("a rate");
            for (index, p_value) in p_values.into_iter().enumerate() {
                let (got, want) = (sequence.level(), levels[index]);
                let at = format!("{} {ours} test {index}", case["id"]);
                assert!((got - want).abs() <= relative * want, "{at}: level {got:e}, want {want:e}");
                assert_eq!(sequence.observe(p_value), rejected[index] == 1.0, "{at}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 4 * (4 + 15 + 300 + 400 + 500 + 300));
}

#[test]
fn every_procedure_of_the_reference_is_ours_or_left_out_on_purpose() {
    for case in cases() {
        for name in case["expected"].as_object().expect("procedures").keys() {
            let is_ours = NAMES.iter().any(|(theirs, _)| theirs == name);
            assert!(is_ours != NOT_OURS.contains(&name.as_str()), "{name}");
        }
    }
    // The reference has no e-LOND: it is LOND whose p-values are squared and divided by four.
    assert_eq!(PROCEDURES.len(), NAMES.len() + 1);
}

#[test]
fn e_lond_rejects_where_lond_would_reject_the_inverse_of_the_e_value() {
    for case in cases() {
        let alpha = case["input"]["alpha"].as_f64().expect("a rate");
        let start = |name| Procedure::named(name).expect("it is in the table").build(alpha).expect("a rate");
        let (mut on_e_values, mut on_p_values) = (start("e-lond"), start("lond"));
        for p_value in numbers(&case["input"]["p"]) {
            let e_value = 0.5 / p_value.sqrt();
            assert_eq!(on_e_values.observe(p_value), on_p_values.observe(1.0 / e_value), "{}", case["id"]);
        }
    }
}

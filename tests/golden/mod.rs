//! Reads the files of reference values.

use serde_json::Value;

/// One input with its expected numbers.
pub struct Case {
    pub id: String,
    value: Value,
}

/// The cases of a file.
pub fn cases(name: &str) -> Vec<Case> {
    let path = format!("{}/tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let file: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
    let cases = file["cases"].as_array().expect("a file has cases").clone();
    cases.into_iter().map(|value| Case { id: format!("{name}: {}", value["id"]), value }).collect()
}

impl Case {
    pub fn input(&self, name: &str) -> f64 {
        self.value["input"][name].as_f64().unwrap_or_else(|| panic!("{}: no number {name}", self.id))
    }

    pub fn text(&self, name: &str) -> String {
        self.value["input"][name].as_str().unwrap_or_default().to_owned()
    }

    pub fn numbers(&self, name: &str) -> Vec<f64> {
        let array = self.value["input"][name].as_array().expect("a list of numbers");
        array.iter().map(|number| number.as_f64().expect("a number")).collect()
    }

    pub fn counts(&self, name: &str) -> Vec<u64> {
        let array = self.value["input"][name].as_array().expect("a list of counts");
        array.iter().map(|number| number.as_u64().expect("a count")).collect()
    }

    pub fn tolerance(&self, name: &str) -> f64 {
        self.value["tol"][name].as_f64().unwrap_or_else(|| panic!("{}: no tolerance {name}", self.id))
    }

    /// The finite expected number at a dotted path whose field names may hold points themselves.
    pub fn expected(&self, path: &str) -> Option<f64> {
        let expected = &self.value["expected"];
        let whole = &expected[path];
        let found = match path.split_once('.') {
            Some((outer, inner)) if whole.is_null() => &expected[outer][inner],
            _ => whole,
        };
        found.as_f64()
    }

    /// Checks a number if the case expects one, and tells whether it does.
    pub fn holds(&self, path: &str, got: f64, absolute: f64, relative: f64) -> bool {
        let Some(want) = self.expected(path) else { return false };
        let allowed = absolute + relative * want.abs();
        let apart = (got - want).abs();
        assert!(apart <= allowed, "{} {path}: got {got:e}, want {want:e}, {apart:e} apart", self.id);
        true
    }
}

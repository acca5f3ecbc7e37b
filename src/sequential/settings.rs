//! A detector's parameters: their names, defaults and ranges, and the values an operator gave.
//!
//! Invariant: a [`Settings`] that exists names only parameters the detector has, with values in their
//! ranges; so a detector is built from it without a check, but for rules between two parameters.

use std::collections::BTreeMap;

/// One parameter of a detector.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Stable snake_case name.
    pub name: &'static str,
    /// What it does, for people.
    pub about: &'static str,
    /// What it may be, and what it is when nothing is said.
    pub domain: Domain,
}

/// What a parameter may be, and what it is when nothing is said.
#[derive(Debug, Clone, Copy)]
pub enum Domain {
    /// A real number.
    Real {
        /// When nothing is said.
        default: f64,
        /// Its limits.
        range: Range,
    },
    /// A whole number, both limits included.
    Count {
        /// When nothing is said.
        default: u32,
        /// The least.
        least: u32,
        /// The greatest.
        most: u32,
    },
    /// `true` or `false`.
    Flag {
        /// When nothing is said.
        default: bool,
    },
    /// One of some words; the first is the default.
    Word(&'static [&'static str]),
    /// Real numbers with commas between; without them the detector chooses.
    Reals(Range),
}

/// Limits of a real number.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// The lower limit.
    pub low: f64,
    /// The upper limit.
    pub high: f64,
    /// Whether the limits themselves are allowed.
    pub closed: bool,
}

/// Real numbers strictly between 0 and 1.
pub const FRACTION: Range = Range { low: 0.0, high: 1.0, closed: false };
/// Positive numbers. The limit keeps sums of squares finite.
pub const POSITIVE: Range = Range { low: 0.0, high: 1e100, closed: false };
/// Numbers from 0 on.
pub const NOT_NEGATIVE: Range = Range { low: 0.0, high: 1e100, closed: true };
/// Any number of which squares can be added up.
pub const FINITE: Range = Range { low: -1e100, high: 1e100, closed: true };

/// Most numbers of a list.
const REALS_MAX: usize = 64;

impl Range {
    /// Whether a number is within the limits.
    pub fn holds(self, number: f64) -> bool {
        if self.closed {
            self.low <= number && number <= self.high
        } else {
            self.low < number && number < self.high
        }
    }

    fn text(self) -> String {
        let ends = if self.closed { "limits included" } else { "limits excluded" };
        format!("a number from {} to {}, {ends}", self.low, self.high)
    }
}

/// A parameter's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A real number.
    Real(f64),
    /// A whole number.
    Count(u32),
    /// True or false.
    Flag(bool),
    /// One of some words.
    Word(&'static str),
    /// Real numbers; empty when nothing was said.
    Reals(Vec<f64>),
}

/// Why a detector cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// No such detector.
    #[error("there is no detector `{name}`; there are {known}{}", hint(.meant.as_deref()))]
    UnknownDetector {
        /// What was asked for.
        name: String,
        /// The names there are.
        known: String,
        /// One that is written alike.
        meant: Option<String>,
    },
    /// No such parameter.
    #[error("`{detector}` has no parameter `{name}`; it has {known}{}", hint(.meant.as_deref()))]
    UnknownParameter {
        /// The detector.
        detector: &'static str,
        /// What was said.
        name: String,
        /// The names there are.
        known: String,
        /// One that is written alike.
        meant: Option<String>,
    },
    /// A value that is none, or out of range.
    #[error("the parameter `{parameter}` of `{detector}` cannot be `{text}`: it is {expected}{}", hint(.meant.as_deref()))]
    Value {
        /// The detector.
        detector: &'static str,
        /// The parameter.
        parameter: &'static str,
        /// What was said.
        text: String,
        /// What it may be.
        expected: String,
        /// A word that is written alike.
        meant: Option<String>,
    },
    /// The same parameter twice.
    #[error("the parameter `{0}` is given twice; leave one out")]
    Twice(&'static str),
    /// Two parameters that do not go together.
    #[error("{0}")]
    Together(String),
}

fn hint(meant: Option<&str>) -> String {
    meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default()
}

/// The name that is written most alike, if one is.
pub(super) fn similar<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let near = known.map(|known| (strsim::jaro_winkler(&lower, known), known));
    let best = near.filter(|(likeness, _)| *likeness > 0.75).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, known)| known.to_owned())
}

/// The values of a detector's parameters.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    given: BTreeMap<&'static str, Value>,
}

impl Settings {
    /// Reads what the operator gave: names and values as text.
    ///
    /// # Errors
    /// [`SettingError`] for an unknown parameter, one given twice, or a value that it cannot have.
    pub(super) fn read<'a>(
        detector: &'static str,
        parameters: &[Parameter],
        given: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, SettingError> {
        let mut settings = Self::default();
        for (name, text) in given {
            let names = || parameters.iter().map(|parameter| parameter.name);
            let Some(parameter) = parameters.iter().find(|parameter| parameter.name == name) else {
                return Err(SettingError::UnknownParameter {
                    detector,
                    name: name.to_owned(),
                    known: names().collect::<Vec<_>>().join(", "),
                    meant: similar(name, names()),
                });
            };
            let value = parameter.read(text.trim()).ok_or_else(|| parameter.refusal(detector, text))?;
            if settings.given.insert(parameter.name, value).is_some() {
                return Err(SettingError::Twice(parameter.name));
            }
        }
        Ok(settings)
    }

    /// The value of a parameter: what was given, else its default.
    pub fn value(&self, parameter: &Parameter) -> Value {
        self.given.get(parameter.name).cloned().unwrap_or_else(|| parameter.default())
    }

    /// The value of a real number; NaN for a parameter that is none.
    pub(super) fn real(&self, parameter: &Parameter) -> f64 {
        match self.value(parameter) {
            Value::Real(number) => number,
            Value::Count(number) => f64::from(number),
            _ => f64::NAN,
        }
    }

    /// The value of a whole number; 0 for a parameter that is none.
    pub(super) fn count(&self, parameter: &Parameter) -> u32 {
        if let Value::Count(number) = self.value(parameter) { number } else { 0 }
    }

    /// The value of a flag; false for a parameter that is none.
    pub(super) fn flag(&self, parameter: &Parameter) -> bool {
        matches!(self.value(parameter), Value::Flag(true))
    }

    /// Whether a parameter of words is this one.
    pub(super) fn is(&self, parameter: &Parameter, word: &str) -> bool {
        matches!(self.value(parameter), Value::Word(value) if value == word)
    }

    /// The numbers of a list, none when nothing was said.
    pub(super) fn reals(&self, parameter: &Parameter) -> Vec<f64> {
        if let Value::Reals(numbers) = self.value(parameter) { numbers } else { Vec::new() }
    }
}

impl Parameter {
    /// A real number.
    pub(super) const fn real(name: &'static str, default: f64, range: Range, about: &'static str) -> Self {
        Self { name, about, domain: Domain::Real { default, range } }
    }

    /// A whole number, at least `least`.
    pub(super) const fn count(name: &'static str, default: u32, least: u32, about: &'static str) -> Self {
        Self { name, about, domain: Domain::Count { default, least, most: COUNT_MAX } }
    }

    /// A flag that is off when nothing is said.
    pub(super) const fn flag(name: &'static str, about: &'static str) -> Self {
        Self { name, about, domain: Domain::Flag { default: false } }
    }

    /// What it is when nothing is said.
    pub fn default(&self) -> Value {
        match self.domain {
            Domain::Real { default, .. } => Value::Real(default),
            Domain::Count { default, .. } => Value::Count(default),
            Domain::Flag { default } => Value::Flag(default),
            Domain::Word(words) => Value::Word(words.first().copied().unwrap_or_default()),
            Domain::Reals(_) => Value::Reals(Vec::new()),
        }
    }

    /// Reads a value, if the text is one in range.
    fn read(&self, text: &str) -> Option<Value> {
        match self.domain {
            Domain::Real { range, .. } => {
                text.parse().ok().filter(|number| range.holds(*number)).map(Value::Real)
            }
            Domain::Count { least, most, .. } => {
                text.parse().ok().filter(|count| (least..=most).contains(count)).map(Value::Count)
            }
            Domain::Flag { .. } => text.to_ascii_lowercase().parse().ok().map(Value::Flag),
            Domain::Word(words) => words.iter().find(|word| **word == text).map(|word| Value::Word(word)),
            Domain::Reals(range) => {
                let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
                let numbers: Vec<f64> =
                    inner.split(',').map(|part| part.trim().parse().ok()).collect::<Option<_>>()?;
                let fits = numbers.len() <= REALS_MAX && numbers.iter().all(|number| range.holds(*number));
                fits.then_some(Value::Reals(numbers))
            }
        }
    }

    fn refusal(&self, detector: &'static str, text: &str) -> SettingError {
        let (expected, meant) = match self.domain {
            Domain::Real { range, .. } => (range.text(), None),
            Domain::Count { least, most, .. } => (format!("a whole number from {least} to {most}"), None),
            Domain::Flag { .. } => ("true or false".to_owned(), similar(text, ["true", "false"].into_iter())),
            Domain::Word(words) => {
                (format!("one of {}", words.join(", ")), similar(text, words.iter().copied()))
            }
            Domain::Reals(range) => {
                (format!("up to {REALS_MAX} numbers with commas between, each {}", range.text()), None)
            }
        };
        SettingError::Value { detector, parameter: self.name, text: text.to_owned(), expected, meant }
    }
}

/// Greatest whole number: as many values as a detector may wait for.
const COUNT_MAX: u32 = 1_000_000_000;

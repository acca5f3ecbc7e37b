//! Sequential detectors: they look at every event, and need no window to close.
//!
//! Place in the flow: beside [`drift`](crate::drift). A [`Watch`] takes one value at a time and says
//! whether the stream has drifted since it started; `driftline detect` runs one over a file.
//!
//! Invariant: a detector is a pure function of the values since its last drift: the same values give the
//! same drifts, whatever came before, and every value that its [`Input`] allows keeps its state a number.
//!
//! To add a detector: one file with `PARAMETERS` and `build`, one line in [`DETECTORS`], and its values in
//! `tests/golden/`.

mod adwin;
pub mod confidence;
mod cusum;
mod ddm;
mod e_cusum;
mod e_detector;
mod e_sr;
mod eddm;
mod hddm_a;
mod hddm_w;
mod mean;
mod page_hinkley;
mod rate;
mod settings;

pub use e_detector::CountedBets;
pub use rate::{lower_rate, upper_rate};
pub use settings::{Domain, Parameter, Range, SettingError, Settings, Value};

/// Looks at every value.
pub trait Detector: Send {
    /// Takes the next value and tells what it made of the stream. After a drift [`Watch`] resets it.
    fn update(&mut self, value: f64) -> Signal;

    /// Forgets every value.
    fn reset(&mut self);

    /// What it knows, by name: for people and for comparison with other implementations.
    fn state(&self) -> Vec<(&'static str, f64)>;
}

/// What a detector says after a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Signal {
    /// The values are not what they were.
    pub drift: bool,
    /// They may soon not be. Only some detectors warn.
    pub warning: bool,
}

/// A detector: a row of [`DETECTORS`].
pub struct DetectorKind {
    /// Stable snake_case name.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// The values it takes.
    pub input: Input,
    /// What can be set.
    pub parameters: &'static [Parameter],
    /// Makes one.
    build: fn(&Settings) -> Result<Box<dyn Detector>, SettingError>,
}

/// The detectors, by name.
pub static DETECTORS: &[DetectorKind] = &[
    DetectorKind {
        name: "adwin",
        about: "a change of the mean, found by cutting an adaptive window in two",
        input: Input::Number,
        parameters: adwin::PARAMETERS,
        build: adwin::build,
    },
    DetectorKind {
        name: "cusum",
        about: "a known change of a rate or a mean, by its likelihood",
        input: Input::Number,
        parameters: cusum::PARAMETERS,
        build: cusum::build,
    },
    DetectorKind {
        name: "ddm",
        about: "a rise of an error rate over the best it has been",
        input: Input::Binary,
        parameters: ddm::PARAMETERS,
        build: ddm::build,
    },
    DetectorKind {
        name: "e_cusum",
        about: "a rise of a rate over a known bound, with a proven false-alarm rate; rarely false",
        input: Input::Fraction,
        parameters: e_detector::PARAMETERS,
        build: e_cusum::build,
    },
    DetectorKind {
        name: "e_sr",
        about: "a rise of a rate over a known bound, with a proven false-alarm rate; quick",
        input: Input::Fraction,
        parameters: e_detector::PARAMETERS,
        build: e_sr::build,
    },
    DetectorKind {
        name: "eddm",
        about: "errors that come closer together than they were at their farthest",
        input: Input::Binary,
        parameters: eddm::PARAMETERS,
        build: eddm::build,
    },
    DetectorKind {
        name: "hddm_a",
        about: "a change of a rate, by Hoeffding's inequality on means",
        input: Input::Binary,
        parameters: hddm_a::PARAMETERS,
        build: hddm_a::build,
    },
    DetectorKind {
        name: "hddm_w",
        about: "a change of a rate, by McDiarmid's inequality on weighted means",
        input: Input::Binary,
        parameters: hddm_w::PARAMETERS,
        build: hddm_w::build,
    },
    DetectorKind {
        name: "page_hinkley",
        about: "a change of the mean, by the sum of deviations from it",
        input: Input::Number,
        parameters: page_hinkley::PARAMETERS,
        build: page_hinkley::build,
    },
];

/// The values a detector takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Any number up to [`Input::NUMBER_MAX`] in size.
    Number,
    /// A number from 0 to 1.
    Fraction,
    /// 0 or 1.
    Binary,
}

impl Input {
    /// Largest size of a number. The squares of as many as can come still add up to a finite number.
    pub const NUMBER_MAX: f64 = 1e100;

    /// Whether a detector of this input takes the value.
    pub fn takes(self, value: f64) -> bool {
        match self {
            Self::Number => value.abs() <= Self::NUMBER_MAX,
            Self::Fraction => (0.0..=1.0).contains(&value),
            Self::Binary => value == 0.0 || value == 1.0,
        }
    }

    /// What it takes, for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Number => "numbers up to 1e100 in size",
            Self::Fraction => "numbers from 0 to 1",
            Self::Binary => "0 and 1",
        }
    }
}

impl DetectorKind {
    /// The detector of this name.
    ///
    /// # Errors
    /// [`SettingError::UnknownDetector`].
    pub fn named(name: &str) -> Result<&'static Self, SettingError> {
        let names = || DETECTORS.iter().map(|kind| kind.name);
        DETECTORS.iter().find(|kind| kind.name == name).ok_or_else(|| SettingError::UnknownDetector {
            name: name.to_owned(),
            known: names().collect::<Vec<_>>().join(", "),
            meant: settings::similar(name, names()),
        })
    }

    /// Reads parameters from names and values; what is not given has its default.
    ///
    /// # Errors
    /// [`SettingError`] for an unknown parameter, one given twice, or a value that it cannot have.
    pub fn settings<'a>(
        &self,
        given: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Settings, SettingError> {
        Settings::read(self.name, self.parameters, given)
    }

    /// Starts a detector.
    ///
    /// # Errors
    /// [`SettingError::Together`] when two parameters do not go together.
    pub fn start(&self, settings: &Settings) -> Result<Watch, SettingError> {
        Ok(Watch { detector: (self.build)(settings)?, input: self.input, last: Signal::default() })
    }
}

/// A detector at work on one stream.
pub struct Watch {
    detector: Box<dyn Detector>,
    input: Input,
    last: Signal,
}

impl Watch {
    /// Takes the next value. After a drift the detector starts anew with it.
    ///
    /// A value that the detector's [`Input`] does not allow gives `None` and changes nothing.
    pub fn update(&mut self, value: f64) -> Option<Signal> {
        if !self.input.takes(value) {
            return None;
        }
        if self.last.drift {
            self.detector.reset();
        }
        self.last = self.detector.update(value);
        Some(self.last)
    }

    /// What the detector said last.
    pub fn last(&self) -> Signal {
        self.last
    }

    /// What the detector knows, by name; after a drift still what led to it.
    pub fn state(&self) -> Vec<(&'static str, f64)> {
        self.detector.state()
    }
}

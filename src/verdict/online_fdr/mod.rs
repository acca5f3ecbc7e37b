//! Online false-discovery-rate procedures: a level for each test of an endless sequence.
//!
//! Place in the flow: beside the rule in force, for those who want the share of false alarms among all
//! alarms bounded instead of their number in a time. Each takes the p-values one after another and decides
//! each at once. Without rejections the levels fall towards zero, and a real change makes them rise, so that
//! false alarms follow true ones; a budget of false alarms per time does neither, which is why none of these
//! is the default. Pure.
//!
//! What they share is a clock. It ticks with every test that the procedure does not pass over, and a
//! rejection is remembered as the clock's reading after it. A level is a sum of terms of a sequence γ that
//! falls with the ticks since the start and since each rejection. So the state is a few numbers and one for
//! each rejection, of which the latest [`REJECTIONS_MAX`] and the first are kept. Forgetting an older one
//! only makes later levels smaller, and a new rejection still never makes one smaller: the proofs hold.
//!
//! Invariant: a level is a number strictly between 0 and 1; without rejections the levels of the tests after
//! which the clock ticks add up to at most `alpha`; the same p-values give the same decisions, also when the
//! state was stored between.
//!
//! To add a procedure: one file with a `PROCEDURE`, one line in [`PROCEDURES`], and its values in
//! `tests/golden/`.

mod addis;
mod e_lond;
mod lond;
mod lord_plus_plus;
mod saffron;

use std::collections::VecDeque;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Later rejections that are kept beside the first one. Ten thousand tests after a rejection its term in
/// LORD++ is 3.4e-6 of `alpha`, in SAFFRON and ADDIS at most 1.8e-7.
pub const REJECTIONS_MAX: usize = 10_000;

/// Smaller values of `alpha` are refused: the squares of levels would leave the normal numbers.
pub const ALPHA_MIN: f64 = 1e-100;

/// A procedure: a row of [`PROCEDURES`].
pub struct Procedure {
    /// Stable name.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// Whether the clock ticks after a test with this p-value.
    ticks: fn(f64) -> bool,
    /// The level of the next test, given what came before and `alpha`.
    level: fn(&History, f64) -> f64,
}

/// The procedures, in the order they are shown.
pub static PROCEDURES: &[Procedure] =
    &[lord_plus_plus::PROCEDURE, saffron::PROCEDURE, addis::PROCEDURE, lond::PROCEDURE, e_lond::PROCEDURE];

/// Why a procedure cannot be started.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OnlineFdrError {
    /// No such procedure.
    #[error("there is no online procedure `{name}`; there are {known}")]
    UnknownProcedure {
        /// What was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// No rate.
    #[error("a false-discovery rate of {alpha} makes no sense; give a number from {ALPHA_MIN} to below 1")]
    Alpha {
        /// What was asked for.
        alpha: f64,
    },
}

impl Procedure {
    /// The procedure of this name.
    ///
    /// # Errors
    /// [`OnlineFdrError::UnknownProcedure`].
    pub fn named(name: &str) -> Result<&'static Self, OnlineFdrError> {
        PROCEDURES.iter().find(|procedure| procedure.name == name).ok_or_else(|| {
            let known: Vec<&str> = PROCEDURES.iter().map(|procedure| procedure.name).collect();
            OnlineFdrError::UnknownProcedure { name: name.to_owned(), known: known.join(", ") }
        })
    }

    /// Starts a sequence of tests whose false-discovery rate is to be at most `alpha`, from [`ALPHA_MIN`] to
    /// below 1.
    ///
    /// # Errors
    /// [`OnlineFdrError::Alpha`].
    pub fn build(&'static self, alpha: f64) -> Result<OnlineFdr, OnlineFdrError> {
        if !(ALPHA_MIN..1.0).contains(&alpha) {
            return Err(OnlineFdrError::Alpha { alpha });
        }
        Ok(OnlineFdr { procedure: self, alpha, history: History::default() })
    }
}

impl fmt::Debug for Procedure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A sequence of tests under one procedure. Its stored form is the procedure's name, `alpha` and the
/// history; reading it back checks all three.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct OnlineFdr {
    procedure: &'static Procedure,
    alpha: f64,
    history: History,
}

impl PartialEq for OnlineFdr {
    fn eq(&self, other: &Self) -> bool {
        (self.procedure.name, self.alpha, &self.history)
            == (other.procedure.name, other.alpha, &other.history)
    }
}

impl OnlineFdr {
    /// The level of the next test: it is rejected if its p-value is at most this. Strictly between 0 and 1.
    pub fn level(&self) -> f64 {
        (self.procedure.level)(&self.history, self.alpha).clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON)
    }

    /// Takes the next p-value and tells whether it is rejected. NaN counts as 1: no evidence.
    pub fn observe(&mut self, p_value: f64) -> bool {
        let p_value = if p_value.is_nan() { 1.0 } else { p_value };
        let rejected = p_value <= self.level();
        self.history.take((self.procedure.ticks)(p_value), rejected);
        rejected
    }

    /// The procedure.
    pub fn procedure(&self) -> &'static Procedure {
        self.procedure
    }

    /// The false-discovery rate that is kept to.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// How many tests were rejected.
    pub fn rejections(&self) -> u64 {
        self.history.rejections
    }
}

/// The stored form of [`OnlineFdr`].
#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    procedure: String,
    alpha: f64,
    history: History,
}

impl From<OnlineFdr> for Stored {
    fn from(sequence: OnlineFdr) -> Self {
        let OnlineFdr { procedure, alpha, history } = sequence;
        Self { procedure: procedure.name.to_owned(), alpha, history }
    }
}

impl TryFrom<Stored> for OnlineFdr {
    type Error = OnlineFdrError;

    fn try_from(stored: Stored) -> Result<Self, OnlineFdrError> {
        let started = Procedure::named(&stored.procedure)?.build(stored.alpha)?;
        let mut history = stored.history;
        history.forget();
        Ok(Self { history, ..started })
    }
}

/// What is remembered of a sequence of tests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct History {
    /// Ticks since the start.
    clock: u64,
    /// Rejections since the start.
    rejections: u64,
    /// The clock after the first rejection.
    first: Option<u64>,
    /// The clock after each later one, of which [`REJECTIONS_MAX`] are kept.
    later: VecDeque<u64>,
}

impl History {
    fn take(&mut self, ticks: bool, rejected: bool) {
        self.clock = self.clock.saturating_add(u64::from(ticks));
        if !rejected {
            return;
        }
        self.rejections = self.rejections.saturating_add(1);
        match self.first {
            None => self.first = Some(self.clock),
            Some(_) => self.later.push_back(self.clock),
        }
        self.forget();
    }

    fn forget(&mut self) {
        let over = self.later.len().saturating_sub(REJECTIONS_MAX);
        self.later.drain(..over);
    }

    /// Number of the next test by the clock, from 1 on.
    fn number(&self) -> f64 {
        self.number_since(0)
    }

    fn number_since(&self, reading: u64) -> f64 {
        self.clock.saturating_sub(reading) as f64 + 1.0
    }

    /// What LORD++ and its descendants may spend on the next test: w·γ(since the start) +
    /// (α − w)·γ(since the first rejection) + α·Σγ(since each later one), with the initial wealth w.
    fn wealth(&self, alpha: f64, initial: f64, gamma: fn(f64) -> f64) -> f64 {
        let first = self.first.map_or(0.0, |reading| gamma(self.number_since(reading)));
        let later: f64 = self.later.iter().map(|reading| gamma(self.number_since(*reading))).sum();
        initial * gamma(self.number()) + (alpha - initial) * first + alpha * later
    }
}

/// γ(j) = 0.07720838·ln(max(j, 2))/(j·exp(√ln j)): the sequence of LORD++ and LOND (Javanmard and Montanari
/// 2018, doi:10.1214/17-AOS1559, equation 31). It falls, and sums to one.
fn gamma_slow(number: f64) -> f64 {
    0.077_208_38 * number.max(2.0).ln() / (number * number.ln().sqrt().exp())
}

/// γ(j) = 0.4374901658·j^−1.6: the sequence of SAFFRON and ADDIS (Ramdas et al. 2018,
/// arXiv:1802.09098). It falls, and sums to one.
fn gamma_fast(number: f64) -> f64 {
    0.437_490_165_8 * number.powf(-1.6)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(alpha: f64) -> impl Iterator<Item = OnlineFdr> {
        PROCEDURES.iter().map(move |procedure| procedure.build(alpha).expect("a rate"))
    }

    /// Uniform numbers in (0, 1), the same on every machine (Steele, Lea and Flood 2014: SplitMix64).
    fn uniform(seed: u64) -> impl Iterator<Item = f64> {
        let mut state = seed;
        std::iter::repeat_with(move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (((mixed ^ (mixed >> 31)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
        })
    }

    #[test]
    fn every_procedure_has_a_name_of_its_own() {
        for (index, procedure) in PROCEDURES.iter().enumerate() {
            assert!(!procedure.about.is_empty());
            assert!(PROCEDURES[..index].iter().all(|earlier| earlier.name != procedure.name));
        }
        assert!(Procedure::named("lord").is_err_and(|error| error.to_string().contains("lord++, saffron")));
    }

    #[test]
    fn a_rate_outside_its_range_is_refused() {
        for alpha in [0.0, -0.1, 1.0, 2.0, f64::NAN, 1e-200] {
            assert!(PROCEDURES[0].build(alpha).is_err(), "{alpha}");
        }
    }

    #[test]
    fn levels_without_rejections_stay_within_alpha() {
        for alpha in [0.05, 0.9, ALPHA_MIN] {
            for mut sequence in all(alpha) {
                // All p-values at 0.4 make the clock of ADDIS tick and that of SAFFRON stand still.
                for p_value in [1.0, 0.4, 0.6] {
                    let (mut spent, mut last) = (0.0, 1.0);
                    sequence = sequence.procedure.build(alpha).expect("a rate");
                    for _ in 0..20_000 {
                        let level = sequence.level();
                        assert!(level > 0.0 && level <= last, "{:?}: {level}", sequence.procedure);
                        last = level;
                        // A test that the clock passes over is paid for by the factor of the level.
                        let ticks = (sequence.procedure.ticks)(p_value);
                        spent += if ticks { level } else { 0.0 };
                        if p_value > level {
                            assert!(!sequence.observe(p_value));
                        }
                    }
                    assert!(spent <= alpha, "{:?} at {p_value}: {spent}", sequence.procedure);
                }
            }
        }
    }

    #[test]
    fn without_drift_few_sequences_reject_anything() {
        // With no true change every rejection is false, so the false-discovery rate is the share of
        // sequences with any. Three standard errors are allowed for.
        let (sequences, alpha) = (500, 0.05);
        for procedure in PROCEDURES {
            let with_any = (0..sequences)
                .filter(|seed| {
                    let mut sequence = procedure.build(alpha).expect("a rate");
                    uniform(7_919 * seed).take(1_000).any(|p_value| sequence.observe(p_value))
                })
                .count();
            let share = with_any as f64 / sequences as f64;
            let allowed = alpha + 3.0 * (alpha * (1.0 - alpha) / sequences as f64).sqrt();
            assert!(share <= allowed, "{procedure:?}: {share}");
        }
    }

    #[test]
    fn with_changes_most_rejections_are_true() {
        // Two tests in ten see a change; their p-values are tiny.
        for procedure in PROCEDURES {
            let (mut rejected, mut falsely) = (0u32, 0u32);
            for seed in 0..50 {
                let mut sequence = procedure.build(0.1).expect("a rate");
                for (index, p_value) in uniform(104_729 * seed + 1).take(1_000).enumerate() {
                    let is_changed = index % 10 < 2;
                    let p_value = if is_changed { p_value.powi(4) * 1e-9 } else { p_value };
                    let is_rejected = sequence.observe(p_value);
                    rejected += u32::from(is_rejected);
                    falsely += u32::from(is_rejected && !is_changed);
                }
            }
            assert!(rejected > 5_000, "{procedure:?}: {rejected}");
            assert!(
                f64::from(falsely) <= 0.1 * f64::from(rejected),
                "{procedure:?}: {falsely} of {rejected}"
            );
        }
    }

    #[test]
    fn the_state_stays_bounded_and_levels_stay_levels() {
        for mut sequence in all(0.05) {
            let mut history = History::default();
            (0..=REJECTIONS_MAX).for_each(|_| history.take(true, true));
            sequence.history = history;
            for _ in 0..3 {
                assert!(sequence.observe(0.0));
            }
            assert_eq!(sequence.history.later.len(), REJECTIONS_MAX);
            assert_eq!(sequence.rejections(), REJECTIONS_MAX as u64 + 4);
            assert!(sequence.level() > 0.0 && sequence.level() < 1.0, "{:?}", sequence.procedure);
        }
    }

    #[test]
    fn a_stored_sequence_that_makes_no_sense_is_refused() {
        let history = r#""history":{"clock":1,"rejections":9,"first":7,"later":[8]}"#;
        let stored =
            |name: &str, alpha: f64| format!(r#"{{"procedure":"{name}","alpha":{alpha},{history}}}"#);
        assert!(serde_json::from_str::<OnlineFdr>(&stored("lord", 0.05)).is_err());
        assert!(serde_json::from_str::<OnlineFdr>(&stored("lond", 5.0)).is_err());
        // Readings ahead of the clock count as now.
        let sequence: OnlineFdr = serde_json::from_str(&stored("lord++", 0.05)).expect("a sequence");
        assert!(sequence.level() > 0.0 && sequence.level() < 1.0);
    }

    fn p_value() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => 0.0..=1.0,
            2 => (-30.0..0.0f64).prop_map(f64::exp),
            1 => prop_oneof![Just(0.0), Just(1.0), Just(f64::NAN), Just(f64::INFINITY), Just(-1.0)],
        ]
    }

    proptest! {
        #[test]
        fn levels_are_levels_and_a_stored_state_goes_on_alike(
            p_values in prop::collection::vec(p_value(), 1..200),
            cut in 0usize..200,
            alpha in prop_oneof![Just(ALPHA_MIN), 1e-6..0.999],
        ) {
            for mut sequence in all(alpha) {
                let mut resumed = None;
                for (index, p_value) in p_values.iter().enumerate() {
                    if index == cut.min(p_values.len() - 1) {
                        let text = serde_json::to_string(&sequence).expect("a state is data");
                        resumed = Some(serde_json::from_str::<OnlineFdr>(&text).expect("what was written"));
                    }
                    let level = sequence.level();
                    prop_assert!(level > 0.0 && level < 1.0, "{:?}: {level}", sequence.procedure);
                    let rejected = sequence.observe(*p_value);
                    prop_assert_eq!(rejected, *p_value <= level);
                    if let Some(resumed) = &mut resumed {
                        prop_assert_eq!(resumed.level().to_bits(), level.to_bits());
                        prop_assert_eq!(resumed.observe(*p_value), rejected);
                    }
                }
            }
        }

        #[test]
        fn a_smaller_p_value_never_lowers_a_later_level(
            p_values in prop::collection::vec(p_value(), 2..80),
            at in 0usize..80,
        ) {
            // The proofs rest on this.
            for mut sequence in all(0.1) {
                let mut smaller = sequence.clone();
                let at = at % (p_values.len() - 1);
                let mut same = true;
                for (index, p_value) in p_values.iter().enumerate() {
                    prop_assert!(smaller.level() >= sequence.level() * (1.0 - 1e-12), "{:?}", sequence.procedure);
                    let lower = if index == at { 0.0 } else { *p_value };
                    same &= sequence.observe(*p_value) == smaller.observe(lower);
                }
                prop_assert!(same || smaller.rejections() > sequence.rejections());
            }
        }
    }
}

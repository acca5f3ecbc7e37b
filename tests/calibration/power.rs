//! How often a test sees a change of one normal feature.

use driftline::drift::{Pair, test};
use driftline::summary::ColumnSummary;

use super::random::Random;
use super::world::{Law, Model, State};

/// The tests whose power is simulated.
pub const TESTS: [&str; 3] = ["ks", "ad", "g"];

/// Rows of the training sample.
pub const REFERENCE_ROWS: u64 = 50_000;

/// How often p-values were at or below a level.
#[derive(Debug, Clone, Copy)]
pub struct Power {
    /// For each of [`TESTS`].
    pub seen: [u64; 3],
    /// Times tried.
    pub runs: u64,
}

impl Power {
    /// The share that was seen by one of [`TESTS`].
    pub fn share(&self, test: usize) -> f64 {
        self.seen[test] as f64 / self.runs as f64
    }
}

/// A model of one normal feature, whose grid every run shares.
pub fn one_feature(random: &mut Random) -> Model {
    Model::train(&[Law::Normal], &[], REFERENCE_ROWS, random)
}

/// The p-values of each of [`TESTS`]; each run draws a training sample of its own on the model's grid and a
/// window of `rows` rows in `state`.
pub fn p_values(model: &Model, rows: u64, state: &State, runs: u64, random: &mut Random) -> Vec<[f64; 3]> {
    let shape = &model.baseline.columns[0].shape;
    let run = |_| {
        let reference: ColumnSummary = model.draw(0, REFERENCE_ROWS, &model.usual(0), random);
        let current = model.draw(0, rows, state, random);
        let pair = Pair::new(shape, &reference, &current);
        TESTS.map(|name| {
            let score = (test(name).expect("in the table").score)(&pair).expect("there are values");
            score.p_value.expect("tests that have p-values")
        })
    };
    (0..runs).map(run).collect()
}

/// How often each test sees the change at a level.
pub fn power(model: &Model, rows: u64, state: &State, level: f64, runs: u64, random: &mut Random) -> Power {
    let p_values = p_values(model, rows, state, runs, random);
    let seen = std::array::from_fn(|test| p_values.iter().filter(|p| p[test] <= level).count() as u64);
    Power { seen, runs }
}

/// The state between `usual` and `far`, as a share of the way, at which `ks` has this power.
pub fn way_to_power(
    model: &Model,
    rows: u64,
    along: impl Fn(f64) -> State,
    level: f64,
    wanted: f64,
    runs: u64,
    random: &Random,
) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..12 {
        let middle = (low + high) / 2.0;
        // The same random numbers at every step, so that power grows with the change.
        let found = power(model, rows, &along(middle), level, runs, &mut random.clone());
        if found.share(0) < wanted { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

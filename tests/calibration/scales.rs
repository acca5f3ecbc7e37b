//! Windows of several lengths, sliding by the hour, on one feature of a hundred.
//!
//! A model of `C` like columns alarms on a column when p·T·C <= alpha, T the tests of the column; a model of that
//! column alone with alpha/C does exactly the same. So one column is simulated, not a hundred.

use std::collections::VecDeque;

use driftline::event::{Span, Timestamp};
use driftline::summary::ModelSummary;
use driftline::verdict::alpha_per_window;

use super::random::Random;
use super::rules::{settings, verdict};
use super::world::{Law, Model, State};

/// Rows an hour.
pub const HOURLY_ROWS: u64 = 500;
/// Rows of the training sample.
pub const REFERENCE_ROWS: u64 = 100_000;
/// Columns that share the budget.
pub const COLUMNS: f64 = 100.0;
/// 1 h, 6 h, 1 d, 7 d, in hours.
pub const LENGTHS: [usize; 4] = [1, 6, 24, 168];

/// One column, watched over windows of some lengths.
pub struct Watched<'a> {
    model: &'a Model,
    lengths: &'a [usize],
    alpha: f64,
    hours: VecDeque<ModelSummary>,
}

/// A model of one normal feature, whose grid every run may share.
pub fn one_feature(random: &mut Random) -> Model {
    Model::train(&[Law::Normal], &[], REFERENCE_ROWS, random)
}

/// The same grid with a fresh training sample.
pub fn trained_anew(model: &Model, random: &mut Random) -> Model {
    let pane = model.window(REFERENCE_ROWS, &[model.usual(0)], random);
    let mut model = model.with_reference(0, vec![pane]);
    model.baseline.reference = None;
    model
}

impl<'a> Watched<'a> {
    /// A week without drift has been seen.
    pub fn new(model: &'a Model, lengths: &'a [usize], random: &mut Random) -> Self {
        let alpha = alpha_per_window(settings().budget, Span::from_secs(3600), lengths.len()) / COLUMNS;
        let usual = model.usual(0);
        let hours = (0..168).map(|_| model.window(HOURLY_ROWS, &[usual], random)).collect();
        Self { model, lengths, alpha, hours }
    }

    /// An hour passes: how many of the windows that end with it alarm.
    pub fn hour(&mut self, state: &State, random: &mut Random) -> usize {
        self.hours.pop_front();
        self.hours.push_back(self.model.window(HOURLY_ROWS, &[*state], random));
        let mut summary = self.model.baseline.empty_summary();
        let (mut merged, mut alarms) = (0, 0);
        for &length in self.lengths {
            for hour in self.hours.iter().rev().take(length).skip(merged) {
                summary.merge(hour).expect("counted on one grid");
            }
            merged = length;
            let start = Timestamp::saturating_from_micros(0);
            alarms += usize::from(verdict(self.model, &summary, start, &settings(), self.alpha).alarm);
        }
        alarms
    }
}

/// Hours from the change to the first alarm; infinite after `hours_max`.
pub fn delay(model: &Model, lengths: &[usize], state: &State, hours_max: usize, random: &mut Random) -> f64 {
    let mut watched = Watched::new(model, lengths, random);
    let found = (1..=hours_max).find(|_| watched.hour(state, random) > 0);
    found.map_or(f64::INFINITY, |hours| hours as f64)
}

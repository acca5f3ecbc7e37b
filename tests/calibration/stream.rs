//! One model's life, day by day, and what rules make of it.

use driftline::summary::ModelSummary;

use super::random::Random;
use super::rules::{Entry, Rule, Window, measure};
use super::world::{Days, Law, Model, State, Weather, day_start, features};

/// A model in a world.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its features.
    pub laws: Vec<Law>,
    /// How the world moves without drift.
    pub weather: Weather,
    /// Rows of a day.
    pub rows: u64,
    /// Days whose rows are the training data and the reference windows; 0 for training rows without time.
    pub reference_days: usize,
}

/// Rows that a grid is made from; also the training rows of a plan without reference days.
const TRAINING_ROWS: u64 = 20_000;

/// Share of missing values of the feature that may lose more.
pub const USUAL_MISSING: f64 = 0.005;

/// What happens to a model at some point, for good.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// The mean of the first feature moves by so many standard deviations.
    OneMean(f64),
    /// The means of all numeric features do.
    AllMeans(f64),
    /// The second feature is missing in this share of the rows, before in [`USUAL_MISSING`].
    Missing(f64),
    /// This share of the values of the first categorical feature has a name never seen.
    NewName(f64),
}

/// The features of the comparison: 60 continuous, 20 zero-inflated, 20 categorical.
pub fn mixed() -> Vec<Law> {
    features(60, 20, 20)
}

/// A hundred normal features.
pub fn normals() -> Vec<Law> {
    features(100, 0, 0)
}

impl Plan {
    /// A model trained on rows without time.
    pub fn train(&self, random: &mut Random) -> Model {
        let mut missing = vec![0.0; self.laws.len()];
        if let Some(second) = missing.get_mut(1) {
            *second = USUAL_MISSING;
        }
        Model::train(&self.laws, &missing, TRAINING_ROWS, random)
    }

    /// A life on the grids of `trained`: draws the reference days, if there are to be some.
    pub fn start(&self, trained: &Model, mut random: Random) -> Life {
        let days = Days::new(self.weather, self.laws.len(), &mut random);
        let mut life = Life { model: trained.clone(), random, days, rows: self.rows, day: 0 };
        if self.reference_days > 0 {
            let panes = (0..self.reference_days).map(|_| life.next_day(Change::Nothing)).collect();
            life.model = trained.with_reference(0, panes);
        }
        life
    }
}

/// A model's life.
#[derive(Debug, Clone)]
pub struct Life {
    /// The model.
    pub model: Model,
    random: Random,
    days: Days,
    rows: u64,
    day: i64,
}

impl Life {
    /// The counts of the next day.
    pub fn next_day(&mut self, change: Change) -> ModelSummary {
        self.next_day_and(&[change]).remove(0)
    }

    /// The counts of the next day, once for each of the changes.
    pub fn next_day_and(&mut self, changes: &[Change]) -> Vec<ModelSummary> {
        self.day += 1;
        let effects = self.days.next(&mut self.random);
        let draw = |change: &Change| {
            self.model.window(self.rows, &states(&self.model, &effects, *change), &mut self.random)
        };
        changes.iter().map(draw).collect()
    }

    /// Lets days pass unseen.
    pub fn skip_days(&mut self, days: usize) {
        for _ in 0..days {
            self.day += 1;
            self.days.next(&mut self.random);
        }
    }

    /// The day that was drawn last.
    pub fn today(&self) -> i64 {
        self.day - 1
    }

    /// How many alarms each rule raises on a window of today.
    pub fn judge(&self, summary: &ModelSummary, rules: &mut [Box<dyn Rule>]) -> Vec<usize> {
        let measures = measure(&self.model, summary);
        let start = day_start(self.today());
        let window = Window { model: &self.model, start, summary, measures: &measures };
        rules.iter_mut().map(|rule| rule.alarms(&window)).collect()
    }
}

fn states(model: &Model, effects: &[f64], change: Change) -> Vec<State> {
    let first_names = model.laws.iter().position(|law| *law == Law::Names);
    let mut states: Vec<State> =
        (0..effects.len()).map(|feature| State { shift: effects[feature], ..model.usual(feature) }).collect();
    match change {
        Change::Nothing => {}
        Change::OneMean(by) => states[0].shift += by,
        Change::AllMeans(by) => states.iter_mut().for_each(|state| state.shift += by),
        Change::Missing(share) => states[1].missing = share,
        Change::NewName(share) => states[first_names.expect("a categorical feature")].unseen = share,
    }
    states
}

/// False alarms of one rule.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Alarms raised.
    pub alarms: u64,
    /// Days with one or more.
    pub alarm_days: u64,
    /// Days watched.
    pub days: u64,
}

impl Tally {
    /// Counts a day.
    pub fn add(&mut self, alarms: usize) {
        self.alarms += alarms as u64;
        self.alarm_days += u64::from(alarms > 0);
        self.days += 1;
    }

    /// Alarms in thirty days.
    pub fn per_month(&self) -> f64 {
        30.0 * self.alarms as f64 / self.days.max(1) as f64
    }

    /// Share of days with an alarm.
    pub fn share_of_days(&self) -> f64 {
        self.alarm_days as f64 / self.days.max(1) as f64
    }
}

/// Watches `days` days of a life without drift.
pub fn watch(life: &mut Life, days: usize, entries: &[Entry], tallies: &mut [Tally]) {
    let mut rules: Vec<Box<dyn Rule>> = entries.iter().map(|entry| (entry.fit)(&life.model)).collect();
    for _ in 0..days {
        let summary = life.next_day(Change::Nothing);
        let alarms = life.judge(&summary, &mut rules);
        tallies.iter_mut().zip(alarms).for_each(|(tally, alarms)| tally.add(alarms));
    }
}

/// The first day, from 1, on which each rule alarms after a change; infinite after `days_max` days.
pub fn delays(life: &mut Life, change: Change, days_max: usize, entries: &[Entry]) -> Vec<f64> {
    let mut rules: Vec<Box<dyn Rule>> = entries.iter().map(|entry| (entry.fit)(&life.model)).collect();
    let mut first = vec![f64::INFINITY; entries.len()];
    for day in 1..=days_max {
        if first.iter().all(|day| day.is_finite()) {
            break;
        }
        let summary = life.next_day(change);
        for (first, alarms) in first.iter_mut().zip(life.judge(&summary, &mut rules)) {
            if alarms > 0 {
                *first = first.min(day as f64);
            }
        }
    }
    first
}

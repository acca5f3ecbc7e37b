//! Simulated production: features, the days they are seen on, and what may happen to them.
//!
//! A baseline is built from a simulated training sample as a user's is, through `baseline::build_table`.
//! Windows are then drawn as counts on its grid, from the true law of the feature and not from the training
//! counts, so that the training sample's own error is in every comparison.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema};
use driftline::baseline::read::MemoryTable;
use driftline::baseline::{Baseline, BuildOptions, Reference, Roles, build_table};
use driftline::drift::law::normal_sf;
use driftline::event::{Span, Timestamp};
use driftline::summary::{
    CategoricalSummary, Categories, ColumnSummary, Grid, ModelSummary, NumericSummary, Shape,
};

use super::random::Random;

/// A day.
pub const DAY: Span = Span::from_secs(86_400);

/// Weights of the names of a categorical feature.
const WEIGHTS: [f64; 10] = [0.25, 0.18, 0.14, 0.11, 0.09, 0.07, 0.06, 0.05, 0.03, 0.02];

/// Share of zeros of a zero-inflated feature.
const ZEROS: f64 = 0.3;

/// What one feature's values are drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// Standard normal.
    Normal,
    /// Zero for three rows in ten, else log-normal.
    ZeroInflated,
    /// Ten names with shares from 25 % to 2 %.
    Names,
}

/// Features of these kinds, in this order.
pub fn features(normal: usize, zero_inflated: usize, names: usize) -> Vec<Law> {
    let kinds = [(Law::Normal, normal), (Law::ZeroInflated, zero_inflated), (Law::Names, names)];
    kinds.into_iter().flat_map(|(law, times)| std::iter::repeat_n(law, times)).collect()
}

/// What is different about a feature in one window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct State {
    /// Added to the normal value behind the feature, in its standard deviations.
    pub shift: f64,
    /// The normal value behind the feature is multiplied by this first.
    pub scale: f64,
    /// Share of rows without a value.
    pub missing: f64,
    /// Share of values that have a name the training sample had not.
    pub unseen: f64,
}

/// As in training.
pub const USUAL: State = State { shift: 0.0, scale: 1.0, missing: 0.0, unseen: 0.0 };

/// A simulated model: its features and what they were in training.
#[derive(Debug, Clone)]
pub struct Model {
    /// What each feature is drawn from, in the baseline's order.
    pub laws: Vec<Law>,
    /// Share of rows without a value in training, for each feature.
    pub missing: Vec<f64>,
    /// The training counts.
    pub baseline: Baseline,
}

impl Model {
    /// Trains a model on `rows` independent rows: the baseline is built from the values.
    pub fn train(laws: &[Law], missing: &[f64], rows: u64, random: &mut Random) -> Self {
        let columns: Vec<(String, ArrayRef)> = laws
            .iter()
            .enumerate()
            .map(|(index, &law)| {
                let share = missing.get(index).copied().unwrap_or(0.0);
                (format!("f{index:03}"), training_column(law, share, rows, random))
            })
            .collect();
        let fields: Vec<Field> =
            columns.iter().map(|(name, array)| Field::new(name, array.data_type().clone(), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let arrays = columns.into_iter().map(|(_, array)| array).collect();
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).expect("columns of one length");
        let table = MemoryTable::new(&schema, || [batch.clone()]);
        let baseline = build_table(&table, &Roles::default(), &BuildOptions::default()).expect("a baseline");
        let missing = (0..laws.len()).map(|index| missing.get(index).copied().unwrap_or(0.0)).collect();
        Self { laws: laws.to_vec(), missing, baseline }
    }

    /// The same grids, with these windows as the training rows: their sum is the baseline, and they are its
    /// reference windows, one a day from `first_day` on.
    pub fn with_reference(&self, first_day: i64, panes: Vec<ModelSummary>) -> Self {
        let mut total = self.baseline.empty_summary();
        panes.iter().for_each(|pane| total.merge(pane).expect("counted on the same grids"));
        let mut model = self.clone();
        model.baseline.rows = total.rows.features;
        for (column, summary) in model.baseline.columns.iter_mut().zip(total.columns) {
            column.summary = summary;
        }
        let panes = (first_day..).map(day_start).zip(panes).collect();
        model.baseline.reference = Some(Reference { pane: DAY, panes, rows_left_out: 0 });
        model
    }

    /// The usual state of a feature.
    pub fn usual(&self, feature: usize) -> State {
        State { missing: self.missing[feature], ..USUAL }
    }

    /// Draws a window of `rows` rows.
    pub fn window(&self, rows: u64, states: &[State], random: &mut Random) -> ModelSummary {
        let mut summary = self.baseline.empty_summary();
        (summary.rows.events, summary.rows.features) = (rows, rows);
        for (feature, column) in summary.columns.iter_mut().enumerate() {
            *column = self.draw(feature, rows, &states[feature], random);
        }
        summary
    }

    /// Draws one feature's counts.
    pub fn draw(&self, feature: usize, rows: u64, state: &State, random: &mut Random) -> ColumnSummary {
        let shape = &self.baseline.columns[feature].shape;
        let missing = if state.missing > 0.0 { random.binomial(rows, state.missing) } else { 0 };
        let probabilities = probabilities(self.laws[feature], shape, state);
        let counts = random.multinomial(rows - missing, &probabilities);
        let mut column = match shape {
            Shape::Numeric(grid) => ColumnSummary::Numeric(numeric(grid, &counts)),
            Shape::Categorical(categories) => ColumnSummary::Categorical(categorical(categories, &counts)),
        };
        match &mut column {
            ColumnSummary::Numeric(numeric) => numeric.anomalies.missing = missing,
            ColumnSummary::Categorical(names) => names.anomalies.missing = missing,
        }
        column
    }
}

/// Midnight of a day, counted from some Monday.
pub fn day_start(day: i64) -> Timestamp {
    Timestamp::saturating_from_micros((1_767_571_200 + day * 86_400) * 1_000_000)
}

fn training_column(law: Law, missing: f64, rows: u64, random: &mut Random) -> ArrayRef {
    let gap = |random: &mut Random| missing > 0.0 && random.uniform() < missing;
    if law == Law::Names {
        let names = (0..rows).map(|_| (!gap(random)).then(|| name(pick(random))));
        return Arc::new(names.collect::<StringArray>());
    }
    let value = |random: &mut Random| match law {
        Law::ZeroInflated if random.uniform() < ZEROS => 0.0,
        Law::ZeroInflated => random.normal().exp(),
        Law::Normal | Law::Names => random.normal(),
    };
    Arc::new((0..rows).map(|_| (!gap(random)).then(|| value(random))).collect::<Float64Array>())
}

fn pick(random: &mut Random) -> usize {
    let mut left = random.uniform();
    let found = WEIGHTS.iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    found.unwrap_or(WEIGHTS.len() - 1)
}

fn name(index: usize) -> String {
    format!("name-{index}")
}

/// The true probability of each bin or name.
fn probabilities(law: Law, shape: &Shape, state: &State) -> Vec<f64> {
    match shape {
        Shape::Numeric(grid) => {
            let edges = grid.edges().iter().map(|&edge| distribution(law, edge, state));
            let mut below = 0.0;
            edges
                .chain([1.0])
                .map(|upto| {
                    let share = upto - below;
                    below = upto;
                    share.max(0.0)
                })
                .collect()
        }
        Shape::Categorical(categories) => {
            let known = |label: &String| {
                let index = (0..WEIGHTS.len()).find(|&index| name(index) == *label);
                index.map_or(0.0, |index| WEIGHTS[index]) * (1.0 - state.unseen)
            };
            let mut shares: Vec<f64> = categories.top.iter().map(known).collect();
            shares.resize(categories.len(), 0.0);
            shares[categories.unseen()] = state.unseen;
            shares
        }
    }
}

/// P(value <= x).
fn distribution(law: Law, x: f64, state: &State) -> f64 {
    let normal = |z: f64| normal_sf(-(z - state.shift) / state.scale);
    match law {
        Law::ZeroInflated if x < 0.0 => 0.0,
        Law::ZeroInflated if x == 0.0 => ZEROS,
        Law::ZeroInflated => ZEROS + (1.0 - ZEROS) * normal(x.ln()),
        Law::Normal | Law::Names => normal(x),
    }
}

/// Counts with their sums, each value taken to lie in the middle of its bin; what lies beyond the range, on
/// the edge.
fn numeric(grid: &Grid, counts: &[u32]) -> NumericSummary {
    let mut summary = NumericSummary::empty(grid);
    summary.counts.add_slice(counts);
    let (edges, fixed) = (grid.edges(), grid.fixed());
    let first_high = counts.len() - summary.high.len();
    for (bin, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let low = edges[bin.saturating_sub(1)];
        let high = edges[bin.min(edges.len() - 1)];
        let middle = low + (high - low) / 2.0;
        let sum = i128::from(fixed.encode(middle)) * i128::from(count);
        summary.sum += sum;
        summary.squares += i128::from(fixed.encode_square(middle)) * i128::from(count);
        if bin < summary.low.len() {
            summary.low[bin] += sum;
        } else if bin >= first_high {
            summary.high[bin - first_high] += sum;
        }
    }
    summary
}

fn categorical(categories: &Categories, counts: &[u32]) -> CategoricalSummary {
    let mut summary = CategoricalSummary::empty(categories);
    summary.counts.add_slice(counts);
    let new = u64::from(counts[categories.unseen()]);
    if new > 0 {
        let label = "new".to_owned();
        summary.unseen = BTreeMap::from([(Categories::hash(&label), (label, new))]);
    }
    summary
}

/// How the mean of each feature wanders from day to day: effects in standard deviations of the feature.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// What it is called in the tables.
    pub name: &'static str,
    /// Standard deviation of the day effect, an autoregression of first order.
    pub deviation: f64,
    /// Correlation of a day's effect with that of the day before.
    pub phi: f64,
    /// Share of the effect's variance that all features have in common.
    pub common: f64,
    /// Standard deviation of what each day of the week adds, the same in every week.
    pub weekly: f64,
}

/// Independent rows.
pub const STILL: Weather = Weather { name: "i.i.d.", deviation: 0.0, phi: 0.0, common: 0.0, weekly: 0.0 };
/// A day effect that fades over days.
pub const WANDERING: Weather =
    Weather { name: "day effect .05 sd, phi .5", deviation: 0.05, phi: 0.5, common: 0.0, weekly: 0.0 };
/// A small day effect within a strong week.
pub const SEASONAL: Weather =
    Weather { name: ".03 sd + weekly .1 sd", deviation: 0.03, phi: 0.5, common: 0.0, weekly: 0.1 };
/// A day effect that lasts for weeks and moves all features together.
pub const PERSISTENT: Weather =
    Weather { name: ".05 sd, phi .9, half common", deviation: 0.05, phi: 0.9, common: 0.5, weekly: 0.0 };

/// The weather of one model, day by day.
#[derive(Debug, Clone)]
pub struct Days {
    weather: Weather,
    own: Vec<f64>,
    common: f64,
    week: Vec<[f64; 7]>,
    day: usize,
}

impl Days {
    /// Starts in the stationary law.
    pub fn new(weather: Weather, features: usize, random: &mut Random) -> Self {
        let mut effect = |deviation: f64| if deviation > 0.0 { deviation * random.normal() } else { 0.0 };
        let week = (0..features).map(|_| std::array::from_fn(|_| effect(weather.weekly))).collect();
        let stationary = f64::from(u8::from(weather.deviation > 0.0));
        let own = (0..features).map(|_| effect(stationary)).collect();
        Self { weather, own, common: effect(stationary), week, day: 0 }
    }

    /// The effects of the next day, one a feature.
    pub fn next(&mut self, random: &mut Random) -> Vec<f64> {
        let Weather { deviation, phi, common, .. } = self.weather;
        let weekday = self.day % 7;
        self.day += 1;
        if deviation > 0.0 {
            let innovation = (1.0 - phi * phi).sqrt();
            let mut step = |value: &mut f64| *value = phi * *value + innovation * random.normal();
            self.own.iter_mut().for_each(&mut step);
            step(&mut self.common);
        }
        let (all, alone) = (common.sqrt() * self.common, (1.0 - common).sqrt());
        self.own
            .iter()
            .zip(&self.week)
            .map(|(own, week)| deviation * (all + alone * own) + week[weekday])
            .collect()
    }
}

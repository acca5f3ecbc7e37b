//! Rules that rest on reference windows: the service's, and a plain form of it to hold the published figures
//! against, in which a window alarms when its largest normalised distance exceeds the k-th largest of the
//! reference windows.

use driftline::drift::ks;
use driftline::event::Timestamp;
use driftline::summary::ModelSummary;
use driftline::verdict::SeasonSetting;

use super::production::Production;
use super::rules::{Entry, Rule, Window, daily_alpha};
use super::world::Model;

/// The rank of the maximum over columns of Kolmogorov's D, each divided by its median over the reference
/// windows, which are compared with the rest of the reference.
pub struct RankOfMaximum {
    /// The reference's counts, by slot and column.
    totals: Vec<Vec<Vec<u64>>>,
    medians: Vec<f64>,
    threshold: f64,
    effective: f64,
    /// k was at least 1.
    bears_budget: bool,
}

/// A rule that rests on reference windows.
pub struct Seasonable {
    /// Without seasons.
    pub flat: Entry,
    /// With a profile for each day of the week.
    pub weekly: Entry,
}

/// Every such rule.
pub const RULES: [Seasonable; 2] = [
    Seasonable {
        flat: Entry {
            name: "Driftline, rank rule",
            fit: |model| Box::new(Production::fit(model, SeasonSetting::None)),
        },
        weekly: Entry {
            name: "Driftline, rank rule, by day of the week",
            fit: |model| Box::new(Production::fit(model, SeasonSetting::DayOfWeek)),
        },
    },
    Seasonable {
        flat: Entry { name: "rank rule, plain form", fit: |model| Box::new(RankOfMaximum::fit(model, 1)) },
        weekly: Entry {
            name: "rank rule, plain form, by day of the week",
            fit: |model| Box::new(RankOfMaximum::fit(model, 7)),
        },
    },
];

impl RankOfMaximum {
    /// Learns from the reference windows; a window is compared with those whose day has the same remainder
    /// by `slots`.
    pub fn fit(model: &Model, slots: usize) -> Self {
        let panes = &model.baseline.reference.as_ref().expect("reference windows").panes;
        let counts: Vec<(usize, Vec<Vec<u64>>)> =
            panes.iter().map(|(start, pane)| (slot(*start, slots), columns_of(pane))).collect();
        let columns = model.laws.len();
        let mut totals: Vec<Vec<Vec<u64>>> = vec![vec![Vec::new(); columns]; slots];
        for (slot, pane) in &counts {
            for (total, column) in totals[*slot].iter_mut().zip(pane) {
                total.resize(column.len(), 0);
                total.iter_mut().zip(column).for_each(|(total, count)| *total += count);
            }
        }
        let distances: Vec<Vec<f64>> =
            counts.iter().map(|(slot, pane)| leave_one_out(&totals[*slot], pane)).collect();
        let medians: Vec<f64> =
            (0..columns).map(|column| median(distances.iter().map(|row| row[column]).collect())).collect();
        let mut maxima: Vec<f64> = distances.iter().map(|row| largest(row, &medians)).collect();
        let windows = maxima.len() as f64;
        let rho = autocorrelation(&maxima).clamp(0.0, 0.99);
        let effective = windows * (1.0 - rho) / (1.0 + rho);
        let k = (daily_alpha() * (effective + 1.0)).floor() as usize;
        maxima.sort_by(|a, b| b.total_cmp(a));
        Self { totals, medians, threshold: maxima[k.max(1) - 1], effective, bears_budget: k > 0 }
    }
}

impl Rule for RankOfMaximum {
    fn alarms(&mut self, window: &Window<'_>) -> usize {
        let totals = &self.totals[slot(window.start, self.totals.len())];
        let current = columns_of(window.summary);
        let distances: Vec<f64> =
            totals.iter().zip(&current).map(|(total, column)| ks(total, column)).collect();
        usize::from(largest(&distances, &self.medians) > self.threshold)
    }

    fn bears_budget(&self) -> bool {
        self.bears_budget
    }

    fn effective(&self) -> Option<f64> {
        Some(self.effective)
    }
}

/// Days since the epoch by remainder.
fn slot(start: Timestamp, slots: usize) -> usize {
    let days = start.as_micros().div_euclid(86_400_000_000);
    usize::try_from(days.rem_euclid(slots as i64)).expect("a remainder")
}

fn columns_of(summary: &ModelSummary) -> Vec<Vec<u64>> {
    summary.columns.iter().map(|column| column.counts().iter().collect()).collect()
}

fn leave_one_out(totals: &[Vec<u64>], pane: &[Vec<u64>]) -> Vec<f64> {
    totals
        .iter()
        .zip(pane)
        .map(|(total, column)| {
            let rest: Vec<u64> = total.iter().zip(column).map(|(total, count)| total - count).collect();
            ks(&rest, column)
        })
        .collect()
}

fn largest(distances: &[f64], medians: &[f64]) -> f64 {
    distances.iter().zip(medians).map(|(distance, median)| distance / median).fold(0.0, f64::max)
}

/// The middle value, or the mean of the two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

/// Correlation of each value with the one before.
fn autocorrelation(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let square: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let product: f64 = values.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
    product / square
}

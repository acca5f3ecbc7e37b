//! Rules that say whether a window alarms: ours, and the peers' defaults.
//!
//! The peers' formulas and thresholds are written again here from their sources, on our counts; their packages
//! are not run. Evidently 0.7.23 (`registry.py`: the choice by the size of the reference and the thresholds),
//! NannyML 0.13.1 (`univariate/calculator.py`: `StandardDeviationThreshold` of 3), LORD++ as in R onlineFDR
//! 2.19.1. Distances on ten groups of equal training mass, or on the names.
//!
//! To plug in a rule: a function that makes a [`Rule`] from a [`Model`], whose baseline carries the reference
//! windows, and an [`Entry`] with its name. A rule that rests on reference windows also gets a line in
//! `rank::RULES`, and is then run in every world.

use driftline::drift::{Pair, test};
use driftline::event::{ColumnKind, Span, Timestamp};
use driftline::summary::{ColumnSummary, ModelSummary, Shape};
use driftline::verdict::{Floors, Settings, Verdict, WindowSample, alpha_per_window, decide};

use super::world::{DAY, Model};

/// A closed window, as a rule sees it.
pub struct Window<'a> {
    /// The model, with its baseline.
    pub model: &'a Model,
    /// When it starts.
    pub start: Timestamp,
    /// The counts.
    pub summary: &'a ModelSummary,
    /// What the peers look at, one a column.
    pub measures: &'a [Measures],
}

/// Says of one window after another what alarms.
pub trait Rule {
    /// How many alarms the window raises: at most one for a rule about the whole window, one for each column
    /// for a rule about columns.
    fn alarms(&mut self, window: &Window<'_>) -> usize;

    /// Whether there were reference windows enough to bear the budget.
    fn bears_budget(&self) -> bool {
        true
    }

    /// What the reference windows are worth, if the rule rests on some: `R_eff`.
    fn effective(&self) -> Option<f64> {
        None
    }
}

/// A rule by its name.
pub struct Entry {
    /// As in the tables.
    pub name: &'static str,
    /// Learns from the model's baseline and its reference windows.
    pub fit: fn(&Model) -> Box<dyn Rule>,
}

/// The statistics of one column that peers decide on.
#[derive(Debug, Clone, Copy)]
pub struct Measures {
    /// Kolmogorov's D of a numeric column.
    pub ks: Option<f64>,
    /// p-value: of `ks` for a numeric column, of `g` for a categorical one.
    pub p_value: f64,
    /// Population stability index; empty groups count as 0.0001.
    pub psi: f64,
    /// Jensen-Shannon distance with the natural logarithm.
    pub js: f64,
    /// Wasserstein distance in standard deviations of the baseline, of a numeric column.
    pub wasserstein: Option<f64>,
}

/// Measures every column of a window.
pub fn measure(model: &Model, summary: &ModelSummary) -> Vec<Measures> {
    let columns = model.baseline.columns.iter().zip(&summary.columns);
    columns
        .map(|(column, current)| {
            let pair = Pair::new(&column.shape, &column.summary, current);
            let score = |name| (test(name).expect("in the table").score)(&pair).ok();
            let numeric = column.spec.kind == ColumnKind::Numeric;
            let ks = numeric.then(|| score("ks")).flatten();
            let main = if numeric { ks.clone() } else { score("g") };
            let (reference, current) = ten_groups(&column.shape, &column.summary, current);
            Measures {
                ks: ks.map(|score| score.statistic),
                p_value: main.and_then(|score| score.p_value).unwrap_or(1.0),
                psi: psi(&reference, &current),
                js: js(&reference, &current),
                wasserstein: numeric.then(|| score("wasserstein")).flatten().map(|score| score.effect),
            }
        })
        .collect()
}

/// The shares of both samples in ten groups of equal training mass, or of the names.
fn ten_groups(shape: &Shape, reference: &ColumnSummary, current: &ColumnSummary) -> (Vec<f64>, Vec<f64>) {
    let (m, n) = (reference.values().max(1) as f64, current.values().max(1) as f64);
    let shares = reference.counts().iter().zip(current.counts().iter());
    let shares = shares.map(|(b, a)| (b as f64 / m, a as f64 / n));
    if matches!(shape, Shape::Categorical(_)) {
        return shares.filter(|(p, q)| *p > 0.0 || *q > 0.0).unzip();
    }
    let mut groups = vec![(0.0, 0.0); 10];
    let mut below = 0.0;
    for (p, q) in shares {
        // A bin belongs where its middle lies.
        let group = (((below + p / 2.0) * 10.0) as usize).min(9);
        groups[group].0 += p;
        groups[group].1 += q;
        below += p;
    }
    groups.into_iter().filter(|(p, q)| *p > 0.0 || *q > 0.0).unzip()
}

fn psi(reference: &[f64], current: &[f64]) -> f64 {
    let floored = |share: f64| if share == 0.0 { 1e-4 } else { share };
    let pairs = reference.iter().zip(current).map(|(p, q)| (floored(*p), floored(*q)));
    pairs.map(|(p, q)| (q - p) * (q / p).ln()).sum()
}

fn js(reference: &[f64], current: &[f64]) -> f64 {
    let part = |a: f64, middle: f64| if a > 0.0 { a * (a / middle).ln() } else { 0.0 };
    let cells = reference.iter().zip(current).map(|(p, q)| {
        let middle = (p + q) / 2.0;
        part(*p, middle) + part(*q, middle)
    });
    (cells.sum::<f64>() / 2.0).max(0.0).sqrt()
}

/// "1 per 30d".
pub fn settings() -> Settings {
    Settings::default()
}

/// The same without effect floors.
pub fn without_floors() -> Settings {
    let floors = Floors { cumulative_share: 0.0, share: 0.0, rate: 0.0, standard_deviations: 0.0 };
    Settings { floors, ..Settings::default() }
}

/// What one daily window may spend of the budget.
pub fn daily_alpha() -> f64 {
    alpha_per_window(settings().budget, DAY, 1)
}

/// Our i.i.d. rule, as the service calls it.
pub fn verdict(
    model: &Model,
    summary: &ModelSummary,
    start: Timestamp,
    settings: &Settings,
    alpha: f64,
) -> Verdict {
    let end = start + Span::from_secs(86_400);
    let sample = WindowSample { model: "simulated", version: None, segment: None, start, end, summary };
    decide(&model.baseline, sample, settings, alpha)
}

/// A rule about each column on its own.
struct EachColumn(fn(&Measures) -> bool);

impl Rule for EachColumn {
    fn alarms(&mut self, window: &Window<'_>) -> usize {
        window.measures.iter().filter(|measures| (self.0)(measures)).count()
    }
}

/// Our i.i.d. rule with its effect floors.
struct Independent;

impl Rule for Independent {
    fn alarms(&mut self, window: &Window<'_>) -> usize {
        let verdict = verdict(window.model, window.summary, window.start, &settings(), daily_alpha());
        usize::from(verdict.alarm)
    }
}

/// A level for each column's p-value, divided by the number of numeric columns.
struct Bonferroni(f64);

impl Rule for Bonferroni {
    fn alarms(&mut self, window: &Window<'_>) -> usize {
        let level = self.0 / window.measures.len() as f64;
        window.measures.iter().filter(|measures| measures.ks.is_some() && measures.p_value <= level).count()
    }
}

fn evidently_column(measures: &Measures) -> bool {
    measures.wasserstein.map_or(measures.js > 0.1, |distance| distance > 0.1)
}

/// At least half of the columns have drifted.
struct EvidentlyDataset;

impl Rule for EvidentlyDataset {
    fn alarms(&mut self, window: &Window<'_>) -> usize {
        let drifted = window.measures.iter().filter(|measures| evidently_column(measures)).count();
        usize::from(2 * drifted >= window.measures.len())
    }
}

/// Outside mean and three standard deviations of a statistic over the reference windows.
struct ThreeDeviations {
    statistic: fn(&Measures) -> f64,
    limits: Vec<(f64, f64)>,
}

impl ThreeDeviations {
    fn fit(model: &Model, statistic: fn(&Measures) -> f64) -> Self {
        let panes = model.baseline.reference.as_ref().map_or(&[][..], |reference| &reference.panes);
        let seen: Vec<Vec<f64>> =
            panes.iter().map(|(_, pane)| measure(model, pane).iter().map(statistic).collect()).collect();
        let n = seen.len() as f64;
        let limits = (0..model.laws.len()).map(|column| {
            let mean = seen.iter().map(|chunk| chunk[column]).sum::<f64>() / n;
            let variance = seen.iter().map(|chunk| (chunk[column] - mean).powi(2)).sum::<f64>() / n;
            (mean - 3.0 * variance.sqrt(), mean + 3.0 * variance.sqrt())
        });
        Self { statistic, limits: limits.collect() }
    }
}

impl Rule for ThreeDeviations {
    fn alarms(&mut self, window: &Window<'_>) -> usize {
        let outside = |(measures, (low, high)): &(&Measures, &(f64, f64))| {
            let statistic = (self.statistic)(measures);
            statistic < *low || statistic > *high
        };
        window.measures.iter().zip(&self.limits).filter(outside).count()
    }
}

/// LORD++ at 0.05 over all tests in their order (Ramdas, Yang, Wainwright and Jordan 2017): the level of test t
/// is w0·γ(t) + (α − w0)·γ(t − τ1) + α·Σ γ(t − τj), τj the j-th discovery, γ(t) = 0.0772·ln(max(t, 2)) /
/// (t·exp(√ln t)).
#[derive(Default)]
struct LordPlusPlus {
    tests: usize,
    discoveries: Vec<usize>,
}

impl Rule for LordPlusPlus {
    fn alarms(&mut self, window: &Window<'_>) -> usize {
        const ALPHA: f64 = 0.05;
        const START: f64 = ALPHA / 10.0;
        let gamma = |t: usize| {
            let t = t as f64;
            0.0772 * t.max(2.0).ln() / (t * t.ln().sqrt().exp())
        };
        let before = self.discoveries.len();
        for measures in window.measures {
            self.tests += 1;
            let earned = self.discoveries.iter().enumerate().map(|(index, &at)| {
                let share = if index == 0 { ALPHA - START } else { ALPHA };
                share * gamma(self.tests - at)
            });
            if measures.p_value <= START * gamma(self.tests) + earned.sum::<f64>() {
                self.discoveries.push(self.tests);
            }
        }
        self.discoveries.len() - before
    }
}

/// Driftline's i.i.d. rule.
pub const INDEPENDENT: Entry = Entry { name: "Driftline, i.i.d. rule", fit: |_| Box::new(Independent) };

/// The rule of the published i.i.d. row: one p-value a column against its share of the daily budget.
pub const ALPHA_RATE: Entry =
    Entry { name: "KS p <= alpha/columns, alpha 1/30 a day", fit: |_| Box::new(Bonferroni(daily_alpha())) };

/// `KS p < .05`.
pub const KS_05: Entry = Entry {
    name: "KS p < .05, any feature",
    fit: |_| Box::new(EachColumn(|measures| measures.ks.is_some() && measures.p_value < 0.05)),
};

/// NannyML's default on Jensen-Shannon distances.
pub const NANNYML: Entry = Entry {
    name: "NannyML default (JS, mean ± 3 sd of the reference chunks)",
    fit: |model| Box::new(ThreeDeviations::fit(model, |measures| measures.js)),
};

/// NannyML's threshold on Kolmogorov's D where there is one.
pub const NANNYML_KS: Entry = Entry {
    name: "NannyML threshold on KS D",
    fit: |model| Box::new(ThreeDeviations::fit(model, |measures| measures.ks.unwrap_or(measures.js))),
};

/// The peers' rules that need no reference windows.
pub const PEERS: [Entry; 9] = [
    KS_05,
    Entry { name: "KS p < .05/columns (Bonferroni per day)", fit: |_| Box::new(Bonferroni(0.05)) },
    Entry { name: "PSI10 > 0.1", fit: |_| Box::new(EachColumn(|measures| measures.psi > 0.1)) },
    Entry { name: "PSI10 > 0.2", fit: |_| Box::new(EachColumn(|measures| measures.psi > 0.2)) },
    Entry { name: "JS10 > 0.1", fit: |_| Box::new(EachColumn(|measures| measures.js > 0.1)) },
    Entry {
        name: "KS D > 0.1",
        fit: |_| Box::new(EachColumn(|measures| measures.ks.is_some_and(|distance| distance > 0.1))),
    },
    Entry {
        name: "Evidently default per column (W1/sd > .1, JS > .1)",
        fit: |_| Box::new(EachColumn(evidently_column)),
    },
    Entry { name: "Evidently dataset drift (share >= .5)", fit: |_| Box::new(EvidentlyDataset) },
    Entry { name: "LORD++ alpha .05 over all tests", fit: |_| Box::new(LordPlusPlus::default()) },
];

//! Seasons: hours of the day and days of the week, whose rows are compared with their own kind.
//!
//! A reference that mixes nights and days is wider than either. Where the training rows have a season, a
//! window is compared with the training rows of its own hours or weekdays only, and so is every reference
//! window.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF};

use crate::baseline::{Baseline, Reference};
use crate::event::{Span, Timestamp};
use crate::summary::{ColumnSummary, ModelSummary};

const HOUR: Span = Span::from_secs(3_600);
const DAY: Span = Span::from_secs(86_400);
const WEEK: Span = Span::from_secs(7 * 86_400);

/// A season is taken for real when its test is below this, over all columns together.
const LEVEL: f64 = 0.01;

/// Times each slot must have come for a season to be looked for or used.
const REPEATS_MIN: usize = 4;

/// Columns times slots whose training counts are kept: some 50 MB.
const TOTALS_MAX: usize = 40_000;

/// Which season the operator takes the rows to have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeasonSetting {
    /// What a test of the training rows says.
    #[default]
    Auto,
    /// None.
    None,
    /// The 24 hours of the day.
    HourOfDay,
    /// The seven days of the week.
    DayOfWeek,
    /// The 168 hours of the week.
    HourOfWeek,
}

impl SeasonSetting {
    /// Every setting with its name.
    pub const ALL: [(&'static str, Self); 5] = [
        ("auto", Self::Auto),
        ("none", Self::None),
        ("hour_of_day", Self::HourOfDay),
        ("day_of_week", Self::DayOfWeek),
        ("hour_of_week", Self::HourOfWeek),
    ];
}

/// A season: slots that come again every period, counted from midnight UTC of a Thursday.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Season {
    /// After which slots repeat: a day or a week.
    pub period: Span,
    /// Length of a slot: an hour or a day.
    pub slot: Span,
}

impl Season {
    const HOUR_OF_DAY: Self = Self { period: DAY, slot: HOUR };
    const DAY_OF_WEEK: Self = Self { period: WEEK, slot: DAY };
    const HOUR_OF_WEEK: Self = Self { period: WEEK, slot: HOUR };

    /// The season that a setting names; none for `auto` and `none`.
    pub fn named(setting: SeasonSetting) -> Option<Self> {
        match setting {
            SeasonSetting::Auto | SeasonSetting::None => None,
            SeasonSetting::HourOfDay => Some(Self::HOUR_OF_DAY),
            SeasonSetting::DayOfWeek => Some(Self::DAY_OF_WEEK),
            SeasonSetting::HourOfWeek => Some(Self::HOUR_OF_WEEK),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match (self.period == DAY, self.slot == HOUR) {
            (true, _) => "hour_of_day",
            (false, true) => "hour_of_week",
            (false, false) => "day_of_week",
        }
    }

    /// How many slots it has.
    pub fn slots(self) -> usize {
        usize::try_from(self.period.as_micros() / self.slot.as_micros().max(1)).unwrap_or(1)
    }

    /// The slot of a time.
    pub fn slot_of(self, time: Timestamp) -> usize {
        let into = time.as_micros().rem_euclid(self.period.as_micros().max(1));
        usize::try_from(into / self.slot.as_micros().max(1)).unwrap_or(0)
    }

    /// The slots that a stretch of time touches, each once.
    pub(super) fn touched(self, start: Timestamp, end: Timestamp) -> BTreeSet<usize> {
        let mut slots = BTreeSet::new();
        let mut at = start.floor_to(self.slot, Span::ZERO);
        while at < end && slots.len() < self.slots() {
            slots.insert(self.slot_of(at));
            at = at + self.slot;
        }
        slots
    }
}

/// The training counts of each slot of a season, for all rows and for each segment.
#[derive(Debug, Clone)]
pub struct Seasonal {
    season: Season,
    totals: BTreeMap<Option<String>, Vec<ModelSummary>>,
}

impl Seasonal {
    /// Adds up the training rows by slot; a sentence says why when it cannot be done.
    fn new(baseline: &Baseline, reference: &Reference, season: Season) -> Result<Self, String> {
        let name = season.name();
        if season.slot.as_micros() % reference.pane.as_micros().max(1) != 0 {
            return Err(format!(
                "no season `{name}`: the baseline's panes of {} do not make up its slots of {}",
                reference.pane, season.slot
            ));
        }
        let cells = 1 + baseline.segments.len();
        if cells * baseline.columns.len() * season.slots() > TOTALS_MAX {
            return Err(format!(
                "no season `{name}`: the counts of {} columns, {cells} segments and {} slots take too much memory",
                baseline.columns.len(),
                season.slots()
            ));
        }
        let empty = || vec![baseline.empty_summary(); season.slots()];
        let mut whole = empty();
        reference.panes.iter().for_each(|(start, pane)| add(&mut whole, season, *start, pane));
        let mut totals = BTreeMap::from([(None, whole)]);
        for segment in &baseline.segments {
            let mut slots = empty();
            segment.panes().for_each(|(start, pane)| add(&mut slots, season, start, &pane));
            totals.insert(Some(segment.name.clone()), slots);
        }
        Ok(Self { season, totals })
    }

    /// The season.
    pub fn season(&self) -> Season {
        self.season
    }

    /// The training rows of the slots that a stretch of time touches; `None` if it touches all of them, which
    /// is no season, or if there are no such rows.
    pub fn profile(&self, segment: Option<&str>, start: Timestamp, end: Timestamp) -> Option<ModelSummary> {
        let touched = self.season.touched(start, end);
        if touched.len() == self.season.slots() {
            return None;
        }
        let slots = self.totals.get(&segment.map(str::to_owned))?;
        let mut parts = touched.into_iter().filter_map(|slot| slots.get(slot));
        let mut profile = parts.next()?.clone();
        for part in parts {
            profile.merge(part).ok()?;
        }
        (profile.n() > 0).then_some(profile)
    }
}

fn add(slots: &mut [ModelSummary], season: Season, start: Timestamp, pane: &ModelSummary) {
    if let Some(slot) = slots.get_mut(season.slot_of(start)) {
        // The panes of a baseline are all counted on its own shapes.
        let _ = slot.merge(pane);
    }
}

/// Finds the season to use, with a sentence for people that says why.
///
/// `auto` tests each column by Kruskal and Wallis (1952, doi:10.1080/01621459.1952.10483441) on one number a
/// slot and period: the mean rank of its values among the training values, or the share of the commonest
/// category. It tests hours of the day and days of the week, takes a season for real when the smallest
/// p-value over the columns is below 0.01 divided by their number, and needs four of every slot.
pub fn choose(baseline: &Baseline, setting: SeasonSetting) -> (Option<Seasonal>, String) {
    let Some(reference) = &baseline.reference else {
        return (None, "no season: the training rows have no timestamps".to_owned());
    };
    let season = match setting {
        SeasonSetting::None => return (None, "no season, as configured".to_owned()),
        SeasonSetting::Auto => match tested(baseline, reference) {
            Ok((season, why)) => match Seasonal::new(baseline, reference, season) {
                Ok(seasonal) => return (Some(seasonal), why),
                Err(why) => return (None, why),
            },
            Err(why) => return (None, why),
        },
        named => Season::named(named),
    };
    let Some(season) = season else { return (None, "no season".to_owned()) };
    match Seasonal::new(baseline, reference, season) {
        Ok(seasonal) => (Some(seasonal), format!("season `{}`, as configured", season.name())),
        Err(why) => (None, why),
    }
}

/// The season that the training rows show.
fn tested(baseline: &Baseline, reference: &Reference) -> Result<(Season, String), String> {
    let scores: Vec<Vec<(Timestamp, f64, f64)>> =
        (0..baseline.columns.len()).map(|column| scores(baseline, reference, column)).collect();
    let p_value = |season: Season| {
        let tests: Vec<f64> = scores.iter().filter_map(|column| season_p_value(column, season)).collect();
        let smallest = tests.iter().copied().fold(f64::INFINITY, f64::min);
        smallest.is_finite().then(|| (smallest * tests.len() as f64).min(1.0))
    };
    let (daily, weekly) = (p_value(Season::HOUR_OF_DAY), p_value(Season::DAY_OF_WEEK));
    let is_real = |p: Option<f64>| p.is_some_and(|p| p < LEVEL);
    let said = |p: Option<f64>| match p {
        None => "not tested".to_owned(),
        Some(p) if p < 1e-300 => "p < 1e-300".to_owned(),
        Some(p) => format!("p = {p:.1e}"),
    };
    let why = format!(
        "hours of the day {}, days of the week {} (Kruskal-Wallis over {} columns)",
        said(daily),
        said(weekly),
        scores.len()
    );
    // Every hour of the week must have come often enough to be a reference of its own.
    let enough_weeks = p_value(Season::HOUR_OF_WEEK).is_some();
    let season = match (is_real(daily), is_real(weekly)) {
        (true, true) if enough_weeks => Season::HOUR_OF_WEEK,
        (_, true) => Season::DAY_OF_WEEK,
        (true, false) => Season::HOUR_OF_DAY,
        (false, false) => return Err(format!("no season: {why}")),
    };
    Ok((season, format!("season `{}`: {why}", season.name())))
}

/// For each pane one number that moves with the column's values, and the number of values.
fn scores(baseline: &Baseline, reference: &Reference, column: usize) -> Vec<(Timestamp, f64, f64)> {
    let Some(counted) = baseline.columns.get(column) else { return Vec::new() };
    let weights = weights(&counted.summary);
    let score = |pane: &ColumnSummary| {
        let n = pane.values() as f64;
        let sum: f64 = pane.counts().iter().zip(&weights).map(|(count, weight)| count as f64 * weight).sum();
        (n > 0.0).then(|| (sum / n, n))
    };
    let of = |(start, pane): &(Timestamp, ModelSummary)| {
        let (score, n) = score(pane.columns.get(column)?)?;
        Some((*start, score, n))
    };
    reference.panes.iter().filter_map(of).collect()
}

/// Mid-ranks of the bins, or 1 for the commonest category.
fn weights(training: &ColumnSummary) -> Vec<f64> {
    match training {
        ColumnSummary::Numeric(numeric) => {
            let total = numeric.counts.total().max(1) as f64;
            let mut below = 0.0;
            let middle = |count: u64| {
                let share = count as f64 / total;
                below += share;
                below - share / 2.0
            };
            numeric.counts.iter().map(middle).collect()
        }
        ColumnSummary::Categorical(categorical) => {
            let commonest = categorical.counts.iter().enumerate().max_by_key(|(_, count)| *count);
            let at = commonest.map_or(0, |(at, _)| at);
            (0..categorical.counts.len()).map(|index| if index == at { 1.0 } else { 0.0 }).collect()
        }
    }
}

/// The p-value of Kruskal and Wallis over the slots of a season, from one number a slot and period.
fn season_p_value(scores: &[(Timestamp, f64, f64)], season: Season) -> Option<f64> {
    let mut means: BTreeMap<Timestamp, (f64, f64)> = BTreeMap::new();
    for (start, score, n) in scores {
        let sums = means.entry(start.floor_to(season.slot, Span::ZERO)).or_default();
        *sums = (sums.0 + score * n, sums.1 + n);
    }
    let mut groups: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for (start, (sum, n)) in means {
        groups.entry(season.slot_of(start)).or_default().push(sum / n);
    }
    let groups: Vec<Vec<f64>> = groups.into_values().filter(|group| group.len() >= REPEATS_MIN).collect();
    // Half of the slots may be empty (shops close), but one slot alone is no season.
    if groups.len() < 2 || groups.len() * 2 < season.slots() {
        return None;
    }
    kruskal_wallis(&groups)
}

/// H = 12/(N(N+1))·Σ R²/n − 3(N+1), corrected for ties, against chi-squared with one degree less than
/// groups. `None` when all values are equal.
fn kruskal_wallis(groups: &[Vec<f64>]) -> Option<f64> {
    let mut all: Vec<(f64, usize)> = groups
        .iter()
        .enumerate()
        .flat_map(|(group, values)| values.iter().map(move |value| (*value, group)))
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let n = all.len() as f64;
    let mut rank_sums = vec![0.0; groups.len()];
    let (mut ties, mut before) = (0.0, 0.0);
    for run in all.chunk_by(|a, b| a.0 == b.0) {
        let length = run.len() as f64;
        let rank = before + (length + 1.0) / 2.0;
        run.iter().for_each(|(_, group)| rank_sums[*group] += rank);
        ties += length.powi(3) - length;
        before += length;
    }
    let squares: f64 = rank_sums.iter().zip(groups).map(|(sum, group)| sum * sum / group.len() as f64).sum();
    let correction = 1.0 - ties / (n.powi(3) - n);
    if correction <= 0.0 {
        return None;
    }
    let statistic = (12.0 / (n * (n + 1.0)) * squares - 3.0 * (n + 1.0)) / correction;
    let law = ChiSquared::new((groups.len() - 1) as f64).ok()?;
    Some(law.sf(statistic.max(0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kruskal_wallis_agrees_with_scipy() {
        // scipy.stats.kruskal([1, 3, 5, 7, 9], [2, 4, 6, 8, 10]) and with ties [1, 1, 1], [2, 2, 2], [2, 2].
        let p = kruskal_wallis(&[vec![1., 3., 5., 7., 9.], vec![2., 4., 6., 8., 10.]]);
        assert!((p.expect("values differ") - 0.601_508_134_440_589_5).abs() < 1e-9, "{p:?}");
        let p = kruskal_wallis(&[vec![1., 1., 1.], vec![2., 2., 2.], vec![2., 2.]]);
        assert!((p.expect("values differ") - 0.030_197_383_422_318_5).abs() < 1e-9, "{p:?}");
        assert_eq!(kruskal_wallis(&[vec![1., 1.], vec![1., 1.]]), None);
    }

    #[test]
    fn a_stretch_touches_each_slot_once() {
        let start = Timestamp::default() + Span::from_secs(10 * 3_600);
        let touched = |hours: i64| Season::HOUR_OF_DAY.touched(start, start + Span::from_secs(hours * 3_600));
        assert_eq!(touched(3).into_iter().collect::<Vec<_>>(), [10, 11, 12]);
        assert_eq!(touched(50).len(), 24);
        assert_eq!(Season::DAY_OF_WEEK.slots(), 7);
        assert_eq!(Season::HOUR_OF_WEEK.slot_of(start + WEEK + DAY), 34);
    }

    /// One number an hour for so many days, with an effect of the day that is left in part the next day.
    fn hourly(seed: u64, days: i64, phi: f64, night: f64) -> Vec<(Timestamp, f64, f64)> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut normal = || {
            let mut sum = -6.0;
            for _ in 0..12 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                sum += (state >> 11) as f64 / (1_u64 << 53) as f64;
            }
            sum
        };
        let mut effect = 0.0;
        let mut scores = Vec::new();
        for hour in 0..days * 24 {
            if hour % 24 == 0 {
                effect = phi * effect + (1.0 - phi * phi).sqrt() * normal();
            }
            let shift = if hour % 24 < 8 { night } else { 0.0 };
            let score = shift + normal() + if phi > 0.0 { effect } else { 0.0 };
            scores.push((Timestamp::default() + Span::from_secs(3_600 * hour), score, 100.0));
        }
        scores
    }

    #[test]
    fn rows_without_a_season_seldom_seem_to_have_one() {
        let mut found = BTreeMap::new();
        for (phi, name) in [(0.0, "independent"), (0.5, "day effects")] {
            for seed in 0..200 {
                let scores = hourly(seed, 63, phi, 0.0);
                for season in [Season::HOUR_OF_DAY, Season::DAY_OF_WEEK] {
                    let is_found = season_p_value(&scores, season).is_some_and(|p| p < LEVEL);
                    *found.entry((name, season.name())).or_insert(0) += u32::from(is_found);
                }
            }
        }
        // Two in two hundred are the test's level; seven or more come by chance one time in two hundred.
        assert!(found.values().all(|count| *count <= 6), "{found:?}");
    }

    #[test]
    fn nights_are_found_and_too_short_a_time_is_not_tested() {
        let p = season_p_value(&hourly(1, 30, 0.5, -1.0), Season::HOUR_OF_DAY);
        assert!(p.is_some_and(|p| p < 1e-6), "{p:?}");
        assert_eq!(season_p_value(&hourly(1, 3, 0.0, -1.0), Season::HOUR_OF_DAY), None);
        assert_eq!(season_p_value(&hourly(1, 22, 0.0, 0.0), Season::DAY_OF_WEEK), None, "three of six days");
    }
}

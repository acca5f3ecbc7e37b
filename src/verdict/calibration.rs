//! Calibration: how rare a window's largest evidence is among windows in which nothing was wrong.
//!
//! # The rule
//!
//! For every reference window r, segment, column and test, the evidence is divided by its median over the
//! reference windows, so that tests which are restless by nature count less; `T_r` is the largest ratio.
//! A new window alarms when its own `T` is above the k-th largest `T_r`, with `k = floor(a·(R_eff + 1))` and
//! `a` the window's share of the budget. If the new window is exchangeable with the reference windows,
//! P(alarm) <= k/(R + 1) <= a, whatever the number of rows and the dependence between columns, tests and
//! segments: all that is used is that its rank is as likely to be one as another.
//!
//! - **Overlap.** Windows that slide are not new at every step. A *block* is a stretch of one window length;
//!   `T_r` is the largest in block r, R the number of blocks, and the budget counts blocks with an alarm: an
//!   alarm that stands while the window slides over what caused it is one alarm. The share of a block is
//!   that of a window that does not slide.
//! - **Dependence in time.** `R_eff = R·(1 − ρ)/(1 + ρ)`: blocks that resemble their neighbours are worth
//!   fewer. ρ is the larger of two lag-1 autocorrelations: that of the `T_r`, and the mean of those of the column
//!   and test that attain each of them, for the largest of many jumps between columns that each wander slowly.
//! - **Sizes.** Evidence grows with the number of rows. Where a window has more effective rows than the
//!   median reference window, its evidence is reduced in proportion, as if it had as many: a training sample
//!   of a hundredth of the traffic cannot say what is usual at full traffic. With fewer rows it stays as it is.
//! - **Own median.** A reference window's evidence is divided by the median of the others, for a new window is
//!   not in the median it is divided by either: with few windows it would rank too high.
//! - **Gaps.** Where no reference window has evidence of a test (a new name among thousands of rare ones), or
//!   knows a segment, a tenth of the share is kept for them by the rule for independent rows.
//! - **Floor.** No median is taken below ln 2, that of independent rows: what never happens in the reference
//!   (a wrong type) counts by its own law.
//!
//! When k is 0 the reference cannot carry the promise. The rule for independent rows then decides, and an
//! alarm must also lie above every reference window, if there are enough to say something; such verdicts are
//! marked as not calibrated, with the reason.
//!
//! Source of the argument: conformal prediction by ranks (Vovk, Gammerman and Shafer 2005,
//! doi:10.1007/b106715); the effective number of an autocorrelated series: Bartlett 1946, doi:10.2307/2983611.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::evidence::{CellEvidence, Evidence, ReferenceWindow};
use super::season::Season;
use crate::event::{Span, Timestamp};

/// Fewer blocks than this say nothing, not even as a second opinion.
pub const BLOCKS_MIN: usize = 5;

/// A slot of a season with fewer windows takes the medians of all windows.
const SLOT_WINDOWS_MIN: usize = 5;

/// The median of −ln p of a test whose law is right.
const INDEPENDENT: f32 = std::f32::consts::LN_2;

/// Where reference windows come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The training rows, cut by their timestamps.
    Training,
    /// The first weeks in production.
    Learned,
    /// A file that a replay wrote.
    Imported,
}

/// What reference windows say is usual, for one window length and baseline.
#[derive(Debug, Clone)]
pub struct Calibration {
    source: Source,
    block: Span,
    season: Option<Season>,
    typical: BTreeMap<Option<String>, Typical>,
    /// The largest ratio of each block, ascending.
    maxima: Vec<f64>,
    autocorrelation: f64,
    first: Timestamp,
    last: Timestamp,
}

/// What is usual in one segment, by column and test.
#[derive(Debug, Clone)]
struct Typical {
    always: Vec<Option<Usual>>,
    /// By slot of the season, where there are enough windows.
    slots: BTreeMap<usize, Vec<Option<Usual>>>,
}

/// Medians over the reference windows.
#[derive(Debug, Clone)]
struct Usual {
    /// Of the evidence, at least [`INDEPENDENT`].
    surprise: f32,
    /// Of the effective numbers of rows.
    size: f32,
    /// The scaled evidence, ascending; only while the reference windows themselves are ranked.
    sorted: Vec<f32>,
}

impl Usual {
    fn scaled(evidence: Evidence, size: f32) -> f32 {
        if evidence.size > size { evidence.surprise * (size / evidence.size) } else { evidence.surprise }
    }

    fn ratio(&self, evidence: Evidence) -> f64 {
        f64::from(Self::scaled(evidence, self.size) / self.surprise)
    }

    /// The ratio of one of the reference windows itself, to the median of the others: a new window is not in
    /// its own median either.
    fn own_ratio(&self, evidence: Evidence) -> f64 {
        let own = Self::scaled(evidence, self.size);
        let place = self.sorted.partition_point(|one| *one < own);
        let others = self.sorted.len().saturating_sub(1);
        let at = |index: usize| self.sorted.get(if index < place { index } else { index + 1 }).copied();
        let upper = at(others / 2).unwrap_or(own);
        let lower = if others.is_multiple_of(2) { at((others / 2).saturating_sub(1)) } else { None };
        let median = lower.map_or(upper, |lower| lower.midpoint(upper)).max(INDEPENDENT);
        f64::from(own / median)
    }
}

/// How good a calibration is for a share of the budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Whether the promise rests on it.
    pub calibrated: bool,
    /// Where the reference windows come from.
    pub source: Source,
    /// Length of a block.
    pub block: Span,
    /// Blocks with a tested window: R.
    pub blocks: usize,
    /// What they are worth: `R_eff`.
    pub effective: f64,
    /// Lag-1 autocorrelation of their largest ratios; not negative.
    pub autocorrelation: f64,
    /// An alarm is above the k-th largest; 0 when there are too few.
    pub k: usize,
    /// What an alarm must be above: the k-th largest ratio, or the largest.
    pub threshold: f64,
    /// Start of the first reference window.
    pub from: Timestamp,
    /// End of the last.
    pub to: Timestamp,
}

impl Calibration {
    /// From reference windows in the order of their ends; `None` if they make less than [`BLOCKS_MIN`] blocks.
    ///
    /// `season` tells the medians of its slots apart; it is for windows that were not compared with their own
    /// season's rows.
    pub fn new(
        windows: &[ReferenceWindow],
        block: Span,
        season: Option<Season>,
        source: Source,
    ) -> Option<Self> {
        let (first, last) = (windows.first()?.start, windows.last()?.end);
        let mut cells: BTreeMap<&Option<String>, Vec<(Timestamp, &CellEvidence)>> = BTreeMap::new();
        for window in windows {
            for cell in &window.cells {
                cells.entry(&cell.segment).or_default().push((window.start, cell));
            }
        }
        let typical = cells
            .into_iter()
            .map(|(segment, cells)| (segment.clone(), Typical::new(&cells, season)))
            .collect();
        let mut calibration =
            Self { source, block, season, typical, maxima: Vec::new(), autocorrelation: 0.0, first, last };
        let mut maxima = calibration.block_maxima(windows);
        if maxima.len() < BLOCKS_MIN {
            return None;
        }
        calibration.forget_values();
        let restless = calibration.dependence_of_the_largest(windows, maxima.len());
        calibration.autocorrelation = autocorrelation(&maxima).max(restless).clamp(0.0, 0.999);
        maxima.sort_by(f64::total_cmp);
        calibration.maxima = maxima;
        Some(calibration)
    }

    fn block_maxima(&self, windows: &[ReferenceWindow]) -> Vec<f64> {
        let mut blocks: BTreeMap<Timestamp, (f64, usize)> = BTreeMap::new();
        for window in windows {
            let largest = window
                .cells
                .iter()
                .flat_map(|cell| self.by_test(cell, window.start, Usual::own_ratio))
                .flatten()
                .fold(f64::NEG_INFINITY, f64::max);
            if largest.is_finite() {
                let (held, count) = blocks.entry(block_of(window.end, self.block)).or_insert((largest, 0));
                *held = held.max(largest);
                *count += 1;
            }
        }
        // The first and the last block may hold a single window of many, whose largest is no block's largest.
        let fullest = blocks.values().map(|(_, count)| *count).max().unwrap_or(0);
        blocks.into_values().filter(|(_, count)| count * 2 >= fullest).map(|(largest, _)| largest).collect()
    }

    /// The mean lag-1 autocorrelation of the one column and test that attains each block's largest ratio.
    ///
    /// The largest jumps between columns and so hides how slowly each of them wanders. With r the estimate from
    /// R blocks, which is too small by about (1 + 3r)/R (Kendall 1954, doi:10.1093/biomet/41.3-4.403), that
    /// much is added.
    fn dependence_of_the_largest(&self, windows: &[ReferenceWindow], blocks: usize) -> f64 {
        let mut series: BTreeMap<&Option<String>, BTreeMap<Timestamp, Vec<f64>>> = BTreeMap::new();
        for window in windows {
            let block = block_of(window.end, self.block);
            for cell in &window.cells {
                let ratios = self.ratios(cell, window.start);
                let none = || vec![f64::NEG_INFINITY; ratios.len()];
                let held = series.entry(&cell.segment).or_default().entry(block).or_insert_with(none);
                let largest = held.iter_mut().zip(ratios);
                largest.for_each(|(held, ratio)| *held = held.max(ratio.unwrap_or(f64::NEG_INFINITY)));
            }
        }
        let mut largest: BTreeMap<Timestamp, (f64, &Option<String>, usize)> = BTreeMap::new();
        for (segment, rows) in &series {
            for (block, row) in rows {
                for (index, ratio) in row.iter().enumerate() {
                    let held = largest.entry(*block).or_insert((*ratio, segment, index));
                    if *ratio > held.0 {
                        *held = (*ratio, segment, index);
                    }
                }
            }
        }
        let of = |(_, segment, index): &(f64, &Option<String>, usize)| {
            let rows = series.get(segment).into_iter().flat_map(BTreeMap::values);
            let values: Vec<f64> =
                rows.filter_map(|row| row.get(*index).copied()).filter(|r| r.is_finite()).collect();
            autocorrelation(&values)
        };
        let mean = largest.values().map(of).sum::<f64>() / largest.len().max(1) as f64;
        mean + (1.0 + 3.0 * mean.max(0.0)) / blocks.max(1) as f64
    }

    /// Whether there are reference windows of this segment.
    pub fn covers(&self, segment: Option<&str>) -> bool {
        self.typical.contains_key(&segment.map(str::to_owned))
    }

    /// Evidence divided by what is usual, by column and test, for a window that starts at `start`; `None` also
    /// for a test that no reference window has evidence of.
    pub fn ratios(&self, cell: &CellEvidence, start: Timestamp) -> Vec<Option<f64>> {
        self.by_test(cell, start, Usual::ratio)
    }

    fn by_test(
        &self,
        cell: &CellEvidence,
        start: Timestamp,
        ratio: fn(&Usual, Evidence) -> f64,
    ) -> Vec<Option<f64>> {
        let Some(typical) = self.typical.get(&cell.segment) else { return vec![None; cell.evidence.len()] };
        let slot = self.season.and_then(|season| typical.slots.get(&season.slot_of(start)));
        let of = |(index, evidence): (usize, &Option<Evidence>)| {
            let in_slot = slot.and_then(|slot| slot.get(index)?.as_ref());
            let usual = in_slot.or(typical.always.get(index)?.as_ref())?;
            evidence.map(|evidence| ratio(usual, evidence))
        };
        cell.evidence.iter().enumerate().map(of).collect()
    }

    /// Whether there are tests that no reference window of all rows has evidence of.
    pub fn has_gaps(&self) -> bool {
        self.typical.get(&None).is_some_and(|typical| typical.always.iter().any(Option::is_none))
    }

    fn forget_values(&mut self) {
        for typical in self.typical.values_mut() {
            let all = typical.always.iter_mut().chain(typical.slots.values_mut().flatten());
            all.flatten().for_each(|usual| usual.sorted = Vec::new());
        }
    }

    /// The largest ratio of a window and segment; `None` when nothing could be tested.
    pub fn statistic(&self, cell: &CellEvidence, start: Timestamp) -> Option<f64> {
        self.ratios(cell, start).into_iter().flatten().max_by(f64::total_cmp)
    }

    /// The p-value of a rank: (1 + how many blocks are at least as large) / (R + 1).
    pub fn rank(&self, statistic: f64) -> f64 {
        let below = self.maxima.partition_point(|one| *one < statistic);
        (1 + self.maxima.len() - below) as f64 / (self.maxima.len() + 1) as f64
    }

    /// What the blocks are worth: `R_eff`.
    pub fn effective(&self) -> f64 {
        self.maxima.len() as f64 * (1.0 - self.autocorrelation) / (1.0 + self.autocorrelation)
    }

    /// How it stands for a block's share `alpha` of the budget.
    pub fn standing(&self, alpha: f64) -> Standing {
        let (blocks, effective) = (self.maxima.len(), self.effective());
        // Truncated: k is at most alpha·(R_eff + 1), and a share is at most 1.
        let k = (alpha.clamp(0.0, 1.0) * (effective + 1.0) + 1e-9) as usize;
        let at = blocks.saturating_sub(k.clamp(1, blocks));
        Standing {
            calibrated: k > 0,
            source: self.source,
            block: self.block,
            blocks,
            effective,
            autocorrelation: self.autocorrelation,
            k: k.min(blocks),
            threshold: self.maxima.get(at).copied().unwrap_or(f64::INFINITY),
            from: self.first,
            to: self.last,
        }
    }

    /// Length of a block.
    pub fn block(&self) -> Span {
        self.block
    }

    /// For each column and test of a segment, what evidence of `rows` effective rows must reach to pass a
    /// ratio; `None` where reference windows say nothing.
    pub fn needed(&self, segment: Option<&str>, index: usize, size: f64, ratio: f64) -> Option<f64> {
        let usual = self.typical.get(&segment.map(str::to_owned))?.always.get(index)?.as_ref()?;
        Some(ratio * f64::from(usual.surprise) * (size / f64::from(usual.size)).max(1.0))
    }
}

/// How many more effective blocks the share needs, as a number of blocks at this autocorrelation.
pub fn blocks_needed(alpha: f64, autocorrelation: f64) -> f64 {
    let effective = (1.0 / alpha.clamp(1e-12, 1.0) - 1.0).max(0.0);
    (effective * (1.0 + autocorrelation) / (1.0 - autocorrelation).max(1e-3)).ceil()
}

/// The block that a window belongs to, by its end.
pub fn block_of(end: Timestamp, block: Span) -> Timestamp {
    (end - Span::from_micros(1)).floor_to(block, Span::ZERO)
}

impl Typical {
    fn new(cells: &[(Timestamp, &CellEvidence)], season: Option<Season>) -> Self {
        let all: Vec<&CellEvidence> = cells.iter().map(|(_, cell)| *cell).collect();
        let always = usual(&all);
        let mut by_slot: BTreeMap<usize, Vec<&CellEvidence>> = BTreeMap::new();
        if let Some(season) = season {
            for (start, cell) in cells {
                by_slot.entry(season.slot_of(*start)).or_default().push(cell);
            }
        }
        let slots = by_slot
            .into_iter()
            .filter(|(_, cells)| cells.len() >= SLOT_WINDOWS_MIN)
            .map(|(slot, cells)| (slot, usual(&cells)))
            .collect();
        Self { always, slots }
    }
}

/// The medians by column and test.
fn usual(cells: &[&CellEvidence]) -> Vec<Option<Usual>> {
    let width = cells.iter().map(|cell| cell.evidence.len()).max().unwrap_or(0);
    let of = |index: usize| {
        let evidence: Vec<Evidence> = cells.iter().filter_map(|cell| *cell.evidence.get(index)?).collect();
        let size = median(evidence.iter().map(|one| one.size).collect())?;
        let mut sorted: Vec<f32> = evidence.iter().map(|one| Usual::scaled(*one, size)).collect();
        sorted.sort_by(f32::total_cmp);
        let surprise = median(sorted.clone())?;
        Some(Usual { surprise: surprise.max(INDEPENDENT), size, sorted })
    };
    (0..width).map(of).collect()
}

fn median(mut values: Vec<f32>) -> Option<f32> {
    if values.is_empty() {
        return None;
    }
    let (half, is_odd) = (values.len() / 2, values.len() % 2 == 1);
    let (below, middle, _) = values.select_nth_unstable_by(half, f32::total_cmp);
    let middle = *middle;
    let lower = below.iter().copied().max_by(f32::total_cmp).filter(|_| !is_odd);
    Some(lower.map_or(middle, |lower| lower.midpoint(middle)))
}

/// Lag-1 autocorrelation; 0 where all values are equal.
fn autocorrelation(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    let variance: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let neighbours = values.iter().zip(values.iter().skip(1));
    let together: f64 = neighbours.map(|(a, b)| (a - mean) * (b - mean)).sum();
    if variance > 0.0 { together / variance } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Span = Span::from_secs(86_400);

    fn window(day: i64, surprises: &[f32]) -> ReferenceWindow {
        let start = Timestamp::default() + Span::from_secs(86_400 * day);
        let evidence =
            surprises.iter().map(|surprise| Some(Evidence { surprise: *surprise, size: 100.0 })).collect();
        let cells = vec![CellEvidence { segment: None, evidence }];
        ReferenceWindow { start, end: start + DAY, cells }
    }

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_both() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(vec![7.0]), Some(7.0));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn an_alarm_is_above_the_kth_largest_block() {
        let windows: Vec<ReferenceWindow> =
            (1..=99).map(|day| window(day, &[((day * 37) % 100) as f32 + 1.0])).collect();
        let calibration = Calibration::new(&windows, DAY, None, Source::Training).expect("enough blocks");
        let standing = Calibration { autocorrelation: 0.0, ..calibration.clone() }.standing(0.033);
        assert_eq!((standing.blocks, standing.k, standing.calibrated), (99, 3, true));
        // The median of the others.
        let median = 50.5;
        assert!((standing.threshold - 98.0 / median).abs() < 1e-6, "{standing:?}");
        assert!((calibration.rank(1e9) - 0.01).abs() < 1e-12);
        assert!((calibration.rank(0.0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn too_few_blocks_carry_no_promise() {
        let windows: Vec<ReferenceWindow> = (0..20).map(|day| window(day, &[1.0 + day as f32])).collect();
        let calibration = Calibration::new(&windows, DAY, None, Source::Training).expect("enough blocks");
        let standing = calibration.standing(1.0 / 30.0);
        assert!(!standing.calibrated && standing.k == 0);
        assert!((standing.threshold - calibration.maxima[19]).abs() < 1e-12);
        assert!(standing.autocorrelation > 0.5, "the days rise steadily");
        assert!(Calibration::new(&windows[..4], DAY, None, Source::Training).is_none());
    }

    #[test]
    fn windows_that_overlap_count_once_a_block() {
        let hour = Span::from_secs(3_600);
        let windows: Vec<ReferenceWindow> = (0..240)
            .map(|hours| {
                let start = Timestamp::default() + Span::from_secs(3_600 * hours);
                ReferenceWindow { start, end: start + DAY, ..window(0, &[1.0]) }
            })
            .collect();
        let calibration = Calibration::new(&windows, DAY, None, Source::Training).expect("enough blocks");
        assert_eq!(calibration.standing(0.1).blocks, 10);
        assert_eq!(block_of(windows[0].end, DAY), Timestamp::default());
        assert_eq!(block_of(windows[0].end + hour, DAY), Timestamp::default() + DAY);
    }

    #[test]
    fn more_rows_than_the_reference_do_not_make_evidence() {
        let windows: Vec<ReferenceWindow> = (0..9).map(|day| window(day, &[2.0])).collect();
        let calibration = Calibration::new(&windows, DAY, None, Source::Training).expect("enough blocks");
        let ratio = |surprise: f32, size: f32| {
            let cell = CellEvidence { segment: None, evidence: vec![Some(Evidence { surprise, size })] };
            calibration.statistic(&cell, Timestamp::default()).expect("tested")
        };
        assert!((ratio(4.0, 100.0) - 2.0).abs() < 1e-6);
        assert!((ratio(400.0, 10_000.0) - 2.0).abs() < 1e-6);
        assert!((ratio(4.0, 10.0) - 2.0).abs() < 1e-6);
    }
}

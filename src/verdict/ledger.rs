//! The ledger: what the budget of a model was spent on, and whether its promise still holds.
//!
//! **Spent.** Every window that is tested spends its share of the budget, drift or not; over a period the
//! shares add up to the budget. Beside it stands how many alarms there were: with one alarm where one false
//! alarm was to be expected, it may well be it; with five it is not.
//!
//! **Audit.** If quiet windows are exchangeable with the reference windows, a tenth of them ranks in the
//! upper tenth. The ledger counts the blocks of each window length and baseline that closed without an
//! incident, and how many ranked below 0.1. When there are too many for chance, the world is no longer that of
//! the reference windows: the promise is void, and every verdict says so until the baseline is built anew.
//!
//! Two things would make a plain binomial test cry wolf. Reference windows are few: among R of them the share
//! of later windows that ranks low is itself Beta(k, R + 1 − k) with k = ⌈0.1·(R + 1)⌉ − 1, so that with a
//! hundred it is above 0.15 one time in fifteen, and any count that goes on long enough finds that out. And it
//! is looked at after every block. So the share is held against the upper bound of that law, and by a bet that
//! may be looked at at any time: a mixture of the wealths Π(1 + λ(x − bound)), each a supermartingale if the
//! share is at most the bound (Ville 1939; Waudby-Smith and Ramdas 2024, doi:10.1093/jrsssb/qkad009). Half of
//! the audit's level goes to the bound, half to the bet; the lengths share it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::calibration::block_of;
use super::{Budget, Verdict};
use crate::event::{Span, Timestamp};
use crate::sequential::{lower_rate, upper_rate};

/// Parts of a period in which spending is summed.
const SLICES: i64 = 30;

/// Ranks below this are counted by the audit.
pub const AUDIT_RANK: f64 = 0.1;

/// The audit's own chance of crying wolf.
pub const AUDIT_LEVEL: f64 = 0.01;

/// What became of a model's budget. Part of the stored state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// By slice of the period: shares of the budget that windows spent, and alarms.
    slices: BTreeMap<i64, Spending>,
    /// By window length and baseline: versions have their own.
    #[serde(default)]
    audited: BTreeMap<Span, BTreeMap<String, Quiet>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Spending {
    share: f64,
    alarms: u64,
}

/// Baselines whose audit is kept for each length; the one that was heard of longest ago goes.
const BASELINES_MAX: usize = 10;

/// What is bet on each block, from small excesses to large ones.
const STAKES: [f64; 4] = [0.25, 0.5, 1.0, 2.0];

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Quiet {
    /// The block that is going on.
    block: Option<Block>,
    /// Quiet blocks, and those of them that ranked below [`AUDIT_RANK`].
    quiet: u64,
    low: u64,
    /// Logarithm of what each of [`STAKES`] has won.
    wealth: [f64; STAKES.len()],
    /// The largest that the logarithm of their mean has been.
    most: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Block {
    start: Timestamp,
    rank: f64,
    is_quiet: bool,
    /// The highest share of low ranks that the reference windows allow.
    bound: f64,
}

/// What one closing window tells the ledger.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// End of the window.
    pub end: Timestamp,
    /// Its length.
    pub length: Span,
    /// Its share of the budget.
    pub share: f64,
    /// Its smallest rank for each baseline.
    pub lowest: &'a [Lowest<'a>],
    /// Whether it opened an incident.
    pub opened: bool,
    /// Whether there was an incident while it closed.
    pub in_incident: bool,
}

/// The smallest rank of a window's versions and segments that have one baseline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lowest<'a> {
    /// The baseline's id in hex.
    pub baseline: &'a str,
    /// The p-value, times the number of versions: each has its chance of a low one.
    pub p_value: f64,
    /// What the reference windows are worth.
    pub effective: f64,
}

impl<'a> Lowest<'a> {
    /// Of a window's verdicts with the ids of their baselines; those that are not ranked say nothing.
    pub fn of(verdicts: impl Iterator<Item = (&'a Verdict, &'a str)>) -> Vec<Self> {
        let mut found: BTreeMap<&str, (Self, BTreeSet<Option<&str>>)> = BTreeMap::new();
        for (verdict, baseline) in verdicts {
            let Some(ranked) = &verdict.ranked else { continue };
            let (p_value, effective) = (ranked.p_value, ranked.standing.effective);
            let (lowest, versions) =
                found.entry(baseline).or_insert((Self { baseline, p_value, effective }, BTreeSet::new()));
            versions.insert(verdict.version.as_deref());
            lowest.p_value = lowest.p_value.min(p_value);
            lowest.effective = lowest.effective.min(effective);
        }
        let shared = |(lowest, versions): (Self, BTreeSet<Option<&str>>)| Self {
            p_value: (lowest.p_value * versions.len() as f64).min(1.0),
            ..lowest
        };
        found.into_values().map(shared).collect()
    }

    /// The share of low ranks that `effective` reference windows allow, at this level.
    fn bound(&self, level: f64) -> f64 {
        let windows = self.effective.clamp(1.0, 1e9);
        // Ranks below a tenth: above all but so many of the reference windows. Truncated, for it is a count.
        let above = (AUDIT_RANK * (windows + 1.0) - 1e-9).ceil() as u64;
        upper_rate(above.saturating_sub(2), windows as u64, 1.0 - level).max(AUDIT_RANK)
    }
}

/// What the ledger says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Account {
    /// False alarms allowed.
    pub allowed: f64,
    /// In which time.
    pub period: Span,
    /// False alarms that were to be expected of the windows tested in the last period.
    pub spent: f64,
    /// What is left of the budget.
    pub left: f64,
    /// Incidents opened in the last period.
    pub alarms: u64,
    /// The audit of each window length.
    pub audits: Vec<Audit>,
}

/// Whether quiet windows of one length rank as they should, over all baselines.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Audit {
    /// The window length.
    pub length: Span,
    /// Blocks without an incident.
    pub quiet_blocks: u64,
    /// How many of them ranked below 0.1.
    pub low_ranks: u64,
    /// Their share; `null` without blocks.
    pub share: Option<f64>,
    /// 95 % interval of the share (Clopper and Pearson 1934).
    pub interval: [f64; 2],
    /// Whether a baseline has too many for chance: its promise is void.
    pub void: bool,
}

impl Ledger {
    /// Enters a closed window.
    pub fn enter(&mut self, entry: &Entry<'_>, budget: Budget) {
        let slice = slice_of(entry.end, budget.period);
        let spending = self.slices.entry(slice).or_default();
        spending.share += entry.share;
        spending.alarms += u64::from(entry.opened);
        let newest = self.slices.last_key_value().map_or(slice, |(newest, _)| *newest);
        self.slices.retain(|slice, _| *slice > newest - SLICES - 1);
        let is_quiet = !entry.in_incident && !entry.opened;
        for lowest in entry.lowest {
            let level = AUDIT_LEVEL / 2.0 / self.audited.len().max(1) as f64;
            let baselines = self.audited.entry(entry.length).or_default();
            if !baselines.contains_key(lowest.baseline) {
                make_room(baselines);
            }
            let block = Block {
                start: block_of(entry.end, entry.length),
                rank: lowest.p_value,
                is_quiet,
                bound: lowest.bound(level),
            };
            baselines.entry(lowest.baseline.to_owned()).or_default().enter(block);
        }
    }

    /// What it says at this watermark.
    pub fn account(&self, budget: Budget, now: Option<Timestamp>) -> Account {
        let newest = now.map(|now| slice_of(now, budget.period));
        let last = |slice: i64| newest.is_none_or(|newest| slice > newest - SLICES);
        let held = || self.slices.iter().filter(|(slice, _)| last(**slice)).map(|(_, spending)| spending);
        // Not `sum`, which makes nothing of nothing -0.
        let spent = held().fold(0.0, |sum, spending| sum + spending.share);
        Account {
            allowed: budget.alarms,
            period: budget.period,
            spent,
            left: (budget.alarms - spent).max(0.0),
            alarms: held().map(|spending| spending.alarms).sum(),
            audits: self.audited.iter().map(|(length, held)| self.audit(*length, held.values())).collect(),
        }
    }

    /// Why the promise is void for a window length and baseline, if it is.
    pub fn void(&self, length: Span, baseline: &str) -> Option<String> {
        let counts = self.audited.get(&length)?.get(baseline)?;
        let audit = self.audit(length, std::iter::once(counts));
        audit.void.then(|| {
            format!(
                "the promise is void: {} of {} quiet windows of {length} rank in the upper tenth of the \
                 reference windows, where a tenth should: the data drifts slowly, or the reference was never like it; \
                 see what moved before the baseline is built anew",
                audit.low_ranks, audit.quiet_blocks
            )
        })
    }

    /// The audits of some baselines of one length together.
    fn audit<'q>(&self, length: Span, held: impl Iterator<Item = &'q Quiet>) -> Audit {
        let level = AUDIT_LEVEL / 2.0 / self.audited.len().max(1) as f64;
        let (mut quiet, mut low, mut void) = (0, 0, false);
        for counts in held {
            quiet += counts.quiet;
            low += counts.low;
            void |= counts.most >= -level.ln();
        }
        Audit {
            length,
            quiet_blocks: quiet,
            low_ranks: low,
            share: (quiet > 0).then(|| low as f64 / quiet as f64),
            interval: [lower_rate(low, quiet, 0.975), upper_rate(low, quiet, 0.975)],
            void,
        }
    }
}

impl Quiet {
    /// Adds a window to the block that is going on, or counts that one and begins the next.
    fn enter(&mut self, block: Block) {
        match &mut self.block {
            Some(open) if open.start == block.start => {
                open.rank = open.rank.min(block.rank);
                open.is_quiet &= block.is_quiet;
                open.bound = open.bound.max(block.bound);
            }
            open => {
                if let Some(done) = open.replace(block).filter(|done| done.is_quiet) {
                    self.count(done);
                }
            }
        }
    }

    fn count(&mut self, done: Block) {
        let is_low = done.rank < AUDIT_RANK;
        self.quiet += 1;
        self.low += u64::from(is_low);
        let excess = f64::from(u8::from(is_low)) - done.bound;
        for (wealth, stake) in self.wealth.iter_mut().zip(STAKES) {
            // No stake loses more than nine tenths at once, however high the bound.
            *wealth += (stake * excess).max(-0.9).ln_1p();
        }
        self.most = self.most.max(self.log_wealth());
    }

    /// Logarithm of the mean wealth.
    fn log_wealth(&self) -> f64 {
        let most = self.wealth.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = self.wealth.iter().map(|wealth| (wealth - most).exp()).sum();
        most + (sum / STAKES.len() as f64).ln()
    }
}

fn make_room(baselines: &mut BTreeMap<String, Quiet>) {
    if baselines.len() < BASELINES_MAX {
        return;
    }
    let age = |quiet: &Quiet| quiet.block.map(|block| block.start);
    let oldest = baselines.iter().min_by_key(|(_, quiet)| age(quiet)).map(|(baseline, _)| baseline.clone());
    oldest.map(|oldest| baselines.remove(&oldest));
}

fn slice_of(time: Timestamp, period: Span) -> i64 {
    time.as_micros().div_euclid((period.as_micros() / SLICES).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Span = Span::from_secs(86_400);
    const BUDGET: Budget = Budget { alarms: 1.0, period: Span::from_secs(30 * 86_400) };

    fn end(day: i64) -> Timestamp {
        Timestamp::default() + Span::from_secs(86_400 * day)
    }

    fn entry(day: i64) -> Entry<'static> {
        Entry {
            end: end(day),
            length: DAY,
            share: 1.0 / 30.0,
            lowest: &[],
            opened: false,
            in_incident: false,
        }
    }

    fn ranked(p_value: f64, effective: f64) -> Lowest<'static> {
        Lowest { baseline: "b", p_value, effective }
    }

    fn among(effective: f64, ranks: impl Iterator<Item = f64>) -> Ledger {
        let mut ledger = Ledger::default();
        for (day, rank) in ranks.enumerate() {
            let entry = Entry { lowest: &[ranked(rank, effective)], ..entry(day as i64 + 1) };
            ledger.enter(&entry, BUDGET);
        }
        ledger
    }

    fn filled(ranks: impl Iterator<Item = f64>) -> Ledger {
        among(1_000.0, ranks)
    }

    /// A linear congruential generator is enough for coins.
    fn coins(seed: u64) -> impl Iterator<Item = f64> {
        let mut state = seed;
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        })
    }

    #[test]
    fn the_audit_holds_its_level_however_few_the_reference_windows_and_however_long_it_goes_on() {
        for windows in [30_usize, 100, 400] {
            let runs = 200;
            let mut void = 0;
            for seed in 0..runs {
                let mut coins = coins(seed * 7_919 + windows as u64);
                let mut reference: Vec<f64> = coins.by_ref().take(windows).collect();
                reference.sort_by(f64::total_cmp);
                let rank = |value: f64| {
                    let below = reference.partition_point(|one| *one < value);
                    (1 + windows - below) as f64 / (windows + 1) as f64
                };
                let ledger = among(windows as f64, coins.take(500).map(rank));
                // What was void once stays so: this looks at every block.
                void += u32::from(ledger.void(DAY, "b").is_some());
            }
            assert!(void <= 6, "{void} of {runs} with {windows} reference windows");
        }
    }

    #[test]
    fn each_baseline_is_audited_for_itself_and_versions_share_the_chance() {
        let mut ledger = Ledger::default();
        for day in 1..200 {
            let old = Lowest { baseline: "old", ..ranked(0.5, 300.0) };
            let new = Lowest { baseline: "new", ..ranked(if day % 3 == 0 { 0.01 } else { 0.6 }, 300.0) };
            ledger.enter(&Entry { lowest: &[old, new], ..entry(day) }, BUDGET);
        }
        assert!(ledger.void(DAY, "old").is_none());
        assert!(ledger.void(DAY, "new").is_some());
        assert_eq!(ledger.account(BUDGET, None).audits.len(), 1, "one for a length");
        for number in 0..50 {
            let name = format!("b{number}");
            let one = Lowest { baseline: &name, ..ranked(0.5, 300.0) };
            ledger.enter(&Entry { lowest: &[one], ..entry(200 + number) }, BUDGET);
        }
        assert_eq!(ledger.audited[&DAY].len(), BASELINES_MAX);
    }

    #[test]
    fn a_period_spends_the_budget_and_forgets_what_came_before() {
        let ledger = filled((0..200).map(|_| 0.5));
        let account = ledger.account(BUDGET, Some(end(200)));
        assert!((account.spent - 1.0).abs() < 0.05, "{account:?}");
        assert!(account.left < 0.05 && account.alarms == 0);
        assert!(ledger.slices.len() <= 31);
        let later = ledger.account(BUDGET, Some(end(300)));
        assert!(later.spent.abs() < 1e-12);
    }

    #[test]
    fn even_ranks_pass_the_audit_and_crowded_ones_do_not() {
        let even = filled((0..201).map(|day| (day % 20) as f64 / 20.0));
        let audit = &even.account(BUDGET, None).audits[0];
        assert_eq!((audit.quiet_blocks, audit.low_ranks, audit.void), (200, 20, false));
        assert!(audit.interval[0] < 0.1 && audit.interval[1] > 0.1);
        assert_eq!(even.void(DAY, "b"), None);
        let crowded = filled((0..101).map(|day| (day % 4) as f64 / 20.0));
        assert!(crowded.void(DAY, "b").expect("half of them are low").contains("50 of 100"));
        assert_eq!(crowded.void(DAY, "another baseline"), None);
    }

    #[test]
    fn windows_in_an_incident_are_no_evidence_against_the_reference() {
        let mut ledger = Ledger::default();
        for day in 1..100 {
            let entry = Entry { in_incident: true, lowest: &[ranked(0.001, 100.0)], ..entry(day) };
            ledger.enter(&entry, BUDGET);
        }
        assert_eq!(ledger.account(BUDGET, None).audits[0].quiet_blocks, 0);
    }

    #[test]
    fn a_ledger_survives_being_stored() {
        let ledger = filled((0..5).map(|_| 0.3));
        let text = serde_json::to_string(&ledger).expect("plain data");
        assert_eq!(serde_json::from_str::<Ledger>(&text).expect("just written"), ledger);
    }
}

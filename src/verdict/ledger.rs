//! The ledger: what the budget of a model was spent on, and whether its promise still holds.
//!
//! **Spent.** Every window that is tested spends its share of the budget, drift or not; over a period the
//! shares add up to the budget. Beside it stands how many alarms there were: with one alarm where one false
//! alarm was to be expected, it may well be it; with five it is not.
//!
//! **Audit.** If quiet windows are exchangeable with the reference windows, a tenth of them ranks in the
//! upper tenth. The ledger counts the blocks of each window length that closed without an incident, and how
//! many ranked below 0.1. When there are too many for chance (one-sided binomial test at 0.01, shared by
//! the lengths), the world is no longer that of the reference windows: the promise is void, and every verdict
//! says so until the baseline is built anew.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Budget;
use super::calibration::block_of;
use crate::drift::law::binomial_upper_tail;
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
    /// By window length.
    lengths: BTreeMap<Span, Length>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Spending {
    share: f64,
    alarms: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Length {
    /// The baseline that the counts are about; another one starts them anew.
    baseline: String,
    /// The block that is going on.
    block: Option<Block>,
    /// Quiet blocks, and those of them that ranked below [`AUDIT_RANK`].
    quiet: u64,
    low: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Block {
    start: Timestamp,
    rank: f64,
    is_quiet: bool,
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
    /// Its smallest rank over versions, with the baseline of that version; `None` where none could be ranked.
    pub rank: Option<(f64, &'a str)>,
    /// Whether it opened an incident.
    pub opened: bool,
    /// Whether there was an incident while it closed.
    pub in_incident: bool,
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

/// Whether quiet windows rank as they should.
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
    /// Whether there are too many for chance: the promise is void.
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
        let Some((rank, baseline)) = entry.rank else { return };
        let length = self.lengths.entry(entry.length).or_default();
        if length.baseline != baseline {
            *length = Length { baseline: baseline.to_owned(), ..Length::default() };
        }
        let is_quiet = !entry.in_incident && !entry.opened;
        let block = Block { start: block_of(entry.end, entry.length), rank, is_quiet };
        match &mut length.block {
            Some(open) if open.start == block.start => {
                open.rank = open.rank.min(rank);
                open.is_quiet &= is_quiet;
            }
            open => {
                let done = open.replace(block).filter(|done| done.is_quiet);
                length.quiet += u64::from(done.is_some());
                length.low += u64::from(done.is_some_and(|done| done.rank < AUDIT_RANK));
            }
        }
    }

    /// What it says at this watermark.
    pub fn account(&self, budget: Budget, now: Option<Timestamp>) -> Account {
        let newest = now.map(|now| slice_of(now, budget.period));
        let last = |slice: i64| newest.is_none_or(|newest| slice > newest - SLICES);
        let held = || self.slices.iter().filter(|(slice, _)| last(**slice)).map(|(_, spending)| spending);
        let spent = held().map(|spending| spending.share).sum::<f64>();
        Account {
            allowed: budget.alarms,
            period: budget.period,
            spent,
            left: (budget.alarms - spent).max(0.0),
            alarms: held().map(|spending| spending.alarms).sum(),
            audits: self.lengths.iter().map(|(length, counts)| self.audit(*length, counts)).collect(),
        }
    }

    /// Why the promise is void for a window length and baseline, if it is.
    pub fn void(&self, length: Span, baseline: &str) -> Option<String> {
        let counts = self.lengths.get(&length).filter(|counts| counts.baseline == baseline)?;
        let audit = self.audit(length, counts);
        audit.void.then(|| {
            format!(
                "the promise is void: {} of {} quiet windows of {length} rank in the upper tenth of the \
                 reference windows, where a tenth should; build the baseline anew from rows that are like today's",
                audit.low_ranks, audit.quiet_blocks
            )
        })
    }

    fn audit(&self, length: Span, counts: &Length) -> Audit {
        let Length { quiet, low, .. } = *counts;
        let level = AUDIT_LEVEL / self.lengths.len().max(1) as f64;
        Audit {
            length,
            quiet_blocks: quiet,
            low_ranks: low,
            share: (quiet > 0).then(|| low as f64 / quiet as f64),
            interval: [lower_rate(low, quiet, 0.975), upper_rate(low, quiet, 0.975)],
            void: low > 0 && binomial_upper_tail(low, quiet, AUDIT_RANK) < level,
        }
    }
}

fn slice_of(time: Timestamp, period: Span) -> i64 {
    time.as_micros().div_euclid((period.as_micros() / SLICES).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Span = Span::from_secs(86_400);
    const BUDGET: Budget = Budget { alarms: 1.0, period: Span::from_secs(30 * 86_400) };

    fn entry(day: i64, rank: f64) -> Entry<'static> {
        Entry {
            end: Timestamp::default() + Span::from_secs(86_400 * day),
            length: DAY,
            share: 1.0 / 30.0,
            rank: Some((rank, "b")),
            opened: false,
            in_incident: false,
        }
    }

    fn filled(ranks: impl Iterator<Item = f64>) -> Ledger {
        let mut ledger = Ledger::default();
        ranks.enumerate().for_each(|(day, rank)| ledger.enter(&entry(day as i64 + 1, rank), BUDGET));
        ledger
    }

    #[test]
    fn a_period_spends_the_budget_and_forgets_what_came_before() {
        let ledger = filled((0..200).map(|_| 0.5));
        let account = ledger.account(BUDGET, Some(entry(200, 0.5).end));
        assert!((account.spent - 1.0).abs() < 0.05, "{account:?}");
        assert!(account.left < 0.05 && account.alarms == 0);
        assert!(ledger.slices.len() <= 31);
        let later = ledger.account(BUDGET, Some(entry(300, 0.5).end));
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
            ledger.enter(&Entry { in_incident: true, ..entry(day, 0.001) }, BUDGET);
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
